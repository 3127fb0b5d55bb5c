/* The source of metrics on a made-up machine, on this one, and with a made-up systemd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "obs_agent/proc/proc_parse.c"
#include "obs_agent/proc/proc_mounts.c"
#include "obs_agent/proc/proc_traffic.c"
#include "obs_agent/proc/proc_unit.c"
#include "obs_agent/proc/src_proc.c"
#include "fake_agent.h"

#include <json-c/json.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define assert_near(a, b, eps) assert_true(fabs((double)(a) - (double)(b)) <= (eps))

#define HUNG_US (120 * US_PER_S)         /* a sample that has not arrived by then never arrives */

static char root[] = "/tmp/observ-root-XXXXXX";
static struct agent agent;

/* Write a file below the root, with its folders. */
static void put_file(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	for (size_t i = 1; path[i]; i++)
		if (path[i] == '/') {
			snprintf(full, sizeof full, "%s%.*s", root, (int)i, path);
			mkdir(full, 0755);
		}
	snprintf(full, sizeof full, "%s%s", root, path);
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void remove_root(void)
{
	char command[600];

	snprintf(command, sizeof command, "rm -rf '%s'/*", root);
	assert_int_equal(system(command), 0);
}

static void make_machine(void)
{
	put_file("/proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3 4\n");
	put_file("/proc/meminfo", "MemTotal: 2048000 kB\nMemAvailable: 1536000 kB\n"
				  "SwapTotal: 1024 kB\nSwapFree: 256 kB\n");
	put_file("/proc/loadavg", "0.50 1.50 2.50 3/456 789\n");
	put_file("/proc/uptime", "12345.67 999.99\n");
	put_file("/proc/net/dev", "eth0: 1000 0 0 0 0 0 0 0 2000 0\n");
	put_file("/proc/diskstats", " 254 0 vda 1 0 1000 0 1 0 2000 0 0 0 0\n");
	put_file("/proc/net/sockstat", "TCP: inuse 5 orphan 0\n");
	put_file("/proc/net/sockstat6", "TCP6: inuse 7\n");
	put_file("/proc/pressure/cpu", "some avg10=0.00 avg60=1.50 avg300=0.71 total=1\n");
	put_file("/proc/pressure/memory", "some avg10=0.00 avg60=2.50 avg300=0.71 total=1\n");
	put_file("/proc/self/mountinfo", "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
					 "28 27 8:1 / /mnt/one\\040two rw - xfs /dev/sda1 rw\n");
	put_file("/proc/sys/kernel/random/boot_id", "553be431-d94e-4714-b753-e758c45fee2a\n");
	put_file("/sys/devices/system/cpu/online", "0-3\n");
	put_file("/sys/class/net/eth0/device/x", "");
	put_file("/sys/block/vda/x", "");
	put_file("/mnt/one two/x", "");
}

static int begin(void **state)
{
	(void)state;
	agent_begin(&agent);
	agent.config.vps_name = "web-1";
	agent.config.interval_us = 60 * US_PER_S;
	make_machine();
	return 0;
}

static int end(void **state)
{
	(void)state;
	agent_end(&agent);
	remove_root();
	return 0;
}

/* ---- whole samples ------------------------------------------------------------------------ */

static const double *last_values(void)
{
	assert_true(agent.n > 0);
	return agent.kept[agent.n - 1].s.metrics.value;
}

static bool last_has_details(void)
{
	return agent.kept[agent.n - 1].s.metrics.details.s != NULL;
}

static void a_fake_machine_gives_the_numbers_of_its_files(void **state)
{
	struct proc *p = proc_new(&agent, root);
	double first[METRIC_COUNT];
	const double *v;

	(void)state;
	read_all(p, 10 * US_PER_S, first);
	assert_true(isnan(first[METRIC_CPU_PERCENT]));
	assert_true(isnan(first[METRIC_NET_RX]));
	put_file("/proc/stat", "cpu  150 10 120 900 10 5 5 0 0 0\n");
	put_file("/proc/net/dev", "eth0: 6000 0 0 0 0 0 0 0 2500 0\n");
	put_file("/proc/diskstats", " 254 0 vda 1 0 1010 0 1 0 2100 0 0 0 0\n");
	take_sample(p, 15 * US_PER_S);
	v = last_values();
	assert_near(v[METRIC_CPU_PERCENT], 45, 1e-9);           /* 60 + 30 of 200 ticks */
	assert_near(v[METRIC_CPU_USER], 30, 1e-9);
	assert_near(v[METRIC_CPU_SYSTEM], 15, 1e-9);
	assert_near(v[METRIC_CPU_IOWAIT], 5, 1e-9);
	assert_near(v[METRIC_CPU_STEAL], 0, 1e-9);
	assert_near(v[METRIC_MEMORY_TOTAL_MB], 2000, 1e-9);
	assert_near(v[METRIC_MEMORY_MB], 500, 1e-9);
	assert_near(v[METRIC_MEMORY_PERCENT], 25, 1e-9);
	assert_near(v[METRIC_SWAP_MB], 0.75, 1e-9);
	assert_near(v[METRIC_SWAP_PERCENT], 75, 1e-9);
	assert_near(v[METRIC_LOAD_1M], 0.5, 1e-9);
	assert_near(v[METRIC_LOAD_5M], 1.5, 1e-9);
	assert_near(v[METRIC_LOAD_15M], 2.5, 1e-9);
	assert_near(v[METRIC_PROCESSES], 456, 1e-9);
	assert_near(v[METRIC_UPTIME], 12345.67, 1e-9);
	assert_near(v[METRIC_NET_RX], 1000, 1e-9);
	assert_near(v[METRIC_NET_TX], 100, 1e-9);
	assert_near(v[METRIC_DISK_READ], 1024, 1e-9);
	assert_near(v[METRIC_DISK_WRITE], 10240, 1e-9);
	assert_near(v[METRIC_TCP_CONNECTIONS], 12, 1e-9);
	assert_near(v[METRIC_PSI_CPU], 1.5, 1e-9);
	assert_near(v[METRIC_PSI_MEMORY], 2.5, 1e-9);
	assert_true(isnan(v[METRIC_PSI_IO]));                   /* no such file */
	assert_near(v[METRIC_CPU_COUNT], 4, 1e-9);
	assert_true(v[METRIC_DISK_PERCENT] > 0 && v[METRIC_DISK_PERCENT] <= 100);
	assert_true(v[METRIC_DISK_GB] < v[METRIC_DISK_TOTAL_GB]);
	assert_true(isnan(v[METRIC_APP_CPU]));
	proc_free(p);
}

/* ZFS uses 400 MB of the 500 and can free all but 100. */
static void the_cache_of_zfs_is_available_memory(void **state)
{
	struct proc *p = proc_new(&agent, root);

	(void)state;
	put_file("/proc/spl/kstat/zfs/arcstats", "13 1 0x01 123 33456 57 12\nname type data\n"
						 "c_min                           4    104857600\nsize       "
						 "                     4    419430400\n");
	take_sample(p, US_PER_S);
	assert_near(last_values()[METRIC_MEMORY_MB], 200, 1e-9);
	assert_near(last_values()[METRIC_MEMORY_PERCENT], 10, 1e-9);
	/* In a container with its own memory, the ARC belongs to the machine. */
	put_file("/proc/self/mountinfo", "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
					 "28 27 0:52 /proc/meminfo /proc/meminfo rw - fuse.lxcfs lxcfs rw\n");
	p->have_mounts = false;
	take_sample(p, 2 * US_PER_S);
	assert_near(last_values()[METRIC_MEMORY_MB], 500, 1e-9);
	proc_free(p);
}

static void the_details_count_what_exceeds_the_limits(void **state)
{
	struct buf b = BUF(1 << 20);
	struct proc *p;

	(void)state;
	for (int i = 0; i < MOUNTS_MAX + 3; i++)
		buf_addf(&b, "%d 27 0:%d / /tank/%d rw - zfs tank rw\n", 100 + i, 100 + i, i);
	put_file("/proc/self/mountinfo", buf_cstr(&b));
	buf_reset(&b);
	for (int i = 0; i < TRAFFIC_MAX + 5; i++)
		buf_addf(&b, "eth%d: 1 0 0 0 0 0 0 0 1 0\n", i);
	put_file("/proc/net/dev", buf_cstr(&b));
	p = proc_new(&agent, root);
	take_sample(p, US_PER_S);
	assert_non_null(strstr(agent.kept[0].s.metrics.details.s,
			       ",\"mounts_left_out\":3,\"interfaces_left_out\":5}"));
	assert_true(p->details.told_left_out);
	proc_free(p);
	buf_free(&b);
}

static void an_empty_machine_gives_no_numbers_and_no_crash(void **state)
{
	struct proc *p;

	(void)state;
	remove_root();
	p = proc_new(&agent, root);
	take_sample(p, US_PER_S);
	take_sample(p, 2 * US_PER_S);
	for (int i = 0; i < METRIC_COUNT; i++)
		assert_true(isnan(last_values()[i]));
	make_machine();                                         /* files that appear later are found */
	take_sample(p, 3 * US_PER_S);
	assert_near(last_values()[METRIC_LOAD_1M], 0.5, 1e-9);
	proc_free(p);
}

static void details_are_json_with_mounts_and_interfaces(void **state)
{
	struct proc *p = proc_new(&agent, root);
	struct json_object *o, *list, *x, *v;

	(void)state;
	take_sample(p, US_PER_S);
	o = json_tokener_parse(agent.kept[0].s.metrics.details.s);
	assert_non_null(o);
	assert_true(json_object_object_get_ex(o, "boot_id", &v));
	assert_string_equal(json_object_get_string(v), "553be431-d94e-4714-b753-e758c45fee2a");
	assert_true(json_object_object_get_ex(o, "mounts", &list));
	assert_int_equal(json_object_array_length(list), 2);
	x = json_object_array_get_idx(list, 1);
	assert_true(json_object_object_get_ex(x, "mount", &v));
	assert_string_equal(json_object_get_string(v), "/mnt/one two");
	assert_true(json_object_object_get_ex(x, "percent", &v));
	assert_true(json_object_object_get_ex(x, "total_gb", &v));
	assert_true(json_object_get_double(v) > 0); /* the folder was really read; it may be empty */
	assert_true(json_object_object_get_ex(o, "interfaces", &list));
	assert_int_equal(json_object_array_length(list), 1);
	json_object_put(o);
	proc_free(p);
}

static void details_are_sent_again_only_when_something_changed(void **state)
{
	struct proc *p = proc_new(&agent, root);

	(void)state;
	take_sample(p, 1 * US_PER_S);
	assert_true(last_has_details());
	take_sample(p, 2 * US_PER_S);
	assert_false(last_has_details());
	put_file("/proc/net/dev", "eth0: 1 0 0 0 0 0 0 0 2 0\neth1: 1 0 0 0 0 0 0 0 2 0\n");
	put_file("/sys/class/net/eth1/device/x", "");
	take_sample(p, 3 * US_PER_S);
	assert_true(last_has_details());
	take_sample(p, 4 * US_PER_S);
	assert_false(last_has_details());
	p->mounts.m[0].shown_percent += 0.6;
	take_sample(p, 5 * US_PER_S);
	assert_true(last_has_details());
	take_sample(p, 5 * US_PER_S + DETAILS_EVERY_S * US_PER_S - 1);
	assert_false(last_has_details());
	take_sample(p, 5 * US_PER_S + DETAILS_EVERY_S * US_PER_S);
	assert_true(last_has_details());
	proc_free(p);
}

/* ---- when --------------------------------------------------------------------------------- */

static void ticks_are_aligned_and_never_far_from_the_interval(void **state)
{
	const int64_t interval = 60 * US_PER_S, jitter = 2 * US_PER_S;

	(void)state;
	/* 07:00:02.5 is half a second late: the next one is at 07:01:02, not later. */
	assert_int_equal(delay_us(25200 * US_PER_S + 2500 * US_PER_MS, interval, jitter),
			 59500 * US_PER_MS);
	/* The first sample was just before a tick, which is skipped. */
	assert_int_equal(delay_us(25201 * US_PER_S, interval, jitter), 61 * US_PER_S);
	for (int64_t wall = -200 * US_PER_S; wall < 200 * US_PER_S; wall += 333333) {
		int64_t d = delay_us(wall, interval, jitter);

		assert_in_range(d, interval / 2, interval * 3 / 2);
		assert_int_equal(((wall + d - jitter) % interval + interval) % interval, 0);
	}
}

static void jitter_differs_by_name_and_is_a_tenth_at_most(void **state)
{
	int64_t least = INT64_MAX, most = 0;
	char name[16];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		int64_t j;

		snprintf(name, sizeof name, "web-%d", i);
		j = jitter_us(name, 60 * US_PER_S);
		assert_int_equal(j, jitter_us(name, 60 * US_PER_S));
		least = j < least ? j : least;
		most = j > most ? j : most;
	}
	assert_in_range(most, 5900 * US_PER_MS, 6 * US_PER_S);
	assert_in_range(least, 0, 100 * US_PER_MS);
}

