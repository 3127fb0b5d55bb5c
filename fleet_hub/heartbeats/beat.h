/*
 * beat.h - a job says by one request that it ran.
 *
 * A GET that writes, so that a line of cron needs no more than a URL. The token in the path is all that the
 * request shows.
 */
#ifndef FLEET_HUB_BEAT_H
#define FLEET_HUB_BEAT_H

#include "fleet_hub/base/db.h"
#include "fleet_hub/http/http.h"

/* r->rest is TOKEN, TOKEN/start or TOKEN/failed; the parameter `note` is kept. */
void beat_answer(struct request *r, struct db *db, struct response *s);

#endif
