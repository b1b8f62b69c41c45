/* SPDX-License-Identifier: MIT
 * Replies of any bytes against the rules that are shipped. The first byte is the
 * stage, and whether a smarthost says so. A verdict about our address must never end
 * a message, and none may suppress a recipient unless it was a 5xx to RCPT.
 */
#include <stddef.h>
#include <stdint.h>

#include "queue/verdict_text.h"
#include "relayd/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct verdict_rules *shipped(void)
{
	static const char *const files[] = {"conf/replies.conf"};
	static struct verdict_rules *rules;
	struct buf errors = {0};
	if (!rules)
		rules = verdict_load(files, 1, &errors);
	if (!rules)
		bug_at(__FILE__, __LINE__, buf_text(&errors));
	buf_free(&errors);
	return rules;
}

static void check(const struct verdict *v, const struct verdict_input *in)
{
	bool may_suppress = in->code >= 500 &&
			    (in->stage == VERDICT_STAGE_RCPT || in->stage == VERDICT_STAGE_UNKNOWN);
	if (!v->rule || !v->provider || !v->help || v->wait_ms < 0)
		bug("an incomplete verdict");
	if (v->action == VERDICT_SUPPRESS && !may_suppress)
		bug("suppressed, although it was no 5xx to RCPT");
	if (v->scope == VERDICT_SCOPE_IP &&
	    (v->action == VERDICT_BOUNCE || v->action == VERDICT_SUPPRESS))
		bug("a verdict about our address ends a message");
	if (v->action == VERDICT_DELIVERED && in->code >= 400)
		bug("a refusal taken for a delivery");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct verdict_text text;
	if (size == 0)
		return 0;
	verdict_text_parse(&text, (struct span){(const char *)data + 1, size - 1});
	text.input.stage = (enum verdict_stage)(data[0] % (VERDICT_STAGE_END + 1));
	text.input.mx = data[0] & 0x80 ? "mfsmax.docomo.ne.jp" : "";
	text.input.smarthost = data[0] & 0x40;
	struct verdict with = verdict_judge(shipped(), &text.input);
	check(&with, &text.input);
	struct verdict without = verdict_judge(NULL, &text.input);
	check(&without, &text.input);
	verdict_text_clear(&text);
	return 0;
}
