/*
 * scan.c - the cost of the line scanner: parse a file of log lines again and again.
 *
 *     scan [-r] FILE [ROUNDS]
 *
 * -r: first it is told which lines are one record, as in a file that the agent follows.
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
#include "wire/log/multiline.h"

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

/* As the agent reads a file: a record at a time, in blocks. */
static size_t parse_records(struct line_parser *p, struct text t, int64_t now_us, size_t *ret_bytes)
{
	enum { BLOCK = 256 * 1024 };
	struct multiline form = { .records = 0 };
	struct multiline_room room;
	size_t lines = 0, bytes = 0;

	multiline_room_init(&room);
	room.clock.now_us = now_us;
	p->memo = &room.memo;
	for (size_t at = 0; at < t.len;) {
		struct text block = { t.s + at, t.len - at < BLOCK ? t.len - at : BLOCK }, record = block;
		struct sample s;
		bool open;

		record.len = multiline_record(&form, &room, block, &open);
		if (at < LEARN_BYTES)
			multiline_learn(&form, &room, record);
		line_parse(p, record, now_us, NULL, &s);
		bytes += s.log.message.len + s.log.logger.len + s.log.context.len;
		at += record.len + 1;
	}
	for (const char *c = t.s; (c = memchr(c, '\n', (size_t)(t.s + t.len - c))) != NULL; c++)
		lines++;
	multiline_room_free(&room);
	p->memo = NULL;
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
	bool records = argc > 1 && strcmp(argv[1], "-r") == 0;
	const char *file = argv[1 + records], *count = file ? argv[2 + records] : NULL;
	struct text t = file ? read_file(file) : (struct text){ NULL, 0 };
	int64_t rounds = 5, best = INT64_MAX, json_c = INT64_MAX, now_us = wall_us();
	size_t lines = 0, bytes = 0;
	struct line_parser p;

	if (!t.s || argc > 3 + records || (count && !parse_i64(text_of(count), &rounds))) {
		fprintf(stderr, "usage: scan [-r] FILE [ROUNDS]\n");
		return 1;
	}
	line_parser_init(&p);
	for (int64_t i = 0; i < rounds; i++) {
		int64_t began = now_ns(), took;

		lines = (records ? parse_records : parse_all)(&p, t, now_us, &bytes);
		took = now_ns() - began;
		best = took < best ? took : best;
	}
	line_parser_free(&p);
	if (lines == 0 || rounds < 2)
		return 0;
	printf("%zu lines of %zu bytes: %" PRId64 " ns a line, %zu bytes of text kept of each\n", lines,
	       t.len / lines, best / (int64_t)lines, bytes / lines);
	if (records)
		return 0;
	parse_all_json_c(t, rounds / 2, &json_c);
	printf("json-c: %" PRId64 " ns a line, ratio %.3f\n", json_c / (int64_t)lines,
	       (double)best / (double)json_c);
	return 0;
}
