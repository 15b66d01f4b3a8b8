/* SPDX-License-Identifier: ISC */

/*
 * One path of the library for a counter of instructions: instr row datagrams
 *
 * Only measured() is to be counted (instructions.sh says so to callgrind):
 * what fills a queue before it is not the library's.  Prints datagrams and
 * system calls of the measured part: receives and sends by the library's own
 * ledger, and one wait for each turn of the loop.
 */

#define _GNU_SOURCE 1

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dgram.h"
#include "raw.h"

/* 64 bytes each: as many as the receive buffer of any system can hold. */
#define FILL	512
#define SIZE	64
#define BATCH	32

struct bench {
	struct dgram_loop *loop;
	struct dgram_socket *socket;
	struct dgram_addr here, there;
	struct raw_sum sum;
	struct iovec iov[BATCH];
	struct dgram_datagram datagram[BATCH];
	char data[BATCH][SIZE];
	uint64_t turns;
	size_t done;		/* datagrams completed */
	int peer;
};

struct row {
	const char *name;
	bool fill, echo;
	void (*run)(struct bench *, size_t);
};

static void
check(int r, const char *what)
{
	if (r < 0)
		errx(1, "%s: %s", what, dgram_strerror(r));
}

static void
message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	struct bench *b = arg;
	const struct dgram_message *end = m + n;

	(void)s;
	for (; m < end; m++)
		raw_work(&b->sum, m->data, m->size, &m->remote->u.sa,
		    m->remote->len, (m->flags & DGRAM_TRUNCATED) != 0);
	b->done += n;
}

static void
question(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	size_t i;

	message(s, m, n, arg);
	for (i = 0; i < n; i++)
		(void)dgram_reply(s, &m[i], m[i].data, m[i].size);
}

static void
sent_one(struct dgram_socket *s, int status, void *arg)
{
	struct bench *b = arg;

	(void)s;
	check(status, "send");
	b->done++;
}

static void
sent_batch(struct dgram_socket *s, int status, void *arg)
{
	struct bench *b = arg;

	(void)s;
	check(status, "send");
	b->done += (size_t)status;
}

static void
turn(struct bench *b)
{
	check(dgram_loop_run_once(b->loop, 0), "run");
	b->turns++;
}

/* Turns of the loop until `done` datagrams are through. */
static void
until(struct bench *b, size_t done)
{
	while (b->done < done)
		turn(b);
}

static void
run_loop(struct bench *b, size_t n)
{
	until(b, b->done + n);
}

static void
run_batch(struct bench *b, size_t n)
{
	size_t end = b->done + n, i;

	while (b->done < end) {
		for (i = 0; i < BATCH; i++)
			raw_stamp(b->data[i], b->done);
		check(dgram_send_batch(b->socket, b->datagram, BATCH,
		    sent_batch, b), "send");
		until(b, b->done + BATCH);
	}
}

static void
send_some(struct bench *b, size_t n, size_t each, dgram_done_fn *fn)
{
	struct iovec *v;
	size_t i;

	for (i = 0; i < n; i += each) {
		for (v = b->iov; v < b->iov + each; v++) {
			raw_stamp(v->iov_base, i);
			check(dgram_send_addr(b->socket, v, 1, &b->there, fn,
			    b), "send");
		}
		if (fn != NULL) {
			until(b, b->done + each);
			continue;
		}
		do {
			turn(b);
		} while (dgram_get_send_queue_count(b->socket) > 0);
		b->done += each;
	}
}

static void
run_queued(struct bench *b, size_t n)
{
	send_some(b, n, BATCH, sent_one);
}

static int
nothing(struct dgram_socket *s, const struct iovec *iov, int iovcnt,
    const struct dgram_addr *to, dgram_done_fn *fn, void *arg)
{
	(void)s, (void)iov, (void)iovcnt, (void)to, (void)fn, (void)arg;
	return 0;
}

/* What run_queued() does beside the library: the loop and the callback. */
static void
run_alone(struct bench *b, size_t n)
{
	int (*volatile call)(struct dgram_socket *, const struct iovec *, int,
	    const struct dgram_addr *, dgram_done_fn *, void *) = nothing;
	dgram_done_fn *volatile fn = sent_one;
	struct iovec *v;
	size_t i;
	int k;

	for (i = 0; i < n; i += BATCH) {
		for (v = b->iov; v < b->iov + BATCH; v++) {
			raw_stamp(v->iov_base, i);
			check(call(b->socket, v, 1, &b->there, fn, b), "send");
		}
		for (k = 0; k < BATCH; k++)
			fn(b->socket, 0, b);
	}
}

