/*
 * Identities: for each long-term key an online key that is in its window. A
 * snapshot is immutable; the main thread publishes a new one when a delegation
 * rotates or the configuration is reloaded, and frees an old one only when no
 * worker can still be using it. Workers never lock.
 */
#ifndef ROUGHTIME_IDENTITY_H
#define ROUGHTIME_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "roughtime/request.h"
#include "roughtime/response.h"

/* What the packet path needs, in one piece of locked memory. */
struct identity_snapshot {
	uint64_t generation;
	size_t count;
	struct response_key *keys; /* count */
	uint8_t (*srv)[CERT_SRV_LEN]; /* count */
	struct request_policy policy; /* points at srv */
	struct response_versions versions; /* VERS as announced */
};

/* Where an identity's delegations come from. */
struct identity_config {
	const char *name;
	const char *key; /* key file: the keyholder signs; or */
	const char *public_key; /* base64, and … */
	const char *delegations; /* … a directory of bundles */
};

struct identity_settings {
	const struct identity_config *list;
	size_t count;
	uint32_t versions; /* rows served */
	bool prefer_draft14;
	uint64_t delegation_s; /* lifetime of an online key, default 24 h */
	uint64_t overlap_s; /* renewed this long before MAXT, default 1 h;
	                       at most half of the lifetime counts */
	uint64_t backdate_s; /* MINT = now - this, default 1 h */
	uint64_t warn_s; /* warn when the last bundle ends within this */
};

/* Half of the keyholder's slots: a reload fills the other half first. */
#define IDENTITY_MAX 64

struct keyholder;
struct identities; /* opaque: the owner of all snapshots (main thread) */

/*
 * Makes the first snapshot. Every failure is told by log_error with the name
 * of the identity; NULL when one has no usable delegation and `must` is true
 * (start and -t; a later lack makes the identity unusable and counts).
 */
struct identities *identities_new(const struct identity_settings *s,
    struct keyholder *holder, size_t workers, bool must);
/* No worker holds a snapshot any more; before keyholder_stop(). */
void identities_free(struct identities *ids);

/*
 * Main thread, about once a second: rotates what is due (a clock that was
 * stepped out of a window too), looks for new bundles about once a minute,
 * warns in good time, frees retired snapshots. Returns true when a new
 * snapshot was published. A keyholder that hangs holds it up for 5 seconds in
 * every 15, however many identities there are.
 */
bool identities_tick(struct identities *ids, uint64_t unix_s);

/*
 * SIGHUP: re-reads keys and bundles under (maybe) new settings; on failure
 * everything stays as it was and -1 is returned. An identity without a usable
 * delegation is a failure unless it has none at present either. The strings
 * of the settings are copied.
 */
int
identities_reload(struct identities *ids, const struct identity_settings *s);

/*
 * Worker `w` (of the `workers` of identities_new): the snapshot to use until
 * identity_release; one at a time. No lock, and no second try unless a
 * snapshot was published in that very moment. Taken after a wake-up, released
 * before blocking.
 */
const struct identity_snapshot *
identity_acquire(struct identities *ids, size_t w);
void identity_release(struct identities *ids, size_t w);

/* For people: one line an identity (name, public key, window, source). */
void identities_describe(const struct identities *ids);

#endif
