/* SPDX-License-Identifier: MIT
 * The table of users: what is in the file, looked up by name. What is said of a
 * name that is not there is made from a secret, so that it is always the same.
 */
#include "relayd/users.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "relayd/base/hash.h"
#include "relayd/base/mem.h"
#include "relayd/base/random.h"

#define SECRET_SIZE 32
#define SALT_SIZE 16
#define KEY_SIZE 32
#define ITERATIONS_MIN 4096 /* RFC 7677 section 4 */
#define ITERATIONS_MAX 10000000
#define HASH_MAX 383 /* bytes that crypt(3) makes at most */
/* what users_make_line makes, with another salt: for a file without users */
#define DUMMY_HASH "$y$j9T$sPVDpuDnagxx5Gf68W.Wh/$kK3k99.lFyO4RnrFvtUU0VfK77Ra3ezOAgPgyM0PtL8"
#define DUMMY_ITERATIONS 65536
#define ERRORS_MAX 100

struct entry {
	struct user user;
	UT_hash_handle hh;
};

struct users {
	struct entry **list;
	size_t count;
	struct entry *by_name;
	unsigned char secret[SECRET_SIZE];
};

/* ---- names and fields ---- */

static int check_bytes(const char *text, const char *forbidden, const char *what, struct why *why)
{
	if (!span_is_utf8(span_text(text)))
		return why_set(why, WHY_PERM, "%s is not UTF-8", what);
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f || strchr(forbidden, *p))
			return why_set(why, WHY_PERM, "%s holds a %s", what,
			    *p == ':' ? "colon" : *p == ' ' ? "space" : "control character");
	return 0;
}

int users_check_name(const char *name, struct why *why)
{
	size_t n = strlen(name);
	if (n < 1 || n > USERS_NAME_MAX)
		return why_set(why, WHY_PERM, "the name has %zu bytes, expected 1 to %d", n,
		    USERS_NAME_MAX);
	if (name[0] == '#')
		return why_set(why, WHY_PERM, "the name begins with #, which begins a comment");
	return check_bytes(name, " :", "the name", why);
}

static bool is_base64_of(struct span text, size_t min, size_t max)
{
	struct buf bytes = {0};
	bool fine = text.n <= (max + 2) / 3 * 4 && text_unbase64(&bytes, text) &&
		    bytes.len >= min && bytes.len <= max;
	buf_free(&bytes);
	return fine;
}

static bool copy_field(char *to, size_t size, struct span field)
{
	if (field.n >= size)
		return false;
	memcpy(to, field.p, field.n);
	to[field.n] = '\0';
	return true;
}

/* "SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER" */
static bool parse_keys(struct span text, struct auth_keys *keys)
{
	uint64_t iterations;
	struct span scheme = span_cut(&text, '$');
	struct span number = span_cut(&text, ':');
	struct span salt = span_cut(&text, '$');
	struct span stored = span_cut(&text, ':');
	if (!span_is(scheme, "SCRAM-SHA-256") || !span_number(number, ITERATIONS_MAX, &iterations) ||
	    iterations < ITERATIONS_MIN || !is_base64_of(salt, 8, AUTH_SALT_MAX) ||
	    !is_base64_of(stored, KEY_SIZE, KEY_SIZE) || !is_base64_of(text, KEY_SIZE, KEY_SIZE))
		return false;
	keys->iterations = (uint32_t)iterations;
	return copy_field(keys->salt, sizeof(keys->salt), salt) &&
	       copy_field(keys->stored, sizeof(keys->stored), stored) &&
	       copy_field(keys->server, sizeof(keys->server), text);
}

static bool is_hash(struct span text)
{
	if (text.n < 20 || text.n > HASH_MAX ||
	    (memcmp(text.p, "$y$", 3) != 0 && memcmp(text.p, "$7$", 3) != 0))
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] > '~' || strchr("*!;\\", text.p[i]))
			return false;
	return true;
}

