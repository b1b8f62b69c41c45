/* SPDX-License-Identifier: MIT
 * Private keys as PEM: read from files that nobody else can read, checked for
 * what DKIM can use, printed, made. Memory that held one is wiped.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dkim/internal.h"
#include "relayd/base/mem.h"
#include "relayd/base/why.h"

#define FILE_MAX 65536
#define RSA_BITS_MIN 1024 /* RFC 8301 section 3.2, both ends of what is verified */
#define RSA_BITS_MAX 4096

static int file_check(int fd, struct why *why)
{
	struct stat st;
	if (fstat(fd, &st))
		return why_errno(why, WHY_LOCAL, errno, "can not be examined");
	if (!S_ISREG(st.st_mode))
		return why_set(why, WHY_LOCAL, "is not a regular file");
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return why_set(why, WHY_LOCAL,
		    "mode is %04o: others than its owner may use the private key; do "
		    "chmod "
		    "0600 on it",
		    (unsigned)(st.st_mode & 07777));
	if (st.st_size > FILE_MAX)
		return why_set(why, WHY_LOCAL, "is too large for a key (over 64 KiB)");
	return 0;
}

/* Room for all of it is made first, so that no copy is left behind. */
static int file_read(int fd, struct buf *text, struct why *why)
{
	if (file_check(fd, why))
		return -1;
	char *to = buf_room(text, FILE_MAX + 1);
	while (text->len <= FILE_MAX) {
		ssize_t n = read(fd, to + text->len, FILE_MAX + 1 - text->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return why_errno(why, WHY_LOCAL, errno, "can not be read");
		if (!n)
			return 0;
		text->len += (size_t)n;
	}
	return why_set(why, WHY_LOCAL, "is too large for a key (over 64 KiB)");
}

/* A daemon has nobody to ask; without this OpenSSL would ask the terminal. */
static int no_password(char *to, int size, int writing, void *asked)
{
	(void)to;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

EVP_PKEY *dkim_pem_decode(struct span text, OSSL_LIB_CTX *context, struct why *why)
{
	bool asked = false;
	BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
	if (!bio)
		bug("no memory for a BIO");
	EVP_PKEY *key =
	    PEM_read_bio_PrivateKey_ex(bio, NULL, no_password, &asked, context, NULL);
	BIO_free(bio);
	ERR_clear_error();
	if (!key && asked)
		why_set(why, WHY_LOCAL,
		    "the private key is encrypted; store it without a passphrase");
	else if (!key)
		why_set(why, WHY_LOCAL, "is not a private key in PEM form");
	return key;
}

int dkim_pem_type(EVP_PKEY *key, enum dkim_key_type *type, struct why *why)
{
	int bits = EVP_PKEY_get_bits(key);
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_ED25519:
		*type = DKIM_KEY_ED25519;
		return 0;
	case EVP_PKEY_RSA:
		*type = DKIM_KEY_RSA;
		if (bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX)
			return 0;
		return why_set(why, WHY_LOCAL,
		    "RSA key of %d bits; DKIM uses %d to %d, take 2048", bits,
		    RSA_BITS_MIN, RSA_BITS_MAX);
	default:
		return why_set(why, WHY_LOCAL, "is neither an RSA nor an Ed25519 key");
	}
}

/* Does what it signs verify with its own public half? A key file put together
 * from two keys decodes without complaint. */
static int key_prove(EVP_PKEY *key, struct why *why)
{
	static const unsigned char text[] = "relayd";
	unsigned char signature[RSA_BITS_MAX / 8];
	size_t n = sizeof(signature);
	const EVP_MD *md =
	    EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA ? EVP_sha256() : NULL;
	EVP_MD_CTX *sign = EVP_MD_CTX_new();
	EVP_MD_CTX *verify = EVP_MD_CTX_new();
	bool good = sign && verify &&
		    EVP_DigestSignInit(sign, NULL, md, NULL, key) == 1 &&
		    EVP_DigestSign(sign, signature, &n, text, sizeof(text)) == 1 &&
		    EVP_DigestVerifyInit(verify, NULL, md, NULL, key) == 1 &&
		    EVP_DigestVerify(verify, signature, n, text, sizeof(text)) == 1;
	EVP_MD_CTX_free(sign);
	EVP_MD_CTX_free(verify);
	ERR_clear_error();
	if (!good)
		return why_set(why, WHY_LOCAL,
		    "is a damaged key: its private and public half do not fit");
	return 0;
}

EVP_PKEY *dkim_pem_read(const char *file, struct why *why)
{
	enum dkim_key_type type;
	struct buf text = {0};
	EVP_PKEY *key = NULL;
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		why_errno(why, WHY_LOCAL, errno, "can not be opened");
	else if (!file_read(fd, &text, why))
		key = dkim_pem_decode(span_buf(&text), NULL, why);
	if (key && (dkim_pem_type(key, &type, why) || key_prove(key, why))) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	if (!key)
		why_prefix(why, "%s", file);
	if (fd >= 0)
		close(fd);
	buf_wipe(&text);
	return key;
}

int dkim_pem_print(EVP_PKEY *key, struct buf *out, struct why *why)
{
	char *p = NULL;
	BIO *bio = BIO_new(BIO_s_mem()); /* OpenSSL clears its memory */
	bool good =
	    bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	if (good) {
		long n = BIO_get_mem_data(bio, &p);
		buf_add(out, p, (size_t)n);
	}
	BIO_free(bio);
	ERR_clear_error();
	return good ? 0 : why_set(why, WHY_LOCAL, "the private key can not be printed");
}

EVP_PKEY *dkim_pem_make(unsigned bits, struct why *why)
{
	if (bits && (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)) {
		why_set(why, WHY_PERM, "RSA keys for DKIM have %d to %d bits, not %u",
		    RSA_BITS_MIN, RSA_BITS_MAX, bits);
		return NULL;
	}
	EVP_PKEY *key =
	    bits ? EVP_RSA_gen(bits) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	ERR_clear_error();
	if (!key)
		why_set(why, WHY_LOCAL, "OpenSSL could not make a key");
	return key;
}
