#include "setup.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/settings/app_name.h"
#include "common/settings/near.h"
#include "common/parse.h"
#include "common/pg/pg_options.h"
#include "common/settings/server_name.h"
#include "common/text.h"
#include "common/net/url.h"
#include "common/net/url_mask.h"
#include "common/utf8.h"

enum { NAME_MAX_BYTES = 63, HOST_MAX_BYTES = 253, FILE_NAME_MAX = 400, PATH_SIZE = 4096 };
enum { SHOWN_MAX = 100 /* bytes of a value, in a message */ };

#define DATABASE "observ_metrics"
#define DATABASE_ONLY "--database-only"
#define FILE_RULE "a file's name has at most 400 bytes and does not begin with '-'"

void setup_say(const char *fmt, ...)
{
	va_list ap;

	fputs("setup: ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

bool setup_url(const char *url, const char *login, const char *database, char out[SETUP_URL_MAX])
{
	struct url_postgres u;
	struct text who = login ? text_of(login) : (struct text){ "", 0 };
	int n;

	if (!url_postgres_split(url, &u))
		return false;
	if (!login && u.user.s) /* with the password behind it */
		who = (struct text){ u.user.s, (size_t)(u.hosts.s - 1 - u.user.s) };
	n = snprintf(out, SETUP_URL_MAX, "%.*s%.*s%s%.*s/%s%.*s", (int)u.scheme.len, u.scheme.s, (int)who.len,
		     who.s, who.len ? "@" : "", (int)u.hosts.len, u.hosts.s, database, (int)u.query.len,
		     u.query.s);
	return n > 0 && n < SETUP_URL_MAX;
}

/* ---- what is asked for ------------------------------------------------------------------- */

static bool plain_name(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

	return n > 0 && n <= NAME_MAX_BYTES && !name[n] && name[0] != '-';
}

static const char *this_machine(void)
{
	static struct utsname name;

	return uname(&name) == 0 ? name.nodename : "";
}

/* In a configuration file, ${ begins the name of a variable. */
static bool server_name(const char *name)
{
	return server_name_valid(name) && !strstr(name, "${");
}

static bool port_number(const char *text)
{
	uint64_t port;

	return parse_u64(text_of(text), &port) && port > 0 && port <= UINT16_MAX;
}

/* As in a URL, without a port, and in the files of a web server. */
static bool host_name(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.");

	return n > 0 && n <= HOST_MAX_BYTES && !name[n] && name[0] != '-' && name[0] != '.' &&
	       strspn(name, "0123456789.") < n;
}

static bool file_name(const char *name)
{
	return *name && *name != '-' && strlen(name) <= FILE_NAME_MAX;
}

static const struct option {
	const char *name;
	bool (*fits)(const char *value);
	const char *rule;
	size_t at;                      /* in struct setup; --app's is a list */
} options_known[] = {
	{ "--app", app_name_valid, APP_NAME_RULE, 0 },
	{ "--server", server_name, SERVER_NAME_RULE "; and no ${", offsetof(struct setup, server) },
	{ "--database", plain_name, "the database's name has letters, digits, '_' and '-'",
	  offsetof(struct setup, database) },
	{ "--port", port_number, "a port is a number from 1 to 65535", offsetof(struct setup, port) },
	{ "--public", host_name, "the hub's name has letters, digits, '-' and '.', and is no address",
	  offsetof(struct setup, public) },
	{ "--certificate", file_name, FILE_RULE, offsetof(struct setup, certificate) },
	{ "--key", file_name, FILE_RULE, offsetof(struct setup, key) },
	{ "--packages", file_name, "a folder's name has at most 400 bytes and does not begin with '-'",
	  offsetof(struct setup, packages) },
};

static const struct option *find_option(const char *name)
{
	for (size_t i = 0; i < sizeof options_known / sizeof *options_known; i++)
		if (strcmp(options_known[i].name, name) == 0)
			return &options_known[i];
	return NULL;
}

/* The rule must be in the sentence, whatever the value is. */
static int unfit_value(const struct option *o, const char *value, struct err *e)
{
	char shown[SHOWN_MAX + 1];
	size_t n = utf8_cut(value, strlen(value), SHOWN_MAX);

	memcpy(shown, value, n);
	shown[n] = '\0';
	for (char *s = shown; *s; s++)
		if (iscntrl((unsigned char)*s))
			*s = '?';
	return err_set(e, EINVAL, "%s %s%s: %s", o->name, shown, value[n] ? "..." : "", o->rule);
}

static int no_such_option(const char *name, struct err *e)
{
	struct near n = near_to((struct text){ name, strcspn(name, "=") });
	char hint[NEAR_HINT_SIZE], shown[ERR_MSG_MAX];

	for (size_t i = 0; i < sizeof options_known / sizeof *options_known; i++)
		near_try(&n, options_known[i].name);
	near_try(&n, DATABASE_ONLY);
	url_mask(name, shown, sizeof shown);
	return err_set(e, EINVAL, "%s is no option of setup; fleet_hub_admin --help lists them%s", shown,
		       near_hint(&n, "", hint));
}

/* `value` is NULL behind the last argument. */
static int take_option(struct setup *s, const char *name, const char *value, struct err *e)
{
	const struct option *o = find_option(name);

	if (!o)
		return no_such_option(name, e);
	if (!value)
		return err_set(e, EINVAL, "%s needs a value", name);
	if (!o->fits(value))
		return unfit_value(o, value, e);
	if (o->at)
		*(const char **)((char *)s + o->at) = value;
	else if (s->n_apps < SETUP_APPS_MAX)
		s->apps[s->n_apps++] = value;
	else
		return err_set(e, EINVAL, "at most %d times --app; run setup again for the others",
			       (int)SETUP_APPS_MAX);
	return 0;
}

static int take_options(struct setup *s, int argc, char **argv, struct err *e)
{
	int r;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], DATABASE_ONLY) == 0) {
			s->database_only = true;
			continue;
		}
		r = take_option(s, argv[i], i + 1 < argc ? argv[i + 1] : NULL, e);
		if (r < 0)
			return r;
		i++;
	}
	if (!s->public && (s->certificate || s->key))
		return err_set(e, EINVAL, "--certificate and --key go with --public NAME");
	if (s->database_only && (s->n_apps || s->public || s->packages))
		return err_set(e, EINVAL, "--database-only excludes --app, --public and --packages");
	return 0;
}

