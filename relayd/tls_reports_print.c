/* SPDX-License-Identifier: MIT
 * One TLS report: the JSON of RFC 8460 section 4.4, and the mail of section 5.3 that
 * carries it. "TLS-Required: No", since a report about broken TLS must arrive.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "relayd/base/clock.h"
#include "relayd/base/mem.h"
#include "relayd/tls_reports.h"
#include "smtp/header.h"

#define GZIP_WINDOW (15 + 16) /* zlib: with a gzip header */
#define BOUNDARY "relayd-tls-report"

static json_t *time_json(int64_t ms)
{
	struct tm tm;
	char text[40];
	time_t seconds = (time_t)(ms / 1000);
	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

static json_t *whole(const struct tls_report *r, const struct conf *conf)
{
	struct buf contact = {0};
	struct buf id = {0};
	buf_addf(&id, "%s@%s", r->id, conf->hostname);
	if (conf->notify.mail[0])
		buf_add_text(&contact, conf->notify.mail);
	else
		buf_addf(&contact, "postmaster@%s", conf_own_domain(conf));
	json_t *json = json_pack("{s:s,s:{s:o,s:o},s:s,s:s,s:O}", "organization-name", conf->hostname,
	    "date-range", "start-datetime", time_json(r->start_ms), "end-datetime",
	    time_json(r->end_ms), "contact-info", buf_text(&contact), "report-id", buf_text(&id),
	    "policies", r->policies);
	buf_free(&contact);
	buf_free(&id);
	return json;
}

static void compress_text(const char *text, struct buf *out)
{
	z_stream z = {0};
	size_t n = strlen(text);
	if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		bug("no memory for zlib");
	uLong most = deflateBound(&z, (uLong)n);
	z.next_in = (Bytef *)(uintptr_t)text;
	z.avail_in = (uInt)n;
	z.next_out = (Bytef *)buf_room(out, most);
	z.avail_out = (uInt)most;
	if (deflate(&z, Z_FINISH) != Z_STREAM_END)
		bug("zlib needs more room than it said");
	out->len += (size_t)z.total_out;
	deflateEnd(&z);
}

void tls_report_pack(const struct tls_report *r, const struct conf *conf, struct buf *out)
{
	json_t *json = whole(r, conf);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	if (!text)
		bug("a report that is no JSON");
	compress_text(text, out);
	free(text);
	json_decref(json);
}

static void add_header(const struct tls_report *r, const struct conf *conf, struct buf *out)
{
	const char *ours = conf_own_domain(conf);
	buf_addf(out, "From: MAILER-DAEMON@%s\r\nTo: %s\r\nDate: ", ours, r->to);
	header_date(out, clock_wall_ms());
	buf_addf(out, "\r\nMessage-ID: <tls-report-%s@%s>\r\n", r->id, ours);
	buf_addf(out, "Subject: Report Domain: %s\r\n Submitter: %s\r\n Report-ID: <%s@%s>\r\n",
	    r->domain, conf->hostname, r->id, conf->hostname);
	buf_addf(out, "TLS-Report-Domain: %s\r\nTLS-Report-Submitter: %s\r\n", r->domain,
	    conf->hostname);
	buf_add_text(out, "TLS-Required: No\r\nAuto-Submitted: auto-generated\r\n"
			  "MIME-Version: 1.0\r\nContent-Type: multipart/report; "
			  "report-type=\"tlsrpt\";\r\n boundary=\"" BOUNDARY "\"\r\n\r\n");
}

void tls_report_print(const struct tls_report *r, const struct conf *conf, struct span packed,
    struct buf *out)
{
	add_header(r, conf, out);
	buf_addf(out, "--" BOUNDARY "\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
		      "This is a report on how TLS went when %s delivered mail to\r\n%s (RFC 8460). "
		      "It was asked for by the TXT record at\r\n_smtp._tls.%s.\r\n\r\n",
	    conf->hostname, r->domain, r->domain);
	buf_addf(out, "--" BOUNDARY "\r\nContent-Type: application/tlsrpt+gzip\r\n"
		      "Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n"
		      " filename=\"%s!%s!%lld!%lld!%s.json.gz\"\r\n\r\n",
	    conf->hostname, r->domain, (long long)(r->start_ms / 1000),
	    (long long)(r->end_ms / 1000), r->id);
	text_base64_lines(out, packed);
	buf_add_text(out, "--" BOUNDARY "--\r\n");
}
