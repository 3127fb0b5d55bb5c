#include "path_pattern.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"

/* ---- lists ---- */

bool path_list_add(struct path_list *l, const char *path)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		char **grown = reallocarray(l->path, cap, sizeof *grown);

		if (!grown)
			return false;
		l->path = grown;
		l->cap = cap;
	}
	l->path[l->n] = strdup(path);
	return l->path[l->n] && ++l->n;
}

void path_list_free(struct path_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->path[i]);
	free(l->path);
	*l = (struct path_list){ 0 };
}

/* ---- the text of a pattern ---- */

bool path_pattern_is(const char *path)
{
	return strpbrk(path, "*?[{") != NULL;
}

/* The ] that ends the set at s, which is a [; NULL: none. */
static const char *set_end(const char *s)
{
	const char *at = s + 1;

	if (*at == '!' || *at == '^')
		at++;
	if (*at == ']')
		at++;
	while (*at && *at != ']')
		at += *at == '\\' && at[1] ? 2 : 1;
	return *at ? at : NULL;
}

/* One past what is at s: a character, an escaped one, a set. */
static const char *step(const char *s)
{
	const char *end = *s == '[' ? set_end(s) : NULL;

	if (*s == '\\' && s[1])
		return s + 2;
	return end ? end + 1 : s + 1;
}

static const char *find_brace(const char *s)
{
	while (*s && *s != '{')
		s = step(s);
	return *s ? s : NULL;
}

/* The end of the alternative at s: its comma or closing brace; NULL: none. */
static const char *alternative_end(const char *s)
{
	for (int depth = 0; *s; s = step(s)) {
		if (depth == 0 && (*s == ',' || *s == '}'))
			return s;
		depth += (*s == '{') - (*s == '}');
	}
	return NULL;
}

/* Append what the pattern stands for without braces. -EINVAL: braces that don't fit; -E2BIG: too many. */
static int expand(const char *pattern, struct path_list *out)
{
	const char *open = find_brace(pattern), *close = open, *at, *end;
	int r = 0;

	if (out->n >= PATTERN_ALTERNATIVES_MAX)
		return -E2BIG;
	if (!open)
		return path_list_add(out, pattern) ? 0 : -ENOMEM;
	do
		close = alternative_end(close + 1);
	while (close && *close == ',');
	if (!close || *alternative_end(open + 1) == '}')
		return -EINVAL;
	for (at = open; r == 0 && *at != '}'; at = end) {
		char one[PATH_MAX];

		end = alternative_end(at + 1);
		if (snprintf(one, sizeof one, "%.*s%.*s%s", (int)(open - pattern), pattern,
			     (int)(end - at - 1), at + 1, close + 1) >= (int)sizeof one)
			return -E2BIG;
		r = expand(one, out);
	}
	return r;
}

/* The ** of a pattern without braces; NULL: none. */
static const char *any_depth(const char *pattern)
{
	for (; *pattern; pattern = step(pattern))
		if (pattern[0] == '*' && pattern[1] == '*')
			return pattern;
	return NULL;
}

static const char *problem_of_one(const char *pattern)
{
	const char *deep = any_depth(pattern);

	for (const char *s = pattern; *s; s = step(s)) {
		if (*s == '\\' && !s[1])
			return "ends in \\; write the character that it is for, or leave it out";
		if (*s == '[' && !set_end(s))
			return "has a [ without a ]; write \\[ for the character itself";
		if (*s == '[' && memchr(s, '/', (size_t)(set_end(s) - s)))
			return "has a / between [ and ]; use braces, as in {a,b/c}";
	}
	if (deep && (deep[-1] != '/' || (deep[2] && deep[2] != '/')))
		return "has ** beside other characters; write it between slashes, as in /var/log/**/*.log";
	if (deep && any_depth(deep + 2))
		return "has ** twice; write it once";
	return NULL;
}

const char *path_pattern_problem(const char *path)
{
	CLEANUP(path_list_free) struct path_list all = { 0 };
	const char *problem = NULL;
	int r;

	if (!path_pattern_is(path) || *path != '/')
		return NULL;
	r = expand(path, &all);
	if (r == -EINVAL)
		return "has braces without two names in them; write {a,b}, or \\{ for the character itself";
	if (r == -E2BIG)
		return "stands for more than 64 patterns; write a shorter one";
	for (size_t i = 0; i < all.n && !problem; i++)
		problem = problem_of_one(all.path[i]);
	return problem;
}

/* ---- what matches ---- */

static bool fits(const char *pattern, size_t n, const char *path, size_t len)
{
	char p[PATH_MAX], s[PATH_MAX];

	return snprintf(p, sizeof p, "%.*s", (int)n, pattern) < (int)sizeof p &&
	       snprintf(s, sizeof s, "%.*s", (int)len, path) < (int)sizeof s &&
	       fnmatch(p, s, FNM_PATHNAME | FNM_PERIOD) == 0;
}

/* One without braces. Each folder on the way may be the one in which ** begins, and it or one below
 * the one where it ends. */
