/* SPDX-License-Identifier: ISC */

/*
 * fork(2): parent and child go on with the same loop, and neither disturbs the
 * other.
 *
 * A failed assertion in a child would hang the run: a child ends with _exit(),
 * CHILD() with the line that was wrong, and the parent asserts on its status.
 */

#include "sockets.h"

#include <sys/resource.h>
#include <sys/wait.h>

#define CHILD(cond) do {						\
	if (!(cond)) {							\
		fprintf(stderr, "child, line %d: %s\n", __LINE__, #cond); \
		_exit(1);						\
	}								\
} while (0)

/* Turns until it holds; in a child, where RUN_UNTIL() may not fail. */
#define CHILD_UNTIL(l, cond) do {					\
	int64_t end_ = clock_ms() + 5000;				\
	while (!(cond)) {						\
		CHILD(clock_ms() < end_);				\
		CHILD(dgram_loop_run_once(l, 10) >= 0);			\
	}								\
} while (0)

static struct {
	struct fault_os f;
	struct dgram_loop *l;
	struct peer p, q;
	struct dgram_addr bare;
	struct dgram_timer timer;
	struct dgram_watch watch;
	int fd, pipe[2], ticks, seen, posts;
} sc;

static void
on_timer(struct dgram_timer *t, void *arg)
{
	(void)t, (void)arg;
	sc.ticks++;
}

static void
on_watch(struct dgram_watch *w, unsigned events, void *arg)
{
	char c;

	(void)events, (void)arg;
	sc.seen += read(w->fd, &c, 1) == 1;
}

static void
on_post(void *arg)
{
	(void)arg;
	sc.posts++;
}

static void
enter(const char *backend, int type)
{
	memset(&sc, 0, sizeof(sc));
	fault_init(&sc.f);
	sc.l = fault_loop(&sc.f, backend, NULL);
	sc.fd = bare_socket(type, &sc.bare);
	peer_open_bound(&sc.p, sc.l, type, NULL);
	cr_assert_eq(pipe(sc.pipe), 0);
	dgram_watch_init(&sc.watch, sc.l, sc.pipe[0], on_watch, NULL);
	OK(dgram_watch_start(&sc.watch, DGRAM_READABLE));
	dgram_timer_init(&sc.timer, sc.l, on_timer, NULL);
	turns(sc.l, 5);
}

static void
leave(void)
{
	free_fault_loop(sc.l, &sc.f);
	close(sc.fd);
	close(sc.pipe[0]);
	close(sc.pipe[1]);
}

/* Runs fn in a child, to its end. */
static void
in_child(void (*fn)(void))
{
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = test_fork();
	cr_assert(pid >= 0);
	if (pid == 0) {
		fn();
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "the child failed: status %#x",
	    (unsigned)status);
}

/* All that the loop was made for works still. */
static void
check_parent(void)
{
	int seen = sc.seen, ticks = sc.ticks, done = sc.p.n[EV_DONE];
	size_t got = sc.p.got;

	bare_send(sc.fd, &sc.p.addr, 77);
	RUN_UNTIL(sc.l, sc.p.got == got + 1);
	cr_assert_eq(write(sc.pipe[1], "x", 1), 1);
	RUN_UNTIL(sc.l, sc.seen == seen + 1);
	OK(dgram_timer_start(&sc.timer, 0, 0));
	RUN_UNTIL(sc.l, sc.ticks == ticks + 1);
	OK(send_done(&sc.p, 78, &sc.bare));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == done + 1);
	cr_assert_eq(bare_recv(sc.fd), 78);
	OK(dgram_loop_wake(sc.l));
	turns(sc.l, 3);
}

static void
child_uses_all(void)
{
	unsigned closes = sc.f.entry[FAULT_CLOSE].calls;
	int seen = sc.seen, ticks = sc.ticks, done = sc.p.n[EV_DONE];
	size_t got = sc.p.got;

	CHILD(dgram_loop_fork(sc.l, 0) == 0);
	/* The wake event, one descriptor or two; nothing else is touched. */
	CHILD(sc.f.entry[FAULT_CLOSE].calls - closes ==
	    (sc.l->event[0] == sc.l->event[1] ? 1u : 2u));
	bare_send(sc.fd, &sc.p.addr, 5);
	CHILD_UNTIL(sc.l, sc.p.got == got + 1);
	CHILD(write(sc.pipe[1], "x", 1) == 1);
	CHILD_UNTIL(sc.l, sc.seen == seen + 1);
	CHILD(dgram_timer_start(&sc.timer, 1 * MS, 0) == 0);
	CHILD_UNTIL(sc.l, sc.ticks == ticks + 1);
	CHILD(send_done(&sc.p, 6, &sc.bare) == 0);
	CHILD_UNTIL(sc.l, sc.p.n[EV_DONE] == done + 1);
	CHILD(bare_recv(sc.fd) == 6);
	CHILD(dgram_loop_post(sc.l, on_post, NULL) == 0);
	CHILD_UNTIL(sc.l, sc.posts == 1);
	/* Changes that the parent must not notice. */
	dgram_watch_stop(&sc.watch);
	CHILD(dgram_pause(sc.p.s) == 0);
	CHILD(dgram_loop_run_once(sc.l, 0) >= 0);
	CHILD(dgram_resume(sc.p.s) == 0);
	CHILD(dgram_close(sc.p.s, NULL, NULL) == 0);
	CHILD_UNTIL(sc.l, sc.p.s == NULL);
	CHILD(dgram_loop_free(sc.l) == 0);
}

