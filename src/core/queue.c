/* SPDX-License-Identifier: ISC */

/*
 * The send queue: requests, their admission, and their completion.
 *
 * A request is accepted, waits in the queue, leaves it with a result for the
 * list of those that are done, and from there the loop's task of the socket
 * tells whoever is to know: no completion is called from inside of what caused
 * it.  A request that nobody waits for is freed as it leaves the queue.
 */

#include "core/plat.h"

#include <errno.h>
#include <string.h>

#include "core/queue.h"

/* What every request in the pool of small ones is. */
static void
make_common(struct dgi_req *r)
{
	r->done = NULL;
	r->iov = r->u.small;
	r->iovcnt = 1;
	r->deadline = 0;
	r->refused_at = 0;
	r->flags = 0;
}

struct dgi_req *
dgi_req_new(struct dgram_socket *s, unsigned flags, size_t addr_len)
{
	struct dgram_loop *l = s->loop;
	bool large = addr_len > DGI_REQ_SMALL || (flags & DGI_REQ_META) != 0;
	struct dgi_req *r;

	r = dgi_pool_get(&l->requests[large], &l->mem,
	    sizeof(*r) + (large ? DGI_REQ_LARGE_ROOM : DGI_REQ_SMALL));
	if (r == NULL)
		return NULL;
	make_common(r);
	r->flags = (unsigned short)(flags | (large ? DGI_REQ_LARGE : 0));
	r->addr_len = (unsigned short)addr_len;
	return r;
}

void
dgi_req_free_special(struct dgram_socket *s, struct dgi_req *r)
{
	struct dgram_loop *l = s->loop;
	bool large = (r->flags & DGI_REQ_LARGE) != 0;
	void *p;

	if ((r->flags & DGI_REQ_FDS) != 0)
		dgi_rights_drop(s, r);
	if ((r->flags & DGI_REQ_COPIED) != 0)
		dgi_mem_put(&l->mem, r->u.small[0].iov_base,
		    r->u.small[0].iov_len);
	if ((r->flags & DGI_REQ_ARRAY) != 0) {
		memcpy(&p, &r->iov, sizeof(p));
		dgi_mem_put(&l->mem, p, (size_t)r->iovcnt * sizeof(*r->iov));
	}
	if ((r->flags & DGI_REQ_NAMED) != 0)
		dgi_name_free(&l->mem, dgi_req_place(r).name);
	make_common(r);
	dgi_pool_put(&l->requests[large], r);
}

size_t
dgi_queue_bound(const struct dgram_socket *s)
{
	size_t n = s->options.send_queue_count, one, bytes;

	if (n == DGRAM_UNLIMITED)
		return SIZE_MAX;
	n += DGI_UNTOLD_MOST + DGI_STEPS_MOST + s->loop->batch;

	/*
	 * Of either pool, to the next power of two.  Each may have a list of
	 * pieces, too, and each length to the longest its peak: together twice
	 * that, and a half for the ends of chunks.  And a name, if it failed.
	 */
	one = 4 * (sizeof(struct dgi_req) + DGI_REQ_LARGE_ROOM) +
	    DGI_REQ_PIECES_MOST * sizeof(struct iovec) * 5 / 2 +
	    2 * DGI_NAME_ROOM;
	bytes = s->options.send_queue_bytes;
	if (n > SIZE_MAX / 4 / one ||
	    bytes > SIZE_MAX / 4 / (2 * DGI_MEM_CLASSES))
		return SIZE_MAX;
	/* Copies are powers of two, and each size may have had its peak. */
	bytes *= 2 * DGI_MEM_CLASSES;
	return n * one + bytes + (s->type == DGRAM_UNIX ? dgi_hold_bound(n) :
	    0);
}

int
dgi_queue_refuse(struct dgram_socket *s, size_t n)
{
	s->stats.refused += n;
	/* What is alone too large is never accepted: no drain for it. */
	if (dgi_queue_count(s) + s->untold > 0)
		s->refused = true;
	return -ENOBUFS;
}

int
dgi_queue_edge(struct dgram_socket *s)
{
	/* What was accepted keeps the loop running until it is over. */
	if (!s->queue_holds) {
		s->queue_holds = true;
		dgi_loop_hold(s->loop);
	}
	if (s->block != DGI_FREE)
		return 0;
	if (s->line.queued >= s->loop->batch)
		dgi_queue_flush(s, s->loop->batch);
	else
		dgi_member_dirty(s->loop, &s->member);
	return 0;
}

/* ---- completion ---- */

static void
owe(struct dgram_socket *s, struct dgi_req *r)
{
	s->untold += r->done != NULL;
	dgi_queue_set_common(s);
	dgi_reqs_append(&s->done, r);
	dgi_socket_owe(s, DGI_OWES_DONE);
}

