#include "proxy/control_inner.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define MODE 0660
#define PAUSE_S 0.5
#define ROUNDS 8 /* of making and writing in one turn of the loop */

/* ---- the lines of an answer ---- */

json_t *
control_text(const char *text)
{
	json_t *whole = json_string(text), *clean;
	char *copy;

	if (whole != NULL || (copy = strdup(text)) == NULL)
		return whole;
	for (char *p = copy; *p != '\0'; p++)
		*p = (unsigned char)*p < 0x80 ? *p : '?';
	clean = json_string(copy);
	free(copy);
	return clean;
}

static void
put(struct control_connection *c, json_t *line)
{
	size_t room = CONTROL_OUT - c->len - 1;
	size_t n = line == NULL
	    ? 0
	    : json_dumpb(line, c->out + c->len, room,
		  JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));

	json_decref(line);
	if (n == 0 || n > room)
		return; /* no memory for it; the end counts what was told */
	c->out[c->len + n] = '\n';
	c->len += n + 1;
	c->rows++;
}

void
control_row(struct control_connection *c, json_t *row)
{
	put(c, row);
}

void
control_end(struct control_connection *c, const char *end, const char *fmt, ...)
{
	json_t *line =
	    json_pack("{s:s, s:I}", "end", end, "rows", (json_int_t)c->rows);
	char text[CONTROL_WHY_LEN + 64];
	va_list ap;

	if (fmt != NULL) {
		va_start(ap, fmt);
		vsnprintf(text, sizeof text, fmt, ap);
		va_end(ap);
		json_object_set_new(line, "message", json_string(text));
	}
	put(c, line);
	c->request.command = CONTROL_NONE;
	control_report_release(c->report);
	c->report = NULL;
	if (!c->live_asked) {
		free(c->live);
		c->live = NULL;
	}
}

/* ---- connections ---- */

static void
forget(struct control_connection *c)
{
	free(c->live);
	c->live = NULL;
	c->used = c->closing = false;
}

/* What a worker has is kept until it gives it back. */
static void
hang_up(struct control_connection *c)
{
	struct ev_loop *loop = c->control->proxy->loop;

	ev_io_stop(loop, &c->io);
	ev_timer_stop(loop, &c->timer);
	close(c->io.fd);
	control_report_release(c->report);
	c->report = NULL;
	free(c->out);
	c->out = NULL;
	c->request.command = CONTROL_NONE;
	c->waits = false;
	if (c->live_asked)
		c->closing = true;
	else
		forget(c);
}

static int
wanted(const struct control_connection *c)
{
	int events = c->deaf ? EV_READ : 0;

	if (c->at < c->len || (c->request.command != CONTROL_NONE && !c->waits))
		events |= EV_WRITE;
	/* one answer after the other: what is not read yet is not heard */
	if (c->request.command == CONTROL_NONE && c->at == c->len && !c->ended)
		events |= EV_READ;
	return events;
}

void
control_wake(struct control_connection *c)
{
	struct ev_loop *loop = c->control->proxy->loop;
	int events = wanted(c);

	ev_io_stop(loop, &c->io);
	ev_io_set(&c->io, c->io.fd, events);
	if (events != 0)
		ev_io_start(loop, &c->io);
}

/* ---- requests ---- */

static void
begin(struct control_connection *c, struct view line)
{
	char why[CONTROL_WHY_LEN];

	c->rows = 0;
	c->cursor = 0;
	if (control_request_parse(&c->request, line, why) != 0) {
		control_end(c, "bad-request", "%s", why);
		return;
	}
	if (control_command_changes(c->request.command))
		(void)control_may_act(c);
}

/* Begins with the next line that is there; false: there is none. */
static bool
next_request(struct control_connection *c)
{
	char *end = memchr(c->in, '\n', c->have);
	size_t len;

	if (end == NULL && c->have <= CONTROL_LINE_MAX && !c->ended)
		return false;
	if (c->have == 0)
		return false;
	/* the last line may lack its newline; one that is too long ends all,
	 * after its answer: closing now would be a reset, which may take it */
	len = end != NULL ? (size_t)(end - c->in) : c->have;
	if (end == NULL && c->have > CONTROL_LINE_MAX)
		c->deaf = true;
	begin(c, (struct view){ (const uint8_t *)c->in, len });
	len += end != NULL;
	c->have -= len;
	memmove(c->in, c->in + len, c->have);
	return true;
}

