/* SPDX-License-Identifier: ISC */

/*
 * kqueue(2): FreeBSD, DragonFly, NetBSD, OpenBSD, macOS.
 *
 * Level-triggered: EVFILT_READ and EVFILT_WRITE, added and deleted, as all of
 * them have had it from the first.  Kernels differ in what comes beyond that,
 * and none of it is used:
 *
 *   EVFILT_USER    EINVAL on NetBSD before 10 and on older OpenBSD: the loop is
 *                  woken by a pipe.
 *   EV_DISPATCH    EV_ENABLE does not look at a descriptor that is still ready
 *                  on NetBSD before 10.
 *   EV_RECEIPT     not everywhere: a change is a call of its own, with no room
 *                  for events, so that it harvests none and errno is its result.
 *   kqueue1(2)     missing on macOS, DragonFly and FreeBSD before 14.  A child
 *                  of fork(2) does not inherit a kqueue, so that nothing can
 *                  leak between kqueue(2) and fcntl(2).
 *   EVFILT_TIMER   units and limits differ: wait() has its timeout.
 *   data           counts the addresses beside the bytes on NetBSD, OpenBSD and
 *                  FreeBSD, not on macOS: it is never looked at.
 *   types          filter is a short, on NetBSD a uint32_t; udata void *, on
 *                  NetBSD before 10 an intptr_t, too narrow for a slot and a
 *                  generation on 32 bits: those are in a table by descriptor.
 *
 * What is relied on: close(2) takes a descriptor's filters away, dup(2)s of it or
 * not; EV_DELETE and EV_ENABLE of what is not there is ENOENT or EBADF; the
 * flags of a filter are those it was added with; a filter that has been reported
 * is looked at again before it is a second time, and goes to the end.
 *
 * An error of a socket is an event of either filter, with no sign of it, and
 * recvmsg(2), sendmsg(2) or SO_ERROR tells it.  Who wants nothing but errors
 * (DGI_ERROR alone) gets EVFILT_READ with a mark that no receive buffer reaches:
 * so_error and the end come in front of NOTE_LOWAT in all these kernels.  macOS
 * lowers the mark to the size of the buffer, and what is not a socket ignores it;
 * EV_CLEAR beside it makes that one event for what comes, not one per wait.
 */

#include "core/plat.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "poll/poller.h"

#if DGI_HAVE_KQUEUE

#include <sys/types.h>
#include <sys/event.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

/* Kernels have refused more than 100,000,000 s; the same as dgi_poller_ms(). */
#define LONGEST_MS	((int64_t)INT_MAX)

/* How a filter is in the kernel. */
enum mode { ABSENT, PLAIN, QUIET };

struct known {
	uint32_t slot, gen;
	unsigned short report;	/* of this wait, plus one; 0: none */
	unsigned char want;	/* what is set; 0: nothing */
	bool is_socket;
};

struct table {
	struct known *fds;	/* by descriptor */
	size_t n;
};

