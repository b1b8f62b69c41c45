/* SPDX-License-Identifier: MIT */
#include "relayd/daemon.h"

#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dkim/sign.h"
#include "relayd/base/clock.h"
#include "relayd/base/log.h"
#include "relayd/base/mem.h"
#include "relayd/bounds.h"
#include "relayd/control.h"
#include "relayd/drop.h"
#include "relayd/fence.h"
#include "relayd/folders.h"
#include "relayd/helper.h"
#include "relayd/privileges.h"
#include "relayd/sandbox.h"
#include "relayd/service.h"
#include "relayd/spool_damage.h"
#include "smtp/https.h"
#include "smtp/tls.h"

#define PATIENCE_MS 4000 /* of a shutdown */
#define CHECK_MS 50
#define DAY_MS (24 * 60 * 60 * 1000)
#define SIGNERS_MAX 64

/* ---- joints ---- */

static void enter_queue(void *arg, uint64_t id, struct spool_place place,
    const struct envelope *envelope, uint64_t size, const struct spool_state *state)
{
	struct daemon *d = arg;
	deliver_add(d->deliver, id, place, envelope, size, state, NULL);
}

static size_t queued(void *arg)
{
	struct daemon *d = arg;
	return schedule_stats(deliver_schedule(d->deliver)).messages;
}

static void recovered(void *arg, uint64_t id, struct spool_place place,
    const struct envelope *envelope, uint64_t size, const struct spool_state *state,
    const unsigned char *done)
{
	struct daemon *d = arg;
	deliver_add(d->deliver, id, place, envelope, size, state, done);
}

/* Not before spool_recover: the paths, and so incidents, are there. */
static void spool_damage(void *arg, const struct damage *damage)
{
	struct daemon *d = arg;
	spool_damage_tell(paths_reputation(d->paths), spool_path(d->spool), damage);
}

static void spool_full(void *arg, bool full)
{
	(void)arg;
	log_text(full ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, "%s",
	    full ? "the spool's disk is full: clients get 452, delivery goes on"
		 : "the spool's disk has room again");
}

static bool spool_live(void *arg, uint64_t id, struct spool_live *now, struct buf *done)
{
	struct daemon *d = arg;
	return deliver_is_live(d->deliver, id, now, done);
}

static void spool_moved(void *arg, uint64_t id, struct spool_place place)
{
	struct daemon *d = arg;
	deliver_moved(d->deliver, id, place);
}

static void spool_lost(void *arg, uint64_t id)
{
	struct daemon *d = arg;
	deliver_lost(d->deliver, id);
}

static uint64_t *spool_standing(void *arg, uint32_t segment, size_t *count)
{
	struct daemon *d = arg;
	return deliver_standing(d->deliver, segment, count);
}

static void *signer_begin(void *arg)
{
	(void)arg;
	return dkim_signer_new();
}

static void signer_end(void *signer)
{
	dkim_signer_free(signer);
}

/* ---- privileges ---- */

/* Started as root: the user to become. -1: there is no such user. */
static int find_user(const struct conf *conf, const struct passwd **user, struct why *why)
{
	*user = NULL;
	if (geteuid() != 0 || !conf->user[0])
		return 0;
	*user = getpwnam(conf->user);
	if (*user)
		return 0;
	return why_set(why, WHY_LOCAL,
	    "user: there is no user \"%s\" on this machine; make it, or set user = \"\" to stay root",
	    conf->user);
}

static int raise_fence(const struct conf *conf, struct why *why)
{
	size_t count;
	char **list = folders_list(conf, &count);
	enum fence_result result = fence_enter((const char *const *)list, count, why);
	folders_free(list, count);
	if (result == FENCE_ABSENT)
		log_text(LOG_LEVEL_INFO,
		    "sandbox: this kernel has no Landlock; writing is bounded by file modes only");
	return result == FENCE_FAILED ? -1 : 0;
}

/* What comes with code of its own, while code can be loaded. */
static int load_code(const struct settings *settings, struct why *why)
{
	struct why no_https = {0};
	if (tls_begin(why) < 0)
		return -1;
	if (settings_want_https(settings) && https_load(&no_https) < 0)
		log_text(LOG_LEVEL_WARN, "delivery: MTA-STS policies can not be fetched, nor TLS reports be"
					 " posted: %s", no_https.text);
	return 0;
}

