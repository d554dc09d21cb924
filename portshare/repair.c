/* `portshare repair`: a running server lets a newcomer bind beside it, once. */
#include "portshare/repair.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/when.h"
#include "portshare/command.h"
#include "portshare/place.h"

#define WINDOW_MS 5000
#define WINDOW_MAX_MS (3600 * 1000)
#define PROTOCOLS 2

static int
read_window(struct repair_wish *w, const char *text)
{
	if (!when_duration(text, 1000, &w->window_ms) || w->window_ms < 1 ||
	    w->window_ms > WINDOW_MAX_MS)
		return command_usage(
		    "--window: 1ms to 1h, such as 5s, not ", text);
	return COMMAND_GOOD;
}

static int
read_option(struct repair_wish *w, int c)
{
	if (c == 'h')
		w->help = true;
	else if (c == 'j')
		w->json = true;
	else if (c == 'n')
		w->dry_run = true;
	else if (c == 'b')
		w->both = true;
	else if (c == '6')
		w->v6only = true;
	else if (c == 'w')
		return read_window(w, optarg);
	else if (c == 'u')
		return place_read_uid(&w->uid, optarg);
	else if (c == 'f')
		return place_read_address(&w->address, optarg);
	else
		return command_usage("repair: see above", "");
	return COMMAND_GOOD;
}

/* What follows -- is the command's, with options of its own. */
static int
cut_command(struct repair_wish *w, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--") == 0) {
			w->command = argv + i + 1;
			return i;
		}
	return argc;
}

static int
read_rest(struct repair_wish *w, int argc, char **argv)
{
	enum sock_proto proto = SOCK_UDP;

	if (argc > 0 && place_read_proto(&proto, argv[0]) != COMMAND_GOOD)
		return COMMAND_FAILED;
	if (argc > 1)
		return command_usage(
		    "repair: a command comes after --: ", argv[1]);
	if (w->command != NULL && w->command[0] == NULL)
		return command_usage("repair: no command after --", "");
	if (w->address.sa.sa_family == 0)
		return command_usage(
		    "repair: for whom? --for ADDRESS:PORT", "");
	w->udp = argc == 0 || proto == SOCK_UDP;
	w->tcp = argc == 0 || proto == SOCK_TCP;
	/* a command's sockets are of our user, if it does not change it */
	if (w->command != NULL && w->uid == REPAIR_PLAN_ANY_UID)
		w->uid = geteuid();
	return COMMAND_GOOD;
}

