/* URLs: which are taken, and that none is shown with its password. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/net/url.c"
#include "common/net/url_mask.c"

static void valid_urls_are_accepted(void **state)
{
	static const char *const http[] = {
		"http://a",        "https://a.example:443/x?y=z#n",
		"HTTP://A/",       "http://user:p%40ss@a/",
		"http://[::1]",    "http://[::1]:8080/",
		"http://a/@user/", "http://a/?mail=b@c",
		"http://a?x",      "http://\xc3\xa9.example/",
	};
	static const char *const postgres[] = {
		"postgres://",
		"postgres:///db",
		"postgresql://a@b/c",
		"postgres://a:b@c:5432/d?sslmode=require&x=y",
		"postgres://a:b@h1:1,h2,[::1]:2/d?target_session_attrs=read-write",
		"postgres://%2Frun%2Fpostgresql/d",
		"postgres://a:p?x#y@h/d",
		"postgres://a@h/d?application_name=b@c",
		"postgres://h:/d",
		"host=/run/postgresql",
		"host=a port = 5432 password='it\\'s' dbname=''",
		"  host=a  ",
	};

	(void)state;
	for (size_t i = 0; i < sizeof http / sizeof *http; i++)
		if (url_http_problem(http[i]))
			fail_msg("%s: %s", http[i], url_http_problem(http[i]));
	for (size_t i = 0; i < sizeof postgres / sizeof *postgres; i++)
		if (url_postgres_problem(postgres[i]))
			fail_msg("%s: %s", postgres[i], url_postgres_problem(postgres[i]));
}

static void passwords_are_masked_and_nothing_else(void **state)
{
	static const struct {
		const char *url, *masked;
	} rows[] = {
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
		{ "", "" },
		{ "abc", "abc" },
		{ "localhost:8080/health", "localhost:8080/health" },
	};
	char out[256];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		url_mask(rows[i].url, out, sizeof out);
		assert_string_equal(out, rows[i].masked);
	}
}

/* Here nobody can say what the password is: what is hidden must contain "XX". */
static void an_invalid_url_hides_too_much_rather_than_too_little(void **state)
{
	static const char *const rows[] = {
		"postgres://u:aXX@b@h/d",
		"postgres://u:a/XX@h/d",
		"postgres://u:5/XX@h/d",
		"postgres://u:a?XX@h/d",
		"postgres://u:a XX@h/d",
		"postgres://u:a%XX@h/d",
		"Postgres://u:XX@h/d",
		"postgres//u:XX@h/d",
		"u:XX@h/d",
		"mysql://u:XX@h/d",
		"redis://XX@h",
		"postgres://u:a#XX@h",
		"postgres://h/d b?password=XX:1&a=b@c",
		"https://u:a/XX@h/",
		"https://u:a@XX@h/",
		"https://u:a XX@h/",
		"http://u:/XX@h/",
		"http://:XX@h/",
		"password=a XX dbname=d",
		"password='aXX",
		"password='a'XX b=c",
		"password=a\tXX",
		"host='a password=XX",
		"postgres://h/d?password=a&XX",
		"postgres://h/d?password=a b XX",
		"http://h/?u=http://a:XX@b/",
		"x http://u:XX@h/ y",
		"PASSWORD=XX",
		"user_password : password = XX",
		"token=XX",
		"http://h/;token=XX",
		/* found by fuzzing */
		"u:XXuser:pass@host/db?x=http://a:b@c@h",
		"postgres://u:XXpassword = a b@h/d",
	};
	char out[256];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		url_mask(rows[i], out, sizeof out);
		if (strstr(out, "XX") || !strstr(out, "***"))
			fail_msg("%s is shown as %s", rows[i], out);
	}
}

static void a_mask_fits_whatever_room_there_is(void **state)
{
	static const char url[] = "postgres://user:password@host/database?password=x";
	char whole[128], out[128];

	(void)state;
	url_mask(url, whole, sizeof whole);
	for (size_t size = 1; size < sizeof out; size++) {
		memset(out, '!', sizeof out);
		url_mask(url, out, size);
		assert_int_equal(strlen(out), strlen(whole) < size ? strlen(whole) : size - 1);
		assert_memory_equal(out, whole, strlen(out));
		assert_int_equal(out[size], '!');
	}
	memset(out, '!', sizeof out);
	url_mask(url, out, 0);
	assert_int_equal(out[0], '!');
	url_mask(NULL, out, sizeof out);
	assert_string_equal(out, "");
}

