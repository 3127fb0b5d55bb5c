/*
 * config_value.c - one value of the file, with its variables expanded.
 *
 * Messages show a value as it is in the file, never expanded: a secret in the wrong key stays out
 * of the logs.
 */
#include "config_keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <strings.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/net/url_mask.h"
#include "common/utf8.h"
#include "credential.h"
#include "env_file.h"

enum { SHOWN_MAX = 100 };               /* bytes of a value in a message */

/* ---- mistakes ------------------------------------------------------------------- */

static size_t kept(const struct config_mistakes *m)
{
	return m->n < CONFIG_MISTAKES_MAX ? m->n : CONFIG_MISTAKES_MAX;
}

void config_mistakes_tell(const struct config_mistakes *m, void (*say)(void *data, const char *sentence),
			  void *data)
{
	char more[64];

	for (size_t i = 0; i < kept(m); i++)
		say(data, m->e[i].msg);
	snprintf(more, sizeof more, "and %zu more %s", m->n - kept(m),
		 m->n - kept(m) == 1 ? "mistake" : "mistakes");
	if (m->n > kept(m))
		say(data, more);
}

static bool is_behind(struct place a, struct place b)
{
	return a.line > b.line || (a.line == b.line && a.column > b.column);
}

/* Insert in the order of the file. If the list is full, drop the last one. */
static void add_mistake(struct loader *l, struct place place, const struct err *e)
{
	struct config_mistakes *m = l->mistakes;
	size_t i = kept(m);

	m->n++;
	for (; i > 0 && is_behind(l->places[i - 1], place); i--)
		if (i < CONFIG_MISTAKES_MAX) {
			m->e[i] = m->e[i - 1];
			l->places[i] = l->places[i - 1];
		}
	if (i < CONFIG_MISTAKES_MAX) {
		m->e[i] = *e;
		l->places[i] = place;
	}
}

int config_fail(struct loader *l, const struct yaml_node *n, const char *fmt, ...)
{
	char sentence[ERR_MSG_MAX];
	struct err e;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof sentence, fmt, ap);
	va_end(ap);
	yaml_error(&e, l->path, n->line, n->column, "%s", sentence);
	add_mistake(l, (struct place){ n->line, n->column }, &e);
	return -EINVAL;
}

void *config_alloc(struct loader *l, const struct yaml_node *n, size_t size)
{
	void *p = arena_alloc(&l->c->arena, size);

	if (!p)
		config_fail(l, n, "the configuration is larger than the agent can keep; shorten it");
	return p;
}

int config_keep(struct loader *l, const struct yaml_node *n, struct text t, const char **ret)
{
	char *copy = config_alloc(l, n, t.len + 1);

	if (!copy)
		return -EINVAL;
	if (t.len)
		memcpy(copy, t.s, t.len);
	*ret = copy;
	return 0;
}

void config_quote(struct text t, char out[QUOTE_SIZE])
{
	char raw[VALUE_MAX + 1], masked[QUOTE_SIZE];
	size_t n = t.len < VALUE_MAX ? t.len : VALUE_MAX, end = 0;

	memcpy(raw, t.s, n);
	raw[n] = '\0';
	url_mask(raw, masked, sizeof masked);
	for (size_t step; end < SHOWN_MAX && masked[end]; end += step) {
		step = utf8_sequence(masked + end, strlen(masked + end));
		if (step == 0)
			break;
		if (iscntrl((unsigned char)masked[end]))
			masked[end] = '?';
	}
	snprintf(out, QUOTE_SIZE, "\"%.*s%s\"", (int)end, masked, masked[end] ? "..." : "");
}

/* ---- ${VAR} -------------------------------------------------------------------- */

static int too_long(struct loader *l, const char *what, const struct yaml_node *n, size_t max)
{
	return config_fail(l, n, "%s is longer than %zu bytes; shorten it", what, max);
}

