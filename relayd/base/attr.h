/* SPDX-License-Identifier: MIT
 * Compiler attributes by short names.
 */
#ifndef RELAYD_BASE_ATTR_H
#define RELAYD_BASE_ATTR_H

#define ATTR_PRINTF(string, first) __attribute__((format(printf, string, first)))
#define ATTR_MUST_CHECK __attribute__((warn_unused_result))
#define ATTR_NORETURN __attribute__((noreturn))
#define ATTR_UNUSED __attribute__((unused))

#endif
