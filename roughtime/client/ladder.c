#include "roughtime/client/ladder.h"

#include <math.h>
#include <string.h>

#define BIT(row) (1u << (row))
#define STAGGER_MS 200u

#define TYPED (BIT(VERSION_RFC) | BIT(VERSION_DRAFT14))
#define SECONDS                                                               \
	(BIT(VERSION_DRAFT08) | BIT(VERSION_DRAFT09) | BIT(VERSION_DRAFT10) | \
	    BIT(VERSION_DRAFT11))

static const struct rung ladder[] = {
	/* Drafts 8 to 11 know no TYPE and ignore it, so one packet reaches
	 * nearly all servers in use; also those that stumble over a request
	 * without a version of theirs. */
	{ "version 1, drafts 8 to 14", TYPED | SECONDS, true, 0 },
	{ "drafts 8 to 12", SECONDS | BIT(VERSION_DRAFT12), true,
	    1 * STAGGER_MS },
	{ "google", BIT(VERSION_GOOGLE), false, 2 * STAGGER_MS },
	{ "drafts 5 to 7",
	    BIT(VERSION_DRAFT05) | BIT(VERSION_DRAFT06) | BIT(VERSION_DRAFT07),
	    false, 3 * STAGGER_MS },
	{ "drafts 1 to 4",
	    BIT(VERSION_DRAFT01) | BIT(VERSION_DRAFT02) | BIT(VERSION_DRAFT03) |
		BIT(VERSION_DRAFT04),
	    false, 4 * STAGGER_MS },
	/* For readers that choke on the longer list of the first. */
	{ "version 1, draft 14", TYPED, true, 5 * STAGGER_MS },
	/*
	 * A server that holds another key must stay silent when it is asked
	 * for ours (RFC 10049 section 5.2). This makes it talk, so that a
	 * wrong key can be told from a server that is down.
	 */
	{ "version 1, drafts 8 to 14, no SRV", TYPED | SECONDS, false,
	    6 * STAGGER_MS },
};

#define RUNGS (sizeof ladder / sizeof ladder[0])
#define NO_SRV 1 /* the last rungs, of use only with a key */

size_t
ladder_default(
    struct rung out[static LADDER_MAX], bool with_key, bool google_first)
{
	size_t n = with_key ? RUNGS : RUNGS - NO_SRV;

	memcpy(out, ladder, n * sizeof out[0]);
	for (size_t i = 0; google_first && i < n; i++)
		out[i].delay_ms = out[i].rows == BIT(VERSION_GOOGLE)
		    ? 0
		    : out[i].delay_ms + STAGGER_MS;
	return n;
}

size_t
ladder_no_srv(struct rung out[static LADDER_MAX])
{
	memcpy(out, &ladder[RUNGS - NO_SRV], NO_SRV * sizeof out[0]);
	return NO_SRV;
}

size_t
ladder_rows(struct rung out[static LADDER_MAX], uint32_t rows)
{
	size_t n = 0;

	for (unsigned int row = VERSION_ROWS; row-- > 0;) {
		if (!(rows & BIT(row)))
			continue;
		out[n] = (struct rung){ version_table[row].name, BIT(row),
			row >= VERSION_DRAFT10, (uint32_t)n * 20 };
		n++;
	}
	return n;
}

uint32_t
ladder_parse(const char *text)
{
	uint32_t rows = 0;

	while (*text != '\0') {
		size_t len = strcspn(text, ",");
		const struct version *v;
		char word[32];

		if (len == 0 || len >= sizeof word)
			return 0;
		memcpy(word, text, len);
		word[len] = '\0';
		v = version_by_name(word);
		if (v == NULL)
			return 0;
		rows |= BIT(v->row);
		text += len;
		if (*text == ',' && *++text == '\0')
			return 0;
	}
	return rows;
}

bool
ladder_on_tcp(const struct rung *rung)
{
	return !(rung->rows & BIT(VERSION_GOOGLE));
}

uint64_t
ladder_backoff_ns(unsigned int failures)
{
	double s = failures > 1 ? pow(1.5, failures - 1) : 1;

	return (uint64_t)((s < 86400 ? s : 86400) * 1e9);
}
