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

static bool is_held_by_hand(const json_t *row)
{
	return strcmp(ctl_text(row, "waits"), "by-hand") == 0;
}

static void add_next(struct buf *out, const json_t *row, const char *state)
{
	int64_t paused = ctl_number(row, "paused");
	if (strcmp(state, "held") == 0) {
		buf_addf(out, "nothing, until it is released: %s", ctl_text(row, "held"));
	} else if (strcmp(state, "running") == 0) {
		buf_add_text(out, "it is being tried at this moment");
	} else if (strcmp(state, "expired") == 0) {
		buf_add_text(out, "its time is over: it goes back to the sender");
	} else if (is_held_by_hand(row)) {
		buf_add_text(
		    out, "nothing, while its path is held by hand; returned to the sender in ");
		ctl_add_seconds(out, ctl_number(row, "expires"));
	} else {
		buf_add_text(out, "tried again in ");
		ctl_add_seconds(out, ctl_number(row, "next") > paused ? ctl_number(row, "next") : paused);
		if (paused)
			buf_addf(out, " (nobody answers for %s, so all its mail pauses)",
			    ctl_text(row, "destination"));
		else if (strcmp(state, "paused") == 0)
			buf_add_text(out,
			    " (when its turn comes: the receiver gets only so much at a time)");
		buf_add_text(out, ", returned to the sender in ");
		ctl_add_seconds(out, ctl_number(row, "expires"));
	}
}

static void print_next(const json_t *row)
{
	const char *state = ctl_text(row, "state");
	struct buf text = {0};
	buf_addf(&text, "%s, %" PRId64 " attempt%s so far", state, ctl_number(row, "attempts"),
	    ctl_number(row, "attempts") == 1 ? "" : "s");
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
		if (strcmp(ctl_text(one, "said"), ctl_text(row, "said")) == 0)
			continue;
		buf_addf(&text, "%s: ", ctl_text(one, "to"));
		if (ctl_text(one, "said")[0])
			add_said(&text, ctl_number(one, "said_s"), ctl_text(one, "stage"),
			    ctl_text(one, "said"));
		else
			buf_add_text(&text, "no answer yet");
		print_text("other", buf_text(&text));
		buf_free(&text);
	}
}

static void print_answer(const json_t *row)
{
	struct buf text = {0};
	if (!ctl_text(row, "said")[0]) {
		print_text("answer", ctl_number(row, "attempts")
					 ? "not known any more, as after a restart of relayd"
					 : "none yet");
	} else {
		add_said(&text, ctl_number(row, "said_age"), ctl_text(row, "stage"), ctl_text(row, "said"));
		print_text("answer", buf_text(&text));
	}
	buf_free(&text);
	print_text("means", ctl_text(row, "means"));
	print_text("to do", ctl_text(row, "do"));
	print_text("see", ctl_text(row, "help"));
	print_others(row);
}

/* What can be done about it now. What waits for a way out is not tried by being due. */
static void add_command(struct buf *out, const json_t *row)
{
	const char *state = ctl_text(row, "state");
	const char *id = ctl_text(row, "id");
	if (strcmp(state, "held") == 0)
		buf_addf(out, "relayctl queue release %s", id);
	else if (is_held_by_hand(row))
		buf_addf(out, "relayctl reputation open %s (lets its mail go again)",
		    ctl_text(row, "provider"));
	else if (ctl_number(row, "incident"))
		buf_addf(out, "relayctl reputation probe %s (asks now whether it is open again)",
		    ctl_text(row, "incident_provider"));
	else if (ctl_text(row, "waits")[0])
		buf_add_text(out, "relayctl reputation (the paths, and what they wait for)");
	else if (strcmp(state, "waiting") == 0 || strcmp(state, "ready") == 0 ||
		 strcmp(state, "paused") == 0)
		buf_addf(out, "relayctl queue retry %s (tries it now)", id);
}

static void print_commands(const json_t *row)
{
	struct buf text = {0};
	int64_t incident = ctl_number(row, "incident");
	if (incident) {
		buf_addf(&text, "relayctl incidents show %" PRId64 " (what is known of the block)",
		    incident);
		print_text("command", buf_text(&text));
		buf_clear(&text);
	}
	add_command(&text, row);
	print_text("command", buf_text(&text));
	buf_free(&text);
}

void ctl_why(const json_t *row, bool first)
{
	struct buf age = {0};
	ctl_add_seconds(&age, ctl_number(row, "age"));
	printf("%s%s, %" PRId64 " bytes, came %s ago from %s\n", first ? "" : "\n",
	    ctl_text(row, "id"), ctl_number(row, "size"), buf_text(&age), ctl_text(row, "client"));
	print_text("from", ctl_text(row, "from")[0] ? ctl_text(row, "from") : "<>");
	print_recipients(row);
	print_next(row);
	print_answer(row);
	print_commands(row);
	buf_free(&age);
}
