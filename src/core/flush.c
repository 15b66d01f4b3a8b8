/* SPDX-License-Identifier: ISC */

/*
 * From the queue to the kernel.
 *
 * A flush turns the head of the queue into prepared headers, as many as make a
 * batch, and gives them to the kernel: one by sendto(2), which is the cheapest
 * for one, more by sendmmsg(2).  It takes what it likes; a short count is the
 * normal case.  An error belongs to the first datagram of a call only, so
 * everything is decided at the head:
 *
 *   EAGAIN     UDP and connected AF_UNIX: wait for writability.  The receiver
 *              of an AF_UNIX sender that is not connected: hold.c.
 *   ENOBUFS    the interface's queue is full, and the socket is writable: wait
 *              for the timer.  UDP gives up after a second.  On BSDs it is the
 *              receiver of AF_UNIX: hold.c.
 *   gone       the peer of AF_UNIX, which leaves the socket without one: peer.c.
 *   ICMP       the error of an earlier datagram, which the kernel hands to
 *              whoever calls next.  This one was not sent: it is tried again,
 *              once, and the error is reported as what it is.
 *   others     the datagram's own.
 */

#include "core/plat.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "core/addr.h"
#include "core/blocklist.h"
#include "core/queue.h"

#define MS		1000000u	/* ns */

/* How long ENOBUFS may hold a UDP datagram up. */
#define NOBUFS_NS	1000000000u

/* k datagrams went. */
static void
count_sent(struct dgram_socket *s, int k, size_t bytes)
{
	/* ENOBUFS is over; if it comes again, the head has its second. */
	if (s->line.queue.head != NULL)
		s->line.queue.head->refused_at = 0;
	s->stats.sent += (unsigned)k;
	s->stats.sent_bytes += bytes;
	/* The peer may be waited for meanwhile; unless it was who took them. */
	if (!s->lost || s->loop->arena.tx[0].msg_hdr.msg_name == NULL) {
		s->lost = false;
		s->backoff_ms = 0;
	}
	if (s->pending_error != 0)
		dgi_queue_tell_pending(s);
}

static inline void
address(struct dgi_mmsg *m, const struct iovec *iov, const void *name)
{
	struct iovec *v;
	void *n;

	/* sendmsg(2) does not write to them, whatever msghdr says. */
	memcpy(&v, &iov, sizeof(v));
	memcpy(&n, &name, sizeof(n));
	m->msg_hdr.msg_iov = v;
	m->msg_hdr.msg_name = n;
}

static inline void
header(struct dgi_mmsg *m, const struct iovec *iov, int iovcnt,
    const void *name, socklen_t len)
{
	address(m, iov, len > 0 ? name : NULL);
	m->msg_hdr.msg_iovlen = (unsigned)iovcnt;
	m->msg_hdr.msg_namelen = len;
}

/* False: it has to go with the next call. */
static DGI_APART bool
attach(struct dgram_socket *s, unsigned i, const struct dgram_datagram *d)
{
	struct dgi_source src;

	if (s->type == DGRAM_UNIX)
		return d->nfds == 0 ||
		    s->loop->arena.attach_fds(s, i, d->fds, d->nfds);
	dgi_meta_of(d, &src);
	dgi_meta_attach(s, i, &src);
	return true;
}

/*
 * Headers from tx[at] on for an array, as far as its datagrams are neither late
 * nor blocked and can go in one call: how many.  meta: some of them are sent with
 * more.
 */
static unsigned
fill_array(struct dgram_socket *s, const struct dgram_datagram *d, size_t left,
    bool meta, unsigned at, unsigned most)
{
	struct dgi_mmsg *tx = s->loop->arena.tx + at;
	unsigned n;

	if (left < most)
		most = (unsigned)left;
	if (s->options.send_block_list != NULL)
		most = s->options.send_block_list->count_allowed(s, d, most);
	for (n = 0; n < most; d++, n++) {
		if (dgi_queue_is_late(s, d->deadline_ns))
			break;
		if (d->to == NULL)
			header(&tx[n], d->iov, d->iovcnt, NULL, 0);
		else
			header(&tx[n], d->iov, d->iovcnt, &d->to->u,
			    s->addr_len != 0 ? s->addr_len :
			    (socklen_t)dgi_addr_check(d->to, AF_UNIX));
		if (meta && dgi_meta_is_set(d) && !attach(s, at + n, d))
			break;
	}
	return n;
}

