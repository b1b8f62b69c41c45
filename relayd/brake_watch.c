/* SPDX-License-Identifier: MIT */
#include "relayd/brake_watch.h"

#include <inttypes.h>

#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/line_store.h"

#define LOOK_MS 10000 /* between looks after braked ones; and what a crash costs of counts */

struct brake_watch {
	struct settings *settings;
	struct reputation *reputation;
	struct brake *brake;
	struct line_store *store;
	struct timer timer;
};

/* ---- incidents ---- */

static void add_text(struct buf *out, const struct brake_view *view)
{
	if (view->cause == BRAKE_UNKNOWN)
		buf_addf(out, "%" PRIu64 " of %" PRIu64 " recipients within a day do not exist, "
		    "the limit is %" PRId64 " percent",
		    view->unknown, view->recipients, view->limits.unknown_share);
	else
		buf_addf(out, "%" PRIu64 " messages within an hour, the limit is %" PRId64,
		    view->messages, view->limits.messages_per_hour);
}

static void add_help(struct buf *out, const struct brake_view *view)
{
	bool unknown = view->cause == BRAKE_UNKNOWN;
	struct buf who = {0};
	text_escape(&who, span_text(view->who), BRAKE_NAME_MAX);
	buf_addf(out,
	    "its mail is held until somebody does relayctl queue release --who %s, or queue "
	    "delete; look at it with queue list. New mail of it goes again %s, or after relayctl "
	    "brake release %s",
	    buf_text(&who), unknown ? "when a day has passed" : "when it has sent less for an hour",
	    buf_text(&who));
	buf_free(&who);
}

static struct incident_cause cause_of(const struct brake_view *view, enum brake_cause cause)
{
	bool unknown = cause == BRAKE_UNKNOWN;
	return (struct incident_cause){
	    .source = view->who,
	    .provider = "",
	    .klass = unknown ? VERDICT_UNKNOWN_RECIPIENT : VERDICT_RATE_LIMITED,
	    .rule = unknown ? "brake-unknown" : "brake-rate",
	    .help = "",
	    .text = "",
	};
}

static void tell(struct brake_watch *w, const struct brake_view *view, uint64_t id)
{
	struct buf text = {0};
	struct buf help = {0};
	struct incident_cause cause = cause_of(view, view->cause);
	add_text(&text, view);
	add_help(&help, view);
	cause.text = buf_text(&text);
	cause.help = buf_text(&help);
	cause.message_id = id;
	incident_open(w->reputation, &cause, clock_steady_ms());
	buf_free(&text);
	buf_free(&help);
}

static void log_change(const struct brake_view *view)
{
	struct log_line line;
	log_begin(&line, view->cause == BRAKE_FREE ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "brake");
	log_add_text(&line, "who", view->who);
	log_add_text(&line, "state", view->cause == BRAKE_FREE ? "free" : "held");
	if (view->cause != BRAKE_FREE)
		log_add_text(&line, "cause", brake_cause_name(view->cause));
	log_add_number(&line, "messages", (int64_t)view->messages);
	log_add_number(&line, "recipients", (int64_t)view->recipients);
	log_add_number(&line, "unknown", (int64_t)view->unknown);
	log_end(&line);
}

static void on_change(void *arg, const struct brake_view *view)
{
	static const enum brake_cause causes[] = {BRAKE_RATE, BRAKE_UNKNOWN};
	struct brake_watch *w = arg;
	log_change(view);
	for (size_t i = 0; i < 2; i++) {
		struct incident_cause over = cause_of(view, causes[i]);
		if (causes[i] != view->cause)
			incident_end(w->reputation, &over, clock_steady_ms());
	}
	/* of a rate the message that exceeds it is told of, and counted with it */
	if (view->cause == BRAKE_UNKNOWN)
		tell(w, view, 0);
}

/* ---- life ---- */

static void on_event(void *arg, const char *line)
{
	struct brake_watch *w = arg;
	line_store_add(w->store, line);
}

static bool replay_line(void *arg, struct span line)
{
	struct brake_watch *w = arg;
	return brake_replay(w->brake, line);
}

static void dump_lines(void *arg, void (*line)(void *line_arg, const char *text), void *line_arg)
{
	struct brake_watch *w = arg;
	brake_dump(w->brake, line, line_arg);
}

static void look(void *arg)
{
	struct brake_watch *w = arg;
	brake_look(w->brake, clock_steady_ms());
	brake_flush(w->brake);
	timer_start(&w->timer, LOOK_MS);
}

struct brake_watch *brake_watch_new(struct loop *loop, struct reputation *reputation,
    struct settings *settings, struct why *why)
{
	struct brake_watch *w = mem_zero(sizeof(*w));
	const char *folder = settings->conf->spool.path;
	struct line_store_owner owner = {"brake", "what is counted of senders", replay_line,
	    dump_lines, w};
	size_t skipped;
	w->settings = settings_ref(settings);
	w->reputation = reputation;
	w->brake = brake_new(&(struct brake_options){on_event, on_change, w});
	w->store = line_store_new(loop, folder, &owner);
	timer_init(&w->timer, loop, look, w);
	if (line_store_load(w->store, &skipped, why) < 0) {
		brake_watch_free(w);
		return NULL;
	}
	if (skipped)
		log_text(LOG_LEVEL_WARN, "%s/brake: %zu lines made no sense and are gone", folder,
		    skipped);
	timer_start(&w->timer, LOOK_MS);
	return w;
}

