/* A log file is known by what it is, not by its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../obs_agent/stream.c"

static char dir[] = "/tmp/observ-stream-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static const char *in_dir(const char *name)
{
	static char path[2][128];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
	return path[turn];
}

static void put(const char *name, const char *how, const char *text)
{
	FILE *f = fopen(in_dir(name), how);

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int remove_dir(void **state)
{
	static const char *const names[] = { "a", "b", "fifo" };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unlink(in_dir(names[i]));
	return rmdir(dir);
}

static struct stream *open_stream(const char *name)
{
	struct stream *s = NULL;
	struct err e;

	assert_int_equal(stream_open(in_dir(name), &s, &e), 0);
	return s;
}

/* Read n bytes as reader.c would. */
static void read_on(struct stream *s, size_t n)
{
	char bytes[4096];

	assert_int_equal(read_at(s->fd, bytes, n, s->position), n);
	stream_advance(s, s->position + (int64_t)n, bytes + n, n);
}

static void a_renamed_file_is_taken_up_where_it_stands(void **state)
{
	struct stream *s, *again;
	struct position p;

	(void)state;
	put("a", "w", "one\ntwo\nthree\n");
	s = open_stream("a");
	read_on(s, 8);
	stream_position(s, &p);
	stream_free(s);
	assert_int_equal(rename(in_dir("a"), in_dir("b")), 0);
	again = open_stream("b");
	assert_true(stream_is(again, &p));
	stream_resume(again, &p);
	assert_int_equal(again->position, 8);
	assert_int_equal(again->id, p.stream_id);
	assert_true(stream_unchanged(again));
	stream_free(again);
}

static void another_file_with_the_same_beginning_is_another(void **state)
{
	struct stream *s, *other;
	struct position p;

	(void)state;
	put("a", "w", "one\ntwo\n");
	s = open_stream("a");
	read_on(s, 8);
	stream_position(s, &p);
	stream_free(s);
	/* deleted and made again at once: the inode number is often the same */
	unlink(in_dir("a"));
	put("a", "w", "one\ntwo\n");
	other = open_stream("a");
	assert_false(stream_is(other, &p));
	stream_free(other);
}

static void truncation_is_noticed_whatever_fills_the_file_again(void **state)
{
	static const char *const refills[] = { "", "short\n", "exactly as long!\n", "longer than what was here before\n" };

	(void)state;
	for (size_t i = 0; i < sizeof refills / sizeof *refills; i++) {
		struct stream *s;

		put("a", "w", "seventeen bytes!\n");
		s = open_stream("a");
		read_on(s, 17);
		assert_true(stream_unchanged(s));
		put("a", "a", "more\n");
		assert_true(stream_unchanged(s));
		put("a", "w", refills[i]);              /* truncates */
		assert_false(stream_unchanged(s));
		stream_restart(s);
		assert_int_equal(s->position, 0);
		assert_true(stream_unchanged(s));
		stream_free(s);
	}
}

static void a_refilled_file_is_not_taken_up(void **state)
{
	struct stream *s, *again;
	struct position p;

	(void)state;
	put("a", "w", "one\ntwo\n");
	s = open_stream("a");
	read_on(s, 8);
	stream_position(s, &p);
	stream_free(s);
	put("a", "w", "1ne\ntwo\nmore\n");              /* the same file, another text */
	again = open_stream("a");
	assert_false(stream_is(again, &p));
	stream_free(again);
}

static void the_tail_is_remembered_across_short_reads(void **state)
{
	struct stream *s;

	(void)state;
	put("a", "w", "0123456789\n1\n2\n");
	s = open_stream("a");
	read_on(s, 11);
	read_on(s, 2);
	read_on(s, 2);
	assert_int_equal(s->tail_len, 15);
	assert_memory_equal(s->tail, "0123456789\n1\n2\n", 15);
	stream_free(s);
}

static void only_regular_files_are_opened(void **state)
{
	struct stream *s = NULL;
	struct err e;

	(void)state;
	assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
	assert_int_equal(stream_open(in_dir("fifo"), &s, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "not a regular file"));
	assert_int_equal(stream_open("/dev/null", &s, &e), -EINVAL);
	assert_int_equal(stream_open("/nowhere/at/all", &s, &e), -ENOENT);
	assert_null(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_renamed_file_is_taken_up_where_it_stands),
		cmocka_unit_test(another_file_with_the_same_beginning_is_another),
		cmocka_unit_test(truncation_is_noticed_whatever_fills_the_file_again),
		cmocka_unit_test(a_refilled_file_is_not_taken_up),
		cmocka_unit_test(the_tail_is_remembered_across_short_reads),
		cmocka_unit_test(only_regular_files_are_opened),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
