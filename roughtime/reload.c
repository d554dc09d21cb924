/* SIGHUP: everything is read, bound and checked before anything changes. */
#include "roughtime/server_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/notify.h"

static int
reload_identities(struct server *s, const struct settings *fresh)
{
	struct identity_config list[IDENTITY_MAX];
	struct identity_settings ids = settings_identities(fresh, list);

	for (size_t i = 0; s->keyholder == NULL && i < ids.count; i++) {
		if (list[i].key == NULL)
			continue;
		log_error("identity %s: a key file after a start without "
			  "one takes a restart: there is no keyholder",
		    list[i].name);
		return -1;
	}
	return identities_reload(s->identities, &ids);
}

static void
drop_configs(struct worker_config **list, size_t n)
{
	for (size_t i = 0; list != NULL && i < n; i++)
		worker_config_free(list[i]);
	free(list);
}

/* What the workers will get, or NULL: there is no memory for all of it. */
static struct worker_config **
make_configs(const struct server *s, const struct settings *fresh,
    const struct listen_set *listeners)
{
	struct worker_config **list;
	size_t n = 0;

	list = calloc(s->worker_count, sizeof(struct worker_config *));
	while (list != NULL && n < s->worker_count) {
		list[n] = server_worker_config(fresh, listeners, n);
		if (list[n] == NULL)
			break;
		n++;
	}
	if (n == s->worker_count)
		return list;
	log_error("reload: %s", strerror(errno));
	drop_configs(list, n);
	return NULL;
}

static void
hand_over(struct server *s, struct worker_config **list)
{
	for (size_t i = 0; i < s->worker_count; i++)
		worker_configure(s->workers[i], list[i]);
	free(list);
}

bool
server_close_retired(struct server *s)
{
	for (size_t i = 0; s->retired.count > 0 && i < s->worker_count; i++) {
		if (!worker_settled(s->workers[i]))
			return false;
	}
	s->closed_drops += listen_drops(&s->retired);
	listen_close(&s->retired);
	return true;
}

/* Nothing fails from here on. */
static void
apply(struct server *s, struct settings *fresh, struct listen_set *listeners)
{
	struct timesource_config clock = settings_timesource(fresh);
	char keys[256];

	if (settings_fixed_change(s->started, fresh, keys, sizeof keys))
		log_warning("reload: takes a restart and stays as it was "
			    "until then: %s",
		    keys);
	if (s->current != s->started)
		server_drop_settings(s->current);
	s->current = fresh;
	listen_commit(listeners, &s->listeners);
	s->retired = s->listeners;
	s->listeners = *listeners;
	log_set_level((enum log_level)fresh->log_level);
	timesource_configure(s->time, &clock);
}

/* All of it is read, bound and checked before anything changes. */
static int
try_reload(struct server *s, struct settings *fresh)
{
	struct listen_set listeners = { 0 };
	struct worker_config **configs;

	if (listen_reload(&listeners, &s->listeners, fresh, s->started->ingress,
		settings_workers(s->started)) != 0)
		return -1;
	configs = make_configs(s, fresh, &listeners);
	if (configs == NULL || reload_identities(s, fresh) != 0) {
		drop_configs(configs, s->worker_count);
		listen_undo(&listeners, &s->listeners);
		return -1;
	}
	apply(s, fresh, &listeners);
	hand_over(s, configs);
	listen_log(&s->listeners);
	identities_describe(s->identities);
	guard_forget(s->source.guard);
	log_info("reloaded");
	return 0;
}

void
server_reload(struct server *s)
{
	struct settings *fresh;

	if (!server_close_retired(s)) {
		/* a SIGHUP must not be lost: the next tick asks again */
		s->reload_waits = true;
		return;
	}
	s->reload_waits = false;
	notify_reloading();
	fresh = server_settings(s->options);
	if (fresh == NULL || try_reload(s, fresh) != 0) {
		server_drop_settings(fresh);
		log_error("reload failed: everything stays as it was (keys "
			  "and bundles must lie in the directories known at "
			  "the start, readable to user %s)",
		    s->started->user);
	}
	notify_ready("Answering requests");
}
