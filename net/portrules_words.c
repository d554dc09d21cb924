/* The model's names and sentences. */
#include "net/portrules.h"

struct words {
	const char *word, *sentence;
};

#define PICK(table, i)                                                 \
	((size_t)(i) < sizeof(table) / sizeof *(table) ? &(table)[(i)] \
						       : &unknown)

static const struct words unknown = { "?", "?" };

static const struct words rules[] = {
	[PORTRULES_FREE] = { "free", "nobody else holds this port" },
	[PORTRULES_OTHER_PORT] = { "other-port",
	    "nobody holds this port of this protocol" },
	[PORTRULES_OTHER_NETNS] = { "other-netns",
	    "the other socket is in another network namespace" },
	[PORTRULES_OTHER_DEVICE] = { "other-device",
	    "the two are bound to different devices" },
	[PORTRULES_OTHER_ADDRESS] = { "other-address",
	    "the addresses do not overlap" },
	[PORTRULES_V6ONLY_APART] = { "v6only",
	    "the :: socket is IPV6_V6ONLY and leaves IPv4 to others" },
	[PORTRULES_BOTH_REUSEADDR] = { "both-reuseaddr",
	    "both carry SO_REUSEADDR, and UDP does not look at the owner" },
	[PORTRULES_BOTH_REUSEPORT] = { "both-reuseport",
	    "both carry SO_REUSEPORT and were created by one user" },
	[PORTRULES_NOT_LISTENING] = { "not-listening",
	    "both carry SO_REUSEADDR and the older is not in LISTEN" },
	[PORTRULES_REMEMBERED] = { "remembered",
	    "the port remembers SO_REUSEPORT of an earlier bind by this user, "
	    "though the older socket's flag is off now" },
	[PORTRULES_CROWD] = { "crowd",
	    "with more than ten sockets on the port this kernel does not see "
	    "that the wildcard overlaps them" },
	[PORTRULES_NO_FLAG] = { "no-flag",
	    "the addresses overlap and neither socket carries a sharing "
	    "flag" },
	[PORTRULES_OLDER_LACKS_FLAG] = { "older-lacks-flag",
	    "the addresses overlap and the holder carries no sharing flag; "
	    "both must" },
	[PORTRULES_NEWER_LACKS_FLAG] = { "newer-lacks-flag",
	    "the addresses overlap and the newcomer carries no sharing flag; "
	    "both must" },
	[PORTRULES_FLAGS_DIFFER] = { "flags-differ",
	    "the addresses overlap and the two carry different sharing flags: "
	    "the same one must be on both" },
	[PORTRULES_OTHER_UID] = { "other-uid",
	    "both carry SO_REUSEPORT, but another user created the holder's "
	    "socket" },
	[PORTRULES_LISTENING] = { "listening",
	    "the holder is in LISTEN: for TCP SO_REUSEADDR excuses only what "
	    "does not listen" },
	[PORTRULES_MAPPED_V6ONLY] = { "mapped-v6only",
	    "an IPv4-mapped address cannot be bound on an IPV6_V6ONLY "
	    "socket" },
	[PORTRULES_ALREADY_BOUND] = { "already-bound",
	    "a socket is bound once" },
};

