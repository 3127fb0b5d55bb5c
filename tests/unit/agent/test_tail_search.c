/* Logs that were rotated, copied, moved or packed, and where their text goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "obs_agent/tail/tail_search.c"
#include "tail_fixture.h"

/* Lines that differ, "a0", "a1" ..., so that no file is taken for a copy by chance. */
static void put_lines(const char *name, const char *how, const char *word, int n)
{
	static char text[64 * 1024];
	size_t len = 0;

	text[0] = '\0';
	for (int i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%d\n", word, i);
	put(name, how, text);
}

static void assert_each_once(const char *word, int n)
{
	char text[64];

	for (int i = 0; i < n; i++) {
		snprintf(text, sizeof text, "%s%d", word, i);
		if (rows_of(text) != 1)
			fail_msg("\"%s\" is %d rows", text, rows_of(text));
	}
}

static void a_log_rotated_twice_between_two_looks_is_read(void **state)
{
	(void)state;
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	move("app.log", "app.log.1");
	put("app.log", "w", "two\n");
	move("app.log.1", "app.log.2");
	move("app.log", "app.log.1");
	put("app.log", "w", "three\n");
	round_trip();
	assert_rows("one two three");
	assert_int_equal(agent.database.n_gaps, 0);
}

static void a_log_rotated_into_olddir_is_read_to_its_end(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_dir("old"), 0755), 0);
	put("app.log", "w", "one\n");
	follow("app.log");
	round_trip();
	put("app.log", "a", "two\n");
	move("app.log", "old/app.log.1");
	put("app.log", "w", "three\n");
	move("app.log", "old/app.log-20261130");
	put("app.log", "w", "four\n");
	round_trip();
	assert_rows("one two three four");
	assert_true(said("old/app.log.1\""));
}

static void what_was_rotated_before_the_first_look_is_not_read(void **state)
{
	(void)state;
	put("app.log.1", "w", "older\n");
	put("app.log", "w", "one\n");
	a_tick_later();
	follow("app.log");
	round_trip();
	assert_rows("one");
}

static void a_log_born_and_rotated_in_a_folder_without_logs_is_read(void **state)
{
	(void)state;
	follow("app.log");
	round_trip();
	put("app.log", "w", "one\n");
	move("app.log", "app.log.1");
	round_trip();
	assert_rows("one");
}

/* Sizes from below a head to several heads. */
static const int sizes[] = { 1, 3, 40, 400 };

static void a_truncated_log_is_read_on_in_its_copy(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		put_lines("app.log", "w", "a", sizes[i]);
		follow("app.log");
		round_trip();
		put_lines("app.log", "a", "b", sizes[i]);
		copy("app.log", "app.log.1");
		put("app.log", "w", "");
		put_lines("app.log", "a", "c", 2);
		round_trip();
		assert_each_once("a", sizes[i]);
		assert_each_once("b", sizes[i]);
		assert_each_once("c", 2);
		assert_int_equal(agent.database.n_lines, 2 * sizes[i] + 2);
		round_trip();
		assert_int_equal(tail->files.n_streams, 1);
		assert_int_equal(tear_down(state) || set_up(state), 0);
	}
}

/* copytruncate, and later create: the copy and what is moved behind it are each read once. */
static void a_copy_is_not_read_again_when_it_is_renamed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		put_lines("app.log", "w", "a", sizes[i]);
		follow("app.log*");
		round_trip();
		copy("app.log", "app.log.1");
		put("app.log", "w", "");
		round_trip();
		put_lines("app.log", "a", "b", sizes[i]);
		round_trip();
		move("app.log.1", "app.log.2");
		move("app.log", "app.log.1");
		put_lines("app.log", "a", "c", sizes[i]);
		round_trip();
		round_trip();
		assert_each_once("a", sizes[i]);
		assert_each_once("b", sizes[i]);
		assert_each_once("c", sizes[i]);
		assert_int_equal(agent.database.n_lines, 3 * sizes[i]);
		assert_int_equal(tear_down(state) || set_up(state), 0);
	}
}

