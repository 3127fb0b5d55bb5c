/*
 * doctor_logs.c - checks the log files as the agent will see them.
 *
 * The agent may not see a file that a person's shell can read: because of its rights, because the
 * unit's sandbox hides /home and /tmp, or because of the rules of log_open.h.
 */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "common/path_pattern.h"
#include "doctor.h"
#include "common/doctor_say.h"
#include "obs_agent/explain/explain.h"
#include "obs_agent/tail/log_open.h"

/* ---- one file -------------------------------------------------------------------------- */

/* The first folder on the way to `path` that this user may not enter, or else `path` itself. */
static void first_closed(const char *path, char closed[PATH_MAX])
{
	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(closed, PATH_MAX, "%.*s", (int)(slash - path), path);
		if (eaccess(closed, X_OK) < 0)
			return;
	}
	snprintf(closed, PATH_MAX, "%s", path);
}

static int say_closed(const char *path, const char *app, struct doctor_report *out)
{
	char closed[PATH_MAX], remedy[2 * PATH_MAX + 96];
	struct group *group;
	struct stat st;

	first_closed(path, closed);
	if (stat(closed, &st) < 0)
		return doctor_line(out, false, "open the folders above it", "%s: permission denied", path);
	group = getgrgid(st.st_gid);
	if (st.st_gid == 0)             /* the agent should not be in root's group */
		snprintf(remedy, sizeof remedy,
			 "give it to a group that may read logs: chgrp adm %s && chmod g+rX %s", closed,
			 closed);
	else if (!(st.st_mode & S_IRGRP))
		snprintf(remedy, sizeof remedy, "let its group read it: chmod g+rX %s", closed);
	else
		snprintf(remedy, sizeof remedy,
			 "add its group to the unit: systemctl edit obs-agent@%s, then [Service] "
			 "SupplementaryGroups=%s",
			 app, group ? group->gr_name : "(its group)");
	return doctor_line(out, false, remedy, "%s: permission denied at %s", path, closed);
}

/* An application creates its files when it runs: before the agent's first start they may be missing. */
static int say_missing(const struct doctor_unit *u, const char *remedy, const char *sentence,
		       struct doctor_report *out)
{
	return u->fresh ? doctor_note(out, "%s; %s", sentence, remedy)
			: doctor_line(out, false, remedy, "%s", sentence);
}

/* Rows without a time of their own have the time at which the agent read them. */
static int check_times(const char *path, const struct log_file_config *settings, struct doctor_report *out)
{
	struct err e;

	if (explain_has_times(path, settings, &e) != 0)
		return 0;
	return doctor_warn(out,
			   "%s: no line has a time that the agent can read, so its rows have the time of "
			   "arrival; see obs_agent explain %s, let the application write a time (with a "
			   "zone, or set log_timezone), or set format: raw for this file", path, path);
}

static int check_file(const char *path, const struct log_file_config *settings, const char *app,
		      const struct doctor_unit *u, struct doctor_report *out)
{
	struct stat st;
	struct err e;
	CLEANUP(close_p) int fd = log_open_file(path, &st, &e);

	if (fd >= 0)
		return doctor_line(out, true, NULL, "%s is readable", path) +
		       check_times(path, settings, out);
	if (e.code == EACCES)
		return say_closed(path, app, out);
	if (e.code == ENOENT)
		return say_missing(u, "correct the path, or start the application once", e.msg, out);
	return doctor_line(out, false,
			   e.code == EPERM ? NULL : "correct the path, or start the application once", "%s",
			   e.msg);
}

/* ---- one entry of log_files ---------------------------------------------------------------- */

/* A pattern without a match: its folder is closed to this user, or missing, or has no such file yet. */
static int say_no_match(const char *pattern, const char *app, const struct doctor_unit *u,
			struct doctor_report *out)
{
	size_t n = strcspn(pattern, "*?[{");
	char folder[PATH_MAX], sentence[2 * PATH_MAX];

	while (n > 1 && pattern[n - 1] != '/')
		n--;
	snprintf(folder, sizeof folder, "%.*s", (int)n, pattern);
	if (eaccess(folder, R_OK | X_OK) == 0)
		return (u->fresh ? doctor_note : doctor_warn)(
			out, "%s matches no file yet; correct it, or start the application once", pattern);
	if (errno == EACCES)
		return say_closed(folder, app, out);
	snprintf(sentence, sizeof sentence, "%s matches no file: there is no folder %s", pattern, folder);
	return say_missing(u, "correct it, or start the application once", sentence, out);
}

static int check_item(const struct log_file_config *item, const char *app, const struct doctor_unit *u,
		      size_t *files, struct doctor_report *out)
{
	const char *pattern = item->path;
	CLEANUP(path_list_free) struct path_list found = { 0 };
	int failed = 0, r = path_pattern_find(pattern, &found, NULL);

	*files += found.n;
	for (size_t i = 0; i < found.n; i++)
		failed += check_file(found.path[i], item, app, u, out);
	if (r == -E2BIG)
		failed += doctor_line(out, false, "write a narrower one",
				      "%s: the pattern leads to too many folders or names", pattern);
	return found.n ? failed : failed + say_no_match(pattern, app, u, out);
}

/* Each file and each folder needs a watch. Without one the agent looks once a second. */
static int check_watches(size_t files, const struct config *c, struct doctor_report *out)
{
	CLEANUP(fclose_p) FILE *in = fopen("/proc/sys/fs/inotify/max_user_watches", "re");
	size_t needed = files + c->n_log_files;
	char line[32] = "", remedy[128];
	int64_t max;

	if (!in || !fgets(line, sizeof line, in) ||
	    !parse_i64((struct text){ line, strcspn(line, "\n") }, &max))
		return 0;
	snprintf(remedy, sizeof remedy, "raise it: sysctl fs.inotify.max_user_watches=%zu", needed * 4);
	return doctor_line(out, (int64_t)needed <= max, remedy,
			   "inotify: %zu watches are needed, a user may have %lld", needed, (long long)max);
}

int doctor_logs(const struct config *c, const struct doctor_unit *u, struct doctor_report *out)
{
	int failed = 0;
	size_t files = 0;

	for (size_t i = 0; i < c->n_log_files; i++) {
		char setting[UNIT_VALUE_MAX], fix[PATH_MAX], remedy[PATH_MAX + 256];

		failed += check_item(&c->log_files[i], c->app, u, &files, out);
		if (!doctor_unit_hides(u, c->log_files[i].path, setting, fix))
			continue;
		snprintf(remedy, sizeof remedy, "show it: systemctl edit obs-agent@%s, then [Service] %s",
			 c->app, fix);
		failed += doctor_line(out, false, remedy,
				      "%s: the unit's sandbox (%s) hides this from the agent",
				      c->log_files[i].path, setting);
	}
	return failed + (files ? check_watches(files, c, out) : 0);
}
