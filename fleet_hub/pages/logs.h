/*
 * logs.h - what the pages with times and log lines need beyond their SQL: the
 * parameters, and the parts of each line that are marked, listed and linked.
 */
#ifndef FLEET_HUB_LOGS_H
#define FLEET_HUB_LOGS_H

#include "fleet_hub/base/page.h"

int fleet_params(struct request *r, struct params *p, struct err *e);
int server_params(struct request *r, struct params *p, struct err *e);
int logs_params(struct request *r, struct params *p, struct err *e);
int around_params(struct request *r, struct params *p, struct err *e);
int line_params(struct request *r, struct params *p, struct err *e);

/* Adds "note" to the data and to each line "parts" (with matches apart), "fields",
 * "level_class" and "at"; a permalink's parts are encoded by the template. */
void logs_decorate(const struct request *r, const struct params *p, struct json_object *data);

#endif
