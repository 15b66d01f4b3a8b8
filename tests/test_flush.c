/* SPDX-License-Identifier: ISC */

/*
 * From the queue to the kernel: short counts, errors in the middle, and the
 * ways in which the kernel does not take a datagram.
 */

#include "scene.h"

#define BATCH 8

/* Faults concern the sender alone. */
static void
enter(const char *backend, int type, const struct dgram_loop_options *lo,
    const struct dgram_options *o)
{
	scene_enter(backend, type, lo, o);
	sc.f.fd = dgram_fileno(sc.p.s);
}

/* An array of numbers from `first` on. */
static struct dgram_datagram *
numbers(uint32_t first, size_t n, const struct dgram_addr *to)
{
	static struct dgram_datagram d[256];
	static struct iovec iov[256];
	size_t i;

	cr_assert(n <= COUNT(d));
	memset(d, 0, sizeof(d));
	for (i = 0; i < n; i++) {
		iov[i].iov_base = number(first + (uint32_t)i);
		iov[i].iov_len = sizeof(uint32_t);
		d[i].iov = &iov[i];
		d[i].iovcnt = 1;
		d[i].to = to;
		d[i].result = 99;
	}
	return d;
}

/* The numbers have arrived in order, all of them and nothing else. */
static void
check_arrived(uint32_t first, size_t n)
{
	size_t i;
	int64_t got;

	for (i = 0; i < n; i++) {
		got = bare_recv(sc.fd);
		MUST(got == first + (uint32_t)i, "%ld, not %zu of %zu",
		    (long)got, (size_t)first + i, n);
	}
	cr_assert_eq(bare_recv(sc.fd), -1);
}

enum way { ARRAY, COPIES, TRY, SINGLES, NWAYS };

/* Sends n numbers by one of the ways, over a sendmmsg that takes `most`. */
static void
send_short(enum way way, size_t n, int most)
{
	struct dgram_datagram *d = numbers(1, n, &sc.to);
	int done = sc.p.n[EV_DONE], r;
	size_t i;

	sc.f.entry[FAULT_SENDMMSG].most = most;
	switch (way) {
	case ARRAY:
		OK(dgram_send_batch(sc.p.s, d, n, peer_done, &sc.p));
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == done + 1);
		cr_assert_eq(sc.p.done[done], (int)n);
		break;
	case COPIES:
		ACCEPT(dgram_send_batch(sc.p.s, d, n, NULL, NULL));
		RUN_UNTIL(sc.l, dgram_get_send_queue_count(sc.p.s) == 0);
		break;
	case TRY:
		r = CALL(dgram_try_send(sc.p.s, d, n));
		cr_assert_eq(r, (int)n, "%d of %zu", r, n);
		break;
	default:
		for (i = 1; i <= n; i++)
			OK(send_done(&sc.p, (uint32_t)i, &sc.to));
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == done + (int)n);
		for (i = 0; i < n; i++)
			MUST(sc.p.done[done + (int)i] == 4, "%zu", i);
		break;
	}
	if (way == ARRAY || way == TRY) {
		for (i = 0; i < n; i++)
			MUST(d[i].result == 4, "%zu: %d", i, d[i].result);
	}
	check_arrived(1, n);
	if (done > PEER_LOG / 2)
		sc.p.n[EV_DONE] = 0;
}

/* An index that moves twice after a short count (libuv, B1), or not at all. */
BACKEND_TEST(flush, every_count_and_short_return)
{
	struct dgram_loop_options lo = { .batch = BATCH };
	size_t n;
	int way, most;

	enter(backend, DGRAM_UDP4, &lo, NULL);
	for (way = 0; way < NWAYS; way++)
		for (n = 1; n <= 4 * BATCH; n++)
			for (most = 1; most <= BATCH; most++)
				send_short((enum way)way, n, most);
	leave();
}

/* The same with the default batch, the interesting lengths only. */
BACKEND_TEST(flush, default_batch)
{
	static const int most[] = { 1, 2, 31, 32 };
	size_t n, i;
	int way;

	enter(backend, DGRAM_UDP4, NULL, NULL);
	for (way = 0; way < NWAYS; way++)
		for (n = 1; n <= 4 * 32; n += n < 31 || n % 32 > 30 ? 1 : 9)
			for (i = 0; i < COUNT(most); i++)
				send_short((enum way)way, n, most[i]);
	leave();
}

/* More calls than batches, or a call for each of a batch. */
BACKEND_TEST(flush, batches_are_calls)
{
	struct dgram_loop_options lo = { .batch = BATCH };
	unsigned calls;
	size_t i;

	if (!test_has("sendmmsg"))
		cr_skip_test("no sendmmsg");
	enter(backend, DGRAM_UDP4, &lo, NULL);
	calls = fault_count_sends(&sc.f);
	for (i = 1; i <= 3 * BATCH + 1; i++)
		OK(send_done(&sc.p, (uint32_t)i, &sc.to));
	/* The full ones inside of send: the loop is not needed for them. */
	cr_assert_eq(fault_count_sends(&sc.f) - calls, 3);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 3 * BATCH + 1);
	cr_assert_eq(fault_count_sends(&sc.f) - calls, 4);
	check_arrived(1, 3 * BATCH + 1);
	cr_assert_eq(stats_of(&sc.p).send_calls, 4);
	leave();
}

