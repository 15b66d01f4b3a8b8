/* SPDX-License-Identifier: ISC */

/*
 * What is told of a single datagram, and what a single one is sent with: the
 * bits of dgram_options.want, the members of dgram_message and dgram_datagram
 * that travel as control messages.
 *
 * A socket that was not asked for them does not pass here.
 */

#include "core/plat.h"

#include <sys/types.h>
#include <sys/socket.h>

#include <netinet/in.h>

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "core/addr.h"
#include "core/queue.h"
#include "core/socket.h"

/* The level of AF_UNIX; not all who have it have always called it SOL_LOCAL. */
#define LOCAL	0

/* ---- asked for, once for a socket ---- */

unsigned
dgi_meta_mode(const struct dgram_socket *s, unsigned want)
{
	unsigned mode = (want & DGRAM_NO_REMOTE) == 0 ? DGI_RX_NAMED : 0;

	/* There is always a look at what came with a datagram. */
	if (s->type == DGRAM_UNIX)
		mode |= DGI_RX_CONTROL | DGI_RX_ROOM(dgi_cmsg_room(
		    &dgi_cmsg_native, want, s->options.max_fds));
	else if ((want & DGI_META_WANT) != 0)
		mode |= DGI_RX_CONTROL | DGI_RX_ROOM(DGI_CMSG_RECV);
	return mode;
}

static int
set(const struct dgram_socket *s, int level, int name, int v)
{
	int r;

	r = s->loop->os->setsockopt(s->loop->os, s->fd, level, name, &v,
	    sizeof(v));
	/* Headers know more than an older kernel. */
	return r == -ENOPROTOOPT || r == -EINVAL || r == -EOPNOTSUPP ?
	    -ENOTSUP : r;
}

static int
on(const struct dgram_socket *s, int level, int name)
{
	return set(s, level, name, 1);
}

static int
want_local4(const struct dgram_socket *s)
{
	int r = -ENOTSUP;

#if DGI_HAVE_RECVPKTINFO4
	r = on(s, IPPROTO_IP, IP_RECVPKTINFO);
#elif DGI_HAVE_PKTINFO4
	r = on(s, IPPROTO_IP, IP_PKTINFO);
#endif
#if DGI_HAVE_RECVDSTADDR
	if (r == -ENOTSUP) {
		r = on(s, IPPROTO_IP, IP_RECVDSTADDR);
		if (r == 0)
			(void)on(s, IPPROTO_IP, IP_RECVIF);
	}
#endif
	return r;
}

static int
want_ttl4(const struct dgram_socket *s)
{
	return on(s, IPPROTO_IP, IP_RECVTTL);
}

static int
want_tos4(const struct dgram_socket *s)
{
#if DGI_HAVE_RECVTOS
	return on(s, IPPROTO_IP, IP_RECVTOS);
#else
	(void)s;
	return -ENOTSUP;
#endif
}

static int
want_time(const struct dgram_socket *s)
{
#if DGI_HAVE_TIMESTAMPNS
	if (on(s, SOL_SOCKET, SO_TIMESTAMPNS) == 0)
		return 0;
#endif
	return on(s, SOL_SOCKET, SO_TIMESTAMP);
}

/* An option of IPv6, and on a socket of both that of IPv4 for the other half. */
static int
want_either(const struct dgram_socket *s, int name6,
    int (*want4)(const struct dgram_socket *))
{
	int r;

	if (s->type == DGRAM_UDP4)
		return want4(s);
	r = on(s, IPPROTO_IPV6, name6);
	/* Not every system takes it; then that half is not told. */
	if (r == 0 && !s->options.ipv6_only && DGI_HAVE_MAPPED)
		(void)want4(s);
	return r;
}

int
dgi_meta_apply(struct dgram_socket *s)
{
	const unsigned want = s->options.want;
	int r = 0;

	if ((want & (DGI_META_WANT | DGI_META_UNIX)) == 0)
		return 0;
	if ((want & (s->type == DGRAM_UNIX ? DGI_META_IP : DGI_META_UNIX)) != 0)
		return -ENOTSUP;
	if ((want & DGRAM_LOCAL) != 0)
		r = want_either(s, IPV6_RECVPKTINFO, want_local4);
	if (r == 0 && (want & DGRAM_TTL) != 0)
		r = want_either(s, IPV6_RECVHOPLIMIT, want_ttl4);
	if (r == 0 && (want & DGRAM_TOS) != 0)
		r = want_either(s, IPV6_RECVTCLASS, want_tos4);
	if (r == 0 && (want & DGRAM_TIME) != 0)
		r = want_time(s);
	return r;
}

