/*
 * For bench/fastpath.py: datagrams of random flows out of N, one way, in
 * batches, by a raw socket. Prints one line of JSON.
 *
 *   udp_spray N SECONDS ADDR:PORT
 */
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "bench/spray.h"
#include "net/addr.h"

#define BATCH 64
#define PAYLOAD 100

struct packet {
	struct iphdr ip;
	struct udphdr udp;
	uint8_t payload[PAYLOAD];
};

static struct packet packets[BATCH];
static struct iovec iov[BATCH];
static struct mmsghdr messages[BATCH];

static uint32_t
random_word(void)
{
	static uint64_t x = 88172645463325252u; /* xorshift64 */

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 32);
}

static void
arrange(struct addr *to)
{
	for (int i = 0; i < BATCH; i++) {
		struct packet *p = &packets[i];

		/* the kernel fills in the rest of the header; no UDP sum */
		p->ip = (struct iphdr){ .version = 4,
			.ihl = 5,
			.ttl = 64,
			.protocol = IPPROTO_UDP,
			.daddr = to->in.sin_addr.s_addr };
		p->udp = (struct udphdr){ .dest = to->in.sin_port,
			.len = htons(sizeof p->udp + PAYLOAD) };
		iov[i] = (struct iovec){ p, sizeof *p };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = to,
			.msg_namelen = sizeof to->in,
			.msg_iov = &iov[i],
			.msg_iovlen = 1 };
	}
}

static void
choose(uint32_t flows)
{
	for (int i = 0; i < BATCH; i++) {
		uint32_t n = random_word() % flows;

		packets[i].ip.saddr = htonl(SPRAY_CLIENTS + n / SPRAY_PORTS);
		packets[i].udp.source =
		    htons((uint16_t)(SPRAY_PORT + n % SPRAY_PORTS));
	}
}

int
main(int argc, char **argv)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	uint64_t sent = 0, end_ns;
	struct timespec cpu;
	uint32_t flows;
	const char *why;
	struct addr to;
	double seconds;

	if (argc != 4 || fd < 0 || addr_parse(&to, argv[3], -1, &why) != 0)
		return 2;
	flows = (uint32_t)strtoul(argv[1], NULL, 10);
	seconds = strtod(argv[2], NULL);
	arrange(&to);
	end_ns = clock_monotonic_ns() + (uint64_t)(seconds * 1e9);
	while (clock_monotonic_ns() < end_ns) {
		int n;

		choose(flows);
		n = sendmmsg(fd, messages, BATCH, 0);
		sent += n > 0 ? (uint64_t)n : 0;
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	printf("{\"units\":%llu,\"cpu_s\":%.6f}\n", (unsigned long long)sent,
	    (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
	return 0;
}
