#include "proxy/service.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "net/admission.h"
#include "net/limit.h"

#define RATE_ENTRIES 16384 /* client prefixes whose rate is remembered */

struct service_inner {
	atomic_size_t holders;
	atomic_size_t live;
	struct admission *clients; /* NULL: no limit a prefix */
	pthread_mutex_t mutex; /* of the two rates */
	struct limit *rate; /* NULL: none; one bucket for all */
	struct limit *client_rate;
};

/* ---- making and ending ---- */

static int
copy_prefixes(struct app_prefix **list, size_t n)
{
	const struct app_prefix *from = *list;

	*list = calloc(n + 1, sizeof **list);
	if (*list != NULL && n > 0)
		memcpy(*list, from, n * sizeof **list);
	return *list != NULL ? 0 : -1;
}

static int
copy_app(struct app *to, const struct app *from)
{
	int result;

	*to = *from;
	result = copy_prefixes(&to->allow, to->allows);
	if (copy_prefixes(&to->deny, to->denies) != 0)
		result = -1;
	return copy_prefixes(&to->trust, to->trusts) == 0 ? result : -1;
}

/* A second's worth at once. */
static int
make_rate(struct limit **out, double rate, uint32_t entries, unsigned int p4,
    unsigned int p6)
{
	const struct limit_config config = { .entries = entries,
		.rate_per_s = rate,
		.burst = fmax(1, rate),
		.prefix4 = p4,
		.prefix6 = p6 };

	if (rate <= 0)
		return 0;
	*out = limit_new(&config);
	return *out != NULL ? 0 : -1;
}

static int
make_limits(struct service *v, size_t capacity)
{
	const struct app_limits *l = &v->app.limits;
	struct service_inner *in = v->inner;
	const struct admission_config clients = { .max_total = capacity,
		.max_per_client = l->connections_per_prefix,
		.prefix4 = l->prefix4,
		.prefix6 = l->prefix6 };

	if (l->connections_per_prefix > 0) {
		in->clients = admission_new(&clients);
		if (in->clients == NULL)
			return -1;
	}
	if (pace_new(&v->pace, l) != 0 ||
	    make_rate(&in->rate, l->new_per_s, 1, 32, 128) != 0)
		return -1;
	return make_rate(&in->client_rate, l->new_per_s_per_prefix,
	    RATE_ENTRIES, l->prefix4, l->prefix6);
}

static void
destroy(struct service *v)
{
	struct service_inner *in = v->inner;

	free(v->app.allow);
	free(v->app.deny);
	free(v->app.trust);
	origins_free(v->origins);
	pace_free(v->pace);
	tally_book_release(v->book);
	if (in != NULL) {
		admission_free(in->clients);
		limit_free(in->rate);
		limit_free(in->client_rate);
		pthread_mutex_destroy(&in->mutex);
		free(in);
	}
	free(v);
}

static size_t
own_live(const struct service *v)
{
	return atomic_load(&v->inner->live);
}

/* One by one: a chain of them must not become a chain of calls. */
static void
release_chain(struct service *v)
{
	while (v != NULL && atomic_fetch_sub(&v->inner->holders, 1) == 1) {
		struct service *before = v->before;

		destroy(v);
		v = before;
	}
}

/* The last one may still get a session, from a worker that has not heard of
 * the reload; those before it are kept while they have some. */
static void
follow(struct service *v, struct service *before)
{
	struct service **at = &before->before;

	while (*at != NULL) {
		struct service *old = *at;

		if (own_live(old) > 0) {
			at = &old->before;
			continue;
		}
		*at = old->before;
		old->before = NULL;
		release_chain(old);
	}
	v->book = tally_book_hold(before->book);
	v->before = service_hold(before);
	atomic_store(&v->draining, atomic_load(&before->draining));
	if (v->draining)
		atomic_store(&v->ends_ns, atomic_load(&before->ends_ns));
}

struct service *
service_new(const struct app *a, size_t workers, size_t capacity,
    struct service *before)
{
	struct service *v = calloc(1, sizeof *v);

