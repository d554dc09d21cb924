/* One event as a line: Spectrum's field names, in their order. */
#include <string.h>

#include "base/clock.h"
#include "proxy/eventlog.h"
#include "proxy/notation.h"

#define NAME_ROOM 160 /* of an escaped name; 63 quotes need 126 */

struct line {
	char *at;
};

static void
put(struct line *l, const char *text, size_t len)
{
	memcpy(l->at, text, len);
	l->at += len;
}

#define PUT(l, literal) put(l, literal, sizeof(literal) - 1)

static void
put_text(struct line *l, const char *text)
{
	put(l, text, strlen(text));
}

static void
put_number(struct line *l, uint64_t v)
{
	char digits[20];
	size_t n = sizeof digits;

	do {
		digits[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	put(l, digits + n, sizeof digits - n);
}

/* JSON text (RFC 8259, 7); a name too long for its room is cut. */
static void
put_escaped(struct line *l, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	const char *end = l->at + NAME_ROOM - 6;

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		/* before a character, not inside one */
		if (l->at > end && (c & 0xc0) != 0x80)
			return;
		if (c < 0x20 || c == 0x7f) {
			PUT(l, "\\u00");
			put(l, &hex[c >> 4], 1);
			put(l, &hex[c & 0xf], 1);
			continue;
		}
		if (c == '"' || c == '\\')
			PUT(l, "\\");
		put(l, text, 1);
	}
}

/* RFC 3339 with microseconds, or null for a time that has not come. */
static void
put_time(struct line *l, uint64_t unix_us)
{
	char text[CLOCK_RFC3339_LEN], fraction[7];
	uint64_t us = unix_us % 1000000;

	if (unix_us == 0) {
		PUT(l, "null");
		return;
	}
	clock_rfc3339(text, unix_us / 1000000);
	for (size_t i = sizeof fraction - 1; i > 0; i--, us /= 10)
		fraction[i] = (char)('0' + us % 10);
	fraction[0] = '.';
	PUT(l, "\"");
	put(l, text, strcspn(text, "Z"));
	put(l, fraction, sizeof fraction);
	PUT(l, "Z\"");
}

static void
put_host(struct line *l, const struct addr *a)
{
	char host[NOTATION_HOST_LEN];

	PUT(l, "\"");
	put_text(l, notation_host(host, a));
	PUT(l, "\"");
}

static void
put_port(struct line *l, const struct addr *a)
{
	put_number(l, a->sa.sa_family == AF_UNSPEC ? 0 : addr_port(a));
}

static const char *
matched(const struct event *e)
{
	if (!e->firewall_matched)
		return "UNKNOWN";
	return e->kind == EVENT_CLIENT_FILTERED ? "BLOCK_IP" : "WHITELIST_IP";
}

static const char *
header_word(enum app_header header)
{
	switch (header) {
	case APP_HEADER_OFF:
		break;
	case APP_HEADER_V1:
		return "v1";
	case APP_HEADER_V2:
		return "v2";
	case APP_HEADER_V2_FIRST:
		return "v2-first";
	case APP_HEADER_SIMPLE:
		return "simple";
	}
	return "off";
}

enum event_kind
event_kind_of(enum status status)
{
	switch (status) {
	case STATUS_RESOLVE_FAILED:
	case STATUS_RESOLVE_EMPTY:
	case STATUS_RESOLVE_TIMEDOUT:
	case STATUS_ORIGIN_BLOCKED:
		return EVENT_RESOLVE_ORIGIN;
	default:
		return EVENT_ORIGIN_ERROR;
	}
}

const char *
event_kind_str(enum event_kind kind)
{
	switch (kind) {
	case EVENT_CONNECT:
		return "connect";
	case EVENT_DISCONNECT:
		return "disconnect";
	case EVENT_CLIENT_FILTERED:
		return "clientFiltered";
	case EVENT_RESOLVE_ORIGIN:
		return "resolveOrigin";
	case EVENT_ORIGIN_ERROR:
		return "originError";
	case EVENT_TLS_ERROR:
		return "tlsError";
	}
	return "unknown";
}

static void
put_client(struct line *l, const struct event *e)
{
	PUT(l, "{\"Application\":\"");
	put_escaped(l, e->app->name);
	PUT(l, "\",\"ClientAsn\":0,\"ClientBytes\":");
	put_number(l, e->client_bytes);
	PUT(l, ",\"ClientIP\":");
	put_host(l, &e->client);
	PUT(l, ",\"ClientMatchedIpFirewall\":\"");
	put_text(l, matched(e));
	PUT(l, "\",\"ClientPort\":");
	put_port(l, &e->client);
	PUT(l, ",\"ClientProto\":\"");
	put_text(l, notation_proto_str(e->app->proto));
	PUT(l, "\",\"ClientTcpRtt\":");
	put_number(l, e->client_rtt_ns);
	PUT(l, ",\"ClientTlsProtocol\":\"none\"");
	PUT(l, ",\"ClientTlsStatus\":\"UNKNOWN\"");
}

static void
put_event(struct line *l, const struct event *e)
{
	PUT(l, ",\"ConnectTimestamp\":");
	put_time(l, e->connect_us);
	PUT(l, ",\"DisconnectTimestamp\":");
	put_time(l, e->disconnect_us);
	PUT(l, ",\"Event\":\"");
	put_text(l, event_kind_str(e->kind));
	PUT(l, "\",\"IpFirewall\":");
	put_text(l, e->app->allows + e->app->denies > 0 ? "true" : "false");
}

static void
put_origin(struct line *l, const struct event *e)
{
	PUT(l, ",\"OriginBytes\":");
	put_number(l, e->origin_bytes);
	PUT(l, ",\"OriginIP\":");
	put_host(l, &e->origin);
	PUT(l, ",\"OriginPort\":");
	put_port(l, &e->origin);
	PUT(l, ",\"OriginProto\":\"");
	put_text(l, notation_proto_str(e->app->proto));
	PUT(l, "\",\"OriginTcpRtt\":");
	put_number(l, e->origin_rtt_ns);
	PUT(l, ",\"OriginTlsMode\":\"off\",\"OriginTlsProtocol\":\"none\"");
	PUT(l, ",\"OriginTlsStatus\":\"UNKNOWN\",\"ProxyProtocol\":\"");
	put_text(l, header_word(e->app->header));
	PUT(l, "\"");
}

/* The longest line is shorter than EVENT_LINE_MAX: tests/test_event.c. */
size_t
event_format(
    char out[static EVENT_LINE_MAX], const struct event *e, uint64_t now_us)
{
	struct line l = { out };

	put_client(&l, e);
	put_event(&l, e);
	put_origin(&l, e);
	PUT(&l, ",\"Status\":");
	put_number(&l, (uint64_t)e->status);
	PUT(&l, ",\"Timestamp\":");
	put_time(&l, now_us);
	PUT(&l, "}\n");
	return (size_t)(l.at - out);
}
