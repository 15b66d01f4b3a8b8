/* SPDX-License-Identifier: ISC */

/*
 * Rules 1 to 6 of the design, from outside, in one place: one completion; no
 * callback inside a call; anything may be closed in any callback; errors are
 * values; zero-length datagrams are data; names say who owns.
 */

#include "sockets.h"

/* ---- rule 1: one completion ---- */

/* A socket whose sends wait, and one datagram of each kind that waits. */
struct waiting {
	struct fault_os f;
	struct dgram_loop *l;
	struct peer p;
	struct dgram_addr to;
	int fd;
	struct dgram_datagram d[3];
	struct iovec iov;
};

static void
setup_waiting(struct waiting *w, const char *backend, int type)
{
	size_t i;

	memset(w, 0, sizeof(*w));
	fault_init(&w->f);
	w->l = fault_loop(&w->f, backend, NULL);
	peer_open_bound(&w->p, w->l, type, NULL);
	turns(w->l, 2);
	w->fd = bare_socket(type, &w->to);
	fault_sends(&w->f, -EAGAIN);
	w->iov.iov_base = number(7);
	w->iov.iov_len = sizeof(uint32_t);
	for (i = 0; i < COUNT(w->d); i++) {
		w->d[i].iov = &w->iov;
		w->d[i].iovcnt = 1;
		w->d[i].to = &w->to;
		w->d[i].result = 99;
	}
}

static void
send_both(struct waiting *w)
{
	OK(send_done(&w->p, 1, &w->to));
	OK(dgram_send_batch(w->p.s, w->d, COUNT(w->d), peer_done,
	    &w->p));
	turns(w->l, 3);
	cr_assert_eq(w->p.n[EV_DONE], 0);
}

/* Each of both had its one completion, and nothing else happened. */
static void
check_both(const struct waiting *w, int status, int of_batch, int result)
{
	size_t i;

	cr_assert_eq(w->p.n[EV_DONE], 2, "%d completions", w->p.n[EV_DONE]);
	cr_assert_eq(w->p.done[0], status, "%d", w->p.done[0]);
	cr_assert_eq(w->p.done[1], of_batch, "%d", w->p.done[1]);
	for (i = 0; i < COUNT(w->d); i++)
		cr_assert_eq(w->d[i].result, result);
	cr_assert_eq(w->p.n[EV_ERROR], 0);
}

/* A completion that is forgotten, or called twice, after success. */
BACKEND_TEST(rules, completion_when_sent)
{
	static struct waiting w;

	EACH_TYPE(type) {
		setup_waiting(&w, backend, type);
		send_both(&w);
		fault_sends(&w.f, 0);
		RUN_UNTIL(w.l, w.p.n[EV_DONE] >= 2);
		turns(w.l, 5);
		check_both(&w, 4, 3, 4);
		free_fault_loop(w.l, &w.f);
		check_both(&w, 4, 3, 4);
		close(w.fd);
	}
}

/* ... after an error of the kernel; and that `error` repeats it. */
BACKEND_TEST(rules, completion_when_failed)
{
	static struct waiting w;

	EACH_TYPE(type) {
		setup_waiting(&w, backend, type);
		send_both(&w);
		fault_sends(&w.f, -EPERM);
		RUN_UNTIL(w.l, w.p.n[EV_DONE] >= 2);
		turns(w.l, 5);
		check_both(&w, -EPERM, 0, -EPERM);
		free_fault_loop(w.l, &w.f);
		check_both(&w, -EPERM, 0, -EPERM);
		close(w.fd);
	}
}

/* ... when close cuts it off: before `close`, not after and not never. */
BACKEND_TEST(rules, completion_when_closed)
{
	static struct waiting w;

	EACH_TYPE(type) {
		setup_waiting(&w, backend, type);
		send_both(&w);
		OK(dgram_close(w.p.s, peer_close_fn, &w.p));
		RUN_UNTIL(w.l, w.p.n[EV_CLOSE_FN] > 0);
		turns(w.l, 3);
		check_both(&w, -ECANCELED, 0, -ECANCELED);
		cr_assert(strcmp(w.p.trace, "LddXf") == 0, "%s", w.p.trace);
		free_fault_loop(w.l, &w.f);
		close(w.fd);
	}
}

/* ... when the loop is freed. */
BACKEND_TEST(rules, completion_when_loop_is_freed)
{
	static struct waiting w;

	EACH_TYPE(type) {
		setup_waiting(&w, backend, type);
		send_both(&w);
		free_fault_loop(w.l, &w.f);
		check_both(&w, -ECANCELED, 0, -ECANCELED);
		cr_assert(strcmp(w.p.trace, "LddX") == 0, "%s", w.p.trace);
		close(w.fd);
	}
}

/* ... when its deadline has passed. */
BACKEND_TEST(rules, completion_when_late)
{
	static struct waiting w;
	size_t i;

	EACH_TYPE(type) {
		setup_waiting(&w, backend, type);
		for (i = 0; i < COUNT(w.d); i++)
			w.d[i].deadline_ns = dgram_loop_now(w.l) + 5 * MS;
		OK(dgram_send_batch(w.p.s, w.d, COUNT(w.d), peer_done,
		    &w.p));
		RUN_UNTIL(w.l, w.p.n[EV_DONE] > 0);
		turns(w.l, 3);
		cr_assert_eq(w.p.n[EV_DONE], 1);
		cr_assert_eq(w.p.done[0], 0);
		for (i = 0; i < COUNT(w.d); i++)
			cr_assert_eq(w.d[i].result, -ETIMEDOUT);
		free_fault_loop(w.l, &w.f);
		cr_assert_eq(w.p.n[EV_DONE], 1);
		close(w.fd);
	}
}

/* ... when the peer that it was for is given up. */
BACKEND_TEST(rules, completion_when_disconnected)
{
	static struct waiting w;
	size_t i;

	EACH_TYPE(type) {
		setup_waiting(&w, backend, type);
		OK(dgram_connect_addr(w.p.s, &w.to));
		OK(send_done(&w.p, 1, NULL));
		for (i = 0; i < COUNT(w.d); i++)
			w.d[i].to = NULL;
		OK(dgram_send_batch(w.p.s, w.d, COUNT(w.d), peer_done,
		    &w.p));
		turns(w.l, 3);
		cr_assert_eq(w.p.n[EV_DONE], 0);
		OK(dgram_disconnect(w.p.s));
		cr_assert_eq(dgram_get_send_queue_count(w.p.s), 0);
		RUN_UNTIL(w.l, w.p.n[EV_DONE] >= 2);
		turns(w.l, 3);
		check_both(&w, -ENOTCONN, 0, -ENOTCONN);
		free_fault_loop(w.l, &w.f);
		check_both(&w, -ENOTCONN, 0, -ENOTCONN);
		close(w.fd);
	}
}

