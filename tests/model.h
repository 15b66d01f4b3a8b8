/* SPDX-License-Identifier: ISC */

/*
 * A model of the library, and random programs that are run beside it.
 *
 * play.c makes a loop over the simulated network of sim.h and calls the library
 * at random: sockets are opened, bound, connected, sent from, closed, from outside
 * and from inside of callbacks, while time passes and the network misbehaves.
 * model.c knows what must come of it: the result of each call in each state, one
 * completion for each accepted operation and which, the order of events, each
 * datagram that goes to the kernel or comes from it, byte by byte, and the sums of
 * the ledger.
 *
 * What the model knows comes from the calls (before each it computes the result)
 * and from the network (sim.observe tells of each attempt to send or receive); it
 * never looks into the library.  So a send is followed from the call through the
 * queue to the kernel and back to its completion.
 *
 * A run is decided by its seed and number of steps.
 */

#ifndef DGT_MODEL_H
#define DGT_MODEL_H

#include "core/list.h"

#include "sim.h"

struct model_report {
	uint64_t steps, turns, episodes;
	uint64_t sent, received, completions, events, look_ups;
	uint64_t full;			/* receivers of AF_UNIX, at a try */
	uint64_t lost, found;		/* peers that went, and came back */
	uint64_t digest;		/* of all that happened */
	uint64_t virtual_ns;
};

/*
 * Runs so many steps from this seed; report may be NULL.  False: the library did
 * what it must not, which is told on stderr with the last steps.
 */
bool	model_run(uint64_t seed, uint64_t steps, struct model_report *);

/* ---- for model.c and play.c ---- */

#define M_SOCKETS	10
#define M_TIMERS	4
#define M_POSTS		8
#define M_OPS		16384
#define M_STEPS		512
#define M_BATCH		48		/* datagrams in an array */
#define M_LINES		16		/* receivers that one socket waits for */
#define M_RX		1024		/* received in one call */
#define M_NOTES		4096
#define M_TRACE		48
#define M_PATTERN	(65536 + 8192)

enum m_state { M_UNBOUND, M_BINDING, M_BINDING_TO_CONNECT, M_BOUND,
	M_CONNECTING, M_CONNECTED };

/* Bits of what a socket listens to. */
#define M_EV_LISTENING	0x01u
#define M_EV_MESSAGE	0x02u
#define M_EV_CONNECT	0x04u
#define M_EV_ERROR	0x08u
#define M_EV_DRAIN	0x10u
#define M_EV_CLOSE	0x20u
#define M_EV_ALL	0x3fu

/*
 * What waits for one receiver, in order.  All of udp is one line; of AF_UNIX the
 * peer has the first.
 */
struct m_line {
	struct sim_name to;
	struct dgi_list waiting;	/* datagrams, by link */
	size_t waits;
	int refusal;			/* of its head, the last time; 0 */
	bool now;			/* in this call */
	bool timed;			/* it is set apart, and tried again by
					   the clock: */
	uint64_t not_before, not_after;	/* ns */
	unsigned least_ms, most_ms;	/* the back-off; mostly the same */
	bool went, may_have;		/* some of it, since then */
	uint64_t apart;			/* and all up to this number is */
};

/* A datagram that was accepted. */
struct m_datagram {
	struct sim_name to;		/* family 0: the peer */
	unsigned offset, size;		/* in the pattern */
	uint64_t deadline;		/* ns; 0: none */
	int result;
	bool over;
	struct m_op *op;		/* whose it is */
	struct m_line *line;		/* and where it waits */
	struct dgi_list link;
	uint64_t number;		/* in order of acceptance */
};

/* Arrays that the library borrows. */
struct m_batch {
	struct m_batch *next;
	struct m_datagram v[M_BATCH];
	struct dgram_datagram lib[M_BATCH];
	struct iovec iov[M_BATCH];
	struct dgram_addr to[4];
};

