/* SPDX-License-Identifier: ISC */

/* Rows of Node's tests about bind, address and descriptors: see README. */

#include "rows.h"

#include "netns.h"

static struct peer r;

/* The address in the listener; before that there is nothing to ask. */
BACKEND_TEST(parallel, address)
{
	struct dgram_addr a;

	begin(backend);
	EACH_UDP(type) {
		open_type(&q, type, NULL);
		q.hook = look_and_close;
		CHECK(dgram_address(q.s, &a), -EBADF);
		OK(dgram_bind(q.s, 0, loopback[type], NULL, NULL));
		RUN_UNTIL(l, q.n[EV_CLOSE] == 1);
		HOST(&q.addr, loopback[type]);
		cr_assert(dgram_addr_port(&q.addr) > 0);
		cr_assert(strcmp(dgram_addr_family(&q.addr),
		    type == DGRAM_UDP4 ? "IPv4" : "IPv6") == 0);
		TRACE(&q, "LX");
	}
	leave();
}

static void
bind_twice(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e != EV_LISTENING)
		return;
	CHECK(dgram_bind(peer->s, 0, NULL, NULL, NULL), ALREADY_BOUND);
	OK(dgram_close(peer->s, NULL, NULL));
}

BACKEND_TEST(parallel, bind)
{
	begin(backend);
	p.hook = bind_twice;
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	RUN_UNTIL(l, p.n[EV_CLOSE] == 1);
	TRACE(&p, "LX");
	leave();
}

/* Without an address: all interfaces, and a port of the kernel's choice. */
BACKEND_TEST(parallel, bind_default_address)
{
	static const char *const wildcard[] = { [DGRAM_UDP4] = "0.0.0.0",
		[DGRAM_UDP6] = "::" };

	begin(backend);
	EACH_UDP(type) {
		open_type(&q, type, NULL);
		q.hook = look_and_close;
		OK(dgram_bind(q.s, 0, NULL, NULL, NULL));
		RUN_UNTIL(l, q.n[EV_CLOSE] == 1);
		HOST(&q.addr, wildcard[type]);
		cr_assert(dgram_addr_port(&q.addr) > 0);
		TRACE(&q, "LX");
	}
	leave();
}

static int busy;		/* a port that is in use */

static void
all_interfaces(struct ask *a)
{
	OK(answer((int)(a - asks), "0.0.0.0"));
}

/* Binds again to where it failed, 20 times in all. */
static void
bind_again(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_DONE && peer->n[EV_DONE] < 20)
		OK(dgram_bind(peer->s, busy, "name", bind_done, peer));
	else if (e == EV_ERROR && peer->n[EV_ERROR] < 20)
		OK(dgram_bind(peer->s, busy, "name", NULL, NULL));
	else if (e == EV_DONE || e == EV_ERROR)
		OK(dgram_close(peer->s, NULL, NULL));
}

/*
 * 20 binds in a row to a busy port.  Difference: the error of a literal is
 * returned, that of a name goes to the completion if there is one.
 */
BACKEND_TEST(parallel, bind_error_repeat)
{
	struct dgram_addr a;
	int i;

	begin(backend);
	on_ask = all_interfaces;
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	OK(dgram_address(p.s, &a));
	busy = dgram_addr_port(&a);

	open_named(&q, NULL, look_up);
	for (i = 0; i < 20; i++)
		CHECK(dgram_bind(q.s, busy, NULL, bind_done, &q),
		    -EADDRINUSE);
	turns(l, 3);
	TRACE(&q, "");
	OK(dgram_bind(q.s, 0, NULL, bind_done, &q));
	turns(l, 3);
	TRACE(&q, "Lb");
	shut(&q);

	open_named(&q, NULL, look_up);
	q.hook = bind_again;
	OK(dgram_bind(q.s, busy, "name", NULL, NULL));
	RUN_UNTIL(l, q.n[EV_CLOSE] == 1);
	TRACE(&q, "EEEEEEEEEEEEEEEEEEEEX");
	for (i = 0; i < 20; i++)
		cr_assert(q.status[i] == -EADDRINUSE &&
		    q.kind[i] == DGRAM_IN_BIND);

	open_named(&q, NULL, look_up);
	q.hook = bind_again;
	OK(dgram_bind(q.s, busy, "name", bind_done, &q));
	RUN_UNTIL(l, q.n[EV_CLOSE] == 1);
	TRACE(&q, "bbbbbbbbbbbbbbbbbbbbX");
	for (i = 0; i < 20; i++)
		cr_assert_eq(record_of('b', i)->status,
		    i == 0 ? 0 : -EADDRINUSE);
	cr_assert_eq(record_of('b', 20)->status, -EADDRINUSE);
	leave();
}

