#include "resolve.h"

#include <errno.h>
#include <stdlib.h>

#include "worker.h"

struct resolver {
	sd_event *loop;
	void (*done)(void *data, const struct resolve_names *answer);
	void *data;
	struct worker *worker;       /* under way, or NULL */
	struct resolve_names *names; /* of it */
};

static void resolve(void *names)
{
	resolve_now(names);
}

static void on_answer(void *data)
{
	struct resolver *r = data;
	struct worker *w = r->worker;

	r->worker = NULL;
	r->done(r->data, r->names); /* may ask again */
	worker_free(w);
}

int resolver_ask(struct resolver *r, const struct resolve_names *names, struct err *e)
{
	struct resolve_names *copy;

	if (r->worker)
		return 0;
	copy = malloc(sizeof *copy);
	if (!copy)
		return err_set(e, ENOMEM, "out of memory for looking up names");
	*copy = *names;
	if (worker_start(r->loop, &(struct worker_job){ resolve, free, copy, on_answer, r }, &r->worker, e) <
	    0) {
		free(copy);
		return err_prefix(e, "cannot look up names");
	}
	r->names = copy;
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
	worker_free(r->worker);
	free(r);
}
