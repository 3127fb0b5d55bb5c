/*
 * links.h - the formatters that make addresses: the page's own, with something changed, and parts of others.
 *
 * Promises percent-encoded output, and that a link keeps the parameters of the page's address and nothing
 * else. Documented in format.h.
 */
#ifndef FLEET_HUB_LINKS_H
#define FLEET_HUB_LINKS_H

#include "http.h"
#include "template.h"

template_formatter link_url, link_with, link_and, link_not, link_drop, link_term, link_to_asset;

#endif
