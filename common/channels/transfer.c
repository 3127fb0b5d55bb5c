#include "transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/loop/worker.h"
#include "common/net/address.h"

enum {
	URL_MAX = 4096,
	BODY_MAX = 1024 * 1024,
	ADDRESS_MAX = 400,
	HEADERS_MAX = 32 * 1024, /* bytes of an answer's headers */
	CONNECT_S = 10,
	SAID_MAX = 4096, /* of SMTP's last answer */
	REPLY_LINE_MAX = 1024, /* of one of its lines */
	CODE_LEN = 3,
	COMMAND_MAX = 12,
};

struct transfer {
	struct curl_glue *glue;
	struct worker *worker; /* of a mail; NULL: over, or none */
	CURL *easy;
	CURLcode code; /* of a mail that is over */
	bool may_be_local;
	struct curl_slist *headers, *recipients;
	struct request request;
	size_t uploaded; /* of a mail */
	struct buf body; /* of the answer */
	size_t header_bytes;
	bool headers_over, enough;
	const char *stopped; /* why it was stopped by us, or NULL */
	char curl_says[CURL_ERROR_SIZE];
	char said[SAID_MAX];       /* SMTP's last answer, its lines as one */
	bool says_more;            /* and more of its lines come */
	char command[COMMAND_MAX]; /* SMTP's last one, but for QUIT */
	bool quits;
	transfer_done *done;
	void *data;
};

void request_init(struct request *r)
{
	*r = (struct request){
		.url = BUF(URL_MAX),
		.body = BUF(BODY_MAX),
		.from = BUF(ADDRESS_MAX),
		.to = BUF(ADDRESS_MAX),
		.answer_max = CHANNEL_ANSWER_MAX,
	};
}

void request_free(struct request *r)
{
	buf_free(&r->url);
	buf_free(&r->body);
	buf_free(&r->from);
	buf_free(&r->to);
	for (size_t i = 0; i < r->n_headers; i++)
		buf_free(&r->header[i]);
	r->n_headers = 0;
}

static bool is_mail(const struct transfer *t)
{
	return t->request.from.len > 0;
}

/* ---- libcurl's callbacks ------------------------------------------------------------------ */

/* libcurl unpacks a transfer coding unasked: a small answer would become a large one. */
static bool is_packed(const char *bytes, size_t n)
{
	static const char name[] = "transfer-encoding:";
	size_t len = sizeof name - 1;

	if (n < len || strncasecmp(bytes, name, len) != 0)
		return false;
	for (bytes += len, n -= len; n && strchr(" \t", *bytes); bytes++)
		n--;
	return n < 7 || strncasecmp(bytes, "chunked", 7) != 0 || memchr(bytes, ',', n);
}

static size_t on_header(char *bytes, size_t size, size_t n, void *data)
{
	struct transfer *t = data;
	long status = 0;

	n *= size;
	t->header_bytes += n;
	if (is_mail(t))
		return n;
	if (t->header_bytes > HEADERS_MAX)
		t->stopped = "the answer's headers are larger than 32 KiB";
	else if (is_packed(bytes, n))
		t->stopped = "the answer has a transfer coding that nobody asked for";
	if (t->stopped)
		return 0;
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	t->headers_over = status >= 200 && n <= 2 && (*bytes == '\r' || *bytes == '\n');
	return n;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *data)
{
	struct transfer *t = data;
	size_t room = t->request.answer_max - t->body.len;

	n *= size;
	t->enough = n > room || !buf_add(&t->body, bytes, n);
	return t->enough ? 0 : n;
}

static size_t on_read(char *to, size_t size, size_t n, void *data)
{
	struct transfer *t = data;
	size_t left = t->request.body.len - t->uploaded;

	n *= size;
	n = n < left ? n : left;
	memcpy(to, t->request.body.data + t->uploaded, n);
	t->uploaded += n;
	return n;
}

/* CURLOPT_OPENSOCKETFUNCTION: here the address is known, whatever name led to it. */
static curl_socket_t open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *s)
{
	struct transfer *t = data;
	int fd;

	(void)purpose;
	if (t->request.connect_before_us && mono_us() > t->request.connect_before_us)
		t->stopped = "this program stood still for too long before it was sent";
	else if (t->request.trusted)
		;
	else if (address_is_metadata(&s->addr))
		t->stopped = "its address is one of cloud metadata or link-local";
	else if (!t->may_be_local && address_is_this_machine(&s->addr))
		t->stopped = "its address is this machine's own; allow that with local_peers in watch.conf";
	if (t->stopped)
		return CURL_SOCKET_BAD;
	fd = socket(s->family, s->socktype | SOCK_CLOEXEC, s->protocol);
	if (fd < 0 && errno != EAFNOSUPPORT)
		t->stopped = "this machine has no socket left";
	return fd;
}

