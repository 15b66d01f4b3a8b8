/* SPDX-License-Identifier: ISC */

/*
 * The real table of system calls: errors become values, EINTR is retried.
 */

#include "core/plat.h"

#include <sys/types.h>
#include <sys/socket.h>
#if DGI_HAVE_EVENTFD
#include <sys/eventfd.h>
#endif
#if DGI_HAVE_RAW_SENDMMSG
#include <sys/syscall.h>
#endif

#include <net/if.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/call.h"
#include "core/os.h"

#if DGI_HAVE_MSG_NOSIGNAL
#define SEND_FLAGS	(MSG_DONTWAIT | MSG_NOSIGNAL)
#else
#define SEND_FLAGS	MSG_DONTWAIT
#endif

/* Descriptors in a message are not for a child, wanted or not. */
#if DGI_HAVE_SOCK_CLOEXEC
#define RECV_FLAGS	(MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
#else
#define RECV_FLAGS	MSG_DONTWAIT
#endif

#if !DGI_HAVE_SOCK_CLOEXEC
/* For systems that cannot ask for it when the descriptor is made. */
static int
set_flags(int fd)
{
	int r;

	CALL(r, fcntl(fd, F_SETFD, FD_CLOEXEC));
	if (r < 0)
		return r;
	CALL(r, fcntl(fd, F_SETFL, O_NONBLOCK));
	return r;
}
#endif

static int
os_socket(const struct dgi_os *os, int domain, int type, int proto)
{
	int fd;

	(void)os;
#if DGI_HAVE_SOCK_CLOEXEC
	CALL(fd, socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, proto));
#else
	CALL(fd, socket(domain, type, proto));
	if (fd >= 0)
		(void)set_flags(fd);
#endif
	return fd;
}

static int
os_close(const struct dgi_os *os, int fd)
{
	int r, saved_errno = errno;

	(void)os;
	/* Not again after EINTR: the descriptor is gone, and may be reused. */
	r = close(fd) < 0 && errno != EINTR ? -errno : 0;
	errno = saved_errno;
	return r;
}

static int
os_bind(const struct dgi_os *os, int fd, const struct sockaddr *sa,
    socklen_t len)
{
	int r;

	(void)os;
	CALL(r, bind(fd, sa, len));
	return r;
}

static int
os_connect(const struct dgi_os *os, int fd, const struct sockaddr *sa,
    socklen_t len)
{
	int r;

	(void)os;
	CALL(r, connect(fd, sa, len));
	return r;
}

static int
os_getsockname(const struct dgi_os *os, int fd, struct sockaddr *sa,
    socklen_t *len)
{
	int r;

	(void)os;
	CALL(r, getsockname(fd, sa, len));
	return r;
}

static int
os_getpeername(const struct dgi_os *os, int fd, struct sockaddr *sa,
    socklen_t *len)
{
	int r;

	(void)os;
	CALL(r, getpeername(fd, sa, len));
	return r;
}

static int
os_getsockopt(const struct dgi_os *os, int fd, int level, int name, void *v,
    socklen_t *len)
{
	int r;

	(void)os;
	CALL(r, getsockopt(fd, level, name, v, len));
	return r;
}

static int
os_setsockopt(const struct dgi_os *os, int fd, int level, int name,
    const void *v, socklen_t len)
{
	int r;

	(void)os;
	CALL(r, setsockopt(fd, level, name, v, len));
	return r;
}

static ssize_t
os_recvfrom(const struct dgi_os *os, int fd, void *buf, size_t size, int flags,
    struct sockaddr *sa, socklen_t *len)
{
	ssize_t r;

	(void)os;
	CALL(r, recvfrom(fd, buf, size, flags | MSG_DONTWAIT, sa, len));
	return r;
}

#if !DGI_HAVE_SOCK_CLOEXEC
/* MSG_CMSG_CLOEXEC, a moment later. */
static void
set_cloexec(struct msghdr *m)
{
	struct cmsghdr *c;
	const unsigned char *p;
	size_t n;
	int fd, r;

	for (c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
		    c->cmsg_len < CMSG_LEN(0))
			continue;
		p = CMSG_DATA(c);
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(fd);
		for (; n > 0; n--, p += sizeof(fd)) {
			memcpy(&fd, p, sizeof(fd));
			CALL(r, fcntl(fd, F_SETFD, FD_CLOEXEC));
		}
	}
}
#endif

static ssize_t
os_recvmsg(const struct dgi_os *os, int fd, struct msghdr *m, int flags)
{
	ssize_t r;

	(void)os;
#if DGI_HAVE_RAW_MSG
	CALL(r, syscall(SYS_recvmsg, fd, m, flags | RECV_FLAGS));
#else
	CALL(r, recvmsg(fd, m, flags | RECV_FLAGS));
#endif
#if !DGI_HAVE_SOCK_CLOEXEC
	if (r >= 0)
		set_cloexec(m);
#endif
	return r;
}

