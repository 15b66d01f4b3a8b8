/* SPDX-License-Identifier: ISC */

/*
 * Opening and closing of sockets, and what keeps the loop running.
 */

#include "sockets.h"

/* Options that are taken without a look. */
TEST(socket, bad_options)
{
	struct dgram_options o, good = { .type = DGRAM_UDP4 };
	struct dgram_socket *s, *marker;
	struct dgram_loop *l = test_loop(NULL);
	size_t held, before;
	int fds = test_count_fds();

	marker = s = (struct dgram_socket *)(void *)&o;
	OK(dgram_loop_memory(l, &before, NULL));
#define TRY(member, value, want) do {					\
	o = good;							\
	o.member = value;						\
	CHECK(dgram_open(l, &o, &s), want);				\
	CHECK(dgram_open_fd(l, &o, 0, &s), want);			\
} while (0)
	TRY(type, (enum dgram_type)4, DGRAM_ERR_SOCKET_BAD_TYPE);
	TRY(type, (enum dgram_type)-1, DGRAM_ERR_SOCKET_BAD_TYPE);
	TRY(recv_buffer_size, -1, DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE);
	TRY(send_buffer_size, INT_MIN, DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE);
	TRY(max_datagram, ((size_t)16 << 20) + 1, -EINVAL);
	TRY(max_datagram, SIZE_MAX, -EINVAL);
	TRY(want, DGRAM_FDS, -ENOTSUP);
	TRY(want, DGRAM_LOCAL | DGRAM_CREDS, -ENOTSUP);
	TRY(want, DGRAM_TRUNCATED, -EINVAL);
	TRY(want, DGRAM_GROUP, -EINVAL);
	TRY(want, 0x80000000u, -EINVAL);
	TRY(ipv6_only, true, -EINVAL);
#undef TRY
	o = good;
	o.type = DGRAM_UNIX;
	o.want = DGRAM_TTL;
	CHECK(dgram_open(l, &o, &s), -ENOTSUP);
	o.want = DGRAM_LOCAL | DGRAM_TIME;
	CHECK(dgram_open(l, &o, &s), -ENOTSUP);
	o = good;
	o.type = (enum dgram_type)0;
	CHECK(dgram_open(l, &o, &s), DGRAM_ERR_SOCKET_BAD_TYPE);
	cr_assert_eq(s, marker, "stored on failure");
	OK(dgram_loop_memory(l, &held, NULL));
	cr_assert_eq(held, before);
	cr_assert_eq(test_count_fds(), fds);
	o = good;
	o.max_datagram = (size_t)16 << 20;
	OK(dgram_open(l, &o, &s));
	free_loop(l);
}

TEST(socket, type_parse)
{
	CHECK(dgram_type_parse("udp4"), DGRAM_UDP4);
	CHECK(dgram_type_parse("udp6"), DGRAM_UDP6);
	CHECK(dgram_type_parse("unix_dgram"), DGRAM_UNIX);
	CHECK(dgram_type_parse(""), DGRAM_ERR_SOCKET_BAD_TYPE);
	CHECK(dgram_type_parse("UDP4"), DGRAM_ERR_SOCKET_BAD_TYPE);
	CHECK(dgram_type_parse("udp"), DGRAM_ERR_SOCKET_BAD_TYPE);
	CHECK(dgram_type_parse("udp44"), DGRAM_ERR_SOCKET_BAD_TYPE);
	CHECK(dgram_type_parse(NULL), DGRAM_ERR_SOCKET_BAD_TYPE);
}

/* A descriptor before it is needed; one that stays behind a close. */
BACKEND_TEST(socket, descriptor)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	int fds = test_count_fds();

	EACH_TYPE(type) {
		peer_open(&p, l, (enum dgram_type)type, NULL);
		cr_assert_eq(test_count_fds(), fds);
		peer_bind(&p);
		cr_assert_eq(test_count_fds(), fds + 1);
		cr_assert(fcntl(dgram_fileno(p.s), F_GETFD) & FD_CLOEXEC);
		cr_assert(fcntl(dgram_fileno(p.s), F_GETFL) & O_NONBLOCK);
		OK(dgram_close(p.s, NULL, NULL));
		/* At once, not when the loop has turned. */
		cr_assert_eq(test_count_fds(), fds);
		turns(l, 2);
	}
	free_loop(l);
}

