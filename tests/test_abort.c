/* SPDX-License-Identifier: ISC */

/*
 * Abort signals: what they close, when, and who may free what meanwhile.
 */

#include "sockets.h"

#include <sys/time.h>
#include <sys/wait.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "alloc.h"

#define THREADS		8
#define ROUNDS		(test_emulated() ? 20 : 100)

static struct fault_os f;
static struct dgram_loop *l;
static struct dgram_abort *a;

static void
enter(const char *backend)
{
	fault_init(&f);
	l = fault_loop(&f, backend, NULL);
	OK(dgram_abort_new(l, &a));
}

/* The same on the real table of system calls, which counts nothing. */
static void
enter_threads(const char *backend)
{
	struct dgram_loop_options o = { .backend = backend };

	fault_init(&f);
	o.allocator = &f.allocator;
	OK(dgram_loop_new(&o, &l));
	OK(dgram_abort_new(l, &a));
}

/* All that a signal needs was given back, too. */
static void
leave(void)
{
	dgram_abort_free(a);
	free_fault_loop(l, &f);
}

static void
trigger(struct dgram_abort *it)
{
	call_begins();
	dgram_abort_trigger(it);
	(void)call_ends(0);
}

static void
open_signalled(struct peer *p, int type, const struct dgram_options *options)
{
	struct dgram_options o = { 0 };

	if (options != NULL)
		o = *options;
	o.signal = a;
	peer_open(p, l, (enum dgram_type)type, &o);
}

static void
open_bound(struct peer *p, int type)
{
	open_signalled(p, type, NULL);
	peer_bind(p);
	turns(l, 2);
	p->trace[0] = '\0';
}

#define TRACE(p, text)							\
	MUST(strcmp((p)->trace, text) == 0, "%s, not %s", (p)->trace, text)

/* ---- what is closed ---- */

BACKEND_TEST(abort, closes_all)
{
	struct peer p[4], other, late;
	int n = 0, i;

	enter(backend);
	EACH_TYPE(type)
		open_bound(&p[n++], type);
	open_signalled(&p[n++], DGRAM_UDP4, NULL);
	peer_open_bound(&other, l, DGRAM_UDP4, NULL);
	turns(l, 2);
	other.trace[0] = '\0';
	trigger(a);
	for (i = 0; i < n; i++)
		TRACE(&p[i], "");
	RUN_UNTIL(l, p[0].s == NULL && p[n - 1].s == NULL);
	for (i = 0; i < n; i++) {
		TRACE(&p[i], "X");
		cr_assert(p[i].s == NULL);
	}
	/* Once; and the other has nothing to do with it. */
	trigger(a);
	open_signalled(&late, DGRAM_UDP4, NULL);
	turns(l, 3);
	TRACE(&late, "X");
	TRACE(&other, "");
	bare_send(dgram_fileno(other.s), &other.addr, 1);
	RUN_UNTIL(l, other.got == 1);
	leave();
}

/* As dgram_close(): what can go goes, what cannot is cancelled. */
BACKEND_TEST(abort, as_close)
{
	struct dgram_addr to;
	struct peer p, q;
	int fd;

	enter(backend);
	fd = bare_socket(DGRAM_UDP4, &to);
	open_bound(&p, DGRAM_UDP4);
	open_bound(&q, DGRAM_UDP4);
	f.fd = dgram_fileno(q.s);
	fault_sends(&f, -EAGAIN);
	OK(send_done(&q, 1, &to));
	ACCEPT(dgram_flush(q.s));
	trigger(a);
	/* It is open until the loop has seen it. */
	OK(send_done(&p, 2, &to));
	RUN_UNTIL(l, p.s == NULL && q.s == NULL);
	TRACE(&p, "dX");
	TRACE(&q, "dX");
	cr_assert_eq(p.done[0], 4);
	cr_assert_eq(q.done[0], -ECANCELED);
	cr_assert_eq(bare_recv(fd), 2);
	leave();
	close(fd);
}

