/* SPDX-License-Identifier: ISC */

/*
 * epoll(7), Linux.
 *
 * Level-triggered.  EPOLLERR and EPOLLHUP are reported whatever was asked for,
 * which is why a descriptor that nobody is interested in is taken out and not
 * left in with an empty mask.
 *
 * The kernel's set is of open files, not of descriptors.  Who closes a watched
 * descriptor without a word, while a dup(2) of it or another process keeps the
 * file open, leaves an entry behind that no call can name any more, and that ends
 * each wait at once.  So every entry carries its descriptor and a serial number,
 * and a table by descriptor has the number that is right: an event with another
 * one is such a ghost, and the set is made anew without it.  The same table says
 * whose a descriptor is that was closed and has come back as another file.
 */

#include "core/plat.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "poll/poller.h"

#if DGI_HAVE_EPOLL

#include <sys/epoll.h>

#include <fcntl.h>
#include <unistd.h>

struct known {
	uint32_t slot, gen;
	uint32_t serial;
	unsigned want;		/* what is set; 0: nothing */
};

struct table {
	struct known *fds;	/* by descriptor */
	size_t n;
	uint32_t serial;	/* the last one given */
};

static int
epoll_open(struct dgi_poller *p)
{
	int saved_errno = errno, r = 0;
	struct table *t;

	t = dgi_mem_alloc(p->mem, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	p->fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->fd < 0) {
		r = errno == ENOSYS ? -ENOTSUP : -errno;
		errno = saved_errno;
		dgi_mem_free(p->mem, t, sizeof(*t));
	} else {
		p->priv = t;
	}
	return r;
}

static void
epoll_done(struct dgi_poller *p)
{
	struct table *t = p->priv;

	(void)close(p->fd);
	dgi_mem_free(p->mem, t->fds, t->n * sizeof(*t->fds));
	dgi_mem_free(p->mem, t, sizeof(*t));
	p->fd = -1;
	p->priv = NULL;
}

static int
control(int epfd, int op, int fd, const struct known *k, unsigned want)
{
	struct epoll_event ev = { 0 };
	int r = 0, saved_errno = errno;

	if ((want & DGRAM_READABLE) != 0)
		ev.events |= EPOLLIN | EPOLLRDHUP;
	if ((want & DGRAM_WRITABLE) != 0)
		ev.events |= EPOLLOUT;
	ev.data.u64 = (uint64_t)k->serial << 32 | (uint32_t)fd;
	if (epoll_ctl(epfd, op, fd, &ev) < 0) {
		r = -errno;
		errno = saved_errno;
	}
	return r;
}

static int
add(struct dgi_poller *p, const struct dgi_interest *w, unsigned want)
{
	struct known *fds, fresh = { w->slot, w->gen, 0, want };
	struct table *t = p->priv;
	int r;

	if (w->fd < 0 || (size_t)w->fd >= t->n) {
		/* No table for numbers that are no descriptors. */
		r = dgi_poller_check_fd(w->fd);
		if (r < 0)
			return r;
		fds = dgi_poller_room(p->mem, t->fds, &t->n, sizeof(*fds),
		    w->fd);
		if (fds == NULL)
			return -ENOMEM;
		t->fds = fds;
	}
	fresh.serial = ++t->serial;
	r = control(p->fd, EPOLL_CTL_ADD, w->fd, &fresh, want);
	/* What the table had there was closed by somebody. */
	if (r == 0)
		t->fds[w->fd] = fresh;
	return r;
}

static int
epoll_set(struct dgi_poller *p, const struct dgi_interest *w, unsigned have,
    unsigned want)
{
	struct table *t = p->priv;
	struct known *k;
	int r = 0;

	if (have == 0)
		return want == 0 ? 0 : add(p, w, want);
	k = w->fd >= 0 && (size_t)w->fd < t->n ? &t->fds[w->fd] : NULL;
	/* Closed by somebody, and since then another's. */
	if (k == NULL || k->want == 0 || k->slot != w->slot ||
	    k->gen != w->gen)
		return want == 0 ? 0 : -EBADF;
	if (want == 0)
		(void)control(p->fd, EPOLL_CTL_DEL, w->fd, k, 0);
	else
		r = control(p->fd, EPOLL_CTL_MOD, w->fd, k, want);
	if (r == 0)
		k->want = want;
	return r;
}

static unsigned
events_of(uint32_t e)
{
	unsigned events = 0;

	if ((e & (EPOLLIN | EPOLLRDHUP)) != 0)
		events |= DGRAM_READABLE;
	if ((e & EPOLLOUT) != 0)
		events |= DGRAM_WRITABLE;
	if ((e & EPOLLERR) != 0)
		events |= DGI_ERROR;
	if ((e & EPOLLHUP) != 0)
		events |= DGI_HANGUP;
	if ((e & EPOLLRDHUP) != 0)
		events |= DGI_READ_END;
	return events;
}

/*
 * All that the table has, in a set of the same number; what is not in the table
 * goes with the old one.  (So does its place in an epoll set of a foreign loop.)
 */
static DGI_APART int
make_anew(struct dgi_poller *p)
{
	struct table *t = p->priv;
	int epfd, r = 0, saved_errno = errno;
	size_t fd;

	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0) {
		r = -errno;
		errno = saved_errno;
		return r;
	}
	for (fd = 0; fd < t->n && r != -ENOMEM && r != -ENOSPC; fd++) {
		/* An entry that was closed, too, stays out. */
		if (t->fds[fd].want != 0)
			r = control(epfd, EPOLL_CTL_ADD, (int)fd, &t->fds[fd],
			    t->fds[fd].want);
	}
	if (r != -ENOMEM && r != -ENOSPC)
		r = dup3(epfd, p->fd, O_CLOEXEC) < 0 ? -errno : 0;
	(void)close(epfd);
	errno = saved_errno;
	return r;
}

static int
epoll_wait_for(struct dgi_poller *p, int64_t timeout_ns,
    struct dgi_report *out, int max)
{
	struct table *t = p->priv;
	struct epoll_event ev[DGI_REPORTS];
	int i, n, found = 0, r, saved_errno = errno;
	const struct known *k;
	uint32_t fd;

	if (max > DGI_REPORTS)
		max = DGI_REPORTS;
	n = epoll_wait(p->fd, ev, max, dgi_poller_ms(timeout_ns));
	if (n < 0) {
		n = errno == EINTR ? 0 : -errno;
		errno = saved_errno;
		return n;
	}
	for (i = 0; i < n; i++) {
		fd = (uint32_t)ev[i].data.u64;
		k = &t->fds[fd];
		if (k->want == 0 || k->serial != ev[i].data.u64 >> 32)
			continue;
		out[found].slot = k->slot;
		out[found].gen = k->gen;
		out[found++].events = events_of(ev[i].events);
	}
	if (found < n) {
		r = make_anew(p);
		if (r < 0 && found == 0)
			return r;
	}
	return found;
}

#endif

const struct dgi_poller_ops dgi_epoll_ops = {
	.name = "epoll",
#if DGI_HAVE_EPOLL
	.open = epoll_open,
	.close = epoll_done,
	.forget = epoll_done,	/* the registrations are the open file's */
	.set = epoll_set,
	.wait = epoll_wait_for,
#endif
};