/* sendmmsg(2) that does not exist: the same in every way. */
BACKEND_TEST(flush, without_sendmmsg)
{
	struct dgram_loop_options lo = { .batch = BATCH };
	size_t n;
	int way;

	enter(backend, DGRAM_UDP4, &lo, NULL);
	fault_always(&sc.f, FAULT_SENDMMSG, -ENOSYS);
	for (way = 0; way < NWAYS; way++)
		for (n = 1; n <= 2 * BATCH + 1; n++)
			send_short((enum way)way, n, 0);
	cr_assert_eq(sc.f.entry[FAULT_SENDMMSG].calls, 1);
	cr_assert(stats_of(&sc.p).reduced & DGRAM_REDUCED_SENDMMSG);
	/* An error in the middle of the emulated batch. */
	fault_at(&sc.f, FAULT_SENDMSG, 3, -EPERM);
	numbers(1, 6, &sc.to);
	OK(dgram_send_batch(sc.p.s, numbers(1, 6, &sc.to), 6, peer_done,
	    &sc.p));
	n = (size_t)sc.p.n[EV_DONE];
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == (int)n + 1);
	cr_assert(sc.p.done[n] >= 5);
	leave();
}

/* ---- errors ---- */

/* An error that is given to another datagram, or that stops the rest. */
BACKEND_TEST(flush, error_at_each_datagram)
{
	struct dgram_loop_options lo = { .batch = BATCH };
	enum { N = 2 * BATCH + 3 };
	struct dgram_datagram *d;
	unsigned k;
	int i, way, sent;

	/* Call by call an error behind another datagram is met twice. */
	if (!test_has("sendmmsg"))
		cr_skip_test("no sendmmsg");
	for (way = 0; way < NWAYS; way++) {
		for (k = 1; k <= N; k++) {
			enter(backend, DGRAM_UDP4, &lo, NULL);
			sc.f.datagram = k;
			sc.f.datagram_with = -EMSGSIZE;
			d = numbers(1, N, &sc.to);
			switch (way) {
			case ARRAY:
				OK(dgram_send_batch(sc.p.s, d, N, peer_done,
				    &sc.p));
				RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
				cr_assert_eq(sc.p.done[0], N - 1);
				for (i = 0; i < N; i++)
					cr_assert_eq(d[i].result,
					    i + 1 == (int)k ? -EMSGSIZE : 4);
				break;
			case COPIES:
				ACCEPT(dgram_send_batch(sc.p.s, d, N, NULL,
				    NULL));
				RUN_UNTIL(sc.l, sc.p.n[EV_ERROR] == 1);
				cr_assert_eq(sc.p.status[0], -EMSGSIZE);
				cr_assert_eq(sc.p.kind[0], DGRAM_IN_SEND);
				cr_assert(dgram_addr_equal(&sc.p.error_addr,
				    &sc.to));
				RUN_UNTIL(sc.l, dgram_get_send_queue_count(
				    sc.p.s) == 0);
				break;
			case TRY:
				/* Only what is in front of it. */
				sent = CALL(dgram_try_send(sc.p.s, d, N));
				cr_assert_eq(sent, k == 1 ? -EMSGSIZE :
				    (int)k - 1, "%d", sent);
				for (i = 0; i < N; i++)
					cr_assert_eq(d[i].result,
					    i + 1 < (int)k ? 4 :
					    i + 1 == (int)k ? -EMSGSIZE : 99);
				check_arrived(1, k - 1);
				break;
			default:
				for (i = 1; i <= N; i++)
					OK(send_done(&sc.p, (uint32_t)i,
					    &sc.to));
				RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == N);
				for (i = 0; i < N; i++)
					cr_assert_eq(sc.p.done[i],
					    i + 1 == (int)k ? -EMSGSIZE : 4);
				break;
			}
			if (way != TRY) {
				for (i = 1; i <= N; i++) {
					if (i != (int)k)
						cr_assert_eq(
						    bare_recv(sc.fd), i);
				}
				cr_assert_eq(stats_of(&sc.p).failed, 1);
				cr_assert_eq(stats_of(&sc.p).sent, N - 1);
			}
			cr_assert_eq(bare_recv(sc.fd), -1);
			leave();
		}
	}
}

/* All fail: each has its error, and the flush ends. */
BACKEND_TEST(flush, all_fail)
{
	struct dgram_datagram *d;
	int i;

	enter(backend, DGRAM_UDP4, NULL, NULL);
	fault_sends(&sc.f, -EACCES);
	d = numbers(1, 100, &sc.to);
	OK(dgram_send_batch(sc.p.s, d, 100, peer_done, &sc.p));
	for (i = 0; i < 100; i++)
		OK(send_done(&sc.p, 1, &sc.to));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 101);
	for (i = 0; i < 100; i++)
		cr_assert_eq(d[i].result, -EACCES);
	for (i = 1; i <= 100; i++)
		cr_assert_eq(sc.p.done[i], -EACCES);
	cr_assert_eq(stats_of(&sc.p).failed, 200);
	leave();
}

/* ---- ENOBUFS ---- */

