/* Chains and reports: who lies, who is only accused, what is no proof. */
#include "roughtime/client/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "roughtime/client/report.h"
#include "tests/support.h"

static void
load(struct report *r, const char *name)
{
	char path[128], why[REPORT_WHY_LEN];
	struct view text;

	snprintf(path, sizeof path, "tests/vectors/%s.json", name);
	text = support_file(path);
	if (!report_parse(r, (const char *)text.data, text.len, why))
		fail_msg("%s: %s", name, why);
	support_free(text);
}

static void
vectors(void **state)
{
	static const struct {
		const char *name;
		bool compat;
		size_t replies, invalid, conflicts;
		int suspect; /* -1: none */
	} cases[] = {
		{ "v1_chain_consistent", false, 6, 0, 0, -1 },
		{ "draft19_chain_consistent", false, 6, 0, 0, -1 },
		{ "v1_chain_liar", false, 6, 0, 6, 2 },
		{ "draft19_chain_liar", false, 6, 0, 6, 2 },
		{ "rfc10049-appendix-b", false, 3, 3, 0, -1 },
		/* by the bytes the first; the text of the RFC says the third */
		{ "rfc10049-appendix-b", true, 3, 0, 2, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct verify_options o = { .compat_capital_t =
						      cases[i].compat };
		struct chain_verdict v;
		struct report r;

		load(&r, cases[i].name);
		chain_judge(&v, r.links, r.count, &o);
		assert_int_equal(r.count, cases[i].replies);
		assert_int_equal(v.servers, 3);
		assert_int_equal(v.invalid, cases[i].invalid);
		assert_int_equal(v.unlinked, 0);
		assert_int_equal(v.conflicts, cases[i].conflicts);
		assert_int_equal(v.suspects, cases[i].suspect >= 0);
		for (int s = 0; s < 3; s++)
			assert_int_equal(v.suspect[s], s == cases[i].suspect);
		report_free(&r);
	}
}

/* A chain whose order was changed, or with a rand that does not fit. */
static void
broken_links(void **state)
{
	const struct verify_options strict = { 0 };
	struct chain_verdict v;
	struct chain_link swap;
	struct report r;

	(void)state;
	load(&r, "v1_chain_liar");
	r.links[3].rand[0] ^= 1;
	chain_judge(&v, r.links, r.count, &strict);
	assert_int_equal(v.unlinked, 1);
	assert_false(r.links[3].linked);
	r.links[3].rand[0] ^= 1;
	r.links[3].has_rand = false;
	chain_judge(&v, r.links, r.count, &strict);
	assert_int_equal(v.unlinked, 1);
	r.links[3].has_rand = true;
	swap = r.links[1];
	r.links[1] = r.links[2];
	r.links[2] = swap;
	chain_judge(&v, r.links, r.count, &strict);
	assert_int_equal(v.unlinked, 3);
	assert_int_equal(v.invalid, 0);
	swap = r.links[1];
	r.links[1] = r.links[2];
	r.links[2] = swap;
	/* a reply under another key: invalid, and out of every pair */
	memcpy(r.links[2].public_key, r.links[0].public_key, 32);
	chain_judge(&v, r.links, r.count, &strict);
	assert_int_equal(v.invalid, 1);
	assert_int_equal(v.conflicts, 3 - 1 + 2);
	report_free(&r);
}

/* What a report holds comes back out of it byte by byte. */
static void
round_trip(void **state)
{
	struct report r, again;
	char why[REPORT_WHY_LEN], *text;
	json_t *root;

	(void)state;
	load(&r, "v1_chain_liar");
	root = report_make(r.links, r.count);
	text = json_dumps(root, 0);
	assert_non_null(text);
	assert_true(report_parse(&again, text, strlen(text), why));
	assert_int_equal(again.count, r.count);
	assert_false(again.links[0].has_rand);
	for (size_t i = 0; i < r.count; i++) {
		const struct chain_link *a = &r.links[i], *b = &again.links[i];

		assert_memory_equal(a->public_key, b->public_key, 32);
		assert_int_equal(a->request.len, b->request.len);
		assert_memory_equal(
		    a->request.data, b->request.data, a->request.len);
		assert_int_equal(a->response.len, b->response.len);
		assert_memory_equal(
		    a->response.data, b->response.data, a->response.len);
		if (i > 0)
			assert_memory_equal(a->rand, b->rand, 32);
	}
	free(text);
	json_decref(root);
	report_free(&r);
	report_free(&again);
}

#define KEY "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void
bad_reports(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "", "1:0" },
		{ "[", "1:1" },
		{ "[]", "no list" },
		{ "{}", "no list" },
		{ "{\"responses\": 3}", "no list" },
		{ "{\"responses\": []}", "0 responses" },
		{ "{\"responses\": [3]}", "not an object" },
		{ "{\"responses\": [{}]}", "publicKey" },
		{ "{\"responses\": [{\"publicKey\": \"AAAA\"}]}", "publicKey" },
		{ "{\"responses\": [{\"publicKey\": \"" KEY "\"}]}",
		    "request" },
		{ "{\"responses\": [{\"publicKey\": \"" KEY
		  "\", \"request\": \"*\"}]}",
		    "request" },
		{ "{\"responses\": [{\"publicKey\": \"" KEY
		  "\", \"request\": \"AAAA\"}]}",
		    "response is" },
		{ "{\"responses\": [{\"publicKey\": \"" KEY
		  "\", \"rand\": \"AAAA\"}]}",
		    "rand" },
		{ "{\"responses\": [{\"publicKey\": \"" KEY
		  "\", \"request\": \"AAAA\", \"response\": \"AAAA\"}, "
		  "{\"publicKey\": \"" KEY "\"}]}",
		    "response 2 has no rand" },
		{ "{\"responses\": [], \"responses\": []}", "duplicate" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char why[REPORT_WHY_LEN] = "";
		struct report r;

		assert_false(
		    report_parse(&r, bad[i].text, strlen(bad[i].text), why));
		if (strstr(why, bad[i].why) == NULL)
			fail_msg("%s: \"%s\" does not tell \"%s\"", bad[i].text,
			    why, bad[i].why);
		report_free(&r);
	}
}

