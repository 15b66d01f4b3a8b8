/* SPDX-License-Identifier: ISC */

/*
 * The fake kqueue by itself, against what was measured on two NetBSD kernels, of
 * 2016 and of 2025: a test for each of 16 findings, by their numbers, those of
 * sending and of names with the table of system calls that is as on NetBSD.
 *
 * A system with a kqueue of its own has no use for this.
 */

#include "test.h"

#if DGI_OS_LINUX

#include <sys/socket.h>
#include <sys/un.h>
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

#include "bsd_os.h"
#include "fake/sys/event.h"
#include "fake_kqueue.h"

#define MS	1000000			/* in ns */
#define ROOM	16

static const struct timespec at_once = { 0, 0 };
static const struct timespec soon = { 0, 20 * MS };
static const struct timespec late = { 5, 0 };

static struct kevent got[ROOM];

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* One change, with no room for its error: 0 or -errno. */
static int
change(int kq, uintptr_t ident, uint32_t filter, uint32_t flags,
    uint32_t fflags, int64_t data)
{
	struct kevent e;

	EV_SET(&e, ident, filter, flags, fflags, data, NULL);
	return kevent(kq, &e, 1, NULL, 0, NULL) < 0 ? -errno : 0;
}

static void
add(int kq, int fd, uint32_t filter, uint32_t flags)
{
	cr_assert_eq(change(kq, (uintptr_t)fd, filter, EV_ADD | flags, 0, 0),
	    0);
}

/* Events there are now, into got. */
static int
events(int kq)
{
	return kevent(kq, NULL, 0, got, ROOM, &at_once);
}

/* The only event there must be. */
static const struct kevent *
only(int kq)
{
	int n = events(kq);

	cr_assert_eq(n, 1, "%d events", n);
	return &got[0];
}

static int
udp_socket(struct sockaddr_in *sin)
{
	socklen_t len = sizeof(*sin);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	memset(sin, 0, sizeof(*sin));
	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(fd, (struct sockaddr *)sin, len), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)sin, &len), 0);
	return fd;
}

static void
udp_pair(int fd[2])
{
	struct sockaddr_in sin[2];

	fd[0] = udp_socket(&sin[0]);
	fd[1] = udp_socket(&sin[1]);
	cr_assert_eq(connect(fd[0], (struct sockaddr *)&sin[1],
	    sizeof(sin[1])), 0);
	cr_assert_eq(connect(fd[1], (struct sockaddr *)&sin[0],
	    sizeof(sin[0])), 0);
}

static void
unix_pair(int fd[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fd), 0);
}

/* A socket whose peer is gone, with the error of having sent to it. */
static int
refused_socket(void)
{
	int fd[2];

	udp_pair(fd);
	close(fd[1]);
	cr_assert_eq(send(fd[0], "x", 1, 0), 1);
	return fd[0];
}

static void
put(int fd, size_t size)
{
	static const char buf[64];

	cr_assert_eq(send(fd, buf, size, 0), (ssize_t)size);
}

static void
take(int fd)
{
	char buf[64];

	cr_assert(recv(fd, buf, sizeof(buf), MSG_DONTWAIT) >= 0);
}

static void
close_all(int kq, const int fd[2])
{
	close(fd[0]);
	close(fd[1]);
	cr_assert_eq(fake_kqueue_close(kq), 0);
	fake_kqueue_reset();
}

/* data counts the addresses, too. */
TEST(fake_kqueue, fact_1)
{
	int fd[2], kq = kqueue();

	if (test_emulated())
		cr_skip_test("user-mode emulation does not tell what is queued");
	udp_pair(fd);
	add(kq, fd[0], EVFILT_READ, 0);
	put(fd[1], 3);
	put(fd[1], 4);
	cr_assert_eq(only(kq)->data, 7 + 2 * 16);
	cr_assert_eq(only(kq)->data, 7 + 2 * 16, "looking changes nothing");
	take(fd[0]);
	cr_assert_eq(only(kq)->data, 4 + 16);
	fake_kqueue_quirks.data_counts_addresses = false;
	cr_assert_eq(only(kq)->data, 4);
	close_all(kq, fd);

	kq = kqueue();
	udp_pair(fd);
	add(kq, fd[0], EVFILT_READ, 0);
	put(fd[1], 0);
	cr_assert_eq(only(kq)->data, 16);
	cr_assert_eq(only(kq)->data, 16);
	close_all(kq, fd);

	kq = kqueue();
	unix_pair(fd);
	add(kq, fd[0], EVFILT_READ, 0);
	put(fd[1], 2);
	put(fd[1], 3);
	cr_assert_eq(only(kq)->data, 9);
	close_all(kq, fd);
}

