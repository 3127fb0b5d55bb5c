#include "openapi_row.h"

#include "fleet_hub/alerts/rule_body.h"
#include "fleet_hub/alerts/rules_yaml.h"
#include "fleet_hub/servers/server_params.h"
#include "fleet_hub/ingest/post.h"
#include "fleet_hub/logs/log_params.h"

/* ---- names ------------------------------------------------------------------------------------------ */

void row_path(const char *path, char out[ROW_PATH_SIZE])
{
	const char *star = strchr(path, '*');

	if (star)
		snprintf(out, ROW_PATH_SIZE, "%.*s{id}%s", (int)(star - path), path, star + 1);
	else
		snprintf(out, ROW_PATH_SIZE, "%s", path);
}

const char *row_method(const struct route *row)
{
	return row->methods & HTTP_GET     ? "get"
	       : row->methods & HTTP_POST  ? "post"
	       : row->methods & HTTP_PATCH ? "patch"
	       : row->methods & HTTP_PUT   ? "put"
					   : "delete";
}

struct text row_tag(const struct route *row)
{
	static const char root[] = "/api/v1/";
	const char *path = row->path;

	if (strcmp(path, "/api/v1") == 0 || strcmp(path, "/api/v1/openapi.yaml") == 0)
		return text_of("service");
	path += strncmp(path, root, sizeof root - 1) == 0 ? sizeof root - 1 : 1;
	return (struct text){ path, strcspn(path, "/.") };
}

const char *row_role(const struct route *row)
{
	static const char *const names[] = {
		[ROLE_PUBLIC] = "none", [ROLE_VIEWER] = "viewer", [ROLE_OPERATOR] = "operator",
		[ROLE_ADMIN] = "admin", [ROLE_SERVER] = "server", [ROLE_BOOTSTRAP] = "bootstrap",
	};

	return names[row->role];
}

const char *row_token(const struct route *row)
{
	if (row->doc.token)
		return row->doc.token;
	return row->role == ROLE_PUBLIC ? NULL : row->role == ROLE_SERVER ? "server" : "user";
}

static bool is_users(const struct route *row)
{
	return row->role >= ROLE_VIEWER && row->role <= ROLE_ADMIN;
}

static bool writes(const struct route *row)
{
	return !(row->methods & HTTP_GET);
}

const char *row_limit(const struct route *row)
{
	if (row->doc.limit)
		return *row->doc.limit ? row->doc.limit : NULL;
	return row->search ? "search" : is_users(row) && writes(row) ? "write" : NULL;
}

/* ---- parameters --------------------------------------------------------------------------------------- */

/* The first row that fits is meant. A name or kind of NULL fits each. */
static const struct {
	const char *name;
	param_kind *kind;
	const char *schema, *sentence;
} known[] = {
	{ "q", param_search, "type: string", "the search, as the page /logs takes it" },
	{ "q", NULL, "type: string", "text to look for, in any case of letters" },
	{ "from", NULL, "type: string", "the beginning: RFC 3339, or as in `now-2h`" },
	{ "to", NULL, "type: string", "the end, later than `from`; now if it is absent" },
	{ "range", NULL, "type: string, enum: [15m, 1h, 6h, 24h, 7d, 30d, 90d]",
	  "how long before `to`, where there is no `from`" },
	{ "before", param_count, "type: integer, minimum: 0",
	  "only items older than this one: a former `next`" },
	{ "before", NULL, "type: string",
	  "only what is older than this one: `older` or `next` of an answer" },
	{ "after", param_cursor, "type: string", "only lines newer than this one: `newer` of an answer" },
	{ "after", NULL, "type: string", "only items behind this one: a former `next`" },
	{ "limit", NULL, "type: integer, minimum: 1, maximum: 1000, default: 100", "how many items" },
	{ "columns", NULL, "type: string", "keys of the context that become members of each line" },
	{ "environment", NULL, "type: string", "only servers with this label `environment`" },
	{ "team", NULL, "type: string", "only servers with this label `team`" },
	{ "tag", NULL, "type: string", "only servers with this tag" },
	{ "state", NULL, "type: string, enum: ['', online, stale, offline, waiting, retired]",
	  "only servers in this state" },
	{ "server", NULL, "type: string", "only this server: its name or `server_id`" },
	{ "metric", NULL, "type: string, pattern: '^[a-z0-9_]+$', examples: [cpu_percent]",
	  "a column of `vps_metrics`" },
	{ "step", NULL, "type: string, pattern: '^[0-9]*[smhd]?$'",
	  "the time between two points: seconds, or a number with s, m, h or d; by default as fits" },
	{ "app", NULL, "type: string", "only this application" },
	{ "server_id", NULL, "type: string", "only this server: its name or `server_id`" },
	{ "resolved", NULL, "type: string, enum: ['true', 'false', all]",
	  "only resolved alerts, or only open ones" },
	{ "kind", NULL, "type: string", "what the page's form is for" },
	{ "preview", NULL, "type: integer, minimum: 1, maximum: 90",
	  "tell when it would have fired in so many days" },
	{ "days", NULL, "type: integer, minimum: 1, maximum: 90", "how many days before now" },
};

