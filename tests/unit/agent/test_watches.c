/* What inotify tells, and where it can't be trusted. As root it also mounts, in its own namespace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "obs_agent/tail/file_systems.c"
#include "obs_agent/tail/watches.c"

static char dir[64];
static struct watches *w;
static int seen[WATCH_OVERFLOW + 1];    /* events since the last news() */

static const char *in(const char *name)
{
	static char at[8][512];
	static int next;
	char *path = at[next++ % 8];

	snprintf(path, sizeof at[0], "%s/%s", dir, name);
	return path;
}

static void append(const char *name, const char *text)
{
	FILE *out = fopen(in(name), "a");

	assert_non_null(out);
	fputs(text, out);
	assert_int_equal(fclose(out), 0);
}

static void make_folder(const char *name)
{
	assert_int_equal(mkdir(in(name), 0755), 0);
}

static void make_link(const char *name, const char *target)
{
	assert_int_equal(symlink(target, in(name)), 0);
}

static void move(const char *from, const char *to)
{
	assert_int_equal(rename(in(from), in(to)), 0);
}

static void take_news(void *data, int number, enum watch_news news)
{
	(void)data;
	(void)number;
	seen[news]++;
}

/* Has a name changed since the last call? */
static bool news(void)
{
	memset(seen, 0, sizeof seen);
	return watches_read(w, take_news, NULL);
}

static enum coverage cover_once(const char *folder, const char *file)
{
	watches_begin(w);
	if (folder)
		watches_cover_folder(w, in(folder));
	if (file)
		watches_cover_file(w, in(file));
	return watches_end(w);
}

/* The second time nothing is new. */
static bool covers(const char *folder, const char *file)
{
	cover_once(folder, file);
	news();
	return cover_once(folder, file) == COVER_COMPLETE && !news();
}

static int begin(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/observ-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	w = watches_new();
	return w ? 0 : -1;
}

