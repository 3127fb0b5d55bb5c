/* Parsers of /proc: any text, no crash, and never a number from a cut line. The
 * first byte chooses the parser; seeds are real files with such a byte in front. */
#include "obs_agent/proc/proc_mounts.c"
#include "obs_agent/proc/proc_parse.c"
#include "obs_agent/proc/proc_traffic.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_numbers(struct text t)
{
	struct cpu_times a = { 0 }, b = { 0 };
	struct cpu_shares s;
	struct memory m;
	double v;

	proc_number(t, "", 3, "/", &v);
	proc_number(t, "some", 0, "avg60=", &v);
	proc_number(t, "TCP:", 0, "inuse ", &v);
	proc_memory(t, &m);
	proc_list_count(t);
	if (proc_cpu(t, &b) && proc_cpu_shares(&a, &b, &s) &&
	    (s.busy < 0 || s.busy > 100.001 || s.user + s.system + s.iowait + s.steal > 100.001))
		__builtin_trap();
}

static void read_traffic(struct text t, const struct traffic_kind *kind)
{
	static struct traffic_table table;
	struct buf json = BUF(1 << 20);
	double in, out;

	table = (struct traffic_table){ .kind = kind };
	traffic_read(&table, t, 1000000, "/nowhere");
	traffic_read(&table, (struct text){ t.s, t.len / 2 }, 2000000, "/nowhere");
	traffic_sum(&table, &in, &out);
	if (in < 0 || out < 0)
		__builtin_trap();
	traffic_json(&table, &json);
	buf_free(&json);
}

static void read_mounts(struct text t)
{
	static struct mounts table;
	struct buf json = BUF(1 << 20);

	mounts_read(&table, t);
	if (mounts_read(&table, t))             /* the same text is no change */
		__builtin_trap();
	mounts_json(&table, &json);
	buf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text t = { (const char *)data + 1, size - 1 };

	if (size == 0)
		return 0;
	switch (data[0]) {
	case 'm': read_mounts(t); break;
	case 'n': read_traffic(t, &traffic_net); break;
	case 'd': read_traffic(t, &traffic_disk); break;
	default: read_numbers(t);
	}
	return 0;
}
