/*
 * Load for the UDP rows of bench/proxy.py, towards bench/udp_echo straight or
 * through a proxy: many flows, each with some requests outstanding. Prints one
 * line of JSON; a reply with wrong bytes or from a stranger ends it with
 * status 1.
 *
 *   udp_load [--flows N] [--window N | --outstanding N] [--size BYTES]
 *            [--reply BYTES] [--seconds S] [--source ADDR[:PORT]]
 *            [--hold | --probe | --trips N] ADDR:PORT
 *
 * A flow is a source address, counted up from --source: one socket serves
 * them all in batches, so that the generator is not the slower side. With a
 * port the flows are the same in the next run. --outstanding: so many requests
 * in all, which go round the flows instead of --window for each. What is
 * not answered within a fifth of a second is counted as lost and asked anew,
 * so a loss never makes the window smaller. One reply in 16 is compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/pattern.h"
#include "net/addr.h"
#include "net/sock.h"
#include "base/histogram.h"

#define SLOTS_MAX 16384u
#define SIZE_MAX_BYTES 2048u
#define BATCH 64u
#define CHECK 16u /* one in so many is compared */
#define LOST_NS 200000000ull
#define LOOK_NS 50000000ull /* how often lost ones are looked for */
#define NS_PER_S 1000000000ull

/* What a request begins with; its reply has the same. */
struct head {
	uint32_t slot;
	uint32_t serial;
};

struct slot {
	uint32_t flow;
	uint32_t serial;
	uint32_t trips; /* done */
	bool waits;
	uint64_t sent_ns;
};

struct control {
	_Alignas(struct cmsghdr)
	    uint8_t bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
};

struct load {
	struct addr to, source; /* of the first flow */
	uint32_t flows, slots; /* slot i begins with flow i % flows */
	uint32_t outstanding; /* not 0: so many slots, each goes round */
	uint32_t next; /* flow of the next request then */
	size_t size, reply;
	bool hold, probe; /* no load: flows at rest; until one answers */
	bool again; /* what is answered is asked anew */
	uint32_t trips; /* a slot ends after so many; 0: with the time */
	uint32_t ended; /* slots */
	double seconds;
	int fd;
	uint64_t start_ns, end_ns;
	uint64_t sent, received, lost, late, refused, checked;
	struct slot slot[SLOTS_MAX];
	struct histogram latency;
	/* what is to be sent next */
	unsigned int batched;
	struct mmsghdr tx[BATCH], rx[BATCH];
	struct iovec tx_iov[BATCH], rx_iov[BATCH];
	struct control tx_control[BATCH], rx_control[BATCH];
	struct addr from[BATCH];
	uint8_t out[BATCH][SIZE_MAX_BYTES], in[BATCH][SIZE_MAX_BYTES];
};

static struct load load;
static uint8_t pattern[PATTERN_PERIOD + SIZE_MAX_BYTES];

static void
give_up(const char *what)
{
	fprintf(stderr, "udp_load: %s\n", what);
	exit(1);
}

/* ---- sending ---- */

static in_addr_t
source_of(const struct load *l, uint32_t slot)
{
	return htonl(ntohl(l->source.in.sin_addr.s_addr) + l->slot[slot].flow);
}

static const uint8_t *
body_of(uint32_t slot)
{
	return pattern + slot * 251u % PATTERN_PERIOD;
}

static void
flush(struct load *l)
{
	unsigned int at = 0;

	while (at < l->batched) {
		int n = sendmmsg(l->fd, l->tx + at, l->batched - at, 0);

		/* refused: not this one, which will count as lost */
		l->refused += n < 0;
		at += n > 0 ? (unsigned int)n : 1;
	}
	l->batched = 0;
}

static void
put(struct load *l, uint32_t slot, uint64_t now_ns)
{
	struct slot *s = &l->slot[slot];
	const struct head head = { slot, ++s->serial };
	struct cmsghdr *c;
	struct in_pktinfo info = { 0 };
	unsigned int i = l->batched++;

	if (l->outstanding > 0)
		s->flow = l->next++ % l->flows;
	s->waits = true;
	s->sent_ns = now_ns;
	memcpy(l->out[i], &head, sizeof head);
	memcpy(l->out[i] + sizeof head, body_of(slot), l->size - sizeof head);
	c = CMSG_FIRSTHDR(&l->tx[i].msg_hdr);
	info.ipi_spec_dst.s_addr = source_of(l, slot);
	memcpy(CMSG_DATA(c), &info, sizeof info);
	l->sent++;
	if (l->batched == BATCH)
		flush(l);
}

/* ---- receiving ---- */

