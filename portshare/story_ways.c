/* The ways out: one port, two servers, UDP and TCP, and nobody else. */
#include <string.h>

#include "net/dispatch.h"
#include "portshare/story.h"

bool
story_reuseport(struct story *s)
{
	tale_chapter(&s->tale, "A way out for both: SO_REUSEPORT");
	tale_say(&s->tale,
	    "SO_REUSEPORT lets UDP and TCP overlap. Its price: all the "
	    "sockets must have been created by the same user. Both servers "
	    "open their sockets before they give up root, so they are.");
	return story_raise(s, "reuseport", true) &&
	    story_who(s, "tcp", s->stage.customer, &s->proxy) &&
	    story_time_answers(s, s->stage.time, "--udp") &&
	    story_time_answers(s, s->stage.time, "--tcp") &&
	    story_customer_answers(s, SOCK_UDP) &&
	    story_customer_answers(s, SOCK_TCP);
}

/* Whether this build, kernel and process can; in words when they cannot. */
static bool
can_dispatch(struct story *s)
{
	char why[DISPATCH_WHY_LEN];
	struct dispatch *d;

	if (s->stage.lab.kind != LAB_ROOT) {
		tale_say(&s->tale, "(Left out: only root can.)");
		return false;
	}
	d = dispatch_open(why);
	if (d == NULL)
		tale_say(&s->tale, "(Left out: %s.)", why);
	dispatch_close(d);
	return d != NULL;
}

bool
story_dispatch(struct story *s)
{
	tale_chapter(&s->tale, "A way out without a flag: dispatch");
	tale_say(&s->tale,
	    "Since Linux 5.9 a BPF program may choose the socket for a packet "
	    "before the kernel looks for one. The time server holds all of "
	    "the port plainly, as in the beginning, and need not know. The "
	    "proxy does not even bind the customer's address.");
	if (!can_dispatch(s))
		return true;
	return story_raise(s, "dispatch", true) &&
	    story_who(s, "udp", s->stage.customer, &s->proxy) &&
	    tale_check(&s->tale, strstr(s->out.text, "rule 2: ") != NULL,
		"by the program's choice, not by an address") &&
	    story_time_answers(s, s->stage.time, "--udp") &&
	    story_time_answers(s, s->stage.time, "--tcp") &&
	    story_customer_answers(s, SOCK_UDP) &&
	    story_customer_answers(s, SOCK_TCP) && story_keeps_out(s, SOCK_UDP);
}

/* Which is seen to by a process beside the proxy, a moment after its bind. */
static bool
is_closed_again(struct story *s)
{
	static const char words[] = ": bound, and closed";
	bool closed = player_says(&s->proxy, words, 1);

	(void)player_quote(&s->proxy, &s->tale, words);
	return tale_check(&s->tale, closed, "the window is closed");
}

bool
story_repair(struct story *s)
{
	char place[ADDR_STR_LEN];
	const char *const words[] = { "portshare", "repair", "udp", "--for",
		story_place(place, s, s->stage.customer), "--", NULL };

	if (s->stage.lab.kind != LAB_ROOT)
		return true; /* another process's socket is root's to change */
	tale_chapter(&s->tale, "The flag for one bind only: repair");
	tale_say(&s->tale,
	    "The kernel looks at the flags of the older socket when the newer "
	    "one binds, at no other time. So they need not stay. The time "
	    "server runs without any flag, as in the beginning; it is lent "
	    "one from outside while the proxy binds, and goes on serving.");
	return story_stop_both(s) &&
	    story_write(s, "off", false, STORY_SILENT) &&
	    story_start(s, &s->time, NULL) &&
	    story_write(s, "open", false, STORY_SILENT) &&
	    story_start(s, &s->proxy, words) && is_closed_again(s) &&
	    story_who(s, "udp", s->stage.customer, &s->proxy) &&
	    tale_check(&s->tale, strstr(s->out.text, "no sharing flag") != NULL,
		"the time server carries no flag again") &&
	    story_keeps_out(s, SOCK_UDP) &&
	    story_time_answers(s, s->stage.time, "--udp") &&
	    story_customer_answers(s, SOCK_UDP);
}

