/*
 * Every wire format in the field, one table row each. What differs between
 * versions is data here, never an `if` on a version number elsewhere.
 */
#ifndef ROUGHTIME_VERSION_H
#define ROUGHTIME_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows, worst to best. As bits (1u << row) they form sets of versions. */
enum version_row {
	VERSION_GOOGLE = 0,
	VERSION_DRAFT01,
	VERSION_DRAFT02,
	VERSION_DRAFT03,
	VERSION_DRAFT04,
	VERSION_DRAFT05,
	VERSION_DRAFT06,
	VERSION_DRAFT07,
	VERSION_DRAFT08,
	VERSION_DRAFT09,
	VERSION_DRAFT10,
	VERSION_DRAFT11,
	VERSION_DRAFT12, /* 0x8000000c without TYPE: drafts 12 and 13 */
	VERSION_DRAFT14, /* 0x8000000c with TYPE: drafts 14 to 19 */
	VERSION_RFC, /* 1: RFC 10049 */
	VERSION_ROWS
};
#define VERSION_ALL ((1u << VERSION_ROWS) - 1)

enum version_hash { VERSION_SHA512, VERSION_SHA512_TRUNC, VERSION_SHA512_256 };
enum version_leaf { VERSION_LEAF_NONCE, VERSION_LEAF_PACKET };
enum version_unit { VERSION_UNIX_US, VERSION_MJD_US, VERSION_UNIX_S };
enum version_nonce_place {
	VERSION_NONCE_TOP,
	VERSION_NONCE_SREP,
	VERSION_NONCE_NONE
};

/* One certificate for each (context, time unit): an online key needs all. */
enum cert_kind {
	CERT_RFC = 0, /* small t, seconds:      version 1 */
	CERT_DRAFT12, /* no dashes, seconds:    0x8000000c */
	CERT_DRAFT08, /* dashes, seconds:       0x80000008-b */
	CERT_DRAFT07, /* no dashes, MJD:        0x80000007 */
	CERT_DRAFT01, /* dashes, MJD:           0x80000001-6 */
	CERT_GOOGLE, /* dashes, Unix us:       Google */
	CERT_KINDS
};

#define VERSION_CONTEXT_MAX 64 /* bytes, more than any has */

struct version_context {
	const char *text;
	size_t len; /* with the terminating NUL byte, which is signed */
};

struct version {
	enum version_row row;
	uint32_t number; /* on the wire; 0: Google, which has none */
	const char *name; /* "rfc10049", "draft-14", "google" … */
	bool framed;
	bool typed; /* TYPE is mandatory and is sent */
	uint8_t nonce_len;
	uint8_t node_len; /* of ROOT and of each PATH entry */
	enum version_hash hash;
	enum version_leaf leaf;
	enum version_unit unit; /* of MIDP, MINT, MAXT and RADI */
	enum version_nonce_place nonce_place; /* in the reply */
	bool ver_on_top; /* reply: VER at top level */
	bool ver_in_srep; /* reply: VER and VERS inside SREP */
	bool batched; /* our server may put it in a tree with others */
	uint32_t padding_tag;
	enum cert_kind cert;
	struct version_context response_context;
	struct version_context delegation_context;
};

extern const struct version version_table[VERSION_ROWS];

/* The row for a VER number and whether the packet carries TYPE; NULL when
 * unknown. Number 0 is never found: Google is told by the missing frame. */
const struct version *version_find(uint32_t number, bool typed);

/* By name ("google", "rfc", "draft-07", "1", "0x8000000b", "8000000b"); NULL. */
const struct version *version_by_name(const char *name);

/* The VER numbers of a set of rows, ascending as uint32 and without repeats,
 * as they stand on the wire; returns bytes. Google has none. */
size_t version_numbers(uint8_t out[static 4 * VERSION_ROWS], uint32_t rows);

/*
 * MIDP, MINT or MAXT in the units of `v` for Unix microseconds, and back
 * (saturating). MJD: modified Julian day << 40 | microseconds of that day.
 */
uint64_t version_time(const struct version *v, uint64_t unix_us);
uint64_t version_unix_us(const struct version *v, uint64_t wire);
/* A certificate's times are in seconds at our side. */
uint64_t version_cert_time(enum cert_kind kind, uint64_t unix_s);

/* RADI in the units of `v`, rounded up, saturating; never 0. */
uint32_t version_radius(const struct version *v, uint64_t radius_us);
uint64_t version_radius_us(const struct version *v, uint32_t wire);

#endif
