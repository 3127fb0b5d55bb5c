/* The private base: what each helper promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/settings/app_name.h"
#include "common/settings/server_name.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/hash.h"
#include "common/parse.h"
#include "common/random.h"
#include "common/read.h"
#include "common/utf8.h"

static void error_is_a_code_and_a_sentence(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(err_set(&e, 22, "%s: bad", "a.yml"), -22);
	assert_int_equal(err_prefix(&e, "line %d", 3), -22);
	assert_string_equal(e.msg, "line 3: a.yml: bad");
	assert_int_equal(err_set(NULL, 5, "ignored"), -5);
}

static void long_error_ends_in_dots(void **state)
{
	struct err e;
	char big[2 * ERR_MSG_MAX];

	(void)state;
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	err_set(&e, 1, "%s", big);
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
	assert_string_equal(e.msg + ERR_MSG_MAX - 4, "...");
}

static void buf_refuses_what_exceeds_its_limit_and_stays_as_it_was(void **state)
{
	struct buf b = BUF(8);

	(void)state;
	assert_true(buf_adds(&b, "12345"));
	assert_false(buf_adds(&b, "6789"));
	assert_false(buf_addf(&b, "%d", 12345));
	assert_false(buf_add_json(&b, TEXT("abc")));
	assert_int_equal(b.len, 5);
	assert_string_equal(buf_cstr(&b), "12345");
	buf_free(&b);
	assert_null(b.data);
}

static void json_string_is_valid_whatever_goes_in(void **state)
{
	struct buf b = BUF(256);
	static const char in[] = "a\"\\\n\x01\0\xff\xc3\xa9\xed\xa0\x80\x7f";

	(void)state;
	assert_true(buf_add_json(&b, (struct text){ in, sizeof in - 1 }));
	assert_string_equal(buf_cstr(&b), "\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9"
					  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\\u007f\"");
	buf_free(&b);
}

/* Texts are looked at and written in blocks: wherever in a text of any length it stands, it is escaped. */
static void json_string_escapes_at_each_place(void **state)
{
	static const struct { const char *in, *out; } rows[] = {
		{ "\"", "\\\"" }, { "\\", "\\\\" }, { "\n", "\\n" }, { "\x7f", "\\u007f" },
		{ "\x1f", "\\u001f" }, { "\xc3\xa9", "\xc3\xa9" }, { "\xff", "\xef\xbf\xbd" },
		{ "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd" }, { "~", "~" },
	};
	static char in[600], expected[700];
	struct buf b = BUF(2000);

	(void)state;
	for (size_t len = 0; len < sizeof in - 8; len += len < 70 ? 1 : 83)
		for (size_t at = 0; at <= len; at++)
			for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
				size_t n = strlen(rows[i].in), m = strlen(rows[i].out);
				const struct text t = { in, len + n };

				memset(in, 'x', sizeof in);
				memcpy(in + at, rows[i].in, n);
				memset(expected, 'x', sizeof expected);
				expected[0] = '"';
				memcpy(expected + 1 + at, rows[i].out, m);
				expected[1 + len + m] = '"';
				buf_reset(&b);
				assert_true(buf_add_json(&b, t));
				assert_int_equal(b.len, len + m + 2);
				assert_memory_equal(b.data, expected, b.len);
				assert_int_equal(json_is_plain(t), *rows[i].in == '~');
			}
	buf_free(&b);
}

static void utf8_is_as_strict_as_the_rfc(void **state)
{
	static const struct { const char *s; size_t len, want; } rows[] = {
		{ "a", 1, 1 }, { "\xc3\xa9", 2, 2 }, { "\xe2\x82\xac", 3, 3 }, { "\xf0\x9f\x98\x80", 4, 4 },
		{ "\xc0\x80", 2, 0 },                   /* overlong NUL */
		{ "\xe0\x80\x80", 3, 0 },               /* overlong */
		{ "\xed\xa0\x80", 3, 0 },               /* surrogate */
		{ "\xf4\x90\x80\x80", 4, 0 },           /* above U+10FFFF */
		{ "\xe2\x82", 2, 0 },                   /* cut */
		{ "\x80", 1, 0 }, { "\xff", 1, 0 }, { "", 0, 0 },
	};
	char out[4];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(utf8_sequence(rows[i].s, rows[i].len), rows[i].want);
	for (uint32_t c = 0; c <= 0x10ffff; c += c < 0x3000 ? 1 : 997)
		if (c < 0xd800 || c > 0xdfff) {
			size_t n = utf8_encode(out, c);

			assert_int_equal(utf8_sequence(out, n), n);
		}
}

