/*
 * log_lines.h - what a page of log lines shows beside what SQL gives: matches that are marked,
 * fields of the context, times in the parts that people read, links that hold a time.
 */
#ifndef FLEET_HUB_LOG_LINES_H
#define FLEET_HUB_LOG_LINES_H

#include "fleet_hub/http/http.h"

struct json_object;

/* Adds "note" to the data where the search was not understood as meant, to each of "lines" and to "line"
 * "parts", "many_lines", "brief", "fields", "more_fields", "odd_context", "at", "minute_before" and
 * "minute_after", and to the values of "facets" whether they are chosen. */
void log_lines_decorate(const struct request *r, struct json_object *data);

#endif
