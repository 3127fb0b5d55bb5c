/* logcore, random fields: json-c and Python read back the values that went in. */
#include "logcore_lines.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/random_text.h"

enum { LINES = 1500, FIELDS = 8, TEXT_MAX = 200, DEPTH = 4 };

static const uint64_t seeds[] = { 1, 20261121, 0xdeadbeef, 42, 0x9e3779b97f4a7c15 };

static struct capture cap;
static FILE *lines;                     /* all lines, for Python */

/* ---- chance ------------------------------------------------------------------------ */

static size_t below(size_t n)
{
	return (size_t)(random64() % n);
}

/* Each number of bits, from 1 to 64, is equally likely. */
static int64_t random_integer(void)
{
	return (int64_t)(random64() >> below(64));
}

static double random_double(void)
{
	uint64_t bits = random64();
	double v;

	memcpy(&v, &bits, sizeof v);
	return below(2) && isfinite(v) ? v : (double)random_integer() / pow(10, (double)below(20));
}

/* Bytes, and the text that a reader should find. */
static size_t random_bytes(char *out, size_t max)
{
	size_t n = below(max + 1);
	uint64_t mask = below(2) ? 0xff : 0x7f;

	for (size_t i = 0; i < n; i++)
		out[i] = (char)(random64() & mask);
	return n;
}

static struct json_object *random_string(void)
{
	char bytes[TEXT_MAX], text[3 * TEXT_MAX];
	size_t n = random_bytes(bytes, TEXT_MAX);

	return json_object_new_string_len(text, (int)repaired(text, bytes, n));
}

static struct json_object *random_json(int depth)
{
	struct json_object *o;
	char key[8];

	switch (below(depth > 0 ? 7 : 5)) {
	case 0:
		return NULL;
	case 1:
		return json_object_new_boolean((json_bool)below(2));
	case 2:
		return json_object_new_int64(random_integer());
	case 3:
		return json_object_new_double(random_double());
	case 4:
		return random_string();
	case 5:
		o = json_object_new_array();
		for (size_t n = below(5); n > 0; n--)
			json_object_array_add(o, random_json(depth - 1));
		return o;
	default:
		o = json_object_new_object();
		for (size_t n = below(5); n > 0; n--) {
			snprintf(key, sizeof key, "\"%zu\n", n);
			json_object_object_add(o, key, random_json(depth - 1));
		}
		return o;
	}
}

/* ---- a field and what is expected of it ---------------------------------------------- */

struct one {
	struct logcore_field field;
	char key[16];
	char bytes[TEXT_MAX];
	struct json_object *json;       /* the field borrows its text */
	struct json_object *want;
};

static struct json_object *hex_of(const char *bytes, size_t n)
{
	char out[2 * TEXT_MAX + 1] = "";

	for (size_t i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", (unsigned char)bytes[i]);
	return json_object_new_string(out);
}

static struct json_object *time_of(struct timespec t)
{
	char out[64];
	struct tm tm;

	gmtime_r(&t.tv_sec, &tm);
	snprintf(out, sizeof out, "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ", tm.tm_year + 1900, tm.tm_mon + 1,
		 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, t.tv_nsec / 1000);
	return json_object_new_string(out);
}

static struct json_object *milliseconds_of(int64_t ns)
{
	uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
	char out[64];

