/* SPDX-License-Identifier: ISC */

/*
 * Bind, connect, disconnect: the order of events, and what waits for a bind that
 * takes its time.  Each call in each state is for test_states.c.
 */

#include "sockets.h"

/* Stands for a bind or connect by name: finishes when the test says so. */
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

static void
fake_init(struct fake *f)
{
	memset(f, 0, sizeof(*f));
	f->op.cancel = fake_cancel;
}

enum state { UNBOUND, BINDING, TO_CONNECT, BOUND, CONNECTING, CONNECTED };

/* What a test case works on. */
struct scene {
	struct fault_os f;
	struct dgram_loop *l;
	struct peer p;
	struct fake bind, connect;
	struct dgram_addr to;		/* somebody else */
	int fd;				/* his */
	int type;
};

static struct scene sc;

static void
enter(const char *backend, int type, enum state st)
{
	memset(&sc, 0, sizeof(sc));
	sc.type = type;
	fault_init(&sc.f);
	sc.l = fault_loop(&sc.f, backend, NULL);
	sc.fd = bare_socket(type, &sc.to);
	peer_open(&sc.p, sc.l, (enum dgram_type)type, NULL);
	fake_init(&sc.bind);
	fake_init(&sc.connect);
	if (st == BINDING || st == TO_CONNECT)
		OK(dgi_socket_begin_bind(sc.p.s, &sc.bind.op));
	if (st == BOUND || st == CONNECTING || st == CONNECTED)
		peer_bind(&sc.p);
	if (st == CONNECTING || st == TO_CONNECT)
		OK(dgi_socket_begin_connect(sc.p.s, &sc.connect.op));
	if (st == CONNECTED)
		OK(dgram_connect_addr(sc.p.s, &sc.to));
}

static void
leave(void)
{
	free_fault_loop(sc.l, &sc.f);
	cr_assert(sc.bind.cancelled <= 1);
	cr_assert(sc.connect.cancelled <= 1);
	close(sc.fd);
}

