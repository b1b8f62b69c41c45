/* SPDX-License-Identifier: MIT
 * Ids as text, and the recipients of a batch: one is kept inline, more in an
 * array of rising indexes. Who is on which list is schedule.c's business.
 */
#include "queue/message.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "relayd/base/mem.h"

const char *message_id_text(uint64_t id, char *buf)
{
	snprintf(buf, MESSAGE_ID_TEXT, "%016" PRIx64, id);
	return buf;
}

bool message_id_parse(struct span text, uint64_t *id)
{
	uint64_t value = 0;
	if (text.n != MESSAGE_ID_TEXT - 1)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		int c = text_lower_byte(text.p[i]);
		if (c >= '0' && c <= '9')
			value = value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	*id = value;
	return true;
}

struct batch *batch_new(struct message *message, const uint32_t *recipients, uint32_t count)
{
	struct batch *batch = mem_zero(sizeof(*batch));
	heap_node_init(&batch->due);
	batch->message = message;
	batch->count = count;
	if (count == 1) {
		batch->recipients.one = recipients[0];
	} else {
		batch->recipients.many = mem_array((size_t)count + 1, sizeof(uint32_t));
		batch->recipients.many[0] = 0;
		memcpy(batch->recipients.many + 1, recipients, count * sizeof(uint32_t));
	}
	return batch;
}

void batch_free(struct batch *batch)
{
	if (batch->count > 1)
		mem_free(batch->recipients.many);
	mem_free(batch);
}

uint32_t batch_recipient(const struct batch *batch, uint32_t n)
{
	if (n >= batch->count)
		bug("no such recipient in the batch");
	const uint32_t *many = batch->recipients.many;
	return batch->count == 1 ? batch->recipients.one : many[1 + many[0] + n];
}

/* Where it is among the rising indexes; count when it is not there. */
static uint32_t find(const struct batch *batch, uint32_t recipient)
{
	uint32_t low = 0;
	uint32_t high = batch->count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (batch_recipient(batch, middle) < recipient)
			low = middle + 1;
		else
			high = middle;
	}
	bool there = low < batch->count && batch_recipient(batch, low) == recipient;
	return there ? low : batch->count;
}

/* Results mostly come from the front, which costs nothing. The array is kept while
 * two or more are left; the last one moves inline. */
bool batch_remove(struct batch *batch, uint32_t recipient)
{
	uint32_t at = find(batch, recipient);
	if (at == batch->count)
		return false;
	if (batch->count > 1) {
		uint32_t *many = batch->recipients.many;
		uint32_t *first = many + 1 + many[0];
		if (at == 0)
			many[0]++;
		else
			memmove(first + at, first + at + 1,
			    (batch->count - at - 1) * sizeof(*many));
		if (batch->count == 2) {
			uint32_t last = many[1 + many[0]];
			mem_free(many);
			batch->recipients.one = last;
		}
	}
	batch->count--;
	return true;
}
