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
#include "core/socket.h"

/* 65535 less the headers: IPv4 20 and 8 bytes, IPv6 8 (RFC 8200, 4.5). */
#define UDP4_MOST	65507u
#define UDP6_MOST	65527u

/* ---- checks ---- */

static int
check_running(const struct dgram_socket *s)
{
	return s->state == DGI_CLOSED || s->ending ?
	    DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING : 0;
}

static int
sum_pieces(const struct iovec *iov, int n, size_t *sum)
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

/* The sum of the pieces, or an error. */
static inline int
check_iov(const struct iovec *iov, int n, size_t *sum)
{
	if (n != 1 || iov == NULL || iov->iov_base == NULL ||
	    iov->iov_len > INT_MAX)
		return sum_pieces(iov, n, sum);
	*sum = iov->iov_len;
	return 0;
}

/* Longer than the smallest limit there is. */
static int
check_large(const struct dgram_socket *s, const struct dgram_addr *peer,
    size_t size)
{
	if (s->type != DGRAM_UNIX && (size > UDP6_MOST ||
	    s->type == DGRAM_UDP4 || dgi_addr_is_mapped(peer)))
		return -EMSGSIZE;
	return 0;
}

/* The length of the address, or an error. */
static inline int
check_to(const struct dgram_socket *s, const struct dgram_addr *to, size_t size)
{
	int len, r;

	if (s->state == DGI_CONNECTED)
		return DGRAM_ERR_SOCKET_DGRAM_IS_CONNECTED;
	len = (int)s->addr_len;
	/* Cut off, or longer than it can be: one look at both, to be sure. */
	if (len == 0 || to->len - s->addr_len >
	    sizeof(to->u) - sizeof(to->u.in6) ||
	    to->u.sa.sa_family != s->family) {
		len = dgi_addr_check(to, s->family);
		if (len < 0)
			return len;
	} else if (to->u.in.sin_port == 0) {
		return DGRAM_ERR_SOCKET_BAD_PORT;
	}
	if (size > UDP4_MOST) {
		r = check_large(s, to, size);
		if (r < 0)
			return r;
	}
	return len;
}

/* The length of the address (0: the connected peer), or an error. */
static inline int
check_peer(const struct dgram_socket *s, const struct dgram_addr *to,
    size_t size)
{
	if (to != NULL)
		return check_to(s, to, size);
	if (s->state != DGI_CONNECTED)
		return DGRAM_ERR_SOCKET_DGRAM_NOT_CONNECTED;
	return size > UDP4_MOST ? check_large(s, &s->peer, size) : 0;
}

/*
 * The length of the address (0: the connected peer), or an error.  *meta becomes
 * true if it says more.
 */
static inline int
check_datagram(struct dgram_socket *s, const struct dgram_datagram *d,
    size_t *size, bool *meta)
{
	int len, r;

	r = check_iov(d->iov, d->iovcnt, size);
	if (r < 0)
		return r;
	len = check_peer(s, d->to, *size);
	if (len < 0 || !dgi_meta_is_set(d))
		return len;
	*meta = true;
	r = dgi_meta_check(s, d);
	return r < 0 ? r : len;
}

/* ---- one datagram ---- */

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

