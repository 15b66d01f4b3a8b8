/* SPDX-License-Identifier: ISC */

/*
 * The backends by themselves: what they must all do alike.
 */

#include "test.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alloc.h"
#include "bsd_os.h"
#include "poll/poller.h"

#define POISON	4711
#define MS	1000000			/* in ns */
#define LONG	(5000 * (int64_t)MS)	/* a wait that should not be over */

static struct dgi_poller poller;
static struct test_alloc alloc;
static struct dgi_mem mem;

static void
start(const char *backend)
{
	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	cr_assert_eq(dgi_poller_open(&poller, &mem, backend), 0);
	cr_assert_eq(strcmp(poller.ops->name, backend), 0);
}

static void
end(void)
{
	poller.ops->close(&poller);
	cr_assert_eq(mem.held, 0);
	cr_assert(test_alloc_clean(&alloc));
}

static int
set_gen(int fd, uint32_t slot, uint32_t gen, unsigned have, unsigned want)
{
	struct dgi_interest in = { fd, slot, gen };

	return poller.ops->set(&poller, &in, have, want);
}

/* The slot is the descriptor, the generation 1. */
static int
set(int fd, unsigned have, unsigned want)
{
	return set_gen(fd, (uint32_t)fd, 1, have, want);
}

static int
wait_for(int64_t timeout_ns, struct dgi_report *out, int max)
{
	return poller.ops->wait(&poller, timeout_ns, out, max);
}

/* The events of the only report there must be; 0: no report. */
static unsigned
only(int fd)
{
	struct dgi_report r[8];
	int n;

	n = wait_for(0, r, 8);
	cr_assert(n == 0 || n == 1, "%d reports", n);
	if (n == 0)
		return 0;
	cr_assert_eq(r[0].slot, (uint32_t)fd);
	cr_assert_eq(r[0].gen, 1);
	return r[0].events;
}

