#include "page.h"

#include <json-c/json.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/embed.h"
#include "common/parse.h"
#include "common/utf8.h"
#include "assets.h"
#include "csv.h"
#include "export.h"
#include "format.h"
#include "template.h"

EMBED(html_error, "fleet_hub/pages/error.html");

enum {
	JSON_DEPTH_MAX = 8192,          /* a context is as deep as PostgreSQL takes it */
	PARAMS_SIZE = 512 * 1024,       /* a search of SEARCH_TEXT_MAX bytes, in ten forms */
};

static void json_p(struct json_object **o)
{
	json_object_put(*o);
}

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

/* The page's own address, for coming back to it. */
static void set_here(struct json_object *page, const struct request *r)
{
	struct buf here = BUF(HTTP_QUERY_MAX * 4);
	bool ok = buf_adds(&here, r->base);

	for (const char *c = r->path; *c && ok; c++)
		ok = *c == '/' ? buf_addc(&here, '/') : http_encode(&here, (struct text){ c, 1 });
	for (size_t i = 0; i < r->n_params && ok; i++)
		ok = buf_addc(&here, i ? '&' : '?') && http_encode(&here, text_of(r->param[i].name)) &&
		     buf_addc(&here, '=') && http_encode(&here, text_of(r->param[i].value));
	set_text(page, "here", ok && buf_cstr(&here) ? here.data : "/");
	buf_free(&here);
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
	set_here(page, r);
	set_params(page, r);
	json_object_object_add(data, "page", page);
}

/* ---- saying no -------------------------------------------------------------------------------------- */

static enum form wanted_form(const struct request *r)
{
	static const struct { const char *name; enum form form; } names[] = {
		{ "json", FORM_JSON }, { "csv", FORM_CSV }, { "ndjson", FORM_NDJSON },
	};
	const char *format = request_param(r, "format");

	if (!format || !*format || strcmp(format, "html") == 0) {
		bool json =
			!format && strstr(r->accept, "application/json") && !strstr(r->accept, "text/html");

		return json ? FORM_JSON : FORM_HTML;
	}
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(format, names[i].name) == 0)
			return names[i].form;
	return FORM_UNKNOWN;
}

static struct json_object *error_object(int status, const char *title, const char *sentence, const char *help)
{
	struct json_object *error = json_object_new_object();

	json_object_object_add(error, "status", json_object_new_int(status));
	set_text(error, "title", title);
	set_text(error, "message", sentence);
	if (help)
		set_text(error, "help", help);
	return error;
}

void page_error(const struct request *r, struct response *s, int status, const char *title,
		const char *sentence, const char *help)
{
	CLEANUP(json_p) struct json_object *data = json_object_new_object();
	const char *text;
	struct err e;

	s->status = status;
	buf_reset(&s->body);
	json_object_object_add(data, "error", error_object(status, title, sentence, help));
	if (r->data_only || wanted_form(r) == FORM_JSON) {
		s->type = "application/json";
		text = json_object_to_json_string_ext(data, JSON_C_TO_STRING_NOSLASHESCAPE);
		buf_adds(&s->body, text);
		return;
	}
	s->type = "text/html; charset=utf-8";
	set_page(data, r, "error");
	if (render(r, (struct text){ html_error, (size_t)html_error_len }, data, &s->body, &e) < 0)
		fprintf(stderr, "fleet_hub: error.html: %s\n", e.msg);
}

