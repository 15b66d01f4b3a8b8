/* SPDX-License-Identifier: ISC */

/*
 * Abort signals: one call, from anywhere, that closes many sockets.
 *
 * The trigger is a post whose storage is the signal's, so that it can neither
 * fail nor allocate; what closes the sockets runs on the loop's thread.
 *
 * A signal lives until its user has freed it, its sockets are closed and its
 * post has run.  Whoever frees it, or the loop under it, may do so because the
 * trigger has had its effect, and that is seen before the trigger has returned:
 * both wait for the few instructions and the write(2) that are left of it.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/abort.h"
#include "core/socket.h"

static void
await_trigger(const struct dgram_abort *a)
{
	while (atomic_load(&a->inside) > 0)
		continue;
}

/* Frees it if nobody has it any more. */
static void
let_go(struct dgram_abort *a)
{
	struct dgi_mem mem;

	if (a->owned || !dgi_list_empty(&a->sockets))
		return;
	await_trigger(a);
	if (a->posted)
		return;
	dgi_list_remove(&a->member.all);
	mem = a->mem;
	dgi_mem_free_shared(&mem, a, sizeof(*a));
}

/* ---- sockets ---- */

static void
join(struct dgram_abort *a, struct dgram_socket *s)
{
	dgi_list_append(&a->sockets, &s->signal_link);
	if (atomic_load(&a->triggered))
		dgi_socket_close(s);
}

static void
leave(struct dgram_abort *a, struct dgram_socket *s)
{
	dgi_list_remove(&s->signal_link);
	let_go(a);
}

/* ---- the trigger ---- */

/* The post: on the loop's thread. */
static void
fire(void *arg)
{
	struct dgram_abort *a = arg;

	while (!dgi_list_empty(&a->sockets))
		dgi_socket_close(DGI_CONTAINER(a->sockets.next,
		    struct dgram_socket, signal_link));
	a->posted = false;
	let_go(a);
}

/* Its storage is part of the signal. */
static void
keep_post(const struct dgi_mem *m, struct dgi_post *p)
{
	(void)m, (void)p;
}

void
dgram_abort_trigger(struct dgram_abort *a)
{
	struct dgram_loop *l;

	/* Who comes behind the first does not count, and holds nobody up. */
	if (a == NULL || atomic_load(&a->triggered))
		return;
	/*
	 * In this order: no effect is seen before it is known that somebody is
	 * inside, and the loop goes only when nobody is.
	 */
	atomic_fetch_add(&a->inside, 1);
	if (!atomic_exchange(&a->triggered, true)) {
		l = atomic_load(&a->loop);
		if (l != NULL) {
			a->posted = true;
			dgi_wake_post(l, &a->post);
		}
	}
	atomic_fetch_sub(&a->inside, 1);
}

/* ---- as a member of the loop ---- */

static struct dgram_abort *
of_member(struct dgi_member *m)
{
	return DGI_CONTAINER(m, struct dgram_abort, member);
}

static void
member_flush(struct dgi_member *m)
{
	(void)m;
}

/* The loop goes; what was posted before still runs. */
static void
member_end(struct dgi_member *m)
{
	struct dgram_abort *a = of_member(m);

	atomic_store(&a->loop, NULL);
	await_trigger(a);
	dgi_list_remove(&m->all);
}

/*
 * In a child the post was dropped, and a thread that was in the trigger is not
 * there.  A handler may have triggered it since: then the post is on the list
 * again, and once it is triggered nobody else puts it there.  In front of its
 * sockets on the loop's list: it comes before them.
 */
static void
member_fork(struct dgi_member *m, bool take_paths)
{
	struct dgram_abort *a = of_member(m);

	(void)take_paths;
	atomic_store(&a->inside, 0);
	if (!atomic_load(&a->triggered))
		return;
	a->posted = true;
	if (!dgi_wake_is_posted(atomic_load(&a->loop), &a->post))
		dgi_wake_post(atomic_load(&a->loop), &a->post);
}

/* It is not of the loop's memory. */
static size_t
member_bound(const struct dgi_member *m)
{
	(void)m;
	return 0;
}

static const struct dgi_member_ops member_ops = {
	.flush = member_flush,
	.end = member_end,
	.fork = member_fork,
	.bound = member_bound,
};

/* ---- its life ---- */

int
dgram_abort_new(struct dgram_loop *l, struct dgram_abort **ret)
{
	struct dgram_abort *a;

	if (l == NULL || ret == NULL)
		return -EINVAL;
	if (l->freeing)
		return -ECANCELED;
	a = dgi_mem_alloc_shared(&l->mem, sizeof(*a));
	if (a == NULL)
		return -ENOMEM;
	memset(a, 0, sizeof(*a));
	dgi_mem_init(&a->mem, &l->mem.allocator);
	a->join = join;
	a->leave = leave;
	atomic_init(&a->loop, l);
	atomic_init(&a->triggered, false);
	atomic_init(&a->inside, 0);
	a->post = (struct dgi_post){ .fn = fire, .arg = a,
	    .release = keep_post };
	a->owned = true;
	dgi_list_init(&a->sockets);
	dgi_member_init(l, &a->member, &member_ops);
	*ret = a;
	return 0;
}

void
dgram_abort_free(struct dgram_abort *a)
{
	if (a == NULL)
		return;
	a->owned = false;
	let_go(a);
}
