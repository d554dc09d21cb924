#include "roughtime/keyholder_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/priv.h"
#include "keys/keyfile.h"
#include "keys/passphrase.h"
#include "keys/secret.h"

/* All that is secret, in one piece of locked memory. */
struct vault {
	struct slot {
		bool full;
		uint8_t secret[CERT_SECRET_LEN];
		uint8_t public_key[CERT_PUBLIC_LEN];
	} slots[KEYHOLDER_SLOTS];
	struct keyfile file; /* scratch of one load */
	size_t passphrase_len; /* 0: none */
	char passphrase[PASSPHRASE_MAX];
};

struct holder {
	int fd;
	uint64_t max_delegation_s;
	struct vault *vault;
	char (*dirs)[PATH_MAX]; /* where keys may be */
	size_t ndirs;
};

__attribute__((format(printf, 2, 3))) static void
refuse(struct keyholder_answer *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->why, sizeof a->why, fmt, ap);
	va_end(ap);
	a->failed = 1;
}

/* Landlock alone would say only "permission denied". */
static bool
allowed(const struct holder *h, const char *path)
{
	char dir[PATH_MAX];

	file_directory(dir, path);
	for (size_t i = 0; i < h->ndirs; i++)
		if (strcmp(h->dirs[i], dir) == 0)
			return true;
	return h->ndirs == 0;
}

static void
load(
    struct holder *h, const struct keyholder_ask *q, struct keyholder_answer *a)
{
	struct vault *v = h->vault;
	struct slot *s = &v->slots[q->slot];
	enum keyfile_fault fault = KEYFILE_OK;

	if (!allowed(h, q->path)) {
		refuse(a,
		    "%s: the keyholder may only read in the directories that "
		    "held keys when it started; restart the service",
		    q->path);
		return;
	}
	if (keyfile_load(&v->file, q->path, a->why, sizeof a->why) != 0) {
		a->failed = 1;
		goto out;
	}
	if (v->file.encrypted)
		fault = v->passphrase_len == 0
		    ? KEYFILE_ENCRYPTED
		    : keyfile_unlock(
			  &v->file, v->passphrase, v->passphrase_len);
	if (fault != KEYFILE_OK) {
		refuse(a, "%s: %s", q->path, keyfile_fault_str(fault));
		goto out;
	}
	crypto_sign_seed_keypair(s->public_key, s->secret, v->file.seed);
	s->full = true;
	memcpy(a->public_key, s->public_key, sizeof a->public_key);
out:
	sodium_memzero(&v->file, sizeof v->file);
}

/*
 * A server that was taken over must not collect certificates for later: no
 * window that has ended, is longer than agreed, or reaches further into the
 * future than one that begins now.
 */
static void
delegate(
    struct holder *h, const struct keyholder_ask *q, struct keyholder_answer *a)
{
	const struct slot *s = &h->vault->slots[q->slot];
	uint64_t now = clock_unix_s();

	if (!s->full)
		refuse(a, "slot %u holds no key", q->slot);
	else if (q->maxt_s <= q->mint_s)
		refuse(a, "the window ends before it begins");
	else if (q->maxt_s - q->mint_s > h->max_delegation_s)
		refuse(a, "a window of %llu s; at most %llu s are signed",
		    (unsigned long long)(q->maxt_s - q->mint_s),
		    (unsigned long long)h->max_delegation_s);
	else if (q->maxt_s <= now)
		refuse(a, "the window is in the past");
	else if (q->maxt_s - now > h->max_delegation_s)
		refuse(a, "the window is too far in the future");
	else
		delegation_make(&a->delegation, s->secret, q->online_public,
		    q->mint_s, q->maxt_s);
}

static void
answer(struct holder *h, struct keyholder_ask *q, struct keyholder_answer *a)
{
	q->path[sizeof q->path - 1] = '\0';
	if (q->slot >= KEYHOLDER_SLOTS) {
		refuse(a, "slot %u does not exist", q->slot);
		return;
	}
	switch (q->verb) {
	case KEYHOLDER_LOAD:
		load(h, q, a);
		break;
	case KEYHOLDER_FORGET:
		sodium_memzero(
		    &h->vault->slots[q->slot], sizeof h->vault->slots[0]);
		break;
	case KEYHOLDER_DELEGATE:
		delegate(h, q, a);
		break;
	default:
		refuse(a, "no such request");
	}
}

