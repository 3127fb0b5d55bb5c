/* The outbox: each appended sample comes out once, whatever happens to the process, the file or the folder.
 * */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "obs_agent/outbox/outbox.c"

enum { BIG_ROW = 200 << 10 };

static char folder[64];
static char file[256];                  /* of the only segment there */

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/observ-outbox.XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static void remove_files(void)
{
	CLEANUP(closedir_p) DIR *d = opendir(folder);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(d), entry->d_name, 0);
}

static int remove_folder(void **state)
{
	(void)state;
	remove_files();
	rmdir(folder);
	return 0;
}

static int files(void)
{
	CLEANUP(closedir_p) DIR *d = opendir(folder);
	struct dirent *entry;
	int n = 0;

	while (d && (entry = readdir(d)))
		if (entry->d_name[0] != '.') {
			snprintf(file, sizeof file, "%s/%.100s", folder, entry->d_name);
			n++;
		}
	return n;
}

/* A check with a number that its row contains. */
static void add(struct outbox *o, int number)
{
	struct sample s = { .kind = SAMPLE_CHECK,
			    .timestamp_us = 1000 + number,
			    .check = { .url = TEXT("u"),
				       .attempts = number,
				       .response_ms = NAN,
				       .dns_ms = NAN,
				       .connect_ms = NAN,
				       .tls_ms = NAN,
				       .first_byte_ms = NAN } };

	outbox_add(o, &s, false);
}

static void add_big(struct outbox *o)
{
	static char text[BIG_ROW];
	struct sample s = { .kind = SAMPLE_CHECK,
			    .timestamp_us = 1000,
			    .check = { .url = { text, sizeof text } } };

	memset(text, 'x', sizeof text);
	outbox_add(o, &s, false);
}

/* The rows of the next batch, which this commits at once; the caller frees them. */
static struct batch take(struct outbox *o, bool last)
{
	struct batch b;

	batch_init(&b);
	outbox_fill(o, &b, SIZE_MAX, last);
	outbox_committed(o, &b);
	return b;
}

static size_t times(const char *text, const char *what)
{
	size_t n = 0;

	for (; text && (text = strstr(text, what)); text += strlen(what))
		n++;
	return n;
}

static void samples_come_out_once_in_their_order(void **state)
{
	struct outbox *o = outbox_open(folder, NULL);
	struct batch b;

	(void)state;
	add(o, 1);
	add(o, 2);
	assert_int_equal(outbox_state(o).samples, 2);
	assert_false(outbox_state(o).in_memory);
	b = take(o, false);
	assert_string_equal(buf_cstr(&b.json[SAMPLE_CHECK]),
			    "[1001,0,\"u\",null,null,1],[1002,0,\"u\",null,null,2]");
	assert_int_equal(b.n_positions, 1);
	assert_int_equal(b.positions[0].from, 0);
	assert_true(outbox_is_empty(o, false));
	assert_int_equal(outbox_state(o).samples, 0);
	batch_free(&b);
	add(o, 3);
	b = take(o, false);
	assert_int_equal(b.n[SAMPLE_CHECK], 1);
	assert_true(b.positions[0].from > 0);
	batch_free(&b);
	b = take(o, true); /* no file is left when the database knows that the stream is over */
	batch_free(&b);
	outbox_close(o);
	assert_int_equal(files(), 0);
}

/* Only an agent with the folder knows which files of a stream exist. */
static void a_stream_that_another_agent_ended_continues(void **state)
{
	struct outbox *o = outbox_open(folder, NULL), *next;
	struct position ended;
	struct batch b;

	(void)state;
	add(o, 1);
	b = take(o, false);
	ended = b.positions[0];
	ended.finished = true;
	batch_free(&b);
	add(o, 2);
	close_p(&o->folder);
	next = outbox_open(folder, NULL);
	outbox_positions(next, &ended, 1);
	b = take(next, false);
	assert_int_equal(times(buf_cstr(&b.json[SAMPLE_CHECK]), "[1002,1,"), 1);
	assert_int_equal(b.n[SAMPLE_CHECK], 1);
	batch_free(&b);
	outbox_close(next);
	outbox_close(o);
}

