/* SPDX-License-Identifier: MIT
 * What the process can still do: each case runs in a child that shuts itself in as
 * the daemon does (without what sanitizers need) and then tries one thing.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relayd/fence.h"
#include "relayd/privileges.h"
#include "relayd/sandbox.h"

#define FINE 0
#define BROKEN 99 /* the filter itself could not be installed */

static const struct sandbox_options daemon_filter = {0};
static const struct sandbox_options logging_filter = {.log_only = true};
static const struct sandbox_options helper_filter = {.helper = true};

/* The wait status of a child that enters the filter and then does TRY, whose
 * result is its exit status. */
static int status_of(const struct sandbox_options *options, int (*try)(void))
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct why why = {0};
		privileges_hide(); /* no core of the killed child */
		_exit(sandbox_enter(options, &why) < 0 ? BROKEN : try());
	}
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == BROKEN)
		fail_msg("the filter can not be installed here");
	return status;
}

static void assert_kills(const char *what, int (*try)(void))
{
	int status = status_of(&daemon_filter, try);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
		fail_msg("%s: wait status %#x instead of the end by SIGSYS", what, (unsigned)status);
}

static void assert_fine(const char *what, const struct sandbox_options *options, int (*try)(void))
{
	int status = status_of(options, try);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != FINE)
		fail_msg("%s: wait status %#x", what, (unsigned)status);
}

/* ---- the daemon's filter: what ends it ---- */

static int try_execve(void)
{
	char *argv[] = {(char *)"/bin/true", NULL};
	return (int)syscall(SYS_execve, argv[0], argv, argv + 1);
}

static int try_execveat(void)
{
	char *argv[] = {(char *)"/bin/true", NULL};
	return (int)syscall(SYS_execveat, AT_FDCWD, argv[0], argv, argv + 1, 0);
}

