/* SPDX-License-Identifier: MIT
 * Counts are kept in slots of a ring, five minutes or two hours long; a slot falls
 * out as a whole, so "an hour" is 55 to 60 minutes.
 */
#include "queue/brake.h"

#include <string.h>
#include <utlist.h>

#include "queue/field.h"
#include "relayd/base/hash.h"
#include "relayd/base/mem.h"

#define SLOTS 12
#define HOUR_SLOT (5 * INT64_C(60000))
#define DAY_SLOT (120 * INT64_C(60000))

/* A sender. Braked ones stand on one list, all others on the other, the one that was
 * longest not seen in front. */
struct sender {
	UT_hash_handle hh;
	char *who;
	int64_t hour_slot; /* the newest of the ring */
	int64_t day_slot;
	int64_t messages[SLOTS];
	int64_t recipients[SLOTS];
	int64_t unknown[SLOTS];
	unsigned cause; /* enum brake_cause */
	int64_t since_ms;
	uint64_t rate_limit;
	unsigned share_limit;
	uint64_t minimum;
	bool dirty; /* counted, and not written down */
	struct sender *prev;
	struct sender *next;
};

static const struct field fields[] = {
    {"who", FIELD_TEXT, offsetof(struct sender, who), BRAKE_NAME_MAX},
    {"hour", FIELD_TIME, offsetof(struct sender, hour_slot), 0},
    {"day", FIELD_TIME, offsetof(struct sender, day_slot), 0},
    {"messages", FIELD_LIST, offsetof(struct sender, messages), SLOTS},
    {"recipients", FIELD_LIST, offsetof(struct sender, recipients), SLOTS},
    {"unknown", FIELD_LIST, offsetof(struct sender, unknown), SLOTS},
    {"cause", FIELD_COUNT, offsetof(struct sender, cause), BRAKE_UNKNOWN},
    {"since", FIELD_TIME, offsetof(struct sender, since_ms), 0},
    {"rate", FIELD_BIG, offsetof(struct sender, rate_limit), 0},
    {"share", FIELD_COUNT, offsetof(struct sender, share_limit), 100},
    {"minimum", FIELD_BIG, offsetof(struct sender, minimum), 0},
};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

struct brake {
	struct brake_options options;
	struct sender *senders; /* uthash */
	struct sender *free;    /* utlist */
	struct sender *braked;  /* utlist */
};

const char *brake_cause_name(enum brake_cause cause)
{
	switch (cause) {
	case BRAKE_FREE:
		return "";
	case BRAKE_RATE:
		return "rate";
	case BRAKE_UNKNOWN:
		return "unknown";
	}
	return "";
}

/* ---- rings ---- */

/* Up to SLOT; what is older than the ring is gone. A time before the newest slot (the
 * clock was set back) counts there, unless it is absurdly far back. */
static void ring_move(int64_t *ring, int64_t newest, int64_t slot)
{
	if (slot - newest >= SLOTS || newest - slot >= SLOTS)
		memset(ring, 0, SLOTS * sizeof(*ring));
	else
		for (int64_t s = newest + 1; s <= slot; s++)
			ring[s % SLOTS] = 0;
}

static int64_t newer(int64_t newest, int64_t slot)
{
	return slot > newest || newest - slot >= SLOTS ? slot : newest;
}

static void move_to(struct sender *s, int64_t now_ms)
{
	int64_t hour = now_ms / HOUR_SLOT;
	int64_t day = now_ms / DAY_SLOT;
	ring_move(s->messages, s->hour_slot, hour);
	ring_move(s->recipients, s->day_slot, day);
	ring_move(s->unknown, s->day_slot, day);
	s->hour_slot = newer(s->hour_slot, hour);
	s->day_slot = newer(s->day_slot, day);
}

static uint64_t ring_sum(const int64_t *ring)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < SLOTS; i++)
		sum += (uint64_t)ring[i];
	return sum;
}

/* What a store may hold is bounded, so that no sum overflows. */
static bool is_sound(const struct sender *s)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (s->messages[i] > FIELD_TIME_MAX || s->recipients[i] > FIELD_TIME_MAX ||
		    s->unknown[i] > s->recipients[i])
			return false;
	bool limits = s->rate_limit <= (uint64_t)FIELD_TIME_MAX &&
		      s->minimum <= (uint64_t)FIELD_TIME_MAX;
	return limits && s->who[0] && strlen(s->who) <= BRAKE_NAME_MAX && (s->cause == BRAKE_FREE) == (s->since_ms == 0);
}

