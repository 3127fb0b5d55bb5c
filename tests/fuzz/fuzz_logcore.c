/*
 * Any fields with any bytes: the result is one line of JSON in UTF-8, and its numbers read
 * back unchanged. The input is a program: a byte chooses a kind of field, then come its key
 * and its value.
 */
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <json-c/json.h>

#include "common/utf8.h"
#include "logcore/logcore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIELDS_MAX = 12 };

static struct input {
	const uint8_t *p;
	size_t left;
} in;

static struct logcore *loggers[3];
static int ends[2];

static void start(void)
{
	static const char *const more[] = { "id", "q", NULL };
	int room = 1 << 20;

	assert(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	for (int i = 0; i < 3; i++) {
		loggers[i] = logcore_open(&(struct logcore_options){
			.name = "fuzz", .fd = ends[0], .ignore_environment = true, .redact = i,
			.redact_keys = more, .line_max = i == 1 ? LOGCORE_LINE_MIN : 0,
		}, NULL, 0);
		assert(loggers[i]);
	}
}

static unsigned take_byte(void)
{
	if (in.left == 0)
		return 0;
	in.left--;
	return *in.p++;
}

/* Up to n bytes, on the heap, so that the sanitizer finds a read behind them. */
static char *take(size_t n, size_t *ret_len)
{
	char *s = malloc(n + 1);

	n = n < in.left ? n : in.left;
	memcpy(s, in.p, n);
	in.p += n;
	in.left -= n;
	*ret_len = n;
	return s;
}

static int64_t take_number(void)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | take_byte();
	return (int64_t)v;
}

/* A text ends at a line end, so that seeds can be written by hand. */
static char *take_line(size_t *ret_len)
{
	const uint8_t *end = in.left ? memchr(in.p, '\n', in.left) : NULL;
	char *s = take(end ? (size_t)(end - in.p) : in.left, ret_len);

	if (end)
		take_byte();
	return s;
}

static struct logcore_field take_text(unsigned kind, const char *key, void **ret_value)
{
	size_t len;
	char *s = kind % 2 ? take_line(&len) : take(take_byte() * 257, &len);
	char *exact = realloc(s, len ? len : 1);

	*ret_value = exact;
	switch (kind / 2 % 3) {
	case 0:
		return logcore_kv_json(key, exact, len);
	case 1:
		return logcore_kv_strn(key, exact, len);
	default:
		return logcore_kv_hex(key, exact, len);
	}
}

static struct logcore_field take_field(char **ret_key, void **ret_value)
{
	unsigned kind = take_byte();
	size_t len;
	double d;
	int64_t n;

	*ret_key = take_line(&len);
	(*ret_key)[len] = '\0';
	*ret_value = NULL;
	if (kind % 16 < 8)
		return take_text(kind % 16, *ret_key, ret_value);
	n = take_number();
	memcpy(&d, &n, sizeof d);
	switch (kind % 16) {
	case 8:
		return logcore_kv_int(*ret_key, n);
	case 9:
		return logcore_kv_double(*ret_key, d);
	case 10:
		return logcore_kv_time(*ret_key, (struct timespec){ n, (long)(n % 1000000001) });
	case 11:
		return logcore_kv_duration(*ret_key, n);
	case 12:
		return logcore_kv_errno((int)n);
	case 13:
		return logcore_kv_backtrace();
	case 14:
		return logcore_source_(*ret_key, (unsigned)n, *ret_key);
	default:
		return logcore_kv_float(*ret_key, (float)d);
	}
}

static void check_number(struct json_object *context, const struct logcore_field *f)
{
	struct json_object *v;

	if (f->type != LOGCORE_TYPE_INT || f->key_len != strlen(f->key) ||
	    !json_object_object_get_ex(context, f->key, &v))
		return;
	if (json_object_is_type(v, json_type_int))
		assert(json_object_get_int64(v) == f->value.i);
}

static void check_line(const struct logcore_field *fields, int n)
{
	static char line[2 * LOGCORE_LINE_MAX];
	ssize_t len = recv(ends[1], line, sizeof line, MSG_DONTWAIT);
	struct json_tokener *t = json_tokener_new();
	struct json_object *o, *context;

	assert(len > 1 && len <= LOGCORE_LINE_MAX && memchr(line, '\n', (size_t)len) == line + len - 1);
	for (size_t i = 0, step; i < (size_t)len - 1; i += step) {
		assert((unsigned char)line[i] >= 0x20);
		step = utf8_sequence(line + i, (size_t)len - i);
		assert(step > 0);
	}
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(t, line, (int)len - 1);
	assert(o && json_tokener_get_error(t) == json_tokener_success);
	if (n == 1 && json_object_object_get_ex(o, "context", &context))
		check_number(context, &fields[0]);
	json_object_put(o);
	json_tokener_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct logcore_field fields[FIELDS_MAX + 1];
	char *keys[FIELDS_MAX], *message;
	void *values[FIELDS_MAX];
	size_t len;
	int n = 0;

	in = (struct input){ data, size };
	if (!loggers[0])
		start();
	message = take_line(&len);
	for (; in.left > 0 && n < FIELDS_MAX; n++)
		fields[n] = take_field(&keys[n], &values[n]);
	fields[n] = logcore_end_();
	for (int i = 0; i < 3; i++) {
		struct logcore *child = logcore_child_(loggers[i], "child", fields);

		logcore_write_(loggers[i], LOGCORE_INFO, message, len, fields);
		check_line(fields, n);
		logcore_write_(child, LOGCORE_ERROR, message, len, fields);
		check_line(fields, 0);
		logcore_close(child);
	}
	while (n-- > 0) {
		free(keys[n]);
		free(values[n]);
	}
	free(message);
	return 0;
}
