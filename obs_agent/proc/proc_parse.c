#include "proc_parse.h"

#include <math.h>

#include "common/clock.h"
#include "common/parse.h"

enum { SECTOR_BYTES = 512 };    /* of /proc/diskstats, whatever the disk's own are */

bool proc_line(struct text *rest, struct text *ret_line)
{
	const char *end = rest->len ? memchr(rest->s, '\n', rest->len) : NULL;

	if (!end)
		return false;
	*ret_line = (struct text){ rest->s, (size_t)(end - rest->s) };
	rest->len -= ret_line->len + 1;
	rest->s = end + 1;
	return true;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Take the next blank-separated word off the front. */
static bool next_word(struct text *rest, struct text *ret)
{
	size_t from = 0, to;

	while (from < rest->len && blank(rest->s[from]))
		from++;
	for (to = from; to < rest->len && !blank(rest->s[to]);)
		to++;
	if (to == from)
		return false;
	*ret = (struct text){ rest->s + from, to - from };
	*rest = (struct text){ rest->s + to, rest->len - to };
	return true;
}

static bool next_u64(struct text *rest, uint64_t *ret)
{
	struct text w;

	return next_word(rest, &w) && parse_u64(w, ret);
}

static bool skip_words(struct text *rest, int n)
{
	struct text w;

	while (n-- > 0)
		if (!next_word(rest, &w))
			return false;
	return true;
}

static bool starts_with(struct text t, const char *head)
{
	size_t n = strlen(head);

	return t.len >= n && memcmp(t.s, head, n) == 0;
}

static void advance(struct text *t, size_t n)
{
	t->s += n;
	t->len -= n;
}

/* The decimal number at the front, after blanks. */
static bool leading_number(struct text t, double *ret)
{
	size_t n = 0;

	while (t.len && blank(t.s[0]))
		advance(&t, 1);
	while (n < t.len && ((t.s[n] >= '0' && t.s[n] <= '9') || t.s[n] == '.'))
		n++;
	return parse_double((struct text){ t.s, n }, ret);
}

static bool number_in_line(struct text line, int column, const char *word, double *ret)
{
	const char *at;

	if (!skip_words(&line, column))
		return false;
	if (*word) {
		at = memmem(line.s, line.len, word, strlen(word));
		if (!at)
			return false;
		advance(&line, (size_t)(at - line.s) + strlen(word));
	}
	return leading_number(line, ret);
}

bool proc_number(struct text file, const char *line, int column, const char *word, double *ret)
{
	struct text l;

	while (proc_line(&file, &l))
		if (starts_with(l, line)) {
			advance(&l, strlen(line));
			return number_in_line(l, column, word, ret);
		}
	return false;
}

bool proc_cpu(struct text file, struct cpu_times *ret)
{
	/* user nice system idle iowait irq softirq steal: kernels before 2.6.11 end earlier */
	enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, FIELDS };
	uint64_t v[FIELDS] = { 0 };
	struct text line;
	int n = 0;

	if (!proc_line(&file, &line) || !starts_with(line, "cpu "))
		return false;
	advance(&line, 4);
	while (n < FIELDS && next_u64(&line, &v[n]))
		n++;
	if (n <= IDLE)
		return false;
	*ret = (struct cpu_times){
		.user = v[USER] + v[NICE],
		.system = v[SYSTEM] + v[IRQ] + v[SOFTIRQ],
		.idle = v[IDLE],
		.iowait = v[IOWAIT],
		.steal = v[STEAL],
	};
	return true;
}

/* The kernel's own manual says that iowait may decrease, and idle does when a
 * core goes offline: that is no reset, only nothing to count. */
static uint64_t forgiving_delta(uint64_t before, uint64_t now)
{
	return now > before ? now - before : 0;
}

bool proc_cpu_shares(const struct cpu_times *before, const struct cpu_times *now, struct cpu_shares *ret)
{
	double user, system, steal, iowait, total;

	if (now->user < before->user || now->system < before->system || now->steal < before->steal)
		return false;
	user = (double)(now->user - before->user);
	system = (double)(now->system - before->system);
	steal = (double)(now->steal - before->steal);
	iowait = (double)forgiving_delta(before->iowait, now->iowait);
	total = user + system + steal + iowait + (double)forgiving_delta(before->idle, now->idle);
	if (total <= 0)
		return false;
	*ret = (struct cpu_shares){
		.busy = 100 * (user + system + steal) / total,
		.user = 100 * user / total,
		.system = 100 * system / total,
		.iowait = 100 * iowait / total,
		.steal = 100 * steal / total,
	};
	return true;
}

/* Before Linux 3.14 there is no MemAvailable: what is free or can be dropped. */
static double available_kb(struct text file)
{
	static const char *const droppable[] = { "Buffers:", "Cached:", "SReclaimable:" };
	double sum, v;

	if (proc_number(file, "MemAvailable:", 0, "", &v))
		return v;
	if (!proc_number(file, "MemFree:", 0, "", &sum))
		return NAN;
	for (size_t i = 0; i < sizeof droppable / sizeof droppable[0]; i++)
		if (proc_number(file, droppable[i], 0, "", &v))
			sum += v;
	return proc_number(file, "Shmem:", 0, "", &v) ? sum - v : sum;
}

