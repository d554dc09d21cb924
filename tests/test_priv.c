/* base/priv.h: every right is tried in a child that gave it up. */
#include "base/priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true /* some calls are allowed for its sake */
#else
#define SANITIZED false
#endif

/* In a child, where cmocka's assertions must not run. */
#define NEED(what)                                                        \
	do {                                                              \
		if (!(what)) {                                            \
			dprintf(2, "line %d: %s (%s)\n", __LINE__, #what, \
			    strerror(errno));                             \
			_exit(1);                                         \
		}                                                         \
	} while (0)

static int
run_child(void (*body)(void))
{
	int status = -1;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		body();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
expect_good(void (*body)(void))
{
	int status = run_child(body);

	if (WIFSIGNALED(status))
		fail_msg("killed by signal %d", WTERMSIG(status));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* One line of /proc/self/status without its name and leading blanks. */
static void
read_status(const char *field, char value[static 128])
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");

	value[0] = '\0';
	NEED(f != NULL);
	while (fgets(line, sizeof line, f) != NULL) {
		size_t n = strlen(field);

		if (strncmp(line, field, n) != 0 || line[n] != ':')
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(value, 128, "%s",
		    line + n + 1 + strspn(line + n + 1, "\t "));
	}
	fclose(f);
}

static void
need_status(const char *field, const char *want)
{
	char got[128];

	read_status(field, got);
	if (strcmp(got, want) != 0) {
		dprintf(2, "%s is \"%s\", not \"%s\"\n", field, got, want);
		_exit(1);
	}
}

static void
need_no_rights(const char *caps)
{
	need_status("CapEff", caps);
	need_status("CapPrm", caps);
	need_status("CapInh", "0000000000000000");
	need_status("CapAmb", "0000000000000000");
	need_status("NoNewPrivs", "1");
	NEED(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
}

static void
need_nobody(void)
{
	need_status("Uid", "65534\t65534\t65534\t65534");
	need_status("Gid", "65534\t65534\t65534\t65534");
	need_status("Groups", "");
	need_status("CapBnd", "0000000000000000");
	NEED(setuid(0) < 0 && errno == EPERM);
	NEED(setgid(0) < 0 && errno == EPERM);
}

static void
drop_to_nobody(void)
{
	char uid[128];

	read_status("Uid", uid);
	NEED(priv_drop("nobody") == 0);
	need_no_rights("0000000000000000");
	if (strncmp(uid, "0\t", 2) == 0)
		need_nobody();
	else
		need_status("Uid", uid);
}

/* As root to nobody; otherwise the uid stays and the rest is done. */
static void
drops_everything(void **state)
{
	(void)state;
	expect_good(drop_to_nobody);
}

/* CAP_DAC_READ_SEARCH is bit 2, CAP_NET_ADMIN bit 12. */
static void
drop_but_two(void)
{
	const int caps[] = { CAP_DAC_READ_SEARCH, CAP_NET_ADMIN };
	bool root = geteuid() == 0;

	NEED(priv_drop_keep("nobody", caps, 2) == 0);
	need_no_rights(root ? "0000000000001004" : "0000000000000000");
	if (root)
		need_nobody();
	/* Root's own file, mode 0600 in a directory of 0700 or the like. */
	if (root)
		NEED(open("/etc/shadow", O_RDONLY) >= 0);
	NEED(open("/etc/shadow", O_WRONLY) < 0 && errno == EACCES);
}

static void
keeps_what_is_asked(void **state)
{
	(void)state;
	expect_good(drop_but_two);
}

static void
drop_in_place(void)
{
	char uid[128];

	read_status("Uid", uid);
	NEED(priv_drop(NULL) == 0);
	need_no_rights("0000000000000000");
	need_status("Uid", uid);
	NEED(open("/proc/1/mem", O_RDONLY) < 0);
}

static void
stays_when_no_user_is_named(void **state)
{
	(void)state;
	expect_good(drop_in_place);
}

static void
drop_to_a_ghost(void)
{
	bool root = geteuid() == 0;
	int want = root ? -1 : 0; /* not root: no user is looked up */

	errno = 0;
	NEED(priv_drop("no-such-user-here") == want);
	NEED(!root || errno == ENOENT);
	NEED(priv_drop("root") == want);
	NEED(!root || errno == EINVAL);
}

static void
refuses_unknown_users_and_root(void **state)
{
	(void)state;
	expect_good(drop_to_a_ghost);
}

/* A parent that dies takes its child along: the pipe's writer is gone. */
static void
orphan(void)
{
	int ready[2], alive[2];
	struct pollfd p;
	char c;

	NEED(pipe(ready) == 0 && pipe(alive) == 0);
	if (fork() == 0) {
		if (fork() == 0) {
			struct rlimit core;

			NEED(priv_child() == 0);
			NEED(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
			NEED(getrlimit(RLIMIT_CORE, &core) == 0);
			NEED(core.rlim_cur == 0 && core.rlim_max == 0);
			NEED(write(ready[1], "r", 1) == 1);
			pause();
			_exit(0);
		}
		NEED(read(ready[0], &c, 1) == 1);
		_exit(0); /* the grandchild's parent */
	}
	close(alive[1]);
	p = (struct pollfd){ .fd = alive[0], .events = POLLIN };
	NEED(poll(&p, 1, 5000) == 1);
	NEED(read(alive[0], &c, 1) == 0);
}

static void
children_die_with_their_parent(void **state)
{
	(void)state;
	expect_good(orphan);
}

/* --- Landlock --- */

static char playground[] = "/tmp/test_priv.XXXXXX";

static void
put_file(const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "%s/%s", playground, name);
	fd = open(path, O_CREAT | O_WRONLY, 0644);
	assert_true(fd >= 0);
	close(fd);
}

static int
make_playground(void **state)
{
	char path[64];

	(void)state;
	assert_non_null(mkdtemp(playground));
	snprintf(path, sizeof path, "%s/read", playground);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof path, "%s/write", playground);
	assert_int_equal(mkdir(path, 0755), 0);
	put_file("outside");
	put_file("single");
	put_file("read/a");
	put_file("write/a");
	return 0;
}

static int
remove_playground(void **state)
{
	static const char *const names[] = { "outside", "single", "read/a",
		"write/a", "write/new", "read", "write", "" };
	char path[64];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", playground, names[i]);
		if (unlink(path) < 0)
			rmdir(path);
	}
	return access(playground, F_OK) == 0 ? -1 : 0;
}

