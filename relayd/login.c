/* SPDX-License-Identifier: MIT
 * A try's way; where it leaves it is answered after the delay that its failures
 * have earned, counted from its start, so that the time taken tells nothing:
 *
 *	begin      may it be judged? -> banned; wait: behind others of the same
 *	judge      known to be right a moment ago -> yes; else a hash in a worker
 *	decide     count it, log it
 *	answer     by a timer
 *
 * A cancelled try goes on to its end (its hash is under way, its failure counts)
 * without its client.
 */
#include "relayd/login.h"

#include <crypt.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/base/pool.h"
#include "relayd/login_cache.h"
#include "relayd/login_throttle.h"
#include "relayd/users.h"

#define COUNTERS_MAX 65536 /* of each kind */
#define CACHE_MAX 16384
#define PATIENCE_MS 20000  /* longest wait behind others of the same */
#define DELAY_TIMES_MAX 5  /* a delay grows up to so many times its setting */
#define AGAIN_MS 10000     /* until a users' file that could not be opened is tried again */

struct login {
	struct loop *loop;
	struct stats *stats;
	struct settings *settings;
	struct pool *pool;
	struct throttle *throttle;
	struct login_cache *cache;
	struct users *users;
	struct stat file; /* as it was read */
	bool unread;      /* it could not be opened, perhaps for want of descriptors; then: */
	int64_t again_ms; /* not before */
	size_t hashing;
	struct login_try *waiting;
	size_t waiting_count;
	struct timer wake; /* one of those that they wait for has ended */
	struct login_try *answering;
	atomic_bool ending; /* no hash is begun any more */
};

struct login_try {
	struct login *login;
	struct login_try *prev; /* in the list of its state; none while a worker has it */
	struct login_try *next;
	struct job job;
	struct timer timer;
	struct throttle_try throttle;
	login_done *done; /* NULL: cancelled */
	void *arg;
	char *client;
	char *user;
	char *password; /* NULL: the mechanism has judged */
	const char *mechanism;
	bool proved;
	char *hash;     /* what the password is compared with */
	bool there;     /* such a user is there */
	bool fits;
	int64_t start_ms;
	enum server_login verdict;
};

/* ---- the users' file ---- */

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mode == b->st_mode && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void say_errors(const struct login *login, const struct buf *errors)
{
	struct span rest = span_buf(errors);
	while (rest.n) {
		struct span line = span_cut(&rest, '\n');
		log_text(LOG_LEVEL_ERROR, "users: %.*s", (int)line.n, line.p);
	}
	log_text(LOG_LEVEL_ERROR, "users: %s",
	    login->users ? "the users of before stay as they were" : "nobody can log in");
}

static void take_users(struct login *login, struct users *fresh, const char *path)
{
	users_free(login->users);
	login->users = fresh;
	login->unread = false;
	log_text(users_count(fresh) ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "users: %zu in %s",
	    users_count(fresh), path);
}

/* Has the file, which is NOW, been read as it is? */
static bool is_known(const struct login *login, const struct stat *now)
{
	if (login->unread)
		return clock_mono_ms() < login->again_ms;
	return is_same(now, &login->file);
}

/* Read the file when it is another one than before. A broken one changes nothing,
 * and is complained of once. */
static void refresh(struct login *login)
{
	const char *path = login->settings->conf->users;
	struct stat now = {0};
	struct stat own;
	struct buf errors = {0};
	if (stat(path, &now) < 0)
		now = (struct stat){0};
	if (login->users && is_known(login, &now))
		return;
	struct users *fresh = users_load(path, &own, &errors);
	login->file = fresh ? own : now;
	if (fresh) {
		take_users(login, fresh, path);
	} else {
		bool again = login->unread;
		login->unread = own.st_ino == 0;
		login->again_ms = clock_mono_ms() + AGAIN_MS;
		if (!again || !login->unread)
			say_errors(login, &errors);
	}
	if (!login->users)
		login->users = users_parse(span_text(""), path, &errors);
	buf_free(&errors);
}

/* ---- life ---- */

static void wake(void *arg);

static void *worker_begin(void *arg)
{
	(void)arg;
	return mem_zero(sizeof(struct crypt_data));
}

