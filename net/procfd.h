/* The open files of all processes that we may look at (proc(5), /proc/PID/fd). */
#ifndef NET_PROCFD_H
#define NET_PROCFD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* One of them, while it is visited. */
struct procfd {
	int proc; /* the directory /proc */
	const char *pid;
	int dir; /* the directory /proc/PID/fd */
	const char *name; /* the descriptor's number */
};

/*
 * Visits each until one is enough (false), the first million at most; 0, or -1
 * with errno when there is no /proc.
 */
typedef bool procfd_visit(void *context, const struct procfd *f);
int procfd_walk(procfd_visit *visit, void *context);

pid_t procfd_pid(const struct procfd *f);
int procfd_number(const struct procfd *f);
/* What it is, such as "socket:[123456]". The length, or -1. */
ssize_t procfd_link(const struct procfd *f, char *text, size_t len);
/* The beginning of /proc/PID/FILE as text; "" when it cannot be read. */
void
procfd_read(const struct procfd *f, const char *file, char *text, size_t len);
/* The process's name made printable: whatever it calls itself is one word. */
void procfd_command(const struct procfd *f, char command[static 64]);

#endif
