#include "roughtime/identity_source.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "keys/secret.h"

static_assert(KEYHOLDER_SLOTS >= 2 * IDENTITY_MAX, "a reload fills the rest");

#define RETRY_MS 30000u
#define SCAN_MS 60000u
#define WARNING_MS 86400000u

static int
open_key(struct identity_source *src, const struct identity_config *c,
    struct keyholder *holder, unsigned int slot)
{
	char why[FILE_WHY_LEN];

	if (holder == NULL) {
		log_error(
		    "identity %s: a key file needs the keyholder", src->name);
		return -1;
	}
	if (keyholder_load(
		holder, slot, c->key, src->public_key, why, sizeof why) != 0) {
		log_error("identity %s: %s", src->name, why);
		return -1;
	}
	src->holder = holder;
	src->slot = slot;
	return 0;
}

static int
open_queue(struct identity_source *src, const struct identity_config *c)
{
	size_t len;

	if (c->public_key == NULL ||
	    sodium_base642bin(src->public_key, CERT_PUBLIC_LEN, c->public_key,
		strlen(c->public_key), NULL, &len, NULL,
		sodium_base64_VARIANT_ORIGINAL) != 0 ||
	    len != CERT_PUBLIC_LEN) {
		log_error("identity %s: public_key: expected the 32 bytes of "
			  "the long-term key in base64",
		    src->name);
		return -1;
	}
	src->queue =
	    bundlequeue_new(src->name, c->delegations, src->public_key);
	return src->queue != NULL ? 0 : -1;
}

int
source_open(struct identity_source *src, const struct identity_config *c,
    struct keyholder *holder, unsigned int slot)
{
	const char *path = c->key != NULL ? c->key : c->delegations;

	src->name = strdup(c->name);
	if (src->name == NULL)
		return -1;
	if ((c->key == NULL) == (c->delegations == NULL)) {
		log_error("identity %s: expected either key, or public_key and "
			  "delegations",
		    src->name);
		return -1;
	}
	src->path = strdup(path);
	src->keys = secret_alloc(sizeof *src->keys);
	if (src->path == NULL || src->keys == NULL) {
		log_error("identity %s: %s", src->name, strerror(errno));
		return -1;
	}
	sodium_memzero(src->keys, sizeof *src->keys);
	return c->key != NULL ? open_key(src, c, holder, slot)
			      : open_queue(src, c);
}

void
source_close(struct identity_source *src)
{
	char why[FILE_WHY_LEN];

	/* a key that is no longer configured leaves the keyholder's memory */
	if (src->holder != NULL)
		keyholder_forget(src->holder, src->slot, why, sizeof why);
	bundlequeue_free(src->queue);
	secret_free(src->keys);
	free(src->path);
	free(src->name);
	memset(src, 0, sizeof *src);
}

static bool
in_window(const struct response_key *k, uint64_t now_s)
{
	return k->usable && k->delegation.mint_s <= now_s &&
	    now_s <= k->delegation.maxt_s;
}

/* Takes the key in the making over, and says so. */
static void
adopt(struct identity_source *src)
{
	char from[CLOCK_RFC3339_LEN], to[CLOCK_RFC3339_LEN];
	const struct delegation *d = &src->keys->now.delegation;

	src->keys->now = src->keys->fresh;
	sodium_memzero(&src->keys->fresh, sizeof src->keys->fresh);
	src->told_unusable = false;
	log_info("identity %s: online key valid from %s to %s%s%s", src->name,
	    clock_rfc3339(from, d->mint_s), clock_rfc3339(to, d->maxt_s),
	    src->queue != NULL ? ", bundle " : "",
	    src->queue != NULL ? src->bundle.name : "");
}

/* No reply is signed without a valid delegation; the responder counts why.
 * True when that is news. */
static bool
give_up(struct identity_source *src)
{
	bool was = src->keys->now.usable;

	if (!src->told_unusable)
		log_error("identity %s: no delegation is valid now; requests "
			  "for it are not answered",
		    src->name);
	src->told_unusable = true;
	sodium_memzero(&src->keys->now, sizeof src->keys->now);
	return was;
}

/* An overlap longer than half of the life would renew without end. */
static bool
key_due(const struct identity_source *src, const struct identity_settings *s,
    uint64_t now_s)
{
	const struct response_key *k = &src->keys->now;
	uint64_t half = s->delegation_s / 2;
	uint64_t overlap = s->overlap_s < half ? s->overlap_s : half;

	/* in_window() is also false after the clock was stepped back */
	return !in_window(k, now_s) || k->delegation.maxt_s - now_s <= overlap;
}

