#include "post.h"

#include "common/clock.h"
#include "post_lines.h"
#include "wire/json_scan.h"

enum { DEPTH_MAX = 64, KEYS_MAX = 100 * 1000, GROWTH = 3 };

/* The whole body is one value. *ret_unstorable: PostgreSQL would refuse a character or a number in it. */
static bool is_json(struct text body, struct text *ret, bool *ret_unstorable, size_t *ret_at)
{
	struct json_scan j = {
		.p = body.s, .end = body.s + body.len, .depth_max = DEPTH_MAX, .keys_left = KEYS_MAX
	};
	enum json_kind kind;
	bool ok;

	json_space(&j);
	ok = json_value(&j, &kind, ret);
	json_space(&j);
	*ret_unstorable = j.unstorable;
	*ret_at = (size_t)(j.p - body.s);
	return ok && j.p == j.end;
}

int param_post(struct params *p, const struct param *row, const char *value, struct err *e)
{
	struct text body = p->request->body, json;
	bool unstorable;
	size_t at;

	(void)row;
	(void)value;
	if (!is_json(body, &json, &unstorable, &at))
		return err_set(e, 400, "The body is no JSON from byte %zu on, or is nested deeper than %d.",
			       at, DEPTH_MAX);
	if (!unstorable)
		return params_add(p, json.s, e);
	p->large[0] = BUF(GROWTH * POST_BYTES_MAX);
	if (!json_repair(json, true, &p->large[0]) || !buf_cstr(&p->large[0]))
		return err_set(e, 413, "There is no memory for this body.");
	return params_add(p, p->large[0].data, e);
}

int param_post_lines(struct params *p, const struct param *row, const char *value, struct err *e)
{
	(void)row;
	(void)value;
	p->large[1] = BUF(GROWTH * 2 * POST_BYTES_MAX);
	if (!post_lines(text_of(p->v[p->n - 1]), wall_us(), &p->large[1]) || !buf_cstr(&p->large[1]))
		return err_set(e, 413, "There is no memory for the log lines of this body.");
	return params_add(p, p->large[1].data, e);
}
