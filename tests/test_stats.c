/* SPDX-License-Identifier: ISC */

/*
 * The ledger: each datagram is in exactly one sum of its direction.
 */

#include "scene.h"

static void
enter(const char *backend, int type, const struct dgram_options *o)
{
	scene_enter(backend, type, NULL, o);
}

static uint64_t
out_sum(const struct dgram_stats *st)
{
	return st->sent + st->failed + st->expired + st->cancelled +
	    st->waiting;
}

static struct dgram_stats at_close;

static void
close_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_CLOSE) {
		at_close.size = sizeof(at_close);
		OK(dgram_get_stats(p->s, &at_close));
	}
}

/* A datagram that is counted nowhere, or twice. */
BACKEND_TEST(stats, out)
{
	struct dgram_datagram d[3] = { { .iovcnt = 0 } };
	struct iovec iov = { number(1), 4 };
	struct dgram_stats st;
	uint64_t accepted = 0;
	int i;

	EACH_TYPE(type) {
		enter(backend, type, NULL);
		sc.p.hook = close_hook;
		accepted = 0;
		for (i = 0; i < 3; i++) {
			memset(&d[i], 0, sizeof(d[i]));
			d[i].iov = &iov;
			d[i].iovcnt = 1;
			d[i].to = &sc.to;
		}
		/* Sent. */
		OK(send_done(&sc.p, 1, &sc.to));
		OK(dgram_send_batch(sc.p.s, d, 3, peer_done, &sc.p));
		accepted += 4;
		st = stats_of(&sc.p);
		cr_assert_eq(st.waiting, 4);
		cr_assert_eq(out_sum(&st), accepted);
		turns(sc.l, 3);
		st = stats_of(&sc.p);
		cr_assert_eq(st.sent, 4);
		cr_assert_eq(st.sent_bytes, 16);
		cr_assert_eq(st.waiting, 0);
		/* Failed. */
		sc.f.fd = dgram_fileno(sc.p.s);
		fault_sends(&sc.f, -EPERM);
		OK(send_done(&sc.p, 1, &sc.to));
		OK(send_copy(&sc.p, 1, &sc.to));
		OK(dgram_send_batch(sc.p.s, d, 3, peer_done, &sc.p));
		accepted += 5;
		turns(sc.l, 3);
		st = stats_of(&sc.p);
		cr_assert_eq(st.failed, 5);
		cr_assert_eq(out_sum(&st), accepted);
		/* Expired. */
		fault_sends(&sc.f, -EAGAIN);
		for (i = 0; i < 3; i++)
			d[i].deadline_ns = dgram_loop_now(sc.l) + MS;
		OK(dgram_send_batch(sc.p.s, d, 3, peer_done, &sc.p));
		ACCEPT(dgram_send_batch(sc.p.s, d, 2, NULL, NULL));
		accepted += 5;
		RUN_UNTIL(sc.l, stats_of(&sc.p).expired == 5);
		st = stats_of(&sc.p);
		cr_assert_eq(out_sum(&st), accepted);
		/* Cancelled; `refused` was never accepted. */
		OK(send_done(&sc.p, 1, &sc.to));
		OK(send_copy(&sc.p, 1, &sc.to));
		accepted += 2;
		turns(sc.l, 3);
		OK(dgram_close(sc.p.s, NULL, NULL));
		RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
		cr_assert_eq(at_close.cancelled, 2);
		cr_assert_eq(at_close.waiting, 0);
		cr_assert_eq(out_sum(&at_close), accepted);
		cr_assert_eq(at_close.sent, 4);
		cr_assert(at_close.granted_send_buffer > 0);
		cr_assert(at_close.granted_recv_buffer > 0);
		leave();
	}
}

