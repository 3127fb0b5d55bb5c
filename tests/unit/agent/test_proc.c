/* Parsers of /proc: right numbers from real texts, no number from cut ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "obs_agent/proc/proc_parse.c"
#include "obs_agent/proc/proc_mounts.c"
#include "obs_agent/proc/proc_traffic.c"

#include <sys/stat.h>

#define assert_near(a, b, eps) assert_true(fabs((double)(a) - (double)(b)) <= (eps))

/* ---- captured texts --------------------------------------------------------------------- */

static const char stat_now[] =                  /* Debian 12, two cores */
	"cpu  5436 51 5896 265861 604 7 162 10 3 0\n"
	"cpu0 2421 22 2173 134316 30 0 31 2 0 0\n"
	"intr 441407 0 0\nctxt 1\nbtime 1763692693\n";
static const char stat_2_4[] = "cpu  100 20 30 4000\ncpu0 100 20 30 4000\npage 1 2\n";

static const char meminfo_now[] =
	"MemTotal:       24684092 kB\nMemFree:        23213308 kB\nMemAvailable:   24292292 kB\n"
	"Buffers:           11208 kB\nCached:          1214224 kB\nSwapCached:            0 kB\n"
	"SwapTotal:       2097148 kB\nSwapFree:        1048574 kB\nShmem:              9912 kB\n"
	"SReclaimable:     143268 kB\n";
static const char meminfo_2_6_32[] =            /* CentOS 6: no MemAvailable */
	"MemTotal:        1000000 kB\nMemFree:          100000 kB\nBuffers:           50000 kB\n"
	"Cached:           300000 kB\nSwapCached:            0 kB\nSwapTotal:             0 kB\n"
	"SwapFree:              0 kB\nShmem:             20000 kB\nSReclaimable:      70000 kB\n";

static const char net_dev[] =
	"Inter-|   Receive                                                |  Transmit\n"
	" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo "
	"colls carrier compressed\n"
	"    lo:    4791      54    0    0    0     0          0         0     4791      54    0    0    0"
	"     0       0          0\n"
	"  eth0: 428170508    8523    0    0    0     0          0         0   354145    4424    0    0    0"
	"     0       0          0\n"
	"  eth1:1000 1 0 0 0 0 0 0 2000 2 0 0 0 0 0 0\n"        /* Linux 2.6: no blank */
	"veth12: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n";

static const char diskstats[] =
	"   7       0 loop0 1 0 8 0 1 0 8 0 0 0 0 0 0 0 0 0 0\n"
	" 254       0 vda 45230 12117 5724850 17944 124839 35567 6928168 23371 0 11796 43781 30378 38 "
	"1882896 1608 28951 857\n"
	" 254       1 vda1 45000 12117 5724000 17944 124839 35567 6928168 23371 0 11796 43781\n"
	" 253       0 dm-0 1 0 5724850 0 1 0 6928168 0 0 0 0\n"
	"   8       1 sda1 10 20 30 40\n";                      /* Linux 2.6.18, a partition */

static const char pressure[] = "some avg10=0.31 avg60=1.25 avg300=0.71 total=11391656\n"
			       "full avg10=0.00 avg60=9.00 avg300=0.00 total=0\n";
static const char sockstat[] =
	"sockets: used 14\nTCP: inuse 31 orphan 0 tw 2 alloc 1 mem 87\nUDP: inuse 7 mem 0\n";
static const char loadavg[] = "0.26 1.13 12.06 1/91 25717\n";

static struct text all_of(const char *s)
{
	return text_of(s);
}

/* ---- numbers ---------------------------------------------------------------------------- */

static void assert_number(const char *file, const char *line, int column, const char *word, double want)
{
	double v = -1;

	assert_true(proc_number(all_of(file), line, column, word, &v));
	assert_near(v, want, 1e-9);
}

static void a_number_is_found_by_line_column_and_word(void **state)
{
	double v;

	(void)state;
	assert_number(loadavg, "", 0, "", 0.26);
	assert_number(loadavg, "", 2, "", 12.06);
	assert_number(loadavg, "", 3, "/", 91);
	assert_number(pressure, "some", 0, "avg60=", 1.25);
	assert_number(pressure, "full", 0, "avg60=", 9);
	assert_number(sockstat, "TCP:", 0, "inuse ", 31);
	assert_number("1393.14 2658.61\n", "", 0, "", 1393.14);
	assert_number("4096\n", "", 0, "", 4096);
	assert_number("usage_usec 17\nuser_usec 5\n", "usage_usec ", 0, "", 17);
	assert_false(proc_number(all_of(sockstat), "TCP6:", 0, "inuse ", &v));
	assert_false(proc_number(all_of("max\n"), "", 0, "", &v));
	assert_false(proc_number(all_of("some avg60=x\n"), "some", 0, "avg60=", &v));
	assert_false(proc_number(all_of("1 2\n"), "", 2, "", &v));
}

static void a_text_cut_anywhere_gives_the_number_or_none(void **state)
{
	double v;

	(void)state;
	for (size_t n = 0; n < sizeof pressure - 1; n++)
		if (proc_number((struct text){ pressure, n }, "some", 0, "avg60=", &v))
			assert_near(v, 1.25, 1e-9);
	for (size_t n = 0; n < sizeof loadavg - 1; n++)
		assert_false(proc_number((struct text){ loadavg, n }, "", 2, "", &v));
}

