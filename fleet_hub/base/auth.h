/*
 * auth.h - who asks: what a request shows of itself, and whether its sender may be believed.
 *
 * A bearer token, or the token in a session's cookie, leaves the hub as its SHA-256 only; the database
 * knows its owner and the role. Promises that a write which a browser sends by itself was made by
 * a page of this hub: it has the session's CSRF token, and the browser does not say otherwise. Leaves out
 * who may do what: the database decides, see schema/60-people.sql.
 */
#ifndef FLEET_HUB_AUTH_H
#define FLEET_HUB_AUTH_H

#include "conf.h"
#include "fleet_hub/http/http.h"

/* Once, before the others. */
int auth_init(struct err *e);

/* Fill r->who and r->conf. */
void auth_read(struct request *r, char *const *env, const struct conf *conf);

/* Whether what the request shows may lead on to something that needs this role. Otherwise e->code is the HTTP
 * status, 401 or 403, and the sentence says why. Sets r->who.anonymous. */
int auth_admit(struct request *r, enum role role, struct err *e);

/* The same for what a write of a browser has to show beside its cookie; the body has been read. */
int auth_check_form(const struct request *r, struct err *e);

/* A token of 256 bits, with a prefix that says what it is for ("obs_s_"), at most 8 characters long. */
void auth_new_token(const char *prefix, char token[HTTP_TOKEN_SIZE]);

/* Its hash, as PostgreSQL reads a bytea. */
void auth_hash(struct text token, char hash[HTTP_HASH_SIZE]);

/* The session's cookie; "" ends it. */
void auth_set_cookie(const struct request *r, struct response *s, const char *token);

#endif
