/* SPDX-License-Identifier: ISC */

/*
 * A 4-ary heap of timers with the keys inside.
 *
 * Entries of 16 bytes lie densely, so that a comparison touches no timer: with
 * 10^6 timers that is an order of magnitude against a heap of pointers.
 */

#ifndef DGI_HEAP_H
#define DGI_HEAP_H

#include <stddef.h>
#include <stdint.h>

#include "dgram.h"
#include "core/mem.h"

struct dgi_heap_entry {
	uint64_t key;			/* ns when due */
	struct dgram_timer *timer;	/* its index is kept: position + 1 */
};

struct dgi_heap {
	struct dgi_heap_entry *v;
	size_t n, room;
};

/* Equal keys come out in the order of timer->seq.  -ENOMEM. */
int	dgi_heap_insert(struct dgi_heap *, struct dgi_mem *, uint64_t key,
	    struct dgram_timer *);
void	dgi_heap_remove(struct dgi_heap *, struct dgram_timer *);
/* Gives an entry of the heap another key. */
void	dgi_heap_move(struct dgi_heap *, struct dgram_timer *, uint64_t key);
void	dgi_heap_done(struct dgi_heap *, struct dgi_mem *);

#endif
