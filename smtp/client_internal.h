/* SPDX-License-Identifier: MIT
 * What client.c, client_commands.c and client_replies.c share. Not for anybody
 * else. One enum of states; client.c has one row for each, and client_enter
 * alone changes c->state. What a command or a reply leads to is returned.
 *
 * Pipelining: replies come in the order of the commands, and that is the order
 * in which MAIL, RCPT (for each recipient) and DATA are entered anyway. So the
 * queue of expected replies needs no list: the receiving end is (state, at), and
 * `ahead` counts the commands of later states that are on their way already.
 * client_enter sends a state's command only when `ahead` is 0.
 */
#ifndef SMTP_CLIENT_INTERNAL_H
#define SMTP_CLIENT_INTERNAL_H

#include "smtp/auth.h"
#include "smtp/body.h"
#include "smtp/client.h"

enum client_state {
	STATE_WAIT, /* no state: what a function returns to stay where it is */
	STATE_CONNECT,
	STATE_BANNER,
	STATE_EHLO,
	STATE_HELO,
	STATE_STARTTLS,
	STATE_HANDSHAKE,
	STATE_AUTH_PLAIN,  /* with the answer in the same line */
	STATE_AUTH_ASK,    /* PLAIN, too long for one line */
	STATE_AUTH_ANSWER, /* its second line */
	STATE_AUTH_LOGIN,
	STATE_AUTH_USER,
	STATE_AUTH_PASSWORD,
	STATE_IDLE, /* greeted; no transaction, nothing expected */
	STATE_MAIL,
	STATE_RCPT, /* of recipient `at` */
	STATE_DATA,
	STATE_TEXT,  /* sending; replies that come now are early */
	STATE_END,   /* the final dot is written */
	STATE_EMPTY, /* the same for a text that nobody gets: all were refused */
	STATE_RSET,
	STATE_OVER,
	STATE_COUNT
};

/* What EHLO has offered. */
struct client_offers {
	bool pipelining;
	bool eightbit;
	bool smtputf8;
	bool require_tls;
	bool starttls;
	bool dsn;
	bool size;
	bool auth_keyword;
	enum auth_mechanism auth;
	uint64_t max_size;
};

struct client {
	struct loop *loop;
	struct conn *conn;
	const struct client_handler *handler;
	void *arg;
	struct conf_delivery limits;
	SSL_CTX *ctx;
	enum client_tls tls;
	char *name;
	char *hostname;
	char *own_name; /* NULL: any name will do */
	char *user;     /* NULL: no AUTH */
	char *password; /* wiped when it was used */
	char address[CONN_ADDRESS_TEXT];
	const struct dane_set *dane;
	char *domain;   /* NULL: none */
	bool observe;
	struct tls_sessions *sessions;
	char *session_key;
	char *tls_text; /* NULL: in the clear */
	const char *verified;
	long verify_error;

	enum client_state state;
	size_t at;
	size_t ahead;
	struct client_offers offers;
	struct reply reply; /* the one that comes in; kept until the next line */
	struct why why;
	struct client_result end; /* why it is over */
	bool quit;                /* a QUIT is in order before closing */
	bool ended_by_rcpt;       /* the answer to one recipient was the end of all */
	bool greeted;             /* `ready` was called */
	bool gone;                /* closed or failed; freed at the end of a turn */

	const struct client_message *message; /* NULL: no transaction */
	size_t count;   /* its recipients */
	bool *reported; /* which have their result */
	size_t unreported;
	int64_t due_ms; /* when it has to be over, monotonic clock; 0: no transaction */
	bool open; /* the receiver has accepted MAIL and not seen an end */
	uint64_t text_at;
	struct body_encoder encoder;
	unsigned transactions;
};

/* Go to STATE (STATE_WAIT: stay): arm its deadline, send its command. */
void client_enter(struct client *c, enum client_state state);
enum client_stage client_stage_of(const struct client *c);
const char *client_awaits(const struct client *c);

/* client_replies.c: the reply in c->reply is complete. Result: the next state. */
typedef enum client_state client_step(struct client *c);
client_step client_greeted;
client_step client_ehlo_accepted;
client_step client_ehlo_refused;
client_step client_helo_accepted;
client_step client_starttls_accepted;
client_step client_starttls_refused;
client_step client_auth_asked;
client_step client_login_asked;
client_step client_user_asked;
client_step client_auth_accepted;
client_step client_mail_accepted;
client_step client_mail_refused;
client_step client_rcpt_accepted;
client_step client_rcpt_refused;
client_step client_data_accepted;
client_step client_data_refused;
client_step client_delivered;
client_step client_end_refused;
client_step client_empty_answered;
client_step client_reset;
client_step client_reset_refused;
client_step client_refused;      /* the connection is over with this reply */
client_step client_out_of_turn;  /* nobody asked for this reply */

/* The TLS handshake is done. */
client_step client_secured;

/* Give RESULT to all recipients that have none. */
void client_report_rest(struct client *c, const struct client_result *result);

/* The connection is over, for a reason of our own (QUIT is sent first), or
 * since it broke or can not be trusted any more. Result: STATE_OVER. */
enum client_state client_give_up(struct client *c, enum client_stage stage, enum why_kind kind,
    const char *format, ...) ATTR_PRINTF(4, 5);
enum client_state client_lost(struct client *c, enum why_kind kind, const char *format, ...)
    ATTR_PRINTF(3, 4);

/* client_commands.c: write what STATE says. Result: STATE_WAIT, or at once the
 * next state. */
client_step client_send_ehlo;
client_step client_send_helo;
client_step client_send_starttls;
client_step client_send_handshake;
client_step client_send_auth_plain;
client_step client_send_auth_ask;
client_step client_send_auth_answer;
client_step client_send_auth_login;
client_step client_send_user;
client_step client_send_password;
client_step client_send_mail;
client_step client_send_rcpt;
client_step client_send_data;
client_step client_send_text;
client_step client_send_dot;
client_step client_send_rset;
void client_send_quit(struct client *c);

/* The receiver's certificate has to be good. */
bool client_tls_is_checked(const struct client *c);

/* "AUTH PLAIN" and its answer fit in one command line (RFC 4954 section 4). */
bool client_plain_is_short(const struct client *c);

#endif
