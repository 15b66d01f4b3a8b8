/* SPDX-License-Identifier: ISC */

/*
 * Addresses, descriptors and queue sizes: what a socket tells of itself.  Its
 * errors by state are in test_state.c.
 */

#include "sockets.h"

/* The address that was asked for, or a length that is not its own. */
BACKEND_TEST(access, addresses)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a, want, to;
	int fd;

	EACH_TYPE(type) {
		fd = bare_socket(type, &to);
		want = any_addr(type);
		peer_open(&p, l, (enum dgram_type)type, NULL);
		OK(dgram_bind_addr(p.s, &want));
		memset(&a, 0xee, sizeof(a));
		OK(dgram_address(p.s, &a));
		cr_assert_eq(a.len, want.len);
		if (type == DGRAM_UNIX) {
			cr_assert(dgram_addr_equal(&a, &want));
		} else {
			cr_assert(dgram_addr_port(&a) != 0);
			want.u.in.sin_port = a.u.in.sin_port;
			cr_assert(dgram_addr_equal(&a, &want));
		}
		OK(dgram_connect_addr(p.s, &to));
		memset(&a, 0xee, sizeof(a));
		OK(dgram_remote_address(p.s, &a));
		cr_assert_eq(a.len, to.len);
		cr_assert(dgram_addr_equal(&a, &to));
		close(fd);
	}
	free_loop(l);
}

/* bind(0) is the wildcard, with a port. */
BACKEND_TEST(access, wildcard)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr a, to;
	char host[64];

	EACH_TYPE(type) {
		if (type == DGRAM_UNIX)
			break;
		to = dead_addr(type);
		peer_open(&p, l, (enum dgram_type)type, NULL);
		OK(send_copy(&p, 1, &to));
		OK(dgram_address(p.s, &a));
		cr_assert(dgram_addr_host(&a, host, sizeof(host)) > 0);
		cr_assert(strcmp(host, type == DGRAM_UDP4 ? "0.0.0.0" :
		    "::") == 0, "%s", host);
	}
	free_loop(l);
}

/* The kernel's errors are returned and the result is left alone. */
BACKEND_TEST(access, kernel_errors)
{
	static struct peer p;
	struct fault_os f;
	struct dgram_loop *l;
	struct dgram_addr a, to;
	int fd;

	fault_init(&f);
	l = fault_loop(&f, backend, NULL);
	fd = bare_socket(DGRAM_UDP4, &to);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	OK(dgram_connect_addr(p.s, &to));
	memset(&a, 0x55, sizeof(a));
	fault_at(&f, FAULT_GETSOCKNAME, 1, -ENOBUFS);
	CHECK(dgram_address(p.s, &a), -ENOBUFS);
	fault_at(&f, FAULT_GETPEERNAME, 1, -ENOTCONN);
	CHECK(dgram_remote_address(p.s, &a), -ENOTCONN);
	cr_assert_eq(a.len, 0x55555555);
	free_fault_loop(l, &f);
	close(fd);
}

/* Counts of what waits: none, some, none again. */
BACKEND_TEST(access, queue_size)
{
	static struct peer p;
	struct fault_os f;
	struct dgram_loop *l;
	struct dgram_addr to;
	struct iovec iov[2] = { { number(1), 4 }, { number(2), 3 } };
	int fd;

	fault_init(&f);
	l = fault_loop(&f, backend, NULL);
	fd = bare_socket(DGRAM_UDP4, &to);
	peer_open_bound(&p, l, DGRAM_UDP4, NULL);
	cr_assert_eq(dgram_get_send_queue_size(p.s), 0);
	cr_assert_eq(dgram_get_send_queue_count(p.s), 0);
	OK(dgram_send_addr(p.s, iov, 2, &to, peer_done, &p));
	OK(dgram_send_addr(p.s, iov, 2, &to, NULL, NULL));
	OK(dgram_send_addr(p.s, NULL, 0, &to, NULL, NULL));
	cr_assert_eq(dgram_get_send_queue_size(p.s), 14);
	cr_assert_eq(dgram_get_send_queue_count(p.s), 3);
	cr_assert_eq(stats_of(&p).waiting, 3);
	RUN_UNTIL(l, p.n[EV_DONE] == 1);
	cr_assert_eq(dgram_get_send_queue_size(p.s), 0);
	cr_assert_eq(dgram_get_send_queue_count(p.s), 0);
	free_fault_loop(l, &f);
	close(fd);
}

/* What goes, and what is too long by a byte. */
static void
check_most(struct peer *p, int fd, const struct dgram_addr *to, int most)
{
	static char bytes[1 << 20];
	struct iovec iov = { bytes, (size_t)most };
	int r;

	cr_assert(most > 0 && (size_t)most < sizeof(bytes), "%d", most);
	p->n[EV_DONE] = 0;
	OK(dgram_send_addr(p->s, &iov, 1, to, peer_done, p));
	RUN_UNTIL(p->loop, p->n[EV_DONE] == 1);
	cr_assert_eq(p->done[0], most, "%d, not %d", p->done[0], most);
	RUN_UNTIL(p->loop, recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) ==
	    most);
	iov.iov_len++;
	r = CALL(dgram_send_addr(p->s, &iov, 1, to, peer_done, p));
	if (r == 0) {
		RUN_UNTIL(p->loop, p->n[EV_DONE] == 2);
		r = p->done[1];
	}
	cr_assert_eq(r, -EMSGSIZE, "%d", r);
}

BACKEND_TEST(access, max_send_size)
{
	static struct peer p;
	struct dgram_loop *l = test_loop(backend);
	struct dgram_addr to, mapped;
	const int room = 1 << 18;
	int fd, most;

	CHECK(dgram_max_send_size(NULL), -EINVAL);
	EACH_TYPE(type) {
		fd = bare_socket(type, &to);
		cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room,
		    sizeof(room)) < 0 && ON_LINUX, 0);
		peer_open(&p, l, (enum dgram_type)type, NULL);
		CHECK(dgram_max_send_size(p.s), -EBADF);
		peer_bind(&p);
		most = CALL(dgram_max_send_size(p.s));
		cr_assert(!ON_LINUX || type == DGRAM_UNIX || most ==
		    (type == DGRAM_UDP4 ? 65507 : 65527), "%d", most);
		check_most(&p, fd, &to, most);
		/* Less room makes fragments of IP fail, with ENOBUFS. */
		if (type == DGRAM_UNIX || !ON_LINUX) {
			OK(dgram_set_send_buffer_size(p.s, 9000));
			most = CALL(dgram_max_send_size(p.s));
			cr_assert(most < 20000, "%d", most);
			check_most(&p, fd, &to, most);
		}
		OK(dgram_connect_addr(p.s, &to));
		cr_assert_eq(CALL(dgram_max_send_size(p.s)), most);
		OK(dgram_close(p.s, NULL, NULL));
		CHECK(dgram_max_send_size(p.s), NOT_RUNNING);
		turns(l, 2);
		close(fd);
	}
	/* IPv4 through IPv6. */
	if (have_ipv6() && ON_LINUX) {
		fd = bare_socket(DGRAM_UDP4, &to);
		OK(dgram_addr_parse(&mapped, "::ffff:127.0.0.1",
		    dgram_addr_port(&to)));
		peer_open(&p, l, DGRAM_UDP6, NULL);
		OK(dgram_connect_addr(p.s, &mapped));
		cr_assert_eq(CALL(dgram_max_send_size(p.s)), 65507);
		check_most(&p, fd, NULL, 65507);
		close(fd);
	}
	free_loop(l);
}