/*
 * Headers for a queue of nothing but datagrams of one piece, with an address of
 * the same length: what they have in common is left in them for the next time.
 */
static unsigned
fill_common(struct dgram_socket *s, unsigned n)
{
	struct dgi_arena *a = &s->loop->arena;
	const struct dgi_req *r = s->line.queue.head;
	struct dgi_mmsg *m = a->tx, *ready, *end = m + n;

	if (a->tx_len != s->common_len) {
		a->tx_len = s->common_len;
		a->tx_common = 0;
	}
	ready = m + (n < a->tx_common ? n : a->tx_common);
	for (; m < ready; r = r->next, m++)
		address(m, r->u.small, r->addr);
	for (; m < end; r = r->next, m++)
		header(m, r->u.small, 1, r->addr, s->common_len);
	if (n > a->tx_common)
		a->tx_common = n;
	return n;
}

/* Headers for a queue of nothing but single datagrams without a deadline. */
static unsigned
fill_ones(struct dgram_socket *s, unsigned most)
{
	struct dgi_mmsg *m = s->loop->arena.tx;
	const struct dgi_req *r = s->line.queue.head;
	unsigned n = s->line.queued < most ? (unsigned)s->line.queued : most;
	const struct dgi_mmsg *end = m + n;

	/* Bound and not connected: each has an address. */
	if (s->common_len != UINT32_MAX)
		return fill_common(s, n);
	s->loop->arena.tx_common = 0;
	for (; m < end; r = r->next, m++)
		header(m, r->iov, r->iovcnt, r->addr, r->addr_len);
	return n;
}

/* What lies behind the address, where it is not aligned. */
static const struct dgi_source *
source_of(const struct dgi_req *r, struct dgi_source *src)
{
	memcpy(src, r->addr + DGI_REQ_SOURCE_AT, sizeof(*src));
	return src;
}

/*
 * Headers for the head of the queue; 0: it is not sent, or nothing.  Apart, so
 * that a flush of common ones does not pay for its registers.
 */
static DGI_APART unsigned
fill(struct dgram_socket *s, unsigned most)
{
	const struct dgram_block_list *list = s->options.send_block_list;
	struct dgi_mmsg *tx = s->loop->arena.tx;
	const struct dgi_req *r;
	struct dgi_source src;
	unsigned n = 0, k;
	size_t left;

	s->loop->arena.tx_common = 0;
	for (r = s->line.queue.head; r != NULL && n < most; r = r->next) {
		if ((r->flags & DGI_REQ_SPECIAL) == 0) {
			if (dgi_queue_is_late(s, r->deadline) ||
			    (list != NULL && list->stops(s, r)))
				break;
			header(&tx[n], r->iov, r->iovcnt, r->addr,
			    r->addr_len);
			if ((r->flags & DGI_REQ_META) != 0)
				dgi_meta_attach(s, n, source_of(r, &src));
			if ((r->flags & DGI_REQ_FDS) != 0 &&
			    !s->loop->arena.attach_fds(s, n,
			    r->u.small[1].iov_base, r->u.small[1].iov_len))
				break;
			n++;
		} else if ((r->flags & DGI_REQ_BATCH) != 0) {
			left = r->u.batch.n - r->u.batch.pos;
			if (left == 0)
				break;
			k = fill_array(s, r->u.batch.v + r->u.batch.pos, left,
			    (r->flags & DGI_REQ_META) != 0, n, most - n);
			n += k;
			if (k < left)
				break;
		} else {
			break;
		}
	}
	return n;
}

/* Why there is no header for a datagram with that deadline. */
static int
why_not(const struct dgram_socket *s, uint64_t deadline)
{
	return dgi_queue_is_late(s, deadline) ? -ETIMEDOUT :
	    DGRAM_ERR_IP_BLOCKED;
}

