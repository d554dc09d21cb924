/*
 * Files that must be whole or absent, and secrets that only their owner may
 * read. Every function returns 0, or -1 with errno and a sentence in `why`.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#define FILE_WHY_LEN 512

/* The directory part of `path`, as dirname(3) has it ("." for a bare name).
 * Returns out; what does not fit is cut. */
char *file_directory(char out[static PATH_MAX], const char *path);

/*
 * A program may be started with stdin, stdout or stderr closed: then the next
 * socket or key file would get their number, and what is printed would end in
 * it. Puts /dev/null there, for reading: a write still fails. To be called
 * first of all; 0, or -1 with errno.
 */
int file_hold_standard(void);

/*
 * Reads a regular file of at most `max` bytes into a fresh malloc() buffer
 * (NUL-terminated past *len; the caller frees it).
 */
int file_read(const char *path, size_t max, uint8_t **data, size_t *len,
    char why[static FILE_WHY_LEN]);

/*
 * Reads a secret into caller-owned (locked) memory: refuses symlinks
 * (O_NOFOLLOW), anything but a regular file, and group or other access bits
 * (mode & 077). *len gets the bytes read; a file over `cap` bytes is refused.
 */
int file_read_secret(const char *path, uint8_t *buf, size_t cap, size_t *len,
    char why[static FILE_WHY_LEN]);

/*
 * Creates `path` with mode 0600, whole or not at all: a temporary file beside
 * it (O_EXCL), fsync, then link(2), which refuses to overwrite (EEXIST).
 */
int file_create_secret(const char *path, const void *data, size_t len,
    char why[static FILE_WHY_LEN]);

/* As above for public files: given mode, replaces by rename(2) when there. */
int file_replace(const char *path, unsigned int mode, const void *data,
    size_t len, char why[static FILE_WHY_LEN]);

#endif
