/*
 * assets.h - the files that are part of the program: style sheet, scripts, icon
 * and the partials of the templates.
 *
 * Built in, so that a web server needs one line for the hub. A browser asks once: the
 * address holds a hash of the content.
 */
#ifndef FLEET_HUB_ASSETS_H
#define FLEET_HUB_ASSETS_H

#include <stdint.h>

#include "common/text.h"

struct asset {
	const char *name;               /* below /static/ */
	const char *type;
	const char *bytes;
	const uint64_t *len;
};

/* NULL when there is none of that name. */
const struct asset *asset_find(struct text name);

/* Of the content (FNV-1a, 64 bit): a changed file has another address. */
uint64_t asset_hash(const struct asset *a);

/* The partial's text, or the absent span. */
struct text asset_partial(struct text name);

#endif
