/* Requests and responses: the web server's variables become a request, or a refusal with its reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fleet_hub/http/http.c"

static int read_with(struct request *r, const char *uri, const char *query, struct err *e)
{
	char request_uri[2 * HTTP_QUERY_MAX], query_string[2 * HTTP_QUERY_MAX];
	char *env[] = { (char[]){ "REQUEST_METHOD=GET" }, (char[]){ "SERVER_ADDR=127.0.0.1" },
			(char[]){ "REMOTE_ADDR=127.0.0.1" }, request_uri, query_string, NULL };

	assert_true(snprintf(request_uri, sizeof request_uri, "REQUEST_URI=%s", uri) <
		    (int)sizeof request_uri);
	assert_true(snprintf(query_string, sizeof query_string, "QUERY_STRING=%s", query) <
		    (int)sizeof query_string);
	return request_read(r, env, e);
}

static void a_query_is_decoded(void **state)
{
	struct request r;
	struct err e;

	(void)state;
	assert_int_equal(read_with(&r, "/logs?x", "q=a+b%20%26c&empty=&flag&&%71=second&p=100%&e=%C3%A9", &e),
			 0);
	assert_string_equal(request_param(&r, "q"), "a b &c");
	assert_string_equal(request_param(&r, "empty"), "");
	assert_string_equal(request_param(&r, "flag"), "");
	assert_string_equal(request_param(&r, "p"), "100%");
	assert_string_equal(request_param(&r, "e"), "\u00e9");
	assert_null(request_param(&r, "x"));
	assert_int_equal(r.n_params, 6);
	request_free(&r);
}

static void invalid_utf8_is_repaired(void **state)
{
	struct request r;
	struct err e;

	(void)state;
	assert_int_equal(read_with(&r, "/%ff", "a=%00b&c=%c3&d=%ed%a0%80", &e), 0);
	assert_string_equal(r.path, "/\ufffd");
	assert_string_equal(request_param(&r, "a"), "\ufffdb");
	assert_string_equal(request_param(&r, "c"), "\ufffd");
	assert_string_equal(request_param(&r, "d"), "\ufffd\ufffd\ufffd");
	request_free(&r);
}

static void errors_name_the_limits(void **state)
{
	static char query[2 * HTTP_QUERY_MAX - 100];
	struct request r;
	struct err e;

	(void)state;
	memset(query, 'a', HTTP_QUERY_MAX + 1);
	assert_int_equal(read_with(&r, "/", query, &e), -414);
	request_free(&r);
	query[HTTP_QUERY_MAX] = '\0';
	assert_int_equal(read_with(&r, "/", query, &e), 0);
	request_free(&r);
	for (size_t i = 0; i < HTTP_PARAMS_MAX + 1; i++)
		memcpy(query + 2 * i, "a&", 3);
	assert_int_equal(read_with(&r, "/", query, &e), -400);
	request_free(&r);
	memset(query, 'p', HTTP_PATH_MAX + 1);
	query[0] = '/';
	query[HTTP_PATH_MAX + 1] = '\0';
	assert_int_equal(read_with(&r, query, "", &e), -414);
	request_free(&r);
}

static void arena_holds_the_worst_query_there_is(void **state)
{
	static char query[HTTP_QUERY_MAX + 1];
	struct request r;
	struct err e;

	(void)state;
	memset(query, '\xff', HTTP_QUERY_MAX);          /* each byte becomes three */
	for (size_t i = 1; i < HTTP_PARAMS_MAX; i++)
		query[i * (HTTP_QUERY_MAX / HTTP_PARAMS_MAX)] = '&';
	assert_int_equal(read_with(&r, "/", query, &e), 0);
	assert_int_equal(r.n_params, HTTP_PARAMS_MAX);
	request_free(&r);
}

static int read_path_of(struct request *r, const char *uri, const char *script, const char *info)
{
	char u[256], s[256], p[256];
	char *env[] = { u, s, p, NULL };
	struct err e;

	snprintf(u, sizeof u, "REQUEST_URI=%s", uri);
	snprintf(s, sizeof s, "SCRIPT_NAME=%s", script);
	snprintf(p, sizeof p, "PATH_INFO=%s", info);
	return request_read(r, env, &e);
}

