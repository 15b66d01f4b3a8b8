/* SPDX-License-Identifier: ISC */

/*
 * The peer of a connected AF_UNIX socket, when it has gone.
 *
 * The first send tells (ECONNREFUSED, on BSDs ECONNRESET), and the kernel takes the
 * connection apart: from then on there is no peer (ENOTCONN, or EDESTADDRREQ).  The
 * socket stays connected as far as the program is concerned.  With
 * dgram_options.reconnect the name is connected to again, by and by, as long as
 * something waits to be sent there.
 */

#include "core/plat.h"

#include <errno.h>

#include "core/addr.h"
#include "core/queue.h"

#define BACKOFF_MOST_MS	1000u

bool
dgi_peer_is_gone(int status)
{
	return status == -ECONNREFUSED || status == -ECONNRESET ||
	    status == -ENOTCONN || status == -EDESTADDRREQ;
}

bool
dgi_peer_comes_back(const struct dgram_socket *s)
{
	/* The other end of a socketpair(2) has no name. */
	return s->options.reconnect && dgi_addr_path_len(&s->peer) > 0;
}

bool
dgi_peer_connect(struct dgram_socket *s, int status)
{
	const struct dgi_os *os = s->loop->os;
	int r;

	if (!s->lost) {
		s->lost_status = status;
		/* That it was there is no news any more. */
		s->owes &= ~DGI_OWES_CONNECT;
		dgi_socket_owe(s, DGI_OWES_LOST);
	}
	s->lost = true;
	r = s->connect_again != NULL ? s->connect_again(s) :
	    os->connect(os, s->fd, &s->peer.u.sa, s->peer.len);
	if (r < 0)
		return false;
	s->lost = false;
	s->block = DGI_FREE;
	dgi_socket_owe(s, DGI_OWES_CONNECT);
	return true;
}

bool
dgi_peer_lost(struct dgram_socket *s, int status)
{
	bool back = dgi_peer_connect(s, status);

	if (!back)
		dgi_queue_back_off(s, BACKOFF_MOST_MS);
	return back;
}

void
dgi_peer_forget(struct dgram_socket *s)
{
	s->lost = false;
	s->connect_again = NULL;
	if (s->peer_path != NULL)
		dgi_mem_free(&s->loop->mem, s->peer_path, s->peer_size);
	s->peer_path = NULL;
}

void
dgi_peer_blame_once(struct dgram_socket *s, struct dgi_req *r)
{
	if (r->done != NULL || (r->flags & (DGI_REQ_PART | DGI_REQ_REPLY)) != 0)
		return;
	if (s->lost)
		r->flags |= DGI_REQ_REPLY;
	s->lost = true;
}