static void
make_pair(int sv[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
}

static void
make_pipe(int p[2])
{
	cr_assert_eq(pipe(p), 0);
}

static void
put_byte(int fd)
{
	cr_assert_eq(write(fd, "x", 1), 1);
}

static void
close_both(const int fd[2])
{
	close(fd[0]);
	close(fd[1]);
}

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

TEST(poller, open_by_name)
{
	struct dgi_poller p;
	struct dgi_mem m;

	test_alloc_init(&alloc);
	dgi_mem_init(&m, &alloc.allocator);
	cr_assert_eq(dgi_poller_open(&p, &m, "nonsense"), -ENOTSUP);
	cr_assert_eq(dgi_poller_open(&p, &m, ""), -ENOTSUP);
	cr_assert_eq(dgi_poller_open(&p, &m, "epol"), -ENOTSUP);
	cr_assert_eq(dgi_poller_open(&p, &m, "polly"), -ENOTSUP);
	cr_assert_eq(dgi_poller_open(&p, &m, "poll"), 0);
	cr_assert_eq(p.ops, &dgi_poll_ops);
	cr_assert_eq(p.mem, &m);
	p.ops->close(&p);
	/* The best. */
	cr_assert_eq(dgi_poller_open(&p, &m, NULL), 0);
	if (test_has("epoll_create1")) {
		cr_assert_eq(p.ops, &dgi_epoll_ops);
		cr_assert((fcntl(p.fd, F_GETFD) & FD_CLOEXEC) != 0);
	} else {
		cr_assert_eq(p.ops, test_backend_exists("kqueue") ?
		    &dgi_kqueue_ops : &dgi_poll_ops);
	}
	p.ops->close(&p);
	cr_assert(test_alloc_clean(&alloc));
}

/* A kernel object that cannot be made: the error, or one that needs none. */
TEST(poller, open_without_descriptors)
{
	struct rlimit old, none;
	struct dgi_poller p;
	struct dgi_mem m;
	int any, poll_only, r = -EMFILE;
	bool has_epoll = test_has("epoll_create1");

	test_alloc_init(&alloc);
	dgi_mem_init(&m, &alloc.allocator);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	errno = POISON;
	if (has_epoll)
		r = dgi_poller_open(&p, &m, "epoll");
	any = dgi_poller_open(&p, &m, NULL);
	if (any == 0)
		p.ops->close(&p);
	poll_only = dgi_poller_open(&p, &m, "poll");
	if (poll_only == 0)
		p.ops->close(&p);
	cr_assert_eq(errno, POISON);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	cr_assert_eq(r, -EMFILE);
	cr_assert_eq(any, 0);
	cr_assert_eq(poll_only, 0);
	cr_assert(test_alloc_clean(&alloc));
}

/* All 64 bits come back. */
BACKEND_TEST(poller, slot_and_generation)
{
	static const uint32_t values[] = { 0, 1, 0x7fffffff, 0x80000000,
	    0xfffffffe, 0xffffffff };
	struct dgi_report r[4];
	size_t i, j;
	int p[2];

	start(backend);
	make_pipe(p);
	put_byte(p[1]);
	for (i = 0; i < 6; i++) {
		for (j = 0; j < 6; j++) {
			cr_assert_eq(set_gen(p[0], values[i], values[j], 0,
			    DGRAM_READABLE), 0);
			cr_assert_eq(wait_for(LONG, r, 4), 1);
			cr_assert_eq(r[0].slot, values[i]);
			cr_assert_eq(r[0].gen, values[j]);
			cr_assert_eq(r[0].events, DGRAM_READABLE);
			cr_assert_eq(set_gen(p[0], values[i], values[j],
			    DGRAM_READABLE, 0), 0);
			cr_assert_eq(wait_for(0, r, 4), 0);
		}
	}
	close_both(p);
	end();
}

/* Both directions are one report. */
BACKEND_TEST(poller, both_bits)
{
	int sv[2];

	start(backend);
	make_pair(sv);
	cr_assert_eq(set(sv[0], 0, DGRAM_READABLE | DGRAM_WRITABLE), 0);
	cr_assert_eq(only(sv[0]), DGRAM_WRITABLE);
	put_byte(sv[1]);
	cr_assert_eq(only(sv[0]), DGRAM_READABLE | DGRAM_WRITABLE);
	/* Level-triggered: again, until it is read. */
	cr_assert_eq(only(sv[0]), DGRAM_READABLE | DGRAM_WRITABLE);
	close_both(sv);
	end();
}

BACKEND_TEST(poller, change_of_interest)
{
	int sv[2];

	start(backend);
	make_pair(sv);
	put_byte(sv[1]);
	cr_assert_eq(set(sv[0], 0, DGRAM_READABLE), 0);
	cr_assert_eq(only(sv[0]), DGRAM_READABLE);
	cr_assert_eq(set(sv[0], DGRAM_READABLE, DGRAM_WRITABLE), 0);
	cr_assert_eq(only(sv[0]), DGRAM_WRITABLE);
	cr_assert_eq(set(sv[0], DGRAM_WRITABLE,
	    DGRAM_WRITABLE | DGRAM_READABLE), 0);
	cr_assert_eq(only(sv[0]), DGRAM_READABLE | DGRAM_WRITABLE);
	/* For errors alone: neither. */
	cr_assert_eq(set(sv[0], DGRAM_WRITABLE | DGRAM_READABLE, DGI_ERROR),
	    0);
	cr_assert_eq(only(sv[0]), 0);
	cr_assert_eq(set(sv[0], DGI_ERROR, DGRAM_READABLE | DGI_ERROR), 0);
	cr_assert_eq(only(sv[0]), DGRAM_READABLE);
	close_both(sv);
	end();
}

BACKEND_TEST(poller, forget)
{
	int a[2], b[2];

	start(backend);
	make_pair(a);
	make_pair(b);
	put_byte(a[1]);
	put_byte(b[1]);
	cr_assert_eq(set(a[0], 0, DGRAM_READABLE), 0);
	cr_assert_eq(set(b[0], 0, DGRAM_READABLE), 0);
	cr_assert_eq(set(a[0], DGRAM_READABLE, 0), 0);
	cr_assert_eq(only(b[0]), DGRAM_READABLE);
	/* As if it had never been there. */
	cr_assert_eq(set(a[0], 0, DGRAM_READABLE), 0);
	cr_assert_eq(set(b[0], DGRAM_READABLE, 0), 0);
	cr_assert_eq(only(a[0]), DGRAM_READABLE);
	cr_assert_eq(set(a[0], DGRAM_READABLE, 0), 0);
	cr_assert_eq(only(a[0]), 0);
	/* What was closed can be forgotten, too. */
	cr_assert_eq(set(a[0], 0, DGRAM_READABLE), 0);
	close_both(a);
	errno = POISON;
	cr_assert_eq(set(a[0], DGRAM_READABLE, 0), 0);
	cr_assert_eq(errno, POISON);
	cr_assert_eq(only(a[0]), 0);
	close_both(b);
	end();
}

/* A new owner of a descriptor gets its own name back, not the old one's. */
BACKEND_TEST(poller, new_generation)
{
	struct dgi_report r[4];
	int p[2];

	start(backend);
	make_pipe(p);
	put_byte(p[1]);
	cr_assert_eq(set_gen(p[0], 5, 1, 0, DGRAM_READABLE), 0);
	cr_assert_eq(set_gen(p[0], 5, 1, DGRAM_READABLE, 0), 0);
	cr_assert_eq(set_gen(p[0], 6, 2, 0, DGRAM_READABLE), 0);
	cr_assert_eq(wait_for(LONG, r, 4), 1);
	cr_assert(r[0].slot == 6 && r[0].gen == 2);
	close_both(p);
	end();
}

BACKEND_TEST(poller, set_errors)
{
	struct dgi_report r[4];
	char path[80];
	int dir, file, p[2];

	start(backend);
	make_pipe(p);
	put_byte(p[1]);
	snprintf(path, sizeof(path), "%s/file", test_tmpdir());
	file = open(path, O_CREAT | O_RDWR, 0600);
	dir = open("/", O_RDONLY);
	cr_assert(file >= 0 && dir >= 0);
	errno = POISON;
	cr_assert_eq(set(file, 0, DGRAM_READABLE), -EPERM);
	cr_assert_eq(set(file, 0, DGRAM_WRITABLE), -EPERM);
	cr_assert_eq(set(dir, 0, DGRAM_READABLE), -EPERM);
	cr_assert_eq(set(-1, 0, DGRAM_READABLE), -EBADF);
	cr_assert_eq(set(INT_MAX, 0, DGRAM_READABLE), -EBADF);
	close(file);
	cr_assert_eq(set(file, 0, DGRAM_READABLE), -EBADF);
	/* The first one stays, with its name. */
	cr_assert_eq(set_gen(p[0], 7, 8, 0, DGRAM_READABLE), 0);
	cr_assert_eq(set_gen(p[0], 9, 9, 0, DGRAM_READABLE), -EEXIST);
	cr_assert_eq(set_gen(p[0], 7, 8, 0, DGRAM_WRITABLE), -EEXIST);
	cr_assert_eq(errno, POISON);
	cr_assert_eq(wait_for(LONG, r, 4), 1);
	cr_assert(r[0].slot == 7 && r[0].gen == 8);
	cr_assert_eq(r[0].events, DGRAM_READABLE);
	close(dir);
	close_both(p);
	end();
}

/* The end of a stream is readable, so that it is read. */
BACKEND_TEST(poller, hang_up)
{
	unsigned e;
	int p[2], sv[2];

	start(backend);
	make_pipe(p);
	cr_assert_eq(set(p[0], 0, DGRAM_READABLE), 0);
	cr_assert_eq(only(p[0]), 0);
	close(p[1]);
	cr_assert((only(p[0]) & DGI_HANGUP) != 0);
	cr_assert_eq(set(p[0], DGRAM_READABLE, 0), 0);
	close(p[0]);

	make_pair(sv);
	cr_assert_eq(set(sv[0], 0, DGRAM_READABLE), 0);
	cr_assert_eq(only(sv[0]), 0);
	cr_assert_eq(shutdown(sv[1], SHUT_WR), 0);
	e = only(sv[0]);
	cr_assert((e & DGRAM_READABLE) != 0);
#if DGI_HAVE_EPOLL || DGI_HAVE_POLLRDHUP
	cr_assert((e & DGI_READ_END) != 0);
#endif
	/* Half of it: it can still be written to. */
	cr_assert_eq(e & (DGRAM_WRITABLE | DGI_ERROR | DGI_HANGUP), 0);
	/* Who only writes is not told. */
	cr_assert_eq(set(sv[0], DGRAM_READABLE, DGRAM_WRITABLE), 0);
	cr_assert_eq(only(sv[0]), DGRAM_WRITABLE);
	close(sv[1]);
	/* poll(2) of a BSD finds it writable and says no more. */
	e = only(sv[0]);
	cr_assert((e & DGI_HANGUP) != 0 || (!ON_LINUX &&
	    strcmp(backend, "poll") == 0 && e == DGRAM_WRITABLE),
	    "now all of it");
	close(sv[0]);
	end();
}

/* The read end of a pipe is gone: an error of the write end. */
BACKEND_TEST(poller, error_of_a_pipe)
{
	int p[2];

	start(backend);
	make_pipe(p);
	cr_assert_eq(set(p[1], 0, DGI_ERROR), 0);
	cr_assert_eq(only(p[1]), 0);
	close(p[0]);
	cr_assert((only(p[1]) & (DGI_ERROR | DGI_HANGUP)) != 0);
	cr_assert_eq(only(p[1]) & (DGRAM_READABLE | DGRAM_WRITABLE), 0,
	    "was not asked for");
	close(p[1]);
	end();
}

/* A pending error of a socket, for one that wants nothing else. */
BACKEND_TEST(poller, error_of_a_socket)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct dgi_report r[4];
	socklen_t len = sizeof(sin);
	int fd, gone, value = 0;

	if (!ON_LINUX && strcmp(backend, "poll") == 0)
		cr_skip_test("poll(2) tells of no error on this system");
	start(backend);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	gone = socket(AF_INET, SOCK_DGRAM, 0);
	cr_assert_eq(bind(gone, (struct sockaddr *)&sin, len), 0);
	cr_assert_eq(getsockname(gone, (struct sockaddr *)&sin, &len), 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sin, len), 0);
	close(gone);
	cr_assert_eq(set(fd, 0, DGI_ERROR), 0);
	cr_assert_eq(only(fd), 0);
	cr_assert_eq(send(fd, "x", 1, 0), 1);
	cr_assert_eq(wait_for(LONG, r, 4), 1);
	cr_assert((r[0].events & DGI_ERROR) != 0);
	cr_assert_eq(r[0].events & (DGRAM_READABLE | DGRAM_WRITABLE), 0);
	len = sizeof(value);
	cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len), 0);
	cr_assert_eq(value, ECONNREFUSED);
	cr_assert_eq(only(fd), 0);
	close(fd);
	end();
}

