#include "service.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/embed.h"
#include "common/json/json.h"
#include "common/parse.h"
#include "fleet_hub/base/refusal.h"

EMBED(sql_readiness, "fleet_hub/service/readiness.sql");
EMBED(sql_prometheus, "fleet_hub/service/prometheus.sql");

enum { ASK_MS = 5000 };

/* ---- health ----------------------------------------------------------------------------------------- */

void service_liveness(struct request *r, struct db *db, struct response *s)
{
	char now[RFC3339_SIZE];

	(void)r;
	(void)db;
	format_rfc3339(now, wall_us());
	s->status = 200;
	s->type = "application/json";
	buf_addf(&s->body, "{\"status\":\"ok\",\"timestamp\":\"%s\",\"service\":\"observ\"}\n", now);
}

void service_icon(struct request *r, struct db *db, struct response *s)
{
	enum { SHOWN_MAX = 99 };
	int64_t n = 0;

	(void)db;
	if (!parse_i64(text_of(r->rest), &n) || n < 1) {
		refuse_with(r, s, 404, "Not there", "An icon is named by a number: /icon/3.svg", NULL);
		return;
	}
	s->status = 200;
	s->type = "image/svg+xml";
	s->cache = "public, max-age=86400";
	buf_addf(&s->body,
		 "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\">"
		 "<rect width=\"16\" height=\"16\" rx=\"4\" fill=\"#c4292e\"/>"
		 "<text x=\"8\" y=\"12\" font-family=\"sans-serif\" font-size=\"%d\" font-weight=\"bold\" "
		 "text-anchor=\"middle\" fill=\"#fff\">%d%s</text></svg>\n",
		 n < 10 ? 12 : 9, (int)(n > SHOWN_MAX ? SHOWN_MAX : n), n > SHOWN_MAX ? "+" : "");
}

static bool is_ok(struct buf *answer)
{
	CLEANUP(json_p) struct json_object *data = json_of(answer);
	struct json_object *status = NULL;

	return json_object_object_get_ex(data, "status", &status) &&
	       strcmp(json_object_get_string(status), "ok") == 0;
}

void service_readiness(struct request *r, struct db *db, struct response *s)
{
	const struct db_question question = { sql_readiness, 0, NULL, ASK_MS };
	struct err e;
	enum db_failure failure = db_ask(db, &question, &s->body, &e);

	if (failure) {
		refuse_failure(r, db, s, failure, &e);
		return;
	}
	s->status = is_ok(&s->body) ? 200 : 503;
	s->type = "application/json";
}

void service_about(struct request *r, struct db *db, struct response *s)
{
	(void)db;
	s->status = 200;
	s->type = "application/json";
	buf_addf(&s->body,
		 "{\"name\":\"observ\",\"version\":\"%s\",\"links\":{\"openapi\":\"%s/api/v1/openapi.yaml\","
		 "\"servers\":\"%s/api/v1/servers\",\"agents\":\"%s/api/v1/agents\",\"logs\":\"%s/api/v1/"
		 "logs\","
		 "\"health\":\"%s/api/v1/health/liveness\"}}\n",
		 OBSERV_VERSION, r->base, r->base, r->base, r->base, r->base);
}

/* ---- Prometheus --------------------------------------------------------------------------------------- */

static struct json_object *at(struct json_object *array, size_t i)
{
	return json_object_array_get_idx(array, i);
}

static bool add_family(struct buf *out, struct json_object *family)
{
	const char *name = json_object_get_string(at(family, 0));
	struct json_object *samples = at(family, 2);
	bool ok = buf_addf(out, "# HELP observ_%s %s\n# TYPE observ_%s gauge\n", name,
			   json_object_get_string(at(family, 1)), name);

	for (size_t i = 0; ok && i < json_object_array_length(samples); i++) {
		struct json_object *sample = at(samples, i);

		ok = buf_addf(out, "observ_%s{%s} %s\n", name, json_object_get_string(at(sample, 0)),
			      json_object_get_string(at(sample, 1)));
	}
	return ok;
}

static bool add_families(struct buf *out, const struct buf *answer, bool open_metrics)
{
	CLEANUP(json_p) struct json_object *data = json_of(answer);
	struct json_object *families = NULL;
	bool ok = json_object_object_get_ex(data, "families", &families) &&
		  buf_adds(out, "# HELP observ_build_info The version of the hub.\n"
				"# TYPE observ_build_info gauge\n"
				"observ_build_info{version=\"" OBSERV_VERSION "\"} 1\n");

	for (size_t i = 0; ok && i < json_object_array_length(families); i++)
		ok = add_family(out, at(families, i));
	return ok && (!open_metrics || buf_adds(out, "# EOF\n"));
}

void service_prometheus(struct request *r, struct db *db, struct response *s)
{
	const char *params[] = { r->who.hash[0] ? r->who.hash : NULL, r->who.here ? "true" : "false" };
	const struct db_question question = { sql_prometheus, 2, params, ASK_MS };
	bool open_metrics = strstr(r->accept, "application/openmetrics-text") != NULL;
	CLEANUP(buf_free) struct buf answer = BUF(HTTP_BODY_MAX);
	struct err e;
	enum db_failure failure = db_ask(db, &question, &answer, &e);

	if (failure || !buf_cstr(&answer)) {
		refuse_failure(r, db, s, failure ? failure : DB_TOO_BIG, &e);
		return;
	}
	if (!add_families(&s->body, &answer, open_metrics)) {
		refuse_database(r, s, DB_TOO_BIG);
		return;
	}
	s->status = 200;
	s->type = open_metrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
			       : "text/plain; version=0.0.4; charset=utf-8";
}
