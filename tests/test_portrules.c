/* net/portrules.h: the tables of what may share a port, and who receives. */
#include "net/portrules.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sockets.h"

#define RA 1 /* SO_REUSEADDR */
#define RP 2 /* SO_REUSEPORT */
#define V6 4 /* IPV6_V6ONLY */
#define UID 8 /* of another user */

static struct portrules_socket sockets[16];
static struct portrules world;

static void
begin(unsigned int kernel)
{
	memset(sockets, 0, sizeof sockets);
	memset(&world, 0, sizeof world);
	world.sockets = sockets;
	world.kernel = kernel;
}

static struct portrules_socket
make(enum sock_proto proto, const char *text, int flags)
{
	struct portrules_socket s = {
		.proto = proto,
		.local = sockets_addr(text),
		.reuseaddr = (flags & RA) != 0,
		.reuseport = (flags & RP) != 0,
		.v6only = (flags & V6) != 0,
		.uid = (flags & UID) != 0 ? 65534 : 0,
	};

	addr_set_port(&s.local, 2002);
	return s;
}

/* Bound, and listening where there is such a thing; its index. */
static size_t
add(enum sock_proto proto, const char *text, int flags)
{
	size_t i = world.n++;

	sockets[i] = make(proto, text, flags);
	assert_int_equal(portrules_bind(&world, i).error, 0);
	if (proto == SOCK_TCP)
		assert_int_equal(portrules_listen(&world, i).error, 0);
	return i;
}

static struct portrules_delivery
ask_from(enum sock_proto proto, const char *to, const char *from)
{
	struct portrules_packet k = {
		.proto = proto,
		.to = sockets_addr(to),
		.from = sockets_addr(from),
		.device = 1,
		.chosen = PORTRULES_NOBODY,
	};

	addr_set_port(&k.to, 2002);
	return portrules_deliver(&world, &k);
}

static struct portrules_delivery
ask(enum sock_proto proto, const char *to)
{
	return ask_from(proto, to,
	    strchr(to, ':') != NULL ? "[2001:db8::9]:9" : "198.51.100.9:9");
}

enum column { PLAIN = 0, UDP_RA, UDP_RP, TCP_RA, TCP_RP, COLUMNS };
enum cell_result { REFUSED = 0, EACH_ITS_OWN, NEWEST, SPLIT };

/*
 * The table "older A, newer B, one port" of what was measured. EACH_ITS_OWN:
 * B's address goes to B when it is the nearer one.
 */
static const struct {
	const char *older, *newer;
	int flags; /* of the newer, beside the column's */
	const char *asked; /* an address that both would hear, NULL: none */
	int nearer; /* who is nearer to it: 0 older, 1 newer */
	enum cell_result result[COLUMNS];
} table[] = {
	{ "0.0.0.0", "192.0.2.1", 0, "192.0.2.1", 1,
	    { REFUSED, EACH_ITS_OWN, EACH_ITS_OWN, REFUSED, EACH_ITS_OWN } },
	{ "192.0.2.1", "0.0.0.0", 0, "192.0.2.1", 0,
	    { REFUSED, EACH_ITS_OWN, EACH_ITS_OWN, REFUSED, EACH_ITS_OWN } },
	{ "192.0.2.1", "192.0.2.1", 0, "192.0.2.1", 1,
	    { REFUSED, NEWEST, SPLIT, REFUSED, SPLIT } },
	{ "192.0.2.1", "192.0.2.2", 0, NULL, 0,
	    { EACH_ITS_OWN, EACH_ITS_OWN, EACH_ITS_OWN, EACH_ITS_OWN,
		EACH_ITS_OWN } },
	{ "::", "192.0.2.1", 0, "192.0.2.1", 1,
	    { REFUSED, EACH_ITS_OWN, EACH_ITS_OWN, REFUSED, EACH_ITS_OWN } },
	{ "192.0.2.1", "::", V6, NULL, 0,
	    { EACH_ITS_OWN, EACH_ITS_OWN, EACH_ITS_OWN, EACH_ITS_OWN,
		EACH_ITS_OWN } },
	{ "192.0.2.1", "192.0.2.1", UID, "192.0.2.1", 1,
	    { REFUSED, NEWEST, REFUSED, REFUSED, REFUSED } },
};

