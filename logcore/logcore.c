#include "logcore.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "backtrace.h"
#include "buffers.h"
#include "field.h"
#include "journal.h"
#include "json.h"
#include "leftovers.h"
#include "line.h"
#include "redact.h"
#include "sink.h"

enum {
	SHORT_LINE = 4096,              /* built in a small frame; also what a pipe takes whole */
	JOURNAL_LINE_MAX = 48000,       /* journald splits what is longer than 48 KiB */
	ASYNC_RING = 256 * 1024,
	BUFFER_MAX = 64 * 1024 * 1024,
	ROTATE_MIN = 65536,
	ROTATE_KEEP = 7,
	ROTATE_KEEP_MAX = 10000,
	NAME_ROOM = LOGCORE_NAME_MAX + 2
};

/* Buffers that are filled before they are read; the build sets others to zero. */
#ifdef __has_attribute
#if __has_attribute(uninitialized)
#define UNINITIALIZED __attribute__((uninitialized))
#endif
#endif
#ifndef UNINITIALIZED
#define UNINITIALIZED
#endif

/* What a logger shares with its children. */
struct shared {
	struct sink *sink;
	struct buffers *buffers;        /* NULL: each line is written when it comes */
	size_t line_max;
	bool priority;
	struct redact *redact;
	atomic_uint loggers;            /* that are open; the last one frees this */
};

struct logcore {
	int level;                      /* first: logcore_enabled() in the header reads it */
	bool bound_cut;
	struct shared *shared;
	size_t name_len, bound_len;
	char name[NAME_ROOM];           /* a JSON string */
	char bound[];                   /* "k":v,"k":v as JSON */
};

/* ---- levels ---------------------------------------------------------------------- */

static const struct { char name[9]; int level; } levels[] = {
	/* the first six in the order of logcore_level_index() */
	{ "TRACE", LOGCORE_TRACE },   { "DEBUG", LOGCORE_DEBUG }, { "INFO", LOGCORE_INFO },
	{ "WARNING", LOGCORE_WARNING }, { "ERROR", LOGCORE_ERROR }, { "CRITICAL", LOGCORE_CRITICAL },
	{ "WARN", LOGCORE_WARNING },  { "FATAL", LOGCORE_CRITICAL }, { "OFF", LOGCORE_OFF },
};

const char *logcore_level_name(int level)
{
	return levels[logcore_level_index(level)].name;
}

int logcore_level_number(const char *name)
{
	for (size_t i = 0; name && i < sizeof levels / sizeof *levels; i++)
		if (strcasecmp(name, levels[i].name) == 0)
			return levels[i].level;
	return 0;
}

void logcore_set_level(struct logcore *log, int level)
{
	if (log)
		__atomic_store_n(&log->level, level, __ATOMIC_RELAXED);
}

/* ---- writing --------------------------------------------------------------------- */

/* In place and member by member: a copy would wait for the stores of the clock, and the
 * whole would be cleared first. */
static inline void begin_line(struct line *l, const struct logcore *log, int level, const char *message,
			      size_t message_len, const struct logcore_field *fields)
{
	clock_gettime(CLOCK_REALTIME, &l->time);
	l->level = level;
	l->priority = log->shared->priority;
	l->redact = log->shared->redact;
	l->bound_cut = log->bound_cut;
	l->name = log->name;
	l->name_len = log->name_len;
	l->bound = log->bound;
	l->bound_len = log->bound_len;
	l->message = message;
	l->message_len = message ? message_len & ~LOGCORE_CONSTANT_ : 0;
	l->message_is_safe = message_len & LOGCORE_CONSTANT_;
	l->fields = fields;
	l->caller = NULL;
}

static void put(const struct logcore *log, const struct line *l, const char *bytes, size_t n)
{
	struct shared *to = log->shared;
	int64_t now_us = l->time.tv_sec * INT64_C(1000000) + l->time.tv_nsec / 1000;

	if (!to->buffers || !logcore_buffers_put(to->buffers, l->level, bytes, n, now_us))
		logcore_sink_put(to->sink, bytes, n, now_us);
}

