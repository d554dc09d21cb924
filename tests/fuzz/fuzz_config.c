/* roughtimed.yaml from any bytes. */
#include <stdint.h>

#include "roughtime/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct yaml_errors e = { .file = "fuzz" };
	struct identity_config list[IDENTITY_MAX];
	struct settings s;

	if (settings_parse(&s, data, len, &e) == 0)
		settings_identities(&s, list);
	settings_free(&s);
	yaml_errors_free(&e);
	return 0;
}
