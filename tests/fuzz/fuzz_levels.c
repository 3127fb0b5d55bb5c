/* Any bytes as a word, a number or a priority: a level of the six, or none. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/log/log_level.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool found, enum log_level level)
{
	assert(!found || (level >= LEVEL_TRACE && level <= LEVEL_CRITICAL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text t = { (const char *)data, size };
	enum log_level level = LEVEL_INFO;
	enum log_level_kind kind;

	check(log_level_word(t, &level, &kind), level);
	for (enum log_level_family family = LEVELS_ANY; family <= LEVELS_NONE; family++)
		check(log_level_number(t, family, &level), level);
	check(log_level_priority(t, &level), level);
	if (size > 0)
		check(log_level_letter(t.s[0], &level), level);
	return 0;
}
