/* SPDX-License-Identifier: MIT
 * The moves of a batch:
 *
 *	add --> WAITING --due--> READY --turn and slot--> RUNNING --finish--> WAITING
 *	WAITING, READY --its time is over--> EXPIRED --> RUNNING (for its report)
 *	             any but RUNNING --hold--> HELD --release--> WAITING
 *
 * schedule_move() is the only place that moves one. WAITING and READY batches
 * stand in one heap by the time at which somebody has to look at them, so the
 * end of a message's life and its delay notice do not depend on a slot of a
 * destination that may be dead. Destinations that have a ready batch and a free
 * slot stand on a ring and take turns, one batch each, so a destination with a
 * hundred thousand messages gives way after every one. There are rings for urgent,
 * normal and bulk mail; a destination stands on that of the best it has ready. It
 * stands on other rings before, until its hosts are looked up, which takes no slot.
 */
#include "queue/schedule_internal.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "queue/backoff.h"
#include "queue/record.h"
#include "queue/schedule_life.h"
#include "relayd/base/clock.h"
#include "relayd/base/mem.h"

#define FORGET_MS (10 * 60 * 1000) /* a destination without mail keeps its window so long */
#define STARTS_PER_TURN 256        /* then the loop does I/O first */
#define LOOKS_PER_TURN 256
#define LOOK_UPS_MAX 4000 /* at a time, under 1 KB each while nobody answers */
#define LOOK_UPS_AGAIN_MAX 200 /* of names that nobody answered for the last time */
#define EXPIRING_MAX 32        /* reports of expired batches under way at a time */
#define NOTICE_PATIENCE_MS (10 * 60 * 1000) /* first the attempt that is due, then the notice */
#define NAMED_TIMES 5 /* attempts at times that replies name; then the ladder has a say */
#define WAIT_MAX_MS (27 * 3600 * (int64_t)1000) /* no reply makes us wait longer (backoff.h) */

static void run(void *arg);

struct schedule *schedule_new(struct loop *loop, const struct conf_queue *conf,
    const struct schedule_handler *handler)
{
	struct schedule *s = mem_zero(sizeof(*s));
	s->loop = loop;
	s->conf = *conf;
	s->handler = *handler;
	timer_init(&s->timer, loop, run, s);
	return s;
}

static void message_drop(struct schedule *s, struct message *message)
{
	HASH_DEL(s->messages, message);
	mem_free(message);
}

void schedule_free(struct schedule *s)
{
	struct message *message;
	struct message *next_message;
	HASH_ITER (hh, s->messages, message, next_message) {
		struct batch *batch;
		struct batch *next_batch;
		DL_FOREACH_SAFE2 (message->batches, batch, next_batch, next_of_message)
			batch_free(batch);
		message_drop(s, message);
	}
	struct destination *d;
	struct destination *next;
	HASH_ITER (hh, s->destinations, d, next) {
		HASH_DEL(s->destinations, d);
		destination_free(d);
	}
	timer_stop(&s->timer);
	heap_free(&s->due);
	heap_free(&s->wake);
	mem_free(s);
}

/* ---- the one timer ---- */

static bool may_expire(const struct schedule *s)
{
	return s->expired && s->expiring < EXPIRING_MAX;
}

/* Destinations that have not answered get three quarters of the connections
 * between them: a hundred that hang can not keep those waiting that do answer. */
static bool may_try_doubtful(const struct schedule *s)
{
	size_t most = (size_t)s->conf.connections - (size_t)s->conf.connections / 4;
	return s->doubtful_running < most;
}

/* A newsletter to slow receivers leaves room for what is not bulk. */
static bool may_try_bulk(const struct schedule *s)
{
	return s->bulk_running < (size_t)s->conf.connections - (size_t)s->conf.connections / 8;
}

static unsigned ranks_of(struct destination *const rings[TURN_RANKS])
{
	unsigned waiting = 0;
	for (unsigned rank = 0; rank < TURN_RANKS; rank++)
		waiting |= rings[rank] ? 1u << rank : 0;
	return waiting;
}

