/* SPDX-License-Identifier: ISC */

/*
 * The loop, for the files of its layer and for sockets.
 *
 * A turn, in this order, each phase bounded by what was there at its start:
 *
 *   timers     callbacks of what is due
 *   flush      members that have something to send
 *   interest   changed watches are told to the backend
 *   wait       left out, a few times in a row, while calls are owed: each
 *              system call saved is a tenth of a send
 *   ready      a report at a time; a socket flushes behind its callbacks
 *   posts      from other threads
 *   tasks      completions and events that are owed
 *   closes     objects whose last call has been made
 *
 * Inside of a foreign loop somebody else waits, for the backend's descriptor.
 * What a turn would do before its wait cannot be left for later there: outside of
 * a run a change of interest is applied at once, and what is first queued makes
 * the descriptor readable.
 */

#ifndef DGI_LOOP_H
#define DGI_LOOP_H

#include "core/plat.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dgram.h"
#include "core/arena.h"
#include "core/heap.h"
#include "core/list.h"
#include "core/mem.h"
#include "core/mmsg.h"
#include "core/os.h"
#include "poll/poller.h"

/* max_datagram of a loop or a socket, bytes. */
#define DGI_DATAGRAM_MOST	((size_t)16 << 20)

struct dgi_member;

/* What the loop asks of an object that lives on it (a socket). */
struct dgi_member_ops {
	/* Sends what waits, within the budget.  Called off the dirty list. */
	void (*flush)(struct dgi_member *);
	/* Closes it: the loop goes.  It may leave the list of members. */
	void (*end)(struct dgi_member *);
	/* In a child process: what waits is the parent's to send. */
	void (*fork)(struct dgi_member *, bool take_paths);
	/* The most bytes it may come to hold; SIZE_MAX: no limit. */
	size_t (*bound)(const struct dgi_member *);
};

struct dgi_member {
	const struct dgi_member_ops *ops;
	struct dgi_list all;		/* on loop->members until it is freed */
	struct dgi_list dirty;		/* on loop->dirty, or in no list */
};

/* Who has a slot; a report that carries another generation is old. */
struct dgi_slot {
	struct dgram_watch *watch;	/* NULL: free */
	uint32_t gen;
	uint32_t next_free;
};

/* What another thread has the loop do; wake.c. */
struct dgi_post {
	struct dgi_post *next;
	void (*fn)(void *arg);
	void *arg;
	/* Called before fn.  That of dgram_loop_post() frees the post. */
	void (*release)(const struct dgi_mem *, struct dgi_post *);
};

struct dgi_resolver;

struct dgram_loop {
	const struct dgi_os *os;
	struct dgi_mem mem;
	struct dgi_poller poller;
	struct dgi_mmsg_state mmsg;
	uint64_t now;			/* ns */
	uint64_t waits;			/* how often it has waited */
	unsigned unwaited;		/* turns since the last wait */
	unsigned batch, budget;
	size_t max_datagram;
	bool running;
	unsigned configuring;		/* calls of configure(), also without
					   a run */
	bool embedded;			/* its descriptor was asked for */
	bool outside;			/* so, and no run is on: see below */
	bool told;			/* the descriptor is readable by us */
	atomic_bool freeing;		/* a post looks at it, too */

	size_t alive;			/* what keeps it running */
	struct dgi_list members, dirty;
	struct dgi_queue tasks, closes;

	struct dgi_heap timers;
	uint64_t timer_seq;

	struct dgi_slot *slots;
	uint32_t nslots, free_slot;	/* of free ones; 0: none, 0 is unused */
	struct dgram_watch *changed;

	struct dgi_arena arena;

	/* For sockets: requests by the size of their address (queue.c). */
	struct dgi_pool requests[2];
	struct dgi_list borrowers;	/* have requests that lie in the arena */

	/* Layer 4: NULL until the first name; what the options say. */
	struct dgi_resolver *resolver;
	unsigned resolver_threads;
	size_t resolver_stack;
	uint64_t resolver_timeout;	/* ns */

	/* wake.c; other threads touch these, freeing, os and the allocator. */
	int event[2];
	struct dgram_watch wake_watch;
	_Atomic(struct dgi_post *) posts;	/* newest first */
	struct dgi_post *due_posts;	/* taken, oldest first */
	atomic_int stopped;
};

