#include "net/sharing.h"

#include <stddef.h>

const char *const sharing_words[] = { "off", "guarded", "open", "reuseport",
	"activation", "dispatch", "demux", NULL };

void
sharing_options(
    enum sharing_mode mode, enum sock_proto proto, struct sock_opts *o)
{
	/* on a TCP listener it lets nobody in: for the sake of TIME_WAIT every
	 * listener carries it in any mode */
	if (mode == SHARING_OPEN && proto == SOCK_UDP)
		o->reuseaddr = true;
	if (mode == SHARING_REUSEPORT)
		o->reuseport = true;
}

const char *
sharing_caution(enum sharing_mode mode, bool udp, bool tcp)
{
	switch (mode) {
	case SHARING_OPEN:
		if (!udp)
			return "open: SO_REUSEADDR helps UDP only; the TCP "
			       "ports are held alone, as with off";
		return tcp ? "open: any local user may bind the UDP ports too, "
			     "and the newest socket on an address takes all "
			     "of its packets; the TCP ports are held alone, "
			     "as SO_REUSEADDR does not help there"
			   : "open: any local user may bind the UDP ports too, "
			     "and the newest socket on an address takes all "
			     "of its packets";
	case SHARING_REUSEPORT:
		return "reuseport: every process of the user that started "
		       "this may bind the ports too, and takes a part of the "
		       "packets where the address is the same";
	case SHARING_DEMUX:
		return tcp ? "demux: TCP connections of the time service come "
			     "through l4proxyd; while that is down there are "
			     "none"
			   : NULL;
	default:
		return NULL;
	}
}
