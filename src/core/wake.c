/* SPDX-License-Identifier: ISC */

/*
 * The doors for other threads and for signal handlers.
 *
 * Posts are a list that is pushed to with compare-and-swap, newest first, and
 * taken whole by the loop, which turns it round: in order per thread.  Only the
 * push onto an empty list has to wake the loop.  Stop is a flag, wake nothing
 * but the event; both may be called by a signal handler, a post not: it
 * allocates.
 *
 * None is forgotten.  After each take one push finds the list empty, and its
 * signal follows.  The event is cleared only by a wait whose turn takes the list
 * behind it, and that take sees what was pushed before a signal that it cleared;
 * of a later signal the event stays readable.  So whatever lies on the list
 * while the loop sleeps lies above a push whose signal is still to come, which
 * is why the loop may look at the list and at the flag with relaxed loads
 * before it waits.  (A poster that is held up in between holds up those above
 * it, too; one that is cancelled there, for good: see dgram_loop(3).)
 *
 * A push is a read-modify-write of what the push before it has released, so the
 * one acquire of the taker is enough for all of them.  Since nothing but the
 * whole list is ever taken, a head that was freed and has come back as another
 * post is still the head: the swap is right to succeed.
 */

#include "core/plat.h"

#include <errno.h>

#include "core/loop.h"

static void
on_event(struct dgram_watch *w, unsigned events, void *arg)
{
	struct dgram_loop *l = arg;

	(void)w, (void)events;
	l->told = false;
	l->os->event_clear(l->os, l->event[0]);
}

void
dgi_wake_tell(struct dgram_loop *l)
{
	if (l->told)
		return;
	l->told = true;
	(void)dgram_loop_wake(l);
}

int
dgi_wake_open(struct dgram_loop *l)
{
	int r;

	atomic_init(&l->posts, NULL);
	atomic_init(&l->stopped, 0);
	r = l->os->event_open(l->os, l->event);
	if (r < 0)
		return r;
	dgi_watch_init(&l->wake_watch, l, l->event[0], on_event, l);
	r = dgi_watch_set(&l->wake_watch, DGRAM_READABLE);
	if (r < 0)
		dgi_wake_close(l);
	return r;
}

void
dgi_wake_close_event(const struct dgi_os *os, const int event[2])
{
	(void)os->close(os, event[0]);
	if (event[1] != event[0])
		(void)os->close(os, event[1]);
}

void
dgi_wake_close(struct dgram_loop *l)
{
	(void)dgi_watch_set(&l->wake_watch, 0);
	dgi_wake_close_event(l->os, l->event);
}

/* All that were made, oldest first, behind those that have not run yet. */
static void
take_posts(struct dgram_loop *l)
{
	struct dgi_post *p, *next, *list = NULL, **tail = &l->due_posts;

	p = atomic_exchange_explicit(&l->posts, NULL, memory_order_acquire);
	for (; p != NULL; p = next) {
		next = p->next;
		p->next = list;
		list = p;
	}
	while (*tail != NULL)
		tail = &(*tail)->next;
	*tail = list;
}

/* The first of them; it is freed. */
static struct dgi_post
shift_post(struct dgram_loop *l)
{
	struct dgi_post *p = l->due_posts, post = *p;

	l->due_posts = p->next;
	p->release(&l->mem, p);
	return post;
}

void
dgi_wake_run_posts(struct dgram_loop *l)
{
	struct dgi_post post;

	take_posts(l);
	while (l->due_posts != NULL) {
		post = shift_post(l);
		post.fn(post.arg);
	}
}

void
dgi_wake_drop_posts(struct dgram_loop *l)
{
	take_posts(l);
	while (l->due_posts != NULL)
		(void)shift_post(l);
}

int
dgram_loop_wake(struct dgram_loop *l)
{
	if (l == NULL)
		return -EINVAL;
	return l->os->event_signal(l->os, l->event[1]);
}

void
dgram_loop_stop(struct dgram_loop *l)
{
	if (l == NULL)
		return;
	atomic_store(&l->stopped, 1);
	(void)dgram_loop_wake(l);
}

void
dgi_wake_post(struct dgram_loop *l, struct dgi_post *p)
{
	struct dgi_post *old;

	old = atomic_load_explicit(&l->posts, memory_order_relaxed);
	do {
		p->next = old;
	} while (!atomic_compare_exchange_weak_explicit(&l->posts, &old, p,
	    memory_order_release, memory_order_relaxed));
	/* What it was pushed onto has woken the loop already. */
	if (old == NULL)
		(void)dgram_loop_wake(l);
}

/* A pointer in each post, so that who never posts is linked without malloc(3). */
static void
free_post(const struct dgi_mem *m, struct dgi_post *p)
{
	dgi_mem_free_shared(m, p, sizeof(*p));
}

bool
dgi_wake_is_posted(const struct dgram_loop *l, const struct dgi_post *p)
{
	const struct dgi_post *q;

	q = atomic_load_explicit(&l->posts, memory_order_acquire);
	while (q != NULL && q != p)
		q = q->next;
	return q != NULL;
}

int
dgram_loop_post(struct dgram_loop *l, void (*fn)(void *arg), void *arg)
{
	struct dgi_post *p;

	if (l == NULL || fn == NULL)
		return -EINVAL;
	if (l->freeing)
		return -ECANCELED;
	p = dgi_mem_alloc_shared(&l->mem, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	p->fn = fn;
	p->arg = arg;
	p->release = free_post;
	dgi_wake_post(l, p);
	return 0;
}
