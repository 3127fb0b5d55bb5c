/* URLs: which are taken, and that none is shown with its password. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "obs_agent/config/config_url.c"

static void valid_urls_are_accepted(void **state)
{
	static const char *const http[] = {
		"http://a", "https://a.example:443/x?y=z#n", "HTTP://A/", "http://user:p%40ss@a/",
		"http://[::1]", "http://[::1]:8080/", "http://a/@user/", "http://a/?mail=b@c", "http://a?x",
		"http://\xc3\xa9.example/",
	};
	static const char *const postgres[] = {
		"postgres://", "postgres:///db", "postgresql://a@b/c",
		"postgres://a:b@c:5432/d?sslmode=require&x=y",
		"postgres://a:b@h1:1,h2,[::1]:2/d?target_session_attrs=read-write",
		"postgres://%2Frun%2Fpostgresql/d", "postgres://a:p?x#y@h/d",
		"postgres://a@h/d?application_name=b@c", "postgres://h:/d", "host=/run/postgresql",
		"host=a port = 5432 password='it\\'s' dbname=''", "  host=a  ",
	};

	(void)state;
	for (size_t i = 0; i < sizeof http / sizeof *http; i++)
		if (http_url_problem(http[i]))
			fail_msg("%s: %s", http[i], http_url_problem(http[i]));
	for (size_t i = 0; i < sizeof postgres / sizeof *postgres; i++)
		if (postgres_url_problem(postgres[i]))
			fail_msg("%s: %s", postgres[i], postgres_url_problem(postgres[i]));
}

static void passwords_are_masked_and_nothing_else(void **state)
{
	static const struct { const char *url, *masked; } rows[] = {
		{ "postgres://u:p@h/d", "postgres://u:***@h/d" },
		{ "postgresql://u:p%40@h:1,h2:2/d?sslmode=require",
		  "postgresql://u:***@h:1,h2:2/d?sslmode=require" },
		{ "postgres://u@h/d", "postgres://u@h/d" },
		{ "postgres://h:5432/d", "postgres://h:5432/d" },
		{ "postgres://u:@h", "postgres://u:***@h" },
		{ "postgres://h/d?user=u&password=p&sslmode=x",
		  "postgres://h/d?user=u&password=***&sslmode=x" },
		{ "postgres://h/d?PassWord=p", "postgres://h/d?PassWord=***" },
		{ "postgres://h/d?pass%77ord=p", "postgres://h/d?pass%77ord=***" },
		{ "postgres://h/d?sslpassword=p&passfile=/f&sslkey=/k",
		  "postgres://h/d?sslpassword=***&passfile=/f&sslkey=/k" },
		{ "postgres://u:p@h/d?application_name=a@b", "postgres://u:***@h/d?application_name=a@b" },
		{ "host=h password=p dbname=d", "host=h password=*** dbname=d" },
		{ "host=h password = 'a b\\'c' dbname=d", "host=h password = *** dbname=d" },
		{ "password=a\\ b dbname=d", "password=*** dbname=d" },
		{ "host=::1 user=me@server password=p", "host=::1 user=me@server password=***" },
		{ "dbname='postgres://u:p@h/d'", "dbname='postgres://u:***@h/d'" },
		{ "http://u:p@h/", "http://***@h/" },
		{ "http://token@h/", "http://***@h/" },
		{ "https://h/@user/?mail=a@b", "https://h/@user/?mail=a@b" },
		{ "https://h/?a=1&api_key=s&b=2#access_token=t",
		  "https://h/?a=1&api_key=***&b=2#access_token=***" },
		{ "https://h/?keyword=a&author=b&bypass=c&apiKey=s&keys=s&X-Amz-Signature=s&sig=s",
		  "https://h/?keyword=a&author=b&bypass=***&apiKey=***&keys=***&X-Amz-Signature=***"
		  "&sig=***" },
		{ "postgres://h/d?target_session_attrs=any", "postgres://h/d?target_session_attrs=any" },
		{ "http://[::1]:80/", "http://[::1]:80/" },
		{ "", "" }, { "abc", "abc" }, { "localhost:8080/health", "localhost:8080/health" },
	};
	char out[256];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		config_mask_url(rows[i].url, out, sizeof out);
		assert_string_equal(out, rows[i].masked);
	}
}

/* Here nobody can say what the password is: what is hidden must contain "XX". */
static void an_invalid_url_hides_too_much_rather_than_too_little(void **state)
{
	static const char *const rows[] = {
		"postgres://u:aXX@b@h/d", "postgres://u:a/XX@h/d", "postgres://u:5/XX@h/d",
		"postgres://u:a?XX@h/d", "postgres://u:a XX@h/d", "postgres://u:a%XX@h/d",
		"Postgres://u:XX@h/d", "postgres//u:XX@h/d", "u:XX@h/d", "mysql://u:XX@h/d", "redis://XX@h",
		"postgres://u:a#XX@h", "postgres://h/d b?password=XX:1&a=b@c", "https://u:a/XX@h/",
		"https://u:a@XX@h/", "https://u:a XX@h/", "http://u:/XX@h/", "http://:XX@h/",
		"password=a XX dbname=d", "password='aXX", "password='a'XX b=c", "password=a\tXX",
		"host='a password=XX", "postgres://h/d?password=a&XX", "postgres://h/d?password=a b XX",
		"http://h/?u=http://a:XX@b/", "x http://u:XX@h/ y", "PASSWORD=XX",
		"user_password : password = XX", "token=XX", "http://h/;token=XX",
		/* found by fuzzing */
		"u:XXuser:pass@host/db?x=http://a:b@c@h", "postgres://u:XXpassword = a b@h/d",
	};
	char out[256];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		config_mask_url(rows[i], out, sizeof out);
		if (strstr(out, "XX") || !strstr(out, "***"))
			fail_msg("%s is shown as %s", rows[i], out);
	}
}

static void a_mask_fits_whatever_room_there_is(void **state)
{
	static const char url[] = "postgres://user:password@host/database?password=x";
	char whole[128], out[128];

	(void)state;
	config_mask_url(url, whole, sizeof whole);
	for (size_t size = 1; size < sizeof out; size++) {
		memset(out, '!', sizeof out);
		config_mask_url(url, out, size);
		assert_int_equal(strlen(out), strlen(whole) < size ? strlen(whole) : size - 1);
		assert_memory_equal(out, whole, strlen(out));
		assert_int_equal(out[size], '!');
	}
	memset(out, '!', sizeof out);
	config_mask_url(url, out, 0);
	assert_int_equal(out[0], '!');
	config_mask_url(NULL, out, sizeof out);
	assert_string_equal(out, "");
}

static void a_text_too_long_to_judge_is_not_shown(void **state)
{
	static char url[MASK_INPUT_MAX + 2];
	char out[64];

	(void)state;
	memset(url, 'p', sizeof url - 1);
	memcpy(url, "http://u:", 9);
	config_mask_url(url, out, sizeof out);
	assert_string_equal(out, "***");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_urls_are_accepted),
		cmocka_unit_test(passwords_are_masked_and_nothing_else),
		cmocka_unit_test(an_invalid_url_hides_too_much_rather_than_too_little),
		cmocka_unit_test(a_mask_fits_whatever_room_there_is),
		cmocka_unit_test(a_text_too_long_to_judge_is_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