static int
try_open(const char *name, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "%s/%s", playground, name);
	fd = open(path, flags, 0644);
	if (fd >= 0)
		close(fd);
	return fd >= 0 ? 0 : errno;
}

static int
fence(enum priv_net net)
{
	char read_dir[64], write_dir[64], single[64], missing[64];
	const struct priv_path paths[] = { { missing, true },
		{ read_dir, false }, { write_dir, true }, { single, false } };

	snprintf(read_dir, sizeof read_dir, "%s/read", playground);
	snprintf(write_dir, sizeof write_dir, "%s/write", playground);
	snprintf(single, sizeof single, "%s/single", playground);
	snprintf(missing, sizeof missing, "%s/no/such", playground);
	return priv_landlock(paths, 4, net);
}

/* What the kernel at hand can do, asked without priv.c. */
static long
landlock_abi(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, 1u);
}

static int
tcp_to(const struct sockaddr_in *a)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	NEED(fd >= 0);
	return connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 ? 0
								       : errno;
}

static void
fenced(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof a;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	NEED(tcp_to(&(struct sockaddr_in){ .sin_family = AF_INET,
		 .sin_port = htons(1),
		 .sin_addr = a.sin_addr }) == ECONNREFUSED);
	if (landlock_abi() < 1) {
		NEED(fence(PRIV_NO_CONNECT) == 1);
		NEED(try_open("outside", O_RDONLY) == 0);
		return;
	}
	NEED(fence(PRIV_NO_CONNECT) == 0);
	NEED(try_open("outside", O_RDONLY) == EACCES);
	NEED(try_open("single", O_RDONLY) == 0);
	NEED(try_open("single", O_RDWR) == EACCES);
	NEED(try_open("read", O_RDONLY | O_DIRECTORY) == 0);
	NEED(try_open("read/a", O_RDONLY) == 0);
	NEED(try_open("read/a", O_WRONLY) == EACCES);
	NEED(try_open("read/new", O_CREAT | O_WRONLY) == EACCES);
	NEED(try_open("write/a", O_RDWR | O_TRUNC) == 0);
	NEED(try_open("write/new", O_CREAT | O_WRONLY) == 0);
	NEED(open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES);
	NEED(execl("/bin/true", "true", (char *)NULL) < 0 && errno == EACCES);
	/* A reload may bind and listen; nothing may connect. */
	NEED(bind(listener, (struct sockaddr *)&a, len) == 0);
	NEED(listen(listener, 1) == 0);
	NEED(getsockname(listener, (struct sockaddr *)&a, &len) == 0);
	NEED(tcp_to(&a) == (landlock_abi() >= 4 ? EACCES : 0));
}