static void count(const struct logcore *log, const struct line *l, struct made made)
{
	if (made.cut || l->bound_cut)
		logcore_sink_count_cut(log->shared->sink);
	if (made.redacted)
		logcore_sink_count_redacted(log->shared->sink, made.redacted);
}

/* A function of its own, so that only long lines need a large frame. */
__attribute__((noinline)) static void write_long(const struct logcore *log, const struct line *l)
{
	UNINITIALIZED char room[LOGCORE_LINE_MAX];
	size_t size = log->shared->line_max;
	struct made made = logcore_line(room, size, SIZE_MAX, l);

	if (made.cut || l->bound_cut)
		made = logcore_line(room, size, size / 4, l);
	count(log, l, made);
	put(log, l, room, made.len);
}

void logcore_write_(const struct logcore *log, int level, const char *message, size_t message_len,
		    const struct logcore_field *fields)
{
	/* On a cache line: one hundredth of the whole cost, measured. */
	UNINITIALIZED _Alignas(64) char room[SHORT_LINE];
	int saved = errno;
	UNINITIALIZED struct line l;
	struct made made;
	size_t size;

	if (!logcore_enabled(log, level))
		return;
	begin_line(&l, log, level, message, message_len, fields);
	l.caller = __builtin_return_address(0);
	size = log->shared->line_max < sizeof room ? log->shared->line_max : sizeof room;
	made = logcore_line(room, size, SIZE_MAX, &l);
	if ((made.cut || l.bound_cut) && size < log->shared->line_max) {
		write_long(log, &l);
	} else {
		if (made.cut || l.bound_cut)
			made = logcore_line(room, size, size / 4, &l);
		count(log, &l, made);
		put(log, &l, room, made.len);
	}
	errno = saved;
}

void logcore_stats(const struct logcore *log, struct logcore_counters *ret)
{
	*ret = (struct logcore_counters){ 0 };
	if (!log)
		return;
	logcore_sink_stats(log->shared->sink, ret);
	if (log->shared->buffers)
		logcore_buffers_count(log->shared->buffers, ret);
}

int logcore_flush(struct logcore *log)
{
	int saved = errno, r;

	if (!log || !log->shared->buffers)
		return 0;
	r = logcore_buffers_flush(log->shared->buffers);
	errno = saved;
	return r;
}

/* ---- opening and closing --------------------------------------------------------- */

/* A logger with room for `bound_room` bytes of fields. */
static struct logcore *make(struct shared *shared, int level, size_t bound_room)
{
	struct logcore *log = malloc(sizeof *log + bound_room);

	if (!log)
		return NULL;
	*log = (struct logcore){ .level = level, .shared = shared };
	atomic_fetch_add(&shared->loggers, 1);
	return log;
}

static void set_name(struct logcore *log, const char *name, size_t len)
{
	struct json j = { .p = log->name, .end = log->name + sizeof log->name, .text_max = SIZE_MAX };

	logcore_json_text(&j, name, len);
	log->name_len = (size_t)(j.p - log->name);
}

static int refuse(char *error, size_t size, int code, const char *what)
{
	if (error && size)
		snprintf(error, size, "%s: %s", what, strerror(code));
	return code;
}

/* Zero the default, and the limits of what depends on the mode. */
static int read_mode(struct logcore_options *o, char *error, size_t error_size)
{
	if (o->mode < LOGCORE_DIRECT || o->mode > LOGCORE_ASYNC)
		return refuse(error, error_size, EINVAL, "mode must be LOGCORE_DIRECT, LOGCORE_BUFFERED or LOGCORE_ASYNC");
	if (o->buffer_size == 0)
		o->buffer_size = o->mode == LOGCORE_ASYNC ? ASYNC_RING : LOGCORE_LINE_MAX;
	if (o->buffer_size < LOGCORE_LINE_MAX || o->buffer_size > BUFFER_MAX)
		return refuse(error, error_size, EINVAL, "buffer_size must be 65536 bytes to 64 MiB");
	if (!o->path && (o->rotate_bytes || o->rotate_seconds || o->no_follow))
		return refuse(error, error_size, EINVAL, "rotate_bytes, rotate_seconds and no_follow need a path");
	if (o->rotate_bytes && o->rotate_bytes < ROTATE_MIN)
		return refuse(error, error_size, EINVAL, "rotate_bytes must be 65536 at least");
	if (o->rotate_keep > ROTATE_KEEP_MAX)
		return refuse(error, error_size, EINVAL, "rotate_keep must be 10000 at most");
	o->rotate_keep = o->rotate_keep ? o->rotate_keep : ROTATE_KEEP;
	return 0;
}

