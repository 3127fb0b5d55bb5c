/* Which files the configured paths lead to: created, renamed, removed, replaced, dropped, parked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>

#include <sys/resource.h>

#include "obs_agent/tail/tail_look.c"
#include "tail_fixture.h"

/* A user who may write to a log folder decides how many names are there. */
static void looking_takes_a_twentieth_of_the_time_at_most(void **state)
{
	static const struct { int64_t cost_us, pause_us; } cases[] = {
		{ 0, 0 }, { US_PER_MS, 20 * US_PER_MS }, { 150 * US_PER_MS, 3 * US_PER_S },
		{ 500 * US_PER_MS, 10 * US_PER_S }, { 3 * US_PER_S, 60 * US_PER_S },
		{ 50 * US_PER_S, 60 * US_PER_S },
	};

	(void)state;
	follow("*.log");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t next;

		put_off_looking(tail, cases[i].cost_us);
		assert_int_equal(tail->look_after_us - tail->looked_us, cases[i].pause_us);
		assert_int_equal(said("looking for log files takes long"), i > 2);
		tail->look_due = true;          /* names change all the time */
		plan_look(tail);
		assert_true(sd_event_source_get_time(tail->look_timer, &next) >= 0);
		assert_int_equal(next, tail->look_after_us);
	}
}

static void a_file_is_followed_from_its_creation_on(void **state)
{
	(void)state;
	follow("app.log");
	round_trip();
	assert_null(tail->files.streams);
	put("app.log", "a", "one\ntwo\n");
	round_trip();
	assert_int_equal(stream_life(stream_of("app.log")), FOLLOWED);
	put("app.log", "a", "three\n");
	round_trip();
	assert_rows("one two three");
}

static void a_pattern_leads_to_new_files_but_not_to_packed_ones(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_dir("a"), 0755), 0);
	follow("*.log*", "a/**/x.log");
	put("one.log", "w", "1\n");
	put("two.log.gz", "w", "2\n");
	put("three.txt", "w", "3\n");
	put("a/x.log", "w", "4\n");
	round_trip();
	put("late.log", "w", "5\n");
	round_trip();
	assert_rows("1 4 5");
}

static void a_packed_file_that_is_named_is_read(void **state)
{
	(void)state;
	follow("odd.gz");
	put("odd.gz", "w", "plain\n");
	round_trip();
	assert_rows("plain");
}

static void a_renamed_log_is_read_to_its_end_beside_the_new_one(void **state)
{
	struct stream *old;

	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	old = stream_of("app.log");
	move("app.log", "app.log.1");
	put("app.log.1", "a", "two\n");         /* its writer has it open still */
	put("app.log", "w", "three\n");
	round_trip();
	put("app.log.1", "a", "four\n");
	round_trip();
	assert_rows("one two three four");
	assert_ptr_equal(stream_of("app.log.1"), old);
	assert_int_equal(stream_life(old), ROTATED);
	assert_int_equal(stream_life(stream_of("app.log")), FOLLOWED);
	assert_true(said("app.log.1\""));
	assert_true(said("log rotated: "));
}

static void a_log_that_gets_its_name_back_is_followed_again(void **state)
{
	struct stream *s;

	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	s = stream_of("app.log");
	move("app.log", "app.log.1");
	look_and_read();
	stream_call_over(s);
	move("app.log.1", "app.log");
	round_trip();
	assert_int_equal(stream_life(s), FOLLOWED);
	put("app.log", "a", "two\n");
	round_trip();
	assert_rows("one two");
}

/* So long ago was the last sign of life. */
static void let_it_be_silent(struct stream *s, int64_t seconds)
{
	s->at.idle_since_us -= seconds * US_PER_S;
}

