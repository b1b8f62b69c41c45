/* SPDX-License-Identifier: MIT
 * Durations and sizes of any bytes: what parses is in range and comes back
 * from its printed form, which is no longer than a text without zeros.
 */
#include <stddef.h>
#include <stdint.h>

#include "conf/units.h"
#include "relayd/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = {(const char *)data, size};
	struct buf b = {0};
	int64_t value;
	int64_t back;

	if (units_parse_duration(text, &value)) {
		units_print_duration(&b, value);
		if (value < 0 || value > INT64_C(3650) * 86400 * 1000)
			bug("duration out of range");
		if (!units_parse_duration(span_buf(&b), &back) || back != value)
			bug("duration does not come back");
		if (b.len > size && value)
			bug("duration printed longer than it was");
	}
	buf_clear(&b);
	if (units_parse_size(text, &value)) {
		units_print_size(&b, value);
		if (value < 0 || value > INT64_C(1) << 50)
			bug("size out of range");
		if (!units_parse_size(span_buf(&b), &back) || back != value)
			bug("size does not come back");
	}
	buf_free(&b);
	return 0;
}
