#include "parts.h"

#include <string.h>

#include "common/cleanup.h"

/* Ask, and join the members of the object that comes to those in `text`. */
static enum db_failure ask_part(struct db *db, const struct route *route, const struct params *p,
				const struct part *part, struct buf *text, struct err *e)
{
	CLEANUP(buf_free) struct buf answer = BUF(HTTP_BODY_MAX);
	const char *hash = p->request->who.hash;
	const struct db_question question = {
		part->sql,
		part->n_params == PART_HASH ? 1 : part->n_params,
		part->n_params == PART_HASH ? &hash : p->v,
		route->timeout_ms,
	};
	enum db_failure failure = db_ask(db, &question, &answer, e);

	if (failure)
		return failure;
	text->len--; /* the closing brace */
	return (text->len == 1 || buf_addc(text, ',')) && buf_add(text, answer.data + 1, answer.len - 1)
		? DB_OK : DB_TOO_BIG;
}

static bool is_wanted(const struct part *part, const struct request *r)
{
	const char *value = part->name ? request_param(r, part->name) : NULL;

	if ((part->whom == FOR_OPERATORS && !r->who.is_operator) ||
	    (part->whom == FOR_SIGNED_IN && r->who.anonymous))
		return false;
	return !value || strcmp(value, "no") != 0;
}

enum db_failure parts_ask(struct db *db, const struct route *route, const struct params *p,
			  struct buf *text, struct err *e)
{
	CLEANUP(buf_free) struct buf late = BUF(ROUTE_MORE_MAX * 64);
	enum db_failure failure = DB_OK;

	for (size_t i = 0; i < ROUTE_MORE_MAX && route->more[i].sql && !failure; i++) {
		const struct part *part = &route->more[i];

		if (!is_wanted(part, p->request))
			continue;
		failure = ask_part(db, route, p, part, text, e);
		if (failure == DB_TIMEOUT && part->name &&
		    buf_addf(&late, "%s\"%s\"", late.len ? "," : "", part->name))
			failure = DB_OK;
	}
	if (failure || !late.len)
		return failure;
	text->len--; /* the closing brace */
	return buf_adds(text, ",\"left_out\":[") && buf_add(text, late.data, late.len) && buf_adds(text, "]}")
		? DB_OK : DB_TOO_BIG;
}