/* An empty datagram is an event. */
TEST(fake_kqueue, fact_2)
{
	int fd[2], kq = kqueue();

	udp_pair(fd);
	add(kq, fd[0], EVFILT_READ, 0);
	cr_assert_eq(events(kq), 0);
	put(fd[1], 0);
	cr_assert_eq(only(kq)->ident, (uintptr_t)fd[0]);
	cr_assert_eq(only(kq)->filter, EVFILT_READ);
	cr_assert_eq(only(kq)->flags & EV_EOF, 0);
	take(fd[0]);
	cr_assert_eq(events(kq), 0);
	close_all(kq, fd);
}

/* A full AF_UNIX receiver: ENOBUFS, and writable all the time. */
TEST(fake_kqueue, fact_3)
{
	struct bsd_os bsd;
	int fd[2], i, kq = kqueue();
	ssize_t r;

	bsd_os_init(&bsd);
	fake_kqueue_quirks.unix_is_writable = true;
	unix_pair(fd);
	for (i = 0; i < 1000; i++) {
		r = bsd.os.sendto(&bsd.os, fd[0], "x", 1, NULL, 0);
		if (r < 0)
			break;
	}
	cr_assert_eq(r, -ENOBUFS);
	add(kq, fd[0], EVFILT_WRITE, EV_CLEAR);
	cr_assert_eq(only(kq)->data, 2560);
	cr_assert_eq(events(kq), 0);
	/* It drains, and nobody says so. */
	while (i-- > 0)
		take(fd[1]);
	cr_assert_eq(kevent(kq, NULL, 0, got, ROOM, &soon), 0);
	/* Without the switch both are as on Linux. */
	cr_assert_eq(change(kq, (uintptr_t)fd[0], EVFILT_WRITE, EV_DELETE, 0,
	    0), 0);
	fake_kqueue_quirks.unix_is_writable = false;
	while (send(fd[0], "x", 1, 0) == 1)
		continue;
	cr_assert_eq(errno, EAGAIN);
	add(kq, fd[0], EVFILT_WRITE, 0);
	cr_assert_eq(events(kq), 0);
	while (recv(fd[1], got, 1, 0) == 1)
		continue;
	cr_assert_eq(only(kq)->filter, EVFILT_WRITE);
	close_all(kq, fd);
}

/* The peer of a pair is closed: no event; sending tells, and by path, too. */
TEST(fake_kqueue, fact_4)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct bsd_os bsd;
	int fd[2], kq = kqueue();

	bsd_os_init(&bsd);
	unix_pair(fd);
	add(kq, fd[0], EVFILT_READ, 0);
	close(fd[1]);
	cr_assert_eq(events(kq), 0);
	cr_assert_eq(bsd.os.sendto(&bsd.os, fd[0], "x", 1, NULL, 0),
	    -ECONNRESET);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/s", test_tmpdir());
	fd[1] = socket(AF_UNIX, SOCK_DGRAM, 0);
	cr_assert_eq(bind(fd[1], (struct sockaddr *)&sun, sizeof(sun)), 0);
	cr_assert_eq(unlink(sun.sun_path), 0);
	cr_assert_eq(bsd.os.sendto(&bsd.os, fd[0], "x", 1,
	    (struct sockaddr *)&sun, sizeof(sun)), -ENOENT);
	close_all(kq, fd);
}

