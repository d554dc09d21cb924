#include "proxy/status.h"

#include <errno.h>
#include <stddef.h>

/*
 * Spectrum's documented meanings. Where Linux has several errno values for
 * one of its rows, they share the row.
 */
static const struct {
	enum status_side side;
	int error;
	enum status status;
} rows[] = {
	{ STATUS_SIDE_CLIENT, ECONNREFUSED, STATUS_CLIENT_REFUSED },
	{ STATUS_SIDE_CLIENT, EHOSTUNREACH, STATUS_CLIENT_UNREACHABLE },
	{ STATUS_SIDE_CLIENT, ENETUNREACH, STATUS_CLIENT_UNREACHABLE },
	{ STATUS_SIDE_CLIENT, EHOSTDOWN, STATUS_CLIENT_UNREACHABLE },
	{ STATUS_SIDE_CLIENT, ENETDOWN, STATUS_CLIENT_UNREACHABLE },
	{ STATUS_SIDE_CLIENT, ETIMEDOUT, STATUS_CLIENT_TIMEDOUT },
	{ STATUS_SIDE_CLIENT, EPIPE, STATUS_CLIENT_PIPE },
	{ STATUS_SIDE_CLIENT, ECONNRESET, STATUS_CLIENT_RESET },
	{ STATUS_SIDE_CLIENT, ECONNABORTED, STATUS_CLIENT_RESET },

	{ STATUS_SIDE_ORIGIN, ECONNRESET, STATUS_ORIGIN_RESET },
	{ STATUS_SIDE_ORIGIN, ECONNABORTED, STATUS_ORIGIN_RESET },
	{ STATUS_SIDE_ORIGIN, ETIMEDOUT, STATUS_ORIGIN_TIMEDOUT },
	{ STATUS_SIDE_ORIGIN, EHOSTUNREACH, STATUS_ORIGIN_UNREACHABLE },
	{ STATUS_SIDE_ORIGIN, ENETUNREACH, STATUS_ORIGIN_UNREACHABLE },
	{ STATUS_SIDE_ORIGIN, EHOSTDOWN, STATUS_ORIGIN_UNREACHABLE },
	{ STATUS_SIDE_ORIGIN, ENETDOWN, STATUS_ORIGIN_UNREACHABLE },
	{ STATUS_SIDE_ORIGIN, ECONNREFUSED, STATUS_ORIGIN_REFUSED },
	{ STATUS_SIDE_ORIGIN, EPIPE, STATUS_ORIGIN_PIPE },

	{ STATUS_SIDE_CONNECT, ECONNREFUSED, STATUS_CONNECT_REFUSED },
	{ STATUS_SIDE_CONNECT, ETIMEDOUT, STATUS_CONNECT_TIMEDOUT },
	{ STATUS_SIDE_CONNECT, ENETUNREACH, STATUS_CONNECT_UNREACHABLE },
	{ STATUS_SIDE_CONNECT, EHOSTUNREACH, STATUS_CONNECT_UNREACHABLE },
	{ STATUS_SIDE_CONNECT, EHOSTDOWN, STATUS_CONNECT_UNREACHABLE },
	{ STATUS_SIDE_CONNECT, ENETDOWN, STATUS_CONNECT_UNREACHABLE },
	/* what this host lacks, or does not allow */
	{ STATUS_SIDE_CONNECT, EADDRNOTAVAIL, STATUS_CONNECT_INTERNAL },
	{ STATUS_SIDE_CONNECT, EADDRINUSE, STATUS_CONNECT_INTERNAL },
	{ STATUS_SIDE_CONNECT, EMFILE, STATUS_CONNECT_INTERNAL },
	{ STATUS_SIDE_CONNECT, ENFILE, STATUS_CONNECT_INTERNAL },
	{ STATUS_SIDE_CONNECT, ENOBUFS, STATUS_CONNECT_INTERNAL },
	{ STATUS_SIDE_CONNECT, ENOMEM, STATUS_CONNECT_INTERNAL },
	{ STATUS_SIDE_CONNECT, EACCES, STATUS_CONNECT_INTERNAL },
	{ STATUS_SIDE_CONNECT, EPERM, STATUS_CONNECT_INTERNAL },
	{ STATUS_SIDE_CONNECT, EAFNOSUPPORT, STATUS_CONNECT_INTERNAL },
};

/*
 * Spectrum has no row for any other errno of an open connection: whoever it
 * came from, the connection is gone, which is what a reset says.
 */
static enum status
other(enum status_side side)
{
	switch (side) {
	case STATUS_SIDE_CLIENT:
		return STATUS_CLIENT_RESET;
	case STATUS_SIDE_ORIGIN:
		return STATUS_ORIGIN_RESET;
	case STATUS_SIDE_CONNECT:
		break;
	}
	return STATUS_CONNECT_FAILED;
}

