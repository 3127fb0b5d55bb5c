#include "check_attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "check_guard.h"
#include "check_verdict.h"
#include "obs_agent/self.h"

static const int64_t PROBE_MIN_US = 100 * US_PER_MS;    /* less is not worth a second handshake */

struct attempt {
	struct curl_glue *glue;
	struct check_end end;                   /* with the easy handle and the configuration */
	enum curl_lane lane;
	struct curl_slist *headers;
	attempt_done_fn done;
	void *data;
	size_t header_bytes;
	struct buf body;                        /* only while expect_body is looked for */
	struct attempt_result result;
	int64_t begin_mono_us;
	char message[CHECK_MESSAGE_MAX];
};

/* ---- libcurl's callbacks --------------------------------------------------------------- */

static size_t on_header(char *bytes, size_t size, size_t n, void *data)
{
	struct attempt *a = data;

	(void)bytes;
	a->header_bytes += size * n;
	if (a->header_bytes <= CHECK_HEADERS_MAX)
		return size * n;
	a->end.stop = HEADERS_TOO_LONG;
	return 0;
}

/* Look for the expected text in what is new, and as much before it as could be
 * the text's beginning. */
static bool body_found(const struct buf *body, size_t fresh, const char *want)
{
	size_t len = strlen(want);
	size_t from = body->len - fresh;

	from = from > len ? from - len : 0;
	return memmem(body->data + from, body->len - from, want, len) != NULL;
}

static enum check_stop take_body(struct attempt *a, const char *bytes, size_t n)
{
	size_t room;

	a->end.body_bytes += n;
	if (!a->end.c->expect_body)
		return a->end.body_bytes > CHECK_DRAIN_MAX ? ENOUGH : GO_ON;
	room = CHECK_BODY_MAX - a->body.len;
	if (!buf_add(&a->body, bytes, n < room ? n : room))
		return BODY_TOO_LONG;
	if (body_found(&a->body, n < room ? n : room, a->end.c->expect_body))
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
	long redirects = 0;
	int fd;

	(void)purpose;
	curl_easy_getinfo(a->end.easy, CURLINFO_REDIRECT_COUNT, &redirects);
	if (redirects > 0 && check_link_local((const struct sockaddr *)&s->addr)) {
		a->end.stop = LINK_LOCAL;
		return CURL_SOCKET_BAD;
	}
	fd = socket(s->family, s->socktype | SOCK_CLOEXEC, s->protocol);
	if (fd < 0 && errno != EAFNOSUPPORT)
		a->end.stop = NO_SOCKET;
	return fd;
}

/* CURLOPT_PREREQFUNCTION. The check's own headers may be secrets of its host;
 * libcurl would send most of them to whatever host a redirect names. */
static int before_request(void *data, char *ip, char *local_ip, int port, int local_port)
{
	struct attempt *a = data;
	const char *url = NULL;

	(void)ip;
	(void)local_ip;
	(void)port;
	(void)local_port;
	if (!a->headers || curl_easy_getinfo(a->end.easy, CURLINFO_EFFECTIVE_URL, &url) || !url ||
	    check_same_origin(url, a->end.c->url))
		return CURL_PREREQFUNC_OK;
	a->end.stop = OTHER_HOST;
	return CURL_PREREQFUNC_ABORT;
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

static bool add_headers(struct attempt *a)
{
	for (const char *const *h = a->end.c->headers; h && *h; h++) {
		struct curl_slist *more = curl_slist_append(a->headers, *h);

		if (!more)
			return false;
		a->headers = more;
	}
	return true;
}

static CURLcode set_method(CURL *easy, const char *method)
{
	if (strcmp(method, "GET") == 0)
		return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	if (strcmp(method, "HEAD") == 0)
		return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	if (strcmp(method, "POST") == 0)
		return curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
	return curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
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

/* Every limit by hand: libcurl's own defaults follow redirects for ever once they
 * are on, and know no end of a body. No Accept-Encoding, so nothing is unpacked. */
static CURLcode set_options(struct attempt *a)
{
	const struct check_config *c = a->end.c;
	long ms = (long)(c->timeout_us / US_PER_MS);
	CURLcode r = CURLE_OK;

#define SET(option, value) r = r ? r : curl_easy_setopt(a->end.easy, option, value)
	SET(CURLOPT_URL, c->url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_USERAGENT, "observ/" OBSERV_VERSION);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_HTTPHEADER, a->headers);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_TIMEOUT_MS, ms > 0 ? ms : 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, ms > 0 ? ms : 1L);
	SET(CURLOPT_FOLLOWLOCATION, c->max_redirects > 0 ? 1L : 0L);
	SET(CURLOPT_MAXREDIRS, (long)c->max_redirects);
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
	SET(CURLOPT_PREREQFUNCTION, before_request);
	SET(CURLOPT_PREREQDATA, a);
#undef SET
	share_authorities(a->end.easy);
	/* Not with every TLS library; then such a timeout is said less exactly. */
	curl_easy_setopt(a->end.easy, CURLOPT_SSL_CTX_FUNCTION, before_handshake);
	curl_easy_setopt(a->end.easy, CURLOPT_SSL_CTX_DATA, a);
	return r ? r : set_method(a->end.easy, c->method);
}