/*
 * As dgram_loop_new() over another table of system calls and another backend
 * (NULL: the real one, the one of the options).  Both outlive the loop.
 */
int	dgi_loop_new(const struct dgram_loop_options *, const struct dgi_os *,
	    const struct dgi_poller_ops *, struct dgram_loop **ret);

/* Keeps the loop running until released as often as held. */
static inline void
dgi_loop_hold(struct dgram_loop *l)
{
	l->alive++;
}

static inline void
dgi_loop_release(struct dgram_loop *l)
{
	l->alive--;
}

/* wake.c: makes the descriptor readable for a foreign loop. */
void	dgi_wake_tell(struct dgram_loop *);

/* Something is queued that the next turn is to do. */
static inline void
dgi_loop_tell(struct dgram_loop *l)
{
	if (l->outside)
		dgi_wake_tell(l);
}

/* Runs `t` in the phase of tasks. */
static inline void
dgi_loop_owe(struct dgram_loop *l, struct dgi_task *t)
{
	dgi_queue_append(&l->tasks, t);
	dgi_loop_tell(l);
}

/* Runs `t` in the phase of closes. */
static inline void
dgi_loop_close(struct dgram_loop *l, struct dgi_task *t)
{
	dgi_queue_append(&l->closes, t);
	dgi_loop_tell(l);
}

void	dgi_member_init(struct dgram_loop *, struct dgi_member *,
	    const struct dgi_member_ops *);
/* Has it flushed before the loop waits, or by dgi_loop_flush(). */
static inline void
dgi_member_dirty(struct dgram_loop *l, struct dgi_member *m)
{
	if (!dgi_list_empty(&m->dirty))
		return;
	dgi_list_append(&l->dirty, &m->dirty);
	dgi_loop_tell(l);
}

/* Flushes the members that are dirty now, each once. */
void	dgi_loop_flush_dirty(struct dgram_loop *);
static inline void
dgi_loop_flush(struct dgram_loop *l)
{
	if (!dgi_list_empty(&l->dirty))
		dgi_loop_flush_dirty(l);
}

/* timer.c: callbacks of what is due, true if any. */
bool	dgi_timer_run(struct dgram_loop *);
/* ns from `now` until the next is due, or -1. */
int64_t	dgi_timer_next(const struct dgram_loop *, uint64_t now);

/* Flags of a watch. */
#define DGI_WATCH_UNREF		0x1u
#define DGI_WATCH_INTERNAL	0x2u	/* gets DGI_ERROR and DGI_HANGUP */

/* watch.c: an internal one, unreferenced. */
void	dgi_watch_init(struct dgram_watch *, struct dgram_loop *, int fd,
	    dgram_watch_fn *, void *arg);
/* Interest from now on, with the backend's error. */
int	dgi_watch_set(struct dgram_watch *, unsigned want);
/* Interest as of the next wait; dgi_watch_set() was called once before. */
void	dgi_watch_want(struct dgram_watch *, unsigned want);
/* Tells the backend what changed. */
void	dgi_watch_apply(struct dgram_loop *);
void	dgi_watch_dispatch(struct dgram_loop *, const struct dgi_report *);
/* All of them become inactive. */
void	dgi_watch_done(struct dgram_loop *);

/* wake.c */
int	dgi_wake_open(struct dgram_loop *);
void	dgi_wake_close(struct dgram_loop *);
/* What event_open() of the table made: one descriptor, or two. */
void	dgi_wake_close_event(const struct dgi_os *, const int event[2]);
/*
 * dgram_loop_post() with storage of the caller's, filled in, which is the loop's
 * until release().  Any thread, as long as there is a loop.
 */
void	dgi_wake_post(struct dgram_loop *, struct dgi_post *);
/* Has it been made and not been taken yet?  While no other thread posts. */
bool	dgi_wake_is_posted(const struct dgram_loop *, const struct dgi_post *);
void	dgi_wake_run_posts(struct dgram_loop *);
/* Frees them without a call: in a child they are the parent's. */
void	dgi_wake_drop_posts(struct dgram_loop *);
static inline bool
dgi_wake_has_posts(const struct dgram_loop *l)
{
	return atomic_load_explicit(&l->posts, memory_order_relaxed) != NULL;
}

#endif
