/* `roughtime probe`: which versions a server speaks, over which transport. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roughtime/client/command.h"
#include "roughtime/client/exchange.h"
#include "roughtime/client/show.h"

static const char help[] =
    "usage: roughtime probe [options] HOST[:PORT] [PUBLIC-KEY]\n"
    "\n"
    "Asks for each version by itself, over UDP and TCP, all at once, and tells\n"
    "in one line each what came back; in plain words why, when nothing did.\n"
    "Without a key the replies are checked for all but who made them.\n"
    "\n"
    "  --udp, --tcp       this transport only\n"
    "  --version V[,V…]   these versions only\n"
    "  -4, -6             IPv4 or IPv6 only\n"
    "  --timeout SECONDS  for everything (4)\n"
    "  --compat rfc10049-capital-t\n"
    "  --json             facts as JSON\n"
    "\n"
    "Exit: 0 something answered well, 1 usage, 2 no answer, 3 only invalid "
    "answers.\n";

struct probe {
	struct arguments arguments;
	struct addr addr;
	struct exchange exchange;
};

static const struct option options[] = {
	{ "udp", no_argument, NULL, ARGUMENT_UDP },
	{ "tcp", no_argument, NULL, ARGUMENT_TCP },
	{ "version", required_argument, NULL, ARGUMENT_VERSION },
	{ "timeout", required_argument, NULL, ARGUMENT_TIMEOUT },
	{ "compat", required_argument, NULL, ARGUMENT_COMPAT },
	{ "json", no_argument, NULL, ARGUMENT_JSON },
	{ "help", no_argument, NULL, ARGUMENT_HELP },
	{ NULL, 0, NULL, 0 },
};

static const struct arguments_spec spec = {
	.help = help,
	.letters = "46",
	.options = options,
};

/* Every row by itself, and once without SRV: see ladder.c on wrong keys. */
static size_t
make_rungs(struct rung rungs[static LADDER_MAX], const struct probe *p)
{
	size_t n = ladder_rows(rungs, p->arguments.rows), extra;
	struct rung no_srv[LADDER_MAX];

	if (!p->arguments.has_key || p->arguments.rows != VERSION_ALL)
		return n;
	extra = ladder_no_srv(no_srv);
	for (size_t i = 0; i < extra && n < LADDER_MAX; i++, n++) {
		rungs[n] = no_srv[i];
		rungs[n].name = "no SRV";
		rungs[n].delay_ms = 0;
	}
	return n;
}

static const char *
outcome(const struct attempt *a)
{
	const struct attempt_seen *s = &a->seen;

	if (a->state == ATTEMPT_DONE)
		return "ok";
	if (s->invalid > 0)
		return "invalid";
	if (s->refused > 0)
		return "refused";
	if (s->closed > 0)
		return "closed";
	if (s->failed > 0)
		return "failed";
	return s->stale > 0 ? "stale" : "silent";
}

static void
show_line(const struct attempt *a)
{
	const struct verify_result *r = &a->answer.result;
	char rtt[SHOW_LEN];

	printf("%s  %-10s %s", a->seen.proto == SOCK_TCP ? "tcp" : "udp",
	    a->seen.format, outcome(a));
	if (a->state == ATTEMPT_DONE)
		printf("       %9s  %4zu bytes  radius %g s%s%s%s",
		    show_ns(rtt, a->answer.round_trip_ns), a->answer.reply_len,
		    (double)r->radius_us / 1e6,
		    strcmp(r->version->name, a->seen.format) != 0
			? "  answered as "
			: "",
		    strcmp(r->version->name, a->seen.format) != 0
			? r->version->name
			: "",
		    r->capital_t ? "  rfc10049-capital-t" : "");
	else if (a->seen.invalid > 0)
		printf("  %s: %s", verify_fault_str(a->seen.fault),
		    verify_fault_explain(a->seen.fault));
	else if (a->seen.failed > 0)
		printf("  %s", strerror(a->seen.error));
	putchar('\n');
}

