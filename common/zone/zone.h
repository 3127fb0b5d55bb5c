/*
 * zone.h - from the local time of a time zone to UTC.
 *
 * Owns a zone's changes of offset since 2000, read from the time zone database once (tzif.h);
 * after that a question costs a search in a small table. Promises that a time that occurs twice in autumn
 * and one that does not occur in spring have a stated answer. Leaves out parsing of dates.
 */
#ifndef COMMON_ZONE_H
#define COMMON_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/text.h"

enum { ZONE_NAME_MAX = 64, ZONE_CHANGES_MAX = 256, ZONE_LETTERS_MAX = 8 };

struct zone_change {
	int64_t from_s;                 /* seconds since 1970 UTC; of the first one: INT64_MIN */
	int32_t east_s;                 /* what the wall is ahead of UTC from then on */
	char letters[ZONE_LETTERS_MAX]; /* "IST", "CEST"; "" when they are longer */
};

struct zone {
	char name[ZONE_NAME_MAX];
	unsigned n;
	struct zone_change change[ZONE_CHANGES_MAX];
};

/*
 * Fill *z with the zone of that name, as in "Asia/Kolkata"; "" is the machine's own. -ENOENT
 * with a sentence when the time zone database has no such name, -ENODATA when there is no
 * database. Where TZ names an unknown zone, *z is UTC then, and may be used.
 */
int zone_load(struct zone *z, const char *name, struct err *e);

/*
 * UTC for a wall clock's `wall_s` (seconds since 1970 as if the wall showed UTC). A time that
 * occurs twice is the first one that is not before `after_s`, else the second. A time that was
 * skipped is read with the offset before the change.
 */
int64_t zone_utc(const struct zone *z, int64_t wall_s, int64_t after_s);

/* Does the offset change within a day of `utc_s`? */
bool zone_changes_near(const struct zone *z, int64_t utc_s);

/* The offset that the zone itself calls by these letters; false: it uses no such name. */
bool zone_letters(const struct zone *z, struct text letters, int32_t *ret_east_s);

/* Zones by name, each loaded once. All zero: none is loaded. */
enum { ZONES_MAX = 64 };
struct zones {
	struct zone *zone[ZONES_MAX];   /* owned */
	size_t n;
};

/* The zone of that name; NULL with a sentence: there is none, or no room for one more. */
const struct zone *zones_find(struct zones *z, struct text name, struct err *e);
void zones_free(struct zones *z);

#endif