/* The rings of destinations that may be looked up, a bit for each rank in WAITING. What
 * was in vain the last time has a few places only: thousands of domains that nobody
 * answers for would take all that there is, and new ones would wait behind them. */
static struct destination **look_up_rings(struct schedule *s, unsigned *waiting)
{
	struct destination **rings = s->unknown;
	*waiting = s->looking < LOOK_UPS_MAX ? ranks_of(s->unknown) : 0;
	if (!*waiting && s->looking_again < LOOK_UPS_AGAIN_MAX) {
		rings = s->failed;
		*waiting = ranks_of(s->failed);
	}
	return *waiting ? rings : NULL;
}

static bool may_look_up(struct schedule *s)
{
	unsigned waiting;
	return look_up_rings(s, &waiting) != NULL;
}

/* The ranks of which something may start, a bit each. */
static unsigned ranks_waiting(const struct schedule *s)
{
	unsigned waiting = 0;
	bool doubtful = may_try_doubtful(s);
	for (unsigned rank = 0; rank < TURN_RANKS; rank++)
		if (s->answering[rank] || (doubtful && s->doubtful[rank]))
			waiting |= 1u << rank;
	return may_try_bulk(s) ? waiting : waiting & ~(1u << TURN_BULK);
}

static bool may_start(const struct schedule *s)
{
	return s->count[BATCH_RUNNING] - s->expiring < (size_t)s->conf.connections &&
	       ranks_waiting(s);
}

void schedule_arm(struct schedule *s)
{
	int64_t now = clock_steady_ms();
	const struct heap_node *due = heap_first(&s->due);
	const struct heap_node *wake = heap_first(&s->wake);
	if (s->stopped)
		timer_stop(&s->timer);
	else if (may_expire(s) || may_look_up(s) || may_start(s))
		timer_start(&s->timer, 0);
	else if (due && (!wake || due->key <= wake->key))
		timer_start(&s->timer, due->key - now);
	else if (wake)
		timer_start(&s->timer, wake->key - now);
	else
		timer_stop(&s->timer);
}

/* ---- moves ---- */

static void set_by_path(struct schedule *s, struct batch *batch, bool by_path)
{
	s->by_path -= batch->by_path;
	batch->by_path = by_path;
	s->by_path += by_path;
}

/* Where it belongs now; NULL: it may start nothing. */
static struct destination **ring_of(struct schedule *s, const struct destination *d)
{
	unsigned rank = destination_rank(d);
	if (!destination_may_start(d) || d->hosts == HOSTS_ASKED)
		return NULL;
	if (d->hosts == HOSTS_UNKNOWN)
		return d->failure ? &s->failed[rank] : &s->unknown[rank];
	return d->answers ? &s->answering[rank] : &s->doubtful[rank];
}

void schedule_update_turn(struct schedule *s, struct destination *d)
{
	struct destination **ring = ring_of(s, d);
	if (ring == d->ring)
		return;
	if (d->ring)
		DL_DELETE(*d->ring, d);
	if (ring)
		DL_APPEND(*ring, d);
	d->ring = ring;
}

static struct batch **list_of(struct schedule *s, const struct batch *batch)
{
	return batch->state == BATCH_EXPIRED ? &s->expired : destination_list(batch);
}

static void leave_state(struct schedule *s, struct batch *batch)
{
	struct destination *d = batch->destination;
	struct batch **list = list_of(s, batch);
	if (list)
		DL_DELETE(*list, batch);
	s->bulk_running -= batch->bulk_try;
	batch->bulk_try = false;
	batch->settling = false;
	d->asking -= batch->asking;
	batch->asking = false;
	heap_remove(&s->due, &batch->due);
	d->count[batch->state]--;
	s->count[batch->state]--;
	if (batch->state == BATCH_RUNNING && !d->answers)
		s->doubtful_running--;
}

/* The time of its delay notice; INT64_MAX: none will be sent. */
static int64_t notice_time(const struct schedule *s, const struct batch *batch)
{
	const struct message *m = batch->message;
	int64_t at = m->arrived_ms + s->conf.delay_notice;
	if (s->conf.delay_notice == 0 || m->notified || m->report || batch->expired)
		return INT64_MAX;
	/* after a long stop of ours, the attempt that is due comes first */
	if (batch->state == BATCH_READY && at < batch->try_ms + NOTICE_PATIENCE_MS)
		at = batch->try_ms + NOTICE_PATIENCE_MS;
	return at < m->expires_ms ? at : INT64_MAX;
}

