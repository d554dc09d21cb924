/* net/dgrams.h on loopback: whole, in order, from the address asked. */
#include "net/dgrams.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/sock.h"
#include "tests/sockets.h"

struct world {
	struct dgrams *d;
	int in, out, far; /* received from, sent by, received at the end */
	struct addr in_at, far_at;
};

static int
bound(const char *text, const struct sock_opts *o, struct addr *at)
{
	struct addr a = sockets_addr(text);
	enum sock_step step;
	int fd = sock_open(SOCK_UDP, &a, o, &step);

	assert_true(fd >= 0);
	assert_int_equal(sock_local(fd, at), 0);
	return fd;
}

static void
start(struct world *w, const char *in, bool gro)
{
	const struct sock_opts opts = {
		.pktinfo = true, .rcvbuf = 1 << 20, .gro = gro
	};
	const struct sock_opts plain = { .rcvbuf = 1 << 20 };

	w->d = dgrams_new();
	assert_non_null(w->d);
	w->in = bound(in, &opts, &w->in_at);
	w->far = bound("127.0.0.1", &plain, &w->far_at);
	w->out = sock_connect(SOCK_UDP, &w->far_at, &plain);
	assert_true(w->out >= 0);
}

static void
stop(struct world *w)
{
	close(w->in);
	close(w->out);
	close(w->far);
	dgrams_free(w->d);
}

static void
wait_for(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 5000), 1);
}

/* The bytes of datagram `i`, so that order and content are seen. */
static uint8_t
byte(size_t i, size_t at)
{
	return (uint8_t)(i * 31 + at);
}

static void
send_from(int fd, const struct addr *to, const size_t *len, size_t n)
{
	static uint8_t bytes[65536];

	for (size_t i = 0; i < n; i++) {
		for (size_t at = 0; at < len[i]; at++)
			bytes[at] = byte(i, at);
		assert_int_equal(
		    sendto(fd, bytes, len[i], 0, &to->sa, addr_len(to)),
		    len[i]);
	}
}

static void
expect(int fd, const size_t *len, size_t n)
{
	static uint8_t bytes[65536];

	for (size_t i = 0; i < n; i++) {
		wait_for(fd);
		assert_int_equal(recv(fd, bytes, sizeof bytes, 0), len[i]);
		for (size_t at = 0; at < len[i]; at++)
			assert_int_equal(bytes[at], byte(i, at));
	}
	assert_int_equal(recv(fd, bytes, sizeof bytes, MSG_DONTWAIT), -1);
}

static unsigned int
receive(struct world *w, unsigned int n)
{
	wait_for(w->in);
	assert_int_equal(
	    dgrams_receive(w->d, w->in, DGRAMS_SLOTS, DGRAMS_NAMED), n);
	for (unsigned int i = 0; i < w->d->count; i++)
		w->d->at[i].owner = 1;
	return w->d->count;
}

static unsigned int
pass_on(struct world *w, unsigned int n, int *error)
{
	uint8_t which[DGRAMS_SLOTS];

	for (unsigned int i = 0; i < n; i++)
		which[i] = (uint8_t)i;
	return dgrams_send(w->d, w->out, which, n, false, error);
}

static void
passes(const size_t *len, size_t n)
{
	const struct sock_opts plain = { 0 };
	struct addr unused;
	struct world w;
	int error, client = bound("127.0.0.1", &plain, &unused);

	start(&w, "127.0.0.1", false);
	send_from(client, &w.in_at, len, n);
	assert_int_equal(pass_on(&w, receive(&w, (unsigned int)n), &error), 0);
	assert_int_equal(error, 0);
	expect(w.far, len, n);
	close(client);
	stop(&w);
}

static void
all_lengths_pass(void **state)
{
	const size_t lengths[] = { 1, 0, 0, 1400, 1400, 1400, 9, 9, 10, 1453,
		1453, 65507, 0, 1400, 1399, 1400 };
	size_t many[DGRAMS_SLOTS];

	(void)state;
	passes(lengths, sizeof lengths / sizeof lengths[0]);
	for (size_t i = 0; i < DGRAMS_SLOTS; i++)
		many[i] = 1000;
	passes(many, DGRAMS_SLOTS);
}

/* 64 of them make more than one message may hold. */
static void
a_long_run_passes(void **state)
{
	size_t many[DGRAMS_SLOTS];

	(void)state;
	for (size_t i = 0; i < DGRAMS_SLOTS; i++)
		many[i] = 1452;
	many[DGRAMS_SLOTS - 1] = 3;
	passes(many, DGRAMS_SLOTS);
}

