#include "config/schema.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/when.h"
#include "net/addr.h"

#define PATH_LEN 160
#define WORDS_LEN 256
#define LIST_ITEMS_MAX 4096u /* where a row gives no maximum */
#define KEY_COMPARED_MAX 48u

/* One load: where errors go and the key that is being looked at. */
struct load {
	struct yaml_errors *e;
	size_t errors;
	char path[PATH_LEN];
};

/* `file:line:col: path: what was expected` */
__attribute__((format(printf, 3, 4))) static void
tell(struct load *l, const struct yaml_node *at, const char *fmt, ...)
{
	char text[WORDS_LEN + 128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	l->errors++;
	if (l->path[0] != '\0')
		yaml_error(l->e, at, "%s: %s", l->path, text);
	else
		yaml_error(l->e, at, "%s", text);
}

/* Appends to the path; returns the length to cut it back to. */
static size_t
path_key(struct load *l, const char *key)
{
	size_t n = strlen(l->path);

	snprintf(
	    l->path + n, sizeof l->path - n, "%s%.60s", n > 0 ? "." : "", key);
	return n;
}

static size_t
path_index(struct load *l, size_t index)
{
	size_t n = strlen(l->path);

	snprintf(l->path + n, sizeof l->path - n, "[%zu]", index);
	return n;
}

/* `key:` with nothing after it. */
static bool
is_nothing(const struct yaml_node *node)
{
	return node->kind == YAML_SCALAR && !node->quoted &&
	    node->text[0] == '\0';
}

/* Text as it may stand in a message: one line, printable, short. */
static size_t
printable(char buf[static 56], const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++) {
		/* cut before a character, not inside one */
		if (n >= 47 && ((unsigned char)*text & 0xc0) != 0x80)
			return n + (size_t)snprintf(buf + n, 56 - n, "...");
		buf[n++] = (unsigned char)*text < 0x20 ? '?' : *text;
	}
	buf[n] = '\0';
	return n;
}

static const char *
got(const struct yaml_node *node, char buf[static 64])
{
	size_t n;

	if (node->kind == YAML_SEQUENCE)
		return "a list";
	if (node->kind == YAML_MAPPING)
		return "a mapping";
	if (node->kind != YAML_SCALAR || is_nothing(node))
		return "nothing";
	buf[0] = '"';
	n = printable(buf + 1, node->text);
	memcpy(buf + 1 + n, "\"", 2);
	return buf;
}

/* Says `expected WHAT, got VALUE`; always false. */
__attribute__((format(printf, 3, 4))) static bool
expected(struct load *l, const struct yaml_node *node, const char *fmt, ...)
{
	char what[WORDS_LEN], value[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	tell(l, node, "expected %s, got %s", what, got(node, value));
	return false;
}

/* min == max: no bound was given */
static bool
in_range(const struct schema_row *row, double v)
{
	return row->min >= row->max || (v >= row->min && v <= row->max);
}

/* " from 1 to 65535", or nothing without bounds */
static const char *
range(const struct schema_row *row, char buf[static 80])
{
	buf[0] = '\0';
	if (row->min < row->max)
		snprintf(buf, 80, " from %.15g to %.15g%s%s", row->min,
		    row->max, row->unit != NULL ? " " : "",
		    row->unit != NULL ? row->unit : "");
	return buf;
}

/* "refuse or serve", "a, b or c" */
static const char *
words_of(const char *const *words, char buf[static WORDS_LEN])
{
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; words[i] != NULL && n < WORDS_LEN; i++) {
		const char *joint = i == 0 ? ""
		    : words[i + 1] != NULL ? ", "
					   : " or ";

		n += (size_t)snprintf(
		    buf + n, WORDS_LEN - n, "%s%s", joint, words[i]);
	}
	return buf;
}

static int
word_index(const char *const *words, const char *text)
{
	for (int i = 0; words[i] != NULL; i++) {
		if (strcmp(words[i], text) == 0)
			return i;
	}
	return -1;
}

