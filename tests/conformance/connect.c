/* SPDX-License-Identifier: ISC */

/* Rows of Node's tests about connect, and sending to the peer: see README. */

#include "rows.h"

/* ---- connect ---- */

static void
refused_while_connected(struct dgram_socket *s)
{
	struct dgram_addr a;

	OK(dgram_remote_address(s, &a));
	cr_assert_eq(dgram_addr_port(&a), port);
	CHECK(dgram_connect(s, port, NULL, NULL, NULL), IS_CONNECTED);
	CHECK(dgram_connect(s, port, "name", NULL, NULL), IS_CONNECTED);
	CHECK(dgram_connect_addr(s, &to), IS_CONNECTED);
}

static void
refused_while_not_connected(struct dgram_socket *s)
{
	struct dgram_addr a;

	CHECK(dgram_disconnect(s), NOT_CONNECTED);
	CHECK(dgram_remote_address(s, &a), NOT_CONNECTED);
}

static void
refused_ports(struct dgram_socket *s)
{
	static const int bad[] = { 0, -1, 65536, 78960, INT_MAX, INT_MIN };
	size_t i;

	for (i = 0; i < COUNT(bad); i++) {
		CHECK(dgram_connect(s, bad[i], NULL, NULL, NULL), BAD_PORT);
		CHECK(dgram_connect(s, bad[i], "name", NULL, NULL), BAD_PORT);
	}
}

/* In the completion: to and fro; in the second `connect` that is all. */
static void
connect_anew(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_DONE) {
		refused_while_connected(peer->s);
		OK(dgram_disconnect(peer->s));
		refused_while_not_connected(peer->s);
		refused_ports(peer->s);
		OK(dgram_connect(peer->s, port, NULL, NULL, NULL));
	} else if (e == EV_CONNECT && peer->n[EV_CONNECT] == 2) {
		OK(dgram_close(peer->s, NULL, NULL));
	}
}

BACKEND_TEST(parallel, connect)
{
	struct dgram_addr a;

	begin(backend);
	/* By name there is a time in which it connects. */
	p.hook = connect_anew;
	refused_while_not_connected(p.s);
	refused_ports(p.s);
	OK(dgram_connect(p.s, port, "localhost", connect_done, &p));
	CHECK(dgram_connect(p.s, port, NULL, NULL, NULL), IS_CONNECTED);
	CHECK(dgram_connect(p.s, port, "localhost", NULL, NULL),
	    IS_CONNECTED);
	CHECK(dgram_connect_addr(p.s, &to), IS_CONNECTED);
	refused_while_not_connected(p.s);
	refused_ports(p.s);
	turns(l, 2);
	OK(answer(0, "127.0.0.1"));
	RUN_UNTIL(l, p.n[EV_CLOSE] == 1);
	TRACE(&p, "LCcCX");
	cr_assert_eq(record_of('c', 0)->status, 0);

	/* Difference: without, it is connected when the call returns. */
	open_named(&q, NULL, look_up);
	q.hook = connect_anew;
	OK(dgram_connect(q.s, port, NULL, connect_done, &q));
	refused_while_connected(q.s);
	RUN_UNTIL(l, q.n[EV_CLOSE] == 1);
	TRACE(&q, "LCcCX");
	cr_assert_eq(nasks, 1);

	/* After that it is neither. */
	open_named(&q, NULL, look_up);
	OK(dgram_connect(q.s, port, NULL, NULL, NULL));
	OK(dgram_close(q.s, NULL, NULL));
	CHECK(dgram_connect(q.s, port, NULL, NULL, NULL), NOT_RUNNING);
	CHECK(dgram_remote_address(q.s, &a), NOT_RUNNING);
	CHECK(dgram_disconnect(q.s), NOT_CONNECTED);
	turns(l, 2);
	TRACE(&q, "X");
	leave();
}

/* ---- the synchronous form: literals are connected in the call ---- */

