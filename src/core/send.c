/* SPDX-License-Identifier: ISC */

/*
 * Sending: what the API takes, checked and turned into requests.
 *
 * Whose the bytes are is decided here.  With a completion they are borrowed;
 * without one they are copied, unless they are bytes of the datagram that is
 * being delivered, which stay until all has been flushed or copied.
 */

#include "core/plat.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "core/addr.h"
#include "core/queue.h"
#include "core/send.h"

int
dgi_send_sum_pieces(const struct iovec *iov, int n, size_t *sum)
{
	int i;

	*sum = 0;
	if (n < 0 || (n > 0 && iov == NULL))
		return -EINVAL;
	if (n > DGI_REQ_PIECES_MOST)
		return -EMSGSIZE;
	for (i = 0; i < n; i++) {
		/* No datagram is longer, and results are int. */
		if (iov[i].iov_len > INT_MAX - *sum)
			return -EMSGSIZE;
		if (iov[i].iov_base == NULL && iov[i].iov_len > 0)
			return -EINVAL;
		*sum += iov[i].iov_len;
	}
	return 0;
}

/* Longer than the smallest limit there is. */
int
dgi_send_check_large(const struct dgram_socket *s,
    const struct dgram_addr *peer, size_t size)
{
	if (s->type != DGRAM_UNIX && (size > DGI_UDP6_MOST ||
	    s->type == DGRAM_UDP4 || dgi_addr_is_mapped(peer)))
		return -EMSGSIZE;
	return 0;
}

/* The request borrows the pieces; more than two need an array of its own. */
static int
borrow(struct dgram_socket *s, struct dgi_req *r, const struct iovec *iov,
    int n)
{
	struct iovec *v = r->u.small;
	int i;

	if (n == 1) {
		v[0] = *iov;
		return 0;
	}
	if (n > 2) {
		v = dgi_mem_get(&s->loop->mem, (size_t)n * sizeof(*iov));
		if (v == NULL)
			return -ENOMEM;
		r->iov = v;
		r->flags |= DGI_REQ_ARRAY;
	}
	for (i = 0; i < n; i++)
		v[i] = iov[i];
	r->iovcnt = n;
	r->flags |= DGI_REQ_PIECES;
	return 0;
}

static int
copy(struct dgram_socket *s, struct dgi_req *r, const struct iovec *iov, int n)
{
	char *p;
	int i;

	r->u.small[0].iov_base = NULL;
	r->u.small[0].iov_len = (size_t)r->status;
	if (r->status == 0)
		return 0;
	p = dgi_mem_get(&s->loop->mem, r->u.small[0].iov_len);
	if (p == NULL)
		return -ENOMEM;
	r->u.small[0].iov_base = p;
	r->flags |= DGI_REQ_COPIED;
	for (i = 0; i < n; i++) {
		if (iov[i].iov_len > 0)
			memcpy(p, iov[i].iov_base, iov[i].iov_len);
		p += iov[i].iov_len;
	}
	return 0;
}

/* Bytes of a request without completion: copied, unless they stay. */
static int
keep(struct dgram_socket *s, struct dgi_req *r, const struct iovec *iov, int n)
{
	if (n != 1 || !dgi_arena_holds(&s->loop->arena, iov->iov_base,
	    iov->iov_len))
		return copy(s, r, iov, n);
	r->flags |= DGI_REQ_ARENA;
	if (dgi_list_empty(&s->borrower))
		dgi_list_append(&s->loop->borrowers, &s->borrower);
	r->u.small[0] = *iov;
	return 0;
}

struct dgi_req *
dgi_send_make(struct dgram_socket *s, const struct iovec *iov, int n,
    size_t size, const struct dgram_addr *to, int to_len,
    const struct dgi_source *src, dgram_done_fn *done)
{
	struct dgi_req *r;
	int status;

	r = dgi_req_new(s, src != NULL ? DGI_REQ_META : 0, (size_t)to_len);
	if (r == NULL)
		return NULL;
	if (src != NULL)
		memcpy(r->addr + DGI_REQ_SOURCE_AT, src, sizeof(*src));
	r->done = done;
	r->status = (int)size;
	if (to_len > 0)
		memcpy(r->addr, &to->u, (size_t)to_len);
	status = done != NULL ? borrow(s, r, iov, n) : keep(s, r, iov, n);
	if (status < 0) {
		dgi_req_free(s, r);
		return NULL;
	}
	return r;
}

