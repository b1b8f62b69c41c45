/* SPDX-License-Identifier: MIT
 * The lists. Calls that the C library or a library tries first and can do without
 * get an error instead of the end (clone3, whose flags a filter can not see, and
 * sockets of other families); code can neither be made nor loaded any more.
 */
#include "relayd/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define NAME_MAX_BYTES 32

const struct sandbox_row sandbox_rows[] = {
    {"memory", "brk munmap mremap madvise membarrier", NULL},
    {"memory", "mmap mprotect", "no code"},
    {"threads",
	"futex futex_waitv set_robust_list get_robust_list rseq sched_yield sched_getaffinity "
	"getcpu exit exit_group restart_syscall",
	NULL},
    {"threads", "clone", "threads only"},
    {"threads", "tgkill", "itself only"},
    {"threads", "prctl", "names, and being undumpable"},
    {"signals", "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait sigaltstack", NULL},
    {"time",
	"clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time timerfd_create "
	"timerfd_settime timerfd_gettime",
	NULL},
    {"events",
	"epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 poll ppoll select pselect6 "
	"eventfd2 pipe2 pipe",
	NULL},
    {"descriptors",
	"read readv write writev pread64 preadv preadv2 pwrite64 pwritev pwritev2 lseek close "
	"close_range dup dup2 dup3 fcntl",
	NULL},
    {"descriptors", "ioctl", "blocking or not, bytes ready, is it a terminal"},
    {"files",
	"open openat stat fstat lstat newfstatat statx access faccessat faccessat2 readlink "
	"readlinkat getdents64 statfs fstatfs getcwd",
	NULL},
    {"files (Landlock: only in its own folders)",
	"fsync fdatasync sync_file_range ftruncate fallocate flock fadvise64 rename renameat "
	"renameat2 unlink unlinkat mkdir mkdirat rmdir umask",
	NULL},
    {"sockets", "socket socketpair", "Unix, IPv4, IPv6"},
    {"sockets",
	"bind listen accept accept4 connect getsockname getpeername setsockopt getsockopt sendto "
	"sendmsg sendmmsg recvfrom recvmsg recvmmsg shutdown",
	NULL},
    {"about itself",
	"getpid getppid gettid getuid geteuid getgid getegid getgroups getresuid getresgid uname "
	"sysinfo getrusage times getrlimit",
	NULL},
    {"about itself", "prlimit64", "asking"},
    {"random numbers", "getrandom", NULL},
    {NULL, NULL, NULL},
};

/* What the leak checker needs to stop the threads, and the rest of the runtime. */
static const char tool_calls[] =
    "ptrace clone prctl mmap mprotect wait4 waitid tgkill tkill kill personality arch_prctl "
    "process_vm_readv mincore capget socketpair getdents rt_sigtimedwait";

/* The helper's programs: nothing of the kernel's, no other process, no new root. */
static const char helper_refused[] =
    "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd mount umount2 mount_setattr "
    "move_mount fsopen fsconfig fsmount fspick open_tree pivot_root chroot unshare setns "
    "init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff "
    "bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register add_key "
    "request_key keyctl iopl ioperm acct quotactl settimeofday clock_settime clock_adjtime "
    "adjtimex sethostname setdomainname open_by_handle_at name_to_handle_at lookup_dcookie "
    "syslog vhangup nfsservctl uselib personality";

struct builder {
	scmp_filter_ctx filter;
	int error; /* of the first rule that could not be added, negative; 0: none */
};

static void keep_error(struct builder *b, int result)
{
	if (result < 0 && !b->error)
		b->error = result;
}

/* A call that this library or machine does not know needs no rule. */
static void add(struct builder *b, uint32_t action, const char *name, unsigned count,
    const struct scmp_arg_cmp *arguments)
{
	int number = seccomp_syscall_resolve_name(name);
	if (number < 0)
		return;
	int result = seccomp_rule_add_array(b->filter, action, number, count, arguments);
	if (result != -EEXIST)
		keep_error(b, result);
}

static void add_when(struct builder *b, uint32_t action, const char *name,
    struct scmp_arg_cmp argument)
{
	add(b, action, name, 1, &argument);
}

static void add_all(struct builder *b, uint32_t action, const char *names)
{
	while (*names) {
		char name[NAME_MAX_BYTES];
		size_t n = strcspn(names, " ");
		if (n < sizeof(name)) {
			memcpy(name, names, n);
			name[n] = '\0';
			add(b, action, name, 0, NULL);
		}
		names += n;
		names += strspn(names, " ");
	}
}

/* ---- what depends on arguments ---- */

static struct scmp_arg_cmp equal(unsigned argument, scmp_datum_t value)
{
	return (struct scmp_arg_cmp){argument, SCMP_CMP_EQ, value, 0};
}

static struct scmp_arg_cmp over(unsigned argument, scmp_datum_t value)
{
	return (struct scmp_arg_cmp){argument, SCMP_CMP_GT, value, 0};
}

/* Of the bits in MASK exactly those in SET. */
static struct scmp_arg_cmp bits(unsigned argument, scmp_datum_t mask, scmp_datum_t set)
{
	return (struct scmp_arg_cmp){argument, SCMP_CMP_MASKED_EQ, mask, set};
}

static void add_memory(struct builder *b)
{
	static const char *const names[] = {"mmap", "mprotect"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		add_when(b, SCMP_ACT_ALLOW, names[i], bits(2, PROT_EXEC, 0));
		add_when(b, SCMP_ACT_ERRNO(EACCES), names[i], bits(2, PROT_EXEC, PROT_EXEC));
	}
}

