/* SPDX-License-Identifier: ISC */

/*
 * The threads that look up: when they are started and end, and whose a job is
 * when.  The test is the loop: on_ready() wakes it, and only that.
 */

#include "fake_gai.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "resolve/worker.h"

#if defined(__has_feature)
#define TSAN	__has_feature(thread_sanitizer)
#define ASAN	__has_feature(address_sanitizer)
#else
#if defined(__SANITIZE_THREAD__)
#define TSAN	1
#else
#define TSAN	0
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ASAN	1
#else
#define ASAN	0
#endif
#endif
#define SANITIZED	(TSAN || ASAN)

#define STACK		262144u
#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define POISON		12345

static struct dgi_workers *w;
static unsigned before;		/* threads that there were without it */

/* What on_ready() tells; it can be held up, and with it the pool's lock. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned calls, seen;
	bool hold, held;
	bool late;		/* a call for a pool that is gone */
	bool freed;
} rd = { .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER };

/* arg: NULL, or whether the pool is gone. */
static void
on_ready(void *arg)
{
	const bool *gone = arg;

	pthread_mutex_lock(&rd.lock);
	rd.calls++;
	rd.late |= gone != NULL && *gone;
	rd.held = rd.hold;
	pthread_cond_broadcast(&rd.changed);
	while (rd.hold)
		pthread_cond_wait(&rd.changed, &rd.lock);
	pthread_mutex_unlock(&rd.lock);
}

static unsigned
ready_calls(void)
{
	unsigned n;

	pthread_mutex_lock(&rd.lock);
	n = rd.calls;
	pthread_mutex_unlock(&rd.lock);
	return n;
}

/* Until it was called once more; false: it never is. */
static bool
wait_ready(void)
{
	struct timespec end = fake_deadline();
	bool is;

	pthread_mutex_lock(&rd.lock);
	while (!(is = rd.calls != rd.seen) && pthread_cond_timedwait(
	    &rd.changed, &rd.lock, &end) == 0)
		;
	rd.seen = rd.calls;
	pthread_mutex_unlock(&rd.lock);
	return is;
}

/* A thread is in on_ready(), which is held up; the lock of it is ours. */
static void
wait_held(void)
{
	struct timespec end = fake_deadline();

	pthread_mutex_lock(&rd.lock);
	while (!rd.held && pthread_cond_timedwait(&rd.changed, &rd.lock,
	    &end) == 0)
		;
	cr_assert(rd.held);
}

/* It goes on. */
static void
end_hold(void)
{
	rd.hold = false;
	pthread_cond_broadcast(&rd.changed);
	pthread_mutex_unlock(&rd.lock);
}

static uint64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000;
}

static void
make(unsigned threads)
{
	before = test_count_threads();
	cr_assert_eq(dgi_workers_new(&w, threads, STACK, on_ready, NULL), 0);
}

/*
 * The pool has so many threads, those included that are about to begin and those
 * that are not quite gone.  True if nobody can tell.
 */
static bool
has_threads(unsigned n)
{
	return before == 0 || TSAN || test_count_threads() == before + n;
}

/* The same when some have ended. */
static bool
comes_to_threads(unsigned n)
{
	uint64_t end_us = now_us() + FAKE_PATIENCE * 1000000u;

	while (!has_threads(n)) {
		if (now_us() > end_us)
			return false;
		sched_yield();
	}
	return true;
}

/* Leaves nothing behind, when the last thread is over. */
static void
end(void)
{
	dgi_workers_free(w);
	FAKE_UNTIL(fake.threads == 0);
	FAKE_CHECK(fake.in == 0 && fake.lists == 0);
}

static struct dgi_job *
submit(const char *name)
{
	struct dgi_job *job = dgi_job_new(name, AF_INET);
	int r;

	cr_assert(job != NULL);
	errno = POISON;
	r = dgi_workers_submit(w, job);
	cr_assert_eq(errno, POISON, "errno is %d", errno);
	cr_assert_eq(r, 0, "%s: %d", name, r);
	return job;
}

