/*
 * What may be asked at the control socket: one JSON object a line, of a
 * bounded length. Pure: bytes in, a request out, and back.
 */
#ifndef PROXY_CONTROL_REQUEST_H
#define PROXY_CONTROL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "proxy/app.h"

#define CONTROL_LINE_MAX 1024 /* bytes of a request, without the newline */
#define CONTROL_WHY_LEN 192
#define CONTROL_FOR_MAX_MS (366ll * 86400 * 1000)

enum control_command {
	CONTROL_NONE = 0,
	CONTROL_PING,
	CONTROL_VERSION,
	CONTROL_APPLICATIONS,
	CONTROL_ORIGINS,
	CONTROL_SESSIONS,
	CONTROL_COUNTERS,
	CONTROL_DRAIN,
	CONTROL_UNDRAIN,
	CONTROL_RELOAD,
	CONTROL_COMMANDS
};
/* Its word, NULL for none of them. */
const char *control_command_str(enum control_command command);
/* It changes something, which not everybody who may read may do. */
bool control_command_changes(enum control_command command);

struct control_request {
	enum control_command command;
	char application[APP_NAME_MAX]; /* "": all */
	uint64_t limit; /* rows at most; 0: no limit */
	int64_t for_ms; /* of a drain; -1: what drain_s says */
};

/*
 * Reads a line without its newline. 0, or -1 and what is wrong with it in
 * `why`: no JSON, an unknown key or command, a value that makes no sense, an
 * argument that the command does not take or lacks.
 */
int control_request_parse(struct control_request *r, struct view line,
    char why[static CONTROL_WHY_LEN]);

/* The line for a request, with its newline; returns bytes, or 0 when the name
 * is no UTF-8. */
#define CONTROL_TEXT_MAX (CONTROL_LINE_MAX + 2)
size_t control_request_format(
    char out[static CONTROL_TEXT_MAX], const struct control_request *r);

#endif
