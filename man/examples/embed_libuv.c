/* SPDX-License-Identifier: ISC */

/*
 * embed_libuv: a UDP echo on a loop that runs inside of libuv's.
 *
 *	embed_libuv port
 *
 * libuv has a timer of its own, which tells each second how many datagrams were
 * answered, and the signals: SIGTERM and SIGINT end it.  To put one loop into
 * the other takes a uv_poll_t for the descriptor, a uv_timer_t for the timeout
 * and the functions turn() and arm().
 *
 * The port is one of the loopback: echo.c tells what an echo for others has to
 * look at.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "dgram.h"

/* A loop inside of a uv_loop_t. */
struct embedded {
	struct dgram_loop *loop;
	uv_poll_t readable;
	uv_timer_t due;
	int failed;		/* what ended it, or 0 */
};

static unsigned long answered;

/* ---- the loop inside of the other ---- */

static void	on_due(uv_timer_t *);

/* What is due when nothing comes to the descriptor.  Once: asked each time. */
static void
arm(struct embedded *e)
{
	int ms = dgram_loop_timeout(e->loop);

	if (ms < 0)
		(void)uv_timer_stop(&e->due);
	else
		(void)uv_timer_start(&e->due, on_due, (uint64_t)ms, 0);
}

/* The descriptor is readable, or the time has come: the same is to be done. */
static void
turn(struct embedded *e)
{
	int r;

	r = dgram_loop_run_once(e->loop, 0);
	if (r < 0) {
		e->failed = r;
		uv_stop(e->due.loop);
		return;
	}
	arm(e);
}

static void
on_due(uv_timer_t *t)
{
	turn(t->data);
}

/* An error of the descriptor is the loop's to find out. */
static void
on_readable(uv_poll_t *p, int status, int events)
{
	(void)status, (void)events;
	turn(p->data);
}

static int
attach(struct embedded *e, uv_loop_t *uv, struct dgram_loop *l)
{
	int fd, r;

	memset(e, 0, sizeof(*e));
	e->loop = l;
	fd = dgram_loop_fd(l);
	if (fd < 0)
		return fd;
	/* uv_poll_t is level-triggered. */
	r = uv_poll_init(uv, &e->readable, fd);
	if (r < 0)
		return r;
	e->readable.data = e;
	(void)uv_timer_init(uv, &e->due);
	e->due.data = e;
	r = uv_poll_start(&e->readable, UV_READABLE, on_readable);
	arm(e);
	return r;
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
on_second(uv_timer_t *t)
{
	unsigned long *told = t->data;

	if (answered != *told)
		fprintf(stderr, "%lu answered\n", answered);
	*told = answered;
}

static void
on_signal(uv_signal_t *s, int sig)
{
	(void)sig;
	uv_stop(s->loop);
}

static void
close_handle(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

/* libuv's loop with all that is on it, until a signal; 0 or an error. */
static int
run(uv_loop_t *uv, struct dgram_loop *l)
{
	unsigned long told = 0;
	uv_signal_t term, intr;
	struct embedded e;
	uv_timer_t tick;
	int r;

	tick.data = &told;
	r = attach(&e, uv, l);
	if (r == 0)
		r = uv_signal_init(uv, &term);
	if (r == 0)
		r = uv_signal_start(&term, on_signal, SIGTERM);
	if (r == 0)
		r = uv_signal_init(uv, &intr);
	if (r == 0)
		r = uv_signal_start(&intr, on_signal, SIGINT);
	if (r == 0)
		r = uv_timer_init(uv, &tick);
	if (r == 0)
		r = uv_timer_start(&tick, on_second, 1000, 1000);
	if (r == 0) {
		(void)uv_run(uv, UV_RUN_DEFAULT);
		r = e.failed;
	}
	/* The handles go before the loop does, and its descriptor with it. */
	uv_walk(uv, close_handle, NULL);
	(void)uv_run(uv, UV_RUN_DEFAULT);
	return r;
}

int
main(int argc, char **argv)
{
	struct dgram_loop *l;
	uv_loop_t uv;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: embed_libuv port\n");
		return 2;
	}
	r = uv_loop_init(&uv);
	if (r < 0) {
		fprintf(stderr, "embed_libuv: %s\n", uv_strerror(r));
		return 1;
	}
	r = dgram_loop_new(NULL, &l);
	if (r == 0) {
		r = listen_on(l, argv[1]);
		if (r == 0)
			r = run(&uv, l);
		(void)dgram_loop_free(l);
	}
	(void)uv_loop_close(&uv);
	/* On Unix libuv's errors are -errno, too. */
	if (r < 0)
		fprintf(stderr, "embed_libuv: %s\n", dgram_strerror(r));
	return r < 0;
}