static void
check_row(size_t row, enum column column)
{
	static const int flags[] = { 0, RA, RP, RA, RP };
	enum sock_proto proto = column < TCP_RA ? SOCK_UDP : SOCK_TCP;
	enum cell_result want = table[row].result[column];
	struct portrules_socket newer =
	    make(proto, table[row].newer, flags[column] | table[row].flags);
	struct portrules_verdict v;
	struct portrules_delivery d;

	begin(PORTRULES_KERNEL_NEWEST);
	add(proto, table[row].older, flags[column]);
	v = portrules_predict(&world, &newer);
	if ((v.error == 0) != (want != REFUSED))
		fail_msg("row %zu column %d: %s", row, column,
		    portrules_rule_str(v.rule));
	if (want == REFUSED) {
		assert_int_equal(v.error, EADDRINUSE);
		assert_int_equal(v.other, 0);
		assert_true(v.fix != PORTRULES_FIX_NONE);
		return;
	}
	assert_int_equal(v.fix, PORTRULES_FIX_NONE);
	add(proto, table[row].newer, flags[column] | table[row].flags);
	if (table[row].asked == NULL)
		return;
	d = ask(proto, table[row].asked);
	assert_int_equal(d.split, want == SPLIT);
	if (want == NEWEST)
		assert_int_equal(d.tie, PORTRULES_NEWEST);
	if (want != SPLIT)
		assert_int_equal(d.winner, table[row].nearer);
}

static void
the_table_of_pairs(void **state)
{
	(void)state;
	for (size_t row = 0; row < sizeof table / sizeof *table; row++)
		for (int column = 0; column < COLUMNS; column++)
			check_row(row, (enum column)column);
}

/* Which rule, and which smallest fix: older, newer, both with flags. */
static const struct {
	enum sock_proto proto;
	const char *older;
	int older_flags;
	const char *newer;
	int newer_flags;
	enum sock_step step;
	enum portrules_rule rule;
	enum portrules_fix fix;
} advice[] = {
	{ SOCK_UDP, "0.0.0.0", 0, "192.0.2.1", 0, SOCK_STEP_BIND,
	    PORTRULES_NO_FLAG, PORTRULES_FIX_BOTH_REUSEADDR },
	{ SOCK_UDP, "0.0.0.0", 0, "192.0.2.1", RA, SOCK_STEP_BIND,
	    PORTRULES_OLDER_LACKS_FLAG, PORTRULES_FIX_OLDER_REUSEADDR },
	{ SOCK_UDP, "0.0.0.0", RA, "192.0.2.1", 0, SOCK_STEP_BIND,
	    PORTRULES_NEWER_LACKS_FLAG, PORTRULES_FIX_NEWER_REUSEADDR },
	{ SOCK_UDP, "0.0.0.0", RP, "192.0.2.1", 0, SOCK_STEP_BIND,
	    PORTRULES_NEWER_LACKS_FLAG, PORTRULES_FIX_NEWER_REUSEPORT },
	{ SOCK_UDP, "0.0.0.0", RA, "192.0.2.1", RP, SOCK_STEP_BIND,
	    PORTRULES_FLAGS_DIFFER, PORTRULES_FIX_NEWER_REUSEADDR },
	{ SOCK_UDP, "0.0.0.0", RP, "192.0.2.1", RP | UID, SOCK_STEP_BIND,
	    PORTRULES_OTHER_UID, PORTRULES_FIX_BOTH_REUSEADDR },
	{ SOCK_UDP, "192.0.2.1", 0, "::", 0, SOCK_STEP_BIND, PORTRULES_NO_FLAG,
	    PORTRULES_FIX_NEWER_V6ONLY },
	{ SOCK_UDP, "192.0.2.1", 0, "::ffff:192.0.2.2", V6, SOCK_STEP_BIND,
	    PORTRULES_MAPPED_V6ONLY, PORTRULES_FIX_NEWER_NOT_V6ONLY },
	{ SOCK_TCP, "0.0.0.0", 0, "192.0.2.1", 0, SOCK_STEP_BIND,
	    PORTRULES_NO_FLAG, PORTRULES_FIX_BOTH_REUSEPORT },
	{ SOCK_TCP, "0.0.0.0", RA, "192.0.2.1", RA, SOCK_STEP_BIND,
	    PORTRULES_LISTENING, PORTRULES_FIX_BOTH_REUSEPORT },
	{ SOCK_TCP, "0.0.0.0", RP, "192.0.2.1", RP | UID, SOCK_STEP_BIND,
	    PORTRULES_OTHER_UID, PORTRULES_FIX_SAME_UID },
	{ SOCK_TCP, "0.0.0.0", 0, "192.0.2.1", UID, SOCK_STEP_BIND,
	    PORTRULES_NO_FLAG, PORTRULES_FIX_SAME_UID_REUSEPORT },
	{ SOCK_UDP, "192.0.2.2", 0, "192.0.2.1", 0, SOCK_STEP_NONE,
	    PORTRULES_OTHER_ADDRESS, PORTRULES_FIX_NONE },
	{ SOCK_UDP, "::", V6, "192.0.2.1", 0, SOCK_STEP_NONE,
	    PORTRULES_V6ONLY_APART, PORTRULES_FIX_NONE },
	{ SOCK_UDP, "0.0.0.0", RA, "192.0.2.1", RA | UID, SOCK_STEP_NONE,
	    PORTRULES_BOTH_REUSEADDR, PORTRULES_FIX_NONE },
	{ SOCK_TCP, "0.0.0.0", RP, "192.0.2.1", RP, SOCK_STEP_NONE,
	    PORTRULES_BOTH_REUSEPORT, PORTRULES_FIX_NONE },
};

