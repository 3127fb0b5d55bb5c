#include "ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int logcore_ring_map(struct ring *r, int fd, off_t offset, size_t page, size_t size)
{
	enum { PROT = PROT_READ | PROT_WRITE, FLAGS = MAP_SHARED | MAP_FIXED | MAP_POPULATE };
	size_t whole = page + 2 * size;
	char *base = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	off_t data = offset + (off_t)page;

	if (base == MAP_FAILED)
		return -errno;
	if (mmap(base, page, PROT, FLAGS, fd, offset) == MAP_FAILED ||
	    mmap(base + page, size, PROT, FLAGS, fd, data) == MAP_FAILED ||
	    mmap(base + page + size, size, PROT, FLAGS, fd, data) == MAP_FAILED) {
		int error = errno;

		munmap(base, whole);
		return -error;
	}
	*r = (struct ring){ .data = base + page, .size = size, .page = page };
	r->state = (struct ring_state *)(void *)base;
	r->head = atomic_load(&r->state->head);
	r->tail_seen = atomic_load(&r->state->tail);
	return 0;
}

void logcore_ring_unmap(struct ring *r)
{
	if (r->state)
		munmap(r->state, r->page + 2 * r->size);
	r->state = NULL;
}

bool logcore_ring_put(struct ring *r, const char *bytes, size_t n)
{
	if (r->size - (r->head - r->tail_seen) < n) {
		r->tail_seen = atomic_load_explicit(&r->state->tail, memory_order_acquire);
		if (r->size - (r->head - r->tail_seen) < n)
			return false;
	}
	memcpy(r->data + r->head % r->size, bytes, n);
	r->head += n;
	atomic_store_explicit(&r->state->head, r->head, memory_order_release);
	return true;
}

bool logcore_ring_is_fuller(struct ring *r, size_t n)
{
	if (r->head - r->tail_seen <= n)
		return false;
	r->tail_seen = atomic_load_explicit(&r->state->tail, memory_order_acquire);
	return r->head - r->tail_seen > n;
}

const char *logcore_ring_look(const struct ring *r, size_t *ret_n)
{
	uint64_t tail = atomic_load_explicit(&r->state->tail, memory_order_relaxed);

	*ret_n = atomic_load_explicit(&r->state->head, memory_order_acquire) - tail;
	return r->data + tail % r->size;
}

/* Sequentially consistent: the next process relies on the order of these stores. */
static void begin(struct ring *r, size_t n, const struct file_place *place)
{
	r->state->place = *place;
	r->state->writing_from = atomic_load(&r->state->tail);
	atomic_store(&r->state->writing, n);
}

void logcore_ring_end(struct ring *r, size_t used)
{
	atomic_fetch_add(&r->state->tail, used);
	atomic_store(&r->state->writing, 0);
}

bool logcore_ring_drain(struct ring *r, struct sink *sink, int64_t now_us)
{
	struct file_place place = { 0 };
	size_t n, done;
	const char *lines = logcore_ring_look(r, &n);

	if (n == 0)
		return true;
	if (!logcore_sink_tell(sink, now_us))
		return false;
	logcore_file_place(logcore_sink_file(sink), &place);
	begin(r, n, &place);
	done = logcore_sink_write(sink, lines, n, now_us);
	/* A torn line stays in the ring and is written again, whole. */
	logcore_ring_end(r, done == n ? n : logcore_ring_whole_lines(lines, done));
	return done == n;
}
