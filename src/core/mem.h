/* SPDX-License-Identifier: ISC */

/*
 * Memory of one loop: the user's allocator, what is held, and free lists that
 * keep the steady state from allocating.  One thread only.
 */

#ifndef DGI_MEM_H
#define DGI_MEM_H

#include <stddef.h>

#include "dgram.h"

/* Pieces up to 64 << (DGI_MEM_CLASSES - 1) bytes are kept for reuse. */
#define DGI_MEM_CLASSES	12
#define DGI_MEM_SMALLEST	64u

struct dgi_mem_free {
	struct dgi_mem_free *next;
};

/* Pieces of one size, as many as there were at the peak.  Zero at first. */
struct dgi_pool {
	struct dgi_mem_free *free;
	size_t size;			/* bytes of a piece */
};

struct dgi_chunk;

struct dgi_mem {
	struct dgram_allocator allocator;	/* alloc NULL: the default */
	size_t held;			/* bytes given out, free lists included */
	size_t slack;			/* bytes of chunks that are not */

	/* The default: chunks, what is left of the last, pieces put back. */
	struct dgi_chunk *chunks;
	char *next, *end;
	struct dgi_mem_free *pieces[DGI_MEM_CLASSES];

	struct dgi_pool classes[DGI_MEM_CLASSES];
};

void	dgi_mem_init(struct dgi_mem *, const struct dgram_allocator *);
/* All that is left goes: free lists to the allocator, or the chunks. */
void	dgi_mem_done(struct dgi_mem *);

/* Uninitialised bytes, or NULL.  free takes the size that alloc was given. */
void	*dgi_mem_alloc(struct dgi_mem *, size_t);
void	dgi_mem_free(struct dgi_mem *, void *, size_t);
/* Grows an array; its content is kept.  The old one stays valid on NULL. */
void	*dgi_mem_grow(struct dgi_mem *, void *, size_t old, size_t wanted);

/* As above by way of the free lists, for pieces that come and go. */
void	*dgi_mem_get(struct dgi_mem *, size_t);
void	dgi_mem_put(struct dgi_mem *, void *, size_t);

/* A piece of a pool that is not empty. */
static inline void *
dgi_pool_take(struct dgi_pool *p)
{
	struct dgi_mem_free *f = p->free;

	p->free = f->next;
	return f;
}

static inline void *
dgi_pool_get(struct dgi_pool *p, struct dgi_mem *m, size_t size)
{
	if (p->free != NULL)
		return dgi_pool_take(p);
	p->size = size;
	return dgi_mem_alloc(m, size);
}

static inline void
dgi_pool_put(struct dgi_pool *p, void *piece)
{
	struct dgi_mem_free *f = piece;

	f->next = p->free;
	p->free = f;
}

/* Returns the pieces to the allocator. */
void	dgi_pool_done(struct dgi_pool *, struct dgi_mem *);

/* Address space whose pages cost nothing until touched, where mmap(2) is. */
void	*dgi_mem_reserve(struct dgi_mem *, size_t);
void	dgi_mem_release(struct dgi_mem *, void *, size_t);

/*
 * For other threads: straight to the allocator, not counted.  The allocator
 * must be safe to call from them if it is the user's.
 */
void	*dgi_mem_alloc_shared(const struct dgi_mem *, size_t);
void	dgi_mem_free_shared(const struct dgi_mem *, void *, size_t);

#endif
