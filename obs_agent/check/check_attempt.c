#include "check_attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/net/address.h"
#include "check_body.h"
#include "check_url.h"
#include "check_verdict.h"
#include "obs_agent/self.h"

enum { METHOD_MAX = 16 };

static const int64_t PROBE_MIN_US = 100 * US_PER_MS;    /* less is not worth a second handshake */

struct attempt {
	struct curl_glue *glue;
	struct check_end end;                   /* with the easy handle and the configuration */
	enum curl_lane lane;
	struct curl_slist *headers;             /* the check's own */
	char *cookie;                           /* the value of one of them */
	struct check_url own;                   /* of the configuration */
	struct check_url at;                    /* of the current request, after a redirect */
	char method[METHOD_MAX];
	int redirects;                          /* followed so far */
	bool was_https;                         /* some request was */
	bool as_it_is;                          /* the body is not decompressed */
	bool probing;                           /* the request only reads the certificate */
	attempt_done_fn done;
	void *data;
	size_t header_bytes;
	int packed;                             /* compressions of the answer, one over the other */
	struct check_body *body;                /* of the answer, while expect_body is looked for */
	struct attempt_result result;
	int64_t begin_mono_us;
	char message[CHECK_MESSAGE_MAX];
};

/* ---- libcurl's callbacks --------------------------------------------------------------- */

static const char *answer_header(const struct attempt *a, const char *name)
{
	struct curl_header *h = NULL;

	return curl_easy_header(a->end.easy, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK ? h->value : NULL;
}

/* Where the answer redirects to; NULL: it does not, or max_redirects is 0. */
static const char *redirect_target(const struct attempt *a)
{
	const char *location;
	long status = 0;

	curl_easy_getinfo(a->end.easy, CURLINFO_RESPONSE_CODE, &status);
	if (a->end.c->max_redirects == 0 || status < 300 || status > 399)
		return NULL;
	location = answer_header(a, "Location");
	return location && location[strspn(location, " \t\r\n")] ? location : NULL;
}

/* How many compressions a list of codings names. */
static int packings(struct text list)
{
	static const char blank[] = " \t\r\n,";
	int n = 0;

	for (size_t i = 0, len; i < list.len; i += len ? len : 1) {
		for (len = 0; i + len < list.len && !memchr(blank, list.s[i + len], sizeof blank);)
			len++;
		n += len && !(len == 7 && strncasecmp(list.s + i, "chunked", len) == 0) &&
		     !(len == 8 && strncasecmp(list.s + i, "identity", len) == 0);
	}
	return n;
}

/* A body that is compressed twice can grow without limit between two calls of on_body(). libcurl
 * decompresses the transfer unasked, the content only for expect_body. */
static bool packed_twice(struct attempt *a, struct text header)
{
	static const struct { const char *name; bool unasked; } rows[] = {
		{ "transfer-encoding:", true }, { "content-encoding:", false },
	};

	if (header.len >= 5 && memcmp(header.s, "HTTP/", 5) == 0)
		a->packed = 0;                  /* another answer */
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n = strlen(rows[i].name);

		if ((rows[i].unasked || a->end.c->expect_body) && header.len > n &&
		    strncasecmp(header.s, rows[i].name, n) == 0)
			a->packed += packings((struct text){ header.s + n, header.len - n });
	}
	return a->packed > 1;
}

static size_t on_header(char *bytes, size_t size, size_t n, void *data)
{
	struct attempt *a = data;

	a->header_bytes += size * n;
	if (a->header_bytes > CHECK_HEADERS_MAX)
		a->end.stop = HEADERS_TOO_LONG;
	else if (packed_twice(a, (struct text){ bytes, size * n }))
		a->end.stop = PACKED_TWICE;
	else
		return size * n;
	return 0;
}

static enum check_stop take_body(struct attempt *a, const char *bytes, size_t n)
{
	size_t room = CHECK_BODY_MAX - a->end.body_bytes;
	const char *type = NULL;

