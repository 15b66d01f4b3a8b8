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
#include <poll.h>
#include <stddef.h>
#include <string.h>

#include "bsd_os.h"
#include "bsd_table.h"

#if DGT_BSD
#define REAL	bsd_os_kernel
#else
#define REAL	dgi_os_real
#endif

#define FDS	1024

/* What Linux does not keep. */
static struct kept {
	int sndbuf, rcvbuf;		/* 0: not set */
	bool is_wild;			/* has lost its address */
	bool is_spoiled;		/* EAGAIN is its pending error */
} kept[FDS];

static struct bsd_os everybody = { .pktinfo = 25 }, *current = &everybody;

static struct bsd_os *
of(const struct dgi_os *os)
{
	return os == &current->os ? current : &everybody;
}

static struct kept *
kept_of(int fd)
{
	static struct kept nothing;

	return fd >= 0 && fd < FDS ? &kept[fd] : &nothing;
}

static int
family(int fd)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);

	return REAL.getsockname(&REAL, fd, (struct sockaddr *)&ss, &len) <
	    0 ? AF_UNSPEC : ss.ss_family;
}

static bool
is_connected(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	return REAL.getpeername(&REAL, fd, (struct sockaddr *)&ss, &len) == 0;
}

static int
get_buffer(int fd, int name)
{
	socklen_t len = sizeof(int);
	int value = 0;

	(void)REAL.getsockopt(&REAL, fd, SOL_SOCKET, name, &value, &len);
	return DGI_OS_LINUX ? value / 2 : value;
}

/* Set by nobody, a socket that was not made here has Linux's default. */
static int
sndbuf(int fd)
{
	if (kept_of(fd)->sndbuf == 0)
		return family(fd) == AF_UNIX ? BSD_SNDBUF_UNIX :
		    get_buffer(fd, SO_SNDBUF);
	return kept_of(fd)->sndbuf;
}

/* SO_RCVBUF for as many small datagrams, 768 bytes each, as NetBSD has room. */
static int
room_for(int rcvbuf)
{
	int memory = rcvbuf > BSD_MEMORY / 2 ? BSD_MEMORY : rcvbuf * 2;

	return memory / BSD_SMALLEST * 768 / 2;
}

void
bsd_os_adjust(int fd)
{
	const int send = BSD_SNDBUF, receive = room_for(BSD_RCVBUF);

	memset(kept_of(fd), 0, sizeof(struct kept));
	if (family(fd) == AF_UNIX)
		return;
	(void)REAL.setsockopt(&REAL, fd, SOL_SOCKET, SO_SNDBUF, &send,
	    sizeof(send));
	(void)REAL.setsockopt(&REAL, fd, SOL_SOCKET, SO_RCVBUF, &receive,
	    sizeof(receive));
	kept_of(fd)->sndbuf = BSD_SNDBUF;
	kept_of(fd)->rcvbuf = BSD_RCVBUF;
}

int
bsd_socket(const struct dgi_os *os, int domain, int type, int proto)
{
	int fd = REAL.socket(os, domain, type, proto);

	if (fd >= 0)
		bsd_os_adjust(fd);
	return fd;
}

static bool
is_ip(int fd, int level)
{
	return level == IPPROTO_IP && family(fd) == AF_INET6;
}

int
bsd_getsockopt(const struct dgi_os *os, int fd, int level, int name, void *p,
    socklen_t *len)
{
	int r, value;

	if (is_ip(fd, level))
		return -ENOPROTOOPT;
	r = REAL.getsockopt(os, fd, level, name, p, len);
	if (r < 0 || level != SOL_SOCKET ||
	    (name != SO_SNDBUF && name != SO_RCVBUF))
		return r;
	value = name == SO_SNDBUF ? sndbuf(fd) : kept_of(fd)->rcvbuf != 0 ?
	    kept_of(fd)->rcvbuf : get_buffer(fd, name);
	memcpy(p, &value, sizeof(value));
	return r;
}

int
bsd_setsockopt(const struct dgi_os *os, int fd, int level, int name,
    const void *p, socklen_t len)
{
	int r, value;

	if (is_ip(fd, level))
		return -ENOPROTOOPT;
#if defined(IP_PKTINFO)
	if (level == IPPROTO_IP && name == IP_PKTINFO && of(os)->no_pktinfo)
		return -ENOPROTOOPT;
#endif
	if (level != SOL_SOCKET || (name != SO_SNDBUF && name != SO_RCVBUF))
		return REAL.setsockopt(os, fd, level, name, p, len);
	memcpy(&value, p, sizeof(value));
	if (value < 1)
		return -EINVAL;
	if (value > BSD_BUF_MOST)
		return -ENOBUFS;
	if (name == SO_SNDBUF) {
		kept_of(fd)->sndbuf = value;
		return REAL.setsockopt(os, fd, level, name, p, len);
	}
	kept_of(fd)->rcvbuf = value;
	r = room_for(value);
	return REAL.setsockopt(os, fd, level, name, &r, sizeof(r));
}

