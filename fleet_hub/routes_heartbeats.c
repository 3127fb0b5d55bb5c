#define FOLDER "fleet_hub/heartbeats/"
#include "routes.h"

#include "fleet_hub/heartbeats/beat.h"
#include "fleet_hub/servers/server_params.h"

PAGE(heartbeats);
HTML(heartbeat_made);
SQL(heartbeat_form);
SQL(heartbeat_save);
SQL(heartbeat_delete);

enum { FORM_MAX = 65536 };

/* ---- parameters: each table in the order of $1, $2 ... -------------------------------------------- */

static const struct param heartbeats_params[] = {
	{ "q",          param_text,      "" },
	{ NULL,         NULL,            NULL },
};

static const struct param heartbeats_page_params[] = {
	{ "q",          param_text,      "" },
	{ "edit",       param_text,      NULL },
	{ NULL,         NULL,            NULL },
};

static const struct param heartbeat_params[] = {
	{ "",           param_hash,      NULL },
	{ "",           param_rest,      NULL },
	{ "",           param_body,      NULL },
	{ "",           param_site,      NULL },
	{ "",           param_if_match,  NULL },
	{ NULL,         NULL,            NULL },
};

static const struct route rows[] = {
	/* ---- pages ---- */
	{ .path = "/heartbeats",
	  .name = "heartbeats",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .params = heartbeats_page_params,
	  .sql = sql_heartbeat_form,
	  .more = { { sql_heartbeats, 1, NULL, false } },
	  SHOW(heartbeats) },
	{ .path = "/heartbeats",
	  .name = "heartbeats",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = heartbeat_params,
	  .sql = sql_heartbeat_save,
	  SHOW(heartbeat_made),
	  .status = 201 },
	{ .path = "/heartbeats/*",
	  .name = "heartbeats",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = heartbeat_params,
	  .sql = sql_heartbeat_save,
	  .then = "/heartbeats" },
	{ .path = "/heartbeats/*/delete",
	  .name = "heartbeats",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .body = { BODY_FORM, FORM_MAX },
	  .params = params_one,
	  .sql = sql_heartbeat_delete,
	  .then = "/heartbeats" },

	/* ---- for programs ---- */
	{ .path = "/api/v1/heartbeats/*",
	  .name = "beat",
	  .methods = HTTP_GET,
	  .api = true,
	  .answer = beat_answer,
	  .doc = { .summary = "Say that a job ran (TOKEN), starts (TOKEN/start) or failed (TOKEN/failed)",
		   .gives = "Beat",
		   .limit = "heartbeat",
		   .more = { { 422, "Unprocessable" }, { 503, "Unavailable" } } } },
	{ .path = "/api/v1/alerts/heartbeats",
	  .name = "heartbeats",
	  .methods = HTTP_GET,
	  .role = ROLE_VIEWER,
	  .api = true,
	  .params = heartbeats_params,
	  .sql = sql_heartbeats,
	  .doc = { .summary = "List the heartbeats", .gives = "HeartbeatList" } },
	{ .path = "/api/v1/alerts/heartbeats",
	  .name = "heartbeats",
	  .methods = HTTP_POST,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .body = { BODY_JSON, FORM_MAX },
	  .params = heartbeat_params,
	  .sql = sql_heartbeat_save,
	  .status = 201,
	  .doc = { .summary = "Create a heartbeat",
		   .takes = "NewHeartbeat", .gives = "HeartbeatCreated" } },
	{ .path = "/api/v1/alerts/heartbeats/*",
	  .name = "heartbeat",
	  .methods = HTTP_PATCH,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .body = { BODY_JSON, FORM_MAX },
	  .params = heartbeat_params,
	  .sql = sql_heartbeat_save,
	  .doc = { .summary = "Change a heartbeat",
		   .takes = "HeartbeatChange", .gives = "OneHeartbeat" } },
	{ .path = "/api/v1/alerts/heartbeats/*",
	  .name = "heartbeat",
	  .methods = HTTP_DELETE,
	  .role = ROLE_OPERATOR,
	  .api = true,
	  .params = params_one,
	  .sql = sql_heartbeat_delete,
	  .status = 204,
	  .doc = { .summary = "Delete a heartbeat" } },
};

const struct route_table routes_heartbeats = { rows, sizeof rows / sizeof rows[0] };
