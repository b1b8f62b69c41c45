/* SPDX-License-Identifier: MIT
 * `relayctl delist N` for people: facts, steps and the text to send.
 */
#include <stdio.h>

#include "relayd/ctl.h"

static const char *text_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));
	return text ? text : "";
}

static void print_fact(const char *name, const char *value)
{
	if (value[0])
		printf("%-10s %s\n", name, value);
}

static void print_time(const json_t *row)
{
	struct buf text = {0};
	int64_t wait = json_integer_value(json_object_get(row, "wait_s"));
	if (wait) {
		ctl_add_seconds(&text, wait);
		print_fact("takes", buf_text(&text));
	}
	buf_free(&text);
	print_fact("asked of", text_of(row, "asked_of"));
}

static void print_language(const json_t *row, const char *title, const char *steps,
    const char *text)
{
	size_t n;
	const json_t *step;
	printf("\n%s\n", title);
	json_array_foreach (json_object_get(row, steps), n, step)
		printf("  %zu. %s\n", n + 1, json_string_value(step));
	printf("\n%s", text_of(row, text));
}

void ctl_delist(const json_t *row)
{
	print_fact("list", text_of(row, "name"));
	print_fact("asks by", text_of(row, "how"));
	print_fact("portal", text_of(row, "portal"));
	print_fact("mailbox", text_of(row, "mail"));
	print_fact("address", text_of(row, "ip"));
	print_fact("EHLO name", text_of(row, "ehlo"));
	print_fact("PTR", text_of(row, "ptr"));
	print_fact("reply", text_of(row, "reply"));
	print_time(row);
	print_language(row, "Steps", "steps_en", "text_en");
	print_language(row, "手順", "steps_ja", "text_ja");
}