static void a_text_too_long_to_judge_is_not_shown(void **state)
{
	static char url[URL_MASK_MAX + 2];
	char out[64];

	(void)state;
	memset(url, 'p', sizeof url - 1);
	memcpy(url, "http://u:", 9);
	url_mask(url, out, sizeof out);
	assert_string_equal(out, "***");
}

static void assert_part(struct text part, const char *expected)
{
	if (!expected)
		assert_null(part.s);
	else if (!text_eq(part, text_of(expected)))
		fail_msg("%.*s, not %s", (int)part.len, part.s, expected);
}

static void a_connection_uri_is_split_as_libpq_does(void **state)
{
	static const struct {
		const char *url, *scheme, *user, *password, *hosts, *database, *query;
	} rows[] = {
		{ "postgresql://u:p@h:1/d?a=b", "postgresql://", "u", "p", "h:1", "d", "?a=b" },
		{ "postgres://", "postgres://", NULL, NULL, "", "", "" },
		{ "postgres://u@h1:1,[::1]:2", "postgres://", "u", NULL, "h1:1,[::1]:2", "", "" },
		{ "postgres://u:@/d", "postgres://", "u", "", "", "d", "" },
		{ "postgres://u:a?b:c@h/d", "postgres://", "u", "a?b:c", "h", "d", "" },
		{ "postgres://h?x=a@b", "postgres://", "h?x=a", NULL, "b", "", "" }, /* as libpq does */
		{ "postgres://h/d?x=a@b/c", "postgres://", NULL, NULL, "h", "d", "?x=a@b/c" },
		{ "postgres:///d", "postgres://", NULL, NULL, "", "d", "" },
		{ "postgres://a@b@c/d", "postgres://", "a", NULL, "b@c", "d", "" },
	};
	struct url_postgres parts;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_true(url_postgres_split(rows[i].url, &parts));
		assert_part(parts.scheme, rows[i].scheme);
		assert_part(parts.user, rows[i].user);
		assert_part(parts.password, rows[i].password);
		assert_part(parts.hosts, rows[i].hosts);
		assert_part(parts.database, rows[i].database);
		assert_part(parts.query, rows[i].query);
	}
	assert_false(url_postgres_split("http://h/", &parts));
	assert_false(url_postgres_split("host=h", &parts));
	assert_false(url_postgres_split("", &parts));
}

static void an_argument_is_taken_and_masked_in_its_place(void **state)
{
	static const char *const rows[][2] = {
		{ "postgres://u:password@h/d", "postgres://u:***@h/d" },
		{ "postgres://u:p@h/d", "postgres://u:***@h" }, /* no longer than it was */
		{ "host=h password=secret", "host=h password=***" },
		{ "postgres://u@h/d", "postgres://u@h/d" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n = strlen(rows[i][0]);
		char argument[64] = "";
		char *url;

		memcpy(argument, rows[i][0], n);
		argument[n + 1] = '!';
		url = url_take_argument(argument);
		assert_string_equal(url, rows[i][0]);
		assert_string_equal(argument, rows[i][1]);
		for (size_t at = strlen(argument); at <= n; at++)
			assert_int_equal(argument[at], '\0');
		assert_int_equal(argument[n + 1], '!');
		free(url);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_urls_are_accepted),
		cmocka_unit_test(passwords_are_masked_and_nothing_else),
		cmocka_unit_test(an_invalid_url_hides_too_much_rather_than_too_little),
		cmocka_unit_test(a_mask_fits_whatever_room_there_is),
		cmocka_unit_test(a_text_too_long_to_judge_is_not_shown),
		cmocka_unit_test(a_connection_uri_is_split_as_libpq_does),
		cmocka_unit_test(an_argument_is_taken_and_masked_in_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
