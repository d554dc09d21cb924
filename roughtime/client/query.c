/* `roughtime query`: one server, one verified time. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roughtime/client/command.h"
#include "roughtime/client/exchange.h"
#include "roughtime/client/show.h"

static const char help[] =
    "usage: roughtime query [options] HOST[:PORT] [PUBLIC-KEY]\n"
    "\n"
    "Asks one server for the time and verifies the reply. All versions of the\n"
    "protocol are tried, over UDP and then TCP; the first reply that verifies\n"
    "is shown. The port is 2002 unless given; the key is base64 or hex.\n"
    "\n"
    "  --udp, --tcp       this transport only\n"
    "  --version V[,V…]   these versions only: 1, draft-14, 0x8000000b, "
    "google …\n"
    "  -4, -6             IPv4 or IPv6 only\n"
    "  --timeout SECONDS  for everything (10)\n"
    "  --retries N        requests repeated at most N times (as time allows)\n"
    "  --size BYTES       of a request packet (1036)\n"
    "  --insecure         accept a reply without a public key (exit 0)\n"
    "  --compat rfc10049-capital-t\n"
    "                     also accept version 1 signed with the contexts of\n"
    "                     the drafts, as in RFC 10049 appendix B\n"
    "  --json             facts as JSON\n"
    "\n"
    "Exit: 0 verified, 1 usage, 2 no answer, 3 invalid or unverified answer.\n";

struct query {
	struct arguments arguments;
	bool insecure;
	struct exchange exchange;
};

enum { OPT_RETRIES = ARGUMENT_OWN, OPT_INSECURE };

static const struct option options[] = {
	{ "udp", no_argument, NULL, ARGUMENT_UDP },
	{ "tcp", no_argument, NULL, ARGUMENT_TCP },
	{ "version", required_argument, NULL, ARGUMENT_VERSION },
	{ "timeout", required_argument, NULL, ARGUMENT_TIMEOUT },
	{ "retries", required_argument, NULL, OPT_RETRIES },
	{ "size", required_argument, NULL, ARGUMENT_SIZE },
	{ "insecure", no_argument, NULL, OPT_INSECURE },
	{ "compat", required_argument, NULL, ARGUMENT_COMPAT },
	{ "json", no_argument, NULL, ARGUMENT_JSON },
	{ "help", no_argument, NULL, ARGUMENT_HELP },
	{ NULL, 0, NULL, 0 },
};

static bool
take_option(void *own, int opt, const char *value)
{
	struct query *q = own;
	uint64_t n;

	if (opt == OPT_INSECURE)
		return q->insecure = true;
	if (!command_number(value, 0, 1000, &n))
		return false;
	q->exchange.tries = (unsigned int)n + 1;
	return true;
}

static const struct arguments_spec spec = {
	.help = help,
	.letters = "46",
	.options = options,
	.take = take_option,
};

static int
succeed(const struct query *q, const struct attempt *winner)
{
	bool verified = q->arguments.has_key;

	if (q->arguments.json)
		command_print_json(
		    show_answer_json(q->arguments.server, winner, verified));
	else
		show_answer(q->arguments.server, winner, verified);
	if (verified || q->insecure)
		return COMMAND_GOOD;
	fputs("roughtime query: no public key: the time above is not "
	      "verified (--insecure accepts it)\n",
	    stderr);
	return COMMAND_INVALID;
}

static json_t *
failure_json(const struct query *q, enum diagnosis d, const char *text)
{
	json_t *attempts = json_array();

	for (size_t i = 0; i < q->exchange.count; i++) {
		if (q->exchange.list[i].tries > 0)
			json_array_append_new(
			    attempts, show_attempt_json(&q->exchange.list[i]));
	}
	return json_pack("{s:s, s:b, s:s, s:s, s:o}", "server",
	    q->arguments.server, "verified", 0, "fault", diagnosis_str(d),
	    "reason", text, "attempts", attempts);
}

static int
fail(const struct query *q)
{
	char text[DIAGNOSE_LEN];
	enum diagnosis d = exchange_explain(&q->exchange, text);

	if (q->arguments.json)
		command_print_json(failure_json(q, d, text));
	else
		fprintf(stderr, "roughtime query: %s: %s", q->arguments.server,
		    text);
	return diagnosis_is_invalid(d) ? COMMAND_INVALID : COMMAND_NO_ANSWER;
}

int
query_command(int argc, char **argv)
{
	struct query q = { .arguments = { .family = AF_UNSPEC,
			       .timeout_ns = 10000000000,
			       .size = ATTEMPT_SIZE },
		.exchange.tries = ~0u };
	struct arguments *a = &q.arguments;
	struct addr addrs[TARGET_ADDRS_MAX];
	struct rung rungs[LADDER_MAX];
	struct attempt *winner;
	const char *why = NULL;
	size_t n, n_addrs;
	int status = arguments_options(a, &spec, &q, argc, argv);

	if (status < 0)
		status = arguments_server(a, argc, argv);
	if (status >= 0)
		return status;
	n_addrs = target_resolve(
	    &a->target, a->family, addrs, TARGET_ADDRS_MAX, &why);
	if (n_addrs == 0)
		return arguments_no_address(a, argv[0], why);
	exchange_init(&q.exchange, a);
	n = a->rows != 0 ? ladder_rows(rungs, a->rows)
			 : ladder_default(rungs, a->has_key, false);
	exchange_plan(&q.exchange, rungs, n, a->protos, addrs, n_addrs);
	winner = exchange_run(&q.exchange);
	status = winner != NULL ? succeed(&q, winner) : fail(&q);
	exchange_free(&q.exchange);
	return status;
}
