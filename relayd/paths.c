/* SPDX-License-Identifier: MIT */
#include "relayd/paths.h"

#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/notify.h"
#include "relayd/line_store.h"

#define MINUTE_MS (60 * (int64_t)1000)
#define DAY_MS (24 * 60 * MINUTE_MS)
#define FIRST_LOOK_MS 1000      /* after a start: incidents that nobody was told of */
#define LOOK_AGAIN_MS MINUTE_MS /* for those that could not be told */

#define TELLING_MAX 64

/* An incident that nobody was told of yet. */
struct telling {
	unsigned number; /* 0: free */
	bool under_way;  /* a mail is being queued */
	bool ran;        /* notify.command: only the mail is left */
};

struct paths {
	struct settings *settings;
	struct reputation *reputation;
	struct line_store *store;
	struct notify *notify;
	struct timer timer;
	struct telling telling[TELLING_MAX];
};

static void on_event(void *arg, const char *line)
{
	struct paths *p = arg;
	line_store_add(p->store, line);
}

static bool replay_line(void *arg, struct span line)
{
	struct paths *p = arg;
	return reputation_replay(p->reputation, line);
}

static void dump_lines(void *arg, void (*line)(void *line_arg, const char *text), void *line_arg)
{
	struct paths *p = arg;
	reputation_dump(p->reputation, line, line_arg);
}

/* ---- incidents ---- */

static void log_incident(const struct incident *i)
{
	struct log_line line;
	log_begin(&line, LOG_LEVEL_ERROR, "incident");
	log_add_number(&line, "number", i->number);
	log_add_text(&line, "source", i->source);
	log_add_text(&line, "provider", i->provider);
	if (i->sender_domain[0])
		log_add_text(&line, "domain", i->sender_domain);
	log_add_text(&line, "class", verdict_class_name(i->klass));
	log_add_text(&line, "rule", i->rule);
	if (i->family)
		log_add_text(&line, "family", "ipv6");
	log_add_escaped(&line, "reply", i->reply_count ? i->replies[0].text : "");
	log_add_text(&line, "help", i->help);
	log_end(&line);
}

static struct telling *find_telling(struct paths *p, unsigned number)
{
	for (size_t i = 0; i < TELLING_MAX; i++)
		if (p->telling[i].number == number)
			return &p->telling[i];
	return NULL;
}

static void try_to_tell(struct paths *p, struct telling *t, const struct incident *i)
{
	t->ran = t->ran && t->number == i->number;
	t->number = i->number;
	t->under_way = true;
	t->ran = notify_incident(p->notify, p->settings->conf, i, t->ran);
}

static void on_told(void *arg, unsigned number, bool ok)
{
	struct paths *p = arg;
	struct telling *t = find_telling(p, number);
	if (!t)
		bug("nobody was being told of that incident");
	t->under_way = false;
	if (!ok) {
		if (!timer_is_running(&p->timer)) /* for one that failed before */
			timer_start(&p->timer, LOOK_AGAIN_MS);
		return;
	}
	t->number = 0;
	incident_noticed(p->reputation, number);
}

/* Called for each message that meets it, until somebody was told. */
static void on_incident(void *arg, const struct incident *i)
{
	struct paths *p = arg;
	struct telling *t = find_telling(p, i->number);
	if (t)
		return;
	log_incident(i);
	t = find_telling(p, 0);
	if (t)
		try_to_tell(p, t, i);
	else
		incident_noticed(p->reputation, i->number); /* the log has to do */
}

static void tell_again(void *arg, const struct incident *i)
{
	struct paths *p = arg;
	struct telling *t = find_telling(p, i->number);
	if (!t)
		t = find_telling(p, 0);
	if (i->open && !i->noticed && t && !t->under_way)
		try_to_tell(p, t, i);
}

/* One that was closed meanwhile is nobody's business any more. */
static void look(void *arg)
{
	struct paths *p = arg;
	for (size_t k = 0; k < TELLING_MAX; k++) {
		struct telling *t = &p->telling[k];
		const struct incident *i = incident_find(p->reputation, t->number);
		if (t->number && !t->under_way && (!i || !i->open))
			t->number = 0;
	}
	incident_each(p->reputation, tell_again, p);
}

/* ---- life ---- */

static struct reputation_options options_of(struct paths *p)
{
	const struct conf_reputation *conf = &p->settings->conf->reputation;
	struct reputation_options options = {
	    .warmup_start = (double)conf->warmup_start,
	    .warmup_growth = 1 + (double)conf->warmup_growth / 100,
	    .warmup_days = (unsigned)conf->warmup_days,
	    .idle_days = (unsigned)((conf->warmup_idle + DAY_MS - 1) / DAY_MS),
	    .window_start = (double)conf->window_start,
	    .event = on_event,
	    .arg = p,
	};
	size_t max = sizeof(options.ladder) / sizeof(options.ladder[0]);
	for (; options.ladder_count < conf->probe_count && options.ladder_count < max;
	     options.ladder_count++)
		options.ladder[options.ladder_count] = conf->probes[options.ladder_count];
	return options;
}

struct paths *paths_new(struct loop *loop, struct intake *intake, struct helper *helper,
    struct settings *settings, struct why *why)
{
	struct paths *p = mem_zero(sizeof(*p));
	struct notify_options notify = {loop, intake, helper, on_told, p};
	size_t skipped;
	p->settings = settings_ref(settings);
	struct line_store_owner owner = {"reputation", "what is learnt of paths", replay_line,
	    dump_lines, p};
	p->store = line_store_new(loop, settings->conf->spool.path, &owner);
	p->notify = notify_new(&notify);
	timer_init(&p->timer, loop, look, p);
	struct reputation_options options = options_of(p);
	p->reputation = reputation_new(&options);
	if (line_store_load(p->store, &skipped, why) < 0) {
		paths_free(p);
		return NULL;
	}
	if (skipped)
		log_text(LOG_LEVEL_WARN, "%s/reputation: %zu lines made no sense and are gone",
		    settings->conf->spool.path, skipped);
	reputation_on_incident(p->reputation, on_incident, p);
	timer_start(&p->timer, FIRST_LOOK_MS);
	return p;
}

void paths_free(struct paths *p)
{
	if (!p)
		return;
	timer_stop(&p->timer);
	line_store_free(p->store);
	notify_free(p->notify);
	reputation_free(p->reputation);
	settings_unref(p->settings);
	mem_free(p);
}

void paths_set_settings(struct paths *p, struct settings *settings)
{
	settings_unref(p->settings);
	p->settings = settings_ref(settings);
	struct reputation_options options = options_of(p);
	reputation_set_options(p->reputation, &options);
}

struct reputation *paths_reputation(struct paths *p)
{
	return p->reputation;
}
