/* SPDX-License-Identifier: MIT
 * Any reply text: a time that comes out is between a second and a day (and the
 * ten seconds on top), and nothing comes out of a text without a digit.
 */
#include <stddef.h>
#include <stdint.h>

#include "queue/backoff.h"
#include "relayd/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = {(const char *)data, size};
	int64_t ms = -1;
	bool digit = false;
	for (size_t i = 0; i < size; i++)
		digit |= data[i] >= '0' && data[i] <= '9';
	if (!backoff_from_text(text, &ms)) {
		if (ms != -1)
			bug("no time was found and one was written");
		return 0;
	}
	if (!digit)
		bug("a time from nothing");
	if (ms < 11000 || ms > 24 * 3600 * 1000 + 10000)
		bug("a time out of bounds");
	return 0;
}
