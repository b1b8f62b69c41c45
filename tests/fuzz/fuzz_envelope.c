/* SPDX-License-Identifier: MIT
 * Any bytes as a stored envelope: it is refused, or it is valid and its stored
 * form is the same bytes again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "queue/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct envelope e;
	struct why why = {0};
	struct buf again = {0};
	if (envelope_read(&e, (struct span){(const char *)data, size}, &why) != 0)
		return 0;
	if (envelope_check(&e, &why) != 0)
		abort();
	envelope_write(&e, &again);
	if (again.len != size || memcmp(again.data, data, size) != 0)
		abort();
	buf_free(&again);
	envelope_free(&e);
	return 0;
}
