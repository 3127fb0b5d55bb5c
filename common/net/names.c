#include "names.h"

#include <netdb.h>
#include <sys/socket.h>

static void look_up(struct resolve_name *name)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	int r = getaddrinfo(name->name, NULL, &hints, &list);

	name->n = 0;
	for (const struct addrinfo *a = list; r == 0 && a && name->n < RESOLVE_ADDRESSES_MAX; a = a->ai_next)
		if (getnameinfo(a->ai_addr, a->ai_addrlen, name->address[name->n], RESOLVE_ADDRESS_SIZE, NULL,
				0, NI_NUMERICHOST) == 0)
			name->n++;
	if (list)
		freeaddrinfo(list);
	name->error = name->n ? NULL : gai_strerror(r ? r : EAI_NONAME);
}

void resolve_now(struct resolve_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		look_up(&names->name[i]);
}
