#include "roughtime/client/slots.h"

#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "roughtime/message.h"

static bool
find_nonce(struct slots *s, struct view request)
{
	struct view body = request, nonce;
	struct message m;

	if (frame_decode(request, &body) != FRAME_OK)
		body = request;
	if (message_decode(&m, body) != MESSAGE_OK ||
	    !message_get(&m, TAG_NONC, &nonce) || nonce.len < 8)
		return false;
	s->nonce_at = (size_t)(nonce.data - request.data);
	return true;
}

bool
slots_init(struct slots *s, uint32_t window, struct view request)
{
	memset(s, 0, sizeof *s);
	s->window = window;
	s->size = request.len;
	s->oldest = s->newest = SLOTS_NONE;
	s->packets = malloc((size_t)window * request.len);
	s->slots = calloc(window, sizeof *s->slots);
	s->free = calloc(window, sizeof *s->free);
	if (s->packets == NULL || s->slots == NULL || s->free == NULL ||
	    !find_nonce(s, request)) {
		slots_free(s);
		return false;
	}
	for (uint32_t i = 0; i < window; i++) {
		memcpy(slots_packet(s, i), request.data, request.len);
		s->free[s->free_count++] = window - 1 - i;
	}
	return true;
}

void
slots_free(struct slots *s)
{
	free(s->packets);
	free(s->slots);
	free(s->free);
	memset(s, 0, sizeof *s);
}

uint8_t *
slots_packet(const struct slots *s, uint32_t slot)
{
	return s->packets + (size_t)slot * s->size;
}

uint32_t
slots_take(struct slots *s, uint64_t now_ns)
{
	uint32_t i;
	struct slot *slot;
	uint8_t *nonce;

	if (s->free_count == 0)
		return SLOTS_NONE;
	i = s->free[--s->free_count];
	slot = &s->slots[i];
	*slot = (struct slot){ .sent_ns = now_ns,
		.generation = ++s->generation,
		.older = s->newest,
		.newer = SLOTS_NONE,
		.under_way = true };
	if (s->newest != SLOTS_NONE)
		s->slots[s->newest].newer = i;
	else
		s->oldest = i;
	s->newest = i;
	nonce = slots_packet(s, i) + s->nonce_at;
	wire_put32(nonce, i);
	wire_put32(nonce + 4, slot->generation);
	return i;
}

uint32_t
slots_match(const struct slots *s, const uint8_t nonce[static 8])
{
	uint32_t i = wire_get32(nonce);

	if (i >= s->window || !s->slots[i].under_way ||
	    s->slots[i].generation != wire_get32(nonce + 4))
		return SLOTS_NONE;
	return i;
}

uint32_t
slots_oldest(const struct slots *s)
{
	return s->oldest;
}

void
slots_release(struct slots *s, uint32_t i)
{
	struct slot *slot = &s->slots[i];

	if (!slot->under_way)
		return;
	slot->under_way = false;
	if (slot->older != SLOTS_NONE)
		s->slots[slot->older].newer = slot->newer;
	else
		s->oldest = slot->newer;
	if (slot->newer != SLOTS_NONE)
		s->slots[slot->newer].older = slot->older;
	else
		s->newest = slot->older;
	s->free[s->free_count++] = i;
}

uint32_t
slots_expire(struct slots *s, uint64_t before_ns)
{
	uint32_t n = 0;

	while (s->oldest != SLOTS_NONE &&
	    s->slots[s->oldest].sent_ns < before_ns) {
		slots_release(s, s->oldest);
		n++;
	}
	return n;
}

uint32_t
slots_under_way(const struct slots *s)
{
	return s->window - s->free_count;
}
