/* SPDX-License-Identifier: MIT
 * Rule files of any bytes: either faults are told, line by line and in printable
 * text, or the rules judge.
 */
#include <stddef.h>
#include <stdint.h>

#include "queue/rules.h"
#include "queue/verdict_text.h"
#include "relayd/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 forgets the text it was reading when it meets a syntax error:
 * some bytes for each refused file, and none of ours. */
const char *__lsan_default_suppressions(void)
{
	return "leak:strbuf_append\nleak:libconfig_yylex\n";
}

static void check_errors(const struct buf *errors)
{
	if (errors->len == 0)
		bug("refused without a reason");
	for (size_t i = 0; i < errors->len; i++) {
		unsigned char c = (unsigned char)errors->data[i];
		if ((c < 0x20 && c != '\n') || c == 0x7f)
			bug("a control character in an error");
	}
}

static void judge_some(const struct verdict_rules *rules)
{
	static const char *const replies[] = {"550 5.1.1 User unknown", "421", "552-5.2.2 a\n552 b",
	    "450 4.7.1 Client host [192.0.2.1] aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"};
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		struct verdict_text text;
		verdict_text_parse(&text, span_text(replies[i]));
		struct verdict v = verdict_judge(rules, &text.input);
		if (!v.rule || !v.provider || !v.help)
			bug("an incomplete verdict");
		verdict_text_clear(&text);
	}
}

/* What was taken is a template that can be filled in. */
static void fill_some(const struct verdict_rules *rules)
{
	const char *values[DELIST_NAMES];
	for (size_t i = 0; i < DELIST_NAMES; i++)
		values[i] = "x";
	for (size_t i = 0; i < rules->delist_count; i++) {
		struct buf text = {0};
		delist_fill(&text, delist_subject(rules, &rules->delists[i]), values);
		delist_fill(&text, delist_text(rules, &rules->delists[i], DELIST_JAPANESE), values);
		if (!text.len)
			bug("an empty request");
		buf_free(&text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf errors = {0};
	struct verdict_rules *rules = rules_new();
	int read = rules_read(rules, (struct span){(const char *)data, size}, "fuzz", &errors);
	int finished = rules_finish(rules, &errors);
	if (read < 0 || finished < 0)
		check_errors(&errors);
	else {
		judge_some(rules);
		fill_some(rules);
	}
	verdict_free(rules);
	buf_free(&errors);
	return 0;
}
