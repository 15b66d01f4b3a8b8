/* SPDX-License-Identifier: ISC */

/*
 * Behaviours of Node's sockets that no other test asserts: README has them all,
 * by number, with the test of each.  Where this library differs on purpose the
 * test asserts what it does.
 */

#include "test.h"

#include <arpa/inet.h>
#include <net/if.h>

#include "netns.h"
#include "scene.h"

#define EACH_INET(t)							\
	EACH_TYPE(t)							\
		if (t == DGRAM_UNIX)					\
			break;						\
		else

static struct dgram_addr
at(const char *host, int port)
{
	struct dgram_addr a;

	OK(dgram_addr_parse(&a, host, port));
	return a;
}

static const char *
loopback(int type)
{
	return type == DGRAM_UDP4 ? "127.0.0.1" : "::1";
}

static const char *
wildcard(int type)
{
	return type == DGRAM_UDP4 ? "0.0.0.0" : "::";
}

static int
get(const struct peer *p, int level, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	MUST(getsockopt(dgram_fileno(p->s), level, name, &value, &len) == 0,
	    "%s", strerror(errno));
	return value;
}

/* The sender of the last datagram, and an address, as text. */
static const char *
host_of(const struct dgram_addr *a)
{
	static char host[128];

	ACCEPT(dgram_addr_host(a, host, sizeof(host)));
	return host;
}

/* A port that was free a moment ago; for those who try again. */
static int
free_port(int type)
{
	struct dgram_addr a;

	close(bare_socket(type, &a));
	return dgram_addr_port(&a);
}

/* Node, on Linux: a port that the kernel chose is another one afterwards. */
BACKEND_TEST(behaviour, b01_disconnect)
{
	enum { BY_ITSELF, PORT_0, WILDCARD, WILDCARD_0, UNBOUND, NWAYS };
	struct dgram_addr a, before, hears;
	int way, i;

	EACH_INET(type) for (way = 0; way < NWAYS; way++) {
		scene_enter(backend, type, NULL, NULL);
		OK(dgram_close(sc.p.s, NULL, NULL));
		turns(sc.l, 3);
		peer_open(&sc.p, sc.l, (enum dgram_type)type, NULL);
		for (i = 0; i < 50; i++) {
			a = at(way == BY_ITSELF || way == PORT_0 ?
			    loopback(type) : wildcard(type), way == BY_ITSELF ||
			    way == WILDCARD ? free_port(type) : 0);
			if (way == UNBOUND || CALL(dgram_bind_addr(sc.p.s,
			    &a)) == 0)
				break;
		}
		if (way == UNBOUND)
			OK(send_copy(&sc.p, 1, &sc.to));
		OK(dgram_address(sc.p.s, &before));
		for (i = 0; i < 3; i++) {
			OK(dgram_connect_addr(sc.p.s, &sc.to));
			OK(send_copy(&sc.p, 2, NULL));
			OK(dgram_disconnect(sc.p.s));
			OK(dgram_address(sc.p.s, &a));
			/* A BSD forgets the host. */
			cr_assert_eq(dgram_addr_port(&a),
			    dgram_addr_port(&before), "way %d", way);
			cr_assert(!ON_LINUX || dgram_addr_equal(&a, &before),
			    "way %d: %s", way, host_of(&a));
		}
		hears = at(loopback(type), dgram_addr_port(&before));
		bare_send(sc.fd, &hears, 3);
		RUN_UNTIL(sc.l, sc.p.got == 1);
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
		leave();
	}
}