/* Gives n headers to the kernel: how many went, or -errno. */
static int
give(struct dgram_socket *s, unsigned n)
{
	const struct dgi_os *os = s->loop->os;
	struct dgi_mmsg *tx = s->loop->arena.tx;
	const struct msghdr *m = &tx[0].msg_hdr;
	ssize_t r;

	s->stats.send_calls++;
	if (n > 1)
		return dgi_mmsg_send(os, &s->loop->mmsg, s->fd, tx, n);
	if (m->msg_iovlen <= 1 && m->msg_controllen == 0)
		r = os->sendto(os, s->fd,
		    m->msg_iovlen == 1 ? m->msg_iov[0].iov_base : NULL,
		    m->msg_iovlen == 1 ? m->msg_iov[0].iov_len : 0,
		    m->msg_name, m->msg_namelen);
	else
		r = os->sendmsg(os, s->fd, m);
	if (r < 0)
		return (int)r;
	tx[0].msg_len = (unsigned)r;
	return 1;
}

/* The same, and what went with these does not go with the next. */
static int
transmit(struct dgram_socket *s, unsigned n)
{
	struct dgi_arena *a = &s->loop->arena;
	int k = give(s, n);

	while (a->tx_controls > 0) {
		a->tx[--a->tx_controls].msg_hdr.msg_control = NULL;
		a->tx[a->tx_controls].msg_hdr.msg_controllen = 0;
	}
	return k;
}

void
dgi_queue_arm(struct dgram_socket *s)
{
	const struct dgram_loop *l = s->loop;
	uint64_t due = UINT64_MAX;

	if (s->recv_rests)
		due = s->rests_until;
	if (s->block == DGI_UNTIL_TIMER && s->blocked_until < due)
		due = s->blocked_until;
	if (s->first_deadline < due)
		due = s->first_deadline;
	if (due == UINT64_MAX) {
		dgram_timer_stop(&s->timer);
	} else if (dgram_timer_start(&s->timer, due > l->now ? due - l->now : 0,
	    0) < 0) {
		/* No memory for a timer: at the next turn, then. */
		s->block = DGI_FREE;
		s->recv_rests = false;
		dgi_member_dirty(s->loop, &s->member);
	}
}

void
dgi_queue_watch_deadlines(struct dgram_socket *s)
{
	/* Otherwise the flush is near, and looks at them itself. */
	if (s->deadlines > 0 && (s->block != DGI_FREE ||
	    s->held_for != NULL || !dgi_state_can_send(s)))
		dgi_queue_arm(s);
}

/* Only a peer's room shows as writability. */
static bool
is_to_peer(const struct dgi_req *r)
{
	if ((r->flags & DGI_REQ_BATCH) != 0)
		return r->u.batch.v[r->u.batch.pos].to == NULL;
	return r->addr_len == 0;
}

void
dgi_queue_back_off(struct dgram_socket *s, unsigned most_ms)
{
	s->block = DGI_UNTIL_TIMER;
	s->stats.backoffs++;
	s->backoff_ms = s->backoff_ms == 0 ? DGI_BACKOFF_MS :
	    s->backoff_ms * 2 < most_ms ? s->backoff_ms * 2 : most_ms;
	s->blocked_until = s->loop->now + s->backoff_ms * MS;
	dgi_queue_arm(s);
	dgi_socket_changed(s);
}

/* -EAGAIN or -ENOBUFS.  May the flush go on, with others? */
static bool
full(struct dgram_socket *s, int status)
{
	bool is_held = s->type == DGRAM_UNIX &&
	    (status == -ENOBUFS || !is_to_peer(s->line.queue.head));

	if (is_held && dgi_hold_head(s))
		return s->serving == NULL;
	if (status == -EAGAIN && !is_held) {
		s->block = DGI_UNTIL_WRITABLE;
		dgi_queue_arm(s);
		dgi_socket_changed(s);
	} else {
		dgi_queue_back_off(s, DGI_BACKOFF_MOST_MS);
	}
	return false;
}

/*
 * ENOBUFS at the head: all that waits behind it has been refused as well, from
 * now on if not before.  False if the head has been for a second, of UDP.
 */
