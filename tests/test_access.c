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