/* Logins and the database's name are put into the URL, so it has to be one. */
static int take_url(struct setup *s, const char *url, char database[NAME_MAX_BYTES + 1], struct err *e)
{
	struct url_postgres u;

	if (!url_postgres_split(url, &u))
		return err_set(e, EINVAL, "for setup the URL must be postgresql://LOGIN@HOST/DATABASE");
	if (strstr(u.query.s, "?user=") || strstr(u.query.s, "&user=") || strstr(u.query.s, "password="))
		return err_set(e, EINVAL,
			       "the URL has a login or a password among its options; write it in front of "
			       "the host, or use PGPASSWORD");
	if (u.database.len > NAME_MAX_BYTES)
		return err_set(e, EINVAL, "the name of the database has more than %d bytes; shorten it",
			       NAME_MAX_BYTES);
	snprintf(database, NAME_MAX_BYTES + 1, "%.*s", (int)u.database.len, u.database.s);
	if (u.database.len && !plain_name(database))
		return err_set(e, EINVAL, "the database's name has letters, digits, '_' and '-'");
	if (u.database.len)
		s->database = database;
	s->url = url;
	return 0;
}

/* Move the password out of the URL: psql has the URL in its command line, which everybody on this machine
 * sees. */
static int take_password(const char *url, char bare[SETUP_URL_MAX], struct err *e)
{
	struct pg_options options = { NULL, NULL };
	struct url_postgres u = { 0 };
	bool split = url_postgres_split(url, &u);
	const char *from = split && u.password.s ? u.password.s - 1 : url, *to = from;
	struct err why;

	if (split && u.password.len && pg_options_read(url, &options, &why) == 0)
		setenv("PGPASSWORD", pg_option(&options, "password"), 1);
	pg_options_free(&options);
	if (split && u.password.s)
		to = u.password.s + u.password.len;
	if (snprintf(bare, SETUP_URL_MAX, "%.*s%s", (int)(from - url), url, to) >= SETUP_URL_MAX)
		return err_set(e, EINVAL, "the URL has more than %d bytes; shorten it", SETUP_URL_MAX - 1);
	return 0;
}

static int may(struct setup *s, struct err *e)
{
	const struct passwd *postgres = getpwnam("postgres");

	s->root = geteuid() == 0;
	s->systemd = access("/run/systemd/system", F_OK) == 0;
	if (s->url ? s->root || s->database_only : s->root || (postgres && postgres->pw_uid == geteuid()))
		return 0;
	return err_set(
		e, EPERM,
		s->url ? "run it as root: it writes /etc/observ and starts units (or give --database-only)"
		       : "run it as root, or give --url for a database elsewhere");
}

