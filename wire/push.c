#include "push.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/embed.h"
#include "common/parse.h"

EMBED(sql_end_stale_session, "obs_agent/sql/end_stale_session.sql");
EMBED(sql_hello, "obs_agent/sql/hello.sql");
EMBED(sql_streams, "obs_agent/sql/streams.sql");
EMBED(sql_push, "obs_agent/sql/push.sql");
EMBED(sql_push_logs, "obs_agent/sql/push_logs.sql");

enum { PARAMS_MAX = 10, HELLO_COLUMNS = 4, STREAM_COLUMNS = 10 };

/* The parameters of one function call; the first two are always server and application. */
struct call {
	const char *value[PARAMS_MAX];
	int length[PARAMS_MAX], format[PARAMS_MAX];
	int n;
	bool binary;                    /* at least one is binary, so formats must be sent */
};

static void param_text(struct call *c, const char *s)
{
	c->value[c->n++] = s;
}

static void param_binary(struct call *c, struct text t)
{
	c->value[c->n] = t.s;
	c->length[c->n] = (int)t.len;
	c->format[c->n++] = 1;
	c->binary = true;
}

static struct call call(const struct push *p)
{
	struct call c = { .n = 0 };

	param_text(&c, p->who.vps_name);
	param_text(&c, p->who.app);
	return c;
}

static bool queue(struct push *p, const char *sql, const struct call *c, enum answer answer)
{
	assert(p->n_answers < PUSH_ANSWERS_MAX);
	p->answer[p->n_answers++] = answer;
	return PQsendQueryParams(p->conn, sql, c->n, NULL, c->value, c->length, c->binary ? c->format : NULL,
				 0) == 1;
}

/* Statements that are queued from now on are one pipeline, or the next one is a query by itself. */
static bool set_pipeline(struct push *p, bool on)
{
	p->is_query = !on;
	if (on == (PQpipelineStatus(p->conn) != PQ_PIPELINE_OFF))
		return true;
	return (on ? PQenterPipelineMode(p->conn) : PQexitPipelineMode(p->conn)) == 1;
}

bool push_hello(struct push *p)
{
	struct call c = call(p);
	bool queued = set_pipeline(p, true) && queue(p, sql_end_stale_session, &c, ANSWER_NONE);
	char process[24], epoch[24], interval[24], now[RFC3339_SIZE], host[HOST_NAME_MAX + 1] = "";

	snprintf(process, sizeof process, "%" PRId64, p->who.process);
	snprintf(epoch, sizeof epoch, "%" PRId64, p->who.epoch);
	snprintf(interval, sizeof interval, "%" PRId64, p->who.interval_us / US_PER_S);
	format_rfc3339(now, wall_us());
	param_text(&c, process);
	param_text(&c, p->who.epoch ? epoch : NULL);
	param_text(&c, OBSERV_VERSION);
	param_text(&c, interval);
	gethostname(host, sizeof host - 1);
	param_text(&c, now);
	param_text(&c, host);           /* tells that this agent understands epoch 0 */
	return queued && queue(p, sql_hello, &c, ANSWER_HELLO) && PQpipelineSync(p->conn) == 1;
}

bool push_streams(struct push *p)
{
	struct call c = call(p);
	char epoch[24];

	snprintf(epoch, sizeof epoch, "%" PRId64, p->who.epoch);
	param_text(&c, epoch);
	return set_pipeline(p, true) && queue(p, sql_streams, &c, ANSWER_STREAMS) &&
	       PQpipelineSync(p->conn) == 1;
}

/* The value that push() of schema.sql takes. */
static bool add_push(struct buf *json, const struct push *p, const struct batch *b, struct text state)
{
	return buf_addc(json, '[') && buf_add_json(json, text_of(p->who.vps_name)) && buf_addc(json, ',') &&
	       buf_add_json(json, text_of(p->who.app)) &&
	       buf_addf(json, ",%" PRId64 ",%" PRId64 ",", p->who.epoch, b->seq) &&
	       (state.s ? buf_add(json, state.s, state.len) : buf_addc(json, '0')) && buf_addc(json, ',') &&
	       batch_positions(b, json) && batch_json(b, json) && buf_addc(json, ']');
}

static bool queue_logs(struct push *p, struct batch *b)
{
	struct call c = call(p);

	if (b->n[SAMPLE_LOG] == 0)
		return true;
	buf_reset(p->json);
	if (!batch_streams(b, p->json))
		return false;
	param_binary(&c, (struct text){ p->json->data, p->json->len });
	for (int i = 0; i < LOG_COLUMNS; i++)
		param_binary(&c, column_array(&b->log[i], b->n[SAMPLE_LOG]));
	return queue(p, sql_push_logs, &c, ANSWER_NONE);
}

