/* SPDX-License-Identifier: ISC */

/*
 * Short runs of the model, always the same ones; `make model` goes on from here.
 * And the simulated network: what the model takes for granted.
 */

#include "model.h"
#include "test.h"

#include <netinet/in.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/loop.h"

#define STEPS	20000

static void
run(uint64_t seed)
{
	struct model_report r;

	cr_assert(model_run(seed, STEPS, &r), "seed %" PRIu64, seed);
	cr_assert_eq(r.steps, STEPS);
	/* It is no run if nothing comes of it. */
	cr_assert(r.sent > STEPS / 100 && r.received > STEPS / 100 &&
	    r.completions > STEPS / 100);
}

TEST(model, seed_1) { run(1); }
TEST(model, seed_2) { run(2); }
TEST(model, seed_3) { run(3); }
TEST(model, seed_4) { run(4); }
TEST(model, seed_5) { run(5); }
TEST(model, seed_6) { run(6); }

TEST(model, same_seed_same_run)
{
	struct model_report a, b, c;

	cr_assert(model_run(7, 5000, &a));
	cr_assert(model_run(7, 5000, &b));
	cr_assert(model_run(8, 5000, &c));
	cr_assert_eq(a.digest, b.digest);
	cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
	cr_assert(a.digest != c.digest);
}

/* ---- the network ---- */

static struct sim sim;
static const struct dgi_os *os;

static void
enter(void)
{
	sim_init(&sim, 1);
	os = &sim.os;
}

/* A socket of udp4 on the loopback; its address. */
static int
open_bound(struct dgram_addr *a)
{
	int fd = os->socket(os, AF_INET, SOCK_DGRAM, 0);

	cr_assert_eq(dgram_addr_parse(a, "127.0.0.1", 0), 0);
	cr_assert_eq(os->bind(os, fd, &a->u.sa, a->len), 0);
	cr_assert_eq(os->getsockname(os, fd, &a->u.sa, &a->len), 0);
	cr_assert(dgram_addr_port(a) > 0);
	return fd;
}

static ssize_t
send_to(int fd, char c, const struct dgram_addr *to)
{
	return os->sendto(os, fd, &c, 1, to == NULL ? NULL : &to->u.sa,
	    to == NULL ? 0 : to->len);
}

/* The next datagram, or what there is instead. */
static int
take(int fd)
{
	char c;
	ssize_t r = os->recvfrom(os, fd, &c, 1, 0, NULL, NULL);

	return r == 1 ? c : (int)r;
}

TEST(sim, keeps_order)
{
	struct dgram_addr a, b;
	int from, to, i;

	enter();
	from = open_bound(&a);
	to = open_bound(&b);
	sim.config.delay_ns = 1000;
	for (i = 0; i < 100; i++)
		cr_assert_eq(send_to(from, (char)i, &b), 1);
	cr_assert_eq(take(to), -EAGAIN);
	sim.now += 1000;
	for (i = 0; i < 100; i++)
		cr_assert_eq(take(to), i);
	cr_assert_eq(take(to), -EAGAIN);
	cr_assert(sim_is_quiet(&sim));
	sim_done(&sim);
}

TEST(sim, queues_are_bounded)
{
	struct dgram_addr a, b;
	int from, to, i;

	enter();
	from = open_bound(&a);
	to = open_bound(&b);
	sim.config.recv_packets = 3;
	for (i = 0; i < 10; i++)
		cr_assert_eq(send_to(from, (char)i, &b), 1);
	cr_assert_eq(sim_socket(&sim, to)->drops, 7);
	sim.config.delay_ns = 1000;
	sim.config.send_bytes = 2;
	cr_assert_eq(send_to(from, 1, &b), 1);
	cr_assert_eq(send_to(from, 2, &b), 1);
	cr_assert_eq(send_to(from, 3, &b), -EAGAIN);
	sim.now += 1000;
	cr_assert_eq(send_to(from, 3, &b), 1);
	sim_done(&sim);
}

TEST(sim, tells_the_connected_of_nobody)
{
	struct dgram_addr a, b;
	int from, to;

	enter();
	from = open_bound(&a);
	to = open_bound(&b);
	cr_assert_eq(os->connect(os, from, &b.u.sa, b.len), 0);
	cr_assert_eq(os->close(os, to), 0);
	cr_assert_eq(send_to(from, 1, NULL), 1);
	cr_assert_eq(send_to(from, 2, NULL), -ECONNREFUSED);
	cr_assert_eq(send_to(from, 3, NULL), 1);
	cr_assert_eq(take(from), -ECONNREFUSED);
	sim_done(&sim);
}

