/* SPDX-License-Identifier: ISC */

/*
 * Control messages, read and written.
 */

#include "core/plat.h"

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <netinet/in.h>

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "core/addr.h"
#include "core/cmsg.h"

#define TIME_OF(type, frac)						\
	{ sizeof(((type *)0)->tv_sec), offsetof(type, frac),		\
	    sizeof(((type *)0)->frac) }

/* <linux/socket.h> has it, which the headers of libc do not get along with. */
#define PIDFD	4

/* The real ones; the kernel tells of 16 groups, of which one is in the struct. */
#define SOCKCRED(tag)							\
	offsetof(struct tag, sc_uid), offsetof(struct tag, sc_gid),	\
	    sizeof(struct tag) + 15 * sizeof(gid_t)

const struct dgi_cmsg_abi dgi_cmsg_native = {
	/* Of the kernel's: musl's is half of it, and padding. */
	.len_size = offsetof(struct cmsghdr, cmsg_level),
	.socket = SOL_SOCKET,
	.ip = IPPROTO_IP,
	.ip6 = IPPROTO_IPV6,
#if DGI_HAVE_PKTINFO4
	.pktinfo = IP_PKTINFO,
	.pktinfo_size = sizeof(struct in_pktinfo),
#else
	.pktinfo = DGI_CMSG_NONE,
#endif
#if DGI_HAVE_RECVDSTADDR
	.dstaddr = IP_RECVDSTADDR,
	.recvif = IP_RECVIF,
#else
	.dstaddr = DGI_CMSG_NONE,
	.recvif = DGI_CMSG_NONE,
#endif
#if DGI_HAVE_SENDSRCADDR
	.send_srcaddr = IP_SENDSRCADDR,
#else
	.send_srcaddr = DGI_CMSG_NONE,
#endif
#if DGI_HAVE_CMSG_IS_OPTION
	.ttl = IP_TTL,
	.ttl_size = sizeof(int),
	.tos = IP_TOS,
#else
	.ttl = IP_RECVTTL,
	.ttl_size = 1,
#if DGI_HAVE_RECVTOS
	.tos = IP_RECVTOS,
#else
	.tos = DGI_CMSG_NONE,
#endif
#endif
	.pktinfo6 = IPV6_PKTINFO,
	.hoplimit = IPV6_HOPLIMIT,
	.tclass = IPV6_TCLASS,
	.timestamp = SCM_TIMESTAMP,
	.timeval = TIME_OF(struct timeval, tv_usec),
#if DGI_HAVE_TIMESTAMPNS
	.timestampns = SCM_TIMESTAMPNS,
	.timespec = TIME_OF(struct timespec, tv_nsec),
#else
	.timestampns = DGI_CMSG_NONE,
#endif
	.rights = SCM_RIGHTS,
#if DGI_HAVE_PASSCRED
	.pidfd = PIDFD,
	.creds = SCM_CREDENTIALS,
	.cred = { offsetof(struct ucred, pid), offsetof(struct ucred, uid),
	    offsetof(struct ucred, gid), sizeof(struct ucred) },
#else
	.pidfd = DGI_CMSG_NONE,
#if DGI_HAVE_SOCKCRED2
	.creds = SCM_CREDS2,
	.cred = { offsetof(struct sockcred2, sc_pid), SOCKCRED(sockcred2) },
#elif DGI_HAVE_SOCKCRED_PID
	.creds = SCM_CREDS,
	.cred = { offsetof(struct sockcred, sc_pid), SOCKCRED(sockcred) },
#elif DGI_HAVE_SOCKCRED
	.creds = SCM_CREDS,
	.cred = { DGI_CMSG_NO_PID, SOCKCRED(sockcred) },
#else
	.creds = DGI_CMSG_NONE,
#endif
#endif
#if DGI_HAVE_SEND_TTL
	.send_ttl = IP_TTL,
#else
	.send_ttl = DGI_CMSG_NONE,
#endif
#if DGI_HAVE_SEND_TOS
	.send_tos = IP_TOS,
#else
	.send_tos = DGI_CMSG_NONE,
#endif
	.tos_size = DGI_HAVE_SEND_TOS_INT ? sizeof(int) : 1,
	.mapped_by_ip6 = DGI_HAVE_MAPPED_PKTINFO,
};

static size_t
align(const struct dgi_cmsg_abi *abi, size_t n)
{
	/* CMSG_SPACE(1) is a header and one unit, CMSG_LEN(0) the header. */
	const size_t unit = abi->align != 0 ? abi->align :
	    CMSG_SPACE(1) - CMSG_LEN(0);

	/* A power of two. */
	return (n + unit - 1) & ~(unit - 1);
}