/* A wait for writability, which would spin; a back-off that does not end. */
BACKEND_TEST(flush, enobufs_backs_off)
{
	uint64_t waits;
	unsigned calls;
	int64_t begin;

	EACH_TYPE(type) {
		enter(backend, type, NULL, NULL);
		fault_sends(&sc.f, -ENOBUFS);
		OK(send_done(&sc.p, 1, &sc.to));
		OK(send_copy(&sc.p, 2, &sc.to));
		waits = sc.l->waits;
		calls = fault_count_sends(&sc.f);
		begin = clock_ms();
		while (clock_ms() < begin + 300)
			turn_wait(sc.l, 300);
		/* 1 2 4 8 16 32 50 50 50 ... ms */
		cr_assert(sc.l->waits - waits <= 20, "%lu waits",
		    (unsigned long)(sc.l->waits - waits));
		cr_assert(fault_count_sends(&sc.f) - calls >= 6);
		cr_assert(stats_of(&sc.p).backoffs >= 6);
		cr_assert_eq(sc.p.n[EV_DONE], 0);
		fault_sends(&sc.f, 0);
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
		cr_assert_eq(sc.p.done[0], 4);
		check_arrived(1, 2);
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
		leave();
	}
}

/* UDP that waits for ever, or not at all; AF_UNIX that gives up. */
BACKEND_TEST(flush, enobufs_for_a_second)
{
	EACH_TYPE(type) {
		enter(backend, type, NULL, NULL);
		fault_sends(&sc.f, -ENOBUFS);
		OK(send_done(&sc.p, 1, &sc.to));
		turns(sc.l, 3);
		sc.f.ahead += 900 * MS;
		turns(sc.l, 5);
		cr_assert_eq(sc.p.n[EV_DONE], 0);
		sc.f.ahead += 200 * MS;
		turns(sc.l, 5);
		if (type == DGRAM_UNIX) {
			sc.f.ahead += 10000 * MS;
			turns(sc.l, 5);
			cr_assert_eq(sc.p.n[EV_DONE], 0);
			fault_sends(&sc.f, 0);
		}
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
		cr_assert_eq(sc.p.done[0], type == DGRAM_UNIX ? 4 : -ENOBUFS);
		leave();
	}
}

/* A datagram that waited long for something else, then meets ENOBUFS once. */
BACKEND_TEST(flush, enobufs_after_a_long_wait)
{
	enter(backend, DGRAM_UDP4, NULL, NULL);
	fault_sends(&sc.f, -EAGAIN);
	OK(send_done(&sc.p, 1, &sc.to));
	turns(sc.l, 3);
	sc.f.ahead += 3000 * MS;
	turns(sc.l, 3);
	fault_sends(&sc.f, -ENOBUFS);
	turns(sc.l, 3);
	cr_assert_eq(sc.p.n[EV_DONE], 0, "given up at the first ENOBUFS");
	fault_sends(&sc.f, 0);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	cr_assert_eq(sc.p.done[0], 4);
	leave();
}

/* ---- EAGAIN ---- */

/* A datagram that is lost, or goes out of order, when the kernel is full. */
BACKEND_TEST(flush, eagain_keeps_order)
{
	uint32_t i;

	enter(backend, DGRAM_UDP4, NULL, NULL);
	/* The second call: in the middle of it all. */
	fault_at(&sc.f, FAULT_SENDMMSG, 2, -EAGAIN);
	for (i = 1; i <= 100; i++)
		OK(send_done(&sc.p, i, &sc.to));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 100);
	check_arrived(1, 100);
	leave();
}

/* Fills the kernel's queue of a receiver that does not read. */
static uint32_t
send_until_blocked(const struct dgram_addr *to)
{
	uint32_t i;

	for (i = 1; i < 1000; i++) {
		OK(send_done(&sc.p, i, to));
		CALL(dgram_flush(sc.p.s));
		if (dgram_get_send_queue_count(sc.p.s) > 0)
			break;
	}
	cr_assert(i < 1000, "never full");
	return i;
}

/* Runs for half a second; at most 60 waits per second are allowed. */
static void
run_blocked(void)
{
	uint64_t waits = sc.l->waits;
	int64_t begin = clock_ms();

	while (clock_ms() < begin + 500)
		turn_wait(sc.l, 500);
	cr_assert(sc.l->waits - waits <= 30, "%lu waits in half a second",
	    (unsigned long)(sc.l->waits - waits));
}

/* K6: an unconnected sender is writable all the time, and libuv spins. */
BACKEND_TEST(flush, full_unix_receiver)
{
	uint32_t n, i, next = 1;
	int64_t got;

	enter(backend, DGRAM_UNIX, NULL, NULL);
	n = send_until_blocked(&sc.to);
	for (i = 0; i < 50; i++)
		OK(send_done(&sc.p, ++n, &sc.to));
	run_blocked();
	cr_assert(dgram_get_send_queue_count(sc.p.s) >= 50);
	/* It drains a little at a time. */
	while (next <= n) {
		for (i = 0; i < 3 && next <= n; i++) {
			got = bare_recv(sc.fd);
			if (got < 0)
				break;
			cr_assert_eq(got, next);
			next++;
		}
		turn_wait(sc.l, 20);
	}
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == (int)n);
	for (i = 0; i < n; i++)
		cr_assert_eq(sc.p.done[i], 4);
	cr_assert_eq(sc.p.n[EV_ERROR], 0);
	leave();
}

/*
 * Connected: by writability, which tells the truth then, so at once; where the
 * error is ENOBUFS it does not.
 */
