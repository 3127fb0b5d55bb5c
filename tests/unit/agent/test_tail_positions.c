/* Open and new streams take up what the database holds of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>

#include "obs_agent/tail/tail_positions.c"
#include "tail_fixture.h"

/* The database's position of the log at that path. */
static struct position *stored(const char *name)
{
	struct position *found = NULL;

	for (size_t i = 0; i < agent.database.n_positions; i++)
		if (strcmp(agent.database.positions[i].path, in_dir(name)) == 0)
			found = &agent.database.positions[i];
	assert_non_null(found);
	return found;
}

/* A rotated file that is over; finish it. */
static void end_rotated(const char *name)
{
	struct stream *s = stream_of(name);

	assert_non_null(s);
	stream_call_over(s);
	round_trip();
	assert_null(stream_of(name));
}

static void a_restart_goes_on_at_the_position(void **state)
{
	(void)state;
	put("app.log", "w", "one\ntwo\n");
	follow("app.log");
	round_trip();
	put("app.log", "a", "three\nhalf");
	restart_tail();
	round_trip();
	assert_rows("one two three");
	restart_tail();
	put("app.log", "a", "-line\n");
	round_trip();
	assert_rows("one two three half-line");
}

/* As a test by hand: the agent never saw the file, it only knows the position. */
static void a_position_by_hand_decides_where_reading_begins(void **state)
{
	struct position *p = &agent.database.positions[0];
	struct stream *s;
	struct err e;

	(void)state;
	put("app.log", "w", "one\ntwo\nthree\n");
	assert_int_equal(stream_open(in_dir("app.log"), NULL, &s, &e), 0);
	stream_jump(s, 4);
	stream_position(s, p);
	stream_free(s);
	agent.database.n_positions = 1;
	follow("app.log");
	round_trip();
	assert_rows("two three");
	assert_int_equal(agent.database.n_positions, 1);
	assert_int_equal(p->to, 14);
}

static void what_was_not_committed_is_read_again(void **state)
{
	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	put("app.log", "a", "two\n");
	look_and_read();                        /* in a batch that never arrives */
	connect_database();
	round_trip();
	put("app.log", "a", "three\n");
	look_and_read();
	restart_tail();                         /* killed */
	round_trip();
	assert_rows("one two three");
}

/* The commit arrived, its answer did not. */
static void what_was_committed_without_an_answer_is_not_read_again(void **state)
{
	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	look_and_read();
	for (size_t i = 0; i < agent.filling.n_positions; i++)
		take_position(&agent.filling.positions[i]);
	agent.database.lines[agent.database.n_lines++] = agent.filling.lines[0];
	connect_database();
	put("app.log", "a", "two\n");
	round_trip();
	assert_rows("one two");
}

static void a_log_renamed_while_the_agent_is_stopped_is_found(void **state)
{
	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	stop_tail();
	put("app.log", "a", "two\n");
	move("app.log", "app.log.1");
	put("app.log", "w", "three\n");
	restart_tail();
	round_trip();
	assert_rows("one two three");
	assert_int_equal(agent.database.n_gaps, 0);
	assert_true(said("log rotated: "));
}

static void logs_that_swapped_names_keep_their_positions(void **state)
{
	int64_t a, b;

	(void)state;
	put("a.log", "w", "a1\n");
	put("b.log", "w", "b1\nb2\n");
	follow("a.log", "b.log");
	round_trip();
	a = stored("a.log")->stream_id;
	b = stored("b.log")->stream_id;
	stop_tail();
	move("a.log", "x");
	move("b.log", "a.log");
	move("x", "b.log");
	put("a.log", "a", "b3\n");
	put("b.log", "a", "a2\n");
	restart_tail();
	round_trip();
	assert_rows("a1 a2 b1 b2 b3");
	assert_int_equal(position_in(&agent.database, a)->to, 6);
	assert_int_equal(position_in(&agent.database, b)->to, 9);
}

/* Copied and truncated while the agent is stopped: the copy holds what was not read. */
static void a_log_truncated_while_the_agent_is_stopped_is_read_on_in_its_copy(void **state)
{
	(void)state;
	put("app.log", "w", "one\ntwo\n");
	follow("app.log");
	round_trip();
	stop_tail();
	put("app.log", "a", "three\n");
	copy("app.log", "app.log.1");
	put("app.log", "w", "four\n");
	restart_tail();
	round_trip();
	assert_rows("one two three four");
	restart_tail();
	round_trip();
	assert_rows("one two three four");
}