static void add_threads(struct builder *b)
{
	static const int allowed[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE};
	add_when(b, SCMP_ACT_ALLOW, "clone", bits(0, CLONE_THREAD, CLONE_THREAD));
	add_when(b, SCMP_ACT_ALLOW, "tgkill", equal(0, (scmp_datum_t)getpid()));
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		add_when(b, SCMP_ACT_ALLOW, "prctl",
		    equal(0, (scmp_datum_t)allowed[i]));
	const struct scmp_arg_cmp undumpable[] = {
	    equal(0, PR_SET_DUMPABLE), equal(1, 0)};
	add(b, SCMP_ACT_ALLOW, "prctl", 2, undumpable);
	add_when(b, SCMP_ACT_ALLOW, "prlimit64", equal(2, 0));
}

static void add_sockets(struct builder *b)
{
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
	static const char *const names[] = {"socket", "socketpair"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (size_t k = 0; k < sizeof(families) / sizeof(families[0]); k++)
			add_when(b, SCMP_ACT_ALLOW, names[i],
			    equal(0, (scmp_datum_t)families[k]));
		/* not in the list: the C library asks netlink what addresses there are,
		 * and does without */
		add_when(b, SCMP_ACT_ERRNO(EAFNOSUPPORT), names[i],
		    over(0, AF_INET6));
	}
}

static void add_ioctl(struct builder *b)
{
	static const unsigned long requests[] = {FIONBIO, FIONREAD, TCGETS};
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		add_when(b, SCMP_ACT_ALLOW, "ioctl", equal(1, requests[i]));
}

/* A tracer that lets a call fail makes it number -1 first. */
static void allow_skipped(struct builder *b)
{
	keep_error(b, seccomp_attr_set(b->filter, SCMP_FLTATR_API_TSKIP, 1));
	keep_error(b, seccomp_rule_add(b->filter, SCMP_ACT_ALLOW, -1, 0));
}

static void fill_daemon(struct builder *b, bool tools)
{
	/* first, so that the narrower rules for the same calls add nothing */
	if (tools)
		add_all(b, SCMP_ACT_ALLOW, tool_calls);
	for (const struct sandbox_row *row = sandbox_rows; row->purpose; row++)
		if (!row->limit)
			add_all(b, SCMP_ACT_ALLOW, row->calls);
	if (!tools) {
		add_memory(b);
		add_threads(b);
	} else {
		add(b, SCMP_ACT_ALLOW, "prlimit64", 0, NULL);
	}
	add_sockets(b);
	add_ioctl(b);
	add_all(b, SCMP_ACT_ERRNO(ENOSYS), "clone3 fchmodat2 map_shadow_stack");
	allow_skipped(b);
}

static void fill_helper(struct builder *b)
{
	add_all(b, SCMP_ACT_ERRNO(EPERM), helper_refused);
	add_all(b, SCMP_ACT_ERRNO(ENOSYS), "clone3");
	add_when(b, SCMP_ACT_ERRNO(EPERM), "clone",
	    bits(0, CLONE_NEWUSER, CLONE_NEWUSER));
}

/* ---- */

bool sandbox_needs_tools(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
	return true;
#else
	return false;
#endif
#else
	return false;
#endif
}

static void set_attributes(struct builder *b)
{
	/* another architecture's numbers (i386, x32) mean other calls */
	keep_error(b, seccomp_attr_set(b->filter, SCMP_FLTATR_ACT_BADARCH,
			  SCMP_ACT_KILL_PROCESS));
	keep_error(b, seccomp_attr_set(b->filter, SCMP_FLTATR_CTL_NNP, 1));
	keep_error(b, seccomp_attr_set(b->filter, SCMP_FLTATR_CTL_TSYNC, 1));
	/* a tree instead of a list: a dozen comparisons for each call */
	seccomp_attr_set(b->filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
}

static uint32_t standard_action(const struct sandbox_options *options)
{
	if (options->helper)
		return SCMP_ACT_ALLOW;
	return options->log_only ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS;
}

/* libseccomp 2.5 does not tell of all memory that it did not get, and then may go round
 * for ever. A start must not stand there: what takes so long is ended by the signal. */
static void limit_time(bool on)
{
	struct itimerval most = {.it_value.tv_sec = 2}; /* of processor time; it takes 0.01 */
	if (on)
		setitimer(ITIMER_VIRTUAL, &most, NULL);
	else
		signal(SIGVTALRM, SIG_IGN); /* behind the filter no timer can be stopped */
}

int sandbox_enter(const struct sandbox_options *options, struct why *why)
{
	limit_time(true);
	struct builder b = {.filter = seccomp_init(standard_action(options))};
	if (!b.filter)
		return why_set(why, WHY_LOCAL, "sandbox: libseccomp gives no filter");
	set_attributes(&b);
	if (options->helper)
		fill_helper(&b);
	else
		fill_daemon(&b, options->tools);
	if (!b.error)
		b.error = seccomp_load(b.filter);
	seccomp_release(b.filter);
	limit_time(false);
	if (!b.error)
		return 0;
	return why_errno(why, WHY_LOCAL, -b.error,
	    "sandbox: the filter of system calls can not be installed; a system without seccomp "
	    "needs sandbox = \"off\"");
}