/* When must somebody look at it again: at its attempt, its delay notice, its
 * end? One that is past its end and still here could not be reported: it waits
 * for its next time like an attempt. */
static int64_t next_look(const struct schedule *s, const struct batch *batch)
{
	int64_t at = batch->expired ? INT64_MAX : batch->message->expires_ms;
	int64_t notice = notice_time(s, batch);
	if (batch->state == BATCH_WAITING && batch->try_ms < at)
		at = batch->try_ms;
	return notice < at ? notice : at;
}

static void enter_state(struct schedule *s, struct batch *batch, enum batch_state state)
{
	struct destination *d = batch->destination;
	batch->state = (uint8_t)state;
	struct batch **list = list_of(s, batch);
	if (list)
		DL_APPEND(*list, batch);
	if (state == BATCH_WAITING || state == BATCH_READY)
		heap_add(&s->due, &batch->due, next_look(s, batch));
	d->count[state]++;
	s->count[state]++;
	if (state == BATCH_RUNNING && !d->answers)
		s->doubtful_running++;
	schedule_update_turn(s, d);
}

void schedule_move(struct schedule *s, struct batch *batch, enum batch_state state)
{
	leave_state(s, batch);
	enter_state(s, batch, state);
}

/* ---- destinations ---- */

static struct destination *destination_get(struct schedule *s, const char *name)
{
	struct destination *d;
	HASH_FIND_STR(s->destinations, name, d);
	if (!d) {
		d = destination_new(name, &s->conf);
		d->hosts = s->handler.look_up ? HOSTS_UNKNOWN : HOSTS_KNOWN;
		HASH_ADD_KEYPTR(hh, s->destinations, d->name, strlen(d->name), d);
	}
	if (!d->paused)
		heap_remove(&s->wake, &d->wake);
	return d;
}

void schedule_wake(struct schedule *s, struct destination *d)
{
	heap_remove(&s->wake, &d->wake);
	if (d->paused) {
		d->paused = d->dead = false;
		schedule_update_turn(s, d);
	}
	if (destination_batches(d) == 0 && d->hosts != HOSTS_ASKED) {
		HASH_DEL(s->destinations, d);
		destination_free(d);
	}
}

/* Its last batch is gone: remember its window for a while. */
static void destination_idle(struct schedule *s, struct destination *d)
{
	if (destination_batches(d) == 0 && !heap_holds(&d->wake))
		heap_add(&s->wake, &d->wake, clock_steady_ms() + FORGET_MS);
}

void schedule_pause(struct schedule *s, struct destination *d, int64_t until_ms)
{
	if (d->paused && d->wake.key >= until_ms)
		return;
	d->paused = true;
	heap_move(&s->wake, &d->wake, until_ms);
	schedule_update_turn(s, d);
	schedule_arm(s);
}

void schedule_pace(struct schedule *s, struct destination *d, int64_t until_ms)
{
	d->paced = true;
	schedule_pause(s, d, until_ms);
}

void schedule_goes(struct schedule *s, struct batch *batch)
{
	struct destination *d = batch->destination;
	d->asking -= batch->asking;
	batch->asking = false;
	schedule_update_turn(s, d);
	schedule_arm(s);
}

static void set_answers(struct schedule *s, struct destination *d, bool answers)
{
	if (d->answers == answers)
		return;
	if (answers)
		s->doubtful_running -= d->count[BATCH_RUNNING];
	else
		s->doubtful_running += d->count[BATCH_RUNNING];
	d->answers = answers;
	schedule_update_turn(s, d);
}

static bool is_partly(enum schedule_feedback feedback)
{
	return feedback == SCHEDULE_PARTLY || feedback == SCHEDULE_PARTLY_BUSY ||
	       feedback == SCHEDULE_PARTLY_HELD;
}

