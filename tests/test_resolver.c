/*
 * Questions and answers with a DNS server of the test's own, on the same loop.
 * What takes seconds (timeouts) and TCP is in tests/system.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/resolver.h"
#include "tests/dnsmessage.h"
#include "tests/sockets.h"
#include "tests/support.h"

/* ---- the server ---- */

enum manner { SAYS_RECORD = 0, SAYS_NOTHING, SAYS_CODE };

struct server {
	ev_io io;
	uint16_t port;
	enum manner manner;
	uint8_t code; /* RCODE */
	size_t asked;
	char name[64]; /* of the last question */
	ns_type type;
};

static struct ev_loop *loop;
static struct server servers[2];
static struct resolver *resolver;

/* The name and type of a question; the reply begins with the same. */
static void
read_question(struct server *s, const uint8_t *packet, size_t len)
{
	size_t at = 12, to = 0;

	while (at < len && packet[at] != 0) {
		memcpy(s->name + to, packet + at + 1, packet[at]);
		to += packet[at];
		s->name[to++] = '.';
		at += 1u + packet[at];
	}
	assert_true(at + 5 <= len && to > 0 && to < sizeof s->name);
	s->name[to - 1] = '\0';
	s->type = (ns_type)(packet[at + 1] << 8 | packet[at + 2]);
}

static void
serve(struct ev_loop *l, ev_io *io, int events)
{
	static struct dnsmessage reply;
	struct server *s = (struct server *)io;
	struct addr peer;
	socklen_t peer_len = sizeof peer;
	uint8_t packet[512];
	ssize_t len =
	    recvfrom(io->fd, packet, sizeof packet, 0, &peer.sa, &peer_len);

	(void)l;
	(void)events;
	assert_true(len > 12);
	read_question(s, packet, (size_t)len);
	s->asked++;
	if (s->manner == SAYS_NOTHING)
		return;
	dnsmessage_begin(&reply, s->name, s->type);
	if (s->manner == SAYS_RECORD)
		dnsmessage_address(&reply, s->name,
		    s->type == ns_t_a ? "192.0.2.1" : "2001:db8::1", 60);
	else
		reply.bytes[3] |= s->code;
	memcpy(reply.bytes, packet, 2); /* its number */
	assert_int_equal(
	    sendto(io->fd, reply.bytes, reply.len, 0, &peer.sa, peer_len),
	    (ssize_t)reply.len);
}

static void
open_server(struct server *s)
{
	const struct sock_opts o = { 0 };

	*s = (struct server){ 0 };
	ev_io_init(&s->io, serve,
	    sockets_open(SOCK_UDP, "127.0.0.1:0", &o, &s->port), EV_READ);
	ev_io_start(loop, &s->io);
}

static void
close_server(struct server *s)
{
	if (!ev_is_active(&s->io))
		return;
	ev_io_stop(loop, &s->io);
	close(s->io.fd);
}

/* ---- questions ---- */

struct asking {
	size_t answers;
	enum resolver_outcome outcome;
	size_t len;
	struct dnsreply_addresses found;
	enum dnsreply_kind kind;
};

static void
answered(
    void *arg, enum resolver_outcome outcome, const uint8_t *reply, size_t len)
{
	struct asking *a = arg;

	a->answers++;
	a->outcome = outcome;
	a->len = len;
	if (outcome == RESOLVER_ANSWERED)
		assert_int_equal(
		    dnsreply_addresses(&a->found, a->kind, reply, len), 0);
}

static void
ask(struct asking *a, const char *name, enum dnsreply_kind kind)
{
	*a = (struct asking){ .kind = kind };
	resolver_ask(resolver, name, kind, answered, a);
}

static enum resolver_outcome
wait_for(const struct asking *a)
{
	for (int i = 0; i < 1000 && a->answers == 0; i++)
		ev_run(loop, EVRUN_ONCE);
	assert_int_equal(a->answers, 1);
	return a->outcome;
}

static enum resolver_outcome
outcome(const char *name)
{
	struct asking a;

	ask(&a, name, DNSREPLY_A);
	return wait_for(&a);
}

static void
use_servers(size_t n)
{
	struct addr list[2];

	for (size_t i = 0; i < n; i++) {
		list[i] = sockets_addr("127.0.0.1");
		addr_set_port(&list[i], servers[i].port);
	}
	assert_int_equal(resolver_servers(resolver, list, n), 0);
}

static int
setup(void **state)
{
	(void)state;
	loop = ev_loop_new(EVFLAG_AUTO);
	resolver = resolver_new();
	if (loop == NULL || resolver == NULL)
		return -1;
	resolver_start(resolver, loop);
	for (size_t i = 0; i < 2; i++)
		open_server(&servers[i]);
	use_servers(1);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	resolver_free(resolver);
	for (size_t i = 0; i < 2; i++)
		close_server(&servers[i]);
	ev_loop_destroy(loop);
	return 0;
}

