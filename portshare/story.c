/* `portshare story`: its options, its players, its chapters. */
#include "portshare/story.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/log.h"
#include "portshare/command.h"

struct options {
	bool json, syscalls, pause, help;
};

static int
parse(struct options *o, int argc, char **argv)
{
	static const struct option words[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "syscalls", no_argument, NULL, 's' },
		{ "pause", no_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	memset(o, 0, sizeof *o);
	while ((c = getopt_long(argc, argv, "h", words, NULL)) != -1) {
		if (c == 'j')
			o->json = true;
		else if (c == 's')
			o->syscalls = true;
		else if (c == 'p')
			o->pause = true;
		else if (c == 'h')
			o->help = true;
		else
			return command_usage("story: see above", "");
	}
	if (optind < argc)
		return command_usage("story takes no ", argv[optind]);
	return COMMAND_GOOD;
}

static bool (*const chapters[])(struct story *s) = {
	story_time_server,
	story_refusal,
	story_option,
	story_tcp_half,
	story_reuseport,
	story_lives,
	story_dispatch,
	story_strangers,
	story_gap,
	story_repair,
	story_guard,
	story_guard_gap,
	story_demux,
	story_books,
};

/* A key of its own: told, for the queries to be typed again. */
static bool
make_key(struct story *s)
{
	const char *const generate[] = { "roughtime-keys", "generate", "-o",
		"story.key", NULL };
	const char *const show[] = { "roughtime-keys", "public", "story.key",
		NULL };

	if (player_run(NULL, &s->stage, LAB_SERVER, generate, &s->out) < 0 ||
	    s->out.status != 0 ||
	    player_run(NULL, &s->stage, LAB_SERVER, show, &s->out) < 0 ||
	    s->out.status != 0) {
		log_error("no key for the story: %s", s->out.text);
		return false;
	}
	snprintf(s->public_key, sizeof s->public_key, "%.*s",
	    (int)strcspn(s->out.text, "\n"), s->out.text);
	return true;
}

static bool
start_origin(struct story *s)
{
	int error;

	s->origin = (struct echo){
		.name = "the customer's server",
		.net = LAB_CLIENT,
		.address = s->stage.origin,
		.port = STORY_ORIGIN_PORT,
		.udp = true,
		.tcp = true,
		.uid = geteuid(),
	};
	error = echo_start(&s->origin, &s->stage);
	if (error != 0)
		log_error("the customer's server at %s:%u: %s", s->stage.origin,
		    STORY_ORIGIN_PORT, strerror(error));
	return error == 0;
}

static void
tell_stage(struct story *s)
{
	struct utsname u;

	if (uname(&u) < 0)
		u.release[0] = '\0';
	tale_say(&s->tale, "ONE PORT, TWO SERVERS. Linux %s.", u.release);
	if (s->stage.lab.kind == LAB_ROOT)
		tale_say(&s->tale,
		    "All of it happens in a network of its own, which ends "
		    "with the story. The server has the addresses %s and %s, "
		    "its clients are on the other end of a wire, at %s; so "
		    "is the customer's own server.",
		    s->stage.time, s->stage.customer, s->stage.origin);
	else
		tale_say(&s->tale,
		    "Without root there is no network of our own: it happens "
		    "on this host's loopback, on port %u, which its other "
		    "users and hosts can reach for these seconds. Left out: "
		    "dispatch, repair, and what another user can do. As root "
		    "nothing is.",
		    s->stage.port);
}

static json_t *
about(const struct story *s, bool good)
{
	struct utsname u;
	json_t *o = json_pack("{s:b, s:s, s:s, s:i, s:i}", "as_told", good,
	    "kernel", uname(&u) == 0 ? u.release : "", "network",
	    s->stage.lab.kind == LAB_ROOT ? "private" : "loopback", "port",
	    (int)s->stage.port, "checks", s->tale.checks);

	if (s->tale.failed[0] != '\0')
		json_object_set_new(o, "failed", json_string(s->tale.failed));
	return o;
}

static bool
tell_all(struct story *s)
{
	s->listen = "0.0.0.0";
	tell_stage(s);
	for (size_t i = 0; i < sizeof chapters / sizeof *chapters; i++)
		if (!chapters[i](s) || tale_interrupted())
			return false;
	return true;
}

static int
finish(struct story *s, bool good)
{
	if (tale_interrupted()) {
		log_error("the story was interrupted");
	} else if (s->tale.failed[0] != '\0') {
		log_error("not as told: %s", s->tale.failed);
		fprintf(stderr, "%s", player_log(&s->time));
		fprintf(stderr, "%s", player_log(&s->proxy));
	}
	echo_stop(&s->stranger);
	(void)player_stop(&s->watcher);
	(void)player_stop(&s->proxy);
	(void)player_stop(&s->time);
	echo_stop(&s->origin);
	if (good)
		tale_say(&s->tale,
		    "As told: %d checks, all of them so. portshare(8) says "
		    "what to do with a port of your own.",
		    s->tale.checks);
	tale_end(&s->tale, about(s, good));
	if (good)
		return COMMAND_GOOD;
	return s->tale.failed[0] != '\0' ? COMMAND_NO : COMMAND_FAILED;
}

static int
run(const struct options *o)
{
	struct story s = { 0 };
	bool watched;
	int status = COMMAND_FAILED;

	if (tale_begin(&s.tale, o->json) == 0 && stage_open(&s.stage) == 0) {
		s.tale.pause = o->pause && !o->json;
		watched = o->syscalls;
		if (watched && !stage_has_program("strace")) {
			log_error("--syscalls needs strace(1), which is not "
				  "installed: apt-get install strace");
		} else {
			player_init(&s.time, &s.stage, "roughtimed", watched);
			player_init(&s.watcher, &s.stage, "portshare", false);
			player_init(&s.proxy, &s.stage, "l4proxyd", watched);
			status = finish(&s,
			    make_key(&s) && start_origin(&s) && tell_all(&s));
		}
	}
	stage_close(&s.stage);
	return status;
}

int
story_command(int argc, char **argv)
{
	struct options o;
	int status = parse(&o, argc, argv);

	if (status != COMMAND_GOOD)
		return status;
	if (o.help) {
		command_help();
		return COMMAND_GOOD;
	}
	tale_catch_signals();
	return run(&o);
}