/* Remember the last command, not its arguments: those of AUTH are secrets. */
static void note_command(struct transfer *t, const char *bytes, size_t n)
{
	static const char *const commands[] = { "EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA" };

	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (n >= strlen(commands[i]) && strncmp(bytes, commands[i], strlen(commands[i])) == 0)
			snprintf(t->command, sizeof t->command, "%s", commands[i]);
}

/* A line of an answer: a code, "-" if more lines follow, and a text. It is put behind those before it. */
static void note_line(struct transfer *t, const char *line, size_t n)
{
	CLEANUP(buf_free) struct buf plain = BUF(4L * REPLY_LINE_MAX);
	bool more = n > CODE_LEN && line[CODE_LEN] == '-';
	bool goes_on = t->says_more && n >= CODE_LEN && memcmp(t->said, line, CODE_LEN) == 0;
	size_t before = goes_on ? strlen(t->said) : 0;

	if (n < CODE_LEN || line[0] < '2' || line[0] > '5')
		return;
	t->says_more = more;
	if (before) {
		line += CODE_LEN + 1;
		n = n > CODE_LEN + 1 ? n - (CODE_LEN + 1) : 0;
	}
	message_plain(&plain, (struct text){ line, n < REPLY_LINE_MAX ? n : REPLY_LINE_MAX });
	snprintf(t->said + before, sizeof t->said - before, "%s%.*s", before ? " " : "", (int)plain.len,
		 plain.data ? plain.data : "");
	if (!before && more)
		t->said[CODE_LEN] = ' ';
}

static void note_lines(struct transfer *t, const char *bytes, size_t n)
{
	while (n) {
		const char *end = memchr(bytes, '\n', n);
		size_t len = end ? (size_t)(end - bytes) : n;

		note_line(t, bytes, len && bytes[len - 1] == '\r' ? len - 1 : len);
		bytes += end ? len + 1 : len;
		n -= end ? len + 1 : len;
	}
}

/* The answer to QUIT says nothing, and libcurl would wait for it for long. */
static void begin_quit(struct transfer *t)
{
	t->quits = true;
	curl_easy_setopt(t->easy, CURLOPT_SERVER_RESPONSE_TIMEOUT, 1L);
}

static int on_debug(CURL *easy, curl_infotype type, char *bytes, size_t n, void *data)
{
	struct transfer *t = data;

	(void)easy;
	if (t->quits)
		return 0;
	if (type == CURLINFO_HEADER_OUT && n >= 4 && memcmp(bytes, "QUIT", 4) == 0)
		begin_quit(t);
	else if (type == CURLINFO_HEADER_OUT)
		note_command(t, bytes, n);
	else if (type == CURLINFO_HEADER_IN)
		note_lines(t, bytes, n);
	else if (type == CURLINFO_DATA_OUT)
		snprintf(t->command, sizeof t->command, ".");
	return 0;
}

/* ---- its end ------------------------------------------------------------------------------ */

static void transfer_free(void *data)
{
	struct transfer *t = data;

	if (!t)
		return;
	curl_easy_cleanup(t->easy);
	curl_slist_free_all(t->headers);
	curl_slist_free_all(t->recipients);
	request_free(&t->request);
	buf_free(&t->body);
	free(t);
}

static void transfer_over(struct transfer *t)
{
	if (t->worker)
		worker_free(t->worker); /* frees the transfer, too */
	else
		transfer_free(t);
}

/* Of a mail that was not taken: the server's own words, if it has refused something, and to their end. */
static void read_mail_answer(const struct transfer *t, CURLcode code, const char *why, struct answer *a)
{
	a->said = code == CURLE_OK ? "" : why;
	if (code == CURLE_OK || code == CURLE_OPERATION_TIMEDOUT || t->stopped)
		return;
	if (t->said[0] < '4' || t->says_more)
		return;
	a->status = strtol(t->said, NULL, 10);
	a->said = t->said;
}

static bool on_done(CURL *easy, CURLcode code, void *data)
{
	struct transfer *t = data;
	const char *why = t->stopped ? t->stopped : t->curl_says[0] ? t->curl_says : curl_easy_strerror(code);
	struct answer a = { .retry_after_s = -1,
			    .cut = t->enough,
			    .command = t->command,
			    .said = why,
			    .body = { t->body.data ? t->body.data : "", t->body.len } };
	curl_off_t after = 0;
	long sent = 0;

	curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent);
	a.went_out = is_mail(t) ? t->uploaded > 0 : sent > 0;
	if (is_mail(t)) {
		read_mail_answer(t, code, why, &a);
	} else if (t->headers_over) {
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &a.status);
		if (!curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &after) && after > 0)
			a.retry_after_s = (double)after;
	}
	t->done(t->data, &a);
	transfer_over(t);
	return false;
}

