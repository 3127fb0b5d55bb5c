/* logcore, secrets: it redacts all of one list, and nearly nothing of another. */
#include "logcore_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRETS "tests/redaction/secrets.txt"
#define PLAIN "tests/redaction/plain.txt"
#define MARK "[redacted]"

enum { FALSE_POSITIVES_MAX = 3 };

/* ---- the lists --------------------------------------------------------------------- */

static FILE *open_list(const char *path)
{
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	return f;
}

/* The next row, without its end; 'K', 'T', or 0 at the end of the file. */
static char next_row(FILE *f, char text[1000])
{
	char row[1000];

	while (fgets(row, sizeof row, f)) {
		row[strcspn(row, "\n")] = '\0';
		if (row[0] == '#')
			continue;
		assert_true((row[0] == 'K' || row[0] == 'T') && row[1] == ' ');
		memcpy(text, row + 2, strlen(row + 2) + 1);
		return row[0];
	}
	return 0;
}

/* A row "a {{b}} c" logs "a b c" and expects "a [redacted] c". */
static void take_marks(const char *row, char logged[1000], char written[1000])
{
	const char *open = strstr(row, "{{"), *close;
	int n = 0, m = 0;

	for (; open; open = strstr(row, "{{")) {
		close = strstr(open, "}}");
		close = close ? close : row + strlen(row);
		while (close[0] && close[2] == '}')     /* the last two */
			close++;
		n += snprintf(logged + n, (size_t)(1000 - n), "%.*s%.*s", (int)(open - row), row,
			      (int)(close - open - 2), open + 2);
		m += snprintf(written + m, (size_t)(1000 - m), "%.*s" MARK, (int)(open - row), row);
		row = close[0] ? close + 2 : close;
	}
	snprintf(logged + n, (size_t)(1000 - n), "%s", row);
	snprintf(written + m, (size_t)(1000 - m), "%s", row);
}

/* Log a text as message, as field, and as string in nested JSON; *ret_nested: the last result. */
static struct json_object *log_text(const char *s)
{
	struct json_object *inner = json_object_new_object(), *o;
	char *message = strdup(s);      /* volatile: no compiler takes it for a constant */
	const char *json;

	json_object_object_add(inner, "s", json_object_new_string(s));
	json = json_object_to_json_string(inner);
	logcore_info(cap.log, message, logcore_kv("v", s), logcore_kv_json("j", json, strlen(json)));
	o = capture_line(&cap);
	json_object_put(inner);
	free(message);
	return o;
}

/* Use the key for a field, and in nested JSON. */
static struct json_object *log_key(const char *key)
{
	struct json_object *inner = json_object_new_object(), *o;
	const char *json;

	json_object_object_add(inner, key, json_object_new_string("value"));
	json = json_object_to_json_string_ext(inner, JSON_C_TO_STRING_PRETTY);
	logcore_info(cap.log, "x", logcore_kv(key, "value"), logcore_kv_json("j", json, strlen(json)));
	o = capture_line(&cap);
	json_object_put(inner);
	return o;
}

/* ---- recall and false positives ------------------------------------------------------ */

static bool key_is_redacted(const char *key)
{
	struct json_object *o = log_key(key);
	bool redacted = !strcmp(text(field(o, key)), MARK);

	assert_string_equal(text(member(field(o, "j"), key)), redacted ? MARK : "value");
	json_object_put(o);
	return redacted;
}

static void every_secret_is_left_out(void **state)
{
	char row[1000], logged[1000], written[1000], kind;
	FILE *f = open_list(SECRETS);
	int missed = 0;

	(void)state;
	while ((kind = next_row(f, row))) {
		struct json_object *o;

		if (kind == 'K') {
			if (!key_is_redacted(row) && ++missed)
				print_error("not seen as a secret: %s\n", row);
			continue;
		}
		take_marks(row, logged, written);
		o = log_text(logged);
		if (strcmp(text(field(o, "v")), written) != 0 ||
		    strcmp(text(member(o, "message")), written) != 0)
			print_error("%s\n  is written as %s\n", row, text(field(o, "v"))), missed++;
		if (strcmp(text(member(field(o, "j"), "s")), MARK) != 0)
			print_error("%s\n  is written in JSON as %s\n", row, text(field(o, "j"))), missed++;
		json_object_put(o);
	}
	fclose(f);
	assert_int_equal(missed, 0);
}

