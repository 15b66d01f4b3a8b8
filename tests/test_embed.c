/* SPDX-License-Identifier: ISC */

/*
 * The loop inside of a foreign one, which here is poll(2): whatever is done
 * between two waits, the descriptor or the timeout must tell of it in time.
 */

#include "sockets.h"

/*
 * The foreign loop.  A wait that would sleep past something that is due is late,
 * by as much, whatever the machine does meanwhile: nothing here is measured.
 */
struct foreign {
	struct dgram_loop *l;
	int fd;
	uint64_t due;		/* of the next event, 0: none is due */
	uint64_t late;		/* ns, the worst */
	int waits;
};

/* False if the backend cannot be embedded, which is then checked. */
static bool
enter(struct foreign *f, const char *backend)
{
	memset(f, 0, sizeof(*f));
	f->l = test_loop(backend);
	f->fd = dgram_loop_fd(f->l);
	if (strcmp(backend, "poll") != 0) {
		MUST(f->fd >= 0, "dgram_loop_fd: %d", f->fd);
		return true;
	}
	cr_assert_eq(f->fd, -ENOTSUP);
	free_loop(f->l);
	return false;
}

static bool
is_readable(const struct foreign *f)
{
	struct pollfd p = { f->fd, POLLIN, 0 };

	return poll(&p, 1, 0) == 1;
}

/* One wait and what it says is due. */
static void
wait_once(struct foreign *f)
{
	struct pollfd p = { f->fd, POLLIN, 0 };
	/* Looked at first: that this process is held up makes nothing late. */
	uint64_t asked = clock_ns(), left, sleep;
	int ms = dgram_loop_timeout(f->l);

	MUST(ms >= -1, "timeout %d", ms);
	f->waits++;
	if (f->due != 0 && !is_readable(f)) {
		MUST(ms >= 0, "no timeout, not readable: for ever");
		left = f->due > asked ? f->due - asked : 0;
		sleep = (uint64_t)ms * MS;
		if (sleep > left && sleep - left > f->late)
			f->late = sleep - left;
	}
	MUST(poll(&p, 1, ms) >= 0 || errno == EINTR, "%s", strerror(errno));
	turn_wait(f->l, 0);
}

#define WAIT_UNTIL(f, cond) do {					\
	int waits_ = 0;							\
	while (!(cond)) {						\
		MUST(waits_++ < 100, "not within 100 waits: %s", #cond); \
		wait_once(f);						\
	}								\
} while (0)

/* Nothing is due: the foreign loop may sleep. */
static void
check_idle(struct foreign *f)
{
	int i;

	for (i = 0; i < 10 && (is_readable(f) ||
	    dgram_loop_timeout(f->l) != -1); i++)
		turn_wait(f->l, 0);
	cr_assert(i < 10, "it never becomes quiet");
}

static void
count(void *arg)
{
	++*(int *)arg;
}

static void
on_timer(struct dgram_timer *t, void *arg)
{
	(void)t;
	++*(int *)arg;
}

/* ---- each thing that can be done between two waits ---- */

BACKEND_TEST(embed, post)
{
	struct foreign f;
	int n = 0;

	if (!enter(&f, backend))
		return;
	check_idle(&f);
	OK(dgram_loop_post(f.l, count, &n));
	cr_assert(is_readable(&f));
	WAIT_UNTIL(&f, n == 1);
	check_idle(&f);
	free_loop(f.l);
}

BACKEND_TEST(embed, wake_and_stop)
{
	struct foreign f;

	if (!enter(&f, backend))
		return;
	check_idle(&f);
	OK(dgram_loop_wake(f.l));
	cr_assert(is_readable(&f));
	check_idle(&f);
	dgram_loop_stop(f.l);
	cr_assert(is_readable(&f));
	cr_assert_eq(dgram_loop_timeout(f.l), 0);
	check_idle(&f);
	free_loop(f.l);
}

