#include "base/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41 /* malloc() names its memory */
#endif

/* Allowed whatever the arguments. Names that a machine lacks do no harm. */
static const int both_calls[] = {
	/* descriptors that are open */
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(close),
	SCMP_SYS(fcntl),
	SCMP_SYS(lseek),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	/* files: what they are (openat is below) */
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	/* memory (mmap and mprotect are below) */
	SCMP_SYS(brk),
	SCMP_SYS(madvise),
	SCMP_SYS(mlock),
	SCMP_SYS(mlock2),
	SCMP_SYS(mremap),
	SCMP_SYS(munlock),
	SCMP_SYS(munmap),
	/* time, chance, who am I */
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getrandom),
	SCMP_SYS(getegid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(nanosleep),
	SCMP_SYS(time),
	/* signals and the end; tgkill is abort() */
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(futex),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(tgkill),
	/* the same on 32-bit machines */
	SCMP_SYS(_llseek),
	SCMP_SYS(clock_gettime64),
	SCMP_SYS(clock_nanosleep_time64),
	SCMP_SYS(fcntl64),
	SCMP_SYS(fstat64),
	SCMP_SYS(fstatat64),
	SCMP_SYS(futex_time64),
	SCMP_SYS(ppoll_time64),
	SCMP_SYS(sigreturn),
};

static const int server_calls[] = {
	/* the packet path, and sockets that a reload adds (socket is below) */
	SCMP_SYS(accept4),
	SCMP_SYS(bind),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockname),
	SCMP_SYS(getsockopt),
	SCMP_SYS(listen),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),
	/* the event loop */
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(eventfd2),
	SCMP_SYS(pipe2),
	SCMP_SYS(signalfd4),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_gettime),
	SCMP_SYS(timerfd_settime),
	/* reload: files and directories, as far as Landlock lets it */
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(getcwd),
	SCMP_SYS(getdents64),
	SCMP_SYS(openat),
	SCMP_SYS(pread64),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(stat),
	/* the kernel's clock: reading, as CAP_SYS_TIME is gone */
	SCMP_SYS(adjtimex),
	SCMP_SYS(clock_adjtime),
	/* threads (clone is below) */
	SCMP_SYS(getcpu),
	SCMP_SYS(membarrier),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_setaffinity),
	SCMP_SYS(sched_yield),
	SCMP_SYS(set_robust_list),
	/* children that were there before, limits, counters */
	SCMP_SYS(getrlimit),
	SCMP_SYS(getrusage),
	SCMP_SYS(prlimit64),
	SCMP_SYS(rt_sigpending),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
	SCMP_SYS(wait4),
	SCMP_SYS(waitid),
	/* the same on 32-bit machines */
	SCMP_SYS(clock_adjtime64),
	SCMP_SYS(recvmmsg_time64),
	SCMP_SYS(rt_sigtimedwait_time64),
	SCMP_SYS(timerfd_gettime64),
	SCMP_SYS(timerfd_settime64),
};

static const int proxy_calls[] = {
	SCMP_SYS(connect),
	SCMP_SYS(splice),
	/* its event log is opened again in place */
	SCMP_SYS(dup3),
	/* its control socket's file, at the end */
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
};

/* Allowed when (argument & mask) == value. */
struct condition {
	int call;
	unsigned int arg;
	uint64_t mask;
	uint64_t value;
};

#define WHOLE UINT64_MAX

static const struct condition both_conditions[] = {
	{ SCMP_SYS(mmap), 2, PROT_EXEC, 0 },
	{ SCMP_SYS(mmap2), 2, PROT_EXEC, 0 },
	{ SCMP_SYS(mprotect), 2, PROT_EXEC, 0 },
	{ SCMP_SYS(prctl), 0, WHOLE, PR_SET_NAME },
	{ SCMP_SYS(prctl), 0, WHOLE, PR_GET_NAME },
	{ SCMP_SYS(prctl), 0, WHOLE, PR_GET_DUMPABLE },
	{ SCMP_SYS(prctl), 0, WHOLE, PR_SET_VMA },
};

static const struct condition server_conditions[] = {
	{ SCMP_SYS(socket), 0, WHOLE, AF_UNIX },
	{ SCMP_SYS(socket), 0, WHOLE, AF_NETLINK },
	{ SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD },
	{ SCMP_SYS(ioctl), 1, WHOLE, TCGETS }, /* stdio */
	{ SCMP_SYS(ioctl), 1, WHOLE, FIONREAD },
	{ SCMP_SYS(ioctl), 1, WHOLE, FIONBIO },
	{ SCMP_SYS(ioctl), 1, WHOLE, SIOCGIFINDEX }, /* fe80::1%eth0 */
	{ SCMP_SYS(kill), 1, WHOLE, 0 },
	{ SCMP_SYS(kill), 1, WHOLE, SIGHUP },
	{ SCMP_SYS(kill), 1, WHOLE, SIGKILL },
	{ SCMP_SYS(kill), 1, WHOLE, SIGTERM },
};

/* Into and out of the maps of net/dispatch and net/fastpath that are open,
 * whether links are, and again for a program that is open; nothing can be
 * loaded. */
