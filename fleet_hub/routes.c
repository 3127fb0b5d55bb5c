#include "routes.h"

#include "common/cleanup.h"
#include "common/embed.h"
#include "common/parse.h"
#include "fleet_hub/api/api_params.h"
#include "fleet_hub/api/post.h"
#include "fleet_hub/api/post_log.h"
#include "fleet_hub/base/assets.h"
#include "fleet_hub/base/auth.h"
#include "fleet_hub/base/refusal.h"
#include "fleet_hub/base/view.h"
#include "fleet_hub/pages/log_lines.h"
#include "fleet_hub/pages/log_params.h"
#include "fleet_hub/pages/sign_in.h"

/* A page is a question and a template; its rows, where it has them, another question. */
#define SQL(x)  EMBED(sql_##x, "fleet_hub/pages/" #x ".sql")
#define HTML(x) EMBED(html_##x, "fleet_hub/pages/" #x ".html")
#define ROWS(x) EMBED(rows_##x, "fleet_hub/pages/" #x "_rows.sql")
#define PAGE(x) SQL(x); HTML(x)
#define SHOW(x) .html = html_##x, .html_len = &html_##x##_len

PAGE(fleet);
PAGE(server);
SQL(checks);
ROWS(checks);
SQL(delivery);
SQL(losses);
PAGE(logs);
SQL(logs_counts);
ROWS(logs);
PAGE(around);
ROWS(around);
PAGE(line);
ROWS(line);
HTML(help);
SQL(healthz);
PAGE(sign_in);
SQL(sign_out);
SQL(account);
SQL(ingest);
SQL(servers);
SQL(server_one);
SQL(server_create);
SQL(server_change);
SQL(server_delete);
SQL(server_token);
SQL(bootstrap_tokens);
SQL(bootstrap_create);
SQL(bootstrap_end);
SQL(agent_enroll);
SQL(agents);
SQL(metrics_summary);
SQL(metrics_series);

enum {
	PAGE_MS = PAGE_TIMEOUT_MS,
	SEARCH_MS = 10000,
	FORM_MAX = 8192,                /* bytes */
};

static const char no_line[] = "The database has no such line. Lines are deleted when their time is up.";

/* ---- parameters: each table in the order of $1, $2 ... -------------------------------------------- */

enum {
	SERVERS_MAX = 1000,             /* on a page of the fleet */
	PAGE_NUMBER_MAX = 1000000,
};

/* How many servers: all of them in a file, as many as fleet.sql thinks best on a page that says nothing. */
static int param_show(struct params *p, const struct param *row, const char *value, struct err *e)
{
	int64_t n;

	if (p->form == FORM_CSV || (p->form == FORM_JSON && strcmp(value, "all") == 0))
		return params_add(p, NULL, e);
	if (!*value)
		return params_add(p, p->form == FORM_JSON ? "1000" : "0", e);
	if (strcmp(value, "all") == 0)
		return params_add(p, "1000", e);
	if (!parse_i64(text_of(value), &n) || n < 1 || n > SERVERS_MAX)
		return params_refuse(row, value, "write a number of servers, from 1 to 1000", e);
	return params_add(p, value, e);
}

static int param_page(struct params *p, const struct param *row, const char *value, struct err *e)
{
	int64_t n;

	if (!*value)
		return params_add(p, "1", e);
	if (!parse_i64(text_of(value), &n) || n < 1 || n > PAGE_NUMBER_MAX)
		return params_refuse(row, value, "write the number of a page, from 1", e);
	return params_add(p, value, e);
}

