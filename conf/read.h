/* SPDX-License-Identifier: MIT
 * From libconfig's tree to the structs, by the table: types, ranges, unknown
 * and missing keys. What keys mean to each other is check.c's. Internal to
 * conf/.
 */
#ifndef CONF_READ_H
#define CONF_READ_H

#include "conf/report.h"

/* Fill CONF (all zero) with the defaults, then with what ROOT holds. Every
 * text field is set afterwards, to "" where the value was refused; an item of a
 * list or array is kept whatever is wrong with it, so that places agree with ROOT.
 * Numbers that REPORT speaks of already are passed over. */
void read_settings(struct report *report, const config_setting_t *root, struct conf *conf);

/* Release all that the table knows of. */
void read_clear(struct conf *conf);

#endif
