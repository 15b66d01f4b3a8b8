/* SPDX-License-Identifier: ISC */

/*
 * Timers.
 *
 * Most tests have a virtual clock: a table whose now() is a variable, and a
 * poller that waits by moving it on, as a simulated network would.
 */

#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "core/loop.h"

#define MS	((uint64_t)1000000)	/* in ns */

/* ---- virtual time ---- */

static uint64_t clock_ns;
static int waits;

static uint64_t
virtual_now(const struct dgi_os *os)
{
	(void)os;
	return clock_ns;
}

static int
virtual_open(struct dgi_poller *p)
{
	(void)p;
	return 0;
}

static void
virtual_close(struct dgi_poller *p)
{
	(void)p;
}

static int
virtual_set(struct dgi_poller *p, const struct dgi_interest *in, unsigned have,
    unsigned want)
{
	(void)p, (void)in, (void)have, (void)want;
	return 0;
}

static int
virtual_wait(struct dgi_poller *p, int64_t timeout_ns, struct dgi_report *out,
    int max)
{
	(void)p, (void)out, (void)max;
	waits++;
	/* Nothing else can end it: a test must not come here. */
	if (timeout_ns < 0)
		return -EDEADLK;
	clock_ns += (uint64_t)timeout_ns;
	return 0;
}

static const struct dgi_poller_ops virtual_ops = {
	.name = "virtual", .open = virtual_open, .close = virtual_close,
	.forget = virtual_close, .set = virtual_set, .wait = virtual_wait
};

/* A loop whose clock begins at `ns`. */
static struct dgram_loop *
virtual_loop(uint64_t ns, const struct dgram_loop_options *o)
{
	static struct dgi_os os;
	struct dgram_loop *l;

	os = dgi_os_real;
	os.now = virtual_now;
	clock_ns = ns;
	cr_assert_eq(dgi_loop_new(o, &os, &virtual_ops, &l), 0);
	return l;
}

/* ---- a timer that writes down when it was called ---- */

struct note {
	struct dgram_timer timer;
	int id;
	int calls;
	uint64_t at[16];
};

static int order[2000], called;		/* ids, as they were called */

static void
on_note(struct dgram_timer *t, void *arg)
{
	struct note *n = arg;

	cr_assert_eq(t, &n->timer);
	cr_assert(called < 2000);
	order[called++] = n->id;
	if (n->calls < 16)
		n->at[n->calls] = clock_ns;
	n->calls++;
}

static void
note_init(struct note *n, struct dgram_loop *l, int id)
{
	memset(n, 0, sizeof(*n));
	n->id = id;
	dgram_timer_init(&n->timer, l, on_note, n);
}

static void
start(struct note *n, uint64_t after, uint64_t repeat)
{
	cr_assert_eq(dgram_timer_start(&n->timer, after, repeat), 0);
	cr_assert(dgram_timer_active(&n->timer));
}

/* ---- when ---- */

struct real {
	struct dgram_timer timer;
	uint64_t started, after;
	int calls;
};

static void
on_real(struct dgram_timer *t, void *arg)
{
	struct real *r = arg;
	uint64_t now = dgi_os_real.now(&dgi_os_real);

	cr_assert(dgram_loop_now(t->loop) >= r->started + r->after);
	cr_assert(now >= r->started + r->after, "%llu ns early",
	    (unsigned long long)(r->started + r->after - now));
	r->calls++;
}

/* On the real clock, with delays that are no whole milliseconds. */
BACKEND_TEST(timer, never_early)
{
	static const uint64_t after[] = { 0, 1, 999999, MS, MS + 1, 3 * MS,
	    7 * MS + 300, 20 * MS + 999999 };
	struct dgram_loop *l = test_loop(backend);
	struct real r[8];
	int i;

	for (i = 0; i < 8; i++) {
		r[i].calls = 0;
		r[i].after = after[i];
		dgram_timer_init(&r[i].timer, l, on_real, &r[i]);
		r[i].started = dgram_loop_now(l);
		cr_assert_eq(dgram_timer_start(&r[i].timer, after[i], 0), 0);
	}
	cr_assert_eq(dgram_loop_run(l), 0);
	for (i = 0; i < 8; i++)
		cr_assert_eq(r[i].calls, 1);
	/* Rounded up, it waits once for each of them, and not in circles. */
	cr_assert(l->waits < 30, "%llu", (unsigned long long)l->waits);
	dgram_loop_free(l);
}