static void
rules_and_fixes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof advice / sizeof *advice; i++) {
		struct portrules_socket newer = make(
		    advice[i].proto, advice[i].newer, advice[i].newer_flags);
		struct portrules_verdict v;

		begin(PORTRULES_KERNEL_NEWEST);
		add(advice[i].proto, advice[i].older, advice[i].older_flags);
		v = portrules_predict(&world, &newer);
		if (v.step != advice[i].step || v.rule != advice[i].rule ||
		    v.fix != advice[i].fix)
			fail_msg("row %zu: %s, %s, %s", i,
			    sock_step_str(v.step), portrules_rule_str(v.rule),
			    portrules_fix_str(v.fix));
	}
}

/* Bind works for both, and the second listen does not. */
static void
tcp_bind_works_and_listen_fails(void **state)
{
	struct portrules_verdict v;

	(void)state;
	begin(PORTRULES_KERNEL_NEWEST);
	for (size_t i = 0; i < 2; i++) {
		sockets[i] = make(SOCK_TCP, "192.0.2.1", RA);
		world.n = i + 1;
		v = portrules_bind(&world, i);
		assert_int_equal(v.error, 0);
	}
	assert_int_equal(v.rule, PORTRULES_NOT_LISTENING);
	assert_int_equal(portrules_listen(&world, 0).error, 0);
	v = portrules_listen(&world, 1);
	assert_int_equal(v.error, EADDRINUSE);
	assert_int_equal(v.step, SOCK_STEP_LISTEN);
	assert_int_equal(v.rule, PORTRULES_LISTENING);
	assert_int_equal(v.other, 0);
	assert_int_equal(sockets[1].state, PORTRULES_IDLE);
}

static void
the_flag_is_read_live(void **state)
{
	struct portrules_socket newer = make(SOCK_UDP, "192.0.2.1", RA | UID);

	(void)state;
	begin(PORTRULES_KERNEL_NEWEST);
	add(SOCK_UDP, "192.0.2.1", RA);
	assert_int_equal(portrules_predict(&world, &newer).error, 0);
	sockets[0].reuseaddr = false;
	assert_int_equal(portrules_predict(&world, &newer).error, EADDRINUSE);
	sockets[0].reuseaddr = true;
	assert_int_equal(portrules_predict(&world, &newer).error, 0);
}

/*
 * TCP remembers a listener's SO_REUSEPORT after it was cleared: the same user
 * still gets in at the same address, and takes every connection.
 */
