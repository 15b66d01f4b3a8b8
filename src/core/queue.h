/* SPDX-License-Identifier: ISC */

/*
 * The send queue of a socket.
 *
 * One FIFO holds all that was accepted, has an address and has not gone: for the
 * bind, for the kernel, for a timer.  What has no address yet is parked with
 * whoever looks it up and comes to the end of the FIFO when it has.  A request
 * is a datagram or a borrowed array of them; beside them the completion of a
 * bind or connect is one, too, which is never in the queue.
 *
 * Most requests are one datagram of one piece to an address: what is inline
 * here is the way of those.
 */

#ifndef DGI_QUEUE_H
#define DGI_QUEUE_H

#include "core/plat.h"

#include <string.h>

#include "core/socket.h"

/*
 * Flags of a request; 0 is the common one: a datagram of one borrowed piece.
 * What it is, if not a datagram:
 */
#define DGI_REQ_BATCH	0x001u
#define DGI_REQ_NOTE	0x002u	/* only tells */
#define DGI_REQ_BIND	0x004u	/* the completion of a bind: a note, too */
#define DGI_REQ_CONNECT	0x1000u
#define DGI_REQ_SPECIAL	(DGI_REQ_BATCH | DGI_REQ_NOTE)
/* What is not as in a common one: */
#define DGI_REQ_COPIED	0x008u	/* small[0] is a copy of the library's */
#define DGI_REQ_ARENA	0x010u	/* small[0] lies in the arena */
#define DGI_REQ_REPLY	0x020u	/* a failure is only counted */
#define DGI_REQ_ARRAY	0x040u	/* iov is allocated */
#define DGI_REQ_PIECES	0x080u	/* iovcnt is not 1 */
#define DGI_REQ_META	0x800u	/* a struct dgi_source lies behind addr; of an
				   array: some members say more */
#define DGI_REQ_FDS	0x8000u	/* small[1]: descriptors of ours, how many */
#define DGI_REQ_UNCOMMON (DGI_REQ_SPECIAL | DGI_REQ_PIECES | DGI_REQ_META | \
			    DGI_REQ_FDS)
#define DGI_REQ_TIMED	0x100u	/* deadline or refused_at is not 0 */
#define DGI_REQ_LARGE	0x200u	/* has room for any address */
#define DGI_REQ_FAILED	0x400u	/* status is negative */
#define DGI_REQ_NAMED	0x2000u	/* instead of an address a struct dgi_place */
#define DGI_REQ_PART	0x4000u	/* of DGI_REQ_BATCH: one of an array, arg, which
				   is told how it went */

/* A name that is looked up, for all that wait for it or tell of it. */
struct dgi_name {
	size_t refs;
	char text[];
};

/* Bytes of a name (RFC 1035, 2.3.4), and of a struct with it. */
#define DGI_NAME_MOST	255u
#define DGI_NAME_ROOM	(sizeof(struct dgi_name) + DGI_NAME_MOST + 1)

/* Where a request goes that has no address yet. */
struct dgi_place {
	struct dgi_name *name;		/* counted */
	int port;
};

/*
 * In the pool of small ones a request is a common one; whoever makes it anything
 * else says so by a flag, and dgi_req_free() makes it a common one again.  What
 * is of each (fn, arg, status, small[0], addr) is written by whoever takes it.
 */
struct dgi_req {
	struct dgi_req *next;		/* in the queue, then owed */
	dgram_done_fn *done;
	void *arg;
	const struct iovec *iov;	/* u.small, or allocated */
	union {
		struct iovec small[2];
		struct {
			struct dgram_datagram *v;
			unsigned n, pos, went;
			unsigned parts;	/* taken out of it, not over */
		} batch;
	} u;
	uint64_t deadline;		/* 0: none */
	uint64_t refused_at;		/* loop->now of the first ENOBUFS; 0 */
	int status;			/* bytes of the datagram; or why not */
	int iovcnt;
	unsigned short flags;		/* DGI_REQ_* */
	unsigned short addr_len;	/* 0: the connected peer */
	char addr[];
};

/* Completions of a socket that may wait to be told; unless unlimited. */
#define DGI_UNTOLD_MOST	4096u

/* How long what the kernel has no room for waits, at first and at most. */
#define DGI_BACKOFF_MS		1u
#define DGI_BACKOFF_MOST_MS	50u

/* UIO_MAXIOV, IOV_MAX everywhere. */
#define DGI_REQ_PIECES_MOST	1024

