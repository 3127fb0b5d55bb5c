/*
 * rule_body.h - the body of an alert rule, with what its log query means.
 *
 * Owns the member "tree" of a rule's parameters: line_condition() in schema/35-search.sql takes a tree, and
 * people write a query. Leaves out all other members: save_rule() in schema/79-alert-writes.sql reads them.
 */
#ifndef FLEET_HUB_RULE_BODY_H
#define FLEET_HUB_RULE_BODY_H

#include "fleet_hub/base/params.h"

struct json_object;

/* The request's body, after rule_body_read(). */
param_kind param_rule_body;

/* Puts the tree of its query into a rule: of {"params": {"query": ...}}, and of "params.query", as a form has
 * it. What is no query stays as it is. A query that the search would read otherwise than it is written is
 * refused: *ret_field names it. */
int rule_body_read(struct json_object *rule, const char **ret_field, struct err *e);

#endif
