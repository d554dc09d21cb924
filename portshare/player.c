#include "portshare/player.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define TURN_MS 5 /* between two looks at a log */

static void
pause_ms(int ms)
{
	(void)poll(NULL, 0, ms);
}

/* In the child: never returns. Its process group is its own, so that Ctrl-C
 * is for the story to pass on. */
static void
become(const struct stage *s, enum lab_net net, const char *const argv[],
    int output)
{
	const struct sigaction usual = { .sa_handler = SIG_DFL };
	char *words[STRACE_ARGS + PLAYER_ARGS + 2];
	int nothing = open("/dev/null", O_RDONLY), n = 0;

	(void)sigaction(SIGPIPE, &usual, NULL);
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	for (; argv[n] != NULL; n++)
		words[n] = (char *)(uintptr_t)argv[n]; /* execvp(3) */
	words[n] = NULL;
	if (nothing >= 0 && dup2(nothing, 0) == 0 && dup2(output, 1) == 1 &&
	    dup2(output, 2) == 2 && lab_enter(&s->lab, net) == 0 &&
	    chdir(s->directory) == 0)
		execvp(words[0], words);
	_exit(127);
}

static pid_t
spawn(const struct stage *s, enum lab_net net, const char *const argv[],
    int output)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		become(s, net, argv, output);
	if (pid < 0)
		log_error("fork: %s", strerror(errno));
	return pid;
}

static int
meaning(int wait_status)
{
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
}

/* Until it ends; after the patience it is killed. Its status. */
static int
reap(pid_t pid)
{
	uint64_t end = clock_monotonic_ms() + PLAYER_PATIENCE_MS;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (clock_monotonic_ms() > end) {
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, &status, 0);
			return -1;
		}
		pause_ms(TURN_MS);
	}
	return meaning(status);
}

/* What comes until the end of the file; more than fits is read and lost. */
static void
drain(int fd, struct player_output *out)
{
	uint64_t end = clock_monotonic_ms() + PLAYER_PATIENCE_MS;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char lost[512];
	size_t len = 0;

	while (clock_monotonic_ms() < end && !tale_interrupted()) {
		bool full = len == sizeof out->text - 1;
		ssize_t n;

		if (poll(&p, 1, 100) != 1)
			continue;
		n = read(fd, full ? lost : out->text + len,
		    full ? sizeof lost : sizeof out->text - 1 - len);
		if (n <= 0)
			break;
		len += full ? 0 : (size_t)n;
	}
	out->text[len] = '\0';
}

static void
tell_typed(struct tale *t, const char *const words[])
{
	char line[TALE_LEN] = "";
	size_t len = 0;

	for (size_t i = 0; words[i] != NULL && len < sizeof line; i++)
		len += (size_t)snprintf(line + len, sizeof line - len, "%s%s",
		    i > 0 ? " " : "", words[i]);
	tale_typed(t, line);
}

int
player_run(struct tale *t, const struct stage *s, enum lab_net net,
    const char *const words[], struct player_output *out)
{
	int ends[2];
	pid_t pid;

	if (t != NULL)
		tell_typed(t, words);
	if (pipe2(ends, O_CLOEXEC) < 0) {
		log_error("pipe: %s", strerror(errno));
		return -1;
	}
	pid = spawn(s, net, words, ends[1]);
	close(ends[1]);
	if (pid > 0) {
		drain(ends[0], out);
		out->status = reap(pid);
	}
	close(ends[0]);
	return pid > 0 ? 0 : -1;
}

void
player_init(
    struct player *p, const struct stage *s, const char *name, bool watched)
{
	memset(p, 0, sizeof *p);
	p->stage = s;
	p->name = name;
	p->watched = watched;
}

static void
file_name(char path[static PATH_MAX], const struct player *p, const char *kind)
{
	char name[64];

	snprintf(name, sizeof name, "%s.%s", p->name, kind);
	stage_path(path, p->stage, name);
}

/* The calls of a start before are over. */
static size_t
watch(struct player *p, const char *words[static STRACE_ARGS],
    char path[static PATH_MAX])
{
	strace_end(&p->strace);
	if (!p->watched)
		return 0;
	file_name(path, p, "calls");
	(void)unlink(path);
	strace_arguments(words, "strace", path);
	return STRACE_ARGS;
}

int
player_start(struct player *p, struct tale *t, const char *const words[])
{
	const char *all[STRACE_ARGS + PLAYER_ARGS + 1];
	char log[PATH_MAX], calls[PATH_MAX];
	size_t n = watch(p, all, calls);
	int output;

	file_name(log, p, "log");
	tell_typed(t, words);
	for (size_t i = 0; words[i] != NULL && i < PLAYER_ARGS; i++)
		all[n++] = words[i];
	all[n] = NULL;
	output = open(
	    log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (output < 0) {
		log_error("%s: %s", log, strerror(errno));
		return -1;
	}
	p->pid = spawn(p->stage, LAB_SERVER, all, output);
	close(output);
	if (p->pid < 0)
		p->pid = 0;
	if (p->watched)
		strace_begin(&p->strace, calls, p->pid);
	return p->pid > 0 ? 0 : -1;
}

static bool
has_ended(struct player *p)
{
	int status;

	if (p->pid == 0)
		return true;
	if (waitpid(p->pid, &status, WNOHANG) == 0)
		return false;
	p->pid = 0;
	p->status = meaning(status);
	return true;
}

static bool
has_times(const char *text, const char *words, size_t times)
{
	while (times > 0 && (text = strstr(text, words)) != NULL) {
		text += strlen(words);
		times--;
	}
	return times == 0;
}

bool
player_says(struct player *p, const char *words, size_t times)
{
	uint64_t end = clock_monotonic_ms() + PLAYER_PATIENCE_MS;
	bool ended;

	do {
		ended = has_ended(p); /* before the look: its last words */
		if (has_times(player_log(p), words, times))
			return !ended;
		pause_ms(TURN_MS);
	} while (!ended && !tale_interrupted() && clock_monotonic_ms() < end);
	return false;
}

int
player_wait(struct player *p)
{
	if (p->pid != 0)
		p->status = reap(p->pid);
	p->pid = 0;
	return p->status;
}

int
player_stop(struct player *p)
{
	if (p->pid != 0)
		(void)kill(p->pid, SIGTERM);
	return player_wait(p);
}

const char *
player_log(struct player *p)
{
	char path[PATH_MAX];
	ssize_t n = 0;
	int fd;

	file_name(path, p, "log");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, p->text, sizeof p->text - 1);
		close(fd);
	}
	p->text[n > 0 ? n : 0] = '\0';
	return p->text;
}

size_t
player_quote(struct player *p, struct tale *t, const char *words)
{
	return tale_quoted(t, player_log(p), words);
}

void
player_calls(struct player *p, struct tale *t)
{
	struct call c;

	while (strace_next(&p->strace, &c))
		tale_call(t, p->name, &c);
}
