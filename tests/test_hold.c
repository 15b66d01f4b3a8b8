/* SPDX-License-Identifier: ISC */

/*
 * Receivers of AF_UNIX that are full: what goes to them waits in order, what goes
 * to others does not wait for it.
 */

#include "scene.h"

#include <sys/wait.h>

#define OTHERS	64

/* Bare receivers beside sc.fd. */
static int fds[OTHERS];
static struct dgram_addr addrs[OTHERS];

static void
enter(const char *backend, const struct dgram_options *o)
{
	scene_enter(backend, DGRAM_UNIX, NULL, o);
	sc.f.fd = dgram_fileno(sc.p.s);
}

static void
open_others(size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		fds[i] = bare_socket(DGRAM_UNIX, &addrs[i]);
}

static void
close_others(size_t n)
{
	while (n > 0)
		close(fds[--n]);
}

/* Fills sc.fd with 1, 2, ...; the last of them waits: its number. */
static uint32_t
fill_up(void)
{
	uint32_t i;

	for (i = 1; i < 1000; i++) {
		OK(send_done(&sc.p, i, &sc.to));
		CALL(dgram_flush(sc.p.s));
		if (dgram_get_send_queue_count(sc.p.s) > 0)
			return i;
	}
	cr_assert(false, "never full");
	return 0;
}

/* What has arrived goes on with `next`: the number behind it. */
static uint32_t
drain_in_order(int fd, uint32_t next)
{
	int64_t got;

	while ((got = bare_recv(fd)) >= 0) {
		MUST(got == next, "%ld, not %u", (long)got, next);
		next++;
	}
	return next;
}

/*
 * The other's datagrams wait for the full one's, or come one per back-off; the
 * full one's are lost or overtake each other; the loop spins meanwhile.
 */
BACKEND_TEST(hold, others_go_on)
{
	enum { N = 1000 };
	uint32_t n, i, last, next = 1, other = 5001;
	uint64_t waits;
	int64_t begin;

	enter(backend, NULL);
	open_others(1);
	n = last = fill_up();
	begin = clock_ms();
	for (i = 0; i < N; i++) {
		OK(send_done(&sc.p, 5001 + i, &addrs[0]));
		if (i % 10 == 0)
			OK(send_done(&sc.p, ++last, &sc.to));
		if (i % 8 == 0)
			turn_wait(sc.l, 0);
		other = drain_in_order(fds[0], other);
	}
	while (other < 5001 + N) {
		MUST(clock_ms() < begin + 5000, "%u of %d", other - 5001, N);
		turn_wait(sc.l, 20);
		other = drain_in_order(fds[0], other);
	}
	cr_assert_eq(dgram_get_send_queue_count(sc.p.s), last - n + 1);
	cr_assert_eq(dgram_get_send_queue_size(sc.p.s), 4 * (last - n + 1));
	/* Nothing else happens. */
	waits = sc.l->waits;
	begin = clock_ms();
	while (clock_ms() < begin + 1000)
		turn_wait(sc.l, 1000);
	cr_assert(sc.l->waits - waits <= 60, "%lu waits in a second",
	    (unsigned long)(sc.l->waits - waits));
	begin = clock_ms();
	while (next <= last) {
		MUST(clock_ms() < begin + 5000, "%u of %u", next, last);
		next = drain_in_order(sc.fd, next);
		turn_wait(sc.l, 20);
	}
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == (int)last + N);
	for (i = 0; i < last + N; i++)
		MUST(sc.p.done[i] == 4, "%u: %d", i, sc.p.done[i]);
	cr_assert_eq(stats_of(&sc.p).sent, last + N);
	cr_assert_eq(stats_of(&sc.p).waiting, 0);
	close_others(1);
	leave();
}

