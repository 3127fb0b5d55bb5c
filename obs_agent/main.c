/*
 * obs_agent - collects metrics, checks and log lines of one application and
 * writes them to PostgreSQL, exactly once.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/settings/app_name.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/settings/near.h"
#include "common/net/url_mask.h"
#include "obs_agent/config/config.h"
#include "obs_agent/doctor/doctor.h"
#include "obs_agent/config/env_file.h"
#include "obs_agent/explain/explain.h"
#include "obs_agent/notice/notice.h"
#include "obs_agent/doctor/pg_doctor.h"
#include "obs_agent/pg/pg_enroll.h"
#include "common/pg/pg_tls.h"
#include "run.h"
#include "status.h"

static const char usage[] =
	"Usage: obs_agent --app NAME [--config FILE] [OPTION]\n"
	"       obs_agent status --app NAME\n"
	"       obs_agent reload --app NAME\n"
	"       obs_agent doctor --app NAME [--config FILE]\n"
	"       obs_agent explain [--app NAME [--config FILE]] FILE...\n"
	"       obs_agent enroll --server NAME --url URL < TOKEN\n"
	"\n"
	"Collects metrics, runs HTTP checks and follows the logs of one application, and\n"
	"writes them to PostgreSQL.\n"
	"\n"
	"  --app NAME        the application; its configuration is section monitoring: of\n"
	"                    /opt/deployments/NAME/config.yml\n"
	"  --config FILE     another configuration file\n"
	"  --check-config    check the configuration, and name all mistakes (exit status 0 or 78)\n"
	"  --print-config    print the configuration with all defaults and masked secrets\n"
	"  --print-keys      print all keys with defaults and meanings; =schema: as JSON Schema, for\n"
	"                    editors; =markdown, =man: as in the documentation\n"
	"  --print-formats   print what is understood of a log line: forms of times, words of levels,\n"
	"                    names of keys; as in docs/log-formats.md\n"
	"  --once            collect and write one round, then exit\n"
	"  --dry-run         collect one round and print it as JSON, write nothing\n"
	"  --server NAME     for enroll: the server that gets a login\n"
	"  --url URL         for enroll: postgresql://TOKEN@HOST/DATABASE\n"
	"  --version         print the version\n"
	"  -h, --help        print this\n"
	"\n"
	"  status            print the state of the running agent as JSON\n"
	"  reload            make the running agent reload its configuration; exit status 78: it refused,\n"
	"                    and keeps the old one\n"
	"  doctor            find what keeps the agent from working, and how to fix it\n"
	"  explain           show how the agent would read these log files: form, times, levels, fields;\n"
	"                    with --app, by the settings that the application's log_files has for them\n"
	"  enroll            make the login of a new server with a token, whose password comes from\n"
	"                    standard input, and print it as ROLE:PASSWORD; see install.sh --token\n"
	"\n"
	"Examples:\n"
	"  obs_agent --app my-app --check-config\n"
	"  obs_agent --app my-app --once --dry-run\n"
	"  systemctl enable --now obs-agent@my-app\n";

enum action { RUN, CHECK_CONFIG, PRINT_CONFIG, PRINT_KEYS, STATUS, RELOAD, DOCTOR, ENROLL, EXPLAIN,
	      PRINT_FORMATS, VERSION, HELP };

static const struct option options[] = {
	{ "app", required_argument, NULL, 'a' },
	{ "config", required_argument, NULL, 'c' },
	{ "check-config", no_argument, NULL, 'k' },
	{ "print-config", no_argument, NULL, 'p' },
	{ "print-keys", optional_argument, NULL, 'K' },
	{ "print-formats", no_argument, NULL, 'F' },
	{ "once", no_argument, NULL, 'o' },
	{ "dry-run", no_argument, NULL, 'd' },
	{ "server", required_argument, NULL, 's' },
	{ "url", required_argument, NULL, 'u' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

struct command {
	enum action action;
	enum keys_form keys_form;
	struct run_options run;
	const char *server;             /* of enroll */
	char *url;                      /* the same; owned */
	char **files;                   /* of explain */
};

static int misuse(const char *what, const char *arg)
{
	fprintf(stderr, "obs_agent: %s%s; try obs_agent --help\n", what, arg);
	return RUN_USAGE;
}

static const struct {
	const char *word;
	enum action action;
} commands[] = {
	{ "status", STATUS }, { "reload", RELOAD },   { "doctor", DOCTOR },
	{ "enroll", ENROLL }, { "explain", EXPLAIN },
};

/* The command or option that `wrong` may mean, as part of a sentence. */
static const char *hint_for(const char *wrong, char hint[NEAR_HINT_SIZE])
{
	const char *bare = wrong + strspn(wrong, "-");
	struct near command = near_to(text_of(wrong)),
		    option = near_to((struct text){ bare, strcspn(bare, "=") });

	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		near_try(&command, commands[i].word);
	for (const struct option *o = options; o->name; o++)
		near_try(&option, o->name);
	return command.word ? near_hint(&command, "", hint) : near_hint(&option, "--", hint);
}

