/* SPDX-License-Identifier: ISC */

/*
 * Watches of foreign descriptors.
 */

#include "test.h"

#include <sys/resource.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "core/loop.h"

/* A watch that counts, and may do something more in its callback. */
struct counted {
	struct dgram_watch watch;
	int calls;
	unsigned events;		/* of the last call */
	void (*then)(struct counted *);
	struct counted *other;
};

static void
on_event(struct dgram_watch *w, unsigned events, void *arg)
{
	struct counted *c = arg;

	cr_assert_eq(w, &c->watch);
	cr_assert(events != 0);
	c->calls++;
	c->events = events;
	if (c->then != NULL)
		c->then(c);
}

static void
counted_init(struct counted *c, struct dgram_loop *l, int fd)
{
	memset(c, 0, sizeof(*c));
	dgram_watch_init(&c->watch, l, fd, on_event, c);
}

static void
start(struct counted *c, unsigned events)
{
	cr_assert_eq(dgram_watch_start(&c->watch, events), 0);
}

/* A turn that does not wait; the events of the watch in it, 0 if none. */
static unsigned
turn(struct dgram_loop *l, struct counted *c)
{
	int before = c->calls;

	cr_assert(dgram_loop_run_once(l, 0) >= 0);
	cr_assert(c->calls <= before + 1, "once in a turn");
	return c->calls > before ? c->events : 0;
}