struct fake {
	struct dgi_op op;
	int cancelled, status;
};

static void
fake_cancel(struct dgi_op *op, int status)
{
	struct fake *f = DGI_CONTAINER(op, struct fake, op);

	f->cancelled++;
	f->status = status;
}

/* ... when the bind that it waits for fails: with the error of the bind. */
BACKEND_TEST(rules, completion_when_the_bind_fails)
{
	static struct waiting w;
	struct fake fake;

	EACH_TYPE(type) {
		memset(&fake, 0, sizeof(fake));
		fake.op.cancel = fake_cancel;
		setup_waiting(&w, backend, type);
		OK(dgram_close(w.p.s, NULL, NULL));
		turns(w.l, 2);
		peer_open(&w.p, w.l, (enum dgram_type)type, NULL);
		OK(dgi_socket_begin_bind(w.p.s, &fake.op));
		send_both(&w);
		CHECK(dgi_socket_finish_bind(w.p.s, &fake.op, -EADDRINUSE,
		    NULL), -EADDRINUSE);
		RUN_UNTIL(w.l, w.p.n[EV_DONE] >= 2);
		turns(w.l, 3);
		check_both(&w, -EADDRINUSE, 0, -EADDRINUSE);
		cr_assert_eq(fake.cancelled, 0);
		free_fault_loop(w.l, &w.f);
		check_both(&w, -EADDRINUSE, 0, -EADDRINUSE);
		close(w.fd);
	}
}

/* A completion of a call that was refused. */
BACKEND_TEST(rules, no_completion_when_refused)
{
	static struct waiting w;
	struct dgram_addr other;
	struct iovec huge = { number(1), SIZE_MAX };

	setup_waiting(&w, backend, DGRAM_UDP4);
	fault_sends(&w.f, 0);
	OK(dgram_addr_parse(&other, "::1", 9));
	CHECK(send_done(&w.p, 1, &other), -EINVAL);
	CHECK(send_done(&w.p, 1, NULL), NOT_CONNECTED);
	CHECK(dgram_send_addr(w.p.s, &huge, 1, &w.to, peer_done, &w.p),
	    -EMSGSIZE);
	w.d[2].to = &other;
	CHECK(dgram_send_batch(w.p.s, w.d, 3, peer_done, &w.p), -EINVAL);
	OK(dgram_close(w.p.s, NULL, NULL));
	CHECK(send_done(&w.p, 1, &w.to), NOT_RUNNING);
	CHECK(dgram_send_batch(w.p.s, w.d, 2, peer_done, &w.p), NOT_RUNNING);
	turns(w.l, 3);
	cr_assert_eq(w.p.n[EV_DONE], 0);
	free_fault_loop(w.l, &w.f);
	cr_assert_eq(w.p.n[EV_DONE], 0);
	close(w.fd);
}

/* A failure that is swallowed for want of a completion, or told twice. */
BACKEND_TEST(rules, failure_without_completion_is_an_error)
{
	static struct waiting w;

	EACH_TYPE(type) {
		setup_waiting(&w, backend, type);
		fault_sends(&w.f, -EPERM);
		OK(send_copy(&w.p, 1, &w.to));
		ACCEPT(dgram_send_batch(w.p.s, w.d, 2, NULL, NULL));
		RUN_UNTIL(w.l, w.p.n[EV_ERROR] >= 3);
		turns(w.l, 3);
		cr_assert_eq(w.p.n[EV_ERROR], 3);
		cr_assert_eq(w.p.status[0], -EPERM);
		cr_assert_eq(w.p.kind[0], DGRAM_IN_SEND);
		cr_assert(dgram_addr_equal(&w.p.error_addr, &w.to));
		free_fault_loop(w.l, &w.f);
		cr_assert_eq(w.p.n[EV_ERROR], 3);
		close(w.fd);
	}
}

/* ---- rule 2: no callback from inside the call that caused it ---- */

/*
 * Every call while something is pending that it could call back for.  CALL()
 * fails on a callback; the counts at the end show that there was one to make.
 */
