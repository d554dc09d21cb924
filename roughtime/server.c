#include "roughtime/server_state.h"

#include <sys/capability.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/priv.h"
#include "net/limit.h"
#include "net/sharing.h"
#include "roughtime/counters.h"
#include "roughtime/hash.h"
#include "base/notify.h"

#define TICK_S 1.0
#define DRAIN_S 3.0
#define FDS_BESIDE 1024 /* listeners, event loops, files */
#define FDS_A_WORKER 3 /* epoll, eventfd, a reserve */
#define FDS_SPARE 16 /* for what is opened and closed again */
#define CLOCK_SLACK_S 60 /* the keyholder's clock against ours */

/* ---- settings ---- */

struct settings *
server_settings(const struct server_options *o)
{
	struct settings *s = calloc(1, sizeof *s);
	int result;

	if (s == NULL) {
		log_error("settings: %s", strerror(errno));
		return NULL;
	}
	result = o->config != NULL
	    ? settings_load(s, o->config)
	    : settings_from_options(s, o->key, o->listen, o->listen_count);
	if (result == 0)
		return s;
	settings_free(s);
	free(s);
	return NULL;
}

void
server_drop_settings(struct settings *s)
{
	if (s == NULL)
		return;
	settings_free(s);
	free(s);
}

/* ---- coming to life ---- */

static int
start_keyholder(struct server *s)
{
	const struct settings_delegation *d = &s->started->delegation;
	const struct settings_identity *id = s->started->identities.items;
	const char *paths[IDENTITY_MAX];
	struct keyholder_config config = {
		.user = s->started->user,
		.max_delegation_s =
		    (uint64_t)(d->lifetime_s + d->backdate_s + CLOCK_SLACK_S),
		.paths = paths,
		.passphrase_file = s->started->passphrase_file,
	};

	for (size_t i = 0; i < s->started->identities.count; i++) {
		if (id[i].key != NULL)
			paths[config.npaths++] = id[i].key;
	}
	if (config.npaths == 0)
		return 0; /* no long-term key on this machine */
	s->keyholder = keyholder_start(&config);
	return s->keyholder != NULL ? 0 : -1;
}

static int
read_identities(struct server *s)
{
	struct identity_config list[IDENTITY_MAX];
	struct identity_settings ids = settings_identities(s->started, list);

	s->identities = identities_new(
	    &ids, s->keyholder, settings_workers(s->started), true);
	return s->identities != NULL ? 0 : -1;
}

static int
start_clock(struct server *s)
{
	struct timesource_config config = settings_timesource(s->started);

	s->time = timesource_new(&config);
	if (s->time == NULL) {
		log_error("clock: %s", strerror(errno));
		return -1;
	}
	return 0;
}

/* As many descriptors as connections are promised, if we may. */
static void
raise_fd_limit(const struct settings *s)
{
	rlim_t want = (rlim_t)s->tcp.max_connections + FDS_BESIDE;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= want)
		return;
	limit.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Better told now than by the first SIGHUP. */
static void
check_reload(const struct server_options *o)
{
	if (o->config != NULL && access(o->config, R_OK) != 0)
		log_warning("%s: SIGHUP will not be able to read it again, "
			    "as the user that this is now: %s",
		    o->config, strerror(errno));
}

/*
 * Bundles are 0600 and mostly root's. A server that holds no long-term key
 * keeps the right to read them (and its config file) over reloads; Landlock
 * confines that to their directories, and without Landlock it is given up
 * (confine). With a key file of its own it gives the right up, too: the key
 * may lie beside the config file.
 */
static int
drop_rights(const struct settings *c)
{
	const struct settings_identity *id = c->identities.items;
	const int search[] = { CAP_DAC_READ_SEARCH };
	size_t keep = 1;

	for (size_t i = 0; i < c->identities.count; i++) {
		if (id[i].key != NULL)
			keep = 0;
	}
	return priv_drop_keep(c->user, search, keep);
}

