/* `roughtime query`: one server, one verified time. */
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roughtime/client/command.h"
#include "roughtime/client/diagnose.h"
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
	const char *name; /* HOST[:PORT] as given */
	struct target target;
	uint8_t key[CERT_PUBLIC_LEN];
	bool has_key, insecure, json;
	unsigned int protos;
	uint32_t rows; /* 0: the ladder */
	int family;
	struct exchange exchange;
};

enum {
	OPT_UDP = 256,
	OPT_TCP,
	OPT_VERSION,
	OPT_TIMEOUT,
	OPT_RETRIES,
	OPT_SIZE,
	OPT_INSECURE,
	OPT_COMPAT,
	OPT_JSON,
	OPT_HELP
};

static const struct option options[] = {
	{ "udp", no_argument, NULL, OPT_UDP },
	{ "tcp", no_argument, NULL, OPT_TCP },
	{ "version", required_argument, NULL, OPT_VERSION },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "retries", required_argument, NULL, OPT_RETRIES },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "insecure", no_argument, NULL, OPT_INSECURE },
	{ "compat", required_argument, NULL, OPT_COMPAT },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

/* Takes one option; false when its value makes no sense. */
static bool
take_option(struct query *q, int opt, const char *value)
{
	uint64_t n = 0;

	switch (opt) {
	case OPT_UDP:
		q->protos |= EXCHANGE_UDP;
		return true;
	case OPT_TCP:
		q->protos |= EXCHANGE_TCP;
		return true;
	case OPT_VERSION:
		return (q->rows = ladder_parse(value)) != 0;
	case OPT_TIMEOUT:
		return command_seconds(value, &q->exchange.timeout_ns);
	case OPT_RETRIES:
		if (!command_number(value, 0, 1000, &n))
			return false;
		q->exchange.tries = (unsigned int)n + 1;
		return true;
	case OPT_SIZE:
		if (!command_number(value, 128, 65000, &n))
			return false;
		q->exchange.options.size = n / 4 * 4;
		return true;
	case OPT_INSECURE:
		return q->insecure = true;
	case OPT_COMPAT:
		return q->exchange.options.verify.compat_capital_t =
			   strcmp(value, "rfc10049-capital-t") == 0;
	case OPT_JSON:
		return q->json = true;
	case '4':
	case '6':
		q->family = opt == '4' ? AF_INET : AF_INET6;
		return true;
	default:
		return false;
	}
}

/* Returns -1 to go on, or an exit status. */
static int
parse(struct query *q, int argc, char **argv)
{
	const char *why;
	int opt;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "46", options, NULL)) != -1) {
		if (opt == OPT_HELP) {
			fputs(help, stdout);
			return COMMAND_GOOD;
		}
		if (opt == '?')
			return command_usage("query", "an option is wrong");
		if (!take_option(q, opt, optarg))
			return command_usage("query", "%s: bad value %s",
			    argv[optind - 1] == optarg ? argv[optind - 2]
						       : argv[optind - 1],
			    optarg);
	}
	if (argc - optind < 1 || argc - optind > 2)
		return command_usage("query", "give HOST[:PORT] and a key");
	q->name = argv[optind];
	if (!target_parse(&q->target, q->name, &why))
		return command_usage("query", "%s: %s", q->name, why);
	q->has_key = argc - optind == 2;
	if (q->has_key && !target_key(q->key, argv[optind + 1]))
		return command_usage("query",
		    "%s: not a public key (32 bytes as base64 or hex)",
		    argv[optind + 1]);
	return -1;
}

static int
succeed(const struct query *q, const struct attempt *winner)
{
	bool verified = q->has_key;

	if (q->json)
		command_print_json(show_answer_json(q->name, winner, verified));
	else
		show_answer(q->name, winner, verified);
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
	return json_pack("{s:s, s:b, s:s, s:s, s:o}", "server", q->name,
	    "verified", 0, "fault", diagnosis_str(d), "reason", text,
	    "attempts", attempts);
}

static int
fail(const struct query *q)
{
	const struct exchange *x = &q->exchange;
	struct attempt_seen *seen =
	    command_alloc(x->count, sizeof(struct attempt_seen));
	char text[DIAGNOSE_LEN];
	enum diagnosis d;
	size_t n = 0;

	for (size_t i = 0; i < x->count; i++) {
		if (x->list[i].tries > 0)
			seen[n++] = x->list[i].seen;
	}
	d = diagnose(text, seen, n);
	free(seen);
	if (q->json)
		command_print_json(failure_json(q, d, text));
	else
		fprintf(stderr, "roughtime query: %s: %s", q->name, text);
	return diagnosis_is_invalid(d) ? COMMAND_INVALID : COMMAND_NO_ANSWER;
}

static int
fail_resolve(const struct query *q, const char *why)
{
	if (q->json)
		command_print_json(json_pack("{s:s, s:b, s:s, s:s}", "server",
		    q->name, "verified", 0, "fault", "name", "reason", why));
	else
		fprintf(
		    stderr, "roughtime query: %s: %s\n", q->target.host, why);
	return COMMAND_NO_ANSWER;
}

int
query_command(int argc, char **argv)
{
	struct query q = { .family = AF_UNSPEC,
		.exchange = { .timeout_ns = 10000000000,
		    .tries = ~0u,
		    .options.size = ATTEMPT_SIZE } };
	struct addr addrs[TARGET_ADDRS_MAX];
	struct rung rungs[LADDER_MAX];
	struct attempt *winner;
	const char *why = NULL;
	size_t n, n_addrs;
	int status = parse(&q, argc, argv);

	if (status >= 0)
		return status;
	n_addrs =
	    target_resolve(&q.target, q.family, addrs, TARGET_ADDRS_MAX, &why);
	if (n_addrs == 0)
		return fail_resolve(&q, why);
	q.exchange.options.public_key = q.has_key ? q.key : NULL;
	q.exchange.options.verify.any_key = !q.has_key;
	n = q.rows != 0 ? ladder_rows(rungs, q.rows)
			: ladder_default(rungs, q.has_key, false);
	exchange_plan(&q.exchange, rungs, n,
	    q.protos != 0 ? q.protos : EXCHANGE_UDP | EXCHANGE_TCP, addrs,
	    n_addrs);
	winner = exchange_run(&q.exchange);
	status = winner != NULL ? succeed(&q, winner) : fail(&q);
	exchange_free(&q.exchange);
	return status;
}
