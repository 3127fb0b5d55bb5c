#include "check_verdict.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "common/clock.h"
#include "common/parse.h"
#include "common/net/hide.h"

struct verdict {
	const struct check_end *end;
	struct check_sample *s;
	struct check_phases last;       /* of the last request */
	char *message;
};

static void blame(struct verdict *v, enum check_error error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void blame(struct verdict *v, enum check_error error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(v->message, CHECK_MESSAGE_MAX, fmt, ap);
	va_end(ap);
	v->s->error = error;
}

/* Milliseconds since the start of the request; 0: not reached. */
static double ms_of(CURL *easy, CURLINFO what)
{
	curl_off_t us = 0;

	return curl_easy_getinfo(easy, what, &us) ? 0 : (double)us / (double)US_PER_MS;
}

/* How long the phase from *from to `to` took, both since the start; NaN: it was not reached.
 * Sets *from to its end. */
static double phase(double *from, double to)
{
	double took = to - *from;

	if (to <= 0)
		return NAN;
	*from = to;
	return took > 0 ? took : 0;
}

const struct check_phases check_no_phases = { NAN, NAN, NAN, NAN, 0 };

static struct check_phases phases_of(const struct check_end *end)
{
	double at = 0, connected = ms_of(end->easy, CURLINFO_CONNECT_TIME_T);
	struct check_phases p;

	p.dns = phase(&at, ms_of(end->easy, CURLINFO_NAMELOOKUP_TIME_T));
	p.connect = phase(&at, connected > 0 ? connected : end->tcp_ms);
	p.tls = phase(&at, ms_of(end->easy, CURLINFO_APPCONNECT_TIME_T));
	p.first_byte = phase(&at, ms_of(end->easy, CURLINFO_STARTTRANSFER_TIME_T));
	p.all = ms_of(end->easy, CURLINFO_TOTAL_TIME_T);
	return p;
}

static double plus(double a, double b)
{
	return isnan(a) ? b : isnan(b) ? a : a + b;
}

static struct check_phases sum_of(struct check_phases a, struct check_phases b)
{
	return (struct check_phases){ plus(a.dns, b.dns), plus(a.connect, b.connect), plus(a.tls, b.tls),
				      plus(a.first_byte, b.first_byte), a.all + b.all };
}

void check_next_request(struct check_end *end)
{
	end->before = sum_of(end->before, phases_of(end));
	end->stop = GO_ON;
	end->body_bytes = 0;
	end->tcp_ms = 0;
	end->curl_says[0] = '\0';
}

static void read_timings(struct verdict *v)
{
	struct check_sample *s = v->s;
	struct check_phases whole;
	long status = 0;

	curl_easy_getinfo(v->end->easy, CURLINFO_RESPONSE_CODE, &status);
	s->status_code = (int)status;
	v->last = phases_of(v->end);
	whole = sum_of(v->end->before, v->last);
	s->dns_ms = whole.dns;
	s->connect_ms = whole.connect;
	s->tls_ms = whole.tls;
	s->first_byte_ms = whole.first_byte;
	s->response_ms = whole.all;
}

/* The date in "Expire date:Nov 21 02:38:00 2027 GMT", where key is "Expire date:"; 0: none. */
static int64_t certificate_date(const struct curl_slist *fields, const char *key)
{
	size_t n = strlen(key);
	struct tm tm = { 0 };

	for (; fields; fields = fields->next)
		if (strncmp(fields->data, key, n) == 0)
			return strptime(fields->data + n, "%b %d %H:%M:%S %Y", &tm)
				       ? (int64_t)timegm(&tm) * US_PER_S
				       : 0;
	return 0;
}

void check_certificate(CURL *easy, struct check_sample *ret)
{
	struct curl_certinfo *chain = NULL;

	if (curl_easy_getinfo(easy, CURLINFO_CERTINFO, &chain) || !chain || chain->num_of_certs < 1)
		return;
	ret->cert_starts_us = certificate_date(chain->certinfo[0], "Start date:");
	ret->cert_expires_us = certificate_date(chain->certinfo[0], "Expire date:");
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

static void explain_timeout(struct verdict *v)
{
	double seconds = (double)v->end->c->timeout_us / (double)US_PER_S;
	const char *url = NULL;
	bool tls = !curl_easy_getinfo(v->end->easy, CURLINFO_EFFECTIVE_URL, &url) && url &&
		   strncasecmp(url, "https:", 6) == 0;

	if (isnan(v->last.dns))
		blame(v, CHECK_DNS, "The name was not resolved within %g s.", seconds);
	else if (isnan(v->last.connect))
		blame(v, CHECK_TIMEOUT, "No connection within %g s.", seconds);
	else if (tls && isnan(v->last.tls))
		blame(v, CHECK_TIMEOUT, "Connected, but the TLS handshake was not over within %g s.",
		      seconds);
	else if (isnan(v->last.first_byte))
		blame(v, CHECK_TIMEOUT, "Connected, but no answer within %g s.", seconds);
	else
		blame(v, CHECK_TIMEOUT, "The answer was not complete within %g s.", seconds);
}

/* libcurl's messages name hosts, ports and TLS reasons. A peer that redirects chooses the host, so
 * the message may repeat a secret that the peer was sent; a message that was cut may end within one. */
static void explain_by_curl(struct verdict *v, enum check_error error)
{
	const struct secret *secrets = v->end->c->secrets;
	const char *says = v->end->curl_says;
	char hidden[CURL_ERROR_SIZE * 2];
	bool whole = !secrets || (strlen(says) + 1 < CURL_ERROR_SIZE && !secrets_may_be_respelt(secrets));

	if (!*says || !whole || !secrets_hide(secrets, says, hidden, sizeof hidden))
		snprintf(hidden, sizeof hidden, "%s", curl_easy_strerror(v->end->code));
	blame(v, error, "%s.", hidden);
	for (char *c = v->message; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';               /* control characters come from the server */
}

static void explain_code(struct verdict *v)
{
	CURLcode code = v->end->code;
	enum check_error error = CHECK_PROTOCOL;
	long os_errno = 0;

	curl_easy_getinfo(v->end->easy, CURLINFO_OS_ERRNO, &os_errno);
	if (code == CURLE_COULDNT_CONNECT && os_errno) {
		blame(v, CHECK_REFUSED, "No connection: %s.", strerror((int)os_errno));
		return;
	}
	if (code == CURLE_COULDNT_CONNECT)
		error = CHECK_REFUSED;
	else if (code == CURLE_COULDNT_RESOLVE_HOST)
		error = CHECK_DNS;
	else if (is_tls_error(code))
		error = CHECK_TLS;
	explain_by_curl(v, error);
}

static bool status_expected(const struct check_config *c, int status)
{
	for (size_t i = 0; i < c->n_expect_status; i++)
		if (status >= c->expect_status[i].from && status <= c->expect_status[i].to)
			return true;
	return c->n_expect_status == 0 && status >= 200 && status <= 299;
}

/* The transfer went well: judge the answer. */
static void judge_answer(struct verdict *v)
{
	const struct check_config *c = v->end->c;
	const char *why = v->end->headers_withheld
		? " The check's headers were not sent to where a redirect led." : "";

	if (!status_expected(c, v->s->status_code))
		blame(v, CHECK_STATUS, "Status %d is not an expected one.%s", v->s->status_code, why);
	else if (c->expect_body && v->end->stop == BODY_TOO_LONG)
		blame(v, CHECK_BODY, "The expected text is not in the first %d KiB of the body.%s",
		      CHECK_BODY_MAX >> 10, why);
	else if (c->expect_body && v->end->stop != BODY_FOUND)
		blame(v, CHECK_BODY, "The expected text is not in the body (%zu byte%s).%s",
		      v->end->body_bytes, plural((int64_t)v->end->body_bytes), why);
}

/* This process was short of memory, threads or descriptors. */
static bool is_ours(const struct check_end *end)
{
	return end->code == CURLE_OUT_OF_MEMORY || end->code == CURLE_FAILED_INIT ||
	       (end->code == CURLE_COULDNT_CONNECT && end->stop == NO_SOCKET) ||
	       (end->code == CURLE_COULDNT_RESOLVE_HOST && strstr(end->curl_says, "thread failed to start"));
}

static void judge(struct verdict *v)
{
	enum check_stop stop = v->end->stop;

	if (stop == METADATA)
		blame(v, CHECK_PROTOCOL,
		      "A redirect to a link-local address, or to one of cloud metadata, is not followed.");
	else if (stop == TOO_MANY_REDIRECTS)
		blame(v, CHECK_PROTOCOL, "Maximum (%d) redirects followed.", (int)v->end->c->max_redirects);
	else if (stop == NO_REDIRECT_URL)
		blame(v, CHECK_PROTOCOL, "A redirect leads to what is no URL.");
	else if (stop == PACKED_TWICE)
		blame(v, CHECK_PROTOCOL,
		      "The body is compressed more than once (Content-Encoding, Transfer-Encoding).");
	else if (stop == HEADERS_TOO_LONG)
		blame(v, CHECK_PROTOCOL, "More than %d KiB of headers.", CHECK_HEADERS_MAX >> 10);
	else if (stop == ENOUGH || stop == BODY_FOUND || stop == BODY_TOO_LONG || v->end->code == CURLE_OK)
		judge_answer(v);
	else if (v->end->code == CURLE_OPERATION_TIMEDOUT)
		explain_timeout(v);
	else
		explain_code(v);
}

bool check_judge(const struct check_end *end, struct check_sample *ret, char message[CHECK_MESSAGE_MAX])
{
	struct verdict v = { .end = end, .s = ret, .message = message };

	*ret = (struct check_sample){ .error = CHECK_OK };
	read_timings(&v);
	check_certificate(end->easy, ret);
	judge(&v);
	ret->error_message = ret->error ? text_of(message) : (struct text){ NULL, 0 };
	return !is_ours(end);
}
