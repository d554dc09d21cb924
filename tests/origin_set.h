/* Sets of origins for tests: made from numbers and letters, and looked at. */
#ifndef TESTS_ORIGIN_SET_H
#define TESTS_ORIGIN_SET_H

#include <stdlib.h>

#include "proxy/origin.h"
#include "tests/sockets.h"

#define S 1000000000ull

/* Origin `n` of all that a test may name. */
static inline struct app_origin
origin(unsigned int n)
{
	struct app_origin o = { .weight = 1 };

	o.address.in.sin_family = AF_INET;
	o.address.in.sin_addr.s_addr = htonl(0xc0000200 + n);
	addr_set_port(&o.address, 53);
	return o;
}

#define EJECT_AFTER 3
#define EJECT_S 10

/* With the defaults of l4proxyd.yaml. */
static inline struct app *
make_app(enum app_balance balance, unsigned int origins)
{
	struct app *a = calloc(1, sizeof *a);

	assert_non_null(a);
	a->balance = balance;
	a->port_first = a->port_last = 53;
	a->eject = (struct app_eject){ EJECT_AFTER, EJECT_S };
	a->check.rise = 2;
	a->check.fall = 3;
	for (unsigned int i = 0; i < origins; i++)
		a->origin[a->origins++] = origin(i);
	return a;
}

static inline struct origins *
make_from(struct app *a)
{
	struct origins *o = origins_new(a);

	assert_non_null(o);
	free(a);
	return o;
}

static inline struct origins *
make(enum app_balance balance, unsigned int origins)
{
	return make_from(make_app(balance, origins));
}

/* `names` one letter each: "ac" is the first and the third. */
static inline int
replace(struct origins *o, const char *names)
{
	struct app_origin list[APP_ORIGINS_MAX];
	size_t n = 0;

	for (; names[n] != '\0'; n++)
		list[n] = origin((unsigned int)(names[n] - 'a'));
	return origins_replace(o, list, n);
}

static inline void
health(struct origins *o, unsigned int n, bool up)
{
	struct app_origin a = origin(n);

	/* rise 2 and fall 3 */
	for (int i = 0; i < (up ? 2 : 3); i++)
		origins_checked(o, &a.address, up ? NULL : "test", 7);
}

static inline int
begin_at(struct origins *o, uint64_t tried, uint64_t now_ns)
{
	struct addr client = sockets_addr("10.0.0.1:1"), to;

	return origins_begin(o, &client, 53, tried, now_ns, &to);
}

/* The slot that would be next. */
static inline int
choose(struct origins *o, uint64_t tried, uint64_t now_ns)
{
	int slot = begin_at(o, tried, now_ns);

	origins_end(o, slot);
	return slot;
}

static inline struct origin_view
look(struct origins *o, int slot, uint64_t now_ns)
{
	struct origin_view v[APP_ORIGINS_MAX];
	size_t n = origins_view(o, v, APP_ORIGINS_MAX, now_ns);

	for (size_t i = 0; i < n; i++)
		if (v[i].slot == slot)
			return v[i];
	fail_msg("slot %d is not in use", slot);
	return v[0];
}

static inline size_t
used(struct origins *o)
{
	struct origin_view v[APP_ORIGINS_MAX];

	return origins_view(o, v, APP_ORIGINS_MAX, 0);
}

#endif