BACKEND_TEST(embed, send_is_flushed)
{
	struct foreign f;
	struct dgram_addr to;
	struct peer p;
	int fd;

	if (!enter(&f, backend))
		return;
	EACH_TYPE(type) {
		fd = bare_socket(type, &to);
		peer_open(&p, f.l, (enum dgram_type)type, NULL);
		check_idle(&f);
		OK(send_copy(&p, 1, &to));
		cr_assert(is_readable(&f));
		cr_assert_eq(dgram_loop_timeout(f.l), 0);
		check_idle(&f);
		cr_assert_eq(bare_recv(fd), 1);
		/* With a completion, which is another turn's. */
		OK(send_done(&p, 2, &to));
		cr_assert(is_readable(&f));
		WAIT_UNTIL(&f, p.n[EV_DONE] == 1);
		cr_assert_eq(bare_recv(fd), 2);
		OK(dgram_close(p.s, NULL, NULL));
		cr_assert(is_readable(&f));
		WAIT_UNTIL(&f, p.s == NULL);
		check_idle(&f);
		close(fd);
	}
	free_loop(f.l);
}

/* Each event is owed from outside of a run, each is told. */
BACKEND_TEST(embed, bind_and_receive)
{
	struct foreign f;
	struct dgram_addr from;
	struct peer p;
	int fd;

	if (!enter(&f, backend))
		return;
	EACH_TYPE(type) {
		fd = bare_socket(type, &from);
		peer_open(&p, f.l, (enum dgram_type)type, NULL);
		check_idle(&f);
		peer_bind(&p);
		cr_assert(is_readable(&f));
		WAIT_UNTIL(&f, p.n[EV_LISTENING] == 1);
		check_idle(&f);
		bare_send(fd, &p.addr, 7);
		cr_assert(is_readable(&f));
		WAIT_UNTIL(&f, p.got == 1);
		check_idle(&f);
		/* Pause and resume, told to the backend in the call. */
		OK(dgram_pause(p.s));
		bare_send(fd, &p.addr, 8);
		cr_assert(!is_readable(&f));
		OK(dgram_resume(p.s));
		cr_assert(is_readable(&f));
		WAIT_UNTIL(&f, p.got == 2);
		OK(dgram_close(p.s, NULL, NULL));
		WAIT_UNTIL(&f, p.s == NULL);
		check_idle(&f);
		close(fd);
	}
	free_loop(f.l);
}

/* Not alive, but ready: run_once() serves it, else poll(2) would spin. */
BACKEND_TEST(embed, unreferenced)
{
	struct foreign f;
	struct dgram_addr from;
	struct dgram_timer t;
	struct peer p;
	int fd, n = 0;

	if (!enter(&f, backend))
		return;
	fd = bare_socket(DGRAM_UDP4, &from);
	peer_open_bound(&p, f.l, DGRAM_UDP4, NULL);
	OK(dgram_unref(p.s));
	check_idle(&f);
	bare_send(fd, &p.addr, 1);
	WAIT_UNTIL(&f, p.got == 1);
	check_idle(&f);
	dgram_timer_init(&t, f.l, on_timer, &n);
	dgram_timer_unref(&t);
	OK(dgram_timer_start(&t, 2 * MS, 0));
	WAIT_UNTIL(&f, n == 1);
	check_idle(&f);
	close(fd);
	free_loop(f.l);
}

BACKEND_TEST(embed, timers)
{
	struct foreign f;
	struct dgram_timer a, b;
	int n = 0, ms;

	if (!enter(&f, backend))
		return;
	dgram_timer_init(&a, f.l, on_timer, &n);
	dgram_timer_init(&b, f.l, on_timer, &n);
	check_idle(&f);
	dgram_loop_update(f.l);
	OK(dgram_timer_start(&a, 3600000 * MS, 0));
	/* Whoever sleeps without end hears of it. */
	cr_assert(is_readable(&f));
	ms = dgram_loop_timeout(f.l);
	cr_assert(ms > 3500000 && ms <= 3600000, "%d", ms);
	turn_wait(f.l, 0);
	cr_assert(!is_readable(&f));
	/* A later one changes nothing, an earlier one does. */
	OK(dgram_timer_start(&b, 7200000 * MS, 0));
	cr_assert(!is_readable(&f));
	OK(dgram_timer_start(&b, 0, 0));
	cr_assert(is_readable(&f));
	cr_assert_eq(dgram_loop_timeout(f.l), 0);
	WAIT_UNTIL(&f, n == 1);
	dgram_timer_stop(&a);
	check_idle(&f);
	free_loop(f.l);
}

