/* SPDX-License-Identifier: MIT
 * Configuration files of any bytes: either mistakes are told, or what is
 * printed parses and prints the same. Includes are left out, since they would
 * open whatever file the input names.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "conf/conf.h"
#include "relayd/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 forgets the text it was reading when it meets a syntax error:
 * some bytes for each refused file, and none of ours. */
const char *__lsan_default_suppressions(void)
{
	return "leak:strbuf_append\nleak:libconfig_yylex\n";
}

static void check_errors(const struct conf_errors *errors)
{
	if (errors->count == 0 || errors->text.len == 0)
		bug("refused without a reason");
	for (size_t i = 0; i < errors->text.len; i++) {
		unsigned char c = (unsigned char)errors->text.data[i];
		if ((c < 0x20 && c != '\n') || c == 0x7f)
			bug("a control character in an error");
	}
}

static void check_round_trip(const struct conf *conf)
{
	struct buf first = {0};
	struct buf second = {0};
	struct conf_errors errors = {0};

	conf_print(conf, &first);
	struct conf *again = conf_parse(buf_text(&first), "printed", &errors);
	if (!again)
		bug_at(__FILE__, __LINE__, buf_text(&errors.text));
	conf_print(again, &second);
	if (strcmp(buf_text(&first), buf_text(&second)) != 0)
		bug("printed differently the second time");
	conf_free(again);
	buf_free(&first);
	buf_free(&second);
	conf_errors_free(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_errors errors = {0};
	char *text = mem_copy(data, size);

	if (!strstr(text, "@include")) {
		struct conf *conf = conf_parse(text, "fuzz", &errors);
		if (conf)
			check_round_trip(conf);
		else
			check_errors(&errors);
		conf_free(conf);
		conf_errors_free(&errors);
	}
	mem_free(text);
	return 0;
}
