/* SPDX-License-Identifier: MIT
 * What an incident says to a block list: the names of queue/delist.h filled in, and
 * the mail that asks for removal. Pure but for the time; control_delist.c asks the
 * DNS, and sends.
 */
#ifndef RELAYD_DELIST_H
#define RELAYD_DELIST_H

#include "conf/conf.h"
#include "queue/delist.h"
#include "queue/envelope.h"
#include "queue/reputation.h"

#define DELIST_ADDRESS 64

/* The entry for INCIDENT; NULL: none, or it is about a sender of ours. */
const struct delist *delist_of(const struct verdict_rules *rules, const struct incident *incident);

/* The address of ours that INCIDENT is about: that of its source which the refusals
 * name; where the source's own is not public (behind NAT, or left to the system), the
 * public one that a refusal names and no other beside it; else the source's. "" when
 * nothing tells. FAMILY: its. Result: is it one that a list can be asked about? Not what
 * no refusal names and is private. */
bool delist_address(const struct conf *conf, const struct incident *incident,
    char address[DELIST_ADDRESS], int *family);

/* The name whose PTR record is asked for, "7.2.0.192.in-addr.arpa". */
void delist_ptr_name(const char *address, struct buf *name);

struct delist_facts {
	struct buf text[DELIST_NAMES];
	const char *values[DELIST_NAMES];
};
/* PTR: what the DNS has said, for people. WAITING: messages. Free with
 * delist_facts_clear. */
void delist_facts(struct delist_facts *facts, const struct conf *conf,
    const struct delist *entry, const struct incident *incident, const char *address,
    const char *ptr, size_t waiting);
void delist_facts_clear(struct delist_facts *facts);

/* The request as a message with its header, in the entry's language; Japanese with the
 * English text below. SUBJECT "": the entry's. */
struct delist_request {
	const struct verdict_rules *rules;
	const struct delist *entry;
	const struct delist_facts *facts;
	const char *to;
	const char *subject;
};
void delist_write(const struct conf *conf, const struct delist_request *request,
    struct buf *message);

/* The mailbox of ours that such a request comes from. */
void delist_sender(const struct conf *conf, struct buf *address);

/* A message that leaves by one source only: kept in the envelope's `client`, as
 * "delist SOURCE 4" (6, or 0 for either family). */
void delist_bind(struct buf *client, const char *source, int family);
/* False: CLIENT says no such thing. SOURCE is NULL when the configuration has it no
 * more. */
bool delist_bound(const struct conf *conf, const char *client,
    const struct conf_source **source, int *family);

#endif