/* With a full disk, the outbox retries each minute for hours: this leaves no files and keeps the samples in
 * memory. */
static void a_full_disk_wastes_nothing(void **state)
{
	struct outbox *o = outbox_open(folder, NULL);
	struct rlimit all, little = { 0 };

	(void)state;
	getrlimit(RLIMIT_FSIZE, &all);
	little.rlim_max = all.rlim_max;
	add(o, 1);
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &little);
	for (int i = 2; i < 90; i++) {
		o->folder_tried_us -= FOLDER_AGAIN_S * US_PER_S;
		add(o, i);
	}
	setrlimit(RLIMIT_FSIZE, &all);
	assert_int_equal(outbox_state(o).lost, outbox_state(o).in_memory ? 0 : 88);
	assert_int_equal(outbox_state(o).samples + outbox_state(o).lost, 89);
	assert_in_range(files(), 1, 2);
	outbox_close(o);
}

/* The process died: the next one delivers the rows that the database does not have, and ends the stream. */
static void the_next_process_delivers_the_rest(void **state)
{
	struct outbox *o = outbox_open(folder, NULL), *next;
	struct position stored;
	struct batch b;

	(void)state;
	add(o, 1);
	b = take(o, false);
	stored = b.positions[0];
	batch_free(&b);
	add(o, 2);
	close_p(&o->folder);            /* this drops its lock */
	next = outbox_open(folder, NULL);
	add(next, 3);
	outbox_positions(next, &stored, 1);
	assert_int_equal(outbox_state(next).samples, 2);
	b = take(next, false);
	assert_int_equal(b.n[SAMPLE_CHECK], 2);
	assert_int_equal(times(buf_cstr(&b.json[SAMPLE_CHECK]), "[1002,1,"), 1);
	assert_int_equal(times(buf_cstr(&b.json[SAMPLE_CHECK]), "[1003,0,"), 1);
	assert_int_equal(b.n_positions, 2);
	assert_int_equal(b.positions[0].stream_id, stored.stream_id);
	assert_int_equal(b.positions[0].from, stored.to);
	assert_true(b.positions[0].finished);
	assert_false(b.positions[1].finished);
	assert_int_equal(b.n[SAMPLE_GAP], 0);
	assert_int_equal(files(), 1);           /* its own */
	batch_free(&b);
	outbox_close(next);
	outbox_close(o);
}

/* A batch that did not commit is built again from the database's position. */
static void uncommitted_rows_are_read_again(void **state)
{
	struct outbox *o = outbox_open(folder, NULL);
	struct batch b;

	(void)state;
	add(o, 1);
	add(o, 2);
	batch_init(&b);
	outbox_fill(o, &b, 1, false);
	assert_int_equal(b.n[SAMPLE_CHECK], 1);
	assert_true(outbox_has_unread(o));
	outbox_positions(o, NULL, 0);
	batch_reset(&b);
	outbox_fill(o, &b, SIZE_MAX, false);
	assert_int_equal(b.n[SAMPLE_CHECK], 2);
	assert_false(outbox_has_unread(o));
	assert_false(outbox_is_empty(o, false));
	batch_free(&b);
	outbox_close(o);
}

static void its_own_stream_ends_with_the_last_sample(void **state)
{
	struct outbox *o = outbox_open(NULL, NULL);
	struct batch b;

	(void)state;
	assert_true(outbox_is_empty(o, true));          /* there was none */
	add(o, 1);
	b = take(o, false);
	batch_free(&b);
	assert_true(outbox_is_empty(o, false));
	assert_false(outbox_is_empty(o, true));
	b = take(o, true);
	assert_true(b.positions[0].finished);
	assert_true(outbox_is_empty(o, true));
	batch_free(&b);
	outbox_close(o);
}

