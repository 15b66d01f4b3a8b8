/* SPDX-License-Identifier: ISC */

/*
 * A simulated network: a table of system calls, a backend to wait with, a clock
 * and an allocator for one loop, all in memory and all decided by a seed.
 *
 *	struct sim sim;
 *	sim_init(&sim, seed);
 *	sim.config.loss = SIM_PERCENT(1);
 *	dgi_loop_new(&(struct dgram_loop_options){
 *	    .allocator = &sim.allocator }, &sim.os, &sim.poller, &loop);
 *	... dgram_loop_free(loop);
 *	sim_done(&sim);
 *
 * The same seed, configuration and calls give the same run.  Nothing here blocks
 * or asks the system for the time: a wait moves the clock to the next thing that
 * happens, or to its timeout.
 *
 * What there is:
 *   hosts      127/8, 10.0.0.1, ::1 and fd00::1 are this one; 10/8 and fd00::/8
 *              are others, to whom datagrams vanish and from whom sim_inject()
 *              lets them come; all else is -ENETUNREACH.  IPv4 and IPv6 are two
 *              networks: there are no mapped addresses.
 *   udp        binds with and without address and port, SO_REUSEADDR, connected
 *              sockets that hear only their peer and are told -ECONNREFUSED if
 *              nobody is there, bounded queues of receivers (drops), a bound of
 *              what is on its way (-EAGAIN until there is room)
 *   unix       paths of up to SIM_PATH - 1 bytes, without directories; a full
 *              receiver is -EAGAIN, and writable only for who is connected; a
 *              peer that is gone is told once, then there is none
 *   events     descriptors that wake a wait
 * Descriptors are numbers from SIM_FD on, the lowest free one, as the system does
 * it: a stale number soon means another socket.  They are not the system's.
 */

#ifndef DGT_SIM_H
#define DGT_SIM_H

#include "core/plat.h"

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dgram.h"
#include "core/os.h"
#include "poll/poller.h"

#define SIM_FD		100
#define SIM_FDS		64
#define SIM_FILES	16
#define SIM_PATH	40
#define SIM_FAILURES	16		/* that are remembered */

/* Chances are of 65536. */
#define SIM_PERCENT(n)	((unsigned)((n) * 655.36))

/* Calls that can be made to fail. */
enum sim_call { SIM_SOCKET, SIM_BIND, SIM_CONNECT, SIM_SETSOCKOPT, SIM_SEND,
	SIM_RECV, SIM_SET, SIM_ALLOC, SIM_NCALLS };

/* May be changed at any time. */
struct sim_config {
	unsigned loss, duplicate;	/* chances, of a datagram */
	unsigned late;			/* to come up to ten times later: then
					   the order is not kept */
	unsigned spurious;		/* a wait ends early, or tells of a
					   datagram that is not there */
	unsigned fail[SIM_NCALLS];	/* a call fails, with one of the errors
					   that it is known for */
	unsigned nobufs;		/* a send by udp is -ENOBUFS */
	bool no_recvmmsg, no_sendmmsg;	/* -ENOSYS */
	bool bsd_unix;			/* a full receiver of AF_UNIX is -ENOBUFS
					   for the connected, too, and they are
					   writable all the same; a peer that
					   is gone -ECONNRESET */
	uint64_t delay_ns;		/* on the way */
	uint64_t call_ns;		/* each send or receive takes this */
	uint64_t oversleep_ns;		/* a wait takes up to this more */
	size_t recv_packets;		/* in the queue of a receiver */
	size_t send_bytes;		/* of a sender, on the way */
};

enum sim_what { SIM_SENT, SIM_RECEIVED, SIM_ERROR, SIM_CONNECTED, SIM_WAIT };

/* Something passed between the program and the network. */
struct sim_event {
	enum sim_what what;		/* ERROR: SO_ERROR was asked for;
					   CONNECTED: to addr, or not; WAIT: a
					   wait begins */
	int fd;
	bool first;			/* SENT: of its call */
	int result;			/* bytes, or -errno */
	const struct iovec *iov;	/* where the bytes are */
	int iovcnt;
	const struct sockaddr *addr;	/* to or from whom; NULL: the peer */
	socklen_t len;
	uint64_t tag;			/* SENT: set it, and it goes with the
					   datagram.  RECEIVED: what it was.
					   WAIT: the timeout, ns */
	size_t size;			/* RECEIVED: of the whole datagram */
};

