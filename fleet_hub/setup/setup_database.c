/* The part of setup that speaks to PostgreSQL, by psql: schema.sql is written for it. */
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "common/cleanup.h"
#include "common/embed.h"
#include "common/pg/pg_tls.h"
#include "common/settings/server_name.h"
#include "setup.h"

EMBED(setup_database_sql, "fleet_hub/setup/setup_database.sql");
EMBED(setup_look_sql, "fleet_hub/setup/setup_look.sql");
EMBED(setup_schema_sql, "schema.sql");
EMBED(setup_roles_sql, "fleet_hub/setup/setup_roles.sql");
EMBED(setup_super_sql, "fleet_hub/setup/setup_super.sql");
EMBED(setup_harden_sql, "templates/observ-harden.sql");

#define POSTGRES "postgres" /* the user, and a database that each server has */

enum { PSQL_NO_CONNECTION = 2 };

/* The server's or psql's sentence, without what stands in front of it; a hint behind it. */
static void sentence(const char *said, char *out, size_t size)
{
	static const char *const fronts[] = { "ERROR:  ", "FATAL:  ", "psql: error: " };
	const char *at = NULL, *hint = strstr(said, "HINT:  ");

	for (size_t i = 0; !at && i < sizeof fronts / sizeof *fronts; i++)
		if ((at = strstr(said, fronts[i])))
			at += strlen(fronts[i]);
	at = at ? at : said;
	snprintf(out, size, "%.*s%s%.*s", (int)strcspn(at, "\n"), at, hint ? "; " : "",
		 hint ? (int)strcspn(hint + 7, "\n") : 0, hint ? hint + 7 : "");
}

/* One rule of protection for every program that opens a connection: psql gets it by its environment. */
static void protect(const char *url)
{
	const struct pg_tls tls = pg_tls_for_url(url);

	if (tls.mode)
		setenv("PGSSLMODE", tls.mode, 1);
	if (tls.root)
		setenv("PGSSLROOTCERT", tls.root, 1);
}

static int run_psql(const struct setup *s, const char *database, struct text script, struct buf *out,
		    struct buf *said, struct err *e)
{
	char url[SETUP_URL_MAX], db[128], server[sizeof "server=" + SERVER_NAME_MAX],
		local[] = "local=0";
	const char *const argv[] = { "psql", "-XAtqw", "-v", "ON_ERROR_STOP=1",
				     "-F",   " ",      "-v", db,
				     "-v",   server,   "-v", local,
				     "-d",   url,      NULL };

	if (!setup_url(s->socket_url, NULL, *database ? database : s->database, url))
		return err_set(e, EINVAL, "the URL is too long");
	snprintf(db, sizeof db, "db=%s", s->database);
	snprintf(server, sizeof server, "server=%s", s->server);
	local[sizeof local - 2] = s->url ? '0' : '1';
	if (s->url)
		protect(url);
	return command_run(&(struct command){ argv, !s->url && s->root ? POSTGRES : NULL, script }, out, said,
			   e);
}

int setup_psql(const struct setup *s, const char *database, struct text script, struct buf *out,
	       struct err *e)
{
	CLEANUP(buf_free) struct buf said = BUF(SETUP_OUTPUT_MAX);
	int status = run_psql(s, database, script, out, &said, e);
	char why[ERR_MSG_MAX];

	if (status <= 0)
		return status;
	sentence(buf_cstr(&said) ? buf_cstr(&said) : "", why, sizeof why);
	if (status == PSQL_NO_CONNECTION)
		return err_set(e, ENOTCONN, "PostgreSQL: %s%s", why,
			       s->url ? "; check host, port, login and password in the URL, "
					"and pg_hba.conf"
				      : "");
	return err_set(e, EPERM, "PostgreSQL: %s", *why ? why : "psql failed");
}

/* ---- PostgreSQL of this machine ---------------------------------------------------------- */

static bool answers(const struct setup *s, struct err *e)
{
	CLEANUP(buf_free) struct buf out = BUF(SETUP_OUTPUT_MAX);

	return setup_psql(s, POSTGRES, TEXT("SELECT 1"), &out, e) == 0;
}

