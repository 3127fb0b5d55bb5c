#include "routes.h"

#include "common/embed.h"
#include "fleet_hub/base/assets.h"
#include "fleet_hub/pages/log_lines.h"
#include "fleet_hub/pages/log_params.h"

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
ROWS(logs);
PAGE(around);
ROWS(around);
PAGE(line);
ROWS(line);
HTML(help);
SQL(healthz);

enum {
	PAGE_MS = 5000,                 /* statement_timeout */
	SEARCH_MS = 10000,
};

static const char no_line[] = "The database has no such line. Lines are deleted when their time is up.";

/* ---- parameters: each table in the order of $1, $2 ... -------------------------------------------- */

/* A file has all servers. */
static int param_show(struct params *p, const struct param *row, const char *value, struct err *e)
{
	(void)row;
	return params_add(p, p->form == FORM_CSV ? "all" : value, e);
}

static const struct param fleet_params[] = {
	{ "q",      param_text,   "" },
	{ "state",  param_text,   "" },
	{ "sort",   param_text,   "" },
	{ "show",   param_show,   "" },
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

static void answer_asset(const struct request *r, struct response *s)
{
	const struct asset *a = asset_find(text_of(r->path + strlen("/static/")));
	const char *version = request_param(r, "v");
	char current[17];

	if (!a) {
		page_error(r, s, 404, "No such file", "There is no file of that name.", NULL);
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
static void answer_theme(const struct request *r, struct response *s)
{
	const char *set = request_param(r, "set"), *back = request_param(r, "back");
	char cookie[128];

	if (!set || (strcmp(set, "light") != 0 && strcmp(set, "dark") != 0 && strcmp(set, "auto") != 0)) {
		page_error(r, s, 400, "No such theme", "A theme is light, dark or auto.", NULL);
		return;
	}
	snprintf(cookie, sizeof cookie, "observ_theme=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax", set,
		 strcmp(set, "auto") == 0 ? 0 : 31536000);
	response_header(s, "Set-Cookie", cookie);
	if (!back || !http_local_path(back) || !response_header(s, "Location", back))
		response_header(s, "Location", *r->base ? r->base : "/");
	s->status = 303;
	s->type = "text/plain; charset=utf-8";
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
	  .more = { { sql_checks, 4 }, { sql_delivery, 1 }, { sql_losses, 4 } },
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
	  .role = ROLE_VIEWER,
	  .sql = sql_healthz,
	  .timeout_ms = PAGE_MS },
	{ .path = "/static/*",
	  .name = "static",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .answer = answer_asset },
	{ .path = "/theme",
	  .name = "theme",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .answer = answer_theme },
};

const struct route *route_find(const char *path)
{
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		size_t n = strcspn(routes[i].path, "*");
		bool rest = routes[i].path[n] == '*';

		if (strncmp(path, routes[i].path, n) == 0 && (rest ? path[n] != '\0' : path[n] == '\0'))
			return &routes[i];
	}
	return NULL;
}