/* An error of a connected socket: both filters, with no sign of it. */
TEST(fake_kqueue, fact_5)
{
	int fd[2], i, kq = kqueue(), n;
	char byte;

	fd[0] = refused_socket();
	fd[1] = dup(fd[0]);
	add(kq, fd[0], EVFILT_READ, 0);
	add(kq, fd[0], EVFILT_WRITE, 0);
	n = events(kq);
	cr_assert_eq(n, 2);
	for (i = 0; i < n; i++) {
		cr_assert_eq(got[i].flags & (EV_EOF | EV_ERROR), 0);
		cr_assert_eq(got[i].fflags, 0);
		if (got[i].filter == EVFILT_READ)
			cr_assert_eq(got[i].data, 0);
	}
	cr_assert_eq(recv(fd[0], &byte, 1, 0), -1);
	cr_assert_eq(errno, ECONNREFUSED);
	cr_assert_eq(only(kq)->filter, EVFILT_WRITE);
	close_all(kq, fd);
}

/* EVFILT_WRITE with EV_CLEAR: once, and again when something was sent. */
TEST(fake_kqueue, fact_6)
{
	int fd[2], kq = kqueue();

	udp_pair(fd);
	add(kq, fd[0], EVFILT_WRITE, EV_CLEAR);
	cr_assert_eq(only(kq)->filter, EVFILT_WRITE);
	cr_assert_eq(events(kq), 0);
	/* What comes is no news for it. */
	put(fd[1], 1);
	cr_assert_eq(events(kq), 0);
	put(fd[0], 1);
	take(fd[1]);
	cr_assert_eq(only(kq)->filter, EVFILT_WRITE);
	cr_assert_eq(events(kq), 0);
	close_all(kq, fd);
}

/* EVFILT_READ with EV_CLEAR: once for what is there and for each that comes. */
TEST(fake_kqueue, fact_7)
{
	int fd[2], kq = kqueue();

	udp_pair(fd);
	put(fd[1], 1);
	add(kq, fd[0], EVFILT_READ, EV_CLEAR);
	cr_assert_eq(only(kq)->filter, EVFILT_READ);
	cr_assert_eq(events(kq), 0);
	put(fd[1], 1);
	cr_assert_eq(only(kq)->filter, EVFILT_READ);
	cr_assert_eq(events(kq), 0);
	add(kq, fd[0], EVFILT_READ, EV_CLEAR);
	cr_assert_eq(only(kq)->filter, EVFILT_READ);
	cr_assert_eq(events(kq), 0);
	close_all(kq, fd);
}

/* EV_DISPATCH, then EV_ENABLE while it is still readable: kernels differ. */
TEST(fake_kqueue, fact_8)
{
	int fd[2], kq = kqueue();
	uintptr_t id;

	udp_pair(fd);
	id = (uintptr_t)fd[0];
	add(kq, fd[0], EVFILT_READ, EV_DISPATCH);
	put(fd[1], 1);
	put(fd[1], 1);
	cr_assert_eq(only(kq)->filter, EVFILT_READ);
	cr_assert_eq(events(kq), 0, "disabled");
	take(fd[0]);
	cr_assert_eq(change(kq, id, EVFILT_READ, EV_ENABLE, 0, 0), 0);
	cr_assert_eq(events(kq), 0, "2016");
	put(fd[1], 1);
	cr_assert_eq(only(kq)->filter, EVFILT_READ, "something new");
	cr_assert_eq(change(kq, id, EVFILT_READ, EV_ADD | EV_ENABLE, 0, 0), 0);
	cr_assert_eq(only(kq)->filter, EVFILT_READ, "both");
	fake_kqueue_quirks.enable_without_check = false;
	cr_assert_eq(events(kq), 0);
	cr_assert_eq(change(kq, id, EVFILT_READ, EV_ENABLE, 0, 0), 0);
	cr_assert_eq(only(kq)->filter, EVFILT_READ, "2025");
	close_all(kq, fd);
}

