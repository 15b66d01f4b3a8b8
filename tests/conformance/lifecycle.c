/* SPDX-License-Identifier: ISC */

/* Rows of Node's tests about close, ref and what cuts what off: see README. */

#include "rows.h"

static struct peer bound;
static struct dgram_addr nowhere;

static void
ask_when_closed(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_CLOSE)
		CHECK(dgram_address(peer->s, &nowhere), NOT_RUNNING);
}

/*
 * A close that may be said twice, in C, is one whose result is not looked at.
 * Difference: the second registers nothing.
 */
BACKEND_TEST(parallel, async_dispose)
{
	begin(backend);
	p.hook = ask_when_closed;
	OK(dgram_close(p.s, peer_close_fn, &p));
	CHECK(dgram_address(p.s, &nowhere), NOT_RUNNING);
	CHECK(dgram_close(p.s, peer_close_fn, &p), NOT_RUNNING);
	TRACE(&p, "");
	turns(l, 3);
	TRACE(&p, "Xf");

	open_named(&q, NULL, look_up);
	q.hook = ask_when_closed;
	OK(dgram_bind(q.s, 0, NULL, NULL, NULL));
	turns(l, 2);
	OK(dgram_close(q.s, peer_close_fn, &q));
	CHECK(dgram_address(q.s, &nowhere), NOT_RUNNING);
	CHECK(dgram_close(q.s, NULL, NULL), NOT_RUNNING);
	turns(l, 3);
	TRACE(&q, "LXf");
	leave();
}

/* The answer comes when nobody waits.  Difference: the completion is told. */
BACKEND_TEST(parallel, bind_socket_close_before_lookup)
{
	unsigned binds;

	begin(backend);
	binds = f.entry[FAULT_BIND].calls;
	open_named(&q, NULL, look_up);
	OK(dgram_bind(p.s, 0, "name", NULL, NULL));
	OK(dgram_bind(q.s, 0, "name", bind_done, &q));
	turns(l, 2);
	cr_assert_eq(nasks, 2);
	OK(dgram_close(p.s, NULL, NULL));
	OK(dgram_close(q.s, NULL, NULL));
	CHECK(refuse(0, DGRAM_ENOTFOUND), -ENOENT);
	turns(l, 3);
	CHECK(refuse(1, DGRAM_ENOTFOUND), -ENOENT);
	turns(l, 3);
	TRACE(&p, "X");
	TRACE(&q, "bX");
	cr_assert_eq(record_of('b', 0)->status, -ECANCELED);
	cr_assert_eq(f.entry[FAULT_BIND].calls, binds);
	leave();
}

/*
 * Right behind a send that binds and looks up: the name is not waited for, and
 * its send ends with -ECANCELED.  Differences: that is told, and a send to an
 * address is carried out.
 */
BACKEND_TEST(parallel, close)
{
	char buf[1024], got[1025];

	memset(buf, 42, sizeof(buf));
	begin(backend);
	OK(dgram_send(p.s, buf, sizeof(buf), port, "localhost", sent, &p));
	OK(dgram_send(p.s, buf, sizeof(buf), port, "localhost", NULL, NULL));
	OK(dgram_close(p.s, peer_close_fn, &p));
	/* The descriptor is gone, and asking for it does no harm. */
	CHECK(dgram_fileno(p.s), NOT_RUNNING);
	turns(l, 3);
	TRACE(&p, "dXf");
	cr_assert_eq(record_of('d', 0)->status, -ECANCELED);
	cr_assert_eq(recv(fd, got, sizeof(got), MSG_DONTWAIT), -1);

	open_named(&q, NULL, look_up);
	OK(dgram_send(q.s, buf, sizeof(buf), port, NULL, sent, &q));
	OK(dgram_close(q.s, peer_close_fn, &q));
	turns(l, 3);
	TRACE(&q, "dXf");
	cr_assert_eq(record_of('d', 1)->status, (int)sizeof(buf));
	cr_assert_eq(recv(fd, got, sizeof(got), 0), (int)sizeof(buf));
	cr_assert_eq(memcmp(buf, got, sizeof(buf)), 0);
	leave();
}

static int late;		/* what an answer after the close was told */

static void
answer_late(void *arg)
{
	(void)arg;
	late = answer(0, "0.0.0.0");
}

static void
close_while_asked(struct ask *a)
{
	OK(dgram_close(a->s, answer_late, NULL));
}

