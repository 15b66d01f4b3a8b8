/* SPDX-License-Identifier: ISC */

/*
 * Peers of AF_UNIX that vanish, and come back.
 */

#include "scene.h"

static struct dgram_addr place;

/* Connected to a bare socket at `place`. */
static void
enter(const char *backend, bool reconnect)
{
	struct dgram_options o = { .reconnect = reconnect,
	    .send_queue_count = 8 };

	scene_enter(backend, DGRAM_UNIX, NULL, &o);
	sc.f.fd = dgram_fileno(sc.p.s);
	place = sc.to;
	OK(dgram_connect_addr(sc.p.s, &place));
	turns(sc.l, 3);
	cr_assert_eq(sc.p.n[EV_CONNECT], 1);
}

static void
peer_goes(void)
{
	close(sc.fd);
	sc.fd = -1;
}

static void
peer_returns(void)
{
	unlink(place.u.un.sun_path);
	sc.fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	cr_assert_eq(bind(sc.fd, &place.u.sa, place.len), 0);
}

/* Errors without end, or an `error` for each datagram that nobody waits for. */
BACKEND_TEST(peer, one_error)
{
	int i;

	enter(backend, false);
	peer_goes();
	for (i = 0; i < 6; i++) {
		OK(send_copy(&sc.p, 1, NULL));
		turns(sc.l, 2);
	}
	cr_assert_eq(sc.p.n[EV_ERROR], 1);
	cr_assert_eq(sc.p.kind[0], DGRAM_IN_SEND);
	cr_assert_eq(stats_of(&sc.p).failed, 6);
	/* Completions are not left out. */
	OK(send_done(&sc.p, 1, NULL));
	turns(sc.l, 2);
	cr_assert_eq(sc.p.n[EV_DONE], 1);
	cr_assert(sc.p.done[0] < 0);
	/* Connected anew it is told anew. */
	peer_returns();
	OK(dgram_disconnect(sc.p.s));
	OK(dgram_connect_addr(sc.p.s, &place));
	OK(send_copy(&sc.p, 7, NULL));
	turns(sc.l, 2);
	cr_assert_eq(bare_recv(sc.fd), 7);
	peer_goes();
	for (i = 0; i < 3; i++)
		OK(send_copy(&sc.p, 1, NULL));
	turns(sc.l, 2);
	cr_assert_eq(sc.p.n[EV_ERROR], 2);
	leave();
}

/*
 * A loss behind one that was none is not told: a peer that only takes its own
 * connection back, with unread data, is still there (ECONNRESET on Linux).
 */
BACKEND_TEST(peer, told_again)
{
	int reconnect;

	for (reconnect = 0; reconnect < 2; reconnect++) {
		enter(backend, reconnect != 0);
		fault_always(&sc.f, FAULT_CONNECT, -ENOENT);
		fault_sends(&sc.f, -ECONNRESET);
		OK(send_copy(&sc.p, 1, NULL));
		turns(sc.l, 2);
		cr_assert_eq(sc.p.n[EV_ERROR], 1);
		fault_sends(&sc.f, 0);
		OK(send_copy(&sc.p, 2, NULL));
		RUN_UNTIL(sc.l, dgram_get_send_queue_count(sc.p.s) == 0);
		cr_assert_eq(sc.p.n[EV_ERROR], 1);
		peer_goes();
		OK(send_copy(&sc.p, 3, NULL));
		OK(send_copy(&sc.p, 4, NULL));
		turns(sc.l, 2);
		cr_assert_eq(sc.p.n[EV_ERROR], 2, "%d", sc.p.n[EV_ERROR]);
		leave();
	}
}

/* A queue that is lost with the peer, or goes in another order when it is back. */
BACKEND_TEST(peer, reconnect)
{
	uint64_t waits;
	int64_t begin;
	uint32_t i;
	int round;

	enter(backend, true);
	for (round = 0; round < 3; round++) {
		peer_goes();
		for (i = 0; i < 8; i++) {
			OK(i % 2 ? send_copy(&sc.p, i, NULL) :
			    send_done(&sc.p, i, NULL));
			turns(sc.l, 1);
		}
		CHECK(send_done(&sc.p, i, NULL), -ENOBUFS);
		turns(sc.l, 3);
		cr_assert_eq(sc.p.n[EV_ERROR], round + 1);
		cr_assert_eq(sc.p.kind[round], DGRAM_IN_CONNECT);
		cr_assert_eq(sc.p.status[round],
		    ON_LINUX ? -ECONNREFUSED : -ECONNRESET);
		cr_assert(dgram_addr_equal(&sc.p.error_addr, &place));
		cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 8);
		cr_assert_eq(sc.p.n[EV_CONNECT], round + 1);
		/* Neither a spin nor told again. */
		waits = sc.l->waits;
		begin = clock_ms();
		while (clock_ms() < begin + 200)
			turn_wait(sc.l, 200);
		cr_assert(sc.l->waits - waits <= 12, "%lu waits",
		    (unsigned long)(sc.l->waits - waits));
		cr_assert_eq(sc.p.n[EV_ERROR], round + 1);
		peer_returns();
		RUN_UNTIL(sc.l, sc.p.n[EV_CONNECT] == round + 2);
		turns(sc.l, 3);
		for (i = 0; i < 8; i++)
			cr_assert_eq(bare_recv(sc.fd), i);
		cr_assert_eq(bare_recv(sc.fd), -1);
		cr_assert_eq(sc.p.n[EV_DONE], 4 * (round + 1));
		cr_assert_eq(sc.p.done[4 * round + 3], 4);
		cr_assert_eq(sc.p.n[EV_DRAIN], round + 1);
	}
	cr_assert_eq(stats_of(&sc.p).failed, 0);
	leave();
}