static bool
load_bool(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	static const char *const words[] = { "false", "true", "no", "yes",
		"off", "on" };

	(void)row;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strcasecmp(node->text, words[i]) == 0) {
			*(bool *)out = i % 2 == 1;
			return true;
		}
	}
	return expected(l, node, "true or false");
}

/* Decimal digits, at most one sign, no leading zero: 010 means 8 to some. */
static bool
parse_int(const char *text, int64_t *v)
{
	const char *digits = text[0] == '-' ? text + 1 : text;
	char *end;

	if (digits[0] < '0' || digits[0] > '9' ||
	    (digits[0] == '0' && digits[1] != '\0'))
		return false;
	errno = 0;
	*v = strtoll(text, &end, 10);
	return *end == '\0' && errno == 0;
}

static bool
load_int(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	bool may_auto = row->type == SCHEMA_AUTO_INT;
	char bounds[80];
	int64_t v;

	if (may_auto && strcmp(node->text, "auto") == 0) {
		*(int64_t *)out = 0;
		return true;
	}
	if (!parse_int(node->text, &v) || !in_range(row, (double)v))
		return expected(l, node, "%san integer%s",
		    may_auto ? "auto or " : "", range(row, bounds));
	*(int64_t *)out = v;
	return true;
}

/* Digits, a point, an exponent: strtod() alone would take "nan" and "0x1p3". */
static bool
load_double(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	const char *text = node->text;
	char bounds[80], *end;
	double v = strtod(text, &end);

	if (text[0] == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0' ||
	    *end != '\0' || !isfinite(v) || !in_range(row, v))
		return expected(l, node, "a number%s", range(row, bounds));
	*(double *)out = v;
	return true;
}

/* `text` in whole units of `unit`; false when it is no such number. */
static bool
parse_duration(const char *text, const char *unit, int64_t *v)
{
	int64_t one = when_unit_ms(unit), ms;

	if (!when_duration(text, one, &ms) || ms % one != 0)
		return false;
	*v = ms / one;
	return true;
}

static bool
load_duration(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	char bounds[80];
	int64_t v;

	assert(row->unit != NULL && when_unit_ms(row->unit) > 0);
	if (!parse_duration(node->text, row->unit, &v) ||
	    !in_range(row, (double)v))
		return expected(l, node,
		    "a duration%s, such as 90s, 5m, 24h or 30d (a bare number "
		    "is in %s)",
		    range(row, bounds), row->unit);
	*(int64_t *)out = v;
	return true;
}

static bool
load_string(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	char **text = out;

	(void)row;
	if (is_nothing(node))
		return expected(l, node, "text");
	*text = strdup(node->text);
	if (*text == NULL)
		tell(l, node, "out of memory");
	return *text != NULL;
}

static bool
load_enum(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	char words[WORDS_LEN];
	int index = word_index(row->words, node->text);

	if (index < 0)
		return expected(l, node, "%s", words_of(row->words, words));
	*(int *)out = index;
	return true;
}

static bool
load_address(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	struct addr a;
	const char *why;

	(void)row;
	/* a default port of -1 asks for one: then it must not be there */
	if (addr_parse(&a, node->text, -1, &why) == 0 ||
	    addr_parse(&a, node->text, 0, &why) != 0)
		return expected(l, node,
		    "a numeric address without a port, such as 192.0.2.1 or "
		    "2001:db8::1");
	memcpy(out, &a, sizeof a);
	return true;
}

