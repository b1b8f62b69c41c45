/* SPDX-License-Identifier: MIT
 * What keys of the configuration mean to each other and to this machine:
 * defaults that depend on other keys, names that must exist, combinations
 * that can not work, files that must be readable. Internal to conf/.
 */
#ifndef CONF_CHECK_H
#define CONF_CHECK_H

#include "conf/report.h"
#include "relayd/base/attr.h"
#include "relayd/base/why.h"

/* Complete CONF, which came from SETTINGS, and report what is wrong with it. */
void check_settings(struct report *report, const config_t *settings, struct conf *conf);

/* A regular file that can be read. SECRET: by its owner only. Devices and
 * pipes are never opened. */
int check_file(const char *path, bool secret, struct why *why) ATTR_MUST_CHECK;

/* A program that can be run. */
int check_program(const char *path, struct why *why) ATTR_MUST_CHECK;

/* The first line of a secret file; the caller wipes and frees it. NULL: WHY. */
char *check_read_password(const char *path, struct why *why);

#endif
