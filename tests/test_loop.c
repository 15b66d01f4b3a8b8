/* SPDX-License-Identifier: ISC */

/*
 * The loop: its making, its turns, its end.
 *
 * What the kernel cannot be made to do is done by a poller of our own, which
 * writes down what it is asked and answers as it was told.
 */

#include "test.h"

#include <sys/resource.h>

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alloc.h"
#include "core/loop.h"

#define MS	1000000u		/* in ns */

/* ---- a poller and a clock that do as they are told ---- */

static struct fake {
	int open_error, set_error, wait_error;
	int opened, closed, waits;
	int64_t timeout;		/* of the last wait */
	struct dgi_report reports[8];	/* for the next wait */
	int nreports;
	void (*in_wait)(void);
} fake;

static uint64_t fake_clock = 1000;

static int
fake_open(struct dgi_poller *p)
{
	(void)p;
	fake.opened++;
	return fake.open_error;
}

static void
fake_close(struct dgi_poller *p)
{
	(void)p;
	fake.closed++;
}

static int
fake_set(struct dgi_poller *p, const struct dgi_interest *in, unsigned have,
    unsigned want)
{
	(void)p, (void)in, (void)have;
	return want == 0 ? 0 : fake.set_error;
}

static int
fake_wait(struct dgi_poller *p, int64_t timeout_ns, struct dgi_report *out,
    int max)
{
	int n = fake.nreports;

	(void)p;
	fake.waits++;
	fake.timeout = timeout_ns;
	if (fake.in_wait != NULL)
		fake.in_wait();
	if (fake.wait_error < 0)
		return fake.wait_error;
	cr_assert(n <= max);
	memcpy(out, fake.reports, (size_t)n * sizeof(*out));
	fake.nreports = 0;
	return n;
}

static const struct dgi_poller_ops fake_ops = {
	.name = "fake", .open = fake_open, .close = fake_close,
	.forget = fake_close, .set = fake_set, .wait = fake_wait
};

static uint64_t
fake_now(const struct dgi_os *os)
{
	(void)os;
	return fake_clock;
}

static struct dgram_loop *
fake_loop(void)
{
	static struct dgi_os os;
	struct dgram_loop *l = NULL;

	memset(&fake, 0, sizeof(fake));
	os = dgi_os_real;
	os.now = fake_now;
	cr_assert_eq(dgi_loop_new(NULL, &os, &fake_ops, &l), 0);
	return l;
}

static uint64_t
now_ns(void)
{
	return dgi_os_real.now(&dgi_os_real);
}

/* ---- what is called writes a letter ---- */

static char written[64];

static void
put(char c)
{
	size_t n = strlen(written);

	cr_assert(n < sizeof(written) - 1);
	written[n] = c;
	written[n + 1] = '\0';
}

static void
expect(const char *text)
{
	cr_assert(strcmp(written, text) == 0, "'%s', not '%s'", written, text);
	written[0] = '\0';
}

static void
on_timer(struct dgram_timer *t, void *arg)
{
	(void)t, (void)arg;
	put('T');
}

static void
on_watch(struct dgram_watch *w, unsigned events, void *arg)
{
	(void)w, (void)events, (void)arg;
	put('R');
}

static void
on_post(void *arg)
{
	(void)arg;
	put('P');
}

static void
on_task(struct dgi_task *t)
{
	(void)t;
	put('K');
}

static void
on_close(struct dgi_task *t)
{
	(void)t;
	put('C');
}

static void
put_wait(void)
{
	put('W');
}

/* ---- making one ---- */

TEST(loop, bad_options)
{
	static const struct dgram_allocator no_free = { test_alloc_alloc, NULL,
	    NULL };
	static const struct dgram_allocator no_alloc = { NULL, test_alloc_free,
	    NULL };
	static const struct dgram_loop_options bad[] = {
		{ .batch = 1025 },
		{ .batch = ~0u },
		{ .budget = 65537 },
		{ .budget = ~0u },
		{ .max_datagram = SIZE_MAX },
		{ .max_datagram = ((size_t)16 << 20) + 1 },
		{ .allocator = &no_free },
		{ .allocator = &no_alloc },
	};
	static const char *const names[] = { "", "nonsense", "EPOLL",
	    "epoll " };
	struct dgram_loop_options o = { 0 };
	struct dgram_loop *l, *untouched = (void *)&l;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		l = untouched;
		cr_assert_eq(dgram_loop_new(&bad[i], &l), -EINVAL, "%zu", i);
		cr_assert_eq(l, untouched);
	}
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		o.backend = names[i];
		cr_assert_eq(dgram_loop_new(&o, &l), -ENOTSUP);
		cr_assert_eq(l, untouched);
	}
	cr_assert_eq(dgram_loop_new(NULL, NULL), -EINVAL);
}

TEST(loop, good_options)
{
	static const struct dgram_loop_options good[] = {
		{ .batch = 1, .budget = 1, .max_datagram = 1 },
		{ .batch = 1024, .budget = 65536 },
		{ .max_datagram = (size_t)16 << 20 },
		/* Names do not exist yet: anything goes. */
		{ .resolver_threads = 7, .resolver_timeout_ms = 1 },
	};
	struct dgram_loop *l;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cr_assert_eq(dgram_loop_new(&good[i], &l), 0, "%zu", i);
		if (good[i].batch != 0)
			cr_assert_eq(l->batch, good[i].batch);
		if (good[i].budget != 0)
			cr_assert_eq(l->budget, good[i].budget);
		if (good[i].max_datagram != 0)
			cr_assert_eq(l->max_datagram, good[i].max_datagram);
		cr_assert_eq(dgram_loop_free(l), 0);
	}
	cr_assert_eq(dgram_loop_new(NULL, &l), 0);
	cr_assert_eq(l->batch, 32);
	cr_assert_eq(l->budget, 64);
	cr_assert_eq(l->max_datagram, 65535);
	dgram_loop_free(l);
}