void
dgi_queue_note(struct dgram_socket *s, int status)
{
	struct dgi_req *r;

	if (s->events.error == NULL)
		return;
	r = dgi_req_new(s, DGI_REQ_NOTE, 0);
	if (r == NULL)
		return;
	r->status = status;
	r->flags |= DGI_REQ_FAILED;
	owe(s, r);
}

/* Where a request failed, and in which call. */
static void
set_kind(struct dgram_error *e, unsigned flags)
{
	if ((flags & DGI_REQ_NAMED) != 0) {
		e->kind = DGRAM_IN_LOOKUP;
		e->syscall = "getaddrinfo";
	} else if ((flags & DGI_REQ_BIND) != 0) {
		e->kind = DGRAM_IN_BIND;
		e->syscall = "bind";
	} else if ((flags & DGI_REQ_CONNECT) != 0) {
		e->kind = DGRAM_IN_CONNECT;
		e->syscall = "connect";
	} else if ((flags & DGI_REQ_NOTE) != 0) {
		e->kind = DGRAM_IN_ICMP;
		e->syscall = "recvmsg";
	} else {
		e->kind = DGRAM_IN_SEND;
		e->syscall = "send";
	}
}

/* What dgram_last_error() and the `error` event tell of a request. */
static void
set_failure(struct dgram_socket *s, const struct dgi_req *r)
{
	struct dgram_error *e = &s->failure;

	e->status = r->status;
	e->addr = NULL;
	e->host = NULL;
	set_kind(e, r->flags);
	if ((r->flags & DGI_REQ_NAMED) != 0) {
		e->host = dgi_req_place(r).name->text;
	} else if (e->kind == DGRAM_IN_ICMP) {
		if (s->peer.len > 0)
			e->addr = &s->peer;
	} else if (r->addr_len > 0) {
		memcpy(&s->failed_addr.u, r->addr, r->addr_len);
		s->failed_addr.len = r->addr_len;
		e->addr = &s->failed_addr;
	}
}

void
dgi_req_tell(struct dgram_socket *s, struct dgi_req *r)
{
	dgram_done_fn *done = r->done;
	void *arg = r->arg;
	int status = r->status;
	bool named = (r->flags & DGI_REQ_NAMED) != 0;
	struct dgram_error e;

	if (status < 0)
		set_failure(s, r);
	/* First, so that a call in the callback finds it free. */
	if (!named)
		dgi_req_free(s, r);
	if (done != NULL)
		done(s, status, arg);
	/* An event is told by itself: dgram_last_error() is for completions. */
	e = s->failure;
	s->failure.status = 0;
	if (done == NULL && status < 0 && s->state != DGI_CLOSED &&
	    s->events.error != NULL)
		s->events.error(s, &e, s->arg);
	/* Has the name that was told. */
	if (named)
		dgi_req_free(s, r);
}

void
dgi_queue_complete(struct dgram_socket *s)
{
	struct dgi_pool *pool = &s->loop->requests[0];
	struct dgi_req *r, *after;
	dgram_done_fn *done;
	void *arg;
	int status;

	/* What the callbacks cause is for the next turn. */
	r = s->done.head;
	dgi_reqs_init(&s->done);
	s->untold = 0;
	dgi_queue_set_common(s);
	for (; r != NULL; r = after) {
		after = r->next;
		if (r->flags != 0) {
			dgi_req_tell(s, r);
			continue;
		}
		done = r->done;
		arg = r->arg;
		status = r->status;
		/* As above. */
		dgi_pool_put(pool, r);
		done(s, status, arg);
	}
}

/*
 * One of an array is over, or all that an array has in the queue.  False: the
 * array is, none of it waits elsewhere; when the last of those is over it is
 * told from here.
 */
static bool
has_more(struct dgram_socket *s, struct dgi_req *r)
{
	struct dgi_req *array = r->arg;

	if ((r->flags & DGI_REQ_PART) == 0)
		return r->u.batch.parts > 0;
	s->line.silent--;
	array->u.batch.went += r->u.batch.went;
	array->u.batch.parts--;
	dgi_req_free(s, r);
	if (array->u.batch.parts == 0 &&
	    array->u.batch.pos == array->u.batch.n) {
		array->status = (int)array->u.batch.went;
		owe(s, array);
	}
	return true;
}

/* The request has left the queue. */
static void
complete(struct dgram_socket *s, struct dgi_req *r, int status)
{
	if ((r->flags & DGI_REQ_BATCH) != 0 && has_more(s, r))
		return;
	r->status = status;
	if (status < 0)
		r->flags |= DGI_REQ_FAILED;
	if (r->done == NULL) {
		s->line.silent--;
		if (status >= 0 || (r->flags & DGI_REQ_REPLY) != 0) {
			dgi_req_free(s, r);
			return;
		}
	}
	owe(s, r);
}

