/*
 * Test keys and bundles in a fresh directory: made at run time, good for
 * nothing but tests.
 */
#ifndef TESTS_TESTKEYS_H
#define TESTS_TESTKEYS_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "keys/bundle.h"
#include "keys/keyfile.h"
#include "roughtime/cert.h"

struct testkey {
	uint8_t seed[CERT_SEED_LEN];
	uint8_t public[CERT_PUBLIC_LEN];
	uint8_t secret[CERT_SECRET_LEN];
	char base64[64]; /* of the public half */
};

/* A long-term key that is always the same for the same number. */
static inline void
testkey_make(struct testkey *k, uint8_t number)
{
	memset(k->seed, number, sizeof k->seed);
	crypto_sign_seed_keypair(k->public, k->secret, k->seed);
	sodium_bin2base64(k->base64, sizeof k->base64, k->public,
	    sizeof k->public, sodium_base64_VARIANT_ORIGINAL);
}

static inline void
testdir_make(char dir[static PATH_MAX])
{
	snprintf(dir, PATH_MAX, "/tmp/timeshare-test-XXXXXX");
	if (mkdtemp(dir) == NULL)
		abort();
}

/* Files only, one level: what these tests put there. */
static inline void
testdir_remove(const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
	if (rmdir(dir) != 0)
		abort();
}

static inline const char *
test_path(char path[static PATH_MAX], const char *dir, const char *name)
{
	if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		abort();
	return path;
}

static inline void
test_write(const char *dir, const char *name, const void *data, size_t len)
{
	char path[PATH_MAX], why[FILE_WHY_LEN];

	test_path(path, dir, name);
	unlink(path);
	if (file_create_secret(path, data, len, why) != 0)
		abort();
}

static inline void
testkey_write(const struct testkey *k, const char *dir, const char *name,
    const char *passphrase)
{
	char text[KEYFILE_TEXT_MAX];
	size_t len = keyfile_format(text, sizeof text, k->seed, passphrase,
	    passphrase == NULL ? 0 : strlen(passphrase));

	if (len == 0)
		abort();
	test_write(dir, name, text, len);
}

/* A bundle of `k` for [mint, maxt]; the online key follows from `number`. */
static inline void
testbundle_make(struct bundle *b, const struct testkey *k, uint8_t number,
    uint64_t mint_s, uint64_t maxt_s)
{
	struct testkey online;
	struct delegation d;

	testkey_make(&online, number);
	delegation_make(&d, k->secret, online.public, mint_s, maxt_s);
	delegation_to_bundle(b, &d, k->public, online.seed);
}

static inline void
testbundle_write(const struct bundle *b, const char *dir, const char *name)
{
	char text[BUNDLE_TEXT_MAX];
	size_t len = bundle_format(text, sizeof text, b);

	if (len == 0)
		abort();
	test_write(dir, name, text, len);
}

static inline void
testbundle_put(const struct testkey *k, uint8_t number, uint64_t mint_s,
    uint64_t maxt_s, const char *dir, const char *name)
{
	struct bundle b;

	testbundle_make(&b, k, number, mint_s, maxt_s);
	testbundle_write(&b, dir, name);
}

/* The newest child of this process (0: none): the keyholder's struct is
 * opaque. */
static inline pid_t
test_last_child(void)
{
	char path[64];
	FILE *f;
	int pid = 0;

	snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
	f = fopen(path, "re");
	while (f != NULL && fscanf(f, "%d", &pid) == 1)
		continue;
	if (f != NULL)
		fclose(f);
	return pid;
}

#endif