static void links_begin_where_the_program_is_mounted(void **state)
{
	static const struct { const char *uri, *script, *info, *path, *base;
	} list[] = {
		{ "/logs?q=1", "", "", "/logs", "" },
		{ "/logs?q=1", "/fleet_hub", "/logs", "/logs", "" }, /* rewritten by the server */
		{ "/cgi-bin/hub/logs?q=1", "/cgi-bin/hub", "/logs", "/logs", "/cgi-bin/hub" },
		{ "/cgi-bin/hub", "/cgi-bin/hub", "", "/", "/cgi-bin/hub" },
		{ "/cgi-bin/hub?q=1", "/cgi-bin/hub", "", "/", "/cgi-bin/hub" },
		{ "/cgi-bin/hubble", "/cgi-bin/hub", "", "/cgi-bin/hubble", "" },
		{ "/servers/a%2Fb%20c", "", "", "/servers/a/b c", "" },
		{ "", "", "", "/", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
		struct request r;

		assert_int_equal(read_path_of(&r, list[i].uri, list[i].script, list[i].info), 0);
		assert_string_equal(r.path, list[i].path);
		assert_string_equal(r.base, list[i].base);
		request_free(&r);
	}
}

static void over_fastcgi_the_address_is_the_path(void **state)
{
	char *env[] = { (char[]){ "FCGI_ROLE=RESPONDER" }, (char[]){ "SCRIPT_NAME=/servers" },
			(char[]){ "PATH_INFO=/x" }, (char[]){ "REQUEST_URI=/servers/x?q=1" }, NULL };
	struct request r;
	struct err e;

	(void)state;
	assert_int_equal(request_read(&r, env, &e), 0);
	assert_string_equal(r.path, "/servers/x");
	assert_string_equal(r.base, "");
	request_free(&r);
}

static bool is_here(const char *server, const char *remote, const char *host, const char *more)
{
	char s[128], a[128], h[128], m[128];
	char *env[] = { s, a, h, m, NULL };

	snprintf(s, sizeof s, "%s%s", server ? "SERVER_ADDR=" : "X=", server ? server : "");
	snprintf(a, sizeof a, "%s%s", remote ? "REMOTE_ADDR=" : "X=", remote ? remote : "");
	snprintf(h, sizeof h, "%s%s", host ? "HTTP_HOST=" : "X=", host ? host : "");
	snprintf(m, sizeof m, "%s", more ? more : "X=");
	return http_both_ends_here(env);
}

static void only_this_machine_is_here(void **state)
{
	(void)state;
	assert_true(is_here("127.0.0.1", "127.0.0.1", "localhost:8080", NULL));
	assert_true(is_here("127.0.0.1", "127.9.9.9", "127.0.0.1:8080", NULL));
	assert_true(is_here("::1", "::1", "[::1]:8080", NULL));
	assert_true(is_here("::ffff:127.0.0.1", "::ffff:127.0.0.1", "localhost", NULL));
	assert_true(is_here("/run/hub.sock", NULL, "localhost", NULL));
	assert_true(is_here("unix:", "unix:", NULL, NULL));
	assert_false(is_here("10.0.0.1", "127.0.0.1", NULL, NULL));
	assert_false(is_here("127.0.0.1", "10.0.0.2", NULL, NULL));
	assert_false(is_here("::1", "::2", NULL, NULL));
	assert_false(is_here(NULL, NULL, NULL, NULL));
	assert_false(is_here("127.0.0.1", NULL, NULL, NULL));
	assert_false(is_here("127.0.0.1", "127.0.0.1", "evil.example", NULL));
	assert_false(is_here("127.0.0.1", "127.0.0.1", "127.0.0.1.evil.example", NULL));
	assert_false(is_here("127.0.0.1", "127.0.0.1", "localhost.evil.example:80", NULL));
	assert_false(is_here("127.0.0.1", "127.0.0.1", "localhost", "HTTP_X_FORWARDED_FOR=10.1.1.1"));
	assert_false(is_here("127.0.0.1", "127.0.0.1", "localhost", "HTTP_FORWARDED=for=10.1.1.1"));
	assert_false(is_here("127.0.0.1", "127.0.0.1", "127.0.0.1:8080", "SERVER_PROTOCOL=HTTP/1.0"));
	assert_true(is_here("127.0.0.1", "127.0.0.1", "127.0.0.1:8080", "SERVER_PROTOCOL=HTTP/1.1"));
}

static void theme_is_one_of_the_words_that_exist(void **state)
{
	(void)state;
	assert_string_equal(read_theme("observ_theme=dark"), "dark");
	assert_string_equal(read_theme("a=b; observ_theme=light; c=d"), "light");
	assert_string_equal(read_theme("xobserv_theme=dark"), "");
	assert_string_equal(read_theme("observ_theme=\"><script>"), "");
	assert_string_equal(read_theme(""), "");
}

static void a_header_can_not_be_split(void **state)
{
	struct response s = { .status = 200 };

	(void)state;
	assert_false(response_header(&s, "Location", "/x\r\nSet-Cookie: a=b"));
	assert_false(response_header(&s, "Location", "/x\n"));
	assert_int_equal(s.headers.len, 0);
	assert_true(response_header(&s, "Location", "/x"));
	response_free(&s);
}

static void a_redirect_stays_on_this_site(void **state)
{
	(void)state;
	assert_true(http_local_path("/"));
	assert_true(http_local_path("/logs?q=a%20b&range=1h"));
	assert_false(http_local_path("//evil.example/"));
	assert_false(http_local_path("/\\evil.example/"));
	assert_false(http_local_path("https://evil.example/"));
	assert_false(http_local_path("javascript:alert(1)"));
	assert_false(http_local_path("/a\r\nb"));
	assert_false(http_local_path("/\t/evil.example"));
	assert_false(http_local_path(""));
}

static bool keep(void *to, const char *bytes, size_t n)
{
	return buf_add(to, bytes, n);
}

static void every_response_has_the_security_headers(void **state)
{
	struct request r = { .method = HTTP_HEAD };
	struct buf out = BUF(8192);
	struct response s = {
		.write = keep, .to = &out, .status = 404, .type = "text/html", .body = BUF(100)
	};

	(void)state;
	assert_true(buf_adds(&s.body, "body"));
	assert_true(response_write(&r, &s));
	assert_non_null(strstr(buf_cstr(&out), "Status: 404 Not Found\r\n"));
	assert_non_null(strstr(out.data, "Content-Security-Policy: default-src 'none'; script-src 'self'; "));
	assert_non_null(strstr(out.data, "frame-ancestors 'none'\r\n"));
	assert_non_null(strstr(out.data, "Content-Length: 4\r\n"));
	assert_non_null(strstr(out.data, "Cache-Control: no-store\r\n"));
	assert_string_equal(out.data + out.len - 4, "\r\n\r\n");        /* HEAD: no body */
	r.method = HTTP_GET;
	s.begun = false;
	assert_true(response_write(&r, &s));
	assert_string_equal(buf_cstr(&out) + out.len - 4, "body");
	buf_free(&out);
	response_free(&s);
}

static void encoding_leaves_only_what_is_safe(void **state)
{
	struct buf out = BUF(256);

	(void)state;
	assert_true(http_encode(&out, TEXT("a b/c?d&e=f\"<>\n\xc3\xa9~")));
	assert_string_equal(buf_cstr(&out), "a%20b%2Fc%3Fd%26e%3Df%22%3C%3E%0A%C3%A9~");
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_query_is_decoded),
		cmocka_unit_test(invalid_utf8_is_repaired),
		cmocka_unit_test(errors_name_the_limits),
		cmocka_unit_test(arena_holds_the_worst_query_there_is),
		cmocka_unit_test(links_begin_where_the_program_is_mounted),
		cmocka_unit_test(over_fastcgi_the_address_is_the_path),
		cmocka_unit_test(only_this_machine_is_here),
		cmocka_unit_test(theme_is_one_of_the_words_that_exist),
		cmocka_unit_test(a_header_can_not_be_split),
		cmocka_unit_test(a_redirect_stays_on_this_site),
		cmocka_unit_test(every_response_has_the_security_headers),
		cmocka_unit_test(encoding_leaves_only_what_is_safe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
