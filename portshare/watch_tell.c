/* What `portshare watch` says, and to whom. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "portshare/watch.h"

#define HOOKS_MAX 8 /* under way at one time */

/* Another user's is the worst of it, whatever the way. */
static const char *
title(const struct watch_finding *f)
{
	return f->other_user ? "hijack" : watch_event_str(f->event);
}

static char *
program_of(char *buf, size_t len, const struct watch_finding *f)
{
	buf[0] = '\0';
	if (f->program != 0)
		snprintf(buf, len, "; program %s (id %u)",
		    f->name[0] != '\0' ? f->name : "without a name",
		    f->program);
	return buf;
}

void
watch_tell(const struct watch *w, const struct watch_finding *f, bool over)
{
	const struct watch_place *p = &w->place[f->place];
	char name[128], owner[512], by[64], to[ADDR_STR_LEN];

	place_name(name, sizeof name, p->proto, &p->address);
	if (over) {
		log_info("%s: over: %s", name, title(f));
		return;
	}
	log_warning("%s: %s: what is sent to %s: %s%s%s%s", name, title(f),
	    addr_format(to, &f->to), watch_event_say(f->event),
	    f->socket.cookie != 0 ? ": " : "",
	    f->socket.cookie != 0 ? place_owner(owner, sizeof owner, &f->socket)
				  : "",
	    program_of(by, sizeof by, f));
}

void
watch_tell_json(const struct watch *w, const struct watch_finding *f, bool over,
    uint64_t age_ms)
{
	const struct watch_place *p = &w->place[f->place];
	char watched[ADDR_STR_LEN], to[ADDR_STR_LEN];
	json_t *o = json_pack("{s:I, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:I}",
	    "unix_us", (json_int_t)clock_realtime_us(), "event", title(f),
	    "how", watch_event_str(f->event), "over", over, "protocol",
	    place_proto_str(p->proto), "watched",
	    addr_format(watched, &p->address), "to", addr_format(to, &f->to),
	    "say", watch_event_say(f->event), "age_ms_at_most",
	    (json_int_t)age_ms);

	if (f->socket.cookie != 0)
		json_object_set_new(o, "socket", place_owner_json(&f->socket));
	if (f->program != 0)
		json_object_set_new(o, "program",
		    json_pack(
			"{s:i, s:s}", "id", (int)f->program, "name", f->name));
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(o);
}

/* ---- the hook ---- */

static void
set_number(const char *name, long long value)
{
	char text[32];

	snprintf(text, sizeof text, "%lld", value);
	setenv(name, text, 1);
}

static void
set_environment(const struct watch *w, const struct watch_finding *f, bool over)
{
	const struct watch_place *p = &w->place[f->place];
	char address[ADDR_STR_LEN];

	setenv("PORTSHARE_EVENT", title(f), 1);
	setenv("PORTSHARE_HOW", watch_event_str(f->event), 1);
	setenv("PORTSHARE_OVER", over ? "1" : "0", 1);
	setenv("PORTSHARE_PROTOCOL", place_proto_str(p->proto), 1);
	setenv("PORTSHARE_WATCHED", addr_format(address, &p->address), 1);
	setenv("PORTSHARE_TO", addr_format(address, &f->to), 1);
	if (f->program != 0)
		set_number("PORTSHARE_PROGRAM", f->program);
	if (f->socket.cookie == 0)
		return;
	setenv("PORTSHARE_LOCAL", addr_format(address, &f->socket.local), 1);
	setenv("PORTSHARE_COMMAND", f->socket.command, 1);
	set_number("PORTSHARE_PID", f->socket.pid);
	set_number("PORTSHARE_UID", f->socket.uid);
}

static _Noreturn void
run(const struct watch *w, const struct watch_finding *f, bool over)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	set_environment(w, f, over);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl("/bin/sh", "sh", "-c", w->hook, (char *)NULL);
	_exit(127);
}

void
watch_hook(struct watch *w, const struct watch_finding *f, bool over)
{
	static struct log_gate gate;
	pid_t child;

	watch_reap(w);
	if (w->hooks >= HOOKS_MAX) {
		log_limited(&gate, LOG_LEVEL_WARNING,
		    "%d hooks are still under way, one is left out", w->hooks);
		return;
	}
	child = fork();
	if (child == 0)
		run(w, f, over);
	if (child > 0)
		w->hooks++;
	else
		log_error("the hook: %s", strerror(errno));
}

void
watch_reap(struct watch *w)
{
	while (w->hooks > 0 && waitpid(-1, NULL, WNOHANG) > 0)
		w->hooks--;
}
