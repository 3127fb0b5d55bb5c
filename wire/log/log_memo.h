/*
 * log_memo.h - the last two texts whose prefix was read, and what was found.
 *
 * A line of text is looked at to tell whether it begins a record, then to tell where the record
 * before it ends, then to be taken apart. It is read once. Promises the answer that
 * log_text_read() would give: a text is known by its bytes, its zone and the hour of its arrival.
 */
#ifndef WIRE_LOG_MEMO_H
#define WIRE_LOG_MEMO_H

#include "log_text.h"

enum { MEMO_BYTES_MAX = 1024 };

struct log_memo_slot {
	char bytes[MEMO_BYTES_MAX];
	size_t len;                     /* 0: nothing is kept */
	const struct zone *zone;
	int64_t now_us;
	bool prefixed;                  /* log_text_read()'s answer */
	struct log_text found;          /* its spans point into `bytes` */
};

struct log_memo {
	struct log_memo_slot slot[2];
	unsigned last;                  /* the slot that was used last */
};

/* log_text_read(), or what it said of the same text before. `memo` may be NULL. */
bool log_memo_read(struct log_memo *memo, struct log_clock *c, struct text line, struct log_text *ret);

#endif
