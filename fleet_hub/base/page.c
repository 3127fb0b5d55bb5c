#include "page.h"

#include "common/cleanup.h"
#include "common/embed.h"
#include "common/parse.h"
#include "fleet_hub/http/csv.h"
#include "export.h"
#include "hash_slot.h"
#include "parts.h"
#include "refusal.h"
#include "fleet_hub/view/view.h"
#include "fleet_hub/http/json.h"

EMBED(sql_authorize, "fleet_hub/base/authorize.sql");
EMBED(sql_admit_server, "fleet_hub/base/admit_server.sql");
EMBED(sql_charge_refusal, "fleet_hub/base/charge_refusal.sql");
EMBED(sql_open_alerts, "fleet_hub/base/open_alerts.sql");
EMBED(sql_count_search, "fleet_hub/base/count_search.sql");

enum {
	PARAMS_SIZE = 512 * 1024, /* a search of SEARCH_TEXT_MAX bytes, in ten forms */
	POST_LARGE = 16 * 1024,   /* bytes: to read such a post costs more than to ask whose it is */
};

/* ---- showing what was found --------------------------------------------------------------- */

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
	refuse_database(r, s, DB_TOO_BIG);
}

static const struct file_form { const char *type, *ending; enum export_form form; } files[] = {
	[FORM_CSV] = { "text/csv; charset=utf-8; header=present", "csv", EXPORT_CSV },
	[FORM_NDJSON] = { "application/x-ndjson", "ndjson", EXPORT_NDJSON },
	[FORM_LIST] = { "application/json", "json", EXPORT_LIST },
};

static bool is_file(enum form form)
{
	return form == FORM_CSV || form == FORM_NDJSON || form == FORM_LIST;
}

/* The head of a table that is kept as a file. */
static void set_file(const struct route *route, struct response *s, enum form form)
{
	char disposition[96];

	s->status = 200;
	s->type = files[form].type;
	snprintf(disposition, sizeof disposition, "attachment; filename=\"observ-%s.%s\"", route->name,
		 files[form].ending);
	response_header(s, "Content-Disposition", disposition);
}

static void send_html(const struct route *route, const struct request *r, struct json_object *data,
		      struct response *s)
{
	struct err e;

	if (route->decorate)
		route->decorate(r, data);
	if (view_show(r, s, route->name, (struct text){ route->html, (size_t)*route->html_len }, data, &e) <
	    0)
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

/* A list that goes on says where. */
static void set_next(const struct route *route, const struct request *r, struct json_object *data,
		     struct response *s)
{
	CLEANUP(buf_free) struct buf link = BUF(HTTP_HEADERS_MAX / 2);
	struct json_object *next = NULL;

	if (!json_object_object_get_ex(data, "next", &next) || !next)
		return;
	if (buf_addc(&link, '<') && view_here(&link, r, route->next, json_object_get_string(next)) &&
	    buf_adds(&link, ">; rel=\"next\"") && buf_cstr(&link))
		response_header(s, "Link", link.data);
}

/* So that a later write can say which state it means. */
static void set_version(struct json_object *data, struct response *s)
{
	struct json_object *version = NULL;
	char tag[32];

	if (!json_object_object_get_ex(data, "version", &version))
		return;
	snprintf(tag, sizeof tag, "\"%lld\"", (long long)json_object_get_int64(version));
	response_header(s, "ETag", tag);
}

/* The data as they came, but for what the view leaves out. */
static void send_json(const struct route *route, const struct request *r, const struct params *p,
		      struct json_object *data, const struct buf *text, struct response *s)
{
	bool changed = p->row_view.data && p->row_view.data(p->row_view.ctx, data);

	s->status = 200;
	s->type = "application/json";
	if (changed ? !buf_adds(&s->body,
				json_object_to_json_string_ext(data, JSON_C_TO_STRING_NOSLASHESCAPE))
		    : !buf_add(&s->body, text->data, text->len))
		too_much(route, r, s, "the answer is larger than its limit");
}

static void send_form(const struct route *route, const struct request *r, const struct params *p,
		      struct buf *text, struct response *s)
{
	CLEANUP(json_p) struct json_object *data = json_of(text);

	if (!json_object_is_type(data, json_type_object)) {
		fprintf(stderr,
			"fleet_hub: %s: the database's answer is no JSON object, or is nested too deeply\n",
			route->path);
		refuse_with(r, s, 500, "The hub made a mistake",
			    "The database's answer is not a JSON object.", NULL);
		return;
	}
	if (route->next)
		set_next(route, r, data, s);
	if (route->has_version)
		set_version(data, s);
	if (!present(data, route->must_have)) {
		refuse_with(r, s, 404, route->missing ? "Not there" : "Nothing of that name",
			    route->missing ? route->missing : "The database knows nothing of that name.",
			    NULL);
		return;
	}
	if (p->form == FORM_HTML)
		send_html(route, r, data, s);
	else if (p->form == FORM_CSV)
		send_csv(route, r, data, s);
	else
		send_json(route, r, p, data, text, s);
}

static enum form form_of(const struct route *route, const struct request *r)
{
	enum form form = form_wanted(r);
	const char *rows = request_param(r, "rows");

