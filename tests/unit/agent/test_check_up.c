/* Health checks: a site that works in browsers and curl is up, and no other host gets the check's headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "check_fixture.h"

#include "obs_agent/check/check_body.h"
#include "obs_agent/check/check_url.h"
#include "tests/unit/cpu_time.h"

#include <locale.h>

static struct check_config *add_path(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* One that follows redirects. */
static struct check_config *add_path(const char *fmt, ...)
{
	char path[200];
	struct check_config *c;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof path, fmt, ap);
	va_end(ap);
	c = add_check(server.http, path);
	c->max_redirects = 5;
	return c;
}

static struct check_config *add_https(const char *path)
{
	struct check_config *c = add_check(0, "");

	snprintf(urls[c - configs], sizeof urls[0], "https://127.0.0.1:%d/%s", server.self_signed, path);
	c->max_redirects = 5;
	c->verify_tls = false;
	return c;
}

static void assert_up(const struct check_config *c)
{
	assert_result(c, CHECK_OK, "");
}

/* ---- bodies ------------------------------------------------------------------------------- */

static void compressed_bodies_are_searched(void **state)
{
	static const char *const packed[] = { "gzip", "x-gzip", "deflate", "br", "zstd" };
	const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);
	const size_t n = sizeof packed / sizeof *packed;

	(void)state;
	for (size_t i = 0; i < n; i++)
		add_path("packed?%s", packed[i])->expect_body = "needle café";
	run_once();
	for (size_t i = 0; i < n; i++)
		if ((strcmp(packed[i], "br") != 0 || (v->features & CURL_VERSION_BROTLI)) &&
		    (strcmp(packed[i], "zstd") != 0 || (v->features & CURL_VERSION_ZSTD)))
			assert_up(&configs[i]);
}

static void a_coding_that_is_none_is_ignored(void **state)
{
	struct check_config *charset = add_path("coding?utf-8"), *odd = add_path("coding?x-nobody-knows"),
			    *damaged = add_path("coding?gzip");

	(void)state;
	charset->expect_body = odd->expect_body = damaged->expect_body = "needle café";
	run_once();
	assert_up(charset);
	assert_up(odd);
	assert_result(damaged, CHECK_PROTOCOL, "content");      /* browsers show an error, too */
	assert_int_equal(result_of(charset)->attempts, 1);
}

/* The check finds a text that a browser shows, in any encoding; in one piece, and a byte at a time. */
static void texts_are_found_in_any_charset(void **state)
{
	static const struct {
		const char *page, *text;
	} pages[] = {
		{ "latin1", "un café € 3" },
		{ "meta", "un café € 3" },
		{ "meta5", "café € 3" },
		{ "xml", "café € 3" },
		{ "none", "un café € 3" },
		{ "undeclared", "un café € 3" },
		{ "mistaken", "un café € 3" },
		{ "bom", "un café € 3" },
		{ "utf16", "un café € 3" },
		{ "utf16be", "un café € 3" },
		{ "sjis", "カフェ" },
		{ "iso2022jp", "カフェ" },
		{ "koi8", "кафе" },
		{ "late", "un café € 3" },
		{ "unknown", "un café € 3" },
		{ "damaged", "カフェ" },
	};
	const size_t n = sizeof pages / sizeof *pages;
	struct check_config *none;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		add_path("charset?%s", pages[i].page)->expect_body = pages[i].text;
		add_path("charset_in_pieces?%s", pages[i].page)->expect_body = pages[i].text;
	}
	none = add_path("charset?latin1#2");
	none->expect_body = "thé";
	run_once();
	for (size_t i = 0; i < 2 * n; i++)
		assert_up(&configs[i]);
	assert_result(none, CHECK_BODY, "not in the body");
}

/* Every border of pieces, and a charset that is named at the end of a page's first 1,024 bytes. */
static void borders_of_pieces_hide_nothing(void **state)
{
	static const char page[] = "<meta charset=\"euc-jp\">\xa5\xab\xa5\xd5\xa5\xa7 \xb0\xa1";
	static const char want[] = "カフェ 亜";

	(void)state;
	for (size_t a = 0; a < sizeof page; a++)
		for (size_t b = a; b < sizeof page; b++) {
			struct check_body *body = check_body_new(want);

			assert_false(check_body_take(body, NULL, page, a));
			check_body_take(body, NULL, page + a, b - a);
			check_body_take(body, NULL, page + b, sizeof page - 1 - b);
			assert_true(check_body_end(body, NULL));
			check_body_free(body);
		}
}

