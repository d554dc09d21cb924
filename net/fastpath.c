#include "net/fastpath_inner.h"

#include <stdio.h>

#include "base/clock.h"
#include "net/device.h"

#ifndef HAVE_FASTPATH

#include <errno.h>

struct fastpath *
fastpath_open(uint32_t flows, uint32_t hops, char why[static FASTPATH_WHY_LEN])
{
	(void)flows;
	(void)hops;
	snprintf(why, FASTPATH_WHY_LEN, "built without libbpf or clang");
	return NULL;
}

/* The others are for who has one. */
void
fastpath_close(struct fastpath *f)
{
	(void)f;
}

int
fastpath_attach(struct fastpath *f, unsigned int device,
    enum fastpath_hook hook, char why[static FASTPATH_WHY_LEN])
{
	(void)f;
	(void)device;
	(void)hook;
	why[0] = '\0';
	errno = ENOSYS;
	return -1;
}

int
fastpath_leave_heir(struct fastpath *f, const char *user)
{
	(void)f;
	(void)user;
	return 0;
}

bool
fastpath_attached(const struct fastpath *f, size_t n)
{
	(void)f;
	(void)n;
	return false;
}

uint16_t
fastpath_beside(struct fastpath *f, uint32_t place, unsigned int device,
    const struct addr *to, const uint8_t gateway[6])
{
	(void)gateway;
	(void)f;
	(void)place;
	(void)device;
	(void)to;
	return 0;
}

bool
fastpath_is_gone(const struct fastpath *f, size_t n)
{
	(void)f;
	(void)n;
	return false;
}

bool
fastpath_return(struct fastpath *f, size_t n)
{
	(void)f;
	(void)n;
	return false;
}

int
fastpath_carry(
    struct fastpath *f, uint32_t index, const struct fastpath_flow *flow)
{
	(void)f;
	(void)index;
	(void)flow;
	errno = ENOSYS;
	return -1;
}

void
fastpath_recall(struct fastpath *f, uint32_t index)
{
	(void)f;
	(void)index;
}

bool
fastpath_is_carried(const struct fastpath *f, uint32_t index)
{
	(void)f;
	(void)index;
	return false;
}

struct fastpath_count
fastpath_count(
    const struct fastpath *f, uint32_t index, enum fastpath_direction direction)
{
	(void)f;
	(void)index;
	(void)direction;
	return (struct fastpath_count){ 0 };
}

#else

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* BPF_TCX_INGRESS and _EGRESS of <linux/bpf.h> since 6.6, by fastpath_gate. */
static const int tcx_points[] = { 46, 47 };

/* The program as net/fastpath.bpf.c was compiled. */
__asm__(".section .rodata\n"
	".balign 8\n"
	"fastpath_object: .incbin \"net/fastpath.bpf.o\"\n"
	"fastpath_object_end: .byte 0\n"
	".previous\n");
extern const char fastpath_object[], fastpath_object_end[];
static const char *const programs[] = { "fastpath", "fastpath_out" };

/* ---- opening ---- */

static int
fail(char why[static FASTPATH_WHY_LEN], const char *what, int error)
{
	if (error == EPERM || error == EACCES)
		snprintf(why, FASTPATH_WHY_LEN,
		    "%s takes CAP_BPF and CAP_NET_ADMIN", what);
	else
		snprintf(why, FASTPATH_WHY_LEN, "%s: %s (it takes Linux 5.12)",
		    what, strerror(error));
	errno = error;
	return -1;
}

static int
size_map(struct fastpath *f, const char *name, uint32_t entries)
{
	struct bpf_map *m = bpf_object__find_map_by_name(f->object, name);

	return m == NULL ? -ENOENT : bpf_map__set_max_entries(m, entries);
}

static int
load(struct fastpath *f, char why[static FASTPATH_WHY_LEN])
{
	size_t len = (size_t)(fastpath_object_end - fastpath_object);
	struct bpf_program *p;
	int error;

	f->object = bpf_object__open_mem(fastpath_object, len, NULL);
	if (f->object == NULL)
		return fail(why, "reading the program", errno);
	if (size_map(f, "fastpath_flows", 2 * f->count) != 0 ||
	    size_map(f, "fastpath_sides", 2 * f->count) != 0 ||
	    size_map(f, "fastpath_hops", f->hop_count) != 0)
		return fail(why, "sizing the tables", EINVAL);
	error = -bpf_object__load(f->object);
	if (error != 0)
		return fail(why, "loading the program", error);
	for (int gate = FASTPATH_IN; gate <= FASTPATH_OUT; gate++) {
		p = bpf_object__find_program_by_name(f->object, programs[gate]);
		f->program[gate] = bpf_program__fd(p);
	}
	f->flows = bpf_object__find_map_fd_by_name(f->object, "fastpath_flows");
	return 0;
}