static void online_cores_are_counted(void **state)
{
	(void)state;
	assert_int_equal(proc_list_count(all_of("0\n")), 1);
	assert_int_equal(proc_list_count(all_of("0-1\n")), 2);
	assert_int_equal(proc_list_count(all_of("0-255,257-511\n")), 511);
	assert_int_equal(proc_list_count(all_of("0-3,8\n")), 5);
	assert_int_equal(proc_list_count(all_of("")), 0);
	assert_int_equal(proc_list_count(all_of("\n")), 0);
	assert_int_equal(proc_list_count(all_of("0-3")), 0);            /* cut: digits may be missing */
	assert_int_equal(proc_list_count(all_of("3-0\n")), 0);
	assert_int_equal(proc_list_count(all_of("0-18446744073709551615\n")), 0);
	assert_int_equal(proc_list_count(all_of("0,\n")), 0);
}

/* ---- CPU -------------------------------------------------------------------------------- */

static void cpu_times_are_grouped(void **state)
{
	struct cpu_times t;

	(void)state;
	assert_true(proc_cpu(all_of(stat_now), &t));
	assert_int_equal(t.user, 5436 + 51);
	assert_int_equal(t.system, 5896 + 7 + 162);
	assert_int_equal(t.idle, 265861);
	assert_int_equal(t.iowait, 604);
	assert_int_equal(t.steal, 10);
	assert_true(proc_cpu(all_of(stat_2_4), &t));
	assert_int_equal(t.user, 120);
	assert_int_equal(t.steal, 0);
	assert_false(proc_cpu(all_of("cpu  1 2 3\n"), &t));
	assert_false(proc_cpu(all_of("cpu0 1 2 3 4 5\n"), &t));
	assert_false(proc_cpu(all_of("cpu  99999999999999999999 2 3 4\n"), &t));
	for (size_t n = 0; n < strcspn(stat_now, "\n") + 1; n++)
		assert_false(proc_cpu((struct text){ stat_now, n }, &t));
}

static void cpu_of_512_cores_needs_the_first_line_only(void **state)
{
	char text[1024];
	struct cpu_times t;
	int n = snprintf(text, sizeof text, "cpu  18446744073709551 0 9 8 7 6 5 4 3 2\ncpu0 1 2 3");

	(void)state;
	for (int i = 1; n < (int)sizeof text - 64; i++)
		n += snprintf(text + n, sizeof text - (size_t)n, "\ncpu%d 1 2 3 4 5 6 7 8 9 10", i);
	assert_true(proc_cpu((struct text){ text, (size_t)n }, &t));
	assert_int_equal(t.user, 18446744073709551);
}

static void cpu_shares_add_up_to_100(void **state)
{
	struct cpu_times a = { 100, 50, 1000, 10, 5 }, b = { 130, 60, 1040, 20, 15 };
	struct cpu_shares s;

	(void)state;
	assert_true(proc_cpu_shares(&a, &b, &s));
	assert_near(s.user, 30, 1e-9);
	assert_near(s.system, 10, 1e-9);
	assert_near(s.iowait, 10, 1e-9);
	assert_near(s.steal, 10, 1e-9);
	assert_near(s.busy, 50, 1e-9);
}

static void cpu_counters_that_decrease_give_no_value(void **state)
{
	struct cpu_times a = { 100, 50, 1000, 10, 5 }, b;
	struct cpu_shares s;

	(void)state;
	b = (struct cpu_times){ 99, 60, 1040, 20, 15 };
	assert_false(proc_cpu_shares(&a, &b, &s));
	b = (struct cpu_times){ 100, 50, 1000, 10, 4 };
	assert_false(proc_cpu_shares(&a, &b, &s));
	assert_false(proc_cpu_shares(&a, &a, &s));                      /* no time passed */
	b = (struct cpu_times){ 150, 50, 1050, 2, 5 };                  /* the kernel allows iowait to */
	assert_true(proc_cpu_shares(&a, &b, &s));
	assert_near(s.user, 50, 1e-9);
	assert_near(s.iowait, 0, 1e-9);
}

/* ---- memory ----------------------------------------------------------------------------- */

static void used_memory_is_the_unavailable_memory(void **state)
{
	struct memory m;

	(void)state;
	proc_memory(all_of(meminfo_now), &m);
	assert_near(m.total_kb, 24684092, 0.1);
	assert_near(m.used_kb, 24684092 - 24292292, 0.1);
	assert_near(m.swap_used_kb, 1048574, 0.1);
}

static void memory_of_an_old_kernel_is_estimated(void **state)
{
	struct memory m;

	(void)state;
	proc_memory(all_of(meminfo_2_6_32), &m);
	assert_near(m.used_kb, 1000000 - (100000 + 50000 + 300000 + 70000 - 20000), 0.1);
	assert_near(m.swap_total_kb, 0, 0);
	assert_near(m.swap_used_kb, 0, 0);
}

