/* SPDX-License-Identifier: ISC */

/*
 * kqueue(2) over poll(2): what is an event is asked of poll(2), descriptor by
 * descriptor, and what that cannot tell is remembered here as a kernel would.
 *
 * As in a kernel a filter that something has happened to is looked at, and if it
 * is true it is queued.  kevent() takes the queue from its head, looks again,
 * and puts what is level-triggered back at its end.  That something has
 * happened, and that a descriptor is still the file it was, poll(2) does not
 * know: edge-triggered epoll(7) does.  Its descriptor is the one that kqueue()
 * gives, so that others can poll a kqueue, too; what is queued is armed again
 * before kevent() returns, for it to be readable.
 *
 * What differs from a kernel:
 *  - a descriptor that is closed and then made a dup(2) of the very same file
 *    keeps its filters;
 *  - EVFILT_READ with EV_CLEAR is reported again when its descriptor becomes
 *    writable and EVFILT_WRITE without it is there, too;
 *  - no end of EVFILT_WRITE for shutdown(SHUT_WR) alone: poll(2) has no word for
 *    it;
 *  - data of EVFILT_READ leaves out empty datagrams behind others and all behind
 *    the sixteenth;
 *  - IP_RECVERR makes an error queue, which no kernel with a kqueue has: that of
 *    an unconnected socket is emptied, that of a connected one is an error;
 *  - what happens to a disabled filter shows to those who poll the kqueue, until
 *    the next kevent();
 *  - EVFILT_USER and EVFILT_TIMER do not show to those who poll the kqueue, and
 *    do not end the wait of another thread;
 *  - one thread at a time may use a kqueue.
 * A child of fork(2) has no kqueues, as anywhere: their numbers are free.
 */

#include "core/plat.h"

#if DGI_OS_LINUX

#include <sys/types.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake/sys/event.h"
#include "bsd_os.h"
#include "fake_kqueue.h"
#include "core/list.h"

#define UNIX_ROOM	2560		/* data of its EVFILT_WRITE on NetBSD */
#define INJECTED	8
#define WALK		16		/* datagrams that are counted */
#define NESTED		UINT64_MAX	/* who is ready: kq->writes */

struct member;

struct knote {
	struct dgi_list queued;		/* on kq->queue, or in no list */
	struct dgi_list other;		/* on kq->others, unless of a member */
	struct member *member;
	struct kevent want;		/* flags as they were at first */
	bool exists, disabled, active;
	bool triggered;			/* EVFILT_USER */
	uint64_t due, period;		/* EVFILT_TIMER, ns */
	unsigned fired;
};

struct member {
	int fd;
	uint32_t gen;
	struct knote note[2];		/* EVFILT_READ, EVFILT_WRITE */
};

struct kq {
	struct dgi_list all;
	int fd;				/* -1 in a child after fork(2) */
	int writes;			/* for EVFILT_WRITE with EV_CLEAR */
	struct member **members;	/* by descriptor */
	size_t nmembers;
	uint32_t gen;
	struct dgi_list queue, others;
	struct kevent injected[INJECTED];
	unsigned ninjected;
	unsigned fail_at;
	int fail_with;
};

#define DEFAULTS {							\
	.no_user = true,						\
	.no_useconds = true,						\
	.enable_without_check = true,					\
	.data_counts_addresses = true,					\
	.no_long_timeouts = true,					\
	.round_robin = true,						\
	.unix_is_writable = DGT_BSD,					\
}

static const struct fake_kqueue_quirks defaults = DEFAULTS;
struct fake_kqueue_quirks fake_kqueue_quirks = DEFAULTS;

static struct dgi_list kqs = { &kqs, &kqs };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void
fake_kqueue_reset(void)
{
	fake_kqueue_quirks = defaults;
}

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void *
must_alloc(void *old, size_t size)
{
	void *p = realloc(old, size);

	if (p == NULL)
		abort();
	return p;
}

/* ---- what is true of a descriptor ---- */

static int
socket_option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

static bool
is_unix_datagram(int fd)
{
	return socket_option(fd, SO_DOMAIN) == AF_UNIX &&
	    socket_option(fd, SO_TYPE) == SOCK_DGRAM;
}