BACKEND_TEST(flush, full_unix_peer)
{
	uint32_t n, i;

	enter(backend, DGRAM_UNIX, NULL, NULL);
	OK(dgram_connect_addr(sc.p.s, &sc.to));
	n = send_until_blocked(NULL);
	run_blocked();
	cr_assert((stats_of(&sc.p).backoffs == 0) == ON_LINUX);
	for (i = 1; i < n; i++)
		cr_assert_eq(bare_recv(sc.fd), i);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == (int)n);
	check_arrived(n, 1);
	cr_assert((stats_of(&sc.p).backoffs == 0) == ON_LINUX);
	leave();
}

/*
 * Sends to a full receiver, then a connect to another: the head still waits for
 * the first, and what is writable is the second.  A connected socket of a BSD
 * sends to its peer alone.
 */
BACKEND_TEST(flush, full_unix_receiver_then_connect)
{
	struct dgram_addr other;
	uint32_t n, i;
	int fd2;

	enter(backend, DGRAM_UNIX, NULL, NULL);
	fd2 = bare_socket(DGRAM_UNIX, &other);
	n = send_until_blocked(&sc.to);
	OK(dgram_connect_addr(sc.p.s, &other));
	run_blocked();
	for (i = 1; i < n; i++)
		cr_assert_eq(bare_recv(sc.fd), i);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == (int)n);
	if (ON_LINUX)
		check_arrived(n, 1);
	else
		cr_assert_eq(sc.p.done[n - 1], -EISCONN);
	OK(send_done(&sc.p, 5, NULL));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == (int)n + 1);
	cr_assert_eq(bare_recv(fd2), 5);
	close(fd2);
	leave();
}

/* A close and a flush while it is full: nobody waits for the receiver. */
BACKEND_TEST(flush, close_while_full)
{
	uint32_t n;

	enter(backend, DGRAM_UNIX, NULL, NULL);
	n = send_until_blocked(&sc.to);
	CHECK(dgram_flush(sc.p.s), 1);
	OK(dgram_close(sc.p.s, NULL, NULL));
	RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
	cr_assert_eq(sc.p.done[n - 1], -ECANCELED);
	leave();
}

/* What close flushes: the receiver has made room since the last attempt. */
BACKEND_TEST(flush, close_tries_once_more)
{
	uint32_t n;

	enter(backend, DGRAM_UNIX, NULL, NULL);
	n = send_until_blocked(&sc.to);
	cr_assert_eq(bare_recv(sc.fd), 1);
	OK(dgram_close(sc.p.s, NULL, NULL));
	RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
	cr_assert_eq(sc.p.done[n - 1], 4);
	check_arrived(2, n - 1);
	leave();
}

/* ---- peers that are gone ---- */

/* What sending to a peer that has closed comes to, at first and from then on. */
static bool
is_gone(int status)
{
	return ON_LINUX ? status == -ECONNREFUSED : status == -ECONNRESET;
}

static bool
is_still_gone(int status)
{
	return ON_LINUX ? status == -ENOTCONN : status == -EDESTADDRREQ;
}

/* K8: the peer of a connected AF_UNIX socket closes. */
BACKEND_TEST(flush, closed_unix_peer)
{
	uint64_t waits;
	int i;

	enter(backend, DGRAM_UNIX, NULL, NULL);
	OK(dgram_connect_addr(sc.p.s, &sc.to));
	OK(send_done(&sc.p, 1, NULL));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	close(sc.fd);
	sc.fd = -1;
	waits = sc.l->waits;
	for (i = 0; i < 5; i++)
		OK(send_done(&sc.p, 2, NULL));
	OK(send_copy(&sc.p, 3, NULL));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 6);
	turns(sc.l, 3);
	cr_assert(is_gone(sc.p.done[1]));
	for (i = 2; i < 6; i++)
		cr_assert(is_still_gone(sc.p.done[i]));
	cr_assert_eq(sc.p.n[EV_ERROR], 1);
	cr_assert(is_still_gone(sc.p.status[0]));
	cr_assert_eq(sc.p.kind[0], DGRAM_IN_SEND);
	waits = sc.l->waits;
	turn_wait(sc.l, 100);
	turn_wait(sc.l, 100);
	cr_assert(sc.l->waits - waits <= 2);
	leave();
}

/* The same for one that was blocked on it. */
BACKEND_TEST(flush, closed_unix_peer_while_full)
{
	uint32_t n;

	enter(backend, DGRAM_UNIX, NULL, NULL);
	OK(dgram_connect_addr(sc.p.s, &sc.to));
	n = send_until_blocked(NULL);
	OK(send_done(&sc.p, 1, NULL));
	close(sc.fd);
	sc.fd = -1;
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == (int)n + 1);
	/* On a BSD whoever reads may have seen it first. */
	cr_assert(is_gone(sc.p.done[n - 1]) ||
	    (!ON_LINUX && sc.p.n[EV_ERROR] == 1 &&
	    is_still_gone(sc.p.done[n - 1])));
	cr_assert(is_still_gone(sc.p.done[n]));
	leave();
}

/* Unconnected: each datagram has its own error. */
BACKEND_TEST(flush, dead_unix_receiver)
{
	struct dgram_addr dead = dead_addr(DGRAM_UNIX), none;

	enter(backend, DGRAM_UNIX, NULL, NULL);
	OK(dgram_addr_unix(&none, fresh_path()));
	OK(send_done(&sc.p, 1, &dead));
	OK(send_done(&sc.p, 2, &sc.to));
	OK(send_done(&sc.p, 3, &none));
	OK(send_done(&sc.p, 4, &sc.to));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 4);
	cr_assert_eq(sc.p.done[0], -ECONNREFUSED);
	cr_assert_eq(sc.p.done[1], 4);
	cr_assert_eq(sc.p.done[2], -ENOENT);
	cr_assert_eq(sc.p.done[3], 4);
	cr_assert_eq(bare_recv(sc.fd), 2);
	cr_assert_eq(bare_recv(sc.fd), 4);
	leave();
}

