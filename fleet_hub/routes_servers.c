#define FOLDER "fleet_hub/servers/"
#include "routes.h"

#include "fleet_hub/logs/log_params.h"
#include "fleet_hub/servers/install.h"
#include "fleet_hub/servers/server_params.h"

PAGE(servers);
PAGE(server_one);
SQL(server_create);
SQL(server_change);
SQL(server_delete);
SQL(server_token);
HTML(server_made);
SQL(bootstrap_tokens);
SQL(bootstrap_list);
SQL(bootstrap_create);
SQL(bootstrap_end);
SQL(agent_enroll);
SQL(agents);
SQL(deploy);
SQL(deploys);
SQL(metrics_summary);
SQL(metrics_series);

enum { FORM_MAX = 8192, SEARCH_MS = 10000 };

/* ---- parameters: each table in the order of $1, $2 ... -------------------------------------------- */

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

static const struct param bootstrap_params[] = {
	{ "limit",  param_limit,  NULL },
	{ "after",  param_text,   NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param agents_params[] = {
	{ "server", param_text,   "" },
	{ "limit",  param_limit,  NULL },
	{ "after",  param_text,   NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param deploy_params[] = {
	{ "",       param_hash,   NULL },
	{ "",       param_body,   NULL },
	{ NULL,     NULL,         NULL },
};

static const struct param deploys_params[] = {
	{ "server", param_text,   "" },
	{ "app",    param_text,   "" },
	{ "limit",  param_limit,  NULL },
	{ "before", param_cursor, NULL },       /* $4 to $6 */
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

static const struct route rows[] = {
	/* ---- servers, for people ---- */
	{ .path = "/servers",
	  .name = "servers",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .params = servers_params,
	  .sql = sql_servers,
	  .more = { { sql_bootstrap_tokens, 0, NULL, FOR_OPERATORS } },
	  SHOW(servers),
	  .next = "after" },
	{ .path = "/servers",
	  .name = "servers",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = create_params,
	  .sql = sql_server_create,
	  SHOW(server_made),
	  .status = 201 },
	{ .path = "/manage/*",
	  .name = "manage",
	  .methods = HTTP_GET,
	  .role = ROLE_OPERATOR,
	  .params = rest_params,
	  .sql = sql_server_one,
	  SHOW(server_one),
	  .must_have = "name" },
	{ .path = "/manage/*",
	  .name = "manage",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = params_one_body,
	  .sql = sql_server_change,
	  .then = "/servers" },
	{ .path = "/manage/*/token",
	  .name = "manage",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = token_params,
	  .sql = sql_server_token,
	  SHOW(server_made),
	  .status = 201 },
	{ .path = "/manage/*/retire",
	  .name = "manage",
	  .methods = HTTP_POST,
	  .role = ROLE_ADMIN,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = params_one,
	  .sql = sql_server_delete,
	  .then = "/servers" },
	{ .path = "/bootstrap-tokens",
	  .name = "servers",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = create_params,
	  .sql = sql_bootstrap_create,
	  SHOW(server_made),
	  .status = 201 },
	{ .path = "/bootstrap-tokens/*/end",
	  .name = "servers",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = params_one,
	  .sql = sql_bootstrap_end,
	  .then = "/servers" },

	/* ---- for programs ---- */
	{ .path = "/install.sh",
	  .name = "install",
	  .methods = HTTP_GET,
	  .api = true,
	  .answer = install_script,
	  .doc = { .summary = "Get the script that sets a server up", .gives = "Script" } },
	{ .path = "/install/*",
	  .name = "install",
	  .methods = HTTP_GET,
	  .api = true,
	  .answer = install_package,
	  .doc = { .summary = "Get a package that the script installs", .gives = "Package" } },
	{ .path = "/api/v1/servers",
	  .also = { "/v1/servers" },
	  .name = "servers",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = servers_params,
	  .sql = sql_servers,
	  .next = "after",
	  .doc = { .summary = "List the servers", .gives = "ServerList" } },
	{ .path = "/api/v1/servers",
	  .also = { "/v1/servers" },
	  .name = "servers",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .body = { BODY_JSON | BODY_FORM, FORM_MAX },
	  .params = create_params,
	  .sql = sql_server_create,
	  .status = 201,
	  .doc = { .summary = "Create a server; its token is shown once", .takes = "NewServer",
		   .form = "NewServerForm", .gives = "ServerCreated" } },
	{ .path = "/api/v1/servers/*",
	  .also = { "/v1/servers/*" },
	  .name = "server",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = rest_params,
	  .sql = sql_server_one,
	  .must_have = "name",
	  .doc = { .summary = "Get a server", .gives = "OneServer" } },
	{ .path = "/api/v1/servers/*",
	  .also = { "/v1/servers/*" },
	  .name = "server",
	  .methods = HTTP_PATCH,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .body = { BODY_JSON, FORM_MAX },
	  .params = params_one_body,
	  .sql = sql_server_change,
	  .doc = { .summary = "Change a server", .takes = "ServerChange", .gives = "OneServer" } },
	{ .path = "/api/v1/servers/*",
	  .also = { "/v1/servers/*" },
	  .name = "server",
	  .methods = HTTP_DELETE,
	  .role = ROLE_ADMIN,
	  .api = true,
	  .params = params_one,
	  .sql = sql_server_delete,
	  .status = 204,
	  .doc = { .summary = "Retire a server; its history stays" } },
	{ .path = "/api/v1/servers/*/token",
	  .name = "server",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .params = token_params,
	  .sql = sql_server_token,
	  .status = 201,
	  .doc = { .summary = "Give a server another token, shown once", .gives = "ServerCreated" } },
	{ .path = "/api/v1/bootstrap-tokens",
	  .name = "bootstrap-tokens",
	  .methods = HTTP_GET,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .params = bootstrap_params,
	  .sql = sql_bootstrap_list,
	  .next = "after",
	  .doc = { .summary = "List the bootstrap tokens", .gives = "BootstrapTokenList" } },
	{ .path = "/api/v1/bootstrap-tokens",
	  .name = "bootstrap-tokens",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .body = { BODY_JSON | BODY_FORM, FORM_MAX },
	  .params = create_params,
	  .sql = sql_bootstrap_create,
	  .status = 201,
	  .doc = { .summary = "Create a bootstrap token, shown once", .takes = "NewBootstrapToken",
		   .gives = "BootstrapTokenCreated" } },
	{ .path = "/api/v1/bootstrap-tokens/*",
	  .name = "bootstrap-tokens",
	  .methods = HTTP_DELETE,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .params = params_one,
	  .sql = sql_bootstrap_end,
	  .status = 204,
	  .doc = { .summary = "End a bootstrap token" } },
	{ .path = "/api/v1/deploys",
	  .name = "deploys",
	  .methods = HTTP_POST,
	  .role = ROLE_SERVER,
	  .api = true,
	  .body = { BODY_JSON, FORM_MAX },
	  .params = deploy_params,
	  .sql = sql_deploy,
	  .status = 201,
	  .doc = { .summary = "Record a release of an application", .takes = "NewDeploy",
		   .gives = "DeployRecorded", .limit = "ingest" } },
	{ .path = "/api/v1/deploys",
	  .name = "deploys",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = deploys_params,
	  .sql = sql_deploys,
	  .next = "before",
	  .doc = { .summary = "List the releases, the newest first", .gives = "DeployList" } },
	{ .path = "/api/v1/agents",
	  .name = "agents",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = agents_params,
	  .sql = sql_agents,
	  .next = "after",
	  .doc = { .summary = "List the agents", .gives = "AgentList" } },
	/* The token may be in the body, so the question itself asks for it. */
	{ .path = "/api/v1/agents/enroll",
	  .name = "enroll",
	  .methods = HTTP_POST,
	  .api = true,
	  .body = { BODY_JSON, FORM_MAX },
	  .params = enroll_params,
	  .sql = sql_agent_enroll,
	  .status = 201,
	  .doc = { .summary = "Enroll an agent by a bootstrap token or its server's", .takes = "Enrolment",
		   .gives = "Enrolled", .token = "enrolment", .limit = "enroll" } },
	{ .path = "/api/v1/metrics/servers/*/summary",
	  .name = "summary",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = rest_params,
	  .sql = sql_metrics_summary,
	  .must_have = "name",
	  .doc = { .summary = "Get the latest of each metric of a server", .gives = "MetricsSummary" } },
	{ .path = "/api/v1/metrics/servers/*",
	  .name = "series",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = series_params,
	  .sql = sql_metrics_series,
	  .must_have = "name",
	  .timeout_ms = SEARCH_MS,
	  .doc = { .summary = "Get one metric of a server as a series", .gives = "MetricsSeries" } },
};

const struct route_table routes_servers = { rows, sizeof rows / sizeof rows[0] };