BACKEND_TEST(fork, both_go_on)
{
	EACH_TYPE(type) {
		enter(backend, type);
		in_child(child_uses_all);
		check_parent();
		in_child(child_uses_all);
		check_parent();
		leave();
	}
}

static void
child_wakes(void)
{
	CHILD(dgram_loop_fork(sc.l, 0) == 0);
	CHILD(dgram_loop_wake(sc.l) == 0);
	dgram_loop_stop(sc.l);
	CHILD(dgram_loop_run(sc.l) == 1);
}

/* A wake-up in the child is not one of the parent's. */
BACKEND_TEST(fork, wake_is_its_own)
{
	struct pollfd p = { .events = POLLIN };

	enter(backend, DGRAM_UDP4);
	p.fd = sc.l->event[0];
	in_child(child_wakes);
	cr_assert_eq(poll(&p, 1, 0), 0);
	leave();
}

/* ---- what waits at the fork ---- */

static void
child_is_cancelled(void)
{
	int i;

	CHILD(dgram_loop_fork(sc.l, 0) == 0);
	CHILD(sc.p.n[EV_DONE] == 0);
	CHILD_UNTIL(sc.l, sc.p.n[EV_DONE] == 20);
	for (i = 0; i < 20; i++)
		CHILD(sc.p.done[i] == -ECANCELED);
	CHILD(stats_of(&sc.p).cancelled == 20);
	CHILD(stats_of(&sc.p).waiting == 0);
	/* What did not go there does not hold up what goes now. */
	fault_sends(&sc.f, 0);
	CHILD(send_done(&sc.p, 100, &sc.bare) == 0);
	CHILD_UNTIL(sc.l, sc.p.n[EV_DONE] == 21);
	CHILD(sc.p.done[20] == 4);
	CHILD(dgram_loop_free(sc.l) == 0);
}

/* No datagram twice: those that wait are the parent's. */
BACKEND_TEST(fork, queue)
{
	static const int why[] = { 0, -EAGAIN, -ENOBUFS };
	size_t k;
	int i;

	EACH_TYPE(type) {
		for (k = 0; k < COUNT(why); k++) {
			enter(backend, type);
			if (why[k] != 0)
				fault_sends(&sc.f, why[k]);
			for (i = 0; i < 20; i++)
				OK(send_done(&sc.p, (uint32_t)i, &sc.bare));
			if (why[k] != 0)
				turns(sc.l, 3);
			in_child(child_is_cancelled);
			cr_assert_eq(bare_recv(sc.fd), 100);
			cr_assert_eq(bare_recv(sc.fd), -1);
			fault_sends(&sc.f, 0);
			for (i = 0; i < 20; i++) {
				struct pollfd p = { sc.fd, POLLIN, 0 };

				RUN_UNTIL(sc.l, poll(&p, 1, 0) == 1);
				cr_assert_eq(bare_recv(sc.fd), i);
			}
			RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 20);
			cr_assert_eq(bare_recv(sc.fd), -1);
			cr_assert_eq(sc.p.done[19], 4);
			leave();
		}
	}
}

/* Sent before the fork and not told: told in both, as it was. */
static void
child_is_told(void)
{
	CHILD(dgram_loop_fork(sc.l, 0) == 0);
	CHILD_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	CHILD(sc.p.done[0] == 4);
}

BACKEND_TEST(fork, sent_is_sent)
{
	enter(backend, DGRAM_UDP4);
	OK(send_done(&sc.p, 1, &sc.bare));
	ACCEPT(dgram_flush(sc.p.s));
	in_child(child_is_told);
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	cr_assert_eq(bare_recv(sc.fd), 1);
	cr_assert_eq(bare_recv(sc.fd), -1);
	leave();
}

