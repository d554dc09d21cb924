#include "keys/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static int
fail(char why[static FILE_WHY_LEN], const char *who, const char *what)
{
	snprintf(why, FILE_WHY_LEN, "%s: %s", who, what);
	return -1;
}

/* The length of the first line. */
static size_t
line_len(const char *buf, size_t len)
{
	const char *end = memchr(buf, '\n', len);
	size_t n = end == NULL ? len : (size_t)(end - buf);

	return n > 0 && buf[n - 1] == '\r' ? n - 1 : n;
}

int
passphrase_from_file(
    const char *path, char *buf, size_t *len, char why[static FILE_WHY_LEN])
{
	if (file_read_secret(path, (uint8_t *)buf, PASSPHRASE_MAX, len, why) !=
	    0)
		return -1;
	*len = line_len(buf, *len);
	if (*len == 0)
		return fail(why, path, "the passphrase is empty");
	return 0;
}

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
	interrupted = number;
}

/*
 * Signals that would leave the terminal without echo. They are blocked but
 * for the wait in ppoll(2), so that none is lost between two looks.
 */
#define CAUGHT 3
static const int caught[CAUGHT] = { SIGINT, SIGTERM, SIGHUP };

struct signals {
	struct sigaction actions[CAUGHT];
	sigset_t mask;
};

static void
catch_signals(struct signals *old)
{
	struct sigaction act = { .sa_handler = on_signal };
	sigset_t block;

	interrupted = 0;
	sigemptyset(&block);
	for (size_t i = 0; i < CAUGHT; i++)
		sigaddset(&block, caught[i]);
	sigprocmask(SIG_BLOCK, &block, &old->mask);
	for (size_t i = 0; i < CAUGHT; i++)
		sigaction(caught[i], &act, &old->actions[i]);
}

static void
release_signals(const struct signals *old)
{
	for (size_t i = 0; i < CAUGHT; i++)
		sigaction(caught[i], &old->actions[i], NULL);
	sigprocmask(SIG_SETMASK, &old->mask, NULL);
}

struct terminal {
	int fd;
	struct termios modes; /* as they were */
	struct signals signals;
};

/* Waits for a line; false when a signal or an error came first. */
static bool
wait_line(const struct terminal *t)
{
	struct pollfd p = { .fd = t->fd, .events = POLLIN };
	int n;

	do
		n = ppoll(&p, 1, NULL, &t->signals.mask);
	while (n < 0 && errno == EINTR && !interrupted);
	return n > 0 && !interrupted;
}

static int
read_line(const struct terminal *t, const char *question, char *buf,
    size_t *len, char why[static FILE_WHY_LEN])
{
	ssize_t n;

	if (write(t->fd, question, strlen(question)) < 0)
		return fail(why, "terminal", strerror(errno));
	if (!wait_line(t))
		return fail(why, "passphrase", "interrupted");
	/* a terminal gives one line at a time */
	n = read(t->fd, buf, PASSPHRASE_MAX);
	if (n < 0 || write(t->fd, "\n", 1) < 0)
		return fail(why, "terminal", strerror(errno));
	*len = line_len(buf, (size_t)n);
	if (*len == 0)
		return fail(why, "terminal", "the passphrase is empty");
	if (*len == PASSPHRASE_MAX)
		return fail(why, "terminal", "the passphrase is too long");
	return 0;
}

static int
ask(const struct terminal *t, const char *question, char *buf, char *again,
    size_t *len, char why[static FILE_WHY_LEN])
{
	size_t again_len;

	if (read_line(t, question, buf, len, why) != 0)
		return -1;
	if (again == NULL)
		return 0;
	if (read_line(t, "Once more: ", again, &again_len, why) != 0)
		return -1;
	if (*len != again_len || memcmp(buf, again, *len) != 0)
		return fail(why, "terminal", "the passphrases differ");
	return 0;
}

int
passphrase_ask(const char *question, char *buf, char *again, size_t *len,
    char why[static FILE_WHY_LEN])
{
	struct terminal t = { .fd = open(
				  "/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC) };
	struct termios silent;
	int rc;

	if (t.fd < 0)
		return fail(why, "passphrase",
		    "no terminal to ask on; use --passphrase-file");
	if (tcgetattr(t.fd, &t.modes) != 0) {
		fail(why, "terminal", strerror(errno));
		close(t.fd);
		return -1;
	}
	silent = t.modes;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	catch_signals(&t.signals);
	tcsetattr(t.fd, TCSAFLUSH, &silent);
	rc = ask(&t, question, buf, again, len, why);
	tcsetattr(t.fd, TCSAFLUSH, &t.modes);
	release_signals(&t.signals);
	close(t.fd);
	return rc;
}