enum status
status_from_errno(enum status_side side, int error)
{
	if (error == 0)
		return side == STATUS_SIDE_CONNECT ? STATUS_OPEN
						   : STATUS_CLOSED;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (rows[i].side == side && rows[i].error == error)
			return rows[i].status;
	}
	return other(side);
}

enum status
status_from_connect(int error)
{
	switch (error) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case EAGAIN: /* no local port is left */
	case EADDRNOTAVAIL:
		return STATUS_UNAVAILABLE;
	default:
		return status_from_errno(STATUS_SIDE_CONNECT, error);
	}
}

static const enum status kinds[STATUS_KINDS] = {
	STATUS_OPEN,
	STATUS_CLOSED,
	STATUS_HEADER_BAD,
	STATUS_FIREWALL,
	STATUS_HEADER_LATE,
	STATUS_ORIGIN_RESET,
	STATUS_ORIGIN_TIMEDOUT,
	STATUS_ORIGIN_UNREACHABLE,
	STATUS_ORIGIN_REFUSED,
	STATUS_ORIGIN_PIPE,
	STATUS_CLIENT_REFUSED,
	STATUS_CLIENT_UNREACHABLE,
	STATUS_CLIENT_TIMEDOUT,
	STATUS_CLIENT_PIPE,
	STATUS_CLIENT_RESET,
	STATUS_UNAVAILABLE,
	STATUS_CONNECT_FAILED,
	STATUS_CONNECT_REFUSED,
	STATUS_CONNECT_TIMEDOUT,
	STATUS_CONNECT_UNREACHABLE,
	STATUS_CONNECT_INTERNAL,
	STATUS_RESOLVE_FAILED,
	STATUS_RESOLVE_EMPTY,
	STATUS_ORIGIN_BLOCKED,
	STATUS_RESOLVE_TIMEDOUT,
};

unsigned int
status_index(enum status status)
{
	unsigned int i = 0;

	while (i < STATUS_KINDS - 1 && kinds[i] != status)
		i++;
	return i;
}

enum status
status_at(unsigned int index)
{
	return kinds[index < STATUS_KINDS ? index : 0];
}

enum status
status_without_origin(int error, enum status last)
{
	switch (error) {
	case ENOENT:
		return STATUS_RESOLVE_EMPTY;
	case EHOSTDOWN:
		return STATUS_UNAVAILABLE;
	default:
		return last;
	}
}

const char *
status_str(enum status status)
{
	switch (status) {
	case STATUS_OPEN:
		return "open";
	case STATUS_CLOSED:
		return "closed";
	case STATUS_HEADER_BAD:
		return "no good PROXY header from a peer that sends them";
	case STATUS_HEADER_LATE:
		return "no PROXY header in time from a peer that sends them";
	case STATUS_FIREWALL:
		return "the client's address is not allowed";
	case STATUS_ORIGIN_RESET:
		return "reset by the origin";
	case STATUS_ORIGIN_TIMEDOUT:
		return "the origin stopped answering";
	case STATUS_ORIGIN_UNREACHABLE:
		return "the origin became unreachable";
	case STATUS_ORIGIN_REFUSED:
		return "the origin's port is closed";
	case STATUS_ORIGIN_PIPE:
		return "the origin reads no more";
	case STATUS_CLIENT_REFUSED:
		return "the client's port is closed";
	case STATUS_CLIENT_UNREACHABLE:
		return "the client became unreachable";
	case STATUS_CLIENT_TIMEDOUT:
		return "the client stopped answering";
	case STATUS_CLIENT_PIPE:
		return "the client reads no more";
	case STATUS_CLIENT_RESET:
		return "reset by the client";
	case STATUS_UNAVAILABLE:
		return "a limit of the proxy is reached, or no origin is up";
	case STATUS_CONNECT_FAILED:
		return "connecting to the origin failed";
	case STATUS_CONNECT_REFUSED:
		return "the origin refused the connection";
	case STATUS_CONNECT_TIMEDOUT:
		return "connecting to the origin took too long";
	case STATUS_CONNECT_UNREACHABLE:
		return "the origin is unreachable";
	case STATUS_CONNECT_INTERNAL:
		return "this host could not open a connection";
	case STATUS_RESOLVE_FAILED:
		return "resolving the origin's name failed";
	case STATUS_RESOLVE_EMPTY:
		return "the origin's name has no address";
	case STATUS_ORIGIN_BLOCKED:
		return "the origin's address is not allowed";
	case STATUS_RESOLVE_TIMEDOUT:
		return "resolving the origin's name took too long";
	}
	return "unknown";
}