/* At each place of texts that are longer than one step of the vector code. */
static void clean_text_is_utf8_without_nul(void **state)
{
	static const struct { const char *s; size_t len; bool clean; } rows[] = {
		{ "\xc3\xa9", 2, true }, { "\xf0\x9f\x98\x80", 4, true }, { "a", 1, true },
		{ "\0", 1, false }, { "\xff", 1, false }, { "\xed\xa0\x80", 3, false }, { "\xc3", 1, false },
	};

	(void)state;
	assert_true(utf8_is_clean((struct text){ NULL, 0 }));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t len = rows[i].len; len < 80; len++)
			for (size_t at = 0; at + rows[i].len <= len; at++) {
				char text[80];

				memset(text, 'x', sizeof text);
				memcpy(text + at, rows[i].s, rows[i].len);
				assert_int_equal(utf8_is_clean((struct text){ text, len }), rows[i].clean);
			}
}

static void hash_is_fnv1a_and_continues_over_pieces(void **state)
{
	(void)state;
	assert_int_equal(hash_bytes(HASH_START, "", 0), UINT64_C(0xcbf29ce484222325));
	assert_int_equal(hash_bytes(HASH_START, "foobar", 6), UINT64_C(0x85944171f73967e8));
	assert_int_equal(hash_bytes(hash_bytes(HASH_START, "foo", 3), "bar", 3),
			 UINT64_C(0x85944171f73967e8));
	assert_int_not_equal(hash_str(HASH_START, "foo1") >> 56, hash_str(HASH_START, "foo2") >> 56);
}

static void random_ids_are_positive_and_fit(void **state)
{
	int64_t all = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		int64_t id = random_id(40);

		assert_in_range(id, 1, (INT64_C(1) << 40) - 1);
		assert_in_range(random_id(1), 1, 1);
		assert_true(random_id(63) > 0);
		all |= id;
	}
	assert_int_equal(all, (INT64_C(1) << 40) - 1);
}

/* A read(2) of a packet socket gives one packet. */
static void reading_takes_all_the_pieces_up_to_the_end(void **state)
{
	char all[200], few[30];
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(write(ends[1], "0123456789", 10), 10);
	close(ends[1]);
	assert_int_equal(read_all(ends[0], few, sizeof few), sizeof few);
	assert_int_equal(read_all(ends[0], all, sizeof all), 70);
	assert_memory_equal(all, "01234567890123456789", 20);
	assert_int_equal(read_all(ends[0], all, sizeof all), 0);
	assert_int_equal(read_all_at(ends[0], all, 1, 0), -ESPIPE);
	close(ends[0]);
	assert_int_equal(read_all(-1, all, sizeof all), -EBADF);
}

static void reading_at_a_place_leaves_the_position_alone(void **state)
{
	char got[10] = "";
	FILE *f = tmpfile();

	(void)state;
	assert_non_null(f);
	assert_int_equal(write(fileno(f), "0123456789", 10), 10);
	assert_int_equal(lseek(fileno(f), 2, SEEK_SET), 2);
	assert_int_equal(read_all_at(fileno(f), got, 5, 7), 3);
	assert_memory_equal(got, "789", 3);
	assert_int_equal(read_all_at(fileno(f), got, 5, -1), -EINVAL);
	assert_int_equal(read_all(fileno(f), got, 1), 1);
	assert_int_equal(got[0], '2');
	fclose(f);
}

static void arena_gives_zeroed_aligned_memory_up_to_its_size(void **state)
{
	struct arena a = ARENA(64);
	char *x = arena_alloc(&a, 3), *y = arena_alloc(&a, 8);

	(void)state;
	assert_non_null(x);
	assert_int_equal((uintptr_t)y % 16, 0);
	assert_int_equal(x[0] | x[1] | x[2], 0);
	assert_null(arena_alloc(&a, 64));
	assert_string_equal(arena_dup(&a, TEXT("hello")), "hello");
	arena_free(&a);
}

static void numbers_are_taken_whole_or_not_at_all(void **state)
{
	static const char *const bad[] = { "", "-", "+", "1 ", " 1", "1x", "0x1", "9223372036854775808",
					   "-9223372036854775809" };
	static const char *const bad_double[] = { "", ".", "1.", ".5", "1e", "inf", "nan", "0x1p3", "1e999",
						  "1 ", "--1" };
	int64_t v = 7;
	double d = 7;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(parse_i64(text_of(bad[i]), &v));
	for (size_t i = 0; i < sizeof bad_double / sizeof *bad_double; i++)
		assert_false(parse_double(text_of(bad_double[i]), &d));
	assert_int_equal(v, 7);
	assert_true(parse_i64(TEXT("-9223372036854775808"), &v));
	assert_true(v == INT64_MIN);
	assert_true(parse_i64(TEXT("+42"), &v));
	assert_int_equal(v, 42);
	assert_true(parse_double(TEXT("-1.5e3"), &d));
	assert_true(d < -1499.9 && d > -1500.1);
}

