/*
 * fleet_hub - the pages of Observ. CGI: one request, one transaction, the end. FastCGI,
 * when it is started with a listening socket as descriptor 0: the same, for ever, on a
 * kept connection.
 */
#include <errno.h>
#include <fcgiapp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/embed.h"
#include "common/settings/near.h"
#include "fleet_hub/openapi/openapi.h"
#include "fleet_hub/base/auth.h"
#include "fleet_hub/base/conf.h"
#include "fleet_hub/base/cors.h"
#include "fleet_hub/base/proxy_user.h"
#include "fleet_hub/base/refusal.h"
#include "routes.h"

enum {
	CPU_SECONDS = 30,     /* a CGI that spins is a mistake of ours: end it */
	REQUEST_SECONDS = 20, /* a database that hangs keeps no time limit: end by SIGALRM */
};

EMBED(sql_note_use, "fleet_hub/base/note_use.sql");

/* What stays from one request to the next. */
struct hub {
	struct conf conf;
	bool broken;                    /* the configuration was refused */
	struct db *db;
};

/* How bytes come and go: of CGI, or of FastCGI. */
struct ends {
	http_read *read;
	http_write *write;
	void *from, *to;
};

/* ---- one request ------------------------------------------------------------------------------------ */

static void refuse_method(unsigned methods, const struct request *r, struct response *s)
{
	char allowed[64], sentence[128];

	http_method_names(allowed, methods);
	response_header(s, "Allow", allowed);
	snprintf(sentence, sizeof sentence, "This address takes %s.", allowed);
	refuse_with(r, s, 405, "Method not allowed", sentence, NULL);
}

/* Programs read what is below these, and nobody else. */
static bool is_api(const char *path)
{
	return strncmp(path, "/api/", 5) == 0 || strncmp(path, "/v1/", 4) == 0;
}

/* The request's row; then it is known in which form it is refused. */
static const struct route *find(struct request *r, unsigned *ret_methods)
{
	const struct route *route = route_find(r, ret_methods);
	enum http_method asked = r->method;

	if (!route && *ret_methods) {
		r->method = (enum http_method)(*ret_methods & -*ret_methods);
		r->data_only = route_find(r, ret_methods)->api;
		r->method = asked;
	} else {
		r->data_only = route ? route->api : is_api(r->path);
	}
	return route;
}

/* Everything that a request has to pass before its row of the table answers, in one place. */
static const struct route *answer(struct request *r, struct db *db, const struct ends *ends,
				  struct response *s)
{
	unsigned methods;
	const struct route *route = find(r, &methods);
	bool admitted = r->data_only && cors_admit(r, s);
	struct err e;

	if (!methods)
		refuse_with(r, s, 404, "No such page", "There is nothing at this address.", NULL);
	else if (r->method == HTTP_OPTIONS && admitted)
		cors_answer(methods, s);
	else if (!route)
		refuse_method(methods, r, s);
	else if (auth_admit(r, route->role, &e) < 0)
		refuse(r, s, &e, "");
	else if (route->body.media && body_read(r, &route->body, ends->read, ends->from, &e) < 0)
		refuse_with(r, s, e.code, "That can't be read", e.msg, NULL);
	else if (route->role != ROLE_PUBLIC && auth_check_form(r, &e) < 0)
		refuse(r, s, &e, "");
	else if (route->role == ROLE_PUBLIC || !r->who.proxy_user || proxy_user_admit(r, db, s))
		page_answer(route, r, db, s);
	db_end(db);
	return route;
}

/* A session that is used does not end; noted once a minute, when the answer is on its way. */
static void note_use(const struct request *r, struct db *db)
{
	const char *params[] = { r->who.hash };
	const struct db_question question = { sql_note_use, 1, params, PAGE_TIMEOUT_MS };
	CLEANUP(buf_free) struct buf answer = BUF(64);
	struct err e;

	if (r->who.not_noted)
		db_change(db, &question, &answer, &e);
}

static bool serve(char *const *env, struct hub *hub, const struct ends *ends)
{
	struct request r;
	struct response s = { .write = ends->write, .to = ends->to, .body = BUF(HTTP_BODY_MAX) };
	const struct route *route = NULL;
	unsigned methods;
	struct err e;
	bool ok;

	alarm(REQUEST_SECONDS);
	if (request_read(&r, env, &e) < 0) {
		find(&r, &methods);
		refuse_with(&r, &s, e.code, "That address can't be read", e.msg, NULL);
	} else if (hub->broken) {
		find(&r, &methods);
		refuse_with(&r, &s, 503, "The hub's configuration is not valid",
			    "The hub answers nothing until it is.",
			    "The reason stands in journalctl -u fleet-hub, or the web server's error log.");
	} else {
		auth_read(&r, env, &hub->conf);
		s.secure = r.who.secure;
		db_set_address(hub->db, r.who.address);
		route = answer(&r, hub->db, ends, &s);
	}
	ok = response_write(&r, &s);
	if (route && route->report)
		route->report(&r, &s);
	note_use(&r, hub->db);
	alarm(0);
	response_free(&s);
	request_free(&r);
	return ok;
}