/* The position of a copy is told for the log's number: that decides, not what the file is. */
static void a_copy_that_is_read_keeps_its_position_after_a_reconnect(void **state)
{
	(void)state;
	put("app.log", "w", "one\ntwo\n");
	follow("app.log");
	round_trip();
	put("app.log", "a", "three\nfour\n");
	copy("app.log", "app.log.1");
	put("app.log", "w", "five\n");
	tail_files_look(&tail->files);
	work(tail);                             /* sees that it was truncated */
	tail_files_look(&tail->files);          /* and takes the copy */
	assert_true(stream_is_copy(stream_of("app.log.1")));
	connect_database();                     /* before anything of it was told */
	assert_true(stream_is_copy(stream_of("app.log.1")));
	round_trip();
	assert_rows("one two three four five");
}

/* The agent looked before the database answered, and a pattern leads to a copy that was made meanwhile. */
static void a_copy_that_was_seen_before_the_positions_is_not_read(void **state)
{
	(void)state;
	put("app.log", "w", "one\ntwo\n");
	follow("app.log*");
	round_trip();
	stop_tail();
	copy("app.log", "app.log.bak");
	start_tail();
	tail_files_look(&tail->files);
	assert_non_null(stream_of("app.log"));
	connect_database();
	round_trip();
	put("app.log", "a", "three\n");
	round_trip();
	assert_rows("one two three");
}

enum { MANY = 40, FEW = 80 };           /* files, descriptors: 16 for log files */

static void put_many(const char *how, const char *word)
{
	char name[32], line[32];

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "%c%c.log", 'a' + i / 26, 'a' + i % 26);
		snprintf(line, sizeof line, "%s-%d\n", word, i);
		put(name, how, line);
	}
}

/* The same, of a text that was read to its end in a file that is gone. */
static void a_copy_of_a_finished_file_is_not_read_after_a_restart(void **state)
{
	(void)state;
	put("app.log", "w", "one\ntwo\n");
	follow("app.log");
	round_trip();
	move("app.log", "app.log.1");
	put("app.log", "w", "three\n");
	round_trip();
	end_rotated("app.log.1");
	stop_tail();
	copy("app.log.1", "app.log.bak");
	gone("app.log.1");
	use_patterns((const char *const[]){ "app.log", "app.log.bak" }, 2);
	start_tail();
	tail_files_look(&tail->files);
	assert_non_null(stream_of("app.log.bak"));
	connect_database();
	round_trip();
	assert_rows("one two three");
}

static void parked_files_keep_their_positions_after_a_reconnect(void **state)
{
	struct rlimit few = { FEW, FEW };

	(void)state;
	getrlimit(RLIMIT_NOFILE, &few);
	few.rlim_cur = FEW;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	put_many("w", "first");
	follow("*.log");
	round_trip();
	assert_true(tail->files.n_open < 20);
	put_many("a", "second");
	look_and_read();                        /* in a batch that never arrives */
	connect_database();
	for (int i = 0; i < 5; i++)
		round_trip();
	assert_int_equal(agent.database.n_lines, 2 * MANY);
	for (size_t i = 0; i < agent.database.n_lines; i++)
		assert_int_equal(rows_of(agent.database.lines[i].text), 1);
	assert_int_equal(agent.database.n_positions, MANY);
	few.rlim_cur = few.rlim_max;
	setrlimit(RLIMIT_NOFILE, &few);
}

static void a_removed_log_is_ended_with_a_gap(void **state)
{
	int64_t id;

	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	id = stored("app.log")->stream_id;
	stop_tail();
	gone("app.log");
	restart_tail();
	round_trip();
	assert_non_null(gap("file_gone"));
	assert_int_equal(gap("file_gone")->stream_id, id);
	assert_true(position_in(&agent.database, id)->finished);
	assert_rows("one");
	restart_tail();                         /* and it is said once */
	round_trip();
	assert_int_equal(agent.database.n_gaps, 1);
}

static void a_finished_file_is_not_read_again(void **state)
{
	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	move("app.log", "app.log.1");
	put("app.log", "w", "two\n");
	round_trip();
	end_rotated("app.log.1");
	round_trip();
	assert_rows("one two");
	restart_tail();
	round_trip();
	assert_rows("one two");
	reload_with("app.log", "app.log.1");    /* even where its name is configured now */
	round_trip();
	assert_rows("one two");
	put("app.log.1", "a", "late\n");        /* but what comes to it is */
	round_trip();
	assert_rows("one two late");
}

