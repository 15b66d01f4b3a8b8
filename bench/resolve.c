/* SPDX-License-Identifier: ISC */

/*
 * Look-ups of names, as ratios to bare getaddrinfo(3): resolve [rounds [words]]
 *
 * Theory of operation.  As in pps.c: a table is a set of ways (rows) to do one
 * job, each row has a lane of its own and runs once in a round, in a new random
 * order, and its ratios are taken in the round.  Threads work here, so time is
 * that of the wall, no core is pinned, and the CPU time of the whole process
 * stands beside it.
 *
 * All names are "localhost", which the hosts file has and no network is asked
 * for.  It can be written in 512 ways: the file's names have no case, those of a
 * look-up in flight do, so 64 that differ are 64 calls of getaddrinfo(3).
 *
 * libuv takes part if pkg-config finds it, with the four threads of its pool
 * unless UV_THREADPOOL_SIZE says otherwise.
 */

#define _GNU_SOURCE 1

#include <err.h>
#include <netdb.h>
#include <pthread.h>

#ifdef BENCH_UV
#include <uv.h>
#endif

#include "dgram.h"
#include "measure.h"
#include "raw.h"

#define FLIGHT	64
#define ROWS	8
#define ROUNDS	1000	/* at most */
#define THREADS	4	/* at most */

struct lane;

struct row {
	const char *name;
	size_t (*run)(struct lane *, size_t);	/* how many went well */
	unsigned threads;
	unsigned beside;	/* a row to be compared with, too; 0: none */
};

enum names { DIFFERENT, SAME, LITERAL };

struct table {
	const char *title;
	enum names names;
	size_t n;		/* per row and round */
	const struct row *rows;
	size_t nrows;
};

struct took {
	double wall, cpu;	/* ns for one */
};

/* One of those in flight. */
struct slot {
	struct lane *lane;
	char name[16];
	struct iovec iov;
#ifdef BENCH_UV
	uv_getaddrinfo_t req;
#endif
};

struct lane {
	const struct row *row;
	struct slot slots[FLIGHT];
	struct dgram_loop *loop;
	struct dgram_socket *socket;
	struct dgram_addr to;
	struct raw_in sink;
	int peer;
	size_t left;		/* to be begun */
	size_t good;
	size_t lost;		/* in all rounds */
	struct took took[ROUNDS];
	double wall[ROUNDS], cpu[ROUNDS], ratio[ROUNDS], beside[ROUNDS];
};

static void
check(int r, const char *what)
{
	if (r < 0)
		errx(1, "%s: %s", what, dgram_strerror(r));
}

/* ---- bare getaddrinfo ---- */

static const struct addrinfo hints = { .ai_family = AF_INET,
    .ai_socktype = SOCK_DGRAM };

static bool
look_up(const char *name)
{
	struct addrinfo *list;

	if (getaddrinfo(name, NULL, &hints, &list) != 0)
		return false;
	freeaddrinfo(list);
	return true;
}

static size_t
run_in_place(struct lane *l, size_t n)
{
	size_t good = 0, i;

	for (i = 0; i < n; i++)
		good += look_up(l->slots[i % FLIGHT].name);
	return good;
}

struct share {
	pthread_t thread;
	struct lane *lane;
	size_t n, good;
};

static void *
work(void *arg)
{
	struct share *s = arg;

	s->good = run_in_place(s->lane, s->n);
	return NULL;
}

static size_t
run_threads(struct lane *l, size_t n)
{
	struct share s[THREADS];
	size_t good = 0;
	unsigned i;

	for (i = 0; i < l->row->threads; i++) {
		s[i].lane = l;
		s[i].n = n / l->row->threads;
		if (pthread_create(&s[i].thread, NULL, work, &s[i]) != 0)
			errx(1, "no thread");
	}
	for (i = 0; i < l->row->threads; i++) {
		(void)pthread_join(s[i].thread, NULL);
		good += s[i].good;
	}
	return good;
}

/* ---- libdgram ---- */

static void	on_answer(int, const struct dgram_addr *, size_t, void *);

static void
ask(struct slot *s)
{
	if (s->lane->left == 0)
		return;
	s->lane->left--;
	check(dgram_resolve(s->lane->loop, s->name, AF_INET, on_answer, s,
	    NULL), "resolve");
}

static void
on_answer(int status, const struct dgram_addr *addrs, size_t n, void *arg)
{
	struct slot *s = arg;

	(void)addrs, (void)n;
	s->lane->good += status == 0;
	ask(s);
}

static size_t
run_resolve(struct lane *l, size_t n)
{
	size_t i;

	l->left = n;
	l->good = 0;
	for (i = 0; i < FLIGHT; i++)
		ask(&l->slots[i]);
	check(dgram_loop_run(l->loop), "run");
	return l->good;
}

/* ---- libuv ---- */

#ifdef BENCH_UV
static void	on_uv(uv_getaddrinfo_t *, int, struct addrinfo *);

