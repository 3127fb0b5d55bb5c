/*
 * cors.h - requests of programs that run in pages of other sites (CORS of the Fetch standard).
 *
 * Promises that only the origins that cors_origins in hub.conf names may read answers, and that a browser
 * sends no cookie with their requests: they show a token.
 */
#ifndef FLEET_HUB_CORS_H
#define FLEET_HUB_CORS_H

#include "fleet_hub/http/http.h"

/* Let the page that made the browser ask read the answer. False: its origin is not named. */
bool cors_admit(const struct request *r, struct response *s);

/* Answer the question that a browser asks before a request: which of these methods it may use. */
void cors_answer(unsigned methods, struct response *s);

#endif
