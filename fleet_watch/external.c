#include "external.h"
#include "question.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/channels/http.h"
#include "common/channels/transfer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/embed.h"
#include "common/json/json.h"
#include "common/json/json_get.h"
#include "common/loop/curl_glue.h"
#include "common/utf8.h"

EMBED(sql_questions, "fleet_watch/sql/questions.sql");
EMBED(sql_answer, "fleet_watch/sql/answer.sql");
EMBED(sql_read_only, "fleet_watch/sql/read_only.sql");
EMBED(sql_select, "fleet_watch/sql/select.sql");

enum {
	WAIT_MS = 1000,   /* of an evaluation, for answers */
	QUERY_S = 5,      /* Prometheus gives a query up then */
	PARALLEL = 8,     /* requests */
	QUERIES_MAX = 64, /* under way at once; the others are asked at the next evaluation */
	ANSWER_MAX = 4 * 1024 * 1024,
	ID_SIZE = 40,
	TIME_SIZE = 48,
};

/* In the order of questions.sql. */
enum column { RULE, KIND, QUESTION, AT, EPOCH };

struct query {
	struct external *external;
	struct query *next;
	char rule[ID_SIZE], at[TIME_SIZE];
	struct transfer *transfer; /* under way, or NULL */
};

struct external {
	struct external_setup s;
	struct curl_glue *glue;
	struct watch_db *side; /* NULL until somebody has a SELECT */
	sd_event_source *timer;
	struct query *first;
	size_t n;
	bool waits; /* ready() is still to come */
	char warned[ERR_MSG_MAX]; /* Prometheus' last warning */
	struct question questions;
};

static void ready(struct external *x)
{
	if (!x->waits)
		return;
	x->waits = false;
	sd_event_source_set_enabled(x->timer, SD_EVENT_OFF);
	x->s.ready(x->s.data);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *data)
{
	(void)s;
	(void)usec;
	ready(data);
	return 0;
}

/* ---- answers ------------------------------------------------------------------------------ */

static void remove_query(struct query *q)
{
	struct external *x = q->external;

	for (struct query **at = &x->first; *at; at = &(*at)->next)
		if (*at == q) {
			*at = q->next;
			break;
		}
	x->n--;
	transfer_cancel(q->transfer);
	free(q);
}

static void on_written(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct query *q = data;
	struct external *x = q->external;

	if (!r && !lost)
		logcore_error(x->s.log, "the database does not take an answer", logcore_kv("rule", q->rule),
			      logcore_kv("error", e->msg));
	remove_query(q);
	if (!x->n)
		ready(x);
}

/* Neither rows nor a problem: the question is asked again. */
static void write_answer(struct query *q, const char *rows, const char *problem)
{
	const char *const params[] = { q->rule, q->at, rows, problem };

	if (rows || problem)
		watch_db_ask(q->external->s.db, sql_answer, 4, params, on_written, q);
	else
		on_written(q, NULL, true, NULL);
}

static void on_selected(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct query *q = data;

	if (r && PQntuples(r) == 1)
		write_answer(q, PQgetvalue(r, 0, 0), NULL);
	else
		write_answer(q, NULL, lost ? NULL : e->msg);
}

/* ---- Prometheus --------------------------------------------------------------------------- */

static void add_row(struct json_object *rows, struct json_object *labels, struct json_object *sample)
{
	struct json_object *row = json_object_new_object();
	struct json_object *value = json_length(sample) == 2 ? json_object_array_get_idx(sample, 1) : NULL;

	json_object_object_add(row, "subject", labels ? json_object_get(labels) : json_object_new_object());
	json_object_object_add(row, "value", json_object_get(value));
	json_object_array_add(rows, row);
}

static const char HISTOGRAMS[] = "vector of histograms";

/* What a result is, in Prometheus' words. "": it is none. */
static const char *type_of(struct json_object *data)
{
	struct json_object *result = json_get(data, "result");

	for (size_t i = 0; i < json_length(result); i++)
		if (json_get(json_object_array_get_idx(result, i), "histogram"))
			return HISTOGRAMS;
	return json_text(data, "resultType");
}

/* Rows of external_values(), of an instant vector or a scalar. NULL: it is neither. */
static struct json_object *rows_of(struct json_object *data)
{
	struct json_object *result = json_get(data, "result"), *rows = json_object_new_array();
	const char *type = type_of(data);

	if (strcmp(type, "scalar") == 0) {
		add_row(rows, NULL, result);
	} else if (strcmp(type, "vector") == 0) {
		for (size_t i = 0; i < json_length(result); i++) {
			struct json_object *series = json_object_array_get_idx(result, i);

			add_row(rows, json_get(series, "metric"), json_get(series, "value"));
		}
	} else {
		json_object_put(rows);
		return NULL;
	}
	return rows;
}

