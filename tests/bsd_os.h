/* SPDX-License-Identifier: ISC */

/*
 * The table of system calls as a BSD would answer, over the real one of a system
 * that answers otherwise: what NetBSD says of sending and of names.
 */

#ifndef DGT_BSD_OS_H
#define DGT_BSD_OS_H

#include "core/plat.h"

#include <stdbool.h>

#include "core/os.h"

/* Room of a UDP socket's send buffer unless it is set: the longest datagram. */
#define BSD_SNDBUF	9216

/*
 *  - AF_UNIX: a full receiver is ENOBUFS, a connected one that has closed is
 *    ECONNRESET, and a sender without a name has one of two bytes.  With the
 *    first belongs fake_kqueue_quirks.unix_is_writable.
 *  - UDP: what exceeds SO_SNDBUF is EMSGSIZE.
 *  - IP_PKTINFO comes with another type than the header has, or is refused.
 */
struct bsd_os {
	struct dgi_os os;		/* first: what a loop is given */
	unsigned sends;			/* calls of the three ways to send */
	int pktinfo;			/* type of the control message */
	bool no_pktinfo;		/* setting it is ENOPROTOOPT */
};

void	bsd_os_init(struct bsd_os *);

#endif