/* Due by the loop's clock, whatever the real one says since. */
TEST(timer, from_the_clock_of_the_loop)
{
	struct dgram_loop *l = virtual_loop(5 * MS, NULL);
	struct note n;

	note_init(&n, l, 0);
	clock_ns += 100;
	start(&n, 10, 0);		/* at 5 ms + 10 */
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(n.at[0], 5 * MS + 100);
	/* Read again, it counts from there. */
	clock_ns = 7 * MS;
	dgram_loop_update(l);
	start(&n, 10, 0);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(n.at[1], 7 * MS + 10);
	dgram_loop_free(l);
}

TEST(timer, order)
{
	static struct note n[1000];
	struct dgram_loop *l = virtual_loop(0, NULL);
	unsigned seed = 20240607;
	uint64_t due[1000];
	int i;

	for (i = 0; i < 1000; i++) {
		note_init(&n[i], l, i);
		due[i] = (uint64_t)rand_r(&seed) % 200;
		start(&n[i], due[i], 0);
	}
	/* Some are stopped, some started again. */
	for (i = 0; i < 1000; i += 7)
		dgram_timer_stop(&n[i].timer);
	for (i = 0; i < 1000; i += 21)
		start(&n[i], due[i], 0);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(called, 1000 - 143 + 48);
	for (i = 1; i < called; i++) {
		int a = order[i - 1], b = order[i];

		cr_assert(due[a] <= due[b]);
		/* Those that were started again are younger than all. */
		if (due[a] == due[b])
			cr_assert((a % 21 == 0) == (b % 21 == 0) ? a < b :
			    b % 21 == 0, "%d before %d", a, b);
	}
	for (i = 0; i < 1000; i++) {
		cr_assert_eq(n[i].calls, i % 7 != 0 || i % 21 == 0);
		if (n[i].calls > 0)
			cr_assert_eq(n[i].at[0], due[i]);
		cr_assert(!dgram_timer_active(&n[i].timer));
	}
	dgram_loop_free(l);
}

TEST(timer, equal_times_in_order_of_start)
{
	static struct note n[50];
	struct dgram_loop *l = virtual_loop(0, NULL);
	int i;

	/* Across the end of the sequence numbers. */
	l->timer_seq = 0;
	l->timer_seq -= 20;
	for (i = 0; i < 50; i++) {
		note_init(&n[i], l, i);
		start(&n[i], MS, 0);
	}
	/* Started again: now the last. */
	start(&n[10], MS, 0);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(called, 50);
	for (i = 0; i < 49; i++)
		cr_assert_eq(order[i], i < 10 ? i : i + 1);
	cr_assert_eq(order[49], 10);
	dgram_loop_free(l);
}

/*
 * One that was started long ago is called when it is due, however many others
 * were started since: sequence numbers come round, and it is not "younger" than
 * the phase that looks at it.
 */
TEST(timer, many_starts_ago)
{
	static const uint32_t starts[] = { 1000, 0x7ffffff0, 0x80000010,
	    0xfffffff0 };
	struct dgram_loop *l = virtual_loop(0, NULL);
	struct note old, young;
	size_t i;

	for (i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		note_init(&old, l, 0);
		note_init(&young, l, 1);
		start(&old, 5 * MS, 0);
		l->timer_seq += starts[i];
		start(&young, 6 * MS, 0);
		waits = 0;
		/* At most a turn for each, and one to see it. */
		while (old.calls + young.calls < 2 && waits < 10)
			cr_assert(dgram_loop_run_once(l, -1) >= 0);
		cr_assert_eq(old.calls, 1, "after %u starts", starts[i]);
		cr_assert_eq(young.calls, 1);
		cr_assert_eq(young.at[0] - old.at[0], MS);
	}
	dgram_loop_free(l);
}

/* ---- again and again ---- */

TEST(timer, repeats)
{
	struct dgram_loop *l = virtual_loop(123, NULL);
	struct note n;
	int i;

	note_init(&n, l, 0);
	start(&n, 7 * MS, 10 * MS);
	for (i = 0; n.calls < 8; i++)
		cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	for (i = 0; i < 8; i++)
		cr_assert_eq(n.at[i], 123 + 7 * MS + (uint64_t)i * 10 * MS);
	cr_assert(dgram_timer_active(&n.timer));
	dgram_timer_stop(&n.timer);
	cr_assert(!dgram_timer_active(&n.timer));
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(n.calls, 8);
	dgram_loop_free(l);
}

static uint64_t burn[16];

static void
on_burn(struct dgram_timer *t, void *arg)
{
	struct note *n = arg;

	on_note(t, arg);
	cr_assert(n->calls <= 16);
	clock_ns += burn[n->calls - 1];
	if (n->calls == 8)
		dgram_timer_stop(t);
}

