#include "password.h"

#include <errno.h>
#include <sodium.h>
#include <strings.h>

#include "common/embed.h"
#include "common/text.h"
#include "common/utf8.h"

EMBED(common_passwords, "fleet_hub/people/common_passwords.txt");

enum {
	KEY_BYTES = crypto_hash_sha256_BYTES,
	MIB = 1024 * 1024,
	COMMON_MAX = 128,
	WORD_LENGTH = 5,
	WORDS = 5
};

static int derive(const char *password, const unsigned char salt[crypto_pwhash_SALTBYTES],
		  struct password_cost cost, unsigned char key[KEY_BYTES], struct err *e)
{
	if (crypto_pwhash(key, KEY_BYTES, password, strlen(password), salt, (unsigned long long)cost.passes,
			  (size_t)cost.memory_mib * MIB, crypto_pwhash_ALG_ARGON2ID13) == 0)
		return 0;
	return err_set(e, ENOMEM, "There is no memory to check a password: argon2id wants %lld MiB.",
		       (long long)cost.memory_mib);
}

int password_key(const char *password, const char *salt, struct password_cost cost,
		 char key[PASSWORD_KEY_SIZE], struct err *e)
{
	unsigned char bytes[crypto_pwhash_SALTBYTES], made[KEY_BYTES];
	size_t n;
	int rc;

	if (sodium_hex2bin(bytes, sizeof bytes, salt, strlen(salt), NULL, &n, NULL) != 0 || n != sizeof bytes)
		return err_set(e, EINVAL, "The database's salt is none.");
	rc = derive(password, bytes, cost, made, e);
	memcpy(key, "\\x", 2);
	sodium_bin2hex(key + 2, PASSWORD_KEY_SIZE - 2, made, sizeof made);
	sodium_memzero(made, sizeof made);
	return rc;
}

int password_secret(const char *password, struct password_cost cost, bool generated,
		    char secret[PASSWORD_SECRET_SIZE], struct err *e)
{
	unsigned char salt[crypto_pwhash_SALTBYTES], key[KEY_BYTES], verifier[crypto_hash_sha256_BYTES];
	char salt_hex[2 * sizeof salt + 1], verifier_hex[2 * sizeof verifier + 1];
	int rc;

	randombytes_buf(salt, sizeof salt);
	rc = derive(password, salt, cost, key, e);
	if (rc < 0)
		return rc;
	crypto_hash_sha256(verifier, key, sizeof key);
	sodium_memzero(key, sizeof key);
	snprintf(secret, PASSWORD_SECRET_SIZE,
		 "{\"salt\": \"%s\", \"verifier\": \"%s\", \"passes\": %lld, \"memory_mib\": %lld, "
		 "\"generated\": %s}",
		 sodium_bin2hex(salt_hex, sizeof salt_hex, salt, sizeof salt),
		 sodium_bin2hex(verifier_hex, sizeof verifier_hex, verifier, sizeof verifier),
		 (long long)cost.passes, (long long)cost.memory_mib, generated ? "true" : "false");
	return 0;
}

/* Five groups of five letters and digits that nobody takes for one another: k7m2p-... */
void password_generate(char password[PASSWORD_GENERATED_SIZE])
{
	static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
	size_t n = 0;

	for (size_t i = 0; i < WORDS * WORD_LENGTH; i++) {
		if (i && i % WORD_LENGTH == 0)
			password[n++] = '-';
		password[n++] = letters[randombytes_uniform(sizeof letters - 1)];
	}
	password[n] = '\0';
}

static size_t characters(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* Those that everybody tries first, one a line. */
static bool is_common(const char *password)
{
	struct text wanted = text_of(password);

	for (const char *line = common_passwords; *line; line += strcspn(line, "\n") + 1)
		if (strncasecmp(line, wanted.s, wanted.len) == 0 && line[wanted.len] == '\n')
			return true;
	return false;
}

int password_check(const char *password, const char *email, struct err *e)
{
	if (characters(password) < PASSWORD_MIN)
		return err_set(e, 422, "has fewer than %d characters; 15 or more are better", PASSWORD_MIN);
	if (strlen(password) > PASSWORD_MAX)
		return err_set(e, 422, "has more than %d bytes", PASSWORD_MAX);
	if (is_common(password))
		return err_set(e, 422, "is one of the most common ones, which are tried first");
	if (*email && strcasecmp(password, email) == 0)
		return err_set(e, 422, "is the email address");
	return 0;
}