/* From inside of the look-up, which is answered behind the close. */
BACKEND_TEST(parallel, close_during_bind)
{
	unsigned binds;
	int with;

	begin(backend);
	for (with = 0; with < 2; with++) {
		nasks = 0;
		on_ask = close_while_asked;
		binds = f.entry[FAULT_BIND].calls;
		open_named(&q, NULL, look_up);
		OK(dgram_bind(q.s, 0, "name", with ? bind_done : NULL, &q));
		late = 0;
		RUN_UNTIL(l, late != 0);
		cr_assert_eq(late, -ENOENT);
		cr_assert_eq(nasks, 1);
		cr_assert_eq(f.entry[FAULT_BIND].calls, binds);
		/* Difference: the completion is told. */
		TRACE(&q, with ? "bX" : "X");
	}
	cr_assert_eq(record_of('b', 0)->status, -ECANCELED);
	leave();
}

/* With a send in the queue, which waits for its name. */
BACKEND_TEST(parallel, close_in_listening)
{
	static char buf[1024];

	begin(backend);
	p.hook = look_and_close;
	OK(dgram_send(p.s, buf, sizeof(buf), port, "localhost", sent, &p));
	OK(dgram_send(p.s, buf, sizeof(buf), port, "localhost", NULL, NULL));
	cr_assert_eq(dgram_get_send_queue_count(p.s), 2);
	RUN_UNTIL(l, p.n[EV_CLOSE] == 1);
	/* Difference: the completion is told. */
	TRACE(&p, "LdX");
	cr_assert_eq(record_of('d', 0)->status, -ECANCELED);
	leave();
}

static void
close_on_error(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_ERROR)
		OK(dgram_close(peer->s, NULL, NULL));
}

static void
break_reading(void)
{
	fault_at(&f, FAULT_RECVFROM, 1, -EIO);
	fault_at(&f, FAULT_RECVMSG, 1, -EIO);
	fault_at(&f, FAULT_RECVMMSG, 1, -EIO);
}

/* Of its reading it is told once; it is for the listener to close. */
BACKEND_TEST(parallel, recv_error)
{
	begin(backend);
	p.hook = close_on_error;
	peer_bind(&p);
	turns(l, 2);
	break_reading();
	bare_send(fd, &p.addr, 1);
	RUN_UNTIL(l, p.n[EV_CLOSE] == 1);
	TRACE(&p, "LEX");
	TOLD('E', 0, -EIO, DGRAM_IN_RECEIVE, "recvmsg EIO");

	/* Without that the next is heard. */
	open_named(&q, NULL, look_up);
	peer_bind(&q);
	turns(l, 2);
	break_reading();
	bare_send(fd, &q.addr, 2);
	RUN_UNTIL(l, q.n[EV_ERROR] == 1 && q.got == 1);
	cr_assert_eq(q.seq[0], 2);
	TRACE(&q, "LEM");
	leave();
}

/* ---- abort signals ---- */

static struct dgram_abort *cut;

static void
trigger(struct dgram_abort *a)
{
	call_begins();
	dgram_abort_trigger(a);
	(void)call_ends(0);
}

static void
open_signalled(struct peer *peer)
{
	struct dgram_options o = { .signal = cut };

	open_named(peer, &o, look_up);
}

/* What is closed is not closed again, whether that was told yet or not. */
BACKEND_TEST(parallel, abort_closed)
{
	begin(backend);
	OK(dgram_abort_new(l, &cut));
	open_signalled(&q);
	OK(dgram_close(q.s, peer_close_fn, &q));
	trigger(cut);
	turns(l, 3);
	TRACE(&q, "Xf");
	trigger(cut);
	turns(l, 3);
	TRACE(&q, "Xf");
	dgram_abort_free(cut);

	OK(dgram_abort_new(l, &cut));
	open_signalled(&q);
	shut(&q);
	trigger(cut);
	turns(l, 3);
	TRACE(&q, "X");
	dgram_abort_free(cut);
	leave();
}

