#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 2, 0)))
static void store(char *msg, const char *fmt, va_list ap)
{
	int n = vsnprintf(msg, ERR_MSG_MAX, fmt, ap);

	if (n >= ERR_MSG_MAX)
		memcpy(msg + ERR_MSG_MAX - 4, "...", 4);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -code;
	va_start(ap, fmt);
	store(e->msg, fmt, ap);
	va_end(ap);
	e->code = code;
	return -code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	char head[ERR_MSG_MAX], tail[ERR_MSG_MAX];
	va_list ap;

	if (!e)
		return -EIO;
	va_start(ap, fmt);
	store(head, fmt, ap);
	va_end(ap);
	memcpy(tail, e->msg, sizeof tail);
	return err_set(e, e->code, "%s: %s", head, tail);
}

bool err_passes(const struct err *e)
{
	return e->code == ENOMEM || e->code == EMFILE || e->code == ENFILE || e->code == EIO;
}