/* ---- descriptors ---- */

#define BUFFER_SIZE	4096

static char fd_text[16];
static int adopted;

/* The receiver: answers the sender, and closes. */
static void
answer_and_close(struct peer *peer, enum event e,
    const struct dgram_message *m, size_t n)
{
	if (e != EV_MESSAGE)
		return;
	MUST(n == 1 && m->size == strlen(fd_text) &&
	    memcmp(m->data, fd_text, m->size) == 0, "another message");
	OK(dgram_send(peer->s, fd_text, strlen(fd_text),
	    dgram_addr_port(m->remote), host_of(m->remote), NULL, NULL));
	OK(dgram_close(peer->s, NULL, NULL));
}

static int
size_of(int n)
{
	return ON_LINUX ? 2 * n : n;
}

/* The one that adopted: all is as the descriptor was; sends, hears, closes. */
static void
talk_and_close(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	struct dgram_addr a, b;

	if (e == EV_LISTENING) {
		b.len = sizeof(b.u);
		cr_assert_eq(getsockname(adopted, &b.u.sa, &b.len), 0);
		dgi_addr_trim(&b);
		OK(dgram_address(peer->s, &a));
		cr_assert(dgram_addr_equal(&a, &b));
		CHECK(dgram_get_recv_buffer_size(peer->s),
		    size_of(BUFFER_SIZE));
		CHECK(dgram_get_send_buffer_size(peer->s),
		    size_of(BUFFER_SIZE));
		OK(dgram_send(peer->s, fd_text, strlen(fd_text),
		    dgram_addr_port(&q.addr), loopback[peer->s->type], NULL,
		    NULL));
	} else if (e == EV_MESSAGE) {
		MUST(n == 1 && m->size == strlen(fd_text) &&
		    memcmp(m->data, fd_text, m->size) == 0,
		    "another message");
		OK(dgram_close(peer->s, NULL, NULL));
	}
}

static void
bind_a_descriptor(int type, bool reuse)
{
	struct dgram_options o = { .recv_buffer_size = BUFFER_SIZE,
	    .send_buffer_size = BUFFER_SIZE };
	struct dgram_addr a = any_addr(type);
	int on = 1;

	open_type(&q, type, NULL);
	q.hook = answer_and_close;
	OK(dgram_bind(q.s, 0, loopback[type], NULL, NULL));
	OK(dgram_address(q.s, &q.addr));

	adopted = socket(a.u.sa.sa_family, SOCK_DGRAM, 0);
	if (reuse)
		cr_assert_eq(setsockopt(adopted, SOL_SOCKET, SO_REUSEADDR,
		    &on, sizeof(on)), 0);
	cr_assert_eq(bind(adopted, &a.u.sa, a.len), 0);
	snprintf(fd_text, sizeof(fd_text), "%d", adopted);
	open_type(&r, type, &o);
	r.hook = talk_and_close;
	OK(dgram_bind_fd(r.s, adopted));
	CHECK(dgram_fileno(r.s), adopted);

	RUN_UNTIL(l, q.n[EV_CLOSE] == 1 && r.n[EV_CLOSE] == 1);
	TRACE(&q, "LMX");
	TRACE(&r, "LMX");
	cr_assert(fcntl(adopted, F_GETFD) < 0, "not closed");
}

/* Difference: `listening` does not come from inside of the call. */
BACKEND_TEST(parallel, bind_fd)
{
	begin(backend);
	bind_a_descriptor(DGRAM_UDP4, true);
	bind_a_descriptor(DGRAM_UDP4, false);
	if (have_ipv6())
		bind_a_descriptor(DGRAM_UDP6, false);
	leave();
}

static int
tcp_listener(void)
{
	int stream = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert(stream >= 0);
	cr_assert_eq(listen(stream, 1), 0);
	return stream;
}