/* ---- damage ---- */

enum { RECORDS = 4 };

static size_t file_of_records(char *bytes, size_t size)
{
	struct outbox *o = outbox_open(folder, NULL);
	FILE *f;
	size_t n;

	for (int i = 1; i <= RECORDS; i++)
		add(o, i);
	outbox_close(o);
	assert_int_equal(files(), 1);
	f = fopen(file, "r");
	n = fread(bytes, 1, size, f);
	fclose(f);
	return n;
}

/* Reads the file like another process; returns the number of records. */
static size_t deliver(const char *bytes, size_t n, int64_t *ret_skipped)
{
	FILE *f = fopen(file, "w");
	struct outbox *o;
	struct batch b;
	size_t got;

	fwrite(bytes, 1, n, f);
	fclose(f);
	o = outbox_open(folder, NULL);
	batch_init(&b);
	outbox_fill(o, &b, SIZE_MAX, false);
	got = b.n[SAMPLE_CHECK];
	for (int i = 1; i <= RECORDS; i++) {
		char row[32];

		snprintf(row, sizeof row, "[%d,1,", 1000 + i);
		assert_in_range(times(buf_cstr(&b.json[SAMPLE_CHECK]), row), 0, 1);
	}
	assert_int_equal(times(buf_cstr(&b.json[SAMPLE_CHECK]),
			       ",1,\"u\",null,null,"),
			 got);
	*ret_skipped = 0;
	if (b.n[SAMPLE_GAP]) {
		assert_int_equal(b.n[SAMPLE_GAP], times(buf_cstr(&b.json[SAMPLE_GAP]), "\"outbox_damaged\""));
		*ret_skipped = 1;
	}
	assert_true(n == 0 || b.positions[0].finished);
	assert_int_equal(b.n_positions ? b.positions[0].to : 0, (int64_t)n);
	batch_free(&b);
	outbox_close(o);
	return got;
}

static void each_prefix_of_the_file_gives_its_whole_records(void **state)
{
	char bytes[2048];
	size_t size = file_of_records(bytes, sizeof bytes), record = size / RECORDS;
	int64_t gap;

	(void)state;
	assert_int_equal(size % RECORDS, 0);
	for (size_t n = 0; n <= size; n++) {
		assert_int_equal(deliver(bytes, n, &gap), n / record);
		assert_int_equal(gap, n % record != 0);
	}
}

static void each_damaged_bit_costs_one_record_and_is_counted(void **state)
{
	char bytes[2048];
	size_t size = file_of_records(bytes, sizeof bytes);
	int64_t gap;

	(void)state;
	for (size_t bit = 0; bit < size * 8; bit++) {
		bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
		assert_int_equal(deliver(bytes, size, &gap), RECORDS - 1);
		assert_int_equal(gap, 1);
		bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
	}
}

static void files_of_others_are_left_alone(void **state)
{
	static const char *const names[] = { "outbox-", "outbox-1-2-3",
					     "outbox-0000000000000001-0000000000000002-0000000000000003x",
					     "other",
					     "outbox-0000000000000001-0000000000000002-ffffffffffffffff" };
	struct outbox *o;

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(file, sizeof file, "%s/%s", folder, names[i]);
		fclose(fopen(file, "w"));
	}
	snprintf(file, sizeof file, "%s/outbox-0000000000000001-0000000000000002-0000000000000000", folder);
	assert_int_equal(mkfifo(file, 0600), 0);
	o = outbox_open(folder, NULL);
	assert_false(outbox_has_unread(o));
	outbox_close(o);
	assert_int_equal(files(), 6);
}

/* ---- limits ---- */