static json_t *
line_json(const struct attempt *a)
{
	json_t *o = show_attempt_json(a);

	json_object_set_new(o, "outcome", json_string(outcome(a)));
	if (a->state != ATTEMPT_DONE)
		return o;
	json_object_set_new(
	    o, "version", json_string(a->answer.result.version->name));
	json_object_set_new(o, "round_trip_s",
	    json_real((double)a->answer.round_trip_ns / 1e9));
	json_object_set_new(
	    o, "reply_bytes", json_integer((json_int_t)a->answer.reply_len));
	json_object_set_new(
	    o, "radius_s", json_real((double)a->answer.result.radius_us / 1e6));
	return o;
}

static void
show_json(const struct probe *p, bool good, enum diagnosis d, const char *text)
{
	char peer[ADDR_STR_LEN];
	json_t *lines = json_array();

	for (size_t i = 0; i < p->exchange.count; i++)
		json_array_append_new(lines, line_json(&p->exchange.list[i]));
	command_print_json(
	    json_pack("{s:s, s:s, s:b, s:b, s:s?, s:s?, s:o}", "server",
		p->arguments.server, "address", addr_format(peer, &p->addr),
		"answers", good, "verified", good && p->arguments.has_key,
		"fault", good ? NULL : diagnosis_str(d), "reason",
		good ? NULL : text, "probes", lines));
}

static void
show_text(const struct probe *p, bool good, const char *text)
{
	char peer[ADDR_STR_LEN], name[SHOW_LEN];

	printf("%s (%s)%s\n", show_clean(name, p->arguments.server),
	    addr_format(peer, &p->addr),
	    p->arguments.has_key ? "" : ", NOT VERIFIED: no public key given");
	for (size_t i = 0; i < p->exchange.count; i++)
		show_line(&p->exchange.list[i]);
	if (!good)
		printf("\n%s", text);
}

/* UDP first, then TCP, each best version first. */
static int
by_proto(const void *a, const void *b)
{
	const struct attempt *x = a, *y = b;

	if (x->seen.proto != y->seen.proto)
		return x->seen.proto < y->seen.proto ? -1 : 1;
	return x->rung.rows > y->rung.rows ? -1 : x->rung.rows < y->rung.rows;
}

static int
report(struct probe *p, bool good)
{
	char text[DIAGNOSE_LEN] = "";
	enum diagnosis d = DIAGNOSIS_NONE;

	qsort(p->exchange.list, p->exchange.count, sizeof *p->exchange.list,
	    by_proto);
	if (!good)
		d = exchange_explain(&p->exchange, text);
	if (p->arguments.json)
		show_json(p, good, d, text);
	else
		show_text(p, good, text);
	if (good)
		return COMMAND_GOOD;
	return diagnosis_is_invalid(d) ? COMMAND_INVALID : COMMAND_NO_ANSWER;
}

int
probe_command(int argc, char **argv)
{
	struct probe p = { .arguments = { .family = AF_UNSPEC,
			       .rows = VERSION_ALL,
			       .timeout_ns = 4000000000,
			       .size = ATTEMPT_SIZE },
		.exchange = { .tries = 2, .all = true } };
	struct arguments *a = &p.arguments;
	struct rung rungs[LADDER_MAX];
	const char *why;
	bool good;
	int status = arguments_options(a, &spec, &p, argc, argv);

	if (status < 0)
		status = arguments_server(a, argc, argv);
	if (status >= 0)
		return status;
	if (target_resolve(&a->target, a->family, &p.addr, 1, &why) == 0)
		return arguments_no_address(a, argv[0], why);
	exchange_init(&p.exchange, a);
	exchange_plan(
	    &p.exchange, rungs, make_rungs(rungs, &p), a->protos, &p.addr, 1);
	good = exchange_run(&p.exchange) != NULL;
	status = report(&p, good);
	exchange_free(&p.exchange);
	return status;
}
