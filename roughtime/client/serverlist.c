#include "roughtime/client/serverlist.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "roughtime/client/command.h"
#include "roughtime/client/show.h"

#define GOOGLE_VERSION 3000600613

const char *
serverlist_fault_str(enum serverlist_fault fault)
{
	static const char *const words[SERVERLIST_FAULTS] = {
		[SERVERLIST_OK] = "ok",
		[SERVERLIST_NOT_OBJECT] = "not a JSON object",
		[SERVERLIST_KEY_TYPE] = "publicKeyType is not ed25519",
		[SERVERLIST_KEY] = "publicKey is not 32 bytes of base64",
		[SERVERLIST_KEY_REPEATED] = "the same publicKey as another "
					    "server",
		[SERVERLIST_NO_ADDRESS] = "no address that can be used",
	};

	return (unsigned int)fault < SERVERLIST_FAULTS ? words[fault] : "?";
}

static bool
says_google(const json_t *version)
{
	const char *text = json_string_value(version);

	if (json_is_integer(version))
		return json_integer_value(version) == GOOGLE_VERSION;
	return text != NULL && strncasecmp(text, "google", 6) == 0;
}

static bool
read_address(struct serverlist_address *a, const json_t *object)
{
	const char *proto =
	    json_string_value(json_object_get(object, "protocol"));
	const char *text =
	    json_string_value(json_object_get(object, "address"));
	const char *why;

	if (proto == NULL || text == NULL)
		return false;
	if (strcasecmp(proto, "udp") == 0)
		a->proto = SOCK_UDP;
	else if (strcasecmp(proto, "tcp") == 0)
		a->proto = SOCK_TCP;
	else
		return false;
	return target_parse(&a->target, text, &why);
}

static enum serverlist_fault
read_key(uint8_t key[static CERT_PUBLIC_LEN], const json_t *object)
{
	const char *type =
	    json_string_value(json_object_get(object, "publicKeyType"));
	const char *text =
	    json_string_value(json_object_get(object, "publicKey"));

	/* lists older than other schemes leave the type out */
	if (type != NULL && strcasecmp(type, "ed25519") != 0)
		return SERVERLIST_KEY_TYPE;
	if (text == NULL || !target_key(key, text))
		return SERVERLIST_KEY;
	return SERVERLIST_OK;
}

static void
read_name(char name[static SERVERLIST_NAME_LEN], const json_t *object)
{
	const char *text = json_string_value(json_object_get(object, "name"));

	show_clean(name, text != NULL ? text : "(no name)");
}

static bool
is_known(const struct serverlist *l, const uint8_t *key)
{
	for (size_t i = 0; i < l->count; i++) {
		if (memcmp(l->entries[i].public_key, key, CERT_PUBLIC_LEN) == 0)
			return true;
	}
	return false;
}

static enum serverlist_fault
read_entry(struct serverlist *l, struct serverlist_entry *e, const json_t *o)
{
	enum serverlist_fault fault;
	const json_t *address;
	size_t i;

	if (!json_is_object(o))
		return SERVERLIST_NOT_OBJECT;
	fault = read_key(e->public_key, o);
	if (fault != SERVERLIST_OK)
		return fault;
	if (is_known(l, e->public_key))
		return SERVERLIST_KEY_REPEATED;
	e->google = says_google(json_object_get(o, "version"));
	json_array_foreach(json_object_get(o, "addresses"), i, address)
	{
		if (e->n_addrs < SERVERLIST_ADDRS_MAX &&
		    read_address(&e->addrs[e->n_addrs], address))
			e->n_addrs++;
	}
	return e->n_addrs > 0 ? SERVERLIST_OK : SERVERLIST_NO_ADDRESS;
}

static void
read_servers(struct serverlist *l, const json_t *servers)
{
	size_t n = json_array_size(servers);

	if (n > SERVERLIST_MAX)
		n = SERVERLIST_MAX;
	l->entries = command_alloc(n, sizeof *l->entries);
	l->skips = command_alloc(n, sizeof *l->skips);
	for (size_t i = 0; i < n; i++) {
		const json_t *o = json_array_get(servers, i);
		struct serverlist_entry *e = &l->entries[l->count];
		struct serverlist_skip *skip = &l->skips[l->skipped];

		memset(e, 0, sizeof *e);
		read_name(e->name, o);
		skip->fault = read_entry(l, e, o);
		if (skip->fault == SERVERLIST_OK) {
			l->count++;
			continue;
		}
		memcpy(skip->name, e->name, sizeof skip->name);
		l->skipped++;
	}
}

bool
serverlist_parse(struct serverlist *l, const char *text, size_t len,
    char why[static SERVERLIST_WHY_LEN])
{
	json_error_t error;
	json_t *root = NULL, *servers;
	const char *reports;

	memset(l, 0, sizeof *l);
	if (len > SERVERLIST_BYTES_MAX) {
		snprintf(why, SERVERLIST_WHY_LEN, "longer than %u bytes",
		    SERVERLIST_BYTES_MAX);
		return false;
	}
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (root == NULL) {
		snprintf(why, SERVERLIST_WHY_LEN, "%d:%d: %s", error.line,
		    error.column, error.text);
		return false;
	}
	servers = json_object_get(root, "servers");
	if (json_is_array(servers))
		read_servers(l, servers);
	reports = json_string_value(json_object_get(root, "reports"));
	/* RFC 10049 section 8.3: the scheme must be https */
	if (reports != NULL && strncmp(reports, "https://", 8) == 0 &&
	    strlen(reports) < sizeof l->reports &&
	    strpbrk(reports, " \t\r\n\033\"") == NULL)
		memcpy(l->reports, reports, strlen(reports) + 1);
	if (!json_is_array(servers))
		snprintf(why, SERVERLIST_WHY_LEN, "has no list \"servers\"");
	json_decref(root);
	return l->entries != NULL;
}

void
serverlist_free(struct serverlist *l)
{
	free(l->entries);
	free(l->skips);
	memset(l, 0, sizeof *l);
}