/*
 * Callbacks that take longer than a period: the next call is late and comes at
 * once; what was missed beside it is left out; and what comes then is on the
 * times that follow from the start.
 */
TEST(timer, missed_periods)
{
	static const uint64_t expect[] = { 10, 45, 50, 60, 70, 101, 110, 120 };
	struct dgram_loop *l = virtual_loop(0, NULL);
	struct note n;
	int i;

	note_init(&n, l, 0);
	dgram_timer_init(&n.timer, l, on_burn, &n);
	burn[0] = 35 * MS;		/* to 45: late for 20, not waiting */
	burn[2] = 9 * MS;		/* to 59: in time */
	burn[3] = 10 * MS;		/* to 70 sharp: in time */
	burn[4] = 31 * MS;		/* to 101: late for 80 */
	start(&n, 10 * MS, 10 * MS);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(n.calls, 8);
	for (i = 0; i < 8; i++)
		cr_assert_eq(n.at[i], expect[i] * MS, "call %d at %llu", i,
		    (unsigned long long)n.at[i]);
	dgram_loop_free(l);
}

/* A period shorter than its callback still leaves room for others. */
TEST(timer, fast_repeat_is_bounded)
{
	struct dgram_loop *l = virtual_loop(0, NULL);
	struct note fast, slow;

	note_init(&fast, l, 0);
	note_init(&slow, l, 1);
	start(&fast, 0, 1);
	start(&slow, 5, 0);
	clock_ns = 100;
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	cr_assert_eq(fast.calls, 1);
	cr_assert_eq(slow.calls, 1);
	dgram_timer_stop(&fast.timer);
	dgram_loop_free(l);
}

/* Sums that do not fit are the latest time there is, not an early one. */
TEST(timer, huge_values)
{
	static const uint64_t huge[] = { UINT64_MAX, UINT64_MAX - 5,
	    UINT64_MAX / 2, (uint64_t)INT64_MAX + 1 };
	struct dgram_loop *l = virtual_loop(1000 * MS, NULL);
	struct note n, soon;
	size_t i;

	note_init(&soon, l, 1);
	for (i = 0; i < 4; i++) {
		note_init(&n, l, 0);
		start(&n, huge[i], 0);
		start(&soon, MS, 0);
		cr_assert_eq(dgram_loop_run_once(l, -1), 1);
		cr_assert_eq(dgram_loop_run_once(l, 0), 1);
		cr_assert_eq(soon.calls, (int)i + 1);
		cr_assert_eq(n.calls, 0);
		dgram_timer_stop(&n.timer);
		/* As a period: once, and not again. */
		start(&n, 0, huge[i]);
		cr_assert_eq(dgram_loop_run_once(l, 0), 1);
		cr_assert_eq(dgram_loop_run_once(l, 0), 1);
		cr_assert_eq(n.calls, 1);
		cr_assert(dgi_timer_next(l, l->now) > 0);
		dgram_timer_stop(&n.timer);
	}
	cr_assert_eq(dgi_timer_next(l, l->now), -1);
	dgram_loop_free(l);
}

/* ---- in callbacks ---- */

static struct note *others[4];		/* what callbacks act on */

static void
on_restart(struct dgram_timer *t, void *arg)
{
	struct note *n = arg;

	on_note(t, arg);
	cr_assert(!dgram_timer_active(t), "it was for once");
	if (n->calls < 5)
		start(n, 0, 0);
}

/* Also with a delay of 0 it is the next turn's. */
TEST(timer, restart_in_own_callback)
{
	struct dgram_loop *l = virtual_loop(0, NULL);
	struct note n;
	int i;

	note_init(&n, l, 0);
	dgram_timer_init(&n.timer, l, on_restart, &n);
	start(&n, 0, 0);
	for (i = 1; i <= 5; i++) {
		cr_assert_eq(dgram_loop_run_once(l, -1), i < 5);
		cr_assert_eq(n.calls, i);
	}
	dgram_loop_free(l);
}

static void
on_start_other(struct dgram_timer *t, void *arg)
{
	on_note(t, arg);
	start(others[0], 0, 0);
	/* Time that passes in the callback makes it due, not in this turn. */
	clock_ns += 5;
	dgram_loop_update(t->loop);
	start(others[1], 0, 0);
}

