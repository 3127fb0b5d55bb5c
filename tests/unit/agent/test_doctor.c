/* The doctor: its checks, and that each failure names its fix. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>

#include "common/parse.h"
#include "obs_agent/doctor/doctor.c"

static char dir[64];                    /* everything below is in here */
static char said[8192];                 /* the last output of the doctor */

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/observ-test-XXXXXX");
	return mkdtemp(dir) ? chmod(dir, 0755) : -1;
}

static int remove_dir(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command);
}

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static void write_file(const char *name, mode_t mode, const char *text)
{
	FILE *out = fopen(path_of(name), "w");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
	assert_int_equal(chmod(path_of(name), mode), 0);
}

static void make_folders(const char *name)
{
	char command[512];

	snprintf(command, sizeof command, "mkdir -p '%s'", path_of(name));
	assert_int_equal(system(command), 0);
}

static int db_calls, db_failures;
static bool db_starting;                /* was told that the agent has just been started */
static const char *agent_says;          /* NULL: no agent runs */

static int fake_agent(const char *app, FILE *out, struct err *e)
{
	assert_string_equal(app, "my-app");
	return agent_says ? (fputs(agent_says, out), 0) : err_set(e, ENOENT, "no socket");
}

static int fake_db(const struct config *c, bool starting, struct doctor_report *out)
{
	db_starting = starting;
	assert_non_null(c->postgres_url);
	fputs("database asked\n", out->to);
	db_calls++;
	return db_failures;
}

static int run_doctor(void)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int r = doctor_run(path_of("config.yml"), "my-app", &(struct doctor_others){ fake_db, fake_agent },
			   out);

	fclose(out);
	snprintf(said, sizeof said, "%s", text);
	free(text);
	return r;
}

static bool fresh;                      /* the agent never ran */

static const char *format = "auto";

static int look_at_logs(const char *log_file)
{
	const struct log_file_config files[] = { { .path = log_file, .format = format } };
	struct config c = { .app = "my-app", .log_files = files, .n_log_files = 1 };
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct doctor_unit u;
	int r;

	doctor_unit_read(&u, dir, "my-app");
	u.fresh = fresh;
	r = doctor_logs(&c, &u, &(struct doctor_report){ out, 0 });
	fclose(out);
	snprintf(said, sizeof said, "%s", text);
	free(text);
	return r;
}

static void assert_said(const char *what)
{
	if (!strstr(said, what))
		fail_msg("\"%s\" is not in:\n%s", what, said);
}

static void write_config(const char *url)
{
	char yaml[512];

	snprintf(yaml, sizeof yaml,
		 "monitoring:\n  enabled: true\n  vps_name: web-1\n  postgres_url: %s\n  log_files:\n"
		 "    - %s/app*.log\n", url, dir);
	write_file("config.yml", 0644, yaml);
}

static void without_a_problem_the_exit_status_is_0(void **state)
{
	(void)state;
	setenv("STATE_DIRECTORY", dir, 1);
	write_config("postgres://agent@h/d");
	write_file("app1.log", 0644, "");
	db_failures = db_calls = 0;
	assert_int_equal(run_doctor(), 0);
	assert_int_equal(db_calls, 1);
	assert_said("config.yml is valid: 0 checks, 1 log file or glob\n");
	assert_said("/app1.log is readable\n");
	assert_said("database asked\n");
	assert_said("\nNothing has failed; 1 warning above.\n");        /* no agent runs */
	assert_null(strstr(said, "FAIL"));
}

static void a_failing_database_gives_exit_status_1(void **state)
{
	(void)state;
	write_config("postgres://agent@h/d");
	db_failures = 2;
	assert_int_equal(run_doctor(), 1);
	assert_said("2 of these need attention.\n");
	db_failures = 1;
	assert_int_equal(run_doctor(), 1);
	assert_said("1 of these needs attention.\n");
	db_failures = 0;
}

static void a_broken_configuration_is_reported_and_the_rest_is_still_checked(void **state)
{
	(void)state;
	write_file("config.yml", 0644, "monitoring:\n  enabled: perhaps\n");
	db_calls = 0;
	assert_int_equal(run_doctor(), 1);
	assert_int_equal(db_calls, 0);
	assert_said("FAIL ");
	assert_said("config.yml:2:12: enabled \"perhaps\" is neither true nor false; write one of them\n");
	assert_said("the clock says 2");
}

