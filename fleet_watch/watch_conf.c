#include "watch_conf.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/settings/conf_file.h"
#include "common/net/url.h"

static int read_url(void *to, struct arena *arena, const struct conf_key *key, const char *value,
		    struct err *e)
{
	const char *problem = *value ? url_http_problem(value) : NULL;

	return problem ? err_set(e, EINVAL, "%s: %s", key->name, problem)
		       : conf_text(to, arena, key, value, e);
}

/* It becomes part of a header. */
static int read_secret(void *to, struct arena *arena, const struct conf_key *key, const char *value,
		       struct err *e)
{
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return err_set(e, EINVAL, "%s has a control character", key->name);
	return conf_text(to, arena, key, value, e);
}

#define AT(member) offsetof(struct watch_conf, member)

static const struct conf_key keys[] = {
	{ "database_url", conf_text, AT(database_url), NULL, NULL, 0, 0,
	  "where the database is: a connection string of libpq; `OBSERV_DATABASE_URL` goes before it" },
	{ "public_url", read_url, AT(public_url), "", NULL, 0, 0,
	  "the address of the hub, as in `https://observ.example.com`, for links in messages" },
	{ "evaluate_every_s", conf_number, AT(evaluate_every_s), "10", NULL, 1, 3600,
	  "how often rules are looked at that are due; each has an interval of its own" },
	{ "rule_timeout_s", conf_number, AT(rule_timeout_s), "10", NULL, 1, 60,
	  "how long the evaluation of one rule may take: a slower one fails, and is tried again later" },
	{ "delivery_timeout_s", conf_number, AT(delivery_timeout_s), "30", NULL, 1, 300,
	  "how long one request to a channel may take" },
	{ "parallel", conf_number, AT(parallel), "16", NULL, 1, 64, "messages that are under way at once" },
	{ "ping_url", read_url, AT(ping_url), "", NULL, 0, 0,
	  "a dead-man's switch, which gets a GET after each evaluation that succeeded" },
	{ "prometheus_url", read_url, AT(prometheus_url), "", NULL, 0, 0,
	  "the Prometheus that rules of kind `promql` are asked of" },
	{ "prometheus_token", read_secret, AT(prometheus_token), "", NULL, 0, 0,
	  "what it gets as `Authorization: Bearer`" },
	{ "prometheus_user", read_secret, AT(prometheus_user), "", NULL, 0, 0,
	  "the login of HTTP's basic authentication there, instead of a token" },
	{ "prometheus_password", read_secret, AT(prometheus_password), "", NULL, 0, 0, "its password" },
	{ "local_peers", conf_word, AT(local_peers), "mail", "refuse|mail|allow", 0, 0,
	  "whether channels may lead to this machine itself: never, only to its mail server, or always. "
	  "Addresses of cloud metadata are always refused" },
	{ "ca_file", conf_text, AT(ca_file), "", NULL, 0, 0,
	  "certificates (PEM) of the authorities that peers are checked by; by default what this machine "
	  "trusts" },
	{ "log_level", conf_word, AT(log_level), "info", "debug|info|warning|error", 0, 0,
	  "what the log has" },
};

static const struct conf_table table = { keys, sizeof keys / sizeof keys[0] };

void watch_conf_init(struct watch_conf *c)
{
	*c = (struct watch_conf){ .arena = ARENA(CONF_ARENA_SIZE) };
	conf_defaults(&table, c, &c->arena);
}

struct transfer_limits watch_conf_limits(const struct watch_conf *c)
{
	return (struct transfer_limits){ c->delivery_timeout_s, c->ca_file, c->local_peers };
}

/* "https://hub/" and "https://hub" are one. */
static int strip_slash(struct watch_conf *c, const char **url, struct err *e)
{
	struct text t = text_of(*url);

	while (t.len && t.s[t.len - 1] == '/')
		t.len--;
	*url = arena_dup(&c->arena, t);
	return *url ? 0 : err_set(e, ENOMEM, "out of memory");
}

/* Else each message would be refused for it. */
static int check_ca_file(const struct watch_conf *c, const char *path, struct err *e)
{
	if (!*c->ca_file || access(c->ca_file, R_OK) == 0)
		return 0;
	return err_set(e, errno, "%s: ca_file: %s: %s", path, c->ca_file, strerror(errno));
}

int watch_conf_read(struct watch_conf *c, const char *path, struct err *e)
{
	const char *url = getenv("OBSERV_DATABASE_URL"), *problem;
	int r = conf_file_read(&table, c, &c->arena, path, e);

	if (r == -ENOENT)
		return err_set(e, ENOENT,
			       "%s is not there; fleet_hub_admin setup writes it, or use --config FILE",
			       path);
	if (r == -EACCES)
		return err_set(e, EACCES, "%s may not be read by this user; try it as root", path);
	if (r == -EISDIR)
		return err_set(e, EISDIR, "%s is a folder; give the file of settings by --config FILE", path);
	if (r < 0)
		return r;
	if (url && *url)
		c->database_url = url;
	if (!c->database_url || !*c->database_url)
		return err_set(e, EINVAL,
			       "%s has no database_url; add database_url = "
			       "postgresql://fleet-watch:PASSWORD@HOST/observ_metrics",
			       path);
	problem = url_postgres_problem(c->database_url);
	if (problem)
		return err_set(e, EINVAL, "%s: database_url: %s", path, problem);
	if (*c->prometheus_token && *c->prometheus_user)
		return err_set(e, EINVAL, "%s has prometheus_token and prometheus_user; give one of them",
			       path);
	if (check_ca_file(c, path, e) < 0)
		return -e->code;
	r = strip_slash(c, &c->public_url, e);
	return r < 0 ? r : strip_slash(c, &c->prometheus_url, e);
}

void watch_conf_free(struct watch_conf *c)
{
	arena_free(&c->arena);
}

void watch_conf_print_keys(FILE *to)
{
	conf_table_print(&table, to);
}
