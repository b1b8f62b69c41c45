/* SPDX-License-Identifier: MIT
 * Entries hold their part of the report as JSON already, so that keeping, reading
 * and reporting them need no second form.
 */
#include "relayd/tls_counts.h"

#include <string.h>

#include "relayd/base/hash.h"
#include "relayd/base/mem.h"
#include "relayd/base/text.h"

#define POLICY_MAX 4000 /* bytes of its text in a report */
#define DETAIL_MAX 200
#define DAY_MS (24 * 60 * 60 * 1000) /* of what was kept before its length was */

struct entry {
	char *key; /* domain, type, and which policy of these */
	char *domain;
	json_t *policy;
	json_int_t good;
	json_int_t bad;
	json_t *failures;
	UT_hash_handle hh;
};

struct tls_counts {
	int64_t period;
	int64_t length_ms;
	struct entry *table;
};

static void drop(struct tls_counts *c, struct entry *e)
{
	HASH_DEL(c->table, e);
	json_decref(e->policy);
	json_decref(e->failures);
	mem_free(e->key);
	mem_free(e->domain);
	mem_free(e);
}

struct tls_counts *tls_counts_new(int64_t period, int64_t length_ms)
{
	struct tls_counts *c = mem_zero(sizeof(*c));
	c->period = period;
	c->length_ms = length_ms;
	return c;
}

void tls_counts_free(struct tls_counts *c)
{
	if (!c)
		return;
	while (c->table)
		drop(c, c->table);
	mem_free(c);
}

int64_t tls_counts_period(const struct tls_counts *c)
{
	return c->period;
}

int64_t tls_counts_length_ms(const struct tls_counts *c)
{
	return c->length_ms;
}

size_t tls_counts_size(const struct tls_counts *c)
{
	return HASH_COUNT(c->table);
}

/* Texts come from receivers: printable ASCII only. */
static json_t *text(struct span s, size_t max)
{
	struct buf safe = {0};
	text_escape(&safe, s, max);
	json_t *value = json_string(buf_text(&safe));
	buf_free(&safe);
	return value;
}

/* The lines of the policy; of MTA-STS the mx patterns once more, on their own. */
static json_t *describe(const struct tls_note *note)
{
	json_t *lines = json_array();
	json_t *hosts = json_array();
	struct span rest = span_text(note->policy);
	if (rest.n > POLICY_MAX)
		rest.n = POLICY_MAX;
	while (rest.n) {
		struct span line = span_cut(&rest, '\n');
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n)
			json_array_append_new(lines, text(line, POLICY_MAX));
		if (span_starts_nocase(line, "mx:"))
			json_array_append_new(hosts,
			    text(span_trim((struct span){line.p + 3, line.n - 3}), POLICY_MAX));
	}
	json_t *policy = json_pack("{s:s,s:o}", "policy-type", note->type, "policy-domain",
	    text(span_text(note->domain), 300));
	if (json_array_size(lines))
		json_object_set(policy, "policy-string", lines);
	if (json_array_size(hosts))
		json_object_set(policy, "mx-host", hosts);
	json_decref(lines);
	json_decref(hosts);
	return policy;
}

static struct entry *add_entry(
    struct tls_counts *c, const char *key, const char *domain, json_t *policy)
{
	struct entry *e = mem_zero(sizeof(*e));
	e->key = mem_text(key);
	e->domain = mem_text(domain);
	e->policy = json_incref(policy);
	e->failures = json_array();
	HASH_ADD_KEYPTR(hh, c->table, e->key, strlen(e->key), e);
	return e;
}

/* That of the policy, a new one if need be; when there are too many, the last of the
 * domain's. NULL: there is no room. */
static struct entry *entry_of(
    struct tls_counts *c, const char *domain, const char *type, json_t *policy)
{
	struct buf key = {0};
	struct entry *found = NULL;
	for (int i = 0; i < TLS_POLICIES_MAX; i++) {
		struct entry *e;
		buf_clear(&key);
		buf_addf(&key, "%s %s %d", domain, type, i);
		HASH_FIND_STR(c->table, buf_text(&key), e);
		if (!e && HASH_COUNT(c->table) < TLS_COUNTS_MAX)
			found = add_entry(c, buf_text(&key), domain, policy);
		if (!e)
			break;
		found = e;
		if (json_equal(e->policy, policy))
			break;
	}
	buf_free(&key);
	return found;
}

static bool has_text(const json_t *object, const char *key, const char *value)
{
	const char *is = json_string_value(json_object_get(object, key));
	return is ? strcmp(is, value) == 0 : !*value;
}

