/*
 * logcore.h - structured logging for C and C++: one call, one JSON line.
 *
 *	struct logcore *log = logcore_open(&(struct logcore_options){ .name = "billing" }, NULL, 0);
 *
 *	logcore_info(log, "User action", logcore_kv("user_id", 123), logcore_kv("action", "login"));
 *
 *	{"timestamp":"2026-11-21T02:39:14.123456Z","level":"INFO","logger":"billing",
 *	 "message":"User action","context":{"user_id":123,"action":"login"}}    (as one line)
 *
 * Owns the line format and the descriptor. Promises:
 *
 * - A line is one write(2), so threads and processes can share a log file.
 * - The line is in the kernel when the call returns, unless you choose another mode.
 * - Whatever bytes go in, one line of valid JSON in UTF-8 comes out.
 * - Logging takes no lock and allocates nothing; only logcore_open() and
 *   logcore_child() allocate.
 * - No call ends the program or changes errno. Every function accepts a NULL logger
 *   and then does nothing.
 * - Lines that could not be written are counted; once writing works again, a line
 *   reports how many.
 * - Passwords and other secrets are replaced when their key or their form shows them.
 *
 * Leaves out formatting: put numbers into fields, not into the message.
 *
 * You may call every function from any thread, but close a logger only when no other
 * thread uses it. Parent and child may both log after fork().
 *
 * Names that end in an underscore are private, even where they are visible.
 */
#ifndef LOGCORE_H
#define LOGCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#define LOGCORE_CAST_(type, value) (reinterpret_cast<type>(value))
#define LOGCORE_U32_(value) (static_cast<uint32_t>(value))
#define LOGCORE_DOUBLE_(value) (static_cast<double>(value))
#define LOGCORE_INLINE_ inline
#else
#define LOGCORE_CAST_(type, value) ((type)(value))
#define LOGCORE_U32_(value) ((uint32_t)(value))
#define LOGCORE_DOUBLE_(value) ((double)(value))
#define LOGCORE_INLINE_ static inline
#endif

#define LOGCORE_API __attribute__((visibility("default")))

/* How severe a line is. The numbers are those of Python's logging; 0 means "not set". */
enum logcore_level {
	LOGCORE_TRACE = 5,
	LOGCORE_DEBUG = 10,
	LOGCORE_INFO = 20,
	LOGCORE_WARNING = 30,
	LOGCORE_ERROR = 40,
	LOGCORE_CRITICAL = 50,
	LOGCORE_OFF = 60                /* as a minimum level: log nothing */
};

enum {
	LOGCORE_LINE_MAX = 65536,       /* bytes of the longest line, newline included */
	LOGCORE_LINE_MIN = 1024,        /* the least value of line_max */
	LOGCORE_NAME_MAX = 255,         /* bytes of a logger's name, as written; a longer one is cut */
	LOGCORE_DEPTH_MAX = 28          /* of nested JSON; readers accept this and the line's two */
};

/* ---- opening and closing --------------------------------------------------------- */

/* When a line is written. */
enum logcore_mode {
	LOGCORE_DIRECT = 0,             /* at once: it is in the kernel when the call returns */
	LOGCORE_BUFFERED,               /* many at once: see logcore_flush() */
	LOGCORE_ASYNC                   /* by a thread of the library */
};
#define LOGCORE_HAS_MODES 1

/*
 * All zero is a good default: INFO and above to standard error. Later versions add
 * members at the end: name those that you set, and leave the others zero.
 */
struct logcore_options {
	const char *name;               /* the logger; NULL: the program's name */
	const char *path;               /* file to append to, created with mode 0640; NULL: use fd */
	int fd;                         /* an open descriptor, which you keep and close; 0: standard error */
	int level;                      /* the minimum level of a line; 0: LOGCORE_INFO */
	size_t line_max;                /* LOGCORE_LINE_MIN to _MAX; 0: _MAX, 48000 for the journal */
	bool journal_priority;          /* put a priority ("<6>") in front, see sd-daemon(3) */
	bool ignore_environment;        /* ignore LOGCORE_LEVEL */
	bool no_follow;                 /* the path may not be a symbolic link */
	bool block_when_full;           /* LOGCORE_ASYNC: wait for space; else drop the line and count it */
	bool no_crash_handler;          /* install no signal handlers, see logcore_flush() */
	int mode;                       /* enum logcore_mode */
	uint32_t buffer_size;           /* of each thread, 64 KiB to 64 MiB; 0: 64 KiB, if async 256 KiB */
	uint32_t rotate_keep;           /* how many rotated files to keep, up to 10000; 0: 7 */
	uint32_t rotate_seconds;        /* rotate at each multiple of this, in UTC; 0: not by time */
	uint64_t rotate_bytes;          /* rotate before the file is larger, 65536 at least; 0: not by size */
	bool no_journal_stream;         /* do not detect that the descriptor is the journal */