/* What each failure of the database means to the person who runs the hub. */
static const struct {
	int status;
	const char *title, *sentence, *help;
} failures[] = {
	[DB_OK] = { 500, "", "", NULL },
	[DB_NO_URL] = {
		503, "No database is configured",
		"The hub does not know where PostgreSQL is.",
		"Set database_url in /etc/observ/hub.conf, then systemctl restart fleet-hub. "
		"Run by a web server as CGI, the hub must be able to read that file, or have "
		"OBSERV_DATABASE_URL in its environment." },
	[DB_BAD_URL] = {
		503, "The database address is not valid",
		"What is configured is not a PostgreSQL connection string.",
		"Write it as postgresql://observ_hub@host/observ_metrics or as key=value "
		"pairs; psql must accept the same text. Then systemctl restart fleet-hub." },
	[DB_AWAY] = {
		503, "The database is away",
		"PostgreSQL does not answer. The agents keep what they collect and send it "
		"when it is back.",
		"Look at the server: pg_isready, systemctl status postgresql. The reason "
		"stands in journalctl -u fleet-hub, or the web server's error log." },
	[DB_DENIED] = {
		503, "The database refuses the hub",
		"The hub's role may not sign in, may not read, or names a database that is "
		"not there.",
		"The reason stands in journalctl -u fleet-hub, or the web server's error log."
		" As the database's owner: GRANT observ_hub TO the hub's role. After a change"
		" of hub.conf: systemctl restart fleet-hub." },
	[DB_SCHEMA] = {
		503, "The database has no Observ schema of this version",
		"Tables or functions that this hub needs are missing.",
		"psql observ_metrics < schema.sql" },
	[DB_TIMEOUT] = {
		504, "That took too long",
		"The database did not finish within the time limit of a page.",
		"Narrow the range: choose a shorter time, an application or a server, or a "
		"rarer word." },
	[DB_TOO_BIG] = {
		500, "That is too much for one page",
		"The answer is larger than the hub's limit for a page.",
		"Narrow the range: choose a shorter time, an application or a server. Lines "
		"of logs come whole with format=ndjson or format=csv in the address." },
	[DB_FAILED] = {
		500, "The hub made a mistake",
		"The question to the database failed.",
		"The reason stands in the web server's error log; please report it." },
};

static void database_error(const struct request *r, struct response *s, enum db_failure why)
{
	page_error(r, s, failures[why].status, failures[why].title, failures[why].sentence,
		   failures[why].help);
}

/* ---- answering -------------------------------------------------------------------------- */

static struct json_object *parse_json(const struct buf *text)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH_MAX);
	struct json_object *data = tok ? json_tokener_parse_ex(tok, text->data, (int)text->len) : NULL;

	if (tok)
		json_tokener_free(tok);
	return data;
}

static bool present(struct json_object *data, const char *member)
{
	struct json_object *v = NULL;

	if (!member)
		return true;
	return json_object_object_get_ex(data, member, &v) && v;
}

/* The answer does not fit; `why` says more to the log. */
static void too_much(const struct route *route, const struct request *r, struct response *s, const char *why)
{
	fprintf(stderr, "fleet_hub: %s: %s\n", route->path, why);
	database_error(r, s, DB_TOO_BIG);
}

/* The head of a table that is kept as a file. */
static void set_file(const struct route *route, struct response *s, enum form form)
{
	char disposition[96];

	s->status = 200;
	s->type = form == FORM_CSV ? "text/csv; charset=utf-8; header=present" : "application/x-ndjson";
	snprintf(disposition, sizeof disposition, "attachment; filename=\"observ-%s.%s\"", route->name,
		 form == FORM_CSV ? "csv" : "ndjson");
	response_header(s, "Content-Disposition", disposition);
}

static void send_html(const struct route *route, const struct request *r, struct json_object *data,
		      struct response *s)
{
	struct err e;

	if (route->decorate)
		route->decorate(r, data);
	set_page(data, r, route->name);
	s->status = 200;
	s->type = "text/html; charset=utf-8";
	if (render(r, (struct text){ route->html, (size_t)*route->html_len }, data, &s->body, &e) == 0)
		return;
	too_much(route, r, s, e.msg);
}

static void send_csv(const struct route *route, const struct request *r, struct json_object *data,
		     struct response *s)
{
	if (csv_write(data, route->rows, route->children, &s->body))
		set_file(route, s, FORM_CSV);
	else
		too_much(route, r, s, "the table is larger than its limit");
}

static void send_form(const struct route *route, const struct request *r, const struct params *p,
		      struct buf *text, struct response *s)
{
	CLEANUP(json_p) struct json_object *data = parse_json(text);

