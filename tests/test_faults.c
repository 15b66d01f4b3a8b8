/* SPDX-License-Identifier: ISC */

/*
 * Every system call and every allocation that may fail, failing: the error is
 * returned, nothing leaks, and the objects work on.
 */

#include "sockets.h"

/* What a scenario came to: an error, or 0 and all of it was done. */
static int scenario_step;
static struct dgram_addr scenario_to;
static int scenario_spare;

/* A loop, three sockets, an exchange: what a small program does. */
static int
scenario(struct fault_os *f, const char *backend, int type)
{
	static struct peer p, q;
	struct dgram_loop_options lo = { .backend = backend,
	    .allocator = &f->allocator };
	struct dgram_options o = { .type = (enum dgram_type)type,
	    .recv_buffer_size = 20000, .device = NULL,
	    .events = &peer_events };
	struct dgram_loop *l = NULL;
	struct dgram_addr a = any_addr(type);
	struct iovec iov[3] = { { number(1), 2 }, { number(2), 1 },
	    { number(3), 1 } };
	struct dgram_datagram d = { .iov = iov, .iovcnt = 3,
	    .to = &scenario_to };
	int r, done = 0, i;

	memset(&p, 0, sizeof(p));
	memset(&q, 0, sizeof(q));
	scenario_step = 1;
	r = CALL(dgi_loop_new(&lo, &f->os, NULL, &l));
	if (r < 0) {
		cr_assert(l == NULL);
		return r;
	}
	scenario_step = 2;
	o.arg = &p;
#if DGI_HAVE_BINDTODEVICE
	if (type != DGRAM_UNIX)
		o.device = "lo";
#endif
	p.loop = q.loop = l;
	r = CALL(dgram_open(l, &o, &p.s));
	if (r < 0)
		goto out;
	scenario_step = 3;
	r = CALL(dgram_bind_addr(p.s, &a));
	if (r < 0)
		goto out;
	scenario_step = 4;
	o.arg = &q;
	o.device = NULL;
	r = CALL(dgram_open_fd(l, &o, scenario_spare, &q.s));
	if (r < 0)
		goto out;
	scenario_spare = -1;
	scenario_step = 5;
	r = CALL(dgram_send_addr(p.s, iov, 3, &scenario_to, peer_done, &p));
	if (r < 0)
		goto out;
	done++;
	r = CALL(dgram_send_addr(p.s, iov, 3, &scenario_to, NULL, NULL));
	if (r < 0)
		goto out;
	r = CALL(dgram_send_batch(p.s, &d, 1, peer_done, &p));
	if (r < 0)
		goto out;
	done++;
	scenario_step = 6;
	turns(l, 3);
	r = CALL(dgram_connect_addr(q.s, &scenario_to));
	if (r < 0)
		goto out;
	OK(dgram_send_addr(q.s, NULL, 0, NULL, NULL, NULL));
	turns(l, 3);
	scenario_step = 7;
	r = CALL(dgram_disconnect(q.s));
	if (r < 0)
		goto out;
	OK(dgram_close(q.s, NULL, NULL));
	turns(l, 3);
	cr_assert_eq(q.n[EV_CLOSE], 1);
	scenario_step = 8;
out:
	free_loop(l);
	/* One completion for each that was accepted. */
	cr_assert_eq(p.n[EV_DONE], done, "%d completions for %d", p.n[EV_DONE],
	    done);
	for (i = 0; i < done; i++)
		cr_assert(p.done[i] >= -4095);
	cr_assert(p.s == NULL && (q.s == NULL));
	return r;
}

/* Runs the scenario with a fault; the descriptors and memory are all back. */
static int
run_faulty(struct fault_os *f, const char *backend, int type)
{
	struct dgram_addr addr;
	int fds = test_count_fds(), fd, r;

	fd = bare_socket(type, &scenario_to);
	scenario_spare = bare_socket(type, &addr);
	r = scenario(f, backend, type);
	if (scenario_spare >= 0) {
		/* Not adopted: open and bound as it was. */
		bare_send(fd, &addr, 9);
		cr_assert_eq(bare_recv(scenario_spare), 9);
		close(scenario_spare);
	}
	close(fd);
	cr_assert_eq(f->pieces, 0, "%zu pieces, step %d", f->pieces,
	    scenario_step);
	cr_assert_eq(test_count_fds(), fds, "descriptors, step %d",
	    scenario_step);
	return r;
}