/* A text was given up, and a copy of it with more behind it shows up later: the rest of that is read. */
static void a_late_copy_of_a_text_that_was_given_up_is_read_on(void **state)
{
	(void)state;
	for (int restarts = 0; restarts < 2; restarts++) {
		put_lines("app.log", "w", "a", 400);
		follow("app.log*");
		round_trip();
		put_lines("app.log", "a", "b", 100);
		copy("app.log", "late");
		put("app.log", "w", "");
		put_lines("app.log", "a", "c", 2);
		round_trip();
		assert_int_equal(agent.database.n_gaps, 1);
		if (restarts)
			restart_tail();
		copy("late", "app.log.1");
		round_trip();
		round_trip();
		assert_each_once("a", 400);
		assert_each_once("b", 100);
		assert_each_once("c", 2);
		assert_int_equal(tear_down(state) || set_up(state), 0);
	}
}

/* Several copies of the text that was truncated: the longest is read, the others never. */
static void of_two_copies_of_a_truncated_log_one_is_read(void **state)
{
	(void)state;
	put_lines("app.log", "w", "a", 300);
	follow("app.log*");
	round_trip();
	copy("app.log", "app.log.old");
	put_lines("app.log", "a", "b", 3);
	copy("app.log", "app.log.1");
	put("app.log", "w", "");
	round_trip();
	put_lines("app.log", "a", "c", 300);
	round_trip();
	move("app.log.old", "app.log.older");
	restart_tail();
	round_trip();
	assert_each_once("a", 300);
	assert_each_once("b", 3);
	assert_each_once("c", 300);
	assert_int_equal(agent.database.n_lines, 603);
}

/* cp app.log app.log.1, where app.log.1 is a rotated file that is open still: no pattern leads to it, so that
 * its name was not looked at since. */
static void a_copy_over_a_rotated_file_is_not_read(void **state)
{
	(void)state;
	put_lines("app.log", "w", "a", 3);
	follow("app.log");
	round_trip();
	move("app.log", "app.log.1");
	put_lines("app.log", "w", "b", 30);
	round_trip();
	copy("app.log", "app.log.1");
	round_trip();
	put_lines("app.log", "a", "c", 3);
	round_trip();
	assert_each_once("a", 3);
	assert_each_once("b", 30);
	assert_each_once("c", 3);
	assert_int_equal(agent.database.n_lines, 36);
	assert_null(gap("truncated"));
}

/* All of it between two looks, so that the log has a rotated name when it is found to be truncated. With and
 * without lines that were not read, which nobody saw. */
static void a_log_that_is_copied_truncated_and_moved_at_once_is_read_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
		int n = sizes[i / 2], unread = i % 2 ? n : 0;

		put_lines("app.log", "w", "a", n);
		follow("app.log");
		round_trip();
		put_lines("app.log", "a", "b", unread);
		copy("app.log", "app.log-20261130");
		put("app.log", "w", "");
		put_lines("app.log", "a", "c", 2);
		move("app.log", "app.log.1");
		put_lines("app.log", "w", "d", 3);
		round_trip();
		round_trip();
		assert_each_once("a", n);
		assert_each_once("b", unread);
		assert_each_once("c", 2);
		assert_each_once("d", 3);
		assert_int_equal(agent.database.n_lines, n + unread + 5);
		assert_int_equal(tear_down(state) || set_up(state), 0);
	}
}

/* The same without a copy: what was not read is lost, and nobody knows whether there was something. */
static void a_log_that_is_truncated_and_moved_at_once_is_a_gap(void **state)
{
	(void)state;
	put_lines("app.log", "w", "a", 3);
	follow("app.log");
	round_trip();
	put("app.log", "a", "unread\n");
	put("app.log", "w", "b\n");
	move("app.log", "app.log.1");
	put("app.log", "w", "c\n");
	round_trip();
	assert_int_equal(rows_of("b"), 1);
	assert_int_equal(rows_of("c"), 1);
	assert_non_null(gap("truncated"));
}

