/* SPDX-License-Identifier: ISC */

/*
 * Posts, wake and stop: what other threads and signal handlers may do.
 */

#include "test.h"

#include <sys/types.h>
#include <sys/wait.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alloc.h"
#include "core/loop.h"

#define THREADS	4
#define POSTS	10000

static void
on_watch(struct dgram_watch *w, unsigned events, void *arg)
{
	(void)w, (void)events, (void)arg;
	cr_assert(0, "nothing ever comes");
}

/* Something that keeps the loop running and is never ready. */
static void
keep_alive(struct dgram_watch *w, struct dgram_loop *l, int p[2])
{
	cr_assert_eq(pipe(p), 0);
	dgram_watch_init(w, l, p[0], on_watch, NULL);
	cr_assert_eq(dgram_watch_start(w, DGRAM_READABLE), 0);
}

static void
end(struct dgram_watch *w, struct dgram_loop *l, const int p[2])
{
	dgram_watch_stop(w);
	cr_assert_eq(dgram_loop_free(l), 0);
	close(p[0]);
	close(p[1]);
}

/* ---- posts ---- */

static int numbers[64], count;

static void
on_number(void *arg)
{
	cr_assert(count < 64);
	numbers[count++] = *(const int *)arg;
}

BACKEND_TEST(wake, posts_in_order)
{
	struct dgram_loop *l = test_loop(backend);
	int i, n[50];

	for (i = 0; i < 50; i++) {
		n[i] = i;
		cr_assert_eq(dgram_loop_post(l, on_number, &n[i]), 0);
	}
	cr_assert_eq(count, 0, "not from inside the call");
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(count, 50);
	for (i = 0; i < 50; i++)
		cr_assert_eq(numbers[i], i);
	/* They ran once. */
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(count, 50);
	dgram_loop_free(l);
}

struct chain {
	struct dgram_loop *loop;
	int left;
};

static void
on_chain(void *arg)
{
	struct chain *c = arg;

	count++;
	if (--c->left > 0)
		cr_assert_eq(dgram_loop_post(c->loop, on_chain, c), 0);
}

/* What a post posts runs in the next turn. */
BACKEND_TEST(wake, post_from_post)
{
	struct chain c = { test_loop(backend), 5 };
	int i;

	cr_assert_eq(dgram_loop_post(c.loop, on_chain, &c), 0);
	for (i = 1; i <= 5; i++) {
		cr_assert_eq(dgram_loop_run_once(c.loop, -1), i < 5);
		cr_assert_eq(count, i);
	}
	dgram_loop_free(c.loop);
}

/* A post that was accepted runs, also if the loop goes at once. */
BACKEND_TEST(wake, posts_run_in_free)
{
	struct dgram_loop *l = test_loop(backend);
	int i, n[3] = { 0, 1, 2 };

	for (i = 0; i < 3; i++)
		cr_assert_eq(dgram_loop_post(l, on_number, &n[i]), 0);
	cr_assert_eq(dgram_loop_free(l), 0);
	cr_assert_eq(count, 3);
	for (i = 0; i < 3; i++)
		cr_assert_eq(numbers[i], i);
}

static void
on_refused(void *arg)
{
	count++;
	cr_assert_eq(dgram_loop_post(arg, on_refused, arg), -ECANCELED);
}

TEST(wake, post_during_free)
{
	struct dgram_loop *l = test_loop(NULL);

	cr_assert_eq(dgram_loop_post(l, on_refused, l), 0);
	cr_assert_eq(dgram_loop_free(l), 0);
	cr_assert_eq(count, 1);
}

TEST(wake, post_without_memory)
{
	struct test_alloc alloc;
	struct dgram_loop_options o = { .allocator = &alloc.allocator };
	struct dgram_loop *l;
	int n = 7;

	test_alloc_init(&alloc);
	cr_assert_eq(dgram_loop_new(&o, &l), 0);
	test_alloc_fail(&alloc, true);
	cr_assert_eq(dgram_loop_post(l, on_number, &n), -ENOMEM);
	test_alloc_fail(&alloc, false);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(count, 0);
	cr_assert_eq(dgram_loop_post(l, on_number, &n), 0);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(count, 1);
	/* The memory of a post goes before its function is called. */
	dgram_loop_free(l);
	cr_assert(test_alloc_clean(&alloc));
}