/* What arrives as a run is told as one, and leaves as many. */
static void
a_run_is_received_and_passed_on(void **state)
{
	size_t len[20];
	const struct sock_opts plain = { 0 };
	struct addr unused;
	struct world w, runs;
	int error, client = bound("127.0.0.1", &plain, &unused);

	(void)state;
	for (size_t i = 0; i < 20; i++)
		len[i] = i < 19 ? 500 : 20;
	/* The first world's sender joins them; the second one's receiver
	 * takes runs. */
	start(&w, "127.0.0.1", false);
	start(&runs, "127.0.0.1", true);
	send_from(client, &w.in_at, len, 20);
	receive(&w, 20);
	close(w.out);
	w.out = sock_connect(SOCK_UDP, &runs.in_at, &plain);
	assert_int_equal(pass_on(&w, 20, &error), 0);
	assert_true(w.d->segment);
	receive(&runs, 1);
	assert_int_equal(runs.d->at[0].segment, 500);
	assert_int_equal(runs.d->at[0].len, 19 * 500 + 20);
	assert_int_equal(dgrams_held(&runs.d->at[0]), 20);
	assert_int_equal(pass_on(&runs, 1, &error), 0);
	expect(runs.far, len, 20);
	close(client);
	stop(&w);
	stop(&runs);
}

/* Without checksums the kernel refuses UDP_SEGMENT: one by one, then. */
static void
segments_refused_go_singly(void **state)
{
	size_t len[20];
	const struct sock_opts plain = { 0 };
	struct addr unused;
	struct world w;
	int error, one = 1, client = bound("127.0.0.1", &plain, &unused);

	(void)state;
	for (size_t i = 0; i < 20; i++)
		len[i] = i < 19 ? 500 : 20;
	start(&w, "127.0.0.1", false);
	assert_int_equal(
	    setsockopt(w.out, SOL_SOCKET, SO_NO_CHECK, &one, sizeof one), 0);
	send_from(client, &w.in_at, len, 20);
	assert_int_equal(pass_on(&w, receive(&w, 20), &error), 0);
	assert_int_equal(error, 0);
	expect(w.far, len, 20);
	close(client);
	stop(&w);
}

/* A slot with a run, sent where runs cannot go. */
static void
a_run_refused_goes_singly(void **state)
{
	size_t len[7] = { 300, 300, 300, 300, 300, 300, 12 };
	struct world w;
	int error, one = 1;

	(void)state;
	start(&w, "127.0.0.1", false);
	assert_int_equal(
	    setsockopt(w.out, SOL_SOCKET, SO_NO_CHECK, &one, sizeof one), 0);
	send_from(w.far, &w.in_at, len, 1);
	receive(&w, 1);
	/* As dgrams_receive() would have it from UDP_GRO. */
	for (size_t i = 0; i < 7; i++)
		for (size_t at = 0; at < len[i]; at++)
			w.d->at[0].data[i * 300 + at] = byte(i, at);
	w.d->at[0].len = 6 * 300 + 12;
	w.d->at[0].segment = 300;
	assert_int_equal(pass_on(&w, 1, &error), 0);
	expect(w.far, len, 7);
	stop(&w);
}

static void
a_named_send_leaves_from_the_address_asked(void **state)
{
	const struct sock_opts plain = { 0 };
	const uint8_t which[1] = { 0 };
	struct addr at, asked = sockets_addr("127.0.0.9"), from;
	socklen_t from_len = sizeof from;
	const size_t len[1] = { 77 };
	struct world w;
	uint8_t bytes[100];
	int error, client = bound("127.0.0.5", &plain, &at);

	(void)state;
	start(&w, "0.0.0.0", false);
	addr_set_port(&asked, addr_port(&w.in_at));
	/* what the slot had before, of a socket that tells ports */
	w.d->at[0].local = sockets_addr("[2001:db8::1]:7150");
	send_from(client, &asked, len, 1);
	receive(&w, 1);
	assert_int_equal(addr_port(&w.d->at[0].local), 0);
	assert_true(addr_equal(&w.d->at[0].peer, &at));
	assert_int_equal(
	    w.d->at[0].local.in.sin_addr.s_addr, asked.in.sin_addr.s_addr);
	assert_false(w.d->at[0].group);
	assert_int_equal(dgrams_send(w.d, w.in, which, 1, true, &error), 0);
	wait_for(client);
	assert_int_equal(
	    recvfrom(client, bytes, sizeof bytes, 0, &from.sa, &from_len), 77);
	assert_true(addr_equal(&from, &asked));
	close(client);
	stop(&w);
}

static void
a_header_fits_before_the_longest(void **state)
{
	const struct sock_opts plain = { 0 };
	const size_t len[1] = { 65507 };
	struct addr at;
	struct world w;
	int error, client = bound("127.0.0.1", &plain, &at);

	(void)state;
	start(&w, "127.0.0.1", false);
	send_from(client, &w.in_at, len, 1);
	receive(&w, 1);
	memset(w.d->at[0].data - DGRAMS_HEADROOM, 7, DGRAMS_HEADROOM);
	w.d->at[0].data -= DGRAMS_HEADROOM;
	w.d->at[0].len += DGRAMS_HEADROOM;
	/* Longer than UDP can be now: refused, and said so. */
	assert_int_equal(pass_on(&w, 1, &error), 1);
	assert_int_equal(error, EMSGSIZE);
	assert_int_equal(w.d->refused, 1);
	close(client);
	stop(&w);
}

