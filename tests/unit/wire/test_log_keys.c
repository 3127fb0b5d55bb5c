/* The names of a line's members, and whom they are taken for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire/log/log_keys.c"

static void every_name_is_found_by_its_own_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < KEYS; i++) {
		assert_ptr_equal(log_key_find(log_keys[i].name), &log_keys[i]);
		assert_true(log_keys[i].name.len <= LOG_KEY_MAX);
	}
	assert_null(log_key_find(TEXT("")));
	assert_null(log_key_find(TEXT("messag")));
	assert_null(log_key_find(TEXT("MeSsAgE")));
}

/* Within a slot the table is in the order of trust; the first five are logcore's, in its order. */
static void ranks_follow_the_table(void **state)
{
	unsigned last[SLOTS] = { 0 };

	(void)state;
	for (size_t i = 0; i < KEYS; i++) {
		if (i < SLOTS)
			assert_true(log_keys[i].slot == (enum log_slot)i && log_keys[i].rank == 0);
		if (log_keys[i].rank < last[log_keys[i].slot])
			fail_msg("%s", log_keys[i].name.s);
		last[log_keys[i].slot] = log_keys[i].rank;
	}
}

static void a_parent_of_a_dotted_name_leads_to_it(void **state)
{
	(void)state;
	assert_true(log_key_leads(TEXT("log")));
	assert_true(log_key_leads(TEXT("instant")));
	assert_true(log_key_leads(TEXT("record")));
	assert_false(log_key_leads(TEXT("lo")));
	assert_false(log_key_leads(TEXT("level.")));
	assert_false(log_key_leads(TEXT("order")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_name_is_found_by_its_own_row),
		cmocka_unit_test(ranks_follow_the_table),
		cmocka_unit_test(a_parent_of_a_dotted_name_leads_to_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
