#include "backtrace.h"

#include <dlfcn.h>
#include <limits.h>
#include <string.h>

#if __has_include(<execinfo.h>)
#include <execinfo.h>
#define HAVE_BACKTRACE 1
#endif

enum {
	FRAMES_MAX = 64,
	OWN_FRAMES = 16                 /* most frames between the caller and backtrace() */
};

const char *logcore_error_text(int64_t error)
{
	const char *text = NULL;

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
	if (error <= INT_MAX)
		text = strerrordesc_np((int)error);
#endif
	return text ? text : "Unknown error";
}

#ifdef HAVE_BACKTRACE

void logcore_backtrace_prepare(void)
{
	void *frame;

	backtrace(&frame, 1);           /* the first call loads the unwinder */
}

/* "0x1f" */
static bool add_offset(struct json *j, const char *end, uintptr_t offset)
{
	char out[2 + 2 * sizeof offset];
	size_t i = sizeof out;

	do
		out[--i] = "0123456789abcdef"[offset & 15];
	while (offset >>= 4);
	out[--i] = 'x';
	out[--i] = '0';
	return logcore_json_part(j, end, out + i, sizeof out - i);
}

static bool add_name(struct json *j, const char *end, const char *name, const char *from, const char *at)
{
	return logcore_json_part(j, end, name, strlen(name)) && logcore_json_part(j, end, "+", 1) &&
	       add_offset(j, end, (uintptr_t)at - (uintptr_t)from);
}

/* "function+0x1f (module+0x41af)", "module+0x41af" or "0x55d0c8b241af"; false when it was cut. */
static bool add_frame(struct json *j, const char *end, const char *at)
{
	const char *module;
	Dl_info info;

	/* A call may be the last instruction of its function: look up the call, not the return address. */
	if (!dladdr(at - 1, &info) || !info.dli_fname)
		return add_offset(j, end, (uintptr_t)at);
	module = strrchr(info.dli_fname, '/');
	module = module ? module + 1 : info.dli_fname;
	if (!info.dli_sname)
		return add_name(j, end, module, info.dli_fbase, at);
	return add_name(j, end, info.dli_sname, info.dli_saddr, at) && logcore_json_part(j, end, " (", 2) &&
	       add_name(j, end, module, info.dli_fbase, at) && logcore_json_part(j, end, ")", 1);
}

/* Add the whole frame or nothing; leave a byte for the closing bracket. */
static bool add_element(struct json *j, const char *at, bool comma)
{
	char *mark = j->p;
	const char *end;

	if ((!comma || logcore_json_raw(j, ",", 1)) && (end = logcore_json_open(j)) &&
	    add_frame(j, end, at)) {
		*j->p++ = '"';
		return true;
	}
	j->p = mark;
	return false;
}

bool logcore_backtrace(struct json *j)
{
	void *frames[FRAMES_MAX + OWN_FRAMES];
	int n = backtrace(frames, FRAMES_MAX + OWN_FRAMES), first = 0;

	for (int i = 0; i < n && i < OWN_FRAMES; i++)
		if (frames[i] == j->caller)
			first = i;
	if (j->end - j->p < 2)
		return logcore_json_raw(j, "[]", 2);
	*j->p++ = '[';
	j->end--;
	for (int i = first; i < n && i < first + FRAMES_MAX; i++)
		if (!add_element(j, frames[i], i > first))
			break;
	j->end++;
	*j->p++ = ']';
	return true;
}

#else

void logcore_backtrace_prepare(void)
{
}

bool logcore_backtrace(struct json *j)
{
	return logcore_json_raw(j, "null", 4);
}

#endif