static struct row_param query_param(const struct param *p)
{
	struct row_param out = { .name = p->name, .in = "query", .required = p->kind == param_metric };

	if (p->otherwise && *p->otherwise)
		out.otherwise = p->otherwise;
	for (size_t i = 0; i < sizeof known / sizeof known[0] && !out.sentence; i++)
		if (strcmp(known[i].name, p->name) == 0 && (!known[i].kind || known[i].kind == p->kind)) {
			out.schema = known[i].schema;
			out.sentence = known[i].sentence;
		}
	return out;
}

size_t row_params(const struct route *row, struct row_param out[ROW_PARAMS_MAX])
{
	size_t n = 0;

	if (strchr(row->path, '*'))
		out[n++] = (struct row_param){ "id", "path", "type: string, minLength: 1", NULL,
					       "which one: its id, or where it has one its name", true };
	for (const struct param *p = row->params; p && p->name && n < ROW_PARAMS_MAX; p++)
		if (p->kind == param_key)
			out[n++] = (struct row_param){
				"Idempotency-Key", "header", "type: string", NULL,
				"the same key gives the same answer for a day", false,
			};
		else if (p->kind == param_if_match)
			out[n++] = (struct row_param){
				"If-Match", "header", "type: string", NULL,
				"the `ETag` of the state that the change is for; another state is 412", false,
			};
		else if (*p->name)
			out[n++] = query_param(p);
	if (row->doc.accept && n < ROW_PARAMS_MAX)
		out[n++] = (struct row_param){
			"Accept", "header", "type: string", NULL, row->doc.accept, false,
		};
	if (row->rows_sql && n < ROW_PARAMS_MAX)
		out[n++] = (struct row_param){
			"format", "query", "type: string, enum: [json, ndjson, csv]", "json",
			"the lines of a page, or all that match as a file", false,
		};
	return n;
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static bool reads_body(const struct route *row)
{
	for (const struct param *p = row->params; p && p->name; p++)
		if (p->kind == param_body || p->kind == param_rule_body || p->kind == param_rules_yaml ||
		    p->kind == param_post)
			return true;
	return false;
}

static const char *given(const struct route *row, int status)
{
	for (size_t i = 0; i < ROUTE_ANSWERS_MAX && row->doc.more[i].status; i++)
		if (row->doc.more[i].status == status)
			return row->doc.more[i].response;
	return NULL;
}

/* What each refusal follows from. */
static bool takes_token(const struct route *row)
{
	return row_token(row) != NULL;
}

static bool may_be_refused(const struct route *row)
{
	return row->role != ROLE_PUBLIC || writes(row);
}

static bool names_one(const struct route *row)
{
	return strchr(row->path, '*') != NULL;
}

static bool has_body(const struct route *row)
{
	return row->body.media != BODY_NONE;
}

/* Web servers give other methods the length 0. */
static bool posts_body(const struct route *row)
{
	return has_body(row) && row->methods & HTTP_POST;
}

static bool takes_version(const struct route *row)
{
	for (const struct param *p = row->params; p && p->name; p++)
		if (p->kind == param_if_match)
			return names_one(row);
	return false;
}

static bool has_limit(const struct route *row)
{
	return row_limit(row) != NULL;
}

static bool asks_database(const struct route *row)
{
	return row->role != ROLE_PUBLIC || row->sql || given(row, 503);
}

static bool always(const struct route *row)
{
	(void)row;
	return true;
}

size_t row_answers(const struct route *row, struct route_answer out[ROW_ANSWERS_MAX])
{
	static const struct {
		struct route_answer answer;
		bool (*follows)(const struct route *row);
	} refusals[] = {
		{ { 400, "BadRequest" }, always },
		{ { 401, "Unauthorized" }, takes_token },
		{ { 403, "Forbidden" }, may_be_refused },
		{ { 404, "NotFound" }, names_one },
		{ { 411, "LengthRequired" }, posts_body },
		{ { 413, "ContentTooLarge" }, has_body },
		{ { 415, "UnsupportedMediaType" }, has_body },
		{ { 412, "Outdated" }, takes_version },
		{ { 422, "Unprocessable" }, reads_body },
		{ { 429, "TooManyRequests" }, has_limit },
		{ { 503, "Unavailable" }, asks_database },
		{ { 504, "TooSlow" }, asks_database },
	};
	size_t n = 0;

	out[n++] = (struct route_answer){ row->status ? row->status : 200,
					  row->doc.gives ? row->doc.gives : "Done" };
	for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
		struct route_answer answer = refusals[i].answer;
		const char *own = given(row, answer.status);

		if (own)
			answer.response = own;
		if (own || refusals[i].follows(row))
			out[n++] = answer;
	}
	return n;
}
