#include "buffers.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "logcore/timestamp.h"

#include "futex.h"
#include "process.h"
#include "ring_file.h"
#include "slot.h"
#include "writer.h"

enum {
	SEATS = 4,                      /* loggers whose ring a thread remembers */
	END_WAIT_MS = 200               /* for ring locks, in all, at exit and in a crash */
};

static const int64_t SWEEP_US = 1000000;

/* buffers.process, where it is not the token of a process */
enum { STOPPED = 1, CHANGING = 2 };

struct buffers {
	struct process_member member;   /* first, so that on_event() can cast it back */
	struct sink *sink;
	bool async, block;
	_Atomic uint64_t process;       /* the process that may use the rings */
	_Atomic uint64_t epoch;         /* unique for each set of rings */
	_Atomic int64_t next_sweep;
	struct ring_file rings;
	struct writer writer;
	atomic_int making;              /* lock: one thread adds a ring at a time */
	_Atomic unsigned made;
	struct slot slots[RING_FILE_RINGS_MAX];
};

/* In static TLS, so that nothing is allocated at the first use: see line.c. */
static _Thread_local struct seat {
	uint64_t epoch;
	struct slot *slot;
} seats[SEATS] __attribute__((tls_model("initial-exec")));

static uint64_t next_epoch(void)
{
	static _Atomic uint64_t last;

	return atomic_fetch_add(&last, 1) + 1;
}

static bool is_mine(const struct buffers *b)
{
	return logcore_process_guard &&
	       atomic_load_explicit(&b->process, memory_order_relaxed) == logcore_process_now();
}

/* ---- writing the rings ---------------------------------------------------------------- */

/* left_ms limits the wait for all locks together, as in logcore_slot_drain(). */
static bool drain_all(struct buffers *b, int64_t now_us, int *left_ms)
{
	unsigned made = atomic_load(&b->made);
	bool done = true;

	for (unsigned i = 0; i < made; i++)
		done &= logcore_slot_drain(&b->slots[i], b->sink, now_us, left_ms);
	return done;
}

/* Skip rings that another thread is already draining. */
static void sweep(struct buffers *b, int64_t now_us)
{
	int no_ms = 0;

	drain_all(b, now_us, &no_ms);
}

int logcore_buffers_flush(struct buffers *b)
{
	return !is_mine(b) || drain_all(b, logcore_wall_us(), NULL) ? 0 : -EIO;
}

/* Bytes in all rings. */
static size_t pending_bytes(const void *buffers)
{
	const struct buffers *b = buffers;
	unsigned made = atomic_load(&b->made);
	size_t all = 0, n;

	for (unsigned i = 0; i < made; i++) {
		logcore_ring_look(&b->slots[i].ring, &n);
		all += n;
	}
	return all;
}

static void write_all(void *buffers)
{
	drain_all(buffers, logcore_wall_us(), NULL);
}

static int start_writer(struct buffers *b)
{
	return b->async ? logcore_writer_start(&b->writer, pending_bytes, write_all, b) : 0;
}

/* ---- a thread's ring ----------------------------------------------------------------- */

/* Register the file in this process before others can see it: see logcore_process_holds(). */
static void publish(struct buffers *b)
{
	atomic_store(&b->member.device, b->rings.device);
	atomic_store(&b->member.inode, b->rings.inode);
	logcore_ring_file_publish(&b->rings);
}

/* In a forked child: leave the parent's rings, make new ones. */
static bool begin_again(struct buffers *b)
{
	uint64_t old = atomic_load(&b->process);

	if (old == STOPPED || old == CHANGING || !atomic_compare_exchange_strong(&b->process, &old, CHANGING))
		return false;
	for (unsigned i = 0; i < RING_FILE_RINGS_MAX; i++)
		logcore_slot_forget(&b->slots[i]);
	atomic_store(&b->made, 0);
	atomic_store(&b->making, 0);
	if (logcore_ring_file_again(&b->rings) < 0 || start_writer(b) < 0) {
		atomic_store(&b->process, STOPPED);
		return false;
	}
	publish(b);
	atomic_store(&b->epoch, next_epoch());
	atomic_store(&b->process, logcore_process_token());
	return true;
}

static struct slot *make_slot(struct buffers *b)
{
	struct slot *s = NULL;
	unsigned made;