int
dgi_meta_set_creds(struct dgram_socket *s, bool on)
{
	if ((s->options.want & DGRAM_CREDS) == 0)
		return 0;
#if DGI_HAVE_PASSCRED
	return set(s, SOL_SOCKET, SO_PASSCRED, on);
#elif DGI_HAVE_SOCKCRED2
	return set(s, LOCAL, LOCAL_CREDS_PERSISTENT, on);
#elif DGI_HAVE_SOCKCRED
	return set(s, LOCAL, LOCAL_CREDS, on);
#else
	(void)on;
	return -ENOTSUP;
#endif
}

/*
 * What others have switched on has room as well, though nobody here wants it: or
 * it would take the room of what is wanted, and look like descriptors that had
 * none.  All of it together fits into DGI_CMSG_RECV, or DGI_CMSG_RECV_FDS.
 */
int
dgi_meta_look(struct dgram_socket *s)
{
	static const struct {
		unsigned short name;
		unsigned char want, bytes;
	} others[] = {
		{ SO_TIMESTAMP, DGRAM_TIME, 0 },
#if DGI_HAVE_TIMESTAMPNS
		{ SO_TIMESTAMPNS, DGRAM_TIME, 0 },
		{ SO_TIMESTAMPING, 0, 64 },
#endif
#if DGI_HAVE_PASSCRED
		{ SO_PASSCRED, DGRAM_CREDS, 0 },
		{ SO_PASSSEC, 0, 96 },
		/* SO_PASSPIDFD, Linux 6.5. */
		{ 76, 0, 24 },
#endif
	};
	unsigned want = s->options.want, bytes = 0, i;
	socklen_t len;
	int v;

	if (s->type != DGRAM_UNIX)
		return 0;
	for (i = 0; i < sizeof(others) / sizeof(*others); i++) {
		len = sizeof(v);
		v = 0;
		if (s->loop->os->getsockopt(s->loop->os, s->fd, SOL_SOCKET,
		    others[i].name, &v, &len) < 0 || v == 0)
			continue;
		want |= others[i].want;
		bytes += others[i].bytes;
	}
	s->rx_mode = dgi_meta_mode(s, want) + DGI_RX_ROOM(bytes);
	return dgi_arena_reserve_rx(&s->loop->arena, &s->loop->mem, s->rx_mode);
}

/* ---- told ---- */

void
dgi_meta_fill(struct dgram_socket *s, unsigned i)
{
	struct dgi_arena *a = &s->loop->arena;
	struct msghdr *h = &a->rx[i].msg_hdr;
	struct dgram_message *m = &a->messages[i];
	struct dgram_addr *local, none;
	struct dgi_cmsg_rest rest;

	local = s->type == DGRAM_UNIX ? &none : &a->rx_control[i].local;
	dgi_cmsg_parse(&dgi_cmsg_native, h->msg_control, h->msg_controllen,
	    s->family, m, local, &rest);
#if DGI_HAVE_MSG_MCAST
	if ((h->msg_flags & (MSG_BCAST | MSG_MCAST)) != 0)
		m->flags |= DGRAM_GROUP;
#endif
	h->msg_controllen = DGI_RX_ROOM_OF(a->mode);
	/* configure() may have switched others on. */
	m->flags &= s->options.want | DGRAM_TRUNCATED | DGRAM_GROUP;
	m->local = NULL;
	if (s->type == DGRAM_UNIX) {
		dgi_rights_take(s, h, m, &rest);
		return;
	}
	if ((m->flags & DGRAM_LOCAL) != 0) {
		local->u.in.sin_port = s->local.u.in.sin_port;
		m->local = local;
	} else {
		m->flags &= ~DGRAM_GROUP;
	}
}

void
dgi_meta_drop(struct dgram_socket *s, unsigned i)
{
	struct dgram_message *m = &s->loop->arena.messages[i];

	m->flags = 0;
	dgi_meta_fill(s, i);
	dgi_rights_close(s, m->fds, m->nfds);
}

/* ---- sent with ---- */

static bool
is_set_small(int v, bool also_zero)
{
	return v > 0 || (v == 0 && also_zero);
}

static void
set_addr(struct dgi_source *src, const struct dgram_addr *a)
{
	src->has_addr = true;
	if (a->u.sa.sa_family == AF_INET)
		memcpy(src->addr, &a->u.in.sin_addr, 4);
	else
		memcpy(src->addr, &a->u.in6.sin6_addr, 16);
}