static void worker_end(void *scratch)
{
	mem_free(scratch);
}

struct login *login_new(struct loop *loop, struct stats *stats, struct settings *settings)
{
	struct login *login = mem_zero(sizeof(*login));
	login->loop = loop;
	login->stats = stats;
	login->throttle = throttle_new(COUNTERS_MAX);
	login->cache = login_cache_new(CACHE_MAX);
	atomic_init(&login->ending, false);
	timer_init(&login->wake, loop, wake, login);
	login_set_settings(login, settings);
	return login;
}

static bool is_wanted(const struct conf *conf)
{
	for (size_t i = 0; i < conf->listen_count; i++)
		if (conf->listen[i].auth)
			return true;
	return false;
}

static void start_workers(struct login *login)
{
	struct pool_options options = {
	    .name = "login",
	    .threads = (unsigned)login->settings->conf->auth.workers,
	    .begin = worker_begin,
	    .end = worker_end,
	};
	login->pool = pool_new(login->loop, &options);
}

void login_set_settings(struct login *login, struct settings *settings)
{
	const struct conf *conf = settings->conf;
	struct throttle_limits limits = {conf->auth.failures, conf->auth.ban};
	bool moved = login->settings && strcmp(login->settings->conf->users, conf->users) != 0;
	settings_ref(settings);
	settings_unref(login->settings);
	login->settings = settings;
	throttle_set(login->throttle, &limits);
	if (!is_wanted(conf))
		return;
	if (!login->pool)
		start_workers(login);
	if (moved)
		login->file = (struct stat){0};
	login->again_ms = 0;
	refresh(login);
}

/* Its timer does not run. */
static void try_free(struct login_try *try)
{
	if (try->password)
		mem_wipe(try->password, strlen(try->password));
	mem_free(try->password);
	mem_free(try->client);
	mem_free(try->user);
	mem_free(try->hash);
	mem_free(try);
}

void login_free(struct login *login)
{
	struct login_try *try;
	struct login_try *next;
	if (!login)
		return;
	atomic_store(&login->ending, true);
	pool_free(login->pool);
	timer_stop(&login->wake);
	DL_CONCAT(login->answering, login->waiting);
	DL_FOREACH_SAFE (login->answering, try, next) {
		timer_stop(&try->timer);
		try_free(try);
	}
	throttle_free(login->throttle);
	login_cache_free(login->cache);
	users_free(login->users);
	settings_unref(login->settings);
	mem_free(login);
}

/* ---- answer ---- */

static void answer(void *arg)
{
	struct login_try *try = arg;
	DL_DELETE(try->login->answering, try);
	if (try->done)
		try->done(try->arg, try->verdict);
	try_free(try);
}

static void answer_after(struct login_try *try, int64_t delay)
{
	timer_init(&try->timer, try->login->loop, answer, try);
	DL_APPEND(try->login->answering, try);
	timer_start(&try->timer, try->start_ms + delay - clock_mono_ms());
}

static void log_try(const struct login_try *try, const char *result)
{
	struct log_line line;
	bool fine = try->verdict == SERVER_LOGIN_OK;
	log_begin(&line, fine ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "auth");
	log_add_text(&line, "result", result);
	log_add_text(&line, "client", try->client);
	log_add_text(&line, "user", try->user);
	log_add_text(&line, "mechanism", try->mechanism);
	log_end(&line);
}

static void put_off(struct login_try *try, const char *result)
{
	try->verdict = SERVER_LOGIN_LATER;
	try->login->stats->logins_put_off++;
	log_try(try, result);
	answer_after(try, try->login->settings->conf->auth.delay);
}

/* ---- decide ---- */

static void wake_waiting(struct login *login)
{
	if (login->waiting)
		timer_start(&login->wake, 0);
}

static void decide(struct login_try *try, bool success)
{
	struct login *login = try->login;
	int64_t times = throttle_end(login->throttle, &try->throttle, success, clock_mono_ms());
	if (times > DELAY_TIMES_MAX)
		times = DELAY_TIMES_MAX;
	try->verdict = success ? SERVER_LOGIN_OK : SERVER_LOGIN_REFUSED;
	if (success)
		login->stats->logins++;
	else
		login->stats->logins_failed++;
	log_try(try, success ? "ok" : "failed");
	answer_after(try, times * login->settings->conf->auth.delay);
	wake_waiting(login);
}

