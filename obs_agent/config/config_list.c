/*
 * config_list.c - the kinds of values that are lists or maps: how each is read
 * and printed.
 */
#include "config_keys.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <strings.h>

#include "common/parse.h"

enum { WHAT_SIZE = 64, HEADER_MAX = 4096, SETTING_MAX = 4096 };

static void *target(const struct key *k, void *base)
{
	return config_at(base, k->at);
}

static const void *source(const struct key *k, const void *base)
{
	return config_seen_at(base, k->at);
}

static void set_count(const struct key *k, void *base, size_t n)
{
	if (k->count_at)
		*(size_t *)config_at(base, k->count_at) = n;
}

static size_t count(const struct key *k, const void *base)
{
	return *(const size_t *)config_seen_at(base, k->count_at);
}

/* Memory for all items of a list or map and one more that stays zero. NULL: there are too many, and
 * the mistake is added. */
static void *items_room(struct loader *l, const struct key *k, const struct yaml_node *n, size_t item)
{
	if (n->n <= (size_t)k->max)
		return config_alloc(l, n, (n->n + 1) * item);
	config_fail(l, n, "%s has %zu items, more than %" PRId64 "; remove some", k->name, n->n, k->max);
	return NULL;
}

static void *list_room(struct loader *l, const struct key *k, const struct yaml_node *n, size_t item)
{
	if (n->kind == NODE_LIST)
		return items_room(l, k, n, item);
	config_fail(l, n, "%s must be a list; write each item below it, as in \"- item\"", k->name);
	return NULL;
}

/* Read each item of a list of maps by the row's table; unique() refuses item i if one before is the same. The
 * items belong to the configuration at once, so that what they own is freed after a mistake, too. */
static int parse_items(struct loader *l, const struct key *k, const struct yaml_node *n, size_t size,
		       int (*unique)(struct loader *l, const struct key *k, const struct yaml_node *n,
				     const void *items, size_t i),
		       void *base)
{
	char *items = list_room(l, k, n, size);
	size_t i = 0;
	int r = items ? 0 : -EINVAL;

	*(const void **)target(k, base) = items;
	set_count(k, base, items ? n->n : 0);
	for (const struct yaml_node *item = n->first; items && item; item = item->next, i++)
		if (config_read_map(l, k->table, item, items + i * size) < 0 ||
		    unique(l, k, item, items, i) < 0)
			r = -EINVAL;
	return r;
}

static void print_items(struct printer *p, const struct key *k, size_t size, const void *base)
{
	const char *items = *(const void *const *)source(k, base);
	size_t n = count(k, base);

	print_name(p, k->name);
	fputs(n ? "\n" : " []\n", p->out);
	for (size_t i = 0; i < n; i++) {
		struct printer item = { p->out, p->indent + 4, true };

		print_table(&item, k->table, items + i * size);
	}
}

/* ---- log_files ------------------------------------------------------------------ */

static int listed_once(struct loader *l, const struct key *k, const struct yaml_node *n, const void *items,
		       size_t i)
{
	const struct log_file_config *logs = items;
	char quoted[QUOTE_SIZE];

	for (size_t j = 0; j < i; j++)
		if (logs[i].path && logs[j].path && strcmp(logs[i].path, logs[j].path) == 0) {
			config_quote(text_of(logs[i].path), quoted);
			return config_fail(l, n, "%s: %s is listed twice; remove one", k->name, quoted);
		}
	return 0;
}

static int parse_logs(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	return parse_items(l, k, n, sizeof(struct log_file_config), listed_once, base);
}

static void print_logs(struct printer *p, const struct key *k, const void *base)
{
	print_items(p, k, sizeof(struct log_file_config), base);
}

/* ---- expect_status ----------------------------------------------------------------- */

/* "204" or "300-399". */
static bool parse_range(const struct key *k, struct text t, struct status_range *ret)
{
	const char *dash = memchr(t.s, '-', t.len);
	size_t first = dash ? (size_t)(dash - t.s) : t.len;
	struct text last = dash ? (struct text){ dash + 1, t.len - first - 1 } : t;
	int64_t from, to;

	if (!parse_i64((struct text){ t.s, first }, &from) || !parse_i64(last, &to) || from < k->min ||
	    to > k->max || from > to)
		return false;
	*ret = (struct status_range){ (int)from, (int)to };
	return true;
}

static struct text trimmed(const char *s, size_t len)
{
	for (; len && isspace((unsigned char)*s); len--)
		s++;
	while (len && isspace((unsigned char)s[len - 1]))
		len--;
	return (struct text){ s, len };
}

