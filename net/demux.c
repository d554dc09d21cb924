#include "net/demux.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/guard_inner.h"
#include "net/listener.h"

/* A place, and its group by order of bind. */
struct group {
	struct guard_place place;
	int fds[STEER_GROUP_MAX];
	enum steer_kind kinds[STEER_GROUP_MAX];
	size_t count;
};

struct demux {
	struct guard *guard;
	enum steer_kind mine;
	demux_client_fn *client;
	void *arg;
	struct group **groups;
	size_t count;
	struct group *comes; /* what is being given; NULL: nothing */
	enum { NOT_ASKED = 0, ASKED, GIVEN, NONE_THERE } asked;
};

static enum steer_kind
theirs(const struct demux *d)
{
	return d->mine == STEER_TIME ? STEER_CUSTOMER : STEER_TIME;
}

static bool
is_same(const struct guard_place *a, const struct guard_place *b)
{
	return a->proto == b->proto && addr_equal(&a->address, &b->address);
}

static struct group *
find(const struct demux *d, const struct guard_place *place)
{
	for (size_t i = 0; i < d->count; i++)
		if (is_same(&d->groups[i]->place, place))
			return d->groups[i];
	return NULL;
}

static struct group *
new_group(const struct guard_place *place)
{
	struct group *g = calloc(1, sizeof *g);

	if (g != NULL)
		g->place = *place;
	return g;
}

static void
free_group(struct group *g)
{
	if (g == NULL)
		return;
	listener_close(g->fds, g->count);
	free(g);
}

/* 0, or -1 with errno, and it is closed. */
static int
keep(struct demux *d, struct group *g)
{
	struct group **list =
	    realloc(d->groups, (d->count + 1) * sizeof(struct group *));

	if (list == NULL) {
		free_group(g);
		return -1;
	}
	d->groups = list;
	list[d->count++] = g;
	return 0;
}

/* ---- one group ---- */

static size_t
count_of(const struct group *g, enum steer_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < g->count; i++)
		n += g->kinds[i] == kind;
	return n;
}

static int
steer(const struct group *g)
{
	uint32_t seed;

	if (getrandom(&seed, sizeof seed, 0) < 0)
		return -1;
	return steer_demux(g->fds[0], g->kinds, g->count, seed);
}

/* One more at the end of the group, which gets nothing until it is steered. */
static int
grow(struct demux *d, struct group *g, enum steer_kind kind)
{
	const struct sock_opts o = { .reuseport = true,
		.v6only = g->place.v6only,
		.owner = &d->guard->setup.owner };
	enum sock_step step;
	int fd = -1;

	if (g->count == STEER_GROUP_MAX)
		errno = ENOSPC;
	else
		fd = sock_open(SOCK_UDP, &g->place.address, &o, &step);
	if (fd < 0)
		return -1;
	g->fds[g->count] = fd;
	g->kinds[g->count++] = kind;
	return 0;
}

/* As many of a kind as wanted: idle ones are taken first, more than enough
 * become idle. */
static int
resize(struct demux *d, struct group *g, enum steer_kind kind, size_t want)
{
	size_t have = count_of(g, kind);

	for (size_t i = 0; i < g->count && have < want; i++) {
		if (g->kinds[i] != STEER_IDLE)
			continue;
		g->kinds[i] = kind;
		have++;
	}
	for (; have < want; have++)
		if (grow(d, g, kind) != 0)
			return -1;
	for (size_t i = g->count; i > 0 && have > want; i--) {
		if (g->kinds[i - 1] != kind)
			continue;
		g->kinds[i - 1] = STEER_IDLE;
		have--;
	}
	return steer(g);
}

/* Ours of a group, ready. -1 after a log_error line. */
static int
use(const struct demux *d, struct group *g, const struct sock_opts *o,
    size_t queues, int *fds)
{
	char name[ADDR_STR_LEN];
	const char *why;
	size_t n = 0;

	for (size_t i = 0; i < g->count && n < queues; i++) {
		if (g->kinds[i] != d->mine)
			continue;
		if (sock_adopt(
			g->fds[i], SOCK_UDP, &g->place.address, o, &why) != 0) {
			log_error("udp %s: the socket of the group %s",
			    addr_format(name, &g->place.address), why);
			return -1;
		}
		steer_go_on(g->fds[i]);
		fds[n++] = g->fds[i];
	}
	return 0;
}

/* ---- making one ---- */

/* Alone at the bind, then a group: somebody else's socket is in the way, and
 * so is the other daemon's group. The other's socket drops until it is asked
 * for. */
