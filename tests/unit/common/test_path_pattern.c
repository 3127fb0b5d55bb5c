/* Patterns of paths match what they say, and are refused where they say nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "common/path_pattern.c"
#include "tests/unit/cpu_time.h"

static char dir[] = "/tmp/observ-pattern-XXXXXX";

static const char *const folders[] = { "a", "a/b", "a/b/c", "a/.hidden", "deep[1]" };
static const char *const files[] = { "top.log", "a/one.log", "a/two.log", "a/b/one.log", "a/b/c/one.log",
				     "a/b/c/x.err", "a/.hidden/one.log", "deep[1]/one.log", "{x}.log",
				     "a/n1.log", "a/n2.log", "a/n3.log" };

static int make_tree(void **state)
{
	char path[256];

	(void)state;
	if (!mkdtemp(dir))
		return -1;
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, folders[i]);
		mkdir(path, 0700);
	}
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, files[i]);
		close(open(path, O_CREAT | O_WRONLY, 0600));
	}
	snprintf(path, sizeof path, "%s/a/loop", dir);
	return symlink("..", path);
}

static int remove_tree(void **state)
{
	char path[256];

	(void)state;
	snprintf(path, sizeof path, "%s/a/loop", dir);
	unlink(path);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, files[i]);
		unlink(path);
	}
	for (size_t i = sizeof folders / sizeof *folders; i-- > 0;) {
		snprintf(path, sizeof path, "%s/%s", dir, folders[i]);
		rmdir(path);
	}
	return rmdir(dir);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The paths below dir, sorted, each with a space behind it. */
static void join(struct path_list *l, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	if (l->n)
		qsort(l->path, l->n, sizeof *l->path, by_text);
	for (size_t i = 0; i < l->n; i++)
		n += (size_t)snprintf(out + n, size - n, "%s ",
				      l->path[i] + strlen(dir) + (strlen(l->path[i]) > strlen(dir)));
}