/* Bytes of datagrams that wait, found by looking at one after the other. */
static int64_t
count_datagrams(int fd)
{
	static _Thread_local char buf[1 << 18];
	const bool addresses = fake_kqueue_quirks.data_counts_addresses;
	struct sockaddr_storage name;
	int i, off = 0, none = -1;
	int64_t sum = 0;
	socklen_t len;
	ssize_t r;

	if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off)) < 0)
		return 1;
	for (i = 0; i < WALK; i++) {
		len = sizeof(name);
		r = recvfrom(fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT |
		    MSG_TRUNC, (struct sockaddr *)&name, &len);
		if (r < 0)
			break;
		/* An unbound sender on AF_UNIX has a name of two bytes. */
		sum += r + (addresses ? (len == 0 ? 2 : (int64_t)len) : 0);
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &none, sizeof(none));
	if (sum == 0 && addresses)
		sum = socket_option(fd, SO_DOMAIN) == AF_UNIX ? 2 : 16;
	return sum;
}

static int64_t
count_bytes(int fd)
{
	int n = 0;

	if (socket_option(fd, SO_TYPE) == SOCK_DGRAM)
		return count_datagrams(fd);
	return ioctl(fd, FIONREAD, &n) < 0 ? 1 : n;
}

static bool
is_readable(const struct knote *kn, int revents, struct kevent *out)
{
	const int fd = kn->member->fd;
	const bool is_socket = socket_option(fd, SO_TYPE) >= 0;
	const bool error = (revents & POLLERR) != 0;
	int64_t mark;

	if ((revents & (POLLRDHUP | POLLHUP)) != 0 || (error && !is_socket)) {
		out->flags |= EV_EOF;
		out->fflags = (uint32_t)fake_kqueue_quirks.error_of_end;
		return true;
	}
	/* Looking at datagrams would take the error away. */
	if (error)
		return true;
	if ((revents & POLLIN) == 0)
		return false;
	if (is_socket && (kn->want.fflags & NOTE_LOWAT) != 0) {
		mark = kn->want.data;
		if (mark > socket_option(fd, SO_RCVBUF))
			return false;
		out->data = count_bytes(fd);
		return out->data >= mark;
	}
	out->data = count_bytes(fd);
	return true;
}

static bool
is_writable(const struct knote *kn, int revents, struct kevent *out)
{
	const int fd = kn->member->fd;
	const bool is_socket = socket_option(fd, SO_TYPE) >= 0;
	int queued = 0;

	if ((revents & POLLHUP) != 0 || ((revents & POLLERR) && !is_socket)) {
		out->flags |= EV_EOF;
		out->fflags = (uint32_t)fake_kqueue_quirks.error_of_end;
		return true;
	}
	if (is_socket && is_unix_datagram(fd)) {
		out->data = UNIX_ROOM;
		if (fake_kqueue_quirks.unix_is_writable)
			return true;
	} else if (is_socket) {
		(void)ioctl(fd, TIOCOUTQ, &queued);
		out->data = socket_option(fd, SO_SNDBUF) - queued;
	} else {
		out->data = PIPE_BUF;
	}
	return (revents & (POLLOUT | POLLERR)) != 0;
}

/* What poll(2) says of a descriptor. */
static int
bits_of(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP };
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	struct msghdr m = { 0 };

	if (poll(&p, 1, 0) < 0)
		return POLLNVAL;
	if ((p.revents & POLLERR) == 0 || is_unix_datagram(fd) ||
	    socket_option(fd, SO_TYPE) != SOCK_DGRAM ||
	    getpeername(fd, (struct sockaddr *)&name, &len) == 0)
		return p.revents;
	while (recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0)
		continue;
	return poll(&p, 1, 0) < 0 ? POLLNVAL : p.revents;
}

/* Is it an event?  Then it is stored. */
static bool
is_event(const struct knote *kn, struct kevent *out)
{
	int bits;

	*out = kn->want;
	out->fflags = 0;
	out->data = 0;
	if (kn->want.filter == EVFILT_USER)
		return kn->triggered;
	if (kn->want.filter == EVFILT_TIMER) {
		out->data = kn->fired;
		return kn->fired > 0;
	}
	bits = bits_of(kn->member->fd);
	if ((bits & POLLNVAL) != 0)
		return false;
	return kn->want.filter == EVFILT_READ ?
	    is_readable(kn, bits, out) : is_writable(kn, bits, out);
}

/* ---- what epoll(7) is told ---- */

static bool
is_news(const struct knote *kn)
{
	return kn->exists && !(kn->want.filter == EVFILT_WRITE &&
	    fake_kqueue_quirks.unix_is_writable &&
	    is_unix_datagram(kn->member->fd));
}

