/* l4proxyd.yaml from any bytes; what is taken keeps its promises. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
check_health(const struct app_check *c)
{
	if (c->kind == APP_CHECK_OFF)
		return;
	if (c->rise == 0 || c->fall == 0 || c->timeout_ms == 0 ||
	    c->timeout_ms > c->interval_ms || c->send_len > sizeof c->send ||
	    c->expect_len > sizeof c->expect)
		abort();
	if (c->kind == APP_CHECK_TCP && c->send_len + c->expect_len > 0)
		abort();
	if (c->kind == APP_CHECK_TCP_EXPECT && c->expect_len == 0)
		abort();
}

static void
check_app(const struct app *a)
{
	bool dns = a->dns.name[0] != '\0';

	if (a->name[0] == '\0' || a->edges == 0 || a->port_first == 0 ||
	    a->port_first > a->port_last || dns == (a->origins > 0))
		abort();
	check_health(&a->check);
	if (dns && (a->dns.type == APP_DNS_SRV) != (a->dns.port == 0))
		abort();
	if (dns && a->dns.port + a->port_last - a->port_first > 65535)
		abort();
	for (size_t i = 0; i < a->origins; i++) {
		const struct addr *to = &a->origin[i].address;

		if (a->origin[i].weight == 0 || addr_port(to) == 0 ||
		    addr_port(to) + a->port_last - a->port_first > 65535)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct yaml_errors e = { .file = "fuzz" };
	struct proxy_settings s;

	if (proxy_settings_parse(&s, data, len, &e) == 0) {
		if (s.apps == 0)
			abort();
		for (size_t i = 0; i < s.apps; i++)
			check_app(&s.app[i]);
	}
	proxy_settings_free(&s);
	yaml_errors_free(&e);
	return 0;
}
