/* SPDX-License-Identifier: MIT
 * uthash with the allocator of mem.h: out of memory ends the process as it does
 * everywhere, instead of a silent exit(-1).
 */
#ifndef RELAYD_BASE_HASH_H
#define RELAYD_BASE_HASH_H

#include "relayd/base/mem.h"

#define uthash_malloc(size) mem_alloc(size)
#define uthash_free(p, size) mem_free(p)

#include <uthash.h>

#endif