static void
fenced_proxy(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof a;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	NEED(bind(listener, (struct sockaddr *)&a, len) == 0);
	NEED(listen(listener, 1) == 0);
	NEED(getsockname(listener, (struct sockaddr *)&a, &len) == 0);
	NEED(fence(PRIV_MAY_CONNECT) == (landlock_abi() < 1 ? 1 : 0));
	NEED(
	    try_open("outside", O_RDONLY) == (landlock_abi() < 1 ? 0 : EACCES));
	NEED(tcp_to(&a) == 0);
}

static void
landlock_fences_in(void **state)
{
	(void)state;
	if (landlock_abi() < 1)
		print_message("this kernel has no Landlock: told so\n");
	expect_good(fenced);
	expect_good(fenced_proxy);
}

/* --- seccomp: what must work --- */

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
	exit(0);
}

static void
the_proxy_can_relay(void **state)
{
	(void)state;
	expect_good(relay);
}

static void
the_server_can_serve(void **state)
{
	(void)state;
	expect_good(serve);
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
	expect_good(hold_keys);
}

/* --- seccomp: what must kill --- */

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
	int status = run_child(body);
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
		/* connect(2) is what sets a proxy apart */
		expect_fate("proxy", commit_as_proxy,
		    crimes[crime].server && crimes[crime].crime != do_connect);
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

/* The whole chain of a daemon's start, in its order. */
static void
full_chain(void)
{
	char read_dir[64];
	const struct priv_path paths[] = { { read_dir, false } };

	snprintf(read_dir, sizeof read_dir, "%s/read", playground);
	NEED(chmod(playground, 0755) == 0 || errno == EPERM);
	NEED(priv_drop("nobody") == 0);
	NEED(priv_landlock(paths, 1, PRIV_NO_CONNECT) ==
	    (landlock_abi() < 1 ? 1 : 0));
	NEED(priv_seccomp(PRIV_SERVER) == 0);
	NEED(try_open("read/a", O_RDONLY) == 0);
	use_threads();
	use_udp(AF_INET);
	exit(0);
}

static void
the_whole_chain_works(void **state)
{
	(void)state;
	expect_good(full_chain);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drops_everything),
		cmocka_unit_test(keeps_what_is_asked),
		cmocka_unit_test(stays_when_no_user_is_named),
		cmocka_unit_test(refuses_unknown_users_and_root),
		cmocka_unit_test(children_die_with_their_parent),
		cmocka_unit_test(landlock_fences_in),
		cmocka_unit_test(the_server_can_serve),
		cmocka_unit_test(the_proxy_can_relay),
		cmocka_unit_test(the_keyholder_can_hold),
		cmocka_unit_test(anything_else_kills),
		cmocka_unit_test(old_threads_are_covered),
		cmocka_unit_test(the_whole_chain_works),
	};

	return cmocka_run_group_tests(
	    tests, make_playground, remove_playground);
}
