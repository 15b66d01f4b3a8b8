/* SPDX-License-Identifier: ISC */

/*
 * Threads and signals against a loop, in numbers: what wake.c promises holds
 * under load, at the end of a loop, and where two of its steps come in the one
 * order that is hard to meet by chance.
 *
 * How much is done in the time there is, is said in a line that begins with
 * NOTE: a sanitizer or an emulated processor does less.
 */

#include "test.h"

/* Seconds: those that count to a million take longer than other tests. */
#undef TEST_LIMIT
#define TEST_LIMIT	60

#include <sys/time.h>
#include <sys/wait.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "core/loop.h"

#define THREADS		4
#define SELF		THREADS		/* who posts in callbacks */
#define BUDGET_NS	(15 * UINT64_C(1000000000))

/* A post says by its argument who made it, and its number there. */
#define NUMBER_BITS	24
#define TAG(who, number)						\
	((void *)(((uintptr_t)(who) << NUMBER_BITS) | (number)))

struct poster {
	pthread_t thread;
	unsigned id;
	unsigned posts, wakes;		/* made, read when it has ended */
	int failed;
};

static struct {
	struct dgram_loop *loop;
	pthread_t loop_thread;
	struct poster posters[THREADS];
	unsigned each;			/* calls of each at most */
	uint64_t end;			/* or until then */
	atomic_bool go;
	/* The loop's thread only. */
	unsigned next[THREADS + 1];	/* number that the next post must have */
	unsigned self_posts, ended;
	bool repost;			/* callbacks post, too */
} sc;

/* What a handler uses; all of it is free of locks. */
static struct dgram_loop *_Atomic handler_loop;
static atomic_uint signals, stops;

static uint64_t
now_ns(void)
{
	return dgi_os_real.now(&dgi_os_real);
}

static void
on_watch(struct dgram_watch *w, unsigned events, void *arg)
{
	(void)w, (void)events, (void)arg;
	cr_assert(0, "nothing ever comes");
}

static struct dgram_watch watch;
static int pipe_fd[2];

/* Something that keeps the loop running and is never ready. */
static void
keep_alive(struct dgram_loop *l)
{
	cr_assert_eq(pipe(pipe_fd), 0);
	dgram_watch_init(&watch, l, pipe_fd[0], on_watch, NULL);
	cr_assert_eq(dgram_watch_start(&watch, DGRAM_READABLE), 0);
}

