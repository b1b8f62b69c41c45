/* SPDX-License-Identifier: MIT
 * What a connection, or a host that was not connected to, means for the TLS report of
 * the recipients' domain (RFC 8460 section 4.3).
 */
#include <string.h>

#include "relayd/deliver_internal.h"

#define RECORDS_SHOWN 10

static void print_records(const struct dane_set *set, struct buf *out)
{
	for (size_t i = 0; i < set->count && i < RECORDS_SHOWN; i++) {
		const struct dane_record *r = &set->records[i];
		size_t n = r->len < 64 ? r->len : 64;
		buf_addf(out, "%u %u %u ", r->usage, r->selector, r->matching);
		text_hex(out, (struct span){(const char *)r->data, n});
		buf_add_byte(out, '\n');
	}
}

/* What goes whatever is published says nothing of that. Our reports are such mail, and often
 * go to the domain that they are about: a report on the last one each day, for ever. */
static void note(struct attempt *a, const char *type, const char *failure, const char *detail)
{
	char address[CONN_ADDRESS_TEXT] = "";
	const struct mx_host *host = &a->hosts[a->host];
	struct buf policy = {0};
	if (a->envelope.tls_optional)
		return;
	if (strcmp(type, "tlsa") == 0)
		print_records(&a->level.dane, &policy);
	else if (strcmp(type, "sts") == 0 && a->sts)
		buf_add(&policy, a->sts->text, a->sts->text_len);
	const char *source = !a->source ? ""
			     : host->address.addr.ss_family == AF_INET6 ? a->source->ipv6
									: a->source->ipv4;
	struct tls_note one = {
	    .domain = destination_name(a->batch->destination),
	    .type = type,
	    .policy = buf_text(&policy),
	    .failure = failure,
	    .sending_ip = source,
	    .mx = host->name,
	    .receiving_ip = conn_address_text(&host->address, address),
	    .detail = detail,
	};
	if (a->deliver->options.reports && one.domain[0] != '[')
		tls_reports_note(a->deliver->options.reports, &one);
	buf_free(&policy);
}

/* The policy that the host under way falls under. */
static const char *type_of(const struct attempt *a)
{
	if (strncmp(a->level.wanted, "dane", 4) == 0)
		return "tlsa";
	return a->sts ? "sts" : "no-policy-found";
}

static const char *name_of_error(long error)
{
	switch (error) {
	case X509_V_OK:
	case X509_V_ERR_DANE_NO_MATCH:
		return "validation-failure";
	case X509_V_ERR_HOSTNAME_MISMATCH:
		return "certificate-host-mismatch";
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return "certificate-expired";
	default:
		return "certificate-not-trusted";
	}
}

void host_note_session(struct attempt *a)
{
	struct client_info info = client_info(a->client);
	if (a->smarthost || a->reused || strcmp(a->level.wanted, "none") == 0)
		return;
	/* offered and not used: it has failed, now or within the last half hour */
	if (!info.tls)
		note(a, type_of(a), info.starttls ? "validation-failure" : "starttls-not-supported",
		    "");
	else if (a->level.observed && info.verify_error != X509_V_OK)
		note(a, type_of(a), name_of_error(info.verify_error),
		    X509_verify_cert_error_string(info.verify_error));
	else if (a->level.observed && !sts_policy_fits(a->sts, a->hosts[a->host].name))
		note(a, type_of(a), "validation-failure", "the policy does not list the host");
	else
		note(a, type_of(a), NULL, "");
}

/* In plain the same host is asked once more: that session counts. */
void host_note_failure(struct attempt *a, const struct client_result *result)
{
	struct client_info info = client_info(a->client);
	if (a->smarthost || result->stage != CLIENT_TLS || a->level.tls == CLIENT_TLS_MAY)
		return;
	const char *detail = result->why ? result->why->text : "STARTTLS was refused";
	bool offered = info.starttls && !result->reply;
	note(a, type_of(a), offered ? name_of_error(info.verify_error) : "starttls-not-supported",
	    detail);
}

void host_note_refusal(struct attempt *a, const char *type, const char *failure,
    const char *detail)
{
	note(a, type, failure, detail);
}