/* ---- the two ways to be called --------------------------------------------------------------------- */

static long read_fd(void *from, char *to, size_t n)
{
	ssize_t got;

	do
		got = read(*(int *)from, to, n);
	while (got < 0 && errno == EINTR);
	return got;
}

static long read_fcgi(void *from, char *to, size_t n)
{
	return FCGX_GetStr(to, n > 65536 ? 65536 : (int)n, from);
}

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

static int serve_cgi(struct hub *hub)
{
	struct rlimit cpu = { CPU_SECONDS, CPU_SECONDS }, core = { 0, 0 };
	int in = STDIN_FILENO, out = STDOUT_FILENO;
	struct ends ends = { read_fd, write_fd, &in, &out };

	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_CORE, &core);
	return serve(environ, hub, &ends) ? 0 : 1;
}

static int serve_fcgi(struct hub *hub)
{
	FCGX_Request request;

	if (FCGX_Init() != 0 || FCGX_InitRequest(&request, 0, 0) != 0)
		return 1;
	while (FCGX_Accept_r(&request) == 0) {
		struct ends ends = { read_fcgi, write_fcgi, request.in, request.out };

		serve(request.envp, hub, &ends);
		FCGX_Finish_r(&request);
	}
	return 0;
}

/* ---- start ------------------------------------------------------------------------------------------ */

/* A file that is not there has nothing to say; one that is not valid opens nothing by half. */
static void configure(struct hub *hub)
{
	const char *path = getenv("OBSERV_HUB_CONFIG");
	struct err e;

	conf_init(&hub->conf);
	if (conf_read(&hub->conf, path ? path : "/etc/observ/hub.conf", &e) == 0)
		return;
	hub->broken = e.code != ENOENT && e.code != EACCES;
	if (path || e.code != ENOENT)
		fprintf(stderr, "fleet_hub: %s\n", e.msg);
}

static int misuse(const char *argument)
{
	struct near n = near_to(text_of(argument + strspn(argument, "-")));
	char hint[NEAR_HINT_SIZE];

	near_try(&n, "version");
	near_try(&n, "print");
	near_try(&n, "help");
	fprintf(stderr,
		"fleet_hub: %s is not an option%s; a web server starts it without any, see fleet_hub "
		"--help\n",
		argument, near_hint(&n, "--", hint));
	return EX_USAGE;
}

static int told(const char *argument)
{
	if (strcmp(argument, "--print-routes") == 0)
		return routes_print(stdout), 0;
	if (strcmp(argument, "--print-openapi") == 0)
		return openapi_print(stdout) ? 0 : EX_SOFTWARE;
	if (strcmp(argument, "--print-keys") == 0)
		return conf_print_keys(stdout), 0;
	if (strcmp(argument, "--version") == 0)
		return puts("fleet_hub " OBSERV_VERSION) < 0;
	if (strcmp(argument, "--help") != 0 && strcmp(argument, "-h") != 0)
		return misuse(argument);
	return puts("fleet_hub - the pages of Observ, for a web server's CGI or FastCGI.\n"
		    "The database: OBSERV_DATABASE_URL, else database_url in /etc/observ/hub.conf\n"
		    "(another file: OBSERV_HUB_CONFIG). One page by hand:\n"
		    "  REQUEST_METHOD=GET REQUEST_URI=/ SERVER_ADDR=127.0.0.1 REMOTE_ADDR=127.0.0.1 "
		    "fleet_hub\n"
		    "  --print, --print=pretty\n"
		    "              serve, and write what servers post to standard error: a line each,\n"
		    "              or all of it\n"
		    "  --print-keys    the keys of hub.conf\n"
		    "  --print-openapi what programs may ask, as OpenAPI\n"
		    "  --print-routes  what each address needs: nothing, a role, a server's token\n"
		    "  --version   print the version\n"
		    "  -h, --help  print this") < 0;
}

/* How to print what servers post: "compact", "pretty"; NULL: the argument says something else. */
static const char *print_of(const char *argument)
{
	return strcmp(argument, "--print") == 0          ? "compact"
	       : strcmp(argument, "--print=pretty") == 0 ? "pretty"
							 : NULL;
}

int main(int argc, char **argv)
{
	const char *url = getenv("OBSERV_DATABASE_URL");
	struct hub hub = { 0 };
	struct err e;
	int status;

	if (argc > 1 && !print_of(argv[1]))
		return told(argv[1]);
	signal(SIGPIPE, SIG_IGN);
	if (auth_init(&e) < 0) {
		fprintf(stderr, "fleet_hub: %s\n", e.msg);
		return 1;
	}
	configure(&hub);
	if (argc > 1)
		hub.conf.print = print_of(argv[1]);
	hub.db = db_new(url && *url ? url : hub.conf.database_url);
	if (!hub.db)
		return 1;
	status = FCGX_IsCGI() ? serve_cgi(&hub) : serve_fcgi(&hub);
	db_free(hub.db);
	conf_free(&hub.conf);
	return status;
}