static void
free_loop(struct dgram_loop *l)
{
	cr_assert_eq(dgram_loop_free(l), 0);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

/* Each once, in the order of its thread, on the thread of the loop. */
static void
on_post(void *arg)
{
	uintptr_t tag = (uintptr_t)arg;
	unsigned who = (unsigned)(tag >> NUMBER_BITS);
	unsigned number = (unsigned)(tag & ((1u << NUMBER_BITS) - 1));

	cr_assert(pthread_equal(pthread_self(), sc.loop_thread));
	cr_assert(who <= THREADS);
	cr_assert_eq(number, sc.next[who], "%u: %u, not %u", who, number,
	    sc.next[who]);
	sc.next[who]++;
	if (sc.repost && who != SELF && number % 64 == 0 &&
	    dgram_loop_post(sc.loop, on_post, TAG(SELF, sc.self_posts)) == 0)
		sc.self_posts++;
}

static void
on_last(void *arg)
{
	(void)arg;
	if (++sc.ended == THREADS)
		dgram_loop_stop(sc.loop);
}

/* No assertion in what other threads run: it would end that thread only. */
static void
post_next(struct poster *p)
{
	unsigned number = p->posts++;

	if (dgram_loop_post(sc.loop, on_post, TAG(p->id, number)) != 0)
		p->failed++;
}

static void
wait_for_go(void)
{
	while (!atomic_load(&sc.go))
		sched_yield();
}

static void
start_posters(struct dgram_loop *l, unsigned each, void *(*fn)(void *))
{
	unsigned i;

	memset(sc.next, 0, sizeof(sc.next));
	sc.loop = l;
	sc.loop_thread = pthread_self();
	sc.each = each;
	sc.end = now_ns() + BUDGET_NS;
	sc.self_posts = sc.ended = 0;
	atomic_store(&sc.go, false);
	for (i = 0; i < THREADS; i++) {
		sc.posters[i] = (struct poster){ .id = i };
		cr_assert_eq(pthread_create(&sc.posters[i].thread, NULL, fn,
		    &sc.posters[i]), 0);
	}
	atomic_store(&sc.go, true);
}

static void
join_posters(void)
{
	unsigned i;

	for (i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_join(sc.posters[i].thread, NULL), 0);
}

/* All that was posted has run; their number, and that of the wakes. */
static unsigned
check_posts(unsigned *wakes)
{
	unsigned i, posts = sc.self_posts;

	*wakes = 0;
	for (i = 0; i < THREADS; i++) {
		cr_assert_eq(sc.posters[i].failed, 0);
		cr_assert_eq(sc.next[i], sc.posters[i].posts, "%u: %u of %u", i,
		    sc.next[i], sc.posters[i].posts);
		posts += sc.posters[i].posts;
		*wakes += sc.posters[i].wakes;
	}
	cr_assert_eq(sc.next[SELF], sc.self_posts);
	return posts;
}

/* ---- everything at once ---- */

static void
on_signal(int sig)
{
	struct dgram_loop *l = atomic_load(&handler_loop);
	unsigned n = atomic_fetch_add(&signals, 1);

	(void)sig;
	if (l == NULL)
		return;
	if (n % 16 == 15) {
		atomic_fetch_add(&stops, 1);
		dgram_loop_stop(l);
	} else {
		(void)dgram_loop_wake(l);
	}
}

/* Three posts, a wake; now and then a signal into another of the threads. */
static void *
post_and_wake(void *arg)
{
	struct poster *p = arg;
	unsigned i;

	wait_for_go();
	for (i = 0; i < sc.each; i++) {
		if (i % 512 == 0 && pthread_kill((i / 512 + p->id) %
		    (THREADS + 1) == THREADS ? sc.loop_thread :
		    sc.posters[(p->id + 1) % THREADS].thread, SIGUSR1) != 0)
			p->failed++;
		if (i % 512 == 0 && now_ns() > sc.end)
			break;
		if (i % 4 != 3) {
			post_next(p);
		} else {
			if (dgram_loop_wake(sc.loop) != 0)
				p->failed++;
			p->wakes++;
		}
	}
	if (dgram_loop_post(sc.loop, on_last, NULL) != 0)
		p->failed++;
	return NULL;
}

static void
handle(int sig, void (*handler)(int))
{
	struct sigaction sa = { .sa_handler = handler };

	cr_assert_eq(sigaction(sig, &sa, NULL), 0);
}

/* SIGALRM each `us`; 0: no more. */
static void
set_alarm(int us)
{
	struct itimerval it = { .it_value.tv_usec = us,
	    .it_interval.tv_usec = us };

	cr_assert_eq(setitimer(ITIMER_REAL, &it, NULL), 0);
}

BACKEND_TEST(threads, a_million)
{
	struct dgram_loop *l = test_loop(backend);
	unsigned posts, wakes, runs = 0;

	keep_alive(l);
	handle(SIGALRM, on_signal);
	handle(SIGUSR1, on_signal);
	atomic_store(&handler_loop, l);
	sc.repost = true;
	start_posters(l, 1000000 / THREADS, post_and_wake);
	set_alarm(200);
	while (sc.ended < THREADS) {
		cr_assert_eq(dgram_loop_run(l), 1, "only a stop ends it");
		runs++;
	}
	set_alarm(0);
	join_posters();
	handle(SIGALRM, SIG_IGN);
	handle(SIGUSR1, SIG_IGN);
	atomic_store(&handler_loop, NULL);
	/* At once: what callbacks posted may wait still. */
	free_loop(l);
	posts = check_posts(&wakes);
	cr_assert(atomic_load(&signals) > 0);
	cr_assert(runs <= atomic_load(&stops) + 1, "%u runs", runs);
	printf("NOTE threads::a_million_%s: %u posts, %u wakes, %u signals, "
	    "%u runs\n", backend, posts, wakes, atomic_load(&signals), runs);
}

/* ---- nobody else's wake helps ---- */

static atomic_uint ran[THREADS];

static void
on_counted(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

/* The next post when the last one has run. */
static void *
post_one_at_a_time(void *arg)
{
	struct poster *p = arg;

	wait_for_go();
	while (p->posts < sc.each && now_ns() < sc.end) {
		if (dgram_loop_post(sc.loop, on_counted, &ran[p->id]) != 0)
			p->failed++;
		p->posts++;
		while (atomic_load(&ran[p->id]) != p->posts)
			sched_yield();
	}
	if (dgram_loop_post(sc.loop, on_last, NULL) != 0)
		p->failed++;
	return NULL;
}

/*
 * Now the list is empty and now it is not: whoever relies on the wake of another
 * gets it.  A post that is forgotten stops its thread, and this hangs.
 */
BACKEND_TEST(threads, one_at_a_time)
{
	struct dgram_loop *l = test_loop(backend);
	unsigned i, posts = 0;

	keep_alive(l);
	start_posters(l, 10000, post_one_at_a_time);
	cr_assert_eq(dgram_loop_run(l), 1);
	join_posters();
	free_loop(l);
	for (i = 0; i < THREADS; i++) {
		cr_assert_eq(sc.posters[i].failed, 0);
		cr_assert_eq(atomic_load(&ran[i]), sc.posters[i].posts);
		posts += sc.posters[i].posts;
	}
	printf("NOTE threads::one_at_a_time_%s: %u posts\n", backend, posts);
}

/* ---- signals that nobody meant for the loop ---- */

static void
on_foreign_signal(int sig)
{
	(void)sig;
	atomic_fetch_add(&signals, 1);
}

static void
on_timer(struct dgram_timer *t, void *arg)
{
	(void)arg;
	if (atomic_load(&signals) >= 20)
		dgram_loop_stop(t->loop);
}

/* Waits that are interrupted end neither a run nor what it waits for. */
BACKEND_TEST(threads, interrupted_run)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_timer t;

	dgram_timer_init(&t, l, on_timer, NULL);
	cr_assert_eq(dgram_timer_start(&t, 20 * UINT64_C(1000000),
	    20 * UINT64_C(1000000)), 0);
	handle(SIGALRM, on_foreign_signal);
	set_alarm(2000);
	cr_assert_eq(dgram_loop_run(l), 1);
	set_alarm(0);
	cr_assert(atomic_load(&signals) >= 20);
	cr_assert_eq(dgram_loop_free(l), 0);
}

/* ---- an end with posts that wait ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *
locked_alloc(size_t size, void *arg)
{
	void *p;

	pthread_mutex_lock(&lock);
	p = test_alloc_alloc(size, arg);
	pthread_mutex_unlock(&lock);
	return p;
}

static void
locked_free(void *p, size_t size, void *arg)
{
	pthread_mutex_lock(&lock);
	test_alloc_free(p, size, arg);
	pthread_mutex_unlock(&lock);
}

static void *
post_all(void *arg)
{
	struct poster *p = arg;

	wait_for_go();
	while (p->posts < sc.each)
		post_next(p);
	return NULL;
}

/* A loop that has not run at all, or has, while they came. */
BACKEND_TEST(threads, free_at_once)
{
	struct test_alloc alloc;
	struct dgram_loop_options o = { .backend = backend,
	    .allocator = &alloc.allocator };
	struct dgram_loop *l;
	unsigned wakes;
	int i;

	for (i = 0; i < 40; i++) {
		test_alloc_init(&alloc);
		alloc.allocator.alloc = locked_alloc;
		alloc.allocator.free = locked_free;
		cr_assert_eq(dgram_loop_new(&o, &l), 0);
		start_posters(l, 500, post_all);
		while (i % 2 == 1 && sc.next[0] + sc.next[1] < 10)
			cr_assert(dgram_loop_run_once(l, -1) >= 0);
		join_posters();
		cr_assert_eq(dgram_loop_free(l), 0);
		cr_assert_eq(check_posts(&wakes), THREADS * 500);
		cr_assert(test_alloc_clean(&alloc));
	}
}

static atomic_bool held_up, may_go_on;
static atomic_uint accepted, accepted_ran;
static int last_post;

/* Between the question whether the loop goes and the list. */
static void *
slow_alloc(size_t size, void *arg)
{
	if (!pthread_equal(pthread_self(), sc.loop_thread)) {
		atomic_store(&held_up, true);
		while (!atomic_load(&may_go_on))
			sched_yield();
	}
	return locked_alloc(size, arg);
}

static void *
post_until_refused(void *arg)
{
	while ((last_post = dgram_loop_post(arg, on_counted,
	    &accepted_ran)) == 0)
		atomic_fetch_add(&accepted, 1);
	return NULL;
}

static pthread_t worker;

static void
join_worker(void *arg)
{
	(void)arg;
	atomic_store(&may_go_on, true);
	cr_assert_eq(pthread_join(worker, NULL), 0);
}

/*
 * A callback of dgram_loop_free() may be where a program ends its threads; what
 * they post until then is refused, or it runs.
 */
BACKEND_TEST(threads, joined_in_free)
{
	struct test_alloc alloc;
	struct dgram_loop_options o = { .backend = backend,
	    .allocator = &alloc.allocator };
	struct dgram_loop *l;

	test_alloc_init(&alloc);
	alloc.allocator.alloc = slow_alloc;
	alloc.allocator.free = locked_free;
	sc.loop_thread = pthread_self();
	cr_assert_eq(dgram_loop_new(&o, &l), 0);
	cr_assert_eq(dgram_loop_post(l, join_worker, NULL), 0);
	cr_assert_eq(pthread_create(&worker, NULL, post_until_refused, l), 0);
	while (!atomic_load(&held_up))
		sched_yield();
	cr_assert_eq(dgram_loop_free(l), 0);
	cr_assert_eq(last_post, -ECANCELED);
	cr_assert_eq(atomic_load(&accepted), 1);
	cr_assert_eq(atomic_load(&accepted_ran), 1);
	cr_assert(test_alloc_clean(&alloc));
}

/* ---- inside of another loop ---- */

BACKEND_TEST(threads, foreign_loop)
{
	struct dgram_loop *l = test_loop(backend);
	struct pollfd p = { .fd = dgram_loop_fd(l), .events = POLLIN };
	unsigned posts, wakes, waits = 0;
	int r;

	if (p.fd == -ENOTSUP) {
		dgram_loop_free(l);
		cr_skip_test("no descriptor to wait for");
		return;
	}
	cr_assert(p.fd >= 0);
	keep_alive(l);
	sc.repost = true;
	/* Before there is anybody to send it. */
	handle(SIGUSR1, on_foreign_signal);
	start_posters(l, 140000 / THREADS, post_and_wake);
	while (sc.ended < THREADS || sc.next[SELF] != sc.self_posts) {
		r = poll(&p, 1, dgram_loop_timeout(l));
		cr_assert(r >= 0 || errno == EINTR);
		waits++;
		cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	}
	join_posters();
	posts = check_posts(&wakes);
	free_loop(l);
	printf("NOTE threads::foreign_loop_%s: %u posts, %u wakes, "
	    "%u waits\n", backend, posts, wakes, waits);
}

/* ---- two steps in the order that is hard to meet ---- */

/* Done once in front of, or behind, the next call of an entry of the table. */
static struct {
	void (*before_signal)(void), (*after_signal)(void);
	void (*before_clear)(void), (*after_clear)(void);
} hooks;

static void
call_once(void (**hook)(void))
{
	void (*fn)(void) = *hook;

	*hook = NULL;
	if (fn != NULL)
		fn();
}

static int
hooked_signal(const struct dgi_os *os, int fd)
{
	int r;

	(void)os;
	call_once(&hooks.before_signal);
	r = dgi_os_real.event_signal(&dgi_os_real, fd);
	call_once(&hooks.after_signal);
	return r;
}

static void
hooked_clear(const struct dgi_os *os, int fd)
{
	(void)os;
	call_once(&hooks.before_clear);
	dgi_os_real.event_clear(&dgi_os_real, fd);
	call_once(&hooks.after_clear);
}

static struct dgi_os hooked_os;

static struct dgram_loop *
hooked_loop(const char *backend)
{
	struct dgram_loop_options o = { .backend = backend };
	struct dgram_loop *l = NULL;

	hooked_os = dgi_os_real;
	hooked_os.event_signal = hooked_signal;
	hooked_os.event_clear = hooked_clear;
	cr_assert_eq(dgi_loop_new(&o, &hooked_os, NULL, &l), 0);
	memset(sc.next, 0, sizeof(sc.next));
	sc.loop = l;
	sc.loop_thread = pthread_self();
	sc.posters[0] = (struct poster){ .id = 0 };
	keep_alive(l);
	return l;
}

static void
post_one(void)
{
	post_next(&sc.posters[0]);
}

static void
stop_it(void)
{
	dgram_loop_stop(sc.loop);
}

static void
wake_it(void)
{
	cr_assert_eq(dgram_loop_wake(sc.loop), 0);
}

/* The loop takes what there is, or looks at an event that is not there yet. */
static void
turn_it(void)
{
	cr_assert_eq(dgram_loop_run_once(sc.loop, 0), 1);
}

static void
turn_and_post(void)
{
	turn_it();
	post_one();
}

static void (**const places[])(void) = { &hooks.before_signal,
	&hooks.after_signal, &hooks.before_clear, &hooks.after_clear };

/* Waits have no end here: who is forgotten hangs. */
static void
post_in(struct dgram_loop *l, void (**place)(void), void (*fn)(void))
{
	*place = fn;
	post_one();
	do {
		cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	} while (sc.next[0] < sc.posters[0].posts);
	/* And the loop sleeps, and can be woken, as before. */
	*place = NULL;
	turn_it();
	turn_it();
	post_one();
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	cr_assert_eq(sc.next[0], sc.posters[0].posts);
	cr_assert_eq(sc.posters[0].failed, 0);
}

BACKEND_TEST(threads, post_between)
{
	struct dgram_loop *l = hooked_loop(backend);
	size_t i;

	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		post_in(l, places[i], post_one);
	/* It was taken before its signal comes. */
	post_in(l, &hooks.before_signal, turn_it);
	post_in(l, &hooks.before_signal, turn_and_post);
	free_loop(l);
}

BACKEND_TEST(threads, stop_between)
{
	struct dgram_loop *l = hooked_loop(backend);
	size_t i;

	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		*places[i] = stop_it;
		wake_it();
		cr_assert_eq(dgram_loop_run(l), 1);
		cr_assert(*places[i] == NULL);
	}
	free_loop(l);
}

