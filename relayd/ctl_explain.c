/* SPDX-License-Identifier: MIT
 * `relayctl reputation explain`: which rule judges a reply, and what follows from
 * it. Needs no daemon: the same files and the same code as the daemon's.
 *
 *	explain "REPLY" [--stage S] [--mx NAME] [--smarthost]
 *	                                           in words (--json: as an object)
 *	explain -                                  one reply a line, one object a line
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conf/units.h"
#include "queue/verdict_text.h"
#include "relayd/base/mem.h"
#include "relayd/ctl.h"
#include "relayd/explain.h"
#include "relayd/rules.h"

#define READ_SHOWN 600 /* bytes of a reply */

struct question {
	const char *reply;
	const char *stage; /* NULL: not given */
	const char *mx;
	bool smarthost;
};

static int usage(const char *what)
{
	fprintf(stderr,
	    "relayctl: %s\n"
	    "usage: relayctl reputation explain \"REPLY\" [--stage S] [--mx NAME] [--smarthost]\n"
	    "       relayctl reputation explain -      (one reply a line: REPLY [TAB STAGE [TAB MX]])\n"
	    "stages: connect banner ehlo tls auth mail rcpt data end\n",
	    what);
	return CTL_USAGE;
}

static int take_words(const struct ctl *ctl, struct question *q)
{
	for (size_t i = 0; i < ctl->argc; i++) {
		const char *word = ctl->argv[i];
		bool more = i + 1 < ctl->argc;
		if (strcmp(word, "--stage") == 0 && more)
			q->stage = ctl->argv[++i];
		else if (strcmp(word, "--mx") == 0 && more)
			q->mx = ctl->argv[++i];
		else if (strcmp(word, "--smarthost") == 0)
			q->smarthost = true;
		else if (!q->reply && (word[0] != '-' || !word[1]))
			q->reply = word;
		else
			return -1;
	}
	return q->reply ? 0 : -1;
}

/* "\n" to a line break, "\\" to a backslash; any other backslash is itself. */
static void unescape(char *text)
{
	char *to = text;
	for (const char *p = text; *p; p++) {
		char c = *p;
		if (c == '\\' && (p[1] == 'n' || p[1] == '\\'))
			c = *++p == 'n' ? '\n' : '\\';
		*to++ = c;
	}
	*to = '\0';
}

/* Result: false when the stage is none. TEXT is to be cleared in any case. */
static bool judge(const struct verdict_rules *rules, const struct question *q,
    struct verdict_text *text, struct verdict *verdict)
{
	bool good = true;
	char *reply = mem_text(q->reply);
	unescape(reply);
	verdict_text_parse(text, span_text(reply));
	mem_free(reply);
	if (q->stage && !verdict_stage_parse(span_trim(span_text(q->stage)), &text->input.stage))
		good = false;
	text->input.mx = q->mx ? q->mx : "";
	text->input.smarthost = q->smarthost || text->input.stage == VERDICT_STAGE_AUTH;
	*verdict = verdict_judge(rules, &text->input);
	return good;
}

static json_t *object_of(const struct verdict *v)
{
	json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:b}", "category",
	    verdict_class_name(v->klass), "scope", verdict_scope_name(v->scope), "action",
	    verdict_action_name(v->action), "rule", v->rule, "known", v->known);
	if (*v->provider)
		json_object_set_new(object, "provider", json_string(v->provider));
	if (v->wait_ms)
		json_object_set_new(object, "wait_seconds", json_integer(v->wait_ms / 1000));
	if (v->action == VERDICT_HOLD && v->ladder_count) {
		json_t *ladder = json_array();
		for (size_t i = 0; i < v->ladder_count; i++)
			json_array_append_new(ladder, json_integer(v->ladder[i] / 1000));
		json_object_set_new(object, "probes_seconds", ladder);
	}
	if (v->family)
		json_object_set_new(
		    object, "family", json_string(v->family == AF_INET6 ? "ipv6" : "ipv4"));
	if (*v->help)
		json_object_set_new(object, "help", json_string(v->help));
	return object;
}

static void add_times(struct buf *line, const struct verdict *v)
{
	if (v->wait_ms) {
		buf_add_text(line, ", for ");
		units_print_duration(line, v->wait_ms);
	}
	for (size_t i = 0; v->action == VERDICT_HOLD && i < v->ladder_count; i++) {
		buf_add_text(line, i ? ", " : "; probes after ");
		units_print_duration(line, v->ladder[i]);
	}
	if (v->family)
		buf_add_text(line, v->family == AF_INET6 ? "; IPv6 only" : "; IPv4 only");
}

