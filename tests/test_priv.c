/* base/priv.h: every right is tried in a child that gave it up. */
#include "base/priv.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/child.h"

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
	child_good(drop_to_nobody);
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
	child_good(drop_but_two);
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
	child_good(drop_in_place);
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
	child_good(drop_to_a_ghost);
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
	child_good(orphan);
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
	child_good(fenced);
	child_good(fenced_proxy);
}

static void *
quick_thread(void *arg)
{
	return arg;
}

/* The whole chain of a daemon's start, in its order. */
static void
full_chain(void)
{
	char read_dir[64];
	pthread_t t;
	const struct priv_path paths[] = { { read_dir, false } };

	snprintf(read_dir, sizeof read_dir, "%s/read", playground);
	NEED(chmod(playground, 0755) == 0 || errno == EPERM);
	NEED(priv_drop("nobody") == 0);
	NEED(priv_landlock(paths, 1, PRIV_NO_CONNECT) ==
	    (landlock_abi() < 1 ? 1 : 0));
	NEED(priv_seccomp(PRIV_SERVER) == 0);
	NEED(try_open("read/a", O_RDONLY) == 0);
	NEED(pthread_create(&t, NULL, quick_thread, NULL) == 0);
	NEED(pthread_join(t, NULL) == 0);
	NEED(socket(AF_INET, SOCK_DGRAM, 0) >= 0);
	exit(0);
}

static void
the_whole_chain_works(void **state)
{
	(void)state;
	child_good(full_chain);
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
		cmocka_unit_test(the_whole_chain_works),
	};

	return cmocka_run_group_tests(
	    tests, make_playground, remove_playground);
}
