#include "net/chosen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/bpfcall.h"
#include "net/dispatch_table.h"
#include "net/procfd.h"

#define MAPS_MAX 8 /* of one program that are looked at */
#define KEYS_MAX 4096 /* of one map that are tried */

const char *
chosen_kind_str(enum chosen_kind kind)
{
	static const char *const words[] = {
		[CHOSEN_UNKNOWN] = "unknown",
		[CHOSEN_PASSES] = "passes",
		[CHOSEN_SOCKET] = "chooses",
		[CHOSEN_REFUSES] = "refuses",
	};

	return words[kind];
}

/* ---- asking the kernel ---- */

/* BPF_PROG_GET_FD_BY_ID, BPF_MAP_GET_FD_BY_ID: the id is a union's first. */
static int
by_id(enum bpf_cmd command, uint32_t id)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.prog_id = id;
	return bpf_call(command, &attr);
}

static int
info_of(int fd, void *info, uint32_t len)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = len;
	attr.info.info = (uint64_t)(uintptr_t)info;
	return bpf_call(BPF_OBJ_GET_INFO_BY_FD, &attr);
}

static int
value_of(int map, uint32_t key, void *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.map_fd = (uint32_t)map;
	attr.key = (uint64_t)(uintptr_t)&key;
	attr.value = (uint64_t)(uintptr_t)value;
	return bpf_call(BPF_MAP_LOOKUP_ELEM, &attr);
}

int
chosen_ids(uint32_t ids[static CHOSEN_PROGRAMS_MAX])
{
	union bpf_attr attr;
	int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int result, saved;

	if (netns < 0)
		return -1;
	memset(&attr, 0, sizeof attr);
	attr.query.target_fd = (uint32_t)netns;
	attr.query.attach_type = BPF_SK_LOOKUP;
	attr.query.prog_ids = (uint64_t)(uintptr_t)ids;
	attr.query.prog_cnt = CHOSEN_PROGRAMS_MAX;
	result = bpf_call(BPF_PROG_QUERY, &attr);
	saved = errno;
	close(netns);
	errno = saved;
	return result < 0 ? -1 : (int)attr.query.prog_cnt;
}

/* ---- one program and its maps ---- */

struct question {
	enum sock_proto proto;
	const struct addr *to;
	struct dispatch_table *table; /* room for a copy */
	bool ours; /* the table was there */
	struct dispatch_entry entry;
	bool found; /* a rule: `entry` */
	bool closed; /* where its sockets are gone: refused */
};

static bool
is_map(const struct bpf_map_info *m, uint32_t type, size_t value_size)
{
	return m->type == type && m->key_size == sizeof(uint32_t) &&
	    m->value_size == value_size;
}

static void
read_rules(struct question *q, int map)
{
	struct dispatch_key key = dispatch_key(q->proto, q->to);
	const struct dispatch_table *t = q->table;
	const struct dispatch_entry *e;

	if (value_of(map, 0, q->table) != 0 || t->magic != DISPATCH_MAGIC)
		return;
	q->ours = true;
	e = dispatch_find(&t->bank[t->active & 1], &key, addr_port(q->to));
	q->found = e != NULL;
	q->closed = t->closed != 0;
	if (e != NULL)
		q->entry = *e;
}

/* A map of sockets tells their cookies. */
static void
read_sockets(struct chosen_program *p, int map, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0;
	     i < count && i < KEYS_MAX && p->n < CHOSEN_SOCKETS_MAX; i++)
		if (value_of(map, first + i, &p->cookies[p->n]) == 0)
			p->n++;
}

/* Both passes over the maps: the rules first, they name the sockets. */
static void
read_map(struct question *q, struct chosen_program *p, uint32_t id, bool rules)
{
	int map = by_id(BPF_MAP_GET_FD_BY_ID, id);
	struct bpf_map_info m = { 0 };

	if (map < 0)
		return;
	if (info_of(map, &m, sizeof m) != 0)
		memset(&m, 0, sizeof m);
	if (rules && is_map(&m, BPF_MAP_TYPE_ARRAY, sizeof *q->table))
		read_rules(q, map);
	if (!rules && is_map(&m, BPF_MAP_TYPE_SOCKMAP, sizeof(uint64_t)) &&
	    !q->ours)
		read_sockets(p, map, 0, m.max_entries);
	if (!rules && is_map(&m, BPF_MAP_TYPE_SOCKMAP, sizeof(uint64_t)) &&
	    q->found)
		read_sockets(p, map, q->entry.slot, q->entry.sockets);
	close(map);
}

