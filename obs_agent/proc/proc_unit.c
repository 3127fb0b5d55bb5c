#include "proc_unit.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <systemd/sd-bus.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "proc_parse.h"

enum {
	UNIT_NAME_MAX = 255,            /* systemd's own limit */
	CGROUP_MAX = 1024,
	SEARCH_DEPTH = 6,               /* user.slice/user-1.slice/user@1.service/app.slice/UNIT */
	SEARCH_FOLDERS = 4096,
};

static const int64_t SEARCH_EVERY_US = 300 * US_PER_S;
static const int64_t BUS_RETRY_US = 300 * US_PER_S;
static const int64_t BUS_TIMEOUT_US = 5 * US_PER_S;

/* Files of the group: cgroup version 2 has one folder, version 1 a hierarchy per controller. */
enum group_file { GROUP_CPU, GROUP_MEMORY, GROUP_INACTIVE, GROUP_ACTIVE, GROUP_TASKS, GROUP_FILES };

enum { GROUP_TEXT_MAX = 8192 };                 /* memory.stat has some 2,000 bytes */

static const double MB = 1.0 / (1 << 20);

static const struct {
	const char *file, *line;                /* version 2, and the line in it */
	const char *controller, *file_v1, *line_v1;
	double scale, scale_v1;                 /* to us of CPU time, MB, processes */
} group_files[GROUP_FILES] = {
	[GROUP_CPU] = { "cpu.stat", "usage_usec ", "cpuacct", "cpuacct.usage", "", 1, 0.001 },
	[GROUP_MEMORY] = { "memory.current", "", "memory", "memory.usage_in_bytes", "", MB, MB },
	[GROUP_INACTIVE] = { "memory.stat", "inactive_file ", "memory", "memory.stat", "total_inactive_file ",
			     MB, MB },
	[GROUP_ACTIVE] = { "memory.stat", "active_file ", "memory", "memory.stat", "total_active_file ",
			   MB, MB },
	[GROUP_TASKS] = { "pids.current", "", "pids", "pids.current", "", 1, 1 },
};

struct unit {
	char name[UNIT_NAME_MAX + 1];
	char *root;                             /* SYS/fs/cgroup */
	bool v2;
	char cgroup[CGROUP_MAX];                /* "" while not found */
	int fd[GROUP_FILES];
	double cpu_us;                          /* at the last reading, NaN: none */
	int64_t cpu_at_us;
	int64_t search_us;                      /* no search before */

	sd_event *loop;
	sd_bus *bus;
	sd_bus_slot *question;                  /* on its way */
	int64_t bus_us;                         /* not before */
	double restarts;
};

/* ---- where the group is ------------------------------------------------------------- */

static bool join(char *out, size_t size, const char *a, const char *b)
{
	int n = snprintf(out, size, "%s%s%s", a, *a ? "/" : "", b);

	return n >= 0 && (size_t)n < size;
}

/* The folder of the groups of units: systemd's own hierarchy has all of them. */
static bool hierarchy(const struct unit *u, const char *controller, char *out, size_t size)
{
	return u->v2 ? join(out, size, u->root, "") : join(out, size, u->root, controller);
}

static bool is_group(const struct unit *u, const char *cgroup)
{
	char base[CGROUP_MAX], path[2 * CGROUP_MAX];

	return hierarchy(u, "systemd", base, sizeof base) &&
	       join(path, sizeof path, base, cgroup) && access(path, F_OK) == 0;
}

/* my-app@1.service is in system.slice/system-my\x2dapp.slice. */
static bool instance_slice(const char *unit, char *out, size_t size)
{
	const char *at = strchr(unit, '@');
	struct buf b = BUF(CGROUP_MAX);
	bool ok = at && buf_adds(&b, "system.slice/system-");

	for (const char *c = unit; ok && c < at; c++)
		ok = *c == '-' ? buf_adds(&b, "\\x2d") : buf_addc(&b, *c);
	ok = ok && buf_adds(&b, ".slice") && b.len < size;
	if (ok) {
		memcpy(out, b.data, b.len);
		out[b.len] = '\0';
	}
	buf_free(&b);
	return ok;
}

/* Depth first, at most *budget folders. `path` is the folder to search, relative
 * to `base`; on success it is the group. */