static bool matches_one(const char *pattern, const char *path)
{
	const char *deep = any_depth(pattern), *rest;
	size_t head;

	if (!deep)
		return fits(pattern, strlen(pattern), path, strlen(path));
	head = (size_t)(deep - pattern) - 1;
	rest = deep[2] ? deep + 3 : "*";
	for (const char *from = strchr(path, '/'); from; from = strchr(from + 1, '/')) {
		if (head ? !fits(pattern, head, path, (size_t)(from - path)) : from != path)
			continue;
		for (const char *to = from; to && to[1] != '.'; to = strchr(to + 1, '/'))
			if (fits(rest, strlen(rest), to + 1, strlen(to + 1)))
				return true;
	}
	return false;
}

bool path_pattern_matches(const char *pattern, const char *path)
{
	CLEANUP(path_list_free) struct path_list all = { 0 };

	if (!path_pattern_is(pattern))
		return strcmp(pattern, path) == 0;
	if (expand(pattern, &all) < 0)
		return false;
	for (size_t i = 0; i < all.n; i++)
		if (matches_one(all.path[i], path))
			return true;
	return false;
}

/* Without the \ of each character. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s == '\\' && s[1])
			s++;
		*to++ = *s;
	}
	*to = '\0';
}

/* Append `folder`, so that it stands for itself in a pattern. False: too long. */
static bool escape(const char *folder, char *out, size_t size)
{
	size_t n = 0;

	for (; *folder && n + 3 < size; folder++) {
		if (strchr("*?[]{}\\", *folder))
			out[n++] = '\\';
		out[n++] = *folder;
	}
	out[n] = '\0';
	return *folder == '\0';
}

/* One search. Its bounds matter where users can write to a folder: links to the folder itself multiply with
 * each wildcard. */
struct search {
	struct path_list *files, *folders;      /* folders may be NULL */
	size_t names, paths;                    /* read and looked at so far */
	bool cut;                               /* something was left out */
	bool known;                             /* the folder was found: a name in it has to be there */
};

static bool may_go_on(struct search *s)
{
	bool spent = s->names == PATTERN_NAMES_MAX || s->paths == PATTERN_PATHS_MAX;

	s->cut |= spent;
	return !spent;
}

static bool may_read_name(struct search *s)
{
	return may_go_on(s) && ++s->names;
}

/* Append a path; 0 also if it is left out. */
static int add(struct search *s, const char *path, struct path_list *out)
{
	return !may_go_on(s) || (++s->paths && path_list_add(out, path)) ? 0 : -ENOMEM;
}

static bool is_folder(const char *path, unsigned char type, bool through_links)
{
	struct stat st;

	if (type == DT_DIR || (type != DT_UNKNOWN && (type != DT_LNK || !through_links)))
		return type == DT_DIR;
	return (through_links ? stat(path, &st) : lstat(path, &st)) == 0 && S_ISDIR(st.st_mode);
}

/* One part of a pattern, with the slashes before it. */
struct part {
	char text[PATH_MAX];
	const char *name;               /* behind its slashes */
	bool last;
};

/* Append what a part without wildcards leads to from `folder`. */
static int find_name(struct search *s, const char *folder, const struct part *part, struct path_list *out)
{
	char path[2 * PATH_MAX];
	struct stat st;

	snprintf(path, sizeof path, "%s%s", folder, part->text);
	unescape(path + strlen(folder));
	return may_go_on(s) && lstat(path, &st) == 0 ? add(s, path, out) : 0;
}

/* Folders lead on, and files are what is looked for. */
static bool is_wanted(const struct search *s, const char *path, unsigned char type, const struct part *part,
		      const struct path_list *out)
{
	if (part->last && out != s->files)
		return true;
	return is_folder(path, type, true) == !part->last;
}

/* Append what a part with wildcards matches in `folder`. */
static int find_names(struct search *s, const char *folder, const struct part *part, struct path_list *out)
{
	CLEANUP(closedir_p) DIR *d = may_go_on(s) ? opendir(*folder ? folder : "/") : NULL;
	struct dirent *entry;
	int r = 0;

	while (d && r == 0 && may_read_name(s) && (entry = readdir(d))) {
		char path[PATH_MAX];

		if (fnmatch(part->name, entry->d_name, FNM_PERIOD) == 0 &&
		    snprintf(path, sizeof path, "%s%.*s%s", folder, (int)(part->name - part->text),
			     part->text, entry->d_name) <
		    (int)sizeof path && is_wanted(s, path, entry->d_type, part, out))
			r = add(s, path, out);
	}
	return r;
}

/* Their names decide what a pattern matches. */
static int add_folders(struct search *s, const struct path_list *folders)
{
	int r = 0;

	for (size_t i = 0; s->folders && i < folders->n && r == 0; i++)
		r = add(s, *folders->path[i] ? folders->path[i] : "/", s->folders);
	return r;
}

