#include "outbox.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/random.h"
#include "outbox_stream.h"
#include "wire/row_json.h"

enum {
	BYTES_MAX = 64 << 20,
	SEGMENTS_MAX = 256,             /* each has an open descriptor, and may be small */
	MEMORY_SEGMENTS_MAX = 4,
	FOLDER_AGAIN_S = 60,            /* how often to retry a folder that failed */
	ID_BITS = 40,                   /* of a stream's id, which is short on the wire */
};

struct outbox {
	const char *path;               /* NULL: in memory only */
	int folder;                     /* -1: none, or not usable */
	bool loaded;                    /* the files of earlier processes are loaded */
	bool missing;                   /* there is no such folder, so there are none */
	int64_t folder_tried_us;        /* monotonic: when it failed last */
	char trouble[128];              /* with the folder; "" */
	struct logcore *log;
	struct outbox_stream *streams, *own; /* own is the last of them */
	struct outbox_segment *last;    /* the one appended to; NULL: a new one is needed */
	int64_t lost_since_us;          /* wall clock */
	int64_t lost_untold;            /* samples lost that are in no gap yet */
	bool finish_told;               /* a batch says that our stream is finished */
	struct buf row;                 /* being made */
	struct buf scratch;             /* being read */
	struct outbox_state state;
};

/* ---- trouble and loss ---- */

static void say_trouble(struct outbox *o, int code)
{
	const char *what = strerror(code);

	o->folder_tried_us = mono_us();
	if (strcmp(o->trouble, what) == 0)
		return;
	snprintf(o->trouble, sizeof o->trouble, "%s", what);
	logcore_warning(o->log,
			"state folder not usable: samples that wait for the database are in memory only",
			logcore_kv("folder", o->path), logcore_kv("error", what));
}

static void lose(struct outbox *o, struct outbox_stream_tally t)
{
	if (o->lost_untold == 0)
		o->lost_since_us = t.first_us;
	o->lost_untold += t.samples + t.told_lost;
	o->state.lost += t.samples;
}

/* Drop the oldest segment, or the oldest in memory. Records that a batch holds are not lost. */
static void give_up_oldest(struct outbox *o, bool in_memory)
{
	for (struct outbox_stream *q = o->streams; q; q = q->next)
		for (struct outbox_segment *s = q->first; s; s = s->next) {
			struct outbox_stream_tally t;

			if (s == o->last || s->fd < 0 || (in_memory && !s->in_memory))
				continue;
			t = outbox_stream_count(q, q->read > s->base ? q->read : s->base, s->end,
						&o->scratch);
			lose(o, t);
			o->state.samples -= t.samples;
			s->told = q->read > s->base ? q->read : s->base;
			outbox_segment_give_up(o->folder, s);
			return;
		}
}

/* ---- the folder ---- */

static void load_segment(struct outbox *o, const char *name)
{
	struct outbox_segment *s;
	struct outbox_stream *q;
	int r = outbox_segment_load(o->folder, name, &s);

	if (r == -EINVAL)
		return;
	if (r < 0) {
		logcore_warning(o->log, "file of the outbox not readable", logcore_kv("folder", o->path),
				logcore_kv("file", name), logcore_kv("error", strerror(-r)));
		return;
	}
	q = outbox_stream_find(o->streams, s->stream_id);
	if (!q)
		q = outbox_stream_add(&o->streams, o->own, s->started_us, s->stream_id);
	if (q && q != o->own)
		outbox_stream_append(q, s);
	else
		outbox_segment_free(s);
}

/* Load the files of earlier processes. The database's positions are not known yet, so all records
 * count as pending. */
static void load(struct outbox *o)
{
	CLEANUP(closedir_p) DIR *d = opendir(o->path);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		load_segment(o, entry->d_name);
	for (struct outbox_stream *q = o->streams; q; q = q->next)
		if (q != o->own)
			o->state.samples += outbox_stream_count(q, 0, q->end, &o->scratch).samples;
	o->loaded = true;
}

/* Is there a folder to write to? After a failure it is opened again each minute. */
static bool folder_is_usable(struct outbox *o)
{
	if (!o->path || (o->folder >= 0 && !o->trouble[0]))
		return o->folder >= 0;
	if (o->trouble[0] && mono_us() - o->folder_tried_us < FOLDER_AGAIN_S * US_PER_S)
		return false;
	close_p(&o->folder);
	o->folder = outbox_segment_open_folder(o->path);
	if (o->folder < 0) {
		say_trouble(o, -o->folder);
		o->missing = o->folder == -ENOENT;
		o->folder = -1;
		return false;
	}
	if (!o->loaded)
		load(o);
	return true;
}

/* ---- appending ---- */

static bool has_space(const struct outbox_segment *s)
{
	return s && s->end - s->base < SEGMENT_BYTES;
}

