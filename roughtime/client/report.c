#include "roughtime/client/report.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roughtime/client/command.h"

#define PACKET_MAX 65535

__attribute__((format(printf, 2, 3))) static bool
refuse(char why[static REPORT_WHY_LEN], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, REPORT_WHY_LEN, fmt, ap);
	va_end(ap);
	return false;
}

/* Base64 with or without padding; white space is skipped, because lines of
 * examples in print are folded. */
static bool
decode(uint8_t *out, size_t cap, size_t *len, const char *text)
{
	size_t n = strlen(text);

	return sodium_base642bin(out, cap, text, n, " \t\r\n", len, NULL,
		   sodium_base64_VARIANT_ORIGINAL) == 0 ||
	    sodium_base642bin(out, cap, text, n, " \t\r\n", len, NULL,
		sodium_base64_VARIANT_ORIGINAL_NO_PADDING) == 0;
}

static bool
read_fixed(uint8_t out[static 32], const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	size_t len = 0;

	return text != NULL && decode(out, 32, &len, text) && len == 32;
}

static bool
read_packet(struct view *out, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	size_t cap, len = 0;
	uint8_t *data;

	if (text == NULL)
		return false;
	cap = strlen(text) / 4 * 3 + 3;
	if (cap > PACKET_MAX + 3)
		return false;
	data = command_alloc(1, cap);
	if (!decode(data, cap, &len, text) || len > PACKET_MAX) {
		free(data);
		return false;
	}
	*out = (struct view){ data, len };
	return true;
}

static bool
read_link(struct chain_link *l, const json_t *o, size_t i,
    char why[static REPORT_WHY_LEN])
{
	if (!json_is_object(o))
		return refuse(why, "response %zu is not an object", i + 1);
	if (!read_fixed(l->public_key, o, "publicKey"))
		return refuse(
		    why, "response %zu: publicKey is not 32 bytes", i + 1);
	l->has_rand = json_object_get(o, "rand") != NULL;
	if (l->has_rand && !read_fixed(l->rand, o, "rand"))
		return refuse(why, "response %zu: rand is not 32 bytes", i + 1);
	if (!l->has_rand && i > 0)
		return refuse(why, "response %zu has no rand", i + 1);
	if (!read_packet(&l->request, o, "request"))
		return refuse(
		    why, "response %zu: request is not a packet", i + 1);
	if (!read_packet(&l->response, o, "response"))
		return refuse(
		    why, "response %zu: response is not a packet", i + 1);
	return true;
}

static bool
read_links(
    struct report *r, const json_t *list, char why[static REPORT_WHY_LEN])
{
	size_t n = json_array_size(list);

	if (!json_is_array(list))
		return refuse(why, "has no list \"responses\"");
	if (n == 0 || n > CHAIN_MAX)
		return refuse(
		    why, "has %zu responses; 1 to %d are read", n, CHAIN_MAX);
	r->links = command_alloc(n, sizeof *r->links);
	for (size_t i = 0; i < n; i++) {
		r->count++; /* first, so that report_free() sees what it got */
		if (!read_link(&r->links[i], json_array_get(list, i), i, why))
			return false;
	}
	return true;
}

bool
report_parse(struct report *r, const char *text, size_t len,
    char why[static REPORT_WHY_LEN])
{
	json_error_t error;
	json_t *root;
	bool ok;

	memset(r, 0, sizeof *r);
	if (len > REPORT_BYTES_MAX)
		return refuse(why, "longer than %u bytes", REPORT_BYTES_MAX);
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (root == NULL)
		return refuse(
		    why, "%d:%d: %s", error.line, error.column, error.text);
	ok = read_links(r, json_object_get(root, "responses"), why);
	json_decref(root);
	return ok;
}

void
report_free(struct report *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free((void *)(uintptr_t)r->links[i].request.data);
		free((void *)(uintptr_t)r->links[i].response.data);
	}
	free(r->links);
	memset(r, 0, sizeof *r);
}

static json_t *
base64(const uint8_t *data, size_t len)
{
	size_t cap =
	    sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
	char *text = command_alloc(1, cap);
	json_t *string;

	sodium_bin2base64(text, cap, data, len, sodium_base64_VARIANT_ORIGINAL);
	string = json_string(text);
	free(text);
	return string;
}

json_t *
report_make(const struct chain_link *links, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct chain_link *l = &links[i];
		json_t *o = json_object();

		if (l->has_rand)
			json_object_set_new(
			    o, "rand", base64(l->rand, sizeof l->rand));
		json_object_set_new(o, "publicKey",
		    base64(l->public_key, sizeof l->public_key));
		json_object_set_new(
		    o, "request", base64(l->request.data, l->request.len));
		json_object_set_new(
		    o, "response", base64(l->response.data, l->response.len));
		json_array_append_new(list, o);
	}
	return json_pack("{s:o}", "responses", list);
}
