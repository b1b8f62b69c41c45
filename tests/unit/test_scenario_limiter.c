/* SPDX-License-Identifier: MIT
 * A provider's limiter against the whole way of a message: N a minute from an
 * address, then 421, and when that is ignored 5xx for an hour. As much mail waits as
 * anybody could send. The path has to find the limit, keep under it and use it up.
 */
#include "tests/unit/played.h"

#define MOST_MAILS 70000
#define DOMAINS 2 /* at one provider: they share its path */

static const struct fake_host hosts[] = {
    {"one.test", "mx.limiter.test", "127.0.2.1"},
    {"two.test", "mx.limiter.test", "127.0.2.1"},
    {NULL, NULL, NULL},
};

enum limiter { TOKEN_BUCKET, FIXED_WINDOW };

/* ---- the provider ---- */

static struct receiver {
	enum limiter kind;
	double per_minute;
	double tokens;
	int64_t filled_ms;
	int64_t minute;
	unsigned ignored; /* attempts over the limit, in ten minutes */
	int64_t ignored_ms;
	int64_t blocked_until;
	unsigned taken, deferred, blocked;
} receiver;

static bool has_room(int64_t now)
{
	struct receiver *r = &receiver;
	if (r->kind == FIXED_WINDOW && r->minute != now / MINUTE)
		r->tokens = r->per_minute;
	if (r->kind == TOKEN_BUCKET)
		r->tokens += (double)(now - r->filled_ms) / MINUTE * r->per_minute;
	if (r->tokens > r->per_minute)
		r->tokens = r->per_minute;
	r->minute = now / MINUTE;
	r->filled_ms = now;
	if (r->tokens < 1)
		return false;
	r->tokens -= 1;
	return true;
}

static const char *played_says(const char *mx, const char *source, enum client_stage stage)
{
	struct receiver *r = &receiver;
	int64_t now = played_now();
	(void)mx;
	(void)source;
	if (stage != CLIENT_MAIL)
		return NULL;
	if (now < r->blocked_until) {
		r->blocked++;
		return "554 5.7.1 Your IP address has been blocked for an hour";
	}
	if (has_room(now)) {
		r->taken++;
		return NULL;
	}
	if (now - r->ignored_ms > 10 * MINUTE) {
		r->ignored = 0;
		r->ignored_ms = now;
	}
	double most = 2 * r->per_minute < 40 ? 2 * r->per_minute : 40;
	if (++r->ignored > most)
		r->blocked_until = now + HOUR;
	r->deferred++;
	return "421 4.7.0 Too many messages from your IP address, slow down";
}

/* ---- the tests ---- */

static struct played_mail *make_mails(size_t count)
{
	struct played_mail *mails = mem_array(count, sizeof(*mails));
	for (size_t i = 0; i < count; i++)
		snprintf(mails[i].to, sizeof(mails[i].to), "u%zu@%s", i, hosts[i % DOMAINS].domain);
	return mails;
}

static const struct limit {
	enum limiter kind;
	double per_minute;
	int64_t latency_ms;
	int hours; /* after the first ten minutes */
	bool soak; /* with RELAYD_SOAK only: it takes long */
} limits[] = {
    {TOKEN_BUCKET, 10, 300, 2, false},
    {TOKEN_BUCKET, 60, 300, 1, false},
    {TOKEN_BUCKET, 300, 300, 1, true},
    {FIXED_WINDOW, 10, 300, 2, false},
    {FIXED_WINDOW, 60, 5000, 2, false},
    {FIXED_WINDOW, 300, 3000, 2, true},
};

static void check_limit(const struct limit *limit)
{
	double allowed = limit->per_minute * 60 * limit->hours;
	size_t count = (size_t)(allowed * 1.2 + limit->per_minute * 20);
	assert_true(count <= MOST_MAILS);
	struct played_mail *mails = make_mails(count);
	receiver = (struct receiver){.kind = limit->kind, .per_minute = limit->per_minute,
	    .tokens = limit->per_minute, .minute = -1};
	played_open("\"ip1\"", hosts, mails, count);
	played.latency_ms = limit->latency_ms;
	played_until(10 * MINUTE);
	unsigned early = receiver.deferred;
	receiver.taken = receiver.deferred = 0;
	played_until(10 * MINUTE + limit->hours * HOUR);
	double attempts = receiver.taken + receiver.deferred + receiver.blocked;
	double share = (receiver.deferred + receiver.blocked) / attempts;
	double used = receiver.taken / allowed;
	print_message("%s, %3.0f a minute, %4d ms: %3u deferred in the first 10 min; then "
		      "%5.2f %% deferred, %5.1f %% of the limit used, %4.1f looks a "
		      "transaction\n",
	    limit->kind == TOKEN_BUCKET ? "token bucket" : "fixed window", limit->per_minute,
	    (int)limit->latency_ms, early, share * 100, used * 100,
	    (double)played.opens / attempts);
	assert_int_equal(receiver.blocked, 0);
	assert_int_equal(played.stats.bounced, 0);
	assert_true(share < 0.02);
	assert_true(used >= 0.9);
	/* who has to wait for his turn does not ask for it all the time */
	assert_true((double)played.opens < 15 * attempts);
	played_close();
	mem_free(mails);
}

static void test_limits(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (!limits[i].soak || getenv("RELAYD_SOAK"))
			check_limit(&limits[i]);
}

/* A block of two hours for reasons that nobody told us: few attempts meanwhile, and then
 * all of it at the speed that the limiter allows. */
static void test_block_goes_by_and_comes_back(void **state)
{
	size_t count = 3600;
	struct played_mail *mails = make_mails(count);
	(void)state;
	receiver = (struct receiver){.kind = TOKEN_BUCKET, .per_minute = 60, .tokens = 60,
	    .blocked_until = 2 * HOUR};
	played_open("\"ip1\"", hosts, mails, count);
	played_until(2 * HOUR);
	assert_in_range(receiver.blocked, 1, 6);
	played_until(2 * DAY);
	assert_int_equal(played.waiting, 0);
	assert_int_equal(receiver.taken, count);
	assert_int_equal(played.stats.bounced, 0);
	assert_int_equal(played.notices, 1);
	assert_true(receiver.deferred * 50 < receiver.taken);
	played_close();
	mem_free(mails);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_block_goes_by_and_comes_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
