#include "roughtime/client/diagnose.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *
diagnosis_str(enum diagnosis d)
{
	static const char *const words[DIAGNOSES] = {
		[DIAGNOSIS_NONE] = "nothing-asked",
		[DIAGNOSIS_UNREACHABLE] = "unreachable",
		[DIAGNOSIS_REFUSED] = "refused",
		[DIAGNOSIS_SILENT] = "no-answer",
		[DIAGNOSIS_CLOSED] = "closed",
		[DIAGNOSIS_NOT_ROUGHTIME] = "not-roughtime",
		[DIAGNOSIS_STALE] = "stale",
		[DIAGNOSIS_WRONG_KEY] = "wrong-key",
		[DIAGNOSIS_SIGNATURE] = "invalid-signature",
		[DIAGNOSIS_VERSION] = "version",
		[DIAGNOSIS_INVALID] = "invalid",
	};

	return (unsigned int)d < DIAGNOSES ? words[d] : "?";
}

bool
diagnosis_is_invalid(enum diagnosis d)
{
	return d >= DIAGNOSIS_STALE && d < DIAGNOSES;
}

struct text {
	char *at;
	size_t left;
};

__attribute__((format(printf, 2, 3))) static void
say(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->at, t->left, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < t->left) {
		t->at += n;
		t->left -= (size_t)n;
	}
}

/* Sums over the attempts of one transport, or of both. */
struct sums {
	unsigned int attempts, sent, refused, failed, closed, stale, invalid;
	unsigned int srv;
	int error;
};

static struct sums
add_up(const struct attempt_seen *seen, size_t n, unsigned int protos)
{
	struct sums s = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (!(protos & 1u << seen[i].proto))
			continue;
		s.attempts++;
		s.sent += seen[i].sent;
		s.refused += seen[i].refused;
		s.failed += seen[i].failed;
		s.closed += seen[i].closed;
		s.stale += seen[i].stale;
		s.invalid += seen[i].invalid;
		s.srv += seen[i].srv;
		if (seen[i].failed > 0)
			s.error = seen[i].error;
	}
	return s;
}

/* How much a fault tells: a wrong key is better news than broken bytes. */
static int
weight(enum verify_fault fault)
{
	switch (fault) {
	case VERIFY_CERT_SIGNATURE:
		return 6;
	case VERIFY_SIGNATURE:
		return 5;
	case VERIFY_WINDOW:
	case VERIFY_RADIUS:
	case VERIFY_ROOT:
	case VERIFY_PATH:
		return 4;
	case VERIFY_VERSION_NOT_OFFERED:
	case VERIFY_VERSION_UNKNOWN:
	case VERIFY_VERSION_NOT_LISTED:
		return 3;
	case VERIFY_FRAME:
		return 1;
	default:
		return 2;
	}
}

static const struct attempt_seen *
most_telling(const struct attempt_seen *seen, size_t n)
{
	const struct attempt_seen *best = NULL;

	for (size_t i = 0; i < n; i++) {
		if (seen[i].invalid > 0 &&
		    (best == NULL ||
			weight(seen[i].fault) > weight(best->fault)))
			best = &seen[i];
	}
	return best;
}

static const char *
proto_name(enum sock_proto proto)
{
	return proto == SOCK_TCP ? "TCP" : "UDP";
}

static enum diagnosis
explain_invalid(struct text *t, const struct attempt_seen *s)
{
	enum verify_fault fault = s->fault;

	say(t, "the server answers, but %s (%s; asked for %s over %s).\n",
	    verify_fault_explain(fault), verify_fault_str(fault), s->format,
	    proto_name(s->proto));
	switch (weight(fault)) {
	case 6:
		if (s->capital_t) {
			say(t,
			    "It is a version 1 reply signed with the contexts "
			    "of the drafts: --compat rfc10049-capital-t "
			    "accepts it.\n");
			return DIAGNOSIS_WRONG_KEY;
		}
		say(t,
		    "Check the public key with whoever runs the server. If "
		    "the key is right, somebody else is answering.\n");
		return DIAGNOSIS_WRONG_KEY;
	case 5:
		say(t,
		    "A server may spoil a small part of its replies on "
		    "purpose (RFC 10049 section 7); this one did it every "
		    "time, so its time cannot be trusted.\n");
		return DIAGNOSIS_SIGNATURE;
	case 3:
		return DIAGNOSIS_VERSION;
	case 1:
		return DIAGNOSIS_NOT_ROUGHTIME;
	default:
		return DIAGNOSIS_INVALID;
	}
}