/* Without quotes, backslashes and bytes beyond ASCII a literal ends where it should, whatever the encoding
 * and the settings of the server are. */
static bool is_its_own_literal(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (t.s[i] < ' ' || t.s[i] > '~' || t.s[i] == '\'' || t.s[i] == '\\')
			return false;
	return true;
}

/* p->json has the statement up to the literal's end; `rest` follows. */
static bool send_query(struct push *p, const char *rest)
{
	return buf_addc(p->json, '\'') && buf_add(p->json, rest, strcspn(rest, "\n")) && buf_cstr(p->json) &&
	       set_pipeline(p, false) && PQsendQuery(p->conn, p->json->data) == 1;
}

/* Everything but log lines goes in one call. Without such lines, and where the value needs no escape, it goes
 * as one query: an idle agent sends one message a minute, where a parameter takes five. */
bool push_batch(struct push *p, struct batch *b, struct text state)
{
	const char *hole = strstr(sql_push, "$1");
	size_t before = (size_t)(hole - sql_push);
	struct call c = { .n = 0 };
	struct text value;

	buf_reset(p->json);
	if (!buf_add(p->json, sql_push, before) || !buf_addc(p->json, '\'') ||
	    !add_push(p->json, p, b, state) || !buf_cstr(p->json))
		return false;
	value = (struct text){ p->json->data + before + 1, p->json->len - before - 1 };
	if (b->n[SAMPLE_LOG] == 0 && is_its_own_literal(value))
		return send_query(p, hole + 2);
	param_text(&c, value.s);
	return set_pipeline(p, true) && queue(p, sql_push, &c, ANSWER_NONE) && queue_logs(p, b) &&
	       PQpipelineSync(p->conn) == 1;
}

/* ---- answers ---- */

enum answer push_next_answer(struct push *p)
{
	return p->next_answer < p->n_answers ? p->answer[p->next_answer++] : ANSWER_NONE;
}

static int64_t number(const PGresult *r, int row, int column)
{
	int64_t v = 0;

	parse_i64(text_of(PQgetvalue(r, row, column)), &v);
	return v;
}

bool push_read_hello(const PGresult *r, struct hello *ret)
{
	if (PQnfields(r) != HELLO_COLUMNS || PQntuples(r) != 1)
		return false;
	*ret = (struct hello){ number(r, 0, 0), number(r, 0, 1), number(r, 0, 2), number(r, 0, 3) };
	return true;
}

static void copy_text(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

/* A row of the answer, to be put beside the others of its source. */
struct stream_row {
	const char *source;
	int row;
};

static int by_source(const void *a, const void *b)
{
	const struct stream_row *x = a, *y = b;
	int order = strcmp(x->source, y->source);

	return order ? order : x->row - y->row;
}

static void read_stream(const PGresult *r, int row, struct position *p)
{
	p->stream_id = number(r, row, 0);
	copy_text(p->path, sizeof p->path, PQgetvalue(r, row, 1));
	copy_text(p->file_id, sizeof p->file_id, PQgetvalue(r, row, 2));
	copy_text(p->head_hash, sizeof p->head_hash, PQgetvalue(r, row, 3));
	copy_text(p->tail_hash, sizeof p->tail_hash, PQgetvalue(r, row, 4));
	p->from = p->to = number(r, row, 5);
	p->finished = *PQgetvalue(r, row, 6) == 't';
	p->age_s = number(r, row, 7);
	copy_text(p->source, sizeof p->source, PQgetvalue(r, row, 8));
	copy_text(p->cursor, sizeof p->cursor, PQgetvalue(r, row, 9));
}

bool push_read_streams(const PGresult *r, struct position **ret, size_t *ret_n)
{
	size_t n = (size_t)PQntuples(r), room = n ? n : 1;
	bool is_one = PQnfields(r) == STREAM_COLUMNS;
	CLEANUP(free_p) struct stream_row *rows = is_one ? calloc(room, sizeof *rows) : NULL;
	struct position *streams = rows ? calloc(room, sizeof *streams) : NULL;

	if (!streams)
		return false;
	for (size_t i = 0; i < n; i++)
		rows[i] = (struct stream_row){ PQgetvalue(r, (int)i, 8), (int)i };
	qsort(rows, n, sizeof *rows, by_source);
	for (size_t i = 0; i < n; i++)
		read_stream(r, rows[i].row, &streams[i]);
	*ret = streams;
	*ret_n = n;
	return true;
}
