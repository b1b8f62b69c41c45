/* SPDX-License-Identifier: MIT
 * Hosts that offer STARTTLS and then break it: for a while they are spoken to in the
 * clear at once, where nothing forbids it, so that not every message pays for a
 * connection that fails.
 */
#ifndef RELAYD_PLAIN_HOSTS_H
#define RELAYD_PLAIN_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

#define PLAIN_HOSTS_MAX 1000 /* the oldest goes first */
#define PLAIN_HOSTS_MS (30 * 60 * 1000)

struct plain_hosts;

struct plain_hosts *plain_hosts_new(void);
void plain_hosts_free(struct plain_hosts *hosts);

/* KEY: name and address of the host. Again: the time begins anew. */
void plain_hosts_add(struct plain_hosts *hosts, const char *key);
bool plain_hosts_has(struct plain_hosts *hosts, const char *key);
size_t plain_hosts_count(const struct plain_hosts *hosts);

#endif