static void this_machine_is_measured_a_second_after_the_start(void **state)
{
	void *source;
	struct err e;
	const double *v;
	int64_t before_us = mono_us();
	uint64_t due_us;

	(void)state;
	agent.config.interval_us = 10 * US_PER_S;
	assert_int_equal(src_proc.start(&agent, &source, &e), 0);
	assert_true(sd_event_source_get_time(((struct proc *)source)->timer, &due_us) >= 0);
	assert_in_range(due_us, before_us + US_PER_S, mono_us() + US_PER_S);
	assert_false(src_proc.once(source));
	assert_true(loop_until(&agent, 1, HUNG_US));
	assert_true(mono_us() >= (int64_t)due_us);
	assert_true(src_proc.once(source));
	v = last_values();
	assert_true(v[METRIC_CPU_PERCENT] >= 0 && v[METRIC_CPU_PERCENT] <= 100);
	assert_true(v[METRIC_CPU_USER] + v[METRIC_CPU_SYSTEM] + v[METRIC_CPU_IOWAIT] + v[METRIC_CPU_STEAL] <=
		    100.001);
	assert_true(v[METRIC_MEMORY_PERCENT] > 0 && v[METRIC_MEMORY_PERCENT] < 100);
	assert_int_equal(v[METRIC_CPU_COUNT], sysconf(_SC_NPROCESSORS_ONLN));
	assert_true(v[METRIC_UPTIME] > 0);
	assert_true(v[METRIC_PROCESSES] >= 1);
	assert_true(v[METRIC_TCP_CONNECTIONS] >= 0);
	src_proc.reload(source);
	src_proc.stop(source);
}

