/* SPDX-License-Identifier: ISC */

/*
 * The ledger: what became of each datagram.
 */

#include "core/plat.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "core/queue.h"

void
dgi_stats_count_drops(struct dgram_socket *s)
{
	uint64_t drops = UINT64_MAX;
#if DGI_HAVE_MEMINFO
	/* SO_MEMINFO, an array of 32 bits; drops are the ninth, SK_MEMINFO. */
	enum { MEMINFO = 55, DROPS = 8, WORDS = 9 };
	uint32_t v[WORDS] = { 0 };
	socklen_t len = sizeof(v);

	if (s->loop->os->getsockopt(s->loop->os, s->fd, SOL_SOCKET, MEMINFO, v,
	    &len) == 0 && len == sizeof(v)) {
		/* It has come round if it is less than at the last look. */
		drops = s->stats.kernel_drops == UINT64_MAX ? 0 :
		    s->stats.kernel_drops;
		drops += (uint32_t)(v[DROPS] - (uint32_t)drops);
	}
#endif
	s->stats.kernel_drops = drops;
}

void
dgi_stats_keep(struct dgram_socket *s)
{
	if (s->fd < 0)
		return;
	dgi_stats_count_drops(s);
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
	/* Asking moves the count of drops: the watch knows who may. */
	dgi_stats_keep(s->watch.arg);
	st = s->stats;
	st.waiting = dgi_queue_count(s);
	st.reduced = (s->loop->mmsg.no_recv ? DGRAM_REDUCED_RECVMMSG : 0) |
	    (s->loop->mmsg.no_send ? DGRAM_REDUCED_SENDMMSG : 0);
	/* A program built with an older header knows fewer of them. */
	size = ret->size < sizeof(st) ? ret->size : sizeof(st);
	st.size = ret->size;
	memcpy(ret, &st, size);
	return 0;
}