/* Of 62.5 GiB ZFS holds 49.2 and can give back all but 2: htop says 20 %, MemAvailable 96 %. */
static void memory_of_zfs_is_no_used_memory(void **state)
{
	static const char meminfo[] =
		"MemTotal:       65536000 kB\nMemFree:         2100000 kB\nMemAvailable:    2621440 kB\n";
	static const char arcstats[] =
		"13 1 0x01 123 33456 5765432100 1234567890123\n"
		"name                            type data\n"
		"hits                            4    123456789\n"
		"c                               4    51539607552\n"
		"c_min                           4    2147483648\n"
		"c_max                           4    51539607552\n"
		"size                            4    52835106816\n"
		"compressed_size                 4    1\n";
	struct memory m;

	(void)state;
	proc_memory(all_of(meminfo), &m);
	assert_near(100 * m.used_kb / m.total_kb, 96, 0.01);
	assert_near(proc_arc_kb(all_of(arcstats)), (52835106816.0 - 2147483648) / 1024, 0.01);
	assert_near(100 * (m.used_kb - proc_arc_kb(all_of(arcstats))) / m.total_kb, 20.5, 0.1);
	assert_near(proc_arc_kb(all_of("")), 0, 0);
	assert_near(proc_arc_kb(all_of("size 4 100\nc_min 4 2000\n")), 0, 0);
	for (size_t n = 0; n < sizeof arcstats - 1; n++)
		assert_true(proc_arc_kb((struct text){ arcstats, n }) <= 49499632.0);
}

static void memory_that_is_not_in_the_text_is_unknown(void **state)
{
	struct memory m;

	(void)state;
	proc_memory(all_of("MemTotal: 5 kB\n"), &m);
	assert_true(isnan(m.used_kb));
	assert_true(isnan(m.swap_used_kb));
	for (size_t n = 0; n < sizeof meminfo_now - 1; n++) {
		proc_memory((struct text){ meminfo_now, n }, &m);
		assert_true(isnan(m.total_kb) || (int)m.total_kb == 24684092);
		assert_true(isnan(m.swap_used_kb) || (int)m.swap_used_kb == 1048574);
	}
}

/* ---- interfaces and disks --------------------------------------------------------------- */

static char sys_dir[] = "/tmp/observ-proc-XXXXXX";

static void add_sys(const char *path)
{
	char full[512];

	for (size_t i = 1; path[i]; i++)
		if (path[i] == '/') {
			snprintf(full, sizeof full, "%s%.*s", sys_dir, (int)i, path);
			mkdir(full, 0755);
		}
	snprintf(full, sizeof full, "%s%s", sys_dir, path);
	mkdir(full, 0755);
}

static int make_sys(void **state)
{
	char link[512];

	(void)state;
	if (!mkdtemp(sys_dir))
		return -1;
	add_sys("/class/net/lom1/device");
	add_sys("/class/net/eth0/device");
	add_sys("/class/net/eth1/device");
	add_sys("/class/net/vf0/device");
	add_sys("/class/net/team0x");
	add_sys("/block/vda");
	add_sys("/block/dm-0");
	add_sys("/block/md127");
	add_sys("/block/mdisk");
	add_sys("/block/cciss!c0d0");
	snprintf(link, sizeof link, "%s/class/net/vf0/master", sys_dir);
	if (symlink("../eth0", link) < 0)
		return -1;
	snprintf(link, sizeof link, "%s/class/net/eth1/master", sys_dir);
	return symlink("../team0x", link);
}

static int remove_sys(void **state)
{
	char command[600];

	(void)state;
	snprintf(command, sizeof command, "rm -rf '%s'", sys_dir);
	return system(command);
}

static void net_lines_of_all_ages_are_read(void **state)
{
	struct text rest = all_of(net_dev), line;
	struct traffic_line l;
	int n = 0;

	(void)state;
	while (proc_line(&rest, &line))
		if (proc_net_line(line, &l) && ++n == 2) {
			assert_true(text_eq(l.name, TEXT("eth0")));
			assert_int_equal(l.in, 428170508);
			assert_int_equal(l.out, 354145);
		}
	assert_int_equal(n, 4);
	assert_true(proc_net_line(TEXT("eth0:1: 5 0 0 0 0 0 0 0 6 0"), &l));
	assert_true(text_eq(l.name, TEXT("eth0:1")));
	assert_false(proc_net_line(TEXT("eth0: 5 0 0"), &l));
	assert_false(proc_net_line(TEXT(" : 5 0 0 0 0 0 0 0 6 0"), &l));
}

static void rates_count_hardware_once(void **state)
{
	static struct traffic_table t = { .kind = &traffic_net };
	static const char first[] = "eth0: 1000 0 0 0 0 0 0 0 500 0\neth1: 0 0 0 0 0 0 0 0 0 0\n"
				    "vf0: 1000 0 0 0 0 0 0 0 500 0\nteam0x: 0 0 0 0 0 0 0 0 0 0\n"
				    "eth0.10: 0 0 0 0 0 0 0 0 0 0\nlo: 7 0 0 0 0 0 0 0 7 0\n";
	static const char second[] = "eth0: 3000 0 0 0 0 0 0 0 700 0\neth1: 100 0 0 0 0 0 0 0 0 0\n"
				     "vf0: 3000 0 0 0 0 0 0 0 700 0\nteam0x: 100 0 0 0 0 0 0 0 0 0\n"
				     "eth0.10: 50 0 0 0 0 0 0 0 0 0\nlo: 99 0 0 0 0 0 0 0 99 0\n";
	double in, out;

	(void)state;
	assert_true(traffic_read(&t, all_of(first), 1 * US_PER_S, sys_dir));
	traffic_sum(&t, &in, &out);
	assert_true(isnan(in));
	assert_false(traffic_read(&t, all_of(second), 3 * US_PER_S, sys_dir));
	traffic_sum(&t, &in, &out);
	assert_near(in, 1050, 1e-9);            /* (2000 + 100) / 2 s */
	assert_near(out, 100, 1e-9);
}