/* Another number than the sum of the pieces. */
BACKEND_TEST(behaviour, b05_bytes_of_a_completion)
{
	static char data[] = "0123456789";
	struct iovec iov[4] = { { data, 1 }, { data, 0 }, { data, 4 },
	    { data + 2, 5 } };
	const int want[] = { 10, 0, 10, 1, 3, 0, 10 };
	int to, connected, i;

	EACH_INET(type) for (connected = 0; connected < 2; connected++) {
		struct dgram_socket *s;

		scene_enter(backend, type, NULL, NULL);
		s = sc.p.s;
		to = connected ? 0 : dgram_addr_port(&sc.to);
		if (connected)
			OK(dgram_connect_addr(s, &sc.to));
		OK(dgram_send(s, data, 10, to, NULL, peer_done, &sc.p));
		OK(dgram_send(s, data, 0, to, NULL, peer_done, &sc.p));
		OK(dgram_sendv(s, iov, 4, to, NULL, peer_done, &sc.p));
		OK(dgram_sendv(s, iov, 2, to, NULL, peer_done, &sc.p));
		OK(dgram_sendto(s, data, 7, 3, to, NULL, peer_done, &sc.p));
		/* At the end of the bytes there is nothing: that is sent. */
		OK(dgram_sendto(s, data, 10, 0, to, NULL, peer_done, &sc.p));
		OK(dgram_send_addr(s, iov, 4, connected ? NULL : &sc.to,
		    peer_done, &sc.p));
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == (int)COUNT(want));
		for (i = 0; i < (int)COUNT(want); i++) {
			char in[16];

			cr_assert_eq(sc.p.done[i], want[i], "%d: %d", i,
			    sc.p.done[i]);
			cr_assert_eq(recv(sc.fd, in, sizeof(in), MSG_DONTWAIT),
			    want[i]);
			if (i == 4)
				cr_assert(memcmp(in, "789", 3) == 0);
		}
		leave();
	}
}

static bool whole;

static void
look_at_bytes(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	(void)p;
	if (e != EV_MESSAGE)
		return;
	for (i = 0; i < m[n - 1].size; i++) {
		if (((const char *)m[n - 1].data)[i] != (char)(i * 7))
			whole = false;
	}
}

/* Options left alone: the largest datagram that there is arrives uncut. */
BACKEND_TEST(behaviour, b09_largest_by_default)
{
	struct dgram_options o = { .recv_buffer_size = 200000 };
	int room = 200000;
	size_t i, size;
	char *out = malloc(65536);

	for (i = 0; i < 65536; i++)
		out[i] = (char)(i * 7);
	EACH_INET(type) {
		scene_enter(backend, type, NULL, &o);
		cr_assert_eq(setsockopt(sc.fd, SOL_SOCKET, SO_SNDBUF, &room,
		    sizeof(room)), 0);
		sc.p.hook = look_at_bytes;
		whole = true;
		size = type == DGRAM_UDP4 ? 65507 : 65527;
		for (i = 0; i < 3; i++) {
			cr_assert_eq(sendto(sc.fd, out, size, 0,
			    &sc.p.addr.u.sa, sc.p.addr.len), (ssize_t)size,
			    "%s", strerror(errno));
			RUN_UNTIL(sc.l, sc.p.got == i + 1);
			cr_assert_eq(sc.p.sizes[i], size);
			cr_assert_eq(sc.p.flags[i], 0);
		}
		cr_assert(whole);
		leave();
	}
	free(out);
}

/* The kernel is not asked for what comes back of datagrams to nobody. */
BACKEND_TEST(behaviour, b10_nobody_there)
{
#if ON_LINUX
	struct dgram_addr dead;
	uint64_t wakeups;
	int i;

	if (test_emulated())
		cr_skip_test("no IP_RECVERR under user-mode emulation");
	EACH_INET(type) {
		scene_enter(backend, type, NULL, NULL);
		dead = dead_addr(type);
		cr_assert_eq(type == DGRAM_UDP4 ?
		    get(&sc.p, IPPROTO_IP, IP_RECVERR) :
		    get(&sc.p, IPPROTO_IPV6, IPV6_RECVERR), 0);
		wakeups = stats_of(&sc.p).wakeups;
		for (i = 0; i < 5; i++) {
			OK(send_done(&sc.p, 1, &dead));
			turns(sc.l, 3);
			OK(send_done(&sc.p, (uint32_t)i, &sc.to));
			turns(sc.l, 3);
			cr_assert_eq(bare_recv(sc.fd), i);
			cr_assert_eq(sc.p.n[EV_DONE], 2 * i + 2);
			cr_assert_eq(sc.p.done[2 * i], 4);
			cr_assert_eq(sc.p.done[2 * i + 1], 4);
		}
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
		cr_assert_eq(stats_of(&sc.p).wakeups, wakeups);
		leave();
	}
#else
	(void)backend;
	cr_skip_test("IP_RECVERR is Linux's");
#endif
}

