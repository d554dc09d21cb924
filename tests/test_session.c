/* The pure parts of sessions: when one must end; who may begin one. */
#include "proxy/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/service.h"
#include "tests/sockets.h"

#define S 1000000000ull
#define CONNECTING SESSION_CONNECTING
#define OPEN SESSION_OPEN

static const struct {
	struct session_clock clock;
	struct app_timeouts timeouts;
	enum session_state state;
	double at;
	enum status why;
} deadlines[] = {
	{ { 10, 5, 0 }, { 3000, 60000, 0, 1 }, CONNECTING, 13,
	    STATUS_CONNECT_TIMEDOUT },
	{ { 10, 5, 20 }, { 3000, 60000, 0, 1 }, OPEN, 80, STATUS_CLOSED },
	/* a life shorter than the patience of either */
	{ { 10, 5, 20 }, { 3000, 60000, 50000, 1 }, OPEN, 55, STATUS_CLOSED },
	{ { 10, 5, 0 }, { 30000, 60000, 10000, 1 }, CONNECTING, 15,
	    STATUS_CLOSED },
	/* and one that is longer */
	{ { 10, 5, 20 }, { 3000, 1500, 90000, 1 }, OPEN, 21.5, STATUS_CLOSED },
	{ { 10, 5, 0 }, { 250, 60000, 90000, 1 }, CONNECTING, 10.25,
	    STATUS_CONNECT_TIMEDOUT },
	/* the name is looked up: as long as for a connection */
	{ { 10, 5, 0 }, { 3000, 60000, 0, 1 }, SESSION_RESOLVING, 13,
	    STATUS_RESOLVE_TIMEDOUT },
	{ { 10, 5, 0 }, { 3000, 60000, 6000, 1 }, SESSION_RESOLVING, 11,
	    STATUS_CLOSED },
	/* the header of a trusted peer: from the first moment on */
	{ { 10, 5, 20 }, { 3000, 60000, 0, 4000 }, SESSION_HEADER, 9,
	    STATUS_HEADER_LATE },
	{ { 10, 5, 20 }, { 3000, 60000, 2000, 4000 }, SESSION_HEADER, 7,
	    STATUS_CLOSED },
};

static void
the_earliest_deadline_counts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof deadlines / sizeof *deadlines; i++) {
		enum status why = STATUS_OPEN;
		double at = session_deadline(&deadlines[i].clock,
		    &deadlines[i].timeouts, deadlines[i].state, &why);

		if (at < deadlines[i].at - 1e-9 ||
		    at > deadlines[i].at + 1e-9 || why != deadlines[i].why)
			fail_msg("row %zu: %f, %d", i, at, (int)why);
	}
}

static struct app
make_app(void)
{
	struct app a = { .name = "story",
		.proto = SOCK_TCP,
		.port_first = 80,
		.port_last = 80,
		.edges = 1,
		.origins = 1,
		.limits = { .prefix4 = 24, .prefix6 = 56 } };

	a.edge[0] = sockets_addr("192.0.2.1");
	a.origin[0].address = sockets_addr("198.51.100.1:80");
	a.origin[0].weight = 1;
	return a;
}

static struct service *
make_service(const struct app *a)
{
	struct service *v = service_new(a, 2, 100, NULL);

	assert_non_null(v);
	return v;
}

/* Ports 1000 to 1999 in the beginning: what is left of them, told at a time,
 * whether that is news, and when sessions on three ports must end. */
static const struct {
	uint16_t first, last;
	uint64_t ends_ns;
	bool news;
	uint64_t at[3]; /* of 1000, 1500, 1999 */
} left[] = {
	{ 1000, 1999, 5, false, { 0, 0, 0 } },
	{ 900, 2000, 6, false, { 0, 0, 0 } },
	{ 1000, 1600, 10, true, { 0, 0, 10 } },
	{ 1000, 1600, 20, false, { 0, 0, 10 } }, /* they keep their time */
	{ 1500, 2600, 30, true, { 30, 0, 0 } },
	{ 3000, 3000, 40, true, { 40, 40, 40 } },
	{ 1000, 1999, 50, false, { 0, 0, 0 } }, /* all are back */
};

