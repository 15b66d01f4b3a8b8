/* SPDX-License-Identifier: ISC */

/*
 * Options of the kernel, asked of the descriptor itself.
 */

#include "netns.h"

#include <net/if.h>
#include <netinet/ip.h>

static int
option(const struct peer *p, int level, int name)
{
	socklen_t len = sizeof(int);
	int v = -1;

	cr_assert_eq(getsockopt(dgram_fileno(p->s), level, name, &v, &len),
	    0, "%s", strerror(errno));
	return v;
}

static void
reopen(struct peer *p, struct dgram_loop *l, int type,
    const struct dgram_options *o)
{
	if (p->s != NULL) {
		OK(dgram_close(p->s, NULL, NULL));
		turns(l, 3);
	}
	peer_open_bound(p, l, type, o);
}

/* A setter that sets another level, or reports the value. */
BACKEND_TEST(option, ttl_and_tos)
{
	static struct peer p;
	struct dgram_options only = { .ipv6_only = true };
	struct dgram_loop *l = test_loop(backend);
	int bad[] = { 0, -1, 256, INT_MAX, INT_MIN };
	int bad_tos[] = { -1, 256, INT_MAX, INT_MIN };
	size_t i;

	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_set_ttl(p.s, 9));
	cr_assert_eq(option(&p, IPPROTO_IP, IP_TTL), 9);
	for (i = 0; i < COUNT(bad); i++)
		CHECK(dgram_set_ttl(p.s, bad[i]), -EINVAL);
	cr_assert_eq(option(&p, IPPROTO_IP, IP_TTL), 9);
	OK(dgram_set_ttl(p.s, 255));
	OK(dgram_set_ttl(p.s, 1));
	cr_assert_eq(option(&p, IPPROTO_IP, IP_TTL), 1);
	OK(dgram_set_tos(p.s, 0x20));
	cr_assert_eq(option(&p, IPPROTO_IP, IP_TOS), 0x20);
	OK(dgram_set_tos(p.s, 0));
	cr_assert_eq(option(&p, IPPROTO_IP, IP_TOS), 0);
	for (i = 0; i < COUNT(bad_tos); i++)
		CHECK(dgram_set_tos(p.s, bad_tos[i]), -EINVAL);

	if (have_ipv6()) {
		/* Both levels: mapped traffic takes IPv4's. */
		reopen(&p, l, DGRAM_UDP6, NULL);
		OK(dgram_set_ttl(p.s, 9));
		OK(dgram_set_tos(p.s, 0x20));
		cr_assert_eq(option(&p, IPPROTO_IPV6, IPV6_UNICAST_HOPS), 9);
		cr_assert_eq(option(&p, IPPROTO_IPV6, IPV6_TCLASS), 0x20);
#if ON_LINUX
		cr_assert_eq(option(&p, IPPROTO_IP, IP_TTL), 9);
		cr_assert_eq(option(&p, IPPROTO_IP, IP_TOS), 0x20);
#endif
		reopen(&p, l, DGRAM_UDP6, &only);
		OK(dgram_set_ttl(p.s, 9));
		cr_assert_eq(option(&p, IPPROTO_IPV6, IPV6_UNICAST_HOPS), 9);
	}
	reopen(&p, l, DGRAM_UNIX, NULL);
	CHECK(dgram_set_ttl(p.s, 9), -ENOTSUP);
	CHECK(dgram_set_tos(p.s, 9), -ENOTSUP);
	free_loop(l);
}

/* The hop limit of what goes to a mapped address (Node: 64, not ours). */
BACKEND_TEST(option, ttl_of_mapped_traffic)
{
#if ON_LINUX
	static struct peer p;
	struct dgram_loop *l;
	struct dgram_addr any, to, mapped;
	union {
		struct cmsghdr align;
		char room[64];
	} control;
	char byte;
	struct iovec iov = { &byte, sizeof(byte) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int fd, on = 1, ttl = 0;

	if (!have_ipv6())
		cr_skip_test("no IPv6");
	l = test_loop(backend);
	fd = bare_socket(DGRAM_UDP4, &to);
	setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on));
	peer_open(&p, l, DGRAM_UDP6, NULL);
	OK(dgram_addr_parse(&any, "::", 0));
	OK(dgram_bind_addr(p.s, &any));
	OK(dgram_addr_parse(&mapped, "::ffff:127.0.0.1",
	    dgram_addr_port(&to)));
	OK(dgram_set_ttl(p.s, 9));
	OK(send_copy(&p, 1, &mapped));
	turns(l, 3);
	cr_assert(recvmsg(fd, &m, MSG_DONTWAIT) >= 0);
	for (c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_type == IP_TTL)
			memcpy(&ttl, CMSG_DATA(c), sizeof(ttl));
	}
	cr_assert_eq(ttl, 9);
	free_loop(l);
	close(fd);
