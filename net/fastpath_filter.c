/* Where there are no links (before Linux 6.6): filters of clsact, tc-bpf(8). */
#include "net/fastpath_inner.h"

#ifdef HAVE_FASTPATH

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define HANDLE 1
#define MAPS_MAX 8 /* maps of a program that are looked at */

/* The control of the map with this id, if it is one of ours. */
static bool
read_control(uint32_t map, struct fastpath_control *c)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof info, zero = 0;
	int fd = bpf_map_get_fd_by_id(map);
	bool good;

	if (fd < 0)
		return false;
	good = bpf_obj_get_info_by_fd(fd, &info, &len) == 0 &&
	    strcmp(info.name, "fastpath_contro") == 0 && /* cut to 15 */
	    info.value_size == sizeof *c &&
	    bpf_map_lookup_elem(fd, &zero, c) == 0 &&
	    c->magic == FASTPATH_MAGIC;
	close(fd);
	return good;
}

/* Whether this program is one of ours whose daemon has ended: nobody keeps it
 * up any more. */
static bool
is_left_behind(uint32_t program)
{
	uint32_t maps[MAPS_MAX] = { 0 };
	struct bpf_prog_info info = { .nr_map_ids = MAPS_MAX,
		.map_ids = (uint64_t)(uintptr_t)maps };
	uint32_t len = sizeof info;
	struct fastpath_control c;
	int fd = bpf_prog_get_fd_by_id(program);
	bool dead = false;

	if (fd < 0)
		return false;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0)
		for (uint32_t i = 0; i < info.nr_map_ids && i < MAPS_MAX; i++)
			if (read_control(maps[i], &c))
				dead = clock_monotonic_ns() >=
				    c.alive_ns + FASTPATH_DEAD_NS;
	close(fd);
	return dead;
}

static struct bpf_tc_hook
hook_of(const struct fastpath_place *at, enum fastpath_gate gate)
{
	return (struct bpf_tc_hook){ .sz = sizeof(struct bpf_tc_hook),
		.ifindex = (int)at->device,
		.attach_point =
		    gate == FASTPATH_IN ? BPF_TC_INGRESS : BPF_TC_EGRESS };
}

static struct bpf_tc_opts
options_of(const struct fastpath_place *at, enum fastpath_gate gate)
{
	return (struct bpf_tc_opts){ .sz = sizeof(struct bpf_tc_opts),
		.handle = HANDLE,
		.priority = at->hold[gate].priority };
}

uint32_t
fastpath_filter_in(const struct fastpath_place *at, enum fastpath_gate gate)
{
	struct bpf_tc_hook hook = hook_of(at, gate);
	struct bpf_tc_opts o = options_of(at, gate);

	return bpf_tc_query(&hook, &o) == 0 ? o.prog_id : 0;
}

int
fastpath_add_filter(
    struct fastpath *f, struct fastpath_place *at, enum fastpath_gate gate)
{
	struct bpf_tc_hook hook = hook_of(at, gate);
	int error = bpf_tc_hook_create(&hook);

	/* EEXIST: another's, and it will do for both */
	for (uint32_t i = 0;
	     (error == 0 || error == -EEXIST) && i < FASTPATH_PRIORITIES; i++) {
		struct bpf_tc_opts o;
		uint32_t id;

		at->hold[gate].priority = FASTPATH_PRIORITY + i;
		id = fastpath_filter_in(at, gate);
		o = options_of(at, gate);
		if (id != 0 && is_left_behind(id))
			(void)bpf_tc_detach(&hook, &o);
		o = options_of(at, gate);
		o.prog_fd = f->program[gate];
		error = bpf_tc_attach(&hook, &o);
		at->hold[gate].program = o.prog_id;
		if (error == 0)
			return 0;
	}
	errno = error < 0 ? -error : EBUSY;
	return -1;
}

static void
remove_filter(const struct fastpath_place *at, enum fastpath_gate gate)
{
	struct bpf_tc_hook hook = hook_of(at, gate);
	struct bpf_tc_opts o = options_of(at, gate);

	if (at->hold[gate].program != 0 &&
	    fastpath_filter_in(at, gate) == at->hold[gate].program)
		(void)bpf_tc_detach(&hook, &o);
}

void
fastpath_remove_filters(const struct fastpath_place *at)
{
	for (int gate = FASTPATH_IN; gate <= FASTPATH_OUT; gate++)
		if (at->hold[gate].link < 0)
			remove_filter(at, (enum fastpath_gate)gate);
}

#endif
