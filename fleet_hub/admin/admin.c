/*
 * fleet_hub_admin - makes the database, and says who may write to it: servers come, change their logins,
 * and go.
 *
 * To add a command: a row in commands[], a .sql that returns one JSON value and a .txt to show it
 * with, in admin/, two EMBEDs.
 */
#include <errno.h>
#include <grp.h>
#include <json-c/json.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/embed.h"
#include "common/settings/near.h"
#include "common/parse.h"
#include "common/text.h"
#include "common/net/url_mask.h"
#include "fleet_hub/base/db.h"
#include "common/template/template.h"
#include "fleet_hub/setup/setup.h"
#include "user_password.h"

EMBED(sql_enroll, "fleet_hub/admin/enroll.sql");
EMBED(sql_rotate, "fleet_hub/admin/rotate.sql");
EMBED(sql_finish, "fleet_hub/admin/finish.sql");
EMBED(sql_revoke, "fleet_hub/admin/revoke.sql");
EMBED(sql_retire, "fleet_hub/admin/retire.sql");
EMBED(sql_token, "fleet_hub/admin/token.sql");
EMBED(sql_untoken, "fleet_hub/admin/untoken.sql");
EMBED(sql_servers, "fleet_hub/admin/servers.sql");
EMBED(txt_enroll, "fleet_hub/admin/enroll.txt");
EMBED(txt_rotate, "fleet_hub/admin/rotate.txt");
EMBED(txt_ended, "fleet_hub/admin/ended.txt");
EMBED(txt_token, "fleet_hub/admin/token.txt");
EMBED(txt_servers, "fleet_hub/admin/servers.txt");
EMBED(sql_create_user, "fleet_hub/admin/create_user.sql");
EMBED(sql_change_user, "fleet_hub/admin/change_user.sql");
EMBED(sql_disable_user, "fleet_hub/admin/disable_user.sql");
EMBED(sql_enable_user, "fleet_hub/admin/enable_user.sql");
EMBED(sql_reset_user, "fleet_hub/admin/reset_user.sql");
EMBED(sql_delete_user, "fleet_hub/admin/delete_user.sql");
EMBED(sql_users, "fleet_hub/admin/users.sql");
EMBED(txt_user, "fleet_hub/admin/user.txt");
EMBED(txt_users, "fleet_hub/admin/users.txt");
EMBED(sql_server_token, "fleet_hub/admin/server_token.sql");
EMBED(sql_end_server_tokens, "fleet_hub/admin/end_server_tokens.sql");
EMBED(sql_tokens, "fleet_hub/admin/tokens.sql");
EMBED(txt_server_token, "fleet_hub/admin/server_token.txt");
EMBED(txt_end_server_tokens, "fleet_hub/admin/end_server_tokens.txt");
EMBED(txt_tokens, "fleet_hub/admin/tokens.txt");
EMBED(sql_proxy_secret, "fleet_hub/admin/proxy_secret.sql");
EMBED(sql_end_proxy_secret, "fleet_hub/admin/end_proxy_secret.sql");
EMBED(txt_proxy_secret, "fleet_hub/admin/proxy_secret.txt");
EMBED(txt_end_proxy_secret, "fleet_hub/admin/end_proxy_secret.txt");
EMBED(sql_teardown, "fleet_hub/admin/teardown.sql");
EMBED(txt_teardown, "fleet_hub/admin/teardown.txt");

enum { ARGUMENTS_MAX = 3, TIMEOUT_MS = 30000, ANSWER_MAX = 16 * 1024 * 1024 };

/* The question and the text for its answer. */
#define ASKS(sql, text) sql_##sql, txt_##text, &txt_##text##_len, false
#define ASKS_WITH_PASSWORD(sql, text) sql_##sql, txt_##text, &txt_##text##_len, true

