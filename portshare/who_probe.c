#include "portshare/who_probe.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define PATIENCE_MS 1000
#define SIGHTS_MAX 4096 /* rows of the tracer */
#define LOOK_CAP 256 /* sockets of the port */

const char *
who_probe_verdict_str(enum who_probe_verdict verdict)
{
	static const char *const words[] = {
		[WHO_PROBE_NONE] = "unproven",
		[WHO_PROBE_AGREES] = "agrees",
		[WHO_PROBE_DIFFERS] = "differs",
	};

	return words[verdict];
}

/* ---- sending ---- */

struct sender {
	const struct place *place;
	int fds[WHO_PROBES];
	uint16_t ports[WHO_PROBES]; /* ours */
	unsigned int n;
};

static const struct sock_opts plain = { 0 };

/* With which address we come there: connect(2) of UDP sends nothing. */
static int
source_of(const struct place *p, struct addr *from)
{
	int fd = sock_connect(SOCK_UDP, &p->address, &plain), result;

	if (fd < 0)
		return -1;
	result = sock_local(fd, from);
	close(fd);
	return result;
}

/* Each from a port of its own, as a group splits by it. */
static int
send_one(struct sender *s)
{
	static const char mark[] = "portshare who --probe\n";
	struct addr local;
	int fd = sock_connect(s->place->proto, &s->place->address, &plain);

	if (fd < 0)
		return -1;
	if (sock_local(fd, &local) < 0 ||
	    (s->place->proto == SOCK_UDP &&
		send(fd, mark, sizeof mark - 1, MSG_NOSIGNAL) < 0)) {
		close(fd);
		return -1;
	}
	s->fds[s->n] = fd;
	s->ports[s->n++] = addr_port(&local);
	return 0;
}

static void
hang_up(struct sender *s)
{
	for (unsigned int i = 0; i < s->n; i++)
		close(s->fds[i]);
}

/* ---- seeing ---- */

static void
note(struct who_probe *p, const struct portscan_socket *s, unsigned int count)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->socket[i].cookie == s->cookie) {
			p->count[i] += count;
			return;
		}
	if (p->n == WHO_PROBE_SIGHTS)
		return;
	p->socket[p->n] = *s;
	p->count[p->n++] = count;
}

static bool
is_sent_by_us(const struct sender *s, uint16_t port)
{
	for (unsigned int i = 0; i < s->n; i++)
		if (s->ports[i] == port)
			return true;
	return false;
}

/* What was seen of ours so far; the sockets by their cookies alone. */
static unsigned int
gather(struct who_probe *p, const struct sender *s, const struct tracer *t)
{
	static struct tracer_sight sights[SIGHTS_MAX];
	size_t n = tracer_sights(t, sights, SIGHTS_MAX);
	unsigned int all = 0;

	p->n = 0;
	for (size_t i = 0; i < n; i++) {
		struct portscan_socket k = { .cookie = sights[i].cookie };

		if (!is_sent_by_us(s, sights[i].port))
			continue;
		note(p, &k, 1); /* a SYN may come again */
		all++;
	}
	return all;
}

/* Cookies become sockets with owners. */
static void
name_all(struct who_probe *p, enum sock_proto proto)
{
	struct portscan_socket found[WHO_PROBE_SIGHTS];
	uint64_t cookies[WHO_PROBE_SIGHTS];
	int n;

	for (size_t i = 0; i < p->n; i++)
		cookies[i] = p->socket[i].cookie;
	n = p->n > 0 ? portscan_cookies(proto, cookies, p->n, found) : 0;
	for (int k = 0; k < n; k++)
		for (size_t i = 0; i < p->n; i++)
			if (p->socket[i].cookie == found[k].cookie)
				p->socket[i] = found[k];
}

static void
by_tracer(struct who_probe *p, struct sender *s, const struct tracer *t)
{
	uint64_t end = clock_monotonic_ms() + PATIENCE_MS;

	while (s->n < WHO_PROBES && send_one(s) == 0)
		;
	while (gather(p, s, t) < s->n && clock_monotonic_ms() < end)
		poll(NULL, 0, 5);
	name_all(p, s->place->proto);
}

