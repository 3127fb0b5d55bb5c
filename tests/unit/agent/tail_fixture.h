/*
 * tail_fixture.h - the source of log files on a temporary folder, with an agent and a database that only keep
 * what they are given.
 *
 * The database commits as the real one does: a batch commits if it holds `from` of each position, and then
 * lines, gaps and positions are there together. Files are written, renamed and removed by the test; a round
 * looks at them and reads what is new, without a clock.
 */
#ifndef TESTS_TAIL_FIXTURE_H
#define TESTS_TAIL_FIXTURE_H

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "obs_agent/tail/src_tail.c"
#include "obs_agent/tail/stream_fields.h"

enum { LINES_MAX = 4096, STREAMS_MAX = 256, PATTERNS_MAX = 4, ROUNDS_MAX = 50 };

struct kept_line {
	int64_t stream_id;
	char text[64];
};

struct kept_gap {
	int64_t stream_id, lines, bytes;
	char kind[32], detail[512];
};

/* Rows and positions: of the database, and of the batch that fills. */
struct rows {
	struct kept_line lines[LINES_MAX];
	struct kept_gap gaps[STREAMS_MAX];
	struct position positions[STREAMS_MAX];
	size_t n_lines, n_gaps, n_positions;
};

struct agent {
	sd_event *loop;
	struct config config;
	struct log_file_config log_files[PATTERNS_MAX];
	char patterns[PATTERNS_MAX][300];
	struct logcore *log;
	struct rows filling, database;
	size_t room;                    /* so many more lines does the batch take */
};

#define HELPER static __attribute__((unused))    /* not every test needs all of them */

static char dir[64];
static struct agent agent;
static struct tail *tail;

/* ---- what the source asks of the agent ---- */

sd_event *agent_loop(struct agent *a)
{
	return a->loop;
}

const struct config *agent_config(struct agent *a)
{
	return &a->config;
}

struct logcore *agent_log(struct agent *a)
{
	return a->log;
}

void agent_tell_state(struct agent *a)
{
	(void)a;
}

static void copy_text(struct text t, char *out, size_t size)
{
	snprintf(out, size, "%.*s", (int)t.len, t.len ? t.s : "");
}

bool agent_add(struct agent *a, const struct sample *s)
{
	struct rows *r = &a->filling;

	if (s->kind == SAMPLE_GAP) {
		struct kept_gap *g = &r->gaps[r->n_gaps++];

		*g = (struct kept_gap){ s->gap.stream_id, s->gap.lines, s->gap.bytes, "", "" };
		snprintf(g->kind, sizeof g->kind, "%s", s->gap.kind);
		copy_text(s->gap.detail, g->detail, sizeof g->detail);
		return true;
	}
	if (a->room == 0)
		return false;
	a->room--;
	r->lines[r->n_lines].stream_id = s->log.stream_id;
	copy_text(s->log.message, r->lines[r->n_lines++].text, sizeof r->lines->text);
	return true;
}

static struct position *position_in(struct rows *r, int64_t stream_id)
{
	for (size_t i = 0; i < r->n_positions; i++)
		if (r->positions[i].stream_id == stream_id)
			return &r->positions[i];
	return NULL;
}

bool agent_set_position(struct agent *a, const struct position *p)
{
	struct position *at = position_in(&a->filling, p->stream_id);
	int64_t from = at ? at->from : p->from;

	if (!at)
		at = &a->filling.positions[a->filling.n_positions++];
	*at = *p;
	at->from = from;
	return true;
}

/* ---- the database ---- */

/* As the real one: `from` has to be what it holds; a new stream begins at 0. */
static void take_position(const struct position *p)
{
	struct position *at = position_in(&agent.database, p->stream_id);

	assert_int_equal(p->from, at ? at->to : 0);
	assert_true(p->to >= p->from);
	if (!at)
		at = &agent.database.positions[agent.database.n_positions++];
	*at = *p;
	at->begins = at->tells_lost = false;
}

static void commit(void)
{
	struct rows *from = &agent.filling, *to = &agent.database;
	struct batch b = { .positions = from->positions, .n_positions = from->n_positions };

	for (size_t i = 0; i < from->n_positions; i++)
		take_position(&from->positions[i]);
	for (size_t i = 0; i < from->n_lines; i++)
		to->lines[to->n_lines++] = from->lines[i];
	for (size_t i = 0; i < from->n_gaps; i++)
		to->gaps[to->n_gaps++] = from->gaps[i];
	src_tail.committed(tail, &b);
	*from = (struct rows){ 0 };
	agent.room = SIZE_MAX;
}

/* ---- the source ---- */

/* Look, and read all that is new, without a commit. */
static void look_and_read(void)
{
	for (int i = 0; i < 3 || !src_tail.once(tail); i++)
		if (i == ROUNDS_MAX)
			break;
}

/* The same, with all that follows from the commit of it. */
static void round_trip(void)
{
	for (int i = 0; i < 3; i++) {
		look_and_read();
		commit();
		src_tail.resume(tail);
	}
}

static void start_tail(void)
{
	struct err e;

	assert_int_equal(src_tail.start(&agent, (void **)&tail, &e), 0);
}