/* The timeout is of the clock, not of when the loop last looked at it. */
BACKEND_TEST(embed, timeout_reads_the_clock)
{
	struct fault_os os;
	struct dgram_timer t;
	struct dgram_loop *l;
	int n = 0;

	fault_init(&os);
	l = fault_loop(&os, backend, NULL);
	dgram_timer_init(&t, l, on_timer, &n);
	OK(dgram_timer_start(&t, 1000000 * MS, 0));
	os.ahead += 999000 * MS;
	cr_assert(dgram_loop_timeout(l) <= 1000);
	os.ahead += 1000 * MS;
	cr_assert_eq(dgram_loop_timeout(l), 0);
	dgram_timer_stop(&t);
	cr_assert_eq(dgram_loop_timeout(l), -1);
	free_fault_loop(l, &os);
}

/* A full queue that waits for the kernel while nobody turns the loop. */
BACKEND_TEST(embed, refusal_long_after_the_last_turn)
{
	struct fault_os os;
	struct dgram_addr to;
	struct dgram_loop *l;
	struct peer p;
	uint32_t i;
	int fd;

	fault_init(&os);
	l = fault_loop(&os, backend, NULL);
	if (dgram_loop_fd(l) == -ENOTSUP)
		cr_assert_eq(strcmp(backend, "poll"), 0);
	fd = bare_socket(DGRAM_UDP4, &to);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	turns(l, 3);
	/* The second of ENOBUFS begins with the refusal. */
	os.ahead += 60000 * MS;
	fault_sends(&os, -ENOBUFS);
	for (i = 0; i < l->batch; i++)
		OK(send_done(&p, i, &to));
	turns(l, 3);
	cr_assert_eq(p.n[EV_DONE], 0);
	fault_sends(&os, 0);
	RUN_UNTIL(l, p.n[EV_DONE] == (int)l->batch);
	cr_assert_eq(stats_of(&p).sent, l->batch);
	close(fd);
	free_fault_loop(l, &os);
}

/* A change that could not be made shortens the timeout, which is told. */
BACKEND_TEST(embed, refused_interest)
{
	struct foreign f;
	struct dgram_addr from;
	struct peer p;
	int fd;

	if (!enter(&f, backend))
		return;
	make_stubborn(f.l);
	fd = bare_socket(DGRAM_UDP4, &from);
	peer_open_bound(&p, f.l, DGRAM_UDP4, NULL);
	OK(dgram_pause(p.s));
	check_idle(&f);
	stubborn.refuse = -ENOSPC;
	OK(dgram_resume(p.s));
	cr_assert(is_readable(&f), "who sleeps without end is not told");
	turn_wait(f.l, 0);
	cr_assert(dgram_loop_timeout(f.l) >= 0);
	stubborn.refuse = 0;
	bare_send(fd, &p.addr, 1);
	WAIT_UNTIL(&f, p.got == 1);
	check_idle(&f);
	close(fd);
	free_loop(f.l);
}

/* Asked for inside of a callback, and what that callback changes. */
static void
ask(struct peer *p, enum event e, const struct dgram_message *m, size_t n)
{
	struct peer *other = p->arg;

	(void)m, (void)n;
	if (e != EV_MESSAGE)
		return;
	(void)dgram_loop_fd(p->loop);
	OK(dgram_resume(other->s));
}

