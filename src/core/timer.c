/* SPDX-License-Identifier: ISC */

/*
 * Timers on the heap of the loop.
 *
 * A timer that is started while timers run gets a younger sequence number than
 * the phase began with, and so waits for the next turn even if it is due now.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/loop.h"

static uint64_t
add_saturated(uint64_t a, uint64_t b)
{
	return b > UINT64_MAX - a ? UINT64_MAX : a + b;
}

void
dgram_timer_init(struct dgram_timer *t, struct dgram_loop *l,
    dgram_timer_fn *fn, void *arg)
{
	memset(t, 0, sizeof(*t));
	t->loop = l;
	t->fn = fn;
	t->arg = arg;
}

int
dgram_timer_start(struct dgram_timer *t, uint64_t after_ns, uint64_t repeat_ns)
{
	struct dgram_loop *l;
	uint64_t key;
	int r;

	if (t == NULL || t->loop == NULL || t->fn == NULL)
		return -EINVAL;
	l = t->loop;
	if (l->freeing)
		return -ECANCELED;
	key = add_saturated(l->now, after_ns);
	t->seq = l->timer_seq;
	if (t->index != 0) {
		dgi_heap_move(&l->timers, t, key);
	} else {
		r = dgi_heap_insert(&l->timers, &l->mem, key, t);
		if (r < 0)
			return r;
		if (!t->unrefd)
			dgi_loop_hold(l);
	}
	l->timer_seq++;
	t->repeat_ns = repeat_ns;
	/* Who waits for the others has to wait less. */
	if (l->timers.v[0].timer == t)
		dgi_loop_tell(l);
	return 0;
}

void
dgram_timer_stop(struct dgram_timer *t)
{
	if (t == NULL || t->index == 0)
		return;
	dgi_heap_remove(&t->loop->timers, t);
	if (!t->unrefd)
		dgi_loop_release(t->loop);
}

bool
dgram_timer_active(const struct dgram_timer *t)
{
	return t->index != 0;
}

void
dgram_timer_ref(struct dgram_timer *t)
{
	if (t->unrefd && t->index != 0)
		dgi_loop_hold(t->loop);
	t->unrefd = false;
}

void
dgram_timer_unref(struct dgram_timer *t)
{
	if (!t->unrefd && t->index != 0)
		dgi_loop_release(t->loop);
	t->unrefd = true;
}

/* Due again on its grid: periods that were missed are left out. */
static void
repeat(struct dgram_loop *l, struct dgram_timer *t, uint64_t due)
{
	uint64_t next = add_saturated(due, t->repeat_ns);

	if (next <= l->now)
		next = add_saturated(l->now,
		    t->repeat_ns - (l->now - due) % t->repeat_ns);
	dgi_heap_move(&l->timers, t, next);
}

bool
dgi_timer_run(struct dgram_loop *l)
{
	uint64_t now = l->now, end = l->timer_seq;
	struct dgram_timer *t;
	bool any = false;

	while (l->timers.n > 0) {
		t = l->timers.v[0].timer;
		if (l->timers.v[0].key > now || (int64_t)(t->seq - end) >= 0)
			break;
		if (t->repeat_ns > 0)
			repeat(l, t, l->timers.v[0].key);
		else
			dgram_timer_stop(t);
		any = true;
		t->fn(t, t->arg);
	}
	return any;
}

int64_t
dgi_timer_next(const struct dgram_loop *l, uint64_t now)
{
	uint64_t left;

	if (l->timers.n == 0)
		return -1;
	if (l->timers.v[0].key <= now)
		return 0;
	left = l->timers.v[0].key - now;
	return left > INT64_MAX ? INT64_MAX : (int64_t)left;
}