static int
queues(const struct place *p, struct portscan_socket *out)
{
	int n = portscan_bare(
	    p->proto, addr_port(&p->address), false, out, LOOK_CAP);

	return n < LOOK_CAP ? n : LOOK_CAP;
}

/* A queue that is longer than it was just now. */
static void
by_queues(struct who_probe *p, struct sender *s)
{
	static struct portscan_socket before[LOOK_CAP], after[LOOK_CAP];
	int n, m;

	do {
		n = queues(s->place, before);
		if (send_one(s) < 0)
			break;
		m = queues(s->place, after);
		for (int i = 0; i < m; i++)
			for (int k = 0; k < n; k++)
				if (after[i].cookie == before[k].cookie &&
				    after[i].queued > before[k].queued)
					note(p, &after[i], 1);
	} while (s->n < WHO_PROBES);
	name_all(p, s->place->proto);
}

/* ---- judging ---- */

static bool
is_expected(const struct who *w, uint64_t cookie)
{
	for (size_t i = 0; i < w->named_n; i++)
		if (w->named[i].cookie == cookie)
			return true;
	for (size_t i = 0; w->decider == NULL && i < w->look.n; i++)
		if (who_receives(w, i) && w->look.found[i].cookie == cookie)
			return true;
	return false;
}

/* A queue may be of others' packets, so it disproves nothing. */
static enum who_probe_verdict
judge(const struct who_probe *p, const struct who *w)
{
	size_t expected = 0;

	for (size_t i = 0; i < p->n; i++)
		expected += is_expected(w, p->socket[i].cookie);
	if (!p->traced)
		return expected > 0 ? WHO_PROBE_AGREES : WHO_PROBE_NONE;
	if (p->n > 0)
		return expected == p->n ? WHO_PROBE_AGREES : WHO_PROBE_DIFFERS;
	return who_is_heard(w) ? WHO_PROBE_DIFFERS : WHO_PROBE_AGREES;
}

int
who_probe_run(struct who_probe *p, const struct who *w)
{
	struct sender s = { .place = w->place };
	struct tracer *t;
	struct addr from;

	memset(p, 0, sizeof *p);
	if (source_of(w->place, &from) < 0)
		return -1;
	t = tracer_open(w->place->proto, &from, &w->place->address, p->why);
	p->traced = t != NULL;
	if (t != NULL)
		by_tracer(p, &s, t);
	else
		by_queues(p, &s);
	tracer_close(t);
	p->sent = s.n;
	hang_up(&s);
	p->verdict = judge(p, w);
	return 0;
}

/* ---- telling ---- */

static const char *
what_was_sent(const struct who *w)
{
	return w->place->proto == SOCK_UDP ? "datagrams" : "connections";
}

void
who_probe_tell(const struct who_probe *p, const struct who *w)
{
	char owner[512];

	for (size_t i = 0; i < p->n; i++)
		printf("  probe:   %u of %u %s came to %s\n", p->count[i],
		    p->sent, what_was_sent(w),
		    place_owner(owner, sizeof owner, &p->socket[i]));
	if (p->n == 0)
		printf("  probe:   %u %s, and no socket %s\n", p->sent,
		    what_was_sent(w),
		    p->traced ? "of this host took one in"
			      : "was seen to have one in its queue");
	if (!p->traced)
		printf("  unsure:  seen by the queues of the sockets only, "
		       "which an owner may empty at once: %s\n",
		    p->why);
	if (p->verdict == WHO_PROBE_DIFFERS)
		printf("  DIFFERS: the rules say otherwise\n");
}

json_t *
who_probe_json(const struct who_probe *p)
{
	json_t *seen = json_array(), *o;

	for (size_t i = 0; i < p->n; i++)
		json_array_append_new(seen,
		    json_pack("{s:i, s:o}", "count", (int)p->count[i], "socket",
			place_owner_json(&p->socket[i])));
	o = json_pack("{s:i, s:s, s:s, s:o}", "sent", (int)p->sent, "by",
	    p->traced ? "bpf" : "queues", "verdict",
	    who_probe_verdict_str(p->verdict), "seen", seen);
	if (!p->traced)
		json_object_set_new(o, "why_not_bpf", json_string(p->why));
	return o;
}
