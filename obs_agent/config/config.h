/*
 * config.h - the agent's configuration: section "monitoring:" of a YAML file.
 *
 * Owns the reading, checking and printing of it. Promises that a struct config
 * handed out is complete and valid, and that an error is one sentence with
 * file:line:column and a hint. Leaves out every other section of the file.
 *
 * The keys are rows of a table in config_keys.c; the README's table, --print-keys
 * and --print-config are printed from it.
 */
#ifndef OBS_AGENT_CONFIG_H
#define OBS_AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/line_start.h"
#include "common/net/hide.h"
#include "common/zone/zone.h"

struct status_range {
	int from, to;                   /* HTTP status codes, both included */
};

enum { STATUS_RANGES_MAX = 8 };

/* One health check. Strings live as long as the struct config. */
struct check_config {
	const char *url;                /* http or https; secret */
	const char *shown_url;          /* the same with "***" for each secret; unique: it names the check */
	const struct secret *secrets;   /* in the URL and the headers; masked in other texts too */
	const char *method;             /* "GET" */
	const char *expect_body;        /* text that the body must contain, NULL: any body */
	const char *const *headers;     /* "Name: value" each, NULL-terminated; values are secrets */
	struct status_range expect_status[STATUS_RANGES_MAX];
	size_t n_expect_status;
	int64_t interval_us;
	int64_t timeout_us;             /* for one attempt, from start to end */
	int64_t retries;                /* attempts after a failure, before it counts */
	int64_t retry_interval_us;
	int64_t max_redirects;          /* 0: a redirect is the answer */
	bool verify_tls;
};

struct log_file_config {
	const char *path;               /* or a pattern; {app} already replaced */
	const char *format;             /* "auto" or "raw" */
	const char *timezone;           /* NULL: the machine's */
	const struct zone *zone;        /* the same */
	const char *multiline_start;    /* NULL: records are told by what their lines look like */
	struct line_start *start;       /* the same */
	bool warn_4xx;
};

/* A setting of a channel (common/channels/channel.h). */
struct notify_setting {
	const char *name, *value;       /* the value is a secret */
};

/* Whom the agent itself tells that its database is away. */
struct notify_config {
	const char *channel;            /* its kind; NULL: nobody is told */
	int64_t database_away_us;       /* so long it must be away */
	const struct notify_setting *settings;  /* up to one without a name */
};

struct config {
	bool enabled;
	const char *app;                /* from --app */
	const char *vps_name;           /* this server's name in the database */
	const char *postgres_url;       /* secret */
	const char *shown_postgres_url; /* the same with "***" for each secret */
	int64_t interval_us;            /* between metrics samples */
	const char *app_unit;           /* systemd unit of the application, for its cgroup */
	const char *log_level;          /* of the agent's own log */
	const struct check_config *checks;
	size_t n_checks;
	const char *log_timezone;       /* NULL: the machine's */
	const struct zone *log_zone;    /* the same */
	const struct log_file_config *log_files;
	size_t n_log_files;
	int64_t log_lines_per_second;   /* of one file; 0: no limit */
	struct notify_config notify;
	struct zones zones;             /* that are named above */
	struct arena arena;             /* owns all else above */
};

/* The mistakes in a configuration, in the order of the file. Each is one sentence,
 * "path:line:column: what; how to fix it". */
enum { CONFIG_MISTAKES_MAX = 10 };
struct config_mistakes {
	size_t n;                       /* number found; the first CONFIG_MISTAKES_MAX are kept */
	struct err e[CONFIG_MISTAKES_MAX];
};

/* Call `say` with each sentence that is kept and, if there are more, with "and N more mistakes". */
void config_mistakes_tell(const struct config_mistakes *m, void (*say)(void *data, const char *sentence),
			  void *data);

/* Read `path` for application `app`; `${VAR}` comes from the environment. On success the caller owns
 * *ret (config_free()). On failure *ret is untouched, and `m` has at least one mistake. */
int config_load(const char *path, const char *app, struct config *ret, struct config_mistakes *m);

/* As config_load(), from memory; `path` is used in messages only. */
int config_parse(const char *path, const char *app, struct text yaml, struct config *ret,
		 struct config_mistakes *m);

void config_free(struct config *c);

/* The first of log_files whose path or pattern matches this path, as a text; NULL: none does. */
const struct log_file_config *config_log_file(const struct config *c, const char *path);

/* Print the configuration as YAML, with secrets masked. */
void config_print(const struct config *c, FILE *out);

/* The forms of --print-keys: for people, for Markdown pages, for the manual page, for editors. */
enum keys_form { KEYS_TEXT, KEYS_MARKDOWN, KEYS_MDOC, KEYS_SCHEMA };

/* Print the key table: key, type, default, meaning. */
void config_print_keys(FILE *out, enum keys_form form);

#endif