/* How a credential is encoded in its place. */
enum encoding {
	REFUSED, /* it would be seen there */
	AS_IT_IS,
	IN_URI,   /* %XX */
	IN_PAIRS, /* backslashes, for libpq */
};

/* One value that is being expanded. */
struct filling {
	struct loader *l;
	const struct yaml_node *n;
	const char *what;
	enum encoding encoding;
	struct buf *out;
	const struct filled *filled;    /* so far */
};

static int no_room(const struct filling *f)
{
	return too_long(f->l, f->what, f->n, VALUE_MAX);
}

static int add_environment(struct filling *f, const char *name)
{
	const char *set = env_file_get(name);

	if (!set)
		return config_fail(f->l, f->n,
				   "%s needs the environment variable %s, which is not set; set it in the "
				   "unit's EnvironmentFile (.env.production), and restart the unit",
				   f->what, name);
	if (!utf8_is_clean(text_of(set)))
		return config_fail(f->l, f->n,
				   "%s: the environment variable %s is not UTF-8; correct its value", f->what,
				   name);
	return buf_adds(f->out, set) ? 0 : no_room(f);
}

static int add_credential(struct filling *f, const char *name)
{
	CLEANUP(buf_free) struct buf secret = BUF(CREDENTIAL_MAX);
	struct text t;
	struct err e;
	bool ok;

	if (f->encoding == REFUSED)
		return config_fail(
			f->l, f->n,
			"%s is shown in logs and pages, so it cannot hold a credential; ${CRED:%s} may "
			"stand in postgres_url, in a url, in the value of a header and in notify",
			f->what, name);
	if (credential_read(f->l->c->app, name, &secret, &e) < 0)
		return config_fail(f->l, f->n, "%s needs %s", f->what, e.msg);
	t = (struct text){ secret.data, secret.len };
	if (f->encoding == IN_URI)
		ok = credential_add_uri(f->out, t);
	else if (f->encoding == IN_PAIRS)
		ok = credential_add_pair(f->out, t);
	else
		ok = buf_add(f->out, t.s, t.len);
	return ok ? 0 : no_room(f);
}

/* Note that the bytes since `from` came from outside the file. */
static int note_filled(struct filling *f, size_t from)
{
	struct filled *filled = config_alloc(f->l, f->n, sizeof *filled);

	if (!filled)
		return -EINVAL;
	*filled = (struct filled){ from, f->out->len, f->filled };
	f->filled = filled;
	return 0;
}

/* Expand one variable; `rest` starts after its "${". *ret_len: its length, "}" included. */
static int add_variable(struct filling *f, struct text rest, size_t *ret_len)
{
	const char *close = memchr(rest.s, '}', rest.len);
	struct text name = { rest.s, close ? (size_t)(close - rest.s) : rest.len };
	bool credential = name.len >= 5 && memcmp(name.s, "CRED:", 5) == 0;
	size_t from = f->out->len;
	char copy[QUOTE_SIZE];
	int r;

	*ret_len = name.len + 1;
	if (credential)
		name = (struct text){ name.s + 5, name.len - 5 };
	if (credential && (!close || !credential_name(name)))
		return config_fail(
			f->l, f->n,
			"%s has a ${CRED: that is not followed by a credential's name and }; a name has "
			"at most %d letters, digits, \".\", \"_\" and \"-\"",
			f->what, CREDENTIAL_NAME_MAX);
	if (!close || (!credential && !env_file_is_name(name)) || name.len >= sizeof copy)
		return config_fail(f->l, f->n,
				   "%s has a ${ that is not followed by a variable's name and }; write "
				   "${NAME}, or $${ for the two characters themselves",
				   f->what);
	snprintf(copy, sizeof copy, "%.*s", (int)name.len, name.s);
	r = credential ? add_credential(f, copy) : add_environment(f, copy);
	return r < 0 ? r : note_filled(f, from);
}

