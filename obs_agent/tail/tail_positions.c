/*
 * tail_positions.c - open streams take up what the database holds of them.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tail_files.h"

/* The database's streams by number. */
struct entry {
	int64_t id;
	const struct position *p;
	bool taken;
};

struct ledger {
	struct entry *e;
	size_t n;
};

static int by_id(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static bool ledger_make(struct ledger *l, const struct position *p, size_t n)
{
	*l = (struct ledger){ calloc(n ? n : 1, sizeof *l->e), n };
	if (!l->e)
		return false;
	for (size_t i = 0; i < n; i++)
		l->e[i] = (struct entry){ .id = p[i].stream_id, .p = &p[i] };
	qsort(l->e, n, sizeof *l->e, by_id);
	return true;
}

static void ledger_free(struct ledger *l)
{
	free(l->e);
}

static struct entry *ledger_find(const struct ledger *l, int64_t id)
{
	return l->n ? bsearch(&(struct entry){ .id = id }, l->e, l->n, sizeof *l->e, by_id) : NULL;
}

/* A parked file can't be asked what it is, and a copy stands for another file until its
 * first commit: they are known by their numbers. */
static bool goes_by_number(const struct stream *s)
{
	return stream_fd(s) < 0 || stream_is_copy(s);
}

static void take_by_number(struct tail_files *t, const struct ledger *l)
{
	for (struct stream *s = t->streams, *next; s; s = next) {
		struct entry *e = goes_by_number(s) ? ledger_find(l, stream_id(s)) : NULL;

		next = stream_next(s);
		if (!e)
			continue;
		if (e->p->finished) {
			tail_files_remove(t, s);
			continue;
		}
		stream_resume(s, e->p);
		e->taken = true;
	}
}

static bool sort_rest(const struct ledger *l, const struct position *p, size_t n, struct remembered *missing,
		      struct remembered *over)
{
	bool ok = true;

	for (size_t i = n; i-- > 0;) {  /* the latest comes first, and is to be forgotten last */
		struct remembered_file f = { .at = p[i],
					.top = -1,
					.read_us = wall_us() - (p[i].age_s - 1) * US_PER_S };

		f.since_us = f.read_us - 3 * US_PER_S;
		if (p[i].finished)
			ok = ok && remembered_add(over, &f, FILES_OVER_MAX);
		else if (!ledger_find(l, p[i].stream_id)->taken)
			ok = ok && remembered_add(missing, &f, 0);
	}
	return ok;
}

/* Another agent may have read on since it was looked at last: a position behind the size
 * that was seen then would make it another file. */
static void take_or_begin(struct tail_files *t, struct stream *s, const struct ledger *l)
{
	struct stat st;

	if (stream_fd(s) >= 0 && fstat(stream_fd(s), &st) == 0)
		stream_seen(s, &st);
	stream_search_again(s);
	if (goes_by_number(s) ? !ledger_find(l, stream_id(s)) : !tail_files_take_up(t, s))
		stream_begin_again(s, !ledger_find(l, stream_id(s)));
}

/* What no position is for may be a copy of what one is for: then it is not read, as it would not have been
 * if it had come while the agent ran. */
static void leave_copies(struct tail_files *t)
{
	for (struct stream *s = t->streams, *next; s; s = next) {
		next = stream_next(s);
		if (stream_fd(s) >= 0 && stream_offset(s) == 0 && tail_copy_judge(t, s) != NO_COPY)
			tail_files_remove(t, s);
	}
}

bool tail_files_positions(struct tail_files *t, const struct position *p, size_t n)
{
	CLEANUP(ledger_free) struct ledger l = { 0 };
	struct remembered missing = { 0 }, over = { 0 };
	bool first = !t->all_known;

	if (!ledger_make(&l, p, n))
		return false;
	take_by_number(t, &l);
	if (!sort_rest(&l, p, n, &missing, &over)) {
		remembered_free(&missing);
		remembered_free(&over);
		return false;
	}
	remembered_free(&t->missing);
	remembered_free(&t->finished);
	t->missing = missing;
	t->finished = over;
	t->all_known = true;
	for (struct stream *s = t->streams; s; s = stream_next(s))
		take_or_begin(t, s, &l);
	leave_copies(t);
	if (first)
		tail_search_since_stop(t);
	return true;
}
