#include "proxy/fast.h"

static const char *const clauses[FAST_WHYS] = {
	[FAST_WHY_NONE] = "nothing is in the way",
	[FAST_WHY_TCP] = "only UDP has such a path",
	[FAST_WHY_OFF] = "fast_path is off",
	[FAST_WHY_HEADER] = "proxy_protocol puts a header on each datagram",
	[FAST_WHY_TRUST] = "proxy_protocol_from reads a header of each "
			   "datagram",
	[FAST_WHY_BYTES] = "limits.bytes_per_s weighs each datagram",
	[FAST_WHY_CLIENT_BYTES] = "limits.bytes_per_s_per_prefix weighs each "
				  "datagram",
	[FAST_WHY_HINTS] = "udp counts the requests and replies of a flow",
	[FAST_WHY_TRANSPARENT] = "transparent flows have no address of this "
				 "host towards the origin",
	[FAST_WHY_LOOPBACK] = "either edges or origins are on loopback, not "
			      "both",
};

const char *
fast_why_str(enum fast_why why)
{
	return why < FAST_WHYS ? clauses[why] : "unknown";
}

/*
 * Every flow of it: what comes by an interface for loopback, or leaves from
 * there, is no packet that the stack accepts (RFC 1122, 3.2.1.3).
 */
static bool
is_half_loopback(const struct app *a)
{
	size_t here = 0, both = 0, origins = 0;

	for (size_t i = 0; i < a->edges; i++) {
		here += addr_is_loopback(&a->edge[i]);
		both += addr_is_wildcard(&a->edge[i]);
	}
	for (size_t i = 0; i < a->origins; i++)
		origins += addr_is_loopback(&a->origin[i].address);
	if (a->origins == 0)
		return false; /* a name's, not known yet */
	return (here == a->edges && origins == 0) ||
	    (here + both == 0 && origins == a->origins);
}

static bool
has_header_each(const struct app *a)
{
	return a->header != APP_HEADER_OFF && a->header != APP_HEADER_V2_FIRST;
}

enum fast_why
fast_why_not(const struct app *a)
{
	const struct {
		enum fast_why why;
		bool so;
	} rules[] = {
		{ FAST_WHY_TCP, a->proto != SOCK_UDP },
		{ FAST_WHY_OFF, a->fast_path == APP_FAST_OFF },
		{ FAST_WHY_HEADER, has_header_each(a) },
		{ FAST_WHY_TRUST, a->trusts > 0 },
		{ FAST_WHY_BYTES, a->limits.bytes_per_s > 0 },
		{ FAST_WHY_CLIENT_BYTES, a->limits.bytes_per_s_per_prefix > 0 },
		{ FAST_WHY_HINTS,
		    a->udp.requests > 0 || a->udp.responses > 0 ||
			a->udp.one_way },
		{ FAST_WHY_TRANSPARENT, a->transparent },
		{ FAST_WHY_LOOPBACK, is_half_loopback(a) },
	};

	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (rules[i].so)
			return rules[i].why;
	return FAST_WHY_NONE;
}