static void
ask_uv(struct slot *s)
{
	if (s->lane->left == 0)
		return;
	s->lane->left--;
	s->req.data = s;
	if (uv_getaddrinfo(uv_default_loop(), &s->req, on_uv, s->name, NULL,
	    &hints) != 0)
		errx(1, "uv_getaddrinfo");
}

static void
on_uv(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
	struct slot *s = req->data;

	s->lane->good += status == 0;
	uv_freeaddrinfo(list);
	ask_uv(s);
}

static size_t
run_uv(struct lane *l, size_t n)
{
	size_t i;

	l->left = n;
	l->good = 0;
	for (i = 0; i < FLIGHT; i++)
		ask_uv(&l->slots[i]);
	(void)uv_run(uv_default_loop(), UV_RUN_DEFAULT);
	return l->good;
}
#endif

/* ---- sending to a literal ---- */

static void
on_sent(struct dgram_socket *s, int status, void *arg)
{
	struct lane *l = arg;

	(void)s;
	l->left--;
	l->good += status >= 0;
}

static size_t
send_all(struct lane *l, size_t n, int (*one)(struct lane *, struct slot *))
{
	size_t i, k;

	l->good = 0;
	for (i = 0; i < n; i += RAW_BATCH) {
		l->left = RAW_BATCH;
		for (k = 0; k < RAW_BATCH; k++)
			check(one(l, &l->slots[k]), "send");
		while (l->left > 0)
			check(dgram_loop_run_once(l->loop, 0), "run");
	}
	return l->good;
}

static int
to_address(struct lane *l, struct slot *s)
{
	return dgram_send_addr(l->socket, &s->iov, 1, &l->to, on_sent, l);
}

static int
to_literal(struct lane *l, struct slot *s)
{
	return dgram_sendv(l->socket, &s->iov, 1, dgram_addr_port(&l->to),
	    s->name, on_sent, l);
}

static int
to_loopback(struct lane *l, struct slot *s)
{
	return dgram_sendv(l->socket, &s->iov, 1, dgram_addr_port(&l->to),
	    NULL, on_sent, l);
}

static size_t
run_to_address(struct lane *l, size_t n)
{
	return send_all(l, n, to_address);
}

static size_t
run_to_literal(struct lane *l, size_t n)
{
	return send_all(l, n, to_literal);
}

static size_t
run_to_loopback(struct lane *l, size_t n)
{
	return send_all(l, n, to_loopback);
}

/* ---- tables ---- */

static const struct row pool_rows[] = {
	{ "getaddrinfo in place", run_in_place, 0, 0 },
	{ "bare threads, 1", run_threads, 1, 0 },
	{ "bare threads, 2", run_threads, 2, 0 },
	{ "bare threads, 4", run_threads, 4, 0 },
	{ "libdgram, 1 thread", run_resolve, 1, 1 },
	{ "libdgram, 2 threads", run_resolve, 2, 2 },
	{ "libdgram, 4 threads", run_resolve, 4, 3 },
#ifdef BENCH_UV
	{ "libuv", run_uv, 0, 3 },
#endif
};

static const struct row same_rows[] = {
	{ "getaddrinfo in place", run_in_place, 0, 0 },
	{ "libdgram, 1 thread", run_resolve, 1, 0 },
	{ "libdgram, 2 threads", run_resolve, 2, 0 },
	{ "libdgram, 4 threads", run_resolve, 4, 0 },
#ifdef BENCH_UV
	{ "libuv", run_uv, 0, 0 },
#endif
};

static const struct row literal_rows[] = {
	{ "getaddrinfo in place", run_in_place, 0, 0 },
	{ "libdgram", run_resolve, 0, 0 },
#ifdef BENCH_UV
	{ "libuv", run_uv, 0, 0 },
#endif
};

static const struct row send_rows[] = {
	{ "dgram_send_addr", run_to_address, 0, 0 },
	{ "dgram_sendv, literal", run_to_literal, 0, 0 },
	{ "dgram_sendv, no address", run_to_loopback, 0, 0 },
};

#define ROWS_OF(a)	a, sizeof(a) / sizeof((a)[0])

static const struct table tables[] = {
	{ "64 names in flight, all different", DIFFERENT, 2048,
	    ROWS_OF(pool_rows) },
	{ "64 look-ups of one name in flight", SAME, 4096,
	    ROWS_OF(same_rows) },
	{ "64 look-ups of a literal in flight", LITERAL, 32768,
	    ROWS_OF(literal_rows) },
	{ "sends to a literal, 32 in flight", LITERAL, 1024,
	    ROWS_OF(send_rows) },
};

/* ---- lanes ---- */

static void
name_slot(struct slot *s, enum names names, size_t i)
{
	char *p;

	(void)strcpy(s->name, names == LITERAL ? "127.0.0.1" : "localhost");
	if (names != DIFFERENT)
		return;
	for (p = s->name; *p != '\0'; p++, i >>= 1)
		if (i & 1)
			*p -= 'a' - 'A';
}

