/* SPDX-License-Identifier: ISC */

/*
 * The best bare loops over the system calls.
 *
 * recvmmsg(2) and sendmmsg(2) by 32, headers prepared once and only what the
 * kernel wrote into used slots set again; recvfrom(2), sendto(2) and send(2)
 * where there is one datagram per call, never recvmsg or sendmsg, which cost
 * 5 to 25 % more.  Nobody calls once more to hear EAGAIN if he knows better.
 */

#define _GNU_SOURCE 1

#include <sys/epoll.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "raw.h"

#define BUFFER_BYTES	(8 * 1024 * 1024)
#define EVENTS		64

void
raw_addr_any(enum raw_kind kind, struct raw_addr *a)
{
	memset(a, 0, sizeof(*a));
	switch (kind) {
	case RAW_UDP4:
		a->u.in.sin_family = AF_INET;
		a->u.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		a->len = sizeof(a->u.in);
		break;
	case RAW_UDP6:
		a->u.in6.sin6_family = AF_INET6;
		a->u.in6.sin6_addr = in6addr_loopback;
		a->len = sizeof(a->u.in6);
		break;
	case RAW_UNIX:
		/* unix(7), autobind: an abstract name of five digits. */
		a->u.un.sun_family = AF_UNIX;
		a->len = sizeof(a->u.un.sun_family);
		break;
	}
}

int
raw_buffers(int fd)
{
	int bytes = BUFFER_BYTES;
	socklen_t len = sizeof(bytes);

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, len) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, len);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, len) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, len);
	if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &len) < 0)
		return 0;
	return bytes;
}

int
raw_socket(enum raw_kind kind, struct raw_addr *bound)
{
	int fd, r;

	raw_addr_any(kind, bound);
	fd = socket(bound->u.sa.sa_family,
	    SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)raw_buffers(fd);
	r = bind(fd, &bound->u.sa, bound->len);
	if (r < 0)
		goto fail;
	bound->len = sizeof(bound->u);
	r = getsockname(fd, &bound->u.sa, &bound->len);
	if (r < 0)
		goto fail;
	return fd;
fail:
	r = -errno;
	(void)close(fd);
	return r;
}

void
raw_in_init(struct raw_in *in)
{
	struct msghdr *h;
	size_t i;

	memset(in, 0, sizeof(*in));
	for (i = 0; i < RAW_BATCH; i++) {
		in->iov[i].iov_base = in->data[i];
		in->iov[i].iov_len = RAW_STRIDE;
		h = &in->msg[i].msg_hdr;
		h->msg_name = &in->name[i].u;
		h->msg_namelen = sizeof(in->name[i].u);
		h->msg_iov = &in->iov[i];
		h->msg_iovlen = 1;
	}
}

void
raw_out_init(struct raw_out *out, const struct raw_addr *to, size_t size)
{
	struct msghdr *h;
	size_t i;

	memset(out, 0, sizeof(*out));
	memset(out->data, 'x', sizeof(out->data));
	if (to != NULL)
		out->to = *to;
	for (i = 0; i < RAW_BATCH; i++) {
		out->iov[i].iov_base = out->data[i];
		out->iov[i].iov_len = size;
		h = &out->msg[i].msg_hdr;
		if (to != NULL) {
			h->msg_name = &out->to.u;
			h->msg_namelen = out->to.len;
		}
		h->msg_iov = &out->iov[i];
		h->msg_iovlen = 1;
	}
}

static void
work(struct raw_sum *sum, const struct mmsghdr *m)
{
	raw_work(sum, m->msg_hdr.msg_iov->iov_base, m->msg_len,
	    m->msg_hdr.msg_name, m->msg_hdr.msg_namelen,
	    (m->msg_hdr.msg_flags & MSG_TRUNC) != 0);
}

/* What the kernel wrote into the first n headers and will read again. */
static void
reset(struct raw_in *in, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		in->msg[i].msg_hdr.msg_namelen = sizeof(in->name[i].u);
}

size_t
raw_recvmmsg(struct raw_in *in, int fd, size_t want)
{
	size_t got = 0, i, n;
	int r;

	while (got < want) {
		r = recvmmsg(fd, in->msg, RAW_BATCH, 0, NULL);
		in->calls++;
		if (r <= 0)
			break;
		n = (size_t)r;
		for (i = 0; i < n; i++)
			work(&in->sum, &in->msg[i]);
		reset(in, n);
		got += n;
		if (n < RAW_BATCH)
			break;
	}
	return got;
}