static void a_disabled_agent_or_a_default_name_is_reported(void **state)
{
	(void)state;
	write_file("config.yml", 0644, "monitoring:\n  vps_name: localhost.localdomain\n");
	assert_int_equal(run_doctor(), 1);
	assert_said("FAIL monitoring is not enabled: the agent ends at once; set enabled: true\n");
	assert_said("FAIL this server is called localhost.localdomain, as others may be; set vps_name, or "
		    "the host name\n");
}

static void a_file_whose_times_cannot_be_read_is_a_warning(void **state)
{
	static const char *const timed[] = { "", "half a line", "no time\n2026-11-20 10:00:00 INFO one\n",
					     "{\"time\":1796019839562,\"msg\":\"a\"}\n",
					     "{\"log\":\"no time\\n\",\"stream\":\"stdout\","
					     "\"time\":\"2026-11-20T10:00:00Z\"}\n" };

	(void)state;
	for (size_t i = 0; i < sizeof timed / sizeof *timed; i++) {
		write_file("times.log", 0644, timed[i]);
		assert_int_equal(look_at_logs(path_of("times.log")), 0);
		assert_null(strstr(said, "warn"));
	}
	write_file("times.log", 0644, "one\ntwo at 10:00\n{\"msg\":\"three\"}\n");
	assert_int_equal(look_at_logs(path_of("times.log")), 0);
	assert_said("warn ");
	assert_said("/times.log: no line has a time that the agent can read");
	assert_said("obs_agent explain ");
	assert_said("log_timezone");
	format = "raw";
	look_at_logs(path_of("times.log"));
	format = "auto";
	assert_null(strstr(said, "warn"));
}

static void variables_come_from_the_file_that_the_unit_reads(void **state)
{
	(void)state;
	unsetenv("DOCTOR_HOST");
	write_config("postgres://agent@${DOCTOR_HOST}/d");
	assert_int_equal(run_doctor(), 1);
	assert_said("needs the environment variable DOCTOR_HOST, which is not set");
	write_file(".env.production", 0640, "DOCTOR_HOST=h\n");
	assert_int_equal(run_doctor(), 0);
	assert_said(".env.production has 1 variable\n");
	write_file(".env.production", 0644, "DOCTOR_HOST=h\n");
	assert_int_equal(run_doctor(), 1);
	assert_said(".env.production has 1 variable and everybody may read it; run: chmod o-rwx on it\n");
	unlink(path_of(".env.production"));
	unsetenv("DOCTOR_HOST");
}

static void an_environment_file_is_read_as_systemd_reads_it(void **state)
{
	static const char text[] =
		"# comment\n; comment\n\nT_A=plain\n  T_B = spaces around  \nT_C=\"double \\\"quoted\\\" \"\n"
		"T_D='single $x \\n '\n"
		"OPENSSL_CONF=/mine\nPGHOST=file\nT_E=joined \\\nlines\nT_F=\nT_G=a\"b c\"d\nnonsense\n1T=x\n"
		"T_H=two=signs # no comment\nT_I=mine\nT_J=\"two\nlines\"";
	static const struct { const char *name, *value; } rows[] = {
		{ "T_A", "plain" }, { "T_B", "spaces around" }, { "T_C", "double \"quoted\" " },
		{ "T_D", "single $x \\n " }, { "T_E", "joined lines" }, { "T_F", "" }, { "T_G", "ab cd" },
		{ "T_H", "two=signs # no comment" }, { "T_I", "the environment's" }, { "T_J", "two\nlines" },
	};
	struct err e;

	(void)state;
	setenv("T_I", "the environment's", 1);
	write_file("env", 0600, text);
	assert_int_equal(env_file_load(path_of("env"), &e), 12);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(env_file_get(rows[i].name), rows[i].value);
	/* The owner of the file must not be able to make libraries run code. */
	assert_null(getenv("OPENSSL_CONF"));
	assert_null(getenv("T_A"));
	assert_string_equal(env_file_get("OPENSSL_CONF"), "/mine");
	assert_string_equal(getenv("PGHOST"), "file");
	assert_null(env_file_get("T_NONE"));
	unsetenv("PGHOST");
	assert_int_equal(env_file_load(path_of("no such file"), &e), -ENOENT);
}

