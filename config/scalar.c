#include "config/scalar.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/when.h"
#include "net/addr.h"

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
words_of(const char *const *words, char buf[static COMPLAINT_WORDS_LEN])
{
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; words[i] != NULL && n < COMPLAINT_WORDS_LEN; i++) {
		const char *joint = i == 0 ? ""
		    : words[i + 1] != NULL ? ", "
					   : " or ";

		n += (size_t)snprintf(
		    buf + n, COMPLAINT_WORDS_LEN - n, "%s%s", joint, words[i]);
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

bool
scalar_bool(struct complaint *to, const struct schema_row *row,
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
	return complaint_expected(to, node, "true or false");
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

bool
scalar_int(struct complaint *to, const struct schema_row *row,
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
		return complaint_expected(to, node, "%san integer%s",
		    may_auto ? "auto or " : "", range(row, bounds));
	*(int64_t *)out = v;
	return true;
}

/* Digits, a point, an exponent: strtod() alone would take "nan" and "0x1p3". */
bool
scalar_double(struct complaint *to, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	const char *text = node->text;
	char bounds[80], *end;
	double v = strtod(text, &end);

	if (text[0] == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0' ||
	    *end != '\0' || !isfinite(v) || !in_range(row, v))
		return complaint_expected(
		    to, node, "a number%s", range(row, bounds));
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

bool
scalar_duration(struct complaint *to, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	char bounds[80];
	int64_t v;

	assert(row->unit != NULL && when_unit_ms(row->unit) > 0);
	if (!parse_duration(node->text, row->unit, &v) ||
	    !in_range(row, (double)v))
		return complaint_expected(to, node,
		    "a duration%s, such as 90s, 5m, 24h or 30d (a bare number "
		    "is in %s)",
		    range(row, bounds), row->unit);
	*(int64_t *)out = v;
	return true;
}

bool
scalar_string(struct complaint *to, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	char **text = out;

	(void)row;
	if (complaint_is_nothing(node))
		return complaint_expected(to, node, "text");
	*text = strdup(node->text);
	if (*text == NULL)
		complaint_tell(to, node, "out of memory");
	return *text != NULL;
}

bool
scalar_enum(struct complaint *to, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	char words[COMPLAINT_WORDS_LEN];
	int index = word_index(row->words, node->text);

	if (index < 0)
		return complaint_expected(
		    to, node, "%s", words_of(row->words, words));
	*(int *)out = index;
	return true;
}

bool
scalar_address(struct complaint *to, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	struct addr a;
	const char *why;

	(void)row;
	/* a default port of -1 asks for one: then it must not be there */
	if (addr_parse(&a, node->text, -1, &why) == 0 ||
	    addr_parse(&a, node->text, 0, &why) != 0)
		return complaint_expected(to, node,
		    "a numeric address without a port, such as 192.0.2.1 or "
		    "2001:db8::1");
	memcpy(out, &a, sizeof a);
	return true;
}

bool
scalar_flags(struct complaint *to, const struct schema_row *row,
    const struct yaml_node *node, void *out)
{
	char words[COMPLAINT_WORDS_LEN], value[COMPLAINT_VALUE_LEN];
	unsigned int set = 0;
	bool good = true;

	for (const struct yaml_node *i = node->child; i != NULL; i = i->next) {
		int bit = i->kind != YAML_SCALAR
		    ? -1
		    : word_index(row->words, i->text);

		if (bit < 0) {
			good = complaint_expected(
			    to, i, "%s", words_of(row->words, words));
		} else if ((set & 1u << bit) != 0) {
			complaint_tell(to, i, "%s is in the list twice",
			    complaint_value(i, value));
			good = false;
		} else {
			set |= 1u << bit;
		}
	}
	if (good && (double)__builtin_popcount(set) < row->min) {
		complaint_tell(to, node,
		    "expected a list of at least %.0f of %s", row->min,
		    words_of(row->words, words));
		good = false;
	}
	*(unsigned int *)out = set;
	return good;
}

size_t
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
