/*
 * What a TCP connection is told and asked after its birth (socket(7), tcp(7)).
 */
#ifndef NET_TCP_H
#define NET_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/addr.h"

/*
 * Accepts one connection, non-blocking, close-on-exec. Options are those of
 * the listener, which a connection inherits: no further system call.
 */
int tcp_accept(int listener, struct addr *peer);

/* How a pending connect(2) ended, or what befell an open connection: an
 * errno, 0 for none. The kernel forgets it by telling. */
int tcp_error(int fd);

/* connect(2) is through: over loopback it is when it returns. */
bool tcp_is_connected(int fd);

/* Asks the peer after `idle_s` of silence whether it is still there, three
 * times, a third of that apart; 0: never. 0, or -1 with errno. */
int tcp_keepalive(int fd, int idle_s);

/* Data in the first packet (RFC 7413): a listener takes it from `queue`
 * clients whose handshake is not through; 0: from none. 0, or -1 with errno. */
int tcp_fast_open(int listener, int queue);
/* Whether this host lets connections, or listeners, do that at all
 * (net.ipv4.tcp_fastopen); true when it does not say. */
enum tcp_side { TCP_CONNECTIONS = 1, TCP_LISTENERS = 2 };
bool tcp_may_fast_open(enum tcp_side side);

/* How its sending keeps off congestion (TCP_CONGESTION), NULL: as it is. What
 * this host does not have, or not for us, leaves it as it was. */
void tcp_congestion(int fd, const char *name);
/* Whether anybody may have it (net.ipv4.tcp_allowed_congestion_control); true
 * when the host does not say. */
bool tcp_may_congestion(const char *name);

/* close(2) will send RST instead of FIN, and drop what is queued. */
void tcp_reset_on_close(int fd);

/* The smoothed round trip, 0 when unknown. */
uint64_t tcp_rtt_ns(int fd);

/*
 * Looks at the first bytes that wait without taking them. Bytes, 0 at the end
 * of the stream, or -1 with errno.
 */
ssize_t tcp_peek(int fd, uint8_t *bytes, size_t len);

/* Takes up to `len` bytes; as above. */
ssize_t tcp_take(int fd, uint8_t *bytes, size_t len);

/* The socket is readable from so many bytes on, or at the end: SO_RCVLOWAT;
 * 1 is what it was born with. */
void tcp_readable_from(int fd, int bytes);

/* The peer sends no more; what it sent may still wait. */
bool tcp_is_ended(int fd);

/*
 * The kernel drops what comes to the socket from now on: a listener's SYN is
 * sent again a second later, and no connection begins meanwhile. Connections
 * that it gave birth to while it was held are held as well.
 */
void tcp_hold(int fd, bool on);

/*
 * A listener that refuses connections for a while, those in its queue are
 * reset: it stays bound, and nobody else gets the port. -1 with errno.
 */
int tcp_listen_stop(int fd);
int tcp_listen_again(int fd);

/* No byte more can come or go: reset, timed out or closed on both sides. */
bool tcp_is_dead(int fd);

#endif
