/* SPDX-License-Identifier: MIT
 * A DNS that is a table, in place of smtp/dns.c: the one file of a test program that
 * defines FAKE_DNS before it includes this gets the functions, and the linker then
 * leaves the real ones in their archive. Each domain has one host with one address;
 * nobody answers for names that end in ".silent".
 */
#ifndef TESTS_UNIT_FAKE_DNS_H
#define TESTS_UNIT_FAKE_DNS_H

#include "smtp/dns.h"

struct fake_host {
	const char *domain;
	const char *mx;
	const char *address;
};

struct dns {
	struct loop *loop;
	const struct fake_host *hosts;
	size_t count;
	size_t open; /* questions without an answer yet, */
	size_t silent; /* and those that never get one */
};

#ifdef FAKE_DNS

#include <stdio.h>
#include <string.h>

#include "relayd/base/mem.h"

struct dns_query {
	struct dns *dns;
	char name[256];
	enum dns_type type;
	dns_done *done;
	void *arg;
	struct timer timer;
	bool silent;
};

static bool fake_dns_is_silent(const char *name)
{
	static const char end[] = ".silent";
	size_t n = strlen(name);
	return n >= sizeof(end) - 1 && strcmp(name + n - (sizeof(end) - 1), end) == 0;
}

static void fake_dns_answer(void *arg)
{
	struct dns_query *q = arg;
	struct dns *dns = q->dns;
	struct dns_record record = {.preference = 10};
	struct dns_answer a = {.status = DNS_NO_NAME, .records = &record, .ttl = 300,
	    .text = "as the table says"};
	for (size_t i = 0; i < dns->count && a.status != DNS_OK; i++) {
		const struct fake_host *h = &dns->hosts[i];
		bool is_mx = q->type == DNS_MX && strcmp(h->domain, q->name) == 0;
		bool is_host = strcmp(h->mx, q->name) == 0;
		if (is_mx)
			snprintf(record.name, sizeof(record.name), "%s", h->mx);
		else if (is_host && q->type == DNS_A &&
		    conn_address_parse(&record.address, h->address, 0) != 0)
			bug("an address of the table");
		if (is_mx || (is_host && q->type == DNS_A))
			a.status = DNS_OK;
		else if (is_host)
			a.status = DNS_NO_DATA;
	}
	a.count = a.status == DNS_OK;
	dns->open--;
	q->done(&a, q->arg);
	mem_free(q);
}

struct dns_query *dns_ask(struct dns *dns, const char *name, enum dns_type type, dns_done *done,
    void *arg)
{
	struct dns_query *q = mem_zero(sizeof(*q));
	q->dns = dns;
	q->type = type;
	q->done = done;
	q->arg = arg;
	snprintf(q->name, sizeof(q->name), "%s", name);
	q->silent = fake_dns_is_silent(name);
	timer_init(&q->timer, dns->loop, fake_dns_answer, q);
	if (!q->silent)
		timer_start(&q->timer, 0);
	dns->open += !q->silent;
	dns->silent += q->silent;
	return q;
}

void dns_cancel(struct dns_query *q)
{
	if (!q)
		return;
	timer_stop(&q->timer);
	q->dns->open -= !q->silent;
	q->dns->silent -= q->silent;
	mem_free(q);
}

bool dns_is_validating(const struct dns *dns)
{
	(void)dns;
	return false;
}

#endif
#endif
