/* What the open port costs: who else may come in, and who goes missing. */
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "portshare/story.h"

/* A user that every Debian has, who is neither root nor nobody. */
static unsigned int
other_user(void)
{
	const struct passwd *games = getpwnam("games");

	return games != NULL ? games->pw_uid : 5;
}

/* At the customer's own address, by the flag that helps there: 0, or why
 * not. */
static int
intrude(struct story *s, enum sock_proto proto, unsigned int uid)
{
	s->stranger = (struct echo){
		.name = "the stranger",
		.net = LAB_SERVER,
		.address = s->stage.customer,
		.port = s->stage.port,
		.udp = proto == SOCK_UDP,
		.tcp = proto == SOCK_TCP,
		.opts = { .reuseaddr = proto == SOCK_UDP,
		    .reuseport = proto == SOCK_TCP },
		.uid = uid,
	};
	return echo_start(&s->stranger, &s->stage);
}

static bool
stranger_answers(struct story *s)
{
	char reply[ECHO_LEN];

	(void)echo_ask(
	    &s->stage, SOCK_UDP, s->stage.customer, "a secret", reply);
	return tale_check(&s->tale,
	    strcmp(reply, "the stranger: a secret") == 0,
	    "the customer's datagram is answered by \"%s\"", reply);
}

/* Somebody else binds and takes all; the watcher is to call it `event`. */
static bool
steals(struct story *s, unsigned int uid, const char *who, const char *event)
{
	int error = intrude(s, SOCK_UDP, uid);
	bool all = tale_check(&s->tale, error == 0,
		       "%s binds the customer's address too: %s", who,
		       error == 0 ? "success" : strerror(error)) &&
	    stranger_answers(s);

	if (all) {
		all = player_says(&s->watcher, event, 1);
		(void)player_quote(&s->watcher, &s->tale, event);
		all = tale_check(
		    &s->tale, all, "the watcher tells of it, and who it is");
	}
	echo_stop(&s->stranger);
	return all;
}

static bool
start_watcher(struct story *s)
{
	char place[ADDR_STR_LEN];
	const char *const words[] = { "portshare", "watch", "udp",
		story_place(place, s, s->stage.customer), NULL };

	return player_start(&s->watcher, &s->tale, words) == 0 &&
	    tale_check(&s->tale, player_says(&s->watcher, "watching", 1),
		"the watcher watches");
}

static bool
strangers_come(struct story *s)
{
	if (!steals(s, geteuid(), "a second program", ": steal: ") ||
	    !story_customer_answers(s, SOCK_UDP))
		return false;
	if (s->stage.lab.kind != LAB_ROOT) {
		tale_say(&s->tale,
		    "(The same by another user is left out: only root can be "
		    "another user.)");
		return true;
	}
	return steals(s, other_user(), "a program of the user games",
		   ": hijack: ") &&
	    story_customer_answers(s, SOCK_UDP);
}

bool
story_strangers(struct story *s)
{
	tale_chapter(&s->tale, "What the open port costs: steal and hijack");
	tale_say(&s->tale,
	    "Back to SO_REUSEADDR. It stays set, and it asks nobody who they "
	    "are. Of two sockets at the same address the newest takes every "
	    "datagram: a second proxy that was started by mistake, or a "
	    "program of any other user. Neither server notices.");
	return story_raise(s, "open", false) &&
	    story_customer_answers(s, SOCK_UDP) && start_watcher(s) &&
	    strangers_come(s) &&
	    tale_check(&s->tale, player_stop(&s->watcher) == 2,
		"the watcher ends with the status for that");
}

bool
story_gap(struct story *s)
{
	tale_chapter(&s->tale, "What the open port costs: the gap");
	tale_say(&s->tale,
	    "While the proxy is away, for a restart or for good, its "
	    "customer's datagrams have somewhere to go: the wildcard. The "
	    "customer's clients reach the time server.");
	return story_stop(s, &s->proxy) &&
	    story_who(s, "udp", s->stage.customer, &s->time) &&
	    story_time_answers(s, s->stage.customer, "--udp");
}

/* Nobody gets in any more: `who` says whose program it is that tries. */
static bool
keeps_out(
    struct story *s, enum sock_proto proto, unsigned int uid, const char *who)
{
	int error = intrude(s, proto, uid);

	echo_stop(&s->stranger);
	return tale_check(&s->tale, error == EADDRINUSE,
	    "%s tries %s with %s: %s", who, proto == SOCK_UDP ? "udp" : "tcp",
	    proto == SOCK_UDP ? "SO_REUSEADDR" : "SO_REUSEPORT",
	    error != 0 ? strerror(error) : "success");
}

bool
story_keeps_out(struct story *s, enum sock_proto proto)
{
	if (!keeps_out(s, proto, geteuid(), "a second program"))
		return false;
	return s->stage.lab.kind != LAB_ROOT ||
	    keeps_out(s, proto, other_user(), "a program of the user games");
}
