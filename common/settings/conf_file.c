#include "conf_file.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "near.h"
#include "common/parse.h"
#include "common/utf8.h"

enum { FILE_SIZE_MAX = CONF_ARENA_SIZE / 4, SAID_MAX = 60 };

int conf_text(void *to, struct arena *arena, const struct conf_key *key, const char *value, struct err *e)
{
	char *copy = value ? arena_dup(arena, text_of(value)) : NULL;

	if (value && !copy)
		return err_set(e, ENOMEM, "out of memory");
	memcpy((char *)to + key->at, &copy, sizeof copy);
	return 0;
}

/* One of the words of `allowed`, which has '|' between them. */
int conf_word(void *to, struct arena *arena, const struct conf_key *key, const char *value, struct err *e)
{
	const char *word = key->allowed;

	for (size_t n; *word; word += n + (word[n] == '|')) {
		n = strcspn(word, "|");
		if (text_eq(text_of(value), (struct text){ word, n }))
			return conf_text(to, arena, key, value, e);
	}
	return err_set(e, EINVAL, "%s is one of %s, not \"%.*s\"", key->name, key->allowed,
		       (int)utf8_cut(value, strlen(value), SAID_MAX), value);
}

int conf_number(void *to, struct arena *arena, const struct conf_key *key, const char *value, struct err *e)
{
	int64_t n;

	(void)arena;
	if (!parse_i64(text_of(value), &n) || n < key->least || n > key->most)
		return err_set(e, EINVAL, "%s is a number from %lld to %lld, not \"%.*s\"", key->name,
			       (long long)key->least, (long long)key->most,
			       (int)utf8_cut(value, strlen(value), SAID_MAX), value);
	memcpy((char *)to + key->at, &n, sizeof n);
	return 0;
}

void conf_defaults(const struct conf_table *t, void *to, struct arena *arena)
{
	struct err e;

	for (size_t i = 0; i < t->n; i++)
		t->keys[i].read(to, arena, &t->keys[i], t->keys[i].otherwise, &e);
}

struct reading {
	const struct conf_table *table;
	void *to;
	struct arena *arena;
	uint32_t given;                 /* a bit for each key */
};

static struct text trimmed(struct text t)
{
	while (t.len && (t.s[0] == ' ' || t.s[0] == '\t')) {
		t.s++;
		t.len--;
	}
	while (t.len && strchr(" \t\r\n", t.s[t.len - 1]))
		t.len--;
	return t;
}

static int no_such_key(const struct conf_table *t, struct text name, struct err *e)
{
	struct near near = near_to(name);
	char hint[NEAR_HINT_SIZE];

	for (size_t i = 0; i < t->n; i++)
		near_try(&near, t->keys[i].name);
	return err_set(e, EINVAL, "\"%.*s\" is not a key%s", (int)utf8_cut(name.s, name.len, SAID_MAX),
		       name.s, near_hint(&near, "", hint));
}

static int take(struct reading *r, struct text name, struct text value, struct err *e)
{
	const struct conf_table *t = r->table;

	for (size_t i = 0; i < t->n; i++) {
		const struct conf_key *key = &t->keys[i];
		char *copy;

		if (!text_eq(name, text_of(key->name)))
			continue;
		if (r->given & UINT32_C(1) << i)
			return err_set(e, EINVAL, "%s is given twice", key->name);
		r->given |= UINT32_C(1) << i;
		copy = arena_dup(r->arena, value);
		return copy ? key->read(r->to, r->arena, key, copy, e) : err_set(e, ENOMEM, "out of memory");
	}
	return no_such_key(t, name, e);
}

static int read_line(struct reading *r, struct text line, struct err *e)
{
	const char *equals;

	line = trimmed(line);
	if (line.len == 0 || line.s[0] == '#')
		return 0;
	equals = memchr(line.s, '=', line.len);
	if (!equals)
		return err_set(e, EINVAL, "there is no '='; write: key = value");
	return take(r, trimmed((struct text){ line.s, (size_t)(equals - line.s) }),
		    trimmed((struct text){ equals + 1, (size_t)(line.s + line.len - equals - 1) }), e);
}

int conf_file_read(const struct conf_table *t, void *to, struct arena *arena, const char *path,
		   struct err *e)
{
	CLEANUP(fclose_p) FILE *file = fopen(path, "re");
	CLEANUP(free_p) char *line = NULL;
	struct reading r = { t, to, arena, 0 };
	size_t room = 0, total = 0;
	ssize_t n;

	if (!file)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	for (int number = 1; (n = getline(&line, &room, file)) >= 0; number++) {
		total += (size_t)n;
		if (total > FILE_SIZE_MAX)
			return err_set(e, EFBIG, "%s is larger than %d bytes", path, FILE_SIZE_MAX);
		if (read_line(&r, (struct text){ line, (size_t)n }, e) < 0)
			return err_prefix(e, "%s:%d", path, number);
	}
	return ferror(file) ? err_set(e, errno, "%s can't be read: %s", path, strerror(errno)) : 0;
}

static const char *value_words(const struct conf_key *key, char out[64])
{
	if (key->read == conf_number)
		snprintf(out, 64, "%lld to %lld", (long long)key->least, (long long)key->most);
	else
		snprintf(out, 64, "%s", key->allowed ? key->allowed : "text");
	for (char *c = out; (c = strchr(c, '|'));)
		*c = ' ';
	return out;
}

void conf_table_print(const struct conf_table *t, FILE *out)
{
	char words[64];

	fputs("| key | value | default | meaning |\n|---|---|---|---|\n", out);
	for (const struct conf_key *k = t->keys; k < t->keys + t->n; k++)
		fprintf(out, "| `%s` | %s | %s | %s |\n", k->name, value_words(k, words),
			k->otherwise && *k->otherwise ? k->otherwise : "-", k->help);
}
