/* SPDX-License-Identifier: ISC */

/*
 * embed_libevent: a UDP echo on a loop that runs inside of libevent's.
 *
 *	embed_libevent port
 *
 * libevent has a timer of its own, which tells each second how many datagrams
 * were answered, and the signals: SIGTERM and SIGINT end it.  To put one loop
 * into the other takes an event for the descriptor, another for the timeout and
 * the two functions turn() and arm().
 *
 * The port is one of the loopback: echo.c tells what an echo for others has to
 * look at.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "dgram.h"

/* A loop inside of an event_base. */
struct embedded {
	struct dgram_loop *loop;
	struct event_base *base;
	struct event *readable;
	struct event *due;
	int failed;		/* what ended it, or 0 */
};

static unsigned long answered;

/* ---- the loop inside of the other ---- */

/* What is due when nothing comes to the descriptor.  Once: asked each time. */
static void
arm(struct embedded *e)
{
	struct timeval tv;
	int ms = dgram_loop_timeout(e->loop);

	if (ms < 0) {
		(void)event_del(e->due);
		return;
	}
	tv.tv_sec = ms / 1000;
	tv.tv_usec = ms % 1000 * 1000;
	(void)event_add(e->due, &tv);
}

/* The descriptor is readable, or the time has come: the same is to be done. */
static void
turn(evutil_socket_t fd, short what, void *arg)
{
	struct embedded *e = arg;
	int r;

	(void)fd, (void)what;
	r = dgram_loop_run_once(e->loop, 0);
	if (r < 0) {
		e->failed = r;
		(void)event_base_loopbreak(e->base);
		return;
	}
	arm(e);
}

static void
detach(struct embedded *e)
{
	if (e->readable != NULL)
		event_free(e->readable);
	if (e->due != NULL)
		event_free(e->due);
}

static int
attach(struct embedded *e, struct event_base *base, struct dgram_loop *l)
{
	int fd;

	memset(e, 0, sizeof(*e));
	e->loop = l;
	e->base = base;
	fd = dgram_loop_fd(l);
	if (fd < 0)
		return fd;
	/* Level-triggered, libevent's default: without EV_ET. */
	e->readable = event_new(base, fd, EV_READ | EV_PERSIST, turn, e);
	e->due = evtimer_new(base, turn, e);
	if (e->readable == NULL || e->due == NULL ||
	    event_add(e->readable, NULL) < 0) {
		detach(e);
		return -ENOMEM;
	}
	arm(e);
	return 0;
}

/* ---- the program ---- */

static void
on_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < n; i++)
		answered += dgram_reply(s, &m[i], m[i].data, m[i].size) == 0;
}

static int
listen_on(struct dgram_loop *l, const char *port)
{
	static const struct dgram_events events = { .message = on_message };
	const struct dgram_options options = { .type = DGRAM_UDP4,
	    .events = &events };
	struct dgram_socket *s;
	struct dgram_addr a;
	char text[64];
	int r;

	r = dgram_addr_parse(&a, "127.0.0.1", atoi(port));
	if (r == 0)
		r = dgram_open(l, &options, &s);
	if (r == 0)
		r = dgram_bind_addr(s, &a);
	if (r == 0)
		r = dgram_address(s, &a);
	if (r == 0 && dgram_addr_format(&a, text, sizeof(text)) > 0)
		printf("listening on %s\n", text);
	(void)fflush(stdout);
	return r;
}

static void
on_second(evutil_socket_t fd, short what, void *arg)
{
	unsigned long *told = arg;

	(void)fd, (void)what;
	if (answered != *told)
		fprintf(stderr, "%lu answered\n", answered);
	*told = answered;
}

static void
on_signal(evutil_socket_t sig, short what, void *arg)
{
	(void)sig, (void)what;
	(void)event_base_loopbreak(arg);
}

/* libevent's loop with all that is on it, until a signal; 0 or an error. */
static int
run(struct event_base *base, struct dgram_loop *l)
{
	const struct timeval second = { .tv_sec = 1 };
	unsigned long told = 0;
	struct event *term, *intr, *tick;
	struct embedded e;
	int r;

	term = evsignal_new(base, SIGTERM, on_signal, base);
	intr = evsignal_new(base, SIGINT, on_signal, base);
	tick = event_new(base, -1, EV_PERSIST, on_second, &told);
	r = attach(&e, base, l);
	if (r == 0) {
		if (term == NULL || event_add(term, NULL) < 0 ||
		    intr == NULL || event_add(intr, NULL) < 0 ||
		    tick == NULL || event_add(tick, &second) < 0 ||
		    event_base_dispatch(base) < 0)
			r = -ENOMEM;
		else
			r = e.failed;
		/* Before the loop goes, and its descriptor with it. */
		detach(&e);
	}
	if (tick != NULL)
		event_free(tick);
	if (intr != NULL)
		event_free(intr);
	if (term != NULL)
		event_free(term);
	return r;
}

int
main(int argc, char **argv)
{
	struct event_base *base;
	struct dgram_loop *l;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: embed_libevent port\n");
		return 2;
	}
	base = event_base_new();
	if (base == NULL) {
		fprintf(stderr, "embed_libevent: no event_base\n");
		return 1;
	}
	r = dgram_loop_new(NULL, &l);
	if (r == 0) {
		r = listen_on(l, argv[1]);
		if (r == 0)
			r = run(base, l);
		(void)dgram_loop_free(l);
	}
	event_base_free(base);
	if (r < 0)
		fprintf(stderr, "embed_libevent: %s\n", dgram_strerror(r));
	return r < 0;
}
