/* SPDX-License-Identifier: ISC */

/*
 * The calls to send: what they refuse, what they return, whose the bytes are.
 */

#include "scene.h"

static void
enter(const char *backend, int type)
{
	scene_enter(backend, type, NULL, NULL);
}

/* ---- bad input ---- */

static char *bytes;		/* 70000 of them */

/* Tries it by all calls that take an address; each must say the same. */
static void
refuse(const struct iovec *iov, int n, const struct dgram_addr *to, int want)
{
	struct dgram_datagram d[2] = { { .to = &sc.to },
	    { .iov = iov, .iovcnt = n, .to = to, .result = 99 } };
	enum dgi_state before = sc.p.s->state;
	size_t i;

	d[1].iov = iov;
	CHECK(dgram_send_addr(sc.p.s, iov, n, to, NULL, NULL), want);
	CHECK(dgram_send_addr(sc.p.s, iov, n, to, peer_done, &sc.p), want);
	for (i = 0; i < 2; i++) {
		/* Behind a good one, too. */
		CHECK(dgram_send_batch(sc.p.s, d + i, 2 - i, NULL, NULL),
		    want);
		CHECK(dgram_send_batch(sc.p.s, d + i, 2 - i, peer_done,
		    &sc.p), want);
		CHECK(dgram_try_send(sc.p.s, d + i, 2 - i), want);
	}
	cr_assert_eq(sc.p.s->state, before);
	cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 0);
	cr_assert_eq(bare_recv(sc.fd), -1, "something was sent");
}

/* Input that is not refused, or not by this name, or by some calls only. */
BACKEND_TEST(send, bad_input)
{
	static struct iovec many[1025];
	struct iovec iov[2];
	struct dgram_addr a, other;
	size_t allocs;
	int bound;

	bytes = calloc(1, 70000);
	EACH_TYPE(type) {
		for (bound = 0; bound < 2; bound++) {
			enter(backend, type);
			if (!bound) {
				OK(dgram_close(sc.p.s, NULL, NULL));
				turns(sc.l, 3);
				peer_open(&sc.p, sc.l, (enum dgram_type)type,
				    NULL);
			}
			allocs = sc.f.allocs;
			iov[0].iov_base = bytes;
			iov[0].iov_len = 4;
			iov[1] = iov[0];
			refuse(iov, -1, &sc.to, -EINVAL);
			refuse(iov, INT_MIN, &sc.to, -EINVAL);
			refuse(NULL, 1, &sc.to, -EINVAL);
			refuse(many, 1025, &sc.to, -EMSGSIZE);
			refuse(many, INT_MAX, &sc.to, -EMSGSIZE);
			iov[0].iov_base = NULL;
			refuse(iov, 1, &sc.to, -EINVAL);
			refuse(iov, 2, &sc.to, -EINVAL);
			iov[0].iov_base = bytes;
			iov[0].iov_len = SIZE_MAX;
			refuse(iov, 1, &sc.to, -EMSGSIZE);
			refuse(iov, 2, &sc.to, -EMSGSIZE);
			iov[0].iov_len = (size_t)INT_MAX + 1;
			refuse(iov, 1, &sc.to, -EMSGSIZE);
			iov[0].iov_len = SIZE_MAX - 2;	/* a sum of 1 */
			refuse(iov, 2, &sc.to, -EMSGSIZE);
			if (type != DGRAM_UNIX) {
				iov[0].iov_len = type == DGRAM_UDP4 ? 65508 :
				    65528;
				refuse(iov, 1, &sc.to, -EMSGSIZE);
				iov[0].iov_len -= 3;
				refuse(iov, 2, &sc.to, -EMSGSIZE);
			}
			iov[0].iov_len = 4;
			/* Addresses. */
			OK(dgram_addr_parse(&other, type == DGRAM_UDP4 ?
			    "::1" : "127.0.0.1", 9));
			refuse(iov, 1, &other, -EINVAL);
			memset(&a, 0, sizeof(a));
			refuse(iov, 1, &a, -EINVAL);
			a = sc.to;
			a.len = 1;
			refuse(iov, 1, &a, -EINVAL);
			a.len = 0;
			refuse(iov, 1, &a, -EINVAL);
			if (type != DGRAM_UNIX) {
				a = sc.to;
				a.len--;
				refuse(iov, 1, &a, -EINVAL);
				a = sc.to;
				a.u.in.sin_port = 0;
				refuse(iov, 1, &a, BAD_PORT);
				CHECK(dgram_send_path(sc.p.s, "x", 1, "x",
				    NULL, NULL), -EINVAL);
			}
			refuse(iov, 1, NULL, NOT_CONNECTED);
			turns(sc.l, 3);
			cr_assert_eq(sc.p.n[EV_DONE], 0);
			cr_assert_eq(sc.p.n[EV_ERROR], 0);
			cr_assert(bound || strlen(sc.p.trace) == 0);
			cr_assert(sc.f.allocs == allocs || bound);
			leave();
		}
	}
	free(bytes);
}