	/* Secrets in lines are replaced: docs/logcore.md tells which. A list ends with NULL and has
	 * at most 100 keys of at most 39 letters. Case, '_', '-', '.' and ' ' do not matter. */
	int redact;                     /* enum logcore_redact; 0: by key and by form */
	const char *const *redact_keys; /* more secret keys; keys that end with one of them are secret, too */
	const char *const *redact_not;  /* keys whose values are no secrets after all */
};

enum logcore_redact {
	LOGCORE_REDACT_ALL = 0,         /* the values of secret keys, and texts that look like a secret */
	LOGCORE_REDACT_KEYS = 1,        /* the values of secret keys */
	LOGCORE_REDACT_OFF = 2          /* nothing */
};

struct logcore;

LOGCORE_API struct logcore *logcore_open_(const struct logcore_options *options, size_t options_size,
					  char *error, size_t error_size);

/*
 * Open a logger. `options` may be NULL and need not outlive the call. The environment
 * variable LOGCORE_LEVEL (a name that logcore_level_number() takes) overrides
 * options->level; if it names no level, a line in the log says so.
 *
 * Without a path, the logger sets journal_priority by itself if systemd connected the
 * descriptor to the journal (JOURNAL_STREAM, see systemd.exec(5)), also with
 * ignore_environment. Set no_journal_stream to prevent this.
 *
 * On failure returns NULL, sets errno, and puts one sentence into `error` (at most
 * error_size bytes, terminated; pass NULL and 0 if nobody reads it). You may continue
 * with the NULL: it logs nothing.
 *
 * A line of up to 4 KiB takes about 5 KiB of stack, a longer one 70 KiB: give
 * threads with small stacks a logger with a line_max of 4096.
 */
LOGCORE_INLINE_ struct logcore *logcore_open(const struct logcore_options *options, char *error,
					     size_t error_size)
{
	return logcore_open_(options, sizeof *options, error, error_size);
}

/*
 * Free a logger. A logger and its children may be closed in any order; the last one
 * closes the descriptor if the library opened it by path.
 */
LOGCORE_API void logcore_close(struct logcore *log);

/*
 * Open the file again by its path. A logger notices within a second that its file was
 * renamed or removed; call this from a SIGHUP handler to do it at once. No line is lost
 * or torn meanwhile. Returns 0, or -errno and keeps the old file. Does nothing for a
 * logger that was given a descriptor.
 */
LOGCORE_API int logcore_reopen(struct logcore *log);

/*
 * Write the buffered lines of all threads (LOGCORE_BUFFERED, LOGCORE_ASYNC). Returns 0,
 * or -EIO when some could not be written; these stay buffered. Not for signal handlers.
 *
 * LOGCORE_BUFFERED has a buffer for each thread. The library writes a buffer when it is
 * full, when its thread logs at LOGCORE_ERROR or above, once a second if any thread logs,
 * before fork(), at the end of the thread, at exit, and in logcore_close(). A program that
 * stops logging keeps its last lines: call this before a long wait.
 * LOGCORE_ASYNC has a thread that writes within 50 ms.
 *
 * In both modes a crash (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS) writes the
 * buffered lines, then the signal does what it would have done. The buffers are in a
 * hidden file beside the log. If a process is killed (also by SIGTERM without a handler)
 * or calls _exit(), the next logger that opens the path writes its lines. With a
 * descriptor instead of a path, or where that file cannot be created, these lines are
 * lost: at most buffer_size for each thread.
 */
LOGCORE_API int logcore_flush(struct logcore *log);

/* ---- levels ---------------------------------------------------------------------- */

