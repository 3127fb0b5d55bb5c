/*
 * posting_routes.c - a hub whose only address takes bodies: linked in place of routes.c.
 *
 * It answers with what came: the type, the parameters of the form, the bytes.
 */
#include <stdio.h>
#include <string.h>

#include "fleet_hub/routes.h"

enum { BODY_MAX = 1000 };

static void say_what_came(struct request *r, struct db *db, struct response *s)
{
	(void)db;
	s->status = 200;
	s->type = "text/plain; charset=utf-8";
	buf_addf(&s->body, "%zu bytes of %s", r->body.len, r->content_type);
	for (size_t i = 0; i < r->n_params; i++)
		buf_addf(&s->body, ", %s is %s", r->param[i].name, r->param[i].value);
	buf_adds(&s->body, ": ");
	buf_add(&s->body, r->body.s, r->body.len);
}

const struct route *route_find(struct request *r, unsigned *ret_methods)
{
	static const struct route post = {
		.path = "/post", .methods = HTTP_POST | HTTP_PUT,
		.body = { BODY_JSON | BODY_FORM, BODY_MAX }, .answer = say_what_came,
	};

	*ret_methods = strcmp(r->path, post.path) == 0 ? post.methods : 0;
	return *ret_methods & r->method ? &post : NULL;
}

const struct route *route_at(size_t i)
{
	(void)i;
	return NULL;
}

void routes_print(FILE *to)
{
	fputs("public /post POST, PUT\n", to);
}
