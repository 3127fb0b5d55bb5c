#include "proc_details.h"

#include "common/clock.h"
#include "common/parse.h"

enum { DETAILS_MAX = 192 << 10 };       /* a row of the outbox holds no more than 256 KiB */

void details_init(struct details *d)
{
	*d = (struct details){ .json = BUF(DETAILS_MAX) };
}

void details_free(struct details *d)
{
	buf_free(&d->json);
}

static size_t mounts_left_out(const struct details_parts *p)
{
	return p->mounts->left_out + p->mounts->not_shown;
}

static bool add_left_out(struct buf *b, const char *what, size_t n)
{
	return n == 0 || buf_addf(b, ",\"%s_left_out\":%zu", what, n);
}

static bool left_out_json(const struct details_parts *p, struct buf *b)
{
	return add_left_out(b, "mounts", mounts_left_out(p)) &&
	       add_left_out(b, "interfaces", p->interfaces->left_out) &&
	       add_left_out(b, "disks", p->disks->left_out);
}

static bool are_due(const struct details *d, const struct details_parts *p, int64_t now_us)
{
	return d->sent_us == 0 || d->changed || mounts_moved(p->mounts) ||
	       now_us - d->sent_us >= DETAILS_EVERY_S * US_PER_S;
}

struct text details_text(struct details *d, const struct details_parts *p, int64_t now_us)
{
	struct buf *b = &d->json;

	buf_reset(b);
	if (!are_due(d, p, now_us) || !buf_adds(b, "{\"boot_id\":") ||
	    !(d->boot_id[0] ? buf_add_json(b, text_of(d->boot_id)) : buf_adds(b, "null")) ||
	    !buf_adds(b, ",\"mounts\":") || !mounts_json(p->mounts, b) ||
	    !buf_adds(b, ",\"interfaces\":") || !traffic_json(p->interfaces, b) || !left_out_json(p, b) ||
	    !buf_addc(b, '}'))
		return (struct text){ NULL, 0 };
	d->sent_us = now_us;
	d->changed = false;
	return (struct text){ b->data, b->len };
}

bool details_left_out(struct details *d, const struct details_parts *p, char sentence[LEFT_OUT_SIZE])
{
	size_t mounts = mounts_left_out(p), interfaces = p->interfaces->left_out, disks = p->disks->left_out;
	bool any = mounts + interfaces + disks > 0 || p->mounts_cut, news = any && !d->told_left_out;

	d->told_left_out = any;
	if (news)
		snprintf(sentence, LEFT_OUT_SIZE,
			 "metrics do not show everything: left out are %zu file system%s (%d are shown%s), "
			 "%zu network interface%s and %zu disk%s (%d of each are read)",
			 mounts, plural((int64_t)mounts), MOUNTS_MAX,
			 p->mounts_cut ? ", those beyond 4 MiB of /proc/self/mountinfo not counted" : "",
			 interfaces, plural((int64_t)interfaces), disks, plural((int64_t)disks), TRAFFIC_MAX);
	return news;
}
