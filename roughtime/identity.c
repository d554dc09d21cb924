#include "roughtime/identity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "keys/secret.h"
#include "roughtime/hazard.h"
#include "roughtime/identity_source.h"

#define ALIGN 64u

/* What one configuration gives; a reload makes a whole new one. */
struct roster {
	struct identity_settings settings; /* `list` is not kept */
	struct identity_source *sources; /* settings.count */
	unsigned int first_slot; /* 0, or IDENTITY_MAX */
};

struct identities {
	struct hazard *snapshots; /* all that workers touch */
	struct roster roster;
	struct keyholder *holder;
	uint64_t generation;
	bool behind; /* a key changed but could not be published */
};

static size_t
aligned(size_t n)
{
	return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* Header, keys and SRV values in one piece; every part starts aligned. */
static struct identity_snapshot *
snapshot_alloc(size_t count)
{
	size_t head = aligned(sizeof(struct identity_snapshot));
	size_t keys = aligned(count * sizeof(struct response_key));
	size_t len = head + keys + aligned(count * CERT_SRV_LEN);
	uint8_t *p = secret_alloc(len);
	struct identity_snapshot *s = (void *)p;

	if (p == NULL)
		return NULL;
	memset(p, 0, len);
	s->count = count;
	s->keys = (void *)(p + head);
	s->srv = (void *)(p + head + keys);
	return s;
}

static struct identity_snapshot *
snapshot_make(const struct roster *r, uint64_t generation)
{
	struct identity_snapshot *s = snapshot_alloc(r->settings.count);

	if (s == NULL)
		return NULL;
	s->generation = generation;
	for (size_t i = 0; i < s->count; i++) {
		s->keys[i] = r->sources[i].keys->now;
		cert_srv(s->srv[i], r->sources[i].public_key);
	}
	s->policy.versions = r->settings.versions;
	s->policy.prefer_draft14 = r->settings.prefer_draft14;
	s->policy.identities = s->count;
	s->policy.srv = (const uint8_t(*)[CERT_SRV_LEN])s->srv;
	response_versions_make(&s->versions, r->settings.versions);
	return s;
}

static int
publish(struct identities *ids, const struct roster *r)
{
	struct identity_snapshot *s = snapshot_make(r, ids->generation + 1);

	if (s == NULL || hazard_publish(ids->snapshots, s) != 0) {
		log_error("identities: no memory for a snapshot: %s",
		    strerror(errno));
		secret_free(s);
		return -1;
	}
	ids->generation++;
	return 0;
}

const struct identity_snapshot *
identity_acquire(struct identities *ids, size_t w)
{
	return hazard_acquire(ids->snapshots, w);
}

void
identity_release(struct identities *ids, size_t w)
{
	hazard_release(ids->snapshots, w);
}

static void
roster_close(struct roster *r)
{
	for (size_t i = 0; r->sources != NULL && i < r->settings.count; i++)
		source_close(&r->sources[i]);
	free(r->sources);
	memset(r, 0, sizeof *r);
}

static bool
duplicate(const struct roster *r, size_t i)
{
	for (size_t j = 0; j < i; j++) {
		if (memcmp(r->sources[j].public_key, r->sources[i].public_key,
			CERT_PUBLIC_LEN) != 0)
			continue;
		log_error("identity %s: has the same long-term key as %s",
		    r->sources[i].name, r->sources[j].name);
		return true;
	}
	return false;
}

/* Opens every source, so that all faults are told; no delegation yet. */
static int
roster_open(struct roster *r, const struct identity_settings *s,
    struct keyholder *holder, unsigned int first_slot)
{
	int result = 0;

	memset(r, 0, sizeof *r);
	if (s->count == 0 || s->count > IDENTITY_MAX) {
		log_error("identities: expected 1 to %d, got %zu", IDENTITY_MAX,
		    s->count);
		return -1;
	}
	r->settings = *s;
	r->settings.list = NULL;
	r->first_slot = first_slot;
	r->sources = calloc(s->count, sizeof *r->sources);
	if (r->sources == NULL)
		return -1;
	for (size_t i = 0; i < s->count; i++)
		if (source_open(&r->sources[i], &s->list[i], holder,
			first_slot + (unsigned int)i) != 0 ||
		    duplicate(r, i))
			result = -1;
	if (result != 0)
		roster_close(r);
	return result;
}

static bool
roster_refresh(struct roster *r, uint64_t now_s)
{
	bool changed = false;

	for (size_t i = 0; i < r->settings.count; i++)
		changed |= source_refresh(&r->sources[i], &r->settings, now_s);
	return changed;
}

/* Has the identity with this long-term key a delegation now? A key that is
 * not there has: it had nothing to lose. */
static bool
had_delegation(const struct roster *old, const uint8_t *public_key)
{
	for (size_t i = 0; i < old->settings.count; i++)
		if (memcmp(old->sources[i].public_key, public_key,
			CERT_PUBLIC_LEN) == 0)
			return old->sources[i].keys->now.usable;
	return true;
}

/* refresh has told what is missing */
static bool
roster_usable(const struct roster *r, const struct roster *old)
{
	for (size_t i = 0; i < r->settings.count; i++)
		if (!r->sources[i].keys->now.usable &&
		    had_delegation(old, r->sources[i].public_key))
			return false;
	return true;
}

struct identities *
identities_new(const struct identity_settings *s, struct keyholder *holder,
    size_t workers, bool must)
{
	static const struct roster none;
	struct identities *ids = calloc(1, sizeof *ids);

	if (ids == NULL ||
	    (ids->snapshots = hazard_new(workers, secret_free)) == NULL) {
		log_error("identities: %s", strerror(errno));
		free(ids);
		return NULL;
	}
	ids->holder = holder;
	if (roster_open(&ids->roster, s, holder, 0) != 0)
		goto fail;
	roster_refresh(&ids->roster, clock_unix_s());
	if ((must && !roster_usable(&ids->roster, &none)) ||
	    publish(ids, &ids->roster) != 0)
		goto fail;
	return ids;
fail:
	identities_free(ids);
	return NULL;
}

void
identities_free(struct identities *ids)
{
	if (ids == NULL)
		return;
	hazard_free(ids->snapshots);
	roster_close(&ids->roster);
	free(ids);
}

bool
identities_tick(struct identities *ids, uint64_t unix_s)
{
	bool changed = roster_refresh(&ids->roster, unix_s);

	if (changed || ids->behind) {
		ids->behind = publish(ids, &ids->roster) != 0;
		return !ids->behind;
	}
	hazard_reclaim(ids->snapshots);
	return false;
}

int
identities_reload(struct identities *ids, const struct identity_settings *s)
{
	struct roster fresh;
	unsigned int slot = ids->roster.first_slot == 0 ? IDENTITY_MAX : 0;

	if (roster_open(&fresh, s, ids->holder, slot) != 0)
		return -1;
	roster_refresh(&fresh, clock_unix_s());
	if (!roster_usable(&fresh, &ids->roster) || publish(ids, &fresh) != 0) {
		roster_close(&fresh);
		return -1;
	}
	roster_close(&ids->roster);
	ids->roster = fresh;
	ids->behind = false;
	return 0;
}

void
identities_describe(const struct identities *ids)
{
	for (size_t i = 0; i < ids->roster.settings.count; i++)
		source_describe(&ids->roster.sources[i]);
}