/* A socket that ends waits for its queue: in the child there is none left. */
static void
child_ends(void)
{
	CHILD(dgram_loop_fork(sc.l, 0) == 0);
	CHILD_UNTIL(sc.l, sc.p.s == NULL);
	CHILD(strcmp(sc.p.trace, "LdXf") == 0);
}

BACKEND_TEST(fork, ending)
{
	enter(backend, DGRAM_UDP4);
	fault_sends(&sc.f, -EAGAIN);
	OK(send_done(&sc.p, 1, &sc.bare));
	OK(dgram_end(sc.p.s, peer_close_fn, &sc.p));
	in_child(child_ends);
	fault_sends(&sc.f, 0);
	RUN_UNTIL(sc.l, sc.p.s == NULL);
	cr_assert_eq(bare_recv(sc.fd), 1);
	leave();
}

/* An operation by name is the parent's too. */
static struct dgi_op op;
static int op_status;

static void
op_cancel(struct dgi_op *o, int status)
{
	(void)o;
	op_status = status;
}

static void
child_binds_again(void)
{
	struct dgram_addr a = any_addr(DGRAM_UDP4);

	CHILD(dgram_loop_fork(sc.l, 0) == 0);
	CHILD(op_status == -ECANCELED);
	CHILD(dgram_bind_addr(sc.q.s, &a) == 0);
	CHILD_UNTIL(sc.l, sc.q.n[EV_LISTENING] == 1);
}

static void
child_connects_again(void)
{
	CHILD(dgram_loop_fork(sc.l, 0) == 0);
	CHILD(op_status == -ECANCELED);
	CHILD(dgram_connect_addr(sc.p.s, &sc.bare) == 0);
}

BACKEND_TEST(fork, bind_and_connect_under_way)
{
	struct dgram_addr a = any_addr(DGRAM_UDP4);

	enter(backend, DGRAM_UDP4);
	op.cancel = op_cancel;
	peer_open(&sc.q, sc.l, DGRAM_UDP4, NULL);
	OK(dgi_socket_begin_bind(sc.q.s, &op));
	in_child(child_binds_again);
	OK(dgi_socket_finish_bind(sc.q.s, &op, 0, &a));
	OK(dgi_socket_begin_connect(sc.p.s, &op));
	in_child(child_connects_again);
	OK(dgi_socket_finish_connect(sc.p.s, &op, 0, &sc.bare));
	cr_assert_eq(op_status, 0);
	leave();
}

static void
child_has_no_posts(void)
{
	CHILD(dgram_loop_fork(sc.l, 0) == 0);
	CHILD(dgram_loop_run_once(sc.l, 0) >= 0);
	CHILD(dgram_loop_run_once(sc.l, 0) >= 0);
	CHILD(sc.posts == 0);
}

BACKEND_TEST(fork, posts)
{
	enter(backend, DGRAM_UDP4);
	OK(dgram_loop_post(sc.l, on_post, NULL));
	OK(dgram_loop_post(sc.l, on_post, NULL));
	in_child(child_has_no_posts);
	RUN_UNTIL(sc.l, sc.posts == 2);
	leave();
}

/* ---- paths ---- */

static unsigned take;

static void
child_frees(void)
{
	CHILD(dgram_loop_fork(sc.l, take) == 0);
	CHILD(dgram_loop_free(sc.l) == 0);
}

BACKEND_TEST(fork, paths)
{
	const char *path;

	enter(backend, DGRAM_UNIX);
	path = sc.p.addr.u.un.sun_path;
	take = 0;
	in_child(child_frees);
	cr_assert_eq(access(path, F_OK), 0, "the child removed it");
	check_parent();
	take = DGRAM_FORK_TAKE_PATHS;
	in_child(child_frees);
	cr_assert_eq(access(path, F_OK), -1, "nobody removed it");
	leave();
}

/* ---- when it is called wrongly, or cannot be done ---- */

static void
child_has_no_descriptors(void)
{
	struct rlimit rl, none;
	int fds = test_count_fds(), last, i, r;
	size_t held, after;

	OK(dgram_loop_memory(sc.l, &held, NULL));
	CHILD(getrlimit(RLIMIT_NOFILE, &rl) == 0);
	last = dup(0);
	CHILD(last >= 0 && close(last) == 0);
	/*
	 * The first one that is to be made fails, then the second, ...  The
	 * number of a kqueue, which is not inherited, is free among others that
	 * are not.
	 */
	for (i = 0; i < 64; i++) {
		none = rl;
		none.rlim_cur = (rlim_t)(last + i);
		CHILD(setrlimit(RLIMIT_NOFILE, &none) == 0);
		r = dgram_loop_fork(sc.l, 0);
		CHILD(setrlimit(RLIMIT_NOFILE, &rl) == 0);
		if (r == 0)
			break;
		CHILD(r == -EMFILE);
		CHILD(test_count_fds() == fds);
		OK(dgram_loop_memory(sc.l, &after, NULL));
		CHILD(after == held);
	}
	CHILD(i > 0 && r == 0);
	bare_send(sc.fd, &sc.p.addr, 5);
	CHILD_UNTIL(sc.l, sc.p.got == 1);
}

