/* What is kept when rights are given up, and what must not be missing then. */
#include "proxy/proxy_state.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/priv.h"
#include "net/sock.h"
#include "net/tcp.h"

static void
tell_fast_open(const char *key, enum tcp_side side)
{
	if (!tcp_may_fast_open(side))
		log_warning("%s has no effect on this host: add %d to "
			    "net.ipv4.tcp_fastopen (sysctl)",
		    key, (int)side);
}

static void
tell_congestion(const struct app *a)
{
	const char *name = a->tcp.congestion;

	if (name[0] != '\0' && !tcp_may_congestion(name))
		log_warning("%s: tcp.congestion: %s is not in "
			    "net.ipv4.tcp_allowed_congestion_control (sysctl), "
			    "connections have the host's",
		    a->name, name);
}

/* What this host does not let anybody do, as long as it can be read. */
void
proxy_check_host(const struct proxy_settings *s)
{
	bool edge = false, origin = false;

	for (size_t i = 0; i < s->apps; i++) {
		edge |= s->app[i].tcp.fast_open > 0;
		origin |= s->app[i].tcp.fast_open_origin;
		tell_congestion(&s->app[i]);
	}
	if (edge)
		tell_fast_open("tcp.fast_open", TCP_LISTENERS);
	if (origin)
		tell_fast_open("tcp.fast_open_origin", TCP_CONNECTIONS);
}

/* Better told now than by the first SIGHUP. */
static void
check_reload(const char *config)
{
	if (access(config, R_OK) != 0)
		log_warning("%s: SIGHUP will not be able to read it again, "
			    "as the user that this is now: %s",
		    config, strerror(errno));
}

static bool
is_file(const char *event_log)
{
	return event_log != NULL && strcmp(event_log, "-") != 0;
}

/* What stays within reach: the config's directory, those of the log and of the
 * control socket. */
static int
fence(const struct proxy *p)
{
	char config[PATH_MAX], log[PATH_MAX], control[PATH_MAX];
	struct priv_path paths[3] = {
		{ .path = file_directory(config, p->config) },
	};
	size_t n = 1;

	if (is_file(p->started->event_log))
		paths[n++] = (struct priv_path){
			.path = file_directory(log, p->started->event_log),
			.write = true,
		};
	if (p->started->control != NULL) /* its file is removed at the end */
		paths[n++] = (struct priv_path){
			.path = file_directory(control, p->started->control),
			.write = true,
		};
	if (priv_landlock(paths, n, PRIV_MAY_CONNECT) >= 0)
		return 0;
	log_error("landlock: %s", strerror(errno));
	return -1;
}

/* `transparent` takes CAP_NET_RAW, and then that one is kept. */
static int
drop_caps(const struct proxy_settings *s)
{
	static const int caps[] = { CAP_NET_RAW };
	bool kept = false;

	for (size_t i = 0; i < s->apps; i++)
		kept |= s->app[i].transparent;
	return priv_drop_keep(s->user, caps, kept ? 1 : 0);
}

int
proxy_check_rights(const struct proxy_settings *s, const char *hint)
{
	for (size_t i = 0; i < s->apps; i++) {
		if (!s->app[i].transparent || sock_may_be_transparent() == 0)
			continue;
		log_error("application %s: transparent: takes CAP_NET_RAW%s",
		    s->app[i].name, hint);
		return -1;
	}
	return 0;
}

int
proxy_drop_rights(const struct proxy *p)
{
	static const char hint[] =
	    ", which this process was not given: start it as root, or with "
	    "AmbientCapabilities=CAP_NET_RAW";

	if (drop_caps(p->started) != 0 ||
	    proxy_check_rights(p->started, hint) != 0 || fence(p) != 0)
		return -1;
	check_reload(p->config);
	return 0;
}