static void times_are_read_as_rfc3339_has_them(void **state)
{
	static const struct { const char *s; int64_t us; } good[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "1969-12-31T23:59:59.5Z", -500000 },
		{ "2026-11-21T02:39:14.123456Z", INT64_C(1795228754123456) },
		{ "2026-11-21 03:39:14,123456789+01:00", INT64_C(1795228754123456) },
		{ "2026-11-21t02:39:14.123456", INT64_C(1795228754123456) },
		{ "2026-11-20T21:09:14.123456-0530", INT64_C(1795228754123456) },
		{ "2000-02-29T00:00:00Z", INT64_C(951782400000000) },
		{ "2016-12-31T23:59:60Z", INT64_C(1483228799999999) },
	};
	static const char *const bad[] = { "", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z",
					   "2100-02-29T00:00:00Z",
					   "2026-01-01T24:00:00Z", "2026-01-01T00:00:00.Z",
					   "2026-01-01T00:00:00+1", "2026-01-01T00:00:00ZZ",
					   "0000-01-01T00:00:00Z", "2026-01-01",
					   "2026-01-01T00:00:00.1234567890Z" };
	char out[RFC3339_SIZE];
	int64_t us = 1;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_true(parse_rfc3339(text_of(good[i].s), &us));
		assert_true(us == good[i].us);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(parse_rfc3339(text_of(bad[i]), &us));
	format_rfc3339(out, INT64_C(1795228754123456));
	assert_string_equal(out, "2026-11-21T02:39:14.123456Z");
	format_rfc3339(out, -500000);
	assert_string_equal(out, "1969-12-31T23:59:59.500000Z");
}

/* The schema has the same cases: tests/sql/servers.sql. */
static void the_name_of_a_server_is_one_that_the_database_takes(void **state)
{
	static const char *const good[] = { "a", "web 1", "a/b", "\xc3\xa4", "${x}", "'" };
	static const char *const bad[] = { "", " ", " a", "a ", "a\n", "a\x7f" "b", "a\xc2\x85" "b", "\xff" };
	char longest[SERVER_NAME_MAX + 2] = "";

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_true(server_name_valid(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(server_name_valid(bad[i]));
	memset(longest, 'a', SERVER_NAME_MAX);
	assert_true(server_name_valid(longest));
	longest[SERVER_NAME_MAX] = 'a';
	assert_false(server_name_valid(longest));
}

static void the_name_of_an_application_fits_paths_and_units(void **state)
{
	static const char *const good[] = { "a", "my-app", "_x", "9.to_5", "A.b-C" };
	static const char *const bad[] = {
		"", ".", "..", ".a", "-a", "a b", "a/b", "a@b", "\xc3\xa4", "a\n"
	};
	char longest[APP_NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_true(app_name_valid(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(app_name_valid(bad[i]));
	memset(longest, 'a', sizeof longest);
	longest[APP_NAME_MAX] = '\0';
	assert_true(app_name_valid(longest));
	longest[APP_NAME_MAX] = 'a';
	longest[APP_NAME_MAX + 1] = '\0';
	assert_false(app_name_valid(longest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_is_a_code_and_a_sentence),
		cmocka_unit_test(long_error_ends_in_dots),
		cmocka_unit_test(buf_refuses_what_exceeds_its_limit_and_stays_as_it_was),
		cmocka_unit_test(json_string_is_valid_whatever_goes_in),
		cmocka_unit_test(json_string_escapes_at_each_place),
		cmocka_unit_test(utf8_is_as_strict_as_the_rfc),
		cmocka_unit_test(clean_text_is_utf8_without_nul),
		cmocka_unit_test(hash_is_fnv1a_and_continues_over_pieces),
		cmocka_unit_test(random_ids_are_positive_and_fit),
		cmocka_unit_test(reading_takes_all_the_pieces_up_to_the_end),
		cmocka_unit_test(reading_at_a_place_leaves_the_position_alone),
		cmocka_unit_test(arena_gives_zeroed_aligned_memory_up_to_its_size),
		cmocka_unit_test(numbers_are_taken_whole_or_not_at_all),
		cmocka_unit_test(times_are_read_as_rfc3339_has_them),
		cmocka_unit_test(the_name_of_a_server_is_one_that_the_database_takes),
		cmocka_unit_test(the_name_of_an_application_fits_paths_and_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
