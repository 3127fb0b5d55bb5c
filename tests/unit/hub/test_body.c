/* Request bodies: read whole or refused, for any head and any pieces of bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fleet_hub/http/body.c"

/* Delivers bytes in small pieces, like a pipe. */
struct source {
	const char *bytes;
	size_t len, at;
};

static long read_piece(void *from, char *to, size_t n)
{
	struct source *s = from;
	size_t rest = s->len - s->at, piece = rest < 3 ? rest : 3;

	piece = piece < n ? piece : n;
	memcpy(to, s->bytes + s->at, piece);
	s->at += piece;
	return (long)piece;
}

static int read_body(struct request *r, const char *type, const char *length, const char *bytes,
		     struct err *e)
{
	static const struct body_rule rule = { BODY_JSON | BODY_FORM, 100 };
	struct source source = { bytes, strlen(bytes), 0 };
	char t[128], l[128];
	char *env[] = { (char[]){ "REQUEST_METHOD=POST" },
			(char[]){ "REQUEST_URI=/x" },
			(char[]){ "QUERY_STRING=a=1" },
			t,
			l,
			NULL };

	snprintf(t, sizeof t, "CONTENT_TYPE=%s", type);
	snprintf(l, sizeof l, "CONTENT_LENGTH=%s", length);
	assert_int_equal(request_read(r, env, e), 0);
	assert_int_equal(r->method, HTTP_POST);
	return body_read(r, &rule, read_piece, &source, e);
}

static void a_body_is_read_whole(void **state)
{
	struct request r;
	struct err e;

	(void)state;
	assert_int_equal(read_body(&r, "application/json; charset=utf-8", "12", "{\"a\": \"b\u00e9\"}", &e),
			 0);
	assert_true(text_eq(r.body, TEXT("{\"a\": \"b\u00e9\"}")));
	request_free(&r);
	assert_int_equal(read_body(&r, "Application/JSON", "2", "{} and more", &e), 0);
	assert_true(text_eq(r.body, TEXT("{}")));
	request_free(&r);
	assert_int_equal(read_body(&r, "", "0", "", &e), 0);
	assert_int_equal(r.body.len, 0);
	request_free(&r);
}

static void a_form_becomes_parameters(void **state)
{
	struct request r;
	struct err e;

	(void)state;
	assert_int_equal(read_body(&r, "application/x-www-form-urlencoded", "17", "b=x+y%21&a=2&c=%00", &e),
			 0);
	assert_string_equal(request_param(&r, "b"), "x y!");
	assert_string_equal(request_param(&r, "a"), "1");
	request_free(&r);
}

static void refused(const char *type, const char *length, const char *bytes, int code, const char *says)
{
	struct request r;
	struct err e = { 0 };

	assert_int_equal(read_body(&r, type, length, bytes, &e), -code);
	assert_int_equal(e.code, code);
	if (!strstr(e.msg, says))
		fail_msg("%s: has not \"%s\"", e.msg, says);
	assert_int_equal(r.body.len, 0);
	request_free(&r);
}

static void what_cannot_be_taken_is_refused(void **state)
{
	(void)state;
	refused("application/json", "", "{}", 411, "Content-Length is missing");
	refused("application/json", "-1", "{}", 411, "Content-Length is missing");
	refused("application/json", "99999999999999999999999", "{}", 411, "Content-Length is missing");
	refused("application/json", "101", "{}", 413, "The body has 101 bytes; 100 are allowed");
	refused("application/json", "18446744073709551615", "{}", 413, "100 are allowed");
	refused("text/xml", "3", "<a>", 415, "must be application/json or application/x-www-form-urlencoded");
	refused("", "2", "{}", 415, "must be application/json");
	refused("application/jsonp", "2", "{}", 415, "must be application/json");
	refused("application/json", "5", "{}", 400, "ends after 2 of 5 bytes");
}

static void a_body_is_text(void **state)
{
	struct request r;
	struct err e;

	(void)state;
	assert_int_equal(read_body(&r, "application/json", "3", "\"\xff\"", &e), -400);
	assert_non_null(strstr(e.msg, "not UTF-8"));
	request_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_body_is_read_whole),
		cmocka_unit_test(a_form_becomes_parameters),
		cmocka_unit_test(what_cannot_be_taken_is_refused),
		cmocka_unit_test(a_body_is_text),
	};

	return cmocka_run_group_tests_name("body", tests, NULL, NULL);
}