/* Addresses up to this long go to the pool of small requests. */
#define DGI_REQ_SMALL	sizeof(struct sockaddr_in6)
#define DGI_REQ_LARGE_ROOM	sizeof(((struct dgram_addr *)0)->u)
/* One of DGI_REQ_META is large, its address small. */
#define DGI_REQ_SOURCE_AT	32u
_Static_assert(DGI_REQ_SMALL <= DGI_REQ_SOURCE_AT && DGI_REQ_SOURCE_AT +
    sizeof(struct dgi_source) <= DGI_REQ_LARGE_ROOM, "both have room");
_Static_assert(sizeof(struct dgi_place) <= DGI_REQ_SMALL, "it has room");

/*
 * Completions of bind and connect that may wait to be told: who asks for more
 * does not run the loop.
 */
#define DGI_STEPS_MOST	1024u

/* ---- queue.c ---- */

/* Where one of DGI_REQ_NAMED goes; addr is not aligned for it. */
static inline struct dgi_place
dgi_req_place(const struct dgi_req *r)
{
	struct dgi_place place;

	memcpy(&place, r->addr, sizeof(place));
	return place;
}

/* A request with room for an address of that many bytes, or NULL. */
struct dgi_req	*dgi_req_new(struct dgram_socket *, unsigned flags,
	    size_t addr_len);
/* One that is in no queue. */
void	dgi_req_free_special(struct dgram_socket *, struct dgi_req *);
static inline void
dgi_req_free(struct dgram_socket *s, struct dgi_req *r)
{
	/* What lies in the arena, replies that is, need nothing undone. */
	if ((r->flags & ~(DGI_REQ_REPLY | DGI_REQ_ARENA)) != 0) {
		dgi_req_free_special(s, r);
		return;
	}
	r->flags = 0;
	dgi_pool_put(&s->loop->requests[0], r);
}

/*
 * Deadline of the datagram that this request would send next; 0: none.  Those
 * behind it in an array are late when they come up.
 */
static inline uint64_t
dgi_req_deadline(const struct dgi_req *r)
{
	if ((r->flags & DGI_REQ_SPECIAL) == 0)
		return r->deadline;
	if ((r->flags & DGI_REQ_BATCH) != 0 && r->u.batch.pos < r->u.batch.n)
		return r->u.batch.v[r->u.batch.pos].deadline_ns;
	return 0;
}

static inline bool
dgi_queue_is_late(const struct dgram_socket *s, uint64_t deadline)
{
	return deadline != 0 && deadline <= s->loop->now;
}

static inline void
dgi_reqs_append(struct dgi_reqs *q, struct dgi_req *r)
{
	r->next = NULL;
	*q->tail = r;
	q->tail = &r->next;
}

/* Something waits to be sent. */
static inline bool
dgi_queue_waits(const struct dgram_socket *s)
{
	return s->line.queue.head != NULL || s->held_for != NULL;
}

/* Bytes and datagrams accepted and not sent. */
static inline size_t
dgi_queue_count(const struct dgram_socket *s)
{
	return s->line.queued + s->held + s->parked;
}

static inline size_t
dgi_queue_bytes(const struct dgram_socket *s)
{
	return s->options.send_queue_bytes - s->bytes_left;
}

/*
 * With n more too many completions would wait to be told, by who sends and sends
 * and does not run the loop: the kernel takes the datagrams, nothing waits in
 * the queue, but memory has to be bounded.
 */
static inline bool
dgi_queue_owes_much(const struct dgram_socket *s, size_t n)
{
	return s->untold + n > DGI_UNTOLD_MOST &&
	    s->options.send_queue_count != DGRAM_UNLIMITED;
}

/*
 * Derives s->common_most from the completions that are not told and what is
 * parked.
 */
static inline void
dgi_queue_set_common(struct dgram_socket *s)
{
	const unsigned batch = s->loop->batch;
	const size_t room = s->options.send_queue_count - s->parked;

	s->common_most = room < batch ? room : batch;
	if (dgi_queue_owes_much(s, batch))
		s->common_most = 0;
}

/* The refusal of what the limits have no room for. */
int	dgi_queue_refuse(struct dgram_socket *, size_t n);

/* 0, or -ENOBUFS if the limits have no room for n datagrams of `bytes`. */
static inline int
dgi_queue_admit(struct dgram_socket *s, size_t n, size_t bytes)
{
	/* The count is never above the limit, so the difference is right. */
	if (n <= s->options.send_queue_count - dgi_queue_count(s) &&
	    !dgi_queue_owes_much(s, 1) &&
	    bytes <= s->bytes_left)
		return 0;
	return dgi_queue_refuse(s, n);
}

static inline void
dgi_queue_note_deadline(struct dgram_socket *s, uint64_t deadline)
{
	if (deadline != 0 && deadline < s->first_deadline)
		s->first_deadline = deadline;
}

