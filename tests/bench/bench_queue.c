/* SPDX-License-Identifier: MIT
 * What a waiting message costs in memory: fills the queue with messages of one
 * recipient each that are due tomorrow, over many destinations, and looks at
 * the heap and at the resident size. Usage: bench_queue [messages, default a
 * million [destinations, default 50000]].
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "queue/destination.h"
#include "queue/schedule.h"
#include "relayd/base/clock.h"
#include "relayd/base/loop.h"
#include "relayd/base/mem.h"

#define WALL_MS 1795000000000
#define DAY_MS (24 * 3600 * 1000LL)
#define SIZE 4500 /* of each message, on disk */

/* Nothing is due, so nothing of this may be called. */
static void on_batch(void *arg, struct batch *batch)
{
	(void)arg;
	(void)batch;
	bug("an attempt, though nothing is due");
}

static void on_message(void *arg, struct message *message)
{
	(void)arg;
	(void)message;
	bug("an end, though nothing was tried");
}

static size_t heap_bytes(void)
{
	struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
}

static size_t resident_bytes(void)
{
	unsigned long size = 0;
	unsigned long resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f || fscanf(f, "%lu %lu", &size, &resident) != 2)
		bug("no /proc/self/statm");
	fclose(f);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static double cpu_seconds(void)
{
	return (double)clock() / CLOCKS_PER_SEC;
}

static void fill(struct schedule *schedule, size_t messages, size_t destinations)
{
	const struct spool_state state = {.due_ms = WALL_MS + DAY_MS, .attempts = 3};
	for (size_t i = 0; i < messages; i++) {
		char name[64];
		const char *const list[1] = {name};
		struct schedule_entry entry = {
		    .id = (uint64_t)i * 0x9e3779b97f4a7c15u + 1,
		    .place = {(uint32_t)(i / 10000), (uint32_t)(i % 10000) * 4608},
		    .arrived_ms = WALL_MS,
		    .size = SIZE,
		};
		snprintf(name, sizeof(name), "mail%zu.example.net", i % destinations);
		schedule_add(schedule, &entry, list, 1, &state);
	}
}

static void print(size_t messages, size_t heap, size_t resident)
{
	double n = (double)messages;
	printf("%.1f bytes a message in the heap, %.1f resident\n", (double)heap / n,
	    (double)resident / n);
}

int main(int argc, char **argv)
{
	size_t messages = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
	size_t destinations = argc > 2 ? strtoul(argv[2], NULL, 10) : 50000;
	int64_t ladder[] = {120000, 3600000};
	const struct conf_queue conf = {.lifetime = 5 * DAY_MS,
	    .delay_notice = DAY_MS / 6,
	    .bounce_lifetime = DAY_MS,
	    .backoff = ladder,
	    .backoff_count = 2,
	    .window_start = 2,
	    .window_max = 20,
	    .connections = 200};
	const struct schedule_handler handler = {NULL, on_batch, on_batch, on_message, on_message, NULL};
	if (messages == 0 || destinations == 0) {
		fputs("usage: bench_queue [messages [destinations]]\n", stderr);
		return 2;
	}
	clock_fake(WALL_MS);
	struct loop *loop = loop_new();
	struct schedule *schedule = schedule_new(loop, &conf, &handler);
	size_t heap = heap_bytes();
	size_t resident = resident_bytes();
	double cpu = cpu_seconds();
	fill(schedule, messages, destinations);
	cpu = cpu_seconds() - cpu;
	struct schedule_stats stats = schedule_stats(schedule);
	if (stats.messages != messages || stats.waiting != messages)
		bug("not all messages wait");
	print(messages, heap_bytes() - heap, resident_bytes() - resident);
	printf("sizes: message %zu, batch %zu, destination %zu; %zu messages, %zu destinations, "
	       "added at %.2f us of CPU each\n",
	    sizeof(struct message), sizeof(struct batch), sizeof(struct destination),
	    stats.messages, stats.destinations, cpu / (double)messages * 1e6);
	schedule_free(schedule);
	loop_free(loop);
	return 0;
}