static int
tell(int ep, struct member *m, uint32_t bits)
{
	struct epoll_event e = { 0 };

	e.events = bits | EPOLLET;
	e.data.u64 = (uint64_t)m->gen << 32 | (uint32_t)m->fd;
	if (epoll_ctl(ep, EPOLL_CTL_ADD, m->fd, &e) == 0)
		return 0;
	return errno == EEXIST && epoll_ctl(ep, EPOLL_CTL_MOD, m->fd, &e) == 0 ?
	    0 : errno;
}

/* Arms it: if it is ready, the kqueue is readable from now on. */
static int
arm(struct kq *q, struct member *m)
{
	const struct knote *r = &m->note[0], *w = &m->note[1];
	const bool clear = w->exists && (w->want.flags & EV_CLEAR) != 0;
	struct epoll_event e = { .events = EPOLLIN };
	uint32_t bits = 0;

	if (is_news(r))
		bits |= EPOLLIN | EPOLLRDHUP;
	if (is_news(w) && !clear)
		bits |= EPOLLOUT;
	if (clear && q->writes < 0) {
		q->writes = epoll_create1(EPOLL_CLOEXEC);
		e.data.u64 = NESTED;
		if (q->writes < 0 ||
		    epoll_ctl(q->fd, EPOLL_CTL_ADD, q->writes, &e) < 0)
			return errno;
	}
	if (clear && is_news(w) && tell(q->writes, m, EPOLLOUT) != 0)
		return errno;
	return tell(q->fd, m, bits);
}

/* The descriptor is still the file that it was. */
static bool
is_alive(struct kq *q, const struct member *m)
{
	struct epoll_event e = { 0 };

	if (epoll_ctl(q->fd, EPOLL_CTL_ADD, m->fd, &e) == 0) {
		(void)epoll_ctl(q->fd, EPOLL_CTL_DEL, m->fd, &e);
		return false;
	}
	return errno == EEXIST;
}

/* ---- filters ---- */

static void
activate(struct kq *q, struct knote *kn)
{
	kn->active = true;
	if (!kn->disabled && dgi_list_empty(&kn->queued))
		dgi_list_append(&q->queue, &kn->queued);
}

static void
check(struct kq *q, struct knote *kn)
{
	struct kevent e;

	if (kn->exists && is_event(kn, &e))
		activate(q, kn);
}

static struct member *
find_member(const struct kq *q, uintptr_t fd)
{
	return fd < q->nmembers ? q->members[fd] : NULL;
}

static void
drop_member(struct kq *q, struct member *m)
{
	dgi_list_remove(&m->note[0].queued);
	dgi_list_remove(&m->note[1].queued);
	q->members[m->fd] = NULL;
	free(m);
}

static void
drop(struct kq *q, struct knote *kn)
{
	struct member *m = kn->member;
	struct epoll_event e = { 0 };

	dgi_list_remove(&kn->queued);
	kn->exists = false;
	if (m == NULL) {
		dgi_list_remove(&kn->other);
		free(kn);
		return;
	}
	if (kn->want.filter == EVFILT_WRITE && q->writes >= 0)
		(void)epoll_ctl(q->writes, EPOLL_CTL_DEL, m->fd, &e);
	if (m->note[0].exists || m->note[1].exists) {
		(void)arm(q, m);
		return;
	}
	(void)epoll_ctl(q->fd, EPOLL_CTL_DEL, m->fd, &e);
	drop_member(q, m);
}

static struct knote *
find(struct kq *q, const struct kevent *c)
{
	struct dgi_list *i;
	struct knote *kn;
	struct member *m;

	if (c->filter == EVFILT_READ || c->filter == EVFILT_WRITE) {
		m = find_member(q, c->ident);
		if (m != NULL && !is_alive(q, m)) {
			drop_member(q, m);
			m = NULL;
		}
		return m != NULL && m->note[c->filter].exists ?
		    &m->note[c->filter] : NULL;
	}
	for (i = q->others.next; i != &q->others; i = i->next) {
		kn = DGI_CONTAINER(i, struct knote, other);
		if (kn->want.filter == c->filter && kn->want.ident == c->ident)
			return kn;
	}
	return NULL;
}

