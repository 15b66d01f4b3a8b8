/* SPDX-License-Identifier: ISC */

/*
 * Groups and interfaces: texts to what the kernel takes, and to the kernel.
 *
 * An interface is joined on by its index wherever the system can do so: an
 * address may be on two, and moves.
 */

#include "core/plat.h"

#include <sys/types.h>
#include <sys/socket.h>

#include <netinet/in.h>

#include <errno.h>
#include <string.h>

#include "core/addr.h"
#include "core/mcast.h"

/* A literal; *zone is what stands behind its %, or NULL. */
static int
parse_ip(struct dgi_ip *ip, const char *text, const char **zone)
{
	char literal[INET6_ADDRSTRLEN];
	size_t n = strcspn(text, "%");
	struct dgram_addr a;

	memset(ip, 0, sizeof(*ip));
	*zone = NULL;
	if (n >= sizeof(literal))
		return -EINVAL;
	memcpy(literal, text, n);
	literal[n] = '\0';
	if (dgram_addr_parse(&a, literal, 0) < 0)
		return -EINVAL;
	if (a.u.sa.sa_family == AF_INET) {
		if (text[n] != '\0')
			return -EINVAL;
		memcpy(ip->bytes, &a.u.in.sin_addr, 4);
	} else {
		memcpy(ip->bytes, &a.u.in6.sin6_addr, 16);
		if (text[n] != '\0')
			*zone = text + n + 1;
	}
	ip->family = a.u.sa.sa_family;
	return 0;
}

bool
dgi_ip_equal(const struct dgi_ip *a, const struct dgi_ip *b)
{
	return a->family == b->family &&
	    memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static bool
is_group(const struct dgi_ip *ip)
{
	return ip->family == AF_INET ? (ip->bytes[0] & 0xf0) == 0xe0 :
	    ip->bytes[0] == 0xff;
}

/* ---- interfaces ---- */

static int
set_name(struct dgi_interface *on, const char *name)
{
	size_t n = strlen(name);

	if (n == 0)
		return -EINVAL;
	if (n >= sizeof(on->name))
		return -ENODEV;
	on->which = DGI_IF_NAME;
	memcpy(on->name, name, n + 1);
	return 0;
}

int
dgi_interface_parse(struct dgi_interface *on, const char *text)
{
	static const uint8_t any[16];
	const char *zone;

	memset(on, 0, sizeof(*on));
	if (text == NULL)
		return 0;
	if (strcmp(text, "*") == 0) {
		on->which = DGI_IF_ALL;
		return 0;
	}
	if (parse_ip(&on->addr, text, &zone) < 0)
		return set_name(on, text);
	if (zone != NULL)
		return set_name(on, zone);
	if (memcmp(on->addr.bytes, any, sizeof(any)) == 0)
		return 0;
	/* Each interface may have the same. */
	if (on->addr.family == AF_INET6 &&
	    dgi_addr_is_link_local6(on->addr.bytes))
		return -EINVAL;
	on->which = DGI_IF_ADDR;
	return 0;
}

bool
dgi_interface_equal(const struct dgi_interface *a,
    const struct dgi_interface *b)
{
	if (a->which != b->which)
		return false;
	return a->which == DGI_IF_NAME ? strcmp(a->name, b->name) == 0 :
	    a->which != DGI_IF_ADDR || dgi_ip_equal(&a->addr, &b->addr);
}

int
dgi_interface_each(const struct dgi_os *os, dgi_interface_fn *fn, void *arg)
{
	return (os->interfaces != NULL ? os->interfaces : dgi_os_interfaces)(
	    os, fn, arg);
}

static void
read_sockaddr(struct dgi_ip *ip, const struct sockaddr *sa)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	memset(ip, 0, sizeof(*ip));
	ip->family = sa->sa_family;
	/* Copied: it may not be aligned. */
	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		memcpy(ip->bytes, &in.sin_addr, 4);
	} else {
		memcpy(&in6, sa, sizeof(in6));
		memcpy(ip->bytes, &in6.sin6_addr, 16);
	}
}

