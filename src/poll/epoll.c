/* SPDX-License-Identifier: ISC */

/*
 * epoll(7), Linux.
 *
 * Level-triggered.  The 64 bits of user data are slot and generation; the
 * kernel keeps the table.  EPOLLERR and EPOLLHUP are reported whatever was asked
 * for, which is why a descriptor that nobody is interested in is taken out and
 * not left in with an empty mask.
 */

#include "core/plat.h"

#include <errno.h>
#include <stddef.h>

#include "poll/poller.h"

#if DGI_HAVE_EPOLL

#include <sys/epoll.h>

#include <unistd.h>

static int
epoll_open(struct dgi_poller *p)
{
	int saved_errno = errno, r = 0;

	p->fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->fd < 0) {
		r = errno == ENOSYS ? -ENOTSUP : -errno;
		errno = saved_errno;
	}
	return r;
}

static void
epoll_done(struct dgi_poller *p)
{
	(void)close(p->fd);
	p->fd = -1;
}

static int
epoll_set(struct dgi_poller *p, const struct dgi_interest *w, unsigned have,
    unsigned want)
{
	struct epoll_event ev = { 0 };
	int op, r = 0, saved_errno = errno;

	if (want == 0)
		op = EPOLL_CTL_DEL;
	else if (have == 0)
		op = EPOLL_CTL_ADD;
	else
		op = EPOLL_CTL_MOD;
	if ((want & DGRAM_READABLE) != 0)
		ev.events |= EPOLLIN | EPOLLRDHUP;
	if ((want & DGRAM_WRITABLE) != 0)
		ev.events |= EPOLLOUT;
	ev.data.u64 = (uint64_t)w->gen << 32 | w->slot;
	if (epoll_ctl(p->fd, op, w->fd, &ev) < 0) {
		r = want == 0 ? 0 : -errno;
		errno = saved_errno;
	}
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

static int
epoll_wait_for(struct dgi_poller *p, int64_t timeout_ns,
    struct dgi_report *out, int max)
{
	struct epoll_event ev[DGI_REPORTS];
	int i, n, saved_errno = errno;

	if (max > DGI_REPORTS)
		max = DGI_REPORTS;
	n = epoll_wait(p->fd, ev, max, dgi_poller_ms(timeout_ns));
	if (n < 0) {
		n = errno == EINTR ? 0 : -errno;
		errno = saved_errno;
	}
	for (i = 0; i < n; i++) {
		out[i].slot = (uint32_t)ev[i].data.u64;
		out[i].gen = (uint32_t)(ev[i].data.u64 >> 32);
		out[i].events = events_of(ev[i].events);
	}
	return n;
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
