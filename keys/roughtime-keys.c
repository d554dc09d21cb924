/*
 * roughtime-keys: makes long-term keys, delegates to online keys, shows both.
 * Everything secret lives in one piece of locked memory, struct secrets.
 */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/when.h"
#include "keys/bundle.h"
#include "keys/keyfile.h"
#include "keys/options.h"
#include "keys/passphrase.h"
#include "keys/queue.h"
#include "keys/secret.h"
#include "roughtime/cert.h"

#define BASE64_32_LEN 45 /* of 32 bytes, with the NUL */
#define SEED_INPUT_MAX 256

struct secrets {
	struct keyfile key;
	uint8_t long_term_secret[CERT_SECRET_LEN];
	uint8_t online_seed[CERT_SEED_LEN];
	uint8_t online_secret[CERT_SECRET_LEN];
	struct bundle bundle;
	struct bundle reread; /* our own product, parsed again */
	char text[BUNDLE_TEXT_MAX];
	char input[SEED_INPUT_MAX];
	char passphrase[PASSPHRASE_MAX];
	char again[PASSPHRASE_MAX];
	size_t passphrase_len;
};

static char *
base64_32(char buf[static BASE64_32_LEN], const uint8_t key[static 32])
{
	return sodium_bin2base64(
	    buf, BASE64_32_LEN, key, 32, sodium_base64_VARIANT_ORIGINAL);
}

static json_t *
json_base64(const uint8_t key[static 32])
{
	char buf[BASE64_32_LEN];

	return json_string(base64_32(buf, key));
}

static json_t *
json_time(uint64_t unix_s)
{
	char buf[CLOCK_RFC3339_LEN];

	return json_string(clock_rfc3339(buf, unix_s));
}

/* JSON is UTF-8, paths need not be. */
static json_t *
json_path(const char *path)
{
	char buf[PATH_MAX];
	json_t *text = json_string(path);

	if (text != NULL)
		return text;
	snprintf(buf, sizeof buf, "%s", path);
	for (char *c = buf; *c != '\0'; c++) {
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	}
	return json_string(buf);
}