/* Pages name a charset in more ways than its standard does. */
static void charsets_have_many_names(void **state)
{
	static const struct {
		const char *label, *bytes, *want;
	} rows[] = {
		{ "ISO8859-1", "caf\xe9", "café" },     { "iso_8859-1", "caf\xe9", "café" },
		{ "latin-1", "caf\xe9", "café" },       { "cp1252", "caf\xe9", "café" },
		{ "x-cp1251", "\xea\xe0\xf4\xe5", "кафе" }, { "CP1251", "\xea\xe0\xf4\xe5", "кафе" },
		{ "koi8_r", "\xcb\xc1\xc6\xc5", "кафе" },   { "iso8859-15", "\xa4 3", "€ 3" },
		{ "latin-9", "\xa4 3", "€ 3" },        { "sjis", "\x83\x4a", "カ" },
		{ "x-euc-jp", "\xa5\xab", "カ" },      { "x-gbk", "\xd6\xd0", "中" },
		{ "gb_2312-80", "\xd6\xd0", "中" },    { "big5-hkscs", "\xa4\xa4", "中" },
		{ "x-mac-roman", "caf\x8e", "café" },   { "x-mac-cyrillic", "\xea\xe0\xf4\xe5", "кафе" },
		{ "utf8", "caf\xc3\xa9", "café" },     { "UTF16LE", "\xac\x20", "€" },
		{ "ks_c_5601-1989", "\xb0\xa1", "가" }, { "iso-8859-8-i", "\xe0", "א" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct check_body *body = check_body_new(rows[i].want);
		char type[64];

		snprintf(type, sizeof type, "text/html; charset=%s", rows[i].label);
		check_body_take(body, type, rows[i].bytes, strlen(rows[i].bytes));
		if (!check_body_end(body, type))
			fail_msg("charset %s", rows[i].label);
		check_body_free(body);
	}
}

/* A server chooses its bytes, and the loop waits for this. */
static void a_body_of_damaged_characters_costs_little(void **state)
{
	enum { WANT = 8 << 10 };
	static char bytes[1 << 20], want[WANT + 1];
	struct check_body *body;
	int64_t begin = cpu_ms();

	(void)state;
	memset(bytes, 0x81, sizeof bytes);      /* no character of windows-1252 */
	memset(want, 'x', WANT);
	body = check_body_new(want);
	assert_false(check_body_take(body, NULL, bytes, sizeof bytes));
	assert_false(check_body_end(body, NULL));
	check_body_free(body);
	assert_true(cpu_ms() - begin < cpu_ms_bound(1000));
}

/* ---- redirects ---------------------------------------------------------------------------- */

static void cookies_of_a_redirect_are_sent_on(void **state)
{
	static const char *const headers[] = { "Cookie: own=1", NULL };
	struct check_config *login = add_path("cookie_wanted"), *both = add_path("cookie_wanted?2"),
			    *other = add_path("cookie_then_other_host"), *again = add_path("echo");

	(void)state;
	both->headers = headers;
	both->expect_body = "Cookie: session=letmein; own=1\r\n";
	other->expect_body = again->expect_body = "letmein";
	run_once();
	assert_up(login);
	assert_up(both);
	assert_result(other, CHECK_BODY, "not in the body");    /* another host gets none */
	assert_result(again, CHECK_BODY, "not in the body");    /* nor does another attempt */
}

static void methods_change_by_redirects_as_in_browsers(void **state)
{
	static const struct {
		const char *method;
		int status;
		const char *then;
	} rows[] = {
		{ "GET", 302, "GET" },       { "HEAD", 302, "HEAD" },   { "POST", 301, "GET" },
		{ "POST", 302, "GET" },      { "POST", 303, "GET" },    { "POST", 307, "POST" },
		{ "POST", 308, "POST" },     { "PUT", 301, "PUT" },     { "PUT", 302, "PUT" },
		{ "PUT", 303, "GET" },       { "PUT", 307, "PUT" },     { "PUT", 308, "PUT" },
		{ "PATCH", 302, "PATCH" },   { "PATCH", 303, "GET" },   { "DELETE", 303, "GET" },
		{ "DELETE", 307, "DELETE" }, { "OPTIONS", 303, "GET" },
	};
	char line[32][40];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct check_config *c = add_path("to?%d,/echo?%zu", rows[i].status, i);

		snprintf(line[i], sizeof line[i], "%s /echo?%zu HTTP", rows[i].then, i);
		c->method = rows[i].method;
		c->expect_body = strcmp(rows[i].then, "HEAD") ? line[i] : NULL;
	}
	run_once();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_up(&configs[i]);
}

static void a_body_that_is_empty_has_its_length(void **state)
{
	static const char *const methods[] = { "POST", "PUT", "PATCH" };
	struct check_config *c;

	(void)state;
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
		c = add_path("length_required?%zu", i);
		c->method = methods[i];
		c->expect_body = "Content-Length: 0\r\n";
		c = add_path("to?307,/length_required?%zu", i);         /* after a redirect too */
		c->method = methods[i];
	}
	run_once();
	for (size_t i = 0; i < agent.config.n_checks; i++)
		assert_up(&configs[i]);
}

