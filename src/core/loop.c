/* SPDX-License-Identifier: ISC */

/*
 * The loop: its life and its turns.
 *
 * Callbacks are called from here and from the files of this layer that a turn
 * calls.  What a callback adds to a phase that is running belongs to the next
 * turn: each phase takes the list as it is and leaves an empty one behind.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/loop.h"

#define BATCH_MOST	1024u		/* UIO_MAXIOV, sendmmsg(2) */
#define BUDGET_MOST	65536u
#define THREADS_MOST	64u
#define STACK_MOST	((size_t)1 << 30)

/* Turns in a row that may run what is owed without asking the backend. */
#define UNWAITED_MOST	8u

/* How long to wait at most while a backend refuses a change of interest. */
#define RETRY_NS	50000000

static int
check_options(struct dgram_loop_options *o)
{
	if (o->batch == 0)
		o->batch = 32;
	if (o->budget == 0)
		o->budget = 64;
	if (o->max_datagram == 0)
		o->max_datagram = 65535;
	if (o->resolver_threads == 0)
		o->resolver_threads = 2;
	if (o->resolver_stack == 0)
		o->resolver_stack = (size_t)256 << 10;
	if (o->resolver_timeout_ms == 0)
		o->resolver_timeout_ms = 30000;
	if (o->batch > BATCH_MOST || o->budget > BUDGET_MOST ||
	    o->max_datagram > DGI_DATAGRAM_MOST ||
	    o->resolver_threads > THREADS_MOST ||
	    o->resolver_stack > STACK_MOST)
		return -EINVAL;
	if (o->allocator != NULL &&
	    (o->allocator->alloc == NULL || o->allocator->free == NULL))
		return -EINVAL;
	return 0;
}

static int
open_poller(struct dgram_loop *l, const struct dgi_poller_ops *ops,
    const char *name)
{
	if (ops == NULL)
		return dgi_poller_open(&l->poller, &l->mem, name);
	l->poller.ops = ops;
	l->poller.mem = &l->mem;
	l->poller.fd = -1;
	return ops->open(&l->poller);
}

int
dgi_loop_new(const struct dgram_loop_options *options, const struct dgi_os *os,
    const struct dgi_poller_ops *poller, struct dgram_loop **ret)
{
	struct dgram_loop_options o = { 0 };
	struct dgram_loop *l;
	struct dgi_mem mem;
	int r;

	if (ret == NULL)
		return -EINVAL;
	if (options != NULL)
		o = *options;
	r = check_options(&o);
	if (r < 0)
		return r;
	dgi_mem_init(&mem, o.allocator);
	l = dgi_mem_alloc(&mem, sizeof(*l));
	if (l == NULL)
		return -ENOMEM;
	memset(l, 0, sizeof(*l));
	l->mem = mem;
	l->os = os != NULL ? os : &dgi_os_real;
	l->batch = o.batch;
	l->budget = o.budget;
	l->max_datagram = o.max_datagram;
	l->resolver_threads = o.resolver_threads;
	l->resolver_stack = o.resolver_stack;
	l->resolver_timeout = (uint64_t)o.resolver_timeout_ms * 1000000;
	dgi_list_init(&l->members);
	dgi_list_init(&l->dirty);
	dgi_list_init(&l->borrowers);
	dgi_queue_init(&l->tasks);
	dgi_queue_init(&l->closes);
	l->now = l->os->now(l->os);
	r = open_poller(l, poller, o.backend);
	if (r < 0)
		goto no_poller;
	r = dgi_arena_init(&l->arena, &l->mem, l->batch);
	if (r < 0)
		goto no_arena;
	r = dgi_wake_open(l);
	if (r < 0)
		goto no_wake;
	*ret = l;
	return 0;
no_wake:
	dgi_watch_done(l);
	dgi_arena_done(&l->arena, &l->mem);
no_arena:
	l->poller.ops->close(&l->poller);
no_poller:
	mem = l->mem;
	dgi_mem_free(&mem, l, sizeof(*l));
	dgi_mem_done(&mem);
	return r;
}

int
dgram_loop_new(const struct dgram_loop_options *options,
    struct dgram_loop **ret)
{
	return dgi_loop_new(options, NULL, NULL, ret);
}

static void
enter(struct dgram_loop *l)
{
	l->running = true;
	l->outside = false;
}