/* What wakes the loop is as many timers as there are full receivers. */
BACKEND_TEST(hold, many_are_full)
{
	uint32_t next[OTHERS] = { 0 };
	uint64_t waits;
	int64_t begin;
	uint32_t i, k;

	enter(backend, NULL);
	open_others(OTHERS);
	/* At different times, with ends of their own. */
	for (k = 0; k < OTHERS; k++) {
		for (i = 0; i < 40; i++)
			OK(send_copy(&sc.p, i, &addrs[k]));
		turn_wait(sc.l, 2);
	}
	begin = clock_ms();
	while (clock_ms() < begin + 200)
		turn_wait(sc.l, 200);
	waits = sc.l->waits;
	begin = clock_ms();
	while (clock_ms() < begin + 500)
		turn_wait(sc.l, 500);
	cr_assert(sc.l->waits - waits <= 30, "%lu waits in half a second",
	    (unsigned long)(sc.l->waits - waits));
	while (dgram_get_send_queue_count(sc.p.s) > 0) {
		MUST(clock_ms() < begin + 5000, "%zu wait",
		    dgram_get_send_queue_count(sc.p.s));
		for (k = 0; k < OTHERS; k++)
			next[k] = drain_in_order(fds[k], next[k]);
		turn_wait(sc.l, 50);
	}
	for (k = 0; k < OTHERS; k++)
		cr_assert_eq(drain_in_order(fds[k], next[k]), 40);
	cr_assert_eq(sc.p.n[EV_ERROR], 0);
	close_others(OTHERS);
	leave();
}

static struct dgram_datagram list[64];
static struct iovec list_iov[64];

/* Numbers from `first` on, in turn to sc.to and to addrs[0]. */
static void
make_list(uint32_t first, size_t n)
{
	size_t i;

	memset(list, 0, sizeof(list));
	for (i = 0; i < n; i++) {
		list_iov[i].iov_base = number(first + (uint32_t)i);
		list_iov[i].iov_len = 4;
		list[i].iov = &list_iov[i];
		list[i].iovcnt = 1;
		list[i].to = i % 2 == 0 ? &sc.to : &addrs[0];
		list[i].result = 99;
	}
}

/* An array that waits as a whole, is told of early, twice, or not at all. */
BACKEND_TEST(hold, array_of_both)
{
	uint32_t n, i;

	enter(backend, NULL);
	open_others(1);
	n = fill_up();
	make_list(100, 20);
	OK(dgram_send_batch(sc.p.s, list, 20, peer_done, &sc.p));
	turns(sc.l, 5);
	for (i = 0; i < 10; i++)
		cr_assert_eq(bare_recv(fds[0]), 101 + 2 * i);
	cr_assert_eq(bare_recv(fds[0]), -1);
	cr_assert_eq(sc.p.n[EV_DONE], (int)n - 1);
	for (i = 0; i < 20; i++)
		MUST(list[i].result == (i % 2 == 0 ? 99 : 4), "%u", i);
	cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 11);
	/* Behind it. */
	OK(send_done(&sc.p, 200, &sc.to));
	cr_assert_eq(drain_in_order(sc.fd, 1), n);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] >= (int)n);
	cr_assert_eq(bare_recv(sc.fd), n);
	for (i = 0; i < 10; i++) {
		int64_t got, end = clock_ms() + 5000;

		while ((got = bare_recv(sc.fd)) < 0) {
			MUST(clock_ms() < end, "%u", i);
			turn_wait(sc.l, 20);
		}
		cr_assert_eq(got, 100 + 2 * i);
	}
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == (int)n + 2);
	cr_assert_eq(bare_recv(sc.fd), 200);
	cr_assert_eq(sc.p.done[n], 20);
	cr_assert_eq(sc.p.done[n + 1], 4);
	for (i = 0; i < 20; i++)
		MUST(list[i].result == 4, "%u", i);
	/* Of none. */
	fill_up();
	OK(dgram_send_batch(sc.p.s, list, 0, peer_done, &sc.p));
	turns(sc.l, 2);
	cr_assert_eq(sc.p.done[sc.p.n[EV_DONE] - 1], 0);
	close_others(1);
	leave();
}

/* An array to many that wait, whose ends come in any order; the receiver dies. */
BACKEND_TEST(hold, array_ends_in_pieces)
{
	uint32_t i, k;

	enter(backend, NULL);
	open_others(4);
	for (k = 0; k < 4; k++) {
		for (i = 0; i < 40; i++)
			OK(send_copy(&sc.p, i, &addrs[k]));
		turns(sc.l, 2);
	}
	make_list(1, 8);
	for (i = 0; i < 8; i++)
		list[i].to = &addrs[i % 4];
	OK(dgram_send_batch(sc.p.s, list, 8, peer_done, &sc.p));
	turns(sc.l, 2);
	for (k = 0; k < 4; k++) {
		cr_assert_eq(sc.p.n[EV_DONE], 0);
		cr_assert_eq(list[3 - k].result, 99);
		if (k == 2) {
			close(fds[3 - k]);
			RUN_UNTIL(sc.l, list[7 - k].result != 99);
			cr_assert_eq(list[3 - k].result, -ECONNREFUSED);
			cr_assert_eq(list[7 - k].result, -ECONNREFUSED);
			continue;
		}
		while (list[7 - k].result == 99) {
			while (bare_recv(fds[3 - k]) >= 0)
				;
			turn_wait(sc.l, 50);
		}
		cr_assert_eq(list[3 - k].result, 4);
	}
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	cr_assert_eq(sc.p.done[0], 6);
	cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 0);
	close(fds[0]);
	close(fds[2]);
	close(fds[3]);
	leave();
}