BACKEND_TEST(embed, asked_for_in_a_callback)
{
	struct foreign f = { .l = test_loop(backend) };
	struct dgram_addr from;
	struct peer p, q;
	int fd;

	fd = bare_socket(DGRAM_UDP4, &from);
	peer_open_bound(&p, f.l, DGRAM_UDP4, NULL);
	peer_open_bound(&q, f.l, DGRAM_UDP4, NULL);
	OK(dgram_pause(p.s));
	turns(f.l, 3);
	bare_send(fd, &p.addr, 1);
	q.hook = ask;
	q.arg = &p;
	bare_send(fd, &q.addr, 2);
	turn_wait(f.l, 0);
	cr_assert_eq(q.got, 1);
	f.fd = f.l->poller.fd;
	if (f.fd >= 0) {
		cr_assert(is_readable(&f), "interest is not told");
		WAIT_UNTIL(&f, p.got == 1);
	}
	close(fd);
	free_loop(f.l);
}

/* ---- all of it, at random ---- */

#define ROUNDS		10000

static struct {
	struct peer p;
	struct dgram_timer timer;
	struct dgram_addr bare;
	int fd, ticks, posts;
	uint32_t seq, seed;
} z;

static uint32_t
dice(uint32_t n)
{
	z.seed = z.seed * 1664525u + 1013904223u;
	return (z.seed >> 8) % n;
}

/* Does something, then waits until it has had its effect. */
static void
round_of(struct foreign *f)
{
	int before, event = EV_DONE;
	uint64_t after = 0;

	f->due = clock_ns();
	switch (dice(8)) {
	case 0:
		before = z.ticks;
		after = dice(4) * MS / 4;
		dgram_loop_update(f->l);
		f->due = dgram_loop_now(f->l) + after;
		OK(dgram_timer_start(&z.timer, after, 0));
		WAIT_UNTIL(f, z.ticks == before + 1);
		return;
	case 1:
	case 2:
		before = z.posts;
		OK(dgram_loop_post(f->l, count, &z.posts));
		WAIT_UNTIL(f, z.posts == before + 1);
		return;
	case 3:
		OK(dgram_close(z.p.s, NULL, NULL));
		WAIT_UNTIL(f, z.p.s == NULL);
		peer_open(&z.p, f->l, DGRAM_UDP4, NULL);
		event = EV_LISTENING;
		f->due = clock_ns();
		peer_bind(&z.p);
		break;
	case 4:
	case 5:
		event = EV_MESSAGE;
		if (dice(2) == 0) {
			OK(dgram_pause(z.p.s));
			bare_send(z.fd, &z.p.addr, z.seq++);
			OK(dgram_resume(z.p.s));
		} else {
			bare_send(z.fd, &z.p.addr, z.seq++);
		}
		break;
	default:
		OK(send_done(&z.p, z.seq++ % PEER_LOG, &z.bare));
		break;
	}
	before = z.p.n[event];
	WAIT_UNTIL(f, z.p.n[event] == before + 1);
	while (bare_recv(z.fd) >= 0)
		continue;
}

BACKEND_TEST(embed, ten_thousand_rounds)
{
	struct foreign f;
	int i;

	if (!enter(&f, backend))
		return;
	memset(&z, 0, sizeof(z));
	z.seed = 1;
	z.fd = bare_socket(DGRAM_UDP4, &z.bare);
	dgram_timer_init(&z.timer, f.l, on_timer, &z.ticks);
	peer_open_bound(&z.p, f.l, DGRAM_UDP4, NULL);
	for (i = 0; i < ROUNDS; i++) {
		round_of(&f);
		f.due = 0;
		if (i % 100 == 0)
			check_idle(&f);
	}
	cr_assert(f.late <= 5 * MS, "late by %ju ns", (uintmax_t)f.late);
	/* And none of it by spinning. */
	cr_assert(f.waits < 6 * ROUNDS, "%d waits", f.waits);
	close(z.fd);
	free_loop(f.l);
}