static void
check(struct load *l, unsigned int i, uint32_t slot)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(&l->rx[i].msg_hdr);
	struct in_pktinfo info = { 0 };

	if (c != NULL && c->cmsg_level == IPPROTO_IP &&
	    c->cmsg_type == IP_PKTINFO)
		memcpy(&info, CMSG_DATA(c), sizeof info);
	if (info.ipi_addr.s_addr != source_of(l, slot))
		give_up("a reply came to another flow");
	if (!addr_equal(&l->from[i], &l->to))
		give_up("a reply came from elsewhere");
	if (l->rx[i].msg_len != l->reply)
		give_up("a reply is not as long as it should be");
	if (memcmp(l->in[i] + sizeof(struct head), body_of(slot),
		l->reply - sizeof(struct head)) != 0)
		give_up("a reply is not what was sent");
	l->checked++;
}

static void
take(struct load *l, unsigned int i, uint64_t now_ns)
{
	struct head head;
	struct slot *s;

	if (l->rx[i].msg_len < sizeof head)
		give_up("a reply is too short");
	memcpy(&head, l->in[i], sizeof head);
	if (head.slot >= l->slots)
		give_up("a reply is nobody's");
	s = &l->slot[head.slot];
	/* who wants to know whether it answers at all takes a late one too */
	if (!s->waits || (s->serial != head.serial && !l->hold && !l->probe)) {
		l->late++;
		return;
	}
	if (l->received++ % CHECK == 0)
		check(l, i, head.slot);
	histogram_add(&l->latency, now_ns - s->sent_ns);
	s->waits = false;
	if (l->trips > 0 && ++s->trips == l->trips)
		l->ended++;
	else if (l->again && now_ns < l->end_ns)
		put(l, head.slot, now_ns);
}

static void
receive(struct load *l)
{
	uint64_t now_ns;
	int n;

	for (unsigned int i = 0; i < BATCH; i++) {
		l->rx[i].msg_hdr.msg_namelen = sizeof l->from[i];
		l->rx[i].msg_hdr.msg_controllen = sizeof l->rx_control[i];
	}
	/* waits for the first for SO_RCVTIMEO */
	n = recvmmsg(l->fd, l->rx, BATCH, MSG_WAITFORONE, NULL);
	now_ns = clock_monotonic_ns();
	for (int i = 0; i < n; i++)
		take(l, (unsigned int)i, now_ns);
	flush(l);
}

static void
look_for_lost(struct load *l, uint64_t now_ns)
{
	for (uint32_t i = 0; i < l->slots; i++) {
		if (!l->slot[i].waits || l->slot[i].sent_ns + LOST_NS > now_ns)
			continue;
		l->lost++;
		put(l, i, now_ns);
	}
	flush(l);
}

/* ---- the program ---- */

static void
arrange(struct load *l)
{
	for (unsigned int i = 0; i < BATCH; i++) {
		struct msghdr *tx = &l->tx[i].msg_hdr;
		struct msghdr *rx = &l->rx[i].msg_hdr;
		struct cmsghdr *c;

		l->tx_iov[i] = (struct iovec){ l->out[i], l->size };
		*tx = (struct msghdr){ .msg_name = &l->to,
			.msg_namelen = addr_len(&l->to),
			.msg_iov = &l->tx_iov[i],
			.msg_iovlen = 1,
			.msg_control = &l->tx_control[i],
			.msg_controllen = sizeof l->tx_control[i] };
		c = CMSG_FIRSTHDR(tx);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
		l->rx_iov[i] = (struct iovec){ l->in[i], SIZE_MAX_BYTES };
		*rx = (struct msghdr){ .msg_name = &l->from[i],
			.msg_iov = &l->rx_iov[i],
			.msg_iovlen = 1,
			.msg_control = &l->rx_control[i] };
	}
}

static void
open_socket(struct load *l)
{
	const struct sock_opts o = {
		.pktinfo = true, .rcvbuf = 4 << 20, .sndbuf = 4 << 20
	};
	const struct timeval patience = { .tv_usec = LOOK_NS / 1000 };
	struct addr any = { .in = { .sin_family = AF_INET } };
	enum sock_step failed;

	addr_set_port(&any, addr_port(&l->source));

	l->fd = sock_open(SOCK_UDP, &any, &o, &failed);
	if (l->fd < 0 || fcntl(l->fd, F_SETFL, 0) != 0 ||
	    setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
		sizeof patience) != 0)
		give_up(strerror(errno));
}

/* A datagram a millisecond until one is answered; when that was. */
static void
run_probe(struct load *l)
{
	const struct timeval patience = { .tv_usec = 1000 };
	const uint64_t end_ns =
	    clock_monotonic_ns() + (uint64_t)(l->seconds * NS_PER_S);

	if (setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
		sizeof patience) != 0)
		give_up(strerror(errno));
	while (l->received == 0) {
		uint64_t now_ns = clock_monotonic_ns();

		if (now_ns > end_ns)
			give_up("nothing answered");
		put(l, 0, now_ns);
		flush(l);
		receive(l);
	}
	printf("{\"units\":%llu}\n", (unsigned long long)clock_monotonic_ns());
}