static void texts_without_secrets_are_written_unchanged(void **state)
{
	int false_positives = 0;
	char row[1000], kind;
	FILE *f = open_list(PLAIN);

	(void)state;
	while ((kind = next_row(f, row))) {
		struct json_object *o;

		if (kind == 'K') {
			if (key_is_redacted(row) && ++false_positives)
				print_message("taken for a secret: %s\n", row);
			continue;
		}
		o = log_text(row);
		if (strcmp(text(field(o, "v")), row) != 0 && ++false_positives)
			print_message("%s\n  is written as %s\n", row, text(field(o, "v")));
		assert_string_equal(text(field(o, "v")), text(member(o, "message")));
		json_object_put(o);
	}
	fclose(f);
	assert_in_range(false_positives, 0, FALSE_POSITIVES_MAX);
}

/* ---- what is done with them ---------------------------------------------------------- */

static void assert_context(struct capture *c, const char *want)
{
	struct json_object *o = capture_line(c);

	assert_string_equal(json_object_to_json_string_ext(member(o, "context"),
			    JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE), want);
	json_object_put(o);
}

static void secret_keys_hide_any_value_except_null_and_booleans(void **state)
{
	(void)state;
	logcore_info(cap.log, "x", logcore_kv("token", 123456), logcore_kv("token", 1.5),
		     logcore_kv_hex("token", "\1", 1), logcore_kv_json("token", "{\"a\":1}", 7));
	assert_true(capture_next(&cap));
	assert_non_null(strstr(cap.line, "{\"token\":\"" MARK "\",\"token\":\"" MARK "\",\"token\":\""
			       MARK "\",\"token\":\"" MARK "\"}"));
	logcore_info(cap.log, "x", logcore_kv_bool("password", true), logcore_kv("token", NULL));
	assert_context(&cap, "{\"password\":true,\"token\":null}");
}

static void nested_keys_hide_any_value(void **state)
{
	static const char json[] = "{\"a\":[{\"token\" : {\"x\":[\"}\",1]},\"b\":1},{\"pass\\u0077ord\":[1,2 "
				   "],\"c\":[]}], \"secret\":-1.5e3 "
				   ",\"cookie\":\"\\\"\",\"pwd\":null,\"token\":true}";

	(void)state;
	logcore_info(cap.log, "x", logcore_kv_json("j", json, sizeof json - 1));
	assert_context(&cap,
		       "{\"j\":{\"a\":[{\"token\":\"" MARK "\",\"b\":1},{\"password\":\""
		       MARK "\",\"c\":[]}],"
		       "\"secret\":\"" MARK "\",\"cookie\":\"" MARK "\",\"pwd\":null,\"token\":true}}");
	assert_int_equal(stats_of(cap.log).redacted, 4);
}

static void broken_json_hides_them_too(void **state)
{
	static const char json[] = "{\"token\":\"abc\",\"password\":{\"a\":[1]},\"n\":1";

	(void)state;
	logcore_info(cap.log, "x", logcore_kv_json("j", json, sizeof json - 1));
	assert_context(&cap,
		       "{\"j\":\"{\\\"token\\\":\\\"" MARK "\\\",\\\"password\\\":" MARK ",\\\"n\\\":1\"}");
}

/* Also in a cut line, at any place of a line that is too long. */
static void a_cut_leaves_no_part_of_a_secret(void **state)
{
	static const char secret[] = " postgres://app:QQQQQQQQ@db password=QQQQQQQQ Bearer QQQQQQQQQQQQQQQQ9 "
				     "";
	static const char json[] = "{\"password\":\"QQQQQQQQ\",\"a\":\"://x:QQQQ@y\"}";
	size_t len = 4 * LOGCORE_LINE_MIN, n = sizeof secret - 1;
	char *s = big('x', len);
	struct capture c;

	(void)state;
	capture_open(&c,
		     (struct logcore_options){ .line_max = LOGCORE_LINE_MIN, .ignore_environment = true });
	for (size_t at = 0; at + n < LOGCORE_LINE_MIN; at++) {
		memset(s, 'x', len);
		memcpy(s + at, secret, n);
		logcore_info(c.log, s, logcore_kv_strn("s", s, len),
			     logcore_kv_json("j", json, sizeof json - 1));
		json_object_put(capture_line(&c));
		assert_null(strchr(c.line, 'Q'));
		logcore_info(c.log, "x", logcore_kv_strn("s", s, at + n),
			     logcore_kv_json("j", json, sizeof json - 1));
		json_object_put(capture_line(&c));
		assert_null(strstr(c.line, "QQQQ"));
	}
	capture_close(&c);
	free(s);
}

