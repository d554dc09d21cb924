/*
 * The long-term key on disk: a small text file, mode 0600, optionally
 * encrypted (Argon2id + secretbox). Format in roughtime-keys(1).
 *
 *   timeshare-key 1
 *   public: <base64>
 *   seed: <base64>                                     plain, or
 *   argon2id: <opslimit> <memlimit> <salt base64>      encrypted: both
 *   secretbox: <nonce base64> <ciphertext base64>
 */
#ifndef KEYS_KEYFILE_H
#define KEYS_KEYFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

#define KEYFILE_SEED_LEN 32
#define KEYFILE_PUBLIC_LEN 32
#define KEYFILE_TEXT_MAX 1024

/* A file that asks for more would only hang its reader. */
#define KEYFILE_OPSLIMIT_MAX 64u
#define KEYFILE_MEMLIMIT_MAX (UINT64_C(4) << 30) /* bytes */

enum keyfile_fault {
	KEYFILE_OK = 0,
	KEYFILE_NOT_A_KEY, /* first line is another */
	KEYFILE_TOO_LONG,
	KEYFILE_UNKNOWN_LINE,
	KEYFILE_REPEATED_LINE,
	KEYFILE_MISSING_LINE,
	KEYFILE_BAD_BASE64,
	KEYFILE_BAD_NUMBER, /* Argon2id limits: under libsodium's, or over ours */
	KEYFILE_PUBLIC_MISMATCH, /* seed does not give the public key */
	KEYFILE_ENCRYPTED, /* a passphrase is needed */
	KEYFILE_WRONG_PASSPHRASE,
	KEYFILE_NO_MEMORY, /* Argon2id found none */
	KEYFILE_FAULTS
};
const char *keyfile_fault_str(enum keyfile_fault fault);

struct keyfile {
	uint8_t public_key[KEYFILE_PUBLIC_LEN];
	bool encrypted;
	uint8_t seed[KEYFILE_SEED_LEN]; /* plain only */
	uint64_t opslimit, memlimit; /* encrypted only, as salt, nonce, box */
	uint8_t salt[16];
	uint8_t nonce[24];
	uint8_t box[KEYFILE_SEED_LEN + 16];
};

/* Pure: text to struct (which lives in locked memory at the caller); all
 * zeroes after a fault. An encrypted key parses well: see `encrypted`. */
enum keyfile_fault keyfile_parse(struct keyfile *k, struct view text);

/*
 * Opens an encrypted key in place: fills seed, clears `encrypted`. A plain key
 * is KEYFILE_OK, an encrypted one without passphrase (NULL) KEYFILE_ENCRYPTED;
 * after a fault the key is as encrypted as before.
 */
enum keyfile_fault keyfile_unlock(
    struct keyfile *k, const char *passphrase, size_t passphrase_len);

/* Makes the text of a key; passphrase NULL: plain. Returns bytes, 0 when it
 * does not fit or Argon2id found no memory. */
size_t keyfile_format(char *out, size_t cap,
    const uint8_t seed[static KEYFILE_SEED_LEN], const char *passphrase,
    size_t passphrase_len);

/*
 * Reads and parses `path` (file_read_secret). `k` is locked memory. Returns 0
 * or -1 with a sentence in `why` that names the path and what was expected.
 */
int keyfile_load(struct keyfile *k, const char *path, char *why, size_t len);

#endif