static bool
may_wait(struct dgram_socket *s)
{
	struct dgi_req *r = s->line.queue.head;

	if (s->type == DGRAM_UNIX)
		return true;
	if (r->refused_at != 0 && s->loop->now - r->refused_at >= NOBUFS_NS)
		return false;
	for (; r != NULL; r = r->next) {
		if (r->refused_at != 0)
			continue;
		r->refused_at = s->loop->now;
		r->flags |= DGI_REQ_TIMED;
	}
	return true;
}

/* The kernel did not take the head.  May the flush go on? */
static bool
refused(struct dgram_socket *s, int status)
{
	int before = s->pending_error;

	/* Outside of a run the clock stands still, for as long as it likes. */
	if (!s->loop->running)
		dgram_loop_update(s->loop);
	if (status == -EAGAIN || (status == -ENOBUFS && may_wait(s)))
		return full(s, status);
	if (s->type == DGRAM_UNIX && is_to_peer(s->line.queue.head) &&
	    dgi_peer_is_gone(status)) {
		if (dgi_peer_comes_back(s))
			return dgi_peer_lost(s, status);
		dgi_peer_blame_once(s, s->line.queue.head);
	}
	if (before == 0 && dgi_socket_is_icmp(s, status)) {
		dgi_socket_drain_errors(s);
		s->pending_error = status;
		return true;
	}
	dgi_queue_fail_head(s, status);
	/* Failed twice: the same failure is not reported twice. */
	if (before != 0 && before != status)
		dgi_queue_note(s, before);
	return true;
}

void
dgi_queue_changed(struct dgram_socket *s)
{
	const struct dgram_options *o = &s->options;

	if (!dgi_queue_waits(s) && s->queue_holds) {
		s->queue_holds = false;
		dgi_loop_release(s->loop);
	}
	if (s->state == DGI_CLOSED)
		return;
	if (s->refused && dgi_queue_count(s) <= o->send_queue_count / 2 &&
	    s->untold <= DGI_UNTOLD_MOST / 2 &&
	    dgi_queue_bytes(s) <= o->send_queue_bytes / 2) {
		s->refused = false;
		dgi_socket_owe(s, DGI_OWES_DRAIN);
	}
	if (!dgi_queue_waits(s))
		dgi_socket_check_end(s);
}

/* The first k of the headers went, some of arrays; their bytes. */
static size_t
pop_sent(struct dgram_socket *s, int k)
{
	const struct dgi_mmsg *tx = s->loop->arena.tx;
	size_t sum = 0;
	int i;

	for (i = 0; i < k; i++) {
		sum += tx[i].msg_len;
		dgi_queue_pop(s, tx[i].msg_len, (int)tx[i].msg_len);
	}
	return sum;
}

size_t
dgi_queue_send(struct dgram_socket *s, size_t most)
{
	const struct dgram_loop *l = s->loop;
	unsigned n, step = l->batch;
	bool plain;
	int k;

	while (s->line.queue.head != NULL && most > 0) {
		n = most < l->batch ? (unsigned)most : l->batch;
		if (s->held_for != NULL && s->serving == NULL) {
			n = dgi_hold_sift(s, n < step ? n : step);
			if (n == 0 && s->line.queue.head != NULL)
				dgi_queue_back_off(s, DGI_BACKOFF_MOST_MS);
			if (n == 0)
				break;
		}
		plain = s->line.specials == 0 && s->deadlines == 0 &&
		    s->options.send_block_list == NULL;
		n = plain ? fill_ones(s, n) : fill(s, n);
		if (n == 0) {
			dgi_queue_tell_pending(s);
			dgi_queue_fail_head(s, why_not(s,
			    dgi_req_deadline(s->line.queue.head)));
			most--;
			continue;
		}
		k = transmit(s, n);
		/* What is behind one that does not go is looked up again. */
		step = k < (int)n ? 1 : n * 2;
		if (k > 0) {
			count_sent(s, k, plain ? dgi_queue_sent_ones(s, k) :
			    pop_sent(s, k));
			most -= (unsigned)k;
		} else if (!refused(s, k)) {
			break;
		} else {
			most--;
		}
	}
	return most;
}

