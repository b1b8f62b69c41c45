/* SPDX-License-Identifier: MIT
 * libcurl, loaded when the first answer is wanted by HTTPS. It brings two dozen
 * libraries (LDAP, Kerberos, SSH, ...) and four megabytes, which a relay whose
 * destinations have no MTA-STS never needs.
 */
#ifndef SMTP_CURL_CALLS_H
#define SMTP_CURL_CALLS_H

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "relayd/base/why.h"

/* Each is libcurl's function of that name with "curl_" before it. */
struct curl_calls {
	__typeof__(curl_global_init) *global_init;
	__typeof__(curl_easy_init) *easy_init;
	__typeof__(curl_easy_setopt) *easy_setopt;
	__typeof__(curl_easy_getinfo) *easy_getinfo;
	__typeof__(curl_easy_strerror) *easy_strerror;
	__typeof__(curl_easy_cleanup) *easy_cleanup;
	__typeof__(curl_multi_init) *multi_init;
	__typeof__(curl_multi_setopt) *multi_setopt;
	__typeof__(curl_multi_assign) *multi_assign;
	__typeof__(curl_multi_add_handle) *multi_add_handle;
	__typeof__(curl_multi_remove_handle) *multi_remove_handle;
	__typeof__(curl_multi_socket_action) *multi_socket_action;
	__typeof__(curl_multi_info_read) *multi_info_read;
	__typeof__(curl_multi_cleanup) *multi_cleanup;
	__typeof__(curl_slist_append) *slist_append;
	__typeof__(curl_slist_free_all) *slist_free_all;
};

/* Loaded at the first call that can, by the thread of the loop, and kept. NULL: WHY. */
const struct curl_calls *curl_calls(struct why *why);

#endif