	if (!logcore_trylock(&b->making))
		return NULL;
	made = atomic_load(&b->made);
	if (made < RING_FILE_RINGS_MAX && logcore_ring_file_add(&b->rings, &b->slots[made].ring) == 0) {
		s = &b->slots[made];
		atomic_store(&s->owner, logcore_slot_me());
		atomic_store(&b->made, made + 1);
	}
	logcore_unlock(&b->making);
	return s;
}

static struct slot *claim_slot(struct buffers *b)
{
	unsigned made = atomic_load(&b->made);

	for (unsigned i = 0; i < made; i++)
		if (logcore_slot_is_mine(&b->slots[i]))
			return &b->slots[i];
	for (unsigned i = 0; i < made; i++) {
		uintptr_t nobody = 0;

		if (atomic_compare_exchange_strong(&b->slots[i].owner, &nobody, logcore_slot_me()))
			return &b->slots[i];
	}
	return make_slot(b);
}

/* After exit began, a thread writes directly: first write what its ring still has. */
static void write_own(struct buffers *b)
{
	unsigned made = atomic_load(&b->made);

	for (unsigned i = 0; i < made; i++)
		if (logcore_slot_is_mine(&b->slots[i]) && !atomic_load(&b->slots[i].busy))
			logcore_slot_drain(&b->slots[i], b->sink, logcore_wall_us(), NULL);
}

__attribute__((noinline)) static struct slot *find_slot(struct buffers *b)
{
	struct seat *seat;
	struct slot *s;

	if (atomic_load(&b->process) == STOPPED)
		write_own(b);
	if (!is_mine(b) && !begin_again(b))
		return NULL;
	s = claim_slot(b);
	if (!s)
		return NULL;
	logcore_process_watch_thread();
	seat = &seats[atomic_load(&b->epoch) % SEATS];
	seat->slot = s;
	seat->epoch = atomic_load(&b->epoch);
	return s;
}

static inline struct slot *slot_of(struct buffers *b)
{
	uint64_t epoch = atomic_load_explicit(&b->epoch, memory_order_relaxed);
	struct seat *seat = &seats[epoch % SEATS];

	if (seat->epoch == epoch && is_mine(b))
		return seat->slot;
	return find_slot(b);
}

/* ---- putting lines ------------------------------------------------------------------------- */

__attribute__((noinline)) static bool put_when_full(struct buffers *b, struct slot *s, const char *line,
						    size_t n, int64_t now_us)
{
	if (b->async && !b->block)
		return false;
	logcore_slot_drain(s, b->sink, now_us, NULL);
	return logcore_slot_put(s, line, n);
}

/* Once a second the first thread that logs writes all rings. */
static bool time_to_sweep(struct buffers *b, int64_t now_us)
{
	int64_t next = atomic_load_explicit(&b->next_sweep, memory_order_relaxed);

	if (now_us < next && next - now_us <= SWEEP_US)
		return false;
	return atomic_compare_exchange_strong(&b->next_sweep, &next, now_us + SWEEP_US);
}

static void after_put(struct buffers *b, struct slot *s, int level, int64_t now_us)
{
	if (b->async) {
		logcore_writer_look(&b->writer, &s->ring);
		return;
	}
	if (time_to_sweep(b, now_us))
		sweep(b, now_us);
	if (level >= LOGCORE_ERROR)
		logcore_slot_drain(s, b->sink, now_us, NULL);
}

bool logcore_buffers_put(struct buffers *b, int level, const char *line, size_t n, int64_t now_us)
{
	struct slot *s = slot_of(b);

	if (!s || !logcore_slot_enter(s))
		return false;
	if (!is_mine(b)) {              /* exit began after slot_of(): see exits() */
		logcore_slot_leave(s);
		write_own(b);
		return false;
	}
	if (logcore_slot_put(s, line, n) || put_when_full(b, s, line, n, now_us))
		after_put(b, s, level, now_us);
	else
		logcore_sink_lose(b->sink);
	logcore_slot_leave(s);
	return true;
}

void logcore_buffers_count(const struct buffers *b, struct logcore_counters *add)
{
	for (unsigned i = 0; i < RING_FILE_RINGS_MAX; i++) {
		add->lines += atomic_load_explicit(&b->slots[i].lines, memory_order_relaxed);
		add->bytes += atomic_load_explicit(&b->slots[i].bytes, memory_order_relaxed);
	}
}

/* ---- what happens to the process ------------------------------------------------------ */

/* A ring whose lock stays taken is left to the next process: its holder is still writing,
 * or is the code that this signal handler or exit() interrupted. */
static bool drain_at_the_end(struct buffers *b)
{
	int left_ms = END_WAIT_MS;

	return drain_all(b, logcore_wall_us(), &left_ms);
}