BACKEND_TEST(loop, backend_name)
{
	struct dgram_loop *l = test_loop(backend);

	cr_assert_eq(strcmp(dgram_loop_backend(l), backend), 0);
	dgram_loop_free(l);
}

TEST(loop, best_backend)
{
	struct dgram_loop *l = test_loop(NULL);
	const char *best = test_backend_exists("epoll") ? "epoll" :
	    test_backend_exists("kqueue") ? "kqueue" : "poll";

	cr_assert_eq(strcmp(dgram_loop_backend(l), best), 0);
	dgram_loop_free(l);
}

/* Options are copied, the allocator too: they may go at once. */
TEST(loop, options_are_copied)
{
	struct test_alloc alloc;
	struct dgram_allocator a;
	struct dgram_loop_options o = { 0 };
	struct dgram_loop *l;
	char name[] = "poll";

	test_alloc_init(&alloc);
	a = alloc.allocator;
	o.allocator = &a;
	o.backend = name;
	cr_assert_eq(dgram_loop_new(&o, &l), 0);
	memset(&a, 0xff, sizeof(a));
	memset(&o, 0xff, sizeof(o));
	memset(name, 'x', sizeof(name) - 1);
	cr_assert_eq(strcmp(dgram_loop_backend(l), "poll"), 0);
	dgram_loop_free(l);
	cr_assert(test_alloc_clean(&alloc));
}

/* Every allocation of dgram_loop_new() fails once: all is given back. */
BACKEND_TEST(loop, new_without_memory)
{
	struct test_alloc alloc;
	struct dgram_loop_options o = { .backend = backend };
	struct dgram_loop *l, *untouched = (void *)&l;
	int before = test_count_fds(), r = -1;
	unsigned long fail_at;

	o.allocator = &alloc.allocator;
	for (fail_at = 1; r < 0; fail_at++) {
		test_alloc_init(&alloc);
		alloc.fail_at = fail_at;
		l = untouched;
		r = dgram_loop_new(&o, &l);
		if (r == 0)
			break;
		cr_assert_eq(r, -ENOMEM);
		cr_assert_eq(l, untouched);
		cr_assert_eq(test_count_fds(), before);
		cr_assert(test_alloc_clean(&alloc),
		    "allocation %lu: %zu bytes are lost", fail_at, alloc.held);
	}
	cr_assert(fail_at > 3 && alloc.calls == fail_at - 1, "%lu of %lu",
	    fail_at, alloc.calls);
	dgram_loop_free(l);
	cr_assert(test_alloc_clean(&alloc));
}

BACKEND_TEST(loop, new_without_descriptors)
{
	struct test_alloc alloc;
	struct dgram_loop_options o = { .backend = backend };
	struct dgram_loop *l;
	struct rlimit old, low;
	int first, r[2], room;

	test_alloc_init(&alloc);
	o.allocator = &alloc.allocator;
	first = dup(STDERR_FILENO);
	cr_assert(first >= 0);
	close(first);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	/* None at all, and one: enough for epoll, not for the event. */
	for (room = 0; room < 2; room++) {
		low.rlim_cur = (rlim_t)(first + room);
		cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
		errno = 4711;
		r[0] = dgram_loop_new(&o, &l);
		if (r[0] == 0)
			dgram_loop_free(l);
		o.backend = NULL;
		r[1] = dgram_loop_new(&o, &l);
		if (r[1] == 0)
			dgram_loop_free(l);
		o.backend = backend;
		cr_assert_eq(errno, 4711);
		cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
		if (room == 0 || strcmp(backend, "poll") != 0)
			cr_assert_eq(r[0], -EMFILE);
		if (room == 0 || test_has("epoll_create1"))
			cr_assert_eq(r[1], -EMFILE);
		cr_assert(test_alloc_clean(&alloc));
	}
}

static int
event_open_emfile(const struct dgi_os *os, int fd[2])
{
	(void)os;
	fd[0] = fd[1] = -1;
	return -EMFILE;
}

/* What dgi_loop_new() is given fails: the error, and all is given back. */
TEST(loop, new_with_faults)
{
	struct dgi_os os = dgi_os_real;
	struct test_alloc alloc;
	struct dgram_loop_options o = { 0 };
	struct dgram_loop *l;

	test_alloc_init(&alloc);
	o.allocator = &alloc.allocator;
	os.event_open = event_open_emfile;
	cr_assert_eq(dgi_loop_new(&o, &os, NULL, &l), -EMFILE);
	cr_assert(test_alloc_clean(&alloc));

	memset(&fake, 0, sizeof(fake));
	fake.open_error = -ENFILE;
	cr_assert_eq(dgi_loop_new(&o, NULL, &fake_ops, &l), -ENFILE);
	cr_assert(fake.opened == 1 && fake.closed == 0);
	cr_assert(test_alloc_clean(&alloc));

	memset(&fake, 0, sizeof(fake));
	fake.set_error = -ENOSPC;
	cr_assert_eq(dgi_loop_new(&o, NULL, &fake_ops, &l), -ENOSPC);
	cr_assert(fake.opened == 1 && fake.closed == 1);
	cr_assert(test_alloc_clean(&alloc), "%zu bytes are lost", alloc.held);
}

