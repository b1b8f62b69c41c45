/* SPDX-License-Identifier: MIT
 * What a domain publishes by MTA-STS (RFC 8461): the TXT record that announces a
 * policy, and the policy. Pure. Texts come from the domain's owner, or from who
 * pretends to be that.
 */
#ifndef SMTP_STS_H
#define SMTP_STS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relayd/base/text.h"
#include "relayd/base/why.h"
#include "smtp/dns.h"

#define STS_ID_ROOM 33            /* 32 letters and digits */
#define STS_POLICY_MAX (64 << 10) /* bytes */
#define STS_MX_MAX 200            /* patterns; more make a policy invalid */

enum sts_mode { STS_MODE_NONE, STS_MODE_TESTING, STS_MODE_ENFORCE };

struct sts_policy {
	enum sts_mode mode;
	int64_t max_age; /* seconds, at most a year */
	char **mx;       /* patterns, lower case, no trailing dot */
	size_t mx_count;
	char *text;      /* as it was published */
	size_t text_len;
	unsigned refs;
};

/* The id of the one record of ANSWER that announces a policy, into ID. False: none,
 * more than one, or malformed, which is as good as none (section 3.1). */
bool sts_record_read(const struct dns_answer *answer, char id[STS_ID_ROOM]) ATTR_MUST_CHECK;

/* Read a policy file. NULL: WHY says what is wrong with it. One reference is the
 * caller's. */
struct sts_policy *sts_policy_parse(struct span text, struct why *why);
struct sts_policy *sts_policy_ref(struct sts_policy *policy);
void sts_policy_unref(struct sts_policy *policy); /* NULL is fine */

/* Is HOST, a mail host's name, one of those that the policy allows? A wildcard
 * stands for one label (section 4.1). */
bool sts_policy_fits(const struct sts_policy *policy, const char *host);

#endif