static void print_words(const struct verdict *v)
{
	struct buf line = {0};
	add_times(&line, v);
	if (v->action == VERDICT_SUPPRESS)
		buf_add_text(&line, " (back to the sender, who should not write there again; "
				    "relayd itself keeps no list of such addresses)");
	printf("rule:     %s%s\n", v->rule,
	    v->known ? "" : " (no rule knows this reply; judged by its codes and stage)");
	printf("verdict:  %s, about: %s\n", verdict_class_name(v->klass), verdict_scope_name(v->scope));
	printf("action:   %s%s\n", verdict_action_name(v->action), buf_text(&line));
	if (*v->provider)
		printf("provider: %s\n", v->provider);
	if (*v->help)
		printf("help:     %s\n", v->help);
	if (v->scope != VERDICT_SCOPE_NONE)
		printf("to do:    %s\n", explain_remedy(v->klass));
	buf_free(&line);
}

/* What was taken of a longer text, which may be wrong. */
static void print_question(const struct question *q)
{
	struct buf line = {0};
	text_escape_utf8(&line, span_text(q->reply), READ_SHOWN);
	if (q->stage)
		buf_addf(&line, ", stage %s", q->stage);
	if (q->mx)
		buf_addf(&line, ", host %s", q->mx);
	printf("read as:  %s\n", buf_text(&line));
	buf_free(&line);
}

/* Without a code it is judged as a connection that failed, which is not what is meant. */
static void print_no_code(const struct verdict_text *text)
{
	if (!text->input.code)
		puts(
		    "note:     there is no code like 550 at the beginning, so this is judged as a failure "
		    "without a reply");
}

static int explain_question(
    const struct ctl *ctl, const struct verdict_rules *rules, const struct question *q, bool quoted)
{
	struct verdict_text text;
	struct verdict verdict;
	bool good = judge(rules, q, &text, &verdict);
	if (good && ctl->json) {
		ctl_print_json(object_of(&verdict));
	} else if (good) {
		if (quoted)
			print_question(q);
		print_no_code(&text);
		print_words(&verdict);
	}
	verdict_text_clear(&text);
	return good ? CTL_OK : usage("--stage: there is no such stage");
}

/* What was said on the command line counts more than what stands around the reply. */
static int explain_one(
    const struct ctl *ctl, const struct verdict_rules *rules, const struct question *q)
{
	struct ctl_quote quote;
	struct question own = *q;
	bool quoted = ctl_quote_find(q->reply, &quote);
	if (quoted) {
		own.reply = buf_text(&quote.reply);
		if (!own.stage)
			own.stage = quote.stage;
		if (!own.mx && quote.mx.len)
			own.mx = buf_text(&quote.mx);
	}
	int status = explain_question(ctl, rules, &own, quoted);
	ctl_quote_clear(&quote);
	return status;
}

/* REPLY [TAB STAGE [TAB MX]] */
static bool explain_line(const struct verdict_rules *rules, char *line)
{
	struct question q = {.reply = line};
	struct verdict_text text;
	struct verdict verdict;
	char *stage = strchr(line, '\t');
	char *mx = stage ? strchr(stage + 1, '\t') : NULL;
	char *more = mx ? strchr(mx + 1, '\t') : NULL;
	if (stage)
		*stage++ = '\0';
	if (mx)
		*mx++ = '\0';
	if (more)
		*more = '\0';
	q.stage = stage;
	q.mx = mx;
	bool good = judge(rules, &q, &text, &verdict);
	ctl_print_json(object_of(&verdict));
	verdict_text_clear(&text);
	return good;
}

static int explain_lines(const struct verdict_rules *rules)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	int result = CTL_OK;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned long number = 1; (n = getline(&line, &room, stdin)) >= 0; number++) {
		while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
			line[--n] = '\0';
		if (!explain_line(rules, line)) {
			fprintf(stderr, "relayctl: line %lu: there is no such stage; judged as if "
			    "none was given\n", number);
			result = CTL_PROBLEM;
		}
	}
	free(line);
	return result;
}

int ctl_explain(const struct ctl *ctl)
{
	struct question q = {0};
	struct buf errors = {0};
	if (take_words(ctl, &q) < 0)
		return usage("expected one reply");
	bool lines = strcmp(q.reply, "-") == 0;
	if (lines && (q.stage || q.mx || q.smarthost))
		return usage(
		    "with -, stage and MX name stand in the lines, and none is a smarthost's");
	struct verdict_rules *rules = rules_load(ctl->file, &errors);
	if (!rules) {
		fputs(buf_text(&errors), stderr);
		buf_free(&errors);
		return CTL_PROBLEM;
	}
	int result = lines ? explain_lines(rules) : explain_one(ctl, rules, &q);
	verdict_free(rules);
	buf_free(&errors);
	return result;
}
