#include "pg_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* No value of gssencmode: libpq refuses it after it has put the options together, before it opens a socket.
 * */
#define REFUSED "-"

static int fail(struct err *e, const char *sentence)
{
	return err_set(e, EINVAL, "%.*s", (int)strcspn(sentence, "\n"), sentence);
}

static int read_own(const char *url, struct pg_options *o, struct err *e)
{
	char *problem = NULL;
	int r = 0;

	o->own = PQconninfoParse(url, &problem);
	if (!o->own)
		r = problem ? fail(e, problem)
		    : err_set(e, ENOMEM, "out of memory for the connection string");
	PQfreemem(problem);
	return r;
}

/* The user and the password are given, or libpq would look for them. */
static int read_all(const char *url, struct pg_options *o, struct err *e)
{
	static const char *const keys[] = { "dbname", "user", "password", "gssencmode", NULL };
	const char *const values[] = { url, "-", "-", REFUSED, NULL };
	PGconn *conn = PQconnectStartParams(keys, values, 1);
	const char *says = PQerrorMessage(conn);
	int r = strstr(says, "gssencmode") ? 0 : fail(e, says);

	o->all = r == 0 ? PQconninfo(conn) : NULL;
	PQfinish(conn);
	return r == 0 && !o->all ? err_set(e, ENOMEM, "out of memory for the connection string") : r;
}

int pg_options_read(const char *url, struct pg_options *ret, struct err *e)
{
	struct pg_options o = { NULL, NULL };
	int r = read_own(url, &o, e);

	if (r == 0)
		r = read_all(url, &o, e);
	if (r < 0)
		pg_options_free(&o);
	else
		*ret = o;
	return r;
}

void pg_options_free(struct pg_options *o)
{
	PQconninfoFree(o->own);
	PQconninfoFree(o->all);
	*o = (struct pg_options){ NULL, NULL };
}

static const PQconninfoOption *find(const PQconninfoOption *options, const char *keyword)
{
	for (const PQconninfoOption *o = options; o && o->keyword; o++)
		if (strcmp(o->keyword, keyword) == 0)
			return o;
	return NULL;
}

/* libpq tells a default from what was said to be the same only by who could have said it. */
const char *pg_option(const struct pg_options *o, const char *keyword)
{
	const PQconninfoOption *own = find(o->own, keyword), *all = find(o->all, keyword);
	const char *set = all && all->envvar ? getenv(all->envvar) : NULL;

	if (own && own->val && *own->val)
		return own->val;
	if (!all || !all->val || !*all->val)
		return "";
	if (all->compiled && strcmp(all->val, all->compiled) == 0 && !(set && strcmp(set, all->val) == 0))
		return "";
	return all->val;
}
