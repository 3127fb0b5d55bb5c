/*
 * post_log.h - what came by POST /ingest, for who looks for a mistake of a client.
 *
 * Off unless `fleet_hub --print` or ingest_log in hub.conf asks for it. Promises a line (or, pretty, a
 * block) for each request with its answer, written at once, so that several processes share a file; tokens
 * are not in it, but all of the payload is. Leaves out rotation: the file is opened for each entry.
 */
#ifndef FLEET_HUB_POST_LOG_H
#define FLEET_HUB_POST_LOG_H

#include "fleet_hub/http/http.h"

void post_log(const struct request *r, const struct response *s);

#endif