/* Whether the logger writes lines of that level. Costs one load. */
LOGCORE_INLINE_ bool logcore_enabled(const struct logcore *log, int level)
{
	/* The minimum level is the first member of the struct, in every version. */
	return log && level >= __atomic_load_n(LOGCORE_CAST_(const int *, log), __ATOMIC_RELAXED);
}

/* Change the minimum level of this logger; its existing children keep theirs. */
LOGCORE_API void logcore_set_level(struct logcore *log, int level);

/* "INFO" for LOGCORE_INFO; another number gives the name of the next lower level. */
LOGCORE_API const char *logcore_level_name(int level);

/* The level of a name: trace, debug, info, warning or warn, error, critical or
 * fatal, off; case does not matter. 0 for NULL and any other name. */
LOGCORE_API int logcore_level_number(const char *name);

/* ---- fields ---------------------------------------------------------------------- */

enum logcore_type {
	LOGCORE_TYPE_END_ = 0,
	LOGCORE_TYPE_NULL,
	LOGCORE_TYPE_BOOL,
	LOGCORE_TYPE_INT,
	LOGCORE_TYPE_UINT,
	LOGCORE_TYPE_DOUBLE,
	LOGCORE_TYPE_FLOAT,
	LOGCORE_TYPE_STRING,
	LOGCORE_TYPE_POINTER,
	LOGCORE_TYPE_HEX,
	LOGCORE_TYPE_TIME,
	LOGCORE_TYPE_DURATION,
	LOGCORE_TYPE_JSON,
	LOGCORE_TYPE_ERRNO,             /* this and the following types bring their own keys */
	LOGCORE_TYPE_SOURCE,
	LOGCORE_TYPE_BACKTRACE
};

/* One key and its value. It borrows the strings: they must live until the
 * logging call returns. Use logcore_kv() to make one. */
struct logcore_field {
	const char *key;
	union {
		int64_t i;
		uint64_t u;
		double d;
		const char *s;
		const void *p;
	} value;
	size_t len;                     /* of a string; nanoseconds of a time */
	uint32_t key_len;               /* the line number of a source */
	uint32_t type;                  /* enum logcore_type */
};

LOGCORE_INLINE_ struct logcore_field logcore_field_(const char *key, enum logcore_type type)
{
	struct logcore_field f;
	size_t n = key ? strlen(key) : 0;

	f.key = key;
	f.value.u = 0;
	f.len = 0;
	f.key_len = LOGCORE_U32_(n < UINT32_MAX ? n : UINT32_MAX);
	f.type = type;
	return f;
}

LOGCORE_INLINE_ struct logcore_field logcore_end_(void)
{
	return logcore_field_(NULL, LOGCORE_TYPE_END_);
}

LOGCORE_INLINE_ struct logcore_field logcore_kv_null(const char *key)
{
	return logcore_field_(key, LOGCORE_TYPE_NULL);
}

LOGCORE_INLINE_ struct logcore_field logcore_kv_bool(const char *key, bool value)
{
	struct logcore_field f = logcore_field_(key, LOGCORE_TYPE_BOOL);

	f.value.u = value;
	return f;
}

LOGCORE_INLINE_ struct logcore_field logcore_kv_int(const char *key, int64_t value)
{
	struct logcore_field f = logcore_field_(key, LOGCORE_TYPE_INT);

	f.value.i = value;
	return f;
}

LOGCORE_INLINE_ struct logcore_field logcore_kv_uint(const char *key, uint64_t value)
{
	struct logcore_field f = logcore_field_(key, LOGCORE_TYPE_UINT);

	f.value.u = value;
	return f;
}

/* The shortest digits that read back as the same double. A value that is not finite
 * becomes "NaN", "Infinity" or "-Infinity", which PostgreSQL casts back. */
LOGCORE_INLINE_ struct logcore_field logcore_kv_double(const char *key, double value)
{
	struct logcore_field f = logcore_field_(key, LOGCORE_TYPE_DOUBLE);

	f.value.d = value;
	return f;
}

LOGCORE_INLINE_ struct logcore_field logcore_kv_float(const char *key, float value)
{
	struct logcore_field f = logcore_field_(key, LOGCORE_TYPE_FLOAT);

	f.value.d = LOGCORE_DOUBLE_(value);
	return f;
}

