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

#include "base/wire.h"
#include "roughtime/merkle.h"
#include "roughtime/message.h"

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

struct view
support_value(struct view message, uint32_t tag)
{
	struct message m;
	struct view value;

	assert_int_equal(message_decode(&m, message), MESSAGE_OK);
	if (!message_get(&m, tag, &value))
		fail_msg("no tag %08x", tag);
	return value;
}

void
support_identity(
    struct support_identity *id, uint8_t byte, uint64_t mint_s, uint64_t maxt_s)
{
	uint8_t seed[CERT_SEED_LEN], online_public[CERT_PUBLIC_LEN];

	memset(id, 0, sizeof *id);
	memset(seed, byte, sizeof seed);
	memset(id->online_seed, byte ^ 0x80, sizeof id->online_seed);
	crypto_sign_seed_keypair(
	    id->long_term_public, id->long_term_secret, seed);
	crypto_sign_seed_keypair(
	    online_public, id->key.online_secret, id->online_seed);
	delegation_make(&id->key.delegation, id->long_term_secret,
	    online_public, mint_s, maxt_s);
	id->key.usable = true;
	cert_srv(id->srv, id->long_term_public);
}

void
support_signed(const struct version_context *context, struct view part,
    struct view sig, const uint8_t *public_key)
{
	uint8_t text[512];

	assert_true(context->len + part.len <= sizeof text);
	memcpy(text, context->text, context->len);
	memcpy(text + context->len, part.data, part.len);
	assert_int_equal(sig.len, 64);
	assert_int_equal(crypto_sign_verify_detached(sig.data, text,
			     context->len + part.len, public_key),
	    0);
}

/* The tags of a message are exactly `want`, which ends with 0. */
static void
assert_tags(struct view bytes, const uint32_t *want)
{
	struct message m;
	uint32_t i;

	assert_int_equal(message_decode(&m, bytes), MESSAGE_OK);
	for (i = 0; i < m.count; i++)
		assert_int_equal(message_tag(&m, i), want[i]);
	assert_int_equal(want[i], 0);
}

/* What each era of the drafts puts where. */
static void
assert_layout(const struct version *v, struct view body, struct view srep)
{
	static const uint32_t google[] = { TAG_SIG, TAG_NONC, TAG_PATH,
		TAG_SREP, TAG_CERT, TAG_INDX, 0 };
	static const uint32_t early[] = { TAG_SIG, TAG_VER, TAG_PATH, TAG_SREP,
		TAG_CERT, TAG_INDX, 0 };
	static const uint32_t middle[] = { TAG_SIG, TAG_VER, TAG_NONC, TAG_PATH,
		TAG_SREP, TAG_CERT, TAG_INDX, 0 };
	static const uint32_t typed[] = { TAG_SIG, TAG_NONC, TAG_TYPE, TAG_PATH,
		TAG_SREP, TAG_CERT, TAG_INDX, 0 };
	static const uint32_t srep_plain[] = { TAG_RADI, TAG_MIDP, TAG_ROOT,
		0 };
	static const uint32_t srep_early[] = { TAG_NONC, TAG_RADI, TAG_MIDP,
		TAG_ROOT, 0 };
	static const uint32_t srep_late[] = { TAG_VER, TAG_RADI, TAG_MIDP,
		TAG_VERS, TAG_ROOT, 0 };

	if (v->row <= VERSION_GOOGLE || v->row == VERSION_DRAFT12)
		assert_tags(body, google);
	else if (v->row <= VERSION_DRAFT02)
		assert_tags(body, early);
	else
		assert_tags(body, v->row <= VERSION_DRAFT11 ? middle : typed);
	if (v->row == VERSION_DRAFT01 || v->row == VERSION_DRAFT02)
		assert_tags(srep, srep_early);
	else
		assert_tags(
		    srep, v->row >= VERSION_DRAFT12 ? srep_late : srep_plain);
}

static void
assert_nonce(const struct version *v, struct view body, struct view srep,
    struct view nonce)
{
	bool early = v->row == VERSION_DRAFT01 || v->row == VERSION_DRAFT02;
	struct view echoed = support_value(early ? srep : body, TAG_NONC);

	assert_int_equal(echoed.len, nonce.len);
	assert_memory_equal(echoed.data, nonce.data, nonce.len);
}

static void
assert_numbers(const struct version *v, struct view body, struct view srep)
{
	if (v->row >= VERSION_DRAFT12)
		assert_int_equal(
		    wire_get32(support_value(srep, TAG_VER).data), v->number);
	else if (v->row != VERSION_GOOGLE)
		assert_int_equal(
		    wire_get32(support_value(body, TAG_VER).data), v->number);
	if (v->row >= VERSION_DRAFT14)
		assert_int_equal(
		    wire_get32(support_value(body, TAG_TYPE).data), 1);
}

struct view
support_reply(const struct version *v, const uint8_t *long_term_public,
    struct view packet, struct view nonce, struct view reply)
{
	struct view body = reply, srep, cert, dele;
	uint8_t leaf[HASH_FULL_LEN];

	if (v->row != VERSION_GOOGLE)
		assert_int_equal(frame_decode(reply, &body), FRAME_OK);
	srep = support_value(body, TAG_SREP);
	cert = support_value(body, TAG_CERT);
	dele = support_value(cert, TAG_DELE);
	assert_layout(v, body, srep);
	assert_nonce(v, body, srep, nonce);
	assert_numbers(v, body, srep);
	support_signed(&v->delegation_context, dele,
	    support_value(cert, TAG_SIG), long_term_public);
	support_signed(&v->response_context, srep, support_value(body, TAG_SIG),
	    support_value(dele, TAG_PUBK).data);
	merkle_leaf(v, leaf, packet, nonce);
	assert_true(merkle_verify(v, MERKLE_NATURAL, leaf,
	    support_value(body, TAG_PATH),
	    wire_get32(support_value(body, TAG_INDX).data),
	    support_value(srep, TAG_ROOT)));
	return srep;
}
