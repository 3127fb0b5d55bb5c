/*
 * doctor_agent.c - what the running agent reports, or how its last run ended.
 *
 * Whether its last report is too old, the database decides: see pg_doctor.c.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cleanup.h"
#include "common/parse.h"
#include "doctor.h"
#include "doctor_say.h"
#include "obs_agent/run.h"
#include "wire/json_scan.h"

enum {
	TEXT_MAX = 600,                 /* bytes of one text in the status that are shown */
	DEPTH_MAX = 16,
	KEYS_MAX = 1 << 16,
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

/* Fails if the agent reports an error: a commit would have cleared it. */
static int check_written(struct text status, int64_t now_us, FILE *out)
{
	char when[TEXT_MAX], error[TEXT_MAX];
	int64_t at;

	read_text(member(status, "last_error"), error);
	if (!read_text(member(status, "last_commit"), when) || !parse_rfc3339(text_of(when), &at))
		return doctor_line(out, false,
				   *error ? error
					  : "wait a minute and ask again: systemctl status says what it does",
				   "the agent runs, and has written nothing yet");
	return doctor_line(out, !*error, error, "the agent runs, and wrote its last row %" PRId64 " s ago",
			   (now_us - at) / US_PER_S);
}

/* The files that the agent can't follow, whatever this user may read. */
static int check_troubles(struct text status, FILE *out)
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

static int check_last_run(const struct doctor_unit *u, const char *app, FILE *out)
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

int doctor_agent(const struct config *c, const struct doctor_unit *u,
		 int (*ask)(const char *app, FILE *out, struct err *e), FILE *out)
{
	CLEANUP(free_p) char *status = NULL;
	size_t size;
	struct err e;
	FILE *to = open_memstream(&status, &size);
	int r;

	if (!to)
		return 0;
	r = ask(c->app, to, &e);
	fclose(to);
	if (r < 0)
		return check_last_run(u, c->app, out);
	return check_written(text_of(status), wall_us(), out) + check_troubles(text_of(status), out);
}
