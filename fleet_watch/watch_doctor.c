#include "watch_doctor.h"

#include <libpq-fe.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/doctor_say.h"
#include "common/embed.h"
#include "common/net/url_mask.h"
#include "common/parse.h"
#include "common/pg/pg_message.h"
#include "common/pg/pg_open.h"
#include "common/pg/pg_tls.h"

EMBED(sql_doctor, "fleet_watch/sql/doctor.sql");

enum { TIMEOUT_S = 10, LATE_S = 120 };

/* In the order of doctor.sql. */
enum column {
	MAY_TAKE,
	MAY_EVALUATE,
	LEADS,
	AGE_S,
	WATCHER,
	DISABLED,
	FAILING,
	CHANNELS,
	DEAD,
	LATE,
	FAILED_RULES
};

static bool is_true(const PGresult *r, int c)
{
	return *PQgetvalue(r, 0, c) == 't';
}

static int64_t number(const PGresult *r, int c)
{
	int64_t n = 0;

	parse_i64(text_of(PQgetvalue(r, 0, c)), &n);
	return n;
}

static int report_rights(const PGresult *r, struct doctor_report *out)
{
	bool may = is_true(r, MAY_TAKE) && is_true(r, MAY_EVALUATE);

	return doctor_line(out, may,
			   "run schema.sql of this version, and: GRANT observ_watch TO the login of "
			   "database_url",
			   "the login may %sevaluate alerts and take messages", may ? "" : "not ");
}

static int report_leader(const PGresult *r, struct doctor_report *out)
{
	int failed = doctor_line(out, is_true(r, LEADS), "systemctl enable --now fleet-watch",
				 "%s watcher leads", is_true(r, LEADS) ? "a" : "no");
	bool ever = !PQgetisnull(r, 0, AGE_S);

	if (!ever)
		return doctor_note(out, "alerts were never evaluated yet"), failed;
	return failed + doctor_line(out, number(r, AGE_S) < LATE_S,
				    "ask journalctl -u fleet-watch on the machine that leads",
				    "alerts were evaluated %s s ago%s%s", PQgetvalue(r, 0, AGE_S),
				    *PQgetvalue(r, 0, WATCHER) ? ", by " : "", PQgetvalue(r, 0, WATCHER));
}

static int report_channels(const PGresult *r, struct doctor_report *out)
{
	int64_t n = number(r, CHANNELS);
	int failed = doctor_line(out, n > 0, "add one on the page of channels: until then nobody is told",
				 "%s channel%s enabled", n ? PQgetvalue(r, 0, CHANNELS) : "no",
				 n > 1 ? "s are" : " is");

	if (!PQgetisnull(r, 0, DISABLED))
		doctor_warn(out, "disabled: %s", PQgetvalue(r, 0, DISABLED));
	if (!PQgetisnull(r, 0, FAILING))
		failed += doctor_line(out, false, "fleet_watch test CHANNEL says what the peer answers",
				      "channels that fail: %s", PQgetvalue(r, 0, FAILING));
	if (number(r, DEAD))
		doctor_warn(out, "%s message%s given up in the last day: the page of channels lists them",
			    PQgetvalue(r, 0, DEAD), number(r, DEAD) == 1 ? " was" : "s were");
	return failed + doctor_line(out, number(r, LATE) == 0, "the lines above say why",
				    "%s message%s waited for more than 10 minutes", PQgetvalue(r, 0, LATE),
				    number(r, LATE) == 1 ? " has" : "s have");
}

static int report_rules(const PGresult *r, struct doctor_report *out)
{
	if (PQgetisnull(r, 0, FAILED_RULES))
		return 0;
	return doctor_line(out, false, "correct the rule on its page",
			   "rules that can't be evaluated: %s", PQgetvalue(r, 0, FAILED_RULES));
}

static void report_settings(const struct watch_conf *conf, struct doctor_report *out)
{
	if (!*conf->public_url)
		doctor_warn(out, "messages have no links: set public_url in watch.conf");
	if (!*conf->ping_url)
		doctor_note(out,
			    "nobody is told when the watcher itself stops: set ping_url in watch.conf to "
			    "a dead-man's switch elsewhere");
}

int watch_doctor(const struct watch_conf *conf, FILE *to)
{
	const struct pg_manner manner = { .application = "fleet_watch doctor",
					  .timeout_s = TIMEOUT_S,
					  .writes = true };
	struct doctor_report out = { .to = to };
	struct err e;
	CLEANUP(pg_close_p) PGconn *conn = pg_open(conf->database_url, &manner, &e);
	CLEANUP(pg_clear_p) PGresult *r = NULL;
	char shown[500], error[500], weakness[PG_TLS_SENTENCE_SIZE];

	url_mask(conf->database_url, shown, sizeof shown);
	if (pg_tls_weakness(conf->database_url, weakness))
		doctor_warn(&out, "%s", weakness);
	if (!conn)
		return doctor_line(&out, false, NULL, "database %s: %s", shown, e.msg);
	doctor_line(&out, true, NULL, "database %s answers", shown);
	r = PQexec(conn, sql_doctor);
	if (PQresultStatus(r) != PGRES_TUPLES_OK) {
		pg_one_line(PQerrorMessage(conn), error, sizeof error);
		return doctor_line(&out, false, "run schema.sql of this version in this database", "%s",
				   error);
	}
	report_settings(conf, &out);
	return report_rights(r, &out) + report_leader(r, &out) + report_rules(r, &out) +
	       report_channels(r, &out);
}