BACKEND_TEST(rules, no_callback_inside_a_call)
{
	static struct peer p, q, r;
	struct fault_os f;
	struct dgram_options o = { .send_queue_count = 4 };
	struct dgram_addr to, dead = dead_addr(DGRAM_UDP4);
	struct dgram_datagram d = { 0 };
	struct iovec iov = { number(3), 4 };
	struct dgram_loop *l;
	struct dgram_stats st = { .size = sizeof(st) };
	int fd, i, adopted;

	fault_init(&f);
	l = fault_loop(&f, backend, NULL);
	fd = bare_socket(DGRAM_UDP4, &to);
	d.iov = &iov;
	d.iovcnt = 1;
	d.to = &to;

	peer_open(&p, l, DGRAM_UDP4, &o);
	peer_bind(&p);				/* owes listening */
	bare_send(fd, &p.addr, 1);		/* a message is there */
	OK(dgram_pause(p.s));
	OK(dgram_resume(p.s));
	OK(dgram_ref(p.s));
	OK(dgram_set_events(p.s, &peer_events, &p));
	OK(dgram_get_stats(p.s, &st));
	CHECK(dgram_try_send(p.s, &d, 1), 1);
	for (i = 0; i < 4; i++)
		OK(send_done(&p, 1, &to));
	CHECK(send_done(&p, 1, &to), -ENOBUFS);	/* a drain, later */
	OK(dgram_flush(p.s));		/* 4 completions and a drain */
	cr_assert_eq(strlen(p.trace), 0, "%s", p.trace);
	fault_sends(&f, -EPERM);
	OK(send_copy(&p, 1, &to));
	OK(dgram_flush(p.s));		/* an error */
	OK(send_done(&p, 1, &to));
	OK(dgram_flush(p.s));		/* a failed completion */
	fault_sends(&f, 0);
	OK(dgram_send_batch(p.s, &d, 0, peer_done, &p));
	OK(dgram_connect_addr(p.s, &to));	/* owes connect */
	cr_assert_eq(strlen(p.trace), 0, "%s", p.trace);
	turns(l, 3);
	cr_assert_eq(p.n[EV_LISTENING], 1);
	cr_assert_eq(p.n[EV_CONNECT], 1);
	cr_assert_eq(p.n[EV_DRAIN], 1);
	cr_assert_eq(p.n[EV_ERROR], 1);
	cr_assert_eq(p.n[EV_DONE], 6);
	cr_assert_eq(p.n[EV_MESSAGE], 1);

	/* The full batch is sent inside of send. */
	o.send_queue_count = 0;
	peer_open(&q, l, DGRAM_UDP4, &o);
	for (i = 0; i < 40; i++)
		OK(send_done(&q, 1, &to));
	cr_assert(fault_count_sends(&f) > 0);
	OK(dgram_connect_addr(q.s, &dead));
	OK(send_copy(&q, 1, NULL));
	OK(dgram_flush(q.s));
	OK(send_copy(&q, 1, NULL));
	OK(dgram_flush(q.s));		/* ECONNREFUSED and a retry */
	d.to = NULL;
	CHECK(dgram_try_send(q.s, &d, 1), 1);
	OK(dgram_disconnect(q.s));
	OK(dgram_end(q.s, peer_close_fn, &q));
	CHECK(dgram_close(q.s, NULL, NULL), NOT_RUNNING);
	cr_assert_eq(strlen(q.trace), 0, "%s", q.trace);

	adopted = bare_socket(DGRAM_UDP4, &to);
	peer_open(&r, l, DGRAM_UDP4, NULL);
	OK(dgram_bind_fd(r.s, adopted));
	turns(l, 3);
	cr_assert_eq(q.n[EV_DONE], 40);
	cr_assert_eq(q.n[EV_CLOSE_FN], 1);
	cr_assert_eq(r.n[EV_LISTENING], 1);
	OK(send_done(&r, 2, &to));
	OK(dgram_close(r.s, peer_close_fn, &r));
	OK(dgram_close(p.s, peer_close_fn, &p));
	cr_assert_eq(r.n[EV_CLOSE], 0);
	turns(l, 3);
	cr_assert_eq(r.n[EV_CLOSE_FN], 1);
	cr_assert_eq(r.n[EV_DONE], 1);
	free_fault_loop(l, &f);
	close(fd);
}

/* ---- rule 3: anything may be closed in any callback ---- */

/*
 * A socket for which everything is about to happen: trace without any
 * interference is L, C, D, two d, M and E in some order.
 */
struct busy {
	struct fault_os f;
	struct dgram_loop *l;
	struct peer p;
	int fd;
	enum event in;
	int (*act)(struct peer *);
	bool acted;
	size_t before;			/* length of the trace then */
	int result;
};

static struct busy busy;

static void
busy_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (busy.acted || e != busy.in)
		return;
	busy.acted = true;
	busy.before = strlen(p->trace);
	busy.result = busy.act(p);
}

static void
start_busy(const char *backend, enum event in, int (*act)(struct peer *))
{
	struct dgram_options o = { .send_queue_count = 2 };
	struct dgram_addr to;
	int i;

	memset(&busy, 0, sizeof(busy));
	busy.in = in;
	busy.act = act;
	fault_init(&busy.f);
	busy.l = fault_loop(&busy.f, backend, NULL);
	busy.fd = bare_socket(DGRAM_UDP4, &to);
	peer_open_bound(&busy.p, busy.l, DGRAM_UDP4, &o);
	busy.p.hook = busy_hook;
	OK(dgram_connect_addr(busy.p.s, &to));
	OK(send_done(&busy.p, 1, NULL));
	OK(send_done(&busy.p, 2, NULL));
	CHECK(send_done(&busy.p, 3, NULL), -ENOBUFS);
	for (i = 0; i < 5; i++)
		bare_send(busy.fd, &busy.p.addr, 1);
	fault_at(&busy.f, FAULT_RECVFROM, 2, -EIO);
	/* The second read is of one datagram, too. */
	fault_always(&busy.f, FAULT_RECVMMSG, -ENOSYS);
	fault_at(&busy.f, FAULT_RECVMSG, 1, -EIO);
}

static void
end_busy(void)
{
	free_fault_loop(busy.l, &busy.f);
	close(busy.fd);
}

static const enum event before_close[] = { EV_LISTENING, EV_MESSAGE,
	EV_CONNECT, EV_ERROR, EV_DRAIN, EV_DONE };

static int
act_nothing(struct peer *p)
{
	(void)p;
	return 0;
}

static int
act_close(struct peer *p)
{
	return CALL(dgram_close(p->s, peer_close_fn, p));
}

static int
act_end(struct peer *p)
{
	return CALL(dgram_end(p->s, peer_close_fn, p));
}

static int
act_pause(struct peer *p)
{
	return CALL(dgram_pause(p->s));
}

static int
act_silence(struct peer *p)
{
	return CALL(dgram_set_events(p->s, NULL, p));
}

static int
act_free(struct peer *p)
{
	return CALL(dgram_loop_free(p->loop));
}

static int
act_stop(struct peer *p)
{
	dgram_loop_stop(p->loop);
	return 0;
}

/* That the busy socket is one: the tests below would prove nothing else. */
BACKEND_TEST(rules, busy_socket)
{
	size_t i;

	start_busy(backend, EV_CLOSE, act_nothing);
	RUN_UNTIL(busy.l, busy.p.n[EV_ERROR] > 0 && busy.p.n[EV_DONE] > 1 &&
	    busy.p.got == 5);
	for (i = 0; i < COUNT(before_close); i++)
		cr_assert(busy.p.n[before_close[i]] > 0, "%s",
		    busy.p.trace);
	end_busy();
}

/* Any event after the close, but completions; `close` forgotten or early. */
BACKEND_TEST(rules, close_in_every_callback)
{
	const char *after;
	size_t i;
	int k;

	for (i = 0; i < COUNT(before_close) * 2; i++) {
		start_busy(backend, before_close[i / 2],
		    i % 2 == 0 ? act_close : act_end);
		RUN_UNTIL(busy.l, busy.p.n[EV_CLOSE_FN] > 0 ||
		    (busy.acted && i % 2 == 1 && busy.p.n[EV_CLOSE] > 0));
		turns(busy.l, 5);
		cr_assert_eq(busy.result, 0);
		cr_assert_eq(busy.p.n[EV_DONE], 2, "%s", busy.p.trace);
		cr_assert_eq(busy.p.n[EV_CLOSE], 1);
		after = busy.p.trace + busy.before;
		for (k = 0; after[k] == 'd'; k++)
			;
		cr_assert(strcmp(after + k, "Xf") == 0, "%s, in %c",
		    busy.p.trace, EVENT_LETTERS[before_close[i / 2]]);
		end_busy();
	}
}

