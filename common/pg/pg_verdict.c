#include "pg_verdict.h"

#include <string.h>

#include "common/clock.h"
#include "common/random.h"
#include "pg_message.h"
#include "pg_tls.h"

enum {
	RETRY_FIRST_MS = 500,
	BUSY_FIRST_MS = 4000,
	RETRY_CAP_MS = 1200,            /* an attempt that is refused at once costs little */
	SLOW_CAP_MS = 8000,             /* one that runs into its deadline took long enough */
	BUSY_CAP_MS = 15000,            /* a fleet comes back to a server with few connections */
	MOVED_CAP_MS = 60000,
	WAIT_MS = 60000,
	HALVINGS_MAX = 16,              /* of a batch, until a row that is refused is alone */
};

#define OTHER_VERSION "the schema is older or newer than this program: run schema.sql of this version"
#define CHECK_LOGIN                                                                                     \
	"check user and password in the URL, and pg_hba.conf; a retired or revoked server has no login"

/* The first row that fits counts. */
static const struct {
	const char *state;              /* SQLSTATE, or its beginning */
	struct pg_judgement judgement;
} judgements[] = {
	{ "OB001", { PG_FENCED, PG_CAUSE_OTHER,
		     "another agent with the same server and application name has taken over; stop one of "
		     "them" } },
	{ "OB002", { PG_MOVED, PG_CAUSE_OTHER, NULL } },
	{ "OB003", { PG_MOVED, PG_CAUSE_OTHER, NULL } },
	{ "22", { PG_DATA, PG_CAUSE_OTHER, NULL } },
	{ "23", { PG_DATA, PG_CAUSE_OTHER, NULL } },
	{ "54", { PG_DATA, PG_CAUSE_OTHER, NULL } },
	{ "P0", { PG_DATA, PG_CAUSE_OTHER, NULL } },
	{ "53200", { PG_TOO_MUCH, PG_CAUSE_SERVER, "the database server is out of memory" } },
	{ "57014", { PG_TOO_MUCH, PG_CAUSE_TIME_LIMIT, NULL } },
	{ "53300", { PG_BUSY, PG_CAUSE_SERVER,
		     "no connection is left: raise max_connections (or the CONNECTION LIMIT of the role or "
		     "database), or put PgBouncer before the server" } },
	{ "53100", { PG_WAIT, PG_CAUSE_SERVER, "the database server's disk is full" } },
	{ "08", { PG_RETRY, PG_CAUSE_SERVER, NULL } },
	{ "25006", { PG_RETRY, PG_CAUSE_SERVER, NULL } },
	{ "53", { PG_RETRY, PG_CAUSE_SERVER, NULL } },
	{ "57P", { PG_RETRY, PG_CAUSE_SERVER, NULL } },
	{ "58", { PG_RETRY, PG_CAUSE_SERVER, NULL } },
	{ "28", { PG_WAIT, PG_CAUSE_LOGIN, CHECK_LOGIN } },
	{ "42501", { PG_WAIT, PG_CAUSE_RIGHT,
		     "the role may not do this: enroll this server (SELECT * FROM enroll('NAME')) or grant "
		     "observ_agent" } },
	{ "42883", { PG_WAIT, PG_CAUSE_SCHEMA, OTHER_VERSION } },
	{ "42703", { PG_WAIT, PG_CAUSE_SCHEMA, OTHER_VERSION } },
	{ "42P01", { PG_WAIT, PG_CAUSE_SCHEMA, OTHER_VERSION } },
	{ "3F000", { PG_WAIT, PG_CAUSE_SCHEMA, "the database has no schema observ: run schema.sql in it" } },
	{ "3D000", { PG_WAIT, PG_CAUSE_SCHEMA, "create the database and run schema.sql in it" } },
};

struct pg_judgement pg_judge(const char *state)
{
	if (!state || !*state)
		return (struct pg_judgement){ PG_RETRY, PG_CAUSE_SERVER, NULL };
	for (size_t i = 0; i < sizeof judgements / sizeof *judgements; i++)
		if (strncmp(state, judgements[i].state, strlen(judgements[i].state)) == 0)
			return judgements[i].judgement;
	return (struct pg_judgement){ PG_RETRY, PG_CAUSE_OTHER, NULL };
}

/* ---- refused connections ---- */

static void find_state(const char *message, char ret[6])
{
	ret[0] = '\0';
	for (; (message = strstr(message, ":  ")); message++)
		if (strspn(message + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && message[8] == ':') {
			memcpy(ret, message + 3, 5);
			ret[5] = '\0';
			return;
		}
}

/* libpq itself gives no SQLSTATE, and PgBouncer gives 08P01 for everything. */
static bool is_denied_in_words(const char *message, const char *state)
{
	static const char *const denied[] = { "no password supplied", "authentication failed", "no such user",
					      "no such database" };

	for (size_t i = 0; i < sizeof denied / sizeof *denied; i++)
		if ((!*state || strcmp(state, "08P01") == 0) && strstr(message, denied[i]))
			return true;
	return false;
}

void pg_judge_refusal(const char *message, struct pg_refusal *ret)
{
	struct pg_judgement *j = &ret->judgement;
	const char *tls;

	find_state(message, ret->state);
	*j = pg_judge(ret->state);
	if (is_denied_in_words(message, ret->state))
		*j = (struct pg_judgement){ PG_WAIT, PG_CAUSE_LOGIN, CHECK_LOGIN };
	if (j->verdict > PG_WAIT)
		j->verdict = PG_RETRY;
	ret->denied = j->cause == PG_CAUSE_LOGIN || j->cause == PG_CAUSE_RIGHT || j->cause == PG_CAUSE_SCHEMA;
	pg_one_line(message, ret->sentence, sizeof ret->sentence);
	tls = pg_tls_hint(ret->sentence);
	j->hint = tls ? tls : j->hint;
	if (j->hint)
		pg_add_sentence(ret->sentence, sizeof ret->sentence, j->hint);
}

/* ---- waiting ---- */

int64_t pg_random_below(int64_t limit)
{
	return limit > 0 ? (int64_t)(random_u64() % (uint64_t)limit) : 0;
}

/* The longest wait before an attempt after a failure of this kind. */
static int64_t cap_ms(enum pg_verdict verdict, bool slow)
{
	switch (verdict) {
	case PG_BUSY:
		return BUSY_CAP_MS;
	case PG_MOVED:
	case PG_DATA:
	case PG_TOO_MUCH:
		return MOVED_CAP_MS;
	default:
		return slow ? SLOW_CAP_MS : RETRY_CAP_MS;
	}
}

int64_t pg_backoff_us(enum pg_verdict verdict, bool slow, int failures)
{
	int64_t cap = cap_ms(verdict, slow), ms = verdict == PG_BUSY ? BUSY_FIRST_MS : RETRY_FIRST_MS;

	if ((verdict == PG_MOVED && failures == 0) || (verdict == PG_DATA && failures < HALVINGS_MAX))
		return 0;               /* the server is well: ask it again at once */
	if (verdict == PG_WAIT && failures > 2)
		return (WAIT_MS / 2 + pg_random_below(WAIT_MS / 2)) * US_PER_MS;
	for (int i = 0; i < failures && ms < cap; i++)
		ms *= 2;
	ms = ms < cap ? ms : cap;
	return (RETRY_FIRST_MS / 10 + pg_random_below(ms)) * US_PER_MS;
}