/* Members of a datagram that are not built, not known, or not there. */
BACKEND_TEST(send, bad_members)
{
	struct dgram_datagram d = { .iovcnt = 0 }, e;
	struct dgram_addr other, none = { .len = 0 };
	int fd = 0;

	enter(backend, DGRAM_UDP4);
	d.to = &sc.to;
	OK(dgram_addr_parse(&other, "::1", 1));
#define TRY(member, value, want) do {					\
	e = d;								\
	e.member = value;						\
	CHECK(dgram_send_batch(sc.p.s, &e, 1, NULL, NULL), want);	\
	CHECK(dgram_send_batch(sc.p.s, &e, 1, peer_done, &sc.p), want);	\
	CHECK(dgram_try_send(sc.p.s, &e, 1), want);			\
} while (0)
	TRY(from, &other, -EINVAL);
	TRY(from, &none, -EINVAL);
	TRY(ifindex, (unsigned)INT_MAX + 1, -EINVAL);
	TRY(ttl, 256, -EINVAL);
	TRY(ttl, -2, -EINVAL);
	TRY(ttl, INT_MIN, -EINVAL);
	TRY(tos, 256, -EINVAL);
	TRY(tos, INT_MAX, -EINVAL);
	TRY(fds, &fd, -ENOTSUP);
	TRY(nfds, 1, -ENOTSUP);
	TRY(flags, 0x80u, -EINVAL);
	TRY(flags, 0x80000000u | DGRAM_SET_TTL, -EINVAL);
#undef TRY
	/* What they may say: the socket's. */
	d.ttl = d.tos = -1;
	CHECK(dgram_try_send(sc.p.s, &d, 1), 1);
	CHECK(dgram_send_batch(sc.p.s, &d, SIZE_MAX, NULL, NULL), -EINVAL);
	CHECK(dgram_try_send(sc.p.s, &d, SIZE_MAX), -EINVAL);
	CHECK(dgram_send_batch(sc.p.s, &d, (size_t)INT_MAX + 1, peer_done,
	    &sc.p), -EINVAL);
	turns(sc.l, 3);
	cr_assert_eq(sc.p.n[EV_DONE], 0);
	leave();
}