/* Messages after a pause. */
BACKEND_TEST(rules, pause_in_every_callback)
{
	size_t i;

	for (i = 0; i < COUNT(before_close); i++) {
		start_busy(backend, before_close[i], act_pause);
		RUN_UNTIL(busy.l, busy.acted);
		turns(busy.l, 10);
		cr_assert(strchr(busy.p.trace + busy.before, 'M') == NULL,
		    "%s", busy.p.trace);
		/* And they are still there. */
		OK(dgram_resume(busy.p.s));
		RUN_UNTIL(busy.l, busy.p.got == 5);
		end_busy();
	}
}

/* Events from a table that was replaced. */
BACKEND_TEST(rules, no_events_in_every_callback)
{
	size_t i, k;

	for (i = 0; i < COUNT(before_close); i++) {
		start_busy(backend, before_close[i], act_silence);
		RUN_UNTIL(busy.l, busy.acted && busy.p.n[EV_DONE] == 2);
		turns(busy.l, 10);
		for (k = busy.before; busy.p.trace[k] != '\0'; k++)
			cr_assert_eq(busy.p.trace[k], 'd', "%s",
			    busy.p.trace);
		end_busy();
	}
}

/* A loop that is freed under a callback. */
BACKEND_TEST(rules, free_in_every_callback)
{
	size_t i;

	for (i = 0; i < COUNT(before_close); i++) {
		start_busy(backend, before_close[i], act_free);
		RUN_UNTIL(busy.l, busy.acted);
		cr_assert_eq(busy.result, -EBUSY);
		RUN_UNTIL(busy.l, busy.p.got == 5);
		end_busy();
	}
}

/* A stop that waits for something. */
BACKEND_TEST(rules, stop_in_every_callback)
{
	size_t i;

	for (i = 0; i < COUNT(before_close); i++) {
		start_busy(backend, before_close[i], act_stop);
		cr_assert_eq(dgram_loop_run(busy.l), 1);
		cr_assert(busy.acted);
		end_busy();
	}
}

/* In `close` itself, and in the function behind it, it is closed. */
static void
closed_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	struct dgram_stats st = { .size = sizeof(st) };

	(void)m, (void)n;
	if (e != EV_CLOSE && e != EV_CLOSE_FN)
		return;
	if (e == EV_CLOSE_FN) {
		/* Not freed before the function has returned. */
		p->s = p->arg;
	}
	CHECK(dgram_close(p->s, peer_close_fn, p), NOT_RUNNING);
	CHECK(dgram_end(p->s, peer_close_fn, p), NOT_RUNNING);
	CHECK(dgram_pause(p->s), NOT_RUNNING);
	CHECK(send_copy(p, 1, &p->addr), NOT_RUNNING);
	OK(dgram_get_stats(p->s, &st));
	cr_assert_eq(st.sent, 1);
}

BACKEND_TEST(rules, close_in_close)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);

	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	p.hook = closed_hook;
	p.arg = p.s;
	OK(send_copy(&p, 1, &p.addr));
	OK(dgram_close(p.s, peer_close_fn, &p));
	turns(l, 5);
	cr_assert(strcmp(p.trace, "Xf") == 0, "%s", p.trace);
	free_loop(l);
}

static void
close_in_done(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_DONE && p->n[EV_DONE] == 1)
		OK(dgram_close(p->s, peer_close_fn, p));
}

/* Closed by a completion, while others wait: those come first all the same. */
BACKEND_TEST(rules, close_in_a_completion)
{
	static struct waiting w;
	int i;

	EACH_TYPE(type) {
		setup_waiting(&w, backend, type);
		w.p.hook = close_in_done;
		/* The first goes, the others are not taken. */
		fault_sends(&w.f, 0);
		OK(send_done(&w.p, 1, &w.to));
		OK(dgram_flush(w.p.s));
		fault_sends(&w.f, -EAGAIN);
		for (i = 2; i <= 4; i++)
			OK(send_done(&w.p, (uint32_t)i, &w.to));
		OK(dgram_send_batch(w.p.s, w.d, 3, peer_done, &w.p));
		CHECK(dgram_flush(w.p.s), 6);
		RUN_UNTIL(w.l, w.p.n[EV_CLOSE_FN] == 1);
		cr_assert(strcmp(w.p.trace, "LdddddXf") == 0, "%s", w.p.trace);
		cr_assert_eq(w.p.done[0], 4);
		for (i = 1; i < 4; i++)
			cr_assert_eq(w.p.done[i], -ECANCELED);
		cr_assert_eq(w.p.done[4], 0);
		free_fault_loop(w.l, &w.f);
		close(w.fd);
	}
}

/* A second close that registers its function all the same, as in Node. */
BACKEND_TEST(rules, second_close)
{
	static struct peer p, fn;
	struct dgram_loop *l = test_loop(backend);

	memset(&fn, 0, sizeof(fn));
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_close(p.s, peer_close_fn, &p));
	CHECK(dgram_close(p.s, peer_close_fn, &fn), NOT_RUNNING);
	CHECK(dgram_end(p.s, peer_close_fn, &fn), NOT_RUNNING);
	turns(l, 5);
	cr_assert_eq(p.n[EV_CLOSE], 1);
	cr_assert_eq(p.n[EV_CLOSE_FN], 1);
	cr_assert_eq(fn.n[EV_CLOSE_FN], 0);
	free_loop(l);
	cr_assert_eq(fn.n[EV_CLOSE_FN], 0);
}

/* ---- of others that are ready in the same wait ---- */

#define CROWD 6

static struct peer crowd[CROWD];
static bool first_only;

static void
close_others(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	(void)m, (void)n;
	if (e != EV_MESSAGE || !first_only)
		return;
	first_only = false;
	for (i = 0; i < CROWD; i++) {
		if (&crowd[i] != p)
			OK(dgram_close(crowd[i].s, NULL, NULL));
	}
}