/* The last step before anything from outside is read: no thread exists yet. */
static int shut_in(const struct conf *conf, struct why *why)
{
	struct sandbox_options options = {
	    .log_only = conf->sandbox == CONF_SANDBOX_LOG,
	    .tools = sandbox_needs_tools(),
	};
	if (conf->sandbox == CONF_SANDBOX_OFF) {
		log_text(LOG_LEVEL_WARN, "sandbox = \"off\": nothing bounds what the process may do");
		return 0;
	}
	if (raise_fence(conf, why) < 0)
		return -1;
	return sandbox_enter(&options, why);
}

/* Root could read all of it. Better said now than when a reload fails at night. */
static void try_reading_again(const char *file)
{
	struct conf_errors errors = {0};
	struct conf *conf = conf_load(file, &errors);
	if (!conf)
		settings_log_errors(LOG_LEVEL_WARN, "a reload would fail, since root is left behind",
		    &errors);
	conf_free(conf);
	conf_errors_free(&errors);
}

/* What needs root, if we have it, in this order; after it nobody has it. */
static int open_and_drop(struct daemon *d, struct why *why)
{
	const struct conf *conf = d->settings->conf;
	const struct passwd *user;
	const struct helper_start start = {
	    .command = conf->notify.command,
	    .user = conf->user,
	    .filter = conf->sandbox != CONF_SANDBOX_OFF,
	};
	if (helper_begin(d->helper, &start, why) < 0 ||
	    find_user(conf, &user, why) < 0 || folders_make(conf, user, why) < 0 ||
	    listen_open(d->listen, d->settings, why) < 0)
		return -1;
	if (privileges_drop(user, why) < 0)
		return -1;
	if (user)
		try_reading_again(d->file);
	return 0;
}

/* ---- start ---- */

static unsigned signer_count(const struct conf *conf)
{
	long n = conf->workers ? (long)conf->workers : sysconf(_SC_NPROCESSORS_ONLN);
	return n < 1 ? 1 : n > SIGNERS_MAX ? SIGNERS_MAX : (unsigned)n;
}

/* With the first keys there are: until then nothing is signed. */
static void prepare_signing(struct daemon *d, const struct settings *settings)
{
	struct why why = {0};
	if (d->can_sign || !dkim_keys_any(settings->keys))
		return;
	d->can_sign = true;
	if (!dkim_start(&why))
		log_text(LOG_LEVEL_WARN, "dkim: keys are decoded for each message (slower): %s",
		    why.text);
}

static void start_signers(struct daemon *d)
{
	prepare_signing(d, d->settings);
	struct pool_options options = {
	    .name = "sign",
	    .threads = signer_count(d->settings->conf),
	    .begin = signer_begin,
	    .end = signer_end,
	};
	d->signers = pool_new(d->loop, &options);
}

static int start_spool(struct daemon *d, struct why *why)
{
	struct spool_reports reports = {
	    .damage = spool_damage,
	    .full = spool_full,
	    .moved = spool_moved,
	    .lost = spool_lost,
	    .standing = spool_standing,
	    .live = spool_live,
	    .arg = d,
	};
	d->spool = spool_open(d->loop, &d->settings->conf->spool, &reports, why);
	return d->spool ? 0 : -1;
}

/* Policies are kept in the spool's folder: it is ours alone already. */
static int start_sts(struct daemon *d, struct why *why)
{
	struct buf folder = {0};
	buf_addf(&folder, "%s/mta-sts", d->settings->conf->spool.path);
	d->https = https_new(d->loop);
	d->sts = sts_new(&(struct sts_options){d->loop, d->dns, d->https, buf_text(&folder)}, why);
	buf_free(&folder);
	return d->sts ? 0 : -1;
}

static void start_reports(struct daemon *d)
{
	struct buf file = {0};
	buf_addf(&file, "%s/tls-reports", d->settings->conf->spool.path);
	d->reports = tls_reports_new(&(struct tls_reports_options){d->loop, d->dns, d->https,
	    d->intake, buf_text(&file)}, d->settings);
	buf_free(&file);
}

static void set_sts_network(struct daemon *d, const struct conf_delivery *delivery)
{
	struct mx_options network = {
	    .port = (uint16_t)delivery->mta_sts_port,
	    .ipv4 = delivery->ipv4,
	    .ipv6 = delivery->ipv6,
	    .allow_private = delivery->allow_private,
	};
	sts_set_network(d->sts, &network);
}