/*
 * K4: connected UDP, nobody there.  Each send succeeds, for the error of an
 * earlier one is not its own; each error that comes back is told once.
 */
static void
check_dead_port(const char *backend, int type, const struct dgram_events *ev)
{
	struct dgram_options o = { .events = ev };
	struct dgram_addr dead = dead_addr(type);
	int i;

	enter(backend, type, NULL, &o);
	OK(dgram_connect_addr(sc.p.s, &dead));
	turns(sc.l, 3);
	/* With a look at the socket in between... */
	for (i = 1; i <= 4; i++) {
		OK(send_done(&sc.p, 1, NULL));
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == i);
		RUN_UNTIL(sc.l, sc.p.n[EV_ERROR] == i);
		turns(sc.l, 5);
		cr_assert_eq(sc.p.n[EV_ERROR], i, "told twice");
		cr_assert_eq(sc.p.done[i - 1], 4);
		cr_assert_eq(sc.p.status[i - 1], -ECONNREFUSED);
		cr_assert_eq(sc.p.kind[i - 1], DGRAM_IN_ICMP);
		cr_assert(dgram_addr_equal(&sc.p.error_addr, &dead));
	}
	/* ... and with none: the retry, once, and one more error at the end. */
	OK(send_done(&sc.p, 1, NULL));
	CHECK(dgram_flush(sc.p.s), 0);
	OK(send_done(&sc.p, 1, NULL));
	CHECK(dgram_flush(sc.p.s), 0);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 6 && sc.p.n[EV_ERROR] == 6);
	turns(sc.l, 5);
	cr_assert_eq(sc.p.n[EV_ERROR], 6);
	cr_assert_eq(sc.p.done[4], 4);
	cr_assert_eq(sc.p.done[5], 4);
	for (i = 0; i < 6; i++)
		cr_assert_eq(sc.p.kind[i], DGRAM_IN_ICMP);
	/* Nothing of it costs wake-ups. */
	run_blocked();
	cr_assert_eq(sc.p.n[EV_CLOSE], 0);
	leave();
}

BACKEND_TEST(flush, dead_port_reading)
{
	check_dead_port(backend, DGRAM_UDP4, &peer_events);
	if (have_ipv6())
		check_dead_port(backend, DGRAM_UDP6, &peer_events);
}

BACKEND_TEST(flush, dead_port_not_reading)
{
	if (!ON_LINUX && strcmp(backend, "poll") == 0)
		cr_skip_test("poll(2) tells of no error on this system");
	check_dead_port(backend, DGRAM_UDP4, &peer_deaf);
	if (have_ipv6())
		check_dead_port(backend, DGRAM_UDP6, &peer_deaf);
}

/* An error that stays: the datagram is tried twice, then it is its own. */
BACKEND_TEST(flush, icmp_twice)
{
	unsigned calls;

	enter(backend, DGRAM_UDP4, NULL, NULL);
	OK(dgram_connect_addr(sc.p.s, &sc.to));
	turns(sc.l, 3);
	fault_sends(&sc.f, -EHOSTUNREACH);
	calls = fault_count_sends(&sc.f);
	OK(send_done(&sc.p, 1, NULL));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	turns(sc.l, 3);
	cr_assert_eq(sc.p.done[0], -EHOSTUNREACH);
	cr_assert_eq(fault_count_sends(&sc.f) - calls, 2);
	cr_assert_eq(sc.p.n[EV_ERROR], 0, "told twice");
	/* The second time it is another one: both are told. */
	fault_sends(&sc.f, -EPERM);
	fault_at(&sc.f, FAULT_SENDTO, 1, -ECONNREFUSED);
	OK(send_done(&sc.p, 1, NULL));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 2);
	turns(sc.l, 3);
	cr_assert_eq(sc.p.done[1], -EPERM);
	cr_assert_eq(sc.p.n[EV_ERROR], 1);
	cr_assert_eq(sc.p.status[0], -ECONNREFUSED);
	cr_assert_eq(sc.p.kind[0], DGRAM_IN_ICMP);
	leave();
}

/* K2, in the middle of a batch: nothing of it is blamed or lost. */
BACKEND_TEST(flush, icmp_in_a_batch)
{
	int i;

	if (!test_has("sendmmsg"))
		cr_skip_test("no sendmmsg");
	enter(backend, DGRAM_UDP4, NULL, NULL);
	OK(dgram_connect_addr(sc.p.s, &sc.to));
	turns(sc.l, 3);
	for (i = 1; i <= 5; i++)
		OK(send_done(&sc.p, (uint32_t)i, NULL));
	fault_at(&sc.f, FAULT_SENDMMSG, 1, -ECONNREFUSED);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 5);
	turns(sc.l, 3);
	for (i = 0; i < 5; i++)
		cr_assert_eq(sc.p.done[i], 4);
	cr_assert_eq(sc.p.n[EV_ERROR], 1);
	check_arrived(1, 5);
	/* And of try_send. */
	fault_at(&sc.f, FAULT_SENDMMSG, 1, -ECONNREFUSED);
	CHECK(dgram_try_send(sc.p.s, numbers(6, 3, NULL), 3), 3);
	turns(sc.l, 3);
	cr_assert_eq(sc.p.n[EV_ERROR], 2);
	cr_assert_eq(sc.p.kind[1], DGRAM_IN_ICMP);
	check_arrived(6, 3);
	leave();
}