/* What the accessors say. */
BACKEND_TEST(socket, accessors)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	int x;

	peer_open(&p, l, DGRAM_UDP4, NULL);
	cr_assert_eq(dgram_arg(p.s), &p);
	cr_assert_eq(dgram_socket_loop(p.s), l);
	OK(dgram_set_events(p.s, NULL, &x));
	cr_assert_eq(dgram_arg(p.s), &x);
	peer_bind(&p);
	turns(l, 3);
	OK(dgram_set_events(p.s, &peer_events, &p));
	turns(l, 3);
	cr_assert_eq(strlen(p.trace), 0, "an event that is past");
	free_loop(l);
}

/* A close of a socket that never was bound, sent or did anything. */
BACKEND_TEST(socket, close_unbound)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	int way;

	EACH_TYPE(type) {
		for (way = 0; way < 2; way++) {
			peer_open(&p, l, (enum dgram_type)type, NULL);
			OK(way == 0 ? dgram_close(p.s, peer_close_fn, &p) :
			    dgram_end(p.s, peer_close_fn, &p));
			cr_assert_eq(strlen(p.trace), 0);
			/* And it keeps the loop until it has been told. */
			cr_assert_eq(dgram_loop_run(l), 0);
			cr_assert(strcmp(p.trace, "Xf") == 0, "%s", p.trace);
		}
	}
	free_loop(l);
}

/* Both functions are called: of end, then of close. */
static char order[8];

static void
note_end(void *arg)
{
	(void)arg;
	strcat(order, "e");
}

static void
note_close(void *arg)
{
	(void)arg;
	strcat(order, "c");
}

BACKEND_TEST(socket, end_then_close)
{
	static struct peer p;
	struct fault_os f;
	struct dgram_loop *l;
	struct dgram_addr to;
	int fd;

	fault_init(&f);
	l = fault_loop(&f, backend, NULL);
	fd = bare_socket(DGRAM_UDP4, &to);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	order[0] = '\0';
	fault_sends(&f, -EAGAIN);
	OK(send_done(&p, 1, &to));
	OK(dgram_end(p.s, note_end, NULL));
	OK(dgram_close(p.s, note_close, NULL));
	turns(l, 3);
	cr_assert(strcmp(order, "ec") == 0, "%s", order);
	cr_assert_eq(p.n[EV_CLOSE], 1);
	free_fault_loop(l, &f);
	close(fd);
}

/* No events at all. */
BACKEND_TEST(socket, without_events)
{
	struct dgram_options o = { .type = DGRAM_UDP4 };
	struct dgram_addr a = any_addr(DGRAM_UDP4), self, dead;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_socket *s;
	struct iovec iov = { number(1), 4 };

	dead = dead_addr(DGRAM_UDP4);
	OK(dgram_open(l, &o, &s));
	OK(dgram_bind_addr(s, &a));
	OK(dgram_address(s, &self));
	OK(dgram_send_addr(s, &iov, 1, &self, NULL, NULL));
	turns(l, 5);
	OK(dgram_connect_addr(s, &dead));
	OK(dgram_send_addr(s, &iov, 1, NULL, NULL, NULL));
	turns(l, 5);
	OK(dgram_send_addr(s, &iov, 1, NULL, NULL, NULL));
	turns(l, 5);
	OK(dgram_close(s, NULL, NULL));
	turns(l, 3);
	free_loop(l);
}