static void a_container_counts_its_own_memory(void **state)
{
	static struct traffic_table t = { .kind = &traffic_net };
	double in, out;

	(void)state;
	traffic_read(&t, all_of("eth0: 0 0 0 0 0 0 0 0 0 0\nveth1: 0 0 0 0 0 0 0 0 0 0\n"), US_PER_S,
		     "/nowhere");
	traffic_read(&t, all_of("eth0: 9 0 0 0 0 0 0 0 5 0\nveth1: 9 0 0 0 0 0 0 0 9 0\n"), 2 * US_PER_S,
		     "/nowhere");
	traffic_sum(&t, &in, &out);
	assert_near(in, 9, 1e-9);
	assert_near(out, 5, 1e-9);
}

/* /sys tells the type of an interface. */
static void put_net(const char *sys, const char *name, const char *type, const char *flags)
{
	static const char *const file[] = { "type", "flags" };
	const char *const text[] = { type, flags };
	char path[600];

	snprintf(path, sizeof path, "mkdir -p '%s/class/net/%s'", sys, name);
	assert_int_equal(system(path), 0);
	for (int i = 0; i < 2; i++) {
		FILE *f;

		snprintf(path, sizeof path, "%s/class/net/%s/%s", sys, name, file[i]);
		f = fopen(path, "w");
		assert_non_null(f);
		fprintf(f, "%s\n", text[i]);
		fclose(f);
	}
}

static void put_net_dir(const char *sys, const char *path)
{
	char command[600];

	snprintf(command, sizeof command, "mkdir -p '%s/class/net/%s'", sys, path);
	assert_int_equal(system(command), 0);
}

/* The rate of the counted interfaces, if each received 1, 10, 100 ... bytes within a second. */
static double counted_of(const char *sys, const char *const *names)
{
	static struct traffic_table t;
	struct buf b = BUF(1 << 16);
	double in = NAN, out, bytes;

	t = (struct traffic_table){ .kind = &traffic_net };
	for (int round = 0; round < 2; round++) {
		buf_reset(&b);
		bytes = 1;
		for (size_t i = 0; names[i]; i++, bytes *= 10)
			buf_addf(&b, "%s: %.0f 0 0 0 0 0 0 0 0 0\n", names[i], round * bytes);
		traffic_read(&t, (struct text){ b.data, b.len }, (round + 1) * US_PER_S, sys);
		traffic_sum(&t, &in, &out);
	}
	buf_free(&b);
	return in;
}

static void the_kernel_tells_the_type_of_an_interface_not_its_name(void **state)
{
	static const char *const hardware[] = { "lo", "lom1", "eth0", "tap0", "local0", NULL };
	static const char *const alone[] = { "lo", "tap0", "local0", NULL };
	static const char *const container[] = { "lo",      "eth0",     "eth1",  "tun0", "wg0",
						 "docker0", "veth1a2b", "vlan7", "tap1", NULL };
	static const char *const routed[] = { "lo", "eth0", "cali12", "sit0", NULL };
	static const char *const only_tunnel[] = { "inside", "tun0", NULL };
	char sys[200], command[300];

	(void)state;
	/* A network card called lom1 ("LAN on motherboard"). */
	assert_near(counted_of(sys_dir, hardware), 110, 1e-9);
	assert_near(counted_of("/nowhere", alone), 110, 1e-9);
	snprintf(sys, sizeof sys, "%s/container", sys_dir);
	put_net(sys, "lo", "772", "0x9");
	put_net(sys, "inside", "772", "0x9");           /* a loopback that was renamed */
	put_net(sys, "eth0", "1", "0x1003");
	put_net(sys, "eth1", "1", "0x1003");
	put_net(sys, "tap0", "1", "0x1003");
	put_net(sys, "local0", "1", "0x1003");
	put_net(sys, "tun0", "65534", "0x1091");
	put_net(sys, "wg0", "65534", "0x91");
	put_net(sys, "sit0", "776", "0x80");
	put_net(sys, "docker0", "1", "0x1003");
	put_net_dir(sys, "docker0/bridge");
	put_net(sys, "veth1a2b", "1", "0x1003");
	put_net_dir(sys, "veth1a2b/master");
	put_net(sys, "vlan7", "1", "0x1003");
	put_net_dir(sys, "vlan7/lower_eth0");
	put_net(sys, "tap1", "1", "0x1003");
	put_net_dir(sys, "tap1/master");
	put_net(sys, "cali12", "1", "0x1003");
	assert_near(counted_of(sys, alone), 110, 1e-9);
	assert_near(counted_of(sys, container), 110, 1e-9);
	assert_near(counted_of(sys, routed), 10, 1e-9);
	assert_near(counted_of(sys, only_tunnel), 10, 1e-9);
	snprintf(command, sizeof command, "rm -rf '%s'", sys);
	assert_int_equal(system(command), 0);
}