/* len bytes of text, which may hold NUL and need no terminator; NULL gives null.
 * Bytes that are not UTF-8, and NUL, become U+FFFD. */
LOGCORE_INLINE_ struct logcore_field logcore_kv_strn(const char *key, const char *value, size_t len)
{
	struct logcore_field f = logcore_field_(key, value ? LOGCORE_TYPE_STRING : LOGCORE_TYPE_NULL);

	f.value.s = value;
	f.len = len;
	return f;
}

LOGCORE_INLINE_ struct logcore_field logcore_kv_str(const char *key, const char *value)
{
	return logcore_kv_strn(key, value, value ? strlen(value) : 0);
}

/* The address, as "0x7ffd1c"; NULL gives null. */
LOGCORE_INLINE_ struct logcore_field logcore_kv_pointer(const char *key, const void *value)
{
	struct logcore_field f = logcore_field_(key, value ? LOGCORE_TYPE_POINTER : LOGCORE_TYPE_NULL);

	f.value.p = value;
	return f;
}

/* len bytes of anything, as lower-case hexadecimal digits; NULL gives null. */
LOGCORE_INLINE_ struct logcore_field logcore_kv_hex(const char *key, const void *bytes, size_t len)
{
	struct logcore_field f = logcore_field_(key, bytes ? LOGCORE_TYPE_HEX : LOGCORE_TYPE_NULL);

	f.value.p = bytes;
	f.len = len;
	return f;
}

/* A time of CLOCK_REALTIME in the form of the line's timestamp, "2026-11-21T02:39:14.123456Z".
 * A time outside the years 1 to 9999 gives null. */
LOGCORE_INLINE_ struct logcore_field logcore_kv_time(const char *key, struct timespec value)
{
	bool valid = value.tv_nsec >= 0 && value.tv_nsec < 1000000000;
	struct logcore_field f = logcore_field_(key, valid ? LOGCORE_TYPE_TIME : LOGCORE_TYPE_NULL);

	f.value.i = value.tv_sec;
	f.len = LOGCORE_U32_(value.tv_nsec);
	return f;
}

/* Nanoseconds, written as milliseconds, exactly and with a point: 1500000 gives 1.5. Use
 * a key that ends in _ms. */
LOGCORE_INLINE_ struct logcore_field logcore_kv_duration(const char *key, int64_t nanoseconds)
{
	struct logcore_field f = logcore_field_(key, LOGCORE_TYPE_DURATION);

	f.value.i = nanoseconds;
	return f;
}

/*
 * JSON text from elsewhere, copied as a JSON value without the space between its tokens.
 * It becomes a string if it is not JSON (RFC 8259 and, for databases, RFC 7493: no
 * unpaired surrogates, no NUL), is nested deeper than LOGCORE_DEPTH_MAX, or does not
 * fit. NULL gives null.
 */
LOGCORE_INLINE_ struct logcore_field logcore_kv_json(const char *key, const char *text, size_t len)
{
	struct logcore_field f = logcore_kv_strn(key, text, len);

	if (text)
		f.type = LOGCORE_TYPE_JSON;
	return f;
}

/*
 * A failure: "errno":28,"error":"No space left on device". Takes errno or -errno, as
 * many functions return it. The text is English in any locale. Read errno before another
 * call can change it; the arguments of a logging call are early enough.
 */
LOGCORE_INLINE_ struct logcore_field logcore_kv_errno(int error)
{
	struct logcore_field f = logcore_field_(NULL, LOGCORE_TYPE_ERRNO);

	f.value.i = error;
	return f;
}

/*
 * The calls that led here, innermost first: "backtrace":["pay+0x1f (shop+0x41af)", ...],
 * function and module with offsets for addr2line(1). Functions of the program itself have
 * names if it was linked with -rdynamic; static functions have none. Takes microseconds
 * and, for the names, a lock of the dynamic loader: not for signal handlers.
 */
LOGCORE_INLINE_ struct logcore_field logcore_kv_backtrace(void)
{
	return logcore_field_(NULL, LOGCORE_TYPE_BACKTRACE);
}

