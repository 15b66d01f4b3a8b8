/* SPDX-License-Identifier: ISC */

/*
 * The send queue: its limits, drain, completions and their order, and the
 * memory that it takes.
 */

#include "scene.h"

static void
enter(const char *backend, int type, const struct dgram_options *o)
{
	scene_enter(backend, type, NULL, o);
}

static int
send_bytes(size_t n)
{
	static char bytes[70000];
	struct iovec iov = { bytes, n };

	return CALL(dgram_send_addr(sc.p.s, &iov, 1, &sc.to, peer_done,
	    &sc.p));
}

/* A limit that is off by one, counts otherwise, or has no drain behind it. */
BACKEND_TEST(queue, limit_of_count)
{
	struct dgram_options o = { .send_queue_count = 10 };
	struct dgram_datagram d[3] = { { .iovcnt = 0 } };
	int i;

	enter(backend, DGRAM_UDP4, &o);
	fault_sends(&sc.f, -EAGAIN);
	for (i = 0; i < 3; i++)
		d[i].to = &sc.to;
	for (i = 0; i < 8; i++)
		OK(send_done(&sc.p, 1, &sc.to));
	/* An array as a whole. */
	CHECK(dgram_send_batch(sc.p.s, d, 3, peer_done, &sc.p), -ENOBUFS);
	CHECK(dgram_send_batch(sc.p.s, d, 3, NULL, NULL), -ENOBUFS);
	cr_assert_eq(stats_of(&sc.p).refused, 6);
	OK(dgram_send_batch(sc.p.s, d, 2, peer_done, &sc.p));
	CHECK(send_done(&sc.p, 1, &sc.to), -ENOBUFS);
	CHECK(send_copy(&sc.p, 1, &sc.to), -ENOBUFS);
	cr_assert_eq(stats_of(&sc.p).refused, 8);
	cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 10);
	turns(sc.l, 3);
	cr_assert_eq(sc.p.n[EV_DRAIN], 0);
	fault_sends(&sc.f, 0);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 9);
	turns(sc.l, 5);
	cr_assert_eq(sc.p.n[EV_DRAIN], 1);
	cr_assert_eq(sc.p.n[EV_ERROR], 0);
	/* Nothing was refused since: no more of it. */
	OK(send_done(&sc.p, 1, &sc.to));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 10);
	turns(sc.l, 5);
	cr_assert_eq(sc.p.n[EV_DRAIN], 1);
	leave();
}

BACKEND_TEST(queue, limit_of_bytes)
{
	struct dgram_options o = { .send_queue_bytes = 1000 };

	enter(backend, DGRAM_UDP4, &o);
	/* Alone too large: refused, and no drain for it. */
	CHECK(send_bytes(1001), -ENOBUFS);
	turns(sc.l, 5);
	cr_assert_eq(sc.p.n[EV_DRAIN], 0);
	OK(send_bytes(1000));
	CHECK(send_bytes(1), -ENOBUFS);
	OK(send_bytes(0));
	cr_assert_eq(dgram_get_send_queue_size(sc.p.s), 1000);
	cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 2);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 2);
	RUN_UNTIL(sc.l, sc.p.n[EV_DRAIN] == 1);
	cr_assert_eq(dgram_get_send_queue_size(sc.p.s), 0);
	cr_assert_eq(stats_of(&sc.p).refused, 2);
	leave();
}