/* One that was to end has its function called, and closes now. */
BACKEND_TEST(abort, ends)
{
	struct dgram_addr to;
	struct peer p;
	int fd;

	enter(backend);
	fd = bare_socket(DGRAM_UDP4, &to);
	open_bound(&p, DGRAM_UDP4);
	fault_sends(&f, -EAGAIN);
	OK(send_done(&p, 1, &to));
	OK(dgram_end(p.s, peer_close_fn, &p));
	turns(l, 2);
	TRACE(&p, "");
	trigger(a);
	RUN_UNTIL(l, p.s == NULL);
	turns(l, 2);
	TRACE(&p, "dXf");
	leave();
	close(fd);
}

BACKEND_TEST(abort, after_close)
{
	struct peer p;

	enter(backend);
	open_bound(&p, DGRAM_UDP4);
	OK(dgram_close(p.s, peer_close_fn, &p));
	trigger(a);
	turns(l, 3);
	trigger(a);
	turns(l, 3);
	TRACE(&p, "Xf");
	leave();
}

/* Already triggered: opened, and closed from the start. */
BACKEND_TEST(abort, opened_late)
{
	struct dgram_options o = { .events = &peer_events };
	struct dgram_addr to = any_addr(DGRAM_UDP4);
	struct peer p, q;
	int fd;

	enter(backend);
	trigger(a);
	open_signalled(&p, DGRAM_UDP4, NULL);
	CHECK(dgram_bind_addr(p.s, &to), NOT_RUNNING);
	CHECK(dgram_close(p.s, NULL, NULL), NOT_RUNNING);
	TRACE(&p, "");
	/* Adopted all the same: the descriptor goes. */
	memset(&q, 0, sizeof(q));
	fd = bare_socket(DGRAM_UDP4, &to);
	o.signal = a;
	o.arg = &q;
	OK(dgram_open_fd(l, &o, fd, &q.s));
	cr_assert(fcntl(fd, F_GETFD) == -1, "still open");
	turn_wait(l, 0);
	turn_wait(l, 0);
	TRACE(&p, "X");
	TRACE(&q, "X");
	leave();
}

/* ---- refused ---- */

TEST(abort, refused)
{
	struct dgram_events silent = peer_events;
	struct dgram_options o = { .type = DGRAM_UDP4 };
	struct dgram_loop *other = test_loop(NULL);
	struct dgram_abort *none = NULL, *of_other;
	struct dgram_addr to;
	struct dgram_socket *s = NULL;
	struct peer p;
	int fd;

	enter(NULL);
	CHECK(dgram_abort_new(NULL, &none), -EINVAL);
	CHECK(dgram_abort_new(l, NULL), -EINVAL);
	f.fail_alloc = f.allocs + 1;
	CHECK(dgram_abort_new(l, &none), -ENOMEM);
	cr_assert(none == NULL && s == NULL);
	trigger(NULL);
	dgram_abort_free(NULL);
	/* Nobody would be told. */
	fd = bare_socket(DGRAM_UDP4, &to);
	o.signal = a;
	CHECK(dgram_open(l, &o, &s), -EINVAL);
	silent.close = NULL;
	o.events = &silent;
	CHECK(dgram_open(l, &o, &s), -EINVAL);
	CHECK(dgram_open_fd(l, &o, fd, &s), -EINVAL);
	open_signalled(&p, DGRAM_UDP4, NULL);
	CHECK(dgram_set_events(p.s, &silent, &p), -EINVAL);
	CHECK(dgram_set_events(p.s, NULL, &p), -EINVAL);
	OK(dgram_set_events(p.s, &peer_deaf, &p));
	/* Of another loop, also when that is gone. */
	OK(dgram_abort_new(other, &of_other));
	o.events = &peer_events;
	o.signal = of_other;
	CHECK(dgram_open(l, &o, &s), -EINVAL);
	OK(dgram_loop_free(other));
	CHECK(dgram_open(l, &o, &s), -EINVAL);
	dgram_abort_free(of_other);
	/* Not opened, so not on the signal. */
	o.signal = a;
	CHECK(dgram_open_fd(l, &o, -1, &s), -EBADF);
	cr_assert(s == NULL);
	trigger(a);
	turns(l, 3);
	TRACE(&p, "X");
	close(fd);
	leave();
}

/* ---- from wherever ---- */

static char where;

