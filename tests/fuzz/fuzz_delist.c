/* SPDX-License-Identifier: MIT
 * What a receiver says, on its way into a request for removal and into the table of
 * unknown replies: whatever it is, the request stays a message with the lines that we
 * wrote, and a kind of reply one line of plain ASCII. The first byte picks a provider.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "queue/unknown.h"
#include "relayd/base/mem.h"
#include "relayd/delist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct verdict_rules *shipped(void)
{
	static const char *const files[] = {"conf/delist.conf", "conf/replies.conf"};
	static struct verdict_rules *rules;
	struct buf errors = {0};
	if (!rules)
		rules = verdict_load(files, 2, &errors);
	if (!rules)
		bug_at(__FILE__, __LINE__, buf_text(&errors));
	buf_free(&errors);
	return rules;
}

static void check_kind(struct span reply)
{
	struct buf kind = {0};
	unknown_mask(&kind, reply);
	for (size_t i = 0; i < kind.len; i++)
		if (kind.data[i] < ' ' || kind.data[i] > '~')
			bug("a kind of reply that is no plain line");
	if (kind.len > 4 * UNKNOWN_TEXT_MAX + 3)
		bug("a kind of reply that is too long");
	buf_free(&kind);
}

/* Lines end with CRLF, hold no other control byte and are not too long. */
static void check_message(const struct buf *m)
{
	size_t length = 0;
	for (size_t i = 0; i < m->len; i++) {
		unsigned char c = (unsigned char)m->data[i];
		bool end = c == '\r' && i + 1 < m->len && m->data[i + 1] == '\n';
		if (c < ' ' && !end && !(c == '\n' && i && m->data[i - 1] == '\r'))
			bug("a control byte in a request");
		length = c == '\n' ? 0 : length + 1;
		if (length > 998)
			bug("a line of a request that is too long");
	}
	const char *body = strstr(buf_text(m), "\r\n\r\n");
	const char *first = strstr(buf_text(m), "\r\nMessage-ID: <delist-3-");
	if (!body || !first || first > body)
		bug("a request without the header that we wrote");
}

static void write_request(struct incident *i, const struct delist *entry)
{
	struct conf_source source = {.name = (char *)(uintptr_t)"ip1",
	    .ipv4 = (char *)(uintptr_t) "192.0.2.7", .ipv6 = (char *)(uintptr_t)"",
	    .hostname = (char *)(uintptr_t)"relay.example.jp"};
	struct conf conf = {.sources = &source, .source_count = 1,
	    .hostname = (char *)(uintptr_t)"relay.example.jp",
	    .return_path = {.default_domain = (char *)(uintptr_t)"example.jp"},
	    .notify = {.mail = (char *)(uintptr_t)""}};
	char address[DELIST_ADDRESS];
	int family;
	struct delist_facts facts;
	struct buf message = {0};
	(void)delist_address(&conf, i, address, &family);
	delist_facts(&facts, &conf, entry, i, address, "(none)", 3);
	struct delist_request request = {.rules = shipped(), .entry = entry, .facts = &facts,
	    .to = "remove@list.example", .subject = ""};
	delist_write(&conf, &request, &message);
	check_message(&message);
	delist_facts_clear(&facts);
	buf_free(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const providers[] = {"google", "microsoft365", "gmo", "docomo",
	    "mx.a.test", "t-online", "att", "icloud"};
	if (size == 0)
		return 0;
	struct span reply = {(const char *)data + 1, size - 1};
	struct buf text = {0};
	text_escape(&text, reply, 500);
	char *domain = mem_copy(reply.p, strnlen(reply.p, reply.n < 255 ? reply.n : 255));
	struct incident i = {.number = 3, .source = (char *)(uintptr_t)"ip1",
	    .provider = (char *)(uintptr_t)providers[data[0] % 8],
	    .klass = (enum verdict_class)(data[0] / 8 % 18), .rule = (char *)(uintptr_t)"x",
	    .help = (char *)(uintptr_t)"", .sender_domain = domain,
	    .asked_of = (char *)(uintptr_t)"", .reply_count = 1};
	i.replies[0].text = (char *)(uintptr_t)buf_text(&text);
	i.replies[0].domain = domain;
	check_kind(reply);
	write_request(&i, delist_of(shipped(), &i));
	mem_free(domain);
	buf_free(&text);
	return 0;
}
