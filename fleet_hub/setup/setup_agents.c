/* The part of setup that watches this machine too: its login, and install.sh with it. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "common/cleanup.h"
#include "common/embed.h"
#include "setup.h"

EMBED(setup_enroll_sql, "fleet_hub/setup/setup_enroll.sql");
EMBED(setup_install_sh, "templates/install.sh");

enum { ARGUMENTS_MAX = 8 + 2 * SETUP_APPS_MAX };

/* Does a credential of this machine have the login? install.sh wrote it then. */
static bool has_credential(const char *role)
{
	char needle[SETUP_URL_MAX], line[SETUP_URL_MAX];
	bool found = false;
	glob_t files = { 0 };

	snprintf(needle, sizeof needle, "://%s:", role);
	if (glob("/etc/credstore/obs-agent.*.database_url", 0, NULL, &files) == 0)
		for (size_t i = 0; i < files.gl_pathc && !found; i++) {
			CLEANUP(fclose_p) FILE *file = fopen(files.gl_pathv[i], "re");

			found = file && fgets(line, sizeof line, file) && strstr(line, needle);
		}
	globfree(&files);
	return found;
}

/* The script is an argument, so that standard input is the password's alone. */
static int install(const struct setup *s, const char *role, const char *password, struct err *e)
{
	const char *argv[ARGUMENTS_MAX] = { "sh",       "-c",      setup_install_sh, "install.sh",
					    "--server", s->server, "--url" };
	char url[SETUP_URL_MAX];
	size_t n = 7;
	int status;

	if (!setup_url(s->tcp_url, role, s->database, url))
		return err_set(e, EINVAL, "the URL is too long");
	argv[n++] = url;
	unsetenv("PGPASSWORD"); /* the admin's is none of the agent's business */
	for (size_t i = 0; i < s->n_apps; i++) {
		argv[n++] = "--app";
		argv[n++] = s->apps[i];
	}
	status = command_run(&(struct command){ argv, NULL, text_of(password) }, NULL, NULL, e);
	return status <= 0 ? status : err_set(e, EIO, "the agent is not set up; install.sh said why above");
}

/* Ask for the login; `answer` owns what the two point to. *ret_password: "" if the server has a login
 * already. renew: a new password for that one then, unless an agent is using it. */
static int enroll(const struct setup *s, bool renew, struct buf *answer, const char **ret_role,
		  const char **ret_password, struct err *e)
{
	CLEANUP(buf_free) struct buf script = BUF(SETUP_OUTPUT_MAX);
	char *line, *state;
	int r;

	buf_reset(answer);
	if ((renew && !buf_adds(&script, "\\set renew 1\n")) ||
	    !buf_add(&script, setup_enroll_sql, setup_enroll_sql_len))
		return err_set(e, ENOMEM, "out of memory");
	r = setup_psql(s, "", (struct text){ script.data, script.len }, answer, e);
	if (r < 0 || !answer->len || !buf_cstr(answer))
		return r < 0 ? r : err_set(e, EPROTO, "the database made no login");
	line = answer->data;
	line[strcspn(line, "\n")] = '\0';
	state = strsep(&line, " ");
	*ret_role = strsep(&line, " ");
	*ret_password = strcmp(state, "new") == 0 && line ? line : "";
	return *ret_role ? 0 : err_set(e, EPROTO, "the database made no login");
}

static int other_machine(const struct setup *s, const char *role, struct err *e)
{
	return err_set(e, EEXIST,
		       "server %s is enrolled already, and its login %s is not on this machine. Is it "
		       "another machine? Then give this one another name: --server NAME. Is it this one (a "
		       "purge of obs-agent removes its login)? Then run: fleet_hub_admin enroll %s, and the "
		       "command that this prints",
		       s->server, role, s->server);
}

int setup_agents(struct setup *s, struct err *e)
{
	CLEANUP(buf_free) struct buf answer = BUF(SETUP_OUTPUT_MAX);
	const char *role, *password;
	int r;

	if (!s->n_apps)
		return 0;
	if (!s->systemd || !command_exists("obs_agent"))
		return err_set(e, ENOENT, "--app needs systemd and the package obs-agent");
	r = enroll(s, false, &answer, &role, &password, e);
	if (r == 0 && !*password && !has_credential(role)) {
		/* Only this machine can have written under its name to its own database. */
		r = s->own_name && !s->url ? enroll(s, true, &answer, &role, &password, e) : 0;
		if (r == 0 && !*password)
			return other_machine(s, role, e);
		if (r == 0)
			setup_say("login %s: new password, since this machine had none", role);
	}
	return r < 0 ? r : install(s, role, password, e);
}