static void
tcp_remembers_a_cleared_flag(void **state)
{
	struct portrules_socket same = make(SOCK_TCP, "192.0.2.1", RP);
	struct portrules_socket wild = make(SOCK_TCP, "0.0.0.0", RP);
	struct portrules_socket other = make(SOCK_TCP, "192.0.2.1", RP | UID);

	(void)state;
	begin(PORTRULES_KERNEL_NEWEST);
	add(SOCK_TCP, "192.0.2.1", RP);
	sockets[0].reuseport = false;
	assert_int_equal(
	    portrules_predict(&world, &same).rule, PORTRULES_REMEMBERED);
	assert_int_equal(portrules_predict(&world, &wild).error, EADDRINUSE);
	assert_int_equal(portrules_predict(&world, &other).error, EADDRINUSE);
	add(SOCK_TCP, "192.0.2.1", RP);
	assert_int_equal(ask(SOCK_TCP, "192.0.2.1").winner, 1);
	assert_false(ask(SOCK_TCP, "192.0.2.1").split);
	/* before 6.8 the first of a port lets any address in */
	begin(6001);
	add(SOCK_TCP, "192.0.2.1", RP);
	sockets[0].reuseport = false;
	assert_int_equal(
	    portrules_predict(&world, &wild).rule, PORTRULES_REMEMBERED);
}

static void
four_levels_of_delivery(void **state)
{
	struct portrules_packet k = {
		.proto = SOCK_UDP,
		.to = sockets_addr("192.0.2.1:2002"),
		.from = sockets_addr("198.51.100.9:9"),
		.chosen = PORTRULES_NOBODY,
	};
	struct addr peer = sockets_addr("198.51.100.1:1");
	struct addr local = sockets_addr("192.0.2.1:2002");

	(void)state;
	begin(PORTRULES_KERNEL_NEWEST);
	assert_int_equal(
	    portrules_deliver(&world, &k).level, PORTRULES_UNHEARD);
	add(SOCK_UDP, "0.0.0.0", RA);
	assert_int_equal(
	    portrules_deliver(&world, &k).level, PORTRULES_WILDCARD);
	add(SOCK_UDP, "192.0.2.1", RA);
	assert_int_equal(portrules_deliver(&world, &k).level, PORTRULES_EXACT);
	k.chosen = 0;
	assert_int_equal(
	    portrules_deliver(&world, &k).level, PORTRULES_SK_LOOKUP);
	assert_int_equal(portrules_deliver(&world, &k).winner, 0);
	add(SOCK_UDP, "192.0.2.1", RA);
	portrules_connect(&world, 2, &local, &peer);
	assert_int_equal(portrules_deliver(&world, &k).winner, 0);
	k.from = peer;
	assert_int_equal(
	    portrules_deliver(&world, &k).level, PORTRULES_FOUR_TUPLE);
	assert_int_equal(portrules_deliver(&world, &k).winner, 2);
	world.kernel = 6001; /* found by its score there */
	assert_int_equal(portrules_deliver(&world, &k).winner, 2);
}

static void
ties(void **state)
{
	struct portrules_delivery d;

	(void)state;
	begin(PORTRULES_KERNEL_NEWEST);
	add(SOCK_UDP, "0.0.0.0", RA);
	add(SOCK_UDP, "::", RA);
	d = ask(SOCK_UDP, "192.0.2.1"); /* AF_INET before AF_INET6 */
	assert_int_equal(d.winner, 0);
	assert_int_equal(d.tie, PORTRULES_SCORE);
	assert_int_equal(ask(SOCK_UDP, "2001:db8::1").winner, 1);
	add(SOCK_UDP, "0.0.0.0", RA);
	d = ask(SOCK_UDP, "192.0.2.1");
	assert_int_equal(d.winner, 2);
	assert_int_equal(d.tie, PORTRULES_NEWEST);
	sockets[0].device = 1;
	assert_int_equal(ask(SOCK_UDP, "192.0.2.1").winner, 0);
	/* a group that is met first does not mind a better score */
	add(SOCK_UDP, "0.0.0.0", RA | RP);
	d = ask(SOCK_UDP, "192.0.2.1");
	assert_int_equal(d.winner, 3);
	assert_int_equal(d.tie, PORTRULES_GROUP_FIRST);
	/* of IPv6 a group is met last */
	begin(PORTRULES_KERNEL_NEWEST);
	add(SOCK_UDP, "2001:db8::1", RA);
	add(SOCK_UDP, "2001:db8::1", RA | RP);
	assert_int_equal(ask(SOCK_UDP, "2001:db8::1").winner, 0);
}