/* What was delivered and what the kernel dropped is what was sent. */
BACKEND_TEST(stats, in)
{
	struct dgram_options o = { .recv_buffer_size = 4096 };
	struct dgram_stats st;
	uint32_t i;

	enter(backend, DGRAM_UDP4, &o);
	sc.p.hook = close_hook;
	st = stats_of(&sc.p);
	cr_assert(st.kernel_drops == 0 || st.kernel_drops == UINT64_MAX);
	for (i = 0; i < 100; i++)
		bare_send(sc.fd, &sc.p.addr, i);
	/* User-mode emulation does not know SO_MEMINFO. */
	if (DGI_HAVE_MEMINFO && !test_emulated()) {
		RUN_UNTIL(sc.l, stats_of(&sc.p).received +
		    stats_of(&sc.p).kernel_drops == 100);
		turns(sc.l, 5);
		st = stats_of(&sc.p);
		cr_assert(st.kernel_drops > 0 && st.received > 0);
		cr_assert_eq(st.received + st.kernel_drops, 100);
	} else {
		turns(sc.l, 20);
		st = stats_of(&sc.p);
		cr_assert_eq(st.kernel_drops, UINT64_MAX);
	}
	cr_assert_eq(st.received, sc.p.got);
	cr_assert_eq(st.received_bytes, sc.p.bytes);
	cr_assert_eq(st.discarded, 0);
	cr_assert(st.wakeups > 0);
	OK(dgram_close(sc.p.s, NULL, NULL));
	RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
	cr_assert_eq(at_close.kernel_drops, st.kernel_drops);
	cr_assert_eq(at_close.received, st.received);
	leave();
}

/*
 * A receiver that is overloaded, in bursts and with pauses: at each moment what
 * was sent is what was delivered, dropped, or waits in the kernel's buffer.  The
 * kernel does not tell how many wait, but it does not lose them either.
 */
BACKEND_TEST(stats, overload)
{
	struct dgram_options o = { .recv_buffer_size = 4096 };
	uint64_t sent = 0, dropped, waiting;
	struct dgram_stats st;
	uint32_t burst;
	int i;

	if (!DGI_HAVE_MEMINFO || test_emulated())
		cr_skip_test("the system does not tell what it drops");
	enter(backend, DGRAM_UDP4, &o);
	for (burst = 1; burst <= 1024; burst *= 2) {
		OK(dgram_pause(sc.p.s));
		for (i = 0; i < (int)burst; i++)
			bare_send(sc.fd, &sc.p.addr, (uint32_t)sent++);
		st = stats_of(&sc.p);
		dropped = st.kernel_drops;
		waiting = sent - st.received - dropped;
		cr_assert(waiting > 0 && waiting <= burst);
		/* One more is dropped, or waits: never both, never neither. */
		OK(dgram_resume(sc.p.s));
		RUN_UNTIL(sc.l, stats_of(&sc.p).received ==
		    st.received + waiting);
		turns(sc.l, 5);
		st = stats_of(&sc.p);
		cr_assert_eq(st.kernel_drops, dropped, "dropped while nobody "
		    "sent");
		cr_assert_eq(st.received + st.kernel_drops, sent);
	}
	cr_assert(dropped > 0 && st.received > 0);
	cr_assert_eq(st.received, sc.p.got);
	/* At full speed, with nobody pausing. */
	for (i = 0; i < 20000; i++) {
		bare_send(sc.fd, &sc.p.addr, (uint32_t)sent++);
		if (i % 300 == 0)
			turn_wait(sc.l, 0);
	}
	RUN_UNTIL(sc.l, stats_of(&sc.p).received +
	    stats_of(&sc.p).kernel_drops == sent);
	leave();
}

/* The kernel's count has 32 bits and comes round. */
static uint32_t drops;

static int
tell_drops(const struct dgi_os *os, int fd, int level, int name, void *v,
    socklen_t *len)
{
	enum { MEMINFO = 55 };
	uint32_t words[9] = { [8] = drops };

	(void)os;
	if (level != SOL_SOCKET || name != MEMINFO)
		return (dgi_os_real.getsockopt)(&dgi_os_real, fd, level, name,
		    v, len);
	memcpy(v, words, sizeof(words));
	*len = sizeof(words);
	return 0;
}

BACKEND_TEST(stats, drops_come_round)
{
	static const struct {
		uint32_t kernel;
		uint64_t ours;
	} steps[] = { { 0, 0 }, { 5, 5 }, { 5, 5 }, { UINT32_MAX, UINT32_MAX },
	    { 0, (uint64_t)1 << 32 }, { 7, ((uint64_t)1 << 32) + 7 },
	    { 7, ((uint64_t)1 << 32) + 7 }, { 6, ((uint64_t)2 << 32) + 6 } };
	size_t i;

	if (!DGI_HAVE_MEMINFO)
		cr_skip_test("the system does not tell what it drops");
	enter(backend, DGRAM_UDP4, NULL);
	sc.f.os.getsockopt = tell_drops;
	for (i = 0; i < COUNT(steps); i++) {
		drops = steps[i].kernel;
		cr_assert_eq(stats_of(&sc.p).kernel_drops, steps[i].ours,
		    "step %zu", i);
	}
	leave();
}

