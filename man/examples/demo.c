/* SPDX-License-Identifier: ISC */

/*
 * demo: the echo examples at work, over udp4, udp6 and unix_dgram.
 *
 *	demo directory-of-the-examples
 *
 * For each type it starts the server as a program of its own, keeps a window of
 * 8 datagrams in flight to it, compares every byte that comes back and says who
 * sent what to whom, how many came back and how fast.  Ends with 0 only if
 * every byte came back.  A system without IPv6 is told so.
 */

#include <sys/types.h>
#include <sys/wait.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dgram.h"

#define WINDOW		8u
#define COUNT		10000u
#define SHOWN		3u
#define LARGEST		1200u
#define PATIENCE	((uint64_t)10 * 1000000000)

struct run {
	struct dgram_loop *loop;
	struct dgram_socket *socket;
	struct dgram_addr server, own;
	struct dgram_timer patience;
	unsigned char buffers[WINDOW][LARGEST];
	unsigned sent, back, wrong;
	uint64_t bytes, began, took;	/* ns */
	bool failed;
};

/* What datagram number i is made of; its size. */
static size_t
compose(unsigned i, unsigned char *p)
{
	size_t size, k;

	size = 20 + (size_t)i * 37 % (LARGEST - 20);
	k = (size_t)sprintf((char *)p, "datagram %u ", i);
	for (; k < size; k++)
		p[k] = (unsigned char)('a' + (i + k) % 26);
	return size;
}

static void
show(const struct dgram_addr *from, const struct dgram_addr *to,
    const void *data, size_t size)
{
	char a[160], b[160];

	(void)dgram_addr_format(from, a, sizeof(a));
	(void)dgram_addr_format(to, b, sizeof(b));
	printf("  %s -> %s: \"%.16s...\", %zu bytes\n", a, b,
	    (const char *)data, size);
}

static void
on_sent(struct dgram_socket *s, int status, void *arg)
{
	struct run *run = arg;

	if (status >= 0)
		return;
	printf("  send: %s\n", dgram_strerror(status));
	run->failed = true;
	dgram_loop_stop(dgram_socket_loop(s));
}

static void
send_next(struct run *run)
{
	unsigned char *p = run->buffers[run->sent % WINDOW];
	struct iovec iov = { .iov_base = p };
	int r;

	if (run->sent == COUNT)
		return;
	/* The buffer is free: datagrams come back in the order they went. */
	iov.iov_len = compose(run->sent, p);
	if (run->sent < SHOWN)
		show(&run->own, &run->server, p, iov.iov_len);
	run->sent++;
	r = dgram_send_addr(run->socket, &iov, 1, &run->server, on_sent, run);
	if (r < 0)
		on_sent(run->socket, r, run);
}

static void
on_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	unsigned char expected[LARGEST];
	struct run *run = arg;
	size_t i, size;

	(void)s;
	for (i = 0; i < n; i++) {
		size = compose(run->back, expected);
		if (m[i].size != size || memcmp(m[i].data, expected, size) != 0)
			run->wrong++;
		if (run->back < SHOWN)
			show(m[i].remote, &run->own, m[i].data, m[i].size);
		run->back++;
		run->bytes += m[i].size;
		send_next(run);
	}
	if (run->back == COUNT) {
		dgram_loop_update(run->loop);
		run->took = dgram_loop_now(run->loop) - run->began;
		dgram_loop_stop(run->loop);
	}
}

static void
on_patience(struct dgram_timer *t, void *arg)
{
	struct run *run = arg;

	(void)t;
	printf("  no more answers\n");
	run->failed = true;
	dgram_loop_stop(run->loop);
}

static int
exchange(struct run *run, enum dgram_type type, const char *own_path)
{
	const struct dgram_events events = { .message = on_message };
	const struct dgram_options options = { .type = type,
	    .max_datagram = LARGEST + 1, .events = &events, .arg = run };
	int r;
	unsigned i;

	r = dgram_loop_new(NULL, &run->loop);
	if (r < 0)
		return r;
	r = dgram_open(run->loop, &options, &run->socket);
	if (r == 0 && type == DGRAM_UNIX)
		r = dgram_bind_path(run->socket, own_path, 0);
	else if (r == 0 && (r = dgram_addr_parse(&run->own,
	    type == DGRAM_UDP4 ? "127.0.0.1" : "::1", 0)) == 0)
		r = dgram_bind_addr(run->socket, &run->own);
	if (r == 0)
		r = dgram_address(run->socket, &run->own);
	if (r == 0) {
		dgram_timer_init(&run->patience, run->loop, on_patience, run);
		r = dgram_timer_start(&run->patience, PATIENCE, 0);
	}
	if (r == 0) {
		run->began = dgram_loop_now(run->loop);
		for (i = 0; i < WINDOW; i++)
			send_next(run);
		r = dgram_loop_run(run->loop);
	}
	(void)dgram_loop_free(run->loop);
	return r < 0 ? r : 0;
}