/* The defaults are limits: 1 MiB and 4096 datagrams. */
BACKEND_TEST(queue, default_limits)
{
	struct dgram_options o = { .send_queue_bytes = DGRAM_UNLIMITED };
	int i, n;

	enter(backend, DGRAM_UDP4, NULL);
	fault_sends(&sc.f, -EAGAIN);
	for (i = 0; send_bytes(1024) == 0; i++)
		cr_assert(i < 1024);
	cr_assert_eq(i, 1024);
	leave();
	enter(backend, DGRAM_UDP4, &o);
	fault_sends(&sc.f, -EAGAIN);
	for (i = 0; send_bytes(1024) == 0; i++)
		cr_assert(i < 4096);
	cr_assert_eq(i, 4096);
	leave();
	o.send_queue_count = DGRAM_UNLIMITED;
	enter(backend, DGRAM_UDP4, &o);
	fault_sends(&sc.f, -EAGAIN);
	n = 6000;
	for (i = 0; i < n; i++)
		OK(send_bytes(1024));
	cr_assert_eq(dgram_get_send_queue_size(sc.p.s), (size_t)n * 1024);
	leave();
}

static size_t at_drain;

static void
drain_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_DRAIN)
		at_drain = dgram_get_send_queue_count(p->s);
}

/* A drain when there is no room yet: it comes at half, not before. */
BACKEND_TEST(queue, drain_at_half)
{
	struct dgram_options o = { .send_queue_count = 100 };
	int script[300], i;

	if (!test_has("sendmmsg"))
		cr_skip_test("no sendmmsg");
	enter(backend, DGRAM_UDP4, &o);
	sc.p.hook = drain_hook;
	fault_sends(&sc.f, -EAGAIN);
	for (i = 0; i < 100; i++)
		OK(send_done(&sc.p, 1, &sc.to));
	CHECK(send_done(&sc.p, 1, &sc.to), -ENOBUFS);
	turns(sc.l, 3);
	/* One at a time from now on, with a refusal behind each. */
	fault_always(&sc.f, FAULT_SENDTO, 0);
	for (i = 0; i < 300; i++)
		script[i] = i % 2 == 0 ? 1 : -EAGAIN;
	sc.f.entry[FAULT_SENDMMSG].script = script;
	sc.f.entry[FAULT_SENDMMSG].nscript = 300;
	while (sc.p.n[EV_DRAIN] == 0) {
		cr_assert(sc.p.n[EV_DONE] <= 60);
		turn_wait(sc.l, 10);
	}
	cr_assert(at_drain <= 50 && at_drain >= 45, "%zu", at_drain);
	leave();
}

/* What fails leaves room, too. */
BACKEND_TEST(queue, drain_after_failures)
{
	struct dgram_options o = { .send_queue_count = 4 };
	int i;

	enter(backend, DGRAM_UDP4, &o);
	for (i = 0; i < 4; i++)
		OK(send_done(&sc.p, 1, &sc.to));
	CHECK(send_done(&sc.p, 1, &sc.to), -ENOBUFS);
	fault_sends(&sc.f, -EPERM);
	RUN_UNTIL(sc.l, sc.p.n[EV_DRAIN] == 1);
	leave();
}

/* ---- completions ---- */

/* Completions in another order than the calls. */
BACKEND_TEST(queue, order_of_completions)
{
	struct dgram_datagram d[3] = { { .iovcnt = 0 } };
	struct iovec iov = { number(1), 4 };
	int i;

	EACH_TYPE(type) {
		enter(backend, type, NULL);
		for (i = 0; i < 3; i++)
			d[i].to = &sc.to;
		OK(dgram_send_addr(sc.p.s, &iov, 1, &sc.to, peer_done,
		    &sc.p));
		OK(dgram_send_batch(sc.p.s, d, 3, peer_done, &sc.p));
		OK(dgram_send_batch(sc.p.s, d, 0, peer_done, &sc.p));
		iov.iov_len = 2;
		OK(dgram_send_addr(sc.p.s, &iov, 1, &sc.to, peer_done,
		    &sc.p));
		iov.iov_len = 4;
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 4);
		cr_assert_eq(sc.p.done[0], 4);
		cr_assert_eq(sc.p.done[1], 3);
		cr_assert_eq(sc.p.done[2], 0);
		cr_assert_eq(sc.p.done[3], 2);
		leave();
	}
}

