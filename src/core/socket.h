/* SPDX-License-Identifier: ISC */

/*
 * A socket, for the files of its layer and, at the end, for names (layer 4).
 *
 * The state, and the one table in state.c that moves it:
 *
 *             bind            bound            connect          connected
 *   UNBOUND --------> BINDING -----> BOUND ------------> CONNECTING -----> CONNECTED
 *      ^               |   |           ^ ^                  |     ^            |
 *      |  bind failed  |   | connect   | +------------------+     |            |
 *      +---------------+   v           |    connect failed        | bound      |
 *      ^             BINDING_TO_CONNECT --------------------------+            |
 *      +--------------+ (bind failed)  |                                       |
 *                                      +---------------------------------------+
 *   any of these --close--> CLOSED                     disconnect
 *
 * A bind or connect by address passes through BINDING or CONNECTING inside of
 * one call; a bind or connect by name stays there until layer 4 is done.
 * A connect that fails in front of its bind leaves that in BINDING.
 *
 * An AF_UNIX socket that only sends is BOUND without a name: it has a
 * descriptor, receives nothing, does not keep the loop running and may still be
 * given a path (`receives` tells).
 */

#ifndef DGI_SOCKET_H
#define DGI_SOCKET_H

#include "core/plat.h"

#include <sys/stat.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "dgram.h"
#include "core/abort.h"
#include "core/list.h"
#include "core/loop.h"

enum dgi_state { DGI_UNBOUND = 1, DGI_BINDING, DGI_BINDING_TO_CONNECT, DGI_BOUND,
	DGI_CONNECTING, DGI_CONNECTED, DGI_CLOSED, DGI_NSTATES };

enum dgi_step { DGI_BIND, DGI_BIND_DONE, DGI_BIND_FAILED, DGI_CONNECT,
	DGI_CONNECT_DONE, DGI_CONNECT_FAILED, DGI_DISCONNECT, DGI_CLOSE,
	DGI_NSTEPS };

/* What the queue waits for, when it must not be flushed. */
enum dgi_block { DGI_FREE, DGI_UNTIL_WRITABLE, DGI_UNTIL_TIMER };

/* What is owed to the user, delivered in this order. */
#define DGI_OWES_LOST		0x20u	/* an error: s->lost_status */
#define DGI_OWES_LISTENING	0x01u
#define DGI_OWES_CONNECT	0x02u
#define DGI_OWES_STEP		0x04u	/* completions: s->steps */
#define DGI_OWES_DONE		0x08u	/* completions: s->done */
#define DGI_OWES_DRAIN		0x10u
/* What comes in front of messages; named.c */
#define DGI_OWES_STATE		(DGI_OWES_LOST | DGI_OWES_LISTENING | \
				    DGI_OWES_CONNECT | DGI_OWES_STEP)

struct dgi_hold;
struct dgi_holds;
struct dgi_membership;
struct dgi_req;

/* A FIFO of requests. */
struct dgi_reqs {
	struct dgi_req *head, **tail;
};

