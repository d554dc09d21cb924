/* base/priv.h, seccomp: what must work, and what must kill. */
#include "base/priv.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <sys/un.h>

#include "tests/child.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true /* some calls are allowed for its sake */
#else
#define SANITIZED false
#endif

/* --- what must work --- */

static void
enter(enum priv_profile profile)
{
	NEED(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0); /* no core files */
	NEED(priv_seccomp(profile) == 0);
	NEED(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
}

static void *
thread_body(void *arg)
{
	void *p = malloc(100000);

	NEED(p != NULL);
	free(p);
	return arg;
}

static void
use_threads(void)
{
	pthread_t t;
	void *result = NULL;
	int token = 0;

	NEED(pthread_create(&t, NULL, thread_body, &token) == 0);
	NEED(pthread_join(t, &result) == 0);
	NEED(result == &token);
}

static void
use_udp(int family)
{
	struct sockaddr_storage a = { .ss_family = (sa_family_t)family };
	socklen_t len = sizeof a;
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK, 0), one = 1;
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct mmsghdr m = {
		.msg_hdr = { .msg_name = &a, .msg_iov = &iov, .msg_iovlen = 1 }
	};

	NEED(fd >= 0);
	NEED(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
	NEED(bind(fd, (struct sockaddr *)&a, len) == 0);
	NEED(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	m.msg_hdr.msg_namelen = len;
	NEED(sendmmsg(fd, &m, 1, MSG_DONTWAIT) == 1);
	m.msg_hdr.msg_namelen = sizeof a;
	NEED(recvmmsg(fd, &m, 1, MSG_DONTWAIT, NULL) == 1);
	close(fd);
}

static void
use_loop(void)
{
	struct epoll_event e = { .events = EPOLLIN };
	struct itimerspec soon = { .it_value = { .tv_nsec = 1 } };
	int ep = epoll_create1(EPOLL_CLOEXEC), ev = eventfd(1, 0);
	int tm = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), sg, fds[2];
	uint64_t n;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	NEED(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	sg = signalfd(-1, &set, SFD_NONBLOCK);
	NEED(ep >= 0 && ev >= 0 && tm >= 0 && sg >= 0);
	NEED(epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e) == 0);
	NEED(epoll_wait(ep, &e, 1, 1000) == 1);
	NEED(read(ev, &n, sizeof n) == sizeof n);
	NEED(timerfd_settime(tm, 0, &soon, NULL) == 0);
	NEED(read(tm, &n, sizeof n) == sizeof n);
	NEED(pipe2(fds, O_CLOEXEC) == 0);
	NEED(kill(getpid(), 0) == 0);
}

/* Another process's socket is not to be had, but asking is no crime. */
static void
ask_in_vain(void)
{
	NEED(syscall(SYS_pidfd_open, getpid(), 0) == -1 && errno == EPERM);
	NEED(syscall(SYS_pidfd_getfd, 0, 0, 0) == -1 && errno == EPERM);
}

static void
use_memory(void)
{
	uint8_t *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	NEED(p != MAP_FAILED);
	NEED(mlock(p, 4096) == 0);
	NEED(madvise(p, 4096, MADV_DONTDUMP) == 0);
	NEED(mprotect(p, 4096, PROT_NONE) == 0);
	NEED(mprotect(p, 4096, PROT_READ | PROT_WRITE) == 0);
	NEED(munlock(p, 4096) == 0);
	NEED(munmap(p, 65536) == 0);
	p = malloc(1 << 20);
	NEED(p != NULL);
	free(p);
}

static void
use_files(void)
{
	char line[256];
	struct stat st;
	FILE *f = fopen("/etc/passwd", "r");

	NEED(f != NULL);
	NEED(fgets(line, sizeof line, f) != NULL);
	NEED(fstat(fileno(f), &st) == 0);
	NEED(stat("/etc/passwd", &st) == 0);
	fclose(f);
}

static void
use_clocks(void)
{
	struct timex tx = { .modes = 0 };
	struct timespec t;
	uint8_t random[16];

	NEED(adjtimex(&tx) >= 0);
	NEED(clock_gettime(CLOCK_REALTIME, &t) == 0);
	/* Past the vDSO, as on a machine that has none. */
	NEED(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t) == 0);
	t = (struct timespec){ .tv_nsec = 1 };
	NEED(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL) == 0);
	NEED(syscall(SYS_getrandom, random, sizeof random, 0) == sizeof random);
}