/* A socket without `message` is not read, and costs nothing. */
BACKEND_TEST(socket, deaf)
{
	static struct peer p;
	struct dgram_options o = { .events = &peer_deaf };
	struct fault_os f;
	struct dgram_loop *l;
	struct dgram_addr from;
	uint64_t waits;
	int fd;

	EACH_TYPE(type) {
		fault_init(&f);
		l = fault_loop(&f, backend, NULL);
		fd = bare_socket(type, &from);
		peer_open_bound(&p, l, type, &o);
		turns(l, 3);
		bare_send(fd, &p.addr, 1);
		waits = l->waits;
		turn_wait(l, 50);
		cr_assert(l->waits - waits <= 1);
		cr_assert_eq(fault_count_receives(&f), 0);
		OK(dgram_set_events(p.s, &peer_events, &p));
		RUN_UNTIL(l, p.got == 1);
		free_fault_loop(l, &f);
		close(fd);
	}
}

/* ---- what keeps the loop running ---- */

/* A loop that ends too early, or never. */
BACKEND_TEST(socket, keeps_the_loop)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr to;
	int fd;

	EACH_TYPE(type) {
		fd = bare_socket(type, &to);
		/* Opened only. */
		peer_open(&p, l, (enum dgram_type)type, NULL);
		cr_assert_eq(dgram_loop_run(l), 0);
		/* Bound. */
		peer_bind(&p);
		turns(l, 3);
		cr_assert_eq(dgram_loop_run_once(l, 0), 1);
		OK(dgram_pause(p.s));
		cr_assert_eq(dgram_loop_run_once(l, 0), 1);
		OK(dgram_unref(p.s));
		OK(dgram_unref(p.s));
		cr_assert_eq(dgram_loop_run_once(l, 0), 0);
		OK(dgram_ref(p.s));
		cr_assert_eq(dgram_loop_run_once(l, 0), 1);
		OK(dgram_close(p.s, NULL, NULL));
		cr_assert_eq(dgram_loop_run(l), 0);
		cr_assert_eq(p.n[EV_CLOSE], 1);
		/* Without effect on a closed one; the last call wins. */
		peer_open(&p, l, (enum dgram_type)type, NULL);
		OK(dgram_unref(p.s));
		peer_bind(&p);
		OK(send_done(&p, 1, &to));
		cr_assert_eq(dgram_loop_run(l), 0);
		cr_assert_eq(p.n[EV_DONE], 1);
		cr_assert_eq(p.n[EV_LISTENING], 1);
		OK(dgram_close(p.s, NULL, NULL));
		OK(dgram_ref(p.s));
		OK(dgram_unref(p.s));
		cr_assert_eq(dgram_loop_run(l), 0);
		cr_assert_eq(p.n[EV_CLOSE], 1);
		close(fd);
	}
	free_loop(l);
}

/* An AF_UNIX sender without a path receives nothing: the loop ends. */
BACKEND_TEST(socket, nameless_does_not_keep_the_loop)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr to, path = any_addr(DGRAM_UNIX);
	int fd = bare_socket(DGRAM_UNIX, &to);

	peer_open(&p, l, DGRAM_UNIX, NULL);
	OK(send_done(&p, 1, &to));
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(p.n[EV_DONE], 1);
	OK(dgram_bind_addr(p.s, &path));
	turns(l, 3);
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	free_loop(l);
	close(fd);
}

/* ---- a loop that goes ---- */

static void
open_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	struct dgram_options o = { .type = DGRAM_UDP4 };
	struct dgram_socket *s;

	(void)m, (void)n;
	if (e != EV_CLOSE)
		return;
	CHECK(dgram_open(p->loop, &o, &s), -ECANCELED);
	CHECK(dgram_open_fd(p->loop, &o, 0, &s), -ECANCELED);
}

/* A socket that is opened while the loop is freed. */
BACKEND_TEST(socket, open_while_freeing)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);

	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	p.hook = open_hook;
	free_loop(l);
	cr_assert_eq(p.n[EV_CLOSE], 1);
}

static struct peer pair[2];

