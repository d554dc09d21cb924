#include "proxy/header.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "proxy/notation.h"

/*
 * Version 2 of the PROXY protocol (proxy-protocol.txt, 2.2):
 *
 *   12 signature | 1 version, command | 1 family, protocol | 2 length
 *   source address | destination address | source port | destination port
 *   TLVs
 */
#define V2_HEAD 16
#define V2_INET 12 /* bytes of addresses and ports */
#define V2_INET6 36
#define V2_UNIX 216
static const uint8_t v2_signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
	0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

/* Simple Proxy Protocol: 2 magic | 16 client | 16 proxy | 2 port | 2 port */
static const uint8_t spp_magic[2] = { 0x56, 0xec };

static const char v1_start[] = "PROXY ";
#define V1_START (sizeof v1_start - 1)

const char *
header_fault_str(enum header_fault fault)
{
	static const char *const words[HEADER_FAULTS] = {
		[HEADER_OK] = "ok",
		[HEADER_MORE] = "cut short",
		[HEADER_ABSENT] = "no PROXY header",
		[HEADER_V1_LINE] = "v1: no such line",
		[HEADER_V1_FAMILY] = "v1: not TCP4, TCP6 or UNKNOWN",
		[HEADER_V1_ADDRESS] = "v1: no address of its family",
		[HEADER_V1_PORT] = "v1: no port",
		[HEADER_V2_VERSION] = "v2: another version",
		[HEADER_V2_COMMAND] = "v2: not LOCAL or PROXY",
		[HEADER_V2_FAMILY] = "v2: unknown family or protocol",
		[HEADER_V2_LENGTH] = "v2: wrong length for its family",
		[HEADER_SPP_MAGIC] = "simple: wrong magic",
		[HEADER_SPP_LENGTH] = "simple: fewer than 38 bytes",
	};

	return fault < HEADER_FAULTS ? words[fault] : "?";
}

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void
put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* 16 bytes, IPv4 mapped (RFC 4291, 2.5.5.2); no address is all zeros. */
static void
put_six(uint8_t p[static 16], const struct addr *a)
{
	memset(p, 0, 16);
	if (a->sa.sa_family == AF_INET6) {
		memcpy(p, &a->in6.sin6_addr, 16);
	} else if (a->sa.sa_family == AF_INET) {
		p[10] = p[11] = 0xff;
		memcpy(p + 12, &a->in.sin_addr, 4);
	}
}

static struct addr
get_six(const uint8_t p[static 16], const uint8_t port[static 2])
{
	struct addr a = { .in6.sin6_family = AF_INET6 };

	memcpy(&a.in6.sin6_addr, p, 16);
	addr_set_port(&a, get16(port));
	notation_unmap(&a);
	return a;
}

static struct addr
get_four(const uint8_t p[static 4], const uint8_t port[static 2])
{
	struct addr a = { .in.sin_family = AF_INET };

	memcpy(&a.in.sin_addr, p, 4);
	addr_set_port(&a, get16(port));
	return a;
}

/* Both as IPv4, when both can be; false leaves them to IPv6. */
static bool
both_four(struct header_ends *out, const struct header_ends *e)
{
	*out = *e;
	notation_unmap(&out->client);
	notation_unmap(&out->proxy);
	return out->client.sa.sa_family == AF_INET &&
	    out->proxy.sa.sa_family == AF_INET;
}

static uint16_t
port_of(const struct addr *a)
{
	return a->sa.sa_family == AF_UNSPEC ? 0 : addr_port(a);
}

static bool
no_addresses(const struct header_ends *e)
{
	return e->local || e->client.sa.sa_family == AF_UNSPEC ||
	    e->proxy.sa.sa_family == AF_UNSPEC;
}

static const char *
print_six(char buf[static INET6_ADDRSTRLEN], const struct addr *a)
{
	uint8_t six[16];

	put_six(six, a);
	return inet_ntop(AF_INET6, six, buf, INET6_ADDRSTRLEN);
}

size_t
header_v1(uint8_t out[static HEADER_V1_MAX], const struct header_ends *e)
{
	char client[INET6_ADDRSTRLEN], proxy[INET6_ADDRSTRLEN];
	char line[HEADER_V1_MAX + 1];
	struct header_ends four;
	bool small = both_four(&four, e);
	int n;

	if (no_addresses(e)) {
		n = snprintf(line, sizeof line, "PROXY UNKNOWN\r\n");
	} else {
		if (small) {
			notation_host(client, &four.client);
			notation_host(proxy, &four.proxy);
		} else {
			print_six(client, &e->client);
			print_six(proxy, &e->proxy);
		}
		n = snprintf(line, sizeof line, "PROXY TCP%c %s %s %u %u\r\n",
		    small ? '4' : '6', client, proxy, port_of(&e->client),
		    port_of(&e->proxy));
	}
	memcpy(out, line, (size_t)n);
	return (size_t)n;
}

