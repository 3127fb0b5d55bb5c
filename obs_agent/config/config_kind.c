/*
 * config_kind.c - the kinds of single values: how each is read and printed.
 */
#include "config_keys.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <strings.h>

#include "common/clock.h"
#include "common/parse.h"
#include "common/path_pattern.h"
#include "common/net/url.h"
#include "common/settings/server_name.h"

enum { UNIT_MAX = 255 };                /* bytes */

static void *target(const struct key *k, void *base)
{
	return config_at(base, k->at);
}

static const void *source(const struct key *k, const void *base)
{
	return config_seen_at(base, k->at);
}

static int keep(const struct key *k, const struct value *v, void *base)
{
	*(const char **)target(k, base) = v->s;
	return 0;
}

static int take_bool(struct loader *l, const struct key *k, const struct yaml_node *n, struct value *v,
		     void *base)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcasecmp(v->s, words[i]) == 0) {
			*(bool *)target(k, base) = i % 2;
			return 0;
		}
	return config_fail(l, n, "%s %s is neither true nor false; write one of them", k->name, v->shown);
}

static void print_bool(struct printer *p, const struct key *k, const void *base)
{
	print_name(p, k->name);
	fprintf(p->out, " %s\n", *(const bool *)source(k, base) ? "true" : "false");
}

/* Store the number if it is in range. scale: of what is stored, in the unit that the file has. */
static int take_in_range(struct loader *l, const struct key *k, const struct yaml_node *n,
			 const struct value *v, int64_t number, int64_t scale, void *base)
{
	if (number < k->min || number > k->max)
		return config_fail(l, n, "%s %s is out of range; write %" PRId64 " to %" PRId64 "%s", k->name,
				   v->shown, k->min, k->max, scale == US_PER_S ? " seconds" : "");
	*(int64_t *)target(k, base) = number * scale;
	return 0;
}

