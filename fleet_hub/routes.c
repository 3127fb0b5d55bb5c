#include "routes.h"

/* The site map. A subject has its rows in a file of its own. */
static const struct route_table *const tables[] = {
	&routes_pages,  &routes_logs,   &routes_servers, &routes_ingest, &routes_service,
	&routes_people, &routes_alerts, &routes_heartbeats, &routes_messages,
};

/* ---- parameters that many rows have ------------------------------------------------------------------ */

const struct param params_one[] = {
	{ "", param_hash, NULL },
	{ "", param_rest, NULL },
	{ NULL, NULL, NULL },
};

const struct param params_one_body[] = {
	{ "", param_hash, NULL },
	{ "", param_rest, NULL },
	{ "", param_body, NULL },
	{ NULL, NULL, NULL },
};

const struct param params_one_version[] = {
	{ "", param_hash, NULL },
	{ "", param_rest, NULL },
	{ "", param_if_match, NULL },
	{ NULL, NULL, NULL },
};

const struct param params_one_body_version[] = {
	{ "", param_hash, NULL },
	{ "", param_rest, NULL },
	{ "", param_body, NULL },
	{ "", param_if_match, NULL },
	{ NULL, NULL, NULL },
};

const struct route *route_at(size_t i)
{
	for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
		if (i < tables[t]->n)
			return &tables[t]->rows[i];
		i -= tables[t]->n;
	}
	return NULL;
}

/* Whether the pattern stands for the path; then *ret_rest is what its '*' stands for. */
static bool matches(const char *pattern, struct text path, struct text *ret_rest)
{
	size_t n = strcspn(pattern, "*");
	struct text end = text_of(pattern[n] ? pattern + n + 1 : "");

	if (path.len < n || memcmp(path.s, pattern, n) != 0)
		return false;
	*ret_rest = (struct text){ path.s + n, path.len - n };
	if (!pattern[n])
		return ret_rest->len == 0;
	if (ret_rest->len <= end.len || memcmp(path.s + path.len - end.len, end.s, end.len) != 0)
		return false;
	ret_rest->len -= end.len;
	return true;
}

/* How much of the path the row names itself; the one that names most is meant. 0: it is another path. */
static size_t fits(const struct route *row, struct text path, struct text *ret_rest)
{
	size_t best = 0;
	struct text rest;

	if (matches(row->path, path, ret_rest))
		best = strlen(row->path);
	for (size_t i = 0; i < ROUTE_ALSO_MAX && row->also[i]; i++)
		if (strlen(row->also[i]) > best && matches(row->also[i], path, &rest)) {
			best = strlen(row->also[i]);
			*ret_rest = rest;
		}
	return best;
}

const struct route *route_find(struct request *r, unsigned *ret_methods)
{
	struct text path = text_of(r->path), rest = { "", 0 }, its_rest;
	unsigned method = r->method == HTTP_HEAD ? HTTP_GET : r->method;
	const struct route *found = NULL;
	size_t best = 0, i = 0;

	*ret_methods = 0;
	if (path.len > 1 && path.s[path.len - 1] == '/')
		path.len--;
	for (const struct route *row; (row = route_at(i)); i++) {
		size_t named = fits(row, path, &its_rest);

		if (named == 0 || named < best)
			continue;
		if (named > best) {
			*ret_methods = 0;
			found = NULL;
			rest = its_rest;
			best = named;
		}
		*ret_methods |= row->methods;
		if (row->methods & method)
			found = row;
	}
	r->rest = arena_dup(&r->arena, rest);
	return r->rest ? found : NULL;
}

static void print_row(FILE *to, const struct route *row, const char *path)
{
	static const char *const needs[] = {
		[ROLE_PUBLIC] = "public",   [ROLE_VIEWER] = "viewer", [ROLE_OPERATOR] = "operator",
		[ROLE_ADMIN] = "admin",     [ROLE_SERVER] = "server", [ROLE_BOOTSTRAP] = "bootstrap",
	};
	char names[64];

	http_method_names(names, row->methods);
	names[strcspn(names, ",")] = '\0';      /* GET brings HEAD */
	fprintf(to, "%-9s %-6s %s", needs[row->role], names, path);
	for (const struct param *p = row->params; p && p->name; p++)
		if (*p->name)
			fprintf(to, " %s", p->name);
	fputc('\n', to);
}

void routes_print(FILE *to)
{
	size_t i = 0;

	for (const struct route *row; (row = route_at(i)); i++) {
		print_row(to, row, row->path);
		for (size_t k = 0; k < ROUTE_ALSO_MAX && row->also[k]; k++)
			print_row(to, row, row->also[k]);
	}
}