struct search {
	struct dgi_ip addr;
	unsigned index;
};

static int
by_addr(unsigned index, const struct sockaddr *sa, void *arg)
{
	struct search *s = arg;
	struct dgi_ip ip;

	if (sa == NULL)
		return 0;
	read_sockaddr(&ip, sa);
	if (!dgi_ip_equal(&ip, &s->addr))
		return 0;
	s->index = index;
	return 1;
}

static int
by_index(unsigned index, const struct sockaddr *sa, void *arg)
{
	const struct search *s = arg;

	return sa == NULL && index == s->index;
}

int
dgi_interface_find(const struct dgi_os *os, const struct dgi_interface *on,
    unsigned *index)
{
	struct search s = { .addr = on->addr };
	int r;

	*index = 0;
	if (on->which == DGI_IF_ADDR) {
		r = dgi_interface_each(os, by_addr, &s);
	} else if (on->which == DGI_IF_NAME) {
		s.index = os->if_nametoindex(os, on->name);
		r = s.index != 0;
		if (s.index == 0) {
			s.index = dgi_addr_index(on->name);
			if (s.index != 0)
				r = dgi_interface_each(os, by_index, &s);
		}
	} else {
		return 0;
	}
	if (r < 0)
		return r;
	if (r == 0)
		return -ENODEV;
	*index = s.index;
	return 0;
}

/* ---- requests ---- */

/* A zone says the interface, too: both must mean the same. */
static int
narrow(const struct dgi_os *os, struct dgi_interface *on, const char *zone)
{
	struct dgi_interface in = { .which = DGI_IF_ANY };
	unsigned a, b;
	int r;

	if (zone == NULL)
		return 0;
	r = set_name(&in, zone);
	if (r < 0 || dgi_interface_equal(&in, on))
		return r;
	if (on->which == DGI_IF_ANY) {
		*on = in;
		return 0;
	}
	r = dgi_interface_find(os, &in, &a);
	if (r == 0)
		r = dgi_interface_find(os, on, &b);
	return r == 0 && a != b ? -EINVAL : r;
}

int
dgi_mreq_parse(struct dgi_mreq *q, const struct dgi_os *os, const char *source,
    const char *group, const char *interface)
{
	const char *zone, *source_zone = NULL;
	int r;

	memset(q, 0, sizeof(*q));
	if (group == NULL || parse_ip(&q->group, group, &zone) < 0 ||
	    !is_group(&q->group))
		return -EINVAL;
	if (source != NULL &&
	    (parse_ip(&q->source, source, &source_zone) < 0 ||
	    q->source.family != q->group.family || is_group(&q->source)))
		return -EINVAL;
	r = dgi_interface_parse(&q->on, interface);
	if (q->on.addr.family != AF_UNSPEC &&
	    q->on.addr.family != q->group.family)
		return -EINVAL;
	if (r == 0)
		r = narrow(os, &q->on, zone);
	if (r == 0)
		r = narrow(os, &q->on, source_zone);
	return r;
}

/* ---- the kernel ---- */

static int
set_option(const struct dgram_socket *s, int family, int name4, int name6,
    const void *v, size_t size)
{
	const struct dgi_os *os = s->loop->os;

	/* IPv4 through a socket of IPv6: Linux can do it. */
	return family == AF_INET ?
	    os->setsockopt(os, s->fd, IPPROTO_IP, name4, v, (socklen_t)size) :
	    os->setsockopt(os, s->fd, IPPROTO_IPV6, name6, v, (socklen_t)size);
}

#if !DGI_HAVE_MREQN || !DGI_HAVE_SOURCE_GROUP
/* An interface is known by its address only. */
static int
first_of(unsigned index, const struct sockaddr *sa, void *arg)
{
	struct search *s = arg;

	if (index != s->index || sa == NULL || sa->sa_family != AF_INET)
		return 0;
	read_sockaddr(&s->addr, sa);
	return 1;
}

