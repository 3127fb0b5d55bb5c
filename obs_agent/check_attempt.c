#include "check_attempt.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include "../common/buf.h"
#include "../common/clock.h"
#include "check_guard.h"

enum { MESSAGE_MAX = 512 };

static const int64_t PROBE_MIN_US = 100 * US_PER_MS;    /* less is not worth a second handshake */

/* Why we ended the transfer ourselves. */
enum stop { GO_ON, ENOUGH, BODY_FOUND, BODY_TOO_LONG, HEADERS_TOO_LONG, LINK_LOCAL, OTHER_HOST, NO_SOCKET };

struct attempt {
	struct curl_glue *glue;
	const struct check_config *c;
	CURL *easy;
	struct curl_slist *headers;
	attempt_done_fn done;
	void *data;
	enum stop stop;
	size_t header_bytes, body_bytes;
	struct buf body;                        /* only while expect_body is looked for */
	struct attempt_result result;
	int64_t begin_mono_us;
	char curl_says[CURL_ERROR_SIZE];
	char message[MESSAGE_MAX];
};

/* ---- libcurl's callbacks --------------------------------------------------------------- */

static size_t on_header(char *bytes, size_t size, size_t n, void *data)
{
	struct attempt *a = data;

	(void)bytes;
	a->header_bytes += size * n;
	if (a->header_bytes <= CHECK_HEADERS_MAX)
		return size * n;
	a->stop = HEADERS_TOO_LONG;
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

static enum stop take_body(struct attempt *a, const char *bytes, size_t n)
{
	size_t room;

	a->body_bytes += n;
	if (!a->c->expect_body)
		return a->body_bytes > CHECK_DRAIN_MAX ? ENOUGH : GO_ON;
	room = CHECK_BODY_MAX - a->body.len;
	if (!buf_add(&a->body, bytes, n < room ? n : room))
		return BODY_TOO_LONG;
	if (body_found(&a->body, n < room ? n : room, a->c->expect_body))
		return BODY_FOUND;
	return n > room ? BODY_TOO_LONG : GO_ON;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *data)
{
	struct attempt *a = data;

	a->stop = take_body(a, bytes, size * n);
	return a->stop == GO_ON ? size * n : 0;
}

/* CURLOPT_OPENSOCKETFUNCTION. What the configuration names is trusted; where a
 * redirect leads is not. */
static curl_socket_t open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *s)
{
	struct attempt *a = data;
	long redirects = 0;
	int fd;

	(void)purpose;
	curl_easy_getinfo(a->easy, CURLINFO_REDIRECT_COUNT, &redirects);
	if (redirects > 0 && check_link_local((const struct sockaddr *)&s->addr)) {
		a->stop = LINK_LOCAL;
		return CURL_SOCKET_BAD;
	}
	fd = socket(s->family, s->socktype | SOCK_CLOEXEC, s->protocol);
	if (fd < 0 && errno != EAFNOSUPPORT)
		a->stop = NO_SOCKET;
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
	if (!a->headers || curl_easy_getinfo(a->easy, CURLINFO_EFFECTIVE_URL, &url) || !url ||
	    check_same_origin(url, a->c->url))
		return CURL_PREREQFUNC_OK;
	a->stop = OTHER_HOST;
	return CURL_PREREQFUNC_ABORT;
}

/* ---- how it is set up ------------------------------------------------------------------ */

static bool add_headers(struct attempt *a)
{
	for (const char *const *h = a->c->headers; h && *h; h++) {
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

/* Every limit by hand: libcurl's own defaults follow redirects for ever once they
 * are on, and know no end of a body. No Accept-Encoding, so nothing is unpacked. */
static CURLcode set_up(struct attempt *a)
{
	const struct check_config *c = a->c;
	long ms = (long)(c->timeout_us / US_PER_MS);
	CURLcode r = CURLE_OK;

#define SET(option, value) r = r ? r : curl_easy_setopt(a->easy, option, value)
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
	SET(CURLOPT_ERRORBUFFER, a->curl_says);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, a);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, a);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_OPENSOCKETDATA, a);
	SET(CURLOPT_PREREQFUNCTION, before_request);
	SET(CURLOPT_PREREQDATA, a);
#undef SET
	return r ? r : set_method(a->easy, c->method);
}

static void attempt_free(struct attempt *a)
{
	if (!a)
		return;
	curl_easy_cleanup(a->easy);
	curl_slist_free_all(a->headers);
	buf_free(&a->body);
	free(a);
}

/* ---- what came out ---------------------------------------------------------------------- */

static void fail(struct attempt *a, enum check_error error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void fail(struct attempt *a, enum check_error error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->message, sizeof a->message, fmt, ap);
	va_end(ap);
	a->result.sample.error = error;
}