static int
make_key(struct identity_source *src, const struct identity_settings *s,
    uint64_t now_s)
{
	struct response_key *k = &src->keys->fresh;
	uint64_t mint_s = now_s > s->backdate_s ? now_s - s->backdate_s : 0;
	uint8_t public[CERT_PUBLIC_LEN];
	char why[FILE_WHY_LEN];

	crypto_sign_keypair(public, k->online_secret);
	if (keyholder_delegate(src->holder, src->slot, public, mint_s,
		now_s + s->delegation_s, &k->delegation, why,
		sizeof why) != 0) {
		sodium_memzero(k, sizeof *k);
		log_error("identity %s: no new delegation: %s", src->name, why);
		return -1;
	}
	k->usable = true;
	return 0;
}

static bool
refresh_key(struct identity_source *src, const struct identity_settings *s,
    uint64_t now_s)
{
	uint64_t ms = clock_monotonic_ms();

	if (!key_due(src, s, now_s))
		return false;
	if (ms >= src->next_try_ms) {
		src->next_try_ms = ms + RETRY_MS;
		if (make_key(src, s, now_s) == 0) {
			src->next_try_ms = 0;
			adopt(src);
			return true;
		}
	}
	return in_window(&src->keys->now, now_s) ? false : give_up(src);
}

/* In good time before the last bundle ends, once a day. */
static void
warn(struct identity_source *src, const struct identity_settings *s,
    uint64_t now_s)
{
	char at[CLOCK_RFC3339_LEN], again[CLOCK_RFC3339_LEN];
	uint64_t next_s, ms = clock_monotonic_ms();
	uint64_t end_s = bundlequeue_end(src->queue, now_s, &next_s);

	if (end_s == now_s)
		return; /* nothing is valid: give_up tells that */
	if (end_s - now_s > s->warn_s) {
		src->next_warning_ms = 0;
		return;
	}
	if (ms < src->next_warning_ms)
		return;
	src->next_warning_ms = ms + WARNING_MS;
	clock_rfc3339(at, end_s);
	if (next_s != 0)
		log_warning("identity %s: the bundles in %s leave a gap from "
			    "%s to %s",
		    src->name, src->path, at, clock_rfc3339(again, next_s));
	else
		log_warning("identity %s: the last bundle in %s ends at %s; "
			    "add new ones (roughtime-keys delegate)",
		    src->name, src->path, at);
}

static void
rescan(struct identity_source *src)
{
	uint64_t ms = clock_monotonic_ms();
	char why[FILE_WHY_LEN];

	if (ms < src->next_scan_ms)
		return;
	src->next_scan_ms = ms + SCAN_MS;
	if (bundlequeue_scan(src->queue, why, sizeof why) < 0)
		log_error("identity %s: %s (read as uid %ld, whose the "
			  "directory and its bundles must be)",
		    src->name, why, (long)geteuid());
}

/* Each turn of the loop takes a bundle or puts one out of the choice. */
static bool
refresh_bundle(struct identity_source *src, uint64_t now_s)
{
	const struct bundlequeue_entry *e;
	char why[FILE_WHY_LEN];

	while ((e = bundlequeue_choose(src->queue, now_s)) != NULL) {
		if (src->keys->now.usable && bundlequeue_same(e, &src->bundle))
			return false;
		if (bundlequeue_take(src->queue, e, &src->keys->fresh, why,
			sizeof why) == 0) {
			src->bundle = *e;
			adopt(src);
			return true;
		}
		log_warning("identity %s: %s", src->name, why);
	}
	return give_up(src);
}

bool
source_refresh(struct identity_source *src, const struct identity_settings *s,
    uint64_t now_s)
{
	bool changed;

	if (src->queue == NULL)
		return refresh_key(src, s, now_s);
	rescan(src);
	changed = refresh_bundle(src, now_s);
	warn(src, s, now_s);
	return changed;
}

void
source_describe(const struct identity_source *src)
{
	char key[sodium_base64_ENCODED_LEN(
	    CERT_PUBLIC_LEN, sodium_base64_VARIANT_ORIGINAL)];
	char from[CLOCK_RFC3339_LEN], to[CLOCK_RFC3339_LEN];
	const struct response_key *k = &src->keys->now;

	sodium_bin2base64(key, sizeof key, src->public_key, CERT_PUBLIC_LEN,
	    sodium_base64_VARIANT_ORIGINAL);
	if (k->usable)
		log_info("identity %s: public key %s, online key from %s to "
			 "%s, %s %s",
		    src->name, key, clock_rfc3339(from, k->delegation.mint_s),
		    clock_rfc3339(to, k->delegation.maxt_s),
		    src->queue == NULL ? "key" : "bundles in", src->path);
	else
		log_info("identity %s: public key %s, no valid delegation, "
			 "%s %s",
		    src->name, key, src->queue == NULL ? "key" : "bundles in",
		    src->path);
}
