#include "portshare/story.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *
story_place(
    char buf[static ADDR_STR_LEN], const struct story *s, const char *address)
{
	snprintf(buf, ADDR_STR_LEN, "%s:%u", address, s->stage.port);
	return buf;
}

void
story_calls(struct story *s)
{
	player_calls(&s->time, &s->tale);
	player_calls(&s->proxy, &s->tale);
}

static bool
write_file(struct story *s, const struct player *p, const char *text)
{
	char name[64];

	snprintf(name, sizeof name, "%s.yaml", p->name);
	return stage_write(&s->stage, name, text) == 0;
}

/* Of some modes the two meet at a socket: what its path is called in each. */
static void
sharing(char text[static TALE_LEN], const struct story *s, const char *mode,
    const char *path_key)
{
	bool fails = s->fail != NULL && strcmp(path_key, "socket") == 0;

	if (strcmp(mode, "guarded") == 0 || strcmp(mode, "demux") == 0)
		snprintf(text, TALE_LEN,
		    "sharing:\n"
		    "  mode: %s\n"
		    "  %s: %s/meet.sock\n"
		    "%s%s%s",
		    mode, path_key, s->stage.directory, fails ? "  fail: " : "",
		    fails ? s->fail : "", fails ? "\n" : "");
	else
		snprintf(text, TALE_LEN, "sharing: {mode: %s}\n", mode);
}

/* What is told of a file stands in it as it is told; more follows. */
static bool
write_time(struct story *s, const char *mode, enum story_show show)
{
	char listen[256], line[TALE_LEN], text[2 * TALE_LEN];

	snprintf(listen, sizeof listen,
	    "listen:\n"
	    "  - {address: %s, port: %u, transports: [udp, tcp]}\n",
	    s->listen, s->stage.port);
	sharing(line, s, mode, "socket");
	snprintf(text, sizeof text,
	    "%s%s"
	    "identities: [{name: story, key: %s/story.key}]\n"
	    "clock: {when_unsynchronised: serve}\n"
	    "workers: 1\n",
	    listen, line, s->stage.directory);
	if (show == STORY_TIME)
		tale_file(&s->tale, "roughtimed.yaml", listen);
	return write_file(s, &s->time, text);
}

static void
application(
    char text[static TALE_LEN], const struct story *s, const char *proto)
{
	snprintf(text, TALE_LEN,
	    "  - name: customer-%s\n"
	    "    protocol: %s/%u\n"
	    "    edge_ips: [%s]\n"
	    "    origin_direct: [%s://%s:%u]\n",
	    proto, proto, s->stage.port, s->stage.customer, proto,
	    s->stage.origin, STORY_ORIGIN_PORT);
}

static bool
write_proxy(struct story *s, const char *mode, bool tcp, enum story_show show)
{
	char udp[TALE_LEN], stream[TALE_LEN] = "", line[TALE_LEN];
	char told[3 * TALE_LEN], text[5 * TALE_LEN];

	application(udp, s, "udp");
	if (tcp)
		application(stream, s, "tcp");
	snprintf(told, sizeof told, "applications:\n%s%s", udp, stream);
	sharing(line, s, mode, "peer");
	snprintf(text, sizeof text,
	    "%s%s"
	    "control: %s/l4proxyd.sock\n"
	    "tcp_sessions: 64\n"
	    "udp_flows: 64\n"
	    "drain_s: 0\n"
	    "workers: 1\n",
	    told, line, s->stage.directory);
	if (show == STORY_PROXY)
		tale_file(&s->tale, "l4proxyd.yaml", told);
	return write_file(s, &s->proxy, text);
}

static void
tell_sharing(struct story *s, const char *mode)
{
	char one[TALE_LEN], other[TALE_LEN];

	sharing(one, s, mode, "socket");
	sharing(other, s, mode, "peer");
	if (strcmp(one, other) == 0) {
		tale_file(&s->tale, "in both files", one);
		return;
	}
	tale_file(&s->tale, "roughtimed.yaml", one);
	tale_file(&s->tale, "l4proxyd.yaml", other);
}

bool
story_write(struct story *s, const char *mode, bool tcp, enum story_show show)
{
	if (show == STORY_SHARING)
		tell_sharing(s, mode);
	return write_time(s, mode, show) && write_proxy(s, mode, tcp, show);
}

bool
story_start(struct story *s, struct player *p, const char *const repair[])
{
	const char *ready = p == &s->time ? ", hash: " : "1 worker\n";
	const char *words[PLAYER_ARGS];
	char config[64];
	size_t n = 0;
	bool up;

	for (; repair != NULL && repair[n] != NULL && n < PLAYER_ARGS - 4; n++)
		words[n] = repair[n];
	snprintf(config, sizeof config, "%s.yaml", p->name);
	words[n++] = p->name;
	words[n++] = "-c";
	words[n++] = config;
	words[n] = NULL;
	if (player_start(p, &s->tale, words) < 0)
		return false;
	up = player_says(p, ready, 1);
	story_calls(s);
	if (!up)
		(void)player_quote(p, &s->tale, "error: ");
	return tale_check(&s->tale, up, "%s is up", p->name);
}

