/*
 * logcore - a log line from a shell script.
 *
 *	logcore --file /var/log/backup.log info "Backup done" target=/srv seconds:=12.5
 *
 * Owns the command line. Exit status: 0 when the line is written or its level is not
 * enabled, 1 when it cannot be written, 2 when the command line is wrong. 1 and 2 come with
 * one sentence on standard error.
 */
#include "logcore.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "nested.h"

enum { FAILED = 1, WRONG_USE = 2 };

struct command {
	const char *file, *logger, *message;
	int minimum;                    /* 0: from the environment, or info */
	int level;
	char **fields;                  /* ends with NULL */
};

static const char HELP[] =
	"logcore - a log line from a shell script, as JSON\n"
	"\n"
	"  logcore [option...] LEVEL MESSAGE [KEY=TEXT | KEY:=JSON]...\n"
	"\n"
	"  logcore info \"Backup done\" target=/srv files:=1204 seconds:=12.5 ok:=true\n"
	"\n"
	"LEVEL is trace, debug, info, warning, error or critical.\n"
	"KEY=TEXT is a string; KEY:=JSON a number, true, false, null, a list or an object.\n"
	"\n"
	"  -f, --file FILE    append to FILE; default: $LOGCORE_FILE, else standard error\n"
	"  -n, --logger NAME  the name of the logger; default: $LOGCORE_LOGGER, else shell\n"
	"  -l, --level LEVEL  the minimum level of a line; default: $LOGCORE_LEVEL, else info\n"
	"  --version          print the version\n"
	"  -h, --help         print this text\n"
	"\n"
	"Exit status: 0, 1 if the line could not be written, 2 if the command line is wrong.\n";

__attribute__((format(printf, 1, 2)))
static bool wrong(const char *form, ...)
{
	va_list ap;

	va_start(ap, form);
	fputs("logcore: ", stderr);
	vfprintf(stderr, form, ap);
	fputc('\n', stderr);
	va_end(ap);
	return false;
}

/* ---- the command line ------------------------------------------------------------ */

static bool parse_level(const char *name, bool off_too, int *ret_level)
{
	int level = logcore_level_number(name);

	if (level == 0 || (level == LOGCORE_OFF && !off_too))
		return wrong("\"%s\" is not a level; use trace, debug, info, warning, error or critical",
			     name);
	*ret_level = level;
	return true;
}

static const char *from_environment(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

/* Returns -1 to continue, else the exit status. */
static int parse_options(struct command *c, int argc, char **argv)
{
	static const struct option names[] = {
		{ "file", required_argument, NULL, 'f' },  { "logger", required_argument, NULL, 'n' },
		{ "level", required_argument, NULL, 'l' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },     { NULL, 0, NULL, 0 },
	};

	for (;;) {
		int at = optind, option = getopt_long(argc, argv, "+:f:n:l:h", names, NULL);

		switch (option) {
		case -1:
			return -1;
		case 'f':
			c->file = optarg;
			break;
		case 'n':
			c->logger = optarg;
			break;
		case 'l':
			if (!parse_level(optarg, true, &c->minimum))
				return WRONG_USE;
			break;
		case 'h':
			return fputs(HELP, stdout) < 0 || fflush(stdout) != 0;
		case 'V': return puts("logcore " OBSERV_VERSION) < 0 || fflush(stdout) != 0;
		case ':':
			wrong("%s needs a value, see logcore --help", argv[at]);
			return WRONG_USE;
		default:
			wrong("%s is not an option, see logcore --help", argv[at]);
			return WRONG_USE;
		}
	}
}

static bool parse_words(struct command *c, char **words)
{
	if (!words[0])
		return wrong("the level and the message are missing, see logcore --help");
	if (!parse_level(words[0], false, &c->level))
		return false;
	if (!words[1])
		return wrong("the message is missing, see logcore --help");
	c->message = words[1];
	c->fields = words + 2;
	return true;
}

/* Split "key=text" or "key:=json". */
static bool parse_field(char *word, struct logcore_field *ret)
{
	char *value = strchr(word, '=');
	bool typed = value && value > word && value[-1] == ':';

	if (!value || value - typed == word) {
		if (*word == '-')
			return wrong("%s: put options before the level", word);
		return wrong("\"%s\" is neither key=text nor key:=json", word);
	}
	value[-typed] = '\0';
	value++;
	if (typed && !logcore_nested_valid(value, strlen(value)))
		return wrong("%s: \"%s\" is not JSON; write %s=%s for a text", word, value, word, value);
	*ret = typed ? logcore_kv_json(word, value, strlen(value)) : logcore_kv(word, value);
	return true;
}

/* The caller frees the result. NULL when a field is wrong. */
static struct logcore_field *parse_fields(char **words)
{
	size_t n = 0;
	struct logcore_field *fields;

	while (words[n])
		n++;
	fields = calloc(n + 1, sizeof *fields);
	if (!fields) {
		wrong("out of memory");
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		if (!parse_field(words[i], &fields[i])) {
			free(fields);
			return NULL;
		}
	}
	fields[n] = logcore_end_();
	return fields;
}

/* ---- the line -------------------------------------------------------------------- */

static int write_line(const struct command *c, const struct logcore_field *fields)
{
	char error[512];
	struct logcore *log = logcore_open(&(struct logcore_options){
		.name = c->logger,
		.path = c->file,
		.level = c->minimum,
		.ignore_environment = c->minimum != 0,
	}, error, sizeof error);
	struct logcore_counters counters;

	if (!log) {
		wrong("%s", error);
		return FAILED;
	}
	if (logcore_enabled(log, c->level))
		logcore_log_(log, c->level, c->message, fields);
	logcore_stats(log, &counters);
	logcore_close(log);
	if (counters.failed == 0)
		return 0;
	wrong("%s could not be written", c->file ? c->file : "standard error");
	return FAILED;
}

int main(int argc, char **argv)
{
	struct command c = {
		.file = from_environment("LOGCORE_FILE", NULL),
		.logger = from_environment("LOGCORE_LOGGER", "shell"),
		.fields = argv + argc,
	};
	int status = parse_options(&c, argc, argv);
	struct logcore_field *fields;

	if (status >= 0)
		return status;
	if (!parse_words(&c, argv + optind))
		return WRONG_USE;
	fields = parse_fields(c.fields);
	if (!fields)
		return WRONG_USE;
	status = write_line(&c, fields);
	free(fields);
	return status;
}
