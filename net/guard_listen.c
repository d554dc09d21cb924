/* The newcomer's side: binding beside sockets of peers that make way. */
#include "net/guard_inner.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/listener.h"
#include "net/tcp.h"

/* ---- asking ---- */

static int
left_ms(uint64_t end_ms)
{
	uint64_t now_ms = clock_monotonic_ms();

	return now_ms < end_ms ? (int)(end_ms - now_ms) : 0;
}

/* Somebody has yet to say something. */
static bool
is_waiting(const struct guard *g)
{
	for (size_t i = 0; i < GUARD_PEERS_MAX; i++) {
		const struct guard_peer *p = &g->peers[i];

		if (p->fd >= 0 && (!guard_is_known(p) || p->asked != 0))
			return true;
	}
	return false;
}

/* Their questions are answered meanwhile: two may ask each other. */
static void
wait_for_all(struct guard *g)
{
	uint64_t end_ms = clock_monotonic_ms() +
	    (g->started ? GUARD_ANSWER_MS : GUARD_START_MS);

	while (is_waiting(g) && left_ms(end_ms) > 0)
		guard_turn(g, left_ms(end_ms));
}

/* How many make way; their windows are open until done(). */
static size_t
ask_all(struct guard *g, const struct guard_place *place)
{
	struct guard_message m = { .type = GUARD_ASK,
		.place = *place,
		.uid = g->setup.owner,
		.detail = g->setup.rehearse };
	size_t open = 0;
	int error = errno;

	wait_for_all(g); /* for them to say who they are */
	m.number = ++g->number != 0 ? g->number : ++g->number;
	for (size_t i = 0; i < GUARD_PEERS_MAX; i++) {
		struct guard_peer *p = &g->peers[i];

		p->answer = (struct guard_message){ 0 };
		p->asked = guard_is_known(p) ? m.number : 0;
		if (p->asked != 0)
			guard_tell(p, &m, NULL, 0);
	}
	wait_for_all(g);
	for (size_t i = 0; i < GUARD_PEERS_MAX; i++) {
		g->peers[i].asked = 0; /* what comes now comes too late */
		open += g->peers[i].answer.type == GUARD_OPEN;
	}
	errno = error;
	return open;
}

/* NULL: nothing was bound. */
static void
done(struct guard *g, const struct guard_socket *s)
{
	struct guard_message m = { .type = GUARD_DONE, .number = g->number };
	int error = errno;

	for (size_t i = 0; i < GUARD_PEERS_MAX; i++) {
		struct guard_peer *p = &g->peers[i];

		if (p->fd < 0 || p->answer.type != GUARD_OPEN)
			continue;
		if (s != NULL)
			guard_tell_have(p, s);
		guard_tell(p, &m, NULL, 0);
	}
	errno = error;
}

/* Those that we did not find at our start look for us: the time that takes. */
static bool
another_comes(struct guard *g)
{
	uint64_t end_ms = g->opened_ms + GUARD_MEET_MS;
	int error = errno;

	g->met = false;
	while (
	    g->setup.listens && !g->started && !g->met && left_ms(end_ms) > 0)
		guard_turn(g, left_ms(end_ms));
	errno = error;
	return g->met;
}

/* ---- binding ---- */

/* The ways of all who made way. */
static struct sock_opts
flagged(const struct guard *g, const struct sock_opts *o)
{
	struct sock_opts opts = *o;

	for (size_t i = 0; i < GUARD_PEERS_MAX; i++) {
		const struct guard_message *m = &g->peers[i].answer;

		if (m->type != GUARD_OPEN)
			continue;
		opts.reuseport |= m->detail == GUARD_BY_PORT;
		opts.reuseaddr |= m->detail == GUARD_BY_ADDR;
	}
	return opts;
}

static void
flag_ours(const struct guard *g, const struct guard_place *place, bool on)
{
	for (size_t i = 0; i < g->count; i++) {
		const struct guard_socket *s = &g->sockets[i];

		if (s->place.proto == place->proto &&
		    addr_port(&s->place.address) == addr_port(&place->address))
			(void)guard_flags(s, GUARD_BY_PORT, on);
	}
}

/*
 * The kernel remembers of a TCP port who has bound it by SO_REUSEPORT, and
 * lets that user's next socket in at the same address without a look at flags
 * that are gone since (fastreuseport in inet_connection_sock.c). It remembers
 * the last one only: an address that nobody serves, of each family, as one of
 * the two may count as what is remembered already. Our own sockets must not be
 * in its way. Best effort: who is of our user may stop us as well.
 */
static void
forget_bind(const struct guard *g, const struct guard_place *place)
{
	static const char *const nowhere[] = { "[::1]", "127.255.255.254" };
	const struct sock_opts o = {
		.reuseport = true, .v6only = true, .owner = &g->setup.owner
	};
	const char *why;
	struct addr a;

	flag_ours(g, place, true);
	for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
		int fd = -1;

		if (addr_parse(
			&a, nowhere[i], addr_port(&place->address), &why) == 0)
			fd = sock_reserve(SOCK_TCP, &a, &o);
		if (fd >= 0)
			close(fd);
	}
	flag_ours(g, place, false);
}

/* What was bound with flags goes on without them. */
static void
shut(const struct guard *g, const struct guard_socket *s,
    const struct sock_opts *used)
{
	if (s->place.proto == SOCK_TCP && (used->reuseport || s->count > 1))
		forget_bind(g, &s->place);
	(void)guard_flags(s, GUARD_BY_PORT, false);
	if (s->place.proto == SOCK_UDP && used->reuseaddr)
		(void)guard_flags(s, GUARD_BY_ADDR, false);
}

