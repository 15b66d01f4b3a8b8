/* SPDX-License-Identifier: ISC */

/*
 * The ledger: what became of each datagram.
 */

#include "core/plat.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "core/socket.h"

/* Datagrams that the kernel dropped for want of buffer space; sock_diag(7). */
static uint64_t
kernel_drops(const struct dgram_socket *s)
{
#if DGI_HAVE_MEMINFO
	/* SO_MEMINFO, an array of 32 bits; drops are the ninth, SK_MEMINFO. */
	enum { MEMINFO = 55, DROPS = 8, WORDS = 9 };
	uint32_t v[WORDS] = { 0 };
	socklen_t len = sizeof(v);

	if (s->loop->os->getsockopt(s->loop->os, s->fd, SOL_SOCKET, MEMINFO, v,
	    &len) == 0 && len == sizeof(v))
		return v[DROPS];
#else
	(void)s;
#endif
	return UINT64_MAX;
}

void
dgi_stats_keep(struct dgram_socket *s)
{
	if (s->fd < 0)
		return;
	s->stats.kernel_drops = kernel_drops(s);
	s->stats.granted_recv_buffer = dgram_get_recv_buffer_size(s);
	s->stats.granted_send_buffer = dgram_get_send_buffer_size(s);
}

int
dgram_get_stats(const struct dgram_socket *s, struct dgram_stats *ret)
{
	struct dgram_stats st;
	size_t size;

	if (s == NULL || ret == NULL || ret->size < sizeof(ret->size))
		return -EINVAL;
	st = s->stats;
	st.waiting = s->queued;
	if (s->fd >= 0) {
		st.kernel_drops = kernel_drops(s);
		st.granted_recv_buffer = dgram_get_recv_buffer_size(s);
		st.granted_send_buffer = dgram_get_send_buffer_size(s);
	}
	st.reduced = (s->loop->mmsg.no_recv ? DGRAM_REDUCED_RECVMMSG : 0) |
	    (s->loop->mmsg.no_send ? DGRAM_REDUCED_SENDMMSG : 0);
	/* A program built with an older header knows fewer of them. */
	size = ret->size < sizeof(st) ? ret->size : sizeof(st);
	st.size = ret->size;
	memcpy(ret, &st, size);
	return 0;
}