static void thread_ends(struct buffers *b)
{
	unsigned made = atomic_load(&b->made);

	for (unsigned i = 0; i < made; i++)
		if (logcore_slot_is_mine(&b->slots[i])) {
			logcore_slot_drain(&b->slots[i], b->sink, logcore_wall_us(), NULL);
			seats[atomic_load(&b->epoch) % SEATS].epoch = 0;
			atomic_store(&b->slots[i].owner, 0);
		}
}

/* After the fence a thread either sees STOPPED or is seen as busy. False: one is still
 * busy after END_WAIT_MS. */
static bool no_thread_is_in(const struct buffers *b)
{
	unsigned made = atomic_load(&b->made);
	int left_ms = END_WAIT_MS;

	logcore_process_fence();
	for (unsigned i = 0; i < made; i++)
		for (; atomic_load(&b->slots[i].busy) && !logcore_slot_is_mine(&b->slots[i]);
		     logcore_nap_ms())
			if (left_ms-- <= 0)
				return false;
	return true;
}

/* Later lines are written directly. Keep the memory mapped: a thread may still use it. */
static void exits(struct buffers *b)
{
	int left_ms = END_WAIT_MS;
	bool alone, done;

	atomic_store(&b->process, STOPPED);
	/* Never unlocked: no thread adds a ring any more. */
	alone = logcore_trylock_for(&b->making, &left_ms);
	done = no_thread_is_in(b);
	done &= drain_at_the_end(b) && pending_bytes(b) == 0;
	if (alone)
		logcore_ring_file_close(&b->rings, !done);
}

/* The child holds no lock of the parent's file, so it must not list the file as its own. */
static void forked(struct buffers *b)
{
	atomic_store(&b->member.device, 0);
	atomic_store(&b->member.inode, 0);
	logcore_ring_file_forget(&b->rings);
}

static void on_event(struct process_member *m, enum process_event event)
{
	struct buffers *b = (struct buffers *)m;

	if (event != PROCESS_FORKED && !is_mine(b))
		return;
	switch (event) {
	case PROCESS_FORKED:
		forked(b);
		break;
	case PROCESS_FORKS:
		sweep(b, logcore_wall_us());
		break;
	case PROCESS_THREAD_ENDS:
		thread_ends(b);
		break;
	case PROCESS_EXITS:
		exits(b);
		break;
	case PROCESS_CRASHES:
		drain_at_the_end(b);
		break;
	}
}

/* ---- opening and closing -------------------------------------------------------------- */

static struct buffers *make(struct sink *sink, const struct buffers_options *o)
{
	struct buffers *b = aligned_alloc(_Alignof(struct buffers), sizeof *b);

	if (!b)
		return NULL;
	memset(b, 0, sizeof *b);
	b->member.on = on_event;
	b->sink = sink;
	b->async = o->async;
	b->block = o->block;
	atomic_store(&b->epoch, next_epoch());
	atomic_store(&b->next_sweep, logcore_wall_us() + SWEEP_US);
	return b;
}

static int begin(struct buffers *b, const struct buffers_options *o)
{
	int r = logcore_ring_file_open(&b->rings, logcore_file_path(logcore_sink_file(b->sink)), o->size);

	if (r < 0)
		return r;
	r = logcore_process_join(&b->member, o->handlers);
	if (r < 0) {
		logcore_ring_file_close(&b->rings, false);
		return r;
	}
	publish(b);
	atomic_store(&b->process, logcore_process_token());
	return start_writer(b);
}

struct buffers *logcore_buffers_open(struct sink *sink, const struct buffers_options *o, int *ret_error)
{
	struct buffers *b = make(sink, o);
	int r;

	if (!b) {
		*ret_error = ENOMEM;
		return NULL;
	}
	r = begin(b, o);
	if (r < 0) {
		*ret_error = -r;
		logcore_buffers_close(b);
		return NULL;
	}
	return b;
}

/* In a forked child that has not logged, the file still belongs to the parent: keep it. */
void logcore_buffers_close(struct buffers *b)
{
	bool keep = true;

	logcore_writer_stop(&b->writer);
	if (is_mine(b))
		keep = !drain_all(b, logcore_wall_us(), NULL);
	logcore_process_leave(&b->member);
	logcore_ring_file_close(&b->rings, keep);
	for (unsigned i = 0; i < RING_FILE_RINGS_MAX; i++)
		logcore_ring_unmap(&b->slots[i].ring);
	free(b);
}