/* Those that a peer has kept for us are bound as they are. */
static bool
claim(struct guard *g, struct guard_socket *s, const struct sock_opts *o)
{
	wait_for_all(g);
	if (!guard_claim(g, s, o))
		return false;
	for (size_t i = 0; i < GUARD_PEERS_MAX; i++)
		if (guard_is_known(&g->peers[i]))
			guard_tell_have(&g->peers[i], s);
	return true;
}

static bool
is_beside_ours(const struct guard *g, const struct guard_place *place)
{
	for (size_t i = 0; i < g->count; i++)
		if (guard_overlap(&g->sockets[i].place, place))
			return true;
	return false;
}

/* What a reload gives up stays bound until the workers have left it: an
 * address and a wildcard can follow each other. */
static int
bind_beside_ours(struct guard *g, const struct guard_place *place,
    struct guard_socket *s, const struct sock_opts *o, enum sock_step *step)
{
	struct sock_opts opts = *o;
	int result, error;

	opts.reuseport = true;
	flag_ours(g, place, true);
	result = guard_group_open(s, &opts, step);
	error = errno;
	flag_ours(g, place, false);
	if (result == 0)
		shut(g, s, &opts);
	errno = error;
	return result;
}

/* 0, or -1 with errno and the step. */
static int
bind_beside(struct guard *g, struct guard_socket *s, const struct sock_opts *o,
    enum sock_step *step)
{
	int result = -1;

	s->shared = true;
	if (claim(g, s, o))
		return 0;
	do {
		struct sock_opts opts;

		if (ask_all(g, &s->place) == 0)
			continue;
		opts = flagged(g, o);
		result = guard_group_open(s, &opts, step);
		if (result == 0)
			shut(g, s, &opts);
		done(g, result == 0 ? s : NULL);
	} while (result != 0 && errno == EADDRINUSE && another_comes(g));
	return result;
}

/* A test takes no packet: it asks whether they would, and goes elsewhere. */
static int
rehearse_beside(struct guard *g, struct guard_socket *s,
    const struct sock_opts *o, enum sock_step *step)
{
	do {
		if (ask_all(g, &s->place) == 0)
			continue;
		addr_set_port(&s->place.address, 0);
		s->bolt = -1;
		return listener_attempt(s->place.proto, &s->place.address, o,
		    s->count, s->fds, step);
	} while (another_comes(g));
	return -1;
}

/* The kernel's rules say that all is held; who of our peers could say more. */
static void
tell_peers(const struct guard *g)
{
	bool alone = true;

	for (size_t i = 0; i < GUARD_PEERS_MAX; i++) {
		const struct guard_peer *p = &g->peers[i];

		if (!guard_is_known(p))
			continue;
		alone = false;
		if (p->answer.type == GUARD_OPEN)
			continue;
		log_error("%s (pid %ld) does not make way: %s", p->hello.name,
		    (long)p->who.pid,
		    p->answer.type == GUARD_NO
			? guard_why_str((enum guard_why)p->answer.detail)
			: "it does not answer");
	}
	if (alone)
		log_error("sharing: guarded: no other daemon was met at %s to "
			  "make way",
		    g->path);
}

static int
refuse(struct guard *g, const struct guard_place *place,
    const struct sock_opts *o, enum sock_step step)
{
	bool taken = errno == EADDRINUSE;

	listener_explain(place->proto, &place->address, o, step);
	if (taken)
		tell_peers(g);
	return -1;
}

static int
keep(struct guard *g, struct guard_socket *s)
{
	if (guard_hold(g, s) == 0)
		return 0;
	log_error("sharing: %m");
	listener_close(&s->bolt, s->bolt >= 0);
	listener_close(s->fds, s->count);
	return -1;
}

int
guard_listen(struct guard *g, enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, size_t queues, int *fds)
{
	const struct guard_place place = { proto, *a,
		o->v6only && a->sa.sa_family == AF_INET6 };
	struct guard_socket s = { place, fds, queues, -1, false };
	struct sock_opts opts = *o;
	enum sock_step step;
	int result;

	opts.owner = &g->setup.owner;
	result = guard_group_open(&s, &opts, &step);
	if (result == 0)
		shut(g, &s, &opts);
	else if (errno == EADDRINUSE && is_beside_ours(g, &place))
		result = bind_beside_ours(g, &place, &s, &opts, &step);
	if (result != 0 && errno == EADDRINUSE)
		result = (g->setup.rehearse ? rehearse_beside : bind_beside)(
		    g, &s, &opts, &step);
	return result == 0 ? keep(g, &s) : refuse(g, &place, &opts, step);
}

/* ---- listening again ---- */

static int
listen_all(const struct guard_socket *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (tcp_listen_again(s->fds[i]) != 0)
			return -1;
	return 0;
}

int
guard_listen_again(struct guard *g, int fd)
{
	struct guard_socket *s = guard_find(g, fd);
	const struct sock_opts used = { .reuseport = true };
	int result, error;
	bool asked;

	if (s == NULL) {
		errno = EBADF;
		return -1;
	}
	/* they stand in each other's way, too */
	result = guard_flags(s, GUARD_BY_PORT, true);
	if (result == 0)
		result = listen_all(s);
	asked = result != 0 && errno == EADDRINUSE;
	if (asked && ask_all(g, &s->place) > 0)
		result = listen_all(s);
	error = errno;
	shut(g, s, &used);
	if (asked)
		done(g, NULL);
	errno = error;
	return result;
}
