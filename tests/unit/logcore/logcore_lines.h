/*
 * logcore_lines.h - a logger whose write(2) calls a test can see one by one.
 *
 * It writes to a SOCK_SEQPACKET socket, where each write(2) is a packet and each read(2)
 * returns one packet.
 */
#ifndef OBSERV_TEST_LOGCORE_LINES_H
#define OBSERV_TEST_LOGCORE_LINES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "logcore/logcore.h"

struct capture {
	struct logcore *log;
	int ends[2];
	size_t len;
	char line[2 * LOGCORE_LINE_MAX];
};

static inline void capture_open(struct capture *c, struct logcore_options options)
{
	int room = 1 << 20;

	assert_return_code(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, c->ends), errno);
	setsockopt(c->ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	options.fd = c->ends[0];
	c->log = logcore_open(&options, NULL, 0);
	assert_non_null(c->log);
}

static inline void capture_close(struct capture *c)
{
	logcore_close(c->log);
	close(c->ends[0]);
	close(c->ends[1]);
}

/* Read the next packet into c->line, terminated; false when there is none. */
static inline bool capture_next(struct capture *c)
{
	ssize_t n = recv(c->ends[1], c->line, sizeof c->line - 1, MSG_DONTWAIT);

	c->len = n > 0 ? (size_t)n : 0;
	c->line[c->len] = '\0';
	return n > 0;
}

/* Parse a line, which must be strict JSON in UTF-8 with one newline, at its end; else NULL. */
static inline struct json_object *parse_line(const char *line, size_t len)
{
	struct json_tokener *t = json_tokener_new();
	struct json_object *o = NULL;

	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	if (len > 0 && memchr(line, '\n', len) == line + len - 1) {
		o = json_tokener_parse_ex(t, line, (int)len - 1);
		if (json_tokener_get_error(t) == json_tokener_continue)
			o = json_tokener_parse_ex(t, "", 1);
		if (json_tokener_get_error(t) != json_tokener_success ||
		    !json_object_is_type(o, json_type_object)) {
			json_object_put(o);
			o = NULL;
		}
	}
	json_tokener_free(t);
	return o;
}

/* The next packet, which must be one line; free it with json_object_put(). */
static inline struct json_object *capture_line(struct capture *c)
{
	struct json_object *o;

	assert_true(capture_next(c));
	o = parse_line(c->line, c->len);
	assert_non_null(o);
	return o;
}

/* A member of the line, and of its context; NULL when there is none. */
static inline struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(o, key, &v);
	return v;
}

static inline struct json_object *field(struct json_object *o, const char *key)
{
	return member(member(o, "context"), key);
}

static inline const char *text(struct json_object *v)
{
	return json_object_get_string(v);
}

static inline struct logcore_counters stats_of(const struct logcore *log)
{
	struct logcore_counters s;

	logcore_stats(log, &s);
	return s;
}

/* A text of n equal characters; free() it. */
static inline char *big(char c, size_t n)
{
	char *s = malloc(n + 1);

	memset(s, c, n);
	s[n] = '\0';
	return s;
}

#endif
