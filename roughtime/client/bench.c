/* `roughtime bench`: how much a server answers, and how soon. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roughtime/client/arguments.h"
#include "roughtime/client/command.h"
#include "roughtime/client/exchange.h"
#include "roughtime/client/ladder.h"
#include "roughtime/client/load.h"
#include "roughtime/client/show.h"
#include "roughtime/request.h"

#define MESSAGE_MAX 65000 /* one message is one IP packet at most */

static const char help[] =
    "usage: roughtime bench [options] HOST[:PORT] [PUBLIC-KEY]\n"
    "\n"
    "Loads one server from one thread and reports what came back. Only for\n"
    "servers that are yours to load.\n"
    "\n"
    "  --seconds S        how long (5), after --warmup S (0.5)\n"
    "  --flows N          sockets, or TCP connections (8)\n"
    "  --window N         requests outstanding on each flow (32)\n"
    "  --rate N           offer N requests a second, whatever comes back; give\n"
    "                     a window that is never full (0: a new request for\n"
    "                     each reply)\n"
    "  --lost-after S     without a reply a request is lost, and its place in\n"
    "                     the window free again (0.2)\n"
    "  --burst N          datagrams handed to the kernel as one, 1 to 60 (16)\n"
    "  --version V[,V…]   offered versions (1,draft-14)\n"
    "  --size BYTES       of a request (1036)\n"
    "  --tcp              over TCP\n"
    "  --verify FRACTION  of the replies to verify (0.01)\n"
    "  --echo             the server is a plain echo: a reply is the start of\n"
    "                     its request\n"
    "  --json             numbers as JSON\n"
    "\n"
    "Exit: 0 replies came, 1 usage, 2 none came, 3 one did not verify.\n";

struct bench {
	struct arguments arguments;
	struct load_options load;
	uint8_t packet[REQUEST_SIZE_MAX];
};

enum {
	OPT_SECONDS = ARGUMENT_OWN,
	OPT_WARMUP,
	OPT_FLOWS,
	OPT_WINDOW,
	OPT_RATE,
	OPT_LOST_AFTER,
	OPT_BURST,
	OPT_VERIFY,
	OPT_ECHO
};

static const struct option options[] = {
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "warmup", required_argument, NULL, OPT_WARMUP },
	{ "flows", required_argument, NULL, OPT_FLOWS },
	{ "window", required_argument, NULL, OPT_WINDOW },
	{ "rate", required_argument, NULL, OPT_RATE },
	{ "lost-after", required_argument, NULL, OPT_LOST_AFTER },
	{ "version", required_argument, NULL, ARGUMENT_VERSION },
	{ "size", required_argument, NULL, ARGUMENT_SIZE },
	{ "tcp", no_argument, NULL, ARGUMENT_TCP },
	{ "burst", required_argument, NULL, OPT_BURST },
	{ "verify", required_argument, NULL, OPT_VERIFY },
	{ "echo", no_argument, NULL, OPT_ECHO },
	{ "json", no_argument, NULL, ARGUMENT_JSON },
	{ "help", no_argument, NULL, ARGUMENT_HELP },
	{ NULL, 0, NULL, 0 },
};

