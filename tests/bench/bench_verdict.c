/* SPDX-License-Identifier: MIT
 * Microseconds (of CPU) per verdict with all rules loaded: over the replies of a file (one a
 * line, \n for a line break), and of replies made to be slow. Usage:
 * bench_verdict RULES [REPLIES]; without REPLIES the rules' own examples are judged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "queue/rules.h"
#include "queue/verdict_text.h"
#include "relayd/base/mem.h"

#define REPLIES_MAX 20000
#define ROUNDS 50

struct replies {
	struct verdict_text *texts;
	size_t count;
};

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void add(struct replies *r, struct span reply)
{
	if (r->count == REPLIES_MAX)
		return;
	r->texts = mem_resize(r->texts, r->count + 1, sizeof(*r->texts));
	verdict_text_parse(&r->texts[r->count], reply);
	r->texts[r->count].input.mx = "mx.example.net";
	r->count++;
}

static void read_replies(struct replies *r, const char *path)
{
	char line[8192];
	FILE *file = fopen(path, "r");
	if (!file) {
		perror(path);
		exit(1);
	}
	while (fgets(line, sizeof(line), file)) {
		size_t n = 0;
		for (const char *p = line; *p && *p != '\n'; p++) {
			bool escaped = p[0] == '\\' && (p[1] == 'n' || p[1] == '\\');
			line[n++] = escaped ? (*++p == 'n' ? '\n' : '\\') : *p;
		}
		add(r, (struct span){line, n});
	}
	fclose(file);
}

static void add_examples(struct replies *r, const struct verdict_rules *rules)
{
	for (size_t i = 0; i < rules->rule_count; i++)
		for (size_t k = 0; k < rules->rules[i].example_count; k++)
			add(r, span_text(rules->rules[i].examples[k].reply));
}

static void bench_all(const struct verdict_rules *rules, const struct replies *r)
{
	double worst = 0;
	double began = now_us();
	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < r->count; i++)
			(void)verdict_judge(rules, &r->texts[i].input);
	double mean = (now_us() - began) / ROUNDS / (double)r->count;
	for (size_t i = 0; i < r->count; i++) {
		double best = 1e9; /* of some rounds: the scheduler is not what is measured */
		for (int round = 0; round < 20; round++) {
			began = now_us();
			(void)verdict_judge(rules, &r->texts[i].input);
			double took = now_us() - began;
			best = took < best ? took : best;
		}
		worst = best > worst ? best : worst;
	}
	printf("%zu rules, %zu replies: mean %.2f us, slowest reply %.2f us\n", rules->rule_count,
	    r->count, mean, worst);
}

static void bench_one(const struct verdict_rules *rules, const char *name, const char *pattern)
{
	static char text[PLAIN_MAX];
	size_t n = strlen(pattern);
	struct verdict_input in = {.code = 550, .stage = VERDICT_STAGE_RCPT, .mx = "mx.example.net",
	    .text = {text, sizeof(text)}};
	double best = 1e9, worst = 0;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = pattern[i % n];
	for (int round = 0; round < 200; round++) {
		double began = now_us();
		(void)verdict_judge(rules, &in);
		double took = now_us() - began;
		best = took < best ? took : best;
		worst = took > worst ? took : worst;
	}
	printf("  %-28s best %8.2f us, worst of 200 %8.2f us\n", name, best, worst);
}

static void bench_hostile(const struct verdict_rules *rules)
{
	bench_one(rules, "8 KiB of spaces", " ");
	bench_one(rules, "8 KiB of a", "a");
	bench_one(rules, "addresses", "a@b ");
	bench_one(rules, "IPv4 addresses", "192.0.2.1 ");
	bench_one(rules, "IPv6 addresses", "::1 ");
	bench_one(rules, "nearly IPv6", "a:b:c:d:e:f:0:1:2 ");
	bench_one(rules, "URLs", "http://a ");
	bench_one(rules, "phrases", "user unknown mailbox full spam rbl blacklist over quota ");
	bench_one(rules, "many lines", "x\n");
	bench_one(rules, "UTF-8", "\xe3\x81\x82\xc3\xa9");
	bench_one(rules, "temporarily deferred", "messages from temporarily deferred m");
}

/* A rule file written to be slow: as many expressions and phrases as it may have. */
static struct verdict_rules *hostile_rules(void)
{
	struct buf text = {0};
	struct buf errors = {0};
	struct verdict_rules *rules = rules_new();
	buf_add_text(&text, "rules = (");
	for (int i = 0; i < RULES_MAX; i++)
		buf_addf(&text,
		    "%s{ id = \"r%d\"; regex = \"%s\"; category = \"policy\"; text = [ \"*a*\", "
		    "\"*aa*\", \"*aaaa*\", \"*aaaaaa*\", \"*aaaaaaaa*\", \"*b%dc\" ];"
		    " without = [ \"x%d\" ]; examples = [ \"5%02d aab c\" ]; }",
		    i ? "," : "", i,
		    i % 3 == 0 ? "(a|b|ab|c)*d$|aab c$" : i % 3 == 1 ? "(?:a|z){0,999}+zq|aab" : "(?=a*+z)x|aab",
		    i, i, i % 100);
	buf_add_text(&text, ");");
	if (rules_read(rules, span_buf(&text), "hostile", &errors) < 0 ||
	    words_build(rules->words, &(struct why){0}) < 0) {
		fprintf(stderr, "%.500s", buf_text(&errors));
		exit(1);
	}
	buf_free(&text);
	buf_free(&errors);
	return rules;
}

int main(int argc, char **argv)
{
	struct buf errors = {0};
	struct replies replies = {0};
	if (argc < 2)
		return 2;
	const char *const files[] = {argv[1]};
	double began = now_us();
	struct verdict_rules *rules = verdict_load(files, 1, &errors);
	if (!rules) {
		fprintf(stderr, "%s", buf_text(&errors));
		return 1;
	}
	printf("loading: %.1f ms\n", (now_us() - began) / 1000);
	if (argc > 2)
		read_replies(&replies, argv[2]);
	else
		add_examples(&replies, rules);
	bench_all(rules, &replies);
	bench_hostile(rules);
	puts("with a rule file written to be slow:");
	struct verdict_rules *slow = hostile_rules();
	bench_hostile(slow);
	verdict_free(slow);
	verdict_free(rules);
	for (size_t i = 0; i < replies.count; i++)
		verdict_text_clear(&replies.texts[i]);
	mem_free(replies.texts);
	buf_free(&errors);
	return 0;
}
