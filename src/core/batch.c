/* SPDX-License-Identifier: ISC */

/*
 * Sending many datagrams by one call: later as one request, or each with a copy,
 * or now.
 */

#include "core/plat.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "core/queue.h"
#include "core/send.h"

/*
 * The length of the address (0: the connected peer), or an error.  *meta becomes
 * true if it says more.
 */
static inline int
dgi_send_check(struct dgram_socket *s, const struct dgram_datagram *d,
    size_t *size, bool *meta)
{
	int len, r;

	r = dgi_send_check_iov(d->iov, d->iovcnt, size);
	if (r < 0)
		return r;
	len = dgi_send_check_peer(s, d->to, *size);
	if (len < 0 || !dgi_meta_is_set(d))
		return len;
	*meta = true;
	r = dgi_meta_check(s, d);
	return r < 0 ? r : len;
}

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
		r = dgi_send_check(s, &d[i], &size, &meta);
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

/* A request with copies of all that the datagram has; NULL, and why in *status. */
static struct dgi_req *
copy_one(struct dgram_socket *s, const struct dgram_datagram *d, int *status)
{
	struct dgi_source src, *from = NULL;
	struct dgi_req *req;
	bool meta = false;
	size_t size;
	int len;

	len = dgi_send_check(s, d, &size, &meta);
	if (meta && s->type != DGRAM_UNIX) {
		dgi_meta_of(d, &src);
		from = &src;
	}
	*status = -ENOMEM;
	req = dgi_send_make(s, d->iov, d->iovcnt, size, d->to, len, from, NULL);
	if (req == NULL)
		return NULL;
	req->arg = NULL;
	if (d->deadline_ns != 0) {
		req->deadline = d->deadline_ns;
		req->flags |= DGI_REQ_TIMED;
	}
	*status = d->nfds > 0 ? dgi_rights_keep(s, req, d->fds, d->nfds) : 0;
	if (*status == 0)
		return req;
	dgi_req_free(s, req);
	return NULL;
}

/*
 * Without a completion each becomes a request with a copy of its bytes: all of
 * them are made before the first is queued, so that all are accepted or none.
 */
static int
copy_all(struct dgram_socket *s, const struct dgram_datagram *d, size_t n)
{
	struct dgi_reqs made;
	struct dgi_req *req;
	size_t i;
	int r = 0;

	dgi_reqs_init(&made);
	for (i = 0; i < n && r == 0; i++) {
		req = copy_one(s, &d[i], &r);
		if (req != NULL)
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
	r = dgi_send_check_running(s);
	if (r < 0)
		return r;
	r = check_all(s, d, n, &t);
	if (r < 0)
		return r;
	r = dgi_send_admit(s, n, t.bytes);
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
	req->u.batch.n = (unsigned)n;
	req->u.batch.pos = req->u.batch.went = req->u.batch.parts = 0;
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
	r = dgi_send_check_running(s);
	for (i = 0; i < n && r >= 0; i++)
		r = dgi_send_check(s, &d[i], &size, &meta);
	if (r >= 0 && n > 0)
		r = dgi_state_ready_to_send(s);
	if (r < 0 || n == 0)
		return r < 0 ? r : 0;
	if (dgi_queue_waits(s) || !dgi_state_can_send(s))
		return -EAGAIN;
	return dgi_queue_try(s, d, n, meta);
}