static size_t
header_size(const struct dgi_cmsg_abi *abi)
{
	return align(abi, abi->len_size + 2 * sizeof(int));
}

/* ---- reading ---- */

struct reader {
	const struct dgi_cmsg_abi *abi;
	int family;
	struct dgram_message *m;
	struct dgram_addr *local;
	struct dgi_cmsg_rest *rest;
};

static unsigned
word(const unsigned char *p)
{
	unsigned v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static void
arrived_at6(const struct reader *r, const void *addr)
{
	struct sockaddr_in6 *in6 = &r->local->u.in6;

	dgi_addr_wildcard(r->local, AF_INET6);
	memcpy(&in6->sin6_addr, addr, sizeof(in6->sin6_addr));
	if (dgi_addr_is_multicast(r->local))
		r->m->flags |= DGRAM_GROUP;
	r->m->flags |= DGRAM_LOCAL;
}

static void
arrived_at(const struct reader *r, const unsigned char *addr)
{
	unsigned char mapped[16] = { [10] = 0xff, [11] = 0xff };

	if (r->family == AF_INET6) {
		memcpy(mapped + 12, addr, 4);
		arrived_at6(r, mapped);
	} else {
		dgi_addr_wildcard(r->local, AF_INET);
		memcpy(&r->local->u.in.sin_addr, addr, 4);
		r->m->flags |= DGRAM_LOCAL;
	}
	/* 255.255.255.255 */
	if (word(addr) == UINT32_MAX || dgi_addr_is_multicast(r->local))
		r->m->flags |= DGRAM_GROUP;
}

/* struct in_pktinfo. */
static void
read_pktinfo(const struct reader *r, const unsigned char *p, size_t size)
{
	if (size < r->abi->pktinfo_size)
		return;
	if (r->abi->pktinfo_size == 12) {
		arrived_at(r, p + 8);
		r->m->ifindex = word(p);
		/* An answer comes from another: it was not to us alone. */
		if (word(p + 4) != 0 && word(p + 4) != word(p + 8))
			r->m->flags |= DGRAM_GROUP;
	} else if (r->abi->pktinfo_size == 8) {
		arrived_at(r, p);
		r->m->ifindex = word(p + 4);
	}
}

/* A byte or an int, whatever its name; half an int is nothing. */
static void
read_small(const struct reader *r, const unsigned char *p, size_t size,
    size_t least, unsigned flag, uint8_t *v)
{
	if (size < least || (size != 1 && size < sizeof(int)))
		return;
	*v = size == 1 ? p[0] : (uint8_t)word(p);
	r->m->flags |= flag;
}

/* A signed integer of 4 or 8 bytes. */
static int64_t
integer(const unsigned char *p, size_t size)
{
	int32_t w;
	int64_t v;

	if (size == sizeof(w)) {
		memcpy(&w, p, sizeof(w));
		return w;
	}
	memcpy(&v, p, sizeof(v));
	return v;
}

/* Seconds and a fraction of `unit` ns. */
static void
read_time(const struct reader *r, const struct dgi_cmsg_time *t,
    const unsigned char *p, size_t size, int64_t unit)
{
	const int64_t second = 1000000000;
	int64_t s, fraction;

	if (size < (size_t)t->at + t->frac)
		return;
	s = integer(p, t->sec);
	fraction = integer(p + t->at, t->frac);
	/* Before 1970, after 2262, or not a time. */
	if (s < 0 || s >= INT64_MAX / second || fraction < 0 ||
	    fraction >= second / unit)
		return;
	r->m->time_ns = s * second + fraction * unit;
	r->m->flags |= DGRAM_TIME;
}

static void
read_rights(const struct reader *r, const unsigned char *p, size_t size)
{
	struct dgi_cmsg_rest *rest = r->rest;
	const size_t room = sizeof(rest->fds) / sizeof(int) - rest->nfds;
	size_t n = size / sizeof(int);

	/* There is room for as many as control messages have. */
	if (n > room)
		n = room;
	memcpy(rest->fds + rest->nfds, p, n * sizeof(int));
	rest->nfds += n;
}

/* An unsigned int each, on all systems. */
static void
read_creds(const struct reader *r, const unsigned char *p, size_t size)
{
	const struct dgi_cmsg_creds *c = &r->abi->cred;

	if (size < c->gid + sizeof(gid_t) || size < c->uid + sizeof(uid_t))
		return;
	r->m->pid = c->pid == DGI_CMSG_NO_PID ? 0 : (pid_t)word(p + c->pid);
	r->m->uid = word(p + c->uid);
	r->m->gid = word(p + c->gid);
	r->m->flags |= DGRAM_CREDS;
}

static void
read_ip(const struct reader *r, int type, const unsigned char *p, size_t size)
{
	const struct dgi_cmsg_abi *abi = r->abi;
	uint16_t index;

	if (type == abi->pktinfo) {
		read_pktinfo(r, p, size);
	} else if (type == abi->dstaddr && size >= 4) {
		arrived_at(r, p);
	} else if (type == abi->recvif && size >= 4) {
		/* struct sockaddr_dl: length, family, index. */
		memcpy(&index, p + 2, sizeof(index));
		r->m->ifindex = index;
	} else if (type == abi->ttl) {
		read_small(r, p, size, abi->ttl_size, DGRAM_TTL, &r->m->ttl);
	} else if (type == abi->tos) {
		read_small(r, p, size, 1, DGRAM_TOS, &r->m->tos);
	}
}

static void
read_ip6(const struct reader *r, int type, const unsigned char *p, size_t size)
{
	const struct dgi_cmsg_abi *abi = r->abi;

	if (type == abi->pktinfo6 && size >= 20) {
		arrived_at6(r, p);
		r->m->ifindex = word(p + 16);
		if (dgi_addr_has_zone(&r->local->u.in6))
			r->local->u.in6.sin6_scope_id = r->m->ifindex;
	} else if (type == abi->hoplimit) {
		read_small(r, p, size, sizeof(int), DGRAM_TTL, &r->m->ttl);
	} else if (type == abi->tclass) {
		read_small(r, p, size, sizeof(int), DGRAM_TOS, &r->m->tos);
	}
}

static void
read_one(const struct reader *r, int level, int type, const unsigned char *p,
    size_t size)
{
	const struct dgi_cmsg_abi *abi = r->abi;

	/* What this system does not have is not to be found. */
	if (type == DGI_CMSG_NONE)
		return;
	if (level == abi->ip) {
		read_ip(r, type, p, size);
	} else if (level == abi->ip6) {
		read_ip6(r, type, p, size);
	} else if (level == abi->socket) {
		if (type == abi->timestampns) {
			read_time(r, &abi->timespec, p, size, 1);
		} else if (type == abi->timestamp) {
			read_time(r, &abi->timeval, p, size, 1000);
		} else if (type == abi->rights) {
			read_rights(r, p, size);
		} else if (type == abi->creds) {
			read_creds(r, p, size);
		} else if (type == abi->pidfd && size >= sizeof(int)) {
			r->rest->pidfd = (int)word(p);
		}
	}
}

/* cmsg_len, of 4 or 8 bytes; beyond any buffer is beyond this one. */
static size_t
read_len(const struct dgi_cmsg_abi *abi, const unsigned char *p)
{
	uint64_t v;

	if (abi->len_size == sizeof(unsigned))
		return word(p);
	memcpy(&v, p, sizeof(v));
	return v > SIZE_MAX ? SIZE_MAX : (size_t)v;
}

void
dgi_cmsg_parse(const struct dgi_cmsg_abi *abi, const void *control, size_t len,
    int family, struct dgram_message *m, struct dgram_addr *local,
    struct dgi_cmsg_rest *rest)
{
	const struct reader r = { abi, family, m, local, rest };
	const size_t head = header_size(abi);
	const unsigned char *p = control;
	size_t n;

	m->ifindex = 0;
	m->ttl = m->tos = 0;
	m->time_ns = 0;
	m->pid = 0;
	m->uid = 0;
	m->gid = 0;
	rest->nfds = 0;
	rest->pidfd = -1;
	while (len >= head) {
		n = read_len(abi, p);
		if (n < head || n > len)
			break;
		read_one(&r, (int)word(p + abi->len_size),
		    (int)word(p + abi->len_size + sizeof(int)), p + head,
		    n - head);
		n = align(abi, n);
		if (n > len)
			break;
		p += n;
		len -= n;
	}
}

size_t
dgi_cmsg_room(const struct dgi_cmsg_abi *abi, unsigned want, unsigned fds)
{
	const size_t head = header_size(abi);
	size_t sum = 0;

	/* Either struct is twice its first half. */
	if ((want & DGRAM_TIME) != 0)
		sum += align(abi, head + 2 * (size_t)abi->timeval.sec);
	if ((want & DGRAM_CREDS) != 0)
		sum += align(abi, head + abi->cred.most);
	/* Behind the last one padding would be room for one more. */
	if (fds > 0)
		sum += head + fds * sizeof(int);
	return sum;
}

/* ---- writing ---- */

static unsigned char *
put(const struct dgi_cmsg_abi *abi, unsigned char *p, int level, int type,
    const void *data, size_t size)
{
	const size_t head = header_size(abi);
	uint64_t len = head + size;
	unsigned len32 = (unsigned)len;

	if (abi->len_size == sizeof(len32))
		memcpy(p, &len32, sizeof(len32));
	else
		memcpy(p, &len, sizeof(len));
	memcpy(p + abi->len_size, &level, sizeof(level));
	memcpy(p + abi->len_size + sizeof(level), &type, sizeof(type));
	memcpy(p + head, data, size);
	return p + align(abi, head + size);
}

static unsigned char *
put_int(const struct dgi_cmsg_abi *abi, unsigned char *p, int level, int type,
    int v)
{
	return put(abi, p, level, type, &v, sizeof(v));
}

/* The source of IPv4, four bytes of it at addr; NULL: it cannot be said. */
static unsigned char *
put_source(const struct dgi_cmsg_abi *abi, unsigned char *p,
    const struct dgi_source *s, const unsigned char *addr)
{
	unsigned char info[12] = { 0 };

	if (abi->pktinfo_size == 12) {
		memcpy(info, &s->ifindex, 4);
		if (s->has_addr)
			memcpy(info + 4, addr, 4);
	} else if (abi->pktinfo_size == 8) {
		if (s->has_addr)
			memcpy(info, addr, 4);
		memcpy(info + 4, &s->ifindex, 4);
	} else if (s->ifindex == 0 && abi->send_srcaddr != DGI_CMSG_NONE) {
		return put(abi, p, abi->ip, abi->send_srcaddr, addr, 4);
	} else {
		return NULL;
	}
	return put(abi, p, abi->ip, abi->pktinfo, info, abi->pktinfo_size);
}

static unsigned char *
put_source6(const struct dgi_cmsg_abi *abi, unsigned char *p,
    const struct dgi_source *s, bool mapped)
{
	unsigned char info[20] = { 0 };

	/* Linux takes the wildcard of IPv4 only, when IPv4 is sent. */
	if (mapped)
		info[10] = info[11] = 0xff;
	if (s->has_addr)
		memcpy(info, s->addr, 16);
	memcpy(info + 16, &s->ifindex, 4);
	return put(abi, p, abi->ip6, abi->pktinfo6, info, sizeof(info));
}

int
dgi_cmsg_build(const struct dgi_cmsg_abi *abi, void *control,
    const struct dgi_source *s, int family, bool mapped)
{
	const bool ip4 = family == AF_INET || mapped;
	unsigned char *begin = control, *p = control, tos;

	memset(control, 0, DGI_CMSG_SEND);
	if (s->has_addr || s->ifindex != 0) {
		if (!ip4 || (mapped && abi->mapped_by_ip6))
			p = put_source6(abi, p, s, mapped);
		else
			p = put_source(abi, p, s, s->addr + (mapped ? 12 : 0));
		if (p == NULL)
			return -ENOTSUP;
	}
	if (s->ttl >= 0) {
		if (ip4 && abi->send_ttl == DGI_CMSG_NONE)
			return -ENOTSUP;
		p = put_int(abi, p, ip4 ? abi->ip : abi->ip6,
		    ip4 ? abi->send_ttl : abi->hoplimit, s->ttl);
	}
	if (s->tos >= 0) {
		if (ip4 && abi->send_tos == DGI_CMSG_NONE)
			return -ENOTSUP;
		tos = (unsigned char)s->tos;
		if (ip4 && abi->tos_size == 1)
			p = put(abi, p, abi->ip, abi->send_tos, &tos, 1);
		else
			p = put_int(abi, p, ip4 ? abi->ip : abi->ip6,
			    ip4 ? abi->send_tos : abi->tclass, s->tos);
	}
	return (int)(p - begin);
}

size_t
dgi_cmsg_build_rights(const struct dgi_cmsg_abi *abi, void *control,
    const int *fds, size_t n)
{
	unsigned char *begin = control;

	memset(control, 0, DGI_CMSG_SEND_FDS);
	return (size_t)(put(abi, begin, abi->socket, abi->rights, fds,
	    n * sizeof(*fds)) - begin);
}