/* Takes all that is done, n of them at most; how many. */
static unsigned
take(struct dgi_job **jobs, unsigned n)
{
	struct dgi_list list;
	unsigned i;

	dgi_list_init(&list);
	dgi_workers_take(w, &list);
	for (i = 0; !dgi_list_empty(&list); i++) {
		cr_assert(i < n, "more than %u", n);
		jobs[i] = DGI_CONTAINER(list.next, struct dgi_job, link);
		dgi_list_remove(list.next);
	}
	return i;
}

/* n of them, as they come. */
static void
take_n(struct dgi_job **jobs, unsigned n)
{
	unsigned got = 0;

	for (;;) {
		got += take(jobs + got, n - got);
		if (got == n)
			return;
		cr_assert(wait_ready(), "%u of %u", got, n);
	}
}

static void
free_n(unsigned n)
{
	struct dgi_job *jobs[32];

	cr_assert(n <= COUNT(jobs));
	take_n(jobs, n);
	while (n > 0)
		dgi_job_free(jobs[--n]);
}

/* The next that is done is this one: 10-x-y-z has the address 10.x.y.z. */
static void
check_done(struct dgi_job *job)
{
	struct dgi_job *got;
	char text[32], *p;

	take_n(&got, 1);
	cr_assert(got == job, "another one: %s", got->name);
	cr_assert_eq(job->status, 0);
	cr_assert_eq(job->n, 1);
	cr_assert(dgram_addr_host(job->addrs, text, sizeof(text)) > 0);
	for (p = text; *p != '\0'; p++)
		*p = *p == '.' ? '-' : *p;
	cr_assert(strcmp(text, job->name) == 0, "%s: %s", job->name, text);
	dgi_job_free(job);
}

/* ---- how many ---- */

/* None before there is something to do, one for what comes one by one. */
TEST(worker, one_thread)
{
	unsigned i;
	char name[32];

	make(4);
	cr_assert(has_threads(0));
	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "10-0-0-%u", i);
		check_done(submit(name));
	}
	FAKE_CHECK(fake.threads == 1 && fake.calls == 100);
	cr_assert(has_threads(1));
	end();
}

/* Each of those that sleep is called when it is needed. */
TEST(worker, sleepers)
{
	unsigned round;

	make(3);
	for (round = 0; round < 200; round++) {
		fake_block("slow.test");
		submit("slow.test");
		submit("slow.test");
		submit("slow.test");
		FAKE_UNTIL(fake.in == 3);
		fake_release("slow.test");
		free_n(3);
	}
	FAKE_CHECK(fake.threads == 3);
	end();
}

/* All the others wait. */
TEST(worker, no_more_than_said)
{
	enum { WAITING = 20 };
	char name[32];
	unsigned i;

	make(3);
	fake_block("slow.test");
	for (i = 0; i < 3; i++)
		submit("slow.test");
	for (i = 0; i < WAITING; i++) {
		snprintf(name, sizeof(name), "10-0-0-%u", i);
		submit(name);
		cr_assert(has_threads(3));
	}
	FAKE_UNTIL(fake.in == 3);
	FAKE_CHECK(fake.calls == 3 && fake.threads == 3);
	fake_release("slow.test");
	free_n(3 + WAITING);
	FAKE_CHECK(fake.most == 3 && fake.threads == 3);
	FAKE_CHECK(fake.calls == 3 + WAITING);
	end();
}