/* Nobody asks, but a flooded socket looks by itself. */
BACKEND_TEST(stats, drops_of_a_flood)
{
	uint32_t i;

	if (!DGI_HAVE_MEMINFO)
		cr_skip_test("the system does not tell what it drops");
	enter(backend, DGRAM_UDP4, NULL);
	sc.f.os.getsockopt = tell_drops;
	drops = UINT32_MAX;
	/* One more budget and it looks, however many were used up by sends. */
	sc.p.s->floods = 0xffff;
	sc.p.s->stats.budget_used_up = 7;
	for (i = 0; sc.p.s->stats.budget_used_up == 7; i++) {
		bare_send(sc.fd, &sc.p.addr, i);
		if (i % 100 == 99) {
			turn_wait(sc.l, 0);
			turn_wait(sc.l, 0);
		}
		MUST(i < 100000, "the budget is never used up");
	}
	drops = 3;
	cr_assert_eq(stats_of(&sc.p).kernel_drops, ((uint64_t)1 << 32) + 3);
	leave();
}

/* The size says how much of it the program knows. */
BACKEND_TEST(stats, size)
{
	union {
		struct dgram_stats st;
		unsigned char b[sizeof(struct dgram_stats) + 64];
	} u;
	size_t i, k;
	static const size_t sizes[] = { sizeof(size_t),
	    offsetof(struct dgram_stats, received_bytes),
	    sizeof(struct dgram_stats) - 8, sizeof(struct dgram_stats),
	    sizeof(struct dgram_stats) + 32 };

	enter(backend, DGRAM_UDP4, NULL);
	bare_send(sc.fd, &sc.p.addr, 1);
	RUN_UNTIL(sc.l, sc.p.got == 1);
	for (i = 0; i < COUNT(sizes); i++) {
		memset(&u, 0xee, sizeof(u));
		u.st.size = sizes[i];
		OK(dgram_get_stats(sc.p.s, &u.st));
		cr_assert_eq(u.st.size, sizes[i]);
		for (k = sizes[i]; k < sizeof(u); k++)
			cr_assert_eq(u.b[k], 0xee, "%zu of %zu written", k,
			    sizes[i]);
		if (sizes[i] > sizeof(size_t))
			cr_assert_eq(u.st.received, 1);
	}
	u.st.size = 0;
	CHECK(dgram_get_stats(sc.p.s, &u.st), -EINVAL);
	u.st.size = sizeof(size_t) - 1;
	CHECK(dgram_get_stats(sc.p.s, &u.st), -EINVAL);
	leave();
}

/* Before there is a descriptor, and after there was one. */
BACKEND_TEST(stats, without_descriptor)
{
	static struct peer p;
	struct dgram_stats st;

	enter(backend, DGRAM_UDP4, NULL);
	peer_open(&p, sc.l, DGRAM_UDP4, NULL);
	st = stats_of(&p);
	cr_assert_eq(out_sum(&st), 0);
	cr_assert_eq(st.received, 0);
	cr_assert_eq(st.granted_recv_buffer, 0);
	p.hook = close_hook;
	at_close.received = 99;
	OK(dgram_close(p.s, NULL, NULL));
	RUN_UNTIL(sc.l, p.n[EV_CLOSE] == 1);
	cr_assert_eq(at_close.received, 0);
	leave();
}

/* Calls, wake-ups and back-offs are counted as they are made. */
BACKEND_TEST(stats, calls)
{
	struct dgram_stats st;
	int i;

	enter(backend, DGRAM_UDP4, NULL);
	sc.f.fd = dgram_fileno(sc.p.s);
	for (i = 0; i < 5; i++) {
		OK(send_copy(&sc.p, 1, &sc.to));
		turns(sc.l, 3);
		bare_send(sc.fd, &sc.p.addr, 1);
		RUN_UNTIL(sc.l, sc.p.got == (size_t)i + 1);
		turns(sc.l, 3);
	}
	st = stats_of(&sc.p);
	cr_assert_eq(st.send_calls, fault_count_sends(&sc.f));
	cr_assert_eq(st.receive_calls, fault_count_receives(&sc.f));
	cr_assert_eq(st.wakeups, 5);
	cr_assert_eq(st.backoffs, 0);
	cr_assert_eq(st.reduced, 0);
	cr_assert_eq(st.truncated, 0);
	fault_at(&sc.f, FAULT_SENDTO, 1, -ENOBUFS);
	OK(send_done(&sc.p, 1, &sc.to));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	cr_assert_eq(stats_of(&sc.p).backoffs, 1);
	leave();
}