static void a_pattern_finds_files_and_their_folders(void **state)
{
	static const struct {
		const char *pattern, *files, *folders;
	} cases[] = {
		{ "top.log", "top.log ", " " },
		{ "missing.log", "missing.log ", " " },
		{ "a/*.log", "a/n1.log a/n2.log a/n3.log a/one.log a/two.log ", "a " },
		{ "a/{one,two}.log", "a/one.log a/two.log ", "a a " },
		{ "{top,a/{one,n?}}.log", "a/n1.log a/n2.log a/n3.log a/one.log top.log ", " a a " },
		{ "a/n[12].log", "a/n1.log a/n2.log ", "a " },
		{ "a/n[!12].log", "a/n3.log ", "a " },
		{ "a/n[!]x].log", "a/n1.log a/n2.log a/n3.log ", "a " },
		{ "a/n[^]1-2].log", "a/n3.log ", "a " },
		{ "a/{n[]1,3],two}.log", "a/n1.log a/n3.log a/two.log ", "a a " },
		{ "a/n[[:digit:]].log", "a/n1.log a/n2.log a/n3.log ", "a " },
		{ "a/n[{1}].log", "a/n1.log ", "a " },
		{ "a/**/one.log", "a/b/c/one.log a/b/one.log a/one.log ", "a a/b a/b/c " },
		{ "a/**/*.err", "a/b/c/x.err ", "a a/b a/b/c " },
		{ "a/b/**", "a/b/c/one.log a/b/c/x.err a/b/one.log ", "a/b a/b/c " },
		/* where there is none yet too */
		{ "**/c/*.log", "a/b/c/one.log ", " a/b/c a/b/c/c a/c c deep[1] " },
		/* in which a name may come that leads further */
		{ "*/b/one.log", "a/b/one.log ", " a a/b deep[1] " },
		{ "deep\\[1\\]/*.log", "deep[1]/one.log ", " deep[1] " },
		{ "deep[1]", "", " " },                 /* a set: the file deep1 */
		{ "\\{x\\}.log", "{x}.log ", " " },
		/* folders that a wildcard matches are no files, by a link neither */
		{ "a/[bl]*", "", "a " },
		{ "a/b/?", "", "a/b " },
		/* a name behind ** counts where it is */
		{ "a/**/x.err", "a/b/c/x.err ", "a a/b a/b/c " },
		{ "a/**/none.log", "", "a a/b a/b/c " },
		{ "*/one.log", "a/one.log deep[1]/one.log ", "a deep[1] " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct path_list found = { 0 }, in = { 0 };
		char pattern[256], text[4096];

		snprintf(pattern, sizeof pattern, "%s/%s", dir, cases[i].pattern);
		assert_null(path_pattern_problem(pattern));
		assert_int_equal(path_pattern_find(pattern, &found, &in), 0);
		join(&found, text, sizeof text);
		assert_string_equal(text, cases[i].files);
		join(&in, text, sizeof text);
		/* a/loop is a folder too, by a link */
		if (strcmp(cases[i].pattern, "*/one.log") != 0)
			assert_string_equal(text, cases[i].folders);
		path_list_free(&found);
		path_list_free(&in);
	}
}

static void what_says_nothing_is_refused(void **state)
{
	static const struct {
		const char *pattern, *problem;
	} cases[] = {
		{ "/var/log/*.log", NULL },             { "/var/log/a\\b.log", NULL },
		{ "/var/log/{a,b}/[x-z]?.log", NULL },  { "/var/log/[]x].log", NULL },
		{ "/var/log/**/a.log", NULL },          { "/var/log/\\{a}.log", NULL },
		{ "/var/log/{a.log", "braces" },        { "/var/log/{a}.log", "braces" },
		{ "/var/log/{a,{b}}.log", "braces" },   { "/var/log/[a.log", "[ without a ]" },
		{ "/var/log/[a/b].log", "between [ and ]" },
		{ "/var/log/a**.log", "beside other characters" },
		{ "/var/log/**.log", "beside other characters" }, { "/var/**/log/**/a.log", "twice" },
		{ "/var/log/*\\", "ends in \\" },       { "/{a,b,c,d,e}{a,b,c,d,e}{a,b,c}", "more than 64" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *problem = path_pattern_problem(cases[i].pattern);

		if (!cases[i].problem)
			assert_null(problem);
		else if (!problem || !strstr(problem, cases[i].problem))
			fail_msg("%s: %s", cases[i].pattern, problem ? problem : "is taken");
	}
}

static void a_path_matches_wherever_it_leads(void **state)
{
	static const struct {
		const char *pattern, *path;
		bool matches;
	} cases[] = {
		{ "/l/app.log", "/l/app.log", true },           { "/l/app.log", "/l/app.log.1", false },
		{ "/l/*.log", "/l/app.log", true },             { "/l/*.log", "/l/a/app.log", false },
		{ "/l/{a,b}/x.log", "/l/b/x.log", true },       { "/l/{a,b}/x.log", "/l/c/x.log", false },
		{ "/l/**/x.log", "/l/x.log", true },            { "/l/**/x.log", "/l/a/b/x.log", true },
		{ "/l/**/x.log", "/m/a/x.log", false },         { "/l/**/x.log", "/l/.a/x.log", false },
		{ "/**/x.log", "/l/m/x.log", true },            { "/*/**/x.log", "/l/m/x.log", true },
		{ "/l/**", "/l/a/b", true },                    { "/l/[!a].log", "/l/b.log", true },
		{ "/l/\\[a\\].log", "/l/[a].log", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (path_pattern_matches(cases[i].pattern, cases[i].path) != cases[i].matches)
			fail_msg("%s and %s", cases[i].pattern, cases[i].path);
}

static void folders_that_are_too_deep_are_told(void **state)
{
	struct path_list found = { 0 };
	char path[256], root[64];
	size_t n;

	(void)state;
	n = (size_t)snprintf(root, sizeof root, "%s/deeper", dir);
	memcpy(path, root, n + 1);
	for (int i = 0; i <= PATTERN_DEPTH_MAX + 1; i++) {
		assert_int_equal(mkdir(path, 0700), 0);
		n += (size_t)snprintf(path + n, sizeof path - n, "/d");
	}
	snprintf(path + n - 1, sizeof path - n + 1, "%s", "");
	assert_int_equal(path_pattern_find((snprintf(path, sizeof path, "%s/**/x", root), path), &found,
					   NULL), -E2BIG);
	path_list_free(&found);
	snprintf(path, sizeof path, "rm -r %s", root);
	assert_int_equal(system(path), 0);
}

/* A user who may write to a log folder can make links in it that lead to the folder itself. */
static void links_to_their_own_folder_do_not_multiply_without_end(void **state)
{
	enum { LINKS = 60 };
	struct path_list found = { 0 }, in = { 0 };
	char path[256], pattern[256];
	int64_t begin;

	(void)state;
	snprintf(path, sizeof path, "%s/loops", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	for (int i = 0; i < LINKS; i++) {
		snprintf(path, sizeof path, "%s/loops/l%d", dir, i);
		assert_int_equal(symlink(".", path), 0);
	}
	snprintf(pattern, sizeof pattern, "%s/loops/*/*/*/*/l*", dir);
	begin = cpu_ms();
	assert_int_equal(path_pattern_find(pattern, &found, &in), -E2BIG);
	assert_true(found.n + in.n <= PATTERN_PATHS_MAX);
	/* of the 30 that the watchdog gives the agent */
	assert_true(cpu_ms() - begin < cpu_ms_bound(10000));
	path_list_free(&found);
	path_list_free(&in);
	snprintf(pattern, sizeof pattern, "rm -r %s/loops", dir);
	assert_int_equal(system(pattern), 0);
}

/* What one alternative leaves out keeps the others from nothing. */
static void a_tree_that_is_too_deep_hides_no_other_alternative(void **state)
{
	struct path_list found = { 0 };
	char path[1024], text[4096];
	size_t n;

	(void)state;
	n = (size_t)snprintf(path, sizeof path, "%s/deeper", dir);
	for (int i = 0; i <= PATTERN_DEPTH_MAX + 1; i++) {
		assert_int_equal(mkdir(path, 0700), 0);
		n += (size_t)snprintf(path + n, sizeof path - n, "/d");
	}
	snprintf(path, sizeof path, "%s/{deeper/**,a/b}/one.log", dir);
	assert_int_equal(path_pattern_find(path, &found, NULL), -E2BIG);
	join(&found, text, sizeof text);
	assert_non_null(strstr(text, "a/b/one.log "));
	path_list_free(&found);
	snprintf(path, sizeof path, "rm -r %s/deeper", dir);
	assert_int_equal(system(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pattern_finds_files_and_their_folders),
		cmocka_unit_test(what_says_nothing_is_refused),
		cmocka_unit_test(a_path_matches_wherever_it_leads),
		cmocka_unit_test(folders_that_are_too_deep_are_told),
		cmocka_unit_test(links_to_their_own_folder_do_not_multiply_without_end),
		cmocka_unit_test(a_tree_that_is_too_deep_hides_no_other_alternative),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