/* What the callbacks left is not for a turn that may never come. */
static void
leave(struct dgram_loop *l)
{
	l->running = false;
	l->outside = l->embedded;
	if (l->outside && l->changed != NULL)
		dgi_watch_apply(l);
}

/* Inside of a callback: it can be neither run nor freed. */
static bool
is_busy(const struct dgram_loop *l)
{
	return l->running || l->configuring > 0;
}

static void
run_queue(struct dgi_queue *q)
{
	struct dgi_queue now;
	struct dgi_task *t;

	dgi_queue_take(&now, q);
	while ((t = dgi_queue_shift(&now)) != NULL)
		t->run(t);
}

/* Something is to be called without waiting first. */
static bool
is_owed(const struct dgram_loop *l)
{
	return l->tasks.head != NULL || l->closes.head != NULL ||
	    dgi_wake_has_posts(l);
}

int
dgram_loop_free(struct dgram_loop *l)
{
	struct dgi_list *i, now;
	struct dgi_member *m;
	struct dgi_mem mem;

	if (l == NULL)
		return 0;
	if (is_busy(l))
		return -EBUSY;
	enter(l);
	l->freeing = true;
	dgi_wake_run_posts(l);
	/* Before the first is closed: one may be what another sends to. */
	for (i = l->members.next; i != &l->members; i = i->next) {
		m = DGI_CONTAINER(i, struct dgi_member, all);
		m->ops->flush(m);
	}
	/*
	 * All of them before the first callback, which could send on another.
	 * Any member may leave the list here, this one or another.
	 */
	dgi_list_take(&now, &l->members);
	while (!dgi_list_empty(&now)) {
		m = DGI_CONTAINER(now.next, struct dgi_member, all);
		dgi_list_remove(&m->all);
		dgi_list_append(&l->members, &m->all);
		m->ops->end(m);
	}
	/* A callback may be where the program ends a thread that still posts. */
	while (is_owed(l)) {
		dgi_wake_run_posts(l);
		run_queue(&l->tasks);
		run_queue(&l->closes);
	}
	dgi_pool_done(&l->requests[0], &l->mem);
	dgi_pool_done(&l->requests[1], &l->mem);
	dgi_heap_done(&l->timers, &l->mem);
	dgi_wake_close(l);
	dgi_watch_done(l);
	l->poller.ops->close(&l->poller);
	dgi_arena_done(&l->arena, &l->mem);
	mem = l->mem;
	dgi_mem_free(&mem, l, sizeof(*l));
	dgi_mem_done(&mem);
	return 0;
}

void
dgi_member_init(struct dgram_loop *l, struct dgi_member *m,
    const struct dgi_member_ops *ops)
{
	m->ops = ops;
	dgi_list_init(&m->dirty);
	dgi_list_append(&l->members, &m->all);
}

void
dgi_loop_flush_dirty(struct dgram_loop *l)
{
	struct dgi_list now;
	struct dgi_member *m;

	dgi_list_take(&now, &l->dirty);
	while (!dgi_list_empty(&now)) {
		m = DGI_CONTAINER(now.next, struct dgi_member, dirty);
		dgi_list_remove(&m->dirty);
		m->ops->flush(m);
	}
}

static bool
is_alive(const struct dgram_loop *l)
{
	return l->alive > 0 || is_owed(l);
}

/* The shorter of two times, of which < 0 has no end. */
static int64_t
shorter(int64_t a, int64_t b)
{
	if (a < 0 || b < 0)
		return a < 0 ? b : a;
	return a < b ? a : b;
}

/* ns from `now` until a turn has something to do, or -1. */
static int64_t
due_in(const struct dgram_loop *l, uint64_t now)
{
	if (is_owed(l) || !dgi_list_empty(&l->dirty) ||
	    atomic_load_explicit(&l->stopped, memory_order_relaxed) != 0)
		return 0;
	return shorter(dgi_timer_next(l, now),
	    l->changed != NULL ? RETRY_NS : -1);
}

/*
 * The report of a wake in front.  It is over by this wait; one that a callback
 * makes, or another thread meanwhile, is for the next and must not be cleared
 * with it.
 */
static void
put_wake_first(const struct dgram_loop *l, struct dgi_report *reports, int n)
{
	struct dgi_report first;
	int i;

	for (i = 1; i < n; i++) {
		if (reports[i].slot != l->wake_watch.slot)
			continue;
		first = reports[i];
		reports[i] = reports[0];
		reports[0] = first;
		return;
	}
}

