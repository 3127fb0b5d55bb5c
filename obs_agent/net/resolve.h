/*
 * resolve.h - the addresses of servers' names, looked up beside the loop.
 *
 * Promises that a resolver that hangs (the C library's may take minutes) holds up
 * nobody: a lookup runs in a thread of its own, there is never more than one, and
 * it is not waited for at the end. Leaves out what to do without an answer.
 */
#ifndef OBS_AGENT_RESOLVE_H
#define OBS_AGENT_RESOLVE_H

#include <netinet/in.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "common/err.h"

enum {
	RESOLVE_NAMES_MAX = 16,
	RESOLVE_ADDRESSES_MAX = 8,      /* of one name; more are left out */
	RESOLVE_NAME_SIZE = 256,
	RESOLVE_ADDRESS_SIZE = INET6_ADDRSTRLEN + 17,   /* "fe80::1%" and an interface */
};

struct resolve_name {
	char name[RESOLVE_NAME_SIZE];
	const char *error;              /* a sentence that lives for ever; NULL: there are addresses */
	char address[RESOLVE_ADDRESSES_MAX][RESOLVE_ADDRESS_SIZE];
	size_t n;
};

struct resolve_names {
	struct resolve_name name[RESOLVE_NAMES_MAX];
	size_t n;
};

struct resolver;

int resolver_new(sd_event *loop, void (*done)(void *data, const struct resolve_names *answer), void *data,
		 struct resolver **ret, struct err *e);
void resolver_free(struct resolver *r);

/* Look up `names` (only the names are read); done() follows, at a time of its own. While an
 * earlier lookup hangs nothing new is begun: done() is called for that one. */
int resolver_ask(struct resolver *r, const struct resolve_names *names, struct err *e);

#endif