static int try_fork(void)
{
	return (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static int try_vfork(void)
{
	return (int)syscall(SYS_clone, CLONE_VFORK | CLONE_VM | SIGCHLD, 0, 0, 0, 0);
}

#define TRY(name, call, ...) \
	static int try_##name(void) \
	{ \
		return (int)syscall(SYS_##call, __VA_ARGS__); \
	}
TRY(ptrace, ptrace, 0, 0, 0, 0)
TRY(read_others, process_vm_readv, 1, NULL, 0, NULL, 0, 0)
TRY(mount, mount, "none", "/mnt", "tmpfs", 0, NULL)
TRY(umount, umount2, "/mnt", 0)
TRY(chroot, chroot, "/")
TRY(pivot_root, pivot_root, "/", "/")
TRY(unshare, unshare, CLONE_NEWUSER)
TRY(setns, setns, 0, 0)
TRY(setuid, setuid, 0)
TRY(setresuid, setresuid, 0, 0, 0)
TRY(setgroups, setgroups, 0, NULL)
TRY(capset, capset, NULL, NULL)
TRY(kill_init, kill, 1, 0)
TRY(signal_other, tgkill, 1, 1, 0)
TRY(bpf, bpf, 0, NULL, 0)
TRY(perf, perf_event_open, NULL, 0, 0, 0, 0)
TRY(io_uring, io_uring_setup, 1, NULL)
TRY(userfaultfd, userfaultfd, 0)
TRY(keyctl, keyctl, 0, 0)
TRY(module, finit_module, 0, "", 0)
TRY(kexec, kexec_load, 0, 0, NULL, 0)
TRY(reboot, reboot, 0, 0, 0, NULL)
TRY(set_limit, prlimit64, 0, 7, "................", NULL)
TRY(dumpable, prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)
TRY(memfd, memfd_create, "x", 0)
TRY(chmod, chmod, "/nowhere", 0777)
TRY(chown, chown, "/nowhere", 0, 0)
TRY(symlink, symlink, "/etc/passwd", "/tmp/x")
TRY(link, link, "/etc/passwd", "/tmp/x")
TRY(mknod, mknod, "/tmp/x", S_IFIFO, 0)
TRY(clock, clock_settime, 0, NULL)
TRY(hostname, sethostname, "x", 1)
TRY(terminal, ioctl, 0, 0x5412, "x") /* TIOCSTI: type for somebody else */

#ifdef __x86_64__
static int try_x32(void)
{
	return (int)syscall(0x40000000 | SYS_getpid);
}
#endif

static const struct {
	const char *what;
	int (*try)(void);
} forbidden[] = {
    {"execve", try_execve},
    {"execveat", try_execveat},
    {"fork", try_fork},
    {"vfork", try_vfork},
    {"ptrace", try_ptrace},
    {"process_vm_readv", try_read_others},
    {"mount", try_mount},
    {"umount2", try_umount},
    {"chroot", try_chroot},
    {"pivot_root", try_pivot_root},
    {"unshare", try_unshare},
    {"setns", try_setns},
    {"setuid", try_setuid},
    {"setresuid", try_setresuid},
    {"setgroups", try_setgroups},
    {"capset", try_capset},
    {"kill", try_kill_init},
    {"tgkill of another", try_signal_other},
    {"bpf", try_bpf},
    {"perf_event_open", try_perf},
    {"io_uring_setup", try_io_uring},
    {"userfaultfd", try_userfaultfd},
    {"keyctl", try_keyctl},
    {"finit_module", try_module},
    {"kexec_load", try_kexec},
    {"reboot", try_reboot},
    {"prlimit64 that sets", try_set_limit},
    {"prctl that makes it dumpable", try_dumpable},
    {"memfd_create", try_memfd},
    {"chmod", try_chmod},
    {"chown", try_chown},
    {"symlink", try_symlink},
    {"link", try_link},
    {"mknod", try_mknod},
    {"clock_settime", try_clock},
    {"sethostname", try_hostname},
    {"ioctl TIOCSTI", try_terminal},
#ifdef __x86_64__
    {"a call of x32", try_x32},
#endif
};

static void test_forbidden_calls_kill(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
		assert_kills(forbidden[i].what, forbidden[i].try);
}

/* Numbers of another architecture; a kernel without i386 ends it with SIGSEGV. */
static void test_i386_calls_kill(void **state)
{
	(void)state;
#ifdef __x86_64__
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct why why = {0};
		long result = 20; /* getpid there, writev here */
		privileges_hide();
		if (sandbox_enter(&daemon_filter, &why) < 0)
			_exit(BROKEN);
		__asm__ volatile("int $0x80" : "+a"(result) : : "memory");
		_exit(FINE);
	}
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_true(WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV);
#else
	skip();
#endif
}

/* ---- threads that were there before ---- */

static int go[2];

static void *thread_main(void *arg)
{
	char c;
	(void)arg;
	if (read(go[0], &c, 1) == 1)
		try_execve();
	return NULL;
}

static void test_all_threads_are_shut_in(void **state)
{
	(void)state;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct why why = {0};
		pthread_t thread;
		privileges_hide();
		if (pipe(go) < 0 || pthread_create(&thread, NULL, thread_main, NULL) != 0 ||
		    sandbox_enter(&daemon_filter, &why) < 0)
			_exit(BROKEN);
		if (write(go[1], "x", 1) == 1)
			pthread_join(thread, NULL);
		_exit(FINE);
	}
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

/* ---- what is refused with an error, and what goes on ---- */

static int fails_with(long result, int error)
{
	return result == -1 && errno == error ? FINE : 1;
}

static int try_clone3(void)
{
	return fails_with(syscall(SYS_clone3, NULL, 0), ENOSYS);
}

static int try_netlink(void)
{
	return fails_with(socket(AF_NETLINK, SOCK_RAW, 0), EAFNOSUPPORT) |
	       fails_with(socket(AF_PACKET, SOCK_RAW, 0), EAFNOSUPPORT) |
	       fails_with(socket(AF_VSOCK, SOCK_STREAM, 0), EAFNOSUPPORT);
}

static int try_new_code(void)
{
	long page = (long)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == -1)
		return 2;
	return fails_with(syscall(SYS_mprotect, page, 4096, PROT_READ | PROT_EXEC), EACCES) |
	       fails_with(syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		   EACCES);
}

static int try_everyday(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int s = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;
	if (fd < 0 || s < 0 || fstat(fd, &st) < 0 || close(fd) < 0 || close(s) < 0)
		return 1;
	return syscall(-1L) == -1 && errno == ENOSYS ? FINE : 2;
}

static void test_refused_with_an_error(void **state)
{
	(void)state;
	assert_fine("clone3", &daemon_filter, try_clone3);
	assert_fine("other families", &daemon_filter, try_netlink);
	assert_fine("new code", &daemon_filter, try_new_code);
	assert_fine("everyday calls", &daemon_filter, try_everyday);
}

static int try_missing_program(void)
{
	char *argv[] = {(char *)"/nonexistent", NULL};
	return fails_with(syscall(SYS_execve, argv[0], argv, argv + 1), ENOENT);
}

static void test_log_only_goes_on(void **state)
{
	(void)state;
	assert_fine("execve", &logging_filter, try_missing_program);
}

/* ---- the helper's ---- */

static int try_all_for_helper(void)
{
	return fails_with(try_ptrace(), EPERM) | fails_with(try_mount(), EPERM) |
	       fails_with(try_unshare(), EPERM) | fails_with(try_bpf(), EPERM) |
	       fails_with(try_setns(), EPERM) | fails_with(try_keyctl(), EPERM) |
	       fails_with(try_read_others(), EPERM) | try_clone3();
}

static void test_helper(void **state)
{
	(void)state;
	assert_fine("/bin/true", &helper_filter, try_execve);
	assert_fine("what a command may not do", &helper_filter, try_all_for_helper);
}

/* ---- the fence ---- */

static char folder[] = "/tmp/relayd-fence-XXXXXX";
static char outside[64];

static int make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : 0;
}

