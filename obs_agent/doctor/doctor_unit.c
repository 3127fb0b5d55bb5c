#include "doctor_unit.h"

#include <errno.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/doctor_say.h"

enum { GROUPS_MAX = 64 };

/* ---- what the unit says ---- */

/* A list grows with each line of a file; an empty line resets it. */
static const struct { const char *name; size_t at, size; bool list; } settings[] = {
#define SETTING(name, member, list) \
	{ name, offsetof(struct doctor_unit, member), sizeof ((struct doctor_unit *)0)->member, list }
	SETTING("User", user, false),
	SETTING("SupplementaryGroups", groups, true),
	SETTING("ProtectHome", protect_home, false),
	SETTING("PrivateTmp", private_tmp, false),
	SETTING("PrivateDevices", private_devices, false),
	SETTING("BindPaths", binds, true),
	SETTING("BindReadOnlyPaths", binds, true),
	SETTING("InaccessiblePaths", inaccessible, true),
	SETTING("TemporaryFileSystem", tmpfs, true),
	SETTING("RootDirectory", root, false),
	SETTING("LoadCredential", credentials, true),
	SETTING("LoadCredentialEncrypted", credentials, true),
	SETTING("ExecMainStatus", exit_status, false),
	SETTING("SubState", sub_state, false),
#undef SETTING
};

static void apply_line(struct doctor_unit *u, char *line)
{
	char *value = strchr(line, '=');

	line[strcspn(line, "\n")] = '\0';
	if (!value)
		return;
	*value++ = '\0';
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
		char *to = (char *)u + settings[i].at;
		size_t used = settings[i].list && *value ? strlen(to) : 0;

		if (strcmp(line, settings[i].name) == 0)
			snprintf(to + used, settings[i].size - used, "%s%s",
				 settings[i].list && *value ? " " : "", value);
	}
}

static void apply_stream(struct doctor_unit *u, FILE *in)
{
	char line[UNIT_VALUE_MAX];

	while (fgets(line, sizeof line, in))
		apply_line(u, line);
}

static void apply_file(struct doctor_unit *u, const char *path)
{
	CLEANUP(fclose_p) FILE *in = fopen(path, "re");

	if (!in)
		return;
	u->found = true;
	apply_stream(u, in);
}

/* Read the unit, then its drop-ins; later settings override earlier ones. */
static void read_files(struct doctor_unit *u, const char *root, const char *app)
{
	static const char *const patterns[] = {
		"/usr/lib/systemd/system/obs-agent@.service", "/etc/systemd/system/obs-agent@.service",
		"/usr/lib/systemd/system/obs-agent@.service.d/*.conf",
		"/etc/systemd/system/obs-agent@.service.d/*.conf",
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
		apply_file(u, found.gl_pathv[i]);
	globfree(&found);
}

/* Start systemctl; what it prints is read from *ret. */
static pid_t spawn_systemctl(char *const argv[], FILE **ret)
{
	posix_spawn_file_actions_t actions;
	pid_t pid = -1;
	int ends[2];

	if (pipe(ends) < 0)
		return -1;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, ends[0]);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", 1, 0);
	if (posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ) != 0)
		pid = -1;
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	*ret = fdopen(ends[0], "r");
	return pid;
}

/* Ask for the settings in force. Credentials come from the files, because systemctl does not show
 * their sources. */
