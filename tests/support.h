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

#endif