static const struct param hash_params[] = {
	{ "",       param_hash,   NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param ingest_params[] = {
	{ "",       param_hash,   NULL },
	{ "",       param_post,   NULL },
	{ "",       param_post_lines, NULL },
	{ "",       param_key,    NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param servers_params[] = {
	{ "q",      param_text,   "" },
	{ "environment", param_text, "" },
	{ "team",   param_text,   "" },
	{ "tag",    param_text,   "" },
	{ "state",  param_text,   "" },
	{ "limit",  param_limit,  NULL },
	{ "after",  param_text,   NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param rest_params[] = {
	{ "",       param_rest,   NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param create_params[] = {
	{ "",       param_hash,   NULL },
	{ "",       param_body,   NULL },
	{ "",       param_site,   NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param change_params[] = {
	{ "",       param_hash,   NULL },
	{ "",       param_rest,   NULL },
	{ "",       param_body,   NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param delete_params[] = {
	{ "",       param_hash,   NULL },
	{ "",       param_rest,   NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param token_params[] = {
	{ "",       param_hash,   NULL },
	{ "",       param_rest,   NULL },
	{ "",       param_site,   NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param enroll_params[] = {
	{ "",       param_hash,   NULL },
	{ "",       param_body,   NULL },
	{ "",       param_site,   NULL },
	{ "",       param_agents_database, NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param agents_params[] = {
	{ "server", param_text,   "" },
	{ "limit",  param_limit,  NULL },
	{ "after",  param_text,   NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param series_params[] = {
	{ "",       param_rest,   NULL },
	{ "metric", param_metric, NULL },
	{ "from",   param_time,   NULL },
	{ "to",     param_until,  NULL },
	{ "range",  param_range,  "1h" },
	{ "step",   param_step,   "" },
	{ "app",    param_text,   "" },
	{ NULL,     NULL,         NULL },
};

static const struct param fleet_params[] = {
	{ "q",      param_text,   "" },
	{ "state",  param_text,   "" },
	{ "sort",   param_text,   "" },
	{ "show",   param_show,   "" },         /* $4 */
	{ "page",   param_page,   "" },
	{ "view",   param_text,   "" },
	{ NULL,     NULL,         NULL },
};

static const struct param server_params[] = {
	{ "name",   param_rest,   NULL },
	{ "from",   param_time,   NULL },
	{ "to",     param_until,  NULL },
	{ "range",  param_range,  "1h" },
	{ NULL,     NULL,         NULL },
};

static const struct param logs_params[] = {
	{ "q",      param_search, "" },         /* $1 */
	{ "from",   param_time,   NULL },
	{ "to",     param_until,  NULL },
	{ "range",  param_range,  "1h" },
	{ "before", param_cursor, NULL },       /* $5 to $7 */
	{ "after",  param_cursor, NULL },       /* $8 to $10 */
	{ NULL,     NULL,         NULL },
};

static const struct param around_params[] = {
	{ "vps",    param_text,   "" },
	{ "app",    param_text,   "" },
	{ "stream", param_number, NULL },
	{ "offset", param_number, NULL },
	{ "at",     param_time,   "-" },
	{ NULL,     NULL,         NULL },
};

static const struct param line_params[] = {
	{ "id",     param_number, NULL },
	{ "at",     param_time,   "-" },
	{ NULL,     NULL,         NULL },
};

/* ---- answers that need no database ------------------------------------------------------------------ */

static void answer_asset(struct request *r, struct db *db, struct response *s)
{
	const struct asset *a = asset_find(text_of(r->path + strlen("/static/")));
	const char *version = request_param(r, "v");
	char current[17];

	(void)db;
	if (!a) {
		refuse_with(r, s, 404, "No such file", "There is no file of that name.", NULL);
		return;
	}
	snprintf(current, sizeof current, "%016llx", (unsigned long long)asset_hash(a));
	s->status = 200;
	s->type = a->type;
	s->cache =
		version && strcmp(version, current) == 0 ? "public, max-age=31536000, immutable" : "no-cache";
	buf_add(&s->body, a->bytes, *a->len);
}

/* A link, so that it works without scripts. What it sets is harmless, so GET will do. */
static void answer_theme(struct request *r, struct db *db, struct response *s)
{
	const char *set = request_param(r, "set");
	char cookie[128];

	(void)db;
	if (!set || (strcmp(set, "light") != 0 && strcmp(set, "dark") != 0 && strcmp(set, "auto") != 0)) {
		refuse_with(r, s, 400, "No such theme", "A theme is light, dark or auto.", NULL);
		return;
	}
	snprintf(cookie, sizeof cookie, "observ_theme=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax", set,
		 strcmp(set, "auto") == 0 ? 0 : 31536000);
	response_header(s, "Set-Cookie", cookie);
	view_redirect(r, s, request_param(r, "back"), "/");
}

/* The session of a browser ends, and its cookie. */
static void answer_sign_out(struct request *r, struct db *db, struct response *s)
{
	const char *params[] = { r->who.hash };
	const struct db_question question = { sql_sign_out, 1, params, PAGE_MS };
	CLEANUP(buf_free) struct buf answer = BUF(HTTP_HEADERS_MAX);
	struct err e;
	enum db_failure failure = db_change(db, &question, &answer, &e);

	if (failure) {
		refuse_failure(r, db, s, failure, &e);
		return;
	}
	auth_set_cookie(r, s, "");
	response_header(s, "Clear-Site-Data", "\"cache\", \"storage\"");
	view_redirect(r, s, NULL, "/sign-in");
}

/* ---- the table ---------------------------------------------------------------------------------------- */

static const struct route routes[] = {
	{ .path = "/",
	  .name = "fleet",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .params = fleet_params,
	  .sql = sql_fleet,
	  SHOW(fleet),
	  .rows = "servers",
	  .children = "apps",
	  .timeout_ms = PAGE_MS },
	{ .path = "/servers/*",
	  .name = "server",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .params = server_params,
	  .sql = sql_server,
	  .more = { { sql_checks, 4, NULL }, { sql_delivery, 1, NULL }, { sql_losses, 4, NULL } },
	  SHOW(server),
	  .decorate = log_lines_decorate,
	  .rows_sql = rows_checks,
	  .must_have = "name",
	  .timeout_ms = PAGE_MS },
	{ .path = "/logs",
	  .name = "logs",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .params = logs_params,
	  .sql = sql_logs,
	  .more = { { sql_logs_counts, 4, "counts" } },
	  SHOW(logs),
	  .decorate = log_lines_decorate,
	  .rows_sql = rows_logs,
	  .timeout_ms = SEARCH_MS },
	{ .path = "/logs/around",
	  .name = "around",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .params = around_params,
	  .sql = sql_around,
	  SHOW(around),
	  .decorate = log_lines_decorate,
	  .rows_sql = rows_around,
	  .must_have = "found",
	  .missing = no_line,
	  .timeout_ms = PAGE_MS },
	{ .path = "/logs/line",
	  .name = "line",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .params = line_params,
	  .sql = sql_line,
	  SHOW(line),
	  .decorate = log_lines_decorate,
	  .rows_sql = rows_line,
	  .must_have = "line",
	  .missing = no_line,
	  .timeout_ms = PAGE_MS },
	{ .path = "/help", .name = "help", .methods = HTTP_GET, .role = ROLE_VIEWER, SHOW(help) },
	{ .path = "/healthz",
	  .name = "healthz",
	  .methods = HTTP_GET,
	  .api = true,
	  .sql = sql_healthz },
	{ .path = "/static/*", .name = "static", .methods = HTTP_GET, .answer = answer_asset },
	{ .path = "/theme", .name = "theme", .methods = HTTP_GET, .answer = answer_theme },

	/* ---- people: signing in, the own account ---- */
	{ .path = "/sign-in", .name = "sign-in", .methods = HTTP_GET, .sql = sql_sign_in, SHOW(sign_in) },
	{ .path = "/sign-in",
	  .name = "sign-in",
	  .methods = HTTP_POST,
	  .body = { BODY_FORM, FORM_MAX },
	  .answer = sign_in_form },
	{ .path = "/sign-out",
	  .name = "sign-out",
	  .methods = HTTP_POST,
	  .role = ROLE_VIEWER,
	  .body = { BODY_FORM, FORM_MAX },
	  .answer = answer_sign_out },
	{ .path = "/api/v1/auth/login",
	  .name = "login",
	  .methods = HTTP_POST,
	  .api = true,
	  .body = { BODY_JSON | BODY_FORM, FORM_MAX },
	  .answer = sign_in_token },
	{ .path = "/api/v1/auth/logout",
	  .name = "logout",
	  .methods = HTTP_POST,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .body = { BODY_JSON | BODY_FORM, FORM_MAX },
	  .params = hash_params,
	  .sql = sql_sign_out,
	  .status = 204 },
	{ .path = "/api/v1/auth/me",
	  .name = "me",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = hash_params,
	  .sql = sql_account },

	/* ---- servers ---- */
	{ .path = "/api/v1/ingest",
	  .also = { "/v1/ingest", "/ingest" },
	  .name = "ingest",
	  .methods = HTTP_POST,
	  .role = ROLE_SERVER,
	  .api = true,
	  .body = { BODY_JSON, POST_BYTES_MAX },
	  .params = ingest_params,
	  .sql = sql_ingest,
	  .report = post_log },
	{ .path = "/api/v1/servers",
	  .also = { "/v1/servers" },
	  .name = "servers",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = servers_params,
	  .sql = sql_servers,
	  .next = "after" },
	{ .path = "/api/v1/servers",
	  .also = { "/v1/servers" },
	  .name = "servers",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .body = { BODY_JSON | BODY_FORM, FORM_MAX },
	  .params = create_params,
	  .sql = sql_server_create,
	  .status = 201 },
	{ .path = "/api/v1/servers/*",
	  .also = { "/v1/servers/*" },
	  .name = "server",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = rest_params,
	  .sql = sql_server_one,
	  .must_have = "name" },
	{ .path = "/api/v1/servers/*",
	  .also = { "/v1/servers/*" },
	  .name = "server",
	  .methods = HTTP_PATCH,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .body = { BODY_JSON, FORM_MAX },
	  .params = change_params,
	  .sql = sql_server_change },
	{ .path = "/api/v1/servers/*",
	  .also = { "/v1/servers/*" },
	  .name = "server",
	  .methods = HTTP_DELETE,
	  .role = ROLE_ADMIN,
	  .api = true,
	  .params = delete_params,
	  .sql = sql_server_delete,
	  .status = 204 },
	{ .path = "/api/v1/servers/*/token",
	  .name = "server",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .params = token_params,
	  .sql = sql_server_token,
	  .status = 201 },
	{ .path = "/api/v1/bootstrap-tokens",
	  .name = "bootstrap-tokens",
	  .methods = HTTP_GET,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .sql = sql_bootstrap_tokens },
	{ .path = "/api/v1/bootstrap-tokens",
	  .name = "bootstrap-tokens",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .body = { BODY_JSON | BODY_FORM, FORM_MAX },
	  .params = create_params,
	  .sql = sql_bootstrap_create,
	  .status = 201 },
	{ .path = "/api/v1/bootstrap-tokens/*",
	  .name = "bootstrap-tokens",
	  .methods = HTTP_DELETE,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .params = delete_params,
	  .sql = sql_bootstrap_end,
	  .status = 204 },
	{ .path = "/api/v1/agents",
	  .name = "agents",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = agents_params,
	  .sql = sql_agents,
	  .next = "after" },
	/* The token may be in the body, so the question itself asks for it. */
	{ .path = "/api/v1/agents/enroll",
	  .name = "enroll",
	  .methods = HTTP_POST,
	  .api = true,
	  .body = { BODY_JSON, FORM_MAX },
	  .params = enroll_params,
	  .sql = sql_agent_enroll,
	  .status = 201 },
	{ .path = "/api/v1/metrics/servers/*/summary",
	  .name = "summary",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = rest_params,
	  .sql = sql_metrics_summary,
	  .must_have = "name" },
	{ .path = "/api/v1/metrics/servers/*",
	  .name = "series",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = series_params,
	  .sql = sql_metrics_series,
	  .must_have = "name",
	  .timeout_ms = SEARCH_MS },
};

/* Whether the pattern stands for the path; then *ret_rest is what its '*' stands for. */
static bool matches(const char *pattern, struct text path, struct text *ret_rest)
{
	size_t n = strcspn(pattern, "*");
	struct text end = text_of(pattern[n] ? pattern + n + 1 : "");

	if (path.len < n || memcmp(path.s, pattern, n) != 0)
		return false;
	*ret_rest = (struct text){ path.s + n, path.len - n };
	if (!pattern[n])
		return ret_rest->len == 0;
	if (ret_rest->len <= end.len || memcmp(path.s + path.len - end.len, end.s, end.len) != 0)
		return false;
	ret_rest->len -= end.len;
	return true;
}

/* How much of the path the row names itself; the one that names most is meant. 0: it is another path. */
static size_t fits(const struct route *row, struct text path, struct text *ret_rest)
{
	size_t best = 0;
	struct text rest;

	if (matches(row->path, path, ret_rest))
		best = strlen(row->path);
	for (size_t i = 0; i < ROUTE_ALSO_MAX && row->also[i]; i++)
		if (strlen(row->also[i]) > best && matches(row->also[i], path, &rest)) {
			best = strlen(row->also[i]);
			*ret_rest = rest;
		}
	return best;
}

const struct route *route_find(struct request *r, unsigned *ret_methods)
{
	struct text path = text_of(r->path), rest = { "", 0 }, its_rest;
	unsigned method = r->method == HTTP_HEAD ? HTTP_GET : r->method;
	const struct route *found = NULL;
	size_t best = 0;

	*ret_methods = 0;
	if (path.len > 1 && path.s[path.len - 1] == '/')
		path.len--;
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		size_t named = fits(&routes[i], path, &its_rest);

		if (named == 0 || named < best)
			continue;
		if (named > best) {
			*ret_methods = 0;
			found = NULL;
			rest = its_rest;
			best = named;
		}
		*ret_methods |= routes[i].methods;
		if (routes[i].methods & method)
			found = &routes[i];
	}
	r->rest = arena_dup(&r->arena, rest);
	return r->rest ? found : NULL;
}