/* Append what a pattern without braces and ** matches. */
static int find_plain(struct search *s, const char *pattern, struct path_list *out)
{
	CLEANUP(path_list_free) struct path_list now = { 0 };
	bool wild = strpbrk(pattern, "*?[");
	char literal[PATH_MAX];
	struct stat st;
	int r = 0;

	if (!wild) {
		snprintf(literal, sizeof literal, "%s", pattern);
		unescape(literal);
		return s->known && out == s->files && lstat(literal, &st) < 0 ? 0 : add(s, literal, out);
	}
	wild = false;
	r = path_list_add(&now, "") ? 0 : -ENOMEM;
	while (r == 0 && *pattern) {
		struct path_list next = { 0 };
		size_t slashes = strspn(pattern, "/"), n = slashes + strcspn(pattern + slashes, "/");
		struct part part = { .last = !pattern[n] };

		snprintf(part.text, sizeof part.text, "%.*s", (int)n, pattern);
		part.name = part.text + slashes;
		wild |= strpbrk(part.name, "*?[") != NULL;
		if (wild && !part.last && out == s->files)
			r = add_folders(s, &now);
		for (size_t i = 0; i < now.n && r == 0; i++)
			r = (strpbrk(part.name, "*?[") ? find_names : find_name)(
				s, now.path[i], &part, part.last ? out : &next);
		path_list_free(&now);
		now = next;
		pattern += n;
	}
	return r;
}

/* The same, and the folders that its last part is looked for in. */
static int find_in_folders(struct search *s, const char *pattern)
{
	const char *slash = strrchr(pattern, '/');
	char folder[PATH_MAX];
	int r = find_plain(s, pattern, s->files);

	if (r < 0 || !s->folders || !slash)
		return r;
	snprintf(folder, sizeof folder, "%.*s", slash == pattern ? 1 : (int)(slash - pattern), pattern);
	return find_plain(s, folder, s->folders);
}

/* Append the folder and those below it. */
static int walk(struct search *s, const char *folder, int depth, struct path_list *out)
{
	CLEANUP(closedir_p) DIR *d = NULL;
	struct dirent *entry;
	int r;

	if (out->n >= PATTERN_FOLDERS_MAX || depth > PATTERN_DEPTH_MAX) {
		s->cut = true;
		return 0;
	}
	d = may_go_on(s) ? opendir(folder) : NULL;
	r = d ? add(s, folder, out) : 0;
	while (d && r == 0 && may_read_name(s) && (entry = readdir(d))) {
		char below[PATH_MAX];

		if (entry->d_name[0] != '.' &&
		    snprintf(below, sizeof below, "%s%s%s", folder, folder[1] ? "/" : "", entry->d_name) <
		    (int)sizeof below && is_folder(below, entry->d_type, false))
			r = walk(s, below, depth + 1, out);
	}
	return r;
}

/* `rest` is looked for in a folder and all below it. */
static int find_at_any_depth(struct search *s, const char *root, const char *rest)
{
	CLEANUP(path_list_free) struct path_list tree = { 0 };
	int r = walk(s, root, 0, &tree);

	s->known = true;
	for (size_t i = 0; i < tree.n && r == 0; i++) {
		char folder[PATH_MAX], pattern[2 * PATH_MAX];

		if (!escape(tree.path[i], folder, sizeof folder))
			continue;
		snprintf(pattern, sizeof pattern, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder,
			 rest);
		if (strlen(pattern) < PATH_MAX)
			r = find_in_folders(s, pattern);
	}
	s->known = false;
	return r;
}

static int find_one(struct search *s, const char *pattern)
{
	CLEANUP(path_list_free) struct path_list roots = { 0 };
	const char *deep = any_depth(pattern);
	char root[PATH_MAX];
	int r;

	if (!deep)
		return find_in_folders(s, pattern);
	snprintf(root, sizeof root, "%.*s", deep - pattern > 1 ? (int)(deep - pattern - 1) : 1, pattern);
	r = find_plain(s, root, &roots);
	for (size_t i = 0; i < roots.n && r == 0; i++)
		r = find_at_any_depth(s, roots.path[i], deep[2] ? deep + 3 : "*");
	return r;
}

int path_pattern_find(const char *pattern, struct path_list *files, struct path_list *folders)
{
	CLEANUP(path_list_free) struct path_list all = { 0 };
	struct search s = { .files = files, .folders = folders };
	char folder[PATH_MAX];
	const char *slash = strrchr(pattern, '/');
	int r;

	if (!path_pattern_is(pattern)) {
		snprintf(folder, sizeof folder, "%.*s", slash > pattern ? (int)(slash - pattern) : 1,
			 pattern);
		if (!path_list_add(files, pattern) || (folders && !path_list_add(folders, folder)))
			return -ENOMEM;
		return 0;
	}
	r = expand(pattern, &all);
	for (size_t i = 0; i < all.n && r == 0; i++)
		r = find_one(&s, all.path[i]);
	return r == 0 && s.cut ? -E2BIG : r;
}
