/*
 * doctor_agent.c - what the running agent reports, or how its last run ended.
 *
 * Whether its last report is too old, the database decides: see pg_doctor.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cleanup.h"
#include "common/parse.h"
#include "doctor.h"
#include "common/doctor_say.h"
#include "obs_agent/run.h"
#include "wire/json_scan.h"

enum {
	TEXT_MAX = 600, /* bytes of one text in the status that are shown */
	DEPTH_MAX = 16,
	KEYS_MAX = 1 << 16,
	START_INTERVALS = 3, /* collection intervals that a start may take until the first row */
};

/* ---- the status, which is JSON ---- */

static struct json_scan scan(struct text t)
{
	return (struct json_scan){
		.p = t.s, .end = t.s + t.len, .depth_max = DEPTH_MAX, .keys_left = KEYS_MAX
	};
}

/* Step over one character and the spaces around it. */
static bool step(struct json_scan *j, char c)
{
	json_space(j);
	if (j->p == j->end || *j->p != c)
		return false;
	j->p++;
	json_space(j);
	return true;
}

/* A member's value in an object; absent when there is none. */
static struct text member(struct text object, const char *name)
{
	struct json_scan j = scan(object);
	struct text key, value;
	enum json_kind kind;
	bool escapes;

	for (bool more = object.s && step(&j, '{'); more; more = step(&j, ',')) {
		if (!json_string(&j, &escapes, &key) || !step(&j, ':') || !json_value(&j, &kind, &value))
			break;
		if (text_eq(key, text_of(name)))
			return value;
	}
	return (struct text){ NULL, 0 };
}

/* The characters of a text; false: it is none, or too long. */
static bool read_text(struct text value, char out[TEXT_MAX])
{
	CLEANUP(buf_free) struct buf plain = BUF(TEXT_MAX);
	struct json_scan j = scan(value);
	struct text inside;
	bool escapes, ok;

	*out = '\0';
	ok = value.s && json_string(&j, &escapes, &inside) && json_unescape(inside, &plain) &&
	     buf_cstr(&plain);
	if (ok)
		memcpy(out, plain.data, plain.len + 1);
	return ok;
}

/* ---- what it says ---- */

/* A number that is not negative; -1: there is none. */
static int64_t read_number(struct text value)
{
	int64_t n;

	return value.s && parse_i64(value, &n) && n >= 0 ? n : -1;
}

/* Seconds until the first row is late; 0: it is. */
static int64_t patience_s(const struct config *c, struct text status)
{
	int64_t allowed = START_INTERVALS * c->interval_us / US_PER_S,
		uptime = read_number(member(status, "uptime_s"));

	return uptime < 0 || uptime >= allowed ? 0 : allowed - uptime;
}

/* When it wrote its last row; false: it has written none. */
static bool last_commit(struct text status, int64_t *ret_us)
{
	char when[TEXT_MAX];

	return read_text(member(status, "last_commit"), when) && parse_rfc3339(text_of(when), ret_us);
}

bool doctor_starting(const struct config *c, const char *report)
{
	int64_t at;

	return report && !last_commit(text_of(report), &at) && patience_s(c, text_of(report)) > 0;
}

static int check_first_row(const struct config *c, struct text status, const char *error,
			   struct doctor_report *out)
{
	int64_t patience = patience_s(c, status);

	if (!*error && patience)
		return doctor_warn(out,
				   "the agent was started %" PRId64
				   " s ago and has written nothing yet; run this again in "
				   "%" PRId64 " s, when its first row must be there",
				   read_number(member(status, "uptime_s")), patience);
	return doctor_line(out, false, *error ? error : "its log says why: journalctl -u obs-agent@...",
			   "the agent runs, and has written nothing yet");
}

/* Fails if the agent reports an error: a commit would have cleared it. */
static int check_written(const struct config *c, struct text status, int64_t now_us,
			 struct doctor_report *out)
{
	char error[TEXT_MAX];
	int64_t at;