static int take_number(struct loader *l, const struct key *k, const struct yaml_node *n, struct value *v,
		       void *base)
{
	int64_t number;

	if (!parse_i64(text_of(v->s), &number))
		return config_fail(l, n, "%s %s is not a whole number; write %" PRId64 " to %" PRId64,
				   k->name, v->shown, k->min, k->max);
	return take_in_range(l, k, n, v, number, 1, base);
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

static int take_duration(struct loader *l, const struct key *k, const struct yaml_node *n, struct value *v,
			 void *base)
{
	int64_t seconds;

	if (!seconds_of(v->s, &seconds))
		return config_fail(l, n,
				   "%s %s is not a time; write whole seconds (60) or units (90s, 5m, 1h30m)",
				   k->name, v->shown);
	return take_in_range(l, k, n, v, seconds, US_PER_S, base);
}

static void print_duration(struct printer *p, const struct key *k, const void *base)
{
	print_name(p, k->name);
	fprintf(p->out, " %" PRId64 "\n", *(const int64_t *)source(k, base) / US_PER_S);
}

static int take_text(struct loader *l, const struct key *k, const struct yaml_node *n, struct value *v,
		     void *base)
{
	(void)l;
	(void)n;
	return keep(k, v, base);
}

static void print_text(struct printer *p, const struct key *k, const void *base)
{
	print_line(p, k->name, *(const char *const *)source(k, base));
}

static void print_shown(struct printer *p, const struct key *k, const void *base)
{
	print_line(p, k->name, *(const char *const *)config_seen_at(base, k->shown_at));
}

static int take_choice(struct loader *l, const struct key *k, const struct yaml_node *n, struct value *v,
		       void *base)
{
	char all[QUOTE_SIZE] = "";
	size_t used = 0;

	for (const char *const *c = k->choices; *c && used < sizeof all; c++) {
		if (strcasecmp(v->s, *c) == 0) {
			*(const char **)target(k, base) = *c;
			return 0;
		}
		used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", used ? ", " : "", *c);
	}
	return config_fail(l, n, "%s %s is not known; write one of %s", k->name, v->shown, all);
}

static int take_name(struct loader *l, const struct key *k, const struct yaml_node *n, struct value *v,
		     void *base)
{
	if (v->s[0] == ' ' || v->s[strlen(v->s) - 1] == ' ')
		return config_fail(l, n, "%s begins or ends with a space; remove it", k->name);
	if (!server_name_valid(v->s))
		return config_fail(l, n, "%s contains a control character; remove it", k->name);
	return keep(k, v, base);
}

static int take_unit(struct loader *l, const struct key *k, const struct yaml_node *n, struct value *v,
		     void *base)
{
	const char *dot;

	if (config_fill_app(l, n, v) < 0)
		return -EINVAL;
	dot = strrchr(v->s, '.');
	if (!dot || dot == v->s ||
	    (strcmp(dot, ".service") != 0 && strcmp(dot, ".scope") != 0 && strcmp(dot, ".slice") != 0))
		return config_fail(l, n, "%s %s is not a unit; write its full name, as in my-app.service",
				   k->name, v->shown);
	for (const char *s = v->s; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr(":-_.\\@", *s))
			return config_fail(l, n,
					   "%s %s has a character that no unit's name has; write it as "
					   "systemctl list-units shows it",
					   k->name, v->shown);
	return keep(k, v, base);
}

static const char *path_problem(const char *s)
{
	if (strlen(s) >= PATH_MAX)
		return "is too long; shorten it";
	if (*s != '/')
		return "is not an absolute path; begin it with /";
	if (s[strlen(s) - 1] == '/')
		return "is a folder; name its files, as in /var/log/my-app/*.log";
	return path_pattern_problem(s);
}

static int take_path(struct loader *l, const struct key *k, const struct yaml_node *n, struct value *v,
		     void *base)
{
	const char *problem = config_fill_app(l, n, v) < 0 ? "" : path_problem(v->s);

	if (problem && *problem)
		return config_fail(l, n, "%s %s %s", k->name, v->shown, problem);
	return problem ? -EINVAL : keep(k, v, base);
}

static int take_url(struct loader *l, const struct key *k, const struct yaml_node *n, struct value *v,
		    void *base)
{
	const char *problem = url_http_problem(v->s);

	if (problem)
		return config_fail(l, n, "%s %s %s", k->name, v->shown, problem);
	keep(k, v, base);
	return config_hide_url(l, k, n, v, false, base);
}

/* Messages never show a postgres_url: what is wrong with it may well be the password. */
static int take_postgres_url(struct loader *l, const struct key *k, const struct yaml_node *n,
			     struct value *v, void *base)
{
	const char *problem = url_postgres_problem(v->s);

	if (problem)
		return config_fail(l, n, "%s %s", k->name, problem);
	keep(k, v, base);
	return config_hide_url(l, k, n, v, true, base);
}

static int take_zone(struct loader *l, const struct key *k, const struct yaml_node *n, struct value *v,
		     void *base)
{
	struct err e;
	const struct zone *zone = zones_find(&l->c->zones, text_of(v->s), &e);

	if (!zone && e.code == ENOENT)
		return config_fail(l, n,
				   "%s %s is no time zone; write a name like Europe/Berlin or UTC, as "
				   "timedatectl list-timezones shows them",
				   k->name, v->shown);
	if (!zone)
		return config_fail(l, n, "%s: %s", k->name, e.msg);
	*(const struct zone **)config_at(base, k->made_at) = zone;
	return keep(k, v, base);
}

static int take_regex(struct loader *l, const struct key *k, const struct yaml_node *n, struct value *v,
		      void *base)
{
	struct err e;

	if (line_start_compile(config_at(base, k->made_at), v->s, &e) < 0)
		return config_fail(l, n, "%s %s %s", k->name, v->shown, e.msg);
	return keep(k, v, base);
}

#define KIND(name, form, max, take, print)                                                                   \
	{                                                                                                    \
		name, form, max, take, NULL, print                                                           \
	}

const struct kind kind_bool = KIND("true or false", FORM_TEXT, VALUE_MAX, take_bool, print_bool);
const struct kind kind_number = KIND("number", FORM_TEXT, VALUE_MAX, take_number, print_number);
const struct kind kind_duration = KIND("time", FORM_TEXT, VALUE_MAX, take_duration, print_duration);
const struct kind kind_text = KIND("text", FORM_TEXT, VALUE_MAX, take_text, print_text);
const struct kind kind_choice = KIND("one of", FORM_TEXT, VALUE_MAX, take_choice, print_text);
const struct kind kind_name = KIND("text", FORM_LINE, 0, take_name, print_text);
const struct kind kind_unit = KIND("text", FORM_LINE, UNIT_MAX, take_unit, print_text);
const struct kind kind_path = KIND("path or pattern", FORM_LINE, PATH_MAX - 1, take_path, print_text);
const struct kind kind_url = KIND("URL", FORM_URL, URL_MAX, take_url, print_shown);
const struct kind kind_postgres_url = KIND("URL or pairs", FORM_URL, URL_MAX, take_postgres_url, print_shown);
const struct kind kind_zone = KIND("time zone", FORM_LINE, ZONE_NAME_MAX, take_zone, print_text);
const struct kind kind_regex = KIND("regular expression", FORM_LINE, VALUE_MAX, take_regex, print_text);
