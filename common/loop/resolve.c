#include "resolve.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { STACK_BYTES = 512 << 10 };

/* Shared by the resolver and its thread; the last one frees it. */
struct lookup {
	atomic_int owners;
	int fd;                         /* an eventfd: the answer is complete */
	struct resolve_names names;
};

struct resolver {
	sd_event *loop;
	void (*done)(void *data, const struct resolve_names *answer);
	void *data;
	struct lookup *lookup;          /* under way, or NULL */
	sd_event_source *io;
};

static void lookup_unref(struct lookup *l)
{
	if (!l || atomic_fetch_sub(&l->owners, 1) > 1)
		return;
	close(l->fd);
	free(l);
}

/* ---- the thread ---- */

static void *work(void *arg)
{
	struct lookup *l = arg;
	uint64_t one = 1;
	ssize_t written;

	resolve_now(&l->names);
	written = write(l->fd, &one, sizeof one);       /* an eventfd always takes another write */
	(void)written;
	lookup_unref(l);
	return NULL;
}

/* Signals are for the loop. */
static int start_thread(struct lookup *l)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int r = pthread_attr_init(&attr);

	if (r)
		return r;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	r = pthread_create(&thread, &attr, work, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return r;
}

/* ---- the loop's side ---- */

static int on_answer(sd_event_source *s, int fd, uint32_t revents, void *data)
{
	struct resolver *r = data;
	struct lookup *l = r->lookup;

	(void)s;
	(void)fd;
	(void)revents;
	r->lookup = NULL;
	r->io = sd_event_source_disable_unref(r->io);
	r->done(r->data, &l->names);
	lookup_unref(l);
	return 0;
}

static struct lookup *lookup_new(const struct resolve_names *names)
{
	struct lookup *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->fd < 0) {
		free(l);
		return NULL;
	}
	l->names = *names;
	atomic_init(&l->owners, 1);
	return l;
}

int resolver_ask(struct resolver *r, const struct resolve_names *names, struct err *e)
{
	struct lookup *l;
	int error;

	if (r->lookup)
		return 0;
	l = lookup_new(names);
	if (!l)
		return err_set(e, errno, "cannot look up names: %s", strerror(errno));
	error = -sd_event_add_io(r->loop, &r->io, l->fd, EPOLLIN, on_answer, r);
	if (error <= 0) {
		atomic_store(&l->owners, 2);
		error = start_thread(l);
	}
	if (error > 0) {
		atomic_store(&l->owners, 1);
		r->io = sd_event_source_disable_unref(r->io);
		lookup_unref(l);
		return err_set(e, error, "cannot look up names: %s", strerror(error));
	}
	r->lookup = l;
	return 0;
}

int resolver_new(sd_event *loop, void (*done)(void *data, const struct resolve_names *answer), void *data,
		 struct resolver **ret, struct err *e)
{
	struct resolver *r = calloc(1, sizeof *r);

	if (!r)
		return err_set(e, ENOMEM, "out of memory for looking up names");
	*r = (struct resolver){ .loop = loop, .done = done, .data = data };
	*ret = r;
	return 0;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	sd_event_source_disable_unref(r->io);
	lookup_unref(r->lookup);
	free(r);
}
