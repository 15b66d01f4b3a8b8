/* SPDX-License-Identifier: ISC */

/* Rows of Node's tests about options of a socket: see README. */

#include "rows.h"

static int
option(const struct peer *peer, int level, int name)
{
	socklen_t len = sizeof(int);
	int v = -1;

	cr_assert_eq(getsockopt(dgram_fileno(peer->s), level, name, &v, &len),
	    0, "%s", strerror(errno));
	return v;
}

/* Difference: closed is NOT_RUNNING, and no crash. */
#define NEEDS_DESCRIPTOR(call) do {					\
	open_named(&q, NULL, look_up);					\
	CHECK(call, -EBADF);						\
	OK(dgram_bind(q.s, 0, "name", NULL, NULL));			\
	CHECK(call, -EBADF);						\
	OK(dgram_close(q.s, NULL, NULL));				\
	CHECK(call, NOT_RUNNING);					\
	turns(l, 2);							\
} while (0)

BACKEND_TEST(parallel, setBroadcast)
{
	struct dgram_options o = { .reuse_addr = true };

	begin(backend);
	NEEDS_DESCRIPTOR(dgram_set_broadcast(q.s, 1));
	open_type(&q, DGRAM_UDP4, &o);
	OK(dgram_bind(q.s, 0, "127.0.0.1", bind_done, &q));
	RUN_UNTIL(l, q.n[EV_DONE] == 1);
	OK(dgram_set_broadcast(q.s, 0));
	cr_assert_eq(option(&q, SOL_SOCKET, SO_BROADCAST), 0);
	/* Whatever is not 0. */
	OK(dgram_set_broadcast(q.s, 16));
	cr_assert(option(&q, SOL_SOCKET, SO_BROADCAST) != 0);
	OK(dgram_set_broadcast(q.s, 0));
	cr_assert_eq(option(&q, SOL_SOCKET, SO_BROADCAST), 0);
	leave();
}

/* Difference: the result is 0, not the value. */
BACKEND_TEST(parallel, setTTL)
{
	static const int bad[] = { 0, -1, 256, 1000 };
	size_t i;

	begin(backend);
	NEEDS_DESCRIPTOR(dgram_set_ttl(q.s, 16));
	OK(dgram_bind(p.s, 0, NULL, bind_done, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	OK(dgram_set_ttl(p.s, 16));
	cr_assert_eq(option(&p, IPPROTO_IP, IP_TTL), 16);
	for (i = 0; i < COUNT(bad); i++)
		CHECK(dgram_set_ttl(p.s, bad[i]), -EINVAL);
	cr_assert_eq(option(&p, IPPROTO_IP, IP_TTL), 16);
	leave();
}

/*
 * What Node wraps in ERR_SOCKET_BUFFER_SIZE is returned as it is.  2147483648,
 * of which it asks, is no int.
 */
BACKEND_TEST(parallel, socket_buffer_size)
{
	static const int bad[] = { -1, INT_MIN };
	int want = ON_LINUX ? 20000 : 10000;
	size_t i;

	begin(backend);
	NEEDS_DESCRIPTOR(dgram_set_send_buffer_size(q.s, 8192));
	NEEDS_DESCRIPTOR(dgram_get_send_buffer_size(q.s));
	NEEDS_DESCRIPTOR(dgram_set_recv_buffer_size(q.s, 8192));
	NEEDS_DESCRIPTOR(dgram_get_recv_buffer_size(q.s));

	OK(dgram_bind(p.s, 0, NULL, bind_done, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	OK(dgram_set_recv_buffer_size(p.s, 10000));
	OK(dgram_set_send_buffer_size(p.s, 10000));
	CHECK(dgram_get_recv_buffer_size(p.s), want);
	CHECK(dgram_get_send_buffer_size(p.s), want);
	for (i = 0; i < COUNT(bad); i++) {
		CHECK(dgram_set_recv_buffer_size(p.s, bad[i]),
		    DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE);
		CHECK(dgram_set_send_buffer_size(p.s, bad[i]),
		    DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE);
	}
	/* 0 asks for nothing. */
	OK(dgram_set_recv_buffer_size(p.s, 0));
	OK(dgram_set_send_buffer_size(p.s, 0));
	CHECK(dgram_get_recv_buffer_size(p.s), want);
	CHECK(dgram_get_send_buffer_size(p.s), want);
	leave();
}
