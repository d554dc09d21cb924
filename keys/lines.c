#include "keys/lines.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* Takes up to and without `end`; {NULL, 0} when `end` is not there. */
static struct view
take_until(struct view *text, int end)
{
	const uint8_t *found =
	    text->len > 0 ? memchr(text->data, end, text->len) : NULL;
	struct view v = { 0 };

	if (found == NULL)
		return v;
	v.data = text->data;
	v.len = (size_t)(found - text->data);
	text->data = found + 1;
	text->len -= v.len + 1;
	return v;
}

bool
lines_is(struct view v, const char *word)
{
	return v.len == strlen(word) && memcmp(v.data, word, v.len) == 0;
}

bool
lines_title(struct view *text, const char *title)
{
	struct view rest = *text;
	struct view first = take_until(&rest, '\n');

	if (first.data == NULL || !lines_is(first, title))
		return false;
	*text = rest;
	return true;
}

bool
lines_next(struct view *text, struct line *line)
{
	struct view whole = take_until(text, '\n');

	if (whole.data == NULL)
		return false;
	line->name = take_until(&whole, ':');
	if (line->name.data == NULL || whole.len < 1 || whole.data[0] != ' ')
		return false;
	line->value.data = whole.data + 1;
	line->value.len = whole.len - 1;
	return true;
}

struct view
lines_word(struct view *text)
{
	struct view all = *text, word = take_until(text, ' ');

	if (word.data != NULL)
		return word;
	text->data += text->len;
	text->len = 0;
	return all;
}

bool
lines_base64(struct view text, uint8_t *out, size_t len)
{
	const char *chars = (const char *)text.data, *end;
	size_t got;

	/* the length settles the padding, so nothing else decodes to it */
	return text.len == (len + 2) / 3 * 4 &&
	    sodium_base642bin(out, len, chars, text.len, NULL, &got, &end,
		sodium_base64_VARIANT_ORIGINAL) == 0 &&
	    got == len && end == chars + text.len;
}

bool
lines_u64(struct view text, uint64_t *v)
{
	uint64_t n = 0;

	if (text.len == 0 || (text.data[0] == '0' && text.len > 1))
		return false;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t digit = (uint8_t)(text.data[i] - '0');

		if (digit > 9 || n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*v = n;
	return true;
}

/* Leaves the NUL of the last text to be overwritten by the next. */
static void
advance(struct lines_out *o, size_t len)
{
	o->at += len;
	o->left -= len;
}

void
lines_put(struct lines_out *o, const char *text)
{
	size_t len = strlen(text);

	if (o->bad || len >= o->left) {
		o->bad = true;
		return;
	}
	memcpy(o->at, text, len + 1);
	advance(o, len);
}

void
lines_put_u64(struct lines_out *o, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)v);
	lines_put(o, text);
}

void
lines_put_base64(struct lines_out *o, const uint8_t *data, size_t len)
{
	size_t need =
	    sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);

	if (o->bad || need > o->left) {
		o->bad = true;
		return;
	}
	sodium_bin2base64(
	    o->at, o->left, data, len, sodium_base64_VARIANT_ORIGINAL);
	advance(o, need - 1);
}
