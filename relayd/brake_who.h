/* SPDX-License-Identifier: MIT
 * Which senders of ours a message is counted for: its login, its client, its
 * script; how the brake calls them, and why one of them holds it. Pure.
 *
 *	login:web1                    who is logged in
 *	client:192.0.2.7              its address
 *	client:2001:db8:1:2::/64      the whole network: its owner has all of it
 *	client:unix:33                a local user, by socket or drop folder
 *	script:33:mail.php@unix:33    PHP's "uid:file", of that client or login only:
 *	                              what others write into the field touches them alone
 */
#ifndef RELAYD_BRAKE_WHO_H
#define RELAYD_BRAKE_WHO_H

#include "queue/brake.h"
#include "queue/envelope.h"

enum brake_kind { BRAKE_LOGIN, BRAKE_CLIENT, BRAKE_SCRIPT };
#define BRAKE_KINDS 3u
const char *brake_kind_name(enum brake_kind kind);

/* The sender of that kind, appended to WHO. False: it has none. A report of ours has
 * no sender. */
bool brake_who(const struct envelope *envelope, enum brake_kind kind, struct buf *who);

/* Is the message one of WHO's? */
bool brake_who_is(const struct envelope *envelope, const char *who);

/* The kind that a sender's name begins with. False: it is no such name. */
bool brake_who_kind(const char *who, enum brake_kind *kind);

/* "33:mail.php" from a value of X-PHP-Originating-Script as PHP writes it
 * ("33:mail.php(7) : eval()'d code" too), appended to SCRIPT. False: it is nothing
 * of the kind. */
bool brake_script_parse(struct span value, struct buf *script) ATTR_MUST_CHECK;

/* A kind and a cause in 1 to 6, for the state in the spool; 0: not braked. */
uint8_t brake_code(enum brake_kind kind, enum brake_cause cause);

/* "login:web1 has sent more than its messages per hour", for people; "" when the
 * code is 0. */
void brake_code_text(uint8_t code, const struct envelope *envelope, struct buf *text);

#endif
