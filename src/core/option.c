/* SPDX-License-Identifier: ISC */

/*
 * Options of the kernel: what dgram_options ask for when the descriptor is made,
 * and the setters.
 */

#include "core/plat.h"

#include <sys/types.h>
#include <sys/socket.h>

#include <net/if.h>
#include <netinet/in.h>

#include <errno.h>
#include <string.h>

#include "core/socket.h"

/* <linux/in6.h> has it, which the headers of libc do not get along with. */
#define MULTICAST_ALL6	29

static int
set_int(const struct dgram_socket *s, int level, int name, int v)
{
	return s->loop->os->setsockopt(s->loop->os, s->fd, level, name, &v,
	    sizeof(v));
}

static int
get_int(const struct dgram_socket *s, int level, int name)
{
	socklen_t len = sizeof(int);
	int r, v = 0;

	r = s->loop->os->getsockopt(s->loop->os, s->fd, level, name, &v, &len);
	return r < 0 ? r : v;
}

/*
 * SO_RCVBUF or SO_SNDBUF.  Linux grants what it has and says nothing, BSDs refuse
 * what is too much: theirs is searched for, down to a few percent.
 */
static int
grant_buffer(const struct dgram_socket *s, int name, int size)
{
	int r = set_int(s, SOL_SOCKET, name, size), least = 0, most = size, mid;

	if (r != -ENOBUFS)
		return r;
	while (most - least > most / 32 + 1) {
		mid = least + (most - least) / 2;
		r = set_int(s, SOL_SOCKET, name, mid);
		if (r == 0)
			least = mid;
		else if (r == -ENOBUFS)
			most = mid;
		else
			return r;
	}
	return least > 0 ? 0 : -ENOBUFS;
}

int
dgi_option_check(const struct dgram_options *o)
{
	const bool ip = o->type == DGRAM_UDP4 || o->type == DGRAM_UDP6;

	if (o->recv_buffer_size < 0 || o->send_buffer_size < 0)
		return DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE;
	if ((o->want & ~(DGI_META_WANT | DGI_META_UNIX | DGRAM_NO_REMOTE)) != 0)
		return -EINVAL;
	if (o->max_fds > ((o->want & DGRAM_FDS) != 0 ? DGRAM_FDS_MOST : 0))
		return -EINVAL;
	if (o->type == DGRAM_UNIX && (o->want & DGI_META_IP) != 0)
		return -ENOTSUP;
	if (o->type == DGRAM_UDP4 && (o->want & DGRAM_TOS) != 0 &&
	    !DGI_HAVE_RECVTOS)
		return -ENOTSUP;
	if (ip && (o->want & DGI_META_UNIX) != 0)
		return -ENOTSUP;
	if ((o->want & DGRAM_CREDS) != 0 && !DGI_HAVE_PASSCRED &&
	    !DGI_HAVE_SOCKCRED)
		return -ENOTSUP;
	if (dgi_option_has_list(o) && o->type == DGRAM_UNIX)
		return -ENOTSUP;
	if (o->receive_block_list != NULL && (o->want & DGRAM_NO_REMOTE) != 0)
		return -EINVAL;
	if (ip && o->reconnect)
		return -EINVAL;
	if (o->ipv6_only && o->type != DGRAM_UDP6 && o->type != 0)
		return -EINVAL;
	if (o->reuse_port && !DGI_HAVE_REUSEPORT_BALANCED &&
	    !DGI_HAVE_REUSEPORT_LB)
		return -ENOTSUP;
	if (o->device != NULL && !DGI_HAVE_BINDTODEVICE && !DGI_HAVE_BOUND_IF)
		return -ENOTSUP;
	if (o->type == DGRAM_UNIX &&
	    (o->reuse_addr || o->reuse_port || o->device != NULL))
		return -ENOTSUP;
	if ((o->path_mode & ~(mode_t)0777) != 0 ||
	    (ip && dgi_option_has_owner(o)))
		return -EINVAL;
	return 0;
}

static int
set_reuse(const struct dgram_socket *s)
{
	int r = 0;

	if (s->options.reuse_addr) {
#if DGI_HAVE_REUSEADDR_IS_REUSEPORT
		r = set_int(s, SOL_SOCKET, SO_REUSEPORT, 1);
#else
		r = set_int(s, SOL_SOCKET, SO_REUSEADDR, 1);
#endif
	}
	if (r == 0 && s->options.reuse_port) {
#if DGI_HAVE_REUSEPORT_LB
		r = set_int(s, SOL_SOCKET, SO_REUSEPORT_LB, 1);
#else
		r = set_int(s, SOL_SOCKET, SO_REUSEPORT, 1);
#endif
	}
	return r;
}

/* "": to none any more. */
static int
set_device(const struct dgram_socket *s, const char *name)
{
#if DGI_HAVE_BINDTODEVICE
	/* The kernel would cut it and bind to another. */
	if (strlen(name) >= IF_NAMESIZE)
		return -ENODEV;
	return s->loop->os->setsockopt(s->loop->os, s->fd, SOL_SOCKET,
	    SO_BINDTODEVICE, name, (socklen_t)strlen(name));
#elif DGI_HAVE_BOUND_IF
	unsigned index = 0;

	if (*name != '\0') {
		index = s->loop->os->if_nametoindex(s->loop->os, name);
		if (index == 0)
			return -ENODEV;
	}
	return s->type == DGRAM_UDP6 ?
	    set_int(s, IPPROTO_IPV6, IPV6_BOUND_IF, (int)index) :
	    set_int(s, IPPROTO_IP, IP_BOUND_IF, (int)index);
#else
	(void)s, (void)name;
	return -ENOTSUP;
#endif
}

