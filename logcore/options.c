#include "options.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "logcore/redact/secret_key.h"

#include "journal.h"

enum {
	JOURNAL_LINE_MAX = 48000,       /* journald splits lines that are longer than 48 KiB */
	ASYNC_RING = 256 * 1024,
	BUFFER_MAX = 64 * 1024 * 1024,
	ROTATE_MIN = 65536,
	ROTATE_KEEP = 7,
	ROTATE_KEEP_MAX = 10000
};

static int refuse(const char **ret_wrong, const char *wrong)
{
	*ret_wrong = wrong;
	return EINVAL;
}

/* Replace zeros by defaults; check what depends on the mode. */
static int read_mode(struct logcore_options *o, const char **ret_wrong)
{
	if (o->mode < LOGCORE_DIRECT || o->mode > LOGCORE_ASYNC)
		return refuse(ret_wrong, "mode must be LOGCORE_DIRECT, LOGCORE_BUFFERED or LOGCORE_ASYNC");
	if (o->buffer_size == 0)
		o->buffer_size = o->mode == LOGCORE_ASYNC ? ASYNC_RING : LOGCORE_LINE_MAX;
	if (o->buffer_size < LOGCORE_LINE_MAX || o->buffer_size > BUFFER_MAX)
		return refuse(ret_wrong, "buffer_size must be 65536 bytes to 64 MiB");
	if (!o->path && (o->rotate_bytes || o->rotate_seconds || o->no_follow))
		return refuse(ret_wrong, "rotate_bytes, rotate_seconds and no_follow need a path");
	if (o->rotate_bytes && o->rotate_bytes < ROTATE_MIN)
		return refuse(ret_wrong, "rotate_bytes must be 65536 at least");
	if (o->rotate_keep > ROTATE_KEEP_MAX)
		return refuse(ret_wrong, "rotate_keep must be 10000 at most");
	o->rotate_keep = o->rotate_keep ? o->rotate_keep : ROTATE_KEEP;
	return 0;
}

int logcore_options_read(struct logcore_options *o, const struct logcore_options *options, size_t size,
			 const char **ret_wrong)
{
	const char *bytes = (const char *)options;
	size_t n;

	*o = (struct logcore_options){ 0 };
	if (!options)
		size = 0;
	else
		memcpy(o, options, size < sizeof *o ? size : sizeof *o);
	for (size_t i = sizeof *o; i < size; i++)
		if (bytes[i])
			return refuse(ret_wrong, "an option is newer than this logcore");
	o->fd = o->fd ? o->fd : STDERR_FILENO;
	if (!o->path && !o->no_journal_stream && logcore_is_journal(o->fd))
		o->journal_priority = true;
	if (o->line_max == 0)
		o->line_max = o->journal_priority ? (size_t)JOURNAL_LINE_MAX : (size_t)LOGCORE_LINE_MAX;
	if (o->line_max < LOGCORE_LINE_MIN || o->line_max > LOGCORE_LINE_MAX)
		return refuse(ret_wrong, "line_max must be 1024 to 65536 bytes");
	if (o->level < 0)
		return refuse(ret_wrong, "level must not be negative");
	if (o->redact < LOGCORE_REDACT_ALL || o->redact > LOGCORE_REDACT_OFF)
		return refuse(ret_wrong, "redact is none of enum logcore_redact");
	if (!logcore_secret_keys_count(o->redact_keys, &n) || !logcore_secret_keys_count(o->redact_not, &n))
		return refuse(ret_wrong, "redact_keys and redact_not take 100 keys of 1 to 39 letters");
	o->level = o->level ? o->level : LOGCORE_INFO;
	o->name = o->name ? o->name : program_invocation_short_name;
	return read_mode(o, ret_wrong);
}
