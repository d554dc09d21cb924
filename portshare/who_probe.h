/*
 * A few datagrams or connections are sent, and it is seen who gets them: by a
 * BPF program where sockets take packets in (net/tracer); without the rights
 * to one by the queues of the sockets, which tells of those alone whose owner
 * does not read at once.
 */
#ifndef PORTSHARE_WHO_PROBE_H
#define PORTSHARE_WHO_PROBE_H

#include "net/tracer.h"
#include "portshare/who.h"

#define WHO_PROBES 16
#define WHO_PROBE_SIGHTS 32 /* sockets that got some of them */

enum who_probe_verdict {
	WHO_PROBE_NONE = 0, /* nothing was seen that proves or disproves */
	WHO_PROBE_AGREES,
	WHO_PROBE_DIFFERS,
};
const char *who_probe_verdict_str(enum who_probe_verdict verdict);

struct who_probe {
	unsigned int sent; /* of WHO_PROBES */
	bool traced; /* false: by the queues, and `why` */
	char why[TRACER_WHY_LEN];
	size_t n;
	struct portscan_socket socket[WHO_PROBE_SIGHTS];
	unsigned int count[WHO_PROBE_SIGHTS]; /* what came to it */
	enum who_probe_verdict verdict;
};

/* Sends and looks, for two seconds at most. 0, or -1 with errno: nothing could
 * be sent. */
int who_probe_run(struct who_probe *p, const struct who *w);

void who_probe_tell(const struct who_probe *p, const struct who *w);
json_t *who_probe_json(const struct who_probe *p);

#endif
