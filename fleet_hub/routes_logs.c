#define FOLDER "fleet_hub/logs/"
#include "routes.h"

#include "fleet_hub/logs/columns_view.h"
#include "fleet_hub/logs/log_lines.h"
#include "fleet_hub/logs/log_params.h"

PAGE(logs);
SQL(logs_counts);
ROWS(logs);
SQL(facets);
SQL(suggest);
PAGE(around);
ROWS(around);
PAGE(line);
ROWS(line);

enum {
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

/* ---- the table ---------------------------------------------------------------------------------------- */

static const struct route rows[] = {
	{ .path = "/logs",
	  .name = "logs",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .search = true,
	  .params = logs_params,
	  .sql = sql_logs,
	  .more = { { sql_logs_counts, 4, "counts", false }, { sql_facets, 4, "counts", false } },
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
	  .more = { { sql_logs_counts, 4, "counts", false }, { sql_facets, 4, "counts", false } },
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
};

const struct route_table routes_logs = { rows, sizeof rows / sizeof rows[0] };