int
dgi_send_admit(struct dgram_socket *s, size_t n, size_t bytes)
{
	int r = dgi_queue_admit(s, n, bytes);

	if (r < 0 || s->state != DGI_UNBOUND)
		return r;
	r = dgi_state_ready_to_send(s);
	/* What configure() has sent takes room, too. */
	return r == 0 ? dgi_queue_admit(s, n, bytes) : r;
}

/* All that sends one datagram passes here: a request to push, or *status. */
static struct dgi_req *
accept_one(struct dgram_socket *s, const struct iovec *iov, int iovcnt,
    const struct dgram_addr *to, const struct dgi_source *src,
    dgram_done_fn *done, int *status)
{
	struct dgi_req *req = NULL;
	size_t size;
	int r, len = 0;

	r = dgi_send_check_running(s);
	if (r == 0)
		r = dgi_send_check_iov(iov, iovcnt, &size);
	if (r == 0)
		r = len = dgi_send_check_peer(s, to, size);
	if (r >= 0)
		r = dgi_send_admit(s, 1, size);
	if (r == 0) {
		req = dgi_send_make(s, iov, iovcnt, size, to, len, src, done);
		r = req == NULL ? -ENOMEM : 0;
	}
	*status = r;
	return req;
}

struct dgi_req *
dgi_send_accept_named(struct dgram_socket *s, const struct iovec *iov,
    int iovcnt, dgram_done_fn *done, void *arg, int *status)
{
	struct dgi_req *req = NULL;
	size_t size;
	int r;

	r = dgi_send_check_iov(iov, iovcnt, &size);
	if (r == 0 && size > (s->type == DGRAM_UDP4 ? DGI_UDP4_MOST : DGI_UDP6_MOST))
		r = -EMSGSIZE;
	if (r == 0)
		r = dgi_send_admit(s, 1, size);
	if (r == 0) {
		req = dgi_req_new(s, 0, 0);
		r = req == NULL ? -ENOMEM : 0;
	}
	*status = r;
	if (req == NULL)
		return NULL;
	req->done = done;
	req->arg = arg;
	req->status = (int)size;
	/* What lies in the arena does not stay there as long as a look-up. */
	*status = done != NULL ? borrow(s, req, iov, iovcnt) :
	    copy(s, req, iov, iovcnt);
	if (*status == 0)
		return req;
	dgi_req_free(s, req);
	return NULL;
}

static DGI_APART int
send_one(struct dgram_socket *s, const struct iovec *iov, int iovcnt,
    const struct dgram_addr *to, dgram_done_fn *done, void *arg)
{
	struct dgi_req *req;
	int r;

	req = accept_one(s, iov, iovcnt, to, NULL, done, &r);
	if (req == NULL)
		return r;
	req->arg = arg;
	dgi_queue_push(s, req, 1, (size_t)req->status);
	return 0;
}

/*
 * The common send and the common reply, straight: one piece to an Internet
 * address from a bound socket, borrowed.  Every condition that does not hold is
 * left to send_one(), which knows why.
 *
 * They end in their only calls and keep nothing across them, so that a compiler
 * has registers enough: a fifth of the instructions would be saving them.
 */
static inline bool
is_common(const struct dgram_socket *s, const void *data, size_t size,
    const struct dgram_addr *to)
{
	return data != NULL && size <= DGI_UDP4_MOST &&
	    to->len == s->common_len && to->u.sa.sa_family == s->family &&
	    to->u.in.sin_port != 0 && s->line.queued < s->common_most &&
	    size <= s->bytes_left && s->loop->requests[0].free != NULL;
}

