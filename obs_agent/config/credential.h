/*
 * credential.h - secrets that systemd passes to the unit as files (LoadCredential=).
 *
 * Promises that a credential is UTF-8 text of bounded size, without NUL and without the line end
 * that an editor adds. Leaves out where in the configuration it may be used (config_value.c).
 */
#ifndef OBS_AGENT_CREDENTIAL_H
#define OBS_AGENT_CREDENTIAL_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/text.h"

enum {
	CREDENTIAL_MAX = 8192,          /* bytes of one */
	CREDENTIAL_NAME_MAX = 100,
};

/* Is it a valid name: letters, digits, ".", "_" and "-", but not "." or ".."? */
bool credential_name(struct text t);

/* Append the content of credential `name` to `out`. It is read from $CREDENTIALS_DIRECTORY, which
 * systemd sets. A person's shell has none: there it is what the unit of `app` has or would get. On
 * failure `e` has "what; how to fix it". */
int credential_read(const char *app, const char *name, struct buf *out, struct err *e);

/* Append `t` as part of a URI: all but letters, digits and "-._~" as %XX. */
bool credential_add_uri(struct buf *out, struct text t);

/* Append `t` as (part of) a value of libpq's key=value pairs, quoted or not. */
bool credential_add_pair(struct buf *out, struct text t);

#endif