static void status_is_json(void **state)
{
	struct proc *p = proc_new(&agent, root);
	struct buf b = BUF(4096);
	struct json_object *o, *v;

	(void)state;
	take_sample(p, US_PER_S);
	assert_true(proc_status(p, &b));
	o = json_tokener_parse(buf_cstr(&b));
	assert_non_null(o);
	assert_true(json_object_object_get_ex(o, "samples", &v));
	assert_int_equal(json_object_get_int(v), 1);
	json_object_put(o);
	buf_free(&b);
	proc_free(p);
}

/* ---- the application's unit --------------------------------------------------------------- */

static void sample_unit(struct unit *u, int64_t now_us, double v[METRIC_COUNT])
{
	for (int i = 0; i < METRIC_COUNT; i++)
		v[i] = NAN;
	unit_sample(u, now_us, v);
}

static struct unit *unit_below_root(const char *name)
{
	char sys[512];

	snprintf(sys, sizeof sys, "%s/sys", root);
	return unit_new(agent.loop, name, sys);
}

#define V2 "/sys/fs/cgroup/"

static void put_group_v2(const char *group, const char *usage, const char *memory, const char *tasks)
{
	char path[512];

	put_file(V2 "cgroup.controllers", "cpu memory pids\n");
	snprintf(path, sizeof path, V2 "%s/cpu.stat", group);
	put_file(path, usage);
	snprintf(path, sizeof path, V2 "%s/memory.current", group);
	put_file(path, memory);
	snprintf(path, sizeof path, V2 "%s/pids.current", group);
	put_file(path, tasks);
}

