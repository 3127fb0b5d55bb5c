/* A log file is known by what it is, not by its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

/* A file system that gives no handles, where a test wants one. */
static int no_handles;
#define name_to_handle_at(fd, path, handle, mount, flags) \
	(no_handles ? -1 : (name_to_handle_at)(fd, path, handle, mount, flags))

#include "obs_agent/tail/identity.c"
#include "obs_agent/tail/stream.c"
#include "obs_agent/tail/stream_text.c"
#include "obs_agent/tail/stream_fields.c"

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

	assert_int_equal(stream_open(in_dir(name), NULL, &s, &e), 0);
	return s;
}

/* Read n bytes as reader.c would. */
static void read_on(struct stream *s, size_t n)
{
	char bytes[4096];

	assert_int_equal(file_read_at(s->fd, bytes, n, s->at.position), n);
	stream_advance(s, s->at.position + (int64_t)n, bytes + n, n);
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
	assert_int_equal(again->at.position, 8);
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
	static const char *const refills[] = { "", "short\n", "exactly as long!\n",
					       "longer than what was here before\n" };

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
		assert_int_equal(s->at.position, 0);
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

/* Only a whole head, and a position older than the machine's start, make a file that lost its end. */
static void a_torn_file_goes_on_behind_its_end(void **state)
{
	struct stream *s, *torn;
	struct position p, now;
	char line[65];

	(void)state;
	memset(line, 'x', 63);
	line[63] = '\n';
	line[64] = '\0';
	unlink(in_dir("a"));
	for (int i = 0; i < 40; i++)
		put("a", "a", line);
	s = open_stream("a");
	read_on(s, 1000);
	stream_position(s, &now);
	read_on(s, 1560);
	stream_position(s, &p);
	stream_free(s);
	assert_int_equal(truncate(in_dir("a"), 2500), 0);
	torn = open_stream("a");
	assert_false(stream_is(torn, &p));
	assert_false(stream_is_torn(torn, &p));         /* no machine has been up for less than no time */
	p.age_s = INT64_MAX;
	assert_true(stream_is_torn(torn, &p));
	now.age_s = INT64_MAX;
	assert_false(stream_is_torn(torn, &now));       /* that one is whole */
	put("a", "a", "another line, and so much of it that the file is longer than it was ......\n");
	stream_free(torn);
	torn = open_stream("a");
	assert_true(stream_is_torn(torn, &p));
	stream_restart_behind(torn);
	assert_int_equal(torn->at.position, torn->seen.size);
	stream_position(torn, &now);
	assert_int_equal(now.from, 0);
	assert_int_equal(now.to, torn->seen.size);
	assert_int_not_equal(now.stream_id, p.stream_id);
	stream_free(torn);
	p.head_hash[0] = '9';                           /* "9024:": not a whole head */
	torn = open_stream("a");
	assert_false(stream_is_torn(torn, &p));
	stream_free(torn);
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
	assert_int_equal(s->at.tail_len, 15);
	assert_memory_equal(s->at.tail, "0123456789\n1\n2\n", 15);
	stream_free(s);
}

static void without_handles_the_time_of_birth_tells_files_apart(void **state)
{
	no_handles = 1;
	a_renamed_file_is_taken_up_where_it_stands(state);
	for (int i = 0; i < 3; i++) {
		usleep(20000);          /* a tick of the file system's clock */
		another_file_with_the_same_beginning_is_another(state);
	}
	no_handles = 0;
}

static void a_parked_file_is_opened_again_by_what_it_is(void **state)
{
	struct stream *s;
	struct err e;

	(void)state;
	put("a", "w", "one\ntwo\n");
	s = open_stream("a");
	read_on(s, 8);
	assert_true(stream_park(s));
	assert_int_equal(s->fd, -1);
	assert_int_equal(stream_reopen(s, &e), 0);
	assert_true(stream_unchanged(s));
	assert_true(stream_park(s));
	unlink(in_dir("a"));
	assert_int_equal(stream_reopen(s, &e), -ENOENT);
	put("a", "w", "one\ntwo\n");                   /* perhaps with the same inode number */
	assert_int_equal(stream_reopen(s, &e), -ESTALE);
	assert_non_null(strstr(e.msg, "another file"));
	stream_free(s);
}

static void a_copy_goes_on_where_reading_stopped(void **state)
{
	static const struct {
		const char *text;
		enum likeness like;
	} files[] = {
		{ "one\ntwo\nthree\n", COPY },          { "one\ntwo\n", COPY },
		{ "one\ntwo", COPY_TOO_SHORT },         { "1ne\ntwo\nthree\n", UNLIKE },
		{ "", UNLIKE },
	};
	struct stream *s, *other;
	struct position p;

	(void)state;
	put("a", "w", "one\n");
	s = open_stream("a");
	read_on(s, 4);
	stream_position(s, &p);                         /* the head is hashed as far as it is read */
	put("a", "a", "two\n");
	read_on(s, 4);
	p.to = s->at.position;
	fingerprint_print(s->at.tail, s->at.tail_len, p.tail_hash, sizeof p.tail_hash);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		put("b", "w", files[i].text);
		other = open_stream("b");
		assert_int_equal(stream_likeness(other, &p), files[i].like);
		stream_free(other);
	}
	stream_free(s);
}