/* EVFILT_USER and NOTE_USECONDS: not in 2016. */
TEST(fake_kqueue, fact_9)
{
	int kq = kqueue();

	cr_assert_eq(change(kq, 1, EVFILT_USER, EV_ADD, 0, 0), -EINVAL);
	cr_assert_eq(change(kq, 2, EVFILT_TIMER, EV_ADD, NOTE_USECONDS, 20000),
	    0);
	cr_assert_eq(kevent(kq, NULL, 0, got, ROOM, &soon), 0);
	cr_assert_eq(kevent(kq, NULL, 0, got, ROOM, &soon), 0);
	cr_assert_eq(change(kq, 2, EVFILT_TIMER, EV_ADD, 0, 10), 0);
	cr_assert_eq(kevent(kq, NULL, 0, got, ROOM, &late), 1);
	cr_assert_eq(got[0].filter, EVFILT_TIMER);
	cr_assert(got[0].data >= 1);

	fake_kqueue_quirks.no_user = fake_kqueue_quirks.no_useconds = false;
	cr_assert_eq(change(kq, 2, EVFILT_TIMER, EV_ADD, NOTE_USECONDS, 5000),
	    0);
	cr_assert_eq(kevent(kq, NULL, 0, got, ROOM, &late), 1);
	cr_assert_eq(got[0].ident, 2);
	cr_assert_eq(change(kq, 2, EVFILT_TIMER, EV_DELETE, 0, 0), 0);
	cr_assert_eq(change(kq, 1, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0), 0);
	cr_assert_eq(events(kq), 0);
	cr_assert_eq(change(kq, 1, EVFILT_USER, 0, NOTE_TRIGGER, 0), 0);
	cr_assert_eq(only(kq)->filter, EVFILT_USER);
	cr_assert_eq(events(kq), 0);
	fake_kqueue_close(kq);
	fake_kqueue_reset();
}

/* What is not there: ENOENT, and EBADF when its descriptor is closed. */
TEST(fake_kqueue, fact_10)
{
	struct kevent e;
	int fd[2], kq = kqueue(), old;

	udp_pair(fd);
	EV_SET(&e, (uintptr_t)fd[0], EVFILT_READ, EV_DELETE, 0, 0, NULL);
	cr_assert_eq(kevent(kq, &e, 1, got, ROOM, &at_once), 1);
	cr_assert_eq(got[0].flags, EV_ERROR);
	cr_assert_eq(got[0].data, ENOENT);
	cr_assert_eq(got[0].ident, (uintptr_t)fd[0]);
	cr_assert_eq(kevent(kq, &e, 1, NULL, 0, &at_once), -1);
	cr_assert_eq(errno, ENOENT);
	cr_assert_eq(change(kq, (uintptr_t)fd[0], EVFILT_READ, EV_ENABLE, 0,
	    0), -ENOENT);

	/* Closed, though a dup(2) keeps the socket open. */
	put(fd[1], 1);
	add(kq, fd[0], EVFILT_READ, 0);
	add(kq, fd[1], EVFILT_READ, 0);
	old = dup(fd[0]);
	cr_assert_eq(only(kq)->ident, (uintptr_t)fd[0]);
	close(fd[0]);
	cr_assert_eq(events(kq), 0);
	cr_assert_eq(kevent(kq, &e, 1, NULL, 0, &at_once), -1);
	cr_assert_eq(errno, EBADF);
	put(fd[1], 1);
	cr_assert_eq(kevent(kq, NULL, 0, got, ROOM, &soon), 0);
	/* The number is another file's: what it had is gone all the same. */
	cr_assert_eq(dup2(fd[1], fd[0]), fd[0]);
	cr_assert_eq(kevent(kq, &e, 1, NULL, 0, &at_once), -1);
	cr_assert_eq(errno, ENOENT);
	close(old);
	close_all(kq, fd);
}

/* EV_RECEIPT; the end of reading. */
TEST(fake_kqueue, fact_11)
{
	struct kevent e[2];
	int fd[2], kq = kqueue();

	udp_pair(fd);
	put(fd[1], 1);
	EV_SET(&e[0], (uintptr_t)fd[0], EVFILT_READ, EV_ADD | EV_RECEIPT, 0, 0,
	    NULL);
	EV_SET(&e[1], (uintptr_t)fd[0], EVFILT_WRITE, EV_DELETE | EV_RECEIPT,
	    0, 0, NULL);
	cr_assert_eq(kevent(kq, e, 2, got, ROOM, &at_once), 2);
	cr_assert(got[0].flags == EV_ERROR && got[0].data == 0);
	cr_assert(got[1].flags == EV_ERROR && got[1].data == ENOENT);
	take(fd[0]);
	cr_assert_eq(events(kq), 0);
	cr_assert_eq(shutdown(fd[0], SHUT_RD), 0);
	cr_assert((only(kq)->flags & EV_EOF) != 0);
	cr_assert_eq(only(kq)->fflags, 0);
	fake_kqueue_quirks.error_of_end = ECONNRESET;
	cr_assert_eq(only(kq)->fflags, ECONNRESET);
	close_all(kq, fd);
}

