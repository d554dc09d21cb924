/* A finished measurement as text and as JSON, to stdout. */
#ifndef ROUGHTIME_CLIENT_MEASURE_SHOW_H
#define ROUGHTIME_CLIENT_MEASURE_SHOW_H

#include "roughtime/client/measure.h"

/* `report`: where the report went, or NULL. */
void measure_show(const struct measurement *m, const struct serverlist *list,
    const char *report);
void measure_show_json(const struct measurement *m,
    const struct serverlist *list, const char *report);

#endif
