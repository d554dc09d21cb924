/* A cell on the kernel: real sockets, real packets. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/chooser.h"
#include "net/sockflag.h"
#include "net/tcp.h"
#include "portshare/cell.h"

#define NOBODY_UID 65534
#define PATIENCE_MS 1000 /* for a packet that neither arrives nor is refused */
#define CALM_MS 2
#define FLOW_PORT 61000 /* above what the kernel gives, and PORT_APART */
#define FLOW_TRIES 20 /* on the host somebody may have one */
#define PORT_APART 30000 /* to the port of one that is not on the cell's */

/* The sockets of one cell, and those that send to them. */
struct table {
	const struct lab *lab;
	const struct cell *cell;
	uint16_t port;
	int fds[CELL_SOCKETS]; /* -1: not, or no longer */
	int crowd[CELL_CROWD];
	int peer; /* the sender that one is connected to */
	int client; /* the other end of the accepted connection */
	int link; /* of the sk_lookup program */
	int kept[CELL_FLOWS]; /* connections that wait in a queue */
	bool dead; /* connect(2) of the last flow told at once of a reset */
};

static void
drop(int *fd)
{
	if (*fd >= 0) {
		tcp_reset_on_close(*fd);
		close(*fd);
	}
	*fd = -1;
}

static void
clear(struct table *t)
{
	for (size_t i = 0; i < CELL_SOCKETS; i++)
		drop(&t->fds[i]);
	for (size_t i = 0; i < CELL_CROWD; i++)
		drop(&t->crowd[i]);
	for (size_t i = 0; i < CELL_FLOWS; i++)
		drop(&t->kept[i]);
	drop(&t->peer);
	drop(&t->client);
	if (t->link >= 0)
		close(t->link);
}

static void
lay(struct table *t, const struct lab *l, const struct cell *c, uint16_t port)
{
	memset(t, 0, sizeof *t);
	t->lab = l;
	t->cell = c;
	t->port = port;
	t->peer = t->client = t->link = -1;
	memset(t->fds, 0xff, sizeof t->fds);
	memset(t->crowd, 0xff, sizeof t->crowd);
	memset(t->kept, 0xff, sizeof t->kept);
}

/* Twelve more addresses hold the port. */
static int
gather_crowd(struct table *t)
{
	struct addr a;
	const char *why;

	for (size_t i = 0; t->cell->crowded && i < CELL_CROWD; i++) {
		if (addr_parse(&a, "127.0.1.1", t->port, &why) < 0)
			return -1;
		a.in.sin_addr.s_addr = htonl(0x7f000101 + (uint32_t)i);
		t->crowd[i] = sockflag_new(t->cell->proto, AF_INET);
		if (t->crowd[i] < 0 ||
		    bind(t->crowd[i], &a.sa, addr_len(&a)) < 0)
			return -1;
	}
	return 0;
}

