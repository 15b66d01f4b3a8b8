/* SPDX-License-Identifier: ISC */

/*
 * Datagrams per CPU time, as ratios to bare system calls: pps [rounds [words]]
 *
 * Theory of operation.  A table is a set of ways (rows) to do one job: drain a
 * full queue, send into an empty one, echo, read many sockets.  Every row has
 * a lane of its own: sockets, a peer, and a loop if it is a row of the library.
 * A pass is: bring the lane into its first state (not timed), run the row
 * (timed, CPU time of this thread), clean up (not timed).  In a round each row
 * runs once, in a new random order; its ratio is taken to the row it is judged
 * by in the same round.  Printed are medians and quartiles over the rounds.
 *
 * A fixed order would be wrong by up to 10 %: a row inherits caches and slabs
 * from the one before it.
 *
 * Nothing here fails for being slow.  With words, only tables whose titles
 * hold them all are run.
 */

#define _GNU_SOURCE 1

#include <err.h>
#include <errno.h>

#include "dgram.h"
#include "measure.h"
#include "raw.h"

#define PACKETS	1024	/* in a queue */
#define ENOUGH	4096	/* per row and round, at least */
#define SOCKETS	64
#define ROWS	6
#define ROUNDS	1000	/* at most */
#define WARM_NS	300000000	/* of rounds of which nothing is kept */

enum job { DRAIN, SEND, ECHO, FAN };

/* Bits of row.how. */
#define LIB		0x01u	/* a row of the library */
#define NO_REMOTE	0x02u
#define ONE		0x04u	/* one message per call */
#define REPLY		0x08u
#define CONNECTED	0x10u
#define QUIET		0x20u	/* a turn without datagrams before each pass */

struct lane;

struct row {
	const char *name;
	size_t (*run)(struct lane *, size_t);	/* how many it did */
	unsigned how;
	unsigned base;		/* the row that it is judged by */
	double gate;		/* at most this ratio; 0: not judged */
};

struct table {
	const char *title;
	enum job job;
	enum raw_kind kind;
	size_t size;		/* bytes */
	size_t sockets, each;	/* datagrams in each socket at the start */
	const struct row *rows;
	size_t nrows;
};

struct lane {
	const struct table *table;
	const struct row *row;
	int fd[SOCKETS];	/* bare rows */
	struct raw_addr addr[SOCKETS];	/* of the sockets under test */
	int ep;
	int peer;
	struct raw_addr peer_addr;
	struct raw_in in, sink;
	struct raw_out out, fill;
	/* Rows of the library. */
	struct dgram_loop *loop;
	struct dgram_socket *socket[SOCKETS];
	struct dgram_addr to;
	struct dgram_datagram datagram[RAW_BATCH];
	struct raw_sum sum;
	size_t done;		/* datagrams received or completed */
	size_t batch;		/* of the batch that is under way */
	size_t lost;		/* in all rounds */
	double ns[ROUNDS], ratio[ROUNDS], judged[ROUNDS];
};

static double clock_cost;

static void
check(int r, const char *what)
{
	if (r < 0)
		errx(1, "%s: %s", what, dgram_strerror(r));
}

/* ---- bare rows ---- */

static size_t
run_recvmmsg(struct lane *l, size_t n)
{
	return raw_recvmmsg(&l->in, l->fd[0], n);
}

static size_t
run_recvfrom(struct lane *l, size_t n)
{
	return raw_recvfrom(&l->in, l->fd[0], n);
}

static size_t
run_sendmmsg(struct lane *l, size_t n)
{
	return raw_sendmmsg(&l->out, l->fd[0], n);
}

static size_t
run_sendto(struct lane *l, size_t n)
{
	return raw_sendto(&l->out, l->fd[0], n);
}

static size_t
run_send(struct lane *l, size_t n)
{
	return raw_send(&l->out, l->fd[0], n);
}

static size_t
run_echo_each(struct lane *l, size_t n)
{
	return raw_echo_each(&l->in, l->fd[0], n);
}

static size_t
run_echo_mmsg(struct lane *l, size_t n)
{
	return raw_echo_mmsg(&l->in, l->fd[0], n);
}

