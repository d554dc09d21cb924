/* net/rawudp.h: what the kernel takes for UDP, from a port that is taken. */
#include "net/rawudp.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/sockets.h"
#include "tests/support.h"

#define LONGEST 60000u

static const struct {
	const char *from, *to; /* without ports */
} ways[] = {
	{ "127.0.0.1", "127.0.0.2" },
	{ "127.0.0.2", "127.0.0.2" },
	{ "::1", "::1" },
};

/* The slot's payload ends at a guard page. */
static void
send_one(struct dgrams *d, int raw, const struct addr *from,
    const struct addr *to, size_t len)
{
	size_t all = DGRAMS_HEADROOM + len;
	uint8_t *memory = guard_alloc(all), which = 0;
	int error;

	for (size_t i = 0; i < len; i++)
		memory[DGRAMS_HEADROOM + i] = (uint8_t)(i * 7 + len);
	d->count = 1;
	d->at[0] = (struct dgram){ .data = memory + DGRAMS_HEADROOM,
		.len = (uint32_t)len,
		.peer = *to,
		.local = *from };
	rawudp_wrap(&d->at[0]);
	assert_int_equal(dgrams_send(d, raw, &which, 1, true, &error), 0);
	guard_free(memory, all);
}

static void
expect(int fd, const struct addr *from, size_t len)
{
	static uint8_t got[LONGEST + 1];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct addr peer;
	socklen_t peer_len = sizeof peer;

	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(
	    recvfrom(fd, got, sizeof got, 0, &peer.sa, &peer_len), len);
	assert_true(addr_equal(&peer, from));
	for (size_t i = 0; i < len; i++)
		assert_int_equal(got[i], (uint8_t)(i * 7 + len));
}

/* Every length to some hundreds, odd ones, and what goes in fragments; a wrong
 * sum would be dropped. The sender's port belongs to a socket meanwhile, and
 * the raw one receives nothing. */
static void
arrives_whole(void **state)
{
	const struct sock_opts o = { .v6only = true, .rcvbuf = 1 << 20 };
	struct dgrams *d = dgrams_new();

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_non_null(d);
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		uint16_t holder_port = 0, port = 0;
		int holder =
		    sockets_open(SOCK_UDP, ways[i].from, &o, &holder_port);
		int fd = sockets_open(SOCK_UDP, ways[i].to, &o, &port);
		struct addr from = sockets_addr(ways[i].from);
		struct addr to = sockets_addr(ways[i].to);
		int raw = sock_udp_raw(from.sa.sa_family);
		char byte;

		assert_true(raw >= 0);
		addr_set_port(&from, holder_port);
		addr_set_port(&to, port);
		for (size_t len = 0; len < 400; len++) {
			send_one(d, raw, &from, &to, len);
			expect(fd, &from, len);
		}
		for (size_t len = 1470; len <= LONGEST; len += 19507) {
			send_one(d, raw, &from, &to, len);
			expect(fd, &from, len);
		}
		assert_int_equal(recv(raw, &byte, 1, 0), -1);
		assert_int_equal(errno, EAGAIN);
		close(raw);
		close(fd);
		close(holder);
	}
	dgrams_free(d);
}

/* RFC 768: a sum of zero is sent as all ones. */
static void
never_says_that_there_is_no_sum(void **state)
{
	uint8_t memory[DGRAMS_HEADROOM + 2] = { 0 };
	struct dgram g;
	uint16_t sum = 0;

	(void)state;
	for (unsigned int n = 0; n < 65536; n++) {
		memory[DGRAMS_HEADROOM] = (uint8_t)(n >> 8);
		memory[DGRAMS_HEADROOM + 1] = (uint8_t)n;
		g = (struct dgram){ .data = memory + DGRAMS_HEADROOM,
			.len = 2,
			.peer = sockets_addr("192.0.2.1:9"),
			.local = sockets_addr("192.0.2.2:10") };
		rawudp_wrap(&g);
		memcpy(&sum, g.data + 6, sizeof sum);
		assert_int_not_equal(sum, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arrives_whole),
		cmocka_unit_test(never_says_that_there_is_no_sum),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
