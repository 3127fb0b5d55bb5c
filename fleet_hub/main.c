/*
 * fleet_hub - the pages of Observ. CGI: one request, one transaction, the end. FastCGI,
 * when it is started with a listening socket as descriptor 0: the same, for ever, on a
 * kept connection.
 *
 * To add a page: a row in routes[], a .sql in sql/, a template in pages/, two EMBEDs.
 */
#include <errno.h>
#include <fcgiapp.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/embed.h"
#include "fleet_hub/base/assets.h"
#include "fleet_hub/base/db.h"
#include "fleet_hub/base/http.h"
#include "fleet_hub/pages/logs.h"
#include "fleet_hub/base/page.h"

EMBED(sql_fleet, "fleet_hub/pages/fleet.sql");
EMBED(sql_server, "fleet_hub/pages/server.sql");
EMBED(sql_server_rows, "fleet_hub/pages/server_rows.sql");
EMBED(sql_logs, "fleet_hub/pages/logs.sql");
EMBED(sql_log_rows, "fleet_hub/pages/log_rows.sql");
EMBED(sql_around, "fleet_hub/pages/around.sql");
EMBED(sql_around_rows, "fleet_hub/pages/around_rows.sql");
EMBED(sql_line, "fleet_hub/pages/line.sql");
EMBED(sql_line_rows, "fleet_hub/pages/line_rows.sql");
EMBED(sql_healthz, "fleet_hub/pages/healthz.sql");
EMBED(html_fleet, "fleet_hub/pages/fleet.html");
EMBED(html_server, "fleet_hub/pages/server.html");
EMBED(html_logs, "fleet_hub/pages/logs.html");
EMBED(html_around, "fleet_hub/pages/around.html");
EMBED(html_line, "fleet_hub/pages/line.html");
EMBED(html_help, "fleet_hub/pages/help.html");

enum {
	PAGE_MS = 5000,                 /* statement_timeout */
	SEARCH_MS = 10000,
	CPU_SECONDS = 30,               /* a CGI that spins is a mistake of ours: end it */
	REQUEST_SECONDS = 20,           /* a database that hangs does not keep its own time limit: end by SIGALRM */
	CONFIG_MAX = 16 * 1024,
};

/* All are GET (and so HEAD): the hub changes nothing. */
static const struct route routes[] = {
	{ .path = "/", .name = "fleet", .sql = sql_fleet, .html = html_fleet, .html_len = &html_fleet_len,
	  .params = fleet_params, .rows = "servers", .children = "apps", .timeout_ms = PAGE_MS },
	{ .path = "/servers/*", .name = "server", .sql = sql_server, .html = html_server, .html_len = &html_server_len,
	  .params = server_params, .rows_sql = sql_server_rows, .must_have = "name", .timeout_ms = PAGE_MS },
	{ .path = "/logs", .name = "logs", .sql = sql_logs, .html = html_logs, .html_len = &html_logs_len,
	  .params = logs_params, .decorate = logs_decorate, .rows_sql = sql_log_rows, .timeout_ms = SEARCH_MS },
	{ .path = "/logs/around", .name = "around", .sql = sql_around, .html = html_around, .html_len = &html_around_len,
	  .params = around_params, .decorate = logs_decorate, .rows_sql = sql_around_rows, .must_have = "found",
	  .missing = "The database has no such line. Lines are deleted when their time is up.", .timeout_ms = PAGE_MS },
	{ .path = "/logs/line", .name = "line", .sql = sql_line, .html = html_line, .html_len = &html_line_len,
	  .params = line_params, .decorate = logs_decorate, .rows_sql = sql_line_rows, .must_have = "line",
	  .missing = "The database has no such line. Lines are deleted when their time is up.", .timeout_ms = PAGE_MS },
	{ .path = "/help", .name = "help", .html = html_help, .html_len = &html_help_len,
	  .timeout_ms = PAGE_MS },
	{ .path = "/healthz", .name = "healthz", .sql = sql_healthz, .timeout_ms = PAGE_MS },
};

/* ---- answers that need no database ------------------------------------------------------------ */

static void answer_asset(const struct request *r, struct response *s)
{
	const struct asset *a = asset_find(text_of(r->path + strlen("/static/")));
	const char *version = request_param(r, "v");
	char current[17];

	if (!a) {
		page_error(r, s, 404, "No such file", "There is no file of that name.", NULL);
		return;
	}
	snprintf(current, sizeof current, "%016llx", (unsigned long long)asset_hash(a));
	s->status = 200;
	s->type = a->type;
	s->cache = version && strcmp(version, current) == 0 ? "public, max-age=31536000, immutable" : "no-cache";
	buf_add(&s->body, a->bytes, *a->len);
}

/* A link, so that it works without scripts. What it sets is harmless, so GET will do. */
static void answer_theme(const struct request *r, struct response *s)
{
	const char *set = request_param(r, "set"), *back = request_param(r, "back");
	char cookie[128];

	if (!set || (strcmp(set, "light") != 0 && strcmp(set, "dark") != 0 && strcmp(set, "auto") != 0)) {
		page_error(r, s, 400, "No such theme", "A theme is light, dark or auto.", NULL);
		return;
	}
	snprintf(cookie, sizeof cookie, "observ_theme=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax", set,
		 strcmp(set, "auto") == 0 ? 0 : 31536000);
	response_header(s, "Set-Cookie", cookie);
	if (!back || !http_local_path(back) || !response_header(s, "Location", back))
		response_header(s, "Location", *r->base ? r->base : "/");
	s->status = 303;
	s->type = "text/plain; charset=utf-8";
}