/* The first of the queue, or the last of a batch, has been appended; 0. */
int	dgi_queue_edge(struct dgram_socket *);

/* Requests of n datagrams: what is known of the line is kept. */
static inline void
dgi_line_append(struct dgi_line *l, struct dgi_req *r, size_t n)
{
	dgi_reqs_append(&l->queue, r);
	l->queued += n;
	l->silent += r->done == NULL;
	l->specials += (r->flags & DGI_REQ_UNCOMMON) != 0;
}

/* Appends; flushes when a batch is full. */
static inline void
dgi_queue_push(struct dgram_socket *s, struct dgi_req *r, size_t n,
    size_t bytes)
{
	bool first = s->line.queue.head == NULL;

	dgi_line_append(&s->line, r, n);
	if ((r->flags & (DGI_REQ_TIMED | DGI_REQ_BATCH)) != 0)
		dgi_queue_note_deadline(s, dgi_req_deadline(r));
	s->bytes_left -= bytes;
	if (first || s->line.queued >= s->loop->batch)
		(void)dgi_queue_edge(s);
}

/* The first k went, requests of one all of them; their bytes. */
size_t	dgi_queue_sent_ones(struct dgram_socket *, int k);
/* The datagram at the head is over, `size` bytes long: with this result. */
void	dgi_queue_pop(struct dgram_socket *, size_t size, int result);
/* The datagram at the head fails. */
void	dgi_queue_fail_head(struct dgram_socket *, int status);
/* What is late leaves with -ETIMEDOUT. */
void	dgi_queue_expire(struct dgram_socket *);
/* Completes all that waits; only_peer: what has no address of its own. */
void	dgi_queue_fail(struct dgram_socket *, int status, bool only_peer);
/* Calls whoever waits for what is over; from the tasks of the loop. */
void	dgi_queue_complete(struct dgram_socket *);
/* The same for a request that is not a common one, or failed; it is freed. */
void	dgi_req_tell(struct dgram_socket *, struct dgi_req *);
/* A request is over whose datagram is not in the queue any more. */
void	dgi_queue_finish(struct dgram_socket *, struct dgi_req *, int status);
/* No request refers to the arena any more: those that did have copies. */
void	dgi_queue_settle(struct dgram_loop *);
/* An `error` of kind DGRAM_IN_ICMP, from the loop. */
void	dgi_queue_note(struct dgram_socket *, int status);
/* The error of an earlier datagram whose bearer went or leaves: noted. */
void	dgi_queue_tell_pending(struct dgram_socket *);
/* The most bytes that the requests of this socket may come to. */
size_t	dgi_queue_bound(const struct dgram_socket *);

/* ---- named.c: for names (layer 4) ---- */

/* NULL: no memory.  The caller's is the first reference. */
struct dgi_name	*dgi_name_new(struct dgi_mem *, const char *text);
void	dgi_name_free(struct dgi_mem *, struct dgi_name *);

/* Accepted for that place: it waits for the address. */
void	dgi_queue_park(struct dgram_socket *, struct dgi_reqs *,
	    struct dgi_req *, struct dgi_name *, int port);
/* They have it: to the end of the queue, to the port of each. */
void	dgi_queue_unpark(struct dgram_socket *, struct dgi_reqs *,
	    const struct dgram_addr *);
/* They never will; of_name: the name is why. */
void	dgi_queue_fail_parked(struct dgram_socket *, struct dgi_reqs *,
	    int status, bool of_name);

/*
 * The completion of a bind or connect, made when that is accepted: DGI_REQ_BIND
 * or DGI_REQ_CONNECT.  -ENOMEM; -ENOBUFS: DGI_STEPS_MOST of them.
 */
int	dgi_step_new(struct dgram_socket *, unsigned kind, dgram_done_fn *,
	    void *arg, struct dgi_req **);
/* Never accepted. */
void	dgi_step_free(struct dgram_socket *, struct dgi_req *);
/* It is over, and told behind those that were over before. */
void	dgi_step_owe(struct dgram_socket *, struct dgi_req *);
/* How it ended, until it is told; either of the last two may be NULL. */
void	dgi_step_set(struct dgi_req *, int status, const struct dgram_addr *,
	    struct dgi_name *);
/* `listening`, `connect` and the completions that belong to them. */
void	dgi_step_tell_all(struct dgram_socket *);

/* ---- send.c ---- */

/*
 * One datagram to a name, accepted and ready to be parked, or NULL and *status.
 * configure() may be called.
 */
struct dgi_req	*dgi_send_accept_named(struct dgram_socket *,
	    const struct iovec *, int iovcnt, dgram_done_fn *, void *arg,
	    int *status);

/* ---- meta.c: what a datagram is sent with ---- */

