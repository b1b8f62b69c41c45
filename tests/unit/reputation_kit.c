/* SPDX-License-Identifier: MIT */
#include "tests/unit/reputation_kit.h"

#include <string.h>
#include <sys/socket.h>

#include "relayd/base/mem.h"

const struct verdict paths_blocked = {.klass = VERDICT_IP_BLOCKED,
    .scope = VERDICT_SCOPE_IP,
    .action = VERDICT_HOLD,
    .rule = "banned-ip",
    .provider = "",
    .help = "https://delist.example/",
    .known = true};
const struct verdict paths_slow = {.klass = VERDICT_RATE_LIMITED,
    .scope = VERDICT_SCOPE_IP,
    .action = VERDICT_SLOW,
    .rule = "too-fast",
    .provider = "",
    .help = "",
    .known = true};
const struct verdict paths_greylisted = {.klass = VERDICT_GREYLISTED,
    .scope = VERDICT_SCOPE_RECIPIENT,
    .action = VERDICT_RETRY_SAME,
    .rule = "greylist",
    .provider = "",
    .help = "",
    .known = true};
const struct verdict paths_unknown_user = {.klass = VERDICT_UNKNOWN_RECIPIENT,
    .scope = VERDICT_SCOPE_RECIPIENT,
    .action = VERDICT_SUPPRESS,
    .rule = "no-such-user",
    .provider = "",
    .help = "",
    .known = true};
const struct verdict paths_content = {.klass = VERDICT_CONTENT,
    .scope = VERDICT_SCOPE_MESSAGE,
    .action = VERDICT_BOUNCE,
    .rule = "content",
    .provider = "",
    .help = "",
    .known = true};
const struct verdict paths_dmarc = {.klass = VERDICT_AUTH_FAILED,
    .scope = VERDICT_SCOPE_SENDER_DOMAIN,
    .action = VERDICT_HOLD_DOMAIN,
    .rule = "dmarc",
    .provider = "",
    .help = "mend DMARC",
    .known = true};

static void keep_line(void *arg, const char *line)
{
	buf_add_text(arg, line);
	buf_add_byte(arg, '\n');
}

static void count_incident(void *arg, const struct incident *incident)
{
	struct paths *kit = arg;
	kit->incidents++;
	kit->last_incident = incident->number;
	assert_false(incident->noticed);
}

static void make(struct paths *kit)
{
	struct reputation_options options = {
	    .ladder = {15 * MINUTE, HOUR, 4 * HOUR, 24 * HOUR},
	    .ladder_count = 4,
	    .warmup_start = 20,
	    .warmup_growth = 1.4,
	    .warmup_days = 30,
	    .idle_days = 30,
	    .window_start = 2,
	    .event = keep_line,
	    .arg = &kit->lines,
	};
	kit->r = reputation_new(&options);
	reputation_on_incident(kit->r, count_incident, kit);
}

void paths_open(struct paths *kit)
{
	memset(kit, 0, sizeof(*kit));
	make(kit);
}

void paths_close(struct paths *kit)
{
	reputation_free(kit->r);
	buf_free(&kit->lines);
}

int paths_setup(void **state)
{
	*state = mem_zero(sizeof(struct paths));
	paths_open(*state);
	return 0;
}

int paths_teardown(void **state)
{
	paths_close(*state);
	mem_free(*state);
	return 0;
}

void paths_dump(const struct paths *kit, struct buf *out)
{
	reputation_dump(kit->r, keep_line, out);
}

static void replay(struct paths *kit, const struct buf *lines)
{
	const char *p = buf_text(lines);
	reputation_free(kit->r);
	make(kit);
	for (const char *end; (end = strchr(p, '\n')); p = end + 1) {
		struct span line = {p, (size_t)(end - p)};
		assert_true(reputation_replay(kit->r, line));
	}
}

void paths_restart(struct paths *kit)
{
	struct buf dump = {0};
	struct buf again = {0};
	paths_dump(kit, &dump);
	replay(kit, &dump);
	paths_dump(kit, &again);
	assert_string_equal(buf_text(&dump), buf_text(&again));
	buf_free(&dump);
	buf_free(&again);
}

void paths_crash(struct paths *kit)
{
	replay(kit, &kit->lines);
}

void paths_copy(struct paths *kit, const struct paths *from)
{
	struct buf dump = {0};
	paths_dump(from, &dump);
	replay(kit, &dump);
	buf_free(&dump);
}

struct reputation_way paths_way(const char *source, const char *provider)
{
	struct reputation_way way = {.source = source, .since = "", .provider = provider,
	    .sender_domain = ""};
	return way;
}

struct permit paths_ask(struct paths *kit, const struct reputation_way *way, int64_t now_ms,
    enum permit_answer wanted)
{
	struct permit permit = reputation_ask(kit->r, way, now_ms);
	assert_int_equal(permit.answer, wanted);
	return permit;
}

void paths_report(struct paths *kit, const struct reputation_way *way, const struct verdict *v,
    enum verdict_stage stage, const char *reply, bool probe, int64_t now_ms)
{
	struct reputation_report report = {
	    .verdict = v,
	    .stage = stage,
	    .reply = reply,
	    .recipient_domain = "example.com",
	    .delivered = v ? 0 : 1,
	    .probe = probe,
	};
	reputation_report(kit->r, way, &report, now_ms);
}

void paths_send(struct paths *kit, const struct reputation_way *way, const struct verdict *v,
    enum verdict_stage stage, const char *reply, int64_t now_ms)
{
	struct permit permit = reputation_ask(kit->r, way, now_ms);
	assert_true(permit.answer == PERMIT_GO || permit.answer == PERMIT_PROBE);
	paths_report(kit, way, v, stage, reply, permit.answer == PERMIT_PROBE, now_ms);
}

void paths_silence(struct paths *kit, const struct reputation_way *way, int64_t now_ms)
{
	static const struct verdict broken = {.klass = VERDICT_SERVER_BUSY,
	    .scope = VERDICT_SCOPE_CONNECTION,
	    .action = VERDICT_RETRY,
	    .rule = "structure",
	    .provider = "",
	    .help = ""};
	struct permit permit = reputation_ask(kit->r, way, now_ms);
	struct reputation_report report = {
	    .verdict = &broken,
	    .stage = VERDICT_STAGE_CONNECT,
	    .reply = "",
	    .recipient_domain = "example.com",
	    .probe = permit.answer == PERMIT_PROBE,
	    .silence = true,
	};
	assert_true(permit.answer == PERMIT_GO || permit.answer == PERMIT_PROBE);
	reputation_report(kit->r, way, &report, now_ms);
}

struct wanted {
	const char *source;
	const char *provider;
	struct path_view *view;
	bool found;
};

static void compare(void *arg, const struct path_view *view)
{
	struct wanted *w = arg;
	if (strcmp(view->source, w->source) != 0 || strcmp(view->provider, w->provider) != 0)
		return;
	*w->view = *view;
	w->found = true;
}

bool paths_view(const struct paths *kit, const char *source, const char *provider, int64_t now_ms,
    struct path_view *view)
{
	struct wanted w = {source, provider, view, false};
	reputation_each(kit->r, now_ms, compare, &w);
	return w.found;
}

enum path_state paths_state(const struct paths *kit, const char *source, const char *provider,
    int64_t now_ms)
{
	struct path_view view;
	assert_true(paths_view(kit, source, provider, now_ms, &view));
	return view.state;
}
