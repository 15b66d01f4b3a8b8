/* SPDX-License-Identifier: ISC */

/*
 * Look-ups on the loop's thread: who waits for what, until when, and who is told.
 *
 * The resolver of a loop is made with the first name and is a member of the loop
 * as a socket is, so that the layers below end it without knowing it.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/queue.h"
#include "resolve/lookup.h"
#include "resolve/worker.h"

#define TICK_NS	(DGI_WORKERS_TICK_MS * UINT64_C(1000000))

/* One name and family that threads are asked for. */
struct dgi_request {
	struct dgi_named named;		/* the name is the job's */
	struct dgi_job *job;
	struct dgi_list lookups;	/* who waits; may be empty */
};

struct dgi_resolver {
	struct dgi_member member;
	struct dgram_loop *loop;
	struct dgi_workers *workers;	/* NULL: none was needed yet */
	struct dgi_post post;		/* they have something done */
	struct dgi_list done;		/* jobs taken from them, to be told */
	struct dgi_list timed;		/* lookups, by deadline */
	size_t waiting;			/* of them */
	struct dgram_timer timer;	/* the first deadline, or the tick */
	bool ticking;			/* jobs may wait for a worker */
	uint64_t tick_at;		/* ns */
	struct dgi_ids ids;
	struct dgi_task closing;
	struct dgi_names names;
	size_t requests;		/* of them */
};

/* ---- time ---- */

/* The timer for the first deadline or the tick. */
static int
arm(struct dgi_resolver *v)
{
	uint64_t due = v->ticking ? v->tick_at : UINT64_MAX, now = v->loop->now;
	const struct dgi_lookup *w;

	if (!dgi_list_empty(&v->timed)) {
		w = DGI_CONTAINER(v->timed.next, struct dgi_lookup, timed);
		if (w->deadline < due)
			due = w->deadline;
	}
	if (due == UINT64_MAX) {
		dgram_timer_stop(&v->timer);
		return 0;
	}
	return dgram_timer_start(&v->timer, due > now ? due - now : 0, 0);
}

static uint64_t
clock_now(const struct dgi_resolver *v)
{
	const struct dgi_os *os = v->loop->os;

	/* Outside of a run the loop's stands still, for as long as it likes. */
	return os->now(os);
}

/* ---- requests ---- */

static void
free_request(struct dgi_resolver *v, struct dgi_request *q)
{
	dgi_names_remove(&q->named);
	v->requests--;
	dgi_mem_put(&v->loop->mem, q, sizeof(*q));
}

/* It does not wait any more; what it waited for may have no other. */
static void
forget(struct dgi_resolver *v, struct dgi_lookup *w)
{
	struct dgi_request *q = w->request;

	dgi_list_remove(&w->link);
	dgi_list_remove(&w->timed);
	dgi_lookup_put_id(v->loop, w->id);
	w->id = 0;
	w->request = NULL;
	v->waiting--;
	dgi_loop_release(v->loop);
	if (q == NULL || !dgi_list_empty(&q->lookups))
		return;
	if (dgi_workers_withdraw(v->workers, q->job)) {
		dgi_job_free(q->job);
		free_request(v, q);
	}
}

/* A request has its answer: it goes, and all who wait are told. */
static void
answer(struct dgi_resolver *v, struct dgi_job *j)
{
	struct dgi_request *q = j->owner;
	struct dgi_lookup *w;
	struct dgi_list all, *i;

	dgi_list_take(&all, &q->lookups);
	free_request(v, q);
	/* What one of them does may cancel another. */
	for (i = all.next; i != &all; i = i->next)
		DGI_CONTAINER(i, struct dgi_lookup, link)->request = NULL;
	while (!dgi_list_empty(&all)) {
		w = DGI_CONTAINER(all.next, struct dgi_lookup, link);
		forget(v, w);
		w->done(w, j->status, j->addrs, j->n);
	}
}

/* Workers have something done: a post of theirs. */
static void
on_done(void *arg)
{
	struct dgi_resolver *v = arg;
	struct dgi_job *j;

	if (v->workers != NULL)
		dgi_workers_take(v->workers, &v->done);
	while (!dgi_list_empty(&v->done)) {
		j = DGI_CONTAINER(v->done.next, struct dgi_job, link);
		dgi_list_remove(&j->link);
		answer(v, j);
		dgi_job_free(j);
	}
	if (v->requests == 0)
		v->ticking = false;
	/* Later than due at the worst, if there is no memory. */
	(void)arm(v);
}

/*
 * Who is late is told so in the turn behind this one: the answer may have come in
 * time, by a post or a descriptor, and the loop was busy or did not run.
 */