/* What comes behind the clear ends the next wait. */
BACKEND_TEST(threads, wake_between)
{
	struct dgram_loop *l = hooked_loop(backend);

	hooks.after_clear = wake_it;
	wake_it();
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	cr_assert(hooks.after_clear == NULL);
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	free_loop(l);
}

static int called;

static void
on_wake_again(struct dgram_watch *w, unsigned events, void *arg)
{
	(void)events, (void)arg;
	called++;
	dgram_watch_stop(w);
	cr_assert_eq(dgram_loop_wake(w->loop), 0);
}

/*
 * The wait that was at hand is over when its callbacks are called, so that a
 * wake from there is one for the next, also if another ended this one, too.
 */
BACKEND_TEST(threads, wake_in_callback)
{
	struct dgram_loop *l = hooked_loop(backend);
	struct dgram_watch w;
	int p[2];

	cr_assert_eq(pipe(p), 0);
	dgram_watch_init(&w, l, p[0], on_wake_again, NULL);
	cr_assert_eq(dgram_watch_start(&w, DGRAM_READABLE), 0);
	/* So that each backend comes to the event last. */
	wake_it();
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	turn_it();
	cr_assert_eq(write(p[1], "x", 1), 1);
	wake_it();
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	cr_assert_eq(called, 1);
	cr_assert_eq(dgram_loop_run_once(l, -1), 1);
	free_loop(l);
	close(p[0]);
	close(p[1]);
}

