#include "conceal.h"

#include <ctype.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json/json_get.h"
#include "common/net/hide.h"
#include "common/net/url.h"
#include "common/utf8.h"

#define NOT_SHOWN  "what was answered repeats a secret and is not shown"
#define SEPARATORS "/?#&=@:;, "

enum {
	READ_MAX = 8192, /* bytes of what was said */
	TAIL_MIN = 4,    /* bytes; less may be in any text */
	PART_MIN = 8,    /* bytes of a part: a shorter one is a common word, as in /api/hooks/KEY */
	LOGIN_MAX = 1024,
};

/* ---- the list ----------------------------------------------------------------------------- */

struct hidden {
	struct secret secret;
	struct hidden *next;
	char text[];
};

struct list {
	struct hidden *first;
	bool failed; /* out of memory */
};

static void list_free(struct list *l)
{
	while (l->first) {
		struct hidden *next = l->first->next;

		free(l->first);
		l->first = next;
	}
}

static void add(struct list *l, struct text t, size_t least)
{
	struct hidden *h = t.len && t.len >= least ? malloc(sizeof *h + t.len + 1) : NULL;

	if (!h) {
		l->failed |= t.len && t.len >= least;
		return;
	}
	memcpy(h->text, t.s, t.len);
	h->text[t.len] = '\0';
	h->secret = (struct secret){ h->text, l->first ? &l->first->secret : NULL };
	h->next = l->first;
	l->first = h;
}

static void add_parts(struct list *l, struct text t, size_t least)
{
	for (size_t i = 0; i < t.len;) {
		size_t n = 0;

		while (i + n < t.len && !strchr(SEPARATORS, t.s[i + n]))
			n++;
		add(l, (struct text){ t.s + i, n }, least);
		i += n + 1;
	}
}

static void add_base64(struct list *l, struct text t)
{
	char base64[sodium_base64_ENCODED_LEN(LOGIN_MAX, sodium_base64_VARIANT_ORIGINAL)];

	if (!t.len || t.len > LOGIN_MAX)
		return;
	sodium_bin2base64(base64, sizeof base64, (const unsigned char *)t.s, t.len,
			  sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	add(l, text_of(base64), TAIL_MIN);
}

/* A host is no secret. */
static void add_url(struct list *l, const char *authority)
{
	size_t n = strcspn(authority, "/?#");
	const char *tail = authority + n, *at = memchr(authority, '@', n);
	struct text login = { authority, at ? (size_t)(at - authority) : 0 };

	add(l, login, TAIL_MIN);
	add_parts(l, login, TAIL_MIN);
	add_base64(l, login);
	add(l, text_of(tail), TAIL_MIN);
	add_parts(l, text_of(tail), PART_MIN);
}

/* As HTTP's basic authentication and SMTP's AUTH PLAIN and LOGIN write it. */
static void add_login(struct list *l, const struct message *m)
{
	const char *user = json_text(m->settings, "user"), *password = json_text(m->secrets, "password");
	char both[LOGIN_MAX];
	int n = snprintf(both, sizeof both, "%c%s%c%s", '\0', user, '\0', password);

	if (!*password || n < 0 || (size_t)n >= sizeof both)
		return;
	add_base64(l, (struct text){ both, (size_t)n });
	snprintf(both, sizeof both, "%s:%s", user, password);
	add_base64(l, text_of(both));
	add_base64(l, text_of(password));
}

static struct list secrets_of(const struct message *m)
{
	struct json_members w = json_members(m->secrets);
	struct list l = { 0 };
	struct json_object *value;
	const char *name;

	while (json_next(&w, &name, &value)) {
		const char *text = json_object_get_string(value);
		size_t scheme = text ? url_http_scheme(text) : 0;

		if (!text)
			continue;
		add(&l, text_of(text), TAIL_MIN);
		if (scheme)
			add_url(&l, text + scheme);
		else
			add_parts(&l, text_of(text), PART_MIN);
	}
	add_login(&l, m);
	return l;
}

/* ---- the text ----------------------------------------------------------------------------- */

/* Is `word` in the text, and not within a longer word? */
static bool has_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = text; (at = strcasestr(at, word)); at++)
		if ((at == text || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[n]))
			return true;
	return false;
}

/* A secret of a few letters is in many words. */
static bool has_short_secret(const struct message *m, const char *text)
{
	struct json_members w = json_members(m->secrets);
	struct json_object *value;
	const char *name;

	while (json_next(&w, &name, &value)) {
		const char *secret = json_object_get_string(value);

		if (secret && *secret && strlen(secret) < TAIL_MIN && has_word(text, secret))
			return true;
	}
	return false;
}

void conceal(const struct message *m, struct text said, size_t max, char *out)
{
	CLEANUP(list_free) struct list l = secrets_of(m);
	CLEANUP(buf_free) struct buf plain = BUF(4L * READ_MAX), shown = BUF(4L * READ_MAX);
	bool cut = said.len > READ_MAX;
	bool ok = message_plain(&plain, (struct text){ said.s, utf8_cut(said.s, said.len, READ_MAX) }) &&
		  buf_cstr(&plain) && buf_add(&shown, plain.data, plain.len) && buf_cstr(&shown);

	ok = ok && !has_short_secret(m, plain.data);
	if (ok && l.first)
		ok = secrets_hide(&l.first->secret, plain.data, shown.data, shown.len + 1);
	/* What is cut here may be half a secret: it must not come into sight because others got shorter. */
	if (!ok || l.failed || (cut && strlen(shown.data) <= max))
		snprintf(out, max + 1, NOT_SHOWN);
	else
		snprintf(out, max + 1, "%.*s", (int)utf8_cut(shown.data, strlen(shown.data), max),
			 shown.data);
}