static void
run_single(struct bench *b, size_t n)
{
	send_some(b, n, 1, sent_one);
}

/* Without completion: copied if they wait. */
static void
run_copied(struct bench *b, size_t n)
{
	send_some(b, n, BATCH, NULL);
}

static void
run_try(struct bench *b, size_t n)
{
	struct dgram_datagram *d;
	size_t i;

	for (i = 0; i < n; i++) {
		d = &b->datagram[i % BATCH];
		raw_stamp(d->iov->iov_base, i);
		check(dgram_try_send(b->socket, d, 1), "send");
	}
	b->done += n;
}

static const struct row rows[] = {
	{ "drain", true, false, run_loop },
	{ "echo", true, true, run_loop },
	{ "batch", false, false, run_batch },
	{ "queued", false, false, run_queued },
	{ "alone", false, false, run_alone },
	{ "single", false, false, run_single },
	{ "copied", false, false, run_copied },
	{ "try", false, false, run_try },
};

static void
measured(const struct row *row, struct bench *b, size_t n)
{
	size_t before = b->done;

	row->run(b, n);
	if (b->done - before != n)
		errx(1, "%s: %zu of %zu datagrams", row->name,
		    b->done - before, n);
}

/* Never inlined or cloned: a counter has to find it by name. */
static void (*volatile measure)(const struct row *, struct bench *, size_t) =
    measured;

/* The other end: a socket that nobody reads; the kernel drops what is more. */
static void
open_peer(struct bench *b)
{
	check(dgram_addr_parse(&b->there, "127.0.0.1", 0), "address");
	b->peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (b->peer < 0 || bind(b->peer, &b->there.u.sa, b->there.len) < 0 ||
	    getsockname(b->peer, &b->there.u.sa, &b->there.len) < 0)
		err(1, "peer");
}

static void
open_socket(struct bench *b, bool echo)
{
	struct dgram_events events = { .message = echo ? question : message };
	struct dgram_options o = { .type = DGRAM_UDP4, .events = &events,
	    .recv_buffer_size = 1024 * 1024, .arg = b };

	check(dgram_loop_new(NULL, &b->loop), "loop");
	check(dgram_open(b->loop, &o, &b->socket), "open");
	check(dgram_addr_parse(&b->here, "127.0.0.1", 0), "address");
	check(dgram_bind_addr(b->socket, &b->here), "bind");
	check(dgram_address(b->socket, &b->here), "address");
	check(dgram_loop_run_once(b->loop, 0), "run");
}

static void
prepare(struct bench *b)
{
	size_t i;

	for (i = 0; i < BATCH; i++) {
		b->iov[i].iov_base = b->data[i];
		b->iov[i].iov_len = SIZE;
		b->datagram[i].iov = &b->iov[i];
		b->datagram[i].iovcnt = 1;
		b->datagram[i].to = &b->there;
	}
}

static void
fill(struct bench *b)
{
	size_t i;

	for (i = 0; i < FILL; i++)
		if (sendto(b->peer, b->data[0], SIZE, 0, &b->here.u.sa,
		    b->here.len) < 0)
			err(1, "cannot fill the queue");
}

static void
run(const struct row *row, size_t n)
{
	static struct bench b;
	struct dgram_stats st = { .size = sizeof(st) };
	size_t done;

	open_peer(&b);
	open_socket(&b, row->echo);
	prepare(&b);
	for (done = 0; done < n; done += FILL) {
		if (row->fill)
			fill(&b);
		measure(row, &b, FILL);
	}
	check(dgram_get_stats(b.socket, &st), "stats");
	printf("%zu %llu\n", done, (unsigned long long)(st.receive_calls +
	    st.send_calls + b.turns));
	check(dgram_loop_free(b.loop), "free");
	(void)close(b.peer);
}

int
main(int argc, char **argv)
{
	size_t i;

	if (argc != 3)
		errx(1, "usage: instr row datagrams");
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].name, argv[1]) == 0) {
			run(&rows[i], (size_t)strtoul(argv[2], NULL, 10));
			return 0;
		}
	errx(1, "%s: no such row", argv[1]);
}