/* It is back before anything was sent: the program learns of both, in order. */
BACKEND_TEST(peer, back_already)
{
	struct dgram_datagram d = { .iovcnt = 1 };
	struct iovec iov = { number(5), 4 };

	enter(backend, true);
	peer_goes();
	peer_returns();
	memset(sc.p.trace, 0, sizeof(sc.p.trace));
	OK(send_done(&sc.p, 3, NULL));
	turns(sc.l, 3);
	cr_assert(strcmp(sc.p.trace, "ECd") == 0, "%s", sc.p.trace);
	cr_assert_eq(sc.p.done[0], 4);
	cr_assert_eq(bare_recv(sc.fd), 3);
	/* By try_send, too. */
	peer_goes();
	peer_returns();
	d.iov = &iov;
	CHECK(dgram_try_send(sc.p.s, &d, 1), 1);
	cr_assert_eq(bare_recv(sc.fd), 5);
	turns(sc.l, 2);
	peer_goes();
	iov.iov_base = number(6);
	cr_assert(CALL(dgram_try_send(sc.p.s, &d, 1)) < 0);
	peer_returns();
	CHECK(dgram_try_send(sc.p.s, &d, 1), 1);
	cr_assert_eq(bare_recv(sc.fd), 6);
	turns(sc.l, 3);
	cr_assert_eq(sc.p.n[EV_ERROR], 3);
	leave();
}

/* Deadlines, a disconnect and a close while it is away. */
BACKEND_TEST(peer, away)
{
	struct dgram_datagram d = { .iovcnt = 1 };
	struct iovec iov = { number(5), 4 };
	int way;

	for (way = 0; way < 4; way++) {
		enter(backend, true);
		peer_goes();
		d.iov = &iov;
		d.deadline_ns = dgram_loop_now(sc.l) + 20 * MS;
		OK(dgram_send_batch(sc.p.s, &d, 1, peer_done, &sc.p));
		OK(send_done(&sc.p, 1, NULL));
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
		cr_assert_eq(d.result, -ETIMEDOUT);
		if (way == 0) {
			OK(dgram_disconnect(sc.p.s));
			RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 2);
			cr_assert_eq(sc.p.done[1], -ENOTCONN);
			peer_returns();
			OK(send_done(&sc.p, 2, &place));
			turns(sc.l, 2);
			cr_assert_eq(bare_recv(sc.fd), 2);
		} else if (way == 1) {
			OK(dgram_close(sc.p.s, NULL, NULL));
			RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
			cr_assert_eq(sc.p.done[1], -ECANCELED);
		} else if (way == 2) {
			/* The flush of the close finds it. */
			peer_returns();
			OK(dgram_close(sc.p.s, NULL, NULL));
			RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
			cr_assert_eq(sc.p.done[1], 4);
			cr_assert_eq(bare_recv(sc.fd), 1);
		} else {
			OK(dgram_end(sc.p.s, NULL, NULL));
			turns(sc.l, 3);
			cr_assert_eq(sc.p.n[EV_CLOSE], 0);
			peer_returns();
			RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
			cr_assert_eq(sc.p.done[1], 4);
		}
		leave();
	}
}

/* What has no name cannot be found again; the option is AF_UNIX's. */
BACKEND_TEST(peer, no_name)
{
	struct dgram_options o = { .reconnect = true, .type = DGRAM_UDP4 };
	struct dgram_loop *l = test_loop(backend);
	struct dgram_socket *s;
	static struct peer p;
	int pair[2], fd;

	CHECK(dgram_open(l, &o, &s), -EINVAL);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	o.type = 0;
	CHECK(dgram_open_fd(l, &o, fd, &s), -EINVAL);
	close(fd);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	peer_open(&p, l, DGRAM_UNIX, &o);
	OK(dgram_bind_fd(p.s, pair[0]));
	close(pair[1]);
	OK(send_done(&p, 1, NULL));
	OK(send_done(&p, 2, NULL));
	RUN_UNTIL(l, p.n[EV_DONE] == 2);
	cr_assert(p.done[0] < 0 && p.done[1] < 0);
	free_loop(l);
}
