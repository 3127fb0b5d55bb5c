#include "install.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/embed.h"
#include "fleet_hub/base/conf.h"
#include "fleet_hub/base/refusal.h"

EMBED(install_sh, "templates/install.sh");

enum { NAME_MAX_BYTES = 200, PACKAGES_MAX = 50, BLOCK = 64 * 1024, SUM_SIZE = 65 };

/* Where the script has the list of packages. */
static const char placeholder[] = "\nOFFERED=''\n";

/* "obs-agent_0.1.0_amd64.deb": no other letters, so that the name needs no quotes anywhere. */
static bool is_package(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+~-";
	size_t n = strlen(name);

	return n > 4 && n <= NAME_MAX_BYTES && name[0] != '.' && name[0] != '-' &&
	       strcmp(name + n - 4, ".deb") == 0 && strspn(name, allowed) == n;
}

/* A regular file of the folder, and no link; -errno. */
static int open_package(const char *folder, const char *name)
{
	CLEANUP(close_p) int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct stat st;

	if (dir < 0)
		return -errno;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? TAKE_FD(fd) : -EINVAL;
}

/* Call `take` with each part of the file; false: it cannot be read, or `take` wants no more. */
static bool read_package(int fd, bool (*take)(void *to, const char *bytes, size_t n), void *to)
{
	CLEANUP(free_p) char *block = malloc(BLOCK);
	ssize_t n = -1;

	while (block && (n = read(fd, block, BLOCK)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || !take(to, block, (size_t)n))
			return false;
	}
	return n == 0;
}

static bool hash_part(void *to, const char *bytes, size_t n)
{
	return crypto_hash_sha256_update(to, (const unsigned char *)bytes, n) == 0;
}

static bool keep_part(void *to, const char *bytes, size_t n)
{
	return buf_add(to, bytes, n);
}

/* ---- the script ------------------------------------------------------------------------------------- */

/* The folder's file SHA256SUMS, as sha256sum writes it, and when it was written. */
struct sums {
	struct buf text;
	struct timespec at;
};

static void read_sums(struct sums *sums, const char *folder)
{
	CLEANUP(close_p) int fd = open_package(folder, "SHA256SUMS");
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !buf_addc(&sums->text, '\n') ||
	    !read_package(fd, keep_part, &sums->text) || !buf_cstr(&sums->text))
		buf_reset(&sums->text);
	else
		sums->at = st.st_mtim;
}

/* What the file says of this package, which has not been touched since: no clock can set a ctime back. */
static bool known_sum(const struct sums *sums, const struct stat *st, const char *name, char sum[SUM_SIZE])
{
	char end[NAME_MAX_BYTES + 64];
	const char *line, *at = sums->text.len ? sums->text.data : "";

	if (st->st_ctim.tv_sec >= sums->at.tv_sec)      /* of one second nobody knows the order */
		return false;
	snprintf(end, sizeof end, "  %s\n", name);
	for (; (line = strstr(at, end)); at = line + 1) {
		if (line - sums->text.data < SUM_SIZE || line[-SUM_SIZE] != '\n')
			continue;
		memcpy(sum, line - (SUM_SIZE - 1), SUM_SIZE - 1);
		sum[SUM_SIZE - 1] = '\0';
		return strspn(sum, "0123456789abcdef") == SUM_SIZE - 1;
	}
	return false;
}

static bool hash_package(int fd, char sum[SUM_SIZE])
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	if (!read_package(fd, hash_part, &state))
		return false;
	crypto_hash_sha256_final(&state, hash);
	sodium_bin2hex(sum, SUM_SIZE, hash, sizeof hash);
	return true;
}

/* "SHA256  NAME" and a newline; a file that cannot be read is left out, and the log says why. */
static void add_sum(struct buf *out, const struct sums *sums, const char *folder, const char *name)
{
	CLEANUP(close_p) int fd = open_package(folder, name);
	char sum[SUM_SIZE];
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && (known_sum(sums, &st, name, sum) || hash_package(fd, sum)))
		buf_addf(out, "%s%s  %s", out->len ? "\n" : "", sum, name);
	else
		fprintf(stderr, "fleet_hub: packages: %s/%s: it cannot be read\n", folder, name);
}

static void list_packages(struct buf *out, const char *folder)
{
	struct sums sums = { .text = BUF(PACKAGES_MAX * 2 * NAME_MAX_BYTES) };
	struct dirent **entries = NULL;
	int n = *folder ? scandir(folder, &entries, NULL, alphasort) : 0, listed = 0;

	if (n < 0)
		fprintf(stderr, "fleet_hub: packages: %s: %s\n", folder, strerror(errno));
	if (n > 0)
		read_sums(&sums, folder);
	for (int i = 0; i < n; i++) {
		if (is_package(entries[i]->d_name) && listed++ < PACKAGES_MAX)
			add_sum(out, &sums, folder, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	buf_free(&sums.text);
}

void install_script(struct request *r, struct db *db, struct response *s)
{
	const char *at = strstr(install_sh, placeholder);
	CLEANUP(buf_free) struct buf packages = BUF(PACKAGES_MAX * 2 * NAME_MAX_BYTES);
	size_t before = at ? (size_t)(at - install_sh) : 0;

	(void)db;
	if (!at) {
		refuse_database(r, s, DB_FAILED);
		return;
	}
	list_packages(&packages, r->conf->packages);
	s->status = 200;
	s->type = "text/x-shellscript; charset=utf-8";
	buf_add(&s->body, install_sh, before);
	buf_addf(&s->body, "\nOFFERED='%.*s'\n", (int)packages.len, packages.len ? packages.data : "");
	buf_adds(&s->body, at + sizeof placeholder - 1);
}

/* ---- a package --------------------------------------------------------------------------------------- */

void install_package(struct request *r, struct db *db, struct response *s)
{
	bool offered = *r->conf->packages && is_package(r->rest);
	CLEANUP(close_p) int fd = offered ? open_package(r->conf->packages, r->rest) : -ENOENT;

	(void)db;
	if (fd < 0) {
		refuse_with(r, s, 404, "No such package", "The hub does not offer a package of this name.",
			    NULL);
		return;
	}
	if (!read_package(fd, keep_part, &s->body)) {
		buf_reset(&s->body);
		refuse_database(r, s, DB_TOO_BIG);
		return;
	}
	s->status = 200;
	s->type = "application/vnd.debian.binary-package";
}