static int
kqueue_open(struct dgi_poller *p)
{
	int r = 0, saved_errno = errno;
	struct table *t;

	t = dgi_mem_alloc(p->mem, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	p->fd = kqueue();
	if (p->fd < 0) {
		r = errno == ENOSYS ? -ENOTSUP : -errno;
		dgi_mem_free(p->mem, t, sizeof(*t));
	} else {
		(void)fcntl(p->fd, F_SETFD, FD_CLOEXEC);
		p->priv = t;
	}
	errno = saved_errno;
	return r;
}

/* In a child the number is free, or another's by now. */
static void
kqueue_forget(struct dgi_poller *p)
{
	struct table *t = p->priv;

	dgi_mem_free(p->mem, t->fds, t->n * sizeof(*t->fds));
	dgi_mem_free(p->mem, t, sizeof(*t));
	p->priv = NULL;
	p->fd = -1;
}

static void
kqueue_close(struct dgi_poller *p)
{
	(void)close(p->fd);
	kqueue_forget(p);
}

/* What is set for a descriptor, or NULL. */
static struct known *
find(const struct table *t, uintptr_t fd)
{
	return fd < t->n && t->fds[fd].want != 0 ? &t->fds[fd] : NULL;
}

static enum mode
mode_of(unsigned want, bool reading)
{
	if ((want & (reading ? DGRAM_READABLE : DGRAM_WRITABLE)) != 0)
		return PLAIN;
	return reading && (want & DGI_ERROR) != 0 ? QUIET : ABSENT;
}

/* One change; again if a signal came, for it may not have been made. */
static int
tell(int kq, int fd, bool reading, int action, enum mode mode)
{
	const struct timespec at_once = { 0, 0 };
	int r = 0, saved_errno = errno;
	struct kevent e;

	if (mode == QUIET)
		action |= EV_CLEAR;
	/* No conditional between the filters: their type differs. */
	if (reading)
		EV_SET(&e, (uintptr_t)fd, EVFILT_READ, (unsigned short)action,
		    mode == QUIET ? NOTE_LOWAT : 0,
		    mode == QUIET ? INT_MAX : 0, 0);
	else
		EV_SET(&e, (uintptr_t)fd, EVFILT_WRITE, (unsigned short)action,
		    0, 0, 0);
	while (kevent(kq, &e, 1, NULL, 0, &at_once) < 0) {
		if (errno != EINTR) {
			r = -errno;
			break;
		}
	}
	errno = saved_errno;
	return r;
}

/* The kernel still knows it: nobody has closed it since. */
static bool
is_registered(int kq, int fd, unsigned want)
{
	/* Each is enabled already, so that nothing changes. */
	if (mode_of(want, true) != ABSENT)
		return tell(kq, fd, true, EV_ENABLE, ABSENT) == 0;
	return tell(kq, fd, false, EV_ENABLE, ABSENT) == 0;
}

/*
 * A filter from one mode to another.  EV_ADD would change the mark but not
 * EV_CLEAR, so that it is another filter each time.
 */
static int
turn(int kq, int fd, bool reading, enum mode from, enum mode to)
{
	int r = 0;

	if (from == to)
		return 0;
	if (from != ABSENT)
		r = tell(kq, fd, reading, EV_DELETE, ABSENT);
	if (to == ABSENT)
		return 0;
	/* Closed by somebody: the number may be another's by now. */
	if (r < 0)
		return r;
	r = tell(kq, fd, reading, EV_ADD, to);
	if (r < 0 && from != ABSENT)
		(void)tell(kq, fd, reading, EV_ADD, from);
	return r;
}

/* Both filters, or, if one is refused, none. */
static int
change(int kq, int fd, unsigned have, unsigned want)
{
	int r;

	r = turn(kq, fd, true, mode_of(have, true), mode_of(want, true));
	if (r < 0)
		return r;
	r = turn(kq, fd, false, mode_of(have, false), mode_of(want, false));
	if (r < 0)
		(void)turn(kq, fd, true, mode_of(want, true),
		    mode_of(have, true));
	return r;
}

/* An entry for a descriptor that is not in the table, or no longer rightly. */
static int
enter(struct dgi_poller *p, const struct dgi_interest *w, struct known **ret)
{
	struct table *t = p->priv;
	struct known *fds, *k;
	struct stat st;
	int r, saved_errno = errno;

	r = dgi_poller_check_fd(w->fd);
	if (r < 0)
		return r;
	k = find(t, (uintptr_t)w->fd);
	if (k != NULL && is_registered(p->fd, w->fd, k->want))
		return -EEXIST;
	fds = dgi_poller_room(p->mem, t->fds, &t->n, sizeof(*fds), w->fd);
	if (fds == NULL)
		return -ENOMEM;
	t->fds = fds;
	k = &fds[w->fd];
	k->slot = w->slot;
	k->gen = w->gen;
	k->want = 0;
	k->is_socket = fstat(w->fd, &st) == 0 && S_ISSOCK(st.st_mode);
	errno = saved_errno;
	*ret = k;
	return 0;
}

static int
kqueue_set(struct dgi_poller *p, const struct dgi_interest *w, unsigned have,
    unsigned want)
{
	struct known *k;
	int r;

	if (have != 0) {
		/* Closed by somebody, and since then another's. */
		k = w->fd < 0 ? NULL : find(p->priv, (uintptr_t)w->fd);
		if (k == NULL || k->slot != w->slot || k->gen != w->gen)
			return want == 0 ? 0 : -EBADF;
	} else {
		if (want == 0)
			return 0;
		r = enter(p, w, &k);
		if (r < 0)
			return r;
	}
	r = change(p->fd, w->fd, k->want, want);
	if (r == 0)
		k->want = (unsigned char)want;
	return r;
}

/*
 * The end of one direction of a socket is just that; whoever only writes has no
 * other.  Anything else has one direction.
 */
static unsigned
events_of(const struct known *k, const struct kevent *e)
{
	bool end = (e->flags & EV_EOF) != 0;
	unsigned events = 0;

	if (end && e->fflags != 0)
		events |= DGI_ERROR;
	if (e->filter != EVFILT_READ) {
		if (end && (!k->is_socket || (k->want & DGRAM_READABLE) == 0))
			events |= DGI_HANGUP;
		return events | DGRAM_WRITABLE;
	}
	if ((k->want & DGRAM_READABLE) != 0) {
		if (end)
			events |= k->is_socket ? DGI_READ_END : DGI_HANGUP;
		return events | DGRAM_READABLE;
	}
	if (k->is_socket)
		return events | DGI_ERROR;
	/* Without an end: bytes, which came in spite of the mark. */
	return events | (end ? DGI_HANGUP : 0);
}

/*
 * Whose event it is.  NULL: nobody has asked for it, and its filter goes, or it
 * would end each wait at once and for ever.
 */
static struct known *
owner(struct dgi_poller *p, const struct kevent *e)
{
	const bool reading = e->filter == EVFILT_READ;
	struct known *k;

	if ((e->flags & EV_ERROR) != 0 || e->ident > INT_MAX)
		return NULL;
	k = find(p->priv, e->ident);
	if (k != NULL && mode_of(k->want, reading) != ABSENT)
		return k;
	(void)tell(p->fd, (int)e->ident, reading, EV_DELETE, ABSENT);
	return NULL;
}

static int
kqueue_wait(struct dgi_poller *p, int64_t timeout_ns, struct dgi_report *out,
    int max)
{
	struct kevent ev[DGI_REPORTS];
	struct timespec ts;
	struct known *k;
	int found = 0, i, n, saved_errno = errno;
	unsigned events;

	if (max > DGI_REPORTS)
		max = DGI_REPORTS;
	if (timeout_ns > LONGEST_MS * 1000000)
		timeout_ns = LONGEST_MS * 1000000;
	if (timeout_ns >= 0) {
		ts.tv_sec = (time_t)(timeout_ns / 1000000000);
		ts.tv_nsec = (long)(timeout_ns % 1000000000);
	}
	/* Not one negative: EINVAL. */
	n = kevent(p->fd, NULL, 0, ev, max, timeout_ns < 0 ? NULL : &ts);
	if (n < 0) {
		n = errno == EINTR ? 0 : -errno;
		errno = saved_errno;
	}
	for (i = 0; i < n; i++) {
		k = owner(p, &ev[i]);
		events = k == NULL ? 0 : events_of(k, &ev[i]);
		if (events == 0)
			continue;
		if (k->report != 0) {
			out[k->report - 1].events |= events;
		} else {
			out[found].slot = k->slot;
			out[found].gen = k->gen;
			out[found].events = events;
			k->report = (unsigned short)++found;
		}
	}
	for (i = 0; i < n; i++) {
		k = find(p->priv, ev[i].ident);
		if (k != NULL)
			k->report = 0;
	}
	return n < 0 ? n : found;
}

#endif

const struct dgi_poller_ops dgi_kqueue_ops = {
	.name = "kqueue",
#if DGI_HAVE_KQUEUE
	.open = kqueue_open,
	.close = kqueue_close,
	.forget = kqueue_forget,
	.set = kqueue_set,
	.wait = kqueue_wait,
#endif
};