static struct dgi_req *
shift(struct dgi_reqs *q)
{
	struct dgi_req *r = q->head;

	q->head = r->next;
	if (q->head == NULL)
		q->tail = &q->head;
	return r;
}

/* All of the queue is done, and somebody waits for each. */
static void
splice_all(struct dgram_socket *s)
{
	*s->done.tail = s->line.queue.head;
	s->done.tail = s->line.queue.tail;
	dgi_reqs_init(&s->line.queue);
	s->untold += s->line.queued;
	dgi_queue_set_common(s);
	s->line.queued = 0;
	s->bytes_left = s->options.send_queue_bytes;
	dgi_socket_owe(s, DGI_OWES_DONE);
}

size_t
dgi_queue_sent_ones(struct dgram_socket *s, int k)
{
	size_t bytes = dgi_queue_bytes(s);
	struct dgi_req *r;

	if ((size_t)k == s->line.queued && s->line.silent == 0 && s->parked == 0 &&
	    s->held_for == NULL) {
		splice_all(s);
		return bytes;
	}
	s->line.queued -= (unsigned)k;
	for (bytes = 0; k > 0; k--) {
		r = shift(&s->line.queue);
		bytes += (size_t)r->status;
		if (r->done == NULL) {
			s->line.silent--;
			dgi_req_free(s, r);
		} else {
			owe(s, r);
		}
	}
	s->bytes_left += bytes;
	return bytes;
}

static void
leave(struct dgram_socket *s, size_t size, uint64_t deadline)
{
	s->line.queued--;
	s->bytes_left += size;
	if (deadline != 0 && --s->deadlines == 0)
		s->first_deadline = UINT64_MAX;
}

/* The next datagram of an array is over. */
static void
step_batch(struct dgram_socket *s, struct dgi_req *r, size_t size, int result)
{
	struct dgram_datagram *d = &r->u.batch.v[r->u.batch.pos++];

	leave(s, size, d->deadline_ns);
	d->result = result;
	r->u.batch.went += result >= 0;
	if (s->deadlines > 0)
		dgi_queue_note_deadline(s, dgi_req_deadline(r));
}

void
dgi_queue_pop(struct dgram_socket *s, size_t size, int result)
{
	struct dgi_req *r = s->line.queue.head;

	if ((r->flags & DGI_REQ_SPECIAL) == 0) {
		leave(s, (size_t)r->status, r->deadline);
	} else {
		step_batch(s, r, size, result);
		if (r->u.batch.pos < r->u.batch.n)
			return;
		result = (int)r->u.batch.went;
	}
	s->line.specials -= (r->flags & DGI_REQ_UNCOMMON) != 0;
	complete(s, shift(&s->line.queue), result);
}

static void
count_failure(struct dgram_socket *s, int status)
{
	if (status == -ETIMEDOUT)
		s->stats.expired++;
	else if (status == -ECANCELED)
		s->stats.cancelled++;
	else
		s->stats.failed++;
}

static size_t
size_of_next(const struct dgi_req *r)
{
	const struct dgram_datagram *d;
	size_t sum = 0;
	int i;

	if ((r->flags & DGI_REQ_SPECIAL) == 0)
		return (size_t)r->status;
	d = &r->u.batch.v[r->u.batch.pos];
	for (i = 0; i < d->iovcnt; i++)
		sum += d->iov[i].iov_len;
	return sum;
}

void
dgi_queue_finish(struct dgram_socket *s, struct dgi_req *r, int status)
{
	count_failure(s, status);
	s->line.silent += r->done == NULL;
	complete(s, r, status);
}

/* All of a request that is out of the queue fails. */
static void
fail_request(struct dgram_socket *s, struct dgi_req *r, int status)
{
	s->line.specials -= (r->flags & DGI_REQ_UNCOMMON) != 0;
	if ((r->flags & DGI_REQ_SPECIAL) == 0) {
		count_failure(s, status);
		leave(s, (size_t)r->status, r->deadline);
		complete(s, r, status);
		return;
	}
	while (r->u.batch.pos < r->u.batch.n) {
		count_failure(s, status);
		step_batch(s, r, size_of_next(r), status);
	}
	complete(s, r, (int)r->u.batch.went);
}

void
dgi_queue_fail_head(struct dgram_socket *s, int status)
{
	struct dgi_req *r = s->line.queue.head;

	if ((r->flags & DGI_REQ_BATCH) != 0 && r->u.batch.n == 0) {
		fail_request(s, shift(&s->line.queue), status);
	} else {
		count_failure(s, status);
		s->pending_error = 0;
		dgi_queue_pop(s, size_of_next(r), status);
	}
}