static void redactions_are_counted_once(void **state)
{
	struct logcore *child = logcore_child(cap.log, "c", logcore_kv("token", "x"), logcore_kv("id", 7));
	char *s = big('x', LOGCORE_LINE_MAX);

	(void)state;
	assert_int_equal(stats_of(cap.log).redacted, 1);
	logcore_info(child, "x", logcore_kv("a", "password=x token=y"), logcore_kv("secret", 1));
	assert_context(&cap, "{\"token\":\"" MARK "\",\"id\":7,\"a\":\"password=" MARK " token="
		       MARK "\",\"secret\":\"" MARK "\"}");
	assert_int_equal(stats_of(cap.log).redacted, 4);
	logcore_info(child, "x", logcore_kv("secret", 1), logcore_kv("long", s));
	json_object_put(capture_line(&cap));
	assert_int_equal(stats_of(cap.log).redacted, 5);
	logcore_close(child);
	free(s);
}

/* ---- options -------------------------------------------------------------------------- */

static void caller_adds_and_removes_keys(void **state)
{
	const char *const more[] = { "IBAN", "tax-id", "q", "pin2", NULL },
		*const not[] = { "token", "X_Cookie", NULL };
	struct capture c;

	(void)state;
	capture_open(&c, (struct logcore_options){ .redact_keys = more, .redact_not = not,
						   .ignore_environment = true });
	logcore_info(c.log, "x", logcore_kv("iban", "a"), logcore_kv("user_iban", "a"),
		     logcore_kv("taxId", "a"), logcore_kv("q", "a"), logcore_kv("x.q", "a"),
		     logcore_kv("pin2", "a"), logcore_kv("ibans", "a"), logcore_kv("Token", "a"),
		     logcore_kv("x-cookie", "a"), logcore_kv("access_token", "a"),
		     logcore_kv("query", "iban=a&token=b"));
	assert_context(&c, "{\"iban\":\"" MARK "\",\"user_iban\":\"" MARK "\",\"taxId\":\"" MARK "\",\"q\":\""
		       MARK "\",\"x.q\":\"" MARK "\","
		       "\"pin2\":\"" MARK "\",\"ibans\":\"a\",\"Token\":\"a\",\"x-cookie\":\"a\","
					  "\"access_token\":\"" MARK "\",\"query\":\"iban="
					  MARK "&token=b\"}");
	capture_close(&c);
}

static void redaction_can_be_for_keys_only_or_off(void **state)
{
	struct capture c;

	(void)state;
	capture_open(&c,
		     (struct logcore_options){ .redact = LOGCORE_REDACT_KEYS, .ignore_environment = true });
	logcore_info(c.log, "x", logcore_kv("token", "a"), logcore_kv("v", "password=x"));
	assert_context(&c, "{\"token\":\"" MARK "\",\"v\":\"password=x\"}");
	capture_close(&c);
	capture_open(&c,
		     (struct logcore_options){ .redact = LOGCORE_REDACT_OFF, .ignore_environment = true });
	logcore_info(c.log, "x", logcore_kv("token", "a"), logcore_kv_json("j", "{\"token\":\"a\"}", 13));
	assert_context(&c, "{\"token\":\"a\",\"j\":{\"token\":\"a\"}}");
	assert_int_equal(stats_of(c.log).redacted, 0);
	capture_close(&c);
}

static void lists_have_limits(void **state)
{
	const char *list[102] = { NULL };
	char error[200];

	(void)state;
	for (size_t i = 0; i < 101; i++)
		list[i] = "k";
	assert_null(logcore_open(&(struct logcore_options){ .redact_keys = list }, error, sizeof error));
	assert_non_null(strstr(error, "redact_keys"));
	list[100] = NULL;
	logcore_close(logcore_open(&(struct logcore_options){ .redact_keys = list }, NULL, 0));
	list[1] = "-_";
	assert_null(logcore_open(&(struct logcore_options){ .redact_not = list }, NULL, 0));
	list[1] = "a key of forty letters is longer than most sentences";
	assert_null(logcore_open(&(struct logcore_options){ .redact_not = list }, NULL, 0));
	assert_null(logcore_open(&(struct logcore_options){ .redact = 7 }, NULL, 0));
}

int main(void)
{
#define REDACT(t) cmocka_unit_test_setup_teardown(t, setup_app, teardown)
	const struct CMUnitTest tests[] = {
		REDACT(every_secret_is_left_out),
		REDACT(texts_without_secrets_are_written_unchanged),
		REDACT(secret_keys_hide_any_value_except_null_and_booleans),
		REDACT(nested_keys_hide_any_value),
		REDACT(broken_json_hides_them_too),
		REDACT(a_cut_leaves_no_part_of_a_secret),
		REDACT(redactions_are_counted_once),
		REDACT(caller_adds_and_removes_keys),
		REDACT(redaction_can_be_for_keys_only_or_off),
		REDACT(lists_have_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