static const struct words fixes[] = {
	[PORTRULES_FIX_NONE] = { "none", "nothing to change" },
	[PORTRULES_FIX_NEWER_REUSEADDR] = { "newcomer-reuseaddr",
	    "set SO_REUSEADDR on the newcomer before its bind; the holder has "
	    "it" },
	[PORTRULES_FIX_NEWER_REUSEPORT] = { "newcomer-reuseport",
	    "set SO_REUSEPORT on the newcomer before its bind; the holder has "
	    "it, and the user is the same" },
	[PORTRULES_FIX_NEWER_V6ONLY] = { "newcomer-v6only",
	    "set IPV6_V6ONLY on the newcomer: only its IPv4 half is in the "
	    "way" },
	[PORTRULES_FIX_NEWER_NOT_V6ONLY] = { "newcomer-not-v6only",
	    "clear IPV6_V6ONLY on the newcomer, or bind an AF_INET socket" },
	[PORTRULES_FIX_OLDER_REUSEADDR] = { "holder-reuseaddr",
	    "set SO_REUSEADDR on the holder's socket; the flag is read live, "
	    "so a running server can be mended" },
	[PORTRULES_FIX_OLDER_REUSEPORT] = { "holder-reuseport",
	    "set SO_REUSEPORT on the holder's socket; the flag is read live, "
	    "so a running server can be mended" },
	[PORTRULES_FIX_BOTH_REUSEADDR] = { "both-reuseaddr",
	    "set SO_REUSEADDR on both sockets" },
	[PORTRULES_FIX_BOTH_REUSEPORT] = { "both-reuseport",
	    "set SO_REUSEPORT on both sockets; the user is the same" },
	[PORTRULES_FIX_SAME_UID] = { "same-uid",
	    "create the newcomer's socket as the holder's user (before rights "
	    "are dropped): both carry SO_REUSEPORT" },
	[PORTRULES_FIX_SAME_UID_REUSEPORT] = { "same-uid-reuseport",
	    "create both sockets as one user and set SO_REUSEPORT on both" },
	[PORTRULES_FIX_OTHER_ADDRESS] = { "other-address",
	    "no flag helps: take another address or port" },
};

static const struct words levels[] = {
	[PORTRULES_UNHEARD] = { "nobody", "no socket hears this address" },
	[PORTRULES_FOUR_TUPLE] = { "connected",
	    "rule 1: a socket connected to just this sender" },
	[PORTRULES_SK_LOOKUP] = { "sk_lookup",
	    "rule 2: an sk_lookup program chose the socket" },
	[PORTRULES_EXACT] = { "exact", "rule 3: the exact local address" },
	[PORTRULES_WILDCARD] = { "wildcard", "rule 4: the wildcard" },
};

static const struct words ties[] = {
	[PORTRULES_ONLY] = { "only", "it is the only one there" },
	[PORTRULES_SCORE] = { "score",
	    "it matches better than the others: family, device or CPU" },
	[PORTRULES_NEWEST] = { "newest",
	    "others match as well, and the newest takes all of it" },
	[PORTRULES_OLDEST] = { "oldest",
	    "others match as well, and the older takes all of it: an IPv6 "
	    "socket with SO_REUSEPORT is met after those before it" },
	[PORTRULES_GROUP] = { "group",
	    "a SO_REUSEPORT group splits it by the flow's hash" },
	[PORTRULES_STEERED] = { "steered",
	    "a BPF program of the SO_REUSEPORT group chose the member" },
	[PORTRULES_GROUP_FIRST] = { "group-first",
	    "a SO_REUSEPORT group is met first and takes it from a socket "
	    "that matches better" },
};

static const struct words states[] = {
	[PORTRULES_IDLE] = { "bound", "" },
	[PORTRULES_LISTEN] = { "listening", "" },
	[PORTRULES_CONNECTED] = { "connected", "" },
	[PORTRULES_TIME_WAIT] = { "time-wait", "" },
};

const char *
portrules_rule_str(enum portrules_rule rule)
{
	return PICK(rules, rule)->word;
}

const char *
portrules_rule_say(enum portrules_rule rule)
{
	return PICK(rules, rule)->sentence;
}

const char *
portrules_fix_str(enum portrules_fix fix)
{
	return PICK(fixes, fix)->word;
}

const char *
portrules_fix_say(enum portrules_fix fix)
{
	return PICK(fixes, fix)->sentence;
}

const char *
portrules_level_str(enum portrules_level level)
{
	return PICK(levels, level)->word;
}

const char *
portrules_level_say(enum portrules_level level)
{
	return PICK(levels, level)->sentence;
}

const char *
portrules_tie_str(enum portrules_tie tie)
{
	return PICK(ties, tie)->word;
}

const char *
portrules_tie_say(enum portrules_tie tie)
{
	return PICK(ties, tie)->sentence;
}

const char *
portrules_state_str(enum portrules_state state)
{
	return PICK(states, state)->word;
}