static size_t
run_epoll(struct lane *l, size_t n)
{
	return raw_epoll(&l->in, l->ep, n);
}

/* ---- rows of the library ---- */

static void
message(struct dgram_socket *s, const struct dgram_message *m, size_t n,
    void *arg)
{
	struct lane *l = arg;
	const struct dgram_addr *a;
	size_t i;

	for (i = 0; i < n; i++) {
		a = m[i].remote;
		raw_work(&l->sum, m[i].data, m[i].size,
		    a != NULL ? &a->u.sa : NULL, a != NULL ? a->len : 0,
		    (m[i].flags & DGRAM_TRUNCATED) != 0);
	}
	if (l->row->how & REPLY)
		for (i = 0; i < n; i++)
			(void)dgram_reply(s, &m[i], m[i].data, m[i].size);
	l->done += n;
}

static void
sent_one(struct dgram_socket *s, int status, void *arg)
{
	struct lane *l = arg;

	(void)s;
	l->done++;
	l->lost += status < 0;
}

static void
sent_batch(struct dgram_socket *s, int status, void *arg)
{
	struct lane *l = arg;

	(void)s;
	l->done += l->batch;
	l->lost += l->batch - (size_t)(status < 0 ? 0 : status);
}

/* Turns of the loop until `end` datagrams are through, or nothing moves. */
static void
until(struct lane *l, size_t end)
{
	size_t before = l->done, still = 0;

	while (l->done < end && still < 1000) {
		check(dgram_loop_run_once(l->loop, 0), "run");
		still = l->done == before ? still + 1 : 0;
		before = l->done;
	}
}

static size_t
run_loop(struct lane *l, size_t n)
{
	size_t begin = l->done;

	until(l, begin + n);
	return l->done - begin;
}

static size_t
run_batch(struct lane *l, size_t n)
{
	size_t begin = l->done, sent, i;

	for (sent = 0; sent < n; sent += l->batch) {
		l->batch = n - sent < RAW_BATCH ? n - sent : RAW_BATCH;
		for (i = 0; i < l->batch; i++)
			raw_stamp(l->out.data[i], sent);
		check(dgram_send_batch(l->socket[0], l->datagram, l->batch,
		    sent_batch, l), "send");
		until(l, begin + sent + l->batch);
	}
	return l->done - begin;
}

static size_t
send_some(struct lane *l, size_t n, size_t each)
{
	const struct iovec *v;
	size_t begin = l->done, sent, i;

	for (sent = 0; sent < n; sent += each) {
		each = each < n - sent ? each : n - sent;
		for (i = 0; i < each; i++) {
			v = &l->out.iov[(sent + i) % RAW_BATCH];
			raw_stamp(v->iov_base, sent);
			check(dgram_send_addr(l->socket[0], v, 1, &l->to,
			    sent_one, l), "send");
		}
		until(l, begin + sent + each);
	}
	return l->done - begin;
}

static size_t
run_queued(struct lane *l, size_t n)
{
	return send_some(l, n, RAW_BATCH);
}

static size_t
run_single(struct lane *l, size_t n)
{
	return send_some(l, n, 1);
}

static size_t
run_try(struct lane *l, size_t n)
{
	struct dgram_datagram *d;
	size_t i;

	for (i = 0; i < n; i++) {
		d = &l->datagram[i % RAW_BATCH];
		raw_stamp(d->iov->iov_base, i);
		if (dgram_try_send(l->socket[0], d, 1) != 1)
			break;
	}
	return i;
}

/* ---- tables ---- */

static const struct row drain_rows[] = {
	{ "raw recvmmsg 32", run_recvmmsg, 0, 0, 0 },
	{ "raw recvfrom", run_recvfrom, 0, 0, 0 },
	{ "libdgram", run_loop, LIB, 0, 1.03 },
	{ "libdgram, NO_REMOTE", run_loop, LIB | NO_REMOTE, 0, 0.94 },
	{ "libdgram, messages_per_call 1", run_loop, LIB | ONE, 0, 0 },
};

