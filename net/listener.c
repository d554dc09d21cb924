#include "net/listener.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "net/portlook.h"

const char *
listener_proto_str(enum sock_proto proto)
{
	return proto == SOCK_UDP ? "udp" : "tcp";
}

static bool
is_link_local(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 &&
	    IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr);
}

/* What to do about it, or NULL. */
static const char *
hint(int error, const struct addr *a)
{
	switch (error) {
	case EACCES:
		return "ports under 1024 need root or CAP_NET_BIND_SERVICE, "
		       "which a daemon gives up after its start: a reload "
		       "that wants one takes a restart";
	case EMFILE:
		return "one file a port and worker is open: raise the limit "
		       "of open files (ulimit -Hn, LimitNOFILE=), or have "
		       "fewer ports or workers";
	case EADDRNOTAVAIL:
		return "this host has no such address now: see `ip address`";
	case EAFNOSUPPORT:
		return "this kernel runs without this family of addresses";
	case EINVAL:
		return is_link_local(a)
		    ? "a link-local address needs its interface, as in "
		      "fe80::1%eth0"
		    : NULL;
	default:
		return NULL;
	}
}

void
listener_explain(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, enum sock_step step)
{
	char name[ADDR_STR_LEN], line[768];
	int error = errno;
	const char *more = hint(error, a);

	addr_format(name, a);
	log_error("cannot %s %s %s: %s", sock_step_str(step),
	    listener_proto_str(proto), name, strerror(error));
	if (error == EADDRINUSE)
		log_error(
		    "%s", incumbent_explain(line, sizeof line, proto, a, o));
	if (more != NULL)
		log_error("%s", more);
	errno = error;
}

static int
open_one(enum sock_proto proto, const struct addr *a, const struct sock_opts *o)
{
	enum sock_step step;
	int fd = sock_open(proto, a, o, &step);

	if (fd < 0)
		listener_explain(proto, a, o, step);
	return fd;
}

/*
 * A group of SO_REUSEPORT sockets lets another process of the same user in
 * without a word, and takes half of its packets. Unless that is asked for, as
 * by sharing.mode: reuseport, the first of a group is therefore
 * bound by itself and becomes one of a group only then: of two starts, even
 * at the same moment, one finds the port in use.
 */
int
listener_attempt(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, size_t queues, int *fds, enum sock_step *step)
{
	struct addr at = *a;
	struct sock_opts each = *o;

	for (size_t i = 0; i < queues; i++) {
		each.reuseport_late = !o->reuseport && i == 0 && queues > 1;
		each.reuseport = o->reuseport || i > 0;
		fds[i] = sock_open(proto, &at, &each, step);
		if (fds[i] < 0) {
			listener_close(fds, i);
			return -1;
		}
		if (addr_port(a) == 0) /* of the kernel's choice */
			(void)sock_local(fds[i], &at);
	}
	return 0;
}

int
listener_open(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, size_t queues, int *fds)
{
	enum sock_step step;

	if (listener_attempt(proto, a, o, queues, fds, &step) == 0)
		return 0;
	listener_explain(proto, a, o, step);
	return -1;
}

/* As it would be bound if it shared the port with nobody. */
static struct sock_opts
alone(enum sock_proto proto, const struct sock_opts *o)
{
	struct sock_opts opts = *o;

	opts.reuseport = false;
	opts.reuseaddr = o->reuseaddr && proto == SOCK_TCP; /* TIME_WAIT */
	return opts;
}

static bool
could_share(
    enum sock_proto proto, const struct addr *a, const struct sock_opts *o)
{
	struct portrules_socket newcomer;
	struct portlook look;
	bool could = false;
	int saved = errno;

	portlook_newcomer(&newcomer, proto, a, o);
	if (portlook_scan(&look, proto, addr_port(a)) == 0)
		could = portlook_add(&look, &newcomer) != PORTRULES_NOBODY;
	portlook_free(&look);
	errno = saved;
	return could;
}

