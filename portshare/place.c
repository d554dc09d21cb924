#include "portshare/place.h"

#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "portshare/command.h"

static int
read_flags(struct sock_opts *o, char *list)
{
	char *save = NULL;

	for (char *word = strtok_r(list, ",", &save); word != NULL;
	     word = strtok_r(NULL, ",", &save)) {
		if (strcmp(word, "reuseaddr") == 0)
			o->reuseaddr = true;
		else if (strcmp(word, "reuseport") == 0)
			o->reuseport = true;
		else if (strcmp(word, "v6only") == 0)
			o->v6only = true;
		else
			return command_usage(
			    "--flags: of reuseaddr, reuseport, v6only, not ",
			    word);
	}
	return COMMAND_GOOD;
}

int
place_read_uid(unsigned int *uid, const char *text)
{
	const struct passwd *user = getpwnam(text);
	char *end;
	unsigned long n;

	if (user != NULL) {
		*uid = user->pw_uid;
		return COMMAND_GOOD;
	}
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' ||
	    n >= UINT32_MAX)
		return command_usage(
		    "--uid: neither a user nor a number: ", text);
	*uid = (unsigned int)n;
	return COMMAND_GOOD;
}

static int
read_device(struct place *p, const char *name)
{
	p->device = if_nametoindex(name);
	p->opts.device = name;
	if (p->device == 0)
		return command_usage("--device: there is no ", name);
	return COMMAND_GOOD;
}

static int
read_from(struct place *p, const char *text)
{
	const char *why;

	if (addr_parse(&p->from, text, -1, &why) < 0) {
		fprintf(stderr, "portshare: --from %s: %s\n", text, why);
		return COMMAND_FAILED;
	}
	return COMMAND_GOOD;
}

static int
read_option(struct place *p, bool predicts, int c)
{
	if (c == 'h')
		p->help = true;
	else if (c == 'j')
		p->json = true;
	else if (c == 'd')
		return read_device(p, optarg);
	else if (c == 'f' && predicts)
		return read_flags(&p->opts, optarg);
	else if (c == 'u' && predicts)
		return place_read_uid(&p->uid, optarg);
	else if (c == 'r' && !predicts)
		return read_from(p, optarg);
	else if (c == 'p' && !predicts)
		p->probe = true;
	else
		return command_usage("not an option of this command", "");
	return COMMAND_GOOD;
}

int
place_read_proto(enum sock_proto *proto, const char *word)
{
	if (strcmp(word, "udp") == 0)
		*proto = SOCK_UDP;
	else if (strcmp(word, "tcp") == 0)
		*proto = SOCK_TCP;
	else
		return command_usage("neither udp nor tcp: ", word);
	return COMMAND_GOOD;
}

int
place_read_address(struct addr *a, const char *text)
{
	const char *why;

	if (addr_parse(a, text, -1, &why) < 0) {
		fprintf(stderr, "portshare: %s: %s\n", text, why);
		return COMMAND_FAILED;
	}
	if (addr_port(a) == 0)
		return command_usage("port 0 is any free port: ", text);
	return COMMAND_GOOD;
}

static int
read_place(struct place *p, int argc, char **argv)
{
	if (argc != 2)
		return command_usage("expected: udp|tcp ADDRESS:PORT", "");
	if (place_read_proto(&p->proto, argv[0]) != COMMAND_GOOD)
		return COMMAND_FAILED;
	return place_read_address(&p->address, argv[1]);
}

