/* SPDX-License-Identifier: MIT
 * MTA-STS policies on disk, so that a restart without DNS or the policy's server
 * still knows what was promised: one file per domain, named like it, in a folder of
 * their own. What a crash can leave is an older policy, or none: then it is fetched
 * as if for the first time. A file that can not be read is as good as none.
 */
#ifndef SMTP_STS_STORE_H
#define SMTP_STS_STORE_H

#include "smtp/sts.h"

#define STS_FILES_MAX 10000 /* then those that have run out go, and no more are added */

struct sts_store;

/* FOLDER is made when missing (0700). NULL: WHY says what is wrong. */
struct sts_store *sts_store_new(const char *folder, struct why *why);
void sts_store_free(struct sts_store *store);

/* What is kept for DOMAIN (lower case A-labels). NULL: nothing, or it has run out at
 * NOW_MS. The reference is the caller's. */
struct sts_policy *sts_store_load(struct sts_store *store, const char *domain, int64_t now_ms,
    char id[STS_ID_ROOM], int64_t *fetched_ms);

/* Keep it. -1: WHY says why not; memory still has it. */
int sts_store_save(struct sts_store *store, const char *domain, const struct sts_policy *policy,
    const char *id, int64_t fetched_ms, struct why *why);

#endif