static bool parse_secret(struct span line, unsigned char *secret)
{
	static const char digits[] = "0123456789abcdef";
	struct span name = span_cut(&line, ':');
	if (!span_is(name, "secret") || line.n != SECRET_SIZE * 2)
		return false;
	for (size_t i = 0; i < line.n; i++) {
		const char *digit = memchr(digits, line.p[i], 16);
		if (!digit)
			return false;
		secret[i / 2] = (unsigned char)(secret[i / 2] << 4 | (digit - digits));
	}
	return true;
}

/* ---- lines ---- */

static void add(struct users *users, struct entry *entry)
{
	if ((users->count & (users->count - 1)) == 0)
		users->list = mem_resize(users->list, users->count ? users->count * 2 : 1,
		    sizeof(*users->list));
	users->list[users->count++] = entry;
	HASH_ADD_KEYPTR(hh, users->by_name, entry->user.name, strlen(entry->user.name), entry);
}

static void entry_free(struct entry *entry)
{
	mem_free(entry->user.name);
	if (entry->user.hash)
		mem_wipe(entry->user.hash, strlen(entry->user.hash));
	mem_free(entry->user.hash);
	mem_wipe(entry, sizeof(*entry));
	mem_free(entry);
}

static int fill(struct entry *entry, const struct users *users, struct span line, struct why *why)
{
	struct span name = span_cut(&line, ':');
	struct span hash = span_cut(&line, ':');
	entry->user.name = span_dup(name);
	if (strlen(entry->user.name) != name.n)
		return why_set(why, WHY_PERM, "the name holds a NUL");
	if (users_check_name(entry->user.name, why) < 0)
		return -1;
	if (users_find(users, entry->user.name))
		return why_set(why, WHY_PERM,
		    "the name is there already; do: relayctl user passwd %s", entry->user.name);
	if (!is_hash(hash))
		return why_set(why, WHY_PERM,
		    "expected a yescrypt ($y$) or scrypt ($7$) hash behind the name; do: relayctl user "
		    "passwd %s", entry->user.name);
	entry->user.hash = span_dup(hash);
	entry->user.has_keys = line.n > 0;
	if (line.n && !parse_keys(line, &entry->user.keys))
		return why_set(why, WHY_PERM,
		    "expected SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY behind the hash, or "
		    "nothing; do: relayctl user passwd %s", entry->user.name);
	return 0;
}

static int parse_line(struct users *users, struct span line, struct why *why)
{
	if (line.n == 0 || line.p[0] == '#')
		return 0;
	if (line.p[0] == ':') {
		line.p++;
		line.n--;
		return parse_secret(line, users->secret)
			   ? 0
			   : why_set(why, WHY_PERM, "expected :secret: and %d hexadecimal digits",
				 SECRET_SIZE * 2);
	}
	struct entry *entry = mem_zero(sizeof(*entry));
	if (fill(entry, users, line, why) < 0) {
		entry_free(entry);
		return -1;
	}
	add(users, entry);
	return 0;
}

struct users *users_parse(struct span text, const char *file, struct buf *errors)
{
	struct users *users = mem_zero(sizeof(*users));
	struct why why = {0};
	size_t wrong = 0;
	random_bytes(users->secret, sizeof(users->secret));
	for (size_t number = 1; text.n; number++) {
		struct span line = span_cut(&text, '\n');
		if (parse_line(users, line, &why) == 0)
			continue;
		if (++wrong <= ERRORS_MAX)
			buf_addf(errors, "%s:%zu: %s\n", file, number, why.text);
	}
	if (wrong == 0)
		return users;
	if (wrong > ERRORS_MAX)
		buf_addf(errors, "%s: and %zu more broken lines\n", file, wrong - ERRORS_MAX);
	users_free(users);
	return NULL;
}

void users_free(struct users *users)
{
	if (!users)
		return;
	HASH_CLEAR(hh, users->by_name);
	for (size_t i = 0; i < users->count; i++)
		entry_free(users->list[i]);
	mem_free(users->list);
	mem_wipe(users->secret, sizeof(users->secret));
	mem_free(users);
}

/* ---- the file ---- */

