/*
 * openapi.h - the description of the HTTP interface, OpenAPI 3.1 in YAML.
 *
 * The paths are those of the route table. What a table can't say stands in openapi/head.yaml and
 * openapi/components.yaml. fleet_hub/openapi.yaml is what --print-openapi prints; make lint compares them.
 */
#ifndef FLEET_HUB_OPENAPI_H
#define FLEET_HUB_OPENAPI_H

#include <stdio.h>

#include "fleet_hub/base/db.h"
#include "fleet_hub/http/http.h"

/* False if it can't be written. */
bool openapi_print(FILE *to);

/* GET /api/v1/openapi.yaml */
void openapi_answer(struct request *r, struct db *db, struct response *s);

/* The schemas and responses, as they stand in the file. */
struct text openapi_components(void);

#endif
