/* pg_doctor.c - the database half of `obs_agent doctor`. */
#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cleanup.h"
#include "common/embed.h"
#include "common/parse.h"
#include "doctor.h"
#include "common/doctor_say.h"
#include "pg_doctor.h"
#include "common/pg/pg_message.h"
#include "common/pg/pg_cert.h"
#include "common/pg/pg_open.h"
#include "common/pg/pg_tls.h"
#include "common/pg/pg_verdict.h"

EMBED(sql_doctor, "obs_agent/sql/doctor.sql");
EMBED(sql_last_seen, "obs_agent/sql/last_seen.sql");

enum {
	SKEW_WARN_S = 5,
	EXPIRES_SOON_DAYS = 14,
	OLDEST_SERVER = 150000,
};

#define OTHER_VERSION "run schema.sql in this database: it is of an older version"

static int64_t number(const PGresult *r, int row, int column)
{
	int64_t v = 0;

	parse_i64(text_of(PQgetvalue(r, row, column)), &v);
	return v;
}

static int report_role(const PGresult *r, struct doctor_report *out)
{
	int failed = doctor_line(
		out, *PQgetvalue(r, 0, 0) == 't',
		"enroll this server as the database's owner: SELECT * FROM observ.enroll('SERVER')",
		"the role may %swrite (EXECUTE on observ.push_open)",
		*PQgetvalue(r, 0, 0) == 't' ? "" : "not ");

	if (*PQgetvalue(r, 0, 5) == 't')
		doctor_warn(out, "the role is a superuser: an intruder on this server owns the database too; "
				 "enroll the server and write as the role that this makes");
	if (PQgetisnull(r, 0, 4))
		return failed;
	doctor_warn(out,
		    "agents write as this role from several addresses: %s; if these are not one machine's, "
		    "it was copied, or two have "
		    "one credential: enroll each under its own name",
		    PQgetvalue(r, 0, 4));
	return failed;
}

static int report(const PGresult *r, struct doctor_report *out)
{
	const char *schema = PQgetvalue(r, 0, 1);
	int64_t skew_s;
	int failed = report_role(r, out);

	failed += doctor_line(out, *schema != '\0', "run schema.sql in this database", "schema observ: %s",
			      *schema ? schema : "not installed");
	skew_s = (wall_us() - number(r, 0, 2)) / US_PER_S;
	return failed + doctor_line(out, llabs(skew_s) < SKEW_WARN_S,
				    "run a time service (systemd-timesyncd, chrony)",
				    "this clock is %" PRId64 " s ahead of the database's", skew_s);
}

/* The database's agent_state() decides whether the agent is late. */
static int report_last_seen(const PGresult *r, const struct config *c, bool starting,
			    struct doctor_report *out)
{
	bool online;

	if (PQntuples(r) == 0)
		return doctor_line(out, true, NULL, "the database has nothing of %s on %s yet", c->app,
				   c->vps_name);
	online = strcmp(PQgetvalue(r, 0, 1), "online") == 0;
	if (!online && starting)
		return doctor_warn(out,
				   "the database heard from %s on %s %" PRId64 " s ago, before this start",
				   c->app, c->vps_name, number(r, 0, 0));
	return doctor_line(out, online,
			   "start it, systemctl enable --now obs-agent@...; if it runs, ask "
			   "journalctl -u obs-agent@...",
			   "the database heard from %s on %s %" PRId64 " s ago", c->app, c->vps_name,
			   number(r, 0, 0));
}

/* How to fix what the server refused, or NULL. */
static const char *refusal_hint(const PGresult *r)
{
	const struct pg_judgement j = pg_judge(PQresultErrorField(r, PG_DIAG_SQLSTATE));

	return j.cause == PG_CAUSE_SCHEMA ? "run schema.sql in this database" : j.hint;
}

/* Fails too if this role may not write as this server. */
static int ask_last_seen(PGconn *conn, const struct config *c, bool starting, struct doctor_report *out)
{
	const char *const names[] = { c->vps_name, c->app };
	CLEANUP(pg_clear_p) PGresult *r = PQexecParams(conn, sql_last_seen, 2, NULL, names, NULL, NULL, 0);
	const char *primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY),
		   *hint = PQresultErrorField(r, PG_DIAG_MESSAGE_HINT);
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	if (PQresultStatus(r) == PGRES_TUPLES_OK)
		return report_last_seen(r, c, starting, out);
	if (pg_judge(state).cause == PG_CAUSE_SCHEMA)
		hint = OTHER_VERSION;
	return doctor_line(out, false,
			   hint ? hint : "set vps_name to the server that was enrolled, or enroll this one",
			   "%s", primary ? primary : "the database does not answer");
}

static int report_certificate(PGconn *conn, bool encrypted, struct doctor_report *out)
{
	int days;

	doctor_line(out, true, NULL, "the connection %s TLS%s%s", encrypted ? "uses" : "does not use",
		    encrypted ? ", " : "", encrypted ? PQsslAttribute(conn, "protocol") : "");
	if (!encrypted || !pg_certificate_days(conn, &days))
		return 0;
	if (days >= 0 && days < EXPIRES_SOON_DAYS)
		doctor_warn(out, "the database's certificate expires in %d day%s: renew it", days,
			    plural(days));
	else
		return doctor_line(out, days >= 0, "renew it", "the database's certificate %s %d day%s",
				   days < 0 ? "has expired since" : "is valid for", abs(days),
				   plural(abs(days)));
	return 0;
}

int pg_doctor(const struct config *c, bool starting, struct doctor_report *out)
{
	static const struct pg_manner manner = { .application = "obs_agent doctor",
						 .timeout_s = 10,
						 .writes = true };
	struct err e;
	CLEANUP(pg_close_p) PGconn *conn = pg_open(c->postgres_url, &manner, &e);
	CLEANUP(pg_clear_p) PGresult *r = NULL;
	char error[500], weakness[PG_TLS_SENTENCE_SIZE];
	int failed;

	if (pg_tls_weakness(c->postgres_url, weakness))
		doctor_warn(out, "%s", weakness);
	if (!conn)
		return doctor_line(out, false, NULL, "database %s: %s", c->shown_postgres_url, e.msg);
	failed = doctor_line(out, PQserverVersion(conn) >= OLDEST_SERVER,
			     "upgrade it: 15 is the oldest that will do",
			     "database %s answers (PostgreSQL %d.%d)", c->shown_postgres_url,
			     PQserverVersion(conn) / 10000, PQserverVersion(conn) % 10000);
	failed += report_certificate(conn, PQsslInUse(conn), out);
	r = PQexec(conn, sql_doctor);
	if (PQresultStatus(r) != PGRES_TUPLES_OK) {
		pg_one_line(PQerrorMessage(conn), error, sizeof error);
		return failed + doctor_line(out, false, refusal_hint(r), "%s", error);
	}
	failed += report(r, out);
	return failed + (*PQgetvalue(r, 0, 0) == 't' ? ask_last_seen(conn, c, starting, out) : 0);
}
