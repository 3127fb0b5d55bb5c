/* The part of setup that makes the hub answer: its configuration, its units, the web server before it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "common/cleanup.h"
#include "common/embed.h"
#include "common/pg/pg_tls.h"
#include "setup.h"
#include "setup_files.h"

EMBED(setup_nginx, "templates/nginx-observ.conf");
EMBED(setup_lighttpd, "templates/lighttpd-observ.conf");

#define WATCH_CONF "/etc/observ/watch.conf"
#define MAINTAIN_ENV "/etc/observ/maintain.env"
#define MAINTAIN_PASSWORD "/etc/credstore/observ-maintain.pgpass"
#define TEMPLATE_PORT "8080"
#define TEMPLATE_NAME "hub.example.com"
#define TEMPLATE_TLS "#tls"
#define TLS_PORT "443"

enum { PAUSE_NS = 100 * 1000 * 1000, COMES_UP_TRIES = 150 };    /* 15 s */

/* ---- where the database is --------------------------------------------------------------- */

static bool names_database(const char *path)
{
	CLEANUP(fclose_p) FILE *file = fopen(path, "re");
	char line[SETUP_URL_MAX];

	while (file && fgets(line, sizeof line, file)) {
		const char *key = line + strspn(line, " \t");

		if (strncmp(key, "database_url", 12) == 0 && key[12 + strspn(key + 12, " \t")] == '=')
			return true;
	}
	return false;
}

/* `url`: "" if the login was there already. */
static int write_conf(const char *path, const char *program, const char *unit, const char *url, struct err *e)
{
	char text[SETUP_URL_MAX + 256];

	if (names_database(path)) {
		setup_say("%s: names a database already, stays as it is", path);
		return 0;
	}
	if (!*url)
		return err_set(e, EEXIST,
			       "the login %s exists already and %s has not its password; ALTER ROLE "
			       "\"%s\" PASSWORD '...', and write the URL with it into %s",
			       unit, path, unit, path);
	if (setup_folder("/etc/observ", e) < 0)
		return -e->code;
	snprintf(text, sizeof text,
		 "# Where the database is; %s(8). After a change: systemctl restart %s\n"
		 "database_url = %s\n",
		 program, unit, url);
	setup_say("%s: written", path);
	return setup_write(&(struct setup_file){ path, 0600, 0, 0 }, text_of(text), e);
}

/* The timer's unit runs psql, which has not our rule of protection by itself. */
static bool maintain_text(const struct setup *s, struct buf *out)
{
	char url[SETUP_URL_MAX];

	if (!setup_url(s->socket_url, s->url ? "observ-maintain" : NULL, s->database, url))
		return false;
	const struct pg_tls tls = pg_tls_for_url(url);

	return buf_addf(out, "PGDATABASE=%s\n", url) &&
	       /* The unit wants a certificate of every server; one on this machine needs none. */
	       buf_addf(out, "PGSSLMODE=%s\n", tls.mode ? tls.mode : "prefer") &&
	       (!tls.root || buf_addf(out, "PGSSLROOTCERT=%s\n", tls.root));
}

/* It finds a database on this machine by itself, if that has the usual name. */
static int write_maintain(const struct setup *s, struct err *e)
{
	CLEANUP(buf_free) struct buf text = BUF(2 * SETUP_URL_MAX), password = BUF(SETUP_URL_MAX);
	bool usual = !s->url && strcmp(s->database, "observ_metrics") == 0;

	if (usual || setup_exists(MAINTAIN_ENV) || (s->url && !*s->maintain_password))
		return 0;
	if (!maintain_text(s, &text) ||
	    !buf_addf(&password, "*:*:*:observ-maintain:%s\n", s->maintain_password))
		return err_set(e, EINVAL, "the URL is too long");
	if (setup_write(&(struct setup_file){ MAINTAIN_ENV, 0644, 0, 0 },
			(struct text){ text.data, text.len }, e) < 0)
		return -e->code;
	setup_say(MAINTAIN_ENV ": written");
	if (!s->url)
		return 0;
	if (mkdir("/etc/credstore", 0700) < 0 && errno != EEXIST)
		return err_set(e, errno, "/etc/credstore can't be made: %s", strerror(errno));
	return setup_write(&(struct setup_file){ MAINTAIN_PASSWORD, 0600, 0, 0 },
			   (struct text){ password.data, password.len }, e);
}

int setup_configure_hub(struct setup *s, struct err *e)
{
	int r = write_conf(SETUP_HUB_CONF, "fleet_hub", "fleet-hub", s->hub_url, e);

	if (r == 0 && command_exists("fleet_watch"))
		r = write_conf(WATCH_CONF, "fleet_watch", "fleet-watch", s->watch_url, e);
	return r < 0 ? r : write_maintain(s, e);
}