/* Its end is in a batch when the connection breaks: it is finished once more. */
static void a_file_whose_end_was_not_committed_is_ended_again(void **state)
{
	struct stream *s;

	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	move("app.log", "app.log.1");
	put("app.log.1", "a", "rest");
	look_and_read();
	commit();
	s = stream_of("app.log.1");
	stream_call_over(s);
	look_and_read();
	assert_int_equal(stream_life(s), FINISHED);
	connect_database();
	assert_int_equal(stream_life(s), ROTATED);
	stream_call_over(s);
	round_trip();
	assert_rows("one rest");
	assert_int_equal(tail->files.n_streams, 0);
}

/* The inode's number is used again for another file: the handle or the birth tells them apart. */
static void another_file_with_the_number_of_the_old_one_is_read_from_its_beginning(void **state)
{
	struct position *p;
	char old[96];
	struct stat st;
	ino_t ino;

	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	p = stored("app.log");
	snprintf(old, sizeof old, "%s", p->file_id);
	assert_int_equal(stat(in_dir("app.log"), &st), 0);
	ino = st.st_ino;
	stop_tail();
	for (int i = 0; i < 50 && (i == 0 || st.st_ino != ino); i++) {
		gone("app.log");
		put("app.log", "w", "one\ntwo\n");      /* it even begins with the same text */
		assert_int_equal(stat(in_dir("app.log"), &st), 0);
	}
	restart_tail();
	round_trip();
	assert_int_equal(rows_of("two"), 1);
	assert_string_not_equal(stored("app.log")->file_id, "");
	assert_true(position_in(&agent.database, p->stream_id)->finished ||
		    strcmp(stored("app.log")->file_id, old) != 0);
}

/* Another database, or one that was restored: it knows nothing, and hears all of it again, each line once. */
static void a_database_that_knows_nothing_gets_everything(void **state)
{
	(void)state;
	put("app.log", "w", "one\ntwo\n");
	follow("app.log");
	round_trip();
	memset(&agent.database, 0, sizeof agent.database);
	connect_database();
	round_trip();
	assert_rows("one two");
}

/* Restored from a backup: its position is behind what the agent has read. */
static void a_database_that_forgot_the_end_gets_it_again(void **state)
{
	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	static struct rows backup;
	backup = agent.database;
	put("app.log", "a", "two\n");
	round_trip();
	agent.database = backup;
	connect_database();
	round_trip();
	assert_rows("one two");
}

/* Its number is known to the database for another file. */
static void a_position_that_fits_no_file_does_not_move_another(void **state)
{
	struct position *p;

	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	p = stored("app.log");
	p->tail_hash[strlen(p->tail_hash) - 1] ^= 1;    /* it says that another text was read */
	connect_database();
	round_trip();
	assert_int_equal(rows_of("one"), 2);
	assert_true(p->finished);
	assert_non_null(gap("truncated"));
	assert_int_not_equal(stream_id(stream_of("app.log")), p->stream_id);
	restart_tail();
	round_trip();
	assert_int_equal(rows_of("one"), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tail_test(a_restart_goes_on_at_the_position),
		tail_test(a_position_by_hand_decides_where_reading_begins),
		tail_test(what_was_not_committed_is_read_again),
		tail_test(what_was_committed_without_an_answer_is_not_read_again),
		tail_test(a_log_renamed_while_the_agent_is_stopped_is_found),
		tail_test(logs_that_swapped_names_keep_their_positions),
		tail_test(a_log_truncated_while_the_agent_is_stopped_is_read_on_in_its_copy),
		tail_test(a_copy_that_is_read_keeps_its_position_after_a_reconnect),
		tail_test(a_copy_that_was_seen_before_the_positions_is_not_read),
		tail_test(a_copy_of_a_finished_file_is_not_read_after_a_restart),
		tail_test(parked_files_keep_their_positions_after_a_reconnect),
		tail_test(a_removed_log_is_ended_with_a_gap),
		tail_test(a_finished_file_is_not_read_again),
		tail_test(a_file_whose_end_was_not_committed_is_ended_again),
		tail_test(another_file_with_the_number_of_the_old_one_is_read_from_its_beginning),
		tail_test(a_database_that_knows_nothing_gets_everything),
		tail_test(a_database_that_forgot_the_end_gets_it_again),
		tail_test(a_position_that_fits_no_file_does_not_move_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