	if (!route->html && !route->then && form == FORM_HTML)
		return FORM_JSON;
	if (form == FORM_JSON && route->rows_sql && rows && strcmp(rows, "all") == 0)
		return FORM_LIST;
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
	const struct export_kind kind = { files[p->form].form, route->rows, &p->row_view };
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
	failure = export_rows(db, &question, &kind, s, &e);
	if (failure) {
		buf_reset(&s->headers);
		refuse_failure(r, db, s, failure, &e);
	}
}

/* ---- reading and writing ------------------------------------------------------------------ */

static int timeout_of(const struct route *route)
{
	return route->timeout_ms ? route->timeout_ms : PAGE_TIMEOUT_MS;
}

/* A stranger's post is not read: a large one takes the hub a tenth of a second. */
static enum db_failure admit_server(const struct request *r, struct db *db, struct err *e)
{
	CLEANUP(buf_free) struct buf answer = BUF(64);
	const char *params[] = { r->who.hash };
	const struct db_question question = { sql_admit_server, 1, params, PAGE_TIMEOUT_MS };

	return r->body.len < POST_LARGE ? DB_OK : db_ask(db, &question, &answer, e);
}

static bool is_true(const struct json_object *data, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(data, name, &value) && json_object_get_boolean(value);
}

static int number_of(struct json_object *data, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(data, name, &value) ? json_object_get_int(value) : 0;
}

/* A page says in its title how many alerts fire, to those who show nothing, too. */
static enum db_failure ask_open_alerts(const struct route *route, struct request *r, struct db *db,
				       struct err *e)
{
	CLEANUP(buf_free) struct buf text = BUF(256);
	CLEANUP(json_p) struct json_object *said = NULL;
	const struct db_question question = { sql_open_alerts, 0, NULL, timeout_of(route) };
	enum db_failure failure = DB_OK;

	if (!route->html || !route->sql || form_wanted(r) != FORM_HTML)
		return DB_OK;
	failure = db_ask(db, &question, &text, e);
	if (failure == DB_OK) {
		said = json_of(&text);
		r->who.alerts = number_of(said, "alerts");
	}
	return failure;
}

/* Let the database say who asks, and whether he may; the template gets to know, too. What a server's token is
 * good for is decided by the function that it is handed to. */
static enum db_failure admit(const struct route *route, struct request *r, struct db *db, struct err *e)
{
	static const char *const names[] = {
		[ROLE_VIEWER] = "viewer",
		[ROLE_OPERATOR] = "operator",
		[ROLE_ADMIN] = "admin",
	};
	CLEANUP(buf_free) struct buf me = BUF(PARAMS_SIZE);
	bool by_user = route->role >= ROLE_VIEWER && route->role <= ROLE_ADMIN && !r->who.anonymous;
	const char *params[] = { r->who.hash, by_user ? names[route->role] : NULL };
	const struct db_question question = { sql_authorize, 2, params, timeout_of(route) };
	enum db_failure failure = by_user                     ? db_ask(db, &question, &me, e)
				  : route->role == ROLE_SERVER ? admit_server(r, db, e)
				  : r->who.anonymous           ? ask_open_alerts(route, r, db, e) : DB_OK;

	if (by_user && failure == DB_OK) {
		CLEANUP(json_p) struct json_object *said = json_of(&me);

		r->who.me = arena_dup(&r->arena, (struct text){ me.data, me.len });
		r->who.not_noted = is_true(said, "not_noted");
		r->who.is_operator = is_true(said, "operator");
		r->who.alerts = number_of(said, "alerts");
	}
	return failure;
}

static void send_page(const struct route *route, struct request *r, const struct params *p, struct db *db,
		      struct response *s)
{
	CLEANUP(buf_free) struct buf text = BUF(HTTP_BODY_MAX);
	const struct db_question question = { route->sql, p->n, p->v, timeout_of(route) };
	enum db_failure failure;
	struct err e;

	failure = route->sql ? db_ask(db, &question, &text, &e) : buf_adds(&text, "{}") ? DB_OK : DB_FAILED;
	if (failure == DB_OK)
		failure = parts_ask(db, route, p, &text, &e);
	if (failure)
		refuse_failure(r, db, s, failure, &e);
	else
		send_form(route, r, p, &text, s);
}

/* What is told once, and kept nowhere. */
static void add_secrets(const struct request *r, struct buf *text)
{
	if (r->new_token[0] && text->len > 1) {
		text->len--;
		buf_addf(text, ", \"token\": \"%s\"}", r->new_token);
	}
	if (r->new_password[0] && text->len > 1) {
		text->len--;
		buf_addf(text, ", \"password\": \"%s\"}", r->new_password);
	}
}

static void send_done(const struct route *route, const struct request *r, const struct params *p,
		      struct buf *text, struct response *s)
{
	const char *back = request_param(r, "back");