/* Waits, and serves what is ready. */
static int
wait_and_dispatch(struct dgram_loop *l, int64_t timeout_ns)
{
	struct dgi_report reports[DGI_REPORTS];
	int i, n;

	l->waits++;
	l->unwaited = 0;
	if (!is_alive(l))
		timeout_ns = 0;
	n = l->poller.ops->wait(&l->poller,
	    shorter(timeout_ns, due_in(l, l->now)), reports, DGI_REPORTS);
	dgram_loop_update(l);
	put_wake_first(l, reports, n);
	for (i = 0; i < n; i++)
		dgi_watch_dispatch(l, &reports[i]);
	return n < 0 ? n : 0;
}

static int
turn(struct dgram_loop *l, int64_t timeout_ns)
{
	int r = 0;

	if (l->timers.n > 0) {
		dgram_loop_update(l);
		/* Callbacks take time, and what is due next is told from now. */
		if (dgi_timer_run(l))
			dgram_loop_update(l);
	}
	dgi_loop_flush(l);
	if (l->changed != NULL)
		dgi_watch_apply(l);
	if (!is_owed(l) || ++l->unwaited > UNWAITED_MOST)
		r = wait_and_dispatch(l, timeout_ns);
	else
		dgram_loop_update(l);
	if (dgi_wake_has_posts(l))
		dgi_wake_run_posts(l);
	if (l->tasks.head != NULL)
		run_queue(&l->tasks);
	if (l->closes.head != NULL)
		run_queue(&l->closes);
	return r;
}

int
dgram_loop_run(struct dgram_loop *l)
{
	int r;

	if (l == NULL)
		return -EINVAL;
	if (is_busy(l))
		return -EBUSY;
	enter(l);
	for (;;) {
		if (atomic_exchange(&l->stopped, 0) != 0) {
			r = 1;
			break;
		}
		r = 0;
		if (!is_alive(l))
			break;
		r = turn(l, -1);
		if (r < 0)
			break;
	}
	leave(l);
	return r;
}

int
dgram_loop_run_once(struct dgram_loop *l, int timeout_ms)
{
	int r;

	if (l == NULL || timeout_ms < -1)
		return -EINVAL;
	if (is_busy(l))
		return -EBUSY;
	enter(l);
	if (atomic_exchange(&l->stopped, 0) != 0)
		timeout_ms = 0;
	/* Also if nothing is left: what is unreferenced may be ready. */
	r = turn(l, timeout_ms < 0 ? -1 : (int64_t)timeout_ms * 1000000);
	if (r == 0)
		r = is_alive(l);
	leave(l);
	return r;
}

int
dgram_loop_fd(struct dgram_loop *l)
{
	if (l == NULL)
		return -EINVAL;
	if (l->poller.fd < 0)
		return -ENOTSUP;
	l->embedded = true;
	if (!l->running) {
		leave(l);
		if (due_in(l, l->now) >= 0)
			dgi_wake_tell(l);
	}
	return l->poller.fd;
}

int
dgram_loop_timeout(const struct dgram_loop *l)
{
	if (l == NULL)
		return -EINVAL;
	return dgi_poller_ms(due_in(l, l->os->now(l->os)));
}

uint64_t
dgram_loop_now(const struct dgram_loop *l)
{
	return l->now;
}

void
dgram_loop_update(struct dgram_loop *l)
{
	l->now = l->os->now(l->os);
}

const char *
dgram_loop_backend(const struct dgram_loop *l)
{
	return l->poller.ops->name;
}

int
dgram_loop_memory(const struct dgram_loop *l, size_t *held, size_t *bound)
{
	const struct dgi_list *i;
	size_t sum, one;

	if (l == NULL)
		return -EINVAL;
	sum = l->mem.held + l->mem.slack;
	if (held != NULL)
		*held = sum;
	for (i = l->members.next; i != &l->members; i = i->next) {
		const struct dgi_member *m = (const void *)((const char *)i -
		    offsetof(struct dgi_member, all));

		one = m->ops->bound(m);
		sum = one > SIZE_MAX - sum ? SIZE_MAX : sum + one;
	}
	if (bound != NULL)
		*bound = sum;
	return 0;
}