static void
pause_others(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	(void)m, (void)n;
	if (e != EV_MESSAGE || !first_only)
		return;
	first_only = false;
	for (i = 0; i < CROWD; i++) {
		if (&crowd[i] != p)
			OK(dgram_pause(crowd[i].s));
	}
}

static size_t
crowd_got(void)
{
	size_t i, sum = 0;

	for (i = 0; i < CROWD; i++)
		sum += crowd[i].got;
	return sum;
}

static struct dgram_loop *
start_crowd(const char *backend, void (*hook)(struct peer *, enum event,
    const struct dgram_message *, size_t))
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a;
	size_t i;
	int fd;

	fd = bare_socket(DGRAM_UDP4, &a);
	for (i = 0; i < CROWD; i++) {
		peer_open_bound(&crowd[i], l, DGRAM_UDP4, NULL);
		crowd[i].hook = hook;
	}
	turns(l, 2);
	for (i = 0; i < CROWD; i++)
		bare_send(fd, &crowd[i].addr, 1);
	close(fd);
	first_only = true;
	return l;
}

/* A report of the same wait that reaches a socket that was closed in it. */
BACKEND_TEST(rules, close_others_that_are_ready)
{
	struct dgram_loop *l = start_crowd(backend, close_others);

	RUN_UNTIL(l, crowd_got() > 0);
	turns(l, 5);
	cr_assert_eq(crowd_got(), 1);
	free_loop(l);
}

/* ... and that was paused in it; its datagram waits. */
BACKEND_TEST(rules, pause_others_that_are_ready)
{
	struct dgram_loop *l = start_crowd(backend, pause_others);
	size_t i;

	RUN_UNTIL(l, crowd_got() > 0);
	turns(l, 5);
	cr_assert_eq(crowd_got(), 1);
	for (i = 0; i < CROWD; i++)
		OK(dgram_resume(crowd[i].s));
	RUN_UNTIL(l, crowd_got() == CROWD);
	free_loop(l);
}

static struct dgram_timer *timer;
static struct dgram_watch *watches[2];
static int fired;

static void
on_timer_close(struct dgram_timer *t, void *arg)
{
	(void)t, (void)arg;
	fired++;
	OK(dgram_close(crowd[0].s, peer_close_fn, &crowd[0]));
}

/* A timer that closes a socket to which much is owed. */
BACKEND_TEST(rules, close_in_a_timer)
{
	struct dgram_loop *l = start_crowd(backend, NULL);
	struct dgram_timer t;

	fired = 0;
	OK(send_done(&crowd[0], 1, &crowd[1].addr));
	dgram_timer_init(&t, l, on_timer_close, NULL);
	OK(dgram_timer_start(&t, 0, 0));
	RUN_UNTIL(l, crowd[0].n[EV_CLOSE_FN] > 0);
	cr_assert_eq(fired, 1);
	cr_assert(strcmp(crowd[0].trace, "LdXf") == 0, "%s",
	    crowd[0].trace);
	free_loop(l);
}

static void
on_post_close(void *arg)
{
	OK(dgram_close(crowd[0].s, peer_close_fn, arg));
}

BACKEND_TEST(rules, close_in_a_post)
{
	struct dgram_loop *l = start_crowd(backend, NULL);

	OK(dgram_pause(crowd[0].s));
	OK(send_done(&crowd[0], 1, &crowd[1].addr));
	OK(dgram_loop_post(l, on_post_close, &crowd[0]));
	RUN_UNTIL(l, crowd[0].n[EV_CLOSE_FN] > 0);
	cr_assert(strcmp(crowd[0].trace, "LdXf") == 0, "%s",
	    crowd[0].trace);
	free_loop(l);
}

static void
stop_and_free(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	(void)p, (void)m, (void)n;
	if (e != EV_MESSAGE || timer == NULL)
		return;
	for (i = 0; i < COUNT(watches); i++) {
		dgram_watch_stop(watches[i]);
		free(watches[i]);
	}
	dgram_timer_stop(timer);
	free(timer);
	timer = NULL;
}

static void
on_watch(struct dgram_watch *w, unsigned events, void *arg)
{
	struct peer *p = arg;
	size_t i;

	(void)w, (void)events;
	fired++;
	if (p == NULL || p->s == NULL)
		return;
	for (i = 0; i < CROWD; i++)
		OK(dgram_close(crowd[i].s, NULL, NULL));
	p->s = NULL;
}

/* Watches and timers that are freed while their reports wait (ASan). */
BACKEND_TEST(rules, free_watches_that_are_ready)
{
	struct dgram_loop *l;
	struct dgram_addr a;
	int fd[2], i;

	for (i = 0; i < 2; i++) {
		fd[i] = bare_socket(DGRAM_UDP4, &a);
		bare_send(fd[i], &a, 1);
	}
	l = start_crowd(backend, stop_and_free);
	fired = 0;
	for (i = 0; i < 2; i++) {
		watches[i] = malloc(sizeof(*watches[i]));
		dgram_watch_init(watches[i], l, fd[i], on_watch, NULL);
		OK(dgram_watch_start(watches[i], DGRAM_READABLE));
	}
	timer = malloc(sizeof(*timer));
	dgram_timer_init(timer, l, on_timer_close, NULL);
	OK(dgram_timer_start(timer, 10000 * MS, 0));
	RUN_UNTIL(l, crowd_got() == CROWD);
	i = fired;
	turns(l, 3);
	cr_assert_eq(fired, i, "a watch was called after its stop");
	free_loop(l);
	close(fd[0]);
	close(fd[1]);
}

static struct dgram_watch reused[2];

static void
on_reused(struct dgram_watch *w, unsigned events, void *arg)
{
	(void)w, (void)events, (void)arg;
	cr_assert(false, "the report of another watch");
}

static void
reuse_slots(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	(void)m, (void)n;
	if (e != EV_MESSAGE || timer != NULL)
		return;
	timer = (struct dgram_timer *)p->arg;
	for (i = 0; i < COUNT(watches); i++)
		dgram_watch_stop(watches[i]);
	for (i = 0; i < COUNT(reused); i++)
		OK(dgram_watch_start(&reused[i], DGRAM_READABLE));
}

