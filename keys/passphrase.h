/* Passphrases from a file or a terminal, into locked memory of the caller. */
#ifndef KEYS_PASSPHRASE_H
#define KEYS_PASSPHRASE_H

#include <stddef.h>

#include "base/file.h"

#define PASSPHRASE_MAX 1024 /* bytes */

/*
 * Both give 0, or -1 with a sentence in `why`; an empty passphrase is refused.
 * `buf` holds PASSPHRASE_MAX bytes, without a NUL.
 */

/* The first line of a file that only its owner can read. */
int passphrase_from_file(
    const char *path, char *buf, size_t *len, char why[static FILE_WHY_LEN]);

/*
 * Asks on the controlling terminal, without echo; `again` is a second buffer
 * for the same answer, or NULL to ask once. Standard input stays untouched.
 */
int passphrase_ask(const char *question, char *buf, char *again, size_t *len,
    char why[static FILE_WHY_LEN]);

#endif
