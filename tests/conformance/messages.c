/* SPDX-License-Identifier: ISC */

/*
 * Failures as Node words them, of which each is real: a busy port, a broadcast
 * that is not allowed, nobody there.  test_format.c has the forms.
 */

#include "names.h"

/* "bind EADDRINUSE 0.0.0.0:80": with the port, and without one. */
static const char *
with(const char *text, int number)
{
	static char line[200];

	snprintf(line, sizeof(line), "%s:%d", text, number);
	return line;
}

/* Told to the completion, and without one as `error`, in the same words. */
#define TOLD_BOTH(what, status, kind, text) do {			\
	TOLD(what, 0, status, kind, text);				\
	TOLD('E', 0, status, kind, text);				\
	MUST(nrecords == 2, "%d records", nrecords);			\
	nrecords = 0;							\
} while (0)

/* Both at once, answered with that address. */
static void
bind_twice(const char *literal, int to_port)
{
	int k = nasks;

	OK(dgram_bind(p.s, to_port, "me", bind_done, &p));
	turns(l, 2);
	OK(answer(k, literal));
	turns(l, 2);
	OK(dgram_bind(p.s, to_port, "me", NULL, NULL));
	turns(l, 2);
	OK(answer(k + 1, literal));
	turns(l, 2);
}

BACKEND_TEST(behaviour, b22_message_of_bind)
{
	enter(backend, NULL, NULL, look_up);
	bind_twice("0.0.0.0", port);
	TOLD_BOTH('b', -EADDRINUSE, DGRAM_IN_BIND,
	    with("bind EADDRINUSE 0.0.0.0", port));
	bind_twice("127.0.0.1", port);
	TOLD_BOTH('b', -EADDRINUSE, DGRAM_IN_BIND,
	    with("bind EADDRINUSE 127.0.0.1", port));
	/* TEST-NET-1 (RFC 5737) is nobody's; without a port there is no colon. */
	bind_twice("192.0.2.1", 0);
	TOLD_BOTH('b', -EADDRNOTAVAIL, DGRAM_IN_BIND,
	    "bind EADDRNOTAVAIL 192.0.2.1");
	leave();
}

BACKEND_TEST(behaviour, b22_message_of_connect)
{
	if (!ON_LINUX)
		cr_skip_test("a broadcast is refused so on Linux");
	enter(backend, NULL, NULL, look_up);
	OK(dgram_connect(p.s, port, "there", connect_done, &p));
	turns(l, 2);
	OK(answer(0, "255.255.255.255"));
	turns(l, 2);
	OK(dgram_connect(p.s, port, "there", NULL, NULL));
	turns(l, 2);
	OK(answer(1, "255.255.255.255"));
	turns(l, 2);
	TOLD_BOTH('c', -EACCES, DGRAM_IN_CONNECT,
	    with("connect EACCES 255.255.255.255", port));
	leave();
}

BACKEND_TEST(behaviour, b22_message_of_send)
{
	if (!ON_LINUX)
		cr_skip_test("a broadcast is refused so on Linux");
	enter(backend, NULL, NULL, look_up);
	OK(send_to("255.255.255.255", 1));
	OK(send_silent("255.255.255.255", 2));
	RUN_UNTIL(l, nrecords == 2);
	TOLD_BOTH('d', -EACCES, DGRAM_IN_SEND,
	    with("send EACCES 255.255.255.255", port));
	/* Of a name: the address that it has, not the name. */
	OK(send_to("there", 1));
	OK(send_silent("there", 2));
	turns(l, 2);
	OK(answer(0, "255.255.255.255"));
	RUN_UNTIL(l, nrecords == 2);
	TOLD_BOTH('d', -EACCES, DGRAM_IN_SEND,
	    with("send EACCES 255.255.255.255", port));
	leave();
}

BACKEND_TEST(behaviour, b22_message_of_a_look_up)
{
	enter(backend, NULL, NULL, look_up);
	OK(send_to("nowhere.invalid", 1));
	OK(send_silent("nowhere.invalid", 2));
	turns(l, 2);
	OK(refuse(0, DGRAM_ENOTFOUND));
	RUN_UNTIL(l, nrecords == 2);
	cr_assert(record_of('d', 0)->has_host);
	TOLD_BOTH('d', DGRAM_ENOTFOUND, DGRAM_IN_LOOKUP,
	    "getaddrinfo ENOTFOUND nowhere.invalid");
	leave();
}

#if ON_LINUX
static int
never_in_fragments(int s, void *arg)
{
	int on = IPV6_PMTUDISC_DO;

	(void)arg;
	return setsockopt(s, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &on,
	    sizeof(on)) < 0 ? -errno : 0;
}
#endif

/* One that no interface takes whole; IPv6 has no brackets here. */
BACKEND_TEST(behaviour, b22_message_of_a_large_one)
{
#if ON_LINUX
	struct dgram_options o = { .events = &names_events,
	    .configure = never_in_fragments, .send_buffer_size = 200000 };
	static char large[65527];

	if (!have_ipv6())
		cr_skip_test("no IPv6");
	if (test_emulated())
		cr_skip_test("no IPV6_MTU_DISCOVER under user-mode emulation");
	enter(backend, NULL, NULL, look_up);
	OK(dgram_close(p.s, NULL, NULL));
	turns(l, 3);
	peer_open(&p, l, DGRAM_UDP6, &o);
	OK(dgram_send(p.s, large, sizeof(large), port, "::1", sent, &p));
	OK(dgram_send(p.s, large, sizeof(large), port, "::1", NULL, NULL));
	RUN_UNTIL(l, nrecords == 2);
	TOLD_BOTH('d', -EMSGSIZE, DGRAM_IN_SEND,
	    with("send EMSGSIZE ::1", port));
	leave();
#else
	(void)backend;
	cr_skip_test("the option is Linux's");
#endif
}