/* ---- running ---- */

TEST(loop, bad_arguments)
{
	struct dgram_loop *l = test_loop(NULL);

	cr_assert_eq(dgram_loop_free(NULL), 0);
	cr_assert_eq(dgram_loop_run(NULL), -EINVAL);
	cr_assert_eq(dgram_loop_run_once(NULL, 0), -EINVAL);
	cr_assert_eq(dgram_loop_run_once(l, -2), -EINVAL);
	cr_assert_eq(dgram_loop_wake(NULL), -EINVAL);
	cr_assert_eq(dgram_loop_post(NULL, on_post, NULL), -EINVAL);
	cr_assert_eq(dgram_loop_post(l, NULL, NULL), -EINVAL);
	cr_assert_eq(dgram_loop_memory(NULL, NULL, NULL), -EINVAL);
	dgram_loop_stop(NULL);
	cr_assert_eq(dgram_loop_free(l), 0);
}

/*
 * Nothing to do: no sleep, whatever the timeout is.  run_once() has a look all
 * the same, for what is unreferenced and ready.
 */
BACKEND_TEST(loop, nothing)
{
	struct dgram_loop *l = test_loop(backend);

	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(l->waits, 0);
	cr_assert_eq(dgram_loop_run_once(l, -1), 0);
	cr_assert_eq(dgram_loop_run_once(l, 1000000), 0);
	cr_assert_eq(dgram_loop_run_once(l, 0), 0);
	cr_assert_eq(l->waits, 3);
	dgram_loop_free(l);
}

BACKEND_TEST(loop, unreferenced)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_timer t;
	struct dgram_watch w;
	int p[2];

	cr_assert_eq(pipe(p), 0);
	dgram_timer_init(&t, l, on_timer, NULL);
	dgram_timer_unref(&t);
	cr_assert_eq(dgram_timer_start(&t, 3600u * 1000 * (uint64_t)MS, 0), 0);
	dgram_watch_init(&w, l, p[0], on_watch, NULL);
	cr_assert_eq(dgram_watch_start(&w, DGRAM_READABLE), 0);
	dgram_watch_unref(&w);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(dgram_loop_run_once(l, -1), 0);
	expect("");
	dgram_loop_free(l);
	close(p[0]);
	close(p[1]);
}

BACKEND_TEST(loop, run_once_waits)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_watch w;
	uint64_t began;
	int p[2];

	cr_assert_eq(pipe(p), 0);
	dgram_watch_init(&w, l, p[0], on_watch, NULL);
	cr_assert_eq(dgram_watch_start(&w, DGRAM_READABLE), 0);
	began = now_ns();
	cr_assert_eq(dgram_loop_run_once(l, 20), 1);
	cr_assert(now_ns() - began >= 20 * MS);
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	expect("");
	cr_assert_eq(write(p[1], "x", 1), 1);
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	expect("R");
	dgram_watch_stop(&w);
	cr_assert_eq(dgram_loop_run_once(l, -1), 0);
	dgram_loop_free(l);
	close(p[0]);
	close(p[1]);
}

TEST(loop, stop_before_run)
{
	struct dgram_loop *l = test_loop(NULL);
	struct dgram_timer t;

	dgram_timer_init(&t, l, on_timer, NULL);
	cr_assert_eq(dgram_timer_start(&t, 0, 0), 0);
	dgram_loop_stop(l);
	dgram_loop_stop(l);
	/* Consumed by this run, which makes no turn. */
	cr_assert_eq(dgram_loop_run(l), 1);
	expect("");
	cr_assert_eq(dgram_loop_run(l), 0);
	expect("T");
	/* It waits for a run also when there is nothing to run. */
	dgram_loop_stop(l);
	cr_assert_eq(dgram_loop_run(l), 1);
	cr_assert_eq(dgram_loop_run(l), 0);
	dgram_loop_free(l);
}

static void
stop_loop(struct dgram_timer *t, void *arg)
{
	(void)arg;
	put('S');
	dgram_loop_stop(t->loop);
}

static void
stop_post(void *arg)
{
	put('S');
	dgram_loop_stop(arg);
}

/* The turn at hand is made to its end, without waiting. */
BACKEND_TEST(loop, stop_in_callback)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_timer s, t, later;

	dgram_timer_init(&s, l, stop_loop, NULL);
	dgram_timer_init(&t, l, on_timer, NULL);
	dgram_timer_init(&later, l, on_timer, NULL);
	cr_assert_eq(dgram_timer_start(&s, 0, 0), 0);
	cr_assert_eq(dgram_timer_start(&t, 0, 0), 0);
	cr_assert_eq(dgram_timer_start(&later, 3600 * 1000 * (uint64_t)MS, 0),
	    0);
	cr_assert_eq(dgram_loop_post(l, on_post, NULL), 0);
	cr_assert_eq(dgram_loop_run(l), 1);
	expect("STP");
	/* By a post, which is behind the wait. */
	cr_assert_eq(dgram_loop_post(l, stop_post, l), 0);
	cr_assert_eq(dgram_loop_run(l), 1);
	expect("S");
	dgram_timer_stop(&later);
	cr_assert_eq(dgram_loop_run(l), 0);
	dgram_loop_free(l);
}

