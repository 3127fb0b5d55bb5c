#include "http.h"

#include <errno.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "common/utf8.h"

enum { ARENA_SIZE = 128 * 1024, COOKIE_MAX = 4096 };

static const char security_headers[] =
	"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' "
	"data:; "
	"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'\r\n"
	"X-Content-Type-Options: nosniff\r\n"
	"Referrer-Policy: same-origin\r\n"
	"Cross-Origin-Opener-Policy: same-origin\r\n"
	"Cross-Origin-Resource-Policy: same-origin\r\n";

const char *http_env(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

static const char *env_or_empty(char *const *env, const char *name)
{
	const char *v = http_env(env, name);

	return v ? v : "";
}

/* ---- decoding ------------------------------------------------------------------------- */

/* Undo %XX (and '+' where plus says so) into `to`, which has room for t.len bytes.
 * A '%' that is no escape stands for itself. */
static size_t percent_decode(char *to, struct text t, bool plus)
{
	size_t n = 0;

	for (size_t i = 0; i < t.len; i++) {
		char c = t.s[i];

		if (c == '%' && i + 2 < t.len && hex_value(t.s[i + 1]) >= 0 && hex_value(t.s[i + 2]) >= 0) {
			c = (char)(hex_value(t.s[i + 1]) * 16 + hex_value(t.s[i + 2]));
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		to[n++] = c;
	}
	return n;
}

/* A terminated copy in which what is not UTF-8, and NUL, is U+FFFD. */
static const char *repaired(struct arena *a, struct text t)
{
	char *copy = arena_alloc(a, t.len * UTF8_REPLACEMENT_LEN + 1);
	size_t n = 0;

	if (!copy)
		return NULL;
	for (size_t i = 0; i < t.len;) {
		size_t len = t.s[i] ? utf8_sequence(t.s + i, t.len - i) : 0;

		memcpy(copy + n, len ? t.s + i : UTF8_REPLACEMENT, len ? len : UTF8_REPLACEMENT_LEN);
		n += len ? len : UTF8_REPLACEMENT_LEN;
		i += len ? len : 1;
	}
	copy[n] = '\0';
	return copy;
}

const char *request_text(struct request *r, struct text t)
{
	return repaired(&r->arena, t);
}

static const char *decoded(struct request *r, struct text t, bool plus)
{
	char raw[HTTP_QUERY_MAX];
	size_t n;

	if (t.len > sizeof raw)
		return NULL;
	n = percent_decode(raw, t, plus);
	return repaired(&r->arena, (struct text){ raw, n });
}

static struct text split(struct text *rest, char at)
{
	const char *end = rest->len ? memchr(rest->s, at, rest->len) : NULL;
	struct text head = { rest->s, end ? (size_t)(end - rest->s) : rest->len };

	rest->s += head.len + (end ? 1 : 0);
	rest->len -= head.len + (end ? 1 : 0);
	return head;
}

static int add_param(struct request *r, struct text pair, struct err *e)
{
	struct text value = pair, name = split(&value, '=');
	struct http_param *p = &r->param[r->n_params];

	if (pair.len == 0)
		return 0;
	if (r->n_params == HTTP_PARAMS_MAX)
		return err_set(e, 400, "The address has more than %d parameters.", HTTP_PARAMS_MAX);
	p->name = decoded(r, name, true);
	p->value = decoded(r, value, true);
	if (!p->name || !p->value)
		return err_set(e, 414, "The address is too long.");
	r->n_params++;
	return 0;
}

int request_add_query(struct request *r, struct text query, struct err *e)
{
	if (query.len > HTTP_QUERY_MAX)
		return err_set(e, 414, "The address is longer than %d bytes.", HTTP_QUERY_MAX);
	while (query.len) {
		int rc = add_param(r, split(&query, '&'), e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- reading the request ------------------------------------------------------------------ */

static const struct { const char *name; enum http_method method; } known[] = {
	{ "GET", HTTP_GET },   { "HEAD", HTTP_HEAD },   { "POST", HTTP_POST },
	{ "PUT", HTTP_PUT },   { "PATCH", HTTP_PATCH }, { "DELETE", HTTP_DELETE },
	{ "OPTIONS", HTTP_OPTIONS },
};

static enum http_method read_method(const char *name)
{
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strcmp(name, known[i].name) == 0)
			return known[i].method;
	return HTTP_OTHER;
}

void http_method_names(char out[64], unsigned methods)
{
	size_t n = 0;

	methods |= methods & HTTP_GET ? HTTP_HEAD : 0;
	out[0] = '\0';
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (methods & known[i].method)
			n += (size_t)snprintf(out + n, 64 - n, "%s%s", n ? ", " : "", known[i].name);
}

static bool is_loopback(const char *addr)
{
	return strncmp(addr, "127.", 4) == 0 || strcmp(addr, "::1") == 0 ||
	       strncmp(addr, "::ffff:127.", 11) == 0;
}

static bool is_unix_socket(const char *addr)
{
	return addr[0] == '/' || strncmp(addr, "unix:", 5) == 0;
}

/* A page elsewhere can make a browser send requests here under its own name (DNS
 * rebinding); a request of this machine's user names this machine. */
static bool names_this_machine(const char *host)
{
	size_t n = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
	struct text name = { host, strnlen(host, n) };

	return name.len == 0 || text_eq(name, TEXT("localhost")) || text_eq(name, TEXT("[::1]")) ||
	       (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == name.len);
}

/* Whether a header says that a proxy hands the request on. nginx's plain proxy_pass adds none, and names the
 * hub by its own address; but it speaks HTTP/1.0, as no browser and no current tool does. */
static bool came_by_proxy(char *const *env)
{
	static const char *const begins[] = {
		"HTTP_X_FORWARDED", "HTTP_FORWARDED",   "HTTP_VIA=",       "HTTP_X_REAL_IP",
		"HTTP_X_CLIENT_IP", "HTTP_X_ORIGINAL_", "HTTP_TRUE_CLIENT_IP", "HTTP_CF_",
		"HTTP_X_CLUSTER_CLIENT_IP", "HTTP_FASTLY_", "SERVER_PROTOCOL=HTTP/1.0",
	};

	for (; env && *env; env++)
		for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++)
			if (strncmp(*env, begins[i], strlen(begins[i])) == 0)
				return true;
	return false;
}

/* What is not said counts as elsewhere; so does what a proxy hands on. */
bool http_both_ends_here(char *const *env)
{
	const char *server = env_or_empty(env, "SERVER_ADDR");

	if (came_by_proxy(env) || !names_this_machine(env_or_empty(env, "HTTP_HOST")))
		return false;
	return is_unix_socket(server) ||
	       (is_loopback(server) && is_loopback(env_or_empty(env, "REMOTE_ADDR")));
}

static bool begins_with_path(const char *uri, const char *prefix)
{
	size_t n = strlen(prefix);

	return n && strncmp(uri, prefix, n) == 0 && (uri[n] == '/' || uri[n] == '?' || uri[n] == '\0');
}

/*
 * A server that runs us as /cgi-bin/fleet_hub/logs shows the script's name in the
 * address, and links must too; one that rewrites addresses does not. Over FastCGI
 * servers cut the path into name and info as they like: there we are at the root.
 */
static int read_path(struct request *r, char *const *env, struct err *e)
{
	const char *script = env_or_empty(env, "SCRIPT_NAME");
	const char *uri = env_or_empty(env, "REQUEST_URI");
	bool shown = begins_with_path(uri, script) && !http_env(env, "FCGI_ROLE");
	struct text path = text_of(shown ? uri + strlen(script) : uri);

	path = split(&path, '?');
	if (path.len == 0)
		path = text_of(uri[0] && !shown ? "/" : env_or_empty(env, "PATH_INFO"));
	if (path.len == 0)
		path = TEXT("/");
	if (path.len > HTTP_PATH_MAX)
		return err_set(e, 414, "The address is too long.");
	r->path = decoded(r, path, false);
	r->base = shown && strcmp(script, "/") != 0 ? repaired(&r->arena, text_of(script)) : "";
	if (!r->path || !r->base || r->path[0] != '/')
		return err_set(e, 400, "The address does not begin with a slash.");
	return 0;
}

struct text http_cookie(const char *cookies, const char *wanted)
{
	struct text rest = { cookies, strnlen(cookies, COOKIE_MAX) };

	while (rest.len) {
		struct text value = split(&rest, ';'), name;

		while (value.len && value.s[0] == ' ') {
			value.s++;
			value.len--;
		}
		name = split(&value, '=');
		if (text_eq(name, text_of(wanted)))
			return value;
	}
	return (struct text){ NULL, 0 };
}

/* The value of the theme cookie, if it is one of the words that exist. */
static const char *read_theme(const char *cookies)
{
	struct text value = http_cookie(cookies, "observ_theme");

	return text_eq(value, TEXT("dark")) ? "dark" : text_eq(value, TEXT("light")) ? "light" : "";
}

int request_read(struct request *r, char *const *env, struct err *e)
{
	int rc;

	*r = (struct request){ .arena = ARENA(ARENA_SIZE), .path = "/", .rest = "", .base = "" };
	r->method = read_method(env_or_empty(env, "REQUEST_METHOD"));
	r->theme = read_theme(env_or_empty(env, "HTTP_COOKIE"));
	r->accept = env_or_empty(env, "HTTP_ACCEPT");
	r->content_type = env_or_empty(env, "CONTENT_TYPE");
	r->content_encoding = env_or_empty(env, "HTTP_CONTENT_ENCODING");
	r->content_length = env_or_empty(env, "CONTENT_LENGTH");
	r->host = env_or_empty(env, "HTTP_HOST");
	r->origin = env_or_empty(env, "HTTP_ORIGIN");
	if (http_env(env, "HTTP_IDEMPOTENCY_KEY"))
		r->idempotency_key = request_text(r, text_of(http_env(env, "HTTP_IDEMPOTENCY_KEY")));
	if (http_env(env, "HTTP_IF_MATCH"))
		r->if_match = request_text(r, text_of(http_env(env, "HTTP_IF_MATCH")));
	rc = read_path(r, env, e);
	if (rc == 0)
		rc = request_add_query(r, text_of(env_or_empty(env, "QUERY_STRING")), e);
	r->n_query = r->n_params;
	return rc;
}

void request_free(struct request *r)
{
	arena_free(&r->body_arena);
	arena_free(&r->arena);
}

const char *request_param(const struct request *r, const char *name)
{
	for (size_t i = 0; i < r->n_params; i++)
		if (strcmp(r->param[i].name, name) == 0)
			return r->param[i].value;
	return NULL;
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~' || c == ':';
}

bool http_encode(struct buf *out, struct text t)
{
	static const char digit[] = "0123456789ABCDEF";
	size_t mark = out->len;

	for (size_t i = 0; i < t.len; i++) {
		unsigned char c = (unsigned char)t.s[i];
		char code[3] = { '%', digit[c >> 4], digit[c & 15] };

		if (unreserved(t.s[i]) ? !buf_addc(out, t.s[i]) : !buf_add(out, code, sizeof code)) {
			out->len = mark;
			return false;
		}
	}
	return true;
}

bool response_header(struct response *s, const char *name, const char *value)
{
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return false;
	s->headers.max = HTTP_HEADERS_MAX;
	return buf_addf(&s->headers, "%s: %s\r\n", name, value);
}

const char *http_reason(int status)
{
	static const struct { int status; const char *reason; } reasons[] = {
		{ 200, "OK" },                { 201, "Created" },            { 204, "No Content" },
		{ 303, "See Other" },         { 400, "Bad Request" },        { 401, "Unauthorized" },
		{ 403, "Forbidden" },         { 404, "Not Found" },          { 405, "Method Not Allowed" },
		{ 409, "Conflict" },          { 411, "Length Required" },    { 412, "Precondition Failed" },
		{ 413, "Content Too Large" }, { 414, "URI Too Long" },
		{ 415, "Unsupported Media Type" },
		{ 422, "Unprocessable Content" },  { 429, "Too Many Requests" },
		{ 503, "Service Unavailable" },    { 504, "Gateway Timeout" },
	};

	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Internal Server Error";
}

/* `length`: the body's, or "" when it is not known. 204 has neither a body nor what describes one. */
static bool write_head(struct response *s, const char *length)
{
	CLEANUP(buf_free) struct buf head = BUF(HTTP_HEADERS_MAX * 2);

	s->begun = true;
	return buf_addf(&head, "Status: %d %s\r\nCache-Control: %s\r\n", s->status, http_reason(s->status),
			s->cache ? s->cache : "no-store") &&
	       (s->status == 204 || (buf_addf(&head, "Content-Type: %s\r\n", s->type) &&
				     buf_adds(&head, length))) &&
	       (!s->secure || buf_adds(&head, "Strict-Transport-Security: max-age=31536000\r\n")) &&
	       buf_adds(&head, security_headers) && buf_add(&head, s->headers.data, s->headers.len) &&
	       buf_adds(&head, "\r\n") && s->write(s->to, head.data, head.len);
}

bool response_begin(struct response *s)
{
	return write_head(s, "");
}

bool response_write(const struct request *r, struct response *s)
{
	char length[48];

	if (s->begun)
		return true;
	snprintf(length, sizeof length, "Content-Length: %zu\r\n", s->body.len);
	if (!write_head(s, length))
		return false;
	return r->method == HTTP_HEAD || s->body.len == 0 || s->write(s->to, s->body.data, s->body.len);
}

void response_free(struct response *s)
{
	buf_free(&s->headers);
	buf_free(&s->body);
}

bool http_local_path(const char *path)
{
	if (path[0] != '/' || path[1] == '/' || path[1] == '\\')
		return false;
	for (; *path; path++)
		if ((unsigned char)*path <= 0x20 || *path == 0x7f || *path == '\\')
			return false;
	return true;
}
