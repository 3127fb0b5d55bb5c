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

EMBED(setup_nginx, "templates/nginx-observ.conf");
EMBED(setup_lighttpd, "templates/lighttpd-observ.conf");

#define HUB_CONF "/etc/observ/hub.conf"
#define WATCH_CONF "/etc/observ/watch.conf"
#define MAINTAIN_ENV "/etc/observ/maintain.env"
#define MAINTAIN_PASSWORD "/etc/credstore/observ-maintain.pgpass"
#define TEMPLATE_PORT ":8080"

enum { PAUSE_NS = 100 * 1000 * 1000, COMES_UP_TRIES = 150 };    /* 15 s */

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* A new file or a new content, never half of it; root's folders, so no link of others is on the way. */
static int write_file(const char *path, mode_t mode, struct text content, struct err *e)
{
	CLEANUP(close_p) int fd = -1;
	char temporary[256];

	snprintf(temporary, sizeof temporary, "%s.new", path);
	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0 || fchmod(fd, mode) < 0 || write(fd, content.s, content.len) != (ssize_t)content.len ||
	    fsync(fd) < 0 || rename(temporary, path) < 0)
		return err_set(e, errno, "%s can't be written: %s", path, strerror(errno));
	return 0;
}

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
	if (mkdir("/etc/observ", 0755) < 0 && errno != EEXIST)
		return err_set(e, errno, "/etc/observ can't be made: %s", strerror(errno));
	snprintf(text, sizeof text,
		 "# Where the database is; %s(8). After a change: systemctl restart %s\n"
		 "database_url = %s\n",
		 program, unit, url);
	setup_say("%s: written", path);
	return write_file(path, 0600, text_of(text), e);
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

	if (usual || exists(MAINTAIN_ENV) || (s->url && !*s->maintain_password))
		return 0;
	if (!maintain_text(s, &text) ||
	    !buf_addf(&password, "*:*:*:observ-maintain:%s\n", s->maintain_password))
		return err_set(e, EINVAL, "the URL is too long");
	if (write_file(MAINTAIN_ENV, 0644, (struct text){ text.data, text.len }, e) < 0)
		return -e->code;
	setup_say(MAINTAIN_ENV ": written");
	if (!s->url)
		return 0;
	if (mkdir("/etc/credstore", 0700) < 0 && errno != EEXIST)
		return err_set(e, errno, "/etc/credstore can't be made: %s", strerror(errno));
	return write_file(MAINTAIN_PASSWORD, 0600, (struct text){ password.data, password.len }, e);
}

int setup_configure_hub(struct setup *s, struct err *e)
{
	int r = write_conf(HUB_CONF, "fleet_hub", "fleet-hub", s->hub_url, e);

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
	if (r == 0 && *s->hub_url)
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
} webs[] = {
	{ "nginx",
	  "/etc/nginx/sites-available",
	  "/etc/nginx/sites-available/observ",
	  "/etc/nginx/sites-enabled/observ",
	  setup_nginx,
	  &setup_nginx_len,
	  { "nginx", "-t", "-q" },
	  { "systemctl", "-q", "reload-or-restart", "nginx" } },
	{ "lighttpd",
	  "/etc/lighttpd/conf-available",
	  "/etc/lighttpd/conf-available/60-observ.conf",
	  "/etc/lighttpd/conf-enabled/60-observ.conf",
	  setup_lighttpd,
	  &setup_lighttpd_len,
	  { "lighttpd", "-tt", "-f", "/etc/lighttpd/lighttpd.conf" },
	  { "systemctl", "-q", "restart", "lighttpd" } },
};

static const struct web *find_web(void)
{
	for (size_t i = 0; i < sizeof webs / sizeof *webs; i++)
		if (exists(webs[i].folder) && command_exists(webs[i].name))
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

/* The snippet with the port, line by line; without IPv6 in the kernel a line for it would stop the server. */
static bool fill(const struct web *w, const char *port, struct buf *out)
{
	bool ipv6 = exists("/proc/net/if_inet6");

	for (const char *line = w->text, *end; *line; line = end) {
		const char *at = strstr(line, TEMPLATE_PORT);

		end = line + strcspn(line, "\n");
		end += *end == '\n';
		if (!ipv6 && strncmp(line, "\tlisten [", 9) == 0)
			continue;
		for (; at && at < end; at = strstr(line, TEMPLATE_PORT)) {
			if (!buf_add(out, line, (size_t)(at - line)) || !buf_addf(out, ":%s", port))
				return false;
			line = at + strlen(TEMPLATE_PORT);
		}
		if (!buf_add(out, line, (size_t)(end - line)))
			return false;
	}
	return true;
}

/* With a snippet that it does not like, the server would not come up again with its other sites. */
static int enable_site(const struct web *w, const char *port, struct err *e)
{
	CLEANUP(buf_free) struct buf text = BUF(SETUP_OUTPUT_MAX);
	int r;

	if (taken(port))
		return err_set(e, EADDRINUSE,
			       "port %s of this machine is in use; choose another one: --port %d", port,
			       (int)strtol(port, NULL, 10) + 10);
	if (!fill(w, port, &text))
		return err_set(e, ENOMEM, "out of memory");
	if (!exists(w->file) && (r = write_file(w->file, 0644, (struct text){ text.data, text.len }, e)) < 0)
		return r;
	if (symlink(w->file, w->link) < 0)
		return err_set(e, errno, "%s can't be made: %s", w->link, strerror(errno));
	r = command_must(w->test, e);
	if (r < 0)
		unlink(w->link);
	return r < 0 ? err_prefix(e, "%s does not accept %s", w->name, w->file) : 0;
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
	if (exists(w->link)) {
		setup_say("%s: has a site for the hub already, %s", w->name, w->link);
		return 0;
	}
	r = enable_site(w, s->port, e);
	if (r == 0)
		r = command_must(w->restart, e);
	if (r == 0 && !comes_up(s->port))
		r = err_set(e, ETIMEDOUT, "%s does not listen on port %s; see: journalctl -u %s", w->name,
			    s->port, w->name);
	if (r < 0)
		return r;
	setup_say("%s: the hub answers on this machine at http://localhost:%s/", w->name, s->port);
	if (exists("/etc/nginx/sites-enabled/default"))
		setup_say("nginx: its own welcome page answers everybody on port 80; without it: "
			  "rm /etc/nginx/sites-enabled/default && systemctl reload nginx");
	return 0;
}
