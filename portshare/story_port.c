/* The story itself: the collision, the option, and the half it leaves out. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "portshare/story.h"

bool
story_time_server(struct story *s)
{
	tale_chapter(&s->tale, "A time server takes the port");
	tale_say(&s->tale,
	    "Roughtime servers tell the time and sign it, on port %u, at "
	    "every address of their host.",
	    s->stage.port);
	return story_write(s, "off", false, STORY_TIME) &&
	    story_start(s, &s->time, NULL) &&
	    story_time_answers(s, s->stage.time, "--udp") &&
	    story_time_answers(s, s->stage.time, "--tcp");
}

/* Starts the proxy, which is to end by itself, and quotes what it said. */
static bool
is_refused(struct story *s, const char *protocol)
{
	const char *const start[] = { "l4proxyd", "-c", "l4proxyd.yaml", NULL };
	char words[64], place[ADDR_STR_LEN];
	bool told;

	if (player_start(&s->proxy, &s->tale, start) < 0)
		return false;
	(void)player_says(&s->proxy, "1 worker\n", 1);
	story_calls(s);
	snprintf(words, sizeof words, " %s %s", protocol,
	    story_place(place, s, s->stage.customer));
	told = player_quote(&s->proxy, &s->tale, words) > 0 &&
	    strstr(player_log(&s->proxy), "Address already in use") != NULL;
	return tale_check(&s->tale, player_stop(&s->proxy) == 1 && told,
	    "the proxy is refused: %s %s, address already in use", protocol,
	    place);
}

bool
story_refusal(struct story *s)
{
	char place[ADDR_STR_LEN];
	const char *const argv[] = { "portshare", "predict", "udp",
		story_place(place, s, s->stage.customer), NULL };

	tale_chapter(&s->tale, "A customer wants the same port");
	tale_say(&s->tale,
	    "On the same host a proxy passes the ports of customers on to "
	    "their own servers. One customer has the address %s, which is "
	    "nobody else's, and wants port %u of it.",
	    s->stage.customer, s->stage.port);
	if (!story_write(s, "off", false, STORY_PROXY) || !is_refused(s, "udp"))
		return false;
	tale_say(&s->tale,
	    "No other socket has this address. But 0.0.0.0, where the time "
	    "server is, means every address, this one too, and of two "
	    "sockets that overlap Linux refuses the later one. Nobody needs "
	    "to try to find that out:");
	return story_predict(s, argv, "neither socket carries a sharing flag");
}

bool
story_option(struct story *s)
{
	tale_chapter(&s->tale, "The option, on both, before bind");
	tale_say(&s->tale,
	    "The talk's way out is one socket option, SO_REUSEADDR. For UDP, "
	    "Linux lets sockets overlap when all of them carry it, and it "
	    "must be there before bind(2): a server that is bound already "
	    "does not get in by it any more. A datagram then goes to the "
	    "socket that says most about it: first one that is connected to "
	    "the sender, then one at the exact address, then the wildcard.");
	return story_raise(s, "open", false) &&
	    story_who(s, "udp", s->stage.customer, &s->proxy) &&
	    story_who(s, "udp", s->stage.time, &s->time) &&
	    story_time_answers(s, s->stage.time, "--udp") &&
	    story_customer_answers(s, SOCK_UDP);
}

/* The kernel itself is asked: a listener of ours, with the option. */
static int
try_stream(const struct story *s)
{
	const struct sock_opts option = { .reuseaddr = true };
	enum sock_step failed;
	struct addr a;
	const char *why;
	int fd, error;

	if (addr_parse(&a, s->stage.customer, s->stage.port, &why) < 0)
		return EINVAL;
	fd = sock_open(SOCK_TCP, &a, &option, &failed);
	error = fd < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	return error;
}

bool
story_tcp_half(struct story *s)
{
	char place[ADDR_STR_LEN];
	const char *const argv[] = { "portshare", "predict", "tcp",
		story_place(place, s, s->stage.customer), "--flags",
		"reuseaddr", NULL };

	tale_chapter(&s->tale, "The other half: TCP");
	tale_say(&s->tale,
	    "Roughtime speaks TCP too (RFC 10049), and the customer wants "
	    "TCP port %u as well. Both servers still set SO_REUSEADDR.",
	    s->stage.port);
	if (!story_stop(s, &s->proxy) ||
	    !story_write(s, "open", true, STORY_PROXY) || !is_refused(s, "tcp"))
		return false;
	tale_say(&s->tale,
	    "Same option, same addresses, another answer: for TCP "
	    "SO_REUSEADDR means only that what is left of old connections "
	    "is not in the way. A socket that listens is.");
	return story_predict(s, argv, "the holder is in LISTEN") &&
	    tale_check(&s->tale, try_stream(s) == EADDRINUSE,
		"a bare socket with SO_REUSEADDR is refused as well: it is "
		"the kernel, not the proxy");
}
