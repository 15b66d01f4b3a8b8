/* SPDX-License-Identifier: ISC */

/*
 * Look-ups of one loop.
 *
 * A lookup is one who waits: a call by name of a socket (byname.c), or of
 * dgram_resolve().  A request is what threads are asked: one for each name and
 * family, however many wait for it.  Nobody waits longer than the loop's options
 * say, and whoever gives up is released at once: the request goes if it is still
 * in the queue, or else goes on without anybody, and who asks for the same name
 * meanwhile joins it.
 *
 *                    start                          answer, too late
 *   (caller's) ---------------> WAITING ---------------------------> done()
 *        ^                        |
 *        +------------------------+
 *                  cancel
 */

#ifndef DGI_LOOKUP_H
#define DGI_LOOKUP_H

#include "core/plat.h"

#include <stdbool.h>
#include <stdint.h>

#include "dgram.h"
#include "core/list.h"
#include "core/loop.h"
#include "resolve/table.h"

/* Look-ups that may wait at a time. */
#define DGI_LOOKUPS_MOST	16384u

/* Bytes of the largest struct that has a lookup in it. */
#define DGI_LOOKUP_ROOM		512u

struct dgi_request;

/* Storage is the caller's, and free for another start when done() is called. */
struct dgi_lookup {
	/*
	 * status 0 and n >= 1 addresses, or negative and none.  From a turn;
	 * -ECANCELED, and all of who was asked, also from inside of a call,
	 * where it must not call the user.
	 */
	void (*done)(struct dgi_lookup *, int status,
	    const struct dgram_addr *, size_t n);
	struct dgi_list link;		/* with others of the request */
	struct dgi_list timed;		/* with all, by deadline */
	uint64_t deadline;		/* ns */
	uint64_t id;			/* for the answer; 0: threads have it */
	bool asked;			/* the user was told the id */
	bool late;			/* its deadline has passed */
	struct dgi_request *request;	/* NULL: none, or none any more */
};

/* For the caller to fill in `done` before. */
void	dgi_lookup_init(struct dgi_lookup *);

/* -ECANCELED (the loop goes), -ENOBUFS, -ENOMEM, -EAGAIN (no thread). */
int	dgi_lookup_start(struct dgram_loop *, struct dgi_lookup *,
	    const char *name, int family);
/* The same where the user is to be asked, who then answers to w->id. */
int	dgi_lookup_start_asked(struct dgram_loop *, struct dgi_lookup *);
/* done() will not be called.  One that does not wait: nothing. */
void	dgi_lookup_cancel(struct dgram_loop *, struct dgi_lookup *);

/* An id by which the user refers to it; there is a resolver.  -ENOBUFS, -ENOMEM. */
int	dgi_lookup_take_id(struct dgram_loop *, struct dgi_lookup *,
	    uint64_t *id);
/* 0 is nothing. */
void	dgi_lookup_put_id(struct dgram_loop *, uint64_t id);
struct dgi_lookup	*dgi_lookup_find(const struct dgram_loop *, uint64_t id);

/* Makes sure that there is l->resolver.  -ECANCELED, -ENOMEM. */
int	dgi_resolver_get(struct dgram_loop *);
/* Then: requests, and the datagrams of sockets that wait for a name. */
struct dgi_names	*dgi_resolver_names(struct dgram_loop *);

#endif