static struct member *
add_member(struct kq *q, int fd)
{
	struct member *m = must_alloc(NULL, sizeof(*m));
	size_t n = q->nmembers;
	int i;

	memset(m, 0, sizeof(*m));
	m->fd = fd;
	m->gen = ++q->gen;
	for (i = 0; i < 2; i++) {
		dgi_list_init(&m->note[i].queued);
		m->note[i].member = m;
	}
	if ((size_t)fd >= n) {
		q->nmembers = (size_t)fd + 64;
		q->members = must_alloc(q->members,
		    q->nmembers * sizeof(struct member *));
		memset(q->members + n, 0,
		    (q->nmembers - n) * sizeof(struct member *));
	}
	q->members[fd] = m;
	return m;
}

/* A new filter, or NULL and why not. */
static struct knote *
add(struct kq *q, const struct kevent *c, int *error)
{
	struct member *m = NULL;
	struct knote *kn;

	if (c->filter == EVFILT_READ || c->filter == EVFILT_WRITE) {
		m = find_member(q, c->ident);
		if (m == NULL)
			m = add_member(q, (int)c->ident);
		kn = &m->note[c->filter];
	} else {
		kn = must_alloc(NULL, sizeof(*kn));
		memset(kn, 0, sizeof(*kn));
		dgi_list_init(&kn->queued);
		dgi_list_append(&q->others, &kn->other);
	}
	kn->want = *c;
	kn->want.flags = c->flags & (EV_ONESHOT | EV_CLEAR | EV_DISPATCH);
	if (c->filter == EVFILT_TIMER)
		kn->want.flags |= EV_CLEAR;
	kn->exists = true;
	kn->disabled = kn->active = false;
	*error = m != NULL ? arm(q, m) : 0;
	if (*error == 0)
		return kn;
	drop(q, kn);
	return NULL;
}

static void
set_timer(struct knote *kn)
{
	uint64_t unit = 1000000;

	if ((kn->want.fflags & NOTE_USECONDS) != 0 &&
	    !fake_kqueue_quirks.no_useconds)
		unit = 1000;
	kn->period = (kn->want.data > 0 ? (uint64_t)kn->want.data : 1) * unit;
	kn->due = now_ns() + kn->period;
	kn->fired = 0;
}

static void
enable(struct kq *q, struct knote *kn)
{
	if (!kn->disabled)
		return;
	kn->disabled = false;
	if (kn->active)
		activate(q, kn);
	else if (!fake_kqueue_quirks.enable_without_check)
		check(q, kn);
}

/* A change of what is there, or has just been added. */
static void
modify(struct kq *q, struct knote *kn, const struct kevent *c)
{
	if ((c->flags & EV_ADD) != 0) {
		kn->want.fflags = c->fflags;
		kn->want.data = c->data;
		kn->want.udata = c->udata;
		if (c->filter == EVFILT_TIMER)
			set_timer(kn);
	}
	if (c->filter == EVFILT_USER && (c->fflags & NOTE_TRIGGER) != 0) {
		kn->triggered = true;
		check(q, kn);
	}
	if ((c->flags & EV_ADD) != 0)
		check(q, kn);
	if ((c->flags & EV_DISABLE) != 0)
		kn->disabled = true;
	if ((c->flags & EV_ENABLE) != 0 || ((c->flags & EV_ADD) != 0 &&
	    (c->flags & EV_DISABLE) == 0))
		enable(q, kn);
}

/* Makes a change; an errno, or 0. */
static int
apply(struct kq *q, const struct kevent *c)
{
	struct knote *kn;
	struct stat st;
	int error = 0;

	if (q->fail_at > 0 && --q->fail_at == 0)
		return q->fail_with;
	switch (c->filter) {
	case EVFILT_READ:
	case EVFILT_WRITE:
		if (c->ident > INT_MAX || fstat((int)c->ident, &st) < 0)
			return EBADF;
		break;
	case EVFILT_TIMER:
		break;
	case EVFILT_USER:
		if (!fake_kqueue_quirks.no_user)
			break;
		return EINVAL;
	default:
		return EINVAL;
	}
	kn = find(q, c);
	if (kn == NULL && (c->flags & EV_ADD) == 0)
		return ENOENT;
	if (kn == NULL && (c->flags & EV_DELETE) != 0)
		return ENOENT;
	if (kn == NULL)
		kn = add(q, c, &error);
	if (kn == NULL)
		return error;
	if ((c->flags & EV_DELETE) != 0)
		drop(q, kn);
	else
		modify(q, kn, c);
	return 0;
}

/* ---- waiting ---- */

