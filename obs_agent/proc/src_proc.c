/*
 * src_proc.c - the metrics of the machine and of the application's unit.
 *
 * Two tables (files, gauges) say what to read from which file; values that need a
 * calculation have functions. Files stay open and are read again with pread(); if one
 * is missing, its values are NaN, and the next sample looks for it again. Rates use
 * the monotonic clock. Needs no privilege, and works inside the hardened unit.
 *
 * A reading at the start gives rates to the first sample, one second later. Further
 * samples come at multiples of the interval by the wall clock, so that charts of many
 * servers line up, plus a share of it that depends on the server's name, so that a
 * fleet does not reach the database in the same second.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/hash.h"
#include "obs_agent/agent.h"
#include "proc_details.h"
#include "proc_mounts.h"
#include "proc_parse.h"
#include "proc_traffic.h"
#include "proc_unit.h"
#include "obs_agent/source.h"

enum {
	FILE_MAX = 4 << 20,             /* longer files are cut at a line */
	READ_CHUNK = 16 << 10,
	JITTER_SHARE = 10,              /* at most a tenth of the interval */
};

static const int64_t FIRST_SAMPLE_US = 1 * US_PER_S;
static const int64_t FIRST_ACCURACY_US = 100 * US_PER_MS;
static const int64_t ACCURACY_US = 1 * US_PER_S;        /* lets the kernel merge wake-ups */

/* ---- the tables ----------------------------------------------------------------------- */

enum proc_file { F_STAT, F_MEMINFO, F_ARC, F_LOADAVG, F_UPTIME, F_NET, F_DISKS, F_TCP, F_TCP6, F_PSI_CPU,
		 F_PSI_MEMORY, F_PSI_IO, F_CPUS, F_MOUNTS, FILES };

static const struct {
	const char *path;
	size_t limit;                   /* read no more than that; 0: all */
} files[FILES] = {
	[F_STAT] = { "/proc/stat", 1024 },              /* the first line is all we want */
	[F_MEMINFO] = { "/proc/meminfo", 0 },
	[F_ARC] = { "/proc/spl/kstat/zfs/arcstats", 0 },
	[F_LOADAVG] = { "/proc/loadavg", 256 },
	[F_UPTIME] = { "/proc/uptime", 256 },
	[F_NET] = { "/proc/net/dev", 0 },
	[F_DISKS] = { "/proc/diskstats", 0 },
	[F_TCP] = { "/proc/net/sockstat", 1024 },
	[F_TCP6] = { "/proc/net/sockstat6", 1024 },
	[F_PSI_CPU] = { "/proc/pressure/cpu", 256 },
	[F_PSI_MEMORY] = { "/proc/pressure/memory", 256 },
	[F_PSI_IO] = { "/proc/pressure/io", 256 },
	[F_CPUS] = { "/sys/devices/system/cpu/online", 4096 },
	[F_MOUNTS] = { "/proc/self/mountinfo", 0 },
};

/* Numbers taken as they are; see proc_number(). Two rows of one metric add up. */
static const struct gauge {
	enum proc_file file;
	const char *line;
	int column;
	const char *word;
	enum metric metric;
} gauges[] = {
	{ F_LOADAVG,    "",      0, "",       METRIC_LOAD_1M },
	{ F_LOADAVG,    "",      1, "",       METRIC_LOAD_5M },
	{ F_LOADAVG,    "",      2, "",       METRIC_LOAD_15M },
	{ F_LOADAVG,    "",      3, "/",      METRIC_PROCESSES },
	{ F_UPTIME,     "",      0, "",       METRIC_UPTIME },
	{ F_TCP,        "TCP:",  0, "inuse ", METRIC_TCP_CONNECTIONS },
	{ F_TCP6,       "TCP6:", 0, "inuse ", METRIC_TCP_CONNECTIONS },
	{ F_PSI_CPU,    "some",  0, "avg60=", METRIC_PSI_CPU },
	{ F_PSI_MEMORY, "some",  0, "avg60=", METRIC_PSI_MEMORY },
	{ F_PSI_IO,     "some",  0, "avg60=", METRIC_PSI_IO },
};

/* ---- the state ------------------------------------------------------------------------ */

