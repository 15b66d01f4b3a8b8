/* SPDX-License-Identifier: ISC */

/*
 * Batches: the system's calls and the loop that stands in for them must not be
 * told apart from above.
 */

#include "test.h"

#include <netinet/in.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "core/mmsg.h"

#define BATCH	32u
#define MOST	(4 * BATCH)

/* What a fake table counts, and at which call it fails. */
struct state {
	unsigned recvmmsg, sendmmsg, recvmsg, sendmsg;	/* calls */
	bool no_mmsg;			/* the batch calls say -ENOSYS */
	unsigned go;			/* so many single calls succeed ... */
	int then;			/* ... then this; 0: the real call */
};

struct fake_os {
	struct dgi_os os;
	struct state *st;
};

static struct state *
state_of(const struct dgi_os *os)
{
	return ((const struct fake_os *)os)->st;
}

static int
fake_recvmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n,
    int flags)
{
	state_of(os)->recvmmsg++;
	if (state_of(os)->no_mmsg)
		return -ENOSYS;
	return dgi_os_real.recvmmsg(&dgi_os_real, fd, m, n, flags);
}

static int
fake_sendmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n)
{
	state_of(os)->sendmmsg++;
	if (state_of(os)->no_mmsg)
		return -ENOSYS;
	return dgi_os_real.sendmmsg(&dgi_os_real, fd, m, n);
}

static ssize_t
fake_recvmsg(const struct dgi_os *os, int fd, struct msghdr *m, int flags)
{
	struct state *st = state_of(os);

	st->recvmsg++;
	if (st->then == 0)
		return dgi_os_real.recvmsg(&dgi_os_real, fd, m, flags);
	return st->recvmsg > st->go ? st->then : (ssize_t)st->recvmsg;
}

static ssize_t
fake_sendmsg(const struct dgi_os *os, int fd, const struct msghdr *m)
{
	struct state *st = state_of(os);

	st->sendmsg++;
	if (st->then == 0)
		return dgi_os_real.sendmsg(&dgi_os_real, fd, m);
	return st->sendmsg > st->go ? st->then : (ssize_t)st->sendmsg;
}

static void
fake_init(struct fake_os *f, struct state *st, bool no_mmsg)
{
	memset(st, 0, sizeof(*st));
	st->no_mmsg = no_mmsg;
	f->os = dgi_os_real;
	f->os.recvmmsg = fake_recvmmsg;
	f->os.sendmmsg = fake_sendmmsg;
	f->os.recvmsg = fake_recvmsg;
	f->os.sendmsg = fake_sendmsg;
	f->st = st;
}

/* A batch whose datagram i is i bytes of the value i + 1. */
struct batch {
	struct dgi_mmsg m[MOST];
	struct iovec iov[MOST];
	struct sockaddr_in from[MOST];
	unsigned char data[MOST][MOST];
};

static void
fill_tx(struct batch *b, unsigned n, const struct sockaddr_in *to)
{
	unsigned i;

	memset(b, 0, sizeof(*b));
	for (i = 0; i < n; i++) {
		memset(b->data[i], (int)i + 1, i);
		b->from[i] = *to;
		b->iov[i].iov_base = b->data[i];
		b->iov[i].iov_len = i;
		b->m[i].msg_hdr.msg_iov = &b->iov[i];
		b->m[i].msg_hdr.msg_iovlen = 1;
		b->m[i].msg_hdr.msg_name = &b->from[i];
		b->m[i].msg_hdr.msg_namelen = sizeof(b->from[i]);
		b->m[i].msg_len = 9999;
	}
}

static void
fill_rx(struct batch *b)
{
	unsigned i;

	memset(b, 0, sizeof(*b));
	for (i = 0; i < MOST; i++) {
		b->iov[i].iov_base = b->data[i];
		b->iov[i].iov_len = sizeof(b->data[i]);
		b->m[i].msg_hdr.msg_iov = &b->iov[i];
		b->m[i].msg_hdr.msg_iovlen = 1;
		b->m[i].msg_hdr.msg_name = &b->from[i];
		b->m[i].msg_hdr.msg_namelen = sizeof(b->from[i]);
		b->m[i].msg_len = 9999;
	}
}

