/* Server lists: the RFC's format, the dialects, and what is left out. */
#include "roughtime/client/serverlist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support.h"

#define KEY1 "2O3mkkheDExCuhG+ZNIoWmO/IdCdLzADgUn8SnC4hME="
#define KEY2 "ZYfeGa94YuG1IZrV3kR9+8/nmZ2lX2XyHmiSb+wI0OY="
#define ADDRS                                      \
	"\"addresses\": [{\"protocol\": \"udp\", " \
	"\"address\": \"192.0.2.1:2002\"}]"

static void
parse(struct serverlist *l, const char *text)
{
	char why[SERVERLIST_WHY_LEN];
	struct view copy = guard_copy(text, strlen(text));

	if (!serverlist_parse(l, (const char *)copy.data, copy.len, why))
		fail_msg("%s: %s", text, why);
	guard_drop(copy);
}

/* The form of RFC 10049 appendix A. */
static void
as_in_the_rfc(void **state)
{
	struct serverlist l;

	(void)state;
	parse(&l,
	    "{\"servers\": [{\"name\": \"one\", \"version\": 1,"
	    "\"publicKeyType\": \"ed25519\", \"publicKey\": \"" KEY1 "\","
	    "\"addresses\": [{\"protocol\": \"udp\", \"address\":"
	    "\"roughtime.example.com:5319\"}, {\"protocol\": \"tcp\","
	    "\"address\": \"[2001:db8::2:33]:5319\"}]},"
	    "{\"name\": \"two\", \"version\": 1, \"publicKeyType\":"
	    "\"ed25519\", \"publicKey\": \"" KEY2 "\"," ADDRS "}],"
	    "\"sources\": [\"https://www.example.net/ecosystem.json\"],"
	    "\"reports\": \"https://www.example.net/malfeasance\"}");
	assert_int_equal(l.count, 2);
	assert_int_equal(l.skipped, 0);
	assert_string_equal(l.entries[0].name, "one");
	assert_int_equal(l.entries[0].public_key[0], 0xd8);
	assert_false(l.entries[0].google);
	assert_int_equal(l.entries[0].n_addrs, 2);
	assert_int_equal(l.entries[0].addrs[0].proto, SOCK_UDP);
	assert_string_equal(
	    l.entries[0].addrs[0].target.host, "roughtime.example.com");
	assert_string_equal(l.entries[0].addrs[0].target.port, "5319");
	assert_int_equal(l.entries[0].addrs[1].proto, SOCK_TCP);
	assert_string_equal(
	    l.entries[0].addrs[1].target.host, "2001:db8::2:33");
	assert_string_equal(l.entries[1].addrs[0].target.host, "192.0.2.1");
	assert_string_equal(l.reports, "https://www.example.net/malfeasance");
	serverlist_free(&l);
}