/* Interfaces of containers appear and disappear; the counted ones stay. */
static void interfaces_that_do_not_count_change_nothing(void **state)
{
	static struct traffic_table t = { .kind = &traffic_net };

	(void)state;
	assert_true(traffic_read(&t, all_of("eth0: 1 0 0 0 0 0 0 0 1 0\n"), US_PER_S, sys_dir));
	assert_false(traffic_read(&t, all_of("eth0: 1 0 0 0 0 0 0 0 1 0\nveth1: 1 0 0 0 0 0 0 0 1 0\n"),
				  2 * US_PER_S, sys_dir));
	assert_false(traffic_read(&t, all_of("eth0: 1 0 0 0 0 0 0 0 1 0\n"), 3 * US_PER_S, sys_dir));
}

static void a_counter_that_goes_back_is_a_gap_not_a_spike(void **state)
{
	static struct traffic_table t = { .kind = &traffic_net };
	double in, out;

	(void)state;
	/* A 32-bit counter wraps at 4 GiB, and looks just like a reset. */
	traffic_read(&t, all_of("eth0: 4294967290 0 0 0 0 0 0 0 10 0\n"), US_PER_S, sys_dir);
	traffic_read(&t, all_of("eth0: 94 0 0 0 0 0 0 0 20 0\n"), 2 * US_PER_S, sys_dir);
	traffic_sum(&t, &in, &out);
	assert_true(isnan(in));
	assert_near(out, 10, 1e-9);
	traffic_read(&t, all_of("eth0: 194 0 0 0 0 0 0 0 20 0\n"), 3 * US_PER_S, sys_dir);
	traffic_sum(&t, &in, &out);
	assert_near(in, 100, 1e-9);
	assert_true(isnan(proc_rate(1, 2, 0)));
	assert_true(isnan(proc_rate(1, 2, -1)));
}

static void devices_appear_and_disappear_without_a_spike(void **state)
{
	static struct traffic_table t = { .kind = &traffic_net };
	double in, out;

	(void)state;
	traffic_read(&t, all_of("eth0: 100 0 0 0 0 0 0 0 0 0\n"), US_PER_S, sys_dir);
	assert_true(traffic_read(&t, all_of("eth0: 110 0 0 0 0 0 0 0 0 0\neth1: 999999 0 0 0 0 0 0 0 0 0\n"),
				 2 * US_PER_S, sys_dir));
	traffic_sum(&t, &in, &out);
	assert_near(in, 10, 1e-9);
	assert_true(traffic_read(&t, all_of("eth1: 1000004 0 0 0 0 0 0 0 0 0\n"), 3 * US_PER_S, sys_dir));
	traffic_sum(&t, &in, &out);
	assert_near(in, 5, 1e-9);
	assert_true(traffic_read(&t, all_of(""), 4 * US_PER_S, sys_dir));
	traffic_sum(&t, &in, &out);
	assert_true(isnan(in));
}

static void only_whole_disks_count(void **state)
{
	static struct traffic_table t = { .kind = &traffic_disk };
	static const char later[] = " 254 0 vda 0 0 5724852 0 0 0 6928172 0 0 0 0\n 254 1 vda1 0 0 99999999 "
				    "0 0 0 99999999 0 0 0 0\n"
				    " 253 0 dm-0 1 0 99999999 0 1 0 99999999 0 0 0 0\n";
	double in, out;

	(void)state;
	traffic_read(&t, all_of(diskstats), US_PER_S, sys_dir);
	traffic_read(&t, all_of(later), 2 * US_PER_S, sys_dir);
	traffic_sum(&t, &in, &out);
	assert_near(in, 2 * 512, 1e-9);
	assert_near(out, 4 * 512, 1e-9);
	traffic_read(&t, all_of("104 0 cciss/c0d0 0 0 1 0 0 0 1 0 0\n"), 3 * US_PER_S, sys_dir);
	assert_true(t.t[0].counted);
	traffic_read(&t, all_of(" 9 0 md127 0 0 1 0 0 0 1 0 0\n 8 0 mdisk 0 0 1 0 0 0 1 0 0\n"), 4 * US_PER_S,
		     sys_dir);
	assert_false(t.t[0].counted);
	assert_true(t.t[1].counted);            /* its name begins like that of a RAID */
}

static void many_devices_stay_in_bounds(void **state)
{
	static struct traffic_table t = { .kind = &traffic_net };
	struct buf b = BUF(1 << 20);

	(void)state;
	for (int i = 0; i < TRAFFIC_MAX + 7; i++)
		assert_true(buf_addf(&b, "en%d: 1 0 0 0 0 0 0 0 1 0\n", i));
	traffic_read(&t, (struct text){ b.data, b.len }, US_PER_S, sys_dir);
	assert_int_equal(t.n, TRAFFIC_MAX);
	assert_int_equal(t.left_out, 7);
	buf_free(&b);
}

/* ---- mounts ----------------------------------------------------------------------------- */

#define ROOT "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"

static const struct mounts *mounts_of(const char *text)
{
	static struct mounts t;

	t.n = 0;
	mounts_read(&t, all_of(text));
	return &t;
}

static void a_mount_line_is_unescaped(void **state)
{
	struct mount_line l;

	(void)state;
	assert_true(proc_mount_line(
		TEXT("30 27 8:1 / /mnt/my\\040disk\\134x\\011 ro,nosuid shared:1 master:2 - ext4 "
		     "/dev/sda1 rw,errors=continue"),
		&l));
	assert_string_equal(l.point, "/mnt/my disk\\x\t");
	assert_string_equal(l.fs, "ext4");
	assert_int_equal(l.major, 8);
	assert_true(l.whole);
	assert_false(l.read_only);                      /* the mount is read-only, the file system is not */
	assert_true(proc_mount_line(TEXT("30 27 8:1 /a /b rw - xfs  ro"), &l));
	assert_true(l.read_only);
	assert_false(l.whole);
	assert_false(proc_mount_line(TEXT("30 27 8:1 / /b rw shared:1"), &l));
	assert_false(proc_mount_line(TEXT("30 27 81 / /b rw - ext4 x rw"), &l));
	assert_false(proc_mount_line(TEXT(""), &l));
}

