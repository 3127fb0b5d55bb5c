/*
 * hide.h - texts of others (a library's message, a peer's answer) without the secrets that they may repeat.
 */
#ifndef OBSERV_HIDE_H
#define OBSERV_HIDE_H

#include <stdbool.h>
#include <stddef.h>

/* A list. */
struct secret {
	const char *text;               /* not empty; as in the URL or header, so perhaps percent-encoded */
	const struct secret *next;
};

/* Copy `text` with "***" for each secret, in whatever encoding; cut to `size`. False: it holds a secret that
 * is too short to be found reliably; show none of it. */
bool secrets_hide(const struct secret *secrets, const char *text, char *out, size_t size);

/* Can libcurl write a secret in a form that secrets_hide() does not know, as with a host beyond ASCII? */
bool secrets_may_be_respelt(const struct secret *secrets);

#endif