/* Something has happened to a descriptor: is it an event? */
static void
touch(struct kq *q, uint64_t who, bool writes)
{
	struct member *m = find_member(q, (uint32_t)who);

	if (m == NULL || m->gen != who >> 32)
		return;
	if (!is_alive(q, m)) {
		drop_member(q, m);
		return;
	}
	if (!writes)
		check(q, &m->note[0]);
	if (writes == ((m->note[1].want.flags & EV_CLEAR) != 0) &&
	    is_news(&m->note[1]))
		check(q, &m->note[1]);
}

static void
harvest(struct kq *q, int ep)
{
	struct epoll_event e[64];
	int i, n;

	do {
		n = ep < 0 ? 0 : epoll_wait(ep, e, 64, 0);
		for (i = 0; i < n; i++) {
			if (e[i].data.u64 == NESTED)
				harvest(q, q->writes);
			else
				touch(q, e[i].data.u64, ep == q->writes);
		}
	} while (n == 64);
}

/* Due timers; ns until the next, or -1. */
static int64_t
run_timers(struct kq *q)
{
	int64_t next = -1;
	uint64_t now = 0;
	struct dgi_list *i;
	struct knote *kn;

	for (i = q->others.next; i != &q->others; i = i->next) {
		kn = DGI_CONTAINER(i, struct knote, other);
		if (kn->want.filter != EVFILT_TIMER || kn->disabled)
			continue;
		now = now_ns();
		for (; kn->due <= now; kn->due += kn->period)
			kn->fired++;
		if (kn->fired > 0)
			activate(q, kn);
		if (next < 0 || (int64_t)(kn->due - now) < next)
			next = (int64_t)(kn->due - now);
	}
	return next;
}

/* What comes of a filter that has been reported; true: it stays queued. */
static bool
reported(struct kq *q, struct knote *kn)
{
	const uint32_t flags = kn->want.flags;

	if ((flags & EV_ONESHOT) != 0) {
		drop(q, kn);
		return false;
	}
	if ((flags & EV_DISPATCH) != 0)
		kn->disabled = true;
	if ((flags & (EV_DISPATCH | EV_CLEAR)) == 0)
		return true;
	kn->active = false;
	kn->fired = 0;
	if ((flags & EV_CLEAR) != 0)
		kn->triggered = false;
	return false;
}

static int
scan(struct kq *q, struct kevent *out, int room)
{
	struct dgi_list again, *i;
	struct knote *kn;
	int n = 0;

	dgi_list_init(&again);
	while (n < room && q->ninjected > 0)
		out[n++] = q->injected[--q->ninjected];
	while (n < room && !dgi_list_empty(&q->queue)) {
		kn = DGI_CONTAINER(q->queue.next, struct knote, queued);
		dgi_list_remove(&kn->queued);
		if (kn->disabled)
			continue;
		if (kn->member != NULL && !is_alive(q, kn->member)) {
			drop_member(q, kn->member);
		} else if (!is_event(kn, &out[n])) {
			kn->active = false;
		} else {
			n++;
			if (reported(q, kn))
				dgi_list_append(&again, &kn->queued);
		}
	}
	while (!dgi_list_empty(&again)) {
		/* To the end, or as if it had not been taken. */
		i = fake_kqueue_quirks.round_robin ? again.next : again.prev;
		dgi_list_remove(i);
		dgi_list_append(fake_kqueue_quirks.round_robin ? &q->queue :
		    q->queue.next, i);
	}
	for (i = q->queue.next; i != &q->queue; i = i->next) {
		kn = DGI_CONTAINER(i, struct knote, queued);
		if (kn->member != NULL)
			(void)arm(q, kn->member);
	}
	return n;
}

static struct kq *
find_kq(int fd)
{
	struct dgi_list *i;
	struct kq *q = NULL;

	(void)pthread_mutex_lock(&lock);
	for (i = kqs.next; fd >= 0 && i != &kqs; i = i->next) {
		q = DGI_CONTAINER(i, struct kq, all);
		if (q->fd == fd)
			break;
		q = NULL;
	}
	(void)pthread_mutex_unlock(&lock);
	return q;
}

