/*
 * Where one identity's online keys come from: the keyholder, or a queue of
 * bundles. Keeps `key` current; belongs to the main thread.
 */
#ifndef ROUGHTIME_IDENTITY_SOURCE_H
#define ROUGHTIME_IDENTITY_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "roughtime/bundlequeue.h"
#include "roughtime/identity.h"
#include "roughtime/keyholder.h"

struct identity_source {
	char *name;
	char *path; /* the key file, or the directory of bundles */
	uint8_t public_key[CERT_PUBLIC_LEN]; /* long-term */
	struct keyholder *holder; /* borrowed; NULL: bundles */
	unsigned int slot; /* in the keyholder */
	struct bundlequeue *queue; /* NULL: key file */
	struct bundlequeue_entry bundle; /* the one in use */
	struct source_keys {
		struct response_key now; /* what snapshots copy */
		struct response_key fresh; /* in the making */
	} * keys; /* locked */

	/* CLOCK_MONOTONIC, ms */
	uint64_t next_try_ms, next_scan_ms, next_warning_ms;
	bool told_unusable;
};

/* Opens the source and learns its public key; no delegation yet. `source` is
 * zeroed. -1 after a log_error line; source_close in any case. */
int source_open(struct identity_source *source, const struct identity_config *c,
    struct keyholder *holder, unsigned int slot);
void source_close(struct identity_source *source);

/*
 * Looks whether another online key is due at `now_s` and takes it. True when
 * keys->now changed: a new key, or the old one became unusable. Tells what
 * goes wrong, warns before the last bundle ends, once a day.
 */
bool source_refresh(struct identity_source *source,
    const struct identity_settings *s, uint64_t now_s);

void source_describe(const struct identity_source *source);

#endif