static int
make(struct demux *d, const struct guard_place *place,
    const struct sock_opts *o, size_t queues, struct group **made,
    enum sock_step *step)
{
	struct sock_opts opts = *o;
	struct group *g = new_group(place);

	*step = SOCK_STEP_SOCKET;
	if (g == NULL || queues >= STEER_GROUP_MAX) {
		free(g);
		errno = g == NULL ? ENOMEM : ENOSPC;
		return -1;
	}
	opts.owner = &d->guard->setup.owner;
	if (listener_attempt(SOCK_UDP, &place->address, &opts, queues + 1,
		g->fds, step) != 0) {
		free(g);
		return -1;
	}
	g->count = queues + 1;
	for (size_t i = 0; i < queues; i++)
		g->kinds[i] = d->mine;
	g->kinds[queues] = theirs(d);
	*step = SOCK_STEP_OPTION;
	*made = g;
	if (steer_stop(g->fds[queues]) == 0 && steer(g) == 0)
		return keep(d, g);
	free_group(g);
	return -1;
}

/* ---- asking ---- */

static struct guard_peer *
peer_of(const struct demux *d)
{
	for (size_t i = 0; i < GUARD_PEERS_MAX; i++)
		if (guard_is_known(&d->guard->peers[i]))
			return &d->guard->peers[i];
	return NULL;
}

/* Until somebody is known, or whoever has come has said who it is. */
static struct guard_peer *
await_peer(struct demux *d, uint64_t end_ms)
{
	struct guard_peer *p;
	uint64_t now_ms;

	while ((p = peer_of(d)) == NULL &&
	    (now_ms = clock_monotonic_ms()) < end_ms)
		guard_turn(d->guard, (int)(end_ms - now_ms));
	return p;
}

/* What the other has there: a group, or NULL. */
static struct group *
ask(struct demux *d, const struct guard_place *place, size_t queues,
    uint64_t wait_ms)
{
	struct guard_peer *p = await_peer(d, clock_monotonic_ms() + wait_ms);
	const struct guard_message m = {
		.type = GUARD_WANT, .place = *place, .count = (uint16_t)queues
	};
	uint64_t end_ms = clock_monotonic_ms() + GUARD_ANSWER_MS, now_ms;
	struct group *g;

	if (p == NULL)
		return NULL;
	d->asked = ASKED;
	guard_tell(p, &m, NULL, 0);
	while (d->asked == ASKED && guard_is_known(p) &&
	    (now_ms = clock_monotonic_ms()) < end_ms)
		guard_turn(d->guard, (int)(end_ms - now_ms));
	g = d->asked == GIVEN ? d->comes : NULL;
	if (g == NULL)
		free_group(d->comes);
	d->comes = NULL;
	d->asked = NOT_ASKED;
	return g;
}

/* The peer's group becomes ours as well. */
static int
join(struct demux *d, struct group *g, const struct sock_opts *o, size_t queues,
    int *fds)
{
	char name[ADDR_STR_LEN];

	if (count_of(g, d->mine) != queues) {
		log_error(
		    "udp %s: %zu sockets came of the group instead of %zu",
		    addr_format(name, &g->place.address), count_of(g, d->mine),
		    queues);
		free_group(g);
		return -1;
	}
	if (keep(d, g) == 0)
		return use(d, g, o, queues, fds);
	log_error("sharing: %m");
	return -1;
}

static int
refuse(const struct demux *d, const struct guard_place *place,
    const struct sock_opts *o, enum sock_step step)
{
	bool taken = errno == EADDRINUSE;

	listener_explain(SOCK_UDP, &place->address, o, step);
	if (taken && peer_of(d) != NULL)
		log_error("sharing: demux: %s (pid %ld) has no group of this "
			  "very address: both have to name it",
		    peer_of(d)->hello.name, (long)peer_of(d)->who.pid);
	else if (taken)
		log_error("sharing: demux: no other daemon was met at %s",
		    d->guard->path);
	return -1;
}

/* Whether it could join a group that is there, by the rules. */
static int
rehearse(const struct demux *d, const struct addr *a, const struct sock_opts *o,
    size_t queues, int *fds)
{
	struct sock_opts opts = *o;

	opts.reuseport = true;
	opts.owner = &d->guard->setup.owner;
	return listener_rehearse(SOCK_UDP, a, &opts, queues, fds);
}

/* Asks first, so that of two who know each other one makes it; and again when
 * the bind says that there is somebody. */