/* NULL where an object must be, or what it points to. */
TEST(state, null)
{
	struct dgram_loop *l = test_loop(NULL);
	struct dgram_options o = { .type = DGRAM_UDP4 };
	struct dgram_message m = { .size = 0 };
	struct dgram_datagram d = { .iovcnt = 0 };
	struct dgram_stats st = { .size = sizeof(st) };
	struct dgram_error e;
	struct dgram_socket *s;
	struct dgram_addr a;

	OK(dgram_addr_parse(&a, "127.0.0.1", 9));
	CHECK(dgram_open(NULL, &o, &s), -EINVAL);
	CHECK(dgram_open(l, NULL, &s), -EINVAL);
	CHECK(dgram_open(l, &o, NULL), -EINVAL);
	CHECK(dgram_open_fd(NULL, &o, 0, &s), -EINVAL);
	CHECK(dgram_open_fd(l, NULL, 0, &s), -EINVAL);
	CHECK(dgram_open_fd(l, &o, 0, NULL), -EINVAL);
	CHECK(dgram_close(NULL, NULL, NULL), -EINVAL);
	CHECK(dgram_end(NULL, NULL, NULL), -EINVAL);
	CHECK(dgram_pause(NULL), -EINVAL);
	CHECK(dgram_resume(NULL), -EINVAL);
	CHECK(dgram_set_events(NULL, NULL, NULL), -EINVAL);
	CHECK(dgram_fileno(NULL), -EINVAL);
	CHECK(dgram_ref(NULL), -EINVAL);
	CHECK(dgram_unref(NULL), -EINVAL);
	CHECK(dgram_last_error(NULL, &e), -EINVAL);
	CHECK(dgram_bind_addr(NULL, &a), -EINVAL);
	CHECK(dgram_bind_path(NULL, "x", 0), -EINVAL);
	CHECK(dgram_bind_fd(NULL, 0), -EINVAL);
	CHECK(dgram_connect_addr(NULL, &a), -EINVAL);
	CHECK(dgram_connect_path(NULL, "x"), -EINVAL);
	CHECK(dgram_disconnect(NULL), -EINVAL);
	CHECK(dgram_send_addr(NULL, NULL, 0, &a, NULL, NULL), -EINVAL);
	CHECK(dgram_send_path(NULL, "", 0, "x", NULL, NULL), -EINVAL);
	CHECK(dgram_send_batch(NULL, &d, 1, NULL, NULL), -EINVAL);
	CHECK(dgram_try_send(NULL, &d, 1), -EINVAL);
	CHECK(dgram_reply(NULL, &m, "", 0), -EINVAL);
	CHECK(dgram_flush(NULL), -EINVAL);
	CHECK(dgram_address(NULL, &a), -EINVAL);
	CHECK(dgram_remote_address(NULL, &a), -EINVAL);
	CHECK(dgram_set_broadcast(NULL, 1), -EINVAL);
	CHECK(dgram_set_ttl(NULL, 1), -EINVAL);
	CHECK(dgram_set_tos(NULL, 1), -EINVAL);
	CHECK(dgram_set_recv_buffer_size(NULL, 1), -EINVAL);
	CHECK(dgram_get_recv_buffer_size(NULL), -EINVAL);
	CHECK(dgram_set_send_buffer_size(NULL, 1), -EINVAL);
	CHECK(dgram_get_send_buffer_size(NULL), -EINVAL);
	CHECK(dgram_get_stats(NULL, &st), -EINVAL);
	cr_assert_eq(dgram_get_send_queue_size(NULL), 0);
	cr_assert_eq(dgram_get_send_queue_count(NULL), 0);

	OK(dgram_open(l, &o, &s));
	CHECK(dgram_bind_addr(s, NULL), -EINVAL);
	CHECK(dgram_bind_path(s, NULL, 0), -EINVAL);
	CHECK(dgram_connect_addr(s, NULL), -EINVAL);
	CHECK(dgram_connect_path(s, NULL), -EINVAL);
	CHECK(dgram_send_addr(s, NULL, 1, &a, NULL, NULL), -EINVAL);
	CHECK(dgram_send_batch(s, NULL, 1, NULL, NULL), -EINVAL);
	CHECK(dgram_try_send(s, NULL, 1), -EINVAL);
	CHECK(dgram_reply(s, NULL, "", 0), -EINVAL);
	CHECK(dgram_last_error(s, NULL), -EINVAL);
	CHECK(dgram_get_stats(s, NULL), -EINVAL);
	OK(dgram_bind_addr(s, &(struct dgram_addr){ .len = 16,
	    .u.in = { .sin_family = AF_INET } }));
	CHECK(dgram_address(s, NULL), -EINVAL);
	OK(dgram_connect_addr(s, &a));
	CHECK(dgram_remote_address(s, NULL), -EINVAL);
	free_loop(l);
}

/* ---- what waits for a bind ---- */

/* Sends that leave in another order, or before the bind. */
BACKEND_TEST(state, fifo_behind_a_bind)
{
	struct dgram_addr to;
	uint32_t i;

	EACH_TYPE(type) {
		enter(backend, type, BINDING);
		OK(send_done(&sc.p, 1, &sc.to));
		OK(send_copy(&sc.p, 2, &sc.to));
		OK(send_done(&sc.p, 3, &sc.to));
		OK(send_done(&sc.p, 4, &sc.to));
		cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 4);
		turns(sc.l, 3);
		CHECK(dgram_flush(sc.p.s), 4);
		cr_assert_eq(strlen(sc.p.trace), 0);
		cr_assert_eq(bare_recv(sc.fd), -1);
		to = any_addr(type);
		OK(dgi_socket_finish_bind(sc.p.s, &sc.bind.op, 0, &to));
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 3);
		for (i = 1; i <= 4; i++)
			cr_assert_eq(bare_recv(sc.fd), i);
		turns(sc.l, 2);
		cr_assert_eq(sc.p.n[EV_LISTENING], 1);
		cr_assert_eq(sc.bind.cancelled, 0);
		leave();
	}
}