/* It does not wait even if it cannot be woken. */
TEST(loop, stop_without_event)
{
	struct dgram_loop *l = fake_loop();
	struct dgram_timer t;

	dgram_timer_init(&t, l, stop_loop, NULL);
	cr_assert_eq(dgram_timer_start(&t, 0, 0), 0);
	dgi_loop_hold(l);
	cr_assert_eq(dgram_loop_run(l), 1);
	expect("S");
	cr_assert_eq(fake.waits, 1);
	cr_assert_eq(fake.timeout, 0);
	dgi_loop_release(l);
	dgram_loop_free(l);
}

/* run_once() makes its turn, and only does not wait. */
TEST(loop, stop_and_run_once)
{
	struct dgram_loop *l = fake_loop();

	dgi_loop_hold(l);
	dgram_loop_stop(l);
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	cr_assert_eq(fake.waits, 1);
	cr_assert_eq(fake.timeout, 0);
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	cr_assert_eq(fake.timeout, -1);
	dgi_loop_release(l);
	dgram_loop_free(l);
}

static int nested;

static void
check_nested(struct dgram_loop *l)
{
	nested++;
	cr_assert_eq(dgram_loop_run(l), -EBUSY);
	cr_assert_eq(dgram_loop_run_once(l, 0), -EBUSY);
	cr_assert_eq(dgram_loop_free(l), -EBUSY);
}

static void
nested_timer(struct dgram_timer *t, void *arg)
{
	check_nested(arg);
	cr_assert_eq(t->loop, arg);
}

static void
nested_watch(struct dgram_watch *w, unsigned events, void *arg)
{
	(void)events;
	check_nested(arg);
	dgram_watch_stop(w);
}

static void
nested_post(void *arg)
{
	check_nested(arg);
}

BACKEND_TEST(loop, nested)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_timer t;
	struct dgram_watch w;
	int p[2];

	cr_assert_eq(pipe(p), 0);
	dgram_timer_init(&t, l, nested_timer, l);
	cr_assert_eq(dgram_timer_start(&t, 0, 0), 0);
	dgram_watch_init(&w, l, p[1], nested_watch, l);
	cr_assert_eq(dgram_watch_start(&w, DGRAM_WRITABLE), 0);
	cr_assert_eq(dgram_loop_post(l, nested_post, l), 0);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(nested, 3);
	/* And from what free itself calls. */
	cr_assert_eq(dgram_loop_post(l, nested_post, l), 0);
	cr_assert_eq(dgram_loop_free(l), 0);
	cr_assert_eq(nested, 4);
	close(p[0]);
	close(p[1]);
}

/* ---- the order of a turn ---- */

struct member {
	struct dgi_member member;
	struct dgram_loop *loop;
	struct dgi_task gone;
	size_t bound;
	bool again;			/* dirty again in its flush */
	int ended;
};

static void
member_flush(struct dgi_member *m)
{
	struct member *me = DGI_CONTAINER(m, struct member, member);

	put('F');
	if (me->again)
		dgi_member_dirty(me->loop, m);
}

static void
member_gone(struct dgi_task *t)
{
	struct member *me = DGI_CONTAINER(t, struct member, gone);

	put('C');
	dgi_list_remove(&me->member.all);
}

static void
member_end(struct dgi_member *m)
{
	struct member *me = DGI_CONTAINER(m, struct member, member);

	put('E');
	me->ended++;
	dgi_list_remove(&m->dirty);
	me->gone.run = member_gone;
	dgi_queue_append(&me->loop->closes, &me->gone);
}

static size_t
member_bound(const struct dgi_member *m)
{
	/* The member is the first of its struct. */
	return ((const struct member *)(const void *)m)->bound;
}

static const struct dgi_member_ops member_ops = {
	.flush = member_flush, .end = member_end, .bound = member_bound
};

static void
member_init(struct member *me, struct dgram_loop *l)
{
	memset(me, 0, sizeof(*me));
	me->loop = l;
	dgi_member_init(l, &me->member, &member_ops);
}

static struct dgi_task owed_task = { NULL, on_task };
static struct dgi_task owed_close = { NULL, on_close };
static struct member member_of_turn;

/* What is behind it in a turn, in another order. */
static void
owe_all(struct dgram_watch *w, unsigned events, void *arg)
{
	(void)events, (void)arg;
	put('R');
	dgi_queue_append(&w->loop->closes, &owed_close);
	dgi_loop_owe(w->loop, &owed_task);
	cr_assert_eq(dgram_loop_post(w->loop, on_post, NULL), 0);
	dgram_watch_stop(w);
}

static void
make_dirty(struct dgram_timer *t, void *arg)
{
	(void)arg;
	put('T');
	dgi_member_dirty(t->loop, &member_of_turn.member);
}

