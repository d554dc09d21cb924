#include "net/tracer.h"

#include <stdio.h>

#ifndef HAVE_TRACER

struct tracer *
tracer_open(enum sock_proto proto, const struct addr *from,
    const struct addr *to, char why[static TRACER_WHY_LEN])
{
	(void)proto;
	(void)from;
	(void)to;
	snprintf(why, TRACER_WHY_LEN, "built without libbpf or clang");
	return NULL;
}

void
tracer_close(struct tracer *t)
{
	(void)t;
}

size_t
tracer_sights(const struct tracer *t, struct tracer_sight *out, size_t cap)
{
	(void)t;
	(void)out;
	(void)cap;
	return 0;
}

#else

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "net/tracer_inner.h"

/* The program as net/tracer.bpf.c was compiled. */
__asm__(".section .rodata\n"
	".balign 8\n"
	"tracer_object: .incbin \"net/tracer.bpf.o\"\n"
	"tracer_object_end: .byte 0\n"
	".previous\n");
extern const char tracer_object[], tracer_object_end[];

struct tracer {
	struct bpf_object *object;
	struct bpf_link *link;
	int sights; /* the map's descriptor, the object's */
};

static int
fail(char why[static TRACER_WHY_LEN], const char *what, int error)
{
	if (error == EPERM || error == EACCES)
		snprintf(why, TRACER_WHY_LEN, "%s is for root", what);
	else
		snprintf(why, TRACER_WHY_LEN, "%s: %s", what, strerror(error));
	return -1;
}

static int
load(struct tracer *t, char why[static TRACER_WHY_LEN])
{
	size_t len = (size_t)(tracer_object_end - tracer_object);
	int error;

	libbpf_set_print(NULL); /* it tells what it tries; we, what failed */
	t->object = bpf_object__open_mem(tracer_object, len, NULL);
	if (t->object == NULL)
		return fail(why, "reading the BPF program", errno);
	error = -bpf_object__load(t->object);
	if (error != 0)
		return fail(why, "loading the BPF program", error);
	t->sights = bpf_object__find_map_fd_by_name(t->object, "tracer_sights");
	return 0;
}

static void
put_address(__u8 at[static 16], const struct addr *a)
{
	if (a->sa.sa_family == AF_INET6) {
		memcpy(at, &a->in6.sin6_addr, 16);
	} else {
		at[10] = at[11] = 0xff;
		memcpy(at + 12, &a->in.sin_addr, 4);
	}
}

static int
set_rule(struct tracer *t, enum sock_proto proto, const struct addr *from,
    const struct addr *to, char why[static TRACER_WHY_LEN])
{
	int map = bpf_object__find_map_fd_by_name(t->object, "tracer_rules");
	struct tracer_rule rule = {
		.port = htons(addr_port(to)),
		.protocol = proto == SOCK_UDP ? IPPROTO_UDP : IPPROTO_TCP,
	};
	uint32_t zero = 0;

	put_address(rule.from, from);
	put_address(rule.to, to);
	if (bpf_map_update_elem(map, &zero, &rule, BPF_ANY) != 0)
		return fail(why, "the rule", errno);
	return 0;
}

/* The root of all cgroups, mounted nowhere: where a host has them, and whether
 * it shows them to us, differs. */
static int
open_cgroups(void)
{
	int fs = fsopen("cgroup2", FSOPEN_CLOEXEC), mount = -1, fd = -1, saved;

	if (fs < 0)
		return -1;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		mount = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (mount >= 0)
		fd = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	saved = errno;
	if (mount >= 0)
		close(mount);
	close(fs);
	errno = saved;
	return fd;
}

static int
attach(struct tracer *t, char why[static TRACER_WHY_LEN])
{
	struct bpf_program *p =
	    bpf_object__find_program_by_name(t->object, "tracer");
	int cgroups = open_cgroups(), error;

	if (cgroups < 0)
		return fail(why, "looking into cgroup2", errno);
	t->link = bpf_program__attach_cgroup(p, cgroups);
	error = errno;
	close(cgroups);
	return t->link != NULL ? 0
			       : fail(why, "attaching the BPF program", error);
}

struct tracer *
tracer_open(enum sock_proto proto, const struct addr *from,
    const struct addr *to, char why[static TRACER_WHY_LEN])
{
	struct tracer *t = calloc(1, sizeof *t);

	if (t == NULL) {
		(void)fail(why, "memory", errno);
		return NULL;
	}
	if (load(t, why) == 0 && set_rule(t, proto, from, to, why) == 0 &&
	    attach(t, why) == 0)
		return t;
	tracer_close(t);
	return NULL;
}

void
tracer_close(struct tracer *t)
{
	if (t == NULL)
		return;
	bpf_link__destroy(t->link);
	bpf_object__close(t->object);
	free(t);
}

size_t
tracer_sights(const struct tracer *t, struct tracer_sight *out, size_t cap)
{
	struct tracer_key key, *before = NULL;
	size_t n = 0;

	while (n < cap && bpf_map_get_next_key(t->sights, before, &key) == 0) {
		struct tracer_sight *s = &out[n];

		before = &key;
		s->cookie = key.cookie;
		s->port = (uint16_t)key.port;
		if (bpf_map_lookup_elem(t->sights, &key, &s->count) == 0)
			n++;
	}
	return n;
}

#endif
