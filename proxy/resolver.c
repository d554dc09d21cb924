#include "proxy/resolver.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* 1 + 2 + 4 seconds for a server that does not answer. */
#define TRY_MS 1000
#define TRIES 3
#define EDNS_BYTES 1232 /* of a UDP reply, so that no fragments are needed */

#define SOCKETS_MAX (2 * RESOLVER_SERVERS_MAX) /* UDP and TCP of each */

struct resolver {
	ares_channel channel;
	struct ares_addr_port_node *system; /* of /etc/resolv.conf */
	struct ev_loop *loop;
	ev_timer timer;
	ev_io sockets[SOCKETS_MAX]; /* not active: free */
	struct log_gate lack;
};

/* A question on its way. */
struct question {
	resolver_answer *answer;
	void *arg;
};

const char *
resolver_outcome_str(enum resolver_outcome outcome)
{
	switch (outcome) {
	case RESOLVER_ANSWERED:
		return "answered";
	case RESOLVER_NO_NAME:
		return "there is no such name (NXDOMAIN)";
	case RESOLVER_NO_RECORDS:
		return "the name has no such record";
	case RESOLVER_TIMEDOUT:
		return "no DNS server answers (timeout)";
	case RESOLVER_FAILED:
		return "every DNS server fails: not reachable, SERVFAIL or "
		       "REFUSED";
	case RESOLVER_CANCELLED:
		return "cancelled";
	}
	return "?";
}

/* ---- the loop ---- */

static void
set_timer(struct resolver *r)
{
	struct timeval tv;

	ev_timer_stop(r->loop, &r->timer);
	if (ares_timeout(r->channel, NULL, &tv) == NULL)
		return; /* nothing is asked */
	ev_timer_set(
	    &r->timer, (double)tv.tv_sec + (double)tv.tv_usec / 1e6, 0);
	ev_timer_start(r->loop, &r->timer);
}

static void
timer_event(struct ev_loop *loop, ev_timer *w, int events)
{
	struct resolver *r = w->data;

	(void)loop;
	(void)events;
	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	set_timer(r);
}

static void
socket_event(struct ev_loop *loop, ev_io *w, int events)
{
	struct resolver *r = w->data;
	int fd = w->fd;

	(void)loop;
	ares_process_fd(r->channel, events & EV_READ ? fd : ARES_SOCKET_BAD,
	    events & EV_WRITE ? fd : ARES_SOCKET_BAD);
	set_timer(r);
}

/* The watcher of `fd`, or a free one, or NULL. */
static ev_io *
find_socket(struct resolver *r, int fd)
{
	ev_io *empty = NULL;

	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		if (!ev_is_active(&r->sockets[i]))
			empty = &r->sockets[i];
		else if (r->sockets[i].fd == fd)
			return &r->sockets[i];
	}
	return empty;
}

/* c-ares says what it waits for; neither: it is about to close `fd`. */
static void
socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct resolver *r = data;
	ev_io *w = find_socket(r, fd);

	if (w == NULL) {
		/* the question is then a timeout */
		log_limited(&r->lack, LOG_LEVEL_WARNING,
		    "DNS: too many sockets at once");
		return;
	}
	ev_io_stop(r->loop, w);
	if (!readable && !writable)
		return;
	ev_io_set(w, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
	ev_io_start(r->loop, w);
}

void
resolver_start(struct resolver *r, struct ev_loop *loop)
{
	r->loop = loop;
	ev_timer_init(&r->timer, timer_event, 0, 0);
	r->timer.data = r;
	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		ev_io_init(&r->sockets[i], socket_event, -1, 0);
		r->sockets[i].data = r;
	}
}

/* ---- questions ---- */

static enum resolver_outcome
outcome_of(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return RESOLVER_ANSWERED;
	case ARES_ENOTFOUND:
		return RESOLVER_NO_NAME;
	case ARES_ENODATA:
		return RESOLVER_NO_RECORDS;
	case ARES_ETIMEOUT:
		return RESOLVER_TIMEDOUT;
	case ARES_ECANCELLED:
	case ARES_EDESTRUCTION:
		return RESOLVER_CANCELLED;
	default:
		return RESOLVER_FAILED;
	}
}

static void
answered(void *arg, int status, int timeouts, unsigned char *reply, int len)
{
	struct question q = *(struct question *)arg;

	(void)timeouts;
	free(arg);
	q.answer(q.arg, outcome_of(status), reply, len > 0 ? (size_t)len : 0);
}