static void the_units_file_of_variables_is_beside_the_configuration(void **state)
{
	static char path[PATH_MAX + 16];
	char out[PATH_MAX];

	(void)state;
	assert_true(env_file_beside("/opt/a/config.yml", out));
	assert_string_equal(out, "/opt/a/.env.production");
	assert_true(env_file_beside("config.yml", out));
	assert_string_equal(out, ".env.production");
	memset(path, 'a', sizeof path - 1);
	path[PATH_MAX] = '/';
	assert_false(env_file_beside(path, out));
}

static void a_missing_log_file_is_reported(void **state)
{
	(void)state;
	assert_int_equal(look_at_logs(path_of("missing.log")), 1);
	assert_said("missing.log: No such file or directory; correct the path, or start the application "
		    "once\n");
	assert_int_equal(look_at_logs(path_of("no-folder/*.log")), 1);
	assert_said("no-folder/*.log matches no file: there is no folder /tmp/observ-test-");
	assert_said("/no-folder/; correct it, or start the application once\n");
	/* a log of tomorrow, may be */
	assert_int_equal(look_at_logs(path_of("missing*.log")), 0);
	assert_said("warn /tmp/observ-test-");
	assert_said("missing*.log matches no file yet; correct it, or start the application once\n");
	assert_int_equal(look_at_logs("/dev/null"), 1);
	assert_said("FAIL /dev/null: not a regular file; name one\n");
}

static int look_at_agent(const char *says, const char *exit_status, const char *sub_state);

/* As documented: doctor, then enable --now. Missing parts are notes, mistakes still fail. */
static void before_the_first_start_what_is_missing_is_no_failure(void **state)
{
	(void)state;
	fresh = true;
	assert_int_equal(look_at_logs(path_of("missing.log")), 0);
	assert_said("note /tmp/observ-test-");
	assert_said("missing.log: No such file or directory; correct the path, or start the application "
		    "once\n");
	assert_int_equal(look_at_logs(path_of("missing*.log")), 0);
	assert_said("missing*.log matches no file yet; correct it, or start the application once\n");
	assert_int_equal(look_at_logs(path_of("no-folder/*.log")), 0);
	assert_int_equal(look_at_logs("/dev/null"), 1);
	assert_int_equal(look_at_agent(NULL, "0", "dead"), 0);
	assert_string_equal(said,
			    "note the agent has not been started yet; start it: systemctl enable --now "
			    "obs-agent@my-app\n");
	fresh = false;
}

static void an_agent_is_new_until_systemd_has_made_its_state_folder(void **state)
{
	(void)state;
	setenv("STATE_DIRECTORY", path_of("state of nobody"), 1);
	assert_true(doctor_never_started("my-app"));
	setenv("STATE_DIRECTORY", dir, 1);
	assert_false(doctor_never_started("my-app"));
}

enum { ADM = 4 };                       /* the group's number, the same on each Debian */

/* As the agent's user, which is not root. */
static void an_unreadable_log_file_is_reported_with_the_group_to_add(void **state)
{
	bool root = geteuid() == 0;

	(void)state;
	if (!root) {
		skip();
		return;
	}
	make_folders("closed");
	write_file("closed/a.log", 0644, "");
	write_file("b.log", 0640, "");
	write_file("c.log", 0600, "");
	write_file("of_root.log", 0600, "");
	assert_int_equal(chmod(path_of("closed"), 0750), 0);
	assert_int_equal(chown(path_of("closed"), 0, ADM) | chown(path_of("b.log"), 0, ADM) |
			 chown(path_of("c.log"), 0, ADM), 0);
	assert_int_equal(setgroups(0, NULL), 0);
	assert_int_equal(setegid(65534), 0);
	assert_int_equal(seteuid(65534), 0);
	look_at_logs(path_of("closed/a.log"));
	assert_said("closed/a.log: permission denied at /tmp/observ-test-");
	assert_said("/closed; add its group to the unit: systemctl edit obs-agent@my-app, then [Service] "
		    "SupplementaryGroups=adm\n");
	look_at_logs(path_of("closed/*.log"));
	assert_said("/closed; add its group to the unit");
	look_at_logs(path_of("b.log"));
	assert_said("b.log; add its group to the unit");
	look_at_logs(path_of("c.log"));
	assert_said("; let its group read it: chmod g+rX /tmp/observ-test-");
	look_at_logs(path_of("of_root.log"));
	assert_said("; give it to a group that may read logs: chgrp adm /tmp/observ-test-");
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(setegid(0), 0);
}