#else
	(void)backend;
	cr_skip_test("only Linux has options of IPv4 on a socket of IPv6");
#endif
}

BACKEND_TEST(option, broadcast)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr to;

	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	cr_assert_eq(option(&p, SOL_SOCKET, SO_BROADCAST), 0);
	OK(dgram_addr_parse(&to, "255.255.255.255", 9));
	if (ON_LINUX)
		CHECK(dgram_connect_addr(p.s, &to), -EACCES);
	OK(send_done(&p, 1, &to));
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	/* Elsewhere the lack of a route may come first. */
	cr_assert(p.done[0] == -EACCES || (!ON_LINUX && p.done[0] < 0));
	OK(dgram_set_broadcast(p.s, 7));
	cr_assert(option(&p, SOL_SOCKET, SO_BROADCAST) != 0);
	OK(dgram_set_broadcast(p.s, 0));
	cr_assert_eq(option(&p, SOL_SOCKET, SO_BROADCAST), 0);
	free_loop(l);
}

/* A size that is not asked for, or not granted; 0 changes nothing. */
BACKEND_TEST(option, buffer_sizes)
{
	static struct peer p;
	struct dgram_options o = { .recv_buffer_size = 10000,
	    .send_buffer_size = 15000 };
	struct dgram_loop *l = test_loop(backend);
	int r, before;

	EACH_TYPE(type) {
		p.s = NULL;
		peer_open_bound(&p, l, type, &o);
		r = CALL(dgram_get_recv_buffer_size(p.s));
		cr_assert(r == 10000 || r == 20000, "%d", r);
		cr_assert_eq(stats_of(&p).granted_recv_buffer, r);
		r = CALL(dgram_get_send_buffer_size(p.s));
		cr_assert(r == 15000 || r == 30000, "%d", r);
		cr_assert_eq(stats_of(&p).granted_send_buffer, r);
		OK(dgram_set_recv_buffer_size(p.s, 20000));
		OK(dgram_set_send_buffer_size(p.s, 25000));
		r = CALL(dgram_get_recv_buffer_size(p.s));
		cr_assert(r == 20000 || r == 40000);
		cr_assert_eq(r, option(&p, SOL_SOCKET, SO_RCVBUF));
		before = CALL(dgram_get_send_buffer_size(p.s));
		cr_assert(before == 25000 || before == 50000);
		OK(dgram_set_send_buffer_size(p.s, 0));
		CHECK(dgram_set_send_buffer_size(p.s, -1),
		    DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE);
		CHECK(dgram_set_recv_buffer_size(p.s, INT_MIN),
		    DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE);
		CHECK(dgram_get_send_buffer_size(p.s), before);
		/* As much as the system has, not refused. */
		r = CALL(dgram_get_recv_buffer_size(p.s));
		OK(dgram_set_recv_buffer_size(p.s, INT_MAX));
		cr_assert(CALL(dgram_get_recv_buffer_size(p.s)) > r);
		OK(dgram_set_send_buffer_size(p.s, INT_MAX));
		cr_assert(CALL(dgram_get_send_buffer_size(p.s)) > before);
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 3);
	}
	free_loop(l);
}

/* ---- sharing of addresses ---- */

