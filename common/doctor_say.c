#include "doctor_say.h"

#include <stdarg.h>

__attribute__((format(printf, 4, 0)))
static void say(const struct doctor_report *out, const char *word, const char *remedy, const char *fmt,
		va_list ap)
{
	fputs(word, out->to);
	vfprintf(out->to, fmt, ap);
	if (remedy)
		fprintf(out->to, "; %s", remedy);
	fputc('\n', out->to);
}

int doctor_line(struct doctor_report *out, bool ok, const char *remedy, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(out, ok ? "ok   " : "FAIL ", ok ? NULL : remedy, fmt, ap);
	va_end(ap);
	return ok ? 0 : 1;
}

int doctor_note(struct doctor_report *out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(out, "note ", NULL, fmt, ap);
	va_end(ap);
	return 0;
}

int doctor_warn(struct doctor_report *out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(out, "warn ", NULL, fmt, ap);
	va_end(ap);
	out->warnings++;
	return 0;
}
