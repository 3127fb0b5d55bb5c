/*
 * openapi_page.h - the page /api: openapi.yaml for people.
 */
#ifndef FLEET_HUB_OPENAPI_PAGE_H
#define FLEET_HUB_OPENAPI_PAGE_H

#include "fleet_hub/http/http.h"

struct json_object;

/* Adds "subjects", [{"tag", "operations": [...]}], and "components", [{"name", "yaml"}]. */
void openapi_page_decorate(const struct request *r, struct json_object *data);

#endif
