/* A cell for people: one line, or a C program that does the same. */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "portshare/cell.h"

/* Text that grows in a buffer, and is cut where that is full. */
struct text {
	char *at;
	size_t left;
};

static void __attribute__((format(printf, 2, 3)))
say(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->at, t->left, format, args);
	va_end(args);
	if (n < 0)
		return;
	if ((size_t)n >= t->left)
		n = t->left > 0 ? (int)t->left - 1 : 0;
	t->at += n;
	t->left -= (size_t)n;
}

static char
letter(size_t i)
{
	return (char)('a' + (int)i);
}

static void
say_socket(struct text *t, const struct cell *c, size_t i)
{
	const struct cell_socket *s = &c->sockets[i];

	say(t, "%c %s", letter(i), cell_place_str(s->place));
	if (s->other_proto)
		say(t, " %s", cell_proto(c, i) == SOCK_TCP ? "tcp" : "udp");
	if (s->reuseaddr)
		say(t, " +reuseaddr");
	if (s->reuseport)
		say(t, " +reuseport");
	if (s->other_uid)
		say(t, " other-user");
	if (s->device != 0)
		say(t, " dev d%d", s->device);
	if (s->other_net)
		say(t, " other-netns");
	if (s->other_port)
		say(t, " other-port");
	if (s->cpu != 0)
		say(t, " cpu %s", s->cpu == 1 ? "here" : "elsewhere");
}

char *
cell_say(char *buf, size_t len, const struct cell *c)
{
	struct text t = { buf, len };

	say(&t, "%s", c->proto == SOCK_UDP ? "udp" : "tcp");
	if (c->crowded)
		say(&t, ", twelve other addresses");
	for (size_t i = 0; i < c->n; i++) {
		say(&t, ", ");
		say_socket(&t, c, i);
	}
	return buf;
}

static const char *const ways[] = {
	[CELL_LOCAL] = "",
	[CELL_FROM_PEER] = " from the peer",
	[CELL_WIRE1] = " over d1",
	[CELL_WIRE2] = " over d2",
	[CELL_ELSEWHERE] = " in the other netns",
};

char *
cell_say_step(char *buf, size_t len, const struct cell_step *s)
{
	static const char *const acts[CELL_ACTS] = {
		[CELL_END] = "end",
		[CELL_BIND] = "bind",
		[CELL_LISTEN] = "listen",
		[CELL_SET_REUSEADDR] = "set SO_REUSEADDR on",
		[CELL_CLEAR_REUSEADDR] = "clear SO_REUSEADDR on",
		[CELL_SET_REUSEPORT] = "set SO_REUSEPORT on",
		[CELL_CLEAR_REUSEPORT] = "clear SO_REUSEPORT on",
		[CELL_CONNECT] = "connect",
		[CELL_ACCEPT] = "accept from",
		[CELL_RETIRE] = "end the connection",
		[CELL_CLOSE] = "close",
		[CELL_SEND] = "send to",
		[CELL_QUEUED] = "leave in the queues: to",
		[CELL_DRAIN] = "read the queues",
		[CELL_STEER] = "program for the group of",
		[CELL_CHOOSE] = "sk_lookup program names",
	};

	if (s->act == CELL_DRAIN)
		snprintf(buf, len, "%s", acts[s->act]);
	else if (s->act == CELL_SEND || s->act == CELL_QUEUED)
		snprintf(buf, len, "%s %s%s", acts[s->act],
		    cell_place_str(s->what), ways[s->way]);
	else if (s->act == CELL_STEER)
		snprintf(buf, len, "%s %c: member %d", acts[s->act],
		    letter(s->who), s->what);
	else
		snprintf(buf, len, "%s %c", acts[s->act], letter(s->who));
	return buf;
}

