/* SPDX-License-Identifier: MIT
 * How many messages a second the spool takes, and how fast it starts. Built by
 * `make bench-build`.
 * Usage: bench_spool FOLDER MESSAGES GROUP BYTES [keep]; the folder must not
 * exist or hold an earlier "keep". GROUP messages are on their way at a time;
 * with "keep" they stay in the queue and the start over them is measured.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "queue/spool.h"
#include "relayd/base/mem.h"

struct sender {
	struct spool_append append;
	struct bench *bench;
	struct timespec begun;
};

struct bench {
	struct loop *loop;
	struct spool *spool;
	struct envelope envelope;
	char *body;
	size_t bytes;
	uint64_t next;
	uint64_t wanted;
	uint64_t done;
	uint64_t failed;
	uint64_t found;
	double *waits;
	bool keep;
};

static double since(const struct timespec *begun)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - begun->tv_sec) +
	    (double)(now.tv_nsec - begun->tv_nsec) / 1e9;
}

static void ready(void *arg, enum spool_status status, const struct why *why)
{
	struct sender *s = arg;
	(void)status;
	(void)why;
	spool_append(s->bench->spool, &s->append);
}

static void start(struct sender *s);

static void done(struct spool_append *append)
{
	struct sender *s = (struct sender *)append;
	struct bench *b = s->bench;
	b->waits[b->done++] = since(&s->begun);
	if (append->status != SPOOL_DONE)
		b->failed++;
	else if (!b->keep)
		spool_note_end(b->spool, append->id, append->place);
	start(s);
}

static void start(struct sender *s)
{
	struct bench *b = s->bench;
	if (b->next >= b->wanted)
		return;
	s->append = (struct spool_append){.id = ++b->next, .envelope = &b->envelope,
		.done = done, .head = span_text("Subject: bench\r\n\r\n")};
	s->append.id += (uint64_t)time(NULL) << 32;
	clock_gettime(CLOCK_MONOTONIC, &s->begun);
	s->append.content = spool_content_new(b->spool, s->append.id, NULL, NULL);
	spool_content_add(s->append.content, (struct span){b->body, b->bytes});
	spool_content_finish(s->append.content, ready, s);
}

static void found(void *arg, uint64_t id, struct spool_place place,
    const struct envelope *envelope, uint64_t size, const struct spool_state *state,
    const unsigned char *bits)
{
	(void)id;
	(void)place;
	(void)envelope;
	(void)size;
	(void)state;
	(void)bits;
	((struct bench *)arg)->found++;
}

static bool never_live(void *arg, uint64_t id, struct spool_live *now, struct buf *bits)
{
	(void)arg;
	(void)id;
	(void)now;
	(void)bits;
	return false;
}

static void open_spool(struct bench *b, const struct conf_spool *conf)
{
	struct why why;
	struct timespec begun;
	struct spool_reports reports = {.live = b->keep ? NULL : never_live, .arg = b};
	clock_gettime(CLOCK_MONOTONIC, &begun);
	b->found = 0;
	b->spool = spool_open(b->loop, conf, &reports, &why);
	if (!b->spool || spool_recover(b->spool, found, b, &why) != 0) {
		fprintf(stderr, "%s\n", why.text);
		exit(1);
	}
	printf("start: %.3f s, %llu messages found\n", since(&begun),
	    (unsigned long long)b->found);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;
	return (x > y) - (x < y);
}

static void run(struct bench *b, size_t group)
{
	struct timespec begun;
	struct sender *senders = mem_array(group, sizeof(*senders));
	clock_gettime(CLOCK_MONOTONIC, &begun);
	for (size_t i = 0; i < group; i++) {
		senders[i].bench = b;
		start(&senders[i]);
	}
	while (b->done < b->wanted)
		loop_turn(b->loop, true);
	double took = since(&begun);
	struct spool_stats stats = spool_stats(b->spool);
	qsort(b->waits, b->wanted, sizeof(*b->waits), compare);
	printf("%llu messages of %zu bytes, %zu at a time: %.0f/s, p50 %.2f ms, p99 %.2f ms, "
	    "%llu syncs, %llu failed\n", (unsigned long long)b->wanted, b->bytes, group,
	    (double)b->wanted / took, b->waits[b->wanted / 2] * 1e3,
	    b->waits[b->wanted * 99 / 100] * 1e3, (unsigned long long)stats.syncs,
	    (unsigned long long)b->failed);
	mem_free(senders);
}

int main(int argc, char **argv)
{
	static char sender[] = "postmaster@example.jp";
	static char recipient[] = "somebody@example.net";
	static char *recipients[] = {recipient};
	if (argc < 5) {
		fprintf(stderr, "usage: bench_spool FOLDER MESSAGES GROUP BYTES [keep]\n");
		return 2;
	}
	struct bench b = {.loop = loop_new(), .wanted = strtoull(argv[2], NULL, 10),
		.bytes = strtoull(argv[4], NULL, 10), .keep = argc > 5,
		.envelope = {.sender = sender, .recipients = recipients, .recipient_count = 1}};
	struct conf_spool conf = {.path = argv[1], .segment_size = 64 << 20,
		.big_message = 1 << 20, .spare_segments = 2, .free_space = 64 << 20};
	b.body = mem_zero(b.bytes + 1);
	memset(b.body, 'x', b.bytes);
	b.waits = mem_array(b.wanted + 1, sizeof(double));
	open_spool(&b, &conf);
	if (b.wanted)
		run(&b, strtoull(argv[3], NULL, 10));
	spool_close(b.spool);
	loop_free(b.loop);
	return b.failed != 0;
}