static void a_unit_is_measured_by_its_cgroup(void **state)
{
	double v[METRIC_COUNT];
	struct unit *u;

	(void)state;
	put_group_v2("system.slice/my-app.service", "usage_usec 1000000\nuser_usec 9\n", "10485760\n", "7\n");
	u = unit_below_root("my-app");
	sample_unit(u, 10 * US_PER_S, v);
	assert_true(isnan(v[METRIC_APP_CPU]));
	assert_near(v[METRIC_APP_MEMORY_MB], 10, 1e-9);
	assert_near(v[METRIC_APP_PROCESSES], 7, 1e-9);
	assert_string_equal(unit_cgroup(u), "system.slice/my-app.service");
	put_group_v2("system.slice/my-app.service", "usage_usec 2500000\n", "max\n", "8\n");
	sample_unit(u, 11 * US_PER_S, v);
	assert_near(v[METRIC_APP_CPU], 150, 1e-9);
	assert_true(isnan(v[METRIC_APP_MEMORY_MB]));
	unit_free(u);
}

/* A unit that read and wrote 400 MB of files: free would call them cache. */
static void the_page_cache_is_not_the_units_memory(void **state)
{
	static const char stat[] =
		"anon 52428800\nfile 429916160\nkernel 4194304\nshmem 10485760\nfile_mapped 1048576\n"
		"inactive_anon 10485760\nactive_anon 52428800\ninactive_file 209715200\n"
		"active_file 209715200\nunevictable 0\n";
	double v[METRIC_COUNT];
	struct unit *u;

	(void)state;
	put_group_v2("system.slice/a.service", "usage_usec 1\n", "486539264\n", "7\n");
	put_file("/sys/fs/cgroup/system.slice/a.service/memory.stat", stat);
	u = unit_below_root("a");
	sample_unit(u, US_PER_S, v);
	assert_near(v[METRIC_APP_MEMORY_MB], 464 - 400, 1e-9);
	/* They are not read at the same time. */
	put_file("/sys/fs/cgroup/system.slice/a.service/memory.current", "104857600\n");
	sample_unit(u, 2 * US_PER_S, v);
	assert_near(v[METRIC_APP_MEMORY_MB], 0, 1e-9);
	unit_free(u);
}