TEST(worker, in_order)
{
	struct dgi_job *jobs[20], *got[COUNT(jobs)];
	char name[32];
	unsigned i, calls;

	make(1);
	for (i = 0; i < COUNT(jobs); i++) {
		snprintf(name, sizeof(name), "10-0-0-%u", i);
		jobs[i] = submit(name);
	}
	take_n(got, COUNT(got));
	for (i = 0; i < COUNT(jobs); i++) {
		cr_assert(strcmp(fake.log[i], jobs[i]->name) == 0, "%u", i);
		cr_assert(got[i] == jobs[i], "%u", i);
		dgi_job_free(got[i]);
	}
	/* One call for all that is done and not taken. */
	fake_block("slow.test");
	calls = ready_calls();
	submit("10-0-0-1");
	submit("10-0-0-2");
	submit("slow.test");
	FAKE_UNTIL(fake.in == 1 && fake_find("slow.test")->in == 1);
	cr_assert_eq(ready_calls(), calls + 1);
	fake_release("slow.test");
	free_n(3);
	end();
}

/* ---- those that hang ---- */

/* A name that can be found is found whatever the others do. */
TEST(worker, others_hang)
{
	struct dgi_job *job;

	make(2);
	fake_block("dead.test");
	submit("dead.test");
	submit("dead.test");
	FAKE_UNTIL(fake.in == 2);
	job = submit("10-0-0-1");
	/* Not before it is sure. */
	cr_assert(dgi_workers_tick(w));
	cr_assert(has_threads(2));
	(void)dgi_workers_tick(w);
	check_done(job);
	cr_assert(!dgi_workers_tick(w), "nothing waits");
	/* Known to hang: the next need not wait for that. */
	fake_block("slow.test");
	submit("slow.test");
	job = submit("10-0-0-2");
	check_done(job);
	FAKE_UNTIL(fake.threads == 4 && fake.in == 3);
	/* As many serve as before when all are back, and the others end. */
	fake_release("dead.test");
	fake_release("slow.test");
	free_n(3);
	FAKE_UNTIL(fake.threads == 2);
	cr_assert(comes_to_threads(2));
	fake_block("slow.test");
	submit("slow.test");
	submit("slow.test");
	submit("10-0-0-3");
	FAKE_UNTIL(fake.in == 2);
	cr_assert(dgi_workers_tick(w));
	cr_assert(has_threads(2));
	FAKE_CHECK(fake.threads == 2 && fake.calls == 7);
	fake_release("slow.test");
	free_n(3);
	end();
}

TEST(worker, all_hang)
{
	struct dgi_job *job;
	unsigned i;

	make(2);
	fake_block("dead.test");
	for (i = 0; i < 20; i++)
		submit("dead.test");
	FAKE_UNTIL(fake.in == 2);
	/* A thread is started before it is at its job: some more ticks. */
	for (i = 4; i <= 8; i += 2) {
		cr_assert(dgi_workers_tick(w));
		cr_assert(dgi_workers_tick(w));
		FAKE_UNTIL(fake.in == i);
	}
	job = submit("10-0-0-1");
	for (i = 0; i < 10; i++)
		cr_assert(dgi_workers_tick(w), "they wait still");
	cr_assert(has_threads(8));
	FAKE_CHECK(fake.threads == 8 && fake.calls == 8);
	cr_assert(dgi_workers_withdraw(w, job));
	dgi_job_free(job);
	fake_release("dead.test");
	free_n(20);
	cr_assert(!dgi_workers_tick(w));
	FAKE_CHECK(fake.most == 8);
	FAKE_UNTIL(fake.threads == 2);
	check_done(submit("10-0-0-1"));
	end();
}

/* One that was slow once is like the others afterwards. */
TEST(worker, hang_and_come_back)
{
	unsigned round;

	make(1);
	for (round = 0; round < 3; round++) {
		fake_block("slow.test");
		submit("slow.test");
		FAKE_UNTIL(fake.in == 1);
		cr_assert(!dgi_workers_tick(w));
		cr_assert(!dgi_workers_tick(w));
		cr_assert(!dgi_workers_tick(w));
		fake_release("slow.test");
		free_n(1);
		FAKE_CHECK(fake.threads == 1);
	}
	/* Not known to hang: this one waits. */
	fake_block("slow.test");
	submit("slow.test");
	submit("10-0-0-1");
	FAKE_UNTIL(fake.in == 1);
	cr_assert(dgi_workers_tick(w));
	cr_assert(has_threads(1));
	fake_release("slow.test");
	free_n(2);
	end();
}