/* An address, comparable byte by byte. */
struct sim_name {
	uint16_t family, port;		/* family 0: none */
	union {
		unsigned char ip[16];
		char path[SIM_PATH];
	} u;
};

struct sim_packet;

struct sim_file {
	struct sim_name name;		/* family 0: no file */
	uint32_t serial;		/* of the socket, unless... */
	bool plain;			/* it is an ordinary file */
	ino_t ino;
};

struct sim_socket {
	int family;			/* 0: free; < 0: an event */
	bool raised;			/* the event */
	bool reuse;
	bool fixed, any;		/* port by bind; bound to the wildcard */
	uint32_t serial;		/* of this socket, never again */
	uint32_t peer_serial;		/* AF_UNIX */
	struct sim_name local, peer;	/* local.port 0: not bound */
	int error;			/* SO_ERROR, positive */
	int rcvbuf, sndbuf;
	struct sim_packet *head, **tail;
	size_t packets, on_the_way;
	uint64_t drops;
	/* the backend's */
	unsigned want;
	uint32_t slot, gen;
};

/* What the network knows of the datagrams it was given. */
struct sim_counts {
	uint64_t calls, waits, reports;
	uint64_t sent, received, lost, nobody, full;
};

struct sim {
	struct dgi_os os;		/* first */
	struct dgi_poller_ops poller;
	struct dgram_allocator allocator;
	struct sim_config config;
	uint64_t now;			/* ns */
	uint64_t rng;

	/* Told of all that passes; may be NULL. */
	void (*observe)(struct sim *, struct sim_event *);
	void *arg;

	/* Calls that failed since the user has set their number to 0. */
	struct {
		enum sim_call call;
		int result;
	} failures[SIM_FAILURES];
	unsigned nfailures;
	unsigned alloc_failures;
	/*
	 * What no correct program does to the system: a closed descriptor that
	 * is used, registered, closed again.  NULL: nothing so far.
	 */
	const char *misuse;
	struct sim_counts counts;
	size_t pieces, held;		/* of the allocator */
	uint64_t nobufs_until;		/* the interface takes nothing */

	struct sim_socket sockets[SIM_FDS];
	int nfds;			/* those above are free */
	struct sim_file files[SIM_FILES];
	uint32_t serial;
	ino_t ino;
	uint16_t port;
	unsigned turn;			/* who is reported first */
	struct sim_packet **heap;	/* on the way, by time */
	size_t heap_n, heap_size;
	uint64_t seq;
	struct sim_packet *free_small;
};

void	sim_init(struct sim *, uint64_t seed);
/* Frees what is still on the way. */
void	sim_done(struct sim *);

/* The next random number; also for whoever uses the same seed. */
static inline uint64_t
sim_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * UINT64_C(2685821657736338717);
}

/* 0 to n - 1. */
static inline unsigned
sim_below(uint64_t *state, unsigned n)
{
	return (unsigned)((sim_random(state) >> 32) * n >> 32);
}

/* Has such a call failed? With this, unless it is 0. */
bool	sim_has_failed(const struct sim *, enum sim_call, int with);
/* A datagram from another host, or from nowhere; -EINVAL. */
int	sim_inject(struct sim *, const struct dgram_addr *from,
	    const struct dgram_addr *to, const void *, size_t, uint64_t tag);
/* An error that waits on the socket, as ICMP leaves it. */
void	sim_error(struct sim *, int fd, int err);
/* All sends by udp are -ENOBUFS for so long. */
void	sim_nobufs(struct sim *, uint64_t ns);
/* Puts an ordinary file there, in place of what lies there, if anything. */
void	sim_put_file(struct sim *, const char *path);
void	sim_remove_file(struct sim *, const char *path);
/* 0: nothing there, 1: a socket, 2: an ordinary file. */
int	sim_has_file(const struct sim *, const char *path);
/* The socket of this number, or NULL. */
struct sim_socket	*sim_socket(struct sim *, int fd);
bool	sim_is_writable(const struct sim *, const struct sim_socket *);
/* Descriptors that are open. */
unsigned	sim_open_fds(const struct sim *);
/* Nothing is on its way, nor will be by itself. */
bool	sim_is_quiet(const struct sim *);
/* The address in a form that can be compared; family 0: none, or not known. */
void	sim_name_of(struct sim_name *, const struct sockaddr *, socklen_t);

#endif
