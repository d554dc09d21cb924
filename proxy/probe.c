#include "proxy/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/sock.h"
#include "net/tcp.h"
#include "proxy/status.h"

/* ---- words ---- */

char *
probe_quote(char buf[static PROBE_QUOTE_LEN], const uint8_t *bytes, size_t len)
{
	size_t n = 0, i = 0;

	buf[n++] = '"';
	for (; i < len && n < PROBE_QUOTE_LEN - 9; i++) {
		uint8_t c = bytes[i];

		if (c >= 0x20 && c < 0x7f && c != '\\' && c != '"')
			buf[n++] = (char)c;
		else
			n += (size_t)snprintf(
			    buf + n, PROBE_QUOTE_LEN - n, "\\x%02x", c);
	}
	snprintf(buf + n, PROBE_QUOTE_LEN - n, i < len ? "...\"" : "\"");
	return buf;
}

/* ---- ending ---- */

void
probe_stop(struct probe *p)
{
	ev_io_stop(p->loop, &p->io);
	ev_timer_stop(p->loop, &p->timer);
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static void
good(struct probe *p)
{
	probe_stop(p);
	p->done(p->arg, PROBE_GOOD, NULL);
}

static void
bad(struct probe *p, const char *why)
{
	probe_stop(p);
	p->done(p->arg, PROBE_BAD, why);
}

static void
failed(struct probe *p, const char *at, int error)
{
	char why[ORIGIN_WHY_LEN];

	snprintf(why, sizeof why, "%s: %s", at, strerror(error));
	bad(p, why);
}

static void
differs(struct probe *p)
{
	char why[ORIGIN_WHY_LEN], quoted[PROBE_QUOTE_LEN];

	snprintf(why, sizeof why, "answer differs: %s",
	    probe_quote(quoted, p->answer, p->got));
	bad(p, why);
}

/* ---- what is sent ---- */

static bool
is_udp(const struct probe *p)
{
	return p->app->check.kind == APP_CHECK_UDP_EXPECT;
}

/*
 * An origin that wants PROXY headers wants one from us, too: without a client
 * (LOCAL). A port of its own, or of the other protocol, is somebody else's.
 */
static size_t
put_header(struct probe *p, const struct addr *to)
{
	enum sock_proto proto = is_udp(p) ? SOCK_UDP : SOCK_TCP;
	struct header_ends ends = { .local = true, .proxy = *to };

	if (p->app->check.port != 0 || p->app->proto != proto)
		return 0;
	switch (p->app->header) {
	case APP_HEADER_OFF:
		return 0;
	case APP_HEADER_V1:
		return header_v1(p->out, &ends);
	case APP_HEADER_V2:
	case APP_HEADER_V2_FIRST:
		return header_v2(p->out, proto, &ends);
	case APP_HEADER_SIMPLE: /* knows no LOCAL */
		if (sock_local(p->fd, &ends.client) != 0)
			return 0;
		return header_spp(p->out, &ends);
	}
	return 0;
}

static void
put_bytes(struct probe *p, const struct addr *to)
{
	const struct app_check *c = &p->app->check;

	p->out_len = put_header(p, to);
	memcpy(p->out + p->out_len, c->send, c->send_len);
	p->out_len += c->send_len;
}

/* A datagram goes even when it is empty. */
static void
send_bytes(struct probe *p)
{
	ssize_t n;

	if (p->sent == p->out_len && !is_udp(p))
		return;
	n = send(p->fd, p->out + p->sent, p->out_len - p->sent, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN) {
		failed(p, "send", errno);
		return;
	}
	p->sent += n > 0 ? (size_t)n : 0;
}

/* ---- what comes back ---- */

static bool
is_expected(const struct probe *p)
{
	const struct app_check *c = &p->app->check;

	if (c->expect_len == 0) /* UDP: whatever it is */
		return true;
	return memmem(p->answer, p->got, c->expect, c->expect_len) != NULL;
}

static void
take_answer(struct probe *p)
{
	ssize_t n =
	    tcp_take(p->fd, p->answer + p->got, sizeof p->answer - p->got);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			failed(p, "answer", errno);
		return;
	}
	p->got += (size_t)n;
	if (is_udp(p) || n > 0) {
		if (is_expected(p))
			good(p);
		else if (is_udp(p) || p->got == sizeof p->answer)
			differs(p);
	} else if (p->got > 0) {
		differs(p);
	} else {
		bad(p, "closed without an answer");
	}
}

static void
watch(struct probe *p, int events)
{
	ev_io_stop(p->loop, &p->io);
	ev_io_set(&p->io, p->fd, events);
	ev_io_start(p->loop, &p->io);
}

static void
connected(struct probe *p)
{
	p->connected = true;
	if (p->app->check.kind == APP_CHECK_TCP) {
		good(p);
		return;
	}
	send_bytes(p);
	if (p->fd >= 0)
		watch(p, EV_READ | (p->sent < p->out_len ? EV_WRITE : 0));
}

static void
io_event(struct ev_loop *loop, ev_io *io, int events)
{
	struct probe *p = io->data;
	int error;

	(void)loop;
	if (!p->connected) {
		error = tcp_error(p->fd);
		if (error != 0)
			failed(p, "connect", error);
		else
			connected(p);
		return;
	}
	if (events & EV_READ)
		take_answer(p);
	else
		connected(p); /* the rest goes */
}

static void
late(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct probe *p = timer->data;
	char why[ORIGIN_WHY_LEN];

	(void)loop;
	(void)events;
	if (p->got > 0) {
		differs(p);
		return;
	}
	snprintf(why, sizeof why, "%sno answer within %g s",
	    p->connected ? "" : "connect: ", p->app->check.timeout_ms / 1e3);
	bad(p, why);
}

/* ---- beginning ---- */

void
probe_init(struct probe *p, struct ev_loop *loop, const struct app *app,
    probe_done *done, void *arg)
{
	p->loop = loop;
	p->app = app;
	p->done = done;
	p->arg = arg;
	p->fd = -1;
	ev_init(&p->io, io_event);
	ev_init(&p->timer, late);
	p->io.data = p->timer.data = p;
}

static void
not_begun(struct probe *p, int error)
{
	/* ours, such as no descriptor, and not the origin's */
	if (status_from_connect(error) == STATUS_UNAVAILABLE) {
		errno = error;
		p->done(p->arg, PROBE_UNKNOWN, NULL);
	} else {
		failed(p, "connect", error);
	}
}

void
probe_start(struct probe *p, const struct addr *origin)
{
	const struct app_check *c = &p->app->check;
	const struct sock_opts o = { .v6only = true };
	struct addr to = *origin;

	if (c->port != 0)
		addr_set_port(&to, c->port);
	p->connected = false;
	p->sent = p->got = 0;
	p->fd = sock_connect(is_udp(p) ? SOCK_UDP : SOCK_TCP, &to, &o);
	if (p->fd < 0) {
		not_begun(p, errno);
		return;
	}
	put_bytes(p, &to);
	ev_timer_set(&p->timer, c->timeout_ms / 1e3, 0);
	ev_timer_start(p->loop, &p->timer);
	if (is_udp(p))
		connected(p);
	else
		watch(p, EV_WRITE);
}
