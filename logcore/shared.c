#include "shared.h"

#include <errno.h>
#include <stdlib.h>

#include "timestamp.h"

static struct sink *open_sink(const struct logcore_options *o, int *ret_error)
{
	const struct file_options file = {
		.path = o->path,
		.fd = o->fd,
		.no_follow = o->no_follow,
		.rotate_bytes = o->rotate_bytes,
		.rotate_seconds = o->rotate_seconds,
		.rotate_keep = o->rotate_keep,
	};

	return logcore_sink_open(&file, o->name, o->journal_priority, ret_error);
}

static struct buffers *open_buffers(const struct logcore_options *o, struct sink *sink, int *ret_error)
{
	const struct buffers_options b = {
		.size = o->buffer_size,
		.async = o->mode == LOGCORE_ASYNC,
		.block = o->block_when_full,
		.handlers = !o->no_crash_handler,
	};

	return logcore_buffers_open(sink, &b, ret_error);
}

void logcore_shared_close(struct shared *shared)
{
	if (shared->buffers)
		logcore_buffers_close(shared->buffers);
	if (shared->sink)
		logcore_sink_close(shared->sink);
	logcore_redact_close(shared->redact);
	free(shared);
}

static bool fill_shared(struct shared *shared, const struct logcore_options *o, int *ret_error)
{
	bool patterns = o->redact == LOGCORE_REDACT_ALL;

	if (o->redact < LOGCORE_REDACT_OFF) {
		shared->redact = logcore_redact_open(o->redact_keys, o->redact_not, patterns);
		if (!shared->redact)
			return false;
	}
	shared->sink = open_sink(o, ret_error);
	if (!shared->sink)
		return false;
	if (o->mode != LOGCORE_DIRECT)
		shared->buffers = open_buffers(o, shared->sink, ret_error);
	return o->mode == LOGCORE_DIRECT || shared->buffers;
}

struct shared *logcore_shared_open(const struct logcore_options *o, int *ret_error)
{
	struct shared *shared = calloc(1, sizeof *shared);

	*ret_error = ENOMEM;
	if (!shared)
		return NULL;
	shared->line_max = o->line_max;
	shared->priority = o->journal_priority;
	if (fill_shared(shared, o, ret_error))
		return shared;
	logcore_shared_close(shared);
	return NULL;
}

void logcore_shared_put(struct shared *shared, const struct line *l, const char *bytes, size_t n)
{
	int64_t now_us = logcore_us(&l->time);

	if (!shared->buffers || !logcore_buffers_put(shared->buffers, l->level, bytes, n, now_us))
		logcore_sink_put(shared->sink, bytes, n, now_us);
}