/*
 * A descriptor that was closed without a word must not end each wait at once
 * (POLLNVAL does); the others go on.
 */
BACKEND_TEST(poller, closed_does_not_spin)
{
	struct dgi_report r[4];
	int64_t began;
	int i, full = 0, n, others[3][2], p[2];

	start(backend);
	for (i = 0; i < 3; i++) {
		make_pipe(others[i]);
		if (i == 1) {
			make_pipe(p);
			put_byte(p[1]);
			cr_assert_eq(set(p[0], 0, DGRAM_READABLE), 0);
		}
		cr_assert_eq(set(others[i][0], 0, DGRAM_READABLE), 0);
	}
	close_both(p);
	for (i = 0; i < 5; i++) {
		began = now_ns();
		n = wait_for(10 * MS, r, 4);
		cr_assert_eq(n, 0);
		full += now_ns() - began >= 10 * MS;
	}
	cr_assert(full >= 4, "%d waits lasted", full);
	for (i = 0; i < 3; i++) {
		put_byte(others[i][1]);
		cr_assert_eq(only(others[i][0]), DGRAM_READABLE);
		cr_assert_eq(read(others[i][0], r, 1), 1);
	}
	/* The number can be used again. */
	cr_assert_eq(dup2(others[0][0], p[0]), p[0]);
	cr_assert_eq(set_gen(p[0], 77, 78, 0, DGRAM_READABLE), 0);
	put_byte(others[0][1]);
	cr_assert_eq(wait_for(LONG, r, 4), 2);
	cr_assert(r[0].slot == 77 || r[1].slot == 77);
	close(p[0]);
	for (i = 0; i < 3; i++)
		close_both(others[i]);
	end();
}