/* ---- units ------------------------------------------------------------------------------- */

int setup_start_units(struct setup *s, struct err *e)
{
	const char *const enable[] = {
		"systemctl", "-q", "enable", "--now", "fleet-hub.socket", "observ-maintain.timer", NULL
	};
	const char *const watch[] = { "systemctl", "-q", "enable", "--now", "fleet-watch.service", NULL };
	const char *const restart[] = { "systemctl", "-q", "try-restart", "fleet-hub.service", NULL };
	const char *const maintain[] = { "systemctl", "-q", "start", "observ-maintain.service", NULL };
	int r;

	if (!s->systemd) {
		setup_say("systemd does not run here: a web server runs the hub as CGI (docs/hub.md), cron "
			  "runs "
			  "/usr/share/observ/observ-maintain.cron");
		return 0;
	}
	r = command_must(enable, e);
	if (r == 0 && command_exists("fleet_watch"))
		r = command_must(watch, e);
	if (r == 0 && (*s->hub_url || s->hub_conf_changed))
		r = command_must(restart, e);
	if (r == 0 && command_must(maintain, e) < 0)
		return err_set(e, EIO, "observ-maintain.service failed; see: journalctl -u observ-maintain");
	if (r == 0)
		setup_say("fleet-hub.socket, %sobserv-maintain.timer: enabled",
			  command_exists("fleet_watch") ? "fleet-watch.service, " : "");
	return r;
}

/* ---- the web server ---------------------------------------------------------------------- */

static const struct web {
	const char *name, *folder, *file, *link; /* its snippet, and the link that makes it count */
	const char *text;
	const uint64_t *text_len;
	const char *test[6], *restart[5];
	const char *tls, *tls_package;  /* a file without which it has no TLS, and what brings it */
} webs[] = {
	{ "nginx",
	  "/etc/nginx/sites-available",
	  "/etc/nginx/sites-available/observ",
	  "/etc/nginx/sites-enabled/observ",
	  setup_nginx,
	  &setup_nginx_len,
	  { "nginx", "-t", "-q" },
	  { "systemctl", "-q", "reload-or-restart", "nginx" },
	  NULL,
	  NULL },
	{ "lighttpd",
	  "/etc/lighttpd/conf-available",
	  "/etc/lighttpd/conf-available/60-observ.conf",
	  "/etc/lighttpd/conf-enabled/60-observ.conf",
	  setup_lighttpd,
	  &setup_lighttpd_len,
	  { "lighttpd", "-tt", "-f", "/etc/lighttpd/lighttpd.conf" },
	  { "systemctl", "-q", "restart", "lighttpd" },
	  "/usr/lib/lighttpd/mod_openssl.so",
	  "lighttpd-mod-openssl" },
};

static const struct web *find_web(void)
{
	for (size_t i = 0; i < sizeof webs / sizeof *webs; i++)
		if (setup_exists(webs[i].folder) && command_exists(webs[i].name))
			return &webs[i];
	return NULL;
}

static bool taken(const char *port)
{
	CLEANUP(close_p) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
				 .sin_addr = { htonl(INADDR_LOOPBACK) } };

	return connect(fd, (const struct sockaddr *)&a, sizeof a) == 0;
}