TEST(loop, order_of_a_turn)
{
	struct dgram_loop *l = fake_loop();
	struct dgram_timer t;
	struct dgram_watch w;

	member_init(&member_of_turn, l);
	fake.in_wait = put_wait;
	dgram_watch_init(&w, l, 0, owe_all, NULL);
	cr_assert_eq(dgram_watch_start(&w, DGRAM_READABLE), 0);
	fake.reports[0].slot = w.slot;
	fake.reports[0].gen = l->slots[w.slot].gen;
	fake.reports[0].events = DGRAM_READABLE;
	fake.nreports = 1;
	dgram_timer_init(&t, l, make_dirty, NULL);
	cr_assert_eq(dgram_timer_start(&t, 0, 0), 0);
	cr_assert_eq(dgram_loop_run_once(l, -1), 0);
	expect("TFWRPKC");
	cr_assert_eq(dgram_loop_free(l), 0);
	expect("FEC");
}

/* The same with what the system has: the watch is ready before the turn. */
BACKEND_TEST(loop, order_on_backends)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_timer t;
	struct dgram_watch w;
	int p[2];

	cr_assert_eq(pipe(p), 0);
	cr_assert_eq(write(p[1], "x", 1), 1);
	dgram_watch_init(&w, l, p[0], owe_all, NULL);
	cr_assert_eq(dgram_watch_start(&w, DGRAM_READABLE), 0);
	dgram_timer_init(&t, l, on_timer, NULL);
	cr_assert_eq(dgram_timer_start(&t, 0, 0), 0);
	cr_assert_eq(dgram_loop_run_once(l, -1), 0);
	expect("TRPKC");
	dgram_loop_free(l);
	close(p[0]);
	close(p[1]);
}

static bool again = true;	/* what is called asks for more of it */

static void
timer_again(struct dgram_timer *t, void *arg)
{
	(void)arg;
	put('T');
	if (again)
		cr_assert_eq(dgram_timer_start(t, 0, 0), 0);
}

static void
post_again(void *arg)
{
	put('P');
	if (again)
		cr_assert_eq(dgram_loop_post(arg, post_again, arg), 0);
}

struct loop_task {
	struct dgi_task task;
	struct dgram_loop *loop;
};

static void
task_again(struct dgi_task *t)
{
	put('K');
	if (again)
		dgi_loop_owe(DGI_CONTAINER(t, struct loop_task, task)->loop, t);
}

/* What a phase adds to itself belongs to the next turn: each is bounded. */
TEST(loop, phases_are_bounded)
{
	struct dgram_loop *l = fake_loop();
	struct dgram_timer t;
	struct loop_task task = { { NULL, task_again }, l };
	struct member m;
	int i;

	member_init(&m, l);
	m.again = true;
	dgi_member_dirty(l, &m.member);
	dgi_member_dirty(l, &m.member);	/* once is enough */
	dgram_timer_init(&t, l, timer_again, NULL);
	cr_assert_eq(dgram_timer_start(&t, 0, 0), 0);
	dgi_loop_owe(l, &task.task);
	cr_assert_eq(dgram_loop_post(l, post_again, l), 0);
	for (i = 0; i < 5; i++) {
		cr_assert_eq(dgram_loop_run_once(l, -1), 1);
		expect("TFPK");
	}
	again = m.again = false;
	cr_assert_eq(dgram_loop_run(l), 0);
	expect("TFPK");
	dgram_loop_free(l);
	expect("FEC");
}

/* Timers that are always due and tasks without end leave room for the rest. */
BACKEND_TEST(loop, nothing_starves)
{
	struct dgram_loop *l = test_loop(backend);
	struct loop_task task = { { NULL, task_again }, l };
	struct dgram_timer t;
	struct dgram_watch w;
	char *ready;
	int i, p[2];

	cr_assert_eq(pipe(p), 0);
	dgram_watch_init(&w, l, p[1], on_watch, NULL);
	cr_assert_eq(dgram_watch_start(&w, DGRAM_WRITABLE), 0);
	dgram_timer_init(&t, l, timer_again, NULL);
	cr_assert_eq(dgram_timer_start(&t, 0, 0), 0);
	cr_assert_eq(dgram_loop_post(l, post_again, l), 0);
	dgi_loop_owe(l, &task.task);
	for (i = 0; i < 20; i++) {
		cr_assert_eq(dgram_loop_run_once(l, -1), 1);
		ready = strchr(written, 'R');
		written[0] = '\0';
		if (ready != NULL)
			break;
	}
	cr_assert(i < 20, "%d turns without looking", i);
	again = false;
	dgram_watch_stop(&w);
	cr_assert_eq(dgram_loop_run(l), 0);
	dgram_timer_stop(&t);
	dgram_loop_free(l);
	close(p[0]);
	close(p[1]);
}

/* ---- how long it waits ---- */

