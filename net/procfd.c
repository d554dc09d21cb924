#include "net/procfd.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINKS_MAX (1u << 20)

pid_t
procfd_pid(const struct procfd *f)
{
	return (pid_t)strtol(f->pid, NULL, 10);
}

int
procfd_number(const struct procfd *f)
{
	return (int)strtol(f->name, NULL, 10);
}

ssize_t
procfd_link(const struct procfd *f, char *text, size_t len)
{
	ssize_t n = readlinkat(f->dir, f->name, text, len - 1);

	text[n > 0 ? n : 0] = '\0';
	return n;
}

void
procfd_read(const struct procfd *f, const char *file, char *text, size_t len)
{
	char path[96];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof path, "%.32s/%.48s", f->pid, file);
	fd = openat(f->proc, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, len - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
}

void
procfd_command(const struct procfd *f, char command[static 64])
{
	size_t len;

	procfd_read(f, "comm", command, 64);
	len = strlen(command);
	if (len > 0 && command[len - 1] == '\n')
		command[len - 1] = '\0';
	for (char *c = command; *c != '\0'; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
}

/* The descriptors of one process; false: enough. */
static bool
visit_process(
    struct procfd *f, procfd_visit *visit, void *context, unsigned int *links)
{
	char path[64];
	struct dirent *entry;
	bool more = true;
	DIR *d;

	snprintf(path, sizeof path, "%.32s/fd", f->pid);
	f->dir = openat(f->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = f->dir >= 0 ? fdopendir(f->dir) : NULL;
	if (d == NULL) {
		if (f->dir >= 0)
			close(f->dir);
		return true; /* gone, or not ours to see */
	}
	while (more && (entry = readdir(d)) != NULL) {
		f->name = entry->d_name;
		more = ++*links < LINKS_MAX && visit(context, f);
	}
	closedir(d);
	return more;
}

int
procfd_walk(procfd_visit *visit, void *context)
{
	DIR *proc = opendir("/proc");
	struct procfd f = { .dir = -1 };
	unsigned int links = 0;
	struct dirent *entry;
	bool more = true;

	if (proc == NULL)
		return -1;
	f.proc = dirfd(proc);
	while (more && (entry = readdir(proc)) != NULL) {
		f.pid = entry->d_name;
		if (isdigit((unsigned char)f.pid[0]))
			more = visit_process(&f, visit, context, &links);
	}
	closedir(proc);
	return 0;
}
