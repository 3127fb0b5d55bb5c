#include "post_lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "common/utf8.h"
#include "wire/json_each.h"
#include "wire/log/log_level.h"
#include "wire/log/log_line.h"
#include "wire/log/multiline.h"

enum {
	TEXT_MAX = 2 * 1024 * 1024, /* of one unit's lines together */
	NAME_MAX_BYTES = 1000,      /* of a unit or container */
	NO_PLACE = -1,
};

struct reading {
	struct line_parser parser;
	struct multiline_room room;
	struct zone zone;           /* of the server, as its time says */
	int64_t at_us;              /* the time of the payload */
	struct buf name, text, key; /* strings without escapes */
	struct buf *out;
	bool full; /* no memory, or no room: there is no answer */
};

static void reading_free(struct reading **r)
{
	if (*r) {
		line_parser_free(&(*r)->parser);
		multiline_room_free(&(*r)->room);
		buf_free(&(*r)->name);
		buf_free(&(*r)->text);
		buf_free(&(*r)->key);
		free(*r);
	}
	*r = NULL;
}

static struct reading *reading_new(struct buf *out)
{
	/* Not zeroed as a whole: it is large, and the parser's own part clears itself. */
	struct reading *r = malloc(sizeof *r);

	if (!r)
		return NULL;
	line_parser_init(&r->parser);
	multiline_room_init(&r->room);
	r->parser.memo = &r->room.memo;
	r->name = BUF(TEXT_MAX);
	r->text = BUF(TEXT_MAX);
	r->key = BUF(TEXT_MAX);
	r->out = out;
	r->full = false;
	r->zone.name[0] = '\0';
	r->zone.n = 1;
	r->zone.change[0] = (struct zone_change){ .from_s = INT64_MIN };
	return r;
}

/* ---- JSON -------------------------------------------------------------------------------------------- */

/* Append the characters of a JSON string. */
static void add_string(struct reading *r, struct buf *to, struct text value)
{
	if (!json_unescape((struct text){ value.s + 1, value.len - 2 }, to))
		r->full = true;
}

static bool key_is(struct reading *r, const struct json_each *e, struct text name)
{
	if (!e->key_escapes)
		return text_eq(e->key, name);
	buf_reset(&r->key);
	if (!json_unescape(e->key, &r->key))
		r->full = true;
	return text_eq((struct text){ r->key.data, r->key.len }, name);
}

/* ---- rows -------------------------------------------------------------------------------------------- */

/* The context; where the row's logger is another than the line's own, that one is in it. */
static bool add_context(struct buf *out, struct text context, struct text own_logger)
{
	bool more = context.s && context.len > 2;

	if (!own_logger.s)
		return context.s ? buf_add(out, context.s, context.len) : buf_adds(out, "null");
	return buf_adds(out, "{\"logger\":") && buf_add_json(out, own_logger) &&
	       buf_addc(out, more ? ',' : '}') && (!more || buf_add(out, context.s + 1, context.len - 1));
}

static void add_row(struct reading *r, int place, struct text logger, const struct sample *s)
{
	const struct log_sample *l = &s->log;
	struct text own =
		logger.s && l->logger.s && !text_eq(logger, l->logger) ? l->logger : (struct text){ NULL, 0 };
	struct text shown = logger.s ? logger : l->logger;
	struct buf *b = r->out;
	bool ok = buf_addc(b, b->data[b->len - 1] == '[' ? ' ' : ',') &&
		  (place == NO_PLACE ? buf_adds(b, "[null,") : buf_addf(b, "[%d,", place)) &&
		  (shown.s ? buf_add_json(b, shown) : buf_adds(b, "null")) &&
		  buf_addf(b, ",%" PRId64 ",%d,", s->timestamp_us, (int)l->level) &&
		  buf_add_json(b, l->message) && buf_addc(b, ',') && add_context(b, l->context, own) &&
		  buf_addc(b, ']');

	r->full |= !ok;
}

/* A line as the agent reads it, at most LINE_BYTES_MAX of it. */
static void read_line(struct reading *r, struct text line, int64_t at_us, struct sample *ret)
{
	char mark[48];
	bool cut = line.len > LINE_BYTES_MAX;

	snprintf(mark, sizeof mark, "\"_cut_bytes\":%zu", line.len);
	if (cut)
		line.len = utf8_cut(line.s, line.len, LINE_BYTES_MAX);
	line_parse(&r->parser, line, at_us, cut ? mark : NULL, ret);
}

/* ---- {"systemd": {unit: [lines]}} -------------------------------------------------------------------- */

/* Cut the text into records, as a log file is. */
static void read_records(struct reading *r, struct text logger, struct text t)
{
	struct multiline form = { .records = 0 };
	struct sample s;

	r->parser.clock.last_us = 0;
	for (size_t at = 0; at < t.len;) {
		struct text rest = { t.s + at, t.len - at };
		bool open;

		rest.len = multiline_record(&form, &r->room, rest, &open);
		if (rest.len > 0) {
			if (at < LEARN_BYTES)
				multiline_learn(&form, &r->room, rest);
			read_line(r, rest, r->at_us, &s);
			add_row(r, NO_PLACE, logger, &s);
			if (r->parser.found.timed)
				r->parser.clock.last_us = s.timestamp_us;
		}
		at += rest.len + 1;
	}
}