/* A checked datagram becomes a request; NULL: no memory.  src may be NULL. */
static struct dgi_req *
make_request(struct dgram_socket *s, const struct iovec *iov, int n,
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

/*
 * What does not depend on where to: room for n datagrams, and a socket that will
 * send them.
 */
static int
admit(struct dgram_socket *s, size_t n, size_t bytes)
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

	r = check_running(s);
	if (r == 0)
		r = check_iov(iov, iovcnt, &size);
	if (r == 0)
		r = len = check_peer(s, to, size);
	if (r >= 0)
		r = admit(s, 1, size);
	if (r == 0) {
		req = make_request(s, iov, iovcnt, size, to, len, src, done);
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

	r = check_iov(iov, iovcnt, &size);
	if (r == 0 && size > (s->type == DGRAM_UDP4 ? UDP4_MOST : UDP6_MOST))
		r = -EMSGSIZE;
	if (r == 0)
		r = admit(s, 1, size);
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
	return data != NULL && size <= UDP4_MOST &&
	    to->len == s->common_len && to->u.sa.sa_family == s->family &&
	    to->u.in.sin_port != 0 && s->queued < s->common_most &&
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
		s->silent++;
		r->flags = (unsigned short)flags;
	}
	r->addr_len = (unsigned short)to->len;
	/* More than IPv4 has: cheaper than to ask. */
	memcpy(r->addr, &to->u, sizeof(to->u.in6));
	s->bytes_left -= iov->iov_len;
	dgi_reqs_append(&s->queue, r);
	s->queued++;
	if (s->queued == 1 || s->queued == s->common_most)
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
	r = check_running(s);
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

	r = check_running(s);
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

/* ---- many ---- */

/* Of an array: bytes, how many have a deadline, whether some say more. */
struct tally {
	size_t bytes, deadlines;
	bool meta;
};

/* Checks all of them. */
static int
check_all(struct dgram_socket *s, const struct dgram_datagram *d, size_t n,
    struct tally *t)
{
	size_t i, size, sum = 0, deadlines = 0;
	bool meta = false;
	int r;

	for (i = 0; i < n; i++) {
		r = check_datagram(s, &d[i], &size, &meta);
		if (r < 0)
			return r;
		if (size > SIZE_MAX - sum)
			return -EMSGSIZE;
		sum += size;
		deadlines += d[i].deadline_ns != 0;
	}
	*t = (struct tally){ sum, deadlines, meta };
	return 0;
}

/*
 * Without a completion each becomes a request with a copy of its bytes: all of
 * them are made before the first is queued, so that all are accepted or none.
 */
static int
copy_all(struct dgram_socket *s, const struct dgram_datagram *d, size_t n)
{
	struct dgi_source src, *from;
	struct dgi_reqs made;
	struct dgi_req *req;
	size_t i, size;
	int r = 0, len;
	bool meta;

	dgi_reqs_init(&made);
	for (i = 0; i < n; i++) {
		meta = false;
		len = check_datagram(s, &d[i], &size, &meta);
		from = meta ? &src : NULL;
		if (meta)
			dgi_meta_of(&d[i], from);
		req = make_request(s, d[i].iov, d[i].iovcnt, size, d[i].to, len,
		    from, NULL);
		if (req == NULL) {
			r = -ENOMEM;
			break;
		}
		req->arg = NULL;
		if (d[i].deadline_ns != 0) {
			req->deadline = d[i].deadline_ns;
			req->flags |= DGI_REQ_TIMED;
		}
		dgi_reqs_append(&made, req);
	}
	while ((req = made.head) != NULL) {
		made.head = req->next;
		if (r < 0) {
			dgi_req_free(s, req);
			continue;
		}
		s->deadlines += req->deadline != 0;
		dgi_queue_push(s, req, 1, (size_t)req->status);
	}
	dgi_queue_watch_deadlines(s);
	return r;
}

int
dgram_send_batch(struct dgram_socket *s, struct dgram_datagram *d, size_t n,
    dgram_done_fn *done, void *arg)
{
	struct dgi_req *req;
	struct tally t;
	int r;

	if (s == NULL || (d == NULL && n > 0) || n > INT_MAX)
		return -EINVAL;
	r = check_running(s);
	if (r < 0)
		return r;
	r = check_all(s, d, n, &t);
	if (r < 0)
		return r;
	r = admit(s, n, t.bytes);
	if (r < 0)
		return r;
	if (done == NULL)
		return copy_all(s, d, n);
	req = dgi_req_new(s, DGI_REQ_BATCH, 0);
	if (req == NULL)
		return -ENOMEM;
	req->done = done;
	req->arg = arg;
	req->u.batch.v = d;
	req->u.batch.n = n;
	req->u.batch.pos = req->u.batch.went = 0;
	if (t.meta)
		req->flags |= DGI_REQ_META;
	s->deadlines += t.deadlines;
	dgi_queue_push(s, req, n, t.bytes);
	dgi_queue_watch_deadlines(s);
	return 0;
}

int
dgram_try_send(struct dgram_socket *s, struct dgram_datagram *d, size_t n)
{
	size_t i, size;
	bool meta = false;
	int r;

	if (s == NULL || (d == NULL && n > 0) || n > INT_MAX)
		return -EINVAL;
	r = check_running(s);
	for (i = 0; i < n && r >= 0; i++)
		r = check_datagram(s, &d[i], &size, &meta);
	if (r >= 0 && n > 0)
		r = dgi_state_ready_to_send(s);
	if (r < 0 || n == 0)
		return r < 0 ? r : 0;
	if (s->queue.head != NULL || !dgi_state_can_send(s))
		return -EAGAIN;
	return dgi_queue_try(s, d, n, meta);
}
