/*
 * Readers of single values (and of FLAGS, a list of words): one for each type
 * of config/schema.h that has no rows of its own. For config/ only.
 *
 * The node has the kind that the type wants. Each writes to `out` and returns
 * true, or tells what was expected and returns false.
 */
#ifndef CONFIG_SCALAR_H
#define CONFIG_SCALAR_H

#include <stdbool.h>
#include <stddef.h>

#include "config/complaint.h"
#include "config/schema.h"

#define SCALAR_READER(name)                                           \
	bool name(struct complaint *to, const struct schema_row *row, \
	    const struct yaml_node *node, void *out)

SCALAR_READER(scalar_bool);
SCALAR_READER(scalar_int); /* AUTO_INT, too */
SCALAR_READER(scalar_double);
SCALAR_READER(scalar_duration);
SCALAR_READER(scalar_string);
SCALAR_READER(scalar_enum);
SCALAR_READER(scalar_address);
SCALAR_READER(scalar_flags);

/* Bytes of a value in a struct; 0 for types that are no single value. */
size_t scalar_size(enum schema_type type);

#endif
