/* SPDX-License-Identifier: MIT
 * MTA-STS: the bytes as a policy, and as a TXT record. What is taken for a policy
 * says the same when it is read again from what was kept of it.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_policy(struct span text)
{
	struct why why;
	struct sts_policy *policy = sts_policy_parse(text, &why);
	if (!policy)
		return;
	struct sts_policy *again = sts_policy_parse((struct span){policy->text, policy->text_len}, &why);
	if (!again || again->mode != policy->mode || again->mx_count != policy->mx_count ||
	    again->max_age != policy->max_age)
		bug("a policy that does not survive being kept");
	for (size_t i = 0; i < policy->mx_count; i++) {
		const char *mx = policy->mx[i];
		if (mx[0] != '*' && !sts_policy_fits(policy, mx))
			bug("a host that its own pattern does not fit");
		if (mx[0] == '*' && sts_policy_fits(again, "") )
			bug("a wildcard without a label");
	}
	sts_policy_unref(again);
	sts_policy_unref(policy);
}

static void read_record(const uint8_t *data, size_t size)
{
	char id[STS_ID_ROOM];
	struct dns_record records[2] = {{.data = data, .len = size / 2},
	    {.data = data + size / 2, .len = size - size / 2}};
	struct dns_record whole = {.data = data, .len = size};
	struct dns_answer one = {.status = DNS_OK, .records = &whole, .count = 1};
	struct dns_answer two = {.status = DNS_OK, .records = records, .count = 2};
	if (sts_record_read(&one, id) && (strlen(id) == 0 || strlen(id) > 32))
		bug("an id of a wrong length");
	if (sts_record_read(&two, id) && (strlen(id) == 0 || strlen(id) > 32))
		bug("an id of a wrong length");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = mem_copy(data, size); /* exact: a read past the end is seen */
	read_policy((struct span){copy, size});
	mem_free(copy);
	read_record(data, size);
	return 0;
}