static void
on_timer(struct dgram_timer *t, void *arg)
{
	struct dgi_resolver *v = arg;
	uint64_t now = v->loop->now;
	struct dgi_lookup *w;
	struct dgi_list *i;

	(void)t;
	if (v->ticking && v->tick_at <= now) {
		v->ticking = dgi_workers_tick(v->workers);
		v->tick_at = now + TICK_NS;
	}
	while (!dgi_list_empty(&v->timed)) {
		w = DGI_CONTAINER(v->timed.next, struct dgi_lookup, timed);
		if (!w->late)
			break;
		forget(v, w);
		w->done(w, -ETIMEDOUT, NULL, 0);
	}
	for (i = v->timed.next; i != &v->timed; i = i->next) {
		w = DGI_CONTAINER(i, struct dgi_lookup, timed);
		if (w->deadline > now)
			break;
		w->late = true;
	}
	(void)arm(v);
}

/*
 * From a thread of the workers.  The post is on its list once: it is pushed when
 * there is something to take and there was nothing, and only what the post calls
 * takes.
 */
static void
on_ready(void *arg)
{
	struct dgi_resolver *v = arg;

	dgi_wake_post(v->loop, &v->post);
}

static void
keep_post(const struct dgi_mem *m, struct dgi_post *p)
{
	(void)m, (void)p;
}

static int
make_workers(struct dgi_resolver *v)
{
	const struct dgram_loop *l = v->loop;

	if (v->workers != NULL)
		return 0;
	return dgi_workers_new(&v->workers, l->resolver_threads,
	    l->resolver_stack, on_ready, v);
}

/* Asks for a name that nobody asks for yet. */
static int
request(struct dgi_resolver *v, const char *name, int family,
    struct dgi_request **ret)
{
	struct dgi_request *q;
	int r;

	r = make_workers(v);
	if (r < 0)
		return r;
	q = dgi_mem_get(&v->loop->mem, sizeof(*q));
	if (q == NULL)
		return -ENOMEM;
	q->job = dgi_job_new(name, family);
	r = q->job == NULL ? -ENOMEM : 0;
	if (r == 0) {
		q->job->owner = q;
		r = dgi_workers_submit(v->workers, q->job);
		if (r < 0)
			dgi_job_free(q->job);
	}
	if (r < 0) {
		dgi_mem_put(&v->loop->mem, q, sizeof(*q));
		return r;
	}
	dgi_list_init(&q->lookups);
	q->named.of = NULL;
	q->named.name = q->job->name;
	q->named.family = family;
	dgi_names_add(&v->names, &q->named);
	v->requests++;
	if (!v->ticking) {
		v->ticking = true;
		v->tick_at = clock_now(v) + TICK_NS;
	}
	*ret = q;
	return 0;
}

/* ---- lookups ---- */

int
dgi_lookup_take_id(struct dgram_loop *l, struct dgi_lookup *w, uint64_t *id)
{
	struct dgi_resolver *v = l->resolver;

	if (v->ids.used >= DGI_LOOKUPS_MOST)
		return -ENOBUFS;
	*id = dgi_ids_take(&v->ids, &l->mem, w);
	return *id == 0 ? -ENOMEM : 0;
}

void
dgi_lookup_put_id(struct dgram_loop *l, uint64_t id)
{
	dgi_ids_put(&l->resolver->ids, id);
}

struct dgi_lookup *
dgi_lookup_find(const struct dgram_loop *l, uint64_t id)
{
	return l->resolver == NULL ? NULL :
	    dgi_ids_find(&l->resolver->ids, id);
}

void
dgi_lookup_init(struct dgi_lookup *w)
{
	dgi_list_init(&w->link);
	dgi_list_init(&w->timed);
	w->id = 0;
	w->asked = false;
	w->request = NULL;
}

/* It waits from now on. */
static int
begin(struct dgi_resolver *v, struct dgi_lookup *w)
{
	int r;

	w->deadline = clock_now(v) + v->loop->resolver_timeout;
	w->late = false;
	dgi_list_append(&v->timed, &w->timed);
	v->waiting++;
	dgi_loop_hold(v->loop);
	r = arm(v);
	if (r < 0)
		forget(v, w);
	return r;
}

static int
check_room(struct dgram_loop *l)
{
	int r = dgi_resolver_get(l);

	if (r == 0 && l->resolver->waiting >= DGI_LOOKUPS_MOST)
		r = -ENOBUFS;
	return r;
}

int
dgi_lookup_start(struct dgram_loop *l, struct dgi_lookup *w, const char *name,
    int family)
{
	struct dgi_named *found;
	struct dgi_request *q;
	int r;

	r = check_room(l);
	if (r < 0)
		return r;
	found = dgi_names_find(&l->resolver->names, NULL, name, family);
	if (found != NULL)
		q = DGI_CONTAINER(found, struct dgi_request, named);
	else
		r = request(l->resolver, name, family, &q);
	if (r < 0)
		return r;
	w->request = q;
	dgi_list_append(&q->lookups, &w->link);
	return begin(l->resolver, w);
}

