/* SPDX-License-Identifier: ISC */

/*
 * The arena.
 *
 * It is address space for `batch` datagrams of the largest size; pages become
 * memory when a datagram first reaches them, so that a loop of small datagrams
 * stays small.  Slots are cut to what the socket at hand asks for: neighbours
 * in the cache if it said less than 64 KiB.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/arena.h"

#define ALIGN	64u
#define ARENA_MOST	((size_t)1 << 30)

/* Bytes from slot to slot; a byte more where a cut shows only by it. */
static size_t
stride_of(size_t datagram)
{
	return (datagram + !DGI_HAVE_TRUE_LENGTH + ALIGN - 1) / ALIGN * ALIGN;
}

int
dgi_arena_init(struct dgi_arena *a, struct dgi_mem *m, unsigned batch)
{
	unsigned i;

	memset(a, 0, sizeof(*a));
	a->batch = batch;
	a->rx = dgi_mem_alloc(m, batch * sizeof(*a->rx));
	a->rx_iov = dgi_mem_alloc(m, batch * sizeof(*a->rx_iov));
	a->rx_addr = dgi_mem_alloc(m, batch * sizeof(*a->rx_addr));
	a->messages = dgi_mem_alloc(m, batch * sizeof(*a->messages));
	a->tx = dgi_mem_alloc(m, batch * sizeof(*a->tx));
	if (a->rx == NULL || a->rx_iov == NULL || a->rx_addr == NULL ||
	    a->messages == NULL || a->tx == NULL) {
		dgi_arena_done(a, m);
		return -ENOMEM;
	}
	memset(a->rx, 0, batch * sizeof(*a->rx));
	memset(a->tx, 0, batch * sizeof(*a->tx));
	memset(a->messages, 0, batch * sizeof(*a->messages));
	for (i = 0; i < batch; i++) {
		a->rx[i].msg_hdr.msg_iov = &a->rx_iov[i];
		a->rx[i].msg_hdr.msg_iovlen = 1;
	}
	return 0;
}

void
dgi_arena_done(struct dgi_arena *a, struct dgi_mem *m)
{
	dgi_arena_release(a, m);
	dgi_mem_release(m, a->base, a->size);
	dgi_mem_free(m, a->rx, a->batch * sizeof(*a->rx));
	dgi_mem_free(m, a->rx_iov, a->batch * sizeof(*a->rx_iov));
	dgi_mem_free(m, a->rx_addr, a->batch * sizeof(*a->rx_addr));
	dgi_mem_free(m, a->messages, a->batch * sizeof(*a->messages));
	dgi_mem_free(m, a->tx, a->batch * sizeof(*a->tx));
	dgi_mem_free(m, a->rx_control, a->batch * sizeof(*a->rx_control));
	dgi_mem_free(m, a->rx_fds, a->batch * sizeof(*a->rx_fds));
	dgi_mem_free(m, a->tx_control, a->batch * sizeof(*a->tx_control));
	dgi_mem_free(m, a->tx_fds, sizeof(*a->tx_fds));
}

/* Bytes of the arena that a socket needs; 0: there is one that will do. */
static size_t
missing(const struct dgi_arena *a, size_t datagram)
{
	size_t stride = stride_of(datagram), size;

	size = stride > ARENA_MOST / a->batch ? ARENA_MOST : stride * a->batch;
	/* A large one makes do with fewer slots, a larger one needs an arena. */
	return a->size >= size || a->size >= stride * 8 ? 0 : size;
}

/* Which of the two arrays control messages of this mode go to. */
static bool
wants_fds(unsigned mode)
{
	return DGI_RX_ROOM_OF(mode) > DGI_CMSG_RECV;
}

static bool
wants_control(unsigned mode)
{
	return DGI_RX_ROOM_OF(mode) > 0 && !wants_fds(mode);
}

size_t
dgi_arena_bound(const struct dgi_arena *a, size_t datagram, unsigned mode)
{
	size_t sum = missing(a, datagram);

	if (wants_fds(mode) && a->rx_fds == NULL)
		sum += a->batch * sizeof(*a->rx_fds);
	else if (wants_control(mode) && a->rx_control == NULL)
		sum += a->batch * sizeof(*a->rx_control);
	if (a->tx_control == NULL)
		sum += a->batch * sizeof(*a->tx_control);
	if (a->tx_fds == NULL)
		sum += sizeof(*a->tx_fds);
	return sum;
}