/* ---- mail --------------------------------------------------------------------------------- */

/* libcurl blocks behind the text until the mail server has answered, also in its multi interface: a mail gets
 * a thread of its own. */
static void send_mail(void *data)
{
	struct transfer *t = data;

	t->code = curl_easy_perform(t->easy);
}

static void on_mail_over(void *data)
{
	struct transfer *t = data;

	on_done(t->easy, t->code, t);
}

static int start(struct transfer *t, struct err *e)
{
	const struct worker_job job = { send_mail, transfer_free, t, on_mail_over, t };

	return is_mail(t) ? worker_start(curl_glue_loop(t->glue), &job, &t->worker, e)
			  : curl_glue_add(t->glue, t->easy, CURL_LANE_FAST, NULL, on_done, t, e);
}

/* ---- options ------------------------------------------------------------------------------ */

#define SET(option, value) r = r ? r : curl_easy_setopt(t->easy, option, value)

static CURLcode set_limits(struct transfer *t, const struct transfer_limits *limits)
{
	long timeout_ms = (long)limits->timeout_s * 1000;
	CURLcode r = CURLE_OK;

	SET(CURLOPT_URL, buf_cstr(&t->request.url));
	SET(CURLOPT_TIMEOUT_MS, timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, timeout_ms < CONNECT_S * 1000L ? timeout_ms : CONNECT_S * 1000L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_FRESH_CONNECT, 1L);
	SET(CURLOPT_FORBID_REUSE, 1L);
	SET(CURLOPT_ERRORBUFFER, t->curl_says);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, t);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, t);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_OPENSOCKETDATA, t);
	SET(CURLOPT_USERNAME, t->request.user);
	SET(CURLOPT_PASSWORD, t->request.password);
	if (*limits->ca_file)
		SET(CURLOPT_CAINFO, limits->ca_file);
	t->may_be_local = strcmp(limits->local_peers, "allow") == 0 ||
			  (is_mail(t) && strcmp(limits->local_peers, "mail") == 0);
	return r;
}

static CURLcode set_http(struct transfer *t)
{
	CURLcode r = CURLE_OK;

	for (size_t i = 0; i < t->request.n_headers; i++) {
		struct curl_slist *more = curl_slist_append(t->headers, buf_cstr(&t->request.header[i]));

		if (!more)
			return CURLE_OUT_OF_MEMORY;
		t->headers = more;
	}
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_USERAGENT, "observ/" OBSERV_VERSION);
	SET(CURLOPT_HTTPHEADER, t->headers);
	SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
	SET(CURLOPT_HTTP09_ALLOWED, 0L);
	if (t->request.body.len) {
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->request.body.len);
		SET(CURLOPT_POSTFIELDS, t->request.body.data);
	}
	return r;
}

static CURLcode set_mail(struct transfer *t)
{
	CURLcode r = CURLE_OK;

	t->recipients = curl_slist_append(NULL, buf_cstr(&t->request.to));
	if (!t->recipients)
		return CURLE_OUT_OF_MEMORY;
	SET(CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	SET(CURLOPT_USE_SSL, t->request.must_encrypt ? (long)CURLUSESSL_ALL : (long)CURLUSESSL_NONE);
	SET(CURLOPT_MAIL_FROM, buf_cstr(&t->request.from));
	SET(CURLOPT_MAIL_RCPT, t->recipients);
	SET(CURLOPT_UPLOAD, 1L);
	SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->request.body.len);
	SET(CURLOPT_READFUNCTION, on_read);
	SET(CURLOPT_READDATA, t);
	SET(CURLOPT_VERBOSE, 1L);
	SET(CURLOPT_DEBUGFUNCTION, on_debug);
	SET(CURLOPT_DEBUGDATA, t);
	return r;
}
#undef SET

struct transfer *transfer_start(struct curl_glue *glue, struct transfer_limits limits, struct request *r,
				transfer_done *done, void *data, struct err *e)
{
	struct transfer *t = calloc(1, sizeof *t);

	if (!t) {
		request_free(r);
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	*t = (struct transfer){ .glue = glue,
				.request = *r,
				.body = BUF(r->answer_max),
				.done = done,
				.data = data,
				.easy = curl_easy_init() };
	request_init(r);
	err_set(e, ENOMEM, "out of memory for a request");
	if (!t->easy || set_limits(t, &limits) || (is_mail(t) ? set_mail(t) : set_http(t)) ||
	    start(t, e) < 0) {
		transfer_free(t);
		return NULL;
	}
	return t;
}

void transfer_cancel(struct transfer *t)
{
	if (!t)
		return;
	if (!t->worker)
		curl_glue_remove(t->glue, t->easy);
	transfer_over(t);
}
