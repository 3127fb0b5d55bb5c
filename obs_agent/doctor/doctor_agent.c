/*
 * doctor_agent.c - what the running agent says of itself, and how its last run ended.
 *
 * The database tells when it heard from the agent last, and whether that is too long ago: see pg_doctor.c.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cleanup.h"
#include "common/parse.h"
#include "doctor.h"

enum {
	FENCED = 76,                    /* exit status: RUN_FENCED */
	WRONG_CONFIG = 78,
	TEXT_MAX = 600,
};

/* The text behind `"name":"` from `s` on, its escapes resolved as far as a reader needs it; where it ends, or NULL. */
static const char *text_after(const char *s, const char *name, char out[TEXT_MAX])
{
	char key[64];
	size_t n = 0;

	snprintf(key, sizeof key, "\"%s\":\"", name);
	s = strstr(s, key);
	if (!s)
		return NULL;
	for (s += strlen(key); *s && *s != '"'; s++) {
		if (*s == '\\' && s[1])
			s++;
		if (n + 1 < TEXT_MAX)
			out[n++] = *s;
	}
	out[n] = '\0';
	return s;
}

/* It fails if the agent reports an error: a commit clears that. The database judges how old is too old. */
static int check_written(const char *status, int64_t now_us, FILE *out)
{
	char when[TEXT_MAX], error[TEXT_MAX] = "";
	int64_t at, age_s;

	text_after(status, "last_error", error);
	if (!text_after(status, "last_commit", when) || !parse_rfc3339(text_of(when), &at))
		return doctor_line(out, false, *error ? error : "wait a minute and ask again: systemctl status says what it does",
				   "the agent runs, and has written nothing yet");
	age_s = (now_us - at) / US_PER_S;
	return doctor_line(out, !*error, error, "the agent runs, and wrote its last row %" PRId64 " s ago", age_s);
}

/* What it refuses or cannot read, whatever a person's shell may see. */
static int check_troubles(const char *status, FILE *out)
{
	const char *s = strstr(status, "\"troubles\":["), *end = s ? strchr(s, ']') : NULL;
	char path[TEXT_MAX], why[TEXT_MAX];
	int failed = 0;

	while (s && end && (s = text_after(s, "path", path)) && s < end && (s = text_after(s, "why", why))) {
		failed += doctor_line(out, false, NULL, "the running agent cannot follow %s: %s", path, why);
		if (s[1] != '}' || s[2] != ',')
			break;
	}
	return failed;
}

static int check_last_run(const struct doctor_unit *u, const char *app, FILE *out)
{
	char remedy[256];

	if (strcmp(u->exit_status, "76") == 0)
		return doctor_line(out, false, "two agents have this server's and application's name: stop one, or give it a vps_name of its "
				   "own, then systemctl restart", "the agent ended because another one took its name over (%d)", FENCED);
	if (strcmp(u->exit_status, "78") == 0)
		return doctor_line(out, false, "mend what is said above, then systemctl restart",
				   "the agent ended because its configuration was wrong (%d)", WRONG_CONFIG);
	snprintf(remedy, sizeof remedy, "systemctl enable --now obs-agent@%s", app);
	if (u->found && *u->sub_state)
		return doctor_line(out, false, remedy, "the agent does not run (%s)", u->sub_state);
	doctor_warn(out, "no agent for %s answers here; start it: %s", app, remedy);
	return 0;
}

int doctor_agent(const struct config *c, const struct doctor_unit *u, int (*ask)(const char *app, FILE *out, struct err *e), FILE *out)
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
	return check_written(status, wall_us(), out) + check_troubles(status, out);
}
