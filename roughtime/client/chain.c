#include "roughtime/client/chain.h"

#include <stdlib.h>
#include <string.h>

#include "roughtime/message.h"

static void
number_servers(struct chain_verdict *v, struct chain_link *links, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t j = 0;

		while (j < i &&
		    memcmp(links[j].public_key, links[i].public_key,
			CERT_PUBLIC_LEN) != 0)
			j++;
		links[i].server = j < i ? links[j].server : v->servers++;
	}
}

/* nonce_i = H(response_(i-1) || rand_i) */
static bool
is_linked(const struct chain_link *before, const struct chain_link *link)
{
	uint8_t want[HASH_FULL_LEN];
	struct view body, nonce;
	struct message m;

	if (frame_decode(link->request, &body) != FRAME_OK)
		body = link->request;
	if (!link->has_rand || message_decode(&m, body) != MESSAGE_OK ||
	    !message_get(&m, TAG_NONC, &nonce) ||
	    (nonce.len != 32 && nonce.len != HASH_FULL_LEN))
		return false;
	verify_chain_nonce(want, nonce.len, before->response, link->rand);
	return memcmp(want, nonce.data, nonce.len) == 0;
}

bool
chain_conflict(const struct chain_link *links, size_t i, size_t j)
{
	return links[i].fault == VERIFY_OK && links[j].fault == VERIFY_OK &&
	    !verify_causal(&links[i].result, &links[j].result);
}

static void
count_conflicts(
    struct chain_verdict *v, const struct chain_link *links, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t j = i + 1; j < n; j++) {
			size_t a = links[i].server, b = links[j].server;

			if (!chain_conflict(links, i, j))
				continue;
			if (v->conflicts++ == 0) {
				v->first_i = i;
				v->first_j = j;
			}
			v->clash[a][b] = v->clash[b][a] = true;
		}
	}
}

/* Is it consistent with more than half of all servers, itself counted? */
static bool
in_majority(const struct chain_verdict *v, size_t server)
{
	size_t agree = 0;

	for (size_t other = 0; other < v->servers; other++)
		agree += !v->clash[server][other];
	return 2 * agree > v->servers;
}

static void
name_suspects(struct chain_verdict *v)
{
	bool majority = false;

	for (size_t s = 0; s < v->servers; s++)
		majority = majority || in_majority(v, s);
	for (size_t s = 0; s < v->servers; s++) {
		v->suspect[s] =
		    v->clash[s][s] || (majority && !in_majority(v, s));
		v->suspects += v->suspect[s];
	}
}

void
chain_judge(struct chain_verdict *v, struct chain_link *links, size_t n,
    const struct verify_options *options)
{
	memset(v, 0, sizeof *v);
	number_servers(v, links, n);
	for (size_t i = 0; i < n; i++) {
		links[i].fault =
		    verify_response(&links[i].result, links[i].public_key,
			links[i].request, links[i].response, options);
		links[i].linked = i == 0 || is_linked(&links[i - 1], &links[i]);
		v->invalid += links[i].fault != VERIFY_OK;
		v->unlinked += !links[i].linked;
	}
	count_conflicts(v, links, n);
	name_suspects(v);
}

static int
by_offset(const void *a, const void *b)
{
	const struct chain_offset *x = a, *y = b;

	return x->us < y->us ? -1 : x->us > y->us;
}

struct chain_offset
chain_median(struct chain_offset *list, size_t n)
{
	struct chain_offset lower, upper;

	if (n == 0)
		return (struct chain_offset){ 0, UINT64_MAX };
	qsort(list, n, sizeof *list, by_offset);
	lower = list[(n - 1) / 2];
	upper = list[n / 2];
	return upper.uncertainty_us < lower.uncertainty_us ? upper : lower;
}

static int64_t
add(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return b > 0 ? INT64_MAX : INT64_MIN;
	return sum;
}

bool
chain_agreement(const struct chain_offset *list, size_t n, int64_t *low_us,
    int64_t *high_us)
{
	*low_us = INT64_MIN;
	*high_us = INT64_MAX;
	for (size_t i = 0; i < n; i++) {
		int64_t half = list[i].uncertainty_us > INT64_MAX
		    ? INT64_MAX
		    : (int64_t)list[i].uncertainty_us;
		int64_t low = add(list[i].us, -half);
		int64_t high = add(list[i].us, half);

		if (low > *low_us)
			*low_us = low;
		if (high < *high_us)
			*high_us = high;
	}
	return n > 0 && *low_us <= *high_us;
}