static const struct condition proxy_conditions[] = {
	{ SCMP_SYS(bpf), 0, WHOLE, BPF_MAP_UPDATE_ELEM },
	{ SCMP_SYS(bpf), 0, WHOLE, BPF_MAP_DELETE_ELEM },
	{ SCMP_SYS(bpf), 0, WHOLE, BPF_OBJ_GET_INFO_BY_FD },
	{ SCMP_SYS(bpf), 0, WHOLE, BPF_LINK_CREATE },
};

/* No raw ones: a transparent proxy has the capability for them. */
static const struct {
	int family, kind;
} sockets[] = {
	{ AF_INET, SOCK_STREAM },
	{ AF_INET, SOCK_DGRAM },
	{ AF_INET6, SOCK_STREAM },
	{ AF_INET6, SOCK_DGRAM },
};
#define SOCK_KIND 0xf /* of the type: the rest of it is flags */

static const struct condition keyholder_conditions[] = {
	/* no address: only to the peer that is there */
	{ SCMP_SYS(sendto), 4, WHOLE, 0 },
	{ SCMP_SYS(openat), 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY },
};

/* What a sanitizer does at exit: stops the world and looks for leaks. */
static const int sanitizer_calls[] = {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	SCMP_SYS(clone),
	SCMP_SYS(getdents),
	SCMP_SYS(getdents64),
	SCMP_SYS(kill),
	SCMP_SYS(mmap),
	SCMP_SYS(mprotect),
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(pipe2),
	SCMP_SYS(prctl),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(prlimit64),
	SCMP_SYS(ptrace),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_yield),
	SCMP_SYS(stat),
	SCMP_SYS(uname),
	SCMP_SYS(wait4),
#endif
	SCMP_SYS(exit_group),
};

static int
allow_calls(scmp_filter_ctx ctx, const int *calls, size_t n)
{
	int result = 0;

	for (size_t i = 0; i < n && result == 0; i++)
		result = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	return result;
}

static int
allow_conditions(scmp_filter_ctx ctx, const struct condition *c, size_t n)
{
	int result = 0;

	for (size_t i = 0; i < n && result == 0; i++) {
		const struct scmp_arg_cmp cmp = { .arg = c[i].arg,
			.op = SCMP_CMP_MASKED_EQ,
			.datum_a = c[i].mask,
			.datum_b = c[i].value };

		result = seccomp_rule_add_array(
		    ctx, SCMP_ACT_ALLOW, c[i].call, 1, &cmp);
	}
	return result;
}

static int
allow_sockets(scmp_filter_ctx ctx)
{
	int result = 0;

	for (size_t i = 0; i < sizeof sockets / sizeof *sockets && result == 0;
	     i++)
		result = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket),
		    2, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)sockets[i].family),
		    SCMP_A1(SCMP_CMP_MASKED_EQ, SOCK_KIND,
			(scmp_datum_t)sockets[i].kind));
	return result;
}

#define ALLOW_CALLS(ctx, table) \
	allow_calls(ctx, table, sizeof(table) / sizeof *(table))
#define ALLOW_CONDITIONS(ctx, table) \
	allow_conditions(ctx, table, sizeof(table) / sizeof *(table))

/*
 * What is asked and may be answered "no". clone3 hides its flags behind a
 * pointer; without it libc uses clone. The explanation of a busy port would
 * look at the holder's socket, and does without.
 */
static int
refuse_calls(scmp_filter_ctx ctx)
{
	int result =
	    seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

	if (result == 0)
		result = seccomp_rule_add(
		    ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(pidfd_open), 0);
	if (result == 0)
		result = seccomp_rule_add(
		    ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(pidfd_getfd), 0);
	return result;
}

static int
add_server(scmp_filter_ctx ctx)
{
	int result = ALLOW_CALLS(ctx, server_calls);

	if (result == 0)
		result = ALLOW_CONDITIONS(ctx, server_conditions);
	if (result == 0)
		result = allow_sockets(ctx);
	return result == 0 ? refuse_calls(ctx) : result;
}

static int
add_profile(scmp_filter_ctx ctx, enum priv_profile profile)
{
	int result;

	if (profile == PRIV_KEYHOLDER)
		return ALLOW_CONDITIONS(ctx, keyholder_conditions);
	result = add_server(ctx);
	if (result == 0 && profile == PRIV_PROXY)
		result = ALLOW_CALLS(ctx, proxy_calls);
	if (result == 0 && profile == PRIV_PROXY)
		result = ALLOW_CONDITIONS(ctx, proxy_conditions);
	return result;
}

/* The sanitizer's unconditional rules come first: they swallow conditions. */
static int
build(scmp_filter_ctx ctx, enum priv_profile profile)
{
	int result = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);

	if (result == 0)
		result = ALLOW_CALLS(ctx, sanitizer_calls);
	if (result == 0)
		result = ALLOW_CALLS(ctx, both_calls);
	if (result == 0)
		result = ALLOW_CONDITIONS(ctx, both_conditions);
	return result != 0 ? result : add_profile(ctx, profile);
}

int
priv_seccomp(enum priv_profile profile)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int result;

	if (ctx == NULL) {
		errno = ENOMEM;
		return -1;
	}
	result = build(ctx, profile);
	if (result == 0)
		result = seccomp_load(ctx);
	seccomp_release(ctx);
	if (result == 0)
		return 0;
	errno = -result;
	return -1;
}
