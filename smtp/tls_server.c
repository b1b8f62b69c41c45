/* SPDX-License-Identifier: MIT
 * The context of listeners: several certificates, an RSA and an ECDSA one for the
 * same name together, others by the name that the client asks for (SNI, RFC 6066
 * section 3), and certificates of clients.
 */
#include "smtp/tls_server.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "relayd/base/mem.h"
#include "relayd/base/random.h"
#include "smtp/tls.h"

#define NAME_SHOWN 256
#define TICKET_KEYS_MAX 128 /* OpenSSL 3 has 80 bytes of them */

struct certificate {
	X509 *x;
	SSL_CTX *ctx; /* a reference, but for the first context's own */
};

/* Hangs on the first context, and goes with it. */
struct table {
	SSL_CTX *first;
	struct certificate *list;
	size_t count;
};

static void free_table(void *parent, void *p, CRYPTO_EX_DATA *data, int index, long argl,
    void *argp)
{
	struct table *table = p;
	(void)parent;
	(void)data;
	(void)index;
	(void)argl;
	(void)argp;
	if (!table)
		return;
	for (size_t i = 0; i < table->count; i++) {
		X509_free(table->list[i].x);
		if (table->list[i].ctx != table->first)
			SSL_CTX_free(table->list[i].ctx);
	}
	mem_free(table->list);
	mem_free(table);
}

static int table_index(void)
{
	static int index = -1;
	if (index < 0)
		index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_table);
	return index;
}

static bool covers(const struct certificate *c, const char *name)
{
	return X509_check_host(c->x, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

/* The first certificate is for whoever names none, or one that nobody has. */
static int choose_by_name(SSL *ssl, int *alert, void *arg)
{
	const struct table *table = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	(void)alert;
	for (size_t i = 0; name && i < table->count; i++) {
		if (!covers(&table->list[i], name))
			continue;
		if (table->list[i].ctx != table->first)
			SSL_set_SSL_CTX(ssl, table->list[i].ctx);
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_NOACK;
}

/* A key with a passphrase: fail, where OpenSSL would ask on the terminal. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
	(void)to;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int load(SSL_CTX *ctx, const char *certificate, const char *key,
    struct tls_faults *faults)
{
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	bool good = SSL_CTX_use_certificate_chain_file(ctx, certificate) == 1;
	if (!good)
		tls_explain(&faults->certificate, "TLS certificate", certificate,
		    "a PEM file with the certificate and its chain");
	/* this one compares it with the certificate, too, where that is one */
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1 &&
	    (!good || SSL_CTX_check_private_key(ctx) == 1))
		return good ? 0 : -1;
	tls_explain(&faults->key, "TLS key", key,
	    "a PEM file with the certificate's private key, without passphrase");
	return -1;
}

static SSL_CTX *make(struct why *why)
{
	static const unsigned char ours[] = "relayd";
	SSL_CTX *ctx = tls_context(TLS_server_method(), TLS1_2_VERSION, why);
	if (!ctx)
		return NULL;
	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
	/* tickets resume sessions; a cache here would only grow */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(ctx, ours, sizeof(ours) - 1);
	return ctx;
}

/* Remember what was just loaded into CTX. */
static void remember(struct table *table, SSL_CTX *ctx)
{
	X509 *x = SSL_CTX_get0_certificate(ctx);
	X509_up_ref(x);
	table->list = mem_resize(table->list, table->count + 1, sizeof(*table->list));
	if (ctx != table->first)
		SSL_CTX_up_ref(ctx);
	table->list[table->count++] = (struct certificate){x, ctx};
}

SSL_CTX *tls_server_new(struct why *why)
{
	SSL_CTX *ctx = make(why);
	if (!ctx)
		return NULL;
	struct table *table = mem_zero(sizeof(*table));
	table->first = ctx;
	SSL_CTX_set_ex_data(ctx, table_index(), table);
	SSL_CTX_set_tlsext_servername_callback(ctx, choose_by_name);
	SSL_CTX_set_tlsext_servername_arg(ctx, table);
	return ctx;
}

/* The first name that it is for; "" when it has none. */
static void name_of(const X509 *x, char *name)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	name[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !name[0]; i++) {
		const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);
		if (one->type != GEN_DNS)
			continue;
		size_t n = (size_t)ASN1_STRING_length(one->d.dNSName);
		const unsigned char *text = ASN1_STRING_get0_data(one->d.dNSName);
		if (n < NAME_SHOWN && !memchr(text, '\0', n)) {
			memcpy(name, text, n);
			name[n] = '\0';
		}
	}
	GENERAL_NAMES_free(names);
	if (!name[0] && X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName,
			    name, NAME_SHOWN) < 0)
		name[0] = '\0';
}

static bool is_of_kind(const X509 *x, const X509 *other)
{
	return EVP_PKEY_get_base_id(X509_get0_pubkey(x)) ==
	       EVP_PKEY_get_base_id(X509_get0_pubkey(other));
}

/* The context whose certificates are for the same name, with no key of this kind
 * yet. NULL: none. */
