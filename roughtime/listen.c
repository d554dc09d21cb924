#include "roughtime/listen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/listener.h"
#include "net/sharing.h"
#include "net/steer.h"
#include "roughtime/request.h"

/*
 * `::` takes IPv4 along, unless a listener of its own has the port there: the
 * two would collide.
 */
static bool
wants_v6only(const struct settings *s, const struct listen_socket *l)
{
	if (!addr_is_wildcard(&l->address))
		return true;
	for (size_t i = 0; i < s->listen.count; i++) {
		const struct settings_listen *other = settings_listen_at(s, i);

		if (other->address.sa.sa_family == AF_INET &&
		    other->port == addr_port(&l->address) &&
		    (other->transports & 1u << l->proto) != 0)
			return true;
	}
	return false;
}

static struct sock_opts
options(const struct settings *s, const struct listen_socket *l, int sharing)
{
	struct sock_opts o = { .v6only = l->v6only };

	if (l->proto == SOCK_UDP) {
		/* a socket with one address answers from it anyway */
		o.pktinfo = addr_is_wildcard(&l->address);
		o.rcvbuf = (int)s->rcvbuf;
	} else {
		/* old connections in TIME_WAIT must not hold up a restart;
		 * unlike UDP, a listener still keeps everybody else out */
		o.reuseaddr = true;
		/* replies are whole messages: waiting for more only delays */
		o.nodelay = true;
	}
	sharing_options((enum sharing_mode)sharing, l->proto, &o);
	return o;
}

static void
filter(int fd)
{
	if (steer_roughtime_filter(fd, REQUEST_UDP_MIN) != 0)
		log_warning("no packet filter in the kernel, every datagram "
			    "wakes a worker: %s",
		    strerror(errno));
}

static int
open_socket(struct listen_socket *l, const struct listen_set *set,
    const struct settings *s, size_t queues)
{
	struct sock_opts o = options(s, l, set->sharing);

	l->fds = calloc(queues, sizeof *l->fds);
	if (l->fds == NULL) {
		log_error("listen: %s", strerror(errno));
		return -1;
	}
	if (listener_obtain(
		set->source, l->proto, &l->address, &o, queues, l->fds) != 0)
		return -1;
	l->count = queues;
	for (size_t i = 0; l->proto == SOCK_UDP && i < queues; i++)
		filter(l->fds[i]);
	return 0;
}

/* The same socket in the set before a reload, or NULL. */
static struct listen_socket *
find_old(struct listen_set *old, const struct listen_socket *l)
{
	for (size_t i = 0; old != NULL && i < old->count; i++) {
		struct listen_socket *o = &old->sockets[i];

		if (o->proto == l->proto && !o->kept &&
		    addr_equal(&o->address, &l->address))
			return o;
	}
	return NULL;
}

/* A bound socket for IPv6 cannot take IPv4 along later, or give it up, and two
 * of them cannot have the port while one follows the other. */
static int
refuse_v6only(const struct listen_socket *l)
{
	char name[ADDR_STR_LEN];

	addr_format(name, &l->address);
	log_error("%s %s: %s; that takes a restart",
	    listener_proto_str(l->proto), name,
	    l->v6only ? "would have to leave IPv4 to another listener"
		      : "would have to take IPv4 along");
	return -1;
}

static int
take_or_open(struct listen_socket *l, const struct listen_set *set,
    struct listen_set *old, const struct settings *s, size_t queues)
{
	struct listen_socket *o = find_old(old, l);

	l->v6only = wants_v6only(s, l);
	if (o == NULL)
		return open_socket(l, set, s, queues);
	if (l->address.sa.sa_family == AF_INET6 && o->v6only != l->v6only)
		return refuse_v6only(l);
	o->kept = true;
	*l = *o;
	return 0;
}