/* Replace "${NAME}" by the variable's value, "${CRED:NAME}" by the credential's and "$${" by "${". */
static int expand(struct filling *f)
{
	struct text t = f->n->text;

	for (size_t i = 0, step = 0; i < t.len; i += step) {
		struct text rest = { t.s + i, t.len - i };
		int r;

		if (rest.len >= 3 && memcmp(rest.s, "$${", 3) == 0) {
			step = 3;
			r = buf_adds(f->out, "${") ? 0 : no_room(f);
		} else if (rest.len >= 2 && memcmp(rest.s, "${", 2) == 0) {
			r = add_variable(f, (struct text){ rest.s + 2, rest.len - 2 }, &step);
			step += 2;
		} else {
			step = 1;
			r = buf_addc(f->out, *rest.s) ? 0 : no_room(f);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* Is the value nothing but one credential? That holds a complete URL, encoded already. */
static bool is_one_credential(struct text t)
{
	return t.len > 7 && memcmp(t.s, "${CRED:", 7) == 0 && memchr(t.s, '}', t.len) == t.s + t.len - 1;
}

static enum encoding encoding_of(enum value_form form, struct text t)
{
	if (form != FORM_URL)
		return form == FORM_SECRET ? AS_IT_IS : REFUSED;
	return is_one_credential(t) ? AS_IT_IS : strstr(t.s, "://") ? IN_URI : IN_PAIRS;
}

/* What is wrong with the value as it is in the file, as "what; how to fix it"; NULL: nothing. */
static const char *node_problem(const struct yaml_node *n)
{
	if (n->kind == NODE_LIST)
		return "must be one value, not a list; write the value itself";
	if (n->kind == NODE_MAP)
		return "must be one value, not a map of keys; write the value itself";
	if (n->plain &&
	    (n->text.len == 0 || strcmp(n->text.s, "~") == 0 || strcasecmp(n->text.s, "null") == 0))
		return "has no value; write one, or remove the line";
	if (memchr(n->text.s, '\0', n->text.len))
		return "contains a NUL character (\\0); remove it";
	return NULL;
}

static bool is_line(const char *s)
{
	while (*s && !iscntrl((unsigned char)*s))
		s++;
	return !*s;
}

int config_value(struct loader *l, const char *what, const struct yaml_node *n, enum value_form form,
		 size_t max, struct value *ret)
{
	CLEANUP(buf_free) struct buf out = BUF(VALUE_MAX);
	struct filling f = { l, n, what, REFUSED, &out, NULL };
	const char *problem = node_problem(n);

	if (problem)
		return config_fail(l, n, "%s %s", what, problem);
	f.encoding = encoding_of(form, n->text);
	config_quote(n->text, ret->shown);
	if (expand(&f) < 0)
		return -EINVAL;
	ret->filled = f.filled;
	if (out.len == 0)
		return config_fail(l, n, "%s %s is empty; give it a value, or remove the line", what,
				   ret->shown);
	if (config_keep(l, n, (struct text){ out.data, out.len }, (const char **)&ret->s) < 0)
		return -EINVAL;
	if (out.len > max)
		return too_long(l, what, n, max);
	if (form != FORM_TEXT && !is_line(ret->s))
		return config_fail(l, n, "%s contains a line break or control character; remove it", what);
	return 0;
}

int config_fill_app(struct loader *l, const struct yaml_node *n, struct value *v)
{
	CLEANUP(buf_free) struct buf out = BUF(VALUE_MAX);
	bool ok = true;

	for (const char *s = v->s, *at; ok && *s; s = at + 5) {
		at = strstr(s, "{app}");
		if (!at) {
			ok = buf_adds(&out, s);
			break;
		}
		ok = buf_add(&out, s, (size_t)(at - s)) && buf_adds(&out, l->c->app);
	}
	if (!ok)
		return too_long(l, v->shown, n, VALUE_MAX);
	return config_keep(l, n, (struct text){ out.data, out.len }, (const char **)&v->s);
}
