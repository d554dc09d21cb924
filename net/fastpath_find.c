/* Which daemon's program takes a datagram: for who may look into its maps. */
#include "net/fastpath_inner.h"

#ifndef HAVE_FASTPATH

bool
fastpath_find(const struct addr *from, const struct addr *to,
    struct fastpath_taker *taker)
{
	(void)from;
	(void)to;
	(void)taker;
	return false;
}

#else

#include <bpf/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

#define MAPS_MAX 8 /* of a program that are looked at */
#define PROGRAMS_MAX 4096 /* of the host */

enum { FLOWS = 0, SIDES, CONTROL, MAPS };

/* Names are cut to 15 characters by the kernel. */
static const char *const names[MAPS] = { "fastpath_flows", "fastpath_sides",
	"fastpath_contro" };

/* In this network namespace, for one of another has other interfaces. */
static bool
is_neighbour(uint32_t pid)
{
	struct stat its, ours;
	char path[64];

	snprintf(path, sizeof path, "/proc/%u/ns/net", pid);
	return stat(path, &its) == 0 && stat("/proc/self/ns/net", &ours) == 0 &&
	    its.st_ino == ours.st_ino;
}

static void
open_map(uint32_t id, int fds[MAPS])
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof info;
	int fd = bpf_map_get_fd_by_id(id);

	if (fd < 0)
		return;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0)
		for (int i = 0; i < MAPS; i++)
			if (fds[i] < 0 && strcmp(info.name, names[i]) == 0) {
				fds[i] = fd;
				return;
			}
	close(fd);
}

static void
open_maps(int program, int fds[MAPS])
{
	uint32_t ids[MAPS_MAX] = { 0 };
	struct bpf_prog_info info = { .nr_map_ids = MAPS_MAX,
		.map_ids = (uint64_t)(uintptr_t)ids };
	uint32_t len = sizeof info;

	if (bpf_obj_get_info_by_fd(program, &info, &len) != 0 ||
	    strcmp(info.name, "fastpath") != 0)
		return;
	for (uint32_t i = 0; i < info.nr_map_ids && i < MAPS_MAX; i++)
		open_map(ids[i], fds);
}

static bool
is_open(const struct fastpath_side *s, const struct fastpath_entry *e,
    const struct fastpath_control *c)
{
	return c->magic == FASTPATH_MAGIC &&
	    clock_monotonic_ns() < c->alive_ns + FASTPATH_DEAD_NS &&
	    s->epoch == (uint16_t)c->epoch &&
	    s->gate >> FASTPATH_TURN_SHIFT == e->turn &&
	    s->state == FASTPATH_CARRIED && is_neighbour(c->pid);
}

static bool
look(const int fds[MAPS], const struct fastpath_tuple *key,
    struct fastpath_taker *taker)
{
	struct fastpath_control c;
	struct fastpath_entry e;
	struct fastpath_side s;
	uint32_t zero = 0;

	if (fds[FLOWS] < 0 || fds[SIDES] < 0 || fds[CONTROL] < 0 ||
	    bpf_map_lookup_elem(fds[FLOWS], key, &e) != 0 ||
	    bpf_map_lookup_elem(fds[SIDES], &e.side, &s) != 0 ||
	    bpf_map_lookup_elem(fds[CONTROL], &zero, &c) != 0 ||
	    !is_open(&s, &e, &c))
		return false;
	taker->pid = (pid_t)c.pid;
	taker->to = fastpath_new_to(&s);
	return true;
}

static bool
look_into(
    uint32_t id, const struct fastpath_tuple *key, struct fastpath_taker *taker)
{
	int program = bpf_prog_get_fd_by_id(id), fds[MAPS] = { -1, -1, -1 };
	bool found;

	if (program < 0)
		return false;
	open_maps(program, fds);
	found = look(fds, key, taker);
	for (int i = 0; i < MAPS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	close(program);
	return found;
}

bool
fastpath_find(const struct addr *from, const struct addr *to,
    struct fastpath_taker *taker)
{
	const struct fastpath_tuple key = fastpath_tuple_of(from, to);
	uint32_t id = 0;

	for (int i = 0; i < PROGRAMS_MAX; i++) {
		if (bpf_prog_get_next_id(id, &id) != 0)
			break;
		if (look_into(id, &key, taker))
			return true;
	}
	return false;
}

#endif