BACKEND_TEST(fork, no_descriptors)
{
	enter(backend, DGRAM_UDP4);
	in_child(child_has_no_descriptors);
	check_parent();
	leave();
}

static void
child_has_no_memory(void)
{
	size_t k;

	for (k = 1; k < 100; k++) {
		sc.f.fail_alloc = sc.f.allocs + k;
		if (dgram_loop_fork(sc.l, 0) == 0)
			break;
	}
	sc.f.fail_alloc = 0;
	CHILD(k < 100);
	bare_send(sc.fd, &sc.p.addr, 5);
	CHILD_UNTIL(sc.l, sc.p.got == 1);
	CHILD(dgram_loop_free(sc.l) == 0);
	CHILD(sc.f.pieces == 0);
}

BACKEND_TEST(fork, no_memory)
{
	enter(backend, DGRAM_UDP4);
	in_child(child_has_no_memory);
	check_parent();
	leave();
}

BACKEND_TEST(fork, arguments)
{
	enter(backend, DGRAM_UDP4);
	CHECK(dgram_loop_fork(NULL, 0), -EINVAL);
	CHECK(dgram_loop_fork(sc.l, 0x80), -EINVAL);
	leave();
}

/* A watched descriptor that others closed is no reason to fail. */
static void
child_with_a_closed_watch(void)
{
	CHILD(close(sc.pipe[0]) == 0);
	CHILD(dgram_loop_fork(sc.l, 0) == 0);
	bare_send(sc.fd, &sc.p.addr, 5);
	CHILD_UNTIL(sc.l, sc.p.got == 1);
	dgram_watch_stop(&sc.watch);
}

BACKEND_TEST(fork, watched_and_closed)
{
	enter(backend, DGRAM_UDP4);
	in_child(child_with_a_closed_watch);
	check_parent();
	leave();
}

/* ---- inside of a callback ---- */

static void
fork_in_callback(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	int status = 0;
	pid_t pid;

	(void)m, (void)n;
	if (e != EV_MESSAGE || p->arg == NULL)
		return;
	p->arg = NULL;
	pid = test_fork();
	MUST(pid >= 0, "fork");
	if (pid > 0) {
		MUST(waitpid(pid, &status, 0) == pid && status == 0,
		    "the child failed: %#x", (unsigned)status);
		return;
	}
	CHILD(dgram_loop_fork(p->loop, 0) == 0);
	p->arg = &sc;
	p->hook = NULL;
}

/* The turn that forked goes on in the child, with what is its own. */
BACKEND_TEST(fork, in_a_callback)
{
	pid_t parent = getpid();

	enter(backend, DGRAM_UDP4);
	sc.p.hook = fork_in_callback;
	sc.p.arg = &sc;
	OK(dgram_loop_post(sc.l, on_post, NULL));
	bare_send(sc.fd, &sc.p.addr, 1);
	turn_wait(sc.l, 0);
	while (sc.p.got == 0)
		turn_wait(sc.l, 20);
	if (getpid() != parent) {
		bare_send(sc.fd, &sc.p.addr, 2);
		CHILD_UNTIL(sc.l, sc.p.got == 2);
		CHILD(dgram_loop_free(sc.l) == 0);
		_exit(0);
	}
	cr_assert_eq(sc.posts, 1);
	check_parent();
	leave();
}

static void
fork_in_post(void *arg)
{
	int status = 0;
	pid_t pid = test_fork();

	(void)arg;
	MUST(pid >= 0, "fork");
	sc.posts++;
	if (pid > 0) {
		MUST(waitpid(pid, &status, 0) == pid && status == 0,
		    "the child failed: %#x", (unsigned)status);
		return;
	}
	CHILD(dgram_loop_fork(sc.l, 0) == 0);
}

/* Those behind the post that forked are the parent's alone. */
BACKEND_TEST(fork, in_a_post)
{
	pid_t parent = getpid();

	enter(backend, DGRAM_UDP4);
	OK(dgram_loop_post(sc.l, fork_in_post, NULL));
	OK(dgram_loop_post(sc.l, on_post, NULL));
	OK(dgram_loop_post(sc.l, on_post, NULL));
	turns(sc.l, 3);
	if (getpid() != parent) {
		CHILD(sc.posts == 1);
		_exit(0);
	}
	cr_assert_eq(sc.posts, 3);
	leave();
}
