/* SPDX-License-Identifier: MIT
 * The reasons of why.h: snprintf into a fixed space, cut when it is full.
 */
#include "relayd/base/why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int why_set(struct why *why, enum why_kind kind, const char *format, ...)
{
	if (!why)
		return -1;
	va_list args;
	va_start(args, format);
	why->kind = kind;
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return -1;
}

int why_errno(struct why *why, enum why_kind kind, int error, const char *format, ...)
{
	if (!why)
		return -1;
	va_list args;
	va_start(args, format);
	why->kind = kind;
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	char name[96];
	/* the GNU strerror_r may return a constant instead of filling NAME */
	const char *text = strerror_r(error, name, sizeof(name));
	size_t used = strlen(why->text);
	snprintf(why->text + used, sizeof(why->text) - used, ": %s", text);
	return -1;
}

int why_prefix(struct why *why, const char *format, ...)
{
	if (!why)
		return -1;
	char old[sizeof(why->text)];
	memcpy(old, why->text, sizeof(old));
	va_list args;
	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	size_t used = strlen(why->text);
	snprintf(why->text + used, sizeof(why->text) - used, ": %s", old);
	return -1;
}
