#include "credential.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/read.h"
#include "common/utf8.h"

bool credential_name(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (!isalnum((unsigned char)t.s[i]) && !(t.s[i] && strchr("._-", t.s[i])))
			return false;
	return t.len > 0 && t.len <= CREDENTIAL_NAME_MAX && !text_eq(t, text_of(".")) &&
	       !text_eq(t, text_of(".."));
}

static int open_plainly(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static bool started_by_systemd(void)
{
	return getenv("NOTIFY_SOCKET") || getenv("CREDENTIALS_DIRECTORY");
}

/* Open it in the folder that systemd made. If no unit started this process, look where the unit's
 * is. */
static int open_credential(const char *app, const char *name, char path[PATH_MAX])
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	int fd;

	if (folder && *folder) {
		snprintf(path, PATH_MAX, "%s/%s", folder, name);
		return open_plainly(path);
	}
	if (started_by_systemd()) {             /* the unit has no credentials */
		*path = '\0';
		errno = ENOENT;
		return -1;
	}
	snprintf(path, PATH_MAX, "/run/credentials/obs-agent@%s.service/%s", app, name);
	fd = open_plainly(path);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	snprintf(path, PATH_MAX, "/etc/credstore/obs-agent.%s.%s", app, name);
	return open_plainly(path);
}

/* templates/obs-agent.service loads these without a drop-in. */
static bool in_unit(const char *name)
{
	return strcmp(name, "database_url") == 0 || strcmp(name, "password") == 0;
}

static int no_credential(const char *app, const char *name, const char *path, int error, struct err *e)
{
	if (error != ENOENT)
		return err_set(
			e, error,
			"the credential %s, which cannot be read (%s: %s); run this as root, or as the "
			"unit's user",
			name, path, strerror(error));
	return err_set(
		e, error,
		"the credential %s, which %s; write it into /etc/credstore/obs-agent.%s.%s (mode 0600)%s, "
		"and restart the "
		"unit",
		name,
		started_by_systemd() ? "the unit was not given"
				     : "systemd gives to the unit, and there is none",
		app, name,
		in_unit(name) ? ""
			      : ", name it in the unit as /usr/share/observ/drop-ins/credentials.conf shows");
}

static struct text without_line_end(struct text t)
{
	if (t.len && t.s[t.len - 1] == '\n')
		t.len--;
	if (t.len && t.s[t.len - 1] == '\r')
		t.len--;
	return t;
}

int credential_read(const char *app, const char *name, struct buf *out, struct err *e)
{
	char path[PATH_MAX], bytes[CREDENTIAL_MAX + 3];
	CLEANUP(close_p) int fd = open_credential(app, name, path);
	struct stat st;
	struct text t;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return no_credential(app, name, path, errno, e);
	n = S_ISREG(st.st_mode) ? read_all(fd, bytes, sizeof bytes) : -EINVAL;
	if (n < 0)
		return err_set(
			e, (int)-n,
			"the credential %s, which is not a readable file (%s); correct LoadCredential=", name,
			path);
	t = without_line_end((struct text){ bytes, (size_t)n });
	if (t.len == 0)
		return err_set(e, EINVAL,
			       "the credential %s, which is empty (%s); write the secret into its file", name,
			       path);
	if (t.len > CREDENTIAL_MAX)
		return err_set(e, EFBIG,
			       "the credential %s, which is longer than %d bytes (%s); is it the right file?",
			       name, CREDENTIAL_MAX, path);
	if (!utf8_is_clean(t))
		return err_set(
			e, EILSEQ,
			"the credential %s, which is not UTF-8 text without NUL (%s); write the secret as "
			"text",
			name, path);
	return buf_add(out, t.s, t.len)
		       ? 0
		       : err_set(e, ENOMEM, "the credential %s, for which there is no memory", name);
}

bool credential_add_uri(struct buf *out, struct text t)
{
	bool ok = true;

	for (size_t i = 0; i < t.len && ok; i++) {
		unsigned char c = (unsigned char)t.s[i];

		ok = c < 0x80 && (isalnum(c) || strchr("-._~", c)) ? buf_addc(out, (char)c)
								   : buf_addf(out, "%%%02X", c);
	}
	return ok;
}

bool credential_add_pair(struct buf *out, struct text t)
{
	bool ok = true;

	for (size_t i = 0; i < t.len && ok; i++)
		ok = (!strchr(" '\\", t.s[i]) || buf_addc(out, '\\')) && buf_addc(out, t.s[i]);
	return ok;
}
