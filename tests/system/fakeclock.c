/*
 * LD_PRELOAD for the clock stories: what adjtimex(2) says and how far
 * CLOCK_REALTIME is off comes from a file that is mapped before the daemon
 * gives up its rights, so that a test can change it at any time.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

struct fake {
	int32_t state; /* TIME_OK … TIME_ERROR */
	int32_t status; /* STA_UNSYNC … */
	int64_t maxerror_us;
	int64_t offset_us; /* of the wall clock */
};

static const volatile struct fake *fake;
static int (*real_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void
map(void)
{
	const char *path = getenv("FAKE_CLOCK");
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p = mmap(NULL, sizeof *fake, PROT_READ, MAP_SHARED, fd, 0);

	if (fd < 0 || p == MAP_FAILED)
		abort();
	close(fd);
	fake = p;
	*(void **)&real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
}

int
adjtimex(struct timex *t)
{
	memset(t, 0, sizeof *t);
	t->status = fake->status;
	t->maxerror = fake->maxerror_us;
	t->tick = 10000;
	return fake->state;
}

int
clock_gettime(clockid_t id, struct timespec *t)
{
	int64_t us;

	if (real_gettime == NULL) /* before our constructor */
		*(void **)&real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	if (real_gettime(id, t) != 0)
		return -1;
	if (id != CLOCK_REALTIME || fake == NULL)
		return 0;
	us = t->tv_sec * 1000000 + t->tv_nsec / 1000 + fake->offset_us;
	t->tv_sec = us / 1000000;
	t->tv_nsec = us % 1000000 * 1000;
	return 0;
}
