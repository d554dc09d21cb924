/* config/yaml.h: trees with places, and what is refused by name. */
#include "config/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support.h"

/* Parses from memory that ends at a guard page. */
static struct yaml_node *
parse(struct yaml_errors *e, const char *text, size_t len)
{
	struct view v = guard_copy(text, len);
	struct yaml_node *root;

	*e = (struct yaml_errors){ .file = "f" };
	root = yaml_parse(v.data, v.len, e);
	guard_drop(v);
	return root;
}

/* A tree as text: k=mapping of place, so that a test can compare it whole. */
static void
print(FILE *f, const struct yaml_node *n)
{
	if (n->kind == YAML_SCALAR) {
		fprintf(f, n->quoted ? "'%s'" : "%s", n->text);
	} else {
		fputc(n->kind == YAML_SEQUENCE ? '[' : '{', f);
		for (const struct yaml_node *c = n->child; c != NULL;
		     c = c->next) {
			print(f, c);
			if (n->kind == YAML_MAPPING) {
				fputc(':', f);
				print(f, c->value);
			}
			if (c->next != NULL)
				fputc(' ', f);
		}
		fputc(n->kind == YAML_SEQUENCE ? ']' : '}', f);
	}
	fprintf(f, "@%u:%u", n->line, n->column);
}

static void
good_files(void **state)
{
	static const struct {
		const char *text, *tree;
	} good[] = {
		{ "", "{}@1:1" }, { "# nothing\n", "{}@2:1" },
		{ "---\n", "@2:1" }, { "a", "a@1:1" },
		{ "a: 1\n", "{a@1:1:1@1:4}@1:1" },
		{ "%YAML 1.1\n---\na: 1\n", "{a@3:1:1@3:4}@3:1" },
		{ "\xef\xbb\xbf"
		  "a: 1\n",
		    "{a@1:2:1@1:5}@1:2" },
		{ "a: 1\r\nb: 2\r\n", "{a@1:1:1@1:4 b@2:1:2@2:4}@1:1" },
		{ "a:\nb: ~\n", "{a@1:1:@1:3 b@2:1:~@2:4}@1:1" },
		{ "k: [x, \"y\", 'z']\n",
		    "{k@1:1:[x@1:5 'y'@1:8 'z'@1:13]@1:4}@1:1" },
		{ "- {p: 1}\n- q\n", "[{p@1:4:1@1:7}@1:3 q@2:3]@1:1" },
		{ "t: |\n  two\n  lines\n", "{t@1:1:'two\nlines\n'@1:4}@1:1" },
		{ "\xc3\xa9: \xf0\x9f\x95\x90 x\n",
		    "{\xc3\xa9@1:1:\xf0\x9f\x95\x90 x@1:4}@1:1" },
		{ "p: off\nq: no\n", "{p@1:1:off@1:4 q@2:1:no@2:4}@1:1" },
		{ "a: 1\na: 2\n", "{a@1:1:1@1:4 a@2:1:2@2:4}@1:1" },
		{ "a: 1\n...\n", "{a@1:1:1@1:4}@1:1" },
		{ "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", NULL }, /* 16 levels */
	};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct yaml_errors e;
		struct yaml_node *root =
		    parse(&e, good[i].text, strlen(good[i].text));
		char *tree = NULL;
		size_t len;
		FILE *f = open_memstream(&tree, &len);

		if (root == NULL)
			fail_msg("good[%zu]: %s", i, e.lines[0]);
		assert_int_equal(e.count, 0);
		print(f, root);
		fclose(f);
		if (good[i].tree != NULL)
			assert_string_equal(tree, good[i].tree);
		free(tree);
		yaml_tree_free(root);
	}
}

#define BAD(text, line)                     \
	{                                   \
		text, sizeof text - 1, line \
	}