static void
print_json(json_t *object)
{
	json_dumpf(object, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(object);
}

/* Keys: generate, import. */

/* True when a passphrase was asked for and is there; sets *bad on failure. */
static bool
get_passphrase(
    struct secrets *s, const struct options *o, bool is_new, bool *bad)
{
	char why[FILE_WHY_LEN];
	int rc;

	*bad = false;
	if (o->passphrase_file == NULL && !o->ask_passphrase)
		return false;
	if (o->passphrase_file != NULL)
		rc = passphrase_from_file(
		    o->passphrase_file, s->passphrase, &s->passphrase_len, why);
	else
		rc = passphrase_ask(
		    is_new ? "New passphrase: " : "Passphrase: ", s->passphrase,
		    is_new ? s->again : NULL, &s->passphrase_len, why);
	if (rc != 0) {
		log_error("%s", why);
		*bad = true;
	}
	return rc == 0;
}

static int
write_key(struct secrets *s, const struct options *o,
    const uint8_t seed[static KEYFILE_SEED_LEN])
{
	char why[FILE_WHY_LEN], public_key[BASE64_32_LEN];
	struct view text = { (const uint8_t *)s->text, 0 };
	bool bad, locked = get_passphrase(s, o, true, &bad);

	if (bad)
		return -1;
	text.len = keyfile_format(s->text, sizeof s->text, seed,
	    locked ? s->passphrase : NULL, s->passphrase_len);
	if (text.len == 0 || keyfile_parse(&s->key, text) != KEYFILE_OK) {
		log_error("%s", keyfile_fault_str(KEYFILE_NO_MEMORY));
		return -1;
	}
	if (file_create_secret(o->output, s->text, text.len, why) != 0) {
		log_error("%s", why);
		return -1;
	}
	if (o->json)
		print_json(json_pack("{s:o, s:o, s:b}", "file",
		    json_path(o->output), "public_key",
		    json_base64(s->key.public_key), "encrypted", locked));
	else
		puts(base64_32(public_key, s->key.public_key));
	return 0;
}

static int
generate(struct secrets *s, const struct options *o)
{
	/* before anybody is asked for a passphrase or waits for Argon2id */
	if (!queue_is_free(o->output))
		return -1;
	randombytes_buf(s->online_seed, sizeof s->online_seed);
	return write_key(s, o, s->online_seed);
}

/* Standard input by read(2): stdio would keep a copy in its buffer. */
static size_t
read_seed_text(char *buf, size_t cap)
{
	size_t len = 0;
	ssize_t n = 1;

	if (isatty(STDIN_FILENO))
		fputs("Seed in hex or base64, then end of file: ", stderr);
	while (len < cap && n > 0) {
		n = read(STDIN_FILENO, buf + len, cap - len);
		len += n > 0 ? (size_t)n : 0;
	}
	while (len > 0 && strchr(" \t\r\n", buf[len - 1]) != NULL)
		len--;
	return len;
}

static int
import(struct secrets *s, const struct options *o)
{
	size_t len, got = 0;
	int rc = -1;

	if (!queue_is_free(o->output))
		return -1;
	len = read_seed_text(s->input, sizeof s->input);
	if (len == 2 * KEYFILE_SEED_LEN)
		rc = sodium_hex2bin(s->online_seed, sizeof s->online_seed,
		    s->input, len, NULL, &got, NULL);
	else if (len == BASE64_32_LEN - 1)
		rc = sodium_base642bin(s->online_seed, sizeof s->online_seed,
		    s->input, len, NULL, &got, NULL,
		    sodium_base64_VARIANT_ORIGINAL);
	if (rc != 0 || got != KEYFILE_SEED_LEN) {
		log_error("standard input: expected a seed of 32 bytes, as 64 "
			  "hex digits or 44 characters of base64");
		return -1;
	}
	return write_key(s, o, s->online_seed);
}

/* Files of either kind: public, show. */

enum held { HELD_NOTHING = 0, HELD_KEY, HELD_BUNDLE };

static enum held
load_any(struct secrets *s, const char *path)
{
	char why[FILE_WHY_LEN];
	struct view text = { (const uint8_t *)s->text, 0 };
	enum keyfile_fault key_fault;
	enum bundle_fault bundle_fault;

	if (file_read_secret(path, (uint8_t *)s->text, sizeof s->text,
		&text.len, why) != 0) {
		log_error("%s", why);
		return HELD_NOTHING;
	}
	key_fault = keyfile_parse(&s->key, text);
	bundle_fault = bundle_parse(&s->bundle, text);
	if (key_fault == KEYFILE_OK)
		return HELD_KEY;
	if (bundle_fault == BUNDLE_OK)
		return HELD_BUNDLE;
	if (key_fault != KEYFILE_NOT_A_KEY)
		log_error("%s: %s", path, keyfile_fault_str(key_fault));
	else if (bundle_fault != BUNDLE_NOT_A_BUNDLE)
		log_error("%s: %s", path, bundle_fault_str(bundle_fault));
	else
		log_error(
		    "%s: neither a key file nor a delegation bundle", path);
	return HELD_NOTHING;
}

static int public(struct secrets *s, const struct options *o)
{
	enum held held = load_any(s, o->file);
	const uint8_t *key =
	    held == HELD_BUNDLE ? s->bundle.public_key : s->key.public_key;
	char buf[BASE64_32_LEN];

	if (held == HELD_NOTHING)
		return -1;
	if (o->json)
		print_json(json_pack("{s:o, s:o}", "file", json_path(o->file),
		    "public_key", json_base64(key)));
	else
		puts(base64_32(buf, key));
	return 0;
}

static int
show_key(const struct keyfile *k, const struct options *o)
{
	char public_key[BASE64_32_LEN], srv[BASE64_32_LEN];
	uint8_t srv_bytes[CERT_SRV_LEN];

	cert_srv(srv_bytes, k->public_key);
	if (o->json) {
		print_json(json_pack("{s:o, s:s, s:o, s:o, s:b}", "file",
		    json_path(o->file), "type", "key", "public_key",
		    json_base64(k->public_key), "srv", json_base64(srv_bytes),
		    "encrypted", k->encrypted));
		return 0;
	}
	printf("long-term key  %s\n", o->file);
	printf("public key     %s\n", base64_32(public_key, k->public_key));
	printf("SRV            %s\n", base64_32(srv, srv_bytes));
	if (k->encrypted)
		printf("seed           encrypted (Argon2id, %llu passes over "
		       "%llu KiB)\n",
		    (unsigned long long)k->opslimit,
		    (unsigned long long)k->memlimit / 1024);
	else
		printf("seed           plain\n");
	return 0;
}

/* "valid, ends in 29d 23h" and the like; the first word is for JSON. */
static const char *
window_state(const struct bundle *b, char text[static 2 * WHEN_SPAN_LEN])
{
	uint64_t now_s = clock_unix_s();
	char span[WHEN_SPAN_LEN];

	if (now_s < b->not_before_s) {
		snprintf(text, 2 * WHEN_SPAN_LEN, "pending, starts in %s",
		    when_span(span, b->not_before_s - now_s));
		return "pending";
	}
	if (now_s > b->not_after_s) {
		snprintf(text, 2 * WHEN_SPAN_LEN, "expired %s ago",
		    when_span(span, now_s - b->not_after_s));
		return "expired";
	}
	snprintf(text, 2 * WHEN_SPAN_LEN, "valid, ends in %s",
	    when_span(span, b->not_after_s - now_s));
	return "valid";
}

static json_t *
json_kinds(const struct bundle *b)
{
	json_t *kinds = json_array();

	for (size_t i = 0; i < b->count; i++)
		json_array_append_new(kinds, json_string(b->certs[i].kind));
	return kinds;
}

static json_t *
json_bundle(const char *path, const struct bundle *b)
{
	return json_pack("{s:o, s:s, s:o, s:I, s:o, s:I, s:o, s:o}", "file",
	    json_path(path), "type", "bundle", "public_key",
	    json_base64(b->public_key), "not_before",
	    (json_int_t)b->not_before_s, "not_before_utc",
	    json_time(b->not_before_s), "not_after", (json_int_t)b->not_after_s,
	    "not_after_utc", json_time(b->not_after_s), "kinds", json_kinds(b));
}

static void
print_bundle(const char *path, const struct bundle *b,
    const uint8_t online_public[static 32], const char *state)
{
	char buf[BASE64_32_LEN], time[CLOCK_RFC3339_LEN];

	printf("delegation     %s\n", path);
	printf("public key     %s\n", base64_32(buf, b->public_key));
	printf("online key     %s\n", base64_32(buf, online_public));
	printf("not before     %s\n", clock_rfc3339(time, b->not_before_s));
	printf("not after      %s\n", clock_rfc3339(time, b->not_after_s));
	printf("state          %s\n", state);
	printf("certificates  ");
	for (size_t i = 0; i < b->count; i++)
		printf(" %s", b->certs[i].kind);
	printf("\n");
}

static int
show_bundle(struct secrets *s, const struct options *o)
{
	const struct bundle *b = &s->bundle;
	char state[2 * WHEN_SPAN_LEN];
	const char *word = window_state(b, state);
	uint8_t online_public[CERT_PUBLIC_LEN];
	struct delegation d;
	enum delegation_fault fault = delegation_from_bundle(&d, b);
	const char *verdict = delegation_fault_str(fault);

	crypto_sign_seed_keypair(
	    online_public, s->online_secret, b->online_seed);
	if (o->json) {
		json_t *object = json_bundle(o->file, b);

		json_object_set_new(
		    object, "online_public_key", json_base64(online_public));
		json_object_set_new(object, "state", json_string(word));
		json_object_set_new(
		    object, "verifies", json_boolean(fault == DELEGATION_OK));
		json_object_set_new(object, "verdict", json_string(verdict));
		print_json(object);
	} else {
		print_bundle(o->file, b, online_public, state);
		printf("signatures     %s\n",
		    fault == DELEGATION_OK ? "verify" : verdict);
	}
	if (fault != DELEGATION_OK)
		log_error("%s: does not verify: %s", o->file, verdict);
	return fault == DELEGATION_OK ? 0 : -1;
}

static int
show(struct secrets *s, const struct options *o)
{
	switch (load_any(s, o->file)) {
	case HELD_KEY:
		return show_key(&s->key, o);
	case HELD_BUNDLE:
		return show_bundle(s, o);
	default:
		return -1;
	}
}

/* Delegations. */

static int
open_key(struct secrets *s, const struct options *o)
{
	char why[FILE_WHY_LEN];
	enum keyfile_fault fault;
	bool bad, given;

	if (keyfile_load(&s->key, o->key, why, sizeof why) != 0) {
		log_error("%s", why);
		return -1;
	}
	if (s->key.encrypted) {
		given = get_passphrase(s, o, false, &bad);
		if (bad)
			return -1;
		fault = keyfile_unlock(
		    &s->key, given ? s->passphrase : NULL, s->passphrase_len);
		if (fault != KEYFILE_OK) {
			log_error("%s: %s%s", o->key, keyfile_fault_str(fault),
			    given ? ""
				  : "; give --passphrase-file FILE or "
				    "--passphrase");
			return -1;
		}
	}
	crypto_sign_seed_keypair(
	    s->key.public_key, s->long_term_secret, s->key.seed);
	return 0;
}

/* A fresh online key, signed; what is in s->text verifies. 0: it does not. */
static size_t
make_bundle(struct secrets *s, uint64_t not_before_s, uint64_t not_after_s)
{
	uint8_t online_public[CERT_PUBLIC_LEN];
	struct delegation d, back;
	struct view text = { (const uint8_t *)s->text, 0 };

	randombytes_buf(s->online_seed, sizeof s->online_seed);
	crypto_sign_seed_keypair(
	    online_public, s->online_secret, s->online_seed);
	delegation_make(
	    &d, s->long_term_secret, online_public, not_before_s, not_after_s);
	delegation_to_bundle(&s->bundle, &d, s->key.public_key, s->online_seed);
	text.len = bundle_format(s->text, sizeof s->text, &s->bundle);
	if (bundle_parse(&s->reread, text) != BUNDLE_OK ||
	    delegation_from_bundle(&back, &s->reread) != DELEGATION_OK)
		return 0;
	return text.len;
}

/* Makes and writes the n-th bundle and adds it to what is told. */
static int
write_bundle(struct secrets *s, const struct queue *q, uint64_t n, json_t *told)
{
	char path[PATH_MAX], why[FILE_WHY_LEN];
	size_t len;

	if (!queue_path(q, n, path))
		return -1;
	len = make_bundle(s, queue_not_before(q, n), queue_not_after(q, n));
	if (len == 0) {
		log_error("%s: the bundle that was made does not verify", path);
		return -1;
	}
	if (file_create_secret(path, s->text, len, why) != 0) {
		log_error("%s", why);
		return -1;
	}
	json_array_append_new(told, json_bundle(path, &s->bundle));
	return 0;
}

/* Once all are written: `FILE: 2026-… to 2026-…`. */
static void
tell_bundles(const struct queue *q, json_t *told)
{
	char path[PATH_MAX], from[CLOCK_RFC3339_LEN], to[CLOCK_RFC3339_LEN];

	if (q->o->json) {
		print_json(json_pack("{s:O}", "bundles", told));
		return;
	}
	for (uint64_t n = 0; n < q->o->count; n++) {
		if (queue_path(q, n, path))
			printf("%s: %s to %s\n", path,
			    clock_rfc3339(from, queue_not_before(q, n)),
			    clock_rfc3339(to, queue_not_after(q, n)));
	}
}

static int
delegate(struct secrets *s, const struct options *o)
{
	json_t *told = json_array();
	struct queue q;
	uint64_t n = 0;

	if (open_key(s, o) != 0 || !queue_prepare(&q, o)) {
		json_decref(told);
		return -1;
	}
	while (n < o->count && write_bundle(s, &q, n, told) == 0)
		n++;
	if (n == o->count)
		tell_bundles(&q, told);
	else
		queue_take_back(&q, n);
	json_decref(told);
	if (n == o->count && queue_not_after(&q, n - 1) < clock_unix_s())
		log_warning("this delegation has ended already");
	return n == o->count ? 0 : -1;
}

static int
run(struct secrets *s, const struct options *o)
{
	switch (o->command) {
	case OPTIONS_GENERATE:
		return generate(s, o);
	case OPTIONS_IMPORT:
		return import(s, o);
	case OPTIONS_PUBLIC:
		return public(s, o);
	case OPTIONS_DELEGATE:
		return delegate(s, o);
	default:
		return show(s, o);
	}
}

/* No core dump and no debugger gets at the secrets. */
static void
hide_memory(void)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* What was printed is part of the result. */
static int
finish(int rc)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		log_error("standard output: %s", strerror(errno));
		rc = -1;
	}
	return rc == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
	struct options o;
	struct secrets *s;
	int rc;

	if (file_hold_standard() != 0)
		return 1; /* nowhere to say why */
	log_init("roughtime-keys", LOG_LEVEL_INFO);
	switch (options_parse(&o, argc, argv, clock_unix_s())) {
	case OPTIONS_ANSWERED:
		return finish(0);
	case OPTIONS_BAD:
		return 1;
	default:
		break;
	}
	hide_memory();
	if (secret_init() != 0 || (s = secret_alloc(sizeof *s)) == NULL) {
		log_error("no locked memory for keys: %s", strerror(errno));
		return 1;
	}
	rc = run(s, &o);
	secret_free(s);
	return finish(rc);
}
