/*
 * refusal.h - saying no, as a page or as application/problem+json (RFC 9457).
 *
 * Promises the headers that belong to a status: WWW-Authenticate, Retry-After, RateLimit-*. A browser that
 * opens a page without a session is sent to sign in, and back.
 */
#ifndef FLEET_HUB_REFUSAL_H
#define FLEET_HUB_REFUSAL_H

#include "db.h"
#include "fleet_hub/http/http.h"

/* `help` is what to do about it, or NULL. */
void refuse_with(const struct request *r, struct response *s, int status, const char *title,
		 const char *sentence, const char *help);

/* What a request may not do, or does not do right: e->code is the status. `detail` is JSON as functions
 * of the database give it, or "": {"errors": [{"field", "message"}]}, {"limit", "reset", "retry_after"}. */
void refuse(const struct request *r, struct response *s, const struct err *e, const char *detail);

/* A failure of the database; `e` is that of the call. */
void refuse_failure(const struct request *r, struct db *db, struct response *s, enum db_failure why,
		    const struct err *e);

/* The same for any but DB_REFUSED. */
void refuse_database(const struct request *r, struct response *s, enum db_failure why);

/* What a limit allows, what it leaves, and in how many seconds all of it is there again. */
void refuse_set_rate(struct response *s, int limit, int rest, int reset);

#endif