/* ---- the stories ---- */

static void
asks_and_hears(void **state)
{
	struct asking four, six;

	(void)state;
	ask(&four, "a.example", DNSREPLY_A);
	ask(&six, "b.example", DNSREPLY_AAAA);
	assert_int_equal(wait_for(&four), RESOLVER_ANSWERED);
	assert_int_equal(wait_for(&six), RESOLVER_ANSWERED);
	assert_int_equal(four.found.count, 1);
	assert_int_equal(four.found.ttl_s, 60);
	assert_int_equal(six.found.list[0].sa.sa_family, AF_INET6);
	assert_int_equal(servers[0].asked, 2);
}

static const char *
outcome_name(int o)
{
	return resolver_outcome_str((enum resolver_outcome)o);
}

static void
refusals_have_names(void **state)
{
	bool seen[RESOLVER_CANCELLED + 1] = {
		[RESOLVER_TIMEDOUT] = true, [RESOLVER_CANCELLED] = true
	};

	(void)state;
	seen[outcome("a.example")] = true;
	servers[0].manner = SAYS_CODE;
	servers[0].code = ns_r_nxdomain;
	assert_int_equal(outcome("a.example"), RESOLVER_NO_NAME);
	seen[RESOLVER_NO_NAME] = true;
	servers[0].code = ns_r_noerror;
	assert_int_equal(outcome("a.example"), RESOLVER_NO_RECORDS);
	seen[RESOLVER_NO_RECORDS] = true;
	servers[0].code = ns_r_servfail;
	assert_int_equal(outcome("a.example"), RESOLVER_FAILED);
	servers[0].code = ns_r_refused;
	assert_int_equal(outcome("a.example"), RESOLVER_FAILED);
	seen[RESOLVER_FAILED] = true;
	support_all_seen(seen, RESOLVER_CANCELLED + 1, outcome_name);
}

/* Nobody listens: the kernel says so, and that is quick. */
static void
nobody_is_there(void **state)
{
	(void)state;
	close_server(&servers[0]);
	assert_int_equal(outcome("a.example"), RESOLVER_FAILED);
}

static void
the_next_one_is_asked(void **state)
{
	(void)state;
	use_servers(2);
	servers[0].manner = SAYS_CODE;
	servers[0].code = ns_r_servfail;
	assert_int_equal(outcome("a.example"), RESOLVER_ANSWERED);
	assert_int_equal(servers[0].asked, 1);
	assert_int_equal(servers[1].asked, 1);
}

/* Names that cannot be asked for are answered all the same, and at once. */
static void
no_name_at_all(void **state)
{
	static const char *const names[] = { "a..example",
		"a234567890123456789012345678901234567890123456789012345678901"
		"2345.example" };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct asking a;

		ask(&a, names[i], DNSREPLY_A);
		assert_int_equal(a.answers, 1);
		assert_int_equal(a.outcome, RESOLVER_FAILED);
	}
	assert_int_equal(servers[0].asked, 0);
}

static void
other_servers_cancel(void **state)
{
	struct asking a;

	(void)state;
	servers[0].manner = SAYS_NOTHING;
	ask(&a, "a.example", DNSREPLY_A);
	while (servers[0].asked == 0)
		ev_run(loop, EVRUN_ONCE);
	servers[0].port = servers[1].port;
	use_servers(1);
	assert_int_equal(a.answers, 1);
	assert_int_equal(a.outcome, RESOLVER_CANCELLED);
	assert_int_equal(a.len, 0);
	assert_int_equal(outcome("a.example"), RESOLVER_ANSWERED);
	assert_int_equal(servers[1].asked, 1);
	/* and back to those of the system */
	assert_int_equal(resolver_servers(resolver, NULL, 0), 0);
}

static void
the_end_cancels(void **state)
{
	struct asking a;

	(void)state;
	servers[0].manner = SAYS_NOTHING;
	ask(&a, "a.example", DNSREPLY_A);
	resolver_free(resolver);
	resolver = NULL;
	assert_int_equal(a.answers, 1);
	assert_int_equal(a.outcome, RESOLVER_CANCELLED);
}

/* Each burst has sockets of its own: none is left over. */
static void
no_socket_is_left(void **state)
{
	int before, after;

	(void)state;
	before = dup(0);
	close(before);
	for (int i = 0; i < 100; i++)
		assert_int_equal(outcome("a.example"), RESOLVER_ANSWERED);
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
}

int
main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		STORY(asks_and_hears),
		STORY(refusals_have_names),
		STORY(nobody_is_there),
		STORY(the_next_one_is_asked),
		STORY(no_name_at_all),
		STORY(other_servers_cancel),
		STORY(the_end_cancels),
		STORY(no_socket_is_left),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