/* Difference: the socket can be bound after that. */
BACKEND_TEST(parallel, bind_fd_error)
{
	int stream, ends[2];

	begin(backend);
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	open_named(&q, NULL, look_up);
	CHECK(dgram_bind_fd(q.s, dgram_fileno(p.s)), -EEXIST);

	stream = tcp_listener();
	CHECK(dgram_bind_fd(q.s, stream), DGRAM_ERR_INVALID_FD_TYPE);
	cr_assert_eq(close(stream), 0);
	cr_assert_eq(pipe(ends), 0);
	CHECK(dgram_bind_fd(q.s, ends[0]), DGRAM_ERR_INVALID_FD_TYPE);
	cr_assert_eq(close(ends[0]), 0);
	cr_assert_eq(close(ends[1]), 0);
	CHECK(dgram_bind_fd(q.s, ends[0]), -EBADF);
	CHECK(dgram_bind_fd(q.s, -1), -EBADF);

	turns(l, 3);
	TRACE(&q, "");
	OK(dgram_bind(q.s, 0, NULL, bind_done, &q));
	turns(l, 3);
	TRACE(&q, "Lb");
	TRACE(&p, "L");
	leave();
}

/* Without a bind there is no descriptor; calls by address take no names. */
BACKEND_TEST(parallel, create_socket_handle)
{
	struct dgram_addr a;

	begin(backend);
	CHECK(dgram_fileno(p.s), -EBADF);
	OK(dgram_addr_parse(&a, "127.0.0.1", 0));
	OK(dgram_bind_addr(p.s, &a));
	cr_assert(dgram_fileno(p.s) > 0);
	CHECK(dgram_addr_parse(&a, "localhost", 0), -EINVAL);
	leave();
}

BACKEND_TEST(parallel, create_socket_handle_fd)
{
	struct dgram_options o = { .type = DGRAM_UDP4 };
	struct dgram_socket *s = NULL;
	struct dgram_addr a;
	int bad, bound, stream;

	begin(backend);
	bound = bare_socket(DGRAM_UDP4, &a);
	bad = fcntl(bound, F_DUPFD, 0);
	cr_assert(bad >= 0);
	cr_assert_eq(close(bad), 0);
	CHECK(dgram_open_fd(l, &o, bad, &s), -EBADF);
	OK(dgram_open_fd(l, &o, bound, &s));
	CHECK(dgram_fileno(s), bound);
	OK(dgram_close(s, NULL, NULL));
	s = NULL;
	stream = tcp_listener();
	CHECK(dgram_open_fd(l, &o, stream, &s), DGRAM_ERR_INVALID_FD_TYPE);
	cr_assert(s == NULL);
	cr_assert_eq(close(stream), 0);
	leave();
}

/* ---- options ---- */

BACKEND_TEST(parallel, createSocket_type)
{
	static const char *const bad[] = { "test", "udp", "udp5", "UDP4", "1",
	    "udp4 ", "", NULL };
	struct dgram_options o = { .recv_buffer_size = 10000,
	    .send_buffer_size = 15000 };
	struct dgram_socket *s = NULL;
	int size;
	size_t i;

	begin(backend);
	for (i = 0; i < COUNT(bad); i++)
		CHECK(dgram_type_parse(bad[i]), DGRAM_ERR_SOCKET_BAD_TYPE);
	for (size = -1; size <= 4; size += size == 0 ? 4 : 1) {
		o.type = (enum dgram_type)size;
		CHECK(dgram_open(l, &o, &s), DGRAM_ERR_SOCKET_BAD_TYPE);
	}
	cr_assert(s == NULL);
	CHECK(dgram_type_parse("udp4"), DGRAM_UDP4);
	CHECK(dgram_type_parse("udp6"), DGRAM_UDP6);
	for (o.type = DGRAM_UDP4; o.type <= DGRAM_UDP6; o.type++) {
		OK(dgram_open(l, &o, &s));
		OK(dgram_close(s, NULL, NULL));
	}

	open_type(&q, DGRAM_UDP4, &o);
	OK(dgram_bind(q.s, 0, NULL, NULL, NULL));
	size = CALL(dgram_get_recv_buffer_size(q.s));
	cr_assert(size == 10000 || size == 20000, "%d", size);
	size = CALL(dgram_get_send_buffer_size(q.s));
	cr_assert(size == 15000 || size == 30000, "%d", size);

	s = NULL;
	o.type = DGRAM_UDP4;
	o.recv_buffer_size = -1;
	CHECK(dgram_open(l, &o, &s), DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE);
	o.recv_buffer_size = 0;
	o.send_buffer_size = INT_MIN;
	CHECK(dgram_open(l, &o, &s), DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE);
	cr_assert(s == NULL);
	leave();
}

