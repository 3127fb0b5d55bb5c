/*
 * scan.c - the cost of the line scanner: parse a file of log lines again and again.
 *
 *     scan FILE [ROUNDS]
 *
 * Prints the ns a line of the best round, and the same of json-c. Under callgrind with ROUNDS 0 and 1 the
 * difference is the instructions of one round (bench/scan.py). Nothing is written anywhere.
 */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/parse.h"
#include "wire/log/log_line.h"

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Count lines and bytes of the results, so that the compiler cannot remove the parsing. */
static size_t parse_all(struct line_parser *p, struct text t, int64_t now_us, size_t *ret_bytes)
{
	size_t lines = 0, bytes = 0;

	for (const char *line = t.s, *end = t.s + t.len, *newline; line < end; line = newline + 1, lines++) {
		struct sample s;

		newline = memchr(line, '\n', (size_t)(end - line));
		if (!newline)
			break;
		line_parse(p, (struct text){ line, (size_t)(newline - line) }, now_us, NULL, &s);
		bytes += s.log.message.len + s.log.logger.len + s.log.context.len;
	}
	*ret_bytes = bytes;
	return lines;
}

/* The same with json-c, which builds a tree. */
static void parse_all_json_c(struct text t, int64_t rounds, int64_t *best_ns)
{
	struct json_tokener *tokener = json_tokener_new();

	for (int64_t i = 0; i < rounds; i++) {
		int64_t began = now_ns(), took;

		for (const char *line = t.s, *end = t.s + t.len, *newline; line < end; line = newline + 1) {
			newline = memchr(line, '\n', (size_t)(end - line));
			if (!newline)
				break;
			json_tokener_reset(tokener);
			json_object_put(json_tokener_parse_ex(tokener, line, (int)(newline - line)));
		}
		took = now_ns() - began;
		*best_ns = took < *best_ns ? took : *best_ns;
	}
	json_tokener_free(tokener);
}

/* The whole file, already in memory. */
static struct text read_file(const char *path)
{
	struct text t = { NULL, 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *m;

	if (fd < 0 || fstat(fd, &st) < 0)
		return t;
	m = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	close(fd);
	return m == MAP_FAILED ? t : (struct text){ m, (size_t)st.st_size };
}

int main(int argc, char **argv)
{
	struct text t = argc > 1 ? read_file(argv[1]) : (struct text){ NULL, 0 };
	int64_t rounds = 5, best = INT64_MAX, json_c = INT64_MAX, now_us = wall_us();
	struct line_parser p;
	size_t lines = 0, bytes = 0;

	if (!t.s || (argc > 2 && !parse_i64(text_of(argv[2]), &rounds))) {
		fprintf(stderr, "usage: scan FILE [ROUNDS]\n");
		return 1;
	}
	line_parser_init(&p);
	for (int64_t i = 0; i < rounds; i++) {
		int64_t began = now_ns(), took;

		lines = parse_all(&p, t, now_us, &bytes);
		took = now_ns() - began;
		best = took < best ? took : best;
	}
	line_parser_free(&p);
	if (lines == 0 || rounds < 2)
		return 0;
	printf("%zu lines of %zu bytes: %" PRId64 " ns a line, %zu bytes of text kept of each\n", lines,
	       t.len / lines, best / (int64_t)lines, bytes / lines);
	parse_all_json_c(t, rounds / 2, &json_c);
	printf("json-c: %" PRId64 " ns a line, ratio %.3f\n", json_c / (int64_t)lines,
	       (double)best / (double)json_c);
	return 0;
}