/* A newcomer that one of the group excuses is not checked further. */
static void
both_flags_open_the_group(void **state)
{
	struct portrules_socket newer = make(SOCK_UDP, "192.0.2.1", RP);

	(void)state;
	begin(PORTRULES_KERNEL_NEWEST);
	add(SOCK_UDP, "192.0.2.1", RA);
	assert_int_equal(portrules_predict(&world, &newer).error, EADDRINUSE);
	add(SOCK_UDP, "192.0.2.1", RA | RP);
	assert_int_equal(portrules_predict(&world, &newer).error, 0);
}

static void
groups_split_and_shrink(void **state)
{
	struct portrules_packet k = {
		.proto = SOCK_UDP,
		.to = sockets_addr("192.0.2.1:2002"),
		.from = sockets_addr("198.51.100.9:9"),
		.chosen = PORTRULES_NOBODY,
	};
	struct portrules_delivery d;

	(void)state;
	begin(PORTRULES_KERNEL_NEWEST);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(add(SOCK_UDP, "192.0.2.1", RP), i);
	d = portrules_deliver(&world, &k);
	assert_true(d.split);
	for (size_t i = 0; i < 3; i++) {
		assert_true(portrules_receives(&world, &k, &d, i));
		assert_int_equal(sockets[i].member, i);
	}
	portrules_close(&world, 0);
	d = portrules_deliver(&world, &k);
	assert_false(portrules_receives(&world, &k, &d, 0));
	assert_int_equal(sockets[2].member, 0); /* the last fills the gap */
	assert_int_equal(sockets[1].member, 1);
}

/* The program of a group names a member by its number. */
static void
a_group_prefers_the_cpu(void **state)
{
	static const struct {
		unsigned int kernel;
		bool split;
	} by_kernel[] = { { 5019, true }, { 6001, false },
		{ PORTRULES_KERNEL_NEWEST, false } };
	struct portrules_packet k = {
		.proto = SOCK_UDP,
		.to = sockets_addr("192.0.2.1:2002"),
		.from = sockets_addr("198.51.100.9:9"),
		.cpu = 1,
		.chosen = PORTRULES_NOBODY,
	};

	(void)state;
	for (size_t i = 0; i < sizeof by_kernel / sizeof *by_kernel; i++) {
		struct portrules_delivery d;

		begin(by_kernel[i].kernel);
		add(SOCK_UDP, "192.0.2.1", RP);
		add(SOCK_UDP, "192.0.2.1", RP);
		sockets[1].cpu = 1;
		d = portrules_deliver(&world, &k);
		assert_int_equal(d.split, by_kernel[i].split);
		assert_true(portrules_receives(&world, &k, &d, 1));
		assert_int_equal(
		    portrules_receives(&world, &k, &d, 0), by_kernel[i].split);
	}
}

static void
a_program_chooses_in_a_group(void **state)
{
	struct portrules_delivery d;

	(void)state;
	begin(PORTRULES_KERNEL_NEWEST);
	add(SOCK_UDP, "192.0.2.1", RP);
	add(SOCK_UDP, "192.0.2.1", RP);
	portrules_steer(&world, 0, 1);
	d = ask(SOCK_UDP, "192.0.2.1");
	assert_int_equal(d.winner, 1);
	assert_false(d.split);
	assert_int_equal(d.tie, PORTRULES_STEERED);
	portrules_steer(&world, 1, 2); /* there is none: by hash */
	assert_true(ask(SOCK_UDP, "192.0.2.1").split);
	add(SOCK_UDP, "192.0.2.1", RP);
	assert_int_equal(ask(SOCK_UDP, "192.0.2.1").winner, 2);
}