BACKEND_TEST(parallel, connect_sync)
{
	struct dgram_addr a, b;

	begin(backend);
	shut(&p);
	EACH_UDP(type) {
		/* The peer at once, bound on the way, `connect` later. */
		open_type(&q, type, NULL);
		OK(dgram_connect(q.s, 12345, loopback[type], NULL, NULL));
		OK(dgram_remote_address(q.s, &a));
		HOST(&a, loopback[type]);
		cr_assert_eq(dgram_addr_port(&a), 12345);
		cr_assert(strcmp(dgram_addr_family(&a),
		    type == DGRAM_UDP4 ? "IPv4" : "IPv6") == 0);
		OK(dgram_address(q.s, &a));
		cr_assert(dgram_addr_port(&a) > 0);
		TRACE(&q, "");
		turns(l, 3);
		TRACE(&q, "LC");

		/* To another after a disconnect, not before. */
		CHECK(dgram_connect(q.s, 12346, loopback[type], NULL, NULL),
		    IS_CONNECTED);
		OK(dgram_disconnect(q.s));
		OK(dgram_connect(q.s, 12346, loopback[type], NULL, NULL));
		OK(dgram_remote_address(q.s, &a));
		cr_assert_eq(dgram_addr_port(&a), 12346);
		shut(&q);

		/* A close before that; and the loopback, if not said. */
		open_type(&q, type, NULL);
		OK(dgram_connect(q.s, 12345, NULL, NULL, NULL));
		OK(dgram_remote_address(q.s, &a));
		HOST(&a, loopback[type]);
		OK(dgram_close(q.s, NULL, NULL));
		turns(l, 3);
		TRACE(&q, "X");

		/* One that is bound keeps its port. */
		open_type(&q, type, NULL);
		OK(dgram_bind(q.s, 0, loopback[type], NULL, NULL));
		OK(dgram_address(q.s, &a));
		OK(dgram_connect(q.s, 12345, loopback[type], NULL, NULL));
		OK(dgram_address(q.s, &b));
		cr_assert_eq(dgram_addr_port(&a), dgram_addr_port(&b));
		shut(&q);

		/* What is sent at once goes there. */
		open_type(&p, type, NULL);
		OK(dgram_bind(p.s, 0, loopback[type], NULL, NULL));
		OK(dgram_address(p.s, &a));
		open_type(&q, type, NULL);
		OK(dgram_connect(q.s, dgram_addr_port(&a), loopback[type],
		    NULL, NULL));
		OK(dgram_send(q.s, "hello", 5, 0, NULL, sent, &q));
		RUN_UNTIL(l, p.got == 1 && q.n[EV_DONE] == 1);
		cr_assert_eq(p.sizes[0], 5);
		TRACE(&q, "LCd");
		shut(&p);
		shut(&q);
	}
	leave();
}

/* What is refused leaves the socket as it was. */
BACKEND_TEST(parallel, connect_sync_refused)
{
	struct dgram_options o = { 0 };
	struct dgram_addr a;

	begin(backend);
	/* No look-up by an address. */
	CHECK(dgram_addr_parse(&a, "localhost", 12345), -EINVAL);
	CHECK(dgram_connect(p.s, -1, "127.0.0.1", NULL, NULL), BAD_PORT);
	CHECK(dgram_address(p.s, &a), -EBADF);
	OK(dgram_connect(p.s, 12345, "127.0.0.1", NULL, NULL));
	OK(dgram_remote_address(p.s, &a));
	cr_assert_eq(dgram_addr_port(&a), 12345);

	/* While a bind by name is under way. */
	open_named(&q, NULL, look_up);
	OK(dgram_bind(q.s, 0, "name", NULL, NULL));
	CHECK(dgram_connect_addr(q.s, &to), ALREADY_BOUND);
	turns(l, 2);
	OK(answer(0, "127.0.0.1"));
	turns(l, 2);
	TRACE(&q, "L");
	OK(dgram_connect_addr(q.s, &to));
	shut(&q);

	/* By a block list. */
	OK(dgram_block_list_new(&o.send_block_list));
	OK(dgram_block_list_add_address(o.send_block_list, "127.0.0.1"));
	open_type(&q, DGRAM_UDP4, &o);
	dgram_block_list_free(o.send_block_list);
	CHECK(dgram_connect_addr(q.s, &to), DGRAM_ERR_IP_BLOCKED);
	CHECK(dgram_address(q.s, &a), -EBADF);
	OK(dgram_connect(q.s, 12345, "127.0.0.2", NULL, NULL));
	OK(dgram_remote_address(q.s, &a));
	HOST(&a, "127.0.0.2");
	leave();
}

/* ---- to itself ---- */