/* Sizes that are refused though the kernel takes them: 65507, 1024 pieces. */
BACKEND_TEST(send, largest)
{
	static struct iovec many[1024];
	struct iovec iov = { NULL, 0 };
	struct dgram_options o = { .send_buffer_size = 200000 };
	size_t i, size;
	char *in;
	int room = ON_LINUX ? 1 << 20 : 200000;

	bytes = malloc(70000);
	in = malloc(70000);
	for (i = 0; i < 70000; i++)
		bytes[i] = (char)(i * 13 + i / 251);
	EACH_TYPE(type) {
		scene_enter(backend, type, NULL, &o);
		setsockopt(sc.fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
		iov.iov_base = bytes;
		for (size = type == DGRAM_UDP6 ? 65527 : 65507; size > 65500;
		    size -= 3) {
			iov.iov_len = size;
			OK(dgram_send_addr(sc.p.s, &iov, 1, &sc.to,
			    peer_done, &sc.p));
			OK(dgram_send_addr(sc.p.s, &iov, 1, &sc.to, NULL,
			    NULL));
			CALL(dgram_flush(sc.p.s));
			for (i = 0; i < 2; i++) {
				memset(in, 0, 70000);
				cr_assert_eq(recv(sc.fd, in, 70000,
				    MSG_DONTWAIT), (ssize_t)size);
				cr_assert(memcmp(in, bytes, size) == 0);
			}
		}
		for (i = 0; i < 1024; i++) {
			many[i].iov_base = bytes + i * 2;
			many[i].iov_len = i % 2 == 0 ? 2 : 0;
		}
		OK(dgram_send_addr(sc.p.s, many, 1024, &sc.to, peer_done,
		    &sc.p));
		OK(dgram_send_addr(sc.p.s, many, 1024, &sc.to, NULL, NULL));
		memset(many, 0xee, sizeof(many));
		CALL(dgram_flush(sc.p.s));
		cr_assert_eq(recv(sc.fd, in, 70000, MSG_DONTWAIT), 1024);
		cr_assert(memcmp(in + 2, bytes + 4, 2) == 0);
		cr_assert_eq(recv(sc.fd, in, 70000, MSG_DONTWAIT), 1024);
		turns(sc.l, 3);
		cr_assert_eq(sc.p.done[sc.p.n[EV_DONE] - 1], 1024);
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
		leave();
	}
	free(bytes);
	free(in);
}

/* To IPv4 by a mapped address the limit is that of IPv4. */
BACKEND_TEST(send, mapped_limit)
{
	struct dgram_addr mapped, any;
	struct iovec iov = { NULL, 65508 };
	static struct peer p;
	struct dgram_loop *l;

	if (!have_ipv6())
		cr_skip_test("no IPv6");
	bytes = calloc(1, 70000);
	iov.iov_base = bytes;
	l = test_loop(backend);
	peer_open(&p, l, DGRAM_UDP6, NULL);
	OK(dgram_addr_parse(&any, "::", 0));
	OK(dgram_bind_addr(p.s, &any));
	OK(dgram_addr_parse(&mapped, "::ffff:127.0.0.1", 9));
	CHECK(dgram_send_addr(p.s, &iov, 1, &mapped, NULL, NULL), -EMSGSIZE);
	iov.iov_len--;
	OK(dgram_send_addr(p.s, &iov, 1, &mapped, NULL, NULL));
	OK(dgram_connect_addr(p.s, &mapped));
	iov.iov_len++;
	CHECK(dgram_send_addr(p.s, &iov, 1, NULL, NULL, NULL), -EMSGSIZE);
	free_loop(l);
	free(bytes);
}

/* What AF_UNIX cannot take is the kernel's to say: once, by completion. */
BACKEND_TEST(send, too_large_for_unix)
{
	struct dgram_options o = { .send_buffer_size = 8192 };
	struct iovec iov = { NULL, 60000 };

	bytes = calloc(1, 70000);
	iov.iov_base = bytes;
	scene_enter(backend, DGRAM_UNIX, NULL, &o);
	OK(dgram_send_addr(sc.p.s, &iov, 1, &sc.to, peer_done, &sc.p));
	OK(send_done(&sc.p, 1, &sc.to));
	RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 2);
	cr_assert_eq(sc.p.done[0], -EMSGSIZE);
	cr_assert_eq(sc.p.done[1], 4);
	leave();
	free(bytes);
}

/* ---- last_error ---- */

static struct dgram_error seen;
static struct dgram_addr seen_addr;
static int seen_result;

static void
error_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	(void)m, (void)n;
	if (e != EV_DONE)
		return;
	seen_result = CALL(dgram_last_error(p->s, &seen));
	seen_addr.len = 0;
	if (seen_result == 0 && seen.addr != NULL)
		seen_addr = *seen.addr;
}