static void a_path_that_the_sandbox_hides_is_reported_with_the_setting(void **state)
{
	(void)state;
	write_file("a.log", 0644, "");
	assert_int_equal(look_at_logs(path_of("a.log")), 0);            /* no unit, nothing hidden */
	make_folders("etc/systemd/system/obs-agent@my-app.service.d");
	make_folders("etc/systemd/system/obs-agent@other.service.d");
	write_file("etc/systemd/system/obs-agent@.service", 0644,
		   "[Service]\nProtectHome=yes\nPrivateTmp=yes\n");
	assert_int_equal(look_at_logs(path_of("a.log")), 1);
	assert_said("a.log is readable\n");
	assert_said("FAIL /tmp/observ-test-");
	assert_said("a.log: the unit's sandbox (PrivateTmp=yes) hides this from the agent; show it: "
		    "systemctl edit obs-agent@my-app, then [Service] PrivateTmp=no\n");
	look_at_logs("/home/nobody-at-all/a.log");
	assert_said("then [Service] ProtectHome=read-only\n");
	write_file("etc/systemd/system/obs-agent@other.service.d/x.conf", 0644, "[Service]\nPrivateTmp=no\n");
	assert_int_equal(look_at_logs(path_of("a.log")), 1);
	write_file("etc/systemd/system/obs-agent@my-app.service.d/x.conf", 0644,
		   "[Service]\nPrivateTmp=no\n");
	assert_int_equal(look_at_logs(path_of("a.log")), 0);
	write_file("etc/systemd/system/obs-agent@my-app.service.d/x.conf", 0644,
		   "[Service]\nPrivateTmp=yes\nBindReadOnlyPaths=/srv -/tmp:/tmp\n");
	assert_int_equal(look_at_logs(path_of("a.log")), 0);
}

/* Each setting that hides a path is named, with the setting that shows it again. */
static void the_setting_that_hides_a_path_is_named(void **state)
{
	static const struct { const char *unit, *path, *setting, *fix; } rows[] = {
		{ "ProtectHome=yes", "/home/x/a.log", "ProtectHome=yes", "ProtectHome=read-only" },
		{ "ProtectHome=tmpfs", "/root/a.log", "ProtectHome=tmpfs", "ProtectHome=read-only" },
		{ "ProtectHome=read-only", "/home/x/a.log", NULL, NULL },
		{ "PrivateTmp=yes", "/var/tmp/a.log", "PrivateTmp=yes", "PrivateTmp=no" },
		{ "PrivateDevices=yes", "/dev/shm/a.log", "PrivateDevices=yes", "PrivateDevices=no" },
		{ "InaccessiblePaths=-/srv/secret /opt", "/opt/x/a.log", "InaccessiblePaths=/opt",
		  "BindReadOnlyPaths=/opt/x" },
		{ "InaccessiblePaths=/opt\nInaccessiblePaths=", "/opt/x/a.log", NULL, NULL },
		{ "TemporaryFileSystem=/var:ro", "/var/log/a.log", "TemporaryFileSystem=/var",
		  "BindReadOnlyPaths=/var/log" },
		{ "TemporaryFileSystem=/var:ro\nBindReadOnlyPaths=/var/log", "/var/log/a.log", NULL, NULL },
		{ "RootDirectory=/srv/jail", "/var/log/a.log", "RootDirectory=/srv/jail",
		  "BindReadOnlyPaths=/var/log" },
		{ "ProtectSystem=strict", "/var/log/a.log", NULL, NULL },
		{ "InaccessiblePaths=/opt", "/optical/a.log", NULL, NULL },
	};
	char setting[UNIT_VALUE_MAX], fix[PATH_MAX], text[256];
	struct doctor_unit u;

	(void)state;
	make_folders("etc/systemd/system/obs-agent@my-app.service.d");
	unlink(path_of("etc/systemd/system/obs-agent@my-app.service.d/x.conf"));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		snprintf(text, sizeof text, "[Service]\nUser=obs\n%s\n", rows[i].unit);
		write_file("etc/systemd/system/obs-agent@.service", 0644, text);
		doctor_unit_read(&u, dir, "my-app");
		assert_true(u.found);
		assert_string_equal(u.user, "obs");
		assert_int_equal(doctor_unit_hides(&u, rows[i].path, setting, fix), rows[i].setting != NULL);
		if (!rows[i].setting)
			continue;
		assert_string_equal(setting, rows[i].setting);
		assert_string_equal(fix, rows[i].fix);
	}
	unlink(path_of("etc/systemd/system/obs-agent@.service"));
}

