#include "pg_verdict.h"

#include <string.h>

static const struct {
	const char *state;              /* SQLSTATE, or its beginning */
	enum pg_verdict verdict;
	const char *hint;
} verdicts[] = {
	{ "OB001", PG_FENCED, "another agent with the same server and application name has taken over; stop one of them" },
	{ "OB002", PG_MOVED, NULL },
	{ "OB003", PG_MOVED, NULL },
	{ "22", PG_DATA, NULL },
	{ "23502", PG_DATA, NULL },
	{ "23514", PG_DATA, NULL },
	{ "54000", PG_DATA, NULL },
	{ "28", PG_WAIT, "check the role and password in postgres_url" },
	{ "42501", PG_WAIT, "the role may not do this: enroll this server (SELECT * FROM enroll('NAME')) or grant observ_agent" },
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

void pg_one_line(const char *msg, char *out, size_t size)
{
	size_t n = 0;

	while (*msg && n + 1 < size) {
		char c = *msg++;

		if (c == '\n' || c == '\t')
			c = ' ';
		if (c == ' ' && (n == 0 || out[n - 1] == ' '))
			continue;
		out[n++] = c;
	}
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}