static bool
load_flags(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	char words[WORDS_LEN], value[64];
	unsigned int set = 0;
	bool good = true;

	for (const struct yaml_node *i = node->child; i != NULL; i = i->next) {
		int bit = i->kind != YAML_SCALAR
		    ? -1
		    : word_index(row->words, i->text);

		if (bit < 0) {
			good =
			    expected(l, i, "%s", words_of(row->words, words));
		} else if ((set & 1u << bit) != 0) {
			tell(l, i, "%s is in the list twice", got(i, value));
			good = false;
		} else {
			set |= 1u << bit;
		}
	}
	if (good && (double)__builtin_popcount(set) < row->min) {
		tell(l, node, "expected a list of at least %.0f of %s",
		    row->min, words_of(row->words, words));
		good = false;
	}
	*(unsigned int *)out = set;
	return good;
}

static bool load_value(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, void *out);
static bool load_mapping(struct load *l, const struct schema_row *rows,
    const struct yaml_node *node, char *out);

static bool
load_section(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	return load_mapping(l, row->rows, node, out);
}

static size_t
scalar_size(enum schema_type type)
{
	switch (type) {
	case SCHEMA_BOOL:
		return sizeof(bool);
	case SCHEMA_INT:
	case SCHEMA_AUTO_INT:
	case SCHEMA_DURATION:
		return sizeof(int64_t);
	case SCHEMA_DOUBLE:
		return sizeof(double);
	case SCHEMA_STRING:
		return sizeof(char *);
	case SCHEMA_ENUM:
		return sizeof(int);
	case SCHEMA_FLAGS:
		return sizeof(unsigned int);
	case SCHEMA_ADDRESS:
		return sizeof(struct addr);
	default:
		return 0;
	}
}

/* The row of one item of a list of scalars. */
static struct schema_row
item_row(const struct schema_row *list)
{
	struct schema_row item = { .type = list->item_type,
		.words = list->words,
		.unit = list->unit };

	return item;
}

static size_t
item_size(const struct schema_row *row)
{
	return row->item_size != 0 ? row->item_size
				   : scalar_size(row->item_type);
}

static bool
check_count(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, size_t count)
{
	size_t most = row->max > 0 ? (size_t)row->max : LIST_ITEMS_MAX;

	if ((double)count >= row->min && count <= most)
		return true;
	tell(l, node, "expected a list of %.0f to %zu items, got %zu", row->min,
	    most, count);
	return false;
}

static bool
load_list(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	struct schema_list *list = out;
	struct schema_row item = item_row(row);
	size_t size = item_size(row), count = 0, i = 0;
	bool good = true;

	for (const struct yaml_node *n = node->child; n != NULL; n = n->next)
		count++;
	if (!check_count(l, row, node, count))
		return false;
	if (count == 0)
		return true;
	list->items = calloc(count, size);
	if (list->items == NULL) {
		tell(l, node, "out of memory");
		return false;
	}
	list->count = count; /* zeroed items are safe to free */
	for (const struct yaml_node *n = node->child; n != NULL; n = n->next) {
		char *at = (char *)list->items + i * size;
		size_t cut = path_index(l, i++);

		if (row->rows != NULL)
			good = load_mapping(l, row->rows, n, at) && good;
		else
			good = load_value(l, &item, n, at) && good;
		l->path[cut] = '\0';
	}
	return good;
}

/* One row a type: its shape in YAML and who reads it. */
static const struct {
	enum yaml_kind kind;
	const char *shape;
	bool (*load)(struct load *, const struct schema_row *,
	    const struct yaml_node *, void *);
} types[] = {
	[SCHEMA_BOOL] = { YAML_SCALAR, "true or false", load_bool },
	[SCHEMA_INT] = { YAML_SCALAR, "an integer", load_int },
	[SCHEMA_DOUBLE] = { YAML_SCALAR, "a number", load_double },
	[SCHEMA_DURATION] = { YAML_SCALAR, "a duration", load_duration },
	[SCHEMA_STRING] = { YAML_SCALAR, "text", load_string },
	[SCHEMA_ENUM] = { YAML_SCALAR, "a word", load_enum },
	[SCHEMA_AUTO_INT] = { YAML_SCALAR, "auto or an integer", load_int },
	[SCHEMA_ADDRESS] = { YAML_SCALAR, "an address", load_address },
	[SCHEMA_SECTION] = { YAML_MAPPING, "a mapping", load_section },
	[SCHEMA_LIST] = { YAML_SEQUENCE, "a list, such as [a, b]", load_list },
	[SCHEMA_FLAGS] = { YAML_SEQUENCE, "a list, such as [a, b]",
	    load_flags },
};

