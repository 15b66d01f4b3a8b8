/* SPDX-License-Identifier: ISC */

/* Rows of Node's tests about sending: see README. */

#include "names.h"
#include "heard.h"

#define LOCALHOST	"127.0.0.1 ::1"

/* ---- the scene ---- */

/* The socket of names.h, not bound; "localhost" is known. */
static void
begin(const char *backend, dgram_lookup_fn *lookup)
{
	enter(backend, NULL, NULL, lookup);
	fake_answer("localhost", LOCALHOST);
}

/* ... and one that is bound to all interfaces and hears itself; its port. */
static int
begin_bound(const char *backend)
{
	begin(backend, NULL);
	p.hook = hear;
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	RUN_UNTIL(l, p.n[EV_LISTENING] == 1);
	return port_of(&p);
}

static void
close_peer(struct peer *peer)
{
	OK(dgram_close(peer->s, NULL, NULL));
	RUN_UNTIL(l, peer->s == NULL);
}

/* The next datagram at the bare socket. */
static void
bare_hears(const void *data, size_t size)
{
	struct pollfd w = { .fd = fd, .events = POLLIN };
	static char buf[2048];

	MUST(poll(&w, 1, 5000) == 1, "nothing came");
	MUST(recv(fd, buf, sizeof(buf), MSG_DONTWAIT) == (ssize_t)size &&
	    memcmp(buf, data, size) == 0, "other bytes");
}

static char text[128], x256[256], y256[256], both[512];

static void
fill_buffers(void)
{
	memset(x256, 'x', sizeof(x256));
	memset(y256, 'y', sizeof(y256));
	memcpy(both, x256, sizeof(x256));
	memcpy(both + sizeof(x256), y256, sizeof(y256));
}

/* ---- results ---- */

/* What dgram_last_error() says in the completion of a send. */
static struct dgram_error failure;
static struct dgram_addr failure_addr;

static void
failed(struct dgram_socket *s, int status, void *arg)
{
	OK(dgram_last_error(s, &failure));
	MUST(failure.status == status && failure.kind == DGRAM_IN_SEND &&
	    strcmp(failure.syscall, "send") == 0 && failure.host == NULL,
	    "%d in %d", failure.status, failure.kind);
	failure_addr = *failure.addr;
	sent(s, status, arg);
}

/* The completion is told how many bytes that was. */
BACKEND_TEST(parallel, bytes_length)
{
	begin(backend, NULL);
	OK(dgram_sendto(p.s, "Some bytes", 0, 10, port, "localhost", sent,
	    &p));
	cr_assert_eq(p.n[EV_DONE], 0);
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	cr_assert_eq(record_of('d', 0)->status, 10);
	bare_hears("Some bytes", 10);
	close_peer(&p);
	TRACE(&p, "LdX");
	leave();
}

/*
 * Of size, so refused by the call; Node calls back.  What the kernel itself
 * says of it comes by completion, in Node's words.
 */