/* All of 8 are reported, whatever `max` is, in a bounded number of waits. */
BACKEND_TEST(poller, fair)
{
	struct dgi_report r[8];
	int fd[8][2], i, max, n, seen[8], total, waits;

	start(backend);
	for (i = 0; i < 8; i++) {
		make_pipe(fd[i]);
		put_byte(fd[i][1]);
		cr_assert_eq(set_gen(fd[i][0], (uint32_t)i, 1, 0,
		    DGRAM_READABLE), 0);
	}
	for (max = 1; max <= 8; max++) {
		memset(seen, 0, sizeof(seen));
		for (waits = total = 0; total < 8 && waits < 16; waits++) {
			n = wait_for(0, r, max);
			cr_assert_eq(n, max);
			for (i = 0; i < n; i++) {
				cr_assert(r[i].slot < 8);
				total += seen[r[i].slot]++ == 0;
			}
		}
		cr_assert_eq(total, 8, "max %d: %d of 8", max, total);
		cr_assert(waits <= (8 + max - 1) / max + 1,
		    "max %d: %d waits", max, waits);
	}
	for (i = 0; i < 8; i++)
		close_both(fd[i]);
	end();
}

/* More than fit into the array of a wait, none twice in one. */
BACKEND_TEST(poller, many)
{
	static struct dgi_report r[DGI_REPORTS + 50];
	static int seen[300], fd[300];
	int i, n, p[2], total = 0, waits;

	start(backend);
	make_pipe(p);
	put_byte(p[1]);
	for (i = 0; i < 300; i++) {
		fd[i] = dup(p[0]);
		cr_assert(fd[i] >= 0);
		cr_assert_eq(set_gen(fd[i], (uint32_t)i, (uint32_t)i + 1000, 0,
		    DGRAM_READABLE), 0);
	}
	for (waits = 0; total < 300 && waits < 4; waits++) {
		n = wait_for(LONG, r, DGI_REPORTS + 50);
		cr_assert(n > 0);
		for (i = 0; i < n; i++) {
			cr_assert(r[i].slot < 300);
			cr_assert_eq(r[i].gen, r[i].slot + 1000);
			total += seen[r[i].slot] == 0;
			cr_assert(seen[r[i].slot] <= waits, "twice in a wait");
			seen[r[i].slot] = waits + 1;
		}
	}
	cr_assert_eq(total, 300);
	for (i = 0; i < 300; i++) {
		cr_assert_eq(set_gen(fd[i], (uint32_t)i, (uint32_t)i + 1000,
		    DGRAM_READABLE, 0), 0);
		close(fd[i]);
	}
	cr_assert_eq(wait_for(0, r, 10), 0);
	close_both(p);
	end();
}

