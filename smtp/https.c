/* SPDX-License-Identifier: MIT
 * libcurl's multi interface on our loop: curl says which sockets to watch and when
 * to call it again, and is called for those only. Its callbacks come within its own
 * functions, so answers are handed on after these have returned.
 */
#include "smtp/https.h"

#include <event2/event.h>
#include <stdlib.h>
#include <utlist.h>

#include "relayd/base/mem.h"
#include "smtp/curl_calls.h"

#define HEADER_MAX (64 << 10) /* of an answer, all fields */
#define ADDRESSES_MAX 8

struct https {
	struct loop *loop;
	const struct curl_calls *curl; /* NULL: not wanted yet, or it can not be loaded */
	struct why why;                /* then */
	CURLM *multi;
	struct timer timer;
	struct https_request *requests;
};

struct https_request {
	struct https *https;
	const struct curl_calls *curl;
	CURL *easy; /* NULL: there is no libcurl */
	struct curl_slist *resolve;
	struct curl_slist *header;
	size_t body_max;
	size_t header_seen;
	struct buf body;
	struct buf post;
	char error[CURL_ERROR_SIZE];
	https_done *done;
	void *arg;
	struct https_request *prev;
	struct https_request *next;
};

/* ---- the loop ---- */

static void collect(struct https *https);
static void fail_all(struct https *https);

static void act(struct https *https, curl_socket_t fd, int flags)
{
	int running;
	https->curl->multi_socket_action(https->multi, fd, flags, &running);
	collect(https);
}

static void on_timer(void *arg)
{
	struct https *https = arg;
	if (https->multi)
		act(https, CURL_SOCKET_TIMEOUT, 0);
	else
		fail_all(https);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	int ready = ((what & EV_READ) ? CURL_CSELECT_IN : 0) | ((what & EV_WRITE) ? CURL_CSELECT_OUT : 0);
	act(arg, fd, ready);
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
	struct https *https = arg;
	(void)multi;
	if (ms < 0)
		timer_stop(&https->timer);
	else
		timer_start(&https->timer, ms);
	return 0;
}

/* WATCHED is the event that this socket has had so far. */
static int watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *watched)
{
	struct https *https = arg;
	(void)easy;
	if (watched)
		event_free(watched);
	if (what == CURL_POLL_REMOVE) {
		https->curl->multi_assign(https->multi, fd, NULL);
		return 0;
	}
	short flags = EV_PERSIST;
	flags = (short)(flags | ((what & CURL_POLL_IN) ? EV_READ : 0));
	flags = (short)(flags | ((what & CURL_POLL_OUT) ? EV_WRITE : 0));
	struct event *event = event_new(loop_base(https->loop), fd, flags, on_socket, https);
	if (!event || event_add(event, NULL) < 0)
		bug("no event");
	https->curl->multi_assign(https->multi, fd, event);
	return 0;
}

int https_load(struct why *why)
{
	return curl_calls(why) ? 0 : -1;
}

struct https *https_new(struct loop *loop)
{
	struct https *https = mem_zero(sizeof(*https));
	https->loop = loop;
	timer_init(&https->timer, loop, on_timer, https);
	return https;
}

static bool is_ready(struct https *https)
{
	if (https->multi)
		return true;
	const struct curl_calls *curl = curl_calls(&https->why);
	if (!curl)
		return false;
	https->curl = curl;
	https->multi = curl->multi_init();
	if (!https->multi)
		bug("no memory for libcurl");
	curl->multi_setopt(https->multi, CURLMOPT_SOCKETFUNCTION, watch);
	curl->multi_setopt(https->multi, CURLMOPT_SOCKETDATA, https);
	curl->multi_setopt(https->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl->multi_setopt(https->multi, CURLMOPT_TIMERDATA, https);
	return true;
}

/* ---- a request ---- */

static size_t take_body(char *p, size_t size, size_t n, void *arg)
{
	struct https_request *r = arg;
	n *= size;
	if (n > r->body_max - r->body.len)
		return 0;
	buf_add(&r->body, p, n);
	return n;
}

/* Fields are not kept, only counted. */
static size_t take_header(char *p, size_t size, size_t n, void *arg)
{
	struct https_request *r = arg;
	(void)p;
	n *= size;
	r->header_seen += n;
	return r->header_seen > HEADER_MAX ? 0 : n;
}

/* "+mta-sts.example.org:443:192.0.2.1,[2001:db8::1]"; without the plus libcurl would keep
 * each name for ever */
static void pin_addresses(struct https_request *r, const struct https_options *o)
{
	struct buf text = {0};
	char one[CONN_ADDRESS_TEXT];
	buf_addf(&text, "+%s:%u:", o->host, o->port);
	for (size_t i = 0; i < o->address_count && i < ADDRESSES_MAX; i++) {
		bool six = o->addresses[i].addr.ss_family == AF_INET6;
		buf_addf(&text, "%s%s%s%s", i ? "," : "", six ? "[" : "",
		    conn_address_text(&o->addresses[i], one), six ? "]" : "");
	}
	r->resolve = r->curl->slist_append(NULL, buf_text(&text));
	r->curl->easy_setopt(r->easy, CURLOPT_RESOLVE, r->resolve);
	buf_free(&text);
}

static void set_address(struct https_request *r, const struct https_options *o)
{
	struct buf url = {0};
	buf_addf(&url, "https://%s:%u%s", o->host, o->port, o->path);
	r->curl->easy_setopt(r->easy, CURLOPT_URL, buf_text(&url));
	buf_free(&url);
	pin_addresses(r, o);
}

static void set_safety(struct https_request *r, const struct https_options *o)
{
	CURL *easy = r->easy;
	const char *authorities = secure_getenv("SSL_CERT_FILE");
	r->curl->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	r->curl->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
	r->curl->easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	r->curl->easy_setopt(easy, CURLOPT_PROXY, "");
	r->curl->easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	r->curl->easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	r->curl->easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	r->curl->easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (authorities)
		r->curl->easy_setopt(easy, CURLOPT_CAINFO, authorities);
	r->curl->easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	r->curl->easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	r->curl->easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)o->timeout_ms);
	r->curl->easy_setopt(easy, CURLOPT_USERAGENT, "relayd");
}

