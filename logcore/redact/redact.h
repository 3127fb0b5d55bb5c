/*
 * redact.h - write a text or a value without its secrets. Private to the library.
 *
 * Owns the mark "[redacted]" and the choice of what is searched: keys only, or texts too.
 * Leaves out which key names a secret (secret_key.h) and what a secret looks like
 * (patterns.h). Bytes, numbers and addresses are redacted by their key alone.
 */
#ifndef LOGCORE_REDACT_H
#define LOGCORE_REDACT_H

#include <stdbool.h>
#include <stddef.h>

#include "logcore/json.h"
#include "secret_key.h"

#define LOGCORE_REDACTED "[redacted]"

struct redact {
	bool patterns;                  /* search texts, too */
	struct secret_keys keys;
};

/* Both lists have passed logcore_secret_keys_count(). NULL: out of memory. */
struct redact *logcore_redact_open(const char *const *keys, const char *const *allowed, bool patterns);
void logcore_redact_close(struct redact *r);

/* A JSON string with "[redacted]" in place of each secret; false when not even the quotes fit. */
bool logcore_redact_text(struct json *j, const char *s, size_t len);

/* Whether a text has a secret in it. */
bool logcore_redact_has(const struct redact *r, const char *s, size_t len);

/* "[redacted]" in place of a value. */
bool logcore_redact_value(struct json *j);

#endif