/* Truncated and filled again before anybody asks: the head is of what was read. */
static void a_position_is_of_the_text_that_was_read(void **state)
{
	static const char *const refills[] = { "", "x\n", "another text of more than eight bytes\n" };
	struct stream *s, *copy;
	struct position p;

	(void)state;
	for (size_t i = 0; i < sizeof refills / sizeof *refills; i++) {
		put("a", "w", "one\ntwo\n");
		s = open_stream("a");
		read_on(s, 8);
		put("b", "w", "one\ntwo\nthree\n");
		put("a", "w", refills[i]);
		stream_position(s, &p);
		copy = open_stream("b");
		assert_int_equal(stream_likeness(copy, &p), COPY);
		stream_free(copy);
		stream_free(s);
	}
}

/* Of 1 to 2000 bytes: each text that begins as it does, and no other, fits; also after it was a text itself.
 * */
static void a_head_fits_what_begins_as_it_does(void **state)
{
	char text[2000], other[2000], printed[72];
	struct head h = { 0 }, again;

	(void)state;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)('a' + i * i % 23);
	for (size_t n = 1; n < sizeof text; n += n < 70 ? 1 : 97) {
		h = (struct head){ 0 };
		head_add(&h, text, n / 2);
		head_add(&h, text + n / 2, n - n / 2);
		head_print(&h, printed, sizeof printed);
		head_parse(&again, printed);
		assert_memory_equal(&h, &again, sizeof h);
		for (size_t m = 1; m < sizeof text; m += m < 70 ? 1 : 89) {
			assert_true(head_fits(&again, text, m));
			memcpy(other, text, sizeof other);
			other[0] ^= 1;
			assert_false(head_fits(&again, other, m));
		}
	}
	assert_false(head_fits(&h, "", 0));
	head_parse(&again, "5:0123456789abcdef");       /* as an earlier version stored it */
	assert_true(again.len == 5 && again.without_parts);
	assert_false(head_fits(&again, text, 4));
	head_parse(&again, "nothing");
	assert_int_equal(again.len, 0);
}

static void what_waits_has_an_age(void **state)
{
	struct stream *s;
	struct stat st;

	(void)state;
	put("a", "w", "one\n");
	s = open_stream("a");
	assert_true(s->lag.since_us > 0);
	stream_committed(s, 4);
	assert_int_equal(s->lag.since_us, 0);
	put("a", "a", "two\n");
	assert_int_equal(fstat(s->fd, &st), 0);
	stream_seen(s, &st);
	assert_true(s->dirty && s->seen.size == 8 && s->lag.since_us > 0);
	stream_committed(s, 6);
	assert_true(s->lag.since_us > 0);
	stream_free(s);
}

static void only_regular_files_are_opened(void **state)
{
	struct stream *s = NULL;
	struct err e;

	(void)state;
	assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
	assert_int_equal(stream_open(in_dir("fifo"), NULL, &s, &e), -EPERM);
	assert_non_null(strstr(e.msg, "not a regular file"));
	assert_int_equal(stream_open("/dev/null", NULL, &s, &e), -EPERM);
	assert_int_equal(stream_open("/nowhere/at/all", NULL, &s, &e), -ENOENT);
	assert_null(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_renamed_file_is_taken_up_where_it_stands),
		cmocka_unit_test(another_file_with_the_same_beginning_is_another),
		cmocka_unit_test(truncation_is_noticed_whatever_fills_the_file_again),
		cmocka_unit_test(a_refilled_file_is_not_taken_up),
		cmocka_unit_test(a_torn_file_goes_on_behind_its_end),
		cmocka_unit_test(the_tail_is_remembered_across_short_reads),
		cmocka_unit_test(without_handles_the_time_of_birth_tells_files_apart),
		cmocka_unit_test(a_parked_file_is_opened_again_by_what_it_is),
		cmocka_unit_test(a_copy_goes_on_where_reading_stopped),
		cmocka_unit_test(a_position_is_of_the_text_that_was_read),
		cmocka_unit_test(a_head_fits_what_begins_as_it_does),
		cmocka_unit_test(what_waits_has_an_age),
		cmocka_unit_test(only_regular_files_are_opened),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