/* K1: unconnected sends to a dead port are silent. */
BACKEND_TEST(flush, dead_port_unconnected)
{
	struct dgram_addr dead = dead_addr(DGRAM_UDP4);
	int i;

	enter(backend, DGRAM_UDP4, NULL, NULL);
	for (i = 0; i < 5; i++) {
		OK(send_done(&sc.p, 1, &dead));
		turns(sc.l, 3);
	}
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 5);
	for (i = 0; i < 5; i++)
		cr_assert_eq(sc.p.done[i], 4);
	cr_assert_eq(sc.p.n[EV_ERROR], 0);
	leave();
}

#if DGI_HAVE_ERRQUEUE
static int
with_recverr(int fd, void *arg)
{
	int on = 1;

	(void)arg;
	return setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
}

/*
 * K2, K3, and libuv's spin: a program that switched IP_RECVERR on.  A healthy
 * receiver behind a dead one gets its datagram, and POLLERR ends.
 */
BACKEND_TEST(flush, recverr_unconnected)
{
	struct dgram_options o = { .configure = with_recverr };
	struct dgram_addr dead = dead_addr(DGRAM_UDP4);
	int i;

	/* recvmsg(2) without iovec returns 0 and takes no error. */
	if (test_emulated())
		cr_skip_test("no MSG_ERRQUEUE under user-mode emulation");
	enter(backend, DGRAM_UDP4, NULL, &o);
	for (i = 0; i < 4; i++) {
		OK(send_done(&sc.p, 1, &dead));
		CHECK(dgram_flush(sc.p.s), 0);
		OK(send_done(&sc.p, (uint32_t)i, &sc.to));
		CHECK(dgram_flush(sc.p.s), 0);
		cr_assert_eq(bare_recv(sc.fd), i);
	}
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 8);
	for (i = 0; i < 8; i++)
		cr_assert_eq(sc.p.done[i], 4, "%d", sc.p.done[i]);
	for (i = 0; i < sc.p.n[EV_ERROR]; i++)
		cr_assert_eq(sc.p.kind[i], DGRAM_IN_ICMP);
	OK(send_done(&sc.p, 1, &dead));
	run_blocked();
	leave();
}
#endif

/* ---- deadlines ---- */

static struct dgram_datagram late[4];
static struct iovec late_iov = { NULL, 0 };

static void
make_late(uint64_t after, size_t n)
{
	size_t i;

	late_iov.iov_base = number(9);
	late_iov.iov_len = 4;
	memset(late, 0, sizeof(late));
	for (i = 0; i < n; i++) {
		late[i].iov = &late_iov;
		late[i].iovcnt = 1;
		late[i].to = &sc.to;
		if (after != 0)
			late[i].deadline_ns = dgram_loop_now(sc.l) + after;
	}
}

static const int blocks[] = { -EAGAIN, -ENOBUFS };

/* A deadline that nobody looks at while the kernel is full. */
BACKEND_TEST(flush, deadline_while_blocked)
{
	size_t b;

	for (b = 0; b < COUNT(blocks); b++) {
		EACH_TYPE(type) {
			enter(backend, type, NULL, NULL);
			fault_sends(&sc.f, blocks[b]);
			make_late(30 * MS, 1);
			ACCEPT(dgram_send_batch(sc.p.s, late, 1, NULL, NULL));
			OK(dgram_send_batch(sc.p.s, late, 1, peer_done,
			    &sc.p));
			turns(sc.l, 3);
			cr_assert_eq(sc.p.n[EV_DONE] + sc.p.n[EV_ERROR], 0,
			    "early");
			RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1 &&
			    sc.p.n[EV_ERROR] == 1);
			cr_assert_eq(sc.p.done[0], 0);
			cr_assert_eq(late[0].result, -ETIMEDOUT);
			cr_assert_eq(sc.p.status[0], -ETIMEDOUT);
			cr_assert_eq(stats_of(&sc.p).expired, 2);
			cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 0);
			leave();
		}
	}
}

/* ... behind one that has none, and that was there when it blocked. */
BACKEND_TEST(flush, deadline_behind_others)
{
	size_t b;
	int way;

	for (way = 0; way < 2; way++) {
		for (b = 0; b < COUNT(blocks); b++) {
			enter(backend, DGRAM_UDP4, NULL, NULL);
			fault_sends(&sc.f, blocks[b]);
			OK(send_done(&sc.p, 1, &sc.to));
			turns(sc.l, 3);
			make_late(20 * MS, 1);
			if (way == 0)
				ACCEPT(dgram_send_batch(sc.p.s, late, 1, NULL,
				    NULL));
			else
				OK(dgram_send_batch(sc.p.s, late, 1,
				    peer_done, &sc.p));
			OK(send_done(&sc.p, 3, &sc.to));
			RUN_UNTIL(sc.l, stats_of(&sc.p).expired == 1);
			turns(sc.l, 3);
			cr_assert_eq(sc.p.n[EV_DONE], way == 1);
			cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 2);
			fault_sends(&sc.f, 0);
			RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 2 + (way == 1));
			cr_assert_eq(bare_recv(sc.fd), 1);
			cr_assert_eq(bare_recv(sc.fd), 3);
			leave();
		}
	}
}

