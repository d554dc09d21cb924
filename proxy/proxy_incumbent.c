/* -t: the daemon that runs by the configuration which is tested. */
#include "proxy/proxy_state.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "net/unixsock.h"

#define COMMAND_LEN 4096 /* of a command line; ours are short */
#define ARGUMENTS 64
#define PATIENCE_S 1

/* "" where there is nothing to be read. Returns the bytes. */
static size_t
read_proc(pid_t pid, const char *file, char *text, size_t len)
{
	char path[48];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
	f = fopen(path, "re");
	if (f != NULL) {
		n = fread(text, 1, len - 1, f);
		fclose(f);
	}
	text[n] = '\0';
	return n;
}

static bool
is_one_of_us(pid_t pid)
{
	char name[32];

	read_proc(pid, "comm", name, sizeof name);
	return pid != getpid() && strcmp(name, "l4proxyd\n") == 0;
}

/* ---- by its control socket ---- */

/* Who listens there; 0: nobody, or not one of us. */
static pid_t
behind_control(const struct proxy_settings *s)
{
	struct unixsock_peer peer = { 0 };
	int fd =
	    s->control != NULL ? unixsock_connect(s->control, PATIENCE_S) : -1;

	if (fd < 0)
		return 0;
	if (unixsock_peer(fd, &peer) != 0 || !is_one_of_us(peer.pid))
		peer.pid = 0;
	close(fd);
	return peer.pid;
}

/* ---- by its configuration file ---- */

static bool
is_same_file(pid_t pid, const char *path, const struct stat *config)
{
	char there[COMMAND_LEN + 48];
	struct stat st;

	snprintf(there, sizeof there, "/proc/%ld/%s/%s", (long)pid,
	    path[0] == '/' ? "root" : "cwd", path);
	return stat(there, &st) == 0 && st.st_dev == config->st_dev &&
	    st.st_ino == config->st_ino;
}

/* Another test is no daemon. */
static bool
runs_by(pid_t pid, const struct stat *config)
{
	char text[COMMAND_LEN], *argv[ARGUMENTS + 1];
	const char *path = PROXY_CONFIG;
	size_t len = read_proc(pid, "cmdline", text, sizeof text);
	int argc = 0, option;

	for (char *at = text; at < text + len && argc < ARGUMENTS;
	     at += strlen(at) + 1)
		argv[argc++] = at;
	argv[argc] = NULL;
	optind = 0; /* from the first one again */
	opterr = 0;
	while ((option = getopt(argc, argv, "c:t")) != -1) {
		if (option != 'c')
			return false;
		path = optarg;
	}
	return argc > 0 && is_same_file(pid, path, config);
}

static pid_t
by_file(const char *path)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	struct stat config;
	pid_t found = 0;

	if (proc == NULL)
		return 0;
	while (found == 0 && stat(path, &config) == 0 &&
	    (entry = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (isdigit((unsigned char)entry->d_name[0]) &&
		    is_one_of_us(pid) && runs_by(pid, &config))
			found = pid;
	}
	closedir(proc);
	return found;
}

/* ---- which ---- */

void
proxy_find_incumbent(struct proxy *p)
{
	pid_t pid = behind_control(p->started);

	if (pid == 0)
		pid = by_file(p->config);
	if (pid != 0)
		p->source.incumbent = incumbent_new(pid);
	if (p->source.incumbent != NULL)
		log_info("pid %ld runs by this configuration: the ports that "
			 "it has count as ours",
		    (long)pid);
}

bool
proxy_has_control(const struct proxy *p)
{
	return p->source.incumbent != NULL &&
	    behind_control(p->started) == incumbent_pid(p->source.incumbent);
}
