/* SPDX-License-Identifier: MIT */
#include "queue/verdict.h"

#include "queue/verdict_structure.h"

struct verdict verdict_judge(const struct verdict_rules *rules, const struct verdict_input *input)
{
	(void)rules;
	return verdict_by_structure(input);
}