static void the_oldest_samples_are_dropped_and_counted(void **state)
{
	struct outbox *o = outbox_open(folder, NULL);
	int added = 0, taken = 0, lost = 0;
	const char *gap;

	(void)state;
	for (; added < BYTES_MAX / BIG_ROW + 50; added++)
		add_big(o);
	assert_in_range(files(), 50, 64);
	assert_int_equal(outbox_state(o).samples + outbox_state(o).lost, added);
	while (outbox_has_unread(o)) {
		struct batch b = take(o, false);

		taken += (int)b.n[SAMPLE_CHECK];
		for (gap = buf_cstr(&b.json[SAMPLE_GAP]); gap && (gap = strstr(gap, "outbox_full\",")); gap++)
			lost += (int)strtol(gap + strlen("outbox_full\","), NULL, 10);
		assert_int_equal(times(buf_cstr(&b.json[SAMPLE_GAP]), "outbox_damaged"), 0);
		batch_free(&b);
	}
	assert_true(lost > 0);
	assert_int_equal(taken + lost, added);
	assert_int_equal(lost, outbox_state(o).lost);
	assert_true(outbox_is_empty(o, false));
	outbox_close(o);
}

static void without_a_folder_memory_is_bounded(void **state)
{
	struct outbox *o = outbox_open(NULL, NULL);
	int added = 0;

	(void)state;
	for (; added < 5 * (MEMORY_SEGMENTS_MAX + 3); added++)
		add_big(o);
	assert_true(outbox_state(o).in_memory);
	assert_true(outbox_state(o).lost > 0);
	assert_int_equal(outbox_state(o).samples + outbox_state(o).lost, added);
	assert_int_equal(outbox_stream_segments(o->streams, true), MEMORY_SEGMENTS_MAX);
	outbox_close(o);
}

/* ---- trouble ---- */

static void a_folder_that_disappears_and_returns(void **state)
{
	struct outbox *o = outbox_open(folder, NULL);
	struct batch b;

	(void)state;
	add(o, 1);
	remove_files();
	assert_int_equal(rmdir(folder), 0);
	add(o, 2);
	assert_true(outbox_state(o).in_memory);
	assert_true(outbox_state(o).trouble[0] != '\0');
	assert_int_equal(mkdir(folder, 0700), 0);
	add(o, 3);
	assert_true(outbox_state(o).in_memory);         /* it is not searched each time */
	o->folder_tried_us -= FOLDER_AGAIN_S * US_PER_S;
	add(o, 4);
	assert_false(outbox_state(o).in_memory);
	assert_string_equal(outbox_state(o).trouble, "");
	b = take(o, false);
	assert_int_equal(b.n[SAMPLE_CHECK], 4);
	assert_int_equal(b.n[SAMPLE_GAP], 0);
	batch_free(&b);
	outbox_close(o);
}

static void a_folder_is_for_one_process(void **state)
{
	struct outbox *o = outbox_open(folder, NULL), *second;

	(void)state;
	add(o, 1);
	second = outbox_open(folder, NULL);
	assert_true(outbox_state(second).trouble[0] != '\0');
	assert_false(outbox_has_unread(second));        /* the files belong to the first one */
	outbox_close(second);
	outbox_close(o);
}

static void a_stream_without_files_is_ended_and_reported(void **state)
{
	struct position stored = { .stream_id = 12345, .from = 70, .to = 70, .source = SOURCE_OUTBOX };
	struct outbox *o = outbox_open(folder, NULL);
	struct batch b;

	(void)state;
	outbox_positions(o, &stored, 1);
	assert_true(outbox_has_unread(o));
	b = take(o, false);
	assert_int_equal(times(buf_cstr(&b.json[SAMPLE_GAP]), "outbox_gone"), 1);
	assert_int_equal(b.positions[0].from, 70);
	assert_true(b.positions[0].finished);
	assert_true(outbox_is_empty(o, false));
	batch_free(&b);
	outbox_close(o);
}