static ssize_t
os_sendto(const struct dgi_os *os, int fd, const void *buf, size_t size,
    const struct sockaddr *sa, socklen_t len)
{
	ssize_t r;

	(void)os;
	CALL(r, sendto(fd, buf, size, SEND_FLAGS, sa, len));
	return r;
}

static ssize_t
os_sendmsg(const struct dgi_os *os, int fd, const struct msghdr *m)
{
	ssize_t r;

	(void)os;
#if DGI_HAVE_RAW_MSG
	CALL(r, syscall(SYS_sendmsg, fd, m, SEND_FLAGS));
#else
	CALL(r, sendmsg(fd, m, SEND_FLAGS));
#endif
	return r;
}

static int
os_recvmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n,
    int flags)
{
#if DGI_HAVE_MMSG
	int r;

	(void)os;
	/* The timeout does not do what recvmmsg(2) says: never given. */
	CALL(r, recvmmsg(fd, m, n, flags | RECV_FLAGS, NULL));
	return r;
#else
	(void)os, (void)fd, (void)m, (void)n, (void)flags;
	return -ENOSYS;
#endif
}

static int
os_sendmmsg(const struct dgi_os *os, int fd, struct dgi_mmsg *m, unsigned n)
{
#if DGI_HAVE_MMSG
	int r;

	(void)os;
#if DGI_HAVE_RAW_SENDMMSG
	CALL(r, (int)syscall(SYS_sendmmsg, fd, m, n, SEND_FLAGS));
#else
	CALL(r, sendmmsg(fd, m, n, SEND_FLAGS));
#endif
	return r;
#else
	(void)os, (void)fd, (void)m, (void)n;
	return -ENOSYS;
#endif
}

static uint64_t
os_now(const struct dgi_os *os)
{
	struct timespec ts;

	(void)os;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static unsigned
os_if_nametoindex(const struct dgi_os *os, const char *name)
{
	unsigned i;
	int saved_errno = errno;

	(void)os;
	i = if_nametoindex(name);
	errno = saved_errno;
	return i;
}

#if DGI_HAVE_SOCK_CLOEXEC
static int
pipe_open(int fd[2])
{
	int r;

	CALL(r, pipe2(fd, O_CLOEXEC | O_NONBLOCK));
	return r;
}
#else
static int
pipe_open(int fd[2])
{
	int i, r;

	CALL(r, pipe(fd));
	if (r < 0)
		return r;
	for (i = 0; i < 2 && r >= 0; i++)
		r = set_flags(fd[i]);
	if (r < 0) {
		(void)close(fd[0]);
		(void)close(fd[1]);
	}
	return r < 0 ? r : 0;
}
#endif

#if DGI_HAVE_EVENTFD
static int
os_event_open(const struct dgi_os *os, int fd[2])
{
	int r;

	(void)os;
	CALL(r, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (r == -ENOSYS)
		return pipe_open(fd);
	fd[0] = fd[1] = r;
	return r < 0 ? r : 0;
}
#else
static int
os_event_open(const struct dgi_os *os, int fd[2])
{
	(void)os;
	return pipe_open(fd);
}
#endif

static int
os_event_signal(const struct dgi_os *os, int fd)
{
	uint64_t one = 1;
	ssize_t r;

	(void)os;
	CALL(r, write(fd, &one, sizeof(one)));
	/* Full: it is readable as it is. */
	return r < 0 && r != -EAGAIN ? (int)r : 0;
}

static void
os_event_clear(const struct dgi_os *os, int fd)
{
	uint64_t v[64];
	ssize_t r;

	(void)os;
	/* An eventfd is empty after one read, a pipe after a short one. */
	do {
		CALL(r, read(fd, v, sizeof(v)));
	} while (r == (ssize_t)sizeof(v));
}

const struct dgi_os dgi_os_real = {
	.socket = os_socket,
	.close = os_close,
	.bind = os_bind,
	.connect = os_connect,
	.getsockname = os_getsockname,
	.getpeername = os_getpeername,
	.getsockopt = os_getsockopt,
	.setsockopt = os_setsockopt,
	.recvfrom = os_recvfrom,
	.recvmsg = os_recvmsg,
	.sendto = os_sendto,
	.sendmsg = os_sendmsg,
	.recvmmsg = os_recvmmsg,
	.sendmmsg = os_sendmmsg,
	.now = os_now,
	.if_nametoindex = os_if_nametoindex,
	.lstat = dgi_file_lstat,
	.unlink = dgi_file_unlink,
	.event_open = os_event_open,
	.event_signal = os_event_signal,
	.event_clear = os_event_clear,
};