static void
serve(void)
{
	int tcp, unix_fd, netlink;

	enter(PRIV_SERVER);
	use_threads();
	use_udp(AF_INET);
	use_udp(AF_INET6);
	tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	NEED(tcp >= 0 && listen(tcp, 1) == 0);
	NEED(accept4(tcp, NULL, NULL, SOCK_CLOEXEC) < 0 && errno == EAGAIN);
	unix_fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	netlink = socket(AF_NETLINK, SOCK_RAW, 4);
	NEED(unix_fd >= 0 && netlink >= 0);
	use_loop();
	ask_in_vain();
	use_memory();
	use_files();
	use_clocks();
	exit(0); /* with all that runs at exit */
}

static void
relay(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof a;
	int listener, from, to, in, pipes[2];

	enter(PRIV_PROXY);
	use_threads();
	use_udp(AF_INET);
	use_loop();
	listener = socket(AF_INET, SOCK_STREAM, 0);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	NEED(bind(listener, (struct sockaddr *)&a, len) == 0);
	NEED(listen(listener, 1) == 0);
	NEED(getsockname(listener, (struct sockaddr *)&a, &len) == 0);
	from = socket(AF_INET, SOCK_STREAM, 0);
	to = socket(AF_INET, SOCK_DGRAM, 0);
	NEED(connect(from, (struct sockaddr *)&a, len) == 0);
	NEED(connect(to, (struct sockaddr *)&a, len) == 0);
	in = accept4(listener, NULL, NULL, 0);
	NEED(pipe2(pipes, O_CLOEXEC | O_NONBLOCK) == 0);
	NEED(fcntl(pipes[1], F_SETPIPE_SZ, 65536) >= 65536);
	NEED(write(in, "x", 1) == 1);
	NEED(splice(from, NULL, pipes[1], NULL, 65536, SPLICE_F_NONBLOCK) == 1);
	/* as eventlog_reopen() does */
	NEED(dup3(pipes[0], pipes[1], O_CLOEXEC) == pipes[1]);
	exit(0);
}

static void
the_proxy_can_relay(void **state)
{
	(void)state;
	child_good(relay);
}

static void
the_server_can_serve(void **state)
{
	(void)state;
	child_good(serve);
}

