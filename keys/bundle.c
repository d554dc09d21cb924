#include "keys/bundle.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "keys/lines.h"
#include "keys/secret.h"

#define TITLE "timeshare-delegation 1"
#define CERT_PREFIX "cert-"
#define CERT_PREFIX_LEN 5u

enum line_bit {
	LINE_PUBLIC = 1,
	LINE_SEED = 2,
	LINE_NOT_BEFORE = 4,
	LINE_NOT_AFTER = 8,
};
#define LINES_ALL 15u

const char *
bundle_fault_str(enum bundle_fault fault)
{
	static const char *const words[BUNDLE_FAULTS] = {
		[BUNDLE_OK] = "good",
		[BUNDLE_NOT_A_BUNDLE] =
		    "not a delegation bundle (expected first line: " TITLE ")",
		[BUNDLE_TOO_LONG] = "too long for a bundle, or more than 8 "
				    "certificates",
		[BUNDLE_UNKNOWN_LINE] = "a line that is unknown or cut off",
		[BUNDLE_REPEATED_LINE] = "a line twice",
		[BUNDLE_MISSING_LINE] =
		    "a line is missing (expected public, seed, not-before, "
		    "not-after and a certificate)",
		[BUNDLE_BAD_BASE64] = "bad base64, or of the wrong length",
		[BUNDLE_BAD_NUMBER] = "a time that is no number of seconds",
		[BUNDLE_BAD_WINDOW] = "not-after is not after not-before",
	};

	return fault < BUNDLE_FAULTS ? words[fault] : "unknown fault";
}

/* Lower-case letters, digits and dashes. */
static bool
take_kind(char kind[static BUNDLE_KIND_LEN], struct view name)
{
	if (name.len == 0 || name.len >= BUNDLE_KIND_LEN)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];

		if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-')
			return false;
	}
	memcpy(kind, name.data, name.len);
	kind[name.len] = '\0';
	return true;
}

static enum bundle_fault
parse_cert(struct bundle *b, const struct line *line)
{
	struct bundle_cert *cert = &b->certs[b->count];
	struct view name = line->name;

	if (name.len < CERT_PREFIX_LEN ||
	    memcmp(name.data, CERT_PREFIX, CERT_PREFIX_LEN) != 0)
		return BUNDLE_UNKNOWN_LINE;
	name.data += CERT_PREFIX_LEN;
	name.len -= CERT_PREFIX_LEN;
	if (b->count == BUNDLE_CERTS_MAX)
		return BUNDLE_TOO_LONG;
	if (!take_kind(cert->kind, name))
		return BUNDLE_UNKNOWN_LINE;
	for (size_t i = 0; i < b->count; i++) {
		if (strcmp(b->certs[i].kind, cert->kind) == 0)
			return BUNDLE_REPEATED_LINE;
	}
	if (!lines_base64(line->value, cert->bytes, sizeof cert->bytes))
		return BUNDLE_BAD_BASE64;
	b->count++;
	return BUNDLE_OK;
}

static enum bundle_fault
parse_key(uint8_t out[static 32], struct view value)
{
	return lines_base64(value, out, 32) ? BUNDLE_OK : BUNDLE_BAD_BASE64;
}

static enum bundle_fault
parse_time(uint64_t *out, struct view value)
{
	return lines_u64(value, out) ? BUNDLE_OK : BUNDLE_BAD_NUMBER;
}

static unsigned int
line_bit(struct view name)
{
	static const char *const names[] = { "public", "seed", "not-before",
		"not-after" };

	for (unsigned int i = 0; i < 4; i++) {
		if (lines_is(name, names[i]))
			return 1u << i;
	}
	return 0;
}

static enum bundle_fault
parse_line(struct bundle *b, const struct line *line, unsigned int *seen)
{
	unsigned int bit = line_bit(line->name);

	if ((*seen & bit) != 0)
		return BUNDLE_REPEATED_LINE;
	*seen |= bit;
	switch (bit) {
	case LINE_PUBLIC:
		return parse_key(b->public_key, line->value);
	case LINE_SEED:
		return parse_key(b->online_seed, line->value);
	case LINE_NOT_BEFORE:
		return parse_time(&b->not_before_s, line->value);
	case LINE_NOT_AFTER:
		return parse_time(&b->not_after_s, line->value);
	default:
		return parse_cert(b, line);
	}
}

static enum bundle_fault
parse(struct bundle *b, struct view text)
{
	enum bundle_fault fault;
	unsigned int seen = 0;
	struct line line;

	if (!lines_title(&text, TITLE))
		return BUNDLE_NOT_A_BUNDLE;
	if (text.len > BUNDLE_TEXT_MAX)
		return BUNDLE_TOO_LONG;
	while (text.len > 0) {
		if (!lines_next(&text, &line))
			return BUNDLE_UNKNOWN_LINE;
		fault = parse_line(b, &line, &seen);
		if (fault != BUNDLE_OK)
			return fault;
	}
	if (seen != LINES_ALL || b->count == 0)
		return BUNDLE_MISSING_LINE;
	return b->not_after_s > b->not_before_s ? BUNDLE_OK : BUNDLE_BAD_WINDOW;
}

enum bundle_fault
bundle_parse(struct bundle *b, struct view text)
{
	enum bundle_fault fault;

	sodium_memzero(b, sizeof *b);
	fault = parse(b, text);
	if (fault != BUNDLE_OK)
		sodium_memzero(b, sizeof *b);
	return fault;
}

static void
put_certs(struct lines_out *o, const struct bundle *b)
{
	for (size_t i = 0; i < b->count; i++) {
		lines_put(o, CERT_PREFIX);
		lines_put(o, b->certs[i].kind);
		lines_put(o, ": ");
		lines_put_base64(
		    o, b->certs[i].bytes, sizeof b->certs[i].bytes);
		lines_put(o, "\n");
	}
}

size_t
bundle_format(char *out, size_t cap, const struct bundle *b)
{
	struct lines_out o = { out, cap, false };

	lines_put(&o, TITLE "\npublic: ");
	lines_put_base64(&o, b->public_key, sizeof b->public_key);
	lines_put(&o, "\nseed: ");
	lines_put_base64(&o, b->online_seed, sizeof b->online_seed);
	lines_put(&o, "\nnot-before: ");
	lines_put_u64(&o, b->not_before_s);
	lines_put(&o, "\nnot-after: ");
	lines_put_u64(&o, b->not_after_s);
	lines_put(&o, "\n");
	put_certs(&o, b);
	if (o.bad) {
		sodium_memzero(out, cap);
		return 0;
	}
	return cap - o.left;
}

int
bundle_load(struct bundle *b, const char *path, char *why, size_t len)
{
	uint8_t *text = secret_alloc(BUNDLE_TEXT_MAX);
	char reason[FILE_WHY_LEN];
	enum bundle_fault fault;
	struct view v = { text, 0 };
	int rc = -1;

	if (text == NULL) {
		snprintf(why, len, "%s: no locked memory for a bundle", path);
		return -1;
	}
	if (file_read_secret(path, text, BUNDLE_TEXT_MAX, &v.len, reason) !=
	    0) {
		snprintf(why, len, "%s", reason);
		goto out;
	}
	fault = bundle_parse(b, v);
	if (fault != BUNDLE_OK)
		snprintf(why, len, "%s: %s", path, bundle_fault_str(fault));
	else
		rc = 0;
out:
	secret_free(text);
	return rc;
}
