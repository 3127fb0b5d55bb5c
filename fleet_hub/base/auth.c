#include "auth.h"

#include <errno.h>
#include <sodium.h>
#include <strings.h>

#include "proxy_user.h"

/* A browser takes a cookie of the first name only with Secure and Path=/, and no other host can set it.
 * It takes no Secure cookie over plain HTTP, which is for loopback. */
static const char secure_cookie[] = "__Host-observ", plain_cookie[] = "observ_session";

enum { TOKEN_BYTES = 32, BROWSER_MAX = 300, AUTHORIZATION_MAX = 512 };

int auth_init(struct err *e)
{
	return sodium_init() < 0 ? err_set(e, EIO, "libsodium does not start") : 0;
}

/* ---- tokens --------------------------------------------------------------------------------- */

void auth_new_token(const char *prefix, char token[HTTP_TOKEN_SIZE])
{
	unsigned char bytes[TOKEN_BYTES];
	size_t n = strlen(prefix);

	randombytes_buf(bytes, sizeof bytes);
	memcpy(token, prefix, n);
	sodium_bin2base64(token + n, HTTP_TOKEN_SIZE - n, bytes, sizeof bytes,
			  sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

void auth_hash(struct text token, char hash[HTTP_HASH_SIZE])
{
	unsigned char bytes[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(bytes, (const unsigned char *)token.s, token.len);
	memcpy(hash, "\\x", 2);
	sodium_bin2hex(hash + 2, HTTP_HASH_SIZE - 2, bytes, sizeof bytes);
}

/* Of the token, so that nobody has to keep it; and one way, so that a form does not give the token away. */
static void make_csrf(struct text token, char csrf[HTTP_TOKEN_SIZE])
{
	static const char purpose[] = "observ csrf";
	unsigned char bytes[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	crypto_hash_sha256_update(&state, (const unsigned char *)purpose, sizeof purpose);
	crypto_hash_sha256_update(&state, (const unsigned char *)token.s, token.len);
	crypto_hash_sha256_final(&state, bytes);
	sodium_bin2base64(csrf, HTTP_TOKEN_SIZE, bytes, sizeof bytes,
			  sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static struct text bearer(const char *authorization)
{
	static const char scheme[] = "Bearer ";
	size_t n = strnlen(authorization, AUTHORIZATION_MAX);

	if (n == AUTHORIZATION_MAX || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
		return (struct text){ NULL, 0 };
	authorization += sizeof scheme - 1;
	return text_of(authorization + strspn(authorization, " "));
}

/* ---- where a request comes from -------------------------------------------------------------- */

static const char *env_or_empty(char *const *env, const char *name)
{
	const char *v = http_env(env, name);

	return v ? v : "";
}

/* What an address is made of. Another text is none, and goes nowhere. */
static bool is_address(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (!strchr("0123456789abcdefABCDEF.:", t.s[i]))
			return false;
	return t.len > 0 && t.len < HTTP_ADDRESS_SIZE;
}

/* The address alone: without a port behind it ("192.0.2.1:80", "[2001:db8::1]:80"), and IPv4 as itself where
 * a socket for both shows it as "::ffff:192.0.2.1". Else one person would be many, or all would be one. */
static struct text bare_address(struct text t)
{
	static const char mapped[] = "::ffff:";
	const char *colon, *end;

	if (t.len && t.s[0] == '[' && (end = memchr(t.s, ']', t.len)))
		t = (struct text){ t.s + 1, (size_t)(end - t.s) - 1 };
	if (t.len >= sizeof mapped && strncasecmp(t.s, mapped, sizeof mapped - 1) == 0 &&
	    memchr(t.s, '.', t.len))
		t = (struct text){ t.s + sizeof mapped - 1, t.len - (sizeof mapped - 1) };
	colon = t.len ? memchr(t.s, ':', t.len) : NULL;
	if (colon && memchr(t.s, '.', (size_t)(colon - t.s)))
		t.len = (size_t)(colon - t.s);
	return t;
}

static bool keep_address(struct caller *who, struct text t)
{
	t = bare_address(t);
	if (!is_address(t))
		return false;
	memcpy(who->address, t.s, t.len);
	who->address[t.len] = '\0';
	return true;
}

static bool is_proxy(const struct conf *conf, const char *address)
{
	return conf_lists(conf->trusted_proxies, address) || conf_lists(conf->auth_proxies, address);
}

/* The last address in the list that no trusted server wrote about itself: what stands before it may be a
 * lie. Whether all are those of trusted servers. */
static bool read_forwarded(struct caller *who, const char *list, const struct conf *conf)
{
	struct text rest = text_of(list);

	while (rest.len) {
		struct text one = rest;

		while (one.len && !strchr(" ,\t", one.s[one.len - 1]))
			one.len--;
		one = (struct text){ rest.s + one.len, rest.len - one.len };
		if (one.len && (!keep_address(who, one) || !is_proxy(conf, who->address)))
			return false;
		rest.len -= one.len ? one.len : 1;
	}
	return true;
}

/* A proxy may add a line of its own behind those that came: the last one counts, as does the last address in
 * it. */
static void read_all_forwarded(struct caller *who, char *const *env, const struct conf *conf)
{
	static const char name[] = "HTTP_X_FORWARDED_FOR=";
	size_t n = 0;

	while (env[n])
		n++;
	while (n-- > 0)
		if (strncmp(env[n], name, sizeof name - 1) == 0 &&
		    !read_forwarded(who, env[n] + sizeof name - 1, conf))
			return;
}

/* A proxy is believed where the configuration names it. What it hands on comes from elsewhere, even if it
 * does not say so. */
static void read_connection(struct caller *who, char *const *env, const struct conf *conf, char *peer)
{
	const char *shown = env_or_empty(env, "REMOTE_ADDR"), *https = env_or_empty(env, "HTTPS");
	bool proxy;

	keep_address(who, text_of(shown));
	snprintf(peer, HTTP_ADDRESS_SIZE, "%s", *who->address ? who->address : shown);
	proxy = *peer && is_proxy(conf, peer);
	who->here = !proxy && http_both_ends_here(env);
	who->secure = strcasecmp(https, "on") == 0 || strcmp(https, "1") == 0 ||
		      strcmp(env_or_empty(env, "REQUEST_SCHEME"), "https") == 0;
	if (!proxy)
		return;
	who->secure = who->secure || strcmp(env_or_empty(env, "HTTP_X_FORWARDED_PROTO"), "https") == 0;
	read_all_forwarded(who, env, conf);
}

/* "https://HOST" of this request; any scheme will do, since only browsers send an Origin. */
static bool is_origin_of(const char *origin, const char *host)
{
	const char *name = strstr(origin, "://");

	return name && *host && strcasecmp(name + 3, host) == 0;
}

/* Fetch metadata comes from current browsers, Origin from older ones with each POST. What neither says
 * comes from a program, which does only what its owner wants. */
static bool says_foreign(char *const *env)
{
	const char *site = http_env(env, "HTTP_SEC_FETCH_SITE"), *origin = http_env(env, "HTTP_ORIGIN");

	if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
		return true;
	return origin && !is_origin_of(origin, env_or_empty(env, "HTTP_HOST"));
}

/* ---- the request -------------------------------------------------------------------------------- */

static const char *cookie_name(const struct caller *who)
{
	return who->secure ? secure_cookie : plain_cookie;
}

void auth_read(struct request *r, char *const *env, const struct conf *conf)
{
	struct text token = bearer(env_or_empty(env, "HTTP_AUTHORIZATION"));
	char peer[HTTP_ADDRESS_SIZE], of_proxy[HTTP_TOKEN_SIZE];
	struct caller *who = &r->who;

	r->conf = conf;
	read_connection(who, env, conf, peer);
	who->foreign = says_foreign(env);
	who->browser = env_or_empty(env, "HTTP_USER_AGENT");
	who->browser = request_text(r, (struct text){ who->browser, strnlen(who->browser, BROWSER_MAX) });
	who->csrf_sent = http_env(env, "HTTP_X_CSRF_TOKEN");
	if (!token.s && proxy_user_read(r, env, peer, of_proxy)) {
		token = text_of(of_proxy);
		who->by_cookie = true;  /* the browser need not mean it, either */
	} else if (!token.s && !who->proxy_fault) {
		token = http_cookie(env_or_empty(env, "HTTP_COOKIE"), cookie_name(who));
		who->by_cookie = token.len > 0;
	}
	if (!token.len)
		return;
	auth_hash(token, who->hash);
	make_csrf(token, who->csrf);
}

static bool writes(const struct request *r)
{
	return r->method != HTTP_GET && r->method != HTTP_HEAD;
}

int auth_admit(struct request *r, enum role role, struct err *e)
{
	struct caller *who = &r->who;

	if (role == ROLE_PUBLIC)
		return 0;
	if (who->proxy_fault)
		return err_set(e, 400,
			       "The proxy in front of this hub does not name one user, by an email address "
			       "and with one secret.");
	if (writes(r) && who->by_cookie && who->foreign)
		return err_set(e, 403, "A page of another site made the browser ask this.");
	if (who->hash[0])
		return 0;
	if (role != ROLE_VIEWER || writes(r) || strcmp(r->conf->anonymous, "viewer") != 0)
		return err_set(e, 401,
			       "This needs a sign-in: a session, or a token as Authorization: Bearer.");
	if (!who->here)
		return err_set(e, 403,
			       "Without sign-in the hub answers requests that come from this machine itself, "
			       "over loopback (anonymous = viewer in hub.conf).");
	who->anonymous = true;
	return 0;
}

/* The first value of that name in the body. */
static const char *form_value(const struct request *r, const char *name)
{
	for (size_t i = r->n_query; i < r->n_params; i++)
		if (strcmp(r->param[i].name, name) == 0)
			return r->param[i].value;
	return "";
}

int auth_check_form(const struct request *r, struct err *e)
{
	const char *sent = r->who.csrf_sent ? r->who.csrf_sent : form_value(r, "csrf");
	size_t n = strlen(r->who.csrf);

	if (!writes(r) || !r->who.by_cookie)
		return 0;
	if (strlen(sent) == n && n > 0 && sodium_memcmp(sent, r->who.csrf, n) == 0)
		return 0;
	return err_set(e, 403, "The form is not one of this session: open the page again, and send it anew.");
}

void auth_set_cookie(const struct request *r, struct response *s, const char *token)
{
	char cookie[256];

	snprintf(cookie, sizeof cookie, "%s=%s; Path=/; HttpOnly; SameSite=Lax%s%s", cookie_name(&r->who),
		 token, r->who.secure ? "; Secure" : "", *token ? "" : "; Max-Age=0");
	response_header(s, "Set-Cookie", cookie);
}
