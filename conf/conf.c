/* SPDX-License-Identifier: MIT
 * Loading and releasing a configuration: text -> libconfig's tree (scan.c
 * explains what it does not) -> structs (read.c) -> checked and complete
 * (check.c).
 */
#include "conf/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <libconfig.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/check.h"
#include "conf/read.h"
#include "conf/report.h"
#include "conf/scan.h"
#include "relayd/base/mem.h"

#define FILE_MAX (INT64_C(16) << 20)

/* The whole file into OUT. */
static int read_file(const char *path, struct buf *out, struct why *why)
{
	struct stat st;
	ssize_t n = -1;

	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return why_errno(why, WHY_LOCAL, errno, "can not be opened");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		why_set(why, WHY_LOCAL, "is not a regular file");
		goto done;
	}
	do {
		n = read(fd, buf_room(out, 65536), 65536);
		out->len += n > 0 ? (size_t)n : 0;
		if ((int64_t)out->len > FILE_MAX) {
			why_set(why, WHY_LOCAL, "is larger than %lld bytes",
			    (long long)FILE_MAX);
			n = -1;
			goto done;
		}
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0)
		why_errno(why, WHY_LOCAL, errno, "can not be read");
done:
	close(fd);
	return n < 0 ? -1 : 0;
}

/* The folder that @include starts from, "." for a bare file name. */
static void set_include_dir(config_t *settings, const char *file)
{
	const char *slash = strrchr(file, '/');
	size_t n = slash ? (size_t)(slash - file) : 0;
	char *dir = !slash ? mem_text(".") : n ? mem_copy(file, n) : mem_text("/");
	config_set_include_dir(settings, dir);
	mem_free(dir);
}

static void add_syntax_error(
    struct report *report, const config_t *settings, struct span text)
{
	const char *file = config_error_file(settings);
	const char *said = config_error_text(settings);
	unsigned line = (unsigned)config_error_line(settings);
	struct buf included = {0};
	struct buf path = {0};
	struct buf hint = {0};

	if (!said)
		said = "syntax error";
	if (file) {
		report_file(report, file, &path);
		if (read_file(buf_text(&path), &included, NULL) == 0)
			text = span_buf(&included);
	}
	if (strstr(said, "include file"))
		buf_add_text(&hint,
		    "the path is taken from the folder of the main file, also "
		    "when it begins with a slash");
	else if (strstr(said, "duplicate"))
		buf_add_text(&hint, "each key stands once in its group");
	else if (strstr(said, "mismatched element"))
		buf_add_text(&hint, "all values between [ and ] are of one kind");
	else
		scan_hint(text, line, &hint);
	report_add_line(report, file, line, NULL, "%s: %s", said, buf_text(&hint));
	buf_free(&included);
	buf_free(&path);
	buf_free(&hint);
}

/* Numbers that wrapped, in the text and in every file that it includes. */
static void check_numbers(
    struct report *report, const config_t *settings, struct span text)
{
	scan_numbers(report, NULL, text);
	for (unsigned i = 0; i < settings->num_filenames; i++) {
		struct buf path = {0};
		struct buf included = {0};
		report_file(report, settings->filenames[i], &path);
		if (read_file(buf_text(&path), &included, NULL) == 0)
			scan_numbers(report, settings->filenames[i], span_buf(&included));
		buf_free(&path);
		buf_free(&included);
	}
}

/* A NUL would hide the rest of the file from libconfig. */
static bool holds_nul(struct report *report, struct span text)
{
	const char *nul = text.n ? memchr(text.p, '\0', text.n) : NULL;
	if (!nul)
		return false;
	unsigned line = 1;
	for (const char *p = text.p; p < nul; p++)
		line += *p == '\n';
	report_add_line(
	    report, NULL, line, NULL, "holds a NUL byte, expected a text file");
	return true;
}

