#include "rules_yaml.h"

#include "common/cleanup.h"
#include "common/embed.h"
#include "common/json/json.h"
#include "common/settings/yaml_tree.h"
#include "fleet_hub/base/refusal.h"
#include "rule_body.h"

EMBED(sql_rules_export, "fleet_hub/alerts/rules_export.sql");

enum { ASK_MS = 5000, TREE_BYTES_MAX = 4 * 1024 * 1024 };

/* ---- in ------------------------------------------------------------------------------------------ */

/* Values stay texts: what they are, the database knows. A depth of YAML_DEPTH_MAX ends the recursion. */
static struct json_object *to_json(const struct yaml_node *node)
{
	struct json_object *o;

	if (node->kind == NODE_TEXT)
		return node->plain && (node->text.len == 0 || text_eq(node->text, TEXT("null")))
		       ? NULL : json_object_new_string_len(node->text.s, (int)node->text.len);
	o = node->kind == NODE_LIST ? json_object_new_array() : json_object_new_object();
	for (const struct yaml_node *n = node->first; n; n = n->next)
		if (node->kind == NODE_LIST)
			json_object_array_add(o, to_json(n));
		else
			json_object_object_add(o, n->key->text.s, to_json(n));
	return o;
}

/* The sections that the file has, added to `out`. */
static int add_sections(struct text yaml, struct json_object *out, struct err *e)
{
	CLEANUP(arena_free) struct arena arena = ARENA(TREE_BYTES_MAX);
	struct yaml_section sections[] = { { .name = "rules" }, { .name = "groups" } };
	enum { N = sizeof sections / sizeof *sections };
	struct err why;

	if (yaml_sections("yaml", yaml, sections, N, &arena, &why) < 0)
		return err_set(e, 422, "%s", why.msg);
	for (size_t i = 0; i < N; i++)
		if (sections[i].node)
			json_object_object_add(out, sections[i].name, to_json(sections[i].node));
	return 0;
}

/* A rule of Prometheus has no log query. */
static int read_queries(struct json_object *out, struct err *e)
{
	struct json_object *rules = NULL, *name = NULL;
	const char *field = NULL;
	int rc = 0;

	if (!json_object_object_get_ex(out, "rules", &rules) || !json_object_is_type(rules, json_type_array))
		return 0;
	for (size_t i = 0; i < json_object_array_length(rules) && rc == 0; i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);

		rc = rule_body_read(rule, &field, e);
		if (rc < 0 && field && json_object_object_get_ex(rule, "name", &name))
			err_prefix(e, "has a rule \"%.200s\", whose %s", json_object_get_string(name), field);
	}
	return rc;
}

int param_rules_yaml(struct params *p, const struct param *row, const char *value, struct err *e)
{
	CLEANUP(json_p) struct json_object *out = json_object_new_object();
	struct json_object *body = NULL, *yaml = NULL;
	struct text text;
	int rc = params_body(p, &body, e);

	(void)row;
	(void)value;
	if (rc < 0)
		return rc;
	json_object_object_foreach(body, name, member)
		if (strcmp(name, "yaml") != 0) {
			p->field = name;
			return err_set(e, 422, "is not known; known is yaml");
		}
	p->field = "yaml";
	if (!json_object_object_get_ex(body, "yaml", &yaml) || !json_object_is_type(yaml, json_type_string))
		return err_set(e, 422, "is missing: the text of a YAML file with rules");
	text = (struct text){ json_object_get_string(yaml), (size_t)json_object_get_string_len(yaml) };
	rc = add_sections(text, out, e);
	if (rc < 0)
		return rc;
	if (json_object_object_length(out) == 0)
		return err_set(e, 422, "has neither \"rules:\" nor \"groups:\" at its top");
	rc = read_queries(out, e);
	if (rc < 0)
		return rc;
	p->field = NULL;
	return params_add_copy(p, text_of(json_object_to_json_string_ext(out, JSON_C_TO_STRING_PLAIN)), e);
}

/* ---- out ----------------------------------------------------------------------------------------- */

/* A value in JSON is one in YAML as well. */
static bool write_rule(struct buf *out, struct json_object *rule)
{
	const char *before = "- ";
	bool ok = true;

	for (struct lh_entry *m = json_object_get_object(rule)->head; m && ok; m = m->next) {
		ok = buf_addf(out, "%s%s: %s\n", before, (const char *)lh_entry_k(m),
			      json_object_to_json_string_ext(lh_entry_v(m), JSON_C_TO_STRING_NOSLASHESCAPE));
		before = "  ";
	}
	return ok;
}

static bool write_rules(struct buf *out, struct json_object *data)
{
	struct json_object *rules = NULL;
	bool ok = buf_adds(out, "# Alert rules of Observ. POST /api/v1/alerts/rules/import takes this file.\n"
				"rules:\n");

	json_object_object_get_ex(data, "rules", &rules);
	for (size_t i = 0; rules && i < json_object_array_length(rules) && ok; i++)
		ok = write_rule(out, json_object_array_get_idx(rules, i));
	return ok;
}

void rules_yaml_answer(struct request *r, struct db *db, struct response *s)
{
	CLEANUP(buf_free) struct buf answer = BUF(HTTP_BODY_MAX);
	CLEANUP(json_p) struct json_object *data = NULL;
	const struct db_question question = { sql_rules_export, 0, NULL, ASK_MS };
	struct err e;
	enum db_failure failure = db_ask(db, &question, &answer, &e);

	if (failure == DB_OK) {
		data = json_of(&answer);
		failure = data && write_rules(&s->body, data) ? DB_OK : DB_TOO_BIG;
	}
	if (failure) {
		buf_reset(&s->body);
		refuse_failure(r, db, s, failure, &e);
		return;
	}
	s->status = 200;
	s->type = "application/yaml";
	response_header(s, "Content-Disposition", "attachment; filename=\"observ-rules.yaml\"");
}