struct poster {
	pthread_t thread;
	struct dgram_loop *loop;
	int next;			/* what its next post must be */
	int failed;
	struct item {
		struct poster *poster;
		int number;
	} items[POSTS];
};

static struct poster posters[THREADS];
static pthread_t loop_thread;
static int arrived;

static void
on_item(void *arg)
{
	const struct item *i = arg;

	cr_assert(pthread_equal(pthread_self(), loop_thread));
	cr_assert_eq(i->number, i->poster->next, "%d, not %d", i->number,
	    i->poster->next);
	i->poster->next++;
	arrived++;
}

/* No assertion here: it would end this thread only. */
static void *
post_items(void *arg)
{
	struct poster *p = arg;
	int i;

	for (i = 0; i < POSTS; i++) {
		p->items[i].poster = p;
		p->items[i].number = i;
		if (dgram_loop_post(p->loop, on_item, &p->items[i]) != 0)
			p->failed++;
	}
	return NULL;
}

static bool
all_arrived(void *arg)
{
	(void)arg;
	return arrived == THREADS * POSTS;
}

/* Each thread's in its order, each once, none forgotten asleep. */
BACKEND_TEST(wake, posts_of_threads)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_watch w;
	bool done;
	int i, p[2];

	keep_alive(&w, l, p);
	loop_thread = pthread_self();
	for (i = 0; i < THREADS; i++) {
		posters[i].loop = l;
		cr_assert_eq(pthread_create(&posters[i].thread, NULL,
		    post_items, &posters[i]), 0);
	}
	done = test_run_until(l, all_arrived, NULL, 8000);
	for (i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_join(posters[i].thread, NULL), 0);
	cr_assert(done, "%d of %d", arrived, THREADS * POSTS);
	for (i = 0; i < THREADS; i++) {
		cr_assert_eq(posters[i].failed, 0);
		cr_assert_eq(posters[i].next, POSTS);
	}
	end(&w, l, p);
	cr_assert_eq(arrived, THREADS * POSTS);
}

/* ---- wake ---- */

static atomic_int round_of_loop, errors;
#define ROUNDS	2000

static void *
wake_each_round(void *arg)
{
	int i, r;

	for (i = 1; i <= ROUNDS; i++) {
		while (atomic_load(&round_of_loop) < i)
			sched_yield();
		r = dgram_loop_wake(arg);
		if (r != 0)
			atomic_fetch_add(&errors, 1);
	}
	return NULL;
}

/*
 * One wake for each wait without end: a little before it, at its beginning, or
 * while it lasts.  One that is lost hangs here.
 */
BACKEND_TEST(wake, ends_a_wait)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_watch w;
	pthread_t t;
	int i, p[2];

	keep_alive(&w, l, p);
	cr_assert_eq(pthread_create(&t, NULL, wake_each_round, l), 0);
	for (i = 1; i <= ROUNDS; i++) {
		atomic_store(&round_of_loop, i);
		cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	}
	cr_assert_eq(pthread_join(t, NULL), 0);
	cr_assert_eq(atomic_load(&errors), 0);
	end(&w, l, p);
}

static uint64_t
now_ns(void)
{
	return dgi_os_real.now(&dgi_os_real);
}

/* However many wakes before a wait: they end this one, and not the next. */
BACKEND_TEST(wake, before_a_wait)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_watch w;
	uint64_t began;
	int i, p[2];

	keep_alive(&w, l, p);
	for (i = 0; i < 1000; i++)
		cr_assert_eq(dgram_loop_wake(l), 0);
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	began = now_ns();
	cr_assert_eq(dgram_loop_run_once(l, 10), 1);
	cr_assert(now_ns() - began >= 10000000);
	end(&w, l, p);
}

/* volatile: a compiler may hold that raise(3) calls nothing of this file. */
static struct dgram_loop *volatile handler_loop;
static volatile sig_atomic_t handler_errno, handler_result;

static void
on_signal(int sig)
{
	int saved_errno = errno;

	errno = 4711;
	if (sig == SIGUSR1)
		dgram_loop_stop(handler_loop);
	else
		handler_result = dgram_loop_wake(handler_loop);
	handler_errno = errno;
	errno = saved_errno;
}