/* "drafts 8 to 12; google; …", each once. */
static void
list_formats(struct text *t, const struct attempt_seen *seen, size_t n,
    enum sock_proto proto)
{
	const char *comma = "";

	for (size_t i = 0; i < n; i++) {
		bool repeated = seen[i].proto != proto || seen[i].sent == 0;

		for (size_t j = 0; j < i && !repeated; j++)
			repeated = seen[j].proto == proto && seen[j].sent > 0 &&
			    strcmp(seen[j].format, seen[i].format) == 0;
		if (repeated)
			continue;
		say(t, "%s%s", comma, seen[i].format);
		comma = "; ";
	}
}

static void
explain_proto(struct text *t, const struct attempt_seen *seen, size_t n,
    enum sock_proto proto)
{
	struct sums s = add_up(seen, n, 1u << proto);
	const char *name = proto_name(proto);

	if (s.attempts == 0)
		return;
	if (s.refused > 0 && 2 * s.refused >= s.sent && proto == SOCK_UDP)
		say(t, "%s: refused: nobody listens on that port (ICMP).\n",
		    name);
	else if (s.refused > 0 && proto == SOCK_TCP)
		say(t, "%s: connection refused.\n", name);
	else if (s.closed > 0)
		say(t,
		    "%s: the server closed the connection without a "
		    "reply.\n",
		    name);
	else if (s.failed > 0)
		say(t, "%s: %s.\n", name, strerror(s.error));
	else if (s.sent == 0)
		say(t, "%s: the connection was not established in time.\n",
		    name);
	if (s.sent > 0 && s.sent > s.refused) {
		say(t, "%s: %u requests without a valid reply, offering ", name,
		    s.sent);
		list_formats(t, seen, n, proto);
		say(t, ".\n");
	}
	if (s.stale > 0)
		say(t, "%s: %u replies belonged to other requests.\n", name,
		    s.stale);
}

static enum diagnosis
classify(const struct attempt_seen *seen, size_t n)
{
	struct sums all = add_up(seen, n, ~0u);
	struct sums udp = add_up(seen, n, 1u << SOCK_UDP);

	if (all.attempts == 0)
		return DIAGNOSIS_NONE;
	if (all.stale > 0)
		return DIAGNOSIS_STALE;
	if (all.closed > 0 && udp.sent == udp.refused)
		return DIAGNOSIS_CLOSED;
	if (all.sent == 0 && all.refused == 0 && all.failed > 0)
		return DIAGNOSIS_UNREACHABLE;
	/* a single refusal may be that of a server just starting */
	if (all.refused > 0 &&
	    (udp.attempts == 0 ||
		(udp.refused > 0 && 2 * udp.refused >= udp.sent)))
		return DIAGNOSIS_REFUSED;
	return DIAGNOSIS_SILENT;
}

static bool
one_format(const struct attempt_seen *seen, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if (strcmp(seen[i].format, seen[0].format) != 0)
			return false;
	}
	return n > 0;
}

static void
advise(struct text *t, enum diagnosis d, bool srv, bool alone)
{
	if (d == DIAGNOSIS_REFUSED)
		say(t, "Wrong port, or the server is not running there.\n");
	if (d == DIAGNOSIS_UNREACHABLE)
		say(t, "This machine has no way to that address.\n");
	if (d != DIAGNOSIS_SILENT)
		return;
	say(t,
	    "Silence has many reasons: a firewall on the way, another port, "
	    "a server that refuses to answer (its clock is not synchronised, "
	    "a rate limit), or no Roughtime server at all.\n");
	if (alone)
		say(t,
		    "Only one version was asked for, and a server ignores "
		    "versions that it does not speak.\n");
	if (srv)
		say(t,
		    "A server with several long-term keys stays silent when "
		    "asked for a key it does not have: check the key too.\n");
}

enum diagnosis
diagnose(
    char text[static DIAGNOSE_LEN], const struct attempt_seen *seen, size_t n)
{
	struct text t = { text, DIAGNOSE_LEN };
	const struct attempt_seen *telling = most_telling(seen, n);
	enum diagnosis d;

	text[0] = '\0';
	if (telling != NULL)
		return explain_invalid(&t, telling);
	d = classify(seen, n);
	if (d == DIAGNOSIS_NONE) {
		say(&t, "nothing was asked.\n");
		return d;
	}
	explain_proto(&t, seen, n, SOCK_UDP);
	explain_proto(&t, seen, n, SOCK_TCP);
	advise(&t, d, add_up(seen, n, ~0u).srv > 0, one_format(seen, n));
	return d;
}