/* Six ready, room for two: they take turns. */
TEST(fake_kqueue, fact_12)
{
	int fd[2], i, kq = kqueue(), more[6];

	udp_pair(fd);
	put(fd[1], 1);
	for (i = 0; i < 6; i++) {
		more[i] = dup(fd[0]);
		add(kq, more[i], EVFILT_READ, 0);
	}
	for (i = 0; i < 12; i += 2) {
		cr_assert_eq(kevent(kq, NULL, 0, got, 2, &at_once), 2);
		cr_assert_eq(got[0].ident, (uintptr_t)more[i % 6]);
		cr_assert_eq(got[1].ident, (uintptr_t)more[i % 6 + 1]);
	}
	fake_kqueue_quirks.round_robin = false;
	for (i = 0; i < 3; i++) {
		cr_assert_eq(kevent(kq, NULL, 0, got, 2, &at_once), 2);
		cr_assert_eq(got[0].ident, (uintptr_t)more[0]);
		cr_assert_eq(got[1].ident, (uintptr_t)more[1]);
	}
	for (i = 0; i < 6; i++)
		close(more[i]);
	close_all(kq, fd);
}

TEST(fake_kqueue, fact_13)
{
	const struct timespec negative = { -1, 0 }, bad = { 0, 1000000000 },
	    lasting = { 100000001, 0 };
	int fd[2], kq = kqueue();
	int64_t began = now_ns();

	cr_assert_eq(kevent(kq, NULL, 0, got, ROOM, &negative), -1);
	cr_assert_eq(errno, EINVAL);
	cr_assert_eq(kevent(kq, NULL, 0, got, ROOM, &bad), -1);
	cr_assert_eq(errno, EINVAL);
	udp_pair(fd);
	add(kq, fd[0], EVFILT_WRITE, 0);
	cr_assert_eq(kevent(kq, NULL, 0, NULL, 0, &at_once), 0);
	cr_assert_eq(kevent(kq, NULL, 0, NULL, 0, NULL), 0);
	cr_assert_eq(kevent(kq, NULL, 0, got, ROOM, NULL), 1);
	cr_assert_eq(kevent(kq, NULL, 0, got, ROOM, &lasting), -1);
	cr_assert_eq(errno, EINVAL);
	fake_kqueue_quirks.no_long_timeouts = false;
	cr_assert_eq(kevent(kq, NULL, 0, got, ROOM, &lasting), 1);
	cr_assert_eq(change(kq, (uintptr_t)fd[0], EVFILT_WRITE, EV_DELETE, 0,
	    0), 0);
	cr_assert_eq(kevent(kq, NULL, 0, got, ROOM, &soon), 0);
	cr_assert(now_ns() - began >= 20 * MS, "it waits");
	close_all(kq, fd);
}

/* A UDP datagram is not longer than SO_SNDBUF. */
TEST(fake_kqueue, fact_14)
{
	static char buf[20000];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct sockaddr_in sin;
	struct bsd_os bsd;
	socklen_t len = sizeof(int);
	int fd, other, value = 0;

	bsd_os_init(&bsd);
	other = udp_socket(&sin);
	fd = bsd.os.socket(&bsd.os, AF_INET, SOCK_DGRAM, 0);
	cr_assert(fd >= 0);
	cr_assert_eq(bsd.os.connect(&bsd.os, fd, (struct sockaddr *)&sin,
	    sizeof(sin)), 0);
	cr_assert_eq(bsd.os.getsockopt(&bsd.os, fd, SOL_SOCKET, SO_SNDBUF,
	    &value, &len), 0);
	cr_assert_eq(value, 9216);
	cr_assert_eq(bsd.os.sendto(&bsd.os, fd, buf, sizeof(buf), NULL, 0),
	    -EMSGSIZE);
	cr_assert_eq(bsd.os.sendmsg(&bsd.os, fd, &m), -EMSGSIZE);
	cr_assert_eq(bsd.os.sendto(&bsd.os, fd, buf, 9216, NULL, 0), 9216);
	value = 30000;
	cr_assert_eq(bsd.os.setsockopt(&bsd.os, fd, SOL_SOCKET, SO_SNDBUF,
	    &value, len), 0);
	cr_assert_eq(bsd.os.sendto(&bsd.os, fd, buf, sizeof(buf), NULL, 0),
	    (ssize_t)sizeof(buf));
	close(fd);
	close(other);
}

