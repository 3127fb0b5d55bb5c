/* The configuration and the key table as they are printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "common/cleanup.h"
#include "obs_agent/config/config_print.c"
#include "config_text.h"

#define DOCUMENT "docs/configuration.md"

/* A configuration's text; the caller frees it. */
static char *printed(const struct config *c)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	config_print(c, out);
	fclose(out);
	return text;
}

static void a_printed_configuration_reads_back_unchanged(void **state)
{
	struct config c = parsed(all_keys), again;
	CLEANUP(free_p) char *first = printed(&c);
	CLEANUP(free_p) char *second = NULL;

	(void)state;
	again = parsed(first);
	second = printed(&again);
	assert_string_equal(first, second);
	assert_string_equal(again.checks[1].expect_body, c.checks[1].expect_body);
	assert_memory_equal(again.checks[1].expect_status, c.checks[1].expect_status,
			    sizeof c.checks[1].expect_status);
	assert_string_equal(again.log_files[1].path, c.log_files[1].path);
	assert_string_equal(again.log_files[2].multiline_start, "^\\[[0-9]+\\]");
	assert_string_equal(again.log_files[2].timezone, "Asia/Kolkata");
	assert_string_equal(again.log_files[0].timezone, "Europe/Berlin");
	assert_string_equal(again.postgres_url, "host=db password=*** dbname=observ");
	assert_string_equal(again.checks[1].headers[0], "Authorization: ***");
	assert_string_equal(again.checks[1].url, "http://***@b.example:8080/");
	assert_true(again.interval_us == c.interval_us && again.enabled && !again.checks[1].verify_tls);
	assert_null(strstr(first, "hunter2"));
	config_free(&c);
	config_free(&again);
}

static void any_text_is_printed_so_that_it_reads_back(void **state)
{
	static const char *const texts[] = {
		" a ", "\"", "\\", "'", "#", ": ", "- a", "${SECRET}", "$${SECRET}", "$$$${", "a\nb", "\n",
		"\t", "\r\n", "\x01\x1b\x7f", "\xc2\x85\xc2\xa0", "\xe2\x80\xa8\xe2\x80\xa9", "\xef\xbb\xbf",
		"\xef\xbf\xbe\xef\xbf\xbd", "\xf0\x9f\x98\x80 \xc3\xa9", "{app}", "true", "~",
	};
	struct config c = parsed("monitoring: {health_checks: [{url: \"http://a/\", expect_body: x}]}");

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		CLEANUP(free_p) char *yaml = NULL;
		struct config again;

		((struct check_config *)c.checks)->expect_body = texts[i];
		yaml = printed(&c);
		again = parsed(yaml);
		assert_string_equal(again.checks[0].expect_body, texts[i]);
		config_free(&again);
	}
	config_free(&c);
}

/* The text between the markers in `document`; "" when it has none. */
static char *table_in(char *document)
{
	static const char begin[] = "<!-- keys: obs_agent --print-keys -->\n", end[] = "<!-- end of keys -->";
	char *from = strstr(document, begin), *to = from ? strstr(from, end) : NULL;

	if (!to)
		return strchr(document, '\0');
	*to = '\0';
	return from + sizeof begin - 1;
}

static void the_documents_have_the_key_table(void **state)
{
	CLEANUP(free_p) char *document = read_file(DOCUMENT);
	CLEANUP(free_p) char *table = NULL;
	size_t size;
	FILE *out = open_memstream(&table, &size);

	(void)state;
	config_print_keys(out, KEYS_MARKDOWN);
	fclose(out);
	assert_string_equal(table_in(document), table);
}

static void every_key_is_named_in_both_forms_of_the_table(void **state)
{
	CLEANUP(free_p) char *table = NULL;
	size_t size;
	FILE *out = open_memstream(&table, &size);

	(void)state;
	config_print_keys(out, KEYS_TEXT);
	fclose(out);
	assert_non_null(strstr(table, "collection_interval\n    time, 10 to 86400 s; default: 60\n"));
	assert_non_null(strstr(table, "health_checks[].verify_tls\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_printed_configuration_reads_back_unchanged),
		cmocka_unit_test(any_text_is_printed_so_that_it_reads_back),
		cmocka_unit_test(the_documents_have_the_key_table),
		cmocka_unit_test(every_key_is_named_in_both_forms_of_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