struct proc {
	struct agent *agent;
	const char *root;                       /* goes before every path: "" */
	char *sys_root;
	sd_event_source *timer;
	int fd[FILES];
	struct buf text;
	struct cpu_times cpu;
	bool have_cpu;
	struct traffic_table net, disks;
	struct mounts mounts;
	bool have_mounts, mounts_cut;
	struct unit *unit;
	char *unit_name;
	struct details details;
	uint64_t samples;
	int64_t last_us, cost_us;
};

static int open_file(const struct proc *p, const char *path)
{
	char full[512];

	if (snprintf(full, sizeof full, "%s%s", p->root, path) >= (int)sizeof full)
		return -1;
	return open(full, O_RDONLY | O_CLOEXEC);
}

/* The file's text, valid until the next call; empty when it cannot be read. */
static struct text read_file(struct proc *p, enum proc_file f)
{
	size_t limit = files[f].limit ? files[f].limit : FILE_MAX;
	ssize_t n = 0;

	buf_reset(&p->text);
	if (p->fd[f] < 0)
		p->fd[f] = open_file(p, files[f].path);
	if (p->fd[f] < 0)
		return (struct text){ "", 0 };
	do {
		size_t want = limit - p->text.len < READ_CHUNK ? limit - p->text.len : READ_CHUNK;
		char *to = want ? buf_room(&p->text, want) : NULL;

		n = to ? pread(p->fd[f], to, want, (off_t)p->text.len) : 0;
		p->text.len += n > 0 ? (size_t)n : 0;
	} while (n > 0 && !files[f].limit);     /* a limited one comes in one piece */
	return (struct text){ p->text.data, p->text.len };
}

/* ---- one reading ---------------------------------------------------------------------- */

static void read_gauges(struct proc *p, double value[METRIC_COUNT])
{
	struct text t = { "", 0 };
	double v;

	for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++) {
		const struct gauge *g = &gauges[i];

		if (i == 0 || g->file != g[-1].file)
			t = read_file(p, g->file);
		if (proc_number(t, g->line, g->column, g->word, &v))
			value[g->metric] = isnan(value[g->metric]) ? v : value[g->metric] + v;
	}
}

/* NaN stays. */
static double without(double used, double cache)
{
	return used < cache ? 0 : used - cache;
}

static void read_memory(struct proc *p, double value[METRIC_COUNT])
{
	struct memory m;

	proc_memory(read_file(p, F_MEMINFO), &m);
	if (!p->mounts.own_meminfo)
		m.used_kb = without(m.used_kb, proc_arc_kb(read_file(p, F_ARC)));
	value[METRIC_MEMORY_TOTAL_MB] = m.total_kb / 1024;
	value[METRIC_MEMORY_MB] = m.used_kb / 1024;
	value[METRIC_MEMORY_PERCENT] = 100 * m.used_kb / m.total_kb;
	value[METRIC_SWAP_MB] = m.swap_used_kb / 1024;
	/* No swap at all is 0 %, as is nothing used of it. */
	value[METRIC_SWAP_PERCENT] = m.swap_used_kb > 0 ? 100 * m.swap_used_kb / m.swap_total_kb
							: m.swap_used_kb;
}

static void read_cpu(struct proc *p, double value[METRIC_COUNT])
{
	struct cpu_times now;
	struct cpu_shares s;
	bool have = proc_cpu(read_file(p, F_STAT), &now);
	int cores = proc_list_count(read_file(p, F_CPUS));

	if (have && p->have_cpu && proc_cpu_shares(&p->cpu, &now, &s)) {
		value[METRIC_CPU_PERCENT] = s.busy;
		value[METRIC_CPU_USER] = s.user;
		value[METRIC_CPU_SYSTEM] = s.system;
		value[METRIC_CPU_IOWAIT] = s.iowait;
		value[METRIC_CPU_STEAL] = s.steal;
	}
	if (have)
		p->cpu = now;
	p->have_cpu = have;
	if (cores > 0)
		value[METRIC_CPU_COUNT] = cores;
}

