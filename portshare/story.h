/*
 * `portshare story`: one port, two servers, as the talk "Socket to me" told it
 * in 2019, with the real programs. Each step is checked as it is told.
 */
#ifndef PORTSHARE_STORY_H
#define PORTSHARE_STORY_H

#include "portshare/echo.h"
#include "portshare/player.h"

#define STORY_ORIGIN_PORT 7000

struct story {
	struct tale tale;
	struct stage stage;
	struct player time, proxy;
	struct player watcher; /* portshare watch */
	struct echo origin; /* the customer's own server */
	struct echo stranger; /* who tries to take the port */
	char public_key[64];
	const char *listen; /* the time server's address */
	const char *fail; /* of the guard, NULL: not written */
	unsigned int asked_time, asked_datagrams,
	    asked_streams; /* since start */
	struct player_output out; /* of the program that ran last */
};

/* Chapters: true when all came out as told. */
bool story_time_server(struct story *s);
bool story_refusal(struct story *s);
bool story_option(struct story *s);
bool story_tcp_half(struct story *s);
bool story_reuseport(struct story *s);
bool story_dispatch(struct story *s);
bool story_strangers(struct story *s);
bool story_gap(struct story *s);
bool story_lives(struct story *s); /* --syscalls only */
bool story_repair(struct story *s);
bool story_guard(struct story *s);
bool story_guard_gap(struct story *s);
bool story_demux(struct story *s);
bool story_books(struct story *s);

/* What chapters are made of (story_scene.c): each tells, does and checks. */

/* Writes both configurations; tells what is new in them when `show`. */
enum story_show { STORY_SILENT = 0, STORY_TIME, STORY_PROXY, STORY_SHARING };
bool
story_write(struct story *s, const char *mode, bool tcp, enum story_show show);
/* `repair`: the words before the program's own, NULL: none. */
bool story_start(struct story *s, struct player *p, const char *const repair[]);
bool story_stop(struct story *s, struct player *p); /* if it runs */
bool story_stop_both(struct story *s);
/* Both anew, the time server first, in this mode. */
bool story_raise(struct story *s, const char *mode, bool tcp);
bool
story_predict(struct story *s, const char *const argv[], const char *words);
bool story_who(struct story *s, const char *protocol, const char *address,
    const struct player *winner);
/* `--udp` or `--tcp` in `transport`. */
bool
story_time_answers(struct story *s, const char *address, const char *transport);
bool story_time_is_silent(struct story *s, const char *address);
bool story_customer_answers(struct story *s, enum sock_proto proto);
/* Strangers are refused, also with the flag that would help. */
bool story_keeps_out(struct story *s, enum sock_proto proto);
/* What the daemons called since it was told last (--syscalls). */
void story_calls(struct story *s);

/* What the time server prints on SIGUSR1, "": nothing; and a number in it, -1:
 * there is none. */
const char *story_report(struct story *s);
long story_counted(const char *report, const char *name);

/* "192.0.2.1:2002" */
const char *story_place(
    char buf[static ADDR_STR_LEN], const struct story *s, const char *address);

#endif