static void
open_lane(struct lane *l, const struct table *t, const struct row *row)
{
	const struct dgram_loop_options o = { .resolver_threads = row->threads };
	const struct dgram_options so = { .type = DGRAM_UDP4 };
	struct raw_addr to;
	size_t i;

	memset(l, 0, sizeof(*l));
	l->row = row;
	for (i = 0; i < FLIGHT; i++) {
		l->slots[i].lane = l;
		name_slot(&l->slots[i], t->names, i);
		l->slots[i].iov.iov_base = l->slots[i].name;
		l->slots[i].iov.iov_len = sizeof(l->slots[i].name);
	}
	raw_in_init(&l->sink);
	l->peer = raw_socket(RAW_UDP4, &to);
	check(l->peer, "socket");
	memcpy(&l->to.u, &to.u, to.len);
	l->to.len = to.len;
	check(dgram_loop_new(&o, &l->loop), "loop");
	check(dgram_open(l->loop, &so, &l->socket), "open");
	/* It is bound by its first send, and is not what is waited for. */
	check(dgram_unref(l->socket), "unref");
}

static void
close_lane(struct lane *l)
{
	check(dgram_loop_free(l->loop), "free");
	(void)close(l->peer);
}

/* ---- measuring ---- */

static double
clock_ns(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static struct took
measure(struct lane *l, size_t n)
{
	struct took t;
	size_t good;

	t.wall = clock_ns(CLOCK_MONOTONIC);
	t.cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	good = l->row->run(l, n);
	t.wall = (clock_ns(CLOCK_MONOTONIC) - t.wall) / (double)n;
	t.cpu = (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - t.cpu) / (double)n;
	l->lost += n - good;
	while (raw_recvmmsg(&l->sink, l->peer, SIZE_MAX) > 0)
		continue;
	return t;
}

static void
run_round(struct lane *lanes, const struct table *t, size_t round)
{
	size_t order[ROWS], i;

	measure_shuffle(order, t->nrows);
	for (i = 0; i < t->nrows; i++)
		lanes[order[i]].took[round] = measure(&lanes[order[i]], t->n);
}

static void
print_row(struct lane *lanes, struct lane *l, const struct table *t,
    size_t rounds)
{
	const struct lane *base = &lanes[l->row->beside];
	struct measure_quartiles wall, ratio, beside;
	size_t i;

	for (i = 0; i < rounds; i++) {
		l->wall[i] = l->took[i].wall;
		l->cpu[i] = l->took[i].cpu;
		l->ratio[i] = l->wall[i] / lanes[0].took[i].wall;
		l->beside[i] = l->wall[i] / base->took[i].wall;
	}
	wall = measure_quartiles(l->wall, rounds);
	ratio = measure_quartiles(l->ratio, rounds);
	printf("  %-24s %9.0f %7.0f %7.0f %6.2f  %.2f-%.2f", l->row->name,
	    1e9 / wall.median, wall.median,
	    measure_quartiles(l->cpu, rounds).median, ratio.median, ratio.q1,
	    ratio.q3);
	if (l->lost > 0) {
		printf("  %zu LOST", l->lost);
	} else if (l->row->beside > 0) {
		beside = measure_quartiles(l->beside, rounds);
		printf("  %.2f (%.2f-%.2f) of %s", beside.median, beside.q1,
		    beside.q3, t->rows[l->row->beside].name);
	}
	printf("\n");
	(void)fflush(stdout);
}

static void
run_table(const struct table *t, size_t rounds)
{
	static struct lane lanes[ROWS];
	size_t round, i;

	for (i = 0; i < t->nrows; i++)
		open_lane(&lanes[i], t, &t->rows[i]);
	/* Threads, pages and caches first. */
	for (round = 0; round < 3; round++)
		run_round(lanes, t, 0);
	for (round = 0; round < rounds; round++)
		run_round(lanes, t, round);
	printf("%s\n", t->title);
	for (i = 0; i < t->nrows; i++)
		print_row(lanes, &lanes[i], t, rounds);
	for (i = 0; i < t->nrows; i++)
		close_lane(&lanes[i]);
}

int
main(int argc, char **argv)
{
	unsigned long rounds = 30;
	size_t i;

	if (argc > 1)
		rounds = strtoul(argv[1], NULL, 10);
	if (rounds < 1 || rounds > ROUNDS)
		errx(1, "usage: resolve [rounds, 1 to %d [word ...]]", ROUNDS);
	printf("%s, %ld cores, %lu rounds\n", measure_network(),
	    sysconf(_SC_NPROCESSORS_ONLN), rounds);
	printf("each a second, wall ns, CPU ns, ratio of wall to the first row "
	    "(median, quartiles)\n");
	for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (measure_wants(tables[i].title, argc > 2 ? argc - 2 : 0,
		    argv + 2))
			run_table(&tables[i], rounds);
	return 0;
}
