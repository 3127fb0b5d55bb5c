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
#include "common/near.h"
#include "routes.h"

enum {
	CPU_SECONDS = 30,     /* a CGI that spins is a mistake of ours: end it */
	REQUEST_SECONDS = 20, /* a database that hangs keeps no time limit: end by SIGALRM */
	CONFIG_MAX = 16 * 1024,
};

/* How bytes come and go: of CGI, or of FastCGI. */
struct ends {
	http_read *read;
	http_write *write;
	void *from, *to;
};

/* ---- one request ------------------------------------------------------------------------------------ */

static void refuse_method(const struct route *route, const struct request *r, struct response *s)
{
	char allowed[64], sentence[128];

	http_method_names(allowed, route->methods);
	response_header(s, "Allow", allowed);
	snprintf(sentence, sizeof sentence, "This address takes %s.", allowed);
	page_error(r, s, 405, "Method not allowed", sentence, NULL);
}

static bool method_fits(const struct route *route, const struct request *r)
{
	return (route->methods & r->method) || (r->method == HTTP_HEAD && (route->methods & HTTP_GET));
}

static void answer(struct request *r, struct db *db, const struct ends *ends, struct response *s)
{
	const struct route *route = route_find(r->path);
	struct err e;

	if (r->role < (route ? route->role : ROLE_VIEWER))
		page_error(r, s, 403, "Only on this machine",
			   "Until sign-in exists the hub answers requests that come from this machine "
			   "itself, over loopback.",
			   "From elsewhere: ssh -L 8080:localhost:8080 this-machine, then open "
			   "http://localhost:8080/");
	else if (!route)
		page_error(r, s, 404, "No such page", "There is nothing at this address.", NULL);
	else if (!method_fits(route, r))
		refuse_method(route, r, s);
	else if (route->body.media && body_read(r, &route->body, ends->read, ends->from, &e) < 0)
		page_error(r, s, e.code, "That can't be read", e.msg, NULL);
	else if (route->answer)
		route->answer(r, s);
	else
		page_answer(route, r, db, s);
}

static bool serve(char *const *env, struct db *db, const struct ends *ends)
{
	struct request r;
	struct response s = { .write = ends->write, .to = ends->to, .body = BUF(HTTP_BODY_MAX) };
	struct err e;
	bool ok;

	alarm(REQUEST_SECONDS);
	if (request_read(&r, env, &e) < 0)
		page_error(&r, &s, e.code, "That address can't be read", e.msg, NULL);
	else
		answer(&r, db, ends, &s);
	ok = response_write(&r, &s);
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

static int serve_cgi(struct db *db)
{
	struct rlimit cpu = { CPU_SECONDS, CPU_SECONDS }, core = { 0, 0 };
	int in = STDIN_FILENO, out = STDOUT_FILENO;
	struct ends ends = { read_fd, write_fd, &in, &out };

	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_CORE, &core);
	return serve(environ, db, &ends) ? 0 : 1;
}

static int serve_fcgi(struct db *db)
{
	FCGX_Request request;

	if (FCGX_Init() != 0 || FCGX_InitRequest(&request, 0, 0) != 0)
		return 1;
	while (FCGX_Accept_r(&request) == 0) {
		struct ends ends = { read_fcgi, write_fcgi, request.in, request.out };

		serve(request.envp, db, &ends);
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
			fprintf(stderr, "fleet_hub: %s: %s\n", path ? path : "/etc/observ/hub.conf",
				strerror(errno));
		return NULL;
	}
	while (fgets(line, CONFIG_MAX, file)) {
		const char *url = setting(line, "database_url");

		if (url)
			return url;
	}
	return NULL;
}

static int misuse(const char *argument)
{
	struct near n = near_to(text_of(argument + strspn(argument, "-")));
	char hint[NEAR_HINT_SIZE];

	near_try(&n, "version");
	near_try(&n, "help");
	fprintf(stderr,
		"fleet_hub: %s is not an option%s; a web server starts it without any, see fleet_hub "
		"--help\n",
		argument, near_hint(&n, "--", hint));
	return EX_USAGE;
}

static int told(const char *argument)
{
	if (strcmp(argument, "--version") == 0)
		return puts("fleet_hub " OBSERV_VERSION) < 0;
	if (strcmp(argument, "--help") != 0 && strcmp(argument, "-h") != 0)
		return misuse(argument);
	return puts("fleet_hub - the pages of Observ, for a web server's CGI or FastCGI.\n"
		    "The database: OBSERV_DATABASE_URL, else database_url in /etc/observ/hub.conf\n"
		    "(another file: OBSERV_HUB_CONFIG). One page by hand:\n"
		    "  REQUEST_METHOD=GET REQUEST_URI=/ SERVER_ADDR=127.0.0.1 REMOTE_ADDR=127.0.0.1 "
		    "fleet_hub\n"
		    "  --version   print the version\n"
		    "  -h, --help  print this") < 0;
}

int main(int argc, char **argv)
{
	const char *url = getenv("OBSERV_DATABASE_URL");
	static char line[CONFIG_MAX];
	struct db *db;
	int status;

	if (argc > 1)
		return told(argv[1]);
	signal(SIGPIPE, SIG_IGN);
	db = db_new(url && *url ? url : configured_url(line));
	if (!db)
		return 1;
	status = FCGX_IsCGI() ? serve_cgi(db) : serve_fcgi(db);
	db_free(db);
	return status;
}