static bool begin_segment(struct outbox *o, int folder)
{
	struct outbox_segment *s;
	int r = outbox_segment_create(folder, o->own->started_us, o->own->stream_id, o->own->end, &s);

	if (r < 0) {
		say_trouble(o, -r);
		return false;
	}
	if (folder >= 0)
		o->trouble[0] = '\0';
	outbox_stream_append(o->own, s);
	o->last = s;
	while (outbox_stream_segments(o->streams, false) > SEGMENTS_MAX ||
	       outbox_stream_bytes(o->streams) > BYTES_MAX)
		give_up_oldest(o, false);
	while (outbox_stream_segments(o->streams, true) > MEMORY_SEGMENTS_MAX)
		give_up_oldest(o, true);
	return true;
}

/* Make sure that there is a segment to append to: in the folder or, if that fails, in memory. */
static bool prepare(struct outbox *o)
{
	if (has_space(o->last) && !o->last->in_memory)
		return true;
	if (folder_is_usable(o) && begin_segment(o, o->folder))
		return true;
	return has_space(o->last) || begin_segment(o, -1);
}

/* Remove a segment whose first record could not be written. */
static void discard_empty(struct outbox *o, struct outbox_segment *s)
{
	struct outbox_segment **at = &o->own->first;

	if (s->end > s->base)
		return;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	outbox_segment_give_up(o->folder, s);
	outbox_segment_free(s);
}

static bool append(struct outbox *o, const struct record *r, uint32_t lost)
{
	struct outbox_segment *before = o->last;
	int error = prepare(o) ? outbox_segment_append(o->last, r, lost) : -ENOMEM;

	if (error < 0 && error != -EFBIG && o->last && !o->last->in_memory) {
		say_trouble(o, -error);
		discard_empty(o, o->last);
		o->last = before && before->in_memory ? before : NULL;
		error = prepare(o) ? outbox_segment_append(o->last, r, lost) : -ENOMEM;
	}
	if (error < 0)
		return false;
	o->own->end = o->last->end;
	o->state.samples += row_kinds[r->kind].measured;
	o->finish_told = false;
	return true;
}

static bool make_row(struct outbox *o, const struct sample *s, struct record *ret, bool late)
{
	buf_reset(&o->row);
	*ret = (struct record){ .kind = s->kind, .timestamp_us = s->timestamp_us, .late = late };
	if (!row_add(&o->row, s))
		return false;
	ret->row = (struct text){ o->row.data, o->row.len };
	return true;
}

/* Add a gap for what was lost. If the gap itself gets lost, the next one includes it. */
static void tell_loss(struct outbox *o)
{
	struct sample gap = { .kind = SAMPLE_GAP,
			      .timestamp_us = o->lost_since_us,
			      .gap = { .kind = "outbox_full",
				       .lines = o->lost_untold,
				       .bytes = -1,
				       .detail = TEXT(
					       "samples that found no room while the database was away") } };
	int64_t told = o->lost_untold;
	struct record r;

	if (told > 0 && told <= UINT32_MAX && make_row(o, &gap, &r, false) && append(o, &r, (uint32_t)told))
		o->lost_untold -= told;
}

void outbox_add(struct outbox *o, const struct sample *s, bool late)
{
	struct record r;

	if (!make_row(o, s, &r, late) || !append(o, &r, 0))
		lose(o, (struct outbox_stream_tally){ .samples = 1, .first_us = s->timestamp_us });
	tell_loss(o);
}

/* ---- to a batch ---- */

static struct position position_of(const struct outbox_stream *q, bool finished)
{
	return (struct position){ .stream_id = q->stream_id,
				  .from = q->committed,
				  .to = q->read,
				  .finished = finished,
				  .source = SOURCE_OUTBOX };
}

static void add_gap(struct batch *b, const struct outbox_stream *q, const char *kind, int64_t bytes,
		    const char *detail)
{
	struct sample gap = { .kind = SAMPLE_GAP, .timestamp_us = wall_us(),
			      .gap = { .stream_id = q->stream_id, .kind = kind, .lines = -1, .bytes = bytes,
				       .detail = text_of(detail) } };

	batch_add(b, &gap);
}

/* Add as many records as fit; true: there are no more. */
static bool fill_from(struct outbox *o, struct outbox_stream *q, struct batch *b, size_t max)
{
	struct outbox_segment_read r;

	while (q->read < q->end) {
		bool found = outbox_stream_read(q, q->read, &o->scratch, &r);

		if (found && (batch_rows_and_rejects(b) >= max || batch_full_of_records(b)))
			return false;
		r.record.late |= q != o->own;
		if (found && !batch_add_record(b, &r.record, q->stream_id, r.at))
			return false;
		if (r.skipped > 0)
			add_gap(b, q, "outbox_damaged", r.skipped, "a part of the outbox could not be read");
		q->read = r.next;
	}
	if (!q->first && q != o->own)
		add_gap(b, q, "outbox_gone", -1,
			"the outbox of an earlier process is gone; what it had not sent, "
			"if anything, is lost");
	return true;
}

