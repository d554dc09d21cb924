/* net/chosen.h in a network of its own: programs of ours, and of others. */
#include "net/chosen.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/chooser.h"
#include "net/dispatch.h"
#include "net/portscan.h"
#include "tests/sockets.h"

static const struct sock_opts none = { 0 };

static struct chosen
asked(enum sock_proto proto, const char *text, uint16_t port)
{
	struct addr to = sockets_addr(text);
	static struct chosen c;

	addr_set_port(&to, port);
	chosen_look(&c, proto, &to);
	chosen_owners(&c);
	return c;
}

static void
names_nobody_without_a_program(void **state)
{
	struct chosen c = asked(SOCK_UDP, "127.0.0.1", 2002);

	(void)state;
	if (geteuid() != 0) {
		assert_int_equal(c.n, -1);
		skip();
	}
	assert_int_equal(c.n, 0);
	assert_null(chosen_decider(&c));
	assert_int_equal(chosen_unknown(&c), 0);
}

/* What another's program does is its own; its sockets are to be seen. */
static void
knows_whose_the_program_of_others_is(void **state)
{
	struct portscan_socket s;
	uint16_t port = 0;
	int fd = sockets_open(SOCK_UDP, "127.0.0.1", &none, &port);
	int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), link;
	struct chosen c;

	(void)state;
	if (geteuid() != 0)
		skip();
	link = chooser_attach(netns, fd, 2002);
	assert_true(link >= 0);
	c = asked(SOCK_UDP, "127.0.0.1", 2002);
	assert_int_equal(c.n, 1);
	assert_int_equal(c.program[0].kind, CHOSEN_UNKNOWN);
	assert_int_equal(c.program[0].pid, getpid());
	assert_int_equal(c.program[0].n, 1);
	assert_int_equal(
	    portscan_cookies(SOCK_UDP, c.program[0].cookies, 1, &s), 1);
	assert_int_equal(s.fd, fd);
	assert_null(chosen_decider(&c));
	assert_int_equal(chosen_unknown(&c), 1);
	close(link);
	assert_int_equal(asked(SOCK_UDP, "127.0.0.1", 2002).n, 0);
	close(netns);
	close(fd);
}

#ifdef HAVE_DISPATCH

static struct dispatch_rule
rule(const char *prefix, unsigned int bits, unsigned int first,
    unsigned int last, int slot, unsigned int sockets)
{
	struct addr a = sockets_addr(prefix);
	struct dispatch_rule r =
	    dispatch_rule_for(SOCK_UDP, &a, (uint16_t)first, (uint16_t)last);

	r.bits = bits;
	r.slot = (uint16_t)slot;
	r.sockets = (uint16_t)sockets;
	return r;
}

/* A /24 and ten thousand ports to one socket, one port of it to two others,
 * another to nobody. */
static const struct {
	const char *to;
	uint16_t port;
	enum chosen_kind kind;
	size_t first, n; /* of the sockets, in order of their ports */
} answers[] = {
	{ "198.51.100.1", 20000, CHOSEN_SOCKET, 0, 1 },
	{ "198.51.100.254", 29999, CHOSEN_SOCKET, 0, 1 },
	{ "198.51.100.254", 30000, CHOSEN_PASSES, 0, 0 },
	{ "198.51.101.1", 20000, CHOSEN_PASSES, 0, 0 },
	{ "198.51.100.7", 25000, CHOSEN_SOCKET, 1, 2 },
	{ "198.51.100.7", 25001, CHOSEN_REFUSES, 0, 0 },
	{ "2001:db8::1", 20000, CHOSEN_PASSES, 0, 0 },
};

static void
open_three(int fds[3], uint64_t cookies[3])
{
	struct portscan_socket s;

	for (int i = 0; i < 3; i++) {
		uint16_t port = 0;

		fds[i] = sockets_open(SOCK_UDP, "127.0.0.1", &none, &port);
		assert_int_equal(
		    portscan_bare(SOCK_UDP, port, false, &s, 1), 1);
		cookies[i] = s.cookie;
	}
}

static void
reads_the_rules_of_ours(void **state)
{
	char why[DISPATCH_WHY_LEN] = "";
	struct dispatch_rule rules[3];
	struct dispatch *d;
	uint64_t cookies[3];
	int fds[3], slot;

	(void)state;
	if (geteuid() != 0)
		skip();
	d = dispatch_open(why);
	if (d == NULL)
		fail_msg("%s", why);
	open_three(fds, cookies);
	slot = dispatch_add(d, fds, 3);
	assert_true(slot >= 0);
	rules[0] = rule("198.51.100.0", 24, 20000, 29999, slot, 1);
	rules[1] = rule("198.51.100.7", 32, 25000, 25000, slot + 1, 2);
	rules[2] = rule("198.51.100.7", 32, 25001, 25001, 0, 0);
	assert_int_equal(dispatch_prepare(d, rules, 3), 0);
	dispatch_publish(d);
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		struct chosen c =
		    asked(SOCK_UDP, answers[i].to, answers[i].port);

		assert_int_equal(c.n, 1);
		assert_string_equal(c.program[0].name, "dispatch");
		assert_int_equal(c.program[0].pid, getpid());
		assert_int_equal(c.program[0].kind, answers[i].kind);
		assert_int_equal(c.program[0].n, answers[i].n);
		for (size_t k = 0; k < answers[i].n; k++)
			assert_int_equal(c.program[0].cookies[k],
			    cookies[answers[i].first + k]);
		assert_true((chosen_decider(&c) != NULL) ==
		    (answers[i].kind != CHOSEN_PASSES));
	}
	/* a rule whose sockets are gone is no rule */
	close(fds[0]);
	assert_int_equal(asked(SOCK_UDP, "198.51.100.1", 20000).program[0].kind,
	    CHOSEN_PASSES);
	dispatch_close(d);
	close(fds[1]);
	close(fds[2]);
}

#else

static void
reads_the_rules_of_ours(void **state)
{
	(void)state; /* there can be none */
}

#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_nobody_without_a_program),
		cmocka_unit_test(knows_whose_the_program_of_others_is),
		cmocka_unit_test(reads_the_rules_of_ours),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