	if (redirect_target(a))
		return REDIRECTED;
	if (!a->end.c->expect_body) {
		a->end.body_bytes += n;
		return a->end.body_bytes > CHECK_DRAIN_MAX ? ENOUGH : GO_ON;
	}
	if (!a->body)
		a->body = check_body_new(a->end.c->expect_body);
	curl_easy_getinfo(a->end.easy, CURLINFO_CONTENT_TYPE, &type);
	if (!a->body)
		return BODY_TOO_LONG;           /* out of memory */
	a->end.body_bytes += n < room ? n : room;
	if (check_body_take(a->body, type, bytes, n < room ? n : room))
		return BODY_FOUND;
	return n > room ? BODY_TOO_LONG : GO_ON;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *data)
{
	struct attempt *a = data;

	a->end.stop = take_body(a, bytes, size * n);
	return a->end.stop == GO_ON ? size * n : 0;
}

/* CURLOPT_OPENSOCKETFUNCTION. What the configuration names is trusted; where a
 * redirect leads is not. */
static curl_socket_t open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *s)
{
	struct attempt *a = data;
	int fd;

	(void)purpose;
	if (a->redirects > 0 && address_is_metadata((const struct sockaddr *)&s->addr)) {
		a->end.stop = METADATA;
		return CURL_SOCKET_BAD;
	}
	fd = socket(s->family, s->socktype | SOCK_CLOEXEC, s->protocol);
	if (fd < 0 && errno != EAFNOSUPPORT)
		a->end.stop = NO_SOCKET;
	return fd;
}

/* CURLOPT_SSL_CTX_FUNCTION. Tells a handshake that hangs from a connection that
 * does: libcurl 7.88 notes no time before both are over. */
static CURLcode before_handshake(CURL *easy, void *ssl_ctx, void *data)
{
	struct attempt *a = data;

	(void)easy;
	(void)ssl_ctx;
	a->end.tcp_ms = (double)(mono_us() - a->begin_mono_us) / (double)US_PER_MS;
	return CURLE_OK;
}

/* ---- how it is set up ------------------------------------------------------------------ */

/* A Cookie header is given to libcurl apart, which joins it with the cookies of answers. */
static bool add_headers(struct attempt *a)
{
	static const char cookie[] = "Cookie:";

	for (const char *const *h = a->end.c->headers; h && *h; h++) {
		struct curl_slist *more;

		if (strncasecmp(*h, cookie, sizeof cookie - 1) == 0) {
			free(a->cookie);
			a->cookie = strdup(*h + sizeof cookie - 1 + strspn(*h + sizeof cookie - 1, " "));
			if (!a->cookie)
				return false;
			continue;
		}
		more = curl_slist_append(a->headers, *h);
		if (!more)
			return false;
		a->headers = more;
	}
	return true;
}

/* POST, PUT and PATCH send an empty body with its length: servers want one (status 411). */
static CURLcode set_method(CURL *easy, const char *method)
{
	bool body = strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
	bool head = strcmp(method, "HEAD") == 0, get = strcmp(method, "GET") == 0;
	CURLcode r = curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);

	if (head)
		r = r ? r : curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	if (body)
		r = r ? r : curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
	return r ? r : curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, get || head ? NULL : method);
}

/* libcurl keeps the certificate authorities from one transfer to the next, but not
 * together with a folder of them: 20 ms of CPU for each handshake instead of 2. Where
 * there is a bundle, the folder holds the same. */
static void share_authorities(CURL *easy)
{
	const char *bundle = NULL;

	if (!curl_easy_getinfo(easy, CURLINFO_CAINFO, &bundle) && bundle && access(bundle, R_OK) == 0)
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
}

#define SET(option, value) r = r ? r : curl_easy_setopt(a->end.easy, option, value)

/* The options that change from one request of an attempt to the next. The check's own headers,
 * cookie and password may be secrets of its host: no other host gets them, nor http after https. */