static void
versions_of_the_field(void **state)
{
	static const struct {
		const char *version;
		bool google;
	} cases[] = {
		{ "\"version\": 1,", false },
		{ "\"version\": 2147483660,", false },
		{ "\"version\": 3000600613,", true },
		{ "\"version\": \"1\",", false },
		{ "\"version\": \"IETF-Roughtime\",", false },
		{ "\"version\": \"Google-Roughtime\",", true },
		{ "\"version\": null,", false },
		{ "\"version\": [1],", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct serverlist l;
		char text[512];

		snprintf(text, sizeof text,
		    "{\"servers\": [{%s \"publicKey\": \"" KEY1 "\"," ADDRS
		    "}]}",
		    cases[i].version);
		parse(&l, text);
		assert_int_equal(l.count, 1);
		assert_int_equal(l.entries[0].google, cases[i].google);
		assert_string_equal(l.entries[0].name, "(no name)");
		assert_string_equal(l.reports, "");
		serverlist_free(&l);
	}
}

static bool seen[SERVERLIST_FAULTS];

static void
entries_left_out(void **state)
{
	static const struct {
		const char *entry;
		enum serverlist_fault fault;
	} cases[] = {
		{ "17", SERVERLIST_NOT_OBJECT },
		{ "{\"publicKeyType\": \"ml-dsa-44\", \"publicKey\": \"" KEY2
		  "\"," ADDRS "}",
		    SERVERLIST_KEY_TYPE },
		{ "{" ADDRS "}", SERVERLIST_KEY },
		{ "{\"publicKey\": \"AAAA\"," ADDRS "}", SERVERLIST_KEY },
		{ "{\"publicKey\": 4," ADDRS "}", SERVERLIST_KEY },
		{ "{\"publicKey\": \"" KEY1 "\"," ADDRS "}",
		    SERVERLIST_KEY_REPEATED },
		{ "{\"publicKey\": \"" KEY2 "\"}", SERVERLIST_NO_ADDRESS },
		{ "{\"publicKey\": \"" KEY2 "\", \"addresses\": [{}]}",
		    SERVERLIST_NO_ADDRESS },
		{ "{\"publicKey\": \"" KEY2 "\", \"addresses\": [{"
		  "\"protocol\": \"quic\", \"address\": \"x:1\"}, {"
		  "\"protocol\": \"udp\", \"address\": \"x:0\"}, {"
		  "\"protocol\": \"udp\"}]}",
		    SERVERLIST_NO_ADDRESS },
		{ "{\"publicKey\": \"" KEY2 "\"," ADDRS "}", SERVERLIST_OK },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct serverlist l;
		char text[1024];
		bool ok = cases[i].fault == SERVERLIST_OK;

		snprintf(text, sizeof text,
		    "{\"servers\": [{\"publicKey\": \"" KEY1 "\"," ADDRS
		    "}, %s]}",
		    cases[i].entry);
		parse(&l, text);
		assert_int_equal(l.count, ok ? 2 : 1);
		assert_int_equal(l.skipped, ok ? 0 : 1);
		if (!ok)
			assert_int_equal(l.skips[0].fault, cases[i].fault);
		seen[cases[i].fault] = true;
		serverlist_free(&l);
	}
}

static void
no_lists(void **state)
{
	static const char *const bad[] = { "", "{", "[]", "7", "{}",
		"{\"servers\": {}}", "{\"servers\": [], \"servers\": []}",
		"{\"servers\": []} trailing" };

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char why[SERVERLIST_WHY_LEN] = "";
		struct serverlist l;

		assert_false(serverlist_parse(&l, bad[i], strlen(bad[i]), why));
		assert_true(why[0] != '\0');
		serverlist_free(&l);
	}
}

/* Names end on the user's terminal: nothing in them may steer it. */
static void
names_are_cleaned(void **state)
{
	struct serverlist l;

	(void)state;
	parse(&l,
	    "{\"servers\": [{\"name\": \"a\\u001b[2Jb\\n\\u007fc\","
	    "\"publicKey\": \"" KEY1 "\"," ADDRS "}], \"reports\":"
	    "\"https://x/\\u001b[2J\"}");
	assert_string_equal(l.entries[0].name, "a?[2Jb??c");
	assert_string_equal(l.reports, "");
	serverlist_free(&l);
	parse(&l,
	    "{\"servers\": [{\"name\": \"a\", \"publicKey\": \"" KEY1
	    "\"," ADDRS "}], \"reports\": \"http://x/\"}");
	assert_string_equal(l.reports, ""); /* https only, section 8.3 */
	serverlist_free(&l);
}

static void
long_lists_are_cut(void **state)
{
	size_t cap = 200 * (SERVERLIST_MAX + 10), len;
	char *text = malloc(cap), why[SERVERLIST_WHY_LEN];
	struct serverlist l;

	(void)state;
	assert_non_null(text);
	len = (size_t)sprintf(text, "{\"servers\": [0");
	for (int i = 0; i < SERVERLIST_MAX + 5; i++)
		len += (size_t)sprintf(text + len,
		    ",{\"name\": \"%d\", \"publicKey\": \"%064x\"," ADDRS "}",
		    i, i);
	sprintf(text + len, "]}");
	parse(&l, text);
	assert_int_equal(l.count + l.skipped, SERVERLIST_MAX);
	serverlist_free(&l);
	free(text);
	text = calloc(1, SERVERLIST_BYTES_MAX + 1);
	assert_false(serverlist_parse(&l, text, SERVERLIST_BYTES_MAX + 1, why));
	assert_non_null(strstr(why, "longer"));
	serverlist_free(&l);
	free(text);
}

static const char *
fault_word(int i)
{
	return serverlist_fault_str((enum serverlist_fault)i);
}

static void
all_faults_reached(void **state)
{
	(void)state;
	support_all_seen(seen, SERVERLIST_FAULTS, fault_word);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_in_the_rfc),
		cmocka_unit_test(versions_of_the_field),
		cmocka_unit_test(entries_left_out),
		cmocka_unit_test(no_lists),
		cmocka_unit_test(names_are_cleaned),
		cmocka_unit_test(long_lists_are_cut),
		cmocka_unit_test(all_faults_reached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
