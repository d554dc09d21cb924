/* serverlist_parse: a list from the network or from a careless editor. */
#include <stdlib.h>

#include "roughtime/client/serverlist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct serverlist l;
	char why[SERVERLIST_WHY_LEN];

	if (serverlist_parse(&l, (const char *)data, len, why) &&
	    l.count + l.skipped > SERVERLIST_MAX)
		abort();
	serverlist_free(&l);
	return 0;
}
