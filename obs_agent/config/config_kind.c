/*
 * config_kind.c - the kinds of single values: how each is read and printed.
 */
#include "config_keys.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <strings.h>

#include "common/clock.h"
#include "common/parse.h"
#include "common/url.h"

enum { UNIT_MAX = 255 };                /* bytes */

static void *target(const struct key *k, void *base)
{
	return (char *)base + k->at;
}

static const void *source(const struct key *k, const void *base)
{
	return (const char *)base + k->at;
}

/* Where what the value stands for goes. */
static void *made(const struct key *k, void *base)
{
	return (char *)base + k->made_at;
}

static int parse_bool(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };
	struct value v;
	int r = config_value(l, k->name, n, &v);

	for (size_t i = 0; r == 0 && i < sizeof words / sizeof *words; i++)
		if (strcasecmp(v.s, words[i]) == 0) {
			*(bool *)target(k, base) = i % 2;
			return 0;
		}
	return r < 0 ? r
		     : config_fail(l, n, "%s %s is neither true nor false; write one of them", k->name,
				   v.shown);
}

static void print_bool(struct printer *p, const struct key *k, const void *base)
{
	print_name(p, k->name);
	fprintf(p->out, " %s\n", *(const bool *)source(k, base) ? "true" : "false");
}

static int check_range(struct loader *l, const struct key *k, const struct yaml_node *n,
		       const struct value *v, int64_t number, const char *unit)
{
	if (number >= k->min && number <= k->max)
		return 0;
	return config_fail(l, n, "%s %s is out of range; write %" PRId64 " to %" PRId64 "%s", k->name,
			   v->shown, k->min, k->max, unit);
}

static int parse_number(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	struct value v;
	int64_t number;
	int r = config_value(l, k->name, n, &v);

	if (r < 0)
		return r;
	if (!parse_i64(text_of(v.s), &number))
		return config_fail(l, n, "%s %s is not a whole number; write %" PRId64 " to %" PRId64,
				   k->name, v.shown, k->min, k->max);
	r = check_range(l, k, n, &v, number, "");
	if (r == 0)
		*(int64_t *)target(k, base) = number;
	return r;
}

static void print_number(struct printer *p, const struct key *k, const void *base)
{
	print_name(p, k->name);
	fprintf(p->out, " %" PRId64 "\n", *(const int64_t *)source(k, base));
}

/* Parse "90", "90s", "5m" or "1h30m" to seconds; units from large to small, each at most once. */
static bool seconds_of(const char *s, int64_t *ret)
{
	static const struct { char letter; int64_t seconds; } units[] = {
		{ 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 },
	};
	int64_t sum = 0, number;

	if (parse_i64(text_of(s), ret))
		return true;
	for (size_t u = 0; *s; u++, s++) {
		size_t digits = strspn(s, "0123456789");

		while (u < 4 && units[u].letter != s[digits])
			u++;
		if (u == 4 || !parse_i64((struct text){ s, digits }, &number) ||
		    __builtin_mul_overflow(number, units[u].seconds, &number) ||
		    __builtin_add_overflow(sum, number, &sum))
			return false;
		s += digits;
	}
	*ret = sum;
	return true;
}

static int parse_duration(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	struct value v;
	int64_t seconds;
	int r = config_value(l, k->name, n, &v);

	if (r < 0)
		return r;
	if (!seconds_of(v.s, &seconds))
		return config_fail(l, n,
				   "%s %s is not a time; write whole seconds (60) or units (90s, 5m, 1h30m)",
				   k->name, v.shown);
	r = check_range(l, k, n, &v, seconds, " seconds");
	if (r == 0)
		*(int64_t *)target(k, base) = seconds * US_PER_S;
	return r;
}

static void print_duration(struct printer *p, const struct key *k, const void *base)
{
	print_name(p, k->name);
	fprintf(p->out, " %" PRId64 "\n", *(const int64_t *)source(k, base) / US_PER_S);
}

static int parse_text(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	struct value v;
	int r = config_value(l, k->name, n, &v);

	if (r == 0)
		*(const char **)target(k, base) = v.s;
	return r;
}

/* A value that is not set is not printed. */
static void print_text(struct printer *p, const struct key *k, const void *base)
{
	const char *s = *(const char *const *)source(k, base);

	if (!s)
		return;
	print_name(p, k->name);
	fputc(' ', p->out);
	print_quoted(p->out, s);
	fputc('\n', p->out);
}

static void print_shown(struct printer *p, const struct key *k, const void *base)
{
	const char *s = *(const char *const *)((const char *)base + k->shown_at);

	if (!s)
		return;
	print_name(p, k->name);
	fputc(' ', p->out);
	print_quoted(p->out, s);
	fputc('\n', p->out);
}

