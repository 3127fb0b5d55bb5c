/*
 * err.h - how this project reports failure.
 *
 * A function that can fail returns 0 (or a useful non-negative value) on success. On failure
 * it returns -errno and puts one sentence into the struct err of its caller: what went
 * wrong, where, and, if that helps, how to fix it. Only the edge (main() and the event
 * handlers) logs an error, once.
 */
#ifndef OBSERV_ERR_H
#define OBSERV_ERR_H

#include <stdbool.h>

enum { ERR_MSG_MAX = 1024 };

struct err {
	int code;                       /* a positive errno value, 0 when unset */
	char msg[ERR_MSG_MAX];          /* one sentence, no newline */
};

/*
 * Store `code` and the formatted sentence in `e` (which may be NULL) and return
 * -code, so that callers can write: return err_set(e, EINVAL, "...").
 * A sentence longer than the room ends in "...".
 */
int err_set(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Put "prefix: " before the sentence that is in `e`. Returns -e->code.
 */
int err_prefix(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Whether another try may succeed: the process is short of memory or descriptors, or a
 * device failed, but the request itself is fine.
 */
bool err_passes(const struct err *e);

#endif
