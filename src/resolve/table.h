/* SPDX-License-Identifier: ISC */

/*
 * Who waits, found by name or by number.
 */

#ifndef DGI_TABLE_H
#define DGI_TABLE_H

#include "core/plat.h"

#include <stdint.h>

#include "core/list.h"
#include "core/mem.h"

/*
 * Found by name: a request of the resolver, or the datagrams of a socket that
 * wait for one.  The name is the owner's and stays as long as this.
 */
struct dgi_named {
	struct dgi_list link;
	const void *of;			/* the socket; NULL: a request */
	const char *name;
	int family;
};

#define DGI_NAMES_BUCKETS	256u	/* a power of two */

struct dgi_names {
	struct dgi_list buckets[DGI_NAMES_BUCKETS];
};

void	dgi_names_init(struct dgi_names *);
struct dgi_named	*dgi_names_find(struct dgi_names *, const void *of,
	    const char *name, int family);
void	dgi_names_add(struct dgi_names *, struct dgi_named *);
static inline void
dgi_names_remove(struct dgi_named *n)
{
	dgi_list_remove(&n->link);
}

/*
 * Numbers for those that the user refers to.  One that was given back is not
 * given out again before 2^32 others.  0 is none.
 */
struct dgi_id {
	void *what;			/* NULL: free */
	uint32_t gen;
	uint32_t next_free;		/* index + 1; 0: none */
};

struct dgi_ids {
	struct dgi_id *v;
	uint32_t n, used, free;		/* free: index + 1 of the first */
};

/* 0: no memory.  Zero-filled is empty. */
uint64_t	dgi_ids_take(struct dgi_ids *, struct dgi_mem *, void *what);
void	dgi_ids_put(struct dgi_ids *, uint64_t id);
/* NULL: it is no number, or not any more. */
void	*dgi_ids_find(const struct dgi_ids *, uint64_t id);
void	dgi_ids_done(struct dgi_ids *, struct dgi_mem *);

#endif