static int
udp(struct sockaddr_in *sin)
{
	socklen_t len = sizeof(*sin);
	int fd, size = 1 << 20;

	fd = socket(AF_INET, SOCK_DGRAM, 0);
	cr_assert(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	memset(sin, 0, sizeof(*sin));
	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(fd, (struct sockaddr *)sin, sizeof(*sin)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)sin, &len), 0);
	return fd;
}

static void
wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	cr_assert_eq(poll(&p, 1, 5000), 1);
}

/* Each count of datagrams, from one to four batches, there and back. */
static void
all_counts(bool no_mmsg)
{
	static struct batch tx, rx;
	struct dgi_mmsg_state mm = { 0 };
	struct fake_os f;
	struct state st;
	struct sockaddr_in a, b;
	int fd[2], later, r;
	unsigned count, i, got;

	fake_init(&f, &st, no_mmsg);
	fd[0] = udp(&a);
	fd[1] = udp(&b);
	for (count = 1; count <= MOST; count++) {
		fill_tx(&tx, count, &b);
		r = dgi_mmsg_send(&f.os, &mm, fd[0], tx.m, count);
		cr_assert_eq(r, (int)count);
		for (i = 0; i < count; i++)
			cr_assert_eq(tx.m[i].msg_len, i);
		fill_rx(&rx);
		for (got = 0; got < count; got += (unsigned)r) {
			wait_readable(fd[1]);
			later = 4711;
			r = dgi_mmsg_recv(&f.os, &mm, fd[1], rx.m + got,
			    count - got < BATCH ? count - got : BATCH, 0,
			    &later);
			cr_assert(r > 0, "%u of %u: %d", got, count, r);
			cr_assert_eq(later, 0);
		}
		cr_assert_eq(got, count);
		for (i = 0; i < count; i++) {
			cr_assert_eq(rx.m[i].msg_len, i);
			cr_assert_eq(memcmp(rx.data[i], tx.data[i], i), 0);
			cr_assert_eq(rx.from[i].sin_port, a.sin_port);
		}
		/* What lies behind the count is not touched. */
		if (count < MOST)
			cr_assert_eq(rx.m[count].msg_len, 9999);
		later = 4711;
		r = dgi_mmsg_recv(&f.os, &mm, fd[1], rx.m, BATCH, 0, &later);
		cr_assert_eq(r, -EAGAIN);
		cr_assert_eq(later, 0);
	}
	close(fd[0]);
	close(fd[1]);
}

TEST(mmsg, all_counts_real)
{
	all_counts(false);
}

TEST(mmsg, all_counts_emulated)
{
	all_counts(true);
}

/* Fewer are there than asked for: a short count, no error, nothing later. */
static void
short_count(bool no_mmsg)
{
	static struct batch tx, rx;
	struct dgi_mmsg_state mm = { 0 };
	struct fake_os f;
	struct state st;
	struct sockaddr_in a, b;
	int fd[2], later, r;
	unsigned n;

	fake_init(&f, &st, no_mmsg);
	fd[0] = udp(&a);
	fd[1] = udp(&b);
	for (n = 1; n < BATCH; n++) {
		fill_tx(&tx, n, &b);
		cr_assert_eq(dgi_mmsg_send(&f.os, &mm, fd[0], tx.m, n),
		    (int)n);
		wait_readable(fd[1]);
		fill_rx(&rx);
		later = 4711;
		r = dgi_mmsg_recv(&f.os, &mm, fd[1], rx.m, BATCH, 0, &later);
		cr_assert_eq(r, (int)n);
		cr_assert_eq(later, 0);
		cr_assert_eq(rx.m[n - 1].msg_len, n - 1);
	}
	close(fd[0]);
	close(fd[1]);
}

TEST(mmsg, short_count_real)
{
	short_count(false);
}

TEST(mmsg, short_count_emulated)
{
	short_count(true);
}

