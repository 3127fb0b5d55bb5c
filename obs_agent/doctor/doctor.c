#include "doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/cleanup.h"
#include "common/parse.h"
#include "common/doctor_say.h"
#include "obs_agent/config/env_file.h"
#include "obs_agent/notice/notice.h"

#define YEAR_2025_US (INT64_C(1735689600) * US_PER_S)
#define YEAR_2100_US (INT64_C(4102444800) * US_PER_S)

/* Root may read everything, and would not notice what the agent may not read: it looks with the
 * rights of the unit's user. */
static void say_who(const struct doctor_unit *u, const char *app, struct doctor_report *out)
{
	if (geteuid() != 0)
		doctor_line(out, true, NULL, "runs as user %u", (unsigned)geteuid());
	else if (*u->user && getpwnam(u->user))
		doctor_line(out, true, NULL, "runs as root; files are looked at as the unit's user %s",
			    u->user);
	else
		doctor_line(out, true, NULL,
			    "runs as user 0, who may read everything; to see with the agent's eyes: "
			    "systemd-run --pipe --wait "
			    "-p User=obs-agent -p SupplementaryGroups='adm systemd-journal www-data' "
			    "obs_agent doctor --app %s",
			    app);
}

/* systemd gives the agent the variables of this file; a person's shell does not have them. */
static int check_environment(const char *config_path, struct doctor_report *out)
{
	char path[PATH_MAX];
	struct stat st;
	struct err e;
	int n;

	if (!env_file_beside(config_path, path))
		return doctor_line(out, false, "name it by a shorter path", "%s is too long for a path",
				   config_path);
	if (stat(path, &st) < 0 && errno == ENOENT)
		return doctor_line(out, true, NULL, "no %s: variables come from the environment alone", path);
	n = env_file_load(path, &e);
	if (n < 0 && e.code == EACCES)          /* systemd reads it as root, so the agent need not */
		return doctor_line(out, true, NULL,
				   "%s is closed to this user, as it should be; run as root to try its "
				   "variables",
				   path);
	if (n < 0)
		return doctor_line(out, false, "make it a readable text file", "%s", e.msg);
	return doctor_line(out, !(st.st_mode & S_IROTH), "run: chmod o-rwx on it", "%s has %d variable%s%s",
			   path, n, plural(n), st.st_mode & S_IROTH ? " and everybody may read it" : "");
}

static void fail_line(void *data, const char *sentence)
{
	doctor_line(data, false, NULL, "%s", sentence);
}

/* Whom the agent tells that its database is away. */
static int check_notify(const struct config *c, struct doctor_report *out)
{
	struct err e;

	if (!c->notify.channel)
		return 0;
	if (notice_check(c, &e) < 0)
		return doctor_line(out, false, NULL, "%s", e.msg);
	return doctor_line(out, true, NULL,
			   "notify: if the database is away for %" PRId64 " s, the agent tells it through %s",
			   c->notify.database_away_us / US_PER_S, c->notify.channel);
}

static int check_config(const char *path, const char *app, struct config *c, struct doctor_report *out)
{
	struct config_mistakes mistakes;
	int failed = 0;

	if (config_load(path, app, c, &mistakes) < 0) {
		config_mistakes_tell(&mistakes, fail_line, out);
		return (int)mistakes.n;
	}
	failed += doctor_line(out, true, NULL, "%s is valid: %zu check%s, %zu log file%s or glob%s", path,
			      c->n_checks, plural((int64_t)c->n_checks), c->n_log_files,
			      plural((int64_t)c->n_log_files), plural((int64_t)c->n_log_files));
	failed += doctor_line(out, c->enabled, "set enabled: true", "monitoring is %s",
			      c->enabled ? "enabled" : "not enabled: the agent ends at once");
	failed += doctor_line(out, strncmp(c->vps_name, "localhost", 9) != 0,
			      "set vps_name, or the host name", "this server is called %s%s", c->vps_name,
			      strncmp(c->vps_name, "localhost", 9) != 0 ? "" : ", as others may be");
	return failed + check_notify(c, out);
}

/* All programs of a user share these limits, so trying says more than a number. */
static int check_inotify(struct doctor_report *out)
{
	CLEANUP(close_p) int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0)
		return doctor_line(out, false, "raise it: sysctl fs.inotify.max_user_instances=1024",
				   "inotify: no instance is left (%s)", strerror(errno));
	if (inotify_add_watch(fd, "/", IN_CREATE) < 0)
		return doctor_line(out, false, "raise it: sysctl fs.inotify.max_user_watches=65536",
				   "inotify: no watch is left (%s)", strerror(errno));
	return doctor_line(out, true, NULL, "inotify has instances and watches left");
}

static int check_clock(int64_t now_us, bool synchronised, struct doctor_report *out)
{
	char now[32];
	time_t seconds = (time_t)(now_us / US_PER_S);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(now, sizeof now, "%Y-%m-%d %H:%M:%S UTC", &tm);
	return doctor_line(out, now_us > YEAR_2025_US && now_us < YEAR_2100_US,
			   "set the clock: timedatectl set-ntp true", "the clock says %s%s", now,
			   synchronised ? "" : " (no time service keeps it: timedatectl set-ntp true)");
}

static bool clock_synchronised(void)
{
	struct timex t = { 0 };

	return adjtimex(&t) != TIME_ERROR;
}

/* The checks that depend on the rights of the user. */
static int check_as_agent(const struct config *c, const struct doctor_unit *u, const char *app,
			  struct doctor_report *out)
{
	bool other = doctor_unit_become(u);
	int failed = check_inotify(out) + doctor_state_folder(app, out);

	if (c->app)
		failed += doctor_logs(c, u, out);
	if (other)
		doctor_unit_return();
	return failed;
}

/* The last line: all of them in a sentence. */
static void conclude(const struct doctor_report *out, int failed, bool starting)
{
	if (failed)
		fprintf(out->to, failed == 1 ? "%d of these needs attention.\n"
					     : "%d of these need attention.\n", failed);
	else if (out->warnings)
		fprintf(out->to, "Nothing has failed%s; %d warning%s above.\n", starting ? " so far" : "",
			out->warnings, plural(out->warnings));
	else
		fputs(starting ? "Nothing has failed so far.\n" : "All is well.\n", out->to);
}

int doctor_run(const char *config_path, const char *app, const struct doctor_others *others, FILE *to)
{
	CLEANUP(config_free) struct config c = { 0 };
	CLEANUP(free_p) char *report = NULL;
	struct doctor_report lines = { to, 0 }, *out = &lines;
	struct doctor_unit u;
	int failed;

	doctor_unit_read(&u, "", app);
	u.fresh = u.found && doctor_never_started(app);
	say_who(&u, app, out);
	failed = check_environment(config_path, out);
	failed += doctor_unit_credentials(&u, app, out);
	failed += check_config(config_path, app, &c, out);
	failed += check_clock(wall_us(), clock_synchronised(), out);
	failed += check_as_agent(&c, &u, app, out);
	report = c.app ? doctor_ask(&c, others->agent) : NULL;
	if (c.app && c.postgres_url)
		failed += others->database(&c, doctor_starting(&c, report), out);
	if (c.app)
		failed += doctor_agent(&c, &u, report, out);
	conclude(out, failed, doctor_starting(&c, report));
	return failed ? 1 : 0;
}
