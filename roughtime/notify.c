#include "roughtime/notify.h"

#include "base/clock.h"

#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>

void
notify_ready(void)
{
	sd_notify(0, "READY=1\nSTATUS=Answering requests");
}

void
notify_reloading(void)
{
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)(clock_monotonic_ns() / 1000));
}

void
notify_stopping(void)
{
	sd_notify(0, "STOPPING=1\nSTATUS=Answering what is queued");
}
#else
void
notify_ready(void)
{
}

void
notify_reloading(void)
{
}

void
notify_stopping(void)
{
}
#endif
