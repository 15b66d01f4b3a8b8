/* SPDX-License-Identifier: ISC */

/*
 * What the calls to send share: the checks of a datagram, and the request that a
 * checked one becomes.  Inline is what each datagram of a batch pays for.
 */

#ifndef DGI_SEND_H
#define DGI_SEND_H

#include "core/plat.h"

#include <errno.h>
#include <limits.h>

#include "core/addr.h"
#include "core/queue.h"

/* 65535 less the headers: IPv4 20 and 8 bytes, IPv6 8 (RFC 8200, 4.5). */
#define DGI_UDP4_MOST	65507u
#define DGI_UDP6_MOST	65527u

/* 0 and the sum of the pieces, or -EINVAL, -EMSGSIZE. */
int	dgi_send_sum_pieces(const struct iovec *, int n, size_t *sum);
/* Of a size beyond DGI_UDP4_MOST. */
int	dgi_send_check_large(const struct dgram_socket *,
	    const struct dgram_addr *peer, size_t size);
/*
 * What does not depend on where to: room for n datagrams, and a socket that will
 * send them.
 */
int	dgi_send_admit(struct dgram_socket *, size_t n, size_t bytes);
/* A checked datagram becomes a request; NULL: no memory.  src may be NULL. */
struct dgi_req	*dgi_send_make(struct dgram_socket *, const struct iovec *,
	    int n, size_t size, const struct dgram_addr *to, int to_len,
	    const struct dgi_source *src, dgram_done_fn *);

static inline int
dgi_send_check_running(const struct dgram_socket *s)
{
	return s->state == DGI_CLOSED || s->ending ?
	    DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING : 0;
}

/* The sum of the pieces, or an error. */
static inline int
dgi_send_check_iov(const struct iovec *iov, int n, size_t *sum)
{
	if (n != 1 || iov == NULL || iov->iov_base == NULL ||
	    iov->iov_len > INT_MAX)
		return dgi_send_sum_pieces(iov, n, sum);
	*sum = iov->iov_len;
	return 0;
}

/* The length of the address, or an error. */
static inline int
dgi_send_check_to(const struct dgram_socket *s, const struct dgram_addr *to,
    size_t size)
{
	int len, r;

	if (s->state == DGI_CONNECTED)
		return DGRAM_ERR_SOCKET_DGRAM_IS_CONNECTED;
	len = (int)s->addr_len;
	/* Cut off, or longer than it can be: one look at both, to be sure. */
	if (len == 0 || to->len - s->addr_len >
	    sizeof(to->u) - sizeof(to->u.in6) ||
	    to->u.sa.sa_family != s->family) {
		len = dgi_addr_check(to, s->family);
		if (len < 0)
			return len;
	} else if (to->u.in.sin_port == 0) {
		return DGRAM_ERR_SOCKET_BAD_PORT;
	}
	if (size > DGI_UDP4_MOST) {
		r = dgi_send_check_large(s, to, size);
		if (r < 0)
			return r;
	}
	return len;
}

/* The length of the address (0: the connected peer), or an error. */
static inline int
dgi_send_check_peer(const struct dgram_socket *s, const struct dgram_addr *to,
    size_t size)
{
	if (to != NULL)
		return dgi_send_check_to(s, to, size);
	if (s->state != DGI_CONNECTED)
		return DGRAM_ERR_SOCKET_DGRAM_NOT_CONNECTED;
	return size > DGI_UDP4_MOST ? dgi_send_check_large(s, &s->peer, size) :
	    0;
}

#endif