/* Options as this version knows them, from a caller that may know fewer or more. */
static int read_options(struct logcore_options *o, const struct logcore_options *options, size_t size,
			char *error, size_t error_size)
{
	const char *bytes = (const char *)options;
	size_t n;

	*o = (struct logcore_options){ 0 };
	if (!options)
		size = 0;
	else
		memcpy(o, options, size < sizeof *o ? size : sizeof *o);
	for (size_t i = sizeof *o; i < size; i++)
		if (bytes[i])
			return refuse(error, error_size, EINVAL, "an option is newer than this logcore");
	o->fd = o->fd ? o->fd : STDERR_FILENO;
	if (!o->path && !o->no_journal_stream && logcore_is_journal(o->fd))
		o->journal_priority = true;
	if (o->line_max == 0)
		o->line_max = o->journal_priority ? (size_t)JOURNAL_LINE_MAX : (size_t)LOGCORE_LINE_MAX;
	if (o->line_max < LOGCORE_LINE_MIN || o->line_max > LOGCORE_LINE_MAX)
		return refuse(error, error_size, EINVAL, "line_max must be 1024 to 65536 bytes");
	if (o->level < 0)
		return refuse(error, error_size, EINVAL, "level must not be negative");
	if (o->redact < LOGCORE_REDACT_ALL || o->redact > LOGCORE_REDACT_OFF)
		return refuse(error, error_size, EINVAL, "redact is none of enum logcore_redact");
	if (!logcore_redact_count(o->redact_keys, &n) || !logcore_redact_count(o->redact_not, &n))
		return refuse(error, error_size, EINVAL, "redact_keys and redact_not take 100 keys of 1 to 39 letters");
	o->level = o->level ? o->level : LOGCORE_INFO;
	o->name = o->name ? o->name : program_invocation_short_name;
	return read_mode(o, error, error_size);
}

static struct sink *open_sink(const struct logcore_options *o, int *ret_error)
{
	const struct file_options file = {
		.path = o->path,
		.fd = o->fd,
		.no_follow = o->no_follow,
		.rotate_bytes = o->rotate_bytes,
		.rotate_seconds = o->rotate_seconds,
		.rotate_keep = o->rotate_keep,
	};

	return logcore_sink_open(&file, o->name, o->journal_priority, ret_error);
}

static struct buffers *open_buffers(const struct logcore_options *o, struct sink *sink, int *ret_error)
{
	const struct buffers_options b = {
		.size = o->buffer_size,
		.async = o->mode == LOGCORE_ASYNC,
		.block = o->block_when_full,
		.handlers = !o->no_crash_handler,
	};

	return logcore_buffers_open(sink, &b, ret_error);
}

static void close_shared(struct shared *shared)
{
	if (shared->buffers)
		logcore_buffers_close(shared->buffers);
	if (shared->sink)
		logcore_sink_close(shared->sink);
	logcore_redact_close(shared->redact);
	free(shared);
}

static bool fill_shared(struct shared *shared, const struct logcore_options *o, int *ret_error)
{
	if (o->redact < LOGCORE_REDACT_OFF &&
	    !(shared->redact = logcore_redact_open(o->redact_keys, o->redact_not, o->redact == LOGCORE_REDACT_ALL)))
		return false;
	shared->sink = open_sink(o, ret_error);
	if (!shared->sink)
		return false;
	if (o->mode != LOGCORE_DIRECT)
		shared->buffers = open_buffers(o, shared->sink, ret_error);
	return o->mode == LOGCORE_DIRECT || shared->buffers;
}

static struct shared *open_shared(const struct logcore_options *o, int *ret_error)
{
	struct shared *shared = calloc(1, sizeof *shared);

