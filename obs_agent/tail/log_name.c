#include "log_name.h"

#include <stdio.h>
#include <string.h>

bool log_name_split(const char *path, char *dir, size_t size, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	if (!slash || n >= size)
		return false;
	memcpy(dir, path, n);
	dir[n] = '\0';
	if (n == 0)
		snprintf(dir, size, "/");
	*ret_name = slash + 1;
	return true;
}

bool log_name_is_packed(const char *name)
{
	static const char *const endings[] = { ".gz", ".xz", ".bz2", ".zst", ".lz4", ".zip", ".Z" };
	size_t n = strlen(name);

	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
		if (n > strlen(endings[i]) && strcmp(name + n - strlen(endings[i]), endings[i]) == 0)
			return true;
	return false;
}

/* Does rotation hang this on the log's stem? Anything behind a separator, or a date as in app20261121.log:
 * app2.log is a log beside app.log, and 10.log beside 1.log. */
static bool hangs_on(const char *log, size_t stem, const char *rest)
{
	enum { DATE_DIGITS = 6 };

	return (*rest && strchr("-_.", *rest)) || (strspn(rest, "0123456789") >= DATE_DIGITS && stem > 0 &&
						   !strchr("0123456789", log[stem - 1]));
}

bool log_name_is_of(const char *log, const char *name)
{
	size_t stem = strcspn(log, ".");

	return strncmp(name, log, strlen(log)) == 0 ||
	       (strncmp(name, log, stem) == 0 && hangs_on(log, stem, name + stem));
}

/* The length of what rotation may hang on a name once: a number or a date, or a word. */
static size_t suffix_part(const char *s)
{
	static const char *const words[] = { "old",      "bak",  "back",  "backup", "copy",   "prev",
					     "previous", "save", "saved", "orig",   "rotated" };
	size_t word = strspn(s, "abcdefghijklmnopqrstuvwxyz"), number = strspn(s, "0123456789-_:TZ");

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (word == strlen(words[i]) && strncmp(s, words[i], word) == 0)
			return word + strspn(s + word, "0123456789");
	return number;
}

/* As ".1", "-20261121", ".2026-11-21T10", ".old", "~", ".1.bak". */
static bool is_suffix(const char *s)
{
	while (*s && strcmp(s, "~") != 0) {
		size_t n = strchr("-._", *s) ? suffix_part(s + 1) : 0;

		if (n == 0)
			return false;
		s += 1 + n;
	}
	return true;
}

/* Without suffixes. */
static size_t root_length(const char *name)
{
	for (size_t n = 1; name[n]; n++)
		if (strchr("-._~", name[n]) && is_suffix(name + n))
			return n;
	return strlen(name);
}

void log_name_root(const char *name, char *out, size_t size)
{
	size_t n = root_length(name), stem = 1, middle;
	const char *rest;

	snprintf(out, size, "%.*s", (int)n, name);
	while (stem < n && n < size &&
	       !(strchr("-_.", out[stem]) && out[stem + 1] >= '0' && out[stem + 1] <= '9'))
		stem++;
	if (stem >= n || n >= size)
		return;
	middle = strspn(out + stem, "0123456789-_.T");
	while (middle > 0 && out[stem + middle] && out[stem + middle - 1] != '.')
		middle--;
	rest = out + stem + middle;
	if (middle > 1 && *rest && !strpbrk(rest, "-_."))
		memmove(out + stem, rest - 1, strlen(rest) + 2);
}

bool log_name_same_root(const char *a, const char *b)
{
	char x[256], y[256];

	if (*a != *b)
		return false;
	log_name_root(a, x, sizeof x);
	log_name_root(b, y, sizeof y);
	return strcmp(x, y) == 0;
}

bool log_name_is_root(const char *name)
{
	char root[256];

	log_name_root(name, root, sizeof root);
	return strcmp(name, root) == 0;
}

bool log_name_is_rotated(const char *log, const char *name)
{
	size_t len = strlen(log);

	if (strncmp(name, log, len) != 0 || !is_suffix(name + len)) {
		size_t stem = strcspn(log, "."), middle;

		if (strncmp(name, log, stem) != 0 || !hangs_on(log, stem, name + stem))
			return false;
		middle = strspn(name + stem, "0123456789-_.T");
		if (middle == 0 || (strcmp(name + stem + middle, log + stem) != 0 &&
				    strcmp(name + stem + middle - 1, log + stem) != 0))
			return false;
	}
	return !log_name_is_packed(name);
}
