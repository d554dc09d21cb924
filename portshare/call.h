/*
 * System calls on sockets as strace(1) writes them, one a line, read back and
 * laid out for people: addresses as `0.0.0.0:2002`, no lengths, no pointers.
 */
#ifndef PORTSHARE_CALL_H
#define PORTSHARE_CALL_H

#include <stdbool.h>
#include <stddef.h>

#define CALL_NAME_LEN 16
#define CALL_ARGUMENTS_LEN 256
#define CALL_RESULT_LEN 32
#define CALL_TEXT_LEN (CALL_NAME_LEN + CALL_ARGUMENTS_LEN + CALL_RESULT_LEN + 8)

/* What a socket's life is made of, as `strace -e trace=` wants it. */
#define CALL_TRACED "socket,setsockopt,bind,listen,accept,accept4,connect"

struct call {
	int tid;
	int fd; /* the socket that it is about; of socket(): the new one */
	int value; /* what it returned, -1: an error */
	bool internet; /* of socket(): AF_INET or AF_INET6 */
	char name[CALL_NAME_LEN];
	char arguments[CALL_ARGUMENTS_LEN];
	char result[CALL_RESULT_LEN]; /* a number, or an error's name */
};

/*
 * A line without its end, of `len` bytes. false: not a whole one of these
 * calls (a signal, an exit).
 */
bool call_parse(struct call *c, const char *line, size_t len);

/* "bind(4, 0.0.0.0:2002) = 0": returns buf. */
char *call_format(char buf[static CALL_TEXT_LEN], const struct call *c);

/*
 * Where threads come between each other a call has two lines, `<unfinished
 * ...>` and `<... resumed>`. Takes a line, returns the line that is whole now
 * (its own, or one put together here), NULL: it waits for its other half.
 */
#define CALL_LINE_LEN 512
#define CALL_HALVES 8 /* threads that may be within a call */
struct call_halves {
	size_t n;
	char waiting[CALL_HALVES][CALL_LINE_LEN];
	char whole[CALL_LINE_LEN];
};
const char *call_join(struct call_halves *h, const char *line);

#endif