/* A sender without a name on AF_UNIX has one of two bytes. */
TEST(fake_kqueue, fact_15)
{
	struct sockaddr_un sun;
	struct iovec iov = { got, 1 };
	struct dgi_mmsg v[1] = { { .msg_len = 0 } };
	struct msghdr m = { .msg_name = &sun, .msg_namelen = sizeof(sun),
	    .msg_iov = &iov, .msg_iovlen = 1 };
	socklen_t len = sizeof(sun);
	struct bsd_os bsd;
	int fd[2];

	bsd_os_init(&bsd);
	unix_pair(fd);
	put(fd[1], 1);
	put(fd[1], 1);
	put(fd[1], 1);
	v[0].msg_hdr = m;
	cr_assert_eq(bsd.os.recvfrom(&bsd.os, fd[0], got, 1, 0,
	    (struct sockaddr *)&sun, &len), 1);
	cr_assert_eq(len, 2);
	cr_assert_eq(sun.sun_family, AF_UNIX);
	cr_assert_eq(bsd.os.recvmsg(&bsd.os, fd[0], &m, 0), 1);
	cr_assert_eq(m.msg_namelen, 2);
	cr_assert_eq(bsd.os.recvmmsg(&bsd.os, fd[0], v, 1, 0), 1);
	cr_assert_eq(v[0].msg_hdr.msg_namelen, 2);
	close(fd[0]);
	close(fd[1]);
}

/* IP_PKTINFO: by another number than the header's, or not at all. */
TEST(fake_kqueue, fact_16)
{
	static const int types[] = { 25, 26 };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control;
	const struct cmsghdr *c;
	struct iovec iov = { got, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = &control };
	struct bsd_os bsd;
	int fd[2], on = 1;
	size_t i;

	bsd_os_init(&bsd);
	udp_pair(fd);
	bsd.no_pktinfo = true;
	cr_assert_eq(bsd.os.setsockopt(&bsd.os, fd[0], IPPROTO_IP, IP_PKTINFO,
	    &on, sizeof(on)), -ENOPROTOOPT);
	bsd.no_pktinfo = false;
	cr_assert_eq(bsd.os.setsockopt(&bsd.os, fd[0], IPPROTO_IP, IP_PKTINFO,
	    &on, sizeof(on)), 0);
	for (i = 0; i < 2; i++) {
		bsd.pktinfo = types[i];
		put(fd[1], 1);
		m.msg_controllen = sizeof(control);
		cr_assert_eq(bsd.os.recvmsg(&bsd.os, fd[0], &m, 0), 1);
		c = CMSG_FIRSTHDR(&m);
		cr_assert(c != NULL);
		cr_assert_eq(c->cmsg_type, types[i]);
	}
	close(fd[0]);
	close(fd[1]);
}

/* ---- what is no finding, but relied on ---- */

/* NOTE_LOWAT: bytes, but an error and the end at once. */
TEST(fake_kqueue, low_water)
{
	int fd[2], kq = kqueue(), value;
	socklen_t len = sizeof(value);

	if (test_emulated())
		cr_skip_test("user-mode emulation does not tell what is queued");
	udp_pair(fd);
	cr_assert_eq(change(kq, (uintptr_t)fd[0], EVFILT_READ, EV_ADD,
	    NOTE_LOWAT, 40), 0);
	put(fd[1], 10);
	cr_assert_eq(events(kq), 0);
	put(fd[1], 10);
	cr_assert_eq(only(kq)->data, 52);
	/* EV_ADD changes it, both ways. */
	cr_assert_eq(change(kq, (uintptr_t)fd[0], EVFILT_READ, EV_ADD,
	    NOTE_LOWAT, INT_MAX), 0);
	cr_assert_eq(events(kq), 0);
	add(kq, fd[0], EVFILT_READ, 0);
	cr_assert_eq(only(kq)->data, 52);
	cr_assert_eq(change(kq, (uintptr_t)fd[0], EVFILT_READ, EV_ADD,
	    NOTE_LOWAT, INT_MAX), 0);
	cr_assert_eq(shutdown(fd[0], SHUT_RD), 0);
	cr_assert((only(kq)->flags & EV_EOF) != 0);
	close_all(kq, fd);

	kq = kqueue();
	fd[0] = refused_socket();
	fd[1] = dup(fd[0]);
	cr_assert_eq(change(kq, (uintptr_t)fd[0], EVFILT_READ,
	    EV_ADD | EV_CLEAR, NOTE_LOWAT, INT_MAX), 0);
	cr_assert_eq(only(kq)->flags & EV_EOF, 0);
	cr_assert_eq(events(kq), 0);
	cr_assert_eq(getsockopt(fd[0], SOL_SOCKET, SO_ERROR, &value, &len), 0);
	cr_assert_eq(value, ECONNREFUSED);
	cr_assert_eq(send(fd[0], "x", 1, 0), 1);
	cr_assert_eq(only(kq)->filter, EVFILT_READ, "the next error");
	close_all(kq, fd);
}