/* Append the comma-separated ranges of one text. */
static int add_ranges(struct loader *l, const struct key *k, const struct yaml_node *n,
		      struct status_range *ranges, size_t *n_ranges)
{
	struct value v;
	int r = config_value(l, k->name, n, FORM_TEXT, VALUE_MAX, &v);

	if (r < 0)
		return r;
	for (const char *s = v.s;; s++) {
		size_t len = strcspn(s, ",");

		if (*n_ranges == STATUS_RANGES_MAX)
			return config_fail(l, n, "%s has more than %d ranges; join some", k->name,
					   STATUS_RANGES_MAX);
		if (!parse_range(k, trimmed(s, len), &ranges[*n_ranges]))
			return config_fail(l, n,
					   "%s %s is not a list of status codes from %" PRId64 " to %" PRId64
					   "; write it as in 200-299 or 200,204,300-399",
					   k->name, v.shown, k->min, k->max);
		++*n_ranges;
		s += len;
		if (!*s)
			return 0;
	}
}

static int parse_status(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	struct status_range *ranges = target(k, base);
	size_t n_ranges = 0;
	int r = 0;

	if (n->kind != NODE_LIST)
		r = add_ranges(l, k, n, ranges, &n_ranges);
	else if (n->n == 0)
		return config_fail(l, n, "%s is an empty list; write the codes that are good", k->name);
	else
		for (const struct yaml_node *item = n->first; r == 0 && item; item = item->next)
			r = add_ranges(l, k, item, ranges, &n_ranges);
	if (r == 0)
		set_count(k, base, n_ranges);
	return r;
}

static void print_status(struct printer *p, const struct key *k, const void *base)
{
	const struct status_range *range = source(k, base);

	print_name(p, k->name);
	for (size_t i = 0; i < count(k, base); i++, range++) {
		fprintf(p->out, "%s%d", i ? "," : " \"", range->from);
		if (range->to != range->from)
			fprintf(p->out, "-%d", range->to);
	}
	fputs("\"\n", p->out);
}

/* ---- headers ------------------------------------------------------------------------ */

/* RFC 9110: a header's name is a token. */
static bool header_name(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (!isalnum((unsigned char)t.s[i]) && !(t.s[i] && strchr("!#$%&'*+-.^_`|~", t.s[i])))
			return false;
	return t.len > 0;
}

static int parse_header(struct loader *l, const struct key *k, const struct yaml_node *n,
			const char **headers, void *base)
{
	struct text name = n->key->text;
	char quoted[QUOTE_SIZE], what[WHAT_SIZE + QUOTE_SIZE];
	struct value v;
	size_t i = 0, size;
	char *line;
	int r;

	config_quote(name, quoted);
	if (!header_name(name))
		return config_fail(l, n->key,
				   "%s: %s is not the name of a header; write it as in Authorization: value",
				   k->name, quoted);
	for (; headers[i]; i++)
		if (strncasecmp(headers[i], name.s, name.len) == 0 && headers[i][name.len] == ':')
			return config_fail(l, n->key, "%s: %s is given twice; remove one", k->name, quoted);
	snprintf(what, sizeof what, "%s: the value of %s", k->name, quoted);
	r = config_value(l, what, n, FORM_SECRET, HEADER_MAX, &v);
	if (r < 0)
		return r;
	size = name.len + strlen(v.s) + sizeof ": ";
	line = config_alloc(l, n, size);
	if (!line)
		return -EINVAL;
	snprintf(line, size, "%s: %s", name.s, v.s);
	headers[i] = line;
	return config_hide_header(l, k, n, name, &v, base);
}

static int parse_headers(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	const char **headers;
	int r;

	if (n->kind != NODE_MAP)
		return config_fail(
			l, n, "%s must be a map; write each header below it, as in \"Authorization: value\"",
			k->name);
	headers = items_room(l, k, n, sizeof *headers);
	r = headers ? 0 : -EINVAL;
	for (const struct yaml_node *item = n->first; headers && item; item = item->next)
		if (parse_header(l, k, item, headers, base) < 0)
			r = -EINVAL;
	if (r == 0)
		*(const char ***)target(k, base) = headers;
	return r;
}

static void print_headers(struct printer *p, const struct key *k, const void *base)
{
	const char *const *headers = *(const char *const *const *)source(k, base);

	print_name(p, k->name);
	fputs(headers && *headers ? "\n" : " {}\n", p->out);
	for (; headers && *headers; headers++) {
		fprintf(p->out, "%*s\"%.*s\": \"***\"\n", p->indent + 2, "", (int)strcspn(*headers, ":"),
			*headers);
	}
}