static void
close_on_error(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e == EV_ERROR)
		OK(dgram_close(p->s, NULL, NULL));
}

/* The error is all there is: no readiness, and the handler closes. */
BACKEND_TEST(behaviour, b12_error_alone)
{
	struct dgram_options o = { .events = &peer_deaf };
	struct dgram_addr dead;
	int deaf;

	if (!ON_LINUX && strcmp(backend, "poll") == 0)
		cr_skip_test("poll(2) tells of no error on this system");
	EACH_INET(type) for (deaf = 0; deaf < 2; deaf++) {
		struct peer other;

		scene_enter(backend, type, NULL, deaf ? &o : NULL);
		dead = dead_addr(type);
		peer_open_bound(&other, sc.l, type, NULL);
		turns(sc.l, 3);
		sc.p.hook = close_on_error;
		OK(dgram_connect_addr(sc.p.s, &dead));
		OK(send_copy(&sc.p, 1, NULL));
		OK(dgram_flush(sc.p.s));
		bare_send(sc.fd, &other.addr, 2);
		RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1 && other.got == 1);
		turns(sc.l, 3);
		cr_assert(strcmp(sc.p.trace, "LCEX") == 0, "%s", sc.p.trace);
		cr_assert_eq(sc.p.status[0], -ECONNREFUSED);
		leave();
	}
}

/* A pending error that is taken by a call which only asks. */
BACKEND_TEST(behaviour, b13_pending_error)
{
	struct dgram_addr dead, a;

	if (!ON_LINUX)
		cr_skip_test("the error is there a little later");
	EACH_INET(type) {
		scene_enter(backend, type, NULL, NULL);
		dead = dead_addr(type);
		OK(dgram_connect_addr(sc.p.s, &dead));
		turns(sc.l, 3);
		OK(send_copy(&sc.p, 1, NULL));
		OK(dgram_flush(sc.p.s));
		OK(dgram_address(sc.p.s, &a));
		OK(dgram_remote_address(sc.p.s, &a));
		ACCEPT(dgram_get_recv_buffer_size(sc.p.s));
		ACCEPT(dgram_get_send_buffer_size(sc.p.s));
		OK(dgram_set_recv_buffer_size(sc.p.s, 20000));
		OK(dgram_set_ttl(sc.p.s, 9));
		OK(dgram_set_broadcast(sc.p.s, 1));
		(void)stats_of(&sc.p);
		OK(dgram_pause(sc.p.s));
		OK(dgram_resume(sc.p.s));
		RUN_UNTIL(sc.l, sc.p.n[EV_ERROR] == 1);
		turns(sc.l, 5);
		cr_assert_eq(sc.p.n[EV_ERROR], 1, "told twice");
		cr_assert_eq(sc.p.status[0], -ECONNREFUSED);
		cr_assert_eq(sc.p.kind[0], DGRAM_IN_ICMP);
		leave();
	}
}

static int
count_calls(int fd, void *arg)
{
	struct peer *p = arg;

	(void)fd;
	p->n[EV_DRAIN]++;
	return 0;
}

