#include "conf.h"

#include "common/settings/conf_file.h"

#define AT(member) offsetof(struct conf, member)

static const struct conf_key keys[] = {
	{ "database_url", conf_text, AT(database_url), NULL, NULL, 0, 0,
	  "where the database is: a connection string of libpq; `OBSERV_DATABASE_URL` goes before it" },
	{ "anonymous", conf_word, AT(anonymous), "none", "none|viewer", 0, 0,
	  "`viewer`: requests of this machine, over loopback, may read without sign-in" },
	{ "plain_http", conf_word, AT(plain_http), "loopback", "loopback|allow", 0, 0,
	  "`allow`: passwords and sessions may travel without TLS from other machines, too" },
	{ "trusted_proxies", conf_text, AT(trusted_proxies), "", NULL, 0, 0,
	  "addresses of web servers in front whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed; "
	  "what they hand on never counts as this machine's" },
	{ "auth_header", conf_text, AT(auth_header), "", NULL, 0, 0,
	  "a header, as in `X-Remote-User`, in which an authenticating proxy names the user by email; "
	  "`fleet_hub_admin proxy-secret` makes the secret by which the proxy proves itself" },
	{ "auth_proxies", conf_text, AT(auth_proxies), "", NULL, 0, 0,
	  "addresses of such proxies, which are `trusted_proxies`, too; from others the header counts for "
	  "nothing" },
	{ "public_url", conf_text, AT(public_url), "", NULL, 0, 0,
	  "the address of the hub, as in `https://observ.example.com`, for commands that it prints; by "
	  "default as the browser names it" },
	{ "agents_database", conf_text, AT(agents_database), "", NULL, 0, 0,
	  "where agents reach the database, as in `db.example.com:5432/observ_metrics`; by default as in "
	  "`database_url`" },
	{ "cors_origins", conf_text, AT(cors_origins), "", NULL, 0, 0,
	  "sites, as in `https://status.example.com`, whose pages may ask `/api/v1` in a browser (CORS), "
	  "with a token" },
	{ "packages", conf_text, AT(packages), "", NULL, 0, 0,
	  "a folder with the .deb files that `install.sh` installs on servers" },
	{ "ingest_log", conf_text, AT(ingest_log), "", NULL, 0, 0,
	  "a file, or `stderr`, that gets a JSON line of each payload that servers post, to find the mistake "
	  "of a client; it has all that the payload has" },
	{ "password_memory_mib", conf_number, AT(password_memory_mib), "19", NULL, 8, 1024,
	  "memory of argon2id for one password, MiB; a stored password gets it at the next sign-in" },
	{ "password_passes", conf_number, AT(password_passes), "2", NULL, 1, 100,
	  "passes of argon2id over that memory" },
};

static const struct conf_table table = { keys, sizeof keys / sizeof keys[0] };

void conf_init(struct conf *c)
{
	*c = (struct conf){ .arena = ARENA(CONF_ARENA_SIZE) };
	conf_defaults(&table, c, &c->arena);
}

int conf_read(struct conf *c, const char *path, struct err *e)
{
	return conf_file_read(&table, c, &c->arena, path, e);
}

void conf_free(struct conf *c)
{
	arena_free(&c->arena);
}

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

void conf_print_keys(FILE *to)
{
	conf_table_print(&table, to);
}