TEST(timer, started_in_callback)
{
	struct dgram_loop *l = virtual_loop(0, NULL);
	struct note a, b, c, last;

	note_init(&a, l, 0);
	dgram_timer_init(&a.timer, l, on_start_other, &a);
	note_init(&b, l, 1);
	note_init(&c, l, 2);
	note_init(&last, l, 3);
	others[0] = &b;
	others[1] = &c;
	start(&a, 0, 0);
	start(&last, 0, 0);
	/* Due already, and started again by the first. */
	start(&b, 0, 0);
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	cr_assert_eq(called, 2);
	cr_assert(order[0] == 0 && order[1] == 3);
	cr_assert_eq(dgram_loop_run_once(l, 0), 0);
	cr_assert_eq(called, 4);
	cr_assert(order[2] == 1 && order[3] == 2);
	dgram_loop_free(l);
}

static void
on_stop_self(struct dgram_timer *t, void *arg)
{
	on_note(t, arg);
	cr_assert(dgram_timer_active(t));
	dgram_timer_stop(t);
	cr_assert(!dgram_timer_active(t));
	dgram_timer_stop(t);
}

TEST(timer, stop_in_own_callback)
{
	struct dgram_loop *l = virtual_loop(0, NULL);
	struct note n;

	note_init(&n, l, 0);
	dgram_timer_init(&n.timer, l, on_stop_self, &n);
	start(&n, 0, 1);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(n.calls, 1);
	dgram_loop_free(l);
}

static void
on_free_self(struct dgram_timer *t, void *arg)
{
	called++;
	dgram_timer_stop(t);
	memset(arg, 0xff, sizeof(struct note));
	free(arg);
}

/* Storage may go in the own callback: nothing is read or written after it. */
TEST(timer, free_in_own_callback)
{
	struct dgram_loop *l = virtual_loop(0, NULL);
	struct note *n;
	int i;

	for (i = 0; i < 40; i++) {
		n = malloc(sizeof(*n));
		cr_assert(n != NULL);
		note_init(n, l, i);
		dgram_timer_init(&n->timer, l, on_free_self, n);
		start(n, (uint64_t)(i / 10), i % 2 == 0 ? 0 : 3);
	}
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(called, 40);
	dgram_loop_free(l);
}

static void
on_free_others(struct dgram_timer *t, void *arg)
{
	int i;

	on_note(t, arg);
	for (i = 0; i < 4; i++) {
		if (others[i] == NULL || others[i] == arg)
			continue;
		dgram_timer_stop(&others[i]->timer);
		memset(others[i], 0xff, sizeof(*others[i]));
		free(others[i]);
		others[i] = NULL;
	}
}

/* Others that are due in the same turn, before it in the heap and behind. */
TEST(timer, free_others)
{
	struct dgram_loop *l = virtual_loop(0, NULL);
	int first, i, j;

	for (first = 0; first < 4; first++) {
		called = 0;
		for (i = 0; i < 4; i++) {
			others[i] = malloc(sizeof(*others[i]));
			cr_assert(others[i] != NULL);
			note_init(others[i], l, i);
			dgram_timer_init(&others[i]->timer, l, on_free_others,
			    others[i]);
		}
		/* `first` is called before all others, whatever its place. */
		for (i = 0; i < 4; i++) {
			j = (first + i) % 4;
			start(others[j], first % 2 == 0 ? 0 : (uint64_t)i,
			    i % 2 == 0 ? 0 : 1);
		}
		clock_ns += 10;
		cr_assert(dgram_loop_run_once(l, 0) >= 0);
		cr_assert_eq(called, 1);
		cr_assert_eq(order[0], first);
		cr_assert(others[first] != NULL);
		dgram_timer_stop(&others[first]->timer);
		free(others[first]);
		cr_assert_eq(dgram_loop_run(l), 0);
	}
	dgram_loop_free(l);
}

static void
on_postpone(struct dgram_timer *t, void *arg)
{
	on_note(t, arg);
	start(others[0], MS, 0);
}

/* Due, but started anew by another: not now. */
TEST(timer, postponed_by_another)
{
	struct dgram_loop *l = virtual_loop(0, NULL);
	struct note a, b;

	note_init(&a, l, 0);
	dgram_timer_init(&a.timer, l, on_postpone, &a);
	note_init(&b, l, 1);
	others[0] = &b;
	start(&a, 0, 0);
	start(&b, 0, 0);
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	cr_assert(a.calls == 1 && b.calls == 0);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(b.calls, 1);
	cr_assert_eq(b.at[0], MS);
	dgram_loop_free(l);
}

/* ---- started, stopped, referenced ---- */