/* Starts a server and reads "listening on ..." from it; its pid, or -1. */
static pid_t
start(const char *dir, const char *program, const char *a, const char *b,
    char address[160])
{
	char path[512];
	int out[2];
	pid_t pid;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, program);
	if (pipe(out) < 0)
		return -1;
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		(void)dup2(out[1], STDOUT_FILENO);
		(void)close(out[0]);
		(void)close(out[1]);
		(void)execl(path, program, a, b, (char *)NULL);
		_exit(127);
	}
	(void)close(out[1]);
	f = fdopen(out[0], "r");
	address[0] = '\0';
	if (f != NULL) {
		if (fscanf(f, "listening on %159[^\n]", address) != 1)
			address[0] = '\0';
		(void)fclose(f);
	}
	return pid;
}

/* 0 if the server ended as it should. */
static int
finish(pid_t pid)
{
	int status;

	(void)kill(pid, SIGTERM);
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static bool
demonstrate(enum dgram_type type, const char *name, const char *dir,
    const char *tmp)
{
	char address[160], server[128], own[128];
	static struct run run;
	pid_t pid;
	int r = 0;

	memset(&run, 0, sizeof(run));
	(void)snprintf(server, sizeof(server), "%s/server", tmp);
	(void)snprintf(own, sizeof(own), "%s/client", tmp);
	printf("%s\n", name);
	pid = type == DGRAM_UNIX ?
	    start(dir, "unix_echo", "server", server, address) :
	    start(dir, "echo", name, "0", address);
	if (pid < 0 || address[0] == '\0') {
		if (pid > 0)
			(void)finish(pid);
		printf("  the server did not start\n");
		return false;
	}
	if (type == DGRAM_UNIX)
		r = dgram_addr_unix(&run.server, server);
	else
		r = dgram_addr_parse(&run.server,
		    type == DGRAM_UDP4 ? "127.0.0.1" : "::1",
		    atoi(strrchr(address, ' ') + 1));
	if (r == 0)
		r = exchange(&run, type, own);
	if (r < 0)
		printf("  %s\n", dgram_strerror(r));
	if (finish(pid) < 0) {
		printf("  the server did not end well\n");
		run.failed = true;
	}
	printf("  %u sent, %u came back, %u of them wrong; %llu bytes", run.sent,
	    run.back, run.wrong, (unsigned long long)run.bytes);
	if (run.took > 0)
		printf("; %.0f datagrams a second, there and back",
		    COUNT / ((double)run.took / 1e9));
	printf("\n");
	return r == 0 && !run.failed && run.back == COUNT && run.wrong == 0;
}

/* Some systems have no IPv6, or none on the loopback. */
static bool
has_ipv6(void)
{
	const struct dgram_options options = { .type = DGRAM_UDP6 };
	struct dgram_loop *loop;
	struct dgram_socket *s;
	struct dgram_addr a;
	int r;

	if (dgram_loop_new(NULL, &loop) < 0)
		return false;
	(void)dgram_addr_parse(&a, "::1", 0);
	r = dgram_open(loop, &options, &s);
	if (r == 0)
		r = dgram_bind_addr(s, &a);
	(void)dgram_loop_free(loop);
	return r == 0;
}

int
main(int argc, char **argv)
{
	char tmp[] = "/tmp/dgram-demo.XXXXXX";
	bool ok = true;

	if (argc != 2) {
		fprintf(stderr, "usage: demo directory-of-the-examples\n");
		return 2;
	}
	if (mkdtemp(tmp) == NULL) {
		perror("demo");
		return 1;
	}
	printf("libdgram %s: echo, %u datagrams, %u in flight\n",
	    dgram_version(), COUNT, WINDOW);
	ok = demonstrate(DGRAM_UDP4, "udp4", argv[1], tmp) && ok;
	if (has_ipv6())
		ok = demonstrate(DGRAM_UDP6, "udp6", argv[1], tmp) && ok;
	else
		printf("udp6\n  left out: no IPv6 loopback here\n");
	ok = demonstrate(DGRAM_UNIX, "unix_dgram", argv[1], tmp) && ok;
	if (rmdir(tmp) < 0) {
		perror("demo: a path was left behind");
		ok = false;
	}
	printf("%s\n", ok ? "Every byte came back." : "FAILED");
	return ok ? 0 : 1;
}