static void
bad_files(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *line; /* the first error */
	} bad[] = {
		BAD("a: &x 1\n", "f:1:4: an anchor (&name): not supported"),
		BAD("a: &x [1]\n", "f:1:4: an anchor (&name): not supported"),
		BAD("a: &x\n  b: 1\n",
		    "f:1:4: an anchor (&name): not supported"),
		BAD("a: *x\n", "f:1:4: an alias (*name): not supported"),
		BAD("a: [::1]\n",
		    "f:1:5: did not find expected node content (while "
		    "parsing a flow node that starts at line 1); text with "
		    "such a character wants quotes, as \"::1\" and \"*\""),
		BAD("a: [tcp://[::1]:22]\n",
		    "f:1:11: did not find expected ',' or ']' (while parsing "
		    "a flow sequence that starts at line 1); text with such a "
		    "character wants quotes, as \"::1\" and \"*\""),
		BAD("a: *\n",
		    "f:1:5: did not find expected alphabetic or numeric "
		    "character (while scanning an alias that starts at line "
		    "1); text with such a character wants quotes, as \"::1\" "
		    "and \"*\""),
		BAD("a: !x 1\n", "f:1:4: a tag (!name): not supported"),
		BAD("a: !!str 1\n", "f:1:4: a tag (!name): not supported"),
		BAD("a: !x [1]\n", "f:1:4: a tag (!name): not supported"),
		BAD("a: !x {b: 1}\n", "f:1:4: a tag (!name): not supported"),
		BAD("%TAG ! tag:x,2000:\n---\na: 1\n",
		    "f:1:1: a tag directive (%TAG): not supported"),
		BAD("a: 1\n---\nb: 1\n",
		    "f:2:1: a second document (---): not supported"),
		BAD("[a]: 1\n",
		    "f:1:1: a list or mapping as a key: not supported"),
		BAD("? {a: b}\n: 1\n",
		    "f:1:3: a list or mapping as a key: not supported"),
		BAD("a:\n\t- b\n",
		    "f:2:1: a tab; YAML is indented with spaces"),
		BAD("\xc3\xa9: 1\n\tb: 1\n",
		    "f:2:1: a tab; YAML is indented with spaces"),
		BAD("[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]",
		    "f:1:17: nested deeper than 16 levels"),
		BAD("a: \"x\\0y\"\n", "f:1:4: a NUL (\\0) inside text"),
		BAD("\"\\0\": y\n", "f:1:1: a NUL (\\0) inside text"),
		BAD("a: \0\n", "f:1:4: a NUL byte"),
		BAD("a: 1\n b\x01\n", "f:2:3: control character 0x01"),
		BAD("a: \x7f\n", "f:1:4: control character 0x7f"),
		BAD("a: \xc2\x80\n", "f:1:4: control character 0x80"),
		BAD("a: \xff\n", "f:1:4: byte 0xff is not UTF-8"),
		BAD("\xc3\xa9: \xc3(\n", "f:1:4: byte 0xc3 is not UTF-8"),
		BAD("\xc3", "f:1:1: byte 0xc3 is not UTF-8"),
		BAD("\xe2\x82", "f:1:1: byte 0xe2 is not UTF-8"),
		BAD("\xf0\x9f\x95", "f:1:1: byte 0xf0 is not UTF-8"),
		BAD("\x80", "f:1:1: byte 0x80 is not UTF-8"),
		BAD("\xc0\x80", "f:1:1: byte 0xc0 is not UTF-8"),
		BAD("\xe0\x80\x80", "f:1:1: byte 0xe0 is not UTF-8"),
		BAD("\xf0\x80\x80\x80", "f:1:1: byte 0xf0 is not UTF-8"),
		BAD("\xf4\x90\x80\x80", "f:1:1: byte 0xf4 is not UTF-8"),
		BAD("\xed\xa0\x80", "f:1:1: byte 0xed is not UTF-8"),
		BAD("\xff\xfe"
		    "a\0",
		    "f:1:1: byte 0xff is not UTF-8"),
		BAD("a: [1\n", NULL),
		BAD("a: 'x\n", NULL),
		BAD("a: b: c\n", NULL),
		BAD("a: 1\n b: 2\n", NULL),
		BAD("@a\n", NULL),
		BAD("a: \xef\xbf\xbe\n", NULL), /* U+FFFE */
		BAD("}", NULL),
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct yaml_errors e;

		if (parse(&e, bad[i].text, bad[i].len) != NULL)
			fail_msg("bad[%zu] is taken", i);
		assert_true(e.count > 0);
		assert_memory_equal(e.lines[0], "f:", 2);
		if (bad[i].line != NULL)
			assert_string_equal(e.lines[0], bad[i].line);
		yaml_errors_free(&e);
		assert_int_equal(e.count, 0);
	}
}

