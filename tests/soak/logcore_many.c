/*
 * Many processes and threads write to one log that is rotated each second; then checks that each
 * line is there once and whole.  logcore_many PATH LINES MODE
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "logcore/logcore.h"

enum { PROCESSES = 8, THREADS = 4, WRITERS = PROCESSES * THREADS, FILES_MAX = 10000 };

static struct logcore *log_of_all;
static long lines_each;
static int process;

static void *write_lines(void *arg)
{
	int who = process * THREADS + (int)(intptr_t)arg;

	for (long i = 0; i < lines_each; i++)
		logcore_info(log_of_all, "line", logcore_kv("who", who), logcore_kv("i", i),
			     logcore_kv_strn("pad", "0123456789 0123456789 0123456789", (size_t)(i % 32)));
	return NULL;
}

static int write_as_process(const char *path, int mode)
{
	struct logcore_options o = { .path = path, .mode = mode, .block_when_full = true, .rotate_seconds = 1,
				     .rotate_keep = FILES_MAX };
	struct logcore_counters c;
	pthread_t threads[THREADS];

	log_of_all = logcore_open(&o, NULL, 0);
	for (intptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, write_lines, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	logcore_stats(log_of_all, &c);
	logcore_close(log_of_all);
	return c.dropped || c.failed;
}

/* Adds the lines of a file to `seen`; returns how many were not whole. */
static long read_file(FILE *f, unsigned char *seen)
{
	char line[512];
	long bad = 0;

	while (fgets(line, sizeof line, f)) {
		const char *context = strstr(line, "\"context\":{\"who\":");
		size_t len = strlen(line);
		int who = -1;
		long i = -1;

		if (strncmp(line, "{\"timestamp\":\"", 14) != 0 || strcmp(line + len - 3, "}}\n") != 0 ||
		    !context || strstr(line + 1, "{\"timestamp\"") ||
		    sscanf(context, "\"context\":{\"who\":%d,\"i\":%ld", &who, &i) != 2 || who < 0 ||
		    who >= WRITERS || i < 0 || i >= lines_each)
			bad++;
		else if (seen[who * lines_each + i] < 255)
			seen[who * lines_each + i]++;
	}
	return bad;
}

static int judge(const char *path)
{
	unsigned char *seen = calloc(WRITERS, (size_t)lines_each);
	long bad = 0, lost = 0, twice = 0;
	unsigned files = 0;
	char name[4096];
	FILE *f;

	snprintf(name, sizeof name, "%s", path);
	while ((f = fopen(name, "r"))) {
		bad += read_file(f, seen);
		fclose(f);
		snprintf(name, sizeof name, "%s.%u", path, ++files);
	}
	for (long i = 0; i < WRITERS * lines_each; i++) {
		lost += seen[i] == 0;
		twice += seen[i] > 1;
	}
	printf("%ld lines of %d processes with %d threads in %u files: %ld not whole, %ld lost, %ld twice\n",
	       WRITERS * lines_each, PROCESSES, THREADS, files, bad, lost, twice);
	free(seen);
	return bad || lost || twice || files < 2;
}

int main(int argc, char **argv)
{
	int failed = 0, status;

	if (argc != 4) {
		fprintf(stderr, "usage: logcore_many PATH LINES MODE\n");
		return 2;
	}
	lines_each = strtol(argv[2], NULL, 10) / WRITERS;
	for (process = 0; process < PROCESSES; process++)
		if (fork() == 0)
			_exit(write_as_process(argv[1], (int)strtol(argv[3], NULL, 10)));
	while (wait(&status) > 0)
		failed |= status != 0;
	return judge(argv[1]) || failed;
}