/* "Wildcard" of IPv6 for IPv6 alone leaves the port to IPv4. */
BACKEND_TEST(parallel, ipv6only)
{
	struct dgram_options only = { .ipv6_only = true };
	int tries, took = -EADDRINUSE;

	if (!have_ipv6())
		cr_skip_test("no IPv6");
	begin(backend);
	/* Somebody else may have just that port of IPv4. */
	for (tries = 0; tries < 10 && took == -EADDRINUSE; tries++) {
		open_type(&q, DGRAM_UDP6, &only);
		OK(dgram_bind(q.s, 0, "::", bind_done, &q));
		RUN_UNTIL(l, q.n[EV_DONE] == 1);
		OK(dgram_address(q.s, &q.addr));
		open_type(&r, DGRAM_UDP4, NULL);
		took = CALL(dgram_bind(r.s, dgram_addr_port(&q.addr),
		    "0.0.0.0", bind_done, &r));
		turns(l, 2);
		TRACE(&q, "Lb");
		TRACE(&r, took == 0 ? "Lb" : "");
		shut(&q);
		shut(&r);
	}
	OK(took);
#if ON_LINUX
	/* Not so without the option. */
	open_type(&q, DGRAM_UDP6, NULL);
	OK(dgram_bind(q.s, 0, "::", NULL, NULL));
	OK(dgram_address(q.s, &q.addr));
	open_type(&r, DGRAM_UDP4, NULL);
	CHECK(dgram_bind(r.s, dgram_addr_port(&q.addr), "0.0.0.0", NULL,
	    NULL), -EADDRINUSE);
#endif
	leave();
}

BACKEND_TEST(parallel, reuseport)
{
	struct dgram_options o = { .type = DGRAM_UDP4, .reuse_port = true };
	struct dgram_socket *s = NULL;
	int status;

	begin(backend);
	status = CALL(dgram_open(l, &o, &s));
	if (status == -ENOTSUP) {
		leave();
		cr_skip_test("no reuse_port on this system");
	}
	OK(status);
	OK(dgram_close(s, NULL, NULL));
	open_type(&q, DGRAM_UDP4, &o);
	OK(dgram_bind(q.s, 0, NULL, bind_done, &q));
	OK(dgram_address(q.s, &q.addr));
	open_type(&r, DGRAM_UDP4, &o);
	OK(dgram_bind(r.s, dgram_addr_port(&q.addr), NULL, bind_done, &r));
	turns(l, 3);
	TRACE(&q, "Lb");
	TRACE(&r, "Lb");
	/* Only with others that say so. */
	CHECK(dgram_bind(p.s, dgram_addr_port(&q.addr), NULL, NULL, NULL),
	    -EADDRINUSE);
	leave();
}

/* ---- errors ---- */

/* Difference: what fails without a look-up is returned. */
BACKEND_TEST(parallel, error_message_address)
{
	char text[64];

	begin(backend);
	CHECK(dgram_bind(p.s, 0, "1.1.1.1", NULL, NULL), -EADDRNOTAVAIL);
	OK(dgram_bind(p.s, 0, "one", NULL, NULL));
	turns(l, 2);
	OK(answer(0, "1.1.1.1"));
	turns(l, 2);
	TRACE(&p, "E");
	/* Port 0 is left out. */
	TOLD('E', 0, -EADDRNOTAVAIL, DGRAM_IN_BIND,
	    "bind EADDRNOTAVAIL 1.1.1.1");
	HOST(&p.error_addr, "1.1.1.1");
	cr_assert_eq(dgram_addr_port(&p.error_addr), 0);
	OK(dgram_bind(p.s, 12345, "one", NULL, NULL));
	turns(l, 2);
	OK(answer(1, "1.1.1.1"));
	turns(l, 2);
	TOLD('E', 1, -EADDRNOTAVAIL, DGRAM_IN_BIND,
	    "bind EADDRNOTAVAIL 1.1.1.1:12345");

	open_type(&q, DGRAM_UDP6, NULL);
	OK(dgram_bind(q.s, 0, "one", NULL, NULL));
	turns(l, 2);
	OK(answer(2, "111::1"));
	turns(l, 2);
	TRACE(&q, "E");
	/* The others: IPv6 is switched off. */
	cr_assert(q.status[0] == -EADDRNOTAVAIL ||
	    q.status[0] == -EAFNOSUPPORT || q.status[0] == -EPROTONOSUPPORT);
	snprintf(text, sizeof(text), "bind %s 111::1",
	    dgram_err_name(q.status[0]));
	TOLD('E', 2, q.status[0], DGRAM_IN_BIND, text);
	CHECK(dgram_bind(q.s, 0, "111::1", NULL, NULL), q.status[0]);
	leave();
}