/* A web server may be "started" before it listens. */
static bool comes_up(const char *port)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };

	for (int i = 0; i < COMES_UP_TRIES; i++) {
		if (taken(port))
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

/* One line of the snippet, with the port and the hub's name. */
static bool fill_line(const struct setup *s, struct text line, struct buf *out)
{
	const struct { const char *mark, *value; } marks[] = { { TEMPLATE_PORT, s->port },
							       { TEMPLATE_NAME, s->public } };
	enum { MARKS = sizeof marks / sizeof *marks };

	for (const char *at = line.s; at < line.s + line.len;) {
		size_t i = 0;

		while (i < MARKS &&
		       !(marks[i].value && strncmp(at, marks[i].mark, strlen(marks[i].mark)) == 0))
			i++;
		if (!(i < MARKS ? buf_adds(out, marks[i].value) : buf_addc(out, *at)))
			return false;
		at += i < MARKS ? strlen(marks[i].mark) : 1;
	}
	return true;
}

/* Without IPv6 in the kernel such a line would stop the server. */
static bool listens_on_ipv6(const char *line, const char *end)
{
	static const char address[] = "[::";

	return memmem(line, (size_t)(end - line), address, sizeof address - 1);
}

/* The snippet, line by line; those for TLS only with a public name. */
static bool fill(const struct web *w, const struct setup *s, struct buf *out)
{
	bool ipv6 = setup_exists("/proc/net/if_inet6");

	for (const char *line = w->text, *end; *line; line = end) {
		end = line + strcspn(line, "\n");
		end += *end == '\n';
		if (s->public && strncmp(line, TEMPLATE_TLS, strlen(TEMPLATE_TLS)) == 0)
			line += strlen(TEMPLATE_TLS);
		if (!ipv6 && listens_on_ipv6(line, end))
			continue;
		if (!fill_line(s, (struct text){ line, (size_t)(end - line) }, out))
			return false;
	}
	return true;
}

/* With a snippet that it does not like, the server would not come up again with its other sites. */
static int enable_site(const struct web *w, const struct setup *s, struct err *e)
{
	CLEANUP(buf_free) struct buf text = BUF(SETUP_OUTPUT_MAX);
	int r;

	if (taken(s->port))
		return err_set(e, EADDRINUSE,
			       "port %s of this machine is in use; choose another one: --port %d", s->port,
			       (int)strtol(s->port, NULL, 10) + 10);
	if (!fill(w, s, &text))
		return err_set(e, ENOMEM, "out of memory");
	if (!setup_exists(w->file) && (r = setup_write(&(struct setup_file){ w->file, 0644, 0, 0 },
						       (struct text){ text.data, text.len }, e)) < 0)
		return r;
	if (symlink(w->file, w->link) < 0)
		return err_set(e, errno, "%s can't be made: %s", w->link, strerror(errno));
	r = command_must(w->test, e);
	if (r < 0)
		unlink(w->link);
	return r < 0 ? err_prefix(e, "%s does not accept %s", w->name, w->file) : 0;
}

static bool same(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* The site of a hub on loopback gets the lines for TLS, if nobody has changed it. 1: it has them already. */
static int publish_site(const struct web *w, const struct setup *s, struct err *e)
{
	const struct setup_file file = { w->file, 0644, 0, 0 };
	CLEANUP(buf_free) struct buf there = BUF(SETUP_OUTPUT_MAX), local = BUF(SETUP_OUTPUT_MAX),
				     public = BUF(SETUP_OUTPUT_MAX);
	struct setup without = *s;
	int r;

	without.public = NULL;
	if (setup_read(w->file, &there, e) < 0)
		return -e->code;
	if (!fill(w, &without, &local) || !fill(w, s, &public))
		return err_set(e, ENOMEM, "out of memory");
	if (same(&there, &public))
		return 1;
	if (!same(&there, &local))
		return err_set(e, EEXIST,
			       "%s was changed by hand, and stays as it is: copy the lines with " TEMPLATE_TLS
			       " from /usr/share/observ/%s-observ.conf into it, or remove it, and run this "
			       "again",
			       w->file, w->name);
	r = setup_write(&file, (struct text){ public.data, public.len }, e);
	if (r == 0 && command_must(w->test, e) < 0) {
		r = err_prefix(e, "%s does not accept %s", w->name, w->file);
		setup_write(&file, (struct text){ local.data, local.len }, &(struct err){ 0 });
	}
	return r;
}

/* 1: all is there. */
static int make_site(const struct web *w, const struct setup *s, struct err *e)
{
	if (s->public && w->tls && !setup_exists(w->tls))
		return err_set(e, ENOENT, "%s has no TLS; run: apt-get install %s", w->name, w->tls_package);
	if (!setup_exists(w->link))
		return enable_site(w, s, e);
	return s->public ? publish_site(w, s, e) : 1;
}

int setup_web_server(struct setup *s, struct err *e)
{
	const struct web *w = find_web();
	int r;

	if (!w || !s->systemd) {
		setup_say("no nginx and no lighttpd with systemd here: docs/hub.md has what another web "
			  "server needs; "
			  "or apt-get install nginx, and run this again");
		return 0;
	}
	r = make_site(w, s, e);
	if (r == 1)
		setup_say("%s: has a site for the hub already, %s", w->name, w->link);
	if (r == 0 || (r == 1 && s->certificate))       /* a renewed certificate is read again */
		r = command_must(w->restart, e) < 0 ? -e->code : r;
	if (r < 0 || r == 1)
		return r < 0 ? r : 0;
	if (!comes_up(s->public ? TLS_PORT : s->port))
		return err_set(e, ETIMEDOUT, "%s does not listen on port %s; see: journalctl -u %s", w->name,
			       s->public ? TLS_PORT : s->port, w->name);
	setup_say("%s: the hub answers on this machine at http://localhost:%s/", w->name, s->port);
	if (s->public)
		setup_say("%s: the hub answers other machines at https://%s/", w->name, s->public);
	if (setup_exists("/etc/nginx/sites-enabled/default"))
		setup_say("nginx: its own welcome page answers everybody on port 80; without it: "
			  "rm /etc/nginx/sites-enabled/default && systemctl reload nginx");
	return 0;
}
