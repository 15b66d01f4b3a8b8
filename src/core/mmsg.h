/* SPDX-License-Identifier: ISC */

/*
 * Batches of datagrams, where recvmmsg(2) and sendmmsg(2) exist and where not.
 */

#ifndef DGI_MMSG_H
#define DGI_MMSG_H

#include <stdbool.h>

#include "core/os.h"

/* What a loop has learned of its system; zero at first. */
struct dgi_mmsg_state {
	bool no_recv, no_send;	/* ENOSYS was seen: emulated from then on */
};

/*
 * Receives up to n datagrams; the number of them, or -errno if the first
 * failed.  What failed after a first success is stored in *later (else 0): the
 * kernel keeps it for the next call, the emulation cannot.
 */
int	dgi_mmsg_recv(const struct dgi_os *, struct dgi_mmsg_state *, int fd,
	    struct dgi_mmsg *, unsigned n, int flags, int *later);

/*
 * Sends up to n datagrams; the number that went, or -errno if the first failed.
 * A short count is the normal case: an error belongs to the first of a call
 * only, so the caller goes on with the one after the count.
 */
int	dgi_mmsg_send(const struct dgi_os *, struct dgi_mmsg_state *, int fd,
	    struct dgi_mmsg *, unsigned n);

#endif