int
dgi_arena_reserve(struct dgi_arena *a, struct dgi_mem *m, size_t datagram)
{
	size_t size = missing(a, datagram);
	char *base;

	if (size == 0)
		return 0;
	base = dgi_mem_reserve(m, size);
	if (base == NULL)
		return -ENOMEM;
	if (a->used > 0 && a->retired == NULL) {
		a->retired = a->base;
		a->retired_size = a->size;
	} else {
		dgi_mem_release(m, a->base, a->size);
	}
	a->base = base;
	a->size = size;
	a->prepared = 0;
	return 0;
}

static void *
reserve(struct dgi_mem *m, void *there_is, size_t size)
{
	return there_is != NULL ? there_is : dgi_mem_alloc(m, size);
}

int
dgi_arena_reserve_rx(struct dgi_arena *a, struct dgi_mem *m, unsigned mode)
{
	if (wants_fds(mode)) {
		a->rx_fds = reserve(m, a->rx_fds,
		    a->batch * sizeof(*a->rx_fds));
		return a->rx_fds == NULL ? -ENOMEM : 0;
	}
	if (wants_control(mode)) {
		a->rx_control = reserve(m, a->rx_control,
		    a->batch * sizeof(*a->rx_control));
		return a->rx_control == NULL ? -ENOMEM : 0;
	}
	return 0;
}

int
dgi_arena_reserve_tx(struct dgi_arena *a, struct dgi_mem *m)
{
	a->tx_control = reserve(m, a->tx_control,
	    a->batch * sizeof(*a->tx_control));
	return a->tx_control == NULL ? -ENOMEM : 0;
}

int
dgi_arena_reserve_fds(struct dgi_arena *a, struct dgi_mem *m)
{
	a->tx_fds = reserve(m, a->tx_fds, sizeof(*a->tx_fds));
	return a->tx_fds == NULL ? -ENOMEM : 0;
}

/* The kernel says in it how much it wrote: to be done again after each use. */
static void
ready_control(struct dgi_arena *a, unsigned i)
{
	struct msghdr *h = &a->rx[i].msg_hdr;

	h->msg_control = wants_fds(a->mode) ? a->rx_fds[i].bytes :
	    wants_control(a->mode) ? a->rx_control[i].bytes : NULL;
	h->msg_controllen = DGI_RX_ROOM_OF(a->mode);
}

unsigned
dgi_arena_cut(struct dgi_arena *a, size_t datagram, unsigned mode, unsigned n)
{
	const bool named = (mode & DGI_RX_NAMED) != 0;
	size_t stride = stride_of(datagram);
	unsigned i;

	if (a->datagram != datagram || a->mode != mode) {
		a->datagram = datagram;
		a->mode = mode;
		a->prepared = 0;
	}
	if (n > a->size / stride)
		n = (unsigned)(a->size / stride);
	for (i = a->prepared; i < n; i++) {
		a->rx_iov[i].iov_base = a->base + i * stride;
		a->rx_iov[i].iov_len = datagram + !DGI_HAVE_TRUE_LENGTH;
		a->rx[i].msg_hdr.msg_name = named ? &a->rx_addr[i].u : NULL;
		a->rx[i].msg_hdr.msg_namelen =
		    named ? sizeof(a->rx_addr[i].u) : 0;
		a->messages[i].data = a->rx_iov[i].iov_base;
		a->messages[i].remote = named ? &a->rx_addr[i] : NULL;
		/* Nothing of what another socket was told. */
		a->messages[i].local = NULL;
		a->messages[i].ifindex = 0;
		a->messages[i].ttl = a->messages[i].tos = 0;
		a->messages[i].time_ns = 0;
		a->messages[i].pid = 0;
		a->messages[i].uid = 0;
		a->messages[i].gid = 0;
		a->messages[i].fds = NULL;
		a->messages[i].nfds = 0;
		ready_control(a, i);
	}
	if (n > a->prepared)
		a->prepared = n;
	return n;
}

void
dgi_arena_drop_retired(struct dgi_arena *a, struct dgi_mem *m)
{
	dgi_mem_release(m, a->retired, a->retired_size);
	a->retired = NULL;
	a->retired_size = 0;
}