/* What libyaml says is told with a place and where the thing began. */
static void
syntax_errors_have_places(void **state)
{
	static const char text[] = "x: 1\na: [1,\n  2\nb: 3\n";
	struct yaml_errors e;

	(void)state;
	assert_null(parse(&e, text, sizeof text - 1));
	assert_int_equal(e.count, 1);
	assert_memory_equal(e.lines[0], "f:4:2: ", 7);
	assert_non_null(strstr(e.lines[0], "that starts at line 2)"));
	yaml_errors_free(&e);
}

static void
refusals_are_gathered(void **state)
{
	static const char text[] = "a: &x 1\nb: *x\nc: !y z\nd: [*p, *q]\n";
	struct yaml_errors e;

	(void)state;
	assert_null(parse(&e, text, sizeof text - 1));
	assert_int_equal(e.count, 5);
	assert_string_equal(
	    e.lines[4], "f:4:9: an alias (*name): not supported");
	yaml_errors_free(&e);
}

/* `n` times `unit` after `head`. */
static char *
repeat(const char *head, const char *unit, size_t n, size_t *len)
{
	size_t each = strlen(unit);
	char *text = malloc(strlen(head) + n * each + 1), *at;

	assert_non_null(text);
	at = stpcpy(text, head);
	while (n-- > 0)
		at = stpcpy(at, unit);
	*len = (size_t)(at - text);
	return text;
}

static void
sizes_are_bounded(void **state)
{
	static const struct {
		const char *head, *unit;
		size_t n;
		size_t errors;
		const char *line; /* NULL: good */
	} table[] = {
		{ "", "- x\n", 99999, 0, NULL },
		{ "", "- x\n", 100000, 1,
		    "f:100000:3: more than 100000 values in one file" },
		{ "#", "x", 1048575, 0, NULL },
		{ "#", "x", 1048576, 1, "f: longer than 1048576 bytes" },
		{ "", "- *x\n", 2000, 2000,
		    "f:1:3: an alias (*name): not supported" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct yaml_errors e;
		size_t len;
		char *text =
		    repeat(table[i].head, table[i].unit, table[i].n, &len);
		struct yaml_node *root = parse(&e, text, len);

		if (table[i].line == NULL) {
			assert_non_null(root);
			assert_int_equal(e.count, 0);
		} else {
			assert_null(root);
			assert_string_equal(e.lines[0], table[i].line);
			assert_int_equal(e.count + e.more, table[i].errors);
			assert_int_equal(
			    e.count, table[i].errors < 50 ? 1 : 50);
		}
		yaml_tree_free(root);
		yaml_errors_free(&e);
		free(text);
	}
}

static void
truncated_at_each_length(void **state)
{
	static const char text[] =
	    "# \xc3\xa9\n%YAML 1.1\n--- # x\na: [1, {b: \"\\u20ac\"}]\n"
	    "c: |\n  text\nd: >-\n  more\n'e': &f !g *h\n? [k]\n: v\n";

	(void)state;
	for (size_t len = 0; len < sizeof text; len++) {
		struct yaml_errors e;
		struct yaml_node *root = parse(&e, text, len);

		assert_int_equal(root == NULL, e.count > 0);
		yaml_tree_free(root);
		yaml_errors_free(&e);
	}
}

static void
errors_without_place_or_name(void **state)
{
	struct yaml_errors e = { 0 };

	(void)state;
	yaml_error(&e, NULL, "%s", "why");
	assert_string_equal(e.lines[0], "-: why");
	yaml_errors_free(&e);
	yaml_errors_free(&e); /* twice is harmless */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_files),
		cmocka_unit_test(bad_files),
		cmocka_unit_test(syntax_errors_have_places),
		cmocka_unit_test(refusals_are_gathered),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(truncated_at_each_length),
		cmocka_unit_test(errors_without_place_or_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