/* Does it say more than what to send, and where to? */
static inline bool
dgi_meta_is_set(const struct dgram_datagram *d)
{
	return ((uintptr_t)d->from | (uintptr_t)d->fds | d->nfds | d->flags |
	    d->ifindex) != 0 || (unsigned)d->ttl + 1u > 1 ||
	    (unsigned)d->tos + 1u > 1;
}

/* Can it be sent so?  Reserves what that takes. */
int	dgi_meta_check(struct dgram_socket *, const struct dgram_datagram *);
int	dgi_meta_reserve(struct dgram_socket *);
/* What a checked datagram is sent with. */
void	dgi_meta_of(const struct dgram_datagram *, struct dgi_source *);
/* What the answer to a message is sent with; false: nothing. */
bool	dgi_meta_answer(const struct dgram_socket *,
	    const struct dgram_message *, struct dgi_source *);
/* Control messages for header i, whose name is in place. */
void	dgi_meta_attach(struct dgram_socket *, unsigned i,
	    const struct dgi_source *);

/* ---- hold.c: full receivers of AF_UNIX ---- */

/*
 * The head's receiver is full: it is set apart, and so will be what follows it
 * there.  In a line already: noted.  False: no memory.
 */
bool	dgi_hold_head(struct dgram_socket *);
/*
 * Sets apart what must not go past others to its receiver, until the queue begins
 * with `most` that may be sent or nothing else is in it: how many there are; 0,
 * and something else is in it: no memory.
 */
unsigned	dgi_hold_sift(struct dgram_socket *, unsigned most);
/* Sends of the lines that are due; what is left of `most`. */
size_t	dgi_hold_flush(struct dgram_socket *, size_t most);
/* All of them are due. */
void	dgi_hold_wake(struct dgram_socket *);
/* fn() with each line in the place of the queue. */
void	dgi_hold_each(struct dgram_socket *, void (*fn)(struct dgram_socket *,
	    void *arg), void *arg);
/* The most bytes that it takes for n datagrams. */
size_t	dgi_hold_bound(size_t n);

/* ---- peer.c: peers of AF_UNIX that vanish ---- */

/* Is that what a send to a peer that has gone fails with? */
bool	dgi_peer_is_gone(int status);
/* Is it to be connected to again? */
bool	dgi_peer_comes_back(const struct dgram_socket *);
/* It has gone, which is told.  True: it is back. */
bool	dgi_peer_connect(struct dgram_socket *, int status);
/* The same; unless it is back the queue waits for it. */
bool	dgi_peer_lost(struct dgram_socket *, int status);
/* There is to be no peer any more. */
void	dgi_peer_forget(struct dgram_socket *);
/* The first failure that nobody waits for is an `error`, others are counted. */
void	dgi_peer_blame_once(struct dgram_socket *, struct dgi_req *);

/* ---- rights.c: descriptors sent ---- */

/* As dgi_meta_check(), of AF_UNIX. */
int	dgi_rights_check(struct dgram_socket *,
	    const struct dgram_datagram *);
/* Duplicates them for a request whose bytes were copied: DGI_REQ_FDS. */
int	dgi_rights_keep(struct dgram_socket *, struct dgi_req *,
	    const int *fds, size_t n);
void	dgi_rights_drop(struct dgram_socket *, struct dgi_req *);

/* ---- flush.c ---- */

/* Sends of the queue up to `most` datagrams; how many of those are left. */
size_t	dgi_queue_send(struct dgram_socket *, size_t most);
/* Sends up to `most` datagrams, as far as the kernel takes them. */
void	dgi_queue_flush(struct dgram_socket *, size_t most);
/* The same with all there is, also if it waits for something. */
void	dgi_queue_flush_now(struct dgram_socket *);
/* Sends now, past the empty queue: how many of n went, or why none. */
int	dgi_queue_try(struct dgram_socket *, struct dgram_datagram *, size_t n,
	    bool meta);
/* The queue is shorter: drain may be owed, a socket that ends may close. */
void	dgi_queue_changed(struct dgram_socket *);
/* Everything may be tried again. */
void	dgi_queue_unblock(struct dgram_socket *);
/* The queue waits for the timer: each time twice as long, to most_ms. */
void	dgi_queue_back_off(struct dgram_socket *, unsigned most_ms);
/* Arms the timer for whatever is due first. */
void	dgi_queue_arm(struct dgram_socket *);
/* The same if the deadlines would not be looked at in time without it. */
void	dgi_queue_watch_deadlines(struct dgram_socket *);
/* The timer: the back-off is over, or a deadline, or a rest from reading. */
void	dgi_queue_timer(struct dgram_timer *, void *arg);

#endif
