/*
 * post.c - the generator of bench/ingest.py: posts one payload after the other, and costs next to nothing.
 *
 *     post PORT SECONDS CONNECTIONS PAYLOAD < TOKENS
 *
 * PAYLOAD is a file with a JSON object that has the member "timestamp": 0, which becomes the time of the
 * post, so that each one is new. TOKENS has a token a line; each connection has its share of them. Each
 * connection is a process that waits for the answer before it sends again. Prints the number of posts; any
 * answer but 200 ends it with a sentence. Owns nothing but its connections.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/parse.h"

enum { TOKENS_MAX = 10000, TOKEN_SIZE = 128, PAYLOAD_MAX = 65536, ANSWER_MAX = 65536, STAMP_SIZE = 20 };

struct bench {
	char tokens[TOKENS_MAX][TOKEN_SIZE];
	size_t n_tokens;
	const char *before, *after; /* of the payload, around the time */
	struct sockaddr_in to;
	double until;
};

static double now_s(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void fail(const char *what, const char *more)
{
	fprintf(stderr, "post: %s: %.300s\n", what, more);
	exit(1);
}

/* The whole answer, which has a Content-Length. */
static void read_answer(int fd, char answer[ANSWER_MAX])
{
	static const char field[] = "Content-Length: ";
	size_t have = 0, want = ANSWER_MAX - 1;

	while (have < want) {
		ssize_t n = read(fd, answer + have, ANSWER_MAX - 1 - have);
		const char *end, *length;

		if (n <= 0)
			fail("the answer ends early", answer);
		have += (size_t)n;
		answer[have] = '\0';
		end = strstr(answer, "\r\n\r\n");
		length = strstr(answer, field);
		if (end && length)
			want = (size_t)(end + 4 - answer) + strtoul(length + strlen(field), NULL, 10);
	}
	if (strncmp(answer, "HTTP/1.1 200", 12) != 0)
		fail("refused", answer);
}

static void post(int fd, const struct bench *b, const char *token)
{
	static char request[PAYLOAD_MAX + 1024], answer[ANSWER_MAX];
	char stamp[STAMP_SIZE];
	int n, stamp_len = snprintf(stamp, sizeof stamp, "%.6f", now_s(CLOCK_REALTIME));

	n = snprintf(request, sizeof request,
		     "POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
		     "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n%s%s%s",
		     token, strlen(b->before) + (size_t)stamp_len + strlen(b->after), b->before, stamp,
		     b->after);
	if (write(fd, request, (size_t)n) != n)
		fail("the request was not sent", "");
	read_answer(fd, answer);
}

static int open_connection(const struct bench *b)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&b->to, sizeof b->to) < 0)
		fail("the hub does not listen", "");
	return fd;
}

/* lighttpd ends a connection after 1,000 requests, so a new one comes before that. */
static long run(const struct bench *b, size_t first, size_t step)
{
	enum { POSTS_A_CONNECTION = 500 };
	int fd = open_connection(b);
	size_t at = first;
	long posts = 0;

	for (; now_s(CLOCK_MONOTONIC) < b->until; posts++) {
		if (posts % POSTS_A_CONNECTION == POSTS_A_CONNECTION - 1) {
			close(fd);
			fd = open_connection(b);
		}
		post(fd, b, b->tokens[at]);
		at = at + step < b->n_tokens ? at + step : first;
	}
	close(fd);
	return posts;
}

static void read_tokens(struct bench *b)
{
	while (b->n_tokens < TOKENS_MAX && fgets(b->tokens[b->n_tokens], TOKEN_SIZE, stdin)) {
		b->tokens[b->n_tokens][strcspn(b->tokens[b->n_tokens], "\n")] = '\0';
		b->n_tokens++;
	}
	if (b->n_tokens == 0)
		fail("no tokens", "write one a line to the standard input");
}

static void read_payload(struct bench *b, const char *path)
{
	static const char member[] = "\"timestamp\": 0";
	static char payload[PAYLOAD_MAX];
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(payload, 1, sizeof payload - 1, f) : 0;
	char *at = n ? strstr(payload, member) : NULL;

	if (!at)
		fail(path, "has no \"timestamp\": 0");
	fclose(f);
	at[sizeof member - 2] = '\0';
	b->before = payload;
	b->after = at + sizeof member - 1;
}

/* Each process tells its number by the pipe. */
static long run_all(const struct bench *b, size_t connections)
{
	long all = 0, posts;
	int to[2], status = 0, bad = 0;

	if (pipe(to) < 0)
		fail("pipe", "");
	for (size_t i = 0; i < connections; i++)
		if (fork() == 0) {
			posts = run(b, i % b->n_tokens, connections);
			_exit(write(to[1], &posts, sizeof posts) != sizeof posts);
		}
	for (size_t i = 0; i < connections; i++) {
		wait(&status);
		bad |= status;
		if (status == 0 && read(to[0], &posts, sizeof posts) == sizeof posts)
			all += posts;
	}
	return bad ? -1 : all;
}

int main(int argc, char **argv)
{
	static struct bench b;
	uint64_t port, seconds, connections;
	long posts;

	if (argc != 5 || !parse_u64(text_of(argv[1]), &port) || port > 65535 ||
	    !parse_u64(text_of(argv[2]), &seconds) || !parse_u64(text_of(argv[3]), &connections) ||
	    connections < 1 || connections > 1000)
		fail("usage", "post PORT SECONDS CONNECTIONS PAYLOAD < TOKENS");
	read_tokens(&b);
	read_payload(&b, argv[4]);
	b.to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	b.until = now_s(CLOCK_MONOTONIC) + (double)seconds;
	posts = run_all(&b, connections);
	printf("%ld\n", posts);
	return posts < 0;
}