static void read_unit(struct reading *r, struct text key, struct text lines)
{
	struct json_each e = json_each(lines);

	buf_reset(&r->name);
	buf_reset(&r->text);
	if (!json_unescape(key, &r->name))
		r->full = true;
	while (json_next(&e))
		if (e.kind == JSON_STRING) {
			add_string(r, &r->text, e.value);
			r->full |= !buf_addc(&r->text, '\n');
		}
	r->name.len = utf8_cut(r->name.data, r->name.len, NAME_MAX_BYTES);
	if (!r->full)
		read_records(r, (struct text){ r->name.data, r->name.len },
			     (struct text){ r->text.data, r->text.len });
}

static void read_units(struct reading *r, struct text logs)
{
	for (struct json_each family = json_each(logs); json_next(&family);)
		if (key_is(r, &family, TEXT("systemd")))
			for (struct json_each unit = json_each(family.value); json_next(&unit);)
				read_unit(r, unit.key, unit.value);
}

/* ---- [{"container", "message", "timestamp"}] --------------------------------------------------------- */

struct item {
	struct text message, container, timestamp, level; /* JSON; .s NULL: not there */
};

static struct item find_item(struct reading *r, struct text value)
{
	struct item item = { .level = { NULL, 0 } };
	struct {
		struct text name, *to;
	} members[] = {
		{ TEXT("message"), &item.message },     { TEXT("container"), &item.container },
		{ TEXT("timestamp"), &item.timestamp }, { TEXT("level"), &item.level },
		{ TEXT("severity"), &item.level },
	};

	for (struct json_each e = json_each(value); json_next(&e);)
		for (size_t i = 0; i < sizeof members / sizeof *members; i++)
			if (key_is(r, &e, members[i].name))
				*members[i].to = e.value;
	return item;
}

static bool is_string(struct text value)
{
	return value.len > 2 && value.s[0] == '"';
}

/* RFC 3339, or a number since 1970. */
static bool read_time(struct reading *r, struct text value, int64_t *ret_us)
{
	if (is_string(value))
		return parse_rfc3339((struct text){ value.s + 1, value.len - 2 }, ret_us);
	return value.s && log_time_epoch(&r->parser.clock, value, ret_us);
}

/* What the client calls the level, where the line itself names none. */
static void take_level(struct reading *r, struct text value, struct sample *s)
{
	if (is_string(value) && !r->parser.found.leveled)
		log_level_word((struct text){ value.s + 1, value.len - 2 }, &s->log.level, NULL);
}

static void read_item(struct reading *r, int place, struct text value)
{
	struct item item = find_item(r, value);
	struct text logger = { NULL, 0 };
	int64_t at_us = r->at_us;
	struct sample s;

	if (!item.message.s || item.message.s[0] != '"')
		return;
	buf_reset(&r->name);
	buf_reset(&r->text);
	if (is_string(item.container)) {
		add_string(r, &r->name, item.container);
		logger = (struct text){ r->name.data, r->name.len };
	}
	add_string(r, &r->text, item.message);
	while (r->text.len > 0 && strchr("\r\n", r->text.data[r->text.len - 1]))
		r->text.len--;
	if (r->full)
		return;
	read_time(r, item.timestamp, &at_us);
	r->parser.clock.last_us = 0;
	read_line(r, (struct text){ r->text.data, r->text.len }, at_us, &s);
	take_level(r, item.level, &s);
	add_row(r, place, logger, &s);
}

static void read_items(struct reading *r, struct text logs)
{
	int place = 0;

	for (struct json_each e = json_each(logs); json_next(&e); place++)
		read_item(r, place, e.value);
}

/* ---- the payload ------------------------------------------------------------------------------------- */

/* The offset behind an RFC 3339 time is the server's zone: its log lines may have none. */
static int32_t offset_of(struct text t)
{
	int64_t with, without;
	struct text bare = t;

	if (t.len < 6 || (t.s[t.len - 6] != '+' && t.s[t.len - 6] != '-'))
		return 0;
	bare.len -= 6;
	if (!parse_rfc3339(t, &with) || !parse_rfc3339(bare, &without))
		return 0;
	return (int32_t)((without - with) / 1000000);
}

static void take_time(struct reading *r, struct text value)
{
	read_time(r, value, &r->at_us);
	r->zone.change[0].east_s =
		is_string(value) ? offset_of((struct text){ value.s + 1, value.len - 2 }) : 0;
}

bool post_lines(struct text payload, int64_t now_us, struct buf *out)
{
	CLEANUP(reading_free) struct reading *r = reading_new(out);
	struct text logs = { NULL, 0 };

	if (!r || !buf_addc(out, '['))
		return false;
	r->at_us = now_us;
	r->parser.clock.now_us = r->room.clock.now_us = now_us;
	r->parser.clock.zone = r->room.clock.zone = &r->zone;
	for (struct json_each e = json_each(payload); json_next(&e);) {
		if (key_is(r, &e, TEXT("ts")) || key_is(r, &e, TEXT("timestamp")))
			take_time(r, e.value);
		else if (key_is(r, &e, TEXT("logs")))
			logs = e.value;
	}
	if (logs.s && logs.s[0] == '{')
		read_units(r, logs);
	else if (logs.s)
		read_items(r, logs);
	return !r->full && buf_addc(out, ']');
}
