#include "roughtime/version.h"

#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "roughtime/message.h"

#define DRAFT(n) (0x80000000u | (n))
#define US_PER_S 1000000u
#define S_PER_DAY 86400u
#define US_PER_DAY ((uint64_t)S_PER_DAY * US_PER_S)
#define MJD_UNIX_EPOCH 40587u /* 1970-01-01 in days since 1858-11-17 */
#define MJD_SHIFT 40
#define MJD_DAY_MAX 0xffffffu /* what is left of 64 bits */

/* sizeof counts the NUL byte, which is part of every context. */
#define CONTEXT(text)              \
	{                          \
		text, sizeof(text) \
	}

/* Version 1 spells the name with a small t (RFC 10049, section 5.2.1). */
#define RESPONSE_RFC CONTEXT("Roughtime v1 response signature")
#define RESPONSE_OLD CONTEXT("RoughTime v1 response signature")
#define DELEGATION_RFC CONTEXT("Roughtime v1 delegation signature")
#define DELEGATION_PLAIN CONTEXT("RoughTime v1 delegation signature")
#define DELEGATION_DASHES CONTEXT("RoughTime v1 delegation signature--")

/* What the wire formats of one era share. */
#define ERA_GOOGLE                                                   \
	.nonce_len = 64, .node_len = 64, .hash = VERSION_SHA512,     \
	.leaf = VERSION_LEAF_NONCE, .unit = VERSION_UNIX_US,         \
	.nonce_place = VERSION_NONCE_TOP, .padding_tag = TAG_PAD_FF, \
	.cert = CERT_GOOGLE, .response_context = RESPONSE_OLD,       \
	.delegation_context = DELEGATION_DASHES
#define ERA_MJD                                                             \
	.framed = true, .node_len = 32, .leaf = VERSION_LEAF_NONCE,         \
	.unit = VERSION_MJD_US, .ver_on_top = true, .padding_tag = TAG_PAD, \
	.response_context = RESPONSE_OLD
#define ERA_DRAFT01                                     \
	ERA_MJD, .nonce_len = 64, .cert = CERT_DRAFT01, \
		 .nonce_place = VERSION_NONCE_SREP,     \
		 .delegation_context = DELEGATION_DASHES
#define ERA_DRAFT03                                                  \
	ERA_MJD, .hash = VERSION_SHA512_TRUNC, .cert = CERT_DRAFT01, \
		 .nonce_place = VERSION_NONCE_TOP,                   \
		 .delegation_context = DELEGATION_DASHES
#define ERA_SECONDS                                           \
	.framed = true, .nonce_len = 32, .node_len = 32,      \
	.hash = VERSION_SHA512_TRUNC, .unit = VERSION_UNIX_S, \
	.nonce_place = VERSION_NONCE_TOP, .padding_tag = TAG_ZZZZ
#define ERA_DRAFT08                                                          \
	ERA_SECONDS, .leaf = VERSION_LEAF_NONCE, .ver_on_top = true,         \
		     .cert = CERT_DRAFT08, .response_context = RESPONSE_OLD, \
		     .delegation_context = DELEGATION_DASHES
#define ERA_DRAFT12                                                          \
	ERA_SECONDS, .leaf = VERSION_LEAF_PACKET, .ver_in_srep = true,       \
		     .cert = CERT_DRAFT12, .response_context = RESPONSE_OLD, \
		     .delegation_context = DELEGATION_PLAIN

#define ROW(r, n, word) .row = (r), .number = (n), .name = (word)