/* The creator's uid is that of the file system, at socket(2). */
static int
new_as(const struct table *t, uint8_t who, sa_family_t family)
{
	const struct cell_socket *s = &t->cell->sockets[who];
	int fd;

	if (s->other_uid && seteuid(NOBODY_UID) < 0)
		return -1;
	fd = sockflag_new(cell_proto(t->cell, who), family);
	if (s->other_uid && seteuid(0) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int
dress(int fd, const struct cell_socket *s)
{
	static const char *const devices[] = { "", "d1", "d2" };
	bool six = cell_place_is_v6(s->place);
	bool only6 = s->place == CELL_ONLY6 || s->place == CELL_MAPPED_ONLY6;
	int here = sched_getcpu();

	if ((s->reuseaddr && sockflag_set(fd, SOCKFLAG_REUSEADDR, true) < 0) ||
	    (s->reuseport && sockflag_set(fd, SOCKFLAG_REUSEPORT, true) < 0) ||
	    (six && sockflag_set(fd, SOCKFLAG_V6ONLY, only6) < 0) ||
	    (s->device != 0 && sockflag_set_device(fd, devices[s->device]) < 0))
		return -1;
	return s->cpu == 0 ? 0 : sockflag_set_cpu(fd, here + s->cpu - 1);
}

static int
make_socket(struct table *t, uint8_t who)
{
	const struct cell_socket *s = &t->cell->sockets[who];
	sa_family_t family = cell_place_is_v6(s->place) ? AF_INET6 : AF_INET;

	if (lab_enter(t->lab, s->other_net ? LAB_OTHER : LAB_SERVER) < 0)
		return -1;
	t->fds[who] = new_as(t, who, family);
	if (t->fds[who] < 0 || dress(t->fds[who], s) < 0)
		return -1;
	return lab_enter(t->lab, LAB_SERVER);
}

static void
place_address(const struct table *t, enum cell_place place, struct addr *a)
{
	cell_address(t->lab, place, a);
	addr_set_port(a, t->port);
}

static int
bind_it(struct table *t, uint8_t who, struct cell_outcome *o)
{
	struct addr a;

	if (make_socket(t, who) < 0)
		return -1;
	place_address(t, t->cell->sockets[who].place, &a);
	if (t->cell->sockets[who].other_port)
		addr_set_port(&a, t->port + PORT_APART);
	if (bind(t->fds[who], &a.sa, addr_len(&a)) < 0) {
		o->error = errno;
		drop(&t->fds[who]);
	}
	return 0;
}

/* A listener that could not is given up, as a server would end. */
static void
listen_it(struct table *t, uint8_t who, struct cell_outcome *o)
{
	if (listen(t->fds[who], 2 * CELL_FLOWS) == 0)
		return;
	o->error = errno;
	drop(&t->fds[who]);
}

/* To a sender at one address of the same family. */
static int
connect_it(struct table *t, uint8_t who)
{
	bool six = cell_place_is_v6(t->cell->sockets[who].place);
	struct addr a;

	cell_address(t->lab, six ? CELL_S : CELL_A, &a);
	t->peer = sockflag_new(SOCK_UDP, a.sa.sa_family);
	if (t->peer < 0 || bind(t->peer, &a.sa, addr_len(&a)) < 0 ||
	    sock_local(t->peer, &a) < 0)
		return -1;
	return connect(t->fds[who], &a.sa, addr_len(&a));
}

static int
wait_for(int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, timeout_ms);
}

static int
accept_it(struct table *t, uint8_t who, uint8_t child)
{
	struct addr a, peer;

	place_address(t, CELL_A, &a);
	t->client = sockflag_new(SOCK_TCP, AF_INET);
	if (t->client < 0 ||
	    (connect(t->client, &a.sa, addr_len(&a)) < 0 &&
		errno != EINPROGRESS))
		return -1;
	if (wait_for(t->fds[who], POLLIN, PATIENCE_MS) != 1)
		return -1;
	t->fds[child] = tcp_accept(t->fds[who], &peer);
	return t->fds[child] < 0 ? -1 : 0;
}

/* Our end first: what remains of it is TIME_WAIT. */
static int
retire(struct table *t, uint8_t who)
{
	char byte;

	close(t->fds[who]);
	t->fds[who] = -1;
	if (wait_for(t->client, POLLIN, PATIENCE_MS) != 1 ||
	    recv(t->client, &byte, 1, 0) != 0)
		return -1;
	close(t->client);
	t->client = -1;
	return 0;
}

/* A group outlives the flag of a member. */
static bool
could_split(const struct table *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->cell->n; i++)
		n += t->fds[i] >= 0 &&
		    (t->cell->sockets[i].reuseport ||
			sockflag_get(t->fds[i], SOCKFLAG_REUSEPORT) > 0);
	return n > 1;
}

static int
sender(const struct table *t, enum cell_way way, sa_family_t family)
{
	enum lab_net net = way == CELL_ELSEWHERE     ? LAB_OTHER
	    : way == CELL_WIRE1 || way == CELL_WIRE2 ? LAB_CLIENT
						     : LAB_SERVER;
	int fd;

	if (lab_enter(t->lab, net) < 0)
		return -1;
	fd = sockflag_new(t->cell->proto, family);
	if (fd >= 0 && net == LAB_CLIENT &&
	    sockflag_set_device(fd, way == CELL_WIRE1 ? "d1" : "d2") < 0)
		drop(&fd);
	return lab_enter(t->lab, LAB_SERVER) < 0 ? -1 : fd;
}

/*
 * The i-th flow has always the same source port, whichever address the kernel
 * gives it: its hash is the same from one step to the next.
 */
static int
bind_flow(int fd, sa_family_t family, size_t i)
{
	struct addr a = { .sa = { .sa_family = family } };

	for (uint16_t k = 0; k < FLOW_TRIES; k++) {
		addr_set_port(&a, (uint16_t)(FLOW_PORT + i + k * CELL_FLOWS));
		if (bind(fd, &a.sa, addr_len(&a)) == 0)
			return 0;
		if (errno != EADDRINUSE)
			break;
	}
	return -1;
}

