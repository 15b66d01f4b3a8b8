/* SPDX-License-Identifier: ISC */

/*
 * A 4-ary heap of timers.
 *
 * The children of position i are 4i+1 to 4i+4.  Each timer knows its position,
 * plus one so that 0 says "in no heap".
 */

#include "core/plat.h"

#include <errno.h>
#include <stdbool.h>

#include "core/heap.h"

static inline bool
before(const struct dgi_heap_entry *a, const struct dgi_heap_entry *b)
{
	if (a->key != b->key)
		return a->key < b->key;
	return (int64_t)(a->timer->seq - b->timer->seq) < 0;
}

static inline void
put(struct dgi_heap *h, size_t i, struct dgi_heap_entry e)
{
	h->v[i] = e;
	e.timer->index = (uint32_t)(i + 1);
}

static void
sift_up(struct dgi_heap *h, size_t i, struct dgi_heap_entry e)
{
	size_t up;

	while (i > 0) {
		up = (i - 1) / 4;
		if (!before(&e, &h->v[up]))
			break;
		put(h, i, h->v[up]);
		i = up;
	}
	put(h, i, e);
}

static void
sift_down(struct dgi_heap *h, size_t i, struct dgi_heap_entry e)
{
	size_t child, end, first;

	for (;;) {
		child = 4 * i + 1;
		if (child >= h->n)
			break;
		end = child + 4 < h->n ? child + 4 : h->n;
		first = child;
		while (++child < end) {
			if (before(&h->v[child], &h->v[first]))
				first = child;
		}
		if (!before(&h->v[first], &e))
			break;
		put(h, i, h->v[first]);
		i = first;
	}
	put(h, i, e);
}

/* Puts `e` where it belongs, given that position i is free. */
static void
settle(struct dgi_heap *h, size_t i, struct dgi_heap_entry e)
{
	if (i > 0 && before(&e, &h->v[(i - 1) / 4]))
		sift_up(h, i, e);
	else
		sift_down(h, i, e);
}

int
dgi_heap_insert(struct dgi_heap *h, struct dgi_mem *m, uint64_t key,
    struct dgram_timer *t)
{
	struct dgi_heap_entry *v;
	size_t room;

	if (h->n == h->room) {
		if (h->room >= UINT32_MAX / 2)
			return -ENOMEM;
		room = h->room == 0 ? 16 : h->room * 2;
		v = dgi_mem_grow(m, h->v, h->room * sizeof(*v),
		    room * sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		h->v = v;
		h->room = room;
	}
	h->n++;
	sift_up(h, h->n - 1, (struct dgi_heap_entry){ key, t });
	return 0;
}

void
dgi_heap_remove(struct dgi_heap *h, struct dgram_timer *t)
{
	size_t i = t->index - 1u;

	t->index = 0;
	h->n--;
	if (i < h->n)
		settle(h, i, h->v[h->n]);
}

void
dgi_heap_move(struct dgi_heap *h, struct dgram_timer *t, uint64_t key)
{
	settle(h, t->index - 1u, (struct dgi_heap_entry){ key, t });
}

void
dgi_heap_done(struct dgi_heap *h, struct dgi_mem *m)
{
	while (h->n > 0)
		h->v[--h->n].timer->index = 0;
	dgi_mem_free(m, h->v, h->room * sizeof(*h->v));
	h->v = NULL;
	h->room = 0;
}
