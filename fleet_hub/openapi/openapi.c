#include "openapi.h"

#include <ctype.h>

#include "common/cleanup.h"
#include "common/embed.h"
#include "fleet_hub/base/refusal.h"
#include "fleet_hub/routes.h"
#include "openapi_row.h"

EMBED(yaml_head, "fleet_hub/openapi/head.yaml");
EMBED(yaml_components, "fleet_hub/openapi/components.yaml");

enum { OPENAPI_MAX = 1024 * 1024 };     /* bytes */

struct text openapi_components(void)
{
	return (struct text){ yaml_components, (size_t)yaml_components_len };
}

/* ---- an operation ----------------------------------------------------------------------------------- */

/* "get_api_v1_servers_id" */
static bool add_id(struct buf *out, const char *method, const char *path)
{
	bool ok = buf_adds(out, method), apart = true;

	for (; *path && ok; path++) {
		bool sign = !isalnum((unsigned char)*path);

		if (!sign)
			ok = (!apart || buf_addc(out, '_')) && buf_addc(out, *path);
		apart = sign;
	}
	return ok;
}

static bool add_param(struct buf *out, const struct row_param *p)
{
	return buf_addf(out, "        - {name: %s, in: %s, required: %s, description: ", p->name, p->in,
			p->required ? "true" : "false") &&
	       buf_add_json(out, text_of(p->sentence)) && buf_addf(out, ", schema: {%s", p->schema) &&
	       (!p->otherwise || buf_addf(out, ", default: %s", p->otherwise)) && buf_adds(out, "}}\n");
}

static bool add_params(struct buf *out, const struct route *row)
{
	struct row_param params[ROW_PARAMS_MAX];
	size_t n = row_params(row, params);
	bool ok = n == 0 || buf_adds(out, "      parameters:\n");

	for (size_t i = 0; i < n && ok; i++)
		ok = params[i].sentence && add_param(out, &params[i]);
	return ok;
}

static bool add_medium(struct buf *out, const char *medium, const char *schema)
{
	return buf_addf(out, "          %s: {schema: {$ref: '#/components/schemas/%s'}}\n", medium, schema);
}

static bool add_body(struct buf *out, const struct route *row)
{
	const char *schema = row->doc.takes;

	if (!schema)
		return true;
	return buf_adds(out, "      requestBody:\n        required: true\n        content:\n") &&
	       add_medium(out, "application/json", schema) &&
	       (!(row->methods & HTTP_PATCH) || add_medium(out, "application/merge-patch+json", schema)) &&
	       (!(row->body.media & BODY_FORM) ||
		add_medium(out, "application/x-www-form-urlencoded", row->doc.form ? row->doc.form : schema));
}

static bool add_answers(struct buf *out, const struct route *row)
{
	struct route_answer answers[ROW_ANSWERS_MAX];
	size_t n = row_answers(row, answers);
	bool ok = buf_adds(out, "      responses:\n");

	for (size_t i = 0; i < n && ok; i++)
		ok = buf_addf(out, "        '%d': {$ref: '#/components/responses/%s'}\n", answers[i].status,
			      answers[i].response);
	return ok;
}

/* What it needs, and how much it takes. */
static bool add_description(struct buf *out, const struct route *row)
{
	static const char *const needs[] = {
		[ROLE_PUBLIC] = "no role",        [ROLE_VIEWER] = "the role viewer",
		[ROLE_OPERATOR] = "the role operator", [ROLE_ADMIN] = "the role admin",
		[ROLE_SERVER] = "a server's token",    [ROLE_BOOTSTRAP] = "a bootstrap token",
	};
	bool ok = buf_addf(out, "      description: Needs %s.", needs[row->role]);

	if (ok && row->body.media)
		ok = buf_addf(out, " The body has %zu bytes at most.", row->body.max);
	return ok && buf_addc(out, '\n');
}

/* {}: it answers without a token, too. */
static bool add_security(struct buf *out, const struct route *row)
{
	const char *token = row_token(row);

	if (!token)
		return buf_adds(out, "      security: [{}]\n");
	return buf_addf(out, "      security: [%s{%s: []}]\n", row->role == ROLE_PUBLIC ? "{}, " : "", token);
}

static bool add_rights(struct buf *out, const struct route *row)
{
	const char *limit = row_limit(row);
	struct text tag = row_tag(row);
	bool ok = buf_addf(out, "      tags: [%.*s]\n      x-role: %s\n", (int)tag.len, tag.s, row_role(row));

	if (ok && limit)
		ok = buf_addf(out, "      x-limit: %s\n", limit);
	return ok && add_security(out, row);
}

static bool add_operation(struct buf *out, const struct route *row, const char *path)
{
	const char *method = row_method(row);

	return buf_addf(out, "    %s:\n      operationId: ", method) && add_id(out, method, path) &&
	       buf_adds(out, "\n      summary: ") && buf_add_json(out, text_of(row->doc.summary)) &&
	       buf_addc(out, '\n') && add_description(out, row) && add_rights(out, row) &&
	       add_params(out, row) && add_body(out, row) && add_answers(out, row);
}

/* ---- the file ----------------------------------------------------------------------------------------- */

/* The row's k-th address; NULL behind the last one. */
static const char *address_of(const struct route *row, size_t k)
{
	return k == 0 ? row->path : k <= ROUTE_ALSO_MAX ? row->also[k - 1] : NULL;
}

static bool has_address(const struct route *row, const char *path)
{
	for (size_t k = 0; address_of(row, k); k++)
		if (strcmp(address_of(row, k), path) == 0)
			return true;
	return false;
}

/* The i-th row is the first one at the path. */
static bool is_first(size_t i, const char *path)
{
	while (i > 0)
		if (route_at(--i)->api && has_address(route_at(i), path))
			return false;
	return true;
}

/* All operations at a path, from the i-th row on. */
static bool add_path(struct buf *out, size_t i, const char *path)
{
	char shown[ROW_PATH_SIZE];
	bool ok;

	row_path(path, shown);
	ok = buf_addf(out, "  %s:\n", shown);
	for (const struct route *row; ok && (row = route_at(i)); i++)
		if (row->api && has_address(row, path))
			ok = row->doc.summary && add_operation(out, row, shown);
	return ok;
}

static bool add_all(struct buf *out)
{
	bool ok = buf_add(out, yaml_head, (size_t)yaml_head_len) && buf_adds(out, "paths:\n");
	size_t i = 0;

	for (const struct route *row; ok && (row = route_at(i)); i++)
		for (size_t k = 0; ok && row->api && address_of(row, k); k++)
			if (is_first(i, address_of(row, k)))
				ok = add_path(out, i, address_of(row, k));
	return ok && buf_add(out, yaml_components, (size_t)yaml_components_len);
}

bool openapi_print(FILE *to)
{
	CLEANUP(buf_free) struct buf out = BUF(OPENAPI_MAX);

	if (!add_all(&out)) {
		fprintf(stderr, "fleet_hub: a row of the route table has no sentence behind: %.200s\n",
			out.len > 200 ? out.data + out.len - 200 : "");
		return false;
	}
	return fwrite(out.data, 1, out.len, to) == out.len && fflush(to) == 0;
}

void openapi_answer(struct request *r, struct db *db, struct response *s)
{
	(void)db;
	if (!add_all(&s->body)) {
		refuse_database(r, s, DB_TOO_BIG);
		return;
	}
	s->status = 200;
	s->type = "application/yaml";
}
