/*
 * conf.h - the settings of the hub: /etc/observ/hub.conf.
 *
 * Owns the strings. common/settings/conf_file.h reads the file. fleet_hub --print-keys prints the table for
 * docs/hub.md.
 */
#ifndef FLEET_HUB_CONF_H
#define FLEET_HUB_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/text.h"

struct conf {
	const char *database_url;    /* NULL: not given */
	const char *anonymous;       /* "none" or "viewer" */
	const char *plain_http;      /* "loopback" or "allow" */
	const char *trusted_proxies; /* addresses, with blanks or commas between them */
	const char *auth_header;     /* in which a proxy names the user; "": none */
	const char *auth_proxies;    /* addresses of such proxies, with blanks or commas between them */
	const char *public_url;      /* "": as the request shows it */
	const char *agents_database; /* HOST[:PORT]/NAME; "": as in database_url */
	const char *cors_origins;    /* with blanks or commas between them; "": none */
	const char *packages;        /* a folder; "": none are offered */
	const char *ingest_log;      /* a file, or "stderr"; "": none */
	const char *print;           /* fleet_hub --print: "compact" or "pretty"; NULL: none */
	int64_t password_memory_mib;
	int64_t password_passes;
	struct arena arena;
};

/* The defaults. */
void conf_init(struct conf *c);

/* Read the file. Without one, -ENOENT and the defaults. */
int conf_read(struct conf *c, const char *path, struct err *e);
void conf_free(struct conf *c);

/* Whether the list names it. */
bool conf_lists(const char *list, const char *item);

/* The keys as a table in Markdown. */
void conf_print_keys(FILE *to);

#endif