static void feed_back(struct schedule *s, struct destination *d, enum schedule_feedback feedback)
{
	if (is_partly(feedback))
		feedback = SCHEDULE_WORKED;
	if (feedback != SCHEDULE_NEUTRAL)
		set_answers(s, d, feedback == SCHEDULE_WORKED);
	if (feedback == SCHEDULE_FAILED && d->hosts == HOSTS_KNOWN && s->handler.look_up)
		d->hosts = HOSTS_UNKNOWN;
	if (feedback == SCHEDULE_WORKED) {
		destination_worked(d, &s->conf);
	} else if (feedback == SCHEDULE_FAILED && !d->paused && destination_failed(d)) {
		/* the others that were under way fail after it, and count no further */
		d->pauses++;
		int64_t wait = backoff_delay(s->conf.backoff, s->conf.backoff_count, d->pauses);
		schedule_pause(s, d, clock_steady_ms() + wait);
		d->dead = true;
	}
}

void schedule_known(struct schedule *s, struct destination *d, const char *failure)
{
	s->looking--;
	s->looking_again -= d->failure != NULL;
	mem_free(d->failure);
	d->failure = mem_text(failure);
	d->hosts = HOSTS_KNOWN;
	schedule_update_turn(s, d);
	destination_idle(s, d);
	schedule_arm(s);
}

/* ---- the turn ---- */

/* Its time in the heap has come. */
static void look(struct schedule *s, struct batch *batch, int64_t now)
{
	struct message *m = batch->message;
	bool over = batch->expired ? batch->try_ms <= now : m->expires_ms <= now;
	if (over) {
		schedule_move(s, batch, BATCH_EXPIRED);
		return;
	}
	if (batch->state == BATCH_WAITING && batch->try_ms <= now) {
		schedule_move(s, batch, BATCH_READY);
		return;
	}
	bool notice = notice_time(s, batch) <= now;
	m->notified |= notice;
	heap_move(&s->due, &batch->due, next_look(s, batch));
	if (notice)
		s->handler.delayed(s->handler.arg, m);
}

static void wake_due(struct schedule *s, int64_t now)
{
	struct heap_node *node;
	while ((node = heap_first(&s->wake)) && node->key <= now)
		schedule_wake(s, heap_owner(node, struct destination, wake));
	for (int n = 0; n < LOOKS_PER_TURN; n++) {
		node = heap_first(&s->due);
		if (!node || node->key > now)
			break;
		look(s, heap_owner(node, struct batch, due), now);
	}
}

static void expire_one(struct schedule *s)
{
	struct batch *batch = s->expired;
	schedule_move(s, batch, BATCH_RUNNING);
	batch->expired = true;
	s->expiring++;
	s->handler.expire(s->handler.arg, batch);
}

static void look_up_one(struct schedule *s)
{
	unsigned waiting;
	struct destination **rings = look_up_rings(s, &waiting);
	struct destination *d = rings[turn_take(&s->look_up_turn, waiting)];
	d->hosts = HOSTS_ASKED;
	schedule_update_turn(s, d);
	s->looking++;
	s->looking_again += d->failure != NULL;
	if (!s->handler.look_up(s->handler.arg, d))
		schedule_known(s, d, NULL);
}

static void start_one(struct schedule *s)
{
	unsigned rank = turn_take(&s->turn, ranks_waiting(s));
	bool doubtful = may_try_doubtful(s) && s->doubtful[rank] &&
			(s->doubtful_turn || !s->answering[rank]);
	struct destination **ring = doubtful ? &s->doubtful[rank] : &s->answering[rank];
	struct destination *d = *ring;
	struct batch *batch = destination_next(d);
	s->doubtful_turn = !s->doubtful_turn;
	/* to the end of the ring: the others come first */
	DL_DELETE(*ring, d);
	DL_APPEND(*ring, d);
	schedule_move(s, batch, BATCH_RUNNING);
	set_by_path(s, batch, false);
	batch->bulk_try = batch->message->priority == CONF_PRIORITY_BULK;
	s->bulk_running += batch->bulk_try;
	batch->asking = true;
	d->asking++;
	schedule_update_turn(s, d);
	s->handler.start(s->handler.arg, batch);
}