static int in_fence(void)
{
	char a[64];
	char b[64];
	struct why why = {0};
	const char *const folders[] = {folder};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	switch (fence_enter(folders, 1, &why)) {
	case FENCE_ABSENT:
		return 77;
	case FENCE_FAILED:
		return BROKEN;
	case FENCE_UP:
		break;
	}
	snprintf(a, sizeof(a), "%s/a", folder);
	snprintf(b, sizeof(b), "%s/sub", folder);
	if (make_file(a) < 0 || mkdir(b, 0700) < 0)
		return 1;
	snprintf(b, sizeof(b), "%s/sub/b", folder);
	if (rename(a, b) < 0 || unlink(b) < 0)
		return 2;
	if (symlink("x", a) == 0 || mkfifo(a, 0600) == 0)
		return 3;
	if (make_file(outside) == 0 || errno != EACCES || unlink(outside) == 0 ||
	    mkdir("/tmp/relayd-fence-made", 0700) == 0)
		return 4;
	if (truncate(outside, 0) == 0)
		return 5;
	if (access(outside, R_OK) < 0 || try_execve() == 0 || errno != EACCES)
		return 6;
	return FINE;
}

static void test_fence(void **state)
{
	(void)state;
	char sub[64];
	assert_non_null(mkdtemp(folder));
	snprintf(outside, sizeof(outside), "%s.outside", folder);
	assert_int_equal(make_file(outside), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		_exit(in_fence());
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	snprintf(sub, sizeof(sub), "%s/sub", folder);
	rmdir(sub);
	rmdir(folder);
	unlink(outside);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip(); /* the kernel has no Landlock */
	assert_int_equal(WEXITSTATUS(status), FINE);
}

/* ---- privileges ---- */

static int shed(void)
{
	char line[128];
	char want[] = "CapEff CapPrm CapInh CapAmb";
	struct why why = {0};
	if (privileges_drop(NULL, &why) < 0)
		return BROKEN;
	FILE *status = fopen("/proc/self/status", "re");
	if (!status)
		return 1;
	while (fgets(line, sizeof(line), status)) {
		line[strcspn(line, ":")] = '\0';
		const char *value = line + strlen(line) + 1;
		if (strstr(want, line) && strspn(value, "\t0\n") != strlen(value))
			return 2;
	}
	fclose(status);
	if (prctl(PR_GET_DUMPABLE) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 3;
	return FINE;
}

static void test_privileges(void **state)
{
	(void)state;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		_exit(shed());
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), FINE);
}

/* ---- the table ---- */

static void test_table(void **state)
{
	(void)state;
	size_t calls = 0;
	for (const struct sandbox_row *row = sandbox_rows; row->purpose; row++) {
		print_message("%-42s %s%s%s\n", row->purpose, row->calls, row->limit ? ": " : "",
		    row->limit ? row->limit : "");
		for (const char *p = row->calls; *p; p++)
			calls += *p == ' ' || p == row->calls;
	}
	print_message("%zu calls may be made\n", calls);
	assert_in_range(calls, 100, 160);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_forbidden_calls_kill),
	    cmocka_unit_test(test_i386_calls_kill),
	    cmocka_unit_test(test_all_threads_are_shut_in),
	    cmocka_unit_test(test_refused_with_an_error),
	    cmocka_unit_test(test_log_only_goes_on),
	    cmocka_unit_test(test_helper),
	    cmocka_unit_test(test_fence),
	    cmocka_unit_test(test_privileges),
	    cmocka_unit_test(test_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
