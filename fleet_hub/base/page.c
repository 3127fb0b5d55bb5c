#include "page.h"

#include "common/cleanup.h"
#include "common/embed.h"
#include "common/json/json.h"
#include "common/parse.h"
#include "fleet_hub/view/view.h"
#include "hash_slot.h"
#include "parts.h"
#include "refusal.h"
#include "show.h"

EMBED(sql_authorize, "fleet_hub/base/authorize.sql");
EMBED(sql_admit_server, "fleet_hub/base/admit_server.sql");
EMBED(sql_charge_refusal, "fleet_hub/base/charge_refusal.sql");
EMBED(sql_open_alerts, "fleet_hub/base/open_alerts.sql");
EMBED(sql_count_search, "fleet_hub/base/count_search.sql");

enum {
	PARAMS_SIZE = 512 * 1024, /* a search of SEARCH_TEXT_MAX bytes, in ten forms */
	POST_LARGE = 16 * 1024,   /* bytes: to read such a post costs more than to ask whose it is */
};

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
		struct json_object *who = json_object_object_get(said, "me");

		r->who.me = arena_dup(&r->arena, text_of(json_object_to_json_string(who)));
		r->who.not_noted = is_true(who, "not_noted");
		r->who.is_operator = is_true(who, "operator");
		r->who.alerts = number_of(json_object_object_get(said, "open"), "alerts");
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
		show_answer(route, r, p, &text, s);
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
	show_answer(route, r, p, text, s);
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
		.form = show_form(route, r),
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
	else if (route->rows_sql && show_is_file(p.form))
		show_rows(route, r, &p, db, s);
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