static int check_stat(const struct stat *st, const char *file, struct why *why)
{
	if (!S_ISREG(st->st_mode))
		return why_set(why, WHY_LOCAL, "is not a regular file");
	if (st->st_mode & 077)
		return why_set(why, WHY_LOCAL,
		    "is open to others than its owner (mode %04o); do: chmod 0600 %s",
		    (unsigned)st->st_mode & 07777, file);
	if (st->st_size > USERS_FILE_MAX)
		return why_set(why, WHY_LOCAL, "has more than %d bytes", USERS_FILE_MAX);
	return 0;
}

static int read_all(int fd, const struct stat *st, struct buf *text, struct why *why)
{
	size_t size = (size_t)st->st_size;
	char *to = buf_room(text, size + 1);
	while (text->len < size) {
		ssize_t n = read(fd, to + text->len, size - text->len);
		if (n < 0)
			return why_errno(why, WHY_LOCAL, errno, "can not be read");
		if (n == 0)
			break;
		text->len += (size_t)n;
	}
	return 0;
}

int users_read(const char *file, int flags, struct stat *st, struct buf *text, struct why *why)
{
	int fd = open(file, flags | O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return 1;
	if (fd < 0)
		return why_errno(why, WHY_LOCAL, errno,
		    "can not be read by user id %u, who should own it", (unsigned)geteuid());
	int result = fstat(fd, st);
	if (result < 0)
		why_errno(why, WHY_LOCAL, errno, "can not be looked at");
	else if (check_stat(st, file, why) < 0 || read_all(fd, st, text, why) < 0)
		result = -1;
	close(fd);
	return result;
}

struct users *users_load(const char *file, struct stat *st, struct buf *errors)
{
	struct users *users = NULL;
	struct stat own = {0};
	struct buf text = {0};
	struct why why = {0};
	if (users_read(file, 0, &own, &text, &why) < 0)
		buf_addf(errors, "%s: %s\n", file, why.text);
	else
		users = users_parse(span_buf(&text), file, errors);
	if (st)
		*st = own;
	buf_wipe(&text);
	return users;
}

/* ---- questions ---- */

size_t users_count(const struct users *users)
{
	return users->count;
}

const struct user *users_at(const struct users *users, size_t index)
{
	return &users->list[index]->user;
}

const struct user *users_find(const struct users *users, const char *name)
{
	struct entry *entry;
	HASH_FIND(hh, users->by_name, name, strlen(name), entry);
	return entry ? &entry->user : NULL;
}

/* Bytes that are always the same for NAME and WHAT, and tell nothing. */
static void derive(const struct users *users, const char *name, char what, unsigned char *out)
{
	struct buf text = {0};
	unsigned n = 0;
	buf_add_byte(&text, what);
	buf_add_text(&text, name);
	if (!HMAC(EVP_sha256(), users->secret, SECRET_SIZE, (const unsigned char *)text.data, text.len,
		out, &n))
		bug("HMAC");
	buf_free(&text);
}

static void put_base64(char *to, size_t size, const unsigned char *bytes, size_t n)
{
	struct buf text = {0};
	text_base64(&text, (struct span){(const char *)bytes, n});
	snprintf(to, size, "%s", buf_text(&text));
	buf_free(&text);
}

/* Iterations and length of salt are those that real users have. */
static void invent_keys(const struct users *users, const char *name, struct auth_keys *keys)
{
	unsigned char bytes[KEY_SIZE];
	keys->iterations = DUMMY_ITERATIONS;
	if (users->count && users->list[0]->user.has_keys)
		keys->iterations = users->list[0]->user.keys.iterations;
	derive(users, name, 's', bytes);
	put_base64(keys->salt, sizeof(keys->salt), bytes, SALT_SIZE);
	derive(users, name, 'k', bytes);
	put_base64(keys->stored, sizeof(keys->stored), bytes, KEY_SIZE);
	derive(users, name, 'v', bytes);
	put_base64(keys->server, sizeof(keys->server), bytes, KEY_SIZE);
}

void users_keys(const struct users *users, const char *name, struct auth_keys *keys)
{
	const struct user *user = users_find(users, name);
	struct auth_keys invented = {0};
	invent_keys(users, name, &invented); /* in any case: it costs time */
	*keys = user && user->has_keys ? user->keys : invented;
}

const char *users_dummy_hash(const struct users *users)
{
	return users->count ? users->list[0]->user.hash : DUMMY_HASH;
}
