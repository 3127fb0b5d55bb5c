/* The part of setup that lets other machines in: the hub's name and certificate, PostgreSQL over TLS, and the
 * packages for servers. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "common/cleanup.h"
#include "common/embed.h"
#include "setup.h"
#include "setup_files.h"

EMBED(setup_public_sql, "fleet_hub/setup/setup_public.sql");

#define CERTIFICATE "/etc/observ/tls/hub.crt"
#define KEY "/etc/observ/tls/hub.key"
#define TLS_FOLDER "/etc/observ/tls"
#define PACKAGES "/var/lib/observ/packages"

#define HBA_MARK "# Observ: "
#define DEFAULT_PORT "5432"

enum { FILE_MAX = 1024 * 1024, PACKAGE_MAX = 64 * 1024 * 1024, NAME_SIZE = 512 };

/* ---- the certificate --------------------------------------------------------------------- */

/* What openssl prints; false: it refuses. */
static bool openssl(const char *const *argv, struct buf *out)
{
	CLEANUP(buf_free) struct buf said = BUF(FILE_MAX);
	struct err e;

	buf_reset(out);
	return command_run(&(struct command){ .argv = argv }, out, &said, &e) == 0 && buf_cstr(out);
}

/* Is it for this name, does it last, and is this its key? */
static int check_certificate(const struct setup *s, struct err *e)
{
	const char *const name[] = { "openssl", "x509", "-noout", "-checkhost", s->public, "-in",
				     s->certificate, NULL };
	const char *const end[] = { "openssl", "x509", "-noout", "-checkend", "0", "-in",
				    s->certificate, NULL };
	const char *const its[] = { "openssl", "x509", "-noout", "-pubkey", "-in", s->certificate, NULL };
	const char *const own[] = { "openssl", "pkey", "-pubout", "-passin", "pass:", "-in", s->key, NULL };
	CLEANUP(buf_free) struct buf public = BUF(FILE_MAX), out = BUF(FILE_MAX);

	if (!command_exists("openssl"))
		return err_set(e, ENOENT, "openssl is not installed; run: apt-get install openssl");
	if (!openssl(its, &public))
		return err_set(e, EINVAL, "%s is no certificate in PEM", s->certificate);
	if (!openssl(own, &out))
		return err_set(e, EINVAL, "%s is no key in PEM without a passphrase", s->key);
	if (strcmp(public.data, out.data) != 0)
		return err_set(e, EINVAL, "%s is not the key of %s", s->key, s->certificate);
	if (!openssl(name, &out) || strstr(out.data, "does NOT match"))
		return err_set(e, EINVAL, "%s is not for the name %s: it needs that name as subjectAltName",
			       s->certificate, s->public);
	return openssl(end, &out) ? 0 : err_set(e, EINVAL, "%s has expired", s->certificate);
}

static int copy(const char *from, const struct setup_file *to, size_t max, struct err *e)
{
	CLEANUP(buf_free) struct buf content = BUF(max);

	if (setup_read(from, &content, e) < 0)
		return -e->code;
	return setup_write(to, (struct text){ content.data, content.len }, e);
}

/* A copy, which stays until this is run again. */
static int take_certificate(const struct setup *s, struct err *e)
{
	if (!s->certificate && setup_exists(CERTIFICATE) && setup_exists(KEY))
		return 0;
	if (!s->certificate || !s->key)
		return err_set(e, EINVAL, "--public needs --certificate FILE and --key FILE");
	if (check_certificate(s, e) < 0 || setup_folder(TLS_FOLDER, e) < 0 ||
	    copy(s->key, &(struct setup_file){ KEY, 0600, 0, 0 }, FILE_MAX, e) < 0 ||
	    copy(s->certificate, &(struct setup_file){ CERTIFICATE, 0644, 0, 0 }, FILE_MAX, e) < 0)
		return -e->code;
	setup_say(CERTIFICATE ": written; after a renewal run this again");
	return 0;
}

/* ---- hub.conf ------------------------------------------------------------------------------ */

