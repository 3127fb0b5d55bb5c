#include "shop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { REQUEST_MAX = 4096, PATH_ROOM = 256, PATIENCE_S = 3, BACKLOG = 64 };

/* What the dice are thrown for; other numbers than those of pages.c and worker.c. */
enum { VISIT = 200 };

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

int http_listen(struct shop *s)
{
	struct sockaddr_in a = loopback(s->port);
	socklen_t len = sizeof a;
	int one = 1, error;

	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->listener < 0)
		return -errno;
	setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(s->listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(s->listener, BACKLOG) < 0 ||
	    getsockname(s->listener, (struct sockaddr *)&a, &len) < 0) {
		error = errno;
		close(s->listener);
		return -error;
	}
	s->port = ntohs(a.sin_port);
	return 0;
}

/* Nobody may keep a thread for longer than that by saying nothing. */
static void be_impatient(int fd)
{
	struct timeval t = { .tv_sec = PATIENCE_S };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

static bool send_all(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		bytes += sent;
		n -= (size_t)sent;
	}
	return true;
}

/* Read up to the empty line; the method and the path (without its query) of the
 * first one. False when it is no request. */
static bool read_request(int fd, char method[16], char path[PATH_ROOM])
{
	char text[REQUEST_MAX];
	size_t len = 0;

	for (;;) {
		ssize_t n = recv(fd, text + len, sizeof text - 1 - len, 0);

		if (n <= 0)
			return false;
		len += (size_t)n;
		text[len] = '\0';
		if (strstr(text, "\r\n\r\n"))
			break;
		if (len == sizeof text - 1)
			return false;
	}
	if (sscanf(text, "%15[A-Z] %255[^ ?]", method, path) != 2)
		return false;
	return path[0] == '/';
}

static const char *reason(int status)
{
	switch (status) {
	case 200: return "OK";
	case 404: return "Not Found";
	case 503: return "Service Unavailable";
	default:  return "Internal Server Error";
	}
}

static void send_page(int fd, const char *method, const struct page *p)
{
	char text[sizeof p->body + 256];
	int n = snprintf(text, sizeof text,
			 "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n"
			 "\r\n%s",
			 p->status, reason(p->status), p->type, strlen(p->body),
			 strcmp(method, "HEAD") == 0 ? "" : p->body);

	send_all(fd, text, (size_t)n);
}

static void handle(struct shop *s, struct logcore *log, int fd)
{
	int64_t begin = now_ms();
	char method[16], path[PATH_ROOM];
	struct logcore *request_log;
	struct page page;
	uint64_t request;

	if (!read_request(fd, method, path)) {
		logcore_debug(log, "Not a request");
		return;
	}
	request = ++s->requests;
	/* All lines about one request carry its number. */
	request_log = logcore_child(log, NULL, logcore_kv("request", request));
	shop_page(s, request_log, request, path, &page);
	send_page(fd, method, &page);
	logcore_log(request_log, page.status >= 500 ? LOGCORE_ERROR : LOGCORE_INFO, "Request",
		    logcore_kv("method", method), logcore_kv("path", path), logcore_kv("status", page.status),
		    logcore_kv("ms", now_ms() - begin));
	logcore_close(request_log);
}

static bool closing(struct shop *s)
{
	return !shop_sleep(s, 0);
}

void *http_serve(void *shop)
{
	struct shop *s = shop;
	struct logcore *log = logcore_child(s->log, "http");

	while (!closing(s)) {
		int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
				shop_sleep(s, 100);
			continue;
		}
		be_impatient(fd);
		handle(s, log, fd);
		close(fd);
	}
	logcore_close(log);
	return NULL;
}

static void visit(const struct shop *s, const char *path)
{
	struct sockaddr_in a = loopback(s->port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[512];
	int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);

	if (fd < 0)
		return;
	be_impatient(fd);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && send_all(fd, text, (size_t)n))
		while (recv(fd, text, sizeof text, 0) > 0)
			;
	close(fd);
}

void *http_traffic(void *shop)
{
	static const char *const paths[] = { "/", "/", "/", "/checkout", "/checkout", "/?sort=price",
					     "/favicon.ico" };
	static _Atomic uint64_t visits;
	struct shop *s = shop;
	int threads = s->traffic < TRAFFIC_THREADS ? s->traffic : TRAFFIC_THREADS;
	int64_t next = now_ms(), step = 1000 * threads / s->traffic;

	while (shop_sleep(s, next - now_ms())) {
		visit(s, paths[shop_dice(s, VISIT, visits++, sizeof paths / sizeof *paths)]);
		next += step;
		if (next < now_ms() - 1000)
			next = now_ms();        /* slow pages: do not catch up with a burst */
	}
	return NULL;
}
