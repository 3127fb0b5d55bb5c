/*
 * Any bytes as the answer to a health check, through libcurl: the attempt ends once, with a result that can
 * be stored, and no other host gets the check's headers.
 *
 * The first byte chooses the check (see check_of); the rest are answers, one for each connection (redirects
 * make more), parted by a byte 1e.
 */
#include <assert.h>
#include <netdb.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

/* check_attempt.c gets one end of a connected pair instead of a socket. */
static int fuzz_socket(int family, int type, int protocol);
#define socket fuzz_socket
#include "obs_agent/check/check_attempt.c"
#undef socket

#include "common/utf8.h"
#include "wire/json_scan.h"
#include "wire/row_json.h"

enum { CONNECTIONS_MAX = 64, REQUEST_MAX = 16384, ROW_MAX = 1 << 16, SEPARATOR = 0x1e };

#define HOST "127.0.0.1:1"
#define SECRET "X-Key: secret"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct text left;               /* of the answers */
	int peer[CONNECTIONS_MAX];      /* the servers' ends */
	size_t n;
	unsigned done;
} world;

/* libcurl's threads call this, so no name is looked up outside. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
	(void)name;
	(void)service;
	(void)hints;
	(void)ret;
	return EAI_NONAME;
}

static struct text next_answer(void)
{
	const char *end = memchr(world.left.s, SEPARATOR, world.left.len);
	struct text t = { world.left.s, end ? (size_t)(end - world.left.s) : world.left.len };

	world.left.s += t.len + (end != NULL);
	world.left.len -= t.len + (end != NULL);
	return t;
}

/* Write the answer before the request arrives, then close. */
static int fuzz_socket(int family, int type, int protocol)
{
	int pair[2];
	struct text answer = next_answer();

	(void)family;
	(void)protocol;
	if (world.n == CONNECTIONS_MAX ||
	    socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	(void)!send(pair[1], answer.s, answer.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(pair[1], SHUT_WR);
	world.peer[world.n++] = pair[1];
	return pair[0];
}

/* libcurl calls this, too: the pair is connected already. */
int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	(void)fd;
	(void)address;
	(void)len;
	return 0;
}

/* The row for the database is JSON that jsonb accepts. */
static void check_row(const struct check_sample *c)
{
	struct sample s = { .kind = SAMPLE_CHECK, .check = *c };
	struct buf row = BUF(ROW_MAX);
	struct json_scan j = { .depth_max = 4 };
	enum json_kind kind;
	struct text value;

	s.check.url = TEXT("http://" HOST "/");
	assert(buf_adds(&row, "[0") && row_add(&row, &s) && buf_addc(&row, ']'));
	j.p = row.data;
	j.end = row.data + row.len;
	assert(utf8_is_clean((struct text){ row.data, row.len }));
	assert(json_value(&j, &kind, &value) && j.p == j.end && !j.unstorable);
	buf_free(&row);
}

static void on_result(const struct attempt_result *r, void *data)
{
	const struct check_sample *s = &r->sample;

	(void)data;
	world.done++;
	assert(s->error <= CHECK_BODY && (s->error == CHECK_OK) == (s->error_message.s == NULL));
	assert(s->error_message.len < CHECK_MESSAGE_MAX);
	assert(!(s->response_ms < 0) && !(s->connect_ms < 0) && !(s->first_byte_ms < 0));
	assert(s->error != CHECK_OK || (s->status_code >= 200 && s->status_code <= 299));
	check_row(s);
}

/* No other host gets the secret. */
static void check_requests(void)
{
	static char request[REQUEST_MAX + 1];

	for (size_t i = 0; i < world.n; i++) {
		ssize_t n = recv(world.peer[i], request, REQUEST_MAX, MSG_DONTWAIT);

		request[n > 0 ? n : 0] = '\0';
		assert(!strstr(request, SECRET) || strstr(request, "\r\nHost: " HOST "\r\n"));
		close(world.peer[i]);
	}
}

static struct check_config check_of(uint8_t bits)
{
	static const char *const methods[] = { "GET", "HEAD", "POST", "OPTIONS" };
	static const char *const headers[] = { SECRET, NULL };

	return (struct check_config){
		.url = "http://" HOST "/health", .method = methods[bits & 3], .timeout_us = US_PER_S,
		.headers = bits & 4 ? headers : NULL, .expect_body = bits & 8 ? "ok" : NULL,
		.max_redirects = bits & 16 ? 5 : 0,
	};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static sd_event *loop;
	static struct curl_glue *glue;
	struct check_config c = check_of(size ? data[0] : 0);
	struct attempt *a;

	if (!loop)
		assert(sd_event_new(&loop) >= 0 && curl_glue_new(loop, 4, &glue, NULL) == 0);
	memset(&world, 0, sizeof world);
	world.left = (struct text){ (const char *)data + (size > 0), size - (size > 0) };
	a = attempt_start(glue, &c, CURL_LANE_FAST, on_result, NULL);
	assert(a);
	while (!world.done)
		assert(sd_event_run(loop, UINT64_MAX) >= 0);
	assert(world.done == 1 && curl_glue_running(glue) == 0);
	check_requests();
	return 0;
}