int
dgi_lookup_start_asked(struct dgram_loop *l, struct dgi_lookup *w)
{
	int r;

	r = check_room(l);
	if (r == 0)
		r = dgi_lookup_take_id(l, w, &w->id);
	return r < 0 ? r : begin(l->resolver, w);
}

void
dgi_lookup_cancel(struct dgram_loop *l, struct dgi_lookup *w)
{
	/* In the list of those that wait, or nothing is to be done. */
	if (!dgi_list_empty(&w->timed))
		forget(l->resolver, w);
}

/* ---- life ---- */

static struct dgi_resolver *
of_member(struct dgi_member *m)
{
	return DGI_CONTAINER(m, struct dgi_resolver, member);
}

static void
member_flush(struct dgi_member *m)
{
	(void)m;
}

static void
cancel_all(struct dgi_resolver *v)
{
	struct dgi_lookup *w;

	while (!dgi_list_empty(&v->timed)) {
		w = DGI_CONTAINER(v->timed.next, struct dgi_lookup, timed);
		forget(v, w);
		w->done(w, -ECANCELED, NULL, 0);
	}
}

/* The workers are gone.  forked: their jobs are left here. */
static void
drop_requests(struct dgi_resolver *v, bool forked)
{
	struct dgi_list *b, *i, *next, *k;
	struct dgi_request *q;
	struct dgi_named *n;

	for (b = v->names.buckets; b < v->names.buckets + DGI_NAMES_BUCKETS;
	    b++) {
		for (i = b->next; i != b; i = next) {
			next = i->next;
			n = DGI_CONTAINER(i, struct dgi_named, link);
			if (n->of != NULL)
				continue;
			q = DGI_CONTAINER(n, struct dgi_request, named);
			for (k = q->lookups.next; k != &q->lookups; k = k->next)
				DGI_CONTAINER(k, struct dgi_lookup,
				    link)->request = NULL;
			dgi_list_remove(&q->lookups);
			if (forked)
				dgi_job_free(q->job);
			free_request(v, q);
		}
	}
	/* A callback may be where the program forks. */
	dgi_list_init(&v->done);
	v->ticking = false;
}

static void
run_close(struct dgi_task *t)
{
	struct dgi_resolver *v = DGI_CONTAINER(t, struct dgi_resolver, closing);
	struct dgram_loop *l = v->loop;

	l->resolver = NULL;
	dgi_list_remove(&v->member.all);
	dgi_ids_done(&v->ids, &l->mem);
	dgi_mem_free(&l->mem, v, sizeof(*v));
}

static void
member_end(struct dgi_member *m)
{
	struct dgi_resolver *v = of_member(m);

	dgi_workers_free(v->workers);
	v->workers = NULL;
	drop_requests(v, false);
	cancel_all(v);
	dgram_timer_stop(&v->timer);
	v->closing.run = run_close;
	dgi_loop_close(v->loop, &v->closing);
}

static void
member_fork(struct dgi_member *m, bool take_paths)
{
	struct dgi_resolver *v = of_member(m);

	(void)take_paths;
	dgi_workers_forget(v->workers);
	v->workers = NULL;
	drop_requests(v, true);
	cancel_all(v);
	dgram_timer_stop(&v->timer);
}

/* Each look-up with its request and name, and the slots at their peak. */
static size_t
member_bound(const struct dgi_member *m)
{
	(void)m;
	return sizeof(struct dgi_resolver) + (size_t)DGI_LOOKUPS_MOST *
	    (2 * (DGI_LOOKUP_ROOM + DGI_NAME_ROOM +
	    sizeof(struct dgi_request)) +
	    4 * sizeof(struct dgi_id));
}

static const struct dgi_member_ops member_ops = {
	.flush = member_flush,
	.end = member_end,
	.fork = member_fork,
	.bound = member_bound,
};

int
dgi_resolver_get(struct dgram_loop *l)
{
	struct dgi_resolver *v;

	if (l->freeing)
		return -ECANCELED;
	if (l->resolver != NULL)
		return 0;
	v = dgi_mem_alloc(&l->mem, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	memset(v, 0, sizeof(*v));
	v->loop = l;
	v->post = (struct dgi_post){ .fn = on_done, .arg = v,
	    .release = keep_post };
	dgi_list_init(&v->done);
	dgi_list_init(&v->timed);
	dgi_names_init(&v->names);
	dgram_timer_init(&v->timer, l, on_timer, v);
	dgram_timer_unref(&v->timer);
	dgi_member_init(l, &v->member, &member_ops);
	/*
	 * In front of the sockets: in a child they must find their look-ups
	 * without threads, whose lock may be held there for ever.
	 */
	dgi_list_remove(&v->member.all);
	dgi_list_append(l->members.next, &v->member.all);
	l->resolver = v;
	return 0;
}

struct dgi_names *
dgi_resolver_names(struct dgram_loop *l)
{
	return &l->resolver->names;
}
