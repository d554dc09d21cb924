/* Whether a look is worth while: asked often, so it takes little. */
#include "portshare/watch.h"

#define LOOK_CAP 256 /* sockets of one port */

static uint64_t
stir(uint64_t mark, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++)
		mark = (mark ^ b[i]) * 0x100000001b3u; /* FNV-1a */
	return mark;
}

static int
stir_port(uint64_t *mark, const struct watch_place *p)
{
	static struct portscan_socket found[LOOK_CAP];
	int n = portscan_bare(
	    p->proto, addr_port(&p->address), false, found, LOOK_CAP);

	for (int i = 0; i < n && i < LOOK_CAP; i++)
		if (found[i].listening)
			*mark = stir(
			    *mark, &found[i].cookie, sizeof found[i].cookie);
	return n < 0 ? -1 : 0;
}

static void
stir_programs(uint64_t *mark, const struct watch *w)
{
	static struct chosen c;
	uint32_t ids[CHOSEN_PROGRAMS_MAX];
	int n = chosen_ids(ids);

	*mark = stir(*mark, &n, sizeof n);
	if (n <= 0)
		return;
	*mark = stir(*mark, ids, (size_t)n * sizeof *ids);
	for (size_t i = 0; i < w->places; i++) {
		const struct chosen_program *p;

		chosen_look(&c, w->place[i].proto, &w->place[i].address);
		p = chosen_decider(&c);
		if (p != NULL)
			*mark =
			    stir(*mark, p->cookies, p->n * sizeof *p->cookies);
	}
}

uint64_t
watch_mark(const struct watch *w)
{
	uint64_t mark = 0xcbf29ce484222325u;

	for (size_t i = 0; i < w->places; i++) {
		size_t k = 0;

		while (k < i && !watch_same_port(&w->place[k], &w->place[i]))
			k++;
		if (k == i && stir_port(&mark, &w->place[i]) < 0)
			return 0;
	}
	stir_programs(&mark, w);
	return mark;
}