bool
story_guard(struct story *s)
{
	tale_chapter(&s->tale, "The guard: two who know each other");
	tale_say(&s->tale,
	    "Two servers that know each other do the same for each other, "
	    "over a socket with a path: who comes second asks, the other "
	    "sets the flag for just this bind, and both clear it. UDP and "
	    "TCP, whoever starts first.");
	if (!story_raise(s, "guarded", true) ||
	    !story_who(s, "udp", s->stage.customer, &s->proxy) ||
	    !story_who(s, "tcp", s->stage.customer, &s->proxy) ||
	    !story_time_answers(s, s->stage.time, "--udp") ||
	    !story_time_answers(s, s->stage.time, "--tcp") ||
	    !story_customer_answers(s, SOCK_UDP) ||
	    !story_customer_answers(s, SOCK_TCP))
		return false;
	tale_say(&s->tale, "And the strangers?");
	return story_keeps_out(s, SOCK_UDP) && story_keeps_out(s, SOCK_TCP) &&
	    story_customer_answers(s, SOCK_UDP) &&
	    story_customer_answers(s, SOCK_TCP);
}

/* The proxy leaves and comes back; `name` counts what came meanwhile. */
static bool
bridges_the_gap(struct story *s, const char *name)
{
	const char *report;
	bool counted;

	if (!story_stop(s, &s->proxy) ||
	    !tale_check(&s->tale, player_says(&s->time, ") is gone", 1),
		"the time server knows that the proxy has gone") ||
	    !story_time_is_silent(s, s->stage.customer) ||
	    !story_time_answers(s, s->stage.time, "--udp"))
		return false;
	tale_typed(&s->tale, "kill -USR1 $(pidof roughtimed)");
	report = story_report(s);
	(void)tale_quoted(&s->tale, report, name);
	counted = story_counted(report, name) > 0;
	return tale_check(&s->tale, counted,
		   "the time server has counted what was not for it") &&
	    story_start(s, &s->proxy, NULL) &&
	    story_customer_answers(s, SOCK_UDP) &&
	    story_customer_answers(s, SOCK_TCP);
}

bool
story_guard_gap(struct story *s)
{
	tale_chapter(&s->tale, "The guard, and the gap");
	tale_say(&s->tale,
	    "Each knows what the other has. While the proxy is away the time "
	    "server answers nothing that comes to the customer's address.");
	if (!bridges_the_gap(s, "udp_drop_foreign"))
		return false;
	tale_say(&s->tale,
	    "Or such packets do not even reach it: it holds a copy of the "
	    "proxy's sockets, which lets nothing in while the proxy is away, "
	    "and gives them back.");
	s->fail = "closed";
	return story_raise(s, "guarded", true) &&
	    story_time_answers(s, s->stage.time, "--tcp") &&
	    bridges_the_gap(s, "kept_drop");
}

bool
story_demux(struct story *s)
{
	tale_chapter(&s->tale, "One address for both: demux");
	tale_say(&s->tale,
	    "And if there is only one address? Then what a packet begins "
	    "with decides. UDP: a filter in the kernel tells the two sockets "
	    "of one group apart. TCP: the proxy accepts, looks, and hands "
	    "the connection over.");
	s->listen = s->stage.customer;
	s->fail = NULL;
	if (!story_stop_both(s) || !story_write(s, "demux", true, STORY_TIME))
		return false;
	return story_raise(s, "demux", true) &&
	    story_time_answers(s, s->stage.customer, "--udp") &&
	    story_time_answers(s, s->stage.customer, "--tcp") &&
	    story_customer_answers(s, SOCK_UDP) &&
	    story_customer_answers(s, SOCK_TCP);
}