/* Reports for watches that are gone, given to those that have their place. */
BACKEND_TEST(rules, stale_reports)
{
	struct dgram_watch w[2];
	struct dgram_loop *l;
	struct dgram_addr a;
	int ready[2], quiet[2], i;

	timer = NULL;
	l = start_crowd(backend, reuse_slots);
	for (i = 0; i < CROWD; i++)
		crowd[i].arg = &crowd[0];
	for (i = 0; i < 2; i++) {
		ready[i] = bare_socket(DGRAM_UDP4, &a);
		bare_send(ready[i], &a, 1);
		quiet[i] = bare_socket(DGRAM_UDP4, &a);
		dgram_watch_init(&reused[i], l, quiet[i], on_reused, NULL);
		dgram_watch_init(&w[i], l, ready[i], on_watch, NULL);
		watches[i] = &w[i];
		OK(dgram_watch_start(&w[i], DGRAM_READABLE));
	}
	RUN_UNTIL(l, crowd_got() == CROWD);
	turns(l, 3);
	for (i = 0; i < 2; i++) {
		dgram_watch_stop(&reused[i]);
		close(ready[i]);
		close(quiet[i]);
	}
	timer = NULL;
	free_loop(l);
}

/* A watch that closes sockets whose reports wait. */
BACKEND_TEST(rules, close_in_a_watch)
{
	struct dgram_loop *l;
	struct dgram_watch w;
	struct dgram_addr a;
	size_t got;
	int fd;

	fd = bare_socket(DGRAM_UDP4, &a);
	bare_send(fd, &a, 1);
	l = start_crowd(backend, NULL);
	fired = 0;
	dgram_watch_init(&w, l, fd, on_watch, &crowd[0]);
	OK(dgram_watch_start(&w, DGRAM_READABLE));
	RUN_UNTIL(l, fired > 0);
	got = crowd_got();
	turns(l, 3);
	cr_assert_eq(crowd_got(), got);
	dgram_watch_stop(&w);
	free_loop(l);
	close(fd);
}

/* ---- send; close ---- */

/* What was accepted and thrown away by the close behind it. */
BACKEND_TEST(rules, send_and_close_sends)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr to;
	int fd, way;

	EACH_TYPE(type) {
		for (way = 0; way < 5; way++) {
			fd = bare_socket(type, &to);
			peer_open(&p, l, (enum dgram_type)type, NULL);
			if (way == 1)
				peer_bind(&p);
			if (way == 2)
				OK(dgram_connect_addr(p.s, &to));
			OK(send_done(&p, 5, way == 2 ? NULL : &to));
			OK(send_copy(&p, 6, way == 2 ? NULL : &to));
			if (way == 3)
				OK(dgram_end(p.s, peer_close_fn, &p));
			else if (way < 3)
				OK(dgram_close(p.s, peer_close_fn, &p));
			else
				free_loop(l);
			/* On the wire when the call is over. */
			cr_assert_eq(bare_recv(fd), 5);
			cr_assert_eq(bare_recv(fd), 6);
			if (way < 4)
				turns(l, 3);
			else
				l = test_loop(backend);
			cr_assert_eq(p.n[EV_DONE], 1);
			cr_assert_eq(p.done[0], 4);
			cr_assert(strcmp(p.trace, way < 4 ? "dXf" : "dX") == 0,
			    "%s", p.trace);
			cr_assert_eq(bare_recv(fd), -1);
			close(fd);
		}
	}
	free_loop(l);
}

/* ---- the memory of a message ---- */

static char *expected;
static size_t expected_size;

static void
close_and_look(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	struct dgram_options o = { .max_datagram = (size_t)1 << 20,
	    .type = DGRAM_UDP4, .events = &peer_events, .arg = p };
	struct dgram_addr from;
	struct dgram_socket *s;

	if (e != EV_MESSAGE)
		return;
	cr_assert_eq(n, 1);
	from = *m->remote;
	OK(dgram_close(p->s, NULL, NULL));
	/* A larger arena is made, too. */
	OK(dgram_open(p->loop, &o, &s));
	OK(dgram_bind_addr(s, p->arg));
	OK(dgram_close(s, NULL, NULL));
	cr_assert_eq(m->size, expected_size);
	cr_assert(memcmp(m->data, expected, expected_size) == 0);
	cr_assert(dgram_addr_equal(m->remote, &from));
}

/* Bytes that are freed or written over before the callback returns. */
BACKEND_TEST(rules, message_stays_when_closed)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr from, any;
	size_t i;
	int fd;

	OK(dgram_addr_parse(&any, "127.0.0.1", 0));
	expected_size = 9000;
	expected = malloc(expected_size);
	for (i = 0; i < expected_size; i++)
		expected[i] = (char)(i * 7);
	fd = bare_socket(DGRAM_UDP4, &from);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	p.hook = close_and_look;
	p.arg = &any;
	cr_assert_eq(sendto(fd, expected, expected_size, 0, &p.addr.u.sa,
	    p.addr.len), (ssize_t)expected_size);
	RUN_UNTIL(l, p.n[EV_CLOSE] > 0);
	cr_assert_eq(p.n[EV_MESSAGE], 1);
	free_loop(l);
	free(expected);
	close(fd);
}

/* ---- rule 4: errors are values and events, never ends ---- */

static const int errors[] = { -ECONNREFUSED, -EMSGSIZE, -EPERM, -EACCES,
	-EINVAL, -ENETUNREACH, -EHOSTUNREACH, -EIO, -ENOMEM, -EPIPE,
	-ENOTCONN, -ENOBUFS, -EAGAIN, -EFAULT };

/* An error of a send that ends the socket, or the datagrams behind it. */
BACKEND_TEST(rules, send_errors_close_nothing)
{
	static struct peer p;
	struct fault_os f;
	struct dgram_loop *l;
	struct dgram_addr to;
	size_t i;
	int fd;

	EACH_TYPE(type) {
		fault_init(&f);
		l = fault_loop(&f, backend, NULL);
		fd = bare_socket(type, &to);
		peer_open_bound(&p, l, type, NULL);
		for (i = 0; i < COUNT(errors); i++) {
			fault_at(&f, FAULT_SENDTO, 1, errors[i]);
			OK(send_copy(&p, 1, &to));
			turns(l, 2);
			fault_at(&f, FAULT_SENDMMSG, 1, errors[i]);
			OK(send_copy(&p, 2, &to));
			OK(send_copy(&p, 3, &to));
			RUN_UNTIL(l, dgram_get_send_queue_count(p.s) == 0);
			OK(send_done(&p, 4, &to));
			RUN_UNTIL(l, p.n[EV_DONE] == (int)i + 1);
			cr_assert_eq(p.done[i], 4);
			while (bare_recv(fd) >= 0)
				;
			bare_send(fd, &p.addr, 1);
			RUN_UNTIL(l, p.got == i + 1);
		}
		cr_assert_eq(p.n[EV_CLOSE], 0);
		free_fault_loop(l, &f);
		close(fd);
	}
}

