#include "proc_traffic.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

struct traffic_kind {
	bool (*parse)(struct text line, struct traffic_line *ret);
	const char *const *ignored;             /* beginnings of names */
	void (*choose)(struct traffic_table *t, const char *sys_root);
};

static bool sys_has(const char *sys_root, const char *dir, const char *name, const char *file)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s/%s/%s%s%s", sys_root, dir, name, *file ? "/" : "", file);

	return n > 0 && n < (int)sizeof path && access(path, F_OK) == 0;
}

static bool physical(const char *sys_root, const char *name)
{
	return sys_has(sys_root, "class/net", name, "device");
}

/* A virtual function that carries the traffic of another physical interface
 * (Azure's accelerated networking): both count the same bytes. */
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

/* Interfaces with hardware behind them; in a container there is none, then all
 * that are left by name. */
static void choose_net(struct traffic_table *t, const char *sys_root)
{
	bool any = false;

	for (size_t i = 0; i < t->n; i++) {
		struct traffic *x = &t->t[i];

		x->counted = physical(sys_root, x->name) && !has_physical_master(sys_root, x->name);
		any = any || x->counted;
	}
	for (size_t i = 0; i < t->n && !any; i++)
		t->t[i].counted = true;
}

/* Whole disks have a folder in /sys/block, partitions do not. */
static void choose_disk(struct traffic_table *t, const char *sys_root)
{
	for (size_t i = 0; i < t->n; i++) {
		char name[TRAFFIC_NAME_MAX];

		memcpy(name, t->t[i].name, sizeof name);
		for (char *c = name; *c; c++)
			if (*c == '/')          /* cciss/c0d0 is cciss!c0d0 there */
				*c = '!';
		t->t[i].counted = sys_has(sys_root, "block", name, "");
	}
}

/* What only passes on the traffic of others, or never leaves the machine. */
static const char *const ignored_net[] = {
	"lo", "veth", "docker", "br-", "virbr", "vnet", "bond", "team", "dummy", "ifb", "tun", "tap",
	"wg", "vxlan", "geneve", "gre", "erspan", "sit", "ip6tnl", "tunl", "ip_vti", "ip6_vti", "cali",
	"flannel", "cni", "cilium", "lxc", "lxdbr", "fwbr", "fwln", "fwpr", "kube", "nodelocaldns",
	"nlmon", "macvtap", "podman", NULL,
};

static const char *const ignored_disk[] = {
	"loop", "ram", "zram", "dm-", "md", "sr", "fd", "drbd", "bcache", "zd", NULL,
};

const struct traffic_kind traffic_net = { proc_net_line, ignored_net, choose_net };
const struct traffic_kind traffic_disk = { proc_disk_line, ignored_disk, choose_disk };

static bool ignored(const struct traffic_kind *k, struct text name)
{
	for (size_t i = 0; k->ignored[i]; i++) {
		size_t n = strlen(k->ignored[i]);

		if (name.len >= n && memcmp(name.s, k->ignored[i], n) == 0)
			return true;
	}
	return name.len >= TRAFFIC_NAME_MAX;
}

static struct traffic *find(struct traffic_table *t, struct text name)
{
	for (size_t i = 0; i < t->n; i++)
		if (text_eq(text_of(t->t[i].name), name))
			return &t->t[i];
	return NULL;
}

static struct traffic *add(struct traffic_table *t, struct text name)
{
	struct traffic *x;

	if (t->n == TRAFFIC_MAX)
		return NULL;
	x = &t->t[t->n++];
	*x = (struct traffic){ .fresh = true };
	memcpy(x->name, name.s, name.len);
	return x;
}

/* One line: returns true when the device is new. */
static bool take(struct traffic_table *t, const struct traffic_line *l, int64_t us)
{
	struct traffic *x = find(t, l->name);
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

static bool drop_gone(struct traffic_table *t)
{
	size_t n = 0;
	bool gone;

	for (size_t i = 0; i < t->n; i++)
		if (t->t[i].seen)
			t->t[n++] = t->t[i];
	gone = n != t->n;
	t->n = n;
	return gone;
}

bool traffic_read(struct traffic_table *t, struct text file, int64_t now_us, const char *sys_root)
{
	struct traffic_line l;
	struct text line;
	bool changed = false;

	for (size_t i = 0; i < t->n; i++)
		t->t[i].seen = false;
	while (proc_line(&file, &line))
		if (t->kind->parse(line, &l) && !ignored(t->kind, l.name))
			changed |= take(t, &l, now_us - t->at_us);
	changed |= drop_gone(t);
	if (changed)
		t->kind->choose(t, sys_root);
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