static void
hold_keys(void)
{
	int pair[2];
	char byte = 'k';
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct pollfd p;

	NEED(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	enter(PRIV_KEYHOLDER);
	NEED(sendmsg(pair[0], &m, MSG_NOSIGNAL) == 1);
	p = (struct pollfd){ .fd = pair[1], .events = POLLIN };
	NEED(poll(&p, 1, 1000) == 1);
	NEED(recvmsg(pair[1], &m, 0) == 1);
	NEED(send(pair[0], &byte, 1, MSG_NOSIGNAL) == 1);
	NEED(recv(pair[1], &byte, 1, 0) == 1);
	NEED(write(pair[0], &byte, 1) == 1);
	NEED(read(pair[1], &byte, 1) == 1);
	use_memory();
	use_files();
	exit(0);
}

static void
the_keyholder_can_hold(void **state)
{
	(void)state;
	child_good(hold_keys);
}

/* --- what must kill --- */

static void
do_exec(void)
{
	execl("/bin/true", "true", (char *)NULL);
}

static void
do_packet(void)
{
	socket(AF_PACKET, SOCK_RAW, 0);
}

static void
do_raw(void)
{
	socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
}

static void
do_raw6(void)
{
	socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
}

static void
do_vsock(void)
{
	socket(AF_VSOCK, SOCK_STREAM, 0);
}

static void
do_udp(void)
{
	socket(AF_INET, SOCK_DGRAM, 0);
}

static void
do_connect(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	connect(0, (struct sockaddr *)&a, sizeof a);
}

static void
do_sendto(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	sendto(0, "x", 1, 0, (struct sockaddr *)&a, sizeof a);
}

static void
do_ptrace(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void
do_fork(void)
{
	if (fork() == 0)
		_exit(0);
}

static void
do_thread(void)
{
	pthread_t t;

	pthread_create(&t, NULL, thread_body, NULL);
}

static void
do_set_clock(void)
{
	struct timespec t = { .tv_sec = 1 };

	clock_settime(CLOCK_REALTIME, &t);
}

static void
do_exec_memory(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
	    0);
}

static void
do_exec_protect(void)
{
	static char page[8192] __attribute__((aligned(4096)));

	mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void
do_write_file(void)
{
	open("/dev/null", O_WRONLY);
}

static void
do_create_file(void)
{
	open("/dev/null", O_RDONLY | O_CREAT, 0600);
}

static void
do_unlink(void)
{
	unlink("/no/such/file");
}

static void
do_dumpable(void)
{
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void
do_kill_stop(void)
{
	kill(getpid(), SIGSTOP);
}

static void
do_tty_inject(void)
{
	syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, "x");
}

static void
do_unshare(void)
{
	unshare(CLONE_NEWUSER);
}

static const struct {
	const char *name;
	void (*crime)(void);
	bool server, keyholder; /* kills this profile */
	bool sanitizer_may; /* … unless built with one */
} crimes[] = {
	{ "execve", do_exec, true, true, false },
	{ "AF_PACKET", do_packet, true, true, false },
	{ "SOCK_RAW", do_raw, true, true, false },
	{ "SOCK_RAW, IPv6", do_raw6, true, true, false },
	{ "AF_VSOCK", do_vsock, true, true, false },
	{ "AF_INET", do_udp, false, true, false },
	{ "connect", do_connect, true, true, false },
	{ "sendto an address", do_sendto, false, true, false },
	{ "ptrace", do_ptrace, true, true, true },
	{ "fork", do_fork, true, true, true },
	{ "pthread_create", do_thread, false, true, false },
	{ "clock_settime", do_set_clock, true, true, false },
	{ "executable memory", do_exec_memory, true, true, true },
	{ "executable again", do_exec_protect, true, true, true },
	{ "open to write", do_write_file, false, true, true },
	{ "open to create", do_create_file, false, true, true },
	{ "unlink", do_unlink, true, true, false },
	{ "PR_SET_DUMPABLE", do_dumpable, true, true, true },
	{ "kill STOP", do_kill_stop, true, true, true },
	{ "TIOCSTI", do_tty_inject, true, true, false },
	{ "unshare", do_unshare, true, true, false },
};

static size_t crime;

static void
commit_as_server(void)
{
	enter(PRIV_SERVER);
	crimes[crime].crime();
}

static void
commit_as_proxy(void)
{
	enter(PRIV_PROXY);
	crimes[crime].crime();
}

static void
commit_as_keyholder(void)
{
	enter(PRIV_KEYHOLDER);
	crimes[crime].crime();
}

static void
expect_fate(const char *who, void (*body)(void), bool killed)
{
	int status = child_run(body);
	bool was = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;

	if (was != killed)
		fail_msg("%s: %s: status %x", who, crimes[crime].name,
		    (unsigned int)status);
}

static void
anything_else_kills(void **state)
{
	(void)state;
	for (crime = 0; crime < sizeof crimes / sizeof *crimes; crime++) {
		if (SANITIZED && crimes[crime].sanitizer_may)
			continue;
		expect_fate("server", commit_as_server, crimes[crime].server);
		/* what sets a proxy apart: connect(2), and the end of the
		 * control socket's file */
		expect_fate("proxy", commit_as_proxy,
		    crimes[crime].server && crimes[crime].crime != do_connect &&
			crimes[crime].crime != do_unlink);
		expect_fate(
		    "keyholder", commit_as_keyholder, crimes[crime].keyholder);
	}
}

static pthread_barrier_t barrier;

static void *
guilty_thread(void *arg)
{
	pthread_barrier_wait(&barrier);
	do_exec();
	return arg;
}

/* The filter holds for threads that ran before it. */
static void
commit_in_old_thread(void)
{
	pthread_t t;

	NEED(pthread_barrier_init(&barrier, NULL, 2) == 0);
	NEED(pthread_create(&t, NULL, guilty_thread, NULL) == 0);
	enter(PRIV_SERVER);
	pthread_barrier_wait(&barrier);
	pthread_join(t, NULL);
}

static void
old_threads_are_covered(void **state)
{
	(void)state;
	crime = 0;
	expect_fate("old thread", commit_in_old_thread, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_server_can_serve),
		cmocka_unit_test(the_proxy_can_relay),
		cmocka_unit_test(the_keyholder_can_hold),
		cmocka_unit_test(anything_else_kills),
		cmocka_unit_test(old_threads_are_covered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