static int parse_choice(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	char all[QUOTE_SIZE] = "";
	size_t used = 0;
	struct value v;
	int r = config_value(l, k->name, n, &v);

	if (r < 0)
		return r;
	for (const char *const *c = k->choices; *c && used < sizeof all; c++) {
		if (strcasecmp(v.s, *c) == 0) {
			*(const char **)target(k, base) = *c;
			return 0;
		}
		used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", used ? ", " : "", *c);
	}
	return config_fail(l, n, "%s %s is not known; write one of %s", k->name, v.shown, all);
}

static int parse_name(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	struct value v;
	int r = config_line(l, k->name, n, (size_t)k->max, &v);

	if (r < 0)
		return r;
	if (v.s[0] == ' ' || v.s[strlen(v.s) - 1] == ' ')
		return config_fail(l, n, "%s begins or ends with a space; remove it", k->name);
	*(const char **)target(k, base) = v.s;
	return 0;
}

static int parse_unit(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	struct value v;
	const char *dot;
	int r = config_line(l, k->name, n, UNIT_MAX, &v);

	if (r == 0)
		r = config_fill_app(l, n, &v);
	if (r < 0)
		return r;
	dot = strrchr(v.s, '.');
	if (!dot || dot == v.s ||
	    (strcmp(dot, ".service") != 0 && strcmp(dot, ".scope") != 0 && strcmp(dot, ".slice") != 0))
		return config_fail(l, n, "%s %s is not a unit; write its full name, as in my-app.service",
				   k->name, v.shown);
	for (const char *s = v.s; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr(":-_.\\@", *s))
			return config_fail(l, n, "%s %s has a character that no unit's name has; write it as "
					   "systemctl list-units shows it", k->name, v.shown);
	*(const char **)target(k, base) = v.s;
	return 0;
}

static int parse_url(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	struct value v;
	const char *problem;
	int r = config_url_line(l, k->name, n, URL_MAX, &v);

	if (r < 0)
		return r;
	problem = url_http_problem(v.s);
	if (problem)
		return config_fail(l, n, "%s %s %s", k->name, v.shown, problem);
	*(const char **)target(k, base) = v.s;
	return config_hide_url(l, k, n, &v, false, base);
}

/* Messages never show a postgres_url: what is wrong with it may well be the password. */
static int parse_postgres_url(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	struct value v;
	const char *problem;
	int r = config_url_line(l, k->name, n, URL_MAX, &v);

	if (r < 0)
		return r;
	problem = url_postgres_problem(v.s);
	if (problem)
		return config_fail(l, n, "%s %s", k->name, problem);
	*(const char **)target(k, base) = v.s;
	return config_hide_url(l, k, n, &v, true, base);
}

static int parse_zone(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	const struct zone *zone;
	struct value v;
	struct err e;
	int r = config_line(l, k->name, n, ZONE_NAME_MAX, &v);

	if (r < 0)
		return r;
	zone = zones_find(&l->c->zones, text_of(v.s), &e);
	if (!zone && e.code == ENOENT)
		return config_fail(l, n, "%s %s is no time zone; write a name like Europe/Berlin or UTC, as "
				   "timedatectl list-timezones shows them", k->name, v.shown);
	if (!zone)
		return config_fail(l, n, "%s: %s", k->name, e.msg);
	*(const char **)target(k, base) = v.s;
	*(const struct zone **)made(k, base) = zone;
	return 0;
}

static int parse_regex(struct loader *l, const struct key *k, const struct yaml_node *n, void *base)
{
	struct value v;
	struct err e;
	int r = config_line(l, k->name, n, VALUE_MAX, &v);

	if (r < 0)
		return r;
	if (line_start_compile(made(k, base), v.s, &e) < 0)
		return config_fail(l, n, "%s %s %s", k->name, v.shown, e.msg);
	*(const char **)target(k, base) = v.s;
	return 0;
}

const struct kind kind_bool = { "true or false", parse_bool, print_bool };
const struct kind kind_number = { "number", parse_number, print_number };
const struct kind kind_duration = { "time", parse_duration, print_duration };
const struct kind kind_text = { "text", parse_text, print_text };
const struct kind kind_choice = { "one of", parse_choice, print_text };
const struct kind kind_name = { "text", parse_name, print_text };
const struct kind kind_unit = { "text", parse_unit, print_text };
const struct kind kind_url = { "URL", parse_url, print_shown };
const struct kind kind_postgres_url = { "URL or pairs", parse_postgres_url, print_shown };
const struct kind kind_zone = { "time zone", parse_zone, print_text };
const struct kind kind_regex = { "regular expression", parse_regex, print_text };
