#include "line.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "json.h"
#include "number.h"

#define LITERAL(j, s) logcore_json_raw(j, s, sizeof(s) - 1)

enum {
	STAMP = sizeof "2026-11-21T02:39:14." - 1,
	CLOSING_ROOM = sizeof "},\"truncated\":true}\n" - 1
};

static const int64_t LAST_SECOND = INT64_C(253402300799);      /* of year 9999 */

unsigned logcore_level_index(int level)
{
	return level < LOGCORE_DEBUG ? 0 : level >= LOGCORE_CRITICAL ? 5 : (unsigned)level / 10;
}

/* A day since 1970-01-01 to year, month and day.
 * Source: Howard Hinnant, "chrono-compatible low-level date algorithms". */
static void civil(int64_t day, unsigned *ret_year, unsigned *ret_month, unsigned *ret_day)
{
	int64_t z = day + 719468;
	unsigned era = (unsigned)(z / 146097), doe = (unsigned)(z % 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;

	*ret_day = doy - (153 * mp + 2) / 5 + 1;
	*ret_month = mp < 10 ? mp + 3 : mp - 9;
	*ret_year = yoe + era * 400 + (*ret_month <= 2);
}

static void format_second(char out[STAMP], int64_t second)
{
	unsigned year, month, day, rest;

	second = second < 0 ? 0 : second > LAST_SECOND ? LAST_SECOND : second;
	civil(second / 86400, &year, &month, &day);
	rest = (unsigned)(second % 86400);
	memcpy(out, "0000-00-00T00:00:00.", STAMP);
	logcore_number_two(out, year / 100);
	logcore_number_two(out + 2, year % 100);
	logcore_number_two(out + 5, month);
	logcore_number_two(out + 8, day);
	logcore_number_two(out + 11, rest / 3600);
	logcore_number_two(out + 14, rest / 60 % 60);
	logcore_number_two(out + 17, rest % 60);
}

/*
 * The text of a second is kept for the thread. A signal handler may log while
 * its thread is in here: it sees `busy` and does its own work. The small size and
 * the model put it into the room that every thread has from its start, also when
 * the library was loaded by dlopen(): nothing is allocated for it.
 */
static _Thread_local struct {
	volatile sig_atomic_t busy;
	int64_t second;
	char text[STAMP];
} last __attribute__((tls_model("initial-exec"))) = { .second = -1 };

static void second_text(char out[STAMP], int64_t second)
{
	if (last.busy) {
		format_second(out, second);
		return;
	}
	last.busy = 1;
	atomic_signal_fence(memory_order_seq_cst);
	if (last.second != second) {
		format_second(last.text, second);
		last.second = second;
	}
	memcpy(out, last.text, STAMP);
	atomic_signal_fence(memory_order_seq_cst);
	last.busy = 0;
}

static void add_time(struct json *j, const struct timespec *t)
{
	unsigned us = (unsigned)(t->tv_nsec / 1000);
	char *out = j->p;

	/* Near the start of a line, where there is always room. */
	second_text(out, t->tv_sec);
	logcore_number_two(out + STAMP, us / 10000);
	logcore_number_two(out + STAMP + 2, us / 100 % 100);
	logcore_number_two(out + STAMP + 4, us % 100);
	j->p += STAMP + 6;
}

static void add_level(struct json *j, int level)
{
	/* One length for all, so that the copy is a few instructions. */
	enum { ROOM = 32 };
	static const struct { char s[ROOM]; size_t len; } text[] = {
#define ROW(name) { "Z\",\"level\":\"" name "\",\"logger\":", sizeof("Z\",\"level\":\"" name "\",\"logger\":") - 1 }
		ROW("TRACE"), ROW("DEBUG"), ROW("INFO"), ROW("WARNING"), ROW("ERROR"), ROW("CRITICAL"),
#undef ROW
	};
	unsigned i = logcore_level_index(level);

	logcore_json_raw(j, text[i].s, text[i].len);
}

static void add_priority(struct json *j, int level)
{
	static const char syslog_priority[] = { '7', '7', '6', '4', '3', '2' };
	char out[] = { '<', syslog_priority[logcore_level_index(level)], '>' };

	logcore_json_raw(j, out, sizeof out);
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
	logcore_json_raw(j, l->bound, l->bound_len);
	logcore_json_fields(j, l->fields, j->p > inside);
	if (j->p == inside)
		j->p = mark;
	return j->p > inside;
}

size_t logcore_line(char *room, size_t size, size_t text_max, const struct line *l, bool *ret_cut)
{
	struct json j = { room, room + size - CLOSING_ROOM, text_max, false };
	bool context;

	if (l->priority)
		add_priority(&j, l->level);
	LITERAL(&j, "{\"timestamp\":\"");
	add_time(&j, &l->time);
	add_level(&j, l->level);
	logcore_json_raw(&j, l->name, l->name_len);
	LITERAL(&j, ",\"message\":");
	logcore_json_text(&j, l->message, l->message_len);
	context = add_context(&j, l);
	*ret_cut = j.cut;
	j.end += CLOSING_ROOM;
	if (context)
		LITERAL(&j, "}");
	if (*ret_cut || l->bound_cut)
		LITERAL(&j, ",\"truncated\":true");
	LITERAL(&j, "}\n");
	return (size_t)(j.p - room);
}
