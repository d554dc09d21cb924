/* A request at the control socket from any bytes; what was read is written
 * and read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/control_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct control_request r, again;
	char why[CONTROL_WHY_LEN] = "", text[CONTROL_TEXT_MAX];
	size_t n;

	if (control_request_parse(&r, (struct view){ data, len }, why) != 0) {
		if (why[0] == '\0' || strlen(why) >= sizeof why)
			abort();
		return 0;
	}
	n = control_request_format(text, &r);
	if (n == 0 ||
	    control_request_parse(
		&again, (struct view){ (uint8_t *)text, n - 1 }, why) != 0)
		abort();
	if (again.command != r.command || again.limit != r.limit ||
	    again.for_ms != r.for_ms ||
	    strcmp(again.application, r.application) != 0)
		abort();
	return 0;
}
