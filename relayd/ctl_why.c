/* SPDX-License-Identifier: MIT
 * `relayctl why` for people: each message as a paragraph that says where it is,
 * what was answered, what that means, and what happens or can be done next.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "relayd/ctl.h"

#define WIDTH 78
#define INDENT 11

static const char *text_of(const json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));
	return text ? text : "";
}

static int64_t number_of(const json_t *row, const char *name)
{
	return json_integer_value(json_object_get(row, name));
}

/* "  label    text", broken at spaces. */
static void print_text(const char *label, const char *text)
{
	size_t column = INDENT;
	if (!text[0])
		return;
	printf("  %-*s", INDENT - 2, label);
	while (*text) {
		size_t word = strcspn(text, " ");
		if (column > INDENT && column + 1 + word > WIDTH) {
			printf("\n%*s", INDENT, "");
			column = INDENT;
		} else if (column > INDENT) {
			putchar(' ');
			column++;
		}
		printf("%.*s", (int)word, text);
		column += word;
		text += word;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void print_recipients(const json_t *row)
{
	const json_t *to = json_object_get(row, "to");
	struct buf text = {0};
	for (size_t i = 0; i < json_array_size(to) && i < 10; i++)
		buf_addf(&text, "%s%s", i ? ", " : "", json_string_value(json_array_get(to, i)));
	if (json_array_size(to) > 10)
		buf_addf(&text, " and %zu more", json_array_size(to) - 10);
	print_text("to", buf_text(&text));
	buf_free(&text);
}

static void add_next(struct buf *out, const json_t *row, const char *state)
{
	int64_t paused = number_of(row, "paused");
	if (strcmp(state, "held") == 0) {
		buf_addf(out, "nothing, until it is released: %s", text_of(row, "held"));
	} else if (strcmp(state, "running") == 0) {
		buf_add_text(out, "it is being tried at this moment");
	} else if (strcmp(state, "expired") == 0) {
		buf_add_text(out, "its time is over: it goes back to the sender");
	} else {
		buf_add_text(out, "tried again in ");
		ctl_add_seconds(out, number_of(row, "next") > paused ? number_of(row, "next") : paused);
		if (paused)
			buf_addf(out, " (nobody answers for %s, so all its mail pauses)",
			    text_of(row, "destination"));
		buf_add_text(out, ", returned to the sender in ");
		ctl_add_seconds(out, number_of(row, "expires"));
	}
}

static void print_next(const json_t *row)
{
	const char *state = text_of(row, "state");
	struct buf text = {0};
	buf_addf(&text, "%s, %" PRId64 " attempt%s so far", state, number_of(row, "attempts"),
	    number_of(row, "attempts") == 1 ? "" : "s");
	print_text("state", buf_text(&text));
	buf_clear(&text);
	add_next(&text, row, state);
	print_text("next", buf_text(&text));
	buf_free(&text);
}

static void add_said(struct buf *out, int64_t age, const char *stage, const char *said)
{
	ctl_add_seconds(out, age);
	buf_addf(out, " ago");
	if (stage[0])
		buf_addf(out, " (%s)", stage);
	buf_addf(out, ": %s", said);
}

/* Of the others, those about which something else was said. */
static void print_others(const json_t *row)
{
	const json_t *answers = json_object_get(row, "answers");
	for (size_t i = 0; i < json_array_size(answers); i++) {
		const json_t *one = json_array_get(answers, i);
		struct buf text = {0};
		if (strcmp(text_of(one, "said"), text_of(row, "said")) == 0)
			continue;
		buf_addf(&text, "%s: ", text_of(one, "to"));
		if (text_of(one, "said")[0])
			add_said(&text, number_of(one, "said_s"), text_of(one, "stage"),
			    text_of(one, "said"));
		else
			buf_add_text(&text, "no answer yet");
		print_text("other", buf_text(&text));
		buf_free(&text);
	}
}

static void print_answer(const json_t *row)
{
	struct buf text = {0};
	if (!text_of(row, "said")[0]) {
		print_text("answer", "none yet");
	} else {
		add_said(&text, number_of(row, "said_age"), text_of(row, "stage"), text_of(row, "said"));
		print_text("answer", buf_text(&text));
	}
	buf_free(&text);
	print_text("means", text_of(row, "means"));
	print_text("to do", text_of(row, "do"));
	print_text("see", text_of(row, "help"));
	print_others(row);
}

static void print_commands(const json_t *row)
{
	const char *state = text_of(row, "state");
	struct buf text = {0};
	int64_t incident = number_of(row, "incident");
	if (incident) {
		buf_addf(&text, "relayctl incidents show %" PRId64 " (what is known of the block)",
		    incident);
		print_text("command", buf_text(&text));
		buf_clear(&text);
	}
	if (strcmp(state, "held") == 0)
		buf_addf(&text, "relayctl queue release %s", text_of(row, "id"));
	else if (incident)
		buf_addf(&text, "relayctl reputation probe %s (asks now whether it is open again)",
		    text_of(row, "incident_provider"));
	else if (strcmp(state, "waiting") == 0 || strcmp(state, "ready") == 0)
		buf_addf(&text, "relayctl queue retry %s (tries it now)", text_of(row, "id"));
	print_text("command", buf_text(&text));
	buf_free(&text);
}

void ctl_why(const json_t *row, bool first)
{
	struct buf age = {0};
	ctl_add_seconds(&age, number_of(row, "age"));
	printf("%s%s, %" PRId64 " bytes, came %s ago from %s\n", first ? "" : "\n",
	    text_of(row, "id"), number_of(row, "size"), buf_text(&age), text_of(row, "client"));
	print_text("from", text_of(row, "from")[0] ? text_of(row, "from") : "<>");
	print_recipients(row);
	print_next(row);
	print_answer(row);
	print_commands(row);
	buf_free(&age);
}
