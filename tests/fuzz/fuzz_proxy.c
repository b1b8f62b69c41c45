/* SPDX-License-Identifier: MIT
 * A PROXY header, its first byte saying in which steps it arrives.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "smtp/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char held[PROXY_MAX];
	struct proxy_header header;
	enum proxy_result result;
	char text[CONN_ADDRESS_TEXT];
	size_t used = 0;
	size_t more;
	if (size == 0)
		return 0;
	size_t step = (size_t)data[0] + 1;
	data++, size--;
	while ((result = proxy_parse(held, used, &more, &header)) == PROXY_MORE) {
		if (more == 0 || used + more > sizeof(held))
			bug("more than a header may have");
		size_t n = more < step ? more : step;
		if (n > size - used)
			return 0;
		memcpy(held + used, data + used, n);
		used += n;
	}
	if (result == PROXY_DONE && !header.own &&
	    strcmp(conn_address_text(&header.client, text), "unix") == 0)
		bug("a client without an address");
	return 0;
}