	snprintf(out, sizeof out, "%s%llu.%06llu", ns < 0 ? "-" : "", (unsigned long long)(u / 1000000),
		 (unsigned long long)(u % 1000000));
	return json_object_new_double(strtod(out, NULL));
}

static void make_text(struct one *f)
{
	char want[3 * TEXT_MAX];
	size_t n = random_bytes(f->bytes, TEXT_MAX);

	f->field = logcore_kv_strn(f->key, f->bytes, n);
	f->want = json_object_new_string_len(want, (int)repaired(want, f->bytes, n));
}

static void make_json(struct one *f)
{
	static const int styles[] = { JSON_C_TO_STRING_PLAIN, JSON_C_TO_STRING_SPACED,
				      JSON_C_TO_STRING_PRETTY,
				      JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_PRETTY_TAB };
	const char *text;

	f->json = random_json(DEPTH);
	text = f->json ? json_object_to_json_string_ext(f->json, styles[below(4)]) : " null\n";
	f->field = logcore_kv_json(f->key, text, strlen(text));
	f->want = json_object_get(f->json);
}

static void make_number(struct one *f)
{
	int64_t i = random_integer();
	double d = random_double();

	switch (below(6)) {
	case 0:
		f->field = logcore_kv(f->key, i);
		f->want = json_object_new_int64(i);
		return;
	case 1:
		f->field = logcore_kv(f->key, (uint64_t)i);
		f->want = json_object_new_uint64((uint64_t)i);
		return;
	case 2:
		f->field = logcore_kv(f->key, d);
		f->want = json_object_new_double(d);
		return;
	case 3:
		f->field = logcore_kv_bool(f->key, i & 1);
		f->want = json_object_new_boolean(i & 1);
		return;
	case 4:
		f->field = logcore_kv_duration(f->key, i);
		f->want = milliseconds_of(i);
		return;
	default:
		f->field = logcore_kv_null(f->key);
		return;
	}
}

static void make_one(struct one *f, size_t i)
{
	static const char *const odd[] = { "", "\"", "\\", "\n", "\xc3\xa9", " ", "\x01", "/" };
	struct timespec t = { (time_t)below(253402300799), (long)below(1000000000) };
	size_t n;

	snprintf(f->key, sizeof f->key, "k%zu%s", i, odd[below(8)]);
	f->json = f->want = NULL;
	switch (below(6)) {
	case 0:
		make_text(f);
		return;
	case 1:
		make_json(f);
		return;
	case 2:
		n = random_bytes(f->bytes, TEXT_MAX);
		f->field = logcore_kv_hex(f->key, f->bytes, n);
		f->want = hex_of(f->bytes, n);
		return;
	case 3:
		t.tv_sec -= below(2) ? 62135596800 : 0;
		f->field = logcore_kv(f->key, t);
		f->want = time_of(t);
		return;
	default:
		make_number(f);
	}
}

/* json-c has a separate type for integers above INT64_MAX, and -0.0 equals 0.0. */
static void assert_same(struct json_object *got, const struct one *f)
{
	if (json_object_equal(got, f->want) ||
	    (json_object_is_type(f->want, json_type_int) &&
	     json_object_get_uint64(got) == json_object_get_uint64(f->want) &&
	     json_object_get_int64(got) == json_object_get_int64(f->want)))
		return;
	print_error("%s: got %s, want %s\n", f->key, json_object_to_json_string(got),
		    json_object_to_json_string(f->want));
	fail();
}

static void check_a_line(void)
{
	static struct one all[FIELDS];
	struct logcore_field fields[FIELDS + 1];
	size_t n = below(FIELDS) + 1;
	struct json_object *o;

	for (size_t i = 0; i < n; i++) {
		make_one(&all[i], i);
		fields[i] = all[i].field;
	}
	fields[n] = logcore_end_();
	logcore_write_(cap.log, LOGCORE_INFO, "any", 3, fields);
	o = capture_line(&cap);
	assert_null(member(o, "truncated"));
	assert_int_equal(json_object_object_length(member(o, "context")), n);
	for (size_t i = 0; i < n; i++) {
		assert_true(json_object_object_get_ex(member(o, "context"), all[i].key, NULL));
		assert_same(field(o, all[i].key), &all[i]);
		json_object_put(all[i].json);
		json_object_put(all[i].want);
	}
	json_object_put(o);
	fwrite(cap.line, 1, cap.len, lines);
}

/* ---- the promises ---------------------------------------------------------------------- */

static void any_fields_come_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
		random_state = seeds[i];
		for (int n = 0; n < LINES; n++)
			check_a_line();
	}
	assert_int_equal(stats_of(cap.log).redacted, 0);
}

/* Python reads the same lines: strictly, with each key once, and writes the same numbers again. */
static void another_reader_agrees(void **state)
{
	static const char program[] =
		"import json, sys\n"
		"def once(pairs):\n"
		"    d = dict(pairs)\n"
		"    assert len(d) == len(pairs), pairs\n"
		"    return d\n"
		"def wrong(word): raise ValueError(word)\n"
		"n = 0\n"
		"for line in open(sys.argv[1], 'rb'):\n"
		"    o = json.loads(line.decode(), object_pairs_hook=once, parse_constant=wrong)\n"
		"    assert list(o) == ['timestamp', 'level', 'logger', 'message', 'context'], line\n"
		"    assert json.loads(json.dumps(o)) == o, line\n"
		"    n += 1\n"
		"print(n)\n";
	char path[] = "/tmp/logcore-property-XXXXXX", command[2000], answer[32] = "";
	int fd = mkstemp(path);
	FILE *f;

	(void)state;
	assert_return_code(fd, errno);
	rewind(lines);
	f = fdopen(fd, "w");
	for (int c; (c = getc(lines)) != EOF;)
		putc(c, f);
	assert_int_equal(fclose(f), 0);
	snprintf(command, sizeof command, "python3 -c \"%s\" %s", program, path);
	f = popen(command, "r");
	assert_non_null(f);
	assert_non_null(fgets(answer, sizeof answer, f));
	assert_int_equal(pclose(f), 0);
	assert_int_equal(strtol(answer, NULL, 10), LINES * sizeof seeds / sizeof *seeds);
	unlink(path);
}

static int setup(void **state)
{
	(void)state;
	lines = tmpfile();
	capture_open(&cap, (struct logcore_options){ .name = "app", .ignore_environment = true });
	return lines ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	capture_close(&cap);
	return fclose(lines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_fields_come_back),
		cmocka_unit_test(another_reader_agrees),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