BACKEND_TEST(parallel, close_signal)
{
	struct dgram_options o = { .type = DGRAM_UDP4,
	    .events = &names_events };
	struct dgram_events silent = names_events;
	struct dgram_socket *s = NULL;
	struct dgram_loop *other;

	begin(backend);
	/* A bad one: another loop's, or with nobody to be told. */
	other = test_loop(backend);
	OK(dgram_abort_new(other, &cut));
	o.signal = cut;
	CHECK(dgram_open(l, &o, &s), -EINVAL);
	dgram_abort_free(cut);
	free_loop(other);
	OK(dgram_abort_new(l, &cut));
	silent.close = NULL;
	o.signal = cut;
	o.events = &silent;
	CHECK(dgram_open(l, &o, &s), -EINVAL);
	cr_assert(s == NULL);

	/* Whatever state they are in. */
	open_signalled(&q);
	open_signalled(&bound);
	OK(dgram_bind(bound.s, 0, NULL, NULL, NULL));
	turns(l, 2);
	OK(dgram_send(bound.s, "last", 4, port, "name", sent, &bound));
	trigger(cut);
	TRACE(&q, "");
	turns(l, 3);
	TRACE(&q, "X");
	TRACE(&bound, "LdX");
	cr_assert_eq(record_of('d', 0)->status, -ECANCELED);

	/* Aborted before. */
	open_signalled(&q);
	CHECK(dgram_bind(q.s, 0, NULL, NULL, NULL), NOT_RUNNING);
	TRACE(&q, "");
	turns(l, 3);
	TRACE(&q, "X");
	/* Who has none lives on. */
	TRACE(&p, "");
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	dgram_abort_free(cut);
	leave();
}

/* ---- what keeps the loop running ---- */

static void
ref_when_closed(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_CLOSE) {
		OK(dgram_ref(peer->s));
		OK(dgram_unref(peer->s));
	}
}

/* Sockets that were never bound do not. */
BACKEND_TEST(parallel, ref)
{
	begin(backend);
	EACH_UDP(type) {
		open_type(&q, type, NULL);
		cr_assert_eq(dgram_loop_run(l), 0);
		OK(dgram_ref(q.s));
		cr_assert_eq(dgram_loop_run(l), 0);
		OK(dgram_unref(q.s));
		OK(dgram_ref(q.s));
		cr_assert_eq(dgram_loop_run(l), 0);
		TRACE(&q, "");
		/* Nor by that when it is closed. */
		q.hook = ref_when_closed;
		OK(dgram_close(q.s, NULL, NULL));
		OK(dgram_ref(q.s));
		cr_assert_eq(dgram_loop_run(l), 0);
		TRACE(&q, "X");
	}
	leave();
}

static bool rang;

static void
ring(struct dgram_timer *t, void *arg)
{
	(void)arg;
	rang = true;
	dgram_loop_stop(t->loop);
}

/* A loop that ends before the guard rings. */
static void
run_out(void)
{
	struct dgram_timer guard;

	dgram_timer_init(&guard, l, ring, NULL);
	OK(dgram_timer_start(&guard, 1000 * MS, 0));
	dgram_timer_unref(&guard);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert(!rang);
	dgram_timer_stop(&guard);
}

BACKEND_TEST(parallel, unref)
{
	begin(backend);
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	OK(dgram_unref(p.s));
	run_out();
	/* Without a descriptor, and closed. */
	open_named(&q, NULL, look_up);
	q.hook = ref_when_closed;
	OK(dgram_close(q.s, NULL, NULL));
	OK(dgram_unref(q.s));
	run_out();
	TRACE(&q, "X");
	/* One that is bound does hold it, else this tells nothing. */
	OK(dgram_ref(p.s));
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	OK(dgram_unref(p.s));
	cr_assert_eq(dgram_loop_run_once(l, 0), 0);
	leave();
}

/* Said before there is a descriptor, however that comes to be. */
BACKEND_TEST(parallel, unref_in_cluster)
{
	struct dgram_addr a;
	int way;

	for (way = 0; way < 4; way++) {
		begin(backend);
		OK(dgram_unref(p.s));
		if (way == 0) {
			OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
		} else if (way == 1) {
			OK(dgram_bind_fd(p.s, bare_socket(DGRAM_UDP4, &a)));
		} else if (way == 2) {
			OK(send_silent("127.0.0.1", 1));
		} else {
			on_ask = NULL;
			nasks = 0;
			OK(dgram_bind(p.s, 0, "name", NULL, NULL));
			turns(l, 2);
			OK(answer(0, "127.0.0.1"));
		}
		run_out();
		turns(l, 2);
		TRACE(&p, "L");
		cr_assert(!p.s->holds);
		leave();
	}
}