static int
read_wish(struct repair_wish *w, int argc, char **argv)
{
	static const struct option words[] = {
		{ "for", required_argument, NULL, 'f' },
		{ "window", required_argument, NULL, 'w' },
		{ "uid", required_argument, NULL, 'u' },
		{ "v6only", no_argument, NULL, '6' },
		{ "both", no_argument, NULL, 'b' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	memset(w, 0, sizeof *w);
	w->window_ms = WINDOW_MS;
	w->uid = REPAIR_PLAN_ANY_UID;
	argc = cut_command(w, argc, argv);
	while ((c = getopt_long(argc, argv, "nh", words, NULL)) != -1)
		if (read_option(w, c) != COMMAND_GOOD)
			return COMMAND_FAILED;
	if (w->help)
		return COMMAND_GOOD;
	return read_rest(w, argc - optind, argv + optind);
}

/* ---- what is to be done ---- */

/* Returns how many protocols; 0: the sockets cannot be seen, errno. */
static size_t
make_plans(const struct repair_wish *w, struct repair r[static PROTOCOLS])
{
	size_t n = 0;

	for (int i = 0; i < PROTOCOLS; i++) {
		enum sock_proto proto = i == 0 ? SOCK_UDP : SOCK_TCP;

		if (!(proto == SOCK_UDP ? w->udp : w->tcp))
			continue;
		if (repair_plan_make(&r[n++].plan, proto, &w->address,
			w->v6only, w->uid) < 0)
			return 0;
	}
	return n;
}

/* Those with somebody in the way come first; returns how many these are. */
static size_t
put_first(struct repair r[static PROTOCOLS], size_t n)
{
	if (n == 2 && r[0].plan.kind == REPAIR_PLAN_FREE &&
	    r[1].plan.kind != REPAIR_PLAN_FREE) {
		struct repair t = r[0];

		r[0] = r[1];
		r[1] = t;
	}
	while (n > 0 && r[n - 1].plan.kind == REPAIR_PLAN_FREE)
		n--;
	return n;
}

/* What can be said before anything is touched; REPAIR_DO: do it. */
#define REPAIR_DO (-1)
static int
judge(const struct repair_wish *w, const struct repair *r, size_t n)
{
	int status = w->dry_run || n == 0 ? COMMAND_GOOD : REPAIR_DO;

	for (size_t i = 0; i < n; i++)
		if (r[i].plan.kind == REPAIR_PLAN_USELESS)
			status = COMMAND_NO;
	for (size_t i = 0; i < n; i++)
		if (r[i].plan.kind == REPAIR_PLAN_HIDDEN)
			status = COMMAND_FAILED;
	return status;
}

/* ---- doing it ---- */

struct work {
	const struct repair_wish *wish;
	struct repair *repair;
	size_t n;
	FILE *to;
	int peer; /* whose end ends it, -1: none */
	int line; /* to the process that waits to be COMMAND, -1: none */
};

static void
tell_ready(void *context)
{
	const struct work *k = context;
	char go = COMMAND_GOOD;

	for (size_t i = 0; i < k->n && !k->wish->json; i++)
		repair_tell_plan(k->to, k->wish, &k->repair[i], true);
	if (k->line >= 0 && write(k->line, &go, 1) != 1)
		log_error("the command's process is gone");
}

static int
fail(int error)
{
	if (error == EPERM)
		log_error("only root (CAP_SYS_PTRACE) may take a copy of "
			  "another process's socket: nothing was changed");
	else
		log_error("nothing was changed: %s", strerror(error));
	return COMMAND_FAILED;
}

static int
work(struct work *k)
{
	size_t left;
	enum repair_end end =
	    repair_run(k->wish, k->repair, k->n, k->peer, tell_ready, k, &left);

	if (end == REPAIR_OPEN)
		return fail(errno);
	for (size_t i = 0; i < k->n && !k->wish->json; i++)
		repair_tell_end(k->to, k->wish, &k->repair[i], end);
	if (k->wish->json)
		repair_tell_json(k->to, k->wish, k->repair, k->n, end);
	if (left > 0) {
		log_error("%zu sockets still carry the flag", left);
		return COMMAND_FAILED;
	}
	return end == REPAIR_BOUND ? COMMAND_GOOD : COMMAND_NO;
}

static int
become(char **command)
{
	execvp(command[0], command);
	log_error("%s: %s", command[0], strerror(errno));
	return COMMAND_FAILED;
}

/* Nobody's child: COMMAND shall not find one that it did not make. */
static _Noreturn void
work_apart(struct work *k)
{
	char status;

	if (fork() != 0)
		_exit(0);
	dup2(STDERR_FILENO, STDOUT_FILENO); /* the other is COMMAND's */
	status = (char)work(k);
	if (write(k->line, &status, 1) != 1)
		_exit(1); /* the reader has become COMMAND long ago */
	_exit(0);
}

/*
 * This process becomes COMMAND, so that who started it has what it wanted to
 * start; the work is done beside it.
 */
static int
work_beside(struct work *k)
{
	int line[2];
	char status = COMMAND_FAILED;
	pid_t child;

	k->to = stderr;
	k->peer = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (k->peer < 0 || pipe2(line, O_CLOEXEC) < 0)
		return fail(errno);
	k->line = line[1];
	child = fork();
	if (child < 0)
		return fail(errno);
	if (child == 0) {
		signal(SIGPIPE, SIG_IGN);
		close(line[0]);
		work_apart(k);
	}
	close(line[1]);
	waitpid(child, NULL, 0);
	if (read(line[0], &status, 1) != 1 || status != COMMAND_GOOD)
		return COMMAND_FAILED;
	return become(k->wish->command);
}

static int
repair(const struct repair_wish *w, struct repair r[static PROTOCOLS])
{
	size_t n = make_plans(w, r), all = n;
	struct work k = { w, r, 0, stdout, -1, -1 };
	int status;

	if (n == 0) {
		log_error("the sockets of this host cannot be seen: %s",
		    strerror(errno));
		return COMMAND_FAILED;
	}
	k.n = put_first(r, n);
	status = judge(w, r, k.n);
	if (status == REPAIR_DO)
		return w->command != NULL ? work_beside(&k) : work(&k);
	if (w->command != NULL)
		k.to = stderr;
	for (size_t i = 0; i < all && !w->json; i++)
		repair_tell_plan(k.to, w, &r[i], false);
	if (status != COMMAND_GOOD && !w->dry_run && !w->json)
		repair_tell_undone(k.to, w);
	if (w->json)
		repair_tell_json(k.to, w, r, all, REPAIR_OPEN);
	if (status == COMMAND_GOOD && w->command != NULL && !w->dry_run)
		return become(w->command);
	return status;
}

int
repair_command(int argc, char **argv)
{
	struct repair_wish w;
	struct repair r[PROTOCOLS];
	int status = read_wish(&w, argc, argv);

	if (status != COMMAND_GOOD)
		return status;
	if (w.help) {
		command_help();
		return COMMAND_GOOD;
	}
	memset(r, 0, sizeof r);
	status = repair(&w, r);
	for (int i = 0; i < PROTOCOLS; i++)
		repair_plan_free(&r[i].plan);
	return status;
}