/* Until the server closes its end, or dies. */
static int
serve(struct holder *h)
{
	static struct keyholder_ask q;
	static struct keyholder_answer a;

	for (;;) {
		ssize_t n = read(h->fd, &q, sizeof q);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? 0 : 1;
		memset(&a, 0, sizeof a);
		a.sequence = n >= 4 ? q.sequence : 0;
		if (n != (ssize_t)sizeof q)
			refuse(&a, "a request of the wrong length");
		else
			answer(h, &q, &a);
		if (write(h->fd, &a, sizeof a) != (ssize_t)sizeof a)
			return 1;
	}
}

/* Nothing of the server's stays open but its words (stderr) and our socket,
 * which becomes descriptor 3. */
static int
close_others(int fd)
{
	int null, high = fcntl(fd, F_DUPFD_CLOEXEC, 4);

	if (high < 0 || dup2(high, 3) != 3)
		return -1;
	if (close_range(4, ~0u, 0) != 0)
		return -1;
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, 0) != 0 || dup2(null, 1) != 1)
		return -1;
	if (null > 3)
		close(null);
	return 3;
}

/*
 * It ends by end-of-file on its socket, or SIGKILL: a Ctrl-C at the terminal
 * or a stop of the whole service reaches it too, while the server may still
 * need it to the end of its drain.
 */
static void
ignore_signals(void)
{
	static const int ignored[] = { SIGINT, SIGHUP, SIGUSR1, SIGUSR2,
		SIGTERM, SIGQUIT, SIGPIPE, SIGALRM };
	struct sigaction sa = { .sa_handler = SIG_IGN };

	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		sigaction(ignored[i], &sa, NULL);
}

static int
read_passphrase(struct vault *v, const char *path)
{
	char why[FILE_WHY_LEN];

	if (path == NULL ||
	    passphrase_from_file(
		path, v->passphrase, &v->passphrase_len, why) == 0)
		return 0;
	log_error("keyholder: passphrase_file: %s", why);
	return -1;
}

/* As dirname(3) would write it: no slash at the end. */
static void
trim(char *dir)
{
	for (size_t len = strlen(dir); len > 1 && dir[len - 1] == '/';)
		dir[--len] = '\0';
}

static int
list_directories(struct holder *h, const struct keyholder_config *c)
{
	struct stat st;

	h->dirs = calloc(c->npaths + 1, sizeof *h->dirs);
	if (h->dirs == NULL)
		return -1;
	for (size_t i = 0; i < c->npaths; i++) {
		if (stat(c->paths[i], &st) == 0 && S_ISDIR(st.st_mode))
			snprintf(h->dirs[i], PATH_MAX, "%s", c->paths[i]);
		else
			file_directory(h->dirs[i], c->paths[i]);
		trim(h->dirs[i]);
	}
	h->ndirs = c->npaths;
	return 0;
}

static int
confine(const struct holder *h, const struct keyholder_config *c)
{
	/* a reload reads root-owned 0600 keys again */
	static const int kept[] = { CAP_DAC_READ_SEARCH };
	struct priv_path *paths = calloc(h->ndirs + 1, sizeof *paths);
	int r = 0;

	if (paths == NULL)
		return -1;
	if (unshare(CLONE_NEWNET) != 0)
		log_debug("keyholder: no network namespace of its own: %s",
		    strerror(errno)); /* seccomp still denies socket() */
	if (priv_drop_keep(c->user, kept, 1) != 0 || priv_child() != 0)
		r = -1;
	for (size_t i = 0; i < h->ndirs; i++)
		paths[i].path = h->dirs[i];
	if (r == 0 && h->ndirs > 0 &&
	    priv_landlock(paths, h->ndirs, PRIV_NO_CONNECT) < 0)
		r = -1;
	free(paths);
	return r == 0 ? priv_seccomp(PRIV_KEYHOLDER) : -1;
}

int
keyholder_serve(int fd, const struct keyholder_config *c)
{
	static struct keyholder_answer ready;
	struct holder h = { .max_delegation_s = c->max_delegation_s };

	ignore_signals();
	prctl(PR_SET_NAME, "rt-keyholder");
	h.fd = close_others(fd);
	if (h.fd < 0 || list_directories(&h, c) != 0 || secret_init() != 0 ||
	    (h.vault = secret_alloc(sizeof *h.vault)) == NULL) {
		log_error("keyholder: no locked memory, or no descriptor: %s",
		    strerror(errno));
		return 1;
	}
	sodium_memzero(h.vault, sizeof *h.vault);
	if (read_passphrase(h.vault, c->passphrase_file) != 0)
		return 1;
	if (confine(&h, c) != 0) {
		log_error("keyholder: cannot be confined, does not start: %s",
		    strerror(errno));
		return 1;
	}
	if (write(h.fd, &ready, sizeof ready) != (ssize_t)sizeof ready)
		return 1;
	fd = serve(&h);
	secret_free(h.vault);
	return fd;
}