/* libpq would go where they say, and the units would not. */
static int check_environment(const struct setup *s, struct err *e)
{
	static const char *const names[] = { "PGHOST", "PGHOSTADDR", "PGUSER", "PGSERVICE", "PGDATABASE" };
	const char *port = getenv("PGPORT");
	uint64_t number;

	if (!s->url && port && (!parse_u64(text_of(port), &number) || number == 0 || number > UINT16_MAX))
		return err_set(e, EINVAL, "PGPORT is no port: correct it, or unset it");
	for (size_t i = 0; !s->url && i < sizeof names / sizeof *names; i++)
		if (getenv(names[i]))
			return err_set(
				e, EINVAL,
				"%s is set: give --url postgresql://LOGIN@HOST/DATABASE instead, or unset it",
				names[i]);
	return 0;
}

/* What the hub, the timer and the agents of this machine connect to. */
static void find_ways(struct setup *s)
{
	const char *port = getenv("PGPORT");

	if (s->url) {
		s->socket_url = s->tcp_url = s->url;
		return;
	}
	snprintf(s->ways[0], sizeof s->ways[0], "postgresql:///?host=/var/run/postgresql%s%s",
		 port ? "&port=" : "", port ? port : "");
	snprintf(s->ways[1], sizeof s->ways[1], "postgresql://localhost%s%s", port ? ":" : "",
		 port ? port : "");
	s->socket_url = s->ways[0];
	s->tcp_url = s->ways[1];
}

/* ---- the steps --------------------------------------------------------------------------- */

enum who { DATABASE_STEP, ROOT_STEP };

static const struct step {
	int (*run)(struct setup *s, struct err *e);
	enum who who;
} steps[] = {
	{ setup_find_postgresql, DATABASE_STEP },
	{ setup_make_database, DATABASE_STEP },
	{ setup_install_schema, DATABASE_STEP },
	{ setup_configure_hub, ROOT_STEP },
	{ setup_offer_packages, ROOT_STEP },
	{ setup_publish, ROOT_STEP },
	{ setup_start_units, ROOT_STEP },
	{ setup_web_server, ROOT_STEP },
	{ setup_agents, ROOT_STEP },
};

static int run_steps(struct setup *s, struct err *e)
{
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		if (steps[i].who == ROOT_STEP && (s->database_only || !s->root))
			break;
		if (steps[i].run(s, e) < 0)
			return -e->code;
	}
	if (!s->root && !s->database_only)
		setup_say("the database is ready; the rest needs root: fleet_hub_admin setup");
	return 0;
}

static int complain(const struct err *e, int status)
{
	fprintf(stderr, "fleet_hub_admin: %s\n", e->msg);
	return status;
}

/* What PATH names, and where su without "-" does not look; not the current folder, where others may put
 * programs. */
static void find_programs(const char *given, char path[PATH_SIZE])
{
	static const char usual[] = "/usr/sbin:/usr/bin:/sbin:/bin";
	size_t used = 0;

	for (size_t n; given && *given; given += n + (given[n] == ':')) {
		n = strcspn(given, ":");
		if (*given == '/' && used + n + 1 + sizeof usual <= PATH_SIZE)
			used += (size_t)snprintf(path + used, PATH_SIZE - used, "%.*s:", (int)n, given);
	}
	snprintf(path + used, PATH_SIZE - used, "%s", usual);
}

int setup_main(int argc, char **argv, const char *url)
{
	struct setup s = { .database = DATABASE, .port = "8080", .server = this_machine() };
	char database[NAME_MAX_BYTES + 1], path[PATH_SIZE], bare[SETUP_URL_MAX];
	struct err e = { 0 };

	find_programs(getenv("PATH"), path);
	setenv("PATH", path, 1);
	setenv("LC_ALL", "C.UTF-8", 1);
	if (take_options(&s, argc, argv, &e) < 0 ||
	    (url && (take_password(url, bare, &e) < 0 || take_url(&s, bare, database, &e) < 0)))
		return complain(&e, EX_USAGE);
	s.own_name = strcmp(s.server, this_machine()) == 0;
	find_ways(&s);
	if (may(&s, &e) < 0 || check_environment(&s, &e) < 0 || run_steps(&s, &e) < 0)
		return complain(&e, EXIT_FAILURE);
	return EXIT_SUCCESS;
}
