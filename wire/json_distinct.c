#include "json_distinct.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "json_scan.h"

enum { DEPTH_MAX = 256, FIRST_KEYS = 64, FIRST_NUMBER = 2 };

struct key {
	struct text name;               /* unescaped */
	const char *end;                /* its closing quote in the text */
	unsigned object;                /* of which it is a key, counted from 1 */
	unsigned number;                /* goes behind its name; 0: it keeps its name */
};

struct keys {
	struct key *key;
	size_t n, cap;
	struct buf unescaped;           /* names that have escapes */
};

static void keys_free(struct keys *k)
{
	free(k->key);
	buf_free(&k->unescaped);
}

static bool add_key(struct keys *k, struct text inside, bool escapes, unsigned object)
{
	size_t from = k->unescaped.len;
	struct text name = inside;

	if (k->n == k->cap) {
		size_t cap = k->cap ? 2 * k->cap : FIRST_KEYS;
		struct key *more = reallocarray(k->key, cap, sizeof *more);

		if (!more)
			return false;
		k->key = more;
		k->cap = cap;
	}
	if (escapes) {
		if (!json_unescape(inside, &k->unescaped))
			return false;
		name = (struct text){ k->unescaped.data + from, k->unescaped.len - from };
	}
	k->key[k->n++] = (struct key){ .name = name, .end = inside.s + inside.len, .object = object };
	return true;
}

static bool is_key(struct json_scan j)
{
	json_space(&j);
	return j.p < j.end && *j.p == ':';
}

/* The text is valid JSON: brackets match, and a string before a colon is a key. */
static bool find_keys(struct text json, struct keys *k)
{
	unsigned open[DEPTH_MAX], objects = 0, depth = 0;
	struct json_scan j = { .p = json.s, .end = json.s + json.len };

	while (j.p < j.end) {
		struct text inside;
		bool escapes;

		if (*j.p == '"') {
			if (!json_string(&j, &escapes, &inside) ||
			    (is_key(j) && (depth == 0 || !add_key(k, inside, escapes, open[depth - 1]))))
				return false;
			continue;
		}
		if (*j.p == '{' || *j.p == '[') {
			if (depth == DEPTH_MAX)
				return false;
			open[depth++] = *j.p == '{' ? ++objects : 0;
		} else if (*j.p == '}' || *j.p == ']') {
			depth -= depth > 0;
		}
		j.p++;
	}
	return true;
}

static int by_name(const void *a, const void *b)
{
	const struct key *x = a, *y = b;
	size_t n = x->name.len < y->name.len ? x->name.len : y->name.len;
	int order;

	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	order = n ? memcmp(x->name.s, y->name.s, n) : 0;
	return order ? order : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

static int by_name_and_place(const void *a, const void *b)
{
	const struct key *x = a, *y = b;
	int order = by_name(a, b);

	return order ? order : (x->end > y->end) - (x->end < y->end);
}

static int by_place(const void *a, const void *b)
{
	const struct key *x = a, *y = b;

	return (x->end > y->end) - (x->end < y->end);
}

/* The next number that makes the name of `key` one that its object does not have. */
static bool next_number(const struct keys *k, const struct key *key, unsigned *number)
{
	struct key wanted = *key;
	struct buf name = BUF(SIZE_MAX);
	bool ok;

	do {
		buf_reset(&name);
		ok = buf_add(&name, key->name.s, key->name.len) && buf_addf(&name, "_%u", (*number)++);
		wanted.name = (struct text){ name.data, name.len };
	} while (ok && bsearch(&wanted, k->key, k->n, sizeof *k->key, by_name));
	buf_free(&name);
	return ok;
}

/* Of equal keys all but the last get a number. */
static bool number_keys(struct keys *k)
{
	unsigned number = FIRST_NUMBER;

	qsort(k->key, k->n, sizeof *k->key, by_name_and_place);
	for (size_t i = 0; i + 1 < k->n; i++) {
		if (by_name(&k->key[i], &k->key[i + 1]) != 0) {
			number = FIRST_NUMBER;
			continue;
		}
		if (!next_number(k, &k->key[i], &number))
			return false;
		k->key[i].number = number - 1;
	}
	qsort(k->key, k->n, sizeof *k->key, by_place);
	return true;
}

bool json_distinct(struct text json, struct buf *out)
{
	CLEANUP(keys_free) struct keys k = { .unescaped = BUF(json.len) };
	const char *from = json.s;
	bool ok;

	/* Reserve all that unescaped names can need: they must not move. */
	ok = buf_room(&k.unescaped, json.len) && find_keys(json, &k) && number_keys(&k);
	for (size_t i = 0; ok && i < k.n; i++) {
		if (k.key[i].number == 0)
			continue;
		ok = buf_add(out, from, (size_t)(k.key[i].end - from)) &&
		     buf_addf(out, "_%u", k.key[i].number);
		from = k.key[i].end;
	}
	return ok && buf_add(out, from, (size_t)(json.s + json.len - from));
}