static void run(void *arg)
{
	struct schedule *s = arg;
	wake_due(s, clock_steady_ms());
	for (int n = 0; n < STARTS_PER_TURN && !s->stopped; n++) {
		if (may_expire(s))
			expire_one(s);
		else if (may_look_up(s))
			look_up_one(s);
		else if (may_start(s))
			start_one(s);
		else
			break;
	}
	schedule_arm(s);
}

/* ---- messages ---- */

/* A time that no ladder and no reply can have named was written under a wrong
 * clock: at once. */
static int64_t first_try(const struct schedule *s, const struct spool_state *state)
{
	int64_t now = clock_steady_ms();
	int64_t longest = WAIT_MAX_MS;
	for (size_t i = 0; i < s->conf.backoff_count; i++)
		if (s->conf.backoff[i] + s->conf.backoff[i] / 4 > longest)
			longest = s->conf.backoff[i] + s->conf.backoff[i] / 4;
	bool waits = state && state->due_ms > now && state->due_ms - now <= longest;
	return waits ? state->due_ms : now;
}

static void add_batch(struct schedule *s, struct message *m, const char *destination,
    const uint32_t *recipients, uint32_t count, const struct spool_state *state)
{
	int64_t now = clock_steady_ms();
	struct batch *batch = batch_new(m, recipients, count);
	batch->destination = destination_get(s, destination);
	DL_APPEND2(m->batches, batch, prev_of_message, next_of_message);
	m->pending += count;
	batch->try_ms = first_try(s, state);
	set_by_path(s, batch, state && state->by_path);
	if (state)
		batch->attempts = (uint16_t)(state->attempts < UINT16_MAX ? state->attempts : UINT16_MAX);
	enum batch_state first = m->held ? BATCH_HELD : BATCH_WAITING;
	if (first == BATCH_WAITING && batch->try_ms <= now && m->expires_ms > now)
		first = BATCH_READY;
	enter_state(s, batch, first);
}

static int by_name_and_index(const void *a, const void *b, void *names)
{
	const char *const *name = names;
	uint32_t i = *(const uint32_t *)a;
	uint32_t k = *(const uint32_t *)b;
	int order = strcmp(name[i], name[k]);
	return order ? order : (i > k) - (i < k);
}

/* A batch for each run of equal names. */
static void add_batches(struct schedule *s, struct message *m, const char *const *names,
    size_t count, const struct spool_state *state)
{
	uint32_t *indexes = mem_array(count, sizeof(*indexes));
	uint32_t left = 0;
	for (size_t i = 0; i < count; i++)
		if (names[i])
			indexes[left++] = (uint32_t)i;
	qsort_r(indexes, left, sizeof(*indexes), by_name_and_index, (void *)(uintptr_t)names);
	uint32_t end;
	for (uint32_t start = 0; start < left; start = end) {
		const char *name = names[indexes[start]];
		for (end = start + 1; end < left && strcmp(names[indexes[end]], name) == 0;)
			end++;
		add_batch(s, m, name, indexes + start, end - start, state);
	}
	mem_free(indexes);
}

struct message *schedule_add(struct schedule *s, const struct schedule_entry *entry,
    const char *const *destinations, size_t count, const struct spool_state *state)
{
	struct message *m = mem_zero(sizeof(*m));
	m->id = entry->id;
	m->place = entry->place;
	m->size = entry->size;
	m->report = entry->report;
	m->priority = (uint8_t)(entry->priority & 3u);
	m->recipient_count = (uint32_t)count;
	life_begin(s, m, entry->arrived_ms, state);
	if (state) {
		m->held = state->held;
		m->notified = state->notified;
		m->cleared = state->cleared;
		m->brake = state->brake & 7u;
		m->noted = record_state_mark(state);
	}
	HASH_ADD(hh, s->messages, id, sizeof(m->id), m);
	add_batches(s, m, destinations, count, state);
	if (!m->batches)
		bug("a message without a recipient that waits");
	schedule_arm(s);
	return m;
}

