/* SPDX-License-Identifier: MIT
 * A mixed day through the whole queue: messages to twelve providers from two
 * addresses; one provider blocks an address at RCPT, one throttles all day, one resets
 * connections. Nothing may bounce, and mail to the others must not notice: the same
 * day without any trouble is run for comparison.
 */
#include "tests/unit/played.h"

#define PROVIDERS 12
#define PER_MINUTE 5 /* from each address, of the one that throttles and gets 7 */
#define MAILS 100000

enum trouble { HEALTHY, BLOCKS, THROTTLES, RESETS };

/* From FROM to TO hours it has its trouble; BLOCKS and RESETS with ip1 only. */
static const struct provider_day {
	const char *domain;
	const char *mx;
	const char *id;
	enum trouble trouble;
	int from;
	int to;
	unsigned share; /* of the mail, percent */
} days[PROVIDERS] = {
    {"google.test", "aspmx.l.google.com", "google", HEALTHY, 0, 0, 30},
    {"microsoft.test", "x.mail.protection.outlook.com", "microsoft365", BLOCKS, 9, 14, 20},
    {"yahoo.test", "mta5.am0.yahoodns.net", "yahoo", THROTTLES, 0, 24, 10},
    {"yahoo-jp.test", "mx1.mail.yahoo.co.jp", "yahoo-japan", HEALTHY, 0, 0, 10},
    {"docomo.test", "mfsmax.docomo.ne.jp", "docomo", HEALTHY, 0, 0, 8},
    {"au.test", "mx.ezweb.ne.jp", "au", RESETS, 12, 18, 6},
    {"softbank.test", "mx.softbank.ne.jp", "softbank", HEALTHY, 0, 0, 4},
    {"icloud.test", "mx01.mail.icloud.com", "icloud", HEALTHY, 0, 0, 4},
    {"gmo.test", "mx1.gmoserver.jp", "gmo", HEALTHY, 0, 0, 3},
    {"proofpoint.test", "mx1.ppe-hosted.com", "proofpoint", HEALTHY, 0, 0, 2},
    {"small.test", "mx.small.test", "mx.small.test", HEALTHY, 0, 0, 2},
    {"other.test", "mx.other.test", "mx.other.test", HEALTHY, 0, 0, 1},
};

static struct fake_host hosts[PROVIDERS + 1];
static bool in_trouble;
static int64_t minute[2];
static unsigned in_minute[2];

/* ---- what the providers say ---- */

static const char *throttle(bool second)
{
	int64_t now = played_now() / MINUTE;
	if (minute[second] != now)
		in_minute[second] = 0;
	minute[second] = now;
	if (++in_minute[second] <= PER_MINUTE)
		return NULL;
	return "421 4.7.0 Too many messages from your IP address, slow down";
}

static const char *played_says(const char *mx, const char *source, enum client_stage stage)
{
	const struct provider_day *p = days;
	int64_t hour = played_now() / HOUR;
	bool second = strcmp(source, "127.0.0.12") == 0;
	while (strcmp(p->mx, mx) != 0)
		p++;
	if (!in_trouble || hour < p->from || hour >= p->to)
		return NULL;
	switch (p->trouble) {
	case HEALTHY:
		return NULL;
	case BLOCKS:
		return second || stage != CLIENT_RCPT
		    ? NULL
		    : "550 5.7.606 Access denied, banned sending IP [127.0.0.11]. AS(1430)";
	case THROTTLES:
		return stage == CLIENT_MAIL ? throttle(second) : NULL;
	case RESETS:
		return second ? NULL : played_reset;
	}
	return NULL;
}

/* ---- the day ---- */

struct total {
	unsigned delivered, bounced, again, delayed, by_second;
	int64_t worst;
};

static unsigned pick_provider(void)
{
	uint32_t n = random_below(100);
	unsigned i = 0;
	while (n >= days[i].share)
		n -= days[i++].share;
	return i;
}