static bool
take_count(const char *value, uint64_t max, uint32_t *out)
{
	uint64_t n;

	if (!command_number(value, 1, max, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool
take_fraction(const char *value, double max, double *out)
{
	char *end;

	*out = strtod(value, &end);
	return end != value && *end == '\0' && *out >= 0 && *out <= max;
}

static bool
take_option(void *own, int opt, const char *value)
{
	struct load_options *o = &((struct bench *)own)->load;

	switch (opt) {
	case OPT_SECONDS:
		return command_seconds(value, &o->duration_ns);
	case OPT_WARMUP:
		o->warmup_ns = 0;
		return strcmp(value, "0") == 0 ||
		    command_seconds(value, &o->warmup_ns);
	case OPT_LOST_AFTER:
		return command_seconds(value, &o->lost_after_ns);
	case OPT_FLOWS:
		return take_count(value, 4096, &o->flows);
	case OPT_WINDOW:
		return take_count(value, 65536, &o->window);
	case OPT_BURST:
		return take_count(value, 60, &o->burst);
	case OPT_RATE:
		return take_fraction(value, 1e9, &o->rate);
	case OPT_VERIFY:
		return take_fraction(value, 1, &o->verify);
	default: /* OPT_ECHO */
		return o->echo = true;
	}
}

static const struct arguments_spec spec = {
	.help = help,
	.letters = "",
	.options = options,
	.take = take_option,
};

/* What the options mean for the load. */
static void
settle(struct bench *b)
{
	const struct arguments *a = &b->arguments;
	struct load_options *o = &b->load;

	o->proto = a->protos & EXCHANGE_TCP ? SOCK_TCP : SOCK_UDP;
	memcpy(o->public_key, a->key, sizeof o->public_key);
	o->verify_options.any_key = !a->has_key;
	while ((size_t)o->burst * a->size > MESSAGE_MAX)
		o->burst--;
}

/* The packet that all requests are copies of, but for the nonce. */
static bool
make_request(struct bench *b)
{
	uint8_t nonce[HASH_FULL_LEN], srv[CERT_SRV_LEN];
	struct request_spec request = { .versions = b->arguments.rows,
		.nonce = nonce,
		.size = b->arguments.size };
	unsigned int best = VERSION_ROWS;

	while (best-- > 0) {
		if (b->arguments.rows & 1u << best)
			break;
	}
	b->load.version = &version_table[best];
	randombytes_buf(nonce, sizeof nonce);
	cert_srv(srv, b->load.public_key);
	if (b->arguments.has_key && best >= VERSION_DRAFT10)
		request.srv = srv;
	b->load.request.data = b->packet;
	b->load.request.len =
	    request_make(b->packet, sizeof b->packet, &request);
	return b->load.request.len > 0 &&
	    (b->load.proto == SOCK_UDP || b->load.version->framed);
}

static double
per(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static void
show(const struct bench *b, const struct load_result *r)
{
	const struct load_options *o = &b->load;
	double s = (double)r->elapsed_ns / 1e9;
	char p50[SHOW_LEN], p99[SHOW_LEN], p999[SHOW_LEN], max[SHOW_LEN];

	printf("%-12s %s over %s, %s, %zu bytes, %u flows of %u\n", "load",
	    b->arguments.server, o->proto == SOCK_TCP ? "TCP" : "UDP",
	    o->echo ? "echo" : o->version->name, o->request.len, o->flows,
	    o->window);
	printf("%-12s %.0f/s (%.2f s, %llu replies of %zu to %zu bytes)\n",
	    "answered", per((double)r->received, s), s,
	    (unsigned long long)r->received, r->reply_min, r->reply_max);
	printf("%-12s %.0f/s sent, %llu lost (%.3f %%), %llu late or foreign, "
	       "%llu errors\n",
	    "offered", per((double)r->sent, s), (unsigned long long)r->lost,
	    per(100.0 * (double)r->lost, (double)r->sent),
	    (unsigned long long)r->unmatched, (unsigned long long)r->refused);
	if (r->held_back > 0)
		printf("%-12s %llu requests were due but the window was "
		       "full\n",
		    "held back", (unsigned long long)r->held_back);
	printf("%-12s p50 %s, p99 %s, p99.9 %s, max %s\n", "latency",
	    show_ns(p50, histogram_quantile(&r->latency, 0.5)),
	    show_ns(p99, histogram_quantile(&r->latency, 0.99)),
	    show_ns(p999, histogram_quantile(&r->latency, 0.999)),
	    show_ns(max, r->latency.max));
	if (o->verify > 0)
		printf("%-12s %llu replies%s, %llu invalid%s%s\n", "verified",
		    (unsigned long long)r->verified,
		    o->echo		       ? " (against what was sent)"
			: b->arguments.has_key ? ""
					       : " (without a key)",
		    (unsigned long long)r->invalid,
		    r->fault != VERIFY_OK ? ": " : "",
		    r->fault != VERIFY_OK ? verify_fault_explain(r->fault)
					  : "");
	printf("%-12s %.0f %% of one core, %.0f ns a request\n", "own CPU",
	    per(100.0 * (double)r->cpu_ns, (double)r->elapsed_ns),
	    per((double)r->cpu_ns, (double)r->sent));
}

static json_t *
to_json(const struct bench *b, const struct load_result *r)
{
	const struct load_options *o = &b->load;
	double s = (double)r->elapsed_ns / 1e9;
	const struct histogram *h = &r->latency;

	return json_pack(
	    "{s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:I, "
	    "s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:[I,I], s:{s:f,s:f,s:f,s:f}, "
	    "s:f, s:f}",
	    "server", b->arguments.server, "transport",
	    o->proto == SOCK_TCP ? "tcp" : "udp", "version", o->version->name,
	    "echo", o->echo, "flows", (json_int_t)o->flows, "window",
	    (json_int_t)o->window, "request_bytes", (json_int_t)o->request.len,
	    "offered_rate", o->rate, "seconds", s, "rate_per_s",
	    per((double)r->received, s), "sent_per_s", per((double)r->sent, s),
	    "sent", (json_int_t)r->sent, "received", (json_int_t)r->received,
	    "lost", (json_int_t)r->lost, "unmatched", (json_int_t)r->unmatched,
	    "errors", (json_int_t)r->refused, "held_back",
	    (json_int_t)r->held_back, "verified", (json_int_t)r->verified,
	    "invalid", (json_int_t)r->invalid, "connections",
	    (json_int_t)r->connections, "reply_bytes", (json_int_t)r->reply_min,
	    (json_int_t)r->reply_max, "latency_us", "p50",
	    (double)histogram_quantile(h, 0.5) / 1e3, "p99",
	    (double)histogram_quantile(h, 0.99) / 1e3, "p99_9",
	    (double)histogram_quantile(h, 0.999) / 1e3, "max",
	    (double)h->max / 1e3, "cpu_share",
	    per((double)r->cpu_ns, (double)r->elapsed_ns), "cpu_ns_per_request",
	    per((double)r->cpu_ns, (double)r->sent));
}

static int
run(struct bench *b)
{
	struct load_result *r = command_alloc(1, sizeof *r);
	int status;

	if (load_run(&b->load, r) < 0)
		command_die("bench: %s", strerror(errno));
	if (b->arguments.json)
		command_print_json(to_json(b, r));
	else
		show(b, r);
	status = r->invalid > 0 ? COMMAND_INVALID
	    : r->received == 0	? COMMAND_NO_ANSWER
				: COMMAND_GOOD;
	if (status == COMMAND_NO_ANSWER)
		fprintf(stderr,
		    "roughtime bench: no reply came: `roughtime probe %s` "
		    "tells what the server speaks\n",
		    b->arguments.server);
	free(r);
	return status;
}

int
bench_command(int argc, char **argv)
{
	struct bench *b = command_alloc(1, sizeof *b);
	struct arguments *a = &b->arguments;
	const char *why;
	int status;

	a->rows = 1u << VERSION_RFC | 1u << VERSION_DRAFT14;
	a->size = ATTEMPT_SIZE;
	b->load = (struct load_options){ .flows = 8,
		.window = 32,
		.burst = 16,
		.verify = 0.01,
		.duration_ns = 5000000000,
		.warmup_ns = 500000000,
		.lost_after_ns = 200000000 };
	status = arguments_options(a, &spec, b, argc, argv);
	if (status < 0)
		status = arguments_server(a, argc, argv);
	settle(b);
	if (status < 0 && !make_request(b))
		status = command_usage("bench",
		    "one request cannot offer these versions like that");
	if (status < 0 &&
	    target_resolve(&a->target, AF_UNSPEC, &b->load.peer, 1, &why) == 0)
		status = arguments_no_address(a, argv[0], why);
	if (status < 0)
		status = run(b);
	free(b);
	return status;
}