/* No memory, at each allocation in turn. */
BACKEND_TEST(faults, allocations)
{
	struct fault_os f;
	size_t k;
	int r, failed;

	EACH_TYPE(type) {
		failed = 0;
		for (k = 1;; k++) {
			fault_init(&f);
			f.fail_alloc = k;
			r = run_faulty(&f, backend, type);
			cr_assert(r == 0 || r == -ENOMEM, "%s at %zu",
			    dgram_err_name(r), k);
			failed += r < 0;
			if (f.allocs < k)
				break;
		}
		cr_assert_eq(r, 0);
		cr_assert_eq(scenario_step, 8);
		cr_assert(failed > 10, "%d", failed);
	}
}

/* Each entry of the table, at each of its calls. */
BACKEND_TEST(faults, system_calls)
{
	static const int errors[] = { -EMFILE, -ENOMEM, -EPERM };
	struct fault_os f;
	unsigned k, calls;
	size_t e;
	int call, r;

	EACH_TYPE(type) {
		for (call = 0; call < FAULT_NCALLS; call++) {
			for (e = 0; e < COUNT(errors); e++) {
				calls = 1;
				for (k = 1; k <= calls; k++) {
					fault_init(&f);
					fault_at(&f, (enum fault_call)call, k,
					    errors[e]);
					r = run_faulty(&f, backend, type);
					cr_assert(r == 0 || r == errors[e],
					    "call %d, %u: %s", call, k,
					    dgram_err_name(r));
					calls = f.entry[call].calls;
				}
			}
		}
	}
}

/* The constructor fails as a whole. */
BACKEND_TEST(faults, loop_new)
{
	struct dgram_loop_options lo = { .backend = backend };
	struct fault_os f;
	struct dgram_loop *l = NULL;
	int fds = test_count_fds();

	fault_init(&f);
	lo.allocator = &f.allocator;
	fault_at(&f, FAULT_EVENT_OPEN, 1, -EMFILE);
	CHECK(dgi_loop_new(&lo, &f.os, NULL, &l), -EMFILE);
	cr_assert(l == NULL);
	cr_assert_eq(test_count_fds(), fds);
	cr_assert_eq(f.pieces, 0);
}

/* A bind that fails at any call may be tried again, and then works. */
BACKEND_TEST(faults, bind_again)
{
	static const enum fault_call calls[] = { FAULT_SOCKET, FAULT_BIND };
	static struct peer p;
	struct fault_os f;
	struct dgram_loop *l;
	struct dgram_addr a, from;
	size_t i, k;
	int fd, r;

	EACH_TYPE(type) {
		fault_init(&f);
		l = fault_loop(&f, backend, NULL);
		fd = bare_socket(type, &from);
		a = any_addr(type);
		peer_open(&p, l, (enum dgram_type)type, NULL);
		for (i = 0; i < COUNT(calls); i++) {
			fault_at(&f, calls[i], 1, -EMFILE);
			CHECK(dgram_bind_addr(p.s, &a), -EMFILE);
			CHECK(dgram_fileno(p.s), -EBADF);
		}
		for (k = 1; k < 10; k++) {
			f.fail_alloc = f.allocs + k;
			r = CALL(dgram_bind_addr(p.s, &a));
			f.fail_alloc = 0;
			if (r == 0)
				break;
			cr_assert_eq(r, -ENOMEM);
			CHECK(dgram_fileno(p.s), -EBADF);
		}
		cr_assert_eq(r, 0);
		OK(dgram_address(p.s, &a));
		bare_send(fd, &a, 1);
		RUN_UNTIL(l, p.got == 1);
		cr_assert_eq(p.n[EV_LISTENING], 1);
		free_fault_loop(l, &f);
		close(fd);
	}
}

/* No memory for a timer while it backs off: nothing is stuck. */
BACKEND_TEST(faults, no_memory_for_the_timer)
{
	static struct peer p;
	struct fault_os f;
	struct dgram_loop *l;
	struct dgram_addr to;
	size_t k;
	int fd;

	for (k = 1; k < 6; k++) {
		fault_init(&f);
		l = fault_loop(&f, backend, NULL);
		fd = bare_socket(DGRAM_UDP4, &to);
		peer_open_bound(&p, l, DGRAM_UDP4, NULL);
		turns(l, 3);
		fault_sends(&f, -ENOBUFS);
		OK(send_done(&p, 1, &to));
		f.fail_alloc = f.allocs + k;
		turns(l, 3);
		f.fail_alloc = 0;
		fault_sends(&f, 0);
		RUN_UNTIL(l, p.n[EV_DONE] == 1);
		cr_assert_eq(p.done[0], 4);
		free_fault_loop(l, &f);
		close(fd);
	}
}
