/* SPDX-License-Identifier: ISC */

/*
 * Descriptors of AF_UNIX datagrams (SCM_RIGHTS, unix(7)).
 *
 * Whoever can send to a socket can open descriptors in the process that receives,
 * until its table is full.  So the kernel is given room for as many as were asked
 * for, mostly none: the others it closes itself, and says MSG_CTRUNC.  What
 * it has opened all the same is closed here.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/queue.h"

void
dgi_rights_close(struct dgram_socket *s, const int *fds, size_t n)
{
	const struct dgi_os *os = s->loop->os;

	while (n > 0)
		(void)os->close(os, fds[--n]);
}

/* ---- received ---- */

void
dgi_rights_take(struct dgram_socket *s, struct msghdr *h,
    struct dgram_message *m, const struct dgi_cmsg_rest *rest)
{
	const size_t most = s->options.max_fds;

	m->fds = NULL;
	m->nfds = rest->nfds < most ? rest->nfds : most;
	dgi_rights_close(s, rest->fds + m->nfds, rest->nfds - m->nfds);
	dgi_rights_close(s, &rest->pidfd, rest->pidfd >= 0);
	if (rest->nfds > most || (h->msg_flags & MSG_CTRUNC) != 0) {
		m->flags |= DGRAM_FDS_CUT;
		s->stats.fds_refused++;
	}
	if (m->nfds == 0)
		return;
	/* They stay where they came, from all messages one behind the other. */
	memcpy(h->msg_control, rest->fds, m->nfds * sizeof(*rest->fds));
	m->fds = h->msg_control;
	m->flags |= DGRAM_FDS;
}

/* ---- sent ---- */

static bool
attach(struct dgram_socket *s, unsigned i, const int *fds, size_t n)
{
	struct dgi_arena *a = &s->loop->arena;
	struct msghdr *h = &a->tx[i].msg_hdr;

	/* AF_UNIX has no other control messages. */
	if (a->tx_controls > 0)
		return false;
	h->msg_control = a->tx_fds->bytes;
	h->msg_controllen = (unsigned)dgi_cmsg_build_rights(&dgi_cmsg_native,
	    a->tx_fds->bytes, fds, n);
	a->tx_controls = i + 1;
	return true;
}

int
dgi_rights_check(struct dgram_socket *s, const struct dgram_datagram *d)
{
	size_t i;

	/* What only IP has. */
	if (d->from != NULL || d->ifindex != 0 || d->flags != 0 || d->ttl > 0 ||
	    d->tos > 0)
		return -ENOTSUP;
	if (d->nfds == 0)
		return 0;
	if (d->nfds > DGRAM_FDS_MOST)
		return -EMSGSIZE;
	if (d->fds == NULL)
		return -EINVAL;
	for (i = 0; i < d->nfds; i++) {
		if (d->fds[i] < 0)
			return -EBADF;
	}
	s->loop->arena.attach_fds = attach;
	return dgi_arena_reserve_fds(&s->loop->arena, &s->loop->mem);
}

int
dgi_rights_keep(struct dgram_socket *s, struct dgi_req *r, const int *fds,
    size_t n)
{
	const struct dgi_os *os = s->loop->os;
	int *v, fd;
	size_t i;

	v = dgi_mem_get(&s->loop->mem, n * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		fd = DGI_FILE(os, dup)(os, fds[i]);
		if (fd < 0) {
			dgi_rights_close(s, v, i);
			dgi_mem_put(&s->loop->mem, v, n * sizeof(*v));
			return fd;
		}
		v[i] = fd;
	}
	r->u.small[1].iov_base = v;
	r->u.small[1].iov_len = n;
	r->flags |= DGI_REQ_FDS;
	return 0;
}

void
dgi_rights_drop(struct dgram_socket *s, struct dgi_req *r)
{
	int *v = r->u.small[1].iov_base;
	const size_t n = r->u.small[1].iov_len;

	dgi_rights_close(s, v, n);
	dgi_mem_put(&s->loop->mem, v, n * sizeof(*v));
}
