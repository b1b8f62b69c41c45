/* SPDX-License-Identifier: MIT
 * Judges by the first rule that fits, else by structure.
 */
#include "queue/verdict.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "queue/backoff.h"
#include "queue/rules.h"
#include "queue/verdict_structure.h"
#include "queue/verdict_usual.h"

/* The protocol family that a verdict about our IP means: IPv6 when the reply speaks
 * of it, and of no IPv4 address. */
static int family_of(const struct rule *rule, const struct verdict *v, unsigned marks)
{
	if (rule->family)
		return rule->family;
	bool six = (marks & PLAIN_IP6) && !(marks & PLAIN_IP);
	return six && v->scope == VERDICT_SCOPE_IP ? AF_INET6 : 0;
}

static bool waits(enum verdict_action action)
{
	return action == VERDICT_RETRY || action == VERDICT_RETRY_SAME || action == VERDICT_SLOW;
}

static bool ends(enum verdict_action action)
{
	return action == VERDICT_BOUNCE || action == VERDICT_SUPPRESS;
}

/* Before a recipient was named nobody knows of a message, so whatever the words, they are
 * about us. MAIL has named the sender, and says how large and of what form the message is. */
static bool is_too_early(const struct verdict *v, enum verdict_stage stage)
{
	if (stage == VERDICT_STAGE_MAIL)
		return v->scope != VERDICT_SCOPE_SENDER_DOMAIN && v->klass != VERDICT_TOO_LARGE &&
		       v->klass != VERDICT_PROTOCOL && v->klass != VERDICT_TLS_REQUIRED;
	return stage >= VERDICT_STAGE_CONNECT && stage < VERDICT_STAGE_MAIL;
}

static struct verdict verdict_of(const struct rule *rule, const struct rule_reply *reply)
{
	const struct verdict_input *in = &reply->seen;
	struct verdict v = {
	    .klass = rule->klass,
	    .scope = rule->has_scope ? rule->scope : verdict_usual_scope(rule->klass),
	    .wait_ms = rule->wait_ms,
	    .ladder = rule->ladder_count ? rule->ladder : NULL,
	    .ladder_count = rule->ladder_count,
	    .rule = rule->id,
	    .provider = *reply->provider || !rule->provider ? reply->provider : rule->provider,
	    .help = rule->help ? rule->help : "",
	    .known = true,
	};
	int action = rule->action[in->code >= 500];
	int64_t named = 0;
	v.action = action >= 0 ? (enum verdict_action)action
			       : verdict_usual_action(v.klass, v.scope, in->code, in->stage);
	/* only what the server said to RCPT can end a recipient for good */
	if (v.action == VERDICT_SUPPRESS && (in->code < 500 ||
	    (in->stage != VERDICT_STAGE_RCPT && in->stage != VERDICT_STAGE_UNKNOWN)))
		v.action = in->code < 500 ? VERDICT_RETRY : VERDICT_BOUNCE;
	if (in->code >= 500 && ends(v.action) && is_too_early(&v, in->stage)) {
		v.action = VERDICT_HOLD;
		if (v.scope != VERDICT_SCOPE_US)
			v.scope = VERDICT_SCOPE_IP;
	}
	if (waits(v.action) && backoff_from_text(in->text, &named))
		v.wait_ms = named;
	v.family = family_of(rule, &v, reply->plain.marks);
	return v;
}

static struct verdict judge(const struct verdict_rules *rules, const struct verdict_input *input)
{
	struct rule_reply reply;
	if (!rules || input->code < 400)
		return verdict_by_structure(input);
	rules_prepare(rules, input, &reply);
	for (size_t i = 0; i < rules->rule_count; i++)
		if (rules_fit(rules, &rules->rules[i], &reply))
			return verdict_of(&rules->rules[i], &reply);
	struct verdict v = verdict_by_structure(&reply.seen);
	v.provider = reply.provider;
	return v;
}

/* A smarthost relays for whom it knows, so it does not know us: no login where it wants one
 * (530, 534 and 535 are RFC 4954's), a wrong one, or the contract has ended. */
static bool is_about_account(const struct verdict *v, const struct verdict_input *in)
{
	bool login = in->code == 530 || in->code == 534 || in->code == 535;
	if (v->klass == VERDICT_POLICY || v->klass == VERDICT_OTHER)
		return login || v->scope == VERDICT_SCOPE_US;
	return v->klass == VERDICT_RELAY_DENIED;
}

struct verdict verdict_judge(const struct verdict_rules *rules, const struct verdict_input *input)
{
	struct verdict v = judge(rules, input);
	if (input->smarthost && is_about_account(&v, input)) {
		v.klass = VERDICT_POLICY;
		v.scope = VERDICT_SCOPE_US;
		v.action = VERDICT_HOLD;
		v.help =
		    "the smarthost does not know us: see to our account there, and to user and "
		    "password_file of its entry in smarthosts; then do: relayctl reload";
	}
	return v;
}

static int read_file(const char *file, struct buf *text, struct buf *errors)
{
	ssize_t n = 1;
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	while (fd >= 0 && n > 0 && text->len <= RULES_FILE_MAX) {
		n = read(fd, buf_room(text, 65536), 65536);
		text->len += n > 0 ? (size_t)n : 0;
	}
	if (fd < 0 || n < 0) {
		rules_error(errors, file, 0, NULL, "can not be read: %s", strerror(errno));
		n = -1;
	}
	if (fd >= 0)
		close(fd);
	return n < 0 ? -1 : 0;
}

struct verdict_rules *verdict_load(const char *const *files, size_t count, struct buf *errors)
{
	struct verdict_rules *rules = rules_new();
	int result = 0;
	for (size_t i = 0; i < count; i++) {
		struct buf text = {0};
		if (read_file(files[i], &text, errors) < 0 ||
		    rules_read(rules, (struct span){buf_text(&text), text.len}, files[i], errors) < 0)
			result = -1;
		buf_free(&text);
	}
	/* also with faults: the examples of the rules that could be read are tried */
	if (rules_finish(rules, errors) < 0)
		result = -1;
	if (result == 0)
		return rules;
	verdict_free(rules);
	return NULL;
}
