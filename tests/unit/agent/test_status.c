/* obs_agent reload: what the command makes of the agent's answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>

#include "obs_agent/status.c"

static char folder[] = "/tmp/observ-test-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? setenv("RUNTIME_DIRECTORY", folder, 1) : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

/* An agent that gives one answer, and hangs up. */
struct agent {
	int fd;
	const char *answer;
};

static void *serve(void *data)
{
	const struct agent *a = data;
	int client = accept(a->fd, NULL, NULL);

	send(client, a->answer, strlen(a->answer), MSG_NOSIGNAL);
	close(client);
	return NULL;
}

static int reloaded(const char *answer, char said[64], struct err *e)
{
	struct agent agent = { socket(AF_UNIX, SOCK_STREAM, 0), answer };
	struct sockaddr_un address;
	FILE *out = fmemopen(said, 64, "w");
	pthread_t thread;
	int r;

	assert_int_equal(socket_path("my-app", ASK_RELOAD, &address, e), 0);
	assert_int_equal(bind(agent.fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(agent.fd, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve, &agent), 0);
	r = status_reload("my-app", out, e);
	pthread_join(thread, NULL);
	fclose(out);
	close(agent.fd);
	unlink(address.sun_path);
	return r;
}

static void a_reload_is_done_refused_or_not_known(void **state)
{
	char said[64] = "";
	struct err e;

	(void)state;
	assert_int_equal(reloaded(STATUS_RELOADED, said, &e), 0);
	assert_int_equal(reloaded("a.yml:1:1: wrong\n", said, &e), -EINVAL);
	assert_string_equal(said, "a.yml:1:1: wrong\n");
	assert_string_equal(e.msg, "the configuration is not reloaded, the old one stays in force");
	/* It ended meanwhile: nobody knows whether it refused. */
	assert_int_equal(reloaded("", said, &e), -EPROTO);
	assert_string_equal(e.msg, "the agent gave no answer; see journalctl -u obs-agent@my-app");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reload_is_done_refused_or_not_known),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