static void *
share(const struct fastpath *f, const char *map, size_t len)
{
	int fd = bpf_object__find_map_fd_by_name(f->object, map);
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

static size_t
sides_len(const struct fastpath *f)
{
	return 2 * (size_t)f->count * sizeof *f->sides;
}

static size_t
hops_len(const struct fastpath *f)
{
	return f->hop_count * sizeof *f->hops;
}

/* Counts are read, and sides opened and closed, without a system call. */
static int
share_all(struct fastpath *f, char why[static FASTPATH_WHY_LEN])
{
	f->sides = share(f, "fastpath_sides", sides_len(f));
	f->control = share(f, "fastpath_control", sizeof *f->control);
	f->hops = share(f, "fastpath_hops", hops_len(f));
	if (f->sides == NULL || f->control == NULL || f->hops == NULL)
		return fail(why, "sharing the counters", errno);
	f->control->pid = (uint32_t)getpid();
	f->control->magic = FASTPATH_MAGIC;
	fastpath_beat(f);
	return 0;
}

struct fastpath *
fastpath_open(uint32_t flows, uint32_t hops, char why[static FASTPATH_WHY_LEN])
{
	struct fastpath *f = calloc(1, sizeof *f);

	if (f == NULL) {
		snprintf(why, FASTPATH_WHY_LEN, "%s", strerror(errno));
		return NULL;
	}
	f->count = flows;
	f->hop_count = 1 + (hops < UINT16_MAX ? hops : UINT16_MAX);
	libbpf_set_print(NULL); /* it tells what it tries; we, what failed */
	if (load(f, why) == 0 && share_all(f, why) == 0)
		return f;
	fastpath_close(f);
	return NULL;
}

/* ---- links ---- */

static int
attach_link(
    struct fastpath *f, struct fastpath_place *at, enum fastpath_gate gate)
{
	int fd = bpf_link_create(f->program[gate], (int)at->device,
	    (enum bpf_attach_type)tcx_points[gate], NULL);

	at->hold[gate].link = fd < 0 ? -1 : fd;
	return fd < 0 ? -1 : 0;
}

static bool
is_linked(const struct fastpath_place *at, enum fastpath_gate gate)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof info;

	/* of tcx too the first word is the ifindex; 0: detached */
	return bpf_obj_get_info_by_fd(at->hold[gate].link, &info, &len) == 0 &&
	    info.xdp.ifindex == at->device;
}

static bool
is_ours(uint32_t id)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof info;
	int fd = bpf_prog_get_fd_by_id(id);
	bool ours = fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 &&
	    strcmp(info.name, programs[FASTPATH_OUT]) == 0;

	if (fd >= 0)
		close(fd);
	return ours;
}

/* More than are asked for is an error, and others' too. */
static bool
has_others(const struct fastpath_place *at)
{
	uint32_t ids[FASTPATH_PRIORITIES], n = FASTPATH_PRIORITIES;
	bool others = false;

	if (bpf_prog_query((int)at->device,
		(enum bpf_attach_type)tcx_points[FASTPATH_OUT], 0, NULL, ids,
		&n) != 0)
		return errno != EINVAL; /* no such links */
	for (uint32_t i = 0; i < n && !others; i++)
		others = !is_ours(ids[i]);
	return others;
}

/* ---- places ---- */

static int
attach(struct fastpath *f, struct fastpath_place *at, enum fastpath_gate gate,
    enum fastpath_hook hook)
{
	at->hold[gate].link = -1;
	if (hook != FASTPATH_HOOK_CLSACT && attach_link(f, at, gate) == 0)
		return 0;
	/* EINVAL: a kernel of before 6.6 knows no such links */
	if (hook == FASTPATH_HOOK_CLSACT ||
	    (hook == FASTPATH_HOOK_AUTO && errno == EINVAL))
		return fastpath_add_filter(f, at, gate);
	return -1;
}

static void
detach(const struct fastpath_place *at)
{
	for (int gate = FASTPATH_IN; gate <= FASTPATH_OUT; gate++)
		if (at->hold[gate].link >= 0)
			close(at->hold[gate].link);
}

int
fastpath_attach(struct fastpath *f, unsigned int device,
    enum fastpath_hook hook, char why[static FASTPATH_WHY_LEN])
{
	struct fastpath_place *at = &f->places[f->used];