static void real_file_systems_are_kept_once(void **state)
{
	const struct mounts *t = mounts_of(
		"22 27 0:21 / /proc rw - proc proc rw\n" ROOT
		"28 27 0:25 / /run rw - tmpfs tmpfs rw\n29 27 8:1 / /srv rw - xfs /dev/sda1 rw\n"
		"30 27 254:0 /var/lib /mnt/bind rw - ext4 /dev/vda rw\n"
		"31 27 8:1 / /mnt/again/and/longer rw - xfs /dev/sda1 rw\n"
		"32 27 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro\n"
		"33 27 0:40 /@home /home rw - btrfs /dev/sdb rw\n34 27 0:40 /@var /var rw - btrfs /dev/sdb "
		"rw\n"
		"35 27 8:2 / /boot/efi rw - vfat /dev/sda2 rw\n36 27 0:50 / /tank rw - zfs tank rw\n"
		"37 27 0:51 / /var/lib/docker/overlay2/1/merged rw - overlay overlay rw,lowerdir=/x\n");

	(void)state;
	assert_int_equal(t->n, 5);
	assert_string_equal(t->m[0].line.point, "/");
	assert_string_equal(t->m[1].line.point, "/srv");
	assert_string_equal(t->m[2].line.point, "/var");
	assert_string_equal(t->m[3].line.point, "/boot/efi");
	assert_string_equal(t->m[4].line.point, "/tank");
}

static void file_systems_that_may_hang_are_left_out(void **state)
{
	const struct mounts *t = mounts_of(
		ROOT
		"40 27 0:60 / /nfs rw - nfs4 server:/x rw\n41 40 8:1 / /nfs/disk rw - ext4 /dev/sda1 rw\n"
		"42 27 0:61 / /auto rw - autofs systemd-1 rw\n43 27 0:62 / /sshfs rw - fuse.sshfs me@x: rw\n"
		"44 27 8:2 / /nfsbackup rw - ext4 /dev/sda2 rw\n");

	(void)state;
	assert_int_equal(t->n, 2);
	assert_string_equal(t->m[1].line.point, "/nfsbackup");
	assert_int_equal(mounts_of("27 1 0:60 / / rw - nfs server:/root rw\n")->n, 0);
}

/* For any number of them. */
static void below_a_hundredth_on_the_server_too(void **state)
{
	struct buf b = BUF(1 << 20);
	const struct mounts *t;

	(void)state;
	buf_adds(&b, ROOT);
	for (int i = 0; i < 100; i++)
		buf_addf(&b, "%d 27 0:%d / /nfs/%d rw - nfs4 s:/x rw\n", 100 + i, 100 + i, i);
	buf_adds(&b, "300 199 8:1 / /nfs/99/disk rw - ext4 /dev/sda1 rw\n");
	t = mounts_of(buf_cstr(&b));
	assert_int_equal(t->n, 1);
	buf_free(&b);
}

/* systemd's automount: the trap and the disk have one path. */
static void a_disk_over_its_trap_is_there(void **state)
{
	const struct mounts *t = mounts_of(ROOT "30 27 0:40 / /boot/efi rw - autofs systemd-1 rw,fd=1\n"
						"31 30 8:2 / /boot/efi rw - vfat /dev/sda2 rw\n");

	(void)state;
	assert_int_equal(t->n, 2);
	assert_string_equal(t->m[1].line.point, "/boot/efi");
}

/* A row a disk, as in df: by its device, not by what part of it is mounted. */
static void a_disk_of_which_only_a_folder_is_mounted_is_there(void **state)
{
	const struct mounts *t = mounts_of(ROOT "30 27 8:16 /data /srv/data rw - ext4 /dev/sdb rw\n"
						"31 27 8:16 /www /srv/www rw - ext4 /dev/sdb rw\n");

	(void)state;
	assert_int_equal(t->n, 2);
	assert_string_equal(t->m[1].line.point, "/srv/www");
	/* A mount of the whole file system names it, even if its path is longer. */
	t = mounts_of(ROOT "30 27 8:16 /www /www rw - ext4 /dev/sdb rw\n31 27 8:16 / /mnt/disks/second rw - "
			   "ext4 /dev/sdb rw\n"
			   "32 27 254:0 /var /v rw - ext4 /dev/vda rw\n");
	assert_int_equal(t->n, 2);
	assert_string_equal(t->m[0].line.point, "/");
	assert_string_equal(t->m[1].line.point, "/mnt/disks/second");
	/* The mount of the whole file system is covered. */
	t = mounts_of(ROOT "30 27 8:16 / /home/big rw - ext4 /dev/sdb rw\n31 27 8:16 /www /srv/www/of/it rw "
			   "- ext4 /dev/sdb rw\n"
			   "32 27 0:70 / /home ro - tmpfs tmpfs ro\n");
	assert_int_equal(t->n, 2);
	assert_string_equal(t->m[1].line.point, "/srv/www/of/it");
	/* "/" is a folder of a disk that is whole elsewhere. */
	t = mounts_of(
		"27 1 8:1 /machines/a / rw - ext4 /dev/sda1 rw\n28 27 8:1 / /host rw - ext4 /dev/sda1 rw\n");
	assert_int_equal(t->n, 1);
	assert_non_null(mounts_root(t));
}

