/* SPDX-License-Identifier: MIT
 * The client side of the dialogue: one connection to one receiver, from
 * connecting to QUIT, any number of transactions one after the other. It
 * reports what happened, per recipient, and decides nothing about fate: that
 * is queue/verdict's. Pipelining where it is offered: a FIFO of expected
 * replies, sending and receiving advance separately.
 */
#ifndef SMTP_CLIENT_H
#define SMTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "relayd/base/conn.h"
#include "smtp/dane.h"
#include "smtp/reply.h"
#include "smtp/tls_session.h"

struct client;

/* Where in the dialogue something happened. */
enum client_stage {
	CLIENT_CONNECT,
	CLIENT_BANNER,
	CLIENT_EHLO,
	CLIENT_TLS,
	CLIENT_AUTH,
	CLIENT_MAIL,
	CLIENT_RCPT,
	CLIENT_DATA, /* the DATA command; a text that broke off before its final dot */
	CLIENT_END,  /* the final dot, and any answer to the text */
};
const char *client_stage_name(enum client_stage stage); /* "connect" ... "end" */

/* What happened at a stage: a reply, or a failure without one. Valid during
 * the call that hands it over. */
struct client_result {
	enum client_stage stage;
	const struct reply *reply; /* NULL: none came (see why) */
	const struct why *why;     /* NULL when there is a reply */
};

/* The message to send, pulled piece by piece. */
struct client_message {
	const char *sender;            /* envelope sender, "" for <> */
	const char *const *recipients; /* wire form without <> */
	size_t recipient_count;        /* 1 to the receiver's limit */
	/* Parameters of RFC 3461, which go only to a receiver that offers DSN: those of
	 * MAIL (" RET=FULL ENVID=x"), and of each RCPT (" NOTIFY=NEVER"), with the space in
	 * front. NULL or "": none. */
	const char *mail_dsn;
	const char *const *rcpt_dsn;
	uint64_t size;                 /* bytes of content */
	bool eightbit;                 /* holds bytes over 127 */
	bool require_tls;              /* only over verified TLS, and onward as well (RFC 8689) */
	bool smtputf8;                 /* needs SMTPUTF8 (an address or a header has UTF-8) */
	/* Copy up to N bytes from OFFSET. Result: bytes copied (0 < r <= N), -1: can
	 * not be read; the connection is then cut before the final dot. */
	ssize_t (*read)(void *arg, uint64_t offset, char *to, size_t n);
	void *arg;
};

struct client_handler {
	/* Greeted (and in TLS, logged in, as asked): client_send may be called. */
	void (*ready)(void *arg);
	/* A recipient's end: delivered (stage END with 2xx), or refused at RCPT, or
	 * all that remain at MAIL, DATA, END. Exactly once per recipient and
	 * transaction, unless `failed` comes first for the rest. */
	void (*recipient)(void *arg, size_t index, const struct client_result *result);
	/* Each recipient has its result and the connection can take another
	 * transaction (also after client_send; RSET was sent where needed). */
	void (*done)(void *arg);
	/* The connection is over: refused, lost, timed out, not SMTP, or closed by
	 * the receiver (421). Recipients without a result share this one; 421 to a RCPT
	 * has been told of its recipient before. IDLE says that nothing was under way:
	 * `ready` had come, no recipient was left without a result, and none had this for its
	 * own. The client is gone after this call. A failure without a reply at stage END is of
	 * kind TEMP and the receiver may have the message (RFC 1047); all else without a reply
	 * is TEMP or LOCAL, but for a receiver that goes by our own name (PERM). */
	void (*failed)(void *arg, const struct client_result *result, bool idle);
};

enum client_tls {
	CLIENT_TLS_NONE,
	/* opportunistic, unverified: goes on in the clear when STARTTLS is not
	 * offered or refused. A handshake that fails ends the connection (failed,
	 * stage TLS, TEMP); the owner may try again with NONE. */
	CLIENT_TLS_MAY,
	CLIENT_TLS_ENCRYPT,  /* required, unverified */
	CLIENT_TLS_VERIFY,   /* required; CTX's authorities must vouch for `name` */
	CLIENT_TLS_IMPLICIT, /* from the first byte, checked as with VERIFY */
	CLIENT_TLS_DANE,     /* required; one of `dane` must fit the certificate */
};

struct client_options {
	struct conn_address to;
	struct conn_address from;  /* len 0: any */
	const char *name;          /* of the host, for SNI, verification and messages */
	const char *hostname;      /* EHLO */
	const char *own_name;      /* ours: a host that calls itself so is a loop; NULL: it
	                              may be another server of this machine */
	const char *user;          /* "" or NULL: no AUTH; it needs TLS but on loopback */
	const char *password;
	const struct conf_delivery *limits; /* timeouts */
	enum client_tls tls;
	SSL_CTX *ctx;              /* for TLS; NULL with NONE */
	const struct dane_set *dane; /* with DANE; it must stay until `ready` or `failed` */
	const char *domain;        /* with DANE: where the mail goes, a name that an
	                              authority of the records may vouch for, too */
	struct tls_sessions *sessions; /* to resume, and to keep; NULL: none */
	const char *session_key;       /* with them: what makes two sessions alike */
	bool observe;              /* with MAY and a CTX that has authorities: find out
	                              whether VERIFY would have worked */
};

/* Begin to connect. No call to the handler before the next turn. Strings are
 * copied, and so are the limits. */
struct client *client_new(struct loop *loop, const struct client_options *options,
    const struct client_handler *handler, void *arg);

/* What the receiver can do, and how we speak to it; after `ready`. */
struct client_info {
	bool pipelining, eightbit, smtputf8, starttls, tls, dsn;
	uint64_t max_size;      /* SIZE: 0 none or unknown */
	const char *tls_text;   /* "TLSv1.3 TLS_AES_256_GCM_SHA384", " resumed" behind it
	                           when it was; "" in the clear */
	const char *verified;   /* by what: "dane-ee", "dane-ta", "authority"; "no", or ""
	                           in the clear */
	long verify_error;      /* X509_V_OK, or why a certificate is not good: known with
	                           all levels that check, and with `observe` */
	const char *address;    /* text of the address connected to */
	const char *name;
	unsigned transactions;  /* begun so far */
};
struct client_info client_info(const struct client *client);

/* Begin a transaction. MESSAGE and what it points to must stay until `done` or
 * `failed`. What the receiver can not take (SMTPUTF8, 8BITMIME, SIZE, REQUIRETLS) is
 * reported per recipient with reply NULL, kind PERM and stage MAIL, in a later
 * turn; the reason's text begins with "5.6.7 ", "5.6.3 ", "5.3.4 " or "5.7.30 ". */
void client_send(struct client *client, const struct client_message *message);

/* Another owner for an idle connection (reuse). */
void client_set_handler(struct client *client, const struct client_handler *handler, void *arg);

/* Has the final dot of a transaction been sent, and its reply not come? Cutting
 * now could make a duplicate (RFC 1047). */
bool client_is_committed(const struct client *client);

/* End it: QUIT if idle, else cut. No further calls to the handler. */
void client_close(struct client *client);

#endif