/* What is_common() said yes to. */
static inline int
send_common(struct dgram_socket *s, const struct iovec *iov,
    const struct dgram_addr *to, dgram_done_fn *done, void *arg,
    unsigned flags)
{
	struct dgi_req *r;

	r = dgi_pool_take(&s->loop->requests[0]);
	r->u.small[0] = *iov;
	r->status = (int)iov->iov_len;
	r->done = done;
	r->arg = arg;
	if (done == NULL) {
		s->line.silent++;
		r->flags = (unsigned short)flags;
	}
	r->addr_len = (unsigned short)to->len;
	/* More than IPv4 has: cheaper than to ask. */
	memcpy(r->addr, &to->u, sizeof(to->u.in6));
	s->bytes_left -= iov->iov_len;
	dgi_reqs_append(&s->line.queue, r);
	s->line.queued++;
	if (s->line.queued == 1 || s->line.queued == s->common_most)
		return dgi_queue_edge(s);
	return 0;
}

int
dgram_send_addr(struct dgram_socket *s, const struct iovec *iov, int iovcnt,
    const struct dgram_addr *to, dgram_done_fn *done, void *arg)
{
	if (s == NULL)
		return -EINVAL;
	if (iovcnt == 1 && done != NULL && iov != NULL && to != NULL &&
	    is_common(s, iov->iov_base, iov->iov_len, to))
		return send_common(s, iov, to, done, arg, 0);
	return send_one(s, iov, iovcnt, to, done, arg);
}

int
dgram_send_path(struct dgram_socket *s, const void *data, size_t size,
    const char *path, dgram_done_fn *done, void *arg)
{
	struct dgram_addr to;
	struct iovec iov;
	int r;

	if (s == NULL)
		return -EINVAL;
	r = dgi_send_check_running(s);
	if (r == 0)
		r = dgram_addr_unix(&to, path);
	if (r < 0)
		return r;
	memcpy(&iov.iov_base, &data, sizeof(data));
	iov.iov_len = size;
	return dgram_send_addr(s, &iov, 1, &to, done, arg);
}

/*
 * What came before the connect is delivered behind it, and is not the peer's.
 * The names of AF_UNIX do not tell: a path has many.  Nor does a wildcard, which
 * connect(2) takes for the loopback, nor a zone, which one may go without.
 */
static bool
is_stranger(const struct dgram_socket *s, const struct dgram_addr *from)
{
	struct dgram_addr peer = s->peer;

	if (from == NULL || s->type == DGRAM_UNIX || dgi_addr_is_any(&peer))
		return false;
	if (s->type == DGRAM_UDP6)
		peer.u.in6.sin6_scope_id = from->u.in6.sin6_scope_id;
	return !dgram_addr_equal(from, &peer);
}

/* The reply that is not common. */
static DGI_APART int
reply(struct dgram_socket *s, const struct iovec *iov,
    const struct dgram_message *m)
{
	const struct dgram_addr *to = m->remote;
	struct dgi_source src, *from = NULL;
	struct dgi_req *req;
	int r;

	r = dgi_send_check_running(s);
	if (r < 0)
		return r;
	if (s->state == DGI_CONNECTED) {
		if (is_stranger(s, to))
			return DGRAM_ERR_SOCKET_DGRAM_IS_CONNECTED;
		to = NULL;
	}
	if (to != NULL && to->len == 0)
		return -EDESTADDRREQ;
	/* From the address that was asked, not the one the route prefers. */
	if (to != NULL && dgi_meta_answer(s, m, &src)) {
		r = dgi_meta_reserve(s);
		if (r < 0)
			return r;
		from = &src;
	}
	req = accept_one(s, iov, 1, to, from, NULL, &r);
	if (req == NULL)
		return r;
	req->flags |= DGI_REQ_REPLY;
	dgi_queue_push(s, req, 1, iov->iov_len);
	return 0;
}

int
dgram_reply(struct dgram_socket *s, const struct dgram_message *m,
    const void *data, size_t size)
{
	struct iovec iov;

	if (s == NULL || m == NULL)
		return -EINVAL;
	memcpy(&iov.iov_base, &data, sizeof(data));
	iov.iov_len = size;
	if (m->remote == NULL || (m->flags & DGRAM_LOCAL) != 0 ||
	    !is_common(s, data, size, m->remote) ||
	    !dgi_arena_holds(&s->loop->arena, data, size))
		return reply(s, &iov, m);
	if (dgi_list_empty(&s->borrower))
		dgi_list_append(&s->loop->borrowers, &s->borrower);
	return send_common(s, &iov, m->remote, NULL, NULL,
	    DGI_REQ_REPLY | DGI_REQ_ARENA);
}