static bool search(const char *base, const char *unit, char path[CGROUP_MAX], int depth, int *budget)
{
	char full[2 * CGROUP_MAX];
	size_t len = strlen(path);
	CLEANUP(closedir_p) DIR *d = NULL;
	struct dirent *e;

	if (depth == 0 || --*budget < 0 || !join(full, sizeof full, base, path))
		return false;
	d = opendir(full);
	while (d && (e = readdir(d))) {
		/* Only these have groups of units in them. */
		const char *dot = strrchr(e->d_name, '.');
		bool found = strcmp(e->d_name, unit) == 0;
		bool inner = dot && (strcmp(dot, ".slice") == 0 || strcmp(dot, ".service") == 0);

		if (e->d_name[0] == '.' || e->d_type == DT_REG || (!found && !inner))
			continue;
		path[len] = '\0';
		if (snprintf(path + len, CGROUP_MAX - len, "%s%s", len ? "/" : "", e->d_name) >=
		    (int)(CGROUP_MAX - len))
			continue;
		if (found || search(base, unit, path, depth - 1, budget))
			return true;
	}
	path[len] = '\0';
	return false;
}

/* The usual places are cheap to try each time; the search finds units that are elsewhere. */
static bool find_group(struct unit *u, int64_t now_us)
{
	char slice[CGROUP_MAX], base[CGROUP_MAX];
	int budget = SEARCH_FOLDERS;

	if (join(u->cgroup, sizeof u->cgroup, "system.slice", u->name) && is_group(u, u->cgroup))
		return true;
	if (instance_slice(u->name, slice, sizeof slice) &&
	    join(u->cgroup, sizeof u->cgroup, slice, u->name) && is_group(u, u->cgroup))
		return true;
	u->cgroup[0] = '\0';
	if (now_us < u->search_us)
		return false;
	u->search_us = now_us + SEARCH_EVERY_US;
	return hierarchy(u, "systemd", base, sizeof base) &&
	       search(base, u->name, u->cgroup, SEARCH_DEPTH, &budget);
}

/* ---- what is in it ------------------------------------------------------------------- */

static void close_group(struct unit *u)
{
	for (int i = 0; i < GROUP_FILES; i++)
		close_p(&u->fd[i]);
	u->cpu_us = NAN;
}

static void open_group(struct unit *u)
{
	char base[CGROUP_MAX], path[3 * CGROUP_MAX];

	for (int i = 0; i < GROUP_FILES; i++)
		if (hierarchy(u, group_files[i].controller, base, sizeof base) &&
		    snprintf(path, sizeof path, "%s/%s/%s", base, u->cgroup,
			     u->v2 ? group_files[i].file : group_files[i].file_v1) < (int)sizeof path)
			u->fd[i] = open(path, O_RDONLY | O_CLOEXEC);
}

/* False: the group is gone, and its files give ENODEV. */
static bool read_group(struct unit *u, double v[GROUP_FILES])
{
	bool any = false;
	char text[GROUP_TEXT_MAX];

	for (int i = 0; i < GROUP_FILES; i++) {
		const char *line = u->v2 ? group_files[i].line : group_files[i].line_v1;
		ssize_t n = u->fd[i] < 0 ? -1 : pread(u->fd[i], text, sizeof text, 0);

		v[i] = NAN;
		if (n <= 0)
			continue;
		any = true;
		if (proc_number((struct text){ text, (size_t)n }, line, 0, "", &v[i]))
			v[i] *= u->v2 ? group_files[i].scale : group_files[i].scale_v1;
	}
	return any;
}

/* Find, open and read; twice, because a restart gives the unit a new group under
 * the old name. */
static void current_group(struct unit *u, int64_t now_us, double v[GROUP_FILES])
{
	if (u->cgroup[0] && read_group(u, v))
		return;
	close_group(u);
	if ((!u->cgroup[0] || !is_group(u, u->cgroup)) && !find_group(u, now_us))
		return;
	open_group(u);
	read_group(u, v);
}

/* ---- restarts ------------------------------------------------------------------------- */

static void bus_close(struct unit *u)
{
	u->question = sd_bus_slot_unref(u->question);
	if (u->bus)
		sd_bus_detach_event(u->bus);
	u->bus = sd_bus_close_unref(u->bus);
}

static void bus_failed(struct unit *u)
{
	u->restarts = NAN;
	u->bus_us = mono_us() + BUS_RETRY_US;
	bus_close(u);
}

/* "No such unit" is an answer; a dead bus is none and is opened anew later. */
static bool refused(struct unit *u, sd_bus_message *m)
{
	if (!sd_bus_message_is_method_error(m, NULL))
		return false;
	if (sd_bus_message_is_method_error(m, "org.freedesktop.systemd1.NoSuchUnit"))
		u->restarts = NAN;
	else
		bus_failed(u);
	return true;
}

static int on_restarts(sd_bus_message *m, void *data, sd_bus_error *error)
{
	struct unit *u = data;
	uint32_t n;

	(void)error;
	u->question = sd_bus_slot_unref(u->question);
	if (!refused(u, m))
		u->restarts = sd_bus_message_read(m, "v", "u", &n) < 0 ? NAN : (double)n;
	return 0;
}