/* Others can poll a kqueue: it is readable while there are events. */
TEST(fake_kqueue, is_polled)
{
	int fd[2], kq = kqueue();
	struct pollfd p = { .fd = kq, .events = POLLIN };

	udp_pair(fd);
	add(kq, fd[0], EVFILT_READ, 0);
	cr_assert_eq(poll(&p, 1, 0), 0);
	put(fd[1], 1);
	cr_assert_eq(poll(&p, 1, 0), 1);
	cr_assert_eq(poll(&p, 1, 0), 1);
	cr_assert_eq(events(kq), 1);
	cr_assert_eq(poll(&p, 1, 0), 1, "level-triggered");
	take(fd[0]);
	cr_assert_eq(poll(&p, 1, 0), 0);
	cr_assert_eq(events(kq), 0);
	cr_assert_eq(change(kq, (uintptr_t)fd[0], EVFILT_READ, EV_DISABLE, 0,
	    0), 0);
	put(fd[1], 1);
	cr_assert_eq(events(kq), 0);
	cr_assert_eq(change(kq, (uintptr_t)fd[0], EVFILT_READ, EV_DELETE, 0,
	    0), 0);
	cr_assert_eq(poll(&p, 1, 0), 0);
	add(kq, fd[0], EVFILT_READ, EV_CLEAR);
	cr_assert_eq(poll(&p, 1, 0), 1);
	cr_assert_eq(events(kq), 1);
	cr_assert_eq(poll(&p, 1, 0), 0);
	add(kq, fd[0], EVFILT_WRITE, 0);
	cr_assert_eq(poll(&p, 1, 0), 1);
	cr_assert_eq(change(kq, (uintptr_t)fd[0], EVFILT_WRITE, EV_DELETE, 0,
	    0), 0);
	close_all(kq, fd);
}

TEST(fake_kqueue, one_shot)
{
	int fd[2], kq = kqueue();

	udp_pair(fd);
	put(fd[1], 1);
	add(kq, fd[0], EVFILT_READ, EV_ONESHOT);
	cr_assert_eq(events(kq), 1);
	cr_assert_eq(events(kq), 0);
	cr_assert_eq(change(kq, (uintptr_t)fd[0], EVFILT_READ, EV_DELETE, 0,
	    0), -ENOENT);
	close_all(kq, fd);
}

/* A child of fork(2) has none, and its number is free. */
TEST(fake_kqueue, forked)
{
	int fd[2], kq = kqueue(), status = 0;
	pid_t pid;

	udp_pair(fd);
	add(kq, fd[0], EVFILT_READ, 0);
	pid = fork();
	if (pid == 0) {
		status = 1 * (fcntl(kq, F_GETFD) != -1) |
		    2 * (change(kq, (uintptr_t)fd[0], EVFILT_READ, EV_DELETE,
			0, 0) != -EBADF) |
		    4 * (kqueue() != kq);
		_exit(status);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0);
	put(fd[1], 1);
	cr_assert_eq(only(kq)->ident, (uintptr_t)fd[0]);
	close_all(kq, fd);
}

#else

Test(fake_kqueue, none, .timeout = TEST_LIMIT)
{
	cr_skip_test("this system has a kqueue, or cannot stand in for one");
}

#endif