size_t
header_v2(uint8_t out[static HEADER_V2_MAX], enum sock_proto proto,
    const struct header_ends *e)
{
	uint8_t transport = proto == SOCK_TCP ? 0x1 : 0x2;
	uint8_t *at = out + V2_HEAD;
	struct header_ends four;
	size_t len = 0;

	memcpy(out, v2_signature, sizeof v2_signature);
	out[12] = no_addresses(e) ? 0x20 : 0x21;
	out[13] = 0;
	if (no_addresses(e)) {
		put16(out + 14, 0);
		return V2_HEAD;
	}
	if (both_four(&four, e)) {
		out[13] = 0x10 | transport;
		memcpy(at, &four.client.in.sin_addr, 4);
		memcpy(at + 4, &four.proxy.in.sin_addr, 4);
		len = V2_INET;
	} else {
		out[13] = 0x20 | transport;
		put_six(at, &e->client);
		put_six(at + 16, &e->proxy);
		len = V2_INET6;
	}
	put16(at + len - 4, port_of(&e->client));
	put16(at + len - 2, port_of(&e->proxy));
	put16(out + 14, (uint16_t)len);
	return V2_HEAD + len;
}

size_t
header_spp(uint8_t out[static HEADER_SPP_LEN], const struct header_ends *e)
{
	memcpy(out, spp_magic, sizeof spp_magic);
	put_six(out + 2, &e->client);
	put_six(out + 18, &e->proxy);
	put16(out + 34, port_of(&e->client));
	put16(out + 36, port_of(&e->proxy));
	return HEADER_SPP_LEN;
}

/* The shorter of the two begins the other. */
static bool
begins(struct view bytes, const void *start, size_t len)
{
	return memcmp(bytes.data, start, bytes.len < len ? bytes.len : len) ==
	    0;
}

/*
 * Where the line ends: the index of its CR. A CR or LF of its own ends
 * nothing (2.1); what cannot be a family is told before the line is whole, so
 * that nobody waits for it.
 */
static enum header_fault
v1_line(struct view bytes, size_t *cr)
{
	size_t most = bytes.len < HEADER_V1_MAX ? bytes.len : HEADER_V1_MAX;
	struct view family = { bytes.data + V1_START, bytes.len - V1_START };

	if (!begins(family, "TCP4 ", 5) && !begins(family, "TCP6 ", 5) &&
	    !begins(family, "UNKNOWN ", 8) && !begins(family, "UNKNOWN\r", 8))
		return HEADER_V1_FAMILY;
	for (size_t i = V1_START; i < most; i++) {
		if (bytes.data[i] == '\n')
			return HEADER_V1_LINE;
		if (bytes.data[i] != '\r')
			continue;
		if (i + 1 == most)
			break;
		*cr = i;
		return bytes.data[i + 1] == '\n' ? HEADER_OK : HEADER_V1_LINE;
	}
	return most < HEADER_V1_MAX ? HEADER_MORE : HEADER_V1_LINE;
}

/* Splits at single spaces into exactly `n` words that are not empty. */
static bool
split(char *line, char **words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *space = strchr(line, ' ');

		words[i] = line;
		if (line[0] == '\0' || line[0] == ' ' ||
		    (space == NULL) != (i == n - 1))
			return false;
		if (space != NULL) {
			*space = '\0';
			line = space + 1;
		}
	}
	return true;
}

/* Decimal, no leading zero: "052" means 42 to some. */
static bool
v1_port(const char *word, uint16_t *port)
{
	size_t n = strlen(word);
	uint32_t v = 0;

	if (n > 5 || strspn(word, "0123456789") != n ||
	    (word[0] == '0' && n > 1))
		return false;
	for (; *word != '\0'; word++)
		v = v * 10 + (uint32_t)(*word - '0');
	*port = (uint16_t)v;
	return v <= 65535;
}

static bool
v1_address(struct addr *a, int family, const char *word)
{
	void *bytes = family == AF_INET ? (void *)&a->in.sin_addr
					: (void *)&a->in6.sin6_addr;

	memset(a, 0, sizeof *a);
	a->sa.sa_family = (sa_family_t)family;
	return inet_pton(family, word, bytes) == 1;
}

/* `TCP4 192.0.2.1 192.0.2.2 56324 443` */
static enum header_fault
v1_words(char *line, struct header_ends *e)
{
	char *words[5];
	uint16_t from, to;
	int family = line[3] == '4' ? AF_INET : AF_INET6;

	if (!split(line, words, 5))
		return HEADER_V1_LINE;
	if (!v1_address(&e->client, family, words[1]) ||
	    !v1_address(&e->proxy, family, words[2]))
		return HEADER_V1_ADDRESS;
	if (!v1_port(words[3], &from) || !v1_port(words[4], &to))
		return HEADER_V1_PORT;
	addr_set_port(&e->client, from);
	addr_set_port(&e->proxy, to);
	notation_unmap(&e->client);
	notation_unmap(&e->proxy);
	return HEADER_OK;
}

