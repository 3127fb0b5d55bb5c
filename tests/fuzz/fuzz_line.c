/* Any bytes as a log line: the result can be stored, says the line as it stood, and parsing it again
 * gives the same. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/utf8.h"
#include "wire/json_distinct.h"
#include "wire/json_scan.h"
#include "wire/log/log_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW_S = 1795228754 };

/* The context is one JSON object without values that jsonb refuses and without equal keys. */
static void check_context(struct text t)
{
	struct json_scan j = { .p = t.s, .end = t.s + t.len, .depth_max = OBJECT_DEPTH_MAX + 1,
			       .keys_left = 2 * (OBJECT_KEYS_MAX + LOG_TEXT_FIELDS_MAX) };
	enum json_kind kind;
	struct buf again = BUF(SIZE_MAX);
	struct text value;

	assert(utf8_is_clean(t));
	assert(json_value(&j, &kind, &value) && kind == JSON_OBJECT && j.p == j.end && !j.unstorable);
	assert(json_distinct(t, &again) && again.len == t.len && memcmp(again.data, t.s, t.len) == 0);
	buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct line_parser p;
	struct text raw = { (const char *)data, size };
	struct sample s;

	if (!p.clean.max)
		line_parser_init(&p);
	p.warn_4xx = size % 3 == 0;
	line_parse(&p, raw, INT64_C(1000000) * NOW_S, size % 2 ? "\"_mark\":1" : NULL, &s);
	assert(s.kind == SAMPLE_LOG && s.log.level <= LEVEL_CRITICAL);
	assert(s.timestamp_us > 0 && s.timestamp_us <= INT64_C(1000000) * (NOW_S + 86400));
	assert(utf8_is_clean(s.log.message) && utf8_is_clean(s.log.logger));
	if (s.log.context.s)
		check_context(s.log.context);
	return 0;
}