/* A failure that reaches some of what waits, or some of it twice. */
BACKEND_TEST(state, failed_bind_fails_what_waits)
{
	struct dgram_addr bad;
	int way;

	for (way = 0; way < 2; way++) {
		EACH_TYPE(type) {
			enter(backend, type, BINDING);
			OK(send_done(&sc.p, 1, &sc.to));
			OK(send_copy(&sc.p, 2, &sc.to));
			/* By the look-up, or by the kernel: it is taken. */
			bad = sc.to;
			CHECK(dgi_socket_finish_bind(sc.p.s, &sc.bind.op,
			    way == 0 ? -EADDRINUSE : 0, &bad), -EADDRINUSE);
			cr_assert_eq(sc.p.s->state, DGI_UNBOUND);
			CHECK(dgram_fileno(sc.p.s), -EBADF);
			cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 0);
			turns(sc.l, 3);
			cr_assert_eq(sc.p.n[EV_DONE], 1);
			cr_assert_eq(sc.p.done[0], -EADDRINUSE);
			cr_assert_eq(sc.p.n[EV_ERROR], 1);
			cr_assert_eq(sc.p.status[0], -EADDRINUSE);
			cr_assert_eq(sc.p.n[EV_LISTENING], 0);
			/* And it can be bound. */
			peer_bind(&sc.p);
			OK(send_done(&sc.p, 3, &sc.to));
			RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 2);
			cr_assert_eq(bare_recv(sc.fd), 3);
			leave();
		}
	}
}

/* A bind that goes on under a closed socket. */
BACKEND_TEST(state, close_cancels_a_bind)
{
	EACH_TYPE(type) {
		enter(backend, type, TO_CONNECT);
		OK(send_done(&sc.p, 1, &sc.to));
		OK(dgram_close(sc.p.s, NULL, NULL));
		cr_assert_eq(sc.bind.cancelled, 1);
		cr_assert_eq(sc.bind.status, -ECANCELED);
		cr_assert_eq(sc.connect.cancelled, 1);
		turns(sc.l, 3);
		cr_assert(strcmp(sc.p.trace, "dX") == 0, "%s", sc.p.trace);
		cr_assert_eq(sc.p.done[0], -ECANCELED);
		cr_assert_eq(bare_recv(sc.fd), -1);
		leave();
		cr_assert_eq(sc.bind.cancelled, 1);
	}
}

/* ... or under a loop that is freed. */
BACKEND_TEST(state, free_cancels_a_bind)
{
	enter(backend, DGRAM_UDP4, TO_CONNECT);
	OK(send_done(&sc.p, 1, &sc.to));
	leave();
	cr_assert_eq(sc.bind.cancelled, 1);
	cr_assert_eq(sc.connect.cancelled, 1);
	cr_assert(strcmp(sc.p.trace, "dX") == 0, "%s", sc.p.trace);
}

/* An end that waits for a bind, and then for ever. */
BACKEND_TEST(state, end_while_binding)
{
	struct dgram_addr a;
	int way;

	for (way = 0; way < 4; way++) {
		enter(backend, DGRAM_UDP4, BINDING);
		if (way >= 2)
			OK(send_done(&sc.p, 1, &sc.to));
		OK(dgram_end(sc.p.s, peer_close_fn, &sc.p));
		turns(sc.l, 3);
		cr_assert_eq(strlen(sc.p.trace), 0, "%s", sc.p.trace);
		a = any_addr(DGRAM_UDP4);
		CHECK(dgi_socket_finish_bind(sc.p.s, &sc.bind.op,
		    way % 2 == 0 ? 0 : -EACCES, &a),
		    way % 2 == 0 ? 0 : -EACCES);
		turns(sc.l, 5);
		cr_assert_eq(sc.p.n[EV_CLOSE], 1, "never closed, way %d",
		    way);
		cr_assert_eq(sc.p.n[EV_CLOSE_FN], 1);
		cr_assert_eq(sc.p.n[EV_DONE], way >= 2);
		if (way >= 2)
			cr_assert_eq(sc.p.done[0],
			    way % 2 == 0 ? 4 : -EACCES);
		leave();
	}
}