/* A true length beyond the buffer passes through, as do the flags. */
static void
true_length(bool no_mmsg)
{
#if DGI_HAVE_TRUE_LENGTH
	static struct batch tx, rx;
	struct dgi_mmsg_state mm = { 0 };
	struct fake_os f;
	struct state st;
	struct sockaddr_in a, b;
	int fd[2], later;

	fake_init(&f, &st, no_mmsg);
	fd[0] = udp(&a);
	fd[1] = udp(&b);
	fill_tx(&tx, 100, &b);
	cr_assert_eq(dgi_mmsg_send(&f.os, &mm, fd[0], tx.m + 98, 2), 2);
	wait_readable(fd[1]);
	fill_rx(&rx);
	rx.iov[0].iov_len = rx.iov[1].iov_len = 10;
	cr_assert_eq(dgi_mmsg_recv(&f.os, &mm, fd[1], rx.m, 2, MSG_TRUNC,
	    &later), 2);
	cr_assert_eq(rx.m[0].msg_len, 98);
	cr_assert_eq(rx.m[1].msg_len, 99);
	close(fd[0]);
	close(fd[1]);
#else
	(void)no_mmsg;
#endif
}

TEST(mmsg, true_length_real)
{
	true_length(false);
}

TEST(mmsg, true_length_emulated)
{
	true_length(true);
}

/*
 * A datagram that the kernel refuses, at each place: what is before it goes,
 * and its error is that of the next call, which begins with it.
 */
static void
bad_one(bool no_mmsg)
{
	static struct batch tx, rx;
	struct dgi_mmsg_state mm = { 0 };
	struct fake_os f;
	struct state st;
	struct sockaddr_in a, b;
	int fd[2], later, r;
	unsigned bad, got, i, n = 9;

	fake_init(&f, &st, no_mmsg);
	fd[0] = udp(&a);
	fd[1] = udp(&b);
	for (bad = 0; bad < n; bad++) {
		fill_tx(&tx, n, &b);
		tx.from[bad].sin_port = 0;
		r = dgi_mmsg_send(&f.os, &mm, fd[0], tx.m, n);
		if (bad > 0) {
			cr_assert_eq(r, (int)bad);
			r = dgi_mmsg_send(&f.os, &mm, fd[0], tx.m + bad,
			    n - bad);
		}
		cr_assert_eq(r, -EINVAL, "bad %u: %d", bad, r);
		if (bad + 1 < n)
			cr_assert_eq(dgi_mmsg_send(&f.os, &mm, fd[0],
			    tx.m + bad + 1, n - bad - 1), (int)(n - bad - 1));
		fill_rx(&rx);
		for (got = 0; got < n - 1; got += (unsigned)r) {
			wait_readable(fd[1]);
			r = dgi_mmsg_recv(&f.os, &mm, fd[1], rx.m + got,
			    n - got, 0, &later);
			cr_assert(r > 0);
		}
		for (i = 0; i < n - 1; i++)
			cr_assert_eq(rx.m[i].msg_len, i < bad ? i : i + 1);
		cr_assert_eq(dgi_mmsg_recv(&f.os, &mm, fd[1], rx.m, 1, 0,
		    &later), -EAGAIN);
	}
	close(fd[0]);
	close(fd[1]);
}

TEST(mmsg, bad_one_real)
{
	bad_one(false);
}

TEST(mmsg, bad_one_emulated)
{
	bad_one(true);
}

/* Stopped at every split point: the count of what went; first: the error. */
TEST(mmsg, emulated_send_stops)
{
	static const int errors[] = { -EAGAIN, -ENOBUFS, -ECONNREFUSED };
	static struct batch tx;
	struct dgi_mmsg_state mm = { .no_send = true };
	struct fake_os f;
	struct state st;
	struct sockaddr_in to = { 0 };
	unsigned e, i, n, split;
	int r;

	for (e = 0; e < 3; e++) {
		for (n = 1; n <= BATCH; n++) {
			for (split = 0; split <= n; split++) {
				fake_init(&f, &st, true);
				st.go = split;
				st.then = errors[e];
				fill_tx(&tx, n, &to);
				r = dgi_mmsg_send(&f.os, &mm, -1, tx.m, n);
				cr_assert_eq(r, split == 0 ? errors[e] :
				    (int)split);
				cr_assert_eq(st.sendmsg,
				    split < n ? split + 1 : n);
				for (i = 0; i < split; i++)
					cr_assert_eq(tx.m[i].msg_len, i + 1);
			}
		}
	}
}