static int
open_flow(struct table *t, const struct addr *to, enum cell_way way, size_t i)
{
	int fd = sender(t, way, to->sa.sa_family);

	if (fd < 0)
		return -1;
	t->dead = false;
	if (sockflag_set(fd, SOCKFLAG_REUSEADDR, true) < 0 ||
	    bind_flow(fd, to->sa.sa_family, i) < 0) {
		drop(&fd);
		return -1;
	}
	if (connect(fd, &to->sa, addr_len(to)) < 0 && errno != EINPROGRESS) {
		t->dead = errno == ECONNREFUSED;
		if (!t->dead)
			drop(&fd);
	}
	return fd;
}

/* Who has something to read or accept now; it is taken. -1: nobody yet. */
static int
take(struct table *t)
{
	struct addr peer;
	char bytes[16];

	for (int i = 0; i < t->cell->n; i++) {
		int fd = t->fds[i];

		if (fd < 0)
			continue;
		if (cell_proto(t->cell, (size_t)i) == SOCK_UDP) {
			if (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) >= 0)
				return i;
			continue;
		}
		fd = tcp_accept(fd, &peer);
		if (fd < 0)
			continue;
		drop(&fd);
		return i;
	}
	return -1;
}

/* Nobody was there: ICMP or a reset said so. */
static bool
refused(const struct table *t, int fd)
{
	char byte;

	if (t->cell->proto == SOCK_TCP)
		return t->dead || tcp_error(fd) == ECONNREFUSED;
	return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED;
}

/* Waits for any of the sockets, or for the sender to hear of it. */
static void
wait_any(const struct table *t, int fd, int timeout_ms)
{
	struct pollfd p[CELL_SOCKETS + 1];

	for (size_t i = 0; i < CELL_SOCKETS; i++)
		p[i] = (struct pollfd){ .fd = t->fds[i], .events = POLLIN };
	p[CELL_SOCKETS] = (struct pollfd){ .fd = fd, .events = POLLIN };
	(void)poll(p, CELL_SOCKETS + 1, timeout_ms);
}

/* One packet: which socket got it, -1: none. */
static int
find_receiver(struct table *t, int fd)
{
	if (t->cell->proto == SOCK_UDP && send(fd, "x", 1, 0) < 0 &&
	    errno != ECONNREFUSED)
		return -1;
	for (int waited = 0; waited <= PATIENCE_MS; waited += 100) {
		int who = take(t);

		if (who >= 0 || refused(t, fd))
			return who;
		wait_any(t, fd, 100);
	}
	return -1;
}

static void
note(struct cell_outcome *o, size_t flow, int who)
{
	o->flows[flow] = (int8_t)who;
	o->sent++;
	if (who < 0)
		return;
	o->receivers |= (uint8_t)(1u << who);
	o->counts[who]++;
}

/* All that could have got some have. */
static bool
all_heard(const struct table *t, const struct cell_outcome *o)
{
	for (size_t i = 0; i < t->cell->n; i++)
		if (t->fds[i] >= 0 && (o->receivers >> i & 1) == 0)
			return false;
	return true;
}

static bool
wants_every_flow(const struct table *t)
{
	return t->cell->theme == CELL_GROUP || t->cell->theme == CELL_QUEUE;
}

static int
send_from_peer(struct table *t, const struct addr *to, struct cell_outcome *o)
{
	if (connect(t->peer, &to->sa, addr_len(to)) < 0)
		return -1;
	note(o, 0, find_receiver(t, t->peer));
	return 0;
}

static int
send_it(struct table *t, const struct cell_step *s, struct cell_outcome *o)
{
	bool all = wants_every_flow(t);
	size_t flows = all || could_split(t) ? CELL_FLOWS : 2;
	struct addr to;

	place_address(t, s->what, &to);
	if (s->way == CELL_FROM_PEER)
		return send_from_peer(t, &to, o);
	for (size_t i = 0; i < flows; i++) {
		int fd = open_flow(t, &to, s->way, i);

		if (fd < 0)
			return -1;
		note(o, i, find_receiver(t, fd));
		drop(&fd);
		if (!all && (o->flows[i] < 0 || (i > 0 && all_heard(t, o))))
			break;
	}
	return 0;
}