/* TEXT as libconfig's tree, which is to be destroyed in any case. False: reported. */
static bool read_tree(struct report *report, struct span text, config_t *settings)
{
	config_init(settings);
	if (holds_nul(report, text))
		return false;
	set_include_dir(settings, report->file);
	if (config_read_string(settings, text.p) == CONFIG_TRUE)
		return true;
	add_syntax_error(report, settings, text);
	return false;
}

/* Result: could TEXT be read at all? */
static bool build(struct report *report, struct span text, struct conf *conf)
{
	config_t settings;

	bool read = read_tree(report, text, &settings);
	if (read) {
		check_numbers(report, &settings, text);
		read_settings(report, config_root_setting(&settings), conf);
		check_settings(report, &settings, conf);
	}
	config_destroy(&settings);
	return read;
}

/* PARTLY: also one with mistakes. */
static struct conf *make(
    struct span text, const char *file, bool partly, struct conf_errors *errors)
{
	struct report report = {.file = file};
	struct conf *conf = mem_zero(sizeof(*conf));

	conf->file = mem_text(file);
	bool good = build(&report, text, conf) && (partly || report.count == 0);
	report_finish(&report, errors);
	if (good)
		return conf;
	conf_free(conf);
	return NULL;
}

struct conf *conf_parse(const char *text, const char *file, struct conf_errors *errors)
{
	return make(span_text(text), file, false, errors);
}

/* FILE into OUT; -1: ERRORS says why not. */
static int load_text(const char *file, struct buf *out, struct conf_errors *errors)
{
	struct why why = {0};
	if (read_file(file, out, &why) == 0)
		return 0;
	struct report report = {.file = file};
	report_add_line(&report, NULL, 0, NULL, "%s", why.text);
	report_finish(&report, errors);
	return -1;
}

static struct conf *load(const char *file, bool partly, struct conf_errors *errors)
{
	struct buf text = {0};
	struct conf *conf = NULL;

	if (load_text(file, &text, errors) == 0)
		conf = make((struct span){buf_text(&text), text.len}, file, partly, errors);
	buf_free(&text);
	return conf;
}

struct conf *conf_load(const char *file, struct conf_errors *errors)
{
	return load(file, false, errors);
}

struct conf *conf_load_partly(const char *file, struct conf_errors *errors)
{
	return load(file, true, errors);
}

char *conf_find_control(const char *file, struct conf_errors *errors)
{
	struct report report = {.file = file};
	struct buf text = {0};
	config_t settings;
	const char *control = CONF_CONTROL;

	if (load_text(file, &text, errors) < 0) {
		buf_free(&text);
		return NULL;
	}
	bool good = read_tree(&report, (struct span){buf_text(&text), text.len}, &settings);
	if (good)
		config_lookup_string(&settings, "control", &control);
	char *found = good ? mem_text(control) : NULL;
	config_destroy(&settings);
	report_finish(&report, errors);
	buf_free(&text);
	return found;
}

static void clear_places(struct conf *conf)
{
	mem_free(conf->tls.certificate_at);
	mem_free(conf->tls.key_at);
	mem_free(conf->tls.client_ca_at);
	for (size_t i = 0; i < conf->certificate_count; i++) {
		mem_free(conf->certificates[i].certificate_at);
		mem_free(conf->certificates[i].key_at);
	}
	for (size_t i = 0; i < conf->domain_count; i++)
		for (size_t k = 0; k < conf->domains[i].dkim_count; k++)
			mem_free(conf->domains[i].dkim[k].key_at);
}

void conf_free(struct conf *conf)
{
	if (!conf)
		return;
	clear_places(conf);
	for (size_t i = 0; i < conf->smarthost_count; i++) {
		char *password = conf->smarthosts[i].password;
		if (password)
			mem_wipe(password, strlen(password));
		mem_free(password);
	}
	for (size_t i = 0; i < conf->route_count; i++)
		mem_free(conf->routes[i].via);
	for (size_t i = 0; i < conf->client_count; i++)
		mem_free(conf->clients[i].via);
	read_clear(conf);
	mem_free(conf->file);
	mem_free(conf);
}