TEST(sim, loses_and_doubles)
{
	struct dgram_addr a, b;
	int from, to, i;

	enter();
	from = open_bound(&a);
	to = open_bound(&b);
	sim.config.recv_packets = SIZE_MAX;
	sim.config.loss = SIM_PERCENT(50);
	for (i = 0; i < 1000; i++)
		(void)send_to(from, 0, &b);
	cr_assert(sim_socket(&sim, to)->packets > 400);
	cr_assert(sim_socket(&sim, to)->packets < 600);
	sim.config.loss = 0;
	sim.config.duplicate = SIM_PERCENT(50);
	for (i = 0; i < 1000; i++)
		(void)send_to(from, 0, &b);
	cr_assert(sim_socket(&sim, to)->packets > 1800);
	sim_done(&sim);
}

static void
on_timer(struct dgram_timer *t, void *arg)
{
	*(uint64_t *)arg = dgram_loop_now(t->loop);
}

TEST(sim, time_is_virtual)
{
	struct dgram_timer t;
	struct dgram_loop *l;
	uint64_t fired = 0, begin;

	enter();
	cr_assert_eq(dgi_loop_new(NULL, os, &sim.poller, &l), 0);
	begin = sim.now;
	dgram_timer_init(&t, l, on_timer, &fired);
	/* A year. */
	cr_assert_eq(dgram_timer_start(&t, UINT64_C(31536000000000000), 0), 0);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(fired - begin, UINT64_C(31536000000000000));
	cr_assert(sim.counts.waits < 4);
	cr_assert_eq(dgram_loop_free(l), 0);
	cr_assert_eq(sim_open_fds(&sim), 0);
	cr_assert(sim.misuse == NULL);
	sim_done(&sim);
}

TEST(sim, notices_misuse)
{
	struct dgram_addr a;
	int fd;

	enter();
	fd = open_bound(&a);
	cr_assert_eq(os->close(os, fd), 0);
	cr_assert(sim.misuse == NULL);
	cr_assert_eq(os->close(os, fd), -EBADF);
	cr_assert(sim.misuse != NULL);
	sim_done(&sim);
}

/* ---- what the model has found, by a clock that is exact ---- */

#define MS	UINT64_C(1000000)
#define BEGIN	1600u			/* a multiple of most back-offs */

static struct dgram_loop *loop;
static struct dgram_socket *from;
static int to[2];			/* receivers of one datagram */
static struct dgram_addr at[2];
static char byte[] = "x";
static char trace[64];			/* what was told, and tried, in order */
static uint64_t tried[64];		/* when, ms */
static unsigned ntried;
static size_t left_at_wait;
static void (*inside)(void);		/* called from `listening` */

static void
tell(char c)
{
	size_t n = strlen(trace);

	cr_assert(n + 1 < sizeof(trace));
	trace[n] = c;
}

static void
on_listening(struct dgram_socket *s, void *arg)
{
	(void)s, (void)arg;
	tell('L');
	if (inside != NULL)
		inside();
}

static void
on_connect(struct dgram_socket *s, void *arg)
{
	(void)s, (void)arg;
	tell('C');
}

static void
on_error(struct dgram_socket *s, const struct dgram_error *e, void *arg)
{
	(void)s, (void)e, (void)arg;
	tell('E');
}

static void
on_message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	(void)n, (void)arg;
	tell('M');
	cr_assert_eq(dgram_reply(s, m, "r", 1), 0);
}

/* The argument is a letter. */
static void
on_done(struct dgram_socket *s, int status, void *arg)
{
	(void)s, (void)status;
	tell((char)(uintptr_t)arg);
}

/* Sends of AF_UNIX that are not taken, connects that find nobody. */
static void
on_event(struct sim *network, struct sim_event *e)
{
	if (e->what == SIM_WAIT)
		left_at_wait = dgram_get_send_queue_count(from);
	if (e->what == SIM_CONNECTED ? e->result < 0 :
	    e->what == SIM_SENT && (e->result == -EAGAIN ||
	    e->result == -ENOBUFS)) {
		cr_assert(ntried < 64);
		tried[ntried++] = network->now / MS;
	}
}

static void
open_receiver(int i)
{
	to[i] = os->socket(os, AF_UNIX, SOCK_DGRAM, 0);
	cr_assert_eq(dgram_addr_unix(&at[i], i == 0 ? "/a" : "/b"), 0);
	cr_assert_eq(os->bind(os, to[i], &at[i].u.sa, at[i].len), 0);
}

static void
close_receiver(int i)
{
	cr_assert_eq(os->close(os, to[i]), 0);
	sim_remove_file(&sim, i == 0 ? "/a" : "/b");
}