TEST(loop, wait_times)
{
	struct dgram_loop *l = fake_loop();
	struct dgram_timer t, u;

	dgram_timer_init(&t, l, on_timer, NULL);
	dgram_timer_init(&u, l, on_timer, NULL);
	dgi_loop_hold(l);
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	cr_assert_eq(fake.timeout, -1);
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	cr_assert_eq(fake.timeout, 0);
	cr_assert_eq(dgram_loop_run_once(l, 7), 1);
	cr_assert_eq(fake.timeout, 7 * MS);
	/* In ms to ns without overflow. */
	cr_assert_eq(dgram_loop_run_once(l, INT32_MAX), 1);
	cr_assert_eq(fake.timeout, (int64_t)INT32_MAX * MS);
	/* A timer ends it, if it is first; unreferenced ones do as well. */
	cr_assert_eq(dgram_timer_start(&t, 5 * MS, 0), 0);
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	cr_assert_eq(fake.timeout, 5 * MS);
	cr_assert_eq(dgram_loop_run_once(l, 3), 1);
	cr_assert_eq(fake.timeout, 3 * MS);
	dgram_timer_unref(&u);
	cr_assert_eq(dgram_timer_start(&u, 2 * MS, 0), 0);
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	cr_assert_eq(fake.timeout, 2 * MS);
	/* Time that has passed since is taken off. */
	fake_clock += MS + 1;
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	cr_assert_eq(fake.timeout, MS - 1);
	fake_clock += 2 * MS;
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	expect("T");
	cr_assert_eq(fake.timeout, 2 * MS - 1);
	dgram_timer_stop(&t);
	/* Far beyond what a timeout can say. */
	cr_assert_eq(dgram_timer_start(&t, UINT64_MAX, 0), 0);
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	cr_assert_eq(fake.timeout, INT64_MAX);
	dgram_timer_stop(&t);
	dgi_loop_release(l);
	dgram_loop_free(l);
}

static void
forever(struct dgram_watch *w, unsigned events, void *arg)
{
	(void)w, (void)events, (void)arg;
	cr_assert(0, "was not to be called");
}

/* A backend that refuses a change is asked again, soon but not at once. */
TEST(loop, refused_interest)
{
	struct dgram_loop *l = fake_loop();
	struct dgram_watch w;

	dgi_loop_hold(l);
	dgi_watch_init(&w, l, 0, forever, NULL);
	cr_assert_eq(dgi_watch_set(&w, DGI_ERROR), 0);
	fake.set_error = -ENOMEM;
	dgi_watch_want(&w, DGRAM_READABLE);
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	cr_assert(fake.timeout > 0 && fake.timeout <= 100 * (int64_t)MS,
	    "%lld", (long long)fake.timeout);
	cr_assert_eq(w.have, DGI_ERROR);
	fake.set_error = 0;
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	cr_assert_eq(w.have, DGRAM_READABLE);
	cr_assert_eq(fake.timeout, -1);
	/* Back before it was told: nothing to tell. */
	fake.set_error = -ENOMEM;
	dgi_watch_want(&w, DGRAM_WRITABLE);
	dgi_watch_want(&w, DGRAM_READABLE);
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	cr_assert_eq(fake.timeout, -1);
	cr_assert_eq(dgi_watch_set(&w, 0), 0);
	dgi_loop_release(l);
	dgram_loop_free(l);
}

/* A change that the backend refuses leaves the old events in force. */
TEST(loop, refused_start)
{
	struct dgram_loop *l = fake_loop();
	struct dgram_watch w;
	uint32_t gen;

	dgram_watch_init(&w, l, 0, on_watch, NULL);
	fake.set_error = -ENOSPC;
	cr_assert_eq(dgram_watch_start(&w, DGRAM_READABLE), -ENOSPC);
	cr_assert_eq(l->alive, 0);
	fake.set_error = 0;
	cr_assert_eq(dgram_watch_start(&w, DGRAM_READABLE), 0);
	fake.set_error = -ENOMEM;
	cr_assert_eq(dgram_watch_start(&w, DGRAM_WRITABLE), -ENOMEM);
	cr_assert_eq(l->alive, 1);
	gen = l->slots[w.slot].gen;
	fake.reports[0] = (struct dgi_report){ w.slot, gen, DGRAM_WRITABLE };
	fake.nreports = 1;
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	expect("");
	fake.reports[0] = (struct dgi_report){ w.slot, gen, DGRAM_READABLE };
	fake.nreports = 1;
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	expect("R");
	dgram_watch_stop(&w);
	cr_assert_eq(l->alive, 0);
	dgram_loop_free(l);
}

TEST(loop, clock)
{
	struct dgram_loop *l = fake_loop();

	cr_assert_eq(dgram_loop_now(l), fake_clock);
	fake_clock += 5;
	cr_assert_eq(dgram_loop_now(l), fake_clock - 5);
	dgram_loop_update(l);
	cr_assert_eq(dgram_loop_now(l), fake_clock);
	fake_clock += 7;
	dgi_loop_hold(l);
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	cr_assert_eq(dgram_loop_now(l), fake_clock);
	dgi_loop_release(l);
	dgram_loop_free(l);
}

static void
note_now(void *arg)
{
	cr_assert_eq(dgram_loop_now(arg), fake_clock);
	put('N');
}

/* Read in each turn, also in one that does not wait because a call is owed. */
TEST(loop, clock_of_a_turn)
{
	struct dgram_loop *l = fake_loop();
	int i;

	for (i = 0; i < 3; i++) {
		fake_clock += 1000;
		cr_assert_eq(dgram_loop_post(l, note_now, l), 0);
		cr_assert_eq(dgram_loop_run_once(l, -1), 0);
	}
	expect("NNN");
	dgram_loop_free(l);
}

/* ---- what the backend says ---- */

