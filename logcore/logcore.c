#include "logcore.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "logcore/buffered/leftovers.h"

#include "backtrace.h"
#include "field.h"
#include "json.h"
#include "line.h"
#include "options.h"
#include "shared.h"
#include "timestamp.h"

enum {
	SHORT_LINE = 4096,              /* fits a small stack frame; also what a pipe takes whole */
	NAME_ROOM = LOGCORE_NAME_MAX + 2
};

/* For buffers that are filled before they are read: the build clears all others. */
#ifdef __has_attribute
#if __has_attribute(uninitialized)
#define UNINITIALIZED __attribute__((uninitialized))
#endif
#endif
#ifndef UNINITIALIZED
#define UNINITIALIZED
#endif

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

/* The minimum level to compare with: LOGCORE_OFF is above any level of a line. */
static int minimum(int level)
{
	return level == LOGCORE_OFF ? INT_MAX : level;
}

void logcore_set_level(struct logcore *log, int level)
{
	if (log)
		__atomic_store_n(&log->level, minimum(level), __ATOMIC_RELAXED);
}

/* ---- writing --------------------------------------------------------------------- */

/* Member by member: a compound literal would clear the whole first and then wait for the
 * stores of the clock. */
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

static void count(const struct logcore *log, const struct line *l, struct made made)
{
	if (made.cut || l->bound_cut)
		logcore_sink_count_cut(log->shared->sink);
	if (made.redacted)
		logcore_sink_count_redacted(log->shared->sink, made.redacted);
}

/* Not inlined, so that only long lines need a large frame. */
__attribute__((cold, noinline)) static void write_long(const struct logcore *log, const struct line *l)
{
	UNINITIALIZED char room[LOGCORE_LINE_MAX];
	size_t size = log->shared->line_max;
	struct made made = logcore_line(room, size, SIZE_MAX, l);

	if (made.cut || l->bound_cut)
		made = logcore_line(room, size, size / 4, l);
	count(log, l, made);
	logcore_shared_put(log->shared, l, room, made.len);
}

void logcore_write_(const struct logcore *log, int level, const char *message, size_t message_len,
		    const struct logcore_field *fields)
{
	/* Aligned to a cache line, which saves a measured 1 % of the whole cost. */
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
		logcore_shared_put(log->shared, &l, room, made.len);
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

/* A logger with space for `bound_room` bytes of fields. */
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

static struct logcore *open_with(const struct logcore_options *o, int *ret_error)
{
	struct shared *shared = logcore_shared_open(o, ret_error);
	struct logcore *log;

	if (!shared)
		return NULL;
	*ret_error = ENOMEM;
	log = make(shared, minimum(o->level), 0);
	if (!log) {
		logcore_shared_close(shared);
		return NULL;
	}
	set_name(log, o->name, strlen(o->name));
	logcore_leftovers_write(shared->sink, logcore_wall_us());
	logcore_backtrace_prepare();
	return log;
}

static void level_from_environment(struct logcore *log)
{
	const char *name = getenv("LOGCORE_LEVEL");
	int level = logcore_level_number(name);

	if (level)
		log->level = minimum(level);
	else if (name && *name)
		logcore_warning(log, "LOGCORE_LEVEL is not a level", logcore_kv("value", name),
				logcore_kv("level", logcore_level_name(log->level)));
}

struct logcore *logcore_open_(const struct logcore_options *options, size_t options_size, char *error,
			      size_t error_size)
{
	struct logcore_options o;
	struct logcore *log = NULL;
	const char *wrong;
	int code = logcore_options_read(&o, options, options_size, &wrong);

	if (code == 0) {
		wrong = o.path ? o.path : "logcore";
		log = open_with(&o, &code);
	}
	if (!log && error && error_size)
		snprintf(error, error_size, "%s: %s", wrong, strerror(code));
	if (!log)
		errno = code;
	else if (!o.ignore_environment)
		level_from_environment(log);
	return log;
}

int logcore_reopen(struct logcore *log)
{
	int saved = errno, r = log ? logcore_file_reopen(logcore_sink_file(log->shared->sink)) : 0;

	errno = saved;
	return r;
}

void logcore_close(struct logcore *log)
{
	struct shared *shared;
	int saved = errno;

	if (!log)
		return;
	shared = log->shared;
	logcore_sink_tell(shared->sink, logcore_wall_us());
	free(log);
	if (atomic_fetch_sub(&shared->loggers, 1) == 1)
		logcore_shared_close(shared);
	errno = saved;
}

/* ---- children -------------------------------------------------------------------- */

static void name_child(struct logcore *child, const struct logcore *parent, const char *name)
{
	struct json j = { .p = child->name, .end = child->name + sizeof child->name, .text_max = SIZE_MAX };

	logcore_json_raw(&j, parent->name, parent->name_len);
	if (name && *name) {
		/* The name's opening quote overwrites the parent's closing one. */
		char *dot = --j.p;

		if (logcore_json_text(&j, name, strlen(name)))
			*dot = '.';
		else
			j.p++;
	}
	child->name_len = (size_t)(j.p - child->name);
}

struct logcore *logcore_child_(const struct logcore *log, const char *name,
			       const struct logcore_field *fields)
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
	/* Free the space that the fields did not need; keep it if realloc() fails. */
	fitting = realloc(child, sizeof *child + child->bound_len);
	if (fitting)
		child = fitting;
	return child;
}
