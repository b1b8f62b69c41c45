/* SPDX-License-Identifier: MIT
 * SCRAM in a session of the server, with GNU SASL's client at the other end: scripts can
 * not play it, since both sides choose a nonce. The mechanism itself is
 * test_auth_exchange.c's.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <gsasl.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "tests/unit/server_peer.h"

struct client {
	struct peer peer;
	Gsasl *gsasl;
	Gsasl_session *session;
};

static int no_answer(Gsasl *gsasl, Gsasl_session *session, Gsasl_property property)
{
	(void)gsasl;
	(void)session;
	(void)property;
	return GSASL_NO_CALLBACK;
}

static void say(struct client *c, const char *text)
{
	buf_clear(&c->peer.got);
	peer_send(&c->peer, text, strlen(text));
	peer_send(&c->peer, "\r\n", 2);
	peer_settle(&c->peer);
}

static void expect(struct client *c, const char *reply)
{
	if (strncmp(buf_text(&c->peer.got), reply, strlen(reply)) != 0)
		fail_msg("the server said: %s", buf_text(&c->peer.got));
}

/* What happened last in the handler. */
static void expect_event(struct client *c, const char *event)
{
	assert_string_equal(buf_text(&c->peer.events), event);
	buf_clear(&c->peer.events);
}

/* Up to the client's proof, which is answered. LATER: nobody has judged it yet. */
static void prove(struct client *c, const char *password, bool later)
{
	struct buf line = {0};
	char *text = NULL;
	clock_fake(1800000000000);
	peer_init(&c->peer);
	c->peer.options.auth = c->peer.options.auth_clear = true;
	c->peer.login_later = later;
	peer_open(&c->peer);
	say(c, "EHLO c");
	assert_int_equal(gsasl_init(&c->gsasl), GSASL_OK);
	gsasl_callback_set(c->gsasl, no_answer);
	assert_int_equal(gsasl_client_start(c->gsasl, "SCRAM-SHA-256", &c->session), GSASL_OK);
	gsasl_property_set(c->session, GSASL_AUTHID, "user");
	gsasl_property_set(c->session, GSASL_PASSWORD, password);
	assert_int_equal(gsasl_step64(c->session, NULL, &text), GSASL_NEEDS_MORE);
	buf_addf(&line, "AUTH SCRAM-SHA-256 %s", text);
	gsasl_free(text);
	say(c, buf_text(&line));
	buf_free(&line);
	expect(c, "334 ");
	char *challenge = mem_copy(c->peer.got.data + 4, strcspn(c->peer.got.data + 4, "\r"));
	assert_int_equal(gsasl_step64(c->session, challenge, &text), GSASL_NEEDS_MORE);
	mem_free(challenge);
	say(c, text);
	gsasl_free(text);
}

/* The server's last word proves that it knows the user, too. */
static void expect_server_proved(struct client *c)
{
	char *text = NULL;
	expect(c, "334 ");
	char *proof = mem_copy(c->peer.got.data + 4, strcspn(c->peer.got.data + 4, "\r"));
	assert_int_equal(gsasl_step64(c->session, proof, &text), GSASL_OK);
	mem_free(proof);
	gsasl_free(text);
}

static void end(struct client *c)
{
	gsasl_finish(c->session);
	gsasl_done(c->gsasl);
	peer_end(&c->peer);
}

static void test_proved(void **state)
{
	(void)state;
	struct client c;
	prove(&c, "pencil", false);
	expect_event(&c, "login SCRAM-SHA-256 user (proved)\n");
	expect_server_proved(&c);
	say(&c, "");
	expect(&c, "235 2.7.0 ");
	say(&c, "AUTH PLAIN AHRpbQBwZW5jaWw=");
	expect(&c, "503 5.5.1 You are logged in already");
	end(&c);
}

static void test_wrong_password(void **state)
{
	(void)state;
	struct client c;
	prove(&c, "crayon", false);
	expect_event(&c, "login SCRAM-SHA-256 user (not proved)\n");
	expect(&c, "535 5.7.8 ");
	say(&c, "AUTH PLAIN AHRpbQBwZW5jaWw=");
	expect(&c, "235 2.7.0 ");
	end(&c);
}

/* Who is refused, or put off, whatever was proved, sees no proof of the server's. */
static void test_judged_later(void **state)
{
	static const struct {
		enum server_login verdict;
		const char *reply;
	} rows[] = {{SERVER_LOGIN_REFUSED, "535 5.7.8 "}, {SERVER_LOGIN_LATER, "454 4.7.0 "}};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct client c;
		prove(&c, "pencil", true);
		assert_int_equal(c.peer.got.len, 0);
		server_login(c.peer.server, rows[i].verdict);
		peer_settle(&c.peer);
		expect(&c, rows[i].reply);
		end(&c);
	}
}

/* Behind the proof there is nothing left to say. */
static void test_more_than_an_empty_line(void **state)
{
	(void)state;
	static const char *const lines[][2] = {
	    {"AHRpbQBwZW5jaWw=", "501 5.5.2 An empty line was expected"},
	    {"*", "501 5.7.0 Login given up"},
	};
	for (size_t i = 0; i < 2; i++) {
		struct client c;
		prove(&c, "pencil", false);
		expect_server_proved(&c);
		say(&c, lines[i][0]);
		expect(&c, lines[i][1]);
		say(&c, "MAIL FROM:<a@b.example>");
		expect(&c, "250 ");
		buf_clear(&c.peer.events);
		say(&c, "AUTH PLAIN AHRpbQBwZW5jaWw="); /* still nobody */
		expect(&c, "503 5.5.1 ");
		assert_null(strstr(buf_text(&c.peer.got), "logged in"));
		end(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_proved),
	    cmocka_unit_test(test_wrong_password),
	    cmocka_unit_test(test_judged_later),
	    cmocka_unit_test(test_more_than_an_empty_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
