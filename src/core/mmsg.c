/* SPDX-License-Identifier: ISC */

/*
 * Batches of datagrams.
 *
 * The emulation fills the same array by one call per datagram and so costs
 * what a system without recvmmsg(2) must pay; everything above is the same.
 */

#include "core/plat.h"

#include <errno.h>

#include "core/mmsg.h"

static int
recv_each(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n,
    int flags, int *later)
{
	unsigned i;
	ssize_t r = 0;

	for (i = 0; i < n; i++) {
		r = os->recvmsg(os, fd, &m[i].msg_hdr, flags);
		if (r < 0)
			break;
		m[i].msg_len = (unsigned)r;
	}
	if (i == n)
		return (int)n;
	if (i == 0)
		return (int)r;
	if (r != -EAGAIN)
		*later = (int)r;
	return (int)i;
}

int
dgi_mmsg_recv(const struct dgi_os *os, struct dgi_mmsg_state *st, int fd,
    struct dgi_mmsg *m, unsigned n, int flags, int *later)
{
	int r;

	*later = 0;
	if (!st->no_recv) {
		r = os->recvmmsg(os, fd, m, n, flags);
		if (r != -ENOSYS)
			return r;
		st->no_recv = true;
	}
	return recv_each(os, fd, m, n, flags, later);
}

static int
send_each(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n)
{
	unsigned i;
	ssize_t r;

	for (i = 0; i < n; i++) {
		r = os->sendmsg(os, fd, &m[i].msg_hdr);
		if (r < 0)
			return i > 0 ? (int)i : (int)r;
		m[i].msg_len = (unsigned)r;
	}
	return (int)n;
}

int
dgi_mmsg_send(const struct dgi_os *os, struct dgi_mmsg_state *st, int fd,
    struct dgi_mmsg *m, unsigned n)
{
	int r;

	if (!st->no_send) {
		r = os->sendmmsg(os, fd, m, n);
		if (r != -ENOSYS)
			return r;
		st->no_send = true;
	}
	return send_each(os, fd, m, n);
}
