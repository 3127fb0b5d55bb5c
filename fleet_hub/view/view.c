#include "view.h"

#include <json-c/json.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/parse.h"
#include "common/utf8.h"
#include "assets.h"
#include "format.h"
#include "common/template/template.h"

/* ---- what the templates may call ------------------------------------------------------------ */

static struct text partial(const void *ctx, struct text name)
{
	(void)ctx;
	return asset_partial(name);
}

static template_formatter *formatter(const void *ctx, struct text name)
{
	(void)ctx;
	return format_find(name);
}

static int render(const struct request *r, struct text html, struct json_object *data, struct buf *out,
		  struct err *e)
{
	struct template_env env = { .partial = partial, .formatter = formatter, .ctx = r };

	return template_render(html, data, &env, out, e);
}

/* ---- "page": what every template sees beside the data ------------------------------------------ */

static void set_text(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

bool view_here(struct buf *out, const struct request *r, const char *next_name, const char *next)
{
	bool ok = buf_adds(out, r->base), first = true;

	for (const char *c = r->path; *c && ok; c++)
		ok = *c == '/' ? buf_addc(out, '/') : http_encode(out, (struct text){ c, 1 });
	for (size_t i = 0; i < r->n_query && ok; i++) {
		if (next_name && strcmp(r->param[i].name, next_name) == 0)
			continue;
		ok = buf_addc(out, first ? '?' : '&') && http_encode(out, text_of(r->param[i].name)) &&
		     buf_addc(out, '=') && http_encode(out, text_of(r->param[i].value));
		first = false;
	}
	if (next_name && ok)
		ok = buf_addc(out, first ? '?' : '&') && buf_adds(out, next_name) && buf_addc(out, '=') &&
		     http_encode(out, text_of(next));
	return ok && buf_cstr(out);
}

/* For coming back to it. */
static void set_here(struct json_object *page, const struct request *r)
{
	CLEANUP(buf_free) struct buf here = BUF(HTTP_QUERY_MAX * 4);

	set_text(page, "here", view_here(&here, r, NULL, NULL) ? here.data : "/");
}

/* Who looks at the page, and what his forms carry. */
static void set_me(struct json_object *page, const struct request *r)
{
	if (r->who.me)
		json_object_object_add(page, "me", json_tokener_parse(r->who.me));
	if (r->who.csrf[0])
		set_text(page, "csrf", r->who.csrf);
}

/* Each parameter's value under its name, and {name: {value: true}} under "is" for
 * what a template has to compare. */
static void set_params(struct json_object *page, const struct request *r)
{
	struct json_object *values = json_object_new_object(), *is = json_object_new_object();

	for (size_t i = r->n_params; i-- > 0;) {
		struct json_object *one = json_object_new_object();

		set_text(values, r->param[i].name, r->param[i].value);
		json_object_object_add(one, r->param[i].value, json_object_new_boolean(true));
		json_object_object_add(is, r->param[i].name, one);
	}
	json_object_object_add(page, "param", values);
	json_object_object_add(page, "is", is);
}

/* What a browser's tab shows: the server, or what is searched for. */
static void set_title(struct json_object *page, const struct request *r, const char *name)
{
	enum { SHOWN_MAX = 60 };
	bool server = strcmp(name, "server") == 0;
	const char *q = request_param(r, "q"), *what = server ? r->path + strlen("/servers/") : q ? q : "";
	int n = (int)utf8_cut(what, strlen(what), SHOWN_MAX);
	char title[96];

	if (server)
		snprintf(title, sizeof title, "%.*s", n, what);
	else if (*what)
		snprintf(title, sizeof title, "%.*s: %s", n, what, name);
	else
		snprintf(title, sizeof title, "%c%s", name[0] - 'a' + 'A', name + 1);
	set_text(page, "title", title);
}

/* A section goes through a list: that there is one at all is said under "has". */
static void set_lists(struct json_object *page, struct json_object *data)
{
	struct json_object *has = json_object_new_object();

	for (struct lh_entry *m = json_object_get_object(data)->head; m; m = m->next) {
		struct json_object *value = lh_entry_v(m);

		if (json_object_is_type(value, json_type_array) && json_object_array_length(value) > 0)
			json_object_object_add(has, lh_entry_k(m), json_object_new_boolean(true));
	}
	json_object_object_add(page, "has", has);
}

static void set_page(struct json_object *data, const struct request *r, const char *name)
{
	struct json_object *page = json_object_new_object();
	char now[RFC3339_SIZE], on[32];

	set_text(page, "base", r->base);
	set_text(page, "path", r->path);
	set_text(page, "theme", r->theme);
	set_text(page, "name", name);
	set_text(page, "version", OBSERV_VERSION);
	format_rfc3339(now, wall_us());
	set_text(page, "now", now);
	snprintf(on, sizeof on, "on_%s", name);
	json_object_object_add(page, on, json_object_new_boolean(true));
	snprintf(on, sizeof on, "theme_%s", r->theme);
	json_object_object_add(page, on, json_object_new_boolean(true));
	set_lists(page, data);
	set_title(page, r, name);
	if (r->who.alerts > 0)
		json_object_object_add(page, "alerts", json_object_new_int(r->who.alerts));
	set_here(page, r);
	set_me(page, r);
	set_params(page, r);
	json_object_object_add(data, "page", page);
}

/* ---- showing ---------------------------------------------------------------------------------- */

int view_show(const struct request *r, struct response *s, const char *name, struct text html,
	      struct json_object *data, struct err *e)
{
	set_page(data, r, name);
	s->status = 200;
	s->type = "text/html; charset=utf-8";
	return render(r, html, data, &s->body, e);
}

void view_redirect(const struct request *r, struct response *s, const char *back, const char *otherwise)
{
	CLEANUP(buf_free) struct buf address = BUF(HTTP_HEADERS_MAX);

	s->status = 303;
	s->type = "text/plain; charset=utf-8";
	if (back && http_local_path(back) && response_header(s, "Location", back))
		return;
	if (buf_adds(&address, r->base) && buf_adds(&address, otherwise) && buf_cstr(&address))
		response_header(s, "Location", address.data);
}