/* ---- whose it is ---- */

TEST(worker, withdraw)
{
	struct dgi_job *running, *queued, *done;

	make(1);
	fake_block("slow.test");
	done = submit("10-0-0-1");
	cr_assert(wait_ready());
	cr_assert(!dgi_workers_withdraw(w, done), "it is done");
	running = submit("slow.test");
	FAKE_UNTIL(fake.in == 1);
	cr_assert(!dgi_workers_withdraw(w, running), "it runs");
	queued = submit("10-0-0-2");
	cr_assert(dgi_workers_withdraw(w, queued));
	cr_assert(!dgi_workers_withdraw(w, queued), "it is the caller's");
	cr_assert(!dgi_workers_tick(w), "nothing waits");
	check_done(done);
	fake_release("slow.test");
	free_n(1);
	FAKE_CHECK(fake.calls == 2);
	/* It can be submitted as any other. */
	cr_assert_eq(dgi_workers_submit(w, queued), 0);
	check_done(queued);
	FAKE_CHECK(fake.calls == 3 && fake.threads == 1);
	end();
}

TEST(worker, failures)
{
	struct dgi_job *job, *got;

	make(2);
	fake_fail("x.test", EAI_AGAIN, 0);
	job = submit("x.test");
	job->owner = &job;
	take_n(&got, 1);
	cr_assert(got == job && got->owner == &job);
	cr_assert_eq(job->status, DGRAM_EAI_AGAIN);
	cr_assert(job->addrs == NULL && job->n == 0);
	dgi_job_free(job);
	end();
}

/* ---- the end ---- */

/* As long as nothing is done: as if there were no pool. */
TEST(worker, free_unused)
{
	dgi_workers_free(NULL);
	make(2);
	dgi_workers_free(w);
}

TEST(worker, free_idle)
{
	make(2);
	check_done(submit("10-0-0-1"));
	end();
}

/* Some run, some wait, one is done: at once, and nothing is left. */
static uint64_t
free_busy(void)
{
	uint64_t begin, took;
	unsigned i, calls;

	make(4);
	fake_block("slow.test");
	for (i = 0; i < 3; i++)
		submit("slow.test");
	submit("10-0-0-1");
	FAKE_UNTIL(fake.in == 3);
	cr_assert(wait_ready());
	submit("slow.test");
	for (i = 0; i < 20; i++)
		submit("slow.test");
	FAKE_UNTIL(fake.in == 4);
	calls = ready_calls();
	begin = now_us();
	dgi_workers_free(w);
	took = now_us() - begin;
	FAKE_CHECK(fake.in == 4);
	fake_release("slow.test");
	FAKE_UNTIL(fake.threads == 0);
	FAKE_CHECK(fake.lists == 0);
	cr_assert_eq(ready_calls(), calls, "who frees it hears no more of it");
	return took;
}

/* The best of some: this process is not the only one. */
TEST(worker, free_busy)
{
	uint64_t best = UINT64_MAX, took;
	int i;

	for (i = 0; i < 8; i++) {
		took = free_busy();
		if (took < best)
			best = took;
	}
	cr_assert(best < (SANITIZED || test_emulated() ? 50000 : 5000),
	    "%u us", (unsigned)best);
	FAKE_CHECK(fake_find("slow.test")->calls == 8 * 4);
}

/*
 * It is freed when a job is about to be told: before or behind that, never in
 * the midst of it.
 */
