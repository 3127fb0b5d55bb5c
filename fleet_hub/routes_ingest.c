#define FOLDER "fleet_hub/ingest/"
#include "routes.h"

#include "fleet_hub/ingest/post.h"
#include "fleet_hub/ingest/post_log.h"

SQL(ingest);

static const struct param ingest_params[] = {
	{ "",       param_hash,   NULL },
	{ "",       param_post,   NULL },
	{ "",       param_post_lines, NULL },
	{ "",       param_key,    NULL },
	{ NULL,     NULL,         NULL },
};

static const struct route rows[] = {
	{ .path = "/api/v1/ingest",
	  .also = { "/v1/ingest", "/ingest" },
	  .name = "ingest",
	  .methods = HTTP_POST,
	  .role = ROLE_SERVER,
	  .api = true,
	  .body = { BODY_JSON, POST_BYTES_MAX },
	  .params = ingest_params,
	  .sql = sql_ingest,
	  .report = post_log,
	  .doc = { .summary = "Post a sample with its log lines and events",
		   .takes = "Payload",
		   .gives = "Ingested",
		   .limit = "ingest" } },
};

const struct route_table routes_ingest = { rows, sizeof rows / sizeof rows[0] };