void brake_watch_free(struct brake_watch *w)
{
	if (!w)
		return;
	timer_stop(&w->timer);
	brake_flush(w->brake);
	line_store_free(w->store);
	brake_free(w->brake);
	settings_unref(w->settings);
	mem_free(w);
}

void brake_watch_set_settings(struct brake_watch *w, struct settings *settings)
{
	settings_unref(w->settings);
	w->settings = settings_ref(settings);
}

/* ---- limits ---- */

/* Those of its entry of clients come before the general ones, for what the entry is
 * about: a login, or each of its hosts. */
static struct brake_limits limits_of(const struct brake_watch *w, const struct envelope *e,
    enum brake_kind kind)
{
	const struct conf *conf = w->settings->conf;
	const int64_t rates[BRAKE_KINDS] = {
	    [BRAKE_LOGIN] = conf->brake.login_messages_per_hour,
	    [BRAKE_CLIENT] = conf->brake.client_messages_per_hour,
	    [BRAKE_SCRIPT] = conf->brake.script_messages_per_hour,
	};
	struct brake_limits limits = {rates[kind], conf->brake.unknown_share, conf->brake.minimum};
	const struct conf_client *entry =
	    e->entry ? conf_client_named(conf->clients, conf->client_count, e->entry) : NULL;
	if (!entry || kind != (entry->login[0] ? BRAKE_LOGIN : BRAKE_CLIENT))
		return limits;
	if (entry->messages_per_hour)
		limits.messages_per_hour = entry->messages_per_hour;
	if (entry->unknown_share)
		limits.unknown_share = entry->unknown_share;
	return limits;
}

/* ---- messages ---- */

/* What is done for one sender. */
typedef enum brake_cause count(struct brake_watch *w, const char *who,
    const struct brake_limits *limits);

/* FN for each of its senders; the code for the first one that is braked. */
static uint8_t each_sender(struct brake_watch *w, const struct envelope *e, count *fn,
    struct buf *braked)
{
	struct buf who = {0};
	uint8_t code = 0;
	for (unsigned kind = 0; kind < BRAKE_KINDS; kind++) {
		buf_clear(&who);
		if (!brake_who(e, (enum brake_kind)kind, &who))
			continue;
		struct brake_limits limits = limits_of(w, e, (enum brake_kind)kind);
		enum brake_cause cause = fn(w, buf_text(&who), &limits);
		if (cause == BRAKE_FREE || code)
			continue;
		code = brake_code((enum brake_kind)kind, cause);
		buf_add(braked, who.data, who.len);
	}
	buf_free(&who);
	return code;
}

static enum brake_cause count_message(struct brake_watch *w, const char *who,
    const struct brake_limits *limits)
{
	return brake_message(w->brake, who, limits, clock_steady_ms());
}

static enum brake_cause count_back(struct brake_watch *w, const char *who,
    const struct brake_limits *limits)
{
	(void)limits;
	brake_take_back(w->brake, who, clock_steady_ms());
	return BRAKE_FREE;
}

static enum brake_cause count_known(struct brake_watch *w, const char *who,
    const struct brake_limits *limits)
{
	return brake_recipient(w->brake, who, limits, false, clock_steady_ms());
}

static enum brake_cause count_unknown(struct brake_watch *w, const char *who,
    const struct brake_limits *limits)
{
	return brake_recipient(w->brake, who, limits, true, clock_steady_ms());
}

/* What was let in when the rate was not exceeded may go. */
static enum brake_cause ask(struct brake_watch *w, const char *who,
    const struct brake_limits *limits)
{
	enum brake_cause cause = brake_ask(w->brake, who, limits, clock_steady_ms());
	return cause == BRAKE_UNKNOWN ? cause : BRAKE_FREE;
}

static uint8_t hold_by(struct brake_watch *w, const struct envelope *e, count *fn, uint64_t id)
{
	struct buf who = {0};
	struct brake_view view;
	uint8_t code = each_sender(w, e, fn, &who);
	if (code && brake_find(w->brake, buf_text(&who), clock_steady_ms(), &view))
		tell(w, &view, id);
	buf_free(&who);
	return code;
}

uint8_t brake_watch_message(struct brake_watch *w, const struct envelope *e, uint64_t id)
{
	return w ? hold_by(w, e, count_message, id) : 0;
}

uint8_t brake_watch_stops(struct brake_watch *w, const struct envelope *e, uint64_t id)
{
	return w ? hold_by(w, e, ask, id) : 0;
}

void brake_watch_take_back(struct brake_watch *w, const struct envelope *e)
{
	struct buf none = {0};
	if (w)
		each_sender(w, e, count_back, &none);
	buf_free(&none);
}

void brake_watch_recipient(struct brake_watch *w, const struct envelope *e, bool unknown)
{
	struct buf none = {0};
	if (w)
		each_sender(w, e, unknown ? count_unknown : count_known, &none);
	buf_free(&none);
}

/* ---- relayctl ---- */

void brake_watch_each(const struct brake_watch *w,
    void (*fn)(void *arg, const struct brake_view *view), void *arg)
{
	brake_each(w->brake, clock_steady_ms(), fn, arg);
}

bool brake_watch_release(struct brake_watch *w, const char *who)
{
	return brake_release(w->brake, who, clock_steady_ms());
}
