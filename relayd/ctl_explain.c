/* SPDX-License-Identifier: MIT
 * `relayctl reputation explain`: which rule judges a reply.
 */
#include <stdio.h>

#include "queue/verdict.h"
#include "relayd/ctl.h"

int ctl_explain(const struct ctl *ctl)
{
	struct verdict_input input = {.mx = ""};
	uint64_t code = 0;
	if (ctl->argc != 1)
		return CTL_USAGE;
	input.text = span_text(ctl->argv[0]);
	if (input.text.n >= 3 && span_number((struct span){input.text.p, 3}, 599, &code))
		input.code = (unsigned)code;
	struct verdict v = verdict_judge(NULL, &input);
	printf("{\"category\":\"%s\",\"scope\":\"%s\",\"action\":\"%s\",\"rule\":\"%s\"}\n",
	    verdict_class_name(v.klass), verdict_scope_name(v.scope), verdict_action_name(v.action),
	    v.rule);
	return CTL_OK;
}