/* Options that are forgotten with the descriptor of a bind that failed. */
BACKEND_TEST(behaviour, b20_options_of_a_second_bind)
{
	struct dgram_options o = { .reuse_addr = true,
	    .recv_buffer_size = 10000, .send_buffer_size = 15000,
	    .configure = count_calls };
	struct peer q;
	int i, r;

	EACH_INET(type) {
		scene_enter(backend, type, NULL, NULL);
		peer_open(&q, sc.l, (enum dgram_type)type, &o);
		for (i = 1; i <= 3; i++) {
			CHECK(dgram_bind_addr(q.s, &sc.to), -EADDRINUSE);
			CHECK(dgram_fileno(q.s), -EBADF);
			cr_assert_eq(q.n[EV_DRAIN], i);
		}
		peer_bind(&q);
		cr_assert_eq(q.n[EV_DRAIN], 4);
		r = CALL(dgram_get_recv_buffer_size(q.s));
		cr_assert(r == 10000 || r == 20000, "%d", r);
		r = CALL(dgram_get_send_buffer_size(q.s));
		cr_assert(r == 15000 || r == 30000, "%d", r);
		/* It shares its address with another that wants to. */
		peer_open(&sc.p, sc.l, (enum dgram_type)type, &o);
		OK(dgram_bind_addr(sc.p.s, &q.addr));
		turns(sc.l, 3);
		cr_assert_eq(q.n[EV_LISTENING], 1);
		cr_assert_eq(q.n[EV_ERROR], 0);
		leave();
	}
}

/* Levels of another family, of one that the library did not open (libuv). */
BACKEND_TEST(behaviour, b25_ttl_of_an_adopted_one)
{
	struct dgram_addr a;
	int fd, way;

	EACH_INET(type) for (way = 0; way < 3; way++) {
		struct dgram_options o = { .events = &peer_events };
		struct peer p = { 0 };

		scene_enter(backend, type, NULL, NULL);
		fd = bare_socket(type, &a);
		if (way == 2) {
			peer_open(&p, sc.l, (enum dgram_type)type, NULL);
			OK(dgram_bind_fd(p.s, fd));
		} else {
			if (way == 1)
				o.type = (enum dgram_type)type;
			o.arg = &p;
			OK(dgram_open_fd(sc.l, &o, fd, &p.s));
		}
		OK(dgram_set_ttl(p.s, 9));
		OK(dgram_set_tos(p.s, 0x20));
		if (type == DGRAM_UDP4) {
			cr_assert_eq(get(&p, IPPROTO_IP, IP_TTL), 9);
			cr_assert_eq(get(&p, IPPROTO_IP, IP_TOS), 0x20);
		} else {
			cr_assert_eq(get(&p, IPPROTO_IPV6, IPV6_UNICAST_HOPS),
			    9);
			cr_assert_eq(get(&p, IPPROTO_IPV6, IPV6_TCLASS), 0x20);
		}
		leave();
	}
}

/* A peer of IPv4 at a dual socket, as Node tells of it. */
BACKEND_TEST(behaviour, b28_mapped_peers)
{
	struct dgram_addr any, a, to;
	struct peer p;

	if (!have_ipv6())
		cr_skip_test("no IPv6");
	scene_enter(backend, DGRAM_UDP4, NULL, NULL);
	peer_open(&p, sc.l, DGRAM_UDP6, NULL);
	any = at("::", 0);
	OK(dgram_bind_addr(p.s, &any));
	OK(dgram_address(p.s, &a));
	to = at("127.0.0.1", dgram_addr_port(&a));
	bare_send(sc.fd, &to, 1);
	RUN_UNTIL(sc.l, p.got == 1);
	cr_assert(strcmp(host_of(&p.from), "::ffff:127.0.0.1") == 0, "%s",
	    host_of(&p.from));
	cr_assert(strcmp(dgram_addr_family(&p.from), "IPv6") == 0);
	cr_assert_eq(dgram_addr_port(&p.from), dgram_addr_port(&sc.to));
	/* And back, by the address as it was told. */
	OK(dgram_send(p.s, number(2), 4, dgram_addr_port(&p.from),
	    host_of(&p.from), NULL, NULL));
	turns(sc.l, 3);
	cr_assert_eq(bare_recv(sc.fd), 2);
	leave();
}