static int
wait_for(struct kq *q, struct kevent *out, int room,
    const struct timespec *timeout)
{
	struct pollfd p = { .fd = q->fd, .events = POLLIN };
	uint64_t began = now_ns(), took;
	int64_t left = -1, next;
	struct timespec ts;
	int n;

	for (;;) {
		harvest(q, q->fd);
		next = run_timers(q);
		n = scan(q, out, room);
		if (n > 0)
			return n;
		if (timeout != NULL) {
			took = now_ns() - began;
			left = (int64_t)timeout->tv_sec * 1000000000 +
			    timeout->tv_nsec - (int64_t)took;
			if (left <= 0)
				return 0;
		}
		if (next >= 0 && (left < 0 || next < left))
			left = next;
		ts.tv_sec = (time_t)(left / 1000000000);
		ts.tv_nsec = (long)(left % 1000000000);
		if (ppoll(&p, 1, left < 0 ? NULL : &ts, NULL) < 0)
			return -1;
		if ((p.revents & POLLNVAL) != 0) {
			errno = EBADF;
			return -1;
		}
	}
}

int
kevent(int kq, const struct kevent *changes, size_t nchanges,
    struct kevent *events, size_t nevents, const struct timespec *timeout)
{
	struct kq *q = find_kq(kq);
	size_t i, n = 0;
	struct stat st;
	int error;

	if (q == NULL || fstat(kq, &st) < 0) {
		errno = EBADF;
		return -1;
	}
	if (timeout != NULL && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 ||
	    timeout->tv_nsec >= 1000000000 || (timeout->tv_sec > 100000000 &&
	    fake_kqueue_quirks.no_long_timeouts))) {
		errno = EINVAL;
		return -1;
	}
	for (i = 0; i < nchanges; i++) {
		error = apply(q, &changes[i]);
		if (error == 0 && (changes[i].flags & EV_RECEIPT) == 0)
			continue;
		if (n < nevents) {
			events[n] = changes[i];
			events[n].flags = EV_ERROR;
			events[n++].data = error;
		} else if (error != 0) {
			errno = error;
			return -1;
		}
	}
	if (n > 0 || nevents == 0)
		return (int)n;
	return wait_for(q, events, (int)nevents, timeout);
}

/* ---- life ---- */

static void
free_kq(struct kq *q)
{
	size_t i;

	for (i = 0; i < q->nmembers; i++)
		free(q->members[i]);
	free(q->members);
	while (!dgi_list_empty(&q->others))
		drop(q, DGI_CONTAINER(q->others.next, struct knote, other));
	if (q->writes >= 0)
		(void)close(q->writes);
	dgi_list_remove(&q->all);
	free(q);
}

static void
before_fork(void)
{
	(void)pthread_mutex_lock(&lock);
}

static void
in_parent(void)
{
	(void)pthread_mutex_unlock(&lock);
}

static void
in_child(void)
{
	struct dgi_list *i;
	struct kq *q;

	for (i = kqs.next; i != &kqs; i = i->next) {
		q = DGI_CONTAINER(i, struct kq, all);
		if (q->fd >= 0)
			(void)close(q->fd);
		if (q->writes >= 0)
			(void)close(q->writes);
		q->fd = q->writes = -1;
	}
	(void)pthread_mutex_unlock(&lock);
}

static void
watch_forks(void)
{
	(void)pthread_atfork(before_fork, in_parent, in_child);
}

int
kqueue(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct kq *q, *old;
	int fd;

	(void)pthread_once(&once, watch_forks);
	fd = epoll_create1(0);
	if (fd < 0)
		return -1;
	/* One of that number has been closed behind our back. */
	old = find_kq(fd);
	q = must_alloc(NULL, sizeof(*q));
	memset(q, 0, sizeof(*q));
	q->fd = fd;
	q->writes = -1;
	dgi_list_init(&q->queue);
	dgi_list_init(&q->others);
	(void)pthread_mutex_lock(&lock);
	if (old != NULL)
		free_kq(old);
	dgi_list_append(&kqs, &q->all);
	(void)pthread_mutex_unlock(&lock);
	return fd;
}

int
fake_kqueue_close(int fd)
{
	struct kq *q = find_kq(fd);

	if (q != NULL) {
		(void)pthread_mutex_lock(&lock);
		free_kq(q);
		(void)pthread_mutex_unlock(&lock);
	}
	return close(fd);
}

void
fake_kqueue_inject(int kq, const struct kevent *e)
{
	struct kq *q = find_kq(kq);

	if (q == NULL || q->ninjected == INJECTED)
		abort();
	q->injected[q->ninjected++] = *e;
}

void
fake_kqueue_fail(int kq, unsigned k, int error)
{
	struct kq *q = find_kq(kq);

	if (q == NULL)
		abort();
	q->fail_at = k;
	q->fail_with = error;
}

#else
/* ISO C wants something to be here. */
extern int	dgt_no_fake_kqueue;
#endif
