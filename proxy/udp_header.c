/*
 * What datagrams carry in front: to and from origins by `proxy_protocol`, from
 * and to trusted peers by `proxy_protocol_from`.
 */
#include "proxy/udp_inner.h"

#include <string.h>

#include "base/view.h"
#include "proxy/header.h"

static void
put_bytes(struct dgram *g, const uint8_t *bytes, size_t len)
{
	g->data -= len;
	g->len += (uint32_t)len;
	memcpy(g->data, bytes, len);
}

static void
cut(struct dgram *g, size_t len)
{
	g->data += len;
	g->len -= (uint32_t)len;
}

static struct header_ends
ends_of(const struct udp_worker *w, const struct flow *f)
{
	const struct flow_via *via = flow_via(w->table, f);

	return (struct header_ends){ .client = f->client,
		.proxy = via != NULL ? via->asked : f->edge };
}

void
udp_header_out(
    struct udp_worker *w, enum app_header kind, struct flow *f, struct dgram *g)
{
	const struct header_ends ends = ends_of(w, f);
	uint8_t bytes[HEADER_V2_MAX];
	size_t len = 0;

	_Static_assert(HEADER_SPP_LEN <= DGRAMS_HEADROOM, "fits");
	switch (kind) {
	case APP_HEADER_V2_FIRST:
		if (f->announced)
			return;
		len = header_v2(bytes, SOCK_UDP, &ends);
		break;
	case APP_HEADER_V2: /* 16 and 36 of two IPv6 ends: 52 at most */
		len = header_v2(bytes, SOCK_UDP, &ends);
		break;
	case APP_HEADER_SIMPLE:
		len = header_spp(bytes, &ends);
		break;
	case APP_HEADER_OFF:
	case APP_HEADER_V1:
		return;
	}
	if (len > DGRAMS_HEADROOM)
		return;
	f->announced = true;
	put_bytes(g, bytes, len);
}

/* The origin echoes the header (its own addresses in it do not matter: the
 * socket says whose reply it is). */
bool
udp_header_strip(struct dgram *g)
{
	const struct view bytes = { g->data, g->len };
	struct header_ends ends;
	size_t used;

	if (g->segment > 0 || header_spp_read(bytes, &ends, &used) != HEADER_OK)
		return false;
	cut(g, used);
	return true;
}

bool
udp_header_in(struct dgram *g, struct udp_announced *who)
{
	const struct view bytes = { g->data, g->len };
	struct header_ends ends;
	size_t used = 0;

	who->simple = header_spp_read(bytes, &ends, &used) == HEADER_OK;
	if (g->segment > 0 ||
	    (!who->simple && header_v2_read(bytes, &ends, &used) != HEADER_OK))
		return false;
	cut(g, used);
	who->there = !ends.local;
	who->client = ends.client;
	who->asked = ends.proxy;
	return true;
}

/* An origin must answer as it was asked, and to this peer we are one. */
bool
udp_header_back(
    const struct udp_worker *w, const struct flow *f, struct dgram *g)
{
	const struct header_ends ends = ends_of(w, f);
	const struct flow_via *via = flow_via(w->table, f);
	uint8_t bytes[HEADER_SPP_LEN];

	g->peer = via->peer;
	if (!via->simple)
		return true;
	if (g->segment > 0)
		return false;
	put_bytes(g, bytes, header_spp(bytes, &ends));
	return true;
}
