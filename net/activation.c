#include "net/activation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "base/log.h"
#include "net/listener.h"
#include "net/steer.h"
#include "net/tcp.h"

#define SOCKETS_MAX 65536

struct handed {
	int fd;
	enum sock_proto proto;
	struct addr address;
	bool claimed;
};

struct activation {
	struct handed *list;
	size_t count;
	bool settled; /* the start is through: giving back means something */
};

#ifdef HAVE_LIBSYSTEMD
#define FIRST SD_LISTEN_FDS_START

/* Their number, also in `error` when it is negative; close-on-exec from now
 * on, and the environment is cleared. */
static int
take_all(void)
{
	return sd_listen_fds(1);
}
#else
#define FIRST 3

static int
take_all(void)
{
	return -ENOSYS;
}
#endif

static void
tell_none(int n)
{
	if (n == -ENOSYS)
		log_error("sharing.mode: activation: built without libsystemd");
	else if (n < 0)
		log_error(
		    "sharing.mode: activation: LISTEN_FDS: %s", strerror(-n));
	else
		log_error("sharing.mode: activation: no socket was handed over "
			  "(LISTEN_FDS, LISTEN_PID): start the service by its "
			  ".socket units, or try by hand with "
			  "systemd-socket-activate(1)");
}

static int
look_at(struct handed *h, int fd)
{
	const char *why;

	h->fd = fd;
	if (sock_identify(fd, &h->proto, &h->address, &why) == 0)
		return 0;
	log_error("sharing.mode: activation: descriptor %d, which was handed "
		  "over, %s",
	    fd, why);
	return -1;
}

struct activation *
activation_open(void)
{
	struct activation *a;
	int n = take_all();

	if (n <= 0 || n > SOCKETS_MAX) {
		tell_none(n);
		return NULL;
	}
	a = calloc(1, sizeof *a);
	if (a != NULL)
		a->list = calloc((size_t)n, sizeof *a->list);
	if (a == NULL || a->list == NULL) {
		log_error("sharing.mode: activation: %s", strerror(errno));
		activation_free(a);
		return NULL;
	}
	for (; a->count < (size_t)n; a->count++) {
		if (look_at(&a->list[a->count], FIRST + (int)a->count) == 0)
			continue;
		activation_free(a);
		return NULL;
	}
	return a;
}

void
activation_free(struct activation *a)
{
	if (a == NULL)
		return;
	free(a->list);
	free(a);
}

void
activation_ignore(void)
{
	int n = take_all();

	if (n > 0)
		log_warning("%d sockets were handed over (LISTEN_FDS) and are "
			    "not used: sharing.mode is not activation",
		    n);
}

/* ---- claiming ---- */

static bool
is_at(const struct handed *h, enum sock_proto proto, const struct addr *address)
{
	return h->proto == proto && addr_equal(&h->address, address);
}

/* Of a socket that is there: what its maker left to us. */
static int
prepare(struct handed *h, const struct sock_opts *o)
{
	char name[ADDR_STR_LEN];
	const char *why;

	if (sock_adopt(h->fd, h->proto, &h->address, o, &why) == 0) {
		if (h->proto == SOCK_UDP)
			steer_go_on(h->fd);
		h->claimed = true;
		return 0;
	}
	log_error("%s %s: the socket that was handed over %s",
	    listener_proto_str(h->proto), addr_format(name, &h->address), why);
	return -1;
}

int
activation_claim(struct activation *a, enum sock_proto proto,
    const struct addr *address, const struct sock_opts *o, size_t queues,
    int *fds)
{
	char name[ADDR_STR_LEN];
	size_t n = 0;

	for (size_t i = 0; i < a->count; i++) {
		struct handed *h = &a->list[i];

		if (!is_at(h, proto, address))
			continue;
		if (prepare(h, o) != 0)
			return -1;
		if (n < queues)
			fds[n] = h->fd;
		n++;
	}
	if (n == queues)
		return 0;
	addr_format(name, address);
	if (n == 0)
		log_error("%s %s: no socket for it was handed over",
		    listener_proto_str(proto), name);
	else
		log_error("%s %s: sockets handed over: %zu, expected %zu, one "
			  "for each queue (workers)",
		    listener_proto_str(proto), name, n, queues);
	return -1;
}

void
activation_give_back(struct activation *a, const int *fds, size_t n)
{
	/* after a start that fails, the next one finds all as it was */
	for (size_t i = 0; a->settled && i < n; i++) {
		for (size_t k = 0; k < a->count; k++) {
			struct handed *h = &a->list[k];

			if (h->fd != fds[i])
				continue;
			h->claimed = false;
			if (h->proto == SOCK_UDP)
				(void)steer_stop(h->fd);
			else
				(void)tcp_listen_stop(h->fd);
		}
	}
}

bool
activation_settle(struct activation *a)
{
	char name[ADDR_STR_LEN];
	bool all = true;

	for (size_t i = 0; i < a->count; i++) {
		const struct handed *h = &a->list[i];

		if (h->claimed)
			continue;
		log_error("%s %s: a socket for it was handed over, but the "
			  "configuration has no listener there",
		    listener_proto_str(h->proto),
		    addr_format(name, &h->address));
		all = false;
	}
	a->settled = all;
	return all;
}
