#include "line.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "logcore/redact/redact.h"

#include "field.h"
#include "json.h"
#include "timestamp.h"

#define LITERAL(j, s) logcore_json_raw(j, s, sizeof(s) - 1)

enum { CLOSING_ROOM = sizeof "},\"truncated\":true}\n" - 1 };

unsigned logcore_level_index(int level)
{
	return level < LOGCORE_DEBUG ? 0 : level >= LOGCORE_CRITICAL ? 5 : (unsigned)level / 10;
}

/*
 * Each thread keeps the text of the last second. A signal handler that logs while its
 * thread is here sees `busy` and formats the time by itself. The small size and the TLS
 * model put it into static TLS, which every thread has from its start, also when the
 * library was loaded by dlopen(): nothing is allocated for it.
 */
static _Thread_local struct {
	volatile sig_atomic_t busy;
	int64_t second;
	char text[LOGCORE_TIMESTAMP_SECOND];
} last __attribute__((tls_model("initial-exec"))) = { .second = -1 };

static void second_text(char out[LOGCORE_TIMESTAMP_SECOND], int64_t second)
{
	if (last.busy) {
		logcore_timestamp_second(out, second);
		return;
	}
	last.busy = 1;
	atomic_signal_fence(memory_order_seq_cst);
	if (last.second != second) {
		logcore_timestamp_second(last.text, second);
		last.second = second;
	}
	memcpy(out, last.text, sizeof last.text);
	atomic_signal_fence(memory_order_seq_cst);
	last.busy = 0;
}

static char *put_time(char *p, const struct timespec *t)
{
	int64_t s = t->tv_sec;

	second_text(p, s < 0 ? 0 : s > LOGCORE_TIMESTAMP_LAST ? LOGCORE_TIMESTAMP_LAST : s);
	logcore_timestamp_rest(p + LOGCORE_TIMESTAMP_SECOND, (unsigned)t->tv_nsec);
	return p + LOGCORE_TIMESTAMP_MAX;
}

/* All rows have one length, so that the copy is a few instructions. */
static char *put_level(char *p, int level)
{
	enum { ROOM = 32 };
	static const struct { char s[ROOM]; size_t len; } text[] = {
#define TEXT(name) "\",\"level\":\"" name "\",\"logger\":"
#define ROW(name) { TEXT(name), sizeof(TEXT(name)) - 1 }
		ROW("TRACE"), ROW("DEBUG"), ROW("INFO"), ROW("WARNING"), ROW("ERROR"), ROW("CRITICAL"),
#undef ROW
#undef TEXT
	};
	unsigned i = logcore_level_index(level);

	memcpy(p, text[i].s, ROOM);
	return p + text[i].len;
}

static char *put_name(char *p, const char *name, size_t len)
{
	memcpy(p, name, LINE_NAME_ROOM);
	if (len > LINE_NAME_ROOM)
		memcpy(p, name, len);
	return p + len;
}

static char *put_priority(char *p, int level)
{
	static const char syslog_priority[] = { '7', '7', '6', '4', '3', '2' };

	*p++ = '<';
	*p++ = syslog_priority[logcore_level_index(level)];
	*p++ = '>';
	return p;
}

#define PUT(p, s) ((char *)memcpy(p, s, sizeof(s) - 1) + sizeof(s) - 1)

/* Write up to the message. This always fits: LOGCORE_LINE_MIN is three times as long. */
static char *put_head(char *p, const struct line *l)
{
	if (l->priority)
		p = put_priority(p, l->level);
	p = PUT(p, "{\"timestamp\":\"");
	p = put_time(p, &l->time);
	p = put_level(p, l->level);
	p = put_name(p, l->name, l->name_len);
	return PUT(p, ",\"message\":");
}

/* Returns whether the context was opened. */
static bool add_context(struct json *j, const struct line *l)
{
	static const char OPEN[] = ",\"context\":{";
	char *mark = j->p, *inside;

	if (l->bound_len == 0 && l->fields->type == LOGCORE_TYPE_END_)
		return false;
	if (!LITERAL(j, OPEN))
		return false;
	inside = j->p;
	if (l->bound_len)
		logcore_json_raw(j, l->bound, l->bound_len);
	logcore_fields(j, l->fields, j->p > inside);
	if (j->p == inside)
		j->p = mark;
	return j->p > inside;
}

struct made logcore_line(char *room, size_t size, size_t text_max, const struct line *l)
{
	struct json j = { .p = put_head(room, l), .end = room + size - CLOSING_ROOM, .text_max = text_max,
			  .redact = l->redact, .caller = l->caller };
	bool context, cut;

	if (l->message_is_safe)
		logcore_json_text(&j, l->message, l->message_len);
	else
		logcore_redact_text(&j, l->message, l->message_len);
	context = add_context(&j, l);
	cut = j.cut;
	j.end += CLOSING_ROOM;
	if (context)
		LITERAL(&j, "}");
	if (cut || l->bound_cut)
		LITERAL(&j, ",\"truncated\":true");
	LITERAL(&j, "}\n");
	return (struct made){ (size_t)(j.p - room), cut, j.redacted };
}