static int
address_of(const struct dgi_os *os, unsigned index, struct in_addr *ret)
{
	struct search s = { .index = index };
	int r;

	memset(ret, 0, sizeof(*ret));
	if (index == 0)
		return 0;
	r = dgi_interface_each(os, first_of, &s);
	if (r <= 0)
		return r < 0 ? r : -EADDRNOTAVAIL;
	memcpy(ret, s.addr.bytes, 4);
	return 0;
}
#endif

#if DGI_HAVE_SOURCE_GROUP
static void
write_sockaddr(struct sockaddr_storage *ss, const struct dgi_ip *ip)
{
	struct dgram_addr a;

	dgi_addr_from(&a, ip->family, ip->bytes);
	memcpy(ss, &a.u, a.len);
}

/* Not by struct ip_mreqn: macOS and old FreeBSDs take the first half of it. */
static int
apply4(const struct dgram_socket *s, const struct dgi_mreq *q, unsigned index,
    bool join)
{
	struct group_req g;
	struct ip_mreq m;

	/* BSDs want a number here. */
	if (index == 0) {
		memset(&m, 0, sizeof(m));
		memcpy(&m.imr_multiaddr, q->group.bytes, 4);
		return set_option(s, AF_INET, join ? IP_ADD_MEMBERSHIP :
		    IP_DROP_MEMBERSHIP, 0, &m, sizeof(m));
	}
	memset(&g, 0, sizeof(g));
	g.gr_interface = index;
	write_sockaddr(&g.gr_group, &q->group);
	return set_option(s, AF_INET, join ? MCAST_JOIN_GROUP :
	    MCAST_LEAVE_GROUP, 0, &g, sizeof(g));
}

static int
apply_source(const struct dgram_socket *s, const struct dgi_mreq *q,
    unsigned index, bool join)
{
	const int name = join ? MCAST_JOIN_SOURCE_GROUP :
	    MCAST_LEAVE_SOURCE_GROUP;
	struct group_source_req g;
	struct ip_mreq_source m;

	/* As above; IPv6 has no other call. */
	if (index == 0 && q->group.family == AF_INET) {
		memset(&m, 0, sizeof(m));
		memcpy(&m.imr_multiaddr, q->group.bytes, 4);
		memcpy(&m.imr_sourceaddr, q->source.bytes, 4);
		return set_option(s, AF_INET, join ? IP_ADD_SOURCE_MEMBERSHIP :
		    IP_DROP_SOURCE_MEMBERSHIP, 0, &m, sizeof(m));
	}
	memset(&g, 0, sizeof(g));
	g.gsr_interface = index;
	write_sockaddr(&g.gsr_group, &q->group);
	write_sockaddr(&g.gsr_source, &q->source);
	return set_option(s, q->group.family, name, name, &g, sizeof(g));
}
#else
static int
apply4(const struct dgram_socket *s, const struct dgi_mreq *q, unsigned index,
    bool join)
{
	struct ip_mreq m;
	int r;

	memset(&m, 0, sizeof(m));
	memcpy(&m.imr_multiaddr, q->group.bytes, 4);
	r = address_of(s->loop->os, index, &m.imr_interface);
	return r < 0 ? r : set_option(s, AF_INET, join ? IP_ADD_MEMBERSHIP :
	    IP_DROP_MEMBERSHIP, 0, &m, sizeof(m));
}

static int
apply_source(const struct dgram_socket *s, const struct dgi_mreq *q,
    unsigned index, bool join)
{
	(void)s, (void)q, (void)index, (void)join;
	return -ENOTSUP;
}
#endif

/* From anybody. */
static int
apply(const struct dgram_socket *s, const struct dgi_mreq *q, unsigned index,
    bool join)
{
	struct ipv6_mreq m = { .ipv6mr_interface = index };

	if (q->group.family == AF_INET)
		return apply4(s, q, index, join);
	memcpy(&m.ipv6mr_multiaddr, q->group.bytes, 16);
	return set_option(s, AF_INET6, 0, join ? IPV6_JOIN_GROUP :
	    IPV6_LEAVE_GROUP, &m, sizeof(m));
}