static void
sessions_on_ports_that_went_end(void **state)
{
	static const uint16_t ports[] = { 1000, 1500, 1999 };
	struct app a = make_app();
	struct service *before, *v;

	(void)state;
	a.port_first = 1000;
	a.port_last = 1999;
	before = make_service(&a);
	a.port_last = 2999;
	v = service_new(&a, 2, 100, before);
	assert_non_null(v);
	for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
		(void)service_end_ports(
		    v, left[i].first, left[i].last, left[i].ends_ns);
		for (size_t k = 0; k < 3; k++)
			assert_int_equal(
			    service_ends_ns(before, ports[k]), left[i].at[k]);
		assert_int_equal(service_end_ports(before, left[i].first,
				     left[i].last, left[i].ends_ns),
		    false); /* the chain has been told */
	}
	for (size_t i = 0; i < sizeof left / sizeof *left; i++)
		assert_int_equal(service_end_ports(before, left[i].first,
				     left[i].last, left[i].ends_ns),
		    left[i].news);
	/* the end of all, where that is earlier */
	service_end_by(v, 25);
	(void)service_end_ports(v, 1000, 1600, 60);
	assert_int_equal(service_ends_ns(before, 1999), 25);
	assert_int_equal(service_ends_ns(before, 1000), 25);
	service_release(v);
	service_release(before);
}

static void
live_sessions_are_counted(void **state)
{
	struct addr c = sockets_addr("203.0.113.1:1");
	struct app a = make_app();
	struct service *v;

	(void)state;
	a.limits.connections = 2;
	v = make_service(&a);
	assert_int_equal(
	    service_enter(v, tally_book_sheet(v->book, 0), &c, S), STATUS_OPEN);
	assert_int_equal(
	    service_enter(v, tally_book_sheet(v->book, 0), &c, S), STATUS_OPEN);
	assert_int_equal(service_enter(v, tally_book_sheet(v->book, 0), &c, S),
	    STATUS_UNAVAILABLE);
	assert_int_equal(service_live(v), 2);
	service_leave(v, &c);
	assert_int_equal(
	    service_enter(v, tally_book_sheet(v->book, 0), &c, S), STATUS_OPEN);
	assert_int_equal(service_live(v), 2);
	service_release(v);
}

static void
a_prefix_has_its_own_limit(void **state)
{
	struct addr near = sockets_addr("203.0.113.1:1");
	struct addr neighbour = sockets_addr("203.0.113.200:1");
	struct addr far = sockets_addr("203.0.114.1:1");
	struct app a = make_app();
	struct service *v;

	(void)state;
	a.limits.connections_per_prefix = 1;
	v = make_service(&a);
	assert_int_equal(
	    service_enter(v, tally_book_sheet(v->book, 0), &near, S),
	    STATUS_OPEN);
	assert_int_equal(
	    service_enter(v, tally_book_sheet(v->book, 0), &neighbour, S),
	    STATUS_UNAVAILABLE);
	assert_int_equal(
	    service_enter(v, tally_book_sheet(v->book, 0), &far, S),
	    STATUS_OPEN);
	assert_int_equal(service_live(v), 2); /* a refusal counts for none */
	service_leave(v, &near);
	assert_int_equal(
	    service_enter(v, tally_book_sheet(v->book, 0), &neighbour, S),
	    STATUS_OPEN);
	service_release(v);
}

static size_t
count_admitted(struct service *v, const char *client, uint64_t now_ns)
{
	struct addr c = sockets_addr(client);
	size_t n = 0;

	for (int i = 0; i < 20; i++) {
		if (service_enter(v, tally_book_sheet(v->book, 0), &c,
			now_ns) != STATUS_OPEN)
			continue;
		service_leave(v, &c);
		n++;
	}
	return n;
}