/* False: the connection is over. */
static bool
take_bytes(struct control_connection *c)
{
	ssize_t n;

	if (c->deaf)
		c->have = 0;
	n = read(c->io.fd, c->in + c->have, sizeof c->in - c->have);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (c->deaf) {
		c->thrown += (size_t)n;
		return n > 0 && c->thrown < CONTROL_THROWN_MAX;
	}
	if (n == 0)
		c->ended = true;
	c->have += (size_t)n;
	return true;
}

/* False: the connection is over. */
static bool
write_out(struct control_connection *c)
{
	ssize_t n = write(c->io.fd, c->out + c->at, c->len - c->at);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->at += (size_t)n;
	if (c->at == c->len) {
		c->at = c->len = 0;
		if (c->deaf)
			shutdown(c->io.fd, SHUT_WR);
	}
	if (n > 0)
		ev_timer_again(c->control->proxy->loop, &c->timer);
	return true;
}

/* Makes lines while there is room, and begins anew when one answer is done. */
static void
make(struct control_connection *c)
{
	if (c->at > 0 && c->len > CONTROL_OUT / 2) {
		memmove(c->out, c->out + c->at, c->len - c->at);
		c->len -= c->at;
		c->at = 0;
	}
	while (CONTROL_OUT - c->len > CONTROL_ROW_MAX && !c->waits) {
		if (c->request.command != CONTROL_NONE)
			control_answer(c);
		else if (c->deaf || !next_request(c))
			return;
	}
}

static void
connection_event(struct ev_loop *loop, ev_io *io, int events)
{
	struct control_connection *c = io->data;

	(void)loop;
	if ((events & EV_READ) && !take_bytes(c)) {
		hang_up(c);
		return;
	}
	for (int i = 0; i < ROUNDS; i++) {
		size_t before = c->len - c->at;

		make(c);
		if (c->at == c->len)
			break;
		before = c->len - c->at;
		if (!write_out(c)) {
			hang_up(c);
			return;
		}
		if (c->len - c->at == before)
			break; /* the reader is slow */
	}
	if (c->ended && c->at == c->len && !c->waits &&
	    c->request.command == CONTROL_NONE)
		hang_up(c);
	else
		control_wake(c);
}

/* Nothing was asked, or nothing read, for a while. */
static void
timer_event(struct ev_loop *loop, ev_timer *w, int events)
{
	struct control_connection *c = w->data;

	(void)events;
	if (c->waits)
		ev_timer_again(loop, w); /* that is our own doing */
	else
		hang_up(c);
}

static void
init(struct control_connection *c, struct control *control, int fd)
{
	memset(c, 0, sizeof *c);
	c->control = control;
	c->used = true;
	ev_io_init(&c->io, connection_event, fd, EV_READ);
	ev_init(&c->timer, timer_event);
	c->timer.repeat = CONTROL_IDLE_S;
	c->io.data = c->timer.data = c;
}

static int
start(struct control *control, int fd)
{
	struct ev_loop *loop = control->proxy->loop;
	struct control_connection *c = control->connections;

	while (c->used)
		if (++c == control->connections + CONTROL_CONNECTIONS)
			return -1;
	init(c, control, fd);
	c->out = malloc(CONTROL_OUT);
	if (c->out == NULL || unixsock_peer(fd, &c->peer) != 0) {
		free(c->out);
		c->used = false;
		return -1;
	}
	ev_io_start(loop, &c->io);
	ev_timer_again(loop, &c->timer);
	return 0;
}

/* ---- the listener ---- */

static void
pause_event(struct ev_loop *loop, ev_timer *w, int events)
{
	struct control *control = w->data;

	(void)events;
	ev_io_start(loop, &control->io);
}

static void
accept_fault(struct control *c)
{
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	log_limited(&c->fault, LOG_LEVEL_WARNING, "control: accept: %m");
	ev_io_stop(c->proxy->loop, &c->io);
	ev_timer_set(&c->pause, PAUSE_S, 0);
	ev_timer_start(c->proxy->loop, &c->pause);
}