/* Options that are set silently, so that a second bind steals (K11). */
BACKEND_TEST(option, reuse)
{
	static struct peer p, q;
	struct dgram_options addr = { .reuse_addr = true };
	struct dgram_options port = { .reuse_port = true };
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr from;
	int fd, i;

	EACH_TYPE(type) {
		if (type == DGRAM_UNIX)
			break;
		peer_open_bound(&p, l, type, NULL);
		cr_assert_eq(option(&p, SOL_SOCKET, SO_REUSEADDR), 0);
		peer_open(&q, l, (enum dgram_type)type, NULL);
		CHECK(dgram_bind_addr(q.s, &p.addr), -EADDRINUSE);
		reopen(&p, l, type, &addr);
		OK(dgram_close(q.s, NULL, NULL));
		turns(l, 3);
		peer_open(&q, l, (enum dgram_type)type, &addr);
		OK(dgram_bind_addr(q.s, &p.addr));
		OK(dgram_close(q.s, NULL, NULL));
		turns(l, 3);
#if DGI_HAVE_REUSEPORT_BALANCED
		reopen(&p, l, type, &port);
		cr_assert(option(&p, SOL_SOCKET, SO_REUSEPORT) != 0);
		peer_open(&q, l, (enum dgram_type)type, &port);
		OK(dgram_bind_addr(q.s, &p.addr));
		/* Both get something of many senders. */
		for (i = 0; i < 64; i++) {
			fd = bare_socket(type, &from);
			bare_send(fd, &p.addr, 1);
			close(fd);
		}
		RUN_UNTIL(l, p.got + q.got == 64);
		cr_assert(p.got > 0 && q.got > 0);
		OK(dgram_close(q.s, NULL, NULL));
		turns(l, 3);
#else
		(void)fd, (void)from, (void)i;
		(void)port;
#endif
	}
	free_loop(l);
}

/* IPV6_V6ONLY is written always: systems differ. */
BACKEND_TEST(option, ipv6_only)
{
	static struct peer p, q;
	struct dgram_options o = { .ipv6_only = true };
	struct dgram_addr any6, any4, a;
	struct dgram_loop *l;
	int only, r;

	if (!have_ipv6())
		cr_skip_test("no IPv6");
	l = test_loop(backend);
	for (only = 0; only < 2; only++) {
		o.ipv6_only = only;
		peer_open(&p, l, DGRAM_UDP6, &o);
		OK(dgram_addr_parse(&any6, "::", 0));
		OK(dgram_bind_addr(p.s, &any6));
		cr_assert_eq(option(&p, IPPROTO_IPV6, IPV6_V6ONLY), only);
		OK(dgram_address(p.s, &a));
		OK(dgram_addr_parse(&any4, "0.0.0.0", dgram_addr_port(&a)));
		peer_open(&q, l, DGRAM_UDP4, NULL);
		/* Elsewhere IPv4's own socket may come before a dual one. */
		r = CALL(dgram_bind_addr(q.s, &any4));
		cr_assert((r == -EADDRINUSE && !only) ||
		    (r == 0 && (only || !ON_LINUX)), "%d", r);
		OK(dgram_close(q.s, NULL, NULL));
		turns(l, 3);
		/* Dual stack: IPv4 peers have mapped addresses. */
		peer_open_bound(&q, l, DGRAM_UDP4, NULL);
		OK(dgram_addr_parse(&a, "127.0.0.1", dgram_addr_port(&a)));
		OK(send_copy(&q, 1, &a));
		turns(l, 5);
		cr_assert_eq(p.got, only ? 0 : 1);
		if (!only) {
			cr_assert(IN6_IS_ADDR_V4MAPPED(
			    &p.from.u.in6.sin6_addr));
			OK(send_copy(&p, 2, &p.from));
			RUN_UNTIL(l, q.got == 1);
		}
		OK(dgram_close(q.s, NULL, NULL));
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 3);
	}
	free_loop(l);
}

/* ---- device, configure, multicast ---- */

BACKEND_TEST(option, device)
{
#if DGI_HAVE_BINDTODEVICE
	static struct peer p;
	struct dgram_options o = { .device = "lo" };
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a = any_addr(DGRAM_UDP4), from;
	char name[16] = "";
	socklen_t len = sizeof(name);
	int fds = test_count_fds(), fd;

	peer_open_bound(&p, l, DGRAM_UDP4, &o);
	/* User-mode emulation can set the option and not get it. */
	if (!test_emulated()) {
		cr_assert_eq(getsockopt(dgram_fileno(p.s), SOL_SOCKET,
		    SO_BINDTODEVICE, name, &len), 0);
		cr_assert(strcmp(name, "lo") == 0, "%s", name);
	}
	fd = bare_socket(DGRAM_UDP4, &from);
	bare_send(fd, &p.addr, 1);
	RUN_UNTIL(l, p.got == 1);
	close(fd);
	OK(dgram_close(p.s, NULL, NULL));
	turns(l, 3);
	o.device = "dgtnone0";
	peer_open(&p, l, DGRAM_UDP4, &o);
	CHECK(dgram_bind_addr(p.s, &a), -ENODEV);
	CHECK(send_copy(&p, 1, &a), BAD_PORT);
	CHECK(send_copy(&p, 1, &from), -ENODEV);
	cr_assert_eq(test_count_fds(), fds);
	free_loop(l);
#else
	(void)backend;
	cr_skip_test("SO_BINDTODEVICE is Linux's");
#endif
}