/* A socket hears only the groups that it joined itself, ip(7). */
static void
set_multicast(const struct dgram_socket *s)
{
#if DGI_HAVE_MULTICAST_ALL
	/* Linux takes the option of IPv4 on both; older ones lack IPv6's. */
	(void)set_int(s, IPPROTO_IP, IP_MULTICAST_ALL, 0);
	if (s->type == DGRAM_UDP6)
		(void)set_int(s, IPPROTO_IPV6, MULTICAST_ALL6, 0);
#else
	(void)s;
#endif
}

int
dgi_option_apply_any(struct dgram_socket *s)
{
	const struct dgram_options *o = &s->options;
	int r;

	r = dgi_meta_apply(s);
	if (r == 0 && o->recv_buffer_size > 0)
		r = grant_buffer(s, SO_RCVBUF, o->recv_buffer_size);
	if (r == 0 && o->send_buffer_size > 0)
		r = grant_buffer(s, SO_SNDBUF, o->send_buffer_size);
	return r;
}

int
dgi_option_apply(struct dgram_socket *s)
{
	const struct dgram_options *o = &s->options;
	int r = 0;

	if (s->type != DGRAM_UNIX) {
		r = set_reuse(s);
		/* Written also if 0: the default of systems differs. */
		if (r == 0 && s->type == DGRAM_UDP6 &&
		    (o->ipv6_only || DGI_HAVE_MAPPED))
			r = set_int(s, IPPROTO_IPV6, IPV6_V6ONLY,
			    o->ipv6_only);
		set_multicast(s);
		if (r == 0 && o->device != NULL)
			r = set_device(s, o->device);
	}
	if (r == 0)
		r = dgi_option_apply_any(s);
	if (r == 0 && o->configure != NULL) {
		s->loop->configuring++;
		r = o->configure(s->fd, o->arg);
		s->loop->configuring--;
		if (r >= 0)
			r = s->fd >= 0 ? dgi_meta_look(s) : 0;
	}
	return r;
}

int
dgram_set_broadcast(struct dgram_socket *s, int on)
{
	int r = dgi_socket_check_fd(s);

	return r < 0 ? r : set_int(s, SOL_SOCKET, SO_BROADCAST, on != 0);
}

int
dgram_bind_to_device(struct dgram_socket *s, const char *ifname)
{
	int r = dgi_socket_check_fd(s);

	if (r < 0)
		return r;
	if (s->type == DGRAM_UNIX)
		return -ENOTSUP;
	return set_device(s, ifname == NULL ? "" : ifname);
}

/* BSDs have bytes where multicast of IPv4 is concerned; Linux takes both. */
static int
set_ip(const struct dgram_socket *s, int name, int v)
{
	unsigned char byte = (unsigned char)v;

	if (name != IP_MULTICAST_TTL && name != IP_MULTICAST_LOOP)
		return set_int(s, IPPROTO_IP, name, v);
	return s->loop->os->setsockopt(s->loop->os, s->fd, IPPROTO_IP, name,
	    &byte, sizeof(byte));
}

/* One of IPv4 and one of IPv6, on the levels that the socket speaks. */
static int
set_both(const struct dgram_socket *s, int name4, int name6, int v)
{
	int r;

	if (s->type == DGRAM_UNIX)
		return -ENOTSUP;
	if (s->type == DGRAM_UDP4)
		return set_ip(s, name4, v);
	r = set_int(s, IPPROTO_IPV6, name6, v);
	/* For traffic to mapped addresses; BSDs refuse it on IPv6. */
	if (r == 0 && !s->options.ipv6_only)
		(void)set_ip(s, name4, v);
	return r;
}

int
dgram_set_ttl(struct dgram_socket *s, int ttl)
{
	int r = dgi_socket_check_fd(s);

	if (r < 0)
		return r;
	if (ttl < 1 || ttl > 255)
		return -EINVAL;
	return set_both(s, IP_TTL, IPV6_UNICAST_HOPS, ttl);
}

int
dgram_set_tos(struct dgram_socket *s, int tos)
{
	int r = dgi_socket_check_fd(s);

	if (r < 0)
		return r;
	if (tos < 0 || tos > 255)
		return -EINVAL;
	return set_both(s, IP_TOS, IPV6_TCLASS, tos);
}

int
dgram_set_multicast_ttl(struct dgram_socket *s, int ttl)
{
	int r = dgi_socket_check_fd(s);

	if (r < 0)
		return r;
	if (ttl < 0 || ttl > 255)
		return -EINVAL;
	return set_both(s, IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS, ttl);
}

int
dgram_set_multicast_loopback(struct dgram_socket *s, int on)
{
	int r = dgi_socket_check_fd(s);

	if (r < 0)
		return r;
	return set_both(s, IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP, on != 0);
}

static int
set_buffer(struct dgram_socket *s, int name, int size)
{
	int r = dgi_socket_check_fd(s);

	if (r < 0)
		return r;
	if (size < 0)
		return DGRAM_ERR_SOCKET_BAD_BUFFER_SIZE;
	return size == 0 ? 0 : grant_buffer(s, name, size);
}

static int
get_buffer(const struct dgram_socket *s, int name)
{
	int r = dgi_socket_check_fd(s);

	return r < 0 ? r : get_int(s, SOL_SOCKET, name);
}

int
dgram_set_recv_buffer_size(struct dgram_socket *s, int size)
{
	return set_buffer(s, SO_RCVBUF, size);
}

int
dgram_get_recv_buffer_size(const struct dgram_socket *s)
{
	return get_buffer(s, SO_RCVBUF);
}

int
dgram_set_send_buffer_size(struct dgram_socket *s, int size)
{
	return set_buffer(s, SO_SNDBUF, size);
}

int
dgram_get_send_buffer_size(const struct dgram_socket *s)
{
	return get_buffer(s, SO_SNDBUF);
}
