#include "portshare/advice.h"

#include <stdio.h>
#include <string.h>

/* The holder's own socket is changed while it runs: the flag is read live. */
static void
set_on_holder(char line[static ADVICE_LEN], const char *flag,
    const struct place *p, const struct portscan_socket *h)
{
	char address[ADDR_STR_LEN];

	if (h == NULL || h->inode == 0)
		snprintf(line, ADVICE_LEN,
		    "holder: set %s before its bind and start it anew", flag);
	else
		snprintf(line, ADVICE_LEN,
		    "holder: portshare repair %s --for %s --window 60s%s, as "
		    "root, and meanwhile start the newcomer",
		    place_proto_str(p->proto),
		    addr_format(address, &p->address),
		    p->opts.v6only ? " --v6only" : "");
}

static void
set_on_newcomer(
    char line[static ADVICE_LEN], const char *flag, const char *unit_line)
{
	snprintf(line, ADVICE_LEN, "newcomer: set %s before its bind%s%s", flag,
	    unit_line[0] != '\0' ? ", or of a systemd.socket: " : "",
	    unit_line);
}

static void
start_as(char line[static ADVICE_LEN], const struct portscan_socket *h)
{
	snprintf(line, ADVICE_LEN,
	    "newcomer: create its socket as uid %u: setpriv --reuid=%u "
	    "--clear-groups PROGRAM, or open the socket before rights are "
	    "dropped",
	    h != NULL ? h->uid : 0, h != NULL ? h->uid : 0);
}

static void
stop_holder(char line[static ADVICE_LEN], const struct portscan_socket *h)
{
	if (h != NULL && h->unit[0] != '\0')
		snprintf(line, ADVICE_LEN, "or: systemctl stop %s", h->unit);
	else if (h != NULL && h->pid != 0)
		snprintf(line, ADVICE_LEN, "or: kill %ld", (long)h->pid);
	else
		snprintf(line, ADVICE_LEN, "or: stop the holder");
}

size_t
advice_make(char lines[static ADVICE_MAX][ADVICE_LEN], enum portrules_fix fix,
    const struct place *p, const struct portscan_socket *holder)
{
	size_t n = 0;

	switch (fix) {
	case PORTRULES_FIX_NONE:
		break;
	case PORTRULES_FIX_NEWER_REUSEADDR:
		set_on_newcomer(lines[n++], "SO_REUSEADDR", "");
		break;
	case PORTRULES_FIX_NEWER_REUSEPORT:
		set_on_newcomer(lines[n++], "SO_REUSEPORT", "ReusePort=yes");
		break;
	case PORTRULES_FIX_NEWER_V6ONLY:
		set_on_newcomer(
		    lines[n++], "IPV6_V6ONLY", "BindIPv6Only=ipv6-only");
		break;
	case PORTRULES_FIX_NEWER_NOT_V6ONLY:
		snprintf(lines[n++], ADVICE_LEN,
		    "newcomer: clear IPV6_V6ONLY, or bind an AF_INET socket");
		break;
	case PORTRULES_FIX_OLDER_REUSEADDR:
		set_on_holder(lines[n++], "SO_REUSEADDR", p, holder);
		break;
	case PORTRULES_FIX_OLDER_REUSEPORT:
		set_on_holder(lines[n++], "SO_REUSEPORT", p, holder);
		break;
	case PORTRULES_FIX_BOTH_REUSEADDR:
		set_on_newcomer(lines[n++], "SO_REUSEADDR", "");
		set_on_holder(lines[n++], "SO_REUSEADDR", p, holder);
		break;
	case PORTRULES_FIX_BOTH_REUSEPORT:
		set_on_newcomer(lines[n++], "SO_REUSEPORT", "ReusePort=yes");
		set_on_holder(lines[n++], "SO_REUSEPORT", p, holder);
		break;
	case PORTRULES_FIX_SAME_UID:
		start_as(lines[n++], holder);
		break;
	case PORTRULES_FIX_SAME_UID_REUSEPORT:
		start_as(lines[n++], holder);
		set_on_newcomer(lines[n++], "SO_REUSEPORT", "ReusePort=yes");
		set_on_holder(lines[n++], "SO_REUSEPORT", p, holder);
		break;
	case PORTRULES_FIX_OTHER_ADDRESS:
		snprintf(lines[n++], ADVICE_LEN,
		    "newcomer: another address or port than %u",
		    addr_port(&p->address));
		stop_holder(lines[n++], holder);
		break;
	}
	return n;
}
