/*
 * fleet_watch - evaluates the rules of alerts and delivers the messages about them.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/channels/channel.h"
#include "common/cleanup.h"
#include "common/settings/near.h"
#include "common/pg/pg_tls.h"
#include "watch_doctor.h"
#include "watch.h"
#include "watch_conf.h"

#define CONFIG "/etc/observ/watch.conf"

static const char usage[] =
	"Usage: fleet_watch [--config FILE] [OPTION]\n"
	"       fleet_watch test CHANNEL\n"
	"       fleet_watch doctor\n"
	"\n"
	"Evaluates the rules of alerts and delivers the messages about them, by mail, Slack,\n"
	"Telegram, ntfy, PagerDuty and webhooks. Several may run: one leads, the others stand by.\n"
	"\n"
	"  --config FILE     the settings; by default " CONFIG "\n"
	"  --check-config    check the settings (exit status 0 or 78)\n"
	"  --print-keys      print all settings with defaults and meanings\n"
	"  --print-kinds     print the kinds of channels and their settings, as JSON\n"
	"  --once            evaluate once, deliver what is due, then exit\n"
	"  --version         print the version\n"
	"  -h, --help        print this\n"
	"\n"
	"  test CHANNEL      send a test to a channel, by its name or id, and say what the peer answers\n"
	"  doctor            find what keeps alerts from being evaluated and delivered\n"
	"\n"
	"Examples:\n"
	"  fleet_watch --check-config\n"
	"  fleet_watch test ops-mail\n"
	"  systemctl enable --now fleet-watch\n";

enum action { RUN, CHECK_CONFIG, PRINT_KEYS, PRINT_KINDS, TEST, DOCTOR, VERSION, HELP };

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' }, { "check-config", no_argument, NULL, 'k' },
	{ "print-keys", no_argument, NULL, 'K' },   { "print-kinds", no_argument, NULL, 'N' },
	{ "once", no_argument, NULL, 'o' },         { "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },         { 0 },
};

static const struct {
	const char *word;
	enum action action;
} commands[] = { { "test", TEST }, { "doctor", DOCTOR } };

struct command {
	enum action action;
	const char *config;
	struct watch_options run;
};

static int misuse(const char *what, const char *arg, const char *hint)
{
	fprintf(stderr, "fleet_watch: %s%s%s; try fleet_watch --help\n", what, arg, hint);
	return WATCH_USAGE;
}

static int unknown(const char *what, const char *word)
{
	const char *bare = word + strspn(word, "-");
	struct near near = near_to(text_of(bare));
	char hint[NEAR_HINT_SIZE];

	for (size_t i = 0; i < sizeof commands / sizeof *commands && *word != '-'; i++)
		near_try(&near, commands[i].word);
	for (const struct option *o = options; o->name && *word == '-'; o++)
		near_try(&near, o->name);
	return misuse(what, word, near_hint(&near, *word == '-' ? "--" : "", hint));
}

static int parse_command(char **words, struct command *c)
{
	for (size_t i = 0; *words && i < sizeof commands / sizeof *commands; i++)
		if (strcmp(*words, commands[i].word) == 0)
			c->action = commands[i].action;
	if (!*words)
		return 0;
	if (c->action != TEST && c->action != DOCTOR)
		return unknown("unknown command ", *words);
	if (c->action == DOCTOR)
		return words[1] ? misuse("doctor takes no argument, not ", words[1], "") : 0;
	c->run.test = words[1];
	if (!words[1])
		return misuse("test needs the name of a channel", "", "");
	return words[2] ? misuse("test takes one channel, not also ", words[2], "") : 0;
}

static int parse_options(int argc, char **argv, struct command *c)
{
	int opt;

	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1)
		switch (opt) {
		case 'c': c->config = optarg; break;
		case 'k': c->action = CHECK_CONFIG; break;
		case 'K': c->action = PRINT_KEYS; break;
		case 'N': c->action = PRINT_KINDS; break;
		case 'o': c->run.once = true; break;
		case 'V': c->action = VERSION; return 0;
		case 'h': c->action = HELP; return 0;
		case ':': return misuse(argv[optind - 1], " needs a value", "");
		default: return unknown("unknown option ", argv[optind - 1]);
		}
	return parse_command(argv + optind, c);
}

static int with_conf(const struct command *c)
{
	CLEANUP(watch_conf_free) struct watch_conf conf;
	char weakness[PG_TLS_SENTENCE_SIZE];
	struct err e;

	watch_conf_init(&conf);
	if (watch_conf_read(&conf, c->config, &e) < 0) {
		fprintf(stderr, "fleet_watch: %s\n", e.msg);
		return e.code == ENOMEM || e.code == EMFILE ? WATCH_FAILED : WATCH_CONFIG;
	}
	if (c->action == DOCTOR)
		return watch_doctor(&conf, stdout) ? WATCH_FAILED : WATCH_OK;
	if (c->action != CHECK_CONFIG)
		return watch_run(&c->run, &conf);
	printf("%s: valid\n", c->config);
	if (pg_tls_weakness(conf.database_url, weakness))
		fprintf(stderr, "%s: warning: %s\n", c->config, weakness);
	return WATCH_OK;
}

int main(int argc, char **argv)
{
	struct command c = { .action = RUN, .config = CONFIG };
	int r = parse_options(argc, argv, &c);

	if (r)
		return r;
	switch (c.action) {
	case VERSION: return puts("fleet_watch " OBSERV_VERSION) < 0;
	case HELP: return fputs(usage, stdout) < 0;
	case PRINT_KEYS: return watch_conf_print_keys(stdout), 0;
	case PRINT_KINDS: return channel_kinds_print(stdout), 0;
	default: return with_conf(&c);
	}
}
