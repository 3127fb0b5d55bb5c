#include "pg_target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "pg_tls.h"

/* A list of hosts or addresses for libpq. In place of an empty option it takes what the service or the
 * environment says, which may be a server elsewhere. */
#define TWO_EMPTY ","

enum {
	/* each address of each host; twice where a standby is preferred */
	TARGETS_MAX = 2 * RESOLVE_NAMES_MAX * RESOLVE_ADDRESSES_MAX,
	PORT_SIZE = 8,
	OPTIONS_MAX = 80,               /* libpq 15 has 42 */
};

/* One host of the URL, and the addresses it has. */
struct host {
	const char *host, *address, *port;      /* as in the URL; "": not given */
	struct resolve_name *name;              /* looked up, or NULL */
	bool refused;                           /* it refused the login in this round */
};

struct target {
	struct host *of;
	const char *host, *address, *port;      /* "": libpq's default */
	const char *session;            /* target_session_attrs, if the list of targets decides it */
};

struct pg_targets {
	struct pg_manner manner;
	struct pg_options options;      /* of the URL, its service and the environment */
	char *text[3];                  /* the lists of hosts, addresses and ports, split at commas */
	struct host host[RESOLVE_NAMES_MAX];
	size_t n_hosts;
	struct resolve_names names;     /* with the addresses of the last lookup */
	struct target target[TARGETS_MAX];
	size_t n, next;
	char good[RESOLVE_NAME_SIZE + RESOLVE_ADDRESS_SIZE + PORT_SIZE];        /* of the last good target */
};

/* ---- the URL ---- */

/* Split a list at its commas; parts may be empty ("a,,b"). Returns their number, 0 for an empty
 * list; those beyond RESOLVE_NAMES_MAX count, but are not in `part`. */
static size_t split(char *list, const char *part[RESOLVE_NAMES_MAX])
{
	size_t n = 0;

	for (char *s = *list ? list : NULL, *comma; s; s = comma ? comma + 1 : NULL) {
		comma = strchr(s, ',');
		if (comma)
			*comma = '\0';
		if (n < RESOLVE_NAMES_MAX)
			part[n] = s;
		n++;
	}
	return n;
}

static bool is_name(const struct host *h)
{
	char address[sizeof(struct in6_addr)];

	return *h->host && !*h->address && *h->host != '/' && *h->host != '@' && !strchr(h->host, '%') &&
	       inet_pton(AF_INET, h->host, address) != 1 && inet_pton(AF_INET6, h->host, address) != 1;
}

static struct resolve_name *add_name(struct pg_targets *t, const char *host)
{
	struct resolve_name *name = &t->names.name[t->names.n];

	if (strlen(host) >= sizeof name->name)
		return NULL;                    /* no name is that long: libpq refuses it */
	memcpy(name->name, host, strlen(host) + 1);
	t->names.n++;
	return name;
}

static int split_hosts(struct pg_targets *t, struct err *e)
{
	static const char *const keys[] = { "host", "hostaddr", "port" };
	const char *part[3][RESOLVE_NAMES_MAX];
	size_t n[3];

	for (size_t k = 0; k < 3; k++) {
		t->text[k] = strdup(pg_option(&t->options, keys[k]));
		if (!t->text[k])
			return err_set(e, ENOMEM, "out of memory for the connection string");
		n[k] = split(t->text[k], part[k]);
	}
	if (n[0] > RESOLVE_NAMES_MAX || n[1] > RESOLVE_NAMES_MAX)
		return err_set(e, EINVAL, "it names more than %d hosts; name fewer", RESOLVE_NAMES_MAX);
	t->n_hosts = n[0] > n[1] ? n[0] : n[1];
	if (t->n_hosts == 0)
		t->n_hosts = 1;                 /* libpq's default: a socket */
	if ((n[0] && n[0] != t->n_hosts) || (n[1] && n[1] != t->n_hosts) || (n[2] > 1 && n[2] != t->n_hosts))
		return err_set(e, EINVAL, "it names %zu hosts, %zu addresses and %zu ports; "
			       "give as many of each, or one port for all", n[0], n[1], n[2]);
	for (size_t i = 0; i < t->n_hosts; i++) {
		struct host *h = &t->host[i];

		*h = (struct host){ n[0] ? part[0][i] : "", n[1] ? part[1][i] : "",
				    n[2] ? part[2][n[2] > 1 ? i : 0] : "", NULL, false };
		if (is_name(h))
			h->name = add_name(t, h->host);
	}
	return 0;
}

