/* SPDX-License-Identifier: ISC */

/*
 * Block lists, as sockets see them: by pointers in the object, so that a program
 * without lists does not link blocklist.c.
 */

#ifndef DGI_BLOCKLIST_H
#define DGI_BLOCKLIST_H

#include "core/plat.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dgram.h"
#include "core/mem.h"
#include "core/queue.h"

/* An IPv6 address, or an IPv4 one as ::ffff:a.b.c.d, that can be compared. */
struct dgi_key {
	uint64_t hi, lo;
};

/* From first to last, both included. */
struct dgi_rule {
	struct dgi_key first, last;
};

/* Rules in order, none touching the next; never empty in a list. */
#define DGI_RULES	127u
struct dgi_rules {
	unsigned n;
	struct dgi_rule v[DGI_RULES];
};

struct dgram_block_list {
	atomic_size_t refs;		/* the user's, and each socket's */
	void (*release)(struct dgram_block_list *);	/* one reference */
	/* Of the list of a socket that receives: what is left of n messages. */
	unsigned (*sift)(struct dgram_socket *, unsigned n, size_t *bytes);
	/* Of one that sends: does it stop a peer, that; how many of n go. */
	bool (*stops_peer)(const struct dgram_socket *,
	    const struct dgram_addr *);
	bool (*stops)(const struct dgram_socket *, const struct dgi_req *);
	unsigned (*count_allowed)(const struct dgram_socket *,
	    const struct dgram_datagram *, unsigned n);

	struct dgi_rules **blocks;	/* in order */
	size_t n, room;
	struct dgi_rules *spare;	/* for the next one, or NULL */
	struct dgi_mem mem;		/* of no loop */
};

/* As dgram_block_list_new() with the memory of an allocator, or NULL. */
int	dgi_block_list_new(const struct dgram_allocator *,
	    struct dgram_block_list **ret);

/* Of what a socket has, which may be none. */
static inline void
dgi_block_list_hold(struct dgram_block_list *b)
{
	if (b != NULL)
		(void)atomic_fetch_add(&b->refs, 1);
}

static inline void
dgi_block_list_release(struct dgram_block_list *b)
{
	if (b != NULL)
		b->release(b);
}

#endif
