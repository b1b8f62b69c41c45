/* SPDX-License-Identifier: MIT
 * `relayctl delist N` for people: facts, steps and the text to send.
 */
#include <stdio.h>

#include "relayd/ctl.h"

static void print_fact(const char *name, const char *value)
{
	if (value[0])
		printf("%-10s %s\n", name, value);
}

static void print_time(const json_t *row)
{
	struct buf text = {0};
	int64_t wait = ctl_number(row, "wait_s");
	if (wait) {
		ctl_add_seconds(&text, wait);
		print_fact("takes", buf_text(&text));
	}
	buf_free(&text);
	print_fact("asked of", ctl_text(row, "asked_of"));
}

static void print_language(const json_t *row, const char *title, const char *steps,
    const char *text)
{
	size_t n;
	const json_t *step;
	printf("\n%s\n", title);
	json_array_foreach (json_object_get(row, steps), n, step)
		printf("  %zu. %s\n", n + 1, json_string_value(step));
	printf("\n%s", ctl_text(row, text));
}

void ctl_delist(const json_t *row)
{
	print_fact("list", ctl_text(row, "name"));
	print_fact("asks by", ctl_text(row, "how"));
	print_fact("portal", ctl_text(row, "portal"));
	print_fact("mailbox", ctl_text(row, "mail"));
	print_fact("address", ctl_text(row, "ip"));
	print_fact("EHLO name", ctl_text(row, "ehlo"));
	print_fact("PTR", ctl_text(row, "ptr"));
	print_fact("reply", ctl_text(row, "reply"));
	print_time(row);
	print_language(row, "Steps", "steps_en", "text_en");
	print_language(row, "手順", "steps_ja", "text_ja");
}
