#include "config/schema.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "config/complaint.h"
#include "config/scalar.h"

#define LIST_ITEMS_MAX 4096u /* where a row gives no maximum */
#define KEY_COMPARED_MAX 48u
#define KEY_BEGUN_MIN 3u

static bool load_value(struct complaint *to, const struct schema_row *row,
    const struct yaml_node *node, void *out);
static bool load_mapping(struct complaint *to, const struct schema_row *rows,
    const struct yaml_node *node, char *out);

static bool
load_section(struct complaint *to, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	return load_mapping(to, row->rows, node, out);
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
check_count(struct complaint *to, const struct schema_row *row,
    const struct yaml_node *node, size_t count)
{
	size_t most = row->max > 0 ? (size_t)row->max : LIST_ITEMS_MAX;

	if ((double)count >= row->min && count <= most)
		return true;
	complaint_tell(to, node,
	    "expected a list of %.0f to %zu items, got %zu", row->min, most,
	    count);
	return false;
}

static bool
load_list(struct complaint *to, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	struct schema_list *list = out;
	struct schema_row item = item_row(row);
	size_t size = item_size(row), count = 0, i = 0;
	bool good = true;

	for (const struct yaml_node *n = node->child; n != NULL; n = n->next)
		count++;
	if (!check_count(to, row, node, count))
		return false;
	if (count == 0)
		return true;
	list->items = calloc(count, size);
	if (list->items == NULL) {
		complaint_tell(to, node, "out of memory");
		return false;
	}
	list->count = count; /* zeroed items are safe to free */
	for (const struct yaml_node *n = node->child; n != NULL; n = n->next) {
		char *at = (char *)list->items + i * size;
		size_t cut = complaint_index(to, i++);

		if (row->rows != NULL)
			good = load_mapping(to, row->rows, n, at) && good;
		else
			good = load_value(to, &item, n, at) && good;
		to->path[cut] = '\0';
	}
	return good;
}

/* One row a type: its shape in YAML and who reads it. */
static const struct {
	enum yaml_kind kind;
	const char *shape;
	bool (*load)(struct complaint *, const struct schema_row *,
	    const struct yaml_node *, void *);
} types[] = {
	[SCHEMA_BOOL] = { YAML_SCALAR, "true or false", scalar_bool },
	[SCHEMA_INT] = { YAML_SCALAR, "an integer", scalar_int },
	[SCHEMA_DOUBLE] = { YAML_SCALAR, "a number", scalar_double },
	[SCHEMA_DURATION] = { YAML_SCALAR, "a duration", scalar_duration },
	[SCHEMA_STRING] = { YAML_SCALAR, "text", scalar_string },
	[SCHEMA_ENUM] = { YAML_SCALAR, "a word", scalar_enum },
	[SCHEMA_AUTO_INT] = { YAML_SCALAR, "auto or an integer", scalar_int },
	[SCHEMA_ADDRESS] = { YAML_SCALAR, "an address", scalar_address },
	[SCHEMA_SECTION] = { YAML_MAPPING, "a mapping", load_section },
	[SCHEMA_LIST] = { YAML_SEQUENCE, "a list, such as [a, b]", load_list },
	[SCHEMA_FLAGS] = { YAML_SEQUENCE, "a list, such as [a, b]",
	    scalar_flags },
};

static bool
load_value(struct complaint *to, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	struct yaml_node nothing = *node, item = *node;

	/* `clock:` with all of its keys commented out is an empty section */
	if (types[row->type].kind != YAML_SCALAR &&
	    complaint_is_nothing(node)) {
		nothing.kind = types[row->type].kind;
		node = &nothing;
	} else if (row->lone && node->kind == YAML_SCALAR) {
		item.next = NULL;
		nothing.kind = YAML_SEQUENCE;
		nothing.child = &item;
		node = &nothing;
	}
	if (node->kind != types[row->type].kind)
		return complaint_expected(
		    to, node, "%s", types[row->type].shape);
	return types[row->type].load(to, row, node, out);
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

/* `origin` for origin_direct. */
static const char *
longer(const struct schema_row *rows, const char *key)
{
	size_t len = strlen(key);

	for (; rows->type != SCHEMA_END; rows++) {
		if (len >= KEY_BEGUN_MIN && strncmp(rows->key, key, len) == 0)
			return rows->key;
	}
	return NULL;
}

static bool
is_known(const struct schema_row *rows, const char *key)
{
	for (; rows->type != SCHEMA_END; rows++) {
		if (strcmp(rows->key, key) == 0)
			return true;
	}
	return false;
}

/* The section or list below that has such a key. */
static const char *
home(const struct schema_row *rows, const char *key)
{
	for (; rows->type != SCHEMA_END; rows++) {
		if (rows->rows != NULL && is_known(rows->rows, key))
			return rows->key;
	}
	return NULL;
}

static void
check_known(struct complaint *to, const struct schema_row *rows,
    const struct yaml_node *key)
{
	const char *under = home(rows, key->text), *like;
	char name[COMPLAINT_NAME_LEN];
	size_t cut;

	if (is_known(rows, key->text))
		return;
	like = nearest(rows, key->text);
	if (like == NULL)
		like = longer(rows, key->text);
	complaint_printable(name, key->text);
	cut = complaint_key(to, name[0] != '\0' ? name : "\"\"");
	if (under != NULL)
		complaint_tell(
		    to, key, "unknown key; it goes under \"%s\"", under);
	else if (like != NULL)
		complaint_tell(
		    to, key, "unknown key; did you mean \"%s\"?", like);
	else
		complaint_tell(to, key, "unknown key");
	to->path[cut] = '\0';
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
check_repeated(struct complaint *to, const struct yaml_node *first)
{
	for (const struct yaml_node *k = first->next; k != NULL; k = k->next) {
		if (strcmp(k->text, first->text) == 0)
			complaint_tell(
			    to, k, "given before, at line %u", first->line);
	}
}

/*
 * A default that does not load is our own mistake in a table. Scalars are
 * taken as text; lists and sections are parsed as they would stand in a file.
 */
static void
load_fallback(struct complaint *to, const struct schema_row *row, void *out)
{
	struct yaml_node text = { .kind = YAML_SCALAR, .text = row->fallback };
	struct yaml_node *parsed;
	bool good;

	if (types[row->type].kind == YAML_SCALAR) {
		good = load_value(to, row, &text, out);
	} else {
		parsed = yaml_parse((const uint8_t *)row->fallback,
		    strlen(row->fallback), to->e);
		good = parsed != NULL && load_value(to, row, parsed, out);
		yaml_tree_free(parsed);
	}
	assert(good);
	(void)good;
}

static bool
load_row(struct complaint *to, const struct schema_row *row,
    const struct yaml_node *node, char *out)
{
	const struct yaml_node *key = find_key(node, row->key);
	size_t before = to->errors;

	if (key != NULL) {
		check_repeated(to, key);
		load_value(to, row, key->value, out + row->offset);
	} else if (row->required && node != NULL) {
		complaint_tell(to, node, "required, but missing");
	} else if (row->fallback != NULL) {
		load_fallback(to, row, out + row->offset);
	} else if (row->type == SCHEMA_SECTION) {
		load_mapping(to, row->rows, NULL, out + row->offset);
	}
	return to->errors == before;
}

/* `node` NULL: defaults only, and then nothing is required. */
static bool
load_mapping(struct complaint *to, const struct schema_row *rows,
    const struct yaml_node *node, char *out)
{
	struct yaml_node nothing;
	bool good = true;

	if (node != NULL && complaint_is_nothing(node)) {
		nothing = *node;
		nothing.kind = YAML_MAPPING;
		node = &nothing;
	}
	if (node != NULL && node->kind != YAML_MAPPING)
		return complaint_expected(to, node, "a mapping (key: value)");
	for (const struct yaml_node *k = node != NULL ? node->child : NULL;
	     k != NULL; k = k->next)
		check_known(to, rows, k);
	for (; rows->type != SCHEMA_END; rows++) {
		size_t cut = complaint_key(to, rows->key);

		good = load_row(to, rows, node, out) && good;
		to->path[cut] = '\0';
	}
	return good;
}

size_t
schema_load(const struct schema_row *rows, const struct yaml_node *node,
    void *out, struct yaml_errors *e)
{
	struct complaint to = { .e = e };

	load_mapping(&to, rows, node, out);
	return to.errors;
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
	char name[COMPLAINT_PATH_LEN];
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