/* Gives each request the verdict: 0 stays, < 0 fails with it. */
static void
sweep(struct dgram_socket *s, int (*verdict)(struct dgram_socket *,
    struct dgi_req *, int), int status)
{
	struct dgi_req *r = s->line.queue.head, *after;
	int v;

	dgi_reqs_init(&s->line.queue);
	for (; r != NULL; r = after) {
		after = r->next;
		v = verdict(s, r, status);
		if (v == 0)
			dgi_reqs_append(&s->line.queue, r);
		else
			fail_request(s, r, v);
	}
}

/* The verdict over all that waits. */
struct verdict {
	int (*fn)(struct dgram_socket *, struct dgi_req *, int);
	int status;
};

static void
sweep_line(struct dgram_socket *s, void *arg)
{
	const struct verdict *v = arg;

	sweep(s, v->fn, v->status);
}

static void
sweep_all(struct dgram_socket *s, int (*fn)(struct dgram_socket *,
    struct dgi_req *, int), int status)
{
	struct verdict v = { fn, status };

	/* What is in a line is older than what the queue has for there. */
	if (s->held_for != NULL)
		dgi_hold_each(s, sweep_line, &v);
	sweep_line(s, &v);
}

static int
if_late(struct dgram_socket *s, struct dgi_req *r, int status)
{
	if (!dgi_queue_is_late(s, dgi_req_deadline(r))) {
		dgi_queue_note_deadline(s, dgi_req_deadline(r));
		return 0;
	}
	if ((r->flags & DGI_REQ_BATCH) == 0)
		return status;
	while (dgi_queue_is_late(s, dgi_req_deadline(r))) {
		count_failure(s, status);
		step_batch(s, r, size_of_next(r), status);
	}
	/* Nothing is left of it to fail, but its completion is due. */
	return r->u.batch.pos == r->u.batch.n ? status : 0;
}

void
dgi_queue_tell_pending(struct dgram_socket *s)
{
	if (s->pending_error != 0 && s->state != DGI_CLOSED)
		dgi_queue_note(s, s->pending_error);
	s->pending_error = 0;
}

void
dgi_queue_expire(struct dgram_socket *s)
{
	if (s->line.queue.head != NULL &&
	    dgi_queue_is_late(s, dgi_req_deadline(s->line.queue.head)))
		dgi_queue_tell_pending(s);
	/* What stays says when the next is due. */
	s->first_deadline = UINT64_MAX;
	sweep_all(s, if_late, -ETIMEDOUT);
}

static int
always(struct dgram_socket *s, struct dgi_req *r, int status)
{
	(void)s, (void)r;
	return status;
}

static int
if_to_peer(struct dgram_socket *s, struct dgi_req *r, int status)
{
	(void)s;
	if ((r->flags & DGI_REQ_SPECIAL) == 0)
		return r->addr_len == 0 ? status : 0;
	if ((r->flags & DGI_REQ_BATCH) != 0 && r->u.batch.pos < r->u.batch.n)
		return r->u.batch.v[r->u.batch.pos].to == NULL ? status : 0;
	return 0;
}

void
dgi_queue_fail(struct dgram_socket *s, int status, bool only_peer)
{
	if (!dgi_queue_waits(s))
		return;
	if (s->line.queue.head != NULL &&
	    (!only_peer || if_to_peer(s, s->line.queue.head, status) != 0))
		dgi_queue_tell_pending(s);
	sweep_all(s, only_peer ? if_to_peer : always, status);
	dgi_queue_changed(s);
}

/* Bytes of the arena become bytes of the request. */
static int
make_own(struct dgram_socket *s, struct dgi_req *r, int status)
{
	void *copy;

	if ((r->flags & DGI_REQ_ARENA) == 0)
		return 0;
	r->flags &= (unsigned short)~DGI_REQ_ARENA;
	copy = dgi_mem_get(&s->loop->mem, r->u.small[0].iov_len);
	if (copy == NULL)
		return status;
	memcpy(copy, r->u.small[0].iov_base, r->u.small[0].iov_len);
	r->u.small[0].iov_base = copy;
	r->flags |= DGI_REQ_COPIED;
	return 0;
}

void
dgi_queue_settle(struct dgram_loop *l)
{
	struct dgram_socket *s;

	while (!dgi_list_empty(&l->borrowers)) {
		s = DGI_CONTAINER(l->borrowers.next, struct dgram_socket,
		    borrower);
		dgi_list_remove(&s->borrower);
		if (!dgi_queue_waits(s))
			continue;
		sweep_all(s, make_own, -ENOMEM);
		dgi_queue_changed(s);
	}
}