static void
refusals_are_counted_and_the_rest_goes(void **state)
{
	const struct sock_opts plain = { 0 };
	const size_t len[3] = { 10, 11, 12 };
	struct addr at;
	struct world w;
	int error = 0, client = bound("127.0.0.1", &plain, &at);
	unsigned int refused = 0;

	(void)state;
	start(&w, "127.0.0.1", false);
	close(w.far);
	send_from(client, &w.in_at, len, 3);
	receive(&w, 3);
	for (int i = 0; i < 20 && error == 0; i++)
		refused += pass_on(&w, 1, &error);
	assert_int_equal(error, ECONNREFUSED);
	assert_int_equal(refused, 1);
	/* And a receive says so too. */
	w.d->count = 0;
	pass_on(&w, 1, &error);
	errno = 0;
	wait_for(w.out);
	assert_int_equal(dgrams_receive(w.d, w.out, 1, DGRAMS_PLAIN), -1);
	assert_int_equal(errno, ECONNREFUSED);
	w.far = bound("127.0.0.1", &plain, &at);
	close(client);
	stop(&w);
}

static void
receiving_stops_when_slots_are_full(void **state)
{
	const struct sock_opts plain = { 0 };
	size_t len[DGRAMS_SLOTS + 10] = { 0 };
	struct addr at;
	struct world w;
	int client = bound("127.0.0.1", &plain, &at);

	(void)state;
	start(&w, "127.0.0.1", false);
	send_from(client, &w.in_at, len, DGRAMS_SLOTS + 10);
	assert_int_equal(dgrams_receive(w.d, w.in, 5, DGRAMS_NAMED), 5);
	assert_int_equal(dgrams_receive(w.d, w.in, DGRAMS_SLOTS, DGRAMS_NAMED),
	    DGRAMS_SLOTS - 5);
	assert_int_equal(
	    dgrams_receive(w.d, w.in, DGRAMS_SLOTS, DGRAMS_NAMED), 0);
	assert_int_equal(w.d->count, DGRAMS_SLOTS);
	w.d->count = 0;
	assert_int_equal(
	    dgrams_receive(w.d, w.in, DGRAMS_SLOTS, DGRAMS_NAMED), 10);
	assert_int_equal(w.d->at[0].segment, 0);
	assert_int_equal(dgrams_held(&w.d->at[0]), 1);
	close(client);
	stop(&w);
}

/* What a connected socket has: first one at a time, then the rest. */
static void
take_replies(
    struct world *w, enum dgrams_from from, const size_t *len, unsigned int n)
{
	w->d->count = 0;
	for (unsigned int i = 0; i < n; i++) {
		wait_for(w->out);
		assert_int_equal(
		    dgrams_receive(w->d, w->out, i < 2 ? 1 : n, from),
		    i < 2 ? 1 : n - i);
		if (i == 2)
			break;
	}
	assert_int_equal(dgrams_receive(w->d, w->out, 1, from), 0);
	assert_int_equal(w->d->count, n);
	for (unsigned int i = 0; i < n; i++) {
		const struct dgram *g = &w->d->at[i];

		assert_int_equal(g->len, len[i]);
		assert_int_equal(g->segment, 0);
		assert_int_equal(g->local.sa.sa_family, AF_UNSPEC);
		for (size_t at = 0; at < len[i]; at++)
			assert_int_equal(g->data[at], byte(i, at));
	}
}

static void
replies_come_whole_one_by_one_and_together(void **state)
{
	const size_t len[6] = { 0, 65507, 1, 0, 1400, 3 };
	struct addr out_at;
	struct world w;

	(void)state;
	start(&w, "127.0.0.1", false);
	assert_int_equal(sock_local(w.out, &out_at), 0);
	for (int round = 0; round < 4; round++) {
		/* as flows do: a socket may get UDP_GRO while it is used */
		if (round == 2)
			sock_udp_gro(w.out, true);
		send_from(w.far, &out_at, len, 6);
		take_replies(
		    &w, round < 2 ? DGRAMS_PLAIN : DGRAMS_RUNS, len, 6);
	}
	stop(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_lengths_pass),
		cmocka_unit_test(a_long_run_passes),
		cmocka_unit_test(a_run_is_received_and_passed_on),
		cmocka_unit_test(segments_refused_go_singly),
		cmocka_unit_test(a_run_refused_goes_singly),
		cmocka_unit_test(a_named_send_leaves_from_the_address_asked),
		cmocka_unit_test(a_header_fits_before_the_longest),
		cmocka_unit_test(refusals_are_counted_and_the_rest_goes),
		cmocka_unit_test(receiving_stops_when_slots_are_full),
		cmocka_unit_test(replies_come_whole_one_by_one_and_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
