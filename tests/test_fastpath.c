/*
 * net/fastpath.h, net/route.h and net/device.h in the networks of net/lab: the
 * table's rules, routes and word of their changes. Datagrams are carried in
 * tests/system/test_67_fastpath.py.
 */
#include "net/fastpath.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/device.h"
#include "net/lab.h"
#include "net/route.h"
#include "tests/sockets.h"

static struct lab lab;

#ifdef HAVE_FASTPATH

#define FLOWS 4
#define HOPS 2

static struct fastpath *
opened(void)
{
	char why[FASTPATH_WHY_LEN] = "";
	struct fastpath *f;

	if (lab.kind != LAB_ROOT)
		skip();
	f = fastpath_open(FLOWS, HOPS, why);
	if (f == NULL)
		fail_msg("%s", why);
	return f;
}

static struct fastpath_flow
flow(const char *client, const char *near)
{
	return (struct fastpath_flow){ .client = sockets_addr(client),
		.edge = sockets_addr("192.0.2.1:53"),
		.near = sockets_addr(near),
		.origin = sockets_addr("192.0.2.102:53"),
		.to_client = { lab.device[0], UINT16_MAX, 0 },
		.to_origin = { lab.device[1], UINT16_MAX, 0 } };
}

static void
an_entry_is_one_flows(void **state)
{
	struct fastpath *f = opened();
	struct fastpath_flow a = flow("192.0.2.101:1", "192.0.2.202:1");
	struct fastpath_flow b = flow("192.0.2.101:2", "192.0.2.202:2");
	struct fastpath_flow half = flow("192.0.2.101:3", "192.0.2.202:1");

	(void)state;
	assert_int_equal(fastpath_carry(f, 0, &a), 0);
	assert_int_equal(fastpath_carry(f, 1, &b), 0);
	assert_int_equal(fastpath_carry(f, 2, &a), -1);
	assert_int_equal(errno, EEXIST);
	/* the second of its entries: the first one is taken back */
	assert_int_equal(fastpath_carry(f, 2, &half), -1);
	assert_int_equal(errno, EEXIST);
	fastpath_recall(f, 0);
	assert_int_equal(fastpath_carry(f, 2, &half), 0);
	fastpath_recall(f, 2);
	/* again and again, past where turns begin anew */
	for (int i = 0; i < 40000; i++) {
		assert_int_equal(fastpath_carry(f, 3, &a), 0);
		fastpath_recall(f, 3);
	}
	assert_false(fastpath_is_carried(f, 1)); /* nothing has come */
	assert_int_equal(
	    fastpath_count(f, 1, FASTPATH_FROM_CLIENT).datagrams, 0);
	fastpath_close(f);
}

static void
there_are_so_many_and_no_more(void **state)
{
	struct fastpath *f = opened();
	char client[32], near[32];

	(void)state;
	for (uint32_t i = 0; i <= FLOWS; i++) {
		struct fastpath_flow a;

		snprintf(client, sizeof client, "192.0.2.101:%u", i + 1);
		snprintf(near, sizeof near, "192.0.2.202:%u", i + 1);
		a = flow(client, near);
		if (i < FLOWS)
			assert_int_equal(fastpath_carry(f, i, &a), 0);
		else
			assert_int_equal(fastpath_carry(f, i, &a), -1);
	}
	assert_int_equal(errno, E2BIG);
	fastpath_close(f);
}

static void
it_is_attached_and_gone(void **state)
{
	static const enum fastpath_hook hooks[] = { FASTPATH_HOOK_AUTO,
		FASTPATH_HOOK_CLSACT };
	char why[FASTPATH_WHY_LEN] = "";

	(void)state;
	for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++) {
		struct fastpath *f = opened();

		assert_false(fastpath_serves(f, lab.device[0]));
		if (fastpath_attach(f, lab.device[0], hooks[i], why) != 0)
			fail_msg("%s", why);
		assert_true(fastpath_serves(f, lab.device[0]));
		assert_false(fastpath_serves(f, lab.device[1]));
		assert_int_equal(fastpath_devices(f), 1);
		assert_string_equal(fastpath_device(f, 0), "d1");
		assert_true(fastpath_attached(f, 0));
		assert_int_equal(fastpath_attach(f, 9999, hooks[i], why), -1);
		assert_non_null(strstr(why, "attaching the program: "));
		fastpath_close(f);
	}
}