static void a_removed_log_is_read_while_somebody_may_write_to_it(void **state)
{
	FILE *writer;
	struct stream *s;

	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	s = stream_of("app.log");
	writer = fopen(in_dir("app.log"), "a");
	gone("app.log");
	look_and_read();
	assert_true(said("log file removed"));
	let_it_be_silent(s, OVER_AFTER_S + 1);
	fputs("two\n", writer);
	fflush(writer);
	round_trip();
	assert_int_equal(stream_life(s), ROTATED);
	put("app.log", "w", "three\n");         /* its place is taken: now a minute is enough */
	look_and_read();
	let_it_be_silent(s, OVER_AFTER_S + 1);
	fputs("four\nend", writer);
	fclose(writer);
	round_trip();
	let_it_be_silent(s, OVER_AFTER_S + 1);
	round_trip();
	assert_rows("one two three four end");
	assert_int_equal(tail->files.n_streams, 1);
	assert_true(said("log file read to its end"));
}

static void what_was_over_and_is_written_to_lives_on(void **state)
{
	FILE *writer;
	struct stream *s;

	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	s = stream_of("app.log");
	writer = fopen(in_dir("app.log"), "a");
	gone("app.log");
	put("app.log", "w", "");
	look_and_read();
	let_it_be_silent(s, OVER_AFTER_S + 1);
	fputs("two\n", writer);
	fflush(writer);
	tail_files_look(&tail->files);
	assert_int_equal(stream_life(s), OVER);
	work(tail);
	assert_int_equal(stream_life(s), ROTATED);
	fclose(writer);
	round_trip();
	assert_rows("one two");
}

static void a_dropped_log_is_read_to_its_last_newline(void **state)
{
	(void)state;
	put("app.log", "w", "one\n");
	put("other.log", "w", "a\n");
	follow("app.log", "other.log");
	round_trip();
	put("app.log", "a", "two\nthr");
	reload_with("other.log");
	round_trip();
	assert_rows("one two a");
	assert_int_equal(tail->files.n_streams, 1);
	put("app.log", "a", "ee\n");
	round_trip();
	assert_rows("one two a");
	reload_with("app.log", "other.log");    /* goes on where it was dropped */
	round_trip();
	assert_rows("one two three a");
}

static void a_log_that_was_renamed_at_a_reload_is_rotated_and_not_dropped(void **state)
{
	struct stream *s;

	(void)state;
	put("app.log", "w", "one\n");
	put("other.log", "w", "a\n");
	follow("app.log", "other.log");
	round_trip();
	s = stream_of("app.log");
	move("app.log", "app.log.1");
	reload_with("other.log");
	assert_int_equal(stream_life(s), ROTATED);
	put("app.log.1", "a", "two\n");
	round_trip();
	assert_rows("one two a");
}

/* It waits for the commit when the connection breaks: the database never heard of its end. */
static void a_dropped_log_stays_dropped_after_a_reconnect(void **state)
{
	struct stream *s;

	(void)state;
	put("app.log", "w", "one\n");
	put("other.log", "w", "a\n");
	follow("app.log", "other.log");
	round_trip();
	s = stream_of("app.log");
	put("app.log", "a", "two\nhalf");
	reload_with("other.log");
	look_and_read();
	assert_int_equal(stream_life(s), LET_GO);
	connect_database();
	assert_int_equal(stream_life(s), DROPPED);
	round_trip();
	assert_rows("one two a");
	assert_int_equal(tail->files.n_streams, 1);
}

static void what_was_rotated_from_a_dropped_log_is_dropped_with_it(void **state)
{
	(void)state;
	put("app.log", "w", "one\n");
	put("other.log", "w", "a\n");
	follow("app.log", "other.log");
	round_trip();
	move("app.log", "app.log.1");
	put("app.log", "w", "two\n");
	round_trip();
	reload_with("other.log");
	round_trip();
	put("app.log.1", "a", "three\n");
	put("app.log", "a", "four\n");
	round_trip();
	assert_rows("one two a");
	assert_int_equal(tail->files.n_streams, 1);
}

/* rsync, sed -i, an editor: another file with the text that was read, and more. */
static void a_replaced_file_goes_on_where_it_was_read(void **state)
{
	(void)state;
	put("app.log", "w", "one\ntwo\n");
	follow("app.log");
	round_trip();
	put(".new", "w", "one\ntwo\nthree\n");
	move(".new", "app.log");
	round_trip();
	assert_rows("one two three");
	assert_int_equal(tail->files.n_streams, 1);
}