int
demux_listen(struct demux *d, const struct addr *a, const struct sock_opts *o,
    size_t queues, int *fds)
{
	const struct guard_place place = { SOCK_UDP, *a,
		o->v6only && a->sa.sa_family == AF_INET6 };
	struct group *g = find(d, &place);
	uint64_t wait_ms = 0;
	enum sock_step step;

	if (d->guard->setup.rehearse)
		return rehearse(d, a, o, queues, fds);
	if (g != NULL)
		return use(d, g, o, queues, fds);
	for (int i = 0; i < 2; i++, wait_ms = GUARD_MEET_MS) {
		g = ask(d, &place, queues, wait_ms);
		if (g != NULL)
			return join(d, g, o, queues, fds);
		if (make(d, &place, o, queues, &g, &step) == 0)
			return use(d, g, o, queues, fds);
		if (errno != EADDRINUSE)
			break;
	}
	return refuse(d, &place, o, step);
}

bool
demux_leave(struct demux *d, const int *fds, size_t n)
{
	bool ours = false;

	for (size_t i = 0; i < d->count && n > 0 && !ours; i++)
		ours = listener_has(
		    d->groups[i]->fds, d->groups[i]->count, fds[0]);
	for (size_t i = 0; ours && i < n; i++)
		(void)steer_stop(fds[i]);
	return ours;
}

/* ---- answering ---- */

static void
give(struct guard_peer *p, const struct group *g)
{
	for (size_t i = 0; i < g->count; i++) {
		const struct guard_message m = { .type = GUARD_GIVE,
			.number = (uint32_t)i,
			.place = g->place,
			.count = (uint16_t)g->count,
			.detail = (uint8_t)g->kinds[i] };

		guard_tell(p, &m, &g->fds[i], 1);
	}
}

static void
take_want(struct demux *d, struct guard_peer *p, const struct guard_message *m)
{
	const struct guard_message none = { .type = GUARD_NONE_THERE,
		.place = m->place };
	struct group *g = find(d, &m->place);

	if (g == NULL) {
		guard_tell(p, &none, NULL, 0);
	} else if (resize(d, g, theirs(d), m->count) != 0) {
		log_warning("sharing: demux: a group for %u more sockets: %m",
		    m->count);
		guard_tell(p, &none, NULL, 0);
	} else {
		give(p, g);
	}
}

static bool
take_give(struct demux *d, const struct guard_message *m, int fd)
{
	struct group *g = d->comes;

	if (d->asked != ASKED || m->count > STEER_GROUP_MAX)
		return false;
	if (g == NULL)
		g = d->comes = new_group(&m->place);
	if (g == NULL || m->number != g->count)
		return false;
	g->fds[g->count] = fd;
	g->kinds[g->count++] = (enum steer_kind)m->detail;
	if (g->count == m->count)
		d->asked = GIVEN;
	return true;
}

bool
demux_take(struct demux *d, struct guard_peer *p, const struct guard_message *m,
    const int *fds, size_t *count)
{
	bool good;

	switch (m->type) {
	case GUARD_WANT:
		take_want(d, p, m);
		return true;
	case GUARD_NONE_THERE:
		if (d->asked == ASKED)
			d->asked = NONE_THERE;
		return true;
	case GUARD_GIVE:
		good = *count == 1 && take_give(d, m, fds[0]);
		*count = good ? 0 : *count;
		return good;
	case GUARD_CLIENT:
		if (*count != 1 || d->client == NULL)
			return false;
		*count = 0;
		d->client(d->arg, fds[0]);
		return true;
	default:
		return false;
	}
}

/* ---- connections ---- */

bool
demux_pass(struct demux *d, int fd, const struct addr *place)
{
	const struct guard_message m = { .type = GUARD_CLIENT,
		.place = { .proto = SOCK_TCP, .address = *place } };
	struct guard_peer *p = peer_of(d);

	if (p == NULL)
		return false;
	guard_tell(p, &m, &fd, 1);
	close(fd);
	return true;
}

/* ---- making and ending ---- */

struct demux *
demux_new(
    struct guard *g, enum steer_kind mine, demux_client_fn *client, void *arg)
{
	struct demux *d = calloc(1, sizeof *d);

	if (d == NULL)
		return NULL;
	*d = (struct demux){
		.guard = g, .mine = mine, .client = client, .arg = arg
	};
	guard_set_demux(g, d);
	return d;
}

void
demux_free(struct demux *d)
{
	if (d == NULL)
		return;
	for (size_t i = 0; i < d->count; i++)
		free(d->groups[i]);
	free_group(d->comes);
	free(d->groups);
	free(d);
}
