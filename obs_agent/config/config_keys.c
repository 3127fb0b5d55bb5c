/*
 * config_keys.c - the key table: every key of the configuration, once.
 */
#include "config_keys.h"

#include <inttypes.h>
#include <limits.h>
#include <unistd.h>

#include "common/channels/channel.h"
#include "common/clock.h"
#include "common/level.h"
#include "common/settings/server_name.h"

#define AT(member)       offsetof(struct config, member)
#define CHECK_AT(member) offsetof(struct check_config, member)
#define NOTIFY_AT(member) offsetof(struct notify_config, member)
#define LOG_AT(member)   offsetof(struct log_file_config, member)

enum { DEFAULT_TIMEOUT_S = 5, DAY_S = 86400 };

static const char *const formats[] = { "auto", "raw", NULL };
static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", NULL };

static int host_name(struct loader *l, const struct yaml_node *map, void *base)
{
	char name[HOST_NAME_MAX + 1] = "";
	struct config *c = base;

	if (gethostname(name, sizeof name - 1) < 0 || !name[0])
		return config_fail(l, map, "this machine has no host name to take as vps_name; set vps_name");
	return config_keep(l, map, text_of(name), &c->vps_name);
}

static int no_postgres_url(struct loader *l, const struct yaml_node *map, void *base)
{
	(void)base;
	if (!l->c->enabled)
		return 0;
	return config_fail(l, map, "section monitoring is enabled but has no postgres_url; add postgres_url: "
			   "postgres://USER:PASSWORD@HOST/DATABASE");
}

static int collection_interval(struct loader *l, const struct yaml_node *map, void *base)
{
	struct check_config *check = base;

	(void)map;
	check->interval_us = l->c->interval_us;         /* 0 where that is wrong */
	return 0;
}

static int default_timeout(struct loader *l, const struct yaml_node *map, void *base)
{
	struct check_config *check = base;

	(void)l;
	(void)map;
	check->timeout_us = DEFAULT_TIMEOUT_S * US_PER_S;
	if (check->interval_us && check->timeout_us > check->interval_us)
		check->timeout_us = check->interval_us;
	return 0;
}

static int within_interval(struct loader *l, const struct yaml_node *n, const void *base)
{
	const struct check_config *check = base;

	if (!check->interval_us || check->timeout_us <= check->interval_us)
		return 0;
	return config_fail(l, n,
			   "timeout (%" PRId64 " s) is longer than interval (%" PRId64 " s); "
			   "make it at most as long",
			   check->timeout_us / US_PER_S, check->interval_us / US_PER_S);
}

static int answer_has_body(struct loader *l, const struct yaml_node *n, const void *base)
{
	const struct check_config *check = base;

	if (!check->method || strcmp(check->method, "HEAD") != 0)
		return 0;
	return config_fail(l, n,
			   "expect_body cannot be met, since the answer to HEAD has no body; "
			   "use method: GET");
}

static const char *setting_value(const struct notify_setting *given, const char *name)
{
	for (; given->name; given++)
		if (strcmp(given->name, name) == 0)
			return given->value;
	return "";
}

static bool has_setting(const struct channel_kind *kind, const char *name)
{
	for (const struct setting *s = kind->settings; s->name; s++)
		if (strcmp(s->name, name) == 0)
			return true;
	return false;
}

/* "url, secret": those of a kind. */
static const char *setting_names(const struct channel_kind *kind, char *out, size_t size)
{
	size_t used = 0;

	for (const struct setting *s = kind->settings; s->name && used < size; s++)
		used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", s->name);
	return out;
}

static int channel_takes(struct loader *l, const struct yaml_node *n, const void *base)
{
	const struct notify_config *c = base;
	const struct channel_kind *kind = c->channel ? channel_kind_find(c->channel) : NULL;
	char quoted[QUOTE_SIZE], names[ERR_MSG_MAX / 2];
	struct err e;

	for (const struct notify_setting *s = c->settings; kind && s->name; s++)
		if (!has_setting(kind, s->name)) {
			config_quote(text_of(s->name), quoted);
			return config_fail(l, n, "settings: a channel of kind %s has no %s; it has %s",
					   kind->name, quoted, setting_names(kind, names, sizeof names));
		}
	for (const struct setting *s = kind ? kind->settings : NULL; s && s->name; s++)
		if (channel_check_setting(kind, s, setting_value(c->settings, s->name), &e) < 0)
			return config_fail(l, n, "settings: %s", e.msg);
	return 0;
}

