/* `portshare predict`: would a bind work, before anybody tries. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <unistd.h>

#include "base/log.h"
#include "net/sockflag.h"
#include "portshare/advice.h"
#include "portshare/aftermath.h"
#include "portshare/command.h"

struct forecast {
	const struct place *place;
	struct portlook look;
	struct portrules_socket newer;
	struct portrules_verdict verdict;
	const char *why; /* another reason than the rules, NULL: none */
	bool certain; /* false: the holder's flags decide, and are hidden */
	const char *then; /* what it would do to the others; NULL: nothing */
};

/* Ports below this need a capability (ip(7)). */
static unsigned long
first_free_port(void)
{
	char text[16];
	ssize_t n = 0;
	int fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start",
	    O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 1024;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? strtoul(text, NULL, 10) : 1024;
}

static bool
may_bind_low(unsigned int uid)
{
	cap_flag_value_t have = CAP_CLEAR;
	cap_t caps;

	if (uid != geteuid())
		return uid == 0;
	caps = cap_get_proc();
	if (caps == NULL)
		return uid == 0;
	if (cap_get_flag(caps, CAP_NET_BIND_SERVICE, CAP_EFFECTIVE, &have) < 0)
		have = CAP_CLEAR;
	cap_free(caps);
	return have == CAP_SET;
}

/* Is the address one that can be bound here? A port of no interest tells. */
static int
try_address(const struct place *p)
{
	struct addr a = p->address;
	int fd = sockflag_new(p->proto, a.sa.sa_family), error = 0;

	if (fd < 0)
		return errno;
	addr_set_port(&a, 0);
	if (p->opts.device != NULL &&
	    sockflag_set_device(fd, p->opts.device) < 0)
		error = errno;
	if (error == 0 && bind(fd, &a.sa, addr_len(&a)) < 0)
		error = errno;
	close(fd);
	return error;
}

static void
refuse(struct forecast *f, int error, const char *why)
{
	f->verdict.step = SOCK_STEP_BIND;
	f->verdict.error = error;
	f->verdict.other = PORTRULES_NOBODY;
	f->why = why;
	f->certain = true;
}

/* With all sharing flags on those whose flags we may not see. */
static bool
could_bind(struct forecast *f)
{
	bool could;

	for (size_t i = 0; i < f->look.n; i++)
		if (!f->look.found[i].flags_seen)
			f->look.sockets[i].reuseaddr =
			    f->look.sockets[i].reuseport = true;
	could = portrules_predict(&f->look.rules, &f->newer).error == 0;
	for (size_t i = 0; i < f->look.n; i++)
		if (!f->look.found[i].flags_seen)
			f->look.sockets[i].reuseaddr =
			    f->look.sockets[i].reuseport = false;
	return could;
}

static int
look(struct forecast *f)
{
	const struct place *p = f->place;
	int error = try_address(p);

	if (portlook_scan(&f->look, p->proto, addr_port(&p->address)) < 0)
		return -1;
	portlook_newcomer(&f->newer, p->proto, &p->address, &p->opts);
	f->newer.uid = p->uid;
	f->certain = true;
	if (error == EADDRNOTAVAIL) {
		refuse(f, error, "no interface of this host has the address");
	} else if (addr_port(&p->address) < first_free_port() &&
	    !may_bind_low(p->uid)) {
		refuse(f, EACCES,
		    "a low port needs root or "
		    "CAP_NET_BIND_SERVICE");
	} else {
		f->verdict = portrules_predict(&f->look.rules, &f->newer);
		if (f->verdict.error != 0)
			f->certain = f->look.blind == 0 || !could_bind(f);
		else
			f->then = aftermath_of(&f->look, &f->newer);
	}
	return 0;
}

static const struct portscan_socket *
holder_of(const struct forecast *f)
{
	return f->verdict.other < f->look.n ? &f->look.found[f->verdict.other]
					    : NULL;
}

/* The others that are in the way too: each needs the same change. */
static void
tell_others(const struct forecast *f)
{
	char owner[512];
	size_t told = 0;

	for (size_t i = 0; i < f->look.n && f->verdict.error != 0; i++)
		if (i != f->verdict.other && f->why == NULL &&
		    portrules_in_the_way(&f->look.rules, &f->newer, i) &&
		    told++ < 8)
			printf("  also:    %s\n",
			    place_owner(
				owner, sizeof owner, &f->look.found[i]));
}

/* UDP: SO_REUSEADDR asks nobody's owner. */
static bool
opens_to_all(enum portrules_fix fix)
{
	return fix == PORTRULES_FIX_NEWER_REUSEADDR ||
	    fix == PORTRULES_FIX_OLDER_REUSEADDR ||
	    fix == PORTRULES_FIX_BOTH_REUSEADDR;
}