/* fmax() would turn NaN into 0. */
static double not_negative(double v)
{
	return v < 0 ? 0 : v;
}

void proc_memory(struct text file, struct memory *ret)
{
	double free_kb = NAN;

	*ret = (struct memory){ NAN, NAN, NAN, NAN };
	if (proc_number(file, "MemTotal:", 0, "", &ret->total_kb))
		ret->used_kb = not_negative(ret->total_kb - available_kb(file));
	if (proc_number(file, "SwapTotal:", 0, "", &ret->swap_total_kb) &&
	    proc_number(file, "SwapFree:", 0, "", &free_kb))
		ret->swap_used_kb = not_negative(ret->swap_total_kb - free_kb);
}

double proc_arc_kb(struct text file)
{
	double size, least;

	/* name, type, data */
	if (!proc_number(file, "size ", 1, "", &size) || !proc_number(file, "c_min ", 1, "", &least))
		return 0;
	return not_negative(size - least) / 1024;
}

bool proc_net_line(struct text line, struct traffic_line *ret)
{
	const char *colon = line.len ? memrchr(line.s, ':', line.len) : NULL;
	struct text name, counters;

	if (!colon)
		return false;
	name = (struct text){ line.s, (size_t)(colon - line.s) };
	counters = line;
	advance(&counters, name.len + 1);          /* old kernels: no blank behind the colon */
	return next_word(&name, &ret->name) && next_u64(&counters, &ret->in) &&
	       skip_words(&counters, 7) && next_u64(&counters, &ret->out);
}

bool proc_disk_line(struct text line, struct traffic_line *ret)
{
	return skip_words(&line, 2) && next_word(&line, &ret->name) &&
	       skip_words(&line, 2) && next_u64(&line, &ret->in) &&
	       skip_words(&line, 3) && next_u64(&line, &ret->out) && line.len > 0 &&
	       !__builtin_mul_overflow(ret->in, SECTOR_BYTES, &ret->in) &&
	       !__builtin_mul_overflow(ret->out, SECTOR_BYTES, &ret->out);
}

static bool device_number(struct text t, unsigned *ret_major, unsigned *ret_minor)
{
	const char *colon = memchr(t.s, ':', t.len);
	uint64_t ma, mi;
	size_t n;

	if (!colon)
		return false;
	n = (size_t)(colon - t.s);
	if (!parse_u64((struct text){ t.s, n }, &ma) || ma > UINT32_MAX ||
	    !parse_u64((struct text){ colon + 1, t.len - n - 1 }, &mi) || mi > UINT32_MAX)
		return false;
	*ret_major = (unsigned)ma;
	*ret_minor = (unsigned)mi;
	return true;
}

/* 36 35 98:0 /root /mount/point rw,noatime shared:1 master:2 - ext4 /dev/sda rw,errors=continue */
bool proc_mount_line(struct text line, struct mount_line *ret)
{
	static const char closed[] = "/systemd/inaccessible/";
	struct text device, root, point, w, fs, options;

	if (!skip_words(&line, 2) || !next_word(&line, &device) || !next_word(&line, &root) ||
	    !next_word(&line, &point) || !skip_words(&line, 1))
		return false;
	do
		if (!next_word(&line, &w))
			return false;
	while (!text_eq(w, TEXT("-")));
	/* The source may be empty: the options are what comes last. */
	if (!next_word(&line, &fs) || !next_word(&line, &options))
		return false;
	while (next_word(&line, &w))
		options = w;
	ret->whole = text_eq(root, TEXT("/"));
	ret->closes = memmem(root.s, root.len, closed, sizeof closed - 1) != NULL;
	ret->read_only = text_eq(options, TEXT("ro")) || starts_with(options, "ro,");
	return device_number(device, &ret->major, &ret->minor) &&
	       parse_mount_text(point, ret->point, sizeof ret->point) &&
	       parse_mount_text(fs, ret->fs, sizeof ret->fs);
}

/* "5" or "0-3": how many; -1 when it is neither. */
static int64_t range_count(struct text t)
{
	const char *dash = t.len ? memchr(t.s, '-', t.len) : NULL;
	size_t n = dash ? (size_t)(dash - t.s) : t.len;
	uint64_t from, to;

	if (!parse_u64((struct text){ t.s, n }, &from))
		return -1;
	if (!dash)
		return 1;
	if (!parse_u64((struct text){ dash + 1, t.len - n - 1 }, &to) || to < from || to - from >= 1 << 20)
		return -1;
	return (int64_t)(to - from) + 1;
}

int proc_list_count(struct text file)
{
	struct text line;
	int64_t sum = 0;

	if (!proc_line(&file, &line))
		return 0;
	for (;;) {
		const char *comma = line.len ? memchr(line.s, ',', line.len) : NULL;
		size_t n = comma ? (size_t)(comma - line.s) : line.len;
		int64_t count = range_count((struct text){ line.s, n });

		if (count < 0 || sum + count > 1 << 20)
			return 0;
		sum += count;
		if (!comma)
			return (int)sum;
		advance(&line, n + 1);
	}
}

double proc_rate(uint64_t before, uint64_t now, int64_t us)
{
	if (now < before || us <= 0)
		return NAN;
	return (double)(now - before) * (double)US_PER_S / (double)us;
}
