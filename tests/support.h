/*
 * What several unit tests need: vectors from tests/vectors, bytes from hex and
 * base64, memory that ends at a guard page. Each function fails the test that
 * calls it rather than return an error. Linked into every unit test.
 */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "roughtime/response.h"

/* Decodes into `out`; returns bytes. White space between digits is skipped. */
size_t support_hex(uint8_t *out, size_t cap, const char *hex);
size_t support_base64(uint8_t *out, size_t cap, const char *text);

/* A whole file in malloc() memory (the caller frees .data, by support_free). */
struct view support_file(const char *path);
/* tests/vectors/NAME, parsed; json_decref() when done. */
json_t *support_vector(const char *name);

/* The string at object[key] or array[i] as malloc() bytes. */
enum support_encoding { SUPPORT_HEX, SUPPORT_BASE64 };
struct view support_bytes(
    const json_t *object, const char *key, enum support_encoding encoding);
struct view
support_bytes_at(const json_t *array, size_t i, enum support_encoding encoding);
void support_free(struct view v);

/*
 * `len` bytes whose end is the start of a PROT_NONE page: reading or writing
 * one byte too far is a SIGSEGV. Free with the same length.
 */
uint8_t *guard_alloc(size_t len);
void guard_free(uint8_t *p, size_t len);
/* The same, filled from `src`; guard_drop() frees it. */
struct view guard_copy(const void *src, size_t len);
void guard_drop(struct view v);

/*
 * Fails unless seen[0…n) is all true, and names what no test has reached;
 * also that every value has a name of its own.
 */
void support_all_seen(const bool *seen, size_t n, const char *(*name)(int));

/* The value of `tag` in a message that must hold it. */
struct view support_value(struct view message, uint32_t tag);

/* An identity for tests, made from one byte: never a secret. */
struct support_identity {
	uint8_t long_term_public[CERT_PUBLIC_LEN];
	uint8_t long_term_secret[CERT_SECRET_LEN];
	uint8_t online_seed[CERT_SEED_LEN];
	uint8_t srv[CERT_SRV_LEN];
	struct response_key key;
};
void support_identity(struct support_identity *id, uint8_t byte,
    uint64_t mint_s, uint64_t maxt_s);

/* `sig` is public_key's over context || part. */
void support_signed(const struct version_context *context, struct view part,
    struct view sig, const uint8_t *public_key);

/*
 * A reply to `packet` in the format of `v`, checked as a client would, without
 * the code under test: frame, tags in order, both signatures, path in natural
 * order, nonce, INDX. Returns SREP.
 */
struct view
support_reply(const struct version *v, const uint8_t *long_term_public,
    struct view packet, struct view nonce, struct view reply);

#endif
