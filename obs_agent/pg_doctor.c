/*
 * pg_doctor.c - the database half of `obs_agent doctor`: may block, prints words.
 */
#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "../common/clock.h"
#include "../common/cleanup.h"
#include "../common/embed.h"
#include "../common/parse.h"
#include "pg.h"

EMBED(sql_doctor, "obs_agent/sql/doctor.sql");

enum { SKEW_WARN_S = 5 };

static void finish_p(PGconn **c)
{
	PQfinish(*c);
	*c = NULL;
}

static void clear_p(PGresult **r)
{
	PQclear(*r);
	*r = NULL;
}

static int line(FILE *out, bool ok, const char *what, const char *remedy)
{
	fprintf(out, "%-4s %s%s%s\n", ok ? "ok" : "FAIL", what, ok || !remedy[0] ? "" : "; ", ok ? "" : remedy);
	return ok ? 0 : 1;
}

/* libpq ends its messages with newlines. */
static void first_line(const char *msg, char *out, size_t size)
{
	size_t n = strcspn(msg, "\n");

	snprintf(out, size, "%.*s", (int)n, msg);
}

static int report(const PGresult *r, FILE *out)
{
	const char *may_push = PQgetvalue(r, 0, 0), *schema = PQgetvalue(r, 0, 1);
	char what[256];
	int64_t server_us, skew_s = 0;
	int failed;

	failed = line(out, *may_push == 't', "the role may write (EXECUTE on observ.push_open)",
		      "enroll this server as the database's owner: SELECT * FROM observ.enroll('SERVER')");
	snprintf(what, sizeof what, "schema observ is installed, version %s", *schema ? schema : "unknown");
	failed += line(out, *schema != '\0', what, "run schema.sql in this database");
	if (parse_rfc3339(text_of(PQgetvalue(r, 0, 2)), &server_us))
		skew_s = (wall_us() - server_us) / US_PER_S;
	snprintf(what, sizeof what, "this clock differs from the database's by %" PRId64 " s", skew_s);
	failed += line(out, llabs(skew_s) < SKEW_WARN_S, what, "run a time service (systemd-timesyncd, chrony)");
	snprintf(what, sizeof what, "TLS %s", *PQgetvalue(r, 0, 3) == 't' ? "is used" : "is not used");
	line(out, true, what, "");
	return failed;
}

int pg_doctor(const struct config *c, FILE *out)
{
	const char *const keys[] = { "connect_timeout", "fallback_application_name", "gssencmode", "dbname", NULL };
	const char *const values[] = { "10", "obs_agent doctor", "disable", c->postgres_url, NULL };
	CLEANUP(finish_p) PGconn *conn = PQconnectdbParams(keys, values, 1);
	CLEANUP(clear_p) PGresult *r = NULL;
	char masked[400], what[ERR_MSG_MAX], error[500];

	config_mask_url(c->postgres_url, masked, sizeof masked);
	if (PQstatus(conn) != CONNECTION_OK) {
		first_line(PQerrorMessage(conn), error, sizeof error);
		snprintf(what, sizeof what, "database %s: %s", masked, error);
		return line(out, false, what, "check host, port, user and password in postgres_url, and pg_hba.conf");
	}
	snprintf(what, sizeof what, "database %s answers (PostgreSQL %d.%d)", masked, PQserverVersion(conn) / 10000,
		 PQserverVersion(conn) % 10000);
	line(out, true, what, "");
	r = PQexec(conn, sql_doctor);
	if (PQresultStatus(r) != PGRES_TUPLES_OK) {
		first_line(PQerrorMessage(conn), error, sizeof error);
		return line(out, false, error, "run schema.sql in this database");
	}
	return report(r, out);
}
