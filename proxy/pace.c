#include "proxy/pace.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "net/limit.h"

#define NS_PER_S 1000000000u
#define SLACK_NS (NS_PER_S / 20) /* that can be made up for */
#define PORTIONS 50 /* a second */
#define PORTION_MIN 512u /* bytes */
#define PORTION_MAX 262144u
#define ENTRIES 16384 /* client prefixes that are remembered */

struct pace {
	uint64_t rate; /* bytes a second of all, 0: no limit */
	_Atomic uint64_t paid_ns; /* when the bytes so far will be paid for */
	uint64_t client_rate; /* 0: no limit, and none of the next two */
	pthread_mutex_t mutex;
	struct limit *clients;
};

/* ---- making and ending ---- */

static int
make_clients(struct pace *p, const struct app_limits *l)
{
	const struct limit_config config = { .entries = ENTRIES,
		.rate_per_s = (double)p->client_rate,
		.burst = (double)p->client_rate,
		.prefix4 = l->prefix4,
		.prefix6 = l->prefix6 };

	if (p->client_rate == 0)
		return 0;
	p->clients = limit_new(&config);
	return p->clients != NULL ? 0 : -1;
}

int
pace_new(struct pace **out, const struct app_limits *limits)
{
	struct pace *p;

	*out = NULL;
	if (!app_is_paced(limits))
		return 0;
	p = calloc(1, sizeof *p);
	if (p == NULL)
		return -1;
	p->rate = limits->bytes_per_s;
	p->client_rate = limits->bytes_per_s_per_prefix;
	pthread_mutex_init(&p->mutex, NULL);
	*out = p;
	return make_clients(p, limits);
}

void
pace_free(struct pace *p)
{
	if (p == NULL)
		return;
	limit_free(p->clients);
	pthread_mutex_destroy(&p->mutex);
	free(p);
}

/* ---- what is dropped ---- */

static uint64_t
time_of(const struct pace *p, size_t bytes)
{
	return (uint64_t)bytes * NS_PER_S / p->rate;
}

static bool
take_of_all(struct pace *p, size_t bytes, uint64_t now_ns)
{
	uint64_t paid = atomic_load(&p->paid_ns), from;

	do {
		from = paid > now_ns ? paid : now_ns;
		if (from - now_ns > NS_PER_S)
			return false;
	} while (!atomic_compare_exchange_weak(
	    &p->paid_ns, &paid, from + time_of(p, bytes)));
	return true;
}

static bool
take_of_client(
    struct pace *p, const struct addr *client, size_t bytes, uint64_t now_ns)
{
	bool good;

	pthread_mutex_lock(&p->mutex);
	good = limit_take_many(p->clients, client, bytes, now_ns);
	pthread_mutex_unlock(&p->mutex);
	return good;
}

static void
return_to_client(struct pace *p, const struct addr *client, size_t bytes)
{
	pthread_mutex_lock(&p->mutex);
	limit_return(p->clients, client, bytes);
	pthread_mutex_unlock(&p->mutex);
}

bool
pace_take(
    struct pace *p, const struct addr *client, size_t bytes, uint64_t now_ns)
{
	/* a client that is over its own limit takes nothing from others */
	if (p->client_rate > 0 && !take_of_client(p, client, bytes, now_ns))
		return false;
	if (p->rate == 0 || take_of_all(p, bytes, now_ns))
		return true;
	if (p->client_rate > 0)
		return_to_client(p, client, bytes);
	return false;
}

/* ---- what waits ---- */

static uint64_t
reserve_of_all(struct pace *p, size_t bytes, uint64_t earliest)
{
	uint64_t paid = atomic_load(&p->paid_ns), from;

	do {
		from = paid > earliest ? paid : earliest;
	} while (!atomic_compare_exchange_weak(
	    &p->paid_ns, &paid, from + time_of(p, bytes)));
	return from;
}

static uint64_t
reserve_of_client(
    struct pace *p, const struct addr *client, size_t bytes, uint64_t earliest)
{
	uint64_t from;

	pthread_mutex_lock(&p->mutex);
	from = limit_reserve(p->clients, client, bytes, earliest);
	pthread_mutex_unlock(&p->mutex);
	return from;
}

uint64_t
pace_reserve(
    struct pace *p, const struct addr *client, size_t bytes, uint64_t now_ns)
{
	/* what was not used while nobody asked, or while we overslept */
	uint64_t earliest = now_ns > SLACK_NS ? now_ns - SLACK_NS : 0;
	uint64_t own = earliest, all = earliest;

	if (p->client_rate > 0)
		own = reserve_of_client(p, client, bytes, earliest);
	if (p->rate > 0)
		all = reserve_of_all(p, bytes, earliest);
	return own > all ? own : all;
}

void
pace_give_back(struct pace *p, const struct addr *client, size_t bytes)
{
	if (p->client_rate > 0)
		return_to_client(p, client, bytes);
	if (p->rate > 0)
		atomic_fetch_sub(&p->paid_ns, time_of(p, bytes));
}

size_t
pace_portion(const struct pace *p)
{
	uint64_t rate = p->rate;
	uint64_t bytes;

	if (rate == 0 || (p->client_rate > 0 && p->client_rate < rate))
		rate = p->client_rate;
	bytes = rate / PORTIONS;
	if (bytes < PORTION_MIN)
		return PORTION_MIN;
	return bytes < PORTION_MAX ? (size_t)bytes : PORTION_MAX;
}