/* ---- names ---- */

static void
forget_address(struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		((struct sockaddr_in *)(void *)sa)->sin_addr.s_addr = 0;
	else if (sa->sa_family == AF_INET6)
		memset(&((struct sockaddr_in6 *)(void *)sa)->sin6_addr, 0,
		    sizeof(struct in6_addr));
}

/* Linux forgets the port that it chose. */
static int
disconnect(const struct dgi_os *os, int fd, const struct sockaddr *sa,
    socklen_t len)
{
	struct sockaddr_storage ss, after;
	socklen_t n = sizeof(ss), m = sizeof(after);
	int r = REAL.getsockname(os, fd, (struct sockaddr *)&ss, &n);

	if (r == 0)
		r = REAL.connect(os, fd, sa, len);
	if (r < 0)
		return r;
	kept_of(fd)->is_wild = true;
	if (ss.ss_family != AF_UNIX && REAL.getsockname(os, fd,
	    (struct sockaddr *)&after, &m) == 0 && (after.ss_family ==
	    AF_INET6 ? ((struct sockaddr_in6 *)&after)->sin6_port :
	    ((struct sockaddr_in *)&after)->sin_port) == 0) {
		forget_address((struct sockaddr *)&ss);
		(void)REAL.bind(os, fd, (struct sockaddr *)&ss, n);
	}
	return -EAFNOSUPPORT;
}

int
bsd_connect(const struct dgi_os *os, int fd, const struct sockaddr *sa,
    socklen_t len)
{
	if (sa->sa_family == AF_UNSPEC)
		return disconnect(os, fd, sa, len);
	kept_of(fd)->is_wild = false;
	return REAL.connect(os, fd, sa, len);
}

int
bsd_getsockname(const struct dgi_os *os, int fd, struct sockaddr *sa,
    socklen_t *len)
{
	int r = REAL.getsockname(os, fd, sa, len);

	if (r == 0 && kept_of(fd)->is_wild)
		forget_address(sa);
	return r;
}

/* ---- sending ---- */

static ssize_t
send_result(int fd, bool named, ssize_t r)
{
	/* The peer has gone, and the second send finds none. */
	if (r == -ENOTCONN && !named)
		return -EDESTADDRREQ;
	if ((r != -EAGAIN && r != -ECONNREFUSED) || family(fd) != AF_UNIX)
		return r;
	return r == -EAGAIN ? -ENOBUFS : named ? r : -ECONNRESET;
}

/* Why not even the attempt is made. */
static int
refusal(int fd, bool named, size_t size)
{
	if (kept_of(fd)->is_spoiled) {
		kept_of(fd)->is_spoiled = false;
		return -EAGAIN;
	}
	if (named && is_connected(fd))
		return -EISCONN;
	return size > (size_t)sndbuf(fd) ? -EMSGSIZE : 0;
}

ssize_t
bsd_sendto(const struct dgi_os *os, int fd, const void *buf, size_t size,
    const struct sockaddr *sa, socklen_t len)
{
	int r = refusal(fd, len > 0, size);

	of(os)->sends++;
	return r < 0 ? r : send_result(fd, len > 0,
	    REAL.sendto(os, fd, buf, size, sa, len));
}

static ssize_t
send_one(const struct dgi_os *os, int fd, const struct msghdr *m)
{
	size_t size = 0, i;
	int r;

	for (i = 0; i < (size_t)m->msg_iovlen; i++)
		size += m->msg_iov[i].iov_len;
	r = refusal(fd, m->msg_namelen > 0, size);
	return r < 0 ? r : send_result(fd, m->msg_namelen > 0,
	    REAL.sendmsg(os, fd, m));
}

ssize_t
bsd_sendmsg(const struct dgi_os *os, int fd, const struct msghdr *m)
{
	of(os)->sends++;
	return send_one(os, fd, m);
}

int
bsd_sendmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n)
{
	unsigned i;
	ssize_t r;

	if (!DGI_HAVE_MMSG)
		return -ENOSYS;
	of(os)->sends++;
	for (i = 0; i < n; i++) {
		r = send_one(os, fd, &m[i].msg_hdr);
		if (r < 0)
			return i > 0 ? (int)i : (int)r;
		m[i].msg_len = (unsigned)r;
	}
	return (int)n;
}

int
bsd_fchmod(const struct dgi_os *os, int fd, mode_t mode)
{
	return family(fd) != AF_UNSPEC ? -EINVAL : dgi_file_fchmod(os, fd, mode);
}

/* ---- receiving ---- */