static void mounts_beyond_the_limit_are_counted(void **state)
{
	static struct mounts t;
	struct buf b = BUF(1 << 20), json = BUF(1 << 20);

	(void)state;
	for (int i = 0; i < MOUNTS_MAX + 10; i++)
		buf_addf(&b, "%d 27 0:%d / /tank/%d rw - zfs tank rw\n%d 27 0:%d /x /b/%d rw - zfs tank rw\n",
			 100 + i, 100 + i, i, 1000 + i, 100 + i, i);
	buf_adds(&b, ROOT);
	t.n = 0;
	assert_true(mounts_read(&t, (struct text){ b.data, b.len }));
	assert_int_equal(t.n, MOUNTS_MAX);
	assert_int_equal(t.left_out, 11);
	assert_non_null(mounts_root(&t));
	assert_true(mounts_json(&t, &json));
	assert_int_equal(t.not_shown, 0);
	for (size_t i = 0; i < t.n; i++)
		memset(t.m[i].line.point, '\1', MOUNT_POINT_MAX - 1);   /* six bytes each in JSON */
	buf_reset(&json);
	assert_true(mounts_json(&t, &json));
	assert_in_range(json.len, 100000, MOUNTS_JSON_MAX + 2000);
	assert_in_range(t.not_shown, 100, MOUNTS_MAX - 60);
	buf_free(&b);
	buf_free(&json);
}

static void a_container_root_counts_whatever_it_is(void **state)
{
	const struct mounts *t = mounts_of("27 1 0:44 / / rw - overlay overlay rw,lowerdir=/x\n"
					   "28 27 254:0 /etc/hosts /etc/hosts rw - ext4 /dev/vda rw\n");

	(void)state;
	assert_int_equal(t->n, 2);                              /* df lists /etc/hosts too */
	assert_string_equal(mounts_root(t)->line.fs, "overlay");
}

static void a_meminfo_of_a_container_is_noticed(void **state)
{
	(void)state;
	assert_false(mounts_of(ROOT)->own_meminfo);
	assert_true(mounts_of(ROOT "30 22 0:52 /proc/meminfo /proc/meminfo rw - fuse.lxcfs lxcfs rw\n")
			    ->own_meminfo);
}

/* In a hardened unit an empty tmpfs covers /home: its size would be wrong. */
static void covered_mounts_are_left_out(void **state)
{
	const struct mounts *t = mounts_of(ROOT "30 27 8:1 / /home rw - ext4 /dev/sda1 rw\n"
						"31 30 8:2 / /home/big rw - ext4 /dev/sda2 rw\n"
						"32 30 0:70 / /home ro - tmpfs tmpfs ro\n");

	(void)state;
	assert_int_equal(t->n, 1);
	t = mounts_of(ROOT
		      "30 27 8:1 / /home rw - ext4 /dev/sda1 rw\n31 27 8:1 / /home ro - ext4 /dev/sda1 rw\n");
	assert_int_equal(t->n, 2);
	assert_false(t->m[1].line.read_only);
}

/* ProtectHome=yes, as systemd 252 does it. */
static void a_disk_that_the_sandbox_closes_is_listed_without_figures(void **state)
{
	static struct mounts t;

	(void)state;
	t.n = 0;
	mounts_read(&t, all_of(ROOT "30 27 8:1 / /home rw - ext4 /dev/sda1 rw\n"
				    "31 30 8:2 / /home/big rw - ext4 /dev/sda2 rw\n"
				    "33 27 254:0 /var /home/link rw - ext4 /dev/vda rw\n"
				    "34 27 8:2 /www /srv/www rw - ext4 /dev/sda2 rw\n"
				    "35 27 0:25 /systemd/inaccessible/dir /home ro,nosuid - tmpfs tmpfs rw\n"
				    "36 27 0:25 /systemd/inaccessible/dir /root ro,nosuid - tmpfs tmpfs "
				    "rw\n"));
	assert_int_equal(t.n, 3);
	assert_string_equal(t.m[0].line.point, "/");
	assert_string_equal(t.m[1].line.point, "/home");
	assert_true(t.m[1].closed);
	assert_string_equal(t.m[2].line.point, "/srv/www");
	assert_false(t.m[2].closed);
	mounts_measure(&t, "");
	assert_true(t.m[0].percent > 0 && isnan(t.m[1].percent) && isnan(t.m[1].total_gb));
}

static void only_a_different_set_is_a_change(void **state)
{
	static struct mounts t;

	(void)state;
	assert_true(mounts_read(&t, all_of(ROOT)));
	t.m[0].shown_percent = 12;
	assert_false(mounts_read(&t, all_of("1 1 0:9 / /run rw - tmpfs t rw\n" ROOT)));
	assert_near(t.m[0].shown_percent, 12, 0);
	assert_true(mounts_read(&t, all_of("27 1 254:0 / / rw,relatime - ext4 /dev/vda ro\n")));
	assert_true(t.m[0].line.read_only);
}

