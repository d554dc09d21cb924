/*
 * For bench/fastpath.py: the table of net/fastpath with N flows that nobody
 * has, made as l4proxyd makes them, on two interfaces; until SIGTERM. Prints
 * what a flow has cost of the kernel's memory and of time.
 *
 *   fastpath_flows N DEVICE_IN DEVICE_OUT EDGE:PORT ORIGIN:PORT
 *
 * Flow i comes from 10.200.0.0 + i / 16384, port 1024 + i % 16384, as
 * bench/udp_spray sends it.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/spray.h"
#include "net/fastpath_inner.h"

static void
give_up(const char *what)
{
	fprintf(stderr, "fastpath_flows: %s\n", what);
	exit(1);
}

static struct addr
place(const char *text)
{
	const char *why;
	struct addr a;

	if (addr_parse(&a, text, -1, &why) != 0)
		give_up(why);
	return a;
}

static struct addr
numbered(uint32_t base, uint32_t i)
{
	struct addr a = { .in = { .sin_family = AF_INET } };

	a.in.sin_addr.s_addr = htonl(base + i / SPRAY_PORTS);
	a.in.sin_port = htons((uint16_t)(SPRAY_PORT + i % SPRAY_PORTS));
	return a;
}

static void
attach(struct fastpath *f, const char *device)
{
	char why[FASTPATH_WHY_LEN];

	if (fastpath_attach(
		f, if_nametoindex(device), FASTPATH_HOOK_AUTO, why) != 0)
		give_up(why);
}

/* As if a datagram each way had been seen. */
static void
carry(struct fastpath *f, uint32_t i, const struct fastpath_flow *model)
{
	struct fastpath_flow flow = *model;

	flow.client = numbered(SPRAY_CLIENTS, i);
	flow.near = numbered(SPRAY_NEAR, i);
	if (fastpath_carry(f, i, &flow) != 0)
		give_up("a flow is not taken");
	f->sides[2 * i].state = f->sides[2 * i + 1].state = FASTPATH_CARRIED;
}

/* Of all maps that are open here (fdinfo, proc(5)). */
static uint64_t
memory(void)
{
	uint64_t total = 0;

	for (int fd = 3; fd < 64; fd++) {
		char path[64], line[128];
		unsigned long long bytes;
		FILE *in;

		snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
		in = fopen(path, "re");
		while (in != NULL && fgets(line, sizeof line, in) != NULL)
			if (sscanf(line, "memlock: %llu", &bytes) == 1)
				total += bytes;
		if (in != NULL)
			fclose(in);
	}
	return total;
}

int
main(int argc, char **argv)
{
	const struct timespec beat = { .tv_sec = 1 };
	struct fastpath_flow model = { .epoch = 0 };
	char why[FASTPATH_WHY_LEN];
	struct fastpath *f;
	uint64_t begun_ns;
	uint32_t n;

	if (argc != 6)
		give_up("expected N DEVICE_IN DEVICE_OUT EDGE ORIGIN");
	n = (uint32_t)strtoul(argv[1], NULL, 10);
	f = fastpath_open(n, 1, why);
	if (f == NULL)
		give_up(why);
	attach(f, argv[2]);
	attach(f, argv[3]);
	model.edge = place(argv[4]);
	model.origin = place(argv[5]);
	model.to_client =
	    (struct fastpath_way){ if_nametoindex(argv[2]), UINT16_MAX };
	model.to_origin =
	    (struct fastpath_way){ if_nametoindex(argv[3]), UINT16_MAX };
	begun_ns = clock_monotonic_ns();
	for (uint32_t i = 0; i < n; i++)
		carry(f, i, &model);
	printf("{\"memory\":%.1f,\"carry_us\":%.3f}\n", (double)memory() / n,
	    (double)(clock_monotonic_ns() - begun_ns) / 1e3 / n);
	fflush(stdout);
	for (;;) {
		fastpath_beat(f);
		nanosleep(&beat, NULL);
	}
}