static double ms_of(CURL *easy, CURLINFO what)
{
	curl_off_t us = 0;

	return curl_easy_getinfo(easy, what, &us) ? 0 : (double)us / (double)US_PER_MS;
}

/* How long the phase took that began at *from and ended at `to`, both since the
 * start; NaN when it was not reached (libcurl says 0 then). */
static double phase(double *from, double to)
{
	double took = to - *from;

	if (to <= 0)
		return NAN;
	*from = to;
	return took > 0 ? took : 0;
}

static void read_timings(struct attempt *a)
{
	struct check_sample *s = &a->result.sample;
	double at = 0;
	long status = 0;

	curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
	s->status_code = (int)status;
	s->dns_ms = phase(&at, ms_of(a->easy, CURLINFO_NAMELOOKUP_TIME_T));
	s->connect_ms = phase(&at, ms_of(a->easy, CURLINFO_CONNECT_TIME_T));
	s->tls_ms = phase(&at, ms_of(a->easy, CURLINFO_APPCONNECT_TIME_T));
	s->first_byte_ms = phase(&at, ms_of(a->easy, CURLINFO_STARTTRANSFER_TIME_T));
	s->response_ms = ms_of(a->easy, CURLINFO_TOTAL_TIME_T);
}

/* "Expire date:Nov 21 02:38:00 2027 GMT" of the server's own certificate; 0: none. */
static int64_t certificate_expiry(CURL *easy)
{
	static const char key[] = "Expire date:";
	struct curl_certinfo *chain = NULL;
	struct tm tm = { 0 };
	const char *end;

	if (curl_easy_getinfo(easy, CURLINFO_CERTINFO, &chain) || !chain || chain->num_of_certs < 1)
		return 0;
	for (struct curl_slist *l = chain->certinfo[0]; l; l = l->next)
		if (strncmp(l->data, key, sizeof key - 1) == 0) {
			end = strptime(l->data + sizeof key - 1, "%b %d %H:%M:%S %Y", &tm);
			return end ? (int64_t)timegm(&tm) * US_PER_S : 0;
		}
	return 0;
}

static bool is_tls_error(CURLcode code)
{
	switch (code) {
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CRL_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_CLIENTCERT:
		return true;
	default:
		return false;
	}
}

static void explain_timeout(struct attempt *a)
{
	const struct check_sample *s = &a->result.sample;
	double seconds = (double)a->c->timeout_us / (double)US_PER_S;
	bool tls = strncasecmp(a->c->url, "https:", 6) == 0;

	if (isnan(s->dns_ms))
		fail(a, CHECK_DNS, "The name was not resolved within %g s.", seconds);
	else if (isnan(s->connect_ms))
		fail(a, CHECK_TIMEOUT, "No connection within %g s.", seconds);
	else if (tls && isnan(s->tls_ms))
		fail(a, CHECK_TIMEOUT, "Connected, but the TLS handshake was not over within %g s.", seconds);
	else if (isnan(s->first_byte_ms))
		fail(a, CHECK_TIMEOUT, "Connected, but no answer within %g s.", seconds);
	else
		fail(a, CHECK_TIMEOUT, "The answer was not complete within %g s.", seconds);
}

/* libcurl's own sentences name hosts, ports and TLS reasons, but no header and no
 * password; other bytes than text come from the server. */