static int start_stories(struct daemon *d, struct why *why)
{
	d->login = login_new(d->loop, &d->stats, d->settings);
	struct intake_options in = {
	    .loop = d->loop,
	    .login = d->login,
	    .spool = d->spool,
	    .signers = d->signers,
	    .stats = &d->stats,
	    .enter = enter_queue,
	    .queued = queued,
	    .arg = d,
	};
	d->intake = intake_new(&in, d->settings);
	d->paths = paths_new(d->loop, d->intake, d->helper, d->settings, why);
	if (!d->paths)
		return -1;
	if (start_sts(d, why) < 0)
		return -1;
	d->brake = brake_watch_new(d->loop, paths_reputation(d->paths), d->settings, why);
	if (!d->brake)
		return -1;
	intake_set_brake(d->intake, d->brake);
	start_reports(d);
	struct deliver_options out = {
	    .loop = d->loop,
	    .spool = d->spool,
	    .dns = d->dns,
	    .sts = d->sts,
	    .reports = d->reports,
	    .intake = d->intake,
	    .stats = &d->stats,
	    .paths = d->paths,
	    .brake = d->brake,
	};
	set_sts_network(d, &d->settings->conf->delivery);
	d->deliver = deliver_new(&out, d->settings);
	return 0;
}

static void log_warning(void *arg, const char *text)
{
	(void)arg;
	log_text(LOG_LEVEL_WARN, "%s", text);
}

static void write_status(void *arg, struct buf *out)
{
	struct daemon *d = arg;
	buf_addf(out, "%zu messages in the queue, %zu connections of clients, %zu deliveries run",
	    queued(d), listen_connections(d->listen), deliver_running(d->deliver));
}

/* A certificate ends in the middle of a life of months, too. */
static void look_daily(void *arg)
{
	struct daemon *d = arg;
	settings_renew(d->settings, log_warning, NULL);
	timer_start(&d->daily, DAY_MS);
}

static const char *const fixed_keys[DAEMON_FIXED] = {"control", "control_group",
    "control_look_group", "spool", "drop", "user", "log", "workers", "sandbox", "notify.command",
    "auth.workers", "dns"};

static char *text_of_key(const struct conf *conf, const char *key)
{
	struct buf text = {0};
	conf_print_key(conf, key, &text);
	return buf_take(&text, NULL);
}

int daemon_start(struct daemon *d, const char *file, struct settings *settings,
    struct helper *helper, struct why *why)
{
	const struct conf *conf = settings->conf;
	*d = (struct daemon){.file = file, .settings = settings, .helper = helper};
	for (size_t i = 0; i < DAEMON_FIXED; i++)
		d->fixed[i] = text_of_key(conf, fixed_keys[i]);
	bounds_apply(settings->conf);
	d->stats.started_ms = clock_wall_ms();
	d->loop = loop_new();
	d->listen = listen_new(&(struct listen_options){d->loop, &d->stats});
	if (open_and_drop(d, why) < 0)
		return -1;
	d->control = control_new(d, why);
	if (!d->control || load_code(settings, why) < 0 || shut_in(conf, why) < 0 ||
	    start_spool(d, why) < 0)
		return -1;
	d->dns = dns_new(d->loop, &conf->dns, why);
	if (!d->dns)
		return -1;
	start_signers(d);
	if (start_stories(d, why) < 0 || spool_recover(d->spool, recovered, d, why) < 0)
		return -1;
	d->drop = drop_new(d, why);
	if (!d->drop)
		return -1;
	control_start(d->control);
	listen_start(d->listen, d->intake, settings);
	mem_trim(); /* reading rules, keys and the spool has left holes */
	settings_warn(settings, log_warning, NULL);
	settings_warn_of_clients(settings, log_warning, NULL);
	timer_init(&d->daily, d->loop, look_daily, d);
	timer_start(&d->daily, DAY_MS);
	log_text(LOG_LEVEL_INFO, "relayd " RELAYD_VERSION " is ready: %zu messages in the queue",
	    queued(d));
	service_forget_sockets();
	service_ready(d->loop, write_status, d);
	return 0;
}

/* ---- reload ---- */

/* Who asked for it, besides the log. */
struct asker {
	void (*fn)(void *arg, const char *text); /* NULL: nobody */
	void *arg;
};

