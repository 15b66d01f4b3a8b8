/* SPDX-License-Identifier: ISC */

/*
 * demo: the echo examples at work, over udp4, udp6 and unix_dgram.
 *
 *	demo directory-of-the-examples [server ...]
 *
 * For each type it starts the server as a program of its own, keeps a window of
 * 8 datagrams in flight to it, compares every byte that comes back and says who
 * sent what to whom, how many came back and how fast.  Ends with 0 only if
 * every byte came back, each server ended on SIGTERM, and no path was left.  A
 * system without IPv6 is told so.
 *
 * Then resolve and lookup tell the addresses of names, and send to names.
 *
 * With servers it shows these, over udp4; one that was not built is left out.
 */

#include <sys/types.h>
#include <sys/wait.h>

#include <poll.h>
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

/* ---- the servers ---- */

/* A server to show: its program and its arguments, of which "" is the path. */
struct show {
	const char *title;
	enum dgram_type type;
	const char *program, *args[2];
	bool is_daemon;		/* prints its pid and goes into the background */
};

struct server {
	char address[160];
	pid_t pid;
	bool is_daemon;
	int alive;		/* at its end when the process is gone */
};

static void
execute(const struct show *w, const char *dir, const char *path)
{
	const char *args[2];
	char program[512];
	int k;

	(void)snprintf(program, sizeof(program), "%s/%s", dir, w->program);
	for (k = 0; k < 2; k++)
		args[k] = w->args[k] == NULL || *w->args[k] != '\0' ?
		    w->args[k] : path;
	(void)execl(program, w->program, args[0], args[1], (char *)NULL);
	_exit(127);
}

/* What it says: "listening on ...", and of a daemon "pid ...". */
static bool
read_greeting(struct server *v, FILE *f)
{
	long pid;

	if (fscanf(f, "listening on %159[^\n]", v->address) != 1)
		return false;
	if (!v->is_daemon)
		return true;
	/* The one that was started has ended, which is its success. */
	if (fscanf(f, " pid %ld", &pid) != 1 || pid <= 1 ||
	    waitpid(v->pid, NULL, 0) != v->pid)
		return false;
	v->pid = (pid_t)pid;
	return true;
}

static bool
start(struct server *v, const struct show *w, const char *dir,
    const char *path)
{
	int out[2], alive[2];
	bool ok = false;
	FILE *f;

	memset(v, 0, sizeof(*v));
	v->is_daemon = w->is_daemon;
	if (pipe(out) < 0 || pipe(alive) < 0)
		return false;
	(void)fflush(stdout);
	v->pid = fork();
	if (v->pid == 0) {
		(void)dup2(out[1], STDOUT_FILENO);
		(void)close(out[0]);
		(void)close(out[1]);
		(void)close(alive[0]);
		execute(w, dir, path);
	}
	(void)close(out[1]);
	(void)close(alive[1]);
	v->alive = alive[0];
	f = fdopen(out[0], "r");
	if (f != NULL) {
		ok = v->pid > 0 && read_greeting(v, f);
		(void)fclose(f);
	}
	return ok;
}

/* Nobody has its end of the pipe any more. */
static bool
is_gone(const struct server *v)
{
	struct pollfd p = { .fd = v->alive, .events = POLLIN };
	char c;

	return poll(&p, 1, 10000) == 1 && read(v->alive, &c, 1) == 0;
}

/* True if the server ended as it should. */
static bool
finish(const struct server *v)
{
	bool ok = false;
	int status;

	if (v->pid > 0) {
		(void)kill(v->pid, SIGTERM);
		ok = is_gone(v) && (v->is_daemon ||
		    (waitpid(v->pid, &status, 0) == v->pid &&
		    WIFEXITED(status) && WEXITSTATUS(status) == 0));
	}
	(void)close(v->alive);
	return ok;
}

/* "port 7", "127.0.0.1:7", "[::1]:7" */
static int
port_of(const char *address)
{
	const char *p = address + strlen(address);

	while (p > address && p[-1] >= '0' && p[-1] <= '9')
		p--;
	return atoi(p);
}

static unsigned shown;

