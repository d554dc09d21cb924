/* The health check of one application of l4proxyd.yaml. */
#include <string.h>

#include "proxy/notation.h"
#include "proxy/settings_rows.h"

/* Text as bytes; false when it was told that they are none. */
static bool
make_bytes(uint8_t *out, uint16_t *len, const char *text, const char *path,
    const struct proxy_place *at)
{
	char why[NOTATION_WHY_LEN];

	if (text == NULL ||
	    notation_bytes(out, APP_CHECK_BYTES_MAX, len, text, why) == 0)
		return true;
	proxy_settings_error(at->e, at->root, at->index, path, "%s", why);
	return false;
}

/* A plain connect says nothing and hears nothing. */
static void
check_silent(const struct proxy_raw_health *raw, const struct proxy_place *at)
{
	static const char why[] =
	    "is for tcp-expect and udp-expect, but type is tcp";

	if (raw->send != NULL)
		proxy_settings_error(
		    at->e, at->root, at->index, "health.send", "%s", why);
	if (raw->expect != NULL)
		proxy_settings_error(
		    at->e, at->root, at->index, "health.expect", "%s", why);
}

/* What must be there for an answer to be awaited. */
static void
check_asking(const struct app_check *c, const struct proxy_raw_health *raw,
    const struct proxy_place *at)
{
	if (c->kind == APP_CHECK_TCP_EXPECT && c->expect_len == 0)
		proxy_settings_error(at->e, at->root, at->index,
		    "health.expect",
		    "expected at least a byte of the answer; type tcp asks "
		    "for none");
	if (c->kind == APP_CHECK_UDP_EXPECT && raw->send == NULL)
		proxy_settings_error(at->e, at->root, at->index, "health.send",
		    "required for udp-expect, but missing: expected such as "
		    "'ping\\n', or '' for an empty datagram");
}

void
proxy_check_make(struct app *a, const struct proxy_raw_health *raw,
    size_t index, const struct yaml_node *root, struct yaml_errors *e)
{
	const struct proxy_place at = { e, root, index };
	struct app_check *c = &a->check;
	int64_t timeout_s;
	bool clear;

	if (!proxy_settings_given(root, index, "health")) {
		if (a->origins_down == APP_DOWN_REFUSE)
			proxy_settings_error(e, root, index, "origins_down",
			    "refuse needs health: nothing else takes origins "
			    "down");
		return;
	}
	c->kind = (enum app_check_kind)(raw->type + 1);
	c->interval_ms = (uint32_t)(raw->interval_s * 1000);
	timeout_s = raw->timeout_s;
	/* the default gives way to a short interval that somebody wrote */
	if (!proxy_settings_given(root, index, "health.timeout_s") &&
	    timeout_s > raw->interval_s)
		timeout_s = raw->interval_s;
	c->timeout_ms = (uint32_t)(timeout_s * 1000);
	c->rise = (uint32_t)raw->rise;
	c->fall = (uint32_t)raw->fall;
	c->port = (uint16_t)raw->port;
	if (timeout_s > raw->interval_s)
		proxy_settings_error(e, root, index, "health.timeout_s",
		    "expected at most interval_s, which is %lld s",
		    (long long)raw->interval_s);
	clear =
	    make_bytes(c->send, &c->send_len, raw->send, "health.send", &at);
	clear &= make_bytes(
	    c->expect, &c->expect_len, raw->expect, "health.expect", &at);
	if (c->kind == APP_CHECK_TCP)
		check_silent(raw, &at);
	else if (clear)
		check_asking(c, raw, &at);
}