static const struct row send_rows[] = {
	{ "raw sendmmsg 32", run_sendmmsg, 0, 0, 0 },
	{ "raw sendto", run_sendto, 0, 0, 0 },
	{ "libdgram batch of 32", run_batch, LIB, 0, 1.02 },
	{ "libdgram queued, 32 in flight", run_queued, LIB, 0, 0 },
	{ "libdgram queued, one at a time", run_single, LIB, 1, 1.09 },
	{ "libdgram try_send, one", run_try, LIB, 1, 1.02 },
};

static const struct row connected_rows[] = {
	{ "raw sendmmsg 32", run_sendmmsg, CONNECTED, 0, 0 },
	{ "raw send", run_send, CONNECTED, 0, 0 },
	{ "libdgram batch of 32", run_batch, LIB | CONNECTED, 0, 1.02 },
	{ "libdgram try_send, one", run_try, LIB | CONNECTED, 1, 1.02 },
};

static const struct row echo_rows[] = {
	{ "raw recvfrom, sendto", run_echo_each, 0, 0, 0 },
	{ "raw recvmmsg, sendmmsg 32", run_echo_mmsg, 0, 0, 0 },
	{ "libdgram reply", run_loop, LIB | REPLY, 0, 1.02 },
};

static const struct row fan_rows[] = {
	{ "raw epoll, recvfrom once", run_epoll, 0, 0, 0 },
	{ "libdgram, ready in every wait", run_loop, LIB, 0, 1.08 },
	{ "libdgram, quiet in between", run_loop, LIB | QUIET, 0, 1.08 },
};

static const struct row fan16_rows[] = {
	{ "raw epoll, recvfrom once", run_epoll, 0, 0, 0 },
	{ "libdgram", run_loop, LIB, 0, 0.95 },
};

#define ROWS_OF(a)	a, sizeof(a) / sizeof((a)[0])

static const struct table tables[] = {
	{ "drain udp4 64", DRAIN, RAW_UDP4, 64, 1, PACKETS,
	    ROWS_OF(drain_rows) },
	{ "drain udp4 1200", DRAIN, RAW_UDP4, 1200, 1, PACKETS,
	    ROWS_OF(drain_rows) },
	{ "drain udp6 64", DRAIN, RAW_UDP6, 64, 1, PACKETS,
	    ROWS_OF(drain_rows) },
	{ "drain unix 64", DRAIN, RAW_UNIX, 64, 1, PACKETS,
	    ROWS_OF(drain_rows) },
	{ "send udp4 64", SEND, RAW_UDP4, 64, 1, PACKETS,
	    ROWS_OF(send_rows) },
	{ "send udp4 1200", SEND, RAW_UDP4, 1200, 1, PACKETS,
	    ROWS_OF(send_rows) },
	{ "send udp6 64", SEND, RAW_UDP6, 64, 1, PACKETS,
	    ROWS_OF(send_rows) },
	{ "send unix 64", SEND, RAW_UNIX, 64, 1, PACKETS,
	    ROWS_OF(send_rows) },
	{ "send connected udp4 64", SEND, RAW_UDP4, 64, 1, PACKETS,
	    ROWS_OF(connected_rows) },
	{ "echo udp4 64, 64 in flight", ECHO, RAW_UDP4, 64, 1, 64,
	    ROWS_OF(echo_rows) },
	{ "fan udp4 64, 64 sockets x 1", FAN, RAW_UDP4, 64, 64, 1,
	    ROWS_OF(fan_rows) },
	{ "fan udp4 64, 64 sockets x 16", FAN, RAW_UDP4, 64, 64, 16,
	    ROWS_OF(fan16_rows) },
	{ "wake-up udp4 64, 1 socket x 1", FAN, RAW_UDP4, 64, 1, 1,
	    ROWS_OF(fan_rows) },
};

/* ---- lanes ---- */

static int
configure(int fd, void *arg)
{
	(void)arg;
	(void)raw_buffers(fd);
	return 0;
}

static void
to_dgram(struct dgram_addr *d, const struct raw_addr *a)
{
	memset(d, 0, sizeof(*d));
	memcpy(&d->u, &a->u, a->len);
	d->len = a->len;
}