/* Deadlines of what waits apart, of an array too, and what has none stays. */
BACKEND_TEST(hold, deadlines)
{
	uint64_t now;
	uint32_t n, i;

	enter(backend, NULL);
	open_others(1);
	n = fill_up();
	make_list(100, 6);
	now = dgram_loop_now(sc.l);
	for (i = 0; i < 6; i++)
		list[i].to = &sc.to;
	list[1].deadline_ns = now + 60 * MS;
	list[2].deadline_ns = now + 20 * MS;
	list[4].deadline_ns = now + 3600000 * MS;
	OK(dgram_send_batch(sc.p.s, list, 6, peer_done, &sc.p));
	ACCEPT(dgram_send_batch(sc.p.s, list + 2, 1, NULL, NULL));
	RUN_UNTIL(sc.l, list[2].result != 99);
	cr_assert_eq(list[2].result, -ETIMEDOUT);
	RUN_UNTIL(sc.l, sc.p.n[EV_ERROR] == 1);
	cr_assert_eq(sc.p.status[0], -ETIMEDOUT);
	cr_assert_eq(list[1].result, 99);
	RUN_UNTIL(sc.l, list[1].result != 99);
	cr_assert_eq(list[1].result, -ETIMEDOUT);
	cr_assert_eq(sc.p.n[EV_DONE], (int)n - 1);
	cr_assert_eq(drain_in_order(sc.fd, 1), n);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == (int)n + 1);
	cr_assert_eq(sc.p.done[n], 4);
	cr_assert_eq(bare_recv(sc.fd), n);
	cr_assert_eq(bare_recv(sc.fd), 100);
	cr_assert_eq(bare_recv(sc.fd), 103);
	cr_assert_eq(stats_of(&sc.p).expired, 3);
	/* All of a line: its timer goes with it. */
	while (bare_recv(sc.fd) >= 0)
		;
	make_list(1, 64);
	for (i = 0; i < 64; i++) {
		list[i].deadline_ns = dgram_loop_now(sc.l) + 20 * MS;
		list[i].to = &sc.to;
	}
	OK(dgram_send_batch(sc.p.s, list, 64, peer_done, &sc.p));
	RUN_UNTIL(sc.l, dgram_get_send_queue_count(sc.p.s) == 0);
	cr_assert_eq(list[63].result, -ETIMEDOUT);
	turns(sc.l, 2);
	cr_assert_eq(dgram_loop_timeout(sc.l), -1);
	close_others(1);
	leave();
}

/* A call that does not reach what waits apart: it is sent, or ends. */
BACKEND_TEST(hold, close_end_flush_disconnect)
{
	uint32_t n, i;
	int way, done;

	for (way = 0; way < 5; way++) {
		enter(backend, NULL);
		open_others(1);
		n = fill_up();
		make_list(100, 4);
		OK(dgram_send_batch(sc.p.s, list, 4, peer_done, &sc.p));
		OK(send_copy(&sc.p, 300, &sc.to));
		turns(sc.l, 2);
		if (way == 4) {
			OK(dgram_end(sc.p.s, NULL, NULL));
			turns(sc.l, 2);
		}
		cr_assert_eq(drain_in_order(sc.fd, 1), n);
		done = (int)n + 1;
		switch (way) {
		case 0:
			CHECK(dgram_flush(sc.p.s), 0);
			RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == done);
			break;
		case 1:
			OK(dgram_end(sc.p.s, NULL, NULL));
			RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
			break;
		case 4:
			RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
			break;
		case 2:
			OK(dgram_close(sc.p.s, NULL, NULL));
			RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
			break;
		default:
			OK(dgram_connect_addr(sc.p.s, &addrs[0]));
			OK(dgram_disconnect(sc.p.s));
			RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == done);
			break;
		}
		cr_assert_eq(sc.p.n[EV_DONE], done, "way %d", way);
		cr_assert_eq(sc.p.done[done - 1], 4);
		cr_assert_eq(bare_recv(sc.fd), n);
		for (i = 0; i < 2; i++)
			cr_assert_eq(bare_recv(sc.fd), 100 + 2 * i);
		cr_assert_eq(bare_recv(sc.fd), 300);
		close_others(1);
		leave();
	}
}

