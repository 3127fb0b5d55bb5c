/*
 * Any bytes as a query string, and the value of its "q" as a search. Checks that names and values are
 * UTF-8 without NUL; a search is never refused and means everything only if it is blank; the tree is valid
 * JSON; marks lie within the text, in order.
 */
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"
#include "fleet_hub/http/http.h"
#include "fleet_hub/logs/search.h"

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "broken: %s\n", what);
	abort();
}

static void must_be_utf8(const char *s)
{
	size_t len = strlen(s);

	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_sequence(s + i, len - i);
		must(n > 0, "not UTF-8");
	}
}

static void must_be_json(const char *s)
{
	struct json_object *o = json_tokener_parse(s);

	must(json_object_is_type(o, json_type_object), "the tree is no JSON object");
	json_object_put(o);
}

static void check_search(struct text q)
{
	size_t at = 0, from, to;
	struct search s;

	must(search_parse(&s, q), "a search was refused");
	must_be_utf8(s.tree.data);
	must_be_utf8(s.understood.data);
	must_be_json(s.tree.data);
	must(strcmp(s.tree.data, "{}") != 0 || strspn(q.s, " \t\r\n") == q.len,
	     "a query that is not blank means everything");
	while (search_find(&s, q, at, &from, &to)) {
		must(from >= at && to > from && to <= q.len, "a mark outside the text");
		at = to;
	}
	search_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *query = malloc(size + sizeof "QUERY_STRING=");
	char *env[] = { query, NULL };
	struct request r;
	struct err e;

	if (!query)
		return 0;
	memcpy(query, "QUERY_STRING=", 13);
	memcpy(query + 13, bytes, size);
	query[13 + size] = '\0';
	if (request_read(&r, env, &e) == 0) {
		for (size_t i = 0; i < r.n_params; i++) {
			must_be_utf8(r.param[i].name);
			must_be_utf8(r.param[i].value);
		}
		if (request_param(&r, "q"))
			check_search(text_of(request_param(&r, "q")));
	}
	request_free(&r);
	free(query);
	return 0;
}