/* The place in the program: "source":"pay.c:123 (charge)". */
#define logcore_kv_source() (logcore_source_(__FILE__, __LINE__, __func__))

LOGCORE_INLINE_ struct logcore_field logcore_source_(const char *file, unsigned line, const char *function)
{
	struct logcore_field f = logcore_field_(function, LOGCORE_TYPE_SOURCE);

	f.value.s = file;
	f.key_len = line;
	return f;
}

/* ---- logging --------------------------------------------------------------------- */

#define LOGCORE_CONSTANT_ (SIZE_MAX / 2 + 1)    /* flag in message_len: the text is a constant */

LOGCORE_API void logcore_write_(const struct logcore *log, int level, const char *message,
				size_t message_len, const struct logcore_field *fields);
LOGCORE_API struct logcore *logcore_child_(const struct logcore *log, const char *name,
					   const struct logcore_field *fields);

/* Always inline, because only the inlined copy can tell that the message is a constant. */
__attribute__((always_inline)) LOGCORE_INLINE_ void logcore_log_(const struct logcore *log, int level,
								 const char *message,
								 const struct logcore_field *fields)
{
	size_t len = message ? strlen(message) : 0;

	/* A constant text holds no secret, so logcore_write_() does not search it. */
	if (__builtin_constant_p(len))
		len |= LOGCORE_CONSTANT_;
	logcore_write_(log, level, message, len, fields);
}

#ifdef __cplusplus
}
#endif

/*
 * Calls that take zero or more fields are macros in C (the message is the first of
 * the variable arguments, so that strict C11 accepts a call without fields) and
 * templates in C++.
 *
 * logcore_kv(key, value): a field with the type of the value. Takes integers of any width
 * (also char and enum), bool, float, double, strings and struct timespec; any other
 * pointer (also unsigned char *) is written as an address.
 * In C a comparison is an int, and before C23 so is `true`: both give 1. Write
 * logcore_kv_bool("ok", a == b), or pass a bool variable.
 *
 * logcore_info(log, message, fields...): write a line. If the level is not enabled, only
 * `log` is evaluated. If a line would be longer than line_max, each text is cut to a
 * quarter of that, then fields are left out from the end, and the line has
 * "truncated":true. A key given twice is written twice; most readers take the last.
 *
 * logcore_child(log, name, fields...): another logger, for a part of the program or a
 * request. It is named "parent.name" (NULL: like the parent), and each of its lines
 * has the given fields, which are copied and may take a quarter of line_max. NULL when
 * out of memory.
 */
#define LOGCORE_HEAD_(head, ...) head
#define LOGCORE_TAIL_(head, ...) __VA_ARGS__

#ifndef __cplusplus

#define logcore_kv(key, value)                                                                     \
	_Generic((value),                                                                          \
		bool: logcore_kv_bool,                                                             \
		char: logcore_kv_int,                                                              \
		signed char: logcore_kv_int,                                                       \
		short: logcore_kv_int,                                                             \
		int: logcore_kv_int,                                                               \
		long: logcore_kv_int,                                                              \
		long long: logcore_kv_int,                                                         \
		unsigned char: logcore_kv_uint,                                                    \
		unsigned short: logcore_kv_uint,                                                   \
		unsigned int: logcore_kv_uint,                                                     \
		unsigned long: logcore_kv_uint,                                                    \
		unsigned long long: logcore_kv_uint,                                               \
		float: logcore_kv_float,                                                           \
		double: logcore_kv_double,                                                         \
		char *: logcore_kv_str,                                                            \
		const char *: logcore_kv_str,                                                      \
		struct timespec: logcore_kv_time,                                                  \
		default: logcore_kv_pointer)(key, value)

#define LOGCORE_FIELDS_(...)                                                                       \
	((const struct logcore_field[]){ LOGCORE_TAIL_(__VA_ARGS__, logcore_end_()) })

#define LOGCORE_LOG_(log, level, ...)                                                              \
	logcore_log_(log, level, LOGCORE_HEAD_(__VA_ARGS__, 0), LOGCORE_FIELDS_(__VA_ARGS__))

#define logcore_child(log, ...)                                                                    \
	logcore_child_(log, LOGCORE_HEAD_(__VA_ARGS__, 0), LOGCORE_FIELDS_(__VA_ARGS__))