/* From a handler, also when the event is as full as it can be. */
BACKEND_TEST(wake, signal_handler)
{
	struct dgram_loop *l = test_loop(backend);
	struct sigaction sa = { .sa_handler = on_signal };
	struct dgram_watch w;
	uint64_t most = UINT64_MAX - 1;
	int p[2];

	keep_alive(&w, l, p);
	handler_loop = l;
	cr_assert_eq(sigaction(SIGUSR1, &sa, NULL), 0);
	cr_assert_eq(sigaction(SIGUSR2, &sa, NULL), 0);
	cr_assert_eq(raise(SIGUSR1), 0);
	cr_assert_eq(handler_errno, 4711);
	cr_assert_eq(dgram_loop_run(l), 1);
	handler_result = handler_errno = -1;
	cr_assert_eq(raise(SIGUSR2), 0);
	cr_assert_eq(handler_errno, 4711);
	cr_assert_eq(handler_result, 0);
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	if (l->event[0] == l->event[1]) {
		cr_assert_eq(write(l->event[1], &most, sizeof(most)),
		    (ssize_t)sizeof(most));
		handler_result = handler_errno = -1;
		cr_assert_eq(raise(SIGUSR2), 0);
		cr_assert_eq(handler_errno, 4711);
		cr_assert_eq(handler_result, 0);
		cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	}
	end(&w, l, p);
}

/* A signal in the middle of a wait: its handler stops the run. */
BACKEND_TEST(wake, stop_by_signal)
{
	struct dgram_loop *l = test_loop(backend);
	struct sigaction sa = { .sa_handler = on_signal };
	const struct timespec later = { .tv_nsec = 10000000 };
	struct dgram_watch w;
	pid_t self = getpid(), child;
	int p[2], status;

	keep_alive(&w, l, p);
	handler_loop = l;
	cr_assert_eq(sigaction(SIGUSR1, &sa, NULL), 0);
	/* Not a timer: macOS and OpenBSD have none but that of alarm(3). */
	child = test_fork();
	if (child == 0) {
		nanosleep(&later, NULL);
		_exit(kill(self, SIGUSR1) != 0);
	}
	cr_assert(child > 0);
	cr_assert_eq(dgram_loop_run(l), 1);
	cr_assert_eq(handler_errno, 4711);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
	end(&w, l, p);
}

static void *
stop_each_round(void *arg)
{
	int i;

	for (i = 1; i <= ROUNDS; i++) {
		while (atomic_load(&round_of_loop) < i)
			sched_yield();
		dgram_loop_stop(arg);
	}
	return NULL;
}

/* One stop, one run that ends by it. */
BACKEND_TEST(wake, stop_by_thread)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_watch w;
	pthread_t t;
	int i, p[2];

	keep_alive(&w, l, p);
	cr_assert_eq(pthread_create(&t, NULL, stop_each_round, l), 0);
	for (i = 1; i <= ROUNDS; i++) {
		atomic_store(&round_of_loop, i);
		cr_assert_eq(dgram_loop_run(l), 1);
	}
	cr_assert_eq(pthread_join(t, NULL), 0);
	end(&w, l, p);
}

static int signals_sent;

static int
count_signals(const struct dgi_os *os, int fd)
{
	(void)os;
	signals_sent++;
	return dgi_os_real.event_signal(&dgi_os_real, fd);
}

/* Only the first post of many pays for a system call. */
TEST(wake, posts_share_a_signal)
{
	struct dgi_os os = dgi_os_real;
	struct dgram_loop *l;
	int i, n = 1;

	os.event_signal = count_signals;
	cr_assert_eq(dgi_loop_new(NULL, &os, NULL, &l), 0);
	for (i = 0; i < 50; i++)
		cr_assert_eq(dgram_loop_post(l, on_number, &n), 0);
	cr_assert_eq(signals_sent, 1);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(count, 50);
	cr_assert_eq(dgram_loop_post(l, on_number, &n), 0);
	cr_assert_eq(signals_sent, 2, "and each first one does");
	cr_assert_eq(dgram_loop_run(l), 0);
	dgram_loop_free(l);
}

static int
signal_fails(const struct dgi_os *os, int fd)
{
	(void)os, (void)fd;
	return -EBADF;
}

TEST(wake, signal_fails)
{
	struct dgi_os os = dgi_os_real;
	struct dgram_loop *l;

	os.event_signal = signal_fails;
	cr_assert_eq(dgi_loop_new(NULL, &os, NULL, &l), 0);
	cr_assert_eq(dgram_loop_wake(l), -EBADF);
	dgram_loop_free(l);
}
