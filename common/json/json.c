#include "json.h"

enum { ANSWER_DEPTH_MAX = 8192 }; /* a context is as deep as PostgreSQL takes it */

struct json_object *json_read(struct text t, int depth)
{
	struct json_tokener *tok = t.len ? json_tokener_new_ex(depth) : NULL;
	struct json_object *o = tok ? json_tokener_parse_ex(tok, t.s, (int)t.len) : NULL;

	if (tok)
		json_tokener_free(tok);
	return o;
}

struct json_object *json_of(const struct buf *answer)
{
	return json_read((struct text){ answer->data, answer->len }, ANSWER_DEPTH_MAX);
}
