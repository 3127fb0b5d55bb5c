#include "columns.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/utf8.h"

enum { NAME_SAID_MAX = 60 };            /* bytes of a name that a sentence quotes */

/* What a line has beside its context. The second names are what people call it, too. */
static const struct { const char *name, *also, *member, *title; } known[] = {
	{ "time",    "timestamp",   "timestamp", "Time"        },
	{ "level",   "lv",          "level",     "Level"       },
	{ "vps",     "server",      "vps",       "Server"      },
	{ "app",     "application", "app",       "Application" },
	{ "logger",  "log",         "logger",    "Logger"      },
	{ "message", "msg",         "message",   "Message"     },
	{ "context", "ctx",         "context",   "Context"     },
	{ "id",      "id",          "id",        "Id"          },
};
enum { KNOWN = sizeof known / sizeof known[0] };

/* ---- reading ------------------------------------------------------------------------------------- */

/* Up to the next comma outside of quotes. */
static struct text next_name(struct text *rest)
{
	bool quoted = false;
	size_t n = 0;
	struct text name;

	for (; n < rest->len && (quoted || rest->s[n] != ','); n++) {
		if (rest->s[n] == '"')
			quoted = !quoted;
		else if (quoted && rest->s[n] == '\\' && n + 1 < rest->len)
			n++;
	}
	name = (struct text){ rest->s, n };
	rest->s += n + (n < rest->len);
	rest->len -= n + (n < rest->len);
	while (name.len && name.s[0] == ' ')
		name = (struct text){ name.s + 1, name.len - 1 };
	while (name.len && name.s[name.len - 1] == ' ')
		name.len--;
	return name;
}

/* KEY, or "any key" with \" and \\ inside. */
static bool read_key(struct text t, char key[COLUMN_KEY_MAX + 1])
{
	bool quoted = t.len >= 2 && t.s[0] == '"' && t.s[t.len - 1] == '"';
	size_t n = 0, end = t.len - quoted;

	for (size_t i = quoted; i < end; i++) {
		i += quoted && t.s[i] == '\\' && i + 1 < end;
		if (n == COLUMN_KEY_MAX)
			return false;
		key[n++] = t.s[i];
	}
	key[n] = '\0';
	return n > 0;
}

/* The name as it is read again. */
static void write_name(struct column *c)
{
	bool plain = !c->key[strcspn(c->key, " \t\r\n\",:=<>!\\()")];
	size_t n = (size_t)snprintf(c->name, sizeof c->name, "ctx.%s", plain ? "" : "\"");

	for (const char *k = c->key; *k; k++) {
		if (strchr("\"\\", *k))
			c->name[n++] = '\\';
		c->name[n++] = *k;
	}
	if (!plain)
		c->name[n++] = '"';
	c->name[n] = '\0';
}

bool column_of_key(struct column *c, struct text key)
{
	*c = (struct column){ 0 };
	if (key.len == 0 || key.len > COLUMN_KEY_MAX)
		return false;
	memcpy(c->key, key.s, key.len);
	write_name(c);
	return true;
}

void column_of_field(struct column *c, size_t i)
{
	*c = (struct column){ .member = known[i].member };
	snprintf(c->name, sizeof c->name, "%s", known[i].name);
}

size_t column_fields(void)
{
	return KNOWN;
}

static bool is_named(struct text name, const char *known_name)
{
	return name.len == strlen(known_name) && strncasecmp(name.s, known_name, name.len) == 0;
}

static bool read_column(struct text name, struct column *c)
{
	char key[COLUMN_KEY_MAX + 1];

	if (name.len > 4 && strncasecmp(name.s, "ctx.", 4) == 0)
		return read_key((struct text){ name.s + 4, name.len - 4 }, key) &&
		       column_of_key(c, text_of(key));
	for (size_t i = 0; i < KNOWN; i++) {
		if (!is_named(name, known[i].name) && !is_named(name, known[i].also))
			continue;
		column_of_field(c, i);
		return true;
	}
	return false;
}

static bool same(const struct column *a, const struct column *b)
{
	return a->member == b->member && strcmp(a->key, b->key) == 0;
}

bool columns_have(const struct columns *c, const struct column *x)
{
	for (size_t i = 0; i < c->n; i++)
		if (same(&c->list[i], x))
			return true;
	return false;
}

static int refuse_name(struct text name, struct err *e)
{
	int n = (int)utf8_cut(name.s, name.len, NAME_SAID_MAX);

	return err_set(e, 400,
		       "\"%.*s\" names no column: write time, level, vps, app, logger, message, context, "
		       "id or ctx.KEY, with commas between them.",
		       n, name.s);
}

int columns_read(struct columns *c, const char *value, struct err *e)
{
	struct text rest = text_of(value ? value : "");

	*c = (struct columns){ 0 };
	while (rest.len) {
		struct text name = next_name(&rest);
		struct column column;

		if (name.len == 0)
			continue;
		if (!read_column(name, &column))
			return refuse_name(name, e);
		if (columns_have(c, &column))
			continue;
		if (c->n == COLUMNS_MAX)
			return err_set(e, 400, "A list has %d columns at most.", COLUMNS_MAX);
		c->list[c->n++] = column;
	}
	return 0;
}

/* ---- writing ------------------------------------------------------------------------------------- */

const char *column_title(const struct column *c)
{
	for (size_t i = 0; c->member && i < KNOWN; i++)
		if (known[i].member == c->member)
			return known[i].title;
	return c->key;
}

bool column_is(const struct column *c, const char *member)
{
	return c->member && strcmp(c->member, member) == 0;
}

bool columns_write(struct buf *out, const struct columns *c)
{
	bool ok = true;

	for (size_t i = 0; i < c->n && ok; i++)
		ok = (i == 0 || buf_addc(out, ',')) && buf_adds(out, c->list[i].name);
	return ok;
}

void columns_toggle(struct columns *c, const struct column *x)
{
	struct columns now = { 0 };
	bool had = columns_have(c, x), placed = had;

	for (size_t i = 0; i < c->n; i++) {
		if (!placed && column_is(&c->list[i], "message") && now.n < COLUMNS_MAX) {
			now.list[now.n++] = *x;
			placed = true;
		}
		if (!(had && same(&c->list[i], x)) && now.n < COLUMNS_MAX)
			now.list[now.n++] = c->list[i];
	}
	if (!placed && now.n < COLUMNS_MAX)
		now.list[now.n++] = *x;
	*c = now;
}
