/* `roughtime verify`: checks a malfeasance report, needs no network. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "roughtime/client/arguments.h"
#include "roughtime/client/command.h"
#include "roughtime/client/report.h"
#include "roughtime/client/show.h"

static const char help[] =
    "usage: roughtime verify [options] REPORT\n"
    "\n"
    "Checks a malfeasance report (RFC 10049 section 8.4): every reply under its\n"
    "public key, every nonce against the reply before it, every pair of times\n"
    "against the order in which they were made. Names who stands against the\n"
    "majority; whether the keys in it are those of real servers is yours to\n"
    "know.\n"
    "\n"
    "  --compat rfc10049-capital-t\n"
    "                     accept version 1 signed with the contexts of the\n"
    "                     drafts, as in RFC 10049 appendix B\n"
    "  --json             facts as JSON\n"
    "\n"
    "Exit: 0 valid and consistent, 1 usage, 3 invalid (proves nothing),\n"
    "4 malfeasance proven.\n";

#define KEY_TEXT_LEN 64

static char *
key_text(char buf[static KEY_TEXT_LEN], const uint8_t *key)
{
	return sodium_bin2base64(buf, KEY_TEXT_LEN, key, CERT_PUBLIC_LEN,
	    sodium_base64_VARIANT_ORIGINAL);
}

static void
show_link(const struct chain_link *l, size_t i)
{
	char key[KEY_TEXT_LEN], at[SHOW_LEN], radius[SHOW_LEN];

	printf("%2zu  server %zu  %s  ", i + 1, l->server + 1,
	    key_text(key, l->public_key));
	if (l->fault != VERIFY_OK)
		printf("INVALID: %s", verify_fault_explain(l->fault));
	else
		printf("%s +- %s  %s%s", show_time(at, l->result.midpoint_us),
		    show_span(radius, l->result.radius_us),
		    l->result.version->name,
		    l->result.capital_t ? " (rfc10049-capital-t)" : "");
	puts(l->linked ? "" : "  NOT CHAINED to the reply before it");
}

static void
show_conflicts(const struct chain_link *links, size_t n)
{
	char early[SHOW_LEN], late[SHOW_LEN];

	for (size_t i = 0; i < n; i++) {
		for (size_t j = i + 1; j < n; j++) {
			if (!chain_conflict(links, i, j))
				continue;
			printf("conflict: reply %zu (server %zu) says at least "
			       "%s, reply %zu (server %zu), made after it, "
			       "at most %s\n",
			    i + 1, links[i].server + 1,
			    show_time(early, links[i].result.earliest_us),
			    j + 1, links[j].server + 1,
			    show_time(late, links[j].result.latest_us));
		}
	}
}

static int
status_of(const struct chain_verdict *v)
{
	if (v->invalid > 0 || v->unlinked > 0)
		return COMMAND_INVALID;
	return v->conflicts > 0 ? COMMAND_DISAGREE : COMMAND_GOOD;
}

static void
show_suspects(const struct report *r, const struct chain_verdict *v)
{
	char key[KEY_TEXT_LEN];

	for (size_t s = 0; s < v->servers; s++) {
		size_t i = 0;

		if (!v->suspect[s])
			continue;
		while (r->links[i].server != s)
			i++;
		printf("server %zu (%s) is in conflict with the majority\n",
		    s + 1, key_text(key, r->links[i].public_key));
	}
	if (v->suspects == 0)
		puts("no majority: the report does not tell which of them "
		     "is wrong");
}

/* Changes nothing in the report: the links are judged one by one. */
static bool
would_pass_compat(const struct report *r)
{
	static const struct verify_options compat = { .compat_capital_t =
							  true };
	struct verify_result result;

	for (size_t i = 0; i < r->count; i++) {
		const struct chain_link *l = &r->links[i];

		if (verify_response(&result, l->public_key, l->request,
			l->response, &compat) != VERIFY_OK)
			return false;
	}
	return true;
}