static int by_arrival(const void *a, const void *b)
{
	const struct played_mail *m = a;
	const struct played_mail *n = b;
	return (m->arrives_ms > n->arrives_ms) - (m->arrives_ms < n->arrives_ms);
}

static struct played_mail *make_mails(size_t count)
{
	struct played_mail *mails = mem_array(count, sizeof(*mails));
	random_fix(42);
	for (size_t i = 0; i < count; i++) {
		snprintf(mails[i].to, sizeof(mails[i].to), "u@%s", days[pick_provider()].domain);
		mails[i].arrives_ms = (int64_t)random_below(24 * 3600 * 1000);
	}
	qsort(mails, count, sizeof(*mails), by_arrival);
	return mails;
}

static void sum_up(struct total totals[PROVIDERS])
{
	memset(totals, 0, PROVIDERS * sizeof(*totals));
	for (size_t i = 0; i < played.mail_count; i++) {
		const struct played_mail *m = &played.mails[i];
		unsigned p = 0;
		while (strcmp(days[p].domain, strchr(m->to, '@') + 1) != 0)
			p++;
		struct total *t = &totals[p];
		int64_t delay = m->done_ms - m->arrives_ms;
		assert_true(m->done_ms >= 0);
		t->delivered += !m->bounced;
		t->bounced += m->bounced;
		t->again += m->attempts > 1;
		t->delayed += delay > 5 * MINUTE;
		t->by_second += m->by_second;
		t->worst = delay > t->worst ? delay : t->worst;
	}
}

static void run_day(size_t count, bool trouble, struct total totals[PROVIDERS])
{
	struct played_mail *mails = make_mails(count);
	for (size_t i = 0; i < PROVIDERS; i++)
		hosts[i] = (struct fake_host){days[i].domain, days[i].mx, "127.0.2.1"};
	in_trouble = trouble;
	played_open("\"ip1\", \"ip2\"", hosts, mails, count);
	played_until(DAY);
	for (int64_t end = DAY + HOUR; played.waiting && end < 6 * DAY; end += HOUR)
		played_until(end);
	assert_int_equal(played.waiting, 0);
	sum_up(totals);
	assert_int_equal(played.stats.bounced, 0);
	assert_int_equal(played.reports, 0);
	if (trouble)
		assert_in_range(played.notices, 2, 12);
	else
		assert_int_equal(played.notices, 0);
	played_close();
	mem_free(mails);
}

static void test_day(void **state)
{
	static struct total calm[PROVIDERS];
	static struct total bad[PROVIDERS];
	unsigned sum = 0;
	(void)state;
	run_day(MAILS, false, calm);
	run_day(MAILS, true, bad);
	print_message("%-13s %9s %9s %8s %8s %7s %9s %9s\n", "provider", "delivered", "wrongly",
	    "tried", "over 5", "by ip2", "worst s", "worst s");
	print_message("%-13s %9s %9s %8s %8s %7s %9s %9s\n", "", "", "bounced", "again", "minutes",
	    "", "", "calm day");
	for (unsigned i = 0; i < PROVIDERS; i++) {
		const struct total *t = &bad[i];
		bool healthy = days[i].trouble == HEALTHY;
		sum += t->delivered;
		print_message("%-13s %9u %9u %8u %8u %7u %9.1f %9.1f%s\n", days[i].id, t->delivered,
		    t->bounced, t->again, t->delayed, t->by_second, (double)t->worst / 1000,
		    (double)calm[i].worst / 1000, healthy ? "" : "  in trouble");
		assert_int_equal(t->delivered, calm[i].delivered);
		if (healthy)
			assert_int_equal(t->worst, calm[i].worst);
		assert_true(t->worst < (healthy ? MINUTE : HOUR));
		assert_true(t->again * 20 <= t->delivered);
	}
	assert_int_equal(sum, MAILS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_day),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
