/*
 * Spectrum's status codes, and two of our own: how a session or a flow ended.
 * One row a cause.
 */
#ifndef PROXY_STATUS_H
#define PROXY_STATUS_H

enum status {
	STATUS_OPEN = 0,
	STATUS_CLOSED = 200,
	STATUS_HEADER_BAD = 400, /* ours: no PROXY header where one is due */
	STATUS_FIREWALL = 403,
	STATUS_HEADER_LATE = 408, /* ours: and it did not come in time */
	STATUS_ORIGIN_RESET = 444, /* ECONNRESET while open */
	STATUS_ORIGIN_TIMEDOUT = 445, /* ETIMEDOUT while open */
	STATUS_ORIGIN_UNREACHABLE = 446, /* EHOSTUNREACH, ENETUNREACH */
	STATUS_ORIGIN_REFUSED = 447, /* ECONNREFUSED while open (UDP) */
	STATUS_ORIGIN_PIPE = 448, /* EPIPE */
	STATUS_CLIENT_REFUSED = 495,
	STATUS_CLIENT_UNREACHABLE = 496,
	STATUS_CLIENT_TIMEDOUT = 497,
	STATUS_CLIENT_PIPE = 498,
	STATUS_CLIENT_RESET = 499,
	STATUS_UNAVAILABLE = 503, /* our own lack: fds, limits, drain */
	STATUS_CONNECT_FAILED = 520, /* any other errno while connecting */
	STATUS_CONNECT_REFUSED = 521,
	STATUS_CONNECT_TIMEDOUT = 522,
	STATUS_CONNECT_UNREACHABLE = 523,
	STATUS_CONNECT_INTERNAL = 524, /* of this host: fds, ports, memory */
	STATUS_RESOLVE_FAILED = 530,
	STATUS_RESOLVE_EMPTY = 531,
	STATUS_ORIGIN_BLOCKED = 532,
	STATUS_RESOLVE_TIMEDOUT = 533,
};

enum status_side {
	STATUS_SIDE_CLIENT = 0,
	STATUS_SIDE_ORIGIN,
	STATUS_SIDE_CONNECT
};

/* The code for `error` (errno; 0: orderly close) seen on `side`. */
enum status status_from_errno(enum status_side side, int error);

/*
 * For a connect(2) that failed at once: what this host lacks (descriptors,
 * ports, memory) is 503 and not the origin's fault; the rest as above.
 */
enum status status_from_connect(int error);

/*
 * For origins_begin() that gave none: the errno of it. `last` is how the last
 * one that was tried failed.
 */
enum status status_without_origin(int error, enum status last);

const char *status_str(enum status status); /* plain words */

/* Its place among all of them, 0 to STATUS_KINDS - 1; and back. */
#define STATUS_KINDS 25
unsigned int status_index(enum status status);
enum status status_at(unsigned int index);

#endif
