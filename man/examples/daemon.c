/* SPDX-License-Identifier: ISC */

/*
 * daemon: an echo that goes into the background.
 *
 *	daemon port | /path
 *
 * All is set up in the foreground, where a port in use or a path that cannot be
 * made is told on stderr and by the exit status.  Then the loop goes on in a
 * child, and the parent prints what is listened on and the pid of the child.
 * SIGTERM ends the daemon; it removes its path.
 *
 * The port is one of the loopback: echo.c tells what an echo for others has to
 * look at.  A path begins with "/", for a daemon leaves the directory it was
 * started in.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dgram.h"

static struct dgram_loop *loop;

static void
on_signal(int sig)
{
	(void)sig;
	dgram_loop_stop(loop);
}

static void
on_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < n; i++) {
		/* A sender without a path cannot be answered. */
		if (m[i].remote->len > 0)
			(void)dgram_reply(s, &m[i], m[i].data, m[i].size);
	}
}

static int
listen_on(const char *where, struct dgram_socket **s)
{
	static const struct dgram_events events = { .message = on_message };
	struct dgram_options options = { .events = &events };
	struct dgram_addr a;
	char *end;
	long port;
	int r;

	if (where[0] == '/') {
		options.type = DGRAM_UNIX;
		r = dgram_addr_unix(&a, where);
	} else {
		options.type = DGRAM_UDP4;
		port = strtol(where, &end, 10);
		if (end == where || *end != '\0' || port < 0 || port > 65535)
			return DGRAM_ERR_SOCKET_BAD_PORT;
		r = dgram_addr_parse(&a, "127.0.0.1", (int)port);
	}
	if (r == 0)
		r = dgram_open(loop, &options, s);
	if (r == 0)
		r = dgram_bind_addr(*s, &a);
	return r;
}

/* Nothing is read from or written to a terminal that may go away. */
static int
leave_terminal(void)
{
	int fd, k;

	fd = open("/dev/null", O_RDWR);
	if (fd < 0 || setsid() < 0 || chdir("/") < 0)
		return -1;
	for (k = 0; k <= STDERR_FILENO; k++) {
		if (dup2(fd, k) < 0)
			return -1;
	}
	if (fd > STDERR_FILENO)
		(void)close(fd);
	return 0;
}

/* The child: runs the loop.  Its status; `ready` is told when all is well. */
static int
run_daemon(int ready)
{
	int r;

	/* Before anything else is done with the loop. */
	r = dgram_loop_fork(loop, DGRAM_FORK_TAKE_PATHS);
	if (r < 0) {
		/* Not ours yet: the parent frees it. */
		fprintf(stderr, "daemon: %s\n", dgram_strerror(r));
		return 1;
	}
	if (leave_terminal() < 0) {
		perror("daemon");
		r = -1;
	}
	if (r == 0 && write(ready, "", 1) == 1) {
		(void)close(ready);
		r = dgram_loop_run(loop);
	}
	/* The handler would find no loop. */
	(void)signal(SIGTERM, SIG_IGN);
	/* Closes the socket, which removes the path. */
	(void)dgram_loop_free(loop);
	return r < 0;
}

/* The parent: 0 when the child has told that it is ready. */
static int
wait_until(int ready)
{
	char c;

	return read(ready, &c, 1) == 1 ? 0 : -1;
}

static int
start_daemon(struct dgram_socket *s)
{
	struct dgram_addr a;
	char text[128] = "";
	int ready[2];
	pid_t pid;

	if (dgram_address(s, &a) == 0)
		(void)dgram_addr_format(&a, text, sizeof(text));
	if (pipe(ready) < 0 || (pid = fork()) < 0) {
		perror("daemon");
		return 1;
	}
	if (pid == 0) {
		(void)close(ready[0]);
		_exit(run_daemon(ready[1]));
	}
	(void)close(ready[1]);
	if (wait_until(ready[0]) < 0) {
		fprintf(stderr, "daemon: not started\n");
		return 1;
	}
	printf("listening on %s\npid %ld\n", text, (long)pid);
	(void)fflush(stdout);
	/* The loop is not freed: path and port are the child's. */
	_exit(0);
}

int
main(int argc, char **argv)
{
	struct dgram_socket *s;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: daemon port | /path\n");
		return 2;
	}
	r = dgram_loop_new(NULL, &loop);
	if (r < 0) {
		fprintf(stderr, "daemon: %s\n", dgram_strerror(r));
		return 1;
	}
	(void)signal(SIGTERM, on_signal);
	r = listen_on(argv[1], &s);
	if (r < 0) {
		fprintf(stderr, "daemon: %s: %s\n", argv[1],
		    dgram_strerror(r));
		r = 1;
	} else {
		r = start_daemon(s);
	}
	/* The handler would find no loop. */
	(void)signal(SIGTERM, SIG_IGN);
	(void)dgram_loop_free(loop);
	return r;
}