/* ... of a datagram that has brought an error back: it is told, too. */
BACKEND_TEST(flush, deadline_behind_icmp)
{
	enter(backend, DGRAM_UDP4, NULL, NULL);
	OK(dgram_connect_addr(sc.p.s, &sc.to));
	turns(sc.l, 3);
	/* Far enough for a machine that is busy. */
	make_late(20000 * MS, 1);
	late[0].to = NULL;
	fault_sends(&sc.f, -EAGAIN);
	fault_at(&sc.f, FAULT_SENDTO, 1, -ECONNREFUSED);
	OK(dgram_send_batch(sc.p.s, late, 1, peer_done, &sc.p));
	CHECK(dgram_flush(sc.p.s), 1);
	/* It is not the timer that finds it. */
	sc.f.ahead += 30000 * MS;
	dgram_loop_update(sc.l);
	CHECK(dgram_flush(sc.p.s), 0);
	turns(sc.l, 3);
	cr_assert_eq(late[0].result, -ETIMEDOUT);
	cr_assert_eq(sc.p.n[EV_ERROR], 1);
	cr_assert_eq(sc.p.status[0], -ECONNREFUSED);
	cr_assert_eq(sc.p.kind[0], DGRAM_IN_ICMP);
	leave();
}

/* One that is late behind it changes nothing: the next failure is its own. */
BACKEND_TEST(flush, icmp_before_a_deadline)
{
	enter(backend, DGRAM_UDP4, NULL, NULL);
	OK(dgram_connect_addr(sc.p.s, &sc.to));
	turns(sc.l, 3);
	fault_sends(&sc.f, -EAGAIN);
	fault_at(&sc.f, FAULT_SENDTO, 1, -ECONNREFUSED);
	OK(send_done(&sc.p, 1, NULL));
	CHECK(dgram_flush(sc.p.s), 1);
	make_late(10 * MS, 1);
	late[0].to = NULL;
	ACCEPT(dgram_send_batch(sc.p.s, late, 1, NULL, NULL));
	RUN_UNTIL(sc.l, stats_of(&sc.p).expired == 1);
	turns(sc.l, 3);
	cr_assert_eq(sc.p.n[EV_ERROR], 1);
	cr_assert_eq(sc.p.status[0], -ETIMEDOUT);
	fault_sends(&sc.f, -ECONNREFUSED);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	turns(sc.l, 3);
	cr_assert_eq(sc.p.done[0], -ECONNREFUSED);
	cr_assert_eq(sc.p.n[EV_ERROR], 1, "told twice");
	leave();
}

/* ... for a bind. */
BACKEND_TEST(flush, deadline_while_binding)
{
	struct dgi_op op = { .cancel = NULL };
	struct dgram_addr a = any_addr(DGRAM_UDP4);

	enter(backend, DGRAM_UDP4, NULL, NULL);
	OK(dgram_close(sc.p.s, NULL, NULL));
	turns(sc.l, 3);
	peer_open(&sc.p, sc.l, DGRAM_UDP4, NULL);
	OK(dgi_socket_begin_bind(sc.p.s, &op));
	make_late(20 * MS, 1);
	OK(dgram_send_batch(sc.p.s, late, 1, peer_done, &sc.p));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	cr_assert_eq(late[0].result, -ETIMEDOUT);
	OK(dgi_socket_finish_bind(sc.p.s, &op, 0, &a));
	turns(sc.l, 3);
	cr_assert_eq(bare_recv(sc.fd), -1);
	leave();
}

/* Late ones among others, in an array: each has its own. */
BACKEND_TEST(flush, deadlines_in_an_array)
{
	enter(backend, DGRAM_UDP4, NULL, NULL);
	make_late(0, 4);
	late[1].deadline_ns = dgram_loop_now(sc.l);	/* it is past */
	late[3].deadline_ns = dgram_loop_now(sc.l) + 10000 * MS;
	OK(dgram_send_batch(sc.p.s, late, 4, peer_done, &sc.p));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	cr_assert_eq(sc.p.done[0], 3);
	cr_assert_eq(late[0].result, 4);
	cr_assert_eq(late[1].result, -ETIMEDOUT);
	cr_assert_eq(late[2].result, 4);
	cr_assert_eq(late[3].result, 4);
	/* try_send stops at it. */
	make_late(0, 4);
	late[2].deadline_ns = dgram_loop_now(sc.l);
	CHECK(dgram_try_send(sc.p.s, late, 4), 2);
	cr_assert_eq(late[2].result, -ETIMEDOUT);
	CHECK(dgram_try_send(sc.p.s, late + 2, 2), -ETIMEDOUT);
	leave();
}

/* ---- budget ---- */

static void
send_again(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_DONE && p->n[EV_DONE] < 2000)
		OK(send_done(p, 1, &sc.to));
}