static void
run(struct load *l)
{
	uint64_t now_ns = clock_monotonic_ns(), look_ns = now_ns;
	char byte;

	l->start_ns = now_ns;
	l->end_ns = now_ns + (uint64_t)(l->seconds * NS_PER_S);
	for (uint32_t i = 0; i < l->slots; i++) {
		l->slot[i].flow = i % l->flows;
		put(l, i, now_ns);
		/* a proxy opens a socket for each: not all at once */
		if (i % BATCH == BATCH - 1)
			receive(l);
	}
	flush(l);
	while (now_ns < l->end_ns && l->ended < l->slots &&
	    !(l->hold && l->received == l->slots)) {
		receive(l);
		now_ns = clock_monotonic_ns();
		if (now_ns - look_ns > LOOK_NS) {
			look_for_lost(l, now_ns);
			look_ns = now_ns;
		}
	}
	if (!l->hold)
		return;
	if (l->received < l->slots)
		give_up("not every flow was answered");
	printf("ready\n");
	fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) < 0)
		give_up(strerror(errno));
}

static void
report(const struct load *l)
{
	struct timespec cpu;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	printf("{\"units\":%llu,\"seconds\":%.6f,\"sent\":%llu,\"lost\":%llu,"
	       "\"late\":%llu,\"refused\":%llu,\"checked\":%llu,"
	       "\"cpu_s\":%.6f,\"p50_us\":%.2f,\"p99_us\":%.2f}\n",
	    (unsigned long long)l->received,
	    (double)(clock_monotonic_ns() - l->start_ns) / 1e9,
	    (unsigned long long)l->sent, (unsigned long long)l->lost,
	    (unsigned long long)l->late, (unsigned long long)l->refused,
	    (unsigned long long)l->checked,
	    (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9,
	    (double)histogram_quantile(&l->latency, 0.5) / 1e3,
	    (double)histogram_quantile(&l->latency, 0.99) / 1e3);
}

static int
usage(const char *why)
{
	fprintf(stderr,
	    "usage: udp_load [--flows N] [--window N | --outstanding N] "
	    "[--size BYTES]\n"
	    "                [--reply BYTES] [--seconds S] "
	    "[--source ADDR[:PORT]]\n"
	    "                [--hold | --probe | --trips N] ADDR:PORT %s\n",
	    why);
	return 2;
}

/* False: no option. */
static bool
set_option(struct load *l, const char *name, const char *value)
{
	const char *why;
	unsigned long number = strtoul(value, NULL, 10);

	if (strcmp(name, "--flows") == 0)
		l->flows = (uint32_t)number;
	else if (strcmp(name, "--window") == 0)
		l->slots = (uint32_t)number; /* a flow, until all is read */
	else if (strcmp(name, "--outstanding") == 0)
		l->outstanding = (uint32_t)number;
	else if (strcmp(name, "--size") == 0)
		l->size = number;
	else if (strcmp(name, "--trips") == 0)
		l->trips = (uint32_t)number;
	else if (strcmp(name, "--reply") == 0)
		l->reply = number;
	else if (strcmp(name, "--seconds") == 0)
		l->seconds = strtod(value, NULL);
	else if (strcmp(name, "--source") == 0)
		return addr_parse(&l->source, value, 0, &why) == 0;
	else
		return false;
	return true;
}

static bool
is_sound(const struct load *l)
{
	return l->to.sa.sa_family == AF_INET &&
	    l->source.sa.sa_family == AF_INET && l->flows > 0 && l->slots > 0 &&
	    l->slots <= SLOTS_MAX && l->size >= sizeof(struct head) &&
	    l->size <= SIZE_MAX_BYTES && l->reply >= sizeof(struct head) &&
	    l->reply <= l->size;
}

int
main(int argc, char **argv)
{
	struct load *l = &load;
	const char *why = "";

	*l = (struct load){
		.flows = 1, .slots = 1, .size = 100, .reply = 100, .seconds = 1
	};
	addr_parse(&l->source, "127.0.2.1", 0, &why);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--hold") == 0)
			l->hold = true;
		else if (strcmp(argv[i], "--probe") == 0)
			l->probe = true;
		else if (strncmp(argv[i], "--", 2) != 0) {
			if (addr_parse(&l->to, argv[i], -1, &why) != 0)
				return usage(why);
		} else if (i + 1 == argc ||
		    !set_option(l, argv[i], argv[i + 1]))
			return usage("");
		else
			i++;
	}
	l->slots *= l->flows;
	if (l->outstanding > 0)
		l->slots = l->outstanding;
	if (!is_sound(l))
		return usage("");
	pattern_fill(pattern, sizeof pattern);
	arrange(l);
	open_socket(l);
	l->again = !l->hold && !l->probe;
	if (l->probe) {
		run_probe(l);
		return 0;
	}
	run(l);
	report(l);
	return 0;
}