	if (v == NULL)
		return NULL;
	v->inner = calloc(1, sizeof *v->inner);
	if (before != NULL)
		follow(v, before);
	else
		v->book = tally_book_new(workers);
	if (v->inner != NULL) {
		pthread_mutex_init(&v->inner->mutex, NULL);
		atomic_store(&v->inner->holders, 1);
	}
	if (copy_app(&v->app, a) == 0 && v->inner != NULL && v->book != NULL &&
	    make_limits(v, capacity) == 0)
		v->origins = origins_new(&v->app);
	if (a->dns.name[0] != '\0')
		atomic_store(&v->resolution, SERVICE_RESOLVING);
	if (v->origins != NULL && before != NULL)
		origins_inherit(v->origins, before->origins);
	if (v->origins != NULL)
		return v;
	release_chain(v->before);
	destroy(v);
	errno = ENOMEM;
	return NULL;
}

struct service *
service_hold(struct service *v)
{
	atomic_fetch_add(&v->inner->holders, 1);
	return v;
}

void
service_release(struct service *v)
{
	release_chain(v);
}

/* ---- who may come in ---- */

/* False: too many a second. */
static bool
within_rate(
    struct service_inner *in, const struct addr *client, uint64_t now_ns)
{
	const struct addr everybody = { .in = { .sin_family = AF_INET } };
	bool good;

	if (in->rate == NULL && in->client_rate == NULL)
		return true;
	pthread_mutex_lock(&in->mutex);
	/* a client that is over its own limit takes nothing from others */
	good = (in->client_rate == NULL ||
		   limit_take(in->client_rate, client, now_ns)) &&
	    (in->rate == NULL || limit_take(in->rate, &everybody, now_ns));
	pthread_mutex_unlock(&in->mutex);
	return good;
}

static bool
count_in(struct service *v, const struct addr *client)
{
	struct service_inner *in = v->inner;
	size_t most = v->app.limits.connections;

	if (atomic_fetch_add(&in->live, 1) >= most && most > 0) {
		atomic_fetch_sub(&in->live, 1);
		return false;
	}
	if (in->clients == NULL ||
	    admission_enter(in->clients, client) == ADMISSION_OK)
		return true;
	atomic_fetch_sub(&in->live, 1);
	return false;
}

enum status
service_enter(struct service *v, struct tally *t, const struct addr *client,
    uint64_t now_ns)
{
	enum tally_key why;

	/* TCP has no listener then: who was accepted before may come in */
	if (atomic_load_explicit(&v->draining, memory_order_relaxed) &&
	    v->app.proto == SOCK_UDP)
		why = TALLY_REFUSED_DRAIN;
	else if (app_firewall(&v->app, client) == APP_DENY)
		why = TALLY_REFUSED_FIREWALL;
	else if (!within_rate(v->inner, client, now_ns))
		why = TALLY_REFUSED_RATE;
	else if (!count_in(v, client))
		why = TALLY_REFUSED_LIMIT;
	else
		return STATUS_OPEN;
	tally_add(t, why, 1);
	return why == TALLY_REFUSED_FIREWALL ? STATUS_FIREWALL
					     : STATUS_UNAVAILABLE;
}

void
service_leave(struct service *v, const struct addr *client)
{
	atomic_fetch_sub(&v->inner->live, 1);
	if (v->inner->clients != NULL)
		admission_leave(v->inner->clients, client);
}

size_t
service_live(const struct service *v)
{
	size_t live = 0;

	for (; v != NULL; v = v->before)
		live += own_live(v);
	return live;
}

void
service_end_by(struct service *v, uint64_t ends_ns)
{
	for (; v != NULL; v = v->before)
		atomic_store(&v->ends_ns, ends_ns);
}

static bool
end_own_ports(
    struct service *v, uint16_t first, uint16_t last, uint64_t ends_ns)
{
	uint32_t ports = (uint32_t)first << 16 | last;

	if (first <= v->app.port_first && last >= v->app.port_last) {
		atomic_store(&v->ports_end_ns, 0);
		return false;
	}
	if (v->ports_end_ns != 0 && v->ports == ports)
		return false;
	atomic_store(&v->ports, ports);
	atomic_store(&v->ports_end_ns, ends_ns);
	return true;
}