static void
new_ones_a_second_are_counted(void **state)
{
	struct app a = make_app();
	struct service *v;

	(void)state;
	a.limits.new_per_s = 5;
	v = make_service(&a);
	assert_int_equal(count_admitted(v, "203.0.113.1:1", S), 5);
	assert_int_equal(count_admitted(v, "203.0.114.1:1", S), 0);
	assert_int_equal(count_admitted(v, "203.0.114.1:1", 2 * S), 5);
	service_release(v);
	a.limits.new_per_s = 0;
	a.limits.new_per_s_per_prefix = 3;
	v = make_service(&a);
	assert_int_equal(count_admitted(v, "203.0.113.1:1", S), 3);
	assert_int_equal(count_admitted(v, "203.0.113.2:1", S), 0);
	assert_int_equal(count_admitted(v, "203.0.114.1:1", S), 3);
	service_release(v);
}

/* A client over its own limit takes nothing from what all have together. */
static void
a_greedy_client_starves_nobody(void **state)
{
	struct app a = make_app();
	struct service *v;

	(void)state;
	a.limits.new_per_s = 10;
	a.limits.new_per_s_per_prefix = 2;
	v = make_service(&a);
	assert_int_equal(count_admitted(v, "203.0.113.1:1", S), 2);
	assert_int_equal(count_admitted(v, "203.0.114.1:1", S), 2);
	service_release(v);
}

static void
the_firewall_comes_first(void **state)
{
	struct app_prefix deny = { sockets_addr("203.0.113.0"), 24 };
	struct addr bad = sockets_addr("203.0.113.9:1"),
		    good = sockets_addr("192.0.2.9");
	struct app a = make_app();
	struct service *v;

	(void)state;
	a.deny = &deny;
	a.denies = 1;
	a.limits.connections = 1;
	v = make_service(&a);
	deny.bits = 0; /* the service has a copy of its own */
	assert_int_equal(
	    service_enter(v, tally_book_sheet(v->book, 0), &good, S),
	    STATUS_OPEN);
	assert_int_equal(
	    service_enter(v, tally_book_sheet(v->book, 0), &bad, S),
	    STATUS_FIREWALL);
	service_release(v);
}

static void
change_name(struct app *a)
{
	a->name[0] = 'x';
}

static void
change_proto(struct app *a)
{
	a->proto = SOCK_UDP;
}

static void
change_port(struct app *a)
{
	a->port_last++;
}

static void
change_edge(struct app *a)
{
	a->edge[0] = sockets_addr("192.0.2.2");
}

static void
change_origin(struct app *a)
{
	a->origin[0].address = sockets_addr("198.51.100.1:81");
}

static void
change_weight(struct app *a)
{
	a->origin[0].weight = 2;
}

static void
change_dns_name(struct app *a)
{
	strcpy(a->dns.name, "origin.example");
}

static void
change_dns_ttl(struct app *a)
{
	a->dns.ttl_s = 1;
}

static void
change_balance(struct app *a)
{
	a->balance = APP_SOURCE_HASH;
}

static void
change_header(struct app *a)
{
	a->header = APP_HEADER_V2;
}

static void
change_keepalive(struct app *a)
{
	a->tcp.keepalive_s = 1;
}

static void
change_responses(struct app *a)
{
	a->udp.responses = 1;
}

static void
change_transparent(struct app *a)
{
	a->transparent = true;
}

static void
change_idle(struct app *a)
{
	a->timeouts.idle_ms = 1;
}

static void
change_rate(struct app *a)
{
	a->limits.new_per_s = 0.5;
}

static void
change_prefix(struct app *a)
{
	a->limits.prefix6 = 64;
}

static void
change_deny(struct app *a)
{
	static struct app_prefix deny;

	deny = (struct app_prefix){ sockets_addr("203.0.113.0"), 24 };
	a->deny = &deny;
	a->denies = 1;
}

static void
change_trust(struct app *a)
{
	static struct app_prefix peers;

	peers = (struct app_prefix){ sockets_addr("203.0.113.0"), 24 };
	a->trust = &peers;
	a->trusts = 1;
}

static void
change_fast_path(struct app *a)
{
	a->fast_path = APP_FAST_OFF;
}

static void
change_patience(struct app *a)
{
	a->timeouts.header_ms = 1;
}

