/* Whose origins are checked, and when: on a loop, against real sockets. */
#include "proxy/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/sock.h"
#include "tests/sockets.h"

#define PATIENCE_S 30

/* Two origins of which the second is not there. */
struct fixture {
	struct ev_loop *loop;
	struct app app;
	struct service *service;
	int origin;
	uint16_t port, dead;
};

static struct app_origin
local(uint16_t port)
{
	struct app_origin o = { sockets_addr("127.0.0.1:0"), 1 };

	addr_set_port(&o.address, port);
	return o;
}

static struct service *
make_service(const struct app *a)
{
	struct service *v = service_new(a, 1, 100, NULL);

	assert_non_null(v);
	return v;
}

static struct fixture *
make(void)
{
	struct fixture *f = calloc(1, sizeof *f);
	const struct sock_opts o = { .v6only = true };
	int closed;

	f->loop = ev_loop_new(EVBACKEND_EPOLL);
	assert_non_null(f->loop);
	f->origin = sockets_open(SOCK_TCP, "127.0.0.1", &o, &f->port);
	closed = sockets_open(SOCK_TCP, "127.0.0.1", &o, &f->dead);
	close(closed);
	f->app = (struct app){ .name = "test",
		.proto = SOCK_TCP,
		.port_first = 80,
		.port_last = 80,
		.origins = 2,
		.origin = { local(f->port), local(f->dead) },
		.check = { .kind = APP_CHECK_TCP,
		    .interval_ms = 20,
		    .timeout_ms = 20,
		    .rise = 2,
		    .fall = 3 } };
	f->service = make_service(&f->app);
	return f;
}

static void
drop(struct fixture *f)
{
	service_release(f->service);
	ev_loop_destroy(f->loop);
	close(f->origin);
	free(f);
}

static struct origin_view
look(struct service *v, uint16_t port)
{
	struct origin_view view[APP_ORIGINS_MAX];
	size_t n = origins_view(v->origins, view, APP_ORIGINS_MAX, 0);

	for (size_t i = 0; i < n; i++)
		if (addr_port(&view[i].address) == port)
			return view[i];
	return (struct origin_view){ .slot = -1 };
}

/* The loop turns until the origin has been checked `times` more. */
static void
turn(struct fixture *f, struct service *v, uint16_t port, uint64_t times)
{
	uint64_t end = clock_monotonic_ms() + PATIENCE_S * 1000;
	uint64_t until = look(v, port).checks + times;

	while (look(v, port).checks < until) {
		ev_run(f->loop, EVRUN_ONCE);
		if (clock_monotonic_ms() > end)
			fail_msg("port %u is not checked", port);
	}
}

static struct health *
start(struct fixture *f, struct service *v, struct health *former)
{
	struct health *h = health_new(f->loop, &v, 1);

	assert_non_null(h);
	health_start(h, former);
	health_free(former);
	return h;
}

static void
each_origin_is_checked(void **state)
{
	struct fixture *f = make();
	struct health *h = start(f, f->service, NULL);

	(void)state;
	assert_true(look(f->service, f->dead).up); /* until it is known */
	turn(f, f->service, f->dead, 3);
	turn(f, f->service, f->port, 3);
	assert_false(look(f->service, f->dead).up);
	assert_true(look(f->service, f->port).up);
	assert_int_equal(look(f->service, f->port).checks_failed, 0);
	assert_string_equal(
	    look(f->service, f->dead).why, "connect: Connection refused");
	health_free(h);
	drop(f);
}

/* What DNS says later is checked from then on; what it drops, no more. */
static void
a_new_origin_is_checked(void **state)
{
	struct fixture *f = make();
	struct health *h = start(f, f->service, NULL);
	struct app_origin now[2] = { local(f->port), local(1) };

	(void)state;
	turn(f, f->service, f->dead, 1);
	assert_int_equal(origins_replace(f->service->origins, now, 2), 0);
	turn(f, f->service, 1, 3);
	assert_false(look(f->service, 1).up);
	assert_int_equal(look(f->service, f->dead).slot, -1);
	health_free(h);
	drop(f);
}

static void
a_reload_goes_on(void **state)
{
	struct fixture *f = make();
	struct health *h = start(f, f->service, NULL);
	struct service *other;

	(void)state;
	turn(f, f->service, f->dead, 3);
	h = start(f, f->service, h);
	assert_false(look(f->service, f->dead).up);
	turn(f, f->service, f->dead, 2);
	/* another one takes its place: the old one is not checked any more */
	f->app.name[0] = 'b';
	other = make_service(&f->app);
	h = start(f, other, h);
	turn(f, other, f->dead, 1);
	turn(f, other, f->dead, 3);
	assert_false(look(other, f->dead).up);
	assert_int_equal(look(f->service, f->dead).checks, 5);
	/* and one without checks */
	f->app.check = (struct app_check){ 0 };
	service_release(other);
	other = make_service(&f->app);
	h = start(f, other, h);
	ev_run(f->loop, EVRUN_NOWAIT);
	assert_int_equal(ev_pending_count(f->loop), 0);
	assert_int_equal(look(other, f->dead).checks, 0);
	health_free(h);
	service_release(other);
	drop(f);
}

static void
pauses_differ(void **state)
{
	const struct app_check c = { .interval_ms = 10000 };
	double least = 1e9, most = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		double s = health_pause(&c, 1.5);

		least = s < least ? s : least;
		most = s > most ? s : most;
	}
	assert_true(least >= 7.5 && least < 7.6);
	assert_true(most <= 9.5 && most > 9.4);
	assert_true(health_pause(&c, 12) <= 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_origin_is_checked),
		cmocka_unit_test(a_new_origin_is_checked),
		cmocka_unit_test(a_reload_goes_on),
		cmocka_unit_test(pauses_differ),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
