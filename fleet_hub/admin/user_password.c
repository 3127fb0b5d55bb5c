#include "user_password.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "fleet_hub/base/conf.h"

static int read_line(FILE *from, char line[PASSWORD_MAX + 1], struct err *e)
{
	size_t n;

	line[0] = '\0';
	if (!fgets(line, PASSWORD_MAX + 1, from) && ferror(from))
		return err_set(e, EIO, "the password can't be read: %s", strerror(errno));
	n = strcspn(line, "\r\n");
	if (n == PASSWORD_MAX)
		return err_set(e, EINVAL, "the password has more than %d bytes", PASSWORD_MAX - 1);
	line[n] = '\0';
	return 0;
}

static int read_file(const char *path, char line[PASSWORD_MAX + 1], struct err *e)
{
	bool standard = strcmp(path, "-") == 0;
	CLEANUP(fclose_p) FILE *file = standard ? NULL : fopen(path, "re");

	if (!standard && !file)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	return read_line(standard ? stdin : file, line, e);
}

/* A line that is not shown while it is typed. */
static int ask(FILE *terminal, const char *question, char line[PASSWORD_MAX + 1], struct err *e)
{
	struct termios shown, hidden;
	int rc;

	if (tcgetattr(fileno(terminal), &shown) < 0)
		return err_set(e, errno, "the terminal: %s", strerror(errno));
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	fputs(question, terminal);
	fflush(terminal);
	tcsetattr(fileno(terminal), TCSAFLUSH, &hidden);
	rc = read_line(terminal, line, e);
	tcsetattr(fileno(terminal), TCSAFLUSH, &shown);
	fputc('\n', terminal);
	return rc;
}

static int ask_twice(FILE *terminal, char line[PASSWORD_MAX + 1], struct err *e)
{
	char again[PASSWORD_MAX + 1] = "";
	int rc = ask(terminal, "Password (empty: one is made): ", line, e);

	if (rc == 0 && line[0])
		rc = ask(terminal, "Again: ", again, e);
	if (rc == 0 && line[0] && strcmp(line, again) != 0)
		rc = err_set(e, EINVAL, "the two passwords differ");
	sodium_memzero(again, sizeof again);
	return rc;
}

static int keep(struct user_password *p, struct err *e)
{
	struct conf conf;
	struct password_cost cost;

	conf_init(&conf);
	cost = (struct password_cost){ conf.password_memory_mib, conf.password_passes };
	conf_free(&conf);
	return password_secret(p->text, cost, p->generated, p->secret, e);
}

int user_password_get(struct user_password *p, const char *file, const char *email, struct err *e)
{
	CLEANUP(fclose_p) FILE *terminal = file || !isatty(STDIN_FILENO) ? NULL : fopen("/dev/tty", "r+e");
	int rc = file ? read_file(file, p->text, e) : terminal ? ask_twice(terminal, p->text, e) : 0;

	if (rc < 0)
		return rc;
	if (sodium_init() < 0)
		return err_set(e, EIO, "libsodium does not start");
	p->generated = !file && p->text[0] == '\0';
	if (p->generated)
		password_generate(p->text);
	else if (password_check(p->text, email, e) < 0)
		return err_prefix(e, "the password");
	return keep(p, e);
}