bool
service_end_ports(
    struct service *v, uint16_t first, uint16_t last, uint64_t ends_ns)
{
	bool ends = false;

	for (; v != NULL; v = v->before)
		ends |= end_own_ports(v, first, last, ends_ns);
	return ends;
}

uint64_t
service_ends_ns(const struct service *v, uint16_t port)
{
	uint64_t all = atomic_load(&v->ends_ns);
	uint64_t some = atomic_load(&v->ports_end_ns);
	uint32_t ports = atomic_load(&v->ports);

	if (some == 0 || (port >= ports >> 16 && port <= (ports & 0xffff)))
		return all;
	return all == 0 || some < all ? some : all;
}

/* ---- did it change? ---- */

static bool
same_prefixes(const struct app_prefix *a, const struct app_prefix *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (a[i].bits != b[i].bits ||
		    !addr_equal(&a[i].address, &b[i].address))
			return false;
	}
	return true;
}

static bool
same_edges(const struct app *a, const struct app *b)
{
	if (a->proto != b->proto || a->port_first != b->port_first ||
	    a->port_last != b->port_last || a->edges != b->edges)
		return false;
	for (size_t i = 0; i < a->edges; i++) {
		if (a->edge_bits[i] != b->edge_bits[i] ||
		    !addr_equal(&a->edge[i], &b->edge[i]))
			return false;
	}
	return true;
}

static bool
same_origins(const struct app *a, const struct app *b)
{
	if (a->origins != b->origins || a->balance != b->balance ||
	    a->origins_down != b->origins_down ||
	    a->eject.after != b->eject.after ||
	    a->eject.for_s != b->eject.for_s ||
	    !app_check_same(&a->check, &b->check) || a->header != b->header ||
	    a->transparent != b->transparent || !app_dns_same(a, b))
		return false;
	for (size_t i = 0; i < a->origins; i++) {
		if (a->origin[i].weight != b->origin[i].weight ||
		    !addr_equal(&a->origin[i].address, &b->origin[i].address))
			return false;
	}
	return true;
}

static bool
same_limits(const struct app_limits *a, const struct app_limits *b)
{
	return a->connections == b->connections &&
	    a->connections_per_prefix == b->connections_per_prefix &&
	    fabs(a->new_per_s - b->new_per_s) <= 0 &&
	    fabs(a->new_per_s_per_prefix - b->new_per_s_per_prefix) <= 0 &&
	    a->bytes_per_s == b->bytes_per_s &&
	    a->bytes_per_s_per_prefix == b->bytes_per_s_per_prefix &&
	    a->prefix4 == b->prefix4 && a->prefix6 == b->prefix6;
}

static bool
same_timeouts(const struct app_timeouts *a, const struct app_timeouts *b)
{
	return a->connect_ms == b->connect_ms && a->idle_ms == b->idle_ms &&
	    a->lifetime_ms == b->lifetime_ms && a->header_ms == b->header_ms;
}

static bool
same_tcp(const struct app_tcp *a, const struct app_tcp *b)
{
	return a->keepalive_s == b->keepalive_s &&
	    a->fast_open == b->fast_open &&
	    a->fast_open_origin == b->fast_open_origin &&
	    strcmp(a->congestion, b->congestion) == 0;
}

static bool
same_udp(const struct app_udp *a, const struct app_udp *b)
{
	return a->requests == b->requests && a->responses == b->responses &&
	    a->one_way == b->one_way;
}

bool
service_same(const struct app *a, const struct app *b)
{
	return strcmp(a->name, b->name) == 0 && same_edges(a, b) &&
	    same_origins(a, b) && same_limits(&a->limits, &b->limits) &&
	    same_timeouts(&a->timeouts, &b->timeouts) &&
	    same_tcp(&a->tcp, &b->tcp) && same_udp(&a->udp, &b->udp) &&
	    a->fast_path == b->fast_path && a->allows == b->allows &&
	    a->denies == b->denies && a->trusts == b->trusts &&
	    same_prefixes(a->allow, b->allow, a->allows) &&
	    same_prefixes(a->deny, b->deny, a->denies) &&
	    same_prefixes(a->trust, b->trust, a->trusts);
}