static CURLcode set_request(struct attempt *a)
{
	int64_t left_ms = (a->end.c->timeout_us - (mono_us() - a->begin_mono_us)) / US_PER_MS;
	bool own = !a->end.headers_withheld;
	const struct check_url *login = a->at.user ? &a->at : &a->own;  /* a redirect may name another */
	CURLcode r = set_method(a->end.easy, a->method);

	SET(CURLOPT_URL, a->at.url ? a->at.url : a->own.url);
	SET(CURLOPT_USERNAME, own || a->at.user ? login->user : NULL);
	SET(CURLOPT_PASSWORD, own || a->at.user ? login->password : NULL);
	SET(CURLOPT_HTTPHEADER, own ? a->headers : NULL);
	SET(CURLOPT_COOKIE, own ? a->cookie : NULL);
	SET(CURLOPT_TIMEOUT_MS, left_ms > 0 ? (long)left_ms : 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, left_ms > 0 ? (long)left_ms : 1L);
	return r;
}

/* Every limit is set here: libcurl does not limit bodies by default. follow() follows
 * redirects, so that each is judged before anything is sent. Compressed bodies are
 * accepted only if expect_body needs the text. */
static CURLcode set_options(struct attempt *a)
{
	const struct check_config *c = a->end.c;
	CURLcode r = CURLE_OK;

	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_USERAGENT, "observ/" OBSERV_VERSION);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_COOKIEFILE, c->max_redirects > 0 ? "" : NULL);
	SET(CURLOPT_ACCEPT_ENCODING, c->expect_body ? "" : NULL);
	SET(CURLOPT_FRESH_CONNECT, 1L);
	SET(CURLOPT_FORBID_REUSE, 1L);
	SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L);
	SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
	SET(CURLOPT_SSL_VERIFYPEER, c->verify_tls ? 1L : 0L);
	SET(CURLOPT_SSL_VERIFYHOST, c->verify_tls ? 2L : 0L);
	SET(CURLOPT_CERTINFO, 1L);
	SET(CURLOPT_ERRORBUFFER, a->end.curl_says);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, a);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, a);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_OPENSOCKETDATA, a);
	share_authorities(a->end.easy);
	/* Not with every TLS library; then such a timeout is said less exactly. */
	curl_easy_setopt(a->end.easy, CURLOPT_SSL_CTX_FUNCTION, before_handshake);
	curl_easy_setopt(a->end.easy, CURLOPT_SSL_CTX_DATA, a);
	return r;
}
#undef SET

static void attempt_free(struct attempt *a)
{
	if (!a)
		return;
	curl_easy_cleanup(a->end.easy);
	curl_slist_free_all(a->headers);
	free(a->cookie);
	check_url_free(&a->own);
	check_url_free(&a->at);
	check_body_free(a->body);
	free(a);
}

/* ---- redirects -------------------------------------------------------------------------- */

/* As in browsers and curl: 303 continues with GET, 301 and 302 turn POST into GET. */
static void change_method(struct attempt *a, long status)
{
	bool to_get = status == 303 ? strcmp(a->method, "HEAD") != 0
				    : (status == 301 || status == 302) && strcmp(a->method, "POST") == 0;

	if (to_get)
		snprintf(a->method, sizeof a->method, "GET");
}

/* May the check's own headers and password go to `to`? */
static bool may_carry(const struct attempt *a, const char *to)
{
	return check_url_may_carry(a->own.url, to) && (check_url_is_https(to) || !a->was_https);
}

/* Set up the request that `location` asks for. False: it is refused, and a->end says why. */
static bool follow(struct attempt *a, const char *location)
{
	const char *from = a->at.url ? a->at.url : a->own.url;
	struct check_url next;
	long status = 0;

	curl_easy_getinfo(a->end.easy, CURLINFO_RESPONSE_CODE, &status);
	a->end.stop = NO_REDIRECT_URL;
	if (!check_url_parse(from, location, &next))
		return false;
	a->end.stop = TOO_MANY_REDIRECTS;
	if (a->redirects == a->end.c->max_redirects) {
		check_url_free(&next);
		return false;
	}
	a->redirects++;
	a->was_https |= check_url_is_https(from);
	check_url_free(&a->at);
	a->at = next;
	a->end.headers_withheld = !may_carry(a, next.url) && (a->headers || a->cookie || a->own.user);
	change_method(a, status);
	check_next_request(&a->end);
	a->end.code = set_request(a);
	return a->end.code == CURLE_OK;
}

/* ---- its end ---------------------------------------------------------------------------- */

static bool finish(struct attempt *a)
{
	a->done(&a->result, a->data);
	attempt_free(a);
	return false;
}