static void a_restarted_unit_begins_anew(void **state)
{
	double v[METRIC_COUNT];
	struct unit *u;

	(void)state;
	put_group_v2("system.slice/a.service", "usage_usec 9000000\n", "1048576\n", "7\n");
	u = unit_below_root("a.service");
	sample_unit(u, 10 * US_PER_S, v);
	put_group_v2("system.slice/a.service", "usage_usec 1000\n", "1048576\n", "7\n");
	sample_unit(u, 11 * US_PER_S, v);
	assert_true(isnan(v[METRIC_APP_CPU]));                  /* back: no spike, no negative */
	sample_unit(u, 12 * US_PER_S, v);
	assert_near(v[METRIC_APP_CPU], 0, 1e-9);
	/* The kernel answers ENODEV for a group that is gone; a file cannot, so empty ones stand for it. */
	put_group_v2("system.slice/a.service", "", "", "");
	sample_unit(u, 13 * US_PER_S, v);
	assert_true(isnan(v[METRIC_APP_MEMORY_MB]));
	put_group_v2("system.slice/a.service", "usage_usec 1000\n", "2097152\n", "7\n");
	sample_unit(u, 14 * US_PER_S, v);
	assert_near(v[METRIC_APP_MEMORY_MB], 2, 1e-9);
	assert_true(isnan(v[METRIC_APP_CPU]));
	unit_free(u);
}

