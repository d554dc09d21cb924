/* `roughtime bench`: how much a server answers, and how soon. */
#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roughtime/client/command.h"
#include "roughtime/client/ladder.h"
#include "roughtime/client/load.h"
#include "roughtime/client/show.h"
#include "roughtime/client/target.h"
#include "roughtime/request.h"

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
    "  --echo             the server is a plain echo: any datagram is a reply\n"
    "  --json             numbers as JSON\n"
    "\n"
    "Exit: 0 replies came, 1 usage, 2 none came, 3 one did not verify.\n";

struct bench {
	const char *name;
	struct target target;
	struct load_options load;
	uint32_t rows;
	size_t size;
	bool has_key, json;
	uint8_t packet[REQUEST_SIZE_MAX];
};

enum {
	OPT_SECONDS = 256,
	OPT_WARMUP,
	OPT_FLOWS,
	OPT_WINDOW,
	OPT_RATE,
	OPT_LOST_AFTER,
	OPT_VERSION,
	OPT_SIZE,
	OPT_TCP,
	OPT_BURST,
	OPT_VERIFY,
	OPT_ECHO,
	OPT_JSON,
	OPT_HELP
};

static const struct option options[] = {
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "warmup", required_argument, NULL, OPT_WARMUP },
	{ "flows", required_argument, NULL, OPT_FLOWS },
	{ "window", required_argument, NULL, OPT_WINDOW },
	{ "rate", required_argument, NULL, OPT_RATE },
	{ "lost-after", required_argument, NULL, OPT_LOST_AFTER },
	{ "version", required_argument, NULL, OPT_VERSION },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "tcp", no_argument, NULL, OPT_TCP },
	{ "burst", required_argument, NULL, OPT_BURST },
	{ "verify", required_argument, NULL, OPT_VERIFY },
	{ "echo", no_argument, NULL, OPT_ECHO },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, OPT_HELP },
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
take_option(struct bench *b, int opt, const char *value)
{
	uint64_t n;

	switch (opt) {
	case OPT_SECONDS:
		return command_seconds(value, &b->load.duration_ns);
	case OPT_WARMUP:
		b->load.warmup_ns = 0;
		return strcmp(value, "0") == 0 ||
		    command_seconds(value, &b->load.warmup_ns);
	case OPT_LOST_AFTER:
		return command_seconds(value, &b->load.lost_after_ns);
	case OPT_FLOWS:
		return take_count(value, 4096, &b->load.flows);
	case OPT_WINDOW:
		return take_count(value, 65536, &b->load.window);
	case OPT_BURST:
		return take_count(value, 60, &b->load.burst);
	case OPT_RATE:
		return take_fraction(value, 1e9, &b->load.rate);
	case OPT_VERIFY:
		return take_fraction(value, 1, &b->load.verify);
	case OPT_VERSION:
		return (b->rows = ladder_parse(value)) != 0;
	case OPT_SIZE:
		if (!command_number(value, 128, 65000, &n))
			return false;
		b->size = n / 4 * 4;
		return true;
	case OPT_TCP:
		b->load.proto = SOCK_TCP;
		return true;
	case OPT_ECHO:
		return b->load.echo = true;
	case OPT_JSON:
		return b->json = true;
	default:
		return false;
	}
}

static int
parse(struct bench *b, int argc, char **argv)
{
	const char *why;
	int opt;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == OPT_HELP) {
			fputs(help, stdout);
			return COMMAND_GOOD;
		}
		if (opt == '?')
			return command_usage("bench", "an option is wrong");
		if (!take_option(b, opt, optarg))
			return command_usage("bench", "bad value %s", optarg);
	}
	if (argc - optind < 1 || argc - optind > 2)
		return command_usage("bench", "give HOST[:PORT] and a key");
	b->name = argv[optind];
	if (!target_parse(&b->target, b->name, &why))
		return command_usage("bench", "%s: %s", b->name, why);
	b->has_key = argc - optind == 2;
	if (b->has_key && !target_key(b->load.public_key, argv[optind + 1]))
		return command_usage(
		    "bench", "%s: not a public key", argv[optind + 1]);
	if (b->load.echo)
		b->load.verify = 0;
	while ((size_t)b->load.burst * b->size > 65000)
		b->load.burst--; /* one message is one IP packet at most */
	return -1;
}

/* The packet that all requests are copies of, but for the nonce. */
static bool
make_request(struct bench *b)
{
	uint8_t nonce[HASH_FULL_LEN], srv[CERT_SRV_LEN];
	struct request_spec spec = {
		.versions = b->rows, .nonce = nonce, .size = b->size
	};
	unsigned int best = VERSION_ROWS;

	while (best-- > 0) {
		if (b->rows & 1u << best)
			break;
	}
	b->load.version = &version_table[best];
	randombytes_buf(nonce, sizeof nonce);
	cert_srv(srv, b->load.public_key);
	if (b->has_key && best >= VERSION_DRAFT10)
		spec.srv = srv;
	b->load.request.data = b->packet;
	b->load.request.len = request_make(b->packet, sizeof b->packet, &spec);
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
	    b->name, o->proto == SOCK_TCP ? "TCP" : "UDP",
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
		    b->has_key ? "" : " (without a key)",
		    (unsigned long long)r->invalid, r->invalid > 0 ? ": " : "",
		    r->invalid > 0 ? verify_fault_explain(r->fault) : "");
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
	    "server", b->name, "transport",
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
	if (b->json)
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
		    b->name);
	free(r);
	return status;
}

int
bench_command(int argc, char **argv)
{
	struct bench *b = command_alloc(1, sizeof *b);
	const char *why;
	int status;

	b->rows = 1u << VERSION_RFC | 1u << VERSION_DRAFT14;
	b->size = 1036;
	b->load.flows = 8;
	b->load.window = 32;
	b->load.burst = 16;
	b->load.verify = 0.01;
	b->load.duration_ns = 5000000000;
	b->load.warmup_ns = 500000000;
	b->load.lost_after_ns = 200000000;
	status = parse(b, argc, argv);
	b->load.verify_options.any_key = !b->has_key;
	if (status < 0 && !make_request(b))
		status = command_usage("bench",
		    "one request cannot offer these versions like that");
	if (status < 0 &&
	    target_resolve(&b->target, AF_UNSPEC, &b->load.peer, 1, &why) ==
		0) {
		fprintf(stderr, "roughtime bench: %s: %s\n", b->name, why);
		status = COMMAND_NO_ANSWER;
	}
	if (status < 0)
		status = run(b);
	free(b);
	return status;
}
