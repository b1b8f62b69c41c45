/* SPDX-License-Identifier: MIT
 * How many messages per second are signed, per key type, size of the body and
 * number of threads, beside what OpenSSL's bare signature takes. Usage: bench_dkim
 * [seconds per line, default 2].
 */
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dkim/internal.h"
#include "relayd/base/mem.h"
#include "relayd/base/why.h"

#define DOMAIN "example.jp"
#define THREADS_MAX 16

static const char header[] =
    "Received: from a.example.jp by b.example.jp; Sat, 21 Nov 2026 10:00:00 +0900\r\n"
    "From: Taro <taro@example.jp>\r\nTo: Hanako <hanako@example.net>\r\n"
    "Cc: c@example.net\r\nReply-To: d@example.jp\r\nSubject: Monthly report of "
    "October\r\n"
    "Date: Sat, 21 Nov 2026 10:00:00 +0900\r\nMessage-ID: <1@example.jp>\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n";

struct work {
	const struct dkim_keys *keys;
	struct span body;
	double seconds;
	double cpu;
	unsigned long done;
};

static double seconds_of(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static ssize_t body_read(void *arg, uint64_t offset, char *to, size_t n)
{
	const struct span *body = arg;
	memcpy(to, body->p + offset, n);
	return (ssize_t)n;
}

static void *sign_run(void *arg)
{
	struct work *work = arg;
	struct why why = {0};
	struct buf out = {0};
	struct dkim_signer *signer = dkim_signer_new();
	struct dkim_input input = {.header = span_text(header),
	    .body_size = work->body.n,
	    .read = body_read,
	    .arg = &work->body,
	    .wall_ms = 1795000000000};
	double end = seconds_of(CLOCK_MONOTONIC) + work->seconds;
	double cpu = 0;
	for (unsigned long i = 0; seconds_of(CLOCK_MONOTONIC) < end; i++) {
		if (i == 1) { /* the first one decodes the keys */
			cpu = seconds_of(CLOCK_THREAD_CPUTIME_ID);
			work->done = 0;
		}
		buf_clear(&out);
		if (dkim_sign_message(signer, work->keys, DOMAIN, &input, &out, &why))
			bug(why.text);
		work->done++;
	}
	work->cpu = seconds_of(CLOCK_THREAD_CPUTIME_ID) - cpu;
	dkim_signer_free(signer);
	buf_free(&out);
	return NULL;
}

/* OpenSSL alone, per second of CPU. */
static double bare(EVP_PKEY *key, double seconds)
{
	unsigned char text[32] = {1};
	unsigned char signature[512];
	unsigned long done = 0;
	const EVP_MD *md =
	    EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA ? EVP_sha256() : NULL;
	double start = seconds_of(CLOCK_THREAD_CPUTIME_ID);
	double now = start;
	for (; now < start + seconds; now = seconds_of(CLOCK_THREAD_CPUTIME_ID)) {
		size_t n = sizeof(signature);
		EVP_MD_CTX *c = EVP_MD_CTX_new();
		if (!c || EVP_DigestSignInit(c, NULL, md, NULL, key) != 1 ||
		    EVP_DigestSign(c, signature, &n, text, sizeof(text)) != 1)
			bug("OpenSSL does not sign");
		EVP_MD_CTX_free(c);
		done++;
	}
	return (double)done / (now - start);
}

static void line(const char *name, const struct dkim_keys *keys, size_t size,
    unsigned threads, double seconds, double raw)
{
	struct buf body = {0};
	pthread_t id[THREADS_MAX];
	struct work work[THREADS_MAX];
	while (body.len < size)
		buf_add_text(&body,
		    "The quick brown fox jumps over the lazy dog and runs on.\r\n");
	double wall = seconds_of(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < threads; i++) {
		work[i] = (struct work){keys, span_buf(&body), seconds, 0, 0};
		if (pthread_create(&id[i], NULL, sign_run, &work[i]))
			bug("no thread");
	}
	unsigned long done = 0;
	double cpu = 0;
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(id[i], NULL);
		done += work[i].done;
		cpu += work[i].cpu;
	}
	wall = seconds_of(CLOCK_MONOTONIC) - wall;
	double rate = (double)done / cpu;
	printf("%-10s %4zu KB %2u threads %9.0f per CPU second (%.2f of bare), %9.0f per "
	       "second\n",
	    name, size / 1024, threads, rate, rate / raw, (double)done / wall);
	fflush(stdout);
	buf_free(&body);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {4096, 102400};
	struct why why = {0};
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 2;
	bool fast = dkim_start(&why);
	printf("shortcut: %s%s\n", fast ? "in use" : "not in use: ", why.text);
	EVP_PKEY *rsa = dkim_pem_make(2048, &why);
	EVP_PKEY *ed = dkim_pem_make(0, &why);
	struct dkim_keys *one = dkim_keys_new(1);
	struct dkim_keys *other = dkim_keys_new(1);
	struct dkim_keys *both = dkim_keys_new(2);
	if (!rsa || !ed || dkim_keys_add(one, DOMAIN, "r", rsa, &why) ||
	    dkim_keys_add(other, DOMAIN, "e", ed, &why) ||
	    dkim_keys_add(both, DOMAIN, "e", ed, &why) ||
	    dkim_keys_add(both, DOMAIN, "r", rsa, &why))
		bug(why.text);
	double raw_rsa = bare(rsa, seconds);
	double raw_ed = bare(ed, seconds);
	printf("bare OpenSSL: rsa2048 %.0f, ed25519 %.0f signatures per CPU second\n",
	    raw_rsa, raw_ed);
	for (size_t i = 0; i < 2; i++) {
		for (unsigned threads = 1; threads <= 2; threads++) {
			line("rsa2048", one, sizes[i], threads, seconds, raw_rsa);
			line("ed25519", other, sizes[i], threads, seconds, raw_ed);
			line("both", both, sizes[i], threads, seconds,
			    1 / (1 / raw_rsa + 1 / raw_ed));
		}
	}
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ed);
	dkim_keys_free(one);
	dkim_keys_free(other);
	dkim_keys_free(both);
	return 0;
}