static bool
load_value(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	struct yaml_node nothing = *node;

	/* `clock:` with all of its keys commented out is an empty section */
	if (types[row->type].kind != YAML_SCALAR && is_nothing(node)) {
		nothing.kind = types[row->type].kind;
		node = &nothing;
	}
	if (node->kind != types[row->type].kind)
		return expected(l, node, "%s", types[row->type].shape);
	return types[row->type].load(l, row, node, out);
}

static size_t
min3(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

/* Levenshtein's distance: letters to add, drop or change. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[KEY_COMPARED_MAX + 1];
	size_t len = strlen(b);

	for (size_t j = 0; j <= len; j++)
		row[j] = j;
	for (size_t i = 0; a[i] != '\0'; i++) {
		size_t corner = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < len; j++) {
			size_t above = row[j + 1];

			row[j + 1] = min3(above + 1, row[j] + 1,
			    corner + (a[i] != b[j] ? 1 : 0));
			corner = above;
		}
	}
	return row[len];
}

static const char *
nearest(const struct schema_row *rows, const char *key)
{
	size_t best = strlen(key) / 3 + 1;
	const char *found = NULL;

	if (strlen(key) > KEY_COMPARED_MAX)
		return NULL;
	for (; rows->type != SCHEMA_END; rows++) {
		size_t d;

		if (strlen(rows->key) > KEY_COMPARED_MAX)
			continue;
		d = distance(key, rows->key);
		if (d < best || (d == best && found == NULL)) {
			best = d;
			found = rows->key;
		}
	}
	return found;
}

static void
check_known(
    struct load *l, const struct schema_row *rows, const struct yaml_node *key)
{
	const char *like;
	char name[56];
	size_t cut;

	for (const struct schema_row *r = rows; r->type != SCHEMA_END; r++) {
		if (strcmp(r->key, key->text) == 0)
			return;
	}
	like = nearest(rows, key->text);
	printable(name, key->text);
	cut = path_key(l, name[0] != '\0' ? name : "\"\"");
	if (like != NULL)
		tell(l, key, "unknown key; did you mean \"%s\"?", like);
	else
		tell(l, key, "unknown key");
	l->path[cut] = '\0';
}

static const struct yaml_node *
find_key(const struct yaml_node *mapping, const char *key)
{
	if (mapping == NULL || mapping->kind != YAML_MAPPING)
		return NULL;
	for (const struct yaml_node *k = mapping->child; k != NULL;
	     k = k->next) {
		if (k->kind == YAML_SCALAR && strcmp(k->text, key) == 0)
			return k;
	}
	return NULL;
}

static void
check_repeated(struct load *l, const struct yaml_node *first)
{
	for (const struct yaml_node *k = first->next; k != NULL; k = k->next) {
		if (strcmp(k->text, first->text) == 0)
			tell(l, k, "given before, at line %u", first->line);
	}
}

/*
 * A default that does not load is our own mistake in a table. Scalars are
 * taken as text; lists and sections are parsed as they would stand in a file.
 */
static void
load_fallback(struct load *l, const struct schema_row *row, void *out)
{
	struct yaml_node text = { .kind = YAML_SCALAR, .text = row->fallback };
	struct yaml_node *parsed;
	bool good;

	if (types[row->type].kind == YAML_SCALAR) {
		good = load_value(l, row, &text, out);
	} else {
		parsed = yaml_parse((const uint8_t *)row->fallback,
		    strlen(row->fallback), l->e);
		good = parsed != NULL && load_value(l, row, parsed, out);
		yaml_tree_free(parsed);
	}
	assert(good);
	(void)good;
}

static bool
load_row(struct load *l, const struct schema_row *row,
    const struct yaml_node *node, char *out)
{
	const struct yaml_node *key = find_key(node, row->key);
	size_t before = l->errors;

	if (key != NULL) {
		check_repeated(l, key);
		load_value(l, row, key->value, out + row->offset);
	} else if (row->required && node != NULL) {
		tell(l, node, "required, but missing");
	} else if (row->fallback != NULL) {
		load_fallback(l, row, out + row->offset);
	} else if (row->type == SCHEMA_SECTION) {
		load_mapping(l, row->rows, NULL, out + row->offset);
	}
	return l->errors == before;
}

/* `node` NULL: defaults only, and then nothing is required. */
static bool
load_mapping(struct load *l, const struct schema_row *rows,
    const struct yaml_node *node, char *out)
{
	struct yaml_node nothing;
	bool good = true;

	if (node != NULL && is_nothing(node)) {
		nothing = *node;
		nothing.kind = YAML_MAPPING;
		node = &nothing;
	}
	if (node != NULL && node->kind != YAML_MAPPING)
		return expected(l, node, "a mapping (key: value)");
	for (const struct yaml_node *k = node != NULL ? node->child : NULL;
	     k != NULL; k = k->next)
		check_known(l, rows, k);
	for (; rows->type != SCHEMA_END; rows++) {
		size_t cut = path_key(l, rows->key);

		good = load_row(l, rows, node, out) && good;
		l->path[cut] = '\0';
	}
	return good;
}

size_t
schema_load(const struct schema_row *rows, const struct yaml_node *node,
    void *out, struct yaml_errors *e)
{
	struct load l = { .e = e };

	load_mapping(&l, rows, node, out);
	return l.errors;
}

static void
free_list(const struct schema_row *row, struct schema_list *list)
{
	struct schema_row item = item_row(row);
	const struct schema_row one[] = { item, { .type = SCHEMA_END } };
	const struct schema_row *rows = row->rows != NULL ? row->rows : one;

	for (size_t i = 0; i < list->count; i++)
		schema_free(rows, (char *)list->items + i * item_size(row));
	free(list->items);
	list->items = NULL;
	list->count = 0;
}

void
schema_free(const struct schema_row *rows, void *out)
{
	for (; rows->type != SCHEMA_END; rows++) {
		char *at = (char *)out + rows->offset;

		if (rows->type == SCHEMA_STRING)
			free(*(char **)(void *)at);
		if (rows->type == SCHEMA_LIST)
			free_list(rows, (struct schema_list *)(void *)at);
		else if (rows->type == SCHEMA_SECTION)
			schema_free(rows->rows, at);
		else
			memset(at, 0, scalar_size(rows->type));
	}
}

/* Takes one `name` or `[index]` off the path. */
static const struct yaml_node *
step(const struct yaml_node *node, const char **path)
{
	size_t len = strcspn(*path, ".[");
	char name[PATH_LEN];
	unsigned long index;
	char *end;

	if (**path == '[') {
		index = strtoul(*path + 1, &end, 10);
		*path = *end == ']' ? end + 1 : end;
		if (node->kind != YAML_SEQUENCE)
			return NULL;
		for (node = node->child; node != NULL && index > 0; index--)
			node = node->next;
		return node;
	}
	if (len >= sizeof name)
		return NULL;
	memcpy(name, *path, len);
	name[len] = '\0';
	*path += len;
	node = find_key(node, name);
	return node != NULL ? node->value : NULL;
}

const struct yaml_node *
schema_find(const struct yaml_node *root, const char *path)
{
	while (root != NULL && *path != '\0') {
		if (*path == '.')
			path++;
		root = step(root, &path);
	}
	return root;
}
