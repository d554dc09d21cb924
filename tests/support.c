#include "tests/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

size_t
support_hex(uint8_t *out, size_t cap, const char *hex)
{
	size_t len = 0;

	if (sodium_hex2bin(out, cap, hex, strlen(hex), " \n\t", &len, NULL) !=
	    0)
		fail_msg("not hex, or over %zu bytes: %.60s", cap, hex);
	return len;
}

size_t
support_base64(uint8_t *out, size_t cap, const char *text)
{
	size_t len = 0;

	if (sodium_base642bin(out, cap, text, strlen(text), " \n\t", &len, NULL,
		sodium_base64_VARIANT_ORIGINAL) != 0)
		fail_msg("not base64, or over %zu bytes: %.60s", cap, text);
	return len;
}

struct view
support_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	long len = -1;

	if (f == NULL || fseek(f, 0, SEEK_END) != 0 || (len = ftell(f)) < 0)
		fail_msg("cannot read %s", path);
	rewind(f);
	data = malloc((size_t)len + 1);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, (size_t)len, f), (size_t)len);
	fclose(f);
	return (struct view){ data, (size_t)len };
}

json_t *
support_vector(const char *name)
{
	char path[256];
	json_error_t error;
	json_t *root;

	snprintf(path, sizeof path, "tests/vectors/%s", name);
	root = json_load_file(path, 0, &error);
	if (root == NULL)
		fail_msg("%s:%d: %s", path, error.line, error.text);
	return root;
}

static struct view
decode(const json_t *string, enum support_encoding encoding)
{
	const char *text = json_string_value(string);
	size_t cap;
	uint8_t *out;

	assert_non_null(text);
	cap = strlen(text) + 1;
	out = malloc(cap);
	assert_non_null(out);
	if (encoding == SUPPORT_HEX)
		return (struct view){ out, support_hex(out, cap, text) };
	return (struct view){ out, support_base64(out, cap, text) };
}

struct view
support_bytes(
    const json_t *object, const char *key, enum support_encoding encoding)
{
	return decode(json_object_get(object, key), encoding);
}

struct view
support_bytes_at(const json_t *array, size_t i, enum support_encoding encoding)
{
	return decode(json_array_get(array, i), encoding);
}

void
support_free(struct view v)
{
	free((void *)(uintptr_t)v.data);
}

/* Bytes mapped before the guard page. */
static size_t
guard_room(size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (len + page - 1) / page * page;
}

uint8_t *
guard_alloc(size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t room = guard_room(len);
	uint8_t *base = mmap(NULL, room + page, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED)
		fail_msg("mmap of %zu bytes", room + page);
	assert_int_equal(mprotect(base + room, page, PROT_NONE), 0);
	return base + room - len;
}

void
guard_free(uint8_t *p, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t room = guard_room(len);

	assert_int_equal(munmap(p + len - room, room + page), 0);
}

struct view
guard_copy(const void *src, size_t len)
{
	uint8_t *p = guard_alloc(len);

	if (len > 0)
		memcpy(p, src, len);
	return (struct view){ p, len };
}

void
guard_drop(struct view v)
{
	guard_free((uint8_t *)(uintptr_t)v.data, v.len);
}

void
support_all_seen(const bool *seen, size_t n, const char *(*name)(int))
{
	for (size_t i = 0; i < n; i++) {
		const char *word = name((int)i);

		assert_non_null(word);
		assert_true(word[0] != '\0');
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(word, name((int)k));
		if (!seen[i])
			fail_msg("no test reaches %s", word);
	}
}