static void each_credential_is_checked_at_its_source(void **state)
{
	struct doctor_unit u = { .found = true };
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	write_file("good", 0600, "x");
	write_file("open", 0644, "x");
	snprintf(u.credentials, sizeof u.credentials,
		 " a:%s/good b:%s/open c:%s/%%i.none d:obs-agent.%%i.no_such", dir, dir, dir);
	assert_int_equal(doctor_unit_credentials(&u, "my-app", &(struct doctor_report){ out, 0 }), 2);
	fclose(out);
	snprintf(said, sizeof said, "%s", text);
	free(text);
	assert_said("ok   credential a is in /tmp/observ-test-");
	assert_said("/open, open to others; run: chmod 600 on it\n");
	assert_said("FAIL credential c: there is no /tmp/observ-test-");
	assert_said("/my-app.none; make it (mode 600), or take its LoadCredential= out: without it the unit "
		    "does not start\n");
	assert_null(strstr(said, "credential d"));
}

static int look_at_agent(const char *says, const char *exit_status, const char *sub_state)
{
	struct config c = { .app = "my-app", .interval_us = 10 * US_PER_S };
	struct doctor_unit u = { .found = true, .fresh = fresh };
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	char *report;
	int r;

	snprintf(u.exit_status, sizeof u.exit_status, "%s", exit_status);
	snprintf(u.sub_state, sizeof u.sub_state, "%s", sub_state);
	agent_says = says;
	report = doctor_ask(&c, fake_agent);
	r = doctor_agent(&c, &u, report, &(struct doctor_report){ out, 0 });
	free(report);
	agent_says = NULL;
	fclose(out);
	snprintf(said, sizeof said, "%s", text);
	free(text);
	return r;
}

static void the_last_outbox_file_that_cannot_be_read_is_reported(void **state)
{
	char now[RFC3339_SIZE], json[512];

	(void)state;
	format_rfc3339(now, wall_us() - 3 * US_PER_S);
	snprintf(json, sizeof json, "{\"last_commit\":\"%s\",\"tail\":{\"troubles\":[]}}", now);
	assert_int_equal(look_at_agent(json, "", ""), 0);
	assert_string_equal(said, "ok   the agent runs, and wrote its last row 3 s ago\n");
	format_rfc3339(now, wall_us() - 300 * US_PER_S);
	snprintf(json, sizeof json,
		 "{\"last_commit\":\"%s\",\"last_error\":\"no \\\"route\\\"\",\"tail\":{\"troubles\":["
		 "{\"path\":\"/a.log\",\"why\":\"hard links\"},{\"path\":\"/b.log\",\"why\":\"a "
		 "link\"}],\"path\":\"/c\"}}", now);
	assert_int_equal(look_at_agent(json, "", ""), 3);
	assert_said("FAIL the agent runs, and wrote its last row 300 s ago; no \"route\"\n");
	assert_said("FAIL the running agent cannot follow /a.log: hard links\n");
	assert_said("FAIL the running agent cannot follow /b.log: a link\n");
	assert_int_equal(look_at_agent("{\"connected\":false}", "", ""), 1);
	assert_said("FAIL the agent runs, and has written nothing yet; ");
	/* It is parsed as JSON: names inside of strings are no members. */
	snprintf(json, sizeof json,
		 "{ \"note\" : \"\\\"last_error\\\":\\\"x\\\"\", \"tail\" : {\"last_error\":\"y\", "
		 "\"troubles\": [ {\"why\":\"]},\", \"path\":\"/\\u00e4.log\"} ]}, \"last_commit\":\"%s\"}\n",
		 now);
	assert_int_equal(look_at_agent(json, "", ""), 1);
	assert_said("ok   the agent runs, and wrote its last row 30");
	assert_said("FAIL the running agent cannot follow /\xc3\xa4.log: ]},\n");
	assert_int_equal(look_at_agent("{\"tail\":{\"troubles\":[{\"path\":", "", ""), 1);
}