static void a_file_filled_again_after_truncation_is_a_new_text(void **state)
{
	(void)state;
	put("app.log", "w", "one\ntwo\n");
	follow("app.log");
	round_trip();
	put("app.log", "w", "1ne\n2wo\n3ree\n");
	round_trip();
	assert_rows("one two 1ne 2wo 3ree");
	assert_int_equal(agent.database.n_positions, 2);
}

/* ---- more files than descriptors ---- */

enum { FEW = 80, MANY = 60 };           /* descriptors; files */

static int few_descriptors(void **state)
{
	struct rlimit few = { FEW, FEW };

	getrlimit(RLIMIT_NOFILE, &few);
	few.rlim_cur = FEW;
	return set_up(state) || setrlimit(RLIMIT_NOFILE, &few);
}

static void put_many(const char *how, const char *word)
{
	for (int i = 0; i < MANY; i++) {
		char name[32], text[64];

		snprintf(name, sizeof name, "f%d.log", i);
		snprintf(text, sizeof text, "%s%d\n", word, i);
		put(name, how, text);
	}
}

static int count_rows(const char *word)
{
	int n = 0;

	for (int i = 0; i < MANY; i++) {
		char text[64];

		snprintf(text, sizeof text, "%s%d", word, i);
		n += rows_of(text) == 1;
	}
	return n;
}

static struct stream *a_parked_one(void)
{
	struct stream *s = tail->files.streams;

	while (s && stream_fd(s) >= 0)
		s = stream_next(s);
	assert_non_null(s);
	return s;
}

static void more_files_than_descriptors_are_read_each_once(void **state)
{
	(void)state;
	put_many("w", "a");
	follow("*.log");
	round_trip();
	put_many("a", "b");
	for (int i = 0; i < 5; i++)
		round_trip();
	assert_int_equal(count_rows("a"), MANY);
	assert_int_equal(count_rows("b"), MANY);
	assert_int_equal(agent.database.n_lines, 2 * MANY);
	assert_true(tail->files.n_open <= tail->files.open_max);
	assert_true(tail->files.n_streams - tail->files.n_open > MANY / 2);
}

/* Its path leads to another file, perhaps with the number that the old inode had. */
static void a_parked_file_is_not_taken_for_the_next_at_its_path(void **state)
{
	char name[300];
	ino_t ino;
	struct stat st;

	(void)state;
	put_many("w", "a");
	follow("*.log");
	round_trip();
	snprintf(name, sizeof name, "%s", strrchr(stream_path(a_parked_one()), '/') + 1);
	assert_int_equal(stat(in_dir(name), &st), 0);
	ino = st.st_ino;
	for (int i = 0; i < 50 && (i == 0 || st.st_ino != ino); i++) {
		gone(name);
		put(name, "w", "another\n");
		assert_int_equal(stat(in_dir(name), &st), 0);
	}
	for (int i = 0; i < 5; i++)
		round_trip();
	assert_int_equal(rows_of("another"), 1);
	assert_int_equal(agent.database.n_lines, MANY + 1);
}

static void a_parked_file_that_was_renamed_is_found_and_read_on(void **state)
{
	char name[300], rotated[310];

	(void)state;
	put_many("w", "a");
	follow("*.log");
	round_trip();
	snprintf(name, sizeof name, "%s", strrchr(stream_path(a_parked_one()), '/') + 1);
	snprintf(rotated, sizeof rotated, "%s.1", name);
	move(name, rotated);
	put(rotated, "a", "rest\n");
	for (int i = 0; i < 5; i++)
		round_trip();
	assert_int_equal(rows_of("rest"), 1);
	assert_int_equal(agent.database.n_lines, MANY + 1);
	assert_int_equal(agent.database.n_gaps, 0);
}