static int on_unit(sd_bus_message *m, void *data, sd_bus_error *error)
{
	struct unit *u = data;
	const char *path;

	(void)error;
	u->question = sd_bus_slot_unref(u->question);
	if (refused(u, m))
		return 0;
	if (sd_bus_message_read(m, "o", &path) < 0 ||
	    sd_bus_call_method_async(u->bus, &u->question, "org.freedesktop.systemd1", path,
				     "org.freedesktop.DBus.Properties", "Get", on_restarts, u, "ss",
				     "org.freedesktop.systemd1.Service", "NRestarts") < 0)
		bus_failed(u);
	return 0;
}

static int bus_open(struct unit *u)
{
	int r = sd_bus_open_system(&u->bus);

	if (r < 0)
		return r;
	sd_bus_set_method_call_timeout(u->bus, (uint64_t)BUS_TIMEOUT_US);
	return sd_bus_attach_event(u->bus, u->loop, SD_EVENT_PRIORITY_IDLE);
}

/* GetUnit first: asked for a property, systemd would load any name and answer 0. */
static void ask_restarts(struct unit *u, int64_t now_us)
{
	if (u->bus && sd_bus_is_open(u->bus) <= 0)
		bus_failed(u);
	if (u->question || (!u->bus && now_us < u->bus_us))
		return;
	if ((!u->bus && bus_open(u) < 0) ||
	    sd_bus_call_method_async(u->bus, &u->question, "org.freedesktop.systemd1",
				     "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
				     "GetUnit", on_unit, u, "s", u->name) < 0)
		bus_failed(u);
}

/* ---- the whole ------------------------------------------------------------------------ */

static bool set_name(struct unit *u, const char *name)
{
	const char *type = strrchr(name, '.');
	int n = snprintf(u->name, sizeof u->name, "%s%s", name, type ? "" : ".service");

	return name[0] && name[0] != '.' && n > 0 && n < (int)sizeof u->name && !strchr(name, '/');
}

struct unit *unit_new(sd_event *loop, const char *name, const char *sys_root)
{
	struct unit *u = calloc(1, sizeof *u);
	char file[CGROUP_MAX];

	if (!u)
		return NULL;
	for (int i = 0; i < GROUP_FILES; i++)
		u->fd[i] = -1;
	u->cpu_us = u->restarts = NAN;
	u->loop = sd_event_ref(loop);
	if (!set_name(u, name) || asprintf(&u->root, "%s/fs/cgroup", sys_root) < 0 ||
	    !join(file, sizeof file, u->root, "cgroup.controllers")) {
		unit_free(u);
		return NULL;
	}
	u->v2 = access(file, F_OK) == 0;
	return u;
}

/* Memory without page cache, as free counts: the kernel charges the pages of files that
 * the unit read or wrote to its group, and drops them when memory is needed. Shared
 * memory and tmpfs are not page cache here: the kernel counts them as anonymous. */
static double memory_in_use(const double v[GROUP_FILES])
{
	double used = v[GROUP_MEMORY];

	used -= v[GROUP_INACTIVE] > 0 ? v[GROUP_INACTIVE] : 0;
	used -= v[GROUP_ACTIVE] > 0 ? v[GROUP_ACTIVE] : 0;
	return used < 0 ? 0 : used;             /* the files are read one after the other */
}

void unit_sample(struct unit *u, int64_t now_us, double value[METRIC_COUNT])
{
	double v[GROUP_FILES] = { NAN, NAN, NAN, NAN, NAN };

	current_group(u, now_us, v);
	/* NaN fails each comparison; a restarted unit begins at 0 again. */
	if (v[GROUP_CPU] >= u->cpu_us && now_us > u->cpu_at_us)
		value[METRIC_APP_CPU] = 100 * (v[GROUP_CPU] - u->cpu_us) / (double)(now_us - u->cpu_at_us);
	u->cpu_us = v[GROUP_CPU];
	u->cpu_at_us = now_us;
	value[METRIC_APP_MEMORY_MB] = memory_in_use(v);
	value[METRIC_APP_PROCESSES] = v[GROUP_TASKS];
	value[METRIC_APP_RESTARTS] = u->restarts;
	ask_restarts(u, now_us);
}

const char *unit_cgroup(const struct unit *u)
{
	return u->cgroup[0] ? u->cgroup : NULL;
}

void unit_free(struct unit *u)
{
	if (!u)
		return;
	bus_close(u);
	close_group(u);
	sd_event_unref(u->loop);
	free(u->root);
	free(u);
}
