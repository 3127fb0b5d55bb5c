/*
 * config_hide.c - which parts of a value never leave the agent.
 *
 * A URL is shown with "***" for what its variables and credentials gave, wherever they stand, and for what
 * its place tells to be a secret. Those parts are also kept as texts to look for, since other texts (a
 * peer's redirect, a library's message) may repeat them.
 */
#include "config_keys.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

#include "common/net/url_mask.h"

#define DELIMITERS ":/?#@&=;, \\"       /* of a URL's parts */

/* A URL's scheme is no secret, and it occurs in any text. */
static bool tells_nothing(struct text t)
{
	return t.len == 0 || (t.len == 4 && strncasecmp(t.s, "http", 4) == 0) ||
	       (t.len == 5 && strncasecmp(t.s, "https", 5) == 0);
}

static int add_text(struct loader *l, const struct yaml_node *n, struct text t, const struct secret **list)
{
	struct secret *s;

	if (tells_nothing(t))
		return 0;
	s = config_alloc(l, n, sizeof *s);
	if (!s || config_keep(l, n, t, &s->text) < 0)
		return -EINVAL;
	s->next = *list;
	*list = s;
	return 0;
}

static char unescaped(const char *s)
{
	return (char)strtol((char[]){ s[1], s[2], '\0' }, NULL, 16);
}

/* Decode the percent form of `t`; the result is not longer. */
static struct text decoded(struct text t, char *out)
{
	struct text d = { out, 0 };

	for (size_t i = 0; i < t.len; i++) {
		bool escape = t.s[i] == '%' && i + 2 < t.len && isxdigit((unsigned char)t.s[i + 1]) &&
			      isxdigit((unsigned char)t.s[i + 2]);

		out[d.len++] = escape ? unescaped(t.s + i) : t.s[i];
		i += escape ? 2 : 0;
	}
	return d;
}

/* Add the whole and its parts: an error may contain the host's name alone. */
static int add_secret(struct loader *l, const struct yaml_node *n, struct text t, const struct secret **list)
{
	char plain[VALUE_MAX];
	struct text d = decoded(t, plain);
	int r = add_text(l, n, t, list);

	for (size_t i = 0, len; r == 0 && i < d.len; i += len + 1) {
		for (len = 0; i + len < d.len && !(d.s[i + len] && strchr(DELIMITERS, d.s[i + len]));)
			len++;
		if (len < d.len)
			r = add_text(l, n, (struct text){ d.s + i, len }, list);
	}
	return r;
}

static int add_filled(struct loader *l, const struct yaml_node *n, const struct value *v,
		      const struct secret **list)
{
	int r = 0;

	for (const struct filled *f = v->filled; r == 0 && f; f = f->next)
		r = add_secret(l, n, (struct text){ v->s + f->from, f->to - f->from }, list);
	return r;
}

/* Each marked part. */
static int add_marked(struct loader *l, const struct yaml_node *n, const char *s, const char *marks,
		      const struct secret **list)
{
	int r = 0;

	for (size_t i = 0, len; r == 0 && s[i]; i += len ? len : 1) {
		for (len = 0; s[i + len] && marks[i + len];)
			len++;
		r = add_secret(l, n, (struct text){ s + i, len }, list);
	}
	return r;
}

static bool is_whole(const struct value *v)
{
	const struct filled *f = v->filled;

	return f && !f->next && f->from == 0 && v->s[f->to] == '\0';
}

int config_hide_url(struct loader *l, const struct key *k, const struct yaml_node *n, const struct value *v,
		    bool whole_is_url, void *base)
{
	char marks[VALUE_MAX + 1] = "", shown[URL_MAX + 2];
	int r;

	url_hide_places(v->s, marks);
	if (!whole_is_url || !is_whole(v))
		for (const struct filled *f = v->filled; f; f = f->next)
			url_hide(marks, f->from, f->to);
	url_show(v->s, marks, shown, sizeof shown);
	if (strlen(shown) > URL_MAX)
		return config_fail(l, n, "%s is longer than %d bytes where it is shown; shorten it", k->name,
				   URL_MAX);
	r = config_keep(l, n, text_of(shown), config_at(base, k->shown_at));
	if (r < 0 || !k->secrets_at)
		return r;
	r = add_filled(l, n, v, config_at(base, k->secrets_at));
	return r < 0 ? r : add_marked(l, n, v->s, marks, config_at(base, k->secrets_at));
}

int config_hide_header(struct loader *l, const struct key *k, const struct yaml_node *n, struct text name,
		       const struct value *v, void *base)
{
	const struct secret **list = config_at(base, k->secrets_at);
	int r = url_secret_name(name) ? add_secret(l, n, (struct text){ v->s, strlen(v->s) }, list) : 0;

	return r < 0 ? r : add_filled(l, n, v, list);
}
