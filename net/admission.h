/*
 * Who may have another TCP connection: a limit for the whole and one
 * for each client prefix, shared by all workers. A fixed table under a mutex;
 * it is asked when a connection opens or closes, never for a packet.
 */
#ifndef NET_ADMISSION_H
#define NET_ADMISSION_H

#include <stddef.h>

#include "net/addr.h"

struct admission; /* opaque: a hash table whose probes must stay whole */

struct admission_config {
	size_t max_total;
	size_t max_per_client;
	unsigned int prefix4, prefix6; /* bits */
};

enum admission_result {
	ADMISSION_OK = 0,
	ADMISSION_FULL, /* max_total are open */
	ADMISSION_CLIENT, /* this prefix has max_per_client */
};

/* NULL with errno when out of memory. */
struct admission *admission_new(const struct admission_config *c);
void admission_free(struct admission *a);

/* Counts one more connection of `client` in, when ADMISSION_OK. */
enum admission_result
admission_enter(struct admission *a, const struct addr *client);
/* Once for each ADMISSION_OK. */
void admission_leave(struct admission *a, const struct addr *client);

size_t admission_open(struct admission *a); /* connections now */

#endif
