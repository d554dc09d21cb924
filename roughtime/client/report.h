/* Malfeasance reports as JSON (RFC 10049 section 8.4.1). Pure. */
#ifndef ROUGHTIME_CLIENT_REPORT_H
#define ROUGHTIME_CLIENT_REPORT_H

#include <jansson.h>

#include "roughtime/client/chain.h"

#define REPORT_BYTES_MAX (16u << 20)
#define REPORT_WHY_LEN 256

struct report {
	struct chain_link *links; /* their packets belong to the report */
	size_t count;
};

/* False and a sentence in `why`; report_free() in both cases. */
bool report_parse(struct report *r, const char *text, size_t len,
    char why[static REPORT_WHY_LEN]);
void report_free(struct report *r);

/* A new reference; `rand` of the first is left out when it has none. */
json_t *report_make(const struct chain_link *links, size_t n);

#endif
