/* A borrowed run of bytes: points into memory that somebody else owns. */
#ifndef BASE_VIEW_H
#define BASE_VIEW_H

#include <stddef.h>
#include <stdint.h>

struct view {
	const uint8_t *data;
	size_t len; /* bytes */
};

#endif