static void
which_flows_may_move(void **state)
{
	/* from `before` members to `after`: a row a member, a bit a target */
	static const struct {
		unsigned int before, after, targets[4];
	} rows[] = {
		{ 1, 2, { 3 } },
		{ 2, 3, { 1 | 2, 2 | 4 } },
		{ 3, 2, { 1, 1 | 2, 2 } },
		{ 2, 2, { 1, 2 } },
		{ 3, 4, { 1 | 2, 2 | 4, 4 | 8 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (unsigned int k = 0; k < 16; k++)
			assert_int_equal(
			    portrules_may_move(
				k / 4, rows[i].before, k % 4, rows[i].after),
			    k / 4 < rows[i].before &&
				(rows[i].targets[k / 4] >> k % 4 & 1) != 0);
	assert_false(portrules_may_move(0, 0, 0, 1));
}

/* Twelve addresses, then a wildcard: some kernels look away. */
static void
a_crowd_may_blind(void **state)
{
	struct portrules_socket wild = make(SOCK_UDP, "0.0.0.0", 0);
	char text[32];

	(void)state;
	for (int blind = 0; blind < 2; blind++) {
		begin(PORTRULES_KERNEL_NEWEST);
		world.crowd_blinds = blind;
		for (int i = 1; i <= 12; i++) {
			snprintf(text, sizeof text, "192.0.2.%d", i);
			add(SOCK_UDP, text, 0);
			assert_int_equal(portrules_predict(&world, &wild).error,
			    blind && i > 10 ? 0 : EADDRINUSE);
		}
	}
}

/* As a scan finds them: oldest first, in whatever state. */
static void
live_sockets_are_adopted(void **state)
{
	struct portrules_socket newer = make(SOCK_TCP, "192.0.2.1", RA);

	(void)state;
	begin(PORTRULES_KERNEL_NEWEST);
	world.n = 3;
	sockets[0] = make(SOCK_TCP, "0.0.0.0", RP);
	sockets[1] = sockets[0];
	sockets[0].state = sockets[1].state = PORTRULES_LISTEN;
	sockets[2] = make(SOCK_UDP, "192.0.2.1", RA);
	for (size_t i = 0; i < 3; i++)
		portrules_adopt(&world, i);
	assert_true(ask(SOCK_TCP, "192.0.2.1").split);
	assert_int_equal(ask(SOCK_UDP, "192.0.2.1").winner, 2);
	assert_int_equal(portrules_predict(&world, &newer).fix,
	    PORTRULES_FIX_NEWER_REUSEPORT);
	portrules_close(&world, 0);
	sockets[1].state = PORTRULES_TIME_WAIT;
	assert_int_equal(portrules_predict(&world, &newer).error, EADDRINUSE);
	sockets[1].reuseaddr = true;
	assert_int_equal(portrules_predict(&world, &newer).error, 0);
}

/* Every value has a word of its own and a sentence. */
static void
everything_has_words(void **state)
{
	(void)state;
	for (int i = 0; i < PORTRULES_RULES; i++) {
		assert_string_not_equal(portrules_rule_str(i), "?");
		assert_true(strlen(portrules_rule_say(i)) > 10);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(
			    portrules_rule_str(i), portrules_rule_str(k));
	}
	for (int i = 0; i < PORTRULES_FIXES; i++) {
		assert_string_not_equal(portrules_fix_str(i), "?");
		assert_true(strlen(portrules_fix_say(i)) > 10);
	}
	for (int i = PORTRULES_UNHEARD; i <= PORTRULES_WILDCARD; i++)
		assert_true(strlen(portrules_level_say(i)) > 10);
	for (int i = PORTRULES_ONLY; i <= PORTRULES_GROUP_FIRST; i++)
		assert_true(strlen(portrules_tie_say(i)) > 10);
	assert_string_equal(portrules_rule_str(PORTRULES_RULES), "?");
	assert_string_equal(
	    portrules_state_str(PORTRULES_TIME_WAIT), "time-wait");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_of_pairs),
		cmocka_unit_test(rules_and_fixes),
		cmocka_unit_test(tcp_bind_works_and_listen_fails),
		cmocka_unit_test(the_flag_is_read_live),
		cmocka_unit_test(tcp_remembers_a_cleared_flag),
		cmocka_unit_test(four_levels_of_delivery),
		cmocka_unit_test(ties),
		cmocka_unit_test(both_flags_open_the_group),
		cmocka_unit_test(groups_split_and_shrink),
		cmocka_unit_test(a_group_prefers_the_cpu),
		cmocka_unit_test(a_program_chooses_in_a_group),
		cmocka_unit_test(which_flows_may_move),
		cmocka_unit_test(a_crowd_may_blind),
		cmocka_unit_test(live_sockets_are_adopted),
		cmocka_unit_test(everything_has_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