/* What every recipe begins with; PORT, UDP and the sockets' names are free. */
static const char helpers[] =
    "#include <arpa/inet.h>\n"
    "#include <errno.h>\n"
    "#include <linux/filter.h>\n"
    "#include <poll.h>\n"
    "#include <stdio.h>\n"
    "#include <string.h>\n"
    "#include <sys/socket.h>\n"
    "#include <unistd.h>\n"
    "static int fd[3] = { -1, -1, -1 }, peer = -1;\n"
    "static struct sockaddr_storage as;\n"
    "static socklen_t at(const char *ip, int port) {\n"
    "	struct sockaddr_in *a = (void *)&as; struct sockaddr_in6 *b = "
    "(void *)&as;\n"
    "	memset(&as, 0, sizeof as);\n"
    "	if (inet_pton(AF_INET, ip, &a->sin_addr) == 1) { a->sin_family = "
    "AF_INET; a->sin_port = htons(port); return sizeof *a; }\n"
    "	inet_pton(AF_INET6, ip, &b->sin6_addr); b->sin6_family = AF_INET6; "
    "b->sin6_port = htons(port); return sizeof *b;\n"
    "}\n"
    "static void said(const char *what, int i, int r) { printf(\"%s %c: "
    "%s\\n\", what, 'a' + i, r < 0 ? strerror(errno) : \"ok\"); }\n"
    "static void set(int i, int level, int name, int on) { setsockopt(fd[i], "
    "level, name, &on, sizeof on); }\n"
    "static void put(int i, const char *ip, int port) { socklen_t n = at(ip, "
    "port); int r = bind(fd[i], (void *)&as, n); said(\"bind\", i, r); if (r < "
    "0) { close(fd[i]); fd[i] = -1; } }\n"
    "static void hear(int i) { int r = listen(fd[i], 64); said(\"listen\", i, "
    "r); if (r < 0) { close(fd[i]); fd[i] = -1; } }\n"
    "static void ask(const char *ip, int from) {\n"
    "	int got[4] = { 0 }, c;\n"
    "	for (int k = 0; k < 32; k++) {\n"
    "		socklen_t n = at(ip, PORT); c = from >= 0 ? from : "
    "socket(as.ss_family, TYPE, 0);\n"
    "		if (connect(c, (void *)&as, n) == 0 && TYPE == SOCK_DGRAM && "
    "send(c, \"x\", 1, 0) < 0) perror(\"send\");\n"
    "		struct pollfd p[3]; for (int i = 0; i < 3; i++) p[i] = (struct "
    "pollfd){ fd[i], POLLIN, 0 };\n"
    "		int who = 3; if (poll(p, 3, 50) > 0) for (who = 0; who < 2 && "
    "!p[who].revents; who++) ;\n"
    "		if (who < 3) { char x; if (TYPE == SOCK_DGRAM) recv(fd[who], "
    "&x, 1, 0); else close(accept(fd[who], 0, 0)); }\n"
    "		got[who]++; if (from < 0) close(c); else break;\n"
    "	}\n"
    "	printf(\"to %s: a %d, b %d, c %d, nobody %d\\n\", ip, got[0], got[1], "
    "got[2], got[3]);\n"
    "}\n";

static const char *
address(
    char buf[static ADDR_STR_LEN], const struct lab *l, enum cell_place place)
{
	struct addr a;

	cell_address(l, place, &a);
	return inet_ntop(a.sa.sa_family,
	    a.sa.sa_family == AF_INET ? (const void *)&a.in.sin_addr
				      : (const void *)&a.in6.sin6_addr,
	    buf, ADDR_STR_LEN);
}

static void
bake_bind(struct text *t, const struct lab *l, const struct cell *c, size_t i)
{
	const struct cell_socket *s = &c->sockets[i];
	bool six = cell_place_is_v6(s->place);
	char ip[ADDR_STR_LEN];

	if (s->other_net)
		say(t, "	/* %c is in another network namespace */\n",
		    letter(i));
	if (s->other_uid)
		say(t, "	seteuid(65534);\n");
	say(t, "	fd[%zu] = socket(%s, %s, 0);\n", i,
	    six ? "AF_INET6" : "AF_INET",
	    cell_proto(c, i) == SOCK_UDP ? "SOCK_DGRAM" : "SOCK_STREAM");
	if (s->other_uid)
		say(t, "	seteuid(0);\n");
	if (s->reuseaddr)
		say(t, "	set(%zu, SOL_SOCKET, SO_REUSEADDR, 1);\n", i);
	if (s->reuseport)
		say(t, "	set(%zu, SOL_SOCKET, SO_REUSEPORT, 1);\n", i);
	if (six)
		say(t, "	set(%zu, IPPROTO_IPV6, IPV6_V6ONLY, %d);\n", i,
		    s->place == CELL_ONLY6 || s->place == CELL_MAPPED_ONLY6);
	if (s->device != 0)
		say(t,
		    "	setsockopt(fd[%zu], SOL_SOCKET, SO_BINDTODEVICE, "
		    "\"d%d\", 2);\n",
		    i, s->device);
	if (s->cpu != 0)
		say(t, "	set(%zu, SOL_SOCKET, SO_INCOMING_CPU, %d);\n",
		    i, s->cpu - 1);
	say(t, "	put(%zu, \"%s\", PORT%s);\n", i,
	    address(ip, l, s->place), s->other_port ? " + 1" : "");
}

