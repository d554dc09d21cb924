/* report_parse and chain_judge: a report from somebody who accuses. */
#include <stdlib.h>

#include "roughtime/client/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct verify_options compat = { .compat_capital_t =
							  true };
	struct chain_verdict v;
	struct report r;
	char why[REPORT_WHY_LEN];

	if (report_parse(&r, (const char *)data, len, why)) {
		chain_judge(&v, r.links, r.count, &compat);
		if (v.suspects > v.servers || v.servers > r.count)
			abort();
	}
	report_free(&r);
	return 0;
}