struct server *
server_new(const struct server_options *o)
{
	struct server *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->options = o;
	s->udpstat.fd4 = s->udpstat.fd6 = -1;
	s->started = s->current = server_settings(o);
	if (s->started == NULL)
		goto fail;
	log_set_level((enum log_level)s->started->log_level);
	raise_fd_limit(s->started);
	/* the keyholder is forked before there is anything to inherit, and
	 * bundles are read with the rights that a reload will have */
	s->source.rehearse = o->rehearse;
	if (start_keyholder(s) != 0 ||
	    listener_begin(
		&s->source, (enum sharing_mode)s->started->sharing.mode) != 0 ||
	    server_open_guard(s) != 0 ||
	    listen_open(&s->listeners, s->started, settings_workers(s->started),
		&s->source) != 0 ||
	    listener_settle(&s->source) != 0 || drop_rights(s->started) != 0 ||
	    read_identities(s) != 0 || start_clock(s) != 0)
		goto fail;
	check_reload(o);
	return s;
fail:
	server_free(s);
	return NULL;
}

/* What a reload has to read again: the config file and the bundles. */
static int
confine(struct server *s)
{
	struct priv_path paths[IDENTITY_MAX + 1] = { 0 };
	const struct settings_identity *id = s->started->identities.items;
	char directory[PATH_MAX];
	size_t n = 0;
	int fence;

	if (s->options->config != NULL)
		paths[n++].path = file_directory(directory, s->options->config);
	for (size_t i = 0; i < s->started->identities.count; i++) {
		if (id[i].delegations != NULL)
			paths[n++].path = id[i].delegations;
	}
	fence = priv_landlock(paths, n, PRIV_NO_CONNECT);
	if (fence < 0) {
		log_error("cannot be confined: landlock: %s", strerror(errno));
		return -1;
	}
	if (fence == 1) {
		log_warning("no Landlock in this kernel: whatever user %s may "
			    "read, the server may; its bundles too",
		    s->started->user);
		if (priv_drop(s->started->user) != 0)
			return -1;
	}
	if (priv_seccomp(PRIV_SERVER) != 0) {
		log_error("cannot be confined: seccomp: %s", strerror(errno));
		return -1;
	}
	return 0;
}

/* ---- workers ---- */

struct worker_config *
server_worker_config(const struct settings *now,
    const struct listen_set *listeners, size_t index)
{
	struct worker_config *c = calloc(1, sizeof *c);
	struct limit_config limit = settings_limit(now);

	if (c == NULL)
		return NULL;
	c->grease = now->grease.fraction;
	c->tcp.idle_ns = (uint64_t)now->tcp.idle_timeout_ms * 1000000;
	c->tcp.read_ns = (uint64_t)now->tcp.read_timeout_ms * 1000000;
	c->tcp.write_ns = (uint64_t)now->tcp.write_timeout_ms * 1000000;
	c->tcp_any_length = now->tcp.short_requests == SETTINGS_SHORT_ANSWER;
	c->udp_count = listen_fds(listeners, SOCK_UDP, index, c->udp_fds);
	c->tcp_count = listen_fds(listeners, SOCK_TCP, index, c->tcp_fds);
	if (limit.rate_per_s <= 0)
		return c;
	c->limit = limit_new(&limit);
	if (c->limit != NULL)
		return c;
	worker_config_free(c);
	return NULL;
}

static struct worker *
make_worker(struct server *s, size_t index)
{
	const struct settings_tcp *tcp = &s->started->tcp;
	struct worker_setup setup = {
		.index = index,
		.identities = s->identities,
		.time = s->time,
		.admission = s->admission,
		.batch = (size_t)s->started->batch,
		.tcp_connections = (size_t)tcp->max_connections,
		.tcp_max_frame = (size_t)tcp->max_frame,
		.tcp_max_outstanding = (size_t)tcp->max_outstanding,
		.sockets_stay =
		    s->source.activation != NULL || s->source.demux != NULL,
	};
	struct worker_config *config =
	    server_worker_config(s->started, &s->listeners, index);
	struct worker *w = NULL;

	if (config != NULL)
		w = worker_new(&setup, config);
	if (w == NULL)
		worker_config_free(config);
	return w;
}