static int end(void **state)
{
	char command[96];

	(void)state;
	watches_free(w);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

/* ---- what it tells ---- */

static void a_file_that_grows_is_told(void **state)
{
	int fd;

	(void)state;
	append("log", "a\n");
	fd = open(in("log"), O_RDONLY | O_CLOEXEC);
	assert_true(watches_add_file(w, fd) >= 0);
	assert_false(news());
	append("log", "b\n");
	assert_false(news());
	assert_int_equal(seen[WATCH_GREW], 1);
	move("log", "log.1");
	assert_true(news());
	assert_int_equal(seen[WATCH_MOVED], 1);
	unlink(in("log.1"));
	assert_true(news());            /* its last name, though it is open */
	assert_int_equal(seen[WATCH_TOUCHED], 1);
	close(fd);
}

static void names_in_a_folder_are_told(void **state)
{
	(void)state;
	make_folder("f");
	assert_int_equal(cover_once("f", NULL), COVER_GREW);    /* it was not watched before */
	assert_true(covers("f", NULL));
	append("f/log", "");
	assert_true(news());
	append("f/log", "a\n");
	assert_false(news());
	move("f/log", "f/log.1");
	assert_true(news());
	unlink(in("f/log.1"));
	assert_true(news());
}

static void a_folder_on_the_way_that_is_replaced_is_told(void **state)
{
	(void)state;
	make_folder("a");
	make_folder("a/b");
	make_folder("a/b/c");
	assert_true(covers("a/b/c", NULL));
	append("a/other", "");
	assert_false(news());           /* only the folder itself counts */
	move("a", "z");
	assert_true(news());
	make_folder("a");
	assert_false(covers("a/b/c", NULL) && news());
	make_folder("a/b");
	assert_true(news());
}

static void a_folder_that_is_missing_is_told_when_it_comes(void **state)
{
	(void)state;
	make_folder("a");
	assert_true(covers("a/b/c", NULL));
	make_folder("a/b");
	assert_true(news());
	assert_true(covers("a/b/c", NULL));
	make_folder("a/b/c");
	assert_true(news());
	assert_true(covers("a/b/c", NULL));
	append("a/b/c/log", "");
	assert_true(news());
	unlink(in("a/b/c/log"));
	rmdir(in("a/b/c"));
	assert_true(news());
}

static void a_link_on_the_way_that_is_switched_is_told(void **state)
{
	(void)state;
	make_folder("r1");
	make_folder("r2");
	make_link("current", "r1");
	assert_true(covers("current", NULL));
	append("r1/log", "");
	assert_true(news());
	make_link("new", "r2");
	assert_false(news());
	move("new", "current");
	assert_true(news());
	assert_true(covers("current", NULL));
	append("r2/log", "");
	assert_true(news());
	append("r1/other", "");
	assert_false(news());           /* what no path leads to any more is let go */
	unlink(in("current"));
	assert_true(news());
}

static void a_file_that_is_a_link_is_followed_to_its_folder(void **state)
{
	(void)state;
	make_folder("f");
	make_folder("data");
	make_folder("data/x");
	append("data/x/log", "");
	make_link("hop", "data/x");
	make_link("f/log", "../hop/log");
	assert_true(covers("f", "f/log"));
	move("data/x/log", "data/x/log.1");
	assert_true(news());
	assert_true(covers("f", "f/log"));
	append("data/x/log", "");
	assert_true(news());
	assert_true(covers("f", "f/log"));
	unlink(in("hop"));
	assert_true(news());
	assert_true(covers("f", "f/log"));
	move("data", "other");
	news();
	make_link("hop", "other/x");
	assert_true(news());
}

static void a_mount_is_told(void **state)
{
	struct pollfd fd = { .fd = watches_mounts_fd(w), .events = POLLPRI };

	(void)state;
	make_folder("m");
	poll(&fd, 1, 0);
	assert_int_equal(poll(&fd, 1, 0), 0);
	assert_int_equal(mount("none", in("m"), "tmpfs", 0, NULL), 0);
	assert_int_equal(poll(&fd, 1, 0), 1);
	umount(in("m"));
}

static void lost_events_are_told(void **state)
{
	(void)state;
	make_folder("f");
	assert_true(covers("f", NULL));
	for (int i = 0; i < 20000; i++) {
		char name[32];

		snprintf(name, sizeof name, "f/%d", i % 2);
		if (i % 4 < 2)
			close(open(in(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
		else
			unlink(in(name));
	}
	assert_true(news());
	assert_int_equal(seen[WATCH_OVERFLOW], 1);
}

/* ---- where somebody has to look ---- */

static void other_file_systems_than_local_ones_are_not_trusted(void **state)
{
	(void)state;
	assert_true(is_local(EXT4_SUPER_MAGIC));
	assert_true(is_local(TMPFS_MAGIC));
	assert_true(is_local(XFS_SUPER_MAGIC));
	assert_false(is_local(NFS_SUPER_MAGIC));
	assert_false(is_local(FUSE_SUPER_MAGIC));
	assert_false(is_local(SMB2_SUPER_MAGIC));
	assert_false(is_local(V9FS_MAGIC));
	assert_false(is_local(CEPH_SUPER_MAGIC));
	assert_false(is_local(OVERLAYFS_SUPER_MAGIC));
	assert_false(is_local(PROC_SUPER_MAGIC));
}

static void mount_overlay(void)
{
	char options[2048];

	make_folder("low");
	make_folder("upper layer");      /* the kernel writes \040 for the blank */
	make_folder("work");
	make_folder("seen");
	append("low/log", "a\n");
	snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", in("low"), in("upper layer"),
		 in("work"));
	assert_int_equal(mount("overlay", in("seen"), "overlay", 0, options), 0);
	watches_mounts_changed(w);
}

static void an_overlay_is_not_trusted_and_neither_are_its_layers(void **state)
{
	(void)state;
	assert_true(covers("", NULL));
	make_folder("t");
	assert_int_equal(mount("none", in("t"), "tmpfs", 0, NULL), 0);
	memcpy(dir + strlen(dir), "/t", 3);     /* a tmpfs, since an overlay may not be made on another */
	mount_overlay();
	assert_false(covers("seen", NULL));
	assert_false(covers("upper layer", NULL));
	assert_true(covers("low", NULL));
	umount(in("seen"));
	watches_mounts_changed(w);
	assert_true(covers("seen", NULL));
	assert_true(covers("upper layer", NULL));
	dir[strlen(dir) - 2] = '\0';
	umount(in("t"));
}

static void a_file_written_by_another_name_is_told(void **state)
{
	int fd;

	(void)state;
	make_folder("f");
	make_folder("bound");
	append("f/log", "a\n");
	assert_int_equal(mount(in("f"), in("bound"), "none", MS_BIND, NULL), 0);
	fd = open(in("bound/log"), O_RDONLY | O_CLOEXEC);
	assert_true(watches_add_file(w, fd) >= 0);
	assert_true(covers("bound", NULL));
	append("f/log", "b\n");
	assert_false(news());
	assert_int_equal(seen[WATCH_GREW], 1);
	append("f/new", "");
	assert_true(news());
	close(fd);
	umount(in("bound"));
}

static void a_folder_that_can_be_entered_and_not_read_is_not_covered(void **state)
{
	(void)state;
	make_folder("a");
	make_folder("a/b");
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(chmod(in("a"), 0711), 0);
	assert_int_equal(seteuid(65534), 0);
	assert_false(covers("a/b", NULL));
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(chmod(in("a"), 0755), 0);
	assert_int_equal(seteuid(65534), 0);
	assert_true(covers("a/b", NULL));
	assert_int_equal(seteuid(0), 0);
}

static void links_without_an_end_are_not_covered(void **state)
{
	(void)state;
	make_link("a", "b");
	make_link("b", "a");
	assert_false(covers("a", NULL));
	assert_false(covers("a/log", "a/log"));
}

/* The limit of a user namespace stands for that of the machine. */
static int cover_with_few_watches(void)
{
	int fd;

	if (unshare(CLONE_NEWUSER) < 0)
		return 2;
	fd = open("/proc/sys/user/max_inotify_watches", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "2", 1) != 1)
		return 2;
	watches_free(w);
	w = watches_new();
	return covers("a/b/c", NULL);
}

static void a_limit_of_watches_is_noticed(void **state)
{
	int status = -1;
	pid_t pid;

	(void)state;
	make_folder("a");
	make_folder("a/b");
	make_folder("a/b/c");
	assert_int_equal(chmod(dir, 0755), 0);
	pid = fork();
	if (pid == 0)
		_exit(cover_with_few_watches());
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 2)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void without_inotify_nothing_is_covered(void **state)
{
	struct watches *none = NULL;

	(void)state;
	watches_begin(none);
	watches_cover_folder(none, dir);
	assert_int_equal(watches_end(none), COVER_PARTIAL);
	assert_false(watches_trust(none, 1, 0));
	assert_int_equal(watches_add_file(none, 0), -1);
	assert_false(watches_read(none, take_news, NULL));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_that_grows_is_told),
		TEST(names_in_a_folder_are_told),
		TEST(a_folder_on_the_way_that_is_replaced_is_told),
		TEST(a_folder_that_is_missing_is_told_when_it_comes),
		TEST(a_link_on_the_way_that_is_switched_is_told),
		TEST(a_file_that_is_a_link_is_followed_to_its_folder),
		TEST(lost_events_are_told),
		TEST(other_file_systems_than_local_ones_are_not_trusted),
		TEST(links_without_an_end_are_not_covered),
		TEST(without_inotify_nothing_is_covered),
		TEST(a_limit_of_watches_is_noticed),
	};
	const struct CMUnitTest mounting[] = {
		TEST(a_mount_is_told),
		TEST(an_overlay_is_not_trusted_and_neither_are_its_layers),
		TEST(a_file_written_by_another_name_is_told),
		TEST(a_folder_that_can_be_entered_and_not_read_is_not_covered),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0)
		return failed;          /* only root may mount */
	return failed + cmocka_run_group_tests(mounting, NULL, NULL);
}
