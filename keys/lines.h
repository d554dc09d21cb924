/*
 * The text that key files and bundles share: a first line that names the
 * format, then `name: value` lines, each ended by a newline. Pure; values are
 * views, secrets go straight to where the caller wants them.
 */
#ifndef KEYS_LINES_H
#define KEYS_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

struct line {
	struct view name;
	struct view value;
};

/* Takes the first line off `text` when it is `title`. */
bool lines_title(struct view *text, const char *title);

/* Takes one `name: value` line; false when the next line is not like that. */
bool lines_next(struct view *text, struct line *line);

/* Takes the text before the first space (all of it without one). */
struct view lines_word(struct view *text);

bool lines_is(struct view v, const char *word);

/* Exactly `len` bytes in canonical, padded base64 (RFC 4648 section 4). */
bool lines_base64(struct view text, uint8_t *out, size_t len);

/* A decimal number without sign, leading zeros and overflow. */
bool lines_u64(struct view text, uint64_t *v);

/* Text that grows in memory of the caller; `bad` once it does not fit. */
struct lines_out {
	char *at;
	size_t left;
	bool bad;
};
void lines_put(struct lines_out *o, const char *text);
void lines_put_u64(struct lines_out *o, uint64_t v);
void lines_put_base64(struct lines_out *o, const uint8_t *data, size_t len);

#endif