#define UNKNOWN		(-4094)		/* libuv's, that no system has */

/* Also a failure that nobody knows leaves the socket unbound. */
BACKEND_TEST(parallel, cluster_bind_error)
{
	struct dgram_addr a;

	begin(backend);
	fault_at(&f, FAULT_BIND, 1, UNKNOWN);
	CHECK(dgram_bind(p.s, 0, NULL, bind_done, &p), UNKNOWN);
	CHECK(dgram_address(p.s, &a), -EBADF);
	fault_at(&f, FAULT_BIND, 1, UNKNOWN);
	OK(dgram_bind(p.s, 0, "name", NULL, NULL));
	turns(l, 2);
	OK(answer(0, "0.0.0.0"));
	turns(l, 2);
	TRACE(&p, "E");
	TOLD('E', 0, UNKNOWN, DGRAM_IN_BIND, "bind UNKNOWN 0.0.0.0");
	cr_assert_eq(p.s->state, DGI_UNBOUND);
	CHECK(dgram_address(p.s, &a), -EBADF);
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	OK(dgram_close(p.s, NULL, NULL));
	turns(l, 2);
	TRACE(&p, "EX");
	leave();
}

/* ---- without being asked ---- */

/* Twice to whom it hears of, before it is bound itself. */
static void
send_two(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	struct dgram_addr a;

	if (e == EV_LISTENING) {
		OK(dgram_address(peer->s, &a));
		OK(dgram_send(p.s, "abc", 3, dgram_addr_port(&a), "127.0.0.1",
		    NULL, NULL));
		OK(dgram_send(p.s, "def", 3, dgram_addr_port(&a), "127.0.0.1",
		    NULL, NULL));
	} else if (e == EV_MESSAGE) {
		hear(peer, e, m, n);
		if (heard.n < 2)
			return;
		OK(dgram_close(p.s, NULL, NULL));
		OK(dgram_close(peer->s, NULL, NULL));
	}
}

BACKEND_TEST(parallel, implicit_bind)
{
	unsigned binds;

	begin(backend);
	open_named(&q, NULL, look_up);
	q.hook = send_two;
	binds = f.entry[FAULT_BIND].calls;
	OK(dgram_bind(q.s, 0, NULL, NULL, NULL));
	RUN_UNTIL(l, p.n[EV_CLOSE] == 1 && q.n[EV_CLOSE] == 1);
	HEARD(0, "abc", 3);
	HEARD(1, "def", 3);
	cr_assert_eq(heard.n, 2);
	cr_assert_eq(f.entry[FAULT_BIND].calls, binds + 2);
	cr_assert_eq(p.n[EV_LISTENING], 1);
	cr_assert_eq(p.n[EV_ERROR], 0);
	leave();
}

/* Node has 100 ms for it; here it comes in the first turn. */
BACKEND_TEST(parallel, listen_after_bind)
{
	begin(backend);
	p.hook = look_and_close;
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	TRACE(&p, "");
	turn_wait(l, 0);
	cr_assert_eq(p.n[EV_LISTENING], 1);
	RUN_UNTIL(l, p.n[EV_CLOSE] == 1);
	TRACE(&p, "LX");
	leave();
}

/* ---- the synchronous form: literals are bound in the call ---- */