/* The same source ports as before, so it is known who has how many. */
static int
queue_it(struct table *t, const struct cell_step *s, struct cell_outcome *o)
{
	struct addr to;

	place_address(t, s->what, &to);
	for (size_t i = 0; i < CELL_FLOWS; i++) {
		t->kept[i] = open_flow(t, &to, s->way, i);
		if (t->kept[i] < 0)
			return -1;
		if (t->cell->proto == SOCK_UDP &&
		    send(t->kept[i], "x", 1, 0) != 1)
			return -1;
		if (t->cell->proto == SOCK_TCP &&
		    wait_for(t->kept[i], POLLOUT, PATIENCE_MS) != 1)
			return -1;
		o->sent++;
	}
	wait_for(-1, 0, CALM_MS);
	return 0;
}

static void
drain(struct table *t, struct cell_outcome *o)
{
	int who;

	wait_for(-1, 0, CALM_MS);
	while ((who = take(t)) >= 0)
		note(o, o->sent, who);
	for (size_t i = 0; i < CELL_FLOWS; i++)
		drop(&t->kept[i]);
}

static int
change(const struct table *t, const struct cell_step *s)
{
	bool port =
	    s->act == CELL_SET_REUSEPORT || s->act == CELL_CLEAR_REUSEPORT;

	return sockflag_set(t->fds[s->who],
	    port ? SOCKFLAG_REUSEPORT : SOCKFLAG_REUSEADDR,
	    s->act == CELL_SET_REUSEADDR || s->act == CELL_SET_REUSEPORT);
}

static int
choose(struct table *t, uint8_t who)
{
	t->link = chooser_attach(t->lab->net[LAB_SERVER], t->fds[who], t->port);
	return t->link < 0 ? -1 : 0;
}

static int
do_step(struct table *t, const struct cell_step *s, struct cell_outcome *o)
{
	o->skipped = cell_needs_socket(s->act) && t->fds[s->who] < 0;
	if (s->act == CELL_SEND && s->way == CELL_FROM_PEER)
		o->skipped = t->peer < 0;
	if (s->act == CELL_SEND && s->what == CELL_T &&
	    t->lab->kind == LAB_HOST)
		o->skipped = true; /* no such address */
	if (o->skipped)
		return 0;
	switch (s->act) {
	case CELL_END:
		break;
	case CELL_BIND:
		return bind_it(t, s->who, o);
	case CELL_LISTEN:
		listen_it(t, s->who, o);
		break;
	case CELL_SET_REUSEADDR:
	case CELL_CLEAR_REUSEADDR:
	case CELL_SET_REUSEPORT:
	case CELL_CLEAR_REUSEPORT:
		return change(t, s);
	case CELL_CONNECT:
		return connect_it(t, s->who);
	case CELL_ACCEPT:
		return accept_it(t, s->who, s->what);
	case CELL_RETIRE:
		return retire(t, s->who);
	case CELL_CLOSE:
		drop(&t->fds[s->who]);
		break;
	case CELL_SEND:
		return send_it(t, s, o);
	case CELL_QUEUED:
		return queue_it(t, s, o);
	case CELL_DRAIN:
		drain(t, o);
		break;
	case CELL_STEER:
		return chooser_steer(t->fds[s->who], s->what);
	case CELL_CHOOSE:
		return choose(t, s->who);
	}
	return 0;
}

int
cell_run_kernel(const struct lab *l, const struct cell *c, uint16_t port,
    struct cell_run *run)
{
	struct table t;
	int result, saved;

	memset(run, 0, sizeof *run);
	lay(&t, l, c, port);
	result = gather_crowd(&t);
	for (size_t i = 0; result == 0 && i < CELL_STEPS; i++) {
		if (c->steps[i].act == CELL_END)
			break;
		result = do_step(&t, &c->steps[i], &run->steps[i]);
	}
	saved = errno;
	clear(&t);
	errno = saved;
	return result;
}

bool
cell_possible(const struct lab *l, const struct cell *c)
{
	if (l->kind == LAB_ROOT)
		return true;
	if (c->theme == CELL_PROGRAM)
		return false;
	for (size_t i = 0; i < c->n; i++) {
		const struct cell_socket *s = &c->sockets[i];

		if (s->other_uid)
			return false;
		if (l->kind == LAB_HOST &&
		    (s->other_net || s->device != 0 || s->place == CELL_T))
			return false;
	}
	for (size_t i = 0; i < CELL_STEPS; i++)
		if (l->kind == LAB_HOST && c->steps[i].way >= CELL_WIRE1)
			return false;
	return true;
}