TEST(worker, free_races)
{
	static bool gone[300];
	unsigned i;

	for (i = 0; i < COUNT(gone); i++) {
		cr_assert_eq(dgi_workers_new(&w, 2, STACK, on_ready, &gone[i]),
		    0);
		submit("10-0-0-1");
		submit("10-0-0-2");
		if (i % 3 == 0)
			FAKE_UNTIL(fake.threads > 0);
		if (i % 3 == 1)
			cr_assert(wait_ready());
		dgi_workers_free(w);
		pthread_mutex_lock(&rd.lock);
		gone[i] = true;
		rd.seen = rd.calls;
		pthread_mutex_unlock(&rd.lock);
	}
	FAKE_UNTIL(fake.threads == 0);
	cr_assert(!rd.late);
	FAKE_CHECK(fake.lists == 0);
}

static void *
free_it(void *arg)
{
	(void)arg;
	dgi_workers_free(w);
	pthread_mutex_lock(&rd.lock);
	rd.freed = true;
	pthread_cond_broadcast(&rd.changed);
	pthread_mutex_unlock(&rd.lock);
	return NULL;
}

/* The one thing that is waited for: a call of ready() that has begun. */
TEST(worker, free_in_ready)
{
	struct timespec soon;
	pthread_t thread;

	make(1);
	rd.hold = true;
	submit("10-0-0-1");
	wait_held();
	cr_assert_eq(pthread_create(&thread, NULL, free_it, NULL), 0);
	/* As long as this it does not come back; without the call at once. */
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 50000000;
	if (soon.tv_nsec >= 1000000000) {
		soon.tv_nsec -= 1000000000;
		soon.tv_sec++;
	}
	while (!rd.freed && pthread_cond_timedwait(&rd.changed, &rd.lock,
	    &soon) == 0)
		;
	cr_assert(!rd.freed);
	end_hold();
	cr_assert_eq(pthread_join(thread, NULL), 0);
	FAKE_UNTIL(fake.threads == 0);
}

/* Threads that never come back do not hold up the end of the process. */
TEST(worker, free_and_exit)
{
	make(2);
	fake_block("dead.test");
	submit("dead.test");
	submit("dead.test");
	submit("dead.test");
	FAKE_UNTIL(fake.in == 2);
	dgi_workers_free(w);
}

/* ---- no thread ---- */

TEST(worker, no_thread)
{
	struct dgi_job *job = dgi_job_new("10-0-0-1", AF_INET);
	int i;

	cr_assert_eq(dgi_workers_new(&w, 2, SIZE_MAX / 8 * 7, on_ready,
	    NULL), 0);
	for (i = 0; i < 3; i++) {
		errno = POISON;
		cr_assert_eq(dgi_workers_submit(w, job), -EAGAIN);
		cr_assert_eq(errno, POISON);
		cr_assert(!dgi_workers_withdraw(w, job), "it was not taken");
		cr_assert(!dgi_workers_tick(w));
	}
	dgi_workers_free(w);
	dgi_job_free(job);
	cr_assert_eq(ready_calls(), 0);
	FAKE_CHECK(fake.calls == 0);
}

#if DGI_OS_LINUX
/* Address space for no more than there is now; or again as much as before. */
static void
limit_memory(bool on)
{
	static struct rlimit old;
	struct rlimit none;

	if (on) {
		cr_assert_eq(getrlimit(RLIMIT_AS, &old), 0);
		none = old;
		none.rlim_cur = 1;
		cr_assert_eq(setrlimit(RLIMIT_AS, &none), 0);
	} else {
		cr_assert_eq(setrlimit(RLIMIT_AS, &old), 0);
	}
}