static void
trigger_there(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)p, (void)m, (void)n;
	if (EVENT_LETTERS[e] == where)
		trigger(a);
}

/* The turn goes on; nothing of the socket comes behind it but its close. */
BACKEND_TEST(abort, in_callbacks)
{
	static const struct {
		char where;
		const char *trace;
	} rows[] = { { 'L', "LX" }, { 'C', "LCX" }, { 'M', "LCMX" },
	    { 'd', "LCMdX" }, { 'X', "LCMdXf" } };
	struct dgram_addr to;
	struct peer p, q;
	size_t i;
	int fd;

	for (i = 0; i < COUNT(rows); i++) {
		enter(backend);
		where = rows[i].where;
		fd = bare_socket(DGRAM_UDP4, &to);
		open_signalled(&p, DGRAM_UDP4, NULL);
		open_signalled(&q, DGRAM_UDP4, NULL);
		p.hook = trigger_there;
		peer_bind(&p);
		turns(l, 2);
		if (p.s != NULL)
			OK(dgram_connect_addr(p.s, &to));
		turns(l, 2);
		if (p.s != NULL)
			bare_send(fd, &p.addr, 1);
		turns(l, 2);
		if (p.s != NULL)
			OK(send_done(&p, 1, NULL));
		turns(l, 2);
		if (p.s != NULL)
			OK(dgram_close(p.s, peer_close_fn, &p));
		RUN_UNTIL(l, p.s == NULL && q.s == NULL);
		TRACE(&p, rows[i].trace);
		TRACE(&q, "X");
		leave();
		close(fd);
	}
}

static int
configure(int fd, void *arg)
{
	(void)fd, (void)arg;
	dgram_abort_trigger(a);
	return 0;
}

BACKEND_TEST(abort, in_configure)
{
	struct dgram_options o = { .configure = configure };
	struct peer p;

	enter(backend);
	open_signalled(&p, DGRAM_UDP4, &o);
	peer_bind(&p);
	RUN_UNTIL(l, p.s == NULL);
	TRACE(&p, "X");
	leave();
}

static struct dgram_abort *_Atomic for_handler;

static void
on_signal(int sig)
{
	(void)sig;
	dgram_abort_trigger(atomic_load(&for_handler));
}

/* Nothing else would end the wait. */
BACKEND_TEST(abort, in_a_handler)
{
	struct itimerval it = { .it_value.tv_usec = 20000 };
	struct sigaction sa = { .sa_handler = on_signal };
	struct peer p;

	enter(backend);
	open_bound(&p, DGRAM_UDP4);
	atomic_store(&for_handler, a);
	sigemptyset(&sa.sa_mask);
	cr_assert_eq(sigaction(SIGALRM, &sa, NULL), 0);
	cr_assert_eq(setitimer(ITIMER_REAL, &it, NULL), 0);
	cr_assert_eq(dgram_loop_run(l), 0);
	TRACE(&p, "X");
	sa.sa_handler = SIG_DFL;
	cr_assert_eq(sigaction(SIGALRM, &sa, NULL), 0);
	leave();
}

/* Inside of a foreign loop, which waits for the descriptor. */
BACKEND_TEST(abort, embedded)
{
	struct pollfd pfd = { .events = POLLIN };
	struct peer p;

	enter(backend);
	open_bound(&p, DGRAM_UDP4);
	pfd.fd = dgram_loop_fd(l);
	if (pfd.fd < 0) {
		leave();
		cr_skip_test("the backend has no descriptor");
	}
	turns(l, 3);
	cr_assert_eq(poll(&pfd, 1, 0), 0);
	trigger(a);
	cr_assert_eq(poll(&pfd, 1, 5000), 1);
	RUN_UNTIL(l, p.s == NULL);
	TRACE(&p, "X");
	leave();
}

/* A trigger is something to do for a loop that has nothing else. */
BACKEND_TEST(abort, nothing_else)
{
	struct peer p;

	enter(backend);
	open_bound(&p, DGRAM_UDP4);
	OK(dgram_unref(p.s));
	cr_assert_eq(dgram_loop_run(l), 0);
	TRACE(&p, "");
	trigger(a);
	cr_assert_eq(dgram_loop_run(l), 0);
	TRACE(&p, "X");
	leave();
}