static const char *const secret_headers[] = { "X-Api-Key: topsecret", "Authorization: Bearer topsecret",
					      "Cookie: id=topsecret", NULL };

/* A check with secrets in its headers, which expects them at the end of its redirects. */
static struct check_config *with_secrets(struct check_config *c)
{
	c->headers = secret_headers;
	c->expect_body = "topsecret\r\n";
	return c;
}

static void headers_go_to_their_own_host_and_to_its_https(void **state)
{
	struct check_config *same = with_secrets(add_path("to?302,/echo")),
			    *full = with_secrets(add_path("to?302,http://127.0.0.1:%d/echo", server.http)),
			    *upgrade = with_secrets(
				    add_path("to?301,https://127.0.0.1:%d/echo", server.self_signed)),
			    *other_host =
				    with_secrets(add_path("to?302,http://localhost:%d/echo", server.http)),
			    *other_port = with_secrets(add_https("ok")),
			    *back = with_secrets(
				    add_path("to?302,http://localhost:%d/to?302,http://127.0.0.1:%d/echo",
					     server.http, server.http)),
			    *downgrade = with_secrets(add_https("ok")),
			    *down_and_on = with_secrets(
				    add_path("to?301,https://127.0.0.1:%d/to?301,http://127.0.0.1:%d/echo",
					     server.self_signed, server.http));

	(void)state;
	upgrade->verify_tls = down_and_on->verify_tls = false;
	snprintf(urls[other_port - configs], sizeof urls[0],
		 "https://127.0.0.1:%d/to?302,https://127.0.0.1:%d/echo", server.self_signed, server.expired);
	snprintf(urls[downgrade - configs], sizeof urls[0],
		 "https://127.0.0.1:%d/to?302,http://127.0.0.1:%d/echo", server.self_signed, server.http);
	run_once();
	assert_up(same);
	assert_up(full);
	assert_up(upgrade);
	assert_up(back);
	assert_result(other_host, CHECK_BODY, "headers were not sent");
	assert_result(other_port, CHECK_BODY, "headers were not sent");
	assert_result(downgrade, CHECK_BODY, "headers were not sent");
	assert_result(down_and_on, CHECK_BODY, "headers were not sent");
}

/* dXNlcjpwYXNz is user:pass. */
static void the_urls_password_goes_where_its_headers_do(void **state)
{
	struct check_config *c[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		c[i] = add_path("x");
		c[i]->expect_body = "Authorization: Basic dXNlcjpwYXNz\r\n";
		c[i]->verify_tls = false;
	}
	for (int i = 0; i < 2; i++) {
		char to[64];

		snprintf(to, sizeof to, i ? "localhost:%d/echo" : "127.0.0.1:%d/echo", server.http);
		snprintf(urls[c[i] - configs], sizeof urls[0],
			 "http://user:pass@127.0.0.1:%d/to?302,http://%s", server.http, to);
	}
	snprintf(urls[c[2] - configs], sizeof urls[0],
		 "http://user:pass@127.0.0.1:%d/to?302,https://127.0.0.1:%d/echo", server.http,
		 server.self_signed);
	run_once();
	assert_up(c[0]);
	assert_result(c[1], CHECK_BODY, "headers were not sent");
	assert_up(c[2]);
}

/* ---- names -------------------------------------------------------------------------------- */

/* In the C locale, which is a service's. */
static void names_with_letters_beyond_ascii_are_found(void **state)
{
	struct check_config *direct = add_url(""),
			    *redirect = add_path("to?302,http://b%%C3%%BCcher.test:%d/echo", server.http),
			    *in_percent =
				    add_path("to?302,http://b%%25C3%%25BCcher.test:%d/echo", server.http),
			    *capital = add_url(""), *ascii = add_url(""),
			    *impossible = add_url("http://b\xff"
						  "cher.test/");

	(void)state;
	assert_string_equal(setlocale(LC_ALL, NULL), "C");
	snprintf(urls[direct - configs], sizeof urls[0], "http://bücher.test:%d/echo", server.http);
	snprintf(urls[capital - configs], sizeof urls[0], "http://BÜCHER.test:%d/echo", server.http);
	snprintf(urls[ascii - configs], sizeof urls[0], "http://xn--bcher-kva.test:%d/echo", server.http);
	direct->expect_body = redirect->expect_body = in_percent->expect_body = capital->expect_body =
		ascii->expect_body = "Host: xn--bcher-kva.test:";
	run_once();
	assert_up(direct);
	assert_up(redirect);
	assert_up(in_percent);
	assert_up(capital);
	assert_up(ascii);
	assert_result(impossible, CHECK_PROTOCOL, "");
}