static const struct route *find_route(const char *path)
{
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		size_t n = strcspn(routes[i].path, "*");
		bool rest = routes[i].path[n] == '*';

		if (strncmp(path, routes[i].path, n) == 0 && (rest ? path[n] != '\0' : path[n] == '\0'))
			return &routes[i];
	}
	return NULL;
}

static void answer(struct request *r, struct db *db, struct response *s)
{
	const struct route *route = find_route(r->path);

	if (!r->loopback)
		page_error(r, s, 403, "Only on this machine",
			   "Until sign-in exists the hub answers requests that come from this machine itself, over loopback.",
			   "From elsewhere: ssh -L 8080:localhost:8080 this-machine, then open http://localhost:8080/");
	else if (r->method == HTTP_OTHER) {
		response_header(s, "Allow", "GET, HEAD");
		page_error(r, s, 405, "Method not allowed", "The hub only reads: GET and HEAD.", NULL);
	} else if (strncmp(r->path, "/static/", strlen("/static/")) == 0)
		answer_asset(r, s);
	else if (strcmp(r->path, "/theme") == 0)
		answer_theme(r, s);
	else if (route)
		page_answer(route, r, db, s);
	else
		page_error(r, s, 404, "No such page", "There is nothing at this address.", NULL);
}

static bool serve(char *const *env, struct db *db, http_write *write, void *to)
{
	struct request r;
	struct response s = { .write = write, .to = to, .body = BUF(HTTP_BODY_MAX) };
	struct err e;
	bool ok;

	alarm(REQUEST_SECONDS);
	if (request_read(&r, env, &e) < 0)
		page_error(&r, &s, e.code, "That address can't be read", e.msg, NULL);
	else
		answer(&r, db, &s);
	ok = response_write(&r, &s);
	alarm(0);
	response_free(&s);
	request_free(&r);
	return ok;
}

/* ---- the two ways to be called --------------------------------------------------------------------- */

/* Each piece that leaves gives the request its time again: what is large may take longer, what
 * stands still may not. */
static bool write_fd(void *to, const char *bytes, size_t n)
{
	int fd = *(int *)to;

	while (n) {
		ssize_t done = write(fd, bytes, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		bytes += done;
		n -= (size_t)done;
		alarm(REQUEST_SECONDS);
	}
	return true;
}

static bool write_fcgi(void *to, const char *bytes, size_t n)
{
	while (n) {
		int part = n > 65536 ? 65536 : (int)n;

		if (FCGX_PutStr(bytes, part, to) != part)
			return false;
		bytes += part;
		n -= (size_t)part;
		alarm(REQUEST_SECONDS);
	}
	return true;
}

static int serve_cgi(struct db *db)
{
	struct rlimit cpu = { CPU_SECONDS, CPU_SECONDS }, core = { 0, 0 };
	int out = STDOUT_FILENO;

	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_CORE, &core);
	return serve(environ, db, write_fd, &out) ? 0 : 1;
}

static int serve_fcgi(struct db *db)
{
	FCGX_Request request;

	if (FCGX_Init() != 0 || FCGX_InitRequest(&request, 0, 0) != 0)
		return 1;
	while (FCGX_Accept_r(&request) == 0) {
		serve(request.envp, db, write_fcgi, request.out);
		FCGX_Finish_r(&request);
	}
	return 0;
}

/* ---- where the database is ---------------------------------------------------------------------------- */

/* The value of "key = value" on the line, or NULL; ends the line behind it. */
static char *setting(char *line, const char *key)
{
	size_t n = strlen(key);

	line += strspn(line, " \t");
	if (strncmp(line, key, n) != 0)
		return NULL;
	line += n + strspn(line + n, " \t");
	if (*line != '=')
		return NULL;
	line += 1 + strspn(line + 1, " \t");
	for (n = strcspn(line, "\r\n"); n && (line[n - 1] == ' ' || line[n - 1] == '\t'); n--)
		;
	line[n] = '\0';
	return line;
}

/* database_url from the configuration file, if there is one. */
static const char *configured_url(char line[CONFIG_MAX])
{
	const char *path = getenv("OBSERV_HUB_CONFIG");
	CLEANUP(fclose_p) FILE *file = fopen(path ? path : "/etc/observ/hub.conf", "re");

	if (!file) {
		if (path || errno != ENOENT)
			fprintf(stderr, "fleet_hub: %s: %s\n", path ? path : "/etc/observ/hub.conf", strerror(errno));
		return NULL;
	}
	while (fgets(line, CONFIG_MAX, file)) {
		const char *url = setting(line, "database_url");

		if (url)
			return url;
	}
	return NULL;
}

static int usage(const char *argument)
{
	if (strcmp(argument, "--version") == 0) {
		puts("fleet_hub " OBSERV_VERSION);
		return 0;
	}
	puts("fleet_hub - the pages of Observ, for a web server's CGI or FastCGI.\n"
	     "The database: OBSERV_DATABASE_URL, else database_url in /etc/observ/hub.conf\n"
	     "(another file: OBSERV_HUB_CONFIG). One page by hand:\n"
	     "  REQUEST_METHOD=GET REQUEST_URI=/ SERVER_ADDR=127.0.0.1 REMOTE_ADDR=127.0.0.1 fleet_hub");
	return strcmp(argument, "--help") == 0 ? 0 : 64;
}

int main(int argc, char **argv)
{
	const char *url = getenv("OBSERV_DATABASE_URL");
	static char line[CONFIG_MAX];
	struct db *db;
	int status;

	if (argc > 1)
		return usage(argv[1]);
	signal(SIGPIPE, SIG_IGN);
	db = db_new(url && *url ? url : configured_url(line));
	if (!db)
		return 1;
	status = FCGX_IsCGI() ? serve_cgi(db) : serve_fcgi(db);
	db_free(db);
	return status;
}