/* Where the line `key = ...` is; NULL: nowhere. */
static const char *find_key(const char *conf, const char *key)
{
	size_t n = strlen(key);

	for (const char *line = conf; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *at = line + strspn(line, " \t");

		if (strncmp(at, key, n) == 0 && at[n + strspn(at + n, " \t")] == '=')
			return at;
	}
	return NULL;
}

/* What somebody wrote there stays. */
static int set_key(struct setup *s, const char *key, const char *value, struct err *e)
{
	const struct setup_file file = { SETUP_HUB_CONF, 0600, 0, 0 };
	CLEANUP(buf_free) struct buf conf = BUF(FILE_MAX);
	const char *there;

	if (setup_read(SETUP_HUB_CONF, &conf, e) < 0)
		return -e->code;
	if (!buf_cstr(&conf))
		return err_set(e, ENOMEM, "out of memory");
	there = find_key(conf.data, key);
	if (there) {
		setup_say(SETUP_HUB_CONF ": has \"%.*s\" already, stays as it is",
			  (int)strcspn(there, "\n"), there);
		return 0;
	}
	if (!buf_addf(&conf, "%s%s = %s\n", conf.len && conf.data[conf.len - 1] != '\n' ? "\n" : "", key,
		      value))
		return err_set(e, EFBIG, SETUP_HUB_CONF " is larger than %d bytes", FILE_MAX);
	s->hub_conf_changed = true;
	setup_say(SETUP_HUB_CONF ": %s = %s", key, value);
	return setup_write(&file, (struct text){ conf.data, conf.len }, e);
}

/* ---- PostgreSQL of this machine -------------------------------------------------------------- */