static void
send_to_other(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	struct peer *o = p == &pair[0] ? &pair[1] : &pair[0];

	(void)m, (void)n;
	if (e == EV_CLOSE && o->s != NULL)
		CHECK(send_done(o, 1, &o->addr),
		    DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING);
}

/* All are closed before the first callback: nothing is accepted by then. */
BACKEND_TEST(socket, send_while_freeing)
{
	struct dgram_loop *l = test_loop(backend);
	int i;

	for (i = 0; i < 2; i++) {
		peer_open_bound(&pair[i], l, DGRAM_UDP4, NULL);
		pair[i].hook = send_to_other;
	}
	OK(send_done(&pair[0], 1, &pair[1].addr));
	free_loop(l);
	cr_assert_eq(pair[0].n[EV_DONE] + pair[1].n[EV_DONE], 1);
	cr_assert_eq(pair[0].n[EV_CLOSE] + pair[1].n[EV_CLOSE], 2);
}

/* Open, exchange, close, many times: nothing is left. */
BACKEND_TEST(socket, churn)
{
	static struct peer p, q;
	struct fault_os f;
	struct dgram_loop *l;
	size_t pieces = 0;
	int i, fds = 0;

	EACH_TYPE(type) {
		fault_init(&f);
		l = fault_loop(&f, backend, NULL);
		for (i = 0; i < 100; i++) {
			peer_open_bound(&p, l, type, NULL);
			peer_open_bound(&q, l, type, NULL);
			OK(send_done(&p, 1, &q.addr));
			RUN_UNTIL(l, q.got == 1 && p.n[EV_DONE] == 1);
			OK(dgram_close(p.s, NULL, NULL));
			OK(dgram_close(q.s, NULL, NULL));
			turns(l, 3);
			if (i == 10) {
				pieces = f.pieces;
				fds = test_count_fds();
			}
		}
		cr_assert_eq(f.pieces, pieces);
		cr_assert_eq(test_count_fds(), fds);
		free_fault_loop(l, &f);
	}
}

/* Two loops side by side. */
BACKEND_TEST(socket, two_loops)
{
	static struct peer p, q;
	struct dgram_loop *l = test_loop(backend), *k = test_loop(backend);

	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	peer_open_bound(&q, k, DGRAM_UDP4, NULL);
	OK(send_done(&p, 1, &q.addr));
	turns(l, 3);
	RUN_UNTIL(k, q.got == 1);
	free_loop(l);
	OK(send_done(&q, 1, &q.addr));
	RUN_UNTIL(k, q.got == 2);
	free_loop(k);
}

/* ---- with as many in flight as a batch, each sending the next ---- */

static unsigned long resent;

static void
send_again(struct dgram_socket *s, int status, void *arg)
{
	struct iovec iov = { number(1), 4 };

	resent++;
	if (status >= 0)
		(void)dgram_send_addr(s, &iov, 1, arg, send_again, arg);
}

/* A loop that is freed under them ends, and each is told once. */
BACKEND_TEST(socket, free_with_a_window_in_flight)
{
	static struct peer first, second;
	struct dgram_loop *l = test_loop(backend);
	struct iovec iov = { number(1), 4 };
	int i;

	peer_open_bound(&first, l, DGRAM_UDP4, NULL);
	peer_open_bound(&second, l, DGRAM_UDP4, NULL);
	resent = 0;
	for (i = 0; i < 40; i++)
		OK(dgram_send_addr(second.s, &iov, 1, &first.addr, send_again,
		    &first.addr));
	free_loop(l);
	cr_assert_eq(resent, 40);
}

/* ---- configure() is the user's, and called from inside of bind ---- */

static struct peer configured;

static int
close_in_configure(int fd, void *arg)
{
	(void)fd, (void)arg;
	return dgram_close(configured.s, NULL, NULL);
}