int
place_parse(struct place *p, bool predicts, int argc, char **argv)
{
	static const struct option words[] = {
		{ "flags", required_argument, NULL, 'f' },
		{ "uid", required_argument, NULL, 'u' },
		{ "device", required_argument, NULL, 'd' },
		{ "from", required_argument, NULL, 'r' },
		{ "probe", no_argument, NULL, 'p' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	memset(p, 0, sizeof *p);
	p->uid = geteuid();
	while ((c = getopt_long(argc, argv, "h", words, NULL)) != -1)
		if (read_option(p, predicts, c) != COMMAND_GOOD)
			return COMMAND_FAILED;
	if (p->help)
		return COMMAND_GOOD;
	if (read_place(p, argc - optind, argv + optind) != COMMAND_GOOD)
		return COMMAND_FAILED;
	if (p->from.sa.sa_family != 0 &&
	    p->from.sa.sa_family != p->address.sa.sa_family)
		return command_usage("--from: of another family", "");
	return COMMAND_GOOD;
}

const char *
place_proto_str(enum sock_proto proto)
{
	return proto == SOCK_UDP ? "udp" : "tcp";
}

char *
place_name(char *buf, size_t len, enum sock_proto proto, const struct addr *a)
{
	char address[ADDR_STR_LEN];

	snprintf(
	    buf, len, "%s %s", place_proto_str(proto), addr_format(address, a));
	return buf;
}

static const char *
user_name(char buf[static 32], unsigned int uid)
{
	const struct passwd *user = getpwuid(uid);

	if (user != NULL)
		snprintf(buf, 32, "%s", user->pw_name);
	else
		snprintf(buf, 32, "uid %u", uid);
	return buf;
}

static const char *
flag_words(const struct portscan_socket *s)
{
	if (!s->flags_seen)
		return s->inode == 0 ? "flags of the listener it came from"
				     : "flags not visible to us";
	if (s->reuseaddr)
		return s->reuseport ? "SO_REUSEADDR and SO_REUSEPORT"
				    : "SO_REUSEADDR";
	return s->reuseport ? "SO_REUSEPORT" : "no sharing flag";
}

char *
place_owner(char *buf, size_t len, const struct portscan_socket *s)
{
	char local[ADDR_STR_LEN], who[256], user[32], device[IF_NAMESIZE + 32];

	device[0] = '\0';
	if (s->device != 0) {
		char name[IF_NAMESIZE];

		if (if_indextoname(s->device, name) != NULL)
			snprintf(device, sizeof device, " dev %s", name);
		else /* such as the guard's, which hears nothing */
			snprintf(device, sizeof device,
			    " dev %u, which is not there", s->device);
	}
	if (s->pid != 0)
		snprintf(who, sizeof who, "pid %ld (%s)%s%s, fd %d",
		    (long)s->pid, s->command, s->unit[0] != '\0' ? ", " : "",
		    s->unit, s->fd);
	else
		snprintf(who, sizeof who, "%s",
		    s->inode == 0	 ? "no process any more"
			: geteuid() != 0 ? "a process that only root can see"
					 : "a process not visible from here");
	snprintf(buf, len, "%s, user %s, on %s%s%s, %s; %s", who,
	    user_name(user, s->uid), addr_format(local, &s->local), device,
	    s->v6only && addr_is_wildcard(&s->local) ? " v6only" : "",
	    portrules_state_str(s->state), flag_words(s));
	return buf;
}

json_t *
place_owner_json(const struct portscan_socket *s)
{
	char local[ADDR_STR_LEN], user[32];
	json_t *o = json_pack("{s:s, s:s, s:i, s:s, s:i, s:b}", "address",
	    addr_format(local, &s->local), "state",
	    portrules_state_str(s->state), "uid", (int)s->uid, "user",
	    user_name(user, s->uid), "device", (int)s->device, "v6only",
	    s->v6only);

	if (s->pid != 0) {
		json_object_set_new(o, "pid", json_integer(s->pid));
		json_object_set_new(o, "fd", json_integer(s->fd));
		json_object_set_new(o, "command", json_string(s->command));
	}
	if (s->unit[0] != '\0')
		json_object_set_new(o, "unit", json_string(s->unit));
	if (s->flags_seen) {
		json_object_set_new(o, "reuseaddr", json_boolean(s->reuseaddr));
		json_object_set_new(o, "reuseport", json_boolean(s->reuseport));
	}
	return o;
}