static void
accept_event(struct ev_loop *loop, ev_io *io, int events)
{
	static const char full[] =
	    "{\"end\":\"refused\",\"rows\":0,\"message\":"
	    "\"too many control connections\"}\n";
	struct control *control = io->data;
	int fd = unixsock_accept(control->fd);

	(void)loop;
	(void)events;
	if (fd < 0) {
		accept_fault(control);
		return;
	}
	if (start(control, fd) == 0)
		return;
	/* an empty queue takes it, or the peer is gone */
	if (write(fd, full, sizeof full - 1) < 0)
		log_debug("control: %m");
	close(fd);
}

/* ---- what workers give back ---- */

static void
answered_event(struct ev_loop *loop, ev_async *w, int events)
{
	struct control *control = w->data;
	struct live_ask *a = live_box_take(&control->answers);

	(void)loop;
	(void)events;
	while (a != NULL) {
		struct live_ask *next = a->next;
		struct control_connection *c = a->context;

		c->live_asked = c->waits = false;
		if (c->closing) {
			forget(c);
		} else {
			control_listed(c);
			control_wake(c);
		}
		a = next;
	}
}

void
control_stopping(struct control *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < CONTROL_CONNECTIONS; i++) {
		struct control_connection *k = &c->connections[i];

		if (k->waits && !k->live_asked) { /* for a reload, a drain */
			k->waits = false;
			control_wake(k);
		}
	}
	for (size_t i = 0; i < c->proxy->worker_count; i++)
		if (pworker_ended(c->proxy->workers[i]))
			pworker_unask(c->proxy->workers[i]);
}

/* ---- making and ending ---- */

/* 0 and *gid, (gid_t)-1 for none; -1 after a log_error line. */
static int
find_group(const char *name, gid_t *gid)
{
	const struct group *g;

	*gid = (gid_t)-1;
	if (name == NULL)
		return 0;
	g = getgrnam(name);
	if (g == NULL) {
		log_error("control_group: there is no group %s", name);
		return -1;
	}
	*gid = g->gr_gid;
	return 0;
}

/* The directory's owner can remove the file at the end. */
static void
make_directory(const struct unixsock_place *place, const char *user)
{
	const struct passwd *pw = user != NULL ? getpwnam(user) : NULL;

	unixsock_make_directory(place, pw != NULL ? pw->pw_uid : UNIXSOCK_OURS,
	    pw != NULL ? pw->pw_gid : UNIXSOCK_OURS);
}

struct control *
control_open(const char *path, const char *group, const char *user)
{
	struct control *c = calloc(1, sizeof *c);
	struct unixsock_place place = { path, SOCK_STREAM, MODE, UNIXSOCK_OURS,
		UNIXSOCK_OURS };
	char why[UNIXSOCK_WHY_LEN];

	if (c == NULL || (c->path = strdup(path)) == NULL) {
		log_error("control: %s", strerror(errno));
		free(c);
		return NULL;
	}
	c->fd = -1;
	c->owner = geteuid();
	if (find_group(group, &place.group) == 0) {
		make_directory(&place, user);
		c->fd = unixsock_listen(&place, &c->file, why);
		if (c->fd < 0)
			log_error("control: %s: %s", path, why);
	}
	if (c->fd >= 0)
		return c;
	free(c->path);
	free(c);
	return NULL;
}

void
control_start(struct control *c, struct proxy *p)
{
	if (c == NULL)
		return;
	c->proxy = p;
	ev_io_init(&c->io, accept_event, c->fd, EV_READ);
	ev_async_init(&c->answered, answered_event);
	ev_timer_init(&c->pause, pause_event, PAUSE_S, 0);
	c->io.data = c->answered.data = c->pause.data = c;
	ev_io_start(p->loop, &c->io);
	ev_async_start(p->loop, &c->answered);
	log_info("control socket %s", c->path);
}

void
control_close(struct control *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < CONTROL_CONNECTIONS; i++) {
		struct control_connection *k = &c->connections[i];

		k->live_asked = false; /* no worker is left */
		if (k->closing)
			forget(k);
		else if (k->used)
			hang_up(k);
	}
	if (c->proxy != NULL) {
		ev_io_stop(c->proxy->loop, &c->io);
		ev_timer_stop(c->proxy->loop, &c->pause);
		ev_async_stop(c->proxy->loop, &c->answered);
	}
	close(c->fd);
	if (unixsock_remove(c->path, &c->file) != 0 && errno != ESTALE)
		log_info("control socket %s stays there: %m; the next start "
			 "replaces it",
		    c->path);
	free(c->path);
	free(c);
}