BACKEND_TEST(parallel, bind_sync)
{
	struct dgram_addr a, b;

	begin(backend);
	EACH_UDP(type) {
		/* The address at once, `listening` later. */
		open_type(&q, type, NULL);
		OK(dgram_bind(q.s, 0, loopback[type], NULL, NULL));
		OK(dgram_address(q.s, &a));
		HOST(&a, loopback[type]);
		cr_assert(dgram_addr_port(&a) > 0);
		cr_assert(strcmp(dgram_addr_family(&a),
		    type == DGRAM_UDP4 ? "IPv4" : "IPv6") == 0);
		TRACE(&q, "");
		q.hook = look_and_close;
		RUN_UNTIL(l, q.n[EV_CLOSE] == 1);
		TRACE(&q, "LX");
		cr_assert(dgram_addr_equal(&q.addr, &a));

		/* A close before that; and the wildcard, if not said. */
		open_type(&q, type, NULL);
		OK(dgram_bind(q.s, 0, NULL, NULL, NULL));
		OK(dgram_address(q.s, &a));
		HOST(&a, type == DGRAM_UDP4 ? "0.0.0.0" : "::");
		cr_assert(dgram_addr_port(&a) > 0);
		OK(dgram_close(q.s, NULL, NULL));
		turns(l, 3);
		TRACE(&q, "X");

		/* Messages come as ever. */
		open_type(&q, type, NULL);
		OK(dgram_bind(q.s, 0, loopback[type], NULL, NULL));
		OK(dgram_address(q.s, &a));
		open_type(&r, type, NULL);
		OK(dgram_send(r.s, "hello", 5, dgram_addr_port(&a),
		    loopback[type], sent, &r));
		RUN_UNTIL(l, q.got == 1 && r.n[EV_DONE] == 1);
		cr_assert_eq(q.sizes[0], 5);
		TRACE(&r, "Ld");
		shut(&r);

		/* In use, by return value. */
		open_type(&r, type, NULL);
		CHECK(dgram_bind(r.s, dgram_addr_port(&a), loopback[type],
		    NULL, NULL), -EADDRINUSE);
		/* Bound once. */
		CHECK(dgram_bind(q.s, 0, NULL, NULL, NULL), ALREADY_BOUND);
		OK(dgram_address(q.s, &b));
		cr_assert(dgram_addr_equal(&a, &b));
		shut(&q);
		shut(&r);
	}

	/* No look-up by an address; a port out of range; then as if new. */
	CHECK(dgram_addr_parse(&a, "localhost", 0), -EINVAL);
	CHECK(dgram_bind(p.s, -1, NULL, NULL, NULL), BAD_PORT);
	CHECK(dgram_bind(p.s, 65536, NULL, NULL, NULL), BAD_PORT);
	CHECK(dgram_address(p.s, &a), -EBADF);
	OK(dgram_bind(p.s, 0, NULL, NULL, NULL));
	cr_assert_eq(nasks, 0);
	leave();
}

/* The same of IPv6 alone: a zone, and no IPv4. */
BACKEND_TEST(parallel, bind_sync_ipv6)
{
	struct dgram_options only = { .ipv6_only = true };
	socklen_t len = sizeof(int);
	int on = 0;
	struct dgram_addr a;

	if (!have_ipv6())
		cr_skip_test("no IPv6");
	begin(backend);
#if DGI_OS_LINUX && !DGT_BSD
	open_type(&q, DGRAM_UDP6, NULL);
	OK(dgram_bind(q.s, 0, "::1%lo", NULL, NULL));
	OK(dgram_address(q.s, &a));
	HOST(&a, "::1");
	cr_assert(dgram_addr_port(&a) > 0);
	shut(&q);
#endif
	open_type(&q, DGRAM_UDP6, &only);
	OK(dgram_bind(q.s, 0, "::", NULL, NULL));
	OK(dgram_address(q.s, &a));
	HOST(&a, "::");
	cr_assert_eq(getsockopt(dgram_fileno(q.s), IPPROTO_IPV6, IPV6_V6ONLY,
	    &on, &len), 0);
	cr_assert_eq(on, 1);
	leave();
}

/* ---- interfaces ---- */

BACKEND_TEST(parallel, udp6_link_local_address)
{
	static const char message[] = "Hello, local world!", here[] =
	    "fe80::1%d0";

	netns_enter();
	begin(backend);
	open_type(&q, DGRAM_UDP6, NULL);
	OK(dgram_bind(q.s, 0, here, NULL, NULL));
	OK(dgram_address(q.s, &q.addr));
	HOST(&q.addr, here);
	open_type(&r, DGRAM_UDP6, NULL);
	OK(dgram_send(r.s, message, sizeof(message) - 1,
	    dgram_addr_port(&q.addr), here, sent, &r));
	RUN_UNTIL(l, q.got == 1 && r.n[EV_DONE] == 1);
	cr_assert_eq(q.sizes[0], sizeof(message) - 1);
	/* With its zone. */
	HOST(&q.from, here);
	cr_assert_eq(record_of('d', 0)->status, (int)sizeof(message) - 1);
	leave();
}

/* ---- sequential ---- */

/*
 * Two workers, here two loops: what is shared is one descriptor, what is not is
 * an ordinary bind, of which the second fails.
 */