static void explain_code(struct attempt *a, CURLcode code)
{
	enum check_error error = CHECK_PROTOCOL;

	if (code == CURLE_COULDNT_RESOLVE_HOST)
		error = CHECK_DNS;
	else if (code == CURLE_COULDNT_CONNECT)
		error = CHECK_REFUSED;
	else if (is_tls_error(code))
		error = CHECK_TLS;
	for (char *c = a->curl_says; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	fail(a, error, "%s.", a->curl_says[0] ? a->curl_says : curl_easy_strerror(code));
}

static bool status_expected(const struct check_config *c, int status)
{
	for (size_t i = 0; i < c->n_expect_status; i++)
		if (status >= c->expect_status[i].from && status <= c->expect_status[i].to)
			return true;
	return c->n_expect_status == 0 && status >= 200 && status <= 299;
}

/* The transfer went well: is the answer the right one? */
static void judge_answer(struct attempt *a)
{
	const struct check_config *c = a->c;

	if (!status_expected(c, a->result.sample.status_code))
		fail(a, CHECK_STATUS, "Status %d is not an expected one.", a->result.sample.status_code);
	else if (c->expect_body && a->stop == BODY_TOO_LONG)
		fail(a, CHECK_BODY, "The expected text is not in the first %d KiB of the body.",
		     CHECK_BODY_MAX >> 10);
	else if (c->expect_body && a->stop != BODY_FOUND)
		fail(a, CHECK_BODY, "The expected text is not in the body (%zu bytes).", a->body_bytes);
}

/* The scarcity is on our side: no verdict about the target. */
static bool is_ours(const struct attempt *a, CURLcode code)
{
	return code == CURLE_OUT_OF_MEMORY || code == CURLE_FAILED_INIT ||
	       (code == CURLE_COULDNT_CONNECT && a->stop == NO_SOCKET) ||
	       (code == CURLE_COULDNT_RESOLVE_HOST && strstr(a->curl_says, "thread failed to start"));
}

static void judge(struct attempt *a, CURLcode code)
{
	a->result.ours = is_ours(a, code);
	if (a->stop == LINK_LOCAL)
		fail(a, CHECK_PROTOCOL, "A redirect to a link-local address is not followed.");
	else if (a->stop == OTHER_HOST)
		fail(a, CHECK_PROTOCOL, "A redirect to another host is not followed: it would get this check's headers.");
	else if (a->stop == HEADERS_TOO_LONG)
		fail(a, CHECK_PROTOCOL, "More than %d KiB of headers.", CHECK_HEADERS_MAX >> 10);
	else if (a->stop == ENOUGH || a->stop == BODY_FOUND || a->stop == BODY_TOO_LONG || code == CURLE_OK)
		judge_answer(a);
	else if (code == CURLE_OPERATION_TIMEDOUT)
		explain_timeout(a);
	else
		explain_code(a, code);
}

static void finish(struct attempt *a)
{
	struct check_sample *s = &a->result.sample;

	s->error_message = s->error ? text_of(a->message) : (struct text){ NULL, 0 };
	a->done(&a->result, a->data);
	attempt_free(a);
}

static void on_probed(CURL *easy, CURLcode code, void *data)
{
	struct attempt *a = data;

	(void)code;
	a->result.sample.cert_expires_us = certificate_expiry(easy);
	finish(a);
}

/* The certificate was refused, so libcurl did not keep it. Shake hands again
 * without judging, in the time that is left, and hang up. */
static bool probe_certificate(struct attempt *a)
{
	int64_t left_us = a->c->timeout_us - (mono_us() - a->begin_mono_us);
	const char *url = NULL;

	return left_us >= PROBE_MIN_US && !curl_easy_getinfo(a->easy, CURLINFO_EFFECTIVE_URL, &url) && url &&
	       !curl_easy_setopt(a->easy, CURLOPT_URL, url) &&
	       !curl_easy_setopt(a->easy, CURLOPT_TIMEOUT_MS, (long)(left_us / US_PER_MS)) &&
	       !curl_easy_setopt(a->easy, CURLOPT_SSL_VERIFYPEER, 0L) &&
	       !curl_easy_setopt(a->easy, CURLOPT_SSL_VERIFYHOST, 0L) &&
	       !curl_easy_setopt(a->easy, CURLOPT_CONNECT_ONLY, 1L) &&
	       curl_glue_add(a->glue, a->easy, CURL_LANE_SLOW, NULL, on_probed, a, NULL) == 0;
}

static void on_done(CURL *easy, CURLcode code, void *data)
{
	struct attempt *a = data;

	read_timings(a);
	a->result.sample.cert_expires_us = certificate_expiry(easy);
	judge(a, code);
	if (code != CURLE_PEER_FAILED_VERIFICATION || !probe_certificate(a))
		finish(a);
}

static void on_begin(CURL *easy, void *data)
{
	struct attempt *a = data;

	(void)easy;
	a->result.begin_us = wall_us();
	a->begin_mono_us = mono_us();
}

/* ---- the whole -------------------------------------------------------------------------- */

struct attempt *attempt_start(struct curl_glue *g, const struct check_config *c, enum curl_lane lane,
			      attempt_done_fn done, void *data)
{
	struct attempt *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->glue = g;
	a->c = c;
	a->done = done;
	a->data = data;
	a->body = BUF(CHECK_BODY_MAX);
	a->easy = curl_easy_init();
	if (!a->easy || !add_headers(a) || set_up(a) ||
	    curl_glue_add(g, a->easy, lane, on_begin, on_done, a, NULL) < 0) {
		attempt_free(a);
		return NULL;
	}
	return a;
}

void attempt_use(struct attempt *a, const struct check_config *c)
{
	a->c = c;
}

void attempt_cancel(struct attempt *a)
{
	if (!a)
		return;
	curl_glue_remove(a->glue, a->easy);
	attempt_free(a);
}