enum header_fault
header_v1_read(struct view bytes, struct header_ends *e, size_t *used)
{
	char line[HEADER_V1_MAX];
	enum header_fault fault;
	size_t cr = 0;

	memset(e, 0, sizeof *e);
	if (bytes.len == 0)
		return HEADER_MORE;
	if (!begins(bytes, v1_start, V1_START))
		return HEADER_ABSENT;
	if (bytes.len <= V1_START)
		return HEADER_MORE;
	fault = v1_line(bytes, &cr);
	if (fault != HEADER_OK)
		return fault;
	*used = cr + 2;
	if (bytes.data[V1_START] == 'U') {
		e->local = true; /* whatever else the line says is ignored */
		return HEADER_OK;
	}
	memcpy(line, bytes.data + V1_START, cr - V1_START);
	line[cr - V1_START] = '\0';
	/* a NUL inside would hide the rest of the line */
	if (strlen(line) != cr - V1_START)
		return HEADER_V1_LINE;
	return v1_words(line, e);
}

/* Bytes of addresses that a family byte announces; -1 for none such. */
static int
v2_block(uint8_t family)
{
	if (family >> 4 > 3 || (family & 0xf) > 2)
		return -1;
	if ((family & 0xf) == 0)
		return 0; /* UNSPEC: nothing is read */
	switch (family >> 4) {
	case 1:
		return V2_INET;
	case 2:
		return V2_INET6;
	case 3:
		return V2_UNIX;
	}
	return 0;
}

/* The 16 bytes before the addresses, as far as they are here. */
static enum header_fault
v2_head(struct view bytes, size_t *block)
{
	const uint8_t *p = bytes.data;
	bool local;
	int needed;

	if (!begins(bytes, v2_signature, sizeof v2_signature))
		return HEADER_ABSENT;
	if (bytes.len > 12 && p[12] >> 4 != 2)
		return HEADER_V2_VERSION;
	if (bytes.len > 12 && (p[12] & 0xf) > 1)
		return HEADER_V2_COMMAND;
	if (bytes.len < V2_HEAD)
		return HEADER_MORE;
	local = (p[12] & 0xf) == 0;
	needed = local ? 0 : v2_block(p[13]); /* LOCAL: family is ignored */
	if (needed < 0)
		return HEADER_V2_FAMILY;
	if (get16(p + 14) < needed || get16(p + 14) > HEADER_READ_MAX - V2_HEAD)
		return HEADER_V2_LENGTH;
	*block = (size_t)needed;
	return HEADER_OK;
}

enum header_fault
header_v2_read(struct view bytes, struct header_ends *e, size_t *used)
{
	const uint8_t *at = bytes.data + V2_HEAD;
	enum header_fault fault;
	size_t block = 0, whole;

	memset(e, 0, sizeof *e);
	if (bytes.len == 0)
		return HEADER_MORE;
	fault = v2_head(bytes, &block);
	if (fault != HEADER_OK)
		return fault;
	whole = V2_HEAD + (size_t)get16(bytes.data + 14);
	if (bytes.len < whole)
		return HEADER_MORE;
	*used = whole;
	if (block == V2_INET) {
		e->client = get_four(at, at + 8);
		e->proxy = get_four(at + 4, at + 10);
	} else if (block == V2_INET6) {
		e->client = get_six(at, at + 32);
		e->proxy = get_six(at + 16, at + 34);
	} else {
		e->local = true; /* LOCAL, UNSPEC, or a UNIX socket's names */
	}
	return HEADER_OK;
}

enum header_fault
header_read(struct view bytes, struct header_ends *e, size_t *used)
{
	if (bytes.len > 0 && bytes.data[0] == v2_signature[0])
		return header_v2_read(bytes, e, used);
	return header_v1_read(bytes, e, used);
}

enum header_fault
header_spp_read(struct view bytes, struct header_ends *e, size_t *used)
{
	const uint8_t *p = bytes.data;

	memset(e, 0, sizeof *e);
	if (bytes.len > 0 && !begins(bytes, spp_magic, sizeof spp_magic))
		return HEADER_SPP_MAGIC;
	if (bytes.len < HEADER_SPP_LEN)
		return HEADER_SPP_LENGTH;
	e->client = get_six(p + 2, p + 34);
	e->proxy = get_six(p + 18, p + 36);
	*used = HEADER_SPP_LEN;
	return HEADER_OK;
}
