/* SPDX-License-Identifier: ISC */

/*
 * The table of system calls as a BSD would answer, over the real one of a system
 * that answers otherwise: what NetBSD says of sending, names and buffers.
 *
 * A test that wants it gives a loop a struct bsd_os.  With -DDGT_BSD=1 all loops
 * have it, under the faults of fault_os.h, too: kernel_as_bsd.c puts it in the
 * place of dgi_os_real, and a poll(2) that speaks like one.  The bare calls of
 * sockets.h go by it then.  make check-bsd runs the tests so.
 */

#ifndef DGT_BSD_OS_H
#define DGT_BSD_OS_H

#include "core/plat.h"

#include <stdbool.h>

#include "core/os.h"

#if !defined(DGT_BSD)
#define DGT_BSD	0
#endif

/* The kernel answers as Linux does, not as a BSD or its likeness. */
#define ON_LINUX	(DGI_OS_LINUX && !DGT_BSD)

/* Room of a send buffer unless it is set, which is the longest datagram. */
#define BSD_SNDBUF	9216
#define BSD_SNDBUF_UNIX	2048
/* That of a UDP receive buffer, and how much memory the largest has. */
#define BSD_RCVBUF	41600
#define BSD_MEMORY	262144
/* What the smallest datagram takes of it, of twice its size. */
#define BSD_SMALLEST	1024
/* More is ENOBUFS. */
#define BSD_BUF_MOST	209715

/*
 *  - AF_UNIX: a full receiver is ENOBUFS, a connected one that has closed is
 *    ECONNRESET, and a sender without a name has one of two bytes.  With the
 *    first belongs fake_kqueue_quirks.unix_is_writable.
 *  - What exceeds SO_SNDBUF is EMSGSIZE; the size of a buffer is as it was set,
 *    and one that is too large is an error.
 *  - A connected socket that is given an address is EISCONN, one that is not
 *    connected and has none EDESTADDRREQ.
 *  - Disconnecting is EAFNOSUPPORT and done; it keeps the port and forgets the
 *    address.
 *  - After shutdown(2) there are no bytes from nobody, for ever; a bare one drops
 *    what has not been read.
 *  - recvmmsg(2) that finds nothing leaves EAGAIN to the next call, a send, too.
 *  - An option of IPv4 is refused by a socket of IPv6.
 *  - fchmod(2) takes no socket.
 *  - IP_PKTINFO comes with another type than the header has, or is refused.
 */
struct bsd_os {
	struct dgi_os os;		/* first: what a loop is given */
	unsigned sends;			/* calls of the three ways to send */
	int pktinfo;			/* type of the control message */
	bool no_pktinfo;		/* setting it is ENOPROTOOPT */
};

/* One at a time. */
void	bsd_os_init(struct bsd_os *);

/* The real table, if dgi_os_real is not it. */
extern const struct dgi_os	bsd_os_kernel;

/* What a socket that was just made has as buffers. */
void	bsd_os_adjust(int fd);

/* The calls of that name by the table. */
int	bsd_bare_shutdown(int fd, int how);
int	bsd_bare_socket(int domain, int type, int proto);
int	bsd_bare_setsockopt(int fd, int level, int name, const void *,
	    socklen_t);
int	bsd_bare_getsockopt(int fd, int level, int name, void *, socklen_t *);
ssize_t	bsd_bare_sendto(int fd, const void *, size_t, int flags,
	    const struct sockaddr *, socklen_t);

#endif