BACKEND_TEST(parallel, msgsize)
{
	static char big[256 * 1024];
	static const char *const to_whom[] = { "127.0.0.1", "localhost", NULL };
	struct dgram_addr a;
	size_t i;

	begin(backend, NULL);
	for (i = 0; i < COUNT(to_whom); i++)
		CHECK(dgram_sendto(p.s, big, 0, sizeof(big), 12345, to_whom[i],
		    sent, &p), -EMSGSIZE);
	turns(l, 3);
	TRACE(&p, "");
	CHECK(dgram_address(p.s, &a), -EBADF);
	FAKE_CHECK(fake.calls == 0);
	fault_sends(&f, -EMSGSIZE);
	OK(dgram_send(p.s, big, 4, 12345, "127.0.0.1", failed, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	TOLD('d', 0, -EMSGSIZE, DGRAM_IN_SEND, "send EMSGSIZE 127.0.0.1:12345");
	cr_assert(strcmp(dgram_err_name(record_of('d', 0)->status),
	    "EMSGSIZE") == 0);
	cr_assert(strcmp(host_of(&failure_addr), "127.0.0.1") == 0);
	cr_assert_eq(dgram_addr_port(&failure_addr), 12345);
	cr_assert_eq(p.n[EV_ERROR], 0);
	close_peer(&p);
	TRACE(&p, "LdX");
	leave();
}

/*
 * No end of a buffer is out of bounds, and length zero is a datagram.  Node's
 * close cuts all of them off, and their callbacks never come: here send and
 * close sends.
 */
BACKEND_TEST(parallel, oob_buffer)
{
	static const struct { size_t offset, length; } part[] = {
		{ 0, 0 }, { 0, 4 }, { 1, 3 }, { 3, 1 }, { 4, 0 } };
	static const char buf[] = { 1, 2, 3, 4 };
	size_t i;

	begin(backend, NULL);
	for (i = 0; i < COUNT(part); i++)
		OK(dgram_sendto(p.s, buf, part[i].offset, part[i].length, port,
		    "127.0.0.1", sent, &p));
	OK(dgram_close(p.s, NULL, NULL));
	TRACE(&p, "");
	RUN_UNTIL(l, p.s == NULL);
	TRACE(&p, "dddddX");
	for (i = 0; i < COUNT(part); i++) {
		cr_assert_eq(record_of('d', (int)i)->status,
		    (int)part[i].length);
		bare_hears(buf + part[i].offset, part[i].length);
	}
	leave();
}

/* From the offset on, so many bytes; and what is refused, in this order. */
BACKEND_TEST(parallel, sendto)
{
	struct dgram_addr a;

	begin(backend, NULL);
	CHECK(dgram_sendto(p.s, NULL, 1, 2, port, "127.0.0.1", sent, &p),
	    -EINVAL);
	CHECK(dgram_sendto(p.s, NULL, 0, 2, port, "127.0.0.1", sent, &p),
	    -EINVAL);
	CHECK(dgram_sendto(p.s, "buffer", 1, 2, -1, "127.0.0.1", sent, &p),
	    BAD_PORT);
	CHECK(dgram_address(p.s, &a), -EBADF);
	OK(dgram_sendto(p.s, "buffer", 1, 2, port, "127.0.0.1", sent, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	cr_assert_eq(record_of('d', 0)->status, 2);
	bare_hears("uf", 2);
	OK(dgram_close(p.s, NULL, NULL));
	CHECK(dgram_sendto(p.s, "buffer", 1, 2, port, "127.0.0.1", sent, &p),
	    NOT_RUNNING);
	RUN_UNTIL(l, p.s == NULL);
	TRACE(&p, "LdX");
	leave();
}

/* ---- arguments ---- */

/*
 * Without an address it is the loopback.  A socket that does not hold the loop
 * does so until its sends are told of.  What is no text is the compiler's.
 */
BACKEND_TEST(parallel, send_address_types)
{
	static const char *const none[] = { "", NULL };
	int i;

	(void)begin_bound(backend);
	for (i = 0; i < 4; i++)
		OK(dgram_send(p.s, "test", 4, port, i < 3 ? none[i % 2] :
		    "127.0.0.1", sent, &p));
	OK(dgram_unref(p.s));
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(p.n[EV_DONE], 4);
	for (i = 0; i < 4; i++) {
		cr_assert_eq(record_of('d', i)->status, 4);
		bare_hears("test", 4);
	}
	TRACE(&p, "Ldddd");
	leave();
}

static void
check_args(int bad_port, int other_port)
{
	static const int ports[] = { -1, 0, 65536 };
	static const char *const hosts[] = { "127.0.0.1", "localhost" };
	struct iovec iov[] = { { x256, 4 }, { NULL, 23 } };
	size_t i, k;

	for (i = 0; i < COUNT(ports); i++) {
		for (k = 0; k < COUNT(hosts); k++) {
			CHECK(dgram_send(p.s, "test", 4, ports[i], hosts[k],
			    sent, &p), bad_port);
			CHECK(dgram_sendto(p.s, "test", 1, 1, ports[i],
			    hosts[k], sent, &p), bad_port);
			CHECK(dgram_sendv(p.s, iov, 1, ports[i], hosts[k],
			    sent, &p), bad_port);
		}
		if (ports[i] != 0)
			CHECK(dgram_send(p.s, "test", 4, ports[i], NULL, sent,
			    &p), bad_port);
	}
	/* No bytes, and a list with such a piece. */
	CHECK(dgram_send(p.s, NULL, 4, other_port, NULL, sent, &p), -EINVAL);
	CHECK(dgram_sendto(p.s, NULL, 6, 0, other_port, NULL, sent, &p),
	    -EINVAL);
	CHECK(dgram_sendv(p.s, iov, 2, other_port, NULL, sent, &p), -EINVAL);
	CHECK(dgram_sendv(p.s, NULL, 1, other_port, NULL, sent, &p), -EINVAL);
	CHECK(dgram_sendv(p.s, iov, -1, other_port, NULL, sent, &p), -EINVAL);
}

/*
 * Ports, and any destination on a connected socket.  Offset and length cannot
 * be checked: C does not know how long a buffer is.
 */
BACKEND_TEST(parallel, send_bad_arguments)
{
	struct dgram_addr a;

	begin(backend, NULL);
	check_args(BAD_PORT, 12345);
	/* Neither to the peer that is not there. */
	CHECK(dgram_send(p.s, "test", 4, 0, NULL, sent, &p), BAD_PORT);
	CHECK(dgram_address(p.s, &a), -EBADF);
	OK(dgram_connect(p.s, 12345, NULL, connect_done, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	TRACE(&p, "LCc");
	check_args(IS_CONNECTED, 0);
	CHECK(dgram_send(p.s, "test", 4, 1234, "127.0.0.1", sent, &p),
	    IS_CONNECTED);
	CHECK(dgram_send(p.s, "test", 4, 1234, NULL, sent, &p), IS_CONNECTED);
	close_peer(&p);
	TRACE(&p, "LCcX");
	FAKE_CHECK(fake.calls == 0);
	leave();
}

/* ---- to itself, with a completion ---- */

/* A piece of the buffer, to that address. */
static void
send_piece(const char *backend, size_t offset, const char *address)
{
	size_t length = sizeof(x256) - offset;
	int own = begin_bound(backend);

	fill_buffers();
	x256[offset] = 'o';
	if (offset == 0)
		OK(dgram_send(p.s, x256, length, own, address, sent, &p));
	else
		OK(dgram_sendto(p.s, x256, offset, length, own, address, sent,
		    &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1 && heard.n == 1);
	cr_assert_eq(record_of('d', 0)->status, (int)length);
	cr_assert(heard_is(0, x256 + offset, length));
	close_peer(&p);
	/* Completions come before what the socket hears of itself. */
	TRACE(&p, "LdMX");
	leave();
}

BACKEND_TEST(parallel, send_callback_buffer)
{
	send_piece(backend, 0, "127.0.0.1");
}

BACKEND_TEST(parallel, send_callback_buffer_empty_address)
{
	send_piece(backend, 0, NULL);
}

BACKEND_TEST(parallel, send_callback_buffer_length)
{
	send_piece(backend, 20, "127.0.0.1");
}

BACKEND_TEST(parallel, send_callback_buffer_length_empty_address)
{
	send_piece(backend, 20, NULL);
}

static void
close_at_message(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	hear(peer, e, m, n);
	if (e == EV_MESSAGE)
		OK(dgram_close(peer->s, NULL, NULL));
}

/* A list is one datagram. */
static void
send_list(const char *backend, const char *address)
{
	struct iovec iov[] = { { x256, sizeof(x256) }, { y256, sizeof(y256) } };
	int own = begin_bound(backend);

	fill_buffers();
	p.hook = close_at_message;
	OK(dgram_sendv(p.s, iov, 2, own, address, sent, &p));
	RUN_UNTIL(l, p.s == NULL);
	cr_assert_eq(record_of('d', 0)->status, 512);
	cr_assert_eq(heard.n, 1);
	cr_assert(heard_is(0, both, sizeof(both)));
	TRACE(&p, "LdMX");
	leave();
}

BACKEND_TEST(parallel, send_callback_multi_buffer)
{
	send_list(backend, "127.0.0.1");
}

BACKEND_TEST(parallel, send_callback_multi_buffer_empty_address)
{
	send_list(backend, NULL);
}

#define ROUNDS	10

static int begun, own_port;

static void
send_again(void)
{
	if (begun++ < ROUNDS)
		OK(dgram_sendto(p.s, "abc", 0, 3, own_port, "127.0.0.1", sent,
		    &p));
}

static void
recurse(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	hear(peer, e, m, n);
	if (e == EV_LISTENING)
		own_port = port_of(peer);
	if (e == EV_LISTENING || e == EV_DONE)
		send_again();
	if (e == EV_MESSAGE && heard.n == ROUNDS)
		OK(dgram_close(peer->s, NULL, NULL));
	if (e == EV_CLOSE)
		MUST(heard.n == ROUNDS, "%zu datagrams", heard.n);
}

/* CALL() fails if a completion comes from inside of the call. */
BACKEND_TEST(parallel, send_callback_recursive)
{
	int i;

	begin(backend, NULL);
	p.hook = recurse;
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	RUN_UNTIL(l, p.s == NULL);
	cr_assert_eq(p.n[EV_CLOSE], 1);
	cr_assert_eq(p.n[EV_DONE], ROUNDS);
	/* The last completion, which sends no more, counts too. */
	cr_assert_eq(begun, ROUNDS + 1);
	for (i = 0; i < ROUNDS; i++) {
		cr_assert_eq(record_of('d', i)->status, 3);
		cr_assert(heard_text((size_t)i, "abc"));
	}
	leave();
}

/* ---- failures ---- */

static void
close_at_error(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_ERROR)
		OK(dgram_close(peer->s, NULL, NULL));
}

/* A failure is told once: to the completion, or else by `error`. */
BACKEND_TEST(parallel, send_cb_quelches_error)
{
	static const char why[] = "getaddrinfo ENOTFOUND nowhere.invalid";

	begin(backend, NULL);
	OK(dgram_send(p.s, "x", 1, port, "nowhere.invalid", sent, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	turns(l, 3);
	TRACE(&p, "Ld");
	TOLD('d', 0, DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP, why);
	p.hook = close_at_error;
	OK(dgram_send(p.s, "x", 1, port, "nowhere.invalid", NULL, NULL));
	RUN_UNTIL(l, p.s == NULL);
	TRACE(&p, "LdEX");
	TOLD('E', 0, DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP, why);
	cr_assert_eq(bare_recv(fd), -1);
	leave();
}

/*
 * What a look-up says of a send, and what the kernel does, with and without a
 * completion.  Without one Node swallows the kernel's: here it is an `error`.
 */
BACKEND_TEST(parallel, send_error)
{
	static const char why[] = "getaddrinfo ENETDOWN localhost";
	struct peer q;

	begin(backend, look_up);
	open_named(&q, NULL, look_up);
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	OK(dgram_bind(q.s, 0, NULL, NULL, NULL));
	OK(dgram_send(p.s, "foo", 3, port, "localhost", NULL, NULL));
	OK(dgram_send(q.s, "foo", 3, port, "localhost", sent, &q));
	RUN_UNTIL(l, nasks == 2);
	/* Whatever the look-up fails with is what is told. */
	OK(refuse(0, -ENETDOWN));
	OK(refuse(1, -ENETDOWN));
	RUN_UNTIL(l, p.n[EV_ERROR] == 1 && q.n[EV_DONE] == 1);
	TRACE(&p, "LE");
	TRACE(&q, "Ld");
	TOLD('E', 0, -ENETDOWN, DGRAM_IN_LOOKUP, why);
	TOLD('d', 0, -ENETDOWN, DGRAM_IN_LOOKUP, why);
	/* One that has no name. */
	fault_sends(&f, -4000);
	OK(dgram_send(p.s, "foo", 3, port, "127.0.0.1", NULL, NULL));
	OK(dgram_send(q.s, "foo", 3, port, "127.0.0.1", failed, &q));
	RUN_UNTIL(l, p.n[EV_ERROR] == 2 && q.n[EV_DONE] == 2);
	snprintf(text, sizeof(text), "send UNKNOWN 127.0.0.1:%d", port);
	TOLD('E', 1, -4000, DGRAM_IN_SEND, text);
	TOLD('d', 1, -4000, DGRAM_IN_SEND, text);
	cr_assert(dgram_addr_equal(&failure_addr, &to));
	cr_assert(dgram_addr_equal(&p.error_addr, &to));
	fault_sends(&f, 0);
	close_peer(&p);
	close_peer(&q);
	TRACE(&p, "LEEX");
	TRACE(&q, "LddX");
	cr_assert_eq(bare_recv(fd), -1);
	leave();
}

/* ---- without an address, in all forms ---- */

static size_t bytes_sent;

static void
close_at_all(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	hear(peer, e, m, n);
	if (e == EV_MESSAGE && heard.bytes == bytes_sent)
		OK(dgram_close(peer->s, NULL, NULL));
}

static void
default_host(const char *backend, int type, const char *address)
{
	struct iovec all[] = { { x256, 256 }, { y256, 256 },
		{ (char[]){ "hello" }, 5 } };
	struct peer q;
	int own;

	begin(backend, NULL);
	fill_buffers();
	peer_open(&q, l, (enum dgram_type)type, NULL);
	q.hook = close_at_all;
	OK(dgram_bind(q.s, 0, address, NULL, NULL));
	own = port_of(&q);
	OK(dgram_sendto(q.s, x256, 0, 256, own, NULL, NULL, NULL));
	OK(dgram_send(q.s, y256, 256, own, NULL, NULL, NULL));
	OK(dgram_sendv(q.s, all, 1, own, NULL, NULL, NULL));
	OK(dgram_sendto(q.s, "hello", 0, 5, own, "", NULL, NULL));
	OK(dgram_sendto(q.s, both, 100, 256, own, NULL, NULL, NULL));
	OK(dgram_sendv(q.s, all, 3, own, "", NULL, NULL));
	bytes_sent = 256 + 256 + 256 + 5 + 256 + 517;
	RUN_UNTIL(l, q.s == NULL);
	cr_assert_eq(heard.n, 6);
	cr_assert_eq(heard.bytes, bytes_sent);
	cr_assert(heard_is(0, x256, 256) && heard_is(1, y256, 256) &&
	    heard_is(2, x256, 256) && heard_text(3, "hello") &&
	    heard_is(4, both + 100, 256));
	cr_assert(heard.d[5].size == 517 &&
	    memcmp(heard.d[5].data, both, 512) == 0 &&
	    memcmp(heard.d[5].data + 512, "hello", 5) == 0);
	cr_assert(strcmp(host_of(&heard.d[5].from),
	    type == DGRAM_UDP4 ? "127.0.0.1" : "::1") == 0);
	cr_assert_eq(q.n[EV_ERROR], 0);
	leave();
}

BACKEND_TEST(parallel, send_default_host)
{
	default_host(backend, DGRAM_UDP4, NULL);
}

BACKEND_TEST(parallel, udp6_send_default_host)
{
	if (!have_ipv6())
		cr_skip_test("no IPv6 on this machine");
	default_host(backend, DGRAM_UDP6, "::1");
}

/* ---- nothing is a datagram, too ---- */

static int (*send_nothing)(void);
static int nothings;

static int
empty_array(void)
{
	return CALL(dgram_sendv(p.s, NULL, 0, own_port, "127.0.0.1", NULL,
	    NULL));
}

static int
empty_buffer(void)
{
	return CALL(dgram_send(p.s, NULL, 0, own_port, "127.0.0.1", sent, &p));
}

static int
empty_packet(void)
{
	return CALL(dgram_sendto(p.s, "x", 0, 0, own_port, "127.0.0.1", sent,
	    &p));
}

static void
tick(struct dgram_timer *t, void *arg)
{
	(void)t, (void)arg;
	OK(send_nothing());
	nothings++;
}

/* Again and again until one comes: a system may lose some. */
static void
until_one_comes(const char *backend, int (*fn)(void))
{
	struct dgram_timer timer;
	int i;

	own_port = begin_bound(backend);
	send_nothing = fn;
	dgram_timer_init(&timer, l, tick, NULL);
	OK(dgram_timer_start(&timer, 10 * MS, 10 * MS));
	RUN_UNTIL(l, heard.n > 0);
	dgram_timer_stop(&timer);
	cr_assert_eq(heard.d[0].size, 0);
	cr_assert_eq(heard.bytes, 0);
	cr_assert_eq(dgram_addr_port(&heard.d[0].from), own_port);
	close_peer(&p);
	/* One completion for each, and no `error`. */
	if (fn == empty_array)
		nothings = 0;
	cr_assert_eq(p.n[EV_DONE], nothings);
	for (i = 0; i < nothings; i++)
		cr_assert_eq(record_of('d', i)->status, 0);
	cr_assert_eq(p.n[EV_ERROR], 0);
	leave();
}

BACKEND_TEST(parallel, send_empty_array)
{
	until_one_comes(backend, empty_array);
}

BACKEND_TEST(parallel, send_empty_buffer)
{
	until_one_comes(backend, empty_buffer);
}

BACKEND_TEST(parallel, send_empty_packet)
{
	until_one_comes(backend, empty_packet);
}

/* ---- what is copied ---- */

/* The list is copied, and so are the bytes if there is no completion. */
BACKEND_TEST(parallel, send_multi_buffer_copy)
{
	struct iovec iov[] = { { x256, sizeof(x256) }, { y256, sizeof(y256) } };
	int own = begin_bound(backend), i;

	fill_buffers();
	for (i = 0; i < 2; i++) {
		iov[0] = (struct iovec){ x256, sizeof(x256) };
		iov[1] = (struct iovec){ y256, sizeof(y256) };
		OK(dgram_sendv(p.s, iov, 2, own, "127.0.0.1",
		    i == 0 ? NULL : sent, &p));
		memset(iov, 0, sizeof(iov));
		if (i == 0) {
			memset(x256, 'z', sizeof(x256));
			memset(y256, 'z', sizeof(y256));
			RUN_UNTIL(l, heard.n == 1);
			fill_buffers();
		}
	}
	RUN_UNTIL(l, heard.n == 2 && p.n[EV_DONE] == 1);
	cr_assert_eq(record_of('d', 0)->status, 512);
	cr_assert(heard_is(0, both, 512) && heard_is(1, both, 512));
	leave();
}

BACKEND_TEST(parallel, send_multi_string_array)
{
	struct iovec data[] = { { (char[]){ "foo" }, 3 },
		{ (char[]){ "bar" }, 3 }, { (char[]){ "baz" }, 3 } };
	int own = begin_bound(backend);

	p.hook = close_at_message;
	OK(dgram_sendv(p.s, data, 3, own, "localhost", NULL, NULL));
	RUN_UNTIL(l, p.s == NULL);
	cr_assert_eq(heard.n, 1);
	cr_assert(heard_text(0, "foobarbaz"));
	leave();
}

/*
 * Node counts only what the kernel refused, and has a flag for this test: here
 * it is all that is not sent yet.
 */
BACKEND_TEST(parallel, send_queue_info)
{
	begin(backend, NULL);
	cr_assert_eq(dgram_get_send_queue_size(p.s), 0);
	cr_assert_eq(dgram_get_send_queue_count(p.s), 0);
	OK(dgram_connect(p.s, port, NULL, connect_done, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	OK(dgram_send(p.s, "hello", 5, 0, NULL, NULL, NULL));
	OK(dgram_send(p.s, "hello", 5, 0, NULL, NULL, NULL));
	cr_assert_eq(dgram_get_send_queue_size(p.s), 10);
	cr_assert_eq(dgram_get_send_queue_count(p.s), 2);
	/* Also what the kernel refused. */
	fault_sends(&f, -EAGAIN);
	turns(l, 3);
	cr_assert_eq(dgram_get_send_queue_size(p.s), 10);
	cr_assert_eq(dgram_get_send_queue_count(p.s), 2);
	fault_sends(&f, 0);
	close_peer(&p);
	bare_hears("hello", 5);
	bare_hears("hello", 5);
	leave();
}

/* ---- names ---- */

/* The look-up asks the system in its turn. */
static void
resolved(int status, const struct dgram_addr *addrs, size_t n, void *arg)
{
	const struct ask *a = arg;

	MUST(status == 0 && n > 0, "%s", dgram_err_name(status));
	OK(dgram_lookup_done(l, a->id, 0, addrs));
}

static void
ask_system(struct ask *a)
{
	OK(dgram_resolve(l, a->host, a->family, resolved, a, NULL));
}

/*
 * The socket's look-up is asked, or without one getaddrinfo(3): for names.
 * Node 20 asks it for literals and for the address that was left out, too.
 */
BACKEND_TEST(parallel, custom_lookup)
{
	struct peer q;
	int type;

	begin(backend, look_up);
	on_ask = ask_system;
	OK(dgram_bind(p.s, 0, "localhost", bind_done, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	TRACE(&p, "Lb");
	cr_assert_eq(record_of('b', 0)->status, 0);
	OK(dgram_address(p.s, &p.addr));
	cr_assert(strcmp(host_of(&p.addr), "127.0.0.1") == 0);
	cr_assert_eq(nasks, 1);
	cr_assert(strcmp(asks[0].host, "localhost") == 0 &&
	    asks[0].family == AF_INET && asks[0].s == p.s &&
	    asks[0].arg == &p);
	FAKE_CHECK(fake_find("localhost")->calls == 1);
	/* Once for a send, and for nothing else. */
	OK(dgram_send(p.s, "x", 1, port, "localhost", sent, &p));
	OK(dgram_send(p.s, "y", 1, port, "127.0.0.1", sent, &p));
	OK(dgram_send(p.s, "z", 1, port, NULL, sent, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 4);
	cr_assert_eq(nasks, 2);
	close_peer(&p);
	for (type = DGRAM_UDP4; type <= DGRAM_UDP6; type++) {
		if (type == DGRAM_UDP6 && !have_ipv6())
			continue;
		peer_open(&q, l, (enum dgram_type)type, NULL);
		OK(dgram_bind(q.s, 0, "localhost", NULL, NULL));
		RUN_UNTIL(l, q.n[EV_LISTENING] == 1);
		OK(dgram_address(q.s, &q.addr));
		cr_assert(strcmp(host_of(&q.addr), type == DGRAM_UDP4 ?
		    "127.0.0.1" : "::1") == 0);
		FAKE_CHECK(fake.hints.ai_family == (type == DGRAM_UDP4 ?
		    AF_INET : AF_INET6));
		close_peer(&q);
	}
	cr_assert_eq(nasks, 2);
	leave();
}

/* No thread is started, nobody is asked, and it is told in the next turn. */
static void
literals_are_not_asked_for(int type, const char *own, const char *other)
{
	struct peer q;
	int there;

	peer_open(&q, l, (enum dgram_type)type, NULL);
	/* Node asks for a literal of the other family, which then fails. */
	CHECK(dgram_bind(q.s, 0, other, peer_done, &q), -EINVAL);
	OK(dgram_bind(q.s, 0, own, peer_done, &q));
	TRACE(&q, "");
	RUN_UNTIL(l, q.n[EV_DONE] == 1);
	TRACE(&q, "Ld");
	OK(dgram_address(q.s, &q.addr));
	cr_assert(strcmp(host_of(&q.addr), own) == 0);
	there = dgram_addr_port(&q.addr);
	CHECK(dgram_send(q.s, "x", 1, there, other, peer_done, &q), -EINVAL);
	OK(dgram_send(q.s, "x", 1, there, own, peer_done, &q));
	RUN_UNTIL(l, q.got == 1);
	TRACE(&q, "LddM");
	cr_assert_eq(q.done[1], 1);
	close_peer(&q);
}

BACKEND_TEST(parallel, default_lookup_ip)
{
	unsigned before = test_count_threads();

	begin(backend, NULL);
	literals_are_not_asked_for(DGRAM_UDP4, "127.0.0.1", "::1");
	if (have_ipv6())
		literals_are_not_asked_for(DGRAM_UDP6, "::1", "127.0.0.1");
	FAKE_CHECK(fake.calls == 0 && fake.threads == 0);
	cr_assert_eq(test_count_threads(), before);
	leave();
}

/* A datagram to a name is one to send when the name is known, not before. */
BACKEND_TEST(async_hooks, udpsendwrap)
{
	begin(backend, look_up);
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	OK(dgram_send(p.s, "x", 1, port, "localhost", sent, &p));
	RUN_UNTIL(l, nasks == 1);
	turns(l, 3);
	cr_assert_eq(fault_count_sends(&f), 0);
	OK(answer(0, "127.0.0.1"));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	cr_assert_eq(fault_count_sends(&f), 1);
	cr_assert_eq(record_of('d', 0)->status, 1);
	bare_hears("x", 1);
	leave();
}

/* ---- there and back ---- */

static struct peer server;
static const char question[] = "A message to send";

static void
echo(struct peer *peer, enum event e, const struct dgram_message *m, size_t n)
{
	char host[64];

	if (e != EV_MESSAGE)
		return;
	MUST(n == 1 && m->size == strlen(question) &&
	    memcmp(m->data, question, m->size) == 0, "other bytes");
	ACCEPT(dgram_addr_host(m->remote, host, sizeof(host)));
	MUST(strcmp(host, "127.0.0.1") == 0, "%s", host);
	MUST(strcmp(dgram_addr_family(m->remote), "IPv4") == 0, "family");
	OK(dgram_sendto(peer->s, m->data, 0, m->size,
	    dgram_addr_port(m->remote), host, NULL, NULL));
}

static void
close_both(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	hear(peer, e, m, n);
	if (e != EV_MESSAGE)
		return;
	OK(dgram_close(peer->s, peer_close_fn, peer));
	OK(dgram_close(server.s, peer_close_fn, &server));
}

/* By a name, to all interfaces, and back to where it came from. */
BACKEND_TEST(parallel, udp4)
{
	int there;

	begin(backend, NULL);
	open_named(&server, NULL, NULL);
	server.hook = echo;
	OK(dgram_bind(server.s, 0, NULL, NULL, NULL));
	RUN_UNTIL(l, server.n[EV_LISTENING] == 1);
	there = port_of(&server);
	p.hook = close_both;
	OK(dgram_sendto(p.s, question, 0, strlen(question), there, "localhost",
	    NULL, NULL));
	RUN_UNTIL(l, p.s == NULL && server.s == NULL);
	TRACE(&p, "LMXf");
	TRACE(&server, "LMXf");
	cr_assert_eq(heard.n, 1);
	cr_assert(heard_text(0, question));
	cr_assert(strcmp(host_of(&heard.d[0].from), "127.0.0.1") == 0);
	cr_assert_eq(dgram_addr_port(&heard.d[0].from), there);
	leave();
}

struct game {
	struct peer server, client;
};

static void
pong(struct peer *peer, enum event e, const struct dgram_message *m, size_t n)
{
	if (e != EV_MESSAGE)
		return;
	MUST(n == 1 && m->size == 4 && memcmp(m->data, "PING", 4) == 0,
	    "other bytes");
	OK(dgram_sendto(peer->s, "PONG", 0, 4, dgram_addr_port(m->remote),
	    host_of(m->remote), NULL, NULL));
}

static void
game_over(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	struct game *g = peer->arg;

	if (e != EV_MESSAGE)
		return;
	MUST(n == 1 && m->size == 4 && memcmp(m->data, "PONG", 4) == 0,
	    "other bytes");
	OK(dgram_close(g->client.s, NULL, NULL));
	OK(dgram_close(g->server.s, NULL, NULL));
}

static void
serve(struct peer *peer, enum event e, const struct dgram_message *m, size_t n)
{
	struct game *g = peer->arg;

	if (e == EV_LISTENING) {
		open_named(&g->client, NULL, NULL);
		g->client.arg = g;
		g->client.hook = game_over;
		OK(dgram_sendto(g->client.s, "PING", 0, 4, port_of(peer),
		    "localhost", NULL, NULL));
	}
	pong(peer, e, m, n);
}

/* A server by name and one on all interfaces, at the same time. */
BACKEND_TEST(sequential, pingpong)
{
	static const char *const hosts[] = { "localhost", NULL };
	static struct game games[COUNT(hosts)];
	size_t i;

	begin(backend, NULL);
	for (i = 0; i < COUNT(hosts); i++) {
		open_named(&games[i].server, NULL, NULL);
		games[i].server.arg = &games[i];
		games[i].server.hook = serve;
		OK(dgram_bind(games[i].server.s, 0, hosts[i], NULL, NULL));
	}
	RUN_UNTIL(l, games[0].server.n[EV_CLOSE] == 1 &&
	    games[1].server.n[EV_CLOSE] == 1);
	for (i = 0; i < COUNT(hosts); i++) {
		TRACE(&games[i].server, "LMX");
		TRACE(&games[i].client, "LMX");
	}
	leave();
}
