#include "log_zone.h"

#include <string.h>

#include "chars.h"

/* Names that are no zone of this machine's, by what most people mean. */
static const struct {
	char letters[ZONE_LETTERS_MAX];
	int32_t east_min;
} known_zones[] = {
	{ "UTC", 0 },    { "GMT", 0 },    { "Z", 0 },      { "WET", 0 },    { "WEST", 60 },  { "CET", 60 },
	{ "CEST", 120 }, { "EET", 120 },  { "EEST", 180 }, { "MSK", 180 },  { "BST", 60 },   { "IST", 330 },
	{ "PKT", 300 },  { "JST", 540 },  { "KST", 540 },  { "HKT", 480 },  { "SGT", 480 },  { "WIB", 420 },
	{ "ICT", 420 },  { "AWST", 480 }, { "ACST", 570 }, { "AEST", 600 }, { "AEDT", 660 }, { "NZST", 720 },
	{ "NZDT", 780 }, { "SAST", 120 }, { "EAT", 180 },  { "WAT", 60 },   { "BRT", -180 }, { "ART", -180 },
	{ "EST", -300 }, { "EDT", -240 }, { "CST", -360 }, { "CDT", -300 }, { "MST", -420 }, { "MDT", -360 },
	{ "PST", -480 }, { "PDT", -420 }, { "AKST", -540 }, { "AKDT", -480 }, { "HST", -600 },
};

static bool zone_by_letters(const struct log_clock *c, struct text name, int32_t *ret_east_s)
{
	char padded[ZONE_LETTERS_MAX] = "";

	if (name.len >= sizeof padded)
		return false;
	if (c->zone && zone_letters(c->zone, name, ret_east_s))
		return true;
	memcpy(padded, name.s, name.len);
	for (size_t i = 0; i < sizeof known_zones / sizeof *known_zones; i++)
		if (memcmp(padded, known_zones[i].letters, sizeof padded) == 0) {
			*ret_east_s = known_zones[i].east_min * 60;
			return true;
		}
	return false;
}

/* "Asia/" and its like: only what begins so is looked up. */
static bool in_an_area(struct text name)
{
	static const char *const areas[] = { "Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic",
					     "Australia", "Etc", "Europe", "Indian", "Pacific", "US" };
	const char *slash = memchr(name.s, '/', name.len);

	for (size_t i = 0; slash && i < sizeof areas / sizeof *areas; i++)
		if (text_eq((struct text){ name.s, (size_t)(slash - name.s) }, text_of(areas[i])))
			return true;
	return false;
}

/* "Asia/Kolkata". */
static bool zone_by_name(const struct log_clock *c, struct text *t, struct log_zone *ret)
{
	struct text name = { t->s, 0 };
	struct err e;

	if (!c->zone && !c->zones)
		return false;
	while (name.len < t->len && (is_letter(t->s[name.len]) || is_digit(t->s[name.len]) ||
				     memchr("/_+-", t->s[name.len], 4)))
		name.len++;
	if (c->zone && text_eq(name, text_of(c->zone->name)))
		ret->named = c->zone;
	else if (c->zones && in_an_area(name))
		ret->named = zones_find(c->zones, name, &e);
	if (!ret->named)
		return false;
	t->s += name.len;
	t->len -= name.len;
	return true;
}

/* "+05:30", "+0530", "+05", and Db2's minutes "+330". */
static bool offset(struct text *t, struct log_zone *ret)
{
	struct text at = *t;
	int sign = at.s[0] == '-' ? -1 : 1, hour = 0, minute = 0;
	size_t digits = 0;

	at.s++;
	at.len--;
	while (digits < at.len && is_digit(at.s[digits]))
		digits++;
	if (digits == 3) {
		if (!text_number(&at, 3, 3, &minute))
			return false;
	} else if ((digits != 2 && digits != 4) || !text_number(&at, 2, 2, &hour)) {
		return false;
	} else if (digits == 4 || (at.len >= 3 && at.s[0] == ':' && is_digit(at.s[1]) && is_digit(at.s[2]))) {
		if (digits == 2)
			at = (struct text){ at.s + 1, at.len - 1 };
		if (!text_number(&at, 2, 2, &minute) || minute > 59)
			return false;
	}
	if (hour > 23 || minute > 23 * 60)
		return false;
	ret->fixed = true;
	ret->east_s = sign * (hour * 3600 + minute * 60);
	*t = at;
	return true;
}

/* "Z"; behind a blank only where nothing else can stand. */
static bool is_zulu(struct text at, bool glued)
{
	return (at.s[0] | 0x20) == 'z' && (glued || at.len == 1 || strchr("]),\"|", at.s[1]));
}

/* A zone, perhaps behind spaces. What is not one is left where it is. */
bool log_zone_take(const struct log_clock *c, struct text *t, struct log_zone *ret)
{
	struct text at = *t;
	size_t n;

	while (at.len > 0 && at.s[0] == ' ')
		at = (struct text){ at.s + 1, at.len - 1 };
	if (at.len == 0)
		return false;
	if (at.s[0] == '+' || at.s[0] == '-') {
		if (!offset(&at, ret))
			return false;
	} else if (!zone_by_name(c, &at, ret)) {
		n = text_span(at, is_letter);
		if (n == 1 && is_zulu(at, at.s == t->s))
			ret->east_s = 0;
		else if (n < 3 || !zone_by_letters(c, (struct text){ at.s, n }, &ret->east_s))
			return false;
		ret->fixed = true;
		ret->lettered = ret->east_s != 0;
		at = (struct text){ at.s + n, at.len - n };
		if (n == 3 && at.len > 2 && (at.s[0] == '+' || at.s[0] == '-') && is_digit(at.s[1]))
			offset(&at, ret);         /* "GMT+0530" */
	}
	*t = at;
	return true;
}