/* A system on which IPv6 sockets are for IPv6 only unless they say otherwise. */
BACKEND_TEST(behaviour, b29_dual_where_it_is_not_the_default)
{
	struct dgram_options o = { .ipv6_only = true };
	struct dgram_addr any, a, to;
	struct peer p, q;

	netns_enter();
	netns_run("echo 1 > /proc/sys/net/ipv6/bindv6only");
	scene_enter(backend, DGRAM_UDP4, NULL, NULL);
	any = at("::", 0);
	peer_open(&p, sc.l, DGRAM_UDP6, NULL);
	OK(dgram_bind_addr(p.s, &any));
	peer_open(&q, sc.l, DGRAM_UDP6, &o);
	OK(dgram_bind_addr(q.s, &any));
	OK(dgram_address(q.s, &a));
	to = at("127.0.0.1", dgram_addr_port(&a));
	/* Nobody: not an error, for it is not connected. */
	bare_send(sc.fd, &to, 1);
	OK(dgram_address(p.s, &a));
	to = at("127.0.0.1", dgram_addr_port(&a));
	bare_send(sc.fd, &to, 2);
	RUN_UNTIL(sc.l, p.got == 1);
	turns(sc.l, 3);
	cr_assert_eq(p.seq[0], 2);
	cr_assert_eq(q.got, 0);
	leave();
}

/* A zone that is lost, made up or not looked at. */
BACKEND_TEST(behaviour, b30_link_local)
{
	struct dgram_options o = { 0 };
	struct dgram_addr a;
	struct peer q;
	char text[64];
	int to;

	netns_enter();
	scene_enter(backend, DGRAM_UDP6, NULL, NULL);
	peer_open(&q, sc.l, DGRAM_UDP6, &o);
	CHECK(dgram_bind(q.s, 0, "fe80::1", NULL, NULL), -EINVAL);
	CHECK(dgram_bind(q.s, 0, "fe80::1%nope", NULL, NULL), -ENODEV);
	CHECK(dgram_bind(q.s, 0, "fe80::1%999", NULL, NULL), -ENODEV);
	snprintf(text, sizeof(text), "fe80::1%%%u", if_nametoindex("d1"));
	OK(dgram_bind(q.s, 0, text, NULL, NULL));
	OK(dgram_address(q.s, &a));
	cr_assert(strcmp(host_of(&a), "fe80::1%d1") == 0, "%s", host_of(&a));
	to = dgram_addr_port(&a);
	OK(dgram_close(sc.p.s, NULL, NULL));
	turns(sc.l, 3);
	peer_open(&sc.p, sc.l, DGRAM_UDP6, NULL);
	CHECK(dgram_send(sc.p.s, "x", 1, to, "fe80::1%nope", NULL, NULL),
	    -ENODEV);
	CHECK(dgram_connect(sc.p.s, to, "fe80::1%nope", NULL, NULL), -ENODEV);
	OK(dgram_connect(sc.p.s, to, "fe80::1%d1", NULL, NULL));
	OK(dgram_remote_address(sc.p.s, &a));
	cr_assert(strcmp(host_of(&a), "fe80::1%d1") == 0, "%s", host_of(&a));
	OK(dgram_address(sc.p.s, &a));
	cr_assert(strcmp(host_of(&a), "fe80::1%d1") == 0, "%s", host_of(&a));
	OK(send_copy(&sc.p, 5, NULL));
	RUN_UNTIL(sc.l, q.got == 1);
	cr_assert(strcmp(host_of(&q.from), "fe80::1%d1") == 0, "%s",
	    host_of(&q.from));
	leave();
}