/* A connect that takes its time, and what it comes to. */
BACKEND_TEST(state, connect_later)
{
	struct dgram_addr a;

	EACH_TYPE(type) {
		enter(backend, type, CONNECTING);
		OK(send_copy(&sc.p, 1, &sc.to));
		OK(dgi_socket_finish_connect(sc.p.s, &sc.connect.op, 0,
		    &sc.to));
		cr_assert_eq(sc.p.s->state, DGI_CONNECTED);
		OK(send_copy(&sc.p, 2, NULL));
		turns(sc.l, 3);
		cr_assert_eq(sc.p.n[EV_CONNECT], 1);
		cr_assert_eq(bare_recv(sc.fd), 1);
		cr_assert_eq(bare_recv(sc.fd), 2);
		leave();

		enter(backend, type, CONNECTING);
		CHECK(dgi_socket_finish_connect(sc.p.s, &sc.connect.op,
		    -ENETUNREACH, NULL), -ENETUNREACH);
		cr_assert_eq(sc.p.s->state, DGI_BOUND);
		OK(dgram_connect_addr(sc.p.s, &sc.to));
		leave();

		/* The bind that it waits for comes first. */
		enter(backend, type, TO_CONNECT);
		a = any_addr(type);
		OK(dgi_socket_finish_bind(sc.p.s, &sc.bind.op, 0, &a));
		cr_assert_eq(sc.p.s->state, DGI_CONNECTING);
		OK(dgi_socket_finish_connect(sc.p.s, &sc.connect.op, 0,
		    &sc.to));
		turns(sc.l, 3);
		cr_assert(strcmp(sc.p.trace, "LC") == 0, "%s", sc.p.trace);
		leave();
	}
}

/* A connect whose bind failed, and that hears nothing of it. */
BACKEND_TEST(state, failed_bind_cancels_a_connect)
{
	enter(backend, DGRAM_UDP4, TO_CONNECT);
	CHECK(dgi_socket_finish_bind(sc.p.s, &sc.bind.op, -EADDRINUSE, NULL),
	    -EADDRINUSE);
	cr_assert_eq(sc.p.s->state, DGI_UNBOUND);
	cr_assert_eq(sc.connect.cancelled, 1);
	cr_assert_eq(sc.connect.status, -EADDRINUSE);
	leave();
}

/* ---- bind ---- */

/* `listening` inside of bind, twice, not at all, or after a close. */
BACKEND_TEST(state, listening)
{
	EACH_TYPE(type) {
		enter(backend, type, BOUND);
		cr_assert_eq(sc.p.n[EV_LISTENING], 0);
		cr_assert(type == DGRAM_UNIX ||
		    dgram_addr_port(&sc.p.addr) != 0);
		turns(sc.l, 3);
		cr_assert(strcmp(sc.p.trace, "L") == 0, "%s", sc.p.trace);
		leave();

		enter(backend, type, BOUND);
		OK(dgram_close(sc.p.s, NULL, NULL));
		turns(sc.l, 3);
		cr_assert(strcmp(sc.p.trace, "X") == 0, "%s", sc.p.trace);
		leave();
	}
}

/* A descriptor that stays behind a failed bind, or a socket that is stuck. */
BACKEND_TEST(state, failed_binds)
{
	struct dgram_addr other, remote, mine;
	int i, fds;

	EACH_TYPE(type) {
		enter(backend, type, UNBOUND);
		fds = test_count_fds();
		for (i = 0; i < 20; i++) {
			CHECK(dgram_bind_addr(sc.p.s, &sc.to), -EADDRINUSE);
			cr_assert_eq(test_count_fds(), fds);
		}
		if (type != DGRAM_UNIX) {
			OK(dgram_addr_parse(&remote, type == DGRAM_UDP4 ?
			    "192.0.2.1" : "2001:db8::1", 0));
			CHECK(dgram_bind_addr(sc.p.s, &remote),
			    -EADDRNOTAVAIL);
		}
		OK(dgram_addr_parse(&other, type == DGRAM_UDP4 ? "::1" :
		    "127.0.0.1", 0));
		CHECK(dgram_bind_addr(sc.p.s, &other), -EINVAL);
		other.len = 0;
		CHECK(dgram_bind_addr(sc.p.s, &other), -EINVAL);
		cr_assert_eq(sc.p.s->state, DGI_UNBOUND);
		turns(sc.l, 3);
		cr_assert_eq(strlen(sc.p.trace), 0);
		CHECK(dgram_address(sc.p.s, &mine), -EBADF);
		peer_bind(&sc.p);
		turns(sc.l, 3);
		cr_assert_eq(sc.p.n[EV_LISTENING], 1);
		bare_send(sc.fd, &sc.p.addr, 1);
		RUN_UNTIL(sc.l, sc.p.got == 1);
		leave();
	}
}