/* Nothing came because nothing will. */
static bool
is_shut(int fd, ssize_t r)
{
#if defined(POLLRDHUP)
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return r == -EAGAIN && poll(&p, 1, 0) == 1 &&
	    (p.revents & POLLRDHUP) != 0;
#else
	(void)fd, (void)r;
	return false;
#endif
}

static void
name_it(int fd, void *name, socklen_t *len)
{
	if (name == NULL || *len != 0 || family(fd) != AF_UNIX)
		return;
	/* From nobody at all, not from somebody without a name. */
	if (is_shut(fd, -EAGAIN))
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

ssize_t
bsd_recvfrom(const struct dgi_os *os, int fd, void *buf, size_t size, int flags,
    struct sockaddr *sa, socklen_t *len)
{
	ssize_t r = REAL.recvfrom(os, fd, buf, size, flags, sa, len);

	if (r == -EAGAIN)
		kept_of(fd)->is_spoiled = false;
	if (is_shut(fd, r)) {
		r = 0;
		if (sa != NULL)
			*len = 0;
	} else if (r >= 0 && sa != NULL) {
		name_it(fd, sa, len);
	}
	return r;
}

static void
nothing(struct msghdr *m)
{
	m->msg_namelen = 0;
	m->msg_controllen = 0;
	m->msg_flags = 0;
}

ssize_t
bsd_recvmsg(const struct dgi_os *os, int fd, struct msghdr *m, int flags)
{
	ssize_t r = REAL.recvmsg(os, fd, m, flags);

	if (r == -EAGAIN)
		kept_of(fd)->is_spoiled = false;
	if (is_shut(fd, r)) {
		nothing(m);
		return 0;
	}
	if (r >= 0) {
		name_it(fd, m->msg_name, &m->msg_namelen);
		retype(os, m);
	}
	return r;
}

int
bsd_recvmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n,
    int flags)
{
	int i, r = REAL.recvmmsg(os, fd, m, n, flags);

	for (i = 0; i < r; i++) {
		name_it(fd, m[i].msg_hdr.msg_name,
		    &m[i].msg_hdr.msg_namelen);
		retype(os, &m[i].msg_hdr);
	}
	if (r == -EAGAIN)
		kept_of(fd)->is_spoiled = true;
	/* As many of them as there are headers. */
	if (r == -EAGAIN || (r > 0 && r < (int)n)) {
		if (!is_shut(fd, -EAGAIN))
			return r;
		for (r = r < 0 ? 0 : r; r < (int)n; r++) {
			nothing(&m[r].msg_hdr);
			m[r].msg_len = 0;
		}
	}
	return r;
}

/* ---- bare calls ---- */

/* -errno to errno. */
static int
bare(ssize_t r)
{
	if (r >= 0)
		return (int)r;
	errno = (int)-r;
	return -1;
}

int
bsd_bare_socket(int domain, int type, int proto)
{
	int fd = socket(domain, type, proto);

	if (fd >= 0)
		bsd_os_adjust(fd);
	return fd;
}

int
bsd_bare_shutdown(int fd, int how)
{
	char byte;

	while (how != SHUT_WR && recv(fd, &byte, 1, MSG_DONTWAIT) >= 0)
		;
	return shutdown(fd, how);
}

int
bsd_bare_setsockopt(int fd, int level, int name, const void *p, socklen_t len)
{
	return bare(bsd_setsockopt(&REAL, fd, level, name, p, len));
}

int
bsd_bare_getsockopt(int fd, int level, int name, void *p, socklen_t *len)
{
	return bare(bsd_getsockopt(&REAL, fd, level, name, p, len));
}

/* Never waits: there is nothing that a sender could wait for. */
ssize_t
bsd_bare_sendto(int fd, const void *buf, size_t size, int flags,
    const struct sockaddr *sa, socklen_t len)
{
	(void)flags;
	return bare(bsd_sendto(&REAL, fd, buf, size, sa, len));
}

void
bsd_os_init(struct bsd_os *b)
{
	memset(b, 0, sizeof(*b));
	b->os = dgi_os_real;
	b->os.socket = bsd_socket;
	b->os.connect = bsd_connect;
	b->os.getsockname = bsd_getsockname;
	b->os.getsockopt = bsd_getsockopt;
	b->os.setsockopt = bsd_setsockopt;
	b->os.sendto = bsd_sendto;
	b->os.sendmsg = bsd_sendmsg;
	b->os.sendmmsg = bsd_sendmmsg;
	b->os.fchmod = bsd_fchmod;
	b->os.recvfrom = bsd_recvfrom;
	b->os.recvmsg = bsd_recvmsg;
	b->os.recvmmsg = bsd_recvmmsg;
	b->pktinfo = 25;
	current = b;
}
