/* SPDX-License-Identifier: ISC */

/*
 * The real table of system calls.
 *
 * It is compiled here a second time as a system without eventfd(2) and
 * SOCK_CLOEXEC would have it, so that its pipe and its fcntl(2) run as well.
 */

#define DGI_HAVE_EVENTFD	0
#define DGI_HAVE_SOCK_CLOEXEC	0
#define dgi_os_real	os_poor
#include "core/os.c"
#undef dgi_os_real

#include "test.h"

#include <sys/resource.h>

#include <netinet/in.h>

#include <poll.h>
#include <stdio.h>
#include <string.h>

extern const struct dgi_os	dgi_os_real;

#define POISON	4711

static const struct dgi_os *const tables[] = { &dgi_os_real, &os_poor };
#define NTABLES	(sizeof(tables) / sizeof(tables[0]))

static bool
is_readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1 && (p.revents & POLLIN) != 0;
}

static void
check_flags(int fd)
{
	cr_assert(fd >= 0, "descriptor %d", fd);
	cr_assert((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	cr_assert((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
}

/* A UDP socket on a port of 127.0.0.1 that the kernel chose. */
static int
udp(const struct dgi_os *os, struct sockaddr_in *sin)
{
	socklen_t len = sizeof(*sin);
	int fd;

	fd = os->socket(os, AF_INET, SOCK_DGRAM, 0);
	cr_assert(fd >= 0);
	memset(sin, 0, sizeof(*sin));
	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(os->bind(os, fd, (struct sockaddr *)sin, sizeof(*sin)),
	    0);
	cr_assert_eq(os->getsockname(os, fd, (struct sockaddr *)sin, &len), 0);
	cr_assert(len == sizeof(*sin) && sin->sin_port != 0);
	return fd;
}

TEST(os, new_descriptors)
{
	static const int domains[] = { AF_INET, AF_UNIX, AF_INET6 };
	const struct dgi_os *os;
	int ev[2], fd;
	size_t i, j;

	for (i = 0; i < NTABLES; i++) {
		os = tables[i];
		for (j = 0; j < 3; j++) {
			fd = os->socket(os, domains[j], SOCK_DGRAM, 0);
			if (fd == -EAFNOSUPPORT && domains[j] == AF_INET6)
				continue;
			check_flags(fd);
			cr_assert_eq(os->close(os, fd), 0);
			cr_assert_eq(fcntl(fd, F_GETFD), -1);
		}
		cr_assert_eq(os->event_open(os, ev), 0);
		check_flags(ev[0]);
		check_flags(ev[1]);
		cr_assert_eq(os->close(os, ev[0]), 0);
		if (ev[1] != ev[0])
			cr_assert_eq(os->close(os, ev[1]), 0);
	}
}

/* A call must fail with this, and leave errno as it was. */
#define FAILS(call, with) do {						\
	errno = POISON;							\
	r = (call);							\
	cr_assert(errno == POISON, "%s changes errno", #call);		\
	cr_assert(r == (with), "%s is %ld", #call, r);			\
} while (0)

TEST(os, errno_is_kept)
{
	const struct dgi_os *os;
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct sockaddr *sa = (struct sockaddr *)&sin;
	char buf[10] = "";
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct dgi_mmsg mmsg[2] = { { .msg_hdr = msg }, { .msg_hdr = msg } };
	struct stat st;
	socklen_t len = sizeof(sin);
	int fd, value = 1;
	size_t i;
	long r;

	for (i = 0; i < NTABLES; i++) {
		os = tables[i];
		fd = os->socket(os, AF_INET, SOCK_DGRAM, 0);
		cr_assert(fd >= 0);
		cr_assert_eq(os->close(os, fd), 0);
		/* A descriptor that was, and one that never is. */
		for (;; fd = -1) {
			FAILS(os->close(os, fd), -EBADF);
			FAILS(os->bind(os, fd, sa, len), -EBADF);
			FAILS(os->connect(os, fd, sa, len), -EBADF);
			FAILS(os->getsockname(os, fd, sa, &len), -EBADF);
			FAILS(os->getpeername(os, fd, sa, &len), -EBADF);
			FAILS(os->getsockopt(os, fd, SOL_SOCKET, SO_TYPE,
			    &value, &len), -EBADF);
			FAILS(os->setsockopt(os, fd, SOL_SOCKET, SO_SNDBUF,
			    &value, sizeof(value)), -EBADF);
			FAILS(os->recvfrom(os, fd, buf, sizeof(buf), 0, NULL,
			    NULL), -EBADF);
			FAILS(os->recvmsg(os, fd, &msg, 0), -EBADF);
			FAILS(os->sendto(os, fd, buf, 1, NULL, 0), -EBADF);
			FAILS(os->sendmsg(os, fd, &msg), -EBADF);
			FAILS(os->recvmmsg(os, fd, mmsg, 2, 0),
			    test_has("recvmmsg") ? -EBADF : -ENOSYS);
			FAILS(os->sendmmsg(os, fd, mmsg, 2),
			    test_has("sendmmsg") ? -EBADF : -ENOSYS);
			FAILS(os->event_signal(os, fd), -EBADF);
			errno = POISON;
			os->event_clear(os, fd);
			cr_assert_eq(errno, POISON);
			if (fd == -1)
				break;
		}
		FAILS(os->socket(os, AF_INET, SOCK_DGRAM, IPPROTO_TCP),
		    -EPROTONOSUPPORT);
		FAILS(os->lstat(os, "/nonexistent/x", &st), -ENOENT);
		FAILS(os->unlink(os, "/nonexistent/x"), -ENOENT);
		FAILS(os->if_nametoindex(os, "nonexistent0"), 0);
	}
}

/*
 * EMFILE, with room for none and, where two are opened, for one: an error, and
 * nothing is left open.
 */
TEST(os, event_open_fails)
{
	struct rlimit old, low;
	int before = test_count_fds(), ev[2], first, r, room;
	size_t i;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (i = 0; i < NTABLES; i++) {
		for (room = 0; room < (tables[i] == &os_poor ? 2 : 1); room++) {
			/* All descriptors below the next one are taken. */
			first = dup(STDERR_FILENO);
			cr_assert(first >= 0);
			close(first);
			low = old;
			low.rlim_cur = (rlim_t)(first + room);
			cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
			errno = POISON;
			r = tables[i]->event_open(tables[i], ev);
			cr_assert_eq(errno, POISON);
			cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
			cr_assert_eq(r, -EMFILE);
			cr_assert_eq(test_count_fds(), before);
		}
	}
}

/*
 * Nothing to receive, no room to send: -EAGAIN at once, also on a descriptor
 * that is blocking, as an adopted one may be.
 */
TEST(os, would_block)
{
	const struct dgi_os *os;
	struct iovec iov;
	struct msghdr msg = { 0 };
	struct dgi_mmsg mmsg[2] = { 0 };
	char buf[1000] = "";
	int sv[2];
	size_t i, n;

	iov.iov_base = buf;
	iov.iov_len = sizeof(buf);
	msg.msg_iov = mmsg[0].msg_hdr.msg_iov = mmsg[1].msg_hdr.msg_iov = &iov;
	msg.msg_iovlen = 1;
	mmsg[0].msg_hdr.msg_iovlen = mmsg[1].msg_hdr.msg_iovlen = 1;
	for (i = 0; i < NTABLES; i++) {
		os = tables[i];
		cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
		errno = POISON;
		cr_assert_eq(os->recvfrom(os, sv[0], buf, sizeof(buf), 0, NULL,
		    NULL), -EAGAIN);
		cr_assert_eq(os->recvmsg(os, sv[0], &msg, 0), -EAGAIN);
		cr_assert_eq(os->recvmmsg(os, sv[0], mmsg, 2, 0),
		    test_has("recvmmsg") ? -EAGAIN : -ENOSYS);
		for (n = 0; n < 100000; n++) {
			if (os->sendto(os, sv[0], buf, sizeof(buf), NULL, 0) <
			    0)
				break;
		}
		cr_assert(n > 0 && n < 100000, "%zu went", n);
#if DGI_OS_LINUX
		/* The BSDs say -ENOBUFS. */
		cr_assert_eq(os->sendto(os, sv[0], buf, sizeof(buf), NULL, 0),
		    -EAGAIN);
		cr_assert_eq(os->sendmsg(os, sv[0], &msg), -EAGAIN);
		cr_assert_eq(os->sendmmsg(os, sv[0], mmsg, 2),
		    test_has("sendmmsg") ? -EAGAIN : -ENOSYS);
#endif
		cr_assert_eq(errno, POISON);
		close(sv[0]);
		close(sv[1]);
	}
}

/* Sending where nobody reads any more is an error, not SIGPIPE. */
TEST(os, no_sigpipe)
{
	const struct dgi_os *os;
	struct iovec iov;
	struct msghdr msg = { 0 };
	struct dgi_mmsg mmsg = { 0 };
	char buf[1] = "";
	int sv[2];
	size_t i;

	iov.iov_base = buf;
	iov.iov_len = 1;
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	mmsg.msg_hdr = msg;
	for (i = 0; i < NTABLES; i++) {
		os = tables[i];
		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
		close(sv[1]);
		cr_assert_eq(os->sendto(os, sv[0], buf, 1, NULL, 0), -EPIPE);
		cr_assert_eq(os->sendmsg(os, sv[0], &msg), -EPIPE);
		cr_assert_eq(os->sendmmsg(os, sv[0], &mmsg, 1),
		    test_has("sendmmsg") ? -EPIPE : -ENOSYS);
		close(sv[0]);
	}
}

/* Every data call once, between two UDP sockets; flags are passed on. */
TEST(os, datagrams)
{
	const struct dgi_os *os;
	struct sockaddr_in a, b, from;
	struct sockaddr *to = (struct sockaddr *)&b;
	struct iovec iov[2];
	struct msghdr msg = { 0 };
	struct dgi_mmsg mmsg[2] = { 0 };
	socklen_t len, size = sizeof(int);
	char buf[2][20];
	int fd[2], value = 0;
	size_t i, n;

	for (n = 0; n < NTABLES; n++) {
		os = tables[n];
		fd[0] = udp(os, &a);
		fd[1] = udp(os, &b);
		cr_assert_eq(os->getsockopt(os, fd[0], SOL_SOCKET, SO_TYPE,
		    &value, &size), 0);
		cr_assert_eq(value, SOCK_DGRAM);
		value = 1;
		cr_assert_eq(os->setsockopt(os, fd[0], SOL_SOCKET,
		    SO_BROADCAST, &value, sizeof(value)), 0);
		value = 0;
		cr_assert_eq(os->getsockopt(os, fd[0], SOL_SOCKET,
		    SO_BROADCAST, &value, &size), 0);
		cr_assert(value != 0);

		cr_assert_eq(os->sendto(os, fd[0], "first", 5, to, sizeof(b)),
		    5);
		len = sizeof(b);
		cr_assert_eq(os->getpeername(os, fd[0], to, &len), -ENOTCONN);
		cr_assert_eq(os->connect(os, fd[0], to, sizeof(b)), 0);
		len = sizeof(from);
		cr_assert_eq(os->getpeername(os, fd[0],
		    (struct sockaddr *)&from, &len), 0);
		cr_assert_eq(from.sin_port, b.sin_port);
		cr_assert_eq(os->sendto(os, fd[0], "", 0, NULL, 0), 0);
		iov[0].iov_base = buf[0];
		iov[0].iov_len = sizeof(buf[0]);
		iov[1].iov_base = buf[1];
		iov[1].iov_len = sizeof(buf[1]);
		memset(buf, 'x', sizeof(buf));
		msg.msg_iov = iov;
		msg.msg_iovlen = 2;
		cr_assert_eq(os->sendmsg(os, fd[0], &msg), 40);
		for (i = 0; i < 2; i++) {
			mmsg[i].msg_hdr.msg_iov = &iov[i];
			mmsg[i].msg_hdr.msg_iovlen = 1;
		}
		if (test_has("sendmmsg")) {
			cr_assert_eq(os->sendmmsg(os, fd[0], mmsg, 2), 2);
			cr_assert_eq(mmsg[1].msg_len, 20);
		} else {
			cr_assert_eq(os->sendmsg(os, fd[0], &mmsg[0].msg_hdr),
			    20);
			cr_assert_eq(os->sendmsg(os, fd[0], &mmsg[1].msg_hdr),
			    20);
		}
		cr_assert(is_readable(fd[1], 5000));
		len = sizeof(from);
		cr_assert_eq(os->recvfrom(os, fd[1], buf[0], 20, MSG_PEEK,
		    (struct sockaddr *)&from, &len), 5);
		cr_assert_eq(from.sin_port, a.sin_port);
		cr_assert_eq(os->recvfrom(os, fd[1], buf[0], 20, 0, NULL,
		    NULL), 5);
		cr_assert_eq(memcmp(buf[0], "first", 5), 0);
		cr_assert_eq(os->recvfrom(os, fd[1], buf[0], 20, 0, NULL,
		    NULL), 0);
		cr_assert_eq(os->recvmsg(os, fd[1], &msg, MSG_PEEK), 40);
		cr_assert_eq(os->recvmsg(os, fd[1], &msg, 0), 40);
		if (test_has("recvmmsg")) {
			cr_assert_eq(os->recvmmsg(os, fd[1], mmsg, 1,
			    MSG_PEEK), 1);
			cr_assert_eq(os->recvmmsg(os, fd[1], mmsg, 2, 0), 2);
		}
		close(fd[0]);
		close(fd[1]);
	}
}

#if !DGI_HAVE_MMSG
TEST(os, no_mmsg)
{
	struct dgi_mmsg m = { 0 };

	cr_assert_eq(dgi_os_real.recvmmsg(&dgi_os_real, -1, &m, 1, 0),
	    -ENOSYS);
	cr_assert_eq(dgi_os_real.sendmmsg(&dgi_os_real, -1, &m, 1), -ENOSYS);
}
#endif

TEST(os, clock_is_monotonic)
{
	const struct dgi_os *os = &dgi_os_real;
	struct timespec ts;
	uint64_t a, b, c;
	int i;

	a = os->now(os);
	for (i = 0; i < 1000; i++) {
		cr_assert_eq(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
		b = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
		c = os->now(os);
		cr_assert(a <= b && b <= c);
		a = c;
	}
}

TEST(os, paths)
{
	const struct dgi_os *os = &dgi_os_real;
	char path[80], alias[90];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/file", test_tmpdir());
	snprintf(alias, sizeof(alias), "%s.link", path);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	cr_assert(fd >= 0);
	close(fd);
	cr_assert_eq(symlink(path, alias), 0);
	cr_assert_eq(os->lstat(os, path, &st), 0);
	cr_assert(S_ISREG(st.st_mode));
	cr_assert_eq(os->lstat(os, alias, &st), 0);
	cr_assert(S_ISLNK(st.st_mode), "the link itself, not its target");
	cr_assert_eq(os->unlink(os, alias), 0);
	cr_assert_eq(os->unlink(os, path), 0);
	cr_assert_eq(os->lstat(os, path, &st), -ENOENT);
}

TEST(os, interfaces)
{
	const struct dgi_os *os = &dgi_os_real;
	struct if_nameindex *all = if_nameindex(), *i;

	cr_assert(all != NULL);
	for (i = all; i->if_index != 0; i++)
		cr_assert_eq(os->if_nametoindex(os, i->if_name), i->if_index);
	cr_assert(i > all, "an interface at least");
	if_freenameindex(all);
}

struct told {
	unsigned index;
	int links, addrs, stop;		/* of it; what ends it */
	bool loopback;
};

static int
tell(unsigned index, const struct sockaddr *sa, void *arg)
{
	struct told *t = arg;
	struct sockaddr_in in;

	if (sa != NULL)
		cr_assert(sa->sa_family == AF_INET ||
		    sa->sa_family == AF_INET6);
	if (index != t->index)
		return 0;
	t->links += sa == NULL;
	t->addrs += sa != NULL;
	if (sa != NULL && sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		t->loopback |= in.sin_addr.s_addr == htonl(INADDR_LOOPBACK);
	}
	return t->stop;
}

/* Each interface once, and its addresses. */
TEST(os, interfaces_and_addresses)
{
	const struct dgi_os *os = &dgi_os_real;
	struct if_nameindex *all = if_nameindex(), *i;
	bool loopback = false;

	cr_assert(all != NULL);
	for (i = all; i->if_index != 0; i++) {
		struct told t = { .index = i->if_index };

		errno = 12345;
		cr_assert_eq(dgi_os_interfaces(os, tell, &t), 0);
		cr_assert_eq(errno, 12345);
		cr_assert_eq(t.links, 1, "%s: %d", i->if_name, t.links);
		loopback |= t.loopback;
		t.links = t.addrs = 0;
		t.stop = 7;
		cr_assert_eq(dgi_os_interfaces(os, tell, &t), 7);
		cr_assert_eq(t.links + t.addrs, 1);
	}
	cr_assert(loopback, "127.0.0.1 is nobody's");
	if_freenameindex(all);
}

/* However often it was signalled, one clear makes it quiet. */
TEST(os, events)
{
	const struct dgi_os *os;
	int ev[2];
	size_t i;
	int j, round;

	for (i = 0; i < NTABLES; i++) {
		os = tables[i];
		cr_assert_eq(os->event_open(os, ev), 0);
		cr_assert(!is_readable(ev[0], 0));
		os->event_clear(os, ev[0]);
		/* More than a pipe takes; it does not block, nor fail. */
		for (round = 0; round < 3; round++) {
			for (j = 0; j < (round == 1 ? 1 : 20000); j++)
				cr_assert_eq(os->event_signal(os, ev[1]), 0);
			cr_assert(is_readable(ev[0], 5000));
			cr_assert(is_readable(ev[0], 0), "until cleared");
			os->event_clear(os, ev[0]);
			cr_assert(!is_readable(ev[0], 0));
		}
		close(ev[0]);
		if (ev[1] != ev[0])
			close(ev[1]);
	}
}

/* The event without eventfd(2) is a pipe, the other table's is not. */
TEST(os, pipe_event)
{
	int ev[2];

	cr_assert_eq(os_poor.event_open(&os_poor, ev), 0);
	cr_assert(ev[0] != ev[1]);
	close(ev[0]);
	close(ev[1]);
}

/* As full as an eventfd can be: readable as it is, so that is no error. */
TEST(os, full_event)
{
	const struct dgi_os *os = &dgi_os_real;
	uint64_t most = UINT64_MAX - 1;
	int ev[2];

	cr_assert_eq(os->event_open(os, ev), 0);
	if (ev[0] == ev[1]) {
		cr_assert_eq(write(ev[1], &most, sizeof(most)),
		    (ssize_t)sizeof(most));
		errno = POISON;
		cr_assert_eq(os->event_signal(os, ev[1]), 0);
		cr_assert_eq(errno, POISON);
		os->event_clear(os, ev[0]);
		cr_assert(!is_readable(ev[0], 0));
	} else {
		close(ev[1]);
	}
	close(ev[0]);
}
