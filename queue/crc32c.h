/* SPDX-License-Identifier: MIT
 * CRC-32C (Castagnoli), the checksum of all that the spool writes: by the
 * processor's own instruction where there is one, else by tables.
 */
#ifndef QUEUE_CRC32C_H
#define QUEUE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Go on with CRC (0 at the start) over N bytes. Any thread. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* The portable way, so that tests can compare the two. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);

#endif
