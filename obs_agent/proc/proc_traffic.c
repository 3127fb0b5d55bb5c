#include "proc_traffic.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/if_arp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/cleanup.h"

struct traffic_kind {
	bool (*parse)(struct text line, struct traffic_line *ret);
	void (*choose)(struct traffic_table *t, const char *sys_root);
};

static bool sys_has(const char *sys_root, const char *dir, const char *name, const char *file)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s/%s/%s%s%s", sys_root, dir, name, *file ? "/" : "", file);

	return n > 0 && n < (int)sizeof path && access(path, F_OK) == 0;
}

/* ---- which interfaces count --------------------------------------------------------------- */

static bool physical(const char *sys_root, const char *name)
{
	return sys_has(sys_root, "class/net", name, "device");
}

/* Azure's accelerated networking pairs a virtual function with another physical
 * interface: both count the same bytes. */
static bool has_physical_master(const char *sys_root, const char *name)
{
	char path[PATH_MAX], to[PATH_MAX];
	const char *base;
	ssize_t len;

	if (snprintf(path, sizeof path, "%s/class/net/%s/master", sys_root, name) >= (int)sizeof path)
		return false;
	len = readlink(path, to, sizeof to - 1);
	if (len <= 0)
		return false;
	to[len] = '\0';
	base = strrchr(to, '/');
	return physical(sys_root, base ? base + 1 : to);
}

/* The number in a file of the interface; -1: no such file. */
static long net_number(const char *sys_root, const char *name, const char *file)
{
	char path[PATH_MAX], text[32];
	CLEANUP(close_p) int fd = -1;
	ssize_t n;

	if (snprintf(path, sizeof path, "%s/class/net/%s/%s", sys_root, name, file) >= (int)sizeof path)
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	return strtol(text, NULL, 0);           /* "1", or "0x1003" */
}

/* Is it built on another interface (VLAN, macvlan, bond, team, a bridge with ports)? */
static bool has_lower(const char *sys_root, const char *name)
{
	char path[PATH_MAX];
	CLEANUP(closedir_p) DIR *d = NULL;
	const struct dirent *e;

	if (snprintf(path, sizeof path, "%s/class/net/%s", sys_root, name) >= (int)sizeof path)
		return false;
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (strncmp(e->d_name, "lower_", strlen("lower_")) == 0)
			return true;
	return false;
}

/* Layer 3 tunnels: their packets pass another interface once more. */
static bool is_tunnel(long type)
{
	return type == ARPHRD_NONE || type == ARPHRD_TUNNEL || type == ARPHRD_TUNNEL6 || type == ARPHRD_SIT ||
	       type == ARPHRD_IPGRE || type == ARPHRD_IP6GRE;
}

/* Without sysfs the name has to tell. */
static bool is_loopback(const char *sys_root, const char *name, long type)
{
	long flags = net_number(sys_root, name, "flags");

	if (type < 0)
		return strcmp(name, "lo") == 0;
	return type == ARPHRD_LOOPBACK || (flags > 0 && (flags & IFF_LOOPBACK));
}

/* The host's end of a container's veth pair, by the names that the kernel and Calico give it. */
static bool is_far_end(const char *name)
{
	return strncmp(name, "veth", 4) == 0 || strncmp(name, "cali", 4) == 0;
}

/* Which interfaces to count where none has hardware; a lower rank is better. */
enum rank {
	RANK_END,                       /* bytes enter and leave the machine here */
	RANK_PART,                      /* another interface probably counts the same bytes */
	RANK_STACKED,                   /* the interfaces below it count the same bytes */
	RANK_NEVER,                     /* loopback */
};

static enum rank rank_of(const char *sys_root, const char *name)
{
	long type = net_number(sys_root, name, "type");

	if (is_loopback(sys_root, name, type))
		return RANK_NEVER;
	if (sys_has(sys_root, "class/net", name, "bridge") ||
	    sys_has(sys_root, "class/net", name, "bonding") || has_lower(sys_root, name))
		return RANK_STACKED;
	if (sys_has(sys_root, "class/net", name, "master") || is_tunnel(type) || is_far_end(name))
		return RANK_PART;
	return RANK_END;
}

/* In a container no interface has hardware: count all of the best rank. */
static void choose_ends(struct traffic_table *t, const char *sys_root)
{
	enum rank best = RANK_NEVER, rank[TRAFFIC_MAX];

	for (size_t i = 0; i < t->n; i++) {
		rank[i] = rank_of(sys_root, t->t[i].name);
		best = rank[i] < best ? rank[i] : best;
	}
	for (size_t i = 0; i < t->n; i++)
		t->t[i].counted = rank[i] == best && best != RANK_NEVER;
}

/* Interfaces with hardware count, whatever their names. */
static void choose_net(struct traffic_table *t, const char *sys_root)
{
	bool any = false;

	for (size_t i = 0; i < t->n; i++) {
		struct traffic *x = &t->t[i];

		x->counted = physical(sys_root, x->name) && !has_physical_master(sys_root, x->name);
		any = any || x->counted;
	}
	if (!any)
		choose_ends(t, sys_root);
}

/* ---- which disks count ---------------------------------------------------------------------- */

/* Block devices in memory, in a file or on other disks: not disks. */
static const char *const no_disks[] = {
	"loop", "ram", "zram", "dm-", "md", "md_d", "sr", "fd", "drbd", "bcache", "zd", NULL,
};

