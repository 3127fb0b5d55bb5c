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
#include "doctor.h"
#include "pg.h"
#include "pg_call.h"
#include "pg_tls.h"

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

static int report(const PGresult *r, FILE *out)
{
	const char *schema = PQgetvalue(r, 0, 1);
	int64_t skew_s;
	int failed;

	failed = doctor_line(out, *PQgetvalue(r, 0, 0) == 't',
			     "enroll this server as the database's owner: SELECT * FROM observ.enroll('SERVER')",
			     "the role may write (EXECUTE on observ.push_open)");
	failed += doctor_line(out, *schema != '\0', "run schema.sql in this database", "schema observ: %s",
			      *schema ? schema : "not installed");
	skew_s = (wall_us() - pg_number(r, 0, 2)) / US_PER_S;
	failed += doctor_line(out, llabs(skew_s) < SKEW_WARN_S, "run a time service (systemd-timesyncd, chrony)",
			      "this clock is %" PRId64 " s ahead of the database's", skew_s);
	return failed + doctor_line(out, true, NULL, "the connection %s TLS",
				    *PQgetvalue(r, 0, 3) == 't' ? "uses" : "does not use");
}

int pg_doctor(const struct config *c, FILE *out)
{
	const struct pg_tls tls = pg_tls_for_url(c->postgres_url);
	const char *const keys[] = { "connect_timeout", "fallback_application_name", "gssencmode", "target_session_attrs",
				     "dbname", tls.mode ? "sslmode" : tls.root ? "sslrootcert" : NULL,
				     tls.mode && tls.root ? "sslrootcert" : NULL, NULL };
	const char *const values[] = { "10", "obs_agent doctor", "disable", "read-write", c->postgres_url,
				       tls.mode ? tls.mode : tls.root, tls.root, NULL };
	CLEANUP(finish_p) PGconn *conn = PQconnectdbParams(keys, values, 1);
	CLEANUP(clear_p) PGresult *r = NULL;
	char masked[400], error[500], weakness[PG_TLS_SENTENCE_SIZE];
	const char *hint;

	config_mask_url(c->postgres_url, masked, sizeof masked);
	if (PQstatus(conn) != CONNECTION_OK) {
		pg_one_line(PQerrorMessage(conn), error, sizeof error);
		hint = pg_tls_hint(error);
		return doctor_line(out, false, hint ? hint : "check host, port, user and password in postgres_url, and pg_hba.conf",
				   "database %s: %s", masked, error);
	}
	doctor_line(out, true, NULL, "database %s answers (PostgreSQL %d.%d)", masked,
		    PQserverVersion(conn) / 10000, PQserverVersion(conn) % 10000);
	if (pg_tls_weakness(c->postgres_url, weakness))
		doctor_warn(out, "%s", weakness);
	r = PQexec(conn, sql_doctor);
	if (PQresultStatus(r) != PGRES_TUPLES_OK) {
		pg_one_line(PQerrorMessage(conn), error, sizeof error);
		return doctor_line(out, false, "run schema.sql in this database", "%s", error);
	}
	return report(r, out);
}