/* As in browsers: by the rules of 2010, and those of 2003 for what these refuse (symbols). */
static void names_become_ascii_as_in_browsers(void **state)
{
	static const struct {
		const char *url, *ascii;
	} rows[] = {
		{ "http://faß.example/", "http://xn--fa-hia.example/" },
		{ "https://☃.example:8443/a?b", "https://xn--n3h.example:8443/a?b" },
		{ "http://日本語。example/", "http://xn--wgv71a119e.example/" },
		{ "http://Ａ.example/", "http://a.example/" },
		{ "http://-ü.example/", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct check_url u = { NULL };

		assert_int_equal(check_url_parse(NULL, rows[i].url, &u), rows[i].ascii != NULL);
		if (rows[i].ascii)
			assert_string_equal(u.url, rows[i].ascii);
		check_url_free(&u);
	}
}

static void what_may_go_from_url_to_url(void **state)
{
	static const struct { const char *from, *to; bool may; } rows[] = {
		{ "http://u:p@Host:80/a", "HTTP://host/b?c", true },
		{ "http://host/", "https://host/", true },
		{ "http://host:8080/", "https://host:8443/", true },
		{ "https://host/", "https://host:443/x", true },
		{ "http://host/", "http://host:81/", false },
		{ "https://host/", "https://host:444/", false },
		{ "https://host/", "http://host/", false },
		{ "http://host/", "http://host.evil/", false },
		{ "http://host/", "http://host@evil/", false },
		{ "http://host/", "ftp://host/", false },
		{ "http://host/", "nothing", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(check_url_may_carry(rows[i].from, rows[i].to), rows[i].may);
	assert_true(check_url_has_name("http://u@localhost:80/"));
	assert_true(check_url_has_name("https://1.example/"));
	assert_true(check_url_has_name("https://bücher.example/"));
	assert_false(check_url_has_name("http://a:b@127.0.0.1:8080/x"));
	assert_false(check_url_has_name("http://[::1]/"));
}

/* Relative to what they are in, with spaces, by another host's name, empty. */
static void locations_are_resolved_as_in_browsers(void **state)
{
	struct check_config *relative = add_path("to?302,echo?x"), *query = add_path("to?302,?302,/ok"),
			    *space = add_path("to?302,/echo?a%%20b"),
			    *host = add_path("to?302,//127.0.0.1:%d/ok", server.http),
			    *empty = add_path("to?302,");

	(void)state;
	space->expect_body = "GET /echo?a";
	run_once();
	assert_up(relative);
	assert_up(query);
	assert_up(space);
	assert_up(host);
	assert_result(empty, CHECK_STATUS, "Status 302");
}

/* Redirects belong to one attempt: its deadline and figures cover all of them. */
static void redirects_share_one_deadline_and_one_slot(void **state)
{
	struct check_config *hangs = add_path("to?302,/to?302,/hang"),
			    *ends = add_path("to?302,/to?302,/echo");

	(void)state;
	hangs->timeout_us = slow(700 * US_PER_MS);
	run_once();
	assert_result(hangs, CHECK_TIMEOUT, "no answer within");
	assert_true(result_of(hangs)->response_ms > 0.9 * (double)hangs->timeout_us / 1000);
	assert_true(result_of(hangs)->response_ms < (double)(hangs->timeout_us + allowed_us()) / 1000);
	assert_up(ends);
	assert_true(result_of(ends)->connect_ms > 0 && isnan(result_of(ends)->tls_ms));
	assert_int_equal(result_of(ends)->attempts, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(compressed_bodies_are_searched),
		TEST(a_coding_that_is_none_is_ignored),
		TEST(texts_are_found_in_any_charset),
		cmocka_unit_test(borders_of_pieces_hide_nothing),
		cmocka_unit_test(charsets_have_many_names),
		cmocka_unit_test(a_body_of_damaged_characters_costs_little),
		TEST(cookies_of_a_redirect_are_sent_on),
		TEST(methods_change_by_redirects_as_in_browsers),
		TEST(a_body_that_is_empty_has_its_length),
		TEST(headers_go_to_their_own_host_and_to_its_https),
		TEST(the_urls_password_goes_where_its_headers_do),
		TEST(names_with_letters_beyond_ascii_are_found),
		cmocka_unit_test(names_become_ascii_as_in_browsers),
		cmocka_unit_test(what_may_go_from_url_to_url),
		TEST(locations_are_resolved_as_in_browsers),
		TEST(redirects_share_one_deadline_and_one_slot),
	};

	return cmocka_run_group_tests_name("a site that is up", tests, start_server, stop_server);
}
