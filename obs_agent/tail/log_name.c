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

bool log_name_is_pattern(const char *path)
{
	return strpbrk(path, "*?[") != NULL;
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

bool log_name_is_of(const char *log, const char *name)
{
	size_t stem = strcspn(log, ".");

	return strncmp(name, log, strlen(log)) == 0 ||
	       (strncmp(name, log, stem) == 0 && name[stem] && strchr("0123456789-_.", name[stem]));
}

/* What rotation hangs on a name: ".1", "-20261121", ".2026-11-21T10", ".old", "~". */
static bool is_suffix(const char *s)
{
	static const char *const words[] = { "old", "bak", "prev", "save", "orig" };

	if (strcmp(s, "") == 0 || strcmp(s, "~") == 0)
		return true;
	if (!strchr("-._", *s))
		return false;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(s + 1, words[i]) == 0)
			return true;
	return strspn(s, "0123456789-_.:TZ") == strlen(s);
}

bool log_name_is_rotated(const char *log, const char *name)
{
	size_t stem = strcspn(log, "."), middle;

	if (log_name_is_packed(name))
		return false;
	if (strncmp(name, log, strlen(log)) == 0 && is_suffix(name + strlen(log)))
		return true;
	if (strncmp(name, log, stem) != 0)
		return false;
	middle = strspn(name + stem, "0123456789-_.T");
	return middle > 0 && (strcmp(name + stem + middle, log + stem) == 0 ||
			      strcmp(name + stem + middle - 1, log + stem) == 0);
}
