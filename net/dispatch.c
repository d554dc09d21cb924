#include "net/dispatch.h"

#include <stdio.h>

#ifndef HAVE_DISPATCH

#include <errno.h>

struct dispatch *
dispatch_open(char why[static DISPATCH_WHY_LEN])
{
	snprintf(why, DISPATCH_WHY_LEN, "built without libbpf or clang");
	return NULL;
}

void
dispatch_close(struct dispatch *d)
{
	(void)d;
}

void
dispatch_fail_closed(struct dispatch *d)
{
	(void)d;
}

int
dispatch_add(struct dispatch *d, const int *fds, size_t n)
{
	(void)d;
	(void)fds;
	(void)n;
	errno = ENOSYS;
	return -1;
}

int
dispatch_prepare(
    struct dispatch *d, const struct dispatch_rule *rules, size_t n)
{
	(void)d;
	(void)rules;
	(void)n;
	errno = ENOSYS;
	return -1;
}

void
dispatch_publish(struct dispatch *d)
{
	(void)d;
}

pid_t
dispatch_rival(const struct dispatch *d, const struct dispatch_rule *r)
{
	(void)d;
	(void)r;
	return 0;
}

#else

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "net/dispatch_inner.h"

#define RIVALS_MAX 64 /* programs of one network namespace (the kernel's) */
#define MAPS_MAX 8 /* maps of one of them that are looked at */

/* The program as net/dispatch.bpf.c was compiled. */
__asm__(".section .rodata\n"
	".balign 8\n"
	"dispatch_object: .incbin \"net/dispatch.bpf.o\"\n"
	"dispatch_object_end: .byte 0\n"
	".previous\n");
extern const char dispatch_object[], dispatch_object_end[];

/* ---- opening ---- */

int
dispatch_fault(char why[static DISPATCH_WHY_LEN], const char *what, int error)
{
	if (error == EPERM || error == EACCES)
		snprintf(why, DISPATCH_WHY_LEN,
		    "%s takes CAP_BPF and CAP_NET_ADMIN", what);
	else
		snprintf(why, DISPATCH_WHY_LEN, "%s: %s (it takes Linux 5.9)",
		    what, strerror(error));
	return -1;
}

static int
copy_of_map(const struct dispatch *d, const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(d->object, name);

	return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static int
load(struct dispatch *d, char why[static DISPATCH_WHY_LEN])
{
	size_t len = (size_t)(dispatch_object_end - dispatch_object);
	int error;

	d->object = bpf_object__open_mem(dispatch_object, len, NULL);
	if (d->object == NULL)
		return dispatch_fault(why, "reading the program", errno);
	error = -bpf_object__load(d->object);
	if (error != 0)
		return dispatch_fault(why, "loading the program", error);
	d->rules = copy_of_map(d, "dispatch_rules");
	d->sockets = copy_of_map(d, "dispatch_socks");
	if (d->rules < 0 || d->sockets < 0)
		return dispatch_fault(why, "the program's maps", errno);
	return 0;
}

/* Pages of the map, so that no rule takes a system call. */
int
dispatch_share_table(struct dispatch *d, char why[static DISPATCH_WHY_LEN])
{
	void *at = mmap(NULL, sizeof *d->table, PROT_READ | PROT_WRITE,
	    MAP_SHARED, d->rules, 0);

	if (at == MAP_FAILED)
		return dispatch_fault(why, "sharing the rules", errno);
	d->table = at;
	return 0;
}

static int
begin_table(struct dispatch *d, char why[static DISPATCH_WHY_LEN])
{
	if (dispatch_share_table(d, why) != 0)
		return -1;
	d->table->pid = (uint32_t)getpid();
	if (getrandom(&d->table->seed, sizeof d->table->seed, 0) < 0)
		return dispatch_fault(why, "getrandom", errno);
	d->table->magic = DISPATCH_MAGIC;
	return 0;
}

static int
attach(struct dispatch *d, char why[static DISPATCH_WHY_LEN])
{
	struct bpf_program *p =
	    bpf_object__find_program_by_name(d->object, "dispatch");

	d->link = bpf_program__attach_netns(p, d->netns);
	return d->link != NULL
	    ? 0
	    : dispatch_fault(why, "attaching the program", errno);
}

struct dispatch *
dispatch_new(char why[static DISPATCH_WHY_LEN])
{
	struct dispatch *d = calloc(1, sizeof *d);

	if (d == NULL) {
		snprintf(why, DISPATCH_WHY_LEN, "%s", strerror(errno));
		return NULL;
	}
	libbpf_set_print(NULL); /* it tells what it tries; we, what failed */
	d->rules = d->sockets = -1;
	d->netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (d->netns >= 0)
		return d;
	dispatch_fault(why, "/proc/self/ns/net", errno);
	free(d);
	return NULL;
}

int
dispatch_begin(struct dispatch *d, char why[static DISPATCH_WHY_LEN])
{
	return load(d, why) == 0 && begin_table(d, why) == 0 &&
		attach(d, why) == 0
	    ? 0
	    : -1;
}

struct dispatch *
dispatch_open(char why[static DISPATCH_WHY_LEN])
{
	struct dispatch *d = dispatch_new(why);

	if (d == NULL || dispatch_begin(d, why) == 0)
		return d;
	dispatch_close(d);
	return NULL;
}

static void
close_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

void
dispatch_close(struct dispatch *d)
{
	if (d == NULL)
		return;
	bpf_link__destroy(d->link);
	if (d->table != NULL)
		munmap(d->table, sizeof *d->table);
	bpf_object__close(d->object);
	close_open(d->rules);
	close_open(d->sockets);
	close_open(d->netns);
	free(d);
}

void
dispatch_fail_closed(struct dispatch *d)
{
	d->table->closed = 1;
}

/* ---- sockets ---- */

/* How many of the sockets found their slots free, from `slot` on. */
static size_t
fill(const struct dispatch *d, uint32_t slot, const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t key = slot + (uint32_t)i;
		uint64_t value = (uint64_t)fds[i];

		if (bpf_map_update_elem(
			d->sockets, &key, &value, BPF_NOEXIST) != 0)
			return i;
	}
	return n;
}

