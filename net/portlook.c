#include "net/portlook.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define LOOK_MAX 256 /* sockets of one port that are looked at */

static unsigned int
kernel_version(void)
{
	unsigned int major, minor;
	struct utsname u;

	if (uname(&u) != 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return PORTRULES_KERNEL_NEWEST;
	return 1000 * major + minor;
}

static void
take(struct portrules_socket *s, const struct portscan_socket *f)
{
	memset(s, 0, sizeof *s);
	s->proto = f->proto;
	s->state = f->state;
	s->local = f->local;
	s->peer = f->peer;
	s->uid = f->uid;
	s->device = f->device;
	s->cpu = f->cpu;
	s->v6only = f->v6only;
	s->reuseaddr = f->reuseaddr;
	s->reuseport = f->reuseport;
}

/* Two listeners at one place are a group, whatever has become of the flag by
 * which they could be: the first that the kernel finds must still have it. */
static bool
has_twin(const struct portlook *l, size_t i)
{
	const struct portscan_socket *s = &l->found[i];

	if (s->proto != SOCK_TCP || s->state != PORTRULES_LISTEN)
		return false;
	for (size_t k = 0; k < l->n; k++) {
		const struct portscan_socket *t = &l->found[k];

		if (k != i && t->state == s->state && t->uid == s->uid &&
		    t->device == s->device && t->v6only == s->v6only &&
		    addr_equal(&t->local, &s->local))
			return true;
	}
	return false;
}

/*
 * The accepted connections and what remains of them carry their listener's
 * flags; a process that has thousands is not asked about each.
 */
static void
adopt_all(struct portlook *l)
{
	l->rules.sockets = l->sockets;
	l->rules.n = l->n;
	l->rules.kernel = kernel_version();
	for (size_t i = 0; i < l->n; i++) {
		take(&l->sockets[i], &l->found[i]);
		l->blind += !l->found[i].flags_seen;
		l->sockets[i].reuseport |= has_twin(l, i);
		portrules_adopt(&l->rules, i);
	}
	/* the order of the scan is the kernel's */
	for (size_t i = 0; i < l->n; i++) {
		l->sockets[i].place = (long)i + 1;
		l->sockets[i].reuseport = l->found[i].reuseport;
	}
	l->rules.clock = (long)l->n + 1;
}

static size_t
sift(struct portscan_socket *found, size_t n, portlook_wanted *wanted,
    const void *context)
{
	size_t left = 0;

	for (size_t i = 0; i < n; i++)
		if (wanted == NULL || wanted(context, &found[i]))
			found[left++] = found[i];
	return left;
}

int
portlook_scan(struct portlook *l, enum sock_proto proto, uint16_t port)
{
	return portlook_scan_some(l, proto, port, NULL, NULL);
}

int
portlook_scan_some(struct portlook *l, enum sock_proto proto, uint16_t port,
    portlook_wanted *wanted, const void *context)
{
	int found;

	memset(l, 0, sizeof *l);
	l->found = calloc(LOOK_MAX, sizeof *l->found);
	/* and room for a newcomer */
	l->sockets = calloc(LOOK_MAX + 1, sizeof *l->sockets);
	if (l->found == NULL || l->sockets == NULL)
		return -1;
	found = portscan_port(proto, port, true, l->found, LOOK_MAX);
	if (found < 0)
		return -1;
	l->total = (size_t)found;
	l->n = l->total < LOOK_MAX ? l->total : LOOK_MAX;
	l->n = sift(l->found, l->n, wanted, context);
	adopt_all(l);
	return 0;
}

void
portlook_free(struct portlook *l)
{
	free(l->found);
	free(l->sockets);
	memset(l, 0, sizeof *l);
}

void
portlook_newcomer(struct portrules_socket *s, enum sock_proto proto,
    const struct addr *a, const struct sock_opts *o)
{
	memset(s, 0, sizeof *s);
	s->proto = proto;
	s->local = *a;
	s->uid = o->owner != NULL ? *o->owner : geteuid();
	s->reuseaddr = o->reuseaddr;
	s->reuseport = o->reuseport;
	s->v6only = o->v6only && a->sa.sa_family == AF_INET6;
	s->device = o->device != NULL ? if_nametoindex(o->device) : 0;
}

size_t
portlook_add(struct portlook *l, const struct portrules_socket *newcomer)
{
	size_t i = l->n;

	l->sockets[i] = *newcomer;
	l->rules.n = i + 1;
	if (portrules_bind(&l->rules, i).error != 0)
		return PORTRULES_NOBODY;
	if (newcomer->proto == SOCK_TCP &&
	    portrules_listen(&l->rules, i).error != 0)
		return PORTRULES_NOBODY;
	return i;
}

char *
portlook_owner(char *buf, size_t len, const struct portscan_socket *h)
{
	char there[ADDR_STR_LEN];

	addr_format(there, &h->local);
	if (h->pid != 0)
		snprintf(buf, len, "pid %ld (%s), uid %u, on %s", (long)h->pid,
		    h->command, h->uid, there);
	else if (h->inode == 0)
		snprintf(buf, len,
		    "no process any more: a connection of %s "
		    "that waits out its end",
		    there);
	else
		snprintf(buf, len, "a process of uid %u on %s (%s)", h->uid,
		    there,
		    geteuid() == 0 ? "it is not visible from here"
				   : "only root can see which");
	return buf;
}

static void
explain_verdict(char *buf, size_t len, const char *name,
    const struct portlook *l, const struct portrules_socket *newer)
{
	struct portrules_verdict v = portrules_predict(&l->rules, newer);
	char owner[256];

	if (v.other == PORTRULES_NOBODY || v.error == 0) {
		snprintf(
		    buf, len, "%s: no socket in sight is in the way", name);
		return;
	}
	snprintf(buf, len,
	    "%s is in use: held by %s: %s; smallest change: %s%s", name,
	    portlook_owner(owner, sizeof owner, &l->found[v.other]),
	    portrules_rule_say(v.rule), portrules_fix_say(v.fix),
	    l->found[v.other].flags_seen || l->found[v.other].inode == 0
		? ""
		: " (its flags are not visible to us and taken as none)");
}

char *
portlook_explain(char *buf, size_t len, enum sock_proto proto,
    const struct addr *wanted, const struct sock_opts *o)
{
	return portlook_explain_some(buf, len, proto, wanted, o, NULL, NULL);
}

char *
portlook_explain_some(char *buf, size_t len, enum sock_proto proto,
    const struct addr *wanted, const struct sock_opts *o,
    portlook_wanted *to_blame, const void *context)
{
	char here[ADDR_STR_LEN], name[ADDR_STR_LEN + 8];
	struct portrules_socket newer;
	struct portlook l;

	addr_format(here, wanted);
	snprintf(name, sizeof name, "%s %s", proto == SOCK_UDP ? "udp" : "tcp",
	    here);
	portlook_newcomer(&newer, proto, wanted, o);
	if (portlook_scan_some(
		&l, proto, addr_port(wanted), to_blame, context) < 0)
		snprintf(buf, len,
		    "%s is in use; by whom cannot be told: sock_diag: %s", name,
		    strerror(errno));
	else
		explain_verdict(buf, len, name, &l, &newer);
	portlook_free(&l);
	return buf;
}
