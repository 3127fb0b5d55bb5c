/* Opening a log file: refuses links of other users, accepts those of operators. Runs as root, to make files
 * of other users. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/sysmacros.h>

/* A kernel without openat2, when asked for. */
#include <sys/syscall.h>
#include <unistd.h>
static int no_openat2;
#define syscall(number, ...) (no_openat2 ? (errno = no_openat2, -1) : syscall(number, __VA_ARGS__))
#include "obs_agent/tail/log_open.c"
#undef syscall

enum { OTHER = 1234, ANOTHER = 1235 };

static char dir[] = "/tmp/observ-test-XXXXXX";
static char at[8][128];

static const char *in(const char *name)
{
	static int next;
	char *path = at[next++ % 8];

	snprintf(path, sizeof at[0], "%s/%s", dir, name);
	return path;
}

static void give(const char *name, uid_t owner)
{
	assert_int_equal(lchown(in(name), owner, owner), 0);
}

static void make_file(const char *name, uid_t owner)
{
	FILE *out = fopen(in(name), "w");

	assert_non_null(out);
	fputs("x\n", out);
	fclose(out);
	give(name, owner);
}

static void make_folder(const char *name, uid_t owner)
{
	assert_int_equal(mkdir(in(name), 0755), 0);
	give(name, owner);
}

static void make_link(const char *name, const char *target, uid_t owner)
{
	unlink(in(name));
	assert_int_equal(symlink(target, in(name)), 0);
	give(name, owner);
}

/* With openat2, and with both ways in which it may be missing. */
static void assert_opens(const char *path, int expected, const char *words)
{
	static const int kernels[] = { 0, ENOSYS, EPERM };

	for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
		struct err e = { 0 };
		struct stat st;
		int fd;

		no_openat2 = kernels[i];
		fd = log_open_file(path, &st, &e);
		if ((fd < 0 ? fd : 0) != expected || (words && !strstr(e.msg, words)))
			fail_msg("%s: %d %s", path, fd, e.msg);
		if (fd >= 0)
			assert_true(S_ISREG(st.st_mode) && fcntl(fd, F_GETFL) & O_NONBLOCK && close(fd) == 0);
	}
	no_openat2 = 0;
}

static void files_and_links_of_operators_are_opened(void **state)
{
	(void)state;
	assert_opens(in("app/logs/app.log"), 0, NULL);
	assert_opens(in("app/./logs//app.log"), 0, NULL);
	make_link("app/current", "releases/1", OTHER); /* relative, absolute, of root, over two links */
	assert_opens(in("app/current/app.log"), 0, NULL);
	make_link("app/current", in("app/releases/1"), OTHER);
	assert_opens(in("app/current/app.log"), 0, NULL);
	make_link("to_app", "app", 0);
	assert_opens(in("to_app/current/app.log"), 0, NULL);
	make_link("app/releases/1/log", "../../logs", OTHER);
	assert_opens(in("app/current/log/app.log"), 0, NULL);
	make_link("app/logs/by_root.log", in("secret/auth.log"), 0);
	assert_opens(in("app/logs/by_root.log"), 0, NULL);
}

static void a_link_leads_only_to_what_its_owner_has(void **state)
{
	static const char *const links[] = { "app/logs/evil.log", "app/logs/evil", "app/evil2" };

	(void)state;
	make_link(links[0], in("secret/auth.log"), OTHER);
	assert_opens(in("app/logs/evil.log"), -EPERM,
		     "/evil.log leads to what its owner (uid 1234) does not own: not followed");
	make_link(links[0], "../../secret/auth.log", OTHER);
	assert_opens(in("app/logs/evil.log"), -EPERM, "not followed");
	make_link(links[1], in("secret"), OTHER);
	assert_opens(in("app/logs/evil/auth.log"), -EPERM, "/app/logs/evil leads to what");
	make_link(links[2], "logs/evil.log", OTHER); /* a link of the owner to another file of the owner */
	assert_opens(in("app/evil2"), -EPERM, "not followed");
	make_link(links[0], "/proc/self/environ", OTHER);
	assert_opens(in("app/logs/evil.log"), -EPERM, "not followed");
	make_link("by_root", "/proc/self/environ", 0);
	assert_opens(in("by_root"), -EPERM, "this file system holds no log files");
	assert_opens("/proc/self/environ", -EPERM, NULL);
	assert_opens("/sys/kernel/uevent_seqnum", -EPERM, "holds no log files");
	make_link("loop", "loop", 0);
	assert_opens(in("loop"), -ELOOP, "more than 16 symbolic links");
	for (size_t i = 0; i < 3; i++)
		unlink(in(links[i]));
}

