/* SPDX-License-Identifier: MIT
 * The two texts of MTA-STS. Unknown fields are skipped, of repeated ones the first
 * counts (RFC 8461 section 3.2).
 */
#include "smtp/sts.h"

#include <string.h>

#include "relayd/base/mem.h"

#define MAX_AGE_MAX 31557600 /* a year */
#define NAME_MAX_BYTES 253
#define SHOWN 60

/* ---- the record ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool take_id(struct span value, char id[STS_ID_ROOM])
{
	if (value.n == 0 || value.n >= STS_ID_ROOM)
		return false;
	for (size_t i = 0; i < value.n; i++) {
		int c = text_lower_byte(value.p[i]);
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9'))
			return false;
	}
	memcpy(id, value.p, value.n);
	id[value.n] = '\0';
	return true;
}

static bool read_fields(struct span s, char id[STS_ID_ROOM])
{
	bool found = false;
	while (s.n) {
		struct span field = span_trim(span_cut(&s, ';'));
		if (field.n == 0)
			continue;
		struct span key = span_cut(&field, '=');
		if (found || !span_is(key, "id"))
			continue;
		if (!take_id(field, id))
			return false;
		found = true;
	}
	return found;
}

/* Other records may stand beside it; ours begins with its version. */
static bool announces(const struct dns_record *record, struct span *fields)
{
	static const char version[] = "v=STSv1";
	size_t n = sizeof(version) - 1;
	if (record->len <= n || memcmp(record->data, version, n) != 0)
		return false;
	*fields = (struct span){(const char *)record->data + n, record->len - n};
	while (fields->n && is_blank(*fields->p)) {
		fields->p++;
		fields->n--;
	}
	return fields->n && *fields->p == ';';
}

bool sts_record_read(const struct dns_answer *answer, char id[STS_ID_ROOM])
{
	struct span fields = {NULL, 0};
	size_t found = 0;
	if (answer->status != DNS_OK)
		return false;
	for (size_t i = 0; i < answer->count; i++)
		found += announces(&answer->records[i], &fields);
	return found == 1 && read_fields(fields, id);
}

/* ---- the policy ---- */

/* What has been seen of it so far. */
struct reading {
	struct sts_policy *policy;
	bool version;
	bool mode;
	bool max_age;
};

static int bad_value(struct why *why, struct span key, struct span value, const char *expected)
{
	struct buf shown = {0};
	text_escape(&shown, key, SHOWN);
	buf_add_text(&shown, ": ");
	text_escape(&shown, value, SHOWN);
	why_set(why, WHY_PERM, "the policy says \"%s\", expected %s", buf_text(&shown), expected);
	buf_free(&shown);
	return -1;
}

static bool is_pattern(struct span s)
{
	size_t label = 0;
	if (s.n > 2 && s.p[0] == '*' && s.p[1] == '.')
		s = (struct span){s.p + 2, s.n - 2};
	if (s.n == 0 || s.n > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		int c = text_lower_byte(s.p[i]);
		bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
		if (!letter && (c != '.' || label == 0))
			return false;
		label = c == '.' ? 0 : label + 1;
	}
	return label > 0;
}

static int take_mx(struct reading *r, struct span key, struct span value, struct why *why)
{
	struct sts_policy *p = r->policy;
	if (value.n > 1 && value.p[value.n - 1] == '.')
		value.n--;
	if (!is_pattern(value))
		return bad_value(why, key, value, "the name of a host, or \"*.\" and a name");
	if (p->mx_count == STS_MX_MAX)
		return why_set(why, WHY_PERM, "the policy has more than %d mx lines", STS_MX_MAX);
	p->mx = mem_resize(p->mx, p->mx_count + 1, sizeof(*p->mx));
	p->mx[p->mx_count] = span_dup(value);
	text_lower(p->mx[p->mx_count++], value.n);
	return 0;
}

