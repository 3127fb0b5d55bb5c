#include "log_params.h"

#include "common/cleanup.h"
#include "common/level.h"
#include "common/parse.h"
#include "search.h"

/* ---- the search box --------------------------------------------------------------------------- */

/* PostgreSQL's array of the levels; null when all will do. */
static int add_levels(struct params *p, unsigned levels, struct err *e)
{
	CLEANUP(buf_free) struct buf list = BUF(256);
	bool ok = buf_addc(&list, '{');

	if (levels == SEARCH_ANY_LEVEL)
		return params_add(p, NULL, e);
	for (int i = 0; i < LOG_LEVELS && ok; i++)
		if (levels & (1u << i))
			ok = (list.len == 1 || buf_addc(&list, ',')) && buf_adds(&list, log_level_names[i]);
	if (!ok || !buf_addc(&list, '}'))
		return err_set(e, 500, "out of memory");
	return params_add_copy(p, (struct text){ list.data, list.len }, e);
}

static int add_buf(struct params *p, const struct buf *b, struct err *e)
{
	return params_add_copy(p, (struct text){ b->data ? b->data : "", b->len }, e);
}

int param_search(struct params *p, const struct param *row, const char *value, struct err *e)
{
	CLEANUP(search_free) struct search s;
	int rc = search_parse(&s, text_of(value)) ? 0 : err_set(e, 500, "out of memory");

	(void)row;
	if (rc == 0)
		rc = add_buf(p, &s.words, e);
	if (rc == 0)
		rc = add_levels(p, s.levels, e);
	for (int i = 0; i < SEARCH_FIELDS && rc == 0; i++) {
		rc = add_buf(p, &s.only[i], e);
		if (rc == 0)
			rc = add_buf(p, &s.not[i], e);
	}
	if (rc == 0)
		rc = add_buf(p, &s.context_only, e);
	return rc < 0 ? rc : add_buf(p, &s.context_not, e);
}

/* ---- a place in a list -------------------------------------------------------------------------- */

static int add_nulls(struct params *p, int n, struct err *e)
{
	int rc = 0;

	while (n-- > 0 && rc == 0)
		rc = params_add(p, NULL, e);
	return rc;
}

/* The server's name stands at the end, for it may hold a comma. */
int param_cursor(struct params *p, const struct param *row, const char *value, struct err *e)
{
	const char *id = value ? strchr(value, ',') : NULL, *server = id ? strchr(id + 1, ',') : NULL;
	struct text digits = { id ? id + 1 : NULL, server ? (size_t)(server - id) - 1 : 0 };
	uint64_t number;
	int rc;

	if (!value)
		return add_nulls(p, 3, e);
	if (!server || !parse_u64(digits, &number) || number > INT64_MAX)
		return params_refuse(row, value, "it is a line's TIMESTAMP,ID,SERVER", e);
	rc = params_add_time(p, row, (struct text){ value, (size_t)(id - value) }, e);
	if (rc == 0)
		rc = params_add(p, server + 1, e);
	return rc < 0 ? rc : params_add_copy(p, digits, e);
}