void schedule_unlink(struct schedule *s, struct batch *batch)
{
	struct destination *d = batch->destination;
	set_by_path(s, batch, false);
	leave_state(s, batch);
	schedule_update_turn(s, d);
	struct message *m = batch->message;
	DL_DELETE2(m->batches, batch, prev_of_message, next_of_message);
	batch_free(batch);
	destination_idle(s, d);
}

void schedule_end_if_done(struct schedule *s, struct message *m)
{
	if (m->batches)
		return;
	s->handler.ended(s->handler.arg, m);
	message_drop(s, m);
}

void schedule_recipient_done(struct schedule *s, struct batch *batch, uint32_t recipient)
{
	(void)s;
	if (batch->state != BATCH_RUNNING || !batch_remove(batch, recipient))
		bug("result for a recipient that is not being tried");
	batch->message->pending--;
}

/* A receiver that says "in one second" each time is not asked 40,000 times. */
static int64_t next_try(const struct schedule *s, const struct batch *batch, int64_t due_ms)
{
	int64_t ladder = schedule_backoff(s, batch->attempts);
	if (due_ms == 0 || (batch->attempts > NAMED_TIMES && due_ms < ladder))
		return ladder;
	return due_ms;
}

void schedule_finish(struct schedule *s, struct batch *batch, enum schedule_feedback feedback,
    int64_t due_ms)
{
	struct message *m = batch->message;
	if (batch->state != BATCH_RUNNING)
		bug("end of an attempt that does not run");
	s->expiring -= batch->expired;
	feed_back(s, batch->destination, feedback);
	if (batch->doomed)
		m->pending -= batch->count;
	if (batch->count == 0 || batch->doomed) {
		schedule_unlink(s, batch);
		schedule_end_if_done(s, m);
	} else {
		bool partly = is_partly(feedback);
		bool held = feedback == SCHEDULE_BLOCKED || feedback == SCHEDULE_PARTLY_HELD;
		if (batch->attempts < UINT16_MAX)
			batch->attempts += !partly;
		set_by_path(s, batch, held || feedback == SCHEDULE_PARTLY_BUSY);
		batch->blocked = held && batch->incident;
		batch->try_ms = partly ? due_ms : next_try(s, batch, due_ms);
		batch->added_ms = 0;
		if (batch->again)
			batch->try_ms = clock_steady_ms();
		else if (feedback == SCHEDULE_PARTLY_HELD)
			life_add_wait(s, batch, due_ms);
		if (batch->again && batch->destination->paused)
			schedule_wake(s, batch->destination);
		batch->again = false;
		schedule_move(s, batch, m->held ? BATCH_HELD : BATCH_WAITING);
	}
	schedule_arm(s);
}

void schedule_put_off(struct schedule *s, struct batch *batch, int64_t due_ms, bool held)
{
	struct message *m = batch->message;
	if (batch->doomed || batch->count == 0) {
		schedule_finish(s, batch, SCHEDULE_NEUTRAL, 0);
		return;
	}
	if (batch->state != BATCH_RUNNING || batch->expired)
		bug("a batch is put off that was not to be tried");
	batch->added_ms = 0;
	if (held)
		life_add_wait(s, batch, due_ms);
	batch->try_ms = due_ms;
	set_by_path(s, batch, true);
	batch->blocked = held;
	schedule_move(s, batch, m->held ? BATCH_HELD : BATCH_WAITING);
	schedule_arm(s);
}

void schedule_reroute(struct schedule *s, struct batch *batch, const char *const *names)
{
	struct message *m = batch->message;
	const struct spool_state state = {.attempts = batch->attempts};
	if (batch->doomed || batch->count == 0) {
		schedule_finish(s, batch, SCHEDULE_NEUTRAL, 0);
		return;
	}
	if (batch->state != BATCH_RUNNING || batch->expired)
		bug("a batch is sent elsewhere that was not to be tried");
	m->pending -= batch->count; /* they are counted anew */
	add_batches(s, m, names, m->recipient_count, &state);
	schedule_unlink(s, batch);
	schedule_arm(s);
}

int64_t schedule_backoff(const struct schedule *s, unsigned attempts)
{
	return clock_steady_ms() + backoff_delay(s->conf.backoff, s->conf.backoff_count, attempts);
}
