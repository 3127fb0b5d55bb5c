/* Health checks, one run: the right class, figures and secrets for every kind of answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/net/address.h"
#include "check_fixture.h"

#include <arpa/inet.h>

static struct check_config *add_tls(int port)
{
	struct check_config *c = add_check(0, "");

	snprintf(urls[c - configs], sizeof urls[0], "https://127.0.0.1:%d/ok", port);
	return c;
}

/* ---- one run ------------------------------------------------------------------------------ */

static void a_good_answer_has_all_figures(void **state)
{
	struct check_config *c = add_check(server.http, "ok");
	const struct check_sample *s;
	int64_t before = wall_us();

	(void)state;
	run_once();
	assert_result(c, CHECK_OK, "");
	s = result_of(c);
	assert_int_equal(s->status_code, 200);
	assert_int_equal(s->attempts, 1);
	assert_true(s->response_ms > 0 && s->dns_ms >= 0 && s->connect_ms >= 0 && s->first_byte_ms >= 0);
	assert_true(isnan(s->tls_ms));
	assert_true(s->dns_ms + s->connect_ms + s->first_byte_ms <= s->response_ms + 0.01);
	assert_int_equal(s->cert_starts_us, 0);
	assert_int_equal(s->cert_expires_us, 0);
	assert_in_range(agent.kept[0].s.timestamp_us, before, wall_us());
}

/* Path, expected body, allowed redirects, error class, words of the message. */
static const struct bad {
	const char *path, *body;
	int redirects;
	enum check_error error;
	const char *words;
} bad[] = {
	{ "hang", NULL, 0, CHECK_TIMEOUT, "no answer within" },
	{ "slow_headers", NULL, 0, CHECK_TIMEOUT, "not complete within" },
	{ "slow_body", NULL, 0, CHECK_TIMEOUT, "not complete within" },
	{ "slow_body", "needle", 0, CHECK_TIMEOUT, "not complete within" },
	{ "huge_stall", NULL, 0, CHECK_TIMEOUT, "not complete within" },
	{ "endless_body", NULL, 0, CHECK_OK, "" },                      /* decided by the headers */
	{ "endless_body", "needle", 0, CHECK_BODY, "first 1024 KiB" },
	{ "huge", NULL, 0, CHECK_OK, "" },
	{ "huge", "needle", 0, CHECK_BODY, "first 1024 KiB" },
	{ "endless_headers", NULL, 0, CHECK_PROTOCOL, "64 KiB of headers" },
	{ "endless_continue", NULL, 0, CHECK_PROTOCOL, "64 KiB of headers" },
	{ "gzip_bomb", NULL, 0, CHECK_OK, "" },
	{ "gzip_bomb", "needle", 0, CHECK_BODY, "first 1024 KiB" },
	{ "packed?gzip,%20gzip", "needle", 0, CHECK_PROTOCOL, "compressed more than once" },
	{ "transfer?1", "needle", 0, CHECK_OK, "" },
	{ "transfer?2", "needle", 0, CHECK_PROTOCOL, "compressed more than once" },
	{ "transfer?4", NULL, 0, CHECK_PROTOCOL, "compressed more than once" },
	{ "transfer_and_content", "needle", 0, CHECK_PROTOCOL, "compressed more than once" },
	{ "loop", NULL, 5, CHECK_PROTOCOL, "Maximum (5) redirects" },
	{ "loop", NULL, 0, CHECK_STATUS, "Status 302" },
	{ "to_ok", "ok", 1, CHECK_OK, "" },
	{ "to_ok", "Go", 1, CHECK_BODY, "not in the body (3 bytes)" },
	{ "to_endless", "ok", 1, CHECK_OK, "" },
	{ "to?302,http://[::1/", NULL, 5, CHECK_PROTOCOL, "no URL" },
	{ "to?302,http://b%FFcher.test/", NULL, 5, CHECK_PROTOCOL, "no URL" },
	{ "to_file", NULL, 5, CHECK_PROTOCOL, "\"file\" not supported" },
	{ "to_gopher", NULL, 5, CHECK_PROTOCOL, "\"gopher\" not supported" },
	{ "to_metadata", NULL, 5, CHECK_PROTOCOL, "link-local" },
	{ "to_metadata_6", NULL, 5, CHECK_PROTOCOL, "link-local" },
	{ "to_other_host", NULL, 5, CHECK_OK, "" },
	{ "early_close", NULL, 0, CHECK_PROTOCOL, "bytes remaining" },
	{ "no_answer", NULL, 0, CHECK_PROTOCOL, "Empty reply" },
	{ "reset", NULL, 0, CHECK_PROTOCOL, "reset" },
	{ "http09", NULL, 0, CHECK_PROTOCOL, "HTTP/0.9" },
	{ "garbage", NULL, 0, CHECK_PROTOCOL, "HTTP/0.9" },
	{ "status/404", NULL, 0, CHECK_STATUS, "Status 404" },
	{ "status/503", "x", 0, CHECK_STATUS, "Status 503" },
	{ "body", "needle", 0, CHECK_OK, "" },
	{ "split_body", "needle", 0, CHECK_OK, "" },
	{ "body", "needles", 0, CHECK_BODY, "not in the body (101006 bytes)" },
};