static bool is_numbered(const char *name, const char *kind)
{
	size_t n = strlen(kind);

	return strncmp(name, kind, n) == 0 && name[n] >= '0' && name[n] <= '9';
}

static bool is_disk(const char *sys_root, const char *name)
{
	char in_sys[TRAFFIC_NAME_MAX];

	for (size_t i = 0; no_disks[i]; i++)
		if (is_numbered(name, no_disks[i]))
			return false;
	memcpy(in_sys, name, sizeof in_sys);
	for (char *c = in_sys; *c; c++)
		if (*c == '/')                  /* cciss/c0d0 is cciss!c0d0 there */
			*c = '!';
	return sys_has(sys_root, "block", in_sys, "");  /* partitions are not there */
}

static void choose_disk(struct traffic_table *t, const char *sys_root)
{
	for (size_t i = 0; i < t->n; i++)
		t->t[i].counted = is_disk(sys_root, t->t[i].name);
}

const struct traffic_kind traffic_net = { proc_net_line, choose_net };
const struct traffic_kind traffic_disk = { proc_disk_line, choose_disk };

/* ---- readings ------------------------------------------------------------------------------- */

/* `likely` is its index at the last reading: the files keep their order. */
static struct traffic *find(struct traffic_table *t, struct text name, size_t likely)
{
	if (likely < t->n && text_eq(text_of(t->t[likely].name), name))
		return &t->t[likely];
	for (size_t i = 0; i < t->n; i++)
		if (text_eq(text_of(t->t[i].name), name))
			return &t->t[i];
	return NULL;
}

static struct traffic *add(struct traffic_table *t, struct text name)
{
	struct traffic *x;

	if (t->n == TRAFFIC_MAX || name.len >= TRAFFIC_NAME_MAX) {
		t->left_out++;
		return NULL;
	}
	x = &t->t[t->n++];
	*x = (struct traffic){ .fresh = true };
	memcpy(x->name, name.s, name.len);
	return x;
}

/* Take one line. True: the device is new. */
static bool take(struct traffic_table *t, const struct traffic_line *l, int64_t us, size_t likely)
{
	struct traffic *x = find(t, l->name, likely);
	bool fresh = !x;

	if (fresh)
		x = add(t, l->name);
	if (!x)
		return false;
	x->in_rate = fresh ? NAN : proc_rate(x->in, l->in, us);
	x->out_rate = fresh ? NAN : proc_rate(x->out, l->out, us);
	x->in = l->in;
	x->out = l->out;
	x->fresh = fresh;
	x->seen = true;
	return fresh;
}

/* Forget devices that are gone. True: one of them was counted. */
static bool drop_gone(struct traffic_table *t, bool *ret_gone)
{
	bool counted = false;
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		if (t->t[i].seen)
			t->t[n++] = t->t[i];
		else
			counted |= t->t[i].counted;
	*ret_gone = n != t->n;
	t->n = n;
	return counted;
}

/* Choose what counts. True: the set has changed. */
static bool choose(struct traffic_table *t, const char *sys_root)
{
	bool changed = false, before[TRAFFIC_MAX] = { false };

	for (size_t i = 0; i < t->n; i++)
		before[i] = t->t[i].counted;
	t->kind->choose(t, sys_root);
	for (size_t i = 0; i < t->n; i++)
		changed |= before[i] != t->t[i].counted;
	return changed;
}

bool traffic_read(struct traffic_table *t, struct text file, int64_t now_us, const char *sys_root)
{
	struct traffic_line l;
	struct text line;
	bool fresh = false, gone, changed;
	size_t lines = 0;

	t->left_out = 0;
	for (size_t i = 0; i < t->n; i++)
		t->t[i].seen = false;
	while (proc_line(&file, &line))
		if (t->kind->parse(line, &l))
			fresh |= take(t, &l, now_us - t->at_us, lines++);
	changed = drop_gone(t, &gone);
	if (fresh || gone)
		changed |= choose(t, sys_root);
	t->at_us = now_us;
	return changed;
}

void traffic_sum(const struct traffic_table *t, double *ret_in, double *ret_out)
{
	double in = 0, out = 0;
	bool any = false;

	for (size_t i = 0; i < t->n; i++) {
		const struct traffic *x = &t->t[i];

		if (!x->counted || x->fresh)
			continue;
		in += x->in_rate;
		out += x->out_rate;
		any = true;
	}
	*ret_in = any ? in : NAN;
	*ret_out = any ? out : NAN;
}

size_t traffic_counted(const struct traffic_table *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		n += t->t[i].counted;
	return n;
}

static bool add_rate(struct buf *out, const char *key, double rate)
{
	return isnan(rate) ? buf_addf(out, ",\"%s\":null", key) : buf_addf(out, ",\"%s\":%.0f", key, rate);
}

bool traffic_json(const struct traffic_table *t, struct buf *out)
{
	const char *comma = "";

	if (!buf_addc(out, '['))
		return false;
	for (size_t i = 0; i < t->n; i++) {
		const struct traffic *x = &t->t[i];

		if (!x->counted)
			continue;
		if (!buf_addf(out, "%s{\"name\":", comma) || !buf_add_json(out, text_of(x->name)) ||
		    !add_rate(out, "rx_bytes_per_s", x->in_rate) ||
		    !add_rate(out, "tx_bytes_per_s", x->out_rate) || !buf_addc(out, '}'))
			return false;
		comma = ",";
	}
	return buf_addc(out, ']');
}
