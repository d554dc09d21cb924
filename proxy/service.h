/*
 * An application at run time: its rules, who may have another session of it,
 * and its origins as they are now. Shared by all workers and by every session
 * and flow that it began; the last one to let go frees it. A reload keeps the
 * service of an application that did not change.
 */
#ifndef PROXY_SERVICE_H
#define PROXY_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/app.h"
#include "proxy/origin.h"
#include "proxy/pace.h"
#include "proxy/status.h"
#include "proxy/tally.h"

/* Before the first answer to origin_dns. */
#define SERVICE_RESOLVING (-1)

struct service {
	struct app app; /* a copy of its own, lists included */
	struct origins *origins; /* as they are now */
	struct pace *pace; /* of its bytes; NULL: no limit */
	/* STATUS_OPEN when they are known, which they always are without
	 * origin_dns; SERVICE_RESOLVING; or the status that says why not */
	atomic_int resolution;
	/* 0, or when the sessions of a removed one must end (monotonic) */
	_Atomic uint64_t ends_ns;
	/* the ports that are left to it, first << 16 | last, and when sessions
	 * on others must end; 0: it has all */
	_Atomic uint32_t ports;
	_Atomic uint64_t ports_end_ns;
	_Atomic bool draining; /* out of service: it takes no new clients */
	struct tally_book *book; /* held */
	/* what a reload has changed, with the sessions that it has left; held,
	 * NULL: none; the main thread's */
	struct service *before;
	struct service_inner *inner;
};

/* `capacity`: sessions or flows that all workers together can have. `before`:
 * the same application before a reload, NULL for a new one: its numbers go on,
 * and it stays drained. NULL with errno. The caller holds it. */
struct service *service_new(const struct app *a, size_t workers,
    size_t capacity, struct service *before);
struct service *service_hold(struct service *v);
void service_release(struct service *v); /* NULL is fine */

/*
 * Whether `client` may have one more: STATUS_OPEN and it is counted in (once
 * service_leave is due), STATUS_FIREWALL, or STATUS_UNAVAILABLE for a limit.
 * Why not is counted on the worker's sheet `t`.
 */
enum status service_enter(struct service *v, struct tally *t,
    const struct addr *client, uint64_t now_ns);
void service_leave(struct service *v, const struct addr *client);

/* Sessions or flows now, those of before a reload included. */
size_t service_live(const struct service *v);

/* When all of them must end (monotonic), 0: by themselves. Workers are told by
 * sessions_end_by(). */
void service_end_by(struct service *v, uint64_t ends_ns);
/* The same for those on ports other than these. Sessions that had been told
 * before keep their time. True: there are such ports, and that is new. */
bool service_end_ports(
    struct service *v, uint16_t first, uint16_t last, uint64_t ends_ns);
/* When a session on that port must end; 0: by itself. */
uint64_t service_ends_ns(const struct service *v, uint16_t port);

/* Whether two applications are the same in every respect. */
bool service_same(const struct app *a, const struct app *b);

#endif