/* ... of a receive; and silence about EAGAIN only. */
BACKEND_TEST(rules, receive_errors_close_nothing)
{
	static struct peer p;
	struct fault_os f;
	struct dgram_loop *l;
	struct dgram_addr from;
	size_t i;
	int fd, told;

	EACH_TYPE(type) {
		fault_init(&f);
		l = fault_loop(&f, backend, NULL);
		fd = bare_socket(type, &from);
		peer_open_bound(&p, l, type, NULL);
		turns(l, 3);
		for (i = 0; i < COUNT(errors); i++) {
			told = p.n[EV_ERROR];
			fault_at(&f, FAULT_READ_ONE(type), 1, errors[i]);
			bare_send(fd, &p.addr, (uint32_t)i);
			RUN_UNTIL(l, p.got == i + 1);
			turns(l, 2);
			cr_assert_eq(p.n[EV_ERROR] - told,
			    errors[i] != -EAGAIN, "%d", errors[i]);
			if (errors[i] == -EAGAIN)
				continue;
			cr_assert_eq(p.status[told], errors[i]);
			cr_assert(p.kind[told] == DGRAM_IN_RECEIVE ||
			    p.kind[told] == DGRAM_IN_ICMP);
		}
		cr_assert_eq(p.n[EV_CLOSE], 0);
		free_fault_loop(l, &f);
		close(fd);
	}
}

static void
reply_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	if (e != EV_MESSAGE)
		return;
	for (i = 0; i < n; i++)
		OK(dgram_reply(p->s, &m[i], m[i].data, m[i].size));
}

/* A sender that cannot be answered as an event for the server. */
BACKEND_TEST(rules, failed_replies_are_counted_only)
{
	static struct peer p;
	struct fault_os f;
	struct dgram_loop *l;
	struct dgram_addr from;
	int fd, i;

	EACH_TYPE(type) {
		fault_init(&f);
		l = fault_loop(&f, backend, NULL);
		fd = bare_socket(type, &from);
		peer_open_bound(&p, l, type, NULL);
		p.hook = reply_hook;
		fault_sends(&f, -EPERM);
		for (i = 0; i < 3; i++)
			bare_send(fd, &p.addr, 1);
		RUN_UNTIL(l, p.got == 3);
		turns(l, 3);
		cr_assert_eq(p.n[EV_ERROR], 0);
		cr_assert_eq(stats_of(&p).failed, 3);
		free_fault_loop(l, &f);
		close(fd);
	}
}

/* ---- rule 5: zero-length datagrams are data ---- */

static void
reply_nothing(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	if (e != EV_MESSAGE)
		return;
	for (i = 0; i < n; i++)
		OK(dgram_reply(p->s, &m[i], NULL, 0));
}

/* An empty datagram that is not sent, by any of the ways to send one. */
BACKEND_TEST(rules, empty_datagrams_are_sent)
{
	static struct peer p, q;
	struct dgram_loop *l;
	struct iovec none = { NULL, 0 }, empties[3] = { { NULL, 0 },
	    { number(1), 0 }, { NULL, 0 } };
	struct dgram_datagram d[2];
	size_t i, want;
	int connected;

	if (test_emulated())
		cr_skip_test("no datagram without iovec under user-mode emulation");
	l = test_loop(backend);
	EACH_TYPE(type) {
		for (connected = 0; connected < 2; connected++) {
			const struct dgram_addr *to;

			peer_open_bound(&p, l, type, NULL);
			peer_open_bound(&q, l, type, NULL);
			to = connected ? NULL : &q.addr;
			if (connected)
				OK(dgram_connect_addr(p.s, &q.addr));
			OK(dgram_send_addr(p.s, NULL, 0, to, peer_done,
			    &p));
			OK(dgram_send_addr(p.s, &none, 0, to, NULL,
			    NULL));
			OK(dgram_send_addr(p.s, &none, 1, to, peer_done,
			    &p));
			OK(dgram_send_addr(p.s, empties, 3, to, NULL,
			    NULL));
			OK(dgram_send_addr(p.s, empties, 3, to,
			    peer_done, &p));
			memset(d, 0, sizeof(d));
			d[0].to = d[1].to = to;
			d[1].iov = empties;
			d[1].iovcnt = 3;
			OK(dgram_send_batch(p.s, d, 2, peer_done, &p));
			ACCEPT(dgram_send_batch(p.s, d, 2, NULL, NULL));
			want = 9;
			RUN_UNTIL(l, q.got == want);
			CHECK(dgram_try_send(p.s, d, 2), 2);
			want += 2;
			if (type == DGRAM_UNIX && !connected) {
				OK(dgram_send_path(p.s, NULL, 0,
				    q.addr.u.un.sun_path, NULL, NULL));
				want++;
			}
			/* And one that is not empty, to see the end. */
			OK(send_copy(&p, 77, to));
			RUN_UNTIL(l, q.got == want + 1);
			for (i = 0; i < want; i++)
				cr_assert_eq(q.sizes[i], 0);
			cr_assert_eq(q.seq[want], 77);
			RUN_UNTIL(l, p.n[EV_DONE] == 4);
			cr_assert_eq(p.done[0], 0);
			cr_assert_eq(p.done[1], 0);
			cr_assert_eq(p.done[2], 0);
			cr_assert_eq(p.done[3], 2);
			cr_assert_eq(d[0].result, 0);
			cr_assert_eq(d[1].result, 0);
			cr_assert_eq(p.n[EV_ERROR] + q.n[EV_ERROR], 0);
			/* And as replies. */
			q.hook = reply_nothing;
			OK(send_copy(&p, 78, to));
			RUN_UNTIL(l, p.got == 1);
			cr_assert_eq(p.sizes[0], 0);
			OK(dgram_close(p.s, NULL, NULL));
			OK(dgram_close(q.s, NULL, NULL));
			turns(l, 2);
		}
	}
	free_loop(l);
}