/* Still full when the socket closes: cancelled, each once, all counted. */
BACKEND_TEST(hold, close_while_full)
{
	uint32_t n, i;

	enter(backend, NULL);
	open_others(1);
	n = fill_up();
	make_list(100, 6);
	OK(dgram_send_batch(sc.p.s, list, 6, peer_done, &sc.p));
	OK(send_copy(&sc.p, 300, &sc.to));
	CHECK(dgram_flush(sc.p.s), 5);
	OK(dgram_close(sc.p.s, NULL, NULL));
	RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
	cr_assert_eq(sc.p.n[EV_DONE], (int)n + 1);
	cr_assert_eq(sc.p.done[n - 1], -ECANCELED);
	cr_assert_eq(sc.p.done[n], 3);
	for (i = 0; i < 6; i++)
		cr_assert_eq(list[i].result, i % 2 == 0 ? -ECANCELED : 4);
	close_others(1);
	leave();
}

/* The loop goes while some wait: their timers and lines with it. */
BACKEND_TEST(hold, loop_ends)
{
	uint32_t n;

	enter(backend, NULL);
	open_others(1);
	n = fill_up();
	OK(send_copy(&sc.p, 300, &sc.to));
	turns(sc.l, 2);
	free_fault_loop(sc.l, &sc.f);
	cr_assert_eq(sc.p.done[n - 1], -ECANCELED);
	close(sc.fd);
	close_others(1);
}

/* Limits count what waits apart, and drain comes when it is less. */
BACKEND_TEST(hold, limits)
{
	struct dgram_options o = { .send_queue_count = 20,
	    .send_queue_bytes = 100 };
	uint32_t n, i;

	enter(backend, &o);
	open_others(1);
	n = fill_up();
	for (i = 1; i < 20; i++)
		OK(send_done(&sc.p, n + i, &sc.to));
	turns(sc.l, 2);
	cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 20);
	cr_assert_eq(dgram_get_send_queue_size(sc.p.s), 80);
	CHECK(send_done(&sc.p, 1, &addrs[0]), -ENOBUFS);
	make_list(1, 1);
	CHECK(dgram_try_send(sc.p.s, list + 1, 0), 0);
	list[0].to = &addrs[0];
	CHECK(dgram_try_send(sc.p.s, list, 1), -EAGAIN);
	cr_assert_eq(drain_in_order(sc.fd, 1), n);
	RUN_UNTIL(sc.l, sc.p.n[EV_DRAIN] == 1);
	while (sc.p.n[EV_DONE] < (int)n + 19) {
		while (bare_recv(sc.fd) >= 0)
			;
		turn_wait(sc.l, 20);
	}
	CHECK(dgram_try_send(sc.p.s, list, 1), 1);
	cr_assert_eq(dgram_get_send_queue_size(sc.p.s), 0);
	cr_assert_eq(sc.p.n[EV_DRAIN], 1);
	close_others(1);
	leave();
}

static void
answer(struct peer *p, enum event e, const struct dgram_message *m, size_t n)
{
	size_t i;

	for (i = 0; e == EV_MESSAGE && i < n; i++)
		OK(dgram_reply(p->s, &m[i], m[i].data, m[i].size));
}

/* Answers to a client that does not read them, in the arena: they are copied. */
BACKEND_TEST(hold, replies)
{
	uint32_t i, next = 1;

	enter(backend, NULL);
	open_others(1);
	sc.p.hook = answer;
	for (i = 1; i <= 200; i++) {
		bare_send(sc.fd, &sc.p.addr, i);
		bare_send(fds[0], &sc.p.addr, i);
		turns(sc.l, 2);
		/* The other has its own at once. */
		MUST(bare_recv(fds[0]) == i, "%u", i);
	}
	while (next <= 200) {
		next = drain_in_order(sc.fd, next);
		turn_wait(sc.l, 20);
	}
	cr_assert_eq(stats_of(&sc.p).sent, 400);
	cr_assert_eq(sc.p.n[EV_ERROR], 0);
	close_others(1);
	leave();
}