int
dgi_mreq_join(const struct dgram_socket *s, const struct dgi_mreq *q,
    unsigned index)
{
	return q->source.family == AF_UNSPEC ? apply(s, q, index, true) :
	    apply_source(s, q, index, true);
}

int
dgi_mreq_leave(const struct dgram_socket *s, const struct dgi_mreq *q,
    unsigned index)
{
	int r;

	if (q->source.family == AF_UNSPEC)
		return apply(s, q, index, false);
	r = apply_source(s, q, index, false);
	/* Linux has this for a group of which no source was joined. */
	if (r == -EINVAL)
		return -EADDRNOTAVAIL;
	/* The interface is gone and keeps a place, which only this frees. */
	if (r == -ENODEV && index != 0)
		r = apply(s, q, index, false);
	return r;
}

#if DGI_HAVE_MSFILTER
/* As many sources as Linux lets a socket have, unless mld_max_msf is raised. */
#define SOURCES	64

bool
dgi_mreq_is_member(const struct dgram_socket *s, const struct dgi_mreq *q,
    unsigned index)
{
	const int level = q->group.family == AF_INET ? IPPROTO_IP :
	    IPPROTO_IPV6;
	const struct dgi_os *os = s->loop->os;
	union {
		struct group_filter filter;
		uint8_t room[GROUP_FILTER_SIZE(SOURCES)];
	} g;
	struct sockaddr_storage source;
	struct dgi_ip ip;
	socklen_t len = sizeof(g);
	unsigned i;

	memset(&g, 0, sizeof(g.filter));
	g.filter.gf_interface = index;
	g.filter.gf_numsrc = SOURCES;
	write_sockaddr(&g.filter.gf_group, &q->group);
	if (os->getsockopt(os, s->fd, level, MCAST_MSFILTER, &g, &len) < 0)
		return false;
	if (q->source.family == AF_UNSPEC)
		return true;
	for (i = 0; i < g.filter.gf_numsrc && i < SOURCES; i++) {
		memcpy(&source, g.room + GROUP_FILTER_SIZE(i), sizeof(source));
		read_sockaddr(&ip, (const struct sockaddr *)&source);
		if (dgi_ip_equal(&ip, &q->source))
			return true;
	}
	return false;
}
#else
bool
dgi_mreq_is_member(const struct dgram_socket *s, const struct dgi_mreq *q,
    unsigned index)
{
	(void)s, (void)q, (void)index;
	return false;
}
#endif

static int
set_interface4(const struct dgram_socket *s, const struct dgi_interface *on,
    unsigned index)
{
	const bool by_addr4 = on->which == DGI_IF_ADDR &&
	    on->addr.family == AF_INET;
#if DGI_HAVE_MREQN
	struct ip_mreqn m = { .imr_ifindex = (int)index };

	/* Then it is their source, too. */
	if (by_addr4)
		memcpy(&m.imr_address, on->addr.bytes, 4);
#else
	struct in_addr m;
	int r;

	r = address_of(s->loop->os, index, &m);
	if (r < 0)
		return r;
	if (by_addr4)
		memcpy(&m, on->addr.bytes, 4);
#endif
	return set_option(s, AF_INET, IP_MULTICAST_IF, 0, &m, sizeof(m));
}

int
dgi_mreq_set_interface(const struct dgram_socket *s,
    const struct dgi_interface *on, unsigned index)
{
	int r;

	if (s->type == DGRAM_UDP4 || on->addr.family == AF_INET)
		return set_interface4(s, on, index);
	r = set_option(s, AF_INET6, 0, IPV6_MULTICAST_IF, &index,
	    sizeof(index));
	/* As with the TTL, for groups of IPv4 through this socket. */
	if (r == 0 && !s->options.ipv6_only)
		(void)set_interface4(s, on, index);
	return r;
}
