#include "log_wrapper.h"

#include <string.h>

#include "chars.h"
#include "wire/json_scan.h"

enum { CRI_TIME_MIN = 20, CRI_TIME_MAX = 40, KEYS_MAX = 8, DEPTH_MAX = 8 };

/* What follows the time of a container's runtime: "stdout F text"; absent: it has no such time. */
static struct text behind_cri_time(struct text line)
{
	const char *space;

	if (line.len <= CRI_TIME_MIN || line.s[4] != '-' || line.s[10] != 'T')
		return (struct text){ NULL, 0 };
	space = memchr(line.s, ' ', line.len < CRI_TIME_MAX ? line.len : CRI_TIME_MAX);
	return space && space - line.s >= CRI_TIME_MIN ? text_after(line, (size_t)(space + 1 - line.s))
						       : (struct text){ NULL, 0 };
}

bool log_wrapper_likely(struct text line)
{
	struct text t;

	if (text_first(line) == '{')
		return text_begins(line, "{\"log\":\"");
	t = behind_cri_time(line);
	return t.s && (text_begins(t, "stdout ") || text_begins(t, "stderr "));
}

/* The place for a member's value; NULL: a wrapper has no such member, or has it already. */
static struct text *place(struct log_wrapper *w, struct text key, enum json_kind kind)
{
	struct text *to = text_eq(key, TEXT("log"))      ? &w->inside
			  : text_eq(key, TEXT("stream")) ? &w->stream
			  : text_eq(key, TEXT("time"))   ? &w->time
			  : text_eq(key, TEXT("attrs"))  ? &w->attrs
							 : NULL;

	return to && !to->s && kind == (to == &w->attrs ? JSON_OBJECT : JSON_STRING) ? to : NULL;
}

static bool take_member(struct json_scan *j, struct log_wrapper *w, bool *ret_escapes)
{
	enum json_kind kind;
	struct text key, value, *to;
	bool ignored;

	json_space(j);
	if (j->keys_left-- <= 0 || !json_string(j, &ignored, &key))
		return false;
	json_space(j);
	if (j->p == j->end || *j->p++ != ':')
		return false;
	json_space(j);
	j->unstorable = false;
	if (!json_value(j, &kind, &value) || !(to = place(w, key, kind)))
		return false;
	*to = kind == JSON_STRING ? (struct text){ value.s + 1, value.len - 2 } : value;
	if (to == &w->inside)
		*ret_escapes = j->escaped;
	if (to == &w->attrs)
		w->unstorable = j->unstorable;
	json_space(j);
	return true;
}

/* {"log":"...\n","stream":"stdout","attrs":{...},"time":"..."} */
static bool open_docker(struct text line, struct buf *room, struct log_wrapper *ret)
{
	struct json_scan j = {
		.p = line.s + 1, .end = line.s + line.len, .depth_max = DEPTH_MAX, .keys_left = KEYS_MAX
	};
	bool escapes = false;

	do {
		if (!take_member(&j, ret, &escapes) || j.p == j.end)
			return false;
	} while (*j.p++ == ',');
	if (j.p[-1] != '}' || j.p != j.end || !ret->inside.s || !ret->stream.s || !ret->time.s)
		return false;
	if (escapes) {
		buf_reset(room);
		if (!json_unescape(ret->inside, room))
			return false;
		ret->inside = (struct text){ room->data, room->len };
	}
	ret->partial = ret->inside.len == 0 || ret->inside.s[ret->inside.len - 1] != '\n';
	while (ret->inside.len > 0 && strchr("\r\n", ret->inside.s[ret->inside.len - 1]))
		ret->inside.len--;
	return true;
}

/* 2026-11-30T11:00:00.758088984+05:30 stdout F text */
static bool open_cri(struct text line, struct log_wrapper *ret)
{
	struct text t = behind_cri_time(line);

	if (!t.s)
		return false;
	ret->time = (struct text){ line.s, (size_t)(t.s - 1 - line.s) };
	if (t.len < 9 || (!text_begins(t, "stdout ") && !text_begins(t, "stderr ")) ||
	    (t.s[7] != 'F' && t.s[7] != 'P'))
		return false;
	ret->stream = (struct text){ t.s, 6 };
	ret->partial = t.s[7] == 'P';
	t = text_after(t, 8);
	while (t.len > 0 && t.s[0] != ' ')      /* further tags */
		t = text_after(t, 1);
	if (t.len == 0)
		return false;
	ret->inside = text_after(t, 1);
	return true;
}

bool log_wrapper_open(struct text line, struct buf *room, struct log_wrapper *ret)
{
	*ret = (struct log_wrapper){ .partial = false };
	while (line.len > 0 && line.s[line.len - 1] == '\r')
		line.len--;
	if (text_begins(line, "{\"log\":\""))
		return open_docker(line, room, ret);
	return log_wrapper_likely(line) && open_cri(line, ret);
}