/* A retry inside of the event that tells the failure (Node: 20 rounds). */
static void
bind_again(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e != EV_ERROR || p->n[EV_ERROR] > 20)
		return;
	CHECK(dgram_bind_addr(p->s, &sc.to), -EADDRINUSE);
	fake_init(&sc.bind);
	OK(dgi_socket_begin_bind(p->s, &sc.bind.op));
	OK(send_copy(p, 1, &sc.to));
	CHECK(dgi_socket_finish_bind(p->s, &sc.bind.op, -EADDRINUSE, NULL),
	    -EADDRINUSE);
}

BACKEND_TEST(state, bind_error_repeat)
{
	enter(backend, DGRAM_UDP4, BINDING);
	sc.p.hook = bind_again;
	OK(send_copy(&sc.p, 1, &sc.to));
	CHECK(dgi_socket_finish_bind(sc.p.s, &sc.bind.op, -EADDRINUSE, NULL),
	    -EADDRINUSE);
	RUN_UNTIL(sc.l, sc.p.n[EV_ERROR] == 21);
	peer_bind(&sc.p);
	RUN_UNTIL(sc.l, sc.p.n[EV_LISTENING] == 1);
	leave();
}

/* ---- implicit binds ---- */

/* A way to send or connect that does not bind, as libuv's try_send2. */
BACKEND_TEST(state, implicit_bind)
{
	struct dgram_addr a;
	struct dgram_datagram d = { .iovcnt = 1 };
	struct iovec iov = { number(1), 4 };
	struct dgram_message m = { .size = 0 };
	int way;

	EACH_TYPE(type) {
		for (way = 0; way < 6; way++) {
			enter(backend, type, UNBOUND);
			d.iov = &iov;
			d.to = &sc.to;
			m.remote = &sc.to;
			if (way == 0)
				OK(send_copy(&sc.p, 1, &sc.to));
			else if (way == 1)
				ACCEPT(dgram_send_batch(sc.p.s, &d, 1,
				    peer_done, &sc.p));
			else if (way == 2)
				CHECK(dgram_try_send(sc.p.s, &d, 1), 1);
			else if (way == 3)
				OK(dgram_reply(sc.p.s, &m, number(1), 4));
			else if (way == 4)
				OK(dgram_connect_addr(sc.p.s, &sc.to));
			else
				ACCEPT(dgram_send_batch(sc.p.s, &d, 1, NULL,
				    NULL));
			OK(dgram_address(sc.p.s, &a));
			cr_assert((type == DGRAM_UNIX) == (a.len == 0));
			cr_assert(type == DGRAM_UNIX ||
			    dgram_addr_port(&a) != 0);
			turns(sc.l, 3);
			cr_assert_eq(sc.p.n[EV_LISTENING],
			    type != DGRAM_UNIX);
			cr_assert_eq(sc.p.n[EV_CONNECT], way == 4);
			cr_assert_eq(bare_recv(sc.fd), way == 4 ? -1 : 1);
			leave();
		}
	}
}

/* An implicit bind that fails: returned, and nothing is half done. */
BACKEND_TEST(state, implicit_bind_fails)
{
	struct iovec iov = { number(1), 4 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1, .to = &sc.to };
	int fds;

	enter(backend, DGRAM_UDP4, UNBOUND);
	fds = test_count_fds();
	fault_always(&sc.f, FAULT_SOCKET, -EMFILE);
	CHECK(send_done(&sc.p, 1, &sc.to), -EMFILE);
	CHECK(dgram_try_send(sc.p.s, &d, 1), -EMFILE);
	CHECK(dgram_send_batch(sc.p.s, &d, 1, NULL, NULL), -EMFILE);
	CHECK(dgram_connect_addr(sc.p.s, &sc.to), -EMFILE);
	fault_always(&sc.f, FAULT_SOCKET, 0);
	fault_always(&sc.f, FAULT_BIND, -EPERM);
	CHECK(send_done(&sc.p, 1, &sc.to), -EPERM);
	CHECK(dgram_connect_addr(sc.p.s, &sc.to), -EPERM);
	fault_always(&sc.f, FAULT_BIND, 0);
	turns(sc.l, 3);
	cr_assert_eq(strlen(sc.p.trace), 0);
	cr_assert_eq(test_count_fds(), fds);
	OK(send_done(&sc.p, 1, &sc.to));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	leave();
}