const struct version version_table[VERSION_ROWS] = {
	[VERSION_GOOGLE] = { ROW(VERSION_GOOGLE, 0, "google"), ERA_GOOGLE },
	[VERSION_DRAFT01] = { ROW(VERSION_DRAFT01, DRAFT(1), "draft-01"),
	    ERA_DRAFT01, .hash = VERSION_SHA512_TRUNC },
	[VERSION_DRAFT02] = { ROW(VERSION_DRAFT02, DRAFT(2), "draft-02"),
	    ERA_DRAFT01, .hash = VERSION_SHA512_256 },
	[VERSION_DRAFT03] = { ROW(VERSION_DRAFT03, DRAFT(3), "draft-03"),
	    ERA_DRAFT03, .nonce_len = 64 },
	[VERSION_DRAFT04] = { ROW(VERSION_DRAFT04, DRAFT(4), "draft-04"),
	    ERA_DRAFT03, .nonce_len = 64 },
	[VERSION_DRAFT05] = { ROW(VERSION_DRAFT05, DRAFT(5), "draft-05"),
	    ERA_DRAFT03, .nonce_len = 32 },
	[VERSION_DRAFT06] = { ROW(VERSION_DRAFT06, DRAFT(6), "draft-06"),
	    ERA_DRAFT03, .nonce_len = 32 },
	[VERSION_DRAFT07] = { ROW(VERSION_DRAFT07, DRAFT(7), "draft-07"),
	    ERA_MJD, .nonce_len = 32, .hash = VERSION_SHA512_256,
	    .nonce_place = VERSION_NONCE_TOP, .cert = CERT_DRAFT07,
	    .delegation_context = DELEGATION_PLAIN },
	[VERSION_DRAFT08] = { ROW(VERSION_DRAFT08, DRAFT(8), "draft-08"),
	    ERA_DRAFT08 },
	[VERSION_DRAFT09] = { ROW(VERSION_DRAFT09, DRAFT(9), "draft-09"),
	    ERA_DRAFT08 },
	[VERSION_DRAFT10] = { ROW(VERSION_DRAFT10, DRAFT(10), "draft-10"),
	    ERA_DRAFT08 },
	[VERSION_DRAFT11] = { ROW(VERSION_DRAFT11, DRAFT(11), "draft-11"),
	    ERA_DRAFT08 },
	[VERSION_DRAFT12] = { ROW(VERSION_DRAFT12, DRAFT(12), "draft-12"),
	    ERA_DRAFT12 },
	[VERSION_DRAFT14] = { ROW(VERSION_DRAFT14, DRAFT(12), "draft-14"),
	    ERA_DRAFT12, .typed = true, .batched = true },
	[VERSION_RFC] = { ROW(VERSION_RFC, 1, "rfc10049"), ERA_SECONDS,
	    .leaf = VERSION_LEAF_PACKET, .ver_in_srep = true, .typed = true,
	    .batched = true, .cert = CERT_RFC, .response_context = RESPONSE_RFC,
	    .delegation_context = DELEGATION_RFC },
};

const struct version *
version_find(uint32_t number, bool typed)
{
	if (number == 1)
		return typed ? &version_table[VERSION_RFC] : NULL;
	if (number == DRAFT(12))
		return &version_table[typed ? VERSION_DRAFT14
					    : VERSION_DRAFT12];
	if (number > DRAFT(0) && number < DRAFT(12))
		return &version_table[VERSION_DRAFT01 + (number - DRAFT(1))];
	return NULL;
}

/* Drafts 13 and 15 to 19 kept the wire format of 12 and 14. */
static const struct version *
by_draft(const char *digits)
{
	unsigned long n;

	if (strlen(digits) != 2 || strspn(digits, "0123456789") != 2)
		return NULL;
	n = strtoul(digits, NULL, 10);
	if (n < 1 || n > 19)
		return NULL;
	return version_find(DRAFT(n < 12 ? (uint32_t)n : 12), n >= 14);
}

/* Up to eight hexadecimal digits, with or without 0x. */
static const struct version *
by_number(const char *text)
{
	const char *digits = strncmp(text, "0x", 2) == 0 ? text + 2 : text;
	size_t len = strspn(digits, "0123456789abcdefABCDEF");

	if (len == 0 || len > 8 || digits[len] != '\0')
		return NULL;
	return version_find((uint32_t)strtoul(digits, NULL, 16), true);
}