/* Two on one address: the last one bound has it; broadcasts come to both. */
BACKEND_TEST(behaviour, b31_shared_address)
{
	struct dgram_options o = { .reuse_addr = true };
	struct dgram_addr a, to;
	struct peer p, q;
	int i;

	if (!ON_LINUX)
		cr_skip_test("who is given what is Linux's");
	scene_enter(backend, DGRAM_UDP4, NULL, NULL);
	peer_open(&p, sc.l, DGRAM_UDP4, &o);
	a = at("0.0.0.0", 0);
	OK(dgram_bind_addr(p.s, &a));
	OK(dgram_address(p.s, &a));
	peer_open(&q, sc.l, DGRAM_UDP4, &o);
	OK(dgram_bind_addr(q.s, &a));
	to = at("127.0.0.1", dgram_addr_port(&a));
	for (i = 0; i < 10; i++)
		bare_send(sc.fd, &to, (uint32_t)i);
	RUN_UNTIL(sc.l, q.got == 10);
	turns(sc.l, 3);
	cr_assert_eq(p.got, 0);
	to = at("127.255.255.255", dgram_addr_port(&a));
	OK(dgram_set_broadcast(sc.p.s, 1));
	for (i = 0; i < 5; i++)
		OK(send_copy(&sc.p, (uint32_t)i, &to));
	RUN_UNTIL(sc.l, p.got == 5 && q.got == 15);
	leave();
}

/* The wildcard as a destination: this machine. */
BACKEND_TEST(behaviour, b37_to_the_wildcard)
{
	struct dgram_addr a;
	int port;

	if (!ON_LINUX)
		cr_skip_test("what the wildcard leads to is Linux's");
	EACH_INET(type) {
		scene_enter(backend, type, NULL, NULL);
		OK(dgram_close(sc.p.s, NULL, NULL));
		turns(sc.l, 3);
		peer_open(&sc.p, sc.l, (enum dgram_type)type, NULL);
		port = dgram_addr_port(&sc.to);
		OK(dgram_send(sc.p.s, number(1), 4, port, wildcard(type), NULL,
		    NULL));
		turns(sc.l, 3);
		cr_assert_eq(bare_recv(sc.fd), 1);
		OK(dgram_connect(sc.p.s, port, wildcard(type), NULL, NULL));
		OK(dgram_remote_address(sc.p.s, &a));
		cr_assert(dgram_addr_equal(&a, &sc.to), "%s", host_of(&a));
		OK(send_copy(&sc.p, 2, NULL));
		turns(sc.l, 3);
		cr_assert_eq(bare_recv(sc.fd), 2);
		leave();
	}
}

/* What came before the connect comes still, whoever sent it. */
BACKEND_TEST(behaviour, b38_before_the_connect)
{
	struct dgram_addr stranger;
	uint32_t i;
	int fd;

	EACH_INET(type) {
		scene_enter(backend, type, NULL, NULL);
		fd = bare_socket(type, &stranger);
		for (i = 0; i < 3; i++)
			bare_send(fd, &sc.p.addr, i);
		OK(dgram_connect_addr(sc.p.s, &sc.to));
		/* Not from here on. */
		(void)sendto(fd, "late", 4, 0, &sc.p.addr.u.sa,
		    sc.p.addr.len);
		bare_send(sc.fd, &sc.p.addr, 3);
		RUN_UNTIL(sc.l, sc.p.got == 4);
		turns(sc.l, 3);
		cr_assert_eq(sc.p.got, 4);
		for (i = 0; i < 4; i++)
			cr_assert_eq(sc.p.seq[i], i);
		cr_assert(dgram_addr_equal(&sc.p.from, &sc.to));
		close(fd);
		leave();
	}
}

/* It comes while others wait, and its answer does, too. */
static void
answer_with_last(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	if (e == EV_MESSAGE && n == 1)
		OK(dgram_reply(p->s, m, number(m->size == 4 ?
		    p->seq[p->got - 1] : 0), 4));
}

