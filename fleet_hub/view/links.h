/*
 * links.h - the formatters that make addresses: the page's own, with something changed, and parts of others.
 *
 * Promises percent-encoded output, and that a link keeps the parameters of the page's address and nothing
 * else. Documented in format.h.
 */
#ifndef FLEET_HUB_LINKS_H
#define FLEET_HUB_LINKS_H

#include "fleet_hub/http/http.h"
#include "common/template/template.h"

template_formatter link_url, link_with, link_set, link_and, link_not, link_drop, link_term, link_to_asset;

enum link_stand { LINK_APART, LINK_WANTED, LINK_EXCLUDED };

/* What the request's query says of a term that all lines of it share. */
enum link_stand link_stands(const struct request *r, struct text term);

#endif