static void
tell(const struct forecast *f)
{
	char lines[ADVICE_MAX][ADVICE_LEN], name[128], owner[512];
	const struct portscan_socket *h = holder_of(f);
	const struct portrules_verdict *v = &f->verdict;
	size_t n;

	place_name(name, sizeof name, f->place->proto, &f->place->address);
	if (v->error == 0)
		printf("%s will bind\n", name);
	else
		printf("%s %s: %s fails with %s\n", name,
		    f->certain ? "will not bind" : "will perhaps not bind",
		    sock_step_str(v->step), strerrorname_np(v->error));
	if (h != NULL && (v->error != 0 || v->rule > PORTRULES_OTHER_PORT))
		printf("  %s  %s\n", v->error != 0 ? "holder:" : "beside:",
		    place_owner(owner, sizeof owner, h));
	tell_others(f);
	printf("  why:     %s\n",
	    f->why != NULL ? f->why : portrules_rule_say(v->rule));
	if (f->then != NULL)
		printf("  then:    %s\n", f->then);
	if (v->error == 0 && v->rule == PORTRULES_BOTH_REUSEADDR)
		printf("  beware:  any local user may join this port in the "
		       "same way\n");
	if (!f->certain)
		printf("  unsure:  the holder's flags are not visible to us; "
		       "with the right one it would bind: ask as root\n");
	if (f->why != NULL || v->error == 0)
		return;
	printf("  fix:     %s\n", portrules_fix_say(v->fix));
	n = advice_make(lines, v->fix, f->place, h);
	for (size_t i = 0; i < n; i++)
		printf("           %s\n", lines[i]);
	if (opens_to_all(v->fix))
		printf("  beware:  while both carry SO_REUSEADDR any local "
		       "user may join and take packets; once the newcomer is "
		       "bound it can be cleared on both\n");
	if (f->look.total > f->look.n)
		printf("  note:    %zu sockets on the port, %zu looked at\n",
		    f->look.total, f->look.n);
}

static json_t *
json_fix(const struct forecast *f)
{
	char lines[ADVICE_MAX][ADVICE_LEN];
	json_t *how = json_array();
	size_t n = advice_make(lines, f->verdict.fix, f->place, holder_of(f));

	for (size_t i = 0; i < n; i++)
		json_array_append_new(how, json_string(lines[i]));
	return json_pack("{s:s, s:s, s:o}", "change",
	    portrules_fix_str(f->verdict.fix), "say",
	    portrules_fix_say(f->verdict.fix), "how", how);
}

static json_t *
json_others(const struct forecast *f)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->look.n && f->verdict.error != 0; i++)
		if (i != f->verdict.other && f->why == NULL &&
		    portrules_in_the_way(&f->look.rules, &f->newer, i))
			json_array_append_new(
			    list, place_owner_json(&f->look.found[i]));
	return list;
}

static void
tell_json(const struct forecast *f)
{
	const struct portrules_verdict *v = &f->verdict;
	char address[ADDR_STR_LEN];
	json_t *o = json_pack("{s:s, s:s, s:b, s:b, s:s}", "protocol",
	    place_proto_str(f->place->proto), "address",
	    addr_format(address, &f->place->address), "will_bind",
	    v->error == 0, "certain", f->certain, "why",
	    f->why != NULL ? f->why : portrules_rule_say(v->rule));

	if (f->why == NULL)
		json_object_set_new(
		    o, "rule", json_string(portrules_rule_str(v->rule)));
	if (v->error != 0) {
		json_object_set_new(
		    o, "step", json_string(sock_step_str(v->step)));
		json_object_set_new(
		    o, "error", json_string(strerrorname_np(v->error)));
	}
	if (holder_of(f) != NULL)
		json_object_set_new(
		    o, "holder", place_owner_json(holder_of(f)));
	json_object_set_new(o, "also", json_others(f));
	if (f->why == NULL && v->error != 0)
		json_object_set_new(o, "fix", json_fix(f));
	if (f->then != NULL)
		json_object_set_new(o, "then", json_string(f->then));
	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
}

int
predict_command(int argc, char **argv)
{
	struct place p;
	struct forecast f = { .place = &p };
	int status = place_parse(&p, true, argc, argv);

	if (status != COMMAND_GOOD)
		return status;
	if (p.help) {
		command_help();
		return COMMAND_GOOD;
	}
	if (look(&f) < 0) {
		log_error("the sockets of this host cannot be seen: %s",
		    strerror(errno));
		status = COMMAND_FAILED;
	} else {
		(p.json ? tell_json : tell)(&f);
		status = f.verdict.error == 0 ? COMMAND_GOOD : COMMAND_NO;
	}
	portlook_free(&f.look);
	return status;
}
