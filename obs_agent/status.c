#include "status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"

enum {
	ANSWER_MAX = 1 << 20,
	ASK_TIMEOUT_S = 5,
};

struct status_server {
	sd_event_source *io;
	int fd;
	struct status_answerer answerer;
	struct sockaddr_un address;
	struct buf answer;
};

static const struct {
	const char *socket;
	mode_t mode;                    /* who may connect */
} questions[] = {
	[ASK_STATUS] = { "status.sock", 0666 },
	[ASK_RELOAD] = { "reload.sock", 0600 },
};

static int socket_path(const char *app, enum status_question q, struct sockaddr_un *ret, struct err *e)
{
	const char *dir = getenv("RUNTIME_DIRECTORY");
	int n;

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (dir && *dir)
		n = snprintf(ret->sun_path, sizeof ret->sun_path, "%s/%s", dir, questions[q].socket);
	else
		n = snprintf(ret->sun_path, sizeof ret->sun_path, "/run/obs-agent/%s/%s", app,
			     questions[q].socket);
	if (n < 0 || (size_t)n >= sizeof ret->sun_path)
		return err_set(e, ENAMETOOLONG, "%s: too long for a socket", dir ? dir : app);
	return 0;
}

/* Answers are small. What does not fit into the socket's buffer is cut: the agent never waits for a
 * client. */
static int on_client(sd_event_source *source, int fd, uint32_t revents, void *data)
{
	struct status_server *s = data;
	CLEANUP(close_p) int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)source;
	(void)revents;
	if (client < 0)
		return 0;
	buf_reset(&s->answer);
	if (s->answerer.answer(s->answerer.data, &s->answer))
		(void)!send(client, s->answer.data, s->answer.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	return 0;
}

int status_listen(sd_event *loop, const char *app, const struct status_answerer *a,
		  struct status_server **ret, struct err *e)
{
	struct status_server *s;
	struct sockaddr_un address;
	char *slash;
	int r = socket_path(app, a->question, &address, e);

	*ret = NULL;
	if (r < 0)
		return r;
	slash = strrchr(address.sun_path, '/');
	*slash = '\0';
	if (access(address.sun_path, W_OK) < 0)
		return 0;
	*slash = '/';
	s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, ENOMEM, "out of memory for %s", questions[a->question].socket);
	*s = (struct status_server){ .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
				     .answerer = *a, .address = address, .answer = BUF(ANSWER_MAX) };
	unlink(address.sun_path);
	if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&address, sizeof address) < 0 ||
	    chmod(address.sun_path, questions[a->question].mode) < 0 || listen(s->fd, 8) < 0)
		r = -errno;
	else
		r = sd_event_add_io(loop, &s->io, s->fd, EPOLLIN, on_client, s);
	if (r < 0) {
		err_set(e, -r, "%s: %s", address.sun_path, strerror(-r));
		status_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void status_close(struct status_server *s)
{
	if (!s)
		return;
	sd_event_source_disable_unref(s->io);
	close_p(&s->fd);
	unlink(s->address.sun_path);
	buf_free(&s->answer);
	free(s);
}

static int ask(const char *app, enum status_question q, FILE *out, struct err *e)
{
	struct timeval timeout = { .tv_sec = ASK_TIMEOUT_S };
	CLEANUP(close_p) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	char part[4096];
	ssize_t n;
	int r = socket_path(app, q, &address, e);

	if (r < 0)
		return r;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return err_set(e, errno, "%s: %s; is the agent running? systemctl status obs-agent@%s",
			       address.sun_path, strerror(errno), app);
	while ((n = recv(fd, part, sizeof part, 0)) > 0)
		fwrite(part, 1, (size_t)n, out);
	if (n < 0)
		return err_set(e, errno, "%s: no answer: %s", address.sun_path, strerror(errno));
	return 0;
}

int status_ask(const char *app, FILE *out, struct err *e)
{
	return ask(app, ASK_STATUS, out, e);
}

int status_reload(const char *app, FILE *out, struct err *e)
{
	CLEANUP(free_p) char *answer = NULL;
	size_t size;
	FILE *to = open_memstream(&answer, &size);
	int r;

	if (!to)
		return err_set(e, ENOMEM, "out of memory for the answer");
	r = ask(app, ASK_RELOAD, to, e);
	if (fclose(to) != 0 || r < 0)
		return r < 0 ? r : err_set(e, ENOMEM, "out of memory for the answer");
	if (strcmp(answer, STATUS_RELOADED) == 0)
		return 0;
	if (!*answer)
		return err_set(e, EPROTO, "the agent gave no answer; see journalctl -u obs-agent@%s", app);
	fputs(answer, out);
	return err_set(e, EINVAL, "the configuration is not reloaded, the old one stays in force");
}

bool status_is_running(const char *app)
{
	CLEANUP(fclose_p) FILE *nowhere = fopen("/dev/null", "w");
	struct err e;

	return nowhere && status_ask(app, nowhere, &e) == 0;
}
