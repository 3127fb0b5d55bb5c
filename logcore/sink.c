#include "sink.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

#include "json.h"
#include "line.h"

struct sink {
	struct file *file;
	atomic_int error;               /* errno of the last failure */
	_Atomic uint64_t lost;          /* process id << 32 | lines, see lose() */
	_Atomic uint64_t lines, bytes, dropped, truncated, failed, redacted;
	bool priority;
	size_t name_len;
	char name[LOGCORE_NAME_MAX + 2]; /* a JSON string */
};

/* An atomic addition costs several times a plain one, and a process with one thread does not
 * need it. */
static void add(_Atomic uint64_t *counter, uint64_t n)
{
#if __has_include(<sys/single_threaded.h>)
	if (__libc_single_threaded) {
		uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);

		atomic_store_explicit(counter, now + n, memory_order_relaxed);
		return;
	}
#endif
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

struct sink *logcore_sink_open(const struct file_options *o, const char *name, bool priority, int *ret_error)
{
	struct sink *s = calloc(1, sizeof *s);
	struct json j;

	if (!s) {
		*ret_error = ENOMEM;
		return NULL;
	}
	s->file = logcore_file_open(o, ret_error);
	if (!s->file) {
		free(s);
		return NULL;
	}
	j = (struct json){ .p = s->name, .end = s->name + sizeof s->name, .text_max = SIZE_MAX };
	logcore_json_text(&j, name, strlen(name));
	s->name_len = (size_t)(j.p - s->name);
	s->priority = priority;
	return s;
}

struct file *logcore_sink_file(struct sink *s)
{
	return s->file;
}

void logcore_sink_close(struct sink *s)
{
	logcore_file_close(s->file);
	free(s);
}

/* ---- what was lost ------------------------------------------------------------------ */

/*
 * The count carries the process id: after fork() both processes have the number, but only
 * the one that lost the lines may report them.
 */
static void lose(struct sink *s, uint32_t lines)
{
	uint64_t mine = (uint64_t)(uint32_t)getpid() << 32, old = atomic_load(&s->lost), new;

	do {
		uint64_t before = (old & ~(uint64_t)UINT32_MAX) == mine ? old & UINT32_MAX : 0;

		new = mine | (before + lines > UINT32_MAX ? UINT32_MAX : before + lines);
	} while (!atomic_compare_exchange_weak(&s->lost, &old, new));
}

void logcore_sink_lose(struct sink *s)
{
	add(&s->dropped, 1);
	lose(s, 1);
}

size_t logcore_sink_write(struct sink *s, const char *bytes, size_t n, int64_t now_us)
{
	int error = 0;
	size_t done = logcore_file_write(s->file, bytes, n, now_us, &error);

	if (done < n) {
		atomic_store(&s->error, error);
		add(&s->failed, 1);
	}
	return done;
}

static size_t lost_line(struct sink *s, char *room, size_t size, uint32_t lines, int64_t now_us)
{
	char message[32];
	const struct logcore_field fields[] = { logcore_kv("lost", lines),
						logcore_kv("errno", atomic_load(&s->error)), logcore_end_() };
	struct line l = {
		.time = { now_us / 1000000, now_us % 1000000 * 1000 },
		.level = LOGCORE_WARNING,
		.priority = s->priority,
		.name = s->name,
		.name_len = s->name_len,
		.bound = "",
		.message = message,
		.message_len = (size_t)snprintf(message, sizeof message, "%u line%s lost", lines,
						lines == 1 ? "" : "s"),
		.fields = fields,
	};

	return logcore_line(room, size, SIZE_MAX, &l).len;
}

__attribute__((cold, noinline)) static bool tell(struct sink *s, int64_t now_us)
{
	uint64_t lost = atomic_exchange(&s->lost, 0);
	uint32_t lines = lost >> 32 == (uint32_t)getpid() ? (uint32_t)lost : 0;
	char room[LOGCORE_LINE_MIN];
	size_t n;

	if (lines == 0)
		return true;
	n = lost_line(s, room, sizeof room, lines, now_us);
	if (logcore_sink_write(s, room, n, now_us) == n) {
		add(&s->lines, 1);
		add(&s->bytes, n);
		return true;
	}
	lose(s, lines);
	return false;
}

bool logcore_sink_tell(struct sink *s, int64_t now_us)
{
	return !atomic_load_explicit(&s->lost, memory_order_relaxed) || tell(s, now_us);
}

/* ---- writing ------------------------------------------------------------------------ */

void logcore_sink_put(struct sink *s, const char *line, size_t n, int64_t now_us)
{
	if (logcore_sink_tell(s, now_us) && logcore_sink_write(s, line, n, now_us) == n) {
		add(&s->lines, 1);
		add(&s->bytes, n);
		return;
	}
	logcore_sink_lose(s);
}

void logcore_sink_count_cut(struct sink *s)
{
	add(&s->truncated, 1);
}

void logcore_sink_count_redacted(struct sink *s, unsigned n)
{
	add(&s->redacted, n);
}

void logcore_sink_stats(struct sink *s, struct logcore_counters *ret)
{
	*ret = (struct logcore_counters){
		.lines = atomic_load(&s->lines),
		.bytes = atomic_load(&s->bytes),
		.dropped = atomic_load(&s->dropped),
		.truncated = atomic_load(&s->truncated),
		.failed = atomic_load(&s->failed),
		.redacted = atomic_load(&s->redacted),
	};
}