static void read_traffic(struct proc *p, int64_t now_us, double value[METRIC_COUNT])
{
	if (traffic_read(&p->net, read_file(p, F_NET), now_us, p->sys_root))
		p->details.changed = true;
	traffic_sum(&p->net, &value[METRIC_NET_RX], &value[METRIC_NET_TX]);
	traffic_read(&p->disks, read_file(p, F_DISKS), now_us, p->sys_root);
	traffic_sum(&p->disks, &value[METRIC_DISK_READ], &value[METRIC_DISK_WRITE]);
}

/* The kernel marks the open file when a mount comes, goes or changes. */
static bool mounts_changed(const struct proc *p)
{
	struct pollfd fd = { .fd = p->fd[F_MOUNTS], .events = POLLPRI };

	return !p->have_mounts || (poll(&fd, 1, 0) > 0 && (fd.revents & (POLLPRI | POLLERR)));
}

static void read_mounts(struct proc *p, double value[METRIC_COUNT])
{
	const struct mount_usage *root;

	if (mounts_changed(p)) {
		if (mounts_read(&p->mounts, read_file(p, F_MOUNTS)))
			p->details.changed = true;
		p->have_mounts = p->text.len > 0;
		p->mounts_cut = p->text.len >= FILE_MAX;
	}
	mounts_measure(&p->mounts, p->root);
	root = mounts_root(&p->mounts);
	if (!root)
		return;
	value[METRIC_DISK_PERCENT] = root->percent;
	value[METRIC_DISK_GB] = root->used_gb;
	value[METRIC_DISK_TOTAL_GB] = root->total_gb;
	value[METRIC_INODE_PERCENT] = root->inode_percent;
}

static void read_all(struct proc *p, int64_t now_us, double value[METRIC_COUNT])
{
	for (int i = 0; i < METRIC_COUNT; i++)
		value[i] = NAN;
	read_mounts(p, value);          /* before memory: it tells whose /proc/meminfo is */
	read_gauges(p, value);
	read_memory(p, value);
	read_cpu(p, value);
	read_traffic(p, now_us, value);
	if (p->unit)
		unit_sample(p->unit, now_us, value);
}

static void read_boot_id(struct proc *p)
{
	CLEANUP(close_p) int fd = open_file(p, "/proc/sys/kernel/random/boot_id");
	char *id = p->details.boot_id;
	ssize_t n = fd < 0 ? 0 : read(fd, id, BOOT_ID_MAX - 1);

	id[n > 0 ? n : 0] = '\0';
	id[strcspn(id, "\n")] = '\0';
}

static void take_sample(struct proc *p, int64_t now_us)
{
	struct sample s = { .kind = SAMPLE_METRICS, .timestamp_us = wall_us() };
	struct details_parts parts = { .mounts = &p->mounts, .interfaces = &p->net, .disks = &p->disks };
	char left_out[LEFT_OUT_SIZE];

	read_all(p, now_us, s.metrics.value);
	parts.mounts_cut = p->mounts_cut;
	s.metrics.details = details_text(&p->details, &parts, now_us);
	if (details_left_out(&p->details, &parts, left_out))
		logcore_warning(agent_log(p->agent), left_out);
	agent_add(p->agent, &s);
	p->samples++;
	p->last_us = s.timestamp_us;
}

/* ---- when ----------------------------------------------------------------------------- */

static int64_t jitter_us(const char *vps_name, int64_t interval_us)
{
	return (int64_t)(hash_str(HASH_START, vps_name) % (uint64_t)(interval_us / JITTER_SHARE + 1));
}

/* From now to the next sample: half an interval at least, one and a half at most,
 * whatever the wall clock does. */
static int64_t delay_us(int64_t wall, int64_t interval_us, int64_t jitter)
{
	int64_t past = (wall - jitter) % interval_us;
	int64_t delay;

	if (past < 0)
		past += interval_us;
	delay = interval_us - past;
	return delay < interval_us / 2 ? delay + interval_us : delay;
}

