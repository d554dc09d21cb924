/*
 * What a schema takes, what the manual says and what the shipped file shows:
 * the three tell of the same keys with the same defaults.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/settings_rows.h"
#include "roughtime/settings.h"
#include "tests/support.h"

#define PATH_LEN 160

static const struct documented {
	const struct schema_row *rows;
	const char *shipped, *manual;
} files[] = {
	{ settings_rows, "config/roughtimed.yaml", "config/roughtimed.yaml.5" },
	{ proxy_settings_rows, "config/l4proxyd.yaml",
	    "config/l4proxyd.yaml.5" },
};

#define FILES (sizeof files / sizeof *files)

/* A text file as a string; free() it. */
static char *
read_text(const char *path)
{
	struct view v = support_file(path);
	char *text = (char *)(uintptr_t)v.data;

	text[v.len] = '\0';
	return text;
}

/* "# key: value" and "# - item" are settings, other comments are prose. */
static bool
is_setting(const char *line)
{
	const char *at = line + 1 + strspn(line + 1, " ");
	size_t word = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_");

	if (line[0] != '#' || at == line + 1)
		return false;
	return strncmp(at, "- ", 2) == 0 ||
	    (word > 0 && at[word] == ':' &&
		(at[word + 1] == ' ' || at[word + 1] == '\n'));
}

static int
depth_of(const char *line, int depth)
{
	for (; *line != '\n'; line++)
		depth += (*line == '[' || *line == '{') -
		    (*line == ']' || *line == '}');
	return depth;
}

/* The file as it is when every setting's "# " is taken away. */
static char *
uncomment(const char *text)
{
	char *out = malloc(strlen(text) + 1), *to = out;
	int depth = 0; /* of brackets: a list goes on in the next line */

	assert_non_null(out);
	while (*text != '\0') {
		size_t len = strcspn(text, "\n") + 1;
		bool setting = depth > 0 || is_setting(text);

		if (setting)
			depth = depth_of(text, depth);
		if (setting && strncmp(text, "# ", 2) == 0) {
			text += 2;
			len -= 2;
		}
		memcpy(to, text, len);
		to += len;
		text += len;
	}
	*to = '\0';
	return out;
}

static struct yaml_node *
parse(const struct documented *f, const char *text)
{
	struct yaml_errors e = { .file = f->shipped };
	struct yaml_node *root =
	    yaml_parse((const uint8_t *)text, strlen(text), &e);

	for (size_t i = 0; i < e.count; i++)
		print_message("%s\n", e.lines[i]);
	assert_non_null(root);
	yaml_errors_free(&e);
	return root;
}

/* A value as one line: "[a, b]" for a list. */
static void
write_value(char out[static PATH_LEN], const struct yaml_node *node)
{
	size_t len = 1;

	if (node->kind == YAML_SCALAR) {
		snprintf(out, PATH_LEN, "%s", node->text);
		return;
	}
	strcpy(out, "[");
	for (const struct yaml_node *n = node->child; n != NULL; n = n->next)
		len += (size_t)snprintf(out + len, PATH_LEN - len, "%s%s",
		    n == node->child ? "" : ", ", n->text);
	snprintf(out + len, PATH_LEN - len, "]");
}

static void
check_shipped(const struct schema_row *rows, const struct yaml_node *root,
    const char *prefix)
{
	for (; rows->type != SCHEMA_END; rows++) {
		char path[PATH_LEN], value[PATH_LEN];
		const struct yaml_node *node = NULL;

		/* what would be refused is not shown as something to take */
		if (rows->help != NULL &&
		    strcmp(rows->help, "not built yet") == 0)
			continue;
		snprintf(path, sizeof path, "%s%s", prefix, rows->key);
		node = schema_find(root, path);
		/* in a list: at one of its items, at least */
		for (char *digit = strchr(path, '[');
		     digit != NULL && node == NULL && digit[1] < '9';) {
			digit[1]++;
			node = schema_find(root, path);
		}
		if (node == NULL)
			fail_msg("%s is not in the shipped file", path);
		if (rows->fallback != NULL) {
			write_value(value, node);
			if (strcmp(value, rows->fallback) != 0)
				fail_msg("%s: shipped %s, default %s", path,
				    value, rows->fallback);
		}
		snprintf(value, sizeof value, "%.100s%s", path,
		    rows->type == SCHEMA_LIST ? "[0]." : ".");
		if (rows->rows != NULL)
			check_shipped(rows->rows, root, value);
	}
}

static void
shipped_files_show_every_default(void **state)
{
	(void)state;
	for (size_t i = 0; i < FILES; i++) {
		char *text = read_text(files[i].shipped);
		char *all = uncomment(text);
		struct yaml_node *root = parse(&files[i], all);

		check_shipped(files[i].rows, root, "");
		yaml_tree_free(root);
		free(all);
		free(text);
	}
}

