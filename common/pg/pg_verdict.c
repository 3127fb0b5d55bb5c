#include "pg_verdict.h"

#include <string.h>

#include "common/clock.h"
#include "common/random.h"

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

static const struct {
	const char *state;              /* SQLSTATE, or its beginning */
	enum pg_verdict verdict;
	const char *hint;
} verdicts[] = {
	{ "OB001", PG_FENCED,
	  "another agent with the same server and application name has taken over; stop one of them" },
	{ "OB002", PG_MOVED, NULL },
	{ "OB003", PG_MOVED, NULL },
	{ "22", PG_DATA, NULL },
	{ "23", PG_DATA, NULL },
	{ "54", PG_DATA, NULL },
	{ "P0", PG_DATA, NULL },
	{ "53200", PG_TOO_MUCH, "the database server is out of memory" },
	{ "57014", PG_TOO_MUCH, NULL },
	{ "53300", PG_BUSY,
	  "the database server has no connection left: raise max_connections or put PgBouncer before it" },
	{ "28", PG_WAIT, "check user and password in the URL, and pg_hba.conf" },
	{ "42501", PG_WAIT,
	  "the role may not do this: enroll this server (SELECT * FROM enroll('NAME')) or grant "
	  "observ_agent" },
	{ "42883", PG_WAIT, "the schema is older or newer than this agent: run schema.sql of this version" },
	{ "42P01", PG_WAIT, "the schema is older or newer than this agent: run schema.sql of this version" },
	{ "3F000", PG_WAIT, "the database has no schema observ: run schema.sql in it" },
	{ "3D000", PG_WAIT, "create the database and run schema.sql in it" },
	{ "53100", PG_WAIT, "the database server's disk is full" },
};

enum pg_verdict pg_judge(const char *state, const char **ret_hint)
{
	*ret_hint = NULL;
	for (size_t i = 0; state && i < sizeof verdicts / sizeof *verdicts; i++)
		if (strncmp(state, verdicts[i].state, strlen(verdicts[i].state)) == 0) {
			*ret_hint = verdicts[i].hint;
			return verdicts[i].verdict;
		}
	return PG_RETRY;
}

const char *pg_state_in(const char *msg, char ret[6])
{
	for (; (msg = strstr(msg, ":  ")); msg++)
		if (strspn(msg + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && msg[8] == ':') {
			memcpy(ret, msg + 3, 5);
			ret[5] = '\0';
			return ret;
		}
	return NULL;
}

bool pg_is_denial(const char *message)
{
	static const char *const denied[] = { "authentication", "pg_hba.conf", "does not exist",
					      "not permitted to log in", "permission denied for" };

	for (size_t i = 0; i < sizeof denied / sizeof *denied; i++)
		if (strstr(message, "FATAL:") && strstr(message, denied[i]))
			return true;
	return strstr(message, "no password supplied");
}

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
