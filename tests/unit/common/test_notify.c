/* What systemd is told of the unit's state, and how seldom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

static int told;
static char last[256];

static void note(const char *text)
{
	told++;
	snprintf(last, sizeof last, "%.200s", text);
}

#include <systemd/sd-daemon.h>
#define sd_notifyf(unset, format, text) note(text)
#include "common/loop/notify.c"

static const char *words = "ok";

static void give_words(void *data, char *out, size_t size)
{
	(void)data;
	snprintf(out, size, "%s", words);
}

/* So many seconds pass, and a batch is committed. */
static void commit_after(struct notify *n, int seconds)
{
	n->said_us -= seconds * US_PER_S;
	notify_refresh(n);
}

static void only_a_text_that_changed_is_sent(void **state)
{
	sd_event *loop = NULL;
	struct notify *n;
	struct err e;

	(void)state;
	setenv("NOTIFY_SOCKET", "/none", 1);
	assert_true(sd_event_new(&loop) >= 0);
	assert_int_equal(notify_new(loop, give_words, NULL, &n, &e), 0);
	on_timer(n->timer, 0, n);
	assert_int_equal(told, 1);
	assert_string_equal(last, "ok");
	commit_after(n, 31);
	on_timer(n->timer, 0, n);
	assert_int_equal(told, 1);
	words = "ok, later";
	commit_after(n, 29);
	assert_int_equal(told, 1);
	commit_after(n, 2);
	assert_int_equal(told, 2);
	/* the next commit is first */
	assert_in_range(n->next_us - n->said_us, 61 * US_PER_S, 120 * US_PER_S);
	notify_changed(n);
	assert_int_equal(n->next_us - n->said_us, SOONEST_S * US_PER_S);
	notify_free(n);
	notify_refresh(NULL);
	sd_event_unref(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(only_a_text_that_changed_is_sent) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