/* Something could be sent if the state allows it. */
static inline bool
has_work(const struct dgram_socket *s)
{
	return (s->line.queue.head != NULL && s->block == DGI_FREE) ||
	    !dgi_list_empty(&s->due);
}

/* Something is left of the queue or in lines. */
static DGI_APART void
leave_rest(struct dgram_socket *s, bool budgeted)
{
	if (has_work(s)) {
		s->stats.budget_used_up += budgeted;
		dgi_member_dirty(s->loop, &s->member);
	} else {
		dgi_list_remove(&s->member.dirty);
	}
	dgi_queue_watch_deadlines(s);
}

void
dgi_queue_flush(struct dgram_socket *s, size_t most)
{
	const bool budgeted = most == s->loop->budget;

	if (!has_work(s) || !dgi_state_can_send(s))
		return;
	if (!dgi_list_empty(&s->due))
		most = dgi_hold_flush(s, most);
	if (s->block == DGI_FREE)
		most = dgi_queue_send(s, most);
	if (dgi_queue_waits(s))
		leave_rest(s, budgeted);
	else
		dgi_list_remove(&s->member.dirty);
	dgi_queue_changed(s);
}

void
dgi_queue_unblock(struct dgram_socket *s)
{
	s->block = DGI_FREE;
	dgi_hold_wake(s);
}

void
dgi_queue_flush_now(struct dgram_socket *s)
{
	dgi_queue_unblock(s);
	dgi_queue_flush(s, SIZE_MAX);
	if (s->state != DGI_CLOSED)
		dgi_socket_changed(s);
}

int
dgram_flush(struct dgram_socket *s)
{
	if (s == NULL)
		return -EINVAL;
	if (s->state == DGI_CLOSED)
		return DGRAM_ERR_SOCKET_DGRAM_NOT_RUNNING;
	dgi_queue_flush_now(s);
	return dgi_queue_count(s) > INT_MAX ? INT_MAX :
	    (int)dgi_queue_count(s);
}

int
dgi_queue_try(struct dgram_socket *s, struct dgram_datagram *d, size_t n,
    bool meta)
{
	const struct dgi_mmsg *tx = s->loop->arena.tx;
	bool looked = false;
	size_t sent = 0, bytes;
	unsigned k;
	int i, r = 0;

	s->loop->arena.tx_common = 0;
	while (sent < n && sent < INT_MAX - s->loop->batch) {
		k = fill_array(s, d + sent, n - sent, meta, 0, s->loop->batch);
		r = k > 0 ? transmit(s, k) : why_not(s, d[sent].deadline_ns);
		if (r > 0) {
			for (i = 0, bytes = 0; i < r; i++) {
				d[sent++].result = (int)tx[i].msg_len;
				bytes += tx[i].msg_len;
			}
			count_sent(s, r, bytes);
		} else if (s->pending_error == 0 &&
		    dgi_socket_is_icmp(s, r)) {
			/* An earlier one's: this one is tried again. */
			dgi_socket_drain_errors(s);
			s->pending_error = r;
		} else if (!looked && d[sent].to == NULL &&
		    dgi_peer_is_gone(r) && dgi_peer_comes_back(s)) {
			looked = true;
			if (!dgi_peer_connect(s, r)) {
				d[sent].result = r;
				break;
			}
		} else {
			d[sent].result = r;
			if (s->pending_error != 0 && s->pending_error != r)
				dgi_queue_note(s, s->pending_error);
			break;
		}
	}
	s->pending_error = 0;
	return sent > 0 ? (int)sent : r;
}

void
dgi_queue_timer(struct dgram_timer *t, void *arg)
{
	struct dgram_socket *s = arg;

	(void)t;
	s->recv_rests = false;
	if (s->deadlines > 0)
		dgi_queue_expire(s);
	if (s->block == DGI_UNTIL_TIMER && s->blocked_until <= s->loop->now)
		s->block = DGI_FREE;
	if (s->block == DGI_FREE) {
		dgi_member_dirty(s->loop, &s->member);
		dgi_queue_watch_deadlines(s);
	} else {
		dgi_queue_arm(s);
	}
	dgi_queue_changed(s);
	if (s->state != DGI_CLOSED)
		dgi_socket_changed(s);
}