/* Completions before the messages that the same turn brings (Node's order). */
BACKEND_TEST(queue, completion_of_a_send_to_itself)
{
	enter(backend, DGRAM_UDP4, NULL);
	OK(send_done(&sc.p, 1, &sc.p.addr));
	OK(send_done(&sc.p, 2, &sc.p.addr));
	RUN_UNTIL(sc.l, sc.p.got == 2 && sc.p.n[EV_DONE] == 2);
	cr_assert_eq(sc.p.seq[0], 1);
	cr_assert_eq(sc.p.seq[1], 2);
	leave();
}

/* ---- keeping the loop running ---- */

/* A completion, or a close, that is never called because the loop ends. */
BACKEND_TEST(queue, completions_keep_the_loop)
{
	EACH_TYPE(type) {
		enter(backend, type, NULL);
		OK(dgram_unref(sc.p.s));
		fault_at(&sc.f, FAULT_SENDTO, 1, -ENOBUFS);
		OK(send_done(&sc.p, 1, &sc.to));
		cr_assert_eq(dgram_loop_run(sc.l), 0);
		cr_assert_eq(sc.p.n[EV_DONE], 1);
		cr_assert_eq(sc.p.done[0], 4);
		OK(dgram_close(sc.p.s, peer_close_fn, &sc.p));
		cr_assert_eq(dgram_loop_run(sc.l), 0);
		cr_assert_eq(sc.p.n[EV_CLOSE_FN], 1);
		leave();
	}
}

/* ---- memory ---- */

static struct dgram_addr echo_to;

static void
echo_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;
	char text[16];
	struct iovec iov = { text, sizeof(text) };

	if (e != EV_MESSAGE)
		return;
	memset(text, 'x', sizeof(text));
	for (i = 0; i < n; i++) {
		OK(dgram_reply(p->s, &m[i], m[i].data, m[i].size));
		OK(dgram_send_addr(p->s, &iov, 1, &echo_to, NULL, NULL));
		iov.iov_base = text;
		OK(dgram_send_addr(p->s, &iov, 1, &echo_to, NULL, NULL));
		OK(send_done(p, 1, &echo_to));
	}
}

/* An allocation for each datagram: replies, copies, completions. */
BACKEND_TEST(queue, nothing_is_allocated_in_the_steady_state)
{
	enum { WINDOW = 8, N = 10000 };
	struct dgram_addr sink_addr;
	char buf[64];
	size_t allocs = 0, sent = 0, got = 0, n, i;
	bool peak;
	int sink;

	EACH_TYPE(type) {
		enter(backend, type, NULL);
		sc.p.hook = echo_hook;
		sink = bare_socket(type, &sink_addr);
		echo_to = sink_addr;
		sent = got = 0;
		/* What UDP has no room for is gone. */
		peak = type != DGRAM_UNIX;
		while (got < N) {
			/*
			 * A full sink does not hold the answers up.  Once more
			 * wait for it than will ever again.
			 */
			n = dgram_get_send_queue_count(sc.p.s);
			peak = peak || n >= 400;
			for (i = 0; i < WINDOW && sent - got < WINDOW &&
			    n < (peak ? 128 : 512); i++)
				bare_send(sc.fd, &sc.p.addr,
				    (uint32_t)sent++);
			turn_wait(sc.l, 1000);
			while (peak && recv(sink, buf, sizeof(buf),
			    MSG_DONTWAIT) > 0)
				;
			while (bare_recv(sc.fd) >= 0)
				got++;
			if (got < 1000)
				allocs = sc.f.allocs;
		}
		cr_assert_eq(sc.f.allocs - allocs, 0, "%zu allocations",
		    sc.f.allocs - allocs);
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
		close(sink);
		leave();
	}
}

