#include "net/portowner.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/sockflag.h"

#define LINKS_MAX (1u << 20) /* descriptors looked at in /proc */

/* Whatever a process calls itself becomes one printable word. */
static void
read_command(char command[static 64], int proc, const char *pid)
{
	char path[64];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof path, "%.32s/comm", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, command, 63);
		close(fd);
	}
	n = n > 0 && command[n - 1] == '\n' ? n - 1 : n;
	command[n > 0 ? n : 0] = '\0';
	for (char *c = command; *c != '\0'; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
}

/*
 * The last part of the control group that is a unit's name: "0::/system.slice/
 * ssh.service". Names are systemd's, so there is nothing to fear in them but
 * length.
 */
static void
read_unit(char unit[static 64], int proc, const char *pid)
{
	char path[64], line[256];
	const char *name;
	size_t len;
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof path, "%.32s/cgroup", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, line, sizeof line - 1);
		close(fd);
	}
	line[n > 0 ? n : 0] = '\0';
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

/* A descriptor's link reads "socket:[123456]". */
static struct portscan_socket *
match(int dir, const char *name, struct portscan_socket *out, size_t n)
{
	char link[64], *end;
	ssize_t len = readlinkat(dir, name, link, sizeof link - 1);
	unsigned long inode;

	if (len < 9 || memcmp(link, "socket:[", 8) != 0)
		return NULL;
	link[len] = '\0';
	inode = strtoul(link + 8, &end, 10);
	for (size_t i = 0; *end == ']' && i < n; i++)
		if (out[i].inode == inode && out[i].pid == 0)
			return &out[i];
	return NULL;
}

/* Looks at the descriptors of one process; returns how many owners it gave. */
static size_t
search_process(int proc, const char *pid, struct portscan_socket *out, size_t n,
    unsigned int *links)
{
	char path[64];
	struct dirent *entry;
	size_t named = 0;
	DIR *d;
	int fd;

	snprintf(path, sizeof path, "%.32s/fd", pid);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd >= 0 ? fdopendir(fd) : NULL;
	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return 0; /* gone, or not ours to see */
	}
	while ((entry = readdir(d)) != NULL && ++*links < LINKS_MAX) {
		struct portscan_socket *s = match(fd, entry->d_name, out, n);

		if (s == NULL)
			continue;
		s->pid = (pid_t)strtol(pid, NULL, 10);
		s->fd = (int)strtol(entry->d_name, NULL, 10);
		read_command(s->command, proc, pid);
		read_unit(s->unit, proc, pid);
		read_flags(s);
		named++;
	}
	closedir(d);
	return named;
}

void
portowner_find(struct portscan_socket *out, size_t n)
{
	DIR *proc = n > 0 ? opendir("/proc") : NULL;
	unsigned int links = 0;
	struct dirent *entry;
	size_t named = 0;

	if (proc == NULL)
		return;
	while (
	    named < n && links < LINKS_MAX && (entry = readdir(proc)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]))
			named += search_process(
			    dirfd(proc), entry->d_name, out, n, &links);
	closedir(proc);
}
