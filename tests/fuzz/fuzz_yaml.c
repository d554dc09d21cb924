/* yaml_parse and schema_load on any bytes: a tree or a reason, never both. */
#include <assert.h>
#include <string.h>

#include "config/schema.h"
#include "net/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct part {
	bool on;
	int64_t number, workers, wait_s;
	double factor;
	char *text;
	int word;
	unsigned int flags;
	struct addr address;
	struct schema_list list; /* struct part */
	struct schema_list texts; /* char * */
};

static const char *const words[] = { "refuse", "serve", "off", NULL };

#define AT(f) .offset = offsetof(struct part, f)
#define LEAVES                                                              \
	{ "on", SCHEMA_BOOL, AT(on) },                                      \
	    { "number", SCHEMA_INT, AT(number), .min = 1, .max = 65535 },   \
	    { "workers", SCHEMA_AUTO_INT, AT(workers) },                    \
	    { "wait", SCHEMA_DURATION, AT(wait_s), .unit = "s" },           \
	    { "factor", SCHEMA_DOUBLE, AT(factor) },                        \
	    { "text", SCHEMA_STRING, AT(text), .fallback = "default" },     \
	    { "word", SCHEMA_ENUM, AT(word), .words = words },              \
	    { "flags", SCHEMA_FLAGS, AT(flags), .words = words },           \
	    { "address", SCHEMA_ADDRESS, AT(address) },                     \
	{                                                                   \
		"texts", SCHEMA_LIST, AT(texts), .item_type = SCHEMA_STRING \
	}

static const struct schema_row inner[] = { LEAVES, { 0 } };
static const struct schema_row outer[] = { LEAVES,
	{ "list", SCHEMA_LIST, AT(list), .required = true, .rows = inner,
	    .item_size = sizeof(struct part) },
	{ 0 } };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct yaml_errors e = { .file = "f" };
	struct yaml_node *root = yaml_parse(data, len, &e);
	struct part part;

	assert((root == NULL) == (e.count > 0));
	if (root != NULL) {
		memset(&part, 0, sizeof part);
		assert(
		    (schema_load(outer, root, &part, &e) > 0) == (e.count > 0));
		schema_free(outer, &part);
	}
	yaml_tree_free(root);
	yaml_errors_free(&e);
	return 0;
}
