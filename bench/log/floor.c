/*
 * floor.c - the minimum cost of a line of JSON: formatted by code for this one line, and written with
 * write(2), one line at a time or 64 KiB of a thread at a time.
 */
#define BENCH_CASES "floor", "floor-buffered"
#include "driver.h"

#include <fcntl.h>
#include <unistd.h>

#include "format.h"

enum { LINE_MAX_ = 1024, BUFFER = 65536 };

struct buffer {
	_Alignas(64) char bytes[BUFFER];
	size_t used;
};

static int fd;
static struct buffer *buffers;          /* a buffer for each thread; NULL: write each line at once */
static int minimum = 20;

static size_t format(char *room, const struct order *o)
{
	char *p = LITERAL(room, "{\"timestamp\":\"");

	p = put_stamp(p);
	p = LITERAL(p, "\",\"level\":\"INFO\",\"logger\":\"" LOGGER "\",\"message\":\"");
	p = put_text(p, MESSAGE, sizeof MESSAGE - 1);
	p = LITERAL(p, "\",\"context\":{\"order\":");
	p = put_number(p, (unsigned)o->number);
	p = LITERAL(p, ",\"user\":\"");
	p = put_text(p, o->user, strlen(o->user));
	p = LITERAL(p, "\",\"ms\":");
	p = put_number(p, (unsigned)o->ms);
	p = LITERAL(p, "}}\n");
	return (size_t)(p - room);
}

static void write_all(const char *bytes, size_t n)
{
	if (write(fd, bytes, n) != (ssize_t)n) {
		perror("write");
		exit(1);
	}
}

static int bench_open(int which, const char *path)
{
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd >= 0 && which == 1) {
		buffers = aligned_alloc(64, MAX_THREADS * sizeof *buffers);
		if (!buffers)
			return -1;
		memset(buffers, 0, MAX_THREADS * sizeof *buffers);
	}
	return fd < 0 ? -1 : 0;
}

static void bench_line(int thread, struct order o)
{
	struct buffer *b = buffers ? &buffers[thread] : NULL;

	if (!b) {
		char room[LINE_MAX_];

		write_all(room, format(room, &o));
		return;
	}
	if (BUFFER - b->used < LINE_MAX_) {
		write_all(b->bytes, b->used);
		b->used = 0;
	}
	b->used += format(b->bytes + b->used, &o);
}

static void bench_below(struct order o)
{
	if (10 >= __atomic_load_n(&minimum, __ATOMIC_RELAXED))
		bench_line(0, o);
}

static void bench_close(void)
{
	for (int i = 0; buffers && i < MAX_THREADS; i++)
		write_all(buffers[i].bytes, buffers[i].used);
	close(fd);
}
