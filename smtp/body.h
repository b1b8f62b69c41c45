/* SPDX-License-Identifier: MIT
 * Message text on the wire: dots off and on, line ends judged. Pure state
 * machines, the same result however the bytes are split.
 *
 * Only CRLF ends a line and only CRLF.CRLF ends the text (RFC 5321 section
 * 2.3.8): a bare CR or LF is either an error or made a CRLF, so what leaves
 * the decoder holds none, and no receiver can see an end where we saw text.
 */
#ifndef SMTP_BODY_H
#define SMTP_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/buf.h"
#include "relayd/base/text.h"

/* What was found; the first fault stays. Text is consumed to its end all the
 * same, so that the reply comes where the protocol expects it. */
enum body_fault {
	BODY_FINE,
	BODY_BARE_NEWLINE, /* bare CR or LF: 550 5.6.11 */
	BODY_LONG_LINE,    /* over the limit: 554 5.6.0 (500 5.6.0) */
	BODY_NUL,          /* a NUL byte: 550 5.6.0 */
	BODY_TOO_BIG,      /* over the size limit: 552 5.3.4 */
};

struct body_limits {
	uint64_t size;      /* bytes of text after decoding; 0: no limit */
	uint64_t line;      /* bytes of a line without CRLF; 0: no limit */
	bool repair_bare;   /* bare CR or LF becomes CRLF */
};

/* For DATA: takes off dots and finds the end. For BDAT: neither, the caller
 * counts bytes; at the LAST chunk body_decoder_finish adds a missing CRLF. */
struct body_decoder {
	struct body_limits limits;
	bool dots; /* DATA */
	int state; /* private */
	uint64_t size;
	uint64_t line_len;
	enum body_fault fault;
	bool ended;     /* DATA: CRLF.CRLF was seen */
	bool eightbit;  /* a byte over 127 was seen */
};

void body_decoder_init(struct body_decoder *d, const struct body_limits *limits, bool dots);

/* Take up to N bytes, append decoded text to OUT (nothing once there is a
 * fault). Result: bytes used; fewer than N only when the end was reached. */
size_t body_decode(struct body_decoder *d, const char *p, size_t n, struct buf *out);

/* BDAT: end of the last chunk. A missing final CRLF is added; a dangling CR is
 * a bare one. */
void body_decoder_finish(struct body_decoder *d, struct buf *out);

/* Dot-stuffing for sending. Text must hold CRLF line ends only. */
struct body_encoder {
	int state; /* private */
};
void body_encoder_init(struct body_encoder *e);
void body_encode(struct body_encoder *e, const char *p, size_t n, struct buf *out);
/* The end: CRLF if the text lacked it, then ".CRLF". */
void body_encoder_finish(struct body_encoder *e, struct buf *out);

#endif