/* Packets and lists of any length are refused before they cost anything. */
static void
long_reports(void **state)
{
	char why[REPORT_WHY_LEN];
	struct report r;
	size_t len = REPORT_BYTES_MAX + 1;
	char *text = malloc(len);
	json_t *root = json_object(), *list = json_array();

	(void)state;
	assert_non_null(text);
	memset(text, ' ', len);
	assert_false(report_parse(&r, text, len, why));
	assert_non_null(strstr(why, "longer"));
	report_free(&r);
	free(text);
	for (int i = 0; i <= CHAIN_MAX; i++)
		json_array_append_new(list, json_integer(i));
	json_object_set_new(root, "responses", list);
	text = json_dumps(root, 0);
	assert_false(report_parse(&r, text, strlen(text), why));
	assert_non_null(strstr(why, "129 responses"));
	report_free(&r);
	json_decref(root);
	free(text);
}

/* Replies as they would come from servers with these clocks. */
static void
invent(struct chain_link *links, const int *clocks, size_t servers)
{
	for (size_t i = 0; i < 2 * servers; i++) {
		uint64_t s = (uint64_t)(1000000 + clocks[i % servers]);

		memset(&links[i], 0, sizeof links[i]);
		links[i].public_key[0] = (uint8_t)(i % servers + 1);
		links[i].server = i % servers;
		links[i].result.earliest_us = (s - 3) * 1000000;
		links[i].result.latest_us = (s + 3) * 1000000;
	}
}

static void
causality_both_ways(void **state)
{
	static const int clocks[] = { 0, 100 };
	struct chain_link links[4];

	(void)state;
	invent(links, clocks, 2);
	/* a clock ahead is caught by the reply that comes after it */
	assert_false(chain_conflict(links, 0, 1));
	assert_true(chain_conflict(links, 1, 2));
	assert_false(chain_conflict(links, 0, 2));
	assert_false(chain_conflict(links, 1, 3));
	links[2].fault = VERIFY_SIGNATURE;
	assert_false(chain_conflict(links, 1, 2));
}

static void
medians(void **state)
{
	struct chain_offset day[] = { { 86400000000, 5 }, { -10, 9 },
		{ 20, 7 } };
	struct chain_offset four[] = { { 4, 1 }, { 1, 1 }, { 3, 8 }, { 2, 9 } };
	struct chain_offset one[] = { { INT64_MIN, UINT64_MAX } };

	(void)state;
	assert_int_equal(chain_median(day, 3).us, 20);
	/* of the two middle ones the surer one: no average */
	assert_int_equal(chain_median(four, 4).us, 3);
	assert_true(chain_median(one, 1).us == INT64_MIN);
	assert_int_equal(chain_median(one, 0).us, 0);
}

static void
agreements(void **state)
{
	const struct chain_offset good[] = { { 0, 10 }, { 15, 10 } };
	const struct chain_offset bad[] = { { 0, 10 }, { 25, 10 } };
	const struct chain_offset wide[] = { { INT64_MAX, UINT64_MAX },
		{ INT64_MIN, UINT64_MAX } };
	int64_t low, high;

	(void)state;
	assert_true(chain_agreement(good, 2, &low, &high));
	assert_int_equal(low, 5);
	assert_int_equal(high, 10);
	assert_false(chain_agreement(bad, 2, &low, &high));
	assert_false(chain_agreement(good, 0, &low, &high));
	assert_true(chain_agreement(wide, 1, &low, &high));
	assert_true(high == INT64_MAX);
	assert_false(chain_agreement(wide, 2, &low, &high));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors),
		cmocka_unit_test(broken_links),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(bad_reports),
		cmocka_unit_test(long_reports),
		cmocka_unit_test(causality_both_ways),
		cmocka_unit_test(medians),
		cmocka_unit_test(agreements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