static void
begin(bool reconnect, unsigned budget)
{
	static const struct dgram_events events = { .listening = on_listening,
		.connect = on_connect, .error = on_error,
		.message = on_message };
	struct dgram_options o = { .type = DGRAM_UNIX, .events = &events,
	    .reconnect = reconnect };
	struct dgram_loop_options lo = { .budget = budget };

	enter();
	sim.now = BEGIN * MS;
	sim.config.recv_packets = 1;
	memset(trace, 0, sizeof(trace));
	ntried = 0;
	inside = NULL;
	cr_assert_eq(dgi_loop_new(&lo, os, &sim.poller, &loop), 0);
	cr_assert_eq(dgram_open(loop, &o, &from), 0);
	cr_assert_eq(dgram_bind_path(from, "/from", 0), 0);
	sim.observe = on_event;
	open_receiver(0);
	open_receiver(1);
}

static void
end(void)
{
	sim.observe = NULL;
	cr_assert_eq(dgram_loop_free(loop), 0);
	cr_assert(sim.misuse == NULL);
	sim_done(&sim);
}

/* dest: NULL, the peer; name: of the completion, 0: without. */
static void
send_one(const struct dgram_addr *dest, char name)
{
	struct iovec iov = { byte, 1 };

	cr_assert_eq(dgram_send_addr(from, &iov, 1, dest, name == 0 ? NULL :
	    on_done, (void *)(uintptr_t)name), 0);
}

/* Until this time, ms since the beginning. */
static void
run_to(uint64_t ms)
{
	uint64_t end_ns = (BEGIN + ms) * MS;

	while (sim.now < end_ns)
		cr_assert(dgram_loop_run_once(loop, 1) >= 0);
}

static void
check_tried(const uint64_t *ms, unsigned n)
{
	unsigned i;

	for (i = 0; i < n && i < ntried; i++)
		cr_assert(tried[i] == BEGIN + ms[i], "%u: %" PRIu64 ", not %"
		    PRIu64, i, tried[i] - BEGIN, ms[i]);
	cr_assert_eq(ntried, n);
}

/* Only the deadline of the first of an array ends it while it waits apart. */
TEST(line, deadline_within_an_array)
{
	struct iovec iov = { byte, 1 };
	struct dgram_datagram d[2] = { { .to = &at[0], .iov = &iov,
	    .iovcnt = 1 } };

	begin(false, 0);
	send_one(&at[0], 'a');
	d[1] = d[0];
	d[1].deadline_ns = dgram_loop_now(loop) + 20 * MS;
	cr_assert_eq(dgram_send_batch(from, d, 2, on_done, (void *)'b'), 0);
	run_to(22);
	cr_assert_eq(d[1].result, -ETIMEDOUT);
	cr_assert(strcmp(trace, "La") == 0, "%s", trace);
	end();
}

/* What went before the budget was used up is forgotten: twice as long again. */
TEST(line, progress_counts)
{
	static const uint64_t ms[] = { 0, 1, 2, 4, 8, 16, 32, 50, 100, 125 };
	int i;

	begin(false, 2);
	for (i = 0; i < 5; i++)
		send_one(&at[0], 0);
	run_to(60);
	cr_assert_eq(take(to[0]), 'x');
	run_to(130);
	check_tried(ms, 10);
	end();
}

/* Completions of one receiver are out of order when all is cut off. */
TEST(line, cut_off_in_order)
{
	begin(true, 0);
	sim.config.bsd_unix = true;
	cr_assert_eq(dgram_connect_addr(from, &at[0]), 0);
	send_one(NULL, 'a');
	send_one(NULL, 'b');
	run_to(1);
	close_receiver(0);
	run_to(3);
	send_one(NULL, 'c');
	cr_assert_eq(dgram_disconnect(from), 0);
	run_to(4);
	cr_assert(strcmp(trace, "LCaEbc") == 0, "%s", trace);
	end();
}

/* What was blocked for the peer is not for others, nor for the next. */
TEST(line, disconnect_unblocks)
{
	static const uint64_t ms[] = { 0, 1, 3, 7, 10, 11 };

	begin(true, 0);
	cr_assert_eq(dgram_connect_addr(from, &at[0]), 0);
	send_one(NULL, 0);
	send_one(NULL, 0);
	run_to(1);
	cr_assert_eq(dgram_disconnect(from), 0);
	send_one(&at[1], 0);
	left_at_wait = 9;
	/* The first tells of what has failed, and does not wait. */
	cr_assert(dgram_loop_run_once(loop, 0) >= 0);
	cr_assert(dgram_loop_run_once(loop, 0) >= 0);
	cr_assert_eq(left_at_wait, 0);
	end();
	begin(true, 0);
	cr_assert_eq(dgram_connect_addr(from, &at[0]), 0);
	close_receiver(0);
	send_one(NULL, 0);
	run_to(9);
	cr_assert_eq(dgram_disconnect(from), 0);
	ntried = 4;
	cr_assert_eq(dgram_connect_addr(from, &at[1]), 0);
	close_receiver(1);
	run_to(10);
	send_one(NULL, 0);
	run_to(12);
	check_tried(ms, 6);
	end();
}