static void ask_systemd(struct doctor_unit *u, const char *app)
{
	char unit[256], show[] = "show", systemctl[] = "systemctl";
	char properties[] = "--property=User,SupplementaryGroups,ProtectHome,PrivateTmp,PrivateDevices,"
			    "BindPaths,BindReadOnlyPaths,InaccessiblePaths,TemporaryFileSystem,RootDirectory,"
			    "ExecMainStatus,SubState";
	char *const argv[] = { systemctl, show, properties, unit, NULL };
	struct doctor_unit asked = { .found = true };
	FILE *in = NULL;
	pid_t pid;

	snprintf(unit, sizeof unit, "obs-agent@%s.service", app);
	pid = spawn_systemctl(argv, &in);
	if (in) {
		apply_stream(&asked, in);
		fclose(in);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
	if (!*asked.sub_state || !u->found)
		return;
	memcpy(asked.credentials, u->credentials, sizeof asked.credentials);
	*u = asked;
}

void doctor_unit_read(struct doctor_unit *u, const char *root, const char *app)
{
	*u = (struct doctor_unit){ 0 };
	read_files(u, root, app);
	if (u->found && !*root && access("/run/systemd/system", F_OK) == 0)
		ask_systemd(u, app);
}

/* ---- what the sandbox hides ---- */

static bool below(const char *path, const char *folder, size_t n)
{
	return n && strncmp(path, folder, n) == 0 &&
	       (path[n] == '/' || path[n] == '\0' || folder[n - 1] == '/');
}

/* The folder of a list like " -/srv:/x /opt" that contains `path`, or NULL. */
static const char *listed(const char *list, const char *path, size_t *ret_n)
{
	while (*list) {
		list += strspn(list, " -+");
		*ret_n = strcspn(list, " :");
		if (below(path, list, *ret_n))
			return list;
		list += strcspn(list, " ");
	}
	return NULL;
}

static bool is_on(const char *value)
{
	static const char *const words[] = { "yes", "true", "on", "1", "tmpfs", "disconnected" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcasecmp(value, words[i]) == 0)
			return true;
	return false;
}

static bool hidden_by_switch(const struct doctor_unit *u, const char *path, char *setting, char *fix)
{
	static const struct { const char *folder, *name, *fix; size_t at; } rows[] = {
		{ "/home", "ProtectHome", "ProtectHome=read-only",
		  offsetof(struct doctor_unit, protect_home) },
		{ "/root", "ProtectHome", "ProtectHome=read-only",
		  offsetof(struct doctor_unit, protect_home) },
		{ "/run/user", "ProtectHome", "ProtectHome=read-only",
		  offsetof(struct doctor_unit, protect_home) },
		{ "/tmp", "PrivateTmp", "PrivateTmp=no", offsetof(struct doctor_unit, private_tmp) },
		{ "/var/tmp", "PrivateTmp", "PrivateTmp=no", offsetof(struct doctor_unit, private_tmp) },
		{ "/dev", "PrivateDevices", "PrivateDevices=no",
		  offsetof(struct doctor_unit, private_devices) },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *value = (const char *)u + rows[i].at;

		if (!below(path, rows[i].folder, strlen(rows[i].folder)) || !is_on(value))
			continue;
		snprintf(setting, UNIT_VALUE_MAX, "%s=%s", rows[i].name, value);
		snprintf(fix, PATH_MAX, "%s", rows[i].fix);
		return true;
	}
	return false;
}

bool doctor_unit_hides(const struct doctor_unit *u, const char *path, char setting[UNIT_VALUE_MAX],
		       char fix[PATH_MAX])
{
	const struct { const char *name, *value; } lists[] = {
		{ "InaccessiblePaths", u->inaccessible }, { "TemporaryFileSystem", u->tmpfs },
		{ "RootDirectory", u->root },
	};
	const char *folder;
	size_t n;

	if (listed(u->binds, path, &n))
		return false;
	if (hidden_by_switch(u, path, setting, fix))
		return true;
	for (size_t i = 0; i < 3; i++) {
		folder = i < 2 ? listed(lists[i].value, path, &n) :
			 *u->root && strcmp(u->root, "/") != 0 ? u->root : NULL;
		if (!folder)
			continue;
		snprintf(setting, UNIT_VALUE_MAX, "%s=%.*s", lists[i].name,
			 i < 2 ? (int)n : (int)strlen(folder), folder);
		n = (size_t)(strrchr(path, '/') - path);
		snprintf(fix, PATH_MAX, "BindReadOnlyPaths=%.*s", (int)n, path);
		return true;
	}
	return false;
}

/* ---- its user ---- */

bool doctor_unit_become(const struct doctor_unit *u)
{
	const struct passwd *user = *u->user ? getpwnam(u->user) : NULL;
	char names[UNIT_VALUE_MAX], *rest = NULL;
	gid_t groups[GROUPS_MAX];
	int n = GROUPS_MAX / 2;

	if (geteuid() != 0 || !user || user->pw_uid == 0)
		return false;
	if (getgrouplist(u->user, user->pw_gid, groups, &n) < 0)
		return false;
	snprintf(names, sizeof names, "%s", u->groups);
	for (char *name = strtok_r(names, " ", &rest); name && n < GROUPS_MAX;
	     name = strtok_r(NULL, " ", &rest)) {
		const struct group *group = getgrnam(name);

		if (group)
			groups[n++] = group->gr_gid;
	}
	return setgroups((size_t)n, groups) == 0 && setegid(user->pw_gid) == 0 && seteuid(user->pw_uid) == 0;
}

void doctor_unit_return(void)
{
	if (seteuid(0) == 0 && setegid(0) == 0)
		(void)setgroups(0, NULL);
}

/* ---- its credentials ---- */

/* The file that systemd reads for "name:obs-agent.%i.name". */
static void source_of(const char *item, size_t n, const char *app, char path[PATH_MAX])
{
	const char *colon = memchr(item, ':', n), *from = colon ? colon + 1 : item;
	size_t len = 0;

	len += (size_t)snprintf(path, PATH_MAX, "%s", *from == '/' ? "" : "/etc/credstore/");
	for (; from < item + n && len + 1 < PATH_MAX; from++)
		if (from + 1 < item + n && from[0] == '%' && (from[1] == 'i' || from[1] == 'I')) {
			len += (size_t)snprintf(path + len, PATH_MAX - len, "%s", app);
			from++;
		} else {
			path[len++] = *from;
		}
	path[len < PATH_MAX ? len : PATH_MAX - 1] = '\0';
}

static int check_credential(const char *item, size_t n, const char *app, struct doctor_report *out)
{
	int name = (int)strcspn(item, ": ");
	char path[PATH_MAX];
	struct stat st;

	source_of(item, n, app, path);
	if (stat(path, &st) == 0)
		return doctor_line(out, !(st.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)), "run: chmod 600 on it",
				   "credential %.*s is in %s%s", name, item, path,
				   st.st_mode & (S_IROTH | S_IWOTH | S_IWGRP) ? ", open to others" : "");
	if (errno == EACCES)
		return doctor_line(out, true, NULL,
				   "credential %.*s is in %s, closed to this user, as it should be", name,
				   item, path);
	if (strncmp(path, "/etc/credstore/", 15) == 0)
		return 0;               /* systemd leaves it out; if it is needed, the configuration fails */
	return doctor_line(out, false,
			   "make it (mode 600), or take its LoadCredential= out: without it the unit does "
			   "not start", "credential %.*s: there is no %s", name, item, path);
}

int doctor_unit_credentials(const struct doctor_unit *u, const char *app, struct doctor_report *out)
{
	int failed = 0;

	for (const char *s = u->credentials; *s; s += strcspn(s, " ")) {
		s += strspn(s, " ");
		if (*s)
			failed += check_credential(s, strcspn(s, " "), app, out);
	}
	return failed;
}
