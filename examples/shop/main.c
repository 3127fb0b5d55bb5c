#include "shop.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SERVERS = 4, THREADS_MAX = SERVERS + 1 + TRAFFIC_THREADS };

int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool shop_sleep(struct shop *s, int64_t ms)
{
	int64_t until = now_ms() + ms;
	struct timespec t = { .tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000 };
	bool stop;

	pthread_mutex_lock(&s->lock);
	while (!s->stop && pthread_cond_timedwait(&s->wake, &s->lock, &t) != ETIMEDOUT)
		;
	stop = s->stop;
	pthread_mutex_unlock(&s->lock);
	return !stop;
}

/* splitmix64 of the three together. */
uint64_t shop_dice(const struct shop *s, uint64_t what, uint64_t n, uint64_t below)
{
	uint64_t z = s->seed * UINT64_C(0xd1342543de82ef95) + what * UINT64_C(0x9e3779b97f4a7c15) + n;

	for (int i = 0; i < 2; i++) {
		z += UINT64_C(0x9e3779b97f4a7c15);
		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		z ^= z >> 31;
	}
	return z % below;
}

static void usage(FILE *out)
{
	fputs("usage: shop --log FILE [--port N] [--traffic N] [--seed N] [--incident-every SECONDS]\n"
	      "A pretend shop on http://127.0.0.1:PORT (8000; 0: any free one) that logs to FILE.\n"
	      "  --traffic N         visits its own pages N times a second (0)\n"
	      "  --seed N            decides what is slow and what fails (1)\n"
	      "  --incident-every S  /health says 503 for some seconds in every S seconds (120; 0: never)\n"
	      "SIGHUP opens the log file anew, SIGTERM ends.\n", out);
}

static bool number(const char *text, long max, long *ret)
{
	char *end;

	errno = 0;
	*ret = strtol(text, &end, 10);
	return errno == 0 && end > text && *end == '\0' && *ret >= 0 && *ret <= max;
}

/* Returns the log file's path, NULL when the command line is wrong. */
static const char *read_options(struct shop *s, int argc, char **argv)
{
	static const struct option options[] = {
		{ "log", required_argument, NULL, 'l' },     { "port", required_argument, NULL, 'p' },
		{ "traffic", required_argument, NULL, 't' }, { "seed", required_argument, NULL, 's' },
		{ "incident-every", required_argument, NULL, 'i' }, { "help", no_argument, NULL, 'h' }, { 0 },
	};
	const char *log = NULL;
	long n = 0;

	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (o == 'h') {
			usage(stdout);
			exit(0);
		}
		if (o == '?' || (o != 'l' && !number(optarg, o == 'p' ? 65535 : 1000000, &n)))
			return NULL;
		switch (o) {
		case 'l': log = optarg; break;
		case 'p': s->port = (int)n; break;
		case 't': s->traffic = (int)n; break;
		case 's': s->seed = (uint64_t)n; break;
		case 'i': s->incident_every_s = (int)n; break;
		}
	}
	return optind == argc ? log : NULL;
}

static int start(struct shop *s, pthread_t threads[THREADS_MAX])
{
	int n = 0;

	for (int i = 0; i < SERVERS; i++)
		n += pthread_create(&threads[n], NULL, http_serve, s) == 0;
	n += pthread_create(&threads[n], NULL, shop_worker, s) == 0;
	for (int i = 0; i < TRAFFIC_THREADS && s->traffic > i; i++)
		n += pthread_create(&threads[n], NULL, http_traffic, s) == 0;
	return n;
}

/* All signals are taken here and nowhere else, so no handler interrupts anything. */
static void wait_for_the_end(struct shop *s, const sigset_t *signals)
{
	int sig;

	while (sigwait(signals, &sig) == 0 && sig == SIGHUP) {
		int result = logcore_reopen(s->log);

		if (result < 0)
			logcore_error(s->log, "Cannot open the log file again", logcore_kv_errno(result));
		else
			logcore_info(s->log, "Log file opened again");
	}
	logcore_info(s->log, "Closing", logcore_kv("signal", sig), logcore_kv("requests", s->requests));
}

static void stop(struct shop *s, pthread_t *threads, int n)
{
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
	shutdown(s->listener, SHUT_RDWR);       /* wakes those who wait for a visitor */
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	close(s->listener);
}

static void prepare(struct shop *s, sigset_t *signals)
{
	pthread_condattr_t attr;

	sigemptyset(signals);
	sigaddset(signals, SIGHUP);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, signals, NULL);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
	s->started_ms = now_ms();
}

int main(int argc, char **argv)
{
	struct shop s = { .seed = 1, .port = 8000, .incident_every_s = 120 };
	pthread_t threads[THREADS_MAX];
	const char *path = read_options(&s, argc, argv);
	char error[256];
	sigset_t signals;
	int result;

	if (!path) {
		usage(stderr);
		return 2;
	}
	s.log = logcore_open(&(struct logcore_options){ .name = "shop", .path = path }, error, sizeof error);
	if (!s.log) {
		fprintf(stderr, "shop: %s\n", error);
		return 1;
	}
	prepare(&s, &signals);
	result = http_listen(&s);
	if (result < 0) {
		fprintf(stderr, "shop: port %d: %s\n", s.port, strerror(-result));
		logcore_critical(s.log, "Cannot listen", logcore_kv("port", s.port),
				 logcore_kv_errno(result));
		logcore_close(s.log);
		return 1;
	}
	logcore_info(s.log, "Open", logcore_kv("port", s.port), logcore_kv("seed", s.seed),
		     logcore_kv("pid", getpid()));
	printf("http://127.0.0.1:%d/\n", s.port);
	fflush(stdout);
	result = start(&s, threads);
	wait_for_the_end(&s, &signals);
	stop(&s, threads, result);
	logcore_close(s.log);
	return 0;
}