/* ---- fork(2) ---- */

static int
child_of_posters(struct dgram_loop *l)
{
	unsigned before[THREADS + 1];

	memcpy(before, sc.next, sizeof(before));
	if (dgram_loop_fork(l, 0) != 0)
		return 1;
	/* The parent's are gone, whatever its threads were at. */
	atomic_store(&ran[0], 0);
	if (dgram_loop_post(l, on_counted, &ran[0]) != 0)
		return 2;
	while (atomic_load(&ran[0]) == 0) {
		if (dgram_loop_run_once(l, -1) != 1)
			return 3;
	}
	if (dgram_loop_free(l) != 0)
		return 4;
	return memcmp(before, sc.next, sizeof(before)) == 0 ? 0 : 5;
}

static void *
post_until_told(void *arg)
{
	struct poster *p = arg;

	wait_for_go();
	while (p->posts < sc.each || atomic_load(&sc.go)) {
		if (p->posts % 8 == 7)
			sched_yield();
		post_next(p);
	}
	return NULL;
}

/* The one thread of the child is the loop's; the others are in mid-post. */
BACKEND_TEST(threads, fork_while_they_post)
{
	struct dgram_loop *l;
	unsigned wakes;
	int i, status;
	pid_t pid;

	/* Not so in libtsan: about one child in a thousand never came back. */
#if defined(__SANITIZE_THREAD__)
	cr_skip_test("no malloc in a child of many threads");
#endif
	l = test_loop(backend);
	keep_alive(l);
	start_posters(l, 1000, post_until_told);
	for (i = 0; i < 20; i++) {
		cr_assert_eq(dgram_loop_run_once(l, -1), 1);
		cr_assert_eq(dgram_loop_post(l, on_post,
		    TAG(SELF, sc.self_posts)), 0);
		sc.self_posts++;
		pid = test_fork();
		cr_assert(pid >= 0);
		if (pid == 0) {
			alarm(20);
			_exit(child_of_posters(l));
		}
		while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
			;
		if (status != 0)
			break;
	}
	atomic_store(&sc.go, false);
	join_posters();
	cr_assert_eq(status, 0, "round %d: %#x", i, (unsigned)status);
	free_loop(l);
	(void)check_posts(&wakes);
}
