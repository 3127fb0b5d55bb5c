#include "notice_record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "common/random.h"
#include "common/read.h"
#include "common/text.h"

enum { FILE_MAX = 512, NUMBERS = 5 };

/* RFC 9562, version 4. */
static void make_id(char id[NOTICE_ID_SIZE])
{
	uint64_t a = random_u64(), b = random_u64();

	a = (a & ~UINT64_C(0xf000)) | UINT64_C(0x4000);
	b = (b & ~(UINT64_C(3) << 62)) | UINT64_C(1) << 63;
	snprintf(id, NOTICE_ID_SIZE, "%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%012" PRIx64,
		 a >> 32, a >> 16 & 0xffff, a & 0xffff, b >> 48, b & 0xffffffffffff);
}

struct notice_record notice_record_new(int64_t since_us)
{
	struct notice_record r = { .since_us = since_us, .seen_us = since_us };

	make_id(r.id);
	return r;
}

/* False: there is no folder, or its name is too long. */
static bool path_of(const char *folder, const char *name, char path[PATH_MAX])
{
	return folder && snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX;
}

/* The next word of a line. */
static struct text word(const char **at)
{
	struct text t = { *at, strcspn(*at, " \n") };

	*at += t.len + (t.s[t.len] != '\0');
	return t;
}

static bool parse(const char *line, struct notice_record *ret)
{
	struct text id = word(&line);
	int64_t number[NUMBERS];

	for (int i = 0; i < NUMBERS; i++)
		if (!parse_i64(word(&line), &number[i]) || number[i] < 0)
			return false;
	if (id.len != NOTICE_ID_SIZE - 1 || number[0] > TOLD_YES)
		return false;
	*ret = (struct notice_record){ .told = (enum notice_told)number[0],
				       .since_us = number[1],
				       .told_us = number[2],
				       .over_us = number[3],
				       .seen_us = number[4] };
	memcpy(ret->id, id.s, id.len);
	return true;
}

bool notice_record_load(const char *folder, struct notice_record *ret)
{
	char path[PATH_MAX], line[FILE_MAX];
	ssize_t n = -1;

	if (path_of(folder, "notice", path)) {
		CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

		n = fd < 0 ? -1 : read_all(fd, line, sizeof line - 1);
	}
	if (n < 0)
		return false;
	line[n] = '\0';
	return parse(line, ret);
}

/* A whole new file takes the place of the old one. */
int notice_record_save(const char *folder, const struct notice_record *r, struct err *e)
{
	char path[PATH_MAX], fresh[PATH_MAX], line[FILE_MAX];
	int n = snprintf(line, sizeof line, "%s %d %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n", r->id,
			 (int)r->told, r->since_us, r->told_us, r->over_us, r->seen_us);

	if (!path_of(folder, "notice", path) || !path_of(folder, "notice.new", fresh))
		return 0;
	{
		CLEANUP(close_p) int fd =
			open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd < 0 || write(fd, line, (size_t)n) != n)
			return err_set(e, errno ? errno : ENOSPC, "%s cannot be written: %s", fresh,
				       strerror(errno ? errno : ENOSPC));
	}
	if (rename(fresh, path) < 0)
		return err_set(e, errno, "%s cannot be written: %s", path, strerror(errno));
	return 0;
}

void notice_record_remove(const char *folder)
{
	char path[PATH_MAX];

	if (path_of(folder, "notice", path))
		unlink(path);
}
