#include "keys/passphrase.h"

#include <errno.h>
#include <fcntl.h>
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

/* Without SA_RESTART, so that a signal ends read(2). */
static void
catch_signals(struct sigaction old[static 3], bool on)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction act = { .sa_handler = on_signal };

	for (size_t i = 0; i < 3; i++) {
		if (on)
			sigaction(numbers[i], &act, &old[i]);
		else
			sigaction(numbers[i], &old[i], NULL);
	}
}

static int
read_line(int tty, const char *question, char *buf, size_t *len,
    char why[static FILE_WHY_LEN])
{
	ssize_t n;

	if (write(tty, question, strlen(question)) < 0)
		return fail(why, "terminal", strerror(errno));
	/* a terminal gives one line at a time */
	n = read(tty, buf, PASSPHRASE_MAX);
	if (interrupted)
		return fail(why, "passphrase", "interrupted");
	if (n < 0)
		return fail(why, "terminal", strerror(errno));
	if (write(tty, "\n", 1) < 0)
		return fail(why, "terminal", strerror(errno));
	*len = line_len(buf, (size_t)n);
	if (*len == 0)
		return fail(why, "terminal", "the passphrase is empty");
	if (*len == PASSPHRASE_MAX)
		return fail(why, "terminal", "the passphrase is too long");
	return 0;
}

static int
ask(int tty, const char *question, char *buf, char *again, size_t *len,
    char why[static FILE_WHY_LEN])
{
	size_t again_len;

	if (read_line(tty, question, buf, len, why) != 0)
		return -1;
	if (again == NULL)
		return 0;
	if (read_line(tty, "Once more: ", again, &again_len, why) != 0)
		return -1;
	if (*len != again_len || memcmp(buf, again, *len) != 0)
		return fail(why, "terminal", "the passphrases differ");
	return 0;
}

int
passphrase_ask(const char *question, char *buf, char *again, size_t *len,
    char why[static FILE_WHY_LEN])
{
	struct sigaction old_signals[3];
	struct termios old, silent;
	int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	int rc;

	if (tty < 0)
		return fail(why, "passphrase",
		    "no terminal to ask on; use --passphrase-file");
	if (tcgetattr(tty, &old) != 0) {
		fail(why, "terminal", strerror(errno));
		close(tty);
		return -1;
	}
	silent = old;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	catch_signals(old_signals, true);
	tcsetattr(tty, TCSAFLUSH, &silent);
	rc = ask(tty, question, buf, again, len, why);
	tcsetattr(tty, TCSAFLUSH, &old);
	catch_signals(old_signals, false);
	close(tty);
	return rc;
}