static void set_post(struct https_request *r, const struct https_options *o)
{
	struct buf type = {0};
	if (!o->post.n)
		return;
	buf_add(&r->post, o->post.p, o->post.n);
	buf_addf(&type, "Content-Type: %s", o->content_type);
	r->header = r->curl->slist_append(NULL, buf_text(&type));
	buf_free(&type);
	r->curl->easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->header);
	r->curl->easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->post.len);
	r->curl->easy_setopt(r->easy, CURLOPT_POSTFIELDS, r->post.data);
}

struct https_request *https_start(struct https *https, const struct https_options *o,
    https_done *done, void *arg)
{
	struct https_request *r = mem_zero(sizeof(*r));
	r->https = https;
	r->done = done;
	r->arg = arg;
	r->body_max = o->body_max;
	if (!is_ready(https)) {
		DL_APPEND(https->requests, r);
		timer_start(&https->timer, 0);
		return r;
	}
	r->curl = https->curl;
	r->easy = r->curl->easy_init();
	if (!r->easy)
		bug("no memory for libcurl");
	set_address(r, o);
	set_safety(r, o);
	set_post(r, o);
	r->curl->easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, take_body);
	r->curl->easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
	r->curl->easy_setopt(r->easy, CURLOPT_HEADERFUNCTION, take_header);
	r->curl->easy_setopt(r->easy, CURLOPT_HEADERDATA, r);
	r->curl->easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->error);
	r->curl->easy_setopt(r->easy, CURLOPT_PRIVATE, r);
	DL_APPEND(https->requests, r);
	/* it only sets the timer: all else happens in a later turn */
	r->curl->multi_add_handle(https->multi, r->easy);
	return r;
}

/* Not within a function of curl's. */
void https_cancel(struct https_request *r)
{
	if (!r)
		return;
	DL_DELETE(r->https->requests, r);
	if (r->easy) {
		r->curl->multi_remove_handle(r->https->multi, r->easy);
		r->curl->easy_cleanup(r->easy);
		r->curl->slist_free_all(r->resolve);
		r->curl->slist_free_all(r->header);
	}
	buf_free(&r->body);
	buf_free(&r->post);
	mem_free(r);
}

/* ---- its end ---- */

static enum https_status status_of(CURLcode result, long code)
{
	if (result == CURLE_OK)
		return code >= 200 && code < 300 ? HTTPS_OK : HTTPS_REFUSED;
	if (result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_SSL_INVALIDCERTSTATUS ||
	    result == CURLE_SSL_CACERT_BADFILE)
		return HTTPS_CERTIFICATE;
	return HTTPS_FAILED;
}

static void report(struct https_request *r, CURLcode result)
{
	struct https_answer answer = {0};
	struct buf text = {0};
	char *type = NULL;
	r->curl->easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &answer.code);
	r->curl->easy_getinfo(r->easy, CURLINFO_CONTENT_TYPE, &type);
	answer.status = status_of(result, answer.code);
	answer.body = span_buf(&r->body);
	answer.content_type = type ? type : "";
	if (result == CURLE_OK) /* of those that are none, the caller may take 200 alone */
		buf_addf(&text, "status %ld, expected 200", answer.code);
	else
		text_escape(&text, span_text(r->error[0] ? r->error : r->curl->easy_strerror(result)), 160);
	answer.text = buf_text(&text);
	r->done(&answer, r->arg);
	buf_free(&text);
}

/* DONE may begin requests, and cancel others. */
static void collect(struct https *https)
{
	CURLMsg *message;
	int left;
	while ((message = https->curl->multi_info_read(https->multi, &left))) {
		struct https_request *r = NULL;
		CURLcode result = message->data.result;
		if (message->msg != CURLMSG_DONE)
			continue;
		https->curl->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&r);
		report(r, result);
		https_cancel(r);
	}
}

/* Without libcurl nothing can be asked; each request ends like one that was. */
static void fail_all(struct https *https)
{
	struct https_answer answer = {.status = HTTPS_FAILED, .text = https->why.text,
	    .content_type = ""};
	while (https->requests) {
		struct https_request *r = https->requests;
		r->done(&answer, r->arg);
		https_cancel(r);
	}
}
