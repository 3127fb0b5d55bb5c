/*
 * names.h - the addresses of servers' names, as the C library finds them.
 *
 * A lookup may block for minutes; programs with a loop do it in a thread (common/loop/resolve.h).
 */
#ifndef OBSERV_NAMES_H
#define OBSERV_NAMES_H

#include <netinet/in.h>
#include <stddef.h>

enum {
	RESOLVE_NAMES_MAX = 16,
	RESOLVE_ADDRESSES_MAX = 8,      /* of one name; others are ignored */
	RESOLVE_NAME_SIZE = 256,
	RESOLVE_ADDRESS_SIZE = INET6_ADDRSTRLEN + 17,   /* "fe80::1%" and an interface */
};

struct resolve_name {
	char name[RESOLVE_NAME_SIZE];
	const char *error;              /* a constant sentence; NULL: there are addresses */
	char address[RESOLVE_ADDRESSES_MAX][RESOLVE_ADDRESS_SIZE];
	size_t n;
};

struct resolve_names {
	struct resolve_name name[RESOLVE_NAMES_MAX];
	size_t n;
};

/* Fill in the addresses, or the error, of each name. */
void resolve_now(struct resolve_names *names);

#endif
