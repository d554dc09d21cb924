/* Small l4proxyd.yaml files in one line each, and what is said about them. */
#ifndef TESTS_PROXY_YAML_H
#define TESTS_PROXY_YAML_H

#include <string.h>

#include "proxy/settings.h"

/* One application in one line: the columns of the faults are counted in it. */
#define APPS "applications:\n"
#define APP(name, proto, edge, rest)                                          \
	"- {name: " name ", protocol: " proto ", edge_ips: [" edge "], " rest \
	"}\n"
#define TO(url) "origin_direct: [\"" url "\"]"
#define SSH_TO TO("tcp://198.51.100.1:22")
#define DNS_TO TO("udp://198.51.100.1:53")
#define PLAIN APPS APP("a", "tcp/22", "192.0.2.1", SSH_TO)
#define TCP(rest) APPS APP("a", "tcp/22", "192.0.2.1", rest)
#define UDP(rest) APPS APP("a", "udp/53", "192.0.2.1", rest)
#define RANGE_TO TO("tcp://198.51.100.1:1000-1999")
#define DISPATCH "sharing: {mode: dispatch}\n"
#define WIDE APPS APP("a", "tcp/1000-1999", "192.0.2.0/24", RANGE_TO)

static inline size_t
parse(struct proxy_settings *s, const char *text, struct yaml_errors *e)
{
	*e = (struct yaml_errors){ .file = "f" };
	return proxy_settings_parse(s, (const uint8_t *)text, strlen(text), e);
}

static inline void
good(struct proxy_settings *s, const char *text)
{
	struct yaml_errors e;
	size_t n = parse(s, text, &e);

	if (n > 0)
		fail_msg("%s: %s", text, e.lines[0]);
	yaml_errors_free(&e);
}

#define BAD_LINES 5

/* A file, and every line that is said about it. */
struct bad_yaml {
	const char *text;
	const char *lines[BAD_LINES];
};

static inline void
check_lines(
    const struct yaml_errors *e, const char *const *lines, const char *text)
{
	size_t n = 0;

	for (; n < BAD_LINES && lines[n] != NULL; n++) {
		if (n >= e->count || strcmp(e->lines[n], lines[n]) != 0)
			fail_msg("%s\nexpected %s\ngot %s", text, lines[n],
			    n < e->count ? e->lines[n] : "nothing");
	}
	if (n != e->count)
		fail_msg("%s\nand also %s", text, e->lines[n]);
	assert_true(n > 0);
}

static inline void
check_bad(const struct bad_yaml *bad, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct yaml_errors e;
		struct proxy_settings s;

		assert_true(parse(&s, bad[i].text, &e) > 0);
		check_lines(&e, bad[i].lines, bad[i].text);
		yaml_errors_free(&e);
		proxy_settings_free(&s);
	}
}

#endif