/* What a person does about an answer that is no result. */
static const char *hint_of(long status)
{
	return status == 401 || status == 403
		       ? "; set prometheus_token, or prometheus_user and prometheus_password, in watch.conf"
	       : status >= 300 && status < 400 ? "; set prometheus_url to the address that it redirects to"
	       : status == 404 || status == 405
		       ? "; is prometheus_url right? Its path goes before /api/v1/query"
		       : "";
}

/* Why an answer has no rows, as one sentence. */
static void problem_of(const struct answer *a, struct json_object *answer, char problem[ERR_MSG_MAX])
{
	const char *error = json_text(answer, "error"), *type = type_of(json_get(answer, "data"));

	if (!a->status)
		snprintf(problem, ERR_MSG_MAX, "Prometheus does not answer: %.400s", a->said);
	else if (a->cut)
		snprintf(problem, ERR_MSG_MAX,
			 "Prometheus' answer is larger than %d MiB; aggregate in the query",
			 ANSWER_MAX >> 20);
	else if (*error)
		snprintf(problem, ERR_MSG_MAX, "Prometheus answered with status %ld: %.600s%s", a->status,
			 error, hint_of(a->status));
	else if (*type)
		snprintf(problem, ERR_MSG_MAX,
			 "the query gives a %.40s; it must give an instant vector or a number%s", type,
			 strcmp(type, "matrix") == 0 ? ", so leave out its last [range]"
			 : type == HISTOGRAMS	     ? ", so take histogram_quantile() of it"
						     : "");
	else
		snprintf(problem, ERR_MSG_MAX, "Prometheus answered with status %ld%s%s", a->status,
			 a->status == 200 ? ", but not as Prometheus does; is prometheus_url right?" : "",
			 hint_of(a->status));
}

/* As when a part of its data did not come. The rows count all the same. */
static void log_warnings(struct external *x, const char *rule, struct json_object *answer)
{
	struct json_object *first = json_get(answer, "warnings");
	const char *text =
		json_length(first) ? json_object_get_string(json_object_array_get_idx(first, 0)) : NULL;

	if (!text || strncmp(text, x->warned, sizeof x->warned - 1) == 0)
		return;
	snprintf(x->warned, sizeof x->warned, "%.*s", (int)utf8_cut(text, strlen(text), sizeof x->warned - 1),
		 text);
	logcore_warning(x->s.log, "Prometheus warns of an answer", logcore_kv("rule", rule),
			logcore_kv("warning", x->warned));
}

static void on_prometheus(void *data, const struct answer *a)
{
	struct query *q = data;
	CLEANUP(json_p) struct json_object *answer = json_read(a->body, JSON_TOKENER_DEFAULT_DEPTH);
	bool success = a->status == 200 && !a->cut && strcmp(json_text(answer, "status"), "success") == 0;
	CLEANUP(json_p) struct json_object *rows = success ? rows_of(json_get(answer, "data")) : NULL;
	char problem[ERR_MSG_MAX];

	q->transfer = NULL;
	if (rows)
		log_warnings(q->external, q->rule, answer);
	else
		problem_of(a, answer, problem);
	write_answer(q, rows ? json_object_to_json_string_ext(rows, JSON_C_TO_STRING_PLAIN) : NULL,
		     rows ? NULL : problem);
}

static int prometheus_request(const struct watch_conf *conf, const char *query, const char *epoch,
			      struct request *r, struct err *e)
{
	char *encoded = curl_easy_escape(NULL, query, 0);
	bool ok = encoded && buf_addf(&r->url, "%s/api/v1/query", conf->prometheus_url) &&
		  buf_addf(&r->body, "query=%s&time=%s&timeout=%ds", encoded, epoch, QUERY_S);

	curl_free(encoded);
	if (!ok)
		return err_set(e, ENOMEM, "the query is too long");
	r->trusted = true;
	r->answer_max = ANSWER_MAX;
	if (*conf->prometheus_user) {
		r->user = conf->prometheus_user;
		r->password = conf->prometheus_password;
	}
	return *conf->prometheus_token ? http_header(r, e, "Authorization: Bearer %s", conf->prometheus_token)
				       : 0;
}

static void ask_prometheus(struct query *q, const char *text, const char *epoch)
{
	struct external *x = q->external;
	struct request r;
	struct err e;

	if (!*x->s.conf->prometheus_url) {
		write_answer(q, NULL, "no Prometheus is configured: set prometheus_url in watch.conf");
		return;
	}
	request_init(&r);
	if (prometheus_request(x->s.conf, text, epoch, &r, &e) < 0) {
		request_free(&r);
		write_answer(q, NULL, e.msg);
		return;
	}
	q->transfer = transfer_start(x->glue, watch_conf_limits(x->s.conf), &r, on_prometheus, q, &e);
	if (!q->transfer)
		write_answer(q, NULL, e.msg);
}

