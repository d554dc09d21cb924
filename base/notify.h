/*
 * The service manager is told what state we are in (sd_notify(3)). Built
 * without libsystemd, and started without a manager, these do nothing.
 */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

/* `status`: what it does now, a few words. */
void notify_ready(const char *status);
void notify_reloading(void);
void notify_stopping(const char *status);

#endif