#else

inline logcore_field logcore_kv(const char *key, bool v) { return logcore_kv_bool(key, v); }
inline logcore_field logcore_kv(const char *key, char v) { return logcore_kv_int(key, v); }
inline logcore_field logcore_kv(const char *key, signed char v) { return logcore_kv_int(key, v); }
inline logcore_field logcore_kv(const char *key, short v) { return logcore_kv_int(key, v); }
inline logcore_field logcore_kv(const char *key, int v) { return logcore_kv_int(key, v); }
inline logcore_field logcore_kv(const char *key, long v) { return logcore_kv_int(key, v); }
inline logcore_field logcore_kv(const char *key, long long v) { return logcore_kv_int(key, v); }
inline logcore_field logcore_kv(const char *key, unsigned char v) { return logcore_kv_uint(key, v); }
inline logcore_field logcore_kv(const char *key, unsigned short v) { return logcore_kv_uint(key, v); }
inline logcore_field logcore_kv(const char *key, unsigned int v) { return logcore_kv_uint(key, v); }
inline logcore_field logcore_kv(const char *key, unsigned long v) { return logcore_kv_uint(key, v); }
inline logcore_field logcore_kv(const char *key, unsigned long long v) { return logcore_kv_uint(key, v); }
inline logcore_field logcore_kv(const char *key, float v) { return logcore_kv_float(key, v); }
inline logcore_field logcore_kv(const char *key, double v) { return logcore_kv_double(key, v); }
inline logcore_field logcore_kv(const char *key, const char *v) { return logcore_kv_str(key, v); }
inline logcore_field logcore_kv(const char *key, timespec v) { return logcore_kv_time(key, v); }
inline logcore_field logcore_kv(const char *key, const void *v) { return logcore_kv_pointer(key, v); }
inline logcore_field logcore_kv(const char *key, decltype(nullptr)) { return logcore_kv_null(key); }

template <class... F>
inline void logcore_log_fields_(const logcore *log, int level, const char *message, const F &...fields)
{
	const logcore_field all[] = { fields..., logcore_end_() };

	logcore_log_(log, level, message, all);
}

template <class... F>
inline logcore *logcore_child(const logcore *log, const char *name, const F &...fields)
{
	const logcore_field all[] = { fields..., logcore_end_() };

	return logcore_child_(log, name, all);
}

#define LOGCORE_LOG_ logcore_log_fields_

#endif

/* Write a line of a level that is known only at run time. */
#define logcore_log(log, level, ...)                                                               \
	do {                                                                                       \
		const struct logcore *logcore_to_ = (log);                                         \
		int logcore_at_ = (level);                                                         \
		if (logcore_enabled(logcore_to_, logcore_at_))                                     \
			LOGCORE_LOG_(logcore_to_, logcore_at_, __VA_ARGS__);                       \
	} while (0)

#define logcore_trace(log, ...) logcore_log(log, LOGCORE_TRACE, __VA_ARGS__)
#define logcore_debug(log, ...) logcore_log(log, LOGCORE_DEBUG, __VA_ARGS__)
#define logcore_info(log, ...) logcore_log(log, LOGCORE_INFO, __VA_ARGS__)
#define logcore_warning(log, ...) logcore_log(log, LOGCORE_WARNING, __VA_ARGS__)
#define logcore_error(log, ...) logcore_log(log, LOGCORE_ERROR, __VA_ARGS__)
#define logcore_critical(log, ...) logcore_log(log, LOGCORE_CRITICAL, __VA_ARGS__)

/* ---- counters -------------------------------------------------------------------- */

#ifdef __cplusplus
extern "C" {
#endif

/* Counted for a logger, its parents and its children together, in this process, since it was opened. */
struct logcore_counters {
	uint64_t lines;                 /* written whole */
	uint64_t bytes;
	uint64_t dropped;               /* lines that could not be written */
	uint64_t truncated;             /* lines that were cut */
	uint64_t failed;                /* system calls that failed */
	uint64_t redacted;              /* secrets that were replaced, see logcore_options */
	uint64_t reserved[2];
};

LOGCORE_API void logcore_stats(const struct logcore *log, struct logcore_counters *ret);

#ifdef __cplusplus
}
#endif

#endif
