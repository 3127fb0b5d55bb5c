/*
 * watch_conf.h - the settings of fleet_watch: /etc/observ/watch.conf.
 *
 * Owns the strings. common/settings/conf_file.h reads the file. fleet_watch --print-keys prints the table for
 * docs/alerts.md.
 */
#ifndef FLEET_WATCH_CONF_H
#define FLEET_WATCH_CONF_H

#include <stdint.h>
#include <stdio.h>

#include "common/arena.h"
#include "common/channels/transfer.h"
#include "common/err.h"

struct watch_conf {
	const char *database_url;   /* NULL: not given */
	const char *public_url;     /* of the hub, without a slash at its end; "": messages have no links */
	const char *ping_url;       /* "": none */
	const char *prometheus_url; /* without a slash at its end; "": none */
	const char *prometheus_token, *prometheus_user, *prometheus_password; /* "": not given */
	const char *local_peers;    /* "refuse", "mail" or "allow" */
	const char *ca_file;        /* "": what this machine trusts */
	const char *log_level;
	int64_t evaluate_every_s;
	int64_t rule_timeout_s;
	int64_t delivery_timeout_s; /* of one request */
	int64_t parallel;
	struct arena arena;
};

/* What they say of requests to channels. */
struct transfer_limits watch_conf_limits(const struct watch_conf *c);

/* The defaults. */
void watch_conf_init(struct watch_conf *c);

/* Read the file, and OBSERV_DATABASE_URL, which goes before it. */
int watch_conf_read(struct watch_conf *c, const char *path, struct err *e);
void watch_conf_free(struct watch_conf *c);

/* The keys as a table in Markdown. */
void watch_conf_print_keys(FILE *to);

#endif