/* As the program does, also where a rule's sockets are all gone. */
static enum chosen_kind
kind_of(const struct question *q, const struct chosen_program *p)
{
	if (!q->ours)
		return CHOSEN_UNKNOWN;
	if (!q->found)
		return CHOSEN_PASSES;
	if (q->entry.sockets == 0)
		return q->entry.slot == DISPATCH_PASS ? CHOSEN_PASSES
						      : CHOSEN_REFUSES;
	if (p->n > 0)
		return CHOSEN_SOCKET;
	return q->closed ? CHOSEN_REFUSES : CHOSEN_PASSES;
}

static void
read_program(struct question *q, struct chosen_program *p)
{
	uint32_t maps[MAPS_MAX] = { 0 };
	struct bpf_prog_info info = { .nr_map_ids = MAPS_MAX,
		.map_ids = (uint64_t)(uintptr_t)maps };
	int fd = by_id(BPF_PROG_GET_FD_BY_ID, p->id);

	if (fd < 0)
		return; /* gone, or not for us */
	q->ours = q->found = false;
	if (info_of(fd, &info, sizeof info) == 0) {
		snprintf(p->name, sizeof p->name, "%s", info.name);
		for (int pass = 0; pass < 2; pass++)
			for (uint32_t i = 0;
			     i < info.nr_map_ids && i < MAPS_MAX; i++)
				read_map(q, p, maps[i], pass == 0);
		p->kind = kind_of(q, p);
	}
	close(fd);
}

void
chosen_look(struct chosen *c, enum sock_proto proto, const struct addr *to)
{
	struct question q = { .proto = proto, .to = to };
	uint32_t ids[CHOSEN_PROGRAMS_MAX];

	memset(c, 0, sizeof *c);
	c->n = chosen_ids(ids);
	if (c->n <= 0)
		return;
	q.table = malloc(sizeof *q.table);
	for (int i = 0; i < c->n; i++) {
		c->program[i].id = ids[i];
		if (q.table != NULL)
			read_program(&q, &c->program[i]);
	}
	free(q.table);
}

/* ---- whose they are ---- */

/* The link or the program itself in somebody's hands: "prog_id:\t17". */
static bool
visit(void *context, const struct procfd *f)
{
	struct chosen *c = context;
	char text[512], file[64];
	const char *at;
	uint32_t id;

	if (procfd_link(f, text, sizeof text) < 0 ||
	    strncmp(text, "anon_inode:bpf", 14) != 0)
		return true;
	snprintf(file, sizeof file, "fdinfo/%.32s", f->name);
	procfd_read(f, file, text, sizeof text);
	at = strstr(text, "prog_id:");
	id = at != NULL ? (uint32_t)strtoul(at + 8, NULL, 10) : 0;
	for (int i = 0; i < c->n; i++)
		if (c->program[i].id == id && c->program[i].pid == 0) {
			c->program[i].pid = procfd_pid(f);
			procfd_command(f, c->program[i].command);
		}
	return true;
}

void
chosen_owners(struct chosen *c)
{
	if (c->n > 0)
		(void)procfd_walk(visit, c);
}

const struct chosen_program *
chosen_decider(const struct chosen *c)
{
	const struct chosen_program *refuses = NULL;

	for (int i = 0; i < c->n; i++) {
		if (c->program[i].kind == CHOSEN_SOCKET)
			return &c->program[i];
		if (c->program[i].kind == CHOSEN_REFUSES && refuses == NULL)
			refuses = &c->program[i];
	}
	return refuses;
}

size_t
chosen_unknown(const struct chosen *c)
{
	size_t n = 0;

	for (int i = 0; i < c->n; i++)
		n += c->program[i].kind == CHOSEN_UNKNOWN;
	return n;
}
