/*
 * A name looked up again and again: which records are used, what stays when
 * something fails. The resolver is the test's own: it answers from a table, at
 * once or when it is told to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/dnsset.h"
#include "proxy/lookup.h"
#include "tests/dnsmessage.h"
#include "tests/support.h"

/* ---- the resolver ---- */

#define ANSWERS 12
#define PENDING 8

static const ns_type types[] = { [DNSREPLY_A] = ns_t_a,
	[DNSREPLY_AAAA] = ns_t_aaaa,
	[DNSREPLY_SRV] = ns_t_srv };

static struct answer {
	const char *name;
	enum dnsreply_kind kind;
	enum resolver_outcome outcome;
	struct dnsmessage reply;
} answers[ANSWERS];
static size_t answer_count;

static char asked[600]; /* all that was asked, as "name/kind " */
static bool hold; /* answers wait for release() */
static struct {
	const struct answer *answer;
	resolver_answer *done;
	void *arg;
} pending[PENDING];
static size_t pending_count;

static const struct answer nobody = { .outcome = RESOLVER_NO_NAME };

static void
give(const struct answer *a, resolver_answer *done, void *arg)
{
	struct view v = { 0 };

	if (a->outcome == RESOLVER_ANSWERED)
		v = guard_copy(a->reply.bytes, a->reply.len);
	done(arg, a->outcome, v.data, v.len);
	if (a->outcome == RESOLVER_ANSWERED)
		guard_drop(v);
}

void
resolver_ask(struct resolver *r, const char *name, enum dnsreply_kind kind,
    resolver_answer *done, void *arg)
{
	const struct answer *a = &nobody;

	(void)r;
	for (size_t i = 0; i < answer_count; i++)
		if (strcmp(answers[i].name, name) == 0 &&
		    answers[i].kind == kind)
			a = &answers[i];
	snprintf(asked + strlen(asked), sizeof asked - strlen(asked), "%s/%d ",
	    name, kind);
	if (!hold) {
		give(a, done, arg);
		return;
	}
	assert_true(pending_count < PENDING);
	pending[pending_count].answer = a;
	pending[pending_count].done = done;
	pending[pending_count++].arg = arg;
}

static void
release(void)
{
	size_t n = pending_count;

	pending_count = 0;
	for (size_t i = 0; i < n; i++)
		give(pending[i].answer, pending[i].done, pending[i].arg);
}

static struct answer *
answer(const char *name, enum dnsreply_kind kind)
{
	struct answer *a = &answers[answer_count++];

	assert_true(answer_count <= ANSWERS);
	a->name = name;
	a->kind = kind;
	a->outcome = RESOLVER_ANSWERED;
	dnsmessage_begin(&a->reply, name, types[kind]);
	return a;
}

static struct answer *
address(const char *name, const char *text, uint32_t ttl)
{
	bool six = strchr(text, ':') != NULL;
	struct answer *a = answer(name, six ? DNSREPLY_AAAA : DNSREPLY_A);

	dnsmessage_address(&a->reply, name, text, ttl);
	return a;
}

static void
fails(const char *name, enum dnsreply_kind kind, enum resolver_outcome outcome)
{
	answer(name, kind)->outcome = outcome;
}

/* ---- one look-up ---- */

static struct ev_loop *loop;
static struct lookup *lookup;
static size_t rounds;
static char found[400];

static void
done(void *arg, const struct lookup_result *r)
{
	char text[ADDR_STR_LEN];

	assert_ptr_equal(arg, &rounds);
	rounds++;
	found[0] = '\0';
	for (size_t i = 0; i < r->origins; i++)
		snprintf(found + strlen(found), sizeof found - strlen(found),
		    "%s*%u ", addr_format(text, &r->origin[i].address),
		    r->origin[i].weight);
}

static void
forget_answers(void)
{
	answer_count = 0;
	asked[0] = '\0';
}

static void
look_up(enum app_dns_type type, uint32_t ttl_s)
{
	const struct app_dns dns = { .name = "o.example",
		.type = type,
		.ttl_s = ttl_s,
		.port = type == APP_DNS_SRV ? 0 : 80 };

	lookup = lookup_new(NULL, loop, &dns, done, &rounds);
	assert_non_null(lookup);
	lookup_start(lookup);
}

