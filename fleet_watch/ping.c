#include "ping.h"

#include <stdlib.h>

#include "common/channels/transfer.h"

struct ping {
	struct curl_glue *glue;
	const struct watch_conf *conf;
	struct logcore *log;
	struct transfer *transfer; /* under way, or NULL */
	bool failed;               /* the last one: said once */
};

struct ping *ping_new(struct curl_glue *glue, const struct watch_conf *conf, struct logcore *log)
{
	struct ping *p = calloc(1, sizeof *p);

	if (p)
		*p = (struct ping){ .glue = glue, .conf = conf, .log = log };
	return p;
}

/* The URL may be a secret: the log does not have it. */
static void on_answer(void *data, const struct answer *a)
{
	struct ping *p = data;
	bool ok = a->status >= 200 && a->status < 300;

	p->transfer = NULL;
	if (!ok && !p->failed)
		logcore_warning(p->log, "the dead-man's switch does not take the ping",
				logcore_kv("status", (int64_t)a->status),
				logcore_kv("error", a->status ? "" : a->said));
	else if (ok && p->failed)
		logcore_info(p->log, "the dead-man's switch takes pings again");
	p->failed = !ok;
}

void ping_send(struct ping *p)
{
	struct request r;
	struct err e;

	if (p->transfer || !*p->conf->ping_url)
		return;
	request_init(&r);
	r.trusted = true;
	if (!buf_adds(&r.url, p->conf->ping_url)) {
		request_free(&r);
		return;
	}
	p->transfer = transfer_start(p->glue, watch_conf_limits(p->conf), &r, on_answer, p, &e);
}

void ping_free(struct ping *p)
{
	if (!p)
		return;
	transfer_cancel(p->transfer);
	free(p);
}