/* ---- senders ---- */

static struct sender **list_of(struct brake *b, const struct sender *s)
{
	return s->cause == BRAKE_FREE ? &b->free : &b->braked;
}

static void sender_free(struct brake *b, struct sender *s)
{
	struct sender **list = list_of(b, s);
	HASH_DEL(b->senders, s);
	DL_DELETE(*list, s);
	field_clear(fields, FIELDS, s);
	mem_free(s);
}

static void sender_add(struct brake *b, struct sender *s)
{
	struct sender **list = list_of(b, s);
	if (HASH_COUNT(b->senders) >= BRAKE_SENDERS_MAX)
		sender_free(b, b->free ? b->free : b->braked);
	HASH_ADD_KEYPTR(hh, b->senders, s->who, strlen(s->who), s);
	DL_APPEND(*list, s);
}

static struct sender *find(const struct brake *b, const char *who)
{
	struct sender *s;
	HASH_FIND(hh, b->senders, who, strnlen(who, BRAKE_NAME_MAX), s);
	return s;
}

/* The same, made where it is missing; it is the one seen last now. */
static struct sender *get(struct brake *b, const char *who, int64_t now_ms)
{
	struct sender *s = find(b, who);
	if (!s) {
		s = mem_zero(sizeof(*s));
		s->who = mem_copy(who, strnlen(who, BRAKE_NAME_MAX));
		sender_add(b, s);
	} else if (s->next) {
		struct sender **list = list_of(b, s);
		DL_DELETE(*list, s);
		DL_APPEND(*list, s);
	}
	move_to(s, now_ms);
	return s;
}

struct brake *brake_new(const struct brake_options *options)
{
	struct brake *b = mem_zero(sizeof(*b));
	b->options = *options;
	return b;
}

void brake_free(struct brake *b)
{
	struct sender *s;
	struct sender *next;
	if (!b)
		return;
	HASH_ITER (hh, b->senders, s, next)
		sender_free(b, s);
	mem_free(b);
}

/* ---- store ---- */

static void print(const struct sender *s, struct buf *out)
{
	buf_add_text(out, "brake");
	field_print(out, fields, FIELDS, s);
}

static void write_down(struct brake *b, struct sender *s)
{
	struct buf line = {0};
	s->dirty = false;
	if (!b->options.event)
		return;
	print(s, &line);
	b->options.event(b->options.arg, buf_text(&line));
	buf_free(&line);
}

bool brake_replay(struct brake *b, struct span line)
{
	struct sender read = {0};
	bool right = span_starts_nocase(line, "brake\t") &&
		     field_parse(line, fields, FIELDS, &read) && is_sound(&read);
	if (!right) {
		field_clear(fields, FIELDS, &read);
		return false;
	}
	struct sender *old = find(b, read.who);
	if (old)
		sender_free(b, old);
	struct sender *s = mem_alloc(sizeof(*s));
	*s = read;
	sender_add(b, s);
	return true;
}

void brake_dump(const struct brake *b, void (*line)(void *arg, const char *line), void *arg)
{
	const struct sender *lists[] = {b->free, b->braked};
	struct buf text = {0};
	for (size_t i = 0; i < 2; i++)
		for (const struct sender *s = lists[i]; s; s = s->next) {
			buf_clear(&text);
			print(s, &text);
			line(arg, buf_text(&text));
		}
	buf_free(&text);
}

void brake_flush(struct brake *b)
{
	for (struct sender *s = b->senders; s; s = s->hh.next)
		if (s->dirty)
			write_down(b, s);
}

/* ---- the judgement ---- */

static struct brake_view view_of(const struct sender *s)
{
	return (struct brake_view){
	    .who = s->who,
	    .cause = (enum brake_cause)s->cause,
	    .since_ms = s->since_ms,
	    .messages = ring_sum(s->messages),
	    .recipients = ring_sum(s->recipients),
	    .unknown = ring_sum(s->unknown),
	    .limits = {(int64_t)s->rate_limit, (int64_t)s->share_limit, (int64_t)s->minimum},
	};
}

