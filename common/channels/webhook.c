/* webhook.c - a POST of JSON, signed as https://www.standardwebhooks.com says. */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "common/clock.h"
#include "common/json/json_get.h"
#include "http.h"

#define SECRET_PREFIX "whsec_"

enum { SECRET_MIN = 16, SECRET_MAX = 128 }; /* bytes of the key */

static const struct setting settings[] = {
	{ "url", true, true, "gets a POST of JSON, as standardwebhooks.com says" },
	{ "secret", false, true, "whsec_ and Base64: signs each message" },
	{ "authorization", false, true, "the value of the header Authorization" },
	{ 0 },
};

/* Only 410 is for ever: a receiver that is being rolled out answers with other 4xx for a while. */
static const struct http_row rows[] = {
	{ 410, 410, NULL, NOT_THIS_CHANNEL },
	{ 413, 413, NULL, NOT_THIS_MESSAGE },
	{ 400, 499, NULL, LATER },
	{ 0 },
};

static const struct http_rules rules = { "the webhook", NULL, NULL, rows };

static int sign(const struct message *m, struct request *r, int64_t now_s, struct err *e)
{
	const char *secret = channel_secret(m, "secret"), *end;
	size_t prefix = strlen(SECRET_PREFIX), len;
	unsigned char key[SECRET_MAX], mac[crypto_auth_hmacsha256_BYTES];
	char before[128], base64[sodium_base64_ENCODED_LEN(sizeof mac, sodium_base64_VARIANT_ORIGINAL)];
	crypto_auth_hmacsha256_state state;

	if (!*secret)
		return 0;
	if (strncmp(secret, SECRET_PREFIX, prefix) != 0 ||
	    sodium_base642bin(key, sizeof key, secret + prefix, strlen(secret + prefix), NULL, &len, &end,
			      sodium_base64_VARIANT_ORIGINAL) != 0 ||
	    *end || len < SECRET_MIN)
		return err_set(e, EINVAL, "the channel's secret is not whsec_ and Base64 of %d to %d bytes",
			       SECRET_MIN, SECRET_MAX);
	snprintf(before, sizeof before, "%s.%lld.", m->id, (long long)now_s);
	crypto_auth_hmacsha256_init(&state, key, len);
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)before, strlen(before));
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)r->body.data, r->body.len);
	crypto_auth_hmacsha256_final(&state, mac);
	sodium_memzero(key, sizeof key);
	sodium_bin2base64(base64, sizeof base64, mac, sizeof mac, sodium_base64_VARIANT_ORIGINAL);
	return http_header(r, e, "webhook-signature: v1,%s", base64);
}

static struct json_object *body(const struct message *m)
{
	struct json_object *o = json_object_new_object(), *data = json_object_new_object();
	struct json_object *content = json_get(m->row, "content");
	char type[64];

	snprintf(type, sizeof type, "%s%.40s",
		 message_is(m, "firing") || message_is(m, "resolved") ? "alerts." : "", m->kind);
	http_add(o, "type", type);
	http_add(o, "timestamp", json_text(m->row, "made_at"));
	http_add(data, "notification_id", m->id);
	http_add(data, "title", m->title);
	json_add_all(data, content);
	json_object_object_add(o, "data", data);
	return o;
}

static int compose(const struct message *m, size_t part, struct request *r, struct err *e)
{
	int64_t now_s = wall_us() / US_PER_S;
	const char *authorization = channel_secret(m, "authorization");
	int x = http_post_json(r, body(m), channel_secret(m, "url"), e);

	(void)part;
	if (x == 0)
		x = http_header(r, e, "webhook-id: %s", m->id);
	if (x == 0)
		x = http_header(r, e, "webhook-timestamp: %lld", (long long)now_s);
	if (x == 0)
		x = http_header(r, e, "Idempotency-Key: %s", m->id);
	if (x == 0 && *authorization)
		x = http_header(r, e, "Authorization: %s", authorization);
	return x < 0 ? x : sign(m, r, now_s, e);
}

static void judge(struct message *m, size_t part, const struct answer *a, struct verdict *v)
{
	(void)part;
	http_judge(&rules, m, a, v);
}

const struct channel_kind channel_webhook = {
	"webhook", "Webhook", settings, 0, 8, http_one_part, NULL, compose, judge,
};