/* ---- life ---- */

static void
free_there(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)p, (void)m, (void)n;
	if (e == EV_CLOSE) {
		dgram_abort_free(a);
		a = NULL;
	}
}

BACKEND_TEST(abort, freed_early)
{
	struct peer p, q;

	/* Right behind the trigger, which takes effect all the same. */
	enter(backend);
	open_bound(&p, DGRAM_UDP4);
	trigger(a);
	dgram_abort_free(a);
	RUN_UNTIL(l, p.s == NULL);
	TRACE(&p, "X");
	/* The same without a socket. */
	OK(dgram_abort_new(l, &a));
	trigger(a);
	dgram_abort_free(a);
	turns(l, 2);
	/* Never triggered: it goes with the last of its sockets. */
	OK(dgram_abort_new(l, &a));
	open_bound(&p, DGRAM_UDP4);
	open_bound(&q, DGRAM_UDP4);
	dgram_abort_free(a);
	OK(dgram_close(p.s, NULL, NULL));
	turns(l, 3);
	OK(dgram_close(q.s, NULL, NULL));
	turns(l, 3);
	/* Inside of the close that it caused. */
	OK(dgram_abort_new(l, &a));
	open_bound(&p, DGRAM_UDP4);
	p.hook = free_there;
	trigger(a);
	RUN_UNTIL(l, p.s == NULL);
	cr_assert(a == NULL);
	leave();
}

/* The loop goes first. */
BACKEND_TEST(abort, loop_freed)
{
	struct dgram_abort *second;
	struct peer p, q;

	enter(backend);
	open_bound(&p, DGRAM_UDP4);
	OK(dgram_abort_new(l, &second));
	trigger(a);
	cr_assert_eq(dgram_loop_free(l), 0);
	TRACE(&p, "X");
	trigger(a);
	trigger(second);
	dgram_abort_free(a);
	dgram_abort_free(second);
	cr_assert_eq(f.pieces, 0);
	/* And frees what only its sockets have. */
	enter(backend);
	open_bound(&p, DGRAM_UDP4);
	open_bound(&q, DGRAM_UDP4);
	dgram_abort_free(a);
	free_fault_loop(l, &f);
	TRACE(&p, "X");
	TRACE(&q, "X");
	/* Freed, triggered, by what the end of the loop calls. */
	enter(backend);
	open_bound(&p, DGRAM_UDP4);
	open_bound(&q, DGRAM_UDP4);
	where = 'X';
	p.hook = trigger_there;
	q.hook = free_there;
	free_fault_loop(l, &f);
	TRACE(&q, "X");
}

static struct dgram_abort *too_late;

static void
new_there(struct peer *p, enum event e, const struct dgram_message *m, size_t n)
{
	(void)p, (void)m, (void)n;
	if (e == EV_CLOSE)
		CHECK(dgram_abort_new(l, &too_late), -ECANCELED);
}

TEST(abort, new_during_free)
{
	struct peer p;

	enter(NULL);
	open_bound(&p, DGRAM_UDP4);
	p.hook = new_there;
	dgram_abort_free(a);
	free_fault_loop(l, &f);
	TRACE(&p, "X");
}

/* ---- threads ---- */

/* macOS has no pthread_barrier_wait(3). */
static atomic_uint ready;
static atomic_bool go;

static void *
thread(void *arg)
{
	atomic_fetch_add(&ready, 1);
	while (!atomic_load(&go))
		sched_yield();
	dgram_abort_trigger(arg);
	return NULL;
}

static void
start(pthread_t *t, unsigned n)
{
	unsigned i;

	atomic_store(&ready, 0);
	atomic_store(&go, false);
	for (i = 0; i < n; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, thread, a), 0);
	while (atomic_load(&ready) < n)
		sched_yield();
	atomic_store(&go, true);
}

static void
join(pthread_t *t, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		cr_assert_eq(pthread_join(t[i], NULL), 0);
}

