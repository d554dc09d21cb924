#include "proxy/edge_range.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "net/listener.h"
#include "net/portscan.h"

static struct dispatch_rule
rule_of(const struct edge_socket *s, size_t queues)
{
	struct dispatch_rule r = dispatch_rule_for(
	    s->proto, &s->address, addr_port(&s->address), s->port_last);

	if (s->bits > 0)
		r.bits = s->bits;
	r.slot = (uint16_t)s->slot;
	r.sockets = (uint16_t)queues;
	return r;
}

/* ---- who else has a port of the range ---- */

/*
 * By the kernel's own rules: where there is a socket, at whatever address, the
 * port is bound for a moment. A range that a reload keeps has been looked at
 * as far as it went. After the start replies may leave from some of them, by
 * sockets of our own.
 */
static int
try_ports(const struct edge_socket *s, const struct app *a, bool starting)
{
	const struct sock_opts o = { .v6only = true,
		.reuseaddr = s->proto == SOCK_TCP,
		.reuseport = s->proto == SOCK_UDP && !starting };
	struct addr address = s->address;
	unsigned int seen = s->kept ? s->port_had : addr_port(&s->address);
	uint8_t held[PORTSCAN_PORTS_LEN];

	if (seen >= s->port_last)
		return 0;
	if (portscan_ports(s->proto, held) != 0)
		memset(held, 0xff, sizeof held);
	for (unsigned int port = seen + 1; port <= s->port_last; port++) {
		int fd;

		if (!(held[port / 8] >> port % 8 & 1))
			continue;
		addr_set_port(&address, (uint16_t)port);
		if (listener_try(s->proto, &address, &o, &fd) != 0) {
			log_error("application %s: a port of its range is "
				  "another's",
			    a->name);
			return -1;
		}
		listener_close(&fd, 1);
	}
	return 0;
}

/* Two of these programs would not see each other's sockets. */
static int
look_for_rival(const struct edge_set *set, const struct edge_socket *s,
    const struct app *a)
{
	const struct dispatch_rule r = rule_of(s, 0);
	pid_t pid = dispatch_rival(set->dispatch, &r);
	char name[ADDR_STR_LEN];

	/* a test beside the very daemon that it is about */
	if (pid == 0 || (s->elsewhere && set->source->rehearse))
		return 0;
	log_error("application %s: %s %s-%u: ports of this range are "
		  "dispatched to pid %ld",
	    a->name, listener_proto_str(s->proto),
	    addr_format(name, &s->address), s->port_last, (long)pid);
	return -1;
}

/* ---- joining ---- */

static int
take_slots(struct edge_set *set, size_t index)
{
	struct edge_socket *s = &set->sockets[index];

	s->slot = dispatch_add(
	    set->dispatch, &set->fds[index * set->queues], set->queues);
	return s->slot >= 0 ? 0 : -1;
}

static int
ask_for_ports(const struct edge_set *set, size_t index)
{
	const struct edge_socket *s = &set->sockets[index];

	if (s->proto != SOCK_UDP)
		return 0;
	for (size_t q = 0; q < set->queues; q++) {
		if (sock_udp_asked(set->fds[index * set->queues + q],
			s->address.sa.sa_family) != 0)
			return -1;
	}
	return 0;
}

int
edge_range_join(
    struct edge_set *set, size_t index, const struct app *a, bool starting)
{
	struct edge_socket *s = &set->sockets[index];

	/* who has them elsewhere is meant to keep them */
	if (!s->elsewhere && try_ports(s, a, starting) != 0)
		return -1;
	if (starting && look_for_rival(set, s, a) != 0)
		return -1;
	if (ask_for_ports(set, index) == 0 &&
	    (s->slot >= 0 || take_slots(set, index) == 0))
		return 0;
	if (errno == EPERM)
		log_error("application %s: a new range takes a restart on "
			  "this kernel (bpf: %s)",
		    a->name, strerror(errno));
	else
		log_error(
		    "application %s: its range: %s", a->name, strerror(errno));
	return -1;
}

/* ---- rules ---- */

static size_t
add_rules(
    struct dispatch_rule *rules, size_t n, const struct edge_set *set, bool old)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct edge_socket *s = &set->sockets[i];

		if (s->slot < 0 || (old && (s->kept || s->proto != SOCK_UDP)))
			continue;
		if (n < DISPATCH_RULES_MAX) {
			rules[n] = rule_of(s, set->queues);
			rules[n].last = old;
		}
		n++;
	}
	return n;
}

static size_t
add_spares(struct dispatch_rule *rules, size_t n, const struct edge_set *set)
{
	for (size_t i = 0; i < set->spares; i++) {
		const struct addr *a = &set->spare[i];

		for (enum sock_proto p = SOCK_UDP; p <= SOCK_TCP; p++, n++) {
			if (n >= DISPATCH_RULES_MAX)
				continue;
			rules[n] =
			    dispatch_rule_for(p, a, addr_port(a), addr_port(a));
			rules[n].slot = DISPATCH_PASS;
		}
	}
	return n;
}

int
edge_range_prepare(struct edge_set *set, const struct edge_set *old)
{
	struct dispatch_rule rules[DISPATCH_RULES_MAX];
	size_t n;

	if (set->dispatch == NULL)
		return 0;
	set->rules_due = false;
	n = add_spares(rules, 0, set);
	n = add_rules(rules, n, set, false);
	n = add_rules(rules, n, old, true);
	if (n <= DISPATCH_RULES_MAX &&
	    dispatch_prepare(set->dispatch, rules, n) == 0) {
		set->rules_due = true;
		return 0;
	}
	log_error("%zu edges are more than can be dispatched; have fewer, or "
		  "say port_ranges: sockets",
	    n);
	return -1;
}

void
edge_range_publish(struct edge_set *set)
{
	if (set->rules_due)
		dispatch_publish(set->dispatch);
	set->rules_due = false;
}

int
edge_range_again(struct edge_set *set, const struct edge_set *old, size_t index)
{
	if (set->sockets[index].slot < 0)
		return 0;
	/* the kernel takes a socket that stops listening out of its slot */
	if (take_slots(set, index) != 0)
		return -1;
	return edge_range_prepare(set, old);
}