/* ---- judge ---- */

static void hash_run(struct job *job, void *scratch)
{
	struct login_try *try = heap_owner(job, struct login_try, job);
	if (!atomic_load(&try->login->ending))
		try->fits = users_password_fits(try->password, try->hash, scratch);
}

static void hash_done(struct job *job)
{
	struct login_try *try = heap_owner(job, struct login_try, job);
	struct login *login = try->login;
	int64_t keep = login->settings->conf->auth.cache;
	bool success = try->fits && try->there;
	login->hashing--;
	if (atomic_load(&login->ending)) {
		try_free(try);
		return;
	}
	if (success && keep)
		login_cache_add(login->cache, try->user, try->hash, try->password,
		    clock_mono_ms() + keep);
	decide(try, success);
}

/* One who is not there costs the same: a hash that fits nobody. */
static void judge(struct login_try *try)
{
	struct login *login = try->login;
	const struct user *user = users_find(login->users, try->user);
	if (!try->password) {
		decide(try, try->proved && user);
		return;
	}
	try->there = user != NULL;
	try->hash = mem_text(user ? user->hash : users_dummy_hash(login->users));
	if (login_cache_holds(login->cache, try->user, try->hash, try->password, clock_mono_ms())) {
		decide(try, try->there);
	} else if (login->hashing >= (size_t)login->settings->conf->auth.queue) {
		throttle_drop(login->throttle, &try->throttle);
		put_off(try, "busy");
		wake_waiting(login);
	} else {
		login->hashing++;
		try->job = (struct job){.run = hash_run, .done = hash_done};
		pool_add(login->pool, &try->job);
	}
}

/* ---- begin ---- */

static void wait_no_more(struct login_try *try)
{
	DL_DELETE(try->login->waiting, try);
	try->login->waiting_count--;
	timer_stop(&try->timer);
}

static void waited(void *arg)
{
	wait_no_more(arg);
	put_off(arg, "busy");
}

static void wait_for_others(struct login_try *try)
{
	struct login *login = try->login;
	if (login->waiting_count >= (size_t)login->settings->conf->auth.queue) {
		put_off(try, "busy");
		return;
	}
	DL_APPEND(login->waiting, try);
	login->waiting_count++;
	timer_init(&try->timer, login->loop, waited, try);
	timer_start(&try->timer, try->start_ms + PATIENCE_MS - clock_mono_ms());
}

static void begin(struct login_try *try)
{
	struct login *login = try->login;
	switch (throttle_begin(login->throttle, try->client, try->user, clock_mono_ms(),
	    &try->throttle)) {
	case THROTTLE_GO:
		judge(try);
		break;
	case THROTTLE_WAIT:
		wait_for_others(try);
		break;
	case THROTTLE_BANNED:
		put_off(try, "banned");
		break;
	}
}

/* In their order; those that still have to wait come behind. */
static void wake(void *arg)
{
	struct login *login = arg;
	for (size_t n = login->waiting_count; n; n--) {
		struct login_try *try = login->waiting;
		wait_no_more(try);
		begin(try);
	}
}

struct login_try *login_begin(struct login *login, const struct server_claim *claim,
    const char *client, login_done *done, void *arg)
{
	struct login_try *try = mem_zero(sizeof(*try));
	try->login = login;
	try->done = done;
	try->arg = arg;
	try->client = mem_text(client);
	try->user = mem_text(claim->user);
	try->password = mem_text(claim->password);
	try->mechanism = claim->mechanism;
	try->proved = claim->proved;
	try->start_ms = clock_mono_ms();
	refresh(login);
	begin(try);
	return try;
}

void login_cancel(struct login_try *try)
{
	try->done = NULL;
}

void login_keys(struct login *login, const char *user, struct auth_keys *keys)
{
	refresh(login);
	users_keys(login->users, user, keys);
}

struct login_counts login_counts(const struct login *login)
{
	return (struct login_counts){
	    .users = login->users ? users_count(login->users) : 0,
	    .hashing = login->hashing,
	    .banned = throttle_banned(login->throttle, clock_mono_ms()),
	};
}