void
resolver_ask(struct resolver *r, const char *name, enum dnsreply_kind kind,
    resolver_answer *answer, void *arg)
{
	static const int types[] = { [DNSREPLY_A] = ns_t_a,
		[DNSREPLY_AAAA] = ns_t_aaaa,
		[DNSREPLY_SRV] = ns_t_srv };
	struct question *q = malloc(sizeof *q);

	if (q == NULL) {
		answer(arg, RESOLVER_FAILED, NULL, 0);
		return;
	}
	*q = (struct question){ answer, arg };
	ares_query(r->channel, name, ns_c_in, types[kind], answered, q);
	set_timer(r);
}

/* ---- servers ---- */

static struct ares_addr_port_node
to_node(const struct addr *a)
{
	struct ares_addr_port_node node = { .family = a->sa.sa_family,
		.udp_port = addr_port(a),
		.tcp_port = addr_port(a) };

	if (a->sa.sa_family == AF_INET)
		node.addr.addr4 = a->in.sin_addr;
	else
		memcpy(&node.addr.addr6, &a->in6.sin6_addr,
		    sizeof node.addr.addr6);
	return node;
}

int
resolver_servers(struct resolver *r, const struct addr *list, size_t n)
{
	struct ares_addr_port_node nodes[RESOLVER_SERVERS_MAX];
	int result;

	for (size_t i = 0; i < n; i++) {
		nodes[i] = to_node(&list[i]);
		nodes[i].next = i + 1 < n ? &nodes[i + 1] : NULL;
	}
	ares_cancel(r->channel); /* with questions open it takes no servers */
	result =
	    ares_set_servers_ports(r->channel, n > 0 ? &nodes[0] : r->system);
	if (result == ARES_SUCCESS)
		return 0;
	log_error("resolvers: %s", ares_strerror(result));
	return -1;
}

static struct addr
from_node(const struct ares_addr_port_node *node)
{
	struct addr a = { .sa.sa_family = (sa_family_t)node->family };

	if (node->family == AF_INET)
		a.in.sin_addr = node->addr.addr4;
	else
		memcpy(&a.in6.sin6_addr, &node->addr.addr6,
		    sizeof a.in6.sin6_addr);
	addr_set_port(&a,
	    (uint16_t)(node->udp_port != 0 ? node->udp_port : NS_DEFAULTPORT));
	return a;
}

void
resolver_log(const struct resolver *r)
{
	char text[RESOLVER_SERVERS_MAX * (ADDR_STR_LEN + 2)] = "";
	struct ares_addr_port_node *list = NULL;
	char one[ADDR_STR_LEN];
	size_t len = 0;

	if (ares_get_servers_ports(r->channel, &list) != ARES_SUCCESS)
		return; /* no memory for a line */
	for (const struct ares_addr_port_node *n = list;
	     n != NULL && len < sizeof text; n = n->next) {
		struct addr a = from_node(n);

		len += (size_t)snprintf(text + len, sizeof text - len, "%s%s",
		    n == list ? "" : ", ", addr_format(one, &a));
	}
	ares_free_data(list);
	log_info("DNS servers: %s", text);
}

/* The system's, as far as there are sockets for them. */
static int
keep_system(struct resolver *r)
{
	int result = ares_get_servers_ports(r->channel, &r->system);
	struct ares_addr_port_node *last = r->system;

	if (result != ARES_SUCCESS)
		return result;
	for (size_t i = 1; i < RESOLVER_SERVERS_MAX && last != NULL; i++)
		last = last->next;
	if (last == NULL || last->next == NULL)
		return ARES_SUCCESS;
	ares_free_data(last->next);
	last->next = NULL;
	return ares_set_servers_ports(r->channel, r->system);
}

/* ---- making and ending ---- */

struct resolver *
resolver_new(void)
{
	struct resolver *r = calloc(1, sizeof *r);
	struct ares_options o = { .flags = ARES_FLAG_EDNS,
		.timeout = TRY_MS,
		.tries = TRIES,
		.ednspsz = EDNS_BYTES,
		.sock_state_cb = socket_state,
		.sock_state_cb_data = r };
	int result = ARES_ENOMEM;

	if (r != NULL)
		result = ares_init_options(&r->channel, &o,
		    ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
			ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB);
	if (result == ARES_SUCCESS)
		result = keep_system(r);
	if (result == ARES_SUCCESS)
		return r;
	log_error("DNS: %s", ares_strerror(result));
	resolver_free(r);
	return NULL;
}

void
resolver_free(struct resolver *r)
{
	if (r == NULL)
		return;
	if (r->channel != NULL)
		ares_destroy(r->channel);
	ares_free_data(r->system);
	if (r->loop != NULL)
		ev_timer_stop(r->loop, &r->timer);
	free(r);
}