/* A failure that cannot be asked for, or that stays. */
BACKEND_TEST(send, last_error)
{
	struct dgram_error e;

	EACH_TYPE(type) {
		enter(backend, type);
		sc.p.hook = error_hook;
		fault_at(&sc.f, FAULT_SENDTO, 1, -EPERM);
		OK(send_done(&sc.p, 1, &sc.to));
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
		cr_assert_eq(seen_result, 0);
		cr_assert_eq(seen.status, -EPERM);
		cr_assert_eq(seen.kind, DGRAM_IN_SEND);
		cr_assert(strcmp(seen.syscall, "send") == 0);
		cr_assert(seen.host == NULL);
		cr_assert(dgram_addr_equal(&seen_addr, &sc.to));
		CHECK(dgram_last_error(sc.p.s, &e), -ENOENT);
		OK(send_done(&sc.p, 1, &sc.to));
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 2);
		cr_assert_eq(seen_result, -ENOENT);
		/* Connected: no address. */
		OK(dgram_connect_addr(sc.p.s, &sc.to));
		fault_at(&sc.f, FAULT_SENDTO, 1, -EPERM);
		OK(send_done(&sc.p, 1, NULL));
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 3);
		cr_assert_eq(seen_result, 0);
		cr_assert_eq(seen_addr.len, 0);
		/* Closed: cut off. */
		fault_sends(&sc.f, -EAGAIN);
		OK(send_done(&sc.p, 1, NULL));
		OK(dgram_close(sc.p.s, NULL, NULL));
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 4);
		cr_assert_eq(seen_result, 0);
		cr_assert_eq(seen.status, -ECANCELED);
		leave();
	}
}

/* ---- send_batch ---- */

/* Results per datagram, with addresses of their own. */
BACKEND_TEST(send, batch)
{
	struct dgram_datagram d[5];
	struct iovec iov[2] = { { number(3), 4 }, { number(5), 4 } };
	struct dgram_addr other, dead;
	int fd2, i;

	if (test_emulated())
		cr_skip_test("no datagram without iovec under user-mode emulation");
	EACH_TYPE(type) {
		enter(backend, type);
		fd2 = bare_socket(type, &other);
		dead = dead_addr(type);
		memset(d, 0, sizeof(d));
		for (i = 0; i < 5; i++) {
			d[i].iov = iov;
			d[i].iovcnt = 1;
			d[i].to = i % 2 == 0 ? &sc.to : &other;
			d[i].result = 99;
		}
		d[1].iovcnt = 2;
		d[2].to = &dead;
		d[3].iovcnt = 0;
		OK(dgram_send_batch(sc.p.s, d, 5, peer_done, &sc.p));
		cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 5);
		cr_assert_eq(dgram_get_send_queue_size(sc.p.s), 20);
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
		cr_assert_eq(sc.p.done[0], type == DGRAM_UNIX ? 4 : 5);
		cr_assert_eq(d[0].result, 4);
		cr_assert_eq(d[1].result, 8);
		cr_assert_eq(d[2].result,
		    type == DGRAM_UNIX ? -ECONNREFUSED : 4);
		cr_assert_eq(d[3].result, 0);
		cr_assert_eq(d[4].result, 4);
		cr_assert_eq(bare_recv(sc.fd), 3);
		cr_assert_eq(bare_recv(sc.fd), 3);
		cr_assert_eq(bare_recv(fd2), 3);
		cr_assert_eq(bare_recv(fd2), 0);
		close(fd2);
		leave();
	}
}

/* An array of none: a completion with 0 if there is one, no bind needed. */
BACKEND_TEST(send, batch_of_none)
{
	EACH_TYPE(type) {
		enter(backend, type);
		OK(dgram_send_batch(sc.p.s, NULL, 0, peer_done, &sc.p));
		CHECK(dgram_send_batch(sc.p.s, NULL, 0, NULL, NULL), 0);
		CHECK(dgram_try_send(sc.p.s, NULL, 0), 0);
		cr_assert_eq(sc.p.n[EV_DONE], 0);
		RUN_UNTIL(sc.l, sc.p.n[EV_DONE] == 1);
		cr_assert_eq(sc.p.done[0], 0);
		/* On a socket that closes at once. */
		OK(dgram_send_batch(sc.p.s, NULL, 0, peer_done, &sc.p));
		OK(dgram_close(sc.p.s, NULL, NULL));
		RUN_UNTIL(sc.l, sc.p.n[EV_CLOSE] == 1);
		cr_assert(strcmp(sc.p.trace, "LddX") == 0, "%s", sc.p.trace);
		leave();
	}
}

