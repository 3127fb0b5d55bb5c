/*
 * setup.h - fleet_hub_admin setup: from an empty machine to a hub that answers.
 *
 * Owns the order of the steps and their shared data. Each step looks first and changes only what is missing
 * or wrong, so a second run changes nothing; each reports in one line what it did or found. Two kinds of
 * database: PostgreSQL of this machine, as its user postgres over its socket, and any other, with the login
 * in --url. Leaves out the tables: schema.sql.
 */
#ifndef FLEET_HUB_SETUP_H
#define FLEET_HUB_SETUP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/text.h"

#define SETUP_HUB_CONF "/etc/observ/hub.conf"

enum { SETUP_APPS_MAX = 32, SETUP_OUTPUT_MAX = 4 * 1024 * 1024, SETUP_URL_MAX = 2048 };

struct setup {
	const char *url; /* postgresql://LOGIN@HOST/DATABASE; NULL: PostgreSQL of this machine */
	const char *socket_url; /* where the hub and psql connect; login and database are put into it */
	const char *tcp_url;    /* the same for an agent, which shows a password */
	char ways[2][128];      /* what the two point to, for this machine */
	const char *database;
	const char *server; /* name of this machine in the database */
	bool own_name;      /* it is this machine's host name */
	const char *apps[SETUP_APPS_MAX];
	size_t n_apps;
	const char *port;   /* where the web server answers, on loopback */
	const char *public; /* the hub's name for other machines; NULL: it stays on loopback */
	const char *certificate, *key; /* files for that name; NULL: those that setup took before */
	const char *packages;          /* a folder with the agent's, for install.sh; NULL: none */
	bool database_only; /* no login, nothing outside the database */
	bool root;          /* may write to /etc and start units */
	bool systemd;
	bool hub_conf_changed;
	char hub_url[SETUP_URL_MAX];   /* what hub.conf gets; "": it has one already */
	char watch_url[SETUP_URL_MAX]; /* the same for watch.conf */
	char maintain_password[128]; /* of the login observ-maintain, where it is new; "": it needs none */
};

/* "setup: WHAT: ..." on standard output. */
void setup_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* `url` with another login ("NAME" or "NAME:PASSWORD"; NULL: its own) and database. False: it does not fit
 * into `out`. */
bool setup_url(const char *url, const char *login, const char *database, char out[SETUP_URL_MAX]);

/* Run psql on `database` ("" is the one to set up) with `script`; its output is appended to `out`. */
int setup_psql(const struct setup *s, const char *database, struct text script, struct buf *out,
	       struct err *e);

/* The steps, in this order. */
int setup_find_postgresql(struct setup *s, struct err *e);
int setup_make_database(struct setup *s, struct err *e);
int setup_install_schema(struct setup *s, struct err *e);
int setup_configure_hub(struct setup *s, struct err *e);
int setup_offer_packages(struct setup *s, struct err *e);
int setup_publish(struct setup *s, struct err *e);
int setup_start_units(struct setup *s, struct err *e);
int setup_web_server(struct setup *s, struct err *e);
int setup_agents(struct setup *s, struct err *e);

/* The command. `argv` begins behind "setup"; `url`: of --url or OBSERV_ADMIN_URL, or NULL. Returns the exit
 * status. */
int setup_main(int argc, char **argv, const char *url);

#endif
