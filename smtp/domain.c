/* SPDX-License-Identifier: MIT
 * Judging domain names and writing them in ASCII (smtp/address.h).
 */
#include <idn2.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/address.h"

#define NAME_MAX_BYTES 253 /* RFC 1035 2.3.4, written with dots */

/* The label behind the last dot. */
static struct span last_label(struct span d)
{
	size_t i = d.n;
	while (i && d.p[i - 1] != '.')
		i--;
	return (struct span){d.p + i, d.n - i};
}

static bool is_number(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.n > 0;
}

bool domain_is_valid(struct span d)
{
	if (d.n == 0 || d.n > NAME_MAX_BYTES || domain_scan(d) != d.n ||
	    memchr(d.p, '_', d.n))
		return false;
	struct span top = last_label(d);
	return top.n < d.n && !is_number(top) && span_is_utf8(d);
}

/* Names that the public DNS never holds: RFC 2606, 6761, 6762 appendix G, 7686,
 * 8375, 9476, and what installers write into /etc/hosts. */
static const char *const private_parents[] = {"localhost", "local", "localdomain",
    "localdomain4", "localdomain6", "internal", "lan", "home.arpa", "invalid", "test",
    "example", "corp", "home", "intranet", "private", "onion", "alt"};

bool domain_is_broken(struct span d)
{
	if (d.n && d.p[d.n - 1] == '.')
		d.n--;
	if (d.n == 0 || d.p[0] == '[' || !memchr(d.p, '.', d.n))
		return true;
	/* 192.0.2.1 without brackets is no name either */
	if (is_number(last_label(d)))
		return true;
	/* localhost.example.com, localhost6.anything; but localhosting.example.com is one
	 */
	if (span_starts_nocase(d, "localhost.") || span_starts_nocase(d, "localhost4.") ||
	    span_starts_nocase(d, "localhost6."))
		return true;
	for (size_t i = 0; i < sizeof(private_parents) / sizeof(private_parents[0]); i++)
		if (span_is_under(d, span_text(private_parents[i])))
			return true;
	return false;
}

/* NAME is ASCII now, of whatever origin: add it if it is a name. */
static bool add_lower(struct span name, struct buf *out)
{
	if (name.n == 0 || name.n > NAME_MAX_BYTES || !span_is_ascii(name) ||
	    domain_scan(name) != name.n)
		return false;
	size_t start = out->len;
	buf_add(out, name.p, name.n);
	text_lower(out->data + start, name.n);
	return true;
}

bool domain_to_ascii(struct span d, struct buf *out)
{
	if (d.n == 0 || d.n > ADDRESS_DOMAIN_MAX)
		return false;
	/* libidn2 refuses names that are in use: underscores, hyphens in place 3 and 4 */
	if (span_is_ascii(d))
		return add_lower(d, out);
	if (domain_scan(d) != d.n || !span_is_utf8(d))
		return false;
	char *unicode = span_dup(d);
	char *ascii = NULL;
	int result =
	    idn2_to_ascii_8z(unicode, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	bool good = result == IDN2_OK && ascii && add_lower(span_text(ascii), out);
	idn2_free(ascii);
	mem_free(unicode);
	return good;
}