	read_text(member(status, "last_error"), error);
	if (!last_commit(status, &at))
		return check_first_row(c, status, error, out);
	return doctor_line(out, !*error, error, "the agent runs, and wrote its last row %" PRId64 " s ago",
			   (now_us - at) / US_PER_S);
}

/* The agent may see another folder than this process, and knows of a failure that came between two looks. */
static int check_outbox(struct text status, struct doctor_report *out)
{
	char trouble[TEXT_MAX];

	if (!read_text(member(member(status, "outbox"), "trouble"), trouble) || !*trouble)
		return 0;
	return doctor_line(
		out, false, "make the folder writable, or free space; the agent tries it again by itself",
		"the running agent can't write to its state folder (%s): samples that the database does not "
		"have yet are in memory, and a restart would lose them",
		trouble);
}

/* The peer that the agent tells of the database's absence did not take its last message. */
static int check_notice(struct text status, struct doctor_report *out)
{
	char error[TEXT_MAX];

	if (read_text(member(member(status, "notify"), "last_error"), error) && *error)
		doctor_warn(out, "notify: the last message was not taken: %s", error);
	return 0;
}

/* The files that the agent can't follow, whatever this user may read. */
static int check_troubles(struct text status, struct doctor_report *out)
{
	struct text troubles = member(member(status, "tail"), "troubles"), one;
	struct json_scan j = scan(troubles);
	char path[TEXT_MAX], why[TEXT_MAX];
	enum json_kind kind;
	int failed = 0;

	for (bool more = troubles.s && step(&j, '['); more && json_value(&j, &kind, &one);
	     more = step(&j, ','))
		if (read_text(member(one, "path"), path) && read_text(member(one, "why"), why))
			failed += doctor_line(out, false, NULL, "the running agent cannot follow %s: %s",
					      path, why);
	return failed;
}

/* ---- no answer ---- */

static bool ended_with(const struct doctor_unit *u, int status)
{
	int64_t last;

	return parse_i64(text_of(u->exit_status), &last) && last == status;
}

static int check_last_run(const struct doctor_unit *u, const char *app, struct doctor_report *out)
{
	char remedy[256];

	snprintf(remedy, sizeof remedy, "systemctl enable --now obs-agent@%s", app);
	if (u->fresh)
		return doctor_note(out, "the agent has not been started yet; start it: %s", remedy);
	if (ended_with(u, RUN_FENCED))
		return doctor_line(
			out, false,
			"two agents have this server's and application's name: stop one, or give it its own "
			"vps_name, then systemctl restart",
			"the agent ended because another one took its name over (%d)", RUN_FENCED);
	if (ended_with(u, RUN_CONFIG))
		return doctor_line(out, false, "correct what is named above, then systemctl restart",
				   "the agent ended because its configuration was wrong (%d)", RUN_CONFIG);
	if (u->found && *u->sub_state)
		return doctor_line(out, false, remedy, "the agent does not run (%s)", u->sub_state);
	return doctor_warn(out, "no agent for %s answers here; start it: %s", app, remedy);
}

char *doctor_ask(const struct config *c, int (*ask)(const char *app, FILE *out, struct err *e))
{
	CLEANUP(free_p) char *report = NULL;
	size_t size;
	struct err e;
	FILE *to = open_memstream(&report, &size);
	int r = to ? ask(c->app, to, &e) : -ENOMEM;

	if (to)
		fclose(to);
	return r < 0 ? NULL : TAKE_PTR(report);
}

int doctor_agent(const struct config *c, const struct doctor_unit *u, const char *report,
		 struct doctor_report *out)
{
	struct text status;

	if (!report)
		return check_last_run(u, c->app, out);
	status = text_of(report);
	return check_written(c, status, wall_us(), out) + check_outbox(status, out) +
	       check_notice(status, out) + check_troubles(status, out);
}