/* An AF_UNIX socket that sent, and cannot be given a path any more. */
BACKEND_TEST(state, unix_path_after_send)
{
	struct dgram_addr a, path;

	enter(backend, DGRAM_UNIX, UNBOUND);
	OK(send_done(&sc.p, 1, &sc.to));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
	cr_assert_eq(sc.p.n[EV_LISTENING], 0);
	path = any_addr(DGRAM_UNIX);
	CHECK(dgram_bind_addr(sc.p.s, &sc.to), -EADDRINUSE);
	OK(dgram_address(sc.p.s, &a));
	cr_assert_eq(a.len, 0);
	OK(dgram_bind_addr(sc.p.s, &path));
	OK(dgram_address(sc.p.s, &a));
	cr_assert(dgram_addr_equal(&a, &path));
	CHECK(dgram_bind_addr(sc.p.s, &path), ALREADY_BOUND);
	RUN_UNTIL(sc.l, sc.p.n[EV_LISTENING] == 1);
	bare_send(sc.fd, &path, 2);
	RUN_UNTIL(sc.l, sc.p.got == 1);
	leave();

	/* Connected, too. */
	enter(backend, DGRAM_UNIX, UNBOUND);
	OK(dgram_connect_addr(sc.p.s, &sc.to));
	path = any_addr(DGRAM_UNIX);
	OK(dgram_bind_addr(sc.p.s, &path));
	OK(send_copy(&sc.p, 2, NULL));
	turns(sc.l, 3);
	cr_assert_eq(bare_recv(sc.fd), 2);
	leave();
}

/* ---- connect, disconnect ---- */

BACKEND_TEST(state, connect_and_back)
{
	struct dgram_addr a, before, other;
	int fd2, i;

	EACH_TYPE(type) {
		enter(backend, type, UNBOUND);
		fd2 = bare_socket(type, &other);
		for (i = 0; i < 3; i++) {
			OK(dgram_connect_addr(sc.p.s, i % 2 == 0 ? &sc.to :
			    &other));
			OK(dgram_remote_address(sc.p.s, &a));
			cr_assert(dgram_addr_equal(&a, i % 2 == 0 ? &sc.to :
			    &other));
			CHECK(dgram_connect_addr(sc.p.s, &other),
			    IS_CONNECTED);
			OK(send_copy(&sc.p, (uint32_t)i, NULL));
			turns(sc.l, 3);
			cr_assert_eq(sc.p.n[EV_CONNECT], i + 1);
			cr_assert_eq(bare_recv(i % 2 == 0 ? sc.fd : fd2), i);
			OK(dgram_address(sc.p.s, &before));
			OK(dgram_disconnect(sc.p.s));
			CHECK(dgram_disconnect(sc.p.s), NOT_CONNECTED);
			CHECK(dgram_remote_address(sc.p.s, &a),
			    NOT_CONNECTED);
			CHECK(send_copy(&sc.p, 9, NULL), NOT_CONNECTED);
			/* Linux forgets a port that it chose. */
			OK(dgram_address(sc.p.s, &a));
			cr_assert_eq(dgram_addr_port(&a),
			    dgram_addr_port(&before));
			OK(send_copy(&sc.p, 77, &sc.to));
			turns(sc.l, 3);
			cr_assert_eq(bare_recv(sc.fd), 77);
		}
		/* And it still hears at that port. */
		if (type != DGRAM_UNIX) {
			OK(dgram_address(sc.p.s, &a));
			OK(dgram_addr_parse(&before, type == DGRAM_UDP4 ?
			    "127.0.0.1" : "::1", dgram_addr_port(&a)));
			bare_send(fd2, &before, 5);
			RUN_UNTIL(sc.l, sc.p.got == 1);
		}
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
		close(fd2);
		leave();
	}
}

/* connect, disconnect, connect without a turn: the event once, and no loop. */
BACKEND_TEST(state, connect_twice_in_a_turn)
{
	int i;

	EACH_TYPE(type) {
		enter(backend, type, BOUND);
		turns(sc.l, 3);
		for (i = 0; i < 3; i++) {
			OK(dgram_connect_addr(sc.p.s, &sc.to));
			OK(dgram_disconnect(sc.p.s));
		}
		OK(dgram_connect_addr(sc.p.s, &sc.to));
		turns(sc.l, 3);
		cr_assert_eq(sc.p.n[EV_CONNECT], 1);
		OK(send_copy(&sc.p, 1, NULL));
		turns(sc.l, 3);
		cr_assert_eq(bare_recv(sc.fd), 1);
		leave();
	}
}