/* No memory for the copies: all or nothing, and no request is lost. */
BACKEND_TEST(send, batch_without_memory)
{
	struct dgram_datagram d[10];
	struct iovec iov = { NULL, 3000 };
	size_t k;
	int i, r, n;

	bytes = calloc(1, 70000);
	iov.iov_base = bytes;
	for (k = 1; k <= 30; k++) {
		enter(backend, DGRAM_UDP4);
		memset(d, 0, sizeof(d));
		for (i = 0; i < 10; i++) {
			d[i].iov = &iov;
			d[i].iovcnt = 1;
			d[i].to = &sc.to;
		}
		sc.f.fail_alloc = sc.f.allocs + k;
		r = CALL(dgram_send_batch(sc.p.s, d, 10, NULL, NULL));
		sc.f.fail_alloc = 0;
		n = (int)dgram_get_send_queue_count(sc.p.s);
		cr_assert(r >= 0 ? n > 0 : r == -ENOMEM && n == 0, "%d, %d",
		    r, n);
		turns(sc.l, 5);
		for (i = 0; bare_recv(sc.fd) >= 0; i++)
			;
		cr_assert_eq(i, n);
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
		leave();
	}
	free(bytes);
}

/* ---- try_send ---- */

/* A try that overtakes what waits. */
BACKEND_TEST(send, try_while_something_waits)
{
	struct iovec iov = { number(9), 4 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1 };

	EACH_TYPE(type) {
		enter(backend, type);
		d.to = &sc.to;
		OK(send_copy(&sc.p, 1, &sc.to));
		CHECK(dgram_try_send(sc.p.s, &d, 1), -EAGAIN);
		turns(sc.l, 3);
		CHECK(dgram_try_send(sc.p.s, &d, 1), 1);
		cr_assert_eq(d.result, 4);
		cr_assert_eq(bare_recv(sc.fd), 1);
		cr_assert_eq(bare_recv(sc.fd), 9);
		/* What the kernel says of it is returned, not told. */
		fault_at(&sc.f, FAULT_SENDTO, 1, -EAGAIN);
		CHECK(dgram_try_send(sc.p.s, &d, 1), -EAGAIN);
		fault_at(&sc.f, FAULT_SENDTO, 1, -ENOBUFS);
		CHECK(dgram_try_send(sc.p.s, &d, 1), -ENOBUFS);
		fault_at(&sc.f, FAULT_SENDTO, 1, -EPERM);
		CHECK(dgram_try_send(sc.p.s, &d, 1), -EPERM);
		cr_assert_eq(d.result, -EPERM);
		CHECK(dgram_try_send(sc.p.s, &d, 1), 1);
		turns(sc.l, 3);
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
		cr_assert_eq(dgram_get_send_queue_count(sc.p.s), 0);
		cr_assert_eq(stats_of(&sc.p).sent, 3);
		leave();
	}
}

/* ---- reply ---- */

static const void *reply_data;
static size_t reply_size, reply_skip;
static int reply_result;
static bool reply_own;

static void
reply_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	size_t i;

	if (e != EV_MESSAGE)
		return;
	for (i = 0; i < n; i++) {
		if (reply_own)
			reply_result = CALL(dgram_reply(p->s, &m[i],
			    (const char *)m[i].data + reply_skip,
			    m[i].size - reply_skip));
		else
			reply_result = CALL(dgram_reply(p->s, &m[i],
			    reply_data, reply_size));
	}
}

static int
run_reply(void)
{
	size_t got = sc.p.got;

	sc.p.hook = reply_hook;
	bare_send(sc.fd, &sc.p.addr, 0x01020304);
	RUN_UNTIL(sc.l, sc.p.got == got + 1);
	return reply_result;
}