#if DGI_HAVE_BINDTODEVICE
static void
is_on(const struct peer *p, const char *device)
{
	char name[IF_NAMESIZE] = "";
	socklen_t len = sizeof(name);

	cr_assert_eq(getsockopt(p->s->fd, SOL_SOCKET, SO_BINDTODEVICE, name,
	    &len), 0);
	MUST(strcmp(name, device) == 0, "%s, not %s", name, device);
}
#endif

/* Later, and to another: what comes by that is heard, and nothing else. */
BACKEND_TEST(option, device_later)
{
#if DGI_HAVE_BINDTODEVICE && HAVE_NETNS
	static struct peer in, out;
	struct dgram_loop *l;
	struct dgram_addr any, to;

	netns_enter();
	l = test_loop(backend);
	peer_open(&in, l, DGRAM_UDP4, NULL);
	CHECK(dgram_bind_to_device(in.s, "d1"), -EBADF);
	dgi_addr_wildcard(&any, AF_INET);
	OK(dgram_bind_addr(in.s, &any));
	OK(dgram_address(in.s, &any));
	OK(dgram_addr_parse(&to, "127.0.0.1", dgram_addr_port(&any)));
	peer_open_bound(&out, l, DGRAM_UDP4, NULL);
	if (test_emulated())
		cr_skip_test("user-mode emulation does not tell the device");
	OK(dgram_bind_to_device(in.s, "d1"));
	is_on(&in, "d1");
	CHECK(dgram_bind_to_device(in.s, "none9"), -ENODEV);
	/* The kernel would cut it. */
	netns_run("ip link add fifteen-letters type veth peer name x");
	CHECK(dgram_bind_to_device(in.s, "fifteen-letters!"), -ENODEV);
	is_on(&in, "d1");
	ACCEPT(send_copy(&out, 1, &to));
	turns(l, 3);
	OK(dgram_bind_to_device(in.s, "lo"));
	ACCEPT(send_copy(&out, 2, &to));
	RUN_UNTIL(l, in.got > 0);
	OK(dgram_bind_to_device(in.s, "d0"));
	OK(dgram_bind_to_device(in.s, NULL));
	is_on(&in, "");
	ACCEPT(send_copy(&out, 3, &to));
	RUN_UNTIL(l, in.got > 1);
	OK(dgram_bind_to_device(in.s, "d0"));
	OK(dgram_bind_to_device(in.s, ""));
	is_on(&in, "");
	turns(l, 3);
	MUST(in.got == 2 && in.seq[0] == 2 && in.seq[1] == 3, "%zu: %u",
	    in.got, in.seq[0]);
	free_loop(l);
#else
	(void)backend;
	cr_skip_test("no SO_BINDTODEVICE, or no interfaces to have it");
#endif
}

/* Of IP: not taken where they would do nothing. */
TEST(option, not_of_paths)
{
	const struct dgram_options bad[] = {
		{ .type = DGRAM_UNIX, .device = "lo" },
		{ .type = DGRAM_UNIX, .reuse_addr = true },
		{ .type = DGRAM_UNIX, .reuse_port = true },
	};
	struct dgram_loop *l = test_loop(NULL);
	struct dgram_socket *s;
	size_t i;

	for (i = 0; i < COUNT(bad); i++)
		CHECK(dgram_open(l, &bad[i], &s), -ENOTSUP);
	free_loop(l);
}

static int hook_fd, hook_calls, hook_result;
static bool hook_bound;

static int
configure(int fd, void *arg)
{
	struct dgram_addr a = { .len = sizeof(a.u) };
	struct peer *p = arg;

	cr_assert(p->s == NULL || p->s->arg == p);
	hook_fd = fd;
	hook_calls++;
	hook_bound = getsockname(fd, &a.u.sa, &a.len) == 0 &&
	    dgram_addr_port(&a) != 0;
	return hook_result;
}