int pg_targets_new(const char *url, const struct pg_manner *m, struct pg_targets **ret, struct err *e)
{
	struct pg_targets *t = calloc(1, sizeof *t);
	int r;

	if (!t)
		return err_set(e, ENOMEM, "out of memory for the connection string");
	t->manner = *m;
	r = pg_options_read(url, &t->options, e);
	if (r == 0)
		r = split_hosts(t, e);
	if (r < 0) {
		pg_targets_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void pg_targets_free(struct pg_targets *t)
{
	if (!t)
		return;
	pg_options_free(&t->options);
	for (size_t k = 0; k < 3; k++)
		free(t->text[k]);
	free(t);
}

/* ---- names ---- */

const struct resolve_names *pg_targets_names(const struct pg_targets *t)
{
	return &t->names;
}

const char *pg_targets_option(const struct pg_targets *t, const char *keyword)
{
	return pg_option(&t->options, keyword);
}

void pg_targets_found(struct pg_targets *t, const struct resolve_names *answer)
{
	for (size_t i = 0; i < t->names.n && i < answer->n; i++)
		if (answer->name[i].n)
			t->names.name[i] = answer->name[i];
		else
			t->names.name[i].error = answer->name[i].error;
}

/* ---- a round ---- */

static void print_key(const struct target *t, char *out, size_t size)
{
	snprintf(out, size, "%s %s %s", t->host, t->address, t->port);
}

/* The last good target is the first of its round, which begins at `first`. */
static void add_target(struct pg_targets *t, size_t first, struct target x)
{
	char key[sizeof t->good];

	if (t->n == TARGETS_MAX)
		return;
	print_key(&x, key, sizeof key);
	t->target[t->n++] = x;
	if (strcmp(key, t->good) != 0)
		return;
	memmove(t->target + first + 1, t->target + first, (t->n - 1 - first) * sizeof x);
	t->target[first] = x;
}

static void add_targets(struct pg_targets *t, const char *session)
{
	size_t first = t->n;

	for (size_t i = 0; i < t->n_hosts; i++) {
		struct host *h = &t->host[i];

		h->refused = false;
		if (!h->name)
			add_target(t, first, (struct target){ h, h->host, h->address, h->port, session });
		for (size_t a = 0; h->name && a < h->name->n; a++)
			add_target(t, first,
				   (struct target){ h, h->host, h->name->address[a], h->port, session });
	}
}

/* "prefer-standby" is about all servers, but libpq is given one at a time: all are asked for a standby before
 * any of them is taken as it is, also if the last good one was a primary. */
size_t pg_targets_begin(struct pg_targets *t)
{
	bool standby_first = strcmp(pg_targets_option(t, "target_session_attrs"), "prefer-standby") == 0;

	t->n = t->next = 0;
	add_targets(t, standby_first ? "standby" : NULL);
	if (standby_first)
		add_targets(t, "any");
	return t->n;
}

/* The options of one connection. */
struct option_list {
	const char *keys[OPTIONS_MAX], *values[OPTIONS_MAX];
	size_t n;
};

static void put(struct option_list *l, const char *key, const char *value)
{
	if (value && l->n < OPTIONS_MAX - 1) {
		l->keys[l->n] = key;
		l->values[l->n++] = value;
	}
}

static bool is_target(const char *keyword)
{
	return strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0 ||
	       strcmp(keyword, "port") == 0;
}

/* The URL's options override those before them, and those after override the URL's. */
bool pg_targets_next(struct pg_targets *t, PGconn **ret)
{
	const char *const defaults[][2] = {
		{ "fallback_application_name", t->manner.application },
		{ "client_encoding", "UTF8" },
		{ "keepalives_idle", "90" },    /* a batch comes each minute: it needs no probe */
		{ "keepalives_interval", "10" },
		{ "keepalives_count", "3" },
		{ "tcp_user_timeout", "15000" },
		{ "gssencmode", "disable" },
		{ "target_session_attrs", t->manner.writes ? "read-write" : NULL },
	};
	const struct target *x;
	bool listed = *pg_option(&t->options, "host") || *pg_option(&t->options, "hostaddr");
	bool here;
	struct option_list l = { .n = 0 };
	struct pg_tls tls;

	while (t->next < t->n && t->target[t->next].of->refused)
		t->next++;
	if (t->next == t->n)
		return false;
	x = &t->target[t->next++];
	here = listed && !*x->host && !*x->address;
	for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
		put(&l, defaults[i][0], defaults[i][1]);
	for (const PQconninfoOption *o = t->options.own; o->keyword; o++)
		put(&l, o->keyword, is_target(o->keyword) ? NULL : o->val);
	tls = pg_tls_for(&t->options, pg_tls_is_local(x->host, x->address));
	put(&l, "password", t->manner.password);
	put(&l, "target_session_attrs", x->session);
	put(&l, "sslmode", tls.mode);
	put(&l, "sslrootcert", tls.root);
	put(&l, "host", here ? TWO_EMPTY : x->host);
	put(&l, "hostaddr", here ? TWO_EMPTY : x->address);
	put(&l, "port", x->port);
	*ret = PQconnectStartParams(l.keys, l.values, 0);
	return true;
}

void pg_targets_refused(struct pg_targets *t)
{
	if (t->next)
		t->target[t->next - 1].of->refused = true;
}

void pg_targets_good(struct pg_targets *t)
{
	if (t->next)
		print_key(&t->target[t->next - 1], t->good, sizeof t->good);
}