/* app.log.1 has a copy, and is then overwritten, between two looks: its text is known. */
static void a_copy_of_a_rotated_file_that_is_overwritten_is_not_read(void **state)
{
	(void)state;
	put_lines("app.log", "w", "a", 3);
	follow("app.log*");
	round_trip();
	move("app.log", "app.log.1");
	put_lines("app.log", "w", "b", 30);
	round_trip();
	copy("app.log.1", "app.log.2");
	copy("app.log", "app.log.1");
	round_trip();
	put("app.log", "a", "c\n");
	round_trip();
	assert_each_once("a", 3);
	assert_each_once("b", 30);
	assert_int_equal(rows_of("c"), 1);
	assert_int_equal(agent.database.n_lines, 34);
	assert_null(gap("truncated"));
}

/* Of a text of which nothing was read two copies of one name are left, the second in logrotate's olddir. */
static void of_two_copies_of_one_name_one_is_read(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_dir("old"), 0755), 0);
	put_lines("app.log", "w", "a", 3);
	follow("app*");
	round_trip();
	put("app.log", "w", "");
	round_trip();
	put_lines("app.log", "a", "b", 6);
	copy("app.log", "app.log.1");
	copy("app.log", "old/app.log.1");
	put("app.log", "w", "");
	put_lines("app.log", "a", "c", 8);
	round_trip();
	round_trip();
	assert_each_once("b", 6);
	assert_each_once("c", 8);
	assert_int_equal(agent.database.n_lines, 17);
}

static void a_log_born_and_moved_into_a_folder_while_the_agent_is_stopped_is_read(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_dir("old"), 0755), 0);
	put_lines("app.log", "w", "a", 3);
	follow("app.log*");
	round_trip();
	stop_tail();
	assert_int_equal(unlink(in_dir("app.log")), 0);
	put_lines("app.log", "w", "b", 6);
	move("app.log", "old/app.log.5");
	put("app.log", "w", "");
	copy("app.log", "app.log.1");
	start_tail();
	connect_database();
	put_lines("app.log", "a", "c", 8);
	round_trip();
	round_trip();
	assert_each_once("b", 6);
	assert_each_once("c", 8);
}

/* The database holds the log's former texts, all read to their end, and no other stream of it. */
static void a_log_of_which_only_finished_texts_are_known_is_found_after_a_start(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_dir("old"), 0755), 0);
	put_lines("app.log", "w", "a", 3);
	follow("app.log");
	round_trip();
	assert_int_equal(unlink(in_dir("app.log")), 0);
	stop_tail();
	start_tail();
	connect_database();
	round_trip();                   /* it is gone: its stream is over */
	assert_non_null(gap("file_gone"));
	stop_tail();
	put_lines("app.log", "w", "b", 6);
	move("app.log", "old/app.log.5");
	a_tick_later();
	start_tail();
	connect_database();
	put_lines("app.log", "w", "c", 8);
	round_trip();
	round_trip();
	assert_each_once("a", 3);
	assert_each_once("b", 6);
	assert_each_once("c", 8);
	stop_tail();
	start_tail();
	connect_database();
	round_trip();
	assert_int_equal(agent.database.n_lines, 17);
}

/* The log's former file is empty and open. A copy comes into it; the log is truncated then, or not. */
static void a_copy_over_an_empty_rotated_file_is_not_read(void **state)
{
	(void)state;
	for (int truncated = 0; truncated <= 1; truncated++) {
		put("app.log", "w", "");
		follow("app.log");
		round_trip();
		move("app.log", "app.log.old");
		put_lines("app.log", "w", "a", 30);
		round_trip();
		put_lines("app.log", "a", "b", 3);
		copy("app.log", "app.log.old");
		if (truncated) {
			put_lines("app.log", "w", "c", 2);
			move("app.log", "app.log.1");
			put_lines("app.log", "w", "d", 2);
		}
		round_trip();
		round_trip();
		assert_each_once("a", 30);
		assert_each_once("b", 3);
		assert_int_equal(agent.database.n_lines, 33 + 4 * truncated);
		assert_int_equal(tear_down(state) || set_up(state), 0);
	}
}

/* A writer that kept the descriptor writes its first line only now. */
static void an_empty_rotated_file_that_is_written_to_is_read(void **state)
{
	(void)state;
	put("app.log", "w", "");
	follow("app.log");
	round_trip();
	move("app.log", "app.log.1");
	put_lines("app.log", "w", "a", 30);
	round_trip();
	put_lines("app.log.1", "a", "b", 3);
	round_trip();
	assert_each_once("a", 30);
	assert_each_once("b", 3);
}

