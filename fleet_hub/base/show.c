#include "show.h"

#include "common/cleanup.h"
#include "common/json/json.h"
#include "export.h"
#include "fleet_hub/http/csv.h"
#include "fleet_hub/view/view.h"
#include "refusal.h"

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

bool show_is_file(enum form form)
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

void show_answer(const struct route *route, const struct request *r, const struct params *p,
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

enum form show_form(const struct route *route, const struct request *r)
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
void show_rows(const struct route *route, const struct request *r, const struct params *p,
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