/* ---- health_checks --------------------------------------------------------------------- */

/* Results go by the URL that is shown. */
static int check_name(struct loader *l, const struct key *k, const struct yaml_node *n, const void *items,
		      size_t i)
{
	const struct check_config *checks = items;

	for (size_t j = 0; j < i; j++) {
		if (!checks[j].shown_url || strcmp(checks[j].shown_url, checks[i].shown_url) != 0)
			continue;
		if (strcmp(checks[j].url, checks[i].url) == 0)
			return config_fail(l, n,
					   "%s: this URL is checked twice; remove one, or tell them apart by "
					   "a #name at the end",
					   k->name);
		return config_fail(l, n,
				   "%s: two checks differ only in what is shown as ***; tell them apart by a "
				   "#name at the end "
				   "of their URLs",
				   k->name);
	}
	return 0;
}

static int parse_checks(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	return parse_items(l, k, n, sizeof(struct check_config), check_name, base);
}

static void print_checks(struct printer *p, const struct key *k, const void *base)
{
	print_items(p, k, sizeof(struct check_config), base);
}

/* ---- a map of known keys ----------------------------------------------------------------- */

static int parse_map(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	if (n->kind != NODE_MAP)
		return config_fail(l, n, "%s must be keys with values; write \"%s: ...\" below it", k->name,
				   k->table->rows[0].name);
	return config_read_map(l, k->table, n, target(k, base));
}

/* Nothing, if it is not there: the first key of a map is a text that is required. */
static void print_map(struct printer *p, const struct key *k, const void *base)
{
	const void *map = source(k, base);
	struct printer inner = { p->out, p->indent + 2, false };

	if (!*(const char *const *)config_seen_at(map, k->table->rows[0].at))
		return;
	print_name(p, k->name);
	fputc('\n', p->out);
	print_table(&inner, k->table, map);
}

/* ---- settings of a channel ------------------------------------------------------------------ */

static int parse_setting(struct loader *l, const struct key *k, const struct yaml_node *n,
			 struct notify_setting *settings)
{
	char quoted[QUOTE_SIZE], what[WHAT_SIZE + QUOTE_SIZE];
	struct value v;
	size_t i = 0;

	config_quote(n->key->text, quoted);
	for (; settings[i].name; i++)
		if (text_eq(text_of(settings[i].name), n->key->text))
			return config_fail(l, n->key, "%s: %s is given twice; remove one", k->name, quoted);
	snprintf(what, sizeof what, "%s: the value of %s", k->name, quoted);
	if (config_value(l, what, n, FORM_SECRET, SETTING_MAX, &v) < 0)
		return -EINVAL;
	settings[i].value = v.s;
	return config_keep(l, n, n->key->text, &settings[i].name);
}

static int parse_settings(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	struct notify_setting *settings;
	int r;

	if (n->kind != NODE_MAP)
		return config_fail(l, n, "%s must be a map; write each setting below it, as in \"url: ...\"",
				   k->name);
	settings = items_room(l, k, n, sizeof *settings);
	r = settings ? 0 : -EINVAL;
	for (const struct yaml_node *item = n->first; settings && item; item = item->next)
		if (parse_setting(l, k, item, settings) < 0)
			r = -EINVAL;
	*(const struct notify_setting **)target(k, base) = settings;
	return r;
}

static void print_settings(struct printer *p, const struct key *k, const void *base)
{
	const struct notify_setting *s = *(const struct notify_setting *const *)source(k, base);

	print_name(p, k->name);
	fputs(s->name ? "\n" : " {}\n", p->out);
	for (; s->name; s++)
		fprintf(p->out, "%*s%s: \"***\"\n", p->indent + 2, "", s->name);
}

const struct kind kind_logs = { .name = "list of paths or maps", .parse = parse_logs, .print = print_logs };
const struct kind kind_status = { .name = "status codes", .parse = parse_status, .print = print_status };
const struct kind kind_headers = { .name = "map of names to texts",
				   .parse = parse_headers,
				   .print = print_headers };
const struct kind kind_checks = { .name = "list of URLs or maps",
				  .parse = parse_checks,
				  .print = print_checks };
const struct kind kind_map = { .name = "map of keys", .parse = parse_map, .print = print_map };
const struct kind kind_settings = { .name = "map of names to texts",
				    .parse = parse_settings,
				    .print = print_settings };