static void
disconnect_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_LISTENING)
		OK(dgram_disconnect(p->s));
}

static void
close_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_LISTENING)
		OK(dgram_close(p->s, NULL, NULL));
}

/* `connect` of a socket that is not connected any more. */
BACKEND_TEST(state, connect_event_is_suppressed)
{
	int way;

	for (way = 0; way < 4; way++) {
		enter(backend, DGRAM_UDP4, CONNECTED);
		if (way == 0)
			OK(dgram_disconnect(sc.p.s));
		else if (way == 1)
			OK(dgram_close(sc.p.s, NULL, NULL));
		else
			sc.p.hook = way == 2 ? disconnect_hook : close_hook;
		turns(sc.l, 3);
		cr_assert_eq(sc.p.n[EV_CONNECT], 0, "way %d", way);
		cr_assert_eq(sc.p.n[EV_LISTENING], way != 1);
		leave();
	}
	/* Otherwise they come, in that order. */
	enter(backend, DGRAM_UDP4, CONNECTED);
	turns(sc.l, 3);
	cr_assert(strcmp(sc.p.trace, "LC") == 0, "%s", sc.p.trace);
	leave();
}

/* A failed connect that changes the socket. */
BACKEND_TEST(state, failed_connects)
{
	struct dgram_addr bad, any, dead = dead_addr(DGRAM_UNIX);

	EACH_TYPE(type) {
		enter(backend, type, BOUND);
		OK(dgram_addr_parse(&bad, type == DGRAM_UDP4 ? "::1" :
		    "127.0.0.1", 9));
		CHECK(dgram_connect_addr(sc.p.s, &bad), -EINVAL);
		if (type == DGRAM_UNIX) {
			CHECK(dgram_connect_addr(sc.p.s, &dead),
			    -ECONNREFUSED);
			CHECK(dgram_connect_path(sc.p.s, fresh_path()),
			    -ENOENT);
		} else {
			OK(dgram_addr_parse(&any, type == DGRAM_UDP4 ?
			    "127.0.0.1" : "::1", 0));
			CHECK(dgram_connect_addr(sc.p.s, &any), BAD_PORT);
			CHECK(dgram_connect_path(sc.p.s, "x"), -EINVAL);
		}
		fault_at(&sc.f, FAULT_CONNECT, 1, -ENETUNREACH);
		CHECK(dgram_connect_addr(sc.p.s, &sc.to), -ENETUNREACH);
		cr_assert_eq(sc.p.s->state, DGI_BOUND);
		CHECK(dgram_remote_address(sc.p.s, &any), NOT_CONNECTED);
		OK(send_copy(&sc.p, 1, &sc.to));
		turns(sc.l, 3);
		cr_assert_eq(bare_recv(sc.fd), 1);
		cr_assert_eq(sc.p.n[EV_CONNECT], 0);
		OK(dgram_connect_addr(sc.p.s, &sc.to));
		/* A failed disconnect leaves it connected. */
		fault_at(&sc.f, FAULT_CONNECT, 1, -EIO);
		CHECK(dgram_disconnect(sc.p.s), -EIO);
		OK(send_copy(&sc.p, 2, NULL));
		turns(sc.l, 3);
		cr_assert_eq(bare_recv(sc.fd), 2);
		leave();
	}
}

/* What was sent before the connect goes where it was addressed to. */
BACKEND_TEST(state, sends_before_a_connect)
{
	struct dgram_addr other;
	int fd2;

	EACH_TYPE(type) {
		enter(backend, type, BOUND);
		fd2 = bare_socket(type, &other);
		OK(send_done(&sc.p, 1, &other));
		OK(dgram_connect_addr(sc.p.s, &sc.to));
		OK(send_done(&sc.p, 2, NULL));
		OK(dgram_disconnect(sc.p.s));
		OK(send_done(&sc.p, 3, &other));
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 3);
		cr_assert_eq(bare_recv(fd2), 1);
		cr_assert_eq(bare_recv(sc.fd), 2);
		cr_assert_eq(bare_recv(fd2), 3);
		cr_assert_eq(sc.p.done[0] + sc.p.done[1] + sc.p.done[2], 12);
		close(fd2);
		leave();
	}
}