static void the_reason_why_no_agent_runs_is_reported(void **state)
{
	(void)state;
	assert_int_equal(look_at_agent(NULL, "76", "dead"), 1);
	assert_said("another one took its name over (76); two agents have this server's and application's "
		    "name: stop one");
	assert_int_equal(look_at_agent(NULL, "78", "failed"), 1);
	assert_said("its configuration was wrong (78)");
	assert_int_equal(look_at_agent(NULL, "0", "dead"), 1);
	assert_said("FAIL the agent does not run (dead); systemctl enable --now obs-agent@my-app\n");
	assert_int_equal(look_at_agent(NULL, "", ""), 0);
	assert_said("warn no agent for my-app answers here");
}

static void a_clock_from_another_age_is_reported(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	assert_int_equal(check_clock(0, true, &(struct doctor_report){ out, 0 }), 1);
	assert_int_equal(check_clock(INT64_C(1795228754123456), false, &(struct doctor_report){ out, 0 }), 0);
	fclose(out);
	assert_string_equal(text,
			    "FAIL the clock says 1970-01-01 00:00:00 UTC; set the clock: timedatectl set-ntp "
			    "true\n"
			    "ok   the clock says 2026-11-21 02:39:14 UTC (no time service keeps it: "
			    "timedatectl set-ntp true)\n");
	free(text);
}

static int look_at_state_folder(const char *folder)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int r;

	setenv("STATE_DIRECTORY", folder, 1);
	r = doctor_state_folder("my-app", &(struct doctor_report){ out, 0 });
	fclose(out);
	snprintf(said, sizeof said, "%s", text);
	free(text);
	return r;
}

#define IN_MEMORY                                                                                            \
	": while the database is away, the agent keeps samples in memory only, and a restart would lose "    \
	"them; "

static void a_state_folder_that_cannot_be_written_is_reported(void **state)
{
	bool root = geteuid() == 0;

	(void)state;
	if (root)
		assert_int_equal(seteuid(65534), 0);
	assert_int_equal(look_at_state_folder("/"), 1);
	assert_string_equal(said, "FAIL state folder / can't be written (Permission denied)" IN_MEMORY
				  "give it to the agent's user: chown -R obs-agent on it\n");
	assert_int_equal(look_at_state_folder("/nonexistent/folder"), 0);
	assert_string_equal(said,
			    "ok   state folder /nonexistent/folder is not there yet: systemd makes it when "
			    "the unit starts\n");
	if (root)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(look_at_state_folder("/proc/self/status"), 1);
	assert_said("can't be written (Not a directory)");
}

