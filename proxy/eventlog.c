#include "proxy/eventlog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define SLOTS 4096u /* a power of two; 4 MiB */
#define BATCH_FILE 65536u
/*
 * POLLOUT on a pipe promises room for PIPE_BUF bytes (pipe(7)): writes of
 * that size do not block, and stdout keeps its flags.
 */
#define BATCH_PIPE 4096u
#define TELL_MS 1000 /* while the reader stands still */
#define CLOSE_MS 1000 /* for what is queued */
/* Where lines come faster, they gather this long: one wake-up for many. */
#define GATHER_MS 10

/*
 * A bounded queue of many writers and one reader: slot i of round r is free
 * for a worker when `turn` is 2r, and ready for the writer when it is 2r + 1.
 */
struct slot {
	_Atomic uint64_t turn;
	size_t len;
	char line[EVENT_LINE_MAX];
};

struct eventlog {
	_Atomic uint64_t head; /* next slot of a worker */
	_Atomic uint64_t lost,
	    overrun; /* overrun: of those, for lack of room */
	_Atomic bool asleep; /* the writer waits for `wake` */
	_Atomic bool closing;
	_Atomic bool regular; /* a file: a write does not wait for a reader */
	_Atomic uint64_t close_by_ns; /* monotonic */
	int fd, wake; /* eventfd(2) */
	char *path; /* NULL: stdout */
	pthread_t thread;
	/* the writer's own */
	uint64_t tail;
	bool torn; /* a line was cut by an error */
	uint64_t told; /* of `overrun` */
	struct log_gate gate, overrun_gate;
	char batch[BATCH_FILE];
	struct slot slot[SLOTS];
};

static void
wake(struct eventlog *log)
{
	const uint64_t one = 1;

	if (write(log->wake, &one, sizeof one) < 0)
		return; /* full: it is awake already */
}

/* Takes whole lines into the batch; returns its bytes. */
static size_t
gather(struct eventlog *log, size_t cap)
{
	size_t used = 0;

	for (;; log->tail++) {
		struct slot *s = &log->slot[log->tail % SLOTS];
		uint64_t ready = log->tail / SLOTS * 2 + 1;

		if (atomic_load_explicit(&s->turn, memory_order_acquire) !=
			ready ||
		    s->len > cap - used)
			return used;
		memcpy(log->batch + used, s->line, s->len);
		used += s->len;
		atomic_store_explicit(
		    &s->turn, ready + 1, memory_order_release);
	}
}

/* Workers have no time to say so. */
static void
tell_overrun(struct eventlog *log)
{
	uint64_t now = atomic_load(&log->overrun);

	if (now == log->told)
		return;
	log->told = now;
	log_limited(&log->overrun_gate, LOG_LEVEL_WARNING,
	    "event log: lines come faster than they can be written; %llu are "
	    "lost so far",
	    (unsigned long long)atomic_load(&log->lost));
}

/* ms that a wait for the reader may take once somebody closes. */
static int
patience(struct eventlog *log)
{
	uint64_t now = clock_monotonic_ns();
	uint64_t by = atomic_load(&log->close_by_ns);

	return now >= by ? 0 : (int)((by - now) / 1000000) + 1;
}

/* Until `fd` takes bytes; false when it is closed first. */
static bool
writable(struct eventlog *log)
{
	struct pollfd fds[2] = { { log->fd, POLLOUT, 0 },
		{ log->wake, POLLIN, 0 } };
	uint64_t count;

	for (;;) {
		/* once closing, `wake` has nothing more to say */
		bool closing = atomic_load(&log->closing);
		int wait = closing ? patience(log) : TELL_MS;

		if (poll(fds, closing ? 1 : 2, wait) < 0 && errno != EINTR)
			return false;
		if (fds[0].revents != 0)
			return true;
		if (wait == 0)
			return false;
		tell_overrun(log); /* a reader may stand still for long */
		if (fds[1].revents != 0 &&
		    read(log->wake, &count, sizeof count) < 0)
			continue;
	}
}

static uint64_t
count_lines(const char *bytes, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += bytes[i] == '\n';
	return n;
}

static bool
write_all(struct eventlog *log, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = -1;

		errno = ETIMEDOUT;
		if (writable(log))
			n = write(log->fd, bytes, len);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0) {
			atomic_fetch_add(&log->lost, count_lines(bytes, len));
			log_limited(&log->gate, LOG_LEVEL_WARNING,
			    "event log: %s: lines are lost", strerror(errno));
			return false;
		}
		log->torn = bytes[n - 1] != '\n';
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

static void
write_batch(struct eventlog *log, size_t len)
{
	/* what an error cut must not run into the next line */
	if (log->torn && !write_all(log, "\n", 1)) {
		/* the newline was counted as a line, but it is none */
		atomic_fetch_add(&log->lost, count_lines(log->batch, len) - 1);
		return;
	}
	write_all(log, log->batch, len);
}

