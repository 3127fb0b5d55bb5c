/* Each state of a stream, and each event that may come to it or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "obs_agent/tail/stream_life.c"
#include "obs_agent/tail/stream_fields.h"

static char log_path[] = "/tmp/observ-life-XXXXXX";
static struct logcore *logger;

static int open_log(void **state)
{
	int fd = mkstemp(log_path);

	(void)state;
	if (fd < 0)
		return -1;
	close(fd);
	logger = logcore_open(&(struct logcore_options){ .name = "t", .path = log_path }, NULL, 0);
	return logger ? 0 : -1;
}

static int close_log(void **state)
{
	(void)state;
	logcore_close(logger);
	return unlink(log_path);
}

/* What was logged since the last call. */
static const char *said(void)
{
	static char text[4096];
	FILE *f = fopen(log_path, "r");
	size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;

	assert_non_null(f);
	fclose(f);
	text[n] = '\0';
	assert_int_equal(truncate(log_path, 0), 0);
	return text;
}

static void leads(struct stream *s)
{
	stream_path_leads(s, 7);
}

/* The table once more, by the functions that others call: of each state, in the order of the enum. */
static const struct {
	const char *name;
	void (*happens)(struct stream *s);
	bool parked, copy;
	enum stream_life to[NEVER];
} events[] = {
	/* of ROTATED, FOLLOWED, DROPPED, OVER, MISLAID, FINISHED, LET_GO */
	{ "leads", leads, false, false,
	  { FOLLOWED, FOLLOWED, FOLLOWED, FOLLOWED, MISLAID, FINISHED, LET_GO } },
	{ "leads to a copy", leads, false, true,
	  { FOLLOWED, FOLLOWED, FOLLOWED, OVER, MISLAID, FINISHED, LET_GO } },
	{ "left", stream_path_left, false, false,
	  { NEVER, ROTATED, ROTATED, NEVER, NEVER, NEVER, NEVER } },
	{ "left, parked", stream_path_left, true, false,
	  { NEVER, MISLAID, MISLAID, NEVER, NEVER, NEVER, NEVER } },
	{ "mislaid", stream_mislay, true, false,
	  { NEVER, MISLAID, MISLAID, NEVER, NEVER, NEVER, NEVER } },
	{ "dropped", stream_drop, false, false,
	  { DROPPED, DROPPED, DROPPED, DROPPED, NEVER, NEVER, NEVER } },
	{ "over", stream_call_over, false, false,
	  { OVER, NEVER, NEVER, OVER, NEVER, NEVER, NEVER } },
	{ "copy is over", stream_call_over, false, true,
	  { OVER, OVER, NEVER, OVER, NEVER, NEVER, NEVER } },
	{ "written", stream_was_written, false, false,
	  { ROTATED, FOLLOWED, DROPPED, ROTATED, NEVER, NEVER, NEVER } },
	{ "copy is read", stream_was_written, false, true,
	  { ROTATED, FOLLOWED, DROPPED, OVER, NEVER, NEVER, NEVER } },
	{ "ends", stream_end, false, false,
	  { NEVER, NEVER, LET_GO, FINISHED, NEVER, NEVER, NEVER } },
	{ "passed over", stream_pass_over, false, false,
	  { FINISHED, FINISHED, LET_GO, FINISHED, NEVER, NEVER, NEVER } },
	{ "lives on", stream_live_on, false, false,
	  { ROTATED, FOLLOWED, DROPPED, ROTATED, FOLLOWED, ROTATED, DROPPED } },
};

static struct stream stream_in(enum stream_life life, bool parked, bool copy)
{
	struct stream s = { .fd = parked ? -1 : 0, .life = life, .copy = copy, .log = logger };

	snprintf(s.place.path, sizeof s.place.path, "/var/log/app.log");
	s.at.position = 5;
	return s;
}

static void each_event_leads_to_one_state(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof events / sizeof *events; i++)
		for (enum stream_life from = 0; from < NEVER; from++) {
			enum stream_life to = events[i].to[from];
			struct stream s = stream_in(from, events[i].parked, events[i].copy);

			events[i].happens(&s);
			if (s.life != (to == NEVER ? from : to))
				fail_msg("%s: %s became %s", life_names[from], events[i].name,
					 life_names[s.life]);
			assert_int_equal(s.at.position, 5);
			assert_true((*said() != '\0') == (to == NEVER));
		}
}

static void an_event_that_cannot_come_is_logged_and_changes_nothing(void **state)
{
	struct stream s = stream_in(FINISHED, false, false);
	const char *text;

	(void)state;
	stream_drop(&s);
	text = said();
	assert_int_equal(s.life, FINISHED);
	assert_false(s.dirty);
	assert_non_null(strstr(text, "\"level\":\"ERROR\""));
	assert_non_null(strstr(text, "/var/log/app.log"));
	assert_non_null(strstr(text, "\"state\":\"finished\""));
	assert_non_null(strstr(text, "the configuration drops it"));
}

static void what_is_over_or_dropped_is_read_once_more(void **state)
{
	struct stream over = stream_in(ROTATED, false, false), dropped = stream_in(FOLLOWED, true, false),
		      left = stream_in(FOLLOWED, false, false);

	(void)state;
	stream_call_over(&over);
	stream_drop(&dropped);
	stream_path_left(&left);
	assert_true(over.dirty && dropped.dirty);
	assert_false(left.dirty);
}

static void the_last_look_that_led_here_is_known(void **state)
{
	struct stream s = stream_in(OVER, false, true);

	(void)state;
	assert_int_equal(stream_look(&s), 0);
	stream_path_leads(&s, 12);
	assert_int_equal(stream_look(&s), 12);
	assert_int_equal(stream_life(&s), OVER);
	assert_true(s.at.idle_since_us > 0);
}

static void both_ends_wait_for_their_commit(void **state)
{
	(void)state;
	for (enum stream_life life = 0; life < NEVER; life++) {
		struct stream s = stream_in(life, false, false);

		assert_true(stream_ended(&s) == (life == FINISHED || life == LET_GO));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_event_leads_to_one_state),
		cmocka_unit_test(an_event_that_cannot_come_is_logged_and_changes_nothing),
		cmocka_unit_test(what_is_over_or_dropped_is_read_once_more),
		cmocka_unit_test(the_last_look_that_led_here_is_known),
		cmocka_unit_test(both_ends_wait_for_their_commit),
	};

	return cmocka_run_group_tests(tests, open_log, close_log);
}