static int
open_all(struct listen_set *set, struct listen_set *old,
    const struct settings *s, size_t queues)
{
	int result = 0;

	set->count = 0;
	set->sockets = calloc(2 * s->listen.count, sizeof *set->sockets);
	if (set->sockets == NULL) {
		log_error("listen: %s", strerror(errno));
		return -1;
	}
	for (size_t i = 0; i < s->listen.count; i++) {
		const struct settings_listen *from = settings_listen_at(s, i);

		for (enum sock_proto p = SOCK_UDP; p <= SOCK_TCP; p++) {
			struct listen_socket *l = &set->sockets[set->count];

			/* demux: a proxy takes connections, and hands on */
			if ((from->transports & 1u << p) == 0 ||
			    (p == SOCK_TCP && set->sharing == SHARING_DEMUX))
				continue;
			l->proto = p;
			l->address = from->address;
			set->count++;
			if (take_or_open(l, set, old, s, queues) != 0)
				result = -1;
		}
	}
	return result;
}

static size_t
queues_of(int ingress, unsigned int workers)
{
	return ingress == SETTINGS_PARALLEL_QUEUES ? workers : 1;
}

int
listen_open(struct listen_set *set, const struct settings *s,
    unsigned int workers, const struct listener_source *source)
{
	set->sharing = s->sharing.mode;
	set->source = source;
	return open_all(set, NULL, s, queues_of(s->ingress, workers));
}

static void
socket_close(const struct listener_source *source, struct listen_socket *l)
{
	listener_leave(source, l->fds, l->count);
	free(l->fds);
}

/* Takes the sockets out whose `kept` is as given; closes them or not. */
static void
take_out(struct listen_set *set, bool kept, bool closing)
{
	size_t left = 0;

	for (size_t i = 0; i < set->count; i++) {
		if (set->sockets[i].kept != kept)
			set->sockets[left++] = set->sockets[i];
		else if (closing)
			socket_close(set->source, &set->sockets[i]);
	}
	set->count = left;
}

static void
none_kept(struct listen_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		set->sockets[i].kept = false;
}

int
listen_reload(struct listen_set *set, struct listen_set *old,
    const struct settings *s, int ingress, unsigned int workers)
{
	set->sharing = old->sharing;
	set->source = old->source;
	if (open_all(set, old, s, queues_of(ingress, workers)) == 0)
		return 0;
	listen_undo(set, old);
	return -1;
}

void
listen_commit(struct listen_set *set, struct listen_set *old)
{
	take_out(old, true, false);
	none_kept(set);
}

void
listen_undo(struct listen_set *set, struct listen_set *old)
{
	take_out(set, false, true);
	free(set->sockets);
	*set = (struct listen_set){ 0 };
	none_kept(old);
}

void
listen_close(struct listen_set *set)
{
	take_out(set, false, true);
	free(set->sockets);
	*set = (struct listen_set){ 0 };
}

void
listen_log(const struct listen_set *set)
{
	char name[ADDR_STR_LEN];

	for (size_t i = 0; i < set->count; i++) {
		const struct listen_socket *l = &set->sockets[i];

		log_info("listening on %s %s (%zu %s)",
		    listener_proto_str(l->proto),
		    addr_format(name, &l->address), l->count,
		    l->count == 1 ? "queue" : "queues");
	}
}

size_t
listen_fds(const struct listen_set *set, enum sock_proto proto, size_t worker,
    int fds[static LISTEN_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < set->count && n < LISTEN_MAX; i++) {
		const struct listen_socket *l = &set->sockets[i];

		if (l->proto == proto)
			fds[n++] = l->fds[l->count > 1 ? worker : 0];
	}
	return n;
}

uint64_t
listen_drops(const struct listen_set *set)
{
	uint64_t total = 0;
	uint32_t drops;

	for (size_t i = 0; i < set->count; i++) {
		const struct listen_socket *l = &set->sockets[i];

		for (size_t j = 0; l->proto == SOCK_UDP && j < l->count; j++) {
			if (steer_drops(l->fds[j], &drops) == 0)
				total += drops;
		}
	}
	return total;
}
