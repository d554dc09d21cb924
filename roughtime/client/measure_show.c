#include "roughtime/client/measure_show.h"

#include <sodium.h>
#include <stdio.h>

#include "roughtime/client/command.h"
#include "roughtime/client/show.h"

static const struct measured *
server_of(const struct measurement *m, size_t server)
{
	for (size_t i = 0; i < m->n_asked; i++) {
		const struct measured *s = &m->asked[i];

		for (int r = 0; r < MEASURE_ROUNDS; r++) {
			if (s->reply[r] >= 0 &&
			    m->links[s->reply[r]].server == server)
				return s;
		}
	}
	return NULL;
}

static void
show_reply(const struct measurement *m, const struct measured *s, int round)
{
	const struct attempt_answer *a;
	struct offset o;
	char at[SHOW_LEN], rtt[SHOW_LEN], uncertain[SHOW_LEN];

	if (s->reply[round] < 0) {
		printf("%d  %-28s  no valid reply: %s\n", round + 1,
		    s->entry->name, s->why);
		return;
	}
	a = &m->answers[s->reply[round]];
	o = show_offset(a);
	printf("%d  %-28s  %s  %s %s, round trip %s, ", round + 1,
	    s->entry->name, show_time(at, a->result.midpoint_us),
	    a->result.version->name, s->proto == SOCK_TCP ? "TCP" : "UDP",
	    show_ns(rtt, a->round_trip_ns));
	if (o.verdict == LOCAL_UNKNOWN)
		puts("claims no usable accuracy");
	else
		printf("offset %+.6f s +- %s\n", (double)o.us / 1e6,
		    show_span(uncertain, o.uncertainty_us));
}

static void
show_summary(const struct measurement *m)
{
	char uncertain[SHOW_LEN];

	/* without a majority the middle one may be the liar's */
	if (m->verdict.conflicts > 0 && m->verdict.suspects == 0)
		return;
	if (m->has_median)
		printf("median offset of the local clock: %+.6f s +- %s\n",
		    (double)m->median.us / 1e6,
		    show_span(uncertain, m->median.uncertainty_us));
	if (m->has_agreement)
		printf("%s: the true offset is between %+.6f s and %+.6f s\n",
		    m->verdict.suspects > 0 ? "the majority agrees"
					    : "all agree",
		    (double)m->low_us / 1e6, (double)m->high_us / 1e6);
	else if (m->has_median)
		puts("no offset fits all of them");
}

static void
show_verdict(const struct measurement *m)
{
	const struct chain_verdict *v = &m->verdict;
	const struct measured *one, *two;

	if (v->conflicts == 0 && measure_status(m) != COMMAND_GOOD)
		printf("too few servers answered in both rounds: %zu of %zu\n",
		    m->complete, m->wanted);
	else if (v->conflicts == 0)
		printf("consistent: %zu servers, %zu replies, every pair in "
		       "causal order\n",
		    v->servers, m->count);
	if (v->conflicts == 0)
		return;
	one = server_of(m, m->links[v->first_i].server);
	two = server_of(m, m->links[v->first_j].server);
	printf("SERVERS DISAGREE: %zu pairs of replies cannot both be true, "
	       "for one %s and %s\n",
	    v->conflicts, one->entry->name, two->entry->name);
	for (size_t s = 0; s < v->servers; s++) {
		if (v->suspect[s])
			printf("in conflict with the majority: %s\n",
			    server_of(m, s)->entry->name);
	}
	if (v->suspects == 0)
		puts("no majority: which of them is wrong cannot be told");
}

void
measure_show(const struct measurement *m, const struct serverlist *list,
    const char *report)
{
	for (int r = 0; r < MEASURE_ROUNDS; r++) {
		for (size_t i = 0; i < m->n_asked; i++) {
			if (r == 0 || m->asked[i].chosen)
				show_reply(m, &m->asked[i], r);
		}
	}
	if (m->wanted < MEASURE_SERVERS_MIN)
		printf("only %zu servers: fewer than three cannot outvote a "
		       "liar\n",
		    m->wanted);
	show_summary(m);
	show_verdict(m);
	if (report != NULL)
		printf("report written to %s\n", report);
	if (report != NULL && m->verdict.conflicts > 0 &&
	    list->reports[0] != '\0')
		printf("the list asks for such reports at %s\n", list->reports);
}

static json_t *
server_json(const struct measurement *m, const struct measured *s)
{
	char key[64], peer[ADDR_STR_LEN];
	json_t *rounds = json_array(), *o;

	for (int r = 0; r < MEASURE_ROUNDS; r++) {
		struct attempt a = { .peer = s->peer,
			.seen = { .proto = s->proto, .format = s->rung.name } };

		if (s->reply[r] < 0) {
			json_array_append_new(rounds, json_null());
			continue;
		}
		a.answer = m->answers[s->reply[r]];
		json_array_append_new(rounds,
		    show_answer_json(addr_format(peer, &s->peer), &a, true));
	}
	sodium_bin2base64(key, sizeof key, s->entry->public_key,
	    CERT_PUBLIC_LEN, sodium_base64_VARIANT_ORIGINAL);
	o = json_pack("{s:s, s:s, s:o}", "name", s->entry->name, "public_key",
	    key, "rounds", rounds);
	if (s->why[0] != '\0')
		json_object_set_new(o, "failure", json_string(s->why));
	return o;
}

static json_t *
conflicts_json(const struct measurement *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->count; i++) {
		for (size_t j = i + 1; j < m->count; j++) {
			if (chain_conflict(m->links, i, j))
				json_array_append_new(list,
				    json_pack("[I, I]", (json_int_t)i + 1,
					(json_int_t)j + 1));
		}
	}
	return list;
}

void
measure_show_json(const struct measurement *m, const struct serverlist *list,
    const char *report)
{
	json_t *servers = json_array(), *suspects = json_array(), *root;

	for (size_t i = 0; i < m->n_asked; i++)
		json_array_append_new(servers, server_json(m, &m->asked[i]));
	for (size_t s = 0; s < m->verdict.servers; s++) {
		if (m->verdict.suspect[s])
			json_array_append_new(suspects,
			    json_string(server_of(m, s)->entry->name));
	}
	root = json_pack("{s:b, s:b, s:I, s:I, s:o, s:o, s:o, s:s?, s:s?}",
	    "consistent", measure_status(m) == COMMAND_GOOD, "disagreement",
	    m->verdict.conflicts > 0, "servers_wanted", (json_int_t)m->wanted,
	    "servers_complete", (json_int_t)m->complete, "servers", servers,
	    "conflicts", conflicts_json(m), "suspects", suspects, "report",
	    report, "reports_url",
	    list->reports[0] != '\0' ? list->reports : NULL);
	if (m->has_median &&
	    (m->verdict.conflicts == 0 || m->verdict.suspects > 0))
		json_object_set_new(root, "median_offset_s",
		    json_real((double)m->median.us / 1e6));
	if (m->has_agreement)
		json_object_set_new(root, "agreement_s",
		    json_pack("{s:f, s:f}", "low", (double)m->low_us / 1e6,
			"high", (double)m->high_us / 1e6));
	command_print_json(root);
}