/* An operation that was accepted and not told. */
struct m_op {
	struct m_op *next;
	uint32_t id;			/* of each use; 0: free */
	uint8_t slot;			/* of its socket */
	bool silent;			/* has no completion */
	bool reply;			/* fails silently, too */
	bool arena;			/* its bytes were the library's */
	char name;			/* that was not found; 0: none */
	bool known;			/* status is: it has left the queue */
	bool late;			/* some of it was: out of order */
	const struct m_line *cut;	/* ended by something else, and with
					   those of its line only in order */
	int status;
	uint64_t turn, seq;		/* when it became known */
	uint64_t turn_queued;
	uint64_t refused_at;		/* the first ENOBUFS; 0: none */
	uint64_t number;		/* before those of its datagrams */
	size_t n, left, went;
	size_t pos;			/* of the first that is not over */
	struct m_datagram one, *v;
	struct m_batch *batch;
};

struct m_queue {
	struct m_op *head, **tail;
};

/* A datagram that the network has handed over. */
struct m_rx {
	struct sim_name from;
	uint64_t tag;
	size_t size;
};

/* What happened since the ledger began. */
struct m_sums {
	uint64_t accepted, sent, sent_bytes, failed, expired, cancelled;
	uint64_t refused, received, received_bytes, truncated;
};

#define M_NAMES		3
#define M_OLD_IDS	8

enum m_look_for { M_LOOK_SEND, M_LOOK_BIND, M_LOOK_CONNECT };

/* A name that is looked up. */
struct m_look {
	enum m_look_for what;
	bool looking, asked;
	bool late;			/* it ends with the next turn */
	unsigned name;
	uint64_t id;			/* if asked */
	uint64_t turn, seq;		/* when it began */
	uint64_t deadline;
};

/* Datagrams of a socket to a name. */
struct m_name {
	struct m_queue parked;
	struct m_look look;
};

/* A bind or connect that was accepted and not told. */
struct m_step {
	struct m_step *next;
	uint32_t id;			/* of each use; 0: free */
	bool connect;
	bool silent;			/* has no completion */
	bool loss;			/* none: the peer has gone */
	bool found;			/* where to is known: to, at */
	bool inside;			/* it became known in a callback */
	char name;			/* that was not found; 0: none */
	int status;
	uint64_t turn, seq;		/* when it became known */
	struct sim_name to;		/* that it failed with; family 0: none */
	struct dgram_addr at;
};

struct m_socket {
	struct dgram_socket *s;		/* NULL: free slot */
	struct model *m;
	unsigned slot;
	int type, family;
	enum m_state state;
	bool receives, ending, closed, paused, unrefd, adopted, no_remote;
	bool close_told, port_lost;
	bool any_peer;			/* connected to the wildcard */
	int fd;				/* -1: none */
	struct dgram_addr addr;		/* where others reach it; len 0 */
	char path[SIM_PATH];		/* that it has bound */
	bool owns_path;			/* and that nobody has taken away */
	unsigned events;		/* M_EV_* */
	uint64_t events_turn;		/* when they changed last */
	uint64_t unsure_turn;		/* until then nobody knows whether there
					   was somebody to be told an error */
	size_t max_datagram, count_limit, byte_limit;
	unsigned per_call;

	struct m_queue queue, known;
	size_t queued, bytes;		/* in it and parked */
	size_t parked, untold;
	struct m_line lines[M_LINES];
	size_t empty;			/* operations in it of no datagrams */
	size_t deadlines;		/* datagrams in it that have one */
	uint64_t pushes;		/* that were numbered */
	bool asks;			/* this call tries all of it again */
	struct m_name names[M_NAMES];
	struct m_step *bind, *connect;	/* under way */
	struct m_look bind_look, connect_look;
	struct m_step *steps;		/* over, in order */
	bool telling_connect, connect_again;	/* from inside of `connect` */
	int pending;			/* an ICMP error; the head goes again */
	bool reconnect;			/* it was asked for */
	struct dgram_addr peer;		/* that it was connected to */
	bool lost;			/* that is gone, which was told */
	bool must_connect;		/* again, before anything else */
	unsigned lost_ms;		/* the back-off, */
	uint64_t lost_until;		/* and when it is tried again */
	bool attempted, read;		/* in this turn */
	unsigned stuck, unheard, unread;	/* turns that it could, but did
					   not: send, fetch an error, read */
	unsigned futile;		/* sends for which there was no room */
	uint64_t moved_at;		/* when it could not, or did */
	bool goes_first;		/* in dgram_loop_free(): it can send */
	struct m_socket *fresh;		/* from a callback of that one */
	uint64_t notes_turn;
	int error_now;			/* an error that is told at once */
	int recv_error;
	struct m_rx rx[M_RX];
	int notes[M_NOTES];		/* ICMP errors that are to be told, */
	unsigned nrx;
	unsigned nnotes, told_notes;	/* as many, and of these already */
	bool owes_listening, owes_connect;
	uint64_t listening_turn, connect_turn;
	uint64_t listening_seq, connect_seq;
	unsigned drains;		/* that may come */
	bool must_drain;
	uint64_t refused_turn, must_drain_turn;