/* Until it is done with one more round. */
static void
one_round(void)
{
	size_t before = rounds;

	for (int i = 0; i < 1000 && rounds == before; i++)
		ev_run(loop, EVRUN_ONCE);
	assert_int_equal(rounds, before + 1);
}

static void
assert_round(enum status status, const char *origins)
{
	one_round();
	assert_string_equal(found, origins);
	assert_int_equal(lookup_last(lookup)->status, status);
}

static int
setup(void **state)
{
	(void)state;
	loop = ev_loop_new(EVFLAG_AUTO);
	forget_answers();
	hold = false;
	pending_count = rounds = 0;
	return loop != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	lookup_free(lookup);
	ev_loop_destroy(loop);
	return 0;
}

/* ---- the stories ---- */

static void
addresses_of_both_families(void **state)
{
	(void)state;
	address("o.example", "192.0.2.1", 60);
	address("o.example", "2001:db8::1", 30);
	look_up(APP_DNS_BOTH, 0);
	assert_round(STATUS_OPEN, "192.0.2.1:80*1 [2001:db8::1]:80*1 ");
	assert_string_equal(asked, "o.example/0 o.example/1 ");
	assert_int_equal(lookup_last(lookup)->again_ms, 30000);
	assert_int_equal(lookup_last(lookup)->why, RESOLVER_ANSWERED);
}

static void
one_family_is_asked_for_alone(void **state)
{
	(void)state;
	address("o.example", "2001:db8::1", 86400 * 7);
	look_up(APP_DNS_AAAA, 0);
	assert_round(STATUS_OPEN, "[2001:db8::1]:80*1 ");
	assert_string_equal(asked, "o.example/1 ");
	assert_int_equal(lookup_last(lookup)->again_ms, 86400000);
}

/* A family without records is not a fault; the settings' ttl wins. */
static void
one_family_is_enough(void **state)
{
	(void)state;
	address("o.example", "192.0.2.1", 60);
	fails("o.example", DNSREPLY_AAAA, RESOLVER_NO_RECORDS);
	look_up(APP_DNS_BOTH, 7);
	assert_round(STATUS_OPEN, "192.0.2.1:80*1 ");
	assert_int_equal(lookup_last(lookup)->again_ms, 7000);
	assert_int_equal(lookup_last(lookup)->why, RESOLVER_ANSWERED);
}

static const struct {
	enum resolver_outcome four, six;
	enum status status;
} failures[] = {
	{ RESOLVER_NO_NAME, RESOLVER_NO_NAME, STATUS_RESOLVE_EMPTY },
	{ RESOLVER_NO_RECORDS, RESOLVER_NO_RECORDS, STATUS_RESOLVE_EMPTY },
	{ RESOLVER_NO_RECORDS, RESOLVER_TIMEDOUT, STATUS_RESOLVE_TIMEDOUT },
	{ RESOLVER_TIMEDOUT, RESOLVER_NO_NAME, STATUS_RESOLVE_TIMEDOUT },
	{ RESOLVER_FAILED, RESOLVER_TIMEDOUT, STATUS_RESOLVE_FAILED },
	{ RESOLVER_NO_NAME, RESOLVER_FAILED, STATUS_RESOLVE_FAILED },
};

static void
failures_have_their_status(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
		forget_answers();
		fails("o.example", DNSREPLY_A, failures[i].four);
		fails("o.example", DNSREPLY_AAAA, failures[i].six);
		look_up(APP_DNS_BOTH, 0);
		assert_round(failures[i].status, "");
		assert_in_range(lookup_last(lookup)->again_ms, 750, 1000);
		lookup_free(lookup);
	}
	lookup = NULL;
}

/* Whatever it is that fails: those of before stay, and it is tried again. */
static void
what_was_found_stays(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
		forget_answers();
		address("o.example", "192.0.2.1", 0);
		look_up(APP_DNS_BOTH, 0);
		assert_round(STATUS_OPEN, "192.0.2.1:80*1 ");
		forget_answers();
		fails("o.example", DNSREPLY_A, failures[i].four);
		fails("o.example", DNSREPLY_AAAA, failures[i].six);
		assert_round(failures[i].status, "192.0.2.1:80*1 ");
		if (i == 0) {
			/* longer and longer, and back */
			assert_round(failures[i].status, "192.0.2.1:80*1 ");
			assert_in_range(
			    lookup_last(lookup)->again_ms, 1500, 2000);
			forget_answers();
			address("o.example", "192.0.2.2", 60);
			assert_round(STATUS_OPEN, "192.0.2.2:80*1 ");
			assert_int_equal(lookup_last(lookup)->again_ms, 60000);
		}
		lookup_free(lookup);
	}
	lookup = NULL;
}

