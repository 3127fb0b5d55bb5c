#include "params.h"

#include <json-c/json.h>

#include "common/clock.h"
#include "common/parse.h"
#include "common/utf8.h"
#include "auth.h"
#include "fleet_hub/http/json_body.h"
#include "times.h"

enum { VALUE_SAID_MAX = 60 };           /* bytes of a value that a sentence quotes */
enum { LIMIT_MAX = 1000 };

/* ---- the form of the answer --------------------------------------------------------------- */

enum form form_wanted(const struct request *r)
{
	static const struct { const char *name; enum form form; } names[] = {
		{ "json", FORM_JSON }, { "csv", FORM_CSV }, { "ndjson", FORM_NDJSON },
	};
	const char *format = request_param(r, "format");

	if (!format || !*format || strcmp(format, "html") == 0) {
		bool json =
			!format && strstr(r->accept, "application/json") && !strstr(r->accept, "text/html");

		return json ? FORM_JSON : FORM_HTML;
	}
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(format, names[i].name) == 0)
			return names[i].form;
	return FORM_UNKNOWN;
}

/* ---- what kinds are made of --------------------------------------------------------------- */

int params_add(struct params *p, const char *value, struct err *e)
{
	if (p->n == DB_PARAMS_MAX)
		return err_set(e, 500, "the question has more than %d parameters", DB_PARAMS_MAX);
	p->v[p->n++] = value;
	return 0;
}

int params_add_copy(struct params *p, struct text value, struct err *e)
{
	char *copy = arena_dup(&p->arena, value);

	return copy ? params_add(p, copy, e) : err_set(e, 500, "The parameters need too much memory.");
}

int params_body(struct params *p, struct json_object **ret, struct err *e)
{
	int rc = p->body ? 0 : json_body_read(p->request, &p->body, &p->field, e);

	if (rc == 0)
		*ret = p->body;
	return rc;
}

int params_refuse(const struct param *row, const char *value, const char *form, struct err *e)
{
	int n = (int)utf8_cut(value, strlen(value), VALUE_SAID_MAX);

	return err_set(e, 400, "\"%.*s\" cannot be read as \"%s\": %s.", n, value, row->name, form);
}

int params_add_time(struct params *p, const struct param *row, struct text value, struct err *e)
{
	char shown[RFC3339_SIZE];
	int64_t us;

	if (!times_read(value, wall_us(), &us))
		return params_refuse(row, value.s, TIMES_FORMS, e);
	format_rfc3339(shown, us);
	return params_add_copy(p, text_of(shown), e);
}

/* ---- the kinds ------------------------------------------------------------------------------ */

int param_text(struct params *p, const struct param *row, const char *value, struct err *e)
{
	(void)row;
	return params_add(p, value, e);
}

int param_rest(struct params *p, const struct param *row, const char *value, struct err *e)
{
	(void)row;
	(void)value;
	return params_add(p, p->rest, e);
}

int param_hash(struct params *p, const struct param *row, const char *value, struct err *e)
{
	(void)row;
	(void)value;
	return params_add(p, p->request->who.hash[0] ? p->request->who.hash : NULL, e);
}

int param_body(struct params *p, const struct param *row, const char *value, struct err *e)
{
	struct json_object *body = NULL, *password = NULL;
	bool has_password;
	int rc = params_body(p, &body, e);

	(void)row;
	(void)value;
	if (rc < 0)
		return rc;
	has_password = json_object_object_get_ex(body, "password", &password);
	json_object_get(password);
	json_object_object_del(body, "password");
	rc = params_add_copy(p, text_of(json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN)), e);
	if (has_password)
		json_object_object_add(body, "password", password);
	return rc;
}

int param_key(struct params *p, const struct param *row, const char *value, struct err *e)
{
	(void)row;
	(void)value;
	return params_add(p, p->request->idempotency_key, e);
}

int param_if_match(struct params *p, const struct param *row, const char *value, struct err *e)
{
	const char *version = request_param(p->request, "version");
	char tag[32];

	(void)row;
	(void)value;
	if (p->request->if_match || !version || strlen(version) > sizeof tag - 3)
		return params_add(p, p->request->if_match, e);
	snprintf(tag, sizeof tag, "\"%s\"", version);
	return params_add_copy(p, text_of(tag), e);
}

int param_new_token(struct params *p, const struct param *row, const char *value, struct err *e)
{
	char hash[HTTP_HASH_SIZE];

	(void)value;
	auth_new_token(row->otherwise, p->request->new_token);
	auth_hash(text_of(p->request->new_token), hash);
	return params_add_copy(p, text_of(hash), e);
}

int param_count(struct params *p, const struct param *row, const char *value, struct err *e)
{
	int64_t n;

	if (!value || !*value)
		return params_add(p, NULL, e);
	if (!parse_i64(text_of(value), &n) || n < 0)
		return params_refuse(row, value, "write a whole number from 0 on", e);
	return params_add(p, value, e);
}

int param_limit(struct params *p, const struct param *row, const char *value, struct err *e)
{
	int64_t n;

	if (value && (!parse_i64(text_of(value), &n) || n < 1 || n > LIMIT_MAX))
		return params_refuse(row, value, "write a number from 1 to 1000", e);
	return params_add(p, value ? value : "100", e);
}

int param_number(struct params *p, const struct param *row, const char *value, struct err *e)
{
	int64_t n;

	if (!value || !parse_i64(text_of(value), &n))
		return params_refuse(row, value ? value : "", "write a whole number", e);
	return params_add(p, value, e);
}

int param_time(struct params *p, const struct param *row, const char *value, struct err *e)
{
	if (!value || !*value)
		return params_add(p, NULL, e);
	return params_add_time(p, row, text_of(value), e);
}

int param_until(struct params *p, const struct param *row, const char *value, struct err *e)
{
	int rc = param_time(p, row, value, e);
	const char *from = rc == 0 ? p->v[p->n - 2] : NULL, *until = rc == 0 ? p->v[p->n - 1] : NULL;

	if (from && until && strcmp(from, until) >= 0)
		return err_set(e, 400,
			       "\"%s\" is %s, which is not later than its beginning, %s: the time is empty.",
			       row->name, until, from);
	return rc;
}

int param_range(struct params *p, const struct param *row, const char *value, struct err *e)
{
	static const struct { const char *name, *seconds; } ranges[] = {
		{ "15m", "900" },   { "1h", "3600" },    { "6h", "21600" },    { "24h", "86400" },
		{ "7d", "604800" }, { "30d", "2592000" }, { "90d", "7776000" },
	};

	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		if (strcmp(value[0] ? value : row->otherwise, ranges[i].name) == 0)
			return params_add(p, ranges[i].seconds, e);
	return params_refuse(row, value, "write 15m, 1h, 6h, 24h, 7d, 30d or 90d", e);
}

/* ---- the table --------------------------------------------------------------------------------- */

int params_read(struct params *p, const struct param *table, struct err *e)
{
	int rc = 0;

	for (; table && table->name && rc == 0; table++) {
		const char *value = request_param(p->request, table->name);

		rc = table->kind(p, table, value ? value : table->otherwise, e);
	}
	return rc;
}

void params_free(struct params *p)
{
	for (size_t i = 0; i < PARAMS_LARGE; i++)
		buf_free(&p->large[i]);
	json_object_put(p->body);
	arena_free(&p->arena);
}
