#include "json_each.h"

#include <limits.h>

struct json_each json_each(struct text value)
{
	struct json_each e = {
		.scan = { .p = value.s, .end = value.s, .depth_max = INT_MAX, .keys_left = INT_MAX }
	};

	while (value.len > 0 && (unsigned char)value.s[value.len - 1] <= ' ')
		value.len--;
	if (value.len > 1 && (value.s[0] == '{' || value.s[0] == '[')) {
		e.object = value.s[0] == '{';
		e.scan.p = value.s + 1;
		e.scan.end = value.s + value.len - 1;
	}
	return e;
}

bool json_next(struct json_each *e)
{
	struct json_scan *j = &e->scan;

	json_space(j);
	if (j->p < j->end && *j->p == ',') {
		j->p++;
		json_space(j);
	}
	if (j->p == j->end)
		return false;
	if (e->object) {
		if (!json_string(j, &e->key_escapes, &e->key))
			return false;
		json_space(j);
		j->p++; /* the colon */
		json_space(j);
	}
	return json_value(j, &e->kind, &e->value);
}