	*ret_error = ENOMEM;
	if (!shared)
		return NULL;
	shared->line_max = o->line_max;
	shared->priority = o->journal_priority;
	if (fill_shared(shared, o, ret_error))
		return shared;
	close_shared(shared);
	return NULL;
}

static struct logcore *open_with(const struct logcore_options *o, int *ret_error)
{
	struct shared *shared = open_shared(o, ret_error);
	struct timespec now;
	struct logcore *log;

	if (!shared)
		return NULL;
	*ret_error = ENOMEM;
	log = make(shared, o->level, 0);
	if (!log) {
		close_shared(shared);
		return NULL;
	}
	set_name(log, o->name, strlen(o->name));
	clock_gettime(CLOCK_REALTIME, &now);
	logcore_leftovers_write(shared->sink, now.tv_sec * INT64_C(1000000));
	logcore_backtrace_prepare();
	return log;
}

static void level_from_environment(struct logcore *log)
{
	const char *name = getenv("LOGCORE_LEVEL");
	int level = logcore_level_number(name);

	if (level)
		log->level = level;
	else if (name && *name)
		logcore_warning(log, "LOGCORE_LEVEL is not a level", logcore_kv("value", name),
				logcore_kv("level", logcore_level_name(log->level)));
}

struct logcore *logcore_open_(const struct logcore_options *options, size_t options_size, char *error,
			      size_t error_size)
{
	struct logcore_options o;
	struct logcore *log = NULL;
	int code = read_options(&o, options, options_size, error, error_size);

	if (code == 0) {
		log = open_with(&o, &code);
		if (!log)
			refuse(error, error_size, code, o.path ? o.path : "logcore");
	}
	if (!log)
		errno = code;
	else if (!o.ignore_environment)
		level_from_environment(log);
	return log;
}

int logcore_reopen(struct logcore *log)
{
	return log ? logcore_file_reopen(logcore_sink_file(log->shared->sink)) : 0;
}

void logcore_close(struct logcore *log)
{
	struct shared *shared;
	struct timespec now;
	int saved = errno;

	if (!log)
		return;
	shared = log->shared;
	clock_gettime(CLOCK_REALTIME, &now);
	logcore_sink_tell(shared->sink, now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000);
	free(log);
	if (atomic_fetch_sub(&shared->loggers, 1) == 1)
		close_shared(shared);
	errno = saved;
}

/* ---- children -------------------------------------------------------------------- */

static void name_child(struct logcore *child, const struct logcore *parent, const char *name)
{
	struct json j = { .p = child->name, .end = child->name + sizeof child->name, .text_max = SIZE_MAX };

	logcore_json_raw(&j, parent->name, parent->name_len);
	if (name && *name) {
		/* The name's opening quote goes over the parent's closing one. */
		char *dot = --j.p;

		if (logcore_json_text(&j, name, strlen(name)))
			*dot = '.';
		else
			j.p++;
	}
	child->name_len = (size_t)(j.p - child->name);
}

struct logcore *logcore_child_(const struct logcore *log, const char *name, const struct logcore_field *fields)
{
	size_t room;
	struct logcore *child, *fitting;
	struct json j;

	if (!log)
		return NULL;
	room = log->shared->line_max / 4;
	child = make(log->shared, __atomic_load_n(&log->level, __ATOMIC_RELAXED), room);
	if (!child)
		return NULL;
	name_child(child, log, name);
	j = (struct json){ .p = child->bound, .end = child->bound + room, .text_max = SIZE_MAX,
			   .redact = log->shared->redact, .caller = __builtin_return_address(0) };
	logcore_json_raw(&j, log->bound, log->bound_len);
	logcore_fields(&j, fields, log->bound_len > 0);
	child->bound_len = (size_t)(j.p - child->bound);
	child->bound_cut = j.cut || log->bound_cut;
	if (j.redacted)
		logcore_sink_count_redacted(log->shared->sink, j.redacted);
	/* Give back what the fields did not need; if that fails it is kept. */
	fitting = realloc(child, sizeof *child + child->bound_len);
	if (fitting)
		child = fitting;
	return child;
}
