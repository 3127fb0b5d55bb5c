/*
 * doctor_logs.c - log files as the agent will see them.
 *
 * A file that a person's shell reads may still be hidden from the agent: by its
 * rights, or by the unit's sandbox, which puts empty folders over /home and /tmp.
 */
#include <errno.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <strings.h>
#include <sys/stat.h>

#include "../common/cleanup.h"
#include "doctor.h"
#include "log_open.h"

/* ---- the unit's sandbox ------------------------------------------------------------ */

enum { BINDS_MAX = 1024 };

struct sandbox {
	bool protect_home, private_tmp, private_devices;
	char binds[BINDS_MAX];          /* the values of Bind*Paths=, a space before each */
};

static bool hides(const char *value)
{
	static const char *const words[] = { "yes", "true", "on", "1", "tmpfs" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcasecmp(value, words[i]) == 0)
			return true;
	return false;
}

static void apply_line(struct sandbox *s, char *line)
{
	char *value = strchr(line, '=');
	size_t used = strlen(s->binds);

	line[strcspn(line, "\n")] = '\0';
	if (!value)
		return;
	*value++ = '\0';
	if (strcmp(line, "ProtectHome") == 0)
		s->protect_home = hides(value);
	else if (strcmp(line, "PrivateTmp") == 0)
		s->private_tmp = hides(value);
	else if (strcmp(line, "PrivateDevices") == 0)
		s->private_devices = hides(value);
	else if (strcmp(line, "BindPaths") == 0 || strcmp(line, "BindReadOnlyPaths") == 0)
		snprintf(s->binds + used, sizeof s->binds - used, " %s", value);
}

static void apply_file(struct sandbox *s, const char *path)
{
	CLEANUP(fclose_p) FILE *in = fopen(path, "re");
	char line[BINDS_MAX];

	while (in && fgets(line, sizeof line, in))
		apply_line(s, line);
}

/* The unit, then its drop-ins; what comes later counts. Without a unit nothing is hidden. */
static void read_sandbox(struct sandbox *s, const char *root, const char *app)
{
	static const char *const patterns[] = {
		"/usr/lib/systemd/system/obs-agent@.service", "/etc/systemd/system/obs-agent@.service",
		"/usr/lib/systemd/system/obs-agent@.service.d/*.conf", "/etc/systemd/system/obs-agent@.service.d/*.conf",
	};
	char path[PATH_MAX];
	glob_t found = { 0 };

	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
		snprintf(path, sizeof path, "%s%s", root, patterns[i]);
		glob(path, i ? GLOB_APPEND : 0, NULL, &found);
	}
	snprintf(path, sizeof path, "%s/etc/systemd/system/obs-agent@%s.service.d/*.conf", root, app);
	glob(path, GLOB_APPEND, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++)
		apply_file(s, found.gl_pathv[i]);
	globfree(&found);
}

static bool below(const char *path, const char *folder, size_t n)
{
	return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static bool bound(const struct sandbox *s, const char *path)
{
	for (const char *b = s->binds; *b;) {
		size_t n;

		b += strspn(b, " -");
		n = strcspn(b, " :");
		if (n && below(path, b, n))
			return true;
		b += strcspn(b, " ");
	}
	return false;
}

/* The setting that hides `path` from the agent; NULL: none does. */
static const char *hidden_by(const struct sandbox *s, const char *path)
{
	static const struct { const char *folder; size_t setting; const char *name; } rows[] = {
		{ "/home", offsetof(struct sandbox, protect_home), "ProtectHome=read-only" },
		{ "/root", offsetof(struct sandbox, protect_home), "ProtectHome=read-only" },
		{ "/run/user", offsetof(struct sandbox, protect_home), "ProtectHome=read-only" },
		{ "/tmp", offsetof(struct sandbox, private_tmp), "PrivateTmp=no" },
		{ "/var/tmp", offsetof(struct sandbox, private_tmp), "PrivateTmp=no" },
		{ "/dev", offsetof(struct sandbox, private_devices), "PrivateDevices=no" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (below(path, rows[i].folder, strlen(rows[i].folder)) && *((const bool *)s + rows[i].setting) &&
		    !bound(s, path))
			return rows[i].name;
	return NULL;
}

/* ---- one file -------------------------------------------------------------------------- */

/* The first folder or the file on the way to `path` that this user may not enter or read. */
static void first_closed(const char *path, char closed[PATH_MAX])
{
	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(closed, PATH_MAX, "%.*s", (int)(slash - path), path);
		if (eaccess(closed, X_OK) < 0)
			return;
	}
	snprintf(closed, PATH_MAX, "%s", path);
}

static int say_closed(const char *path, const char *app, FILE *out)
{
	char closed[PATH_MAX], remedy[PATH_MAX + 64];
	struct group *group;
	struct stat st;

	first_closed(path, closed);
	if (stat(closed, &st) < 0)
		return doctor_line(out, false, "open the folders above it", "%s: permission denied", path);
	group = getgrgid(st.st_gid);
	if (!(st.st_mode & S_IRGRP))
		snprintf(remedy, sizeof remedy, "let its group read it: chmod g+rX %s", closed);
	else
		snprintf(remedy, sizeof remedy, "add its group to the unit: systemctl edit obs-agent@%s, then [Service] "
			 "SupplementaryGroups=%s", app, group ? group->gr_name : "(its group)");
	return doctor_line(out, false, remedy, "%s: permission denied at %s", path, closed);
}

static int check_file(const char *path, const char *app, FILE *out)
{
	struct stat st;
	struct err e;
	CLEANUP(close_p) int fd = log_open_file(path, &st, &e);

	if (fd >= 0)
		return doctor_line(out, true, NULL, "%s is readable", path);
	if (e.code == EACCES)
		return say_closed(path, app, out);
	return doctor_line(out, false, e.code == EPERM ? NULL : "correct the path, or start the application once", "%s", e.msg);
}

/* ---- one entry of log_files ---------------------------------------------------------------- */

static bool has_wildcard(const char *path)
{
	return strpbrk(path, "*?[") != NULL;
}

static int check_pattern(const char *pattern, const char *app, FILE *out)
{
	size_t folder = strcspn(pattern, "*?[");
	char closed[PATH_MAX];
	glob_t found = { 0 };
	int failed = 0;

	if (!has_wildcard(pattern))
		return check_file(pattern, app, out);
	if (glob(pattern, 0, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			failed += check_file(found.gl_pathv[i], app, out);
		globfree(&found);
		return failed;
	}
	while (folder > 1 && pattern[folder - 1] != '/')
		folder--;
	snprintf(closed, sizeof closed, "%.*s", (int)folder, pattern);
	if (eaccess(closed, R_OK | X_OK) < 0 && errno == EACCES)
		return say_closed(closed, app, out);
	return doctor_line(out, false, "correct it, or start the application once", "%s matches no file", pattern);
}

int doctor_logs(const struct config *c, const char *root, FILE *out)
{
	struct sandbox sandbox = { 0 };
	int failed = 0;

	read_sandbox(&sandbox, root, c->app);
	for (size_t i = 0; i < c->n_log_files; i++) {
		const char *setting = hidden_by(&sandbox, c->log_files[i]);
		char remedy[256];

		failed += check_pattern(c->log_files[i], c->app, out);
		if (!setting)
			continue;
		snprintf(remedy, sizeof remedy, "show it: systemctl edit obs-agent@%s, then [Service] %s", c->app, setting);
		failed += doctor_line(out, false, remedy, "%s: the unit's sandbox hides this folder from the agent",
				      c->log_files[i]);
	}
	return failed;
}