BACKEND_TEST(poller, never_early)
{
	static const int64_t timeouts[] = { 1, MS / 2, MS, MS + 1, 5 * MS,
	    7 * MS + 300000, 20 * MS };
	struct dgi_report r[4];
	int64_t began, took;
	int p[2];
	size_t i;

	start(backend);
	make_pipe(p);
	cr_assert_eq(set(p[0], 0, DGRAM_READABLE), 0);
	for (i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); i++) {
		began = now_ns();
		cr_assert_eq(wait_for(timeouts[i], r, 4), 0);
		took = now_ns() - began;
		cr_assert(took >= timeouts[i], "%lld of %lld ns",
		    (long long)took, (long long)timeouts[i]);
	}
	close_both(p);
	end();
}

static int signal_fd;		/* is written to, unless -1 */
static volatile sig_atomic_t signals;

static void
on_alarm(int sig)
{
	(void)sig;
	signals++;
	if (signal_fd >= 0 && write(signal_fd, "x", 1) != 1)
		signals += 1000;
}

static void
set_alarm(int first_ms, int each_ms)
{
	struct itimerval it = { .it_value.tv_usec = first_ms * 1000,
	    .it_interval.tv_usec = each_ms * 1000 };
	struct sigaction sa = { .sa_handler = on_alarm };

	cr_assert_eq(sigaction(SIGALRM, &sa, NULL), 0);
	cr_assert_eq(setitimer(ITIMER_REAL, &it, NULL), 0);
}

/*
 * A signal ends a wait with no event and no error.  It comes again, for the
 * first may be before the wait.
 */
BACKEND_TEST(poller, interrupted)
{
	struct dgi_report r[4];
	int64_t began;
	int p[2];

	start(backend);
	make_pipe(p);
	cr_assert_eq(set(p[0], 0, DGRAM_READABLE), 0);
	signal_fd = -1;
	began = now_ns();
	set_alarm(5, 5);
	errno = POISON;
	cr_assert_eq(wait_for(LONG, r, 4), 0);
	cr_assert_eq(errno, POISON);
	cr_assert_eq(wait_for(-1, r, 4), 0);
	set_alarm(0, 0);
	cr_assert(now_ns() - began < LONG);
	cr_assert(signals > 0);
	close_both(p);
	end();
}

/*
 * A negative timeout waits: for the signal at most, and then for the byte that
 * its handler wrote.  One taken for 0 would need thousands of waits.
 */