static void set_text(json_t *object, const char *key, const char *value)
{
	if (*value)
		json_object_set_new(object, key, text(span_text(value), DETAIL_MAX));
}

static void count_failure(struct entry *e, const struct tls_note *note)
{
	json_t *failure;
	size_t i;
	json_array_foreach (e->failures, i, failure) {
		if (!has_text(failure, "result-type", note->failure) ||
		    !has_text(failure, "receiving-ip", note->receiving_ip) ||
		    !has_text(failure, "sending-mta-ip", note->sending_ip) ||
		    !has_text(failure, "receiving-mx-hostname", note->mx))
			continue;
		json_int_t n = json_integer_value(json_object_get(failure, "failed-session-count"));
		json_object_set_new(failure, "failed-session-count", json_integer(n + 1));
		return;
	}
	if (json_array_size(e->failures) >= TLS_FAILURES_MAX)
		return;
	failure = json_pack("{s:s,s:i}", "result-type", note->failure, "failed-session-count", 1);
	set_text(failure, "sending-mta-ip", note->sending_ip);
	set_text(failure, "receiving-mx-hostname", note->mx);
	set_text(failure, "receiving-ip", note->receiving_ip);
	set_text(failure, "failure-reason-code", note->detail);
	json_array_append_new(e->failures, failure);
}

void tls_counts_note(struct tls_counts *c, const struct tls_note *note)
{
	json_t *policy = describe(note);
	struct entry *e = entry_of(c, note->domain, note->type, policy);
	json_decref(policy);
	if (!e)
		return;
	if (!note->failure) {
		e->good++;
		return;
	}
	e->bad++;
	count_failure(e, note);
}

const char *tls_counts_first(const struct tls_counts *c)
{
	return c->table ? c->table->domain : NULL;
}

static json_t *entry_json(const struct entry *e)
{
	json_t *json = json_pack("{s:O,s:{s:I,s:I}}", "policy", e->policy, "summary",
	    "total-successful-session-count", e->good, "total-failure-session-count", e->bad);
	if (json_array_size(e->failures))
		json_object_set(json, "failure-details", e->failures);
	return json;
}

json_t *tls_counts_take(struct tls_counts *c, const char *domain)
{
	char *name = mem_text(domain); /* it may be an entry's */
	json_t *list = json_array();
	struct entry *e;
	struct entry *next;
	HASH_ITER (hh, c->table, e, next) {
		if (strcmp(e->domain, name) != 0)
			continue;
		json_array_append_new(list, entry_json(e));
		drop(c, e);
	}
	mem_free(name);
	return list;
}

json_t *tls_counts_json(const struct tls_counts *c)
{
	json_t *list = json_array();
	for (const struct entry *e = c->table; e; e = e->hh.next)
		json_array_append_new(list, entry_json(e));
	return json_pack("{s:i,s:I,s:I,s:o}", "version", 1, "period", (json_int_t)c->period,
	    "length_ms", (json_int_t)c->length_ms, "entries", list);
}

static void read_entry(struct tls_counts *c, json_t *json)
{
	json_t *policy;
	json_t *failures = NULL;
	const char *domain;
	const char *type;
	json_int_t good;
	json_int_t bad;
	if (json_unpack(json, "{s:o,s:{s:I,s:I},s?o}", "policy", &policy, "summary",
		"total-successful-session-count", &good, "total-failure-session-count", &bad,
		"failure-details", &failures) != 0 ||
	    json_unpack(policy, "{s:s,s:s}", "policy-domain", &domain, "policy-type", &type) != 0)
		return;
	struct entry *e = entry_of(c, domain, type, policy);
	if (!e || e->good || e->bad)
		return;
	e->good = good;
	e->bad = bad;
	if (json_is_array(failures) && json_array_size(failures) <= TLS_FAILURES_MAX)
		json_array_extend(e->failures, failures);
}

struct tls_counts *tls_counts_read(json_t *json)
{
	int version;
	json_int_t period;
	json_int_t length_ms = DAY_MS;
	json_t *entries;
	json_t *entry;
	size_t i;
	if (json_unpack(json, "{s:i,s:I,s?I,s:o}", "version", &version, "period", &period,
		"length_ms", &length_ms, "entries", &entries) != 0 ||
	    version != 1 || length_ms < 1 || !json_is_array(entries))
		return NULL;
	struct tls_counts *c = tls_counts_new(period, length_ms);
	json_array_foreach (entries, i, entry)
		read_entry(c, entry);
	return c;
}