static int unknown_command(const char *word)
{
	char hint[NEAR_HINT_SIZE], shown[ERR_MSG_MAX];

	url_mask(word, shown, sizeof shown);
	fprintf(stderr, "obs_agent: unknown command %s%s; try obs_agent --help\n", shown,
		hint_for(word, hint));
	return RUN_USAGE;
}

/* Says what getopt_long() did not take: argv[optind - 1], or in a cluster of letters the letter. */
static int misuse_option(char **argv, bool lacks_value)
{
	const char letter[] = { '-', (char)optopt, '\0' };
	const char *option = strncmp(argv[optind - 1], "--", 2) == 0 ? argv[optind - 1] : letter;
	char hint[NEAR_HINT_SIZE], shown[ERR_MSG_MAX];

	url_mask(option, shown, sizeof shown);
	fprintf(stderr, "obs_agent: %s %s%s; try obs_agent --help\n", shown,
		lacks_value ? "needs a value" : "is not an option",
		lacks_value ? "" : hint_for(option, hint));
	return RUN_USAGE;
}

static bool parse_keys_form(const char *word, enum keys_form *ret)
{
	static const char *const words[] = {
		[KEYS_TEXT] = "text",
		[KEYS_MARKDOWN] = "markdown",
		[KEYS_MDOC] = "man",
		[KEYS_SCHEMA] = "schema",
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (!word || strcmp(word, words[i]) == 0) {
			*ret = (enum keys_form)i;
			return true;
		}
	return false;
}

static bool parse_word(const char *word, enum action *ret)
{
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (strcmp(word, commands[i].word) == 0) {
			*ret = commands[i].action;
			return true;
		}
	return false;
}

static int parse_options(int argc, char **argv, struct command *c)
{
	int opt;

	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1)
		switch (opt) {
		case 'a': c->run.app = optarg; break;
		case 'c': c->run.config_path = optarg; break;
		case 'k': c->action = CHECK_CONFIG; break;
		case 'p': c->action = PRINT_CONFIG; break;
		case 'K':
			c->action = PRINT_KEYS;
			if (!parse_keys_form(optarg, &c->keys_form))
				return misuse("--print-keys knows text, markdown, man and schema, not ",
					      optarg);
			break;
		case 'F': c->action = PRINT_FORMATS; break;
		case 'o': c->run.once = true; break;
		case 'd': c->run.dry_run = true; break;
		case 's': c->server = optarg; break;
		case 'u':
			free(c->url);
			c->url = url_take_argument(optarg);
			break;
		case 'V': c->action = VERSION; return 0;
		case 'h': c->action = HELP; return 0;
		default: return misuse_option(argv, opt == ':');
		}
	for (; optind < argc && c->action != EXPLAIN; optind++)
		if (!parse_word(argv[optind], &c->action))
			return unknown_command(argv[optind]);
	return 0;
}

/* The unit gives the agent variables that a person's shell does not have: read them from the same
 * file, if that is allowed. */
static void load_environment(const char *config_path)
{
	char path[PATH_MAX];
	struct err e;

	if (env_file_beside(config_path, path) && access(path, R_OK) == 0 && env_file_load(path, &e) < 0)
		fprintf(stderr, "obs_agent: %s\n", e.msg);
}

static void print_mistake(void *data, const char *sentence)
{
	fprintf(data, "%s\n", sentence);
}

static int with_config(const struct command *c)
{
	char weakness[PG_TLS_SENTENCE_SIZE];
	struct config_mistakes mistakes;
	struct config config;
	struct err e;

	if (config_load(c->run.config_path, c->run.app, &config, &mistakes) < 0) {
		config_mistakes_tell(&mistakes, print_mistake, stderr);
		return RUN_CONFIG;
	}
	if (notice_check(&config, &e) < 0) {
		fprintf(stderr, "%s: %s\n", c->run.config_path, e.msg);
		config_free(&config);
		return RUN_CONFIG;
	}
	if (c->action == PRINT_CONFIG)
		config_print(&config, stdout);
	else
		printf("%s: valid\n", c->run.config_path);
	if (config.postgres_url && pg_tls_weakness(config.postgres_url, weakness))
		fprintf(stderr, "%s: warning: %s\n", c->run.config_path, weakness);
	config_free(&config);
	return RUN_OK;
}

/* If systemd runs this for the unit (MAINPID is set), print nothing: the agent has logged the
 * reasons. */
static int reload(const char *app)
{
	CLEANUP(fclose_p) FILE *nowhere = fopen("/dev/null", "we");
	bool in_journal = nowhere && getenv("MAINPID");
	struct err e;
	int r = status_reload(app, in_journal ? nowhere : stderr, &e);

	if (r < 0 && (r != -EINVAL || !in_journal))
		fprintf(stderr, "obs_agent: %s\n", e.msg);
	return r == 0 ? RUN_OK : r == -EINVAL ? RUN_CONFIG : RUN_UNAVAILABLE;
}

