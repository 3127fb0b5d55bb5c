#include "json_body.h"

#include <errno.h>
#include <json-c/json.h>
#include <math.h>

enum { DEPTH_MAX = 32 };

static const double LARGEST = 1e300;

/* ---- what PostgreSQL can take ------------------------------------------------------------------ */

/* Whether it is spelled as zero, rather than as something smaller than a double can be. */
static bool is_zero(const char *digits)
{
	return strcspn(digits, "123456789") >= strcspn(digits, "eE");
}

static bool fits_number(struct json_object *o)
{
	double v = json_object_get_double(o);
	int64_t n = json_object_get_int64(o);

	if (json_object_is_type(o, json_type_int))
		return n != INT64_MAX && n != INT64_MIN; /* the parser's way to say: too large */
	/* Neither beyond the range nor so small that PostgreSQL would write thousands of zeros. */
	if (v == 0)
		return is_zero(json_object_to_json_string(o));
	return isfinite(v) && fabs(v) < LARGEST && fabs(v) > 1 / LARGEST;
}

static bool fits(struct json_object *o)
{
	switch (json_object_get_type(o)) {
	case json_type_object:
		for (struct lh_entry *m = json_object_get_object(o)->head; m; m = m->next)
			if (!fits(lh_entry_v(m)))
				return false;
		return true;
	case json_type_array:
		for (size_t i = 0; i < json_object_array_length(o); i++)
			if (!fits(json_object_array_get_idx(o, i)))
				return false;
		return true;
	case json_type_string:
		return !memchr(json_object_get_string(o), '\0', (size_t)json_object_get_string_len(o));
	case json_type_int:
	case json_type_double: return fits_number(o);
	default: return true;
	}
}

/* The first member that does not fit; NULL: all do. */
static const char *unfit(struct json_object *body)
{
	json_object_object_foreach(body, name, value)
		if (!fits(value))
			return name;
	return NULL;
}

/* ---- the two kinds of bodies --------------------------------------------------------------------- */

static struct json_object *of_form(const struct request *r)
{
	struct json_object *o = json_object_new_object();

	for (size_t i = r->n_query; i < r->n_params; i++)
		if (strcmp(r->param[i].name, "csrf") != 0 && strcmp(r->param[i].name, "back") != 0)
			json_object_object_add(o, r->param[i].name,
					       json_object_new_string(r->param[i].value));
	return o;
}

static int of_json(struct text body, struct json_object **ret, struct err *e)
{
	struct json_tokener *tok = json_tokener_new_ex(DEPTH_MAX);
	struct json_object *o = NULL;
	enum json_tokener_error error = json_tokener_error_size;
	size_t at = 0;

	if (tok) {
		json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
		o = json_tokener_parse_ex(tok, body.s, (int)body.len);
		error = json_tokener_get_error(tok);
		at = json_tokener_get_parse_end(tok);
	}

	if (error == json_tokener_continue) { /* a number might go on: only a NUL ends it */
		o = json_tokener_parse_ex(tok, "", 1);
		error = json_tokener_get_error(tok);
	}
	if (tok)
		json_tokener_free(tok);
	while (at < body.len && strchr(" \t\r\n", body.s[at]))
		at++;
	if (error == json_tokener_success && at == body.len) {
		*ret = o;
		return 0;
	}
	json_object_put(o);
	return err_set(e, 400, "The body is no JSON, from byte %zu on: %s.", at,
		       error == json_tokener_error_parse_eof ? "it ends too early"
							     : json_tokener_error_desc(error));
}

int json_body_read(const struct request *r, struct json_object **ret, const char **ret_field, struct err *e)
{
	bool form = r->n_params > r->n_query || r->body.len == 0;
	int rc;

	*ret = form ? of_form(r) : NULL;
	*ret_field = NULL;
	rc = form ? 0 : of_json(r->body, ret, e);
	if (rc < 0)
		return rc;
	if (!json_object_is_type(*ret, json_type_object))
		return err_set(e, 422, "The body must be a JSON object.");
	*ret_field = unfit(*ret);
	return *ret_field ? err_set(e, 422, "has a number out of range, or a text with a NUL in it") : 0;
}
