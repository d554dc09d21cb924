#include "portshare/stage.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "net/portscan.h"

#define PORT 2002 /* where Roughtime is */

static const char *const programs[] = { "roughtimed", "l4proxyd", "roughtime",
	"roughtime-keys", "l4proxyctl", "portshare" };

bool
stage_has_program(const char *name)
{
	const char *at = getenv("PATH");
	char path[PATH_MAX];

	while (at != NULL && *at != '\0') {
		size_t len = strcspn(at, ":");

		if (len > 0 &&
		    snprintf(path, sizeof path, "%.*s/%s", (int)len, at, name) <
			(int)sizeof path &&
		    access(path, X_OK) == 0)
			return true;
		at += len + (at[len] == ':');
	}
	return false;
}

/* Beside portshare and where `make install` puts them first, then as a shell
 * finds them. */
static int
find_programs(void)
{
	char self[PATH_MAX], here[PATH_MAX], *path = NULL;
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
	const char *before = getenv("PATH");
	int missing = 0;

	self[len > 0 ? len : 0] = '\0';
	file_directory(here, self);
	if (asprintf(&path, "%s:%s/../sbin:%s", here, here,
		before != NULL ? before : "") < 0 ||
	    setenv("PATH", path, 1) < 0) {
		log_error("PATH: %s", strerror(errno));
		missing++;
	}
	free(path);
	for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
		if (!stage_has_program(programs[i])) {
			log_error("%s is neither beside portshare (%s) nor in "
				  "PATH",
			    programs[i], here);
			missing++;
		}
	return missing == 0 ? 0 : -1;
}

/* A network of one's own, and other users in it, are root's to make. */
static bool
may_make_networks(void)
{
	cap_flag_value_t have = CAP_CLEAR;
	cap_t caps = cap_get_proc();

	if (caps != NULL &&
	    cap_get_flag(caps, CAP_SYS_ADMIN, CAP_EFFECTIVE, &have) < 0)
		have = CAP_CLEAR;
	cap_free(caps);
	return geteuid() == 0 && have == CAP_SET;
}

static bool
is_free(uint16_t port)
{
	struct portscan_socket found;

	return portscan_port(SOCK_UDP, port, true, &found, 1) == 0 &&
	    portscan_port(SOCK_TCP, port, true, &found, 1) == 0;
}

/* On the host itself somebody else may have it. */
static int
choose_port(struct stage *s)
{
	for (unsigned int port = PORT; port < 30000; port += 1000)
		if (is_free((uint16_t)port)) {
			s->port = (uint16_t)port;
			return 0;
		}
	log_error("no free port for the story: 2002, 3002, … are all taken");
	return -1;
}

static int
choose_network(struct stage *s)
{
	if (may_make_networks() && lab_open(&s->lab) < 0) {
		log_error("no network of our own: %s", strerror(errno));
		return -1;
	}
	if (s->lab.kind == LAB_HOST) {
		s->time = "127.0.0.1";
		s->customer = "127.0.0.2";
		s->origin = "127.0.0.3";
		return choose_port(s);
	}
	s->port = PORT;
	s->time = "192.0.2.2";
	s->customer = "192.0.2.1";
	s->origin = "192.0.2.101";
	return 0;
}

/* Searchable: the daemons find their sockets there as another user. */
static int
make_directory(struct stage *s)
{
	snprintf(s->directory, sizeof s->directory,
	    "/tmp/portshare-story-%ld.XXXXXX", (long)getpid());
	if (mkdtemp(s->directory) != NULL && chmod(s->directory, 0755) == 0)
		return 0;
	log_error("%s: %s", s->directory, strerror(errno));
	s->directory[0] = '\0';
	return -1;
}

int
stage_open(struct stage *s)
{
	memset(s, 0, sizeof *s);
	return find_programs() < 0 || choose_network(s) < 0 ||
		make_directory(s) < 0
	    ? -1
	    : 0;
}

void
stage_close(struct stage *s)
{
	DIR *d = s->directory[0] != '\0' ? opendir(s->directory) : NULL;
	const struct dirent *e;

	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL)
		(void)unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	if (rmdir(s->directory) < 0)
		log_warning("%s: %s", s->directory, strerror(errno));
}

char *
stage_path(char buf[static PATH_MAX], const struct stage *s, const char *name)
{
	snprintf(buf, PATH_MAX, "%s/%s", s->directory, name);
	return buf;
}

int
stage_write(const struct stage *s, const char *name, const char *text)
{
	char path[PATH_MAX], why[FILE_WHY_LEN];

	if (file_replace(
		stage_path(path, s, name), 0644, text, strlen(text), why) == 0)
		return 0;
	log_error("%s: %s", path, why);
	return -1;
}
