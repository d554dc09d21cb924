/*
 * The service manager is told what state we are in (sd_notify(3)). Built
 * without libsystemd, and started without a manager, these do nothing.
 */
#ifndef ROUGHTIME_NOTIFY_H
#define ROUGHTIME_NOTIFY_H

void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);

#endif