/* On a file system of `options`, mounted only for this process; false: that is not possible here. */
static bool on_small_disk(const char *options, const char *folder)
{
	return unshare(CLONE_NEWNS) == 0 && mount("none", "/", "", MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", folder, "tmpfs", 0, options) == 0;
}

static void a_full_or_read_only_state_folder_is_reported(void **state)
{
	static const char zeros[1 << 20];
	char folder[256];
	int fd;

	(void)state;
	make_folders("disk");
	snprintf(folder, sizeof folder, "%s", path_of("disk"));
	if (!on_small_disk("size=1m,mode=0777", folder)) {
		skip();
		return;
	}
	assert_int_equal(look_at_state_folder(folder), 0);
	assert_said("warn state folder /tmp/observ-test-");
	assert_said("/disk has 1 MiB of space left, and a long outage of the database may need 64 MiB; free "
		    "space");
	fd = open(path_of("disk/filler"), O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, zeros, sizeof zeros), sizeof zeros);
	close(fd);
	assert_int_equal(look_at_state_folder(folder), 1);
	assert_said("/disk can't be written (No space left on device)" IN_MEMORY
		    "free space on its file system (df -h and df -i show it)");
	assert_int_equal(look_at_state_folder(path_of("disk/not/there")), 1);
	assert_said(
		"/disk/not/there can't be made when the unit starts: No space left on device; free space");
	assert_int_equal(mount(NULL, folder, "", MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_int_equal(look_at_state_folder(folder), 1);
	assert_said("/disk can't be written (Read-only file system)" IN_MEMORY
		    "mount its file system writable");
	assert_int_equal(look_at_state_folder(path_of("disk/not/there")), 1);
	assert_said("/disk/not/there can't be made when the unit starts: Read-only file system; mount");
	umount(folder);
}

static void what_the_running_agent_says_of_its_folder_is_a_failure(void **state)
{
	(void)state;
	assert_int_equal(look_at_agent("{\"last_commit\":\"2026-11-20T10:00:00Z\",\"outbox\":{\"bytes\":7,"
				       "\"in_memory\":true,\"trouble\":\"No space left on device\"}}",
				       "", ""),
			 1);
	assert_said(
		"FAIL the running agent can't write to its state folder (No space left on device): samples");
	assert_said("; make the folder writable, or free space; the agent tries it again by itself\n");
}

/* look_at_agent() has an interval of 10 s: until 30 s after the start the first row may still come. */
static void after_a_start_the_first_row_may_still_come(void **state)
{
	(void)state;
	assert_int_equal(look_at_agent("{\"uptime_s\":4,\"connected\":true}", "", ""), 0);
	assert_string_equal(
		said,
		"warn the agent was started 4 s ago and has written nothing yet; run this again in 26 s, "
		"when its first row must be there\n");
	assert_int_equal(look_at_agent("{\"uptime_s\":30,\"connected\":true}", "", ""), 1);
	assert_said("FAIL the agent runs, and has written nothing yet; its log says why: journalctl -u "
		    "obs-agent@");
	assert_int_equal(look_at_agent("{\"uptime_s\":4,\"last_error\":\"no route\"}", "", ""), 1);
	assert_said("FAIL the agent runs, and has written nothing yet; no route\n");
}

/* A report of the database that is older than the start says nothing about this run. */
static void the_database_is_asked_with_the_start_in_mind(void **state)
{
	(void)state;
	setenv("STATE_DIRECTORY", dir, 1);
	write_config("postgres://agent@h/d");
	agent_says = "{\"uptime_s\":4,\"connected\":true}";
	assert_int_equal(run_doctor(), 0);
	assert_true(db_starting);
	assert_said("\nNothing has failed so far; 1 warning above.\n");
	agent_says = "{\"uptime_s\":4,\"last_commit\":\"2026-11-20T10:00:00Z\"}";
	assert_int_equal(run_doctor(), 0);
	assert_false(db_starting);
	assert_said("\nAll is well.\n");
	agent_says = "{\"uptime_s\":180,\"connected\":true}"; /* the interval is 60 s here */
	assert_int_equal(run_doctor(), 1);
	assert_false(db_starting);
	agent_says = NULL;
	run_doctor();
	assert_false(db_starting);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_problem_the_exit_status_is_0),
		cmocka_unit_test(a_failing_database_gives_exit_status_1),
		cmocka_unit_test(a_broken_configuration_is_reported_and_the_rest_is_still_checked),
		cmocka_unit_test(a_disabled_agent_or_a_default_name_is_reported),
		cmocka_unit_test(a_file_whose_times_cannot_be_read_is_a_warning),
		cmocka_unit_test(variables_come_from_the_file_that_the_unit_reads),
		cmocka_unit_test(an_environment_file_is_read_as_systemd_reads_it),
		cmocka_unit_test(the_units_file_of_variables_is_beside_the_configuration),
		cmocka_unit_test(a_missing_log_file_is_reported),
		cmocka_unit_test(before_the_first_start_what_is_missing_is_no_failure),
		cmocka_unit_test(an_agent_is_new_until_systemd_has_made_its_state_folder),
		cmocka_unit_test(an_unreadable_log_file_is_reported_with_the_group_to_add),
		cmocka_unit_test(a_path_that_the_sandbox_hides_is_reported_with_the_setting),
		cmocka_unit_test(the_setting_that_hides_a_path_is_named),
		cmocka_unit_test(each_credential_is_checked_at_its_source),
		cmocka_unit_test(the_last_outbox_file_that_cannot_be_read_is_reported),
		cmocka_unit_test(the_reason_why_no_agent_runs_is_reported),
		cmocka_unit_test(a_clock_from_another_age_is_reported),
		cmocka_unit_test(what_the_running_agent_says_of_its_folder_is_a_failure),
		cmocka_unit_test(after_a_start_the_first_row_may_still_come),
		cmocka_unit_test(the_database_is_asked_with_the_start_in_mind),
		cmocka_unit_test(a_state_folder_that_cannot_be_written_is_reported),
		cmocka_unit_test(
			a_full_or_read_only_state_folder_is_reported), /* the last: it leaves our mounts */
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
