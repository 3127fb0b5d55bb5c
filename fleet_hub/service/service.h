/*
 * service.h - what the hub says of itself: to load balancers, to programs that look around, to Prometheus.
 *
 * Answers of routes. Liveness and `about` ask nothing of the database.
 */
#ifndef FLEET_HUB_SERVICE_H
#define FLEET_HUB_SERVICE_H

#include "fleet_hub/base/db.h"
#include "fleet_hub/http/http.h"

void service_liveness(struct request *r, struct db *db, struct response *s);
void service_readiness(struct request *r, struct db *db, struct response *s); /* 503 when one part is bad */
void service_about(struct request *r, struct db *db, struct response *s);

/* The icon with a number on it: of alerts that fire. */
void service_icon(struct request *r, struct db *db, struct response *s);

/* For a request of this machine, or with a token. OpenMetrics if the client accepts it, else plain text. */
void service_prometheus(struct request *r, struct db *db, struct response *s);

#endif
