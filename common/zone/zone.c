#include "zone.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/read.h"
#include "tzif.h"

enum { DAY_S = 86400 };

#define LOCALTIME "/etc/localtime"

/* Names go into a path below the database. */
static bool is_name(const char *name)
{
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_+-");

	return name[n] == '\0' && n > 0 && n < ZONE_NAME_MAX && name[0] != '/' && !strstr(name, "//");
}

static const char *folder(void)
{
	const char *dir = getenv("TZDIR");

	return dir && *dir ? dir : "/usr/share/zoneinfo";
}

/* Of UTC nothing needs to be looked up. */
static void set_utc(struct zone *z)
{
	z->n = 1;
	z->change[0] = (struct zone_change){ .from_s = INT64_MIN, .letters = "UTC" };
}

/* False: there is no such file, or it is no zone's. */
static bool read_file(struct zone *z, const char *path)
{
	CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	CLEANUP(free_p) unsigned char *bytes = NULL;
	ssize_t n;

	if (fd < 0)
		return false;
	bytes = malloc(TZIF_BYTES_MAX);
	n = bytes ? read_all(fd, bytes, TZIF_BYTES_MAX) : -1;
	return n > 0 && tzif_read(z, bytes, (size_t)n);
}

static bool read_name(struct zone *z, const char *name)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s/%s", folder(), name);

	return n > 0 && (size_t)n < sizeof path && read_file(z, path);
}

/* TZ, as tzset(3) has it: a name, a path, or a rule; else /etc/localtime. */
static int load_machines(struct zone *z, struct err *e)
{
	const char *tz = getenv("TZ");
	struct stat st;

	set_utc(z);
	if (!tz) {
		if (read_file(z, LOCALTIME))
			return 0;
		set_utc(z);
		return lstat(LOCALTIME, &st) < 0 ? 0
						 : err_set(e, ENOENT,
							   "%s is no time zone, so times without a zone are "
							   "read as UTC; install tzdata, "
							   "or repair the link",
							   LOCALTIME);
	}
	if (*tz == ':')
		tz++;
	if (*tz == '\0' || (*tz == '/' ? read_file(z, tz) : is_name(tz) && read_name(z, tz)) ||
	    tzif_rule(z, tz))
		return 0;
	set_utc(z);
	return err_set(e, ENOENT,
		       "the time zone of TZ=%.64s is not in %s, so times without a zone are read as UTC; "
		       "install tzdata, or change TZ",
		       tz, folder());
}

int zone_load(struct zone *z, const char *name, struct err *e)
{
	memset(z, 0, sizeof *z);
	if (*name == '\0')
		return load_machines(z, e);
	if (is_name(name)) {
		memcpy(z->name, name, strlen(name));
		if (read_name(z, name))
			return 0;
		if (strcmp(name, "UTC") == 0) {
			set_utc(z);
			return 0;
		}
		if (access(folder(), F_OK) < 0)
			return err_set(e, ENODATA, "no time zone is known: %s is missing; install tzdata",
				       folder());
	}
	return err_set(e, ENOENT, "\"%.64s\" is no time zone; write a name like Europe/Berlin or UTC", name);
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

bool zone_changes_near(const struct zone *z, int64_t utc_s)
{
	return z->n > 1 && change_at(z, utc_s - DAY_S) != change_at(z, utc_s + DAY_S);
}

bool zone_letters(const struct zone *z, struct text letters, int32_t *ret_east_s)
{
	char padded[ZONE_LETTERS_MAX] = "";

	if (letters.len == 0 || letters.len >= sizeof padded)
		return false;
	memcpy(padded, letters.s, letters.len);
	for (unsigned i = z->n; i-- > 0;)
		if (memcmp(padded, z->change[i].letters, sizeof padded) == 0) {
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