/* The newest version of the server that is installed, "15"; false: none. */
static bool installed(char version[24])
{
	glob_t found = { 0 };
	long newest = 0;

	if (glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc; i++) {
			long v = strtol(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"), NULL, 10);

			newest = v > newest ? v : newest;
		}
	globfree(&found);
	snprintf(version, 24, "%ld", newest);
	return newest > 0;
}

/* Debian makes the cluster with the package, unless it was told not to. */
static int make_cluster(const char *version, struct err *e)
{
	const char *const argv[] = { "pg_createcluster", version, "main", NULL };
	glob_t found = { 0 };
	int none = glob("/etc/postgresql/*/*/postgresql.conf", 0, NULL, &found);

	globfree(&found);
	if (none != GLOB_NOMATCH || !command_exists(argv[0]))
		return 0;
	setup_say("PostgreSQL %s: makes its first cluster", version);
	return command_must(argv, e);
}

static int start_postgresql(const struct setup *s, const char *version, struct err *e)
{
	const char *const by_systemd[] = { "systemctl", "-q", "enable", "--now", "postgresql", NULL };
	const char *const by_hand[] = { "pg_ctlcluster", version, "main", "start", NULL };
	int r = make_cluster(version, e);

	if (r == 0 && (s->systemd || command_exists(by_hand[0])))
		r = command_must(s->systemd ? by_systemd : by_hand, e);
	if (r == 0)
		setup_say("PostgreSQL %s: started", version);
	return r;
}

int setup_find_postgresql(struct setup *s, struct err *e)
{
	char version[24];
	int r;

	if (!command_exists("psql"))
		return err_set(e, ENOENT, "psql is not installed; run: apt-get install %s",
			       s->url ? "postgresql-client" : "postgresql");
	if (s->url || answers(s, e))
		return 0;
	if (!installed(version))
		return err_set(e, ENOENT,
			       "PostgreSQL is not installed on this machine; run: apt-get install postgresql"
			       " (or give --url for a database elsewhere)");
	r = s->root && e->code == ENOTCONN ? start_postgresql(s, version, e) : 0;
	if (r < 0 || answers(s, e))
		return r;
	return err_prefix(e, "PostgreSQL %s is installed, but setup can't sign in as the user " POSTGRES,
			  version);
}

/* ---- database, schema, logins ------------------------------------------------------------ */

/* Some services let nobody see another database than one's own: then it has to be there. */
int setup_make_database(struct setup *s, struct err *e)
{
	CLEANUP(buf_free) struct buf out = BUF(SETUP_OUTPUT_MAX);
	const struct text script = { setup_database_sql, setup_database_sql_len };
	int r = setup_psql(s, POSTGRES, script, &out, e);

	if (r == -ENOTCONN && s->url) {
		struct err again = { 0 };

		buf_reset(&out);
		if (setup_psql(s, "", script, &out, &again) < 0)
			return r;
		r = 0;
	}
	if (r == 0)
		setup_say("database %s: %.*s", s->database, (int)strcspn(buf_cstr(&out), "\n"),
			  buf_cstr(&out));
	return r;
}

/* Rows of setup_roles.sql: name, password, new. */
static int take_logins(struct setup *s, char *rows, struct err *e)
{
	char *rest = rows, *row;

	while ((row = strsep(&rest, "\n")) && *row) {
		const char *name = strsep(&row, " "), *password = strsep(&row, " ");
		char *url = strcmp(name, "fleet-hub") == 0     ? s->hub_url
			    : strcmp(name, "fleet-watch") == 0 ? s->watch_url
							       : NULL;
		bool is_new = row && strcmp(row, "true") == 0;
		char login[256];

		setup_say("login %s: %s", name, is_new ? "made" : "there already");
		if (s->url && !is_new)
			continue;
		snprintf(login, sizeof login, "%s%s%s", name, s->url ? ":" : "", s->url ? password : "");
		if (url && !setup_url(s->socket_url, login, s->database, url))
			return err_set(e, EINVAL, "the URL is too long");
		if (!url)
			snprintf(s->maintain_password, sizeof s->maintain_password, "%s",
				 s->url ? password : "");
	}
	return 0;
}

/* A superuser takes away what PostgreSQL lets every login do; others can't. */
int setup_install_schema(struct setup *s, struct err *e)
{
	CLEANUP(buf_free) struct buf script = BUF(SETUP_OUTPUT_MAX), out = BUF(SETUP_OUTPUT_MAX);
	int r;

	if (!buf_add(&script, setup_look_sql, setup_look_sql_len) ||
	    !buf_add(&script, setup_schema_sql, setup_schema_sql_len) ||
	    (!s->database_only && !buf_add(&script, setup_roles_sql, setup_roles_sql_len)) ||
	    !buf_add(&script, setup_super_sql, setup_super_sql_len) ||
	    !buf_add(&script, setup_harden_sql, setup_harden_sql_len) || !buf_adds(&script, "\\endif\n"))
		return err_set(e, ENOMEM, "out of memory");
	r = setup_psql(s, "", (struct text){ script.data, script.len }, &out, e);
	if (r < 0)
		return r;
	setup_say("schema: up to date");
	return buf_cstr(&out) && out.len ? take_logins(s, out.data, e) : 0;
}