static void assert_group_found(const char *name, const char *group)
{
	double v[METRIC_COUNT];
	struct unit *u = unit_below_root(name);

	sample_unit(u, US_PER_S, v);
	assert_non_null(unit_cgroup(u));
	assert_string_equal(unit_cgroup(u), group);
	assert_near(v[METRIC_APP_PROCESSES], 3, 1e-9);
	unit_free(u);
}

static void the_group_is_found_wherever_the_unit_is(void **state)
{
	(void)state;
	put_group_v2("system.slice/system-my\\x2dapp.slice/my-app@blue.service", "usage_usec 1\n", "1\n",
		     "3\n");
	assert_group_found("my-app@blue.service", "system.slice/system-my\\x2dapp.slice/my-app@blue.service");
	put_group_v2("user.slice/user-7.slice/user@7.service/app.slice/shop.service", "usage_usec 1\n", "1\n",
		     "3\n");
	assert_group_found("shop", "user.slice/user-7.slice/user@7.service/app.slice/shop.service");
}

static void the_older_hierarchies_work_too(void **state)
{
	double v[METRIC_COUNT];
	struct unit *u;

	(void)state;
	put_file("/sys/fs/cgroup/systemd/system.slice/old.service/tasks", "");
	put_file("/sys/fs/cgroup/cpuacct/system.slice/old.service/cpuacct.usage", "1000000000\n");
	put_file("/sys/fs/cgroup/memory/system.slice/old.service/memory.usage_in_bytes", "3145728\n");
	put_file("/sys/fs/cgroup/memory/system.slice/old.service/memory.stat",
		 "cache 9\ninactive_file 7\nactive_file 7\n"
		 "total_inactive_file 524288\ntotal_active_file 524288\n");
	put_file("/sys/fs/cgroup/pids/system.slice/old.service/pids.current", "4\n");
	u = unit_below_root("old");
	sample_unit(u, 1 * US_PER_S, v);
	put_file("/sys/fs/cgroup/cpuacct/system.slice/old.service/cpuacct.usage", "1500000000\n");
	sample_unit(u, 2 * US_PER_S, v);
	assert_near(v[METRIC_APP_CPU], 50, 1e-9);
	assert_near(v[METRIC_APP_MEMORY_MB], 2, 1e-9);
	assert_near(v[METRIC_APP_PROCESSES], 4, 1e-9);
	unit_free(u);
}

static void names_of_no_unit_are_refused(void **state)
{
	char longest[300];

	(void)state;
	memset(longest, 'a', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	assert_null(unit_below_root("../../etc/shadow"));
	assert_null(unit_below_root(".."));
	assert_null(unit_below_root(""));
	assert_null(unit_below_root(longest));
}

/* ---- restarts, asked from a systemd of our own ---------------------------------------------- */

static int answer(sd_bus_message *m, void *data, sd_bus_error *error)
{
	const char *unit = "";
	int restarts = *(int *)data;

	(void)error;
	if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus", "Hello"))
		return sd_bus_reply_method_return(m, "s", ":1.1");
	if (sd_bus_message_is_method_call(m, "org.freedesktop.systemd1.Manager", "GetUnit")) {
		sd_bus_message_read(m, "s", &unit);
		return strcmp(unit, "my-app.service") == 0
			       ? sd_bus_reply_method_return(m, "o", "/org/freedesktop/systemd1/unit/x")
			       : sd_bus_reply_method_errorf(m, "org.freedesktop.systemd1.NoSuchUnit", "no");
	}
	return sd_bus_reply_method_return(m, "v", "u", (uint32_t)restarts);
}

/* Serve one connection; with restarts < 0 accept it and never answer. */
static void serve_bus(int listener, int restarts)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	sd_id128_t id;
	sd_bus *bus;

	while (restarts < 0)
		pause();
	if (sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, fd, fd) < 0 || sd_id128_randomize(&id) < 0 ||
	    sd_bus_set_server(bus, 1, id) < 0 || sd_bus_add_filter(bus, NULL, answer, &restarts) < 0 ||
	    sd_bus_start(bus) < 0)
		_exit(1);
	while (sd_bus_process(bus, NULL) >= 0)
		sd_bus_wait(bus, UINT64_MAX);
	_exit(0);
}