/* Sleeps until a worker or a close wakes it, or for `ms`. */
static void
doze(struct eventlog *log, int ms)
{
	struct pollfd fd = { log->wake, POLLIN, 0 };
	uint64_t count;

	if (poll(&fd, 1, ms) > 0 && read(log->wake, &count, sizeof count) < 0)
		log_limited(&log->gate, LOG_LEVEL_WARNING, "event log: %s",
		    strerror(errno));
}

/* Nothing is queued: sleeps, unless something came while saying so. */
static void
rest(struct eventlog *log)
{
	struct slot *next = &log->slot[log->tail % SLOTS];
	uint64_t since = clock_monotonic_ns();

	atomic_store(&log->asleep, true);
	if (atomic_load(&next->turn) != log->tail / SLOTS * 2 + 1 &&
	    !atomic_load(&log->closing))
		doze(log, -1);
	atomic_store(&log->asleep, false);
	if (clock_monotonic_ns() - since < GATHER_MS * 1000000ull &&
	    !atomic_load(&log->closing))
		doze(log, GATHER_MS);
}

static void *
run(void *context)
{
	struct eventlog *log = context;

	for (;;) {
		/* read before the queue: what was queued before is written */
		bool last = atomic_load(&log->closing);
		size_t cap =
		    atomic_load(&log->regular) ? BATCH_FILE : BATCH_PIPE;
		size_t len = gather(log, cap);

		tell_overrun(log);
		if (len > 0)
			write_batch(log, len);
		else if (last)
			return NULL;
		else
			rest(log);
	}
}

static int
open_file(struct eventlog *log, bool *regular)
{
	struct stat st;
	int fd = log->path == NULL
	    ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
	    : open(log->path,
		  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);

	if (fd < 0)
		return -1;
	*regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	return fd;
}

/* Signals are the main thread's; EPIPE comes as an error. */
static int
start(struct eventlog *log)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&log->thread, NULL, run, log);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return error == 0 ? 0 : -1;
}

static void
drop(struct eventlog *log)
{
	int saved = errno;

	if (log->fd >= 0)
		close(log->fd);
	if (log->wake >= 0)
		close(log->wake);
	free(log->path);
	free(log);
	errno = saved;
}

struct eventlog *
eventlog_open(const char *path)
{
	struct eventlog *log = calloc(1, sizeof *log);
	bool regular = false;

	if (log == NULL)
		return NULL;
	log->fd = log->wake = -1;
	if (strcmp(path, "-") != 0 && (log->path = strdup(path)) == NULL)
		goto failed;
	log->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	log->fd = open_file(log, &regular);
	atomic_store(&log->regular, regular);
	if (log->wake < 0 || log->fd < 0 || start(log) != 0)
		goto failed;
	return log;
failed:
	drop(log);
	return NULL;
}

void
eventlog_write(struct eventlog *log, const struct event *e)
{
	uint64_t head, turn;
	struct slot *s;

	if (log == NULL)
		return;
	head = atomic_load_explicit(&log->head, memory_order_relaxed);
	for (;;) {
		s = &log->slot[head % SLOTS];
		turn = atomic_load_explicit(&s->turn, memory_order_acquire);
		if (turn < head / SLOTS * 2) { /* a round behind: full */
			atomic_fetch_add(&log->lost, 1);
			atomic_fetch_add(&log->overrun, 1);
			return;
		}
		if (turn > head / SLOTS * 2) /* another worker took it */
			head = atomic_load_explicit(
			    &log->head, memory_order_relaxed);
		else if (atomic_compare_exchange_weak(
			     &log->head, &head, head + 1))
			break;
	}
	s->len = event_format(s->line, e, clock_realtime_us());
	atomic_store(&s->turn, turn + 1); /* before `asleep` is read */
	if (atomic_load(&log->asleep) && atomic_exchange(&log->asleep, false))
		wake(log);
}

int
eventlog_reopen(struct eventlog *log)
{
	bool regular = false;
	int fd, result;

	if (log == NULL || log->path == NULL)
		return 0;
	fd = open_file(log, &regular);
	if (fd < 0)
		return -1;
	/* in place: a write that is under way ends in the old file */
	result = dup3(fd, log->fd, O_CLOEXEC);
	atomic_store(&log->regular, regular);
	close(fd);
	return result < 0 ? -1 : 0;
}

uint64_t
eventlog_lost(const struct eventlog *log)
{
	return log != NULL ? atomic_load(&log->lost) : 0;
}

void
eventlog_close(struct eventlog *log)
{
	struct timespec by;

	if (log == NULL)
		return;
	atomic_store(
	    &log->close_by_ns, clock_monotonic_ns() + CLOSE_MS * 1000000ull);
	atomic_store(&log->closing, true);
	wake(log);
	clock_gettime(CLOCK_REALTIME, &by);
	by.tv_sec += 2 * CLOSE_MS / 1000;
	/* a write that hangs in the kernel keeps what it uses */
	if (pthread_timedjoin_np(log->thread, NULL, &by) != 0) {
		pthread_detach(log->thread);
		return;
	}
	drop(log);
}
