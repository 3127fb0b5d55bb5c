#include "doctor_say.h"

#include <stdarg.h>

__attribute__((format(printf, 4, 0)))
static void say(FILE *out, const char *word, const char *remedy, const char *fmt, va_list ap)
{
	fputs(word, out);
	vfprintf(out, fmt, ap);
	if (remedy)
		fprintf(out, "; %s", remedy);
	fputc('\n', out);
}

int doctor_line(FILE *out, bool ok, const char *remedy, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(out, ok ? "ok   " : "FAIL ", ok ? NULL : remedy, fmt, ap);
	va_end(ap);
	return ok ? 0 : 1;
}

int doctor_note(FILE *out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(out, "note ", NULL, fmt, ap);
	va_end(ap);
	return 0;
}

int doctor_warn(FILE *out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(out, "warn ", NULL, fmt, ap);
	va_end(ap);
	return 0;
}