/* A deadline, or what others take, begins the back-off of a lost peer anew. */
TEST(line, back_off_of_a_lost_peer)
{
	static const uint64_t ms[] = { 0, 1, 3, 7, 15, 31 };
	struct iovec iov = { byte, 1 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1 };
	unsigned i, k;

	begin(true, 0);
	send_one(&at[1], 0);
	send_one(&at[1], 'b');
	run_to(0);
	cr_assert_eq(dgram_flush(from), 1);
	cr_assert_eq(dgram_connect_addr(from, &at[0]), 0);
	close_receiver(0);
	ntried = 0;
	d.deadline_ns = dgram_loop_now(loop) + 9 * MS;
	cr_assert_eq(dgram_send_batch(from, &d, 1, NULL, NULL), 0);
	send_one(NULL, 0);
	run_to(11);
	cr_assert_eq(take(to[1]), 'x');
	run_to(34);
	cr_assert(strchr(trace, 'b') != NULL);
	/* Without those of the other. */
	for (i = k = 0; i < ntried; i++) {
		if (k < 6 && tried[i] == BEGIN + ms[k])
			k++;
	}
	cr_assert_eq(k, 6);
	cr_assert(ntried <= 6 + 4, "%u tries", ntried);
	end();
}

static void
lose_and_find(void)
{
	struct iovec iov = { byte, 1 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1 };

	inside = NULL;
	close_receiver(0);
	open_receiver(0);
	cr_assert_eq(dgram_try_send(from, &d, 1), 1);
}

/* `connect` of a peer that is lost by then; or in front of why it is. */
TEST(line, lost_before_it_was_told)
{
	begin(true, 0);
	cr_assert_eq(dgram_connect_addr(from, &at[0]), 0);
	close_receiver(0);
	send_one(NULL, 'a');
	cr_assert_eq(dgram_flush(from), 1);
	run_to(2);
	cr_assert(strcmp(trace, "LE") == 0, "%s", trace);
	open_receiver(0);
	run_to(10);
	cr_assert(strcmp(trace, "LECa") == 0, "%s", trace);
	end();
	begin(true, 0);
	cr_assert_eq(dgram_connect_addr(from, &at[0]), 0);
	inside = lose_and_find;
	run_to(2);
	cr_assert(strcmp(trace, "LEC") == 0, "%s", trace);
	end();
}

/* It was found by dgram_try_send(), and the queue still waits for it. */
TEST(line, found_by_try_send)
{
	struct iovec iov = { byte, 1 };
	struct dgram_datagram d = { .iov = &iov, .iovcnt = 1 };

	begin(true, 0);
	cr_assert_eq(dgram_connect_addr(from, &at[0]), 0);
	close_receiver(0);
	d.deadline_ns = dgram_loop_now(loop) + 900 * MS;
	cr_assert_eq(dgram_send_batch(from, &d, 1, NULL, NULL), 0);
	run_to(910);
	cr_assert_eq(dgram_get_send_queue_count(from), 0);
	open_receiver(0);
	d.deadline_ns = 0;
	cr_assert_eq(dgram_try_send(from, &d, 1), 1);
	cr_assert_eq(take(to[0]), 'x');
	send_one(NULL, 'a');
	run_to(912);
	cr_assert_eq(take(to[0]), 'x');
	end();
}

/* A reply to a peer that has gone is only counted, and not the one `error`. */
TEST(line, reply_is_not_the_error)
{
	begin(false, 0);
	cr_assert_eq(dgram_connect_addr(from, &at[0]), 0);
	run_to(1);
	cr_assert_eq(dgram_addr_unix(&at[1], "/from"), 0);
	cr_assert_eq(send_to(to[0], 'q', &at[1]), 1);
	close_receiver(0);
	run_to(2);
	send_one(NULL, 0);
	send_one(NULL, 0);
	run_to(3);
	cr_assert(strcmp(trace, "LCME") == 0, "%s", trace);
	end();
}

/* A line that is served, one by one, and the queue stands still meanwhile. */
TEST(line, budget_of_one)
{
	int i;

	begin(false, 1);
	for (i = 0; i < 30; i++)
		send_one(&at[0], 0);
	run_to(20);
	sim.config.recv_packets = 100;
	run_to(32);
	cr_assert(dgram_loop_run_once(loop, 0) >= 0);
	cr_assert(sim_socket(&sim, to[0])->packets > 1);
	send_one(&at[1], 0);
	for (i = 0; i < 3; i++)
		cr_assert(dgram_loop_run_once(loop, 0) >= 0);
	cr_assert(sim_socket(&sim, to[0])->packets < 10);
	cr_assert_eq(sim_socket(&sim, to[1])->packets, 1);
	end();
}