static bool
demonstrate(const struct show *w, const char *dir, const char *tmp)
{
	char path[128], own[128];
	static struct run run;
	struct server server;
	int r;

	shown++;
	memset(&run, 0, sizeof(run));
	(void)snprintf(path, sizeof(path), "%s/server", tmp);
	(void)snprintf(own, sizeof(own), "%s/client", tmp);
	printf("%s\n", w->title);
	if (!start(&server, w, dir, path)) {
		(void)finish(&server);
		printf("  the server did not start\n");
		return false;
	}
	if (w->type == DGRAM_UNIX)
		r = dgram_addr_unix(&run.server, path);
	else
		r = dgram_addr_parse(&run.server,
		    w->type == DGRAM_UDP4 ? "127.0.0.1" : "::1",
		    port_of(server.address));
	if (r == 0)
		r = exchange(&run, w->type, own);
	if (r < 0)
		printf("  %s\n", dgram_strerror(r));
	if (!finish(&server)) {
		printf("  the server did not end well\n");
		run.failed = true;
	}
	if (access(path, F_OK) == 0) {
		printf("  the server left its path behind\n");
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

/* ---- names ---- */

/* Runs one of the examples to its end; true: it ended with 0. */
static bool
run_client(const char *dir, const char *program, char **args)
{
	char path[512];
	int status;
	pid_t pid;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, program);
	args[0] = path;
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		(void)execv(path, args);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid &&
	    WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool
write_table(const char *path)
{
	FILE *f = fopen(path, "w");

	if (f == NULL)
		return false;
	fprintf(f, "echo.example 127.0.0.1\n");
	return fclose(f) == 0;
}

/* The table has one of the names, the system the other. */
static bool
demonstrate_names(const char *dir, const char *tmp)
{
	const struct show w = { "names", DGRAM_UDP4, "echo",
	    { "udp4", "0" }, false };
	char table[128], port[16], first[] = "echo.example", other[] = "localhost";
	char *to_resolve[] = { NULL, other, NULL };
	char *to_send[] = { NULL, table, port, first, other, NULL };
	struct server server;
	bool ok;

	printf("%s\n", w.title);
	(void)snprintf(table, sizeof(table), "%s/table", tmp);
	ok = start(&server, &w, dir, NULL);
	if (ok) {
		(void)snprintf(port, sizeof(port), "%d",
		    port_of(server.address));
		ok = write_table(table);
		ok = run_client(dir, "resolve", to_resolve) && ok;
		ok = run_client(dir, "lookup", to_send) && ok;
	}
	ok = finish(&server) && ok;
	(void)unlink(table);
	if (!ok)
		printf("  did not work\n");
	return ok;
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

static bool
demonstrate_all(const char *dir, const char *tmp)
{
	static const struct show shows[] = {
		{ "udp4", DGRAM_UDP4, "echo", { "udp4", "0" }, false },
		{ "udp6", DGRAM_UDP6, "echo", { "udp6", "0" }, false },
		{ "unix_dgram", DGRAM_UNIX, "unix_echo", { "server", "" },
		    false },
		{ "udp4, in the background", DGRAM_UDP4, "daemon",
		    { "0", NULL }, true },
		{ "unix_dgram, in the background", DGRAM_UNIX, "daemon",
		    { "", NULL }, true },
	};
	bool ok = true;
	size_t i;

	for (i = 0; i < sizeof(shows) / sizeof(shows[0]); i++) {
		if (shows[i].type == DGRAM_UDP6 && !has_ipv6())
			printf("udp6\n  left out: no IPv6 loopback here\n");
		else
			ok = demonstrate(&shows[i], dir, tmp) && ok;
	}
	return ok;
}

static bool
demonstrate_one(const char *program, const char *dir, const char *tmp)
{
	const struct show w = { program, DGRAM_UDP4, program,
	    { "0", NULL }, false };
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, program);
	if (access(path, X_OK) == 0)
		return demonstrate(&w, dir, tmp);
	printf("%s\n  left out: not built here\n", program);
	return true;
}

int
main(int argc, char **argv)
{
	char tmp[] = "/tmp/dgram-demo.XXXXXX";
	bool ok = true;
	int i;

	if (argc < 2) {
		fprintf(stderr,
		    "usage: demo directory-of-the-examples [server ...]\n");
		return 2;
	}
	if (mkdtemp(tmp) == NULL) {
		perror("demo");
		return 1;
	}
	printf("libdgram %s: echo, %u datagrams, %u in flight\n",
	    dgram_version(), COUNT, WINDOW);
	if (argc == 2) {
		ok = demonstrate_all(argv[1], tmp);
		ok = demonstrate_names(argv[1], tmp) && ok;
	}
	for (i = 2; i < argc; i++)
		ok = demonstrate_one(argv[i], argv[1], tmp) && ok;
	if (rmdir(tmp) < 0) {
		perror("demo: a path was left behind");
		ok = false;
	}
	printf("%s\n", !ok ? "FAILED" : shown > 0 ? "Every byte came back." :
	    "Nothing was shown.");
	return ok ? 0 : 1;
}