/* Without memory for it the whole queue waits: no loss, no other order. */
BACKEND_TEST(hold, no_memory)
{
	uint32_t next, other, sent, refused;
	size_t k;
	int r;

	for (k = 1; k < 12; k++) {
		enter(backend, NULL);
		open_others(1);
		sent = refused = 0;
		next = other = 1;
		sc.f.fail_alloc = sc.f.allocs + k;
		while (sent < 60) {
			make_list(1, 2);
			list_iov[0].iov_base = list_iov[1].iov_base =
			    number(sent + 1);
			r = CALL(dgram_send_batch(sc.p.s, list, 2, sent % 2 ?
			    NULL : peer_done, &sc.p));
			MUST(r == 0 || (r == -ENOMEM && refused++ == 0),
			    "%d", r);
			sent += r == 0;
			/* Borrowed until it is over. */
			turns(sc.l, 1);
			while (sent % 2 == 1 && r == 0 &&
			    (list[0].result == 99 || list[1].result == 99)) {
				next = drain_in_order(sc.fd, next);
				other = drain_in_order(fds[0], other);
				turn_wait(sc.l, 20);
			}
		}
		while (next <= 60 || other <= 60) {
			next = drain_in_order(sc.fd, next);
			other = drain_in_order(fds[0], other);
			turn_wait(sc.l, 20);
		}
		turns(sc.l, 3);
		cr_assert_eq(sc.p.n[EV_DONE], 30, "%d", sc.p.n[EV_DONE]);
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
		close_others(1);
		leave();
	}
}

/* Full receivers, each with one that waits: each is asked once per back-off. */
BACKEND_TEST(hold, thousands)
{
	enum { N = 4096 };
	struct dgram_options o = { .send_queue_count = 2 * N };
	struct dgram_addr to;
	char path[64];
	unsigned calls;
	uint32_t i;

	enter(backend, &o);
	/* The kernel is full for whoever it is. */
	fault_sends(&sc.f, ON_LINUX ? -EAGAIN : -ENOBUFS);
	for (i = 0; i < N; i++) {
		snprintf(path, sizeof(path), "/nowhere/%u", i);
		OK(dgram_addr_unix(&to, path));
		OK(send_copy(&sc.p, i, &to));
	}
	turns(sc.l, 1);
	CALL(dgram_flush(sc.p.s));
	calls = fault_count_sends(&sc.f);
	cr_assert_eq(dgram_get_send_queue_count(sc.p.s), N);
	/* To whom it is known: no call. */
	for (i = 0; i < N; i++) {
		snprintf(path, sizeof(path), "/nowhere/%u", i);
		OK(dgram_addr_unix(&to, path));
		OK(send_copy(&sc.p, i, &to));
	}
	cr_assert(fault_count_sends(&sc.f) <= calls, "%u calls more",
	    fault_count_sends(&sc.f) - calls);
	fault_sends(&sc.f, 0);
	RUN_UNTIL(sc.l, dgram_get_send_queue_count(sc.p.s) == 0);
	cr_assert_eq(stats_of(&sc.p).failed, 2 * N);
	leave();
}

/* Headers that were given to the kernel. */
static size_t headers;

static int
count_headers(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n)
{
	(void)os, (void)fd, (void)m;
	headers += n;
	return ON_LINUX ? -EAGAIN : -ENOBUFS;
}

/* Behind each that is full a whole batch is looked up and readied again. */
BACKEND_TEST(hold, large_batch)
{
	enum { N = 2048 };
	struct dgram_loop_options lo = { .batch = 1024 };
	struct dgram_addr to;
	char path[64];
	uint32_t i;

	scene_enter(backend, DGRAM_UNIX, &lo, NULL);
	sc.f.fd = dgram_fileno(sc.p.s);
	fault_sends(&sc.f, ON_LINUX ? -EAGAIN : -ENOBUFS);
	sc.f.os.sendmmsg = count_headers;
	headers = 0;
	for (i = 0; i < N; i++) {
		snprintf(path, sizeof(path), "/nowhere/%u", i);
		OK(dgram_addr_unix(&to, path));
		OK(send_copy(&sc.p, i, &to));
	}
	CALL(dgram_flush(sc.p.s));
	cr_assert_eq(dgram_get_send_queue_count(sc.p.s), N);
	cr_assert(headers <= 2 * N, "%zu headers", headers);
	leave();
}