/*
 * As above; an error behind a success is told by `later`, for the kernel gives
 * it once.  EAGAIN is no error: there was no more.
 */
TEST(mmsg, emulated_recv_stops)
{
	static const int errors[] = { -EAGAIN, -ECONNREFUSED, -ENOMEM };
	static struct batch rx;
	struct dgi_mmsg_state mm = { .no_recv = true };
	struct fake_os f;
	struct state st;
	unsigned e, i, n, split;
	int later, r;

	for (e = 0; e < 3; e++) {
		for (n = 1; n <= BATCH; n++) {
			for (split = 0; split <= n; split++) {
				fake_init(&f, &st, true);
				st.go = split;
				st.then = errors[e];
				fill_rx(&rx);
				later = 4711;
				r = dgi_mmsg_recv(&f.os, &mm, -1, rx.m, n, 0,
				    &later);
				cr_assert_eq(r, split == 0 ? errors[e] :
				    (int)split);
				cr_assert_eq(later, split == 0 || split == n ||
				    errors[e] == -EAGAIN ? 0 : errors[e]);
				cr_assert_eq(st.recvmsg,
				    split < n ? split + 1 : n);
				for (i = 0; i < split; i++)
					cr_assert_eq(rx.m[i].msg_len, i + 1);
			}
		}
	}
}

/* ENOSYS is asked for once in each direction, and only it switches over. */
TEST(mmsg, state_is_remembered)
{
	static struct batch b;
	struct dgi_mmsg_state mm = { 0 };
	struct fake_os f;
	struct state st;
	struct sockaddr_in to = { 0 };
	int i, later;

	fake_init(&f, &st, true);
	st.go = 1000;
	st.then = -EAGAIN;
	fill_tx(&b, 4, &to);
	for (i = 1; i <= 3; i++) {
		cr_assert_eq(dgi_mmsg_send(&f.os, &mm, -1, b.m, 4), 4);
		cr_assert_eq(st.sendmmsg, 1);
		cr_assert_eq(st.sendmsg, (unsigned)i * 4);
	}
	cr_assert(mm.no_send && !mm.no_recv);
	fill_rx(&b);
	for (i = 1; i <= 3; i++) {
		cr_assert_eq(dgi_mmsg_recv(&f.os, &mm, -1, b.m, 4, 0, &later),
		    4);
		cr_assert_eq(st.recvmmsg, 1);
		cr_assert_eq(st.recvmsg, (unsigned)i * 4);
	}
	cr_assert(mm.no_recv);
}

TEST(mmsg, other_errors_do_not_switch)
{
	static struct batch b;
	struct dgi_mmsg_state mm = { 0 };
	struct fake_os f;
	struct state st;
	struct sockaddr_in to = { 0 };
	int i, later = 0;

	fake_init(&f, &st, false);
	if (!test_has("recvmmsg") || !test_has("sendmmsg"))
		cr_skip_test("no recvmmsg or sendmmsg");
	fill_tx(&b, 4, &to);
	for (i = 1; i <= 3; i++) {
		cr_assert_eq(dgi_mmsg_send(&f.os, &mm, -1, b.m, 4), -EBADF);
		cr_assert_eq(dgi_mmsg_recv(&f.os, &mm, -1, b.m, 4, 0, &later),
		    -EBADF);
		cr_assert_eq(st.sendmmsg, (unsigned)i);
		cr_assert_eq(st.recvmmsg, (unsigned)i);
	}
	cr_assert(!mm.no_send && !mm.no_recv);
	cr_assert(st.sendmsg == 0 && st.recvmsg == 0);
}
