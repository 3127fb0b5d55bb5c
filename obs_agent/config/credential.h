/*
 * credential.h - secrets that systemd hands to the unit as files (LoadCredential=).
 *
 * Promises that what is read is one text: UTF-8, no NUL, of a bounded size, without the
 * line's end that an editor puts behind it. Leaves out where it may stand (config_value.c).
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

/* Letters, digits, ".", "_" and "-", as a file may be called; not "." or "..". */
bool credential_name(struct text t);

/*
 * Append what credential `name` holds to `out`. It is looked for in $CREDENTIALS_DIRECTORY, which
 * systemd sets; a person's shell has none, and is shown what the unit of `app` has or would get.
 * On failure `e` holds "what; how to mend it".
 */
int credential_read(const char *app, const char *name, struct buf *out, struct err *e);

/* Append `t` as a part of a URI: what is not a letter, a digit or one of "-._~" as %XX. */
bool credential_add_uri(struct buf *out, struct text t);

/* Append `t` as (a part of) a value of libpq's key=value pairs, quoted or not. */
bool credential_add_pair(struct buf *out, struct text t);

#endif
