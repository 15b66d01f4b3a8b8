/* SPDX-License-Identifier: ISC */

/*
 * The kqueue backend where only a fake can lead it: changes that fail, filters
 * that are gone, events that nobody asked for.  What it has in common with the
 * others is in test_poller.c.
 */

#include "test.h"

#if DGI_OS_LINUX

#include <sys/socket.h>

#include <netinet/in.h>

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alloc.h"
#include "fake/sys/event.h"
#include "fake_kqueue.h"
#include "poll/poller.h"

#define MS	1000000			/* in ns */
#define ROOM	16

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Two sockets, each connected to the other. */
static void
udp_pair(int fd[2])
{
	struct sockaddr_in sin[2];
	socklen_t len = sizeof(sin[0]);
	int i;

	memset(sin, 0, sizeof(sin));
	for (i = 0; i < 2; i++) {
		fd[i] = socket(AF_INET, SOCK_DGRAM, 0);
		sin[i].sin_family = AF_INET;
		sin[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		cr_assert_eq(bind(fd[i], (struct sockaddr *)&sin[i], len), 0);
		cr_assert_eq(getsockname(fd[i], (struct sockaddr *)&sin[i],
		    &len), 0);
	}
	for (i = 0; i < 2; i++)
		cr_assert_eq(connect(fd[i], (struct sockaddr *)&sin[1 - i],
		    len), 0);
}

static void
put_byte(int fd)
{
	cr_assert_eq(send(fd, "x", 1, 0), 1);
}

static void
take_byte(int fd)
{
	char byte;

	cr_assert_eq(recv(fd, &byte, 1, MSG_DONTWAIT), 1);
}

/* A filter behind the back of the backend. */
static void
add(int kq, int fd, uint32_t filter)
{
	struct kevent e;

	EV_SET(&e, (uintptr_t)fd, filter, EV_ADD, 0, 0, NULL);
	cr_assert_eq(kevent(kq, &e, 1, NULL, 0, NULL), 0);
}

static struct dgi_poller poller;
static struct test_alloc alloc;
static struct dgi_mem mem;

static void
start(void)
{
	test_alloc_init(&alloc);
	dgi_mem_init(&mem, &alloc.allocator);
	cr_assert_eq(dgi_poller_open(&poller, &mem, "kqueue"), 0);
}

static void
end(void)
{
	poller.ops->close(&poller);
	cr_assert(test_alloc_clean(&alloc));
	fake_kqueue_reset();
}

static int
set(int fd, uint32_t gen, unsigned have, unsigned want)
{
	struct dgi_interest in = { fd, (uint32_t)fd, gen };

	return poller.ops->set(&poller, &in, have, want);
}

/* The events of the only report there may be. */
static unsigned
report(int fd, uint32_t gen)
{
	struct dgi_report r[ROOM];
	int n = poller.ops->wait(&poller, 0, r, ROOM);

	cr_assert(n == 0 || n == 1, "%d reports", n);
	if (n == 0)
		return 0;
	cr_assert_eq(r[0].slot, (uint32_t)fd);
	cr_assert_eq(r[0].gen, gen);
	return r[0].events;
}

#define R	DGRAM_READABLE
#define W	DGRAM_WRITABLE
#define E	DGI_ERROR

/* The k-th call for a change fails: all is as before, and may be tried again. */
TEST(kqueue, refused_changes)
{
	static const unsigned sets[] = { 0, R, W, R | W, E, E | R, E | W,
	    E | R | W };
	unsigned from, have, is, k, next, refused = 0, want, was;
	int fd[2], r;

	start();
	udp_pair(fd);
	put_byte(fd[1]);
	for (from = 0; from < 8; from++) {
		for (next = 1; next < 8; next++) {
			have = sets[from], want = sets[next];
			cr_assert_eq(set(fd[0], 1, 0, have), 0);
			was = report(fd[0], 1);
			cr_assert_eq(was, have & (R | W));
			for (k = 1; k < 5; k++) {
				fake_kqueue_fail(poller.fd, k, ENOMEM);
				r = set(fd[0], 1, have, want);
				fake_kqueue_fail(poller.fd, 0, 0);
				if (r < 0) {
					cr_assert_eq(r, -ENOMEM);
					refused++;
				}
				is = report(fd[0], 1);
				cr_assert_eq(is, r < 0 ? was : want & (R | W),
				    "%x to %x, call %u: %d, %x", have, want, k,
				    r, is);
				if (r == 0)
					have = want;
			}
			cr_assert_eq(set(fd[0], 1, have, want), 0);
			cr_assert_eq(report(fd[0], 1), want & (R | W));
			cr_assert_eq(set(fd[0], 1, want, 0), 0);
			cr_assert_eq(report(fd[0], 1), 0);
		}
	}
	cr_assert(refused >= 40, "%u", refused);
	close(fd[0]);
	close(fd[1]);
	end();
}

/* Interrupted in the middle of a change. */
TEST(kqueue, interrupted_change)
{
	int fd[2];

	start();
	udp_pair(fd);
	put_byte(fd[1]);
	fake_kqueue_fail(poller.fd, 1, EINTR);
	cr_assert_eq(set(fd[0], 1, 0, R), 0);
	cr_assert_eq(report(fd[0], 1), R);
	fake_kqueue_fail(poller.fd, 1, EINTR);
	cr_assert_eq(set(fd[0], 1, R, 0), 0);
	cr_assert_eq(report(fd[0], 1), 0);
	close(fd[0]);
	close(fd[1]);
	end();
}

/*
 * Closed by others, and the number used again by others: it can be watched
 * anew, and the first owner cannot disturb that any more.
 */
TEST(kqueue, number_is_reused)
{
	int fd[2], other[2];

	start();
	udp_pair(fd);
	udp_pair(other);
	put_byte(fd[1]);
	put_byte(other[1]);
	cr_assert_eq(set(fd[0], 1, 0, R), 0);
	cr_assert_eq(set(fd[0], 2, 0, R), -EEXIST);
	cr_assert_eq(dup2(other[0], fd[0]), fd[0]);
	cr_assert_eq(report(fd[0], 1), 0);
	cr_assert_eq(set(fd[0], 2, 0, W), 0);
	cr_assert_eq(set(fd[0], 1, R, W), -EBADF);
	cr_assert_eq(set(fd[0], 1, R, 0), 0);
	/* The number is another's once more, and its second owner not told. */
	cr_assert_eq(set(fd[0], 2, W, R), 0);
	cr_assert_eq(dup2(other[1], fd[0]), fd[0]);
	cr_assert_eq(set(fd[0], 2, R, E), -ENOENT);
	cr_assert_eq(report(fd[0], 2), 0);
	cr_assert_eq(dup2(other[0], fd[0]), fd[0]);
	cr_assert_eq(set(fd[0], 2, R, 0), 0);
	cr_assert_eq(set(fd[0], 2, 0, W), 0);
	cr_assert_eq(report(fd[0], 2), W);
	cr_assert_eq(set(fd[0], 3, 0, R), -EEXIST, "known by the other filter");
	cr_assert_eq(set(fd[0], 2, W, R), 0);
	cr_assert_eq(report(fd[0], 2), R);
	close(fd[0]);
	/* A change of what is gone: an error, and it can be forgotten. */
	cr_assert_eq(set(fd[0], 2, R, R | W), -EBADF);
	cr_assert_eq(set(fd[0], 2, R, 0), 0);
	cr_assert_eq(set(fd[0], 4, 0, R), -EBADF);
	close(fd[1]);
	close(other[0]);
	close(other[1]);
	end();
}

/* Events that nobody has asked for: no report, and gone for good. */
TEST(kqueue, strange_events)
{
	struct dgi_report r[ROOM];
	const struct timespec at_once = { 0, 0 };
	struct kevent e;
	int fd[2], i;

	start();
	udp_pair(fd);
	put_byte(fd[0]);
	cr_assert_eq(set(fd[1], 1, 0, R), 0);
	/* Filters that the table does not know. */
	add(poller.fd, fd[0], EVFILT_WRITE);
	add(poller.fd, fd[1], EVFILT_WRITE);
	cr_assert_eq(report(fd[1], 1), R);
	cr_assert_eq(report(fd[1], 1), R);
	take_byte(fd[1]);
	/* Not even for one that looks at the kqueue itself. */
	cr_assert_eq(kevent(poller.fd, NULL, 0, &e, 1, &at_once), 0);
	/* Errors, and descriptors that cannot be. */
	for (i = 0; i < 4; i++) {
		EV_SET(&e, i == 0 ? (uintptr_t)fd[1] : i == 1 ? UINTPTR_MAX :
		    i == 2 ? (uintptr_t)INT_MAX : 4000, EVFILT_READ,
		    i == 0 ? EV_ERROR : 0, 0, EBADF, NULL);
		fake_kqueue_inject(poller.fd, &e);
	}
	errno = 4711;
	cr_assert_eq(poller.ops->wait(&poller, -1, r, ROOM), 0);
	cr_assert_eq(errno, 4711);
	put_byte(fd[0]);
	cr_assert_eq(report(fd[1], 1), R);
	close(fd[0]);
	close(fd[1]);
	end();
}

/* The end of writing alone is not the end of reading. */
TEST(kqueue, end_of_writing)
{
	struct kevent e;
	int fd[2];

	start();
	udp_pair(fd);
	cr_assert_eq(set(fd[0], 1, 0, R | W), 0);
	cr_assert_eq(report(fd[0], 1), W);
	EV_SET(&e, (uintptr_t)fd[0], EVFILT_WRITE, EV_EOF, 0, 0, NULL);
	fake_kqueue_inject(poller.fd, &e);
	cr_assert_eq(report(fd[0], 1), W);
	/* Who does not read has no other sign of it. */
	cr_assert_eq(set(fd[0], 1, R | W, W), 0);
	fake_kqueue_inject(poller.fd, &e);
	cr_assert_eq(report(fd[0], 1), W | DGI_HANGUP);
	close(fd[0]);
	close(fd[1]);
	end();
}

/* Bytes for who wants errors alone: nothing, and not for ever. */
TEST(kqueue, errors_alone)
{
	struct dgi_report r[ROOM];
	int64_t began;
	int fd[2], full = 0, i, p[2];
	char byte;

	start();
	udp_pair(fd);
	cr_assert_eq(set(fd[0], 1, 0, E), 0);
	put_byte(fd[1]);
	/* What is not a socket does not know the mark. */
	cr_assert_eq(pipe(p), 0);
	cr_assert_eq(set(p[0], 1, 0, E), 0);
	cr_assert_eq(write(p[1], "x", 1), 1);
	for (i = 0; i < 5; i++) {
		began = now_ns();
		cr_assert_eq(poller.ops->wait(&poller, 10 * MS, r, ROOM), 0);
		full += now_ns() - began >= 10 * MS;
	}
	cr_assert(full >= 4, "%d waits lasted", full);
	close(p[1]);
	cr_assert_eq(report(p[0], 1), DGI_HANGUP);
	close(p[0]);
	/* The end is none of the two, and no reason to spin. */
	cr_assert_eq(shutdown(fd[0], SHUT_RD), 0);
	cr_assert_eq(report(fd[0], 1), E);
	cr_assert_eq(report(fd[0], 1), 0);
	/* Who reads from now on is told. */
	cr_assert_eq(set(fd[0], 1, E, E | R), 0);
	cr_assert_eq(report(fd[0], 1), R | DGI_READ_END);
	cr_assert_eq(recv(fd[0], &byte, 1, MSG_DONTWAIT), 1);
	cr_assert_eq(report(fd[0], 1), R | DGI_READ_END);
	fake_kqueue_quirks.error_of_end = ECONNRESET;
	cr_assert_eq(report(fd[0], 1), R | DGI_READ_END | E);
	close(fd[0]);
	close(fd[1]);
	end();
}

#else

Test(kqueue, none, .timeout = TEST_LIMIT)
{
	cr_skip_test("needs the fake, which this system has no need of");
}

#endif