/* Earlier streams are finished when all of them is read, our own when no more samples will come. */
static bool ends(const struct outbox *o, const struct outbox_stream *q, bool last)
{
	return q != o->own || (last && q->end > 0 && !o->finish_told);
}

void outbox_fill(struct outbox *o, struct batch *b, size_t max, bool last)
{
	bool through = true;

	for (struct outbox_stream *q = o->streams; q && through; q = q->next) {
		struct position p = position_of(q, false);

		if (q->read == q->end && !ends(o, q, last))
			continue;
		if (!batch_set_position(b, &p))
			return;                 /* the next batch has room */
		through = fill_from(o, q, b, max);
		p = position_of(q, through && ends(o, q, last));
		batch_set_position(b, &p);
		o->finish_told |= q == o->own && p.finished;
	}
}

bool outbox_has_unread(const struct outbox *o)
{
	return o->streams != o->own || o->own->read < o->own->end;
}

bool outbox_is_empty(const struct outbox *o, bool last)
{
	return o->streams == o->own && o->own->committed == o->own->end && !ends(o, o->own, last);
}

/* ---- what the database holds ---- */

static void give_up_first(struct outbox *o, struct outbox_stream *q)
{
	if (o->last == q->first)
		o->last = NULL;
	outbox_stream_give_up_first(q, o->folder);
}

static void end_stream(struct outbox *o, struct outbox_stream *q)
{
	while (q->first)
		give_up_first(o, q);
	outbox_stream_remove(&o->streams, q);
}

void outbox_committed(struct outbox *o, const struct batch *b)
{
	for (size_t i = 0; i < b->n_positions; i++) {
		const struct position *p = &b->positions[i];
		struct outbox_stream *q = outbox_stream_find(o->streams, p->stream_id);

		if (!q)
			continue;
		q->committed = p->to;
		q->over = p->finished;
		if (p->finished && q != o->own && p->to >= q->end) {
			end_stream(o, q);
			continue;
		}
		while (q->first && q->first != o->last && q->first->end <= q->committed)
			give_up_first(o, q);
	}
	o->state.samples -= b->n_samples;
}

/* The database has committed up to `to`. */
static void take_position(struct outbox *o, struct outbox_stream *q, int64_t to)
{
	if (to > q->committed)
		o->state.samples -= outbox_stream_count(q, q->committed, to, &o->scratch).samples;
	else
		o->state.samples += outbox_stream_count(q, to, q->committed, &o->scratch).samples;
	q->committed = q->read = to;
}

static const struct position *find_position(const struct position *p, size_t n, int64_t stream_id)
{
	for (size_t i = 0; i < n; i++)
		if (p[i].stream_id == stream_id)
			return &p[i];
	return NULL;
}

/* A stream without files: they are gone. An agent that can't open its folder does not know that. */
static void take_gone(struct outbox *o, const struct position *p)
{
	struct outbox_stream *q;

	if (!(o->loaded || o->missing) || p->finished || outbox_stream_find(o->streams, p->stream_id))
		return;
	q = outbox_stream_add(&o->streams, o->own, 0, p->stream_id);
	if (q)
		q->committed = q->read = q->end = p->to;
}

void outbox_positions(struct outbox *o, const struct position *p, size_t n)
{
	for (struct outbox_stream *q = o->streams, *next; q; q = next) {
		const struct position *at = find_position(p, n, q->stream_id);

		next = q->next;
		take_position(o, q, at ? at->to : 0);
		q->over = at && at->finished;
		if (q->over && q != o->own && q->committed >= q->end)
			end_stream(o, q);
	}
	for (size_t i = 0; i < n; i++)
		take_gone(o, &p[i]);
	o->finish_told = false;
}

struct outbox_state outbox_state(const struct outbox *o)
{
	struct outbox_state s = o->state;

	for (const struct outbox_stream *q = o->streams; q; q = q->next)
		s.bytes += q->end > q->committed ? q->end - q->committed : 0;
	s.in_memory = o->last ? o->last->in_memory : o->folder < 0;
	s.trouble = o->trouble;
	return s;
}

/* ---- life ---- */

struct outbox *outbox_open(const char *folder, struct logcore *log)
{
	struct outbox *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	*o = (struct outbox){ .path = folder, .folder = -1, .log = log, .row = BUF(RECORD_ROW_MAX),
			      .scratch = BUF(RECORD_ROW_MAX + 1) };
	o->own = outbox_stream_add(&o->streams, o->own, wall_us(), random_id(ID_BITS));
	if (!o->own) {
		free(o);
		return NULL;
	}
	folder_is_usable(o);
	return o;
}

void outbox_close(struct outbox *o)
{
	if (!o)
		return;
	while (o->streams) {
		while (o->streams->first && o->streams->over && o->streams->committed == o->streams->end)
			give_up_first(o, o->streams);
		outbox_stream_remove(&o->streams, o->streams);
	}
	close_p(&o->folder);
	buf_free(&o->row);
	buf_free(&o->scratch);
	free(o);
}
