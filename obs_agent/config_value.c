/*
 * config_value.c - one value of the file, its variables filled in.
 *
 * A message shows a value as the file has it, never as its variables made it:
 * a secret that lands in the wrong key stays out of the logs.
 */
#include "config_keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <strings.h>

#include "../common/buf.h"
#include "../common/cleanup.h"
#include "../common/utf8.h"

enum { SHOWN_MAX = 100 };               /* bytes of a value in a message */

int config_fail(struct loader *l, const struct yaml_node *n, const char *fmt, ...)
{
	char sentence[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof sentence, fmt, ap);
	va_end(ap);
	return yaml_error(l->e, l->path, n->line, n->column, "%s", sentence);
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
	config_mask_url(raw, masked, sizeof masked);
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

static bool variable_name(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (!(isalpha((unsigned char)t.s[i]) || t.s[i] == '_' || (i > 0 && isdigit((unsigned char)t.s[i]))))
			return false;
	return t.len > 0;
}

static bool valid_utf8(const char *s)
{
	size_t len = strlen(s), n;

	for (; len > 0; s += n, len -= n) {
		n = utf8_sequence(s, len);
		if (n == 0)
			return false;
	}
	return true;
}

static int too_long(struct loader *l, const char *what, const struct yaml_node *n, size_t max)
{
	return config_fail(l, n, "%s is longer than %zu bytes; shorten it", what, max);
}

/* One variable; `rest` begins behind its "${". *ret_len: its length with the "}". */
static int add_variable(struct loader *l, const char *what, const struct yaml_node *n, struct text rest,
			struct buf *out, size_t *ret_len)
{
	const char *close = memchr(rest.s, '}', rest.len), *set;
	struct text name = { rest.s, close ? (size_t)(close - rest.s) : rest.len };
	char copy[QUOTE_SIZE];

	if (!close || !variable_name(name) || name.len >= sizeof copy)
		return config_fail(l, n, "%s has a ${ that is not followed by a variable's name and }; write "
				   "${NAME}, or $${ for the two characters themselves", what);
	snprintf(copy, sizeof copy, "%.*s", (int)name.len, name.s);
	set = getenv(copy);
	if (!set)
		return config_fail(l, n, "%s needs the environment variable %s, which is not set; set it in the "
				   "unit's EnvironmentFile (.env.production)", what, copy);
	if (!valid_utf8(set))
		return config_fail(l, n, "%s: the environment variable %s is not UTF-8; correct its value", what,
				   copy);
	*ret_len = name.len + 1;
	return buf_adds(out, set) ? 0 : too_long(l, what, n, VALUE_MAX);
}

/* "${NAME}" becomes the variable's value, "$${" becomes "${", all else stays. */
static int expand(struct loader *l, const char *what, const struct yaml_node *n, struct buf *out)
{
	struct text t = n->text;

	for (size_t i = 0, step = 0; i < t.len; i += step) {
		struct text rest = { t.s + i, t.len - i };
		int r;

		if (rest.len >= 3 && memcmp(rest.s, "$${", 3) == 0) {
			step = 3;
			r = buf_adds(out, "${") ? 0 : too_long(l, what, n, VALUE_MAX);
		} else if (rest.len >= 2 && memcmp(rest.s, "${", 2) == 0) {
			r = add_variable(l, what, n, (struct text){ rest.s + 2, rest.len - 2 }, out, &step);
			step += 2;
		} else {
			step = 1;
			r = buf_addc(out, *rest.s) ? 0 : too_long(l, what, n, VALUE_MAX);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_null(const struct yaml_node *n)
{
	return n->plain && (n->text.len == 0 || strcmp(n->text.s, "~") == 0 || strcasecmp(n->text.s, "null") == 0);
}

static const char *kind_word(const struct yaml_node *n)
{
	return n->kind == NODE_LIST ? "a list" : "a map of keys";
}

int config_value(struct loader *l, const char *what, const struct yaml_node *n, struct value *ret)
{
	CLEANUP(buf_free) struct buf out = BUF(VALUE_MAX);
	int r;

	if (n->kind != NODE_TEXT)
		return config_fail(l, n, "%s must be one value, not %s; write the value itself", what,
				   kind_word(n));
	if (is_null(n))
		return config_fail(l, n, "%s has no value; write one, or remove the line", what);
	if (memchr(n->text.s, '\0', n->text.len))
		return config_fail(l, n, "%s contains a NUL character (\\0); remove it", what);
	r = expand(l, what, n, &out);
	if (r < 0)
		return r;
	config_quote(n->text, ret->shown);
	if (out.len == 0)
		return config_fail(l, n, "%s %s is empty; give it a value, or remove the line", what, ret->shown);
	return config_keep(l, n, (struct text){ out.data, out.len }, (const char **)&ret->s);
}

int config_line(struct loader *l, const char *what, const struct yaml_node *n, size_t max, struct value *ret)
{
	int r = config_value(l, what, n, ret);

	if (r < 0)
		return r;
	if (strlen(ret->s) > max)
		return too_long(l, what, n, max);
	for (const char *c = ret->s; *c; c++)
		if (iscntrl((unsigned char)*c))
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
