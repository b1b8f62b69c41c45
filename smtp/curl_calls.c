/* SPDX-License-Identifier: MIT */
#include "smtp/curl_calls.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define LIBRARY "libcurl.so.4"
#define CALL(name) {"curl_" #name, offsetof(struct curl_calls, name)}

static const struct {
	const char *name;
	size_t offset;
} names[] = {CALL(global_init), CALL(easy_init), CALL(easy_setopt), CALL(easy_getinfo),
    CALL(easy_strerror), CALL(easy_cleanup), CALL(multi_init), CALL(multi_setopt),
    CALL(multi_assign), CALL(multi_add_handle), CALL(multi_remove_handle),
    CALL(multi_socket_action), CALL(multi_info_read), CALL(multi_cleanup), CALL(slist_append),
    CALL(slist_free_all)};

static int load(struct curl_calls *calls, struct why *why)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return why_set(why, WHY_LOCAL, "%s can not be loaded (%s); install libcurl4",
		    LIBRARY, dlerror());
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		void *call = dlsym(library, names[i].name);
		if (!call) {
			dlclose(library);
			return why_set(why, WHY_LOCAL, "%s has no %s; install libcurl4 of 7.85 or later",
			    LIBRARY, names[i].name);
		}
		memcpy((char *)calls + names[i].offset, &call, sizeof(call));
	}
	if (calls->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return why_set(why, WHY_LOCAL, "libcurl can not be started");
	return 0;
}

const struct curl_calls *curl_calls(struct why *why)
{
	static struct curl_calls calls;
	static bool loaded;
	if (!loaded && load(&calls, why) < 0)
		return NULL;
	loaded = true;
	return &calls;
}