/*
 * Only one agent may run for a server and application: the running one would be fenced, and end. The unit
 * goes first: systemd starts it for good.
 */
static bool would_replace(const struct command *c)
{
	return !c->run.dry_run && !getenv("NOTIFY_SOCKET") && status_is_running(c->run.app);
}

/* config: NULL where none is asked for. */
static int explain_files(char **files, const struct config *config)
{
	int worst = RUN_OK;
	struct err e;

	if (!*files)
		return misuse("explain needs the name of a log file", "");
	for (; *files; files++)
		if (explain(*files, config, stdout, &e) < 0) {
			fprintf(stderr, "obs_agent: %s\n", e.msg);
			worst = RUN_UNAVAILABLE;
		}
	return worst;
}

static int explain_with_config(const struct command *c)
{
	struct config_mistakes mistakes;
	struct config config;
	int r;

	if (config_load(c->run.config_path, c->run.app, &config, &mistakes) < 0) {
		config_mistakes_tell(&mistakes, print_mistake, stderr);
		return RUN_CONFIG;
	}
	r = explain_files(c->files, &config);
	config_free(&config);
	return r;
}

static int act(const struct command *c)
{
	struct err e;

	switch (c->action) {
	case CHECK_CONFIG:
	case PRINT_CONFIG:
		return with_config(c);
	case STATUS:
		if (status_ask(c->run.app, stdout, &e) < 0) {
			fprintf(stderr, "obs_agent: %s\n", e.msg);
			return RUN_UNAVAILABLE;
		}
		return RUN_OK;
	case RELOAD:
		return reload(c->run.app);
	case EXPLAIN:
		return explain_with_config(c);
	case DOCTOR:
		return doctor_run(c->run.config_path, c->run.app,
				  &(struct doctor_others){ pg_doctor, status_ask }, stdout);
	default:
		if (would_replace(c)) {
			fprintf(stderr,
				"obs_agent: an agent for %s is running, and this one would replace it; stop "
				"it first (systemctl stop obs-agent@%s), or use --dry-run\n",
				c->run.app, c->run.app);
			return RUN_UNAVAILABLE;
		}
		return run(&c->run);
	}
}

static void command_free(struct command *c)
{
	free(c->url);
}

/* The token's password comes on standard input, because arguments show in process lists. */
static int enroll(const struct command *c)
{
	enum { PASSWORD_SIZE = 1024 };
	char password[PASSWORD_SIZE], weakness[PG_TLS_SENTENCE_SIZE];
	struct err e;

	if (!c->server || !c->url)
		return misuse("enroll needs --server NAME and --url URL", "");
	if (isatty(STDIN_FILENO))
		return misuse(
			"enroll reads the token's password from standard input: obs_agent enroll ... < FILE",
			"");
	if (!fgets(password, sizeof password, stdin) || *password == '\n')
		return misuse("enroll found no password on standard input", "");
	password[strcspn(password, "\n")] = '\0';
	if (pg_tls_weakness(c->url, weakness))
		fprintf(stderr, "obs_agent: warning: %s\n", weakness);
	if (pg_enroll(c->url, password, c->server, stdout, &e) < 0) {
		fprintf(stderr, "obs_agent: %s\n", e.msg);
		return RUN_UNAVAILABLE;
	}
	return RUN_OK;
}

int main(int argc, char **argv)
{
	CLEANUP(command_free) struct command c = { .action = RUN };
	char path[256];
	int r = parse_options(argc, argv, &c);

	if (r)
		return r;
	switch (c.action) {
	case VERSION:
		puts("obs_agent " OBSERV_VERSION);
		return RUN_OK;
	case HELP:
		fputs(usage, stdout);
		return RUN_OK;
	case PRINT_KEYS:
		config_print_keys(stdout, c.keys_form);
		return RUN_OK;
	case ENROLL:
		return enroll(&c);
	case PRINT_FORMATS:
		explain_formats(stdout);
		return RUN_OK;
	case EXPLAIN:
		c.files = argv + optind;
		if (!c.run.app && !c.run.config_path)
			return explain_files(c.files, NULL);
		break;
	default:
		break;
	}
	if (c.server || c.url)
		return misuse("--server and --url belong to obs_agent enroll", "");
	if (!c.run.app)
		return misuse("which application? Use --app NAME", "");
	if (!app_name_valid(c.run.app))
		return misuse(APP_NAME_RULE "; correct --app ", c.run.app);
	if (!c.run.config_path) {
		snprintf(path, sizeof path, "/opt/deployments/%s/config.yml", c.run.app);
		c.run.config_path = path;
	}
	if (!getenv("NOTIFY_SOCKET") && c.action != STATUS && c.action != RELOAD && c.action != DOCTOR)
		load_environment(c.run.config_path);
	return act(&c);
}
