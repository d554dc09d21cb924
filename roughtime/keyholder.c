#include "roughtime/keyholder.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/priv.h"
#include "roughtime/keyholder_child.h"

#define ANSWER_MS 5000
#define LOAD_MS 20000
#define STOP_MS 2000
/* After a question without an answer all others fail at once, for so long or
 * until it answers: whoever asks for many keys waits once. */
#define HANGS_MS 10000

struct keyholder {
	int fd;
	pid_t pid;
	uint32_t sequence;
	bool serving; /* it was ready once */
	bool dead;
	uint64_t hangs_until_ms;
	struct keyholder_ask ask;
	struct keyholder_answer answer;
};

static void
say_dead(struct keyholder *h)
{
	if (h->serving && !h->dead)
		log_error("keyholder: the process has ended; no delegation can "
			  "be renewed, and time is served only until the "
			  "present ones end: restart the service");
	h->dead = true;
}

/* Waits for one message until `end_ms`. 1: here it is, 0: none, -1: dead. */
static int
receive(struct keyholder *h, uint64_t end_ms)
{
	struct pollfd p = { .fd = h->fd, .events = POLLIN };
	uint64_t now = clock_monotonic_ms();
	ssize_t n;

	if (now >= end_ms)
		return 0;
	if (poll(&p, 1, (int)(end_ms - now)) <= 0)
		return 0; /* EINTR too: the caller looks at the time */
	n = recv(h->fd, &h->answer, sizeof h->answer, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n == (ssize_t)sizeof h->answer ? 1 : -1;
}

/* The answer to question `sequence`; one that came too late for an earlier
 * question is passed over. */
static int
await(struct keyholder *h, uint32_t sequence, unsigned int timeout_ms,
    char *why, size_t len)
{
	uint64_t end_ms = clock_monotonic_ms() + timeout_ms;
	int r;

	do {
		r = receive(h, end_ms);
		if (r == 1 && h->answer.sequence == sequence)
			break;
	} while (r >= 0 && clock_monotonic_ms() < end_ms);
	if (r == 1 && h->answer.sequence == sequence && h->answer.failed == 0)
		return 0;
	if (r < 0) {
		say_dead(h);
		snprintf(why, len, "the keyholder has ended");
	} else if (r == 1 && h->answer.sequence == sequence) {
		h->answer.why[sizeof h->answer.why - 1] = '\0';
		snprintf(why, len, "%s", h->answer.why);
	} else {
		h->hangs_until_ms = clock_monotonic_ms() + HANGS_MS;
		snprintf(why, len, "the keyholder gave no answer within %u s",
		    timeout_ms / 1000);
	}
	return -1;
}

static int
transact(struct keyholder *h, unsigned int timeout_ms, char *why, size_t len)
{
	if (clock_monotonic_ms() < h->hangs_until_ms) {
		snprintf(why, len, "the keyholder has just given no answer");
		return -1;
	}
	h->ask.sequence = ++h->sequence;
	if (send(h->fd, &h->ask, sizeof h->ask, MSG_NOSIGNAL | MSG_DONTWAIT) !=
	    (ssize_t)sizeof h->ask) {
		if (errno != EAGAIN)
			say_dead(h);
		snprintf(why, len, "the keyholder %s",
		    errno == EAGAIN ? "does not listen" : "has ended");
		return -1;
	}
	return await(h, h->sequence, timeout_ms, why, len);
}

static void
question(struct keyholder *h, enum keyholder_verb verb, unsigned int slot)
{
	memset(&h->ask, 0, sizeof h->ask);
	h->ask.verb = verb;
	h->ask.slot = slot;
}

int
keyholder_load(struct keyholder *h, unsigned int slot, const char *path,
    uint8_t public_key[static CERT_PUBLIC_LEN], char *why, size_t len)
{
	question(h, KEYHOLDER_LOAD, slot);
	if (strlen(path) >= sizeof h->ask.path) {
		snprintf(why, len, "a path of more than %zu bytes",
		    sizeof h->ask.path - 1);
		return -1;
	}
	memcpy(h->ask.path, path, strlen(path) + 1);
	if (transact(h, LOAD_MS, why, len) != 0)
		return -1;
	memcpy(public_key, h->answer.public_key, CERT_PUBLIC_LEN);
	return 0;
}

int
keyholder_forget(struct keyholder *h, unsigned int slot, char *why, size_t len)
{
	question(h, KEYHOLDER_FORGET, slot);
	return transact(h, ANSWER_MS, why, len);
}

int
keyholder_delegate(struct keyholder *h, unsigned int slot,
    const uint8_t online_public[static CERT_PUBLIC_LEN], uint64_t mint_s,
    uint64_t maxt_s, struct delegation *out, char *why, size_t len)
{
	question(h, KEYHOLDER_DELEGATE, slot);
	h->ask.mint_s = mint_s;
	h->ask.maxt_s = maxt_s;
	memcpy(h->ask.online_public, online_public, CERT_PUBLIC_LEN);
	if (transact(h, ANSWER_MS, why, len) != 0)
		return -1;
	*out = h->answer.delegation;
	return 0;
}

static void
child(int fd, pid_t parent, const struct keyholder_config *c)
{
	/* the server may have died before the death signal was asked for */
	if (priv_child() != 0 || getppid() != parent)
		_exit(1);
	_exit(keyholder_serve(fd, c));
}

struct keyholder *
keyholder_start(const struct keyholder_config *c)
{
	struct keyholder *h = calloc(1, sizeof *h);
	char why[FILE_WHY_LEN];
	pid_t parent = getpid();
	int pair[2];

	if (h == NULL ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		log_error("keyholder: %s", strerror(errno));
		free(h);
		return NULL;
	}
	h->fd = pair[0];
	h->pid = fork();
	if (h->pid == 0)
		child(pair[1], parent, c);
	close(pair[1]);
	if (h->pid < 0) {
		log_error("keyholder: fork: %s", strerror(errno));
		close(h->fd);
		free(h);
		return NULL;
	}
	if (await(h, 0, ANSWER_MS, why, sizeof why) != 0) {
		log_error("keyholder: did not start: %s", why);
		keyholder_stop(h);
		return NULL;
	}
	h->serving = true;
	return h;
}

/* True when it is gone, by our waiting or somebody else's. */
static bool
reaped(pid_t pid)
{
	pid_t r = waitpid(pid, NULL, WNOHANG);

	return r == pid || (r < 0 && errno == ECHILD);
}

void
keyholder_stop(struct keyholder *h)
{
	uint64_t end_ms = clock_monotonic_ms() + STOP_MS;

	if (h == NULL)
		return;
	close(h->fd);
	while (!reaped(h->pid)) {
		if (clock_monotonic_ms() < end_ms) {
			poll(NULL, 0, 5);
			continue;
		}
		kill(h->pid, SIGKILL);
		waitpid(h->pid, NULL, 0);
		break;
	}
	free(h);
}

bool
keyholder_ended(struct keyholder *h)
{
	ssize_t n = recv(h->fd, &h->answer, sizeof h->answer, MSG_DONTWAIT);

	if (n > 0)
		h->hangs_until_ms = 0;
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

int
keyholder_fd(const struct keyholder *h)
{
	return h->fd;
}