static int64_t deadline_us(void)
{
	return slow(700 * US_PER_MS);
}

/* All at the same time: each ends at its own deadline with its own class. */
static void every_fault_has_its_class_within_its_deadline(void **state)
{
	const size_t n = sizeof bad / sizeof bad[0];

	(void)state;
	for (size_t i = 0; i < n; i++) {
		char path[64];
		struct check_config *c;

		if (strchr(bad[i].path, '?'))
			snprintf(path, sizeof path, "%s", bad[i].path);
		else
			snprintf(path, sizeof path, "%s?%zu", bad[i].path, i);
		c = add_check(server.http, path);
		c->expect_body = bad[i].body;
		c->max_redirects = bad[i].redirects;
		c->timeout_us = bad[i].error == CHECK_TIMEOUT ? deadline_us() : c->timeout_us;
	}
	run_once();
	for (size_t i = 0; i < n; i++) {
		assert_result(&configs[i], bad[i].error, bad[i].words);
		assert_true(result_of(&configs[i])->response_ms <
			    (double)(configs[i].timeout_us + allowed_us()) / 1000);
	}
	assert_true(agent.latest_us < allowed_us());
}

static void a_closed_port_and_an_unknown_name_have_different_errors(void **state)
{
	struct check_config *refused = add_check(server.dead, ""), *missing = add_url("http://missing.test/"),
			    *scheme = add_url("ftp://127.0.0.1/");

	(void)state;
	run_once();
	assert_result(refused, CHECK_REFUSED, "Connection refused");
	assert_result(missing, CHECK_DNS, "missing.test");
	assert_result(scheme, CHECK_PROTOCOL, "\"ftp\" not supported");
	assert_true(isnan(result_of(missing)->connect_ms));
}

/* which: "start" or "end". */
static int64_t date_by_openssl(const char *name, const char *which)
{
	char command[256], text[64] = "";
	struct tm tm = { 0 };
	FILE *f;

	snprintf(command, sizeof command, "openssl x509 -%sdate -noout -in %s/%s.pem | cut -d= -f2", which,
		 server.certs, name);
	f = popen(command, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof text, f));
	pclose(f);
	assert_non_null(strptime(text, "%b %d %H:%M:%S %Y", &tm));
	return (int64_t)timegm(&tm) * US_PER_S;
}

static void assert_dates(const struct check_config *c, const char *name)
{
	assert_int_equal(result_of(c)->cert_starts_us, date_by_openssl(name, "start"));
	assert_int_equal(result_of(c)->cert_expires_us, date_by_openssl(name, "end"));
}

static void certificates_are_judged_and_dated(void **state)
{
	struct check_config *self_signed = add_tls(server.self_signed), *expired = add_tls(server.expired);

	(void)state;
	run_once();
	assert_result(self_signed, CHECK_TLS, "self-signed");
	assert_result(expired, CHECK_TLS, "certificate");
	assert_dates(self_signed, "self_signed");
	assert_dates(expired, "expired");
}

static void a_certificate_that_is_not_verified_has_its_date_too(void **state)
{
	struct check_config *c = add_tls(server.self_signed);

	(void)state;
	c->verify_tls = false;
	run_once();
	assert_result(c, CHECK_OK, "");
	assert_true(result_of(c)->tls_ms > 0);
	assert_dates(c, "self_signed");
}

static void a_tls_stall_ends_at_the_deadline(void **state)
{
	struct check_config *c = add_tls(server.tls_stall);

	(void)state;
	c->timeout_us = deadline_us();
	run_once();
	assert_result(c, CHECK_TIMEOUT, "TLS handshake");
	assert_true(result_of(c)->response_ms < (double)(c->timeout_us + allowed_us()) / 1000);
}

