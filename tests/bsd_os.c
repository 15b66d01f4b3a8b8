/* SPDX-License-Identifier: ISC */

/*
 * Each entry asks the real one and turns its answer into that of a BSD.
 */

#include "core/plat.h"

#include <sys/types.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <netinet/in.h>

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "bsd_os.h"

static struct bsd_os *
of(const struct dgi_os *os)
{
	void *p;

	/* The table is const to the library, but this one is ours. */
	memcpy(&p, &os, sizeof(p));
	return p;
}

static int
family(const struct dgi_os *os, int fd)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);

	return dgi_os_real.getsockname(os, fd, (struct sockaddr *)&ss, &len) <
	    0 ? AF_UNSPEC : ss.ss_family;
}

/* What setsockopt(2) was given: Linux tells twice as much. */
static int
sndbuf(const struct dgi_os *os, int fd)
{
	socklen_t len = sizeof(int);
	int value = 0;

	(void)dgi_os_real.getsockopt(os, fd, SOL_SOCKET, SO_SNDBUF, &value,
	    &len);
	return DGI_OS_LINUX ? value / 2 : value;
}

static int
b_socket(const struct dgi_os *os, int domain, int type, int proto)
{
	const int room = BSD_SNDBUF;
	int fd = dgi_os_real.socket(os, domain, type, proto);

	if (fd >= 0 && domain != AF_UNIX)
		(void)dgi_os_real.setsockopt(os, fd, SOL_SOCKET, SO_SNDBUF,
		    &room, sizeof(room));
	return fd;
}

static int
b_getsockopt(const struct dgi_os *os, int fd, int level, int name, void *p,
    socklen_t *len)
{
	int r = dgi_os_real.getsockopt(os, fd, level, name, p, len), value;

	if (r == 0 && level == SOL_SOCKET && name == SO_SNDBUF) {
		value = sndbuf(os, fd);
		memcpy(p, &value, sizeof(value));
	}
	return r;
}

static int
b_setsockopt(const struct dgi_os *os, int fd, int level, int name,
    const void *p, socklen_t len)
{
#if defined(IP_PKTINFO)
	if (level == IPPROTO_IP && name == IP_PKTINFO && of(os)->no_pktinfo)
		return -ENOPROTOOPT;
#endif
	return dgi_os_real.setsockopt(os, fd, level, name, p, len);
}

/* ---- sending ---- */

static ssize_t
send_result(const struct dgi_os *os, int fd, bool named, ssize_t r)
{
	if (family(os, fd) != AF_UNIX)
		return r;
	if (r == -EAGAIN)
		return -ENOBUFS;
	return r == -ECONNREFUSED && !named ? -ECONNRESET : r;
}

static bool
is_too_long(const struct dgi_os *os, int fd, size_t size)
{
	return family(os, fd) != AF_UNIX && size > (size_t)sndbuf(os, fd);
}

static ssize_t
b_sendto(const struct dgi_os *os, int fd, const void *buf, size_t size,
    const struct sockaddr *sa, socklen_t len)
{
	of(os)->sends++;
	if (is_too_long(os, fd, size))
		return -EMSGSIZE;
	return send_result(os, fd, len > 0,
	    dgi_os_real.sendto(os, fd, buf, size, sa, len));
}

static ssize_t
send_one(const struct dgi_os *os, int fd, const struct msghdr *m)
{
	size_t size = 0, i;

	for (i = 0; i < (size_t)m->msg_iovlen; i++)
		size += m->msg_iov[i].iov_len;
	if (is_too_long(os, fd, size))
		return -EMSGSIZE;
	return send_result(os, fd, m->msg_namelen > 0,
	    dgi_os_real.sendmsg(os, fd, m));
}

static ssize_t
b_sendmsg(const struct dgi_os *os, int fd, const struct msghdr *m)
{
	of(os)->sends++;
	return send_one(os, fd, m);
}

static int
b_sendmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n)
{
	unsigned i;
	ssize_t r;

	of(os)->sends++;
	for (i = 0; i < n; i++) {
		r = send_one(os, fd, &m[i].msg_hdr);
		if (r < 0)
			return i > 0 ? (int)i : (int)r;
		m[i].msg_len = (unsigned)r;
	}
	return (int)n;
}

/* ---- receiving ---- */

static void
name_it(const struct dgi_os *os, int fd, void *name, socklen_t *len)
{
	if (name == NULL || *len != 0 || family(os, fd) != AF_UNIX)
		return;
	memset(name, 0, 2);
	((struct sockaddr *)name)->sa_family = AF_UNIX;
	*len = 2;
}

static void
retype(const struct dgi_os *os, struct msghdr *m)
{
#if defined(IP_PKTINFO)
	struct cmsghdr *c;

	if (m->msg_controllen == 0)
		return;
	for (c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			c->cmsg_type = of(os)->pktinfo;
	}
#else
	(void)os, (void)m;
#endif
}

static ssize_t
b_recvfrom(const struct dgi_os *os, int fd, void *buf, size_t size, int flags,
    struct sockaddr *sa, socklen_t *len)
{
	ssize_t r = dgi_os_real.recvfrom(os, fd, buf, size, flags, sa, len);

	if (r >= 0 && sa != NULL)
		name_it(os, fd, sa, len);
	return r;
}

static ssize_t
b_recvmsg(const struct dgi_os *os, int fd, struct msghdr *m, int flags)
{
	ssize_t r = dgi_os_real.recvmsg(os, fd, m, flags);

	if (r >= 0) {
		name_it(os, fd, m->msg_name, &m->msg_namelen);
		retype(os, m);
	}
	return r;
}

static int
b_recvmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n,
    int flags)
{
	int i, r = dgi_os_real.recvmmsg(os, fd, m, n, flags);

	for (i = 0; i < r; i++) {
		name_it(os, fd, m[i].msg_hdr.msg_name,
		    &m[i].msg_hdr.msg_namelen);
		retype(os, &m[i].msg_hdr);
	}
	return r;
}

void
bsd_os_init(struct bsd_os *b)
{
	memset(b, 0, sizeof(*b));
	b->os = dgi_os_real;
	b->os.socket = b_socket;
	b->os.getsockopt = b_getsockopt;
	b->os.setsockopt = b_setsockopt;
	b->os.sendto = b_sendto;
	b->os.sendmsg = b_sendmsg;
	b->os.sendmmsg = b_sendmmsg;
	b->os.recvfrom = b_recvfrom;
	b->os.recvmsg = b_recvmsg;
	b->os.recvmmsg = b_recvmmsg;
	b->pktinfo = 25;
}
