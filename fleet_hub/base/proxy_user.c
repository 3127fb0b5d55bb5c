#include "proxy_user.h"

#include <sodium.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "common/embed.h"
#include "auth.h"
#include "refusal.h"

EMBED(sql_sign_in_by_proxy, "fleet_hub/base/sign_in_by_proxy.sql");

enum { USER_MAX = 254, SECRET_MAX = 256, VARIABLE_MAX = 64, TIMEOUT_MS = 5000 };

/* The header's name as CGI has it: X-Remote-User is HTTP_X_REMOTE_USER. */
static bool variable_of(const char *header, char variable[VARIABLE_MAX])
{
	int n = snprintf(variable, VARIABLE_MAX, "HTTP_%s", header);

	for (char *c = variable; *c; c++)
		*c = *c == '-' ? '_' : (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
	return n > 0 && n < VARIABLE_MAX;
}

/* How many headers of that name came; the client may have sent one beside the proxy's. */
static size_t values_of(char *const *env, const char *variable, const char **ret)
{
	size_t n = strlen(variable), found = 0;

	*ret = "";
	for (; *env; env++)
		if (strncmp(*env, variable, n) == 0 && (*env)[n] == '=') {
			*ret = *env + n + 1;
			found++;
		}
	return found;
}

/* A line feed begins it, which no header can have: nobody can show it as a session of his own. */
static void token_of(const char *secret, const char *user, char token[HTTP_TOKEN_SIZE])
{
	static const char purpose[] = "observ proxy session";
	unsigned char bytes[crypto_auth_hmacsha256_BYTES];
	crypto_auth_hmacsha256_state state;

	crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret, strlen(secret));
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)purpose, sizeof purpose);
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)user, strlen(user));
	crypto_auth_hmacsha256_final(&state, bytes);
	token[0] = '\n';
	sodium_bin2base64(token + 1, HTTP_TOKEN_SIZE - 1, bytes, sizeof bytes,
			  sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* As the database knows users: in lower case. NULL: it is none. */
static const char *user_of(struct request *r, const char *value)
{
	size_t n = strnlen(value, USER_MAX + 1);
	char user[USER_MAX + 1];

	if (n > USER_MAX || strpbrk(value, ", \t"))
		return NULL;
	for (size_t i = 0; i <= n; i++)
		user[i] = (char)(value[i] >= 'A' && value[i] <= 'Z' ? value[i] - 'A' + 'a' : value[i]);
	return request_text(r, (struct text){ user, n });
}

bool proxy_user_read(struct request *r, char *const *env, const char *peer, char ret[HTTP_TOKEN_SIZE])
{
	const char *value, *secret;
	char variable[VARIABLE_MAX];
	size_t users, secrets;

	if (!*r->conf->auth_header || !conf_lists(r->conf->auth_proxies, peer) ||
	    !variable_of(r->conf->auth_header, variable))
		return false;
	users = values_of(env, variable, &value);
	secrets = values_of(env, "HTTP_OBSERV_PROXY_SECRET", &secret);
	if (users == 0 || (users == 1 && !*value))
		return false;
	r->who.proxy_user = users == 1 && secrets <= 1 && strnlen(secret, SECRET_MAX) < SECRET_MAX
		? user_of(r, value) : NULL;
	r->who.proxy_fault = !r->who.proxy_user;
	if (r->who.proxy_fault)
		return false;
	auth_hash(text_of(secret), r->who.proxy_secret);
	token_of(secret, r->who.proxy_user, ret);
	return true;
}

bool proxy_user_admit(const struct request *r, struct db *db, struct response *s)
{
	CLEANUP(buf_free) struct buf answer = BUF(256);
	const char *params[] = { r->who.proxy_secret, r->who.proxy_user, r->who.hash };
	const struct db_question question = { sql_sign_in_by_proxy, 3, params, TIMEOUT_MS };
	char sentence[USER_MAX + 160];
	enum db_failure failure;
	struct err e;

	failure = db_change(db, &question, &answer, &e);
	if (failure) {
		refuse_failure(r, db, s, failure, &e);
		return false;
	}
	if (buf_cstr(&answer) && strstr(answer.data, "true"))
		return true;
	snprintf(sentence, sizeof sentence,
		 "The proxy in front of this hub has signed you in as \"%s\". No user of this hub has that "
		 "name, or the user is disabled.",
		 r->who.proxy_user);
	refuse_with(r, s, 403, "Not a user of this hub", sentence,
		    "An admin makes users on the page /users.");
	return false;
}
