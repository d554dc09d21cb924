#include "net/incumbent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/portlook.h"

#define LOOK_MAX 256 /* sockets of one port; listeners come first */

struct incumbent {
	pid_t pid;
	unsigned long *inodes; /* of its sockets, in order */
	size_t count, cap;
};

/* ---- its sockets ---- */

static int
add(struct incumbent *in, unsigned long inode)
{
	size_t cap = in->cap == 0 ? 256 : in->cap * 2;
	unsigned long *list;

	if (in->count == in->cap) {
		list = realloc(in->inodes, cap * sizeof *list);
		if (list == NULL)
			return -1;
		in->inodes = list;
		in->cap = cap;
	}
	in->inodes[in->count++] = inode;
	return 0;
}

static int
compare(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a;
	unsigned long y = *(const unsigned long *)b;

	return (x > y) - (x < y);
}

/* A descriptor's link reads "socket:[123456]". */
static int
read_all(struct incumbent *in, DIR *d)
{
	const struct dirent *entry;

	while ((entry = readdir(d)) != NULL) {
		unsigned long inode;
		char link[64];
		ssize_t n =
		    readlinkat(dirfd(d), entry->d_name, link, sizeof link - 1);

		link[n > 0 ? n : 0] = '\0';
		if (sscanf(link, "socket:[%lu]", &inode) == 1 &&
		    add(in, inode) != 0)
			return -1;
	}
	qsort(in->inodes, in->count, sizeof *in->inodes, compare);
	return 0;
}

struct incumbent *
incumbent_new(pid_t pid)
{
	struct incumbent *in = calloc(1, sizeof *in);
	char path[48];
	DIR *d;

	if (in == NULL)
		return NULL;
	in->pid = pid;
	snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
	d = opendir(path);
	if (d != NULL && read_all(in, d) == 0) {
		closedir(d);
		return in;
	}
	if (d != NULL)
		closedir(d);
	incumbent_free(in);
	return NULL;
}

void
incumbent_free(struct incumbent *in)
{
	if (in != NULL)
		free(in->inodes);
	free(in);
}

pid_t
incumbent_pid(const struct incumbent *in)
{
	return in != NULL ? in->pid : 0;
}

/* ---- in the way ---- */

static bool
has(const struct incumbent *in, const struct portscan_socket *s)
{
	return s->inode != 0 && in->count > 0 &&
	    bsearch(&s->inode, in->inodes, in->count, sizeof *in->inodes,
		compare) != NULL;
}

static bool
is_other(const void *context, const struct portscan_socket *s)
{
	return !has(context, s);
}

static bool
works_beside_others(const struct incumbent *in, enum sock_proto proto,
    const struct addr *a, const struct sock_opts *o)
{
	struct portrules_socket newcomer;
	struct portlook look;
	bool works = false;

	portlook_newcomer(&newcomer, proto, a, o);
	if (portlook_scan_some(&look, proto, addr_port(a), is_other, in) == 0)
		works = portlook_add(&look, &newcomer) != PORTRULES_NOBODY;
	portlook_free(&look);
	return works;
}

/* Whose the others are, and their flags, is looked up where there are some. */
bool
incumbent_makes_way(const struct incumbent *in, enum sock_proto proto,
    const struct addr *a, const struct sock_opts *o)
{
	struct portscan_socket found[LOOK_MAX];
	int all = portscan_bare(proto, addr_port(a), true, found, LOOK_MAX);
	int n = all < LOOK_MAX ? all : LOOK_MAX, own = 0;

	for (int i = 0; i < n; i++)
		own += has(in, &found[i]);
	if (own == 0)
		return false;
	return own == all || works_beside_others(in, proto, a, o);
}

char *
incumbent_explain(char *buf, size_t len, enum sock_proto proto,
    const struct addr *a, const struct sock_opts *o)
{
	return portlook_explain_some(buf, len, proto, a, o,
	    o->beside != NULL ? is_other : NULL, o->beside);
}