static pid_t start_bus(int restarts)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char address[200];
	pid_t pid;

	snprintf(a.sun_path, sizeof a.sun_path, "%s/bus", root);
	unlink(a.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 4), 0);
	snprintf(address, sizeof address, "unix:path=%s/bus", root);
	setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
	pid = fork();
	if (pid == 0)
		serve_bus(fd, restarts);
	close(fd);
	return pid;
}

static void stop_bus(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
}

static double restarts_of(const char *name)
{
	double v[METRIC_COUNT];
	struct unit *u = unit_below_root(name);

	sample_unit(u, US_PER_S, v);
	assert_true(isnan(v[METRIC_APP_RESTARTS]));             /* the question was just sent */
	for (int64_t hung = mono_us() + HUNG_US; u->question && mono_us() < hung;) /* it gives up by itself */
		sd_event_run(agent.loop, (uint64_t)HUNG_US);
	sample_unit(u, 2 * US_PER_S, v);
	unit_free(u);
	return v[METRIC_APP_RESTARTS];
}

static void restarts_come_from_systemd(void **state)
{
	pid_t pid = start_bus(42);

	(void)state;
	assert_near(restarts_of("my-app"), 42, 0);
	stop_bus(pid);
	pid = start_bus(42);
	assert_true(isnan(restarts_of("unknown")));
	stop_bus(pid);
}

static void a_missing_or_silent_bus_delays_nothing(void **state)
{
	double v[METRIC_COUNT];
	sd_bus_slot *question = NULL;
	struct unit *u;
	pid_t pid;

	(void)state;
	setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus", 1);
	u = unit_below_root("my-app");
	sample_unit(u, US_PER_S, v);
	assert_null(u->bus);
	unit_free(u);

	pid = start_bus(-1);
	u = unit_below_root("my-app");
	for (int i = 1; i < 50; i++) {
		struct away before = away_now();

		sample_unit(u, i * US_PER_S, v);
		assert_true(away_us(&before) < US_PER_S);
		sd_event_run(agent.loop, 0);
		question = i == 1 ? u->question : question;
	}
	assert_true(isnan(v[METRIC_APP_RESTARTS]));
	assert_non_null(question);
	assert_ptr_equal(u->question, question);                /* one query, not fifty */
	stop_bus(pid);                                          /* closes when the query arrives */
	for (int64_t hung = mono_us() + HUNG_US; u->bus && mono_us() < hung;)
		sd_event_run(agent.loop, (uint64_t)HUNG_US);
	assert_null(u->bus);
	sample_unit(u, 100 * US_PER_S, v);
	unit_free(u);
}

static int make_root(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int drop_root(void **state)
{
	(void)state;
	return rmdir(root);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(a_fake_machine_gives_the_numbers_of_its_files),
		TEST(the_cache_of_zfs_is_available_memory),
		TEST(the_details_count_what_exceeds_the_limits),
		TEST(an_empty_machine_gives_no_numbers_and_no_crash),
		TEST(details_are_json_with_mounts_and_interfaces),
		TEST(details_are_sent_again_only_when_something_changed),
		TEST(ticks_are_aligned_and_never_far_from_the_interval),
		TEST(jitter_differs_by_name_and_is_a_tenth_at_most),
		TEST(this_machine_is_measured_a_second_after_the_start),
		TEST(status_is_json),
		TEST(a_unit_is_measured_by_its_cgroup),
		TEST(the_page_cache_is_not_the_units_memory),
		TEST(a_restarted_unit_begins_anew),
		TEST(the_group_is_found_wherever_the_unit_is),
		TEST(the_older_hierarchies_work_too),
		TEST(names_of_no_unit_are_refused),
		TEST(restarts_come_from_systemd),
		TEST(a_missing_or_silent_bus_delays_nothing),
	};

	return cmocka_run_group_tests_name("proc source", tests, make_root, drop_root);
}