static void
bake_send(struct text *t, const struct lab *l, const struct cell_step *s)
{
	char ip[ADDR_STR_LEN];

	if (s->way >= CELL_WIRE1)
		say(t, "	/*%s: */\n", ways[s->way]);
	say(t, "	ask(\"%s\", %s);\n", address(ip, l, s->what),
	    s->way == CELL_FROM_PEER ? "peer" : "-1");
}

static void
bake_connect(
    struct text *t, const struct lab *l, const struct cell *c, uint8_t who)
{
	bool six = cell_place_is_v6(c->sockets[who].place);
	char ip[ADDR_STR_LEN];

	address(ip, l, six ? CELL_S : CELL_A);
	say(t,
	    "	peer = socket(%s, SOCK_DGRAM, 0); { socklen_t n = at(\"%s\", "
	    "PORT + 2); bind(peer, (void *)&as, n); connect(fd[%d], (void "
	    "*)&as, n); }\n",
	    six ? "AF_INET6" : "AF_INET", ip, who);
}

static void
bake_step(struct text *t, const struct lab *l, const struct cell *c,
    const struct cell_step *s)
{
	char line[80];

	switch (s->act) {
	case CELL_BIND:
		bake_bind(t, l, c, s->who);
		break;
	case CELL_LISTEN:
		say(t, "	hear(%d);\n", s->who);
		break;
	case CELL_SET_REUSEADDR:
	case CELL_CLEAR_REUSEADDR:
		say(t, "	set(%d, SOL_SOCKET, SO_REUSEADDR, %d);\n",
		    s->who, s->act == CELL_SET_REUSEADDR);
		break;
	case CELL_SET_REUSEPORT:
	case CELL_CLEAR_REUSEPORT:
		say(t, "	set(%d, SOL_SOCKET, SO_REUSEPORT, %d);\n",
		    s->who, s->act == CELL_SET_REUSEPORT);
		break;
	case CELL_CONNECT:
		bake_connect(t, l, c, s->who);
		break;
	case CELL_CLOSE:
		say(t, "	close(fd[%d]); fd[%d] = -1;\n", s->who, s->who);
		break;
	case CELL_STEER:
		say(t,
		    "	struct sock_filter f = { 6, 0, 0, %d }; struct "
		    "sock_fprog p = { 1, &f }; setsockopt(fd[%d], SOL_SOCKET, "
		    "SO_ATTACH_REUSEPORT_CBPF, &p, sizeof p);\n",
		    s->what, s->who);
		break;
	case CELL_SEND:
		bake_send(t, l, s);
		break;
	default: /* the rarer ones in words */
		say(t, "	/* %s */\n",
		    cell_say_step(line, sizeof line, s));
	}
}

char *
cell_recipe(char *buf, size_t len, const struct lab *l, const struct cell *c)
{
	struct text t = { buf, len };

	say(&t, "/* ");
	cell_say(t.at, t.left, c);
	t.left -= strlen(t.at);
	t.at += strlen(t.at);
	say(&t,
	    " */\n/* cc -w -o cell cell.c && unshare -n sh -c 'ip link set lo "
	    "up; for a in 192.0.2.1/32 192.0.2.2/32 2001:db8::1/128 "
	    "2001:db8::2/128; do ip address add $a dev lo nodad; done; "
	    "./cell' */\n"
	    "#define _GNU_SOURCE\n#define PORT 2002\n#define TYPE %s\n%s"
	    "int main(void) {\n",
	    c->proto == SOCK_UDP ? "SOCK_DGRAM" : "SOCK_STREAM", helpers);
	for (size_t i = 0; i < CELL_STEPS && c->steps[i].act != CELL_END; i++)
		bake_step(&t, l, c, &c->steps[i]);
	say(&t, "	return 0;\n}\n");
	return buf;
}