/* The kernel refused the first: the others wait, however they are sent. */
BACKEND_TEST(behaviour, b41_all_wait)
{
	struct dgram_datagram d[2] = { { .iovcnt = 1 }, { .iovcnt = 1 } };
	struct iovec iov[2];
	uint32_t n, last, i;

	EACH_TYPE(type) {
		scene_enter(backend, type, NULL, NULL);
		sc.p.hook = answer_with_last;
		/* A path has room for 11. */
		last = type == DGRAM_UNIX ? 10 : 100;
		fault_sends(&sc.f, -EAGAIN);
		OK(send_done(&sc.p, 1, &sc.to));
		turns(sc.l, 3);
		for (i = 0; i < 2; i++) {
			iov[i] = (struct iovec){ number(2 + i), 4 };
			d[i].iov = &iov[i];
			d[i].to = &sc.to;
		}
		OK(dgram_send_batch(sc.p.s, d, 2, NULL, NULL));
		bare_send(sc.fd, &sc.p.addr, 4);
		RUN_UNTIL(sc.l, sc.p.got == 1);
		cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 4);
		/* From here on it would take them at once. */
		fault_sends(&sc.f, 0);
		CHECK(dgram_try_send(sc.p.s, d, 2), -EAGAIN);
		for (n = 5; n <= last; n += 2) {
			OK(send_copy(&sc.p, n, &sc.to));
			if (n < last)
				OK(send_done(&sc.p, n + 1, &sc.to));
		}
		RUN_UNTIL(sc.l, dgram_get_send_queue_count(sc.p.s) == 0);
		turns(sc.l, 3);
		for (i = 1; i <= last; i++)
			cr_assert_eq(bare_recv(sc.fd), i);
		cr_assert_eq(bare_recv(sc.fd), -1);
		cr_assert_eq(stats_of(&sc.p).sent, last);
		leave();
	}
}

#if HAVE_NETNS

/* ---- groups: on the interfaces of netns.h ---- */

/* A bare socket. */
static void
join(int fd, int type, const char *interface)
{
	struct ip_mreqn four = { .imr_ifindex = (int)if_nametoindex(interface) };
	struct ipv6_mreq six = {
	    .ipv6mr_interface = if_nametoindex(interface) };
	int r;

	inet_pton(AF_INET, "239.1.2.3", &four.imr_multiaddr);
	inet_pton(AF_INET6, "ff15::123", &six.ipv6mr_multiaddr);
	r = type == DGRAM_UDP4 ? setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP,
	    &four, sizeof(four)) : setsockopt(fd, IPPROTO_IPV6,
	    IPV6_JOIN_GROUP, &six, sizeof(six));
	MUST(r == 0, "%s", strerror(errno));
}

static const char *
group_of(int type)
{
	return type == DGRAM_UDP4 ? "239.1.2.3" : "ff15::123";
}

static struct dgram_addr
group(int type, int port)
{
	return at(group_of(type), port);
}

/* The socket of the library. */
static void
join_here(int type, const char *interface)
{
	OK(dgram_add_membership(sc.p.s, group_of(type), interface));
}

/* A bare sender that leaves by d0. */
static int
group_sender(int type)
{
	int fd = socket(type == DGRAM_UDP4 ? AF_INET : AF_INET6, SOCK_DGRAM,
	    0), index = (int)if_nametoindex("d0");
	struct ip_mreqn four = { .imr_ifindex = index };

	MUST((type == DGRAM_UDP4 ? setsockopt(fd, IPPROTO_IP,
	    IP_MULTICAST_IF, &four, sizeof(four)) : setsockopt(fd,
	    IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index))) == 0,
	    "%s", strerror(errno));
	return fd;
}

/* What a bare socket has received; it is there soon. */
static int64_t
wait_for_one(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	MUST(poll(&pfd, 1, 5000) == 1, "nothing");
	return bare_recv(fd);
}

