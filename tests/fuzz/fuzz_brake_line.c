/* SPDX-License-Identifier: MIT
 * A store of any bytes for the brake: what is taken from it can be counted on, and
 * comes back from its own dump unchanged. Each line is tried as a value of
 * X-PHP-Originating-Script, too: what comes out can be typed into a shell.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "queue/brake.h"
#include "relayd/base/mem.h"
#include "relayd/brake_who.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW (INT64_C(1795219200) * 1000)

static struct brake *make(void)
{
	return brake_new(&(struct brake_options){0});
}

static void try_script(struct span line)
{
	struct buf script = {0};
	if (brake_script_parse(line, &script)) {
		const char *text = buf_text(&script);
		if (strlen(text) != script.len || script.len > 100)
			bug("a script's name that is no short text");
		for (size_t i = 0; i < script.len; i++)
			if (text[i] <= 32 || text[i] > 126 || strchr("\"'\\`$", text[i]))
				bug("a script's name with a byte that must be quoted");
	}
	buf_free(&script);
}

static void replay(struct brake *b, struct span rest)
{
	while (rest.n) {
		const char *end = memchr(rest.p, '\n', rest.n);
		struct span line = {rest.p, end ? (size_t)(end - rest.p) : rest.n};
		size_t used = line.n + (end ? 1 : 0);
		try_script(line);
		if (!brake_replay(b, line) && line.n == 0 && used == 0)
			break;
		rest = (struct span){rest.p + used, rest.n - used};
	}
}

static void keep(void *arg, const char *line)
{
	if (strchr(line, '\n'))
		bug("a line with a line end in it");
	buf_add_text(arg, line);
	buf_add_byte(arg, '\n');
}

/* A dump is all that a restart has. */
static void check_round(const struct brake *b)
{
	struct buf one = {0};
	struct buf two = {0};
	struct brake *again = make();
	brake_dump(b, keep, &one);
	replay(again, span_buf(&one));
	brake_dump(again, keep, &two);
	if (strcmp(buf_text(&one), buf_text(&two)) != 0)
		bug("a dump does not come back");
	brake_free(again);
	buf_free(&one);
	buf_free(&two);
}

static void list(void *arg, const struct brake_view *view)
{
	if ((view->cause == BRAKE_FREE) != (view->since_ms == 0) || view->unknown > view->recipients)
		bug("a sender that can not be");
	buf_add(arg, view->who, strlen(view->who) + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct brake_limits limits = {2, 50, 3};
	struct brake *b = make();
	struct buf names = {0};
	replay(b, (struct span){(const char *)data, size < 100000 ? size : 100000});
	check_round(b);
	brake_each(b, NOW, list, &names);
	for (size_t at = 0; at < names.len && at < 1000; at += strlen(names.data + at) + 1) {
		brake_message(b, names.data + at, &limits, NOW);
		brake_recipient(b, names.data + at, &limits, true, NOW + 1);
		brake_ask(b, names.data + at, &limits, 0);
	}
	brake_look(b, NOW + INT64_C(100000000));
	check_round(b);
	buf_free(&names);
	brake_free(b);
	return 0;
}
