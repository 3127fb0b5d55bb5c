#include "body.h"

#include "common/parse.h"
#include "common/utf8.h"

/* The type without its parameters ("; charset=utf-8"), as a bit; BODY_NONE for others. */
static enum body_media media_of(const char *type)
{
	static const struct { const char *name; enum body_media media; } table[] = {
		{ "application/json", BODY_JSON },
		{ "application/merge-patch+json", BODY_JSON },
		{ "application/x-www-form-urlencoded", BODY_FORM },
	};
	size_t n = strcspn(type, "; \t");

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (strlen(table[i].name) == n && strncasecmp(type, table[i].name, n) == 0)
			return table[i].media;
	return BODY_NONE;
}

/* What the head says of the body: refuse before a byte of it is read. */
static int check_head(const struct request *r, const struct body_rule *rule, size_t *ret_len, struct err *e)
{
	uint64_t len;

	if (!parse_u64(text_of(r->content_length), &len))
		return err_set(e, 411,
			       "The request does not say how long its body is: Content-Length is missing.");
	if (len > rule->max)
		return err_set(e, 413, "The body has %llu bytes; %zu are allowed.", (unsigned long long)len,
			       rule->max);
	if (len && !(media_of(r->content_type) & rule->media))
		return err_set(e, 415, "The body must be %s%s%s.",
			       rule->media & BODY_JSON ? "application/json" : "",
			       rule->media == (BODY_JSON | BODY_FORM) ? " or " : "",
			       rule->media & BODY_FORM ? "application/x-www-form-urlencoded" : "");
	if (r->content_encoding[0] && strcasecmp(r->content_encoding, "identity") != 0)
		return err_set(e, 415, "The body must be sent as it is, without Content-Encoding.");
	*ret_len = len;
	return 0;
}

static int fill(char *to, size_t len, http_read *read, void *from, struct err *e)
{
	size_t have = 0;

	while (have < len) {
		long n = read(from, to + have, len - have);

		if (n <= 0)
			return err_set(e, 400, "The body ends after %zu of %zu bytes.", have, len);
		have += (size_t)n;
	}
	return 0;
}

int body_read(struct request *r, const struct body_rule *rule, http_read *read, void *from, struct err *e)
{
	size_t len = 0;
	char *bytes;
	int rc = check_head(r, rule, &len, e);

	if (rc < 0)
		return rc;
	r->body_arena = ARENA(len + 1);
	bytes = arena_alloc(&r->body_arena, len + 1);
	if (!bytes)
		return err_set(e, 413, "There is no memory for a body of %zu bytes.", len);
	rc = fill(bytes, len, read, from, e);
	if (rc < 0)
		return rc;
	r->body = (struct text){ bytes, len };
	if (len && media_of(r->content_type) == BODY_FORM)
		return request_add_query(r, r->body, e);
	if (!utf8_is_clean(r->body))
		return err_set(e, 400, "The body is not UTF-8, or has a NUL in it.");
	return 0;
}
