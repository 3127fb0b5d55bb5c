/*
 * rules_yaml.h - alert rules as a YAML file: Observ's own form, and rule files of Prometheus.
 *
 * Turns YAML into JSON and back. Leaves out what the fields mean: import_rules() in
 * schema/79-alert-writes.sql reads them.
 */
#ifndef FLEET_HUB_RULES_YAML_H
#define FLEET_HUB_RULES_YAML_H

#include "fleet_hub/base/params.h"

/* The body's member "yaml", as JSON: {"rules": [...]} or {"groups": [...]}. A file that is no YAML, or has
 * neither, is refused with its line and column. */
param_kind param_rules_yaml;

/* GET: the rules as a file that import takes again. */
void rules_yaml_answer(struct request *r, struct db *db, struct response *s);

#endif