const struct version *
version_by_name(const char *name)
{
	if (strcmp(name, "rfc") == 0)
		return &version_table[VERSION_RFC];
	for (size_t i = 0; i < VERSION_ROWS; i++) {
		if (strcmp(name, version_table[i].name) == 0)
			return &version_table[i];
	}
	if (strncmp(name, "draft-", 6) == 0)
		return by_draft(name + 6);
	return by_number(name);
}

size_t
version_numbers(uint8_t out[static 4 * VERSION_ROWS], uint32_t rows)
{
	uint32_t last = 0;
	size_t len = 0;

	if (rows & 1u << VERSION_RFC) {
		wire_put32(out, version_table[VERSION_RFC].number);
		len = 4;
	}
	for (size_t i = VERSION_DRAFT01; i < VERSION_RFC; i++) {
		uint32_t number = version_table[i].number;

		/* two rows share 0x8000000c */
		if (!(rows & 1u << i) || number == last)
			continue;
		wire_put32(out + len, number);
		len += 4;
		last = number;
	}
	return len;
}

static uint64_t
multiply(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

static uint64_t
mjd(uint64_t unix_days, uint64_t us_of_day)
{
	uint64_t day = unix_days + MJD_UNIX_EPOCH;

	return day > MJD_DAY_MAX ? UINT64_MAX : day << MJD_SHIFT | us_of_day;
}

static uint64_t
mjd_unix_us(uint64_t wire)
{
	uint64_t day = wire >> MJD_SHIFT;
	uint64_t us = wire & ((1ull << MJD_SHIFT) - 1);

	if (wire == UINT64_MAX)
		return UINT64_MAX; /* "for ever" in every unit */
	if (day < MJD_UNIX_EPOCH)
		return 0;
	return (day - MJD_UNIX_EPOCH) * US_PER_DAY + us;
}

uint64_t
version_time(const struct version *v, uint64_t unix_us)
{
	switch (v->unit) {
	case VERSION_UNIX_US:
		return unix_us;
	case VERSION_MJD_US:
		return mjd(unix_us / US_PER_DAY, unix_us % US_PER_DAY);
	case VERSION_UNIX_S:
		break;
	}
	return unix_us / US_PER_S;
}

uint64_t
version_unix_us(const struct version *v, uint64_t wire)
{
	switch (v->unit) {
	case VERSION_UNIX_US:
		return wire;
	case VERSION_MJD_US:
		return mjd_unix_us(wire);
	case VERSION_UNIX_S:
		break;
	}
	return multiply(wire, US_PER_S);
}

uint64_t
version_cert_time(enum cert_kind kind, uint64_t unix_s)
{
	switch (kind) {
	case CERT_GOOGLE:
		return multiply(unix_s, US_PER_S);
	case CERT_DRAFT01:
	case CERT_DRAFT07:
		if (unix_s / S_PER_DAY > MJD_DAY_MAX)
			return UINT64_MAX;
		return mjd(unix_s / S_PER_DAY, unix_s % S_PER_DAY * US_PER_S);
	case CERT_RFC:
	case CERT_DRAFT12:
	case CERT_DRAFT08:
	case CERT_KINDS:
		break;
	}
	return unix_s;
}

uint32_t
version_radius(const struct version *v, uint64_t radius_us)
{
	uint64_t r = radius_us;

	if (v->unit == VERSION_UNIX_S)
		r = r / US_PER_S + (r % US_PER_S != 0);
	if (r == 0)
		return 1;
	return r > UINT32_MAX ? UINT32_MAX : (uint32_t)r;
}

uint64_t
version_radius_us(const struct version *v, uint32_t wire)
{
	return v->unit == VERSION_UNIX_S ? (uint64_t)wire * US_PER_S : wire;
}