TEST(timer, start_again)
{
	struct dgram_loop *l = virtual_loop(0, NULL);
	struct note n;

	note_init(&n, l, 0);
	cr_assert(!dgram_timer_active(&n.timer));
	start(&n, MS, 5);
	/* The new times, the period too, replace the old ones. */
	start(&n, 3 * MS, 0);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(n.calls, 1);
	cr_assert_eq(n.at[0], 3 * MS);
	start(&n, 3 * MS, 0);
	start(&n, MS, 0);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(n.calls, 2);
	cr_assert_eq(n.at[1], 4 * MS);
	dgram_timer_stop(&n.timer);
	dgram_timer_stop(NULL);
	dgram_loop_free(l);
}

TEST(timer, bad_arguments)
{
	struct dgram_loop *l = virtual_loop(0, NULL);
	struct dgram_timer t;

	cr_assert_eq(dgram_timer_start(NULL, 0, 0), -EINVAL);
	dgram_timer_init(&t, NULL, on_note, NULL);
	cr_assert_eq(dgram_timer_start(&t, 0, 0), -EINVAL);
	dgram_timer_init(&t, l, NULL, NULL);
	cr_assert_eq(dgram_timer_start(&t, 0, 0), -EINVAL);
	cr_assert(!dgram_timer_active(&t));
	cr_assert_eq(l->alive, 0);
	dgram_loop_free(l);
}

/* However it came about, the loop counts the active referenced ones. */
TEST(timer, references)
{
	struct dgram_loop *l = virtual_loop(0, NULL);
	struct note n;

	note_init(&n, l, 0);
	/* Inactive: it counts for nothing, ref or not. */
	dgram_timer_unref(&n.timer);
	dgram_timer_unref(&n.timer);
	dgram_timer_ref(&n.timer);
	dgram_timer_ref(&n.timer);
	cr_assert_eq(l->alive, 0);
	start(&n, MS, 0);
	cr_assert_eq(l->alive, 1);
	start(&n, MS, 0);
	cr_assert_eq(l->alive, 1);
	dgram_timer_unref(&n.timer);
	dgram_timer_unref(&n.timer);
	cr_assert_eq(l->alive, 0);
	dgram_timer_ref(&n.timer);
	dgram_timer_ref(&n.timer);
	cr_assert_eq(l->alive, 1);
	dgram_timer_stop(&n.timer);
	cr_assert_eq(l->alive, 0);
	/* It holds over later starts. */
	dgram_timer_unref(&n.timer);
	start(&n, MS, 0);
	start(&n, MS, 0);
	cr_assert_eq(l->alive, 0);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(n.calls, 0);
	dgram_timer_stop(&n.timer);
	cr_assert_eq(l->alive, 0);
	start(&n, 0, 0);
	dgram_timer_ref(&n.timer);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(n.calls, 1);
	cr_assert_eq(l->alive, 0);
	dgram_loop_free(l);
}

/* An unreferenced one is called all the same while something else runs. */
TEST(timer, unreferenced_is_called)
{
	struct dgram_loop *l = virtual_loop(0, NULL);
	struct note a, b;

	note_init(&a, l, 0);
	note_init(&b, l, 1);
	dgram_timer_unref(&a.timer);
	start(&a, MS, MS);
	start(&b, 5 * MS + 1, 0);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(a.calls, 5);
	cr_assert_eq(b.calls, 1);
	dgram_loop_free(l);
}

TEST(timer, out_of_memory)
{
	static struct note n[40];
	struct test_alloc alloc;
	struct dgram_loop_options o = { .allocator = &alloc.allocator };
	struct dgram_loop *l;
	int i, refused = 0;

	test_alloc_init(&alloc);
	l = virtual_loop(0, &o);
	for (i = 0; i < 40; i++) {
		note_init(&n[i], l, i);
		test_alloc_fail(&alloc, true);
		if (dgram_timer_start(&n[i].timer, (uint64_t)i, 0) == 0)
			continue;
		refused++;
		cr_assert_eq(dgram_timer_start(&n[i].timer, 1, 1), -ENOMEM);
		cr_assert(!dgram_timer_active(&n[i].timer));
		cr_assert_eq(l->alive, (size_t)i);
		dgram_timer_stop(&n[i].timer);
		/* Those that are active can be started again all the time. */
		if (i > 0)
			start(&n[0], 0, 0);
		test_alloc_fail(&alloc, false);
		start(&n[i], (uint64_t)i, 0);
	}
	cr_assert(refused > 1 && refused < 10, "%d", refused);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(called, 40);
	for (i = 0; i < 40; i++)
		cr_assert_eq(order[i], i);
	dgram_loop_free(l);
	cr_assert(test_alloc_clean(&alloc));
}
