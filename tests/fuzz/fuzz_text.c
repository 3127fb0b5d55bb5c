/* Any bytes as a line of text: what is found of prefix and fields lies within the line. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wire/log/log_columns.h"
#include "wire/log/log_fields.h"
#include "wire/log/log_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct text line, struct text t)
{
	assert(!t.s || t.len == 0 || (t.s >= line.s && t.s + t.len <= line.s + line.len));
}

static void check(struct text line, const struct log_text *t)
{
	assert(t->prefix <= line.len && t->n <= LOG_TEXT_FIELDS_MAX);
	check_inside(line, t->logger);
	check_inside(line, t->message.value);
	for (unsigned i = 0; i < t->n; i++) {
		check_inside(line, t->field[i].value);
		for (unsigned k = 0; k < i; k++)
			assert(!text_eq(t->field[i].name, t->field[k].name));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct log_clock c = { .now_us = INT64_C(1795228754000000) };
	struct text line = { (const char *)data, size };
	struct log_text t = { .n = 0 };

	if (log_text_read(&c, line, &t)) {
		assert(t.timed || t.leveled);
		check(line, &t);
	}
	if (log_fields_access(&c, line, NULL, &t))
		check(line, &t);
	if (log_fields_audit(&c, line, &t))
		check(line, &t);
	for (int behind_time = 0; behind_time < 2; behind_time++) {
		log_text_clear(&t);
		if (log_columns(&c, line, behind_time, &t))
			check(line, &t);
	}
	t = (struct log_text){ .n = 0 };
	if (log_fields_pairs(&c, line, 0, &t))
		check(line, &t);
	t = (struct log_text){ .n = 0 };
	if (log_fields_csv(&c, line, NULL, &t))
		check(line, &t);
	return 0;
}