/* Bound, and connected to its own port of the loopback. */
static void
connect_to_itself(const char *backend)
{
	begin(backend);
	p.hook = hear;
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	OK(dgram_address(p.s, &p.addr));
	OK(dgram_connect(p.s, dgram_addr_port(&p.addr), NULL, connect_done,
	    &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	TRACE(&p, "LCc");
	cr_assert_eq(record_of('c', 0)->status, 0);
}

/* One completion, and one datagram with these bytes; then it closes. */
static void
one_of(const void *data, int size)
{
	TRACE(&p, "LCc");
	RUN_UNTIL(l, p.n[EV_DONE] == 2 && heard.n == 1);
	cr_assert_eq(record_of('d', 0)->status, size);
	HEARD(0, data, size);
	HOST(&p.from, "127.0.0.1");
	cr_assert_eq(dgram_addr_port(&p.from), dgram_addr_port(&p.addr));
	OK(dgram_close(p.s, NULL, NULL));
	turns(l, 3);
	TRACE(&p, "LCcdMX");
	leave();
}

static char bytes[512];

/* The second half differs. */
static void
fill_bytes(void)
{
	memset(bytes, 'x', 256);
	memset(bytes + 256, 'y', 256);
}

BACKEND_TEST(parallel, connect_send_callback_buffer)
{
	fill_bytes();
	connect_to_itself(backend);
	OK(dgram_send(p.s, bytes, 256, 0, NULL, sent, &p));
	one_of(bytes, 256);
}

BACKEND_TEST(parallel, connect_send_callback_buffer_length)
{
	fill_bytes();
	connect_to_itself(backend);
	OK(dgram_sendto(p.s, bytes + 128, 20, 236, 0, NULL, sent, &p));
	one_of(bytes + 148, 236);
}

BACKEND_TEST(parallel, connect_send_callback_multi_buffer)
{
	struct iovec two[2] = { { bytes, 256 }, { bytes + 256, 256 } };

	fill_bytes();
	connect_to_itself(backend);
	OK(dgram_sendv(p.s, two, 2, 0, NULL, sent, &p));
	one_of(bytes, 512);
}

/* The list is the caller's again when the call returns. */
BACKEND_TEST(parallel, connect_send_multi_buffer_copy)
{
	struct iovec two[2] = { { bytes, 256 }, { bytes + 256, 256 } };

	fill_bytes();
	connect_to_itself(backend);
	OK(dgram_sendv(p.s, two, 2, 0, NULL, sent, &p));
	memset(two, 0, sizeof(two));
	one_of(bytes, 512);
}

BACKEND_TEST(parallel, connect_send_multi_string_array)
{
	static char foo[] = "foo", bar[] = "bar", baz[] = "baz";
	struct iovec three[3] = { { foo, 3 }, { bar, 3 }, { baz, 3 } };

	connect_to_itself(backend);
	OK(dgram_sendv(p.s, three, 3, 0, NULL, sent, &p));
	one_of("foobarbaz", 9);
}

BACKEND_TEST(parallel, connect_send_empty_array)
{
	connect_to_itself(backend);
	OK(dgram_sendv(p.s, NULL, 0, 0, NULL, sent, &p));
	one_of("", 0);
}

BACKEND_TEST(parallel, connect_send_empty_buffer)
{
	connect_to_itself(backend);
	OK(dgram_send(p.s, NULL, 0, 0, NULL, sent, &p));
	one_of("", 0);
}

/* Until one of them has come: they may be lost. */
static void
send_nothing(struct dgram_timer *t, void *arg)
{
	(void)t;
	++*(int *)arg;
	OK(dgram_sendto(p.s, bytes, 0, 0, 0, NULL, sent, &p));
}

BACKEND_TEST(parallel, connect_send_empty_packet)
{
	struct dgram_timer t;
	int sends = 0, i;

	connect_to_itself(backend);
	dgram_timer_init(&t, l, send_nothing, &sends);
	OK(dgram_timer_start(&t, 10 * MS, 10 * MS));
	RUN_UNTIL(l, heard.n > 0);
	dgram_timer_stop(&t);
	OK(dgram_close(p.s, NULL, NULL));
	RUN_UNTIL(l, p.n[EV_CLOSE] == 1);
	HEARD(0, "", 0);
	/* Each send has one completion, beside that of the connect. */
	cr_assert(sends > 0);
	cr_assert_eq(p.n[EV_DONE], 1 + sends);
	for (i = 0; i < sends; i++)
		cr_assert_eq(record_of('d', i)->status, 0);
	leave();
}

/* ---- to another, whose host is not said ---- */

/* The same four messages in all the ways there are, without completion. */
static void
send_all_ways(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	static char z[256];
	struct iovec iov = { z, sizeof(z) }, hello;
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1 };
	char text[] = "hello";

	(void)m, (void)n;
	if (e != EV_DONE)
		return;
	memset(z, 'z', sizeof(z));
	hello.iov_base = text;
	hello.iov_len = 5;
	OK(dgram_sendto(peer->s, bytes, 0, 256, 0, NULL, NULL, NULL));
	OK(dgram_send(peer->s, bytes + 256, 256, 0, NULL, NULL, NULL));
	OK(dgram_sendv(peer->s, &iov, 1, 0, NULL, NULL, NULL));
	OK(dgram_sendto(peer->s, "hello", 0, 5, 0, NULL, NULL, NULL));
	OK(dgram_sendto(peer->s, bytes, 0, 256, 0, "", NULL, NULL));
	OK(dgram_send(peer->s, bytes + 256, 256, 0, "", NULL, NULL));
	OK(dgram_send_batch(peer->s, &d, 1, NULL, NULL));
	OK(dgram_send_addr(peer->s, &hello, 1, NULL, NULL, NULL));
}

BACKEND_TEST(parallel, connect_send_default_host)
{
	char z[256];
	int i;

	fill_bytes();
	memset(z, 'z', sizeof(z));
	begin(backend);
	open_named(&q, NULL, look_up);
	q.hook = hear;
	OK(dgram_bind(q.s, 0, NULL, NULL, NULL));
	OK(dgram_address(q.s, &q.addr));
	p.hook = send_all_ways;
	OK(dgram_connect(p.s, dgram_addr_port(&q.addr), NULL, connect_done,
	    &p));
	RUN_UNTIL(l, heard.n == 8);
	turns(l, 3);
	cr_assert_eq(heard.n, 8);
	/* Node sorts them first, as they may overtake each other. */
	for (i = 0; i < 8; i += 4) {
		HEARD(i, bytes, 256);
		HEARD(i + 1, bytes + 256, 256);
		HEARD(i + 2, z, 256);
		HEARD(i + 3, "hello", 5);
	}
	HOST(&q.from, "127.0.0.1");
	TRACE(&p, "LCc");
	leave();
}

/* ---- block lists ---- */

static struct dgram_block_list *list;

static void
enter_block(const char *backend, const char *address)
{
	begin(backend);
	OK(dgram_block_list_new(&list));
	OK(dgram_block_list_add_address(list, address));
}

static void
leave_block(void)
{
	dgram_block_list_free(list);
	leave();
}

static void
block_sending(int type)
{
	struct dgram_options o = { .send_block_list = list };
	int i, asked = nasks, past = nrecords;
	struct dgram_addr a;

	/* Difference: of a literal that is returned, of a name it is told. */
	open_type(&q, type, &o);
	CHECK(dgram_connect(q.s, port, loopback[type], connect_done, &q),
	    DGRAM_ERR_IP_BLOCKED);
	CHECK(dgram_remote_address(q.s, &a), NOT_CONNECTED);
	OK(dgram_connect(q.s, port, "name", connect_done, &q));
	turns(l, 2);
	OK(answer(asked, loopback[type]));
	RUN_UNTIL(l, q.n[EV_DONE] == 1);
	TRACE(&q, "Lc");
	cr_assert_eq(records[past].status, DGRAM_ERR_IP_BLOCKED);
	CHECK(dgram_remote_address(q.s, &a), NOT_CONNECTED);
	shut(&q);

	open_type(&q, type, &o);
	OK(dgram_send(q.s, "hello", 5, port, loopback[type], sent, &q));
	OK(dgram_send(q.s, "hello", 5, port, "name", sent, &q));
	OK(dgram_send(q.s, "hello", 5, port, loopback[type], NULL, NULL));
	turns(l, 2);
	OK(answer(asked + 1, loopback[type]));
	RUN_UNTIL(l, q.n[EV_DONE] == 2);
	turns(l, 2);
	for (i = 0; i < 3; i++)
		cr_assert_eq(records[past + 1 + i].status,
		    DGRAM_ERR_IP_BLOCKED);
	/* Difference: without completion it is an `error`. */
	cr_assert_eq(q.n[EV_ERROR], 1);
	cr_assert_eq(q.kind[0], DGRAM_IN_SEND);
	cr_assert_eq(stats_of(&q).failed, 3);
	cr_assert_eq(stats_of(&q).sent, 0);
	shut(&q);
	cr_assert_eq(bare_recv(fd), -1);
}

static void
block_receiving(int type, const char *from)
{
	struct dgram_options o = { .receive_block_list = list };
	int n = nrecords;

	open_type(&q, type, &o);
	OK(dgram_bind(q.s, 0, NULL, NULL, NULL));
	OK(dgram_address(q.s, &q.addr));
	OK(dgram_send(p.s, "hello", 5, dgram_addr_port(&q.addr), from, sent,
	    &p));
	RUN_UNTIL(l, nrecords == n + 1 && stats_of(&q).blocked == 1);
	cr_assert_eq(records[n].status, 5);
	turns(l, 3);
	TRACE(&q, "L");
	cr_assert_eq(stats_of(&q).received, 0);
	shut(&q);
}

BACKEND_TEST(parallel, blocklist)
{
	enter_block(backend, "127.0.0.1");
	block_sending(DGRAM_UDP4);
	block_receiving(DGRAM_UDP4, "127.0.0.1");
	leave_block();
	if (!have_ipv6())
		return;
	nasks = nrecords = 0;
	enter_block(backend, "::1");
	block_sending(DGRAM_UDP6);
	leave_block();
}

/* The same address as IPv6 tells it; and one that is not in the list. */
BACKEND_TEST(parallel, blocklist_mapped)
{
	struct dgram_options o = { 0 };
	struct dgram_addr a;

	if (!ON_LINUX || !have_ipv6())
		cr_skip_test("no IPv6, or no 127.0.0.2");
	enter_block(backend, "127.0.0.1");
	block_receiving(DGRAM_UDP6, "127.0.0.1");
	o.receive_block_list = list;
	open_type(&q, DGRAM_UDP6, &o);
	OK(dgram_bind(q.s, 0, NULL, NULL, NULL));
	OK(dgram_address(q.s, &q.addr));
	OK(dgram_addr_parse(&a, "127.0.0.2", 0));
	shut(&p);
	open_type(&p, DGRAM_UDP4, NULL);
	OK(dgram_bind_addr(p.s, &a));
	OK(dgram_send(p.s, "hello", 5, dgram_addr_port(&q.addr), "127.0.0.1",
	    sent, &p));
	RUN_UNTIL(l, q.got == 1);
	HOST(&q.from, "::ffff:127.0.0.2");
	leave_block();
}

/* ---- internet ---- */

/* By the threads of the library, from a resolver that does not know. */
static void
connect_to_nobody(const char *backend, int eai, int status, const char *text)
{
	enter(backend, NULL, NULL, NULL);
	fake_fail("something.invalid", eai, 0);
	OK(dgram_connect(p.s, port, "something.invalid", connect_done, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	/* To the completion alone. */
	TRACE(&p, "Lc");
	TOLD('c', 0, status, DGRAM_IN_LOOKUP, text);
	cr_assert(record_of('c', 0)->has_host);
	cr_assert_eq(p.error_addr.len, 0);

	OK(dgram_connect(p.s, port, "something.invalid", NULL, NULL));
	RUN_UNTIL(l, p.n[EV_ERROR] == 1);
	TRACE(&p, "LcE");
	TOLD('E', 0, status, DGRAM_IN_LOOKUP, text);

	OK(dgram_connect(p.s, port, NULL, NULL, NULL));
	RUN_UNTIL(l, p.n[EV_CONNECT] == 1);
	OK(dgram_close(p.s, NULL, NULL));
	turns(l, 3);
	TRACE(&p, "LcECX");
	leave();
}

BACKEND_TEST(internet, connect)
{
	connect_to_nobody(backend, EAI_NONAME, DGRAM_ENOTFOUND,
	    "getaddrinfo ENOTFOUND something.invalid");
}

BACKEND_TEST(internet, connect_again)
{
	connect_to_nobody(backend, EAI_AGAIN, DGRAM_EAI_AGAIN,
	    "getaddrinfo EAI_AGAIN something.invalid");
}