/* In front, where no other line comes before it. */
static int add_rules(const struct setup *s, const char *path, struct err *e)
{
	CLEANUP(buf_free) struct buf old = BUF(FILE_MAX), new = BUF(2 * FILE_MAX);
	struct stat st;

	if (stat(path, &st) < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	if (setup_read(path, &old, e) < 0)
		return -e->code;
	if (buf_cstr(&old) && strstr(old.data, HBA_MARK))
		return 0;
	if (!buf_addf(&new,
		      HBA_MARK "servers reach this database over TLS (fleet_hub_admin setup --public)\n"
			       "hostssl  %s  +observ_agent      all  scram-sha-256\n"
			       "hostssl  %s  +observ_bootstrap  all  scram-sha-256\n\n",
		      s->database, s->database) ||
	    !buf_add(&new, old.data, old.len))
		return err_set(e, ENOMEM, "out of memory");
	setup_say("%s: servers may sign in over TLS", path);
	return setup_write(&(struct setup_file){ path, st.st_mode & 07777, st.st_uid, st.st_gid },
			   (struct text){ new.data, new.len }, e);
}

/* "postgresql@15-main" of "/etc/postgresql/15/main/pg_hba.conf". */
static void unit_of(const char *hba, char unit[NAME_SIZE])
{
	char version[32], cluster[64];

	if (sscanf(hba, "/etc/postgresql/%31[^/]/%63[^/]/", version, cluster) == 2)
		snprintf(unit, NAME_SIZE, "postgresql@%s-%s", version, cluster);
	else
		snprintf(unit, NAME_SIZE, "postgresql");
}

static int read_again(const struct setup *s, const char *hba, bool restart, struct err *e)
{
	CLEANUP(buf_free) struct buf out = BUF(FILE_MAX);
	char unit[NAME_SIZE];
	const char *const argv[] = { "systemctl", "-q", "restart", unit, NULL };

	unit_of(hba, unit);
	if (!restart)
		return setup_psql(s, "", TEXT("SELECT pg_reload_conf()"), &out, e);
	if (!s->systemd)
		setup_say("PostgreSQL: restart it, so that it listens to other machines");
	return s->systemd ? command_must(argv, e) : 0;
}

/* PostgreSQL's own copy, among its data: it starts without the hub, too. */
static int copy_to_postgresql(const char *folder, struct err *e)
{
	char certificate[NAME_SIZE], key[NAME_SIZE];
	struct setup_file file = { certificate, 0644, 0, 0 };
	struct stat st;

	if (stat(folder, &st) < 0)
		return err_set(e, errno, "%s: %s", folder, strerror(errno));
	snprintf(certificate, sizeof certificate, "%s/observ.crt", folder);
	snprintf(key, sizeof key, "%s/observ.key", folder);
	file.owner = st.st_uid;
	file.group = st.st_gid;
	if (copy(CERTIFICATE, &file, FILE_MAX, e) < 0)
		return -e->code;
	file.path = key;
	file.mode = 0600;
	return copy(KEY, &file, FILE_MAX, e);
}

/* The answer of setup_public.sql: access rules, port, whether to restart, the folder of the data. */
static int open_database(const struct setup *s, char address[SETUP_URL_MAX], struct err *e)
{
	CLEANUP(buf_free) struct buf answer = BUF(FILE_MAX);
	char *rest, *hba, *port, *closed;
	int r;

	if (setup_psql(s, "", (struct text){ setup_public_sql, setup_public_sql_len }, &answer, e) < 0)
		return -e->code;
	rest = buf_cstr(&answer) ? answer.data : NULL;
	if (!rest || !(hba = strsep(&rest, " ")) || !(port = strsep(&rest, " ")) ||
	    !(closed = strsep(&rest, " ")) || !rest)
		return err_set(e, EPROTO, "PostgreSQL does not say where its pg_hba.conf is");
	rest[strcspn(rest, "\n")] = '\0';
	r = copy_to_postgresql(rest, e);
	if (r == 0)
		r = add_rules(s, hba, e);
	if (r == 0)
		r = read_again(s, hba, *closed == 't', e);
	if (r < 0)
		return r;
	snprintf(address, SETUP_URL_MAX, "%s%s%s/%s", s->public, strcmp(port, DEFAULT_PORT) == 0 ? "" : ":",
		 strcmp(port, DEFAULT_PORT) == 0 ? "" : port, s->database);
	setup_say("PostgreSQL: servers reach it at %s, over TLS", address);
	return 0;
}

/* A database elsewhere is its owner's to open; agents reach it where the hub does. */
int setup_publish(struct setup *s, struct err *e)
{
	char site[SETUP_URL_MAX], address[SETUP_URL_MAX];
	int r;

	if (!s->public)
		return 0;
	snprintf(site, sizeof site, "https://%s", s->public);
	r = take_certificate(s, e);
	if (r == 0)
		r = set_key(s, "public_url", site, e);
	if (r == 0 && !s->url) {
		r = open_database(s, address, e);
		if (r == 0)
			r = set_key(s, "agents_database", address, e);
	}
	return r;
}

/* ---- packages ------------------------------------------------------------------------------------ */

static int copy_package(const char *path, struct err *e)
{
	const char *name = strrchr(path, '/');
	char to[NAME_SIZE];

	snprintf(to, sizeof to, PACKAGES "/%s", name ? name + 1 : path);
	return copy(path, &(struct setup_file){ to, 0644, 0, 0 }, PACKAGE_MAX, e);
}

/* Those of the agent, which needs no other of ours. A former version goes. */
static int copy_packages(const char *folder, struct err *e)
{
	char pattern[NAME_SIZE];
	glob_t found = { 0 }, former = { 0 };
	int r = 0;

	snprintf(pattern, sizeof pattern, "%s/obs-agent_*.deb", folder);
	if (glob(pattern, 0, NULL, &found) != 0)
		r = err_set(e, ENOENT, "%s has no obs-agent_*.deb; make deb builds it in build/deb", folder);
	if (r == 0 && glob(PACKAGES "/obs-agent_*.deb", 0, NULL, &former) == 0)
		for (size_t i = 0; i < former.gl_pathc; i++)
			unlink(former.gl_pathv[i]);
	for (size_t i = 0; r == 0 && i < found.gl_pathc; i++)
		r = copy_package(found.gl_pathv[i], e);
	globfree(&found);
	globfree(&former);
	return r;
}

int setup_offer_packages(struct setup *s, struct err *e)
{
	int r;

	if (!s->packages)
		return 0;
	r = setup_folder(PACKAGES, e);
	if (r == 0)
		r = copy_packages(s->packages, e);
	return r < 0 ? r : set_key(s, "packages", PACKAGES, e);
}