static int arm(struct proc *p, sd_event_source *timer)
{
	const struct config *c = agent_config(p->agent);
	int64_t jitter = jitter_us(c->vps_name, c->interval_us);
	int r = sd_event_source_set_time_relative(timer,
						  (uint64_t)delay_us(wall_us(), c->interval_us, jitter));

	if (r >= 0)
		r = sd_event_source_set_time_accuracy(timer, (uint64_t)ACCURACY_US);
	return r < 0 ? r : sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *timer, uint64_t usec, void *data)
{
	struct proc *p = data;
	int64_t begin = mono_us();

	(void)usec;
	take_sample(p, begin);
	p->cost_us = mono_us() - begin;
	logcore_debug(agent_log(p->agent), "metrics taken", logcore_kv("us", p->cost_us),
		      logcore_kv("file_systems", p->mounts.n),
		      logcore_kv("interfaces", traffic_counted(&p->net)));
	return arm(p, timer);
}

/* ---- the source ----------------------------------------------------------------------- */

static void proc_free(struct proc *p)
{
	if (!p)
		return;
	sd_event_source_disable_unref(p->timer);
	unit_free(p->unit);
	for (int i = 0; i < FILES; i++)
		close_p(&p->fd[i]);
	buf_free(&p->text);
	details_free(&p->details);
	free(p->unit_name);
	free(p->sys_root);
	free(p);
}

/* Values of the unit are NaN when it has no name or memory is short. */
static void set_unit(struct proc *p)
{
	const char *name = agent_config(p->agent)->app_unit;

	if (name && p->unit_name && strcmp(name, p->unit_name) == 0)
		return;
	unit_free(p->unit);
	free(p->unit_name);
	p->unit_name = name ? strdup(name) : NULL;
	p->unit = p->unit_name ? unit_new(agent_loop(p->agent), name, p->sys_root) : NULL;
}

static struct proc *proc_new(struct agent *a, const char *root)
{
	struct proc *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->agent = a;
	p->root = root;
	p->text = BUF(FILE_MAX);
	details_init(&p->details);
	p->net.kind = &traffic_net;
	p->disks.kind = &traffic_disk;
	for (int i = 0; i < FILES; i++)
		p->fd[i] = -1;
	if (asprintf(&p->sys_root, "%s/sys", root) < 0) {
		p->sys_root = NULL;
		proc_free(p);
		return NULL;
	}
	read_boot_id(p);
	set_unit(p);
	return p;
}

static int start_at(struct agent *a, const char *root, void **ret_state, struct err *e)
{
	struct proc *p = proc_new(a, root);
	double first[METRIC_COUNT];
	int r;

	if (!p)
		return err_set(e, ENOMEM, "metrics: not enough memory");
	read_all(p, mono_us(), first);
	r = sd_event_add_time_relative(agent_loop(a), &p->timer, CLOCK_MONOTONIC, (uint64_t)FIRST_SAMPLE_US,
				       (uint64_t)FIRST_ACCURACY_US, on_timer, p);
	if (r < 0) {
		proc_free(p);
		return err_set(e, -r, "metrics: no timer: %s", strerror(-r));
	}
	*ret_state = p;
	return 0;
}

static int proc_start(struct agent *a, void **ret_state, struct err *e)
{
	return start_at(a, "", ret_state, e);
}

static void proc_reload(void *state)
{
	struct proc *p = state;

	set_unit(p);
	if (p->samples > 0)
		arm(p, p->timer);
}

/* The first sample comes a second after the start by itself. */
static bool proc_once(void *state)
{
	return ((struct proc *)state)->samples > 0;
}

static bool proc_status(void *state, struct buf *out)
{
	struct proc *p = state;
	const char *cgroup = p->unit ? unit_cgroup(p->unit) : NULL;

	return buf_addf(out, "{\"samples\":%" PRIu64 ",\"last_sample_us\":%" PRId64 ",\"cost_us\":%" PRId64
			",\"mounts\":%zu,\"interfaces\":%zu,\"unit_cgroup\":",
			p->samples, p->last_us, p->cost_us, p->mounts.n, traffic_counted(&p->net)) &&
	       (cgroup ? buf_add_json(out, text_of(cgroup)) : buf_adds(out, "null")) && buf_addc(out, '}');
}

static void proc_stop(void *state)
{
	proc_free(state);
}

const struct source src_proc = {
	.name = "proc",
	.start = proc_start,
	.reload = proc_reload,
	.once = proc_once,
	.status = proc_status,
	.stop = proc_stop,
};