static SSL_CTX *companion(const struct table *table, const X509 *x)
{
	char name[NAME_SHOWN];
	name_of(x, name);
	for (size_t i = 0; name[0] && i < table->count; i++) {
		SSL_CTX *ctx = table->list[i].ctx;
		bool taken = !covers(&table->list[i], name);
		for (size_t k = 0; k < table->count && !taken; k++)
			taken = table->list[k].ctx == ctx && is_of_kind(table->list[k].x, x);
		if (!taken)
			return ctx;
	}
	return NULL;
}

int tls_server_add(SSL_CTX *first, const char *certificate, const char *key,
    struct tls_faults *faults)
{
	struct table *table = SSL_CTX_get_ex_data(first, table_index());
	SSL_CTX *own = make(&faults->certificate);
	if (!own || load(own, certificate, key, faults) != 0) {
		SSL_CTX_free(own);
		return -1;
	}
	SSL_CTX *ctx = table->count ? companion(table, SSL_CTX_get0_certificate(own)) : first;
	if (!ctx)
		ctx = own;
	int result = ctx == own ? 0 : load(ctx, certificate, key, faults);
	if (result == 0)
		remember(table, ctx);
	SSL_CTX_free(own);
	return result;
}

/* Whoever shows one may come in; what it is good for is asked later. */
static int take_any(int good, X509_STORE_CTX *ctx)
{
	(void)good;
	(void)ctx;
	return 1;
}

static int ask_one(SSL_CTX *ctx, const char *authorities, struct why *why)
{
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, take_any);
	if (!authorities[0])
		return 0;
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(authorities);
	if (!names || SSL_CTX_load_verify_file(ctx, authorities) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		tls_explain(why, "TLS authorities of clients", authorities,
		    "a PEM file with their certificates");
		return -1;
	}
	SSL_CTX_set_client_CA_list(ctx, names);
	return 0;
}

int tls_server_ask_clients(SSL_CTX *first, const char *authorities, struct why *why)
{
	const struct table *table = SSL_CTX_get_ex_data(first, table_index());
	int result = ask_one(first, authorities, why);
	for (size_t i = 0; i < table->count && result == 0; i++)
		if (table->list[i].ctx != first)
			result = ask_one(table->list[i].ctx, authorities, why);
	return result;
}

/* Whichever name a client asks for, its tickets are those of the first context. */
void tls_server_renew_tickets(SSL_CTX *first)
{
	unsigned char keys[TICKET_KEYS_MAX];
	long n = SSL_CTX_get_tlsext_ticket_keys(first, NULL, 0);
	if (n <= 0 || n > TICKET_KEYS_MAX)
		bug("ticket keys of another size");
	random_bytes(keys, (size_t)n);
	if (SSL_CTX_set_tlsext_ticket_keys(first, keys, n) != 1)
		bug("ticket keys are not taken");
	mem_wipe(keys, sizeof(keys));
}

void tls_server_each(SSL_CTX *first,
    void (*fn)(void *arg, const char *name, int64_t until_s), void *arg)
{
	const struct table *table = SSL_CTX_get_ex_data(first, table_index());
	for (size_t i = 0; i < table->count; i++) {
		char name[NAME_SHOWN];
		struct tm until = {0};
		name_of(table->list[i].x, name);
		if (ASN1_TIME_to_tm(X509_get0_notAfter(table->list[i].x), &until) == 1)
			fn(arg, name, (int64_t)timegm(&until));
	}
}

/* ---- who the client is ---- */

#define PRINT_PREFIX "sha256:"

static bool print_fits(X509 *x, const char *wanted)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	size_t at = 0;
	if (X509_digest(x, EVP_sha256(), hash, &n) != 1)
		return false;
	for (unsigned i = 0; i < n; i++) {
		static const char digits[] = "0123456789abcdef";
		hex[at++] = digits[hash[i] >> 4];
		hex[at++] = digits[hash[i] & 15];
	}
	hex[at] = '\0';
	const char *h = hex;
	for (; *wanted; wanted++) { /* as openssl prints it: capitals, colons */
		if (*wanted == ':')
			continue;
		char c = *wanted >= 'A' && *wanted <= 'F' ? (char)(*wanted + 32) : *wanted;
		if (!*h || c != *h++)
			return false;
	}
	return !*h;
}

static bool name_fits(X509 *x, const char *wanted)
{
	char name[NAME_SHOWN];
	if (X509_check_host(x, wanted, 0, X509_CHECK_FLAG_NO_WILDCARDS, NULL) == 1 ||
	    X509_check_email(x, wanted, 0, 0) == 1)
		return true;
	int n = X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, name,
	    sizeof(name));
	return n > 0 && (size_t)n == strlen(name) && strcmp(name, wanted) == 0;
}

bool tls_client_is(SSL *ssl, const char *wanted)
{
	X509 *x = SSL_get1_peer_certificate(ssl);
	bool fits = false;
	if (!x)
		return false;
	if (strncmp(wanted, PRINT_PREFIX, sizeof(PRINT_PREFIX) - 1) == 0)
		fits = print_fits(x, wanted + sizeof(PRINT_PREFIX) - 1);
	else
		fits = SSL_get_verify_result(ssl) == X509_V_OK && name_fits(x, wanted);
	X509_free(x);
	return fits;
}
