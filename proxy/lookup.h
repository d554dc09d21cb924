/*
 * One name, looked up again and again for as long as somebody wants its
 * origins: when its records end, and sooner after a failure. What was found
 * before stays when a name, or a part of it, cannot be resolved.
 */
#ifndef PROXY_LOOKUP_H
#define PROXY_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ev.h>

#include "proxy/app.h"
#include "proxy/resolver.h"
#include "proxy/status.h"

struct lookup; /* opaque: open questions outlive their owner */

/*
 * How the last round ended. STATUS_OPEN: there are origins, perhaps partly of
 * before; else they are those of before, and STATUS_RESOLVE_… says why.
 */
struct lookup_result {
	enum status status;
	enum resolver_outcome why; /* what failed; RESOLVER_ANSWERED: nothing */
	struct app_origin origin[APP_ORIGINS_MAX];
	size_t origins; /* 0: none was ever found */
	uint32_t again_ms; /* until the next round */
};

typedef void lookup_done(void *arg, const struct lookup_result *result);

/* Calls `done` after each round. `dns` is copied. NULL with errno. */
struct lookup *lookup_new(struct resolver *resolver, struct ev_loop *loop,
    const struct app_dns *dns, lookup_done *done, void *arg);
void lookup_free(struct lookup *l); /* NULL is fine; no `done` any more */

/* Begins with what `from`, which looked for the same, has found. */
void lookup_inherit(struct lookup *l, const struct lookup *from);
/* The first round is at the loop's next turn. */
void lookup_start(struct lookup *l);

const struct lookup_result *lookup_last(const struct lookup *l);

#endif
