/* SPDX-License-Identifier: ISC */

/* Rows of Node's tests about options of a socket: see README. */

#include "rows.h"

#include "netns.h"

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

/* ---- multicast ---- */

/* An option of one byte where the system says so. */
static int
group_option(const struct peer *peer, int level, int name)
{
	unsigned char v[sizeof(int)] = { 0 };
	socklen_t len = sizeof(v);
	int n;

	cr_assert_eq(getsockopt(dgram_fileno(peer->s), level, name, v, &len),
	    0, "%s", strerror(errno));
	if (len < sizeof(n))
		return v[0];
	memcpy(&n, v, sizeof(n));
	return n;
}

/* Difference: the result is 0, not the argument. */
BACKEND_TEST(parallel, multicast_loopback)
{
	begin(backend);
	NEEDS_DESCRIPTOR(dgram_set_multicast_loopback(q.s, 16));
	OK(dgram_bind(p.s, 0, NULL, bind_done, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	OK(dgram_set_multicast_loopback(p.s, 0));
	cr_assert_eq(group_option(&p, IPPROTO_IP, IP_MULTICAST_LOOP), 0);
	OK(dgram_set_multicast_loopback(p.s, 16));
	cr_assert_eq(group_option(&p, IPPROTO_IP, IP_MULTICAST_LOOP), 1);
	leave();
}

BACKEND_TEST(parallel, multicast_setTTL)
{
	static const int bad[] = { -1, 256, 1000 }, good[] = { 0, 255, 16 };
	size_t i;

	begin(backend);
	NEEDS_DESCRIPTOR(dgram_set_multicast_ttl(q.s, 16));
	OK(dgram_bind(p.s, 0, NULL, bind_done, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	cr_assert_eq(group_option(&p, IPPROTO_IP, IP_MULTICAST_TTL), 1);
	for (i = 0; i < COUNT(good); i++) {
		OK(dgram_set_multicast_ttl(p.s, good[i]));
		cr_assert_eq(group_option(&p, IPPROTO_IP, IP_MULTICAST_TTL),
		    good[i]);
	}
	for (i = 0; i < COUNT(bad); i++)
		CHECK(dgram_set_multicast_ttl(p.s, bad[i]), -EINVAL);
	cr_assert_eq(group_option(&p, IPPROTO_IP, IP_MULTICAST_TTL), 16);
	leave();
}

/* Which of them the system has is in internet/multicast-set-interface-lo. */
BACKEND_TEST(parallel, multicast_set_interface)
{
	begin(backend);
	NEEDS_DESCRIPTOR(dgram_set_multicast_interface(q.s, "0.0.0.0"));
	OK(dgram_bind(p.s, 0, NULL, bind_done, &p));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	OK(dgram_set_multicast_interface(p.s, "0.0.0.0"));
	/* The wrong family; Node lets systems differ. */
	CHECK(dgram_set_multicast_interface(p.s, "::"), -ENOPROTOOPT);
	/* A group, and what is none of the interfaces'. */
	CHECK(dgram_set_multicast_interface(p.s, "224.0.0.2"),
	    -EADDRNOTAVAIL);
	CHECK(dgram_set_multicast_interface(p.s, "9.9.9.9"), -EADDRNOTAVAIL);
	CHECK(dgram_set_multicast_interface(p.s, "undefined"), -EINVAL);
	CHECK(dgram_set_multicast_interface(p.s, ""), -EINVAL);

	if (have_ipv6()) {
		open_type(&q, DGRAM_UDP6, NULL);
		OK(dgram_bind(q.s, 0, NULL, bind_done, &q));
		RUN_UNTIL(l, q.n[EV_DONE] == 1);
		CHECK(dgram_set_multicast_interface(q.s, "undefined"),
		    -EINVAL);
		CHECK(dgram_set_multicast_interface(q.s, ""), -EINVAL);
		OK(dgram_set_multicast_interface(q.s, "::"));
		/* Difference: an unknown zone is not the system's choice. */
		CHECK(dgram_set_multicast_interface(q.s, "::%nope"),
		    -ENODEV);
#if DGI_OS_LINUX && !DGT_BSD
		OK(dgram_set_multicast_interface(q.s, "::%lo"));
#endif
	}
	leave();
}

#define GROUP	"224.0.0.114"

static void
refused_source(struct dgram_socket *s, const char *source, const char *group,
    int status)
{
	/* There are systems without. */
	if (!DGI_HAVE_SOURCE_GROUP && status != NOT_RUNNING)
		status = -ENOTSUP;
	CHECK(dgram_add_source_specific_membership(s, source, group, NULL),
	    status);
	CHECK(dgram_drop_source_specific_membership(s, source, group, NULL),
	    status);
}

/* What is refused leaves the socket as it was. */
static void
refused(struct dgram_socket *s, const char *group, int status)
{
	struct dgram_addr a;

	CHECK(dgram_add_membership(s, group, NULL), status);
	CHECK(dgram_drop_membership(s, group, NULL), status);
	CHECK(dgram_address(s, &a),
	    status == NOT_RUNNING ? NOT_RUNNING : -EBADF);
	refused_source(s, "10.9.0.7", group, status);
}

BACKEND_TEST(parallel, membership)
{
	static const char *const bad[] = { NULL, "", "0", "256.256.256.256",
	    "127.0.0.1", "fe80::1", "undefined" };
	struct dgram_options o = { .reuse_addr = true };
	size_t i;

	begin(backend);
	open_type(&q, DGRAM_UDP4, &o);
	OK(dgram_close(q.s, NULL, NULL));
	refused(q.s, GROUP, NOT_RUNNING);
	turns(l, 2);

	open_type(&q, DGRAM_UDP4, &o);
	for (i = 0; i < COUNT(bad); i++)
		refused(q.s, bad[i], -EINVAL);
	CHECK(dgram_add_membership(q.s, "ff02::1", NULL), -ENOPROTOOPT);
	CHECK(dgram_drop_membership(q.s, "ff02::1", NULL), -ENOPROTOOPT);
	refused_source(q.s, "0", "232.1.1.1", -EINVAL);
	CHECK(dgram_add_source_specific_membership(q.s, NULL, "232.1.1.1",
	    NULL), -EINVAL);
	CHECK(dgram_drop_source_specific_membership(q.s, NULL, "232.1.1.1",
	    NULL), -EINVAL);
	turns(l, 2);
	TRACE(&q, "");
	leave();
}

/* ---- internet: groups, on interfaces of its own ---- */

BACKEND_TEST(internet, membership)
{
	struct dgram_options o = { .reuse_addr = true };
	struct dgram_addr a;

	netns_enter();
	begin(backend);
	/* Difference: that is a bind, all of it. */
	open_type(&q, DGRAM_UDP4, &o);
	OK(dgram_add_membership(q.s, GROUP, NULL));
	OK(dgram_address(q.s, &a));
	HOST(&a, "0.0.0.0");
	cr_assert(dgram_addr_port(&a) > 0);
	CHECK(dgram_bind(q.s, 0, NULL, NULL, NULL), ALREADY_BOUND);
	TRACE(&q, "");
	turns(l, 2);
	TRACE(&q, "L");
	OK(dgram_send(p.s, "hello", 5, dgram_addr_port(&a), GROUP, sent, &p));
	RUN_UNTIL(l, q.got == 1);
	CHECK(dgram_add_membership(q.s, GROUP, NULL), -EADDRINUSE);
	shut(&q);

	/* What was not joined; nothing is bound for it. */
	open_type(&q, DGRAM_UDP4, &o);
	CHECK(dgram_drop_membership(q.s, GROUP, NULL), -EADDRNOTAVAIL);
	CHECK(dgram_address(q.s, &a), -EBADF);
	shut(&q);

	open_type(&q, DGRAM_UDP4, &o);
	OK(dgram_add_membership(q.s, GROUP, NULL));
	OK(dgram_drop_membership(q.s, GROUP, NULL));
	CHECK(dgram_drop_membership(q.s, GROUP, NULL), -EADDRNOTAVAIL);
	shut(&q);
	leave();
}