static void
make_pair(int sv[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
}

static void
close_both(const int fd[2])
{
	close(fd[0]);
	close(fd[1]);
}

static void
put_byte(int fd)
{
	cr_assert_eq(write(fd, "x", 1), 1);
}

static void
take_byte(int fd)
{
	char byte;

	cr_assert_eq(read(fd, &byte, 1), 1);
}

BACKEND_TEST(watch, readable_and_writable)
{
	struct dgram_loop *l = test_loop(backend);
	struct counted c;
	int sv[2];

	make_pair(sv);
	counted_init(&c, l, sv[0]);
	start(&c, DGRAM_READABLE);
	cr_assert_eq(turn(l, &c), 0);
	put_byte(sv[1]);
	cr_assert_eq(turn(l, &c), DGRAM_READABLE);
	/* Level-triggered: in each turn, until it is read. */
	cr_assert_eq(turn(l, &c), DGRAM_READABLE);
	take_byte(sv[0]);
	cr_assert_eq(turn(l, &c), 0);
	/* Started again with others. */
	start(&c, DGRAM_WRITABLE);
	put_byte(sv[1]);
	cr_assert_eq(turn(l, &c), DGRAM_WRITABLE);
	start(&c, DGRAM_READABLE | DGRAM_WRITABLE);
	cr_assert_eq(turn(l, &c), DGRAM_READABLE | DGRAM_WRITABLE);
	start(&c, DGRAM_READABLE | DGRAM_WRITABLE);
	take_byte(sv[0]);
	cr_assert_eq(turn(l, &c), DGRAM_WRITABLE);
	cr_assert_eq(l->alive, 1);
	dgram_watch_stop(&c.watch);
	cr_assert_eq(turn(l, &c), 0);
	dgram_watch_stop(&c.watch);
	dgram_watch_stop(NULL);
	cr_assert_eq(l->alive, 0);
	/* And once more from the beginning. */
	start(&c, DGRAM_WRITABLE);
	cr_assert_eq(turn(l, &c), DGRAM_WRITABLE);
	dgram_watch_stop(&c.watch);
	dgram_loop_free(l);
	close_both(sv);
}

BACKEND_TEST(watch, start_errors)
{
	static const unsigned bad[] = { 0, 4, 8, DGRAM_READABLE | 4, ~0u };
	struct dgram_loop *l = test_loop(backend);
	struct dgram_watch w;
	struct counted c, d;
	char path[80];
	int dir, file, sv[2];
	size_t i;

	make_pair(sv);
	snprintf(path, sizeof(path), "%s/file", test_tmpdir());
	file = open(path, O_CREAT | O_RDWR, 0600);
	dir = open("/", O_RDONLY);
	cr_assert(file >= 0 && dir >= 0);
	errno = 4711;
	counted_init(&c, l, sv[0]);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(dgram_watch_start(&c.watch, bad[i]), -EINVAL);
	cr_assert_eq(dgram_watch_start(NULL, DGRAM_READABLE), -EINVAL);
	dgram_watch_init(&w, NULL, sv[0], on_event, NULL);
	cr_assert_eq(dgram_watch_start(&w, DGRAM_READABLE), -EINVAL);
	dgram_watch_init(&w, l, sv[0], NULL, NULL);
	cr_assert_eq(dgram_watch_start(&w, DGRAM_READABLE), -EINVAL);

	counted_init(&d, l, -1);
	cr_assert_eq(dgram_watch_start(&d.watch, DGRAM_READABLE), -EBADF);
	counted_init(&d, l, file);
	cr_assert_eq(dgram_watch_start(&d.watch, DGRAM_READABLE), -EPERM);
	cr_assert_eq(dgram_watch_start(&d.watch, DGRAM_WRITABLE), -EPERM);
	counted_init(&d, l, dir);
	cr_assert_eq(dgram_watch_start(&d.watch, DGRAM_READABLE), -EPERM);
	close(file);
	close(dir);
	cr_assert_eq(dgram_watch_start(&d.watch, DGRAM_READABLE), -EBADF);
	cr_assert_eq(l->alive, 0, "what did not start does not count");
	dgram_watch_stop(&d.watch);
	cr_assert_eq(l->alive, 0);

	/* Taken: the first is not disturbed. */
	start(&c, DGRAM_READABLE);
	counted_init(&d, l, sv[0]);
	cr_assert_eq(dgram_watch_start(&d.watch, DGRAM_WRITABLE), -EEXIST);
	dgram_watch_stop(&d.watch);
	cr_assert_eq(errno, 4711);
	cr_assert_eq(l->alive, 1);
	put_byte(sv[1]);
	cr_assert_eq(turn(l, &c), DGRAM_READABLE);
	/* A change that is refused leaves the old events. */
	cr_assert_eq(dgram_watch_start(&c.watch, 0), -EINVAL);
	cr_assert_eq(dgram_watch_start(&c.watch, 4), -EINVAL);
	cr_assert_eq(turn(l, &c), DGRAM_READABLE);
	/* Free again: now the other may have it. */
	dgram_watch_stop(&c.watch);
	start(&d, DGRAM_WRITABLE);
	cr_assert_eq(turn(l, &d), DGRAM_WRITABLE);
	dgram_watch_stop(&d.watch);
	dgram_loop_free(l);
	close_both(sv);
}

static void
add_interest(struct counted *c)
{
	start(c, DGRAM_READABLE | DGRAM_WRITABLE);
	if (c->other != NULL && c->other->watch.have == 0)
		start(c->other, DGRAM_WRITABLE);
}

/* Changed and started in a callback: in force with the next wait. */
BACKEND_TEST(watch, change_in_callback)
{
	struct dgram_loop *l = test_loop(backend);
	struct counted c, other;
	int sv[2];

	make_pair(sv);
	counted_init(&c, l, sv[0]);
	counted_init(&other, l, sv[1]);
	c.then = add_interest;
	c.other = &other;
	put_byte(sv[1]);
	start(&c, DGRAM_READABLE);
	cr_assert_eq(turn(l, &c), DGRAM_READABLE);
	cr_assert_eq(other.calls, 0);
	cr_assert_eq(turn(l, &c), DGRAM_READABLE | DGRAM_WRITABLE);
	cr_assert_eq(other.calls, 1);
	dgram_watch_stop(&c.watch);
	dgram_watch_stop(&other.watch);
	dgram_loop_free(l);
	close_both(sv);
}

static void
stop_self(struct counted *c)
{
	dgram_watch_stop(&c->watch);
}

BACKEND_TEST(watch, stop_in_own_callback)
{
	struct dgram_loop *l = test_loop(backend);
	struct counted c;
	int sv[2];

	make_pair(sv);
	counted_init(&c, l, sv[0]);
	c.then = stop_self;
	start(&c, DGRAM_WRITABLE);
	/* Nothing else keeps the loop running. */
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(c.calls, 1);
	dgram_loop_free(l);
	close_both(sv);
}

static int freed;

static void
free_self(struct counted *c)
{
	dgram_watch_stop(&c->watch);
	memset(c, 0xff, sizeof(*c));
	free(c);
	freed++;
}

BACKEND_TEST(watch, free_in_own_callback)
{
	struct dgram_loop *l = test_loop(backend);
	struct counted *c;
	int sv[2];

	make_pair(sv);
	c = malloc(sizeof(*c));
	cr_assert(c != NULL);
	counted_init(c, l, sv[0]);
	c->then = free_self;
	start(c, DGRAM_WRITABLE);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(freed, 1);
	dgram_loop_free(l);
	close_both(sv);
}

static struct counted *all[8];
static int survivors;

/* The first that is called frees all the others. */
static void
free_others(struct counted *c)
{
	int i;

	survivors++;
	for (i = 0; i < 8; i++) {
		if (all[i] == NULL || all[i] == c)
			continue;
		dgram_watch_stop(&all[i]->watch);
		memset(all[i], 0xff, sizeof(*all[i]));
		free(all[i]);
		all[i] = NULL;
	}
}

/* All are ready in the same wait: none is called after it was freed. */
BACKEND_TEST(watch, free_others_that_are_ready)
{
	struct dgram_loop *l = test_loop(backend);
	int i, round, sv[8][2];

	for (i = 0; i < 8; i++)
		make_pair(sv[i]);
	for (round = 0; round < 8; round++) {
		survivors = 0;
		/* In another order each time: before it and behind it. */
		for (i = 0; i < 8; i++) {
			all[i] = malloc(sizeof(*all[i]));
			cr_assert(all[i] != NULL);
			counted_init(all[i], l, sv[(i + round) % 8][0]);
			all[i]->then = free_others;
			start(all[i], DGRAM_WRITABLE);
		}
		cr_assert_eq(dgram_loop_run_once(l, 0), 1);
		cr_assert_eq(survivors, 1);
		for (i = 0; i < 8; i++) {
			if (all[i] == NULL)
				continue;
			cr_assert_eq(all[i]->calls, 1);
			dgram_watch_stop(&all[i]->watch);
			free(all[i]);
			all[i] = NULL;
		}
	}
	dgram_loop_free(l);
	for (i = 0; i < 8; i++)
		close_both(sv[i]);
}

/* Stops both and starts the other on a third descriptor, in its old slot. */
static void
reuse_slot(struct counted *c)
{
	if (c->other == NULL || c->other->watch.have == 0)
		return;
	dgram_watch_stop(&c->other->watch);
	counted_init(c->other, c->watch.loop, survivors);
	start(c->other, DGRAM_READABLE);
	c->other = NULL;
}

/* A report for the one that had the slot must not reach the one that has it. */
BACKEND_TEST(watch, slot_is_reused)
{
	struct dgram_loop *l = test_loop(backend);
	struct counted a, b;
	uint32_t slots[2];
	int silent[2], sv[2][2];

	make_pair(sv[0]);
	make_pair(sv[1]);
	make_pair(silent);
	put_byte(sv[0][1]);
	put_byte(sv[1][1]);
	survivors = silent[0];
	counted_init(&a, l, sv[0][0]);
	counted_init(&b, l, sv[1][0]);
	a.then = b.then = reuse_slot;
	a.other = &b;
	b.other = &a;
	start(&a, DGRAM_READABLE);
	start(&b, DGRAM_READABLE);
	slots[0] = a.watch.slot;
	slots[1] = b.watch.slot;
	/* Both are ready; the first called puts the other on the silent one. */
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	cr_assert(a.watch.slot == slots[0] && b.watch.slot == slots[1],
	    "the slot was to be the same");
	cr_assert((a.calls == 1 && b.calls == 0 && b.watch.fd == silent[0]) ||
	    (b.calls == 1 && a.calls == 0 && a.watch.fd == silent[0]),
	    "%d and %d calls", a.calls, b.calls);
	dgram_watch_stop(&a.watch);
	dgram_watch_stop(&b.watch);
	dgram_loop_free(l);
	close_both(sv[0]);
	close_both(sv[1]);
	close_both(silent);
}

/* Stops and starts the other, on the same descriptor, for the other event. */
static void
change_other(struct counted *c)
{
	if (c->other == NULL)
		return;
	c->other->other = NULL;
	cr_assert_eq(dgram_watch_start(&c->other->watch, DGRAM_READABLE), 0);
}

/* What was found is not told to one that does not want it any more. */
BACKEND_TEST(watch, changed_by_another)
{
	struct dgram_loop *l = test_loop(backend);
	struct counted a, b;
	int sv[2];

	make_pair(sv);
	counted_init(&a, l, sv[0]);
	counted_init(&b, l, sv[1]);
	a.then = b.then = change_other;
	a.other = &b;
	b.other = &a;
	start(&a, DGRAM_WRITABLE);
	start(&b, DGRAM_WRITABLE);
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	cr_assert_eq(a.calls + b.calls, 1);
	dgram_watch_stop(&a.watch);
	dgram_watch_stop(&b.watch);
	dgram_loop_free(l);
	close_both(sv);
}

/* Error and hang-up come as what was asked for, whichever that is. */
BACKEND_TEST(watch, hang_up)
{
	static const unsigned asked[] = { DGRAM_READABLE, DGRAM_WRITABLE,
	    DGRAM_READABLE | DGRAM_WRITABLE };
	struct dgram_loop *l = test_loop(backend);
	struct counted c;
	int p[2];
	size_t i;

	for (i = 0; i < 3; i++) {
		/*
		 * The writer is gone.  A kqueue of a BSD does not tell who only
		 * wants to write to the end that is read.
		 */
		if (DGI_OS_LINUX || asked[i] != DGRAM_WRITABLE) {
			cr_assert_eq(pipe(p), 0);
			counted_init(&c, l, p[0]);
			start(&c, asked[i]);
			cr_assert_eq(turn(l, &c), 0);
			close(p[1]);
			cr_assert_eq(turn(l, &c), asked[i]);
			dgram_watch_stop(&c.watch);
			close(p[0]);
		}
		/* The reader is gone. */
		cr_assert_eq(pipe(p), 0);
		counted_init(&c, l, p[1]);
		start(&c, asked[i]);
		close(p[0]);
		cr_assert_eq(turn(l, &c), asked[i]);
		dgram_watch_stop(&c.watch);
		close(p[1]);
		/* Both directions of a stream. */
		make_pair(p);
		counted_init(&c, l, p[0]);
		start(&c, asked[i]);
		close(p[1]);
		cr_assert_eq(turn(l, &c), asked[i]);
		dgram_watch_stop(&c.watch);
		close(p[0]);
	}
	dgram_loop_free(l);
}

/* Half of a stream: its end is readable, and not more writable than before. */
BACKEND_TEST(watch, half_closed)
{
	struct dgram_loop *l = test_loop(backend);
	struct counted c;
	char buf[4096] = "";
	int sv[2];

	make_pair(sv);
	cr_assert_eq(fcntl(sv[0], F_SETFL, O_NONBLOCK), 0);
	while (write(sv[0], buf, sizeof(buf)) > 0)
		continue;
	counted_init(&c, l, sv[0]);
	start(&c, DGRAM_READABLE | DGRAM_WRITABLE);
	cr_assert_eq(turn(l, &c), 0);
	cr_assert_eq(shutdown(sv[1], SHUT_WR), 0);
	cr_assert_eq(turn(l, &c), DGRAM_READABLE);
	dgram_watch_stop(&c.watch);
	dgram_loop_free(l);
	close_both(sv);
}

static void
stop_loop(struct dgram_timer *t, void *arg)
{
	(void)arg;
	dgram_loop_stop(t->loop);
}

/* Runs for so long, and hardly ever wakes. */
static void
check_quiet(struct dgram_loop *l, unsigned ms)
{
	uint64_t waits = l->waits;
	struct dgram_timer t;

	dgram_timer_init(&t, l, stop_loop, NULL);
	cr_assert_eq(dgram_timer_start(&t, ms * UINT64_C(1000000), 0), 0);
	cr_assert_eq(dgram_loop_run(l), 1);
	cr_assert(l->waits - waits <= 10, "%llu waits in %u ms",
	    (unsigned long long)(l->waits - waits), ms);
}

/*
 * Closed by others without a stop: a fault of the program, which must not take
 * the processor (poll(2) says POLLNVAL at once and for ever).
 */
BACKEND_TEST(watch, closed_does_not_spin)
{
	struct dgram_loop *l = test_loop(backend);
	struct counted c, other;
	int p[2], sv[2];

	cr_assert_eq(pipe(p), 0);
	make_pair(sv);
	put_byte(p[1]);
	counted_init(&c, l, p[0]);
	counted_init(&other, l, sv[0]);
	start(&c, DGRAM_READABLE);
	start(&other, DGRAM_READABLE);
	close_both(p);
	check_quiet(l, 200);
	cr_assert_eq(c.calls, 0);
	/* The other one still works; stopping the lost one is harmless. */
	put_byte(sv[1]);
	cr_assert_eq(turn(l, &other), DGRAM_READABLE);
	dgram_watch_stop(&c.watch);
	cr_assert_eq(turn(l, &other), DGRAM_READABLE);
	cr_assert_eq(l->alive, 1);
	dgram_watch_stop(&other.watch);
	cr_assert_eq(l->alive, 0);
	dgram_loop_free(l);
	close_both(sv);
}

/*
 * The same while a dup(2) keeps the file open and readable: epoll(7) goes on
 * reporting what nobody can take out any more.
 */
BACKEND_TEST(watch, closed_with_a_dup)
{
	struct dgram_loop *l = test_loop(backend);
	struct counted c, other;
	int p[2], sv[2], twin;

	cr_assert_eq(pipe(p), 0);
	make_pair(sv);
	twin = dup(p[0]);
	put_byte(p[1]);
	counted_init(&c, l, p[0]);
	counted_init(&other, l, sv[0]);
	start(&c, DGRAM_READABLE);
	start(&other, DGRAM_READABLE);
	cr_assert_eq(turn(l, &c), DGRAM_READABLE);
	close(p[0]);
	dgram_watch_stop(&c.watch);
	c.calls = 0;
	check_quiet(l, 100);
	cr_assert_eq(c.calls, 0);
	put_byte(sv[1]);
	cr_assert_eq(turn(l, &other), DGRAM_READABLE);
	dgram_loop_free(l);
	close_both(sv);
	close(twin);
	close(p[1]);
}

/*
 * Closed without a stop, and the number has come back as another file: what the
 * first watch has left behind is not the second one's.
 */
BACKEND_TEST(watch, number_comes_back)
{
	struct dgram_loop *l = test_loop(backend);
	struct counted a, b;
	int p[2], sv[2], twin, fd;

	cr_assert_eq(pipe(p), 0);
	make_pair(sv);
	twin = dup(p[0]);
	fd = p[0];
	counted_init(&a, l, fd);
	start(&a, DGRAM_READABLE);
	put_byte(p[1]);
	/* It closes p[0] on the way. */
	cr_assert_eq(dup2(sv[0], fd), fd);
	counted_init(&b, l, fd);
	if (strcmp(backend, "poll") == 0) {
		/* Nothing tells poll(2) that it is another: a clear error. */
		cr_assert_eq(dgram_watch_start(&b.watch, DGRAM_READABLE),
		    -EEXIST);
	} else {
		start(&b, DGRAM_READABLE);
		dgram_watch_stop(&a.watch);
		a.calls = b.calls = 0;
		check_quiet(l, 100);
		cr_assert_eq(a.calls + b.calls, 0);
		put_byte(sv[1]);
		cr_assert_eq(turn(l, &b), DGRAM_READABLE);
		cr_assert_eq(a.calls, 0);
		/* Changing the one that lost it is refused. */
		dgram_watch_stop(&b.watch);
	}
	dgram_loop_free(l);
	close_both(sv);
	close(fd);
	close(twin);
	close(p[1]);
}

/* A set that cannot be made anew is a clear error, not a spin. */
BACKEND_TEST(watch, ghost_without_descriptors)
{
	struct dgram_loop *l = test_loop(backend);
	struct dgram_timer t;
	struct rlimit old, none;
	struct counted c;
	int p[2], twin, r;

	cr_assert_eq(pipe(p), 0);
	twin = dup(p[0]);
	put_byte(p[1]);
	counted_init(&c, l, p[0]);
	start(&c, DGRAM_READABLE);
	close(p[0]);
	dgram_watch_stop(&c.watch);
	dgram_timer_init(&t, l, stop_loop, NULL);
	cr_assert_eq(dgram_timer_start(&t, 50000000, 0), 0);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 1;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	r = dgram_loop_run(l);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	/* poll(2) itself minds a limit below what it is given. */
	if (strcmp(backend, "epoll") == 0)
		cr_assert_eq(r, -EMFILE);
	if (r < 0)
		r = dgram_loop_run(l);
	cr_assert_eq(r, 1);
	dgram_loop_free(l);
	close(twin);
	close(p[1]);
}

/* Stopped and closed: the number belongs to whoever gets it next. */
BACKEND_TEST(watch, descriptor_is_reused)
{
	struct dgram_loop *l = test_loop(backend);
	struct counted b;
	int fd, i, sv[2];

	make_pair(sv);
	put_byte(sv[1]);
	for (i = 0; i < 20; i++) {
		fd = dup(sv[0]);
		cr_assert(fd >= 0);
		counted_init(&b, l, fd);
		start(&b, DGRAM_READABLE);
		cr_assert_eq(turn(l, &b), DGRAM_READABLE);
		dgram_watch_stop(&b.watch);
		close(fd);
	}
	cr_assert(l->nslots <= 8, "slots are reused");
	dgram_loop_free(l);
	close_both(sv);
}

TEST(watch, references)
{
	struct dgram_loop *l = test_loop(NULL);
	struct counted c;
	int sv[2];

	make_pair(sv);
	counted_init(&c, l, sv[0]);
	dgram_watch_unref(&c.watch);
	dgram_watch_unref(&c.watch);
	dgram_watch_ref(&c.watch);
	dgram_watch_ref(&c.watch);
	cr_assert_eq(l->alive, 0);
	start(&c, DGRAM_READABLE);
	start(&c, DGRAM_WRITABLE);
	cr_assert_eq(l->alive, 1);
	dgram_watch_unref(&c.watch);
	dgram_watch_unref(&c.watch);
	cr_assert_eq(l->alive, 0);
	cr_assert_eq(dgram_loop_run(l), 0);
	cr_assert_eq(c.calls, 0);
	dgram_watch_ref(&c.watch);
	dgram_watch_ref(&c.watch);
	cr_assert_eq(l->alive, 1);
	dgram_watch_stop(&c.watch);
	cr_assert_eq(l->alive, 0);
	/* It holds over later starts. */
	dgram_watch_unref(&c.watch);
	start(&c, DGRAM_READABLE);
	cr_assert_eq(l->alive, 0);
	dgram_watch_stop(&c.watch);
	cr_assert_eq(l->alive, 0);
	dgram_loop_free(l);
	close_both(sv);
}

/* Growth of the slots that fails: nothing changes for anybody. */
BACKEND_TEST(watch, out_of_memory)
{
	static struct counted c[40];
	struct test_alloc alloc;
	struct dgram_loop_options o = { .backend = backend,
	    .allocator = &alloc.allocator };
	struct dgram_loop *l;
	int i, refused = 0, sv[2];

	test_alloc_init(&alloc);
	cr_assert_eq(dgram_loop_new(&o, &l), 0);
	make_pair(sv);
	for (i = 0; i < 40; i++) {
		counted_init(&c[i], l, dup(sv[0]));
		test_alloc_fail(&alloc, true);
		if (dgram_watch_start(&c[i].watch, DGRAM_WRITABLE) < 0) {
			refused++;
			cr_assert_eq(dgram_watch_start(&c[i].watch,
			    DGRAM_WRITABLE), -ENOMEM);
			dgram_watch_stop(&c[i].watch);
			cr_assert_eq(l->alive, (size_t)i);
			test_alloc_fail(&alloc, false);
			start(&c[i], DGRAM_WRITABLE);
		}
	}
	cr_assert(refused >= 2, "%d", refused);
	test_alloc_fail(&alloc, false);
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	for (i = 0; i < 40; i++) {
		cr_assert_eq(c[i].calls, 1);
		dgram_watch_stop(&c[i].watch);
		close(c[i].watch.fd);
	}
	dgram_loop_free(l);
	cr_assert(test_alloc_clean(&alloc));
	close_both(sv);
}

#define MANY	1000

/* All ready at once, more than a wait reports: each is called, and soon. */
BACKEND_TEST(watch, many)
{
	static struct counted c[MANY];
	struct dgram_loop *l;
	struct rlimit limit;
	int called, i, sv[2], turns;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < MANY + 200) {
		limit.rlim_cur = MANY + 200;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			cr_skip_test("too few descriptors");
	}
	l = test_loop(backend);
	make_pair(sv);
	for (i = 0; i < MANY; i++) {
		counted_init(&c[i], l, dup(sv[0]));
		cr_assert(c[i].watch.fd >= 0);
		start(&c[i], DGRAM_READABLE);
	}
	cr_assert_eq(dgram_loop_run_once(l, 0), 1);
	for (i = 0; i < MANY; i++)
		cr_assert_eq(c[i].calls, 0);
	put_byte(sv[1]);
	for (turns = called = 0; called < MANY && turns < 12; turns++) {
		cr_assert_eq(dgram_loop_run_once(l, 0), 1);
		for (i = called = 0; i < MANY; i++)
			called += c[i].calls > 0;
	}
	cr_assert_eq(called, MANY, "%d in %d turns", called, turns);
	/* Every other one stops: the rest is not disturbed. */
	for (i = 0; i < MANY; i++) {
		if (i % 2 == 0)
			dgram_watch_stop(&c[i].watch);
		c[i].calls = 0;
	}
	for (turns = called = 0; called < MANY / 2 && turns < 12; turns++) {
		cr_assert_eq(dgram_loop_run_once(l, 0), 1);
		for (i = called = 0; i < MANY; i++)
			called += c[i].calls > 0;
	}
	cr_assert_eq(called, MANY / 2);
	for (i = 0; i < MANY; i++) {
		cr_assert((c[i].calls == 0) == (i % 2 == 0));
		dgram_watch_stop(&c[i].watch);
		close(c[i].watch.fd);
	}
	dgram_loop_free(l);
	close_both(sv);
}