/* Where to bind: a name of our own if AF_UNIX, whose autobind is not asked. */
static void
local_addr(enum raw_kind kind, struct dgram_addr *d)
{
	static unsigned count;
	struct raw_addr any;
	char name[64];
	int n;

	raw_addr_any(kind, &any);
	to_dgram(d, &any);
	if (kind != RAW_UNIX)
		return;
	n = snprintf(name, sizeof(name), "dgram-bench-%ld-%u", (long)getpid(),
	    count++);
	check(dgram_addr_abstract(d, name, (size_t)n), "address");
}

static void
open_lib(struct lane *l, size_t i)
{
	static const enum dgram_type types[] = { DGRAM_UDP4, DGRAM_UDP6,
	    DGRAM_UNIX };
	static const struct dgram_events events = { .message = message };
	struct dgram_options o = { .type = types[l->table->kind],
	    .configure = configure, .events = &events, .arg = l };
	struct dgram_addr a;

	if (l->row->how & ONE)
		o.messages_per_call = 1;
	if (l->row->how & NO_REMOTE)
		o.want = DGRAM_NO_REMOTE;
	check(dgram_open(l->loop, &o, &l->socket[i]), "open");
	local_addr(l->table->kind, &a);
	check(dgram_bind_addr(l->socket[i], &a), "bind");
	check(dgram_address(l->socket[i], &a), "address");
	memcpy(&l->addr[i].u, &a.u, a.len);
	l->addr[i].len = a.len;
	if (l->row->how & CONNECTED)
		check(dgram_connect_addr(l->socket[i], &l->to), "connect");
}

static void
open_raw(struct lane *l, size_t i)
{
	l->fd[i] = raw_socket(l->table->kind, &l->addr[i]);
	check(l->fd[i], "socket");
	if (l->row->how & CONNECTED && connect(l->fd[i],
	    &l->peer_addr.u.sa, l->peer_addr.len) < 0)
		err(1, "connect");
}

static void
open_lane(struct lane *l, const struct table *t, const struct row *row)
{
	const struct raw_addr *to;
	size_t i;

	memset(l, 0, sizeof(*l));
	l->table = t;
	l->row = row;
	l->ep = -1;
	l->peer = raw_socket(t->kind, &l->peer_addr);
	check(l->peer, "socket");
	to_dgram(&l->to, &l->peer_addr);
	to = row->how & CONNECTED ? NULL : &l->peer_addr;
	raw_in_init(&l->in);
	raw_in_init(&l->sink);
	raw_out_init(&l->out, to, t->size);
	for (i = 0; i < RAW_BATCH; i++) {
		l->datagram[i].iov = &l->out.iov[i];
		l->datagram[i].iovcnt = 1;
		l->datagram[i].to = to != NULL ? &l->to : NULL;
	}
	if (row->how & LIB)
		check(dgram_loop_new(NULL, &l->loop), "loop");
	for (i = 0; i < t->sockets; i++)
		if (row->how & LIB)
			open_lib(l, i);
		else
			open_raw(l, i);
	raw_out_init(&l->fill, &l->addr[0], t->size);
	if (row->how & LIB) {
		check(dgram_loop_run_once(l->loop, 0), "run");
	} else {
		l->ep = raw_epoll_new(l->fd, t->sockets);
		check(l->ep, "epoll");
	}
}

static void
close_lane(struct lane *l)
{
	size_t i;

	(void)close(l->peer);
	if (l->row->how & LIB) {
		check(dgram_loop_free(l->loop), "free");
		return;
	}
	for (i = 0; i < l->table->sockets; i++)
		(void)close(l->fd[i]);
	(void)close(l->ep);
}

/* ---- measuring ---- */

/* Fills the queues of the sockets under test. */
static void
fill(struct lane *l, size_t each)
{
	size_t i;

	for (i = 0; i < l->table->sockets; i++) {
		l->fill.to = l->addr[i];
		if (raw_sendmmsg(&l->fill, l->peer, each) != each)
			err(1, "cannot fill the queue");
	}
}

/*
 * One row once: at least ENOUGH datagrams, `each` per socket and pass.  CPU
 * ns per datagram.
 */