static void
every_change_is_seen(void **state)
{
	static void (*const changes[])(struct app *) = { change_name,
		change_proto, change_port, change_edge, change_origin,
		change_weight, change_dns_name, change_dns_ttl, change_balance,
		change_header, change_transparent, change_keepalive,
		change_responses, change_idle, change_rate, change_prefix,
		change_deny, change_trust, change_patience, change_fast_path };
	struct app a = make_app(), same = make_app();

	(void)state;
	assert_true(service_same(&a, &same));
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		struct app b = make_app();

		changes[i](&b);
		if (service_same(&a, &b))
			fail_msg("change %zu is not seen", i);
	}
}

/*
 * Flips each byte of the struct in turn, so that a new field that nobody
 * compares is found. Not compared: list pointers (the lists are, above),
 * places of arrays that are not in use, flow labels and padding.
 */
#define UNUSED(from, upto)                                             \
	{                                                              \
		offsetof(struct app, from), offsetof(struct app, upto) \
	}
#define FLOWINFO(address)                                               \
	{                                                               \
		offsetof(struct app, address.in6.sin6_flowinfo),        \
		    offsetof(struct app, address.in6.sin6_flowinfo) + 4 \
	}
#define PADDING(from, upto)                                \
	{                                                  \
		offsetof(struct app, from) +               \
		    sizeof(((const struct app *)0)->from), \
		    offsetof(struct app, upto)             \
	}
static const struct {
	size_t from, upto;
} silent[] = {
	UNUSED(edge_bits[1], edge),
	UNUSED(edge[1], origins),
	UNUSED(origin[1], dns),
	UNUSED(dns.name[1], dns.type),
	UNUSED(check.send[1], check.expect),
	UNUSED(check.expect[1], header), /* and padding */
	UNUSED(allow, trusts),
	UNUSED(trust, timeouts),
	FLOWINFO(edge[0]),
	FLOWINFO(origin[0].address),
	/* padding, where there is some */
	PADDING(dns.port, balance),
	PADDING(transparent, allows),
	PADDING(timeouts, limits),
	UNUSED(tcp.congestion[1], udp), /* and padding */
	{ offsetof(struct app, udp.one_way) + 1,
	    offsetof(struct app, fast_path) },
	{ offsetof(struct app, fast_path) + 4, sizeof(struct app) },
	{ offsetof(struct app, name) + strlen("story") + 1,
	    offsetof(struct app, proto) },
	{ offsetof(struct app, limits.connections_per_prefix) + 4,
	    offsetof(struct app, limits.new_per_s) },
};

static bool
is_silent(size_t byte)
{
	for (size_t i = 0; i < sizeof silent / sizeof *silent; i++)
		if (byte >= silent[i].from && byte < silent[i].upto)
			return true;
	return false;
}

static void
every_byte_is_compared(void **state)
{
	struct app *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);

	(void)state;
	assert_true(a != NULL && b != NULL);
	*a = make_app();
	a->edge[0] = sockets_addr("[2001:db8::1]:1");
	a->origin[0].address = sockets_addr("[2001:db8::2]:1");
	a->check.send_len = a->check.expect_len = 1;
	for (size_t i = 0; i < sizeof *a; i++) {
		memcpy(b, a, sizeof *a);
		((uint8_t *)b)[i] ^= 1;
		if (!is_silent(i) && service_same(a, b))
			fail_msg("byte %zu of struct app is not compared: "
				 "a field for service_same(), or padding for "
				 "silent[]",
			    i);
	}
	free(a);
	free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_earliest_deadline_counts),
		cmocka_unit_test(sessions_on_ports_that_went_end),
		cmocka_unit_test(live_sessions_are_counted),
		cmocka_unit_test(a_prefix_has_its_own_limit),
		cmocka_unit_test(new_ones_a_second_are_counted),
		cmocka_unit_test(a_greedy_client_starves_nobody),
		cmocka_unit_test(the_firewall_comes_first),
		cmocka_unit_test(every_change_is_seen),
		cmocka_unit_test(every_byte_is_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