static void secrets_stay_with_us(void **state)
{
	static const char *const headers[] = { "X-Api-Key: topsecret", NULL };
	struct check_config *login = add_url(""), *other = add_check(server.http, "to_other_host"),
			    *same = add_check(server.http, "to_ok"), *sent = add_check(server.http, "echo");

	(void)state;
	snprintf(urls[0], sizeof urls[0], "http://user:pa%%40ss@127.0.0.1:%d/echo?a=b@c", server.http);
	login->shown_url = "http://***@127.0.0.1/echo?a=b@c";
	login->expect_body = "not there, so that there is a message";
	other->headers = same->headers = sent->headers = headers;
	other->max_redirects = same->max_redirects = 3;
	other->expect_body = sent->expect_body = "X-Api-Key: topsecret\r\n";
	run_once();
	assert_result(sent, CHECK_OK, "");
	assert_result(same, CHECK_OK, "");
	assert_result(other, CHECK_BODY, "headers were not sent");
	for (size_t i = 0; i < agent.n; i++) {
		const struct check_sample *s = &agent.kept[i].s.check;

		assert_null(strstr(s->url.s, "user"));
		assert_null(strstr(s->error_message.s ? s->error_message.s : "", "ss"
			   "@"));
		assert_null(strstr(s->error_message.s ? s->error_message.s : "", "topsecret"));
	}
	assert_result(login, CHECK_BODY, "");
}

static void the_request_is_plain(void **state)
{
	struct check_config *agent_name = add_check(server.http, "echo?1"),
			    *post = add_check(server.http, "echo?2"), *head = add_check(server.http, "ok?3"),
			    *other = add_check(server.http, "echo?4"),
			    *zip = add_check(server.http, "packed?gzip");

	(void)state;
	setenv("http_proxy", "http://127.0.0.1:1/", 1);
	agent_name->expect_body = "User-Agent: observ/" OBSERV_VERSION "\r\n";
	post->method = "POST";
	post->expect_body = "Content-Length: 0\r\n";
	head->method = "HEAD";
	other->method = "OPTIONS";
	other->expect_body = "OPTIONS /echo";
	run_once();
	unsetenv("http_proxy");
	assert_result(agent_name, CHECK_OK, "");
	assert_result(post, CHECK_OK, "");
	assert_result(head, CHECK_OK, "");
	assert_result(other, CHECK_OK, "");
	assert_result(zip, CHECK_OK, "");
}

static void a_failure_counts_after_its_retries(void **state)
{
	struct check_config *dead = add_check(server.dead, ""), *ok = add_check(server.http, "ok");

	(void)state;
	dead->retries = ok->retries = 2;
	run_once();
	assert_int_equal(agent.n, 2);
	assert_int_equal(result_of(dead)->attempts, 3);
	assert_int_equal(result_of(ok)->attempts, 1);
}

/* ---- URLs ---------------------------------------------------------------------------------- */

static void assert_hidden(const struct secret *secrets, const char *text, const char *want)
{
	char out[64];

	if (secrets_hide(secrets, text, out, sizeof out))
		assert_string_equal(out, want ? want : "all of it hidden");
	else
		assert_null(want);
}

static void a_text_is_shown_without_the_secrets_it_repeats(void **state)
{
	static const struct secret part = { "hunter", NULL }, whole = { "hunter2%20@/+", &part },
				   tiny = { "x", NULL };

	(void)state;
	assert_hidden(NULL, "Could not resolve host: a%20b", "Could not resolve host: a%20b");
	assert_hidden(&whole, "no host hunter2 @/ .evil", "no host ***.evil");
	assert_hidden(&whole, "hunter2%20%40%2f%2Bhunter2+%2540/%20", "******");
	assert_hidden(&whole, "%68UNTER2, hunte", "***2, hunte");
	assert_hidden(&whole, "100%", "100%");
	assert_hidden(&tiny, "Status 200", "Status 200");
	assert_hidden(&tiny, "no host example", NULL);
	assert_hidden(&part, "0123456789012345678901234567890123456789012345678901234567890hunter",
		      "0123456789012345678901234567890123456789012345678901234567890**");
}