static void half_a_point_is_a_move(void **state)
{
	static struct mounts t;
	struct buf b = BUF(4096);

	(void)state;
	mounts_read(&t, all_of(ROOT));
	t.m[0].percent = 41.2;
	t.m[0].inode_percent = NAN;
	assert_true(mounts_moved(&t));
	assert_true(mounts_json(&t, &b));
	assert_string_equal(buf_cstr(&b),
			    "[{\"mount\":\"/\",\"fs\":\"ext4\",\"percent\":41.2,\"total_gb\":0.00,"
			    "\"used_gb\":0.00,\"inode_percent\":null,\"read_only\":false}]");
	assert_false(mounts_moved(&t));
	t.m[0].percent = 41.6;
	assert_false(mounts_moved(&t));
	t.m[0].percent = 40.7;
	assert_true(mounts_moved(&t));
	t.m[0].percent = NAN;
	assert_true(mounts_moved(&t));
	buf_free(&b);
}

/* df rounds up; it is run on the file system of this machine's root. */
static void disk_percent_is_what_df_says(void **state)
{
	static struct mounts t;
	int space, inodes, n;
	FILE *df;

	(void)state;
	for (int tries = 0; tries < 5; tries++) {       /* other processes may write between the two calls */
		mounts_read(&t, all_of(ROOT));
		mounts_measure(&t, "");
		df = popen("df --output=pcent,ipcent / | tail -n 1", "r");
		assert_non_null(df);
		n = fscanf(df, " %d%% %d%%", &space, &inodes);
		pclose(df);
		assert_true(n >= 1);
		if ((int)ceil(t.m[0].percent) == space &&
		    (n < 2 || (int)ceil(t.m[0].inode_percent) == inodes))
			return;
	}
	fail_msg("df says %d%% and %d%%, we say %f and %f", space, inodes, t.m[0].percent,
		 t.m[0].inode_percent);
}

static void garbage_gives_no_value(void **state)
{
	static struct traffic_table t = { .kind = &traffic_disk };
	static struct mounts m;
	char text[4096];
	struct cpu_times c;
	double v;

	(void)state;
	srand(1);
	for (int round = 0; round < 200; round++) {
		for (size_t i = 0; i < sizeof text; i++)
			text[i] = "0 /:-\n\\ae\xff"[rand() % 11];
		mounts_read(&m, (struct text){ text, sizeof text });
		t.kind = round % 2 ? &traffic_disk : &traffic_net;
		traffic_read(&t, (struct text){ text, sizeof text }, round, sys_dir);
		proc_number((struct text){ text, sizeof text }, "0", 1, "a", &v);
		assert_false(proc_cpu((struct text){ text, sizeof text }, &c));
	}
	assert_false(proc_cpu((struct text){ NULL, 0 }, &c));
	assert_int_equal(mounts_of("")->n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_is_found_by_line_column_and_word),
		cmocka_unit_test(a_text_cut_anywhere_gives_the_number_or_none),
		cmocka_unit_test(online_cores_are_counted),
		cmocka_unit_test(cpu_times_are_grouped),
		cmocka_unit_test(cpu_of_512_cores_needs_the_first_line_only),
		cmocka_unit_test(cpu_shares_add_up_to_100),
		cmocka_unit_test(cpu_counters_that_decrease_give_no_value),
		cmocka_unit_test(used_memory_is_the_unavailable_memory),
		cmocka_unit_test(memory_of_an_old_kernel_is_estimated),
		cmocka_unit_test(memory_of_zfs_is_no_used_memory),
		cmocka_unit_test(memory_that_is_not_in_the_text_is_unknown),
		cmocka_unit_test(net_lines_of_all_ages_are_read),
		cmocka_unit_test(rates_count_hardware_once),
		cmocka_unit_test(a_container_counts_its_own_memory),
		cmocka_unit_test(the_kernel_tells_the_type_of_an_interface_not_its_name),
		cmocka_unit_test(interfaces_that_do_not_count_change_nothing),
		cmocka_unit_test(a_counter_that_goes_back_is_a_gap_not_a_spike),
		cmocka_unit_test(devices_appear_and_disappear_without_a_spike),
		cmocka_unit_test(only_whole_disks_count),
		cmocka_unit_test(many_devices_stay_in_bounds),
		cmocka_unit_test(a_mount_line_is_unescaped),
		cmocka_unit_test(real_file_systems_are_kept_once),
		cmocka_unit_test(file_systems_that_may_hang_are_left_out),
		cmocka_unit_test(below_a_hundredth_on_the_server_too),
		cmocka_unit_test(a_disk_over_its_trap_is_there),
		cmocka_unit_test(a_disk_of_which_only_a_folder_is_mounted_is_there),
		cmocka_unit_test(mounts_beyond_the_limit_are_counted),
		cmocka_unit_test(a_meminfo_of_a_container_is_noticed),
		cmocka_unit_test(a_container_root_counts_whatever_it_is),
		cmocka_unit_test(covered_mounts_are_left_out),
		cmocka_unit_test(a_disk_that_the_sandbox_closes_is_listed_without_figures),
		cmocka_unit_test(only_a_different_set_is_a_change),
		cmocka_unit_test(half_a_point_is_a_move),
		cmocka_unit_test(disk_percent_is_what_df_says),
		cmocka_unit_test(garbage_gives_no_value),
	};

	return cmocka_run_group_tests_name("proc", tests, make_sys, remove_sys);
}
