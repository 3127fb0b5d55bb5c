#include "pg_call.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/embed.h"
#include "common/parse.h"

EMBED(sql_end_stale_session, "obs_agent/sql/end_stale_session.sql");
EMBED(sql_hello, "obs_agent/sql/hello.sql");
EMBED(sql_streams, "obs_agent/sql/streams.sql");
EMBED(sql_push, "obs_agent/sql/push.sql");
EMBED(sql_push_logs, "obs_agent/sql/push_logs.sql");
EMBED(sql_push_rejects, "obs_agent/sql/push_rejects.sql");

enum { PARAMS_MAX = 10, STREAM_COLUMNS = 8 };

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

static struct call call(const struct config *config)
{
	struct call c = { .n = 0 };

	param_text(&c, config->vps_name);
	param_text(&c, config->app);
	return c;
}

static bool queue(PGconn *conn, const char *sql, const struct call *c)
{
	return PQsendQueryParams(conn, sql, c->n, NULL, c->value, c->length, c->binary ? c->format : NULL,
				 0) == 1;
}

bool pg_call_hello(PGconn *conn, const struct config *config, int64_t process, int64_t epoch)
{
	struct call c = call(config);
	bool queued = queue(conn, sql_end_stale_session, &c);
	char process_text[24], epoch_text[24], interval[24], now[RFC3339_SIZE], host[HOST_NAME_MAX + 1] = "";

	snprintf(process_text, sizeof process_text, "%" PRId64, process);
	snprintf(epoch_text, sizeof epoch_text, "%" PRId64, epoch);
	snprintf(interval, sizeof interval, "%" PRId64, config->interval_us / US_PER_S);
	format_rfc3339(now, wall_us());
	param_text(&c, process_text);
	param_text(&c, epoch ? epoch_text : NULL);
	param_text(&c, OBSERV_VERSION);
	param_text(&c, interval);
	gethostname(host, sizeof host - 1);
	param_text(&c, now);
	param_text(&c, host);           /* tells that this agent understands epoch 0 */
	return queued && queue(conn, sql_hello, &c);
}

bool pg_call_streams(PGconn *conn, const struct config *config, int64_t epoch)
{
	struct call c = call(config);
	char epoch_text[24];

	snprintf(epoch_text, sizeof epoch_text, "%" PRId64, epoch);
	param_text(&c, epoch_text);
	return queue(conn, sql_streams, &c);
}

/* Append rows, "[...],[...]" in brackets, to `json` as a parameter; without rows it is NULL. Gives
 * an offset, because the buffer may move until it is complete. */
static bool add_rows(struct buf *json, const struct buf *rows, size_t n, size_t *ret_at)
{
	*ret_at = n ? json->len : SIZE_MAX;
	return n == 0 || (buf_addc(json, '[') && buf_add(json, rows->data, rows->len) &&
			  buf_add(json, "]", 2));
}

static bool add_positions(struct buf *json, const struct batch *b, size_t *ret_at)
{
	*ret_at = json->len;
	if (!batch_positions(b, json))
		return false;
	if (json->len - *ret_at > strlen("[]"))
		return buf_addc(json, '\0');
	*ret_at = SIZE_MAX;
	return true;
}

/* Everything but log lines goes in one call, so that an idle agent sends one statement. */
static bool queue_push(PGconn *conn, struct call c, int64_t epoch, const struct batch *b, struct text state,
		       struct buf *json)
{
	char epoch_text[24], seq[24];
	size_t at[4];

	snprintf(epoch_text, sizeof epoch_text, "%" PRId64, epoch);
	snprintf(seq, sizeof seq, "%" PRId64, b->seq);
	param_text(&c, epoch_text);
	param_text(&c, seq);
	param_text(&c, state.s);
	buf_reset(json);
	if (!add_rows(json, &b->metrics, b->n_metrics, &at[0]) ||
	    !add_rows(json, &b->checks, b->n_checks, &at[1]) ||
	    !add_rows(json, &b->gaps, b->n_gaps, &at[2]) || !add_positions(json, b, &at[3]))
		return false;
	for (size_t i = 0; i < sizeof at / sizeof *at; i++)
		param_text(&c, at[i] == SIZE_MAX ? NULL : json->data + at[i]);
	return queue(conn, sql_push, &c);
}

static bool queue_logs(PGconn *conn, struct call c, struct batch *b, struct buf *json)
{
	if (b->n_logs == 0)
		return true;
	buf_reset(json);
	if (!batch_streams(b, json))
		return false;
	param_binary(&c, (struct text){ json->data, json->len });
	for (int i = 0; i < LOG_COLUMNS; i++)
		param_binary(&c, column_array(&b->log[i], b->n_logs));
	return queue(conn, sql_push_logs, &c);
}

static bool queue_rejects(PGconn *conn, struct call c, const struct batch *b, struct buf *json)
{
	size_t at;

	if (b->n_rejects == 0)
		return true;
	buf_reset(json);
	if (!add_rows(json, &b->rejects, b->n_rejects, &at))
		return false;
	param_text(&c, json->data);
	return queue(conn, sql_push_rejects, &c);
}

bool pg_call_push(PGconn *conn, const struct config *config, int64_t epoch, struct batch *b,
		  struct text state, struct buf *scratch)
{
	struct call c = call(config);

	return queue_push(conn, c, epoch, b, state, scratch) && queue_logs(conn, c, b, scratch) &&
	       queue_rejects(conn, c, b, scratch);
}

/* ---- answers ---- */

int64_t pg_number(const PGresult *r, int row, int column)
{
	int64_t v = 0;

	parse_i64(text_of(PQgetvalue(r, row, column)), &v);
	return v;
}

static void copy_text(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

bool pg_read_streams(const PGresult *r, struct position **ret, size_t *ret_n)
{
	size_t n = (size_t)PQntuples(r);
	struct position *streams = PQnfields(r) == STREAM_COLUMNS ? calloc(n ? n : 1, sizeof *streams) : NULL;

	if (!streams)
		return false;
	for (size_t i = 0; i < n; i++) {
		struct position *s = &streams[i];
		int row = (int)i;

		s->stream_id = pg_number(r, row, 0);
		copy_text(s->path, sizeof s->path, PQgetvalue(r, row, 1));
		copy_text(s->file_id, sizeof s->file_id, PQgetvalue(r, row, 2));
		copy_text(s->head_hash, sizeof s->head_hash, PQgetvalue(r, row, 3));
		copy_text(s->tail_hash, sizeof s->tail_hash, PQgetvalue(r, row, 4));
		s->from = s->to = pg_number(r, row, 5);
		s->finished = *PQgetvalue(r, row, 6) == 't';
		s->age_s = pg_number(r, row, 7);
	}
	*ret = streams;
	*ret_n = n;
	return true;
}
