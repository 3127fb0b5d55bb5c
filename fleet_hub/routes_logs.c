#define FOLDER "fleet_hub/logs/"
#include "routes.h"

#include "fleet_hub/logs/columns_view.h"
#include "fleet_hub/logs/log_lines.h"
#include "fleet_hub/logs/log_params.h"

PAGE(logs);
SQL(logs_counts);
ROWS(logs);
SQL(suggest);
SQL(saved_menu);
PAGE(searches);
SQL(search_one);
SQL(search_save);
SQL(search_change);
SQL(search_delete);
PAGE(around);
ROWS(around);
PAGE(line);
ROWS(line);

enum {
	FORM_MAX = 16384,               /* bytes: a search has up to 4096, and a form writes three for one */
	PAGE_MS = PAGE_TIMEOUT_MS,
	SEARCH_MS = 10000,
	SUGGEST_MS = 2000,
};

static const char no_line[] = "The database has no such line. Lines are deleted when their time is up.";

/* ---- parameters: each table in the order of $1, $2 ... -------------------------------------------- */

static const struct param logs_params[] = {
	{ "q",      param_search, "" },         /* $1 */
	{ "from",   param_time,   NULL },
	{ "to",     param_until,  NULL },
	{ "range",  param_range,  "1h" },
	{ "before", param_cursor, NULL },       /* $5 to $7 */
	{ "after",  param_cursor, NULL },       /* $8 to $10 */
	{ "columns", param_columns, NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param suggest_params[] = {
	{ "field",  param_text,   "" },
	{ "value",  param_text,   "" },
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

static const struct param list_params[] = {
	{ "",       param_hash,   NULL },
	{ "after",  param_text,   NULL },
	{ "limit",  param_limit,  NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param save_params[] = {
	{ "",       param_hash,   NULL },
	{ "",       param_body,   NULL },
	{ NULL,     NULL,         NULL },
};

/* ---- the table ---------------------------------------------------------------------------------------- */

static const struct route rows[] = {
	{ .path = "/logs",
	  .name = "logs",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .search = true,
	  .params = logs_params,
	  .sql = sql_logs,
	  .more = { { sql_logs_counts, 4, "counts", FOR_ALL },
		    { sql_saved_menu, PART_HASH, "saved", FOR_SIGNED_IN } },
	  SHOW(logs),
	  .decorate = log_lines_decorate,
	  .rows_sql = rows_logs,
	  .rows = "lines",
	  .timeout_ms = SEARCH_MS },
	{ .path = "/api/v1/logs",
	  .name = "logs",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .search = true,
	  .api = true,
	  .params = logs_params,
	  .sql = sql_logs,
	  .more = { { sql_logs_counts, 4, "counts", FOR_ALL } },
	  .rows_sql = rows_logs,
	  .rows = "lines",
	  .timeout_ms = SEARCH_MS,
	  .doc = { .summary = "Search the log", .gives = "Logs" } },
	{ .path = "/logs/suggest",
	  .name = "suggest",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .params = suggest_params,
	  .sql = sql_suggest,
	  .timeout_ms = SUGGEST_MS },
	{ .path = "/logs/around",
	  .name = "around",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .params = around_params,
	  .sql = sql_around,
	  SHOW(around),
	  .decorate = log_lines_decorate,
	  .rows_sql = rows_around,
	  .rows = "lines",
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
	  .rows = "lines",
	  .must_have = "line",
	  .missing = no_line,
	  .timeout_ms = PAGE_MS },

	/* ---- saved searches ---- */
	{ .path = "/logs/saved",
	  .name = "searches",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .params = list_params,
	  .sql = sql_searches,
	  SHOW(searches),
	  .next = "after" },
	{ .path = "/logs/saved",
	  .name = "searches",
	  .methods = HTTP_POST,
	  .role = ROLE_VIEWER,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = save_params,
	  .sql = sql_search_save,
	  .then = "/logs/saved" },
	{ .path = "/logs/saved/*/change",
	  .name = "searches",
	  .methods = HTTP_POST,
	  .role = ROLE_VIEWER,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = params_one_body,
	  .sql = sql_search_change,
	  .then = "/logs/saved" },
	{ .path = "/logs/saved/*/delete",
	  .name = "searches",
	  .methods = HTTP_POST,
	  .role = ROLE_VIEWER,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = params_one,
	  .sql = sql_search_delete,
	  .then = "/logs/saved" },
	{ .path = "/api/v1/searches",
	  .name = "searches",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = list_params,
	  .sql = sql_searches,
	  .next = "after",
	  .doc = { .summary = "List your saved searches and the shared ones", .gives = "SearchList" } },
	{ .path = "/api/v1/searches",
	  .name = "searches",
	  .methods = HTTP_POST,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .body = { BODY_JSON | BODY_FORM, FORM_MAX },
	  .params = save_params,
	  .sql = sql_search_save,
	  .status = 201,
	  .doc = { .summary = "Save a search", .takes = "NewSearch", .gives = "OneSearch" } },
	{ .path = "/api/v1/searches/*",
	  .name = "searches",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = params_one,
	  .sql = sql_search_one,
	  .doc = { .summary = "Get a saved search", .gives = "OneSearch" } },
	{ .path = "/api/v1/searches/*",
	  .name = "searches",
	  .methods = HTTP_PATCH,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .body = { BODY_JSON, FORM_MAX },
	  .params = params_one_body,
	  .sql = sql_search_change,
	  .doc = { .summary = "Change a saved search", .takes = "SearchChange", .gives = "OneSearch" } },
	{ .path = "/api/v1/searches/*",
	  .name = "searches",
	  .methods = HTTP_DELETE,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = params_one,
	  .sql = sql_search_delete,
	  .status = 204,
	  .doc = { .summary = "Delete a saved search" } },
};

const struct route_table routes_logs = { rows, sizeof rows / sizeof rows[0] };