	if (f->used == FASTPATH_DEVICES)
		return fail(why, "one interface more", ENOSPC);
	*at = (struct fastpath_place){ .device = device };
	if (attach(f, at, FASTPATH_OUT, hook) != 0)
		return fail(why, "attaching the program", errno);
	if (attach(f, at, FASTPATH_IN, hook) != 0) {
		(void)fail(why, "attaching the program", errno);
		at->hold[FASTPATH_IN].link = -1;
		detach(at);
		fastpath_remove_filters(at);
		return -1;
	}
	(void)if_indextoname(device, at->name);
	at->shared = has_others(at);
	f->used++;
	return 0;
}

static bool
is_attached(const struct fastpath_place *at, enum fastpath_gate gate)
{
	return at->hold[gate].link >= 0
	    ? is_linked(at, gate)
	    : fastpath_filter_in(at, gate) == at->hold[gate].program;
}

bool
fastpath_attached(const struct fastpath *f, size_t n)
{
	return is_attached(&f->places[n], FASTPATH_IN) &&
	    is_attached(&f->places[n], FASTPATH_OUT);
}

/* ---- coming back ---- */

bool
fastpath_is_gone(const struct fastpath *f, size_t n)
{
	return device_named(f->places[n].name) != f->places[n].device;
}

/* Who holds a program may link it; no right is wanted. */
static bool
link_again(struct fastpath *f, struct fastpath_place *at, unsigned int device)
{
	struct fastpath_place now = { .device = device };

	if (attach_link(f, &now, FASTPATH_OUT) != 0)
		return false;
	if (attach_link(f, &now, FASTPATH_IN) != 0) {
		close(now.hold[FASTPATH_OUT].link);
		return false;
	}
	detach(at);
	memcpy(at->hold, now.hold, sizeof at->hold);
	__atomic_store_n(&at->shared, true, __ATOMIC_RELAXED);
	__atomic_store_n(&at->device, device, __ATOMIC_RELEASE);
	return true;
}

bool
fastpath_return(struct fastpath *f, size_t n)
{
	struct fastpath_place *at = &f->places[n];
	unsigned int device = device_named(at->name);

	if (device == 0)
		return false;
	if (at->hold[FASTPATH_IN].link < 0)
		return fastpath_filter_again(f, at, device);
	return device != at->device && link_again(f, at, device);
}

void
fastpath_close(struct fastpath *f)
{
	if (f == NULL)
		return;
	if (f->control != NULL) {
		__atomic_store_n(&f->control->alive_ns, 0, __ATOMIC_SEQ_CST);
		munmap(f->control, sizeof *f->control);
	}
	fastpath_await_heir(f);
	for (size_t i = 0; i < f->used; i++) {
		detach(&f->places[i]);
		if (f->heir <= 0)
			fastpath_remove_filters(&f->places[i]);
	}
	if (f->sides != NULL)
		munmap(f->sides, sides_len(f));
	if (f->hops != NULL)
		munmap(f->hops, hops_len(f));
	bpf_object__close(f->object);
	free(f);
}

#endif

/* Read by workers, while it may come back with another number. */
static const struct fastpath_place *
place_of(const struct fastpath *f, unsigned int device)
{
	for (size_t i = 0; i < f->used; i++)
		if (__atomic_load_n(&f->places[i].device, __ATOMIC_ACQUIRE) ==
		    device)
			return &f->places[i];
	return NULL;
}

bool
fastpath_serves(const struct fastpath *f, unsigned int device)
{
	return place_of(f, device) != NULL;
}

bool
fastpath_is_shared(const struct fastpath *f, unsigned int device)
{
	const struct fastpath_place *at = place_of(f, device);

	return at == NULL || __atomic_load_n(&at->shared, __ATOMIC_RELAXED);
}

size_t
fastpath_devices(const struct fastpath *f)
{
	return f->used;
}

const char *
fastpath_device(const struct fastpath *f, size_t n)
{
	return f->places[n].name;
}

/* ---- all flows at once ---- */

void
fastpath_beat(struct fastpath *f)
{
	__atomic_store_n(
	    &f->control->alive_ns, clock_monotonic_ns(), __ATOMIC_SEQ_CST);
}

void
fastpath_next_epoch(struct fastpath *f)
{
	__atomic_fetch_add(&f->control->epoch, 1, __ATOMIC_SEQ_CST);
}

uint32_t
fastpath_epoch(const struct fastpath *f)
{
	return __atomic_load_n(&f->control->epoch, __ATOMIC_ACQUIRE);
}