/* Those there are have to do, until one can be started. */
TEST(worker, no_more_threads)
{
	struct dgi_job *slow, *quick;

	if (SANITIZED || test_emulated())
		cr_skip_test("memory cannot be limited");
	make(2);
	fake_block("slow.test");
	slow = submit("slow.test");
	FAKE_UNTIL(fake.in == 1);
	quick = dgi_job_new("10-0-0-1", AF_INET);
	limit_memory(true);
	cr_assert_eq(dgi_workers_submit(w, quick), 0);
	cr_assert(dgi_workers_tick(w), "it waits");
	FAKE_CHECK(fake.threads == 1);
	limit_memory(false);
	(void)dgi_workers_tick(w);
	check_done(quick);
	FAKE_CHECK(fake.threads == 2 && fake.in == 1);
	cr_assert(!dgi_workers_withdraw(w, slow));
	fake_release("slow.test");
	free_n(1);
	end();
}
#endif

/* ---- what a thread is like ---- */

static const int signals[] = { SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGPIPE,
	SIGALRM, SIGCHLD, SIGUSR1, SIGUSR2, SIGPROF, SIGSEGV };
static bool blocked[COUNT(signals)];

static void
look_at_signals(const char *name)
{
	sigset_t set;
	size_t i;

	(void)name;
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	for (i = 0; i < COUNT(signals); i++)
		blocked[i] = sigismember(&set, signals[i]) == 1;
}

/* The signals of the program are for the threads of the program. */
TEST(worker, signals)
{
	sigset_t set, now;
	size_t i;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	cr_assert_eq(pthread_sigmask(SIG_SETMASK, &set, NULL), 0);
	fake.hook = look_at_signals;
	make(1);
	check_done(submit("10-0-0-1"));
	cr_assert_eq(pthread_sigmask(SIG_SETMASK, NULL, &now), 0);
	for (i = 0; i < COUNT(signals); i++) {
		cr_assert(blocked[i], "signal %d", signals[i]);
		cr_assert_eq(sigismember(&now, signals[i]),
		    signals[i] == SIGUSR2, "signal %d", signals[i]);
	}
	end();
}

#if DGI_OS_LINUX
/* As much as anybody has, and each thread of this program. */
static _Thread_local char variables[1 << 20];
static size_t stack_left;
static int detached;

static void
look_at_stack(const char *name)
{
	pthread_attr_t attr;
	size_t size;
	void *low;

	variables[1] = name[0];
	if (pthread_getattr_np(pthread_self(), &attr) != 0)
		return;
	pthread_attr_getstack(&attr, &low, &size);
	pthread_attr_getdetachstate(&attr, &detached);
	pthread_attr_destroy(&attr);
	stack_left = (uintptr_t)&attr - (uintptr_t)low;
}

static size_t
stack_for(size_t asked)
{
	stack_left = 0;
	detached = -1;
	cr_assert_eq(dgi_workers_new(&w, 1, asked, on_ready, NULL), 0);
	check_done(submit("10-0-0-1"));
	end();
	cr_assert_eq(detached, PTHREAD_CREATE_DETACHED);
	return stack_left;
}

/* What is asked for is for the look-up alone, and little more is taken. */
TEST(worker, stack)
{
	static const size_t sizes[] = { 65536, 262144, 262145, 1 << 20,
	    (1 << 20) + 5000 };
	size_t i, left, page = (size_t)sysconf(_SC_PAGESIZE);

	if (SANITIZED)
		cr_skip_test("sanitizers have stacks of their own");
	fake.hook = look_at_stack;
	for (i = 0; i < COUNT(sizes); i++) {
		left = stack_for(sizes[i]);
		cr_assert(left + 8192 >= sizes[i], "%zu, not %zu", left,
		    sizes[i]);
		cr_assert(left <= sizes[i] + 4 * page, "%zu, not %zu", left,
		    sizes[i]);
	}
	/* Too little for any thread is as much as the least. */
	left = stack_for(1);
	cr_assert(left > 0 && left <= 131072, "%zu", left);
}
#endif

/* ---- fork(2) ---- */

