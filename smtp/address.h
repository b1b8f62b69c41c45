/* SPDX-License-Identifier: MIT
 * Mail addresses: the paths of MAIL and RCPT (RFC 5321 section 4.1.2, RFC 6531
 * for UTF-8) and the mailboxes of header fields (RFC 5322 section 3.4). Pure:
 * results are views into the input. Control bytes and bare NULs never pass.
 */
#ifndef SMTP_ADDRESS_H
#define SMTP_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "relayd/base/buf.h"
#include "relayd/base/text.h"

#define ADDRESS_DOMAIN_MAX 255 /* RFC 5321 4.5.3.1.2 */
#define DOMAIN_LABEL_MAX 63    /* RFC 1035 2.3.4 */

/* A path of 256 must be taken (4.5.3.1.3), and what the parts alone allow should be (4.5.3.1).
 * The 64 octets of a local part are a least size: VERP, SRS and reply tokens need more. */
#define ADDRESS_MAX 320

enum address_form {
	ADDRESS_NULL,    /* <> */
	ADDRESS_LOCAL,   /* a local part without domain: <postmaster>, <root> */
	ADDRESS_DOMAIN,  /* local@domain.name (a trailing dot is cut off) */
	ADDRESS_LITERAL, /* local@[192.0.2.1] */
};

struct address {
	enum address_form form;
	struct span text;   /* local@domain as it stands: no <>, no source route, no trailing dot */
	struct span local;  /* with its quotes, if it has any */
	struct span domain; /* a literal with its brackets; empty for NULL and LOCAL */
	bool utf8;          /* holds bytes over 127 (well-formed UTF-8): needs SMTPUTF8 */
};

/* Parse a path at the start of S: "<a@b>", "<>", "<@x,@y:a@b>" (the source
 * route is dropped, RFC 5321 appendix C). LENIENT: a path without <> is taken
 * as well. USED is how much of S it took. False: not a path; USED unchanged. */
bool address_parse_path(struct span s, bool lenient, struct address *a, size_t *used)
    ATTR_MUST_CHECK;

/* Parse exactly one bare address ("a@b", "root", not "<>"). The local part may be
 * of the obsolete form "a".b as well, since header fields hold it. */
bool address_parse(struct span s, struct address *a) ATTR_MUST_CHECK;

/* Bytes of the source route "@x,@y:" at the start of S; 0: none. */
size_t address_route(struct span s);

/* One mailbox of a header field's list (From, To, Cc, ...): next one behind *AT
 * (start with 0). Groups are entered, comments and folding white space skipped,
 * empty members passed over. A "<>" is found with the form ADDRESS_NULL. Behind
 * BAD comes END: what follows a malformed member can not be trusted. */
struct mailbox {
	struct address address;
	struct span display; /* phrase before <>, as it stands (quotes, encoded words, raw bytes,
	                        folds); may be empty */
	struct span whole;   /* the bytes of the mailbox in the field */
	struct span spec;    /* the bytes of the addr-spec within it, a source route and a trailing
	                        dot included: what a repair replaces */
};
enum mailbox_result { MAILBOX_FOUND, MAILBOX_END, MAILBOX_BAD };
enum mailbox_result mailbox_next(struct span field, size_t *at, struct mailbox *m);

/* Unencoded ISO-2022-JP may hold any bytes, "<" and "@" included, and readers that do not know
 * it take each for itself. So in a FIELD that shifts, what stands in <> or before a comma for
 * them, quotes and all left aside, is added to LINES, if its domain has a dot. NEXT cuts
 * one off, to be judged by its domain: the local part may be anything. False: no more. */
void mailbox_plain(struct span field, struct buf *lines);
bool mailbox_plain_next(struct span *lines, struct address *a);

/* Does PHRASE, a mailbox's display, hold an @ outside its quoted strings, comments and encoded
 * words? Some readers then take what stands around it for the address. */
bool mailbox_has_bare_at(struct span phrase);

/* Bytes of the encoded word (RFC 2047), of the comment at the start of S: what mailbox_next
 * passes over in one, whatever it holds. 0: there is none, or of a word one in which others
 * could read another address, unless ANY will do: it is taken byte by byte, as they do. */
size_t mailbox_encoded_word(struct span s, bool any);
size_t mailbox_comment(struct span s);

/* Bytes of the domain name at the start of S, as addresses have it: labels of 1 to
 * 63 letters, digits, hyphens (not at their ends), underscores and bytes over
 * 127. A dot behind the last label is not taken. 0: there is no such name. */
size_t domain_scan(struct span s);

/* Is D a name that can be used in the public DNS: two labels or more, LDH or
 * UTF-8 labels of 1 to 63 bytes, not all-numeric at the top? */
bool domain_is_valid(struct span d);

/* A name or address that says nothing to the outside: no dot, localhost.*,
 * *.localhost, .local, .localdomain, .internal, .lan, .home.arpa, .invalid, .test,
 * .example (bare TLDs, not example.com) and the other names that are kept out of
 * the public DNS; an IP address with or without brackets; empty. */
bool domain_is_broken(struct span d);

/* U-labels to A-labels, lower case (IDNA 2008). False: can not be written so. */
bool domain_to_ascii(struct span d, struct buf *out) ATTR_MUST_CHECK;

#endif
