#include "proxy/edge_range.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "net/listener.h"
#include "net/portscan.h"

#define LEFT_RULES 64 /* for what is left of one range */

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

/* Ports of the range that have sockets of their own. */
static void
pass_over(const struct edge_set *set, size_t range, uint8_t *held)
{
	for (size_t i = range + 1; i < set->count; i++) {
		uint16_t port = addr_port(&set->sockets[i].address);

		held[port / 8] &= (uint8_t) ~(1u << port % 8);
	}
}

/*
 * By the kernel's own rules: where there is a socket, at whatever address, the
 * port is bound for a moment. A range that a reload keeps has been looked at
 * as far as it went. After the start replies may leave from some of them, by
 * sockets of our own.
 */
static int
try_ports(const struct edge_set *set, size_t index, const struct app *a,
    bool starting)
{
	const struct edge_socket *s = &set->sockets[index];
	const struct sock_opts o = { .v6only = true,
		.reuseaddr = s->proto == SOCK_TCP,
		.reuseport = s->proto == SOCK_UDP && !starting,
		.beside = set->source->incumbent };
	struct addr address = s->address;
	unsigned int seen = s->kept ? s->port_had : addr_port(&s->address);
	uint8_t held[PORTSCAN_PORTS_LEN];

	if (seen >= s->port_last)
		return 0;
	if (portscan_ports(s->proto, held) != 0)
		memset(held, 0xff, sizeof held);
	pass_over(set, index, held);
	for (unsigned int port = seen + 1; port <= s->port_last; port++) {
		int fd;

		if (!(held[port / 8] >> port % 8 & 1))
			continue;
		addr_set_port(&address, (uint16_t)port);
		if (listener_is_incumbents(set->source, s->proto, &address, &o))
			continue;
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
	if (pid == 0 || pid == incumbent_pid(set->source->incumbent) ||
	    (s->elsewhere && set->source->rehearse))
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
	if (!s->elsewhere && try_ports(set, index, a, starting) != 0)
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

struct rules {
	struct dispatch_rule list[DISPATCH_RULES_MAX];
	size_t count; /* may be more than there is room for */
};

static void
add(struct rules *rules, const struct dispatch_rule *r)
{
	if (rules->count < DISPATCH_RULES_MAX)
		rules->list[rules->count] = *r;
	rules->count++;
}

/* What is bound there has it. */
static void
add_pass(struct rules *rules, const struct edge_socket *s, bool last)
{
	uint16_t port = addr_port(&s->address);
	struct dispatch_rule r =
	    dispatch_rule_for(s->proto, &s->address, port, port);

	r.slot = DISPATCH_PASS;
	r.last = last;
	add(rules, &r);
}

static bool
has_flows(const struct edge_set *set, unsigned int port)
{
	return set->flows == NULL ||
	    atomic_load_explicit(&set->flows->on[port], memory_order_relaxed) >
	    0;
}

/* The first port from `port` to `last` with flows, or without; `last` + 1:
 * none. */
static unsigned int
next_port(const struct edge_set *set, unsigned int port, unsigned int last,
    bool flows)
{
	while (port <= last && has_flows(set, port) != flows)
		port++;
	return port;
}

/*
 * Ports that are left, where no other rule matches: those with flows, so that
 * at the others nobody listens; all of them, where that takes too many rules.
 */
static void
add_left(struct rules *rules, const struct edge_set *set,
    const struct edge_socket *s, unsigned int first, unsigned int last)
{
	struct dispatch_rule r = rule_of(s, set->queues);
	size_t before = rules->count;

	r.last = true;
	for (unsigned int port = next_port(set, first, last, true);
	     port <= last; port = next_port(set, port, last, true)) {
		r.port_first = (uint16_t)port;
		port = next_port(set, port, last, false);
		r.port_last = (uint16_t)(port - 1);
		add(rules, &r);
		if (rules->count - before < LEFT_RULES)
			continue;
		rules->count = before;
		r.port_first = (uint16_t)first;
		r.port_last = (uint16_t)last;
		add(rules, &r);
		return;
	}
}

static void
add_rules(struct rules *rules, const struct edge_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct edge_socket *s = &set->sockets[i];

		if (s->by_bind)
			add_pass(rules, s, false);
		if (s->slot < 0)
			continue;
		const struct dispatch_rule r = rule_of(s, set->queues);

		add(rules, &r);
		if (s->port_drain > 0)
			add_left(
			    rules, set, s, s->port_last + 1u, s->port_drain);
	}
}

/* Flows of UDP linger on them; of what is bound elsewhere nobody counts. */
static void
add_old_rules(
    struct rules *rules, const struct edge_set *set, const struct edge_set *old)
{
	for (size_t i = 0; i < old->count; i++) {
		const struct edge_socket *s = &old->sockets[i];
		struct edge_set counted = *set;

		if (s->kept || s->proto != SOCK_UDP)
			continue;
		if (s->by_bind)
			add_pass(rules, s, true);
		if (s->slot < 0)
			continue;
		if (s->elsewhere)
			counted.flows = NULL;
		add_left(rules, &counted, s, addr_port(&s->address),
		    s->port_drain > 0 ? s->port_drain : s->port_last);
	}
}

static void
add_spares(struct rules *rules, const struct edge_set *set)
{
	for (size_t i = 0; i < set->spares; i++) {
		const struct addr *a = &set->spare[i];

		for (enum sock_proto p = SOCK_UDP; p <= SOCK_TCP; p++) {
			struct dispatch_rule r =
			    dispatch_rule_for(p, a, addr_port(a), addr_port(a));

			r.slot = DISPATCH_PASS;
			add(rules, &r);
		}
	}
}

int
edge_range_prepare(struct edge_set *set, const struct edge_set *old)
{
	struct rules rules = { .count = 0 };

	if (set->dispatch == NULL)
		return 0;
	set->rules_due = false;
	add_spares(&rules, set);
	add_rules(&rules, set);
	add_old_rules(&rules, set, old);
	if (rules.count <= DISPATCH_RULES_MAX &&
	    dispatch_prepare(set->dispatch, rules.list, rules.count) == 0) {
		set->rules_due = true;
		return 0;
	}
	log_error("%zu edges are more than can be dispatched; have fewer, or "
		  "say port_ranges: sockets",
	    rules.count);
	return -1;
}

/* The last port of the range that has `port` of that address now; 0: none. */
static unsigned int
taken_until(
    const struct edge_set *set, const struct edge_socket *s, unsigned int port)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct edge_socket *t = &set->sockets[i];
		struct addr a = s->address;

		addr_set_port(&a, addr_port(&t->address));
		if (t->slot >= 0 && t->proto == s->proto &&
		    t->bits == s->bits && addr_equal(&a, &t->address) &&
		    addr_port(&a) <= port && port <= t->port_last)
			return t->port_last;
	}
	return 0;
}

bool
edge_range_settle(struct edge_set *set, size_t index)
{
	struct edge_socket *s = &set->sockets[index];
	unsigned int port = s->port_last, taken;

	if (s->port_drain == 0)
		return false;
	/* flows on ports of another range are its own by now */
	for (taken = port; taken > 0; taken = taken_until(set, s, port)) {
		port = next_port(set, taken + 1, s->port_drain, true);
		if (port > s->port_drain) {
			s->port_drain = 0;
			return true;
		}
	}
	return false;
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