/* A connected socket: the peer is not told, nor by Node. */
BACKEND_TEST(behaviour, b22_message_of_a_connected_send)
{
	enter(backend, NULL, NULL, look_up);
	OK(dgram_connect(p.s, port, "127.0.0.1", NULL, NULL));
	turns(l, 3);
	fault_sends(&f, -EPERM);
	OK(dgram_send(p.s, number(1), 4, 0, NULL, sent, &p));
	OK(dgram_send(p.s, number(2), 4, 0, NULL, NULL, NULL));
	RUN_UNTIL(l, nrecords == 2);
	TOLD_BOTH('d', -EPERM, DGRAM_IN_SEND, "send EPERM");
	fault_sends(&f, 0);
	leave();
}

/* Nobody at that port.  Node has no address here; this library tells whose. */
BACKEND_TEST(behaviour, b22_message_of_icmp)
{
	struct dgram_addr dead = dead_addr(DGRAM_UDP4);

	enter(backend, NULL, NULL, look_up);
	OK(dgram_connect_addr(p.s, &dead));
	turns(l, 3);
	OK(dgram_send(p.s, number(1), 4, 0, NULL, NULL, NULL));
	RUN_UNTIL(l, nrecords == 1);
	TOLD('E', 0, -ECONNREFUSED, DGRAM_IN_ICMP, "recvmsg ECONNREFUSED");
	/* It is known, and not in the text. */
	cr_assert(dgram_addr_equal(&p.error_addr, &dead));
	leave();
}

/* What goes wrong while receiving, when there is no peer. */
BACKEND_TEST(behaviour, b22_message_of_receiving)
{
	struct dgram_addr a;

	enter(backend, NULL, NULL, look_up);
	OK(dgram_bind(p.s, 0, "127.0.0.1", NULL, NULL));
	OK(dgram_address(p.s, &a));
	turns(l, 3);
	fault_at(&f, FAULT_RECVFROM, 1, -EIO);
	bare_send(fd, &a, 1);
	RUN_UNTIL(l, nrecords == 1);
	TOLD('E', 0, -EIO, DGRAM_IN_RECEIVE, "recvmsg EIO");
	leave();
}

/* Paths stand where Node has host and port. */
BACKEND_TEST(behaviour, b22_message_with_a_path)
{
	struct dgram_options o = { .events = &names_events };
	struct dgram_addr gone = dead_addr(DGRAM_UNIX), there;
	struct peer u;
	char text[200];
	int other;

	enter(backend, NULL, NULL, look_up);
	OK(dgram_addr_unix(&gone, fresh_path()));
	peer_open(&u, l, DGRAM_UNIX, &o);
	OK(dgram_send_path(u.s, "x", 1, gone.u.un.sun_path, sent, &u));
	OK(dgram_send_path(u.s, "x", 1, gone.u.un.sun_path, NULL, NULL));
	RUN_UNTIL(l, nrecords == 2);
	snprintf(text, sizeof(text), "send ENOENT %s", gone.u.un.sun_path);
	TOLD_BOTH('d', -ENOENT, DGRAM_IN_SEND, text);
	/* A socket that is closed, its path still there. */
	other = bare_socket(DGRAM_UNIX, &there);
	close(other);
	OK(dgram_send_path(u.s, "x", 1, there.u.un.sun_path, sent, &u));
	RUN_UNTIL(l, nrecords == 1);
	snprintf(text, sizeof(text), "send ECONNREFUSED %s",
	    there.u.un.sun_path);
	TOLD('d', 0, -ECONNREFUSED, DGRAM_IN_SEND, text);
	OK(dgram_close(u.s, NULL, NULL));
	leave();
}

/* A look-up of the program's that finds nothing and says that all is well. */
BACKEND_TEST(behaviour, b54_nothing_found)
{
	struct dgram_addr none = { 0 };

	enter(backend, NULL, NULL, look_up);
	OK(dgram_bind(p.s, 0, "me", bind_done, &p));
	turns(l, 2);
	OK(dgram_lookup_done(l, asks[0].id, 0, NULL));
	turns(l, 2);
	TOLD('b', 0, -EINVAL, DGRAM_IN_LOOKUP, "getaddrinfo EINVAL me");
	OK(dgram_bind(p.s, 0, "me", bind_done, &p));
	OK(dgram_connect(p.s, port, "there", connect_done, &p));
	turns(l, 2);
	OK(dgram_lookup_done(l, asks[1].id, 0, &none));
	turns(l, 2);
	TOLD('b', 1, -EINVAL, DGRAM_IN_LOOKUP, "getaddrinfo EINVAL me");
	cr_assert_eq(record_of('c', 0)->status, -EINVAL);
	/* Nothing of it stays. */
	CHECK(dgram_fileno(p.s), -EBADF);
	OK(dgram_bind(p.s, 0, "127.0.0.1", bind_done, &p));
	OK(dgram_connect(p.s, port, "there", connect_done, &p));
	turns(l, 2);
	OK(dgram_lookup_done(l, asks[nasks - 1].id, 0, NULL));
	turns(l, 2);
	TOLD('c', 1, -EINVAL, DGRAM_IN_LOOKUP, "getaddrinfo EINVAL there");
	TRACE(&p, "bbcLbc");
	leave();
}
