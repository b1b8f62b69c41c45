/* SPDX-License-Identifier: MIT
 * What the DKIM tests share; see dkim_fixture.h.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relayd/base/mem.h"
#include "tests/unit/dkim_fixture.h"

static char folder[] = "/tmp/relayd-dkim-XXXXXX";
struct dkim_signer *dk_signer;
struct dkim_keys *dk_keys;

char *dk_path(const char *name)
{
	struct buf b = {0};
	buf_addf(&b, "%s/%s", folder, name);
	return buf_take(&b, NULL);
}

void dk_write(const char *name, mode_t mode, const char *data, size_t n)
{
	char *p = dk_path(name);
	unlink(p);
	int fd = open(p, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	mem_free(p);
}

void dk_key(const char *name, unsigned bits)
{
	struct buf pem = {0};
	struct buf record = {0};
	struct why why = {0};
	assert_int_equal(dkim_key_new(bits, &pem, &record, &why), 0);
	dk_write(name, 0600, pem.data, pem.len);
	mem_wipe(pem.data, pem.len);
	buf_free(&pem);
	buf_free(&record);
}

struct dkim_keys *dk_load(
    const char *domain, const char *selector, const char *file, struct why *why)
{
	char *p = dk_path(file);
	char at[] = "t:7";
	struct conf_dkim_key key = {mem_text(selector), p, at};
	struct conf_domain conf = {mem_text(domain), NULL, &key, 1};
	struct conf_errors errors = {0};
	struct dkim_keys *set = dkim_keys_load(&conf, 1, &errors);
	assert_int_equal(errors.count, !set);
	if (!set)
		why_set(why, WHY_LOCAL, "%s", buf_text(&errors.text));
	conf_errors_free(&errors);
	mem_free(key.selector);
	mem_free(conf.name);
	mem_free(p);
	return set;
}

static ssize_t text_read(void *arg, uint64_t offset, char *to, size_t n)
{
	struct text_body *body = arg;
	if (body->step && n > body->step)
		n = body->step;
	assert_true(offset + n <= body->text.n);
	memcpy(to, body->text.p + offset, n);
	return (ssize_t)n;
}

int dk_sign(struct dkim_signer *with, const struct dkim_keys *set, struct span header,
    struct text_body *body, struct buf *out, struct why *why)
{
	struct dkim_input input = {.header = header,
	    .body_size = body->text.n,
	    .read = text_read,
	    .arg = body,
	    .wall_ms = INT64_C(1795000000123)};
	return dkim_sign_message(with, set, DOMAIN, &input, out, why);
}

int dk_check(const struct buf *message, const char *selector, struct why *why)
{
	char *file = dk_path(selector);
	int result = dkim_check(span_buf(message), file, selector, why);
	mem_free(file);
	return result;
}

void dk_repeat(struct buf *b, const char *text, size_t times)
{
	for (size_t i = 0; i < times; i++)
		buf_add_text(b, text);
}

int dk_setup(void **state)
{
	(void)state;
	struct why why = {0};
	if (!mkdtemp(folder))
		return -1;
	dk_key("rsa", 2048);
	dk_key("ed", 0);
	char *rsa = dk_path("rsa");
	char *ed = dk_path("ed");
	char names[2][4] = {"rsa", "ed"};
	char at[] = "t:1";
	struct conf_dkim_key two[] = {{names[0], rsa, at}, {names[1], ed, at}};
	struct conf_errors errors = {0};
	char domain[] = DOMAIN;
	struct conf_domain conf = {domain, NULL, two, 2};
	if (!dkim_start(&why))
		print_message("no shortcut: %s\n", why.text);
	dk_keys = dkim_keys_load(&conf, 1, &errors);
	if (!dk_keys)
		print_message("%s", buf_text(&errors.text));
	conf_errors_free(&errors);
	mem_free(rsa);
	mem_free(ed);
	dk_signer = dkim_signer_new();
	return dk_keys ? 0 : -1;
}

int dk_teardown(void **state)
{
	(void)state;
	static const char *const names[] = {"rsa", "ed", "bad", "again", "fifo", "rfc"};
	dkim_signer_free(dk_signer);
	dkim_keys_free(dk_keys);
	dkim_stop();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *p = dk_path(names[i]);
		unlink(p);
		mem_free(p);
	}
	return rmdir(folder);
}