TEST(loop, wait_fails)
{
	struct dgram_loop *l = fake_loop();
	struct loop_task task = { { NULL, on_task }, l };
	struct dgram_timer t;

	dgram_timer_init(&t, l, on_timer, NULL);
	cr_assert_eq(dgram_timer_start(&t, 0, 0), 0);
	dgi_loop_hold(l);
	fake.wait_error = -EIO;
	cr_assert_eq(dgram_loop_run(l), -EIO);
	cr_assert_eq(fake.waits, 1);
	expect("T");
	cr_assert_eq(dgram_loop_run_once(l, -1), -EIO);
	/* It can be run again, and be freed. */
	fake.wait_error = 0;
	dgi_loop_owe(l, &task.task);
	dgi_loop_release(l);
	cr_assert_eq(dgram_loop_run(l), 0);
	expect("K");
	cr_assert_eq(dgram_loop_free(l), 0);
	cr_assert_eq(fake.closed, 1);
}

/* Reports for what is gone, and for what never was. */
TEST(loop, strange_reports)
{
	struct dgram_loop *l = fake_loop();
	struct dgram_watch w, other;
	uint32_t gen;

	dgram_watch_init(&w, l, 0, on_watch, NULL);
	dgram_watch_init(&other, l, 1, forever, NULL);
	cr_assert_eq(dgram_watch_start(&w, DGRAM_READABLE), 0);
	cr_assert_eq(dgram_watch_start(&other, DGRAM_READABLE), 0);
	gen = l->slots[w.slot].gen;
	fake.reports[0] = (struct dgi_report){ w.slot, gen + 1, 15 };
	fake.reports[1] = (struct dgi_report){ w.slot, gen - 1, 15 };
	fake.reports[2] = (struct dgi_report){ l->nslots, 0, 15 };
	fake.reports[3] = (struct dgi_report){ UINT32_MAX, 0, 15 };
	fake.reports[4] = (struct dgi_report){ 0, 0, 15 };
	fake.reports[5] = (struct dgi_report){ l->nslots - 1, 0, 15 };
	/* Not what was asked for. */
	fake.reports[6] = (struct dgi_report){ other.slot,
	    l->slots[other.slot].gen, DGRAM_WRITABLE };
	fake.reports[7] = (struct dgi_report){ w.slot, gen, DGRAM_READABLE };
	fake.nreports = 8;
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	expect("R");
	dgram_watch_stop(&w);
	fake.reports[0] = (struct dgi_report){ w.slot, gen, DGRAM_READABLE };
	fake.nreports = 1;
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	expect("");
	dgram_watch_stop(&other);
	dgram_loop_free(l);
}

/* ---- memory ---- */

BACKEND_TEST(loop, memory)
{
	struct test_alloc alloc;
	struct dgram_loop_options o = { .backend = backend };
	struct dgram_loop *l;
	struct dgram_timer t[100];
	struct dgram_watch w[20];
	struct member m[2];
	size_t bound, first, held;
	int i, p[2];

	test_alloc_init(&alloc);
	o.allocator = &alloc.allocator;
	cr_assert_eq(dgram_loop_new(&o, &l), 0);
	cr_assert_eq(dgram_loop_memory(l, &held, &bound), 0);
	cr_assert_eq(held, alloc.held);
	cr_assert(held >= sizeof(*l) && held < 32768, "%zu", held);
	cr_assert_eq(bound, held);
	first = held;
	cr_assert_eq(pipe(p), 0);
	for (i = 0; i < 100; i++) {
		dgram_timer_init(&t[i], l, on_timer, NULL);
		cr_assert_eq(dgram_timer_start(&t[i], 1000000000, 0), 0);
	}
	for (i = 0; i < 20; i++) {
		dgram_watch_init(&w[i], l, dup(p[0]), on_watch, NULL);
		cr_assert_eq(dgram_watch_start(&w[i], DGRAM_READABLE), 0);
	}
	cr_assert_eq(dgram_loop_memory(l, &held, &bound), 0);
	cr_assert_eq(held, alloc.held);
	cr_assert(held > first && bound >= held);
	/* What members may come to hold is in the bound. */
	member_init(&m[0], l);
	member_init(&m[1], l);
	m[0].bound = 1000;
	m[1].bound = 2000;
	cr_assert_eq(dgram_loop_memory(l, &held, &first), 0);
	cr_assert_eq(first, bound + 3000);
	/* Sums that have no limit, or would pass it. */
	m[0].bound = SIZE_MAX;
	cr_assert_eq(dgram_loop_memory(l, &held, &bound), 0);
	cr_assert_eq(bound, SIZE_MAX);
	m[0].bound = m[1].bound = SIZE_MAX / 2 + 1;
	cr_assert_eq(dgram_loop_memory(l, NULL, &bound), 0);
	cr_assert_eq(bound, SIZE_MAX);
	cr_assert_eq(dgram_loop_memory(l, &held, NULL), 0);
	cr_assert_eq(held, alloc.held);
	/* Posts are in neither. */
	cr_assert_eq(dgram_loop_post(l, on_post, NULL), 0);
	first = held;
	cr_assert_eq(dgram_loop_memory(l, &held, NULL), 0);
	cr_assert_eq(held, first);
	cr_assert(alloc.held > held);
	for (i = 0; i < 20; i++) {
		dgram_watch_stop(&w[i]);
		close(w[i].fd);
	}
	dgram_loop_free(l);
	cr_assert(test_alloc_clean(&alloc));
	close(p[0]);
	close(p[1]);
}

static void
restart(struct dgram_timer *t, void *arg)
{
	(void)arg;
	cr_assert_eq(dgram_timer_start(t, 1, 0), 0);
}

static void
flip(struct dgram_watch *w, unsigned events, void *arg)
{
	(void)events, (void)arg;
	dgram_watch_stop(w);
	cr_assert_eq(dgram_watch_start(w, DGRAM_READABLE | DGRAM_WRITABLE), 0);
}