/* On a port of the kernel's choice. */
static int
open_elsewhere(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, size_t queues, int *fds)
{
	struct addr elsewhere = *a;

	addr_set_port(&elsewhere, 0);
	return listener_open(proto, &elsewhere, o, queues, fds);
}

int
listener_rehearse(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, size_t queues, int *fds)
{
	const struct sock_opts by_itself = alone(proto, o);
	enum sock_step step;
	int fd;

	if (by_itself.reuseport == o->reuseport &&
	    by_itself.reuseaddr == o->reuseaddr)
		return listener_open(proto, a, o, queues, fds);
	fd = sock_open(proto, a, &by_itself, &step);
	if (fd >= 0) {
		close(fd);
	} else if (errno != EADDRINUSE || !could_share(proto, a, o)) {
		listener_explain(proto, a, o, step);
		return -1;
	}
	return open_elsewhere(proto, a, &by_itself, queues, fds);
}

bool
listener_is_incumbents(const struct listener_source *from,
    enum sock_proto proto, const struct addr *a, const struct sock_opts *o)
{
	const struct sock_opts by_itself = alone(proto, o);
	enum sock_step step;
	int fd;

	if (from->incumbent == NULL)
		return false;
	fd = sock_open(proto, a, &by_itself, &step);
	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == EADDRINUSE &&
	    incumbent_makes_way(from->incumbent, proto, a, &by_itself);
}

int
listener_try(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, int *fd)
{
	*fd = open_one(proto, a, o);
	return *fd >= 0 ? 0 : -1;
}

void
listener_close(const int *fds, size_t queues)
{
	int saved = errno;

	for (size_t i = 0; i < queues; i++)
		close(fds[i]);
	errno = saved;
}

int
listener_begin(struct listener_source *from, enum sharing_mode mode)
{
	if (mode != SHARING_ACTIVATION) {
		activation_ignore();
		return 0;
	}
	from->activation = activation_open();
	return from->activation != NULL ? 0 : -1;
}

int
listener_settle(const struct listener_source *from)
{
	return from->activation == NULL || activation_settle(from->activation)
	    ? 0
	    : -1;
}

void
listener_end(struct listener_source *from)
{
	activation_free(from->activation);
	from->activation = NULL;
	demux_free(from->demux);
	from->demux = NULL;
	guard_close(from->guard);
	from->guard = NULL;
	incumbent_free(from->incumbent);
	from->incumbent = NULL;
}

static int
obtain(const struct listener_source *from, enum sock_proto proto,
    const struct addr *a, const struct sock_opts *o, size_t queues, int *fds)
{
	if (from->demux != NULL && proto == SOCK_UDP)
		return demux_listen(from->demux, a, o, queues, fds);
	if (from->guard != NULL && from->demux == NULL)
		return guard_listen(from->guard, proto, a, o, queues, fds);
	if (from->rehearse)
		return listener_rehearse(proto, a, o, queues, fds);
	return listener_open(proto, a, o, queues, fds);
}

int
listener_obtain(const struct listener_source *from, enum sock_proto proto,
    const struct addr *a, const struct sock_opts *o, size_t queues, int *fds)
{
	struct sock_opts opts = *o;

	if (from->activation != NULL)
		return activation_claim(
		    from->activation, proto, a, o, queues, fds);
	if (listener_is_incumbents(from, proto, a, o)) {
		opts = alone(proto, o);
		return open_elsewhere(proto, a, &opts, queues, fds);
	}
	opts.beside = from->incumbent;
	return obtain(from, proto, a, &opts, queues, fds);
}

void
listener_leave(
    const struct listener_source *from, const int *fds, size_t queues)
{
	if (from->activation != NULL) {
		activation_give_back(from->activation, fds, queues);
		return;
	}
	if (from->demux != NULL && demux_leave(from->demux, fds, queues))
		return;
	if (from->guard != NULL && queues > 0)
		guard_release(from->guard, fds[0]);
	listener_close(fds, queues);
}

bool
listener_has(const int *fds, size_t n, int fd)
{
	for (size_t i = 0; i < n; i++) {
		if (fds[i] == fd)
			return true;
	}
	return false;
}