/* Replies to nobody, to the wrong one, or with bytes of another datagram. */
BACKEND_TEST(send, reply)
{
	uint32_t v = 7;
	int fd;

	EACH_TYPE(type) {
		enter(backend, type);
		reply_own = false;
		reply_data = &v;
		reply_size = sizeof(v);
		cr_assert_eq(run_reply(), 0);
		cr_assert_eq(bare_recv(sc.fd), 7);
		reply_own = true;
		reply_skip = 0;
		cr_assert_eq(run_reply(), 0);
		cr_assert_eq(bare_recv(sc.fd), 0x01020304);
		reply_skip = 4;
		cr_assert_eq(run_reply(), 0);
		cr_assert_eq(bare_recv(sc.fd), 0);
		reply_skip = 0;
		/* On a connected socket, to the peer. */
		OK(dgram_connect_addr(sc.p.s, &sc.to));
		cr_assert_eq(run_reply(), 0);
		cr_assert_eq(bare_recv(sc.fd), 0x01020304);
		/* More than a datagram holds. */
		reply_own = false;
		reply_size = 70000;
		if (type != DGRAM_UNIX)
			cr_assert_eq(run_reply(), -EMSGSIZE);
		reply_data = NULL;
		reply_size = 1;
		cr_assert_eq(run_reply(), -EINVAL);
		cr_assert_eq(sc.p.n[EV_ERROR], 0);
		leave();
	}

	/* To one without a name. */
	enter(backend, DGRAM_UNIX);
	reply_own = true;
	reply_skip = 0;
	sc.p.hook = reply_hook;
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	bare_send(fd, &sc.p.addr, 1);
	RUN_UNTIL(sc.l, sc.p.got == 1);
	cr_assert_eq(reply_result, -EDESTADDRREQ);
	close(fd);
	leave();
}

/* What came before the connect is answered to nobody, not to the peer. */
BACKEND_TEST(send, reply_to_a_stranger)
{
	static const int types[] = { DGRAM_UDP4, DGRAM_UDP6 };
	struct dgram_addr to;
	size_t i;
	int fd;

	for (i = 0; i < COUNT(types) && (i == 0 || have_ipv6()); i++) {
		enter(backend, types[i]);
		reply_own = true;
		reply_skip = 0;
		sc.p.hook = reply_hook;
		fd = bare_socket(types[i], &to);
		bare_send(sc.fd, &sc.p.addr, 1);
		OK(dgram_connect_addr(sc.p.s, &to));
		RUN_UNTIL(sc.l, sc.p.got == 1);
		cr_assert_eq(reply_result, IS_CONNECTED, "%d", reply_result);
		bare_send(fd, &sc.p.addr, 2);
		RUN_UNTIL(sc.l, sc.p.got == 2);
		cr_assert_eq(reply_result, 0, "%d", reply_result);
		cr_assert_eq(bare_recv(fd), 2);
		cr_assert_eq(stats_of(&sc.p).sent, 1);
		close(fd);
		leave();
	}
}

/* To one that was not asked for. */
BACKEND_TEST(send, reply_without_remote)
{
	struct dgram_options o = { .want = DGRAM_NO_REMOTE };

	scene_enter(backend, DGRAM_UDP4, NULL, &o);
	reply_own = true;
	cr_assert_eq(run_reply(), NOT_CONNECTED);
	OK(dgram_connect_addr(sc.p.s, &sc.to));
	cr_assert_eq(run_reply(), 0);
	cr_assert_eq(bare_recv(sc.fd), 0x01020304);
	leave();
}

/* A copy of bytes that lie in the arena, when the kernel takes them at once. */
BACKEND_TEST(send, reply_is_not_copied)
{
	size_t allocs;

	enter(backend, DGRAM_UDP4);
	bytes = calloc(1, 70000);
	reply_own = true;
	reply_skip = 0;
	sc.p.hook = reply_hook;
	/* Requests are there, a piece of that size is not. */
	cr_assert_eq(run_reply(), 0);
	allocs = sc.f.allocs;
	cr_assert_eq(sendto(sc.fd, bytes, 9000, 0, &sc.p.addr.u.sa,
	    sc.p.addr.len), 9000);
	RUN_UNTIL(sc.l, sc.p.got == 2);
	cr_assert_eq(sc.f.allocs, allocs);
	cr_assert_eq(bare_recv(sc.fd), 0x01020304);
	cr_assert_eq(bare_recv(sc.fd), 0);
	free(bytes);
	leave();
}