static inline void
dgi_reqs_init(struct dgi_reqs *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

/* Datagrams that wait, in order. */
struct dgi_line {
	struct dgi_reqs queue;
	size_t queued;			/* datagrams in it */
	size_t silent;			/* requests in it without completion */
	size_t specials;		/* DGI_REQ_UNCOMMON ones in it */
};

/*
 * An operation of a higher layer in progress: a look-up behind a bind, connect
 * or send.  It hangs on its socket so that close and failure reach it.
 * cancel() is called off the list, at most once, never inside a user's callback
 * of its own making, and must not call the user: it owes its completion.
 * bound() of a connect that waits for it is called when the bind is done.
 */
struct dgi_op {
	struct dgi_list link;
	void (*cancel)(struct dgi_op *, int status);
	void (*bound)(struct dgi_op *);	/* NULL: it does not wait for that */
};

struct dgi_close_fn {
	void (*fn)(void *arg);
	void *arg;
};

struct dgram_socket {
	struct dgi_member member;
	struct dgram_loop *loop;
	struct dgram_watch watch;
	int fd;				/* -1: none yet, or closed */
	int family;
	socklen_t addr_len;		/* of its family; 0: varies (AF_UNIX) */
	enum dgram_type type;
	enum dgi_state state;
	/*
	 * Length of an address that may be sent to without asking the state:
	 * UINT32_MAX, which none has, if there is something to ask.
	 */
	socklen_t common_len;
	bool receives;			/* somebody can send to it */
	bool unrefd, holds;		/* holds: the loop is kept running */
	bool paused, ending;
	bool hung_up;			/* shut down: reading would not end */
	bool shut;			/* so, but nobody reads yet */
	bool own_path;			/* close unlinks it */

	struct dgram_events events;
	void *arg;
	struct dgram_options options;	/* device and events are not valid */
	char *device;			/* copy, or NULL */
	struct dgram_owner path_owner;	/* copy, where options point */

	/* recv.c */
	unsigned rx_mode;		/* DGI_RX_* */
	uint64_t last_wait;		/* loop->waits when it was last ready */
	unsigned streak;		/* 0 quiet, 1 begun, 2 going on */
	unsigned quiet, patience;	/* visits towards a streak; needed */
	int recv_error;			/* the last one, 0 after a datagram */
	bool recv_rests;		/* until the timer */
	unsigned floods;		/* visits that used the budget up; of
					   stats.budget_used_up, sends are part */

	/* queue.c and flush.c */
	size_t bytes_left;		/* of options.send_queue_bytes */
	struct dgi_line line;
	size_t parked;			/* datagrams that wait for an address */
	size_t common_most;		/* a batch, or what the limit leaves of it
					   beside those; 0: too many completions
					   are not told */
	size_t deadlines;		/* datagrams with one, of all that wait */
	uint64_t first_deadline;	/* none of theirs is before this */
	bool queue_holds;		/* it keeps the loop running */
	struct dgi_reqs done;		/* over, not told yet */
	size_t untold;			/* of them with a completion */
	struct dgi_reqs steps;		/* binds and connects, the same */
	size_t nsteps;			/* made and not told */
	enum dgi_block block;
	unsigned backoff_ms;
	uint64_t blocked_until;		/* loop->now when the back-off is over */
	uint64_t rests_until;		/* and recv_rests */
	struct dgram_timer timer;	/* back-off, deadlines, recv_rests */
	bool refused;			/* a drain will be owed */
	int pending_error;		/* given to the head; it is tried again */
	/* peer.c */
	bool lost;			/* the peer has gone, and that was told */
	int lost_status;
	char *peer_path;		/* that peer does not hold, or NULL */
	size_t peer_size;		/* of that piece of memory */
	int (*connect_again)(struct dgram_socket *);	/* NULL: to peer */
	/* hold.c: lines of those whose receivers are full. */
	struct dgi_holds *held_for;	/* NULL: none */
	struct dgi_list lines, due;	/* not yet, and to be tried again */
	size_t held;			/* datagrams in lines */
	struct dgi_hold *serving;	/* it is in the place of the queue */
	struct dgi_list borrower;	/* on loop of those with arena bytes */

	struct dgi_task owed;		/* for `owes` */
	unsigned owes;
	bool is_owed;			/* `owed` is in the loop's queue */
	struct dgi_task closing;
	struct dgi_close_fn end_fn, close_fn;

	struct dgi_list ops;		/* struct dgi_op */
	struct dgi_list signal_link;	/* on options.signal, until closed */

	struct dgram_addr local;	/* as bound; len 0: not, or unnamed */
	struct dgram_addr peer;		/* while connected */
	dev_t path_dev;
	ino_t path_ino;
	char *long_path;		/* what local does not hold, or NULL */
	size_t long_size;		/* of that piece of memory */
	/* mcast.c; they go with the descriptor. */
	struct dgi_membership *memberships;

	struct dgram_error failure;	/* for dgram_last_error() */
	struct dgram_addr failed_addr;
	struct dgram_stats stats;	/* .waiting is not kept */
};

/*
 * A way to a name, or to a peer: what is to be done to a descriptor that has been
 * made and set up.
 */
struct dgi_way {
	/* 0, or an error and then it has left nothing behind. */
	int (*go)(struct dgram_socket *, struct dgi_way *);
	bool named;			/* a bind: somebody can send to it */
};

/* ---- state.c ---- */

/* 0, or why this step cannot be made from here. */
int	dgi_state_check(const struct dgram_socket *, enum dgi_step);
/* Makes a step that was checked. */
void	dgi_state_move(struct dgram_socket *, enum dgi_step);
/* Derives s->common_len: after a step, and when a socket begins to end. */
void	dgi_state_set_common(struct dgram_socket *);
/* A bind or connect by name that is under way never was: after a fork. */
void	dgi_state_abandon(struct dgram_socket *);
/* Ends the operations of higher layers. */
void	dgi_state_cancel_ops(struct dgram_socket *, int status);
/*
 * Binds an UNBOUND one to the wildcard and a port of the kernel's choice;
 * AF_UNIX: without a name.  prepare(), unless NULL, is called between the making
 * of the descriptor and bind(2).  If it or anything behind it fails, all is as it
 * was, but what it did to a descriptor that was there before.
 */
int	dgi_state_bind(struct dgram_socket *, int (*prepare)(
	    struct dgram_socket *, void *arg), void *arg);
/* 0, or why it cannot be given a name. */
int	dgi_state_check_name(const struct dgram_socket *);
/* Gives it one that way; checked before. */
int	dgi_state_name(struct dgram_socket *, struct dgi_way *);
/* The same for a peer. */
int	dgi_state_check_peer(const struct dgram_socket *);
int	dgi_state_reach(struct dgram_socket *, struct dgi_way *);
/* A bound socket, by an implicit bind if need be, or one that is binding. */
static inline int
dgi_state_ready_to_send(struct dgram_socket *s)
{
	return s->state == DGI_UNBOUND ? dgi_state_bind(s, NULL, NULL) : 0;
}
/* May datagrams be given to the kernel? */
static inline bool
dgi_state_can_send(const struct dgram_socket *s)
{
	return s->state >= DGI_BOUND && s->state <= DGI_CONNECTED;
}

/* ---- socket.c ---- */

/* What every call looks at first. */
static inline int
dgi_socket_check(const struct dgram_socket *s)
{
	if (s == NULL)
		return -EINVAL;
	return s->state == DGI_CLOSED ? DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING : 0;
}

/* What setters and getters of the descriptor look at. */
static inline int
dgi_socket_check_fd(const struct dgram_socket *s)
{
	int r = dgi_socket_check(s);

	return r == 0 && s->fd < 0 ? -EBADF : r;
}

/* Is it read, now?  Callbacks change that. */
static inline bool
dgi_socket_reads(const struct dgram_socket *s)
{
	return s->fd >= 0 && s->receives && s->events.message != NULL &&
	    !s->paused && !s->recv_rests && !s->hung_up;
}

/* Makes the descriptor with all options set. */
int	dgi_socket_create(struct dgram_socket *);
/* Undoes it. */
void	dgi_socket_discard(struct dgram_socket *);
/* The socket's own from now on; -ENOMEM, and it is not. */
int	dgi_socket_attach(struct dgram_socket *, int fd);
void	dgi_socket_set_type(struct dgram_socket *, enum dgram_type);
/* Interest and what keeps the loop running, derived anew from the state. */
void	dgi_socket_changed(struct dgram_socket *);
/* The same now, with the backend's error. */
int	dgi_socket_register(struct dgram_socket *);
static inline void
dgi_socket_owe(struct dgram_socket *s, unsigned what)
{
	s->owes |= what;
	if (s->is_owed)
		return;
	s->is_owed = true;
	dgi_loop_owe(s->loop, &s->owed);
}
void	dgi_socket_close(struct dgram_socket *);
/* Closes a socket that is ending and for which nothing waits any more. */
void	dgi_socket_check_end(struct dgram_socket *);

/* ---- error.c ---- */

/* The `error` event, at once: only from inside of a turn. */
void	dgi_socket_error(struct dgram_socket *, int status, int kind,
	    const char *syscall, const struct dgram_addr *);
/* The same of what receiving, or SO_ERROR, has told: its kind, the peer. */
void	dgi_socket_receive_error(struct dgram_socket *, int status);
/* An error that an earlier datagram brought back (ICMP), ip(7). */
bool	dgi_socket_is_icmp(const struct dgram_socket *, int status);
/* Empties the queue of such errors, so that it does not wake for ever. */
void	dgi_socket_drain_errors(struct dgram_socket *);
/* An error waits and nobody reads: takes it off the socket, and tells it. */
void	dgi_socket_take_error(struct dgram_socket *);

/* ---- adopt.c ---- */

/* Takes a descriptor over, in whatever state it is. */
int	dgi_socket_adopt(struct dgram_socket *, int fd);

/* ---- recv.c: it is readable ---- */

void	dgi_recv_ready(struct dgram_socket *, unsigned events);

/* ---- option.c ---- */

/* What dgram_options say of any descriptor: what to tell, and buffers. */
int	dgi_option_apply_any(struct dgram_socket *);
/* The same of a new one, with what must come before its bind(2). */
int	dgi_option_apply(struct dgram_socket *);
int	dgi_option_check(const struct dgram_options *);
/* A list of addresses, which AF_UNIX has none of. */
static inline bool
dgi_option_has_list(const struct dgram_options *o)
{
	return o->receive_block_list != NULL || o->send_block_list != NULL;
}
/* Whose the file of a path is to be, or of which mode: node.c. */
static inline bool
dgi_option_has_owner(const struct dgram_options *o)
{
	return o->path_mode != 0 || o->path_owner != NULL;
}

/* ---- meta.c ---- */

/* Bits of want that control messages serve; those of IP, of AF_UNIX. */
#define DGI_META_IP	(DGRAM_LOCAL | DGRAM_TTL | DGRAM_TOS)
#define DGI_META_WANT	(DGI_META_IP | DGRAM_TIME)
#define DGI_META_UNIX	(DGRAM_CREDS | DGRAM_FDS)

/* Asks the kernel for what dgram_options.want says.  -ENOTSUP. */
int	dgi_meta_apply(struct dgram_socket *);
/* What came with the datagram in slot i, into its message; and readies both. */
void	dgi_meta_fill(struct dgram_socket *, unsigned i);
/* It will not be delivered: what came with it is closed. */
void	dgi_meta_drop(struct dgram_socket *, unsigned i);

/* How a socket of its type receives who wants that: DGI_RX_*. */
unsigned	dgi_meta_mode(const struct dgram_socket *, unsigned want);
/*
 * Credentials, if they are wanted: before others can send to it.  Not without a
 * name: Linux gives one to who sends with SO_PASSCRED, unix(7).  -ENOTSUP.
 */
int	dgi_meta_set_creds(struct dgram_socket *, bool on);
/* Others may have set options of the descriptor.  -ENOMEM. */
int	dgi_meta_look(struct dgram_socket *);

/* ---- rights.c: descriptors received ---- */

void	dgi_rights_close(struct dgram_socket *, const int *fds, size_t n);
/* What came with a datagram, into its message, or closed. */
void	dgi_rights_take(struct dgram_socket *, struct msghdr *,
	    struct dgram_message *, const struct dgi_cmsg_rest *);

/* ---- unix.c ---- */

/* A name for bind(2): the whole of it, or a base in a directory. */
struct dgi_unix_name {
	const char *path;		/* of the file; NULL: it makes none */
	const struct sockaddr *sa;	/* NULL: base, in dir */
	socklen_t len;
	int dir;
	const char *base;
};

/* A bind has given it a name: remembers its file unless it knows it. */
void	dgi_unix_named(struct dgram_socket *);
/* Remembers what lies there, or what that is, as what a bind made just now. */
void	dgi_unix_bound(struct dgram_socket *, const char *path);
void	dgi_unix_remember(struct dgram_socket *, const struct stat *);
/* Removes that, and just that; the second forgets the path, too. */
void	dgi_unix_unlink_own(struct dgram_socket *, const char *path);
void	dgi_unix_unlink(struct dgram_socket *);

/* ---- node.c ---- */

/* bind(2), and what is to be done to the file: all of it, or nothing is left. */
int	dgi_node_bind(struct dgram_socket *, const struct dgi_unix_name *);

/* ---- stats.c ---- */

/* What only the kernel knows, as of now: before the descriptor goes, too. */
void	dgi_stats_keep(struct dgram_socket *);
/*
 * Its count of drops has 32 bits and ours 64: to be looked at before 2^32 of them
 * have passed.
 */
void	dgi_stats_count_drops(struct dgram_socket *);

/* ---- for names (layer 4) ---- */

/*
 * A bind that will take a while: UNBOUND to BINDING, or why not.  Sends are
 * queued from now on.  A close cancels op.
 */
int	dgi_socket_begin_bind(struct dgram_socket *, struct dgi_op *);
/*
 * It is known where to, or status < 0.  The result of it all is returned for
 * the caller to report; what waited for the bind has been given a failure.
 */
int	dgi_socket_finish_bind(struct dgram_socket *, struct dgi_op *,
	    int status, const struct dgram_addr *);
/*
 * The same for connect; an unbound socket must be bound or binding before, and
 * a bind that is under way must be finished first unless status < 0.
 */
int	dgi_socket_begin_connect(struct dgram_socket *, struct dgi_op *);
int	dgi_socket_finish_connect(struct dgram_socket *, struct dgi_op *,
	    int status, const struct dgram_addr *);

#endif
