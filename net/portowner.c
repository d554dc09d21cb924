#include "net/portowner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/procfd.h"
#include "net/sockflag.h"

/*
 * The last part of the control group that is a unit's name: "0::/system.slice/
 * ssh.service". Names are systemd's, so there is nothing to fear in them but
 * length.
 */
static void
read_unit(char unit[static 64], const struct procfd *f)
{
	char line[256];
	const char *name;
	size_t len;

	procfd_read(f, "cgroup", line, sizeof line);
	line[strcspn(line, "\n")] = '\0';
	name = strrchr(line, '/');
	len = name != NULL ? strlen(name + 1) : 0;
	unit[0] = '\0';
	if (len > 8 && len < 64 && strcmp(name + 1 + len - 8, ".service") == 0)
		memcpy(unit, name + 1, len + 1);
}

int
portowner_copy(const struct portscan_socket *s)
{
	int pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0), fd, saved;
	struct stat st;

	if (pidfd < 0)
		return -1;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, s->fd, 0);
	saved = errno;
	close(pidfd);
	errno = saved;
	if (fd < 0)
		return -1;
	/* meanwhile the number may name another file */
	if (fstat(fd, &st) == 0 && st.st_ino == s->inode)
		return fd;
	close(fd);
	errno = ENOENT;
	return -1;
}

static void
read_flags(struct portscan_socket *s)
{
	int fd = portowner_copy(s);

	if (fd < 0)
		return;
	s->reuseaddr = sockflag_get(fd, SOCKFLAG_REUSEADDR) > 0;
	s->reuseport = sockflag_get(fd, SOCKFLAG_REUSEPORT) > 0;
	s->cpu = (unsigned int)(sockflag_cpu(fd) + 1);
	s->flags_seen = true;
	close(fd);
}

struct search {
	struct portscan_socket *sockets;
	size_t n, named;
};

/* A descriptor's link reads "socket:[123456]". */
static struct portscan_socket *
match(const struct search *k, const struct procfd *f)
{
	unsigned long inode;
	char link[64], *end;

	if (procfd_link(f, link, sizeof link) < 9 ||
	    memcmp(link, "socket:[", 8) != 0)
		return NULL;
	inode = strtoul(link + 8, &end, 10);
	for (size_t i = 0; *end == ']' && i < k->n; i++)
		if (k->sockets[i].inode == inode && k->sockets[i].pid == 0)
			return &k->sockets[i];
	return NULL;
}

static bool
visit(void *context, const struct procfd *f)
{
	struct search *k = context;
	struct portscan_socket *s = match(k, f);

	if (s == NULL)
		return true;
	s->pid = procfd_pid(f);
	s->fd = procfd_number(f);
	procfd_command(f, s->command);
	read_unit(s->unit, f);
	read_flags(s);
	return ++k->named < k->n;
}

void
portowner_find(struct portscan_socket *out, size_t n)
{
	struct search k = { .sockets = out, .n = n };

	/* without /proc nobody is named */
	if (n > 0)
		(void)procfd_walk(visit, &k);
}
