/* SPDX-License-Identifier: ISC */

/*
 * Receivers of AF_UNIX that are full.
 *
 * A socket that is not connected is writable whoever is full (Linux 6.18 and
 * before; BSDs, connected or not), so it is not waited for that.  What goes to a
 * receiver that did not take one is set apart, in a line of its own, until the
 * line's timer; the rest of the queue goes past it.  A line is a queue like that
 * of the socket: to be sent from, or swept, it takes that one's place meanwhile.
 *
 * Each datagram is looked up when it comes up to be sent, and moved at most once
 * while its receiver is full: n that wait cost n steps, whoever they wait for.
 * One of an array becomes a request (DGI_REQ_PART), which tells the array.
 */

#include "core/plat.h"

#include <string.h>

#include "core/addr.h"
#include "core/queue.h"

#define BUCKETS		1023u	/* 8 KiB in all */
#define MS		UINT64_C(1000000)	/* ns */

/* Who is full; a peer has no name here. */
struct name {
	uint32_t hash;
	size_t len;
	char bytes[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

struct dgi_hold {
	struct dgi_list link;		/* on s->lines or, when due, s->due */
	struct dgi_hold *next;		/* in its bucket */
	struct dgram_socket *s;
	struct name name;
	struct dgram_timer timer;
	unsigned backoff_ms;
	bool full;			/* it was, at the last look */
	bool some_went;			/* since it was put off */
	struct dgi_line line;
};

struct dgi_holds {
	size_t n;
	struct dgi_hold *buckets[BUCKETS];
};

/* ---- found by name ---- */

/* Where the next datagram of a request goes. */
static void
name_of(const struct dgram_socket *s, const struct dgi_req *r, struct name *n)
{
	const struct dgram_addr *to = NULL;
	struct dgram_addr addr;
	uint32_t h;
	size_t i;

	if ((r->flags & DGI_REQ_BATCH) != 0) {
		to = r->u.batch.v[r->u.batch.pos].to;
	} else if (r->addr_len > 0) {
		memset(&addr, 0, sizeof(addr));
		addr.len = r->addr_len;
		memcpy(&addr.u, r->addr, r->addr_len);
		to = &addr;
	}
	n->len = to == NULL ? 0 : dgi_addr_path_len(to);
	if (n->len > 0)
		memcpy(n->bytes, to->u.raw +
		    offsetof(struct sockaddr_un, sun_path), n->len);
	/* FNV-1a, of another beginning for each socket. */
	h = 2166136261u ^ (uint32_t)((uintptr_t)s >> 4);
	for (i = 0; i < n->len; i++)
		h = (h ^ (unsigned char)n->bytes[i]) * 16777619u;
	n->hash = h ^ h >> 16;
}

static struct dgi_hold **
bucket(const struct dgram_socket *s, const struct name *n)
{
	return &s->held_for->buckets[n->hash % BUCKETS];
}

static struct dgi_hold *
find(const struct dgram_socket *s, const struct dgi_req *r)
{
	struct dgi_hold *h;
	struct name n;

	name_of(s, r, &n);
	for (h = *bucket(s, &n); h != NULL; h = h->next) {
		if (h->name.hash == n.hash && h->name.len == n.len &&
		    memcmp(h->name.bytes, n.bytes, n.len) == 0)
			return h;
	}
	return NULL;
}

/* ---- their life ---- */

static void
on_due(struct dgram_timer *t, void *arg)
{
	struct dgi_hold *h = arg;

	(void)t;
	dgi_list_remove(&h->link);
	dgi_list_append(&h->s->due, &h->link);
	dgi_member_dirty(h->s->loop, &h->s->member);
}

/* A line for where the head of the queue goes; NULL: no memory. */
static struct dgi_hold *
make(struct dgram_socket *s)
{
	struct dgi_mem *m = &s->loop->mem;
	struct dgi_holds *all = s->held_for;
	struct dgi_hold *h, **first;

	h = dgi_mem_get(m, sizeof(*h));
	if (h == NULL)
		return NULL;
	if (all == NULL) {
		all = dgi_mem_get(m, sizeof(*all));
		if (all == NULL) {
			dgi_mem_put(m, h, sizeof(*h));
			return NULL;
		}
		memset(all, 0, sizeof(*all));
		s->held_for = all;
	}
	memset(h, 0, sizeof(*h));
	h->s = s;
	name_of(s, s->line.queue.head, &h->name);
	dgi_reqs_init(&h->line.queue);
	dgram_timer_init(&h->timer, s->loop, on_due, h);
	dgram_timer_unref(&h->timer);
	dgi_list_append(&s->lines, &h->link);
	first = bucket(s, &h->name);
	h->next = *first;
	*first = h;
	all->n++;
	return h;
}

static void
drop(struct dgram_socket *s, struct dgi_hold *h)
{
	struct dgi_mem *m = &s->loop->mem;
	struct dgi_hold **p;

	for (p = bucket(s, &h->name); *p != h; p = &(*p)->next)
		;
	*p = h->next;
	dgram_timer_stop(&h->timer);
	dgi_list_remove(&h->link);
	dgi_mem_put(m, h, sizeof(*h));
	if (--s->held_for->n > 0)
		return;
	dgi_mem_put(m, s->held_for, sizeof(*s->held_for));
	s->held_for = NULL;
}

/*
 * Waits.  Times are multiples of the back-off, so that those of many lines fall
 * together and wake the loop as often as one.
 */
static void
put_off(struct dgram_socket *s, struct dgi_hold *h)
{
	const uint64_t now = s->loop->now;
	uint64_t step;

	if (h->some_went)
		h->backoff_ms /= 2;
	else
		h->backoff_ms *= 2;
	if (h->backoff_ms < DGI_BACKOFF_MS)
		h->backoff_ms = DGI_BACKOFF_MS;
	if (h->backoff_ms > DGI_BACKOFF_MOST_MS)
		h->backoff_ms = DGI_BACKOFF_MOST_MS;
	h->some_went = false;
	step = h->backoff_ms * MS;
	s->stats.backoffs++;
	if (dgram_timer_start(&h->timer, step - now % step, 0) == 0)
		return;
	/* No memory for a timer: at the next turn, then. */
	on_due(&h->timer, h);
}

/* ---- lines in the place of the queue ---- */

static void
swap(struct dgram_socket *s, struct dgi_hold *h)
{
	struct dgi_line other = h->line;

	h->line = s->line;
	s->line = other;
	/* Of an empty one the tail is its own head. */
	if (h->line.queue.head == NULL)
		dgi_reqs_init(&h->line.queue);
	if (s->line.queue.head == NULL)
		dgi_reqs_init(&s->line.queue);
}

static void
enter(struct dgram_socket *s, struct dgi_hold *h)
{
	s->held -= h->line.queued;
	swap(s, h);
	s->serving = h;
	h->full = false;
}

/* False: the line is empty, and gone. */
static bool
leave(struct dgram_socket *s)
{
	struct dgi_hold *h = s->serving;

	swap(s, h);
	s->serving = NULL;
	s->held += h->line.queued;
	if (h->line.queue.head != NULL)
		return true;
	drop(s, h);
	return false;
}

static void
each_of(struct dgram_socket *s, struct dgi_list *list,
    void (*fn)(struct dgram_socket *, void *arg), void *arg)
{
	struct dgi_hold *h;
	struct dgi_list all;

	dgi_list_take(&all, list);
	while (!dgi_list_empty(&all)) {
		h = DGI_CONTAINER(all.next, struct dgi_hold, link);
		dgi_list_remove(&h->link);
		dgi_list_append(list, &h->link);
		enter(s, h);
		fn(s, arg);
		(void)leave(s);
	}
}

void
dgi_hold_each(struct dgram_socket *s, void (*fn)(struct dgram_socket *,
    void *arg), void *arg)
{
	each_of(s, &s->lines, fn, arg);
	each_of(s, &s->due, fn, arg);
}

/* ---- what is set apart ---- */

/* Takes a request out of the queue, of which *at is its place. */
static void
unlink_at(struct dgram_socket *s, struct dgi_req **at)
{
	struct dgi_req *r = *at;

	*at = r->next;
	if (r->next == NULL)
		s->line.queue.tail = at;
	s->line.silent -= r->done == NULL;
	s->line.specials -= (r->flags & DGI_REQ_UNCOMMON) != 0;
}

/*
 * The next datagrams of an array, at most n, become requests in front of it; an
 * array that has none left goes.  False: no memory for one of them.
 */
static bool
take_apart(struct dgram_socket *s, struct dgi_req **at, unsigned n)
{
	struct dgi_req *r = *at, *p;

	for (; n > 0 && r->u.batch.pos < r->u.batch.n; n--) {
		p = dgi_req_new(s, DGI_REQ_BATCH | DGI_REQ_PART |
		    (r->flags & DGI_REQ_META), 0);
		if (p == NULL)
			return false;
		p->arg = r;
		p->u.batch.v = r->u.batch.v + r->u.batch.pos++;
		p->u.batch.n = 1;
		p->u.batch.pos = p->u.batch.went = p->u.batch.parts = 0;
		r->u.batch.parts++;
		s->line.silent++;
		s->line.specials++;
		p->next = r;
		*at = p;
		at = &p->next;
		dgi_queue_note_deadline(s, dgi_req_deadline(r));
	}
	if (r->u.batch.pos == r->u.batch.n)
		unlink_at(s, at);
	return true;
}

static bool
is_array(const struct dgi_req *r)
{
	return (r->flags & (DGI_REQ_BATCH | DGI_REQ_PART)) == DGI_REQ_BATCH;
}

/* From the queue to the end of a line. */
static void
move(struct dgram_socket *s, struct dgi_req **at, struct dgi_hold *h)
{
	struct dgi_req *r = *at;

	unlink_at(s, at);
	s->line.queued--;
	dgi_line_append(&h->line, r, 1);
	s->held++;
}

bool
dgi_hold_head(struct dgram_socket *s)
{
	struct dgi_hold *h;

	if (s->serving != NULL) {
		s->serving->full = true;
		return true;
	}
	if (is_array(s->line.queue.head) &&
	    !take_apart(s, &s->line.queue.head, 1))
		return false;
	h = make(s);
	if (h == NULL)
		return false;
	move(s, &s->line.queue.head, h);
	put_off(s, h);
	return true;
}

unsigned
dgi_hold_sift(struct dgram_socket *s, unsigned most)
{
	struct dgi_req **at = &s->line.queue.head, *r;
	struct dgi_hold *h;
	unsigned n = 0;

	while (n < most && (r = *at) != NULL) {
		if (is_array(r)) {
			/* Of none: it is over when its turn comes. */
			if (r->u.batch.n == 0)
				return n > 0 ? n : 1;
			if (!take_apart(s, at, most - n) && *at == r)
				return n;
			continue;
		}
		h = find(s, r);
		if (h != NULL) {
			move(s, at, h);
			continue;
		}
		at = &r->next;
		n++;
	}
	return n;
}

size_t
dgi_hold_flush(struct dgram_socket *s, size_t most)
{
	/* The queue has its share, of a budget of one, too. */
	size_t mine = most - most / 2, left = mine, before;
	struct dgi_list end;
	struct dgi_hold *h;

	/* What is due again comes behind those that had no turn. */
	dgi_list_append(&s->due, &end);
	while (left > 0 && s->due.next != &end) {
		h = DGI_CONTAINER(s->due.next, struct dgi_hold, link);
		dgi_list_remove(&h->link);
		dgi_list_append(&s->lines, &h->link);
		before = left;
		enter(s, h);
		left = dgi_queue_send(s, left);
		h->some_went |= left < before;
		if (!leave(s))
			continue;
		if (left > 0 || h->full)
			put_off(s, h);
		else
			on_due(&h->timer, h);
	}
	dgi_list_remove(&end);
	left += most - mine;
	return left > 0 ? left : 1;
}

void
dgi_hold_wake(struct dgram_socket *s)
{
	struct dgi_hold *h;

	while (!dgi_list_empty(&s->lines)) {
		h = DGI_CONTAINER(s->lines.next, struct dgi_hold, link);
		dgram_timer_stop(&h->timer);
		on_due(&h->timer, h);
	}
}

size_t
dgi_hold_bound(size_t n)
{
	/* A request for each of an array, a line, and its place among timers. */
	return n * (2 * (sizeof(struct dgi_req) + DGI_REQ_LARGE_ROOM) +
	    2 * sizeof(struct dgi_hold) + 64) + 2 * sizeof(struct dgi_holds);
}
