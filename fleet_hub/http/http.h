/*
 * http.h - one request in, one response out; CGI/1.1 (RFC 3875) and FastCGI alike.
 *
 * Owns the request's strings (one arena). Promises that every name and value it
 * hands out is valid UTF-8 without NUL, that lengths and counts are limited, and
 * that no response header can be split. What a request brings is read by body.h.
 */
#ifndef FLEET_HUB_HTTP_H
#define FLEET_HUB_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/text.h"

enum {
	HTTP_QUERY_MAX = 8192,          /* bytes of a query string */
	HTTP_PATH_MAX = 8192,           /* a name may have 2,700 bytes, and each be written as %XX */
	HTTP_PARAMS_MAX = 64,
	HTTP_HEADERS_MAX = 4096,        /* bytes of a response's own headers */
	HTTP_BODY_MAX = 32 * 1024 * 1024,
};

/* Bits, so that a route can name several. */
enum http_method {
	HTTP_GET = 1, HTTP_HEAD = 2, HTTP_POST = 4, HTTP_PUT = 8, HTTP_PATCH = 16, HTTP_DELETE = 32,
	HTTP_OPTIONS = 64, HTTP_OTHER = 128,
};

/* What a request has to show: nothing, the session or token of a user who has at least that role, or a token
 * of one of two other kinds, about which the route's own question decides. */
enum role { ROLE_PUBLIC, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN, ROLE_SERVER, ROLE_BOOTSTRAP };

enum {
	HTTP_HASH_SIZE = 67,            /* a hash as PostgreSQL reads it: \x and 64 digits */
	HTTP_TOKEN_SIZE = 56,
	HTTP_ADDRESS_SIZE = 64,
};

/* Who asks, as auth_read() finds it in the request; whether it is true only the database knows. */
struct caller {
	char hash[HTTP_HASH_SIZE];      /* of the token that the request shows; "" for none */
	char csrf[HTTP_TOKEN_SIZE];     /* what the forms of this session carry */
	const char *csrf_sent;          /* the same as a header brings it; NULL: a form may have it */
	bool by_cookie;                 /* the browser sends it by itself, whoever made it ask */
	bool here;                      /* both ends of the connection are this machine */
	bool secure;                    /* the browser came over TLS */
	bool foreign;                   /* the browser says that a page of another site made it ask */
	bool anonymous;                 /* shows nothing, and may read nevertheless */
	char address[HTTP_ADDRESS_SIZE];
	const char *browser;            /* what it says of itself */
	const char *proxy_user;         /* the user whom an authenticating proxy names; NULL: none */
	char proxy_secret[HTTP_HASH_SIZE]; /* the hash of what the proxy proves itself by */
	bool proxy_fault;               /* the proxy's word can't be read: it counts for nothing */
	bool not_noted;                 /* the database wants to know that the session is in use */
	bool is_operator;               /* or admin, as the database said */
	int alerts;                     /* how many fire, as the database said */
	const char *me;                 /* JSON: what the database says of the user; NULL: it was not asked */
};

struct conf;

struct http_param {
	const char *name;
	const char *value;
};

struct request {
	enum http_method method;
	const char *path;               /* decoded, begins with '/' */
	const char *rest;               /* what the '*' of the route stands for */
	const char *base;               /* what stands before the path in a link; "" or "/x" */
	struct http_param param[HTTP_PARAMS_MAX];
	size_t n_params, n_query;       /* those of the address come first */
	const char *theme;              /* "light", "dark", or "" for the browser's own wish */
	const char *accept;
	const struct conf *conf;
	struct caller who;
	char new_token[HTTP_TOKEN_SIZE];        /* made for this request, to be shown once; "" for none */
	char new_password[HTTP_TOKEN_SIZE];     /* likewise */
	const char *origin;             /* of the page that made a browser ask, as in Origin; "" for none */
	const char *host;               /* as the client names it; "" for none */
	const char *idempotency_key;    /* NULL: none */
	const char *if_match;           /* NULL: none */
	const char *content_type;       /* of the body; "" for none */
	const char *content_encoding;
	const char *content_length;
	struct text body;               /* as body_read() leaves it */
	bool data_only;                 /* this address has no page: errors are JSON, too */
	struct arena arena;
	struct arena body_arena;
};

/* How bytes leave; false when the other side is gone. */
typedef bool http_write(void *to, const char *bytes, size_t n);

struct response {
	http_write *write;
	void *to;                       /* for write */
	bool begun;                     /* the head has left: there is no way back */
	bool secure;                    /* it goes over TLS, and so shall those that follow */
	int status;
	const char *type;
	const char *cache;              /* Cache-Control */
	struct buf headers;             /* further ones, by response_header() */
	struct buf body;
};

/* The variable's value in the request's environment, or NULL. */
const char *http_env(char *const *env, const char *name);

/*
 * Read the request that `env` describes. On failure e->code is the HTTP status
 * (400, 414) and the sentence says what is wrong. Free with request_free() in
 * either case.
 */
int request_read(struct request *r, char *const *env, struct err *e);
void request_free(struct request *r);

/* The first parameter of that name, or NULL. */
const char *request_param(const struct request *r, const char *name);

/* A copy, lasting as long as the request, in which what is not UTF-8, and NUL, is U+FFFD. NULL: no memory. */
const char *request_text(struct request *r, struct text t);

/* Take the parameters of a query string or form in, behind those that are there. */
int request_add_query(struct request *r, struct text query, struct err *e);

/* "GET, HEAD": the methods of the set, of which GET brings HEAD. */
void http_method_names(char out[64], unsigned methods);

/* True for a name or an address of the loopback interface, or a unix socket. */
bool http_both_ends_here(char *const *env);

/* The value of the cookie of that name in a Cookie header; the absent span if there is none. */
struct text http_cookie(const char *cookies, const char *wanted);

/* Append t percent-encoded, so that it may stand in a path segment or a query. */
bool http_encode(struct buf *out, struct text t);

/* Append "Name: value"; false, and nothing added, when it does not fit or when the
 * value holds a control character. */
bool response_header(struct response *s, const char *name, const char *value);

/* "Not Found" for 404. */
const char *http_reason(int status);

/* Send it with the security headers that every response carries. One that has begun is left alone. */
bool response_write(const struct request *r, struct response *s);

/* Send the head of a response of unknown length; what follows goes through s->write. */
bool response_begin(struct response *s);
void response_free(struct response *s);

/* True for a path on this site that a redirect may lead to. */
bool http_local_path(const char *path);

#endif