/* The database tells its positions, as after a connect. What was not committed is forgotten. */
static void connect_database(void)
{
	agent.filling = (struct rows){ 0 };
	agent.room = SIZE_MAX;
	assert_true(src_tail.positions(tail, agent.database.positions, agent.database.n_positions));
}

static void stop_tail(void)
{
	if (tail)
		src_tail.stop(tail);
	tail = NULL;
}

/* A new agent: it knows what the database knows. */
HELPER void restart_tail(void)
{
	stop_tail();
	start_tail();
	connect_database();
}

static void use_patterns(const char *const *names, size_t n)
{
	agent.config.log_files = agent.log_files;
	agent.config.n_log_files = n;
	for (size_t i = 0; i < n; i++) {
		snprintf(agent.patterns[i], sizeof agent.patterns[i], "%s/%s", dir, names[i]);
		agent.log_files[i] = (struct log_file_config){ .path = agent.patterns[i], .format = "auto" };
	}
}

/* follow("app.log", "old/x.log"): start with these configured paths. */
#define follow(...)                                                                                \
	do {                                                                                       \
		const char *const follow_names[] = { __VA_ARGS__ };                                \
		use_patterns(follow_names, sizeof follow_names / sizeof *follow_names);            \
		start_tail();                                                                      \
		connect_database();                                                                \
	} while (0)

#define reload_with(...)                                                                           \
	do {                                                                                       \
		const char *const reload_names[] = { __VA_ARGS__ };                                \
		use_patterns(reload_names, sizeof reload_names / sizeof *reload_names);            \
		src_tail.reload(tail);                                                             \
	} while (0)

/* ---- files ---- */

static const char *in_dir(const char *name)
{
	static char paths[4][512];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", dir, name);
	return path;
}

/* how: "a" or "w", as of fopen(). */
static void put(const char *name, const char *how, const char *text)
{
	FILE *f = fopen(in_dir(name), how);

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

HELPER void move(const char *from, const char *to)
{
	assert_int_equal(rename(in_dir(from), in_dir(to)), 0);
}

HELPER void copy(const char *from, const char *to)
{
	FILE *in = fopen(in_dir(from), "r"), *out = fopen(in_dir(to), "w");
	int c;

	assert_true(in && out);
	while ((c = fgetc(in)) != EOF)
		fputc(c, out);
	fclose(in);
	fclose(out);
}

HELPER void gone(const char *name)
{
	assert_int_equal(unlink(in_dir(name)), 0);
}

/* Times of files are exact to a tick of the kernel: what follows is later than what was. */
HELPER void a_tick_later(void)
{
	usleep(STREAM_TICK_US + 5000);
}

/* ---- what became of it ---- */

/* How often a line of that text is a row. */
static int rows_of(const char *text)
{
	int n = 0;

	for (size_t i = 0; i < agent.database.n_lines; i++)
		n += strcmp(agent.database.lines[i].text, text) == 0;
	return n;
}

/* Each of these words is one row, and nothing else is. */
HELPER void assert_rows(const char *words)
{
	char list[4096], *save = NULL;
	size_t n = 0;

	snprintf(list, sizeof list, "%s", words);
	for (char *w = strtok_r(list, " ", &save); w; w = strtok_r(NULL, " ", &save), n++)
		if (rows_of(w) != 1)
			fail_msg("\"%s\" is %d rows", w, rows_of(w));
	if (agent.database.n_lines != n)
		fail_msg("%zu rows, not %zu; the last is \"%s\"", agent.database.n_lines, n,
			 agent.database.lines[agent.database.n_lines - 1].text);
}

HELPER const struct kept_gap *gap(const char *kind)
{
	for (size_t i = 0; i < agent.database.n_gaps; i++)
		if (strcmp(agent.database.gaps[i].kind, kind) == 0)
			return &agent.database.gaps[i];
	return NULL;
}

/* The stream whose file has that name now; NULL: none. */
HELPER struct stream *stream_of(const char *name)
{
	struct stat st;

	return stat(in_dir(name), &st) == 0 ? tail_files_find(&tail->files, st.st_dev, st.st_ino) : NULL;
}

/* What the agent logged so far. */
HELPER bool said(const char *words)
{
	static char text[1 << 16];
	FILE *f = fopen(in_dir(".agent"), "r");
	size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;

	assert_non_null(f);
	fclose(f);
	text[n] = '\0';
	return strstr(text, words) != NULL;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

HELPER int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/observ-tail-XXXXXX");
	memset(&agent, 0, sizeof agent);
	if (!mkdtemp(dir) || sd_event_new(&agent.loop) < 0)
		return -1;
	agent.room = SIZE_MAX;
	agent.log = logcore_open(&(struct logcore_options){ .name = "t", .path = in_dir(".agent"),
							    .level = LOGCORE_DEBUG }, NULL, 0);
	return agent.log ? 0 : -1;
}

/* No test leaves a state that can't be. */
HELPER int tear_down(void **state)
{
	bool fault = said("fault of the agent");

	(void)state;
	stop_tail();
	logcore_close(agent.log);
	agent.loop = sd_event_unref(agent.loop);
	nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return fault ? -1 : 0;
}

#define tail_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