static void
show(const struct report *r, const struct chain_verdict *v)
{
	for (size_t i = 0; i < r->count; i++)
		show_link(&r->links[i], i);
	switch (status_of(v)) {
	case COMMAND_INVALID:
		printf("invalid: %zu replies do not verify, %zu are not "
		       "chained; this proves nothing\n",
		    v->invalid, v->unlinked);
		if (would_pass_compat(r))
			puts("with --compat rfc10049-capital-t all replies "
			     "verify");
		return;
	case COMMAND_DISAGREE:
		show_conflicts(r->links, r->count);
		puts("malfeasance proven: at least one of these servers gave "
		     "a wrong time");
		show_suspects(r, v);
		return;
	default:
		puts("valid and consistent: no server is accused by this "
		     "report");
	}
}

static json_t *
link_json(const struct chain_link *l)
{
	char key[KEY_TEXT_LEN], at[SHOW_LEN];
	json_t *o = json_pack("{s:s, s:I, s:b, s:b, s:s}", "public_key",
	    key_text(key, l->public_key), "server", (json_int_t)l->server + 1,
	    "valid", l->fault == VERIFY_OK, "chained", l->linked, "fault",
	    verify_fault_str(l->fault));

	if (l->fault != VERIFY_OK)
		return o;
	json_object_set_new(
	    o, "time", json_string(show_time(at, l->result.midpoint_us)));
	json_object_set_new(
	    o, "radius_s", json_real((double)l->result.radius_us / 1e6));
	json_object_set_new(o, "version", json_string(l->result.version->name));
	json_object_set_new(o, "compat",
	    l->result.capital_t ? json_string("rfc10049-capital-t")
				: json_null());
	return o;
}

static json_t *
to_json(const struct report *r, const struct chain_verdict *v)
{
	static const char *const words[] = { [COMMAND_GOOD] = "consistent",
		[COMMAND_INVALID] = "invalid",
		[COMMAND_DISAGREE] = "malfeasance" };
	json_t *replies = json_array(), *conflicts = json_array();
	json_t *suspects = json_array();

	for (size_t i = 0; i < r->count; i++) {
		json_array_append_new(replies, link_json(&r->links[i]));
		for (size_t j = i + 1; j < r->count; j++) {
			if (chain_conflict(r->links, i, j))
				json_array_append_new(conflicts,
				    json_pack("[I, I]", (json_int_t)i + 1,
					(json_int_t)j + 1));
		}
	}
	for (size_t s = 0; s < v->servers; s++) {
		if (v->suspect[s])
			json_array_append_new(
			    suspects, json_integer((json_int_t)s + 1));
	}
	return json_pack("{s:s, s:o, s:o, s:o}", "verdict", words[status_of(v)],
	    "responses", replies, "conflicts", conflicts, "suspects", suspects);
}

static const struct option options[] = {
	{ "compat", required_argument, NULL, ARGUMENT_COMPAT },
	{ "json", no_argument, NULL, ARGUMENT_JSON },
	{ "help", no_argument, NULL, ARGUMENT_HELP },
	{ NULL, 0, NULL, 0 },
};

static const struct arguments_spec spec = {
	.help = help,
	.letters = "",
	.options = options,
};

static int
judge(const char *path, const char *text, size_t len,
    const struct verify_options *o, bool json)
{
	struct report r;
	struct chain_verdict v;
	char why[REPORT_WHY_LEN];
	int status = COMMAND_INVALID;

	if (!report_parse(&r, text, len, why)) {
		fprintf(stderr, "roughtime verify: %s: %s\n", path, why);
	} else {
		chain_judge(&v, r.links, r.count, o);
		if (json)
			command_print_json(to_json(&r, &v));
		else
			show(&r, &v);
		status = status_of(&v);
	}
	report_free(&r);
	return status;
}

int
judge_command(int argc, char **argv)
{
	struct arguments a = { 0 };
	char why[FILE_WHY_LEN];
	uint8_t *text;
	size_t len;
	int status = arguments_options(&a, &spec, NULL, argc, argv);

	if (status >= 0)
		return status;
	if (argc - optind != 1)
		return command_usage("verify", "give one report file");
	if (file_read(argv[optind], REPORT_BYTES_MAX, &text, &len, why) < 0) {
		fprintf(stderr, "roughtime verify: %s\n", why);
		return COMMAND_USAGE;
	}
	status =
	    judge(argv[optind], (const char *)text, len, &a.verify, a.json);
	free(text);
	return status;
}
