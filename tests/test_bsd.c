/* SPDX-License-Identifier: ISC */

/*
 * The library where the kernel answers like a BSD: over bsd_os.h and, for the
 * backend kqueue, with filters that lie as they do there.
 */

#include "sockets.h"
#include "bsd_os.h"
#include "fake_kqueue.h"

struct scene {
	struct bsd_os bsd;
	struct dgram_loop *l;
	struct peer p;
	struct dgram_addr to;
	int fd;
};

static struct scene sc;

static void
enter(const char *backend, int type)
{
	struct dgram_loop_options o = { .backend = backend };

	memset(&sc, 0, sizeof(sc));
	bsd_os_init(&sc.bsd);
#if DGI_OS_LINUX
	fake_kqueue_quirks.unix_is_writable = true;
#endif
	OK(dgi_loop_new(&o, &sc.bsd.os, NULL, &sc.l));
	sc.fd = bare_socket(type, &sc.to);
	peer_open_bound(&sc.p, sc.l, type, NULL);
	turns(sc.l, 3);
}

static void
leave(void)
{
	free_loop(sc.l);
	if (sc.fd >= 0)
		close(sc.fd);
#if DGI_OS_LINUX
	fake_kqueue_reset();
#endif
}

/*
 * A full AF_UNIX receiver is ENOBUFS while the sender is writable: neither a
 * wait nor a send more often than the back-off says, and all arrive in order.
 */
static void
check_full_receiver(const char *backend, bool connected)
{
	const struct dgram_addr *to = connected ? NULL : &sc.to;
	uint32_t i, n, next = 1;
	unsigned sends;
	int64_t begin, seq;
	uint64_t waits;

	enter(backend, DGRAM_UNIX);
	if (connected)
		OK(dgram_connect_addr(sc.p.s, &sc.to));
	turns(sc.l, 3);
	for (n = 1; n < 1000; n++) {
		OK(send_done(&sc.p, n, to));
		CALL(dgram_flush(sc.p.s));
		if (dgram_get_send_queue_count(sc.p.s) > 0)
			break;
	}
	cr_assert(n < 1000, "never full");
	for (i = 0; i < 20; i++)
		OK(send_done(&sc.p, ++n, to));
	waits = sc.l->waits;
	sends = sc.bsd.sends;
	begin = clock_ms();
	while (clock_ms() < begin + 500)
		turn_wait(sc.l, 500);
	cr_assert(sc.l->waits - waits <= 30, "%lu waits in half a second",
	    (unsigned long)(sc.l->waits - waits));
	cr_assert(sc.bsd.sends - sends <= 30, "%u sends in half a second",
	    sc.bsd.sends - sends);
	cr_assert(stats_of(&sc.p).backoffs > 0);
	begin = clock_ms();
	while (next <= n) {
		cr_assert(clock_ms() < begin + 5000, "%u of %u", next, n);
		while ((seq = bare_recv(sc.fd)) >= 0)
			cr_assert_eq(seq, next++);
		turn_wait(sc.l, 20);
	}
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == (int)n);
	for (i = 0; i < n; i++)
		cr_assert_eq(sc.p.done[i], 4);
	cr_assert_eq(sc.p.n[EV_ERROR], 0);
	leave();
}

BACKEND_TEST(bsd, full_receiver)
{
	check_full_receiver(backend, false);
}

BACKEND_TEST(bsd, full_peer)
{
	check_full_receiver(backend, true);
}

/* Its error is the datagram's own, and the socket lives on. */
BACKEND_TEST(bsd, peer_is_closed)
{
	enter(backend, DGRAM_UNIX);
	OK(dgram_connect_addr(sc.p.s, &sc.to));
	turns(sc.l, 3);
	close(sc.fd);
	sc.fd = -1;
	OK(send_done(&sc.p, 1, NULL));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	cr_assert_eq(sc.p.done[0], -ECONNRESET);
	cr_assert_eq(sc.p.n[EV_ERROR], 0);
	cr_assert_eq(sc.p.n[EV_CLOSE], 0);
	leave();
}

/* The send buffer is the longest datagram; the next one is not held up. */
BACKEND_TEST(bsd, longer_than_the_buffer)
{
	static char buf[20000];
	struct iovec iov = { buf, sizeof(buf) };

	enter(backend, DGRAM_UDP4);
	OK(CALL(dgram_send_addr(sc.p.s, &iov, 1, &sc.to, peer_done, &sc.p)));
	iov.iov_len = BSD_SNDBUF;
	OK(CALL(dgram_send_addr(sc.p.s, &iov, 1, &sc.to, peer_done, &sc.p)));
	OK(send_done(&sc.p, 3, &sc.to));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 3);
	cr_assert_eq(sc.p.done[0], -EMSGSIZE);
	cr_assert_eq(sc.p.done[1], BSD_SNDBUF);
	cr_assert_eq(sc.p.done[2], 4);
	leave();
}