static int take_mode(struct reading *r, struct span key, struct span value, struct why *why)
{
	static const char *const names[] = {
	    [STS_MODE_NONE] = "none", [STS_MODE_TESTING] = "testing", [STS_MODE_ENFORCE] = "enforce"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (span_is(value, names[i])) {
			r->policy->mode = (enum sts_mode)i;
			r->mode = true;
			return 0;
		}
	return bad_value(why, key, value, "enforce, testing or none");
}

static int take_field(struct reading *r, struct span key, struct span value, struct why *why)
{
	uint64_t n;
	if (span_is(key, "mx"))
		return take_mx(r, key, value, why);
	if (span_is(key, "mode") && !r->mode)
		return take_mode(r, key, value, why);
	if (span_is(key, "version") && !r->version) {
		r->version = span_is(value, "STSv1");
		return r->version ? 0 : bad_value(why, key, value, "STSv1");
	}
	if (span_is(key, "max_age") && !r->max_age) {
		if (value.n == 0 || value.n > 10 || !span_number(value, UINT64_MAX, &n))
			return bad_value(why, key, value, "seconds");
		r->policy->max_age = n < MAX_AGE_MAX ? (int64_t)n : MAX_AGE_MAX;
		r->max_age = true;
	}
	return 0;
}

static int check(const struct reading *r, struct why *why)
{
	if (!r->version)
		return why_set(why, WHY_PERM, "the policy has no \"version: STSv1\"");
	if (!r->mode)
		return why_set(why, WHY_PERM, "the policy has no mode");
	if (!r->max_age)
		return why_set(why, WHY_PERM, "the policy has no max_age");
	if (r->policy->mode != STS_MODE_NONE && r->policy->mx_count == 0)
		return why_set(why, WHY_PERM, "the policy has no mx");
	return 0;
}

static int read_lines(struct reading *r, struct span text, struct why *why)
{
	while (text.n) {
		struct span line = span_cut(&text, '\n');
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (span_trim(line).n == 0)
			continue;
		if (!memchr(line.p, ':', line.n))
			return bad_value(why, (struct span){"line", 4}, line, "a key, a colon, and a value");
		struct span key = span_trim(span_cut(&line, ':'));
		if (take_field(r, key, span_trim(line), why) < 0)
			return -1;
	}
	return check(r, why);
}

struct sts_policy *sts_policy_parse(struct span text, struct why *why)
{
	struct reading r = {.policy = mem_zero(sizeof(*r.policy))};
	r.policy->refs = 1;
	int result = -1;
	if (text.n > STS_POLICY_MAX)
		why_set(why, WHY_PERM, "the policy has more than %d bytes", STS_POLICY_MAX);
	else
		result = read_lines(&r, text, why);
	if (result == 0) {
		r.policy->text = span_dup(text);
		r.policy->text_len = text.n;
		return r.policy;
	}
	sts_policy_unref(r.policy);
	return NULL;
}

struct sts_policy *sts_policy_ref(struct sts_policy *p)
{
	p->refs++;
	return p;
}

void sts_policy_unref(struct sts_policy *p)
{
	if (!p || --p->refs > 0)
		return;
	for (size_t i = 0; i < p->mx_count; i++)
		mem_free(p->mx[i]);
	mem_free(p->mx);
	mem_free(p->text);
	mem_free(p);
}

bool sts_policy_fits(const struct sts_policy *p, const char *host)
{
	struct span name = span_text(host);
	if (name.n && name.p[name.n - 1] == '.')
		name.n--;
	const char *dot = memchr(name.p, '.', name.n);
	struct span parent = {dot, dot ? name.n - (size_t)(dot - name.p) : 0};
	for (size_t i = 0; i < p->mx_count; i++) {
		if (span_is_nocase(name, p->mx[i]))
			return true;
		/* "*.example" and ".example": the first label is any, but there is one */
		if (p->mx[i][0] == '*' && dot && dot > name.p &&
		    span_is_nocase(parent, p->mx[i] + 1))
			return true;
	}
	return false;
}
