/* SPDX-License-Identifier: ISC */

/*
 * Watches: slots, interest, dispatch.
 *
 * The backend knows a watch by slot and generation.  A slot that is given back
 * gets a new generation, so that reports which were harvested before point at
 * nothing: any watch may be stopped, and its storage freed, in any callback.
 *
 * Sockets change their interest often and back; what they want is written down
 * and only the difference at the next wait is told to the backend.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/loop.h"

void
dgram_watch_init(struct dgram_watch *w, struct dgram_loop *l, int fd,
    dgram_watch_fn *fn, void *arg)
{
	memset(w, 0, sizeof(*w));
	w->loop = l;
	w->fn = fn;
	w->arg = arg;
	w->fd = fd;
}

void
dgi_watch_init(struct dgram_watch *w, struct dgram_loop *l, int fd,
    dgram_watch_fn *fn, void *arg)
{
	dgram_watch_init(w, l, fd, fn, arg);
	w->flags = DGI_WATCH_UNREF | DGI_WATCH_INTERNAL;
}

static int
take_slot(struct dgram_loop *l, struct dgram_watch *w)
{
	struct dgi_slot *s;
	uint32_t room, i;

	if (l->free_slot == 0) {
		room = l->nslots == 0 ? 8 : l->nslots * 2;
		s = dgi_mem_grow(&l->mem, l->slots, l->nslots * sizeof(*s),
		    room * sizeof(*s));
		if (s == NULL)
			return -ENOMEM;
		memset(s + l->nslots, 0, (room - l->nslots) * sizeof(*s));
		/* Slot 0 is never given: in a watch it means "none". */
		for (i = room; i-- > (l->nslots == 0 ? 1 : l->nslots);) {
			s[i].next_free = l->free_slot;
			l->free_slot = i;
		}
		l->slots = s;
		l->nslots = room;
	}
	w->slot = l->free_slot;
	s = &l->slots[w->slot];
	l->free_slot = s->next_free;
	s->watch = w;
	return 0;
}

static void
give_slot(struct dgram_loop *l, struct dgram_watch *w)
{
	struct dgi_slot *s = &l->slots[w->slot];

	s->watch = NULL;
	s->gen++;
	s->next_free = l->free_slot;
	l->free_slot = w->slot;
	w->slot = 0;
}

static void
unlink_changed(struct dgram_watch *w)
{
	if (w->prev == NULL)
		return;
	*w->prev = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	w->next = NULL;
	w->prev = NULL;
}

/* Tells the backend; a watch without interest gives its slot back. */
static int
apply(struct dgram_watch *w)
{
	struct dgram_loop *l = w->loop;
	struct dgi_interest in;
	int r;

	if (w->want == w->have)
		return 0;
	if (w->slot == 0) {
		r = take_slot(l, w);
		if (r < 0)
			return r;
	}
	in.fd = w->fd;
	in.slot = w->slot;
	in.gen = l->slots[w->slot].gen;
	r = l->poller.ops->set(&l->poller, &in, w->have, w->want);
	if (r == 0)
		w->have = w->want;
	if (w->have == 0)
		give_slot(l, w);
	return r;
}

int
dgi_watch_set(struct dgram_watch *w, unsigned want)
{
	int r;

	unlink_changed(w);
	w->want = (unsigned char)want;
	r = apply(w);
	if (r < 0)
		w->want = w->have;
	return r;
}

void
dgi_watch_want(struct dgram_watch *w, unsigned want)
{
	struct dgram_loop *l = w->loop;

	if (w->want == want)
		return;
	w->want = (unsigned char)want;
	if (w->prev == NULL) {
		w->next = l->changed;
		w->prev = &l->changed;
		if (w->next != NULL)
			w->next->prev = &w->next;
		l->changed = w;
	}
	if (!l->outside)
		return;
	dgi_watch_apply(l);
	/* Refused: it is tried again soon, which shortens the timeout. */
	if (l->changed != NULL)
		dgi_loop_tell(l);
}

void
dgi_watch_apply(struct dgram_loop *l)
{
	struct dgram_watch *w, *next;

	for (w = l->changed; w != NULL; w = next) {
		next = w->next;
		/* Refused: it stays on the list and is tried again. */
		if (apply(w) == 0)
			unlink_changed(w);
	}
}

void
dgi_watch_dispatch(struct dgram_loop *l, const struct dgi_report *r)
{
	struct dgram_watch *w;
	unsigned events = r->events;

	if (r->slot >= l->nslots || l->slots[r->slot].gen != r->gen)
		return;
	w = l->slots[r->slot].watch;
	if (w == NULL)
		return;
	if ((w->flags & DGI_WATCH_INTERNAL) == 0) {
		if ((events & (DGI_ERROR | DGI_HANGUP)) != 0)
			events = w->want;
		events &= w->want;
		if (events == 0)
			return;
	}
	w->fn(w, events, w->arg);
}

void
dgi_watch_done(struct dgram_loop *l)
{
	uint32_t i;

	for (i = 0; i < l->nslots; i++) {
		if (l->slots[i].watch == NULL)
			continue;
		l->slots[i].watch->have = l->slots[i].watch->want = 0;
		l->slots[i].watch->slot = 0;
	}
	dgi_mem_free(&l->mem, l->slots, l->nslots * sizeof(*l->slots));
	l->slots = NULL;
	l->nslots = 0;
}

int
dgram_watch_start(struct dgram_watch *w, unsigned events)
{
	bool started;
	int r;

	if (w == NULL || w->loop == NULL || w->fn == NULL || events == 0 ||
	    (events & ~(DGRAM_READABLE | DGRAM_WRITABLE)) != 0)
		return -EINVAL;
	if (w->fd < 0)
		return -EBADF;
	if (w->loop->freeing)
		return -ECANCELED;
	started = w->have != 0;
	r = dgi_watch_set(w, events);
	if (r == 0 && !started && (w->flags & DGI_WATCH_UNREF) == 0)
		dgi_loop_hold(w->loop);
	return r;
}

void
dgram_watch_stop(struct dgram_watch *w)
{
	if (w == NULL || w->have == 0)
		return;
	(void)dgi_watch_set(w, 0);
	if ((w->flags & DGI_WATCH_UNREF) == 0)
		dgi_loop_release(w->loop);
}

void
dgram_watch_ref(struct dgram_watch *w)
{
	if ((w->flags & DGI_WATCH_UNREF) != 0 && w->have != 0)
		dgi_loop_hold(w->loop);
	w->flags &= (unsigned char)~DGI_WATCH_UNREF;
}

void
dgram_watch_unref(struct dgram_watch *w)
{
	if ((w->flags & DGI_WATCH_UNREF) == 0 && w->have != 0)
		dgi_loop_release(w->loop);
	w->flags |= DGI_WATCH_UNREF;
}
