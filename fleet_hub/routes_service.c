#define FOLDER "fleet_hub/openapi/"
#include "routes.h"

#include "fleet_hub/openapi/openapi.h"
#include "fleet_hub/openapi/openapi_page.h"
#include "fleet_hub/service/service.h"

HTML(openapi);

static const struct route rows[] = {
	{ .path = "/icon/*.svg", .name = "icon", .methods = HTTP_GET, .answer = service_icon },
	{ .path = "/api/v1/health/liveness",
	  .also = { "/health", "/healthz" },
	  .name = "health",
	  .methods = HTTP_GET,
	  .api = true,
	  .answer = service_liveness,
	  .doc = { .summary = "Tell that the hub runs", .gives = "Liveness" } },
	{ .path = "/api/v1/health/readiness",
	  .name = "health",
	  .methods = HTTP_GET,
	  .api = true,
	  .answer = service_readiness,
	  .doc = { .summary = "Tell whether the hub can answer", .gives = "Readiness",
		   .more = { { 503, "NotReady" } } } },
	{ .path = "/api/v1", .name = "about", .methods = HTTP_GET, .api = true, .answer = service_about,
	  .doc = { .summary = "Tell name, version and links", .gives = "About" } },
	{ .path = "/api/v1/openapi.yaml",
	  .name = "openapi",
	  .methods = HTTP_GET,
	  .api = true,
	  .answer = openapi_answer,
	  .doc = { .summary = "Get this description", .gives = "Description" } },
	{ .path = "/metrics",
	  .name = "metrics",
	  .methods = HTTP_GET,
	  .api = true,
	  .answer = service_prometheus,
	  .doc = { .summary = "Get the latest samples for Prometheus", .gives = "Samples",
		   .token = "user",
		   .accept = "application/openmetrics-text for OpenMetrics",
		   .more = { { 503, "Unavailable" } } } },
	{ .path = "/api",
	  .name = "api",
	  .methods = HTTP_GET,
	  SHOW(openapi),
	  .decorate = openapi_page_decorate },
};

const struct route_table routes_service = { rows, sizeof rows / sizeof rows[0] };