/* libcurl does not keep a certificate that it refused. Repeat the handshake without
 * verification, in the time that is left, and hang up. */
static bool probe_certificate(struct attempt *a)
{
	int64_t left_us = a->end.c->timeout_us - (mono_us() - a->begin_mono_us);

	a->probing = left_us >= PROBE_MIN_US &&
		     !curl_easy_setopt(a->end.easy, CURLOPT_TIMEOUT_MS, (long)(left_us / US_PER_MS)) &&
		     !curl_easy_setopt(a->end.easy, CURLOPT_SSL_VERIFYPEER, 0L) &&
		     !curl_easy_setopt(a->end.easy, CURLOPT_SSL_VERIFYHOST, 0L) &&
		     !curl_easy_setopt(a->end.easy, CURLOPT_CONNECT_ONLY, 1L);
	return a->probing;
}

/* Some servers put other things into Content-Encoding ("utf-8"), and browsers ignore those. libcurl
 * does not: ask again, without decompression. */
static bool ask_as_it_is(struct attempt *a)
{
	static const char *const codings[] = { "gzip", "x-gzip", "deflate", "br", "zstd", "compress" };
	const char *coding = answer_header(a, "Content-Encoding");

	if (a->end.code != CURLE_BAD_CONTENT_ENCODING || a->as_it_is || !coding ||
	    strcmp(a->method, "GET") != 0)
		return false;
	for (size_t i = 0; i < sizeof codings / sizeof *codings; i++)
		if (strcasestr(coding, codings[i]))
			return false;
	a->as_it_is = true;
	check_next_request(&a->end);
	return !curl_easy_setopt(a->end.easy, CURLOPT_ACCEPT_ENCODING, NULL) && !set_request(a);
}

/* True: another request is set up. */
static bool on_done(CURL *easy, CURLcode code, void *data)
{
	struct attempt *a = data;
	const char *location = NULL, *type = NULL;

	if (a->probing) {
		check_certificate(easy, &a->result.sample);
		return finish(a);
	}
	a->end.code = code;
	if (ask_as_it_is(a))
		return true;
	if (code == CURLE_OK || a->end.stop == REDIRECTED)
		location = redirect_target(a);
	if (location && follow(a, location))
		return true;
	curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
	if (a->body && a->end.stop == GO_ON && check_body_end(a->body, type))
		a->end.stop = BODY_FOUND;
	a->result.ours = !check_judge(&a->end, &a->result.sample, a->message);
	return (code == CURLE_PEER_FAILED_VERIFICATION && probe_certificate(a)) || finish(a);
}

static bool on_begin(CURL *easy, void *data)
{
	struct attempt *a = data;
	int64_t most = a->lane == CURL_LANE_FAST ? CHECK_THREADS_FAST : CHECK_THREADS_SLOW;

	(void)easy;
	a->result.begin_us = wall_us();
	a->begin_mono_us = mono_us();
	return (!check_url_has_name(a->own.url) || self_threads() <= most) && !set_request(a);
}

/* ---- the whole -------------------------------------------------------------------------- */

struct attempt *attempt_start(struct curl_glue *g, const struct check_config *c, enum curl_lane lane,
			      attempt_done_fn done, void *data)
{
	struct attempt *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->glue = g;
	a->lane = lane;
	a->end.c = c;
	a->done = done;
	a->data = data;
	a->end.before = check_no_phases;
	a->end.easy = curl_easy_init();
	snprintf(a->method, sizeof a->method, "%s", c->method);
	/* libcurl says what is wrong with a URL that can't be parsed. */
	if (!check_url_parse(NULL, c->url, &a->own))
		a->own.url = strdup(c->url);
	if (!a->own.url || !a->end.easy || !add_headers(a) || set_options(a) ||
	    curl_glue_add(g, a->end.easy, lane, on_begin, on_done, a, NULL) < 0) {
		attempt_free(a);
		return NULL;
	}
	return a;
}

void attempt_use(struct attempt *a, const struct check_config *c)
{
	a->end.c = c;
}

void attempt_cancel(struct attempt *a)
{
	if (!a)
		return;
	curl_glue_remove(a->glue, a->end.easy);
	attempt_free(a);
}
