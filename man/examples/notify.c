/* SPDX-License-Identifier: ISC */

/*
 * notify: a daemon that tells its supervisor how it is, as sd_notify(3) does.
 *
 *	NOTIFY_SOCKET=/path notify [status]
 *	NOTIFY_SOCKET=@name notify [status]
 *	notify_server /path notify [status]
 *
 * It sends READY=1 with STATUS and MAINPID once it is set up; WATCHDOG=1 in half
 * of the time that WATCHDOG_USEC leaves it, if that is meant for this process
 * (WATCHDOG_PID); STOPPING=1 at SIGTERM and SIGINT, which end it.  A supervisor
 * that is started again is found again.  Without NOTIFY_SOCKET nobody wants to
 * know: it says so and ends with 0.
 */

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dgram.h"

#define SECOND	UINT64_C(1000000000)

static struct dgram_loop *loop;
static uint64_t watchdog_ns;	/* between two of them; 0: none is wanted */

static void
on_signal(int sig)
{
	(void)sig;
	dgram_loop_stop(loop);
}

static void
on_error(struct dgram_socket *s, const struct dgram_error *e, void *arg)
{
	char text[640];

	(void)s, (void)arg;
	if (dgram_error_format(e, text, sizeof(text)) > 0)
		fprintf(stderr, "notify: %s\n", text);
}

/* ---- what the supervisor has put into the environment ---- */

static int
connect_to(struct dgram_socket *s, const char *where)
{
	struct dgram_addr a;
	int r;

	if (where[0] == '/')
		return dgram_connect_path(s, where);
	/* systemd may also say vsock:..., which is no AF_UNIX. */
	if (where[0] != '@')
		return -EAFNOSUPPORT;
	r = dgram_addr_abstract(&a, where + 1, strlen(where + 1));
	return r < 0 ? r : dgram_connect_addr(s, &a);
}

/* Half of WATCHDOG_USEC, as sd_watchdog_enabled(3) advises. */
static uint64_t
watchdog_time(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");
	unsigned long long n;
	char *end;

	if (usec == NULL || *usec < '0' || *usec > '9')
		return 0;
	if (pid != NULL && strtol(pid, NULL, 10) != (long)getpid())
		return 0;
	errno = 0;
	n = strtoull(usec, &end, 10);
	if (*end != '\0' || errno != 0 || n > UINT64_MAX / 1000)
		return 0;
	return (uint64_t)n * 1000 / 2;
}

/* ---- telling ---- */

/* The text is copied if there is no `done`; it is dropped after `within` ns. */
static int
tell(struct dgram_socket *s, const char *text, uint64_t within,
    dgram_done_fn *done)
{
	/* Borrowed until done is called: there is one such call only. */
	static struct iovec iov;
	static struct dgram_datagram d;

	iov.iov_base = (void *)(uintptr_t)text;
	iov.iov_len = strlen(text);
	memset(&d, 0, sizeof(d));
	d.iov = &iov;
	d.iovcnt = 1;
	if (within > 0)
		d.deadline_ns = dgram_loop_now(loop) + within;
	return dgram_send_batch(s, &d, 1, done, NULL);
}

/* One that waits longer than until the next says nothing any more. */
static void
on_watchdog(struct dgram_timer *t, void *arg)
{
	(void)t;
	(void)tell(arg, "WATCHDOG=1", watchdog_ns, NULL);
}

/* This is what the daemon does for a living. */
static void
on_work(struct dgram_timer *t, void *arg)
{
	(void)t, (void)arg;
}

static int
tell_ready(struct dgram_socket *s, const char *status)
{
	char text[512];

	/* Behind a newline would begin an assignment of its own. */
	(void)snprintf(text, sizeof(text), "READY=1\nMAINPID=%ld\nSTATUS=%.*s",
	    (long)getpid(), (int)strcspn(status, "\n"), status);
	return tell(s, text, 0, NULL);
}

static void
on_stopping(struct dgram_socket *s, int status, void *arg)
{
	(void)status, (void)arg;
	/* What still waits for a supervisor that is gone is given up. */
	(void)dgram_close(s, NULL, NULL);
}

static int
run(struct dgram_socket *s, const char *status)
{
	struct dgram_timer work, watchdog;
	int r;

	dgram_timer_init(&work, loop, on_work, NULL);
	dgram_timer_init(&watchdog, loop, on_watchdog, s);
	r = tell_ready(s, status);
	if (r == 0)
		r = dgram_timer_start(&work, 60 * SECOND, 60 * SECOND);
	if (r == 0 && watchdog_ns > 0)
		r = dgram_timer_start(&watchdog, watchdog_ns, watchdog_ns);
	if (r == 0)
		r = dgram_loop_run(loop);
	dgram_timer_stop(&watchdog);
	dgram_timer_stop(&work);
	if (r < 0)
		return r;
	/* A signal came.  A second one does not wait for this to be told. */
	dgram_loop_update(loop);
	r = tell(s, "STOPPING=1", SECOND, on_stopping);
	return r < 0 ? r : dgram_loop_run(loop);
}

int
main(int argc, char **argv)
{
	static const struct dgram_events events = { .error = on_error };
	const struct dgram_options options = { .type = DGRAM_UNIX,
	    .reconnect = true, .events = &events };
	const char *where = getenv("NOTIFY_SOCKET");
	struct dgram_socket *s;
	int r;

	if (argc > 2) {
		fprintf(stderr, "usage: notify [status]\n");
		return 2;
	}
	if (where == NULL || *where == '\0') {
		printf("NOTIFY_SOCKET is not set: nobody to notify\n");
		return 0;
	}
	watchdog_ns = watchdog_time();
	r = dgram_loop_new(NULL, &loop);
	if (r == 0) {
		(void)signal(SIGTERM, on_signal);
		(void)signal(SIGINT, on_signal);
		r = dgram_open(loop, &options, &s);
		if (r == 0)
			r = connect_to(s, where);
		if (r == 0)
			r = run(s, argc == 2 ? argv[1] : "up");
		/* The handler would find no loop. */
		(void)signal(SIGTERM, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);
		(void)dgram_loop_free(loop);
	}
	if (r < 0)
		fprintf(stderr, "notify: %s: %s\n", where, dgram_strerror(r));
	return r < 0;
}