static void a_copy_by_hand_is_not_read(void **state)
{
	(void)state;
	put_lines("app.log", "w", "a", 300);
	follow("app.log", "app.log.bak");
	round_trip();
	copy("app.log", "app.log.bak");
	round_trip();
	put_lines("app.log", "a", "b", 3);
	round_trip();
	assert_each_once("a", 300);
	assert_each_once("b", 3);
	assert_int_equal(agent.database.n_lines, 303);
}

static void what_a_copy_lacks_is_a_gap(void **state)
{
	const struct kept_gap *g;

	(void)state;
	put_lines("app.log", "w", "a", 300);
	follow("app.log");
	round_trip();
	put_lines("app.log", "a", "b", 3);
	copy("app.log", "app.log.1");
	put("app.log", "a", "too-late\n");
	tail_files_look(&tail->files);          /* it was seen, and not read */
	put("app.log", "w", "new\n");
	round_trip();
	assert_each_once("b", 3);
	assert_int_equal(rows_of("too-late"), 0);
	assert_int_equal(rows_of("new"), 1);
	g = gap("truncated");
	assert_non_null(g);
	assert_int_equal(g->bytes, 9);
}

static void what_was_truncated_without_a_copy_is_a_gap(void **state)
{
	const struct kept_gap *g;

	(void)state;
	put_lines("app.log", "w", "a", 300);
	follow("app.log");
	round_trip();
	put("app.log", "a", "unread\n");
	tail_files_look(&tail->files);
	put("app.log", "w", "new\n");
	round_trip();
	g = gap("truncated");
	assert_non_null(g);
	assert_int_equal(g->bytes, 7);
	assert_int_equal(rows_of("unread"), 0);
	assert_int_equal(rows_of("new"), 1);
}

/* The agent can't read: the database is away. It sees that a text gets shorter, and later that it is longer
 * than it ever was. */
static void what_was_seen_and_cut_off_before_it_could_be_read_is_a_gap(void **state)
{
	const struct kept_gap *g;

	(void)state;
	for (int connected = 0; connected <= 1; connected++) {
		follow("app.log");
		if (!connected) {
			stop_tail();
			start_tail();
		}
		put("app.log", "w", "");
		if (connected)
			round_trip();
		put("app.log", "a", "unread\n");
		tail_files_look(&tail->files);
		put("app.log", "w", "");
		tail_files_look(&tail->files);
		put_lines("app.log", "a", "b", 300);
		tail_files_look(&tail->files);
		if (!connected)
			connect_database();
		round_trip();
		assert_each_once("b", 300);
		g = gap("truncated");
		assert_non_null(g);
		assert_int_equal(g->bytes, 7);
		assert_int_equal(agent.database.n_gaps, 1);
		assert_int_equal(tear_down(state) || set_up(state), 0);
	}
}

/* The same, behind what was read. */
static void what_was_cut_off_behind_the_position_is_a_gap(void **state)
{
	const struct kept_gap *g;

	(void)state;
	put_lines("app.log", "w", "a", 300);
	follow("app.log");
	round_trip();
	put("app.log", "a", "unread\n");
	tail_files_look(&tail->files);
	assert_int_equal(truncate(in_dir("app.log"), stream_offset(stream_of("app.log"))), 0);
	tail_files_look(&tail->files);
	put_lines("app.log", "a", "b", 300);
	round_trip();
	assert_each_once("a", 300);
	assert_each_once("b", 300);
	g = gap("truncated");
	assert_non_null(g);
	assert_int_equal(g->bytes, 7);
}

/* A file that was made in its full length and is cut to its text when it is closed: nothing is missing. */
static void zeros_that_are_cut_off_are_no_gap(void **state)
{
	(void)state;
	put("app.log", "w", "one\n");
	assert_int_equal(truncate(in_dir("app.log"), 65536), 0);
	follow("app.log");
	tail_files_look(&tail->files);
	assert_int_equal(truncate(in_dir("app.log"), 4), 0);
	tail_files_look(&tail->files);
	put("app.log", "a", "two\n");
	round_trip();
	assert_rows("one two");
	assert_int_equal(agent.database.n_gaps, 0);
}