static void a_record_that_the_server_refuses_becomes_a_reject(void **state)
{
	struct outbox *o = outbox_open(folder, NULL);
	struct poison poison = {
		.stream_id = o->own->stream_id, .offset = 0, .sqlstate = "22003", .reason = "r"
	};
	struct batch b;

	(void)state;
	add(o, 1);
	add(o, 2);
	batch_init(&b);
	b.poison = &poison;
	outbox_fill(o, &b, SIZE_MAX, false);
	assert_int_equal(b.n[SAMPLE_REJECT], 1);
	assert_int_equal(b.n[SAMPLE_CHECK], 1);
	outbox_committed(o, &b);
	assert_int_equal(outbox_state(o).samples, 0);
	batch_free(&b);
	outbox_close(o);
}

/* A file that the first version wrote: metrics, a check, a gap. An upgrade loses none of them. */
static void a_file_of_the_first_version_is_read(void **state)
{
	static const char bytes[] =
		"\x5c\xda\x80\xa1\x0a\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0RO\0\0,null,12.5"
		"\xfa\x0e\xc0\x1d\x38\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0RO\x01\x01,\"u\",null,null,true,null,"
		"null,null,null,null,null,null,1"
		"\xe6\x60\x42\x4e\x14\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0RO\x02\0,null,\"k\",1,null,\"d\"";
	struct buf out = BUF(1000);
	struct outbox *o;
	struct batch b;
	FILE *f;

	(void)state;
	snprintf(file, sizeof file, "%s/outbox-0006617e3f0d6c9d-000000ca1674ae54-0000000000000000", folder);
	f = fopen(file, "w");
	fwrite(bytes, 1, sizeof bytes - 1, f);
	fclose(f);
	o = outbox_open(folder, NULL);
	assert_int_equal(outbox_state(o).samples, 2);
	b = take(o, false);
	assert_true(batch_json(&b, &out));
	assert_string_equal(buf_cstr(&out),
			    ",[[1,1,null,12.5]],"    /* push_checks() knows the former order of a check */
			    "[[2,1,\"u\",null,null,true,null,null,null,null,null,null,null,1]],"
			    "[[3,null,\"k\",1,null,\"d\"]]");
	buf_free(&out);
	batch_free(&b);
	outbox_close(o);
}

/* Rejects and lines are never in such a file, and what a later version adds is not known. */
static void a_record_of_a_kind_that_is_not_kept_is_damage(void **state)
{
	static const int kinds[] = { SAMPLE_LOG, SAMPLE_REJECT, SAMPLE_KIND_COUNT, 255 };

	(void)state;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		struct outbox *o = outbox_open(folder, NULL);
		struct record r = { .kind = (enum sample_kind)kinds[i], .row = TEXT(",1") };
		struct batch b;

		assert_true(prepare(o));
		assert_int_equal(outbox_segment_append(o->last, &r, 0), 0);
		o->own->end = o->last->end;
		b = take(o, false);
		assert_int_equal(batch_all_rows(&b), 1);
		assert_int_equal(times(buf_cstr(&b.json[SAMPLE_GAP]), "\"outbox_damaged\""), 1);
		batch_free(&b);
		outbox_close(o);
		remove_files();
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		TEST(samples_come_out_once_in_their_order),
		TEST(a_file_of_the_first_version_is_read),
		TEST(a_record_of_a_kind_that_is_not_kept_is_damage),
		TEST(the_next_process_delivers_the_rest),
		TEST(uncommitted_rows_are_read_again),
		TEST(a_stream_that_another_agent_ended_continues),
		TEST(a_full_disk_wastes_nothing),
		TEST(its_own_stream_ends_with_the_last_sample),
		TEST(each_prefix_of_the_file_gives_its_whole_records),
		TEST(each_damaged_bit_costs_one_record_and_is_counted),
		TEST(files_of_others_are_left_alone),
		TEST(the_oldest_samples_are_dropped_and_counted),
		TEST(without_a_folder_memory_is_bounded),
		TEST(a_folder_that_disappears_and_returns),
		TEST(a_folder_is_for_one_process),
		TEST(a_stream_without_files_is_ended_and_reported),
		TEST(a_record_that_the_server_refuses_becomes_a_reject),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
