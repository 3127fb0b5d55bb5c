#include "redact.h"

#include <stdlib.h>

#include "patterns.h"
#include "prefilter.h"

enum { LOOK_AHEAD = 1024 };             /* bytes beyond what fits, in which a secret may end */

struct redact *logcore_redact_open(const char *const *keys, const char *const *allowed, bool patterns)
{
	struct redact *r = malloc(sizeof *r);

	if (!r || !logcore_secret_keys_init(&r->keys, keys, allowed)) {
		free(r);
		return NULL;
	}
	r->patterns = patterns;
	return r;
}

void logcore_redact_close(struct redact *r)
{
	if (r)
		logcore_secret_keys_free(&r->keys);
	free(r);
}

bool logcore_redact_value(struct json *j)
{
	j->redacted++;
	return logcore_json_raw(j, "\"" LOGCORE_REDACTED "\"", sizeof("\"" LOGCORE_REDACTED "\"") - 1);
}

/* Write the string with the mark in place of each secret. Not inlined, so that other texts
 * need no large frame. */
__attribute__((cold, noinline)) static bool redacted_text(struct json *j, const char *s, size_t len)
{
	const char *end = logcore_json_open(j);
	struct pattern_text t = { &j->redact->keys, s, len, 0 };
	struct span secret;
	bool more = true;

	if (!end)
		return false;
	for (size_t at = 0; more; at = secret.end) {
		size_t seen = (size_t)(end - j->p) + LOOK_AHEAD, stop = len - at > seen ? at + seen : len;

		t.from = at;
		more = logcore_patterns_next(&t, stop, &secret);
		if (!logcore_json_part(j, end, s + at, (more ? secret.start : len) - at))
			break;
		if (more)
			j->redacted++;
		if (more && !logcore_json_part(j, end, LOGCORE_REDACTED, sizeof LOGCORE_REDACTED - 1))
			break;
	}
	*j->p++ = '"';
	return true;
}

bool logcore_redact_text(struct json *j, const char *s, size_t len)
{
	if (!j->redact || !j->redact->patterns || len < PREFILTER_MIN || !logcore_prefilter(s, len))
		return logcore_json_text(j, s, len);
	return redacted_text(j, s, len);
}

bool logcore_redact_has(const struct redact *r, const char *s, size_t len)
{
	struct pattern_text t = { &r->keys, s, len, 0 };
	struct span secret;

	return r->patterns && len >= PREFILTER_MIN && logcore_prefilter(s, len) &&
	       logcore_patterns_next(&t, len, &secret);
}