void
dgi_meta_of(const struct dgram_datagram *d, struct dgi_source *src)
{
	memset(src, 0, sizeof(*src));
	src->ttl = src->tos = -1;
	src->ifindex = d->ifindex;
	if (d->from != NULL && !dgi_addr_is_any(d->from)) {
		set_addr(src, d->from);
		/* A zone means something within a link only. */
		if (src->ifindex == 0 &&
		    d->from->u.sa.sa_family == AF_INET6 &&
		    dgi_addr_has_zone(&d->from->u.in6))
			src->ifindex = d->from->u.in6.sin6_scope_id;
	}
	if (is_set_small(d->ttl, (d->flags & DGRAM_SET_TTL) != 0))
		src->ttl = (short)d->ttl;
	if (is_set_small(d->tos, (d->flags & DGRAM_SET_TOS) != 0))
		src->tos = (short)d->tos;
}

static bool
is_to_mapped(const struct dgram_socket *s, const struct dgram_addr *to)
{
	return s->type == DGRAM_UDP6 &&
	    dgi_addr_is_mapped(to != NULL ? to : &s->peer);
}

int
dgi_meta_check(struct dgram_socket *s, const struct dgram_datagram *d)
{
	unsigned char control[DGI_CMSG_SEND];
	struct dgi_source src;
	bool mapped;
	int r;

	if ((d->flags & ~(DGRAM_SET_TTL | DGRAM_SET_TOS)) != 0 ||
	    d->ttl < -1 || d->ttl > UINT8_MAX || d->tos < -1 ||
	    d->tos > UINT8_MAX || d->ifindex > INT_MAX)
		return -EINVAL;
	if (s->type == DGRAM_UNIX)
		return dgi_rights_check(s, d);
	if (d->fds != NULL || d->nfds != 0)
		return -ENOTSUP;
	mapped = is_to_mapped(s, d->to);
	if (d->from != NULL) {
		r = dgi_addr_check(d->from, s->family);
		if (r < 0)
			return r;
		/* IPv4 does not go out from an address of IPv6. */
		if (s->type == DGRAM_UDP6 && !dgi_addr_is_any(d->from) &&
		    dgi_addr_is_mapped(d->from) != mapped)
			return -EINVAL;
	}
	dgi_meta_of(d, &src);
	r = dgi_cmsg_build(&dgi_cmsg_native, control, &src, s->family, mapped);
	return r < 0 ? r : dgi_meta_reserve(s);
}

int
dgi_meta_reserve(struct dgram_socket *s)
{
	return dgi_arena_reserve_tx(&s->loop->arena, &s->loop->mem);
}

bool
dgi_meta_answer(const struct dgram_socket *s, const struct dgram_message *m,
    struct dgi_source *src)
{
	/* One address: it is the source anyway. */
	if ((m->flags & DGRAM_LOCAL) == 0 || m->local == NULL ||
	    s->type == DGRAM_UNIX || !dgi_addr_is_any(&s->local) ||
	    m->local->u.sa.sa_family != s->family)
		return false;
	memset(src, 0, sizeof(*src));
	src->ttl = src->tos = -1;
	/*
	 * The interface pins the route, and what was asked through one router may
	 * be answered through another: only where an address means nothing
	 * without it.
	 */
	if ((m->flags & DGRAM_GROUP) == 0)
		set_addr(src, m->local);
	if (dgi_addr_is_multicast(m->local) ||
	    dgi_addr_is_link_local(m->local))
		src->ifindex = m->ifindex;
	if ((s->type == DGRAM_UDP4 || (dgi_addr_is_mapped(m->local) &&
	    !dgi_cmsg_native.mapped_by_ip6)) &&
	    dgi_cmsg_native.pktinfo_size == 0)
		src->ifindex = 0;
	return src->has_addr || src->ifindex != 0;
}

void
dgi_meta_attach(struct dgram_socket *s, unsigned i,
    const struct dgi_source *src)
{
	struct dgi_arena *a = &s->loop->arena;
	struct msghdr *m = &a->tx[i].msg_hdr;
	struct dgram_addr to = { .len = 0 };
	int n;

	if (m->msg_name != NULL) {
		to.len = m->msg_namelen;
		memcpy(&to.u, m->msg_name, m->msg_namelen);
	}
	n = dgi_cmsg_build(&dgi_cmsg_native, a->tx_control[i].bytes, src,
	    s->family, is_to_mapped(s, to.len > 0 ? &to : NULL));
	/* Checked when it was accepted; a reply does without what cannot be. */
	if (n <= 0)
		return;
	m->msg_control = a->tx_control[i].bytes;
	m->msg_controllen = (unsigned)n;
	a->tx_controls = i + 1;
}