static int common_timezone(struct loader *l, const struct yaml_node *map, void *base)
{
	struct log_file_config *log = base;

	(void)map;
	log->timezone = l->c->log_timezone;
	log->zone = l->c->log_zone;
	return 0;
}

static const struct key log_rows[] = {
	{ "path", &kind_path, LOG_AT(path), .required = true,
	  .help = "an absolute path or a pattern (`*`, `?`, `[x]`, `{a,b}`, `**`); `{app}` is the "
		  "application's name. A file that several match is read as the first one says" },
	{ "format", &kind_choice, LOG_AT(format), .def = "auto", .choices = formats,
	  .help = "`raw`: the line as it stands is the message, nothing is looked for in it, and lines are "
		  "joined by `multiline_start` only" },
	{ "timezone", &kind_zone, LOG_AT(timezone), .made_at = LOG_AT(zone), .fallback = common_timezone,
	  .def_help = "`log_timezone`", .help = "zone of times that name none, as in `Europe/Berlin`" },
	{ "multiline_start", &kind_regex, LOG_AT(multiline_start), .made_at = LOG_AT(start),
	  .def_help = "learnt from the file",
	  .help = "POSIX extended regular expression. A line that matches begins a record, every other line "
		  "belongs to the one before" },
	{ "warn_4xx", &kind_bool, LOG_AT(warn_4xx), .def = "false",
	  .help = "whether a status of 400 to 499 in an access log is a WARNING" },
};

static const struct key_table log_keys = {
	"an item of log_files", log_rows, sizeof log_rows / sizeof *log_rows,
};

static const struct key check_rows[] = {
	/* The first row is what a plain text instead of a map stands for. */
	{ "url", &kind_url, CHECK_AT(url), .shown_at = CHECK_AT(shown_url), .secrets_at = CHECK_AT(secrets),
	  .required = true,
	  .help = "what to ask; http or https" },
	{ "interval", &kind_duration, CHECK_AT(interval_us), .fallback = collection_interval,
	  .def_help = "`collection_interval`", .min = 1, .max = DAY_S,
	  .help = "time between two checks" },
	{ "timeout", &kind_duration, CHECK_AT(timeout_us), .fallback = default_timeout,
	  .def_help = "`5`, or `interval` if that is shorter", .min = 1, .max = 300, .check = within_interval,
	  .help = "time limit of one attempt, from start to end; at most `interval`" },
	{ "method", &kind_choice, CHECK_AT(method), .def = "GET", .choices = methods,
	  .help = "HTTP method" },
	{ "expect_status", &kind_status, CHECK_AT(expect_status), .count_at = CHECK_AT(n_expect_status),
	  .def = "200-299", .min = 100, .max = 599,
	  .help = "status codes that are good, as in `200-299` or `200,204,300-399`" },
	{ "expect_body", &kind_text, CHECK_AT(expect_body), .def_help = "any body",
	  .check = answer_has_body, .help = "text that the body must contain" },
	{ "headers", &kind_headers, CHECK_AT(headers), .secrets_at = CHECK_AT(secrets), .def_help = "none",
	  .max = 32,
	  .help = "request headers; their values are treated as secrets" },
	{ "retries", &kind_number, CHECK_AT(retries), .def = "2", .min = 0, .max = 10,
	  .help = "attempts after a failure, before it counts" },
	{ "retry_interval", &kind_duration, CHECK_AT(retry_interval_us), .def = "5", .min = 1, .max = 300,
	  .help = "time between the attempts" },
	{ "max_redirects", &kind_number, CHECK_AT(max_redirects), .def = "0", .min = 0, .max = 20,
	  .help = "redirects to follow; at `0` the redirect itself is the answer" },
	{ "verify_tls", &kind_bool, CHECK_AT(verify_tls), .def = "true",
	  .help = "whether the server's certificate must be valid" },
};

