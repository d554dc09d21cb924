/* strace's lines from any bytes; what is told of them has its end. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "portshare/call.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
parse(const char *line, size_t len)
{
	static struct call c;
	char told[CALL_TEXT_LEN];

	if (call_parse(&c, line, len) &&
	    strlen(call_format(told, &c)) >= sizeof told)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct call_halves h;
	char line[CALL_LINE_LEN];
	const char *whole;

	parse((const char *)data, len);
	h.n = 0;
	for (size_t at = 0; at < len;) {
		const uint8_t *end = memchr(data + at, '\n', len - at);
		size_t n = end != NULL ? (size_t)(end - data) - at : len - at;
		size_t copied = n < sizeof line ? n : sizeof line - 1;

		memcpy(line, data + at, copied);
		line[copied] = '\0';
		whole = call_join(&h, line);
		if (whole != NULL)
			parse(whole, strlen(whole));
		if (h.n > CALL_HALVES)
			abort();
		at += n + 1;
	}
	return 0;
}
