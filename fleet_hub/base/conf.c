#include "conf.h"

#include <errno.h>

#include "common/cleanup.h"
#include "common/near.h"
#include "common/parse.h"
#include "common/utf8.h"

enum { FILE_MAX = 64 * 1024, KEYS_MAX = 32, SAID_MAX = 60 };

/* A row is the parser, the default and the manual. */
struct key {
	const char *name;
	int (*read)(struct conf *c, const struct key *key, const char *value, struct err *e);
	size_t at;
	const char *otherwise, *allowed;
	int64_t least, most;
	const char *help;
};

static int read_text(struct conf *c, const struct key *key, const char *value, struct err *e)
{
	char *copy = value ? arena_dup(&c->arena, text_of(value)) : NULL;

	if (value && !copy)
		return err_set(e, ENOMEM, "out of memory");
	memcpy((char *)c + key->at, &copy, sizeof copy);
	return 0;
}

/* One of the words of `allowed`, which has '|' between them. */
static int read_word(struct conf *c, const struct key *key, const char *value, struct err *e)
{
	const char *word = key->allowed;

	for (size_t n; *word; word += n + (word[n] == '|')) {
		n = strcspn(word, "|");
		if (text_eq(text_of(value), (struct text){ word, n }))
			return read_text(c, key, value, e);
	}
	return err_set(e, EINVAL, "%s is one of %s, not \"%.*s\"", key->name, key->allowed,
		       (int)utf8_cut(value, strlen(value), SAID_MAX), value);
}

static int read_number(struct conf *c, const struct key *key, const char *value, struct err *e)
{
	int64_t n;

	if (!parse_i64(text_of(value), &n) || n < key->least || n > key->most)
		return err_set(e, EINVAL, "%s is a number from %lld to %lld, not \"%.*s\"", key->name,
			       (long long)key->least, (long long)key->most,
			       (int)utf8_cut(value, strlen(value), SAID_MAX), value);
	memcpy((char *)c + key->at, &n, sizeof n);
	return 0;
}

#define AT(member) offsetof(struct conf, member)

static const struct key keys[] = {
	{ "database_url", read_text, AT(database_url), NULL, NULL, 0, 0,
	  "where the database is: a connection string of libpq; `OBSERV_DATABASE_URL` goes before it" },
	{ "anonymous", read_word, AT(anonymous), "none", "none|viewer", 0, 0,
	  "`viewer`: requests of this machine, over loopback, may read without sign-in" },
	{ "plain_http", read_word, AT(plain_http), "loopback", "loopback|allow", 0, 0,
	  "`allow`: passwords and sessions may travel without TLS from other machines, too" },
	{ "trusted_proxies", read_text, AT(trusted_proxies), "", NULL, 0, 0,
	  "addresses of web servers in front whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed; "
	  "what they hand on never counts as this machine's" },
	{ "public_url", read_text, AT(public_url), "", NULL, 0, 0,
	  "the address of the hub, as in `https://observ.example.com`, for commands that it prints; by "
	  "default as the browser names it" },
	{ "agents_database", read_text, AT(agents_database), "", NULL, 0, 0,
	  "where agents reach the database, as in `db.example.com:5432/observ_metrics`; by default as in "
	  "`database_url`" },
	{ "cors_origins", read_text, AT(cors_origins), "", NULL, 0, 0,
	  "sites, as in `https://status.example.com`, whose pages may ask `/api/v1` in a browser (CORS), "
	  "with a token" },
	{ "packages", read_text, AT(packages), "", NULL, 0, 0,
	  "a folder with the .deb files that `install.sh` installs on servers" },
	{ "ingest_log", read_text, AT(ingest_log), "", NULL, 0, 0,
	  "a file, or `stderr`, that gets a JSON line of each payload that servers post, to find the mistake "
	  "of a client; it has all that the payload has" },
	{ "password_memory_mib", read_number, AT(password_memory_mib), "19", NULL, 8, 1024,
	  "memory of argon2id for one password, MiB; a stored password gets it at the next sign-in" },
	{ "password_passes", read_number, AT(password_passes), "2", NULL, 1, 100,
	  "passes of argon2id over that memory" },
};
enum { KEYS = sizeof keys / sizeof keys[0] };
_Static_assert(sizeof keys / sizeof keys[0] <= KEYS_MAX, "each key has a bit");

