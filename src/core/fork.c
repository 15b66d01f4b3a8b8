/* SPDX-License-Identifier: ISC */

/*
 * The loop after fork(2), in the child.
 *
 * What the two processes share are open files: an epoll set, the wake event, the
 * sockets.  The child makes itself a backend and an event of its own, tells them
 * all that the old ones knew, and lets go of the old ones without a call that
 * would change them.  All of that can fail, and then nothing has changed; what
 * comes behind it cannot.
 */

#include "core/plat.h"

#include <errno.h>
#include <stddef.h>

#include "core/loop.h"

/* Tells a backend that knows nothing what the loop's own knows. */
static int
register_all(struct dgram_loop *l, struct dgi_poller *p, int event)
{
	const struct dgram_watch *w;
	struct dgi_interest in;
	uint32_t i;
	int r;

	for (i = 0; i < l->nslots; i++) {
		w = l->slots[i].watch;
		if (w == NULL || w->have == 0)
			continue;
		in.fd = w == &l->wake_watch ? event : w->fd;
		in.slot = i;
		in.gen = l->slots[i].gen;
		r = p->ops->set(p, &in, 0, w->have);
		/*
		 * Anything else is a descriptor that somebody closed, which the
		 * old one did not know either; its number may be ours by now.
		 */
		if (r == -ENOMEM || r == -ENOSPC)
			return r;
	}
	return 0;
}

/* Own kernel objects in the place of those that the parent uses. */
static int
replace(struct dgram_loop *l)
{
	struct dgi_poller fresh = l->poller;
	int event[2], r;

	fresh.fd = -1;
	fresh.priv = NULL;
	r = fresh.ops->open(&fresh);
	if (r < 0)
		return r;
	r = l->os->event_open(l->os, event);
	if (r < 0)
		goto no_event;
	r = register_all(l, &fresh, event[0]);
	if (r < 0)
		goto no_watches;
	l->poller.ops->forget(&l->poller);
	l->poller = fresh;
	dgi_wake_close_event(l->os, l->event);
	l->event[0] = l->wake_watch.fd = event[0];
	l->event[1] = event[1];
	return 0;
no_watches:
	dgi_wake_close_event(l->os, event);
no_event:
	fresh.ops->close(&fresh);
	return r;
}

int
dgram_loop_fork(struct dgram_loop *l, unsigned flags)
{
	struct dgi_member *m;
	struct dgi_list *i;
	int r;

	if (l == NULL || (flags & ~DGRAM_FORK_TAKE_PATHS) != 0)
		return -EINVAL;
	if (l->freeing)
		return -ECANCELED;
	r = replace(l);
	if (r < 0)
		return r;
	/* A foreign loop has to ask for the new descriptor. */
	l->embedded = l->outside = l->told = false;
	dgi_wake_drop_posts(l);
	dgram_loop_update(l);
	for (i = l->members.next; i != &l->members; i = i->next) {
		m = DGI_CONTAINER(i, struct dgi_member, all);
		m->ops->fork(m, (flags & DGRAM_FORK_TAKE_PATHS) != 0);
	}
	return 0;
}
