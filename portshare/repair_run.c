/* The time between the flag's setting and its clearing. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/portowner.h"
#include "portshare/repair.h"

#define REST_NS 5000000u /* between two looks */

const char *
repair_end_str(enum repair_end end)
{
	static const char *const words[] = {
		[REPAIR_OPEN] = "not opened",
		[REPAIR_BOUND] = "bound",
		[REPAIR_EXPIRED] = "expired",
		[REPAIR_STOPPED] = "stopped",
		[REPAIR_GONE] = "gone",
	};

	return words[end];
}

static bool
was_there(const struct repair_plan *p, const struct portscan_socket *s)
{
	for (size_t i = 0; i < p->look.n; i++)
		if (p->look.found[i].cookie == s->cookie)
			return true;
	return false;
}

/* Bound as wished, and TCP listens too: then nothing more is asked of it. */
static bool
is_newcomer(const struct repair *r, const struct portscan_socket *s)
{
	return s->listening && addr_equal(&s->local, &r->plan.newer.local) &&
	    !was_there(&r->plan, s);
}

static void
look(struct repair *r)
{
	static struct portscan_socket found[REPAIR_LOOK];
	int n = portscan_bare(r->plan.proto, addr_port(&r->plan.newer.local),
	    false, found, REPAIR_LOOK);

	for (int i = 0; !r->bound && i < n && i < REPAIR_LOOK; i++)
		if (is_newcomer(r, &found[i])) {
			r->bound = true;
			r->newcomer = found[i];
		}
}

static bool
all_bound(struct repair *r, size_t n)
{
	bool all = true;

	for (size_t i = 0; i < n; i++) {
		if (!r[i].bound)
			look(&r[i]);
		all &= r[i].bound;
	}
	return all;
}

static bool
has_ended(int peer)
{
	struct pollfd p = { .fd = peer, .events = POLLIN };

	return peer >= 0 && poll(&p, 1, 0) > 0;
}

/* A moment, or as long as the look took: half a CPU at most on a host with
 * very many sockets. True: a signal came. */
static bool
rest(const sigset_t *stops, uint64_t look_ns)
{
	uint64_t ns = look_ns > REST_NS ? look_ns : REST_NS;
	struct timespec t = {
		.tv_sec = (time_t)(ns / 1000000000u),
		.tv_nsec = (long)(ns % 1000000000u),
	};

	return sigtimedwait(stops, NULL, &t) > 0;
}

static enum repair_end
watch(const struct repair_wish *w, struct repair *r, size_t n, int peer,
    const sigset_t *stops)
{
	uint64_t start = clock_monotonic_ns();
	uint64_t end = start + (uint64_t)w->window_ms * 1000000u;

	for (;;) {
		/* asked before the look, lest its last bind be missed */
		bool ended = has_ended(peer);
		uint64_t before = clock_monotonic_ns(), now;

		if (all_bound(r, n))
			return REPAIR_BOUND;
		if (ended)
			return REPAIR_GONE;
		now = clock_monotonic_ns();
		if (now >= end)
			return REPAIR_EXPIRED;
		if (rest(stops, now - before))
			return REPAIR_STOPPED;
	}
}

/* Who it is; and its own flag off as well, if that was asked for. */
static void
meet(const struct repair_wish *w, struct repair *r)
{
	int fd;

	portowner_find(&r->newcomer, 1);
	if (!w->both || r->newcomer.pid == 0)
		return;
	fd = portowner_copy(&r->newcomer);
	if (fd < 0)
		return;
	r->mended = sockflag_set(fd, r->plan.flag, false) == 0;
	close(fd);
	portowner_find(&r->newcomer, 1);
}

static int
open_all(struct opening *o, const struct repair *r, size_t n)
{
	opening_init(o);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < r[i].plan.n; k++)
			if (opening_add(o,
				&r[i].plan.look.found[r[i].plan.needs[k]],
				r[i].plan.flag) < 0)
				return -1;
	return opening_begin(o);
}

enum repair_end
repair_run(const struct repair_wish *w, struct repair *r, size_t n, int peer,
    void (*ready)(void *), void *context, size_t *left)
{
	enum repair_end end = REPAIR_OPEN;
	sigset_t stops, before;
	struct opening o;
	uint64_t opened;
	int saved;

	sigemptyset(&stops);
	sigaddset(&stops, SIGTERM);
	sigaddset(&stops, SIGINT);
	sigaddset(&stops, SIGHUP);
	sigprocmask(SIG_BLOCK, &stops, &before);
	opened = clock_monotonic_ns();
	if (open_all(&o, r, n) == 0) {
		ready(context);
		end = watch(w, r, n, peer, &stops);
	}
	saved = errno;
	*left = opening_end(&o);
	for (size_t i = 0; i < n; i++) {
		r[i].open_ms = (double)(clock_monotonic_ns() - opened) / 1e6;
		if (r[i].bound)
			meet(w, &r[i]);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = saved;
	return end;
}