/* Turns with timers and watches that come and go need no more memory. */
BACKEND_TEST(loop, steady_state_does_not_allocate)
{
	struct test_alloc alloc;
	struct dgram_loop_options o = { .backend = backend };
	struct dgram_loop *l;
	struct dgram_timer t;
	struct dgram_watch w;
	unsigned long calls = 0;
	int i, p[2];

	test_alloc_init(&alloc);
	o.allocator = &alloc.allocator;
	cr_assert_eq(dgram_loop_new(&o, &l), 0);
	cr_assert_eq(pipe(p), 0);
	dgram_timer_init(&t, l, restart, NULL);
	cr_assert_eq(dgram_timer_start(&t, 1, 0), 0);
	dgram_watch_init(&w, l, p[1], flip, NULL);
	cr_assert_eq(dgram_watch_start(&w, DGRAM_WRITABLE), 0);
	for (i = 0; i < 500; i++) {
		cr_assert_eq(dgram_loop_run_once(l, -1), 1);
		if (i == 10)
			calls = alloc.calls;
	}
	cr_assert_eq(alloc.calls, calls);
	dgram_loop_free(l);
	cr_assert(test_alloc_clean(&alloc));
	close(p[0]);
	close(p[1]);
}

/* ---- the end ---- */

/* What is active becomes inactive; its functions do nothing afterwards. */
BACKEND_TEST(loop, free_with_active)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_timer t[20];
	struct dgram_watch w[3];
	int i, sv[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	for (i = 0; i < 20; i++) {
		dgram_timer_init(&t[i], l, on_timer, NULL);
		cr_assert_eq(dgram_timer_start(&t[i], (uint64_t)i, 5), 0);
	}
	for (i = 0; i < 3; i++) {
		dgram_watch_init(&w[i], l, sv[i % 2], on_watch, NULL);
		cr_assert_eq(dgram_watch_start(&w[i], DGRAM_WRITABLE),
		    i < 2 ? 0 : -EEXIST);
	}
	cr_assert_eq(dgram_loop_free(l), 0);
	expect("");
	for (i = 0; i < 20; i++) {
		cr_assert(!dgram_timer_active(&t[i]));
		dgram_timer_stop(&t[i]);
		dgram_timer_unref(&t[i]);
		dgram_timer_ref(&t[i]);
	}
	for (i = 0; i < 3; i++) {
		dgram_watch_stop(&w[i]);
		dgram_watch_unref(&w[i]);
		dgram_watch_ref(&w[i]);
	}
	/* The descriptors are not the loop's. */
	cr_assert_eq(write(sv[0], "x", 1), 1);
	close(sv[0]);
	close(sv[1]);
}

struct late {
	struct dgram_loop *loop;
	struct dgram_timer timer;
	struct dgram_watch watch;
};

static void
too_late(void *arg)
{
	struct late *late = arg;

	put('P');
	cr_assert_eq(dgram_timer_start(&late->timer, 0, 0), -ECANCELED);
	cr_assert(!dgram_timer_active(&late->timer));
	cr_assert_eq(dgram_watch_start(&late->watch, DGRAM_READABLE),
	    -ECANCELED);
	cr_assert_eq(dgram_loop_post(late->loop, on_post, NULL), -ECANCELED);
}

/* Posts run, and what they begin is refused. */
BACKEND_TEST(loop, nothing_new_in_free)
{
	struct late late;
	int p[2];

	cr_assert_eq(pipe(p), 0);
	late.loop = test_loop(backend);
	dgram_timer_init(&late.timer, late.loop, on_timer, NULL);
	dgram_watch_init(&late.watch, late.loop, p[0], on_watch, NULL);
	cr_assert_eq(dgram_loop_post(late.loop, too_late, &late), 0);
	cr_assert_eq(dgram_loop_post(late.loop, too_late, &late), 0);
	cr_assert_eq(dgram_loop_free(late.loop), 0);
	expect("PP");
	close(p[0]);
	close(p[1]);
}

/* Members are flushed all, then ended all, each once, before the first close. */
TEST(loop, free_ends_members)
{
	struct dgram_loop *l = fake_loop();
	struct member m[3];
	int i;

	for (i = 0; i < 3; i++)
		member_init(&m[i], l);
	dgi_member_dirty(l, &m[1].member);
	cr_assert_eq(dgram_loop_free(l), 0);
	expect("FFFEEECCC");
	for (i = 0; i < 3; i++)
		cr_assert_eq(m[i].ended, 1);
}

/* Two loops have nothing in common. */
BACKEND_TEST(loop, two)
{
	struct dgram_loop *a = test_loop(backend), *b = test_loop(backend);
	struct dgram_timer t;

	dgram_timer_init(&t, a, on_timer, NULL);
	cr_assert_eq(dgram_timer_start(&t, 0, 0), 0);
	dgram_loop_stop(b);
	cr_assert_eq(dgram_loop_post(b, on_post, NULL), 0);
	cr_assert_eq(dgram_loop_run(a), 0);
	expect("T");
	cr_assert_eq(dgram_loop_run(b), 1);
	expect("");
	dgram_loop_free(a);
	cr_assert_eq(dgram_loop_run(b), 0);
	expect("P");
	dgram_loop_free(b);
}