/* With all of it uncommented the file still loads, to the defaults. */
static void
uncommented_file_loads(void **state)
{
	char *text = read_text("config/roughtimed.yaml");
	char *all = uncomment(text);
	const char *const each[] = { text, all };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct yaml_errors e = { .file = "roughtimed.yaml" };
		struct settings s;

		settings_parse(
		    &s, (const uint8_t *)each[i], strlen(each[i]), &e);
		for (size_t k = 0; k < e.count; k++)
			print_message("%s\n", e.lines[k]);
		assert_int_equal(e.count, 0);
		assert_int_equal(s.version_rows, VERSION_ALL);
		settings_free(&s);
		yaml_errors_free(&e);
	}
	free(all);
	free(text);
}

/* The proxy's, too, and the comments of its first application. */
static void
uncommented_proxy_file_loads(void **state)
{
	char *text = read_text("config/l4proxyd.yaml");
	char *all = uncomment(text);
	struct proxy_settings shown, plain;
	struct yaml_errors e = { .file = "l4proxyd.yaml" };

	(void)state;
	proxy_settings_parse(&plain, (const uint8_t *)text, strlen(text), &e);
	proxy_settings_parse(&shown, (const uint8_t *)all, strlen(all), &e);
	for (size_t k = 0; k < e.count; k++)
		print_message("%s\n", e.lines[k]);
	assert_int_equal(e.count, 0);
	assert_int_equal(shown.apps, plain.apps);
	assert_memory_equal(&shown.app[0], &plain.app[0], sizeof plain.app[0]);
	assert_int_equal(shown.udp_flows, plain.udp_flows);
	assert_null(shown.event_log);
	proxy_settings_free(&shown);
	proxy_settings_free(&plain);
	yaml_errors_free(&e);
	free(all);
	free(text);
}

/* Where `.It Ic a , b` names the key; NULL: nowhere. */
static const char *
find_item(const char *manual, const char *key)
{
	size_t len = strlen(key);

	while ((manual = strstr(manual, "\n.It Ic ")) != NULL) {
		const char *at = manual += 8, *end = strchr(at, '\n');

		for (; at < end; at += strcspn(at, " \n") + 1) {
			if (strncmp(at, key, len) == 0 &&
			    (at[len] == ' ' || at[len] == '\n'))
				return manual;
		}
	}
	return NULL;
}

static bool
has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)) != NULL; at++) {
		if ((at == text || !isalnum((unsigned char)at[-1])) &&
		    !isalnum((unsigned char)at[len]))
			return true;
	}
	return false;
}

/* What the manual says for a default. */
static const char *
spoken(const struct schema_row *row)
{
	return row->type == SCHEMA_FLAGS ? "both" : row->fallback;
}

static void
check_manual(const struct schema_row *rows, const char *manual)
{
	for (; rows->type != SCHEMA_END; rows++) {
		const char *item = find_item(manual, rows->key);
		const char *end;
		char body[2048];

		if (item == NULL)
			fail_msg("%s is not in the manual", rows->key);
		end = strstr(item, "\n.It ");
		snprintf(body, sizeof body, "%.*s",
		    end != NULL ? (int)(end - item) : 2000, item);
		if (rows->fallback != NULL && !has_word(body, spoken(rows)))
			fail_msg("%s: the manual does not say that %s is the "
				 "default:\n%s",
			    rows->key, spoken(rows), body);
		if (rows->rows != NULL)
			check_manual(rows->rows, item);
	}
}

static void
manuals_tell_every_key_and_default(void **state)
{
	(void)state;
	for (size_t i = 0; i < FILES; i++) {
		char *manual = read_text(files[i].manual);

		check_manual(files[i].rows, manual);
		free(manual);
	}
}

static bool
is_key(const struct schema_row *rows, const char *word, size_t len)
{
	for (; rows->type != SCHEMA_END; rows++) {
		if ((strlen(rows->key) == len &&
			strncmp(rows->key, word, len) == 0) ||
		    (rows->rows != NULL && is_key(rows->rows, word, len)))
			return true;
	}
	return false;
}

static void
manuals_tell_of_nothing_else(void **state)
{
	(void)state;
	for (size_t i = 0; i < FILES; i++) {
		char *manual = read_text(files[i].manual);
		const char *at = manual;

		while ((at = strstr(at, "\n.It Ic ")) != NULL) {
			size_t len = strcspn(at += 8, " \n");

			if (!is_key(files[i].rows, at, len))
				fail_msg("%s: no such key: %.*s",
				    files[i].manual, (int)len, at);
		}
		free(manual);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shipped_files_show_every_default),
		cmocka_unit_test(uncommented_file_loads),
		cmocka_unit_test(uncommented_proxy_file_loads),
		cmocka_unit_test(manuals_tell_every_key_and_default),
		cmocka_unit_test(manuals_tell_of_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
