/* SPDX-License-Identifier: ISC */

/*
 * What the sockets of a loop receive into and send from: one arena of slots and
 * the headers for batches, prepared once and shared by all, because only one
 * socket is served at a time.
 */

#ifndef DGI_ARENA_H
#define DGI_ARENA_H

#include "core/plat.h"

#include <stdbool.h>
#include <stdint.h>

#include "dgram.h"
#include "core/cmsg.h"
#include "core/mem.h"
#include "core/mmsg.h"

/* What a socket asks of the headers it receives with: its mode. */
#define DGI_RX_NAMED	0x1u	/* the sender */
#define DGI_RX_CONTROL	0x2u	/* what came beside the bytes: recvmsg(2) */
/* ... and so many bytes of control messages, for which there is a reserve. */
#define DGI_RX_ROOM(n)	((unsigned)(n) << 8)
#define DGI_RX_ROOM_OF(mode)	((mode) >> 8)

/* Of a slot, where control messages are asked for. */
struct dgi_rx_control {
	_Alignas(8) unsigned char bytes[DGI_CMSG_RECV];
	struct dgram_addr local;
};

/* Of a slot, where that is too small for all the descriptors. */
struct dgi_rx_fds {
	_Alignas(8) unsigned char bytes[DGI_CMSG_RECV_FDS];
};

struct dgi_tx_control {
	_Alignas(8) unsigned char bytes[DGI_CMSG_SEND];
};

struct dgi_tx_fds {
	_Alignas(8) unsigned char bytes[DGI_CMSG_SEND_FDS];
};

struct dgi_arena {
	char *base;
	size_t size;			/* bytes; 0: not reserved yet */
	unsigned batch;			/* length of the arrays */

	/* Receiving: [i] is slot i. */
	struct dgi_mmsg *rx;
	struct iovec *rx_iov;
	struct dgram_addr *rx_addr;
	struct dgram_message *messages;
	size_t datagram;		/* rx[0..prepared) are cut to this */
	unsigned prepared;
	unsigned mode;			/* and ask for this, DGI_RX_* */
	struct dgi_rx_control *rx_control;	/* NULL: nobody has asked */
	struct dgi_rx_fds *rx_fds;	/* the same */
	unsigned used;			/* slots with datagrams in delivery */

	struct dgi_mmsg *tx;		/* sending */
	struct dgi_tx_control *tx_control;	/* NULL: nobody has asked */
	struct dgi_tx_fds *tx_fds;	/* the same; a single one */
	/*
	 * With header i go n descriptors; false: not in the same call as others.
	 * By a pointer, which rights.c sets, so that a program which sends none
	 * is not linked with it.
	 */
	bool (*attach_fds)(struct dgram_socket *, unsigned i, const int *fds,
	    size_t n);
	unsigned tx_controls;		/* tx[here..): msg_control is NULL */
	unsigned tx_common;		/* tx[0..here): one piece, and */
	socklen_t tx_len;		/* an address of this length */

	/* A smaller arena that a delivery still lies in. */
	char *retired;
	size_t retired_size;
};

int	dgi_arena_init(struct dgi_arena *, struct dgi_mem *, unsigned batch);
void	dgi_arena_done(struct dgi_arena *, struct dgi_mem *);

/* Room for at least one slot of `datagram` bytes, better `batch`.  -ENOMEM. */
int	dgi_arena_reserve(struct dgi_arena *, struct dgi_mem *,
	    size_t datagram);

/* The most bytes that a socket may come to reserve beside what there is. */
size_t	dgi_arena_bound(const struct dgi_arena *, size_t datagram,
	    unsigned mode);

/* Room for the control messages of a batch.  -ENOMEM. */
int	dgi_arena_reserve_rx(struct dgi_arena *, struct dgi_mem *,
	    unsigned mode);
int	dgi_arena_reserve_tx(struct dgi_arena *, struct dgi_mem *);
/* Room for the descriptors of one datagram. */
int	dgi_arena_reserve_fds(struct dgi_arena *, struct dgi_mem *);

unsigned	dgi_arena_cut(struct dgi_arena *, size_t datagram,
	    unsigned mode, unsigned n);
/*
 * Cuts slots for datagrams of this size and readies the headers of the first n,
 * or of fewer if no more fit; returns how many.
 */
static inline unsigned
dgi_arena_prepare(struct dgi_arena *a, size_t datagram, unsigned mode,
    unsigned n)
{
	if (n <= a->prepared && a->datagram == datagram && a->mode == mode)
		return n;
	return dgi_arena_cut(a, datagram, mode, n);
}

/* Bytes of datagrams that are being delivered: they stay until it is over. */
static inline bool
dgi_arena_holds(const struct dgi_arena *a, const void *p, size_t size)
{
	/* Below the base this is a very large number. */
	const uintptr_t at = (uintptr_t)p - (uintptr_t)a->base;

	return a->used > 0 && a->retired == NULL && at <= a->size &&
	    size <= a->size - at;
}

/* A delivery is over. */
void	dgi_arena_drop_retired(struct dgi_arena *, struct dgi_mem *);
static inline void
dgi_arena_release(struct dgi_arena *a, struct dgi_mem *m)
{
	a->used = 0;
	if (a->retired != NULL)
		dgi_arena_drop_retired(a, m);
}

#endif