/* A line that is long does not keep the queue from its share, nor the queue it. */
BACKEND_TEST(hold, shares)
{
	struct dgram_loop_options lo = { .budget = 8, .batch = 4 };
	uint32_t n, i;

	scene_enter(backend, DGRAM_UNIX, &lo, NULL);
	sc.f.fd = dgram_fileno(sc.p.s);
	open_others(1);
	n = fill_up();
	for (i = 1; i <= 9; i++)
		OK(send_copy(&sc.p, n + i, &sc.to));
	turns(sc.l, 5);
	cr_assert_eq(drain_in_order(sc.fd, 1), n);
	/* Less than a batch: it stays in the queue. */
	for (i = 0; i < 3; i++)
		OK(send_copy(&sc.p, i, &addrs[0]));
	dgi_hold_wake(sc.p.s);
	dgi_queue_flush(sc.p.s, 4);
	cr_assert_eq(drain_in_order(sc.fd, n), n + 2);
	cr_assert_eq(drain_in_order(fds[0], 0), 2);
	RUN_UNTIL(sc.l, dgram_get_send_queue_count(sc.p.s) == 0);
	cr_assert_eq(drain_in_order(sc.fd, n + 2), n + 10);
	cr_assert_eq(drain_in_order(fds[0], 2), 3);
	cr_assert_eq(sc.p.s->line.silent, 0);
	cr_assert_eq(sc.p.s->line.specials, 0);
	close_others(1);
	leave();
}

/* Of two that are read and sent to all the time one is never served. */
BACKEND_TEST(hold, each_has_its_turn)
{
	struct dgram_loop_options lo = { .budget = 2 };
	uint32_t n, i, k, next, other, next_before = 0, other_before = 0;

	scene_enter(backend, DGRAM_UNIX, &lo, NULL);
	sc.f.fd = dgram_fileno(sc.p.s);
	open_others(1);
	n = fill_up();
	for (i = 0; i < n + 9; i++)
		OK(send_copy(&sc.p, i, &addrs[0]));
	CALL(dgram_flush(sc.p.s));
	next = drain_in_order(sc.fd, 1);
	other = drain_in_order(fds[0], 0);
	for (k = 0; k < 40; k++) {
		if (k == 20) {
			next_before = next;
			other_before = other;
		}
		for (i = 0; i < 4; i++) {
			OK(send_copy(&sc.p, ++n, &sc.to));
			OK(send_copy(&sc.p, n + 8, &addrs[0]));
		}
		/* Both are due, again and again. */
		dgi_hold_wake(sc.p.s);
		turn_wait(sc.l, 0);
		next = drain_in_order(sc.fd, next);
		other = drain_in_order(fds[0], other);
	}
	cr_assert(next >= next_before + 5 && other >= other_before + 5,
	    "%u, %u", next - next_before, other - other_before);
	close_others(1);
	leave();
}

/* Exits with 0 if what waits ends in the child of a fork. */
static void
in_child(uint32_t n)
{
	bool ok = dgram_loop_fork(sc.l, 0) == 0;

	turns(sc.l, 2);
	_exit(!(ok && sc.p.n[EV_DONE] == (int)n &&
	    sc.p.done[n - 1] == -ECANCELED &&
	    dgram_get_send_queue_count(sc.p.s) == 0));
}

/* In the child of a fork what waits is cancelled, in the parent it goes. */
BACKEND_TEST(hold, fork)
{
	int status;
	uint32_t n;
	pid_t pid;

	enter(backend, NULL);
	n = fill_up();
	OK(send_copy(&sc.p, n + 1, &sc.to));
	turns(sc.l, 2);
	fflush(NULL);
	pid = test_fork();
	cr_assert(pid >= 0);
	if (pid == 0)
		in_child(n);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	cr_assert_eq(drain_in_order(sc.fd, 1), n);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == (int)n);
	cr_assert_eq(sc.p.done[n - 1], 4);
	cr_assert_eq(drain_in_order(sc.fd, n), n + 2);
	leave();
}
