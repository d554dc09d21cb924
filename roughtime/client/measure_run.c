#include "roughtime/client/measure.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roughtime/client/command.h"
#include "roughtime/client/show.h"

/*
 * An order of n servers, by Fisher and Yates: random, or the seed's. The
 * seeded stream is for tests; its modulo has a bias of n / 2^32, which a
 * choice of servers can bear.
 */
static void
shuffle(size_t *order, size_t n, const struct measure_options *o)
{
	uint32_t stream[SERVERLIST_MAX] = { 0 };

	if (o->seeded)
		randombytes_buf_deterministic(stream, sizeof stream, o->seed);
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	for (size_t i = n; i > 1; i--) {
		uint32_t bound = (uint32_t)i;
		size_t j = o->seeded ? stream[i - 1] % bound
				     : randombytes_uniform(bound);
		size_t swap = order[i - 1];

		order[i - 1] = order[j];
		order[j] = swap;
	}
}

/* Round one: the ladder over all addresses that the list names. */
static bool
plan_ladder(
    struct exchange *x, struct measured *s, const struct measure_options *o)
{
	struct rung rungs[LADDER_MAX];
	size_t n = ladder_default(rungs, true, s->entry->google);
	const char *why = "no address";

	for (size_t i = 0; i < s->entry->n_addrs; i++) {
		const struct serverlist_address *a = &s->entry->addrs[i];
		struct addr addrs[TARGET_ADDRS_MAX];
		size_t k = target_resolve(
		    &a->target, o->family, addrs, TARGET_ADDRS_MAX, &why);

		exchange_plan(x, rungs, n, 1u << a->proto, addrs, k);
	}
	if (x->count == 0)
		snprintf(s->why, sizeof s->why, "%s", why);
	return x->count > 0;
}

/* Round two: what worked in round one. */
static bool
plan_known(struct exchange *x, const struct measured *s)
{
	exchange_plan(x, &s->rung, 1, 1u << s->proto, &s->peer, 1);
	return true;
}

static void
note_failure(struct measured *s, const struct exchange *x)
{
	char text[DIAGNOSE_LEN];
	enum diagnosis d = exchange_explain(x, text);

	s->exit = diagnosis_is_invalid(d) ? COMMAND_INVALID : COMMAND_NO_ANSWER;
	snprintf(s->why, sizeof s->why, "%.*s", (int)strcspn(text, "\n"), text);
}

/* Puts the winner's reply at the end of the chain. */
static void
append(struct measurement *m, struct measured *s, struct attempt *winner,
    int round, bool chained)
{
	struct attempt_answer *answer = &m->answers[m->count];
	struct chain_link *link = &m->links[m->count];

	*answer = winner->answer;
	memset(&winner->answer, 0, sizeof winner->answer);
	memcpy(link->public_key, s->entry->public_key, CERT_PUBLIC_LEN);
	link->request = (struct view){ answer->request, answer->request_len };
	link->response = (struct view){ answer->reply, answer->reply_len };
	link->has_rand = chained;
	memcpy(link->rand, answer->rand, sizeof link->rand);
	s->rung = winner->rung;
	s->rung.delay_ms = 0;
	s->proto = winner->seen.proto;
	s->peer = winner->peer;
	s->reply[round] = (int)m->count++;
}

static bool
ask(struct measurement *m, struct measured *s, int round,
    const struct measure_options *o)
{
	struct exchange x = { .timeout_ns = o->timeout_ns,
		.tries = ~0u,
		.options = { .public_key = s->entry->public_key,
		    .verify = o->verify,
		    .size = ATTEMPT_SIZE } };
	struct attempt *winner = NULL;
	bool chained = m->count > 0;

	if (chained)
		x.options.previous = m->links[m->count - 1].response;
	s->exit = COMMAND_NO_ANSWER;
	if (round > 0 ? plan_known(&x, s) : plan_ladder(&x, s, o)) {
		winner = exchange_run(&x);
		if (winner != NULL)
			append(m, s, winner, round, chained);
		else
			note_failure(s, &x);
	}
	exchange_free(&x);
	return winner != NULL;
}

/* One offset for each server with a usable clock: its least uncertain. */
static bool
best_offset(const struct measurement *m, const struct measured *s,
    struct chain_offset *best)
{
	bool found = false;

	for (int r = 0; r < MEASURE_ROUNDS; r++) {
		struct offset o;

		if (s->reply[r] < 0)
			continue;
		o = show_offset(&m->answers[s->reply[r]]);
		if (o.verdict == LOCAL_UNKNOWN ||
		    (found && o.uncertainty_us >= best->uncertainty_us))
			continue;
		*best = (struct chain_offset){ o.us, o.uncertainty_us };
		found = true;
	}
	return found;
}

static void
summarize(struct measurement *m)
{
	struct chain_offset all[SERVERLIST_MAX], honest[SERVERLIST_MAX];
	size_t n_all = 0, n_honest = 0;

	for (size_t i = 0; i < m->n_asked; i++) {
		const struct measured *s = &m->asked[i];
		struct chain_offset o;

		m->complete += s->reply[0] >= 0 && s->reply[1] >= 0;
		if (s->reply[0] < 0 || !best_offset(m, s, &o))
			continue;
		all[n_all++] = o;
		if (!m->verdict.suspect[m->links[s->reply[0]].server])
			honest[n_honest++] = o;
	}
	m->has_median = n_all > 0;
	m->median = chain_median(all, n_all);
	m->has_agreement =
	    chain_agreement(honest, n_honest, &m->low_us, &m->high_us);
}

void
measure_run(struct measurement *m, const struct serverlist *list,
    const struct measure_options *o)
{
	size_t order[SERVERLIST_MAX], answered = 0;

	memset(m, 0, sizeof *m);
	m->wanted = o->servers < list->count ? o->servers : list->count;
	shuffle(order, list->count, o);
	for (size_t i = 0; i < list->count && answered < m->wanted; i++) {
		struct measured *s = &m->asked[m->n_asked++];

		s->entry = &list->entries[order[i]];
		s->reply[0] = s->reply[1] = -1;
		s->chosen = ask(m, s, 0, o);
		answered += s->chosen;
	}
	for (size_t i = 0; i < m->n_asked; i++) {
		if (m->asked[i].chosen)
			(void)ask(m, &m->asked[i], 1, o);
	}
	chain_judge(&m->verdict, m->links, m->count, &o->verify);
	summarize(m);
}

int
measure_status(const struct measurement *m)
{
	size_t need =
	    m->wanted < MEASURE_SERVERS_MIN ? m->wanted : MEASURE_SERVERS_MIN;
	int worst = COMMAND_NO_ANSWER;

	/* a proof is a proof, whatever else failed */
	if (m->verdict.conflicts > 0)
		return COMMAND_DISAGREE;
	if (m->complete >= need)
		return COMMAND_GOOD;
	for (size_t i = 0; i < m->n_asked; i++) {
		const struct measured *s = &m->asked[i];

		if ((s->reply[0] < 0 || s->reply[1] < 0) &&
		    s->exit == COMMAND_INVALID)
			worst = COMMAND_INVALID;
	}
	return worst;
}

void
measure_free(struct measurement *m)
{
	for (size_t i = 0; i < m->count; i++)
		attempt_answer_free(&m->answers[i]);
}