/*
 * Those that went in before a slot was found taken stay there, unnamed by any
 * rule, until they are closed: leaving early would take another call.
 */
int
dispatch_add(struct dispatch *d, const int *fds, size_t n)
{
	uint32_t tried = 0;

	while (n > 0 && n <= DISPATCH_SLOTS && tried < DISPATCH_SLOTS) {
		uint32_t slot = d->cursor;
		size_t filled;

		if (slot + n > DISPATCH_SLOTS) {
			tried += DISPATCH_SLOTS - slot;
			d->cursor = 0;
			continue;
		}
		filled = fill(d, slot, fds, n);
		if (filled < n && errno != EEXIST)
			return -1;
		d->cursor = slot + (uint32_t)filled + (filled < n);
		tried += (uint32_t)filled + 1;
		if (filled == n)
			return (int)slot;
	}
	errno = ENOSPC;
	return -1;
}

/* ---- rules ---- */

static uint32_t
spare(const struct dispatch *d)
{
	return d->table->active ^ 1;
}

/*
 * A run of the program may still be in the bank that is to be written: it was
 * the active one until the last dispatch_publish(). The kernel answers this
 * call when all that ran then have ended (membarrier(2); BPF programs run as
 * RCU readers), or refuses, and then a moment must do.
 */
static void
wait_for_readers(void)
{
	const struct timespec moment = { .tv_nsec = 20000000 };

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0)
		nanosleep(&moment, NULL);
}

int
dispatch_prepare(
    struct dispatch *d, const struct dispatch_rule *rules, size_t n)
{
	wait_for_readers();
	return dispatch_compile(&d->table->bank[spare(d)], rules, n);
}

void
dispatch_publish(struct dispatch *d)
{
	__atomic_store_n(&d->table->active, spare(d), __ATOMIC_RELEASE);
}

/* ---- rivals ---- */

bool
dispatch_is_table(int map)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof info;

	return bpf_obj_get_info_by_fd(map, &info, &len) == 0 &&
	    strcmp(info.name, "dispatch_rules") == 0 &&
	    info.value_size == sizeof(struct dispatch_table);
}

static pid_t
meets(int map, const struct dispatch_rule *r)
{
	struct dispatch_table *copy = malloc(sizeof *copy);
	uint32_t zero = 0;
	pid_t pid = 0;

	if (copy != NULL && bpf_map_lookup_elem(map, &zero, copy) == 0 &&
	    copy->magic == DISPATCH_MAGIC && copy->pid != (uint32_t)getpid() &&
	    dispatch_meets(&copy->bank[copy->active & 1], r))
		pid = (pid_t)copy->pid;
	free(copy);
	return pid;
}

static pid_t
look_into_map(uint32_t id, const struct dispatch_rule *r)
{
	int map = bpf_map_get_fd_by_id(id);
	pid_t pid = 0;

	if (map < 0)
		return 0;
	if (dispatch_is_table(map))
		pid = meets(map, r);
	close(map);
	return pid;
}

static pid_t
look_into_program(uint32_t id, const struct dispatch_rule *r)
{
	uint32_t maps[MAPS_MAX] = { 0 };
	struct bpf_prog_info info = { .nr_map_ids = MAPS_MAX,
		.map_ids = (uint64_t)(uintptr_t)maps };
	uint32_t len = sizeof info;
	int program = bpf_prog_get_fd_by_id(id);
	pid_t pid = 0;

	if (program < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(program, &info, &len) == 0) {
		for (uint32_t i = 0;
		     pid == 0 && i < info.nr_map_ids && i < MAPS_MAX; i++)
			pid = look_into_map(maps[i], r);
	}
	close(program);
	return pid;
}

pid_t
dispatch_rival(const struct dispatch *d, const struct dispatch_rule *r)
{
	uint32_t ids[RIVALS_MAX], flags, n = RIVALS_MAX;
	pid_t pid = 0;

	if (bpf_prog_query(d->netns, BPF_SK_LOOKUP, 0, &flags, ids, &n) != 0)
		return 0;
	for (uint32_t i = 0; i < n && pid == 0; i++)
		pid = look_into_program(ids[i], r);
	return pid;
}

#endif