/* One that ends the reading: alone, in a batch, from anybody. */
BACKEND_TEST(rules, empty_datagrams_are_received)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr from;
	size_t n, i;
	int fd, k;

	EACH_TYPE(type) {
		fd = bare_socket(type, &from);
		peer_open_bound(&p, l, type, NULL);
		n = 0;
		for (k = 0; k < 5; k++) {
			for (i = 0; i < 8; i++) {
				if (i == 7 && k > 0)
					bare_send(fd, &p.addr, (uint32_t)i);
				else
					cr_assert_eq(sendto(fd, "", 0, 0,
					    &p.addr.u.sa, p.addr.len), 0);
				if (k == 0)
					break;
			}
			n += i < 8 ? i + 1 : i;
			RUN_UNTIL(l, p.got == n);
			cr_assert(dgram_addr_equal(&p.from, &from));
		}
		cr_assert_eq(p.bytes, 4 * 4);
		cr_assert_eq(p.n[EV_ERROR], 0);
		cr_assert_eq(p.n[EV_CLOSE], 0);
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 2);
		close(fd);
	}
	free_loop(l);
}

/* ---- rule 6: names say who owns ---- */

/* Payload, pieces or address that are looked at after the call. */
BACKEND_TEST(rules, copied_without_completion)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr to, a;
	uint32_t v[3];
	struct iovec iov[3];
	struct dgram_datagram d[2];
	int fd;

	EACH_TYPE(type) {
		fd = bare_socket(type, &to);
		peer_open_bound(&p, l, type, NULL);
		a = to;
		v[0] = 11;
		iov[0].iov_base = &v[0];
		iov[0].iov_len = 4;
		OK(dgram_send_addr(p.s, iov, 1, &a, NULL, NULL));
		v[0] = 12;
		v[1] = 13;
		iov[0].iov_len = 1;
		iov[1].iov_base = (char *)&v[0] + 1;
		iov[1].iov_len = 3;
		iov[2].iov_base = &v[1];
		iov[2].iov_len = 4;
		OK(dgram_send_addr(p.s, iov, 3, &a, NULL, NULL));
		v[0] = 14;
		memset(d, 0, sizeof(d));
		iov[0].iov_len = 4;
		d[0].iov = d[1].iov = iov;
		d[0].iovcnt = d[1].iovcnt = 1;
		d[0].to = d[1].to = &a;
		ACCEPT(dgram_send_batch(p.s, d, 2, NULL, NULL));
		memset(v, 0xee, sizeof(v));
		memset(iov, 0xee, sizeof(iov));
		memset(d, 0xee, sizeof(d));
		memset(&a, 0xee, sizeof(a));
		turns(l, 2);
		cr_assert_eq(bare_recv(fd), 11);
		cr_assert_eq(bare_recv(fd), 12);
		cr_assert_eq(bare_recv(fd), 14);
		cr_assert_eq(bare_recv(fd), 14);
		cr_assert_eq(p.n[EV_ERROR], 0);
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 2);
		close(fd);
	}
	free_loop(l);
}

/* Pieces or address that are looked at after the call; bytes that are not. */
BACKEND_TEST(rules, borrowed_until_completion)
{
	static struct peer p;
	struct fault_os f;
	struct dgram_loop *l;
	struct dgram_addr to, a;
	struct iovec iov[3];
	struct dgram_datagram d[2];
	size_t allocs, held, before;
	static char big[60000];
	int fd, i;

	EACH_TYPE(type) {
		fault_init(&f);
		l = fault_loop(&f, backend, NULL);
		fd = bare_socket(type, &to);
		peer_open_bound(&p, l, type, NULL);
		turns(l, 2);
		a = to;
		for (i = 1; i <= 3; i++) {
			iov[0].iov_base = number(21);
			iov[0].iov_len = 1;
			iov[1].iov_base = (char *)number(21) + 1;
			iov[1].iov_len = i == 1 ? 0 : i == 2 ? 3 : 1;
			iov[2].iov_base = (char *)number(21) + 2;
			iov[2].iov_len = 2;
			if (i == 1)
				iov[0].iov_len = 4;
			OK(dgram_send_addr(p.s, iov, i, &a, peer_done,
			    &p));
			memset(iov, 0xee, sizeof(iov));
			memset(&a, 0xee, sizeof(a));
			turns(l, 1);
			cr_assert_eq(bare_recv(fd), 21);
			a = to;
		}
		cr_assert_eq(p.n[EV_DONE], 3);

		/* A copy of the bytes would show. */
		allocs = f.allocs;
		OK(dgram_loop_memory(l, &before, NULL));
		fault_sends(&f, -EAGAIN);
		iov[0].iov_base = big;
		iov[0].iov_len = sizeof(big);
		memset(d, 0, sizeof(d));
		d[0].iov = d[1].iov = iov;
		d[0].iovcnt = d[1].iovcnt = 1;
		d[0].to = d[1].to = &to;
		OK(dgram_send_addr(p.s, iov, 1, &to, peer_done, &p));
		OK(dgram_send_batch(p.s, d, 2, peer_done, &p));
		turns(l, 2);
		OK(dgram_loop_memory(l, &held, NULL));
		cr_assert(f.allocs - allocs < 10 && held - before < sizeof(big) / 2,
		    "%zu bytes", held - before);
		free_fault_loop(l, &f);
		close(fd);
	}
}

/* Options, events or the name of a device that are looked at after the call. */
BACKEND_TEST(rules, options_are_copied)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_events ev = peer_events;
	struct dgram_options o = { .type = DGRAM_UDP4, .events = &ev };
	char device[] = "lo";
	struct dgram_addr a = any_addr(DGRAM_UDP4);

	memset(&p, 0, sizeof(p));
	o.arg = &p;
#if DGI_HAVE_BINDTODEVICE
	o.device = device;
#endif
	OK(dgram_open(l, &o, &p.s));
	memset(&o, 0xee, sizeof(o));
	memset(&ev, 0, sizeof(ev));
	strcpy(device, "x");
	OK(dgram_bind_addr(p.s, &a));
	memset(&a, 0xee, sizeof(a));
	turns(l, 2);
	cr_assert_eq(p.n[EV_LISTENING], 1);
	ev = peer_deaf;
	OK(dgram_set_events(p.s, &ev, &p));
	memset(&ev, 0, sizeof(ev));
	OK(dgram_close(p.s, NULL, NULL));
	turns(l, 2);
	cr_assert_eq(p.n[EV_CLOSE], 1);
	free_loop(l);
}