/* Only a quarter of the descriptors holds rotated files: those that were silent for longest end first. */
static void rotated_files_do_not_take_all_descriptors(void **state)
{
	(void)state;
	put("app.log", "w", "0\n");
	follow("app.log");
	round_trip();
	for (int i = 0; i < 20; i++) {
		char rotated[32], text[32];

		snprintf(rotated, sizeof rotated, "app.log.%d", 20 - i);
		snprintf(text, sizeof text, "%d\n", i + 1);
		move("app.log", rotated);
		put("app.log", "w", text);
		round_trip();
		for (struct stream *s = tail->files.streams; s; s = stream_next(s))
			let_it_be_silent(s, HELD_FOR_S + 1);
	}
	round_trip();
	round_trip();
	assert_true(tail->files.n_held <= tail->files.open_max / 4 + 1);
	assert_int_equal(agent.database.n_lines, 21);
	assert_int_equal(stream_life(stream_of("app.log")), FOLLOWED);
}

#define few_test(name) cmocka_unit_test_setup_teardown(name, few_descriptors, tear_down)

/* fallocate -p: the file system gives the space of old lines back, and their bytes are zeros. */
static void a_log_whose_beginning_became_a_hole_is_read_on(void **state)
{
	char line[32];
	FILE *f;
	int fd;

	(void)state;
	f = fopen(in_dir("app.log"), "w");
	assert_non_null(f);
	for (int i = 0; i < 400; i++)
		fprintf(f, "line %d with some text\n", i);
	fclose(f);
	follow("app.log");
	round_trip();
	assert_int_equal(agent.database.n_lines, 400);
	for (int restarts = 0; restarts <= 1; restarts++) {
		fd = open(in_dir("app.log"), O_WRONLY);
		assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
		close(fd);
		snprintf(line, sizeof line, "new %d\n", restarts);
		put("app.log", "a", line);
		if (restarts)
			restart_tail();
		round_trip();
		assert_int_equal(agent.database.n_lines, 401 + restarts);
	}
	assert_int_equal(rows_of("new 1"), 1);
	assert_int_equal(agent.database.n_gaps, 0);
}

/* A file that was filled with blanks; lines come in their place. */
static void lines_in_the_place_of_blanks_are_read(void **state)
{
	int fd;

	(void)state;
	put("app.log", "w", "                                                ");
	follow("app.log");
	round_trip();
	fd = open(in_dir("app.log"), O_WRONLY);
	assert_int_equal(write(fd, "one\n", 4), 4);
	round_trip();
	a_tick_later();
	assert_int_equal(write(fd, "two\n", 4), 4);
	close(fd);
	round_trip();
	assert_rows("one two");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tail_test(looking_takes_a_twentieth_of_the_time_at_most),
		tail_test(a_file_is_followed_from_its_creation_on),
		tail_test(a_pattern_leads_to_new_files_but_not_to_packed_ones),
		tail_test(a_packed_file_that_is_named_is_read),
		tail_test(a_renamed_log_is_read_to_its_end_beside_the_new_one),
		tail_test(a_log_that_gets_its_name_back_is_followed_again),
		tail_test(a_removed_log_is_read_while_somebody_may_write_to_it),
		tail_test(what_was_over_and_is_written_to_lives_on),
		tail_test(a_dropped_log_is_read_to_its_last_newline),
		tail_test(a_log_that_was_renamed_at_a_reload_is_rotated_and_not_dropped),
		tail_test(a_dropped_log_stays_dropped_after_a_reconnect),
		tail_test(what_was_rotated_from_a_dropped_log_is_dropped_with_it),
		tail_test(a_replaced_file_goes_on_where_it_was_read),
		tail_test(a_file_filled_again_after_truncation_is_a_new_text),
		few_test(more_files_than_descriptors_are_read_each_once),
		few_test(a_parked_file_is_not_taken_for_the_next_at_its_path),
		few_test(a_parked_file_that_was_renamed_is_found_and_read_on),
		few_test(rotated_files_do_not_take_all_descriptors),
		tail_test(a_log_whose_beginning_became_a_hole_is_read_on),
		tail_test(lines_in_the_place_of_blanks_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