static void warn(void *arg, const char *text)
{
	const struct asker *asker = arg;
	log_text(LOG_LEVEL_WARN, "%s", text);
	if (asker->fn)
		asker->fn(asker->arg, text);
}

static void ATTR_PRINTF(2, 3) warn_reload(struct asker *asker, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	warn(asker, text);
}

/* What is bound to the process keeps its value until the next start: said by each reload as
 * long as the file has another one. */
static void warn_of_fixed(const struct daemon *d, const struct conf *fresh, struct asker *asker)
{
	for (size_t i = 0; i < DAEMON_FIXED; i++) {
		char *text = text_of_key(fresh, fixed_keys[i]);
		if (strcmp(text, d->fixed[i]) != 0)
			warn_reload(asker, "reload: %s changes with the next start only",
			    fixed_keys[i]);
		mem_free(text);
	}
}

static int load_anew(struct daemon *d, struct asker *asker, struct conf_errors *errors)
{
	struct settings *fresh = settings_load(d->file, errors);
	struct why why = {0};
	if (!fresh)
		return -1;
	if (listen_open(d->listen, fresh, &why) < 0) {
		buf_addf(&errors->text, "%s: %s\n", d->file, why.text);
		errors->count++;
		settings_unref(fresh);
		return -1;
	}
	warn_of_fixed(d, fresh->conf, asker); /* before a bound changes what the file says */
	bounds_apply(fresh->conf);
	log_set_level(log_level_named(fresh->conf->log_level));
	if (settings_want_https(fresh) && https_load(&why) < 0)
		warn_reload(asker, "reload: MTA-STS policies can be fetched, and TLS reports be"
				   " posted, with the next start only: %s", why.text);
	prepare_signing(d, fresh);
	login_set_settings(d->login, fresh);
	intake_set_settings(d->intake, fresh);
	paths_set_settings(d->paths, fresh);
	set_sts_network(d, &fresh->conf->delivery);
	tls_reports_set_settings(d->reports, fresh);
	brake_watch_set_settings(d->brake, fresh);
	deliver_set_settings(d->deliver, fresh);
	listen_set_settings(d->listen, fresh);
	settings_unref(d->settings);
	d->settings = fresh;
	settings_warn(fresh, warn, asker);
	settings_warn_of_clients(fresh, warn, asker);
	mem_trim(); /* as at the start, and the old settings have gone */
	log_text(LOG_LEVEL_INFO, "reload: %s is in force", d->file);
	return 0;
}

int daemon_reload(struct daemon *d, void (*warn_fn)(void *arg, const char *text), void *arg,
    struct conf_errors *errors)
{
	struct asker asker = {warn_fn, arg};
	if (d->stopping) { /* what was closed would be opened again */
		conf_errors_add(
		    errors, d->file, "reload", "relayd is shutting down; the next start reads it");
		return -1;
	}
	service_reloading();
	int result = load_anew(d, &asker, errors);
	service_reloaded();
	return result;
}

/* ---- end ---- */

static bool is_quiet(const struct daemon *d)
{
	return intake_sessions(d->intake) == 0 && intake_pending(d->intake) == 0 &&
	       deliver_running(d->deliver) == 0;
}

static void look_again(void *arg)
{
	struct daemon *d = arg;
	static int64_t until;
	if (!until)
		until = clock_mono_ms() + PATIENCE_MS;
	if (is_quiet(d) || clock_mono_ms() >= until)
		loop_stop(d->loop);
	else
		timer_start(&d->patience, CHECK_MS);
}

void daemon_stop(struct daemon *d)
{
	if (d->stopping)
		return;
	d->stopping = true;
	log_text(LOG_LEVEL_INFO, "shutting down");
	service_stopping();
	listen_stop(d->listen);
	drop_stop(d->drop);
	intake_shut(d->intake);
	deliver_shut(d->deliver);
	timer_init(&d->patience, d->loop, look_again, d);
	timer_start(&d->patience, 0);
}

void daemon_end(struct daemon *d)
{
	tls_reports_free(d->reports);
	control_free(d->control);
	login_free(d->login);
	intake_end(d->intake);
	pool_free(d->signers);
	spool_close(d->spool);
	drop_free(d->drop); /* the last answers of the spool go there, and to the paths */
	brake_watch_free(d->brake);
	paths_free(d->paths);
	helper_free(d->helper);
	log_text(LOG_LEVEL_INFO, "ended");
}