static void attempt_free(struct attempt *a)
{
	if (!a)
		return;
	curl_easy_cleanup(a->end.easy);
	curl_slist_free_all(a->headers);
	buf_free(&a->body);
	free(a);
}

/* ---- its end ---------------------------------------------------------------------------- */

static void finish(struct attempt *a)
{
	a->done(&a->result, a->data);
	attempt_free(a);
}

static void on_probed(CURL *easy, CURLcode code, void *data)
{
	struct attempt *a = data;

	(void)code;
	a->result.sample.cert_expires_us = check_certificate_expiry(easy);
	finish(a);
}

/* The certificate was refused, so libcurl did not keep it. Shake hands again
 * without judging, in the time that is left, and hang up. */
static bool probe_certificate(struct attempt *a)
{
	int64_t left_us = a->end.c->timeout_us - (mono_us() - a->begin_mono_us);
	const char *effective = NULL;
	CLEANUP(free_p) char *url = NULL;

	curl_easy_getinfo(a->end.easy, CURLINFO_EFFECTIVE_URL, &effective);
	url = effective ? strdup(effective) : NULL;     /* libcurl's own goes when another is set */
	return left_us >= PROBE_MIN_US && url && !curl_easy_setopt(a->end.easy, CURLOPT_URL, url) &&
	       !curl_easy_setopt(a->end.easy, CURLOPT_TIMEOUT_MS, (long)(left_us / US_PER_MS)) &&
	       !curl_easy_setopt(a->end.easy, CURLOPT_SSL_VERIFYPEER, 0L) &&
	       !curl_easy_setopt(a->end.easy, CURLOPT_SSL_VERIFYHOST, 0L) &&
	       !curl_easy_setopt(a->end.easy, CURLOPT_CONNECT_ONLY, 1L) &&
	       curl_glue_add(a->glue, a->end.easy, CURL_LANE_FAST, NULL, on_probed, a, NULL) == 0;
}

static void on_done(CURL *easy, CURLcode code, void *data)
{
	struct attempt *a = data;

	(void)easy;
	a->end.code = code;
	a->result.ours = !check_judge(&a->end, &a->result.sample, a->message);
	if (code != CURLE_PEER_FAILED_VERIFICATION || !probe_certificate(a))
		finish(a);
}

static bool on_begin(CURL *easy, void *data)
{
	struct attempt *a = data;

	(void)easy;
	a->result.begin_us = wall_us();
	a->begin_mono_us = mono_us();
	return !check_has_name(a->end.c->url) ||
	       self_threads() <= (a->lane == CURL_LANE_FAST ? CHECK_THREADS_FAST : CHECK_THREADS_SLOW);
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
	a->body = BUF(CHECK_BODY_MAX);
	a->end.easy = curl_easy_init();
	if (!a->end.easy || !add_headers(a) || set_options(a) ||
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