BACKEND_TEST(poller, without_end)
{
	struct dgi_report r[4];
	int n, p[2], waits = 0;

	start(backend);
	make_pipe(p);
	cr_assert_eq(set(p[0], 0, DGRAM_READABLE), 0);
	/* The longest there is. */
	put_byte(p[1]);
	cr_assert_eq(wait_for(INT64_MAX, r, 4), 1);
	cr_assert_eq(read(p[0], r, 1), 1);
	signal_fd = p[1];
	set_alarm(10, 0);
	do {
		n = wait_for(waits % 2 == 0 ? -1 : INT64_MIN, r, 4);
		waits++;
	} while (n == 0 && waits < 1000);
	cr_assert_eq(n, 1);
	cr_assert(waits <= 3, "%d waits", waits);
	cr_assert_eq(signals, 1);
	close_both(p);
	end();
}

/* Nothing is registered: a wait is still a wait. */
BACKEND_TEST(poller, empty)
{
	struct dgi_report r[4];
	int64_t began = now_ns();

	start(backend);
	cr_assert_eq(wait_for(0, r, 4), 0);
	cr_assert_eq(wait_for(5 * MS, r, 4), 0);
	cr_assert(now_ns() - began >= 5 * MS);
	end();
}

TEST(poller, ms)
{
	static const struct {
		int64_t ns;
		int ms;
	} cases[] = {
		{ -1, -1 }, { INT64_MIN, -1 }, { 0, 0 }, { 1, 1 },
		{ 999999, 1 }, { 1000000, 1 }, { 1000001, 2 },
		{ 1999999, 2 }, { 2000000, 2 }, { 20000000, 20 },
		{ (int64_t)INT_MAX * 1000000 - 1, INT_MAX },
		{ (int64_t)INT_MAX * 1000000, INT_MAX },
		{ (int64_t)INT_MAX * 1000000 - 1000000, INT_MAX - 1 },
		{ (int64_t)INT_MAX * 1000000 + 1, INT_MAX },
		{ (int64_t)INT_MAX * 3000000, INT_MAX },
		{ INT64_MAX, INT_MAX },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(dgi_poller_ms(cases[i].ns), cases[i].ms,
		    "%lld ns", (long long)cases[i].ns);
}

/* Every allocation fails once: what was there stays, and it goes on. */
BACKEND_TEST(poller, out_of_memory)
{
	struct dgi_report r[32];
	int fd[20], i, n, p[2], refused = 0;
	unsigned long fail_at;

	make_pipe(p);
	put_byte(p[1]);
	for (i = 0; i < 20; i++)
		fd[i] = dup(p[0]);
	for (fail_at = 1;; fail_at++) {
		test_alloc_init(&alloc);
		alloc.fail_at = fail_at;
		dgi_mem_init(&mem, &alloc.allocator);
		n = dgi_poller_open(&poller, &mem, backend);
		if (n < 0) {
			cr_assert_eq(n, -ENOMEM);
			cr_assert(test_alloc_clean(&alloc));
			refused++;
			continue;
		}
		for (i = 0; i < 20; i++) {
			n = set(fd[i], 0, DGRAM_READABLE);
			if (n < 0) {
				cr_assert_eq(n, -ENOMEM);
				cr_assert_eq(wait_for(0, r, 32), i);
				cr_assert_eq(set(fd[i], 0, DGRAM_READABLE), 0);
				refused++;
			}
			cr_assert_eq(wait_for(0, r, 32), i + 1);
		}
		poller.ops->close(&poller);
		cr_assert(test_alloc_clean(&alloc));
		if (alloc.calls < fail_at)
			break;
	}
	if (strcmp(backend, "poll") == 0)
		cr_assert(refused >= 4, "%d", refused);
	for (i = 0; i < 20; i++)
		close(fd[i]);
	close_both(p);
}

/*
 * A child of fork(2) forgets: it has no descriptor more or less than before, and
 * what its parent has registered is reported to its parent.
 */
BACKEND_TEST(poller, forget_in_a_child)
{
	int fds = -1, p[2], q[2], status;
	pid_t pid;

	make_pipe(p);
	make_pipe(q);
	fds = test_count_fds();
	start(backend);
	cr_assert_eq(set(p[0], 0, DGRAM_READABLE), 0);
	cr_assert_eq(set(q[0], 0, DGI_ERROR), 0);
	pid = fork();
	if (pid == 0) {
		errno = POISON;
		poller.ops->forget(&poller);
		status = 1 * (errno != POISON) | 2 * (mem.held != 0) |
		    4 * (!test_alloc_clean(&alloc)) |
		    8 * (test_count_fds() != fds);
		/* One of its own may be made in its place. */
		if (dgi_poller_open(&poller, &mem, backend) < 0 ||
		    set(q[0], 0, DGRAM_READABLE) < 0)
			status |= 16;
		put_byte(q[1]);
		if (only(q[0]) != DGRAM_READABLE)
			status |= 32;
		poller.ops->close(&poller);
		_exit(status);
	}
	cr_assert(pid > 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "%x", WEXITSTATUS(status));
	cr_assert_eq(only(p[0]), 0);
	put_byte(p[1]);
	cr_assert_eq(only(p[0]), DGRAM_READABLE);
	cr_assert_eq(set(p[0], DGRAM_READABLE, 0), 0);
	cr_assert_eq(only(p[0]), 0);
	close_both(p);
	close_both(q);
	end();
}

/* A wait on a kernel object that somebody has closed is an error. */
BACKEND_TEST(poller, closed_object)
{
	struct dgi_report r[4];
	int p[2];

	start(backend);
	make_pipe(p);
	if (poller.fd >= 0) {
		cr_assert_eq(close(poller.fd), 0);
		errno = POISON;
		cr_assert_eq(wait_for(LONG, r, 4), -EBADF);
		cr_assert(set(p[0], 0, DGRAM_READABLE) < 0);
		cr_assert_eq(errno, POISON);
		/* So that end() closes no other's. */
		poller.fd = -1;
	}
	close_both(p);
	end();
}

/* A program that is executed gets no kernel object of ours. */
BACKEND_TEST(poller, close_on_exec)
{
	start(backend);
	if (poller.fd >= 0)
		cr_assert((fcntl(poller.fd, F_GETFD) & FD_CLOEXEC) != 0);
	end();
}

/* Others may wait for a loop's descriptor: it is readable if there is a report. */
BACKEND_TEST(poller, is_polled)
{
	struct pollfd f = { .events = POLLIN };
	int p[2];

	start(backend);
	f.fd = poller.fd;
	make_pipe(p);
	cr_assert_eq(set(p[0], 0, DGRAM_READABLE), 0);
	cr_assert_eq(poll(&f, 1, 0), 0);
	put_byte(p[1]);
	if (poller.fd >= 0) {
		cr_assert_eq(poll(&f, 1, 0), 1);
		cr_assert_eq(only(p[0]), DGRAM_READABLE);
		cr_assert_eq(poll(&f, 1, 0), 1, "level-triggered");
		cr_assert_eq(set(p[0], DGRAM_READABLE, 0), 0);
		cr_assert_eq(poll(&f, 1, 0), 0);
	}
	close_both(p);
	end();
}

/* Random interest and readiness, against what it must be. */
BACKEND_TEST(poller, random_against_oracle)
{
	struct dgi_report r[64];
	int sv[16][2], full[16] = { 0 }, i, n, round;
	unsigned expect, want[16] = { 0 }, gen[16] = { 0 }, to;
	unsigned seed = 20240607;
	bool seen[16];
	char byte;

	start(backend);
	for (i = 0; i < 16; i++)
		make_pair(sv[i]);
	for (round = 0; round < 5000; round++) {
		i = rand_r(&seed) % 16;
		switch (rand_r(&seed) % 3) {
		case 0:
			to = (unsigned)rand_r(&seed) % 4;
			if (to == want[i])
				break;
			if (want[i] == 0)
				gen[i]++;
			cr_assert_eq(set_gen(sv[i][0], (uint32_t)i, gen[i],
			    want[i], to), 0);
			want[i] = to;
			break;
		case 1:
			if (!full[i])
				put_byte(sv[i][1]);
			full[i] = 1;
			break;
		default:
			if (full[i])
				cr_assert_eq(read(sv[i][0], &byte, 1), 1);
			full[i] = 0;
			break;
		}
		n = wait_for(0, r, 64);
		memset(seen, 0, sizeof(seen));
		while (n-- > 0) {
			cr_assert(r[n].slot < 16 && !seen[r[n].slot]);
			seen[r[n].slot] = true;
			i = (int)r[n].slot;
			cr_assert_eq(r[n].gen, gen[i]);
			expect = want[i] & (DGRAM_WRITABLE |
			    (full[i] ? DGRAM_READABLE : 0));
			cr_assert_eq(r[n].events, expect, "round %d", round);
		}
		for (i = 0; i < 16; i++) {
			expect = want[i] & (DGRAM_WRITABLE |
			    (full[i] ? DGRAM_READABLE : 0));
			cr_assert(seen[i] == (expect != 0), "round %d", round);
		}
	}
	for (i = 0; i < 16; i++)
		close_both(sv[i]);
	end();
}

#define CHURNED	12
#define CHURN	6000

/* Reports of a wait by slot; the same events by other words are the same. */
static void
look(struct dgi_poller *p, const uint32_t *gen, unsigned *events)
{
	/* kqueue(2) needs room for two, before they are one. */
	struct dgi_report r[2 * CHURNED];
	int i, n;

	memset(events, 0, CHURNED * sizeof(*events));
	n = p->ops->wait(p, 0, r, 2 * CHURNED);
	cr_assert(n >= 0);
	for (i = 0; i < n; i++) {
		cr_assert(r[i].slot < CHURNED);
		cr_assert_eq(events[r[i].slot], 0, "twice in a wait");
		cr_assert_eq(r[i].gen, gen[r[i].slot], "of another's");
		cr_assert(r[i].events != 0);
		events[r[i].slot] = r[i].events;
	}
}

static void
set_all(struct dgi_poller *p, size_t n, const struct dgi_interest *in,
    unsigned have, unsigned want, int expect)
{
	int r;

	while (n-- > 0) {
		r = p[n].ops->set(&p[n], in, have, want);
		cr_assert_eq(r, expect, "%s: %d, not %d", p[n].ops->name, r,
		    expect);
	}
}

/*
 * All backends of this system beside each other, over the same datagram sockets:
 * they come, go with a word or without, are watched for this and that, and get
 * datagrams, of which some are empty.  At each step all say the same.
 */
TEST(poller, backends_agree)
{
	static const char *const names[] = { "poll", "epoll", "kqueue" };
	static const unsigned wants[] = { 0, DGRAM_READABLE, DGRAM_WRITABLE,
	    DGRAM_READABLE | DGRAM_WRITABLE, DGI_ERROR,
	    DGI_ERROR | DGRAM_READABLE };
	struct dgi_poller p[3];
	struct dgi_interest in;
	unsigned events[3][CHURNED], seed = 20240611, want[CHURNED] = { 0 }, to;
	uint32_t gen[CHURNED] = { 0 };
	size_t k, n = 0;
	int i, round, sv[CHURNED][2];
	char buf[4];

	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	for (k = 0; k < 3; k++)
		n += dgi_poller_open(&p[n], &mem, names[k]) == 0;
	if (n < 2)
		cr_skip_test("one backend on this system");
	for (i = 0; i < CHURNED; i++)
		cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv[i]), 0);
	for (round = 0; round < CHURN; round++) {
		i = rand_r(&seed) % CHURNED;
		in = (struct dgi_interest){ sv[i][0], (uint32_t)i, gen[i] };
		switch (rand_r(&seed) % 7) {
		case 0:
		case 1:
			to = wants[rand_r(&seed) % 6];
			if (want[i] == 0)
				in.gen = ++gen[i];
			set_all(p, n, &in, want[i], to, 0);
			want[i] = to;
			break;
		case 2:
			/* Whoever has it keeps it. */
			in.gen += 1000;
			if (want[i] != 0)
				set_all(p, n, &in, 0, DGRAM_READABLE, -EEXIST);
			break;
		case 3:
			if (rand_r(&seed) % 2 == 0) {
				set_all(p, n, &in, want[i], 0, 0);
				want[i] = 0;
			}
			close_both(sv[i]);
			/* poll(2) must have seen it before the number is new. */
			for (k = 0; k < n; k++)
				look(&p[k], gen, events[k]);
			set_all(p, n, &in, want[i], 0, 0);
			want[i] = 0;
			cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv[i]),
			    0);
			break;
		case 4:
		case 5:
			(void)send(sv[i][1], "abc", (size_t)rand_r(&seed) % 4,
			    MSG_DONTWAIT);
			break;
		default:
			while (recv(sv[i][0], buf, sizeof(buf),
			    MSG_DONTWAIT) >= 0 && rand_r(&seed) % 4 != 0)
				continue;
			break;
		}
		for (k = 0; k < n; k++)
			look(&p[k], gen, events[k]);
		for (k = 1; k < n; k++) {
			for (i = 0; i < CHURNED; i++)
				cr_assert_eq(events[k][i], events[0][i],
				    "round %d: %s %x, %s %x for %x", round,
				    p[k].ops->name, events[k][i],
				    p[0].ops->name, events[0][i], want[i]);
		}
	}
	for (i = 0; i < CHURNED; i++)
		close_both(sv[i]);
	while (n-- > 0)
		p[n].ops->close(&p[n]);
	cr_assert(test_alloc_clean(&alloc));
}