/* Node: a socket at the wildcard hears all groups that anybody has joined. */
BACKEND_TEST(behaviour, b33_groups_of_others)
{
	struct dgram_options o = { .reuse_addr = true };
	struct dgram_addr any, to;
	int fd, from, on = 1;

	netns_enter();
	EACH_INET(type) {
		scene_enter(backend, type, NULL, NULL);
		from = group_sender(type);
		fd = socket(type == DGRAM_UDP4 ? AF_INET : AF_INET6,
		    SOCK_DGRAM, 0);
		cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on,
		    sizeof(on)), 0);
		any = at(wildcard(type), 0);
		cr_assert_eq(bind(fd, &any.u.sa, any.len), 0);
		any.len = sizeof(any.u);
		cr_assert_eq(getsockname(fd, &any.u.sa, &any.len), 0);
		join(fd, type, "d0");
		OK(dgram_close(sc.p.s, NULL, NULL));
		turns(sc.l, 3);
		peer_open(&sc.p, sc.l, (enum dgram_type)type, &o);
		OK(dgram_bind_addr(sc.p.s, &any));
		to = group(type, dgram_addr_port(&any));
		bare_send(from, &to, 1);
		cr_assert_eq(wait_for_one(fd), 1);
		/* That one went by; this one is for who was bound last. */
		to = at(loopback(type), dgram_addr_port(&any));
		bare_send(from, &to, 2);
		RUN_UNTIL(sc.l, sc.p.got > 0);
		cr_assert_eq(sc.p.seq[0], 2);
		/* Its own groups it hears. */
		join_here(type, "d0");
		to = group(type, dgram_addr_port(&any));
		bare_send(from, &to, 3);
		RUN_UNTIL(sc.l, sc.p.got == 2);
		cr_assert_eq(sc.p.seq[1], 3);
		close(fd);
		close(from);
		leave();
	}
}

/* Bound to the group itself: nothing else comes; it sends all the same. */
BACKEND_TEST(behaviour, b34_bound_to_a_group)
{
	struct dgram_addr a, to;
	int from;

	netns_enter();
	EACH_INET(type) {
		scene_enter(backend, type, NULL, NULL);
		from = group_sender(type);
		OK(dgram_close(sc.p.s, NULL, NULL));
		turns(sc.l, 3);
		peer_open(&sc.p, sc.l, (enum dgram_type)type, NULL);
		a = group(type, 0);
		OK(dgram_bind_addr(sc.p.s, &a));
		OK(dgram_address(sc.p.s, &a));
		join_here(type, "d0");
		to = at(loopback(type), dgram_addr_port(&a));
		bare_send(from, &to, 1);
		bare_send(from, &a, 2);
		RUN_UNTIL(sc.l, sc.p.got > 0);
		turns(sc.l, 3);
		cr_assert_eq(sc.p.got, 1);
		cr_assert_eq(sc.p.seq[0], 2);
		OK(send_done(&sc.p, 3, &sc.to));
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
		cr_assert_eq(sc.p.done[0], 4);
		cr_assert_eq(wait_for_one(sc.fd), 3);
		close(from);
		leave();
	}
}

/* Bound to an address of this machine: groups do not come, though joined. */
BACKEND_TEST(behaviour, b35_bound_to_an_address)
{
	struct dgram_addr a, to;
	int from, witness;

	netns_enter();
	EACH_INET(type) {
		scene_enter(backend, type, NULL, NULL);
		from = group_sender(type);
		OK(dgram_close(sc.p.s, NULL, NULL));
		turns(sc.l, 3);
		peer_open(&sc.p, sc.l, (enum dgram_type)type, NULL);
		a = at(loopback(type), 0);
		OK(dgram_bind_addr(sc.p.s, &a));
		OK(dgram_address(sc.p.s, &a));
		join_here(type, "d0");
		/* The same group, at the group's own address. */
		to = group(type, dgram_addr_port(&a));
		witness = socket(type == DGRAM_UDP4 ? AF_INET : AF_INET6,
		    SOCK_DGRAM, 0);
		cr_assert_eq(bind(witness, &to.u.sa, to.len), 0);
		join(witness, type, "d0");
		bare_send(from, &to, 1);
		cr_assert_eq(wait_for_one(witness), 1);
		bare_send(from, &a, 2);
		RUN_UNTIL(sc.l, sc.p.got > 0);
		cr_assert_eq(sc.p.seq[0], 2);
		close(witness);
		close(from);
		leave();
	}
}

#endif