void conf_init(struct conf *c)
{
	struct err e;

	*c = (struct conf){ .arena = ARENA(FILE_MAX) };
	for (size_t i = 0; i < KEYS; i++)
		keys[i].read(c, &keys[i], keys[i].otherwise, &e);
}

void conf_free(struct conf *c)
{
	arena_free(&c->arena);
}

/* ---- the file ------------------------------------------------------------------------------- */

static struct text trimmed(struct text t)
{
	while (t.len && (t.s[0] == ' ' || t.s[0] == '\t')) {
		t.s++;
		t.len--;
	}
	while (t.len && strchr(" \t\r\n", t.s[t.len - 1]))
		t.len--;
	return t;
}

static int no_such_key(struct text name, struct err *e)
{
	struct near near = near_to(name);
	char hint[NEAR_HINT_SIZE];

	for (size_t i = 0; i < KEYS; i++)
		near_try(&near, keys[i].name);
	return err_set(e, EINVAL, "\"%.*s\" is not a key%s", (int)utf8_cut(name.s, name.len, SAID_MAX),
		       name.s, near_hint(&near, "", hint));
}

static int take(struct conf *c, struct text name, struct text value, uint32_t *given, struct err *e)
{
	for (size_t i = 0; i < KEYS; i++) {
		char *copy;

		if (!text_eq(name, text_of(keys[i].name)))
			continue;
		if (*given & UINT32_C(1) << i)
			return err_set(e, EINVAL, "%s is given twice", keys[i].name);
		*given |= UINT32_C(1) << i;
		copy = arena_dup(&c->arena, value);
		return copy ? keys[i].read(c, &keys[i], copy, e) : err_set(e, ENOMEM, "out of memory");
	}
	return no_such_key(name, e);
}

static int read_line(struct conf *c, struct text line, uint32_t *given, struct err *e)
{
	const char *equals;

	line = trimmed(line);
	if (line.len == 0 || line.s[0] == '#')
		return 0;
	equals = memchr(line.s, '=', line.len);
	if (!equals)
		return err_set(e, EINVAL, "there is no '='; write: key = value");
	return take(c, trimmed((struct text){ line.s, (size_t)(equals - line.s) }),
		    trimmed((struct text){ equals + 1, (size_t)(line.s + line.len - equals - 1) }), given, e);
}

int conf_read(struct conf *c, const char *path, struct err *e)
{
	CLEANUP(fclose_p) FILE *file = fopen(path, "re");
	CLEANUP(free_p) char *line = NULL;
	uint32_t given = 0;
	size_t room = 0, total = 0;
	ssize_t n;

	if (!file)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	for (int number = 1; (n = getline(&line, &room, file)) >= 0; number++) {
		total += (size_t)n;
		if (total > FILE_MAX / 4)
			return err_set(e, EFBIG, "%s is larger than %d bytes", path, FILE_MAX / 4);
		if (read_line(c, (struct text){ line, (size_t)n }, &given, e) < 0)
			return err_prefix(e, "%s:%d", path, number);
	}
	return ferror(file) ? err_set(e, EIO, "%s can't be read", path) : 0;
}

/* ---- use ------------------------------------------------------------------------------------- */

bool conf_lists(const char *list, const char *item)
{
	static const char between[] = " ,\t";

	for (size_t n; *list; list += n) {
		list += strspn(list, between);
		n = strcspn(list, between);
		if (n && text_eq((struct text){ list, n }, text_of(item)))
			return true;
	}
	return false;
}

static const char *value_words(const struct key *key, char out[64])
{
	if (key->read == read_number)
		snprintf(out, 64, "%lld to %lld", (long long)key->least, (long long)key->most);
	else
		snprintf(out, 64, "%s", key->allowed ? key->allowed : "text");
	for (char *c = out; (c = strchr(c, '|'));)
		*c = ' ';
	return out;
}

void conf_print_keys(FILE *to)
{
	char words[64];

	fputs("| key | value | default | meaning |\n|---|---|---|---|\n", to);
	for (size_t i = 0; i < KEYS; i++)
		fprintf(to, "| `%s` | %s | %s | %s |\n", keys[i].name, value_words(&keys[i], words),
			keys[i].otherwise && *keys[i].otherwise ? keys[i].otherwise : "-", keys[i].help);
}