/* A hook that comes too late, twice, or whose error is not told. */
BACKEND_TEST(option, configure)
{
	static struct peer p;
	struct dgram_options o = { .configure = configure };
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a, to;
	int fd, fds = test_count_fds();

	EACH_TYPE(type) {
		fd = bare_socket(type, &to);
		hook_calls = 0;
		hook_result = 0;
		peer_open(&p, l, (enum dgram_type)type, &o);
		cr_assert_eq(hook_calls, 0);
		peer_bind(&p);
		cr_assert_eq(hook_calls, 1);
		cr_assert(!hook_bound);
		CHECK(dgram_fileno(p.s), hook_fd);
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 3);

		/* Its error is that of bind, connect and send. */
		hook_result = -EXDEV;
		peer_open(&p, l, (enum dgram_type)type, &o);
		a = any_addr(type);
		CHECK(dgram_bind_addr(p.s, &a), -EXDEV);
		CHECK(dgram_connect_addr(p.s, &to), -EXDEV);
		CHECK(send_done(&p, 1, &to), -EXDEV);
		CHECK(dgram_fileno(p.s), -EBADF);
		hook_result = 5;
		OK(send_done(&p, 1, &to));
		RUN_UNTIL(l, p.n[EV_DONE] == 1);
		cr_assert_eq(hook_calls, 5);
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 3);
		close(fd);
	}
	cr_assert_eq(test_count_fds(), fds);
	free_loop(l);
}

/* A socket that hears the groups that others joined. */
BACKEND_TEST(option, multicast_all)
{
#if DGI_HAVE_MULTICAST_ALL
	static struct peer p;
	struct dgram_loop *l;

	if (test_emulated())
		cr_skip_test("no IP_MULTICAST_ALL under user-mode emulation");
	l = test_loop(backend);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	cr_assert_eq(option(&p, IPPROTO_IP, IP_MULTICAST_ALL), 0);
	if (have_ipv6()) {
		reopen(&p, l, DGRAM_UDP6, NULL);
		cr_assert_eq(option(&p, IPPROTO_IPV6, 29), 0);
		cr_assert_eq(option(&p, IPPROTO_IP, IP_MULTICAST_ALL), 0);
	}
	free_loop(l);
#else
	(void)backend;
	cr_skip_test("IP_MULTICAST_ALL is Linux's");
#endif
}

/* Errors of setsockopt(2) that matter fail the bind; the others do not. */
BACKEND_TEST(option, kernel_errors)
{
	static struct peer p;
	struct fault_os f;
	const bool shares = DGI_HAVE_REUSEPORT_BALANCED ||
	    DGI_HAVE_REUSEPORT_LB;
	struct dgram_options o = { .reuse_addr = true, .reuse_port = shares,
	    .recv_buffer_size = 10000, .send_buffer_size = 10000 };
	struct dgram_loop *l;
	struct dgram_addr a = any_addr(DGRAM_UDP4);
	unsigned k;
	int r, failed = 0, fds;

	fault_init(&f);
	l = fault_loop(&f, backend, NULL);
	fds = test_count_fds();
	for (k = 1; k < 20; k++) {
		peer_open(&p, l, DGRAM_UDP4, &o);
		fault_at(&f, FAULT_SETSOCKOPT, k, -ENOPROTOOPT);
		r = CALL(dgram_bind_addr(p.s, &a));
		cr_assert(r == 0 || r == -ENOPROTOOPT);
		failed += r < 0;
		f.entry[FAULT_SETSOCKOPT].at = 0;
		if (r < 0)
			OK(dgram_bind_addr(p.s, &a));
		fault_at(&f, FAULT_SETSOCKOPT, 1, -EPERM);
		CHECK(dgram_set_ttl(p.s, 3), -EPERM);
		fault_at(&f, FAULT_GETSOCKOPT, 1, -EPERM);
		CHECK(dgram_get_recv_buffer_size(p.s), -EPERM);
		OK(dgram_close(p.s, NULL, NULL));
		turns(l, 3);
		cr_assert_eq(test_count_fds(), fds);
	}
	cr_assert_eq(failed, shares ? 4 : 3);
	free_fault_loop(l, &f);
}