/* Blocked sends to others survive a disconnect; those to the peer do not. */
BACKEND_TEST(state, disconnect_fails_only_the_peers)
{
	struct dgram_addr other;
	int fd2;

	EACH_TYPE(type) {
		enter(backend, type, BOUND);
		fd2 = bare_socket(type, &other);
		fault_sends(&sc.f, -EAGAIN);
		OK(send_done(&sc.p, 1, &other));
		OK(dgram_connect_addr(sc.p.s, &sc.to));
		OK(send_done(&sc.p, 2, NULL));
		OK(send_copy(&sc.p, 3, NULL));
		turns(sc.l, 3);
		OK(dgram_disconnect(sc.p.s));
		cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 1);
		fault_sends(&sc.f, 0);
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 2);
		cr_assert_eq(sc.p.done[0] + sc.p.done[1], 4 - ENOTCONN);
		RUN_UNTIL(sc.l, sc.p.n[EV_ERROR] == 1);
		cr_assert_eq(sc.p.status[0], -ENOTCONN);
		cr_assert_eq(bare_recv(fd2), 1);
		cr_assert_eq(bare_recv(sc.fd), -1);
		close(fd2);
		leave();
	}
}

/* A reply that says of its address what it is to say of the socket. */
BACKEND_TEST(state, reply_after_the_end)
{
	struct dgram_addr stranger, unnamed = { .len = 0 };
	struct dgram_message m = { .remote = &stranger },
	    n = { .remote = &unnamed };

	enter(backend, DGRAM_UDP4, CONNECTED);
	stranger = dead_addr(DGRAM_UDP4);
	CHECK(dgram_reply(sc.p.s, &m, "x", 1), IS_CONNECTED);
	fault_sends(&sc.f, -EAGAIN);
	OK(send_done(&sc.p, 1, NULL));
	OK(dgram_end(sc.p.s, NULL, NULL));
	CHECK(dgram_reply(sc.p.s, &m, "x", 1), NOT_RUNNING);
	leave();

	enter(backend, DGRAM_UNIX, BOUND);
	CHECK(dgram_reply(sc.p.s, &n, "x", 1), -EDESTADDRREQ);
	OK(dgram_close(sc.p.s, NULL, NULL));
	CHECK(dgram_reply(sc.p.s, &n, "x", 1), NOT_RUNNING);
	leave();
}

/*
 * Calls on a socket that ends, in the moment when its last datagram goes: they
 * flush, the flush closes it, and there is nothing left to connect.
 */
static void
on_connect_timer(struct dgram_timer *t, void *arg)
{
	int *way = arg;
	int r;

	(void)t;
	fault_sends(&sc.f, 0);
	if (*way == 0)
		r = CALL(dgram_connect_addr(sc.p.s, &sc.to));
	else if (*way == 1)
		r = CALL(dgram_disconnect(sc.p.s));
	else
		r = CALL(dgram_flush(sc.p.s));
	cr_assert(r <= 0, "%d", r);
	cr_assert(sc.p.s->state == DGI_CLOSED || sc.p.s->state == DGI_BOUND ||
	    sc.p.s->state == DGI_CONNECTED, "state %d", sc.p.s->state);
}

BACKEND_TEST(state, calls_while_it_ends)
{
	struct dgram_timer t;
	int way;

	EACH_TYPE(type) {
		for (way = 0; way < 3; way++) {
			enter(backend, type, way == 1 ? CONNECTED : BOUND);
			fault_sends(&sc.f, -ENOBUFS);
			OK(send_done(&sc.p, 1, way == 1 ? NULL : &sc.to));
			turns(sc.l, 2);
			OK(dgram_end(sc.p.s, NULL, NULL));
			/* In the phase in which the back-off ends. */
			dgram_timer_init(&t, sc.l, on_connect_timer, &way);
			OK(dgram_timer_start(&t, 300 * MS, 0));
			sc.f.ahead += 400 * MS;
			RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
			cr_assert_eq(sc.p.n[EV_DONE], 1);
			cr_assert(sc.p.done[0] == 4 ||
			    sc.p.done[0] == -ENOTCONN, "%d", sc.p.done[0]);
			dgram_timer_stop(&t);
			leave();
		}
	}
}