	if (!json_object_is_type(data, json_type_object)) {
		fprintf(stderr,
			"fleet_hub: %s: the database's answer is no JSON object, or is nested too deeply\n",
			route->path);
		page_error(r, s, 500, "The hub made a mistake", "The database's answer is not a JSON object.",
			   NULL);
		return;
	}
	if (!present(data, route->must_have)) {
		page_error(r, s, 404, route->missing ? "Not there" : "Nothing of that name",
			   route->missing ? route->missing : "The database knows nothing of that name.",
			   NULL);
		return;
	}
	if (p->form == FORM_HTML) {
		send_html(route, r, data, s);
	} else if (p->form == FORM_CSV) {
		send_csv(route, r, data, s);
	} else {
		s->status = 200;
		s->type = "application/json";
		if (!buf_add(&s->body, text->data, text->len))
			too_much(route, r, s, "the answer is larger than its limit");
	}
}

static enum form form_of(const struct route *route, const struct request *r)
{
	enum form form = wanted_form(r);

	if (!route->html && form == FORM_HTML)
		return FORM_JSON;
	if ((form == FORM_CSV && !route->rows && !route->rows_sql) ||
	    (form == FORM_NDJSON && !route->rows_sql))
		return FORM_UNKNOWN;
	return form;
}

/* The rows as a file. What it is limited to is said before it comes. */
static void send_rows(const struct route *route, const struct request *r, const struct params *p,
		      struct db *db, struct response *s)
{
	const struct db_question question = { route->rows_sql, p->n, p->v, route->timeout_ms };
	enum db_failure failure;
	char rows[16];
	struct err e;

	set_file(route, s, p->form);
	snprintf(rows, sizeof rows, "%d", EXPORT_ROWS_MAX);
	response_header(s, "Observ-Rows-Max", rows);
	if (r->method == HTTP_HEAD) {
		response_begin(s);
		return;
	}
	failure = export_rows(db, &question, p->form == FORM_CSV ? EXPORT_CSV : EXPORT_NDJSON, s, &e);
	if (failure) {
		buf_reset(&s->headers);
		database_error(r, s, failure);
	}
}

/* Ask, and join the members of the object that comes to those in `text`. */
static enum db_failure ask_part(struct db *db, const struct route *route, const struct params *p,
				const struct part *part, struct buf *text)
{
	CLEANUP(buf_free) struct buf answer = BUF(HTTP_BODY_MAX);
	const struct db_question question = { part->sql, part->n_params, p->v, route->timeout_ms };
	struct err e;
	enum db_failure failure = db_ask(db, &question, &answer, &e);

	if (failure)
		return failure;
	text->len--;                            /* the closing brace */
	return buf_addc(text, ',') && buf_add(text, answer.data + 1, answer.len - 1) ? DB_OK : DB_TOO_BIG;
}

static void send_page(const struct route *route, struct request *r, const struct params *p, struct db *db,
		      struct response *s)
{
	CLEANUP(buf_free) struct buf text = BUF(HTTP_BODY_MAX);
	const struct db_question question = { route->sql, p->n, p->v, route->timeout_ms };
	enum db_failure failure;
	struct err e;

	failure = route->sql ? db_ask(db, &question, &text, &e)
			     : buf_adds(&text, "{}") ? DB_OK : DB_FAILED;
	for (size_t i = 0; i < ROUTE_MORE_MAX && route->more[i].sql && !failure; i++)
		failure = ask_part(db, route, p, &route->more[i], &text);
	if (failure)
		database_error(r, s, failure);
	else
		send_form(route, r, p, &text, s);
}

void page_answer(const struct route *route, struct request *r, struct db *db, struct response *s)
{
	CLEANUP(params_free) struct params p = {
		.request = r, .rest = r->path + strcspn(route->path, "*"), .form = form_of(route, r),
		.arena = ARENA(PARAMS_SIZE),
	};
	struct err e;

	r->data_only = !route->html;
	if (p.form == FORM_UNKNOWN)
		page_error(r, s, 400, "No such format",
			   "This page comes as html, json or, where it is a table, csv; lines of logs as "
			   "ndjson, too.",
			   NULL);
	else if (params_read(&p, route->params, &e) < 0)
		page_error(r, s, e.code, "That can't be read", e.msg, NULL);
	else if (route->rows_sql && (p.form == FORM_CSV || p.form == FORM_NDJSON))
		send_rows(route, r, &p, db, s);
	else
		send_page(route, r, &p, db, s);
}
