/* logcore, the interface: C11 and C++17 programs compile against it, and the library exports no other
 * symbol. */
#include "logcore_lines.h"

#include <stdio.h>

void c11_log(struct logcore *log);
void cxx_log(struct logcore *log);

static void assert_lines(void (*log_it)(struct logcore *))
{
	struct json_object *o;
	struct capture c;

	capture_open(&c, (struct logcore_options){ .name = "app", .ignore_environment = true });
	log_it(c.log);
	o = capture_line(&c);
	assert_string_equal(text(member(o, "logger")), "app.child");
	assert_string_equal(json_object_to_json_string_ext(member(o, "context"), JSON_C_TO_STRING_PLAIN),
		"{\"bound\":1,\"to\":\"it\",\"int\":-1,\"unsigned\":2,\"long\":3,\"char\":99,\"short\":7,"
		"\"bool\":true,\"double\":1.5,\"float\":0.1,\"literal\":\"text\",\"array\":\"buffer\","
		"\"null\":null,\"nothing\":null,\"part\":\"part\"}");
	json_object_put(o);
	o = capture_line(&c);
	assert_string_equal(text(member(o, "message")), "no fields");
	assert_string_equal(text(member(o, "level")), "ERROR");
	assert_null(member(o, "context"));
	json_object_put(o);
	o = capture_line(&c);
	json_object_object_del(member(o, "context"), "source");
	assert_string_equal(json_object_to_json_string_ext(member(o, "context"), JSON_C_TO_STRING_PLAIN),
		"{\"bound\":1,\"to\":\"it\",\"hex\":\"6275\",\"time\":\"1970-01-01T00:00:00.000001Z\","
		"\"same\":\"1970-01-01T00:00:00.000001Z\",\"ms\":1.5,\"json\":[1,2],\"errno\":2,"
		"\"error\":\"No such file or directory\"}");
	json_object_put(o);
	o = capture_line(&c);
	assert_true(json_object_is_type(field(o, "backtrace"), json_type_array));
	json_object_put(o);
	assert_false(capture_next(&c));
	capture_close(&c);
}

static void strict_c11_programs_can_use_it(void **state)
{
	(void)state;
	assert_lines(c11_log);
}

static void cxx17_programs_make_the_same_calls(void **state)
{
	(void)state;
	assert_lines(cxx_log);
}

static void shared_library_shows_its_functions_and_nothing_else(void **state)
{
	static const char *const names[] = {
		"logcore_child_", "logcore_close", "logcore_flush", "logcore_level_name",
		"logcore_level_number", "logcore_open_", "logcore_reopen", "logcore_set_level",
		"logcore_stats", "logcore_write_",
	};
	FILE *f = popen("nm -D --defined-only "
			SHARED_LIBRARY " | awk '$2 != \"A\" { sub(/@.*/, \"\", $3); print $3 }'", "r");
	char line[100];
	size_t n = 0;

	(void)state;
	assert_non_null(f);
	for (; fgets(line, sizeof line, f); n++) {
		line[strcspn(line, "\n")] = '\0';
		assert_in_range(n, 0, sizeof names / sizeof *names - 1);
		assert_string_equal(line, names[n]);
	}
	assert_int_equal(pclose(f), 0);
	assert_int_equal(n, sizeof names / sizeof *names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strict_c11_programs_can_use_it),
		cmocka_unit_test(cxx17_programs_make_the_same_calls),
		cmocka_unit_test(shared_library_shows_its_functions_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
