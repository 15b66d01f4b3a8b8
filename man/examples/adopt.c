/* SPDX-License-Identifier: ISC */

/*
 * adopt: an echo on a socket that another program has bound.
 *
 *	adopt [seconds]
 *
 * By systemd, a socket unit with ListenDatagram=: LISTEN_PID and LISTEN_FDS are
 * in the environment, the sockets are the descriptors from 3 on.  By inetd, a
 * line with "dgram udp wait": the socket is descriptor 0, and it is inetd's
 * again when this program ends, which it does when nothing has come for the
 * seconds, if they are given.  SIGTERM and SIGINT end it, too.
 *
 * In Node: bind({ fd }), which takes no descriptor 0, and needs the type; here
 * the descriptor is asked for its type, and whether it is bound and connected.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dgram.h"

#define FIRST_FD	3	/* sd_listen_fds(3) */

static struct dgram_loop *loop;
static struct dgram_timer quiet;
static uint64_t quiet_ns;

static void
on_signal(int sig)
{
	(void)sig;
	dgram_loop_stop(loop);
}

static void
on_quiet(struct dgram_timer *t, void *arg)
{
	(void)t, (void)arg;
	dgram_loop_stop(loop);
}

static int
start_waiting(void)
{
	return quiet_ns == 0 ? 0 : dgram_timer_start(&quiet, quiet_ns, 0);
}

/*
 * Not to where an echo or the like may live, see echo.c; nor to a path that the
 * sender does not have.
 */
static int
may_answer(struct dgram_socket *s, const struct dgram_addr *remote)
{
	struct dgram_addr own;
	int port = dgram_addr_port(remote);

	if (dgram_address(s, &own) < 0 || remote->len == 0)
		return 0;
	if (own.u.sa.sa_family == AF_UNIX)
		return !dgram_addr_equal(&own, remote);
	return port >= 1024 && port != dgram_addr_port(&own);
}

static void
on_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < n; i++) {
		if (may_answer(s, m[i].remote))
			(void)dgram_reply(s, &m[i], m[i].data, m[i].size);
	}
	(void)start_waiting();
}

/* With inetd the standard output is the socket: nothing is printed there. */
static void
on_listening(struct dgram_socket *s, void *arg)
{
	struct dgram_addr a;
	char text[160];

	(void)arg;
	if (dgram_fileno(s) < FIRST_FD || dgram_address(s, &a) < 0 ||
	    dgram_addr_format(&a, text, sizeof(text)) < 0)
		return;
	printf("listening on %s\n", text);
	(void)fflush(stdout);
}

/* How many systemd has passed; 0: it did not start this program. */
static int
passed(void)
{
	const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");

	return pid != NULL && n != NULL && atol(pid) == (long)getpid() ?
	    atoi(n) : 0;
}

static int
adopt(void)
{
	static const struct dgram_events events = {
		.listening = on_listening,
		.message = on_message,
	};
	const struct dgram_options options = { .events = &events };
	struct dgram_socket *s;
	int n = passed(), r = 0, i;

	if (n == 0)
		return dgram_open_fd(loop, &options, STDIN_FILENO, &s);
	for (i = 0; i < n && r == 0; i++)
		r = dgram_open_fd(loop, &options, FIRST_FD + i, &s);
	return r;
}

int
main(int argc, char **argv)
{
	int r;

	if (argc > 2) {
		fprintf(stderr, "usage: adopt [seconds]\n");
		return 2;
	}
	if (argc == 2)
		quiet_ns = (uint64_t)(atof(argv[1]) * 1e9);
	r = dgram_loop_new(NULL, &loop);
	if (r == 0) {
		(void)signal(SIGTERM, on_signal);
		(void)signal(SIGINT, on_signal);
		dgram_timer_init(&quiet, loop, on_quiet, NULL);
		r = adopt();
		if (r == 0)
			r = start_waiting();
		if (r == 0)
			r = dgram_loop_run(loop);
		/* The handler would find no loop. */
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);
		(void)dgram_loop_free(loop);
	}
	if (r < 0)
		fprintf(stderr, "adopt: %s\n", dgram_strerror(r));
	return r < 0;
}
