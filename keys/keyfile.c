#include "keys/keyfile.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "keys/lines.h"
#include "keys/secret.h"

#define TITLE "timeshare-key 1"

enum line_bit {
	LINE_PUBLIC = 1,
	LINE_SEED = 2,
	LINE_ARGON2ID = 4,
	LINE_SECRETBOX = 8,
};
#define LINES_PLAIN (LINE_PUBLIC | LINE_SEED)
#define LINES_ENCRYPTED (LINE_PUBLIC | LINE_ARGON2ID | LINE_SECRETBOX)

const char *
keyfile_fault_str(enum keyfile_fault fault)
{
	static const char *const words[KEYFILE_FAULTS] = {
		[KEYFILE_OK] = "good",
		[KEYFILE_NOT_A_KEY] =
		    "not a key file (expected first line: " TITLE ")",
		[KEYFILE_TOO_LONG] = "too long for a key file",
		[KEYFILE_UNKNOWN_LINE] = "a line that is unknown or cut off",
		[KEYFILE_REPEATED_LINE] =
		    "a line twice, or a seed both plain and encrypted",
		[KEYFILE_MISSING_LINE] =
		    "a line is missing (expected public, and either seed "
		    "or argon2id and secretbox)",
		[KEYFILE_BAD_BASE64] = "bad base64, or of the wrong length",
		[KEYFILE_BAD_NUMBER] = "Argon2id limits out of range",
		[KEYFILE_PUBLIC_MISMATCH] =
		    "the seed does not give the public key",
		[KEYFILE_ENCRYPTED] = "encrypted: a passphrase is needed",
		[KEYFILE_WRONG_PASSPHRASE] = "wrong passphrase",
		[KEYFILE_NO_MEMORY] = "not enough memory for Argon2id",
	};

	return fault < KEYFILE_FAULTS ? words[fault] : "unknown fault";
}

static void
public_of(uint8_t public_key[static KEYFILE_PUBLIC_LEN],
    const uint8_t seed[static KEYFILE_SEED_LEN])
{
	uint8_t secret[crypto_sign_SECRETKEYBYTES];

	crypto_sign_seed_keypair(public_key, secret, seed);
	sodium_memzero(secret, sizeof secret);
}

static bool
is_public_of(const uint8_t public_key[static KEYFILE_PUBLIC_LEN],
    const uint8_t seed[static KEYFILE_SEED_LEN])
{
	uint8_t derived[KEYFILE_PUBLIC_LEN];

	public_of(derived, seed);
	return sodium_memcmp(derived, public_key, sizeof derived) == 0;
}

/* argon2id: <opslimit> <memlimit> <salt> */
static enum keyfile_fault
parse_argon2id(struct keyfile *k, struct view value)
{
	struct view ops = lines_word(&value), mem = lines_word(&value);

	if (!lines_u64(ops, &k->opslimit) || !lines_u64(mem, &k->memlimit) ||
	    k->opslimit < crypto_pwhash_OPSLIMIT_MIN ||
	    k->opslimit > KEYFILE_OPSLIMIT_MAX ||
	    k->memlimit < crypto_pwhash_MEMLIMIT_MIN ||
	    k->memlimit > KEYFILE_MEMLIMIT_MAX)
		return KEYFILE_BAD_NUMBER;
	return lines_base64(value, k->salt, sizeof k->salt)
	    ? KEYFILE_OK
	    : KEYFILE_BAD_BASE64;
}

/* secretbox: <nonce> <ciphertext> */
static enum keyfile_fault
parse_secretbox(struct keyfile *k, struct view value)
{
	struct view nonce = lines_word(&value);

	return lines_base64(nonce, k->nonce, sizeof k->nonce) &&
		lines_base64(value, k->box, sizeof k->box)
	    ? KEYFILE_OK
	    : KEYFILE_BAD_BASE64;
}

static enum keyfile_fault
parse_public(struct keyfile *k, struct view value)
{
	return lines_base64(value, k->public_key, sizeof k->public_key)
	    ? KEYFILE_OK
	    : KEYFILE_BAD_BASE64;
}

static enum keyfile_fault
parse_seed(struct keyfile *k, struct view value)
{
	return lines_base64(value, k->seed, sizeof k->seed)
	    ? KEYFILE_OK
	    : KEYFILE_BAD_BASE64;
}

static enum keyfile_fault
parse_line(struct keyfile *k, const struct line *line, unsigned int *seen)
{
	static const struct {
		const char *name;
		unsigned int bit;
		unsigned int rivals; /* lines that it cannot stand beside */
		enum keyfile_fault (*parse)(struct keyfile *, struct view);
	} known[] = {
		{ "public", LINE_PUBLIC, 0, parse_public },
		{ "seed", LINE_SEED, LINE_ARGON2ID | LINE_SECRETBOX,
		    parse_seed },
		{ "argon2id", LINE_ARGON2ID, LINE_SEED, parse_argon2id },
		{ "secretbox", LINE_SECRETBOX, LINE_SEED, parse_secretbox },
	};

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (!lines_is(line->name, known[i].name))
			continue;
		if ((*seen & (known[i].bit | known[i].rivals)) != 0)
			return KEYFILE_REPEATED_LINE;
		*seen |= known[i].bit;
		return known[i].parse(k, line->value);
	}
	return KEYFILE_UNKNOWN_LINE;
}