/* A bound that is less than what is held, with all queues full. */
BACKEND_TEST(queue, memory_bound)
{
	struct dgram_options o = { .send_queue_count = 500,
	    .send_queue_bytes = 100000 };
	size_t held, bound, now;
	int i;

	EACH_TYPE(type) {
		enter(backend, type, &o);
		fault_sends(&sc.f, -ENOBUFS);
		OK(dgram_loop_memory(sc.l, NULL, &bound));
		for (i = 0; send_copy(&sc.p, 1, &sc.to) == 0; i++)
			;
		cr_assert_eq(i, 500);
		turns(sc.l, 3);
		OK(dgram_loop_memory(sc.l, &held, &now));
		cr_assert(held <= bound && held <= now, "%zu of %zu", held,
		    bound);
		leave();
	}
	o.send_queue_count = DGRAM_UNLIMITED;
	enter(backend, DGRAM_UDP4, &o);
	OK(dgram_loop_memory(sc.l, NULL, &bound));
	cr_assert_eq(bound, SIZE_MAX);
	leave();
}

/*
 * Lists of pieces are kept by length: each length has had its peak, of as many
 * completions as may wait.
 */
BACKEND_TEST(queue, memory_bound_of_lists)
{
	static const struct dgram_options o = { .send_queue_count = 1,
	    .send_queue_bytes = 1 };
	static struct iovec iov[1024];
	size_t held, bound;
	int n, sent = 0;

	enter(backend, DGRAM_UDP4, &o);
	OK(dgram_loop_memory(sc.l, NULL, &bound));
	for (n = COUNT(iov); n > 2; n /= 2) {
		while (dgram_send_addr(sc.p.s, iov, n, &sc.to, peer_done,
		    &sc.p) == 0) {
			sent++;
			OK(dgram_flush(sc.p.s));
		}
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == sent);
	}
	cr_assert(sent > 9 * 4000, "%d", sent);
	OK(dgram_loop_memory(sc.l, &held, NULL));
	cr_assert(held <= bound, "%zu of %zu", held, bound);
	leave();
}

/* What the first bind reserves for all sockets is no surprise. */
BACKEND_TEST(queue, memory_bound_of_the_arena)
{
	static const struct dgram_options o = { .type = DGRAM_UDP4,
	    .send_queue_count = 1, .send_queue_bytes = 1,
	    .max_datagram = (size_t)1 << 19, .want = DGRAM_TTL };
	struct dgram_loop_options lo = { .backend = backend, .batch = 1024 };
	struct dgram_socket *s;
	struct dgram_addr any;
	struct dgram_loop *l;
	size_t held, bound;

	OK(dgram_loop_new(&lo, &l));
	OK(dgram_open(l, &o, &s));
	OK(dgram_loop_memory(l, NULL, &bound));
	OK(dgram_addr_parse(&any, "127.0.0.1", 0));
	if (dgram_bind_addr(s, &any) == -ENOMEM) {
		free_loop(l);
		cr_skip_test("no address space for 512 MiB");
	}
	OK(dgram_loop_memory(l, &held, NULL));
	cr_assert(held <= bound, "%zu of %zu", held, bound);
	free_loop(l);
}

/*
 * The kernel takes each batch at once, and whoever sends without end never lets
 * the loop tell him: completions are bounded, too, and a drain follows.
 */
BACKEND_TEST(queue, completions_are_bounded)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr to;
	size_t held, bound;
	int fd = bare_socket(DGRAM_UDP4, &to), i, r = 0;

	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	turns(l, 2);
	for (i = 0; i < 100000 && r == 0; i++)
		r = CALL(send_done(&p, 1, &to));
	cr_assert_eq(r, -ENOBUFS);
	cr_assert(i > 4000 && i < 10000, "%d", i);
	cr_assert_eq(stats_of(&p).refused, 1);
	OK(dgram_loop_memory(l, &held, &bound));
	cr_assert(held <= bound);
	RUN_UNTIL(l, p.n[EV_DONE] == i - 1);
	RUN_UNTIL(l, p.n[EV_DRAIN] == 1);
	OK(send_done(&p, 1, &to));
	free_loop(l);
	close(fd);
}
