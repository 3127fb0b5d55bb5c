#include "zone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

enum { DAY_S = 86400 };

#define FIRST_S INT64_C(946598400)      /* 1999-12-31 */
#define LAST_S  INT64_C(2840140800)     /* 2060-01-01: the rules of today, for as long as this may run */

/* Names go into a path below the database. */
static bool is_name(const char *name)
{
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_+-");

	return name[n] == '\0' && n > 0 && n < ZONE_NAME_MAX && name[0] != '/' && !strstr(name, "//");
}

/* The C library takes any unknown name for UTC, so look into its file. */
static bool is_known(const char *name)
{
	static const char magic[] = { 'T', 'Z', 'i', 'f' };
	const char *dir = getenv("TZDIR");
	char path[512], begin[sizeof magic];

	snprintf(path, sizeof path, "%s/%s", dir ? dir : "/usr/share/zoneinfo", name);
	CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);

	return strcmp(name, "UTC") == 0 ||
	       (fd >= 0 && read(fd, begin, sizeof begin) == sizeof begin &&
		memcmp(begin, magic, sizeof magic) == 0);
}

static void look(int64_t at_s, struct zone_change *ret)
{
	time_t t = (time_t)at_s;
	struct tm tm;

	*ret = (struct zone_change){ .from_s = at_s };
	if (!localtime_r(&t, &tm))
		return;
	ret->east_s = (int32_t)tm.tm_gmtoff;
	if (strlen(tm.tm_zone) < ZONE_LETTERS_MAX)
		memcpy(ret->letters, tm.tm_zone, strlen(tm.tm_zone));
}

static bool same(const struct zone_change *a, const struct zone_change *b)
{
	return a->east_s == b->east_s && strcmp(a->letters, b->letters) == 0;
}

/* The first second in (from_s, to_s] at which the zone is as at to_s. */
static int64_t find_change(int64_t from_s, int64_t to_s)
{
	struct zone_change before, here;

	look(from_s, &before);
	while (to_s - from_s > 1) {
		int64_t middle = from_s + (to_s - from_s) / 2;

		look(middle, &here);
		if (same(&before, &here))
			from_s = middle;
		else
			to_s = middle;
	}
	return to_s;
}

static void read_changes(struct zone *z)
{
	struct zone_change last, here;

	look(FIRST_S, &last);
	z->change[0] = last;
	z->change[0].from_s = INT64_MIN;
	z->n = 1;
	for (int64_t s = FIRST_S + DAY_S; s < LAST_S && z->n < ZONE_CHANGES_MAX; s += DAY_S) {
		look(s, &here);
		if (same(&last, &here))
			continue;
		last = here;
		look(find_change(s - DAY_S, s), &z->change[z->n++]);
	}
}

int zone_load(struct zone *z, const char *name, struct err *e)
{
	CLEANUP(free_p) char *before = NULL;
	const char *tz = getenv("TZ");

	memset(z, 0, sizeof *z);
	if (*name == '\0') {
		tzset();
		read_changes(z);
		return 0;
	}
	if (!is_name(name) || !is_known(name))
		return err_set(e, ENOENT, "\"%.64s\" is no time zone; write a name like Europe/Berlin or UTC",
			       name);
	memcpy(z->name, name, strlen(name));
	if ((tz && !(before = strdup(tz))) || setenv("TZ", name, 1) != 0)
		return err_set(e, ENOMEM, "out of memory");
	tzset();
	read_changes(z);
	if (before)
		setenv("TZ", before, 1);
	else
		unsetenv("TZ");
	tzset();
	return 0;
}

/* The last change at or before `s`. */
static unsigned change_at(const struct zone *z, int64_t s)
{
	unsigned low = 0, high = z->n;

	while (high - low > 1) {
		unsigned middle = low + (high - low) / 2;

		if (z->change[middle].from_s <= s)
			low = middle;
		else
			high = middle;
	}
	return low;
}

int64_t zone_utc(const struct zone *z, int64_t wall_s, int64_t after_s)
{
	/* Offsets are less than a day: what holds a day before and a day after are the candidates. */
	unsigned first = change_at(z, wall_s - DAY_S), last = change_at(z, wall_s + DAY_S);
	int64_t found = INT64_MIN;

	for (unsigned i = first; i <= last; i++) {
		int64_t utc = wall_s - z->change[i].east_s;

		if (change_at(z, utc) != i)
			continue;
		found = utc;
		if (utc >= after_s)
			break;
	}
	return found != INT64_MIN ? found : wall_s - z->change[first].east_s;
}

bool zone_letters(const struct zone *z, struct text letters, int32_t *ret_east_s)
{
	for (unsigned i = z->n; i-- > 0;)
		if (letters.len == strlen(z->change[i].letters) && letters.len > 0 &&
		    memcmp(letters.s, z->change[i].letters, letters.len) == 0) {
			*ret_east_s = z->change[i].east_s;
			return true;
		}
	return false;
}

/* ---- zones by name ---- */

const struct zone *zones_find(struct zones *z, struct text name, struct err *e)
{
	CLEANUP(free_p) struct zone *fresh = NULL;
	char copy[ZONE_NAME_MAX + 1];

	for (size_t i = 0; i < z->n; i++)
		if (text_eq(text_of(z->zone[i]->name), name))
			return z->zone[i];
	if (z->n == ZONES_MAX) {
		err_set(e, E2BIG, "more than %d time zones are named; use fewer", ZONES_MAX);
		return NULL;
	}
	snprintf(copy, sizeof copy, "%.*s", (int)name.len, name.s);
	fresh = malloc(sizeof *fresh);
	if (!fresh)
		err_set(e, ENOMEM, "out of memory");
	if (!fresh || zone_load(fresh, copy, e) < 0)
		return NULL;
	return z->zone[z->n++] = TAKE_PTR(fresh);
}

void zones_free(struct zones *z)
{
	while (z->n > 0)
		free(z->zone[--z->n]);
}