	if (route->then && p->form == FORM_HTML) {
		view_redirect(r, s, back, route->then);
		return;
	}
	if (route->status == 204) {
		s->status = 204;
		return;
	}
	add_secrets(r, text);
	send_form(route, r, p, text, s);
	if (s->status == 200 && route->status)
		s->status = route->status;
}

/* What the limit of what was just counted leaves. */
static void tell_rate(const struct db *db, struct response *s)
{
	const char *at = db_rate(db);
	int64_t n[3];

	for (size_t i = 0; i < 3; i++) {
		size_t len = strcspn(at, ",");

		if (!parse_i64((struct text){ at, len }, &n[i]))
			return;
		at += len + (at[len] == ',');
	}
	refuse_set_rate(s, (int)n[0], (int)n[1], (int)n[2]);
}

static void send_change(const struct route *route, struct request *r, const struct params *p, struct db *db,
			struct response *s)
{
	CLEANUP(buf_free) struct buf text = BUF(HTTP_BODY_MAX);
	const struct db_question question = { route->sql, p->n, p->v, timeout_of(route) };
	struct err e;
	enum db_failure failure = db_change(db, &question, &text, &e);

	if (failure) {
		refuse_failure(r, db, s, failure, &e);
		return;
	}
	tell_rate(db, s);
	send_done(route, r, p, &text, s);
}

/* What a parameter refuses, in the form of a refusal of the database. */
static void params_failed(const struct request *r, const struct params *p, struct response *s,
			  const struct err *e)
{
	CLEANUP(json_p) struct json_object *detail = json_object_new_object();
	struct json_object *errors = json_object_new_array(), *error;

	json_object_object_add(detail, "errors", errors);
	if (p->field) {
		error = json_object_new_object();
		json_object_object_add(error, "field", json_object_new_string(p->field));
		json_object_object_add(error, "message", json_object_new_string(e->msg));
		json_object_array_add(errors, error);
	}
	refuse(r, s, e, p->field ? json_object_to_json_string(detail) : "");
}

static void answer_form(const struct route *route, struct request *r, struct db *db, struct response *s)
{
	CLEANUP(params_free)
	struct params p = {
		.request = r,
		.rest = r->rest,
		.form = form_of(route, r),
		.arena = ARENA(PARAMS_SIZE),
	};
	struct err e;

	if (p.form == FORM_UNKNOWN)
		refuse_with(r, s, 400, "No such format",
			    "This page comes as html, json or, where it is a table, csv; lines of logs as "
			    "ndjson, too.",
			    NULL);
	else if (params_read(&p, route->params, &e) < 0)
		params_failed(r, &p, s, &e);
	else if (!(route->methods & HTTP_GET))
		send_change(route, r, &p, db, s);
	else if (route->rows_sql && is_file(p.form))
		send_rows(route, r, &p, db, s);
	else
		send_page(route, r, &p, db, s);
}

/* Committed before the search begins, so that one does not wait for another. Requests without sign-in come
 * from this machine, and are not counted. */
static enum db_failure count_search(const struct request *r, struct db *db, struct response *s, struct err *e)
{
	CLEANUP(buf_free) struct buf answer = BUF(64);
	const char *params[] = { r->who.hash };
	const struct db_question question = { sql_count_search, 1, params, PAGE_TIMEOUT_MS };
	enum db_failure failure = db_change(db, &question, &answer, e);

	if (failure == DB_OK)
		tell_rate(db, s);
	return failure;
}

/* A refusal undoes its count: count it now. Who showed no token that is one is known by nothing. */
static void charge_refusal(const struct route *route, const struct request *r, struct db *db, int status)
{
	const char *kind = route->doc.limit ? route->doc.limit : "write";
	CLEANUP(buf_free) struct buf answer = BUF(64);
	const char *params[] = { r->who.hash, kind };
	const struct db_question question = { sql_charge_refusal, 2, params, PAGE_TIMEOUT_MS };
	struct err e;

	if (status < 400 || status == 429 || status == 503 || (status == 401 && strcmp(kind, "enroll") != 0))
		return;
	db_end(db);
	db_change(db, &question, &answer, &e);
}

static enum db_failure prepare(const struct route *route, const struct request *r, struct db *db,
			       struct response *s, struct hash_slot *slot, struct err *e)
{
	enum db_failure failure = route->hashes ? hash_slot_take(db, slot, e) : DB_OK;

	if (failure)
		return failure;
	if (route->search && !r->who.anonymous)
		return count_search(r, db, s, e);
	return route->sql && !(route->methods & HTTP_GET) ? db_begin_change(db, timeout_of(route), e) : DB_OK;
}

void page_answer(const struct route *route, struct request *r, struct db *db, struct response *s)
{
	bool writes = !(route->methods & HTTP_GET) && route->sql;
	struct hash_slot slot = { "" };
	struct err e;
	enum db_failure failure = prepare(route, r, db, s, &slot, &e);

	if (failure == DB_OK)
		failure = admit(route, r, db, &e);
	if (failure)
		refuse_failure(r, db, s, failure, &e);
	else if (route->answer)
		route->answer(r, db, s);
	else
		answer_form(route, r, db, s);
	if (writes)
		charge_refusal(route, r, db, s->status);
	hash_slot_give(db, &slot);
}