/* logrotate's compress, while the agent is stopped: what was not read is packed. */
static void a_log_packed_while_the_agent_is_stopped_is_a_gap_that_names_the_file(void **state)
{
	const struct kept_gap *g;

	(void)state;
	put_lines("app.log", "w", "a", 300);
	follow("app.log");
	round_trip();
	stop_tail();
	put("app.log", "a", "unread\n");
	put("app.log.1.gz", "w", "packed");
	gone("app.log");
	put("app.log", "w", "new\n");
	start_tail();
	connect_database();
	round_trip();
	g = gap("file_gone");
	assert_non_null(g);
	assert_non_null(strstr(g->detail, "app.log.1.gz"));
	assert_int_equal(rows_of("new"), 1);
}

/* The same, while it runs: an open file is read, whatever becomes of its name. */
static void a_log_packed_while_it_is_open_is_read(void **state)
{
	(void)state;
	put_lines("app.log", "w", "a", 300);
	follow("app.log");
	round_trip();
	put("app.log", "a", "late\n");
	put("app.log.1.gz", "w", "packed");
	gone("app.log");
	put("app.log", "w", "new\n");
	round_trip();
	assert_int_equal(rows_of("late"), 1);
	assert_int_equal(rows_of("new"), 1);
	assert_int_equal(agent.database.n_gaps, 0);
}

/* The search does not stand still where the batch is full; each line is still one row. */
static void a_rotation_with_a_full_batch_loses_nothing(void **state)
{
	(void)state;
	put_lines("app.log", "w", "a", 300);
	follow("app.log");
	agent.room = 100;
	look_and_read();
	move("app.log", "app.log.1");
	put_lines("app.log", "w", "b", 300);
	look_and_read();
	copy("app.log", "app.log.0");
	put("app.log", "w", "");
	put_lines("app.log", "a", "c", 3);
	for (int i = 0; i < 10; i++) {
		agent.room = 100;
		look_and_read();
		commit();
		agent.room = 100;
		src_tail.resume(tail);
	}
	round_trip();
	assert_each_once("a", 300);
	assert_each_once("b", 300);
	assert_each_once("c", 3);
	assert_int_equal(agent.database.n_lines, 603);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tail_test(a_log_rotated_twice_between_two_looks_is_read),
		tail_test(a_log_rotated_into_olddir_is_read_to_its_end),
		tail_test(what_was_rotated_before_the_first_look_is_not_read),
		tail_test(a_log_born_and_rotated_in_a_folder_without_logs_is_read),
		tail_test(a_truncated_log_is_read_on_in_its_copy),
		tail_test(a_copy_is_not_read_again_when_it_is_renamed),
		tail_test(a_late_copy_of_a_text_that_was_given_up_is_read_on),
		tail_test(of_two_copies_of_a_truncated_log_one_is_read),
		tail_test(a_copy_over_a_rotated_file_is_not_read),
		tail_test(a_log_that_is_copied_truncated_and_moved_at_once_is_read_once),
		tail_test(a_log_that_is_truncated_and_moved_at_once_is_a_gap),
		tail_test(a_copy_of_a_rotated_file_that_is_overwritten_is_not_read),
		tail_test(of_two_copies_of_one_name_one_is_read),
		tail_test(a_log_born_and_moved_into_a_folder_while_the_agent_is_stopped_is_read),
		tail_test(a_log_of_which_only_finished_texts_are_known_is_found_after_a_start),
		tail_test(a_copy_over_an_empty_rotated_file_is_not_read),
		tail_test(an_empty_rotated_file_that_is_written_to_is_read),
		tail_test(a_copy_by_hand_is_not_read),
		tail_test(what_a_copy_lacks_is_a_gap),
		tail_test(what_was_truncated_without_a_copy_is_a_gap),
		tail_test(what_was_seen_and_cut_off_before_it_could_be_read_is_a_gap),
		tail_test(what_was_cut_off_behind_the_position_is_a_gap),
		tail_test(zeros_that_are_cut_off_are_no_gap),
		tail_test(a_log_packed_while_the_agent_is_stopped_is_a_gap_that_names_the_file),
		tail_test(a_log_packed_while_it_is_open_is_read),
		tail_test(a_rotation_with_a_full_batch_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
