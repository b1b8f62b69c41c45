/* SPDX-License-Identifier: MIT
 * The plain form of a reply, in which its words are sought: what differs between
 * two servers that say the same is taken out. Pure and linear; any bytes go in.
 *
 *	- small ASCII letters; accents of Latin letters fall away (UTF-8 and Latin-1)
 *	- addresses of mailboxes and IP addresses are left out, and noted as marks
 *	- whatever is no letter or digit is a space, runs of them are one; a dot or
 *	  apostrophe between letters stays ("zen.spamhaus.org", "doesn't")
 *	- "e-mail" is "email"
 *	- within URLs no word begins or ends, so that "spam" is not found in one
 */
#ifndef QUEUE_PLAIN_H
#define QUEUE_PLAIN_H

#include <stddef.h>

#include "relayd/base/text.h"

#define PLAIN_MAX 8192 /* bytes of a reply that are looked at */

enum plain_mark {
	PLAIN_IP = 1,      /* an IPv4 address */
	PLAIN_IP6 = 2,     /* an IPv6 address */
	PLAIN_ADDRESS = 4, /* of a mailbox */
};

struct plain {
	size_t n;
	unsigned marks;
	char text[PLAIN_MAX + 1];
	/* edge[i]: a word may begin at i, or end before i; n + 1 of them */
	unsigned char edge[PLAIN_MAX + 2];
};

void plain_make(struct plain *plain, struct span text);

#endif