/* A redirect to a host name that repeats the secret of the request: libcurl's message contains it. */
static void a_message_has_no_secret_that_a_redirect_repeats(void **state)
{
	static const struct secret secret = { "s3cr3t", NULL }, tiny = { "3t", NULL };
	struct check_config *plain = add_check(server.http, "to_name?s3cr3t.missing.test"),
			    *hidden = add_check(server.http, "to_name?S3cr%33t.missing.test"),
			    *short_one = add_check(server.http, "to_name?3t.missing.test");

	(void)state;
	plain->max_redirects = hidden->max_redirects = short_one->max_redirects = 1;
	hidden->secrets = &secret;
	short_one->secrets = &tiny;
	run_once();
	assert_result(plain, CHECK_DNS, "Could not resolve host: s3cr3t.missing.test");
	assert_result(hidden, CHECK_DNS, "Could not resolve host: ***.missing.test");
	assert_result(short_one, CHECK_DNS, "Couldn't resolve host name");
	assert_null(strstr(result_of(short_one)->error_message.s, "3t"));
}

/* The host's name comes from a variable; libcurl's message has it as xn--..., or in plain letters. */
static void a_message_has_no_host_that_a_variable_gave_in_another_form(void **state)
{
	static const struct secret secrets[] = { { "geheim-ü.missing.test", NULL },
						 { "ｇｅｈｅｉｍ.missing.test", NULL },
						 { "geheim-%C3%BC.missing.test", NULL } };
	enum { N = sizeof secrets / sizeof *secrets };
	struct check_config *c[N];

	(void)state;
	for (size_t i = 0; i < N; i++) {
		c[i] = add_check(server.http, "");
		snprintf(urls[c[i] - configs], sizeof urls[0], "http://%s/", secrets[i].text);
		c[i]->secrets = &secrets[i];
	}
	run_once();
	for (size_t i = 0; i < N; i++) {
		assert_result(c[i], CHECK_DNS, "");
		assert_null(strcasestr(result_of(c[i])->error_message.s, "geheim"));
	}
}

static void redirects_lead_to_no_address_of_cloud_metadata(void **state)
{
	static const struct { const char *address; bool metadata; } cases[] = {
		{ "169.254.169.254", true }, { "169.254.170.2", true }, { "100.100.100.200", true },
		{ "168.63.129.16", true }, { "192.0.0.192", true }, { "100.100.100.201", false },
		{ "192.0.0.1", false }, { "127.0.0.1", false }, { "10.0.0.1", false }, { "fe80::1", true },
		{ "febf::1", true }, { "fec0::1", false }, { "fd00:ec2::254", true },
		{ "fd20:ce::254", true }, { "fd00:42::42", true }, { "fd00:1::1", false }, { "::1", false },
		{ "::ffff:169.254.169.254", true }, { "::ffff:100.100.100.200", true },
		{ "::169.254.169.254", true }, { "64:ff9b::169.254.169.254", true },
		{ "64:ff9b::10.0.0.1", false }, { "2001:db8::1", false },
		/* Checks of internal services are redirected within private networks. */
		{ "172.16.0.1", false }, { "192.168.1.1", false }, { "fd12:3456::1", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sockaddr_in four = { .sin_family = AF_INET };
		struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
		bool is_four = inet_pton(AF_INET, cases[i].address, &four.sin_addr) == 1;
		const void *address = is_four ? (const void *)&four : &six;

		if (!is_four)
			assert_int_equal(inet_pton(AF_INET6, cases[i].address, &six.sin6_addr), 1);
		if (address_is_metadata(address) != cases[i].metadata)
			fail_msg("%s", cases[i].address);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(a_good_answer_has_all_figures),
		TEST(every_fault_has_its_class_within_its_deadline),
		TEST(a_closed_port_and_an_unknown_name_have_different_errors),
		TEST(certificates_are_judged_and_dated),
		TEST(a_certificate_that_is_not_verified_has_its_date_too),
		TEST(a_tls_stall_ends_at_the_deadline),
		TEST(secrets_stay_with_us),
		TEST(the_request_is_plain),
		TEST(a_failure_counts_after_its_retries),
		TEST(a_message_has_no_secret_that_a_redirect_repeats),
		TEST(a_message_has_no_host_that_a_variable_gave_in_another_form),
		cmocka_unit_test(redirects_lead_to_no_address_of_cloud_metadata),
		cmocka_unit_test(a_text_is_shown_without_the_secrets_it_repeats),
	};

	return cmocka_run_group_tests_name("checks", tests, start_server, stop_server);
}
