#include "portshare/repair_plan.h"

#include <stdlib.h>
#include <string.h>

#include "portshare/aftermath.h"

static bool
carries(const struct portrules_socket *s, enum sockflag flag)
{
	return flag == SOCKFLAG_REUSEADDR ? s->reuseaddr : s->reuseport;
}

static void
supposes(struct portrules_socket *s, enum sockflag flag)
{
	if (flag == SOCKFLAG_REUSEADDR)
		s->reuseaddr = true;
	else
		s->reuseport = true;
}

/* The holder's, of several in the way the first listener's. */
static unsigned int
holder_uid(const struct repair_plan *p)
{
	const struct portrules *r = &p->look.rules;
	unsigned int uid = p->newer.uid;
	bool found = false;

	for (size_t i = 0; i < p->look.n; i++)
		if (portrules_overlap(&p->look.sockets[i], &p->newer) &&
		    (!found || r->sockets[i].state == PORTRULES_LISTEN)) {
			uid = r->sockets[i].uid;
			found = true;
		}
	return uid;
}

/* They carry their listener's flag, and SO_REUSEADDR excuses them. */
static bool
has_connections(const struct repair_plan *p)
{
	for (size_t i = 0; p->proto == SOCK_TCP && i < p->look.n; i++)
		if (p->look.sockets[i].state != PORTRULES_LISTEN &&
		    portrules_overlap(&p->look.sockets[i], &p->newer))
			return true;
	return false;
}

/* A socket without a process (TIME_WAIT) stays as it is. */
static void
collect(struct repair_plan *p)
{
	for (size_t i = 0; i < p->look.n; i++) {
		const struct portscan_socket *s = &p->look.found[i];

		if (!portrules_in_the_way(&p->look.rules, &p->newer, i) ||
		    carries(&p->look.sockets[i], p->flag) || s->inode == 0)
			continue;
		if (s->pid == 0) {
			p->hidden = i;
			p->kind = REPAIR_PLAN_HIDDEN;
		}
		supposes(&p->look.sockets[i], p->flag);
		p->needs[p->n++] = i;
	}
}

static void
decide(struct repair_plan *p)
{
	p->verdict = portrules_predict(&p->look.rules, &p->newer);
	if (p->verdict.error == 0)
		return;
	p->newer.reuseaddr |= has_connections(p);
	collect(p);
	p->verdict = portrules_predict(&p->look.rules, &p->newer);
	if (p->verdict.error != 0)
		p->kind = REPAIR_PLAN_USELESS;
	else if (p->kind != REPAIR_PLAN_HIDDEN)
		p->kind = REPAIR_PLAN_OPEN;
}

int
repair_plan_make(struct repair_plan *p, enum sock_proto proto,
    const struct addr *wanted, bool v6only, unsigned int uid)
{
	const struct sock_opts o = {
		.reuseaddr = proto == SOCK_UDP,
		.reuseport = proto == SOCK_TCP,
		.v6only = v6only,
	};

	memset(p, 0, sizeof *p);
	p->proto = proto;
	p->flag = proto == SOCK_UDP ? SOCKFLAG_REUSEADDR : SOCKFLAG_REUSEPORT;
	p->hidden = PORTRULES_NOBODY;
	if (portlook_scan(&p->look, proto, addr_port(wanted)) < 0)
		return -1;
	p->needs = calloc(p->look.n + 1, sizeof *p->needs);
	if (p->needs == NULL)
		return -1;
	portlook_newcomer(&p->newer, proto, wanted, &o);
	p->newer.uid = uid != REPAIR_PLAN_ANY_UID ? uid : holder_uid(p);
	decide(p);
	if (p->verdict.error == 0)
		p->then = aftermath_of(&p->look, &p->newer);
	return 0;
}

void
repair_plan_free(struct repair_plan *p)
{
	portlook_free(&p->look);
	free(p->needs);
	memset(p, 0, sizeof *p);
}
