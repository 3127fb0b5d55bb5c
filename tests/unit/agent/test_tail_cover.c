/* When looking for changes may be left to inotify: files that change without an event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "obs_agent/tail/tail_cover.c"
#include "obs_agent/tail/stream_fields.h"

static char path[] = "/tmp/observ-cover-XXXXXX";
static int file;
static struct stream s;

static int begin(void **state)
{
	(void)state;
	memcpy(path + sizeof path - 7, "XXXXXX", 6);
	file = mkstemp(path);
	s = (struct stream){ .fd = file, .life = FOLLOWED, .links = { .watch = 1 } };
	return file < 0 ? -1 : 0;
}

static int end(void **state)
{
	(void)state;
	close(file);
	return unlink(path);
}

static void look(void)
{
	struct stat st;

	assert_int_equal(fstat(file, &st), 0);
	tail_cover_seen(&s, &st);
}

/* And everything was read since the last look. */
static void grow(void)
{
	assert_int_equal(write(file, "a\n", 2), 2);
	s.dirty = false;
}

static void a_file_that_grows_by_events_is_settled(void **state)
{
	(void)state;
	s.links.told = true;
	look();
	for (int i = 0; i < 3; i++) {
		grow();
		s.links.told = true;    /* the event */
		look();
		assert_true(is_settled(&s));
	}
	look();
	assert_true(is_settled(&s));
}

static void a_file_that_grows_without_an_event_is_looked_at_from_then_on(void **state)
{
	(void)state;
	s.links.told = true;
	look();
	grow();
	look();
	assert_false(is_settled(&s));
	s.dirty = false;
	look();
	look();
	assert_false(is_settled(&s));
}

static void an_event_may_come_just_behind_the_look(void **state)
{
	(void)state;
	s.links.told = true;
	look();
	grow();
	look();
	assert_false(is_settled(&s));
	s.links.told = true;            /* as take_news() does */
	s.links.unexplained = false;
	s.dirty = false;
	look();
	assert_true(is_settled(&s));
}

static void what_is_not_watched_or_may_change_in_silence_is_not_settled(void **state)
{
	(void)state;
	s.links.told = true;
	look();
	assert_true(is_settled(&s));
	s.links.watch = -1;
	assert_false(is_settled(&s));
	s.links.watch = 1;
	s.links.blind = true;
	assert_false(is_settled(&s));
	s.links.blind = false;
	s.place.unlinked = true;
	assert_false(is_settled(&s));
	s.place.unlinked = false;
	for (enum stream_life life = ROTATED; life < NEVER; life++) {
		s.life = life;
		s.at.idle_since_us = mono_us() - 3600 * US_PER_S;
		assert_int_equal(is_settled(&s), life == ROTATED || life == FOLLOWED || life == FINISHED ||
							 life == LET_GO);
	}
	s.life = ROTATED;
	s.at.idle_since_us = mono_us();         /* rotated just now: others may come and go */
	assert_false(is_settled(&s));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_that_grows_by_events_is_settled),
		TEST(a_file_that_grows_without_an_event_is_looked_at_from_then_on),
		TEST(an_event_may_come_just_behind_the_look),
		TEST(what_is_not_watched_or_may_change_in_silence_is_not_settled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