/* All at once: it is triggered once. */
BACKEND_TEST(abort, many_threads)
{
	pthread_t t[THREADS];
	struct peer p;
	int i;

	enter_threads(backend);
	for (i = 0; i < ROUNDS / 4; i++) {
		open_bound(&p, DGRAM_UDP4);
		start(t, THREADS);
		cr_assert_eq(dgram_loop_run(l), 0);
		TRACE(&p, "X");
		join(t, THREADS);
		dgram_abort_free(a);
		OK(dgram_abort_new(l, &a));
	}
	leave();
}

/* Its effect is seen, and it is freed, before the trigger has returned. */
BACKEND_TEST(abort, freed_by_its_effect)
{
	struct peer p;
	pthread_t t;
	int i;

	enter_threads(backend);
	for (i = 0; i < ROUNDS; i++) {
		open_bound(&p, DGRAM_UDP4);
		p.hook = free_there;
		start(&t, 1);
		cr_assert_eq(dgram_loop_run(l), 0);
		cr_assert(a == NULL);
		join(&t, 1);
		OK(dgram_abort_new(l, &a));
	}
	leave();
}

static atomic_bool enough;

static void *
trigger_on(void *arg)
{
	while (!atomic_load(&enough))
		dgram_abort_trigger(arg);
	return NULL;
}

/* Threads that trigger it without end do not hold the end of the loop up. */
BACKEND_TEST(abort, again_and_again)
{
	pthread_t t[THREADS];
	struct peer p;
	unsigned i;

	enter_threads(backend);
	open_bound(&p, DGRAM_UDP4);
	atomic_store(&enough, false);
	for (i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, trigger_on, a), 0);
	RUN_UNTIL(l, p.s == NULL);
	cr_assert_eq(dgram_loop_free(l), 0);
	atomic_store(&enough, true);
	for (i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_join(t[i], NULL), 0);
	dgram_abort_free(a);
	cr_assert_eq(f.pieces, 0);
}

/* The trigger against the end of the loop. */
BACKEND_TEST(abort, against_free)
{
	struct peer p;
	pthread_t t;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		enter_threads(backend);
		open_bound(&p, DGRAM_UDP4);
		start(&t, 1);
		cr_assert_eq(dgram_loop_free(l), 0);
		TRACE(&p, "X");
		join(&t, 1);
		dgram_abort_free(a);
		cr_assert_eq(f.pieces, 0);
	}
}

/* ---- fork ---- */

#define CHILD(cond) do {						\
	if (!(cond)) {							\
		fprintf(stderr, "child, line %d: %s\n", __LINE__, #cond); \
		_exit(1);						\
	}								\
} while (0)

/* The clock is looked at when the posts of the parent have been dropped. */
static uint64_t
now_and_trigger(const struct dgi_os *os)
{
	dgram_abort_trigger(a);
	return dgi_os_real.now(os);
}

enum { BEFORE_FORK, IN_CHILD, BY_A_HANDLER, NMOMENTS };

/*
 * Triggered before, or in the child, there also by a handler inside of
 * dgram_loop_fork(): closed in it, and where it was triggered.
 */
BACKEND_TEST(abort, fork)
{
	struct peer p;
	int status, when, i;
	pid_t pid;

	for (when = 0; when < NMOMENTS; when++) {
		enter(backend);
		open_bound(&p, DGRAM_UDP4);
		if (when == BEFORE_FORK)
			dgram_abort_trigger(a);
		fflush(NULL);
		pid = test_fork();
		cr_assert(pid >= 0);
		if (pid == 0) {
			if (when == BY_A_HANDLER)
				f.os.now = now_and_trigger;
			CHILD(dgram_loop_fork(l, 0) == 0);
			if (when == IN_CHILD)
				dgram_abort_trigger(a);
			for (i = 0; i < 3; i++)
				CHILD(dgram_loop_run_once(l, 0) >= 0);
			CHILD(strcmp(p.trace, "X") == 0);
			dgram_abort_free(a);
			CHILD(dgram_loop_free(l) == 0);
			CHILD(f.pieces == 0);
			_exit(0);
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert_eq(status, 0, "the child failed: %#x",
		    (unsigned)status);
		turns(l, 3);
		TRACE(&p, when == BEFORE_FORK ? "X" : "");
		leave();
	}
}
