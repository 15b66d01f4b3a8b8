/* SPDX-License-Identifier: ISC */

/*
 * Errors of a socket that are nobody's datagram's: what receiving tells, and what
 * an earlier datagram brought back (ICMP), which the kernel hands to whoever calls
 * next.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/socket.h"

void
dgi_socket_error(struct dgram_socket *s, int status, int kind,
    const char *syscall, const struct dgram_addr *addr)
{
	struct dgram_error e = { .status = status, .kind = kind,
	    .syscall = syscall, .addr = addr };

	if (s->state != DGI_CLOSED && s->events.error != NULL)
		s->events.error(s, &e, s->arg);
}

void
dgi_socket_receive_error(struct dgram_socket *s, int status)
{
	dgi_socket_error(s, status, dgi_socket_is_icmp(s, status) ?
	    DGRAM_IN_ICMP : DGRAM_IN_RECEIVE, "recvmsg",
	    s->peer.len > 0 ? &s->peer : NULL);
}

bool
dgi_socket_is_icmp(const struct dgram_socket *s, int status)
{
	/* What icmp(7) and icmpv6 become on Linux, icmp_err_convert there. */
	static const short codes[] = { -ECONNREFUSED, -EHOSTUNREACH,
		-ENETUNREACH, -EHOSTDOWN, -ENOPROTOOPT, -EPROTO, -EOPNOTSUPP,
#if DGI_HAVE_ENONET
		-ENONET,
#endif
	};
	size_t i;

	if (s->type == DGRAM_UNIX)
		return false;
	/* Of the datagram itself, nearly always, unless there is a peer. */
	if (status == -EMSGSIZE || status == -EACCES)
		return s->state == DGI_CONNECTED;
	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (status == codes[i])
			return true;
	}
	return false;
}

void
dgi_socket_drain_errors(struct dgram_socket *s)
{
#if DGI_HAVE_ERRQUEUE
	const struct dgi_os *os = s->loop->os;
	struct msghdr m;
	unsigned i;

	/* AF_UNIX does not know MSG_ERRQUEUE and would give datagrams. */
	if (s->type == DGRAM_UNIX)
		return;
	/* Filled by IP_RECVERR only; bounded, for they may come as fast. */
	memset(&m, 0, sizeof(m));
	for (i = 0; i < 256; i++) {
		if (os->recvmsg(os, s->fd, &m, MSG_ERRQUEUE) < 0)
			break;
	}
#else
	(void)s;
#endif
}

void
dgi_socket_take_error(struct dgram_socket *s)
{
	const struct dgi_os *os = s->loop->os;
	socklen_t len = sizeof(int);
	int e = 0;

	if (os->getsockopt(os, s->fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0 ||
	    e == 0)
		return;
	dgi_socket_receive_error(s, -e);
}