static double
measure(struct lane *l, size_t each)
{
	size_t n = l->table->sockets * each, all = 0, did;
	double ns = 0;
	uint64_t begin;

	while (all < ENOUGH) {
		if (l->row->how & QUIET)
			check(dgram_loop_run_once(l->loop, 0), "run");
		if (l->table->job != SEND)
			fill(l, each);
		begin = measure_now();
		did = l->row->run(l, n);
		ns += (double)(measure_now() - begin) - clock_cost;
		if (did < n)
			l->lost += n - did;
		while (raw_recvmmsg(&l->sink, l->peer, SIZE_MAX) > 0)
			continue;
		all += n;
	}
	return ns / (double)all;
}

/* How many datagrams to put into one queue. */
static size_t
fitting(const struct table *t, const struct lane *l)
{
	size_t room;

	room = measure_room(l->peer, t->kind == RAW_UNIX, t->size);
	if (room >= t->each)
		return t->each;
	return room > RAW_BATCH ? room / RAW_BATCH * RAW_BATCH : room;
}

static void
print_row(struct lane *l, const struct table *t, size_t rounds)
{
	const struct row *row = l->row;
	struct measure_quartiles r, j;
	double ns;

	ns = measure_quartiles(l->ns, rounds).median;
	r = measure_quartiles(l->ratio, rounds);
	j = measure_quartiles(l->judged, rounds);
	printf("  %-31s %6.0f %6.2f  %.2f-%.2f", row->name, ns, r.median, r.q1,
	    r.q3);
	if (l->lost > 0)
		printf("  %zu LOST", l->lost);
	else if (row->gate > 0 && row->base == 0)
		printf("  <= %.2f %s", row->gate,
		    j.median <= row->gate ? "ok" : "above");
	else if (row->gate > 0)
		printf("  %.2f of %s, <= %.2f %s", j.median,
		    t->rows[row->base].name, row->gate,
		    j.median <= row->gate ? "ok" : "above");
	printf("\n");
	(void)fflush(stdout);
}

static void
run_round(struct lane *lanes, const struct table *t, size_t each, size_t round)
{
	size_t order[ROWS], i;
	struct lane *l;

	measure_shuffle(order, t->nrows);
	for (i = 0; i < t->nrows; i++) {
		l = &lanes[order[i]];
		l->ns[round] = measure(l, each);
	}
}

static void
run_table(const struct table *t, size_t rounds)
{
	static struct lane lanes[ROWS];
	size_t each, round, i;
	uint64_t begin;
	struct lane *l;

	for (i = 0; i < t->nrows; i++)
		open_lane(&lanes[i], t, &t->rows[i]);
	each = fitting(t, &lanes[0]);
	/* Pages, caches and slabs first: early rounds differ by half. */
	begin = measure_now();
	do {
		run_round(lanes, t, each, 0);
	} while (measure_now() - begin < WARM_NS);
	for (round = 0; round < rounds; round++)
		run_round(lanes, t, each, round);
	printf("%s\n", t->title);
	if (each < t->each)
		printf("  only %zu of %zu datagrams fit a queue\n", each,
		    t->each);
	/* All ratios before print_row() sorts what they are made of. */
	for (i = 0; i < t->nrows; i++)
		for (round = 0; round < rounds; round++) {
			l = &lanes[i];
			l->ratio[round] = l->ns[round] / lanes[0].ns[round];
			l->judged[round] = l->ns[round] /
			    lanes[l->row->base].ns[round];
		}
	for (i = 0; i < t->nrows; i++) {
		print_row(&lanes[i], t, rounds);
		close_lane(&lanes[i]);
	}
}

int
main(int argc, char **argv)
{
	unsigned long rounds = 30;
	const char *network;
	size_t i;
	int cpu;

	if (argc > 1)
		rounds = strtoul(argv[1], NULL, 10);
	if (rounds < 1 || rounds > ROUNDS)
		errx(1, "usage: pps [rounds, 1 to %d [word ...]]", ROUNDS);
	network = measure_network();
	cpu = measure_pin();
	clock_cost = measure_clock_cost();
	printf("CPU ns per datagram, ratio to the first row (median and "
	    "quartiles of %lu rounds), gate\n", rounds);
	printf("%s, core %d, clock %.0f ns (taken off)\n", network, cpu,
	    clock_cost);
	for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (measure_wants(tables[i].title, argc > 2 ? argc - 2 : 0,
		    argv + 2))
			run_table(&tables[i], rounds);
	return 0;
}