/* One family cannot be asked for: its addresses stay, the other's change. */
static void
half_an_answer(void **state)
{
	(void)state;
	address("o.example", "192.0.2.1", 0);
	address("o.example", "2001:db8::1", 0);
	look_up(APP_DNS_BOTH, 0);
	assert_round(STATUS_OPEN, "192.0.2.1:80*1 [2001:db8::1]:80*1 ");
	forget_answers();
	address("o.example", "192.0.2.2", 60);
	fails("o.example", DNSREPLY_AAAA, RESOLVER_TIMEDOUT);
	assert_round(STATUS_OPEN, "192.0.2.2:80*1 [2001:db8::1]:80*1 ");
	assert_int_equal(lookup_last(lookup)->why, RESOLVER_TIMEDOUT);
	assert_in_range(lookup_last(lookup)->again_ms, 750, 1000);
	/* now it is known that there are none */
	forget_answers();
	address("o.example", "192.0.2.3", 60);
	fails("o.example", DNSREPLY_AAAA, RESOLVER_NO_RECORDS);
	assert_round(STATUS_OPEN, "192.0.2.3:80*1 ");
	assert_int_equal(lookup_last(lookup)->again_ms, 60000);
}

static void
rubbish_is_a_failure(void **state)
{
	struct answer *a;

	(void)state;
	a = address("o.example", "192.0.2.1", 60);
	a->reply.len -= 1;
	look_up(APP_DNS_A, 0);
	assert_round(STATUS_RESOLVE_FAILED, "");
	lookup_free(lookup);
	forget_answers();
	a = answer("o.example", DNSREPLY_SRV);
	dnsmessage_srv(&a->reply, "o.example", 60,
	    (const unsigned int[]){ 1, 1, 80 }, "a.example");
	a->reply.len -= 1;
	look_up(APP_DNS_SRV, 0);
	assert_round(STATUS_RESOLVE_FAILED, "");
}

static void
srv(struct answer *a, unsigned int priority, unsigned int weight,
    unsigned int port, const char *host)
{
	dnsmessage_srv(&a->reply, "o.example", 50,
	    (const unsigned int[]){ priority, weight, port }, host);
}

/* The lowest priority alone, its weights, the smallest TTL of all. */
static void
srv_targets(void **state)
{
	struct answer *a = answer("o.example", DNSREPLY_SRV);

	(void)state;
	srv(a, 20, 1, 90, "c.example");
	srv(a, 10, 30, 81, "a.example");
	srv(a, 10, 10, 82, "b.example");
	address("a.example", "192.0.2.1", 60);
	address("b.example", "192.0.2.2", 40);
	address("b.example", "2001:db8::2", 45);
	address("c.example", "192.0.2.3", 1);
	look_up(APP_DNS_SRV, 0);
	assert_round(
	    STATUS_OPEN, "192.0.2.1:81*6 192.0.2.2:82*1 [2001:db8::2]:82*1 ");
	assert_string_equal(asked,
	    "o.example/2 a.example/0 a.example/1 b.example/0 b.example/1 ");
	assert_int_equal(lookup_last(lookup)->again_ms, 40000);
}

/* Hosts of a priority that have no address: the next one's are used. */
static void
srv_next_priority(void **state)
{
	struct answer *a = answer("o.example", DNSREPLY_SRV);

	(void)state;
	srv(a, 1, 0, 81, "a.example");
	srv(a, 2, 0, 82, "b.example");
	srv(a, 3, 0, 83, "c.example");
	srv(a, 4, 0, 84, "d.example");
	fails("b.example", DNSREPLY_A, RESOLVER_NO_RECORDS);
	address("c.example", "192.0.2.3", 60);
	look_up(APP_DNS_SRV, 0);
	assert_round(STATUS_OPEN, "192.0.2.3:83*1 ");
	assert_int_equal(lookup_last(lookup)->why, RESOLVER_ANSWERED);
	assert_null(strstr(asked, "d.example"));
	lookup_free(lookup);
	answer_count = 1; /* none has an address */
	look_up(APP_DNS_SRV, 0);
	assert_round(STATUS_RESOLVE_EMPTY, "");
	lookup_free(lookup);
	forget_answers();
	srv(answer("o.example", DNSREPLY_SRV), 1, 1, 80, "");
	look_up(APP_DNS_SRV, 0);
	assert_round(STATUS_RESOLVE_EMPTY, ""); /* "." */
}