/* More than there is: nearly all there is, by option and by call. */
BACKEND_TEST(bsd, buffers)
{
	struct dgram_options o = { .recv_buffer_size = 1 << 20,
	    .send_buffer_size = 1 << 30 };
	struct peer q;
	int r;

	EACH_TYPE(type) {
		enter(backend, type);
		peer_open_bound(&q, sc.l, type, &o);
		r = CALL(dgram_get_recv_buffer_size(q.s));
		cr_assert(r > BSD_BUF_MOST / 32 * 31 && r <= BSD_BUF_MOST);
		r = CALL(dgram_get_send_buffer_size(q.s));
		cr_assert(r > BSD_BUF_MOST / 32 * 31 && r <= BSD_BUF_MOST);
		OK(dgram_set_recv_buffer_size(q.s, 30000));
		CHECK(dgram_get_recv_buffer_size(q.s), 30000);
		OK(dgram_set_recv_buffer_size(q.s, INT_MAX));
		cr_assert(CALL(dgram_get_recv_buffer_size(q.s)) > 200000);
		leave();
	}
}

/* The error of a disconnect that was made is none; the port stays. */
BACKEND_TEST(bsd, disconnect)
{
	struct dgram_addr a;

	EACH_TYPE(type) {
		enter(backend, type);
		OK(dgram_connect_addr(sc.p.s, &sc.to));
		OK(dgram_disconnect(sc.p.s));
		OK(dgram_address(sc.p.s, &a));
		if (type == DGRAM_UNIX)
			cr_assert(dgram_addr_equal(&a, &sc.p.addr));
		else
			cr_assert_eq(dgram_addr_port(&a),
			    dgram_addr_port(&sc.p.addr));
		OK(send_done(&sc.p, 1, &sc.to));
		bare_send(sc.fd, &sc.p.addr, 2);
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1 && sc.p.got == 1);
		cr_assert_eq(sc.p.done[0], 4);
		leave();
	}
}

/* A name of two bytes is none. */
BACKEND_TEST(bsd, unnamed_sender)
{
	int fd;

	enter(backend, DGRAM_UNIX);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	sc.p.from.len = 99;
	bare_send(fd, &sc.p.addr, 1);
	RUN_UNTIL(sc.l, sc.p.got == 1);
	cr_assert_eq(sc.p.from.len, 0);
	bare_send(sc.fd, &sc.p.addr, 2);
	RUN_UNTIL(sc.l, sc.p.got == 2);
	cr_assert(dgram_addr_equal(&sc.p.from, &sc.to));
	/* More than one at once. */
	for (int i = 0; i < 8; i++)
		bare_send(fd, &sc.p.addr, 3);
	RUN_UNTIL(sc.l, sc.p.got == 10);
	cr_assert_eq(sc.p.from.len, 0);
	close(fd);
	leave();
}

/* Where IP_PKTINFO is what the library asks for, by its own number. */
#if DGI_OS_LINUX
static bool has_local;

static void
note_local(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)p;
	if (e == EV_MESSAGE)
		has_local = m[n - 1].local != NULL;
}

/*
 * IP_PKTINFO by another number than the header's: the datagram comes without
 * what it says.  Refused: an error or another way, never a crash.
 */
BACKEND_TEST(bsd, other_pktinfo)
{
	static const int types[] = { IP_PKTINFO, 25, 26 };
	const struct dgram_options o = { .type = DGRAM_UDP4,
	    .events = &peer_events, .want = DGRAM_LOCAL };
	struct dgram_addr any = any_addr(DGRAM_UDP4);
	struct peer q;
	size_t i;
	int r;

	enter(backend, DGRAM_UDP4);
	peer_open_bound(&q, sc.l, DGRAM_UDP4, &o);
	q.hook = note_local;
	for (i = 0; i < COUNT(types); i++) {
		sc.bsd.pktinfo = types[i];
		bare_send(sc.fd, &q.addr, (uint32_t)i);
		RUN_UNTIL(sc.l, q.got == i + 1);
		cr_assert_eq(q.seq[i], i);
		cr_assert(has_local == (types[i] == IP_PKTINFO));
	}
	OK(dgram_close(q.s, NULL, NULL));
	turns(sc.l, 3);
	sc.bsd.no_pktinfo = true;
	peer_open(&q, sc.l, DGRAM_UDP4, &o);
	r = CALL(dgram_bind_addr(q.s, &any));
	cr_assert(r == -ENOTSUP || (r == 0 && DGI_HAVE_RECVDSTADDR), "%d", r);
	leave();
}
#endif