/* In the child: the pool is gone, all jobs are ours, and a new one works. */
static int
child(struct dgi_job **jobs, unsigned n)
{
	struct dgi_list list;
	struct dgi_job *job;

	alarm(20);
	dgi_workers_forget(w);
	while (n > 0)
		dgi_job_free(jobs[--n]);
	fake_forked();
	rd.hold = false;
	rd.seen = rd.calls;
	pthread_mutex_init(&rd.lock, NULL);
	pthread_cond_init(&rd.changed, NULL);
	dgi_list_init(&list);
	job = dgi_job_new("10-0-0-3", AF_INET);
	if (dgi_workers_new(&w, 1, STACK, on_ready, NULL) != 0)
		return 1;
	if (dgi_workers_submit(w, job) != 0)
		return 2;
	if (!wait_ready())
		return 3;
	dgi_workers_take(w, &list);
	if (list.next != &job->link || job->status != 0)
		return 4;
	dgi_job_free(job);
	dgi_workers_free(w);
	return 0;
}

static int
wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	return status;
}

/* While a thread is about to call the loop. */
TEST(worker, forget)
{
	struct dgi_job *jobs[2];
	int status;
	pid_t pid;

	if (TSAN)
		cr_skip_test("no thread in a child of many threads");
	make(2);
	fake_block("slow.test");
	jobs[0] = submit("slow.test");
	FAKE_UNTIL(fake.in == 1);
	rd.hold = true;
	jobs[1] = submit("10-0-0-1");
	wait_held();
	pid = test_fork();
	if (pid == 0)
		_exit(child(jobs, 2));
	end_hold();
	status = wait_for(pid);
	cr_assert_eq(status, 0, "%#x", (unsigned)status);
	fake_release("slow.test");
	free_n(2);
	end();
}

/* Whatever the threads were at, one of them the lock's holder now and then. */
TEST(worker, forget_busy)
{
	enum { JOBS = 32 };
	unsigned i, round;
	int status;
	pid_t pid;

	make(3);
	for (round = 0; round < 100; round++) {
		for (i = 0; i < JOBS; i++)
			submit("10-0-0-1");
		pid = test_fork();
		if (pid == 0) {
			alarm(20);
			dgi_workers_forget(w);
			_exit(0);
		}
		free_n(JOBS);
		status = wait_for(pid);
		cr_assert_eq(status, 0, "%#x", (unsigned)status);
	}
	end();
}

/* ---- many ---- */

/* Each one's result is its own; whoever is not told of one hangs here. */
static void
run_many(unsigned threads, unsigned total, unsigned at_once)
{
	unsigned begun = 0, over = 0, n, i;
	struct dgi_job *jobs[64];
	char name[32], text[32];

	make(threads);
	while (over < total) {
		while (begun < total && begun - over < at_once) {
			snprintf(name, sizeof(name), "10-0-%u-%u", begun / 256,
			    begun % 256);
			submit(name)->owner = (void *)(uintptr_t)begun;
			begun++;
		}
		cr_assert(wait_ready(), "%u of %u", over, begun);
		n = take(jobs, COUNT(jobs));
		for (i = 0; i < n; i++, over++) {
			uintptr_t id = (uintptr_t)jobs[i]->owner;

			snprintf(name, sizeof(name), "10.0.%u.%u",
			    (unsigned)id / 256, (unsigned)id % 256);
			cr_assert_eq(jobs[i]->status, 0);
			cr_assert_eq(jobs[i]->n, 1);
			cr_assert(dgram_addr_host(jobs[i]->addrs, text,
			    sizeof(text)) > 0 && strcmp(text, name) == 0,
			    "%s", text);
			dgi_job_free(jobs[i]);
		}
	}
	FAKE_CHECK(fake.most <= threads && fake.threads <= threads);
	FAKE_CHECK(fake.calls == total && fake.in == 0);
	end();
}

TEST(worker, a_thousand)
{
	run_many(4, 1000, 64);
}

TEST(worker, a_thousand_and_one_thread)
{
	run_many(1, 1000, 2);
}
