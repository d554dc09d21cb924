/*
 * What the origin gets first: the PROXY header, and with TCP Fast Open what
 * the client has sent so far, in the first packet. These bytes are only looked
 * at and stay in the client's queue until the connection stands, so that the
 * next origin can have them if this one is not there.
 */
#include "proxy/session_inner.h"

#include <errno.h>

#include "net/tcp.h"
#include "proxy/header.h"

static size_t
put_header(const struct session *s, uint8_t out[static HEADER_V2_MAX])
{
	const struct header_ends ends = { .client = s->client_address,
		.proxy = s->asked };

	if (s->service->app.header == APP_HEADER_V1)
		return header_v1(out, &ends);
	if (s->service->app.header == APP_HEADER_V2)
		return header_v2(out, SOCK_TCP, &ends);
	return 0;
}

size_t
session_early(const struct session *s, uint8_t out[static SESSION_EARLY_MAX])
{
	const struct app *a = &s->service->app;
	size_t len;
	ssize_t n;

	if (!a->tcp.fast_open_origin)
		return 0;
	len = put_header(s, out);
	if (s->service->pace != NULL) /* those have to be asked for */
		return len;
	n = tcp_peek(s->client.io.fd, out + len, SESSION_EARLY_MAX - len);
	return len + (n > 0 ? (size_t)n : 0);
}

/* Takes what has gone already out of the client's queue. */
static bool
take(struct session *s, size_t len)
{
	uint8_t gone[SESSION_EARLY_MAX];

	if (tcp_take(s->client.io.fd, gone, len) != (ssize_t)len) {
		/* it was there: only a reset makes it go away */
		session_close(
		    s, status_from_errno(STATUS_SIDE_CLIENT, ECONNRESET), true);
		return false;
	}
	s->client.relay.bytes += len;
	tally_add(s->tally, TALLY_CLIENT_BYTES, len);
	return true;
}

bool
session_first_bytes(struct session *s)
{
	uint8_t header[HEADER_V2_MAX];
	size_t len = put_header(s, header);

	if (s->early > len)
		return take(s, s->early - len);
	if (s->early < len)
		relay_put(&s->client.relay, s->table->pool, header + s->early,
		    len - s->early);
	return true;
}
