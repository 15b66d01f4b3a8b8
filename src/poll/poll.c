/* SPDX-License-Identifier: ISC */

/*
 * poll(2), everywhere.
 *
 * Three arrays: what poll(2) is given and, beside it, whose each entry is, both
 * dense; and by descriptor the position of its entry plus one.  The last is
 * what finds a descriptor that is watched already.  A scan begins behind the
 * last one reported, so that no descriptor starves when reports run out.
 *
 * A descriptor that somebody else closed is POLLNVAL at once and for ever; it
 * is dropped from the set, as epoll(7) does by itself.
 */

#include "core/plat.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "poll/poller.h"

#if DGI_HAVE_POLLRDHUP
#define READ_END	POLLRDHUP
#else
#define READ_END	0
#endif
#define READ_BITS	(POLLIN | READ_END)

struct owner {
	uint32_t slot, gen;
};

struct table {
	struct pollfd *fds;
	struct owner *owners;
	size_t n, room, next;
	uint32_t *pos;		/* by descriptor: index + 1, 0 if none */
	size_t npos;
};

static int
poll_open(struct dgi_poller *p)
{
	struct table *t;

	t = dgi_mem_alloc(p->mem, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	p->priv = t;
	return 0;
}

static void
poll_close(struct dgi_poller *p)
{
	struct table *t = p->priv;

	dgi_mem_free(p->mem, t->fds, t->room * sizeof(*t->fds));
	dgi_mem_free(p->mem, t->owners, t->room * sizeof(*t->owners));
	dgi_mem_free(p->mem, t->pos, t->npos * sizeof(*t->pos));
	dgi_mem_free(p->mem, t, sizeof(*t));
	p->priv = NULL;
}

/* Room for one more entry, and for `fd` in the positions. */
static int
make_room(struct table *t, struct dgi_mem *mem, int fd)
{
	size_t room = t->room == 0 ? 8 : t->room * 2;
	struct pollfd *fds;
	struct owner *owners;
	uint32_t *pos;

	pos = dgi_poller_room(mem, t->pos, &t->npos, sizeof(*pos), fd);
	if (pos == NULL)
		return -ENOMEM;
	t->pos = pos;
	if (t->n < t->room)
		return 0;
	owners = dgi_mem_alloc(mem, room * sizeof(*owners));
	if (owners == NULL)
		return -ENOMEM;
	fds = dgi_mem_grow(mem, t->fds, t->room * sizeof(*fds),
	    room * sizeof(*fds));
	if (fds == NULL) {
		dgi_mem_free(mem, owners, room * sizeof(*owners));
		return -ENOMEM;
	}
	if (t->n > 0)
		memcpy(owners, t->owners, t->n * sizeof(*owners));
	dgi_mem_free(mem, t->owners, t->room * sizeof(*owners));
	t->fds = fds;
	t->owners = owners;
	t->room = room;
	return 0;
}

static void
drop(struct table *t, size_t i)
{
	t->pos[t->fds[i].fd] = 0;
	t->n--;
	if (i == t->n)
		return;
	t->fds[i] = t->fds[t->n];
	t->owners[i] = t->owners[t->n];
	t->pos[t->fds[i].fd] = (uint32_t)i + 1;
}

static short
poll_bits(unsigned want)
{
	int bits = 0;

	if ((want & DGRAM_READABLE) != 0)
		bits |= READ_BITS;
	if ((want & DGRAM_WRITABLE) != 0)
		bits |= POLLOUT;
	return (short)bits;
}

static int
poll_set(struct dgi_poller *p, const struct dgi_interest *w, unsigned have,
    unsigned want)
{
	struct table *t = p->priv;
	size_t i;
	int r;

	i = w->fd >= 0 && (size_t)w->fd < t->npos ? t->pos[w->fd] : 0;
	if (have != 0) {
		/* Dropped as POLLNVAL, or since then another's. */
		if (i == 0 || t->owners[i - 1].slot != w->slot ||
		    t->owners[i - 1].gen != w->gen)
			return want == 0 ? 0 : -EBADF;
		if (want == 0)
			drop(t, i - 1);
		else
			t->fds[i - 1].events = poll_bits(want);
		return 0;
	}
	if (want == 0)
		return 0;
	if (i != 0)
		return -EEXIST;
	r = dgi_poller_check_fd(w->fd);
	if (r == 0)
		r = make_room(t, p->mem, w->fd);
	if (r < 0)
		return r;
	i = t->n++;
	t->fds[i].fd = w->fd;
	t->fds[i].events = poll_bits(want);
	t->owners[i] = (struct owner){ w->slot, w->gen };
	t->pos[w->fd] = (uint32_t)i + 1;
	return 0;
}

static unsigned
events_of(int e)
{
	unsigned events = 0;

	if ((e & READ_BITS) != 0)
		events |= DGRAM_READABLE;
	if ((e & POLLOUT) != 0)
		events |= DGRAM_WRITABLE;
	if ((e & POLLERR) != 0)
		events |= DGI_ERROR;
	if ((e & POLLHUP) != 0)
		events |= DGI_HANGUP;
	if ((e & READ_END) != 0)
		events |= DGI_READ_END;
	return events;
}

static int
poll_wait(struct dgi_poller *p, int64_t timeout_ns, struct dgi_report *out,
    int max)
{
	struct table *t = p->priv;
	int n, found = 0, saved_errno = errno;
	size_t i, seen, closed = 0;

	n = poll(t->fds, (nfds_t)t->n, dgi_poller_ms(timeout_ns));
	if (n < 0) {
		n = errno == EINTR ? 0 : -errno;
		errno = saved_errno;
		return n;
	}
	if (t->next >= t->n)
		t->next = 0;
	i = t->next;
	for (seen = 0; seen < t->n && n > 0 && found < max; seen++) {
		if (t->fds[i].revents != 0) {
			n--;
			t->next = i + 1;
			if ((t->fds[i].revents & POLLNVAL) != 0) {
				closed++;
			} else {
				out[found].slot = t->owners[i].slot;
				out[found].gen = t->owners[i].gen;
				out[found++].events =
				    events_of(t->fds[i].revents);
			}
		}
		i = i + 1 < t->n ? i + 1 : 0;
	}
	for (i = t->n; closed > 0 && i-- > 0;) {
		if ((t->fds[i].revents & POLLNVAL) != 0)
			drop(t, i);
	}
	return found;
}

const struct dgi_poller_ops dgi_poll_ops = {
	.name = "poll",
	.open = poll_open,
	.close = poll_close,
	.forget = poll_close,
	.set = poll_set,
	.wait = poll_wait,
};