/* A completion that sends again, and a loop that does nothing else any more. */
BACKEND_TEST(flush, completions_are_bounded)
{
	int i, before, most = 0;

	enter(backend, DGRAM_UDP4, NULL, NULL);
	sc.p.hook = send_again;
	for (i = 0; i < 10; i++)
		OK(send_done(&sc.p, 1, &sc.to));
	while (sc.p.n[EV_DONE] < 2000) {
		before = sc.p.n[EV_DONE];
		turn_wait(sc.l, 0);
		if (sc.p.n[EV_DONE] - before > most)
			most = sc.p.n[EV_DONE] - before;
	}
	cr_assert(most <= 64, "%d in a turn", most);
	leave();
}

/* A queue that is longer than the budget: the rest in the next turns. */
BACKEND_TEST(flush, budget)
{
	struct dgram_loop_options lo = { .batch = 4, .budget = 8 };

	enter(backend, DGRAM_UDP4, &lo, NULL);
	fault_sends(&sc.f, -ENOBUFS);
	OK(dgram_send_batch(sc.p.s, numbers(1, 100, &sc.to), 100, peer_done,
	    &sc.p));
	turns(sc.l, 3);
	fault_sends(&sc.f, 0);
	sc.f.ahead += 60 * MS;
	dgram_loop_run_once(sc.l, 0);
	cr_assert(dgram_get_send_queue_count(sc.p.s) >= 100 - 2 * 8,
	    "%zu left", dgram_get_send_queue_count(sc.p.s));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	check_arrived(1, 100);
	cr_assert(stats_of(&sc.p).budget_used_up > 0);
	leave();
}

/* ---- flush, end ---- */

BACKEND_TEST(flush, flush_tells_what_waits)
{
	enter(backend, DGRAM_UDP4, NULL, NULL);
	CHECK(dgram_flush(sc.p.s), 0);
	OK(send_done(&sc.p, 1, &sc.to));
	cr_assert_eq(bare_recv(sc.fd), -1);
	CHECK(dgram_flush(sc.p.s), 0);
	cr_assert_eq(bare_recv(sc.fd), 1);
	fault_sends(&sc.f, -EAGAIN);
	OK(send_done(&sc.p, 2, &sc.to));
	OK(dgram_send_batch(sc.p.s, numbers(3, 3, &sc.to), 3, peer_done,
	    &sc.p));
	CHECK(dgram_flush(sc.p.s), 4);
	cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 4);
	cr_assert_eq(dgram_get_send_queue_size(sc.p.s), 16);
	fault_sends(&sc.f, 0);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 3);
	check_arrived(2, 4);
	leave();
}

/* An end that cuts off what waits, takes new sends, or forgets a function. */
BACKEND_TEST(flush, end_waits)
{
	static struct peer fn;
	int way;

	for (way = 0; way < 2; way++) {
		enter(backend, DGRAM_UDP4, NULL, NULL);
		memset(&fn, 0, sizeof(fn));
		fault_sends(&sc.f, -EAGAIN);
		OK(send_done(&sc.p, 1, &sc.to));
		OK(send_done(&sc.p, 2, &sc.to));
		OK(dgram_end(sc.p.s, peer_close_fn, &sc.p));
		CHECK(send_done(&sc.p, 3, &sc.to), NOT_RUNNING);
		CHECK(dgram_end(sc.p.s, peer_close_fn, &fn), NOT_RUNNING);
		turns(sc.l, 5);
		cr_assert_eq(sc.p.n[EV_CLOSE], 0);
		/* It still receives. */
		bare_send(sc.fd, &sc.p.addr, 7);
		RUN_UNTIL(sc.l, sc.p.got == 1);
		if (way == 1)
			OK(dgram_close(sc.p.s, peer_close_fn, &fn));
		else
			fault_sends(&sc.f, 0);
		RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
		turns(sc.l, 3);
		cr_assert(strcmp(sc.p.trace, "LMddXf") == 0, "%s",
		    sc.p.trace);
		cr_assert_eq(fn.n[EV_CLOSE_FN], way);
		cr_assert_eq(sc.p.done[1], way == 1 ? -ECANCELED : 4);
		leave();
	}
}

/* Deadlines of what comes later do not put the end of a back-off off. */
BACKEND_TEST(flush, deadlines_do_not_delay)
{
	int64_t begin, drained = 0;
	uint32_t n;

	enter(backend, DGRAM_UNIX, NULL, NULL);
	n = send_until_blocked(&sc.to);
	begin = clock_ms();
	/* Long enough for the longest back-off; then the receiver is free. */
	while (sc.p.n[EV_DONE] < (int)n) {
		cr_assert(clock_ms() < begin + 1500, "starved");
		make_late(3000 * MS, 1);
		ACCEPT(dgram_send_batch(sc.p.s, late, 1, NULL, NULL));
		turn_wait(sc.l, 5);
		if (drained == 0 && clock_ms() > begin + 200) {
			while (bare_recv(sc.fd) > 0)
				drained++;
		}
	}
	cr_assert(drained > 0);
	leave();
}

/* Asked to flush, it tries also what waits for the timer. */
BACKEND_TEST(flush, flush_what_waits)
{
	uint32_t n;

	enter(backend, DGRAM_UNIX, NULL, NULL);
	n = send_until_blocked(&sc.to);
	OK(send_done(&sc.p, ++n, &sc.to));
	CHECK(dgram_flush(sc.p.s), 2);
	while (bare_recv(sc.fd) > 0)
		continue;
	CHECK(dgram_flush(sc.p.s), 0);
	cr_assert_eq(bare_recv(sc.fd), n - 1);
	cr_assert_eq(bare_recv(sc.fd), n);
	leave();
}