/* A host that cannot be asked for keeps its addresses under new weights; the
 * whole stays when there is no word about the service. */
static void
srv_partly(void **state)
{
	struct answer *a = answer("o.example", DNSREPLY_SRV);

	(void)state;
	srv(a, 1, 1, 81, "a.example");
	srv(a, 1, 1, 82, "b.example");
	address("a.example", "192.0.2.1", 0);
	address("b.example", "192.0.2.2", 0);
	look_up(APP_DNS_SRV, 0);
	assert_round(STATUS_OPEN, "192.0.2.1:81*1 192.0.2.2:82*1 ");
	forget_answers();
	a = answer("o.example", DNSREPLY_SRV);
	srv(a, 1, 3, 81, "a.example");
	srv(a, 1, 1, 82, "b.example");
	fails("a.example", DNSREPLY_A, RESOLVER_TIMEDOUT);
	address("b.example", "192.0.2.9", 0);
	assert_round(STATUS_OPEN, "192.0.2.1:81*3 192.0.2.9:82*1 ");
	assert_int_equal(lookup_last(lookup)->why, RESOLVER_TIMEDOUT);
	forget_answers();
	fails("o.example", DNSREPLY_SRV, RESOLVER_FAILED);
	assert_round(STATUS_RESOLVE_FAILED, "192.0.2.1:81*3 192.0.2.9:82*1 ");
}

/* Other servers: the same is asked once more, and no round has ended. */
static void
cancelled_is_asked_again(void **state)
{
	(void)state;
	hold = true;
	fails("o.example", DNSREPLY_A, RESOLVER_CANCELLED);
	look_up(APP_DNS_A, 0);
	ev_run(loop, EVRUN_ONCE);
	assert_int_equal(pending_count, 1);
	release();
	assert_int_equal(rounds, 0);
	assert_int_equal(pending_count, 0); /* not from within the answer */
	forget_answers();
	hold = false;
	address("o.example", "192.0.2.1", 60);
	assert_round(STATUS_OPEN, "192.0.2.1:80*1 ");
}

/* Its owner goes while a question is open: no word to him. */
static void
freed_with_open_questions(void **state)
{
	(void)state;
	hold = true;
	address("o.example", "192.0.2.1", 60);
	look_up(APP_DNS_BOTH, 0);
	ev_run(loop, EVRUN_ONCE);
	assert_int_equal(pending_count, 2);
	lookup_free(lookup);
	lookup = NULL;
	release();
	assert_int_equal(rounds, 0);
}

static void
what_another_found(void **state)
{
	struct lookup *former;

	(void)state;
	address("o.example", "192.0.2.1", 60);
	look_up(APP_DNS_A, 0);
	assert_round(STATUS_OPEN, "192.0.2.1:80*1 ");
	former = lookup;
	forget_answers();
	fails("o.example", DNSREPLY_A, RESOLVER_FAILED);
	look_up(APP_DNS_A, 0);
	lookup_inherit(lookup, former);
	lookup_free(former);
	assert_int_equal(lookup_last(lookup)->origins, 1);
	assert_round(STATUS_RESOLVE_FAILED, "192.0.2.1:80*1 ");
}

int
main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		STORY(addresses_of_both_families),
		STORY(one_family_is_asked_for_alone),
		STORY(one_family_is_enough),
		STORY(failures_have_their_status),
		STORY(what_was_found_stays),
		STORY(half_an_answer),
		STORY(rubbish_is_a_failure),
		STORY(srv_targets),
		STORY(srv_next_priority),
		STORY(srv_partly),
		STORY(cancelled_is_asked_again),
		STORY(freed_with_open_questions),
		STORY(what_another_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
