/* Descriptors: how many there are, and who may have how many of them. */
#include "proxy/proxy_state.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "proxy/udp.h"

#define FDS_BESIDE 128 /* loops, log, files */

/* A proxy lives on descriptors: all that we may have. */
void
proxy_raise_fds(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		log_warning("limit of open files: %s", strerror(errno));
}

void
proxy_check_sessions(const struct proxy *p)
{
	size_t sessions = proxy_settings_workers(p->started) *
	    (size_t)p->started->tcp_sessions;
	struct rlimit limit;
	size_t room;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
	    limit.rlim_cur == RLIM_INFINITY)
		return;
	room = ((size_t)limit.rlim_cur - p->edges.count * p->edges.queues) / 2;
	if (room < sessions)
		log_info("tcp_sessions promises %zu sessions, but the limit "
			 "of %llu open files is good for about %zu",
		    sessions, (unsigned long long)limit.rlim_cur, room);
}

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* What flows may have of the descriptors: half when there is TCP too. */
void
proxy_limit_flows(struct proxy *p)
{
	size_t workers = proxy_settings_workers(p->started);
	size_t reserve = p->edges.count * p->edges.queues + FDS_BESIDE;
	uint32_t wanted = (uint32_t)p->started->udp_flows;
	struct rlimit limit;
	bool tcp = false, udp = false;

	for (size_t i = 0; i < p->started->apps; i++) {
		tcp |= p->started->app[i].proto == SOCK_TCP;
		udp |= p->started->app[i].proto == SOCK_UDP;
		if (p->started->app[i].check.kind != APP_CHECK_OFF)
			reserve += p->started->app[i].origins;
	}
	if (tcp && getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur > reserve)
		reserve += (limit.rlim_cur - reserve) / 2;
	reserve += proxy_exits(p, reserve);
	p->udp_flows = udp_flows_most(wanted, workers, reserve);
	if (udp && p->udp_flows < wanted)
		log_info("udp_flows asks for %u flows a worker; open files "
			 "and local ports are good for %u",
		    wanted, p->udp_flows);
}

/* What TCP leaves of them when many connect: to flows a quarter at least, and
 * some to health checks, DNS and the control socket. */
void
proxy_limit_sessions(struct proxy *p)
{
	size_t flows = proxy_settings_workers(p->started) * p->udp_flows;
	size_t bound = p->edges.count * p->edges.queues, most, rest, kept;
	struct rlimit limit;

	p->tcp_fds = INT_MAX;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= INT_MAX)
		return;
	most = (size_t)limit.rlim_cur;
	rest = most > bound ? most - bound : 0;
	kept = least(FDS_BESIDE / 2, rest / 8);
	for (size_t i = 0; i < p->started->apps; i++) {
		if (p->started->app[i].proto == SOCK_UDP) {
			kept += least(flows, rest / 4);
			break;
		}
	}
	p->tcp_fds = (int)(most - kept);
}