static enum brake_cause cause_of(const struct sender *s)
{
	uint64_t recipients = ring_sum(s->recipients);
	uint64_t unknown = ring_sum(s->unknown);
	if (s->share_limit && recipients >= s->minimum && unknown &&
	    (double)unknown * 100 >= (double)recipients * s->share_limit)
		return BRAKE_UNKNOWN;
	if (s->rate_limit && ring_sum(s->messages) > s->rate_limit)
		return BRAKE_RATE;
	return BRAKE_FREE;
}

static enum brake_cause judge(struct brake *b, struct sender *s, int64_t now_ms)
{
	enum brake_cause cause = cause_of(s);
	if (cause == (enum brake_cause)s->cause)
		return cause;
	struct sender **list = list_of(b, s);
	DL_DELETE(*list, s);
	if (s->cause == BRAKE_FREE)
		s->since_ms = now_ms > 0 ? now_ms : 1;
	s->cause = cause;
	if (cause == BRAKE_FREE)
		s->since_ms = 0;
	list = list_of(b, s);
	DL_APPEND(*list, s);
	write_down(b, s);
	struct brake_view view = view_of(s);
	if (b->options.changed)
		b->options.changed(b->options.arg, &view);
	return cause;
}

static void set_limits(struct sender *s, const struct brake_limits *limits)
{
	s->rate_limit = (uint64_t)limits->messages_per_hour;
	s->share_limit = (unsigned)limits->unknown_share;
	s->minimum = (uint64_t)limits->minimum;
}

enum brake_cause brake_message(struct brake *b, const char *who,
    const struct brake_limits *limits, int64_t now_ms)
{
	struct sender *s = get(b, who, now_ms);
	set_limits(s, limits);
	s->messages[s->hour_slot % SLOTS]++;
	s->dirty = true;
	return judge(b, s, now_ms);
}

void brake_take_back(struct brake *b, const char *who, int64_t now_ms)
{
	struct sender *s = find(b, who);
	if (!s)
		return;
	move_to(s, now_ms);
	int64_t *slot = &s->messages[s->hour_slot % SLOTS];
	*slot -= *slot > 0;
	s->dirty = true;
	judge(b, s, now_ms);
}

enum brake_cause brake_recipient(struct brake *b, const char *who,
    const struct brake_limits *limits, bool unknown, int64_t now_ms)
{
	struct sender *s = get(b, who, now_ms);
	set_limits(s, limits);
	s->recipients[s->day_slot % SLOTS]++;
	s->unknown[s->day_slot % SLOTS] += unknown;
	s->dirty = true;
	return judge(b, s, now_ms);
}

enum brake_cause brake_ask(struct brake *b, const char *who, const struct brake_limits *limits,
    int64_t now_ms)
{
	struct sender *s = find(b, who);
	if (!s)
		return BRAKE_FREE;
	move_to(s, now_ms);
	set_limits(s, limits);
	return judge(b, s, now_ms);
}

void brake_look(struct brake *b, int64_t now_ms)
{
	struct sender *s;
	struct sender *next;
	DL_FOREACH_SAFE (b->braked, s, next) {
		move_to(s, now_ms);
		judge(b, s, now_ms);
	}
}

bool brake_release(struct brake *b, const char *who, int64_t now_ms)
{
	struct sender *s = find(b, who);
	if (!s)
		return false;
	memset(s->messages, 0, sizeof(s->messages));
	memset(s->recipients, 0, sizeof(s->recipients));
	memset(s->unknown, 0, sizeof(s->unknown));
	move_to(s, now_ms);
	judge(b, s, now_ms);
	write_down(b, s);
	return true;
}

/* As it is now, without changing it. */
static struct brake_view view_at(const struct sender *s, int64_t now_ms)
{
	struct sender then = *s;
	move_to(&then, now_ms);
	return view_of(&then);
}

bool brake_find(const struct brake *b, const char *who, int64_t now_ms, struct brake_view *view)
{
	const struct sender *s = find(b, who);
	if (s)
		*view = view_at(s, now_ms);
	return s != NULL;
}

void brake_each(const struct brake *b, int64_t now_ms,
    void (*fn)(void *arg, const struct brake_view *view), void *arg)
{
	const struct sender *lists[] = {b->braked, b->free};
	for (size_t i = 0; i < 2; i++)
		for (const struct sender *s = lists[i]; s; s = s->next) {
			struct brake_view view = view_at(s, now_ms);
			fn(arg, &view);
		}
}