static const struct action {
	const char *name, *arguments, *help;
	size_t least, most;             /* arguments */
	size_t names;                   /* of them; those behind are numbers */
	const char *sql, *text;         /* NULL: setup, which is more than a question */
	const uint64_t *text_len;
	bool password;                  /* asks for one, and passes it on behind the arguments */
} commands[] = {
	{ "setup", "[OPTION...]", "make or upgrade the database, its logins and the hub; see below", 0, 0, 0,
	  NULL, NULL, NULL, false },
	{ "enroll", "SERVER", "a login for a server, or a new password for it", 1, 1, 1,
	  ASKS(enroll, enroll) },
	{ "rotate", "SERVER [DAYS]", "a second login; the first stays valid for 7 days", 1, 2, 1,
	  ASKS(rotate, rotate) },
	{ "finish", "SERVER", "end the logins before the newest one now", 1, 1, 1, ASKS(finish, ended) },
	{ "revoke", "SERVER", "take all logins away; rows stay", 1, 1, 1, ASKS(revoke, ended) },
	{ "retire", "SERVER", "the same, and wait for no more rows", 1, 1, 1, ASKS(retire, ended) },
	{ "token", "[USES [HOURS]]", "a login with which servers enroll themselves: 1 within 24 hours", 0, 2,
	  0, ASKS(token, token) },
	{ "untoken", "ROLE", "end a token", 1, 1, 1, ASKS(untoken, ended) },
	{ "tokens", "", "tokens of servers, and tokens that enroll new ones", 0, 0, 0, ASKS(tokens, tokens) },
	{ "server-token", "SERVER [DAYS]", "another token for the hub; former ones post for 7 days more", 1,
	  2, 1, ASKS(server_token, server_token) },
	{ "end-server-tokens", "SERVER", "end all of them now", 1, 1, 1,
	  ASKS(end_server_tokens, end_server_tokens) },
	{ "servers", "", "who may write, and who did", 0, 0, 0, ASKS(servers, servers) },
	{ "create-user", "EMAIL [ROLE]", "a user of the hub: viewer, operator or admin", 1, 2, 2,
	  ASKS_WITH_PASSWORD(create_user, user) },
	{ "change-user", "EMAIL ROLE", "another role", 2, 2, 2, ASKS(change_user, user) },
	{ "disable-user", "EMAIL", "end the sessions, and let nobody sign in as this user", 1, 1, 1,
	  ASKS(disable_user, user) },
	{ "enable-user", "EMAIL", "undo that", 1, 1, 1, ASKS(enable_user, user) },
	{ "reset-user", "EMAIL", "another password", 1, 1, 1, ASKS_WITH_PASSWORD(reset_user, user) },
	{ "delete-user", "EMAIL", "with sessions and tokens; the audit log stays", 1, 1, 1,
	  ASKS(delete_user, user) },
	{ "users", "", "who may sign in", 0, 0, 0, ASKS(users, users) },
	{ "proxy-secret", "PROXY", "let this proxy sign users in; a former secret of it ends", 1, 1, 1,
	  ASKS(proxy_secret, proxy_secret) },
	{ "end-proxy-secret", "PROXY", "let it do so no longer", 1, 1, 1,
	  ASKS(end_proxy_secret, end_proxy_secret) },
	{ "teardown", "", "print what takes all of it away again", 0, 0, 0, ASKS(teardown, teardown) },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const char *const options[] = { "url", "version", "help" };

static void usage(FILE *to)
{
	fputs("fleet_hub_admin [--url URL] COMMAND [ARGUMENT...]\n"
	      "fleet_hub_admin --version | --help\n\n",
	      to);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-17s %-15s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
	fputs("\nURL is libpq's connection string; without it OBSERV_ADMIN_URL, or PGHOST, PGUSER and so\n"
	      "on. A password belongs into PGPASSWORD, PGPASSFILE or OBSERV_ADMIN_URL: others see "
	      "arguments,\n"
	      "until the program has hidden it. Without these, root asks PostgreSQL of this machine as its "
	      "user postgres. The login must\n"
	      "be a member of observ_enroll.\n\n"
	      "A password is asked for; an empty one, or no terminal, has one made and shown once:\n"
	      "  --password-file FILE   the first line of it; - is standard input\n\n"
	      "setup [--app APP]... [--server NAME] [--database NAME] [--port PORT] [--database-only]\n"
	      "      [--public NAME --certificate FILE --key FILE] [--packages FOLDER]\n"
	      "  --app      watch this machine as well, for this application\n"
	      "  --server   the name of this machine in the database; default: its host name\n"
	      "  --database default: observ_metrics; with --url, the database in it\n"
	      "  --port     where the web server answers on loopback; default: 8080\n"
	      "  --database-only   neither logins nor anything outside the database\n"
	      "  --public   let other machines in under this name, over TLS: the web server and PostgreSQL\n"
	      "  --certificate, --key   of that name, in PEM; setup keeps a copy\n"
	      "  --packages a folder with obs-agent_*.deb, which install.sh gets from the hub\n",
	      to);
}

static const char *default_url(void)
{
	const char *url = getenv("OBSERV_ADMIN_URL");

	return url && *url ? url : NULL;
}

/* What libpq's own sentence, which was said already, does not tell; NULL: it tells all. */
static const char *remedy(enum db_failure failure)
{
	switch (failure) {
	case DB_BAD_URL:
		return "the URL is no connection string of libpq: postgresql://USER@HOST/observ_metrics";
	case DB_AWAY:
		return "no connection to the database: give --url, or PGHOST and its like; to make one: "
		       "fleet_hub_admin setup";
	case DB_DENIED:
		return "the sign-in was refused, or the login may not do this: sign in as another (as the "
		       "user postgres, or by --url or PGUSER), or GRANT observ_enroll TO it";
	case DB_SCHEMA:
		return "this database has not the schema of this version; run: fleet_hub_admin setup";
	default:
		return NULL;            /* libpq's sentence is the database's own reason */
	}
}

static int show(const struct action *c, const char *answer, const struct user_password *p)
{
	CLEANUP(buf_free) struct buf out = BUF(ANSWER_MAX);
	struct json_object *data = answer ? json_tokener_parse(answer) : NULL;
	struct err e = { 0 };
	bool nothing = data && json_object_get_boolean(json_object_object_get(data, "nothing"));
	const struct template_env plain_text = { .raw = true };
	struct text text = { c->text, *c->text_len };
	int r;

	if (data && p && p->generated)
		json_object_object_add(data, "password", json_object_new_string(p->text));
	r = data ? template_render(text, data, &plain_text, &out, &e) : -EPROTO;

	json_object_put(data);
	if (r < 0) {
		fprintf(stderr, "fleet_hub_admin: %s\n", e.code ? e.msg : "the answer is no JSON");
		return EXIT_FAILURE;
	}
	fwrite(out.data, 1, out.len, stdout);
	return fflush(stdout) == 0 && !nothing ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* A function of the database says no: its sentence, or what it says of each value. */
static void tell_refusal(const struct err *e, const char *detail)
{
	struct json_object *d = *detail ? json_tokener_parse(detail) : NULL, *errors = NULL, *one;

	if (!json_object_object_get_ex(d, "errors", &errors))
		fprintf(stderr, "fleet_hub_admin: %s\n", e->msg);
	for (size_t i = 0; errors && i < json_object_array_length(errors); i++) {
		one = json_object_array_get_idx(errors, i);
		fprintf(stderr, "fleet_hub_admin: %s %s\n",
			json_object_get_string(json_object_object_get(one, "field")),
			json_object_get_string(json_object_object_get(one, "message")));
	}
	json_object_put(d);
}

static int run(const struct action *c, const char *url, const char *const *params,
	       const struct user_password *p)
{
	CLEANUP(buf_free) struct buf answer = BUF(ANSWER_MAX);
	const struct db_question question = { c->sql, c->most + c->password, params, TIMEOUT_MS };
	struct db *db = db_new(url);
	struct err e = { 0 };
	enum db_failure failure = DB_FAILED;

	if (db)
		failure = db_change(db, &question, &answer, &e);
	if (failure == DB_REFUSED && *db_detail(db))
		tell_refusal(&e, db_detail(db));
	db_free(db);
	if (failure == DB_OK)
		return show(c, buf_cstr(&answer), p);
	if (remedy(failure))
		fprintf(stderr, "fleet_hub_admin: %s\n", remedy(failure));
	return EXIT_FAILURE;
}

/* Without the password of a URL that stands in the wrong place. */
static int no_such_command(const char *name)
{
	char hint[NEAR_HINT_SIZE], shown[ERR_MSG_MAX];
	const char *bare = name + strspn(name, "-");
	struct near command = near_to(text_of(name)),
		    option = near_to((struct text){ bare, strcspn(bare, "=") });

	for (size_t i = 0; i < COMMANDS; i++)
		near_try(&command, commands[i].name);
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		near_try(&option, options[i]);
	url_mask(name, shown, sizeof shown);
	fprintf(stderr, "fleet_hub_admin: no such command: %s%s; fleet_hub_admin --help lists the commands\n",
		shown, command.word ? near_hint(&command, "", hint) : near_hint(&option, "--", hint));
	return EX_USAGE;
}

static const struct action *find(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int refuse(const char *what)
{
	fprintf(stderr, "fleet_hub_admin: %s; fleet_hub_admin --help lists the commands\n", what);
	return EX_USAGE;
}

static int misused(const struct action *c)
{
	fprintf(stderr, "fleet_hub_admin: usage: fleet_hub_admin [--url URL] %s%s%s\n", c->name,
		*c->arguments ? " " : "", c->arguments);
	return EX_USAGE;
}

/* A name that looks like an option is a mistake: it would become a login. */
static int check_arguments(const struct action *c, size_t n, char **argv)
{
	uint64_t number;

	if (n < c->least || n > c->most)
		return misused(c);
	for (size_t i = 0; i < n; i++) {
		if (argv[i][0] == '-')
			return misused(c);
		if (i < c->names ||
		    (parse_u64(text_of(argv[i]), &number) && number > 0 && number <= INT32_MAX))
			continue;
		fprintf(stderr, "fleet_hub_admin: %s is not a whole number from 1 on; ", argv[i]);
		fprintf(stderr, "usage: fleet_hub_admin [--url URL] %s %s\n", c->name, c->arguments);
		return EX_USAGE;
	}
	return 0;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

/* Nothing says where the database is and as whom: then it is here, and root need not be one of its logins. */
static void become_postgres(void)
{
	static const char *const names[] = { "PGHOST", "PGHOSTADDR", "PGUSER", "PGSERVICE" };
	const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (getenv(names[i]))
			return;
	if (user && (setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0))
		exit(EXIT_FAILURE);
}

/* "--password-file FILE" behind the command, which is taken out of the arguments; NULL: it is not there. */
static const char *take_password_file(int *argc, char **argv)
{
	for (int i = 1; i + 1 < *argc; i++) {
		const char *file = argv[i + 1];

		if (strcmp(argv[i], "--password-file") != 0)
			continue;
		memmove(argv + i, argv + i + 2, (size_t)(*argc - i - 2) * sizeof *argv);
		*argc -= 2;
		return file;
	}
	return NULL;
}

/* The command, with a password where it takes one. */
static int run_with_password(const struct action *c, const char *url, const char *const *given,
			     const char *file)
{
	const char *params[ARGUMENTS_MAX] = { NULL };
	struct user_password password = { 0 };
	struct err e = { 0 };

	if (user_password_get(&password, file, given[0], &e) < 0) {
		fprintf(stderr, "fleet_hub_admin: %s\n", e.msg);
		return EXIT_FAILURE;
	}
	memcpy(params, given, c->most * sizeof *params);
	params[c->most] = password.secret;
	return run(c, url, params, &password);
}

static int dispatch(int argc, char **argv, const char *url)
{
	const struct action *c = find(argv[0]);
	const char *params[ARGUMENTS_MAX] = { NULL };
	const char *file = c && c->password ? take_password_file(&argc, argv) : NULL;
	size_t n = (size_t)argc - 1;

	if (asks_for_help(argc, argv))
		return usage(stdout), EXIT_SUCCESS;
	if (!c)
		return no_such_command(argv[0]);
	if (!c->sql)
		return setup_main(argc - 1, argv + 1, url);
	if (check_arguments(c, n, argv + 1))
		return EX_USAGE;
	for (size_t i = 0; i < n; i++)
		params[i] = argv[1 + i];
	if (!url)
		become_postgres();
	url = url ? url : "dbname=observ_metrics";
	return c->password ? run_with_password(c, url, params, file) : run(c, url, params, NULL);
}

/* "--url URL" or "--url=URL" in front of the command: the URL, which is taken out of the arguments that
 * everybody sees. *at is behind it then. NULL: neither is there, or (with *at unchanged) its value is not. */
static char *take_url(int argc, char **argv, int *at)
{
	static const char with_value[] = "--url=";
	char *value = NULL;

	if (argc > 2 && strcmp(argv[1], "--url") == 0) {
		value = argv[2];
		*at = 3;
	} else if (argc > 1 && strncmp(argv[1], with_value, sizeof with_value - 1) == 0) {
		value = argv[1] + sizeof with_value - 1;
		*at = 2;
	}
	return value ? url_take_argument(value) : NULL;
}

int main(int argc, char **argv)
{
	int at = 1;
	CLEANUP(free_p) char *given = take_url(argc, argv, &at);
	const char *url = given ? given : default_url();

	if (argc > 1 && strcmp(argv[1], "--version") == 0)
		return puts("fleet_hub_admin " OBSERV_VERSION) < 0;
	if (at > 1 && !given)
		return refuse("out of memory for the URL");
	if (at == 1 && argc > 1 && strcmp(argv[1], "--url") == 0)
		return refuse("--url needs a value");
	return at < argc ? dispatch(argc - at, argv + at, url) : refuse("which command?");
}