static enum keyfile_fault
parse(struct keyfile *k, struct view text)
{
	enum keyfile_fault fault;
	unsigned int seen = 0;
	struct line line;

	if (!lines_title(&text, TITLE))
		return KEYFILE_NOT_A_KEY;
	if (text.len > KEYFILE_TEXT_MAX)
		return KEYFILE_TOO_LONG;
	while (text.len > 0) {
		if (!lines_next(&text, &line))
			return KEYFILE_UNKNOWN_LINE;
		fault = parse_line(k, &line, &seen);
		if (fault != KEYFILE_OK)
			return fault;
	}
	k->encrypted = seen == LINES_ENCRYPTED;
	if (!k->encrypted && seen != LINES_PLAIN)
		return KEYFILE_MISSING_LINE;
	if (!k->encrypted && !is_public_of(k->public_key, k->seed))
		return KEYFILE_PUBLIC_MISMATCH;
	return KEYFILE_OK;
}

enum keyfile_fault
keyfile_parse(struct keyfile *k, struct view text)
{
	enum keyfile_fault fault;

	sodium_memzero(k, sizeof *k);
	fault = parse(k, text);
	if (fault != KEYFILE_OK)
		sodium_memzero(k, sizeof *k);
	return fault;
}

/* The key that opens the box; false when Argon2id found no memory. */
static bool
box_key(uint8_t key[static crypto_secretbox_KEYBYTES], const struct keyfile *k,
    const char *passphrase, size_t len)
{
	return crypto_pwhash(key, crypto_secretbox_KEYBYTES, passphrase, len,
		   k->salt, k->opslimit, (size_t)k->memlimit,
		   crypto_pwhash_ALG_ARGON2ID13) == 0;
}

enum keyfile_fault
keyfile_unlock(struct keyfile *k, const char *passphrase, size_t passphrase_len)
{
	uint8_t key[crypto_secretbox_KEYBYTES];
	enum keyfile_fault fault = KEYFILE_OK;

	if (!k->encrypted)
		return KEYFILE_OK;
	if (passphrase == NULL)
		return KEYFILE_ENCRYPTED;
	if (!box_key(key, k, passphrase, passphrase_len))
		fault = KEYFILE_NO_MEMORY;
	else if (crypto_secretbox_open_easy(
		     k->seed, k->box, sizeof k->box, k->nonce, key) != 0)
		fault = KEYFILE_WRONG_PASSPHRASE;
	else if (!is_public_of(k->public_key, k->seed))
		fault = KEYFILE_PUBLIC_MISMATCH;
	sodium_memzero(key, sizeof key);
	if (fault != KEYFILE_OK)
		sodium_memzero(k->seed, sizeof k->seed);
	else
		k->encrypted = false;
	return fault;
}

/* Fills in everything but the seed itself; false: no memory for Argon2id. */
static bool
encrypt(struct keyfile *k, const uint8_t seed[static KEYFILE_SEED_LEN],
    const char *passphrase, size_t len)
{
	uint8_t key[crypto_secretbox_KEYBYTES];
	bool good;

	k->encrypted = true;
	k->opslimit = crypto_pwhash_OPSLIMIT_MODERATE;
	k->memlimit = crypto_pwhash_MEMLIMIT_MODERATE;
	randombytes_buf(k->salt, sizeof k->salt);
	randombytes_buf(k->nonce, sizeof k->nonce);
	good = box_key(key, k, passphrase, len);
	if (good)
		crypto_secretbox_easy(
		    k->box, seed, KEYFILE_SEED_LEN, k->nonce, key);
	sodium_memzero(key, sizeof key);
	return good;
}

static void
put_encrypted(struct lines_out *o, const struct keyfile *k)
{
	lines_put(o, "\nargon2id: ");
	lines_put_u64(o, k->opslimit);
	lines_put(o, " ");
	lines_put_u64(o, k->memlimit);
	lines_put(o, " ");
	lines_put_base64(o, k->salt, sizeof k->salt);
	lines_put(o, "\nsecretbox: ");
	lines_put_base64(o, k->nonce, sizeof k->nonce);
	lines_put(o, " ");
	lines_put_base64(o, k->box, sizeof k->box);
	lines_put(o, "\n");
}

size_t
keyfile_format(char *out, size_t cap,
    const uint8_t seed[static KEYFILE_SEED_LEN], const char *passphrase,
    size_t passphrase_len)
{
	struct lines_out o = { out, cap, false };
	struct keyfile k = { 0 }; /* its seed stays empty */

	public_of(k.public_key, seed);
	if (passphrase != NULL &&
	    !encrypt(&k, seed, passphrase, passphrase_len))
		return 0;
	lines_put(&o, TITLE "\npublic: ");
	lines_put_base64(&o, k.public_key, sizeof k.public_key);
	if (k.encrypted) {
		put_encrypted(&o, &k);
	} else {
		lines_put(&o, "\nseed: ");
		lines_put_base64(&o, seed, KEYFILE_SEED_LEN);
		lines_put(&o, "\n");
	}
	if (o.bad) {
		sodium_memzero(out, cap);
		return 0;
	}
	return cap - o.left;
}

int
keyfile_load(struct keyfile *k, const char *path, char *why, size_t len)
{
	uint8_t *text = secret_alloc(KEYFILE_TEXT_MAX);
	char reason[FILE_WHY_LEN];
	enum keyfile_fault fault;
	struct view v = { text, 0 };
	int rc = -1;

	if (text == NULL) {
		snprintf(why, len, "%s: no locked memory for a key", path);
		return -1;
	}
	if (file_read_secret(path, text, KEYFILE_TEXT_MAX, &v.len, reason) !=
	    0) {
		snprintf(why, len, "%s", reason);
		goto out;
	}
	fault = keyfile_parse(k, v);
	if (fault != KEYFILE_OK)
		snprintf(why, len, "%s: %s", path, keyfile_fault_str(fault));
	else
		rc = 0;
out:
	secret_free(text);
	return rc;
}