BACKEND_TEST(sequential, bind_shared_ports)
{
	struct dgram_options o = { .type = DGRAM_UDP4 };
	struct dgram_socket *s = NULL;
	struct dgram_loop *other;
	int copy;

	begin(backend);
	other = test_loop(backend);
	OK(dgram_bind(p.s, 0, "localhost", bind_done, &p));
	turns(l, 2);
	OK(answer(0, "127.0.0.1"));
	open_named(&q, NULL, look_up);
	OK(dgram_bind(q.s, 0, NULL, bind_done, &q));
	OK(dgram_address(q.s, &q.addr));
	turns(l, 3);
	TRACE(&p, "Lb");
	TRACE(&q, "Lb");

	copy = dup(dgram_fileno(p.s));
	cr_assert(copy >= 0);
	OK(dgram_open_fd(other, &o, copy, &s));
	OK(dgram_open(other, &o, &s));
	CHECK(dgram_bind(s, dgram_addr_port(&q.addr), NULL, NULL, NULL),
	    -EADDRINUSE);
	free_loop(other);
	leave();
}

static void
send_again(void *arg)
{
	(void)arg;
	OK(send_silent("localhost", 2));
}

static bool look_for_queue;

/* One waits until its look-up fails, and not any more when that is told. */
static void
count_queue(struct ask *a)
{
	MUST(dgram_get_send_queue_count(p.s) == 1, "not in the queue");
	OK(refuse((int)(a - asks), DGRAM_EAI_FAIL));
}

static void
queue_is_gone(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_ERROR && look_for_queue)
		MUST(dgram_get_send_queue_count(peer->s) == 0,
		    "still in the queue");
}

/*
 * Three sends in three phases, each with a failure of its own.  A wildcard is
 * not looked up here, so it is the name of the destination that fails; the bind
 * fails by itself below.  Difference: that is returned.
 */
BACKEND_TEST(sequential, implicit_bind_failure)
{
	int i;

	begin(backend);
	p.hook = queue_is_gone;
	look_for_queue = true;
	on_ask = count_queue;
	OK(send_silent("localhost", 1));
	RUN_UNTIL(l, p.n[EV_ERROR] == 1);
	OK(dgram_loop_post(l, send_again, NULL));
	RUN_UNTIL(l, p.n[EV_ERROR] == 2);
	OK(send_silent("localhost", 3));
	RUN_UNTIL(l, p.n[EV_ERROR] == 3);
	turns(l, 3);
	TRACE(&p, "LEEE");
	for (i = 0; i < 3; i++)
		TOLD('E', i, DGRAM_EAI_FAIL, DGRAM_IN_LOOKUP,
		    "getaddrinfo EAI_FAIL localhost");
	LEDGER(0, 3, 0, 0);

	/* What waits for a bind by name has its error. */
	on_ask = NULL;
	look_for_queue = false;
	open_named(&q, NULL, look_up);
	OK(dgram_bind(q.s, 0, "localhost", NULL, NULL));
	OK(dgram_send(q.s, "foobar", 6, port, "127.0.0.1", sent, &q));
	OK(dgram_send(q.s, "foobar", 6, port, "127.0.0.1", NULL, NULL));
	cr_assert_eq(dgram_get_send_queue_count(q.s), 2);
	turns(l, 2);
	OK(refuse(3, DGRAM_EAI_FAIL));
	cr_assert_eq(dgram_get_send_queue_count(q.s), 0);
	turns(l, 3);
	cr_assert_eq(q.n[EV_DONE], 1);
	cr_assert_eq(record_of('d', 0)->status, DGRAM_EAI_FAIL);
	cr_assert_eq(q.s->state, DGI_UNBOUND);
	OK(dgram_send(q.s, "foobar", 6, port, "127.0.0.1", NULL, NULL));
	turns(l, 2);
	cr_assert_eq(q.n[EV_LISTENING], 1);

	/* A bind that the system refuses, three times. */
	fault_always(&f, FAULT_BIND, -EADDRINUSE);
	open_named(&r, NULL, look_up);
	for (i = 0; i < 3; i++) {
		CHECK(dgram_send(r.s, "foobar", 6, port, "127.0.0.1", sent,
		    &r), -EADDRINUSE);
		cr_assert_eq(dgram_get_send_queue_count(r.s), 0);
		turns(l, 2);
	}
	TRACE(&r, "");
	leave();
}
