#include "refusal.h"

#include "common/cleanup.h"
#include "common/embed.h"
#include "common/json/json.h"
#include "fleet_hub/view/view.h"
#include "params.h"

EMBED(html_error, "fleet_hub/pages/error.html");

enum { RETRY_SECONDS = 5 /* when the database is away */, DETAIL_DEPTH_MAX = 32 };

static void set_text(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

/* RFC 9457. */
static struct json_object *problem(int status, const char *title, const char *sentence, const char *help)
{
	struct json_object *error = json_object_new_object();

	set_text(error, "type", "about:blank");
	json_object_object_add(error, "status", json_object_new_int(status));
	set_text(error, "title", title);
	set_text(error, "detail", sentence);
	if (help)
		set_text(error, "help", help);
	return error;
}

static void send_page(const struct request *r, struct response *s, struct json_object *error)
{
	CLEANUP(json_p) struct json_object *data = json_object_new_object();
	const struct text html = { html_error, (size_t)html_error_len };
	struct err e;

	json_object_object_add(data, "error", json_object_get(error));
	if (view_show(r, s, "error", html, data, &e) < 0)
		fprintf(stderr, "fleet_hub: error.html: %s\n", e.msg);
}

/* Takes `error` over. */
static void send_problem(const struct request *r, struct response *s, int status, struct json_object *error)
{
	buf_reset(&s->body);
	if (r->data_only || form_wanted(r) == FORM_JSON) {
		s->type = "application/problem+json";
		buf_adds(&s->body, json_object_to_json_string_ext(error, JSON_C_TO_STRING_NOSLASHESCAPE));
	} else {
		send_page(r, s, error);
	}
	json_object_put(error);
	s->status = status;
}

void refuse_with(const struct request *r, struct response *s, int status, const char *title,
		 const char *sentence, const char *help)
{
	send_problem(r, s, status, problem(status, title, sentence, help));
}

/* A browser that opens a page is sent to sign in, and back. */
static bool send_to_sign_in(const struct request *r, struct response *s)
{
	CLEANUP(buf_free) struct buf here = BUF(HTTP_QUERY_MAX * 4), there = BUF(HTTP_HEADERS_MAX);

	if (r->data_only || !(r->method & (HTTP_GET | HTTP_HEAD)) || !strstr(r->accept, "text/html") ||
	    !view_here(&here, r, NULL, NULL) || !buf_adds(&there, "/sign-in?back=") ||
	    !http_encode(&there, text_of(here.data)) || !buf_cstr(&there))
		return false;
	view_redirect(r, s, NULL, there.data);
	return true;
}

/* The number that a refusal has under that name; 0: it has none. */
static int detail_number(struct json_object *detail, const char *name)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(detail, name, &v) ? json_object_get_int(v) : 0;
}

void refuse_set_rate(struct response *s, int limit, int rest, int reset)
{
	char number[16];

	snprintf(number, sizeof number, "%d", limit);
	response_header(s, "RateLimit-Limit", number);
	snprintf(number, sizeof number, "%d", rest);
	response_header(s, "RateLimit-Remaining", number);
	snprintf(number, sizeof number, "%d", reset);
	response_header(s, "RateLimit-Reset", number);
}

static void set_refusal_headers(const struct request *r, struct response *s, int status,
				struct json_object *detail)
{
	char number[16];

	if (status == 401)
		response_header(s, "WWW-Authenticate",
				r->who.hash[0] ? "Bearer realm=\"observ\", error=\"invalid_token\""
					       : "Bearer realm=\"observ\"");
	if (status != 429)
		return;
	snprintf(number, sizeof number, "%d", detail_number(detail, "retry_after"));
	response_header(s, "Retry-After", number);
	refuse_set_rate(s, detail_number(detail, "limit"), 0, detail_number(detail, "reset"));
}

void refuse(const struct request *r, struct response *s, const struct err *e, const char *detail_text)
{
	CLEANUP(json_p) struct json_object *detail = json_read(text_of(detail_text), DETAIL_DEPTH_MAX);
	struct json_object *error, *errors = NULL;

	if (e->code == 401 && send_to_sign_in(r, s))
		return;
	set_refusal_headers(r, s, e->code, detail);
	error = problem(e->code, http_reason(e->code), e->msg, NULL);
	if (json_object_object_get_ex(detail, "errors", &errors))
		json_object_object_add(error, "errors", json_object_get(errors));
	if (e->code == 401)
		json_object_object_add(error, "sign_in", json_object_new_boolean(true));
	send_problem(r, s, e->code, error);
}

/* What each failure of the database means to the person who runs the hub. */
static const struct {
	int status;
	const char *title, *sentence, *help;
} failures[] = {
	[DB_OK] = { 500, "", "", NULL },
	[DB_NO_URL] = { 503, "No database is configured", "The hub does not know where PostgreSQL is.",
			"Set database_url in /etc/observ/hub.conf, then systemctl restart fleet-hub. "
			"Run by a web server as CGI, the hub must be able to read that file, or have "
			"OBSERV_DATABASE_URL in its environment." },
	[DB_BAD_URL] = { 503, "The database address is not valid",
			 "What is configured is not a PostgreSQL connection string.",
			 "Write it as postgresql://observ_hub@host/observ_metrics or as key=value "
			 "pairs; psql must accept the same text. Then systemctl restart fleet-hub." },
	[DB_AWAY] = { 503, "The database is away",
		      "PostgreSQL does not answer, or takes no more connections. The agents keep what "
		      "they collect and send it when it is back. Alerts are not evaluated meanwhile.",
		      "Look at the server: pg_isready, systemctl status postgresql. The reason "
		      "stands in journalctl -u fleet-hub, or the web server's error log." },
	[DB_DENIED] = { 503, "The database refuses the hub",
			"The hub's role may not sign in, may not read, or names a database that is "
			"not there.",
			"The reason stands in journalctl -u fleet-hub, or the web server's error log."
			" As the database's owner: GRANT observ_hub TO the hub's role. After a change"
			" of hub.conf: systemctl restart fleet-hub." },
	[DB_SCHEMA] = { 503, "The database has no Observ schema of this version",
			"Tables or functions that this hub needs are missing.",
			"As root on the hub's machine: fleet_hub_admin setup. Or by hand: "
			"psql observ_metrics < schema.sql" },
	[DB_TIMEOUT] = { 504, "That took too long",
			 "The database did not finish within the time limit of a page.",
			 "Narrow the range: choose a shorter time, an application or a server, or a "
			 "rarer word." },
	[DB_TOO_BIG] = { 500, "That is too much for one page",
			 "The answer is larger than the hub's limit for a page.",
			 "Narrow the range: choose a shorter time, an application or a server. Lines "
			 "of logs come whole with format=ndjson or format=csv in the address." },
	[DB_FAILED] = { 500, "The hub made a mistake", "The question to the database failed.",
			"The reason stands in the web server's error log; please report it." },
};

void refuse_database(const struct request *r, struct response *s, enum db_failure why)
{
	char seconds[16];

	snprintf(seconds, sizeof seconds, "%d", RETRY_SECONDS);
	if (failures[why].status == 503)
		response_header(s, "Retry-After", seconds);
	refuse_with(r, s, failures[why].status, failures[why].title, failures[why].sentence,
		    failures[why].help);
}

void refuse_failure(const struct request *r, struct db *db, struct response *s, enum db_failure why,
		    const struct err *e)
{
	if (why == DB_REFUSED)
		refuse(r, s, e, db_detail(db));
	else
		refuse_database(r, s, why);
}
