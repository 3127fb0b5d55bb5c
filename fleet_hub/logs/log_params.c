#include "log_params.h"

#include "common/cleanup.h"
#include "common/parse.h"
#include "search.h"

/* ---- the search box --------------------------------------------------------------------------- */

int param_search(struct params *p, const struct param *row, const char *value, struct err *e)
{
	CLEANUP(search_free) struct search s;

	(void)row;
	if (!search_parse(&s, text_of(value)))
		return err_set(e, 500, "out of memory");
	return params_add_copy(p, (struct text){ s.tree.data, s.tree.len }, e);
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