bool
story_stop(struct story *s, struct player *p)
{
	char typed[32];
	int status;

	if (p->pid == 0)
		return true;
	snprintf(typed, sizeof typed, "kill %ld", (long)p->pid);
	tale_typed(&s->tale, typed);
	status = player_stop(p);
	story_calls(s);
	s->asked_time = s->asked_datagrams = s->asked_streams = 0;
	return tale_check(&s->tale, status == 0, "%s has ended", p->name);
}

bool
story_stop_both(struct story *s)
{
	return story_stop(s, &s->proxy) && story_stop(s, &s->time);
}

bool
story_raise(struct story *s, const char *mode, bool tcp)
{
	return story_stop_both(s) && story_write(s, mode, tcp, STORY_SHARING) &&
	    story_start(s, &s->time, NULL) && story_start(s, &s->proxy, NULL);
}

bool
story_predict(struct story *s, const char *const argv[], const char *words)
{
	if (player_run(&s->tale, &s->stage, LAB_SERVER, argv, &s->out) < 0)
		return false;
	tale_printed(&s->tale, s->out.text);
	if (geteuid() != 0) /* the flags of the holder are not shown to us */
		return tale_check(&s->tale, s->out.status == 2,
		    "predict knows it without a bind");
	return tale_check(&s->tale,
	    s->out.status == 2 && strstr(s->out.text, words) != NULL,
	    "predict knows it without a bind, and why: \"%s\"", words);
}

/* The line behind "goes to"; whose a socket is, is for root to see. */
static bool
names_winner(const struct story *s, const struct player *winner)
{
	static const char before[] = "goes to\n";
	const char *at = strstr(s->out.text, before);
	char line[512], owner[64], where[ADDR_STR_LEN + 8];

	if (at == NULL)
		return false;
	at += strlen(before);
	snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
	snprintf(owner, sizeof owner, "pid %ld (%s)", (long)winner->pid,
	    winner->name);
	snprintf(where, sizeof where, " on %s:%u,",
	    winner == &s->proxy ? s->stage.customer : "0.0.0.0", s->stage.port);
	return strstr(line, geteuid() == 0 ? owner : where) != NULL;
}

bool
story_who(struct story *s, const char *protocol, const char *address,
    const struct player *winner)
{
	char place[ADDR_STR_LEN];
	const char *const argv[] = { "portshare", "who", protocol,
		story_place(place, s, address), NULL };

	if (player_run(&s->tale, &s->stage, LAB_SERVER, argv, &s->out) < 0)
		return false;
	tale_printed(&s->tale, s->out.text);
	return tale_check(&s->tale, names_winner(s, winner), "%s %s is %s's",
	    protocol, place, winner->name);
}

/* Of a good answer the line with the time, of another what is wrong. */
static void
tell_answer(struct story *s)
{
	if (s->out.status != 0 ||
	    tale_quoted(&s->tale, s->out.text, "(verified)") == 0)
		tale_printed(&s->tale, s->out.text);
}

bool
story_time_answers(struct story *s, const char *address, const char *transport)
{
	char place[ADDR_STR_LEN];
	const char *const argv[] = { "roughtime", "query",
		story_place(place, s, address), s->public_key, transport,
		NULL };

	s->asked_time++;
	if (player_run(&s->tale, &s->stage, LAB_CLIENT, argv, &s->out) < 0)
		return false;
	tell_answer(s);
	story_calls(s);
	return tale_check(&s->tale,
	    s->out.status == 0 && strstr(s->out.text, "(verified)") != NULL,
	    "%s answers %s with the time, signed and verified", place,
	    transport + 2);
}

bool
story_time_is_silent(struct story *s, const char *address)
{
	char place[ADDR_STR_LEN];
	const char *const argv[] = { "roughtime", "query",
		story_place(place, s, address), s->public_key, "--udp",
		"--timeout", "1", NULL };

	if (player_run(&s->tale, &s->stage, LAB_CLIENT, argv, &s->out) < 0)
		return false;
	tale_printed(&s->tale, s->out.text);
	return tale_check(
	    &s->tale, s->out.status == 2, "nobody answers at udp %s", place);
}

bool
story_customer_answers(struct story *s, enum sock_proto proto)
{
	char place[ADDR_STR_LEN], reply[ECHO_LEN], wanted[ECHO_LEN], text[32];
	unsigned int *asked =
	    proto == SOCK_UDP ? &s->asked_datagrams : &s->asked_streams;

	snprintf(text, sizeof text, "hello %u", ++*asked);
	snprintf(wanted, sizeof wanted, "%s: %s", s->origin.name, text);
	(void)echo_ask(&s->stage, proto, s->stage.customer, text, reply);
	story_calls(s);
	return tale_check(&s->tale, strcmp(reply, wanted) == 0,
	    "\"%s\" %s %s is answered by \"%s\"", text,
	    proto == SOCK_UDP ? "in a datagram to" : "over TCP to",
	    story_place(place, s, s->stage.customer), reply);
}