BACKEND_TEST(socket, close_in_configure)
{
	struct dgram_options o = { .configure = close_in_configure };
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a = any_addr(DGRAM_UDP4);

	peer_open(&configured, l, DGRAM_UDP4, &o);
	CHECK(dgram_bind_addr(configured.s, &a), NOT_RUNNING);
	CHECK(dgram_close(configured.s, NULL, NULL), NOT_RUNNING);
	turns(l, 5);
	cr_assert_eq(configured.n[EV_CLOSE], 1);
	cr_assert_eq(configured.n[EV_LISTENING], 0);
	free_loop(l);
}

static int
run_in_configure(int fd, void *arg)
{
	struct dgram_loop *l = dgram_socket_loop(configured.s);

	(void)fd, (void)arg;
	CHECK(dgram_loop_run(l), -EBUSY);
	CHECK(dgram_loop_run_once(l, 0), -EBUSY);
	CHECK(dgram_loop_free(l), -EBUSY);
	return 0;
}

/* A callback as the others, though the loop does not run. */
BACKEND_TEST(socket, run_in_configure)
{
	struct dgram_options o = { .configure = run_in_configure };
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a = any_addr(DGRAM_UDP4);

	peer_open(&configured, l, DGRAM_UDP4, &o);
	OK(dgram_bind_addr(configured.s, &a));
	turns(l, 3);
	cr_assert_eq(configured.n[EV_LISTENING], 1);
	OK(dgram_close(configured.s, NULL, NULL));
	turns(l, 3);
	cr_assert_eq(configured.n[EV_CLOSE], 1);
	free_loop(l);
}

static struct dgram_addr configured_to;

static int
send_in_configure(int fd, void *arg)
{
	(void)fd, (void)arg;
	OK(send_done(&configured, 1, &configured_to));
	return -EACCES;
}

/* What it sent waited for the bind, and has its error. */
BACKEND_TEST(socket, send_in_configure)
{
	struct dgram_options o = { .configure = send_in_configure };
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a = any_addr(DGRAM_UDP4);
	int fd = bare_socket(DGRAM_UDP4, &configured_to);

	peer_open(&configured, l, DGRAM_UDP4, &o);
	CHECK(dgram_bind_addr(configured.s, &a), -EACCES);
	turns(l, 5);
	cr_assert_eq(configured.n[EV_DONE], 1);
	cr_assert_eq(configured.done[0], -EACCES);
	CHECK(dgram_loop_run_once(l, 0), 0);
	free_loop(l);
	close(fd);
}

static int
fill_in_configure(int fd, void *arg)
{
	(void)fd, (void)arg;
	return send_done(&configured, 1, &configured_to);
}

/* What it sent is of the queue that the call which binds finds full. */
BACKEND_TEST(socket, configure_fills_the_queue)
{
	struct dgram_options o = { .configure = fill_in_configure,
	    .send_queue_count = 1, .send_queue_bytes = 7 };
	struct dgram_loop *l = test_loop(backend);
	int fd = bare_socket(DGRAM_UDP4, &configured_to), i;
	struct iovec iov = { number(2), sizeof(uint32_t) };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1,
	    .to = &configured_to };

	for (i = 0; i < 3; i++) {
		peer_open(&configured, l, DGRAM_UDP4, &o);
		CHECK(i == 0 ? send_done(&configured, 2, &configured_to) :
		    CALL(dgram_send_batch(configured.s, &d, 1,
		    i == 1 ? peer_done : NULL, &configured)), -ENOBUFS);
		cr_assert_eq(dgram_get_send_queue_count(configured.s), 1);
		cr_assert_eq(dgram_get_send_queue_size(configured.s), 4);
		CHECK(send_done(&configured, 3, &configured_to), -ENOBUFS);
		turns(l, 5);
		cr_assert_eq(configured.n[EV_DONE], 1);
		cr_assert_eq(configured.done[0], 4);
		cr_assert_eq(stats_of(&configured).refused, 2);
		OK(dgram_close(configured.s, NULL, NULL));
		turns(l, 3);
		cr_assert_eq(bare_recv(fd), 1);
	}
	free_loop(l);
	close(fd);
}
