/* SPDX-License-Identifier: ISC */

/*
 * The table of system calls with faults on demand.
 *
 * A struct fault_os begins with a table that counts the calls of each entry and
 * passes them on to the real one, unless a test has said that a call is to fail
 * or to take less than it was given.  Its clock can be put forward, and an
 * allocator beside it counts pieces and can run out of memory.
 */

#ifndef DGT_FAULT_OS_H
#define DGT_FAULT_OS_H

#include "core/plat.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dgram.h"
#include "core/os.h"

enum fault_call { FAULT_SOCKET, FAULT_CLOSE, FAULT_DUP, FAULT_BIND, FAULT_CONNECT,
	FAULT_GETSOCKNAME, FAULT_GETPEERNAME, FAULT_GETSOCKOPT,
	FAULT_SETSOCKOPT, FAULT_RECVFROM, FAULT_RECVMSG, FAULT_SENDTO,
	FAULT_SENDMSG, FAULT_RECVMMSG, FAULT_SENDMMSG, FAULT_LSTAT,
	FAULT_UNLINK, FAULT_OPEN, FAULT_FSTAT, FAULT_LOCK, FAULT_FCHMOD,
	FAULT_SET_OWNER, FAULT_SET_MODE, FAULT_GET_UMASK, FAULT_BINDAT,
	FAULT_CONNECTAT, FAULT_EVENT_OPEN, FAULT_EVENT_SIGNAL, FAULT_INTERFACES,
	FAULT_NCALLS };

struct fault_entry {
	unsigned calls;		/* how often it was called */
	unsigned at;		/* 0, or the number of the call that fails */
	int with;		/* and what it returns */
	int always;		/* all others return this, unless 0 */
	int most;		/* datagrams per call, unless 0 */
	const int *script;	/* one per call before all that: 0: the real
				   call; < 0: its result; > 0: `most` */
	size_t nscript;
};

struct fault_os {
	struct dgi_os os;	/* first: what a loop is given */
	struct fault_entry entry[FAULT_NCALLS];
	int fd;			/* faults concern this one only; -1: all */
	unsigned datagram;	/* this datagram, from 1, cannot be sent: */
	int datagram_with;	/* its error */
	unsigned tried;		/* datagrams that were sent, or failed */
	uint64_t ahead;		/* ns from the real clock */

	struct dgram_allocator allocator;
	size_t allocs, pieces;	/* calls of alloc; pieces that are not free */
	size_t fail_alloc;	/* this call of alloc fails; 0: none */
};

void	fault_init(struct fault_os *);
/* The k-th call from now on (1: the next) returns `with`. */
void	fault_at(struct fault_os *, enum fault_call, unsigned k, int with);
/* Each call does from now on; 0: none does any more. */
void	fault_always(struct fault_os *, enum fault_call, int with);
/* How one datagram is read by a socket of that type that asks for nothing. */
#define FAULT_READ_ONE(type)						\
	((type) == DGRAM_UNIX ? FAULT_RECVMSG : FAULT_RECVFROM)
/* The three ways to send, and to receive, at once. */
void	fault_sends(struct fault_os *, int with);
void	fault_receives(struct fault_os *, int with);
/* Calls to send or to receive. */
unsigned	fault_count_sends(const struct fault_os *);
unsigned	fault_count_receives(const struct fault_os *);

/* A loop on it; allocator and backend of the options are filled in. */
struct dgram_loop	*fault_loop(struct fault_os *, const char *backend,
	    const struct dgram_loop_options *);

#endif
