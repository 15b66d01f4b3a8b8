/* SPDX-License-Identifier: ISC */

/*
 * workers: two processes that receive from one socket.
 *
 *	workers port
 *
 * What a program does in Node's cluster with exclusive: false.  The socket is
 * bound once.  One worker has it by fork(2) and goes on with the loop.  The
 * other is a program of its own, here this one again, which is sent the
 * descriptor over an AF_UNIX socket and adopts it, as bind({ fd }) does.  Each
 * datagram comes to one of them; the answer says to which.
 *
 * The one that started them receives nothing.  SIGTERM and SIGINT end it and
 * the workers; the end of one worker is the end of the other.
 */

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dgram.h"

#define PASSED_ON	3	/* where the other program finds its pair */

static struct dgram_loop *loop;
static volatile pid_t workers[2];

/* ---- a worker ---- */

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
	char answer[64];
	size_t i;
	int k;

	(void)arg;
	k = snprintf(answer, sizeof(answer), "worker %ld", (long)getpid());
	for (i = 0; i < n; i++) {
		/* No answers to where answers may come from, see echo.c. */
		if (dgram_addr_port(m[i].remote) >= 1024)
			(void)dgram_reply(s, &m[i], answer, (size_t)k);
	}
}

static const struct dgram_events events = { .message = on_message };

static int
work(const char *how)
{
	sigset_t none;
	int r;

	(void)signal(SIGTERM, on_signal);
	(void)signal(SIGINT, on_signal);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	printf("worker %ld by %s\n", (long)getpid(), how);
	(void)fflush(stdout);
	r = dgram_loop_run(loop);
	/* The handler would find no loop. */
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)dgram_loop_free(loop);
	return r;
}

/* After fork(2): the loop and the socket are there, and receive from now on. */
static int
work_on(struct dgram_socket *s)
{
	int r;

	r = dgram_loop_fork(loop, 0);
	if (r == 0)
		r = dgram_set_events(s, &events, NULL);
	return r < 0 ? r : work("fork");
}

/* ---- a descriptor by message ---- */

union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int))];
};

static void
prepare(struct msghdr *h, struct iovec *iov, union control *c)
{
	static char byte;

	iov->iov_base = &byte;
	iov->iov_len = 1;
	memset(c, 0, sizeof(*c));
	memset(h, 0, sizeof(*h));
	h->msg_iov = iov;
	h->msg_iovlen = 1;
	h->msg_control = c->room;
	h->msg_controllen = sizeof(c->room);
}

static int
pass(int to, int fd)
{
	union control c;
	struct iovec iov;
	struct msghdr h;
	struct cmsghdr *p;

	prepare(&h, &iov, &c);
	p = CMSG_FIRSTHDR(&h);
	p->cmsg_level = SOL_SOCKET;
	p->cmsg_type = SCM_RIGHTS;
	p->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(p), &fd, sizeof(fd));
	return sendmsg(to, &h, 0) == 1 ? 0 : -errno;
}

static int
take(int from)
{
	union control c;
	struct iovec iov;
	struct msghdr h;
	struct cmsghdr *p;
	int fd;

	prepare(&h, &iov, &c);
	if (recvmsg(from, &h, 0) < 0)
		return -errno;
	p = CMSG_FIRSTHDR(&h);
	if (p == NULL || p->cmsg_level != SOL_SOCKET ||
	    p->cmsg_type != SCM_RIGHTS)
		return -EBADF;
	memcpy(&fd, CMSG_DATA(p), sizeof(fd));
	return fd;
}

/* The other program. */
static int
work_from(int from)
{
	const struct dgram_options options = { .events = &events };
	struct dgram_socket *s;
	int fd = take(from), r;

	(void)close(from);
	if (fd < 0)
		return fd;
	r = dgram_loop_new(NULL, &loop);
	if (r == 0)
		r = dgram_open_fd(loop, &options, fd, &s);
	return r < 0 ? r : work("message");
}

static int
start_program(char *self, int fd)
{
	static char how[] = "-p";
	char *args[3];
	int pair[2], r;

	args[0] = self;
	args[1] = how;
	args[2] = NULL;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return -errno;
	workers[1] = fork();
	if (workers[1] == 0) {
		/* What the library has opened is closed by execvp(). */
		(void)close(pair[0]);
		if (dup2(pair[1], PASSED_ON) >= 0)
			(void)execvp(self, args);
		_exit(127);
	}
	(void)close(pair[1]);
	r = workers[1] < 0 ? -errno : pass(pair[0], fd);
	(void)close(pair[0]);
	return r;
}

/* ---- who starts them ---- */

static void
end_workers(int sig)
{
	int i;

	(void)sig;
	for (i = 0; i < 2; i++) {
		if (workers[i] > 0)
			(void)kill(workers[i], SIGTERM);
	}
}

/* Of both; the first that ends takes the other with it. */
static int
wait_for_workers(void)
{
	int status, bad = 0;
	pid_t pid;

	while ((pid = wait(&status)) > 0 || errno == EINTR) {
		if (pid < 0)
			continue;
		bad |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
		workers[pid == workers[1]] = 0;
		end_workers(0);
	}
	return bad;
}

/* A port, or -1, which nothing accepts. */
static int
port_of(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	return *text == '\0' || *end != '\0' || n < 0 || n > 65535 ? -1 :
	    (int)n;
}

static int
start(char **argv)
{
	const struct dgram_options options = { .type = DGRAM_UDP4 };
	struct dgram_socket *s;
	struct dgram_addr own;
	sigset_t all;
	int r;

	r = dgram_loop_new(NULL, &loop);
	if (r < 0)
		return r;
	/* Without `message` nothing is read: this process only binds. */
	r = dgram_open(loop, &options, &s);
	if (r == 0)
		r = dgram_bind(s, port_of(argv[1]), NULL, NULL, NULL);
	if (r == 0)
		r = dgram_address(s, &own);
	if (r == 0) {
		printf("listening on port %d\n", dgram_addr_port(&own));
		(void)fflush(stdout);
		/* A signal before both are there would end only one. */
		(void)sigfillset(&all);
		(void)sigprocmask(SIG_BLOCK, &all, NULL);
		workers[0] = fork();
		if (workers[0] == 0)
			_exit(work_on(s) < 0);
		r = workers[0] < 0 ? -errno :
		    start_program(argv[0], dgram_fileno(s));
	}
	/* Closes this process's copy; the socket is theirs now. */
	(void)dgram_loop_free(loop);
	return r;
}

int
main(int argc, char **argv)
{
	sigset_t none;
	int r, bad;

	if (argc != 2) {
		fprintf(stderr, "usage: workers port\n");
		return 2;
	}
	if (strcmp(argv[1], "-p") == 0) {
		r = work_from(PASSED_ON);
		bad = r < 0;
	} else {
		r = start(argv);
		if (r < 0)
			end_workers(0);
		(void)signal(SIGTERM, end_workers);
		(void)signal(SIGINT, end_workers);
		(void)sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		bad = wait_for_workers();
	}
	if (r < 0)
		fprintf(stderr, "workers: %s\n", dgram_strerror(r));
	return r < 0 || bad;
}
