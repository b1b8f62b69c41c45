/* SPDX-License-Identifier: MIT
 * CRC-32C. The portable form takes eight bytes a step from eight tables
 * ("slicing"); the tables are built before main, so that no thread has to ask
 * whether they are there. x86-64 with SSE 4.2 has an instruction for it.
 */
#include "queue/crc32c.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#define POLYNOMIAL 0x82f63b78u /* reflected */

static uint32_t tables[8][256];
static bool has_instruction;

__attribute__((constructor)) static void prepare(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
		tables[0][i] = crc;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int t = 1; t < 8; t++)
			tables[t][i] = (tables[t - 1][i] >> 8) ^
			    tables[0][tables[t - 1][i] & 0xff];
#if defined(__x86_64__)
	__builtin_cpu_init();
	has_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

static uint32_t word(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	    (uint32_t)p[3] << 24;
}

static uint32_t slice(const unsigned char *p, uint32_t crc)
{
	uint32_t low = crc ^ word(p);
	uint32_t high = word(p + 4);
	return tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^
	    tables[5][low >> 16 & 0xff] ^ tables[4][low >> 24] ^
	    tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff] ^
	    tables[1][high >> 16 & 0xff] ^ tables[0][high >> 24];
}

uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	crc = ~crc;
	for (; n >= 8; n -= 8, p += 8)
		crc = slice(p, crc);
	for (; n > 0; n--, p++)
		crc = (crc >> 8) ^ tables[0][(crc ^ *p) & 0xff];
	return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc,
    const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	uint64_t wide = ~crc;
	for (; n >= 8; n -= 8, p += 8) {
		uint64_t eight;
		memcpy(&eight, p, sizeof(eight));
		wide = _mm_crc32_u64(wide, eight);
	}
	crc = (uint32_t)wide;
	for (; n > 0; n--, p++)
		crc = _mm_crc32_u8(crc, *p);
	return ~crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
	if (has_instruction)
		return by_instruction(crc, p, n);
#endif
	return crc32c_portable(crc, p, n);
}