	unsigned close_fns;		/* that are to be called */
	bool end_fn, close_fn;
	uint64_t closed_turn;
	struct m_sums sums;
};

struct m_timer {
	struct dgram_timer t;
	struct model *m;
	bool active, unrefd;
	uint64_t due, repeat;
	uint64_t armed_turn, armed_seq;
};

struct m_trace {
	uint64_t step;
	const char *what;
	int slot, a, result;
};

/* dgram_try_send() in progress. */
struct m_try {
	const struct m_datagram *v;
	size_t n, pos;
	int pending, status;
	bool came_back;			/* the peer was connected to again */
	bool over;
};

struct model {
	struct sim sim;			/* first */
	struct dgram_loop *l;
	uint64_t seed, rng, step, turn;
	bool failed;
	bool in_call;			/* of the library, that must not call */
	bool in_turn, freeing;
	bool quiet;			/* callbacks do nothing */
	bool burst;			/* many small datagrams */
	bool crowd;			/* most are of AF_UNIX, and send to the
					   same few, who are soon full */
	unsigned in_callback;
	uint64_t stray_turn;		/* calls inside of callbacks owe */
	unsigned batch, budget;
	size_t loop_datagram;
	bool has_allocator;
	uint64_t look_ns;		/* a look-up may take */
	unsigned looking;		/* look-ups that are under way */
	bool timers_ran;		/* in this turn */
	/* The timer for all look-ups: when it is due, and if not this turn. */
	uint64_t look_key, look_seq;
	bool look_fresh;
	struct m_socket *telling;	/* in a callback of this one */

	struct m_socket sockets[M_SOCKETS];
	struct m_socket *of_fd[SIM_FDS];
	struct m_socket *current;	/* of the call that is made */
	struct m_try *trying;
	struct m_socket *visited;	/* whose messages are delivered */
	unsigned fds_at_free;
	struct m_timer timers[M_TIMERS];
	unsigned posts_made, posts_run;
	uint64_t old_ids[M_OLD_IDS];	/* of look-ups that are over */
	unsigned nold;
	uint64_t look_ups, seq;
	bool stop_asked;
	unsigned idle;			/* turns in which nothing happened */
	uint64_t activity, last_activity;
	bool waited;			/* in this turn */
	uint64_t prev_now, last_now;	/* when the last two turns began */

	struct m_op ops[M_OPS], *free_ops;
	uint32_t next_id;
	size_t ops_used;
	struct m_step steps[M_STEPS], *free_steps;
	size_t steps_used;
	bool borrowed;			/* bytes of a message are queued */
	struct m_batch *free_batches, scratch_batch;
	char scratch[65536 + 16];
	struct m_trace trace[M_TRACE];
	unsigned ntrace;
	struct model_report report;
	char pattern[M_PATTERN];
};

/* Says what is wrong; the first time only. */
void	m_fail(struct model *, const char *format, ...)
	    __attribute__((format(printf, 2, 3)));
void	m_trace(struct model *, const char *what, int slot, int a, int result);
static inline unsigned
m_below(struct model *m, unsigned n)
{
	return sim_below(&m->rng, n);
}
static inline bool
m_percent(struct model *m, unsigned n)
{
	return m_below(m, 100) < n;
}

void	m_init(struct model *, uint64_t seed);
/* It is there, and will say when it goes. */
static inline bool
m_may_touch(const struct m_socket *ms)
{
	return ms->s != NULL && (!ms->closed || ms->close_fns > 0);
}