#else

static void
the_lack_is_told(void **state)
{
	char why[FASTPATH_WHY_LEN] = "";

	(void)state;
	assert_null(fastpath_open(1, 1, why));
	assert_string_equal(why, "built without libbpf or clang");
}

#endif

static void
routes_are_found(void **state)
{
	const struct addr here = sockets_addr("192.0.2.1");
	const struct addr here6 = sockets_addr("2001:db8::1");
	const struct {
		const struct addr *from;
		const char *to;
		unsigned int device;
		int error;
	} table[] = {
		{ &here, "192.0.2.101", lab.device[0], 0 },
		{ NULL, "192.0.2.101", lab.device[0], 0 },
		{ NULL, "192.0.2.102", lab.device[1], 0 },
		{ &here6, "2001:db8::101", lab.device[0], 0 },
		{ &here, "192.0.2.2", DEVICE_LOOPBACK, 0 }, /* our own */
		{ &here6, "2001:db8::2", DEVICE_LOOPBACK, 0 },
		{ NULL, "127.0.0.1", DEVICE_LOOPBACK, 0 },
		{ NULL, "::1", DEVICE_LOOPBACK, 0 },
		{ NULL, "127.255.255.255", 0, EADDRNOTAVAIL }, /* broadcast */
		{ NULL, "203.0.113.1", 0, ENETUNREACH },
	};
	int fd = route_open();

	(void)state;
	if (lab.kind == LAB_HOST)
		skip();
	assert_true(fd >= 0);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		const struct addr to = sockets_addr(table[i].to);
		struct route r;
		int error =
		    route_find(fd, table[i].from, &to, &r) == 0 ? 0 : errno;

		assert_int_equal(error, table[i].error);
		if (error != 0)
			continue;
		assert_int_equal(r.device, table[i].device);
		if (r.device == DEVICE_LOOPBACK)
			assert_int_equal(r.hop.sa.sa_family, AF_UNSPEC);
		else
			assert_true(addr_equal(&r.hop, &to));
	}
	close(fd);
}

static void
changes_are_noticed(void **state)
{
	int fd = route_watch();
	struct pollfd p = { .fd = fd, .events = POLLIN };

	(void)state;
	if (lab.kind == LAB_HOST)
		skip();
	assert_true(fd >= 0);
	(void)route_changed(fd); /* what the lab's making has left */
	assert_false(route_changed(fd));
	assert_int_equal(system("ip address add 198.51.100.9/24 dev d1"), 0);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_true(route_changed(fd));
	close(fd);
}

static void
interfaces_are_found(void **state)
{
	const struct addr here = sockets_addr("192.0.2.1:53");
	const struct addr here6 = sockets_addr("[2001:db8::2]:53");
	const struct addr lo = sockets_addr("127.0.0.1");
	const struct addr far = sockets_addr("192.0.2.101");
	unsigned int devices[8];

	(void)state;
	if (lab.kind == LAB_HOST)
		skip();
	assert_int_equal(device_of(&here), lab.device[0]);
	assert_int_equal(device_of(&here6), lab.device[0]);
	assert_int_equal(device_of(&lo), 0);
	assert_int_equal(device_of(&far), 0);
	assert_int_equal(device_list(devices, 8), 2);
	assert_int_equal(device_list(devices, 1), 1);
	assert_int_equal(device_named("d1"), lab.device[0]);
	assert_int_equal(device_named("lo"), 0);
	assert_int_equal(device_named("d9"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef HAVE_FASTPATH
		cmocka_unit_test(an_entry_is_one_flows),
		cmocka_unit_test(there_are_so_many_and_no_more),
		cmocka_unit_test(it_is_attached_and_gone),
#else
		cmocka_unit_test(the_lack_is_told),
#endif
		cmocka_unit_test(routes_are_found),
		cmocka_unit_test(changes_are_noticed),
		cmocka_unit_test(interfaces_are_found),
	};

	if (lab_open(&lab) != 0) {
		perror("networks to try things in");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