static const struct key_table check_keys = {
	"a health check", check_rows, sizeof check_rows / sizeof *check_rows,
};

static const struct key notify_rows[] = {
	{ "channel", &kind_choice, NOTIFY_AT(channel), .required = true, .choices = channel_kind_names,
	  .help = "how the message travels, as the channels of alerts" },
	{ "database_away", &kind_duration, NOTIFY_AT(database_away_us), .def = "600", .min = 1, .max = DAY_S,
	  .help = "so long it must be away; that it is back is told too" },
	{ "settings", &kind_settings, NOTIFY_AT(settings), .required = true, .max = 16,
	  .check = channel_takes,
	  .help = "settings and secrets of the channel, by the names that channels have in the hub; all of "
		  "them are treated as secrets" },
};

static const struct key_table notify_keys = {
	"notify", notify_rows, sizeof notify_rows / sizeof *notify_rows,
};

static const struct key monitoring_rows[] = {
	{ "enabled", &kind_bool, AT(enabled), .def = "false",
	  .help = "whether this application is monitored" },
	{ "postgres_url", &kind_postgres_url, AT(postgres_url), .shown_at = AT(shown_postgres_url),
	  .fallback = no_postgres_url, .def_help = "required when enabled",
	  .help = "where the database is: a libpq URI, or `key=value` pairs" },
	{ "vps_name", &kind_name, AT(vps_name), .fallback = host_name, .def_help = "the host name",
	  .max = SERVER_NAME_MAX, .help = "name of this server in the database" },
	{ "collection_interval", &kind_duration, AT(interval_us), .def = "60", .min = 10, .max = DAY_S,
	  .help = "time between two samples of the metrics" },
	{ "app_unit", &kind_unit, AT(app_unit), .def = "{app}.service",
	  .help = "systemd unit of the application, for its own CPU, memory and restarts" },
	{ "log_level", &kind_choice, AT(log_level), .def = "info", .choices = log_level_words,
	  .help = "lowest level of what the agent logs" },
	{ "health_checks", &kind_checks, AT(checks), .count_at = AT(n_checks), .def_help = "none", .max = 500,
	  .table = &check_keys, .help = "a list: a URL each, or the keys below" },
	{ "log_timezone", &kind_zone, AT(log_timezone), .made_at = AT(log_zone), .def_help = "the machine's",
	  .help = "zone of the times in log files that name none, as in `Europe/Berlin`" },
	{ "log_files", &kind_logs, AT(log_files), .count_at = AT(n_log_files), .def_help = "none", .max = 256,
	  .table = &log_keys, .help = "a list: a path or pattern each, or the keys below" },
	{ "log_lines_per_second", &kind_number, AT(log_lines_per_second), .def = "0", .min = 0,
	  .max = 1000000,
	  .help = "lines per second accepted from one file, by the lines' own timestamps; `0`: no limit. "
		  "Excess lines are dropped and counted per level in `gaps`; WARNING and above have ten "
		  "times this limit" },
	{ "notify", &kind_map, AT(notify), .def_help = "nobody is told", .table = &notify_keys,
	  .help = "whom the agent itself tells that its database is away: the keys below" },
};

const struct key_table monitoring_keys = {
	"section monitoring", monitoring_rows, sizeof monitoring_rows / sizeof *monitoring_rows,
};

_Static_assert(sizeof log_rows / sizeof *log_rows <= KEYS_MAX, "raise KEYS_MAX");
_Static_assert(sizeof check_rows / sizeof *check_rows <= KEYS_MAX, "raise KEYS_MAX");
_Static_assert(sizeof notify_rows / sizeof *notify_rows <= KEYS_MAX, "raise KEYS_MAX");
_Static_assert(sizeof monitoring_rows / sizeof *monitoring_rows <= KEYS_MAX, "raise KEYS_MAX");
