/*
 * proxy_user.h - the user whom an authenticating proxy in front of the hub names in a header.
 *
 * Off unless hub.conf names the header and the addresses of such proxies; from any other address the header
 * counts for nothing. The proxy proves itself by a secret in another header. The hub makes the token of a
 * session of secret and name, so that a user has one session whatever his programs keep; the database opens
 * it only for who shows the secret. Promises that nobody can bring such a token in a header, and that what is
 * said twice, or says two users, is refused.
 */
#ifndef FLEET_HUB_PROXY_USER_H
#define FLEET_HUB_PROXY_USER_H

#include "conf.h"
#include "db.h"
#include "fleet_hub/http/http.h"

/* Fill r->who.proxy_user, proxy_secret or proxy_fault, if the request came from such a proxy at address
 * `peer`. True: the proxy names a user, and *ret is the token of the session. */
bool proxy_user_read(struct request *r, char *const *env, const char *peer, char ret[HTTP_TOKEN_SIZE]);

/* Have the database open the session of such a user. False: it refused, and the answer says why. */
bool proxy_user_admit(const struct request *r, struct db *db, struct response *s);

#endif
