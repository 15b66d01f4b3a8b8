/* SPDX-License-Identifier: ISC */

/*
 * Abort signals, as sockets see them: by pointers in the object, so that a
 * program without signals does not link abort.c.
 */

#ifndef DGI_ABORT_H
#define DGI_ABORT_H

#include "core/plat.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "core/list.h"
#include "core/loop.h"
#include "core/mem.h"

struct dgram_abort {
	/* A socket that was opened with it; one that was triggered closes it. */
	void (*join)(struct dgram_abort *, struct dgram_socket *);
	/* A socket that joined is closed; the signal may be gone behind it. */
	void (*leave)(struct dgram_abort *, struct dgram_socket *);

	/* What the trigger uses, on any thread. */
	_Atomic(struct dgram_loop *) loop;	/* NULL: it was freed */
	atomic_bool triggered;
	atomic_uint inside;		/* calls of the trigger under way */
	struct dgi_post post;
	bool posted;			/* it is the loop's */

	/* The loop's thread only. */
	struct dgi_member member;
	struct dgi_list sockets;	/* by their signal_link */
	bool owned;			/* not freed by the user */
	struct dgi_mem mem;		/* outlives the loop's */
};

#endif
