#include "proxy/control_request.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* What a command takes besides its name. */
#define TAKES_APPLICATION 1u
#define NEEDS_APPLICATION 2u
#define TAKES_LIMIT 4u
#define TAKES_FOR 8u

static const struct {
	const char *word;
	unsigned int takes;
	bool changes;
} commands[CONTROL_COMMANDS] = {
	[CONTROL_PING] = { "ping", 0, false },
	[CONTROL_VERSION] = { "version", 0, false },
	[CONTROL_APPLICATIONS] = { "applications", TAKES_APPLICATION, false },
	[CONTROL_ORIGINS] = { "origins", TAKES_APPLICATION, false },
	[CONTROL_SESSIONS] = { "sessions", TAKES_APPLICATION | TAKES_LIMIT,
	    false },
	[CONTROL_COUNTERS] = { "counters", TAKES_APPLICATION, false },
	[CONTROL_DRAIN] = { "drain",
	    TAKES_APPLICATION | NEEDS_APPLICATION | TAKES_FOR, true },
	[CONTROL_UNDRAIN] = { "undrain", TAKES_APPLICATION | NEEDS_APPLICATION,
	    true },
	[CONTROL_RELOAD] = { "reload", 0, true },
};

const char *
control_command_str(enum control_command command)
{
	return command < CONTROL_COMMANDS ? commands[command].word : NULL;
}

bool
control_command_changes(enum control_command command)
{
	return command < CONTROL_COMMANDS && commands[command].changes;
}

/* For a message: what a stranger wrote is not echoed to a terminal. */
static const char *
printable(const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return "(not printable)";
	return text;
}

static bool
take_command(struct control_request *r, const json_t *value, char *why)
{
	const char *word = json_string_value(value);

	for (int i = CONTROL_NONE + 1; i < CONTROL_COMMANDS; i++) {
		if (word != NULL && strcmp(word, commands[i].word) == 0) {
			r->command = (enum control_command)i;
			return true;
		}
	}
	snprintf(why, CONTROL_WHY_LEN, "command: there is no %.40s",
	    word != NULL ? printable(word) : "such thing");
	return false;
}

static bool
take_application(struct control_request *r, const json_t *value, char *why)
{
	const char *name = json_string_value(value);
	size_t len = name != NULL ? json_string_length(value) : 0;

	if (len > 0 && len < sizeof r->application && strlen(name) == len) {
		memcpy(r->application, name, len + 1);
		return true;
	}
	snprintf(why, CONTROL_WHY_LEN,
	    "application: expected a name of 1 to %zu bytes",
	    sizeof r->application - 1);
	return false;
}

static bool
take_number(int64_t *out, const char *key, const json_t *value, int64_t min,
    int64_t max, char *why)
{
	json_int_t n = json_integer_value(value);

	if (json_is_integer(value) && n >= min && n <= max) {
		*out = n;
		return true;
	}
	snprintf(why, CONTROL_WHY_LEN,
	    "%s: expected a number from %lld to %lld", key, (long long)min,
	    (long long)max);
	return false;
}

static bool
take_member(
    struct control_request *r, const char *key, const json_t *value, char *why)
{
	int64_t n = 0;
	bool good;

	if (strcmp(key, "command") == 0)
		return take_command(r, value, why);
	if (strcmp(key, "application") == 0)
		return take_application(r, value, why);
	if (strcmp(key, "for_ms") == 0)
		return take_number(
		    &r->for_ms, key, value, 0, CONTROL_FOR_MAX_MS, why);
	if (strcmp(key, "limit") == 0) {
		good = take_number(&n, key, value, 1, INT64_MAX, why);
		r->limit = (uint64_t)n;
		return good;
	}
	snprintf(why, CONTROL_WHY_LEN, "%.40s: there is no such key",
	    printable(key));
	return false;
}

/* Whether the command and what came with it go together. */
static bool
check(const struct control_request *r, char *why)
{
	unsigned int takes = commands[r->command].takes;
	const char *word = commands[r->command].word, *extra = NULL;

	if (word == NULL) {
		snprintf(why, CONTROL_WHY_LEN, "command: it is missing");
		return false;
	}
	if (r->application[0] != '\0' && !(takes & TAKES_APPLICATION))
		extra = "application";
	if (r->limit > 0 && !(takes & TAKES_LIMIT))
		extra = "limit";
	if (r->for_ms >= 0 && !(takes & TAKES_FOR))
		extra = "for_ms";
	if (extra != NULL)
		snprintf(why, CONTROL_WHY_LEN, "%s: %s does not take it", extra,
		    word);
	else if (r->application[0] == '\0' && (takes & NEEDS_APPLICATION))
		snprintf(
		    why, CONTROL_WHY_LEN, "application: %s needs one", word);
	else
		return true;
	return false;
}

static bool
take_object(struct control_request *r, json_t *root, char *why)
{
	const char *key;
	json_t *value;

	if (!json_is_object(root)) {
		snprintf(why, CONTROL_WHY_LEN,
		    "expected an object, such as {\"command\": \"ping\"}");
		return false;
	}
	json_object_foreach(root, key, value)
	{
		if (!take_member(r, key, value, why))
			return false;
	}
	return check(r, why);
}

int
control_request_parse(struct control_request *r, struct view line,
    char why[static CONTROL_WHY_LEN])
{
	json_error_t error;
	json_t *root;
	bool good;

	*r = (struct control_request){ .for_ms = -1 };
	if (line.len > CONTROL_LINE_MAX) {
		snprintf(why, CONTROL_WHY_LEN, "a line of more than %d bytes",
		    CONTROL_LINE_MAX);
		return -1;
	}
	root = json_loadb(
	    (const char *)line.data, line.len, JSON_REJECT_DUPLICATES, &error);
	if (root == NULL) {
		/* its text may quote what came */
		snprintf(why, CONTROL_WHY_LEN, "no JSON: %.100s",
		    printable(error.text));
		return -1;
	}
	good = take_object(r, root, why);
	json_decref(root);
	return good ? 0 : -1;
}

size_t
control_request_format(
    char out[static CONTROL_TEXT_MAX], const struct control_request *r)
{
	json_t *root = json_object();
	int failed = json_object_set_new(
	    root, "command", json_string(commands[r->command].word));
	size_t len = 0;

	if (r->application[0] != '\0')
		failed |= json_object_set_new(
		    root, "application", json_string(r->application));
	if (r->limit > 0)
		failed |= json_object_set_new(
		    root, "limit", json_integer((json_int_t)r->limit));
	if (r->for_ms >= 0)
		failed |= json_object_set_new(
		    root, "for_ms", json_integer(r->for_ms));
	if (failed == 0)
		len = json_dumpb(root, out, CONTROL_LINE_MAX,
		    JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(root);
	if (len == 0 || len > CONTROL_LINE_MAX)
		return 0;
	memcpy(out + len, "\n", 2);
	return len + 1;
}