/* ---- the second connection ---------------------------------------------------------------- */

static void on_prepared(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct external *x = data;

	if (!r && !lost)
		logcore_error(x->s.log, "the session for SELECTs of rules can't be prepared",
			      logcore_kv("error", e->msg));
}

static void on_side_up(void *data)
{
	struct external *x = data;

	watch_db_ask(x->side, sql_read_only, 0, NULL, on_prepared, x);
}

static void on_side_down(void *data, const struct err *e)
{
	(void)data;
	(void)e; /* the first connection says so */
}

/* Nothing that the query does outlives it: neither what it writes, as lo_create() may in a transaction that
 * is read-only, nor settings and locks of the session, such as the lock by which a watcher leads. */
static void select_alone(struct query *q, const char *text)
{
	struct external *x = q->external;

	watch_db_ask(x->side, "BEGIN READ ONLY", 0, NULL, on_prepared, x);
	watch_db_ask(x->side, sql_select, 1, &text, on_selected, q);
	watch_db_renew(x->side, on_prepared, x);
	watch_db_ask(x->side, sql_read_only, 0, NULL, on_prepared, x);
}

static void ask_database(struct query *q, const char *text)
{
	static const struct watch_db_events events = { on_side_up, on_side_down };
	struct external *x = q->external;
	struct err e;

	if (!x->side &&
	    watch_db_new(x->s.loop, x->s.conf->database_url, x->s.log, &events, x, &x->side, &e) < 0)
		write_answer(q, NULL, e.msg);
	else if (!watch_db_is_up(x->side))
		write_answer(q, NULL, NULL);
	else
		select_alone(q, text);
}

/* ---- questions ---------------------------------------------------------------------------- */

static bool is_asked(const struct external *x, const char *rule)
{
	for (const struct query *q = x->first; q; q = q->next)
		if (strcmp(q->rule, rule) == 0)
			return true;
	return false;
}

static void ask_one(struct external *x, const PGresult *r, int row)
{
	const char *rule = PQgetvalue(r, row, RULE), *query = PQgetvalue(r, row, QUESTION);
	struct query *q = x->n < QUERIES_MAX && !is_asked(x, rule) ? calloc(1, sizeof *q) : NULL;

	if (!q)
		return; /* the next evaluation asks again */
	*q = (struct query){ .external = x, .next = x->first };
	snprintf(q->rule, sizeof q->rule, "%s", rule);
	snprintf(q->at, sizeof q->at, "%s", PQgetvalue(r, row, AT));
	x->first = q;
	x->n++;
	if (strcmp(PQgetvalue(r, row, KIND), "promql") == 0)
		ask_prometheus(q, query, PQgetvalue(r, row, EPOCH));
	else
		ask_database(q, query);
}

static void on_questions(void *data, const PGresult *r, bool lost, const struct err *e)
{
	struct external *x = data;

	question_answered(&x->questions, x->s.log, r, lost, e);
	for (int i = 0; r && i < PQntuples(r); i++)
		ask_one(x, r, i);
	if (!x->n)
		ready(x);
}

void external_ask(struct external *x)
{
	x->waits = true;
	sd_event_source_set_time_relative(x->timer, WAIT_MS * US_PER_MS);
	sd_event_source_set_enabled(x->timer, SD_EVENT_ONESHOT);
	watch_db_ask(x->s.db, sql_questions, 0, NULL, on_questions, x);
}

int external_new(const struct external_setup *s, struct external **ret, struct err *e)
{
	struct external *x = calloc(1, sizeof *x);
	int r;

	if (!x)
		return err_set(e, ENOMEM, "out of memory");
	x->s = *s;
	x->questions.failed = "questions of rules can't be read";
	r = sd_event_add_time_relative(s->loop, &x->timer, CLOCK_MONOTONIC, 0, 10 * US_PER_MS, on_timer, x);
	if (r >= 0)
		r = sd_event_source_set_enabled(x->timer, SD_EVENT_OFF);
	if (r < 0)
		err_set(e, -r, "cannot make a timer: %s", strerror(-r));
	else
		r = curl_glue_new(s->loop, PARALLEL, &x->glue, e);
	if (r < 0) {
		external_free(x);
		return r;
	}
	*ret = x;
	return 0;
}

void external_free(struct external *x)
{
	if (!x)
		return;
	x->waits = false;
	while (x->first)
		remove_query(x->first);
	watch_db_free(x->side);
	if (x->glue)
		curl_glue_free(x->glue);
	sd_event_source_disable_unref(x->timer);
	free(x);
}
