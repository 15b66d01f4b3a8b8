/* SPDX-License-Identifier: ISC */

/*
 * Bind, connect and send by name: literals at once, names by a look-up of the
 * user's that the test answers, and a few by getaddrinfo(3) of a script.
 */

#include "names.h"

#include <sys/wait.h>


static char text[128];

/* "what 127.0.0.1:port" of the bare socket. */
static const char *
with_addr(const char *what)
{
	snprintf(text, sizeof(text), "%s 127.0.0.1:%d", what, port);
	return text;
}

static void
begin(const char *backend)
{
	enter(backend, NULL, NULL, look_up);
}

static struct dgram_addr
local_of(const struct peer *peer)
{
	struct dgram_addr a;

	OK(dgram_address(peer->s, &a));
	return a;
}

static int
bind_name(const char *name)
{
	return CALL(dgram_bind(p.s, 0, name, bind_done, &p));
}

static int
connect_name(const char *name)
{
	return CALL(dgram_connect(p.s, port, name, connect_done, &p));
}

/* ---- literals ---- */

BACKEND_TEST(byname, bind_to_a_literal)
{
	struct dgram_addr a;
	struct peer q;

	begin(backend);
	CHECK(CALL(dgram_bind(p.s, port, "127.0.0.1", bind_done, &p)),
	    -EADDRINUSE);
	CHECK(dgram_address(p.s, &a), -EBADF);
	OK(bind_name("127.0.0.1"));
	a = local_of(&p);
	cr_assert(dgram_addr_port(&a) != 0 &&
	    a.u.in.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	CHECK(bind_name("127.0.0.1"), ALREADY_BOUND);
	CHECK(bind_name("name"), ALREADY_BOUND);
	TRACE(&p, "");
	turns(l, 3);
	TRACE(&p, "Lb");
	cr_assert_eq(record_of('b', 0)->status, 0);
	open_named(&q, NULL, look_up);
	OK(CALL(dgram_bind(q.s, 0, "", NULL, NULL)));
	a = local_of(&q);
	cr_assert(dgi_addr_is_any(&a) && dgram_addr_port(&a) != 0);
	turns(l, 3);
	TRACE(&q, "L");
	open_named(&q, NULL, look_up);
	OK(CALL(dgram_bind(q.s, 0, NULL, bind_done, &q)));
	turns(l, 3);
	TRACE(&q, "Lb");
	cr_assert_eq(nasks, 0);
	leave();
}

BACKEND_TEST(byname, connect_to_a_literal)
{
	struct dgram_addr a;
	struct peer q;

	begin(backend);
	OK(connect_name("127.0.0.1"));
	OK(dgram_remote_address(p.s, &a));
	cr_assert(dgram_addr_equal(&a, &to));
	CHECK(connect_name("127.0.0.1"), IS_CONNECTED);
	CHECK(connect_name("name"), IS_CONNECTED);
	CHECK(connect_name("::1"), IS_CONNECTED);
	TRACE(&p, "");
	turns(l, 3);
	TRACE(&p, "LCc");
	open_named(&q, NULL, look_up);
	OK(CALL(dgram_connect(q.s, port, NULL, NULL, NULL)));
	/* Not by way of the wildcard, that the kernel would take for it. */
	cr_assert(dgram_addr_equal(&q.s->peer, &to));
	turns(l, 3);
	TRACE(&q, "LC");
	/* The kernel's error is returned, and nothing has changed. */
	open_named(&q, NULL, look_up);
	fault_always(&f, FAULT_CONNECT, -ENETUNREACH);
	CHECK(CALL(dgram_connect(q.s, port, "127.0.0.1", connect_done, &q)),
	    -ENETUNREACH);
	fault_always(&f, FAULT_CONNECT, 0);
	CHECK(dgram_remote_address(q.s, &a), NOT_CONNECTED);
	OK(CALL(dgram_connect(q.s, port, "", connect_done, &q)));
	turns(l, 3);
	TRACE(&q, "LCc");
	cr_assert_eq(nasks, 0);
	leave();
}

BACKEND_TEST(byname, send_to_literals)
{
	struct iovec iov[3] = { { number(6), 1 }, { NULL, 0 },
	    { (char *)number(6) + 1, 3 } };
	uint32_t three[3] = { 3, 4, 5 };
	unsigned threads;

	begin(backend);
	threads = test_count_threads();
	OK(send_to("127.0.0.1", 1));
	OK(send_to("", 2));
	OK(CALL(dgram_sendto(p.s, three, 4, 4, port, NULL, sent, &p)));
	OK(CALL(dgram_sendv(p.s, iov, 3, port, "127.0.0.1", sent, &p)));
	OK(send_silent("127.0.0.1", 7));
	OK(CALL(dgram_send(p.s, NULL, 0, port, NULL, sent, &p)));
	CHECK(dgram_sendto(p.s, NULL, 1, 0, port, NULL, sent, &p), -EINVAL);
	CHECK(dgram_send(p.s, NULL, 1, port, NULL, sent, &p), -EINVAL);
	CHECK(dgram_send(p.s, NULL, 1, port, "name", sent, &p), -EINVAL);
	turns(l, 3);
	TRACE(&p, "Lddddd");
	cr_assert_eq(record_of('d', 0)->status, 4);
	cr_assert_eq(record_of('d', 4)->status, 0);
	cr_assert_eq(bare_recv(fd), 1);
	cr_assert_eq(bare_recv(fd), 2);
	cr_assert_eq(bare_recv(fd), 4);
	cr_assert_eq(bare_recv(fd), 6);
	cr_assert_eq(bare_recv(fd), 7);
	cr_assert_eq(nasks, 0);
	FAKE_CHECK(fake.calls == 0);
	cr_assert_eq(test_count_threads(), threads);
	leave();
}

/* Refused at once, and nobody is asked. */
BACKEND_TEST(byname, what_is_refused)
{
	static char name[301];
	static char data[70000];
	struct peer u;
	const struct { const char *address; int status; } t[] = {
		{ "::1", -EINVAL }, { "::ffff:127.0.0.1", -EINVAL },
		{ "fe80::1%no-such-zone", -ENODEV },
		{ name, -ENAMETOOLONG },
	};
	size_t i;

	begin(backend);
	memset(name, 'a', 256);
	for (i = 0; i < COUNT(t); i++) {
		CHECK(bind_name(t[i].address), t[i].status);
		CHECK(connect_name(t[i].address), t[i].status);
		CHECK(send_to(t[i].address, 1), t[i].status);
	}
	memset(name, 'a', 300);
	CHECK(bind_name(name), -ENAMETOOLONG);
	CHECK(CALL(dgram_send(p.s, data, 65508, port, "name", sent, &p)),
	    -EMSGSIZE);
	CHECK(dgram_bind(NULL, 0, NULL, NULL, NULL), -EINVAL);
	CHECK(dgram_connect(NULL, 1, NULL, NULL, NULL), -EINVAL);
	CHECK(dgram_send(NULL, "", 0, 1, NULL, NULL, NULL), -EINVAL);
	CHECK(dgram_sendv(NULL, NULL, 0, 1, NULL, NULL, NULL), -EINVAL);
	CHECK(dgram_sendto(NULL, "", 0, 0, 1, NULL, NULL, NULL), -EINVAL);
	CHECK(dgram_fileno(p.s), -EBADF);
	peer_open(&u, l, DGRAM_UNIX, NULL);
	CHECK(dgram_bind(u.s, 0, NULL, NULL, NULL), -EINVAL);
	CHECK(dgram_connect(u.s, 1, NULL, NULL, NULL), -EINVAL);
	CHECK(dgram_send(u.s, "", 0, 1, "name", NULL, NULL), -EINVAL);
	OK(dgram_close(u.s, NULL, NULL));
	CHECK(dgram_send(u.s, "", 0, 1, "name", NULL, NULL), NOT_RUNNING);
	OK(dgram_close(p.s, NULL, NULL));
	CHECK(bind_name("name"), NOT_RUNNING);
	CHECK(connect_name(NULL), NOT_RUNNING);
	CHECK(send_to("::1", 1), NOT_RUNNING);
	turns(l, 3);
	TRACE(&p, "X");
	cr_assert_eq(nasks, 0);
	FAKE_CHECK(fake.calls == 0);
	leave();
}

BACKEND_TEST(byname, what_is_no_literal_is_asked_for)
{
	static char longest[256];
	const char *const names[] = { "127.0.0.1 x", "127.0.0.1x", "127.1",
		"0x7f.1", " 127.0.0.1", "[::1]", "127.0.0.1.", longest };
	size_t i;

	begin(backend);
	memset(longest, 'a', 255);
	for (i = 0; i < COUNT(names); i++)
		OK(send_to(names[i], 1));
	turns(l, 3);
	cr_assert_eq(nasks, (int)COUNT(names));
	for (i = 0; i < COUNT(names); i++)
		cr_assert(strcmp(asks[i].host, names[i]) == 0, "%s",
		    names[i]);
	leave();
}

BACKEND_TEST(byname, ports)
{
	static const char *const addresses[] = { NULL, "", "127.0.0.1",
		"name" };
	size_t i;

	begin(backend);
	for (i = 0; i < COUNT(addresses); i++) {
		const char *a = addresses[i];

		CHECK(dgram_bind(p.s, -1, a, bind_done, &p), BAD_PORT);
		CHECK(dgram_bind(p.s, 65536, a, bind_done, &p), BAD_PORT);
		CHECK(dgram_connect(p.s, -1, a, connect_done, &p), BAD_PORT);
		CHECK(dgram_connect(p.s, 0, a, connect_done, &p), BAD_PORT);
		CHECK(dgram_connect(p.s, 65536, a, connect_done, &p),
		    BAD_PORT);
		CHECK(dgram_send(p.s, "", 0, -1, a, sent, &p), BAD_PORT);
		CHECK(dgram_send(p.s, "", 0, 0, a, sent, &p), BAD_PORT);
		CHECK(dgram_send(p.s, "", 0, 65536, a, sent, &p), BAD_PORT);
	}
	CHECK(dgram_fileno(p.s), -EBADF);
	OK(dgram_send(p.s, "", 0, 65535, "127.0.0.1", NULL, NULL));
	OK(dgram_send(p.s, "", 0, 1, "name", NULL, NULL));
	turns(l, 3);
	cr_assert_eq(nasks, 1);
	leave();
}

BACKEND_TEST(byname, to_the_peer)
{
	static const char *const addresses[] = { "127.0.0.1", "name", "::1",
		"fe80::1%no-such-zone" };
	size_t i;

	begin(backend);
	OK(connect_name(NULL));
	OK(CALL(dgram_send(p.s, number(1), 4, 0, NULL, sent, &p)));
	OK(CALL(dgram_send(p.s, number(2), 4, 0, "", sent, &p)));
	for (i = 0; i < COUNT(addresses); i++) {
		CHECK(send_to(addresses[i], 1), IS_CONNECTED);
		CHECK(dgram_send(p.s, "", 0, 0, addresses[i], sent, &p),
		    IS_CONNECTED);
	}
	CHECK(send_to(NULL, 1), IS_CONNECTED);
	CHECK(dgram_send(p.s, "", 0, -1, NULL, sent, &p), IS_CONNECTED);
	CHECK(dgram_send(p.s, "", 0, 65536, NULL, sent, &p), IS_CONNECTED);
	turns(l, 3);
	TRACE(&p, "LCcdd");
	cr_assert_eq(bare_recv(fd), 1);
	cr_assert_eq(bare_recv(fd), 2);
	cr_assert_eq(nasks, 0);
	leave();
}

/* ---- bind by name ---- */

BACKEND_TEST(byname, while_it_binds)
{
	struct dgram_addr a;

	begin(backend);
	OK(bind_name("me"));
	CHECK(bind_name("me"), ALREADY_BOUND);
	CHECK(bind_name("127.0.0.1"), ALREADY_BOUND);
	CHECK(dgram_bind_addr(p.s, &to), ALREADY_BOUND);
	CHECK(dgram_connect_addr(p.s, &to), ALREADY_BOUND);
	CHECK(dgram_address(p.s, &a), -EBADF);
	CHECK(dgram_fileno(p.s), -EBADF);
	CHECK(dgram_set_ttl(p.s, 3), -EBADF);
	CHECK(dgram_remote_address(p.s, &a), NOT_CONNECTED);
	CHECK(dgram_disconnect(p.s), NOT_CONNECTED);
	OK(send_done(&p, 1, &to));
	OK(send_to("127.0.0.1", 2));
	OK(send_to("there", 3));
	CHECK(CALL(dgram_flush(p.s)), 3);
	LEDGER(0, 0, 0, 3);
	OK(connect_name("127.0.0.1"));
	CHECK(connect_name("127.0.0.1"), IS_CONNECTED);
	CHECK(connect_name("there"), IS_CONNECTED);
	CHECK(bind_name("me"), ALREADY_BOUND);
	turns(l, 3);
	TRACE(&p, "");
	cr_assert_eq(nasks, 2);
	OK(answer(0, "127.0.0.1"));
	OK(dgram_remote_address(p.s, &a));
	cr_assert(dgram_addr_equal(&a, &to));
	turns(l, 3);
	TRACE(&p, "LbCcdd");
	/* Accepted for another than the peer. */
	OK(answer(1, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "LbCcddd");
	TOLD('d', 1, -EISCONN, DGRAM_IN_SEND, with_addr("send EISCONN"));
	cr_assert_eq(bare_recv(fd), 1);
	cr_assert_eq(bare_recv(fd), 2);
	cr_assert_eq(bare_recv(fd), -1);
	LEDGER(2, 1, 0, 0);
	leave();
}

/* What waited for it fails with it. */
static void
wait_for_bind(void)
{
	OK(bind_name("me"));
	OK(connect_name("127.0.0.1"));
	OK(send_to("127.0.0.1", 1));
	OK(send_to("there", 2));
	OK(send_silent("there", 3));
	turns(l, 3);
	TRACE(&p, "");
}

BACKEND_TEST(byname, bind_whose_name_fails)
{
	begin(backend);
	wait_for_bind();
	OK(refuse(0, DGRAM_ENOTFOUND));
	CHECK(answer(1, "127.0.0.1"), -ENOENT);
	LEDGER(0, 3, 0, 0);
	turns(l, 3);
	TRACE(&p, "bcddE");
	TOLD('b', 0, DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP,
	    "getaddrinfo ENOTFOUND me");
	cr_assert(record_of('b', 0)->has_host);
	TOLD('c', 0, DGRAM_ENOTFOUND, DGRAM_IN_CONNECT, "connect ENOTFOUND");
	TOLD('d', 0, DGRAM_ENOTFOUND, DGRAM_IN_SEND,
	    with_addr("send ENOTFOUND"));
	TOLD('E', 0, DGRAM_ENOTFOUND, DGRAM_IN_SEND, "send ENOTFOUND");
	/* As if nothing had been. */
	OK(bind_name("127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "bcddELb");
	leave();
}

BACKEND_TEST(byname, bind_that_the_kernel_refuses)
{
	begin(backend);
	OK(CALL(dgram_bind(p.s, port, "me", bind_done, &p)));
	OK(connect_name("there"));
	OK(send_to("there", 1));
	turns(l, 3);
	cr_assert_eq(nasks, 3);
	OK(answer(0, "127.0.0.1"));
	CHECK(answer(1, "127.0.0.1"), -ENOENT);
	turns(l, 3);
	TRACE(&p, "bcd");
	TOLD('b', 0, -EADDRINUSE, DGRAM_IN_BIND,
	    with_addr("bind EADDRINUSE"));
	cr_assert(!record_of('b', 0)->has_host);
	TOLD('c', 0, -EADDRINUSE, DGRAM_IN_CONNECT, "connect EADDRINUSE");
	TOLD('d', 0, -EADDRINUSE, DGRAM_IN_SEND, "send EADDRINUSE");
	OK(bind_name("me"));
	turns(l, 3);
	OK(answer(3, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "bcdLb");
	leave();
}

static void
bind_again(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e != EV_DONE)
		return;
	peer->hook = NULL;
	OK(bind_name("me"));
	OK(send_to("127.0.0.1", 9));
}

BACKEND_TEST(byname, bind_again_in_the_completion)
{
	begin(backend);
	p.hook = bind_again;
	OK(bind_name("me"));
	OK(send_to("127.0.0.1", 1));
	turns(l, 3);
	OK(refuse(0, -EIO));
	turns(l, 4);
	/* The first datagram was for the first bind. */
	TRACE(&p, "bd");
	cr_assert_eq(nasks, 2);
	OK(answer(1, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "bdLbd");
	cr_assert_eq(bare_recv(fd), 9);
	leave();
}

/* Failed, and done by an address before that was told. */
BACKEND_TEST(byname, bind_again_before_the_completion)
{
	begin(backend);
	OK(bind_name("me"));
	turns(l, 3);
	OK(refuse(0, -EIO));
	OK(bind_name("127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "bLb");
	cr_assert_eq(record_of('b', 0)->status, -EIO);
	cr_assert_eq(record_of('b', 1)->status, 0);
	leave();
}

/* ---- connect by name ---- */

BACKEND_TEST(byname, connect_by_name)
{
	struct dgram_addr a;

	begin(backend);
	OK(connect_name("there"));
	cr_assert(local_of(&p).len > 0);
	CHECK(connect_name("there"), IS_CONNECTED);
	CHECK(bind_name("me"), ALREADY_BOUND);
	CHECK(dgram_connect_addr(p.s, &to), IS_CONNECTED);
	CHECK(dgram_remote_address(p.s, &a), NOT_CONNECTED);
	CHECK(dgram_disconnect(p.s), NOT_CONNECTED);
	/* Not connected yet. */
	CHECK(dgram_send(p.s, "", 0, 0, NULL, NULL, NULL), BAD_PORT);
	OK(send_to("127.0.0.1", 1));
	turns(l, 3);
	TRACE(&p, "Ld");
	cr_assert_eq(bare_recv(fd), 1);
	OK(answer(0, "127.0.0.1"));
	OK(dgram_remote_address(p.s, &a));
	cr_assert(dgram_addr_equal(&a, &to));
	OK(CALL(dgram_send(p.s, number(2), 4, 0, NULL, sent, &p)));
	turns(l, 3);
	TRACE(&p, "LdCcd");
	cr_assert_eq(bare_recv(fd), 2);
	leave();
}

BACKEND_TEST(byname, connect_that_fails)
{
	begin(backend);
	OK(connect_name("there"));
	turns(l, 3);
	OK(refuse(0, DGRAM_EAI_AGAIN));
	turns(l, 3);
	TRACE(&p, "Lc");
	TOLD('c', 0, DGRAM_EAI_AGAIN, DGRAM_IN_LOOKUP,
	    "getaddrinfo EAI_AGAIN there");
	OK(connect_name("there"));
	turns(l, 3);
	fault_always(&f, FAULT_CONNECT, -ENETUNREACH);
	OK(answer(1, "127.0.0.1"));
	fault_always(&f, FAULT_CONNECT, 0);
	turns(l, 3);
	TRACE(&p, "Lcc");
	TOLD('c', 1, -ENETUNREACH, DGRAM_IN_CONNECT,
	    with_addr("connect ENETUNREACH"));
	/* Bound still, and as good as new. */
	OK(send_to("127.0.0.1", 1));
	OK(connect_name("there"));
	turns(l, 3);
	OK(answer(2, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "LccdCc");
	leave();
}

/* What was sent before goes before, where it was addressed to. */
BACKEND_TEST(byname, connect_behind_what_waits)
{
	struct dgram_addr a;
	int other;

	begin(backend);
	other = bare_socket(DGRAM_UDP4, &a);
	OK(connect_name("there"));
	turns(l, 3);
	OK(send_done(&p, 1, &a));
	LEDGER(0, 0, 0, 1);
	OK(answer(0, "127.0.0.1"));
	LEDGER(1, 0, 0, 0);
	turns(l, 3);
	TRACE(&p, "LCcd");
	cr_assert_eq(bare_recv(other), 1);
	close(other);
	leave();
}

/* Who asks for more of them does not run the loop. */
BACKEND_TEST(byname, so_many_completions_may_wait)
{
	int round, i, r = 0;

	begin(backend);
	OK(bind_name("127.0.0.1"));
	turns(l, 3);
	for (round = 1; round <= 2; round++) {
		for (i = 0; i <= (int)DGI_STEPS_MOST; i++) {
			r = connect_name("127.0.0.1");
			if (r < 0)
				break;
			OK(dgram_disconnect(p.s));
		}
		cr_assert(r == -ENOBUFS && i == (int)DGI_STEPS_MOST, "%d", i);
		CHECK(connect_name("there"), -ENOBUFS);
		turns(l, 3);
		cr_assert_eq(p.n[EV_DONE], round * i + 1);
	}
	cr_assert_eq(nasks, 0);
	leave();
}

/* The answer for the connect is there before the bind's, or after it. */
static void
connect_behind_bind(const char *backend, bool first, bool fails)
{
	begin(backend);
	OK(bind_name("me"));
	OK(connect_name("there"));
	turns(l, 3);
	cr_assert_eq(nasks, 2);
	if (!first)
		OK(answer(0, "127.0.0.1"));
	if (fails)
		OK(refuse(1, DGRAM_ENOTFOUND));
	else
		OK(answer(1, "127.0.0.1"));
	turns(l, 3);
	if (first) {
		TRACE(&p, fails ? "c" : "");
		/* A failed one is no connect any more. */
		if (fails)
			OK(connect_name("127.0.0.1"));
		OK(answer(0, "127.0.0.1"));
		turns(l, 3);
	}
	if (first && fails)
		TRACE(&p, "cLbCc");
	else
		TRACE(&p, fails ? "Lbc" : "LbCc");
}

BACKEND_TEST(byname, connect_answered_in_front_of_the_bind)
{
	connect_behind_bind(backend, true, false);
	leave();
}

BACKEND_TEST(byname, connect_answered_behind_the_bind)
{
	connect_behind_bind(backend, false, false);
	leave();
}

BACKEND_TEST(byname, connect_failed_in_front_of_the_bind)
{
	connect_behind_bind(backend, true, true);
	TOLD('c', 0, DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP,
	    "getaddrinfo ENOTFOUND there");
	leave();
}

BACKEND_TEST(byname, connect_failed_behind_the_bind)
{
	connect_behind_bind(backend, false, true);
	leave();
}

BACKEND_TEST(byname, connect_that_is_known_and_then_the_bind_fails)
{
	begin(backend);
	OK(bind_name("me"));
	OK(connect_name("there"));
	turns(l, 3);
	OK(answer(1, "127.0.0.1"));
	OK(refuse(0, -EIO));
	turns(l, 3);
	TRACE(&p, "bc");
	cr_assert_eq(record_of('c', 0)->status, -EIO);
	leave();
}

/* A name and, behind the connect, its answer. */
BACKEND_TEST(byname, send_whose_answer_comes_when_connected)
{
	begin(backend);
	OK(send_to("one", 1));
	OK(send_silent("one", 2));
	OK(connect_name("there"));
	OK(send_to("two", 3));
	turns(l, 3);
	OK(answer(1, "127.0.0.1"));
	OK(answer(0, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "LCcdE");
	TOLD('d', 0, -EISCONN, DGRAM_IN_SEND, with_addr("send EISCONN"));
	TOLD('E', 0, -EISCONN, DGRAM_IN_SEND, with_addr("send EISCONN"));
	OK(dgram_disconnect(p.s));
	OK(answer(2, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "LCcdEd");
	cr_assert_eq(bare_recv(fd), 3);
	LEDGER(1, 2, 0, 0);
	leave();
}

/* ---- without a completion ---- */

BACKEND_TEST(byname, failures_without_completions)
{
	begin(backend);
	OK(CALL(dgram_bind(p.s, port, "me", NULL, NULL)));
	turns(l, 3);
	OK(answer(0, "127.0.0.1"));
	turns(l, 3);
	TOLD('E', 0, -EADDRINUSE, DGRAM_IN_BIND, with_addr("bind EADDRINUSE"));
	OK(CALL(dgram_bind(p.s, 0, "no.such", NULL, NULL)));
	turns(l, 3);
	OK(refuse(1, DGRAM_ENOTFOUND));
	turns(l, 3);
	TOLD('E', 1, DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP,
	    "getaddrinfo ENOTFOUND no.such");
	OK(CALL(dgram_connect(p.s, port, "no.such", NULL, NULL)));
	turns(l, 3);
	OK(refuse(2, DGRAM_ENOTFOUND));
	turns(l, 3);
	TOLD('E', 2, DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP,
	    "getaddrinfo ENOTFOUND no.such");
	OK(send_silent("no.such", 1));
	turns(l, 3);
	OK(refuse(3, DGRAM_EAI_FAIL));
	turns(l, 3);
	TOLD('E', 3, DGRAM_EAI_FAIL, DGRAM_IN_LOOKUP,
	    "getaddrinfo EAI_FAIL no.such");
	/* Each once, and what goes well is not told. */
	OK(send_silent("there", 1));
	OK(CALL(dgram_connect(p.s, port, "there", NULL, NULL)));
	turns(l, 3);
	OK(answer(4, "127.0.0.1"));
	OK(answer(5, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "EELEEC");
	leave();
}

/* ---- datagrams to names ---- */

BACKEND_TEST(byname, order_is_kept_and_asked_for_once)
{
	uint32_t i;

	begin(backend);
	for (i = 0; i < 200; i++)
		OK(i % 3 == 0 ? send_silent("there", i) : send_to("there", i));
	turns(l, 3);
	LEDGER(0, 0, 0, 200);
	cr_assert_eq(dgram_get_send_queue_size(p.s), 800);
	CHECK(CALL(dgram_flush(p.s)), 200);
	cr_assert_eq(nasks, 1);
	OK(answer(0, "127.0.0.1"));
	/* For another look-up, that ends first. */
	OK(send_to("there", 200));
	turns(l, 4);
	cr_assert_eq(nasks, 2);
	OK(answer(1, "127.0.0.1"));
	turns(l, 4);
	for (i = 0; i <= 200; i++)
		MUST(bare_recv(fd) == i, "%u", i);
	cr_assert_eq(p.n[EV_DONE], 200 / 3 * 2 + 1 + 1);
	LEDGER(201, 0, 0, 0);
	cr_assert_eq(dgram_get_send_queue_size(p.s), 0);
	/* What waits for a name does not make other sends slow. */
	OK(send_silent("there", 202));
	turns(l, 3);
	cr_assert_eq(p.s->common_most, l->batch);
	OK(answer(2, "127.0.0.1"));
	leave();
}

BACKEND_TEST(byname, nothing_waits_for_another_name)
{
	struct dgram_addr a;
	int other;

	begin(backend);
	other = bare_socket(DGRAM_UDP4, &a);
	OK(send_to("slow", 1));
	OK(send_to("fast", 2));
	OK(send_to("127.0.0.1", 3));
	OK(send_done(&p, 4, &to));
	/* To another port: for the same look-up. */
	OK(CALL(dgram_send(p.s, number(5), 4, dgram_addr_port(&a), "fast",
	    sent, &p)));
	turns(l, 3);
	TRACE(&p, "Ldd");
	cr_assert_eq(nasks, 2);
	OK(answer(1, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "Ldddd");
	LEDGER(4, 0, 0, 1);
	cr_assert_eq(dgram_get_send_queue_size(p.s), 4);
	OK(answer(0, "127.0.0.1"));
	turns(l, 3);
	cr_assert_eq(bare_recv(fd), 3);
	cr_assert_eq(bare_recv(fd), 4);
	cr_assert_eq(bare_recv(fd), 2);
	cr_assert_eq(bare_recv(fd), 1);
	cr_assert_eq(bare_recv(other), 5);
	close(other);
	leave();
}

BACKEND_TEST(byname, limits_count_them)
{
	struct dgram_options o = { .send_queue_count = 4,
	    .send_queue_bytes = 100 };
	static const char data[100];
	struct peer q;
	int i;

	enter(backend, NULL, &o, look_up);
	/* So there is memory for the shortest way. */
	open_named(&q, NULL, NULL);
	for (i = 0; i < 8; i++)
		OK(send_done(&q, (uint32_t)i, &to));
	turns(l, 3);
	for (i = 0; i < 4; i++)
		OK(send_to("there", (uint32_t)i));
	CHECK(send_to("there", 4), -ENOBUFS);
	CHECK(send_to("elsewhere", 4), -ENOBUFS);
	CHECK(send_to("127.0.0.1", 4), -ENOBUFS);
	CHECK(send_done(&p, 4, &to), -ENOBUFS);
	turns(l, 3);
	TRACE(&p, "L");
	cr_assert_eq(nasks, 1);
	OK(answer(0, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "LddddD");
	OK(CALL(dgram_send(p.s, data, 60, port, "there", sent, &p)));
	CHECK(CALL(dgram_send(p.s, data, 41, port, "there", sent, &p)),
	    -ENOBUFS);
	OK(CALL(dgram_send(p.s, data, 40, port, "there", sent, &p)));
	CHECK(send_to("127.0.0.1", 4), -ENOBUFS);
	cr_assert_eq(dgram_get_send_queue_size(p.s), 100);
	turns(l, 3);
	OK(refuse(1, -EIO));
	turns(l, 3);
	TRACE(&p, "LddddDddD");
	LEDGER(4, 2, 0, 0);
	cr_assert_eq(stats_of(&p).refused, 6);
	leave();
}

static unsigned flood_sent, flood_done, flood_drains, flood_bad;

static void
flood_done_one(struct dgram_socket *s, int status, void *arg)
{
	(void)s, (void)arg;
	flood_done++;
	flood_bad += status != 4;
}

static void
flood(struct peer *peer, enum event e, const struct dgram_message *m, size_t n)
{
	(void)m, (void)n;
	flood_drains += e == EV_DRAIN;
	if (e != EV_DRAIN && e != EV_LISTENING)
		return;
	while (flood_sent < 100000) {
		if (dgram_send(peer->s, number(1), 4, port, "there",
		    flood_done_one, NULL) < 0)
			break;
		flood_sent++;
	}
}

BACKEND_TEST(byname, many_with_bounded_memory)
{
	size_t held, bound, most = 0;
	int asked = 0;

	begin(backend);
	p.hook = flood;
	OK(send_to("there", 0));
	while (flood_done < 100000) {
		turn_wait(l, 0);
		OK(dgram_loop_memory(l, &held, &bound));
		MUST(held <= bound, "%zu of %zu", held, bound);
		most = held > most ? held : most;
		if (nasks > asked) {
			OK(answer(0, "127.0.0.1"));
			nasks = 0;
		}
		while (bare_recv(fd) >= 0)
			;
		MUST(flood_drains < 100000, "no progress");
	}
	cr_assert_eq(flood_bad, 0);
	cr_assert(flood_drains > 10 && flood_drains < 1000);
	/* 4096 of them and their completions: some 200 bytes each. */
	cr_assert(most < (size_t)8 << 20, "%zu", most);
	LEDGER(100001, 0, 0, 0);
	leave();
}

BACKEND_TEST(byname, bytes_are_borrowed_or_copied)
{
	uint32_t a = 1, b = 2;
	struct iovec iov[3] = { { &a, 2 }, { (char *)&a + 2, 1 },
	    { (char *)&a + 3, 1 } };

	begin(backend);
	OK(CALL(dgram_send(p.s, &a, 4, port, "there", sent, &p)));
	OK(CALL(dgram_sendv(p.s, iov, 3, port, "there", sent, &p)));
	OK(CALL(dgram_send(p.s, &b, 4, port, "there", NULL, NULL)));
	OK(CALL(dgram_sendv(p.s, iov, 3, port, "there", NULL, NULL)));
	memset(iov, 0, sizeof(iov));
	turns(l, 3);
	a = b = 7;
	OK(answer(0, "127.0.0.1"));
	turns(l, 3);
	cr_assert_eq(bare_recv(fd), 7);
	cr_assert_eq(bare_recv(fd), 7);
	cr_assert_eq(bare_recv(fd), 2);
	cr_assert_eq(bare_recv(fd), 1);
	leave();
}

static void
answer_by_name(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	if (e != EV_MESSAGE)
		return;
	for (i = 0; i < n; i++)
		OK(dgram_send(peer->s, m[i].data, m[i].size, port, "there",
		    NULL, NULL));
}

/* Bytes of a message do not last as long as a look-up. */
BACKEND_TEST(byname, answers_from_the_message)
{
	struct dgram_addr a;
	uint32_t i;

	begin(backend);
	p.hook = answer_by_name;
	OK(bind_name("127.0.0.1"));
	a = local_of(&p);
	for (i = 0; i < 40; i++)
		bare_send(fd, &a, i);
	RUN_UNTIL(l, p.got == 40);
	p.hook = NULL;
	/* They are overwritten. */
	for (i = 0; i < 40; i++)
		bare_send(fd, &a, 1000);
	RUN_UNTIL(l, p.got == 80);
	cr_assert_eq(nasks, 1);
	OK(answer(0, "127.0.0.1"));
	turns(l, 3);
	for (i = 0; i < 40; i++)
		MUST(bare_recv(fd) == i, "%u", i);
	leave();
}

/* ---- the end ---- */

BACKEND_TEST(byname, close_cuts_off)
{
	begin(backend);
	OK(bind_name("me"));
	OK(connect_name("there"));
	OK(send_to("there", 1));
	OK(send_to("127.0.0.1", 2));
	OK(send_silent("there", 3));
	turns(l, 3);
	OK(CALL(dgram_close(p.s, peer_close_fn, &p)));
	TRACE(&p, "");
	turns(l, 3);
	TRACE(&p, "bcddXf");
	TOLD('b', 0, -ECANCELED, DGRAM_IN_BIND, "bind ECANCELED");
	TOLD('c', 0, -ECANCELED, DGRAM_IN_CONNECT, "connect ECANCELED");
	cr_assert_eq(record_of('d', 0)->status, -ECANCELED);
	cr_assert_eq(record_of('d', 1)->status, -ECANCELED);
	leave();
}

/* It was done, and is not told yet. */
BACKEND_TEST(byname, close_behind_the_answer)
{
	begin(backend);
	OK(bind_name("me"));
	OK(connect_name("there"));
	turns(l, 3);
	OK(answer(0, "127.0.0.1"));
	OK(answer(1, "127.0.0.1"));
	OK(CALL(dgram_close(p.s, NULL, NULL)));
	turns(l, 3);
	TRACE(&p, "bcX");
	cr_assert(record_of('b', 0)->status == 0 &&
	    record_of('c', 0)->status == 0);
	open_named(&p, NULL, look_up);
	OK(bind_name("127.0.0.1"));
	OK(connect_name(NULL));
	OK(CALL(dgram_close(p.s, NULL, NULL)));
	turns(l, 3);
	TRACE(&p, "bcX");
	leave();
}

BACKEND_TEST(byname, end_waits_for_names)
{
	begin(backend);
	OK(send_to("there", 1));
	OK(send_to("other", 2));
	turns(l, 3);
	OK(CALL(dgram_end(p.s, peer_close_fn, &p)));
	CHECK(send_to("there", 3), NOT_RUNNING);
	CHECK(send_to("127.0.0.1", 3), NOT_RUNNING);
	turns(l, 3);
	OK(answer(0, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "Ld");
	OK(refuse(1, DGRAM_ENOTFOUND));
	turns(l, 3);
	TRACE(&p, "LddXf");
	TOLD('d', 1, DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP,
	    "getaddrinfo ENOTFOUND other");
	cr_assert_eq(bare_recv(fd), 1);
	leave();
}

/* True results, also of the last that it waited for. */
BACKEND_TEST(byname, end_tells_why)
{
	begin(backend);
	OK(bind_name("me"));
	OK(send_to("127.0.0.1", 1));
	turns(l, 3);
	OK(CALL(dgram_end(p.s, NULL, NULL)));
	OK(refuse(0, DGRAM_ENOTFOUND));
	turns(l, 3);
	TRACE(&p, "bdX");
	TOLD('b', 0, DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP,
	    "getaddrinfo ENOTFOUND me");
	open_named(&p, NULL, look_up);
	OK(connect_name("there"));
	turns(l, 3);
	OK(CALL(dgram_end(p.s, NULL, NULL)));
	OK(refuse(1, DGRAM_ENOTFOUND));
	turns(l, 3);
	TRACE(&p, "LcX");
	TOLD('c', 0, DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP,
	    "getaddrinfo ENOTFOUND there");
	/* With nothing behind it. */
	open_named(&p, NULL, look_up);
	OK(bind_name("me"));
	OK(CALL(dgram_end(p.s, NULL, NULL)));
	turns(l, 3);
	OK(refuse(2, DGRAM_ENOTFOUND));
	turns(l, 3);
	TRACE(&p, "bX");
	open_named(&p, NULL, look_up);
	OK(bind_name("me"));
	OK(CALL(dgram_end(p.s, NULL, NULL)));
	turns(l, 3);
	OK(answer(3, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "bX");
	cr_assert_eq(record_of('b', 2)->status, 0);
	open_named(&p, NULL, look_up);
	OK(bind_name("me"));
	OK(connect_name("there"));
	OK(send_to("127.0.0.1", 2));
	OK(CALL(dgram_end(p.s, NULL, NULL)));
	turns(l, 3);
	OK(answer(4, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "Lbd");
	OK(answer(5, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "LbdcX");
	cr_assert_eq(record_of('c', 1)->status, 0);
	cr_assert_eq(bare_recv(fd), 2);
	leave();
}

static int closes_at;

static void
close_at(struct peer *peer, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)e, (void)m, (void)n;
	if (--closes_at == 0)
		OK(dgram_close(peer->s, NULL, NULL));
}

/* In each of its callbacks: all that was accepted is told, once. */
BACKEND_TEST(byname, close_in_each_callback)
{
	const char *c;
	int k, done;

	begin(backend);
	for (k = 1; k <= 6; k++) {
		p.hook = close_at;
		closes_at = k;
		nasks = 0;
		OK(bind_name("me"));
		OK(connect_name("there"));
		OK(send_to("127.0.0.1", 1));
		OK(send_to("other", 2));
		turns(l, 3);
		OK(answer(0, "127.0.0.1"));
		turns(l, 3);
		/* -ENOENT if it is closed by now. */
		(void)answer(1, "127.0.0.1");
		(void)answer(2, "127.0.0.1");
		turns(l, 4);
		MUST(p.s == NULL, "%d callbacks in %s", k, p.trace);
		for (c = p.trace, done = 0; *c != '\0'; c++)
			done += *c == 'b' || *c == 'c' || *c == 'd';
		MUST(done == 4 && p.n[EV_CLOSE] == 1 &&
		    p.trace[strlen(p.trace) - 1] == 'X', "%d: %s", k,
		    p.trace);
		open_named(&p, NULL, look_up);
	}
	leave();
}

BACKEND_TEST(byname, free_with_all_of_it)
{
	struct peer q;

	begin(backend);
	/* One socket older than the first name, and one younger. */
	OK(bind_name("me"));
	OK(connect_name("there"));
	OK(send_to("there", 1));
	turns(l, 3);
	open_named(&q, NULL, look_up);
	OK(CALL(dgram_connect(q.s, port, "there", connect_done, &q)));
	OK(CALL(dgram_send(q.s, "x", 1, port, "there", sent, &q)));
	leave();
	TRACE(&p, "bcdX");
	TRACE(&q, "cdX");
	cr_assert_eq(record_of('b', 0)->status, -ECANCELED);
	cr_assert_eq(record_of('c', 0)->status, -ECANCELED);
	cr_assert_eq(record_of('c', 1)->status, -ECANCELED);
	cr_assert_eq(record_of('d', 1)->status, -ECANCELED);
	TOLD('b', 0, -ECANCELED, DGRAM_IN_BIND, "bind ECANCELED");
	TOLD('d', 0, -ECANCELED, DGRAM_IN_SEND, "send ECANCELED");
	TOLD('d', 1, -ECANCELED, DGRAM_IN_SEND, "send ECANCELED");
}

/* ---- configure() ---- */

static struct {
	bool close, connect, connect_literal, send_name, send, send_twice;
	int status;
	int calls, inner;
} cf;

static int
configure(int sock, void *arg)
{
	struct peer *peer = arg;

	(void)sock;
	cf.calls++;
	if (cf.connect)
		cf.inner = dgram_connect(peer->s, port, "there", connect_done,
		    peer);
	if (cf.connect_literal)
		cf.inner = dgram_connect(peer->s, port, "127.0.0.1",
		    connect_done, peer);
	if (cf.send_name)
		cf.inner = dgram_send(peer->s, number(8), 4, port, "there",
		    sent, peer);
	if (cf.send)
		cf.inner = dgram_send(peer->s, number(9), 4, port, NULL, sent,
		    peer);
	if (cf.close)
		cf.inner = dgram_close(peer->s, NULL, NULL);
	return cf.status;
}

static const struct dgram_options with_configure = { .configure = configure };

static void
begin_configure(const char *backend)
{
	enter(backend, NULL, &with_configure, look_up);
	memset(&cf, 0, sizeof(cf));
}

BACKEND_TEST(byname, configure_closes_behind_a_look_up)
{
	begin_configure(backend);
	cf.close = true;
	OK(bind_name("me"));
	OK(connect_name("127.0.0.1"));
	OK(send_to("127.0.0.1", 1));
	OK(send_to("there", 2));
	turns(l, 3);
	OK(answer(0, "127.0.0.1"));
	turns(l, 4);
	TRACE(&p, "bcddX");
	cr_assert_eq(cf.calls, 1);
	cr_assert_eq(record_of('b', 0)->status, -ECANCELED);
	cr_assert_eq(record_of('c', 0)->status, -ECANCELED);
	leave();
}

BACKEND_TEST(byname, configure_fails_behind_a_look_up)
{
	begin_configure(backend);
	cf.status = -EPERM;
	cf.send = cf.send_name = true;
	OK(bind_name("me"));
	turns(l, 3);
	OK(answer(0, "127.0.0.1"));
	turns(l, 4);
	TRACE(&p, "bdd");
	TOLD('b', 0, -EPERM, DGRAM_IN_BIND, "bind EPERM 127.0.0.1");
	cr_assert_eq(record_of('d', 0)->status, -EPERM);
	cr_assert_eq(record_of('d', 1)->status, -EPERM);
	CHECK(dgram_fileno(p.s), -EBADF);
	cr_assert_eq(nasks, 1);
	leave();
}

BACKEND_TEST(byname, configure_connects_and_sends)
{
	begin_configure(backend);
	cf.send = cf.send_name = cf.connect = true;
	OK(bind_name("me"));
	turns(l, 3);
	OK(answer(0, "127.0.0.1"));
	turns(l, 4);
	cr_assert(cf.calls == 1 && nasks == 3);
	OK(answer(2, "127.0.0.1"));
	OK(answer(1, "127.0.0.1"));
	turns(l, 4);
	TRACE(&p, "LbdCcd");
	cr_assert_eq(bare_recv(fd), 9);
	cr_assert_eq(bare_recv(fd), 8);
	leave();
}

/* The same by address: the bind is over for those, too. */
BACKEND_TEST(byname, configure_connects_in_a_bind_by_address)
{
	struct dgram_addr a = any_addr(DGRAM_UDP4);

	begin_configure(backend);
	cf.connect_literal = true;
	OK(CALL(dgram_bind_addr(p.s, &a)));
	OK(cf.inner);
	turns(l, 3);
	TRACE(&p, "LCc");
	open_named(&p, &with_configure, look_up);
	OK(bind_name("127.0.0.1"));
	turns(l, 3);
	cr_assert_eq(p.n[EV_CONNECT], 1);
	/* ... and where there was none but that. */
	open_named(&p, &with_configure, look_up);
	CHECK(CALL(dgram_connect_addr(p.s, &to)), IS_CONNECTED);
	turns(l, 3);
	TRACE(&p, "LCc");
	open_named(&p, &with_configure, look_up);
	CHECK(connect_name("there"), IS_CONNECTED);
	turns(l, 3);
	TRACE(&p, "LCc");
	cr_assert_eq(nasks, 0);
	leave();
}

BACKEND_TEST(byname, configure_fails_in_a_bind_by_address)
{
	struct dgram_addr a = any_addr(DGRAM_UDP4);

	begin_configure(backend);
	cf.connect = cf.send_name = true;
	cf.status = -EPERM;
	CHECK(CALL(dgram_bind_addr(p.s, &a)), -EPERM);
	OK(cf.inner);
	turns(l, 3);
	TRACE(&p, "cd");
	cr_assert_eq(record_of('c', 0)->status, -EPERM);
	cr_assert_eq(record_of('d', 0)->status, -EPERM);
	cr_assert_eq(nasks, 0);
	CHECK(connect_name("there"), -EPERM);
	CHECK(send_to("there", 1), -EPERM);
	leave();
}

/* Both to one name: one look-up, and those of configure() are first. */
BACKEND_TEST(byname, configure_sends_to_the_same_name)
{
	begin_configure(backend);
	cf.send_name = true;
	OK(send_to("there", 1));
	turns(l, 3);
	cr_assert_eq(nasks, 1);
	OK(answer(0, "127.0.0.1"));
	turns(l, 3);
	TRACE(&p, "Ldd");
	cr_assert_eq(bare_recv(fd), 8);
	cr_assert_eq(bare_recv(fd), 1);
	leave();
}

BACKEND_TEST(byname, configure_closes_inside_of_each_call)
{
	begin_configure(backend);
	cf.close = true;
	CHECK(send_to("there", 1), NOT_RUNNING);
	turns(l, 3);
	TRACE(&p, "X");
	open_named(&p, &with_configure, look_up);
	CHECK(connect_name("there"), NOT_RUNNING);
	turns(l, 3);
	TRACE(&p, "X");
	open_named(&p, &with_configure, look_up);
	CHECK(connect_name("127.0.0.1"), NOT_RUNNING);
	turns(l, 3);
	TRACE(&p, "X");
	open_named(&p, &with_configure, look_up);
	CHECK(bind_name("127.0.0.1"), NOT_RUNNING);
	turns(l, 3);
	TRACE(&p, "X");
	cr_assert_eq(nasks, 0);
	leave();
}

/* ---- without memory ---- */

static int
by_call(int call)
{
	uint32_t three[3] = { 1, 2, 3 };
	struct iovec iov[3] = { { &three[0], 4 }, { &three[1], 4 },
	    { &three[2], 4 } };

	switch (call) {
	case 0:
		return bind_name("me");
	case 1:
		return connect_name("there");
	case 2:
		return send_to("there", 1);
	case 3:
		return send_silent("other", 1);
	case 4:
		return CALL(dgram_sendv(p.s, iov, 3, port, "third", sent,
		    &p));
	case 5:
		return bind_name("127.0.0.1");
	case 6:
		return connect_name("127.0.0.1");
	default:
		return send_to("127.0.0.1", 1);
	}
}

static void
without_memory(const char *backend, dgram_lookup_fn *lookup)
{
	int call, i, r = -ENOMEM;

	for (call = 0; call < 8; call++) {
		memset(&p, 0, sizeof(p));
		nrecords = nasks = 0;
		enter(backend, NULL, NULL, lookup);
		for (i = 1; r == -ENOMEM; i++) {
			MUST(i < 50, "never");
			f.fail_alloc = f.allocs + (size_t)i;
			r = by_call(call);
			f.fail_alloc = 0;
			turns(l, 3);
			if (r < 0)
				MUST(p.n[EV_DONE] == 0 && nasks == 0, "told");
		}
		cr_assert_eq(r, 0, "%d: %d", call, r);
		cr_assert(i > 3, "%d: no step without memory", call);
		r = -ENOMEM;
		leave();
		MUST(p.n[EV_DONE] + p.n[EV_ERROR] <= 1, "%s", p.trace);
	}
}

BACKEND_TEST(byname, without_memory)
{
	without_memory(backend, look_up);
}

BACKEND_TEST(byname, without_memory_and_with_threads)
{
	without_memory(backend, NULL);
}

/* ---- getaddrinfo(3) ---- */

BACKEND_TEST(byname, all_three_by_threads)
{
	enter(backend, NULL, NULL, NULL);
	fake_answer("me", "127.0.0.1");
	fake_answer("there", "::7 127.0.0.1 127.0.0.9");
	OK(bind_name("me"));
	OK(send_to("there", 1));
	RUN_UNTIL(l, p.n[EV_DONE] == 2);
	cr_assert_eq(local_of(&p).u.in.sin_addr.s_addr,
	    htonl(INADDR_LOOPBACK));
	OK(connect_name("there"));
	RUN_UNTIL(l, p.n[EV_DONE] == 3);
	OK(CALL(dgram_send(p.s, number(2), 4, 0, NULL, sent, &p)));
	turns(l, 3);
	TRACE(&p, "LbdCcd");
	cr_assert_eq(bare_recv(fd), 1);
	cr_assert_eq(bare_recv(fd), 2);
	OK(dgram_disconnect(p.s));
	OK(send_silent("no.such", 1));
	RUN_UNTIL(l, p.n[EV_ERROR] == 1);
	TOLD('E', 0, DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP,
	    "getaddrinfo ENOTFOUND no.such");
	leave();
}

static int ignored;

static void
ignore(int status, const struct dgram_addr *addrs, size_t n, void *arg)
{
	(void)status, (void)addrs, (void)n, (void)arg;
	ignored++;
}

/* Of many sockets and who resolves, one request. */
BACKEND_TEST(byname, one_request_for_many_sockets)
{
	static struct peer q[20];
	size_t i;

	enter(backend, NULL, NULL, NULL);
	fake_answer("there", "127.0.0.1");
	fake_block("there");
	fake_answer("fast", "127.0.0.1");
	OK(send_to("there", 100));
	OK(send_to("fast", 101));
	for (i = 0; i < COUNT(q); i++) {
		open_named(&q[i], NULL, NULL);
		OK(CALL(dgram_send(q[i].s, number((uint32_t)i), 4, port,
		    "there", sent, &q[i])));
	}
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	cr_assert_eq(bare_recv(fd), 101);
	/* One less that waits. */
	OK(CALL(dgram_close(q[3].s, NULL, NULL)));
	fake_release("there");
	RUN_UNTIL(l, q[COUNT(q) - 1].n[EV_DONE] == 1);
	cr_assert_eq(fake_calls("there"), 1);
	cr_assert_eq(bare_recv(fd), 100);
	for (i = 0; i < COUNT(q); i++) {
		if (i != 3)
			MUST(bare_recv(fd) == (int64_t)i, "%zu", i);
	}
	leave();
}

static void
close_p(int status, const struct dgram_addr *addrs, size_t n, void *arg)
{
	ignore(status, addrs, n, arg);
	OK(dgram_close(p.s, NULL, NULL));
}

/* Of the same answer, and of one that is not there. */
BACKEND_TEST(byname, close_in_the_callback_of_another_look_up)
{
	enter(backend, NULL, NULL, NULL);
	fake_answer("there", "127.0.0.1");
	fake_block("there");
	fake_block("slow");
	OK(dgram_resolve(l, "there", AF_INET, close_p, NULL, NULL));
	OK(send_to("there", 1));
	OK(connect_name("there"));
	OK(send_to("slow", 1));
	OK(dgram_resolve(l, "there", AF_INET, ignore, NULL, NULL));
	turns(l, 3);
	fake_release("there");
	RUN_UNTIL(l, p.s == NULL);
	TRACE(&p, "LcddX");
	cr_assert_eq(ignored, 2);
	cr_assert_eq(record_of('c', 0)->status, -ECANCELED);
	cr_assert_eq(record_of('d', 1)->status, -ECANCELED);
	fake_release("slow");
	leave();
}

#define MANY	16384		/* look-ups that may wait */

BACKEND_TEST(byname, so_many_names_may_wait)
{
	struct dgram_options o = { .send_queue_count = DGRAM_UNLIMITED };
	size_t held, bound;
	char name[16];
	int round, i;

	enter(backend, NULL, &o, NULL);
	fake_block("n0");
	for (round = 0; round < 2; round++) {
		for (i = 0; i < MANY; i++) {
			snprintf(name, sizeof(name), "n%d", i / 2);
			/* Not of the socket alone. */
			if (i % 2 == 0)
				MUST(send_silent(name, 1) == 0, "%d", i);
			else
				MUST(dgram_resolve(l, name, AF_INET6, ignore,
				    NULL, NULL) == 0, "%d", i);
		}
		CHECK(send_silent("one more", 1), -ENOBUFS);
		/* For one that waits there is room. */
		OK(send_silent("n1", 1));
		OK(dgram_loop_memory(l, &held, NULL));
		OK(dgram_close(p.s, NULL, NULL));
		OK(dgram_loop_memory(l, NULL, &bound));
		cr_assert(held <= bound, "%zu of %zu", held, bound);
		fake_release("n0");
		RUN_UNTIL(l, ignored == (round + 1) * MANY / 2);
		open_named(&p, &o, NULL);
	}
	leave();
}

/* ---- fork ---- */

#define CHILD(cond) do {						\
	if (!(cond))							\
		_exit(__LINE__ % 255 + 1);				\
} while (0)

BACKEND_TEST(byname, fork_with_all_of_it)
{
	struct peer q;
	pid_t pid;
	int status = 0;

	begin(backend);
	open_named(&q, NULL, NULL);
	fake_answer("slow", "127.0.0.1");
	fake_block("slow");
	OK(bind_name("me"));
	OK(connect_name("there"));
	OK(send_to("there", 1));
	OK(CALL(dgram_connect(q.s, port, "slow", connect_done, &q)));
	OK(CALL(dgram_send(q.s, number(2), 4, port, "slow", sent, &q)));
	turns(l, 3);
	FAKE_UNTIL(fake.in == 1);
	pid = test_fork();
	if (pid == 0) {
		CHILD(dgram_loop_fork(l, 0) == 0);
		turns(l, 4);
		CHILD(strcmp(p.trace, "bcd") == 0);
		CHILD(strcmp(q.trace, "Lcd") == 0);
		CHILD(nrecords == 5 && records[0].status == -ECANCELED &&
		    records[4].status == -ECANCELED);
		/* Anew. */
		nasks = 0;
		CHILD(dgram_bind(p.s, 0, "me", bind_done, &p) == 0);
		turns(l, 3);
		CHILD(nasks == 1);
		CHILD(dgram_lookup_done(l, asks[0].id, 0, &to) == 0);
		turns(l, 3);
		CHILD(strcmp(p.trace, "bcdLb") == 0);
		CHILD(dgram_loop_free(l) == 0 && f.pieces == 0);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	    "the child failed: %x", (unsigned)status);
	OK(answer(0, "127.0.0.1"));
	OK(answer(1, "127.0.0.1"));
	fake_release("slow");
	RUN_UNTIL(l, q.n[EV_DONE] == 2 && p.n[EV_DONE] == 2);
	TRACE(&p, "LbCc");
	leave();
}

static int (*real_signal)(const struct dgi_os *, int);
static bool signal_held, signal_holds;

/* Holds up the thread that calls it, and so the lock of the threads. */
static int
hold_signal(const struct dgi_os *os, int event)
{
	pthread_mutex_lock(&fake.lock);
	signal_holds = signal_held;
	pthread_cond_broadcast(&fake.changed);
	while (signal_held)
		pthread_cond_wait(&fake.changed, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
	return real_signal(os, event);
}

/* A thread that is not in the child holds the lock there for ever. */
BACKEND_TEST(byname, fork_with_a_lock_held)
{
	pid_t pid;
	int status = 0;

	enter(backend, NULL, NULL, NULL);
	real_signal = f.os.event_signal;
	f.os.event_signal = hold_signal;
	fake_answer("there", "127.0.0.1");
	signal_held = true;
	fake_block("slow");
	OK(send_to("slow", 1));
	OK(send_to("there", 2));
	FAKE_UNTIL(signal_holds);
	pid = test_fork();
	if (pid == 0) {
		f.os.event_signal = real_signal;
		fake_forked();
		alarm(5);
		CHILD(dgram_loop_fork(l, 0) == 0);
		CHILD(dgram_loop_run_once(l, 0) >= 0);
		CHILD(strcmp(p.trace, "Ldd") == 0);
		CHILD(dgram_loop_free(l) == 0 && f.pieces == 0);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	    "the child failed: %x", (unsigned)status);
	pthread_mutex_lock(&fake.lock);
	signal_held = false;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
	fake_release("slow");
	RUN_UNTIL(l, p.n[EV_DONE] == 2);
	LEDGER(1, 1, 0, 0);
	leave();
}
