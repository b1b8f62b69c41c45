/* SPDX-License-Identifier: MIT
 * xtext (RFC 3461 section 4): how ENVID, ORCPT and AUTH carry any text in a
 * parameter. "+" and two upper case hex digits stand for a byte, other graphic
 * ASCII but "=" for itself. Pure. What stands for a control is never taken: a line
 * end that comes out of the decoder is how values have become lines elsewhere.
 */
#ifndef SMTP_XTEXT_H
#define SMTP_XTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "relayd/base/buf.h"
#include "relayd/base/text.h"

#define XTEXT_ENVID_MAX 100 /* bytes as sent, RFC 3461 section 5.4 */
#define XTEXT_ORCPT_MAX 500 /* with its type */

/* Is S xtext of at least one byte that stands for no control? WIDE: bytes over 127
 * may be meant. */
bool xtext_is_valid(struct span s, bool wide);

/* Append what S stands for. False: not valid (wide); OUT is as it was. */
bool xtext_decode(struct span s, struct buf *out) ATTR_MUST_CHECK;

/* Append RAW as xtext. */
void xtext_encode(struct span raw, struct buf *out);

/* Is S the value of ORCPT: a type (an atom), ";", an address in xtext? UTF8: behind
 * the type "utf-8" UTF-8 may stand as it is (RFC 6533 section 3). */
bool xtext_is_orcpt(struct span s, bool utf8);

/* Append an ORCPT value in the form that is good for any receiver: UTF-8 that stands
 * as it is becomes \x{HEX}. */
void xtext_print_orcpt(struct span orcpt, struct buf *out);

#endif