size_t
raw_recvfrom(struct raw_in *in, int fd, size_t want)
{
	size_t got;
	socklen_t len;
	ssize_t r;

	for (got = 0; got < want; got++) {
		len = sizeof(in->name[0].u);
		r = recvfrom(fd, in->data[0], RAW_STRIDE, 0, &in->name[0].u.sa,
		    &len);
		if (r < 0)
			break;
		raw_work(&in->sum, in->data[0], (size_t)r, &in->name[0].u.sa,
		    len, r == RAW_STRIDE);
	}
	in->calls += got + (got < want);
	return got;
}

size_t
raw_sendmmsg(struct raw_out *out, int fd, size_t want)
{
	size_t done = 0, i, n;
	int r;

	while (done < want) {
		n = want - done < RAW_BATCH ? want - done : RAW_BATCH;
		for (i = 0; i < n; i++)
			raw_stamp(out->data[i], done);
		r = sendmmsg(fd, out->msg, (unsigned)n, 0);
		out->calls++;
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	return done;
}

size_t
raw_sendto(struct raw_out *out, int fd, size_t want)
{
	const struct iovec *v;
	size_t done;
	ssize_t r;

	for (done = 0; done < want; done++) {
		v = &out->iov[done % RAW_BATCH];
		raw_stamp(v->iov_base, done);
		r = sendto(fd, v->iov_base, v->iov_len, 0, &out->to.u.sa,
		    out->to.len);
		if (r < 0)
			break;
	}
	out->calls += done + (done < want);
	return done;
}

size_t
raw_send(struct raw_out *out, int fd, size_t want)
{
	const struct iovec *v;
	size_t done;
	ssize_t r;

	for (done = 0; done < want; done++) {
		v = &out->iov[done % RAW_BATCH];
		raw_stamp(v->iov_base, done);
		r = send(fd, v->iov_base, v->iov_len, 0);
		if (r < 0)
			break;
	}
	out->calls += done + (done < want);
	return done;
}

/* n replies in the slots where the questions lie; then receivable again. */
static size_t
reply(struct raw_in *in, int fd, size_t n)
{
	size_t i, went = 0;
	int r;

	for (i = 0; i < n; i++) {
		work(&in->sum, &in->msg[i]);
		in->iov[i].iov_len = in->msg[i].msg_len;
	}
	while (went < n) {
		r = sendmmsg(fd, in->msg + went, (unsigned)(n - went), 0);
		in->calls++;
		if (r <= 0)
			break;
		went += (size_t)r;
	}
	for (i = 0; i < n; i++)
		in->iov[i].iov_len = RAW_STRIDE;
	reset(in, n);
	return went;
}

size_t
raw_echo_mmsg(struct raw_in *in, int fd, size_t want)
{
	size_t got = 0, n;
	int r;

	while (got < want) {
		r = recvmmsg(fd, in->msg, RAW_BATCH, 0, NULL);
		in->calls++;
		if (r <= 0)
			break;
		n = (size_t)r;
		got += reply(in, fd, n);
		if (n < RAW_BATCH)
			break;
	}
	return got;
}

size_t
raw_echo_each(struct raw_in *in, int fd, size_t want)
{
	size_t got;
	socklen_t len;
	ssize_t r;

	for (got = 0; got < want; got++) {
		len = sizeof(in->name[0].u);
		r = recvfrom(fd, in->data[0], RAW_STRIDE, 0, &in->name[0].u.sa,
		    &len);
		if (r < 0)
			break;
		raw_work(&in->sum, in->data[0], (size_t)r, &in->name[0].u.sa,
		    len, r == RAW_STRIDE);
		r = sendto(fd, in->data[0], (size_t)r, 0, &in->name[0].u.sa,
		    len);
		if (r < 0)
			break;
	}
	in->calls += 2 * got;
	return got;
}

int
raw_epoll_new(const int *fds, size_t n)
{
	struct epoll_event ev;
	size_t i;
	int ep, r;

	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0)
		return -errno;
	memset(&ev, 0, sizeof(ev));
	ev.events = EPOLLIN;
	for (i = 0; i < n; i++) {
		ev.data.fd = fds[i];
		if (epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &ev) < 0) {
			r = -errno;
			(void)close(ep);
			return r;
		}
	}
	return ep;
}

size_t
raw_epoll(struct raw_in *in, int ep, size_t want)
{
	struct epoll_event ev[EVENTS];
	size_t got = 0;
	int i, n;

	while (got < want) {
		n = epoll_wait(ep, ev, EVENTS, 0);
		in->calls++;
		if (n <= 0)
			break;
		for (i = 0; i < n; i++)
			got += raw_recvfrom(in, ev[i].data.fd, 1);
	}
	return got;
}