/* Root's link, but the owner of a folder above it can move it, and so change its target. */
static void a_relative_link_of_root_that_another_can_move_is_the_others(void **state)
{
	(void)state;
	make_folder("app/kept", 0);
	make_file("app/kept/own.log", 0);
	make_link("app/kept/link.log", "own.log", 0);
	assert_opens(in("app/kept/link.log"), 0, NULL);
	make_link("app/kept/link.log", "../../secret/auth.log", 0);
	assert_opens(
		in("app/kept/link.log"), -EPERM,
		"not followed; name the file itself in log_files, or make it an absolute link of root's");
	make_link("app/kept/link.log", in("secret/auth.log"), 0);
	assert_opens(in("app/kept/link.log"), 0, NULL);
	make_link("app/logs/by_root.log", "../../secret/auth.log", 0);
	assert_opens(in("app/logs/by_root.log"), -EPERM, "not followed");
	make_link("app/logs/by_root.log", "app.log", 0);
	assert_opens(in("app/logs/by_root.log"), 0, NULL);
	unlink(in("app/logs/by_root.log"));
}

/* In a folder of one user, a link of another user may only lead to that other user's files. */
static void a_guest_cannot_lend_the_name_of_the_owner_of_the_folder(void **state)
{
	(void)state;
	make_link("app/logs/guest.log", "app.log", ANOTHER);
	assert_opens(in("app/logs/guest.log"), -EPERM, "not followed");
	make_link("app/logs/guest.log", in("guest.log"), ANOTHER);
	make_file("guest.log", ANOTHER);
	assert_opens(in("app/logs/guest.log"), 0, NULL);
	unlink(in("app/logs/guest.log"));
}

/* In a user namespace all unmapped users look the same. */
static void owners_that_look_the_same_are_not_taken_for_the_same(void **state)
{
	(void)state;
	make_file("unknown.log", OTHER_UID);
	make_link("app/logs/x.log", in("unknown.log"), OTHER_UID);
	assert_opens(in("app/logs/x.log"), -EPERM, "not followed");
	make_folder("unknown", OTHER_UID);
	make_folder("unknown/1", OTHER_UID);
	make_file("unknown/1/app.log", OTHER_UID);
	make_link("unknown/current", "1", OTHER_UID);
	assert_opens(in("unknown/current/app.log"), 0, NULL);
	make_link("unknown/current", in("secret"), OTHER_UID);
	assert_opens(in("unknown/current/auth.log"), -EPERM, "not followed");
	assert_int_equal(chmod(in("unknown"), 01777), 0);
	make_link("unknown/current", "1", OTHER_UID);
	assert_opens(in("unknown/current/app.log"), -EPERM, "not followed");
}

static void a_hard_link_that_others_may_have_made_is_refused(void **state)
{
	(void)state;
	assert_int_equal(link(in("secret/auth.log"), in("app/logs/hard.log")), 0);
	assert_opens(in("app/logs/hard.log"), -EPERM, "the file has 2 names (hard links)");
	assert_opens(in("secret/auth.log"), 0, NULL);           /* other users cannot enter its folder */
	assert_int_equal(chmod(in("secret"), 0775), 0);
	assert_opens(in("secret/auth.log"), -EPERM, "hard links");
	assert_int_equal(chmod(in("secret"), 0755), 0);
	unlink(in("app/logs/hard.log"));
	assert_int_equal(link(in("app/logs/app.log"), in("app/logs/app.log.1")), 0);
	assert_opens(in("app/logs/app.log"), 0, NULL);          /* of the owner */
	unlink(in("app/logs/app.log.1"));
}

static void other_file_types_are_never_opened(void **state)
{
	(void)state;
	assert_int_equal(mkfifo(in("app/logs/fifo"), 0666), 0);
	assert_opens(in("app/logs/fifo"), -EPERM, "not a regular file");
	assert_int_equal(mknod(in("app/logs/zero"), S_IFCHR | 0666, makedev(1, 5)), 0);
	assert_opens(in("app/logs/zero"), -EPERM, "not a regular file");
	assert_opens(in("app/logs"), -EPERM, "not a regular file");
	assert_opens(in("app/logs/none.log"), -ENOENT, NULL);
	assert_opens("relative.log", -EINVAL, NULL);
	assert_opens("/", -EINVAL, NULL);
}

static int set_up(void **state)
{
	(void)state;
	if (geteuid() != 0 || !mkdtemp(dir) || chmod(dir, 0755) < 0)
		return -1;
	make_folder("app", OTHER);
	make_folder("app/logs", OTHER);
	make_folder("app/releases", OTHER);
	make_folder("app/releases/1", OTHER);
	make_file("app/logs/app.log", OTHER);
	make_file("app/releases/1/app.log", ANOTHER);
	make_folder("secret", 0);
	make_file("secret/auth.log", 0);
	return 0;
}

static int clean_up(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_and_links_of_operators_are_opened),
		cmocka_unit_test(a_link_leads_only_to_what_its_owner_has),
		cmocka_unit_test(a_relative_link_of_root_that_another_can_move_is_the_others),
		cmocka_unit_test(a_guest_cannot_lend_the_name_of_the_owner_of_the_folder),
		cmocka_unit_test(owners_that_look_the_same_are_not_taken_for_the_same),
		cmocka_unit_test(a_hard_link_that_others_may_have_made_is_refused),
		cmocka_unit_test(other_file_types_are_never_opened),
	};

	if (geteuid() != 0) {
		puts("skipped: needs root, to make files of others");
		return 0;
	}
	return cmocka_run_group_tests(tests, set_up, clean_up);
}