/* Bytes that later datagrams write over while the reply waits. */
BACKEND_TEST(send, reply_that_waits_is_copied)
{
	static const int blocks[] = { -EAGAIN, -ENOBUFS };
	uint32_t i;
	size_t b;

	for (b = 0; b < COUNT(blocks); b++) {
		EACH_TYPE(type) {
			enter(backend, type);
			reply_own = true;
			reply_skip = 0;
			sc.p.hook = reply_hook;
			fault_sends(&sc.f, blocks[b]);
			for (i = 1; i <= 40; i++) {
				bare_send(sc.fd, &sc.p.addr, i);
				if (i % 5 == 0)
					RUN_UNTIL(sc.l, sc.p.got == i);
			}
			sc.p.hook = NULL;
			for (i = 0; i < 8; i++)
				bare_send(sc.fd, &sc.p.addr, 0xdeadbeef);
			RUN_UNTIL(sc.l, sc.p.got == 48);
			fault_sends(&sc.f, 0);
			for (i = 1; i <= 40;) {
				int64_t got = bare_recv(sc.fd);

				if (got < 0) {
					turn_wait(sc.l, 20);
					continue;
				}
				cr_assert_eq(got, i);
				i++;
			}
			leave();
		}
	}
}

/* A part of the message, and the whole with more pieces, is kept as well. */
static void
pieces_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	struct iovec iov[2];

	(void)n;
	if (e != EV_MESSAGE || p->got > 1)
		return;
	memcpy(&iov[0].iov_base, &m->data, sizeof(m->data));
	iov[0].iov_len = 2;
	iov[1].iov_base = (char *)iov[0].iov_base + 2;
	iov[1].iov_len = 2;
	OK(dgram_send_addr(p->s, iov, 2, &sc.to, NULL, NULL));
	iov[0].iov_len = 4;
	OK(dgram_send_addr(p->s, iov, 1, &sc.to, NULL, NULL));
}

/* Sent by another socket of the loop: its queue keeps them. */
static struct peer second;

static void
relay_hook(struct peer *p, enum event e, const struct dgram_message *m,
    size_t n)
{
	struct iovec iov;

	(void)n;
	if (e != EV_MESSAGE || p->got > 1)
		return;
	memcpy(&iov.iov_base, &m->data, sizeof(m->data));
	iov.iov_len = m->size;
	OK(dgram_send_addr(second.s, &iov, 1, &sc.to, NULL, NULL));
}

BACKEND_TEST(send, parts_of_a_message)
{
	int way;

	for (way = 0; way < 2; way++) {
		enter(backend, DGRAM_UDP4);
		peer_open_bound(&second, sc.l, DGRAM_UDP4, NULL);
		sc.p.hook = way == 0 ? pieces_hook : relay_hook;
		fault_sends(&sc.f, -EAGAIN);
		bare_send(sc.fd, &sc.p.addr, 77);
		RUN_UNTIL(sc.l, sc.p.got == 1);
		bare_send(sc.fd, &sc.p.addr, 0xdeadbeef);
		RUN_UNTIL(sc.l, sc.p.got == 2);
		fault_sends(&sc.f, 0);
		turns(sc.l, 5);
		cr_assert_eq(bare_recv(sc.fd), 77);
		cr_assert_eq(bare_recv(sc.fd), way == 0 ? 77 : -1);
		leave();
	}
}

/* No memory for the copy of a reply: counted, no event, nothing stuck. */
BACKEND_TEST(send, reply_without_memory)
{
	enter(backend, DGRAM_UDP4);
	reply_own = true;
	reply_skip = 0;
	cr_assert_eq(run_reply(), 0);
	fault_sends(&sc.f, -EAGAIN);
	sc.f.fail_alloc = sc.f.allocs + 1;
	cr_assert_eq(run_reply(), 0);
	turns(sc.l, 5);
	cr_assert_eq(sc.p.n[EV_ERROR], 0);
	fault_sends(&sc.f, 0);
	turns(sc.l, 5);
	cr_assert_eq(stats_of(&sc.p).waiting, 0);
	cr_assert_eq(stats_of(&sc.p).sent + stats_of(&sc.p).failed, 2);
	leave();
}