/*
 * Clients get no descriptor that a reload or the next bundle needs: nobody
 * outside shall be able to hold those up.
 */
static size_t
connections_max(const struct settings *c)
{
	size_t wanted = (size_t)c->tcp.max_connections, kept, room;
	int next = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	struct rlimit limit;

	if (next < 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return wanted;
	close(next); /* as many as its number were open before it */
	kept = (size_t)next + FDS_A_WORKER * settings_workers(c) + FDS_SPARE;
	room = limit.rlim_cur > kept ? (size_t)limit.rlim_cur - kept : 1;
	if (room >= wanted)
		return wanted;
	log_warning("tcp.max_connections is %zu, but with the limit of %llu "
		    "open files it can be %zu",
	    wanted, (unsigned long long)limit.rlim_cur, room);
	return room;
}

static int
make_workers(struct server *s)
{
	size_t n = settings_workers(s->started);
	struct admission_config admission = {
		.max_total = connections_max(s->started),
		.max_per_client = (size_t)s->started->tcp.max_per_client,
		.prefix4 = (unsigned int)s->started->limit.prefix4,
		.prefix6 = (unsigned int)s->started->limit.prefix6,
	};

	s->admission = admission_new(&admission);
	s->workers = calloc(n, sizeof(struct worker *));
	while (
	    s->admission != NULL && s->workers != NULL && s->worker_count < n) {
		struct worker *w = make_worker(s, s->worker_count);

		if (w == NULL)
			break;
		s->workers[s->worker_count++] = w;
	}
	server_tell_foreign(s);
	if (s->worker_count == n)
		return 0;
	log_error("cannot make %zu workers: %s", n, strerror(errno));
	return -1;
}

static int
start_workers(struct server *s)
{
	for (; s->running < s->worker_count; s->running++) {
		if (worker_start(s->workers[s->running]) != 0) {
			log_error("cannot start the thread of a worker: %s",
			    strerror(errno));
			return -1;
		}
	}
	return 0;
}

static void
stop_workers(struct server *s)
{
	for (size_t i = 0; i < s->running; i++)
		worker_stop(s->workers[i], DRAIN_S);
	for (size_t i = 0; i < s->running; i++)
		worker_join(s->workers[i]);
	s->running = 0;
}

/* ---- telling ---- */

static void
print_counters(struct server *s)
{
	static char text[COUNTERS_TEXT_MAX];
	const struct counters *list[SETTINGS_WORKERS_MAX];
	struct counters_kernel kernel = {
		.drops = listen_drops(&s->listeners) +
		    listen_drops(&s->retired) + s->closed_drops,
		.queue_full = udpstat_queue_full(&s->udpstat),
		.connections = admission_open(s->admission),
		.kept_drops = guard_kept_drops(s->source.guard),
	};
	size_t len;

	/* the host's number may hold other programs' drops */
	if (kernel.queue_full > kernel.drops)
		kernel.queue_full = kernel.drops;
	for (size_t i = 0; i < s->worker_count; i++)
		list[i] = worker_counters(s->workers[i]);
	len =
	    counters_format(text, sizeof text, list, s->worker_count, &kernel);
	if (write(STDERR_FILENO, text, len) < 0)
		log_warning("counters: %s", strerror(errno));
}

static void
log_versions(const struct settings *s)
{
	char text[512];
	size_t used = 0;

	text[0] = '\0';
	for (int row = VERSION_ROWS - 1; row >= 0; row--) {
		int n = 0;

		if ((s->version_rows & 1u << row) != 0)
			n = snprintf(text + used, sizeof text - used, " %s",
			    version_table[row].name);
		if (n > 0 && (size_t)n < sizeof text - used)
			used += (size_t)n;
	}
	log_info("versions:%s", text);
}

static void
tell_sharing(const struct settings *s)
{
	unsigned int transports = 0;
	const char *caution;

	for (size_t i = 0; i < s->listen.count; i++)
		transports |= settings_listen_at(s, i)->transports;
	caution = sharing_caution((enum sharing_mode)s->sharing.mode,
	    (transports & 1u << SOCK_UDP) != 0,
	    (transports & 1u << SOCK_TCP) != 0);
	if (caution != NULL)
		log_warning("sharing: %s", caution);
}

static void
log_start(struct server *s)
{
	const struct settings *c = s->started;

	listen_log(&s->listeners);
	identities_describe(s->identities);
	log_versions(c);
	tell_sharing(c);
	log_info("%zu %s, %s, batches of up to %lld, hash: %s", s->worker_count,
	    s->worker_count == 1 ? "worker" : "workers",
	    c->ingress == SETTINGS_SHARED_QUEUE ? "shared queue"
						: "parallel queues",
	    (long long)c->batch, hash_name());
}

/* ---- the main loop ---- */

static void
signal_event(struct ev_loop *loop, ev_signal *w, int events)
{
	struct server *s = w->data;

	(void)events;
	switch (w->signum) {
	case SIGHUP:
		server_reload(s);
		break;
	case SIGUSR1:
		print_counters(s);
		break;
	default:
		log_info("stopping: answers what is queued");
		notify_stopping("Answering what is queued");
		ev_break(loop, EVBREAK_ALL);
	}
}

static void
tick_event(struct ev_loop *loop, ev_timer *w, int events)
{
	struct server *s = w->data;

	(void)loop;
	(void)events;
	server_close_retired(s);
	if (s->reload_waits)
		server_reload(s);
	timesource_poll(s->time);
	identities_tick(s->identities, clock_unix_s());
}

static void
keyholder_event(struct ev_loop *loop, ev_io *w, int events)
{
	(void)events;
	if (!keyholder_ended(w->data))
		return;
	ev_io_stop(loop, w);
	log_error("the keyholder is gone: no new delegation can be signed; "
		  "requests are answered until the present ones end, restart "
		  "roughtimed before");
}

static int
init_loop(struct server *s)
{
	static const int numbers[SIGNALS] = { SIGTERM, SIGINT, SIGHUP,
		SIGUSR1 };
	sigset_t none;

	s->loop =
	    ev_default_loop(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOTIMERFD);
	if (s->loop == NULL) {
		log_error("event loop: %s", strerror(errno));
		return -1;
	}
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < SIGNALS; i++) {
		ev_signal_init(&s->signals[i], signal_event, numbers[i]);
		s->signals[i].data = s;
		ev_signal_start(s->loop, &s->signals[i]);
	}
	/* whoever started us may have had them blocked, which is inherited */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	ev_timer_init(&s->tick, tick_event, TICK_S, TICK_S);
	s->tick.data = s;
	ev_timer_start(s->loop, &s->tick);
	if (s->keyholder != NULL) {
		ev_io_init(&s->keyholder_gone, keyholder_event,
		    keyholder_fd(s->keyholder), EV_READ);
		s->keyholder_gone.data = s->keyholder;
		ev_io_start(s->loop, &s->keyholder_gone);
	}
	server_watch_guard(s);
	return 0;
}

int
server_run(struct server *s)
{
	int result = -1;

	udpstat_open(&s->udpstat);
	if (init_loop(s) != 0 || make_workers(s) != 0 || confine(s) != 0)
		return -1;
	log_start(s);
	if (start_workers(s) == 0) {
		notify_ready("Answering requests");
		ev_run(s->loop, 0);
		result = 0;
	}
	stop_workers(s);
	print_counters(s);
	return result;
}

void
server_free(struct server *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->worker_count; i++)
		worker_free(s->workers[i]);
	free(s->workers);
	admission_free(s->admission);
	identities_free(s->identities);
	timesource_free(s->time);
	if (s->keyholder != NULL)
		keyholder_stop(s->keyholder);
	listener_end(&s->source);
	listen_close(&s->listeners);
	listen_close(&s->retired);
	udpstat_close(&s->udpstat);
	if (s->current != s->started)
		server_drop_settings(s->current);
	server_drop_settings(s->started);
	free(s);
}
