/*
 * post.h - a posted payload as the parameters of ingest() in schema/66-ingest.sql.
 *
 * Promises JSON that PostgreSQL takes, whatever the client wrote: what is no JSON is refused with the place,
 * and characters that cannot be stored are replaced. Leaves out what the fields mean.
 */
#ifndef FLEET_HUB_POST_H
#define FLEET_HUB_POST_H

#include "fleet_hub/base/params.h"

enum { POST_BYTES_MAX = 1024 * 1024 }; /* max_post_bytes() */

param_kind param_post;       /* the body; lives as long as the parameters */
param_kind param_post_lines; /* its log lines, read: behind param_post */

#endif