/* Before a loop is made, and when it is freed. */
void	m_begin(struct model *);
void	m_end(struct model *);
/* Around each call; ms may be NULL. */
void	m_enter(struct model *, struct m_socket *);
void	m_leave(struct model *, const char *what, struct m_socket *, int a,
	    int r);
/* The call has returned r and must have returned this. */
void	m_expect(struct model *, int r, int expected);
/* r is one of the failures of these calls (bits), or -ENOMEM with reason. */
bool	m_is_injected(const struct model *, int r, unsigned calls);

struct m_op	*m_op_new(struct model *, struct m_socket *, size_t n);
/* One that was not accepted. */
void	m_op_free(struct model *, struct m_op *);
/* Tentatively, before the call: it may be sent from inside of it. */
void	m_push(struct m_socket *, struct m_op *);
/* The call has failed: it and what was pushed behind it never was. */
void	m_take_back(struct model *, struct m_socket *, struct m_op *);
void	*m_arg(const struct m_op *);
void	m_lines_init(struct m_socket *);
/* A call begins: nothing was refused in it so far. */
void	m_asks(struct m_socket *, bool all_again);
/* Something waits that could go, as far as is known. */
bool	m_can_go(struct m_socket *);
/* The call has flushed: what is still there was refused in it, or is late. */
void	m_flushed(struct m_socket *);
/* All that waits fails; only_peer: what has no address. */
void	m_fail_queue(struct m_socket *, int status, bool only_peer);
void	m_bound(struct m_socket *, bool named);
void	m_connected(struct m_socket *, const struct dgram_addr *);
/* What is told to whom has changed. */
void	m_events_changed(struct m_socket *, unsigned before);
void	m_disconnected(struct m_socket *);
void	m_closed(struct m_socket *);
/* Whatever lies there now is not of any socket. */
void	m_lose_path(struct model *, const char *path);
void	m_refused(struct m_socket *, size_t n);
/* What the library has done by itself: dropped what is late, closed. */
void	m_sync(struct m_socket *);
void	m_check_ledger(struct m_socket *);
void	m_turn_begins(struct model *);
void	m_turn_ends(struct model *, int timeout, int r);
/* What is reported to events and completions. */
extern const struct dgram_events	m_events;
void	m_done(struct dgram_socket *, int status, void *arg);
void	m_end_fn(void *arg);
void	m_close_fn(void *arg);
/* The user's look-up; and its answer, status 0: to this address. */
void	m_lookup(struct dgram_socket *, uint64_t id, const char *host,
	    int family, void *arg);
void	m_park(struct m_socket *, struct m_op *, unsigned name);
void	m_answer(struct m_socket *, struct m_name *, int status, bool of_name,
	    const struct sim_name *to);
void	m_play_answer(struct model *, struct m_socket *, struct m_look *);
/* One of those of a socket, M_LOOKS of them. */
#define M_LOOKS		(M_NAMES + 2)
struct m_look	*m_look(struct m_socket *, unsigned i);
void	m_look_begins(struct m_socket *, struct m_look *, enum m_look_for,
	    unsigned name);
void	m_look_ends(struct model *, struct m_look *);

/* NULL: too many. */
struct m_step	*m_step_new(struct model *, bool connect, bool silent);
void	m_step_free(struct model *, struct m_step *);
void	*m_step_arg(const struct m_socket *, const struct m_step *);
/* It is over, and is to be told.  of_name: it was not found. */
void	m_step_known(struct m_socket *, struct m_step *, int status);
void	m_step_done(struct dgram_socket *, int status, void *arg);
/* What was under way is over. */
void	m_bind_over(struct m_socket *, int status, bool of_name);
void	m_connect_over(struct m_socket *, int status, bool of_name);
void	m_check_state(struct m_socket *);
void	m_on_timer(struct dgram_timer *, void *arg);
void	m_on_post(void *arg);
void	m_observe(struct sim *, struct sim_event *);

/* play.c: acts inside of a callback; a message has this offset, or is NULL. */
void	m_play_inside(struct model *, struct m_socket *,
	    const struct dgram_message *msg, unsigned offset);

#endif
