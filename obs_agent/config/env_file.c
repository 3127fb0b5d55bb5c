#include "env_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/read.h"

enum { ENV_FILE_MAX = 1 << 16 };        /* bytes */

/* The variables of the files that were read; they are kept until the process ends. */
static struct variable {
	struct variable *next;
	const char *value;
	char name[];                    /* and behind it the value */
} *variables;

static bool keep(const char *name, const char *value)
{
	size_t n = strlen(name) + 1, size = strlen(value) + 1;
	struct variable *v = malloc(sizeof *v + n + size);

	if (!v)
		return false;
	memcpy(v->name, name, n);
	v->value = memcpy(v->name + n, value, size);
	v->next = variables;            /* a later line is found before an earlier one */
	variables = v;
	return true;
}

/* Variables that only tell libpq where the database is and who connects; none makes it load code. */
static bool is_for_libpq(const char *name)
{
	static const char *const names[] = { "PGHOST",     "PGHOSTADDR",    "PGPORT",
					     "PGDATABASE", "PGUSER",        "PGPASSWORD",
					     "PGSSLMODE",  "PGSSLROOTCERT", "PGCHANNELBINDING" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

const char *env_file_get(const char *name)
{
	const char *value = getenv(name);

	for (const struct variable *v = variables; v && !value; v = v->next)
		if (strcmp(v->name, name) == 0)
			value = v->value;
	return value;
}

/* Resolve the quotes and backslashes of the value at `s`, in place. Returns the start of the next
 * line. */
static char *read_value(char *s)
{
	char quote = '\0', *end = s, *keep = s, *next; /* spaces before `keep` are in quotes */

	for (; *s && (quote || *s != '\n'); s++) {
		if (*s == '\\' && quote != '\'' && s[1]) {
			s++;
			if (*s != '\n')
				*end++ = *s;
		} else if (quote ? *s == quote : *s == '\'' || *s == '"') {
			quote = quote ? '\0' : *s;
			keep = end;
		} else {
			*end++ = *s;
		}
	}
	next = *s ? s + 1 : s;
	while (end > keep && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return next;
}

bool env_file_is_name(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (!isalpha((unsigned char)t.s[i]) && t.s[i] != '_' &&
		    (i == 0 || !isdigit((unsigned char)t.s[i])))
			return false;
	return t.len > 0;
}

static int set_all(const char *path, char *s, struct err *e)
{
	int count = 0;

	while (*s) {
		char *name = s + strspn(s, " \t\n"), *value;
		size_t n = strcspn(name, "=\n"), used = n;

		while (used && isspace((unsigned char)name[used - 1]))
			used--;
		if (*name == '#' || *name == ';' || name[n] != '=' ||
		    !env_file_is_name((struct text){ name, used })) {
			s = name + strcspn(name, "\n");
			continue;
		}
		name[used] = '\0';
		value = name + n + 1 + strspn(name + n + 1, " \t");
		s = read_value(value);
		if (!keep(name, value) || (is_for_libpq(name) && setenv(name, value, 0) < 0))
			return err_set(e, ENOMEM, "%s: out of memory", path);
		count++;
	}
	return count;
}

bool env_file_beside(const char *config_path, char out[PATH_MAX])
{
	const char *slash = strrchr(config_path, '/');
	int n = snprintf(out, PATH_MAX, "%.*s.env.production", slash ? (int)(slash + 1 - config_path) : 0,
			 config_path);

	return n > 0 && n < PATH_MAX;
}

int env_file_load(const char *path, struct err *e)
{
	CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char text[ENV_FILE_MAX + 1];
	ssize_t n;

	if (fd < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	n = read_all(fd, text, ENV_FILE_MAX);
	if (n < 0 || n == ENV_FILE_MAX)
		return err_set(e, EFBIG, "%s: cannot be read, or has %d bytes or more", path, ENV_FILE_MAX);
	text[n] = '\0';
	return set_all(path, text, e);
}
